"""Several nodes on one PostgreSQL: they die, stall and lose the database; nothing is lost, and
nothing ends twice."""

import asyncio
import collections
import contextlib
import json
import random
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from tests.fakes.jobs import House, request, until
from tests.fakes.postgres import served
from tests.fakes.webhooks import LOOPBACK, OK, Receiver, client, deliverer

from telecine.db import postgres
from telecine.db.postgres import Postgres
from telecine.db.shared import SharedFile
from telecine.errors import LimitReached
from telecine.jobs import executor, gate, pgqueuer
from telecine.jobs.gate import Lane
from telecine.jobs.signing import FILE, SigningKeys
from telecine.models import Caller

ROOT = Path(__file__).parents[2]
LOST = 2.0  # seconds after which a node is gone, in these tests


@pytest.fixture
def url(databases):
    return databases.migrated()


@pytest.fixture
def node(tmp_path, url):
    return lambda **options: House(tmp_path, url=url, **{"lost_seconds": LOST, **options})


@contextlib.contextmanager
def another_process(folder, url, work):
    """A node in a process of its own, which says "go" when `work` has come so far."""
    script = f"""
import asyncio, sys
sys.path[:0] = {[str(ROOT), str(ROOT / "src")]!r}
from pathlib import Path
from tests.fakes.jobs import House, request
async def main():
    async with House(Path({str(folder)!r}), url={url!r}, slots=8, lost_seconds={LOST}) as h:
{work}
        print("go", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def killed(folder, url, work):
    """What such a process said until it was killed."""
    with another_process(folder, url, work) as child:
        lines = []
        while (line := child.stdout.readline().strip()) != "go":
            assert line, "it died by itself"
            lines.append(line)
    return lines


async def ends(h):
    """How often each request succeeded."""
    rows = await h.rows("SELECT request_id FROM attempts WHERE ended_as = 'succeeded'")
    return collections.Counter(row["request_id"] for row in rows)


def gone(h):
    """The node stays as it is, but the others do not see it any more."""
    return h.db.ask("UPDATE nodes SET seen_at = 0 WHERE id = $1 RETURNING id", h.executor.node)


async def silence(_reader, _writer, _got):
    await asyncio.Event().wait()


# ---------------------------------------------------------------- nodes that die


def test_two_hundred_jobs_survive_kill_9_of_one_of_two_nodes_and_each_ends_once(
    run, node, url, tmp_path
):
    work = """
        ids = await asyncio.gather(*(h.submit("nap") for _ in range(190)))
        ids += await asyncio.gather(*(h.submit("wait") for _ in range(10)))
        print("\\n".join(ids), flush=True)
        await h.pipeline.began(60)
"""
    ids = killed(tmp_path, url, work)
    assert len(set(ids)) == 200

    async def after():
        async with node(slots=8) as h:
            h.pipeline.go.set()
            jobs = await asyncio.gather(*map(h.ended, ids))
            assert {job.state for job in jobs} == {"succeeded"}
            assert await ends(h) == dict.fromkeys(ids, 1)
            assert len({r["request_id"] for r in await h.rows("SELECT * FROM ledger")}) == 200
            assert await h.rows("SELECT * FROM pins") == []
            left = await h.rows("SELECT losses, attempt FROM requests WHERE losses > 0")
            assert all(row["attempt"] == 2 for row in left)

    run(after())


def test_a_live_call_of_a_dead_node_is_failed_and_not_run_again(run, node, url, tmp_path):
    work = """
        call = asyncio.create_task(h.worker.run(request("wait", mode="run", id="live")))
        await h.pipeline.began(1)
        while not await h.rows("SELECT 1 FROM requests"): await asyncio.sleep(0.01)
