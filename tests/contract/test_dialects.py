"""How each dialect has a video written, sampled and thought about, seen by the fake upstream."""

import asyncio
from contextlib import aclosing, asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.contract.test_conversations import converse, talk
from tests.contract.test_providers import (
    ADAPTERS,
    DEAD,
    OF_MANY,
    ask,
    call,
    fail,
    only,
    opened,
    switch,
    text,
    upstream,
    video,
)

from telecine.errors import FormRefused, InputError, ProviderRejected, ProviderUnavailable
from telecine.models import (
    Delta,
    FilePart,
    FramesPart,
    LinkPart,
    Prepared,
    Still,
    Upstream,
    View,
    Words,
)
from telecine.net import Client
from telecine.providers import openrouter
from telecine.providers.openai_compatible import OpenAICompatible

__all__ = ["upstream"]


def stills(folder, count=4, *, index=0, words=(), fps=1.0, loc=None, side=640):
    """A video of which `count` stills were taken, one per second."""
    folder.mkdir(exist_ok=True)
    made = []
    for n in range(count):
        path = folder / f"{n}.jpg"
        path.write_bytes(b"\xff\xd8still" + bytes([index, n]))
        made.append(Still(float(n), path, path.stat().st_size, side, 360))
    clip = video(folder / "clip", b"clip%d" % index, index, seconds=float(count), fps=25.0)
    if loc is not None:
        clip = video(folder / "clip", b"clip%d" % index, index, loc=loc)
    return FramesPart(clip, tuple(made), tuple(words), fps)


def link(folder, url="https://example.org/a.mp4", view=None):
    return LinkPart(url, ("body", "video_urls", 0), view or View(), video(folder / "l", b"linked"))


def content(upstream):
    return upstream.last.document["messages"][-1]["content"]


def shape(parts):
    """The parts with pictures as one word each."""
    return [part["text"] if part["type"] == "text" else part["type"] for part in parts]


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("kind", [kind for kind in ADAPTERS if kind != "dashscope"])
def test_stills_go_out_after_their_times_and_words_after_their_stills(
    run, upstream, kind, tmp_path
):
    words = (Words(0.2, 1.5, "Good evening."), Words(2.5, 9.0, "And good night."))
    part = stills(tmp_path / "f", 3, words=words)
    run(ask(kind, upstream.url, call(kind, parts=(part,))))
    assert shape(content(upstream)) == [
        "What is in it?",
        "Video, as stills, each after its time, and what is said:\n[00:00]",
        "image_url",
        "[00:01]",
        "image_url",
        "Said 00:00-00:01: Good evening.\n[00:02]",
        "image_url",
        "Said 00:02-00:09: And good night.",
    ]
    assert [sent.bytes for sent in upstream.last.of("image")] == [9, 9, 9]
    assert {sent.mime for sent in upstream.last.of("image")} == {"image/jpeg"}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_several_videos_as_stills_are_told_apart(run, upstream, kind, tmp_path):
    parts = (stills(tmp_path / "a", 2), stills(tmp_path / "b", 2, index=1))
    run(ask(kind, upstream.url, call(kind, parts=parts)))
    told = [line for line in shape(content(upstream)) if line.startswith("Video")]
    assert [line.partition(",")[0] for line in told] == ["Video 1", "Video 2"]


@pytest.mark.parametrize(("side", "detail"), [(512, "low"), (768, "high")])
def test_small_stills_ask_for_a_cheap_look(run, upstream, side, detail, tmp_path):
    part = stills(tmp_path / "f", 2, side=side)
    run(ask("openrouter", upstream.url, call("openrouter", parts=(part,))))
    assert {p["image_url"]["detail"] for p in content(upstream) if "image_url" in p} == {detail}


