"""Uploads that lie about their type, their name or their length: what comes back is a file, never a
page of ours, and its headers are ours alone."""

import json
import re
from email.utils import formatdate
from urllib.parse import urlsplit

import pytest
from tests.integration.test_server_limits import calling, house

HTML = b"<!doctype html><script>alert(document.domain)</script>"
POLYGLOTS = {
    "html": HTML,
    "html behind a gif": b"GIF89a/*" + bytes(8) + b"*/=1;" + HTML,
    "html behind a png": b"\x89PNG\r\n\x1a\n" + HTML,
    "html behind a jpeg": b"\xff\xd8\xff\xfe\x10\x00" + HTML,
    "html in an mp4": b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + HTML,
    "html in a pdf": b"%PDF-1.7\n" + HTML,
    "html in a zip": b"PK\x03\x04" + HTML,
    "html in utf-7": b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "html in utf-16": "<script>alert(1)</script>".encode("utf-16"),
    "script": b"fetch('/telecine/v1/requests')",
    "script in a gif": b"GIF89a=1;alert(1)",
    "a service worker": b"self.addEventListener('fetch', e => e.respondWith(new Response('x')))",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "xml with a style sheet": b'<?xml version="1.0"?><?xml-stylesheet href="/x.xsl"?><a/>',
    "css": b"@import url(//evil.test); body { background: url(//evil.test) }",
    "a manifest": b"CACHE MANIFEST\n/\n",
    "flash": b"FWS\x09" + bytes(40),
    "wasm": b"\x00asm\x01\x00\x00\x00",
    "a cross-domain policy": b'<cross-domain-policy><allow-access-from domain="*"/>',
}
TYPES = [
    *("text/html", "TEXT/HTML; charset=utf-8", "text/html;charset=utf-7", "application/xhtml+xml"),
    *("image/svg+xml", "image/svg+xml; charset=utf-8", "text/xml", "application/xml", "text/xsl"),
    *("application/rss+xml", "text/javascript", "application/javascript", "application/ecmascript"),
    *(
        "text/jscript",
        "module",
        "application/wasm",
        "text/css",
        "text/cache-manifest",
        "font/woff2",
    ),
    *("application/x-shockwave-flash", "multipart/x-mixed-replace; boundary=x", "message/rfc822"),
    *("application/pdf", "text/plain; charset=utf-7", "application/json", "video/mp4", "image/png"),
    *(
        "video/mp4, text/html",
        "video/mp4; x=text/html",
        "video/html",
        "image/pngx",
        "audio/../html",
    ),
    *(
        "text/html\tx",
        "unknown/unknown",
        "application/unknown",
        "*/*",
        "a" * 300,
        "",
        "/",
        "video/",
    ),
]
NAMES = [
    *("clip.mp4", "index.html", "x.svg", "sw.js", "crossdomain.xml", ".htaccess", "..", "a/b.html"),
    *('a"; filename="b.html', "a\tb", "a;b", "a\\b.html", "a%0d%0ab.html", "\x85.html", "'.html"),
    *(
        "\u202e4pm.html",
        "видео.mp4",
        "名前.html",
        "\u2028.html",
        "x" * 5_000 + ".html",
        "a.mp4\xa0.html",
    ),
]
RUN_BY_BROWSERS = (
    "html",
    "xml",
    "script",
    "css",
    "wasm",
    "manifest",
    "flash",
    "multipart",
    "rfc822",
)
RUN_BY_BROWSERS += ("svg", "xsl", "font")


