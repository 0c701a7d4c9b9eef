"""Our error bodies in OpenAI's shape: its SDKs read `error`, as fal's clients read `detail`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def told(body: Mapping[str, Any], status: int) -> dict[str, Any]:
    """The `error` object for an error body of ours with this status."""
    detail = body.get("detail")
    first = detail[0] if isinstance(detail, list) and detail else {}
    code = first.get("type") or body.get("error_type") or body.get("type")
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {
        "message": detail if isinstance(detail, str) else _sentences(detail),
        "type": kind,
        "param": _param(first.get("loc")),
        "code": code,
    }


def _sentences(detail: Any) -> str:
    entries = detail if isinstance(detail, list) else []
    return "; ".join(_sentence(entry) for entry in entries) or "Internal Server Error"


def _sentence(entry: Mapping[str, Any]) -> str:
    param = _param(entry.get("loc"))
    return f"{param}: {entry['msg']}" if param else str(entry["msg"])


def _param(loc: Any) -> str | None:
    """`messages.0.content` for where it stands; None for the body as a whole."""
    steps = loc[1:] if isinstance(loc, list) else []
    return ".".join(map(str, steps)) or None
