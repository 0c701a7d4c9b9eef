"""Crashes, restarts, and stopping gracefully: nothing accepted is lost, nothing ends twice."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.jobs import House, request, until

from telecine.errors import TelecineError
from telecine.jobs.executor import MAX_LOSSES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def house(tmp_path):
    return lambda **options: House(tmp_path, **options)


async def crash(h):
    """As a process that dies: nothing is finished, nothing written any more, only the lock goes."""
    h.db._writer.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    h.db._writer.put = lambda _: None
    await asyncio.sleep(0.01)
    h.executor._unlock()


def leave_running(folder, *ids, losses=0, **columns):
    """Rows as a dead worker leaves them."""
    with closing(sqlite3.connect(folder / "telecine.db")) as connection:
        for job_id in ids:
            connection.execute(
                "UPDATE requests SET state = 'running', attempt = attempt + 1, started_at = 1,"
                " losses = ? WHERE id = ?",
                (losses, job_id),
            )
            for column, value in columns.items():
                connection.execute(
                    f"UPDATE requests SET {column} = ? WHERE id = ?", (value, job_id)
                )
        connection.commit()


def test_a_hundred_jobs_survive_kill_9_and_each_ends_once(run, house, tmp_path):
    """A real process submits and runs them, and is killed in the middle."""
    script = f"""