def upload(content, content_type, name):
    head = [
        "POST /files/upload HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(content)}",
        f"Content-Type: {content_type}",
        f"X-Fal-File-Name: {name}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + content


def read(url, *headers):
    head = [f"GET {urlsplit(url).path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(head).encode("latin-1")


async def kept(caller, content, content_type="video/mp4", name="clip.mp4"):
    """The URL of an upload."""
    caller.send(upload(content, content_type, name))
    status, _, told = await caller.answer()
    assert status == 200, told
    return json.loads(told)["access_url"]


def unsafe(headers):
    """What would make a page, or a part of one, of these headers."""
    wrong = []
    if headers["x-content-type-options"] != "nosniff":
        wrong.append("sniffed")
    if headers["content-security-policy"] != "sandbox":
        wrong.append("not in a sandbox")
    kind, _, name = headers["content-disposition"].partition("; ")
    if not re.fullmatch(r'filename="[a-z0-9._-]{1,100}"', name):
        wrong.append(f"name {name}")
    essence = headers["content-type"].partition(";")[0]
    if any(each in essence for each in RUN_BY_BROWSERS) and not essence.startswith("video/"):
        wrong.append(f"type {essence}")
    if kind == "inline" and not essence.startswith(("video/", "audio/", "image/")):
        wrong.append(f"inline {essence}")
    if "svg" in essence or "set-cookie" in headers:
        wrong.append("more than a file")
    return wrong


@pytest.mark.parametrize("way", ["types", "names"])
def test_what_lies_comes_back_as_a_file(run, tmp_path, way):
    if way == "types":
        lies = [(content, kind, "clip.mp4") for content in POLYGLOTS.values() for kind in TYPES[:3]]
        lies += [(HTML, kind, "clip.mp4") for kind in TYPES]
    else:
        lies = [(HTML, kind, name) for kind in ("text/html", "video/mp4") for name in NAMES]

    async def story():
        wrong = {}
        async with house(tmp_path) as server, calling(server) as caller:
            for lie in lies:
                caller.send(read(await kept(caller, *lie)))
                status, headers, content = await caller.answer()
                if (status, content) != (200, lie[0]) or unsafe(headers):
                    wrong[lie] = status, headers, unsafe(headers)
        assert wrong == {}
        assert len(lies) > 35

    run(story())


@pytest.mark.parametrize(
    "said",
    [
        "bytes=0-0",
        "bytes=-1",
        "bytes=5-",
        "BYTES=0-3",
        "bytes = 0-3",
        "bytes=9-0",
        "bytes=10-",
        "bytes=10-20",
        "bytes=-0",
        "bytes=0-99999999999999999999",
        "bytes=99999999999999999999-",
        "bytes=-99999999999999999999",
        "bytes=0-0,1-1",
        "bytes=" + "0-0," * 1_000 + "1-1",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=0x1-0x2",
        "bytes=\xb2-",
        "bytes=\xa01-2",
        "items=0-1",
        "bytes",
        "bytes=",
        "bytes=-",
        "=0-1",
    ],
)
def test_any_range_gets_what_it_says_it_got(run, tmp_path, said):
    content = b"0123456789"

    async def story():
        async with house(tmp_path) as server, calling(server) as caller:
            url = await kept(caller, content)
            caller.send(read(url, f"Range: {said}"))
            status, headers, got = await caller.answer()
            match = re.fullmatch(r"bytes (\d+)-(\d+)/10", headers.get("content-range", ""))
            if status == 206:
                assert got == content[int(match[1]) : int(match[2]) + 1]
                assert got
            elif status == 416:
                assert headers["content-range"] == "bytes */10"
            else:
                assert (status, got) == (200, content)

    run(story())


@pytest.mark.parametrize(
    "condition",
    [
        'If-Range: "x"',
        "If-Range: yesterday",
        f"If-Range: {formatdate(0, usegmt=True)}",
        "If-Range: Mon, 99 Foo 99999 99:99:99 GMT",
        "If-None-Match: " + '"a",' * 5_000 + '"b"',
        "If-None-Match: \xff",
        "If-Modified-Since: " + "9" * 1_000,
        "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 -9999999999",
    ],
)
def test_a_condition_that_does_not_hold_gets_the_whole_file(run, tmp_path, condition):
    async def story():
        async with house(tmp_path) as server, calling(server) as caller:
            url = await kept(caller, b"0123456789")
            caller.send(read(url, "Range: bytes=0-1", condition))
            status, _, got = await caller.answer()
            is_part = not condition.startswith("If-Range")
            assert (status, got) == ((206, b"01") if is_part else (200, b"0123456789"))

    run(story())


def claiming(length):
    sent = upload(b"01234", "video/mp4", "a.mp4")
    return sent.replace(b"Content-Length: 5", b"Content-Length: %d" % length)


def test_an_upload_that_breaks_off_leaves_no_file(run, tmp_path):
    async def story():
        async with house(tmp_path) as server, calling(server) as caller:
            caller.send(claiming(8))
            caller.finish()
            assert b"access_url" not in await caller.rest()

    run(story())


def test_what_is_behind_an_upload_is_not_part_of_it(run, tmp_path):
    async def story():
        async with house(tmp_path) as server, calling(server) as caller:
            caller.send(claiming(3))
            status, _, told = await caller.answer()
            assert status == 200
            assert await caller.rest() == b""
            async with calling(server) as reader:
                reader.send(read(json.loads(told)["access_url"]))
                assert (await reader.answer())[2] == b"012"

    run(story())
