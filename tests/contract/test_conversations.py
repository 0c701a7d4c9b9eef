"""What every provider that speaks OpenAI's API must do with a body of it: pass it on, and back."""

import hashlib
import tracemalloc
from contextlib import aclosing

import pytest
from tests.contract.test_providers import (
    ADAPTERS,
    WATCHERS,
    call,
    hung_up,
    image,
    only,
    opened,
    sound,
    video,
)
from tests.fakes import upstream as fake

from telecine import openai
from telecine.errors import ProviderFailed, ProviderRejected, ProviderUnavailable, TelecineError
from telecine.models import Chunk, Conversation, Delta, FilePart, LinkPart, Log, Upstream, Usage
from telecine.providers.base import converses
from telecine.providers.body import Base64
from telecine.providers.echo import Echo

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def upstream():
    with fake.serve() as served:
        yield served


def talk(api="chat", *, streamed=True, **body):
    given = {
        "chat": {"messages": [{"role": "user", "content": "Hi"}]},
        "responses": {"input": "Hi"},
    }
    streaming = {"stream": True} if streamed else {}
    whole = {"model": "as/asked", **given.get(api, {"input": "Hi"}), **streaming, **body}
    return Conversation(api=api, body=whole, is_streamed=streamed)


async def converse(kind, base, conversation, question=None, **more):
    async with opened(kind, base, **more) as provider:
        asked = provider.converse(question or call(kind), conversation)
        return [event async for event in asked]


async def fail(kind, base, conversation, question=None, **more):
    """The events before the error, and the error."""
    events = []

    async def use():
        async with opened(kind, base, **more) as provider:
            async for event in provider.converse(question or call(kind), conversation):
                events.append(event)  # noqa: PERF401 - those before the error count

    with pytest.raises(TelecineError) as caught:
        await use()
    return events, caught.value


def whole(api, events):
    """The answer, put together as the queue keeps it."""
    assembler = openai.assembler(api)
    for chunk in only(Chunk, events):
        assembler.add(chunk.body)
    return assembler.whole()


def switch(name, kind="openrouter"):
    return call(kind, f"fake/{name}")


def test_the_adapters_converse_and_echo_does_not(run, upstream):
    async def able(kind):
        async with opened(kind, upstream.url) as provider:
            return converses(provider)

    assert all(run(able(kind)) for kind in ADAPTERS)
    assert not converses(Echo("echo"))


# ---------------------------------------------------------------- what is sent


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("streamed", [True, False])
def test_the_body_goes_on_as_it_came_but_for_the_model(run, upstream, kind, streamed):
    given = {
        "tools": [TOOL],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "n": 1,
        "stop": ["END"],
        "seed": 7,
        "logprobs": True,
        "temperature": 0.0,
        "provider": {"order": ["a"]},
        "models": ["x/y"],
        "never/heard/of": [None, {"deep": "ünïcode"}],
    }
    run(converse(kind, upstream.url, talk(streamed=streamed, **given)))
    sent = dict(upstream.last.document)
    assert sent.pop("model") == call(kind).model
    assert sent.pop("messages") == [{"role": "user", "content": "Hi"}]
    assert sent.pop("stream", False) is streamed
    sent.pop("stream_options", None)
    assert sent == given


@pytest.mark.parametrize("kind", ADAPTERS)
def test_media_take_the_place_of_their_parts_and_keep_what_else_was_said(
    run, upstream, kind, tmp_path
):
    content = [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "attachment:1", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "attachment:2", "format": "lie"}},
        {"type": "text", "text": "And?"},
    ]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    parts = (
        image(tmp_path / "i", loc=("messages", 1, "content", 1)),
        sound(tmp_path / "a", loc=("messages", 1, "content", 2)),
    )
    run(converse(kind, upstream.url, talk(messages=messages), call(kind, parts=parts)))
    sent = upstream.last.document["messages"][1]["content"]
    assert [part["type"] for part in sent] == ["text", "image_url", "input_audio", "text"]
    assert sent[1]["image_url"]["detail"] == "low"
    assert sent[2]["input_audio"]["format"] == "mp3"
    assert [s.sha256 for s in upstream.last.media] == [part.media.sha256 for part in parts]
    assert content[1]["image_url"]["url"] == "attachment:1", "the request's own body was changed"


@pytest.mark.parametrize("kind", WATCHERS)
def test_a_video_is_written_as_the_dialect_has_it(run, upstream, kind, tmp_path):
    clip = video(tmp_path / "v", b"clip", loc=("body", "messages", 0, "content", 0))
    part = {"type": "video_url", "video_url": {"url": "data:,x"}}
    messages = [{"role": "user", "content": [part]}]
    question = call(kind, parts=(FilePart(clip),))
    run(converse(kind, upstream.url, talk(messages=messages), question))
    assert [sent.sha256 for sent in upstream.last.videos] == [clip.sha256]


