"""Child processes that answer tasks over pipes: decoders (strangers' bytes) and local models.

A frame on the pipe is an 8-byte head (two big-endian uint32: length of the JSON, length of the
payload), the JSON object, the payload. The parent writes one frame per message, the child answers
with any number of frames; the last of a task has "end": true, or "error" with a sentence and a kind.
One task at a time per child, so there is nothing to multiplex and a kill fails exactly one task.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, BinaryIO

_HEAD = struct.Struct(">II")

Message = tuple[dict[str, Any], bytes]


class ChildDied(Exception):
    """The child is gone (crash, memory or CPU limit, kill) before it answered to the end."""


class ChildFailed(Exception):
    """The child reported an error; `kind` is a word the two ends agreed on."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def pack(head: Mapping[str, Any], payload: bytes = b"") -> bytes:
    text = json.dumps(head, separators=(",", ":")).encode()
    return _HEAD.pack(len(text), len(payload)) + text + payload


def read_messages(stream: BinaryIO) -> Iterator[Message]:
    """The child's side: messages until the parent closes the pipe."""
    while len(head := stream.read(_HEAD.size)) == _HEAD.size:
        text, payload = _HEAD.unpack(head)
        yield json.loads(stream.read(text)), stream.read(payload)


class Child:
    """One child process running `python -m MODULE`, started by `start`, ended by `kill`.

    Its environment is what the caller gives and nothing else: no provider key reaches it.
    """

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str]) -> None:
        self._command = (sys.executable, "-m", module, *arguments)
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=None,
            env=self._environment,
            start_new_session=True,
            limit=4 * 1024 * 1024,
        )

    async def send(self, head: Mapping[str, Any], payload: bytes = b"") -> None:
        """Raises ChildDied."""
        assert self._process and self._process.stdin, "start() first"
        try:
            self._process.stdin.write(pack(head, payload))
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChildDied(self._epitaph()) from error

    async def receive(self) -> Message:
        """The next message. Raises ChildDied, and ChildFailed when the child reports an error."""
        assert self._process and self._process.stdout, "start() first"
        try:
            head = await self._process.stdout.readexactly(_HEAD.size)
            text, payload = _HEAD.unpack(head)
            message = json.loads(await self._process.stdout.readexactly(text))
            body = await self._process.stdout.readexactly(payload) if payload else b""
        except (asyncio.IncompleteReadError, ConnectionResetError) as error:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._process.wait(), 1)
            raise ChildDied(self._epitaph()) from error
        if "error" in message:
            raise ChildFailed(message.get("kind", "failed"), message["error"])
        return message, body

    async def task(self, head: Mapping[str, Any]) -> AsyncIterator[Message]:
        """Send one task and yield its answers up to, not including, the one that ends it.

        When the consumer stops early or is cancelled the child is killed: it is in the middle of
        something, and nothing else tells it to stop.
        """
        finished = False
        try:
            await self.send(head)
            while not (answer := await self.receive())[0].get("end"):
                yield answer
            finished = True
        except ChildFailed:
            finished = True
            raise
        finally:
            if not finished:
                await self.kill()

    async def kill(self) -> None:
        """End it now; returns when it is gone. No error if it never ran."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
        await asyncio.shield(process.wait())

    def _epitaph(self) -> str:
        code = self._process.returncode if self._process else None
        return f"the process ended with {code}" if code is not None else "the process went away"
