"""Bytes in a folder of this machine, two levels deep, private to the user.

    put     fsync the file, rename it into place, fsync its folder, and the parents of new folders
    local   hands out the file itself; a delete meanwhile waits until nobody holds it

Nothing else may write below the folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from telecine.errors import NotFound

_KEY = re.compile(r"[0-9a-f]{8,64}(?:/[0-9a-f]{1,64}){0,3}")
_CHUNK = 256 * 1024
_ABANDONED_SECONDS = 3600.0  # nobody takes so long for one copy


class LocalStorage:
    """Storage in `folder`, which is made when it is opened."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._is_open = False
        self._known: set[Path] = set()  # folders whose own entry is known to be on the disk
        self._lock = threading.Lock()  # guards the next two, and unlinking
        self._held: dict[str, int] = {}
        self._doomed: set[str] = set()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._open)
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False

    async def put(self, key: str, path: Path) -> None:
        await asyncio.to_thread(self._put, self._path(key), path)

    async def size(self, key: str) -> int:
        with _translated(key):
            return (await asyncio.to_thread(os.stat, self._existing(key))).st_size

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        with _translated(key):
            file = await asyncio.to_thread(open, self._existing(key), "rb", buffering=0)
        try:
            await asyncio.to_thread(file.seek, start)
            left = None if end is None else end - start
            while left is None or left > 0:
                size = _CHUNK if left is None else min(_CHUNK, left)
                chunk = await asyncio.to_thread(file.read, size)
                if not chunk:
                    return
                left = None if left is None else left - len(chunk)
                yield chunk
        finally:
            file.close()

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        target = self._path(key)
        with _translated(key):
            # Not in a thread: a caller who is cancelled meanwhile would hold it for ever.
            self._hold(key)
        try:
            yield target
        finally:
            if self._release(key):
                await asyncio.to_thread(self._unlink, key, target)

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._delete, key, self._path(key))

    async def keys(self) -> AsyncIterator[str]:
        self._check_open()
        for top in await asyncio.to_thread(_hex_names, self._folder):
            for folder in await asyncio.to_thread(_hex_names, self._folder / top):
                for name in await asyncio.to_thread(os.listdir, self._folder / top / folder):
                    key = name.replace("-", "/")
                    if _KEY.fullmatch(key) and key not in self._doomed:
                        yield key

    # ------------------------------------------------------------ in threads

    def _open(self) -> None:
        _make_folder(self._folder)
        os.chmod(self._folder, 0o700)
        self._incoming.mkdir(mode=0o700, exist_ok=True)
        for copy in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if copy.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                    copy.unlink()

    def _put(self, target: Path, path: Path) -> None:
        if target.exists():
            raise FileExistsError(f"storage key {target.name} was used before")
        path = self._on_this_disk(path)
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.fchmod(descriptor, 0o600)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._make(target.parent.parent)
        self._make(target.parent)
        os.rename(path, target)
        _sync_folder(target.parent)

    def _on_this_disk(self, path: Path) -> Path:
        """A rename works within one file system only; from another one the bytes are copied."""
        if os.stat(path).st_dev == os.stat(self._folder).st_dev:
            return path
        copy = self._incoming / secrets.token_hex(16)
        try:
            shutil.copyfile(path, copy)
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        path.unlink()
        return copy

    def _make(self, folder: Path) -> None:
        """The folder, durably: also when another thread, or a run that was killed, made it."""
        if folder not in self._known:
            folder.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(folder.parent)
            self._known.add(folder)

    def _hold(self, key: str) -> None:
        with self._lock:
            os.stat(self._existing(key))
            self._held[key] = self._held.get(key, 0) + 1

    def _release(self, key: str) -> bool:
        """Whether it was the last one, and the bytes are to go."""
        with self._lock:
            self._held[key] -= 1
            if self._held[key]:
                return False
            del self._held[key]
            return key in self._doomed

    def _delete(self, key: str, target: Path) -> None:
        with self._lock:
            self._doomed.add(key)  # from now on nobody begins to hold it
            if key in self._held:
                return
        self._unlink(key, target)

    def _unlink(self, key: str, target: Path) -> None:
        target.unlink(missing_ok=True)
        self._doomed.discard(key)

    def _existing(self, key: str) -> Path:
        target = self._path(key)
        if key in self._doomed:
            raise FileNotFoundError(target)
        return target

    def _check_open(self) -> None:
        if not self._is_open:
            raise RuntimeError("open the storage first: async with LocalStorage(folder)")

    def _path(self, key: str) -> Path:
        self._check_open()
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a storage key: {key!r}")
        return place(self._folder, key)


def place(folder: Path, key: str) -> Path:
    """Where a storage in `folder` has the bytes of `key`."""
    return folder / key[:2] / key[2:4] / key.replace("/", "-")


@contextlib.contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"no bytes are stored under {key}") from error


def _make_folder(folder: Path) -> None:
    """The folder with its parents, all private, each entry on the disk before the next.

    An existing folder's entry is written too: a run killed right after making it may not have.
    """
    if not folder.parent.is_dir():
        _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(PermissionError):  # a parent that is not ours to read
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hex_names(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if re.fullmatch("[0-9a-f]{2}", name)]
