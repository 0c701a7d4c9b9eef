"""Asks upstreams later what a call came to, where nobody told: cut off, cancelled, or not counted.

The ledger's rows are the list of what there is to ask: they survive a restart, and a row that one
process takes on is put off for the others. Nothing waits for this, and nothing depends on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from telecine import ledger
from telecine.db.base import Database, DatabaseFailed, Row
from telecine.errors import ProviderError
from telecine.jobs.bells import Bell
from telecine.models import Bill, Usage
from telecine.providers.base import Provider, Settles

_log = logging.getLogger("telecine.jobs.settler")

# An upstream knows what a call cost some seconds after its end, or never.
WAITS = (2.0, 8.0, 30.0, 120.0, 600.0, 3600.0)
OLDEST_SECONDS = 86_400.0
ANSWER_SECONDS = 15.0
IDLE_SECONDS = 300.0  # what other processes wrote is found then
AT_ONCE = 4
ROWS = 50


class Settler:
    """`providers`: by the name under which their calls stand in the ledger."""

    def __init__(
        self, *, db: Database, providers: Mapping[str, Provider], clock: Callable[[], float]
    ) -> None:
        self._db = db
        self._providers = providers
        self._clock = clock
        self._bell = Bell()
        self._slots = asyncio.Semaphore(AT_ONCE)

    def due(self, bill: Bill) -> float | None:
        """When the cost of `bill` is to be asked for; None: it is known, or nobody can tell.
        Whoever calls this writes the row."""
        is_known = bill.usage is not None and bill.usage.cost_source != "unknown"
        if is_known or not bill.upstream_id or self._settling(bill.provider) is None:
            return None
        asyncio.get_running_loop().call_later(WAITS[0] + 0.01, self._bell.ring)
        return self._clock() + WAITS[0]

    async def run(self) -> None:
        """Ask what is due, for ever."""
        while True:
            seconds = IDLE_SECONDS
            try:
                await self.settle()
                seconds = await self._seconds_to_next()
            except DatabaseFailed as error:
                _log.error("costs that are to be asked for have to wait: %s", error.message)
            await self._bell.heard(seconds)

    async def settle(self) -> None:
        """Ask for everything that is due now. Raises DatabaseFailed."""
        while rows := await self._db.read(
            lambda tx: tx.fetch("settlements_due", now=self._clock(), limit=ROWS)
        ):
            await asyncio.gather(*(self._settle(row) for row in rows))

    async def _settle(self, row: Row) -> None:
        upstream, tries = self._settling(row["provider"]), int(row["settle_tries"])
        is_over = tries >= len(WAITS) or row["at"] < self._clock() - OLDEST_SECONDS
        if upstream is None or is_over:
            await self._db.write(lambda tx: tx.execute("give_up_settlement", id=row["id"]))
            return
        later = self._clock() + ANSWER_SECONDS + WAITS[min(tries + 1, len(WAITS) - 1)]
        claim = {"id": row["id"], "settle_at": row["settle_at"], "next": later}
        async with self._slots:
            if not await self._db.write(lambda tx: tx.execute("claim_settlement", **claim)):
                return
            usage = await self._told(upstream, row)
        if usage is not None:
            values = ledger.amounts(usage)
            await self._db.write(lambda tx: tx.execute("settle_entry", id=row["id"], **values))

    async def _told(self, upstream: Settles, row: Row) -> Usage | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                usage = await upstream.settle(row["upstream_id"])
        except (ProviderError, TimeoutError) as error:
            _log.info("%s does not tell yet what %s cost: %s", row["provider"], row["id"], error)
            return None
        except Exception:  # noqa: BLE001 -- one row must not keep the others from being asked for
            _log.exception("the cost of ledger entry %s can not be asked for", row["id"])
            return None
        return usage if usage is not None and usage.cost is not None else None

    async def _seconds_to_next(self) -> float:
        row = await self._db.read(lambda tx: tx.fetch_one("next_settlement"))
        if row is None:
            return IDLE_SECONDS
        seconds = float(row["settle_at"]) - self._clock()
        return min(max(0.05, seconds), IDLE_SECONDS)

    def _settling(self, provider: str) -> Settles | None:
        found: object = self._providers.get(provider)
        return found if isinstance(found, Settles) else None
