"""Slows down who guesses keys: an address whose keys were refused waits longer for every refusal.

Against 128 random bits guessing is hopeless anyway; this is for keys that operators chose
themselves, and for the log. A good key is never slowed, whoever shares its address.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telecine.errors import AuthError, LimitReached

FREE = 10  # refusals of an address that cost nothing: a wrong setting is no attack
LONGEST_SECONDS = 5.0
FORGOTTEN_SECONDS = 300.0
ADDRESSES = 10_000  # remembered at most
WAITING = 16  # refusals of one address that may wait at once; more are told to come back

_log = logging.getLogger("telecine.api.attempts")


@dataclass(slots=True)
class _Address:
    refused: int = 0
    last: float = 0.0
    waiting: int = 0


class Attempts:
    """Around the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._app = app
        self._clock = clock
        self._sleep = sleep
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_refused = False

        async def watch(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start":
                is_refused = message["status"] == 401
                if is_refused:
                    await self._refused(scope)
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except AuthError:
            if not is_refused:
                await self._refused(scope)
            raise

    async def _refused(self, scope: Scope) -> None:
        """Count it, and wait. Raises LimitReached when too many of this address wait already."""
        if scope["type"] != "http" or not _has_credentials(scope):
            return
        found = self._address(scope)
        found.refused += 1
        if found.refused < FREE:
            return
        if found.refused == FREE:
            _log.warning("%d keys from %s were refused", FREE, _host(scope))
        seconds = min(0.1 * 2.0 ** min(found.refused - FREE, 10), LONGEST_SECONDS)
        if found.waiting >= WAITING:
            raise LimitReached(
                "Too many wrong keys from this address; come back later",
                type="rate_limit",
                retry_after_seconds=seconds,
            )
        found.waiting += 1
        try:
            await self._sleep(seconds)
        finally:
            found.waiting -= 1

    def _address(self, scope: Scope) -> _Address:
        host, now = _host(scope), self._clock()
        found = self._addresses.setdefault(host, _Address())
        self._addresses.move_to_end(host)
        if now - found.last > FORGOTTEN_SECONDS:
            found.refused = 0
        found.last = now
        while len(self._addresses) > ADDRESSES:
            self._addresses.popitem(last=False)
        return found


def _host(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _has_credentials(scope: Scope) -> bool:
    """Nobody guesses without a key, but for signing in, where it stands in the body."""
    is_sign_in = scope["path"] == "/telecine/v1/session" and scope["method"] == "POST"
    return is_sign_in or any(name == b"authorization" for name, _ in scope["headers"])
