"""Webhooks over real sockets and a real database, to receivers that misbehave."""

import asyncio
import base64
import contextlib
import hashlib
import json
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.fakes.jobs import House
from tests.fakes.webhooks import LOOPBACK, NOTHING, OK, Receiver, client, deliverer
from tests.integration.test_download import tls  # noqa: F401
from tests.integration.test_sqlite import sabotage

import telecine.jobs.deliverer as module
from telecine.db.postgres import Postgres
from telecine.db.sqlite import SQLite
from telecine.errors import BadRequest, NotFound
from telecine.jobs.bells import Bells
from telecine.jobs.deliveries import Deliveries
from telecine.jobs.webhooks import SCHEDULE, Schedule
from telecine.models import Delta

ROOT = Path(__file__).parents[2]


class Sender:
    """A house whose requests are told of; `start` and `stop` the deliverer as a test needs it."""

    def __init__(self, folder, url=None, *, allow=LOOPBACK, resolve=None, house=None, **options):
        self.folder = folder
        self._url = url
        self.house = House(folder, url=url, **(house or {}))
        self._net = client(allow, resolve=resolve)
        self._options = options
        self._stack = contextlib.AsyncExitStack()
        self._deliverer = None

    def opened_again(self):
        """The database, as another process opens it."""
        return Postgres(self._url) if self._url else SQLite(self.folder / "telecine.db")

    async def __aenter__(self):
        await self._stack.enter_async_context(self.house)
        await self._stack.enter_async_context(self._net)
        self.deliveries = Deliveries(
            db=self.house.db, bells=self.house.bells, clock=self.house.clock
        )
        return self

    async def __aexit__(self, *error):
        await self.stop()
        await self._stack.__aexit__(*error)

    async def start(self, **options):
        house = self.house
        common = {"bells": house.bells, "clock": house.clock}
        self._deliverer = deliverer(
            house.db, self._net, self.folder, **{**common, **self._options, **options}
        )
        self.keys = self._deliverer._keys
        await self._deliverer.__aenter__()
        return self

    async def stop(self):
        if self._deliverer is not None:
            await self._deliverer.__aexit__(None, None, None)
            self._deliverer = None

    async def submit(self, url, do="answer", **more):
        """A request that has ended, and whose webhook goes to `url`."""
        request_id = await self.house.submit(do, webhook_url=url, **more)
        await self.house.ended(request_id)
        return request_id

    async def waits(self, sql, done, **values):
        """The rows of a question, as soon as they are what is waited for."""
        with self.house.bells.listen_to_all() as bell:
            while not done(rows := await self.house.rows(sql, **values)):
                await bell.heard(0.5)
            return rows

    async def delivery(self, request_id, state, attempts=0):
        rows = await self.waits(
            "SELECT * FROM deliveries WHERE request_id = :id",
            lambda rows: rows and rows[-1]["state"] == state and rows[-1]["attempts"] >= attempts,
            id=request_id,
        )
        return rows[-1]

    async def attempts(self, request_id, count):
        """The attempts of a request's only delivery, once there are so many and all have ended."""
        return await self.waits(
            "SELECT a.* FROM delivery_attempts a JOIN deliveries d ON d.id = a.delivery_id"
            " WHERE d.request_id = :id ORDER BY a.attempt",
            lambda rows: len(rows) >= count and all(row["seconds"] is not None for row in rows),
            id=request_id,
        )


@pytest.fixture
def sender(tmp_path, database_url):
    return lambda **options: Sender(tmp_path, database_url, **options)


@pytest.fixture
def embedded(tmp_path):
    """For what only SQLite promises, or can be broken by."""
    return lambda **options: Sender(tmp_path, **options)


class Clock:
    """Time that moves only when it is told to."""

    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


def never(schedule=SCHEDULE):
    """A schedule after which nothing is tried again during a test."""
    return Schedule(delays=(1000,), first_seconds=schedule.first_seconds)


async def silence(_reader, _writer, _got):
    await asyncio.Event().wait()


def is_signed(got, jwks):
    """As a receiver checks it who knows nothing but `x`."""
    name = "X-Fal-Webhook-"
    message = "\n".join(
        [
            *(got.headers[name + part] for part in ("Request-Id", "User-Id", "Timestamp")),
            hashlib.sha256(got.body).hexdigest(),
        ]
    )
    public = Ed25519PublicKey.from_public_bytes(
        base64.urlsafe_b64decode(jwks["keys"][0]["x"] + "==")
    )
    public.verify(bytes.fromhex(got.headers[name + "Signature"]), message.encode())
    return abs(time.time() - int(got.headers[name + "Timestamp"])) < 300


