"""What the answers of the Platform API have in common."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from telecine import wire
from telecine.api import auth


def reply(document: Any, status: int = 200) -> Response:
    return Response(wire.dumps(document), status, media_type="application/json")


def page(next_cursor: str | None) -> dict[str, Any]:
    return {"next_cursor": next_cursor, "has_more": next_cursor is not None}


def time_of(at: float) -> str:
    return wire.timestamp(datetime.fromtimestamp(at, UTC))


def usd(cost: float | None) -> float:
    """A sum as people expect it: 0.3, where adding up binary fractions left 0.30000000000000004."""
    return round(float(cost or 0), 12)


def visible(request: Request) -> dict[str, Any]:
    """Whose requests the caller sees: its own, or all with the scope ADMIN."""
    caller = auth.caller(request.scope)
    return {"key_id": caller.key_id, "is_admin": int("ADMIN" in caller.scopes)}
