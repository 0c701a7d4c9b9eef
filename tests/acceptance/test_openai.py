"""OpenAI's published SDKs, for Python and JavaScript, in front of the installed server.

Nothing of them is changed but what their users change: the base URL and the key.
"""

import base64
import hashlib
from pathlib import Path

import openai
import pytest
from tests.acceptance.support.server import KEY

DATA = Path(__file__).parents[1] / "data"
BASE = "/openrouter/router/openai/v1"
GEMINI = "google/gemini-2.5-flash"
EMBEDDER = "openai/text-embedding-3-small"
HELLO = [{"role": "user", "content": "Hello there"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=server.origin + BASE, api_key=KEY) as client:
        yield client


@pytest.fixture
def video():
    """A part of a message with a video in it, and what a model that echoes says of it."""
    data = (DATA / "jfk_slides.mp4").read_bytes()
    url = f"data:video/mp4;base64,{base64.b64encode(data).decode()}"
    part = {"type": "video_url", "video_url": {"url": url}}
    return part, f"sha256={hashlib.sha256(data).hexdigest()}"


def text_of(chunks):
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


# ---------------------------------------------------------------- chat completions


@pytest.mark.parametrize("model", ["echo/echo", GEMINI])
def test_python_chats(client, model):
    whole = client.chat.completions.create(model=model, messages=HELLO)
    chunks = list(
        client.chat.completions.create(
            model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    assert whole.choices[0].message.content
    assert text_of(chunk.to_dict() for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert chunks[-1].usage.cost == whole.usage.cost
    assert whole._request_id


def test_python_streams_without_a_chunk_that_has_no_choice(client):
    stream = client.chat.completions.create(model=GEMINI, messages=HELLO, stream=True)
    assert all(chunk.choices for chunk in stream)


def test_python_async_chats(server, background):
    async def ask():
        async with openai.AsyncOpenAI(base_url=server.origin + BASE, api_key=KEY) as client:
            stream = await client.chat.completions.create(
                model="echo/count-3", messages=HELLO, stream=True
            )
            return [chunk.to_dict() async for chunk in stream]

    assert text_of(background.run(ask())) == "1 2 3"


def test_a_key_may_be_a_default_header_as_fals_page_has_it(server):
    headers = {"Authorization": f"Key {KEY}"}
    with openai.OpenAI(
        base_url=server.origin + BASE, api_key="not-needed", default_headers=headers
    ) as client:
        assert client.chat.completions.create(model="echo/echo", messages=HELLO).choices


@pytest.mark.parametrize("model", ["echo/echo", GEMINI])
def test_python_sends_videos_and_sounds(client, model, video):
    part, says = video
    text = {"type": "text", "text": "What is it?"}
    messages = [{"role": "user", "content": [text, part]}]
    whole = client.chat.completions.create(model=model, messages=messages)
    assert says in whole.choices[0].message.content
    sound = base64.b64encode((DATA / "audio_only_jfk.mp4").read_bytes()).decode()
    part = {"type": "input_audio", "input_audio": {"data": sound, "format": "mp3"}}
    whole = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": [text, part]}]
    )
    digest = hashlib.sha256((DATA / "audio_only_jfk.mp4").read_bytes()).hexdigest()
    assert f"sha256={digest}" in whole.choices[0].message.content


def test_python_calls_tools_and_streams_their_arguments(client):
    asked = {"model": GEMINI, "messages": HELLO, "tools": [TOOL]}
    [call] = client.chat.completions.create(**asked).choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Köln"}')
    with client.chat.completions.stream(**asked) as stream:
        [streamed] = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed.function.arguments == call.function.arguments


def test_javascript_chats(node, video):
    part, says = video
    answer = node("openai.chat", model="echo/echo", parts=[part])
    whole = answer["whole"]["choices"][0]["message"]["content"]
    assert says in whole
    assert text_of(answer["chunks"]) == whole
    assert answer["chunks"][-1]["usage"]["total_tokens"] > 0
    assert answer["helped"]["choices"][0]["message"]["content"] == whole


def test_javascript_calls_tools(node):
    answer = node("openai.chat", model=GEMINI, more={"tools": [TOOL]})
    for completion in (answer["whole"], answer["helped"]):
        [call] = completion["choices"][0]["message"]["tool_calls"]
        assert call["function"]["arguments"] == '{"city": "Köln"}'


# ---------------------------------------------------------------- responses


@pytest.mark.parametrize("model", ["echo/echo", GEMINI])
def test_python_gets_responses(client, model):
    whole = client.responses.create(model=model, input="Hello", instructions="Be brief.")
    assert (whole.status, bool(whole.output_text)) == ("completed", True)
    assert whole.usage.total_tokens > 0
    with client.responses.stream(model=model, input="Hello") as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert {"response.created", "response.output_text.delta", "response.completed"} <= kinds


@pytest.mark.parametrize("model", ["echo/echo", GEMINI])
def test_javascript_gets_responses(node, model):
    answer = node("openai.responses", model=model)
    assert answer["text"] == answer["helped"] != ""
    assert answer["events"][0]["type"] == "response.created"
    assert answer["events"][-1]["type"] == "response.completed"


# ---------------------------------------------------------------- embeddings, models


def test_python_gets_embeddings_and_models(client):
    vectors = client.embeddings.create(model=EMBEDDER, input=["a", "bc"])
    assert [entry.embedding[1] for entry in vectors.data] == [-0.25, -0.25]
    assert vectors.usage.prompt_tokens == 2
    assert "echo/echo" in [model.id for model in client.models.list()]
    assert client.models.retrieve(GEMINI).owned_by == "openrouter"


def test_javascript_gets_embeddings_and_models(node):
    answer = node("openai.others", model=GEMINI, embedder=EMBEDDER)
    assert [vector[1] for vector in answer["vectors"]] == [-0.25, -0.25]
    assert "echo/echo" in [model["id"] for model in answer["listed"]]
    assert answer["one"]["id"] == GEMINI


# ---------------------------------------------------------------- failures


def test_python_raises_what_openais_users_expect(client, server):
    def create(model, **more):
        return client.chat.completions.create(model=model, messages=HELLO, **more)

    with pytest.raises(openai.UnprocessableEntityError) as model:
        create("echo/none")
    assert (model.value.param, model.value.type) == ("model", "invalid_request_error")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("echo/none")
    with pytest.raises(openai.APIError, match="in the middle"):
        list(create("echo/fail-after-2-500", stream=True))
    with openai.OpenAI(base_url=server.origin + BASE, api_key="no:key") as stranger:
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()


def test_javascript_throws_what_openais_users_expect(node):
    told = node("openai.failures")
    names = {what: error["name"] for what, error in told.items()}
    assert names == {
        "model": "UnprocessableEntityError",
        "body": "UnprocessableEntityError",
        "billed": "InternalServerError",
        "missing": "NotFoundError",
        "key": "AuthenticationError",
        "middle": "APIError",
    }
    assert (told["body"]["param"], told["body"]["code"]) == ("messages", "missing")
    assert all(told[what]["requestID"] for what in ("model", "body", "billed", "missing", "key"))


def test_neither_asks_again_for_what_may_have_been_billed(client, raw, node):
    before = counted(raw)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="echo/fail-500", messages=HELLO)
    node("openai.failures")
    assert counted(raw) - before == 2


def counted(raw):
    """How many requests for the model that always fails there were."""
    found = raw.get("/telecine/v1/requests", params={"limit": 200}).json()["requests"]
    return sum(request["model"] == "echo/fail-500" for request in found)
