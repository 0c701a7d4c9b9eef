from dataclasses import replace
from decimal import Decimal

import pytest

from telecine import ledger
from telecine.models import Bill, Caller, Request, Usage
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
    bill = Bill(call="c", usage=usage, provider="openrouter", model="b", upstream_id="gen-1")
    assert ledger.entry(REQUEST, bill, at=12.5) == {
        "call_id": "c",
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
        "price_source": None,
        "settle_at": None,
    }


def billed(cost, source="billed", **more):
    cost = None if cost is None else Decimal(cost)
    return replace(USAGE, cost=cost, cost_source=source, **more)


def test_calls_add_up_to_the_last_digit():
    found = ledger.total([billed("0.1"), billed("0.2"), billed("0.000000000001")])
    assert (found.cost, found.cost_source) == (Decimal("0.300000000001"), "billed")
    assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == (810, 84, 894)


@pytest.mark.parametrize(
    ("sources", "source"),
    [
        (("billed", "computed", "free"), "computed"),
        (("billed", "free"), "billed"),
        (("free", "free"), "free"),
    ],
)
def test_a_sum_comes_from_the_least_certain_source(sources, source):
    assert ledger.total([billed("1", each) for each in sources]).cost_source == source


def test_one_unknown_cost_makes_the_sum_unknown_but_not_what_is_known():
    usages = [billed("0.5"), billed(None, "unknown")]
    found = ledger.total(usages)
    assert (found.cost, found.cost_source) == (None, "unknown")
    assert ledger.known_cost(usages) == Decimal("0.5")


def test_nothing_at_all_is_unknown():
    assert ledger.total([]) == Usage()


def test_details_add_up_where_they_are_told():
    told = billed("1", cached_tokens=3, by_modality={"video": 5, "text": 1})
    found = ledger.total([told, billed("1", by_modality={"video": 2})])
    assert (found.cached_tokens, found.reasoning_tokens) == (3, None)
    assert found.by_modality == {"video": 7, "text": 1}
