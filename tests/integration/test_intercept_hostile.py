"""`telecine exec` with a program that means harm: what it says on the wire, byte by byte."""

import asyncio
import contextlib
import ssl

import pytest
from tests.integration.test_intercept import (
    CANARY,
    KEY,
    Telecine,
    by_http,
    corporate_proxy,
    running,
)

TRUSTED = f"Key {KEY}".encode()


@contextlib.asynccontextmanager
async def inside(program, authority="fal.run:443", name="fal.run"):
    """A connection through the proxy, encrypted for `name`."""
    reader, writer = await program.connect()
    try:
        writer.write(f"CONNECT {authority} HTTP/1.1\r\n{program.login()}\r\n".encode("latin-1"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head, head
        trust = ssl.create_default_context(cafile=program.environment["SSL_CERT_FILE"])
        await writer.start_tls(trust, server_hostname=name)
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def said(reader):
    """All that comes, to the end of the connection."""
    got = b""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while piece := await reader.read(65_536):
            got += piece
    return got


def ask(target, *headers, host="fal.run", body=b""):
    head = [f"POST {target} HTTP/1.1", f"Host: {host}", *headers]
    if not any(each.lower().startswith(("content-length", "transfer-")) for each in headers):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "Connection: close", "", ""]).encode("latin-1") + body


def story_of(run, *calls, by=contextlib.nullcontext, **how):
    """What Telecine was asked when a program said this inside the encryption, and what came back."""

    async def story():
        telecine, answers = Telecine(), []
        async with by(telecine) as app, running(app, **how) as program:
            for call in calls:
                async with inside(program) as (reader, writer):
                    writer.write(call)
                    answers.append(await said(reader))
        return telecine.scopes, answers

    return run(story())


@pytest.mark.parametrize("by", [contextlib.nullcontext, by_http], ids=["here", "by HTTP"])
@pytest.mark.parametrize(
    "named",
    [
        "authorization",
        "x-telecine-host",
        "host",
        "content-length",
        "x-telecine-host, Authorization",
    ],
)
def test_a_program_can_not_have_the_headers_left_out_that_are_set_for_it(run, by, named):
    call = ask("/echo", f"Connection: {named}", f"Authorization: {CANARY}", body=b"body")
    (scope,), (answer,) = story_of(run, call, by=by)
    sent = dict(scope["headers"])
    assert sent[b"authorization"] == TRUSTED
    assert sent[b"x-telecine-host"] == b"fal.run"
    assert answer.endswith(b"body")
    assert "real-fal" not in repr(scope)


@pytest.mark.parametrize(
    "headers",
    [
        [f"Authorization: {CANARY}", f"authorization: {CANARY}"],
        [f"AUTHORIZATION: {CANARY}"],
        [f"Proxy-Authorization: {CANARY}"],
        [f"Cookie: key={CANARY}"],
        ["X-Telecine-Host: rest.fal.ai", f"Authorization: {CANARY}"],
        ["x-telecine-host: queue.fal.run", "x-telecine-host: rest.fal.ai"],
    ],
)
def test_what_the_program_brings_of_its_own_is_replaced(run, headers):
    (scope,), _ = story_of(run, ask("/echo", *headers))
    assert [value for name, value in scope["headers"] if name == b"authorization"] == [TRUSTED]
    assert [value for name, value in scope["headers"] if name == b"x-telecine-host"] == [b"fal.run"]
    assert "real-fal" not in repr(scope)


HIDDEN = b"POST /echo/hidden HTTP/1.1\r\nHost: fal.run\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("by", [contextlib.nullcontext, by_http], ids=["here", "by HTTP"])
@pytest.mark.parametrize(
    "call",
    [
        ask("/echo", "Content-Length: 4", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN),
        ask("/echo", "Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + HIDDEN),
        ask("/echo", "Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + HIDDEN),
        ask("/echo", "Content-Length: 0", "Content-Length: 5", body=HIDDEN),
        ask("/echo", "Content-Length: +5", body=HIDDEN),
        ask("/echo", "Transfer-Encoding : chunked", body=b"0\r\n\r\n" + HIDDEN),
        ask("/echo", "X: y\nContent-Length: 0", body=HIDDEN),
        ask("/echo", "X: a\0b", body=HIDDEN),
        ask("/echo\r\nX: y", body=HIDDEN),
        ask("/echo x", body=HIDDEN),
    ],
)
def test_no_call_hides_in_another(run, by, call):
    scopes, answers = story_of(run, call, by=by)
    assert b"hidden" not in repr(scopes).encode()
    assert answers[0] == b"" or answers[0].split()[1] < b"500"


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("https://evil.test/echo", "fal.run"),
        ("http://127.0.0.1:1/echo", "fal.run"),
        ("/echo", "evil.test"),
        ("/echo", "fal.run.evil.test"),
        ("/echo", "evilfal.run"),
        ("/echo", "fal.run@evil.test"),
        ("/echo", "127.0.0.1"),
        ("/echo", "other.fal.run"),
        ("/echo", ""),
    ],
)
def test_only_fals_names_are_answered_behind_the_encryption_and_nothing_is_sent_on(
    run, target, host
):
    scopes, (answer,) = story_of(run, ask(target, f"Authorization: {CANARY}", host=host))
    assert scopes == []
    assert answer.split()[1] in (b"400", b"404")


