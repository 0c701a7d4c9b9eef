"""Temporary files of requests under way: private, counted per key, gone after a crash.

Each running process has a folder of its own inside the spool folder and holds a lock on it, so that
a server, a worker and a command may share one data folder: whoever opens the spool next sweeps out
the folders whose process is gone, and no other.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from telecine.errors import LimitReached, TooLarge


class SpoolFile:
    """One temporary file. Written once, front to back; `sha256` and `bytes` are true at any time.

    `discard` removes it and gives its bytes back to the key's quota, also when somebody else has
    moved the file away by then; it may be called twice, and must be called once.
    """

    def __init__(self, spool: Spool, key_id: str, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self._spool = spool
        self._key_id = key_id
        self._hash = hashlib.sha256()
        self._is_discarded = False
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file: int | None = os.open(path, flags, 0o600)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Append. Raises TooLarge over the cap for one file, LimitReached over the key's quota or
        when the disk is full; after that the file is good for nothing but `discard`."""
        if self._file is None:
            raise ValueError("the spooled file is closed")
        self._spool.reserve(self._key_id, self.bytes, len(chunk))
        self.bytes += len(chunk)
        self._hash.update(chunk)
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise LimitReached(
                "The server's disk is full: no room for the request's media", type="disk_full"
            ) from error

    def close(self) -> None:
        """No more writing; the file stays. May be called twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def discard(self) -> None:
        self.close()
        if not self._is_discarded:
            self._is_discarded = True
            self.path.unlink(missing_ok=True)
            self._spool.release(self._key_id, self.bytes)


class Spool:
    """Where requests' bytes wait on disk. An async context manager.

    Entering removes what crashed processes left; leaving removes everything of this one.
    `max_file_bytes` caps one file, `max_bytes_per_key` all files that a key has at one time.
    """

    def __init__(self, folder: Path, *, max_bytes_per_key: int, max_file_bytes: int) -> None:
        self._folder = folder
        self._max_bytes_per_key = max_bytes_per_key
        self._max_file_bytes = max_file_bytes
        self._used: Counter[str] = Counter()
        self._own: Path | None = None
        self._lock: int | None = None

    async def __aenter__(self) -> Self:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        # Under the lock of the whole spool nobody sweeps out a folder before it is locked itself.
        whole = _open_folder(self._folder)
        try:
            fcntl.flock(whole, fcntl.LOCK_EX)
            _sweep(self._folder)
            self._own = self._folder / secrets.token_hex(8)
            self._own.mkdir(mode=0o700)
            self._lock = _open_folder(self._own)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        finally:
            os.close(whole)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        own, lock = self._own, self._lock
        self._own = self._lock = None
        if own is not None and lock is not None:
            shutil.rmtree(own, ignore_errors=True)
            os.close(lock)

    def file(self, key_id: str) -> SpoolFile:
        """A new, empty file that counts for `key_id`."""
        if self._own is None:
            raise RuntimeError("the spool is not open: use it in `async with`")
        return SpoolFile(self, key_id, self._own / secrets.token_hex(16))

    def check(self, key_id: str, wants: int) -> None:
        """Raises LimitReached if `wants` more bytes are too many for `key_id` just now."""
        if self._used[key_id] + wants > self._max_bytes_per_key:
            raise LimitReached(
                f"This key's unfinished requests hold {self._max_bytes_per_key} bytes of media, "
                "the most that is allowed (TELECINE_MEDIA_SPOOL_BYTES_PER_KEY). "
                "Try again when some have finished",
                type="spool_quota",
            )

    def used(self, key_id: str) -> int:
        """Bytes that `key_id` has in the spool now."""
        return self._used[key_id]

    def reserve(self, key_id: str, has: int, wants: int) -> None:
        """Count `wants` more bytes for a file that has `has`. Raises TooLarge, LimitReached."""
        if has + wants > self._max_file_bytes:
            raise TooLarge(
                f"A file is larger than {self._max_file_bytes} bytes (TELECINE_MEDIA_MAX_BYTES)",
                ctx={"max_size": self._max_file_bytes},
            )
        self.check(key_id, wants)
        self._used[key_id] += wants

    def release(self, key_id: str, had: int) -> None:
        """A file of `had` bytes is gone."""
        self._used[key_id] -= had
        if self._used[key_id] <= 0:
            del self._used[key_id]


def _sweep(folder: Path) -> None:
    """Remove everything in `folder` but what belongs to a living process."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            if not _is_locked(entry):
                shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _is_locked(folder: Path) -> bool:
    lock = _open_folder(folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def _open_folder(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
