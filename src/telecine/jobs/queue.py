"""What callers do with queued requests: submit, status, result, cancel, watch."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

from telecine.db.base import Database, DatabaseFailed, InDoubt, Row, Transaction
from telecine.errors import BadRequest, Cancelled, Forbidden, NotFound
from telecine.files import Files, Taken
from telecine.jobs.bells import Bells
from telecine.jobs.executor import Executor
from telecine.jobs.gate import Gate
from telecine.jobs.states import States, arrival, failure, model_of, storable
from telecine.models import Attachment, Job, LogLine, Request, Result

_log = logging.getLogger("telecine.jobs.queue")

Priority = Literal["normal", "low"]

IDEMPOTENT_SECONDS = 24 * 3600.0
WATCH_SECONDS = 2.0  # how often a watcher looks by itself: positions, and what other processes do
EXACT_POSITIONS = 1_000  # in a deeper queue the position ignores the fairness between keys
MAX_PINNED_URLS = 256
MAX_URL_CHARACTERS = 4_096
MAX_SEARCHED = 100_000  # members and items of an input that are looked at for URLs

_PRIORITIES: Mapping[Priority, int] = {"normal": 0, "low": 1}


class Queue:
    """The queue as its callers see it. What is accepted is on the disk with every byte it names."""

    def __init__(
        self,
        *,
        db: Database,
        files: Files,
        gate: Gate,
        executor: Executor,
        states: States,
        bells: Bells,
        clock: Callable[[], float],
    ) -> None:
        self._db = db
        self._files = files
        self._gate = gate
        self._executor = executor
        self._states = states
        self._bells = bells
        self._clock = clock
        self._accepting: set[asyncio.Task[Job]] = set()

    # ------------------------------------------------------------ submit

    def check(self) -> None:
        """Raises LimitReached if the queue is full just now: before a body is read. `submit`
        decides."""
        self._gate.check_depth()

    async def submit(
        self,
        request: Request,
        *,
        priority: Priority = "normal",
        webhook_url: str | None = None,
        start_seconds: float | None = None,
        max_queue_length: int | None = None,
        no_retry: bool = False,
        store_io: bool = True,
        idempotency_key: str | None = None,
    ) -> Job:
        """Accept `request`: when this returns it is durable, and so is every byte it refers to.

        Uploaded files that it names are kept until it ends, whatever their expiry. The same
        `idempotency_key` of the same caller within 24 hours answers with the first request's job.
        Raises LimitReached (`queue_full`). A caller who gives up meanwhile may have submitted.
        """
        offer = _Offer(
            request=request,
            priority=_PRIORITIES[priority],
            webhook_url=webhook_url,
            start_seconds=start_seconds,
            no_retry=no_retry,
            store_io=store_io,
            idempotency_key=None if idempotency_key is None else storable(idempotency_key, 255),
        )
        if offer.idempotency_key is not None:
            first = await self._db.read(lambda tx: self._first(tx, offer))
            if first is not None:
                return await self.status(first, logs=False)
        position = self._gate.arrive(request.caller, offer.model, max_queue_length)
        accepting = asyncio.create_task(self._accept(offer, position))
        self._accepting.add(accepting)
        accepting.add_done_callback(self._accepting.discard)
        return await asyncio.shield(accepting)

    async def _accept(self, offer: _Offer, position: int) -> Job:
        taken: dict[str, Taken] = {}
        kept: Mapping[str, str] = {}
        first: str | None = None
        is_waiting, is_certain = False, True
        try:
            for name, attachment in offer.request.attachments.items():
                if attachment.path is not None:
                    taken[name] = await self._files.take(
                        attachment.path, sha256=attachment.sha256, bytes=attachment.bytes
                    )
            named = [own[0] async for own in self._own_files(offer.request)]
            now = self._clock()

            async def insert(tx: Transaction) -> tuple[str | None, Mapping[str, str]]:
                if not is_certain and await tx.fetch_one("queued_request", id=offer.request.id):
                    return None, {}  # it was kept
                return await self._insert(tx, offer, taken, named, now)

            try:
                first, kept = await self._db.write(insert)
            except InDoubt:
                is_certain = False
                first, kept = await self._db.write(insert)
            is_waiting = first is None
        except (asyncio.CancelledError, DatabaseFailed):
            is_certain = False
            raise
        finally:
            self._gate.arrived(is_waiting=is_waiting, start_in=offer.start_seconds)
            # The row may be there after all, pointing at these bytes: then only the sweep can tell.
            for name, copy in taken.items() if is_certain else ():
                await self._settle(copy, kept.get(name))
        if first is not None:
            return await self.status(first, logs=False)
        return Job(
            id=offer.request.id,
            endpoint=offer.request.endpoint,
            mode="queue",
            key_id=offer.request.caller.key_id,
            state="queued",
            attempt=0,
            created_at=_datetime(now),
            queue_position=position,
        )

    async def _own_files(self, request: Request) -> AsyncIterator[tuple[str, str]]:
        """What is pinned the request may use later; one that its caller may not is told then."""
        for url in islice(_file_urls(request.document), MAX_PINNED_URLS):
            with suppress(Forbidden):
                if own := await self._files.own(url, request, is_new=True):
                    yield own

    async def _insert(
        self,
        tx: Transaction,
        offer: _Offer,
        taken: Mapping[str, Taken],
        named: list[str],
        now: float,
    ) -> tuple[str | None, Mapping[str, str]]:
        """The first request under the same idempotency key, or else the objects now pinned."""
        request = offer.request
        if offer.idempotency_key is not None:
            if first := await self._first(tx, offer):
                return first, {}
            await tx.execute(
                "forget_idempotency_key",
                key_id=request.caller.key_id,
                idempotency_key=offer.idempotency_key,
                before=self._clock() - IDEMPOTENT_SECONDS,
            )
        objects = {name: await self._files.adopt(tx, copy) for name, copy in taken.items()}
        attachments = {
            name: replace(attachment, path=None, object=objects.get(name, attachment.object))
            for name, attachment in request.attachments.items()
        }
        lane = self._gate.lane(offer.model)
        await tx.execute("insert_request", **offer.values(now, attachments, lane=lane))
        kept = {one.object for one in attachments.values() if one.object}
        for key in {*kept, *named}:
            await tx.execute("insert_pin", request_id=request.id, object=key)
        return None, objects

    async def _first(self, tx: Transaction, offer: _Offer) -> str | None:
        row = await tx.fetch_one(
            "request_by_idempotency_key",
            key_id=offer.request.caller.key_id,
            idempotency_key=offer.idempotency_key,
        )
        is_valid = row is not None and row["created_at"] > self._clock() - IDEMPOTENT_SECONDS
        return str(row["id"]) if row is not None and is_valid else None

    async def _settle(self, copy: Taken, object: str | None) -> None:
        """A redundant copy that stays costs space until the next sweep; it is no reason to fail."""
        try:
            await self._files.settle(copy, object)
        except Exception:  # noqa: BLE001 -- whatever storage raises
            _log.exception("a redundant copy of %d bytes was not deleted", copy.bytes)

    # ------------------------------------------------------------ ask

    async def status(self, request_id: str, *, logs: bool) -> Job:
        """The job, without its result; with `logs` the whole log so far. Raises NotFound."""
        job, _ = await self._look(request_id, after=0 if logs else None)
        return job

    async def result(self, request_id: str) -> Result:
        """The kept answer. Raises NotFound (unknown or expired) and BadRequest (not finished)."""
        row = await self._db.read(lambda tx: tx.fetch_one("request_result", id=request_id))
        if row is None:
            raise _not_found(request_id)
        if row["state"] in ("queued", "running"):
            raise BadRequest("Request is still in progress")
        if row["result_status"] is None:
            raise NotFound(f"The result of request {request_id} has expired")
        return Result(
            status=row["result_status"],
            headers=json.loads(row["result_headers"]),
            body=row["result_body"],
        )

    async def watch(self, request_id: str, *, logs: bool) -> AsyncIterator[Job]:
        """The present state at once, then again on every change; the last one is terminal.

        `logs` of each holds only lines that are new. Raises NotFound.
        """
        told: tuple[Any, ...] | None = None
        last_line = 0
        with self._bells.listen(request_id) as bell:
            while True:
                job, last_line = await self._look(request_id, after=last_line if logs else None)
                now = (job.state, job.queue_position, job.attempt, job.cancel_requested)
                if job.logs or now != told:
                    yield job
                told = now
                if job.state not in ("queued", "running"):
                    return
                await bell.heard(WATCH_SECONDS)

    async def _look(self, request_id: str, *, after: int | None) -> tuple[Job, int]:
        """The job with its log from after a line on, and the number of the last line."""

        async def operation(tx: Transaction) -> tuple[Row | None, list[Row], int | None]:
            row = await tx.fetch_one("queued_request", id=request_id)
            if row is None:
                return None, [], None
            lines = [] if after is None else await _lines(tx, request_id, after)
            position = await _position(tx, row["seq"]) if row["state"] == "queued" else None
            return row, lines, position

        row, lines, position = await self._db.read(operation)
        if row is None:
            raise _not_found(request_id)
        return _job(row, lines, position), lines[-1]["seq"] if lines else after or 0

    # ------------------------------------------------------------ cancel

    async def cancel(self, request_id: str) -> bool:
        """Have it stopped: a waiting request is cancelled at once, a running one is told to stop.

        False: it had ended before. Raises NotFound.
        """
        ending = failure(Cancelled(), request_id, state="cancelled")

        async def operation(tx: Transaction) -> str:
            await tx.fetch("lock_request", id=request_id)
            if await self._states.close(tx, request_id, ending, now=self._clock()):
                return "cancelled"
            if await tx.execute("request_cancel", id=request_id):
                return "stopping"
            if await tx.fetch_one("queued_request", id=request_id) is None:
                raise _not_found(request_id)
            return "ended"

        with self._gate.moving():
            done = await self._db.write(operation)
            if done == "cancelled":
                self._gate.left_line()
        if done == "cancelled":
            self._bells.ring([request_id])
        elif done == "stopping":
            await self._executor.cancel(request_id)
        return done != "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """A request with what its caller wants of the queue."""

    request: Request
    priority: int
    webhook_url: str | None
    start_seconds: float | None
    no_retry: bool
    store_io: bool
    idempotency_key: str | None

    @property
    def model(self) -> str:
        return model_of(self.request.document)

    def values(
        self, now: float, attachments: Mapping[str, Attachment], *, lane: str
    ) -> dict[str, Any]:
        return arrival(
            self.request,
            attachments=json.dumps({name: asdict(one) for name, one in attachments.items()}),
            state="queued",
            lane=lane,
            attempt=0,
            priority=self.priority,
            start_by=None if self.start_seconds is None else now + self.start_seconds,
            no_retry=int(self.no_retry),
            store_io=int(self.store_io),
            webhook_url=self.webhook_url,
            created_at=now,
            idempotency_key=self.idempotency_key,
        )


def _file_urls(document: Any) -> Iterator[str]:
    """Whatever may be the URL of an uploaded file, wherever in the input an endpoint wants it."""
    found: deque[Any] = deque([document])
    for _ in range(MAX_SEARCHED):
        if not found:
            return
        match found.popleft():
            case str() as text if "/files/" in text and len(text) < MAX_URL_CHARACTERS:
                yield text
            case list() as items:
                found.extend(items)
            case dict() as members:
                found.extend(members.values())


async def _lines(tx: Transaction, request_id: str, after: int) -> list[Row]:
    return await tx.fetch("logs_after", request_id=request_id, seq=after)


async def _position(tx: Transaction, seq: int) -> int:
    is_deep = await tx.fetch_one("waits_more_than", number=EXACT_POSITIONS)
    statement = "queue_position_by_age" if is_deep else "queue_position"
    row = await tx.fetch_one(statement, seq=seq)
    return int(row["n"]) if row else 0


def _job(row: Row, lines: list[Row], position: int | None) -> Job:
    return Job(
        id=row["id"],
        endpoint=row["endpoint"],
        mode=row["mode"],
        key_id=row["key_id"],
        state=row["state"],
        attempt=row["attempt"],
        created_at=_datetime(row["created_at"]),
        started_at=None if row["started_at"] is None else _datetime(row["started_at"]),
        finished_at=None if row["finished_at"] is None else _datetime(row["finished_at"]),
        queue_position=position,
        cancel_requested=bool(row["cancel_requested"]),
        inference_seconds=row["inference_seconds"],
        error=row["error"],
        error_type=row["error_type"],
        logs=[
            LogLine(message=line["message"], level=line["level"], at=_datetime(line["at"]))
            for line in lines
        ],
    )


def _datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _not_found(request_id: str) -> NotFound:
    return NotFound(f"There is no request {storable(request_id, 100)}")
