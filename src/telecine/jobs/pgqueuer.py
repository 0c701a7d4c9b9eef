"""The executor of several nodes that share a PostgreSQL database.

    admitted     the gate puts the request's id and attempt number into PgQueuer's queue, in the
                 transaction that admits it
    delivered    PgQueuer hands it to a node with a free slot, and again if the node is not heard of
    begun        the node puts its name on the row, if the row is still at that attempt and bears no
                 other name: so an attempt is begun once, whatever PgQueuer does
    lost         each node shows that it is there (one row per node); what runs on one that was not
                 seen for `lost_seconds` is taken back by whichever node notices first

A node that could not reach the database itself takes nothing back until it could for
`lost_seconds`: when the database comes back after a while, all nodes look as if they were gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from pgqueuer.adapters.persistence import qb
from pgqueuer.core.tm import TaskManager
from pgqueuer.db import Driver
from pgqueuer.domain.settings import DBSettings
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import EntrypointExecutionParameter, Queries
from pgqueuer.types import Channel, QueueEntrypoint, QueueManagerId

from telecine.db import postgres
from telecine.db.base import DatabaseFailed, Row, Transaction
from telecine.db.notices import Notices
from telecine.db.postgres import Postgres, Statements
from telecine.jobs.bells import Bell, Bells
from telecine.jobs.executor import FAREWELL_SECONDS, Handler, cancel, handle, take_back
from telecine.jobs.states import States

_log = logging.getLogger("telecine.jobs.pgqueuer")

ENTRYPOINT = "telecine"
CHANNEL = "telecine"  # on which nodes tell each other what changed
SETTINGS = DBSettings(prefix="telecine_")
POLL_SECONDS = 2.0  # the net under PgQueuer's notices
BATCH = 10
FORGET_SECONDS = 24 * 3600.0
MOST_IDS = 200  # in one notice, which may have 8,000 bytes
MOST_NOTICES = 10  # at once; more changes than that are told as "anything"


async def migrate(url: str) -> None:
    """Bring our schema and PgQueuer's up to date."""
    await postgres.migrate(url)
    async with Postgres(url, connections=1) as db:
        await _install(db)


async def _install(db: Postgres) -> None:
    """PgQueuer's tables, beside ours. Nodes that start together take turns."""
    if await _engine(_Pooled(db)).has_table(SETTINGS.queue_table):
        return
    async with db.connection() as connection:
        await connection.execute("SELECT pg_advisory_lock(8433105719210003)")
        try:
            engine = _engine(_Connected(connection))
            if not await engine.schema_is_installed():
                await engine.install()
                await engine.optimize_autovacuum()
        finally:
            await connection.execute("SELECT pg_advisory_unlock(8433105719210003)")


