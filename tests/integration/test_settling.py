"""Costs that nobody told: asked for later, a bounded number of times, and written once."""

import asyncio
import contextlib
from dataclasses import replace
from decimal import Decimal

import pytest
from tests.fakes.jobs import House, request, until
from tests.fakes.pipeline import Settling, usage

from telecine.errors import ProviderUnavailable
from telecine.jobs.settler import OLDEST_SECONDS, WAITS, Settler
from telecine.models import Asked, Bill, Delta, Done, Log, Usage

BILL = usage(270, 28, "0.000151")


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def house(tmp_path, clock, database_url):
    return lambda p: House(tmp_path, url=database_url, providers={"p": p}, clock=clock)


def unknown(provider="p", upstream_id="p-1", of=Usage()):  # noqa: B008 -- frozen
    async def pipeline(request):
        call = f"call of {request.id}"
        yield Asked(call=call, provider=provider, model="m")
        yield Delta("Text")
        yield Bill(call=call, usage=of, provider=provider, model="m", upstream_id=upstream_id)
        yield of
        yield Done()

    return pipeline


async def entry(h):
    [row] = await h.rows("SELECT * FROM ledger")
    return row


def test_an_unknown_cost_is_completed_by_what_the_upstream_says(run, house, clock):
    p = Settling(bills={"p-1": BILL})

    async def work():
        h = house(p)
        h.pipeline = unknown()
        async with h:
            await h.worker.run(request(mode="run"))
            before = await entry(h)
            clock.now += WAITS[0]
            await h.settler.settle()
            return before, await entry(h)

    before, after = run(work())
    assert (before["cost"], before["cost_source"], before["upstream_id"]) == (
        None,
        "unknown",
        "p-1",
    )
    assert (after["cost"], after["cost_source"], after["prompt_tokens"]) == (
        "0.000151",
        "billed",
        270,
    )
    assert after["settle_at"] is None


def test_it_is_asked_again_ever_more_rarely_and_then_no_more(run, house, clock):
    p = Settling()

    async def work():
        h = house(p)
        h.pipeline = unknown()
        async with h:
            await h.worker.run(request(mode="run"))
            await entry(h)
            for _ in range(200):
                clock.now += 60
                await h.settler.settle()
            return await entry(h)

    row = run(work())
    assert len(p.asked) == len(WAITS)
    assert (row["cost_source"], row["settle_at"]) == ("unknown", None)


def test_an_upstream_that_fails_is_asked_again(run, house, clock):
    p = Settling(bills={"p-1": [ProviderUnavailable("down"), ZeroDivisionError(), None, BILL]})

    async def work():
        h = house(p)
        h.pipeline = unknown()
        async with h:
            await h.worker.run(request(mode="run"))
            await entry(h)
            for _ in range(20):
                clock.now += 60
                await h.settler.settle()
            return await entry(h)

    assert run(work())["cost"] == "0.000151"
    assert len(p.asked) == 4


def test_what_is_left_over_is_asked_for_after_a_restart(run, house, clock):
    p = Settling()

    async def first():
        h = house(p)
        h.pipeline = unknown()
        async with h:
            await h.worker.run(request(mode="run"))

    async def second():
        clock.now += 60
        p.bills = {"p-1": BILL}
        async with house(p) as h:
            await until(lambda: p.asked)
            while (row := await entry(h))["cost"] is None:  # noqa: ASYNC110 -- nobody rings
                await asyncio.sleep(0.001)
            return row

    run(first())
    assert p.asked == []
    assert run(second())["cost_source"] == "billed"


def test_what_is_older_than_a_day_is_left_as_it_is(run, house, clock):
    p = Settling(bills={"p-1": BILL})

    async def work():
        h = house(p)
        h.pipeline = unknown()
        async with h:
            await h.worker.run(request(mode="run"))
            await entry(h)
            clock.now += OLDEST_SECONDS + 1
            await h.settler.settle()
            return await entry(h)

    assert run(work())["cost_source"] == "unknown"
    assert p.asked == []


