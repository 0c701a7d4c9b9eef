"""A receiver of webhooks to develop with: verifies each delivery and prints it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
import typer
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from telecine import app
from telecine.cli.serve import bind, url_of
from telecine.cli.server import Server
from telecine.jobs import signing
from telecine.net import Client
from telecine.settings import Settings

_MAX_BYTES = 64 * 1024 * 1024
_FETCH_SECONDS = 5.0

Jwks = Mapping[str, Any]


async def listen(
    settings: Settings, *, port: int, jwks_url: str | None, status: int, as_json: bool
) -> None:
    """Receive on loopback until it is interrupted."""
    sockets = bind("127.0.0.1", port)
    here = url_of("127.0.0.1", sockets[0].getsockname()[1])
    server = settings.server
    origin = server.public_url or url_of(server.host, server.port)
    jwks_url = jwks_url or f"{origin}/.well-known/jwks.json"
    typer.echo(
        f"Listening for webhooks on {here}/; their signatures are checked by {jwks_url}\n"
        "A server delivers to this machine only if it runs with TELECINE_NET_ALLOW=127.0.0.1",
        err=True,
    )
    async with app.client(settings) as client:
        keys = Keys(client, jwks_url)
        sink = Sink(keys.problem, status=status, as_json=as_json)
        await Server(sink, stop_seconds=1).serve(sockets)


class Keys:
    """The keys at a URL: asked for when one is needed that is not known yet."""

    def __init__(self, client: Client, url: str) -> None:
        self._client = client
        self._url = url
        self._jwks: Jwks = {}

    async def problem(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """What is wrong with a delivery; None: it is from there."""
        now = time.time()
        if signing.problem(headers, body, self._jwks, now=now) is None:
            return None
        try:
            self._jwks = await self._fetch()
        except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError) as error:
            return f"no keys from {self._url} ({type(error).__name__}: {error})"
        return signing.problem(headers, body, self._jwks, now=now)

    async def _fetch(self) -> Jwks:
        async with (
            asyncio.timeout(_FETCH_SECONDS),
            self._client.trusted().get(self._url, raise_for_status=True) as response,
        ):
            found: Jwks = dict(await response.json(content_type=None))
            return found


class Sink:
    """Prints every delivery with the verdict on its signature, and answers `status`."""

    def __init__(
        self,
        problem: Callable[[Mapping[str, str], bytes], Awaitable[str | None]],
        *,
        status: int,
        as_json: bool,
    ) -> None:
        self._problem = problem
        self._status = status
        self._as_json = as_json

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BYTES:
                break
        if request.method == "POST":
            problem = await self._problem(request.headers, bytes(body))
            told = _told(request.headers, bytes(body), problem)
            typer.echo(json.dumps(told) if self._as_json else _lines(told))
        await PlainTextResponse("", self._status)(scope, receive, send)


def _told(headers: Mapping[str, str], body: bytes, problem: str | None) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = body.decode("utf-8", "replace")
    try:
        age: float | None = round(time.time() - int(headers.get(signing.TIMESTAMP, "")), 1)
    except ValueError:
        age = None
    return {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": headers.get(signing.REQUEST_ID),
        "is_verified": problem is None,
        "problem": problem,
        "age_seconds": age,
        "body": document,
    }


def _lines(told: Mapping[str, Any]) -> str:
    """For a terminal, which must not take orders from a stranger's text."""
    verdict = "verified" if told["is_verified"] else f"NOT VERIFIED: {told['problem']}"
    age = "" if told["age_seconds"] is None else f", signed {told['age_seconds']:g} s ago"
    body = told["body"]
    shown = body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)
    text = f"{told['at']}  request {told['request_id']}  {verdict}{age}\n{shown}"
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
