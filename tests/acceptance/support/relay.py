"""Stands between a client and Telecine: remembers every call, and breaks what it is told to break.

    relay.fault("POST /queue", times=2, status=503)      answers itself, twice
    relay.fault("GET .*/status", drops=True)             closes the connection unanswered
    relay.fault("POST .*/stream", cut_after=100)         breaks off after 100 bytes of the answer
    relay.fault("POST .*/stream", split=1)               hands the answer on a byte at a time
    relay.fault("POST /", seconds=3)                     waits before it hands the request on

A fault takes the first `times` calls whose "METHOD /path?query" matches, from its beginning.
"""

import asyncio
import json
import re
import threading
import time
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade"}
_KEPT_BYTES = 1 << 20


@dataclass(eq=False)
class Call:
    """One request and its answer. `ended` is set when both are over. `chunks` are the answer's
    bytes, each with the second it came at."""

    method: str
    path: str
    headers: CIMultiDictProxy
    body: bytes = b""
    status: int = 0
    answer_headers: CIMultiDictProxy = field(
        default_factory=lambda: CIMultiDictProxy(CIMultiDict())
    )
    chunks: list = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def target(self):
        """What the call means: through the proxy route, the URL in its header."""
        return self.headers.get("x-fal-target-url", self.path)

    @property
    def line(self):
        return f"{self.method} {self.path}"

    @property
    def document(self):
        return json.loads(self.body)

    @property
    def answer(self):
        return b"".join(chunk for _, chunk in self.chunks)


@dataclass
class Fault:
    on: re.Pattern
    times: float
    status: int | None
    body: object
    headers: dict
    drops: bool
    cut_after: int | None
    split: int | None
    seconds: float


class Relay:
    """In front of `target`, an origin. Only `url`, `calls` and `fault` are for tests."""

    def __init__(self, background, target):
        self.url = ""
        self.calls = []
        self._background = background
        self._target = target
        self._faults = []

    def __enter__(self):
        self._background.run(self._start())
        return self

    def __exit__(self, *_):
        self._background.run(self._stop())

    def fault(
        self,
        on,
        *,
        times=float("inf"),
        status=None,
        body=None,
        headers=None,
        drops=False,
        cut_after=None,
        split=None,
        seconds=0.0,
    ):
        self._faults.append(
            Fault(
                re.compile(on), times, status, body, headers or {}, drops, cut_after, split, seconds
            )
        )

    def lines(self):
        """Every call as "METHOD /path"."""
        return [call.line for call in self.calls]

    def to(self, text):
        """The calls whose meaning (see Call.target) contains `text`."""
        return [call for call in self.calls if text in call.target]

    async def _start(self):
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,  # who goes away here is gone there too
            auto_decompress=False,
            shutdown_timeout=0.1,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self):
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request):
        call = Call(request.method, request.raw_path, request.headers)
        self.calls.append(call)
        fault = self._fault_for(call)
        try:
            return await self._answer(request, call, fault)
        finally:
            call.ended.set()

    def _fault_for(self, call):
        for fault in self._faults:
            if fault.times > 0 and fault.on.match(call.line):
                fault.times -= 1
                return fault
        return None

    async def _answer(self, request, call, fault):
        if fault is None:
            return await self._forward(request, call, None)
        await asyncio.sleep(fault.seconds)
        if fault.drops:
            request.transport.abort()
            return web.Response()
        if fault.status is None:
            return await self._forward(request, call, fault)
        async for chunk in request.content.iter_any():
            _keep(call, chunk)
        call.status = fault.status
        if isinstance(fault.body, str):
            return web.Response(text=fault.body, status=fault.status, headers=fault.headers)
        body = {"detail": f"said {fault.status}"} if fault.body is None else fault.body
        return web.json_response(body, status=fault.status, headers=fault.headers)

    async def _forward(self, request, call, fault):
        async def body():
            async for chunk in request.content.iter_any():
                _keep(call, chunk)
                yield chunk

        async with self._session.request(
            request.method,
            URL(self._target + request.raw_path, encoded=True),
            headers=_end_to_end(request.headers),
            data=body() if request.body_exists else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as upstream:
            call.status, call.answer_headers = upstream.status, upstream.headers
            response = web.StreamResponse(
                status=upstream.status,
                reason=upstream.reason,
                headers=_end_to_end(upstream.headers),
            )
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                call.chunks.append((time.monotonic(), chunk))
                if not await _hand_on(request, response, chunk, call, fault):
                    return response
            await response.write_eof()
            return response


def _keep(call, chunk):
    if len(call.body) < _KEPT_BYTES:
        call.body += chunk


def _end_to_end(headers):
    named = {*_HOP_BY_HOP, *headers.get("connection", "").lower().split(", ")}
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in named
    )


async def _hand_on(request, response, chunk, call, fault):
    """Whether there is more to come."""
    room = None
    if fault is not None and fault.cut_after is not None:
        before = len(call.answer) - len(chunk)
        room = max(0, fault.cut_after - before)
    size = fault.split if fault is not None and fault.split else len(chunk)
    for start in range(0, len(chunk[:room]), size):
        await response.write(chunk[:room][start : start + size])
    if room is None or room > len(chunk):
        return True
    # What was written is on its way before the connection breaks.
    await asyncio.sleep(0.05)
    request.transport.abort()
    return False
