"""Text, vision, audio and OpenAI's API through the whole program, in front of the fake provider."""

import asyncio
import base64
import hashlib
import importlib.util
import json
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.fakes import clips
from tests.fakes import upstream as fake
from tests.fakes.asgi import Browser

from telecine import app, settings

DATA = Path(__file__).parents[1] / "data"
KEY = "00000000-0000-4000-8000-000000000001:0123456789abcdef0123456789abcdef"
TEXT, VISION, AUDIO, VIDEO = (
    f"/openrouter/router{tail}" for tail in ("", "/vision", "/audio", "/video")
)
BASE = "/openrouter/router/openai/v1"
CHAT, RESPONSES, EMBEDDINGS = (
    f"{BASE}/{p}" for p in ("chat/completions", "responses", "embeddings")
)
GEMINI = "google/gemini-2.5-flash"
DEAF = "qwen/qwen3.5-27b"  # sees, and does not hear
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def upstream():
    with fake.serve() as served:
        yield served


@asynccontextmanager
async def opened(folder, upstream):
    (folder / "data").mkdir()
    (folder / "telecine.toml").write_text(
        "[server]\nstop_seconds = 1\n[providers.echo]\n"
        f'[providers.openrouter]\nbase_url = "{upstream.url}/openrouter"\n'
        f'[providers.vllm]\ntype = "openai"\nbase_url = "{upstream.url}/vllm"\n'
        'dialect = "vllm"\napi_key_env = "VLLM_KEY"\n'
        f'[providers.sglang]\ntype = "openai"\nbase_url = "{upstream.url}/sglang"\n'
        'dialect = "sglang"\napi_key_env = "VLLM_KEY"\n'
    )
    environ = {
        "TELECINE_DATA_DIR": str(folder / "data"),
        "TELECINE_BOOTSTRAP_KEY": KEY,
        "OPENROUTER_API_KEY": fake.KEY,
        "VLLM_KEY": fake.KEY,
    }
    async with app.opened(settings.load(folder=folder, environ=environ)) as opened:
        yield Browser(opened.asgi, key=KEY)
        assert not list((folder / "data/spool").rglob("*/*")), "a temporary file is left"


@pytest.fixture
def serve(run, tmp_path, upstream):
    """Run a test's coroutine function with a browser."""

    def serve(test):
        async def main():
            async with opened(tmp_path, upstream) as call:
                return await test(call)

        return run(main())

    return serve


def post(path, document, **more):
    return lambda call: call("POST", path, document, **more)


def uri(path, mime):
    return f"data:{mime};base64,{base64.b64encode(path.read_bytes()).decode()}"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def files(tmp_path):
    return SimpleNamespace(
        image=clips.still(tmp_path / "image", "png", width=300, height=200),
        large=clips.still(tmp_path / "large", "jpeg", width=2000, height=1500),
        tone=clips.tone(tmp_path / "tone", "mp3"),
        opus=clips.tone(tmp_path / "opus", "opus"),
        long=clips.tone(tmp_path / "long", "wav", seconds=20),
    )


async def until(fetch):
    """What `fetch` gives in the end: rows and jobs come a moment later, and nobody rings."""
    while (found := await fetch()) is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return found


async def receipt(call, request_id):
    """The story of a request that has ended."""

    async def fetch():
        story = (await call("GET", f"/telecine/v1/requests/{request_id}")).json
        return story if story.get("receipt") else None

    return await until(fetch)


async def queued(call, path, body):
    """The answer to a request, through the queue."""
    job = (await call("POST", f"/queue{path}", body)).json
    at = f"/queue{TEXT}/requests/{job['request_id']}"
    assert job["response_url"].endswith(at)

    async def fetch():
        is_done = (await call("GET", f"{at}/status")).status == 200
        return await call("GET", at) if is_done else None

    return await until(fetch)


# ---------------------------------------------------------------- the router's family


