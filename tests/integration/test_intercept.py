"""The proxy, the TLS end and the way out of `telecine exec`, on real sockets."""

import asyncio
import contextlib
import io
import json
import os
import socket
import ssl
import stat
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import uvicorn

from telecine.intercept.gateway import Server
from telecine.intercept.opened import opened
from telecine.net import Client

CANARY = "Key real-fal-id:real-fal-secret"
KEY = "telecine-id:telecine-secret"
RUN = "https://fal.run/openrouter/router/video"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


class Telecine:
    """An ASGI application in Telecine's place. What it does is said by the path."""

    def __init__(self):
        self.scopes = []
        self.bodies = []
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        self.asked.set()
        await getattr(self, scope["path"].strip("/").partition("/")[0])(scope, receive, send)

    async def echo(self, _scope, receive, send):
        body = b"".join([piece async for piece in pieces(receive)])
        self.bodies.append(body)
        await answer(send, 200, body, (b"content-length", str(len(body)).encode()))

    async def size(self, _scope, receive, send):
        size = sum([len(piece) async for piece in pieces(receive)])
        await answer(send, 200, str(size).encode())

    async def events(self, _scope, _receive, send):
        """Two events; the second when the test has seen the first."""
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    async def endless(self, _scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        async for _ in pieces(receive):
            pass
        await receive()
        self.left.set()

    async def waiting(self, _scope, receive, _send):
        """Never answers; knows when it is left."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()

    async def refused(self, _scope, _receive, send):
        """Without reading the body."""
        await answer(send, 401, b'{"detail": "no"}')

    async def broken(self, _scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ConnectionError("the server dies")


async def pieces(receive):
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def answer(send, status, body, *headers):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


class Program:
    """A program's side: its environment, and a client that follows it."""

    def __init__(self, environment, calls, session):
        self.environment = environment
        self.calls = calls
        self.session = session
        self.proxy = urlsplit(environment["HTTPS_PROXY"])
        self.folder = Path(environment["SSL_CERT_FILE"]).parent

    def request(self, method, url, **more):
        return self.session.request(method, url, proxy=self.environment["HTTPS_PROXY"], **more)

    async def connect(self):
        """A plain connection to the proxy."""
        return await asyncio.open_connection(self.proxy.hostname, self.proxy.port)

    def login(self):
        encoded = aiohttp.encode_basic_auth(self.proxy.username, self.proxy.password)
        return f"Proxy-Authorization: {encoded}\r\n"


@contextlib.asynccontextmanager
async def running(telecine, *, is_only_fal=False, given=None):
    calls = []
    async with opened(
        telecine, key=KEY, is_only_fal=is_only_fal, given=given or {}, on_call=calls.append
    ) as environment:
        trust = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
        connector = aiohttp.TCPConnector(ssl=trust)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Program(environment, calls, session)


@contextlib.asynccontextmanager
async def by_http(app):
    """The same application behind HTTP, as `--server URL` has it."""
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical", ws="none"))
    server.capture_signals = contextlib.nullcontext
    # It listens already: who calls before the server has started waits a little.
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    task = asyncio.create_task(server.serve([listener]))
    client = Client(allow=(), proxy=None, connect_seconds=5, user_agent="test")
    try:
        async with client:
            yield Server(client.trusted(), f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = server.force_exit = True
        await task


@pytest.fixture(params=["in this process", "by HTTP"])
def reached(request):
    """Telecine reached in each of the two ways: `async with reached(telecine) as app`."""
    return contextlib.nullcontext if request.param == "in this process" else by_http


# ---------------------------------------------------------------- calls to fal


def test_a_call_to_fal_reaches_telecine_with_its_own_key(run, reached):
    async def story():
        telecine = Telecine()
        async with reached(telecine) as app, running(app) as program:
            headers = {"Authorization": CANARY, "X-Fal-Queue-Priority": "low"}
            url = "https://queue.fal.run/echo/a%2Fb?x=1&y=%20"
            async with program.request("POST", url, headers=headers, data=b"body") as got:
                assert (got.status, await got.read()) == (200, b"body")
        (scope,) = telecine.scopes
        sent = dict(scope["headers"])
        assert sent[b"authorization"] == f"Key {KEY}".encode()
        assert sent[b"x-telecine-host"] == b"queue.fal.run"
        assert sent[b"x-fal-queue-priority"] == b"low"
        assert (scope["raw_path"], scope["query_string"]) == (b"/echo/a%2Fb", b"x=1&y=%20")
        assert "real-fal" not in repr(telecine.scopes)

    run(story())


def test_a_connection_is_used_again(run, reached):
    async def story():
        async with reached(Telecine()) as app, running(app) as program:
            for number in range(3):
                async with program.request("POST", "https://fal.run/echo", data=b"x") as got:
                    assert await got.read() == b"x", number
            assert len(program.session.connector._conns) == 1

    run(story())


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_large_body_passes_both_ways(run, reached, is_chunked):
    async def story():
        async def body():
            for _ in range(64):
                yield bytes(1 << 20)

        async with reached(Telecine()) as app, running(app) as program:
            headers = {} if is_chunked else {"Content-Length": str(64 << 20)}
            async with program.request(
                "PUT", "https://v3.fal.media/size", data=body(), headers=headers
            ) as got:
                assert await got.read() == str(64 << 20).encode()
            data = bytes(range(256)) * (1 << 14)
            async with program.request(
                "POST", "https://fal.run/echo", data=io.BytesIO(data)
            ) as got:
                assert await got.read() == data

    run(story())


def test_events_arrive_while_the_stream_goes_on(run, reached):
    async def story():
        telecine = Telecine()
        async with reached(telecine) as app, running(app) as program:
            async with program.request("POST", "https://fal.run/events") as got:
                assert await got.content.readany() == b"data: 1\n\n"
                telecine.go_on.set()
                assert await got.content.read() == b"data: 2\n\n"

    run(story())


@pytest.mark.parametrize("path", ["endless", "waiting"])
def test_who_hangs_up_is_gone_at_telecine_too(run, reached, path):
    async def story():
        telecine = Telecine()
        async with reached(telecine) as app, running(app) as program:
            asking = asyncio.ensure_future(ask(program, f"https://fal.run/{path}"))
            await telecine.asked.wait()
            asking.cancel()
            await telecine.left.wait()

    async def ask(program, url):
        async with program.request("POST", url, data=b"{}") as got:
            await got.read()

    run(story())


def test_an_answer_that_breaks_off_is_seen_to(run, reached):
    async def story():
        async with reached(Telecine()) as app, running(app) as program:
            async with program.request("POST", "https://fal.run/broken") as got:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await got.read()
        assert [call.outcome for call in program.calls] == ["200 broken off"]

    run(story())


def test_the_server_decides_whether_a_waiting_body_is_sent(run, reached):
    async def story():
        telecine = Telecine()
        async with reached(telecine) as app, running(app) as program:
            async with program.request(
                "POST", "https://fal.run/echo", data=b"sent", expect100=True
            ) as got:
                assert await got.read() == b"sent"

            async def body():
                raise AssertionError("nobody asked for the body")
                yield b""

            async with program.request(
                "POST", "https://fal.run/refused", data=body(), expect100=True
            ) as got:
                assert got.status == 401

    run(story())


def test_a_refusal_before_the_body_is_read_arrives(run, reached):
    async def story():
        async with reached(Telecine()) as app, running(app) as program:
            async with program.request(
                "POST", "https://fal.run/refused", data=io.BytesIO(bytes(8 << 20))
            ) as got:
                assert (got.status, await got.json(content_type=None)) == (401, {"detail": "no"})

    run(story())


def test_a_server_that_is_gone_is_told(run):
    async def story():
        async with by_http(Telecine()) as app:
            pass
        client = Client(allow=(), proxy=None, connect_seconds=5, user_agent="test")
        async with client, running(Server(client.trusted(), app._origin)) as program:
            async with program.request("GET", "https://fal.run/echo") as got:
                assert got.status == 502
                assert "does not answer" in (await got.json())["detail"]

    run(story())


def test_a_websocket_is_refused_with_an_answer(run):
    async def story():
        async with running(Telecine()) as program:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await program.session.ws_connect(
                    "wss://fal.run/openrouter/router/video/realtime",
                    proxy=program.environment["HTTPS_PROXY"],
                )
            assert refusal.value.status == 404

    run(story())


# ---------------------------------------------------------------- who may use it


@pytest.mark.parametrize("login", ["", "Proxy-Authorization: Basic dGVsZWNpbmU6d3Jvbmc=\r\n"])
@pytest.mark.parametrize("line", ["CONNECT fal.run:443", "GET http://fal.run/echo"])
def test_who_does_not_know_the_password_is_refused(run, line, login):
    async def story():
        telecine = Telecine()
        async with running(telecine) as program:
            reader, writer = await program.connect()
            writer.write(f"{line} HTTP/1.1\r\nHost: fal.run\r\n{login}\r\n".encode())
            assert (await reader.read()).startswith(b"HTTP/1.1 407 ")
            writer.close()
        assert not telecine.scopes

    run(story())


@pytest.mark.parametrize("line", ["nonsense", "CONNECT fal.run", "CONNECT a b c", "\x16\x03\x01"])
def test_what_is_no_proxy_request_gets_an_answer(run, line):
    async def story():
        async with running(Telecine()) as program:
            reader, writer = await program.connect()
            writer.write(f"{line} HTTP/1.1\r\n{program.login()}\r\n".encode())
            writer.write_eof()
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()

    run(story())


def test_it_listens_on_loopback_alone_and_its_folder_is_private(run):
    async def story():
        async with running(Telecine()) as program:
            assert program.proxy.hostname == "127.0.0.1"
            assert stat.S_IMODE(program.folder.stat().st_mode) == 0o700
        assert not program.folder.exists()

    run(story())


def test_no_private_key_lies_anywhere(run, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def story():
        async with running(Telecine()) as program:
            assert program.folder.parent == tmp_path
            files = [path for path in tmp_path.rglob("*") if path.is_file()]
            assert len(files) >= 6
            assert not [path for path in files if b"PRIVATE KEY" in path.read_bytes()]

    run(story())


# ---------------------------------------------------------------- other hosts


@contextlib.asynccontextmanager
async def other_host():
    """A host that is not fal's: remembers every byte, answers each connection with one line."""
    seen = []

    async def serve(reader, writer):
        while piece := await reader.read(1000):
            seen.append(piece)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            await writer.drain()
            writer.close()
            break

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


def test_a_tunnel_to_another_host_carries_bytes_as_they_are(run):
    async def story():
        async with other_host() as (port, seen), running(Telecine()) as program:
            reader, writer = await program.connect()
            writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n{program.login()}\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            writer.write(b"\x00\xff anything")
            assert (await reader.read()).endswith(b"hello")
            writer.close()
            assert b"".join(seen) == b"\x00\xff anything"
        assert [(call.method, call.outcome) for call in program.calls] == [("CONNECT", "passed")]

    run(story())


def test_a_plain_request_to_another_host_keeps_its_credentials_but_not_ours(run):
    async def story():
        async with other_host() as (port, seen), running(Telecine()) as program:
            headers = {"Authorization": "Bearer theirs"}
            url = f"http://127.0.0.1:{port}/x?y=1"
            async with program.request("GET", url, headers=headers) as got:
                assert await got.read() == b"hello"
            sent = b"".join(seen).lower()
            assert sent.startswith(b"get /x?y=1 http/1.1\r\n")
            assert b"authorization: bearer theirs" in sent
            assert b"proxy-auth" not in sent
            assert b"x-telecine" not in sent

    run(story())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_with_only_fal_other_hosts_are_refused(run, scheme):
    async def story():
        async with other_host() as (port, seen), running(Telecine(), is_only_fal=True) as program:
            reader, writer = await program.connect()
            target = f"127.0.0.1:{port}"
            line = f"CONNECT {target}" if scheme == "https" else f"GET http://{target}/"
            writer.write(f"{line} HTTP/1.1\r\nHost: x\r\n{program.login()}\r\n".encode())
            assert (await reader.read()).startswith(b"HTTP/1.1 403 ")
            writer.close()
            assert not seen

    run(story())


def test_a_host_that_can_not_be_reached_is_told(run):
    async def story():
        async with other_host() as (port, _):
            pass
        async with running(Telecine()) as program:
            with pytest.raises(aiohttp.ClientHttpProxyError) as refusal:
                await program.request("GET", f"https://127.0.0.1:{port}/")
            assert refusal.value.status == 502

    run(story())


@pytest.mark.parametrize("port", [22, 8443])
def test_fals_names_are_stood_for_on_the_ports_of_the_web_alone(run, port):
    async def story():
        async with running(Telecine()) as program:
            with pytest.raises(aiohttp.ClientHttpProxyError) as refusal:
                await program.request("GET", f"https://fal.run:{port}/")
            assert refusal.value.status == 403

    run(story())


# ---------------------------------------------------------------- behind the user's own proxy


@contextlib.asynccontextmanager
async def corporate_proxy(status=b"200"):
    """The proxy that was in the environment before: remembers what it was asked."""
    seen = []

    async def serve(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        if seen[0].startswith(b"CONNECT"):
            writer.write(b"HTTP/1.1 %s whatever\r\n\r\n" % status)
            seen.append(await reader.read(100))
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://user:pass%20word@127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


def test_other_hosts_are_reached_through_the_users_proxy(run, monkeypatch):
    async def story():
        async with corporate_proxy() as (url, seen):
            monkeypatch.setenv("HTTPS_PROXY", url)
            async with running(Telecine()) as program:
                reader, writer = await program.connect()
                writer.write(f"CONNECT example.org:443 HTTP/1.1\r\n{program.login()}\r\n".encode())
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                writer.write(b"raw")
                assert await reader.read() == b"hello"
                writer.close()
        head, rest = seen
        assert head.startswith(b"CONNECT example.org:443 HTTP/1.1\r\n")
        assert b"Basic dXNlcjpwYXNzIHdvcmQ=\r\n" in head
        assert rest == b"raw"

    run(story())


def test_a_real_file_is_fetched_through_it_and_nobody_learns_who_asks(run, monkeypatch):
    async def story():
        async with corporate_proxy(status=b"403") as (url, seen):
            monkeypatch.setenv("HTTPS_PROXY", url)
            async with running(Telecine()) as program:
                headers = {"Authorization": CANARY}
                file = "https://v3.fal.media/files/monkey/a.png"
                async with program.request("GET", file, headers=headers) as got:
                    assert got.status == 502
        assert seen[0].startswith(b"CONNECT v3.fal.media:443 HTTP/1.1\r\n")
        assert b"real-fal" not in b"".join(seen)

    run(story())


def test_calls_to_fal_never_go_there(run, monkeypatch):
    async def story():
        async with corporate_proxy() as (url, seen):
            monkeypatch.setenv("HTTPS_PROXY", url)
            monkeypatch.setenv("ALL_PROXY", url)
            async with running(Telecine()) as program:
                async with program.request("POST", "https://fal.run/echo", data=b"x") as got:
                    assert got.status == 200
                for other in ("https://docs.fal.ai/x", "http://wma.fal.run/"):
                    async with program.request("GET", other) as got:
                        assert got.status == 404
        assert not seen

    run(story())


def test_exceptions_from_the_users_proxy_hold(run, monkeypatch):
    async def story():
        async with corporate_proxy() as (url, seen), other_host() as (port, _):
            monkeypatch.setenv("HTTP_PROXY", url)
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            async with running(Telecine()) as program:
                async with program.request("GET", f"http://127.0.0.1:{port}/") as got:
                    assert await got.read() == b"hello"
        assert not seen

    run(story())


def test_a_proxy_of_another_kind_is_not_gone_around(run, monkeypatch):
    async def story():
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
        async with running(Telecine()) as program:
            reader, writer = await program.connect()
            writer.write(f"CONNECT example.org:443 HTTP/1.1\r\n{program.login()}\r\n".encode())
            said = await reader.read()
            writer.close()
        assert said.startswith(b"HTTP/1.1 502 ")
        detail = json.loads(said.partition(b"\r\n\r\n")[2])["detail"]
        assert "proxy of type socks5" in detail

    run(story())
