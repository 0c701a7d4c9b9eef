"""Who may run next, and how much may run or wait at once.

Free slots go to the requests that wait, `normal` before `low`. Between keys the one that runs
least comes first, then the one that was served longest ago, then the order of arrival. A key
or a lane (of one model, or of several that share an engine) that runs as much as it may is passed
over without holding up the others. Live calls (run, stream) do not wait: they take their place at
once or are refused; queued requests of the same key count with them.

The rows are the truth. The tallies kept here beside them answer what must not cost a query. On an
embedded installation they are exact, as one process runs everything. Where nodes share a database
each has a gate: one at a time admits, or lets in a live call of a limited key; the tallies are what
the rows said a moment ago, which only the depth of the queue and its length as callers see it
depend on.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from telecine import telemetry
from telecine.db.base import Database, DatabaseFailed, Row, Transaction
from telecine.errors import Deadline, LimitReached
from telecine.jobs.bells import Bell, Bells
from telecine.jobs.executor import Executor
from telecine.jobs.states import Ending, States, failure
from telecine.models import Caller

_log = logging.getLogger("telecine.jobs.gate")

EARLY_SECONDS = 0.005  # by how much a timer may be ahead of the clock
POLL_SECONDS = 1.0  # the net under the bell: what came due, and what other processes wrote
# So many submits in so short a time are a rush: jobs start in steps then.
RUSH, RUSH_SECONDS = 4, 0.03
STEP_SECONDS, LONGEST_STEP_SECONDS = 0.005, 0.05
BUSY = 0.5  # of one processor: what is left is spent waiting for the disk, and for the callers
LONGEST_RETRY_AFTER_SECONDS = 3600.0  # no retry is put off for longer than that


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

SlotsOf: TypeAlias = Callable[[Transaction], Awaitable[int]]
"""How many queued requests all nodes together may run at once."""


class Gate:
    """`slots`: queued requests that run at once; nodes that share a database ask it. `per_key`: of
    any mode; 0: no limit, but for the key's own. `lane`: how many of a model. `depth`: requests
    that may wait."""

    def __init__(
        self,
        *,
        db: Database,
        executor: Executor,
        states: States,
        bells: Bells,
        clock: Callable[[], float],
        slots: int | SlotsOf,
        per_key: int = 0,
        lane: LaneOf = Lane,
        depth: int = 100_000,
    ) -> None:
        self._db = db
        self._executor = executor
        self._states = states
        self._bells = bells
        self._clock = clock
        self._slots_of = None if isinstance(slots, int) else slots
        self._slots = slots if isinstance(slots, int) else 1  # until it was asked
        self._limits = Limits(per_key, lane)
        self._depth = depth
        self._bell = Bell()
        self._passing = asyncio.Lock()
        self._waiting = 0
        self._changes = 0
        self._moved = 0
        self._moving = 0
        self._inside: dict[str, _Place] = {}
        self._per_key: Counter[str] = Counter()
        self._per_lane: Counter[Lane] = Counter()
        self._jobs = 0
        self._next_at: float | None = None
        self._came_at: deque[float] = deque([-math.inf] * RUSH, maxlen=RUSH)
        self._is_stopped = False

    # ------------------------------------------------------------ queued requests

    def lane(self, model: str) -> str:
        """Where a request for the model lines up, as its row has it. All that have no limit of
        their own share one line: a pass has to look at every line that there is."""
        lane = self._limits.lane(model)
        return lane.name if lane.limit else ""

    def arrive(self, caller: Caller, model: str, max_length: int | None) -> int:
        """Take a place in the line, before the row is written; returns how many stand before it.

        Raises LimitReached if the queue is full, or if it would be longer than `max_length`, unless
        the request starts at once. To be followed by `arrived`, whatever comes of it.
        """
        limit = self._depth
        if max_length is not None and not self._has_room(caller, model):
            limit = min(limit, max_length)
        self._check_depth(limit)
        self._moving += 1
        self._came_at.append(time.monotonic())
        self._add_waiting(1)
        return self._waiting - 1

    def check_depth(self) -> None:
        """Raises LimitReached if the queue is full just now; takes no place."""
        self._check_depth(self._depth)

    def _check_depth(self, limit: int) -> None:
        if self._waiting >= limit:
            raise LimitReached(
                f"The queue is full: {self._waiting} requests wait, and {limit} may. Try again"
                " later.",
                type="queue_full",
                data={"limit": limit},
            )

    def arrived(self, *, is_waiting: bool, start_in: float | None = None) -> None:
        """The row is there (or not, after all); it is to be started within `start_in` seconds."""
        self._moving -= 1
        if not is_waiting:
            self._add_waiting(-1)
            return
        self.ring()
        if start_in is not None:
            self._ring_in(start_in)

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
            self._ring_in(due_in)

    def _has_room(self, caller: Caller, model: str) -> bool:
        """Whether a request that arrives now would start at once, whoever waits."""
        most = self._limits.of_key(caller.limits.running)
        lane, before = self._limits.lane(model), self._waiting
        return (
            before + self._jobs < self._slots
            and (not most or before + self._per_key[caller.key_id] < most)
            and (not lane.limit or before + self._per_lane[lane] < lane.limit)
        )

    def _add_waiting(self, number: int) -> None:
        self._waiting = max(0, self._waiting + number)
        self._changes += 1
        self._moved += number
        telemetry.QUEUED.set(self._waiting)

    # ------------------------------------------------------------ live calls

    def check(self, caller: Caller) -> None:
        """Raises LimitReached if a live call would not be let in just now; takes no place."""
        most = self._limits.of_key(caller.limits.running)
        if most and self._per_key[caller.key_id] >= most:
            raise _too_many(most)

    async def enter(self, caller: Caller, row: Mapping[str, Any]) -> None:
        """Let a live call in, whose row this is, or raise LimitReached. `leave` ends it.

        The row is on its way to the database when this returns; with a limit that holds across
        nodes it is there.
        """
        most = self._limits.of_key(caller.limits.running)
        if self._slots_of is not None:
            await self._enter_shared(row, most)
            return
        if most:
            async with self._passing:
                self.check(caller)
                self._enter(row)
        else:
            self._enter(row)

    def _enter(self, row: Mapping[str, Any]) -> None:
        """Nothing else is awaited in between: the next admission counts rows."""
        self._add_inside(row, is_job=False)
        self._db.write_later(lambda tx: tx.execute("insert_request", **row))

    async def _enter_shared(self, row: Mapping[str, Any], most: int) -> None:
        async def operation(tx: Transaction) -> None:
            await tx.fetch("lock_gate")
            running = await tx.fetch_one("running_of_key", key_id=row["key_id"])
            if running and running["n"] >= most:
                raise _too_many(most)
            await tx.execute("insert_request", **row)

        if most:
            await self._db.write(operation)
        else:
            self._db.write_later(lambda tx: tx.execute("insert_request", **row))

    def leave(self, id: str) -> None:
        """A request of any mode runs no longer; its row says so before the next admission."""
        if self._slots_of is not None:
            self.ring()
            return
        place = self._inside.pop(id, None)
        if place is None:
            return
        self._jobs -= place.is_job
        self._per_key[place.key_id] -= 1
        if not self._per_key[place.key_id]:
            del self._per_key[place.key_id]
        self._per_lane[place.lane] -= place.is_counted
        if not self._per_lane[place.lane]:
            del self._per_lane[place.lane]
        if self._waiting:
            self.ring()

    def _add_inside(self, row: Mapping[str, Any], *, is_job: bool) -> None:
        lane = self._limits.lane(row["model"])
        place = _Place(row["key_id"], lane, is_job, is_job or lane.counts_live)
        self._inside[row["id"]] = place
        self._jobs += place.is_job
        self._per_key[place.key_id] += 1
        self._per_lane[place.lane] += place.is_counted

    # ------------------------------------------------------------ admission

    def ring(self) -> None:
        """Something changed that may let somebody in."""
        self._bell.ring()

    def _ring_in(self, seconds: float) -> None:
        """What comes later than the next look is found by that: there may be very many of it."""
        if seconds < POLL_SECONDS:
            asyncio.get_running_loop().call_later(max(0.0, seconds) + EARLY_SECONDS, self.ring)

    async def run(self) -> None:
        """Admit on every ring, and look by itself now and then, until `stop`."""
        is_in_line = False
        while not self._is_stopped:
            is_rung = await self._bell.heard(self._pause())
            await self._give_way()
            try:
                if not is_in_line:
                    await self._db.write(self._line_up)
                    is_in_line = True
                if is_rung or await self._has_work():
                    await self.admit()
            except DatabaseFailed as error:
                _log.error("nobody was admitted: %s", error.message)

    async def _give_way(self) -> None:
        """In a rush submits go first: their callers wait for an answer, while the jobs have been
        accepted. Only as long as the processor is busy with something else."""
        until = time.monotonic() + LONGEST_STEP_SECONDS
        while (now := time.monotonic()) < until and now - self._came_at[0] < RUSH_SECONDS:
            worked = time.process_time()
            await asyncio.sleep(STEP_SECONDS)
            is_busy = time.process_time() - worked > BUSY * (time.monotonic() - now)
            if not is_busy or self._is_stopped:
                return

    def _pause(self) -> float:
        if self._next_at is None:
            return POLL_SECONDS
        wait = max(0.0, self._next_at - self._clock()) + EARLY_SECONDS
        self._next_at = None  # the next look tells of what comes then
        return min(POLL_SECONDS, wait)

    def stop(self) -> None:
        """Admit nobody any more; `run` ends when whom it admits just now is delivered."""
        self._is_stopped = True
        self.ring()

    async def admit(self) -> list[str]:
        """Start what may start now, and end what was to start by now; returns what was started."""
        if self._is_stopped:
            return []
        async with self._passing:
            done = await self._db.write(self._pass)
            self._add_waiting(-len(done.overdue) - len(done.admitted))
            if self._slots_of is None:
                for row in done.admitted:
                    self._add_inside(row, is_job=True)
            done.deliver()
        ids = [str(row["id"]) for row in done.admitted]
        self._bells.ring([*done.overdue, *ids])
        return ids

    async def _pass(self, tx: Transaction) -> _Passed:
        now = self._clock()
        await tx.fetch("lock_gate")
        overdue = [
            str(row["id"])
            for row in await tx.fetch("overdue_requests", now=now)
            if await self._states.close(tx, row["id"], _too_late(row["id"]), now=now)
        ]
        if await self._look_ahead(tx, now):
            await tx.execute("mend_retries", now=now, latest=now + LONGEST_RETRY_AFTER_SECONDS)
        running = await tx.fetch("count_running")
        await self._count(tx, running)
        free = self._slots - sum(row["n"] for row in running if row["mode"] == "queue")
        if free <= 0:
            return _Passed(overdue)
        waiting = await tx.fetch(
            "first_waiting", now=now, each=min(free, self._limits.per_key or free)
        )
        chosen = choose(waiting, running, free, self._limits)
        if not chosen:
            return _Passed(overdue)
        ids = json.dumps([row["id"] for row in chosen])
        moved = {row["id"] for row in await tx.fetch("admit_requests", ids=ids, now=now)}
        admitted = [row for row in chosen if row["id"] in moved]
        last = {row["key_id"]: place for place, row in enumerate(admitted)}
        for key_id in sorted(last, key=last.__getitem__):
            await tx.execute("take_turn", key_id=key_id)
        deliver = await self._executor.dispatch([str(row["id"]) for row in admitted], tx)
        return _Passed(overdue, admitted, deliver)

    async def _look_ahead(self, tx: Transaction, now: float) -> bool:
        """Note when something comes due by itself. Whether anything is put off for longer than any
        retry ever is: the clock was set back since."""
        due = await tx.fetch_one("next_due", now=now)
        assert due is not None, "a query without FROM has a row"
        self._next_at = min((at for at in (due["retry_at"], due["start_by"]) if at), default=None)
        return (due["last_retry_at"] or 0) > now + LONGEST_RETRY_AFTER_SECONDS + POLL_SECONDS

    async def _count(self, tx: Transaction, running: Iterable[Row]) -> None:
        """Where nodes share the database, what runs is what the rows say."""
        if self._slots_of is None:
            return
        self._slots = await self._slots_of(tx)
        self._per_key, self._per_lane = tallied(running, self._limits)
        self._jobs = sum(row["n"] for row in running if row["mode"] == "queue")

    async def _has_work(self) -> bool:
        """What nobody rang for: due requests, and cancellations that another process asked for."""
        now, changes, moved = self._clock(), self._changes, self._moved

        async def operation(tx: Transaction) -> tuple[Sequence[Row], int, bool]:
            waiting = await tx.fetch_one("count_waiting")
            if self._slots_of is not None:
                await self._count(tx, await tx.fetch("count_running"))
            is_put_off = await self._look_ahead(tx, now)
            agenda = await tx.fetch("gate_agenda", now=now)
            return agenda, waiting["n"] if waiting else 0, is_put_off

        agenda, waiting, is_put_off = await self._db.read(operation)
        if self._slots_of is not None:  # what others did is in the rows alone
            self._add_waiting(waiting + self._moved - moved - self._waiting)
        elif self._changes == changes and not self._moving:
            self._add_waiting(waiting - self._waiting)
        for row in agenda:
            if row["what"] == "stop":
                await self._executor.cancel(row["id"])
        return is_put_off or any(row["what"] == "due" for row in agenda)

    async def _line_up(self, tx: Transaction) -> None:
        """What waits since before the settings changed stands in the lanes of today."""
        for row in await tx.fetch("waiting_models"):
            if row["lane"] != (lane := self.lane(row["model"])):
                await tx.execute("change_lane", model=row["model"], lane=lane)


class _Place(NamedTuple):
    """What a running request takes up."""

    key_id: str
    lane: Lane
    is_job: bool
    is_counted: bool  # in its lane


def _nothing() -> None:
    pass


class _Passed(NamedTuple):
    """What came of one look at the line; `deliver` is to be called after the commit."""

    overdue: Sequence[str]
    admitted: Sequence[Row] = ()
    deliver: Callable[[], None] = _nothing


def _too_many(limit: int) -> LimitReached:
    return LimitReached(f"Reached concurrent requests limit of {limit}", data={"limit": limit})


class Limits(NamedTuple):
    """`per_key`: for every key; a key may have a lower one of its own."""

    per_key: int = 0
    lane: LaneOf = Lane

    def of_key(self, own: int | None) -> int:
        """0: no limit."""
        return min(filter(None, (self.per_key, own)), default=0)


def tallied(running: Iterable[Row], limits: Limits) -> tuple[Counter[str], Counter[Lane]]:
    """What runs, per key and per lane; `running` counts per key, model and mode."""
    per_key: Counter[str] = Counter()
    per_lane: Counter[Lane] = Counter()
    for row in running:
        per_key[row["key_id"]] += row["n"]
        lane = limits.lane(row["model"])
        if lane.counts_live or row["mode"] == "queue":
            per_lane[lane] += row["n"]
    return per_key, per_lane


def choose(waiting: Iterable[Row], running: Iterable[Row], free: int, limits: Limits) -> list[Row]:
    """Which of `waiting` start now, in order. It needs of every key and lane that have any the
    `free` foremost; `most` of a row is its key's own limit."""
    per_key, per_lane = tallied(running, limits)
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
        most = limits.of_key(lines[key_id][0].get("most"))
        if most and per_key[key_id] >= most:
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
