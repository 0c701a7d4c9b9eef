from decimal import Decimal

import pytest

from telecine.providers.catalog import Price, price


def test_prices_are_read_to_the_last_digit():
    pricing = {
        "prompt": "0.0000003",
        "completion": "0.0000025",
        "audio": "0.000001",
        "request": "0",
    }
    assert price(pricing, source="openrouter, 2026-11-22") == Price(
        prompt=Decimal("3e-7"),
        completion=Decimal("25e-7"),
        audio=Decimal("1e-6"),
        source="openrouter, 2026-11-22",
    )


@pytest.mark.parametrize(
    "pricing",
    [
        {},
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "0.1", "completion": "NaN"},
        {"prompt": "0.1", "completion": "Infinity"},
        {"prompt": 0.1, "completion": 0.1},
        {"prompt": "cheap", "completion": "0"},
    ],
)
def test_what_is_no_price_is_unknown(pricing):
    assert price(pricing, source="s") is None
