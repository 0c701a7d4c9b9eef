"""What is found in a body of OpenAI's API."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.errors import InputError
from telecine.models import MediaName
from telecine.openai import bodies

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


def chat(*content, **more):
    return {"model": "m", "messages": [{"role": "user", "content": list(content)}], **more}


def one(part):
    """The only medium of a message that is this part alone."""
    [name] = bodies.media("chat", chat(part))
    assert name.loc == ("body", "messages", 0, "content", 0)
    return name.kind, name.text


@pytest.mark.parametrize(
    ("part", "kind", "text"),
    [
        ({"type": "image_url", "image_url": {"url": "u"}}, "image", "u"),
        ({"type": "image_url", "image_url": "u"}, "image", "u"),
        ({"type": "video_url", "video_url": {"url": "u"}}, "video", "u"),
        ({"type": "input_video", "input_video": {"url": "u"}}, "video", "u"),
        ({"type": "audio_url", "audio_url": {"url": "u"}}, "audio", "u"),
        (
            {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
            "audio",
            "data:audio/mp3;base64,QUJD",
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "QUJD", "format": 'x;"'}},
            "audio",
            "data:audio/wav;base64,QUJD",
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "data:audio/wav;base64,QUJD"}},
            "audio",
            "data:audio/wav;base64,QUJD",
        ),
        ({"type": "input_audio", "input_audio": {"data": "https://a/b"}}, "audio", "https://a/b"),
        (
            {"type": "input_audio", "input_audio": {"data": "attachment:00ff"}},
            "audio",
            "attachment:00ff",
        ),
    ],
)
def test_every_way_to_name_a_medium_in_a_chat_is_known(part, kind, text):
    assert one(part) == (kind, text)


def test_media_are_counted_by_kind_in_the_order_of_all_messages():
    def image(url):
        return {"type": "image_url", "image_url": {"url": url}}

    body = {
        "messages": [
            {"role": "user", "content": [image("a"), {"type": "text", "text": "and"}, image("b")]},
            {"role": "assistant", "content": "What of it?"},
            {"role": "tool", "content": [image("c")]},
            {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "v"}}]},
        ]
    }
    assert bodies.media("chat", body) == (
        MediaName("a", ("body", "messages", 0, "content", 0), "image", 0),
        MediaName("b", ("body", "messages", 0, "content", 2), "image", 1),
        MediaName("c", ("body", "messages", 2, "content", 0), "image", 2),
        MediaName("v", ("body", "messages", 3, "content", 0), "video", 0),
    )


def test_media_of_a_response_stand_in_its_input_and_in_what_tools_answered():
    body = {
        "input": [
            {"role": "user", "content": [{"type": "input_image", "image_url": "a"}]},
            {
                "type": "function_call_output",
                "output": [{"type": "input_image", "image_url": "b", "detail": "low"}],
            },
            {"role": "user", "content": [{"type": "input_video", "video_url": "c"}]},
        ]
    }
    assert [(n.text, n.kind, n.loc[2:]) for n in bodies.media("responses", body)] == [
        ("a", "image", (0, "content", 0)),
        ("b", "image", (1, "output", 0)),
        ("c", "video", (2, "content", 0)),
    ]


def test_a_file_of_the_providers_own_is_left_to_it():
    part = {"type": "input_image", "file_id": "file-1"}
    assert bodies.media("responses", {"input": [{"role": "user", "content": [part]}]}) == ()


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url"},
        {"type": "image_url", "image_url": {}},
        {"type": "image_url", "image_url": {"url": 7}},
        {"type": "input_audio", "input_audio": {"format": "mp3"}},
    ],
)
def test_a_part_that_names_nothing_is_refused_where_it_stands(part):
    with pytest.raises(InputError) as caught:
        bodies.media("chat", chat(part))
    assert caught.value.problems[0].loc == ("body", "messages", 0, "content", 0)


def test_a_single_question_is_plain_and_nothing_is_left_unsaid():
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "In German."}]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "u"}},
                    {"type": "text", "text": "And where?"},
                ],
            },
        ],
        "temperature": 0.1,
        "max_completion_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "u-1",
        "metadata": {"a": "b"},
        "tools": [],
        "n": 1,
        "stop": None,
        "response_format": {"type": "text"},
    }
    assert bodies.plain("chat", body) == (
        "What is it?\nAnd where?",
        "Be brief.\n\nIn German.",
        (),
    )


def test_of_a_conversation_the_last_question_is_asked_and_the_rest_is_named():
    body = {
        "messages": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ]
    }
    assert bodies.plain("chat", body) == ("three", None, ("2 earlier messages",))


def test_what_a_plain_question_can_not_say_is_named():
    body = chat(
        {"type": "text", "text": "Hi"},
        {"type": "file", "file": {"file_id": "f"}},
        logit_bias={"1": 2},
        tools=[{"type": "function"}],
        n=2,
    )
    assert bodies.plain("chat", body).unsaid == (
        "logit_bias",
        "tools",
        "n",
        "parts of type file",
    )


@pytest.mark.parametrize("given", ["Hi", [{"role": "user", "content": "Hi"}]])
def test_a_response_is_plain_with_its_instructions(given):
    body = {"model": "m", "input": given, "instructions": "Be brief.", "truncation": "auto"}
    assert bodies.plain("responses", body) == ("Hi", "Be brief.", ("truncation",))


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({}, False),
        ({"reasoning": {}}, True),
        ({"reasoning": {"enabled": True}}, True),
        ({"reasoning": {"effort": "low"}}, True),
        ({"reasoning": {"effort": "none"}}, False),
        ({"reasoning": {"exclude": True}}, False),
        ({"reasoning": {"enabled": False}}, False),
        ({"reasoning_effort": "high"}, True),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": None}, False),
    ],
)
def test_reasoning_is_wanted_when_the_body_says_so(body, wanted):
    assert bodies.wants_reasoning(body) is wanted


def test_parts_are_replaced_in_a_copy_that_shares_the_rest():
    body = chat({"type": "text", "text": "a"}, {"type": "image_url"}, tools=[{"deep": {}}])
    before = copy.deepcopy(body)
    made = bodies.replaced(body, {("messages", 0, "content", 1): "NEW"})
    assert body == before
    assert made["messages"][0]["content"] == [{"type": "text", "text": "a"}, "NEW"]
    assert made["tools"] is body["tools"]


@given(JSON)
def test_every_string_is_found_at_its_path(value):
    for path, text in bodies.strings(value):
        assert bodies.at(value, path) == text


@given(st.sampled_from(["chat", "responses", "embeddings"]), st.dictionaries(st.text(), JSON), JSON)
def test_no_body_breaks_the_search(api, body, content):
    content = {"role": "user", "content": content}
    for given_body in (body, {**body, "messages": [content], "input": [content]}):
        bodies.plain(api, given_body)
        bodies.wants_reasoning(given_body)
        try:
            bodies.media(api, given_body)
        except InputError as error:
            assert error.problems
