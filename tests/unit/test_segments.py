import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from telecine import segments
from telecine.errors import ProviderUnavailable
from telecine.media import plan
from telecine.media.plan import Span
from telecine.models import (
    Capabilities,
    Log,
    MediaName,
    RouterRequest,
    TokenRates,
    Usage,
    Video,
    View,
)
from telecine.providers.registry import Route
from telecine.segments import Segment

LOC = ("body", "video_urls", 0)
VIDEO = Video(
    index=0,
    found="url",
    origin="v",
    loc=LOC,
    path=Path("v"),
    bytes=1000,
    sha256="ab" * 32,
    mime="video/mp4",
    container="mp4",
    seconds=3600.0,
    width=640,
    height=360,
    fps=25.0,
)
CAPABILITIES = Capabilities(
    delivery=("file",),
    context_tokens=100_000,
    max_output_tokens=4000,
    rates=TokenRates(frame={"medium": 258}),
)
ASKED = RouterRequest(prompt="Who wins?", model="m", media=(MediaName("v", LOC),))
ROUTE = Route("m", SimpleNamespace(name="p"), "m", CAPABILITIES)


def planned(video=VIDEO, view=View()):  # noqa: B008
    names = [MediaName("v", LOC)]
    return plan.make(names, [video], [], CAPABILITIES, view, model="m", prompt="Who wins?")


def name(asked=ASKED, route=ROUTE, made=None, number=0):
    made = made or planned()
    span = made.spans[number]
    return segments.name(asked, route, plan.for_span(made, span), span)


def test_a_name_is_the_same_every_time():
    assert name() == name()


@pytest.mark.parametrize(
    "change",
    [
        {"asked": replace(ASKED, prompt="Who loses?")},
        {"asked": replace(ASKED, system_prompt="Be brief.")},
        {"asked": replace(ASKED, temperature=0.5)},
        {"asked": replace(ASKED, seed=1)},
        {"asked": replace(ASKED, effort="high")},
        {"asked": replace(ASKED, provider={"only": ["x"]})},
        {"route": replace(ROUTE, model="other")},
        {"route": replace(ROUTE, provider=SimpleNamespace(name="q"))},
        {"made": planned(replace(VIDEO, sha256="cd" * 32))},
        {"number": 1},
    ],
    ids=str,
)
def test_whatever_determines_the_work_makes_another_name(change):
    assert name(**change) != name()


def test_what_only_the_last_call_needs_makes_no_other_name():
    assert name(asked=replace(ASKED, receipt=True, max_tokens=7, models=("b",))) == name()


def test_a_checkpoint_comes_back_as_it_was_to_the_last_digit():
    usage = Usage(
        prompt_tokens=10,
        completion_tokens=2,
        total_tokens=12,
        cost=Decimal("0.000000000001"),
        cost_source="billed",
        cached_tokens=3,
        by_modality={"video": 8},
    )
    segment = Segment(Span(0, 0.0, 300.0), '{"facts": []}', usage)
    kept = segments.checkpoint("n", segment)
    assert segments.restored(kept.body, segment.span) == segment


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "00:00"), (300, "05:00"), (3725.5, "1:02:05.50"), (59.999, "01:00")],
)
def test_times_are_written_as_people_write_them(seconds, text):
    assert segments.clock(seconds) == text


def test_a_stretch_is_labelled_by_its_times():
    assert segments.label(Span(0, 300.0, 600.0)) == "05:00-10:00"
    assert segments.label(Span(0, 0.0, float("inf"))) == "00:00-the end"


def test_a_stretch_is_asked_about_with_its_times_and_the_question():
    text = segments.question(ASKED, Span(0, 300.0, 600.0), [], 3600.0)
    assert "from 05:00 to 10:00 of 1:00:00" in text
    assert "Who wins?" in text


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ('{"facts": [1]}', {"facts": [1]}),
        ('```json\n{"facts": [1]}\n```', {"facts": [1]}),
        (" A goal at 05:12. ", "A goal at 05:12."),
        ("[" * 50_000, "[" * 50_000),
    ],
)
def test_facts_are_json_where_they_are_and_text_where_not(text, facts):
    assert segments.facts(text) == facts


def test_the_answer_comes_from_the_question_and_all_facts_in_order():
    found = [
        Segment(
            Span(0, 0.0, 300.0), '{"relevant": true, "facts": [{"fact": "kick-off"}]}', Usage()
        ),
        Segment(Span(0, 300.0, 600.0), "A goal, 1:0", Usage()),
    ]
    text = segments.answer_from(ASKED, found, has_stills=True)
    assert text.index("Who wins?") < text.index("kick-off") < text.index("A goal, 1:0")
    assert "stills" in text


# ---------------------------------------------------------------- at once


async def collected(works, limit):
    return [event.message async for event in segments.together(works, limit)]


def test_no_more_run_at_once_than_may(run):
    running, most = 0, 0

    async def work():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        yield Log("x")
        running -= 1

    assert len(run(collected([work] * 10, 3))) == 10
    assert most == 3


def test_after_a_failure_none_is_begun_and_those_under_way_come_to_their_end(run):
    begun = []
    go = asyncio.Event()

    async def fails():
        begun.append("fails")
        yield Log("asked")
        go.set()
        raise ProviderUnavailable("dead")

    async def goes_on():
        begun.append("goes on")
        await go.wait()
        await asyncio.sleep(0)
        yield Log("paid for")

    async def never():
        begun.append("never")
        yield Log("never")

    said = []

    async def main():
        async for event in segments.together([goes_on, fails, never], 2):
            said.append(event.message)  # noqa: PERF401 -- what came before the failure counts

    with pytest.raises(ProviderUnavailable):
        run(main())
    assert set(said) == {"asked", "paid for"}
    assert "never" not in begun


def test_none_goes_on_before_its_event_was_dealt_with(run):
    said = []

    async def work():
        yield Log("kept")
        said.append("goes on")

    async def main():
        async for _ in segments.together([work], 1):
            await asyncio.sleep(0.001)
            said.append("written")

    run(main())
    assert said == ["written", "goes on"]


def test_closing_it_stops_all_of_them(run):
    stopped = []

    async def work():
        try:
            yield Log("x")
            await asyncio.Event().wait()
        finally:
            stopped.append(True)

    async def main():
        events = segments.together([work, work], 2)
        await anext(events)
        await anext(events)
        await events.aclose()

    run(main())
    assert len(stopped) == 2
