"""Telecine's own API under /telecine/v1/: requests with their receipts, models, estimates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from telecine import endpoints
from telecine.api.answers import flag, reply, time_of, visible
from telecine.api.callers import while_connected
from telecine.api.parts import Parts
from telecine.api.requests import received
from telecine.db.base import Transaction
from telecine.errors import BadRequest, InputError, NotFound
from telecine.inference import Planned
from telecine.media import plan
from telecine.models import Request as Asked
from telecine.providers.catalog import Price
from telecine.providers.registry import Offer, Wanted

_TIMES = ("created_at", "started_at", "finished_at", "ended_at", "at")
_DEFAULT = "openrouter/router/video"


class Own:
    """Read-only. A key sees its own requests, one with the scope ADMIN sees all."""

    def __init__(self, parts: Parts) -> None:
        self._db = parts.db
        self._registry = parts.registry
        self._worker = parts.worker

    async def request(self, request: Request) -> Response:
        """One request: input, attempts, log, answer, receipt, what it cost; while it runs on this
        server, and what it said may be kept, also how far its answer is."""
        request_id = request.path_params["id"]
        who = visible(request)

        async def operation(tx: Transaction) -> dict[str, Any] | None:
            row = await tx.fetch_one("request_story", id=request_id, **who)
            if row is None:
                return None
            return {
                **shown(row),
                "attempts": [
                    shown(r) for r in await tx.fetch("request_attempts", request_id=request_id)
                ],
                "usage": [
                    shown(r) for r in await tx.fetch("request_entries", request_id=request_id)
                ],
                "logs": [
                    shown(r, without=("seq",))
                    for r in await tx.fetch("logs_after", request_id=request_id, seq=0)
                ],
            }

        story = await self._db.read(operation)
        if story is None:
            raise NotFound(f"Request {request_id[:100]} not found")
        is_told = story["state"] == "running" and story["input"] is not None
        text = self._worker.text_so_far(request_id) if is_told else None
        return reply({**story, "output_so_far": text})

    async def models(self, request: Request) -> Response:
        """Every model of every provider, by the name to ask for; and who could not be asked."""
        wanted = _wanted(request)
        found = await self._registry.offers()
        return reply(
            {
                "models": [
                    described(offer)
                    for each in found.values()
                    for offer in each.offers
                    if offer.meets(wanted)
                ],
                "aliases": dict(self._registry.aliases),
                "unavailable": {
                    name: each.problem for name, each in found.items() if each.problem is not None
                },
            }
        )


class Estimate:
    """`POST /telecine/v1/estimate`: how a request would be sent, and what that may cost. Its videos
    are fetched and looked at; no model is asked."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with received(self._parts, scope, receive, _DEFAULT, "run") as request:
            async with while_connected(receive):
                planned = await self._parts.inference.plan(_named(request))
        await reply(estimated(planned))(scope, receive, send)


def _named(request: Asked) -> Asked:
    """`request`, of the endpoint that its document names. Raises InputError."""
    document = request.document
    if not isinstance(document, Mapping) or document.get("endpoint") is None:
        return request
    named = document["endpoint"]
    if not isinstance(named, str) or named not in endpoints.ENDPOINTS:
        raise InputError(
            f"Input should be one of {', '.join(endpoints.ENDPOINTS)}",
            loc=("body", "endpoint"),
            type="literal_error",
            input=endpoints.brief(named),
        )
    rest = {name: value for name, value in document.items() if name != "endpoint"}
    return replace(request, endpoint=named, document=rest)


def estimated(planned: Planned) -> dict[str, Any]:
    """A plan and its price as JSON."""
    price = planned.price
    return {
        "model": planned.route.asked,
        "provider": planned.route.provider.name,
        "provider_model": planned.route.model,
        "plan": plan.shown(planned.plan),
        "warnings": list(planned.warnings),
        "prompt_tokens": planned.prompt_tokens,
        "cost": {
            "low": _text(planned.cost_low),
            "high": _text(planned.cost_high),
            "source": price and price.source,
            "dated": (price and price.dated) or None,
        },
        "price_per_token": _price(price),
    }


def _wanted(request: Request) -> Wanted:
    most = request.query_params.get("max_price")
    return Wanted(
        video=flag(request, "video"),
        audio=flag(request, "audio"),
        images=flag(request, "images"),
        max_price=None if most is None else _dollars(most),
        search=request.query_params.get("search", ""),
    )


def _dollars(text: str) -> Decimal:
    try:
        amount = Decimal(text[:40])
    except InvalidOperation:
        amount = Decimal(-1)
    if not (amount.is_finite() and amount >= 0):
        raise BadRequest("max_price must be US dollars per million prompt tokens")
    return amount


def described(offer: Offer) -> dict[str, Any]:
    """A model as JSON: what to ask for, what it takes, what it costs."""
    model, takes = offer.model, offer.capabilities
    return {
        "model": offer.name,
        "provider": offer.provider,
        "name": model.name or model.id,
        "description": model.description,
        "input_modalities": list(model.input_modalities),
        "context_tokens": takes.context_tokens if takes else model.context_tokens,
        "takes": takes
        and {
            "video": list(takes.delivery),
            "images": list(takes.images),
            "audio": list(takes.audio),
            "pdfs": takes.pdfs,
            "hears_videos": offer.hears_videos,
            "options": sorted(takes.options),
            "max_videos": takes.max_videos,
            "max_seconds": takes.max_seconds,
            "max_bytes": takes.max_bytes,
            "max_images": takes.max_images,
            "max_output_tokens": takes.max_output_tokens,
        },
        "price_per_token": _price(offer.price),
    }


def _price(price: Price | None) -> dict[str, Any] | None:
    """Decimals as text; what has no price of its own is null."""
    if price is None:
        return None
    names = ("prompt", "completion", "cached", "audio", "image")
    return {
        **{name: _text(getattr(price, name)) for name in names},
        "request": _text(price.request),
        "tiers": [
            {
                "min_prompt_tokens": tier.min_prompt_tokens,
                **{name: _text(getattr(tier, name)) for name in names},
            }
            for tier in price.tiers
        ],
        "source": price.source,
        "dated": price.dated or None,
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def shown(row: Mapping[str, Any], without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A row as JSON: times in ISO 8601, stored JSON as what it says."""
    shown = {name: value for name, value in row.items() if name not in without}
    for name in _TIMES:
        if shown.get(name) is not None:
            shown[name] = time_of(shown[name])
    for name in ("input", "result_body", "receipt"):
        if shown.get(name) is not None:
            shown[name] = json.loads(shown[name])
    if "id" in shown:
        shown["request_id"] = shown.pop("id")
    return shown