@pytest.mark.parametrize("kind", ["openrouter", "vllm", "ollama"])
def test_stills_take_the_place_of_the_video_in_a_conversation(run, upstream, kind, tmp_path):
    loc = ("body", "messages", 0, "content", 1)
    before, after = {"type": "text", "text": "Before"}, {"type": "text", "text": "After"}
    part = {"type": "video_url", "video_url": {"url": "data:,x"}}
    body = talk(messages=[{"role": "user", "content": [before, part, after]}])
    question = call(kind, parts=(stills(tmp_path / "f", 2, loc=loc),))
    run(converse(kind, upstream.url, body, question))
    first, *middle, last = shape(content(upstream))
    assert (first, last) == ("Before", "After")
    assert middle.count("image_url") == 2


def test_two_videos_in_a_conversation_both_keep_their_place(run, upstream, tmp_path):
    locs = [("body", "messages", 0, "content", place) for place in (0, 2)]
    part = {"type": "video_url", "video_url": {"url": "data:,x"}}
    between = {"type": "text", "text": "against"}
    body = talk(messages=[{"role": "user", "content": [part, between, part]}])
    parts = (
        stills(tmp_path / "a", 2, loc=locs[0]),
        FilePart(video(tmp_path / "v", b"clip", 1, loc=locs[1])),
    )
    run(converse("openrouter", upstream.url, body, call("openrouter", parts=parts)))
    told = shape(content(upstream))
    assert told.index("against") == len(told) - 2
    assert told[-1] == "video_url"


def test_stills_in_a_response_are_parts_of_its_input(run, upstream, tmp_path):
    loc = ("body", "input", 0, "content", 0)
    given = {"type": "input_video", "video_url": "data:,x"}
    body = talk("responses", input=[{"role": "user", "content": [given]}])
    run(converse("openrouter", upstream.url, body, call(parts=(stills(tmp_path / "f", loc=loc),))))
    sent = upstream.last.document["input"][0]["content"]
    assert {part["type"] for part in sent} == {"input_text", "input_image"}
    assert len(upstream.last.of("image")) == 4


# ---------------------------------------------------------------- vLLM and SGLang


def test_vllm_is_told_how_to_sample(run, upstream, tmp_path):
    view = View(fps=2.0, max_frames=64, resolution="low")
    clip = FilePart(video(tmp_path / "c", b"clip"), view)
    run(ask("vllm", upstream.url, call("vllm", parts=(clip,))))
    sent = upstream.last.document
    assert sent["media_io_kwargs"] == {"video": {"fps": 2.0, "num_frames": 64}}
    assert sent["mm_processor_kwargs"] == {"fps": 2.0, "max_pixels": 128 * 28 * 28}
    assert set(content(upstream)[1]["video_url"]) == {"url"}


def test_vllm_is_told_nothing_that_nobody_asked_for(run, upstream, tmp_path):
    clip = video(tmp_path / "c", b"clip")
    run(ask("vllm", upstream.url, call("vllm", None, clip)))
    assert not {"media_io_kwargs", "mm_processor_kwargs"} & set(upstream.last.document)


@pytest.mark.parametrize(("audio", "hears"), [(None, True), (True, True), (False, False)])
def test_only_models_of_all_senses_are_sent_the_sound(run, upstream, audio, hears, tmp_path):
    clip = FilePart(video(tmp_path / "c", b"clip"), View(audio=audio))
    run(ask("vllm", upstream.url, call("vllm", "Qwen3-Omni-30B", parts=(clip,))))
    kwargs = upstream.last.document.get("mm_processor_kwargs", {})
    assert kwargs.get("use_audio_in_video", False) is hears
    run(ask("sglang", upstream.url, call("sglang", "Qwen3-Omni-30B", parts=(clip,))))
    assert upstream.last.document.get("use_audio_in_video", False) is hears
    run(ask("vllm", upstream.url, call("vllm", "Qwen3-VL-8B", parts=(clip,))))
    assert "mm_processor_kwargs" not in upstream.last.document


