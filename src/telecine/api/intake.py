"""Request bodies as they come, and small JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from telecine.api.addressing import header
from telecine.api.failures import Disconnected
from telecine.errors import BadRequest, InputError, PayloadTooLarge


@dataclass(frozen=True, slots=True)
class Pace:
    """How slowly a body may come: never nothing for `stall_seconds`, and after `free_seconds` at
    least `bytes_per_second` on average. Only the time counts that was spent waiting for it."""

    stall_seconds: float = 60.0
    free_seconds: float = 30.0
    bytes_per_second: float = 1024.0


PACE = Pace()


async def body(
    scope: Scope, receive: Receive, *, max_bytes: int, advice: str = "", pace: Pace = PACE
) -> AsyncGenerator[bytes, None]:
    """The body as it comes, to its very end.

    Raises PayloadTooLarge (with `advice`), before reading anything where Content-Length tells;
    BadRequest when the body is too slow or not as long as it says; Disconnected when the caller
    hangs up.
    """
    declared = header(scope, b"content-length")
    expected = int(declared) if declared.isdecimal() else None
    if expected is not None and expected > max_bytes:
        raise _too_large(max_bytes, advice)
    got, waited, more = 0, 0.0, True
    now = asyncio.get_running_loop().time
    while more:
        since = now()
        message = await _next(receive, pace, got=got, waited=waited)
        waited += now() - since
        if message["type"] == "http.disconnect":
            raise Disconnected
        more = message.get("more_body", False)
        chunk = message.get("body", b"")
        got += len(chunk)
        if got > max_bytes:
            raise _too_large(max_bytes, advice)
        if chunk:
            yield chunk
    if expected is not None and got != expected:
        raise BadRequest(f"The body has {got} bytes; its Content-Length said {expected}")


async def _next(receive: Receive, pace: Pace, *, got: int, waited: float) -> Message:
    left = max(pace.free_seconds, got / pace.bytes_per_second) - waited
    try:
        async with asyncio.timeout(min(left, pace.stall_seconds)):
            return await receive()
    except TimeoutError:
        if left > pace.stall_seconds:
            said = f"Nothing of the body arrived for {pace.stall_seconds:g} seconds"
        else:
            said = f"The body came slower than {pace.bytes_per_second:g} bytes a second"
        raise BadRequest(said) from None


def chunks(request: Request, *, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """`body` for handlers that are given a request."""
    return body(request.scope, request.receive, max_bytes=max_bytes)


async def read_object(request: Request, *, max_bytes: int = 64 * 1024) -> dict[str, Any]:
    """The JSON object in the body. Raises InputError, and what `chunks` raises."""
    text = b"".join([chunk async for chunk in chunks(request, max_bytes=max_bytes)])
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("JSON decode error", type="json_invalid") from error
    if not isinstance(document, dict):
        raise InputError("Input should be a valid dictionary", type="dict_type")
    return document


def _too_large(max_bytes: int, advice: str) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than {max_bytes} bytes{advice}")
