"""What every provider must do, run on all of them: echo, and the adapters against the fake upstream."""

import asyncio
import hashlib
import tracemalloc
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from tests.fakes import upstream as fake

from telecine.errors import (
    FormRefused,
    InputError,
    ProviderError,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
    TelecineError,
    TooLarge,
)
from telecine.models import (
    Audio,
    AudioPart,
    Call,
    Delta,
    FilePart,
    Image,
    ImagePart,
    LinkPart,
    Log,
    Pdf,
    PdfPart,
    Upstream,
    Usage,
    Video,
)
from telecine.net import Client
from telecine.providers import exchange
from telecine.providers.anthropic import Anthropic
from telecine.providers.echo import Echo
from telecine.providers.gemini import Gemini
from telecine.providers.openai_compatible import OpenAICompatible
from telecine.providers.openrouter import OpenRouter

DIALECTS = [
    *("vllm", "sglang", "llamacpp", "ollama"),
    *("dashscope", "zai", "kimi", "ark", "generic"),
]
ADAPTERS = ["openrouter", *DIALECTS]
# Those that speak a language of their own.
NATIVE = ["gemini"]
# It takes pictures and documents: no sound, and videos as stills.
PICTURES = ["anthropic"]
UPSTREAMS = [*ADAPTERS, *NATIVE, *PICTURES]
EVERY = ["echo", *UPSTREAMS]
# Ollama takes pictures only; Z.AI two videos at most; DashScope no more than 10 MB in a request.
WATCHERS = [kind for kind in ADAPTERS if kind != "ollama"]
OF_MANY = [*(kind for kind in WATCHERS if kind != "zai"), *NATIVE]
MODEL = {
    "echo": "echo",
    "openrouter": "google/gemini-2.5-flash",
    "ollama": "qwen3-vl:8b",
    "dashscope": "qwen3-vl-plus",
    "zai": "glm-4.6v",
    "kimi": "kimi-k2.6",
    "ark": "seed-2.0-lite",
    "gemini": "gemini-2.5-flash",
    "anthropic": "claude-sonnet-4-5",
}
DEAD = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def upstream():
    with fake.serve() as served:
        yield served


@asynccontextmanager
async def opened(kind, base, *, key=fake.KEY, **more):
    """The provider `kind`; `base` is the fake's URL."""
    client = Client(allow=[], proxy=None, connect_seconds=10, user_agent="tests")
    async with client:
        if kind == "echo":
            provider = Echo("echo")
        elif kind == "openrouter":
            url = f"{base}/openrouter"
            provider = OpenRouter(kind, client=client, base_url=url, api_key=key, **more)
        elif kind == "gemini":
            url = f"{base}/gemini"
            provider = Gemini(kind, client=client, base_url=url, api_key=key, **more)
        elif kind == "anthropic":
            url = f"{base}/anthropic"
            provider = Anthropic(kind, client=client, base_url=url, api_key=key, **more)
        else:
            provider = OpenAICompatible(
                kind, client=client, base_url=f"{base}/{kind}", api_key=key, dialect=kind, **more
            )
        async with provider:
            yield provider


def video(path: Path, data: bytes | None = None, index=0, **more):
    if data is not None:
        path.write_bytes(data)
    data = path.read_bytes() if data is None else data
    facts = {
        "index": index,
        "found": "data",
        "origin": "data URI",
        "loc": ("body", "video_urls", index),
        "path": path,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "container": "mp4",
        "mime": "video/mp4",
        "seconds": 2.5,
    }
    return Video(**(facts | more))


