"""Has another HTTP server answer a request that came in by ASGI.

Bodies stream both ways and wait for the slower side; whoever hangs up on one side is gone on the
other too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from starlette.types import Message, Receive, Send
from yarl import URL

Headers = list[tuple[bytes, bytes]]

# RFC 9110 7.6.1, and what is said to a proxy.
_HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        *(b"proxy-connection", b"proxy-authorization", b"proxy-authenticate"),
    }
)
_SET_HERE = frozenset({b"host", b"expect"})
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Unreachable(Exception):
    """The other server gave no answer; nothing has been sent back yet."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to ask of the other server. `proxy`: through whom; None: directly."""

    method: str
    url: URL
    headers: Headers
    proxy: URL | None = None

    @property
    def has_body(self) -> bool:
        return bool(value(self.headers, b"transfer-encoding")) or (
            value(self.headers, b"content-length") not in (b"", b"0")
        )

    @property
    def waits_to_continue(self) -> bool:
        return value(self.headers, b"expect").lower() == b"100-continue"


async def forward(
    session: aiohttp.ClientSession, asked: Asked, receive: Receive, send: Send
) -> None:
    """Returns when the answer is complete, or when the caller has hung up.

    Raises Unreachable, and aiohttp.ClientError when the other side broke off in the middle.
    """
    body = _Body(receive, is_asked_for=asked.waits_to_continue)
    exchange = asyncio.ensure_future(_exchange(session, asked, body, send))
    presence = asyncio.ensure_future(body.watch())
    try:
        await asyncio.wait({exchange, presence}, return_when=asyncio.FIRST_COMPLETED)
        if exchange.done():
            exchange.result()
    finally:
        exchange.cancel()
        presence.cancel()
        await asyncio.gather(exchange, presence, return_exceptions=True)


class _Body:
    """The caller's side: the body piece by piece, and then the news that nobody listens.

    `is_asked_for`: the caller sends no body before it is told to, which the other server decides;
    until then nothing is read.
    """

    def __init__(self, receive: Receive, *, is_asked_for: bool) -> None:
        self._receive = receive
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._wanted = asyncio.Event()
        if not is_asked_for:
            self._wanted.set()

    async def watch(self) -> None:
        """Reads; returns when the caller has hung up."""
        await self._wanted.wait()
        is_complete = False
        while (message := await self._receive())["type"] != "http.disconnect":
            if not is_complete:
                is_complete = await self._take(message)

    async def _take(self, message: Message) -> bool:
        """Whether this was the last piece."""
        if piece := message.get("body"):
            await self._pieces.put(piece)
        if message.get("more_body"):
            return False
        await self._pieces.put(None)
        return True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._wanted.set()
        while (piece := await self._pieces.get()) is not None:
            yield piece


async def _exchange(session: aiohttp.ClientSession, asked: Asked, body: _Body, send: Send) -> None:
    try:
        response = await session.request(
            asked.method,
            asked.url,
            headers=_text(end_to_end(asked.headers)),
            data=aiter(body) if asked.has_body else None,
            expect100=asked.waits_to_continue,
            skip_auto_headers=_AUTOMATIC,
            allow_redirects=False,
            auto_decompress=False,
            proxy=asked.proxy,
        )
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unreachable(f"{asked.url.origin()} does not answer ({error})") from error
    async with response:
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": end_to_end(response.raw_headers),
            }
        )
        async for piece in response.content.iter_any():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Without what is between two neighbours alone, and what is set for each hop anew."""
    headers = [(name.lower(), value) for name, value in headers]
    dropped = {*_HOP_BY_HOP, *_SET_HERE, *named_by_connection(headers)}
    return [(name, value) for name, value in headers if name not in dropped]


def named_by_connection(headers: Headers) -> set[bytes]:
    """The names of headers that the sender meant for the next hop alone."""
    values = [value for name, value in headers if name == b"connection"]
    return {each.strip().lower() for value in values for each in value.split(b",")}


def value(headers: Headers, wanted: bytes) -> bytes:
    """The first header of this name, or nothing."""
    return next((value for name, value in headers if name == wanted), b"")


def _text(headers: Headers) -> CIMultiDict[str]:
    """As aiohttp takes them; it writes UTF-8."""
    return CIMultiDict((name.decode("latin-1"), _decoded(value)) for name, value in headers)


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
