"""Who could answer: configured providers with their health, and what would unlock the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from telecine.api import auth
from telecine.api.answers import reply
from telecine.api.parts import Parts, Upstream
from telecine.keys import may
from telecine.providers.base import Health, Provider

FRESH_SECONDS = 30.0
CHECK_SECONDS = 8.0  # a provider promises 5


class ProviderCalls:
    """Health is asked for at most every 30 s, however many look."""

    def __init__(self, parts: Parts) -> None:
        self._providers = parts.registry.providers
        self._upstreams = parts.upstreams
        self._locked = parts.locked
        self._inference = parts.inference
        self._checks: dict[str, Health] = {}
        self._checked_at = float("-inf")
        self._checking = asyncio.Lock()

    async def list(self, request: Request) -> Response:
        is_admin = may(auth.caller(request.scope), "ADMIN")
        health = await self._health()
        held = self._inference.held()
        return reply(
            {
                "providers": [
                    {
                        "name": name,
                        **_configured(self._upstreams.get(name), is_admin=is_admin),
                        **_healthy(health[name], is_admin=is_admin),
                        "held": [
                            {
                                "model": each.model,
                                "seconds": round(each.seconds),
                                "why": each.why if is_admin else None,
                            }
                            for each in held
                            if each.provider == name
                        ],
                    }
                    for name in self._providers
                ],
                "locked": [
                    {"type": each.type, "key_variables": list(each.key_variables), "fix": each.fix}
                    for each in self._locked
                ],
            }
        )

    async def _health(self) -> Mapping[str, Health]:
        async with self._checking:
            if time.monotonic() - self._checked_at > FRESH_SECONDS:
                found = await asyncio.gather(*map(_check, self._providers.values()))
                self._checks = dict(zip(self._providers, found, strict=True))
                self._checked_at = time.monotonic()
        return self._checks


def _configured(upstream: Upstream | None, *, is_admin: bool) -> dict[str, Any]:
    """Where it is and what unlocks it is for those who run this server."""
    upstream = upstream or Upstream(type="")
    return {
        "type": upstream.type,
        "host": upstream.host if is_admin else None,
        "key_variable": upstream.key_variable if is_admin else None,
        "has_key": upstream.has_key,
    }


def _healthy(health: Health, *, is_admin: bool) -> dict[str, Any]:
    """Others than administrators are not told addresses."""
    if is_admin:
        return {"is_ok": health.is_ok, "says": health.says, "fix": health.fix or None}
    says = "it can be asked" if health.is_ok else "it cannot be asked now"
    return {"is_ok": health.is_ok, "says": says, "fix": None}


async def _check(provider: Provider) -> Health:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await provider.check()
    except TimeoutError:
        return Health(is_ok=False, says=f"no answer within {CHECK_SECONDS:.0f} seconds")