def test_vllm_gets_stills_with_their_true_times_where_its_model_takes_videos(
    run, upstream, tmp_path
):
    part = stills(tmp_path / "f", 5, words=(Words(0, 1, "Hello."),))
    events = run(ask("vllm", upstream.url, call("vllm", parts=(part,)), video="native"))
    assert text(events) == upstream.last.said
    [sent] = upstream.last.videos
    assert (sent.mime, sent.pieces) == ("video/jpeg", 5)
    assert upstream.last.document["media_io_kwargs"] == {
        "video": {
            "num_frames": -1,
            "fps": 25.0,
            "frames_indices": [0, 25, 50, 75, 100],
            "total_num_frames": 125,
            "duration": 5.0,
        }
    }
    assert shape(content(upstream))[-1] == "Said 00:00-00:01: Hello."


def test_stills_of_two_videos_cannot_have_their_times_told_and_go_as_pictures(
    run, upstream, tmp_path
):
    parts = (stills(tmp_path / "a", 5), stills(tmp_path / "b", 5, index=1))
    run(ask("vllm", upstream.url, call("vllm", parts=parts), video="native"))
    assert (len(upstream.last.videos), len(upstream.last.of("image"))) == (0, 10)


def test_sglang_is_told_how_to_sample_beside_the_address(run, upstream, tmp_path):
    view = View(fps=2.0, max_frames=64, resolution="high")
    clip = FilePart(video(tmp_path / "c", b"clip"), view)
    run(ask("sglang", upstream.url, call("sglang", parts=(clip,))))
    told = dict(content(upstream)[1]["video_url"])
    del told["url"]
    assert told == {"fps": 2.0, "max_frames": 64, "max_tokens_per_frame": 768}


@pytest.mark.parametrize("url", ["/etc/passwd", "file:///etc/passwd", "ftp://a/b", "etc/passwd"])
@pytest.mark.parametrize("kind", ["sglang", "vllm", "llamacpp", "dashscope"])
def test_nothing_but_an_address_on_the_web_is_ever_passed_on(run, upstream, kind, url, tmp_path):
    before = len(upstream.received)
    _, error = run(fail(kind, upstream.url, call(kind, parts=(link(tmp_path, url),))))
    assert isinstance(error, InputError)
    assert len(upstream.received) == before


def test_servers_of_the_operators_are_given_files_not_addresses(run):
    async def use():
        forms = []
        for kind in ("vllm", "sglang", "llamacpp", "generic"):
            async with opened(kind, DEAD) as provider:
                forms.append((await provider.capabilities("m")).delivery)
        return forms

    assert run(use()) == [("file", "frames")] * 4


# ---------------------------------------------------------------- the vendors


@pytest.mark.parametrize("kind", ["dashscope", "zai", "ark"])
def test_vendors_fetch_addresses_themselves(run, upstream, kind, tmp_path):
    part = link(tmp_path)
    run(ask(kind, upstream.url, call(kind, parts=(part,))))
    assert upstream.last.links == ["https://example.org/a.mp4"]
    assert content(upstream)[1]["type"] == "video_url"


def test_dashscope_has_the_rate_beside_the_video(run, upstream, tmp_path):
    part = link(tmp_path, view=View(fps=0.5, resolution="medium"))
    run(ask("dashscope", upstream.url, call("dashscope", parts=(part,))))
    assert content(upstream)[1] == {
        "type": "video_url",
        "video_url": {"url": "https://example.org/a.mp4"},
        "fps": 0.5,
        "max_pixels": 256 * 28 * 28,
    }


def test_dashscope_takes_stills_as_one_video(run, upstream, tmp_path):
    part = stills(tmp_path / "f", 4, fps=1.0, words=(Words(0, 1, "Hello."),))
    run(ask("dashscope", upstream.url, call("dashscope", parts=(part,))))
    _, film, said = content(upstream)
    assert (film["type"], film["fps"], len(film["video"])) == ("video", 1.0, 4)
    assert said["text"] == "Said 00:00-00:01: Hello."


@pytest.mark.parametrize("how", [{"count": 3}, {"fps": None}])
def test_dashscope_gets_pictures_where_stills_make_no_video(run, upstream, how, tmp_path):
    run(ask("dashscope", upstream.url, call("dashscope", parts=(stills(tmp_path / "f", **how),))))
    assert "video" not in {part["type"] for part in content(upstream)}