def test_a_text_is_answered_with_what_fal_types(serve):
    answer = serve(post(TEXT, {"model": "echo/echo", "prompt": "Hello"}))
    assert answer.json["usage"]["total_tokens"] == 2
    assert {name: answer.json[name] for name in ("output", "reasoning", "partial", "error")} == {
        "output": "Hello",
        "reasoning": None,
        "partial": False,
        "error": None,
    }


def test_a_text_streams(serve):
    events = serve(post(f"{TEXT}/stream", {"model": "echo/count-3", "prompt": "x"})).events
    assert events[-1]["output"] == "1 2 3"
    assert events[-1]["partial"] is False
    assert events[-1]["error"] is None


@pytest.mark.parametrize("tail", ["", "/enterprise"])
def test_images_of_a_body_reach_the_model_in_order(serve, upstream, files, tail):
    body = {
        "model": GEMINI,
        "prompt": "What is it?",
        "image_urls": [uri(files.image, "image/png"), uri(files.large, "image/lie")],
    }
    answer = serve(post(VISION + tail, body))
    assert answer.status == 200
    assert [(s.kind, s.mime, s.sha256) for s in upstream.last.media] == [
        ("image", "image/png", sha256(files.image)),
        ("image", "image/jpeg", sha256(files.large)),
    ]
    assert list(answer.json) == ["output", "usage"]


def test_a_sound_reaches_the_model_in_a_format_that_it_takes(serve, upstream, files):
    async def both(call):
        formats = []
        for path in (files.tone, files.opus):
            body = {"model": GEMINI, "prompt": "?", "audio_url": uri(path, "audio/any")}
            answer = await call("POST", AUDIO, {**body, "receipt": True})
            formats.append((upstream.last.media[0].mime, answer.json["receipt"]["audio"]))
        return formats

    (mp3, [first]), (wav, [second]) = serve(both)
    assert (mp3, wav) == ("audio/mp3", "audio/wav")
    assert second["sent"]["bytes"] == upstream.last.media[0].bytes
    assert (first["format"], first["sent"]["mime"]) == ("mp3", "audio/mpeg")
    assert (second["format"], second["sent"]["mime"]) == ("opus", "audio/wav")
    assert second["sha256"] == sha256(files.opus)


def test_echo_says_what_it_was_given_and_the_receipt_lists_it(serve, files, tmp_path):
    (tmp_path / "p").write_bytes(b"%PDF-1.7 and so on")
    body = {
        "model": "echo/echo",
        "prompt": "Look",
        "image_urls": [uri(files.image, "image/png")],
        "pdf_urls": [uri(tmp_path / "p", "application/pdf")],
        "receipt": True,
    }
    answer = serve(post(VISION, body)).json
    assert answer["output"].splitlines() == [
        "Look",
        f"image 1: sha256={sha256(files.image)} bytes={files.image.stat().st_size}"
        " width=300 height=200",
        f"document 1: sha256={sha256(tmp_path / 'p')} bytes=18",
    ]
    [image], [paper] = answer["receipt"]["images"], answer["receipt"]["documents"]
    assert (image["format"], image["width"], image["seen"]) == ("png", 300, "yes")
    assert paper["sent"] == {"as": "file", "bytes": 18, "mime": "application/pdf"}
    assert answer["receipt"]["videos"] == answer["receipt"]["audio"] == []


def test_a_queued_vision_request_keeps_its_images(serve, files):
    body = {"model": "echo/echo", "prompt": "x", "image_urls": [uri(files.large, "image/jpeg")]}
    answer = serve(lambda call: queued(call, VISION, body))
    assert f"image 1: sha256={sha256(files.large)}" in answer.json["output"]


@pytest.mark.skipif(
    importlib.util.find_spec("faster_whisper") is None, reason="the extra `local` is not installed"
)
def test_the_embedded_models_read_images_and_hear_sounds(serve, tmp_path):
    slide = clips.first_picture(tmp_path / "slide", DATA / "jfk_slides.mp4")
    speech = DATA / "audio_only_jfk.mp4"

    async def both(call):
        image = {"prompt": "Read it", "image_urls": [uri(slide, "image/png")]}
        seen = await call("POST", VISION, {"model": "local/read", **image})
        parts = [{"type": "input_audio", "input_audio": {"data": b64(speech), "format": "m4a"}}]
        chat = {"model": "local/transcribe", "messages": user({"type": "text", "text": ""}, *parts)}
        heard = await call("POST", CHAT, chat)
        return seen.json["output"], heard.json["choices"][0]["message"]["content"]

    seen, heard = serve(both)
    assert "JOHN F. KENNEDY" in seen
    assert "ask what you can do for your country" in heard


