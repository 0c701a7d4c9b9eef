"""The program's HTTP proxy, and the ends behind it that stand for fal's hosts.

The proxy listens on loopback and takes only who knows its password. The ends are sockets in a
private folder: `tls` ends the encryption for fal's hosts, `plain` takes what came without any.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import re
import secrets
import ssl
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from telecine.intercept.gateway import Call, Gateway, OnCall, is_fal
from telecine.intercept.wayout import NoWay, WayOut

_USER = "telecine"
_MAX_HEAD = 64 * 1024
_HEAD_SECONDS = 60.0
_PIECE = 256 * 1024
_KEEP_ALIVE_SECONDS = 300
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
# A name outside ASCII would be looked up as another one: some of its letters are read as "fal".
_AUTHORITY = re.compile(
    r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]@/\x00- \x7f-\xff]+)):(?P<port>[0-9]{1,5})"
)


# ---------------------------------------------------------------- the ends


@contextlib.asynccontextmanager
async def ends(gateway: Gateway, context: ssl.SSLContext, folder: Path) -> AsyncIterator[None]:
    """Listen on `folder`/tls and `folder`/plain. Leaving breaks off what is under way."""
    loop = asyncio.get_running_loop()
    state = ServerState()
    listeners = [
        await loop.create_unix_server(_protocol(gateway, state), folder / "tls", ssl=context),
        await loop.create_unix_server(_protocol(gateway.others, state), folder / "plain"),
    ]
    try:
        yield
    finally:
        for listener in listeners:
            listener.close()
        for connection in list(state.connections):
            connection.transport.abort()
        for task in (tasks := list(state.tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _protocol(app: ASGIApp, state: ServerState) -> type[asyncio.Protocol]:
    config = uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    config.load()
    return lambda: _Connection(config, state, {})  # type: ignore[return-value]


class _Connection(HttpToolsProtocol):
    """Keeps what the request line said: to a proxy it is a full URL."""

    def on_headers_complete(self) -> None:
        self.scope["telecine.target"] = self.url  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()


# ---------------------------------------------------------------- the proxy


@dataclass(frozen=True, slots=True)
class _Asked:
    method: str
    authority: str
    login: str
    head: bytes


class Proxy:
    """An async context manager; then `url` is what HTTPS_PROXY says.

    `way_out` is None when nothing but fal's hosts may be reached.
    """

    def __init__(self, folder: Path, *, way_out: WayOut | None, on_call: OnCall) -> None:
        self._folder = folder
        self._way_out = way_out
        self._on_call = on_call
        password = secrets.token_urlsafe(24)
        self._login = "Basic " + base64.b64encode(f"{_USER}:{password}".encode()).decode()
        self._password = password
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._met, "127.0.0.1", 0, limit=_MAX_HEAD)
        port = self._listener.sockets[0].getsockname()[1]
        self.url = f"http://{_USER}:{self._password}@127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _met(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()  # one of the two has gone, or all this ends
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        asked = await _read(reader)
        if asked is None:
            await _answer(writer, "400 Bad Request", "This is an HTTP proxy")
        elif not hmac.compare_digest(asked.login.encode(), self._login.encode()):
            await _answer(
                writer,
                "407 Proxy Authentication Required",
                "This proxy is for the program that telecine exec started",
                'Proxy-Authenticate: Basic realm="telecine exec"\r\n',
            )
        elif asked.method == "CONNECT":
            await self._tunnel(asked, reader, writer)
        else:
            there = await asyncio.open_unix_connection(self._folder / "plain", limit=_PIECE)
            there[1].write(asked.head)
            await _join((reader, writer), there)

    async def _tunnel(self, asked: _Asked, reader: StreamReader, writer: StreamWriter) -> None:
        match = _AUTHORITY.fullmatch(asked.authority)
        if match is None or not 0 < int(match["port"]) < 65536:
            await _answer(writer, "400 Bad Request", "CONNECT takes HOST:PORT")
            return
        host, port = (match["v6"] or match["host"]).rstrip("."), int(match["port"])
        if is_fal(host):
            await self._to_fal(port, reader, writer)
        else:
            await self._pass(host, port, reader, writer)

    async def _to_fal(self, port: int, reader: StreamReader, writer: StreamWriter) -> None:
        """The gateway tells of the calls inside, one by one."""
        end = {443: "tls", 80: "plain"}.get(port)
        if end is None:
            await _answer(writer, "403 Forbidden", "Telecine stands for fal's ports 443 and 80")
            return
        there = await asyncio.open_unix_connection(self._folder / end, limit=_PIECE)
        writer.write(_ESTABLISHED)
        await _join((reader, writer), there)

    async def _pass(self, host: str, port: int, reader: StreamReader, writer: StreamWriter) -> None:
        """To the real host, its bytes untouched; told when it is known what becomes of it."""
        started = time.monotonic()

        def tell(outcome: str) -> None:
            milliseconds = round((time.monotonic() - started) * 1000)
            self._on_call(Call("CONNECT", f"{host}:{port}", outcome, milliseconds))

        if self._way_out is None:
            tell("403")
            detail = f"telecine exec --only-fal: {host} is not one of fal's hosts"
            await _answer(writer, "403 Forbidden", detail)
            return
        try:
            there = await self._way_out.connect(host, port)
        except NoWay as error:
            tell("502")
            await _answer(writer, "502 Bad Gateway", str(error))
            return
        tell("passed")
        writer.write(_ESTABLISHED)
        await _join((reader, writer), there)


async def _read(reader: StreamReader) -> _Asked | None:
    """The head of a request; None if this is none."""
    try:
        async with asyncio.timeout(_HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    line, *fields = head.decode("latin-1").split("\r\n")
    words = line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    login = ""
    for field in fields:
        name, _, value = field.partition(":")
        if name.lower() == "proxy-authorization":
            login = value.strip()
    return _Asked(words[0], words[1], login, head)


async def _answer(writer: StreamWriter, status: str, detail: str, headers: str = "") -> None:
    body = json.dumps({"detail": detail})
    writer.write(
        f"HTTP/1.1 {status}\r\n{headers}Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
    )
    await writer.drain()


Stream = tuple[StreamReader, StreamWriter]


async def _join(one: Stream, other: Stream) -> None:
    """Carry bytes both ways until both are done. Raises ConnectionError when one of them breaks."""
    ways = [
        asyncio.ensure_future(_carry(one[0], other[1])),
        asyncio.ensure_future(_carry(other[0], one[1])),
    ]
    try:
        await asyncio.gather(*ways)
    except BaseException:
        other[1].transport.abort()
        raise
    finally:
        for way in ways:
            way.cancel()
        other[1].close()


async def _carry(source: StreamReader, sink: StreamWriter) -> None:
    while piece := await source.read(_PIECE):
        sink.write(piece)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
