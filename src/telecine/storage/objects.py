"""Bytes in a bucket: S3 and what speaks like it, Google Cloud Storage, Azure. What nodes share.

    put     uploaded in parts, then the file goes; the store answers when it is durable
    local   a copy in a folder of this machine for as long as it is held

Where the store is and who may use it stands in the environment, as `obstore` reads it (for S3
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from telecine.errors import NotFound, TelecineError
from telecine.storage.base import StorageFailed

_KEY = re.compile(r"[0-9a-f]{8,64}(?:/[0-9a-f]{1,64}){0,3}")
_CHUNK = 1024 * 1024
_PART = 8 * 1024 * 1024
_PARTS_AT_ONCE = 4
_ABANDONED_SECONDS = 48 * 3600.0  # no request runs for so long
_CLIENT = {
    "connect_timeout": timedelta(seconds=10),
    "timeout": timedelta(hours=1),
    "allow_http": True,  # for an endpoint whose address begins so
}
_RETRY = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}


@dataclass(slots=True)
class _Copy:
    """A copy on this machine, and how many hold it."""

    path: Path
    holders: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_there: bool = False


class Bucket:
    """Storage at `url` (s3://bucket/prefix and the like). `copies`: a folder for copies in use."""

    def __init__(self, url: str, *, copies: Path) -> None:
        self._url = url
        self._folder = copies
        self._store: Any = None
        self._copies: dict[str, _Copy] = {}

    async def __aenter__(self) -> Self:
        store = _store(self._url)
        await asyncio.to_thread(self._sweep)
        try:
            with _translated(""):
                async for _ in store.list(chunk_size=1):
                    break
        except StorageFailed as error:
            raise TelecineError(
                f"The bucket {_shown(self._url)} can not be used: {error.message}. Is it there, and"
                " do the variables in the environment say who may use it?"
            ) from error
        self._store = store
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._store = None

    async def put(self, key: str, path: Path) -> None:
        store = self._opened(key)
        with contextlib.suppress(NotFound):
            await self.size(key)
            raise FileExistsError(f"storage key {key} was used before")
        with _translated(key), path.open("rb") as file:
            await store.put_async(key, file, chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE)
        path.unlink()

    async def size(self, key: str) -> int:
        with _translated(key):
            return int((await self._opened(key).head_async(key))["size"])

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        size = await self.size(key)
        last = size if end is None else min(end, size)
        if start >= last:
            return
        with _translated(key):
            found = await self._opened(key).get_async(key, options={"range": (start, last)})
            async for piece in found.stream(min_chunk_size=_CHUNK):
                chunk = memoryview(piece)
                for at in range(0, len(chunk), _CHUNK):
                    yield bytes(chunk[at : at + _CHUNK])

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        self._opened(key)
        copy = self._copies.get(key)
        if copy is None:
            copy = self._copies[key] = _Copy(self._folder / secrets.token_hex(16))
        copy.holders += 1
        try:
            async with copy.lock:
                if not copy.is_there:
                    await self._download(key, copy.path)
                    copy.is_there = True
            yield copy.path
        finally:
            copy.holders -= 1
            if not copy.holders:
                del self._copies[key]
                copy.path.unlink(missing_ok=True)

    async def delete(self, key: str) -> None:
        with contextlib.suppress(NotFound), _translated(key):
            await self._opened(key).delete_async(key)

    async def keys(self) -> AsyncIterator[str]:
        store = self._opened(None)
        with _translated(""):
            async for batch in store.list():
                for found in batch:
                    if _KEY.fullmatch(found["path"]):
                        yield found["path"]

    async def _download(self, key: str, path: Path) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            async for chunk in self.read(key):
                await asyncio.to_thread(file.write, chunk)

    def _sweep(self) -> None:
        """Copies that a process left behind when it died."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for copy in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if copy.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                    copy.unlink()

    def _opened(self, key: str | None) -> Any:
        if self._store is None:
            raise RuntimeError("open the storage first: async with Bucket(url)")
        if key is not None and not _KEY.fullmatch(key):
            raise ValueError(f"not a storage key: {key!r}")
        return self._store


def _store(url: str) -> Any:
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise TelecineError("A bucket needs the extra s3: pip install 'telecine[s3]'") from error
    try:
        return from_url(url, client_options=_CLIENT, retry_config=_RETRY)  # type: ignore[call-overload]
    except Exception as error:
        raise TelecineError(f"The bucket {_shown(url)} can not be used: {error}") from error


@contextlib.contextmanager
def _translated(key: str) -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"no bytes are stored under {key}") from error
    except (BaseError, TimeoutError) as error:
        text = str(error).partition("\n")[0][:300] or type(error).__name__
        raise StorageFailed(f"the store of files failed: {text}") from error


def _shown(url: str) -> str:
    """The URL without a login."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
