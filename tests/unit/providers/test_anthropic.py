"""Anthropic's messages, without a wire."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.models import Call, Delta
from telecine.providers.anthropic.answer import Answer, usage
from telecine.providers.anthropic.request import Thinking, question

EFFORTS = ["minimal", "low", "medium", "high", "xhigh", "max"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
EVENTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                *("message_start", "content_block_start", "content_block_delta", "message_delta"),
                *("message_stop", "message", "error", "ping", "unheard"),
            ]
        )
    },
    optional=dict.fromkeys(
        ("message", "content_block", "delta", "usage", "error", "content", "index"), JSON
    ),
)


def asked(*, thinking=None, most_tokens=64_000, **more):
    call = Call(request_id="r", model="m", prompt="p", **more)
    return question(call, most_tokens=most_tokens, thinking=thinking or Thinking())


@given(effort=st.sampled_from(EFFORTS), max_tokens=st.integers(1, 200_000))
def test_a_budget_leaves_room_for_an_answer(effort, max_tokens):
    made = asked(effort=effort, max_tokens=max_tokens)
    if "thinking" not in made.document:
        assert max_tokens <= 1024
        assert len(made.warnings) == 1
        return
    budget = made.document["thinking"]["budget_tokens"]
    assert 1024 <= budget <= 128_000
    assert budget < max_tokens


def test_more_effort_never_means_a_smaller_budget():
    budgets = [asked(effort=e).document["thinking"]["budget_tokens"] for e in EFFORTS]
    assert budgets == sorted(budgets)


@pytest.mark.parametrize("has_budget", [True, False])
def test_no_effort_turns_thinking_off(has_budget):
    made = asked(effort="none", thinking=Thinking(has_budget=has_budget))
    assert made.document["thinking"] == {"type": "disabled"}


def test_reasoning_that_is_wanted_is_thought():
    assert asked(reasoning=True).document["thinking"]["type"] == "enabled"
    assert "thinking" not in asked().document


@pytest.mark.parametrize(("temperature", "warnings"), [(0.0, 1), (0.3, 1), (1.0, 0)])
def test_a_temperature_beside_thinking_is_left_out(temperature, warnings):
    made = asked(effort="low", temperature=temperature)
    assert "temperature" not in made.document
    assert len(made.warnings) == warnings


def test_max_tokens_are_always_said():
    assert asked(most_tokens=None).document["max_tokens"] == 8192
    assert asked(most_tokens=100).document["max_tokens"] == 100
    assert asked(max_tokens=7).document["max_tokens"] == 7


def test_a_whole_message_is_heard_as_a_stream_is():
    answer = Answer(wants_reasoning=True)
    content = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Yes."}]
    body = {"type": "message", "id": "msg_1", "model": "m", "content": content}
    told = {"input_tokens": 3, "output_tokens": 2}
    assert answer.take({**body, "stop_reason": "max_tokens", "usage": told}) == Delta("Yes.", "Hm.")
    assert answer.upstream.finish_reason == "length"
    assert answer.usage.total_tokens == 5


def test_later_figures_replace_earlier_ones_and_nothing_else():
    answer = Answer(wants_reasoning=False)
    first = {"input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 1}
    answer.take({"type": "message_start", "message": {"usage": first}})
    answer.take({"type": "message_delta", "usage": {"output_tokens": 5, "input_tokens": None}})
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (13, 5)


@pytest.mark.parametrize(
    ("told", "prompt"),
    [
        ({"input_tokens": 5}, 5),
        ({"input_tokens": 5, "cache_creation_input_tokens": 2}, 7),
        ({"input_tokens": 5, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 1}, 8),
        ({"input_tokens": "5", "cache_read_input_tokens": -1}, 0),
    ],
)
def test_cached_tokens_are_not_in_what_is_called_input(told, prompt):
    assert usage(told).prompt_tokens == prompt


@given(st.lists(EVENTS | JSON, max_size=6))
def test_no_event_breaks_it(events):
    answer = Answer(wants_reasoning=True)
    for event in events:
        answer.take(json.loads(json.dumps(event)))
    if answer.usage is not None:
        assert answer.usage.total_tokens >= 0