def about(path: Path, data: bytes, loc, index=0):
    path.write_bytes(data)
    return {
        "index": index,
        "found": "data",
        "origin": "data URI",
        "loc": ("body", *loc),
        "path": path,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def image(path: Path, data=b"picture", index=0, loc=None, format="png"):
    given = about(path, data, loc or ("image_urls", index), index)
    return ImagePart(Image(**given, mime=f"image/{format}", format=format, width=4, height=3))


def sound(path: Path, data=b"sound", loc=("audio_url",), format="mp3", **more):
    given = about(path, data, loc)
    facts = {"mime": "audio/mpeg", "format": format, "seconds": 2.0, "codec": "mp3"}
    return AudioPart(Audio(**given, **(facts | more)))


def paper(path: Path, data=b"%PDF-1.7", loc=("pdf_urls", 0)):
    return PdfPart(Pdf(**about(path, data, loc), mime="application/pdf"))


def big_video(path: Path):
    """64 MiB of zeros that take no room on the disk."""
    with path.open("wb") as file:
        file.truncate(64 << 20)
    return replace(video(path.with_suffix(".empty"), b""), path=path, bytes=64 << 20)


def call(kind="openrouter", model=None, *videos, **more):
    facts = {
        "request_id": "r-1",
        "model": model or MODEL.get(kind, "Qwen/Qwen3-VL-8B"),
        "prompt": "What is in it?",
        "parts": tuple(FilePart(v) for v in videos),
    }
    return Call(**(facts | more))


async def ask(kind, base, question, **more):
    async with opened(kind, base, **more) as provider:
        return [event async for event in provider.generate(question)]


async def drain(provider, question):
    async for _ in provider.generate(question):
        pass


async def hung_up(upstream):
    """The upstream lost its client, whose other connections are still open."""
    assert await asyncio.to_thread(upstream.last.ended.wait, 10)
    assert upstream.last.was_cut


async def fail(kind, base, question, **more):
    """The events before the error, and the error."""
    events = []

    async def use():
        async with opened(kind, base, **more) as provider:
            async for event in provider.generate(question):
                events.append(event)  # noqa: PERF401 - those before the error count

    with pytest.raises(TelecineError) as caught:
        await use()
    return events, caught.value


def text(events):
    return "".join(event.text for event in events if isinstance(event, Delta))


def only(kind, events):
    return [event for event in events if isinstance(event, kind)]


def switch(name, kind="openrouter", *videos, **more):
    return call(kind, f"fake/{name}", *videos, **more)


# ---------------------------------------------------------------- the contract


@pytest.mark.parametrize("kind", EVERY)
def test_usage_comes_once_and_after_the_text(run, upstream, kind):
    events = run(ask(kind, upstream.url, call(kind)))
    assert len(only(Usage, events)) == 1
    last_delta = max(i for i, event in enumerate(events) if isinstance(event, Delta))
    assert events.index(only(Usage, events)[0]) > last_delta


@pytest.mark.parametrize("kind", EVERY)
def test_who_answered_is_told_with_an_id_and_a_finish_reason(run, upstream, kind):
    last = only(Upstream, run(ask(kind, upstream.url, call(kind))))[-1]
    assert (last.id is not None, last.finish_reason) == (True, "stop")


@pytest.mark.parametrize("kind", ["echo", *OF_MANY])
def test_several_videos_are_seen_whole_and_in_order(run, upstream, kind, tmp_path):
    clips = [
        video(tmp_path / f"{n}", bytes(range(256)) * n + b"!" * (n % 3), n) for n in (3, 1, 2000)
    ]
    said = text(run(ask(kind, upstream.url, call(kind, None, *clips))))
    places = [said.index(f"sha256={clip.sha256}") for clip in clips]
    assert places == sorted(places)


@pytest.mark.parametrize("kind", OF_MANY)
def test_an_empty_file_and_one_smaller_than_a_base64_group_arrive_unchanged(
    run, upstream, kind, tmp_path
):
    clips = [video(tmp_path / f"{size}", b"x" * size, size) for size in range(5)]
    run(ask(kind, upstream.url, call(kind, None, *clips)))
    assert [sent.bytes for sent in upstream.last.videos] == [0, 1, 2, 3, 4]
    assert [sent.sha256 for sent in upstream.last.videos] == [clip.sha256 for clip in clips]


@pytest.mark.parametrize("kind", [*(k for k in WATCHERS if k != "dashscope"), *NATIVE])
def test_a_large_video_is_never_held_in_memory(run, upstream, kind, tmp_path):
    clip = big_video(tmp_path / "big")

    async def measured():
        async with opened(kind, upstream.url) as provider:
            tracemalloc.start()
            try:
                await drain(provider, call(kind, None, clip))
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    # The fake's own buffers, in the same process, are in it too.
    assert run(measured()) < 12 << 20
    assert upstream.last.videos[0].bytes == 64 << 20


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind not in PICTURES])
def test_images_and_sounds_are_seen_whole_and_in_order(run, upstream, kind, tmp_path):
    parts = (
        image(tmp_path / "a", b"first" * 999),
        image(tmp_path / "b", b"second", 1),
        sound(tmp_path / "c", b"heard" * 1001),
    )
    said = text(run(ask(kind, upstream.url, call(kind, parts=parts))))
    places = [said.index(f"sha256={part.media.sha256}") for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_images_and_sounds_go_out_as_openai_has_them(run, upstream, kind, tmp_path):
    parts = (image(tmp_path / "a"), sound(tmp_path / "b"))
    run(ask(kind, upstream.url, call(kind, parts=parts)))
    first, *others = upstream.last.document["messages"][-1]["content"]
    assert first == {"type": "text", "text": "What is in it?"}
    assert [part["type"] for part in others] == ["image_url", "input_audio"]
    assert others[1]["input_audio"]["format"] == "mp3"
    assert [(s.kind, s.mime) for s in upstream.last.media] == [
        ("image", "image/png"),
        ("audio", "audio/mp3"),
    ]


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_sound_that_was_converted_goes_out_as_wav(run, upstream, kind, tmp_path):
    (tmp_path / "wav").write_bytes(b"RIFF")
    part = sound(tmp_path / "a", b"ogg", format="opus", wav=tmp_path / "wav")
    run(ask(kind, upstream.url, call(kind, parts=(part,))))
    [sent] = upstream.last.media
    assert (sent.mime, sent.sha256) == ("audio/wav", hashlib.sha256(b"RIFF").hexdigest())


def test_echo_says_what_it_was_given_of_every_kind(run, upstream, tmp_path):
    parts = (
        image(tmp_path / "i"),
        FilePart(video(tmp_path / "v", b"clip")),
        sound(tmp_path / "a"),
        paper(tmp_path / "p"),
        image(tmp_path / "j", b"other", 1),
    )
    events = run(ask("echo", upstream.url, call("echo", parts=parts)))
    lines = text(events).splitlines()[1:]
    sha256 = [part.media.sha256 for part in parts]
    assert lines == [
        f"image 1: sha256={sha256[0]} bytes=7 width=4 height=3",
        f"video 1: sha256={sha256[1]} bytes=4 seconds=2.500 container=mp4",
        f"audio 1: sha256={sha256[2]} bytes=5 seconds=2.000",
        f"document 1: sha256={sha256[3]} bytes=8",
        f"image 2: sha256={sha256[4]} bytes=5 width=4 height=3",
    ]
    [usage] = only(Usage, events)
    assert usage.by_modality == {"text": 4, "image": 2, "video": 2, "audio": 2, "document": 1}


@pytest.mark.parametrize("kind", UPSTREAMS)
def test_closing_the_answer_hangs_up_on_the_upstream(run, upstream, kind):
    async def leave():
        async with opened(kind, upstream.url) as provider:
            async with aclosing(provider.generate(switch("slow", kind))) as events:
                async for event in events:
                    if isinstance(event, Delta):
                        break
            await hung_up(upstream)

    run(leave())


def test_echo_stops_when_it_is_closed(run):
    async def leave():
        async with aclosing(Echo("echo").generate(call("echo", "wait-3600"))) as events:
            await anext(events)

    run(leave())


@pytest.mark.parametrize("kind", UPSTREAMS)
def test_cancelling_the_task_hangs_up_on_the_upstream(run, upstream, kind):
    async def leave():
        async with opened(kind, upstream.url) as provider:
            begun = asyncio.Event()

            async def read():
                async for event in provider.generate(switch("slow", kind)):
                    if isinstance(event, Delta):
                        begun.set()

            task = asyncio.create_task(read())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await hung_up(upstream)

    run(leave())


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, ProviderRejected),
        (401, ProviderFailed),
        (402, ProviderFailed),
        (403, ProviderRejected),
        (404, ProviderRejected),
        (408, ProviderFailed),
        (413, TooLarge),
        (422, ProviderRejected),
        (429, ProviderUnavailable),
        (500, ProviderFailed),
        (501, ProviderRejected),
        (502, ProviderFailed),
        (503, ProviderUnavailable),
        (504, ProviderFailed),
        (524, ProviderFailed),
        (529, ProviderUnavailable),
    ],
)
def test_every_status_becomes_the_right_error(run, upstream, kind, status, expected):
    model = f"fail-{status}" if kind == "echo" else f"fake/{status}"
    events, error = run(fail(kind, upstream.url, call(kind, model)))
    if (kind, status) == ("anthropic", 403):
        expected = ProviderFailed  # the key's permission, not what was asked
    assert type(error) is expected
    assert not only(Delta, events)
    if isinstance(error, ProviderError):
        assert (error.provider, error.upstream_status) == (kind, status)
    if isinstance(error, ProviderUnavailable) and status != 529 and kind != "echo":
        assert error.retry_after_seconds == 7


