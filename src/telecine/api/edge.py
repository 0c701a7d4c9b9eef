"""The outermost layer: what every answer has in common, whatever happens inside.

A request id, CORS headers, JSON for every failure, and an end to bodies that nobody will read.
"""

from __future__ import annotations

import asyncio
import re
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telecine import telemetry
from telecine.api.addressing import header, is_platform
from telecine.api.failures import Disconnected, answer, send_result
from telecine.api.platform.failures import platform_answer
from telecine.errors import BadRequest, NotFound, Stopping
from telecine.models import Result

# As fal's: any page may call, with a key but never with cookies.
_EXPOSED = (
    "x-fal-request-id, x-fal-request-timeout-type, x-fal-error-type, x-fal-billable-units,"
    " x-fal-needs-retry, x-telecine-cost-source, x-request-id, x-should-retry, retry-after, etag,"
    " content-length, content-range, accept-ranges"
)
_CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", _EXPOSED.encode()),
]
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (b"access-control-max-age", b"86400"),
    (b"vary", b"access-control-request-headers"),
]
_COMMON_HEADERS = "authorization, content-type, x-fal-target-url"
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,4096}")

# A refusal reads this much of a body that is still coming, so that a client which writes all before
# it reads gets its answer; then the connection is closed.
DRAIN_BYTES = 1024 * 1024
DRAIN_SECONDS = 2.0


class Edge:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["method"] == "OPTIONS":
                await _Exchange(scope, receive, send).preflight()
            else:
                await _Exchange(scope, receive, send).run(self._app)
        elif scope["type"] == "websocket":
            await _refuse_websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started = False
        self._body_left = bool(header(scope, b"transfer-encoding")) or (
            header(scope, b"content-length") not in ("", "0")
        )
        scope["telecine.request_id"] = str(uuid.uuid4())

    async def run(self, app: ASGIApp) -> None:
        receive = self.receive if self._body_left else self._receive
        with telemetry.about(self._scope["telecine.request_id"]):
            try:
                _check(self._scope)
                await app(self._scope, receive, self.send)
            except Disconnected:
                pass
            except Exception as error:
                if self._started:
                    raise  # the status is out: breaking off is the one way left to say it
                await send_result(self.send, self._answer(error))

    def _answer(self, error: Exception) -> Result:
        if is_platform(self._scope):
            return platform_answer(error, self._scope["telecine.request_id"])
        return answer(error)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._body_left = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            headers = [*message.get("headers", ()), *_CORS]
            if all(name != b"x-fal-request-id" for name, _ in headers):
                request_id: str = self._scope["telecine.request_id"]
                headers.append((b"x-fal-request-id", request_id.encode()))
            if self._body_left and not await self._drained():
                headers.append((b"connection", b"close"))
            message["headers"] = headers
        await self._send(message)

    async def _drained(self) -> bool:
        """Read the rest of a body that nobody wants; whether all of it came."""
        if header(self._scope, b"expect").lower() == "100-continue":
            return False  # the client waits for a word before it sends: this answer is the word
        room = DRAIN_BYTES
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._body_left and room > 0:
                    room -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            return False
        return not self._body_left

    async def preflight(self) -> None:
        asked = header(self._scope, b"access-control-request-headers")
        allowed = asked if _HEADER_NAMES.fullmatch(asked) else _COMMON_HEADERS
        headers = [*_PREFLIGHT, (b"access-control-allow-headers", allowed.encode())]
        await self.send({"type": "http.response.start", "status": 204, "headers": headers})
        await self._send({"type": "http.response.body", "body": b""})


def _check(scope: Scope) -> None:
    """Raises Stopping, and BadRequest for a call that two readers may understand differently."""
    if scope.get("telecine.is_stopping"):
        raise Stopping
    for name in ("Host", "Authorization"):
        said = {value for each, value in scope["headers"] if each == name.lower().encode()}
        if len(said) > 1:
            raise BadRequest(f"There are two {name} headers, which differ; send one")


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """No endpoint here has a realtime route: a plain 404 instead of a handshake."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    result = answer(NotFound("This endpoint has no realtime route"))
    headers = [(b"content-type", b"application/json"), *_CORS]
    await send(
        {"type": "websocket.http.response.start", "status": result.status, "headers": headers}
    )
    await send({"type": "websocket.http.response.body", "body": result.body.encode()})
