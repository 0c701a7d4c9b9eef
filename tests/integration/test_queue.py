"""The queue's life on a real database: submit, order, limits, status, cancel, retries."""

import asyncio
import contextlib
import hashlib
import json
import sqlite3
from dataclasses import replace

import pytest
from tests.fakes.jobs import House, TwoNodes, request, until

from telecine.errors import BadRequest, LimitReached, NotFound
from telecine.jobs import gate
from telecine.jobs.gate import Lane
from telecine.models import Attachment


@pytest.fixture
def house(tmp_path, database_url):
    """Embedded on SQLite, or two nodes on PostgreSQL."""
    if database_url is None:
        return lambda **options: House(tmp_path, **options)
    return lambda **options: TwoNodes(tmp_path, database_url, **options)


@pytest.fixture
def embedded(tmp_path):
    """For what is SQLite's alone: a full disk, and other processes at the same file."""
    return lambda **options: House(tmp_path, **options)


class Clock:
    """Time that moves only when it is told to, or when somebody sleeps."""

    def __init__(self):
        self.now = 1_000_000.0
        self.slept = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


# ---------------------------------------------------------------- submit and result


def test_a_job_is_answered_as_a_live_call_would_be(run, house):
    async def work():
        async with house() as h:
            job_id = await h.submit()
            job = await h.ended(job_id)
            assert (job.state, job.attempt) == ("succeeded", 1)
            assert job.inference_seconds > 0
            result = await h.queue.result(job_id)
            assert json.loads(result.body)["output"] == "The answer."
            live = await h.worker.run(request(mode="run"))
            assert live.body == result.body

    run(work())


def test_a_job_that_fails_keeps_its_own_status_and_body(run, house):
    async def work():
        async with house() as h:
            job_id = await h.submit("fail")
            job = await h.ended(job_id)
            assert (job.state, job.error, job.error_type) == (
                "failed",
                "There is no video.",
                "value_error",
            )
            result = await h.queue.result(job_id)
            assert result.status == 422
            assert json.loads(result.body)["detail"][0]["loc"] == ["body", "video_urls"]

    run(work())


def test_a_bug_is_a_bare_500_and_a_story_in_the_log(run, house, caplog):
    async def work():
        async with house() as h:
            job_id = await h.submit("bug")
            await h.ended(job_id)
            result = await h.queue.result(job_id)
            assert (result.status, json.loads(result.body)) == (
                500,
                {"detail": "Internal Server Error"},
            )

    run(work())
    assert "ZeroDivisionError" in caplog.text


def test_submit_accepts_documents_that_make_no_sense(run, house):
    async def work():
        async with house() as h:
            for document in (None, [], "text", {"model": 5}, {"model": "\ud800\0"}):
                job_id = (await h.queue.submit(replace(request(), document=document))).id
                assert (await h.ended(job_id)).state == "failed"

    run(work())


def test_unknown_requests_are_not_found(run, house):
    async def work():
        async with house() as h:
            for ask in (h.queue.result, h.queue.cancel):
                with pytest.raises(NotFound):
                    await ask("none")
            with pytest.raises(NotFound):
                await h.queue.status("none", logs=True)
            with pytest.raises(NotFound):
                await anext(h.queue.watch("none", logs=True))

    run(work())


def test_a_live_call_is_no_job(run, house):
    async def work():
        async with house() as h:
            live = request(mode="run")
            await h.worker.run(live)
            assert await h.rows("SELECT 1 FROM requests WHERE id = :id", id=live.id)
            with pytest.raises(NotFound):
                await h.queue.result(live.id)

    run(work())


def test_the_result_of_an_unfinished_job_is_refused_in_the_words_clients_compare(run, house):
    async def work():
        async with house() as h:
            job_id = await h.submit("wait")
            with pytest.raises(BadRequest, match=r"^Request is still in progress$"):
                await h.queue.result(job_id)

    run(work())


