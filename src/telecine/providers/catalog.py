"""What models cost. Prices are the upstreams' own, read from their lists, with their date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per token; `request` per call. `cached` and `audio` are prompt tokens with a price
    of their own. `source` says where the figures come from and of what day they are.
    """

    prompt: Decimal
    completion: Decimal
    source: str
    cached: Decimal | None = None
    audio: Decimal | None = None
    request: Decimal = Decimal(0)


def price(pricing: Mapping[str, Any], *, source: str) -> Price | None:
    """A `pricing` object of OpenRouter's model list; None where it says that it varies (-1)."""
    prompt, completion = _dollars(pricing.get("prompt")), _dollars(pricing.get("completion"))
    if prompt is None or completion is None:
        return None
    return Price(
        prompt=prompt,
        completion=completion,
        source=source,
        cached=_dollars(pricing.get("input_cache_read")),
        audio=_dollars(pricing.get("audio")),
        request=_dollars(pricing.get("request")) or Decimal(0),
    )


def _dollars(text: Any) -> Decimal | None:
    if not isinstance(text, str):
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount < 10**6 else None
