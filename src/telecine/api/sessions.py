"""The pages' sign-in: a key is exchanged for a cookie that counts for this origin's calls only.

The cookie is HttpOnly and SameSite=Strict, so no script reads it and no other site sends it. There
is left another origin of the same site (another port of this host, a sibling name): its calls that
change something carry an `Origin` of their own, and the answers to the rest it cannot read.
"""

from __future__ import annotations

import re
from http.cookies import CookieError, SimpleCookie

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from telecine.api.addressing import header
from telecine.api.intake import read_object
from telecine.api.parts import Parts
from telecine.errors import AuthError, Forbidden, InputError
from telecine.keys import SESSION_SECONDS

COOKIE = "telecine_session"

_SAFE = frozenset({"GET", "HEAD"})
_ORIGIN = re.compile(r"https?://(?P<host>[^/]+)", re.ASCII)


def routes(parts: Parts) -> list[Route]:
    sessions = _Sessions(parts)
    return [
        Route("/telecine/v1/session", sessions.show, methods=["GET"]),
        Route("/telecine/v1/session", sessions.start, methods=["POST"]),
        Route("/telecine/v1/session", sessions.end, methods=["DELETE"]),
    ]


class Sessions:
    """Around the application: lets a session stand for an `Authorization` header."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            said = header(scope, b"authorization")
            if said[:8].lower() == "session ":
                raise AuthError("invalid key credentials")  # the scheme is ours, inside
            if not said and (token := _cookie(scope)) and _is_same_origin(scope):
                value = f"Session {token}".encode("latin-1")
                scope["headers"] = [*scope["headers"], (b"authorization", value)]
        await self._app(scope, receive, send)


class _Sessions:
    def __init__(self, parts: Parts) -> None:
        self._keys = parts.keys
        self._is_open = parts.is_open

    async def show(self, request: Request) -> Response:
        """Who is signed in; 401 for nobody."""
        caller = await self._keys.check(request.headers.get("authorization"))
        return JSONResponse(
            {
                "key_id": caller.key_id,
                "scopes": sorted(caller.scopes),
                "needs_key": not self._is_open,
            }
        )

    async def start(self, request: Request) -> Response:
        """`{"key": "id:secret"}` in, the cookie out."""
        if not _is_same_origin(request.scope):
            raise Forbidden("Only the pages of this server sign in")
        key = (await read_object(request)).get("key")
        if not isinstance(key, str) or not key.strip():
            raise InputError("Field required", loc=("body", "key"), type="missing")
        if not key.isascii():
            raise AuthError("invalid key credentials")
        caller = await self._keys.check(f"Key {key.strip()}")
        await self._keys.audit(caller.key_id, "session.started", address=_address(request))
        answer = JSONResponse({"key_id": caller.key_id, "scopes": sorted(caller.scopes)})
        _set(answer, request, self._keys.session(caller), SESSION_SECONDS)
        return answer

    async def end(self, request: Request) -> Response:
        answer = Response(status_code=204)
        _set(answer, request, "", 0)
        return answer


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _set(answer: Response, request: Request, token: str, seconds: int) -> None:
    answer.set_cookie(
        COOKIE,
        token,
        max_age=seconds,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    answer.headers["cache-control"] = "no-store"


def _cookie(scope: Scope) -> str:
    text = header(scope, b"cookie")
    if COOKIE not in text:
        return ""
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found and found.value.isascii() else ""


def _is_same_origin(scope: Scope) -> bool:
    """Whether a page of this very origin asks, as far as the browser tells.

    Without TLS, browsers say it of localhost alone; by any other name `Origin` tells it for all
    calls that change something.
    """
    site = header(scope, b"sec-fetch-site")
    if site:
        return site in ("same-origin", "none")
    origin = _ORIGIN.fullmatch(header(scope, b"origin").lower())
    if origin is not None:
        return origin["host"] == header(scope, b"host").lower()
    return scope["method"] in _SAFE and not header(scope, b"origin")
