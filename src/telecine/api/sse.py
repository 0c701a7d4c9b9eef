"""Server-sent events: text to bytes, and a sign of life when there is nothing to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}

# fal's own Python package gives a connection up after 5 s without a byte, proxies after longer.
PING_SECONDS = 4.0
PING = b": ping\n\n"


def event(data: str, name: str | None = None) -> bytes:
    """One event. `data` is ASCII JSON: no line ends in it, no character that could be split."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data}\n\n".encode("ascii")


async def with_pings(items: AsyncIterator[T], seconds: float) -> AsyncGenerator[T | None, None]:
    """The items as they come, and None whenever there was none for `seconds`.

    Closing this stops whatever `items` is waiting for, and closes it.
    """
    coming: asyncio.Task[tuple[T] | None] | None = None
    try:
        while True:
            coming = coming or asyncio.create_task(_next(items))
            await asyncio.wait({coming}, timeout=seconds)
            if not coming.done():
                yield None
                continue
            item = coming.result()
            if item is None:
                return
            coming = None
            yield item[0]
    finally:
        if coming is not None and not coming.done():
            coming.cancel()
            with suppress(asyncio.CancelledError):
                await coming
        if isinstance(items, AsyncGenerator):
            await items.aclose()


async def _next(items: AsyncIterator[T]) -> tuple[T] | None:
    """None at the end: who is closed just then leaves no task with an exception behind."""
    try:
        return (await anext(items),)
    except StopAsyncIteration:
        return None
