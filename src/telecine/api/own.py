"""Telecine's own API under /telecine/v1/: requests with their receipts, and models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from telecine import wire
from telecine.api import auth
from telecine.api.parts import Parts
from telecine.db.base import Row, Transaction
from telecine.errors import BadRequest, NotFound, ProviderError
from telecine.providers.base import Model, Provider
from telecine.providers.registry import Registry

_TIMES = ("created_at", "started_at", "finished_at", "ended_at", "at")
_MODELS_SECONDS = 10.0
_MOST = 2**63 - 1


class Own:
    """Read-only. A key sees its own requests, one with the scope ADMIN sees all."""

    def __init__(self, parts: Parts) -> None:
        self._db = parts.db
        self._registry = parts.registry

    async def request(self, request: Request) -> Response:
        """One request: input, attempts, log, answer, receipt, what it cost."""
        request_id = request.path_params["id"]
        who = _who(request)

        async def operation(tx: Transaction) -> dict[str, Any] | None:
            row = await tx.fetch_one("request_story", id=request_id, **who)
            if row is None:
                return None
            return {
                **_shown(row),
                "attempts": [
                    _shown(r) for r in await tx.fetch("request_attempts", request_id=request_id)
                ],
                "usage": [
                    _shown(r) for r in await tx.fetch("request_entries", request_id=request_id)
                ],
                "logs": [
                    _shown(r, without=("seq",))
                    for r in await tx.fetch("logs_after", request_id=request_id, seq=0)
                ],
            }

        story = await self._db.read(operation)
        if story is None:
            raise NotFound(f"Request {request_id[:100]} not found")
        return _json(story)

    async def requests(self, request: Request) -> Response:
        """The newest first; `next_cursor` of one page is `cursor` of the next."""
        limit = _whole(request, "limit", default=50, most=200)
        before = _whole(request, "cursor", default=_MOST, most=_MOST)
        who = _who(request)

        async def operation(tx: Transaction) -> list[Row]:
            return await tx.fetch("requests_page", before=before, limit=limit + 1, **who)

        rows = await self._db.read(operation)
        has_more = len(rows) > limit
        rows = rows[:limit]
        return _json(
            {
                "requests": [_shown(row, without=("seq",)) for row in rows],
                "next_cursor": str(rows[-1]["seq"]) if has_more else None,
                "has_more": has_more,
            }
        )

    async def models(self, request: Request) -> Response:
        """Every model of every provider, by the name to ask for; and who could not be asked."""
        found = await listed(self._registry)
        return _json(
            {
                "models": [
                    _model(name, model)
                    for name, models in found.items()
                    if not isinstance(models, str)
                    for model in models
                ],
                "unavailable": {
                    name: models for name, models in found.items() if isinstance(models, str)
                },
            }
        )


async def listed(registry: Registry) -> dict[str, list[Model] | str]:
    """What each provider offers, or why it does not say."""
    providers = registry.providers
    found = await asyncio.gather(*map(_models, providers.values()))
    return dict(zip(providers, found, strict=True))


async def _models(provider: Provider) -> list[Model] | str:
    """What it offers, or why it does not say."""
    try:
        async with asyncio.timeout(_MODELS_SECONDS):
            return await provider.models()
    except TimeoutError:
        return f"no answer within {_MODELS_SECONDS:.0f} seconds"
    except ProviderError as error:
        return error.message


def _model(provider: str, model: Model) -> dict[str, Any]:
    return {
        "model": f"{provider}/{model.id}",
        "provider": provider,
        "name": model.name or model.id,
        "description": model.description,
        "input_modalities": list(model.input_modalities),
        "context_tokens": model.context_tokens,
        "price_per_token": {"prompt": model.price_prompt, "completion": model.price_completion},
    }


def _shown(row: Mapping[str, Any], without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A row as JSON: times in ISO 8601, stored JSON as what it says."""
    shown = {name: value for name, value in row.items() if name not in without}
    for name in _TIMES:
        if shown.get(name) is not None:
            shown[name] = wire.timestamp(datetime.fromtimestamp(shown[name], UTC))
    for name in ("input", "result_body", "receipt"):
        if shown.get(name) is not None:
            shown[name] = json.loads(shown[name])
    if "id" in shown:
        shown["request_id"] = shown.pop("id")
    return shown


def _who(request: Request) -> dict[str, Any]:
    caller = auth.caller(request.scope)
    return {"key_id": caller.key_id, "is_admin": int("ADMIN" in caller.scopes)}


def _whole(request: Request, name: str, *, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and 0 < int(text) <= most):
        raise BadRequest(f"{name} must be a whole number from 1 to {most}")
    return int(text)


def _json(document: Any) -> Response:
    return Response(wire.dumps(document), media_type="application/json")
