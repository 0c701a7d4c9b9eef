"""What was used and what it cost, from the ledger; decimals added up exactly, as text."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from telecine.api.answers import reply, time_of, visible
from telecine.api.parts import Parts
from telecine.api.platform.asked import DAY, Asked
from telecine.db.base import Row, Transaction
from telecine.errors import BadRequest

_BY = ("day", "model", "key", "provider")
_USUAL = 30 * DAY


class UsageCalls:
    def __init__(self, parts: Parts) -> None:
        self._db = parts.db
        self._keys = parts.keys
        self._clock = parts.clock

    async def usage(self, request: Request) -> Response:
        """From `from` (30 days ago) to before `to` (now), by day, model, key or provider."""
        asked, now = Asked(request, self._clock()), self._clock()
        by = asked.choice("by", _BY, "day")
        start, end = asked.at("from"), asked.at("to")
        end = now + 1 if end is None else end
        start = end - _USUAL if start is None else start
        if start >= end:
            raise BadRequest("from must be before to")
        who = visible(request)

        async def operation(tx: Transaction) -> list[Row]:
            values = {"start": start, "end": end, **who}
            if by == "day":
                return await tx.fetch("usage_by_day", **values)
            return await tx.fetch("usage_by_name", by=by, **values)

        rows = await self._db.read(operation)
        names = await self._aliases() if by == "key" and who["is_admin"] else {}
        return reply(
            {
                "by": by,
                "from": time_of(start),
                "to": time_of(end),
                "usage": [_shown(row, names) for row in rows],
            }
        )

    async def _aliases(self) -> dict[str, str]:
        return {key.key_id: key.alias for key in await self._keys.list()}


def _shown(row: Row, aliases: dict[str, str]) -> dict[str, Any]:
    counts = ("calls", "prompt_tokens", "completion_tokens", "total_tokens", "unknown_costs")
    return {
        "name": row["name"],
        "label": aliases.get(row["name"]) or row["name"],
        **{name: int(row[name]) for name in counts},
        "cost": row["cost"],
    }