def test_media_in_a_response_are_parts_of_its_input(run, upstream, tmp_path):
    content = [
        {"type": "input_image", "image_url": "data:,x", "detail": "high"},
        {"type": "input_video", "video_url": "data:,x"},
        {"type": "input_text", "text": "What?"},
    ]
    clip = video(tmp_path / "v", b"clip", loc=("body", "input", 0, "content", 1))
    parts = (image(tmp_path / "i", loc=("input", 0, "content", 0)), FilePart(clip))
    conversation = talk("responses", input=[{"role": "user", "content": content}])
    run(converse("openrouter", upstream.url, conversation, call(parts=parts)))
    sent = upstream.last.document["input"][0]["content"]
    assert [part["type"] for part in sent] == ["input_image", "input_video", "input_text"]
    assert sent[0]["detail"] == "high"
    assert [(s.kind, s.sha256) for s in upstream.last.media] == [
        ("image", parts[0].media.sha256),
        ("video", clip.sha256),
    ]


def test_other_data_of_the_caller_is_sent_from_its_file(run, upstream, tmp_path):
    (tmp_path / "p").write_bytes(b"%PDF-1.7" * 9999)
    file = {
        "filename": "a.pdf",
        "file_data": Base64(tmp_path / "p", "data:application/pdf;base64,"),
    }
    messages = [{"role": "user", "content": [{"type": "file", "file": file}]}]
    run(converse("openrouter", upstream.url, talk(messages=messages)))
    [sent] = upstream.last.media
    assert (sent.kind, sent.mime) == ("file", "application/pdf")
    assert sent.sha256 == hashlib.sha256(b"%PDF-1.7" * 9999).hexdigest()


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_large_image_is_never_held_in_memory(run, upstream, kind, tmp_path):
    part = image(tmp_path / "i", b"", loc=("messages", 0, "content", 0))
    with part.image.path.open("wb") as file:
        file.truncate(48 << 20)
    given = {"type": "image_url", "image_url": {"url": "data:,x"}}
    conversation = talk(messages=[{"role": "user", "content": [given]}])

    async def measured():
        async with opened(kind, upstream.url) as provider:
            tracemalloc.start()
            try:
                async for _ in provider.converse(call(kind, parts=(part,)), conversation):
                    pass
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    assert run(measured()) < 12 << 20
    assert upstream.last.media[0].bytes == 48 << 20


@pytest.mark.parametrize("kind", ["vllm", "generic"])
def test_a_server_that_tells_usage_only_when_asked_is_asked(run, upstream, kind):
    run(converse(kind, upstream.url, talk(stream_options={"include_obfuscation": False})))
    assert upstream.last.document["stream_options"] == {
        "include_obfuscation": False,
        "include_usage": True,
    }


def test_a_youtube_link_goes_to_the_host_that_takes_it(run, upstream):
    loc = ("body", "messages", 0, "content", 0)
    link = LinkPart("https://www.youtube.com/watch?v=x", loc)
    given = {"type": "video_url", "video_url": {"url": "https://youtu.be/x"}}
    conversation = talk(messages=[{"role": "user", "content": [given]}])
    run(converse("openrouter", upstream.url, conversation, call(parts=(link,))))
    assert upstream.last.links == [link.url]
    assert upstream.last.document["provider"] == {"only": ["google-ai-studio"]}


# ---------------------------------------------------------------- what comes back


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("streamed", [True, False])
def test_the_answer_comes_back_in_the_servers_own_words(run, upstream, kind, streamed):
    events = run(converse(kind, upstream.url, talk(streamed=streamed)))
    assert not only(Delta, events)
    answer = whole("chat", events)
    assert answer["choices"][0]["message"]["content"] == upstream.last.said
    assert answer["id"] == upstream.last.id
    assert answer.get("provider") == ("Google" if kind == "openrouter" else None)
    assert only(Upstream, events)[-1].finish_reason == "stop"


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("streamed", [True, False])
def test_usage_is_told_once_and_stays_in_the_answer(run, upstream, kind, streamed):
    events = run(converse(kind, upstream.url, talk(streamed=streamed)))
    [usage] = only(Usage, events)
    told = whole("chat", events)["usage"]
    assert told["prompt_tokens"] == usage.prompt_tokens == 12
    if kind == "openrouter":
        assert usage.cost_source == "billed"
        assert float(told["cost"]) == float(usage.cost) > 0


