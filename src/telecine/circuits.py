"""Routes that do not answer are left alone for a while, so that nobody waits for them in vain.

    closed     calls go through
    open       after FAILURES in a row: calls are refused at once, for 30 s, then twice as long
               every time, up to 5 min
    half open  when that time is over: one call tries, the others are still refused; it closes the
               route or opens it again

An upstream that says when to come back (Retry-After) is not asked before. Only "not available"
counts: a call that was refused for what it asked, or cancelled, says nothing about the route.
The state is this process's own and lives in memory: another node finds out for itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from telecine import telemetry
from telecine.errors import ProviderUnavailable

_log = logging.getLogger("telecine.circuits")

FAILURES = 5
FIRST_SECONDS = 30.0
LONGEST_SECONDS = 300.0
LONGEST_HOLD_SECONDS = 3600.0  # the longest that a Retry-After is heeded
ROUTES = 1000  # that are remembered; models may be named by strangers


@dataclass(slots=True)
class _Route:
    failures: int = 0
    opened: int = 0  # times in a row
    until: float = 0.0
    is_trying: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """A route that is left alone, for how much longer, and why."""

    provider: str
    model: str
    seconds: float
    why: str


class Call:
    """A call under way on a route."""

    def __init__(self, answered: Callable[[], None]) -> None:
        self.answered = answered
        """To be called when something was heard: the route works, however the call ends."""


class Circuits:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._routes: dict[tuple[str, str], _Route] = {}

    def check(self, provider: str, model: str) -> None:
        """Raises ProviderUnavailable, with the time left, if a call would be refused now."""
        route = self._routes.get((provider, model))
        if route is None:
            return
        seconds = route.until - self._clock()
        if seconds > 0 or route.is_trying:
            raise ProviderUnavailable(
                f"{provider} is not asked for {model!r} now, since {route.why}",
                provider=provider,
                retry_after_seconds=max(seconds, 1.0),
            )

    def held(self) -> list[Pause]:
        """The routes on which a call would be refused now."""
        now = self._clock()
        return [
            Pause(provider, model, max(route.until - now, 0.0), route.why)
            for (provider, model), route in self._routes.items()
            if route.until > now or route.is_trying
        ]

    @contextmanager
    def call(self, provider: str, model: str) -> Iterator[Call]:
        """Around a call; raises as `check` does."""
        self.check(provider, model)
        key = provider, model
        route = self._routes.get(key)
        is_trial = route is not None and route.opened > 0
        if route is not None and is_trial:
            route.is_trying = True
        try:
            yield Call(lambda: self._close(key))
        except ProviderUnavailable as error:
            self._fail(key, error)
            raise
        finally:
            if route is not None and is_trial:
                route.is_trying = False

    def _close(self, key: tuple[str, str]) -> None:
        route = self._routes.pop(key, None)
        if route is not None and route.opened:
            _log.warning("%s answers again for %r", *key)
            self._count(key[0])

    def _fail(self, key: tuple[str, str], error: ProviderUnavailable) -> None:
        route = self._routes.pop(key, None) or _Route()
        self._routes[key] = route  # the latest last
        route.failures += 1
        now, seconds = self._clock(), 0.0
        if error.retry_after_seconds:
            seconds = min(error.retry_after_seconds, LONGEST_HOLD_SECONDS)
            route.why = f"it asked to be left alone: {error.message}"
        is_open = route.until > now  # calls that began before it opened may still fail
        if (route.failures >= FAILURES or route.opened) and not is_open:
            pause = min(FIRST_SECONDS * 2.0**route.opened, LONGEST_SECONDS)
            route.opened = min(route.opened + 1, 10)
            if pause > seconds:
                seconds = pause
                route.why = f"it failed {route.failures} times in a row: {error.message}"
        if seconds and now + seconds > route.until:
            route.until = now + seconds
            _log.warning("%s is not asked for %r for %.0f s: %s", *key, seconds, error.message)
        while len(self._routes) > ROUTES:
            del self._routes[next(iter(self._routes))]
        self._count(key[0])

    def _count(self, provider: str) -> None:
        now = self._clock()
        is_held = [r.until > now for (name, _), r in self._routes.items() if name == provider]
        telemetry.ROUTES_HELD.labels(provider).set(sum(is_held))
