"""What a stranger on a socket can cost, and how a server stops with calls under way.

Real sockets, uvicorn as `telecine serve` sets it up, limits small enough to be reached.
"""

import asyncio
import json
import logging
import signal
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from sqlite3 import connect

import pytest
from tests.fakes.jobs import until

from telecine import app as whole
from telecine import settings
from telecine.api.edge import Edge
from telecine.api.failures import send_result
from telecine.cli.connection import LIMITS
from telecine.cli.serve import bind
from telecine.cli.server import Server
from telecine.models import Result

GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n"
EP = "/openrouter/router/video"
NEVER = 3600.0


class Program:
    """An application that tells what it was asked, and answers when it may."""

    def __init__(self):
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.began = asyncio.Event()
        self.scopes = []
        self.body = b""
        self.was_left = False

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        self.began.set()
        if scope["path"] == "/body":
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self.was_left = True
                    return
                self.body += message["body"]
                more = message["more_body"]
        if scope["path"] == "/stuck":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.was_left = True
            return
        if scope["path"] == "/begun":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            await self.may_answer.wait()
            await send({"type": "http.response.body", "body": b"last"})
            return
        await self.may_answer.wait()
        headers = {"content-type": "text/plain"}
        await send_result(send, Result(status=200, headers=headers, body=scope["path"]))


@asynccontextmanager
async def serving(program, *, stop_seconds=NEVER, on_stop=lambda: None, **limits):
    """A server with these limits; those not given are out of reach."""
    far = {"head_seconds": NEVER, "last_head_seconds": NEVER, "linger_seconds": NEVER}
    sockets = bind("127.0.0.1", 0)
    server = Server(
        Edge(program),
        stop_seconds=stop_seconds,
        on_stop=on_stop,
        limits=replace(LIMITS, farewell_seconds=0.2, **(far | limits)),
    )
    served = asyncio.create_task(server.serve(sockets))
    await until(lambda: server.started)
    server.port = sockets[0].getsockname()[1]
    server.served = served
    try:
        yield server
    finally:
        server.should_exit = server.force_exit = True
        await served


class Caller:
    """One connection."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer

    def send(self, data):
        self._writer.write(data)

    def finish(self):
        """Nothing more will be sent."""
        self._writer.write_eof()

    async def answer(self):
        """The next answer: its status, headers and body."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        line, *lines = head.decode().rstrip().split("\r\n")
        headers = dict(each.lower().split(": ", 1) for each in lines)
        body = b""
        if "content-length" in headers:
            body = await self._reader.readexactly(int(headers["content-length"]))
        return int(line.split()[1]), headers, body

    async def rest(self):
        """All up to the end of the connection."""
        got = b""
        with suppress(ConnectionError):
            while piece := await self._reader.read(65536):
                got += piece
        return got

    async def piece(self):
        """The next piece of a chunked answer."""
        size = int(await self._reader.readline(), 16)
        return (await self._reader.readexactly(size + 2))[:-2]


@asynccontextmanager
async def calling(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
def talk(run):
    """What comes back for `data`, to the end of the connection, from a server with limits."""

    def talk(data, **limits):
        async def main():
            async with serving(Program(), **limits) as server, calling(server) as caller:
                caller.send(data)
                return await caller.answer() if data else (0, {}, b""), await caller.rest()

        (status, headers, body), rest = run(main())
        assert rest == b""
        return status, headers, body

    return talk


def detail(answer):
    """What a refusal says; it has all that every failure has."""
    _, headers, body = answer
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"
    assert headers["x-fal-request-id"]
    assert headers["access-control-allow-origin"] == "*"
    return json.loads(body)["detail"]


# ---------------------------------------------------------------- the head


@pytest.mark.parametrize(
    "data",
    [
        GET + b"X: " + b"a" * 10_000,
        GET + b"X: " + b"a" * 10_000 + b"\r\n\r\n",
        GET + b"a" * 10_000,
        GET + b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(400)),
    ],
)
def test_headers_without_end_are_refused(talk, data):
    answer = talk(data, head_bytes=2_000)
    assert answer[0] == 431
    assert "headers have more than 2000 bytes" in detail(answer)


def test_too_many_headers_are_refused(talk):
    answer = talk(GET + b"X: 1\r\n" * 20 + b"\r\n", header_count=20)
    assert answer[0] == 431
    assert "20 headers" in detail(answer)


