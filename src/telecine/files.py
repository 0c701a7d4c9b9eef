"""Uploaded files, and the bytes behind them.

    files          what a URL points at: a random id, a name, a type, an expiry
    upload_parts   pieces of a file that is still being uploaded
    pins           what unfinished requests need
        all three point at
    objects        bytes, once per content, under a key that is never used twice

Bytes are durable before a row points at them, and are deleted after the row is gone, so a crash
in between leaves bytes without a row, never a row without bytes. `sweep` finds the former.

A file is for whoever knows its URL, unless its ACL says otherwise (`acl.py`). Its owner, the key
that uploaded it, and keys with the scope ADMIN may always read it, and so may whoever has a signed
URL.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from weakref import WeakValueDictionary

from telecine import acl
from telecine.acl import Acl, Decision
from telecine.db.base import Database, Row, Transaction
from telecine.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    PayloadTooLarge,
    TooLarge,
)
from telecine.media.spool import Spool, SpoolFile
from telecine.models import Caller, Request
from telecine.storage.base import Storage

MAX_PARTS = 10_000

_UPLOAD_SECONDS = 24 * 3600.0  # how long an upload may take from its start
_YOUNG_SECONDS = 3600.0  # bytes younger than this may still be on their way into a row
_BATCH = 500

_KEY = re.compile(r"[0-9a-f]{32}([0-9a-f]{8})")
_PATH = re.compile(r"/files/(?:b/)?([0-9a-f]{32})(?:/|$)")


@dataclass(frozen=True, slots=True)
class Taken:
    """Bytes that are durable in storage, and nothing points at yet."""

    key: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file, or with `object` None the promise of one. `name` is safe in paths and headers."""

    id: str
    key_id: str
    name: str
    content_type: str
    object: str | None = None
    sha256: str = ""
    bytes: int = 0
    created_at: float
    expires_at: float | None
    acl: Acl | None = None

    @property
    def path(self) -> str:
        return f"/files/{self.id}/{self.name}"


@dataclass(frozen=True, slots=True)
class Initiated:
    """An upload to be done: who knows the secret may send the bytes."""

    file: File
    secret: str


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """What a key wants its uploads to be like. None: as the installation has it, and public."""

    expires_seconds: float | None = None
    acl: Acl | None = None


