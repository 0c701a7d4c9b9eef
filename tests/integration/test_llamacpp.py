"""The adapter against llama.cpp's own server, with random weights that are made here."""

import asyncio
import json
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from tests.contract.test_providers import call, only, text, video
from tests.fakes import llama

from telecine.errors import FormRefused, TooLarge
from telecine.models import Delta, FilePart, FramesPart, Log, Still, Upstream, Usage, Words
from telecine.net import Client
from telecine.providers.openai_compatible import OpenAICompatible

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

CLIP = Path(__file__).parents[1] / "data" / "onscreen_instructions_silent.mp4"  # of 6 seconds
SCHEMA = {
    "type": "object",
    "properties": {"count": {"type": "integer"}, "sees": {"enum": ["cat", "dog"]}},
    "required": ["count", "sees"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "seen", "schema": SCHEMA}}


@pytest.fixture(scope="module")
def sees(tmp_path_factory):
    with llama.serve(tmp_path_factory.mktemp("sees"), sees=True) as url:
        yield url


@pytest.fixture(scope="module")
def boasts(tmp_path_factory):
    with llama.serve(tmp_path_factory.mktemp("boasts"), sees=True, ffmpeg=False) as url:
        yield url


@pytest.fixture(scope="module")
def blind(tmp_path_factory):
    with llama.serve(tmp_path_factory.mktemp("blind")) as url:
        yield url


@asynccontextmanager
async def opened(url, **more):
    async with Client(allow=[], proxy=None, connect_seconds=10, user_agent="tests") as client:
        yield OpenAICompatible("llama", client=client, base_url=url, dialect="llamacpp", **more)


async def ask(url, **more):
    async with opened(url) as provider:
        question = call("llama", "tiny", **{"max_tokens": 12, "temperature": 0.7, **more})
        return [event async for event in provider.generate(question)]


def stills(folder, count, *, words=()):
    from PIL import Image

    made = []
    for n in range(count):
        path = folder / f"{n}.jpg"
        Image.new("RGB", (64, 48), (60 * n, 200 - 60 * n, 90)).save(path)
        made.append(Still(float(n), path, path.stat().st_size, 64, 48))
    return FramesPart(video(folder / "clip", b"clip"), tuple(made), tuple(words), 1.0)


def test_the_answer_is_streamed_and_ends_with_its_usage(run, sees):
    events = run(ask(sees))
    [usage] = only(Usage, events)
    last = only(Upstream, events)[-1]
    assert len(only(Delta, events)) > 1
    assert (usage.completion_tokens, usage.cost, usage.cost_source) == (12, None, "unknown")
    assert usage.prompt_tokens > len("What is in it?")
    assert (last.id is not None, last.finish_reason) == (True, "length")


def test_the_server_tells_what_its_model_takes_and_how_much(run, sees, blind):
    async def use():
        found = []
        for url in (sees, blind):
            async with opened(url) as provider:
                found.append((await provider.capabilities("any"), await provider.models()))
        return found

    (seeing, _), (reading, [listed]) = run(use())
    assert seeing.delivery == ("file", "frames")
    assert seeing.images == ("png", "jpeg", "gif")
    assert (seeing.audio, seeing.context_tokens) == ((), llama.CONTEXT)
    assert (reading.delivery, reading.images) == ((), ())
    assert (listed.id, listed.input_modalities) == ("tiny", ("text",))


def test_stills_are_taken_as_pictures_each_with_its_tokens(run, sees, tmp_path):
    words = (Words(0.0, 1.5, "Hello."),)
    told = [
        only(Usage, run(ask(sees, parts=(part,))))[0].prompt_tokens
        for part in (stills(tmp_path, 2, words=words), stills(tmp_path, 3, words=words))
    ]
    assert told[1] - told[0] >= llama.PICTURE_TOKENS


def test_a_video_is_taken_and_all_of_its_seconds_count(run, sees):
    part = FilePart(video(CLIP))
    [usage] = only(Usage, run(ask(sees, parts=(part,))))
    [still] = only(Usage, run(ask(sees)))
    # Four pictures a second, as the server has it.
    seen = (usage.prompt_tokens - still.prompt_tokens) / llama.PICTURE_TOKENS
    assert seen >= 4 * 6


def test_a_server_that_only_says_that_it_takes_videos_refuses_the_form(run, boasts):
    """llama.cpp lists video for every model that sees, with ffmpeg on the machine or without."""
    with pytest.raises(FormRefused, match="Failed to load"):
        run(ask(boasts, parts=(FilePart(video(CLIP)),)))


def test_a_video_that_the_server_cannot_read_is_a_form_refused(run, sees, tmp_path):
    clip = FilePart(video(tmp_path / "c", b"no video at all" * 99))
    with pytest.raises(FormRefused) as caught:
        run(ask(sees, parts=(clip,)))
    assert caught.value.loc == ("body", "video_urls", 0)
    assert caught.value.upstream_status == 400
    assert "Failed to load" in caught.value.message


def test_a_server_that_only_reads_refuses_the_form(run, blind, tmp_path):
    for part in (FilePart(video(tmp_path / "c", b"clip")), stills(tmp_path, 1)):
        with pytest.raises(FormRefused, match="not supported"):
            run(ask(blind, parts=(part,)))


def test_a_schema_is_kept_even_by_a_model_that_knows_nothing(run, sees):
    events = run(ask(sees, response_format=FORMAT, max_tokens=400, seed=3))
    assert only(Upstream, events)[-1].finish_reason == "stop"
    answer = json.loads(text(events))
    assert set(answer) == {"count", "sees"}
    assert isinstance(answer["count"], int)
    assert answer["sees"] in ("cat", "dog")


def test_the_same_seed_gives_the_same_answer(run, sees):
    first, again, other = (text(run(ask(sees, seed=seed, max_tokens=24))) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_the_answer_stops_before_the_word_that_was_given(run, sees):
    whole = text(run(ask(sees, seed=5, temperature=0, max_tokens=24)))
    word = next(letter for letter in whole[3:] if letter.isascii() and letter.isprintable())
    events = run(ask(sees, seed=5, temperature=0, max_tokens=24, stop=(word,)))
    assert text(events) == whole[: whole.index(word)]
    assert only(Upstream, events)[-1].finish_reason == "stop"


def test_more_than_the_context_is_told_as_that(run, sees):
    with pytest.raises(TooLarge) as caught:
        run(ask(sees, prompt="x" * 2 * llama.CONTEXT))
    assert caught.value.problems[0].loc == ("body", "prompt")
    assert "exceeds the available context size" in caught.value.message


def test_hanging_up_stops_the_work(run, sees):
    async def use():
        async with opened(sees) as provider:
            endless = call("llama", "tiny", max_tokens=1500, temperature=0.7)
            async with aclosing(provider.generate(endless)) as events:
                async for event in events:
                    if isinstance(event, Delta):
                        break
            while (slot := (await provider._chat.look_up("/slots"))[0])["is_processing"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            return slot

    # It is idle, with prompt and answer in the cache: those are not 1500 tokens and more.
    assert run(use())["n_prompt_tokens"] < 1500


def test_effort_is_taken(run, sees):
    events = run(ask(sees, effort="none"))
    assert not [log for log in only(Log, events) if log.level == "ERROR"]
    assert only(Usage, events)


def test_several_at_once_all_get_their_answers(run, sees):
    async def use():
        return await asyncio.gather(*(ask(sees, seed=n) for n in range(4)))

    assert all(only(Usage, events) for events in run(use()))
