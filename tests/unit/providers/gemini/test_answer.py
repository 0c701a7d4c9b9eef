import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.models import Delta, Usage
from telecine.providers.gemini.answer import Answer, usage


def said(*parts, finish=None, **more):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **more}


def text(words, *, thought=False):
    return {"text": words, "thought": True} if thought else {"text": words}


def answer(*, reasoning=True):
    return Answer(wants_reasoning=reasoning)


def counted(modality, tokens=None):
    entry = {"modality": modality}
    return entry if tokens is None else {**entry, "tokenCount": tokens}


def test_thoughts_are_told_apart_from_the_answer():
    assert answer().take(said(text("hm", thought=True), text("yes"))) == Delta("yes", "hm")
    assert answer(reasoning=False).take(said(text("hm", thought=True))) is None


def test_completion_tokens_are_candidates_and_thoughts():
    told = {
        "promptTokenCount": 4610,
        "candidatesTokenCount": 101,
        "thoughtsTokenCount": 30,
        "cachedContentTokenCount": 600,
        "totalTokenCount": 4741,
        "promptTokensDetails": [
            counted("VIDEO", 3096),
            counted("TEXT", 14),
            counted("AUDIO", 1500),
        ],
    }
    assert usage(told) == Usage(
        prompt_tokens=4610,
        completion_tokens=131,
        total_tokens=4741,
        reasoning_tokens=30,
        cached_tokens=600,
        by_modality={"video": 3096, "text": 14, "audio": 1500},
    )


def test_the_last_total_counts():
    now = answer()
    now.take(said(text("a"), usageMetadata={"promptTokenCount": 9, "candidatesTokenCount": 1}))
    now.take(said(text("b"), usageMetadata={"promptTokenCount": 9, "candidatesTokenCount": 2}))
    assert now.usage.completion_tokens == 2


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ([counted("VIDEO"), counted("TEXT", 14)], {"video": 86, "text": 14}),
        ([counted("TEXT", 100), counted("VIDEO")], {"text": 100, "video": 0}),
        ([counted("VIDEO"), counted("TEXT")], {}),
        ([counted("VIDEO", 5), counted("VIDEO", 6)], {"video": 11}),
        ([None, {"tokenCount": 3}, counted("TEXT", "many")], {"text": 100}),
        ("nonsense", {}),
    ],
)
def test_details_without_a_count_are_no_proof_that_nothing_was_seen(details, expected):
    told = {"promptTokenCount": 100, "promptTokensDetails": details}
    assert usage(told).by_modality == expected


def test_snake_case_is_understood():
    now = answer()
    now.take(
        {
            "candidates": [{"content": {"parts": [text("a")]}, "finish_reason": "STOP"}],
            "usage_metadata": {"prompt_token_count": 3, "total_token_count": 4},
            "response_id": "r",
            "model_version": "m",
        }
    )
    assert (now.usage.prompt_tokens, now.upstream.id, now.upstream.model) == (3, "r", "m")
    assert now.upstream.finish_reason == "stop"


@pytest.mark.parametrize(
    ("reason", "expected"), [("STOP", "stop"), ("MAX_TOKENS", "length"), ("TIRED_OF_IT", "error")]
)
def test_reasons_to_end_become_ours_and_unknown_ones_are_borne(reason, expected):
    now = answer()
    now.take(said(text("a"), finish=reason))
    assert now.is_complete
    assert now.upstream.finish_reason == expected
    assert now.failure is None
    assert now.odd_ending == ("" if reason in ("STOP", "MAX_TOKENS") else reason)


def test_an_unknown_end_without_an_answer_is_a_failure():
    now = answer()
    now.take({"candidates": [{"finishReason": "MALFORMED_RESPONSE", "finishMessage": "No luck"}]})
    assert "MALFORMED_RESPONSE, No luck" in now.failure.message


def test_a_blocked_prompt_says_why():
    now = answer()
    rating = {"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH"}
    feedback = {"blockReason": "SAFETY", "blockReasonMessage": "No.", "safetyRatings": [rating]}
    now.take({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 7}})
    assert now.failure.kind == "content_filter"
    for words in ("SAFETY", "No.", "HARM_CATEGORY_HARASSMENT HIGH"):
        assert words in now.failure.message
    assert now.usage.prompt_tokens == 7


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII"])
def test_an_answer_blocked_in_its_middle_is_a_matter_of_policy(reason):
    now = answer()
    now.take(said(text("a")))
    now.take({"candidates": [{"content": {}, "finishReason": reason}]})
    assert (now.failure.kind, now.upstream.finish_reason) == ("content_filter", "content_filter")
    assert reason in now.failure.message


@pytest.mark.parametrize("wrapped", [False, True])
def test_errors_are_heard_in_a_list_too(wrapped):
    error = {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}
    now = answer()
    now.take([error] if wrapped else error)
    assert (now.failure.status, now.failure.message) == (503, "Overloaded")


def test_a_list_of_responses_is_an_answer_too():
    now = answer()
    assert now.take([said(text("a")), said(text("b"), finish="STOP")]) == Delta("ab")
    assert now.is_complete


NAMES = [
    "candidates",
    "content",
    "parts",
    "text",
    "thought",
    "finishReason",
    "error",
    "usageMetadata",
    "promptTokensDetails",
    "tokenCount",
    "modality",
    "promptFeedback",
    "blockReason",
    "safetyRatings",
    "promptTokenCount",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_answer_whatever_is_in_it_breaks_the_reader(chunk):
    now = answer()
    now.take(chunk)
    assert now.usage is None or now.usage.prompt_tokens >= 0
