"""Requests that two readers may understand differently, and JSON that asks for much: raw, on a socket.

Whatever comes in, one of two things happens: an answer below 500 that says what is wrong, or the end
of the connection. Nobody else's calls are touched.
"""

import asyncio
import json
from contextlib import suppress

import pytest
from tests.integration.test_server_limits import calling, house

EP = "/openrouter/router/video"
GOOD = b'{"prompt": "p", "model": "echo/echo"}'


def post(body, *headers, path=EP):
    head = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    if not any(
        each.lower().startswith(("content-length", "transfer-encoding")) for each in headers
    ):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def get(target, *headers, host="localhost"):
    head = [f"GET {target} HTTP/1.1", f"Host: {host}", *headers, "Connection: close", "", ""]
    return "\r\n".join(head).encode("latin-1")


def chunked(*pieces):
    return b"".join(pieces) + b"0\r\n\r\n"


# ---------------------------------------------------------------- JSON

JSON = {
    "deep arrays": (b"[" * 100_000 + b"]" * 100_000, 422),
    "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 422),
    "deep, not closed": (b"[" * 300_000, 422),
    "wide array": (b"[" + b"1," * 500_000 + b"1]", 413),
    "a million keys": (b"{" + b",".join(b'"%d":1' % n for n in range(300_000)) + b"}", 413),
    "empty objects": (b"[" + b"{}," * 300_000 + b"{}]", 413),
    "a number of 5000 digits": (b'{"prompt": "p", "max_tokens": ' + b"9" * 5000 + b"}", 422),
    "a number of a million digits": (b'{"temperature": 1' + b"0" * 1_000_000 + b"}", 422),
    "an exponent": (b'{"prompt": "p", "model": "echo/echo", "temperature": 1e999999}', 422),
    "a tiny exponent": (b'{"prompt": "p", "model": "echo/echo", "temperature": 1e-999999}', 200),
    "NaN": (b'{"prompt": "p", "model": "echo/echo", "temperature": NaN}', 422),
    "Infinity": (b'{"prompt": "p", "model": "echo/echo", "temperature": -Infinity}', 422),
    "a name twice": (b'{"prompt": "a", "prompt": "p", "model": "echo/echo"}', 200),
    "a lone surrogate": (rb'{"prompt": "\ud800", "model": "echo/echo"}', None),
    "a lone surrogate as a name": (rb'{"\udfff": 1, "prompt": "p", "model": "echo/echo"}', None),
    "a lone surrogate as a model": (rb'{"prompt": "p", "model": "echo/\ud800"}', 422),
    "a lone surrogate as a URL": (
        rb'{"prompt": "p", "model": "echo/echo", "video_urls": ["http://\ud800/"]}',
        422,
    ),
    "NUL": (rb'{"prompt": "a\u0000b", "model": "echo/echo"}', 200),
    "a raw NUL": (b'{"prompt": "a\x00b", "model": "echo/echo"}', 422),
    "not UTF-8": (b'{"prompt": "\xff\xfe", "model": "echo/echo"}', 422),
    "overlong UTF-8": (b'{"prompt": "\xc0\xaf", "model": "echo/echo"}', 422),
    "UTF-16": ('{"prompt": "p"}'.encode("utf-16"), 422),
    "UTF-32": ('{"prompt": "p"}'.encode("utf-32"), 422),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, None),
    "not terminated": (b'{"prompt": "' + b"a" * 100_000, 422),
    "an escape at the end": (b'{"prompt": "a\\', 422),
    "half an escape": (rb'{"prompt": "\u12"}', 422),
    "an escape that is none": (rb'{"prompt": "\x41"}', 422),
    "a long string": (b'{"prompt": "' + b"a" * 5_000_000 + b'", "model": "echo/count-1"}', 200),
    "a string over the cap": (b'{"prompt": "' + b"a" * 9_000_000 + b'"}', 413),
    "escapes that grow": (b'{"prompt": "' + b"\\u0001" * 700_000 + b'", "model": "x"}', 422),
    "two documents": (GOOD + GOOD, 422),
    "something behind": (GOOD + b"x", 422),
    "a comment": (b"/* */" + GOOD, 422),
    "a comma at the end": (b'{"prompt": "p",}', 422),
    "single quotes": (b"{'prompt': 'p'}", 422),
    "an array": (b"[]", 422),
    "a string": (b'"p"', 422),
    "null": (b"null", 422),
    "nothing": (b"", 422),
    "white space": (b" \t\r\n" * 100_000, 422),
    "a prototype": (b'{"__proto__": {"prompt": "x"}, "prompt": "p", "model": "echo/echo"}', 200),
    "types that lie": (b'{"prompt": {"a": []}, "model": [], "video_urls": "x"}', 422),
    "data that is no base64": (
        b'{"prompt": "p", "model": "echo/echo", "video_urls": ["data:video/mp4;base64,'
        + b"!" * 100_000
        + b'"]}',
        422,
    ),
    "data that lies about its type": (
        b'{"prompt": "p", "model": "echo/echo", "video_urls": ["data:video/mp4;base64,'
        + b"PGh0bWw+" * 10_000
        + b'"]}',
        422,
    ),
    "data of no type": (
        b'{"prompt": "p", "model": "echo/echo", "video_urls": ["data:' + b"," * 70_000 + b'"]}',
        422,
    ),
    "data cut off": (b'{"video_urls": ["data:video/mp4;base64,' + b"AAAA" * 50_000, 422),
    "data as a name": (b'{"data:' + b"a" * 100_000 + b'": 1, "prompt": "p"}', 422),
    "very many short data URIs": (
        b'{"prompt": "p", "model": "echo/echo", "video_urls": ['
        + b",".join([b'"data:,"'] * 20_000)
        + b"]}",
        422,
    ),
}


