"""API keys, the short-lived tokens made from them, and who a request comes from.

A key is "<id>:<secret>": a UUID and 128 random bits. Of the secret only the SHA-256 is stored;
against that much randomness a slow hash would protect nothing.

Tokens are JWTs signed with the installation's secret. `use` tells them apart: "app" calls the
endpoints it names, "cdn" uploads files, "session" stands for the key itself in a browser's cookie.
They die with the key they were made from.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from telecine.db.base import Database, Row, Transaction
from telecine.errors import AuthError, Forbidden, LimitReached, NotFound
from telecine.models import BudgetPer, Caller, KeyLimits

CDN_SECONDS = 24 * 3600
SESSION_SECONDS = 7 * CDN_SECONDS

# Known keys are read again after this long, so a key that another process revoked works for no
# longer; an unknown key may have them read again a little sooner, ten times a second at most.
_FRESH_SECONDS = 2.0
_UNKNOWN_SECONDS = 0.1
_LAST_USED_SECONDS = 60.0

_BOOTSTRAP = "TELECINE_BOOTSTRAP_KEY"
COMMAND_LINE = "telecine exec"
COMMAND = "command line"
UNLIMITED = KeyLimits()
_OPAQUE_ID = "bootstrap"  # the id of a bootstrap key that has none of its own
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)

_PICO = Decimal("1e-12")

_INVALID = "invalid key credentials"

_Use = Literal["app", "cdn", "session"]


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: the only time that its secret is known."""

    key_id: str
    key_secret: str

    @property
    def key(self) -> str:
        return f"{self.key_id}:{self.key_secret}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """A key as a list shows it."""

    key_id: str
    alias: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    limits: KeyLimits = UNLIMITED


@dataclass(frozen=True, slots=True)
class CdnToken:
    """A token for uploads; the times are in UTC and whole seconds."""

    token: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Known:
    secret_hash: str
    scopes: frozenset[str]
    expires_at: float | None
    limits: KeyLimits


@dataclass(slots=True)
class _Bucket:
    """Of calls: `left` may be made at once, and it fills up again over a minute."""

    size: int
    left: float
    at: float


class Keys:
    """Makes keys and tokens and checks them.

    `check` asks the database for all keys at once and remembers them for two seconds, so neither
    a busy caller nor somebody who guesses keys costs statements. `secret`: see `load_secret`.
    """

    def __init__(self, *, db: Database, clock: Callable[[], float], secret: bytes) -> None:
        self._db = db
        self._clock = clock
        self._secret = hmac.digest(secret, b"telecine tokens", "sha256")
        self._known: dict[str, _Known] = {}
        self._read_at = float("-inf")
        self._changes = 0
        self._reading = asyncio.Lock()
        self._last_used: dict[str, float] = {}
        self._rates: dict[str, _Bucket] = {}

    # ------------------------------------------------------------ keys

    async def create(
        self,
        alias: str = "",
        scopes: Iterable[str] = ("API",),
        *,
        expires_at: float | None = None,
        limits: KeyLimits = UNLIMITED,
        by: str = COMMAND,
    ) -> NewKey:
        """`by`: who makes it, for the audit log: a key's id."""
        key = NewKey(str(uuid.uuid4()), secrets.token_hex(16))
        words = " ".join(sorted(scopes))

        async def operation(tx: Transaction) -> None:
            await tx.execute(
                "key_insert",
                id=key.key_id,
                secret_hash=_hash(key.key_secret),
                alias=alias,
                scopes=words,
                now=self._clock(),
                expires_at=expires_at,
                **_columns(limits),
            )
            detail = {"alias": alias, "scopes": words, **_said(limits)}
            await self._note(tx, by, "key.created", key.key_id, detail)

        await self._db.write(operation)
        self._forget()
        return key

    async def limit(
        self,
        key_id: str,
        *,
        alias: str,
        expires_at: float | None,
        limits: KeyLimits,
        by: str = COMMAND,
    ) -> None:
        """Give a valid key another name, end or limits; servers notice within seconds.

        Raises NotFound.
        """

        async def operation(tx: Transaction) -> int:
            changed = await tx.execute(
                "key_limit", id=key_id, alias=alias, expires_at=expires_at, **_columns(limits)
            )
            if changed:
                detail = {"alias": alias, **_said(limits)}
                await self._note(tx, by, "key.changed", key_id, detail)
            return changed

        if not await self._db.write(operation):
            raise NotFound(f"there is no key {key_id}")
        self._forget()

    async def ensure(self, key: str) -> None:
        """Make the operator's own key valid, and an earlier one that came this way invalid.

        Takes "id:secret" or any other text without spaces. ValueError says what is wrong with it.
        """
        key_id, secret = _split(key)
        if not key_id or not secret or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError('a key is "id:secret", or other printable ASCII without spaces')

        async def operation(tx: Transaction) -> None:
            await tx.execute("keys_supersede", alias=_BOOTSTRAP, id=key_id, now=self._clock())
            await self._ensure(tx, key_id, secret, _BOOTSTRAP, "ADMIN API")

        await self._db.write(operation)
        self._forget()

    async def command_line(self) -> str:
        """The key that commands on this machine call with: valid from now on.

        It is made from the installation's secret: the same every time, and kept nowhere.
        """
        derived = hmac.digest(self._secret, b"the command line's key", "sha256")
        key = NewKey(str(uuid.UUID(bytes=derived[:16])), derived[16:].hex())
        await self._db.write(
            lambda tx: self._ensure(tx, key.key_id, key.key_secret, COMMAND_LINE, "API")
        )
        self._forget()
        return key.key

    async def _ensure(
        self, tx: Transaction, key_id: str, secret: str, alias: str, scopes: str
    ) -> None:
        await tx.execute(
            "key_ensure",
            id=key_id,
            secret_hash=_hash(secret),
            alias=alias,
            scopes=scopes,
            now=self._clock(),
        )

    async def list(self) -> Sequence[KeyInfo]:
        """Every key, revoked ones too, oldest first."""

        async def operation(tx: Transaction) -> list[Row]:
            return await tx.fetch("keys_all")

        return [_info(row) for row in await self._db.read(operation)]

    async def revoke(self, key_id: str, *, by: str = COMMAND) -> None:
        """From now on `key_id` and its tokens are refused. Raises NotFound."""

        async def operation(tx: Transaction) -> int:
            changed = await tx.execute("key_revoke", id=key_id, now=self._clock())
            if changed:
                await self._note(tx, by, "key.revoked", key_id)
            return changed

        if not await self._db.write(operation):
            raise NotFound(f"there is no key {key_id}")
        self._forget()

    # ------------------------------------------------------------ what it may still do

    async def admit(self, caller: Caller) -> None:
        """Count one more call. Raises LimitReached over the key's rate, which each server counts
        for itself, and Forbidden when its budget is spent."""
        limits = caller.limits
        if limits.per_minute is not None:
            self._count(caller.key_id, limits.per_minute)
        await self._afford(caller.key_id, limits)

    async def afford(self, key_id: str) -> None:
        """Raises Forbidden when the budget of a key is spent. A key that is not valid any more has
        none: what it was let in with is done."""
        await self._afford(key_id, await self.limits(key_id))

    async def _afford(self, key_id: str, limits: KeyLimits) -> None:
        if limits.budget is None:
            return
        spent = await self.spent(key_id, limits)
        if spent >= limits.budget:
            per = {"day": " a day", "month": " a month", "total": ""}[limits.budget_per]
            raise Forbidden(
                f"The budget of this key is spent: {_shown(spent)} of {_shown(limits.budget)}{per}."
                " Raise it with: telecine keys change",
                type="budget_spent",
            )

    def _count(self, key_id: str, per_minute: int) -> None:
        now, per_second = self._clock(), per_minute / 60
        bucket = self._rates.get(key_id)
        if bucket is None or bucket.size != per_minute or now < bucket.at:
            bucket = self._rates[key_id] = _Bucket(per_minute, per_minute, now)
        bucket.left = min(per_minute, bucket.left + (now - bucket.at) * per_second)
        bucket.at = now
        if bucket.left < 1:
            raise LimitReached(
                f"This key may make {per_minute} calls a minute",
                type="rate_limit",
                retry_after_seconds=(1 - bucket.left) / per_second,
                data={"limit": per_minute},
            )
        bucket.left -= 1

    async def spent(self, key_id: str, limits: KeyLimits) -> Decimal:
        """US dollars in the running day, month or ever, as its budget counts."""
        since = _since(limits.budget_per, self._clock())
        row = await self._db.read(lambda tx: tx.fetch_one("key_spent", key_id=key_id, since=since))
        return Decimal(row["pico"] if row else 0) * _PICO

    async def audit(self, by: str, action: str, subject: str = "", **detail: Any) -> None:
        """Note that somebody did something that matters; durable when this returns."""
        await self._db.write(lambda tx: self._note(tx, by, action, subject, detail))

    async def _note(
        self,
        tx: Transaction,
        by: str,
        action: str,
        subject: str,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        await tx.execute(
            "audit_insert",
            at=self._clock(),
            actor=by,
            action=action,
            subject=subject,
            detail=json.dumps(detail or {}, default=str),
        )

    # ------------------------------------------------------------ who asks

    async def check(
        self, authorization: str | None, *, query_token: str | None = None, app: str | None = None
    ) -> Caller:
        """Whose `Authorization` header this is, or, without one, whose `fal_jwt_token`.

        `app` ("owner/alias") is what is asked for: it goes into the message when there are no
        credentials, and a temporary token for other apps is refused. A caller whose `apps` is
        not None may only call those; nothing else that takes a key is for it. Raises AuthError.
        """
        if authorization is None and query_token is None:
            raise AuthError(_required(app))
        if authorization is None:
            caller = await self._app_token(query_token or "")
        else:
            credentials, use = _credentials(authorization)
            caller = await self._whose(credentials, use)
        if app is not None and not _allows(caller, app):
            raise Forbidden(f'This token is not valid for application "{app}".')
        self._was_used(caller.key_id)
        return caller

    async def check_cdn(self, authorization: str | None) -> Caller:
        """As `check`, for uploads: a key or a CDN token. Raises AuthError, and Forbidden for a key
        that has not the scope FILES."""
        if authorization is None:
            raise AuthError("Authentication is required to upload files.")
        credentials, use = _credentials(authorization)
        caller = await self._whose(credentials, "cdn" if use == "app" else use)
        if not may(caller, "FILES"):
            raise Forbidden("This key handles no files: it has not the scope FILES")
        self._was_used(caller.key_id)
        return caller

    async def _whose(self, credentials: str, use: _Use | None) -> Caller:
        if use is None:
            return await self._key(credentials)
        if use == "app":
            return await self._app_token(credentials)
        caller, _ = await self._token(credentials, use)
        return caller

    # ------------------------------------------------------------ tokens

    def token(self, caller: Caller, apps: Iterable[str], seconds: int) -> str:
        """A temporary token of `caller`'s for endpoints whose alias (no owner) is in `apps`."""
        now = int(self._clock())
        return self._sign(
            {"sub": caller.key_id, "apps": sorted(apps), "iat": now, "exp": now + seconds}, "app"
        )

    def session(self, caller: Caller) -> str:
        """A token that stands for the caller's key for SESSION_SECONDS."""
        now = int(self._clock())
        claims = {"sub": caller.key_id, "iat": now, "exp": now + SESSION_SECONDS}
        return self._sign(claims, "session")

    def cdn_token(self, caller: Caller) -> CdnToken:
        created = datetime.fromtimestamp(int(self._clock()), UTC)
        expires = created + timedelta(seconds=CDN_SECONDS)
        claims = {"sub": caller.key_id, "iat": created, "exp": expires}
        return CdnToken(self._sign(claims, "cdn"), created, expires)

    def _sign(self, claims: dict[str, Any], use: _Use) -> str:
        import jwt  # with all of cryptography's X.509: the start of a server need not wait for it

        return jwt.encode({**claims, "use": use}, self._secret, algorithm="HS256")

    async def _app_token(self, token: str) -> Caller:
        caller, claims = await self._token(token, "app")
        return replace(caller, scopes=frozenset({"CALL"}), apps=frozenset(claims["apps"]))

    async def _token(self, token: str, use: _Use) -> tuple[Caller, dict[str, Any]]:
        import jwt

        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                options={
                    "require": ["exp", "sub", "use"],
                    "verify_exp": False,  # by our own clock, below
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError as error:
            raise AuthError("invalid token") from error
        if claims["use"] != use:
            raise AuthError("this token is for something else")
        if claims["exp"] <= self._clock():
            raise AuthError("token has expired")
        known = await self._find(claims["sub"])
        if known is None:
            raise AuthError("the key of this token is no longer valid")
        return Caller(claims["sub"], known.scopes, limits=known.limits), claims

    # ------------------------------------------------------------ what is known

    async def _key(self, credentials: str) -> Caller:
        key_id, secret = _split(credentials)
        known = await self._find(key_id)
        expected = known.secret_hash if known else _hash("")
        if not hmac.compare_digest(expected, _hash(secret)) or known is None:
            raise AuthError(_INVALID)
        return Caller(key_id, known.scopes, limits=known.limits)

    async def limits(self, key_id: str) -> KeyLimits:
        """Those of a key; none of a key that is not valid any more."""
        known = await self._find(key_id)
        return known.limits if known else UNLIMITED

    async def is_valid(self, key_id: str) -> bool:
        """Whether there is such a key, neither revoked nor expired."""
        return await self._find(key_id) is not None

    async def _find(self, key_id: str) -> _Known | None:
        if self._is_stale(key_id):
            async with self._reading:
                if self._is_stale(key_id):  # else somebody read them while this one waited
                    await self._read()
        known = self._known.get(key_id)
        if known and known.expires_at is not None and known.expires_at <= self._clock():
            return None
        return known

    def _is_stale(self, key_id: str) -> bool:
        age = self._clock() - self._read_at
        fresh_seconds = _FRESH_SECONDS if key_id in self._known else _UNKNOWN_SECONDS
        return not 0 <= age <= fresh_seconds  # below 0: the clock was set back

    async def _read(self) -> None:
        """Read every valid key. One that is revoked while this runs must not come back with it."""

        async def operation(tx: Transaction) -> list[Row]:
            return await tx.fetch("keys_valid")

        changes = None
        while changes != self._changes:
            changes, now = self._changes, self._clock()
            rows = await self._db.read(operation)
        self._known = {
            row["id"]: _Known(
                row["secret_hash"],
                frozenset(row["scopes"].split()),
                row["expires_at"],
                _limits(row),
            )
            for row in rows
        }
        self._read_at = now

    def _forget(self) -> None:
        self._changes += 1
        self._read_at = float("-inf")

    def _was_used(self, key_id: str) -> None:
        now = self._clock()
        if now - self._last_used.get(key_id, float("-inf")) < _LAST_USED_SECONDS:
            return
        self._last_used[key_id] = now

        async def operation(tx: Transaction) -> None:
            await tx.execute("key_used", id=key_id, now=now)

        self._db.write_later(operation)


def permits(limits: KeyLimits, model: str) -> bool:
    """Whether a key with these limits may ask `model`, by the name that the caller gives it."""
    return not limits.models or any(
        model.startswith(name[:-1]) if name.endswith("*") else model == name
        for name in limits.models
    )


def may(caller: Caller, scope: Literal["CALL", "FILES", "ADMIN"]) -> bool:
    has = caller.scopes
    return scope in has or "ADMIN" in has or (scope != "ADMIN" and "API" in has)


def load_secret(path: Path) -> bytes:
    """The installation's secret, kept at `path` for this user only; made when there is none.

    Durable when this returns, and the same for every process that asks, also at the same moment.
    """
    with contextlib.suppress(FileNotFoundError):
        return _read_secret(path)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_hex(32).encode())
        os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):  # somebody was faster: theirs counts
            os.link(draft, path)
    finally:
        os.close(descriptor)
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return _read_secret(path)


