"""Errors as Google words them, and the key that it wants."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from telecine.fake.record import Record
from telecine.fake.script import Script

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPES = "type.googleapis.com/google.rpc."


def problem(status: int, message: str, **details: Any) -> dict[str, Any]:
    """An error as Google words it. `reason`, `retryDelay`: details of their own."""
    inner: dict[str, Any] = {
        "code": status,
        "message": message,
        "status": _STATUSES.get(status, "UNKNOWN"),
    }
    if details:
        kind = "RetryInfo" if "retryDelay" in details else "ErrorInfo"
        inner["details"] = [{"@type": _TYPES + kind, **details}]
    return {"error": inner}


def refused(status: int, message: str, **details: Any) -> Script:
    return Script(status=status, body=problem(status, message, **details))


def no_file(id_: str) -> Script:
    words = f"You do not have permission to access the File {id_} or it may not exist."
    return refused(403, words)


def given_key(request: web.Request) -> str:
    return request.headers.get("x-goog-api-key") or request.query.get("key", "")


def refused_key(request: web.Request, record: Record) -> Script | None:
    given = given_key(request)
    if not given:
        return refused(403, "Method doesn't allow unregistered callers. Use an API Key.")
    if record.refuses_key(given):
        words = f"API key not valid: {given}. Please pass a valid API key."
        return refused(400, words, reason="API_KEY_INVALID")
    return None


def sent(script: Script) -> web.Response:
    return web.json_response(script.body, status=script.status)
