"""Requests of any mode: a list with filters and what changed in it, replay, cancel, delete."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response

from telecine import endpoints
from telecine.api import auth
from telecine.api.answers import page, reply, visible, whole
from telecine.api.own import shown
from telecine.api.parts import Parts
from telecine.api.platform.asked import MOST, Asked, cursor_of
from telecine.api.platform.requests import forget
from telecine.api.requests import check_models
from telecine.db.base import Row, Transaction
from telecine.errors import BadRequest, Forbidden, NotFound
from telecine.keys import may
from telecine.models import Attachment, Mode, State
from telecine.models import Request as Call

_STATES: tuple[State, ...] = get_args(State)
_MODES: tuple[Mode, ...] = get_args(Mode)
_PLACEHOLDER = re.compile(r'"(attachment:[0-9a-f]{32})"')

# Changes are told again for so long: a row may be written a little after the time that it bears,
# and the clocks of several servers are not quite the same.
_AGAIN_SECONDS = 3.0
_MOST_CHANGES = 500


class RequestCalls:
    def __init__(self, parts: Parts) -> None:
        self._db = parts.db
        self._files = parts.files
        self._keys = parts.keys
        self._queue = parts.queue
        self._worker = parts.worker
        self._clock = parts.clock

    # ------------------------------------------------------------ the list

    async def page(self, request: Request) -> Response:
        """The newest first, those that meet every filter."""
        asked = Asked(request, self._clock())
        limit = whole(request, "limit", default=50, most=200)
        before_at, before_seq = asked.cursor(float, int) or (float(MOST), MOST)
        filters, who = _filters(asked), visible(request)
        statement = "listed_requests"
        if not who["is_admin"] and filters == _NO_FILTERS:
            statement = "listed_requests_of_key"

        async def operation(tx: Transaction) -> list[Row]:
            return await tx.fetch(
                statement,
                before_at=float(before_at),
                before_seq=before_seq,
                limit=limit + 1,
                **filters,
                **who,
            )

        rows = await self._db.read(operation)
        has_more = len(rows) > limit
        rows = rows[:limit]
        cursor = cursor_of(rows[-1]["created_at"], rows[-1]["seq"]) if has_more else None
        return reply({"requests": [_shown(row) for row in rows], **page(cursor)})

    async def changes(self, request: Request) -> Response:
        """What changed since an earlier answer; without `cursor` nothing but where to begin.

        To be asked every few seconds: a change may be told twice. With more changes than one
        answer takes, `has_more` says that the list is to be read anew.
        """
        asked = Asked(request, self._clock())
        now, since = self._clock(), asked.cursor(float)
        rows: list[Row] = []
        if since is not None:
            values = {"since": float(since[0]), "limit": _MOST_CHANGES + 1, **visible(request)}
            rows = await self._db.read(lambda tx: tx.fetch("changed_requests", **values))
        return reply(
            {
                "requests": [_shown(row) for row in rows[:_MOST_CHANGES]],
                "cursor": cursor_of(now - _AGAIN_SECONDS),
                "has_more": len(rows) > _MOST_CHANGES,
            }
        )

    # ------------------------------------------------------------ one of them

    async def replay(self, request: Request) -> Response:
        """A new request through the queue with the same input. It is the caller's own: its limits
        hold, its budget pays; no webhook tells of it."""
        caller = auth.caller(request.scope)
        if not may(caller, "CALL"):
            raise Forbidden("This key calls no models: it has not the scope CALL")
        row = await self._row("request_to_replay", request)
        document, attachments = await self._again(row)
        check_models(caller, document)
        await self._keys.admit(caller)
        call = Call(
            id=str(uuid.uuid4()),
            endpoint=row["endpoint"],
            mode="queue",
            caller=caller,
            document=document,
            attachments=attachments,
        )
        job = await self._queue.submit(call)
        await self._keys.audit(caller.key_id, "request.replayed", row["id"], as_request=job.id)
        return reply({"request_id": job.id, "replay_of": row["id"]}, status=202)

    async def cancel(self, request: Request) -> Response:
        """One that waits is cancelled at once; one that runs is told to stop."""
        request_id = request.path_params["id"]
        row = await self._row("request_mode", request)
        if row["state"] not in ("queued", "running"):
            raise BadRequest("The request has ended already")
        if row["mode"] == "queue":
            is_heard = await self._queue.cancel(request_id)
        else:
            is_heard = self._worker.cancel(request_id)
        if not is_heard:
            raise BadRequest(
                "The request has ended meanwhile"
                if row["mode"] == "queue"
                else "This call does not run on this server (any more): its caller can stop it"
            )
        by = auth.caller(request.scope).key_id
        await self._keys.audit(by, "request.cancelled", request_id)
        return reply({"request_id": request_id}, status=202)

    async def delete_payload(self, request: Request) -> Response:
        """What it said and was answered is gone from the disk when this returns."""
        request_id = request.path_params["id"]
        await self._row("request_mode", request)
        await forget(self._db, self._files, request_id)
        by = auth.caller(request.scope).key_id
        await self._keys.audit(by, "request.payload_deleted", request_id)
        return Response(status_code=204)

    # ------------------------------------------------------------ steps

    async def _row(self, statement: str, request: Request) -> Row:
        """The request that the path names, if the caller may see it. Raises NotFound."""
        wanted = {"id": request.path_params["id"], **visible(request)}
        row = await self._db.read(lambda tx: tx.fetch_one(statement, **wanted))
        if row is None:
            raise NotFound(f"Request {wanted['id'][:100]} not found")
        return row

    async def _again(self, row: Row) -> tuple[Any, Mapping[str, Attachment]]:
        """Its input, and the bytes that came with it as far as they are kept. Raises BadRequest."""
        if row["input"] is None:
            raise BadRequest("The input of this request is no longer kept")
        if row["endpoint"] not in endpoints.ENDPOINTS:
            raise BadRequest(f"There is no endpoint {row['endpoint']} any more")
        kept = {
            name: Attachment(**fields) for name, fields in json.loads(row["attachments"]).items()
        }
        named = {name: kept.get(name) for name in _PLACEHOLDER.findall(row["input"])}

        async def are_there(tx: Transaction) -> bool:
            return all(
                [
                    one is not None
                    and (
                        one.problem is not None
                        or await tx.fetch_one("object_known", key=one.object) is not None
                    )
                    for one in named.values()
                ]
            )

        if not await self._db.read(are_there):
            raise BadRequest(
                "The bytes that came inside this request are no longer kept. Send it again"
                " yourself, or upload the file and name its URL"
            )
        found = {name: replace(one, path=None) for name, one in named.items() if one is not None}
        return json.loads(row["input"]), found


_NO_FILTERS: Mapping[str, Any] = {
    "start": 0.0,
    "end": float(MOST),
    "key": "",
    **dict.fromkeys((f"state_{number}" for number in range(1, len(_STATES) + 1)), ""),
    "mode": "",
    "endpoint": "",
    "model": "",
    "search": "",
}


def _filters(asked: Asked) -> dict[str, Any]:
    start, end, search = asked.at("from"), asked.at("to"), asked.text("search")
    return {
        "start": 0.0 if start is None else start,
        "end": float(MOST) if end is None else end,
        "key": asked.text("key") or "",
        **_states(sorted(asked.choices("state", _STATES))),
        "mode": asked.choice("mode", _MODES),
        "endpoint": asked.text("endpoint") or "",
        "model": asked.text("model") or "",
        "search": "" if search is None else _pattern(search[:200]),
    }


def _states(names: list[str]) -> dict[str, str]:
    """One parameter for each, and the rest empty: the statement compares them for every row."""
    padded = names + [""] * (len(_STATES) - len(names))
    return {f"state_{number}": name for number, name in enumerate(padded, 1)}


def _pattern(words: str) -> str:
    """What LIKE takes for text that has `words` in it, letter for letter but for their case."""
    escaped = re.sub("([%_!])", r"!\1", words.strip().lower())
    return f"%{escaped}%"


def _shown(row: Row) -> dict[str, Any]:
    return shown({**row, "unknown_costs": int(row["unknown_costs"])}, without=("seq",))