def test_ark_has_the_rate_inside_the_video(run, upstream, tmp_path):
    part = link(tmp_path, view=View(fps=0.5))
    run(ask("ark", upstream.url, call("ark", parts=(part,))))
    assert content(upstream)[1]["video_url"]["fps"] == 0.5


def test_kimi_is_never_given_an_address(run, upstream, tmp_path):
    _, error = run(fail("kimi", upstream.url, call("kimi", parts=(link(tmp_path),))))
    assert isinstance(error, InputError)


def test_kimi_has_large_videos_uploaded_and_then_deleted(run, upstream, tmp_path):
    small = video(tmp_path / "s", b"small")
    large = video(tmp_path / "l", b"x" * 16_000_000, 1)
    upstream.asked.clear()
    said = text(run(ask("kimi", upstream.url, call("kimi", None, small, large))))
    assert large.sha256 in said
    assert small.sha256 in said
    urls = [part["video_url"]["url"] for part in content(upstream)[1:]]
    assert urls[0].startswith("data:video/mp4;base64,")
    assert urls[1].startswith("ms://")
    name = urls[1].removeprefix("ms://")
    assert upstream.asked == ["/kimi/files", f"/kimi/files/{name}"]


def test_kimi_has_uploads_deleted_when_the_question_fails(run, upstream, tmp_path):
    large = video(tmp_path / "l", b"x" * 16_000_000)
    upstream.asked.clear()
    run(fail("kimi", upstream.url, switch("503", "kimi", large)))
    assert len(upstream.asked) == 2


def test_kimi_has_uploads_deleted_when_the_caller_leaves(run, upstream, tmp_path):
    large = video(tmp_path / "l", b"x" * 16_000_000)
    upstream.asked.clear()

    async def leave():
        async with opened("kimi", upstream.url) as provider:
            async with aclosing(provider.generate(switch("slow", "kimi", large))) as events:
                async for event in events:
                    if isinstance(event, Delta):
                        break

    run(leave())
    assert len(upstream.asked) == 2


@asynccontextmanager
async def reader(pace):
    """A chat with a server that reads a piece every `pace` seconds, or, with None, nothing at all;
    it waits for 0.3 s when nothing moves."""
    over = asyncio.Event()

    async def take(request):
        if pace is None:
            await over.wait()
        async for _ in request.content.iter_any():
            await asyncio.sleep(pace)
        return web.json_response({"id": "f"})

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/{path:.*}", take)
    async with TestServer(app) as server, opened("kimi", str(server.make_url(""))) as provider:
        provider._chat._first_byte_seconds = 0.3
        yield provider._chat
        over.set()


def test_an_upload_may_take_its_time_as_long_as_it_moves(run, tmp_path):
    large = video(tmp_path / "l", b"x" * 16_000_000)

    async def use(pace):
        async with reader(pace) as chat:
            try:
                return await chat.post_file("/files", {}, large.path, call("kimi"))
            except ProviderUnavailable as error:
                return error.message

    assert run(use(0.004)) == {"id": "f"}
    assert run(use(None)) == "kimi did not take an upload: no answer in time"


def test_kimi_has_large_videos_of_a_conversation_uploaded_too(run, upstream, tmp_path):
    loc = ("body", "messages", 0, "content", 0)
    large = video(tmp_path / "l", b"x" * 16_000_000, loc=loc)
    part = {"type": "video_url", "video_url": {"url": "data:,x"}}
    body = talk(messages=[{"role": "user", "content": [part]}])
    run(converse("kimi", upstream.url, body, call("kimi", None, large)))
    assert content(upstream)[0]["video_url"]["url"].startswith("ms://")
    assert upstream.last.videos[0].sha256 == large.sha256


def test_kimi_with_one_fixed_temperature_has_none_sent(run):
    async def use():
        async with opened("kimi", DEAD) as provider:
            return [(await provider.capabilities(f"kimi-{n}")).options for n in ("k2.6", "k2.7")]

    older, fixed = run(use())
    assert {"temperature", "effort"} <= older
    assert not {"temperature", "effort"} & fixed