# ---------------------------------------------------------------- refused before anything is fetched


UNREACHABLE = "http://192.0.2.1/never-fetched"


@pytest.mark.parametrize(
    ("path", "fields", "loc", "says"),
    [
        (VIDEO, {"video_urls": [UNREACHABLE]}, ["body", "video_urls", 0], "takes no videos"),
        (VISION, {"image_urls": [UNREACHABLE]}, ["body", "image_urls", 0], "takes no images"),
        (AUDIO, {"audio_url": UNREACHABLE}, ["body", "audio_url"], "takes no sound files"),
    ],
)
def test_a_model_that_takes_no_such_thing_refuses_it_unfetched(serve, path, fields, loc, says):
    answer = serve(post(path, {"model": "text/only", "prompt": "x", **fields}))
    assert answer.status == 422
    [entry] = answer.json["detail"]
    assert (entry["loc"], entry["type"]) == (loc, "feature_not_supported")
    assert entry["msg"].startswith(f"text/only {says}")


def test_a_route_without_documents_says_so(serve):
    body = {"model": "vllm/Qwen/Qwen3-VL-8B", "prompt": "x", "image_urls": []}
    answer = serve(post(VISION, {**body, "pdf_urls": [UNREACHABLE]}))
    [entry] = answer.json["detail"]
    assert (entry["loc"], entry["type"]) == (["body", "pdf_urls", 0], "feature_not_supported")


@pytest.mark.parametrize(
    ("path", "field", "name", "type_"),
    [
        (VISION, "image_urls", "jfk_slides.mp4", "unsupported_image_format"),
        (AUDIO, "audio_url", "jfk_slides.mp4", "unsupported_audio_format"),
        (AUDIO, "audio_url", "html_error_page.mp4", "unsupported_audio_format"),
    ],
)
def test_what_is_no_image_or_sound_is_refused_at_its_place(serve, path, field, name, type_):
    given = uri(DATA / name, "image/png")
    value = given if field == "audio_url" else [given]
    answer = serve(post(path, {"model": "echo/echo", "prompt": "x", field: value}))
    [entry] = answer.json["detail"]
    assert (answer.status, entry["type"]) == (422, type_)
    assert entry["loc"][:2] == ["body", field]
    assert "supported_formats" in entry["ctx"]


# ---------------------------------------------------------------- web search


def test_a_search_reaches_openrouter(serve, upstream):
    body = {"model": GEMINI, "prompt": "x", "enable_web_search": True}
    serve(post(TEXT, {**body, "web_search_options": {"max_results": 2}}))
    assert upstream.last.document["plugins"] == [{"id": "web", "max_results": 2}]


def test_a_search_that_can_not_be_made_is_a_warning_or_a_refusal(serve):
    body = {"model": "echo/echo", "prompt": "x", "enable_web_search": True, "receipt": True}

    async def both(call):
        lax, strict = (
            await call("POST", TEXT, body),
            await call("POST", TEXT, {**body, "strict": True}),
        )
        story = await receipt(call, lax.headers["x-fal-request-id"])
        return lax.json["receipt"]["warnings"], [line["message"] for line in story["logs"]], strict

    warnings, logs, strict = serve(both)
    assert warnings == ["echo/echo cannot search the web here: enable_web_search is ignored"]
    assert warnings[0] in logs
    assert strict.status == 422
    assert strict.json["detail"][0]["loc"] == ["body", "enable_web_search"]


# ---------------------------------------------------------------- OpenAI's API


def user(*content):
    return [{"role": "user", "content": list(content) if len(content) > 1 else content[0]}]


