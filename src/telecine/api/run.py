"""Run: one call, one answer."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from telecine import endpoints
from telecine.api.callers import while_connected
from telecine.api.failures import send_result
from telecine.api.parts import Parts
from telecine.api.requests import keeps_payloads, received, start_timeout


class Run:
    """`POST /{endpoint}`. A caller who hangs up stops the upstream work."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start_seconds = start_timeout(scope)
        endpoint = endpoints.endpoint(scope["path"][1:]).id
        async with received(self._parts, scope, receive, endpoint, "run") as request:
            async with while_connected(receive):
                result = await self._parts.worker.run(
                    request, start_seconds=start_seconds, store_io=keeps_payloads(scope)
                )
        await send_result(send, result)
