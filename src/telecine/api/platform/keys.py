"""Keys: listed, made and revoked with a key that has the scope ADMIN.

Those that have it themselves are left to the command line, so that nobody locks himself out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

from pydantic import BaseModel, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from telecine import wire
from telecine.api.answers import page, reply
from telecine.api.intake import read_object
from telecine.api.parts import Parts
from telecine.api.platform.asked import Asked, cursor_of
from telecine.api.platform.bodies import parsed
from telecine.errors import Forbidden, NotFound
from telecine.keys import KeyInfo


class NewKeyBody(BaseModel):
    alias: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]


class KeyCalls:
    def __init__(self, parts: Parts) -> None:
        self._keys = parts.keys
        self._clock = parts.clock

    async def list(self, request: Request) -> Response:
        """The valid ones, the newest first."""
        asked = Asked(request, self._clock())
        asked.choices("expand", ("creator_info",))  # there is one owner, and no name for him
        found = [key for key in await self._valid() if "ADMIN" not in key.scopes]
        found.reverse()
        (start,) = asked.cursor(int) or (0,)
        end = max(0, start) + asked.limit(default=50, most=1000)
        keys = [
            {
                "key_id": key.key_id,
                "alias": key.alias,
                "scope": "API",
                "created_at": wire.timestamp(key.created_at),
            }
            for key in found[max(0, start) : end]
        ]
        return reply({"keys": keys, **page(cursor_of(end) if end < len(found) else None)})

    async def create(self, request: Request) -> Response:
        """The only time that the secret is shown."""
        body = parsed(NewKeyBody, await read_object(request))
        key = await self._keys.create(body.alias)
        answer = {"key_id": key.key_id, "key_secret": key.key_secret, "key": key.key}
        return reply(answer, status=201)

    async def delete(self, request: Request) -> Response:
        """It is refused from now on. One that is gone already, or never was, is fine too."""
        key_id = request.path_params["key_id"]
        for key in await self._valid():
            if key.key_id == key_id and "ADMIN" in key.scopes:
                raise Forbidden("Keys with the scope ADMIN are revoked with: telecine keys revoke")
        with suppress(NotFound):
            await self._keys.revoke(key_id)
        return Response(status_code=204)

    async def _valid(self) -> Sequence[KeyInfo]:
        return [key for key in await self._keys.list() if key.revoked_at is None]
