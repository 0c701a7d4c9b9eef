"""Delivers webhooks: signs, sends, writes down what came of it, tries again.

At least once: an attempt is counted and on the disk before anything of it is sent. One that is cut
off by a crash is made again, as after any other failure; so a delivery that kills its sender
ends, too. The receiver tells deliveries of one request by its `request_id`.

Receivers are strangers: their addresses are checked like those of videos, their redirects are not
followed, of what they answer only a small head is read, and none gets more than its share of what
is sent at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
import prometheus_client

from telecine import telemetry, wire
from telecine.db.base import Database, DatabaseFailed, Operation, Row, Transaction
from telecine.errors import TelecineError
from telecine.jobs.bells import Bell, Bells
from telecine.jobs.signing import SigningKeys
from telecine.jobs.states import storable
from telecine.net import Client, FetchError, FetchRefused, shown_host, shown_url

_log = logging.getLogger("telecine.jobs.webhooks")

MAX_PAYLOAD_BYTES = 4 * 1024 * 1024  # a longer result is to be fetched from the queue
HEAD_BYTES = 4096  # what is read, and kept, of an answer
HEAD_SECONDS = 2.0  # and how long that may take: the status alone decides
POLL_SECONDS = 2.0  # the net under the bell: replays that another process asked for
LINGER_SECONDS = 0.02  # looks are no closer together: a busy queue rings all the time
LEASE_SECONDS = 30.0  # by how much an attempt that nobody ended outlives its time limit
TIDY_SECONDS = 60.0
TIDY_ROWS = 500
MAX_FAILING = 10_000

ATTEMPTS = prometheus_client.Counter(
    "telecine_webhook_attempts",
    "Attempts to deliver a webhook, by what became of the delivery.",
    ("state",),
    registry=telemetry.REGISTRY,
)


# ---------------------------------------------------------------- what is sent, and when


def body(
    request_id: str, status: int, result: str, *, max_payload_bytes: int = MAX_PAYLOAD_BYTES
) -> bytes:
    """The body that tells of a request that ended with this status and this result."""
    told: dict[str, Any] = {
        "request_id": request_id,
        "gateway_request_id": request_id,
        "status": "OK" if 200 <= status < 300 else "ERROR",
    }
    if told["status"] == "ERROR":
        told["error"] = f"Invalid status code: {status}"
    why = _why_not_embedded(result, max_payload_bytes)
    if why is not None:
        return wire.dumps({**told, "payload": None, "payload_error": why}).encode()
    # The result as it is: parsed and written again it could differ from what the queue answers.
    return f'{wire.dumps(told)[:-1]},"payload":{result}}}'.encode()


def _why_not_embedded(result: str, max_bytes: int) -> str | None:
    if len(result) > max_bytes or len(result.encode()) > max_bytes:
        return (
            f"Response payload is larger than {max_bytes} bytes."
            " Use the queue endpoint to retrieve the response."
        )
    try:
        json.loads(result)
    except (ValueError, RecursionError):
        return (
            "Response payload is not JSON serializable. Either return a JSON serializable object"
            " or use the queue endpoint to retrieve the response."
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a delivery is tried, and how long the receiver has to answer.

    One attempt, and one more after each of `delays`. Ten within two hours, even if each runs out of
    time; only a receiver's own Retry-After, each time up to `longest_retry_after`, stretches that.
    """

    delays: tuple[float, ...] = (5, 15, 45, 120, 300, 600, 900, 1200, 1800)
    first_seconds: float = 15.0
    later_seconds: float = 120.0
    longest_retry_after: float = 1800.0
    jitter: float = 0.1  # each delay is up to so much shorter or longer

    def timeout(self, attempt: int) -> float:
        return self.first_seconds if attempt == 1 else self.later_seconds

    def delay(self, attempt: int, retry_after: float | None, chance: float) -> float | None:
        """How long after attempt number `attempt` failed; None: that was the last one.

        `chance`, from 0 to 1, is where in the range it falls.
        """
        if attempt > len(self.delays):
            return None
        delay = self.delays[attempt - 1] * (1 + self.jitter * (2 * chance - 1))
        return max(delay, min(retry_after or 0.0, self.longest_retry_after))

    @property
    def longest_wait(self) -> float:
        """Nothing that waits is ever due later than so much from now."""
        longest = max(self.delays, default=0.0) * (1 + self.jitter)
        lease = max(self.first_seconds, self.later_seconds) + LEASE_SECONDS
        return max(longest, self.longest_retry_after, lease)


# ---------------------------------------------------------------- what came of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt. `told` is ours and goes to the log, `detail` to the ledger."""

    told: str
    detail: str = ""
    status: int | None = None
    is_final: bool = False
    retry_after: float | None = None

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def judge(status: int, headers: Mapping[str, str], head: bytes, *, now: float) -> Outcome:
    """What an answer means. `head` is the beginning of its body."""
    told, detail = f"answered {status}", storable(head.decode("utf-8", "replace"), HEAD_BYTES)
    if 300 <= status < 400:
        to = shown_url(headers["Location"]) if "Location" in headers else "nowhere"
        detail = f"redirects are not followed; this one leads to {to}"
        return Outcome(told=f"{told}, a redirect", detail=detail, status=status, is_final=True)
    return Outcome(
        told=told,
        detail=detail,
        status=status,
        is_final=status == 410,
        retry_after=_seconds(headers.get("Retry-After"), now),
    )


