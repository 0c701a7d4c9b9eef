"""Webhooks as a ledger: what was to be delivered, and what came of every attempt.

    waiting -> delivered     the receiver answered 2xx
    waiting -> dead          it never will: attempts used up, redirect, refused address, 410, or
                             nothing left to send

A row is made in the transaction that ends its request. It is never made undone: a replay is a
delivery of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from yarl import URL

from telecine.db.base import Database, Row, Transaction
from telecine.errors import BadRequest, NotFound
from telecine.jobs.bells import Bells
from telecine.net import shown_text

DeliveryState = Literal["waiting", "delivered", "dead"]

MOST = 2**63 - 1


async def insert(tx: Transaction, request_id: str, url: str, *, now: float) -> int:
    """A webhook that is due from now on."""
    rows = await tx.fetch(
        "insert_delivery", request_id=request_id, url=url, host=_receiver(url), now=now
    )
    return int(rows[0]["id"])


@dataclass(frozen=True, slots=True)
class Told:
    """A delivery as it is shown; `attempts` when it was asked for alone."""

    row: Row
    attempts: list[Row] = field(default_factory=list)


class Deliveries:
    """What is asked about deliveries, and replay. Works beside a running server, too.

    `key_id`: whose requests it is about; None: everybody's.
    """

    def __init__(self, *, db: Database, bells: Bells, clock: Callable[[], float]) -> None:
        self._db = db
        self._bells = bells
        self._clock = clock

    async def page(
        self,
        *,
        key_id: str | None = None,
        request_id: str | None = None,
        state: DeliveryState | None = None,
        before: int = MOST,
        limit: int = 50,
    ) -> list[Row]:
        """The newest first, with the outcome of the last attempt of each."""
        values = {"before": before, "limit": limit, "state": state or "", **_who(key_id)}
        if request_id is not None:
            statement = "deliveries_of_request"
        elif key_id is not None:
            statement = "deliveries_page_of_key"
        else:
            statement = "deliveries_page_of_state" if state else "deliveries_page"
        return await self._db.read(lambda tx: tx.fetch(statement, request_id=request_id, **values))

    async def find(self, id: int, *, key_id: str | None = None) -> Told:
        """One delivery with all its attempts. Raises NotFound."""

        async def operation(tx: Transaction) -> Told:
            row = await _find(tx, id, key_id)
            return Told(row, await tx.fetch("attempts_of_delivery", id=id))

        return await self._db.read(operation)

    async def replay(self, id: int, *, key_id: str | None = None) -> int:
        """Deliver once more, at once; returns the id of the delivery that does it.

        That is a new one, unless one to the same URL still waits: then it is only hurried.
        Raises NotFound, and BadRequest if there is nothing left to deliver.
        """

        async def operation(tx: Transaction) -> tuple[str, int]:
            row = await _find(tx, id, key_id)
            return row["request_id"], await self._again(tx, row)

        return await self._rung(*await self._db.write(operation))

    async def replay_request(self, request_id: str, *, key_id: str | None = None) -> int:
        """The same for the newest delivery of a request."""

        async def operation(tx: Transaction) -> tuple[str, int]:
            last = await tx.fetch_one(
                "last_delivery_of_request", request_id=request_id, **_who(key_id)
            )
            if last is None:
                raise NotFound(f"There is no webhook of request {shown_text(request_id, 100)}")
            return request_id, await self._again(tx, await _find(tx, last["id"], key_id))

        return await self._rung(*await self._db.write(operation))

    async def _again(self, tx: Transaction, row: Row) -> int:
        now, request_id, url = self._clock(), row["request_id"], row["url"]
        if not row["has_result"]:
            raise BadRequest(f"The result of request {request_id} has expired")
        waiting = await tx.fetch_one("waiting_delivery", request_id=request_id, url=url)
        if waiting is None:
            return await insert(tx, request_id, url, now=now)
        await tx.execute("hurry_delivery", id=waiting["id"], now=now)
        return int(waiting["id"])

    async def _rung(self, request_id: str, id: int) -> int:
        self._bells.ring([request_id])
        return id


async def _find(tx: Transaction, id: int, key_id: str | None) -> Row:
    row = await tx.fetch_one("delivery_by_id", id=id, **_who(key_id))
    if row is None:
        raise NotFound(f"There is no delivery {id}")
    return row


def _who(key_id: str | None) -> dict[str, Any]:
    return {"key_id": key_id or "", "is_admin": int(key_id is None)}


def _receiver(url: str) -> str:
    """Who shares a receiver: host and port, in one spelling."""
    try:
        parsed = URL(url)
        return shown_text(f"{parsed.raw_host or ''}:{parsed.port or ''}".lower())
    except ValueError:
        return ""  # refused when its turn comes
