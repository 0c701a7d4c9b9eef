"""A call to an endpoint as it comes in: admitted before its body is read, read as it comes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive, Scope

from telecine.api import auth
from telecine.api.addressing import header
from telecine.api.failures import Disconnected
from telecine.api.parts import Parts
from telecine.errors import BadRequest, PayloadTooLarge
from telecine.media.scan import read_json
from telecine.models import Mode, Request

STALL_SECONDS = 60.0


@asynccontextmanager
async def received(
    parts: Parts, scope: Scope, receive: Receive, endpoint: str, mode: Mode
) -> AsyncIterator[Request]:
    """The call with its body read; the files that came in it are gone when the block ends.

    Raises InputError for what is not JSON, PayloadTooLarge, LimitReached over the key's spool or,
    before anything is read, its running limit.
    """
    length = header(scope, b"content-length")
    if length.isdecimal() and int(length) > parts.max_body_bytes:
        raise _too_large(parts.max_body_bytes)
    caller = auth.caller(scope)
    if mode != "queue":
        parts.worker.check(caller.key_id)
    scanned = await read_json(
        _chunks(receive, parts.max_body_bytes),
        spool=parts.spool,
        key_id=caller.key_id,
        max_json_bytes=parts.max_json_bytes,
    )
    try:
        yield Request(
            id=scope["telecine.request_id"],
            endpoint=endpoint,
            mode=mode,
            caller=caller,
            document=scanned.document,
            attachments=scanned.attachments,
        )
    finally:
        scanned.discard()


async def _chunks(receive: Receive, max_bytes: int) -> AsyncIterator[bytes]:
    room, more = max_bytes, True
    while more:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                message = await receive()
        except TimeoutError:
            raise BadRequest(
                f"Nothing of the body arrived for {STALL_SECONDS:.0f} seconds"
            ) from None
        if message["type"] == "http.disconnect":
            raise Disconnected
        more = message.get("more_body", False)
        chunk = message.get("body", b"")
        room -= len(chunk)
        if room < 0:
            raise _too_large(max_bytes)
        if chunk:
            yield chunk


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The body is larger than {max_bytes} bytes; upload the video first and send its URL"
    )


def keeps_payloads(scope: Scope) -> bool:
    """Whether input and result are kept as long as the server keeps any."""
    return header(scope, b"x-fal-store-io").strip() != "0"


def start_timeout(scope: Scope) -> float | None:
    """How long the caller lets a request wait before it starts; the newer header wins."""
    for name in ("x-fal-request-start-timeout", "x-fal-request-timeout"):
        text = header(scope, name.encode())
        if text:
            try:
                seconds = float(text)
            except ValueError:
                seconds = math.nan
            if not 0 < seconds < math.inf:
                raise BadRequest(f"{name} must be a number of seconds greater than 0")
            return seconds
    return None
