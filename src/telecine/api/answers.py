"""What the answers of the API have in common, and how questions about rows are read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from telecine import wire
from telecine.api import auth
from telecine.errors import BadRequest


def reply(
    document: Any, status: int = 200, *, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(wire.dumps(document), status, headers=headers, media_type="application/json")


def page(next_cursor: str | None) -> dict[str, Any]:
    return {"next_cursor": next_cursor, "has_more": next_cursor is not None}


def time_of(at: float) -> str:
    return wire.timestamp(datetime.fromtimestamp(at, UTC))


def usd(cost: Decimal | float | str | None) -> float:
    """A sum as people expect it: 0.3, where adding up binary fractions left 0.30000000000000004."""
    return round(float(cost or 0), 12)


def visible(request: Request) -> dict[str, Any]:
    """Whose requests the caller sees: its own, or all with the scope ADMIN."""
    caller = auth.caller(request.scope)
    return {"key_id": caller.key_id, "is_admin": int("ADMIN" in caller.scopes)}


def whole(request: Request, name: str, *, default: int, most: int) -> int:
    """A whole number of the query. Raises BadRequest."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and 0 < int(text) <= most):
        raise BadRequest(f"{name} must be a whole number from 1 to {most}")
    return int(text)


def flag(request: Request, name: str) -> bool:
    """Raises BadRequest. Absent is as good as false."""
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise BadRequest(f"{name} must be true or false")
    return text == "true"