def test_the_same_idempotency_key_answers_with_the_first_job(run, house):
    clock = Clock()

    async def work():
        async with house(clock=clock) as h:
            first = await h.submit("wait", idempotency_key="i")
            assert await h.submit(idempotency_key="i") == first
            assert await h.submit(idempotency_key="i", key="somebody else") != first
            clock.now += 25 * 3600
            assert await h.submit(idempotency_key="i") != first

    run(work())


def test_two_at_once_with_one_idempotency_key_make_one_job(run, house):
    async def work():
        async with house(slots=0) as h:
            ids = await asyncio.gather(*(h.submit(idempotency_key="i") for _ in range(10)))
            assert len(set(ids)) == 1
            assert len(await h.rows("SELECT 1 FROM requests")) == 1
            assert h.gate._waiting == 1

    run(work())


# ---------------------------------------------------------------- bytes


async def stored(h):
    keys = h.storage.keys()
    return [key async for key in keys]


def spooled(folder, content=b"video"):
    path = folder / "spooled"
    path.write_bytes(content)
    return Attachment(
        content_type="video/mp4",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        path=path,
    )


def test_bytes_that_came_along_are_kept_until_the_job_ends(run, house, tmp_path):
    async def work():
        async with house() as h:
            offered = request("wait", attachments={"x": spooled(tmp_path)})
            await h.queue.submit(offered)
            (pin,) = await h.rows("SELECT * FROM pins")
            await h.pipeline.began(1)
            assert await h.storage.size(pin["object"]) == 5
            h.pipeline.go.set()
            await h.ended(offered.id)
            assert await h.rows("SELECT * FROM pins") == []

    run(work())


def test_the_worker_gets_the_bytes_as_an_object(run, house, tmp_path):
    async def work():
        async with house() as h:
            seen = []
            do = h.pipeline._do

            def spy(asked, prompt):
                seen.append(asked)
                return do(asked, prompt)

            h.pipeline._do = spy
            problem = Attachment(content_type="x", problem="not base64")
            offered = request(attachments={"x": spooled(tmp_path), "y": problem})
            await h.queue.submit(offered)
            await h.ended(offered.id)
            video = seen[0].attachments["x"]
            assert (video.path, video.bytes, video.found) == (None, 5, "data")
            assert await h.storage.size(video.object) == 5
            assert seen[0].attachments["y"] == problem
            assert seen[0].document == offered.document

    run(work())


def test_the_same_bytes_twice_are_stored_once(run, house, tmp_path):
    async def work():
        async with house(slots=0) as h:
            for _ in range(2):
                await h.queue.submit(request(attachments={"x": spooled(tmp_path)}))
            objects = await h.rows("SELECT key FROM objects")
            assert await stored(h) == [objects[0]["key"]]
            assert len(await h.rows("SELECT * FROM pins")) == 2

    run(work())


def test_a_submit_that_the_disk_refuses_leaves_its_bytes_to_the_sweep_and_no_place(
    run, embedded, tmp_path
):
    """After a commit that failed only a later look at the rows can tell whether it is there."""

    async def work():
        async with embedded(slots=0) as h:
            full = FullDisk(h.db)
            with pytest.raises(Exception, match="disk is full"):
                await h.queue.submit(request(attachments={"x": spooled(tmp_path)}))
            full.free()
            assert len(await stored(h)) == 1
            assert h.gate._waiting == 0
            assert await h.rows("SELECT 1 FROM requests") == []

    run(work())


def test_a_submit_that_is_cut_off_keeps_the_bytes_that_its_row_may_point_at(run, house, tmp_path):
    async def work():
        async with house(slots=0) as h:
            write, written = h.db.write, asyncio.Event()

            async def slow_write(operation):
                done = await write(operation)
                if asyncio.current_task() in h.queue._accepting:
                    written.set()
                    await asyncio.Event().wait()
                return done

            h.db.write = slow_write
            submit = asyncio.create_task(
                h.queue.submit(request(attachments={"x": spooled(tmp_path)}))
            )
            await written.wait()
            (accepting,) = h.queue._accepting
            accepting.cancel()
            submit.cancel()
            await asyncio.wait([accepting, submit])
            assert len(await stored(h)) == len(await h.rows("SELECT 1 FROM pins")) == 1

    run(work())