def _seconds(retry_after: str | None, now: float) -> float | None:
    """A Retry-After: a number of seconds, or the date until which to wait."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


_EXPIRED = Outcome(told="the result has expired; nothing was sent", is_final=True)
_STOPPED = Outcome(told="the server stopped during this attempt")
_BROKEN = Outcome(told="the server failed; its log says why")


# ---------------------------------------------------------------- the loop


@dataclass(frozen=True, slots=True)
class _Claim:
    """One attempt: `number` is the fence of its outcome."""

    id: int
    request_id: str
    host: str
    number: int


class Deliverer:
    """Enter it to start delivering, leave it to stop. Nobody else delivers from this database.

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
        schedule: Schedule = Schedule(),  # noqa: B008 -- frozen
        slots: int = 128,
        per_host: int = 8,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        stop_seconds: float = 5.0,
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
        self._monotonic = monotonic
        self._sleep = sleep
        self._jitter = jitter
        self._group = asyncio.TaskGroup()
        self._loops: list[asyncio.Task[None]] = []
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._per_host_now: Counter[str] = Counter()
        self._failing: set[str] = set()
        self._is_free = Bell()

    async def __aenter__(self) -> Self:
        self._keys.signing()  # made, or found to be unreadable, before anything depends on it
        await self._db.write(self._take_back)
        await self._group.__aenter__()
        start = self._group.create_task
        self._loops = [start(self._run(), name="webhooks"), start(self._tidy(), name="webhook tidy")]
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
        for loop in self._loops:
            loop.cancel()
        await asyncio.wait(self._loops)
        if self._under_way:
            _, late = await asyncio.wait(self._under_way.values(), timeout=self._stop_seconds)
            for task in late:
                task.cancel()

    async def _take_back(self, tx: Transaction) -> None:
        """What was under way when the last process died: nobody knows whether it arrived."""
        now = self._clock()
        for row in await tx.fetch("open_delivery_attempts"):
            seconds = max(0.0, now - row["at"])
            await self._end(tx, row["id"], row["attempt"], _STOPPED, seconds, now)

    async def _run(self) -> None:
        with self._bells.listen_to_all() as bell:
            self._is_free = bell
            while True:
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
            rows = await tx.fetch(
                "due_deliveries", now=now, each=self._per_host, limit=self._slots
            )
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
            started = self._monotonic()
            try:
                outcome = await self._attempt(claim)
                await self._save(self._ended(claim, outcome, started))
            except asyncio.CancelledError:
                # If the outcome was on its way already it comes first, and this one changes nothing.
                self._db.write_later(self._ended(claim, _STOPPED, started))
                raise
            finally:
                self._leave(claim)

    async def _attempt(self, claim: _Claim) -> Outcome:
        try:
            row = await self._db.read(lambda tx: tx.fetch_one("load_delivery", id=claim.id))
            if row is None or row["result_status"] is None:
                return _EXPIRED
            outcome = await self._send(claim, row)
        except TelecineError as error:
            return Outcome(told=error.message)
        except Exception:  # noqa: BLE001 -- one delivery must not take the others along
            _log.exception("webhook %d met a bug", claim.id)
            return _BROKEN
        self._note_host(claim.host, is_failing=outcome.status is None or outcome.status >= 500)
        return outcome

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
        failure = Outcome(told=f"no answer within {seconds:g} s")
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
            pass  # said above; past an answer it means that the rest was not worth the wait
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
        self._is_free.ring()

    # ------------------------------------------------------------ its outcome

    def _ended(self, claim: _Claim, outcome: Outcome, started: float) -> Operation[None]:
        now, seconds = self._clock(), round(self._monotonic() - started, 6)

        async def operation(tx: Transaction) -> None:
            url = await tx.fetch_one("delivery_url", id=claim.id)
            await self._end(tx, claim.id, claim.number, outcome, seconds, now)
            del url

        return operation

    async def _end(
        self, tx: Transaction, id: int, attempt: int, outcome: Outcome, seconds: float, now: float
    ) -> None:
        delay = None
        if not (outcome.is_delivered or outcome.is_final):
            delay = self._schedule.delay(attempt, outcome.retry_after, self._jitter())
        if outcome.is_delivered:
            state = "delivered"
        else:
            state = "dead" if delay is None else "waiting"
        is_ours = await tx.execute(
            "end_delivery_attempt",
            id=id,
            attempt=attempt,
            seconds=seconds,
            status=outcome.status,
            detail=outcome.detail or ("" if outcome.is_delivered else outcome.told),
        )
        if is_ours:
            await tx.execute(
                "move_delivery",
                id=id,
                attempt=attempt,
                state=state,
                next_at=now + (delay or 0.0),
                ended_at=None if state == "waiting" else now,
            )

    async def _save(self, operation: Operation[None]) -> None:
        """Write until it is written. Cut short by a stop, the attempt is made again."""
        seconds = 0.1
        while True:
            try:
                return await self._db.write(operation)
            except DatabaseFailed as error:
                _log.error("trying again in %g s: %s", seconds, error.message)
            await self._sleep(seconds)
            seconds = min(2 * seconds, 10.0)