@pytest.mark.parametrize(
    "bill",
    [("other", "p-1", Usage()), ("p", None, Usage()), ("p", "p-1", BILL)],
    ids=["a provider that cannot tell", "a call without an id", "a cost that is known"],
)
def test_nobody_is_asked_about_what_cannot_or_need_not_be_told(run, house, clock, bill):
    p = Settling(bills={"p-1": replace(BILL, cost=Decimal(9))})

    async def work():
        h = house(p)
        h.pipeline = unknown(*bill)
        async with h:
            await h.worker.run(request(mode="run"))
            await entry(h)
            clock.now += 60
            await h.settler.settle()
            return await entry(h)

    assert run(work())["settle_at"] is None
    assert p.asked == []


def test_two_processes_do_not_ask_twice(run, house, clock):
    p = Settling(bills={"p-1": BILL})

    async def work():
        h = house(p)
        h.pipeline = unknown()
        async with h:
            other = Settler(db=h.db, providers={"p": p}, clock=clock)
            await h.worker.run(request(mode="run"))
            await entry(h)
            clock.now += 60
            await asyncio.gather(h.settler.settle(), other.settle())
            return await entry(h)

    assert run(work())["cost"] == "0.000151"
    assert p.asked == ["p-1"]


# ---------------------------------------------------------------- what is cut off


def under_way(*, has_id=True, has_text=True):
    """A call that goes on for ever."""

    async def pipeline(_request):
        yield Asked(call="c", provider="p", model="m")
        if has_id:
            yield Asked(call="c", provider="p", model="m", upstream_id="p-1")
        if has_text:
            yield Delta("Text")
        await asyncio.Event().wait()

    return pipeline


async def cut(h, pipeline):
    h.pipeline = pipeline
    async with h:
        stream = h.worker.stream(request(mode="stream"))
        reading = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.01)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
            await reading
        await stream.aclose()
        return await h.rows("SELECT cost_source, upstream_id, settle_at FROM ledger")


def test_a_cancelled_call_is_an_unknown_row_that_is_asked_for_later(run, house, clock):
    rows = run(cut(house(Settling()), under_way()))
    assert rows == [
        {"cost_source": "unknown", "upstream_id": "p-1", "settle_at": clock.now + WAITS[0]}
    ]


def test_a_call_of_which_nothing_was_heard_yet_may_have_been_billed_too(run, house):
    rows = run(cut(house(Settling()), under_way(has_id=False, has_text=False)))
    assert rows == [{"cost_source": "unknown", "upstream_id": None, "settle_at": None}]


def test_what_was_cancelled_before_anybody_was_asked_is_no_row(run, house):
    async def fetching(_request):
        yield Log("downloading")
        await asyncio.Event().wait()

    assert run(cut(house(Settling()), fetching)) == []


def test_a_run_that_took_too_long_may_have_been_billed_whatever_was_heard(run, tmp_path):
    async def work():
        h = House(tmp_path, run_seconds=0.05, providers={"p": Settling()})
        h.pipeline = under_way(has_id=False, has_text=False)
        async with h:
            result = await h.worker.run(request(mode="run"))
            return result.status, await h.rows("SELECT provider, model, cost_source FROM ledger")

    status, rows = run(work())
    assert status == 504
    assert rows == [{"provider": "p", "model": "m", "cost_source": "unknown"}]


def test_a_bill_of_a_call_that_was_refused_is_no_row(run, tmp_path):
    async def no_time(_seconds):
        return None

    async def refused(_request):
        yield Asked(call="c", provider="p", model="m")
        yield Bill(usage=None, provider="p", model="m", call="c")
        raise ProviderUnavailable("busy")

    async def work():
        h = House(tmp_path, sleep=no_time)
        h.pipeline = refused
        async with h:
            await h.worker.run(request(mode="run"))
            return await h.rows("SELECT * FROM ledger")

    assert run(work()) == []
