"""Files of the data folder that all nodes have alike, as those of a single installation do.

The database keeps the copy that counts when a node starts; what a node changes later becomes
everybody's. Of two that change it at once, the first one counts.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from telecine.db.base import Database, Row, Transaction


class SharedFile:
    """One of them, by its name. Raises DatabaseFailed, and OSError."""

    def __init__(self, db: Database, path: Path) -> None:
        self._db = db
        self._path = path
        self._known: Row | None = None

    async def join(self, make: Callable[[], object]) -> None:
        """Have what the others have; `make` makes the file if this is the first node."""
        row = await self._db.read(self._row)
        if row is None:
            await asyncio.to_thread(make)
            values = {"name": self._path.name, "value": self._path.read_text("utf-8")}
            await self._db.write(lambda tx: tx.execute("secret_insert", **values))
            row = await self._db.read(self._row)
        assert row is not None, "nobody deletes it"
        await self._take(row)

    async def sync(self) -> None:
        """Tell the others what changed here, and take what changed there."""
        assert self._known is not None, "it was joined"
        value, known = self._path.read_text("utf-8"), self._known
        if value != known["value"]:
            change = {"name": self._path.name, "value": value, "version": known["version"]}
            await self._db.write(lambda tx: tx.execute("secret_replace", **change))
        row = await self._db.read(self._row)
        if row is not None and row["version"] != known["version"]:
            await self._take(row)

    async def _row(self, tx: Transaction) -> Row | None:
        return await tx.fetch_one("secret", name=self._path.name)

    async def _take(self, row: Row) -> None:
        self._known = row
        await asyncio.to_thread(_write, self._path, row["value"])


def _write(path: Path, text: str) -> None:
    """All or nothing, for this user only; not at all if it is so already."""
    if path.exists() and path.read_text("utf-8") == text:
        return
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    os.rename(draft, path)