import asyncio, sys
sys.path[:0] = {[str(ROOT), str(ROOT / "src")]!r}
from pathlib import Path
from tests.fakes.jobs import House
async def main():
    async with House(Path({str(tmp_path)!r}), slots=8) as h:
        ids = await asyncio.gather(*(h.submit("nap") for _ in range(90)))
        ids += await asyncio.gather(*(h.submit("wait") for _ in range(10)))
        print("\\n".join(ids), flush=True)
        await h.pipeline.began(50)
        print("go", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        lines = [child.stdout.readline().strip() for _ in range(101)]
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert lines.pop() == "go"
    assert len(set(lines)) == 100

    async def work():
        async with house(slots=8) as h:
            h.pipeline.go.set()
            jobs = await asyncio.gather(*map(h.ended, lines))
            assert {job.state for job in jobs} == {"succeeded"}
            ends = await h.rows(
                "SELECT request_id, sum(ended_as = 'succeeded') AS n FROM attempts GROUP BY 1"
            )
            assert len(ends) == 100
            assert {row["n"] for row in ends} == {1}
            assert len(await h.rows("SELECT * FROM ledger")) == 100
            assert await h.rows("SELECT * FROM pins") == []

    run(work())


@pytest.mark.parametrize("after", [0, 1, 20, 60])
def test_a_process_that_vanishes_loses_no_accepted_job(run, house, after):
    async def first():
        h = house(slots=4)
        await h.__aenter__()
        ids = await asyncio.gather(*(h.submit("nap") for _ in range(80)))
        await h.pipeline.began(after)
        await crash(h)
        return ids

    async def second(ids):
        async with house(slots=4) as h:
            jobs = await asyncio.gather(*map(h.ended, ids))
            assert {job.state for job in jobs} == {"succeeded"}
            entries = await h.rows("SELECT request_id FROM ledger")
            assert len(entries) == 80

    run(second(run(first())))


def test_an_interrupted_job_runs_again_in_its_old_place(run, house, tmp_path):
    async def first():
        async with house(slots=0) as h:
            return [await h.submit() for _ in range(3)]

    async def second(ids):
        async with house(slots=1) as h:
            jobs = await asyncio.gather(*map(h.ended, ids))
            assert [job.attempt for job in jobs] == [2, 1, 1]
            assert h.pipeline.started == ids
            ends = await h.rows("SELECT ended_as FROM attempts WHERE attempt = 1")
            assert [row["ended_as"] for row in ends].count("lost") == 1

    ids = run(first())
    leave_running(tmp_path, ids[0])
    run(second(ids))


def test_an_interrupted_live_call_has_failed_and_is_never_run_again(run, house, tmp_path):
    async def first():
        async with house() as h:
            await h.worker.run(request(id="a", mode="run"))
            await h.worker.run(request(id="b", mode="stream"))

    async def second():
        async with house() as h:
            rows = await h.rows("SELECT id, state, result_status FROM requests ORDER BY id")
            assert [(r["state"], r["result_status"]) for r in rows] == [("failed", 500)] * 2
            await h.ended(await h.submit())
            assert not {"a", "b"} & set(h.pipeline.started)

    run(first())
    leave_running(tmp_path, "a", "b")
    run(second())


def test_a_job_that_kills_its_worker_again_and_again_has_failed(run, house, tmp_path):
    async def first():
        async with house(slots=0) as h:
            return await h.submit(webhook_url="https://example.org/hook")

    async def second(job_id):
        async with house() as h:
            assert (await h.queue.status(job_id, logs=False)).state == "failed"
            assert (await h.queue.result(job_id)).status == 500
            assert h.pipeline.started == []
            assert len(await h.rows("SELECT * FROM deliveries")) == 1

    job_id = run(first())
    leave_running(tmp_path, job_id, losses=MAX_LOSSES - 1)
    run(second(job_id))


def test_an_interrupted_job_that_was_to_be_cancelled_is_cancelled(run, house, tmp_path):
    async def first():
        async with house(slots=0) as h:
            return await h.submit()

    async def second(job_id):
        async with house() as h:
            assert (await h.queue.status(job_id, logs=False)).state == "cancelled"
            assert h.pipeline.started == []

    job_id = run(first())
    leave_running(tmp_path, job_id, cancel_requested=1)
    run(second(job_id))


def test_a_finish_that_comes_too_late_is_discarded_but_paid_for(run, house, tmp_path):
    async def work():
        async with house() as h:
            job_id = await h.submit("wait")
            await h.pipeline.began(1)
            with closing(sqlite3.connect(tmp_path / "telecine.db")) as other:
                other.execute("UPDATE requests SET attempt = 2")
                other.commit()
            h.pipeline.go.set()
            await until(lambda: not h.executor._running)
            (found,) = await h.rows("SELECT state, attempt, result_body FROM requests")
            assert found == {"state": "running", "attempt": 2, "result_body": None}
            assert await h.rows("SELECT * FROM attempts WHERE attempt = 1") == []
            assert [r["request_id"] for r in await h.rows("SELECT * FROM ledger")] == [job_id]

    run(work())


def test_stopping_lets_running_jobs_finish(run, house):
    async def first():
        async with house(stop_seconds=10) as h:
            job_id = await h.submit("wait")
            await h.pipeline.began(1)
            asyncio.get_running_loop().call_later(0.02, h.pipeline.go.set)
        return job_id

    async def second(job_id):
        async with house() as h:
            job = await h.queue.status(job_id, logs=False)
            assert (job.state, job.attempt) == ("succeeded", 1)

    run(second(run(first())))


def test_stopping_hands_back_what_is_not_done_in_time_unpunished(run, house):
    async def first():
        async with house(slots=2) as h:
            ids = [await h.submit("wait") for _ in range(3)]
            await h.pipeline.began(2)
        return ids

    async def second():
        async with house(slots=0) as h:
            rows = await h.rows("SELECT state, failures, losses FROM requests")
            assert rows == [{"state": "queued", "failures": 0, "losses": 0}] * 3
            ends = await h.rows("SELECT ended_as FROM attempts")
            assert [row["ended_as"] for row in ends] == ["handed_back"] * 2

    async def third(ids):
        async with house() as h:
            h.pipeline.go.set()
            jobs = await asyncio.gather(*map(h.ended, ids))
            assert {job.state for job in jobs} == {"succeeded"}

    ids = run(first())
    run(second())
    run(third(ids))


def test_stopping_starts_nothing_new(run, house):
    async def work():
        async with house(slots=1, stop_seconds=10) as h:
            await h.submit("wait")
            await h.pipeline.began(1)
            await h.submit()
            asyncio.get_running_loop().call_later(0.02, h.pipeline.go.set)
        assert len(h.pipeline.started) == 1

    run(work())


def test_stopping_in_the_middle_of_anything_leaves_nothing_running(run, house, tmp_path):
    async def work(after):
        async with house(slots=4, lock=f"lock{after}") as h:
            for _ in range(10):
                await h.submit("nap")
            for _ in range(after):
                await asyncio.sleep(0.0005)
        with closing(sqlite3.connect(tmp_path / "telecine.db")) as connection:
            states = dict(connection.execute("SELECT state, count(*) FROM requests GROUP BY 1"))
            losses = connection.execute("SELECT sum(losses) FROM requests").fetchone()
        assert set(states) <= {"queued", "succeeded"}
        assert losses == (0,)

    for after in range(12):
        run(work(after))


def test_two_can_not_run_jobs_from_one_folder(run, house):
    async def work():
        async with house():
            with pytest.raises(TelecineError, match=f"process {os.getpid()}"):
                async with house():
                    pass

    run(work())


def test_a_loop_that_dies_stops_the_program_out_loud(run, house):
    async def work():
        async with house() as h:

            async def breaks(*_):
                raise ZeroDivisionError

            h.gate.admit = breaks
            h.gate.ring()
            await asyncio.sleep(10)

    with pytest.raises(ExceptionGroup) as stopped:
        run(work())
    assert stopped.group_contains(ZeroDivisionError)


def test_an_error_of_the_program_itself_passes_through_as_it_is(run, house):
    async def work():
        async with house():
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(work())
