"""Temporary tokens: a page calls some endpoints for a while without holding the key."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from telecine.api.intake import read_object
from telecine.errors import Forbidden, InputError
from telecine.models import Caller

_DEFAULT_SECONDS = 120
_MOST_SECONDS = 24 * 3600
_NAMESPACES = frozenset({"workflows", "comfy"})


def routes() -> list[Route]:
    return [
        Route("/rest/tokens", create, methods=["POST"]),
        Route("/rest/tokens/realtime", create_realtime, methods=["POST"]),
    ]


async def create(request: Request) -> Response:
    """Answers with the token as a JSON string."""
    return JSONResponse(await _token(request, "token_expiration"))


async def create_realtime(request: Request) -> Response:
    return JSONResponse({"token": await _token(request, "duration")})


async def _token(request: Request, seconds_name: str) -> str:
    keys = request.app.state.parts.keys
    caller: Caller = await keys.check(request.headers.get("authorization"))
    if caller.apps is not None:
        raise Forbidden("A token cannot make tokens; use a key.")
    document = await read_object(request)
    token: str = keys.token(caller, _apps(document), _seconds(document, seconds_name))
    return token


def _apps(document: dict[str, Any]) -> frozenset[str]:
    apps = document.get("allowed_apps")
    if not isinstance(apps, list) or not apps or not all(isinstance(app, str) for app in apps):
        raise InputError(
            "Input should be a list of endpoint names, with one at least",
            loc=("body", "allowed_apps"),
            type="list_type",
        )
    return frozenset(_alias(app) for app in apps)


def _alias(app: str) -> str:
    """What a token is good for: `router`, given `router` or `openrouter/router/video`."""
    segments = app.strip("/").split("/")
    if segments[0] in _NAMESPACES:
        segments = segments[1:]
    return segments[1] if len(segments) > 1 else segments[0]


def _seconds(document: dict[str, Any], name: str) -> int:
    seconds = document.get(name, _DEFAULT_SECONDS)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InputError("Input should be a valid number", loc=("body", name), type="float_type")
    if not 1 <= seconds <= _MOST_SECONDS:
        raise InputError(
            f"Input should be from 1 to {_MOST_SECONDS}", loc=("body", name), type="value_error"
        )
    return int(seconds)