@pytest.mark.parametrize("kind", EVERY)
def test_after_the_first_delta_nothing_may_be_tried_again(run, upstream, kind):
    model = "fail-after-2-503" if kind == "echo" else "fake/word-code"
    events, error = run(fail(kind, upstream.url, call(kind, model)))
    assert only(Delta, events)
    assert type(error) is ProviderFailed
    assert not error.retryable


@pytest.mark.parametrize("kind", EVERY)
def test_a_link_is_taken_or_refused_where_it_stands(run, upstream, kind):
    link = LinkPart("https://youtu.be/x", ("body", "video_urls", 4))

    async def taken():
        async with opened(kind, upstream.url) as provider:
            question = call(kind, parts=(link,))
            takes = "link" in (await provider.capabilities(question.model)).delivery
            try:
                await drain(provider, question)
            except InputError as error:
                assert error.problems[0].loc == link.loc
                return (takes, False)
            return (takes, True)

    takes, took = run(taken())
    assert takes == took


@pytest.mark.parametrize("kind", UPSTREAMS)
def test_the_key_is_sent_and_never_told(run, upstream, kind):
    for model, key in [("fake/quotes-key", fake.KEY), ("fake/401", "sk-or-v1-wrong-key-0000")]:
        _, error = run(fail(kind, upstream.url, call(kind, model), key=key))
        told = "".join(f"{e!r} {e} {vars(e)}" for e in (error, error.__cause__) if e)
        assert key not in told
    headers = upstream.last.headers
    own = {"gemini": "x-goog-api-key", "anthropic": "x-api-key"}
    assert headers[own.get(kind, "Authorization")].removeprefix("Bearer ") == key