def frames(answer):
    """The events of a stream of OpenAI's: (name, data), data parsed unless it is [DONE]."""
    found = []
    for frame in answer.body.decode("ascii").split("\n\n")[:-1]:
        lines = dict(line.split(": ", 1) for line in frame.split("\n") if not line.startswith(":"))
        if "data" in lines:
            data = lines["data"]
            found.append((lines.get("event"), data if data == "[DONE]" else json.loads(data)))
    return found


@pytest.mark.parametrize("model", ["echo/echo", GEMINI, "vllm/Qwen/Qwen3-VL-8B"])
def test_a_chat_is_a_completion(serve, model):
    answer = serve(post(CHAT, {"model": model, "messages": user("Hello")}))
    assert answer.status == 200
    assert answer.json["object"] == "chat.completion"
    [choice] = answer.json["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    assert answer.json["usage"]["total_tokens"] > 0
    assert answer.headers["x-request-id"] == answer.headers["x-fal-request-id"]


@pytest.mark.parametrize("model", ["echo/count-3", GEMINI, "vllm/Qwen/Qwen3-VL-8B"])
@pytest.mark.parametrize("wanted", [True, False])
def test_a_streamed_chat_is_chunks_with_usage_for_who_asked(serve, model, wanted):
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    body = {"model": model, "messages": user("Hello"), "stream": True, **options}
    *chunks, last = [data for _, data in frames(serve(post(CHAT, body)))]
    assert last == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    without_choice = [chunk for chunk in chunks if not chunk["choices"]]
    assert [bool(chunk["usage"]) for chunk in without_choice] == ([True] if wanted else [])
    assert any(chunk["choices"][0].get("finish_reason") for chunk in chunks if chunk["choices"])


def test_usage_keeps_its_cost(serve):
    async def both(call):
        body = {"model": GEMINI, "messages": user("Hello")}
        whole = (await call("POST", CHAT, body)).json
        options = {"stream": True, "stream_options": {"include_usage": True}}
        streamed = frames(await call("POST", CHAT, {**body, **options}))
        return whole["usage"]["cost"], streamed[-2][1]["usage"]["cost"]

    whole, streamed = serve(both)
    assert whole == streamed > 0


def test_tools_go_and_their_calls_come_back_verbatim(serve, upstream):
    async def both(call):
        body = {"model": GEMINI, "messages": user("Weather?"), "tools": [TOOL], "seed": 3}
        whole = (await call("POST", CHAT, body)).json["choices"][0]
        assert upstream.last.document["tools"] == [TOOL]
        assert upstream.last.document["seed"] == 3
        return whole, frames(await call("POST", CHAT, {**body, "stream": True}))

    whole, streamed = serve(both)
    assert whole["finish_reason"] == "tool_calls"
    assert whole["message"]["tool_calls"][0]["function"] == {
        "name": "weather",
        "arguments": '{"city": "Köln"}',
    }
    deltas = [d["choices"][0]["delta"] for _, d in streamed[:-1] if d["choices"]]
    pieces = [delta["tool_calls"][0]["function"] for delta in deltas if "tool_calls" in delta]
    assert "".join(piece.get("arguments", "") for piece in pieces) == '{"city": "Köln"}'


def test_media_of_a_chat_go_the_way_of_all_media(serve, upstream, files):
    content = [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": uri(files.large, "image/x"), "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": b64(files.tone), "format": "wav"}},
        {"type": "video_url", "video_url": {"url": uri(DATA / "jfk_slides.mp4", "video/mp4")}},
        {"type": "input_audio", "input_audio": {"data": b64(files.long), "format": "mp3"}},
    ]

    async def all_of_them(call):
        answers = []
        for model in ("echo/echo", GEMINI, "vllm/Qwen/Qwen3-VL-8B"):
            answer = await call("POST", CHAT, {"model": model, "messages": user(*content)})
            answers.append(answer.json["choices"][0]["message"]["content"])
        return answers, await receipt(call, answer.headers["x-request-id"])

    given = [files.large, files.tone, DATA / "jfk_slides.mp4", files.long]
    answers, story = serve(all_of_them)
    for answer in answers:
        assert all(sha256(path) in answer for path in given)
    sent = upstream.last.document["messages"][0]["content"]
    assert [part["type"] for part in sent] == [part["type"] for part in content]
    assert sent[1]["image_url"]["detail"] == "low"
    assert [sent[2]["input_audio"]["format"], sent[4]["input_audio"]["format"]] == ["mp3", "wav"]
    listed = story["receipt"]
    assert [len(listed[name]) for name in ("videos", "images", "audio", "documents")] == [
        1,
        1,
        2,
        0,
    ]
    assert listed["audio"][1]["origin"] == "base64 data"


def b64(path):
    return base64.b64encode(path.read_bytes()).decode()


def test_other_long_data_goes_on_from_its_file(serve, upstream):
    paper = b"%PDF-1.7 " * 20_000
    data = f"data:application/pdf;base64,{base64.b64encode(paper).decode()}"
    part = {"type": "file", "file": {"filename": "a.pdf", "file_data": data}}
    answer = serve(
        post(CHAT, {"model": GEMINI, "messages": user({"type": "text", "text": "?"}, part)})
    )
    assert answer.status == 200
    [sent] = upstream.last.media
    assert (sent.kind, sent.sha256) == ("file", hashlib.sha256(paper).hexdigest())


def test_what_a_plain_model_has_no_use_for_is_told(serve):
    async def told(call):
        body = {"model": "echo/echo", "messages": user("x"), "tools": [TOOL], "seed": 1, "n": 2}
        answer = await call("POST", CHAT, body)
        return answer, await receipt(call, answer.headers["x-request-id"])

    answer, story = serve(told)
    assert answer.status == 200
    assert story["receipt"]["warnings"] == [
        "echo/echo has no use for tools, n: ignored",
        "echo/echo does not take seed here: it is ignored",
    ]
    assert [line["level"] for line in story["logs"]] == ["WARN", "WARN"]


@pytest.mark.parametrize("model", ["echo/echo", GEMINI])
def test_a_response_answers_at_once_and_in_events(serve, model):
    async def both(call):
        body = {"model": model, "input": "Hello", "instructions": "Be brief."}
        whole = (await call("POST", RESPONSES, body)).json
        return whole, frames(await call("POST", RESPONSES, {**body, "stream": True}))

    whole, streamed = serve(both)
    assert (whole["object"], whole["status"]) == ("response", "completed")
    text = whole["output"][0]["content"][0]["text"]
    names = [name for name, _ in streamed]
    assert names[0] == "response.created"
    assert names[-1] == "response.completed"
    assert all(data["type"] == name for name, data in streamed)
    deltas = [d["delta"] for name, d in streamed if name == "response.output_text.delta"]
    assert "".join(deltas) == text
    assert streamed[-1][1]["response"]["usage"]["total_tokens"] == whole["usage"]["total_tokens"]


def test_images_of_a_response_reach_the_model(serve, upstream, files):
    content = [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": uri(files.large, "image/x")},
    ]
    body = {"input": [{"role": "user", "content": content}]}

    async def both(call):
        echoed = (await call("POST", RESPONSES, {"model": "echo/echo", **body})).json
        await call("POST", RESPONSES, {"model": GEMINI, **body})
        return echoed["output"][0]["content"][0]["text"]

    assert f"image 1: sha256={sha256(files.large)}" in serve(both)
    assert [sent.sha256 for sent in upstream.last.media] == [sha256(files.large)]
    assert upstream.last.api == "responses"


def test_embeddings_are_passed_to_a_provider_that_has_them(serve):
    async def both(call):
        body = {"model": "openai/text-embedding-3-small", "input": ["a", "b"]}
        answer = await call("POST", EMBEDDINGS, body)
        return answer, await receipt(call, answer.headers["x-request-id"])

    answer, story = serve(both)
    assert [entry["embedding"][1:] for entry in answer.json["data"]] == [[-0.25, 1e-07]] * 2
    assert answer.headers["x-telecine-cost-source"] == "billed"
    assert story["usage"][0]["prompt_tokens"] == 2


@pytest.mark.parametrize("model", ["echo/echo", "sglang/Qwen/Qwen3-VL-8B"])
def test_embeddings_of_a_provider_without_them_are_refused(serve, model):
    answer = serve(post(EMBEDDINGS, {"model": model, "input": "a"}))
    assert answer.status == 422
    assert answer.json["error"]["param"] == "model"


def test_models_are_listed_and_found_by_any_name_that_is_answered_to(serve):
    async def asked(call):
        listed = await call("GET", f"{BASE}/models")
        found = [
            await call("GET", f"{BASE}/models/{name}")
            for name in ("echo/echo", "google%2Fgemini-2.5-flash", "no%2Fsuch%2f..%2fmodel", "nope")
        ]
        return listed, found

    listed, (plain, encoded, dotted, unknown) = serve(asked)
    ids = [model["id"] for model in listed.json["data"]]
    assert {"echo/echo", f"openrouter/{GEMINI}", "vllm/Qwen/Qwen3-VL-8B"} <= set(ids)
    assert (plain.json["id"], plain.json["owned_by"]) == ("echo/echo", "echo")
    assert (encoded.json["id"], encoded.json["owned_by"]) == (GEMINI, "openrouter")
    assert dotted.status == 404
    assert unknown.status == 200, "OpenRouter may know it"


def test_a_queued_chat_keeps_its_images_and_other_data(serve, upstream, files):
    paper = b"%PDF-1.7 " * 20_000
    data = f"data:application/pdf;base64,{base64.b64encode(paper).decode()}"
    content = [
        {"type": "image_url", "image_url": {"url": uri(files.large, "image/x")}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": data}},
    ]
    body = {"model": GEMINI, "messages": user(*content)}
    answer = serve(lambda call: queued(call, CHAT, body))
    assert answer.status == 200
    assert [(s.kind, s.sha256) for s in upstream.last.media] == [
        ("image", sha256(files.large)),
        ("file", hashlib.sha256(paper).hexdigest()),
    ]


def test_the_queue_takes_all_three(serve):
    async def all_of_them(call):
        bodies = (
            (CHAT, {"model": GEMINI, "messages": user("Hi"), "stream": True}),
            (RESPONSES, {"model": "echo/echo", "input": "Hi", "stream": True}),
            (EMBEDDINGS, {"model": "some/embedder", "input": "Hi"}),
            (CHAT, {"model": "echo/echo", "messages": []}),
            (CHAT, {"model": "echo/fail-500", "messages": user("Hi")}),
        )
        return [await queued(call, path, body) for path, body in bodies]

    chat, response, embeddings, empty, failed = serve(all_of_them)
    assert chat.json["object"] == "chat.completion"
    assert response.json["output"][0]["content"][0]["text"] == "Hi"
    assert embeddings.json["data"][0]["embedding"][1] == -0.25
    assert empty.json["object"] == "chat.completion"
    assert failed.status == 500
    assert failed.json["error"]["type"] == "api_error"
    assert failed.json["detail"]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (CHAT, {"model": "echo/echo"}, (422, "invalid_request_error", "messages")),
        (
            CHAT,
            {"model": "echo/nope", "messages": user("x")},
            (422, "invalid_request_error", "model"),
        ),
        (CHAT, {"model": "echo/fail-429", "messages": user("x")}, (503, "api_error", None)),
        (
            CHAT,
            {"model": "echo/fail-403", "messages": user("x")},
            (422, "invalid_request_error", "messages"),
        ),
        (RESPONSES, {"model": "echo/fail-500", "input": "x"}, (500, "api_error", None)),
        (f"{BASE}/nope", {}, (404, "not_found_error", None)),
    ],
)
def test_failures_are_told_in_both_shapes(serve, path, body, told):
    answer = serve(post(path, body))
    error = answer.json["error"]
    assert (answer.status, error["type"], error["param"]) == told
    assert error["message"]
    assert answer.json["detail"]
    assert answer.headers["x-should-retry"] == ("true" if told[0] == 503 else "false")


