"""Failures as fal's Platform API tells them: `error` with a type of few, in place of `detail`."""

from __future__ import annotations

from starlette.exceptions import HTTPException

from telecine import wire
from telecine.api.failures import answer
from telecine.errors import AuthError, Forbidden, LimitReached, NotFound, TelecineError
from telecine.models import Result


class NotOffered(TelecineError):
    """fal has this call, and this server does not."""

    type = "not_implemented"
    status = 501


def platform_answer(error: Exception, request_id: str) -> Result:
    """What the caller gets, in place of `failures.answer`."""
    told = answer(error)
    status = 400 if told.status == 422 else told.status
    body = {
        "error": {
            "type": _type(error, status),
            "message": _message(error),
            "request_id": request_id,
        }
    }
    headers = {name: told.headers[name] for name in told.headers if not name.startswith("x-fal-")}
    return Result(status=status, headers=headers, body=wire.dumps(body))


def _message(error: Exception) -> str:
    match error:
        case TelecineError():
            return error.message
        case HTTPException():
            return error.detail
    return "An unexpected error occurred"


def _type(error: Exception, status: int) -> str:
    match error:
        case AuthError() | Forbidden():
            return "authorization_error"
        case NotFound():
            return "not_found"
        case LimitReached():
            return "rate_limited"
        case NotOffered():
            return "not_implemented"
    return "validation_error" if status < 500 else "server_error"