@pytest.mark.parametrize("kind", UPSTREAMS)
def test_a_dead_server_fails_softly_everywhere(run, kind):
    async def use():
        async with opened(kind, DEAD) as provider:
            health = await provider.check()
            assert not health.is_ok
            assert health.fix
            with pytest.raises(ProviderUnavailable):
                await provider.models()
            assert "frames" in (await provider.capabilities("some/model")).delivery
            with pytest.raises(ProviderUnavailable):
                await drain(provider, call(kind))

    run(use())


@pytest.mark.parametrize("kind", EVERY)
def test_a_living_server_is_well_and_lists_its_models(run, upstream, kind):
    async def use():
        async with opened(kind, upstream.url) as provider:
            assert (await provider.check()).is_ok
            assert all(model.id for model in await provider.models())

    run(use())


@pytest.mark.parametrize("kind", UPSTREAMS)
def test_a_wrong_key_is_found_by_the_check(run, upstream, kind):
    async def use():
        async with opened(kind, upstream.url, key="sk-or-v1-wrong-key-0000") as provider:
            return await provider.check()

    health = run(use())
    # The model lists of most servers need no key.
    assert health.is_ok is (kind not in ("openrouter", *NATIVE, *PICTURES))
    assert "wrong-key" not in health.says + health.fix


