"""What stopping does to live calls and jobs, when what runs has its time and when that is over."""

import asyncio

import pytest
from tests.fakes.jobs import House, request, until

from telecine.errors import Stopped, Stopping
from telecine.models import Caller, Log

MESSAGE = "The server stopped while it was working on this request"


@pytest.fixture
def house(tmp_path, database_url):
    return lambda **options: House(tmp_path, url=database_url, **options)


async def ends(h):
    return [(r["state"], r["error"]) for r in await h.rows("SELECT * FROM requests ORDER BY seq")]


def test_a_stopping_worker_takes_no_new_live_calls(run, house):
    async def work():
        async with house() as h:
            h.worker.stop()
            with pytest.raises(Stopping):
                h.worker.check(Caller("key"))
            with pytest.raises(Stopping):
                await h.worker.run(request(mode="run"))
            with pytest.raises(Stopping):
                await anext(h.worker.stream(request(mode="stream")))
            assert await ends(h) == []

    run(work())


def waiting(h):
    """How many live calls wait for what comes next."""
    return sum(run.limit._waiting is not None for run in h.worker._live.values())


def test_live_calls_go_on_after_the_first_word_and_fail_at_the_second(run, house):
    async def work():
        async with house() as h:
            asked = request("wait", mode="run")
            call = asyncio.create_task(h.worker.run(asked))
            events = h.worker.stream(request("chat", mode="stream"))
            assert await anext(events) == Log("first line")
            assert await anext(events) == Log("second line")
            await h.pipeline.began(2)
            h.worker.stop()
            more = asyncio.create_task(anext(events))
            await until(lambda: waiting(h) == 2)
            assert not call.done()
            h.worker.stop()
            result = await call
            with pytest.raises(Stopped):
                await more
            # Perhaps it was billed: fal's client would send a 503 again by itself.
            assert (result.status, result.headers["x-fal-needs-retry"]) == (500, "false")
            assert await ends(h) == [("failed", MESSAGE)] * 2
            assert not h.gate._inside
            assert asked.id in h.pipeline.stopped

    run(work())


def test_a_live_call_that_is_not_done_when_stopped_for_the_second_time_gets_no_further(run, house):
    async def work():
        async with house() as h:
            events = h.worker.stream(request("chat", mode="stream"))
            await anext(events)  # and nobody reads on
            h.worker.stop()
            h.worker.stop()
            with pytest.raises(Stopped):
                await anext(events)
            assert await ends(h) == [("failed", MESSAGE)]

    run(work())


def test_a_live_call_that_waits_to_be_tried_again_ends_too(run, house):
    async def never(_):
        await asyncio.Event().wait()

    async def work():
        async with house(sleep=never) as h:
            call = asyncio.create_task(h.worker.run(request("busy-1", mode="run")))
            await until(lambda: waiting(h) and h.pipeline.stopped == [] and h.pipeline.tries)
            await until(lambda: not h.pipeline.running.total())
            h.worker.stop()
            h.worker.stop()
            assert (await call).status == 503

    run(work())


def test_the_second_word_hands_jobs_back_at_once(run, house):
    async def work():
        async with house(stop_seconds=3600) as h:
            await h.submit("wait")
            await h.pipeline.began(1)
            h.worker.stop()
            h.worker.stop()
            await until(lambda: not h.executor._running)
            assert await ends(h) == [("queued", None)]

    run(work())


def test_leaving_in_a_hurry_hands_jobs_back_too(run, house):
    async def leaving(h):
        async with h:
            await h.submit("wait")
            await h.pipeline.began(1)

    async def work():
        h = house(stop_seconds=3600)
        task = asyncio.create_task(leaving(h))
        await until(lambda: h.pipeline.started and h.worker._stopping)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with house(slots=0) as later:
            assert await ends(later) == [("queued", None)]

    run(work())


def test_stopping_for_the_third_time_is_nothing_new(run, house):
    async def work():
        async with house() as h:
            for _ in range(3):
                h.worker.stop()

    run(work())
