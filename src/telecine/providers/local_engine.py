"""The parent's side of the embedded models: one process, one job at a time, small questions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from telecine.processes import Child, ChildDied, ChildStuck, environment

_MODULE = "telecine.providers.local_child"

# Long enough for a machine that swaps; a child that takes longer is stuck.
_LOAD_SECONDS = 300.0
_ANSWER_SECONDS = 180.0
# How long the next job waits for the answer that a stopped one left behind, before it starts anew.
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
    read and thrown away before the next job begins.
    """

    def __init__(self, *, weights_dir: Path | None, threads: int) -> None:
        self._weights_dir = weights_dir
        self._threads = threads
        self._turn = asyncio.Lock()
        self._child: Child | None = None
        self._asking: asyncio.Task[list[dict[str, Any]]] | None = None

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
        child, self._child = self._child, None
        if child:
            await child.kill()
        if self._asking:
            with contextlib.suppress(Exception):
                await self._asking
            self._asking = None

    async def _ask(
        self, head: Mapping[str, Any], payload: bytes = b"", *, seconds: float = _ANSWER_SECONDS
    ) -> list[dict[str, Any]]:
        child = await self._ready()
        # A task of its own, shielded: being cancelled between two reads would leave half an answer
        # in the pipe.
        self._asking = asyncio.create_task(
            _exchange(child, head, payload, seconds), name=f"local models: {head['task']}"
        )
        answers = await asyncio.shield(self._asking)
        self._asking = None
        return answers

    async def _ready(self) -> Child:
        if self._asking:
            leftover, self._asking = self._asking, None
            done, _ = await asyncio.wait([leftover], timeout=_LEFTOVER_SECONDS)
            if not done and self._child:
                await self._child.kill()
            with contextlib.suppress(Exception):
                await leftover
        if self._child is None or not self._child.is_alive:
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
        return self._child


async def _exchange(
    child: Child, head: Mapping[str, Any], payload: bytes, seconds: float
) -> list[dict[str, Any]]:
    """One question and all its answers. A child that does not answer in time is killed."""
    answers: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(seconds):
            await child.send(head, payload)
            while not (answer := (await child.receive())[0]).get("end"):
                answers.append(answer)
    except TimeoutError as error:
        await child.kill()
        raise ChildStuck(f"no answer for {seconds:g} s") from error
    except ChildDied:
        await child.kill()
        raise
    return answers