@pytest.mark.parametrize("kind", WATCHERS)
def test_text_before_videos_and_the_callers_parameters_are_sent(run, upstream, kind, tmp_path):
    clip = video(tmp_path / "c", b"clip")
    question = call(kind, None, clip, system_prompt="Be brief.", temperature=0.5, max_tokens=7)
    run(ask(kind, upstream.url, question))
    sent = upstream.last.document
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent["messages"][1]["content"][0] == {"type": "text", "text": "What is in it?"}
    assert (sent["temperature"], sent["max_tokens"], sent["stream"]) == (0.5, 7, True)
    assert upstream.last.headers["X-Request-Id"] == "r-1"


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_question_without_videos_is_plain_text(run, upstream, kind):
    run(ask(kind, upstream.url, call(kind)))
    sent = upstream.last.document
    assert sent["messages"] == [{"role": "user", "content": "What is in it?"}]
    assert "temperature" not in sent
    assert "max_tokens" not in sent


@pytest.mark.parametrize("kind", UPSTREAMS)
def test_connections_are_used_again(run, upstream, kind):
    async def use():
        async with opened(kind, upstream.url) as provider:
            for _ in range(3):
                await drain(provider, call(kind))
            exchange = {"gemini": "_google", "anthropic": "_messages"}.get(kind, "_chat")
            session = getattr(provider, exchange)._session
            return sum(len(pool) for pool in session.connector._conns.values())

    assert run(use()) == 1


# ---------------------------------------------------------------- what streams do


@pytest.mark.parametrize("kind", WATCHERS)
@pytest.mark.parametrize(
    "name", ["comments", "crlf", "cr", "usage-in-last-chunk", "no-done", "no-stream"]
)
def test_the_text_is_what_was_said_however_it_is_sent(run, upstream, kind, name, tmp_path):
    clip = video(tmp_path / "c", b"clip")
    events = run(ask(kind, upstream.url, switch(name, kind, clip)))
    assert text(events) == upstream.last.said
    assert len(only(Usage, events)) == 1


def test_characters_cut_in_two_are_put_together(run, upstream):
    events = run(ask("openrouter", upstream.url, switch("alphabets+bytes")))
    assert text(events) == "Grüße, 世界 🎬 " + upstream.last.said


def test_usage_told_twice_counts_once(run, upstream):
    events = run(ask("openrouter", upstream.url, switch("usage-twice")))
    assert len(only(Usage, events)) == 1


def test_usage_never_told_is_not_made_up(run, upstream):
    assert not only(Usage, run(ask("openrouter", upstream.url, switch("no-usage"))))


@pytest.mark.parametrize(
    ("name", "thought"),
    [
        ("thoughts", "Let me look."),
        ("thoughts-in-details", "Hm."),
        ("thoughts-in-content", "Hm."),
    ],
)
@pytest.mark.parametrize("wanted", [True, False])
def test_reasoning_is_told_when_asked_for(run, upstream, name, thought, wanted):
    events = run(ask("openrouter", upstream.url, switch(name, reasoning=wanted)))
    told = "".join(event.reasoning for event in only(Delta, events))
    assert told == (thought if wanted else "")
    assert text(events) == upstream.last.said


def test_thinking_until_the_tokens_ran_out_is_an_empty_answer_with_a_warning(run, upstream):
    events = run(ask("openrouter", upstream.url, switch("thoughts-only")))
    assert text(events) == ""
    assert "raise max_tokens" in only(Log, events)[0].message
    assert only(Upstream, events)[-1].finish_reason == "length"


def test_an_error_that_only_repeats_that_the_tokens_ran_out_does_not_cost_the_answer(run, upstream):
    events = run(ask("openrouter", upstream.url, switch("length-then-error")))
    assert text(events) == upstream.last.said
    assert [log.level for log in only(Log, events)] == ["WARN"]
    assert len(only(Usage, events)) == 1


def test_an_error_chunk_with_usage_gives_both(run, upstream):
    events, error = run(fail("openrouter", upstream.url, switch("late-error")))
    assert type(error) is ProviderFailed
    assert "It broke" in error.message
    assert error.upstream_id == upstream.last.id
    assert only(Usage, events)[0].cost is not None


