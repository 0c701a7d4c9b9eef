"""Answers for fal's hosts: what a program sends to them is asked of Telecine instead.

The program's own credentials end here. Only what Telecine itself gave out (CDN and temporary
tokens, secrets in upload URLs) is handed on as it is.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import aiohttp
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from yarl import URL

from telecine.api.addressing import FAL_HOSTS
from telecine.intercept.forward import (
    Asked,
    Headers,
    Unreachable,
    forward,
    named_by_connection,
    value,
)
from telecine.intercept.wayout import NoWay, WayOut

log = logging.getLogger("telecine.intercept")

DOMAINS = ("fal.run", "fal.ai", "fal.media", "falrun.com")

_REPLACED = frozenset({b"host", b"authorization", b"x-telecine-host"})
_DROPPED = frozenset({b"cookie", b"proxy-authorization", b"connection"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
# A download of somebody's public file needs no more; nothing else leaves.
_DOWNLOAD = frozenset(
    {
        *(b"accept", b"accept-encoding", b"accept-language", b"range", b"user-agent"),
        *(b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range"),
    }
)
# Telecine's own file paths; those of the real hosts have names where ours have 32 digits.
_OURS = re.compile(rb"/(?:files/)?(?:b/)?[0-9a-f]{32}/|/files/upload")
_TARGET = re.compile(rb"(https?)://([^/?#@\s]+)", re.IGNORECASE)
_HOST = re.compile(r"([a-z0-9._-]+)(?::[0-9]{1,5})?", re.ASCII)
_SECRET_PATH = re.compile(r"(/multipart/)[^/]+")


@dataclass(frozen=True, slots=True)
class Call:
    """What happened to one call, fit to be shown: no query, no secret."""

    method: str
    target: str
    outcome: str
    milliseconds: int


OnCall = Callable[[Call], None]


def is_fal(host: str) -> bool:
    """Whether this name (no port) belongs to fal, known to Telecine or not."""
    name = host.lower().rstrip(".")
    return any(name == domain or name.endswith(f".{domain}") for domain in DOMAINS)


class Server:
    """A Telecine reached by HTTP, as an ASGI application. `origin` may have a path."""

    def __init__(self, session: aiohttp.ClientSession, origin: str) -> None:
        self._session = session
        self._origin = origin.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        url = URL(f"{self._origin}{_path(scope)}", encoded=True)
        asked = Asked(scope["method"], url, scope["headers"])
        await forward(self._session, asked, receive, send)


class Outside:
    """The real hosts."""

    def __init__(self, session: aiohttp.ClientSession, way_out: WayOut) -> None:
        self._session = session
        self._way_out = way_out

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *, base: str) -> None:
        """`base`: scheme, host and port of the URL; the rest is in `scope`."""
        url = URL(f"{base}{_path(scope)}", encoded=True)
        proxy = self._way_out.proxy(url.scheme, url.host or "")
        asked = Asked(scope["method"], url, scope["headers"], proxy)
        await forward(self._session, asked, receive, send)


class Gateway:
    """The ASGI application behind the TLS end, for fal's hosts alone; `others` takes the rest too.

    `telecine` answers, asked with `key` (None: it wants none). `outside` is None when nothing may
    leave for other hosts. `on_call` hears of every call when it is over.
    """

    def __init__(
        self, telecine: ASGIApp, *, key: str | None, outside: Outside | None, on_call: OnCall
    ) -> None:
        self._telecine = telecine
        self._key = key
        self._outside = outside
        self._on_call = on_call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What was encrypted for one of fal's hosts."""
        await self._told(self._for_fal, scope, receive, send)

    async def others(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What came unencrypted: for any host, as a proxy gets it, with a full URL or `Host`."""
        await self._told(self._for_any, scope, receive, send)

    async def _told(self, answer: Any, scope: Scope, receive: Receive, send: Send) -> None:
        started, status, is_complete = time.monotonic(), "", False

        async def sending(message: Message) -> None:
            nonlocal status, is_complete
            if message["type"] == "http.response.start":
                status = str(message["status"])
            else:
                is_complete = not message.get("more_body")
            await send(message)

        try:
            await answer(scope, receive, sending)
        except (Unreachable, NoWay) as error:
            await _refuse(sending, 502, str(error))
        except aiohttp.ClientError:
            raise  # the other side broke off, and so the program's connection breaks
        except Exception:
            log.exception("a call under telecine exec failed on a bug")
            raise
        finally:
            outcome = status if is_complete else f"{status} broken off".lstrip()
            path = _SECRET_PATH.sub(r"\1...", scope["path"])
            milliseconds = round((time.monotonic() - started) * 1000)
            self._on_call(Call(scope["method"], f"{_host(scope)}{path}", outcome, milliseconds))

    async def _for_any(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = _host(scope)
        if is_fal(host):
            await self._for_fal(scope, receive, send)
        elif self._outside is None:
            await _refuse(send, 403, f"telecine exec --only-fal: {host} is not one of fal's hosts")
        else:
            await self._outside(scope, receive, send, base=_base(scope))

    async def _for_fal(self, scope: Scope, receive: Receive, send: Send) -> None:
        host, headers = _host(scope), scope["headers"]
        if host not in FAL_HOSTS:
            await _refuse(send, 404, f"Telecine does not stand for {host}; nothing was sent there")
        elif value(headers, b"upgrade"):
            await _refuse(send, 404, "This endpoint has no realtime route")
        elif _is_download(scope, host):
            await self._download(scope, receive, send)
        else:
            await self._telecine(self._asked(scope, host), receive, send)

    async def _download(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A file that the real service keeps. Who asks for it is not said."""
        if self._outside is None:
            await _refuse(send, 403, "telecine exec --only-fal: this file is not Telecine's")
            return
        kept = [(name, value) for name, value in scope["headers"] if name in _DOWNLOAD]
        base = f"https://{_host(scope)}"
        await self._outside({**scope, "headers": kept}, receive, send, base=base)

    def _asked(self, scope: Scope, host: str) -> Scope:
        """The same request, for Telecine, with its key in place of the program's."""
        # A program that names a header in `Connection` has it left out further on: none of ours.
        left_out = _REPLACED | _DROPPED | (named_by_connection(scope["headers"]) - _FRAMING)
        headers: Headers = [each for each in scope["headers"] if each[0] not in left_out]
        headers += [(b"host", b"localhost"), (b"x-telecine-host", host.encode())]
        if authorization := self._authorization(scope, host):
            headers.append((b"authorization", authorization))
        return {**scope, "headers": headers}

    def _authorization(self, scope: Scope, host: str) -> bytes | None:
        given = value(scope["headers"], b"authorization")
        scheme, _, credentials = given.partition(b" ")
        if scheme.lower() == b"bearer" and _is_own_token(credentials.strip()):
            return given
        # An upload URL has its own secret. A page in a browser that shows no key has none.
        brings_own = host.endswith("fal.media") or _has_own_token(scope["query_string"])
        if not given and (brings_own or value(scope["headers"], b"origin")):
            return None
        return f"Key {self._key}".encode() if self._key else None


# ---------------------------------------------------------------- what a request says


def _host(scope: Scope) -> str:
    """The name that is asked for, without port; of a full URL if there is one (RFC 9112 3.2.2)."""
    target = _TARGET.match(scope.get("telecine.target", b""))
    host = target[2] if target else value(scope["headers"], b"host")
    match = _HOST.fullmatch(host.decode("latin-1").lower())
    return match[1].rstrip(".") if match else host.decode("latin-1").lower()


def _base(scope: Scope) -> str:
    target = _TARGET.match(scope.get("telecine.target", b""))
    if target:
        return target[0].decode("latin-1")
    return f"http://{value(scope['headers'], b'host').decode('latin-1')}"


def _path(scope: Scope) -> str:
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"] or b"/"
    return (path + b"?" + query if query else path).decode("latin-1")


def _is_download(scope: Scope, host: str) -> bool:
    """Whether this reads a file that can not be Telecine's."""
    is_read = scope["method"] in ("GET", "HEAD") and host.endswith("fal.media")
    return is_read and not _OURS.match(scope["raw_path"])


def _has_own_token(query: bytes) -> bool:
    tokens = parse_qs(query.decode("latin-1")).get("fal_jwt_token", ())
    return any(_is_own_token(token.encode("latin-1", "replace")) for token in tokens)


def _is_own_token(token: bytes) -> bool:
    """Whether it looks like a token of Telecine's; Telecine itself checks that it is one."""
    parts = token.split(b".")
    if len(parts) != 3:
        return False
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return False
    return isinstance(claims, dict) and claims.get("use") in ("app", "cdn")


async def _refuse(send: Send, status: int, detail: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": detail}).encode()})
