import asyncio
import gc
import json
from itertools import pairwise

import pytest

from telecine.api import sse
from telecine.api.stream import Live, Pacer, answer
from telecine.errors import Cancelled, ProviderFailed
from telecine.models import Delta, Done, Receipt, Usage


def sent_sizes(deltas):
    """Which text sizes go out when (second, characters so far) come in and frames are as long."""
    pacer, sizes = Pacer(), []
    for now, size in deltas:
        if size >= pacer.wanted and pacer.pause(now) == 0:
            pacer.sent(size, size, now)
            sizes.append(size)
    return sizes


def test_the_first_snapshot_goes_at_once():
    assert Pacer().pause(0.0) == 0


def test_a_short_text_goes_out_20_times_a_second():
    deltas = [(step / 1000, step + 1) for step in range(1000)]
    assert len(sent_sizes(deltas)) == 20


def test_a_long_text_goes_out_only_when_it_has_grown():
    sizes = sent_sizes([(step, 10_000 + step) for step in range(1000)])
    assert all(b >= a * 1.03 for a, b in pairwise(sizes))


def test_what_is_sent_grows_with_the_text_not_with_its_square():
    words, word = 10_000, 6
    sizes = sent_sizes([(step / 50, (step + 1) * word) for step in range(words)])
    assert sum(sizes) < 12_000_000  # one by one: 300 MB


def test_a_snapshot_without_new_text_is_not_sent():
    assert sent_sizes([(0, 5), (1, 5), (2, 5)]) == [5]


def test_an_event_is_one_data_line_and_a_blank_one():
    assert sse.event('{"a":1}', "event") == b'event: event\ndata: {"a":1}\n\n'
    assert sse.event("{}") == b"data: {}\n\n"


def test_an_event_with_anything_but_ascii_is_a_bug():
    with pytest.raises(UnicodeEncodeError):
        sse.event('{"a":"é"}')


def test_pings_fill_the_silence_and_lose_nothing(run):
    gate = asyncio.Event()

    async def items():
        yield 1
        await gate.wait()
        yield 2

    async def main():
        got = []
        async for item in sse.with_pings(items(), 0.001):
            got.append(item)
            if got.count(None) == 3:
                gate.set()
        return [item for item in got if item is not None], got[1]

    assert run(main()) == ([1, 2], None)


def test_closing_stops_what_is_waited_for(run):
    stopped = []

    async def items():
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            stopped.append(True)

    async def main():
        pinged = sse.with_pings(items(), 0.001)
        assert await anext(pinged) is None
        await pinged.aclose()

    run(main())
    assert stopped == [True]


def test_closing_just_at_the_end_leaves_no_failed_task_behind(run):
    gate, complaints = asyncio.Event(), []

    async def items():
        await gate.wait()
        for nothing in ():
            yield nothing

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
        pinged = sse.with_pings(items(), 0.001)
        assert await anext(pinged) is None
        gate.set()
        for _ in range(3):  # the end comes, and nobody asks for it
            await asyncio.sleep(0)
        await pinged.aclose()
        gc.collect()

    run(main())
    assert complaints == []


def test_an_answer_is_gathered_at_its_own_speed(run):
    async def events():
        yield Delta("Hel", "think")
        yield Delta("lo")
        yield Usage(total_tokens=3)
        yield Receipt(lambda: {"a": 1})
        yield Done("stop")

    async def main():
        live = Live()
        async with answer(events(), live):
            await live.wait(float("inf"), 10)
            return live

    live = run(main())
    assert (live.text(), live.outcome.reasoning, live.outcome.finish_reason) == (
        "Hello",
        "think",
        "stop",
    )
    assert (live.outcome.usage.total_tokens, live.outcome.receipt.body) == (3, {"a": 1})
    assert live.error is None


def test_waiting_ends_when_the_text_is_long_enough(run):
    gate = asyncio.Event()

    async def events():
        yield Delta("ab")
        yield Delta("cd")
        await gate.wait()

    async def main():
        live = Live()
        async with answer(events(), live):
            await live.wait(4, 10)
            return live.text(), live.has_ended

    assert run(main()) == ("abcd", False)


def test_leaving_early_closes_the_upstream(run):
    closed = []

    async def events():
        try:
            yield Delta("a")
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def main():
        live = Live()
        async with answer(events(), live):
            await live.wait(1, 10)

    run(main())
    assert closed == [True]


@pytest.mark.parametrize("error", [ProviderFailed("cut"), RuntimeError("bug")])
def test_a_failure_ends_the_answer_with_the_text_so_far(run, error):
    async def events():
        yield Delta("a")
        raise error

    async def main():
        live = Live()
        async with answer(events(), live):
            await live.wait(float("inf"), 10)
            return live

    live = run(main())
    assert (live.error, live.outcome.output) == (error, "a")


def test_an_upstream_that_cancels_itself_does_not_hang_the_answer(run):
    async def events():
        yield Delta("a")
        raise asyncio.CancelledError

    async def main():
        live = Live()
        async with answer(events(), live):
            await live.wait(float("inf"), 10)
            return live.error

    assert isinstance(run(main()), Cancelled)


def test_a_thousand_pieces_are_one_text():
    live = Live()
    for _ in range(1000):
        live.take(Delta("ab"))
        live.text()
    assert json.dumps(live.text()) == json.dumps("ab" * 1000)
