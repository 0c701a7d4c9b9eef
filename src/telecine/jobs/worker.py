"""Runs requests through the pipeline and finishes their rows: queued jobs, and live calls.

A finish is fenced by the attempt number, shielded from cancellation, and tried until the database
takes it: an outcome is never dropped without a word.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from telecine import ledger, telemetry
from telecine.db.base import Database, DatabaseFailed, InDoubt, Operation, Row, Transaction
from telecine.errors import (
    Cancelled,
    Deadline,
    ProviderUnavailable,
    Stopped,
    Stopping,
    TelecineError,
)
from telecine.jobs.bells import Bell, Bells
from telecine.jobs.executor import Executor
from telecine.jobs.gate import LONGEST_RETRY_AFTER_SECONDS, Gate
from telecine.jobs.runs import Line, Run, live_row, queued
from telecine.jobs.settler import Settler
from telecine.jobs.states import Attempt, Ending, States, failure, storable
from telecine.models import Asked, Bill, Caller, Checkpoint, Done, Event, Log, Request, Result

_log = logging.getLogger("telecine.jobs.worker")

JOB_ATTEMPTS = 10
LIVE_ATTEMPTS = 3
LIVE_WAIT_SECONDS = 10.0  # a live caller is told to come back rather than kept waiting longer
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 60.0
LOG_SECONDS = 0.2  # how long log lines may wait to be written together
SAVE_SECONDS = 10.0  # how long stopping waits for outcomes that the database does not take
TIDY_SECONDS = 60.0
TIDY_ROWS = 200

T = TypeVar("T")
Pipeline: TypeAlias = Callable[[Request], AsyncGenerator[Event, None]]


async def _anything(_key_id: str) -> None:
    return None


class Worker:
    """Enter it to start working, leave it to stop: no new work, and what runs gets its time.

    `pipeline` is `inference.run`; `node` is the name of this one where several share a database;
    `afford` raises Forbidden for a key whose budget is spent. If a part of this dies, the task that
    entered it is cancelled: a server must not go on without.
    """

    def __init__(
        self,
        *,
        db: Database,
        pipeline: Pipeline,
        gate: Gate,
        executor: Executor,
        states: States,
        bells: Bells,
        settler: Settler,
        slots: int,
        run_seconds: float,
        clock: Callable[[], float],
        afford: Callable[[str], Awaitable[None]] = _anything,
        node: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._db = db
        self._pipeline = pipeline
        self._gate = gate
        self._executor = executor
        self._states = states
        self._bells = bells
        self._settler = settler
        self._slots = slots
        self._run_seconds = run_seconds
        self._clock = clock
        self._afford = afford
        self._node = node
        self._monotonic = monotonic
        self._sleep = sleep
        self._jitter = jitter
        self._loops = asyncio.TaskGroup()
        self._gate_loop: asyncio.Task[None] | None = None
        self._executor_loop: asyncio.Task[None] | None = None
        self._other_loops: list[asyncio.Task[None]] = []
        self._stopping: asyncio.Task[None] | None = None
        self._is_over = False  # what runs has had its time to end
        self._ending: asyncio.Task[None] | None = None
        self._live: dict[str, Run] = {}
        self._unwanted: set[str] = set()  # live calls that somebody wants stopped
        self._jobs: set[str] = set()
        self._asking: dict[str, Run] = {}  # those whose provider is at it
        self._saving: set[asyncio.Task[Any]] = set()
        self._chatty: set[Run] = set()
        self._chat = Bell()

    async def __aenter__(self) -> Self:
        await self._loops.__aenter__()
        start = self._loops.create_task
        if self._slots:
            executor = self._executor.run(self.handle, self._slots)
            self._executor_loop = start(executor, name="executor")
        self._other_loops.append(start(self._write_logs(), name="logs"))
        self._other_loops.append(start(self._tidy(), name="tidy"))
        self._other_loops.append(start(self._settler.run(), name="settler"))
        self._gate_loop = start(self._gate.run(), name="gate")
        self._gate.ring()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._stop_or_hurry()
        except BaseException as hurry:
            await self._loops.__aexit__(type(hurry), hurry, hurry.__traceback__)
            raise
        if isinstance(error, asyncio.CancelledError):  # perhaps because a loop died: it tells
            await self._loops.__aexit__(kind, error, trace)
        else:
            await self._loops.__aexit__(None, None, None)

    def stop(self) -> None:
        """Take no new work from now on; what runs gets its time from now. Leaving waits for it.

        Called again, that time is over: live calls fail with Stopped, jobs wait for the next
        start.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop_jobs(), name="telecine stop")
        elif not self._is_over:
            self._is_over = True
            for run in self._live.values():
                run.limit.end()
            self._ending = asyncio.create_task(self._end_jobs(), name="telecine end")

    async def _end_jobs(self) -> None:
        for job in tuple(self._jobs):
            await self._executor.cancel(job)

    async def _stop_jobs(self) -> None:
        assert self._gate_loop is not None, "it was entered"
        self._gate.stop()
        await asyncio.wait([self._gate_loop])
        if self._executor_loop:
            self._executor_loop.cancel()
            await asyncio.wait([self._executor_loop])

    async def _stop_or_hurry(self) -> None:
        """Whoever cancels this wants it to be quick, but not to leave anything running."""
        try:
            await self._stop()
        except asyncio.CancelledError:
            self.stop()
            await self._stop()
            raise

    async def _stop(self) -> None:
        if self._stopping is None:
            self.stop()
        assert self._stopping is not None
        await asyncio.wait([self._stopping])
        self._stopping.result()
        for loop in self._other_loops:  # the executor was first: its jobs still log
            loop.cancel()
            await asyncio.wait([loop])
        if self._saving:
            _, lost = await asyncio.wait(self._saving, timeout=SAVE_SECONDS)
            for task in lost:
                _log.error("not written before the stop: %s", task.get_name())
                task.cancel()

    # ------------------------------------------------------------ live calls

    def check(self, caller: Caller) -> None:
        """Raises LimitReached or Stopping if a live call of this caller would be refused just now:
        before its body is read. `run` and `stream` decide."""
        if self._stopping is not None:
            raise Stopping
        self._gate.check(caller)

    async def run(
        self, request: Request, *, start_seconds: float | None = None, store_io: bool = True
    ) -> Result:
        """Do a live request to its end. Failures come back as their result too.

        Raises LimitReached, and Stopping before it began. When the caller is cancelled the work
        stops and the row says so.
        """
        run = await self._enter(request, store_io=store_io)
        try:
            async with aclosing(self._live_events(run, start_seconds)) as events:
                async for _ in events:
                    pass
            ending = run.success()
        except asyncio.CancelledError:
            self._leave_soon(run, _cancelled(run))
            raise
        except Exception as error:  # noqa: BLE001 -- every failure has an answer
            ending = _failed(run, error)
        await self._leave(run, ending)
        return ending.result

    async def stream(
        self, request: Request, *, start_seconds: float | None = None, store_io: bool = True
    ) -> AsyncGenerator[Event, None]:
        """Do a live request, and hear its events. Raises TelecineError.

        `Done` comes when the row is finished. Usage and Receipt may come more than once, when
        the provider was asked again: the last ones count. Closing it stops the work.
        """
        run = await self._enter(request, store_io=store_io)
        done: Done | None = None
        try:
            async with aclosing(self._live_events(run, start_seconds)) as events:
                async for event in events:
                    if isinstance(event, Done):
                        done = event
                    else:
                        yield event
            ending = run.success()
        except (asyncio.CancelledError, GeneratorExit):
            self._leave_soon(run, _cancelled(run))
            raise
        except Exception as error:
            await self._leave(run, _failed(run, error))
            if isinstance(error, TelecineError):
                raise
            raise TelecineError("Internal Server Error") from error
        await self._leave(run, ending)
        if done is not None:
            yield done

    def cancel(self, id: str) -> bool:
        """Stop a live call that runs here: its caller is told that it was cancelled. False: there
        is none."""
        run = self._live.get(id)
        if run is None:
            return False
        self._unwanted.add(id)
        run.limit.end()
        return True

    async def _enter(self, request: Request, *, store_io: bool) -> Run:
        if self._stopping is not None:
            raise Stopping
        run = Run(
            request, started_at=self._clock(), started=self._monotonic(), until=self._run_until()
        )
        run.row = live_row(run, node=self._node, store_io=store_io)
        try:
            await self._gate.enter(request.caller, run.row)
        except asyncio.CancelledError:
            self._close_later(run, _cancelled(run))
            raise
        except InDoubt as error:
            self._close_later(run, _failed(run, error))
            raise
        telemetry.RUNNING.labels(request.mode).inc()
        self._live[run.id] = run
        return run

    async def _live_events(
        self, run: Run, start_seconds: float | None
    ) -> AsyncGenerator[Event, None]:
        """The pipeline's events; asked again, before the first text, when nothing was started."""
        failures = 0
        while True:
            try:
                async with aclosing(self._events(run)) as events:
                    async for event in events:
                        yield event
                return
            except ProviderUnavailable as error:
                failures += 1
                seconds = self._retry_seconds(failures, error)
                if run.has_text or failures >= LIVE_ATTEMPTS or seconds > LIVE_WAIT_SECONDS:
                    raise
                waited = self._monotonic() - run.started
                if start_seconds is not None and waited + seconds > start_seconds:
                    message = f"Not started within {start_seconds:g} seconds: {error.message}"
                    raise Deadline(message, by_user=True) from error
                again = _retry_log(error, seconds)
            self._note(run, again)
            yield again
            try:
                with run.limit:
                    await self._sleep(seconds)
            except TimeoutError as error:
                raise self._out_of_time(run, stopped=Stopping) from error

    async def _leave(self, run: Run, ending: Ending) -> None:
        """Finish a live row. Only for a bill does the caller wait until it is on the disk."""
        if not run.has_cost:
            self._leave_soon(run, ending)
            return
        try:
            await self._save(f"result of {run.id}", self._finish(run, ending))
        finally:
            self._gate.leave(run.id)
            self._count(run, ending)

    def _leave_soon(self, run: Run, ending: Ending) -> None:
        self._close_later(run, ending)
        self._gate.leave(run.id)
        self._count(run, ending)

    def _close_later(self, run: Run, ending: Ending) -> None:
        self._db.write_later(self._finish(run, ending), until_written=True)

    # ------------------------------------------------------------ queued jobs

    async def handle(self, id: str) -> None:
        """Run the admitted job `id` to its end, or to its next attempt.

        Cancelled, it ends as cancelled if somebody wants that, else goes back to the queue.
        """
        self._jobs.add(id)
        try:
            await self._handle(id)
        finally:
            self._jobs.discard(id)

    async def _handle(self, id: str) -> None:
        with telemetry.about(id):
            loading = asyncio.create_task(self._load(id), name=f"load {id}")
            is_stopped = False
            while not loading.done():
                try:
                    await asyncio.wait([loading])
                except asyncio.CancelledError:  # as often as it comes: the row must be looked at
                    is_stopped = True
            loaded, is_stopped = loading.result(), is_stopped or self._is_over
            if loaded is None:
                self._gate.leave(id)
                return
            telemetry.RUNNING.labels("queue").inc()
            try:
                await self._work(*loaded, is_stopped=is_stopped)
            finally:
                telemetry.RUNNING.labels("queue").dec()

    async def _load(self, id: str) -> tuple[Row, Sequence[Row]] | None:
        """The row of a job that runs, and its checkpoints; None if somebody moved it on
        meanwhile."""

        async def load(tx: Transaction) -> tuple[Row, Sequence[Row]] | None:
            row = await tx.fetch_one("load_request", id=id, node=self._node)
            if row is None:
                return None
            return row, await tx.fetch("checkpoints_of_request", request_id=id)

        while True:
            try:
                return await self._db.read(load)
            except DatabaseFailed as error:
                _log.error("the request can not be read: %s", error.message)
            await self._sleep(1)

    async def _work(self, row: Row, checkpoints: Sequence[Row], *, is_stopped: bool) -> None:
        is_stopped = is_stopped or bool(row["cancel_requested"])
        try:
            run = queued(row, checkpoints, started=self._monotonic(), until=self._run_until())
        except Exception as error:  # noqa: BLE001 -- written by another version; not left as running
            await self._close_unread(row, error)
            return
        may_retry = not row["no_retry"] and row["failures"] + 1 < JOB_ATTEMPTS
        try:
            if is_stopped:
                raise asyncio.CancelledError
            if row["attempt"] == 1:  # what was begun is brought to its end
                await self._check_budget(run.request.caller.key_id)
            async with aclosing(self._events(run)) as events:
                async for _ in events:
                    pass
            ending = run.success()
        except asyncio.CancelledError:
            await self._hand_back(run)
        except ProviderUnavailable as error:
            if may_retry:
                await self._retry(run, row["failures"] + 1, error)
            else:
                await self._close(run, _failed(run, error))
        except Exception as error:  # noqa: BLE001 -- every failure has an answer
            await self._close(run, _failed(run, error))
        else:
            await self._close(run, ending)

    async def _check_budget(self, key_id: str) -> None:
        """Raises Forbidden when the key's budget was spent while its job waited."""
        while True:
            try:
                return await self._afford(key_id)
            except DatabaseFailed as error:
                _log.error("the budget can not be read: %s", error.message)
            await self._sleep(1)

    async def _close_unread(self, row: Row, error: Exception) -> None:
        """Fail a job whose row this version can not make sense of."""
        _log.error("request %s can not be understood", row["id"], exc_info=error)
        attempt = Attempt(row["id"], row["attempt"], row["started_at"])
        ending = failure(error, row["id"])
        try:
            await self._save(
                f"failure of {row['id']}",
                lambda tx: self._states.finish(tx, attempt, ending, now=self._clock()),
            )
        finally:
            self._gate.leave(row["id"])
            self._bells.ring([row["id"]])

    async def _close(self, run: Run, ending: Ending) -> None:
        """Finish a job, even if what it came to can not be written."""
        try:
            await self._save(f"result of {run.id}", self._finish(run, ending))
        except Exception as error:  # noqa: BLE001 -- a job must not stay behind as running
            _log.exception("the outcome can not be written")
            run.usage = run.receipt = None
            run.take_bills()
            ending = _failed(run, error)
            await self._save(f"failure of {run.id}", self._finish(run, ending))
        finally:
            self._gate.leave(run.id)
            self._bells.ring([run.id])
            self._count(run, ending)

    async def _retry(self, run: Run, failures: int, error: ProviderUnavailable) -> None:
        seconds = self._retry_seconds(failures, error)
        self._note(run, _retry_log(error, seconds))

        async def requeue(tx: Transaction) -> bool:
            now = self._clock()
            return await self._states.requeue(
                tx,
                run.attempt,
                "retried",
                now=now,
                not_before=now + seconds,
                detail=storable(error.message, 2_000),
            )

        await self._put_back(run, requeue, due_in=seconds)

    async def _hand_back(self, run: Run) -> None:
        async def requeue(tx: Transaction) -> bool:
            return await self._states.requeue(tx, run.attempt, "handed_back", now=self._clock())

        await self._put_back(run, requeue, due_in=0)

    async def _put_back(self, run: Run, requeue: Operation[bool], *, due_in: float) -> None:
        """Into the queue again, unless somebody wants it cancelled."""
        ending = _cancelled(run)
        record = self._record(run)
        finish = self._finish(run, ending, record)

        async def operation(tx: Transaction) -> bool:
            is_back = await requeue(tx)
            await (record if is_back else finish)(tx)
            return is_back

        with self._gate.moving():
            is_back = await self._save(f"return of {run.id}", operation)
            if is_back:
                run.limit.close()
                self._gate.returned(run.id, due_in=due_in)
            else:
                self._gate.leave(run.id)
                self._count(run, ending)
        self._bells.ring([run.id])

    # ------------------------------------------------------------ both

    async def _events(self, run: Run) -> AsyncGenerator[Event, None]:
        """The pipeline's events, noted, within the time that a run may take; what it got done and
        what that cost is kept before it goes on."""
        self._asking[run.id] = run
        try:
            async with aclosing(self._pipeline(run.request)) as events:
                while (event := await self._next(run, events)) is not None:
                    self._note(run, event)
                    if isinstance(event, Checkpoint):
                        await self._keep(run, event)
                    elif not isinstance(event, Asked | Bill):
                        yield event
        finally:
            self._asking.pop(run.id, None)

    def text_so_far(self, id: str) -> str | None:
        """What a request that runs here has been answered until now. None: it does not."""
        run = self._asking.get(id)
        return None if run is None else run.text_so_far()

    async def _keep(self, run: Run, checkpoint: Checkpoint) -> None:
        """A live call is not run again by anybody else: of it only the bill is written."""
        run.keep(checkpoint)
        values = {
            "request_id": run.id,
            "name": checkpoint.name,
            "body": json.dumps(checkpoint.body, separators=(",", ":")),
        }
        record, is_live = self._record(run), run.request.mode != "queue"

        async def operation(tx: Transaction) -> None:
            await record(tx)
            if not is_live:
                await tx.execute("insert_checkpoint", **values)

        await self._save(f"checkpoint of {run.id}", operation)

    async def _next(self, run: Run, events: AsyncGenerator[Event, None]) -> Event | None:
        """None: there are no more. What is ready when time is up is still taken; what was stopped
        or cancelled gets nothing more."""
        if error := self._called_off(run, stopped=Stopped):
            raise error
        try:
            with run.limit:
                return await anext(events, None)
        except TimeoutError as error:
            if not run.limit.is_over:
                raise
            raise self._out_of_time(run, stopped=Stopped) from error

    def _out_of_time(self, run: Run, *, stopped: type[Stopped | Stopping]) -> TelecineError:
        message = f"Not finished within {self._run_seconds:g} seconds"
        return self._called_off(run, stopped=stopped) or Deadline(
            message, type="generation_timeout"
        )

    def _called_off(self, run: Run, *, stopped: type[Stopped | Stopping]) -> TelecineError | None:
        """Why a live call gets no further, whatever time it has: nobody wants it any more, or the
        server can wait no longer."""
        if run.id in self._unwanted:
            return Cancelled()
        return stopped() if self._is_over and run.id in self._live else None

    def _note(self, run: Run, event: Event) -> None:
        run.note(event, self._clock())
        if isinstance(event, Log):
            self._chatty.add(run)
            self._chat.ring()

    def _run_until(self) -> float:
        return asyncio.get_running_loop().time() + self._run_seconds

    def _retry_seconds(self, failures: int, error: ProviderUnavailable) -> float:
        longest = min(FIRST_RETRY_SECONDS * 2.0 ** (failures - 1), LONGEST_RETRY_SECONDS)
        asked = min(error.retry_after_seconds or 0.0, LONGEST_RETRY_AFTER_SECONDS)
        return max(asked, longest * (0.5 + self._jitter() / 2))

    def _finish(
        self, run: Run, ending: Ending, record: Operation[None] | None = None
    ) -> Operation[bool]:
        """The end of a run, its log and its bill, at once. False: it came too late."""
        record, now = record or self._record(run), self._clock()
        seconds = round(self._monotonic() - run.started, 6)
        receipt = run.written_receipt()

        async def finish(tx: Transaction) -> bool:
            return await self._states.finish(
                tx,
                run.attempt,
                ending,
                now=now,
                inference_seconds=seconds,
                receipt=receipt,
            )

        async def operation(tx: Transaction) -> bool:
            is_ours = await finish(tx)
            if not is_ours and run.row is not None:  # there was no room for it when it came in
                await tx.execute("insert_request", **run.row)
                is_ours = await finish(tx)
            await record(tx)
            return is_ours

        return operation

    def _record(self, run: Run) -> Operation[None]:
        """What a run said and used. Of a run that came too late as well: it was paid for."""
        lines, now = run.take_lines(), self._clock()
        entries = [
            ledger.entry(run.request, bill, at=now, settle_at=self._settler.due(bill))
            for bill in run.take_bills()
        ]

        async def operation(tx: Transaction) -> None:
            await _insert_lines(tx, run.id, lines)
            for values in entries:
                await tx.execute("insert_ledger_entry", **values)

        return operation

    async def _save(self, name: str, operation: Operation[T]) -> T:
        """Write until it is written; a cancellation takes effect where the task next waits."""
        saving = asyncio.create_task(self._persist(operation), name=name)
        self._saving.add(saving)
        saving.add_done_callback(self._saving.discard)
        task, is_cancelled = asyncio.current_task(), False
        while not saving.done():
            try:
                await asyncio.wait([saving])
            except asyncio.CancelledError:
                is_cancelled = True
        if is_cancelled and task is not None:
            task.cancel()
        return saving.result()

    async def _persist(self, operation: Operation[T]) -> T:
        seconds = 0.1
        while True:
            try:
                return await self._db.write(operation)
            except DatabaseFailed as error:
                _log.error("trying again in %g s: %s", seconds, error.message)
            await self._sleep(seconds)
            seconds = min(2 * seconds, 10.0)

    def _count(self, run: Run, ending: Ending) -> None:
        run.limit.close()
        request = run.request
        telemetry.REQUESTS.labels(request.endpoint, request.mode, str(ending.result.status)).inc()
        telemetry.SECONDS.labels(request.endpoint, request.mode).observe(
            self._monotonic() - run.started
        )
        if request.mode != "queue":
            telemetry.RUNNING.labels(request.mode).dec()
            self._live.pop(run.id, None)
            self._unwanted.discard(run.id)

    # ------------------------------------------------------------ loops

    async def _write_logs(self) -> None:
        """Lines that come together are written together, while their request still runs."""
        while True:
            await self._chat.wait()
            await asyncio.sleep(LOG_SECONDS)
            chatty, self._chatty = self._chatty, set()
            await asyncio.gather(*(self._write_log(run) for run in chatty))

    async def _write_log(self, run: Run) -> None:
        lines = run.take_lines()
        if not lines:
            return
        try:
            await self._db.write(lambda tx: _insert_lines(tx, run.id, lines))
        except Exception as error:  # noqa: BLE001 -- they go with the next ones, or with the finish
            _log.warning("log lines of request %s have to wait: %s", run.id, error)
            run.give_back(lines)
        else:
            self._bells.ring([run.id])

    async def _tidy(self) -> None:
        """Forget payloads that are past their time."""
        while True:
            try:
                while await self._db.write(self._expire) == TIDY_ROWS:
                    pass
            except DatabaseFailed as error:
                _log.error("payloads past their time are still there: %s", error.message)
            await asyncio.sleep(TIDY_SECONDS)

    async def _expire(self, tx: Transaction) -> int:
        rows = await tx.fetch("expire_payloads", now=self._clock(), limit=TIDY_ROWS)
        for row in rows:
            await tx.execute("delete_logs", request_id=row["id"])
            await tx.execute("delete_attempt_details", request_id=row["id"])
        return len(rows)


async def _insert_lines(tx: Transaction, id: str, lines: list[Line]) -> None:
    for line in lines:
        await tx.execute("insert_log", request_id=id, **line._asdict())


def _cancelled(run: Run) -> Ending:
    run.cut_off()
    return failure(Cancelled(), run.id, state="cancelled")


def _failed(run: Run, error: Exception) -> Ending:
    if isinstance(error, Cancelled):
        return _cancelled(run)
    if not isinstance(error, TelecineError):
        _log.error("request %s met a bug", run.id, exc_info=error)
    run.cut_off()
    return failure(error, run.id)


def _retry_log(error: ProviderUnavailable, seconds: float) -> Log:
    return Log(f"{error.message}; trying again in {seconds:.1f} s", "WARN")
