"""The parent's side of the embedded models: one process, one job at a time, small questions."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from telecine.processes import Child, ChildDied, ChildFailed, ChildStuck, environment

_MODULE = "telecine.providers.local_child"

# Long enough for a machine that swaps; a child that takes longer is stuck.
_LOAD_SECONDS = 300.0
_ANSWER_SECONDS = 180.0
# How long those who come next wait, all in all, for the answer that a stopped job left behind,
# before its process is ended.
_LEFTOVER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """Which weights are in use, where from, and how long loading took: 0 if they were there."""

    model: str
    source: str
    seconds: float


class Engine:
    """Starts its process with the first question and keeps it; after a crash it starts another.

    Stopping a job means to ask nothing more: the answer under way (a chunk of sound, a frame) is
    read and thrown away before the next question, however many give up waiting for that. Questions
    are numbered and answers repeat the number, so nobody gets what another asked for.
    """

    def __init__(self, *, weights_dir: Path | None, threads: int) -> None:
        self._weights_dir = weights_dir
        self._threads = threads
        self._turn = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._child: Child | None = None
        self._asking: asyncio.Task[list[dict[str, Any]]] | None = None
        self._patience_ends: float | None = None
        self._is_new_job = True
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        return self._turn.locked()

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self._child.is_alive else None

    @asynccontextmanager
    async def job(self) -> AsyncIterator[None]:
        """Nobody else asks meanwhile; those who wait are served in the order they came."""
        async with self._turn:
            self._is_new_job = True
            yield

    async def load(self, engine: Literal["speech", "text"]) -> Loaded:
        """Raises ChildDied; ChildFailed with kind "weights" when there are none, or wrong ones."""
        answers = await self._ask({"task": "load", "engine": engine}, seconds=_LOAD_SECONDS)
        return Loaded(**answers[0])

    async def listen(self, language: str | None) -> None:
        await self._ask({"task": "listen", "language": language})

    async def hear(self, seconds: float, pcm: bytes) -> list[dict[str, Any]]:
        return [a["said"] for a in await self._ask({"task": "hear", "seconds": seconds}, pcm)]

    async def hush(self) -> list[dict[str, Any]]:
        return [a["said"] for a in await self._ask({"task": "hush"})]

    async def look(self) -> None:
        await self._ask({"task": "look"})

    async def read(self, width: int, height: int, rgb: bytes) -> list[dict[str, Any]] | None:
        """The lines in the picture; None: it looks as the one before."""
        task = {"task": "read", "width": width, "height": height}
        lines: list[dict[str, Any]] | None = (await self._ask(task, rgb))[0]["lines"]
        return lines

    async def close(self) -> None:
        """End the process; who asks after that, or just now, gets ChildDied."""
        self._is_closed = True
        if self._child:
            await self._child.kill()
        if self._asking:
            await asyncio.wait([self._asking])

    async def _ask(
        self, head: Mapping[str, Any], payload: bytes = b"", *, seconds: float = _ANSWER_SECONDS
    ) -> list[dict[str, Any]]:
        await self._finish_leftover()
        child = await self._present_child()
        # A task of its own, shielded: being cancelled between two reads would leave half an answer
        # in the pipe. Nothing may be awaited between its start and its entry as the one under way.
        asking = asyncio.create_task(
            _exchange(child, next(self._numbers), head, payload, seconds),
            name=f"local models: {head['task']}",
        )
        self._asking = asking
        asking.add_done_callback(self._answered)
        return await asyncio.shield(asking)

    def _answered(self, asking: asyncio.Task[list[dict[str, Any]]]) -> None:
        """The only place that forgets a question: when it has ended, whoever still waits for it."""
        self._asking = self._patience_ends = None
        if not asking.cancelled():
            asking.exception()  # perhaps nobody is left to hear it

    async def _finish_leftover(self) -> None:
        """Returns when no answer is under way. To be cancelled here changes nothing for others."""
        leftover = self._asking
        if leftover is None:
            return
        now = asyncio.get_running_loop().time()
        if self._patience_ends is None:
            self._patience_ends = now + _LEFTOVER_SECONDS
        done, _ = await asyncio.wait([leftover], timeout=max(0.0, self._patience_ends - now))
        if not done:
            assert self._child, "it is asked"
            await self._child.kill()
            await asyncio.wait([leftover])

    async def _present_child(self) -> Child:
        """The job's own process. One that ended meanwhile took what it knew of the video along, so
        only a new job gets another."""
        if self._is_closed:
            raise ChildDied("the local models are closed")
        if self._child is None or not self._child.is_alive:
            if not self._is_new_job:
                raise ChildDied("it ended between two questions")
            self._child = Child(
                _MODULE,
                str(self._weights_dir or ""),
                str(self._threads),
                environment=environment(
                    HF_HUB_OFFLINE="1",
                    HF_HUB_DISABLE_TELEMETRY="1",
                    OMP_NUM_THREADS=str(self._threads),
                    OPENBLAS_NUM_THREADS=str(self._threads),
                    # Threads sleep while they wait: spinning halves the speed on a busy machine.
                    OMP_WAIT_POLICY="passive",
                    KMP_BLOCKTIME="0",
                ),
            )
            await self._child.start()
        self._is_new_job = False
        return self._child


async def _exchange(
    child: Child, number: int, head: Mapping[str, Any], payload: bytes, seconds: float
) -> list[dict[str, Any]]:
    """One question and all its answers. A child that did not end them itself is killed."""
    answers: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(seconds):
            await child.send({**head, "number": number}, payload)
            while not (answer := (await child.receive(number=number))[0]).get("end"):
                answers.append(answer)
    except ChildFailed:  # the last answer to this question
        raise
    except TimeoutError as error:
        await child.kill()
        raise ChildStuck(f"no answer for {seconds:g} s") from error
    except BaseException:  # whatever it was: nobody knows what the next message is about
        await child.kill()
        raise
    return answers
