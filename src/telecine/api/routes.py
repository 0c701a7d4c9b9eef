"""The whole URL table. Paths are internal ones; `addressing` says how callers get to them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from starlette.routing import BaseRoute, Route, Router, request_response
from starlette.types import ASGIApp, Receive, Scope, Send

from telecine import endpoints
from telecine.api import (
    console,
    documents,
    openai,
    own_document,
    own_keys,
    pages,
    platform,
    queue,
    sandboxes,
    sessions,
    tokens,
    uploads,
    webhooks,
)
from telecine.api.addressing import RESERVED, Addressing
from telecine.api.attempts import Attempts
from telecine.api.auth import Guard, OpenKeys, OwnMachineOnly
from telecine.api.edge import Edge
from telecine.api.health import Health
from telecine.api.own import Estimate, Own
from telecine.api.parts import Parts
from telecine.api.run import Run
from telecine.api.stream import Stream
from telecine.errors import NotFound


def _routes(parts: Parts) -> list[BaseRoute]:
    guard = Guard(parts.keys)
    health, own = Health(parts), Own(parts)
    run, stream, result = Run(parts), Stream(parts), queue.GetResult(parts)
    one = "/queue/{app:path}/requests/{id}"
    router = [endpoint.id for endpoint in endpoints.ENDPOINTS.values() if endpoint.api is None]

    def keyed(handler: Any) -> ASGIApp:
        return guard(request_response(handler))

    return [
        # Run and stream.
        *(Route(f"/{name}", guard(run), methods=["POST"]) for name in router),
        *(Route(f"/{name}/stream", guard(stream), methods=["POST"]) for name in router),
        *openai.routes(parts, guard),
        # The queue.
        Route(f"{one}/status/stream", guard(queue.StatusStream(parts)), methods=["GET"]),
        Route(f"{one}/status", guard(queue.Status(parts)), methods=["GET"]),
        Route(f"{one}/cancel", guard(queue.Cancel(parts)), methods=["PUT", "POST"]),
        Route(f"{one}/response", guard(result), methods=["GET"]),
        Route(one, guard(result), methods=["GET"]),
        Route("/queue/{endpoint:path}", guard(queue.Submit(parts)), methods=["POST"]),
        # Files and tokens: some take a key, some a CDN token, some a secret in the URL.
        *uploads.routes(),
        *tokens.routes(),
        # fal's Platform API.
        *platform.routes(parts, guard),
        # Telecine's own API.
        *console.routes(parts, guard),
        Route("/telecine/v1/requests/{id}", keyed(own.request), methods=["GET"]),
        Route("/telecine/v1/models", keyed(own.models), methods=["GET"]),
        Route("/telecine/v1/estimate", guard(Estimate(parts)), methods=["POST"]),
        Route("/telecine/v1/openapi.json", own_document.openapi, methods=["GET"]),
        *webhooks.routes(guard, parts.deliveries, parts.signing_keys, parts.keys),
        *sessions.routes(parts),
        *own_keys.routes(guard, parts),
        *sandboxes.routes(parts, guard),
        # For everybody.
        *pages.routes(health),
        Route("/health", health.health),
        Route("/ready", health.ready),
        Route("/metrics", keyed(health.metrics), methods=["GET"]),
        Route("/api/openapi/queue/openapi.json", documents.openapi),
        Route("/models/{endpoint:path}/llms.txt", documents.llms),
        Route("/models/{endpoint:path}/api", documents.page),
        Route("/models/{endpoint:path}", documents.page),
    ]


def application(parts: Parts) -> ASGIApp:
    """The server's HTTP side. It opens and closes nothing: `parts` are in use already."""
    if parts.is_open:
        parts = replace(parts, keys=OpenKeys(parts.keys))
    _check_endpoints()
    router = Router(_routes(parts), redirect_slashes=False, default=_no_such_path)
    app: ASGIApp = Addressing(_Within(router, parts), public_url=parts.public_url)
    app = Attempts(sessions.Sessions(app))
    return Edge(OwnMachineOnly(app) if parts.is_open else app)


class _Within:
    """Puts `parts` where handlers find them, as `request.app.state.parts`."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self.state = SimpleNamespace(parts=parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        await self._app(scope, receive, send)


async def _no_such_path(scope: Scope, _receive: Receive, _send: Send) -> None:
    segments = scope["path"].strip("/").split("/")
    if segments[0] not in RESERVED and len(segments) > 1:
        endpoints.endpoint("/".join(segments))
    raise NotFound(f"Path {scope['path'][:200]} not found")


def _check_endpoints() -> None:
    """An endpoint whose owner is one of our own first segments could never be reached."""
    taken = RESERVED & {endpoint.app.partition("/")[0] for endpoint in endpoints.ENDPOINTS.values()}
    if taken:
        raise RuntimeError(f"endpoint owners that are reserved: {sorted(taken)}")
