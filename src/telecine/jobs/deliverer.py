"""Delivers webhooks: claims what is due, sends it, writes down what came of it, tries again.

At least once: an attempt is counted and on the disk before anything of it is sent. One that is cut
off by a crash is made again, as after any other failure; so a delivery that kills its sender
ends, too. The receiver tells deliveries of one request by its `request_id`.

Receivers are strangers: their addresses are checked like those of videos, their redirects are not
followed, of what they answer only a small head is read, and none gets more than its share of what
is sent at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
import prometheus_client

from telecine import telemetry
from telecine.db.base import Database, DatabaseFailed, Operation, Row, Transaction
from telecine.errors import TelecineError
from telecine.jobs.bells import Bells
from telecine.jobs.deliveries import DeliveryState
from telecine.jobs.signing import SigningKeys
from telecine.jobs.webhooks import (
    HEAD_BYTES,
    LEASE_SECONDS,
    MAX_PAYLOAD_BYTES,
    SCHEDULE,
    Outcome,
    Schedule,
    body,
    judge,
)
from telecine.net import Client, FetchError, FetchRefused

_log = logging.getLogger("telecine.jobs.deliverer")

HEAD_SECONDS = 2.0  # how long the head of an answer may take: the status alone decides
POLL_SECONDS = 2.0  # the net under the bell: replays that another process asked for
LINGER_SECONDS = 0.02  # looks are no closer together: a busy queue rings all the time
TIDY_SECONDS = 60.0
TIDY_ROWS = 500
MAX_FAILING = 10_000

ATTEMPTS = prometheus_client.Counter(
    "telecine_webhook_attempts",
    "Attempts to deliver a webhook, by what became of the delivery.",
    ("state",),
    registry=telemetry.REGISTRY,
)

_EXPIRED = Outcome(told="The result has expired: there is nothing to send", is_final=True)
_STOPPED = Outcome(told="The server stopped during this attempt")
_BROKEN = Outcome(told="The server failed; its log says why")


@dataclass(frozen=True, slots=True)
class _Claim:
    """One attempt: `number` is the fence of its outcome."""

    id: int
    request_id: str
    host: str
    number: int


@dataclass(frozen=True, slots=True)
class _Move:
    """Where a delivery goes; `delay` until it is due again, if it waits."""

    state: DeliveryState
    delay: float = 0.0


class Deliverer:
    """Enter it to start delivering, leave it to stop. Nobody else delivers from this database,
    unless it `is_shared`: then an attempt is another node's until its time is over.

    `slots` deliveries are under way at once, `per_host` to one host, and a single one to a host
    that failed last. When it stops, what is under way gets `stop_seconds`. Deliveries are
    forgotten `keep_seconds` after their end. If a loop dies, the task that entered is cancelled.
    """

    def __init__(
        self,
        *,
        db: Database,
        client: Client,
        keys: SigningKeys,
        bells: Bells,
        clock: Callable[[], float],
        keep_seconds: float,
        schedule: Schedule = SCHEDULE,
        slots: int = 128,
        per_host: int = 8,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        stop_seconds: float = 5.0,
        is_shared: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._db = db
        self._client = client
        self._keys = keys
        self._bells = bells
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._schedule = schedule
        self._slots = slots
        self._per_host = per_host
        self._max_payload_bytes = max_payload_bytes
        self._stop_seconds = stop_seconds
        self._is_shared = is_shared
        self._monotonic = monotonic
        self._sleep = sleep
        self._jitter = jitter
        self._group = asyncio.TaskGroup()
        self._loop: asyncio.Task[None] | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._per_host_now: Counter[str] = Counter()
        self._failing: set[str] = set()
        self._is_stopping = False

    async def __aenter__(self) -> Self:
        self._keys.signing()  # made, or found to be unreadable, before anything depends on it
        await self._db.write(self._take_back)
        await self._group.__aenter__()
        self._loop = self._group.create_task(self._run(), name="webhooks")
        self._tidying = self._group.create_task(self._tidy(), name="webhooks tidy")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._stop()
        except BaseException as hurry:
            await self._group.__aexit__(type(hurry), hurry, hurry.__traceback__)
            raise
        if isinstance(error, asyncio.CancelledError):  # perhaps because a loop died: it tells
            await self._group.__aexit__(kind, error, trace)
        else:
            await self._group.__aexit__(None, None, None)

    async def _stop(self) -> None:
        assert self._loop and self._tidying, "it was entered"  # noqa: PT018
        self._is_stopping = True
        self._tidying.cancel()
        self._bells.ring(())
        await asyncio.wait([self._loop])  # not cancelled: what it claims just now is begun
        if self._under_way:
            _, late = await asyncio.wait(self._under_way.values(), timeout=self._stop_seconds)
            for task in late:
                task.cancel()

    async def _take_back(self, tx: Transaction) -> None:
        """What was under way when a process died: nobody knows whether it arrived."""
        lost_by = self._clock() if self._is_shared else math.inf
        for row in await tx.fetch("open_delivery_attempts", lost_by=lost_by):
            seconds = self._clock() - row["at"]
            _, write = self._end(row["id"], row["attempt"], _STOPPED, seconds)
            await write(tx)

    async def _run(self) -> None:
        with self._bells.listen_to_all() as bell:
            while not self._is_stopping:
                try:
                    pause = await self._start_due()
                except DatabaseFailed as error:
                    _log.error("webhooks have to wait: %s", error.message)
                    pause = POLL_SECONDS
                await asyncio.sleep(LINGER_SECONDS)
                await bell.heard(pause)

    # ------------------------------------------------------------ who is next

    async def _start_due(self) -> float:
        """Begin what may begin now; returns after how long to look again, unless it rings."""
        now = self._clock()
        rows, next_at = await self._db.read(lambda tx: self._look(tx, now))
        chosen = self._choose(rows)
        if chosen:
            for claim in await self._db.write(lambda tx: self._claim(tx, chosen, now)):
                self._start(claim)
        return POLL_SECONDS if next_at is None else min(POLL_SECONDS, max(0.0, next_at - now))

    async def _look(self, tx: Transaction, now: float) -> tuple[list[Row], float | None]:
        """What is due, in rounds over the hosts, and when the next one will be.

        No more than `slots` rows are needed: those of hosts that have their share already come to
        no more than what is under way.
        """
        rows: list[Row] = []
        if len(self._under_way) < self._slots and await tx.fetch_one("delivery_is_due", now=now):
            rows = await tx.fetch("due_deliveries", now=now, each=self._per_host, limit=self._slots)
        coming = await tx.fetch_one("next_delivery", now=now)
        return rows, None if coming is None else float(coming["next_at"])

    def _choose(self, rows: Iterable[Row]) -> list[Row]:
        chosen: list[Row] = []
        taken = self._per_host_now.copy()
        for row in rows:
            host = row["host"]
            share = 1 if host in self._failing else self._per_host
            if row["id"] in self._under_way or taken[host] >= share:
                continue
            if len(self._under_way) + len(chosen) == self._slots:
                break
            taken[host] += 1
            chosen.append(row)
        return chosen

    async def _claim(self, tx: Transaction, rows: Iterable[Row], now: float) -> list[_Claim]:
        claims = []
        for row in rows:
            number = row["attempts"] + 1
            lost_at = now + self._schedule.timeout(number) + LEASE_SECONDS
            if await tx.execute(
                "claim_delivery", id=row["id"], attempts=row["attempts"], now=now, lost_at=lost_at
            ):
                await tx.execute("insert_delivery_attempt", id=row["id"], attempt=number, now=now)
                claims.append(_Claim(row["id"], row["request_id"], row["host"], number))
        return claims

    def _start(self, claim: _Claim) -> None:
        self._per_host_now[claim.host] += 1
        name = f"webhook {claim.id}"
        self._under_way[claim.id] = self._group.create_task(self._deliver(claim), name=name)

    # ------------------------------------------------------------ one attempt

    async def _deliver(self, claim: _Claim) -> None:
        with telemetry.about(claim.request_id):
            started, outcome = self._monotonic(), _STOPPED
            try:
                outcome = await self._attempt(claim)
                seconds = self._monotonic() - started
                move, write = self._end(claim.id, claim.number, outcome, seconds)
                await self._save(write)
                self._tell(claim, outcome, move)
            except asyncio.CancelledError:
                seconds = self._monotonic() - started
                _, write = self._end(claim.id, claim.number, outcome, seconds)
                self._db.write_later(write)  # changes nothing if it is written already
                raise
            except Exception:  # noqa: BLE001 -- it is due again when its lease is over
                _log.exception("webhook %d met a bug", claim.id)
            finally:
                self._leave(claim)

    async def _attempt(self, claim: _Claim) -> Outcome:
        row = await self._load(claim.id)
        if row is None or row["result_status"] is None:
            return _EXPIRED
        try:
            outcome = await self._send(claim, row)
        except TelecineError as error:
            _log.error("webhook %d was not sent: %s", claim.id, error.message)
            return _BROKEN
        except Exception:  # noqa: BLE001 -- one delivery must not take the others along
            _log.exception("webhook %d was not sent", claim.id)
            return _BROKEN
        self._note_host(claim.host, is_failing=outcome.status is None or outcome.status >= 500)
        return outcome

    async def _load(self, id: int) -> Row | None:
        while True:
            try:
                return await self._db.read(lambda tx: tx.fetch_one("load_delivery", id=id))
            except DatabaseFailed as error:
                _log.error("webhook %d can not be read: %s", id, error.message)
            await self._sleep(1)

    async def _send(self, claim: _Claim, row: Row) -> Outcome:
        content = body(
            claim.request_id,
            row["result_status"],
            row["result_body"],
            max_payload_bytes=self._max_payload_bytes,
        )
        signed = self._keys.sign(claim.request_id, row["key_id"], content)
        headers = {"Content-Type": "application/json", **signed}
        seconds = self._schedule.timeout(claim.number)
        answer: tuple[int, Mapping[str, str]] | None = None
        head = bytearray()
        failure = Outcome(told=f"No answer within {seconds:g} s")
        try:
            async with asyncio.timeout(seconds) as limit:
                async with self._client.request(
                    "POST", row["url"], headers=headers, data=content
                ) as response:
                    answer = response.status, response.headers
                    limit.reschedule(asyncio.get_running_loop().time() + HEAD_SECONDS)
                    await _read_head(response, head)
        except FetchRefused as error:
            failure = Outcome(told=error.message, is_final=True)
        except FetchError as error:
            failure = Outcome(told=error.message)
        except TimeoutError:
            pass  # said above; after an answer it means that its rest was not worth the wait
        if answer is None:
            return failure
        if not row["store_io"]:
            head.clear()  # it may repeat what was not to be kept
        return judge(*answer, bytes(head), now=self._clock())

    def _note_host(self, host: str, *, is_failing: bool) -> None:
        if not is_failing:
            self._failing.discard(host)
        elif len(self._failing) < MAX_FAILING:
            self._failing.add(host)

    def _leave(self, claim: _Claim) -> None:
        del self._under_way[claim.id]
        self._per_host_now[claim.host] -= 1
        if not self._per_host_now[claim.host]:
            del self._per_host_now[claim.host]
        self._bells.ring([claim.request_id])

    # ------------------------------------------------------------ its outcome

    def _end(
        self, id: int, number: int, outcome: Outcome, seconds: float
    ) -> tuple[_Move, Operation[None]]:
        """Where a delivery goes after attempt `number`, and what writes it down."""
        now, move = self._clock(), self._move(number, outcome)

        async def write(tx: Transaction) -> None:
            if await tx.execute(
                "end_delivery_attempt",
                id=id,
                attempt=number,
                seconds=round(max(0.0, seconds), 6),
                status=outcome.status,
                is_answer=int(outcome.status is not None),
                detail=outcome.told if outcome.status is None else outcome.detail,
            ):
                await tx.execute(
                    "move_delivery",
                    id=id,
                    attempt=number,
                    state=move.state,
                    next_at=now + move.delay,
                    ended_at=None if move.state == "waiting" else now,
                )

        return move, write

    def _move(self, number: int, outcome: Outcome) -> _Move:
        if outcome.is_delivered:
            return _Move("delivered")
        if outcome.is_final:
            return _Move("dead")
        delay = self._schedule.delay(number, outcome.retry_after, self._jitter())
        return _Move("dead") if delay is None else _Move("waiting", delay)

    async def _save(self, operation: Operation[None]) -> None:
        """Write until it is written."""
        seconds = 0.1
        while True:
            try:
                return await self._db.write(operation)
            except DatabaseFailed as error:
                _log.error("trying again in %g s: %s", seconds, error.message)
            await self._sleep(seconds)
            seconds = min(2 * seconds, 10.0)

    def _tell(self, claim: _Claim, outcome: Outcome, move: _Move) -> None:
        """To log and metrics: no path and no query of the URL, and nothing of the answer's body."""
        ATTEMPTS.labels(move.state).inc()
        about = f"webhook {claim.id} to {claim.host}, attempt {claim.number}: {outcome.told}"
        match move.state:
            case "delivered":
                _log.debug("%s", about)
            case "waiting":
                _log.warning("%s; trying again in %.0f s", about, move.delay)
            case "dead":
                _log.warning("%s; not tried again", about)

    # ------------------------------------------------------------ housekeeping

    async def _tidy(self) -> None:
        """What ended long ago goes, a clock that was set back is made up for, keys get old."""
        while True:
            try:
                await self._db.write(self._mend)
                if self._is_shared:
                    await self._db.write(self._take_back)
                while await self._db.write(self._expire) == TIDY_ROWS:
                    pass
                await asyncio.to_thread(self._keys.rotate_if_old)
            except (TelecineError, OSError) as error:
                _log.error("webhooks were not tidied: %s", error)
            await asyncio.sleep(TIDY_SECONDS)

    async def _mend(self, tx: Transaction) -> None:
        now = self._clock()
        await tx.execute("mend_deliveries", now=now, latest=now + self._schedule.longest_wait)

    async def _expire(self, tx: Transaction) -> int:
        before = self._clock() - self._keep_seconds
        return await tx.execute("expire_deliveries", before=before, limit=TIDY_ROWS)


async def _read_head(response: aiohttp.ClientResponse, head: bytearray) -> None:
    """As much of the answer's body as is kept; leaving the answer closes its connection."""
    async for chunk in response.content.iter_any():
        head += chunk[: HEAD_BYTES - len(head)]
        if len(head) == HEAD_BYTES:
            return
