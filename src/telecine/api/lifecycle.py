"""How long an upload lives and who may read it: what its headers say, else its key's settings."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request

from telecine import acl
from telecine.acl import Acl
from telecine.api.auth import KeyRing
from telecine.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """`expires_seconds` None: for ever. `acl` None: for whoever knows the URL."""

    expires_seconds: float | None
    acl: Acl | None = None


async def lifecycle(request: Request, key_id: str) -> Lifecycle:
    """What the upload in `request` asks for, field by field. Raises BadRequest."""
    parts = request.app.state.parts
    settings = await parts.files.upload_settings(key_id)
    default = settings.expires_seconds or parts.files.expires_seconds
    text = request.headers.get("x-fal-object-lifecycle") or request.headers.get(
        "x-fal-object-lifecycle-preference"
    )
    asked = parsed(text, default) if text else Lifecycle(default)
    if asked.acl is None:
        return replace(asked, acl=settings.acl)
    return replace(asked, acl=await bound(asked.acl, parts.keys))


def parsed(text: str, default: float | None) -> Lifecycle:
    """What this `X-Fal-Object-Lifecycle` says; null and 0 seconds are for ever.

    Raises BadRequest: a file that was meant to be private, or to go, must not end up otherwise
    because of a slip.
    """
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise BadRequest("X-Fal-Object-Lifecycle is not a JSON object.")
    seconds = _seconds(asked.get("expiration_duration_seconds", default))
    if (rules := asked.get("initial_acl")) is None:
        return Lifecycle(seconds)
    try:
        return Lifecycle(seconds, acl.parse(rules, default="allow"))
    except ValueError as error:
        raise BadRequest(f"X-Fal-Object-Lifecycle: initial_acl: {error}.") from None


async def bound(rules: Acl, keys: KeyRing) -> Acl:
    """The rules for the keys that they are about, each named by its id or alias."""
    if not rules.rules:
        return rules
    users: dict[str, set[str]] = {}
    for key in await keys.list():
        if key.revoked_at is None:
            for user in {key.key_id, key.alias} - {""}:
                users.setdefault(user, set()).add(key.key_id)
    return rules.of(users)


def _seconds(asked: Any) -> float | None:
    if asked is None or (asked == 0 and not isinstance(asked, bool)):
        return None
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not 0 < asked < 1e10:
        raise BadRequest(
            "X-Fal-Object-Lifecycle: expiration_duration_seconds must be a positive number."
        )
    return float(asked)
