"""Child processes that answer tasks over pipes: decoders (strangers' bytes) and local models.

A frame on the pipe is an 8-byte head (two big-endian uint32: length of the JSON, length of the
payload), the JSON object, the payload. The parent writes one frame per message, the child answers
with any number of frames; the last of a task has "end": true, or "error" with a sentence and a
kind. One task at a time per child, so there is nothing to multiplex and a kill fails one task.
A child that outlives a task nobody waits for any more gets its tasks with a "number", which each
answer repeats: so no answer is ever taken for that to another question.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import struct
import sys
from asyncio.subprocess import Process, SubprocessStreamProtocol
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

_HEAD = struct.Struct(">II")
_BUFFER_BYTES = 4 * 1024 * 1024
_LINE_CHARACTERS = 2000

log = logging.getLogger(__name__)

Message = tuple[dict[str, Any], bytes]


class ChildDied(Exception):
    """The child is gone (crash, memory or CPU limit, kill) before it answered to the end.

    `signal` is the one that ended it, when one did.
    """

    def __init__(self, message: str, *, returncode: int | None = None) -> None:
        super().__init__(message)
        self.signal = -returncode if returncode is not None and returncode < 0 else None


class ChildStuck(ChildDied):
    """The child gave no sign of life for longer than the task allows; it was killed for that."""


class ChildFailed(Exception):
    """The child reported an error; `kind` is a word the two ends agreed on."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def environment(**more: str) -> dict[str, str]:
    """What a child is given to start with: where this package lies, and no secret of the parent."""
    return {
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        **more,
    }


def pack(head: Mapping[str, Any], payload: bytes = b"") -> bytes:
    text = json.dumps(head, separators=(",", ":")).encode()
    return _HEAD.pack(len(text), len(payload)) + text + payload


def read_messages(stream: BinaryIO) -> Iterator[Message]:
    """The child's side: messages until the parent closes the pipe."""
    while len(head := stream.read(_HEAD.size)) == _HEAD.size:
        text, payload = _HEAD.unpack(head)
        yield json.loads(stream.read(text)), stream.read(payload)


def take_stdout() -> BinaryIO:
    """The child's side: the pipe to the parent, for this caller alone.

    From here on file descriptor 1 is standard error, so that a library that prints cannot put
    its text between two messages.
    """
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return pipe


class Child:
    """One child process running `python -m MODULE`, started by `start`, ended by `kill`.

    Its environment is what the caller gives (begin with `environment()`) and nothing else: no
    provider key reaches it. What it writes to standard error goes to the log, line by line.
    """

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str]) -> None:
        # -P: the folder that the server was started in is no place to import from.
        self._command = (sys.executable, "-P", "-m", module, *arguments)
        self._name = module
        self._environment = dict(environment)
        self._process: Process | None = None
        self._transport: asyncio.SubprocessTransport | None = None
        self._listener: asyncio.Task[None] | None = None
        self._is_killed = False

    @property
    def is_alive(self) -> bool:
        """Not from the moment of a `kill` on, even if that was cancelled before it returned."""
        is_running = self._process is not None and self._process.returncode is None
        return is_running and not self._is_killed

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        # What asyncio.create_subprocess_exec does, with the transport kept: `kill` needs its pipes.
        self._transport, protocol = await loop.subprocess_exec(
            lambda: SubprocessStreamProtocol(limit=_BUFFER_BYTES, loop=loop),
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )
        self._process = Process(self._transport, protocol, loop)
        self._listener = asyncio.create_task(self._listen(), name=f"stderr of {self._name}")
        if self._is_killed:  # while it was on its way
            await self.kill()

    async def send(self, head: Mapping[str, Any], payload: bytes = b"") -> None:
        """Raises ChildDied."""
        assert self._process, "start() first"
        assert self._process.stdin
        if not self.is_alive:
            raise await self._died()
        try:
            self._process.stdin.write(pack(head, payload))
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise await self._died() from error

    async def receive(self, *, number: int | None = None) -> Message:
        """The next message, of the task with that number. Raises ChildFailed when the child reports
        an error, and ChildDied; also when it says anything else than that: then it is killed."""
        assert self._process, "start() first"
        assert self._process.stdout
        try:
            head = await self._process.stdout.readexactly(_HEAD.size)
            text, payload = _HEAD.unpack(head)
            message = json.loads(await self._process.stdout.readexactly(text))
            body = await self._process.stdout.readexactly(payload) if payload else b""
        except (asyncio.IncompleteReadError, ConnectionResetError) as error:
            raise await self._died() from error
        except ValueError as error:
            raise await self._babbled() from error
        if not isinstance(message, dict) or message.pop("number", None) != number:
            raise await self._babbled()
        if "error" in message:
            raise ChildFailed(message.get("kind", "failed"), message["error"])
        return message, body

    async def task(
        self, head: Mapping[str, Any], *, stall_seconds: float | None = None
    ) -> AsyncGenerator[Message, None]:
        """Send one task and yield its answers up to, not including, the one that ends it.

        When the consumer stops early or is cancelled the child is killed: it is in the middle of
        something, and nothing else tells it to stop. Raises ChildDied, ChildFailed, and ChildStuck
        after waiting `stall_seconds` for one message (time spent by the consumer does not count).
        """
        finished = False
        try:
            await self.send(head)
            while not (answer := await self._receive_within(stall_seconds))[0].get("end"):
                yield answer
            finished = True
        except ChildFailed:
            finished = True
            raise
        finally:
            if not finished:
                await self.kill()

    async def kill(self) -> None:
        """End it now; returns when it is gone. No error if it never ran, and then it never will."""
        self._is_killed = True
        process, transport = self._process, self._transport
        if process is None or transport is None:
            return
        if process.returncode is None:
            # macOS says EPERM, not ESRCH, of a group whose processes have all just ended.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        # asyncio's wait() ends with the pipes, and one paused over unread answers would not end.
        for descriptor in (0, 1):
            if pipe := transport.get_pipe_transport(descriptor):
                pipe.close()
        await asyncio.shield(self._gone(process))

    async def _gone(self, process: Process) -> None:
        await process.wait()
        if self._listener:
            await self._listener

    async def _receive_within(self, seconds: float | None) -> Message:
        try:
            async with asyncio.timeout(seconds):
                return await self.receive()
        except TimeoutError as error:
            raise ChildStuck(f"the process gave no sign of life for {seconds:g} s") from error

    async def _listen(self) -> None:
        assert self._process
        assert self._process.stderr
        while piece := await self._process.stderr.read(_LINE_CHARACTERS):
            for line in piece.decode(errors="replace").splitlines():
                if line.strip():
                    log.warning("%s[%s]: %s", self._name, self.pid, line)

    async def _died(self) -> ChildDied:
        """The error to raise once a pipe broke; it ends by itself first, so its status is true."""
        assert self._process
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 1)
        await self.kill()
        code = self._process.returncode
        return ChildDied(f"the process ended with {code}", returncode=code)

    async def _babbled(self) -> ChildDied:
        """The error to raise once nobody can tell what the next message will be about."""
        await self.kill()
        return ChildDied("the process answered what it was not asked")
