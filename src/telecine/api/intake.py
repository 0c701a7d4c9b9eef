"""Request bodies other than an endpoint's input: bytes to be kept, and small JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request

from telecine.api.failures import Disconnected
from telecine.errors import BadRequest, InputError, PayloadTooLarge

STALL_SECONDS = 60.0


async def chunks(request: Request, *, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body as it comes, to its very end.

    Raises PayloadTooLarge, before reading anything where Content-Length tells; BadRequest when the
    body stalls or is not as long as it says; Disconnected when the caller hangs up.
    """
    declared = request.headers.get("content-length", "")
    expected = int(declared) if declared.isdecimal() else None
    if expected is not None and expected > max_bytes:
        raise _too_large(max_bytes)
    got, more = 0, True
    while more:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                message = await request.receive()
        except TimeoutError:
            raise BadRequest(f"The body stood still for {STALL_SECONDS:.0f} seconds.") from None
        if message["type"] == "http.disconnect":
            raise Disconnected
        more = message.get("more_body", False)
        chunk = message.get("body", b"")
        got += len(chunk)
        if got > max_bytes:
            raise _too_large(max_bytes)
        if chunk:
            yield chunk
    if expected is not None and got != expected:
        raise BadRequest(f"The body has {got} bytes; its Content-Length said {expected}.")


async def read_object(request: Request, *, max_bytes: int = 64 * 1024) -> dict[str, Any]:
    """The JSON object in the body. Raises InputError, and what `chunks` raises."""
    body = b"".join([chunk async for chunk in chunks(request, max_bytes=max_bytes)])
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError("JSON decode error", type="json_invalid") from error
    if not isinstance(document, dict):
        raise InputError("Input should be a valid dictionary", type="dict_type")
    return document


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body may have {max_bytes} bytes at most.")