def test_an_uploaded_file_that_is_named_is_pinned(run, house, tmp_path):
    class Spooled:
        path, bytes, sha256 = tmp_path / "upload", 5, "s"

        def close(self): ...
        def discard(self): ...

    async def work():
        async with house() as h:
            Spooled.path.write_bytes(b"video")
            file = await h.files.keep("key", "a.mp4", "video/mp4", None, Spooled())
            url = f"https://fal.media{file.path}"
            for named in ({"video_urls": [url, 7, "https://example.org/x"]}, {"video_url": url}):
                job_id = await h.submit("wait", **named)
                pins = await h.rows("SELECT * FROM pins WHERE request_id = :id", id=job_id)
                assert [pin["object"] for pin in pins] == [file.object or pins[0]["object"]]

    run(work())


# ---------------------------------------------------------------- the order of the gate


def test_normal_overtakes_low(run, house):
    async def work():
        async with house(slots=1) as h:
            first = await h.submit("wait")
            await h.pipeline.began(1)
            low = await h.submit(priority="low")
            normal = await h.submit()
            h.pipeline.go.set()
            await asyncio.gather(h.ended(low), h.ended(normal))
            assert h.pipeline.started == [first, normal, low]

    run(work())


def test_a_key_with_many_jobs_does_not_hold_up_another(run, house):
    async def work():
        async with house(slots=1) as h:
            await h.submit("wait", key="greedy")
            await h.pipeline.began(1)
            greedy = [await h.submit(key="greedy") for _ in range(20)]
            modest = await h.submit(key="modest")
            h.pipeline.go.set()
            await h.ended(modest)
            assert h.pipeline.started.index(modest) == 1
            await asyncio.gather(*map(h.ended, greedy))

    run(work())


def engine(model):
    """A lane for all that begins with "local/": one runs, one is prepared."""
    return Lane("local", 2, counts_live=False) if model.startswith("local/") else Lane(model)


def test_a_batch_on_a_narrow_lane_does_not_hold_up_another_keys_single_job(run, house):
    async def work():
        async with house(slots=16, lane=engine) as h:
            batch = [
                await h.submit("wait", key="a", model=f"local/{number % 3}") for number in range(8)
            ]
            await h.pipeline.began(2)
            single = await h.submit("wait", key="b", model="local/0")
            elsewhere = await h.submit("wait", key="a", model="echo/echo")
            await h.pipeline.began(3)
            assert set(h.pipeline.started) == {batch[0], batch[1], elsewhere}
            await h.queue.cancel(batch[0])
            await h.pipeline.began(4)
            assert h.pipeline.started[3] == single
            h.pipeline.go.set()
            await asyncio.gather(*map(h.ended, [*batch, single, elsewhere]))
            assert sorted(h.pipeline.started) == sorted([*batch, single, elsewhere])

    run(work())


def test_a_narrow_lane_is_never_overfull_and_its_queue_goes_on_beside_live_calls(run, house):
    async def work():
        async with house(slots=16, lane=engine) as h:
            live = [
                asyncio.create_task(
                    h.worker.run(request("wait", mode="run", key="live", model="local/live"))
                )
                for _ in range(5)
            ]
            await h.pipeline.began(5)
            ids = [await h.submit("nap", key=f"k{n % 3}", model="local/a") for n in range(20)]
            await asyncio.gather(*map(h.ended, ids))
            assert h.pipeline.most_models["local/a"] <= 2
            h.pipeline.go.set()
            await asyncio.gather(*live)

    run(work())