@pytest.mark.parametrize(
    ("name", "expected", "words"),
    [
        ("middle-error", ProviderFailed, "Provider gone"),
        ("word-code", ProviderFailed, "Oops"),
        ("first-429", ProviderUnavailable, "Slow down"),
        ("error-in-200", ProviderFailed, "Provider returned error"),
        ("error-in-choice", ProviderFailed, "Host fell over"),
        ("empty-choices", ProviderFailed, "ended without an answer"),
        ("nothing", ProviderFailed, "ended without an answer"),
        ("filtered", ProviderRejected, "content policy"),
        ("cut", ProviderFailed, "went away"),
        ("cut-at-once", ProviderFailed, "went away"),
        ("ends-early", ProviderFailed, "broke off"),
        ("not-json", ProviderFailed, "not JSON"),
        ("huge-line", ProviderFailed, "more than"),
        ("moderated", ProviderRejected, "violence"),
        ("no-host", ProviderRejected, "No allowed providers"),
        ("raw-429", ProviderUnavailable, "quota of the day is used up"),
        ("html", ProviderFailed, "502 Bad Gateway"),
        ("redirect", ProviderFailed, "base_url"),
    ],
)
def test_what_goes_wrong_is_told_with_the_upstreams_words(run, upstream, name, expected, words):
    _, error = run(fail("openrouter", upstream.url, switch(name)))
    assert type(error) is expected
    assert words in error.message


@pytest.mark.parametrize("kind", UPSTREAMS)
def test_an_answer_without_end_is_given_up_and_may_have_been_billed(
    run, upstream, kind, monkeypatch
):
    monkeypatch.setattr(exchange, "_MAX_STREAM_BYTES", 100)
    events, error = run(fail(kind, upstream.url, call(kind)))
    assert type(error) is ProviderFailed
    assert "more than 100 bytes" in error.message
    assert text(events) == ""


@pytest.mark.parametrize("name", ["moderated", "filtered"])
def test_a_refusal_by_policy_has_fals_type(run, upstream, name):
    _, error = run(fail("openrouter", upstream.url, switch(name)))
    assert error.type == "content_policy_violation"


@pytest.mark.parametrize("kind", UPSTREAMS)
def test_an_unknown_model_is_the_callers_mistake(run, upstream, kind):
    _, error = run(fail(kind, upstream.url, call(kind, "unknown/model")))
    assert type(error) is ProviderRejected
    assert error.loc == ("body", "model")
    assert "unknown/model" in error.message


def test_too_much_for_the_context_points_at_the_largest_video(run, upstream, tmp_path):
    clips = [video(tmp_path / f"{n}", b"x" * n, n) for n in (1, 9, 3)]
    _, error = run(fail("openrouter", upstream.url, switch("overflow", "openrouter", *clips)))
    assert type(error) is TooLarge
    assert error.problems[0].loc == ("body", "video_urls", 9)


def test_too_much_for_a_request_is_a_form_refused_at_the_largest_video(run, upstream, tmp_path):
    clips = [video(tmp_path / f"{n}", b"x" * n, n) for n in (1, 9, 3)]
    _, error = run(fail("openrouter", upstream.url, switch("413", "openrouter", *clips)))
    assert type(error) is FormRefused
    assert (error.status, error.type) == (422, "file_too_large")
    assert error.loc == ("body", "video_urls", 9)
    assert "a shorter or smaller video" in error.message


def test_a_refusal_while_the_video_is_still_on_its_way_is_heard(run, upstream, tmp_path):
    clip = big_video(tmp_path / "big")

    async def use():
        async with Client(allow=[], proxy=None, connect_seconds=10, user_agent="tests") as client:
            base = f"{upstream.url}/early413"
            provider = OpenAICompatible("early", client=client, base_url=base)
            with pytest.raises(FormRefused):
                await drain(provider, call("early", "m", clip))

    run(use())


def test_hanging_up_on_a_request_that_was_sent_may_have_been_billed(run, upstream):
    async def use():
        async with Client(allow=[], proxy=None, connect_seconds=10, user_agent="tests") as client:
            provider = OpenAICompatible("h", client=client, base_url=f"{upstream.url}/hangup")
            with pytest.raises(ProviderFailed):
                await drain(provider, call("h", "m"))

    run(use())


def test_silence_in_the_middle_of_an_answer_ends_it(run, upstream):
    async def use():
        async with opened("openrouter", upstream.url) as provider:
            provider._chat._idle_seconds = 0.05
            with pytest.raises(ProviderFailed, match="no answer in time"):
                await drain(provider, switch("mute"))

    run(use())


