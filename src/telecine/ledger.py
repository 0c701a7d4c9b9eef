"""What a request cost, and the rows that say so. Decimals throughout: money is not a float."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from telecine.models import Bill, CostSource, Request, Usage
from telecine.providers.catalog import Price

_KNOWN: tuple[CostSource, ...] = ("computed", "billed", "free")  # the least certain one first


def priced(usage: Usage, price: Price | None) -> Usage:
    """`usage` with its cost computed from tokens and `price`, unless the upstream told it, or
    there is nothing to compute it from."""
    if usage.cost is not None or price is None or usage.total_tokens == 0:
        return usage
    return replace(usage, cost=price.cost(usage), cost_source="computed")


def total(usages: Iterable[Usage]) -> Usage:
    """All of them as one. Its cost is unknown as soon as one of theirs is; else it comes from the
    least certain source of any."""
    all_ = list(usages)
    sources = {usage.cost_source for usage in all_}
    is_known = bool(all_) and "unknown" not in sources
    by_modality: Counter[str] = Counter()
    for usage in all_:
        by_modality.update(usage.by_modality)
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in all_),
        completion_tokens=sum(usage.completion_tokens for usage in all_),
        total_tokens=sum(usage.total_tokens for usage in all_),
        cost=known_cost(all_) if is_known else None,
        cost_source=next(s for s in _KNOWN if s in sources) if is_known else "unknown",
        reasoning_tokens=_told(usage.reasoning_tokens for usage in all_),
        cached_tokens=_told(usage.cached_tokens for usage in all_),
        by_modality=dict(by_modality),
    )


def known_cost(usages: Iterable[Usage]) -> Decimal:
    """What those of them come to whose cost is known."""
    return sum((usage.cost for usage in usages if usage.cost is not None), Decimal(0))


def entry(
    request: Request, bill: Bill, *, at: float, settle_at: float | None = None
) -> dict[str, Any]:
    """The values of a row of `ledger` for a call that reached a model. Times are epoch seconds;
    at `settle_at` the upstream is asked what it cost."""
    usage = bill.usage or Usage()
    return {
        "call_id": bill.call,
        "request_id": request.id,
        "attempt": request.attempt,
        "key_id": request.caller.key_id,
        "endpoint": request.endpoint,
        "mode": request.mode,
        "provider": bill.provider,
        "model": bill.model,
        "at": at,
        **amounts(usage),
        "upstream_id": bill.upstream_id,
        "price_source": bill.price_source,
        "settle_at": settle_at,
    }


def amounts(usage: Usage) -> dict[str, Any]:
    """What of a row says how much it was."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cost": None if usage.cost is None else f"{usage.cost:f}",
        "cost_source": usage.cost_source,
    }


def _told(counts: Iterable[int | None]) -> int | None:
    told = [count for count in counts if count is not None]
    return sum(told) if told else None