@pytest.mark.parametrize("seed", range(3))
def test_limits_hold_in_bursts_of_live_calls_and_jobs(run, house, seed):
    async def work():
        async with house(slots=7, per_key=3, lane=lambda model: Lane(model, 4)) as h:
            jobs = [
                asyncio.create_task(
                    h.submit("nap", key=f"k{(number + seed) % 5}", model=f"m{number % 3}")
                )
                for number in range(120)
            ]
            calls = [
                asyncio.create_task(
                    h.worker.run(request("nap", mode="run", key=f"k{number % 5}", model="m9"))
                )
                for number in range(60)
            ]
            done = await asyncio.gather(*calls, return_exceptions=True)
            ids = await asyncio.gather(*jobs)
            await asyncio.gather(*map(h.ended, ids))
            ran = [call for call in done if not isinstance(call, LimitReached)]
            assert all(call.status == 200 for call in ran)
            assert len(h.pipeline.started) == len(set(h.pipeline.started)) == 120 + len(ran)
            most = h.pipeline.most
            assert max(most[f"k{number}"] for number in range(5)) <= 3
            assert max(h.pipeline.most_models[f"m{number}"] for number in range(3)) <= 4
            assert not h.gate._inside
            await until(lambda: not h.gate._per_key)

    run(work())


def test_slots_are_never_exceeded(run, house):
    async def work():
        async with house(slots=3) as h:
            ids = await asyncio.gather(*(h.submit("nap", key=f"k{n % 7}") for n in range(100)))
            await asyncio.gather(*map(h.ended, ids))
            assert h.pipeline.most[None] <= 3

    run(work())


def test_in_a_rush_submits_go_first_and_the_jobs_follow(run, embedded, monkeypatch):
    monkeypatch.setattr(gate, "RUSH_SECONDS", 3600)
    monkeypatch.setattr(gate, "STEP_SECONDS", 0.5)
    monkeypatch.setattr(gate, "LONGEST_STEP_SECONDS", 3600)
    monkeypatch.setattr(gate, "BUSY", -1)

    async def work():
        async with embedded(slots=50) as h:
            ids = [await h.submit("wait") for _ in range(50)]
            assert h.pipeline.running.total() < 25
            monkeypatch.setattr(gate, "BUSY", 100)
            h.pipeline.go.set()
            await asyncio.gather(*map(h.ended, ids))

    run(work())


def test_jobs_start_although_a_rush_does_not_end(run, embedded, monkeypatch):
    monkeypatch.setattr(gate, "RUSH_SECONDS", 3600)
    monkeypatch.setattr(gate, "BUSY", -1)
    run(starts_in_a_rush(embedded))


def test_jobs_do_not_wait_for_a_rush_that_leaves_the_processor_time(run, embedded, monkeypatch):
    monkeypatch.setattr(gate, "RUSH_SECONDS", 3600)
    monkeypatch.setattr(gate, "LONGEST_STEP_SECONDS", 3600)
    monkeypatch.setattr(gate, "BUSY", 100)
    run(starts_in_a_rush(embedded))


async def starts_in_a_rush(embedded):
    async with embedded(slots=50) as h:
        for _ in range(gate.RUSH):
            await h.submit()
        last = await h.submit("wait")
        while (await h.queue.status(last, logs=False)).state == "queued":
            await h.submit()
        h.pipeline.go.set()


def test_a_live_call_over_the_limit_is_told_the_limit(run, house):
    async def work():
        async with house(per_key=1) as h:
            await h.submit("wait")
            await h.pipeline.began(1)
            with pytest.raises(LimitReached) as refused:
                await h.worker.run(request(mode="run"))
            assert refused.value.message == "Reached concurrent requests limit of 1"
            assert refused.value.type == "concurrent_requests_limit"
            assert refused.value.data == {"limit": 1}
            assert (await h.worker.run(request(mode="run", key="other"))).status == 200

    run(work())


def test_a_job_waits_while_a_live_call_uses_up_the_limit(run, house):
    async def work():
        async with house(per_key=1) as h:
            call = asyncio.create_task(h.worker.run(request("wait", mode="run")))
            await h.pipeline.began(1)
            job_id = await h.submit()
            other = await h.submit(key="other")
            await h.ended(other)
            assert (await h.queue.status(job_id, logs=False)).state == "queued"
            h.pipeline.go.set()
            await call
            await h.ended(job_id)

    run(work())