class Nodes:
    """This node among those that share `db`. `slots`: how many jobs it runs at once.

    `lost_seconds`: a node that was not seen for so long is gone. When stopped, running jobs get
    `stop_seconds`; then their handlers are cancelled.
    """

    def __init__(
        self,
        *,
        db: Postgres,
        states: States,
        bells: Bells,
        slots: int,
        lost_seconds: float,
        stop_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.node = uuid.uuid4().hex
        self._db = db
        self._states = states
        self._bells = bells
        self._slots = slots
        self._lost_seconds = lost_seconds
        self._stop_seconds = stop_seconds
        self._clock = clock
        self._notices = Notices(db, missed=lambda: bells.ring_here(None))
        self._loops = asyncio.TaskGroup()
        self._presence: asyncio.Task[None] | None = None
        self._news: asyncio.Task[None] | None = None
        self._is_leaving = asyncio.Event()
        self._steady_since: float | None = None
        self._changed: dict[str, None] = {}
        self._to_stop: dict[str, None] = {}
        self._has_news = Bell()
        self._held: set[int] = set()  # PgQueuer's jobs that we have
        self._moved = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._is_stopping = False
        self._is_over = False

    async def __aenter__(self) -> Self:
        await _install(self._db)
        await self._beat()
        await self._notices.__aenter__()
        await self._notices.listen(CHANNEL, self._heard)
        self._bells.tell = self._tell
        await self._loops.__aenter__()
        self._presence = self._loops.create_task(self._stay(), name="node")
        self._news = self._loops.create_task(self._send_news(), name="news")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bells.tell = None
        self._is_leaving.set()  # not cancelled: a beat under way would come after the farewell
        if self._news is not None:
            self._news.cancel()
        is_cancelled = isinstance(error, asyncio.CancelledError)  # perhaps as a loop died: it tells
        try:
            await self._loops.__aexit__(*((kind, error, trace) if is_cancelled else (None,) * 3))
        finally:
            await self._notices.__aexit__(kind, error, trace)
            with contextlib.suppress(DatabaseFailed):
                await self._db.write(lambda tx: tx.execute("node_leave", id=self.node))

    async def dispatch(self, ids: Sequence[str], tx: Transaction) -> Callable[[], None]:
        rows = await tx.fetch("attempts_of", ids=list(ids))
        number = {row["id"]: row["attempt"] for row in rows}
        names = [f"{request_id} {number[request_id]}" for request_id in ids]
        await _engine(_InTransaction(tx)).enqueue(
            [ENTRYPOINT] * len(names),
            [name.encode() for name in names],
            [0] * len(names),
            dedupe_key=list(names),
        )
        return _nothing

    async def cancel(self, id: str) -> None:
        if task := self._running.get(id):
            cancel(task)
        else:
            self._to_stop[id] = None
            self._has_news.ring()

    async def slots(self, tx: Transaction) -> int:
        """How many jobs all nodes that are there run at once."""
        row = await tx.fetch_one("count_slots", seconds=self._lost_seconds)
        return int(row["n"]) if row else 0

    # ------------------------------------------------------------ delivery

    async def run(self, handler: Handler, slots: int) -> None:
        driver = _Pooled(self._db, self._notices, lambda: self._is_over)
        engine = _engine(driver, room=self._room, took=self._take)
        manager = QueueManager(engine, channel=Channel(SETTINGS.channel))

        async def deliver(job: Job) -> None:
            try:
                await self._deliver(job, handler)
            finally:
                self._held.discard(job.id)
                self._moved.set()

        manager.entrypoint(ENTRYPOINT, accepts_context=False)(deliver)
        # How soon it looks again when something was left; `room` holds it back when we are full.
        manager.min_dequeue_poll_interval = timedelta(seconds=0.005)
        managing = asyncio.create_task(
            manager.run(
                dequeue_timeout=timedelta(seconds=POLL_SECONDS),
                batch_size=BATCH,
                heartbeat_timeout=timedelta(seconds=self._lost_seconds),
                log_aggregation_interval=timedelta(0),
            ),
            name="pgqueuer",
        )
        try:
            await asyncio.shield(managing)
        finally:
            self._is_stopping = True
            self._moved.set()
            manager.shutdown.set()
            await self._stop()
            await asyncio.wait([managing], timeout=FAREWELL_SECONDS)
            managing.cancel()

    async def _room(self) -> int:
        """How many more jobs we can take; waits until it is one at least, or none ever."""
        while not self._is_stopping and len(self._held) >= self._slots:
            self._moved.clear()
            await self._moved.wait()
        return 0 if self._is_stopping else self._slots - len(self._held)

    def _take(self, jobs: Sequence[Job]) -> None:
        self._held.update(job.id for job in jobs)

    async def _deliver(self, job: Job, handler: Handler) -> None:
        request_id, _, number = (job.payload or b"").decode().partition(" ")
        claim = {"id": request_id, "attempt": int(number), "node": self.node}
        if not await self._until_written(lambda tx: tx.execute("claim_request", **claim)):
            return  # it moved on, or another node runs it
        if request_id in self._running:
            return  # it was delivered here before
        task = asyncio.create_task(handle(handler, request_id), name=f"job {request_id}")
        self._running[request_id] = task
        if self._is_over:
            cancel(task)
        try:
            await asyncio.wait([task])
        finally:
            del self._running[request_id]

    async def _until_written(self, operation: Callable[[Transaction], Awaitable[int]]) -> int:
        while True:
            try:
                return await self._db.write(operation)
            except DatabaseFailed as error:
                if self._is_over:
                    return 0
                _log.error("a delivered job has to wait: %s", error.message)
            await asyncio.sleep(1)

    async def _stop(self) -> None:
        for seconds in (self._stop_seconds, FAREWELL_SECONDS):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while self._held:
                        self._moved.clear()
                        await self._moved.wait()
            self._is_over = True
            for task in self._running.values():
                cancel(task)
        if self._held:
            _log.error("%d requests could not be put down; others do it", len(self._held))

    # ------------------------------------------------------------ being there

    async def _stay(self) -> None:
        """Show that we are there, and take back what those had who are not."""
        while not self._is_leaving.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._lost_seconds / 3):
                    await self._is_leaving.wait()
                    return
            try:
                await self._beat()
                if self._is_steady():
                    await self._take_back()
            except DatabaseFailed as error:
                self._steady_since = None
                _log.error("this node can not show that it is there: %s", error.message)

    async def _beat(self) -> None:
        values = {"id": self.node, "name": socket.gethostname(), "slots": self._slots}
        before = list(self._running.items())
        rows = await self._db.write(lambda tx: tx.fetch("node_beat", **values))
        silent = rows[0]["silent"] if rows else None
        if self._steady_since is None:
            self._steady_since = asyncio.get_running_loop().time()
        if before and (silent is None or silent > self._lost_seconds):
            await self._drop(before)

    async def _drop(self, before: Sequence[tuple[str, asyncio.Task[None]]]) -> None:
        """We were not seen for too long: stop what others have taken back. Only what ran before
        the rows were read: what began in between is not in them yet."""
        rows = await self._db.read(lambda tx: tx.fetch("requests_on_node", node=self.node))
        ours = {row["id"] for row in rows}
        for request_id, task in before:
            if request_id not in ours:
                _log.warning("request %s was taken back while this node was cut off", request_id)
                cancel(task)

    def _is_steady(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._steady_since is not None and now - self._steady_since > self._lost_seconds

    async def _take_back(self) -> None:
        now = self._clock()

        async def lost(tx: Transaction) -> list[Row]:
            before = now - 2 * self._lost_seconds
            return [
                *await tx.fetch("lost_requests", node=self.node, seconds=self._lost_seconds),
                *await tx.fetch("undelivered_requests", before=before),
            ]

        rows = await self._db.read(lost)
        for row in rows:
            await self._db.write(lambda tx, row=row: take_back(tx, self._states, row, now=now))  # type: ignore[misc]
        if rows:
            _log.warning("%d requests were taken back from nodes that are gone", len(rows))
            self._bells.ring([str(row["id"]) for row in rows])

        async def tidy(tx: Transaction) -> None:
            await tx.execute("nodes_forget", seconds=FORGET_SECONDS)
            await tx.execute("engine_log_forget")

        await self._db.write(tidy)

    # ------------------------------------------------------------ news for the other nodes

    def _tell(self, ids: Sequence[str]) -> None:
        self._changed.update(dict.fromkeys(ids))
        self._has_news.ring()

    async def _send_news(self) -> None:
        """After the commit, and one notice at a time: what comes meanwhile goes with the next."""
        while True:
            await self._has_news.wait()
            changed, self._changed = list(self._changed), {}
            to_stop, self._to_stop = list(self._to_stop), {}
            try:
                for text in _notices(self.node, "changed", changed):
                    await self._notices.send(CHANNEL, text)
                for text in _notices(self.node, "stop", to_stop):
                    await self._notices.send(CHANNEL, text)
            except DatabaseFailed as error:
                _log.warning("other nodes were not told what changed: %s", error.message)

    def _heard(self, text: str) -> None:
        sender, what, *ids = text.split(" ")
        if sender == self.node:
            return
        if what == "stop":
            for task in filter(None, map(self._running.get, ids)):
                cancel(task)
        elif what == "changed":
            self._bells.ring_here(ids or None)


def _notices(node: str, what: str, ids: Sequence[str]) -> Iterator[str]:
    if what == "changed" and len(ids) > MOST_IDS * MOST_NOTICES:
        yield f"{node} {what}"
        return
    for start in range(0, len(ids), MOST_IDS):
        yield " ".join([node, what, *ids[start : start + MOST_IDS]])


def _nothing() -> None:
    pass


# ---------------------------------------------------------------- PgQueuer on our connections


class _Driver(Driver):
    """What PgQueuer asks of a connection, as far as it is the same for all of ours."""

    def __init__(self) -> None:
        self._shutdown = asyncio.Event()
        self._tasks = TaskManager()

    async def execute(self, query: str, *args: object) -> str:
        await self.fetch(query, *args)
        return ""

    async def notify(self, channel: str, payload: str) -> None:
        await self.fetch("SELECT pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: Callable[[Any], None]) -> None:
        raise NotImplementedError("nobody listens on this connection")

    @property
    def shutdown(self) -> asyncio.Event:
        return self._shutdown

    @property
    def tm(self) -> TaskManager:
        return self._tasks

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Who gave us the connection closes it."""


class _InTransaction(_Driver):
    """Statements of one of our operations."""

    def __init__(self, tx: Transaction) -> None:
        super().__init__()
        if not isinstance(tx, Statements):
            raise TypeError("PgQueuer works on PostgreSQL alone")
        self._tx = tx

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        return [dict(row) for row in await self._tx.run(query, *args)]


class _Connected(_Driver):
    """One connection, for scripts of several statements."""

    def __init__(self, connection: Any) -> None:
        super().__init__()
        self._connection = connection

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        return [dict(row) for row in await self._connection.fetch(query, *args)]

    async def execute(self, query: str, *args: object) -> str:
        return str(await self._connection.execute(query, *args))


class _Pooled(_Driver):
    """Any connection of the pool. While the database is gone it waits: a worker must not end
    because of that. `is_over`: it need not any more."""

    def __init__(
        self, db: Postgres, notices: Notices | None = None, is_over: Callable[[], bool] = bool
    ) -> None:
        super().__init__()
        self._db = db
        self._notices = notices
        self._is_over = is_over

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        while True:
            try:
                return [dict(row) for row in await self._db.ask(query, *args)]
            except DatabaseFailed as error:
                if self._is_over():
                    raise
                _log.error("PgQueuer has to wait: %s", error.message)
            await asyncio.sleep(1)

    async def add_listener(self, channel: str, callback: Callable[[Any], None]) -> None:
        if self._notices is None:
            await super().add_listener(channel, callback)
        else:
            await self._notices.listen(channel, callback)


@dataclass
class _Engine(Queries):
    """PgQueuer's queue. It gives no more jobs at once than there is `room` for; `took` hears of
    each that it gave."""

    room: Callable[[], Awaitable[int]] | None = field(default=None, kw_only=True)
    took: Callable[[Sequence[Job]], None] | None = field(default=None, kw_only=True)

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[Job]:
        assert self.room is not None, "only who takes jobs has room"
        assert self.took is not None
        room = await self.room()
        if not room:
            return []
        jobs = await super().dequeue(
            min(batch_size, room),
            entrypoints,
            queue_manager_id,
            global_concurrency_limit,
            heartbeat_timeout,
        )
        self.took(jobs)
        return jobs


def _engine(driver: _Driver, **more: Any) -> _Engine:
    return _Engine(
        driver,
        qbe=qb.QueryBuilderEnvironment(SETTINGS),
        qbq=qb.QueryQueueBuilder(SETTINGS),
        qbs=qb.QuerySchedulerBuilder(SETTINGS),
        **more,
    )
