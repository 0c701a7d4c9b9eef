import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.models import Delta
from telecine.providers.answer import Answer, usage

KEYS = st.sampled_from(
    [
        "choices", "delta", "message", "content", "reasoning", "reasoning_details", "text",
        "usage", "prompt_tokens", "cost", "prompt_tokens_details", "multimodal_tokens", "video",
        "is_byok", "cost_details", "error", "code", "metadata", "raw", "reasons", "object",
        "finish_reason", "id", "model", "availability", "retry_after", "detail",
    ]
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals()
    | st.text(max_size=9)
    | st.sampled_from(["error", "stop", "NaN", "429"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)


def answer():
    return Answer(reads_cost=True, wants_reasoning=True)


def chunk(delta, finish=None, **more):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


@given(st.lists(JSON | st.dictionaries(KEYS, JSON, max_size=8), max_size=4))
def test_nothing_that_an_upstream_sends_is_a_bug_of_ours(chunks):
    sums = answer()
    for sent in chunks:
        delta = sums.take(sent)
        assert delta is None or delta.text or delta.reasoning
    told = sums.usage
    if told is not None:
        assert 0 <= told.prompt_tokens < 2**53
        assert told.cost is None or 0 <= told.cost < 10**9


def test_text_may_come_in_parts():
    parts = [{"type": "text", "text": "a"}, {"type": "other"}, {"type": "text", "text": "b"}]
    assert answer().take(chunk({"content": parts})) == Delta("ab")


def test_a_refusal_is_text():
    assert answer().take(chunk({"content": None, "refusal": "No."})) == Delta("No.")


def test_text_and_error_in_one_chunk_are_both_taken():
    sums = answer()
    assert sums.take(chunk({"content": "a"}, error={"message": "b"})) == Delta("a")
    assert sums.failure is not None
    assert sums.failure.message == "b"


def test_the_finish_reason_outlives_later_chunks_without_one():
    sums = answer()
    sums.take(chunk({"content": "a"}, "stop", id="gen-1", model="m", provider="Google"))
    sums.take(chunk({"content": ""}))
    assert (sums.upstream.finish_reason, sums.upstream.provider) == ("stop", "Google")


def test_the_id_that_was_known_first_stays():
    sums = answer()
    sums.take(chunk({}, id="one"))
    sums.take(chunk({}, id="two"))
    assert sums.upstream.id == "one"


@pytest.mark.parametrize("cost", ["0.00045", "1e-7", "0.1", "3"])
def test_dollars_are_never_floats(cost):
    told = json.loads(f'{{"cost": {cost}}}', parse_float=Decimal)
    assert usage(told, reads_cost=True).cost == Decimal(cost)


@pytest.mark.parametrize("cost", [None, True, "0.1", -1, Decimal("NaN"), Decimal("Infinity"), {}])
def test_a_cost_that_is_none_is_unknown(cost):
    found = usage({"cost": cost}, reads_cost=True)
    assert (found.cost, found.cost_source) == (None, "unknown")


def test_a_cost_is_believed_only_where_it_is_a_bill():
    assert usage({"cost": Decimal("0.1")}).cost is None


def test_byok_without_the_hosts_bill_is_unknown():
    told = {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}
    assert usage(told, reads_cost=True).cost_source == "unknown"


def test_a_blank_breakdown_says_nothing_about_the_video():
    details = {"video_tokens": 0, "audio_tokens": 0, "cached_tokens": 0}
    assert usage({"prompt_tokens": 9, "prompt_tokens_details": details}).by_modality == {}


def test_a_breakdown_with_figures_says_it_when_there_was_no_video():
    details = {"video_tokens": 0, "audio_tokens": 7}
    found = usage({"prompt_tokens": 9, "prompt_tokens_details": details})
    assert found.by_modality == {"audio": 7, "video": 0}


def test_a_missing_total_is_the_sum():
    assert usage({"prompt_tokens": 2, "completion_tokens": 3}).total_tokens == 5


BILLED = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10, "cost": Decimal("0.5")}


@pytest.mark.parametrize(
    "later",
    [{}, {"prompt_tokens": 0}, {"total_tokens": 0, "cost": None}, {"prompt_tokens_details": {}}],
)
def test_a_usage_left_blank_takes_back_nothing(later):
    sums = answer()
    sums.take({"usage": BILLED})
    sums.take({"usage": later})
    assert (sums.usage.total_tokens, sums.usage.cost) == (10, Decimal("0.5"))
    assert sums.usage.cost_source == "billed"


def test_later_figures_count_and_keep_the_bill_that_was_told():
    sums = answer()
    sums.take({"usage": BILLED})
    sums.take({"usage": {"prompt_tokens": 9, "completion_tokens": 5}})
    assert (sums.usage.completion_tokens, sums.usage.cost) == (5, Decimal("0.5"))


def test_a_usage_with_nothing_in_it_is_none():
    sums = answer()
    sums.take({"usage": {}})
    assert sums.usage is None


def test_encrypted_reasoning_has_begun_an_answer():
    sums = answer()
    detail = {"type": "reasoning.encrypted", "data": "abc", "index": 0}
    assert sums.take(chunk({"content": "", "reasoning_details": [detail]})) is None
    assert sums.has_begun
