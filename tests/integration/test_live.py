"""Live calls (run, stream): rows, retries before the first text, hanging up, bills."""

import asyncio
import json
from contextlib import aclosing
from decimal import Decimal

import pytest
from tests.fakes.jobs import House, request, until

from telecine.errors import InputError, LimitReached, TelecineError
from telecine.models import Caller, Delta, Done, Log, Receipt, Usage


@pytest.fixture
def embedded(tmp_path):
    """For what only one that is alone knows at once."""
    return lambda **options: House(tmp_path, **options)


@pytest.fixture
def house(tmp_path, database_url):
    return lambda **options: House(tmp_path, url=database_url, **options)


def live(do="answer", mode="run", **more):
    return request(do, mode=mode, **more)


async def row(h, asked):
    (found,) = await h.rows("SELECT * FROM requests WHERE id = :id", id=asked.id)
    return found


async def no_sleep(_):
    await asyncio.sleep(0)


def test_a_run_is_a_row_with_its_answer_and_a_ledger_entry(run, house):
    async def work():
        async with house() as h:
            asked = live("chat")
            h.pipeline.go.set()
            result = await h.worker.run(asked)
            found = await row(h, asked)
            assert (found["mode"], found["state"], found["attempt"]) == ("run", "succeeded", 1)
            assert found["result_body"] == result.body
            assert json.loads(found["receipt"])["provider"] == "fake"
            assert len(await h.rows("SELECT * FROM ledger")) == 1
            assert len(await h.rows("SELECT * FROM logs")) == 3

    run(work())


def test_a_run_that_fails_comes_back_as_its_answer(run, house):
    async def work():
        async with house() as h:
            asked = live("fail")
            assert (await h.worker.run(asked)).status == 422
            assert (await row(h, asked))["state"] == "failed"
            assert (await h.worker.run(live("bug"))).status == 500

    run(work())


def test_a_receipt_that_can_not_be_written_leaves_nothing_behind_as_running(run, house):
    async def pipeline(_):
        yield Receipt(lambda: {}["missing"])
        raise InputError("no")

    async def work():
        h = house()
        h.pipeline = pipeline
        async with h:
            assert (await h.worker.run(request(mode="run"))).status == 422
            assert [row["state"] for row in await h.rows("SELECT state FROM requests")] == [
                "failed"
            ]
            assert not h.gate._inside

    run(work())


def test_a_stream_gives_the_events_and_done_last(run, house):
    async def work():
        async with house() as h:
            asked = live(mode="stream")
            events = [event async for event in h.worker.stream(asked)]
            assert [e.text for e in events if isinstance(e, Delta)] == ["The ", "answer", "."]
            assert events[-1] == Done("stop")
            assert (await row(h, asked))["state"] == "succeeded"

    run(work())


def test_a_stream_that_fails_raises_what_happened(run, house):
    async def work():
        async with house() as h:
            for do, error in (("fail", InputError), ("bug", TelecineError)):
                asked = live(do, mode="stream")
                with pytest.raises(error):
                    async for _ in h.worker.stream(asked):
                        pass
                assert (await row(h, asked))["state"] == "failed"

    run(work())


def test_closing_a_stream_stops_the_work_and_marks_the_row(run, house):
    async def work():
        async with house() as h:
            asked = live("chat", mode="stream")
            async with aclosing(h.worker.stream(asked)) as events:
                assert await anext(events) == Log("first line")
            assert h.pipeline.stopped == [asked.id]
            found = await row(h, asked)
            assert (found["state"], found["result_status"]) == ("cancelled", 499)
            assert not h.gate._inside

    run(work())


def test_a_reader_who_stops_at_done_has_not_cancelled(run, house):
    async def work():
        async with house() as h:
            asked = live(mode="stream")
            async with aclosing(h.worker.stream(asked)) as events:
                async for event in events:
                    if isinstance(event, Done):
                        break
            assert (await row(h, asked))["state"] == "succeeded"

    run(work())


