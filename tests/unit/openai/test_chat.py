"""Chunks of chat completions added up, and plain text as chunks."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.models import Delta, Usage
from telecine.openai import chat, is_mere_usage, wants_usage

USAGE = Usage(
    prompt_tokens=3,
    completion_tokens=2,
    total_tokens=5,
    cost=Decimal("0.25"),
    cost_source="billed",
    by_modality={"text": 1, "image": 2},
)


def chunk(delta=None, index=0, **more):
    return {
        "id": "gen-1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": index, "delta": delta or {}, **more}],
    }


def added(*chunks):
    completion = chat.Completion()
    for one in chunks:
        completion.add(one)
    return completion.whole()


def writer():
    return chat.Writer(request_id="r", model="m", created=7)


def test_pieces_of_text_are_one_message():
    whole = added(
        chunk({"role": "assistant", "content": ""}),
        chunk({"role": "assistant", "content": "Hel"}),
        chunk({"content": "lo", "reasoning": "Hm"}),
        chunk({}, finish_reason="stop", native_finish_reason="STOP"),
        {"id": "gen-1", "choices": [], "usage": {"total_tokens": 5, "cost": 0.1}},
    )
    assert whole == {
        "id": "gen-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "reasoning": "Hm"},
                "finish_reason": "stop",
                "native_finish_reason": "STOP",
            }
        ],
        "usage": {"total_tokens": 5, "cost": 0.1},
    }


def test_calls_of_tools_are_put_together_by_their_index():
    def call(index, **more):
        return chunk({"tool_calls": [{"index": index, **more}]})

    whole = added(
        call(0, id="a", type="function", function={"name": "f", "arguments": ""}),
        call(1, id="b", type="function", function={"name": "g", "arguments": "{"}),
        call(0, function={"arguments": '{"x":'}),
        call(0, type="function", function={"arguments": " 1}"}),
        call(1, function={"arguments": "}"}),
    )
    assert whole["choices"][0]["message"]["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_details_of_the_reasoning_keep_their_index():
    def detail(**more):
        return chunk({"reasoning_details": [{"type": "reasoning.text", "index": 0, **more}]})

    whole = added(detail(text="Let "), detail(text="me see"), detail(text="", signature="s"))
    [found] = whole["choices"][0]["message"]["reasoning_details"]
    assert (found["text"], found["signature"], found["index"]) == ("Let me see", "s", 0)


def test_choices_stay_apart_and_log_probabilities_line_up():
    whole = added(
        chunk({"content": "b"}, 1, logprobs={"content": [{"token": "b"}]}),
        chunk({"content": "a"}, 0, logprobs={"content": [{"token": "a"}], "refusal": None}),
        chunk({"content": "a"}, 0, logprobs={"content": [{"token": "a"}]}),
    )
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["aa", "b"]
    assert len(whole["choices"][0]["logprobs"]["content"]) == 2


def test_an_answer_that_came_whole_stays_as_it_is():
    message = {"role": "assistant", "content": "Hi", "audio": {"data": "QUJD"}, "refusal": None}
    given_answer = {
        "id": "1",
        "object": "chat.completion",
        "system_fingerprint": "fp",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {"total_tokens": 1},
    }
    assert added(given_answer) == given_answer


def test_an_answer_that_never_came_is_one_without_choices():
    assert added() == {"object": "chat.completion", "choices": []}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["index", "content", "tool_calls", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from(["choices", "usage", "id"]), JSON), max_size=4))
def test_no_chunks_break_it(chunks):
    added(*chunks)


@given(st.lists(st.text(max_size=5), max_size=20))
def test_what_is_written_adds_up_to_what_was_said(pieces):
    made = writer()
    chunks = [body for piece in pieces for body in made.delta(Delta(piece))]
    whole = added(*chunks, *made.end(USAGE, None))
    assert whole["choices"][0]["message"]["content"] == "".join(pieces)
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"]["cost"] == 0.25


def test_the_first_chunk_names_the_role_and_the_last_has_only_usage():
    made = writer()
    first, second, *_ = made.delta(Delta("Hi"))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert second["choices"][0]["delta"] == {"content": "Hi"}
    finish, usage = made.end(USAGE, "length")
    assert finish["choices"][0]["finish_reason"] == "length"
    assert is_mere_usage(usage)
    assert not is_mere_usage(finish)
    assert {c["object"] for c in (first, finish, usage)} == {"chat.completion.chunk"}


def test_an_answer_without_words_still_begins():
    first, *_ = writer().end(USAGE, "stop")
    assert first["choices"][0]["delta"]["role"] == "assistant"


def test_reasoning_is_told_beside_the_text():
    *_, last = writer().delta(Delta("a", "b"))
    assert last["choices"][0]["delta"] == {"reasoning": "b", "content": "a"}


def test_usage_tells_cost_and_modalities():
    told = chat.told(USAGE)
    assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (3, 2, 5)
    assert told["prompt_tokens_details"] == {
        "cached_tokens": 0,
        "text_tokens": 1,
        "image_tokens": 2,
    }
    assert chat.told(Usage())["cost"] is None


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"include_usage": True}, True),
        ({"include_usage": False}, False),
        ({}, False),
        (None, False),
    ],
)
def test_usage_is_wanted_when_the_stream_options_say_so(options, wanted):
    assert wants_usage({"stream_options": options}) is wanted