# ---------------------------------------------------------------- positions and depth


def test_positions_count_what_starts_before(run, house):
    async def work():
        async with house(slots=1) as h:
            await h.submit("wait", key="a")
            await h.pipeline.began(1)
            a = [await h.submit("wait", key="a") for _ in range(3)]
            low = await h.submit("wait", key="a", priority="low")
            b = [await h.submit("wait", key="b") for _ in range(2)]

            async def position(job_id):
                return (await h.queue.status(job_id, logs=False)).queue_position

            in_line = [b[0], a[0], b[1], a[1], a[2], low]
            assert [await position(job_id) for job_id in in_line] == list(range(6))
            for job_id in in_line[:2]:
                await h.queue.cancel(job_id)
            assert [await position(job_id) for job_id in in_line[2:]] == list(range(4))

    run(work())


def test_the_position_is_the_order_in_which_they_start(run, house):
    async def work():
        async with house(slots=1) as h:
            await h.submit("wait", key="k0")
            await h.pipeline.began(1)
            ids = [await h.submit(key=f"k{n * n % 5}") for n in range(24)]
            positions = {}
            for job_id in ids:
                positions[job_id] = (await h.queue.status(job_id, logs=False)).queue_position
            assert sorted(positions.values()) == list(range(24))
            h.pipeline.go.set()
            await asyncio.gather(*map(h.ended, ids))
            assert h.pipeline.started[1:] == sorted(ids, key=positions.get)

    run(work())


def test_a_deep_queue_still_tells_a_position(run, house, monkeypatch):
    monkeypatch.setattr("telecine.jobs.queue.EXACT_POSITIONS", 5)

    async def work():
        async with house(slots=0) as h:
            ids = [await h.submit() for _ in range(10)]
            job = await h.queue.status(ids[-1], logs=False)
            assert job.queue_position == 9

    run(work())


def test_a_full_queue_refuses(run, house):
    async def work():
        async with house(slots=0, depth=5) as h:
            results = await asyncio.gather(*(h.submit() for _ in range(9)), return_exceptions=True)
            refused = [r for r in results if isinstance(r, LimitReached)]
            assert len(refused) == 4
            assert {error.type for error in refused} == {"queue_full"}
            accepted = [r for r in results if isinstance(r, str)]
            await h.queue.cancel(accepted[0])
            await h.submit()

    run(work())


def test_the_length_that_a_caller_accepts_is_kept(run, house):
    async def work():
        async with house(slots=1) as h:
            await h.submit("wait", max_queue_length=0)  # starts at once: no queue
            await h.pipeline.began(1)
            with pytest.raises(LimitReached):
                await h.submit(max_queue_length=0)
            await h.submit(max_queue_length=1)
            with pytest.raises(LimitReached):
                await h.submit(max_queue_length=1)

    run(work())


# ---------------------------------------------------------------- status, logs, watch


def test_who_accepts_no_queue_is_taken_while_there_is_room_for_all_that_come(run, embedded):
    async def work():
        async with embedded(slots=32) as h:
            ids = await asyncio.gather(*(h.submit(max_queue_length=0) for _ in range(24)))
            await asyncio.gather(*map(h.ended, ids))

    run(work())


def test_logs_show_while_it_runs_and_are_whole_in_the_end(run, house):
    async def work():
        async with house() as h:
            job_id = await h.submit("chat")
            async for job in h.queue.watch(job_id, logs=True):
                if job.logs:
                    break
            job = await h.queue.status(job_id, logs=True)
            assert job.state == "running"
            assert [line.message for line in job.logs] == ["first line", "second line"]
            h.pipeline.go.set()
            await h.ended(job_id)
            job = await h.queue.status(job_id, logs=True)
            assert [line.message for line in job.logs][-1] == "last line"
            assert (await h.queue.status(job_id, logs=False)).logs == []

    run(work())


