"""The history of requests of any mode, and deleting what they said."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from telecine.api import auth
from telecine.api.answers import page, reply, time_of, visible
from telecine.api.parts import Parts
from telecine.api.platform.asked import DAY, MOST, Asked, Span, cursor_of, listed
from telecine.api.platform.reports import known_endpoints
from telecine.db.base import Database, Row, Transaction
from telecine.errors import BadRequest, NotFound
from telecine.files import Files

_CODES: Mapping[str, tuple[int, int]] = {
    "": (0, 999),
    "success": (0, 399),
    "user_error": (400, 499),
    "error": (500, 999),
}
_STATEMENTS = {"ended_at": "requests_by_end", "duration": "requests_by_duration"}

# A page with payloads ends early rather than being larger than this and one request.
_PAGE_BYTES = 8 * 1024 * 1024


class Requests:
    def __init__(self, parts: Parts) -> None:
        self._db = parts.db
        self._files = parts.files
        self._keys = parts.keys
        self._clock = parts.clock

    async def by_endpoint(self, request: Request) -> Response:
        """Those that ended in the span, the last or the longest first. One that is named is shown
        before its end, too."""
        asked = Asked(request, self._clock())
        endpoints = known_endpoints(asked, is_required=True)
        has_payloads = bool(asked.choices("expand", ("payloads",)))
        codes = _CODES[asked.choice("status", [name for name in _CODES if name])]
        limit = asked.limit(default=50, most=100)
        who = visible(request)
        request_id = asked.text("request_id")
        if request_id is not None:
            span = asked.span(90 * DAY)
            wanted = {"id": uuid_of(request_id), **who}
            rows = await self._db.read(lambda tx: tx.fetch("request_by_id", **wanted))
            rows = [row for row in rows if _is_meant(row, endpoints, codes, span)]
            cursor = None
        else:
            rows, cursor = await self._page(asked, endpoints, codes, limit, who)
        items = [_item(row) for row in rows]
        if has_payloads:
            items, cursor = await self._with_payloads(rows, items, cursor)
        return reply({"items": items, **page(cursor)})

    async def _page(
        self,
        asked: Asked,
        endpoints: Sequence[str],
        codes: tuple[int, int],
        limit: int,
        who: Mapping[str, Any],
    ) -> tuple[list[Row], str | None]:
        span = asked.span()
        statement = _STATEMENTS[asked.choice("sort_by", _STATEMENTS, "ended_at")]
        before, before_seq = asked.cursor(float, int) or (MOST, MOST)
        values = {
            "start": span.start,
            "end": span.end,
            "before": before,
            "before_seq": before_seq,
            "endpoints": listed(endpoints),
            "lowest_code": codes[0],
            "highest_code": codes[1],
            "limit": limit + 1,
            **who,
        }
        rows = await self._db.read(lambda tx: tx.fetch(statement, **values))
        has_more = len(rows) > limit
        rows = rows[:limit]
        return rows, cursor_of(rows[-1]["place"], rows[-1]["seq"]) if has_more else None

    async def _with_payloads(
        self, rows: Sequence[Row], items: list[dict[str, Any]], cursor: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        async def operation(tx: Transaction) -> tuple[list[dict[str, Any]], str | None]:
            shown: list[dict[str, Any]] = []
            room = _PAGE_BYTES
            for row, item in zip(rows, items, strict=True):
                weight = await tx.fetch_one("payload_bytes_of_request", seq=row["seq"])
                room -= weight["bytes"] if weight else 0
                if room < 0 and shown:
                    last = rows[len(shown) - 1]
                    return shown, cursor_of(last["place"], last["seq"])
                payloads = await tx.fetch_one("payloads_of_request", seq=row["seq"]) or {}
                shown.append(item | _payloads(payloads))
            return shown, cursor

        return await self._db.read(operation)

    async def delete_payloads(self, request: Request) -> Response:
        """What the request said and was answered is gone from the disk when this returns: input,
        result, receipt, log, and the bytes of data URIs that no other request has. Files that
        were uploaded stay, as fal's do: other requests may use them. Again is the same."""
        request_id = uuid_of(request.path_params["request_id"])
        await forget(self._db, self._files, request_id)
        by = auth.caller(request.scope).key_id
        await self._keys.audit(by, "request.payload_deleted", request_id)
        return reply({"cdn_delete_results": []})  # routers make no files


async def forget(db: Database, files: Files, request_id: str) -> None:
    """Delete the payloads of a request that has ended. Raises NotFound, BadRequest."""

    async def operation(tx: Transaction) -> list[str]:
        row = await tx.fetch_one("request_to_forget", id=request_id)
        if row is None:
            raise NotFound(f"Request {request_id} not found")
        if not await tx.execute("delete_payloads", id=request_id):
            raise BadRequest("The request has not ended yet: cancel it first")
        await tx.execute("delete_logs", request_id=request_id)
        await tx.execute("delete_attempt_details", request_id=request_id)
        await tx.execute("delete_delivery_details", request_id=request_id)
        await tx.execute("delete_saved_results", request_id=request_id)
        attachments = json.loads(row["attachments"]).values()
        return [one["object"] for one in attachments if one.get("object")]

    await files.release(await db.write(operation))
    await db.scrub()


def uuid_of(text: str) -> str:
    """The id as it is stored. Raises BadRequest."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise BadRequest("request_id is a UUID") from None


def _is_meant(row: Row, endpoints: Sequence[str], codes: tuple[int, int], span: Span) -> bool:
    lowest, highest = codes
    code = row["status_code"]
    at = row["created_at"] if row["finished_at"] is None else row["finished_at"]
    has_code = lowest <= code <= highest if code is not None else (lowest, highest) == _CODES[""]
    return row["endpoint"] in endpoints and has_code and span.start <= at < span.end


def _item(row: Row) -> dict[str, Any]:
    """One that never started began and ended at once."""
    sent, ended = row["created_at"], row["finished_at"]
    started = row["started_at"] or ended or sent
    return {
        "request_id": row["id"],
        "endpoint_id": row["endpoint"],
        "started_at": time_of(started),
        "sent_at": time_of(sent),
        "ended_at": None if ended is None else time_of(ended),
        "status_code": row["status_code"],
        "duration": None if ended is None else round(max(0.0, ended - sent), 6),
    }


def _payloads(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of them."""
    names = {"json_input": row.get("input"), "json_output": row.get("result_body")}
    return {name: json.loads(text) for name, text in names.items() if text is not None}