# ---------------------------------------------------------------- what arrives


def test_a_success_arrives_signed_with_the_very_result(run, sender):
    async def work():
        async with sender() as s, Receiver() as receiver:
            await s.start()
            request_id = await s.submit(f"{receiver.url}?token=t&x=1")
            await s.delivery(request_id, "delivered")
            (got,) = receiver.got
            assert got.line == "POST /hook?token=t&x=1 HTTP/1.1"
            assert got.headers["Content-Type"] == "application/json"
            assert got.headers["X-Fal-Webhook-Request-Id"] == request_id
            assert got.headers["X-Fal-Webhook-User-Id"] == "key"
            assert is_signed(got, s.keys.jwks())
            result = (await s.house.queue.result(request_id)).body
            assert (
                got.body
                == (
                    f'{{"request_id":"{request_id}","gateway_request_id":"{request_id}","status":"OK",'
                    f'"payload":{result}}}'
                ).encode()
            )

    run(work())


def test_a_failure_arrives_with_its_error_body(run, sender):
    async def work():
        async with sender() as s, Receiver() as receiver:
            await s.start()
            request_id = await s.submit(receiver.url, "fail")
            told = (await receiver.received(1))[0].json
            assert (told["status"], told["error"]) == ("ERROR", "Invalid status code: 422")
            assert told["payload"]["detail"][0]["loc"] == ["body", "video_urls"]
            assert told["payload"] == json.loads((await s.house.queue.result(request_id)).body)

    run(work())


def test_a_cancelled_request_is_told_of_too(run, sender):
    async def work():
        async with sender(house={"slots": 1}) as s, Receiver() as receiver:
            await s.start()
            running = await s.house.submit("wait", webhook_url=receiver.url)
            await s.house.pipeline.began(1)
            waiting = await s.house.submit(webhook_url=receiver.url)
            await s.house.queue.cancel(waiting)
            assert (await receiver.received(1))[0].json["error"] == "Invalid status code: 499"
            await s.house.queue.cancel(running)
            assert (await receiver.received(2))[1].json["request_id"] == running

    run(work())


def test_a_result_too_long_to_embed_is_left_to_the_queue(run, sender):
    async def work():
        async with sender(max_payload_bytes=10) as s, Receiver() as receiver:
            await s.start()
            await s.submit(receiver.url)
            told = (await receiver.received(1))[0].json
            assert (told["status"], told["payload"]) == ("OK", None)
            assert "larger than 10 bytes" in told["payload_error"]

    run(work())


def test_every_attempt_is_signed_anew(run, sender):
    clock = Clock()

    async def work():
        async with sender(house={"clock": clock}) as s, Receiver(NOTHING, OK) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            await s.attempts(request_id, 1)
            clock.now += 60
            s.house.bells.ring([request_id])
            await s.delivery(request_id, "delivered")
            first, second = receiver.got
            assert first.body == second.body
            name = "X-Fal-Webhook-Timestamp"
            assert int(second.headers[name]) - int(first.headers[name]) == 60

    run(work())


# ---------------------------------------------------------------- answers


def test_a_500_is_tried_again_under_the_same_request_id(run, sender):
    async def work():
        async with sender() as s, Receiver(NOTHING, OK) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            delivery = await s.delivery(request_id, "delivered")
            assert [got.json["request_id"] for got in receiver.got] == [request_id, request_id]
            assert delivery["attempts"] == 2
            assert delivery["ended_at"] is not None
            attempts = await s.attempts(request_id, 2)
            assert [(a["status"], a["detail"]) for a in attempts] == [(500, ""), (200, "ok")]

    run(work())


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_is_neither_followed_nor_tried_again(run, sender, code):
    async def work():
        async with sender() as s, Receiver() as elsewhere:
            location = f"Location: {elsewhere.url}?secret=1\r\n".encode()
            answer = b"HTTP/1.1 %d Moved\r\n%sContent-Length: 0\r\n\r\n" % (code, location)
            async with Receiver(answer) as receiver:
                await s.start()
                request_id = await s.submit(receiver.url)
                assert (await s.delivery(request_id, "dead"))["attempts"] == 1
                (attempt,) = await s.attempts(request_id, 1)
                assert attempt["status"] == code
                assert attempt["detail"].endswith(f"leads to {elsewhere.url}")
                assert (len(receiver.got), len(elsewhere.got)) == (1, 0)

    run(work())