def test_a_watcher_sees_every_line_once_and_the_end_last(run, house):
    async def work():
        async with house() as h:
            job_id = await h.submit("chat")
            jobs = []
            async for job in h.queue.watch(job_id, logs=True):
                jobs.append(job)
                if job.logs:
                    h.pipeline.go.set()
            lines = [line.message for job in jobs for line in job.logs]
            assert lines == ["first line", "second line", "last line"]
            assert jobs[-1].state == "succeeded"
            assert [job.state for job in jobs[:-1]] == sorted(
                (job.state for job in jobs[:-1]), key=["queued", "running"].index
            )

    run(work())


def test_watching_an_ended_job_gives_it_once(run, house):
    async def work():
        async with house() as h:
            job_id = await h.submit()
            await h.ended(job_id)
            assert [job.state async for job in h.queue.watch(job_id, logs=True)] == ["succeeded"]

    run(work())


def test_a_watcher_sees_what_another_process_did(run, embedded, tmp_path, monkeypatch):
    monkeypatch.setattr("telecine.jobs.queue.WATCH_SECONDS", 0.01)

    async def work():
        async with embedded(slots=0) as h:
            job_id = await h.submit()
            states = h.queue.watch(job_id, logs=False)
            await anext(states)
            with contextlib.closing(sqlite3.connect(tmp_path / "telecine.db")) as other:
                other.execute("UPDATE requests SET state = 'cancelled'")
                other.commit()
            assert [job.state async for job in states] == ["cancelled"]

    run(work())


# ---------------------------------------------------------------- cancel


def test_a_waiting_job_is_cancelled_at_once_and_never_runs(run, house):
    async def work():
        async with house(slots=1) as h:
            first = await h.submit("wait")
            await h.pipeline.began(1)
            job_id = await h.submit(webhook_url="https://example.org/hook")
            assert await h.queue.cancel(job_id)
            job = await h.queue.status(job_id, logs=False)
            assert (job.state, job.error_type) == ("cancelled", "client_cancelled")
            result = await h.queue.result(job_id)
            assert (result.status, json.loads(result.body)["error_type"]) == (
                499,
                "client_cancelled",
            )
            assert len(await h.rows("SELECT * FROM deliveries")) == 1
            h.pipeline.go.set()
            await h.ended(first)
            await h.ended(await h.submit())
            assert job_id not in h.pipeline.started

    run(work())


def test_cancelling_a_running_job_stops_its_pipeline(run, house):
    async def work():
        async with house() as h:
            job_id = await h.submit("wait")
            await h.pipeline.began(1)
            assert await h.queue.cancel(job_id)
            assert (await h.ended(job_id)).state == "cancelled"
            assert h.pipeline.stopped == [job_id]
            assert (await h.queue.result(job_id)).status == 499

    run(work())


def test_a_finished_job_can_not_be_cancelled(run, house):
    async def work():
        async with house() as h:
            job_id = await h.submit()
            await h.ended(job_id)
            assert await h.queue.cancel(job_id) is False
            assert (await h.queue.result(job_id)).status == 200

    run(work())


def test_a_job_cancelled_at_any_moment_ends_once(run, house):
    async def work():
        async with house(slots=2) as h:
            ids = [await h.submit("nap") for _ in range(40)]
            await asyncio.gather(*map(h.queue.cancel, ids[::2]), *map(h.queue.cancel, ids[::4]))
            jobs = await asyncio.gather(*map(h.ended, ids))
            assert {job.state for job in jobs[1::2]} == {"succeeded"}
            assert {job.state for job in jobs[::2]} <= {"succeeded", "cancelled"}
            assert len(h.pipeline.started) == len(set(h.pipeline.started))
            assert not h.gate._inside

    run(work())


def test_a_retry_that_waits_can_be_cancelled(run, house):
    async def work():
        async with house() as h:
            h.pipeline.retry_after = 600
            job_id = await h.submit("busy-1")
            async for job in h.queue.watch(job_id, logs=False):
                if (job.state, job.attempt) == ("queued", 1):
                    assert await h.queue.cancel(job_id)
            assert job.state == "cancelled"
            assert h.gate._waiting == 0

    run(work())


