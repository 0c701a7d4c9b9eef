"""A commit that was kept while its answer was lost: what is tried again then is not done twice."""

import asyncio
import hashlib
from dataclasses import replace
from decimal import Decimal

import pytest
from tests.fakes.doubt import Doubt, DoubtfulPostgres, DoubtfulSQLite
from tests.fakes.jobs import House, request, until
from tests.fakes.pipeline import Settling
from tests.fakes.webhooks import LOOPBACK, Receiver, client, deliverer

from telecine.db import postgres, sqlite
from telecine.db.base import DatabaseFailed
from telecine.jobs import deliverer as deliverers
from telecine.jobs.webhooks import Schedule
from telecine.models import Asked, Attachment, Bill, Caller, Checkpoint, Done, KeyLimits, Usage

PAID = Usage(total_tokens=3, cost=Decimal("0.5"), cost_source="billed")
HOOK = "https://hooks.example.org/a"


@pytest.fixture
def doubt():
    return Doubt()


@pytest.fixture
def nodes(tmp_path, doubt, databases):
    """Where commits can really be in doubt: beyond a network."""
    url = databases.migrated()
    return lambda **options: paying(
        House(tmp_path, url=url, db=DoubtfulPostgres(url, doubt), **options)
    )


@pytest.fixture(params=["sqlite", "postgres"])
def house(request, tmp_path, doubt):
    if request.param == "postgres":
        return request.getfixturevalue("nodes")
    path = tmp_path / "telecine.db"
    return lambda **options: paying(House(tmp_path, db=DoubtfulSQLite(path, doubt), **options))


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(sqlite, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(postgres, "AGAIN_SECONDS", 0.01)


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


def paying(house):
    house.pipeline.cost = PAID
    return house


def limited(do="answer"):
    """A live call whose key may make one at a time: its row is written before it begins."""
    caller = Caller("key", limits=KeyLimits(running=1))
    return replace(request(do, mode="run"), caller=caller)


async def spent(house):
    """Rows of the ledger, and what the budget counts."""
    (entries,) = await house.rows("SELECT count(*) AS n FROM ledger")
    days = await house.rows("SELECT pico FROM spending")
    return entries["n"], [row["pico"] for row in days]


# ---------------------------------------------------------------- the end of a request


def test_a_job_is_billed_once(run, house, doubt):
    async def work():
        async with house() as h:
            doubt.lose("INTO ledger")
            job = await h.ended(await h.submit())
            assert (job.state, job.attempt, doubt.lost) == ("succeeded", 1, 1)
            assert await spent(h) == (1, [500_000_000_000])

    run(work())


def test_a_live_call_that_costs_is_billed_once(run, house, doubt):
    async def work():
        async with house() as h:
            doubt.lose("INTO ledger")
            assert (await h.worker.run(request(mode="run"))).status == 200
            assert doubt.lost == 1
            assert await spent(h) == (1, [500_000_000_000])

    run(work())


def test_a_live_call_whose_end_nobody_waits_for_has_one_entry(run, house, doubt):
    async def work():
        async with house() as h:
            h.pipeline.cost = Usage(total_tokens=3, cost=Decimal(0), cost_source="free")
            doubt.lose("INTO ledger")
            assert (await h.worker.run(request(mode="run"))).status == 200
            await until(lambda: doubt.lost)
            (ended,) = await h.rows("SELECT state FROM requests")
            assert ended == {"state": "succeeded"}
        async with house() as h:  # whatever was to be tried again has been
            assert (await spent(h))[0] == 1

    run(work())


def test_a_finished_piece_is_billed_once(run, house, doubt):
    async def pipeline(_request):
        yield Asked(call="c1", provider="fake", model="m")
        yield Bill(usage=PAID, provider="fake", model="m", call="c1")
        doubt.lose("INTO checkpoints")
        yield Checkpoint("piece", {})
        yield Asked(call="c2", provider="fake", model="m")
        yield Bill(usage=PAID, provider="fake", model="m", call="c2")
        yield Done("stop")

    async def work():
        async with house() as h:
            h.worker._pipeline = pipeline
            assert (await h.ended(await h.submit())).state == "succeeded"
            assert doubt.lost == 1
            assert await spent(h) == (2, [1_000_000_000_000])

    run(work())


def test_a_job_ends_once_and_has_one_webhook(run, house, doubt):
    async def work():
        async with house() as h:
            doubt.lose("INTO deliveries")
            await h.ended(await h.submit(webhook_url=HOOK))
            assert doubt.lost == 1
            assert await h.rows("SELECT ended_as FROM attempts") == [{"ended_as": "succeeded"}]
            assert await h.rows("SELECT url FROM deliveries") == [{"url": HOOK}]

    run(work())


def test_a_job_that_is_to_be_tried_again_is_put_back_once(run, house, doubt):
    async def work():
        async with house(jitter=lambda: 0.0) as h:
            doubt.lose("SET\n    state = 'queued'")
            job = await h.ended(await h.submit("busy-1"))
            assert (job.state, job.attempt, doubt.lost) == ("succeeded", 2, 1)
            ends = await h.rows("SELECT ended_as FROM attempts ORDER BY attempt")
            assert [row["ended_as"] for row in ends] == ["retried", "succeeded"]
            (row,) = await h.rows("SELECT failures FROM requests")
            assert row["failures"] == 1

    run(work())


def test_lines_of_the_log_are_there_once(run, house, doubt):
    async def work():
        async with house() as h:
            doubt.lose("INTO logs")
            job_id = await h.submit("chat")
            async for job in h.queue.watch(job_id, logs=True):
                if job.logs:
                    h.pipeline.go.set()
            assert doubt.lost == 1
            lines = await h.rows("SELECT message FROM logs ORDER BY seq")
            told = [row["message"] for row in lines]
            assert told == ["first line", "second line", "last line"]

    run(work())


# ---------------------------------------------------------------- acceptance


def test_a_request_is_accepted_and_run_once(run, nodes, doubt):
    async def work():
        async with nodes() as h:
            doubt.lose("INTO requests")
            job_id = await h.submit()
            assert doubt.lost == 1
            assert (await h.ended(job_id)).state == "succeeded"
            assert await h.rows("SELECT id FROM requests") == [{"id": job_id}]
            assert h.pipeline.started == [job_id]

    run(work())


def test_a_request_with_an_idempotency_key_is_its_own_first_one(run, nodes, doubt):
    async def work():
        async with nodes() as h:
            doubt.lose("INTO requests")
            job_id = await h.submit(idempotency_key="once")
            assert doubt.lost == 1
            assert await h.submit(idempotency_key="once") == job_id
            assert await h.rows("SELECT id FROM requests") == [{"id": job_id}]

    run(work())


def test_the_bytes_of_a_request_are_kept_until_it_ends_and_no_longer(run, nodes, doubt, tmp_path):
    content = b"a video" * 1000
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    attachment = Attachment(
        content_type="video/mp4",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        path=path,
    )

    async def work():
        async with nodes() as h:
            doubt.lose("INTO requests")
            job_id = await h.submit("wait", attachments={"a": attachment})
            assert doubt.lost == 1
            (pin,) = await h.rows("SELECT object FROM pins")
            read = b"".join([chunk async for chunk in h.storage.read(pin["object"])])
            assert read == content
            h.pipeline.go.set()
            await h.ended(job_id)
            assert await h.rows("SELECT object FROM pins") == []

    run(work())


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("attempt = attempt + 1, started_at", id="admission"),
        pytest.param("SET node =", id="beginning"),
    ],
)
def test_a_job_whose_start_is_in_doubt_is_begun_once(run, nodes, doubt, words):
    async def work():
        async with nodes() as h:
            doubt.lose(words)
            job = await h.ended(await h.submit())
            assert (job.state, job.attempt, doubt.lost) == ("succeeded", 1, 1)
            assert len(h.pipeline.started) == 1

    run(work())


