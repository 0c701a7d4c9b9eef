"""Public keys of webhooks, and their ledger: deliveries, their attempts, replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, request_response

from telecine.api import auth
from telecine.api.answers import page, reply, time_of, whole
from telecine.api.auth import Guard, KeyRing
from telecine.errors import BadRequest, NotFound
from telecine.jobs.deliveries import MOST, Deliveries, DeliveryState, Told
from telecine.jobs.signing import SigningKeys
from telecine.net import shown_url

_TIMES = ("created_at", "next_at", "ended_at", "at")
_STATES: tuple[DeliveryState, ...] = get_args(DeliveryState)
_KEYS_SECONDS = 3600  # how long a receiver may keep the keys without asking again


def routes(guard: Guard, deliveries: Deliveries, keys: SigningKeys, ring: KeyRing) -> list[Route]:
    """A key sees the deliveries of its own requests, one with the scope ADMIN sees all."""
    handlers = _Handlers(deliveries, keys, ring)
    base = "/telecine/v1/deliveries"
    return [
        Route("/.well-known/jwks.json", handlers.jwks, methods=["GET"]),
        Route("/rest/.well-known/jwks.json", handlers.jwks, methods=["GET"]),
        Route(base, guard(request_response(handlers.page)), methods=["GET"]),
        Route(f"{base}/{{id}}", guard(request_response(handlers.one)), methods=["GET"]),
        Route(f"{base}/{{id}}/replay", guard(request_response(handlers.replay)), methods=["POST"]),
    ]


class _Handlers:
    def __init__(self, deliveries: Deliveries, keys: SigningKeys, ring: KeyRing) -> None:
        self._deliveries = deliveries
        self._keys = keys
        self._ring = ring

    async def jwks(self, request: Request) -> Response:
        """Every key that a delivery may be signed by, as RFC 8037 has it."""
        headers = {"cache-control": f"public, max-age={_KEYS_SECONDS}"}
        return reply(self._keys.jwks(), headers=headers)

    async def page(self, request: Request) -> Response:
        """The newest first; `next_cursor` of one page is `cursor` of the next."""
        limit = whole(request, "limit", default=50, most=200)
        rows = await self._deliveries.page(
            key_id=_whose(request),
            request_id=request.query_params.get("request_id"),
            state=_state(request),
            before=whole(request, "cursor", default=MOST, most=MOST),
            limit=limit + 1,
        )
        has_more = len(rows) > limit
        rows = rows[:limit]
        return reply(
            {
                "deliveries": [_delivery(row) for row in rows],
                **page(str(rows[-1]["id"]) if has_more else None),
            }
        )

    async def one(self, request: Request) -> Response:
        """One delivery with all its attempts."""
        return reply(_story(await self._deliveries.find(_id(request), key_id=_whose(request))))

    async def replay(self, request: Request) -> Response:
        """Deliver once more; the answer is the delivery that does it."""
        whose = _whose(request)
        again = await self._deliveries.replay(_id(request), key_id=whose)
        by = auth.caller(request.scope).key_id
        await self._ring.audit(by, "delivery.replayed", request.path_params["id"])
        return reply(_story(await self._deliveries.find(again, key_id=whose)), status=202)


def _story(told: Told) -> dict[str, Any]:
    return {**_delivery(told.row), "attempts": [_shown(attempt) for attempt in told.attempts]}


def _delivery(row: Mapping[str, Any]) -> dict[str, Any]:
    """A delivery as JSON. The URL without its query, which may be a secret."""
    shown = {name: row[name] for name in ("id", "request_id", "state")}
    shown |= {"url": shown_url(row["url"]), "attempt": row["attempts"]}
    shown |= {name: row[name] for name in ("created_at", "ended_at")}
    shown["next_at"] = row["next_at"] if row["state"] == "waiting" else None
    if "detail" in row:
        shown |= {"last_status": row["status"], "last_detail": row["detail"]}
    return _shown(shown)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: time_of(value) if name in _TIMES and value is not None else value
        for name, value in row.items()
    }


def _whose(request: Request) -> str | None:
    caller = auth.caller(request.scope)
    return None if "ADMIN" in caller.scopes else caller.key_id


def _id(request: Request) -> int:
    text = request.path_params["id"]
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise NotFound(f"There is no delivery {text[:100]}")
    return int(text)


def _state(request: Request) -> DeliveryState | None:
    given = request.query_params.get("state")
    for state in _STATES:
        if given == state:
            return state
    if given is not None:
        raise BadRequest(f"state must be one of {', '.join(_STATES)}")
    return None