def test_json_that_asks_for_much_is_judged(run, tmp_path):
    async def story():
        wrong = {}
        async with house(tmp_path) as server:
            for name, (body, wanted) in JSON.items():
                async with calling(server) as caller:
                    caller.send(post(body))
                    status, headers, told = await caller.answer()
                    assert headers["content-type"] == "application/json"
                    assert json.loads(told)
                    if status not in ((200, 422) if wanted is None else (wanted,)):
                        wrong[name] = status, told[:300]
        assert wrong == {}

    run(story())


# ---------------------------------------------------------------- one request, or two?

# What a proxy in front might read as one request and we as two, or the other way round. The second
# request asks for /smuggled: nobody may ever answer it.
HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
SMUGGLED = {
    "two lengths": post(GOOD + HIDDEN, f"Content-Length: {len(GOOD)}", "Content-Length: 5"),
    "two equal lengths": post(GOOD, f"Content-Length: {len(GOOD)}", f"Content-Length: {len(GOOD)}"),
    "a list of lengths": post(GOOD, f"Content-Length: {len(GOOD)}, {len(GOOD)}"),
    "a length with a sign": post(GOOD, f"Content-Length: +{len(GOOD)}"),
    "a negative length": post(GOOD, "Content-Length: -1"),
    "a length in hex": post(GOOD, "Content-Length: 0x10"),
    "a length with a space": post(GOOD, "Content-Length: 1 2"),
    "a length that overflows": post(GOOD, "Content-Length: 18446744073709551653"),
    "a length of 5000 digits": post(GOOD, "Content-Length: " + "9" * 5000),
    "length and chunks": post(
        b"0\r\n\r\n" + HIDDEN, "Content-Length: 4", "Transfer-Encoding: chunked"
    ),
    "chunks and length": post(
        b"0\r\n\r\n" + HIDDEN, "Transfer-Encoding: chunked", "Content-Length: 4"
    ),
    "chunks twice": post(b"0\r\n\r\n" + HIDDEN, "Transfer-Encoding: chunked, chunked"),
    "chunks, then identity": post(b"0\r\n\r\n" + HIDDEN, "Transfer-Encoding: chunked, identity"),
    "unknown encoding": post(b"0\r\n\r\n" + HIDDEN, "Transfer-Encoding: xchunked"),
    "gzip": post(b"0\r\n\r\n" + HIDDEN, "Transfer-Encoding: gzip"),
    "a tab before chunked": post(
        b"0\r\n\r\n" + HIDDEN, "Content-Length: 4", "Transfer-Encoding:\tchunked"
    ),
    "a space before the colon": post(
        b"0\r\n\r\n" + HIDDEN, "Content-Length: 4", "Transfer-Encoding : chunked"
    ),
    "a folded header": post(
        b"0\r\n\r\n" + HIDDEN, "Content-Length: 4", "X: y\r\n Transfer-Encoding: chunked"
    ),
    "a bare line feed": post(b"", "X: y\nContent-Length: 40").replace(b"\r\n", b"\n") + HIDDEN,
    "a bare carriage return": post(b"", "X: y\rTransfer-Encoding: chunked") + b"0\r\n\r\n",
    "NUL in a header": post(GOOD, "X: a\0b"),
    "NUL in a name": post(GOOD, "X\0: a"),
    "a name with a space": post(GOOD, "X Y: a"),
    "no name": post(GOOD, ": a"),
    "a size that overflows": post(b"FFFFFFFFFFFFFFFFF\r\n" + GOOD, "Transfer-Encoding: chunked"),
    "a negative size": post(b"-1\r\n" + GOOD + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "a size with 0x": post(b"0x5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "a size that lies": post(b"2\r\n" + GOOD + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "a chunk without its end": post(b"2\r\n{}0\r\n\r\n", "Transfer-Encoding: chunked"),
    "an extension of 100 KB": post(
        b"2;" + b"a" * 100_000 + b"\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"
    ),
    "a trailer": post(
        b"2\r\n{}\r\n0\r\nContent-Length: 40\r\nAuthorization: Key a:b\r\n\r\n",
        "Transfer-Encoding: chunked",
    ),
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "another host in the target": get("http://evil.test/health"),
    "another port in the target": get("http://localhost:1/health"),
    "a user in the target": get("http://localhost@evil.test/health"),
    "HTTP/0.9": b"GET /smuggled\r\n\r\n",
    "HTTP/1.0 with chunks": post(b"0\r\n\r\n" + HIDDEN, "Transfer-Encoding: chunked").replace(
        b"HTTP/1.1", b"HTTP/1.0"
    ),
    "HTTP/3.0": get("/health").replace(b"HTTP/1.1", b"HTTP/3.0"),
    "HTTP/11": get("/health").replace(b"HTTP/1.1", b"HTTP/11"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no version": b"GET /health\r\nHost: localhost\r\n\r\n",
    "two spaces": b"GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a space in the target": b"GET /hea lth HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "line ends in the target": b"GET /a\r\nX: HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an unknown method": get("/health").replace(b"GET", b"EVIL"),
    "a method in small letters": get("/health").replace(b"GET", b"get"),
    "CONNECT": b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n",
    "TRACE": get("/health", "Cookie: secret=1").replace(b"GET", b"TRACE"),
    "expect something else": post(GOOD, "Expect: 200-ok"),
    "an override": post(GOOD, "X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "rubbish": bytes(range(256)) * 4,
}
# Odd, and yet there is only one way to read them.
CLEAR = {
    "an extension of 100 KB",
    "two spaces",
    "line ends in the target",
    "expect something else",
    "an override",
}


def test_no_request_hides_in_another(run, tmp_path):
    async def story():
        wrong = {}
        async with house(tmp_path) as server:
            for name, sent in SMUGGLED.items():
                async with calling(server) as caller:
                    caller.send(sent)
                    caller.finish()
                    said = await caller.rest()
                statuses = [int(line.split()[1]) for line in said.split(b"\r\n") if is_status(line)]
                is_read = name in CLEAR and all(status < 500 for status in statuses)
                if not is_read and statuses not in ([400], [405]):
                    wrong[name] = said
                if b"smuggled" in said or b"secret=1" in said:
                    wrong[name] = said
            async with calling(server) as other:
                other.send(get("/health"))
                assert (await other.answer())[0] == 200
        assert wrong == {}

    run(story())


def is_status(line):
    return line.startswith(b"HTTP/1.") and line[9:12].isdigit()


# ---------------------------------------------------------------- paths and hosts

PATHS = [
    *("//", "///health", "/./health", "/../health", "/health/..", "/health/.", "/%2e%2e/health"),
    *(
        "/%2E%2E%2Fetc%2Fpasswd",
        "/..%2f..%2fetc/passwd",
        "/%252e%252e/x",
        "/..;/health",
        "/health;x=1",
    ),
    *("/files/../../../etc/passwd", "/files/%2e%2e/%2e%2e/etc/passwd", "/files/x/..%00.mp4"),
    *("/files/" + "0" * 32 + "/../../secret", "/files/b/" + "0" * 32 + "/%2e%2e%5csecret"),
    *(
        "/%00",
        "/health%00",
        "/health%0d%0aX:%20y",
        "/%ff%fe",
        "/%c0%ae%c0%ae/",
        "/%",
        "/%zz",
        "/%u002e",
    ),
    *("/\\..\\..\\etc", "/health?" + "a=b&" * 5_000, "/" + "a" * 30_000, "/" + "a/" * 10_000),
    *(
        "http://evil.test/health",
        "http://127.0.0.1:1/health",
        "HTTP://localhost/health",
        "//evil.test/health",
    ),
    *(
        "https://fal.run@evil.test/",
        "*",
        "?",
        "#",
        "/#/health",
        "health",
        "/openrouter/router/video#x",
    ),
    *("/queue/openrouter/router/requests/../../health/requests/x", "/api/fal/proxy/../../metrics"),
    *("/telecine/v1/requests/..%2f..%2fkeys", "/v1/keys/%2e%2e", "/openrouter//router///video"),
    *(
        "/rest/../metrics",
        "/%6detrics",
        "/metrics/",
        "//metrics",
        "/METRICS",
        "/metrics%20",
        "/metrics%09",
    ),
    *("/telecine/v1/requests?cursor=%00&limit=-1", "/telecine/v1/requests?limit=1e9&limit=2"),
]
HOSTS = [
    *(
        "",
        " ",
        "evil.test",
        "localhost:99999",
        "localhost:x",
        "localhost, evil.test",
        "[::1",
        "[::1]:8484",
    ),
    *("localhost@evil.test", "evil.test@localhost", "localhost/evil", "localhost#x", "loc%61lhost"),
    *(
        "localhost\tevil",
        "LOCALHOST",
        "localhost.",
        "127.0.0.1.evil.test",
        "fal.run.evil.test",
        "queue.",
    ),
    *("queue.queue.localhost", "fal.run", "queue.fal.run", "rest.fal.ai", "a" * 5_000, "\xe9.test"),
    *("0", "2130706433", "0x7f000001", "127.1", "169.254.169.254"),
]


@pytest.mark.parametrize("way", ["path", "host"])
def test_odd_targets_and_hosts_are_answered_or_refused(run, tmp_path, way):
    calls = (
        [get(path) for path in PATHS] if way == "path" else [get(EP, host=host) for host in HOSTS]
    )
    calls += [] if way == "path" else [get("/telecine/v1/requests", host=host) for host in HOSTS]

    async def story():
        wrong = []
        async with house(tmp_path) as server:
            for call in calls:
                async with calling(server) as caller:
                    caller.send(call)
                    said = await caller.rest()
                    first = said.split(b"\r\n", 1)[0]
                    if not is_status(first) or first.split()[1] >= b"500" or b"root:" in said:
                        wrong.append((call[:200], said[:200]))
        assert wrong == []

    run(story())


def test_a_server_for_its_own_machine_answers_no_other_name(run, tmp_path):
    """Else a page could rebind its own name to 127.0.0.1 and call without a key."""

    async def story():
        async with house(tmp_path) as server:
            for host in (
                "evil.test",
                "127.0.0.1.evil.test",
                "localhost@evil.test",
                "",
                "2130706433",
            ):
                async with calling(server) as caller:
                    caller.send(get("/telecine/v1/requests", host=host))
                    said = await caller.rest()
                    assert said.split()[1] in (b"400", b"401", b"403", b"421"), (host, said[:300])

    run(story())


def test_what_a_header_says_never_begins_a_header_of_the_answer(run, tmp_path):
    """Ids, names and ranges come back in answers: not with their line ends."""
    tricks = (
        "x%0d%0aSet-Cookie:%20a=1",
        "x\r\nSet-Cookie: a=1",
        "x%E5%98%8A%E5%98%8DSet-Cookie:%20a=1",
    )

    async def story():
        async with house(tmp_path) as server:
            for trick in tricks:
                for call in (
                    get(f"/files/{trick}"),
                    get(f"/telecine/v1/requests/{trick}"),
                    get("/health", f"Origin: {trick}", f"Access-Control-Request-Headers: {trick}"),
                    get("/health", f"Range: {trick}", f"X-Fal-Request-Id: {trick}"),
                    post(GOOD, f"Idempotency-Key: {trick}", f"X-Fal-Queue-Priority: {trick}"),
                ):
                    async with calling(server) as caller:
                        caller.send(call)
                        caller.finish()
                        assert b"\r\nset-cookie" not in (await caller.rest()).lower()

    run(story())


# ---------------------------------------------------------------- slow callers


def test_callers_that_are_slow_hold_up_nobody(run, tmp_path):
    """Two hundred of them, in the middle of a head and in the middle of a body."""

    async def story():
        async with house(tmp_path) as server:
            slow = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(200)]
            for number, (_, writer) in enumerate(slow):
                whole = post(GOOD)
                writer.write(whole[:30] if number % 2 else whole[:-5])
            async with calling(server) as caller:
                for _ in range(5):
                    caller.send(post(GOOD))
                    assert (await caller.answer())[0] == 200
            for _, writer in slow:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    run(story())


def test_a_caller_that_reads_nothing_holds_up_nobody(run, tmp_path):
    async def story():
        async with house(tmp_path) as server, calling(server) as deaf, calling(server) as caller:
            body = json.dumps({"prompt": "p" * 3_000_000, "model": "echo/echo"}).encode()
            for _ in range(3):
                deaf.send(post(body))
            caller.send(post(GOOD))
            assert (await caller.answer())[0] == 200

    run(story())
