"""Stream: the answer as it grows, as server-sent events.

Every event holds the whole text so far (fal's way), so events are paced: 10,000 words sent one by
one would be 225 MB. The upstream is read at its own speed; a slow reader skips snapshots, and
costs no more memory than the text itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Protocol

from starlette.types import Receive, Scope, Send

from telecine import endpoints, wire
from telecine.api import sse
from telecine.api.callers import while_connected
from telecine.api.parts import Parts
from telecine.api.requests import keeps_payloads, received, start_timeout
from telecine.errors import Cancelled, TelecineError
from telecine.models import Delta, Done, Event, Outcome, Receipt, Request, Usage

log = logging.getLogger(__name__)

# The status waits this long for the first word, so that a failure before it keeps its own code.
FIRST_WORD_SECONDS = 4.0


class Stream:
    """`POST /{endpoint}/stream`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start_seconds = start_timeout(scope)
        endpoint = endpoints.endpoint(scope["path"][1:].removesuffix("/stream")).id
        async with received(self._parts, scope, receive, endpoint, "stream") as request:
            events = self._parts.worker.stream(
                request, start_seconds=start_seconds, store_io=keeps_payloads(scope)
            )
            live = Live()
            async with while_connected(receive), answer(events, live):
                await _send_all(live, request, send)


class Pacer:
    """When the next snapshot may go out, and how long the text must be by then.

    The first at once, then at most 20 a second; past 8 KB only for 3 % more text. So the bytes sent
    grow with the text, not with its square.
    """

    SECONDS = 0.05
    FREE_BYTES = 8 * 1024
    GROWTH = 1.03

    def __init__(self) -> None:
        self.wanted = 1
        self._next_at = -math.inf

    def pause(self, now: float) -> float:
        """Seconds until a snapshot may be sent; 0 when one may now."""
        return max(0.0, self._next_at - now)

    def sent(self, size: int, frame_bytes: int, now: float) -> None:
        """A snapshot of `size` characters went out in `frame_bytes`."""
        self._next_at = now + self.SECONDS
        is_small = frame_bytes <= self.FREE_BYTES
        self.wanted = size + 1 if is_small else math.ceil(size * self.GROWTH)


class Live:
    """An answer under way: filled at the upstream's speed, looked at at the reader's."""

    def __init__(self) -> None:
        self.outcome = Outcome()
        self.size = 0
        self.has_ended = False
        self.error: Exception | None = None
        self._pieces: list[str] = []
        self._wanted: float = 1
        self._news = asyncio.Event()

    def take(self, event: Event) -> None:
        match event:
            case Delta():
                self.outcome.reasoning += event.reasoning
                if event.text:
                    self._pieces.append(event.text)
                    self.size += len(event.text)
                if self.size >= self._wanted:
                    self._news.set()
            case Usage():
                self.outcome.usage = event
            case Receipt():
                self.outcome.receipt = event
            case Done():
                self.outcome.finish_reason, self.outcome.is_done = event.finish_reason, True

    def end(self, error: Exception | None) -> None:
        self.text()
        self.error = error
        self.has_ended = True
        self._news.set()

    def text(self) -> str:
        """The whole text so far."""
        self._pieces = ["".join(self._pieces)]
        self.outcome.output = self._pieces[0]
        return self.outcome.output

    async def wait(self, size: float, seconds: float) -> None:
        """Until the text has `size` characters, the answer has ended or `seconds` have passed."""
        self._wanted = size
        if self.size >= size or self.has_ended:
            return
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()


class Listener(Protocol):
    """Where the events of an answer go: `take` each, then `end` with what went wrong, if it did.

    What `take` may give back is waited for before the next event is read.
    """

    def take(self, event: Event) -> Awaitable[None] | None: ...

    def end(self, error: Exception | None) -> None: ...


@asynccontextmanager
async def answer(events: AsyncGenerator[Event, None], listener: Listener) -> AsyncIterator[None]:
    """Reads `events` in a task of its own, and stops it when the block ends."""
    reader = asyncio.create_task(_read(events, listener))
    try:
        yield
    finally:
        reader.cancel()
        await asyncio.wait({reader})


async def _read(events: AsyncGenerator[Event, None], live: Listener) -> None:
    error: Exception | None = Cancelled()
    try:
        async with aclosing(events):
            async for event in events:
                if (room := live.take(event)) is not None:
                    await room
        error = None
    except Exception as raised:  # noqa: BLE001 - told to the caller, or to the log, by the sender
        error = raised
    finally:
        live.end(error)


async def _send_all(live: Live, request: Request, send: Send) -> None:
    """The header once there is something to say, then snapshots, then the whole answer.

    Raises what went wrong before the header, so that it is answered with its own code.
    """
    await live.wait(1, FIRST_WORD_SECONDS)
    if live.error is not None and live.size == 0:
        raise live.error
    headers = [(name.encode(), value.encode()) for name, value in sse.HEADERS.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await _send_snapshots(live, send)
    if live.error is not None and not isinstance(live.error, TelecineError):
        log.error("a request failed on a bug", exc_info=live.error)
    last = wire.final_event(request, live.outcome, live.error)
    await _send(send, sse.event(last, "event"), more=False)


async def _send_snapshots(live: Live, send: Send) -> None:
    pacer, quiet_since, is_first = Pacer(), time.monotonic(), True
    while not live.has_ended or (is_first and live.size > 0):
        now = time.monotonic()
        pause, silence = pacer.pause(now), quiet_since + sse.PING_SECONDS - now
        if live.size >= pacer.wanted and pause == 0:
            size, frame = live.size, sse.event(wire.partial_event(live.text()), "event")
            await _send(send, frame)
            quiet_since, is_first = time.monotonic(), False
            pacer.sent(size, len(frame), quiet_since)
        elif silence <= 0:
            await _send(send, sse.PING)
            quiet_since = time.monotonic()
        elif pause:
            await live.wait(math.inf, min(pause, silence))
        else:
            await live.wait(pacer.wanted, silence)


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})
