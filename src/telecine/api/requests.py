"""A call to an endpoint as it comes in: admitted before its body is read, read as it comes."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive, Scope

from telecine.api import auth, intake
from telecine.api.addressing import header
from telecine.api.parts import Parts
from telecine.errors import BadRequest
from telecine.media.scan import read_json
from telecine.models import Mode, Request


@asynccontextmanager
async def received(
    parts: Parts, scope: Scope, receive: Receive, endpoint: str, mode: Mode
) -> AsyncIterator[Request]:
    """The call with its body read; the files that came in it are gone when the block ends.

    Raises InputError for what is not JSON, PayloadTooLarge, LimitReached over the key's spool or,
    before anything is read, its running limit.
    """
    body = intake.body(
        scope,
        receive,
        max_bytes=parts.max_body_bytes,
        advice="; upload the video first and send its URL",
    )
    caller = auth.caller(scope)
    if mode != "queue":
        parts.worker.check(caller.key_id)
    scanned = await read_json(
        body,
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