def _read_secret(path: Path) -> bytes:
    text = path.read_text().strip()
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError(
            f"{path} must hold 64 hexadecimal digits; delete it to have a new one made"
        )
    os.chmod(path, 0o600)
    return bytes.fromhex(text)


def _allows(caller: Caller, app: str) -> bool:
    """Whether a token may call `app`: tokens name aliases, without the owner, as fal's do."""
    return caller.apps is None or app.rpartition("/")[2] in caller.apps


def _required(app: str | None) -> str:
    if app is None:
        return "Authentication is required."
    return (
        f'Cannot access application "{app}". Authentication is required to access this application.'
    )


def _credentials(authorization: str) -> tuple[str, _Use | None]:
    """What follows the scheme, and which token it is; None: a key. OpenAI's clients send keys as
    Bearer; Session is what `api.sessions` makes of a cookie."""
    scheme, _, rest = authorization.strip().partition(" ")
    credentials, scheme = rest.strip(), scheme.lower()
    if scheme not in ("key", "bearer", "session"):
        raise AuthError(_INVALID)
    if scheme == "session":
        return credentials, "session"
    return credentials, "app" if scheme == "bearer" and _JWT.fullmatch(credentials) else None


def _split(credentials: str) -> tuple[str, str]:
    key_id, colon, secret = credentials.partition(":")
    return (key_id, secret) if colon else (_OPAQUE_ID, credentials)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _info(row: Row) -> KeyInfo:
    return KeyInfo(
        key_id=row["id"],
        alias=row["alias"],
        scopes=tuple(row["scopes"].split()),
        created_at=datetime.fromtimestamp(row["created_at"], UTC),
        expires_at=_time(row["expires_at"]),
        revoked_at=_time(row["revoked_at"]),
        last_used_at=_time(row["last_used_at"]),
        limits=_limits(row),
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _limits(row: Row) -> KeyLimits:
    return KeyLimits(
        models=tuple(json.loads(row["models"] or "[]")),
        per_minute=row["per_minute"],
        running=row["running"],
        budget=None if row["budget"] is None else Decimal(row["budget"]),
        budget_per=row["budget_per"],
    )


def _columns(limits: KeyLimits) -> dict[str, Any]:
    return {
        "models": json.dumps(limits.models) if limits.models else None,
        "per_minute": limits.per_minute,
        "running": limits.running,
        "budget": None if limits.budget is None else f"{limits.budget:f}",
        "budget_per": limits.budget_per,
    }


def _said(limits: KeyLimits) -> dict[str, Any]:
    """The limits that are set, for the audit log."""
    found = {name: value for name, value in _columns(limits).items() if value is not None}
    if limits.budget is None:
        del found["budget_per"]
    return found


def _since(per: BudgetPer, now: float) -> str:
    """The first day that counts."""
    today = datetime.fromtimestamp(now, UTC).date()
    match per:
        case "day":
            return today.isoformat()
        case "month":
            return today.replace(day=1).isoformat()
        case "total":
            return ""


def _shown(amount: Decimal) -> str:
    return f"${amount.normalize():f}"
