"""Every arrow of the state machine. Each is one guarded statement, and what goes with it.

    queued  -> running                          admit      the attempt number grows: the fence
    queued  -> failed | cancelled               close      it will not start (again)
    running -> succeeded | failed | cancelled   finish     only by the attempt that runs
    running -> queued                           requeue    only by the attempt that runs

A statement that changes no row lost a race: somebody else moved the request first, and what
happened there holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from telecine import wire
from telecine.db.base import Transaction
from telecine.errors import TelecineError
from telecine.jobs import deliveries
from telecine.models import Request, Result

EndState = Literal["succeeded", "failed", "cancelled"]
AttemptEnd = Literal["succeeded", "failed", "cancelled", "retried", "lost", "handed_back"]

# How long the result of a request sent with X-Fal-Store-IO: 0 is kept; longer only while a webhook
# still waits that is to tell of it.
BRIEF_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ended: its state, and the answer that is kept for it."""

    state: EndState
    result: Result
    error: str | None = None
    error_type: str | None = None

    def values(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "result_status": self.result.status,
            "result_headers": json.dumps(dict(self.result.headers)),
            "result_body": self.result.body,
            "error": self.error,
            "error_type": self.error_type,
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a request: `number` is the fence of everything that it writes."""

    id: str
    number: int
    started_at: float


def arrival(request: Request, *, attachments: str, **values: Any) -> dict[str, Any]:
    """The values of `insert_request` for a request as it came; `values` differ by mode."""
    return {
        "id": request.id,
        "endpoint": request.endpoint,
        "mode": request.mode,
        "key_id": request.caller.key_id,
        "model": model_of(request.document),
        "lane": "",
        "node": "",
        "priority": 0,
        "start_by": None,
        "no_retry": 0,
        "input": json.dumps(request.document, separators=(",", ":")),
        "attachments": attachments,
        "webhook_url": None,
        "started_at": None,
        "idempotency_key": None,
        **values,
    }


def model_of(document: Any) -> str:
    """The model that an input names, as its row has it; '' when it names none."""
    model = document.get("model") if isinstance(document, Mapping) else None
    return storable(model, 200) if isinstance(model, str) else ""


def failure(error: BaseException, id: str, *, state: EndState = "failed") -> Ending:
    """The ending that `error` is. What is no TelecineError is told as a bare 500."""
    message = error.message if isinstance(error, TelecineError) else "Internal Server Error"
    kind = error.type if isinstance(error, TelecineError) else "internal_server_error"
    return Ending(state, wire.failure(error, request_id=id), storable(message, 2_000), kind)


def storable(text: str, limit: int) -> str:
    """`text` as any database takes it: valid Unicode without NUL, no longer than `limit`."""
    clean = text if text.isascii() else text.encode("utf-8", "replace").decode()
    clean = clean.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


class States:
    """`keep_seconds`: how long payloads stay after the end, unless the caller wanted less."""

    def __init__(self, *, keep_seconds: float) -> None:
        self._kept = {"keep_seconds": keep_seconds, "brief_seconds": BRIEF_SECONDS}

    async def close(self, tx: Transaction, id: str, ending: Ending, *, now: float) -> bool:
        """queued -> its end. False: it does not wait."""
        rows = await tx.fetch(
            "finish_waiting_request", id=id, now=now, **ending.values(), **self._kept
        )
        return await self._ended(tx, id, rows, now)

    async def finish(
        self,
        tx: Transaction,
        attempt: Attempt,
        ending: Ending,
        *,
        now: float,
        inference_seconds: float | None = None,
        receipt: Mapping[str, Any] | None = None,
    ) -> bool:
        """running -> its end. False: this attempt no longer runs it, and its end was discarded."""
        rows = await tx.fetch(
            "finish_request",
            id=attempt.id,
            attempt=attempt.number,
            now=now,
            inference_seconds=inference_seconds,
            receipt=None if receipt is None else json.dumps(receipt, default=str),
            **ending.values(),
            **self._kept,
        )
        if await self._ended(tx, attempt.id, rows, now):
            await self._note(tx, attempt, ending.state, now, ending.error)
            return True
        return False

    async def requeue(
        self,
        tx: Transaction,
        attempt: Attempt,
        ended_as: Literal["retried", "lost", "handed_back"],
        *,
        now: float,
        not_before: float = 0,
        detail: str | None = None,
    ) -> bool:
        """running -> queued. False: it is to be cancelled, or this attempt no longer runs it."""
        changed = await tx.execute(
            "requeue_request",
            id=attempt.id,
            attempt=attempt.number,
            not_before=not_before,
            failures=int(ended_as == "retried"),
            losses=int(ended_as == "lost"),
        )
        if changed:
            await self._note(tx, attempt, ended_as, now, detail)
        return bool(changed)

    async def _ended(self, tx: Transaction, id: str, rows: list[Any], now: float) -> bool:
        if not rows:
            return False
        await tx.execute("delete_pins", request_id=id)
        await tx.execute("delete_checkpoints", request_id=id)
        if url := rows[0]["webhook_url"]:
            await deliveries.insert(tx, id, url, now=now)
        return True

    async def _note(
        self,
        tx: Transaction,
        attempt: Attempt,
        ended_as: AttemptEnd,
        now: float,
        detail: str | None,
    ) -> None:
        await tx.execute(
            "insert_attempt",
            request_id=attempt.id,
            attempt=attempt.number,
            started_at=attempt.started_at,
            ended_at=now,
            ended_as=ended_as,
            detail=detail,
        )
