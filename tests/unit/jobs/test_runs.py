import asyncio
import contextlib

import pytest
from tests.fakes.jobs import request

from telecine.jobs.runs import MAX_CHARACTERS, MAX_LINES, Limit, Run
from telecine.jobs.states import storable
from telecine.models import Delta, Done, Log, Receipt


def new_run():
    return Run(request(), started_at=0, started=0, until=1)


def test_the_answer_is_all_deltas_in_order():
    run = new_run()
    for event in (Delta("a"), Delta(reasoning="hm"), Delta("b"), Done()):
        run.note(event, 0)
    assert '"output":"ab"' in run.success().result.body


def test_a_pipeline_that_just_stops_is_no_success():
    run = new_run()
    run.note(Delta("half"), 0)
    with pytest.raises(RuntimeError):
        run.success()


def test_a_log_without_end_is_cut_and_says_so():
    run = new_run()
    for number in range(MAX_LINES + 50):
        run.note(Log(f"line {number}"), 0)
    lines = run.take_lines()
    assert len(lines) == MAX_LINES
    assert "cut" in lines[-1].message


def test_a_long_line_is_cut():
    run = new_run()
    run.note(Log("x" * 100_000), 0)
    assert len(run.take_lines()[0].message) == MAX_CHARACTERS


def test_lines_given_back_come_before_newer_ones():
    run = new_run()
    run.note(Log("a"), 0)
    lines = run.take_lines()
    run.note(Log("b"), 0)
    run.give_back(lines)
    assert [line.seq for line in run.take_lines()] == [1, 2]


def test_any_text_becomes_storable():
    assert storable("a\0b\ud800c", 100).encode() == "a\N{REPLACEMENT CHARACTER}b?c".encode()
    assert storable("12345", 4) == "123…"


def test_a_receipt_that_can_not_be_written_is_none(caplog):
    run = new_run()
    run.note(Receipt(lambda: {}["missing"]), 0)
    assert run.written_receipt() is None
    assert "can not be written" in caplog.text


async def for_ever():
    await asyncio.Event().wait()


def limited(run, work, seconds=3600):
    """`work` with a Limit of so many seconds from now."""

    async def main():
        limit = Limit(asyncio.get_running_loop().time() + seconds)
        try:
            return await work(limit)
        finally:
            limit.close()

    return run(main())


def test_who_waits_when_time_is_up_is_told(run):
    async def work(limit):
        with pytest.raises(TimeoutError), limit:
            await for_ever()
        assert limit.is_over

    limited(run, work, seconds=0)


def test_who_does_not_wait_when_time_is_up_is_told_at_the_next_wait(run):
    async def work(limit):
        limit.end()
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError), limit:
            await for_ever()

    limited(run, work)


def test_what_is_there_already_is_taken_though_time_is_up(run):
    async def work(limit):
        limit.end()
        with limit:
            answer = await ready()
        await asyncio.sleep(0)
        assert answer == "answer"

    async def ready():
        return "answer"

    limited(run, work)


def test_a_wait_ends_when_somebody_ends_the_time(run):
    async def work(limit):
        asyncio.get_running_loop().call_soon(limit.end)
        with pytest.raises(TimeoutError), limit:
            await for_ever()
        assert asyncio.current_task().cancelling() == 0

    limited(run, work)


def test_a_cancellation_from_elsewhere_stays_one_also_when_time_is_up(run):
    async def work(limit):
        task = asyncio.current_task()

        def both():
            task.cancel()
            limit.end()

        asyncio.get_running_loop().call_soon(both)
        with pytest.raises(asyncio.CancelledError), limit:
            await for_ever()
        assert task.uncancel() == 0

    limited(run, work)


def test_what_is_answered_all_the_same_when_time_is_up_is_kept(run):
    async def stubborn():
        with contextlib.suppress(asyncio.CancelledError):
            await for_ever()
        return "answer"

    async def work(limit):
        with limit:
            answer = await stubborn()
        assert answer == "answer"
        assert asyncio.current_task().cancelling() == 0

    limited(run, work, seconds=0)


def test_waits_within_the_time_share_one_timer(run):
    async def work(limit):
        loop, timers = asyncio.get_running_loop(), []
        start, loop.call_at = loop.call_at, lambda *args: timers.append(args) or start(*args)
        for _ in range(3):
            with limit:
                pass
        assert len(timers) == 1

    limited(run, work)