@pytest.mark.parametrize(
    "authority",
    [
        "fal.run",
        "fal.run:",
        "fal.run:0",
        "fal.run:65536",
        "fal.run:443:443",
        "fal.run:+443",
        "fal.run:４４３",
        "user@fal.run:443",
        "fal.run@127.0.0.1:443",
        "http://fal.run:443",
        "/fal.run:443",
        "[fal.run]:443",
        "fal.run\t:443",
        "f\xaal.run:443",
        "fal\xb7run:443",
        "fal\xe3\x80\x82run:443",
        "",
        ":443",
    ],
)
def test_an_odd_tunnel_is_refused_and_nobody_is_asked(run, monkeypatch, authority):
    async def story():
        async with corporate_proxy() as (url, seen):
            monkeypatch.setenv("HTTPS_PROXY", url)
            telecine = Telecine()
            async with running(telecine) as program:
                reader, writer = await program.connect()
                line = f"CONNECT {authority} HTTP/1.1\r\n{program.login()}\r\n"
                writer.write(line.encode("utf-8" if "４" in authority else "latin-1"))
                assert (await said(reader)).startswith(b"HTTP/1.1 400 ")
                writer.close()
            assert (seen, telecine.scopes) == ([], [])

    run(story())


@pytest.mark.parametrize("host", ["f\xaal.run", "fal.run\xad", "\xb9.fal.run"])
def test_a_plain_request_to_a_name_that_only_looks_like_another_is_refused(run, monkeypatch, host):
    async def story():
        async with corporate_proxy() as (url, seen):
            monkeypatch.setenv("HTTP_PROXY", url)
            async with running(Telecine()) as program:
                reader, writer = await program.connect()
                head = f"GET http://{host}/echo HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
                writer.write(f"{head}{program.login()}\r\n".encode("latin-1"))
                assert (await said(reader)).split()[1] in (b"400", b"404")
                writer.close()
            assert seen == []

    run(story())


@pytest.mark.parametrize("authority", ["FAL.RUN:443", "fal.run.:443", "Queue.Fal.Run:443"])
def test_fals_names_are_stood_for_however_they_are_spelt(run, authority):
    async def story():
        telecine = Telecine()
        async with running(telecine) as program:
            async with inside(program, authority) as (reader, writer):
                writer.write(ask("/echo", body=b"here"))
                assert (await said(reader)).endswith(b"here")
        assert len(telecine.scopes) == 1

    run(story())


def test_a_head_without_end_is_given_up(run):
    async def story():
        async with running(Telecine()) as program:
            reader, writer = await program.connect()
            writer.write(b"CONNECT fal.run:443 HTTP/1.1\r\n" + b"X: y\r\n" * 20_000)
            assert (await said(reader)).startswith((b"HTTP/1.1 400 ", b""))
            writer.close()
            async with program.request("POST", "https://fal.run/echo", data=b"on") as got:
                assert await got.read() == b"on"

    run(story())


def test_programs_that_hang_in_the_handshake_hold_up_nobody(run):
    async def story():
        async with running(Telecine()) as program:
            stuck = [await program.connect() for _ in range(50)]
            for _, writer in stuck:
                writer.write(f"CONNECT fal.run:443 HTTP/1.1\r\n{program.login()}\r\n".encode())
                writer.write(b"\x16\x03\x01")
            async with program.request("POST", "https://fal.run/echo", data=b"on") as got:
                assert await got.read() == b"on"
            for _, writer in stuck:
                writer.close()

    run(story())
