"""Who may run next, and how much may run or wait at once.

Free slots go to the requests that wait, `normal` before `low`. Between keys the one that runs
least comes first, then the one that was served longest ago, then the order of arrival. A key
or a lane (of one model, or of several that share an engine) that runs as much as it may is passed
over without holding up the others. Live calls (run, stream) do not wait: they take their place at
once or are refused; queued requests of the same key count with them.

The rows are the truth. The tallies kept here beside them answer what must not cost a query;
they belong to the one process that runs an embedded installation.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

from telecine import telemetry
from telecine.db.base import Database, DatabaseFailed, Row, Transaction
from telecine.errors import Deadline, LimitReached
from telecine.jobs.bells import Bell, Bells
from telecine.jobs.executor import Executor
from telecine.jobs.states import Ending, States, failure

_log = logging.getLogger("telecine.jobs.gate")

EARLY_SECONDS = 0.005  # by how much a timer may be ahead of the clock
POLL_SECONDS = 1.0  # the net under the bell: retries that came due, and what other processes wrote


class Lane(NamedTuple):
    """Where requests line up for what runs only so many at once; `limit` 0: any number.

    Without `counts_live` live calls take none of its places: where they wait for their turn as the
    jobs do, they would otherwise keep jobs out for as long as there are enough of them.
    """

    name: str
    limit: int = 0
    counts_live: bool = True


LaneOf: TypeAlias = Callable[[str], Lane]
"""The lane of the model that a request names."""


class Gate:
    """`slots`: queued requests that run at once. `per_key`: of any mode; 0: no limit. `lane`: how
    many of a model. `depth`: requests that may wait."""

    def __init__(
        self,
        *,
        db: Database,
        executor: Executor,
        states: States,
        bells: Bells,
        clock: Callable[[], float],
        slots: int,
        per_key: int = 0,
        lane: LaneOf = Lane,
        depth: int = 100_000,
    ) -> None:
        self._db = db
        self._executor = executor
        self._states = states
        self._bells = bells
        self._clock = clock
        self._slots = slots
        self._limits = Limits(per_key, lane)
        self._depth = depth
        self._bell = Bell()
        self._passing = asyncio.Lock()
        self._waiting = 0
        self._changes = 0
        self._moving = 0
        self._inside: dict[str, str] = {}
        self._per_key: Counter[str] = Counter()
        self._jobs: set[str] = set()
        self._is_stopped = False

    # ------------------------------------------------------------ queued requests

    def arrive(self, key_id: str, max_length: int | None) -> int:
        """Take a place in the line, before the row is written; returns how many stand before it.

        Raises LimitReached if the queue is full, or would be longer than `max_length`. To be
        followed by `arrived`, whatever comes of it.
        """
        limit = self._depth
        if max_length is not None and not self._has_room(key_id):
            limit = min(limit, max_length)
        if self._waiting >= limit:
            raise LimitReached(
                f"The queue is full: {self._waiting} requests wait, and {limit} may. Try again"
                " later.",
                type="queue_full",
                data={"limit": limit},
            )
        self._moving += 1
        self._add_waiting(1)
        return self._waiting - 1

    def arrived(self, *, is_waiting: bool, start_in: float | None = None) -> None:
        """The row is there (or not, after all); it is to be started within `start_in` seconds."""
        self._moving -= 1
        if not is_waiting:
            self._add_waiting(-1)
            return
        self.ring()
        if start_in is not None:
            self.ring_in(start_in)

    @contextmanager
    def moving(self) -> Iterator[None]:
        """While a row joins or leaves the line, what the rows say and the tally may differ."""
        self._moving += 1
        try:
            yield
        finally:
            self._moving -= 1

    def left_line(self) -> None:
        """A request that waited was cancelled."""
        self._add_waiting(-1)

    def returned(self, id: str, *, due_in: float = 0) -> None:
        """A request that ran waits again, to be tried in so many seconds."""
        self._add_waiting(1)
        self.leave(id)
        if due_in > 0:
            self.ring_in(due_in)

    def _has_room(self, key_id: str) -> bool:
        """Whether a request that arrives now would start at once."""
        has_limit = bool(self._limits.per_key)
        is_free = not has_limit or self._per_key[key_id] < self._limits.per_key
        return self._waiting == 0 and len(self._jobs) < self._slots and is_free

    def _add_waiting(self, number: int) -> None:
        self._waiting = max(0, self._waiting + number)
        self._changes += 1
        telemetry.QUEUED.set(self._waiting)

    # ------------------------------------------------------------ live calls

    def check(self, key_id: str) -> None:
        """Raises LimitReached if a live call would not be let in just now; takes no place."""
        limit = self._limits.per_key
        if limit and self._per_key[key_id] >= limit:
            raise LimitReached(
                f"Reached concurrent requests limit of {limit}", data={"limit": limit}
            )

    async def enter(self, id: str, key_id: str) -> None:
        """Let a live call in, or raise LimitReached. Its row must be on its way to the database
        before anything else is awaited: the next admission counts rows. `leave` ends it."""
        if self._limits.per_key:
            async with self._passing:
                self.check(key_id)
                self._add_inside(id, key_id)
        else:
            self._add_inside(id, key_id)

    def leave(self, id: str) -> None:
        """A request of any mode runs no longer; its row says so before the next admission."""
        key_id = self._inside.pop(id, None)
        if key_id is None:
            return
        self._jobs.discard(id)
        self._per_key[key_id] -= 1
        if not self._per_key[key_id]:
            del self._per_key[key_id]
        if self._waiting:
            self.ring()

    def _add_inside(self, id: str, key_id: str) -> None:
        self._inside[id] = key_id
        self._per_key[key_id] += 1

    # ------------------------------------------------------------ admission

    def ring(self) -> None:
        """Something changed that may let somebody in."""
        self._bell.ring()

    def ring_in(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds + EARLY_SECONDS, self.ring)

    async def run(self) -> None:
        """Admit on every ring, and look by itself now and then, until `stop`."""
        while not self._is_stopped:
            is_rung = await self._bell.heard(POLL_SECONDS)
            try:
                if is_rung or await self._has_work():
                    await self.admit()
            except DatabaseFailed as error:
                _log.error("nobody was admitted: %s", error.message)

    def stop(self) -> None:
        """Admit nobody any more; `run` ends when whom it admits just now is delivered."""
        self._is_stopped = True
        self.ring()

    async def admit(self) -> list[str]:
        """Start what may start now, and end what was to start by now; returns what was started."""
        if self._is_stopped:
            return []
        async with self._passing:
            overdue, admitted, deliver = await self._db.write(self._pass)
            self._add_waiting(-len(overdue) - len(admitted))
            for row in admitted:
                self._jobs.add(row["id"])
                self._add_inside(row["id"], row["key_id"])
            deliver()
        ids = [str(row["id"]) for row in admitted]
        self._bells.ring([*overdue, *ids])
        return ids

    async def _pass(self, tx: Transaction) -> tuple[list[str], Sequence[Row], Callable[[], None]]:
        now = self._clock()
        overdue = [
            str(row["id"])
            for row in await tx.fetch("overdue_requests", now=now)
            if await self._states.close(tx, row["id"], _too_late(row["id"]), now=now)
        ]
        running = await tx.fetch("count_running")
        free = self._slots - sum(row["n"] for row in running if row["mode"] == "queue")
        if free <= 0:
            return overdue, [], _nothing
        waiting = await tx.fetch(
            "first_waiting", now=now, each=min(free, self._limits.per_key or free)
        )
        admitted = [
            row
            for row in choose(waiting, running, free, self._limits)
            if await tx.execute("admit_request", id=row["id"], now=now)
        ]
        if not admitted:
            return overdue, [], _nothing
        last = {row["key_id"]: place for place, row in enumerate(admitted)}
        for key_id in sorted(last, key=last.__getitem__):
            await tx.execute("take_turn", key_id=key_id)
        return overdue, admitted, await self._executor.dispatch([r["id"] for r in admitted], tx)

    async def _has_work(self) -> bool:
        """What nobody rang for: due requests, and cancellations that another process asked for."""
        now, changes = self._clock(), self._changes

        async def operation(tx: Transaction) -> tuple[Sequence[Row], int]:
            waiting = await tx.fetch_one("count_waiting")
            return await tx.fetch("gate_agenda", now=now), waiting["n"] if waiting else 0

        agenda, waiting = await self._db.read(operation)
        if self._changes == changes and not self._moving:
            self._add_waiting(waiting - self._waiting)
        for row in agenda:
            if row["what"] == "stop":
                await self._executor.cancel(row["id"])
        return any(row["what"] == "due" for row in agenda)


class Limits(NamedTuple):
    per_key: int = 0
    lane: LaneOf = Lane


def choose(waiting: Iterable[Row], running: Iterable[Row], free: int, limits: Limits) -> list[Row]:
    """Which of `waiting` start now, in order. It needs of every key and model that have any the
    `free` foremost; `running` counts per key, model and mode."""
    per_key: Counter[str] = Counter()
    per_lane: Counter[Lane] = Counter()
    for row in running:
        per_key[row["key_id"]] += row["n"]
        lane = limits.lane(row["model"])
        if lane.counts_live or row["mode"] == "queue":
            per_lane[lane] += row["n"]
    lines: dict[str, deque[Row]] = defaultdict(deque)
    served: dict[str, tuple[int, int]] = {}
    for row in sorted(waiting, key=_place):
        lines[row["key_id"]].append(row)
        served[row["key_id"]] = (0, row["served"])

    def turn(key_id: str) -> tuple[int, int, tuple[int, int], int, str]:
        priority, seq = _place(lines[key_id][0])
        return priority, per_key[key_id], served[key_id], seq, key_id

    chosen: list[Row] = []
    heads = [turn(key_id) for key_id in lines]
    heapq.heapify(heads)
    while heads and len(chosen) < free:
        *_, key_id = heapq.heappop(heads)
        if limits.per_key and per_key[key_id] >= limits.per_key:
            continue
        row = lines[key_id].popleft()
        lane = limits.lane(row["model"])
        if not lane.limit or per_lane[lane] < lane.limit:
            chosen.append(row)
            per_key[key_id] += 1
            per_lane[lane] += 1
            served[key_id] = (len(chosen), 0)
        if lines[key_id]:
            heapq.heappush(heads, turn(key_id))
    return chosen


def _place(row: Row) -> tuple[int, int]:
    return row["priority"], row["seq"]


def _too_late(id: str) -> Ending:
    message = "The request did not start within the time that its caller gave."
    return failure(Deadline(message, by_user=True), id)


def _nothing() -> None:
    pass
