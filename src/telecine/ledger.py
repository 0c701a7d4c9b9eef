"""What a request cost, and the row that says so. Decimals throughout: money is not a float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from telecine.models import Receipt, Request, Usage
from telecine.providers.catalog import Price

# Dollars are kept to the trillionth: no price per token is finer.
_FINEST = Decimal("1e-12")


def priced(usage: Usage, price: Price | None) -> Usage:
    """`usage` with its cost computed from tokens and `price`, unless the upstream told it, or
    there is nothing to compute it from."""
    if usage.cost is not None or price is None or usage.total_tokens == 0:
        return usage
    return replace(usage, cost=_cost(usage, price), cost_source="computed")


def entry(request: Request, usage: Usage, receipt: Receipt | None, *, at: float) -> dict[str, Any]:
    """The values of a row of `ledger` for an attempt that reached a model. `at`: epoch seconds."""
    told = receipt.body if receipt else {}
    document = request.document
    named = document.get("model") if isinstance(document, Mapping) else None
    asked = named if isinstance(named, str) else ""
    return {
        "request_id": request.id,
        "attempt": request.attempt,
        "key_id": request.caller.key_id,
        "endpoint": request.endpoint,
        "mode": request.mode,
        "provider": told.get("provider") or "",
        "model": told.get("provider_model") or told.get("model") or asked,
        "at": at,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cost": None if usage.cost is None else f"{usage.cost:f}",
        "cost_source": usage.cost_source,
        "upstream_id": (told.get("upstream") or {}).get("id"),
    }


def _cost(usage: Usage, price: Price) -> Decimal:
    """Cached and audio tokens are part of the prompt tokens; they may have prices of their own."""
    cost = price.request + usage.completion_tokens * price.completion
    plain = usage.prompt_tokens
    for count, per_token in (
        (usage.cached_tokens, price.cached),
        (usage.by_modality.get("audio"), price.audio),
    ):
        if count and per_token is not None:
            special = min(count, plain)
            cost += special * per_token
            plain -= special
    return (cost + plain * price.prompt).quantize(_FINEST).normalize()
