"""A call to an endpoint as it comes in: admitted before its body is read, read as it comes."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import Receive, Scope

from telecine.api import auth, intake
from telecine.api.addressing import header
from telecine.api.parts import Parts
from telecine.errors import BadRequest, Forbidden
from telecine.keys import may, permits
from telecine.media.scan import read_json
from telecine.models import Caller, Mode, Request


@asynccontextmanager
async def received(
    parts: Parts, scope: Scope, receive: Receive, endpoint: str, mode: Mode
) -> AsyncIterator[Request]:
    """The call with its body read; the files that came in it are gone when the block ends.

    Raises InputError for what is not JSON, PayloadTooLarge, LimitReached over the key's spool,
    Forbidden for a model that is not for it, Busy when the server holds too much; and before
    anything is read what Keys.admit raises, and LimitReached over its running limit, for a full
    queue, or for a spool that has no room for what Content-Length says.
    """
    body = intake.body(
        scope,
        receive,
        max_bytes=parts.max_body_bytes,
        advice="; upload the video first and send its URL",
    )
    caller = auth.caller(scope)
    if not may(caller, "CALL"):
        raise Forbidden("This key calls no models: it has not the scope CALL")
    await parts.keys.admit(caller)
    if mode != "queue":
        parts.worker.check(caller)
    elif not header(scope, b"idempotency-key"):  # it may be answered with the first, which waits
        parts.queue.check()
    parts.spool.check(caller.key_id, _least_spooled(scope, parts.max_json_bytes))
    scanned = await read_json(
        body,
        spool=parts.spool,
        key_id=caller.key_id,
        memory=parts.memory,
        max_json_bytes=parts.max_json_bytes,
    )
    try:
        check_models(caller, scanned.document)
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


def _least_spooled(scope: Scope, max_json_bytes: int) -> int:
    """What of the body is media for sure: all beyond the JSON, in Base64."""
    declared = header(scope, b"content-length")
    return max(0, (int(declared) - max_json_bytes) * 3 // 4) if declared.isdecimal() else 0


def check_models(caller: Caller, document: Any) -> None:
    """Raises Forbidden; what is no name at all is told when the input is judged."""
    if not caller.limits.models or not isinstance(document, Mapping):
        return
    others = document.get("models")
    for name in (document.get("model"), *(others if isinstance(others, list) else ())):
        if isinstance(name, str) and not permits(caller.limits, name):
            raise Forbidden(
                f"This key may not ask {name[:200]}, only {', '.join(caller.limits.models)}",
                type="model_not_allowed",
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