def test_gone_is_for_good(run, sender):
    async def work():
        answer = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
        async with sender() as s, Receiver(answer) as receiver:
            await s.start()
            assert (await s.delivery(await s.submit(receiver.url), "dead"))["attempts"] == 1

    run(work())


def test_of_an_endless_answer_only_the_head_is_read(run, sender):
    async def endless(_reader, writer, _got):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async def work():
        async with sender() as s, Receiver(endless) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            await s.delivery(request_id, "delivered")
            (attempt,) = await s.attempts(request_id, 1)
            assert attempt["detail"] == "x" * 4096

    run(work())


def test_an_answer_that_drips_counts_by_its_status(run, sender, monkeypatch):
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.1)

    async def drip(_reader, writer, _got):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        await asyncio.Event().wait()

    async def work():
        async with sender() as s, Receiver(drip) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            assert (await s.delivery(request_id, "delivered"))["attempts"] == 1
            (attempt,) = await s.attempts(request_id, 1)
            assert (attempt["status"], attempt["detail"]) == (200, "half")

    run(work())


def test_an_answer_that_breaks_off_counts_by_its_status(run, sender):
    async def work():
        answer = b"HTTP/1.1 503 Later\r\nContent-Length: 1000\r\n\r\nhalf"
        async with sender() as s, Receiver(answer, OK) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            await s.delivery(request_id, "delivered")
            first, _ = await s.attempts(request_id, 2)
            assert (first["status"], first["detail"]) == (503, "half")

    run(work())


def test_an_answer_before_the_body_was_read_counts(run, sender, monkeypatch):
    monkeypatch.setattr("tests.fakes.jobs.Delta", lambda word: Delta(word * 80_000))

    async def work():
        async with sender() as s, Receiver(OK, reads=False) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            assert (await s.delivery(request_id, "delivered"))["attempts"] == 1

    run(work())


def test_what_the_receiver_answers_is_not_kept_where_payloads_are_not(run, sender):
    async def work():
        async with sender() as s, Receiver() as receiver:
            await s.start()
            request_id = await s.submit(receiver.url, store_io=False)
            await s.delivery(request_id, "delivered")
            (attempt,) = await s.attempts(request_id, 1)
            assert (attempt["status"], attempt["detail"]) == (200, "")

    run(work())


def test_what_is_answered_about_a_payload_deleted_meanwhile_is_not_kept(run, sender):
    async def work():
        async with sender() as s:

            async def delete(_reader, writer, _got):
                await s.house.db.write(lambda tx: tx.execute("delete_payloads", id=request_id))
                writer.write(NOTHING.replace(b"Content-Length: 0\r\n\r\n", b"\r\nsecret"))

            async with Receiver(delete) as receiver:
                await s.start()
                request_id = await s.submit(receiver.url)
                await s.delivery(request_id, "dead")
                answered, second = await s.attempts(request_id, 2)
                assert (answered["status"], answered["detail"]) == (500, "")
                assert "has expired" in second["detail"]

    run(work())


# ---------------------------------------------------------------- no answer


def test_a_receiver_that_never_answers_is_left_after_its_time_and_tried_again(run, sender):
    async def work():
        schedule = Schedule(delays=(0.01,), first_seconds=0.2)
        async with sender(schedule=schedule) as s, Receiver(silence, OK) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            await s.delivery(request_id, "delivered")
            first, second = await s.attempts(request_id, 2)
            assert (first["status"], first["detail"]) == (None, "No answer within 0.2 s")
            assert first["seconds"] >= 0.2
            assert second["status"] == 200

    run(work())


def test_a_receiver_that_takes_no_body_is_left_after_its_time(run, sender, monkeypatch):
    monkeypatch.setattr("tests.fakes.jobs.Delta", lambda word: Delta(word * 80_000))

    async def work():
        schedule = Schedule(delays=(0.01,), first_seconds=0.2)
        async with sender(schedule=schedule) as s, Receiver(silence, reads=False) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            (attempt, *_) = await s.attempts(request_id, 1)
            assert attempt["detail"] == "No answer within 0.2 s"
            assert int(receiver.got[0].headers["Content-Length"]) > 800_000

    run(work())


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
def test_what_a_stranger_never_takes_does_not_keep_the_connection_for_good(run):
    async def work():
        info = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))
        async with client() as net:
            with net._guard.socket(info) as made:
                assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000

    run(work())


