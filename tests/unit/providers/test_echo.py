import asyncio
from pathlib import Path

import pytest

from telecine.errors import ProviderFailed, ProviderRejected, ProviderUnavailable
from telecine.models import Call, Delta, FilePart, LinkPart, Log, Usage, Video
from telecine.providers.echo import Echo


def clip(index=0, **more):
    facts = {
        "index": index,
        "found": "url",
        "origin": "o",
        "loc": ("body", "video_urls", index),
        "path": Path("/nowhere"),
        "bytes": 10,
        "sha256": "ab",
        "container": "mp4",
        "mime": "video/mp4",
        "seconds": 2.5,
    }
    return Video(**(facts | more))


async def events(model, *parts, seen=None):
    question = Call(request_id="r", model=model, prompt="What is it?", parts=parts)
    seen = [] if seen is None else seen
    async for event in Echo("echo").generate(question):
        seen.append(event)
    return seen


def text(found):
    return "".join(event.text for event in found if isinstance(event, Delta))


def logs(found):
    return [event.message for event in found if isinstance(event, Log)]


def test_it_says_what_it_was_given(run):
    parts = (
        FilePart(clip(0)),
        FilePart(clip(1, seconds=None, container="webm")),
        LinkPart("https://youtu.be/x", ("body",)),
    )
    assert text(run(events("echo", *parts))) == (
        "What is it?\n"
        "video 1: sha256=ab bytes=10 seconds=2.500 container=mp4\n"
        "video 2: sha256=ab bytes=10 seconds=unknown container=webm\n"
        "video 3: link=https://youtu.be/x"
    )


def test_words_and_seconds_are_its_tokens(run):
    found = run(events("echo", FilePart(clip(seconds=2.5)), FilePart(clip(seconds=0.2))))
    usage = next(event for event in found if isinstance(event, Usage))
    assert usage.by_modality == {"text": 3, "video": 3}
    assert (usage.prompt_tokens, usage.cost, usage.cost_source) == (6, 0, "free")


def test_counting_gives_a_delta_per_word(run):
    deltas = [event.text for event in run(events("count-12")) if isinstance(event, Delta)]
    assert "".join(deltas) == "1 2 3 4 5 6 7 8 9 10 11 12"
    assert len(deltas) == 12


def test_counting_far_takes_no_waiting(run):
    assert len(run(events("count-10000"))) == 10_003


def test_others_get_their_turn_every_few_words(run):
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def work():
        task = asyncio.create_task(other())
        await events("count-1000")
        task.cancel()

    run(work())
    assert turns >= 1000 / 4


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("wait-0.01", ["waited 0.01 of 0.01 s"]),
        ("wait-0", []),
        ("log-3", ["line 1 of 3", "line 2 of 3", "line 3 of 3"]),
        ("log-1-wait-0.01", ["line 1 of 1", "waited 0.01 of 0.01 s"]),
    ],
)
def test_waiting_and_logging_come_before_the_echo(run, model, expected):
    found = run(events(model))
    assert logs(found) == expected
    assert text(found) == "What is it?"


def test_counting_can_take_its_time(run):
    assert text(run(events("count-3-wait-0.01"))) == "1 2 3"


@pytest.mark.parametrize(
    ("model", "said", "expected"),
    [
        ("fail-503", "", ProviderUnavailable),
        ("fail-504", "", ProviderFailed),
        ("wait-0.01-fail-404", "", ProviderRejected),
        ("fail-after-3-503", "1 2 3", ProviderFailed),
        ("fail-after-0-503", "", ProviderUnavailable),
        ("count-2-fail-after-9-500", "1 2", ProviderFailed),
    ],
)
def test_it_fails_on_demand(run, model, said, expected):
    seen = []
    with pytest.raises(expected):
        run(events(model, seen=seen))
    assert text(seen) == said


@pytest.mark.parametrize(
    "model",
    [
        "",
        "nothing",
        "wait",
        "wait-",
        "wait-x",
        "fail-200",
        "count-1-",
        "count-1count-2",
        "echo-echo",
    ],
)
def test_other_names_are_refused_with_what_there_is(run, model):
    with pytest.raises(ProviderRejected, match="wait-S") as caught:
        run(Echo("echo").capabilities(model))
    assert caught.value.loc == ("body", "model")
