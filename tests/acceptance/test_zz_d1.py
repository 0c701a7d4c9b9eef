"""A model whose provider refuses the operator's account (401, 402) billed nothing: when the next of
`models` answers, the cost of the request is known. Copy to tests/acceptance to run it.

Now: usd None, source "unknown", a row of unknown cost in the ledger for the refused call, because
inference._spent takes every ProviderFailed for one that may have been billed."""

from decimal import Decimal

import pytest
from tests.acceptance.conftest import ENDPOINT


@pytest.mark.parametrize("status", ["401", "402"])
def test_a_call_that_was_refused_for_the_account_costs_nothing(in_front_of_all, fake, python, status):
    client = python(in_front_of_all().origin)
    fake.forget()
    given = {"prompt": "What?", "model": f"openrouter/fake/{status}", "receipt": True}
    answer = client.run(ENDPOINT, {**given, "models": ["google/gemini-2.5-flash"]})
    cost = answer["receipt"]["cost"]
    assert cost["source"] == "billed"
    assert Decimal(cost["usd"]) == fake.total