async def hang_up(_reader, _writer, _got):
    return


async def endless_head(_reader, writer, _got):
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: 1\r\n" * 1000)
        await writer.drain()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (hang_up, "closed the connection"),
        (endless_head, "does not answer in proper HTTP"),
        (b"220 smtp.test ESMTP\r\n\r\n", "does not answer in proper HTTP"),
    ],
)
def test_no_proper_answer_is_tried_again(run, sender, answer, says):
    async def work():
        async with sender() as s, Receiver(answer, OK) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            await s.delivery(request_id, "delivered")
            first, _ = await s.attempts(request_id, 2)
            assert first["status"] is None
            assert says in first["detail"]

    run(work())


def test_a_refused_connection_is_tried_as_often_as_the_schedule_says(run, sender):
    async def work():
        async with Receiver() as receiver:
            url = receiver.url
        async with sender() as s:
            await s.start()
            request_id = await s.submit(url)
            assert (await s.delivery(request_id, "dead"))["attempts"] == 5
            attempts = await s.attempts(request_id, 5)
            assert {a["detail"] for a in attempts} == {
                "127.0.0.1 cannot be reached: connection refused"
            }

    run(work())


def test_a_certificate_that_nobody_vouches_for_is_no_connection(run, sender, tls):  # noqa: F811
    async def work():
        async with sender() as s, Receiver(tls=tls) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            assert (await s.delivery(request_id, "dead"))["attempts"] == 5
            assert "No secure connection" in (await s.attempts(request_id, 5))[0]["detail"]
            assert receiver.got == []

    run(work())


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "inside.test", "127.1"]
)
def test_a_target_on_this_machine_is_refused_and_not_tried_again(run, sender, host):
    async def resolve(name, _port):
        return {"localhost": ["127.0.0.1", "::1"], "inside.test": ["93.184.216.34", "127.0.0.1"]}[
            name
        ]

    async def work():
        async with sender(allow=(), resolve=resolve) as s, Receiver() as receiver:
            await s.start()
            request_id = await s.submit(f"http://{host}:{receiver.port}/")
            assert (await s.delivery(request_id, "dead"))["attempts"] == 1
            (attempt,) = await s.attempts(request_id, 1)
            assert attempt["status"] is None
            assert "address" in attempt["detail"]
            assert (receiver.got, receiver.most) == ([], 0)

    run(work())


def test_a_url_that_holds_a_password_is_refused(run, sender):
    async def work():
        async with sender() as s, Receiver() as receiver:
            await s.start()
            request_id = await s.submit(receiver.url.replace("://", "://user:password@"))
            await s.delivery(request_id, "dead")
            assert "never sent on" in (await s.attempts(request_id, 1))[0]["detail"]
            assert receiver.got == []

    run(work())


# ---------------------------------------------------------------- the schedule


def test_attempts_come_when_the_schedule_says_and_end_with_it(run, sender):
    clock = Clock()

    async def work():
        options = {"schedule": SCHEDULE, "jitter": lambda: 0.5, "house": {"clock": clock}}
        async with sender(**options) as s, Receiver(NOTHING) as receiver:
            await s.start()
            began = clock.now
            request_id = await s.submit(receiver.url)
            waits = []
            for attempt in range(1, 10):
                await s.attempts(request_id, attempt)
                delivery = await s.delivery(request_id, "waiting")
                waits.append(delivery["next_at"] - clock.now)
                clock.now = delivery["next_at"] - 0.001
                await s._deliverer._start_due()
                assert len(receiver.got) == attempt, "too early"
                clock.now = delivery["next_at"]
                s.house.bells.ring([request_id])
            assert waits == pytest.approx([5, 15, 45, 120, 300, 600, 900, 1200, 1800])
            assert (await s.delivery(request_id, "dead"))["attempts"] == len(receiver.got) == 10
            assert clock.now - began < 2 * 3600

    run(work())


