"""Sandboxes: one input asked of several models, saved to be looked at again and shown to others.

A column names a request, and its result is what this server has kept of it, copied when the sandbox
is saved: nobody can save, or show to others, an answer or a receipt that was never given. Whoever
deletes a request's payloads deletes the copies with them.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, request_response
from starlette.types import ASGIApp

from telecine import endpoints, wire
from telecine.api import auth
from telecine.api.answers import page, reply, time_of, visible
from telecine.api.auth import Guard
from telecine.api.intake import read_object
from telecine.api.parts import Parts
from telecine.api.platform.asked import MOST, Asked, cursor_of
from telecine.api.platform.bodies import parsed
from telecine.db.base import Row, Transaction
from telecine.errors import BadRequest, NotFound

MOST_PER_KEY = 500
MAX_COLUMNS = 6
MAX_OUTPUT = 200_000  # characters of an answer

_MAX_BYTES = 256 * 1024
_MAX_DEPTH = 30


def routes(parts: Parts, guard: Guard) -> list[Route]:
    calls = _Calls(parts)
    base = "/telecine/v1/sandboxes"

    def keyed(handler: Any) -> ASGIApp:
        return guard(request_response(handler))

    return [
        Route(base, keyed(calls.page), methods=["GET"]),
        Route(base, keyed(calls.create), methods=["POST"]),
        Route(f"{base}/{{id}}", keyed(calls.show), methods=["GET"]),
        Route(f"{base}/{{id}}", keyed(calls.update), methods=["PUT"]),
        Route(f"{base}/{{id}}", keyed(calls.delete), methods=["DELETE"]),
    ]


# ---------------------------------------------------------------- bodies


def _endpoint(name: str) -> str:
    found = endpoints.ENDPOINTS.get(name)
    if found is None or found.api is not None:
        raise ValueError("there is no such endpoint to compare models on")
    return name


def _input(given: dict[str, Any]) -> dict[str, Any]:
    if "model" in given:
        raise ValueError("the columns name the models")
    level: list[Any] = [given]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    if level:
        raise ValueError("it is nested too deeply")
    return given


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Column(_Body):
    model: Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[^\x00]*$")]
    request_id: uuid.UUID | None = None


class Sandbox(_Body):
    name: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")] = ""
    endpoint: Annotated[str, AfterValidator(_endpoint)] = "openrouter/router/video"
    input: Annotated[dict[str, Any], AfterValidator(_input)] = {}
    columns: list[Column] = Field(min_length=1, max_length=MAX_COLUMNS)
    is_shared: bool = False


# ---------------------------------------------------------------- calls


class _Calls:
    def __init__(self, parts: Parts) -> None:
        self._db = parts.db
        self._keys = parts.keys
        self._clock = parts.clock

    async def page(self, request: Request) -> Response:
        """Those of the key, an administrator all; what was changed last comes first."""
        asked = Asked(request, self._clock())
        limit = asked.limit(default=50, most=200)
        before_at, before_id = asked.cursor(float, str) or (float(MOST), "")
        values = {"before_at": float(before_at), "before_id": before_id, "limit": limit + 1}

        async def operation(tx: Transaction) -> list[dict[str, Any]]:
            rows = await tx.fetch("sandboxes_page", **values, **visible(request))
            return [
                {**row, "columns": await tx.fetch("sandbox_columns_of", sandbox_id=row["id"])}
                for row in rows
            ]

        rows = await self._db.read(operation)
        has_more = len(rows) > limit
        rows = rows[:limit]
        cursor = cursor_of(rows[-1]["updated_at"], rows[-1]["id"]) if has_more else None
        return reply({"sandboxes": [_listed(row) for row in rows], **page(cursor)})

    async def create(self, request: Request) -> Response:
        body = parsed(Sandbox, await read_object(request, max_bytes=_MAX_BYTES))
        caller, who = auth.caller(request.scope), visible(request)
        sandbox_id, link = str(uuid.uuid4()), _link() if body.is_shared else None

        async def operation(tx: Transaction) -> None:
            known = await tx.fetch_one("sandboxes_count", key_id=caller.key_id)
            if known is not None and known["count"] >= MOST_PER_KEY:
                raise BadRequest(f"A key keeps at most {MOST_PER_KEY} sandboxes: delete some")
            values = {"id": sandbox_id, "key_id": caller.key_id, "link": link}
            await tx.execute("sandbox_insert", **values, **self._said(body))
            await _put_columns(tx, sandbox_id, body, {}, who)

        await self._db.write(operation)
        if link is not None:
            await self._keys.audit(caller.key_id, "sandbox.shared", sandbox_id)
        return reply(await self._shown(request, sandbox_id), status=201)

    async def show(self, request: Request) -> Response:
        """By its id for its own key and administrators, by its link for every key."""
        return reply(await self._shown(request, request.path_params["id"]))

    async def update(self, request: Request) -> Response:
        """It is as the body says from now on. Results of requests that it had already stay, also
        when nothing else has kept them. A link that is taken back is never given again."""
        body = parsed(Sandbox, await read_object(request, max_bytes=_MAX_BYTES))
        who, sandbox_id = visible(request), request.path_params["id"]

        async def operation(tx: Transaction) -> tuple[bool, bool]:
            row = await _owned(tx, sandbox_id, who)
            link = (row["link"] or _link()) if body.is_shared else None
            await tx.execute("sandbox_update", id=row["id"], link=link, **self._said(body))
            columns = await tx.fetch("sandbox_columns_of", sandbox_id=row["id"])
            kept = {each["request_id"]: each["result"] for each in columns if each["request_id"]}
            await tx.execute("sandbox_columns_delete", sandbox_id=row["id"])
            await _put_columns(tx, row["id"], body, kept, who)
            return row["link"] is not None, link is not None

        was_shared, is_shared = await self._db.write(operation)
        if was_shared != is_shared:
            action = "sandbox.shared" if is_shared else "sandbox.unshared"
            await self._keys.audit(who["key_id"], action, sandbox_id)
        return reply(await self._shown(request, sandbox_id))

    async def delete(self, request: Request) -> Response:
        """With its results; the requests stay. It is gone from the disk when this returns."""
        who, sandbox_id = visible(request), request.path_params["id"]

        async def operation(tx: Transaction) -> None:
            await _owned(tx, sandbox_id, who)
            await tx.execute("sandbox_delete", id=sandbox_id, **who)

        await self._db.write(operation)
        await self._db.scrub()
        await self._keys.audit(who["key_id"], "sandbox.deleted", sandbox_id)
        return Response(status_code=204)

    # ------------------------------------------------------------ steps

    def _said(self, body: Sandbox) -> dict[str, Any]:
        return {
            "name": body.name,
            "endpoint": body.endpoint,
            "input": wire.dumps(body.input),
            "now": self._clock(),
        }

    async def _shown(self, request: Request, name: str) -> dict[str, Any]:
        """Raises NotFound."""
        who = visible(request)

        async def operation(tx: Transaction) -> tuple[Row, list[Row]]:
            row = await tx.fetch_one("sandbox_opened", name=name, **who)
            if row is None:
                raise _unknown(name)
            return row, await tx.fetch("sandbox_columns_of", sandbox_id=row["id"])

        row, columns = await self._db.read(operation)
        may_change = bool(who["is_admin"]) or row["key_id"] == who["key_id"]
        return {
            **_listed({**row, "columns": columns}),
            # The id is for those who may change it; the link is all that others ever learn.
            "sandbox_id": row["id"] if may_change else None,
            "may_change": may_change,
            "input": json.loads(row["input"]),
            "columns": [
                {
                    "model": each["model"],
                    "request_id": each["request_id"],
                    "result": None if each["result"] is None else json.loads(each["result"]),
                }
                for each in columns
            ],
        }


async def _owned(tx: Transaction, sandbox_id: str, who: Mapping[str, Any]) -> Row:
    """The sandbox of this id, if the caller may change it. Raises NotFound."""
    row = await tx.fetch_one("sandbox_opened", name=sandbox_id, **who)
    if row is None or row["id"] != sandbox_id:
        raise _unknown(sandbox_id)
    return row


async def _put_columns(
    tx: Transaction,
    sandbox_id: str,
    body: Sandbox,
    kept: Mapping[str, str | None],
    who: Mapping[str, Any],
) -> None:
    """Raises BadRequest for a request that is not the caller's, or has not ended."""
    for place, column in enumerate(body.columns):
        request_id = None if column.request_id is None else str(column.request_id)
        if request_id is None:
            result = None
        elif request_id in kept:
            result = kept[request_id]
        else:
            result = wire.dumps(await _result(tx, request_id, body, who))
        values = {"model": column.model, "request_id": request_id, "result": result}
        await tx.execute("sandbox_column_insert", sandbox_id=sandbox_id, place=place, **values)