def test_how_many_videos_zai_takes_depends_on_the_model(run):
    async def use():
        async with opened("zai", DEAD) as provider:
            return [(await provider.capabilities(f"glm-{n}")).max_videos for n in ("4.6v", "4.5v")]

    assert run(use()) == [2, 1]


def test_a_schema_that_ark_refuses_is_told_at_the_field(run, upstream):
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}
    _, error = run(fail("ark", upstream.url, call("ark", response_format=schema)))
    assert type(error) is ProviderRejected
    assert error.loc == ("body", "response_format")
    assert "json_schema is not supported" in error.message


# ---------------------------------------------------------------- what servers tell


def told_by(run, kind, answers, model="m", **more):
    """What the adapter makes of a server that answers so."""
    asked = []

    async def answer(request):
        asked.append(request.path)
        return web.json_response(answers[request.path])

    async def use():
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", answer)
        async with TestServer(app) as server, Client(**OURS) as client:
            base = str(server.make_url("/v1"))
            provider = OpenAICompatible("p", client=client, base_url=base, dialect=kind, **more)
            return [await provider.capabilities(model) for _ in range(3)][-1]

    found = run(use())
    assert len(asked) == len(set(asked)), "asked more than once"
    return found


OURS = {"allow": [], "proxy": None, "connect_seconds": 10, "user_agent": "tests"}


def test_vllm_tells_how_much_its_model_takes(run):
    listed = {"data": [{"id": "m", "max_model_len": 32768}, {"id": "other"}]}
    assert told_by(run, "vllm", {"/v1/models": listed}).context_tokens == 32768
    assert told_by(run, "vllm", {"/v1/models": listed}, "unknown").context_tokens is None


@pytest.mark.parametrize(
    ("modalities", "delivery"),
    [
        ({"vision": True, "audio": False, "video": True}, ("file", "frames")),
        ({"vision": True, "audio": False}, ("frames",)),
        ({"vision": False, "audio": False}, ()),
    ],
)
def test_an_older_llama_cpp_tells_what_it_takes_in_its_properties(run, modalities, delivery):
    answers = {"/v1/models": {"data": [{"id": "m"}]}, "/props": {"modalities": modalities}}
    assert told_by(run, "llamacpp", answers, "any").delivery == delivery


@pytest.mark.parametrize(
    ("able", "delivery"),
    [(["completion", "vision"], ("frames",)), (["completion"], ()), (None, ("frames",))],
)
def test_ollama_tells_which_models_see(run, able, delivery):
    answers = {"/v1/models": {"data": [{"id": "m"}]}, "/api/show": {"capabilities": able}}
    assert told_by(run, "ollama", answers).delivery == delivery


@pytest.mark.parametrize("listed", [[], {}, {"data": 7}, {"data": [None, {"id": 3}, {}]}])
def test_a_list_that_makes_no_sense_tells_nothing(run, listed):
    found = told_by(run, "vllm", {"/v1/models": listed})
    assert found.delivery == ("file", "frames")


def test_the_operators_word_on_videos_counts_more_than_the_servers(run):
    entry = {"id": "m", "architecture": {"input_modalities": ["text", "image"]}}
    answers = {"/v1/models": {"data": [entry]}}
    assert "file" in told_by(run, "llamacpp", answers, video="native").delivery
    assert told_by(run, "vllm", answers, video="frames").delivery == ("frames",)


# ---------------------------------------------------------------- the options

SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


@pytest.mark.parametrize("kind", [kind for kind in ADAPTERS if kind != "ark"])
def test_what_sampling_is_told_goes_out_as_it_is(run, upstream, kind):
    question = call(kind, seed=7, stop=("END", "###"), response_format=SCHEMA)
    run(ask(kind, upstream.url, question))
    sent = upstream.last.document
    assert (sent["seed"], sent["stop"], sent["response_format"]) == (7, ["END", "###"], SCHEMA)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_options_that_were_not_given_are_not_sent(run, upstream, kind):
    run(ask(kind, upstream.url, call(kind)))
    sent = set(upstream.last.document) - {"model", "stream", "stream_options", "messages"}
    assert sent == ({"reasoning"} if kind == "openrouter" else set())