def test_failures_of_keys_methods_and_bodies_are_told_in_both_shapes(serve):
    async def wrong(call):
        return [
            await call("GET", f"{BASE}/models", headers={"authorization": "Bearer nonsense"}),
            await call("GET", CHAT),
            await call("POST", CHAT, body=b"{"),
            await call("POST", CHAT, body=b""),
        ]

    answers = serve(wrong)
    assert [answer.status for answer in answers] == [401, 405, 422, 422]
    assert answers[0].json["error"]["type"] == "authentication_error"
    assert all(answer.json["error"]["message"] and answer.json["detail"] for answer in answers)


@pytest.mark.parametrize("scheme", ["Key", "Bearer"])
def test_a_key_may_come_as_fals_or_as_openais_clients_send_it(serve, scheme):
    answer = serve(
        lambda call: call("GET", f"{BASE}/models", headers={"authorization": f"{scheme} {KEY}"})
    )
    assert answer.status == 200


def test_a_failure_in_the_middle_ends_the_stream_with_an_error(serve):
    async def both(call):
        chat = {"model": "echo/fail-after-2-500", "messages": user("x"), "stream": True}
        response = {"model": "echo/fail-after-2-500", "input": "x", "stream": True}
        return frames(await call("POST", CHAT, chat)), frames(
            await call("POST", RESPONSES, response)
        )

    chat, response = serve(both)
    assert chat[-1][1] == "[DONE]"
    assert chat[-2][1]["error"]["type"] == "api_error"
    name, event = response[-1]
    assert (name, event["type"]) == ("error", "error")
    assert event["sequence_number"] == len(response) - 1
    assert event["error"]["message"] == event["message"]