@pytest.mark.parametrize(("asked", "wait"), [("60", 60), ("1", 5), ("86400", 1800)])
def test_retry_after_is_heeded_within_bounds(run, sender, asked, wait):
    clock = Clock()
    answer = f"HTTP/1.1 429 Slowly\r\nRetry-After: {asked}\r\nContent-Length: 0\r\n\r\n".encode()

    async def work():
        options = {"schedule": SCHEDULE, "jitter": lambda: 0.5, "house": {"clock": clock}}
        async with sender(**options) as s, Receiver(answer) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            await s.attempts(request_id, 1)
            assert (await s.delivery(request_id, "waiting"))["next_at"] == pytest.approx(
                clock.now + wait
            )

    run(work())


def test_a_clock_that_was_set_back_keeps_nothing_waiting(run, sender):
    clock = Clock()

    async def work():
        options = {"schedule": SCHEDULE, "house": {"clock": clock}}
        async with sender(**options) as s, Receiver(NOTHING, OK) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            await s.attempts(request_id, 1)
            clock.now -= 365 * 24 * 3600
            await s.house.db.write(s._deliverer._mend)
            s.house.bells.ring([request_id])
            await s.delivery(request_id, "delivered")

    run(work())


def test_an_answer_stays_until_the_webhook_that_tells_of_it_has_ended(run, sender):
    """Also one that was not to be kept: else a receiver that is away for an hour gets nothing."""

    async def expired(s):
        rows = await s.house.db.write(
            lambda tx: tx.fetch("expire_payloads", now=time.time() + 10_000, limit=10)
        )
        return [row["id"] for row in rows]

    async def work():
        async with sender() as s, Receiver(OK) as receiver:
            request_id = await s.submit(receiver.url, store_io=False)
            assert await expired(s) == []
            await s.start()
            await s.delivery(request_id, "delivered")
            assert json.loads(receiver.got[0].body)["payload"]
            assert await expired(s) == [request_id]

    run(work())


def test_a_result_that_was_deleted_is_not_delivered(run, sender):
    async def work():
        async with sender() as s, Receiver() as receiver:
            request_id = await s.submit(receiver.url)
            await s.house.db.write(lambda tx: tx.execute("delete_payloads", id=request_id))
            await s.start()
            assert (await s.delivery(request_id, "dead"))["attempts"] == 1
            assert "has expired" in (await s.attempts(request_id, 1))[0]["detail"]
            assert receiver.got == []

    run(work())


# ---------------------------------------------------------------- many at once


def test_a_stuck_receiver_holds_up_only_itself(run, sender):
    async def work():
        options = {"slots": 10, "per_host": 4, "house": {"slots": 16}}
        async with (
            sender(**options) as s,
            Receiver(silence) as stuck,
            Receiver() as good,
        ):
            for url in (stuck.url, good.url):
                ids = [await s.house.submit(webhook_url=url) for _ in range(100)]
            for request_id in ids:
                await s.house.ended(request_id)
            await s.start(stop_seconds=0)
            await s.waits(
                "SELECT 1 FROM deliveries WHERE state = 'delivered'", lambda rows: len(rows) == 100
            )
            assert {got.json["request_id"] for got in good.got} == set(ids)
            assert len(good.got) == 100
            assert len(stuck.got) == stuck.most == 4
            assert good.most <= 4

    run(work())


def test_a_host_that_failed_last_gets_one_attempt_at_a_time_until_it_answers(run, sender):
    async def work():
        gate = asyncio.Event()

        async def gated(_reader, writer, _got):
            await gate.wait()
            writer.write(OK)

        options = {"schedule": never(), "house": {"slots": 16}}
        async with sender(**options) as s, Receiver(NOTHING, gated) as receiver:
            await s.start()
            await s.attempts(await s.submit(receiver.url), 1)
            for _ in range(20):
                await s.submit(receiver.url)
            await receiver.received(2)
            await s._deliverer._start_due()
            assert receiver.now == 1
            gate.set()
            await s.waits(
                "SELECT 1 FROM deliveries WHERE state = 'delivered'", lambda rows: len(rows) == 20
            )
            assert 1 < receiver.most <= 8

    run(work())


def test_two_that_claim_the_same_delivery_do_not_both_get_it(run, sender):
    async def work():
        async with sender() as s:
            await s.submit("http://127.0.0.1:1/")
            one = deliverer(s.house.db, None, s.folder)
            now = time.time()
            rows, _ = await s.house.db.read(lambda tx: one._look(tx, now))
            claims = [
                await s.house.db.write(lambda tx: one._claim(tx, rows, now)) for _ in range(2)
            ]
            assert [len(each) for each in claims] == [1, 0]

    run(work())