class Files:
    """Files and objects in `db`, their bytes in `storage`.

    `expires_seconds` is the life of a file whose owner asked for none; None: for ever.
    `max_key_bytes`: what one key's files may take together; 0: no limit. `secret` signs URLs;
    without one they are good for as long as this object lives.
    """

    def __init__(
        self,
        *,
        db: Database,
        storage: Storage,
        clock: Callable[[], float],
        expires_seconds: float | None = 7 * 24 * 3600.0,
        max_file_bytes: int = 10 * 1024**3,
        max_key_bytes: int = 0,
        secret: bytes | None = None,
    ) -> None:
        self.expires_seconds = expires_seconds
        self.max_file_bytes = max_file_bytes
        self._db = db
        self._storage = storage
        self._clock = clock
        self._max_key_bytes = max_key_bytes
        self._secret = hmac.digest(
            secret or secrets.token_bytes(32), b"telecine file URLs", "sha256"
        )
        self._completing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # ------------------------------------------------------------ bytes

    async def take(self, path: Path, *, sha256: str, bytes: int) -> Taken:
        """Move the file into storage. Then `adopt` it in a transaction, and `settle` after that."""
        key = f"{secrets.token_hex(16)}{int(self._clock()):08x}"
        await self._storage.put(key, path)
        return Taken(key, sha256, bytes)

    async def adopt(self, tx: Transaction, taken: Taken) -> str:
        """The object to point at in this transaction: `taken`, or the same bytes kept before."""
        row = await tx.fetch_one(
            "object_adopt",
            key=taken.key,
            sha256=taken.sha256,
            bytes=taken.bytes,
            now=self._clock(),
        )
        assert row is not None, "an upsert returns its row"
        return str(row["key"])

    async def settle(self, taken: Taken, object: str | None) -> None:
        """After the commit: throw the copy away if `object` is another.

        None: certainly nothing was committed.
        """
        if taken.key != object:
            await self._storage.delete(taken.key)

    # ------------------------------------------------------------ uploads

    async def initiate(
        self,
        key_id: str,
        name: str,
        content_type: str,
        expires_seconds: float | None,
        *,
        acl: Acl | None = None,
    ) -> Initiated:
        """Promise a file: its address is known from now on, and works once the bytes have come."""
        secret = secrets.token_urlsafe(24)
        file = self._new(key_id, name, content_type, expires_seconds, acl)
        await self._db.write(lambda tx: self._insert(tx, file, _hash(secret)))
        return Initiated(file, secret)

    async def upload(self, file_id: str, secret: str) -> File:
        """The upload that this secret is for. Raises NotFound, Forbidden."""
        row = await self._row(file_id)
        if row is None or row["upload_hash"] is None:
            raise NotFound("There is no such upload.")
        if not hmac.compare_digest(row["upload_hash"], _hash(secret)):
            raise Forbidden("The upload URL's signature is wrong.")
        if row["upload_until"] <= self._clock():
            raise Forbidden("The upload URL has expired. Initiate the upload again.")
        return _file(row)

    async def keep(
        self,
        key_id: str,
        name: str,
        content_type: str,
        expires_seconds: float | None,
        spooled: SpoolFile,
        *,
        acl: Acl | None = None,
    ) -> File:
        """A file at once, from bytes that are here. Raises Forbidden over the key's limit."""
        file = self._new(key_id, name, content_type, expires_seconds, acl)
        taken = await self._take(spooled)

        async def operation(tx: Transaction) -> tuple[str, Sequence[str]]:
            await self._insert(tx, file)
            return await self._finish(tx, file, taken)

        await self._commit(taken, operation)
        return file

    async def store(self, upload: File, spooled: SpoolFile) -> None:
        """The whole upload in one. Once is enough: again with the same bytes changes nothing,
        with others it raises BadRequest, so what an address shows never changes. Raises Forbidden
        over the key's limit."""
        taken = await self._take(spooled)
        await self._commit(taken, lambda tx: self._finish(tx, upload, taken))

    async def store_part(self, upload: File, number: int, spooled: SpoolFile) -> str:
        """Part `number` of the upload; returns its etag. Sending it again replaces it.

        Raises BadRequest when the upload is complete, PayloadTooLarge when it grows too large,
        Forbidden over the key's limit.
        """
        if not 1 <= number <= MAX_PARTS:
            raise BadRequest(f"Part numbers go from 1 to {MAX_PARTS}.")
        taken = await self._take(spooled)

        async def operation(tx: Transaction) -> tuple[str, Sequence[str]]:
            if (await _incomplete(tx, upload.id))["object"] is not None:
                raise BadRequest("This upload is complete; it takes no more parts.")
            others = await tx.fetch_one("part_bytes", file_id=upload.id, number=number)
            if others and others["bytes"] + taken.bytes > self.max_file_bytes:
                raise PayloadTooLarge(f"A file may have {self.max_file_bytes} bytes at most.")
            old = await tx.fetch_one("part_by_number", file_id=upload.id, number=number)
            if old and old["etag"] == taken.sha256:
                return str(old["object"]), ()
            await self._check_room(tx, upload.key_id, taken.bytes - (old["bytes"] if old else 0))
            key = await self.adopt(tx, taken)
            await tx.execute(
                "part_put",
                file_id=upload.id,
                number=number,
                object=key,
                etag=taken.sha256,
                bytes=taken.bytes,
            )
            return key, await _released(tx, [old["object"]] if old else [])

        await self._commit(taken, operation)
        return taken.sha256

    async def complete(self, upload: File, etags: Mapping[int, str], spool: Spool) -> None:
        """Make the file out of its parts, in the order of their numbers.

        `etags` names every part that was sent, and their numbers have no gap: a client that lost
        one must not get a file with a hole. Raises BadRequest. Completing again changes nothing.
        """
        lock = self._completing.setdefault(upload.id, asyncio.Lock())
        async with lock:
            row = await self._row(upload.id)
            if row is None:
                raise NotFound("There is no such upload.")
            if row["object"] is not None:
                return
            parts = await self._db.read(lambda tx: tx.fetch("parts_of", file_id=upload.id))
            _check_parts(parts, etags)
            async with spooled(spool, upload.key_id, self._concatenated(parts)) as file:
                await self.store(upload, file)

    async def check_room(self, key_id: str) -> None:
        """Raises Forbidden if the key's files take all that they may; before a body is read."""
        if self._max_key_bytes:
            await self._db.read(lambda tx: self._check_room(tx, key_id, 1))

    async def upload_settings(self, key_id: str) -> UploadSettings:
        row = await self._db.read(lambda tx: tx.fetch_one("storage_settings", key_id=key_id))
        if row is None:
            return UploadSettings()
        return UploadSettings(row["expires_seconds"], _acl(row["acl"]))

    async def save_upload_settings(self, key_id: str, settings: UploadSettings) -> None:
        values = {"expires_seconds": settings.expires_seconds, "acl": _stored(settings.acl)}
        await self._db.write(lambda tx: tx.execute("storage_settings_put", key_id=key_id, **values))

    # ------------------------------------------------------------ who may read

    def decide(self, file: File, caller: Caller | None, identity: str = "") -> Decision:
        """What to answer whoever asks for the file; None: nobody we know. `identity` is that of
        a signed URL."""
        if file.acl is None or (identity and self._is_signed(file.id, identity)):
            return "allow"
        if caller is None or caller.apps is not None:  # a page's token is not its owner
            return file.acl.decide(None)
        return "allow" if owns(caller, file) else file.acl.decide(caller.key_id)

    async def set_acl(self, file: File, acl: Acl | None) -> None:
        """From now on; None: public."""
        await self._db.write(lambda tx: tx.execute("file_set_acl", id=file.id, acl=_stored(acl)))

    async def delete(self, file: File) -> None:
        """Its address shows nothing from now on. Raises BadRequest while a request that has not
        ended needs it."""

        async def operation(tx: Transaction) -> Sequence[str]:
            if not await tx.execute("file_delete", id=file.id):
                raise BadRequest("A request that has not ended yet needs this file")
            return await _released(tx, [file.object] if file.object else [])

        await self._delete(await self._db.write(operation))

    def sign(self, file: File, seconds: int) -> str:
        """The identity that opens the file for so long, whatever its ACL says."""
        until = f"{int(self._clock()) + seconds:x}"
        return f"{until}.{self._signature(file.id, until)}"

    def _is_signed(self, file_id: str, identity: str) -> bool:
        until, _, signature = identity.partition(".")
        expected = self._signature(file_id, until)
        is_ours = hmac.compare_digest(signature.encode(), expected.encode())
        return is_ours and int(until, 16) > self._clock()

    def _signature(self, file_id: str, until: str) -> str:
        digest = hmac.digest(self._secret, f"{file_id} {until}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    # ------------------------------------------------------------ reading

    async def find(self, file_id: str) -> File | None:
        """The file served under this id: None before its bytes came, and after it expired."""
        row = await self._row(file_id)
        if row is None or row["object"] is None or self._is_expired(row):
            return None
        return _file(row)

    def read(self, file: File, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        assert file.object, "find() gives only files that have bytes"
        return self._storage.read(file.object, start, end)

    async def own(
        self, url: str, request: Request | None = None, *, is_new: bool = False
    ) -> tuple[str, str] | None:
        """Object and name, if `url` is the address of a file of ours, under whatever host, that
        `request` may use. An expired one is found while an unfinished request has its bytes pinned.

        What a queued request may use is decided when it comes in (`is_new`): later it may use what
        it pinned then, even if a signed URL has expired meanwhile. Raises Forbidden.
        """
        file_id = file_id_of(url)
        row = await self._row(file_id) if file_id else None
        if row is None or row["object"] is None:
            return None
        if self._is_expired(row) and not row["is_pinned"]:
            return None
        decision = await self._decide_for(request, _file(row), _identity(url), is_new=is_new)
        if decision == "forbid":
            raise Forbidden(f"The file {row['name']} is private: give a signed URL of it")
        return None if decision == "hide" else (str(row["object"]), str(row["name"]))

    async def _decide_for(
        self, request: Request | None, file: File, identity: str, *, is_new: bool
    ) -> Decision:
        if request is None or request.mode != "queue" or is_new:
            return self.decide(file, request.caller if request else None, identity)
        pin = {"request_id": request.id, "object": file.object}
        is_pinned = await self._db.read(lambda tx: tx.fetch("file_pinned_by", **pin))
        return "allow" if is_pinned else self.decide(file, None)

    # ------------------------------------------------------------ tidying

    async def collect(self, now: float) -> int:
        """Delete files past their time, uploads given up, and the bytes that nothing points at
        any more; returns how many objects went. The writer is never held for more than a batch."""
        while await self._expire(now) == _BATCH:
            pass
        gone, more = 0, True
        while more:
            rows = await self._db.read(lambda tx: tx.fetch("objects_unreferenced", most=_BATCH))
            gone += await self.release([row["key"] for row in rows])
            more = len(rows) == _BATCH
        return gone

    async def sweep(self) -> int:
        """Delete stored bytes that no row points at; returns how many. At the start, then hourly.

        Bytes younger than an hour stay: they may be on their way into a row, in any process.
        """
        gone, batch = 0, list[str]()
        async for key in self._storage.keys():
            born = _KEY.fullmatch(key)
            if born and int(born[1], 16) < self._clock() - _YOUNG_SECONDS:
                batch.append(key)
            if len(batch) == _BATCH:
                gone += await self._sweep(batch)
                batch = []
        return gone + await self._sweep(batch)

    async def _expire(self, now: float) -> int:
        rows = await self._db.read(lambda tx: tx.fetch("files_expired", now=now, most=_BATCH))

        async def operation(tx: Transaction) -> None:
            for row in rows:
                await tx.execute("file_delete_expired", id=row["id"], now=now)

        if rows:
            await self._db.write(operation)
        return len(rows)

    async def release(self, keys: Sequence[str]) -> int:
        """Delete those of these objects that nothing points at; returns how many went."""
        if not keys:
            return 0
        released = await self._db.write(lambda tx: _released(tx, keys))
        await self._delete(released)
        return len(released)

    async def _sweep(self, keys: Sequence[str]) -> int:
        async def operation(tx: Transaction) -> list[str]:
            return [key for key in keys if not await tx.fetch_one("object_known", key=key)]

        unknown = await self._db.read(operation)
        await self._delete(unknown)
        return len(unknown)

    # ------------------------------------------------------------ steps

    async def _check_room(self, tx: Transaction, key_id: str, more: int) -> None:
        if not self._max_key_bytes:
            return
        row = await tx.fetch_one("key_bytes", key_id=key_id)
        if row and row["bytes"] + more > self._max_key_bytes:
            raise Forbidden(
                f"This key's files take {row['bytes']} bytes, and {self._max_key_bytes} are allowed"
                " (TELECINE_STORAGE_BYTES_PER_KEY): wait until some have expired"
            )

    def _new(
        self,
        key_id: str,
        name: str,
        content_type: str,
        expires_seconds: float | None,
        acl: Acl | None,
    ) -> File:
        now = self._clock()
        return File(
            id=secrets.token_hex(16),
            key_id=key_id,
            name=safe_name(name),
            content_type=content_type,
            created_at=now,
            expires_at=None if expires_seconds is None else now + expires_seconds,
            acl=acl,
        )

    async def _insert(self, tx: Transaction, file: File, upload_hash: str | None = None) -> None:
        await tx.execute(
            "file_insert",
            id=file.id,
            key_id=file.key_id,
            object=None,
            name=file.name,
            content_type=file.content_type,
            bytes=0,
            upload_hash=upload_hash,
            upload_until=self._clock() + _UPLOAD_SECONDS,
            now=file.created_at,
            expires_at=file.expires_at,
            acl=_stored(file.acl),
        )

    async def _take(self, spooled: SpoolFile) -> Taken:
        return await self.take(spooled.path, sha256=spooled.sha256, bytes=spooled.bytes)

    async def _finish(
        self, tx: Transaction, upload: File, taken: Taken
    ) -> tuple[str, Sequence[str]]:
        """Give the file its bytes; returns its object, and the objects that nothing needs now."""
        row = await _incomplete(tx, upload.id)
        if row["object"] is not None:
            if row["sha256"] != taken.sha256:
                raise BadRequest("This upload is complete, with other content. Initiate a new one.")
            return str(row["object"]), ()
        parts = await tx.fetch("parts_of", file_id=upload.id)
        kept = sum(part["bytes"] for part in parts)
        await self._check_room(tx, upload.key_id, taken.bytes - kept)
        key = await self.adopt(tx, taken)
        await tx.execute(
            "file_complete", id=upload.id, object=key, bytes=taken.bytes, now=self._clock()
        )
        await tx.execute("parts_delete", file_id=upload.id)
        return key, await _released(tx, [part["object"] for part in parts])

    async def _commit(
        self, taken: Taken, operation: Callable[[Transaction], Awaitable[tuple[str, Sequence[str]]]]
    ) -> None:
        """Run what adopts `taken`; then delete the bytes that came to be unneeded.

        Only a refusal tells for certain that nothing was committed. After anything else the copy
        stays, and is swept out later if no row points at it.
        """
        try:
            key, released = await self._db.write(operation)
        except (BadRequest, Forbidden, NotFound, PayloadTooLarge):
            await self.settle(taken, None)
            raise
        await self.settle(taken, key)
        await self._delete(released)

    async def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            await self._storage.delete(key)

    async def _row(self, file_id: str) -> Row | None:
        return await self._db.read(lambda tx: tx.fetch_one("file_by_id", id=file_id))

    async def _concatenated(self, parts: Sequence[Row]) -> AsyncGenerator[bytes, None]:
        for part in parts:
            async with aclosing(self._storage.read(part["object"])) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    yield chunk

    def _is_expired(self, row: Row) -> bool:
        return row["expires_at"] is not None and row["expires_at"] <= self._clock()


@asynccontextmanager
async def spooled(
    spool: Spool, key_id: str, chunks: AsyncGenerator[bytes, None]
) -> AsyncIterator[SpoolFile]:
    """All the chunks as a closed file, which is discarded at the end if nobody took it.

    Raises PayloadTooLarge, LimitReached, and whatever the chunks raise.
    """
    file = spool.file(key_id)
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                file.write(chunk)
        file.close()
        yield file
    except TooLarge as error:
        raise PayloadTooLarge(error.message) from error
    finally:
        file.discard()


def safe_name(name: str) -> str:
    """A name that needs no quoting in paths and headers: 1 to 100 characters."""
    last = re.split(r"[/\\]", name)[-1]
    stem, dot, suffix = re.sub(r"[^A-Za-z0-9._-]+", "_", last).lstrip(".").rpartition(".")
    if not dot:
        return suffix[:100] or "file"
    return f"{stem[:80]}.{suffix[:19]}" if suffix else stem[:80]


def owns(caller: Caller, file: File) -> bool:
    """Whether the caller may do with the file as it likes."""
    return caller.key_id == file.key_id or "ADMIN" in caller.scopes


def file_id_of(url: str) -> str:
    """The id of the file of ours that the URL may be of; empty if it is of none."""
    try:
        match = _PATH.search(urlsplit(url).path)
    except ValueError:
        return ""
    return match[1] if match else ""


def _identity(url: str) -> str:
    return parse_qs(urlsplit(url).query).get("identity", [""])[0]


def _check_parts(parts: Sequence[Row], etags: Mapping[int, str]) -> None:
    stored = {part["number"]: part["etag"] for part in parts}
    if not etags:
        raise BadRequest("The list of parts is empty.")
    for number in sorted(etags):
        if number not in stored:
            raise BadRequest(f"Part {number} was not uploaded.")
        if not hmac.compare_digest(stored[number].encode(), etags[number].encode()):
            raise BadRequest(f"The etag of part {number} is not that of the part uploaded.")
    missing = sorted(set(range(1, max(stored) + 1)) - set(etags))
    if missing:
        raise BadRequest(f"Part {missing[0]} is missing from the list.")


async def _incomplete(tx: Transaction, file_id: str) -> Row:
    row = await tx.fetch_one("file_by_id", id=file_id)
    if row is None:
        raise NotFound("There is no such upload.")
    return row


async def _released(tx: Transaction, keys: Sequence[str]) -> Sequence[str]:
    """Those of the objects that nothing pointed at any more; their rows are gone."""
    return [key for key in dict.fromkeys(keys) if await tx.execute("object_release", key=key)]


def _file(row: Row) -> File:
    return File(
        id=row["id"],
        key_id=row["key_id"],
        name=row["name"],
        content_type=row["content_type"],
        object=row["object"],
        sha256=row["sha256"] or "",
        bytes=row["bytes"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        acl=_acl(row["acl"]),
    )


def _acl(text: str | None) -> Acl | None:
    return None if text is None else acl.restore(json.loads(text))


def _stored(rules: Acl | None) -> str | None:
    return None if rules is None else json.dumps(rules.stored())


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
