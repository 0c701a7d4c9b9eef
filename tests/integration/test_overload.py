"""More than the server can carry: it says so early, with a reason, and goes on with what it has.

Real sockets; limits small enough to be reached. Nothing here is timed: buffers and connections are
counted.
"""

import asyncio
import base64
import json
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from tests.fakes.jobs import until
from tests.integration.test_server_limits import EP, Program, ask, calling, detail, serving

from telecine import app as whole
from telecine import settings
from telecine.cli.connection import LIMITS
from telecine.cli.serve import bind, connections
from telecine.cli.server import Server
from telecine.media.scan import Memory

HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def house(folder, config=""):
    """All of a server, with its models for tests and these settings."""
    (folder / "data").mkdir()
    (folder / "telecine.toml").write_text(f"[auth]\nrequired = false\n[providers.echo]\n{config}")
    found = settings.load(
        config=folder / "telecine.toml", flags={"data.dir": folder / "data"}, environ={}
    )
    async with whole.opened(found) as opened:
        sockets = bind("127.0.0.1", 0)
        server = Server(opened.asgi, stop_seconds=0, on_stop=opened.stop)
        server.port = sockets[0].getsockname()[1]
        served = asyncio.create_task(server.serve(sockets))
        await until(lambda: server.started)
        yield server
        server.should_exit = True
        await served


def head(path, size, *lines):
    said = "".join(f"{line}\r\n" for line in ("Host: localhost", f"Content-Length: {size}", *lines))
    return f"POST {path} HTTP/1.1\r\n{said}\r\n".encode()


def announced(path, size):
    """A call whose body never comes: whoever answers it has read nothing."""
    return head(path, size, "Expect: 100-continue")


async def refused(server, data):
    """The answer to a call whose body does not come, and its document."""
    async with calling(server) as caller:
        caller.send(data)
        status, headers, body = await caller.answer()
        return status, headers, json.loads(body)


# ---------------------------------------------------------------- before the body


def test_a_full_queue_is_told_before_the_body_is_read(run, tmp_path):
    async def main():
        config = "[jobs]\nslots = 0\nqueue_depth = 3\n"
        async with house(tmp_path, config) as server, calling(server) as caller:
            for _ in range(3):
                caller.send(ask("POST", f"/queue{EP}", "echo/echo"))
                assert (await caller.answer())[0] == 200
            status, headers, said = await refused(server, announced(f"/queue{EP}", 5_000_000))
            assert (status, said["type"]) == (429, "queue_full")
            assert "3 requests wait, and 3 may" in said["detail"]
            assert (headers["x-fal-needs-retry"], headers["retry-after"]) == ("1", "1")

    run(main())


def test_who_asks_again_with_an_idempotency_key_is_answered_by_a_full_queue(run, tmp_path):
    async def main():
        config = "[jobs]\nslots = 0\nqueue_depth = 1\n"
        async with house(tmp_path, config) as server, calling(server) as caller:
            call = ask("POST", f"/queue{EP}", "echo/echo").replace(
                b"\r\n\r\n", b"\r\nIdempotency-Key: once\r\n\r\n", 1
            )
            ids = set()
            for _ in range(2):
                caller.send(call)
                status, _, body = await caller.answer()
                assert status == 200
                ids.add(json.loads(body)["request_id"])
            assert len(ids) == 1

    run(main())


def test_a_queue_takes_what_it_says_that_it_takes_and_no_more(run, tmp_path):
    async def main():
        config = "[jobs]\nslots = 0\nqueue_depth = 40\n"

        async def submit(server):
            async with calling(server) as caller:
                caller.send(ask("POST", f"/queue{EP}", "echo/echo"))
                return (await caller.answer())[0]

        async with house(tmp_path, config) as server:
            told = await asyncio.gather(*(submit(server) for _ in range(60)))
        assert sorted(told) == [200] * 40 + [429] * 20

    run(main())


