"""What a store of bytes is. Keys are ours (hex and slashes); names and types live in rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from telecine.errors import TelecineError


class StorageFailed(TelecineError):
    """The store could not do its part; nothing of it is the caller's fault."""

    type = "storage_unavailable"
    status = 503
    retryable = True


class Storage(Protocol):
    """Bytes by key. Proven by tests/contract/storage.

    What it can not do it tells by StorageFailed or OSError.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    async def put(self, key: str, path: Path) -> None:
        """Keep the file's bytes under `key`; they are durable when this returns.

        Takes the file over: afterwards `path` no longer exists. A key is put once and never again.
        """
        ...

    async def size(self, key: str) -> int:
        """Bytes under `key`. Raises NotFound."""
        ...

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `end`, in chunks of at most 1 MiB.

        Raises NotFound.
        """
        ...

    def local(self, key: str) -> AbstractAsyncContextManager[Path]:
        """A file on this machine with these bytes, not to be changed, for as long as it is held.

        Raises NotFound.
        """
        ...

    async def delete(self, key: str) -> None:
        """Forget the bytes; no error if there are none."""
        ...

    def keys(self) -> AsyncIterator[str]:
        """Every key there is, in no order: for sweeping out bytes that no row points at."""
        ...
