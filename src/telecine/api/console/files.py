"""The files that keys have uploaded: a list, and deleting one."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from telecine.api import auth
from telecine.api.addressing import Address, address
from telecine.api.answers import page, reply, time_of, visible
from telecine.api.parts import Parts
from telecine.api.platform.asked import MOST, Asked, cursor_of
from telecine.db.base import Row, Transaction
from telecine.errors import Forbidden, NotFound
from telecine.files import owns
from telecine.keys import may


class FileCalls:
    def __init__(self, parts: Parts) -> None:
        self._db = parts.db
        self._files = parts.files
        self._keys = parts.keys
        self._clock = parts.clock

    async def page(self, request: Request) -> Response:
        """The newest first, those that are served."""
        _check(request)
        asked = Asked(request, self._clock())
        limit = asked.limit(default=50, most=200)
        before_at, before_id = asked.cursor(float, str) or (float(MOST), "")
        values = {"before_at": float(before_at), "before_id": before_id, "limit": limit + 1}

        async def operation(tx: Transaction) -> list[Row]:
            return await tx.fetch("listed_files", now=self._clock(), **values, **visible(request))

        rows = await self._db.read(operation)
        has_more = len(rows) > limit
        rows = rows[:limit]
        cursor = cursor_of(rows[-1]["created_at"], rows[-1]["id"]) if has_more else None
        at = address(request.scope)
        return reply({"files": [_shown(row, at) for row in rows], **page(cursor)})

    async def delete(self, request: Request) -> Response:
        """Its address shows nothing from now on. Raises BadRequest while a request needs it."""
        _check(request)
        caller, file_id = auth.caller(request.scope), request.path_params["id"]
        file = await self._files.find(file_id)
        if file is None or not owns(caller, file):
            raise NotFound(f"There is no file {file_id[:100]}, or it has expired.")
        await self._files.delete(file)
        await self._keys.audit(caller.key_id, "file.deleted", file.id, name=file.name)
        return Response(status_code=204)


def _check(request: Request) -> None:
    if not may(auth.caller(request.scope), "FILES"):
        raise Forbidden("This key handles no files: it has not the scope FILES")


def _shown(row: Row, at: Address) -> dict[str, Any]:
    expires_at = row["expires_at"]
    return {
        "file_id": row["id"],
        "key_id": row["key_id"],
        "name": row["name"],
        "content_type": row["content_type"],
        "bytes": row["bytes"],
        "created_at": time_of(row["created_at"]),
        "expires_at": None if expires_at is None else time_of(expires_at),
        "is_private": bool(row["is_private"]),
        "url": f"{at.files}/{row['id']}/{row['name']}",
    }