@pytest.mark.parametrize(
    ("kind", "none", "high"),
    [
        (
            "vllm",
            {"chat_template_kwargs": {"enable_thinking": False}},
            {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "high"},
        ),
        (
            "sglang",
            {"chat_template_kwargs": {"enable_thinking": False}},
            {"chat_template_kwargs": {"enable_thinking": True}},
        ),
        (
            "llamacpp",
            {"chat_template_kwargs": {"enable_thinking": False}},
            {"chat_template_kwargs": {"enable_thinking": True}},
        ),
        ("ollama", {"reasoning_effort": "none"}, {"reasoning_effort": "high"}),
        ("generic", {"reasoning_effort": "none"}, {"reasoning_effort": "high"}),
        (
            "dashscope",
            {"enable_thinking": False},
            {"enable_thinking": True, "thinking_budget": 32768},
        ),
        ("zai", {"thinking": {"type": "disabled"}}, {"thinking": {"type": "enabled"}}),
        ("kimi", {"thinking": {"type": "disabled"}}, {"thinking": {"type": "enabled"}}),
        ("ark", {"thinking": {"type": "disabled"}}, {"thinking": {"type": "enabled"}}),
    ],
)
def test_effort_is_said_in_the_servers_own_words(run, upstream, kind, none, high):
    for effort, expected in (("none", none), ("xhigh", high)):
        run(ask(kind, upstream.url, call(kind, effort=effort)))
        sent = upstream.last.document
        fixed = ("model", "stream", "stream_options", "messages")
        assert {name: value for name, value in sent.items() if name not in fixed} == expected


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {"exclude": True}),
        ({"reasoning": True}, {"enabled": True}),
        ({"effort": "low"}, {"effort": "low", "exclude": True}),
        ({"effort": "low", "reasoning": True}, {"effort": "low"}),
        ({"effort": "none"}, {"effort": "none", "exclude": True}),
    ],
)
def test_openrouter_is_told_how_much_to_think_and_whether_to_tell(run, upstream, given, sent):
    run(ask("openrouter", upstream.url, call("openrouter", **given)))
    assert upstream.last.document["reasoning"] == sent


# ---------------------------------------------------------------- OpenRouter's routing


@pytest.mark.parametrize("asked", [{"seed": 1}, {"stop": ("END",)}, {"response_format": SCHEMA}])
def test_no_host_may_drop_what_the_model_knows(run, upstream, asked):
    run(ask("openrouter", upstream.url, call("openrouter", **asked)))
    assert upstream.last.document["provider"] == {"require_parameters": True}


def test_the_callers_own_word_on_what_hosts_must_know_counts(run, upstream):
    routing = {"require_parameters": False, "sort": "price"}
    run(ask("openrouter", upstream.url, call("openrouter", seed=1, provider=routing)))
    assert upstream.last.document["provider"] == routing


def test_hosts_of_a_model_that_is_not_known_to_know_it_are_not_ruled_out(run, upstream):
    run(ask("openrouter", upstream.url, call("openrouter", "new/unlisted", seed=1)))
    assert "provider" not in upstream.last.document


YOUTUBE = LinkPart("https://www.youtube.com/watch?v=dQw4w9WgXcQ", ("body", "video_urls", 0))


def test_a_link_is_pinned_to_its_host_beside_the_callers_own_routing(run, upstream):
    routing = {"only": ["Google-AI-Studio", "google-vertex"], "data_collection": "deny"}
    run(ask("openrouter", upstream.url, call(parts=(YOUTUBE,), provider=routing)))
    assert upstream.last.document["provider"] == {
        "only": ["google-ai-studio"],
        "data_collection": "deny",
    }


