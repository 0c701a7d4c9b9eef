"""Exceptions to answers. `wire.failure` has the table; this adds what only HTTP knows."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from starlette.exceptions import HTTPException
from starlette.types import Send

from telecine import wire
from telecine.errors import BadRequest, TelecineError
from telecine.models import Result

log = logging.getLogger(__name__)


class MethodNotAllowed(BadRequest):
    """The path is right, the verb is not."""

    status = 405

    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__("Method Not Allowed")
        self.allowed = ", ".join(sorted(allowed))


class Disconnected(Exception):
    """The caller hung up before the body was complete: there is nobody to answer."""


def answer(error: Exception) -> Result:
    """What the caller gets. A bug's story goes to the log (which knows the request id)."""
    if isinstance(error, HTTPException):
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        headers["content-type"] = "application/json"
        body = wire.dumps({"detail": error.detail})
        return Result(status=error.status_code, headers=headers, body=body)
    if not isinstance(error, TelecineError):
        log.error("a request failed on a bug", exc_info=error)
    result = wire.failure(error, request_id=None)
    if isinstance(error, MethodNotAllowed):
        headers = {**result.headers, "allow": error.allowed}
        return Result(status=result.status, headers=headers, body=result.body)
    return result


async def send_result(send: Send, result: Result) -> None:
    """Send a finished answer, byte for byte."""
    body = result.body.encode()
    headers = [(name.encode(), value.encode("latin-1")) for name, value in result.headers.items()]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": result.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