"""
    killed(tmp_path, url, work)

    async def after():
        async with node() as h:
            while (await h.rows("SELECT state FROM requests"))[0]["state"] == "running":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            (row,) = await h.rows("SELECT * FROM requests")
            assert (row["state"], row["attempt"], row["result_status"]) == ("failed", 1, 500)
            assert "stopped while it was working" in row["error"]
            assert h.pipeline.started == []

    run(after())


def test_a_request_whose_workers_keep_dying_ends_as_failed(run, node, monkeypatch):
    monkeypatch.setattr(executor, "MAX_LOSSES", 2)

    async def work():
        async with node(slots=1) as runs, node(slots=0) as watches:
            runs.executor._presence.cancel()  # it shows that it is there only when we want it
            job_id = await runs.submit("wait")
            for number in (1, 2):
                await runs.pipeline.began(number)
                await gone(runs)
                await watches.executor._take_back()
                await runs.executor._beat()
                await watches.gate.admit()
            (row,) = await watches.rows("SELECT * FROM requests")
            assert (row["state"], row["losses"]) == ("failed", 1)
            assert "died 2 times" in row["error"]
            assert (await runs.ended(job_id)).state == "failed"

    run(work())


# ---------------------------------------------------------------- nodes that are cut off


def test_the_late_end_of_a_node_that_was_given_up_is_discarded(run, node):
    async def work():
        async with node(slots=1) as first, node(slots=1) as second:
            job_id = await first.submit("wait")
            await until(lambda: first.pipeline.started or second.pipeline.started)
            slow, other = (first, second) if first.pipeline.started else (second, first)
            slow.executor._presence.cancel()  # it does not notice
            await gone(slow)
            await other.executor._take_back()
            await other.pipeline.began(1)
            slow.pipeline.go.set()
            await until(lambda: slow.pipeline.ended)
            assert (await other.queue.status(job_id, logs=False)).state == "running"
            other.pipeline.go.set()
            job = await other.ended(job_id)
            assert (job.state, job.attempt) == ("succeeded", 2)
            assert await ends(other) == {job_id: 1}

    run(work())


def test_a_node_that_was_given_up_stops_what_is_no_longer_its_own(run, node):
    async def work():
        async with node(slots=1) as cut_off, node(slots=0) as other:
            job_id = await cut_off.submit("wait")
            await cut_off.pipeline.began(1)
            await gone(cut_off)
            await other.executor._take_back()
            await cut_off.executor._beat()
            await until(lambda: cut_off.pipeline.stopped)
            cut_off.pipeline.go.set()
            assert (await cut_off.ended(job_id)).attempt == 2

    run(work())


def test_a_burst_of_deliveries_at_the_moment_of_the_beat_is_left_alone(run, node):
    """A keeper that compares rows read before with tasks begun after would stop them."""

    async def work():
        async with node(slots=8) as h:

            async def beat():
                while True:
                    await gone(h)
                    await h.executor._beat()

            beating = asyncio.create_task(beat())
            ids = await asyncio.gather(*(h.submit("nap") for _ in range(60)))
            jobs = await asyncio.gather(*map(h.ended, ids))
            beating.cancel()
            assert {(job.state, job.attempt) for job in jobs} == {("succeeded", 1)}
            assert h.pipeline.stopped == []

    run(work())


def test_an_admitted_request_that_the_engine_forgot_is_admitted_again(run, node):
    async def work():
        async with node(slots=0) as h:
            job_id = await h.submit()
            await h.rows("UPDATE requests SET state = 'running', attempt = 1, started_at = 1")
            await h.executor._take_back()
            assert (await h.queue.status(job_id, logs=False)).state == "queued"

    run(work())


# ---------------------------------------------------------------- the database goes and comes back


def test_the_database_goes_away_and_comes_back_and_the_server_goes_on(run, tmp_path):
    with served() as server:
        asyncio.run(pgqueuer.migrate(server.url))

        async def work():
            async with House(tmp_path, url=server.url, slots=4, lost_seconds=2) as h:
                running = [await h.submit("wait") for _ in range(3)]
                await h.pipeline.began(3)
                await asyncio.to_thread(server.stop, "immediate")
                with pytest.raises(postgres.DatabaseFailed):
                    await h.submit()
                h.pipeline.go.set()
                await until(lambda: len(h.pipeline.ended) == 3)
                await asyncio.to_thread(server.start)
                later = await h.submit()
                jobs = await asyncio.gather(*map(h.ended, [*running, later]))
                assert {job.state for job in jobs} == {"succeeded"}
                assert {job.attempt for job in jobs} == {1}  # nobody was given up for that
                call = await h.worker.run(request(mode="run"))
                assert call.status == 200

        run(work())


def test_a_short_absence_of_the_database_is_not_even_noticed(run, tmp_path):
    with served() as server:
        asyncio.run(pgqueuer.migrate(server.url))

        async def work():
            async with House(tmp_path, url=server.url) as h:
                await asyncio.to_thread(server.stop, "fast")
                submitting = asyncio.create_task(h.submit())
                await asyncio.to_thread(server.start)
                assert (await h.ended(await submitting)).state == "succeeded"

        run(work())


# ---------------------------------------------------------------- limits hold across nodes


@pytest.mark.parametrize("seed", range(2))
def test_limits_hold_across_nodes_whatever_happens(run, tmp_path, url, seed):
    """Bursts of jobs, live calls and cancellations at three nodes, one of which comes and goes."""
    chance = random.Random(seed)
    options = {"per_key": 3, "lane": lambda model: Lane(model, 4), "lost_seconds": 5}

    async def work():
        nodes = [House(tmp_path, url=url, slots=3, **options) for _ in range(3)]
        for each in nodes[1:]:
            each.pipeline = nodes[0].pipeline
        pipeline = nodes[0].pipeline
        async with nodes[0] as a, nodes[1] as b:
            ids, calls = [], []

            async def submit(number):
                await asyncio.sleep(chance.random())
                at, key = chance.choice((a, b)), f"k{number % 5}"
                ids.append(await at.submit("nap", key=key, model=f"m{number % 3}"))

            async def call(number):
                await asyncio.sleep(chance.random())
                at, key = chance.choice((a, b)), f"k{number % 5}"
                calls.append(await at.worker.run(request("nap", mode="run", key=key, model="m9")))

            async def come_and_go():
                for _ in range(3):
                    async with nodes[2]:
                        await asyncio.sleep(0.2)
                    nodes[2] = House(tmp_path, url=url, slots=3, **options)
                    nodes[2].pipeline = pipeline

            done = await asyncio.gather(
                *map(submit, range(90)),
                *map(call, range(40)),
                come_and_go(),
                return_exceptions=True,
            )
            refused = [each for each in done if isinstance(each, LimitReached)]
            assert [each for each in done if each is not None and each not in refused] == []
            cancelled = chance.sample(ids, 10)
            await asyncio.gather(*map(b.queue.cancel, cancelled))
            jobs = await asyncio.gather(*map(a.ended, ids))
            assert {job.state for job in jobs if job.id not in cancelled} == {"succeeded"}
            assert {call.status for call in calls} == {200}
            assert len(calls) + len(refused) == 40
            assert max(pipeline.most[f"k{number}"] for number in range(5)) <= 3
            assert max(pipeline.most_models[f"m{number}"] for number in range(3)) <= 4

    run(work())


def test_gates_that_pass_at_the_same_moment_admit_no_more_than_may_run(run, node):
    async def work():
        async with contextlib.AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(node(slots=1)) for _ in range(3)]
            for each in nodes:
                each.gate.stop()
            await asyncio.sleep(0)
            for number in range(30):
                await nodes[0].submit("wait", key=f"k{number}")
            for each in nodes:
                each.gate._is_stopped = False
            admitted = await asyncio.gather(*(each.gate.admit() for each in nodes * 4))
            running = await nodes[0].rows("SELECT id FROM requests WHERE state = 'running'")
            # Fewer where a node was not heard of in time.
            assert 1 <= sum(map(len, admitted)) == len(running) <= 3

    run(work())


def test_a_live_call_is_refused_for_what_its_key_runs_elsewhere(run, node):
    async def work():
        async with node(per_key=1) as a, node(per_key=1) as b:
            call = asyncio.create_task(a.worker.run(request("wait", mode="run")))
            await a.pipeline.began(1)
            with pytest.raises(LimitReached, match="limit of 1"):
                await b.worker.run(request(mode="run"))
            a.pipeline.go.set()
            await call
            while await b.rows("SELECT 1 FROM requests WHERE state = 'running'"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert (await b.worker.run(request(mode="run"))).status == 200

    run(work())


# ---------------------------------------------------------------- what nodes tell each other


@pytest.fixture
def patient(monkeypatch):
    """Nobody looks by himself: only what is told counts."""
    monkeypatch.setattr(gate, "POLL_SECONDS", 60.0)
    monkeypatch.setattr("telecine.jobs.queue.WATCH_SECONDS", 60.0)


@pytest.mark.usefixtures("patient")
def test_a_watcher_hears_of_what_another_node_did(run, node):
    async def work():
        async with node(slots=1) as runs, node(slots=0) as watches:
            await watches.gate.admit()
            job_id = await watches.submit("chat")
            states = []
            async for job in watches.queue.watch(job_id, logs=True):
                states.append(job.state)
                if any(line.message == "second line" for line in job.logs):
                    runs.pipeline.go.set()
            assert states[-1] == "succeeded"

    run(work())


@pytest.mark.usefixtures("patient")
def test_a_cancellation_reaches_the_node_that_runs_it(run, node):
    async def work():
        async with node(slots=1) as runs, node(slots=0) as asks:
            job_id = await asks.submit("wait")
            await runs.pipeline.began(1)
            assert await asks.queue.cancel(job_id)
            assert (await asks.ended(job_id)).state == "cancelled"
            assert runs.pipeline.stopped == [job_id]

    run(work())


def test_more_changes_than_notices_hold_are_told_as_anything():
    ids = [f"{number:036}" for number in range(10_000)]
    assert list(pgqueuer._notices("n", "changed", ids)) == ["n changed"]
    few = list(pgqueuer._notices("n", "stop", ids[:450]))
    assert len(few) == 3
    assert max(map(len, few)) < 8_000
    assert [each for text in few for each in text.split(" ")[2:]] == ids[:450]


# ---------------------------------------------------------------- stopping, starting


def test_what_runs_on_a_node_that_stops_goes_on_elsewhere_unpunished(run, node):
    async def work():
        async with node(slots=0) as stays:
            async with node(slots=2) as stops:
                job_id = await stays.submit("wait")
                await stops.pipeline.began(1)
            assert (await stays.queue.status(job_id, logs=False)).state == "queued"
            async with node(slots=2) as comes:
                comes.pipeline.go.set()
                await stays.ended(job_id)
            (row,) = await stays.rows("SELECT * FROM requests")
            assert (row["attempt"], row["losses"], row["failures"]) == (2, 0, 0)
            assert len(await stays.rows("SELECT * FROM nodes")) == 1

    run(work())


def test_nodes_that_start_together_on_an_empty_database_migrate_it_once(run, databases, tmp_path):
    url = databases.empty()

    async def work():
        async with contextlib.AsyncExitStack() as stack:
            nodes = await asyncio.gather(
                *(stack.enter_async_context(House(tmp_path, url=url)) for _ in range(4))
            )
            assert await postgres.pending(url) == 0
            job_id = await nodes[0].submit()
            assert (await nodes[3].ended(job_id)).state == "succeeded"

    run(work())


def test_a_node_goes_on_when_a_newer_one_migrates_under_its_feet(run, url):
    async def work():
        async with Postgres(url, connections=1) as db:

            async def keys(tx):
                return await tx.fetch("keys_all")

            assert await db.read(keys) == []
            await db.ask("ALTER TABLE keys ALTER COLUMN alias TYPE VARCHAR(100)")
            assert await db.read(keys) == []
            assert await db.write(keys) == []

    run(work())


def test_a_schema_of_the_future_is_left_alone(run, url):
    async def work():
        async with Postgres(url) as db:
            await db.ask("UPDATE schema_version SET version = 9999 RETURNING version")
        with pytest.raises(postgres.TelecineError, match="upgrade Telecine"):
            async with Postgres(url):
                pass

    run(work())


def test_a_database_that_is_not_there_is_told_without_the_login(run):
    async def work():
        with pytest.raises(postgres.TelecineError) as told:
            async with Postgres("postgresql://user:hunter2@127.0.0.1:1/x"):
                pass
        assert "127.0.0.1:1/x" in told.value.message
        assert "hunter2" not in told.value.message

    run(work())


_OTHERS = (
    "SELECT count(*) AS n FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def nobody_else_is_connected(db):
    """Or becomes so soon: the server sees the end of a connection a moment later."""
    async with asyncio.timeout(10):
        while (await db.ask(_OTHERS))[0]["n"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_whoever_is_cancelled_while_a_connection_is_made_leaves_none(run, url, monkeypatch):
    is_asked = asyncio.Event()

    async def hangs(_connection):
        is_asked.set()
        await asyncio.Event().wait()

    async def work():
        async with Postgres(url, connections=1) as db:
            with monkeypatch.context() as patch:
                patch.setattr(postgres, "_prepare", hangs)
                connecting = asyncio.create_task(db.connect())
                await is_asked.wait()
                connecting.cancel()
                await asyncio.wait([connecting])
            await nobody_else_is_connected(db)

    run(work())


def test_whoever_is_cancelled_while_it_closes_leaves_no_connection(run, url, monkeypatch):
    is_asked = asyncio.Event()

    async def lasts(tx):
        is_asked.set()
        while True:
            await tx.run("SELECT pg_sleep(0.01)")

    async def work():
        async with Postgres(url, connections=1) as other:
            db = await Postgres(url).__aenter__()
            writing = asyncio.create_task(db.write(lasts))
            await is_asked.wait()
            monkeypatch.setattr(postgres, "CONNECT_SECONDS", 0.05)
            closing = asyncio.create_task(db.__aexit__(None, None, None))
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            await nobody_else_is_connected(other)
            writing.cancel()

    run(work())


def test_what_was_taken_is_written_also_when_closing_is_cancelled(run, url):
    async def insert(tx, number):
        await tx.run("INSERT INTO numbers VALUES ($1)", number)

    async def work():
        async with Postgres(url, connections=1) as other:
            await other.ask("CREATE TABLE numbers (n BIGINT)")
            db = await Postgres(url).__aenter__()
            for number in range(300):
                db.write_later(partial(insert, number=number))
            writing = asyncio.create_task(db.write(partial(insert, number=300)))
            await asyncio.sleep(0)
            closing = asyncio.create_task(db.__aexit__(None, None, None))
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            assert closing.cancelled()
            await writing
            assert await other.ask("SELECT count(*) AS n FROM numbers") == [{"n": 301}]

    run(work())


def test_a_closed_database_takes_no_write(run, url):
    async def nothing(_):
        return None

    async def work():
        async with Postgres(url) as db:
            pass
        with pytest.raises(RuntimeError):
            db.write_later(nothing)

    run(work())


def test_text_that_postgresql_can_not_hold_finds_nothing(run, url):
    async def work():
        async with Postgres(url) as db:
            for text in ("a\0b", "\ud800"):
                assert (
                    await db.read(lambda tx, text=text: tx.fetch("queued_request", id=text)) == []
                )

    run(work())


def test_a_webhook_is_sent_once_however_many_nodes_deliver(run, node, tmp_path):
    async def work():
        async with (
            node(slots=4) as a,
            node(slots=0) as b,
            Receiver(OK) as receiver,
            client(LOOPBACK) as net,
        ):
            options = {"clock": time.time, "is_shared": True}
            async with (
                deliverer(a.db, net, tmp_path, bells=a.bells, **options),
                deliverer(b.db, net, tmp_path, bells=b.bells, **options),
            ):
                ids = [await a.submit(webhook_url=receiver.url) for _ in range(20)]
                await receiver.received(20)
                open_ = "SELECT 1 FROM deliveries WHERE state <> 'delivered'"
                while await a.rows(open_):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            told = [json.loads(got.body)["request_id"] for got in receiver.got]
            assert sorted(told) == sorted(ids)

    run(work())


def test_a_node_that_starts_leaves_the_webhooks_of_others_alone(run, node, tmp_path):
    async def work():
        async with node() as a, client(LOOPBACK) as net, Receiver(silence) as receiver:
            options = {"clock": time.time, "is_shared": True}
            async with deliverer(a.db, net, tmp_path, bells=a.bells, stop_seconds=0, **options):
                await a.submit(webhook_url=receiver.url)
                await receiver.received(1)
                async with deliverer(a.db, net, tmp_path, bells=a.bells, **options):
                    (attempt,) = await a.rows("SELECT * FROM delivery_attempts")
                    assert attempt["seconds"] is None

    run(work())


def test_nodes_sign_with_the_same_keys_also_after_one_of_them_changed_them(run, url, tmp_path):
    async def work():
        async with Postgres(url) as db:
            paths = [tmp_path / name / FILE for name in ("a", "b")]
            for path in paths:
                path.parent.mkdir()
            keys = [SigningKeys(path, clock=time.time) for path in paths]
            files = [SharedFile(db, path) for path in paths]
            for file, key in zip(files, keys, strict=True):
                await file.join(key.signing)
            assert keys[0].jwks() == keys[1].jwks()
            assert paths[1].stat().st_mode & 0o777 == 0o600
            keys[1].rotate()
            for file in (files[1], files[0]):
                await file.sync()
            assert keys[0].jwks() == keys[1].jwks()
            assert len(keys[0].jwks()["keys"]) == 2

    run(work())


def test_a_retry_is_put_off_no_longer_than_any_although_the_clock_was_set_back(run, node):
    async def work():
        async with node(slots=1) as h:
            h.gate.stop()
            await asyncio.sleep(0)
            job_id = await h.submit()
            await h.rows("UPDATE requests SET not_before = 9e9")
            h.gate._is_stopped = False
            assert await h.gate._has_work()
            await h.gate.admit()
            await h.gate.admit()
            assert (await h.ended(job_id)).state == "succeeded"

    run(work())


def test_a_key_may_have_a_lower_limit_of_its_own(run, node):
    from telecine.models import KeyLimits

    async def work():
        async with node() as h:
            caller = Caller("key", limits=KeyLimits(running=1))
            call = asyncio.create_task(h.worker.run(request("wait", mode="run")))
            await h.pipeline.began(1)
            row = {"id": "x", "key_id": "key", "model": "m"}
            with pytest.raises(LimitReached):
                await h.gate.enter(caller, row)
            h.pipeline.go.set()
            await call

    run(work())