def test_a_cancellation_from_another_process_reaches_the_pipeline(
    run, embedded, tmp_path, monkeypatch
):
    monkeypatch.setattr("telecine.jobs.gate.POLL_SECONDS", 0.01)

    async def work():
        async with embedded() as h:
            job_id = await h.submit("wait")
            await h.pipeline.began(1)
            with contextlib.closing(sqlite3.connect(tmp_path / "telecine.db")) as other:
                other.execute("UPDATE requests SET cancel_requested = 1")
                other.commit()
            assert (await h.ended(job_id)).state == "cancelled"
            assert h.pipeline.stopped == [job_id]

    run(work())


# ---------------------------------------------------------------- deadlines


def test_a_job_that_does_not_start_in_time_ends_though_nobody_looks(run, house):
    async def work():
        async with house(slots=1) as h:
            await h.submit("wait")
            await h.pipeline.began(1)
            job_id = await h.submit(start_seconds=0.02)
            job = await h.ended(job_id)
            assert (job.state, job.error_type) == ("failed", "request_timeout")
            result = await h.queue.result(job_id)
            assert result.status == 504
            assert result.headers["x-fal-request-timeout-type"] == "user"
            assert job_id not in h.pipeline.started

    run(work())


def test_a_job_that_started_in_time_may_take_longer(run, house):
    async def work():
        async with house() as h:
            job_id = await h.submit("busy-1", start_seconds=0.2)
            assert (await h.ended(job_id)).state == "succeeded"

    run(work())


def test_a_run_that_takes_too_long_is_stopped(run, house):
    async def work():
        async with house(run_seconds=0.02) as h:
            job_id = await h.submit("wait")
            job = await h.ended(job_id)
            assert (job.state, job.error_type) == ("failed", "generation_timeout")
            assert h.pipeline.stopped == [job_id]
            assert (await h.worker.run(request("wait", mode="run"))).status == 504

    run(work())


# ---------------------------------------------------------------- retries


