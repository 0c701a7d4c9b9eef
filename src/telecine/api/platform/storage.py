"""Who may read a file, signed URLs, and what a key's next uploads are like (fal-protocol 9.8)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from telecine import acl
from telecine.acl import Acl
from telecine.api import auth, lifecycle
from telecine.api.addressing import address
from telecine.api.answers import reply
from telecine.api.intake import read_object
from telecine.api.parts import Parts
from telecine.api.platform.bodies import parsed
from telecine.errors import BadRequest, Forbidden, NotFound
from telecine.files import File, UploadSettings, file_id_of, owns

_MAX_SIGNED_SECONDS = 7 * 24 * 3600
_MAX_EXPIRES_SECONDS = 10**10


class SignBody(BaseModel):
    expiration_seconds: int = Field(strict=True, ge=1, le=_MAX_SIGNED_SECONDS)


class SettingsBody(BaseModel):
    expiration_duration_seconds: int | None = Field(
        None, strict=True, ge=1, le=_MAX_EXPIRES_SECONDS
    )
    initial_acl: dict[str, Any] | None = None


class StorageCalls:
    def __init__(self, parts: Parts) -> None:
        self._files = parts.files
        self._keys = parts.keys

    async def acl(self, request: Request) -> Response:
        file = await self._file(request)
        return reply((file.acl or Acl()).shown())

    async def set_acl(self, request: Request) -> Response:
        """Answers with what holds from now on: rules about unknown users are dropped."""
        file = await self._file(request)
        rules = await self._rules(await read_object(request))
        await self._files.set_acl(file, rules)
        return reply(rules.shown())

    async def sign(self, request: Request) -> Response:
        file = await self._file(request)
        body = parsed(SignBody, await read_object(request))
        identity = self._files.sign(file, body.expiration_seconds)
        url = f"{address(request.scope).files}/{file.id}/{file.name}?identity={identity}"
        return reply({"signed_url": url})

    async def settings(self, request: Request) -> Response:
        key_id = auth.caller(request.scope).key_id
        return reply(_shown(await self._files.upload_settings(key_id)))

    async def set_settings(self, request: Request) -> Response:
        body = parsed(SettingsBody, await read_object(request))
        rules = body.initial_acl
        settings = UploadSettings(
            body.expiration_duration_seconds,
            None if rules is None else await self._rules(rules),
        )
        await self._files.save_upload_settings(auth.caller(request.scope).key_id, settings)
        return reply(_shown(settings))

    async def _rules(self, document: dict[str, Any]) -> Acl:
        try:
            return await lifecycle.bound(acl.parse(document), self._keys)
        except ValueError as error:
            raise BadRequest(f"{error}") from None

    async def _file(self, request: Request) -> File:
        """The file that `url` names, if it is the caller's to do with as it likes."""
        url = request.query_params.get("url", "")
        file_id = file_id_of(url)
        if not file_id:
            raise BadRequest("url is the URL of a file that was uploaded here")
        if urlsplit(url).query:
            raise BadRequest("url must not have query parameters")
        file = await self._files.find(file_id)
        caller = auth.caller(request.scope)
        if file is None or self._files.decide(file, caller) == "hide":
            raise NotFound("There is no such file, or it has expired.")
        if not owns(caller, file):
            raise Forbidden("This file belongs to another key")
        return file


def _shown(settings: UploadSettings) -> dict[str, Any]:
    seconds = settings.expires_seconds
    return {
        "expiration_duration_seconds": None if seconds is None else int(seconds),
        "initial_acl": settings.acl and settings.acl.shown(),
    }