def test_a_key_that_runs_as_much_as_it_may_is_told_before_the_body_is_read(run, tmp_path):
    async def main():
        config = "[jobs]\nrunning_per_key = 1\n"
        async with house(tmp_path, config) as server, calling(server) as streaming:
            streaming.send(ask("POST", f"{EP}/stream", "echo/count-2-wait-60"))
            assert (await streaming.answer())[0] == 200
            for path in (EP, f"{EP}/stream"):
                status, headers, said = await refused(server, announced(path, 5_000_000))
                assert (status, said["type"]) == (429, "concurrent_requests_limit")
                assert headers["retry-after"] == "1"
                assert said["data"] == {"limit": 1}

    run(main())


def test_a_spool_without_room_is_told_before_the_body_is_read(run, tmp_path):
    async def main():
        config = '[media]\nspool_bytes_per_key = "1 MiB"\nmax_json_bytes = "1 MiB"\n'
        async with house(tmp_path, config) as server:
            for path in (EP, f"{EP}/stream", f"/queue{EP}"):
                status, _, said = await refused(server, announced(path, 4 * 2**20))
                assert (status, said["type"]) == (429, "spool_quota")
                assert "TELECINE_MEDIA_SPOOL_BYTES_PER_KEY" in said["detail"]

    run(main())


# ---------------------------------------------------------------- memory


def whole_call(prompt):
    body = json.dumps({"prompt": prompt, "model": "echo/wait-60"}).encode()
    return head(EP, len(body)) + body


@pytest.fixture
def little_memory(monkeypatch):
    """Room for the bodies of three calls, 300 KB each."""
    memory = Memory(1_000_000)
    monkeypatch.setattr(whole, "Memory", lambda _most: memory)
    return memory


def test_what_calls_under_way_hold_has_a_bound_and_the_next_is_told(run, tmp_path, little_memory):
    async def main():
        async with house(tmp_path) as server, AsyncExitStack() as stack:
            memory = little_memory
            callers = [await stack.enter_async_context(calling(server)) for _ in range(3)]
            for number, caller in enumerate(callers, 1):
                caller.send(whole_call("p" * 300_000))
                await until(lambda number=number: memory.used > number * 300_000)
            status, headers, said = await refused(server, whole_call("p" * 300_000))
            assert (status, headers["retry-after"]) == (503, "1")
            assert "as many as it may" in said["detail"]
            assert (await refused(server, ask("POST", EP, "echo/echo")))[0] == 200

    run(main())


def test_what_a_call_held_is_given_back_however_it_ends(run, tmp_path, little_memory):
    async def main():
        bad = b'{"prompt": "' + b"p" * 300_000 + b'", "model": "echo/echo"'
        unknown = json.dumps({"prompt": "p" * 300_000, "model": "nobody"}).encode()
        video = base64.b64encode(bytes(300_000)).decode()
        late = json.dumps({"video_urls": [f"data:video/mp4;base64,{video}"]}).encode()
        async with house(tmp_path) as server:
            memory = little_memory
            for body in (bad, unknown, late, b"[" * 300, b"[" + b"1," * 3_000):
                status, _, _ = await refused(server, head(EP, len(body)) + body)
                assert status in (413, 422)
                assert memory.used == 0
            async with calling(server) as caller:
                caller.send(whole_call("p" * 300_000))
                await until(lambda: memory.used > 300_000)
            await until(lambda: memory.used == 0)
            async with calling(server) as caller:
                caller.send(head(EP, 900_000) + b'{"prompt": "' + b"p" * 300_000)
                await until(lambda: memory.used > 300_000)
            await until(lambda: memory.used == 0)

    run(main())


@pytest.mark.usefixtures("little_memory")
def test_marks_count_for_what_they_take_when_they_are_read(run, tmp_path):
    async def main():
        async with house(tmp_path) as server:
            body = b"[" + b"1," * 100_000 + b"1]"
            assert (await refused(server, head(EP, len(body)) + body))[0] == 503

    run(main())


# ---------------------------------------------------------------- connections


def test_there_are_file_handles_for_all_connections_that_are_taken():
    assert connections() >= 16