def no_wait(monkeypatch):
    monkeypatch.setattr("telecine.jobs.worker.FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setattr("telecine.jobs.worker.LONGEST_RETRY_SECONDS", 0.002)


def test_a_busy_provider_is_asked_again(run, house, monkeypatch):
    no_wait(monkeypatch)

    async def work():
        async with house() as h:
            job_id = await h.submit("busy-9")
            job = await h.ended(job_id)
            assert (job.state, job.attempt) == ("succeeded", 10)
            ends = await h.rows("SELECT ended_as FROM attempts ORDER BY attempt")
            assert [row["ended_as"] for row in ends] == ["retried"] * 9 + ["succeeded"]
            logs = (await h.queue.status(job_id, logs=True)).logs
            assert "trying again" in logs[0].message

    run(work())


def test_after_ten_attempts_it_has_failed(run, house, monkeypatch):
    no_wait(monkeypatch)

    async def work():
        async with house() as h:
            job_id = await h.submit("busy-10")
            job = await h.ended(job_id)
            assert (job.state, job.attempt) == ("failed", 10)
            assert (await h.queue.result(job_id)).status == 503

    run(work())


def test_who_wants_no_retry_gets_none(run, house):
    async def work():
        async with house() as h:
            job_id = await h.submit("busy-1", no_retry=True)
            assert (await h.ended(job_id)).state == "failed"

    run(work())


def test_the_wait_doubles_up_to_a_minute_and_heeds_the_provider(run, house):
    from telecine.errors import ProviderUnavailable

    async def work():
        async with house(jitter=lambda: 1.0) as h:
            plain = ProviderUnavailable("busy")
            waits = [h.worker._retry_seconds(n, plain) for n in range(1, 11)]
            assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
            asked = ProviderUnavailable("busy", retry_after_seconds=90)
            assert h.worker._retry_seconds(1, asked) == 90
            absurd = ProviderUnavailable("busy", retry_after_seconds=1e9)
            assert h.worker._retry_seconds(1, absurd) == 3600

    run(work())


def test_a_waiting_retry_gives_its_slot_to_others(run, house):
    async def work():
        async with house(slots=1) as h:
            h.pipeline.retry_after = 600
            busy = await h.submit("busy-1")
            assert (await h.ended(await h.submit())).state == "succeeded"
            job = await h.queue.status(busy, logs=False)
            assert (job.state, job.queue_position) == ("queued", 0)

    run(work())


# ---------------------------------------------------------------- payloads


def test_payloads_go_when_their_time_has_come_and_the_row_stays(run, house, monkeypatch):
    monkeypatch.setattr("telecine.jobs.worker.TIDY_SECONDS", 0.01)
    clock = Clock()

    async def work():
        async with house(clock=clock) as h:
            job_id = await h.submit("chat")
            brief = await h.submit(store_io=False)
            h.pipeline.go.set()
            await asyncio.gather(h.ended(job_id), h.ended(brief))
            rows = await h.rows("SELECT input FROM requests WHERE id = :id", id=brief)
            assert rows == [{"input": None}]
            assert (await h.queue.result(brief)).status == 200
            clock.now += 2_000_000
            while await h.rows("SELECT 1 FROM requests WHERE result_body IS NOT NULL"):
                pass
            with pytest.raises(NotFound, match="expired"):
                await h.queue.result(job_id)
            job = await h.queue.status(job_id, logs=True)
            assert (job.state, list(job.logs)) == ("succeeded", [])

    run(work())


# ---------------------------------------------------------------- a full disk


class FullDisk:
    """Every commit of this database fails until `free`."""

    def __init__(self, db):
        self._connection = db._writer._connection
        self._is_full = True
        self.failed = 0
        db._writer._connection = self

    def free(self):
        self._is_full = False

    def execute(self, sql, *values):
        if sql == "COMMIT" and self._is_full and self._connection.total_changes > self._before:
            self.failed += 1
            self._connection.execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")
        if sql == "BEGIN IMMEDIATE":
            self._before = self._connection.total_changes
        return self._connection.execute(sql, *values)

    def __getattr__(self, name):
        return getattr(self._connection, name)


def test_an_outcome_waits_until_the_disk_has_room_again(run, embedded):
    async def work():
        async with embedded(sleep=lambda _: asyncio.sleep(0.001)) as h:
            job_id = await h.submit("wait")
            await h.pipeline.began(1)
            full = FullDisk(h.db)
            h.pipeline.go.set()
            await until(lambda: full.failed >= 3)
            assert (await h.queue.status(job_id, logs=False)).state == "running"
            full.free()
            assert (await h.ended(job_id)).state == "succeeded"
            assert len(await h.rows("SELECT * FROM ledger")) == 1

    run(work())


def test_a_bill_whose_row_found_no_room_is_written_with_it_later(run, embedded):
    from decimal import Decimal

    from telecine.models import Usage

    async def work():
        async with embedded(sleep=lambda _: asyncio.sleep(0.001)) as h:
            h.pipeline.cost = Usage(total_tokens=3, cost=Decimal("0.01"), cost_source="billed")
            full = FullDisk(h.db)
            live = request("wait", mode="run")
            call = asyncio.create_task(h.worker.run(live))
            await until(lambda: full.failed)
            h.pipeline.go.set()
            full.free()
            assert (await call).status == 200
            rows = await h.rows("SELECT state FROM requests WHERE id = :id", id=live.id)
            assert rows == [{"state": "succeeded"}]
            assert [row["cost"] for row in await h.rows("SELECT cost FROM ledger")] == ["0.01"]

    run(work())


def test_a_result_that_no_database_takes_ends_as_a_failure_and_not_as_running(run, house):
    from telecine.models import Usage

    async def work():
        async with house() as h:
            h.pipeline.cost = Usage(total_tokens=2**80, cost_source="unknown")
            job_id = await h.submit()
            assert (await h.ended(job_id)).state == "failed"

    run(work())