def test_silence_before_the_answer_ends_it(run, upstream):
    async def use():
        async with opened("openrouter", upstream.url) as provider:
            provider._chat._first_byte_seconds = 0.05
            with pytest.raises(ProviderFailed, match="no answer in time"):
                await drain(provider, switch("late-head"))

    run(use())


# ---------------------------------------------------------------- OpenRouter


def test_the_bill_is_taken_to_the_last_digit(run, upstream, tmp_path):
    clip = video(tmp_path / "c", b"clip")
    usage = only(Usage, run(ask("openrouter", upstream.url, call("openrouter", None, clip))))[0]
    assert (usage.cost, usage.cost_source) == (upstream.last.billed, "billed")
    assert usage.prompt_tokens == 270
    assert usage.by_modality == {"audio": 0, "video": 258}


def test_with_the_operators_own_key_at_the_host_its_bill_is_added(run, upstream):
    usage = only(Usage, run(ask("openrouter", upstream.url, switch("byok"))))[0]
    assert (usage.cost, usage.cost_source) == (Decimal("0.021"), "billed")


def test_no_price_is_not_free(run, upstream):
    usage = only(Usage, run(ask("openrouter", upstream.url, switch("null-cost"))))[0]
    assert (usage.cost, usage.cost_source) == (None, "unknown")


def test_a_video_without_prompt_tokens_is_warned_of(run, upstream, tmp_path):
    clip = video(tmp_path / "c", b"clip")
    events = run(ask("openrouter", upstream.url, switch("zero-prompt", "openrouter", clip)))
    assert [log.level for log in only(Log, events)] == ["WARN"]
    assert only(Usage, events)[0].prompt_tokens == 0


def test_a_model_that_is_known_to_see_no_video_takes_none(run, upstream):
    async def use():
        async with opened("openrouter", upstream.url) as provider:
            return [
                (await provider.capabilities(model)).delivery
                for model in ("text/only", "qwen/qwen3.5-27b:nitro", "google/gemini-2.5-flash")
            ]

    assert run(use()) == [(), ("file", "frames"), ("file", "link", "frames")]


def test_capabilities_follow_the_modalities_that_are_listed(run, upstream):
    async def use():
        async with opened("openrouter", upstream.url) as provider:
            names = ("text/only", "qwen/qwen3.5-27b", "google/gemini-2.5-flash", "new/unlisted")
            return [await provider.capabilities(name) for name in names]

    blind, sees, hears, unlisted = run(use())
    assert (blind.images, blind.audio, blind.pdfs) == ((), (), True)
    assert (sees.images, sees.audio) == (("png", "jpeg", "webp", "gif"), ())
    assert hears.audio == ("wav", "mp3", "aiff", "aac", "ogg", "flac", "m4a")
    assert all((unlisted.delivery, unlisted.images, unlisted.audio, unlisted.web_search))


def test_a_document_goes_out_as_a_file(run, upstream, tmp_path):
    run(ask("openrouter", upstream.url, call("openrouter", parts=(paper(tmp_path / "p"),))))
    [sent] = upstream.last.media
    assert (sent.kind, sent.mime, sent.bytes) == ("file", "application/pdf", 8)
    part = upstream.last.document["messages"][-1]["content"][1]
    assert part["file"]["filename"] == "document-1.pdf"


def test_a_web_search_is_the_web_plugin_with_its_options(run, upstream):
    options = {"max_results": 3, "engine": "exa", "search_context_size": "low"}
    run(ask("openrouter", upstream.url, call("openrouter", web_search=options)))
    sent = upstream.last.document
    assert sent["plugins"] == [{"id": "web", "max_results": 3, "engine": "exa"}]
    assert sent["web_search_options"] == {"search_context_size": "low"}


@pytest.mark.parametrize("wanted", [None, {}])
def test_no_search_is_made_that_nobody_asked_for(run, upstream, wanted):
    run(ask("openrouter", upstream.url, call("openrouter", web_search=wanted)))
    assert upstream.last.document.get("plugins") == (None if wanted is None else [{"id": "web"}])
    assert "web_search_options" not in upstream.last.document


