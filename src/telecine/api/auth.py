"""Who may call: a key or a token becomes a Caller; a server without keys is for its machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from telecine.api.addressing import header
from telecine.errors import Forbidden
from telecine.keys import COMMAND, UNLIMITED, CdnToken, KeyInfo, NewKey, may
from telecine.models import Caller, KeyLimits

# Who calls when no key is asked for.
LOCAL = Caller("local", frozenset({"API", "ADMIN"}))

_LOOPBACK = re.compile(
    r"(?:(?:[a-z0-9-]+\.)*localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?", re.ASCII
)


class KeyRing(Protocol):
    """What handlers ask of `keys.Keys`."""

    async def check(
        self, authorization: str | None, *, query_token: str | None = None, app: str | None = None
    ) -> Caller: ...

    async def check_cdn(self, authorization: str | None) -> Caller: ...

    async def is_valid(self, key_id: str) -> bool: ...

    async def admit(self, caller: Caller) -> None: ...

    async def audit(self, by: str, action: str, subject: str = "", **detail: Any) -> None: ...

    def token(self, caller: Caller, apps: Iterable[str], seconds: int) -> str: ...

    def cdn_token(self, caller: Caller) -> CdnToken: ...

    def session(self, caller: Caller) -> str: ...

    async def create(
        self,
        alias: str = "",
        scopes: Iterable[str] = ("API",),
        *,
        expires_at: float | None = None,
        limits: KeyLimits = UNLIMITED,
        by: str = COMMAND,
    ) -> NewKey: ...

    async def limit(
        self,
        key_id: str,
        *,
        alias: str,
        expires_at: float | None,
        limits: KeyLimits,
        by: str = COMMAND,
    ) -> None: ...

    async def revoke(self, key_id: str, *, by: str = COMMAND) -> None: ...

    async def spent(self, key_id: str, limits: KeyLimits) -> Decimal: ...

    async def list(self) -> Sequence[KeyInfo]: ...


class OpenKeys:
    """In place of the keys where none is asked for: everybody is the one local caller."""

    def __init__(self, keys: KeyRing) -> None:
        self.token = keys.token
        self.cdn_token = keys.cdn_token
        self.session = keys.session
        self.create = keys.create
        self.limit = keys.limit
        self.revoke = keys.revoke
        self.list = keys.list
        self.spent = keys.spent
        self.audit = keys.audit

    async def check(
        self, authorization: str | None, *, query_token: str | None = None, app: str | None = None
    ) -> Caller:
        return LOCAL

    async def check_cdn(self, authorization: str | None) -> Caller:
        return LOCAL

    async def is_valid(self, key_id: str) -> bool:
        return True

    async def admit(self, caller: Caller) -> None:
        return None


class Guard:
    """`guard(app)` lets through only who has a key; `caller(scope)` then tells who it is.

    Run and queue paths name an application; a temporary token is good for the one it was made
    for, and for nothing else that takes a key.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def __call__(self, app: ASGIApp) -> ASGIApp:
        return _Guarded(app, self)

    async def check(self, scope: Scope) -> Caller:
        """Raises AuthError, and Forbidden for a token that is for something else."""
        app = _application(scope["path"])
        caller = await self._keys.check(
            header(scope, b"authorization") or None, query_token=_query_token(scope), app=app
        )
        if caller.apps is not None and app is None:
            raise Forbidden("A temporary token can call its applications, and nothing else")
        return caller


class _Guarded:
    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["telecine.caller"] = await self._guard.check(scope)
        await self._app(scope, receive, send)


def admin(app: ASGIApp) -> ASGIApp:
    """Lets through keys with the scope ADMIN, behind a guard."""

    async def admins_only(scope: Scope, receive: Receive, send: Send) -> None:
        if not may(caller(scope), "ADMIN"):
            raise Forbidden("This needs a key with the scope ADMIN")
        await app(scope, receive, send)

    return admins_only


def caller(scope: Scope) -> Caller:
    """Who is asking, behind a guard."""
    found: Caller = scope["telecine.caller"]
    return found


class OwnMachineOnly:
    """Around a server that asks for no key: nothing but this machine's programs and own pages.

    A page somewhere on the web can send requests here, and by rebinding its own name to 127.0.0.1
    even read the answers; but it can not make a browser lie about `Host` and `Origin`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = header(scope, b"host").lower()
            origin = header(scope, b"origin").lower()
            if not _LOOPBACK.fullmatch(host):
                raise Forbidden(
                    "Without keys this server answers only to localhost and 127.0.0.1;"
                    " start it without --no-auth to reach it by another name"
                )
            if (origin and origin not in (f"http://{host}", f"https://{host}")) or _is_cross_site(
                scope
            ):
                raise Forbidden(
                    "Without keys this server answers no pages but its own;"
                    " start it without --no-auth and give the page a key"
                )
        await self._app(scope, receive, send)


def _is_cross_site(scope: Scope) -> bool:
    return header(scope, b"sec-fetch-site") not in ("", "same-origin", "none")


def _application(path: str) -> str | None:
    """The `owner/alias` that a run or queue path is about."""
    segments = path.split("/")[1:]
    if segments[0] == "queue":
        segments = segments[1:]
    elif segments[0] in ("telecine", "rest", "files", "v1", "metrics"):
        return None
    return "/".join(segments[:2])


def _query_token(scope: Scope) -> str | None:
    query: bytes = scope["query_string"]
    if b"fal_jwt_token" not in query:
        return None
    return parse_qs(query.decode("latin-1")).get("fal_jwt_token", [None])[0]