@pytest.mark.parametrize("routing", [{"only": ["google-vertex"]}, {"ignore": ["google-ai-studio"]}])
def test_routing_that_rules_the_links_host_out_is_refused(run, upstream, routing):
    before = len(upstream.received)
    _, error = run(fail("openrouter", upstream.url, call(parts=(YOUTUBE,), provider=routing)))
    assert isinstance(error, InputError)
    assert error.problems[0].loc == ("body", "provider")
    assert len(upstream.received) == before


def test_a_link_in_a_conversation_is_pinned_as_well(run, upstream):
    loc = ("body", "messages", 0, "content", 0)
    part = {"type": "video_url", "video_url": {"url": YOUTUBE.url}}
    body = talk(messages=[{"role": "user", "content": [part]}], provider={"sort": "price"})
    question = call(parts=(LinkPart(YOUTUBE.url, loc),))
    run(converse("openrouter", upstream.url, body, question))
    assert upstream.last.document["provider"] == {"sort": "price", "only": ["google-ai-studio"]}


# ---------------------------------------------------------------- settling


def test_what_a_cut_call_came_to_is_asked_for_later(run, upstream):
    async def use():
        async with opened("openrouter", upstream.url) as provider:
            events = []
            async for event in provider.generate(switch("slow")):
                events.append(event)
                if len(events) > 2:
                    break
            return await provider.settle(only(Upstream, events)[-1].id)

    settled = run(use())
    assert (settled.cost, settled.cost_source) == (upstream.last.billed, "billed")
    assert settled.completion_tokens > 0


def test_figures_that_a_host_left_blank_are_those_that_all_hosts_have():
    told = {"native_tokens_prompt": None, "tokens_prompt": 7, "native_tokens_completion": 0}
    found = openrouter._settled({**told, "tokens_completion": 5, "total_cost": 0.5})
    assert (found.prompt_tokens, found.completion_tokens) == (7, 0)


def test_a_call_that_is_not_known_is_not_settled(run, upstream):
    async def use():
        async with opened("openrouter", upstream.url) as provider:
            return await provider.settle("gen-nobody/../key")

    assert run(use()) is None


# ---------------------------------------------------------------- what is not taken


@pytest.mark.parametrize("kind", OF_MANY)
def test_a_prepared_file_is_what_goes_out(run, upstream, kind, tmp_path):
    clip = video(tmp_path / "c", b"original")
    (tmp_path / "p").write_bytes(b"prepared")
    made = Prepared(
        path=tmp_path / "p",
        bytes=8,
        sha256="",
        mime="video/mp4",
        container="mp4",
        seconds=1.0,
        width=4,
        height=2,
        fps=1.0,
        has_audio=False,
    )
    run(ask(kind, upstream.url, call(kind, parts=(FilePart(clip, View(), made),))))
    assert [sent.bytes for sent in upstream.last.videos] == [8]
    assert upstream.last.videos[0].sha256 != clip.sha256


@pytest.mark.parametrize("name", ["at-most-one", "fetch-error", "flat-error"])
def test_a_form_that_vllm_does_not_take_may_be_tried_in_another(run, upstream, name, tmp_path):
    clips = [video(tmp_path / f"{n}", b"clip", n) for n in range(2)]
    events, error = run(fail("vllm", upstream.url, switch(name, "vllm", *clips)))
    assert type(error) is FormRefused
    assert error.loc == ("body", "video_urls", 0)
    assert error.upstream_status in (400, 422)
    assert not events


def test_one_video_too_many_for_zai_is_a_form_refused(run, upstream, tmp_path):
    clips = [video(tmp_path / f"{n}", b"clip", n) for n in range(3)]
    _, error = run(fail("zai", upstream.url, call("zai", None, *clips)))
    assert type(error) is FormRefused
    assert "no more than 2 video(s)" in error.message


def test_where_the_servers_are_is_not_told_to_callers(run):
    for kind in ADAPTERS:
        _, error = run(fail(kind, DEAD, call(kind)))
        assert "127.0.0.1" not in str(error)
        assert "cannot be reached" in str(error)
