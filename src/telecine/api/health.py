"""Is it alive, can it work, and what has it done: for load balancers, people and Prometheus."""

from __future__ import annotations

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from telecine import __version__, telemetry
from telecine.api.addressing import address
from telecine.api.parts import Parts
from telecine.db.base import Transaction
from telecine.errors import TelecineError


class Health:
    def __init__(self, parts: Parts) -> None:
        self._db = parts.db

    async def health(self, request: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "ok", "version": __version__})

    async def ready(self, request: Request) -> Response:
        """Requests can be taken: the database answers."""
        try:
            await self._db.read(_touch)
        except TelecineError as error:
            return JSONResponse({"detail": error.message, "status": "unavailable"}, 503)
        return JSONResponse({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        return Response(
            generate_latest(telemetry.REGISTRY), headers={"content-type": CONTENT_TYPE_LATEST}
        )

    async def hello(self, request: Request) -> Response:
        """What somebody sees who opens the address."""
        at = address(request.scope)
        return PlainTextResponse(
            f"Telecine {__version__}: fal's openrouter/router/video on this machine.\n"
            "\n"
            f"run      POST {at.run}/openrouter/router/video\n"
            f"stream   POST {at.run}/openrouter/router/video/stream\n"
            f"queue    POST {at.queue}/openrouter/router/video\n"
            f"upload   POST {at.rest}/storage/upload/initiate\n"
            f"guide    GET  {at.run}/models/openrouter/router/video/llms.txt\n"
            f"schema   GET  {at.run}/api/openapi/queue/openapi.json"
            "?endpoint_id=openrouter/router/video\n"
            f"models   GET  {at.run}/telecine/v1/models\n"
        )


async def _touch(tx: Transaction) -> None:
    await tx.fetch_one("request_story", id="", key_id="", is_admin=0)