# ---------------------------------------------------------------- crashes and stops


def test_an_attempt_cut_off_by_a_kill_is_made_again(run, embedded, tmp_path):
    async def work():
        children = []

        async def start():
            environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
            command = [sys.executable, "-m", "tests.fakes.webhooks", str(tmp_path)]
            children.append(
                await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment)
            )

        async def kill(_reader, _writer, _got):
            os.kill(children[0].pid, signal.SIGKILL)
            await children[0].wait()

        try:
            async with embedded() as s, Receiver(kill, OK) as receiver:
                request_id = await s.submit(receiver.url)
                await start()
                await receiver.received(1)
                await children[0].wait()
                sql = "SELECT attempt, seconds FROM delivery_attempts"
                assert await s.house.rows(sql) == [{"attempt": 1, "seconds": None}]
                await start()
                await receiver.received(2)
                assert (await s.delivery(request_id, "delivered"))["attempts"] == 2
                assert [got.json["request_id"] for got in receiver.got] == [request_id, request_id]
                first, second = await s.attempts(request_id, 2)
                assert first["detail"] == "The server stopped during this attempt"
                assert second["status"] == 200
        finally:
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()

    run(work())


def test_a_delivery_that_kills_its_sender_ends_too(run, sender):
    async def work():
        async with sender() as s, Receiver() as receiver:
            request_id = await s.submit(receiver.url)
            await s.house.db.write(lambda tx: _break(tx, attempts=5))
            await s.start()
            assert (await s.delivery(request_id, "dead"))["attempts"] == 5
            assert receiver.got == []

    async def _break(tx, attempts):
        """As if the process had died in the last of so many attempts."""
        for number in range(attempts):
            now = time.time()
            await tx.execute("claim_delivery", id=1, attempts=number, now=now, lost_at=now)
        await tx.execute("insert_delivery_attempt", id=1, attempt=attempts, now=time.time())

    run(work())


def test_what_is_under_way_at_a_stop_has_its_time_and_is_else_made_again(run, sender):
    async def work():
        async with sender() as s, Receiver(silence, OK) as receiver:
            await s.start(stop_seconds=0)
            request_id = await s.submit(receiver.url)
            await receiver.received(1)
            await s.stop()
            (attempt,) = await s.attempts(request_id, 1)
            assert attempt["detail"] == "The server stopped during this attempt"
            await s.start()
            assert (await s.delivery(request_id, "delivered"))["attempts"] == 2

    run(work())


def test_a_stop_waits_for_the_answer_of_what_is_under_way(run, sender):
    async def work():
        stopping = asyncio.Event()

        async def late(_reader, writer, _got):
            await stopping.wait()
            writer.write(OK)

        async with sender() as s, Receiver(late) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            await receiver.received(1)
            stop = asyncio.create_task(s.stop())
            await asyncio.sleep(0)
            stopping.set()
            await stop
            assert (await s.delivery(request_id, "delivered"))["attempts"] == 1

    run(work())


def test_an_outcome_that_the_database_does_not_take_is_written_later(run, embedded):
    async def work():
        async with embedded(sleep=lambda _: asyncio.sleep(0)) as s:

            async def fail(_reader, writer, _got):
                sabotage(s.house.db, failures=3)
                writer.write(OK)

            async with Receiver(fail) as receiver:
                await s.start()
                request_id = await s.house.submit(webhook_url=receiver.url)
                await s.delivery(request_id, "delivered")
                assert len(receiver.got) == 1

    run(work())


# ---------------------------------------------------------------- replay


def test_a_replay_is_a_delivery_of_its_own(run, sender):
    async def work():
        async with sender() as s, Receiver() as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            first = (await s.delivery(request_id, "delivered"))["id"]
            second = await s.deliveries.replay(first)
            assert second > first
            assert (await s.delivery(request_id, "delivered"))["id"] == second
            assert receiver.got[0].body == receiver.got[1].body
            third = await s.deliveries.replay_request(request_id)
            await receiver.received(3)
            assert third > second
            assert len((await s.deliveries.find(first)).attempts) == 1

    run(work())


def test_replaying_one_that_waits_only_hurries_it(run, sender):
    async def work():
        async with sender(schedule=never()) as s, Receiver(NOTHING, OK) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            await s.attempts(request_id, 1)
            waiting = await s.delivery(request_id, "waiting")
            assert await s.deliveries.replay(waiting["id"]) == waiting["id"]
            assert (await s.delivery(request_id, "delivered"))["id"] == waiting["id"]

    run(work())