def test_the_list_of_models_is_asked_for_once(run, upstream):
    upstream.asked.clear()

    async def use():
        async with opened("openrouter", upstream.url) as provider:
            for _ in range(5):
                await provider.capabilities("text/only")
                await provider.price("text/only")

    run(use())
    assert upstream.asked == ["/openrouter/models"]


def test_a_youtube_link_goes_to_the_host_that_takes_it(run, upstream):
    link = LinkPart("https://www.youtube.com/watch?v=x#t=3", ("body", "video_urls", 0))
    run(ask("openrouter", upstream.url, call("openrouter", parts=(link,))))
    assert upstream.last.links == [link.url]
    assert upstream.last.document["provider"] == {"only": ["google-ai-studio"]}


def test_openrouter_gets_its_spelling_of_quicktime(run, upstream, tmp_path):
    clip = video(tmp_path / "c", b"clip", container="mov", mime="video/quicktime")
    run(ask("openrouter", upstream.url, call("openrouter", None, clip)))
    assert upstream.last.videos[0].mime == "video/mov"


def test_openrouters_own_models_keep_their_name(run, upstream):
    run(ask("openrouter", upstream.url, call("openrouter", "auto")))
    assert upstream.last.model == "openrouter/auto"


def test_openrouter_learns_the_program_and_nothing_of_the_operator(run, upstream):
    run(ask("openrouter", upstream.url, call("openrouter")))
    headers = upstream.last.headers
    assert headers["X-OpenRouter-Title"] == "Telecine"
    assert headers["HTTP-Referer"] == "http://localhost"


def test_without_a_key_the_check_says_what_to_set(run, upstream):
    async def use():
        async with opened("openrouter", upstream.url, key=None) as provider:
            return await provider.check()

    health = run(use())
    assert not health.is_ok
    assert "OPENROUTER_API_KEY" in health.fix


# ---------------------------------------------------------------- OpenAI-compatible servers


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_tokens_of_the_video_are_told_apart_where_the_server_does(run, upstream, kind, tmp_path):
    clip = video(tmp_path / "c", b"clip")
    usage = only(Usage, run(ask(kind, upstream.url, call(kind, None, clip))))[0]
    assert usage.by_modality == {"video": 258}
    assert (usage.cost, usage.cost_source) == (None, "unknown")


@pytest.mark.parametrize("how", [{"video": "frames"}, {"dialect": "ollama"}])
def test_a_server_for_pictures_refuses_videos(run, tmp_path, how):
    clip = video(tmp_path / "c", b"clip")

    async def use():
        async with Client(allow=[], proxy=None, connect_seconds=10, user_agent="tests") as client:
            provider = OpenAICompatible("pictures", client=client, base_url=DEAD, **how)
            assert (await provider.capabilities("m")).delivery == ("frames",)
            with pytest.raises(InputError, match="takes pictures"):
                await drain(provider, call("pictures", "m", clip))

    run(use())


@pytest.mark.parametrize(
    ("kind", "images", "audio"),
    [
        ("vllm", ("png", "jpeg", "webp", "gif"), ("wav", "mp3")),
        ("llamacpp", ("png", "jpeg", "gif"), ("wav", "mp3")),
        ("ollama", ("png", "jpeg", "webp"), ()),
        ("zai", ("png", "jpeg"), ()),
    ],
)
def test_what_a_dialect_takes_is_what_its_servers_can_read(run, kind, images, audio):
    async def use():
        async with opened(kind, DEAD) as provider:
            return await provider.capabilities("m")

    found = run(use())
    assert (found.images, found.audio, found.pdfs) == (images, audio, False)


@pytest.mark.parametrize("kind", UPSTREAMS)
def test_only_the_models_that_the_operator_names_are_offered(run, upstream, kind):
    async def use():
        async with opened(kind, upstream.url, models=("a/b",)) as provider:
            assert [model.id for model in await provider.models()] == ["a/b"]
            with pytest.raises(ProviderRejected) as caught:
                await provider.capabilities("c/d")
            return caught.value.loc

    assert run(use()) == ("body", "model")