async def _result(
    tx: Transaction, request_id: str, body: Sandbox, who: Mapping[str, Any]
) -> dict[str, Any]:
    row = await tx.fetch_one("request_story", id=request_id, **who)
    if row is None:
        raise BadRequest(f"There is no request {request_id} of yours")
    if row["state"] in ("queued", "running"):
        raise BadRequest(f"The request {request_id} has not ended yet")
    asked = None if row["input"] is None else json.loads(row["input"])
    answer = None if row["result_body"] is None else json.loads(row["result_body"])
    output = answer.get("output") if isinstance(answer, dict) else None
    text = output if isinstance(output, str) else ""
    return {
        "model": row["model"],
        "state": row["state"],
        "error": row["error"],
        "error_type": row["error_type"],
        "output": text[:MAX_OUTPUT],
        "is_cut": len(text) > MAX_OUTPUT,
        "is_of_this_input": asked is not None and _is_same(asked, row["endpoint"], body),
        "receipt": None if row["receipt"] is None else json.loads(row["receipt"]),
    }


def _is_same(asked: Any, endpoint: str, body: Sandbox) -> bool:
    """Whether a request asked what the sandbox asks, of whatever model."""
    if not isinstance(asked, dict) or endpoint != body.endpoint:
        return False
    rest = {name: value for name, value in asked.items() if name != "model"}
    return bool(rest == json.loads(wire.dumps(body.input)))


def _listed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sandbox_id": row["id"],
        "key_id": row["key_id"],
        "link": row["link"],
        "name": row["name"],
        "endpoint": row["endpoint"],
        "models": [column["model"] for column in row["columns"]],
        "created_at": time_of(row["created_at"]),
        "updated_at": time_of(row["updated_at"]),
    }


def _link() -> str:
    """128 bits that nobody guesses, and no id looks like."""
    return f"shared-{secrets.token_urlsafe(16)}"


def _unknown(name: str) -> NotFound:
    return NotFound(f"There is no sandbox {name[:100]}, or it is not shared any more")
