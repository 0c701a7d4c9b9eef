from dataclasses import replace
from decimal import Decimal

from telecine import ledger
from telecine.models import Caller, Receipt, Request, Usage
from telecine.providers.catalog import Price

PRICE = Price(prompt=Decimal("3e-7"), completion=Decimal("25e-7"), source="test")
USAGE = Usage(prompt_tokens=270, completion_tokens=28, total_tokens=298)
REQUEST = Request(
    id="r-1",
    endpoint="openrouter/router/video",
    mode="queue",
    caller=Caller("k-1"),
    document={},
    attempt=2,
)


def test_tokens_times_price_is_the_cost():
    found = ledger.priced(USAGE, PRICE)
    assert (found.cost, found.cost_source) == (Decimal("0.000151"), "computed")


def test_a_bill_is_never_recomputed():
    billed = replace(USAGE, cost=Decimal("0.5"), cost_source="billed")
    assert ledger.priced(billed, PRICE) is billed


def test_what_is_free_stays_free():
    free = replace(USAGE, cost=Decimal(0), cost_source="free")
    assert ledger.priced(free, PRICE) is free


def test_without_a_price_or_tokens_the_cost_stays_unknown():
    assert ledger.priced(USAGE, None).cost_source == "unknown"
    assert ledger.priced(Usage(), PRICE).cost_source == "unknown"


def test_cached_and_audio_tokens_have_prices_of_their_own():
    price = replace(PRICE, cached=Decimal("1e-7"), audio=Decimal("1e-6"), request=Decimal("0.01"))
    usage = replace(USAGE, cached_tokens=100, by_modality={"audio": 70, "video": 50})
    expected = 100 * Decimal("1e-7") + 70 * Decimal("1e-6") + 100 * Decimal("3e-7")
    assert ledger.priced(usage, price).cost == expected + 28 * Decimal("25e-7") + Decimal("0.01")


def test_more_special_tokens_than_prompt_tokens_do_not_make_it_negative():
    price = replace(PRICE, cached=Decimal("1e-7"), audio=Decimal("1e-6"))
    usage = replace(USAGE, cached_tokens=10**6, by_modality={"audio": 10**6})
    assert ledger.priced(usage, price).cost == 270 * Decimal("1e-7") + 28 * Decimal("25e-7")


def test_a_row_holds_who_asked_what_answered_and_the_exact_cost():
    usage = replace(USAGE, cost=Decimal("1.51E-7"), cost_source="billed")
    receipt = Receipt(
        {
            "model": "a",
            "provider": "openrouter",
            "provider_model": "b",
            "upstream": {"id": "gen-1"},
        }
    )
    assert ledger.entry(REQUEST, usage, receipt, at=12.5) == {
        "request_id": "r-1",
        "attempt": 2,
        "key_id": "k-1",
        "endpoint": "openrouter/router/video",
        "mode": "queue",
        "provider": "openrouter",
        "model": "b",
        "at": 12.5,
        "prompt_tokens": 270,
        "completion_tokens": 28,
        "total_tokens": 298,
        "cost": "0.000000151",
        "cost_source": "billed",
        "upstream_id": "gen-1",
    }


def test_a_row_can_be_made_before_anybody_answered():
    row = ledger.entry(REQUEST, Usage(), None, at=0.0)
    assert (row["provider"], row["cost"], row["upstream_id"]) == ("", None, None)