@pytest.mark.parametrize("end", [b"", b" HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_target_without_end_is_refused(talk, end):
    answer = talk(b"GET /" + b"a" * 10_000 + end, head_bytes=2_000)
    assert answer[0] == 414
    assert "request target" in detail(answer)


def test_a_caller_that_writes_all_before_it_reads_comes_to_know_why(run):
    async def main():
        async with serving(Program()) as server, calling(server) as caller:
            caller.send(GET + b"X: " + b"a" * 3_000_000)
            return await caller.answer()

    assert run(main())[0] == 431


def test_a_refused_caller_that_goes_on_is_cut_off(run):
    async def main():
        limits = {"head_bytes": 2_000, "linger_seconds": 0.05}
        async with serving(Program(), **limits) as server, calling(server) as caller:
            caller.send(GET + b"X: " + b"a" * 10_000)
            await caller.answer()
            while server.server_state.connections:
                caller.send(b"a")
                await asyncio.sleep(0.001)

    run(main())


def test_sixteen_kilobytes_of_headers_pass(run):
    async def main():
        async with serving(Program()) as server, calling(server) as caller:
            caller.send(GET + b"".join(b"X-%d: %b\r\n" % (i, b"a" * 1000) for i in range(16)))
            caller.send(b"\r\n")
            return await caller.answer()

    assert run(main())[0] == 200


def test_a_body_is_no_head_however_long_and_in_whatever_pieces(run):
    async def main():
        program = Program()
        async with serving(program, head_bytes=2_000) as server, calling(server) as caller:
            head = b"POST /body HTTP/1.1\r\nHost: x\r\n"
            caller.send(head + b"Content-Length: 300000\r\n\r\n" + b"a" * 300_000)
            assert (await caller.answer())[0] == 200
            chunk = b"3e8\r\n" + b"b" * 1000 + b"\r\n"
            caller.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 300 + b"0\r\n\r\n")
            assert (await caller.answer())[0] == 200
            assert len(program.body) == 600_000

    run(main())


@pytest.mark.parametrize("tail", [b"X: " + b"a" * 300_000, b"X: a\r\n" * 60_000])
def test_headers_after_the_body_can_not_fill_the_memory(run, tail):
    async def main():
        program = Program()
        async with serving(program, head_bytes=2_000) as server, calling(server) as caller:
            caller.send(b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            caller.send(b"1\r\na\r\n0\r\n" + tail)
            answer = await caller.answer()
            assert answer[0] == 400
            assert "around pieces of the body" in detail(answer)
            assert len(program.scopes[0]["headers"]) == 2

    run(main())


# ---------------------------------------------------------------- time


@pytest.mark.parametrize("data", [b"", b"G", GET + b"X-", b"\r\n"])
def test_a_head_that_does_not_come_in_time_ends_the_connection_without_a_word(run, data):
    async def main():
        async with serving(Program(), head_seconds=0.05) as server, calling(server) as caller:
            caller.send(data)
            return await caller.rest()

    assert run(main()) == b""


def test_a_head_that_drips_is_not_in_time_either(run):
    async def main():
        async with serving(Program(), head_seconds=0.05) as server, calling(server) as caller:
            caller.send(GET + b"X: ")
            while server.server_state.connections:
                caller.send(b"a")
                await asyncio.sleep(0.001)

    run(main())


def test_the_next_head_has_its_own_time_from_its_first_byte(run):
    async def main():
        program = Program()
        async with serving(program, head_seconds=0.2) as server, calling(server) as caller:
            caller.send(GET + b"\r\n")
            assert (await caller.answer())[0] == 200
            await asyncio.sleep(0.4)  # idle, which is no crime
            caller.send(GET)
            await asyncio.sleep(0)
            caller.send(b"\r\n")
            assert (await caller.answer())[0] == 200
            caller.send(GET)
            assert await caller.rest() == b""

    run(main())


def test_a_late_head_does_not_break_the_answer_before_it(run):
    async def main():
        program = Program()
        program.may_answer.clear()
        async with serving(program, head_seconds=0.05) as server, calling(server) as caller:
            caller.send(b"GET /begun HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
            await caller.answer()
            assert await caller.piece() == b"first"
            (connection,) = server.server_state.connections
            await until(lambda: connection._is_over)
            program.may_answer.set()
            assert await caller.rest() == b"4\r\nlast\r\n0\r\n\r\n"

    run(main())


# ---------------------------------------------------------------- what is no HTTP


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELLO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        GET + b" folded\r\nbad header\r\n\r\n",
    ],
)
def test_what_is_no_http_is_told_in_json_and_not_logged(talk, caplog, data):
    answer = talk(data)
    assert answer[0] == 400
    assert "not HTTP" in detail(answer)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_rubbish_behind_a_request_is_not_taken_for_its_answer(run):
    async def main():
        program = Program()
        program.may_answer.clear()
        async with serving(program) as server, calling(server) as caller:
            caller.send(b"GET /begun HTTP/1.1\r\nHost: x\r\n\r\nrubbish\r\n\r\n")
            assert (await caller.answer())[0] == 200
            program.may_answer.set()
            assert await caller.rest() == b"5\r\nfirst\r\n4\r\nlast\r\n0\r\n\r\n"

    run(main())


def test_a_body_that_is_no_http_ends_the_call(run):
    async def main():
        program = Program()
        async with serving(program) as server, calling(server) as caller:
            caller.send(b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            await program.began.wait()
            caller.send(b"not hex\r\n")
            answer = await caller.answer()
            assert (answer[0], await caller.rest()) == (400, b"")
            detail(answer)
        assert program.was_left

    run(main())


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
def test_an_upgrade_is_answered_as_what_it_is_without_it(talk, caplog, protocol):
    answer = talk(GET + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
    assert (answer[0], answer[2]) == (200, b"/hello")
    assert answer[1]["connection"] == "close"
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@pytest.mark.parametrize("name", ["Host", "Authorization"])
def test_two_headers_that_differ_where_one_decides_are_refused(run, name):
    async def main():
        async with serving(Program()) as server, calling(server) as caller:
            for two, status in (("b", 400), ("a", 200)):
                headers = f"{name}: a\r\n{name}: {two}\r\n"
                headers += "Host: x\r\n" if name != "Host" else ""
                caller.send(f"GET /hello HTTP/1.1\r\n{headers}\r\n".encode())
                answer = await caller.answer()
                assert answer[0] == status
                if status == 400:
                    assert f"two {name} headers" in json.loads(answer[2])["detail"]

    run(main())


# ---------------------------------------------------------------- stopping


def test_an_answer_under_way_is_finished_and_says_that_it_is_the_last(run):
    async def main():
        program, told = Program(), []
        program.may_answer.clear()
        async with (
            serving(program, on_stop=lambda: told.append("stop")) as server,
            calling(server) as caller,
            calling(server) as idle,
        ):
            caller.send(GET + b"\r\n")
            await program.began.wait()
            server.should_exit = True
            assert await idle.rest() == b""
            program.may_answer.set()
            status, headers, _ = await caller.answer()
            assert (status, headers["connection"]) == (200, "close")
            await server.served
        assert told == ["stop"]

    run(main())


def test_a_request_that_comes_while_the_server_stops_is_sent_away_in_json(run):
    async def main():
        program = Program()
        async with serving(program) as server, calling(server) as caller:
            caller.send(GET + b"\r\n")
            await caller.answer()
            caller.send(GET)
            (connection,) = server.server_state.connections
            await until(lambda: connection._is_in_head)
            server.should_exit = True
            await until(lambda: server._is_stopping)
            caller.send(b"\r\n")
            answer = await caller.answer()
            assert answer[0] == 503
            assert "The server is stopping" in detail(answer)
            assert answer[1]["x-fal-needs-retry"] == "true"
            await server.served
        assert len(program.scopes) == 1

    run(main())


def test_half_a_head_does_not_hold_up_the_stop(run):
    async def main():
        limits = {"last_head_seconds": 0.05}
        async with serving(Program(), **limits) as server, calling(server) as caller:
            caller.send(GET)
            await until(lambda: any(c._is_in_head for c in server.server_state.connections))
            server.should_exit = True
            assert await caller.rest() == b""
            await server.served

    run(main())


@pytest.mark.parametrize("is_second_signal", [False, True])
def test_when_time_is_up_that_is_told_and_then_who_is_left_is_cut_off(
    run, caplog, is_second_signal
):
    async def main():
        program, told = Program(), []
        stop_seconds = NEVER if is_second_signal else 0.05
        on_stop = told.append
        async with (
            serving(program, stop_seconds=stop_seconds, on_stop=lambda: on_stop("stop")) as server,
            calling(server) as caller,
        ):
            caller.send(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
            await program.began.wait()
            server.handle_exit(signal.SIGINT, None)
            await until(lambda: told)
            if is_second_signal:
                server.handle_exit(signal.SIGINT, None)
            assert await caller.rest() == b""
            await server.served
        assert told == ["stop", "stop"]
        assert program.was_left

    run(main())
    assert caplog.records == []


# ---------------------------------------------------------------- stopping with calls under way


@asynccontextmanager
async def house(folder):
    """All of a server, with its models for tests."""
    (folder / "data").mkdir()
    config = folder / "telecine.toml"
    config.write_text("[auth]\nrequired = false\n[providers.echo]\n")
    found = settings.load(config=config, flags={"data.dir": folder / "data"}, environ={})
    found = replace(found, server=replace(found.server, stop_seconds=0.3))
    async with whole.opened(found) as opened:
        sockets = bind("127.0.0.1", 0)
        server = Server(opened.asgi, stop_seconds=0.3, on_stop=opened.stop)
        server.port = sockets[0].getsockname()[1]
        server.served = asyncio.create_task(server.serve(sockets))
        yield server
        server.should_exit = True
        await server.served


def ask(method, path, model=None):
    body = b"" if model is None else json.dumps({"prompt": "p", "model": model}).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def rows(folder):
    with closing(connect(folder / "data" / "telecine.db")) as db:
        return db.execute("SELECT mode, state, error FROM requests ORDER BY mode").fetchall()


STOPPED = "The server stopped while it was working on this request"


def test_calls_that_are_not_done_in_time_are_told_so_each_in_its_own_way(run, tmp_path, caplog):
    async def main():
        async with (
            house(tmp_path) as server,
            calling(server) as waiting,
            calling(server) as streaming,
            calling(server) as silent,
            calling(server) as chatting,
            calling(server) as watching,
        ):
            watching.send(ask("POST", f"/queue{EP}", "echo/wait-60"))
            job = json.loads((await watching.answer())[2])["request_id"]
            watching.send(ask("GET", f"/queue/openrouter/router/requests/{job}/status/stream"))
            waiting.send(ask("POST", EP, "echo/wait-60"))
            streaming.send(ask("POST", f"{EP}/stream", "echo/count-100-wait-60"))
            silent.send(ask("POST", f"{EP}/stream", "echo/wait-60"))
            chat = {"model": "echo/count-100-wait-60", "stream": True}
            chat["messages"] = [{"role": "user", "content": "p"}]
            body = json.dumps(chat).encode()
            path = "/openrouter/router/openai/v1/chat/completions"
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            chatting.send(head.encode() + body)
            assert (await watching.answer())[0] == 200
            assert (await streaming.answer())[0] == 200
            assert (await chatting.answer())[0] == 200
            await streaming.piece()
            server.should_exit = True

            for caller in (waiting, silent):
                status, headers, body = await caller.answer()
                assert (status, json.loads(body)) == (500, {"detail": STOPPED})
                assert headers["x-fal-needs-retry"] == "false"
                assert headers["x-fal-billable-units"] == "0"
                assert headers["x-fal-request-id"]

            rest = (await streaming.rest()).decode()
            assert rest.endswith("\r\n0\r\n\r\n")
            last = json.loads(rest.split("data: ")[-1].split("\n")[0])
            assert (last["error"], last["partial"]) == (STOPPED, False)
            assert last["output"].startswith("1")

            rest = (await chatting.rest()).decode()
            assert rest.endswith("\r\n0\r\n\r\n")
            assert STOPPED in rest

            # No last word: a client that saw a normal end would take the last state as final.
            rest = await watching.rest()
            assert b"COMPLETED" not in rest
            assert not rest.endswith(b"0\r\n\r\n")
            await server.served

    run(main())
    live = [row for row in rows(tmp_path) if row[0] != "queue"]
    assert [row[0] for row in live] == ["run", "stream", "stream", "stream"]
    assert {row[1:] for row in live} == {("failed", STOPPED)}
    assert [row[1] for row in rows(tmp_path) if row[0] == "queue"] == ["queued"]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