def test_one_connection_too_many_is_told_so_before_it_says_anything(run):
    async def main():
        program = Program()
        program.may_answer.clear()
        async with serving(program, connections=3) as server, AsyncExitStack() as stack:
            callers = [await stack.enter_async_context(calling(server)) for _ in range(3)]
            for number, caller in enumerate(callers, 1):
                caller.send(HELLO)
                await until(lambda number=number: len(program.scopes) == number)
            async with calling(server) as one_more:
                answer = await one_more.answer()
                assert (answer[0], answer[1]["retry-after"]) == (503, "1")
                assert "as many connections" in detail(answer)
            program.may_answer.set()
            for caller in callers:
                assert (await caller.answer())[0] == 200
            async with calling(server) as next_one:
                next_one.send(HELLO)
                assert (await next_one.answer())[0] == 200

    run(main())


def test_who_says_nothing_makes_room_for_who_does(run):
    """The longest idle goes first: before its first word, in the midst of a head, after an answer."""

    async def main():
        async with serving(Program(), connections=3) as server, AsyncExitStack() as stack:
            enter = stack.enter_async_context
            silent, dripping, done = [await enter(calling(server)) for _ in range(3)]
            dripping.send(b"GET /hello HT")
            done.send(HELLO)
            assert (await done.answer())[0] == 200
            for gone in (silent, dripping, done):
                busy = await enter(calling(server))
                busy.send(b"GET /begun HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await busy.answer())[0] == 200
                assert await gone.rest() == b""

    run(main())


def test_thousands_that_say_nothing_keep_nobody_out(run):
    """Fifty times as many as there is room for, one after the other, and all stay."""

    async def main():
        async with serving(Program(), connections=20) as server, AsyncExitStack() as stack:
            for _ in range(1000):
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                stack.push_async_callback(closed, writer)
                assert len(server.server_state.connections) <= 25
            async with calling(server) as caller:
                caller.send(HELLO)
                assert (await caller.answer())[0] == 200

    run(main())


async def closed(writer):
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def test_a_flood_beyond_all_room_is_bounded_too(run):
    async def main():
        program = Program()
        program.may_answer.clear()
        async with serving(program, connections=8) as server, AsyncExitStack() as stack:
            for number in range(8):
                caller = await stack.enter_async_context(calling(server))
                caller.send(HELLO)
                await until(lambda number=number: len(program.scopes) == number + 1)
            for _ in range(50):
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                stack.push_async_callback(closed, writer)
            await until(lambda: len(server.server_state.connections) == 8 + 2)
            program.may_answer.set()

    run(main())


# ---------------------------------------------------------------- slow readers


def test_a_reader_that_takes_nothing_is_cut_off(run):
    class Endless:
        was_left = False

        async def __call__(self, scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            listening = asyncio.create_task(receive())
            while not listening.done():
                await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            self.was_left = True

    async def main():
        program = Endless()
        async with serving(program, deaf_seconds=0.05) as server, calling(server) as caller:
            caller.send(HELLO)
            await until(lambda: program.was_left)
            await until(lambda: not server.server_state.connections)

    run(main())


def test_a_reader_that_is_slow_gets_all_of_it(run):
    size = 20_000_000

    async def large(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(size // 100_000):
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def main():
        async with serving(large, deaf_seconds=0.3) as server, calling(server) as caller:
            caller.send(HELLO)
            await caller.answer()
            got = 0
            while got < size:
                got += len(await caller.piece())
                if got % 2_000_000 == 0:
                    await asyncio.sleep(0.06)
            assert got == size

    run(main())


def test_readers_that_take_nothing_keep_no_more_than_a_piece_each_in_memory(run, tmp_path):
    """Twenty streams whose readers stand still: what is written for them does not grow."""

    async def main():
        async with house(tmp_path) as server, AsyncExitStack() as stack:
            for _ in range(20):
                caller = await stack.enter_async_context(calling(server))
                caller.send(ask("POST", f"{EP}/stream", "echo/count-2000"))
            await until(lambda: len(server.server_state.connections) == 20)
            async with calling(server) as caller:
                for _ in range(5):
                    caller.send(ask("POST", EP, "echo/echo"))
                    assert (await caller.answer())[0] == 200
                    waiting = [
                        each.transport.get_write_buffer_size()
                        for each in server.server_state.connections
                    ]
                    assert max(waiting) < 200_000

    run(main())


def test_the_limits_of_a_real_server_are_these():
    """They stand in docs/how-to/run-in-production.md."""
    assert (LIMITS.connections, LIMITS.deaf_seconds, LIMITS.head_seconds) == (10_000, 120, 30)
