"""OpenRouter: it tells what it charges, lists prices, and knows afterwards what a call came to."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from aiohttp import web

from telecine.fake.chat import error
from telecine.fake.dialects import COMPLETION_PRICE, PROMPT_PRICE, Dialect, media_tokens
from telecine.fake.record import Received, Record
from telecine.fake.script import Script, number

MODELS: Mapping[str, list[str]] = {
    "google/gemini-2.5-flash": ["file", "image", "text", "audio", "video"],
    "qwen/qwen3.5-27b": ["text", "image", "video"],
    "openrouter/auto": ["text", "image", "video"],
    "text/only": ["text"],
}
# Base URLs end where those of the real ones do, or right after the name.
V1 = "{v1:(?:/api)?(?:/v1)?}"
_CONTEXT, _MOST_OUTPUT = 1_048_576, 65_535


class OpenRouter(Dialect):
    """A video by its address counts no prompt tokens, as was once recorded: nothing is charged for
    them either."""

    name = "openrouter"
    prefix = "gen-"
    charges = True
    host = "Google"
    models = tuple(MODELS)

    def listed(self) -> dict[str, Any]:
        return {"data": [_entry(name, sees) for name, sees in MODELS.items()]}

    def usage(self, received: Received) -> dict[str, Any]:
        told = super().usage(received)
        tokens = {"audio": 0, **media_tokens(received)}
        if received.links:
            tokens = dict.fromkeys(tokens, 0)
            told |= {"prompt_tokens": 0, "total_tokens": told["completion_tokens"]}
        prompt = told["prompt_tokens"] * PROMPT_PRICE
        completion = told["completion_tokens"] * COMPLETION_PRICE
        return {
            **told,
            "cost": number(prompt + completion),
            "is_byok": False,
            "cost_details": {
                "upstream_inference_cost": number(prompt + completion),
                "upstream_inference_prompt_cost": number(prompt),
                "upstream_inference_completions_cost": number(completion),
            },
            "prompt_tokens_details": {
                "cached_tokens": 0,
                **{f"{kind}_tokens": count for kind, count in tokens.items()},
            },
            "completion_tokens_details": {"reasoning_tokens": 0},
        }

    def bill(self, told: Mapping[str, Any]) -> Decimal:
        if told["cost"] is None:
            return self.cost(told)
        cost = Decimal(str(told["cost"]))
        # The host's bill goes to the operator as well, but by another way.
        upstream = Decimal(str(told["cost_details"]["upstream_inference_cost"]))
        return cost + upstream if told["is_byok"] else cost

    def refusal(self, status: int, message: str, kind: str = "") -> Script:
        more = {"metadata": {"error_type": kind}} if kind else {}
        return Script(status=status, body=error(status, message, **more))


class Accounts:
    """What OpenRouter tells about keys and calls."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def switches(self) -> Mapping[str, str]:
        return {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"/openrouter{V1}/key", self._key),
            web.get(f"/openrouter{V1}/generation", self._generation),
        ]

    async def _key(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._record.refuses_key(given):
            return web.json_response(error(401, f"No such key: {given}"), status=401)
        credit, billed = self._record.switches.credit, self._record.billed
        left = None if credit is None else number(max(credit - billed, Decimal(0)))
        data = {
            "label": "sk-or-v1-012...def",
            "limit": None if credit is None else number(credit),
            "limit_remaining": left,
            "usage": number(billed),
            "is_free_tier": False,
        }
        return web.json_response({"data": data})

    async def _generation(self, request: web.Request) -> web.Response:
        received = self._record.find(request.query.get("id"))
        if received is None or received.provider != "openrouter":
            return web.json_response(error(404, "Generation not found"), status=404)
        return web.json_response({"data": _generation(received)})


def _generation(received: Received) -> dict[str, Any]:
    return {
        "id": received.id,
        "model": received.model,
        "provider_name": OpenRouter.host,
        "total_cost": number(received.billed),
        "usage": number(received.billed),
        "cancelled": received.was_cut,
        "streamed": received.document.get("stream") is True,
        "tokens_prompt": received.usage.get("prompt_tokens"),
        "tokens_completion": received.usage.get("completion_tokens"),
        "native_tokens_prompt": received.usage.get("prompt_tokens"),
        "native_tokens_completion": received.usage.get("completion_tokens"),
        "num_media_prompt": len(received.videos),
        "is_byok": False,
    }


def _entry(name: str, sees: list[str]) -> dict[str, Any]:
    prices = {"prompt": f"{PROMPT_PRICE:f}", "completion": f"{COMPLETION_PRICE:f}"}
    unknown = {"prompt": "-1", "completion": "-1"}
    return {
        "id": name,
        "canonical_slug": name,
        "name": name.title(),
        "context_length": _CONTEXT,
        "architecture": {"input_modalities": sees, "output_modalities": ["text"]},
        "pricing": unknown if name == "openrouter/auto" else {**prices, "audio": "0.000001"},
        "top_provider": {"context_length": _CONTEXT, "max_completion_tokens": _MOST_OUTPUT},
        "supported_parameters": [
            *("max_tokens", "temperature", "stop", "seed", "reasoning", "include_reasoning"),
            *("response_format", "structured_outputs"),
        ],
    }