def test_a_caller_who_hangs_up_stops_the_work(run, house):
    async def work():
        async with house() as h:
            asked = live("wait")
            call = asyncio.create_task(h.worker.run(asked))
            await h.pipeline.began(1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert h.pipeline.stopped == [asked.id]
            assert (await row(h, asked))["state"] == "cancelled"
            assert not h.gate._inside

    run(work())


def test_hanging_up_while_a_bill_is_written_still_writes_it(run, house):
    async def work():
        async with house() as h:
            h.pipeline.cost = Usage(total_tokens=3, cost=Decimal("0.5"), cost_source="billed")
            asked = live("nap")
            call = asyncio.create_task(h.worker.run(asked))
            await until(lambda: h.worker._saving)
            call.cancel()
            await asyncio.wait([call])
            assert (await row(h, asked))["state"] == "succeeded"
            assert len(await h.rows("SELECT * FROM ledger")) == 1

    run(work())


@pytest.mark.parametrize(
    ("source", "is_awaited"), [("billed", True), ("computed", True), ("free", False)]
)
def test_only_a_bill_makes_the_caller_wait_for_the_disk(run, house, source, is_awaited):
    async def work():
        async with house() as h:
            h.pipeline.cost = Usage(total_tokens=3, cost=Decimal("0.5"), cost_source=source)
            waited = []
            write = h.db.write

            async def spy(operation):
                waited.append(operation)
                return await write(operation)

            h.db.write = spy
            await h.worker.run(live())
            assert bool(waited) == is_awaited

    run(work())


def test_a_busy_provider_is_asked_twice_more_before_the_first_text(run, house):
    async def work():
        async with house(sleep=no_sleep) as h:
            assert (await h.worker.run(live("busy-2"))).status == 200
            refused = await h.worker.run(live("busy-3"))
            assert refused.status == 503
            events = [event async for event in h.worker.stream(live("busy-1", mode="stream"))]
            assert events[-1] == Done("stop")

    run(work())


def test_a_live_caller_is_told_to_come_back_rather_than_kept_waiting(run, house):
    async def work():
        async with house(sleep=no_sleep) as h:
            h.pipeline.retry_after = 42
            asked = live("busy-1")
            result = await h.worker.run(asked)
            assert (result.status, result.headers["retry-after"]) == (503, "42")
            assert h.pipeline.tries[asked.id] == 1

    run(work())


def test_a_retry_past_the_start_deadline_is_the_callers_own_timeout(run, house):
    async def work():
        async with house(sleep=no_sleep, jitter=lambda: 1.0) as h:
            result = await h.worker.run(live("busy-1"), start_seconds=0.1)
            assert result.status == 504
            assert result.headers["x-fal-request-timeout-type"] == "user"

    run(work())


def test_a_refused_live_call_leaves_no_row(run, house):
    async def work():
        async with house(per_key=1) as h:
            call = asyncio.create_task(h.worker.run(live("wait")))
            await h.pipeline.began(1)
            with pytest.raises(LimitReached):
                await anext(h.worker.stream(live(mode="stream")))
            assert len(await h.rows("SELECT * FROM requests")) == 1
            h.pipeline.go.set()
            await call

    run(work())


def test_a_live_call_keeps_no_input_if_its_caller_wants_so(run, house):
    async def work():
        async with house() as h:
            asked = live()
            await h.worker.run(asked, store_io=False)
            assert (await row(h, asked))["input"] is None

    run(work())


def test_a_key_at_its_limit_is_told_so_before_it_sends_anything(run, embedded):
    async def work():
        async with embedded(per_key=1) as h:
            h.worker.check(Caller("key"))
            first = asyncio.create_task(h.worker.run(live("wait")))
            await h.pipeline.began(1)
            with pytest.raises(LimitReached):
                h.worker.check(Caller("key"))
            h.worker.check(Caller("another key"))
            h.pipeline.go.set()
            await first
            h.worker.check(Caller("key"))

    run(work())
