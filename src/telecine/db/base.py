"""What a database is to the rest: named statements, run inside operations.

Every statement lives in `queries.sql` under a name, with named parameters (`:like_this`). An
*operation* is an async function of a `Transaction`. The same operations run on every database:
on SQLite the writer thread drives them to the end without ever suspending, on PostgreSQL they
really await. So an operation may await nothing but its transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, TypeVar

from telecine.errors import TelecineError

Row = Mapping[str, Any]
T = TypeVar("T")


class Transaction(Protocol):
    """Statements by name. Times are UTC epoch seconds, flags 0/1, JSON and decimals text."""

    async def fetch(self, statement: str, /, **values: Any) -> list[Row]: ...

    async def fetch_one(self, statement: str, /, **values: Any) -> Row | None: ...

    async def execute(self, statement: str, /, **values: Any) -> int:
        """Run it; returns how many rows it changed."""
        ...


class DatabaseFailed(TelecineError):
    """The database could not do its part: disk full, I/O error, locked for too long.

    Nothing of the operation was kept, unless it is InDoubt; it is not to blame, and may be tried
    again.
    """

    type = "storage_unavailable"
    status = 503
    retryable = True


class InDoubt(DatabaseFailed):
    """The connection broke during the commit: all of the operation was kept, or nothing.

    So what is tried again after a DatabaseFailed must come to the same when it is done twice: by
    ids that were made before, or by a condition that holds only once.
    """


Operation: TypeAlias = Callable[[Transaction], Awaitable[T]]


class Database(Protocol):
    """Proven by tests/contract/db."""

    async def __aenter__(self) -> Self:
        """Open, and bring the schema up to date."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish what was accepted, then close."""
        ...

    async def write(self, operation: Operation[T]) -> T:
        """Run in a transaction, all or nothing; durable when this returns.

        Operations that are waiting together may share one commit; each has a savepoint of its own,
        so one that raises undoes only itself. If the caller is cancelled the operation still runs.
        """
        ...

    def write_later(self, operation: Operation[T], *, until_written: bool = False) -> None:
        """As `write`, in order with the others, but nobody waits; a failure goes to the log.

        `until_written`: what failed with DatabaseFailed is tried again while the database is open.
        """
        ...

    async def scrub(self) -> None:
        """What was deleted or changed before is gone from the disk too, wherever it lay.

        Raises DatabaseFailed.
        """
        ...

    async def read(self, operation: Operation[T]) -> T:
        """Run against one consistent snapshot that contains every write that has returned.

        Raises DatabaseFailed.
        """
        ...