def test_a_failure_before_the_first_word_keeps_its_own_code(serve):
    body = {"model": "echo/fail-403", "messages": user("x"), "stream": True}
    answer = serve(post(CHAT, body))
    assert answer.status == 422
    assert answer.json["error"]["code"] == "content_policy_violation"


def test_hanging_up_on_a_stream_stops_the_upstream(serve, upstream):
    async def leave(call):
        body = {"model": "fake/slow", "messages": user("x"), "stream": True}
        asking = asyncio.create_task(call("POST", CHAT, body))

        async def is_under_way():
            return True if upstream.received and upstream.last.model == "fake/slow" else None

        await until(is_under_way)
        call.hang_up.set()
        await asking
        assert await asyncio.to_thread(upstream.last.ended.wait, 10)
        call.hang_up.clear()

        async def state():
            stories = (await call("GET", "/telecine/v1/requests")).json["requests"]
            return stories[0]["state"] if stories and stories[0]["finished_at"] else None

        return await until(state)

    assert serve(leave) == "cancelled"
    assert upstream.last.was_cut


def test_rows_and_the_ledger_know_a_chat_as_any_other_request(serve):
    async def told(call):
        body = {"model": GEMINI, "messages": user("Hi"), "stream": True}
        answer = await call("POST", CHAT, body)
        return await receipt(call, answer.headers["x-fal-request-id"])

    story = serve(told)
    assert (story["mode"], story["state"], story["model"]) == ("stream", "succeeded", GEMINI)
    assert story["usage"][0]["cost_source"] == "billed"
    assert story["receipt"]["upstream"]["id"].startswith("gen-")
    assert story["result_body"]["object"] == "chat.completion"


def test_the_page_for_language_models_shows_how_to_call_it(serve):
    async def pages(call):
        return [
            (await call("GET", f"/models{path}/llms.txt")).body.decode()
            for path in (TEXT, VISION, AUDIO, CHAT, RESPONSES, EMBEDDINGS)
        ]

    text, vision, audio, chat, response, embeddings = serve(pages)
    assert "enable_web_search" in text
    assert "image_urls" in vision
    assert "audio_url" in audio
    assert "client.chat.completions.create(" in chat
    assert "client.responses.create(" in response
    assert "client.embeddings.create(" in embeddings
