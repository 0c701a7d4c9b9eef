"""One attempt at one request, while it is worked on: what came so far, and what to write."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, NamedTuple

from telecine import openai, wire
from telecine.db.base import Row
from telecine.endpoints import ENDPOINTS
from telecine.jobs.states import Attempt, Ending, arrival, storable
from telecine.models import (
    Asked,
    Attachment,
    Bill,
    Caller,
    Checkpoint,
    Chunk,
    Delta,
    Done,
    Event,
    Log,
    Outcome,
    Receipt,
    Request,
    Usage,
)

_log = logging.getLogger("telecine.jobs.runs")

MAX_LINES = 10_000
MAX_CHARACTERS = 4_096


class Line(NamedTuple):
    """One line of a request's log, as a row."""

    seq: int
    at: float
    level: str
    message: str


class Limit:
    """The time that a run may take, until the loop's clock says `until`. Enter it to wait for
    something: TimeoutError when time is up, unless what it waits for is there. One timer does for
    all of a run's waits; in between nobody is cancelled."""

    def __init__(self, until: float) -> None:
        self.is_over = False
        self._until = until
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self._cancelled_before = 0
        self._is_cancelling = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        if self.is_over:
            loop.call_soon(self.end)
        elif self._timer is None:
            self._timer = loop.call_at(self._until, self.end)
        task = asyncio.current_task()
        assert task is not None, "only a task can wait"
        self._waiting, self._cancelled_before = task, task.cancelling()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._waiting = self._waiting, None
        if self._is_cancelling and task is not None:
            self._is_cancelling = False
            is_by_us_alone = task.uncancel() <= self._cancelled_before
            if is_by_us_alone and isinstance(error, asyncio.CancelledError):
                raise TimeoutError from error

    def end(self) -> None:
        """Time is up now."""
        self.is_over = True
        if self._waiting is not None and not self._is_cancelling:
            self._is_cancelling = True
            self._waiting.cancel()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class Run:
    """`started` is monotonic, `started_at` the time of day; by `until` it must have ended, on the
    loop's clock.

    `row` is a live call's own, in case the database had no room for it when it came in.
    """

    def __init__(
        self,
        request: Request,
        *,
        started_at: float,
        started: float,
        until: float,
        last_line: int = 0,
    ) -> None:
        self.request = request
        self.started = started
        self.limit = Limit(until)
        self.attempt = Attempt(request.id, request.attempt, started_at)
        self.usage: Usage | None = None
        self.receipt: Receipt | None = None
        self.row: Mapping[str, Any] | None = None
        self.has_text = False
        self._text: list[str] = []
        self._reasoning: list[str] = []
        api = ENDPOINTS[request.endpoint].api
        self._answer = None if api is None else openai.assembler(api)
        self._done: Done | None = None
        self._lines: list[Line] = []
        self._last_line = last_line
        self._asked: dict[str, Asked] = {}
        self._bills: list[Bill] = []

    @property
    def id(self) -> str:
        return self.request.id

    def note(self, event: Event, at: float) -> None:
        match event:
            case Delta():
                self.has_text = True
                if event.text:
                    self._text.append(event.text)
                if event.reasoning:
                    self._reasoning.append(event.reasoning)
            case Chunk() if self._answer is not None:
                self.has_text = True
                self._answer.add(event.body)
            case Log():
                self.log(event, at)
            case Asked():
                self._asked[event.call] = event
            case Bill():
                self._asked.pop(event.call, None)
                if event.usage is not None:
                    self._bills.append(event)
            case Usage():
                self.usage = event
            case Receipt():
                self.receipt = event
            case Done():
                self._done = event

    def text_so_far(self) -> str:
        self._text = ["".join(self._text)]
        return self._text[0]

    def success(self) -> Ending:
        """The ending of a pipeline that came to its end."""
        if self._done is None:
            raise RuntimeError("the pipeline ended without Done")
        outcome = Outcome(
            output=self.text_so_far(),
            reasoning="".join(self._reasoning),
            answer=None if self._answer is None else self._answer.whole(),
            usage=self.usage,
            receipt=self.receipt,
            finish_reason=self._done.finish_reason,
            is_done=True,
        )
        return Ending("succeeded", wire.result(self.request, outcome))

    def written_receipt(self) -> Mapping[str, Any] | None:
        """None also where it can not be written: what it came to has to be told all the same."""
        try:
            return self.receipt.body if self.receipt else None
        except Exception:  # noqa: BLE001 -- a bug there must not keep the request from its end
            _log.exception("the receipt of request %s can not be written", self.id)
            self.receipt = None
            return None

    # ------------------------------------------------------------ the bills

    @property
    def has_cost(self) -> bool:
        """Something was charged that is not written yet."""
        sources = {bill.usage.cost_source for bill in self._bills if bill.usage is not None}
        return bool(sources & {"billed", "computed"})

    def cut_off(self) -> None:
        """Calls that are still under way end here: perhaps billed, nobody told how much."""
        for asked in self._asked.values():
            bill = Bill(
                call=asked.call,
                usage=Usage(),
                provider=asked.provider,
                model=asked.model,
                upstream_id=asked.upstream_id,
            )
            self._bills.append(bill)
        self._asked.clear()

    def take_bills(self) -> list[Bill]:
        """The bills that are not written yet."""
        bills, self._bills = self._bills, []
        return bills

    def keep(self, checkpoint: Checkpoint) -> None:
        """What is asked again will find it."""
        kept = {**self.request.checkpoints, checkpoint.name: checkpoint.body}
        self.request = replace(self.request, checkpoints=kept)

    # ------------------------------------------------------------ the log

    def log(self, log: Log, at: float) -> None:
        """Add a line; past MAX_LINES only one that says so."""
        if self._last_line >= MAX_LINES:
            return
        self._last_line += 1
        if self._last_line == MAX_LINES:
            log = Log(f"The log is cut here: a request may have {MAX_LINES} lines", "WARN")
        message = storable(log.message, MAX_CHARACTERS)
        self._lines.append(Line(self._last_line, at, log.level, message))

    def take_lines(self) -> list[Line]:
        """The lines that are not written yet: to be written, or given back."""
        lines, self._lines = self._lines, []
        return lines

    def give_back(self, lines: list[Line]) -> None:
        self._lines[:0] = lines


def queued(row: Row, checkpoints: Sequence[Row], *, started: float, until: float) -> Run:
    """The run of an admitted job from its row (`load_request`) and what it got done before."""
    attachments = json.loads(row["attachments"])
    request = Request(
        id=row["id"],
        endpoint=row["endpoint"],
        mode=row["mode"],
        caller=Caller(row["key_id"]),
        document=json.loads(row["input"]),
        attachments={name: Attachment(**fields) for name, fields in attachments.items()},
        attempt=row["attempt"],
        checkpoints={kept["name"]: json.loads(kept["body"]) for kept in checkpoints},
    )
    return Run(
        request,
        started_at=row["started_at"],
        started=started,
        until=until,
        last_line=row["last_log"],
    )


def live_row(run: Run, *, node: str, store_io: bool) -> dict[str, Any]:
    """The row of a live call: it runs from the start, and keeps no bytes of its videos."""
    return arrival(
        run.request,
        attachments="{}",
        state="running",
        node=node,
        attempt=run.request.attempt,
        store_io=int(store_io),
        created_at=run.attempt.started_at,
        started_at=run.attempt.started_at,
    )
