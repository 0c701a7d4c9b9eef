"""Keys with their limits, and who changed what: for keys with the scope ADMIN."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, request_response

from telecine import wire
from telecine.api import auth
from telecine.api.answers import page, reply, time_of, whole
from telecine.api.auth import Guard, admin
from telecine.api.intake import read_object
from telecine.api.parts import Parts
from telecine.api.platform.bodies import parsed
from telecine.db.base import Row, Transaction
from telecine.errors import BadRequest, NotFound
from telecine.keys import KeyInfo
from telecine.models import BudgetPer, KeyLimits

_MOST = 2**63 - 1
_DOLLARS = Field(gt=0, le=10**9, max_digits=21, decimal_places=12)


def routes(guard: Guard, parts: Parts) -> list[Route]:
    calls = _Calls(parts)
    base = "/telecine/v1/keys"

    def keyed(handler: Any) -> Any:
        return guard(admin(request_response(handler)))

    return [
        Route(base, keyed(calls.list), methods=["GET"]),
        Route(base, keyed(calls.create), methods=["POST"]),
        Route(f"{base}/{{id}}", keyed(calls.change), methods=["PATCH"]),
        Route(f"{base}/{{id}}", keyed(calls.revoke), methods=["DELETE"]),
        Route("/telecine/v1/audit", keyed(calls.audit), methods=["GET"]),
    ]


def _no_repeats(scopes: list[str]) -> list[str]:
    return sorted(set(scopes))


_Name = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[^\x00]*$")]


class Limits(BaseModel):
    """Null, or an empty list of models: no limit."""

    model_config = ConfigDict(extra="forbid")

    alias: Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")] = ""
    expires_at: AwareDatetime | None = None
    models: list[_Name] = Field(default=[], max_length=100)
    per_minute: Annotated[int, Field(ge=1, le=10**6)] | None = None
    running: Annotated[int, Field(ge=1, le=10**6)] | None = None
    budget: Annotated[Decimal, _DOLLARS] | None = None
    budget_per: BudgetPer = "month"

    def limits(self) -> KeyLimits:
        return KeyLimits(
            models=tuple(self.models),
            per_minute=self.per_minute,
            running=self.running,
            budget=self.budget,
            budget_per=self.budget_per,
        )


class NewKey(Limits):
    scopes: Annotated[
        list[Literal["API", "CALL", "FILES", "ADMIN"]],
        Field(min_length=1, max_length=10),
        AfterValidator(_no_repeats),
    ] = ["API"]


class _Calls:
    def __init__(self, parts: Parts, clock: Callable[[], float] = time.time) -> None:
        self._db = parts.db
        self._keys = parts.keys
        self._clock = clock

    async def list(self, request: Request) -> Response:
        """Every key, the newest first, without secrets; with what it spent of its budget."""
        keys = [await self._shown(key) for key in reversed(await self._keys.list())]
        return _private({"keys": keys})

    async def create(self, request: Request) -> Response:
        """The only time that the secret is shown."""
        body = parsed(NewKey, await read_object(request))
        self._check_end(body)
        key = await self._keys.create(
            body.alias,
            body.scopes,
            expires_at=_epoch(body.expires_at),
            limits=body.limits(),
            by=auth.caller(request.scope).key_id,
        )
        document = {"key_id": key.key_id, "key_secret": key.key_secret, "key": key.key}
        return _private(document, status=201)

    async def change(self, request: Request) -> Response:
        """What the body names is changed; null takes a limit away."""
        key = await self._find(request.path_params["id"])
        given = await read_object(request)
        body = parsed(Limits, {**_document(key), **given})
        if "expires_at" in given:
            self._check_end(body)
        await self._keys.limit(
            key.key_id,
            alias=body.alias,
            expires_at=_epoch(body.expires_at),
            limits=body.limits(),
            by=auth.caller(request.scope).key_id,
        )
        changed = replace(key, alias=body.alias, expires_at=body.expires_at, limits=body.limits())
        return _private(await self._shown(changed))

    async def revoke(self, request: Request) -> Response:
        """It, and what was made from it, is refused from now on. Not the key that asks for it."""
        key = await self._find(request.path_params["id"])
        by = auth.caller(request.scope).key_id
        if key.key_id == by:
            raise BadRequest("This is the key that you are signed in with; revoke it with another")
        await self._keys.revoke(key.key_id, by=by)
        return Response(status_code=204)

    async def audit(self, request: Request) -> Response:
        """The newest first; `next_cursor` of one page is `cursor` of the next."""
        before = whole(request, "cursor", default=_MOST, most=_MOST)

        async def operation(tx: Transaction) -> list[Row]:
            return await tx.fetch("audit_page", before=before, limit=101)

        rows = await self._db.read(operation)
        entries = [
            {
                "at": time_of(row["at"]),
                "actor": row["actor"],
                "action": row["action"],
                "subject": row["subject"],
                "detail": json.loads(row["detail"]),
            }
            for row in rows[:100]
        ]
        more = str(rows[99]["id"]) if len(rows) > 100 else None
        return _private({"entries": entries, **page(more)})

    def _check_end(self, body: Limits) -> None:
        if body.expires_at is not None and body.expires_at.timestamp() <= self._clock():
            raise BadRequest("expires_at is in the past")

    async def _find(self, key_id: str) -> KeyInfo:
        for key in await self._keys.list():
            if key.key_id == key_id and key.revoked_at is None:
                return key
        raise NotFound(f"There is no valid key {key_id[:100]}")

    async def _shown(self, key: KeyInfo) -> dict[str, Any]:
        spent = await self._keys.spent(key.key_id, key.limits)
        return {
            "key_id": key.key_id,
            **_document(key),
            "scopes": list(key.scopes),
            "created_at": wire.timestamp(key.created_at),
            "revoked_at": key.revoked_at and wire.timestamp(key.revoked_at),
            "last_used_at": key.last_used_at and wire.timestamp(key.last_used_at),
            "spent": f"{spent.normalize():f}",
        }


def _document(key: KeyInfo) -> dict[str, Any]:
    """What of a key can be changed, as `Limits` takes it."""
    limits = key.limits
    return {
        "alias": key.alias,
        "expires_at": key.expires_at and wire.timestamp(key.expires_at),
        "models": list(limits.models),
        "per_minute": limits.per_minute,
        "running": limits.running,
        "budget": None if limits.budget is None else f"{limits.budget.normalize():f}",
        "budget_per": limits.budget_per,
    }


def _epoch(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _private(document: Any, status: int = 200) -> Response:
    """For nobody's cache: a secret stands in one of them."""
    return reply(document, status, headers={"cache-control": "no-store"})
