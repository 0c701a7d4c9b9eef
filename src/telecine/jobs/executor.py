"""The port to whatever delivers admitted jobs to a handler, and the in-process one behind it.

The gate decides who runs; an executor only has to deliver each id at least once. Correctness
never rests on it: a handler fences itself on the row's attempt number.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from telecine.db.base import Database, Row, Transaction
from telecine.errors import Cancelled, TelecineError
from telecine.jobs.states import Attempt, Ending, States, failure

_log = logging.getLogger("telecine.jobs.executor")

# A request that was running this often when the worker died is not tried again. What could kill a
# worker (decoders, models) runs in processes of its own, so it nearly always was not the request.
MAX_LOSSES = 20
FAREWELL_SECONDS = 10.0  # for handlers that were cancelled to put down how it ended

Handler: TypeAlias = Callable[[str], Awaitable[None]]


class Executor(Protocol):
    """Open it before use: what a dead predecessor left running is then taken back, if that is
    this executor's business. `node`: who runs what it delivers, as rows name it."""

    @property
    def node(self) -> str: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    async def dispatch(self, ids: Sequence[str], tx: Transaction) -> Callable[[], None]:
        """Have `ids` delivered once `tx` has committed.

        Returns what is left to do then; the caller does it on the event loop after the commit.
        """
        ...

    async def cancel(self, id: str) -> None:
        """Cancel the handler of `id` wherever it runs; nothing if it does not run."""
        ...

    async def run(self, handler: Handler, slots: int) -> None:
        """Deliver to `handler`, `slots` at once, until cancelled; then stop gracefully.

        A cancelled handler ends its job by itself: it looks at the row for the reason.
        """
        ...


class InProcess:
    """Runs jobs in this process, without leases: nobody else runs any, which `lock` makes sure of.

    When stopped, running jobs get `stop_seconds`; then their handlers are cancelled.
    """

    node = ""

    def __init__(
        self,
        *,
        db: Database,
        states: States,
        lock: Path,
        stop_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._db = db
        self._states = states
        self._lock = lock
        self._stop_seconds = stop_seconds
        self._clock = clock
        self._lock_file: int | None = None
        self._delivered: asyncio.Queue[str] = asyncio.Queue()
        self._running: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        self._lock_file = _lock(self._lock)
        try:
            await self._db.write(self._take_back)
        except BaseException:
            self._unlock()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._unlock()

    async def dispatch(self, ids: Sequence[str], tx: Transaction) -> Callable[[], None]:
        def deliver() -> None:
            for request_id in ids:
                self._delivered.put_nowait(request_id)

        return deliver

    async def cancel(self, id: str) -> None:
        if task := self._running.get(id):
            cancel(task)

    async def run(self, handler: Handler, slots: int) -> None:
        free = asyncio.Semaphore(slots)
        try:
            while True:
                await free.acquire()
                self._start(handler, await self._delivered.get(), free)
        finally:
            while not self._delivered.empty():  # their rows say that they run already
                self._start(handler, self._delivered.get_nowait(), free)
            await self._stop()

    def _start(self, handler: Handler, id: str, free: asyncio.Semaphore) -> None:
        def ended(_: asyncio.Task[None]) -> None:
            del self._running[id]
            free.release()

        task = asyncio.create_task(handle(handler, id), name=f"job {id}")
        self._running[id] = task
        task.add_done_callback(ended)

    async def _stop(self) -> None:
        tasks = set(self._running.values())
        for seconds in (self._stop_seconds, FAREWELL_SECONDS):
            if tasks:
                _, tasks = await asyncio.wait(tasks, timeout=seconds)
            for task in tasks:
                cancel(task)
        if tasks:
            _log.error("%d requests could not be put down; the next start does it", len(tasks))

    async def _take_back(self, tx: Transaction) -> None:
        """What ran when the last process died: live calls have nobody to answer to any more,
        queued requests wait again in their old place."""
        now = self._clock()
        for row in await tx.fetch("running_requests"):
            await take_back(tx, self._states, row, now=now)

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


async def take_back(tx: Transaction, states: States, row: Row, *, now: float) -> None:
    """End an attempt whose worker is gone: the request waits again, or fails."""
    attempt = Attempt(row["id"], row["attempt"], row["started_at"])
    may_wait = row["mode"] == "queue" and row["losses"] + 1 < MAX_LOSSES
    if not may_wait or not await states.requeue(tx, attempt, "lost", now=now):
        await states.finish(tx, attempt, _interrupted(row), now=now)


def cancel(task: asyncio.Task[None]) -> None:
    """Not before its first step: a task cancelled unstarted would never look at its row."""
    asyncio.get_running_loop().call_soon(task.cancel)


async def handle(handler: Handler, id: str) -> None:
    try:
        await handler(id)
    except Exception:  # noqa: BLE001 -- one job must not take the others along
        _log.exception("the handler of request %s died", id)


def _interrupted(row: Row) -> Ending:
    if row["cancel_requested"]:
        return failure(Cancelled(), row["id"], state="cancelled")
    message = "The server stopped while it was working on this request."
    if row["mode"] == "queue":
        message = (
            f"The server died {MAX_LOSSES} times while it was working on this request;"
            " it is not tried again."
        )
    return failure(TelecineError(message), row["id"])


def _lock(path: Path) -> int:
    """Hold `path` for this process alone; the system lets go when the process ends, however."""
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(file, 20, 0).decode("ascii", "replace").strip()
        os.close(file)
        raise TelecineError(
            f"Another Telecine{f' (process {owner})' if owner else ''} is running requests from"
            f" {path.parent}. Stop it, or use another data folder (--data)."
        ) from error
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
    return file