@pytest.mark.parametrize("streamed", [True, False])
def test_calls_of_tools_come_back_as_they_are(run, upstream, streamed):
    events = run(converse("openrouter", upstream.url, talk(streamed=streamed, tools=[TOOL])))
    choice = whole("chat", events)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"] == [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Köln"}'},
        }
    ]
    assert not only(Log, events), "an answer that calls a tool is not empty"


@pytest.mark.parametrize("streamed", [True, False])
def test_several_choices_stay_apart(run, upstream, streamed):
    answer = whole("chat", run(converse("vllm", upstream.url, talk(streamed=streamed, n=3))))
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert all(choice["message"]["content"] for choice in answer["choices"])


@pytest.mark.parametrize("name", ["thoughts", "thoughts-in-details"])
def test_reasoning_comes_along(run, upstream, name):
    message = whole("chat", run(converse("openrouter", upstream.url, talk(), switch(name))))
    message = message["choices"][0]["message"]
    thought = message.get("reasoning") or message["reasoning_details"][0]["text"]
    assert thought in {"Let me look.", "Hm."}


@pytest.mark.parametrize("streamed", [True, False])
def test_a_response_comes_back_with_its_events_and_its_usage(run, upstream, streamed):
    events = run(converse("openrouter", upstream.url, talk("responses", streamed=streamed)))
    answer = whole("responses", events)
    assert answer["output"][0]["content"][0]["text"] == upstream.last.said
    [usage] = only(Usage, events)
    assert (usage.prompt_tokens, usage.cost_source) == (12, "billed")
    assert usage.total_tokens == answer["usage"]["total_tokens"]
    assert only(Upstream, events)[-1].finish_reason == "stop"
    kinds = [chunk.body.get("type") for chunk in only(Chunk, events)]
    assert (kinds[-1] == "response.completed") is streamed


@pytest.mark.parametrize("format", ["float", "base64"])
def test_embeddings_come_back_as_they_are(run, upstream, format):
    conversation = talk("embeddings", streamed=False, input=["a", "bc"], encoding_format=format)
    events = run(converse("openrouter", upstream.url, conversation))
    answer = whole("embeddings", events)
    assert [entry["index"] for entry in answer["data"]] == [0, 1]
    if format == "float":
        assert answer["data"][1]["embedding"] == [2 / 7, -0.25, 1e-07]
    [usage] = only(Usage, events)
    assert (usage.prompt_tokens, str(usage.cost)) == (2, "0.000002")
    assert not only(Log, events)


# ---------------------------------------------------------------- how it goes wrong


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_refusal_before_the_answer_is_the_error_it_always_is(run, upstream, api, streamed):
    conversation = talk(api, streamed=streamed)
    events, error = run(fail("openrouter", upstream.url, conversation, switch("429")))
    assert isinstance(error, ProviderUnavailable)
    assert not only(Chunk, events)


@pytest.mark.parametrize("name", ["middle-error", "cut", "word-code"])
def test_an_error_in_the_middle_ends_the_answer(run, upstream, name):
    events, error = run(fail("openrouter", upstream.url, talk(), switch(name)))
    assert isinstance(error, ProviderFailed)
    assert only(Chunk, events)
    assert not any("error" in chunk.body for chunk in only(Chunk, events))


@pytest.mark.parametrize("name", ["middle-error", "error-event"])
def test_a_response_that_fails_is_an_error(run, upstream, name):
    _, error = run(fail("openrouter", upstream.url, talk("responses"), switch(name)))
    assert isinstance(error, ProviderFailed)


@pytest.mark.parametrize("api", ["responses", "embeddings"])
def test_a_server_without_that_part_of_the_api_refuses(run, upstream, api):
    conversation = talk(api, streamed=False)
    _, error = run(fail("sglang", upstream.url, conversation))
    assert isinstance(error, ProviderRejected)


def test_a_filter_that_left_nothing_is_for_the_caller_to_see(run, upstream):
    events = run(converse("openrouter", upstream.url, talk(), switch("filtered")))
    assert whole("chat", events)["choices"][0]["finish_reason"] == "content_filter"


def test_what_is_too_large_is_said_of_the_messages(run, upstream):
    question = call("openrouter", "fake/overflow", text_loc=("body", "messages"))
    _, error = run(fail("openrouter", upstream.url, talk(), question))
    assert error.problems[0].loc == ("body", "messages")


@pytest.mark.parametrize("kind", ADAPTERS)
def test_closing_the_answer_hangs_up_on_the_upstream(run, upstream, kind):
    async def leave():
        async with opened(kind, upstream.url) as provider:
            async with aclosing(provider.converse(switch("slow", kind), talk())) as events:
                async for event in events:
                    if isinstance(event, Chunk):
                        break
            await hung_up(upstream)

    run(leave())