def test_a_live_call_that_is_refused_in_doubt_takes_up_no_place(run, nodes, doubt):
    async def work():
        async with nodes() as h:
            doubt.lose("INTO requests")
            with pytest.raises(DatabaseFailed):
                await h.worker.run(limited())
            (row,) = await h.rows("SELECT state FROM requests")
            assert row["state"] == "failed"
            assert (await h.worker.run(limited())).status == 200

    run(work())


def test_a_live_call_whose_caller_left_on_the_way_in_takes_up_no_place(run, nodes):
    async def work():
        async with nodes() as h:
            calling = asyncio.create_task(h.worker.run(limited("wait")))
            await until(lambda: h.db._writing)
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            assert h.pipeline.started == []
            while await h.rows("SELECT id FROM requests WHERE state = 'running'"):
                pass
            assert (await h.worker.run(limited())).status == 200

    run(work())


# ---------------------------------------------------------------- webhooks, and costs told later


@pytest.mark.parametrize("words", ["UPDATE delivery_attempts", "UPDATE deliveries SET state"])
def test_what_came_of_a_delivery_is_noted_once(run, house, doubt, tmp_path, words):
    async def work():
        async with house() as h, Receiver() as receiver, client(LOOPBACK) as net:
            async with deliverer(h.db, net, tmp_path, bells=h.bells):
                doubt.lose(words)
                await h.submit(webhook_url=receiver.url)
                await until(lambda: doubt.lost)
                while not await h.rows("SELECT 1 FROM deliveries WHERE state = 'delivered'"):
                    pass
            assert (len(receiver.got), doubt.lost) == (1, 1)
            (attempt,) = await h.rows("SELECT attempt, status FROM delivery_attempts")
            assert attempt == {"attempt": 1, "status": 200}

    run(work())


def test_an_attempt_whose_beginning_is_in_doubt_is_counted_and_the_next_one_arrives(
    run, house, doubt, tmp_path, monkeypatch
):
    monkeypatch.setattr(deliverers, "LEASE_SECONDS", 0.0)
    monkeypatch.setattr(deliverers, "POLL_SECONDS", 0.05)
    schedule = Schedule(delays=(0.01,) * 4, jitter=0, first_seconds=0.05)

    async def work():
        async with house() as h, Receiver() as receiver, client(LOOPBACK) as net:
            async with deliverer(h.db, net, tmp_path, bells=h.bells, schedule=schedule):
                doubt.lose("INTO delivery_attempts")
                await h.submit(webhook_url=receiver.url)
                await until(lambda: doubt.lost)
                while not await h.rows("SELECT 1 FROM deliveries WHERE state = 'delivered'"):
                    pass
            assert (len(receiver.got), doubt.lost) == (1, 1)

    run(work())


def test_a_cost_that_is_told_later_is_counted_once(run, house, doubt):
    told, clock = Settling(bills={"p-1": PAID}), Clock()

    async def pipeline(_request):
        yield Asked(call="c", provider="p", model="m")
        yield Bill(call="c", usage=Usage(), provider="p", model="m", upstream_id="p-1")
        yield Done("stop")

    async def work():
        async with house(providers={"p": told}, clock=clock) as h:
            h.worker._pipeline = pipeline
            await h.worker.run(request(mode="run"))
            assert await spent(h) == (1, [])
            clock.now += 60
            doubt.lose("AND cost_source = 'unknown'")
            with pytest.raises(DatabaseFailed):
                await h.settler.settle()
            clock.now += 600
            await h.settler.settle()
            assert doubt.lost == 1
            assert await spent(h) == (1, [500_000_000_000])

    run(work())
