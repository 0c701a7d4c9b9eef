"""What a test asks the fake afterwards, and tells it before."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from telecine.fake.record import Received, Record
from telecine.fake.script import split

# Where a request's own key stands.
_SECRET = {"authorization", "x-api-key", "x-goog-api-key", "cookie", "proxy-authorization"}


class Admin:
    """Under /fake. `known`: whether there is a switch of that name."""

    def __init__(self, record: Record, *, known: Callable[[str], bool]) -> None:
        self._record = record
        self._known = known

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/fake/requests", self._requests),
            web.delete("/fake/requests", self._forget),
            web.get("/fake/bill", self._bill),
            web.get("/fake/switches", self._switches),
            web.post("/fake/switches", self._switch),
        ]

    async def _requests(self, request: web.Request) -> web.Response:
        record = self._record
        told = [_told(each) for each in record.received]
        return web.json_response({"requests": told, "others": record.asked})

    async def _forget(self, request: web.Request) -> web.Response:
        self._record.forget()
        return web.Response(status=204)

    async def _bill(self, request: web.Request) -> web.Response:
        """Amounts are strings: no digit of them is lost in anybody's JSON."""
        entries = [
            {
                "id": each.id,
                "provider": each.provider,
                "model": each.model,
                "cost": f"{each.billed:f}",
                "cancelled": each.was_cut,
            }
            for each in self._record.received
            if each.billed
        ]
        total = f"{self._record.billed:f}"
        return web.json_response({"total": total, "currency": "USD", "entries": entries})

    async def _switches(self, request: web.Request) -> web.Response:
        switches = self._record.switches
        return web.json_response(
            {
                "switch": switches.switch,
                "times": switches.times,
                "delay": switches.delay,
                "credit": None if switches.credit is None else f"{switches.credit:f}",
            }
        )

    async def _switch(self, request: web.Request) -> web.Response:
        """What is not named is as it is at the start."""
        try:
            self._set(await request.json())
        except (ValueError, TypeError, LookupError, InvalidOperation) as problem:
            return web.json_response({"error": str(problem)}, status=400)
        return await self._switches(request)

    def _set(self, wanted: Any) -> None:
        """Raises for what makes no sense, and then changes nothing."""
        if not isinstance(wanted, dict):
            raise TypeError("an object is wanted: switch, times, delay, credit")
        if unknown := wanted.keys() - {"switch", "times", "delay", "credit"}:
            raise LookupError(f"not known: {', '.join(sorted(unknown))}")
        switch, times = wanted.get("switch") or "", wanted.get("times")
        delay, credit = wanted.get("delay") or 0.0, wanted.get("credit")
        check(switch, self._known)
        if times is not None and (not isinstance(times, int) or times < 1):
            raise ValueError("times is a number of requests")
        if not isinstance(delay, int | float) or not 0 <= delay < 3600:
            raise ValueError("delay is in seconds")
        amount = None if credit is None else Decimal(str(credit))
        switches = self._record.switches
        switches.switch, switches.times = switch, times if switch else None
        switches.delay, switches.credit = float(delay), amount


def check(switch: str, known: Callable[[str], bool]) -> None:
    """Raises LookupError for a switch that nobody has."""
    name, _ = split(switch)
    if name and not known(name):
        raise LookupError(f"there is no switch {name!r}")


def _told(received: Received) -> dict[str, Any]:
    return {
        "id": received.id,
        "provider": received.provider,
        "api": received.api,
        "model": received.model,
        "switch": received.switch,
        "headers": {
            name: value for name, value in received.headers.items() if name.lower() not in _SECRET
        },
        "document": received.document,
        "media": [
            {
                "kind": sent.kind,
                "sha256": sent.sha256,
                "bytes": sent.bytes,
                "mime": sent.mime,
                "seconds": sent.seconds,
            }
            for sent in received.media
        ],
        "links": received.links,
        "usage": received.usage,
        "billed": f"{received.billed:f}",
        "was_cut": received.was_cut,
        "is_over": received.ended.is_set(),
    }
