"""The frames of OpenAI's streams: what is sent, and how far ahead of a slow reader it is made."""

import asyncio
import json

import pytest

from telecine.api.openai import _Frames
from telecine.api.stream import answer
from telecine.errors import ProviderFailed
from telecine.models import Chunk, Delta, Done, Log, Receipt, Usage

TEXT = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "é"}}]}
USAGE = {"object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 1}}


async def sent(api, document, *events, error=None):
    """All that a reader gets who is always there."""

    async def coming():
        for event in events:
            yield event
        if error:
            raise error

    live = _Frames(api, document)
    found = b""
    async with answer(coming(), live):
        while (frames := await live.next(5)) or not live.has_ended:
            found += frames
    return found.decode("ascii")


def test_chunks_are_data_and_the_end_is_done(run):
    text = run(sent("chat", {}, Log("x"), Chunk(TEXT), Usage(), Receipt(dict), Done()))
    assert text == f"data: {json.dumps(TEXT, separators=(',', ':'))}\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize("wanted", [True, False])
def test_the_chunk_with_usage_alone_is_for_who_asked(run, wanted):
    document = {"stream_options": {"include_usage": wanted}}
    text = run(sent("chat", document, Chunk(TEXT), Chunk(USAGE)))
    assert ("total_tokens" in text) is wanted


def test_usage_in_a_chunk_with_a_choice_stays(run):
    assert "total_tokens" in run(sent("chat", {}, Chunk({**TEXT, "usage": {"total_tokens": 1}})))


def test_events_of_a_response_have_names_and_no_done(run):
    body = {"type": "response.created", "response": {}}
    text = run(sent("responses", {}, Chunk(body)))
    assert text.startswith("event: response.created\ndata: {")
    assert "[DONE]" not in text


def test_nothing_but_chunks_is_sent(run):
    assert run(sent("chat", {}, Delta("text"), Log("x"), Done())) == ""


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_failure_after_the_first_chunk_is_the_last_event(run, api):
    chunk = Chunk({"type": "response.created"} if api == "responses" else TEXT)
    text = run(sent(api, {}, chunk, error=ProviderFailed("It broke")))
    frames = [frame for frame in text.split("\n\n") if frame and "[DONE]" not in frame]
    error = json.loads(frames[-1].partition("data: ")[2])["error"]
    assert (error["message"], error["type"]) == ("It broke", "api_error")


def test_a_failure_before_it_is_left_to_the_status(run):
    assert run(sent("chat", {}, error=ProviderFailed("It broke"))) == ""


def test_a_slow_reader_holds_up_the_upstream_and_misses_nothing(run):
    async def slowly():
        made = 0

        async def coming():
            nonlocal made
            for _ in range(200):
                made += 1
                yield Chunk({**TEXT, "pad": "x" * 50_000})

        live = _Frames("chat", {})
        async with answer(coming(), live):
            for _ in range(1000):
                await asyncio.sleep(0)
            ahead, size = made, 0
            while (frames := await live.next(5)) or not live.has_ended:
                size += len(frames)
        return ahead, made, size

    ahead, made, size = run(slowly())
    assert ahead == 21, "a megabyte ahead, and no further"
    assert made == 200
    assert size > 200 * 50_000


def test_a_reader_who_leaves_ends_a_wait_for_room(run):
    stopped = asyncio.Event()

    async def leave():
        async def endless():
            try:
                while True:
                    yield Chunk({**TEXT, "pad": "x" * 500_000})
            finally:
                stopped.set()

        async with answer(endless(), _Frames("chat", {})):
            await asyncio.sleep(0)
        return stopped.is_set()

    assert run(leave())
