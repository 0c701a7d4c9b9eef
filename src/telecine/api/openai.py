"""OpenAI's API under /openrouter/router/openai/v1: chat completions, responses, embeddings, models.

The same pipeline, rows and limits as everywhere. Only the words differ, also those of errors: they
are told in OpenAI's shape and in fal's at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route, Router, request_response
from starlette.types import ASGIApp, Receive, Scope, Send

from telecine import endpoints, openai, wire
from telecine.api import failures, sse, stream
from telecine.api.auth import Guard
from telecine.api.callers import while_connected
from telecine.api.parts import Parts
from telecine.api.requests import keeps_payloads, received, start_timeout
from telecine.endpoints import ENDPOINTS, OPENAI_BASE
from telecine.errors import InputError, NotFound, ProviderRejected, TelecineError
from telecine.models import Api, Chunk, Event, Result

log = logging.getLogger(__name__)


def routes(parts: Parts, guard: Guard) -> list[Route]:
    """One route for all of the base: whatever goes wrong under it is told in OpenAI's shape too."""
    talk, models = guard(Talk(parts)), Models(parts)
    router = Router(
        [
            *(Route(f"/{e.id}", talk, methods=["POST"]) for e in ENDPOINTS.values() if e.api),
            Route(f"/{OPENAI_BASE}/models", guard(request_response(models.every))),
            Route(f"/{OPENAI_BASE}/models/{{model:path}}", guard(request_response(models.one))),
        ],
        redirect_slashes=False,
        default=_no_such_path,
    )
    return [Route(f"/{OPENAI_BASE}/{{rest:path}}", _InBothShapes(router))]


class Talk:
    """`POST /{endpoint}`: at once or, with `"stream": true`, as it comes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start_seconds, store_io = start_timeout(scope), keeps_payloads(scope)
        endpoint = endpoints.endpoint(scope["path"][1:])
        worker = self._parts.worker
        async with received(self._parts, scope, receive, endpoint.id, "run") as request:
            if endpoint.api is not None and _wants_stream(endpoint.api, request.document):
                events = worker.stream(
                    replace(request, mode="stream"), start_seconds=start_seconds, store_io=store_io
                )
                live = _Frames(endpoint.api, request.document)
                async with while_connected(receive), stream.answer(events, live):
                    await _send_all(live, send)
                return
            async with while_connected(receive):
                result = await worker.run(request, start_seconds=start_seconds, store_io=store_io)
        await failures.send_result(send, wire.openai_result(result))


class Models:
    """What can be asked for, by the name to ask for it."""

    def __init__(self, parts: Parts) -> None:
        self._registry = parts.registry

    async def every(self, _request: HTTPRequest) -> Response:
        """`GET .../models`: of the providers that can be asked just now."""
        found = await self._registry.offers()
        models = [
            _model(offer.name, offer.provider) for each in found.values() for offer in each.offers
        ]
        return _json({"object": "list", "data": models})

    async def one(self, request: HTTPRequest) -> Response:
        """`GET .../models/{model}`: also by a name that no list has, but that is answered to."""
        name = request.path_params["model"]
        try:
            route = await self._registry.resolve(name)
        except (InputError, ProviderRejected) as error:
            raise NotFound(error.message, type="model_not_found") from error
        return _json(_model(name, route.provider.name))


class _Frames:
    """An answer under way as server-sent events.

    Nothing can be left out for a slow reader: the upstream is read no further than MAX_WAITING
    ahead of it.
    """

    MAX_WAITING = 1024 * 1024

    def __init__(self, api: Api, document: Mapping[str, Any]) -> None:
        self.error: Exception | None = None
        self.has_begun = False
        self.has_ended = False
        self._api = api
        self._wants_usage = api != "chat" or openai.wants_usage(document)
        self._waiting: list[bytes] = []
        self._size = 0
        self._count = 0
        self._news = asyncio.Event()
        self._sent = asyncio.Event()

    def take(self, event: Event) -> Awaitable[None] | None:
        if not isinstance(event, Chunk):
            return None
        if self._wants_usage or not openai.is_mere_usage(event.body):
            self._add(event.body)
        return self._room() if self._size > self.MAX_WAITING else None

    def end(self, error: Exception | None) -> None:
        self.error = error
        self.has_ended = True
        if error is not None and not isinstance(error, TelecineError):
            log.error("a request failed on a bug", exc_info=error)
        if error is not None and self.has_begun:
            self._add(self._failure(error))
        if self._api == "chat" and self.has_begun:
            self._waiting.append(sse.event("[DONE]"))
        self._news.set()

    async def next(self, seconds: float) -> bytes:
        """What came since, as soon as there is something, or the end; b"" after so long without."""
        if not self._waiting and not self.has_ended:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
        waiting, self._waiting, self._size = self._waiting, [], 0
        self._sent.set()
        return b"".join(waiting)

    async def _room(self) -> None:
        self._sent.clear()
        await self._sent.wait()

    def _add(self, body: Mapping[str, Any]) -> None:
        name = str(body.get("type")) if self._api == "responses" else None
        frame = sse.event(wire.dumps(body), name)
        self._waiting.append(frame)
        self._size += len(frame)
        self._count += 1
        self.has_begun = True
        self._news.set()

    def _failure(self, error: Exception) -> dict[str, Any]:
        told = wire.openai_error(error)
        if self._api == "chat":
            return {"error": told}
        # the SDKs raise on `error`; what they document is the rest
        return {**told, "type": "error", "sequence_number": self._count, "error": told}


async def _send_all(live: _Frames, send: Send) -> None:
    """The header once there is something to say, then all that comes, with pings in between.

    Raises what went wrong before the header, so that it is answered with its own code.
    """
    frames = await live.next(stream.FIRST_WORD_SECONDS)
    if live.error is not None and not live.has_begun:
        raise live.error
    headers = [(name.encode(), value.encode()) for name, value in sse.HEADERS.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while frames or not live.has_ended:
        body = frames or sse.PING
        await send({"type": "http.response.body", "body": body, "more_body": True})
        frames = await live.next(sse.PING_SECONDS)
    await send({"type": "http.response.body", "body": b""})


class _InBothShapes:
    """Tells whatever the application raises in OpenAI's shape and in fal's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except failures.Disconnected:
            raise
        except Exception as error:  # noqa: BLE001 -- every failure has an answer
            result = failures.answer(error)
            headers = {**result.headers, "x-fal-request-id": scope["telecine.request_id"]}
            told = Result(status=result.status, headers=headers, body=result.body)
            await failures.send_result(send, wire.openai_result(told))


def _wants_stream(api: Api, document: Any) -> bool:
    is_asked = isinstance(document, Mapping) and document.get("stream") is True
    return is_asked and api != "embeddings"


def _model(name: str, provider: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": provider}


def _json(document: Any) -> Response:
    return Response(wire.dumps(document), media_type="application/json")


async def _no_such_path(scope: Scope, _receive: Receive, _send: Send) -> None:
    raise NotFound(f"Path {scope['path'][:200]} not found")