def test_replaying_one_that_is_under_way_sends_nothing_twice(run, sender):
    async def work():
        answer = asyncio.Event()

        async def wait(_reader, writer, _got):
            await answer.wait()
            writer.write(OK)

        async with sender() as s, Receiver(wait) as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            await receiver.received(1)
            before = await s.delivery(request_id, "waiting")
            assert await s.deliveries.replay_request(request_id) == before["id"]
            assert await s.delivery(request_id, "waiting") == before
            answer.set()
            await s.delivery(request_id, "delivered")
            assert len(receiver.got) == 1

    run(work())


def test_another_process_can_ask_for_a_replay(run, sender, monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)

    async def work():
        async with sender() as s, Receiver() as receiver:
            await s.start()
            request_id = await s.submit(receiver.url)
            await s.delivery(request_id, "delivered")
            async with s.opened_again() as other:
                await Deliveries(db=other, bells=Bells(), clock=time.time).replay_request(
                    request_id
                )
            await receiver.received(2)

    run(work())


def test_there_is_no_replay_of_what_is_not_there(run, sender):
    async def work():
        async with sender() as s:
            request_id = await s.submit("http://127.0.0.1:1/")
            for ask in (s.deliveries.replay(99), s.deliveries.replay_request("no")):
                with pytest.raises(NotFound):
                    await ask
            with pytest.raises(NotFound):
                await s.deliveries.replay_request(request_id, key_id="somebody else")
            await s.house.db.write(lambda tx: tx.execute("delete_payloads", id=request_id))
            with pytest.raises(BadRequest, match="has expired"):
                await s.deliveries.replay_request(request_id)

    run(work())


# ---------------------------------------------------------------- what is kept, and what is told


def test_deliveries_go_some_time_after_their_end_with_their_attempts(run, sender):
    clock = Clock()

    async def work():
        async with sender(house={"clock": clock}) as s, Receiver(OK, NOTHING) as receiver:
            await s.start(keep_seconds=100, schedule=never())
            ended = await s.submit(receiver.url)
            await s.delivery(ended, "delivered")
            waiting = await s.submit(receiver.url)
            await s.attempts(waiting, 1)
            clock.now += 99
            assert await s.house.db.write(s._deliverer._expire) == 0
            clock.now += 1
            assert await s.house.db.write(s._deliverer._expire) == 1
            left = await s.house.rows("SELECT request_id FROM deliveries")
            assert [row["request_id"] for row in left] == [waiting]
            assert len(await s.house.rows("SELECT * FROM delivery_attempts")) == 1

    run(work())


def test_the_log_names_the_host_and_nothing_else_of_the_url(run, sender, caplog):
    async def work():
        answer = b"HTTP/1.1 500 Broken\r\nContent-Length: 13\r\n\r\nsecret-answer"
        async with sender(schedule=never()) as s, Receiver(answer) as receiver:
            await s.start()
            request_id = await s.submit(
                f"{receiver.url}/secret-path?secret-query=1#secret-fragment"
            )
            await s.attempts(request_id, 1)
            told = await s.submit(f"http://secret-user:secret-word@127.0.0.1:{receiver.port}/")
            await s.delivery(told, "dead")
            await s.stop()
            return receiver.port

    with caplog.at_level(logging.DEBUG):
        port = run(work())
    assert f"webhook 1 to 127.0.0.1:{port}, attempt 1: answered 500" in caplog.text
    assert "secret" not in caplog.text


def test_a_deep_backlog_to_one_host_costs_no_more_than_a_shallow_one(run, embedded):
    """The statement that picks deliveries reads an index only as far as it must."""

    async def work():
        async with embedded() as s:
            await s.house.rows("SELECT 1")
            import sqlite3

            from telecine.db.sqlite import read_statements

            with contextlib.closing(sqlite3.connect(s.folder / "telecine.db")) as connection:
                values = {"now": 1.0, "each": 8, "limit": 128}
                plan = connection.execute(
                    "EXPLAIN QUERY PLAN " + read_statements()["due_deliveries"], values
                ).fetchall()
            scans = [row[3] for row in plan if row[3].startswith("SCAN") and "deliver" in row[3]]
            assert not [scan for scan in scans if "INDEX" not in scan], plan

    run(work())
