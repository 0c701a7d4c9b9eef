"""SQLite as the database: one writer thread that groups commits, and a few readers.

All that is particular to SQLite is in this file and in migrations/.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar, cast

from telecine.db.base import DatabaseFailed, Operation, Row, Transaction
from telecine.db.statements import read_statements
from telecine.errors import TelecineError

_log = logging.getLogger("telecine.db")

T = TypeVar("T")

READERS = 4
GROUP = 256  # the most operations that share a commit: bounds how long one waits for its neighbours
LINGER_SECONDS = 0.02  # how long writes that nobody waits for may wait for company
LOCK_SECONDS = 30.0  # how long another process may keep the write lock before writes fail
BUSY_MILLISECONDS = 5_000
AGAIN_SECONDS = 1.0  # after which a write is tried again that must not be lost
OLDEST = (3, 38, 0)  # STRICT tables, JSON


class SQLite:
    """A database in one file, private to the user. Other processes may use the file meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._statements = read_statements()
        self._writer: _Writer | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._idle: deque[sqlite3.Connection] = deque()

    async def __aenter__(self) -> Self:
        connection = await asyncio.to_thread(self._open)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="telecine-db-read")
        self._writer = _Writer(connection, self._statements, asyncio.get_running_loop())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        writer, self._writer = self._writer, None
        readers, self._readers = self._readers, None
        if readers is not None:
            await asyncio.to_thread(readers.shutdown)
        while self._idle:
            self._idle.pop().close()
        if writer is not None:
            await asyncio.to_thread(writer.close)

    async def write(self, operation: Operation[T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._open_writer().put(_Write(operation, future))
        return await future

    def write_later(self, operation: Operation[T], *, until_written: bool = False) -> None:
        self._open_writer().put(_Write(operation, None, until_written))

    async def read(self, operation: Operation[T]) -> T:
        if self._readers is None:
            raise RuntimeError("the database is not open")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, operation)

    async def scrub(self) -> None:
        self._open_writer()
        await asyncio.to_thread(_truncate_log, self._path)

    def _open_writer(self) -> _Writer:
        if self._writer is None:
            raise RuntimeError("the database is not open")
        return self._writer

    def _read(self, operation: Operation[T]) -> T:
        try:
            with self._reader() as connection:
                return _drive(operation, _Statements(connection, self._statements))
        except sqlite3.OperationalError as error:
            raise _failed(error) from error

    @contextlib.contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = _connect(self._path, reader=True)
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._idle.append(connection)

    def _open(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < OLDEST:
            raise TelecineError(
                f"Python's SQLite is {sqlite3.sqlite_version}; Telecine needs 3.38 or newer"
            )
        try:
            _make_private(self._path)
            connection = _connect(self._path)
            try:
                migrate(connection, self._path)
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise TelecineError(
                f"The database {self._path} cannot be opened: {error}. Is it Telecine's, and"
                " may this user read and write it and its folder?"
            ) from error
        return connection


# ---------------------------------------------------------------- writing


class _Write(NamedTuple):
    operation: Operation[Any]
    future: asyncio.Future[Any] | None  # None: nobody waits
    until_written: bool = False


class _Outcome(NamedTuple):
    value: Any = None
    error: BaseException | None = None


class _Aborted(Exception):
    """SQLite gave up the whole transaction in the middle of an operation."""


class _Writer:
    """The thread that owns the writing connection: takes all that waits, commits it as one."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        statements: Mapping[str, str],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._connection = connection
        self._transaction = _Statements(connection, statements)
        self._loop = loop
        self._inbox: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._is_closing = False
        # A daemon: a program that dies without closing must not hang on it. Commits are atomic.
        self._thread = threading.Thread(target=self._work, name="telecine-db-write", daemon=True)
        self._thread.start()

    def put(self, write: _Write) -> None:
        self._inbox.put(write)

    def close(self) -> None:
        """Finish what was put, then close the connection."""
        self._inbox.put(None)
        self._thread.join()
        self._connection.close()

    def _work(self) -> None:
        while not self._is_closing:
            group = self._gather()
            if group:
                self._resolve(group, self._commit(group))

    def _gather(self) -> list[_Write]:
        group: list[_Write] = []
        is_awaited, until = False, 0.0
        while len(group) < GROUP:
            try:
                if not group:
                    write = self._inbox.get()
                    until = time.monotonic() + LINGER_SECONDS
                elif is_awaited:
                    write = self._inbox.get_nowait()
                else:
                    write = self._inbox.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if write is None:
                self._is_closing = True
                break
            group.append(write)
            is_awaited = is_awaited or write.future is not None
        return group

    def _commit(self, group: Sequence[_Write]) -> list[_Outcome]:
        try:
            self._begin()
            outcomes = [self._perform(write.operation) for write in group]
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 -- whatever it is, those who wait must hear of it
            with contextlib.suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            cause = error.__cause__ if isinstance(error, _Aborted) else error
            _log.error("%d writes failed together: %s", len(group), cause)
            return [_Outcome(error=_failed(cause)) for _ in group]
        return outcomes

    def _begin(self) -> None:
        give_up_at = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > give_up_at:
                    raise
            else:
                return

    def _perform(self, operation: Operation[Any]) -> _Outcome:
        execute = self._connection.execute
        execute("SAVEPOINT operation")
        try:
            value = _drive(operation, self._transaction)
        except BaseException as error:
            if not self._connection.in_transaction:  # a full disk may undo more than the statement
                raise _Aborted from error
            execute("ROLLBACK TO operation")
            execute("RELEASE operation")
            return _Outcome(error=error)
        execute("RELEASE operation")
        return _Outcome(value)

    def _resolve(self, group: Sequence[_Write], outcomes: Sequence[_Outcome]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._tell, group, outcomes)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            _log.debug("%d writes ended after the event loop", len(group))

    def _tell(self, group: Sequence[_Write], outcomes: Sequence[_Outcome]) -> None:
        for write, outcome in zip(group, outcomes, strict=True):
            if write.future is None:
                if write.until_written and isinstance(outcome.error, DatabaseFailed):
                    self._loop.call_later(AGAIN_SECONDS, self.put, write)
                elif outcome.error is not None:
                    _log.error("a write that nobody waits for failed", exc_info=outcome.error)
            elif write.future.done():
                pass  # whoever waited was cancelled
            elif outcome.error is not None:
                write.future.set_exception(outcome.error)
            else:
                write.future.set_result(outcome.value)


def _failed(cause: BaseException | None) -> DatabaseFailed:
    error = DatabaseFailed(f"The database failed: {cause}")
    error.__cause__ = cause
    return error


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


# ---------------------------------------------------------------- statements


class _Statements:
    """The Transaction of one connection: it answers without ever suspending."""

    def __init__(self, connection: sqlite3.Connection, statements: Mapping[str, str]) -> None:
        self._connection = connection
        self._texts = statements

    async def fetch(self, statement: str, /, **values: Any) -> list[Row]:
        cursor = self._connection.execute(self._texts[statement], values)
        rows = cursor.fetchall()
        if not rows:
            return []
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in rows]

    async def fetch_one(self, statement: str, /, **values: Any) -> Row | None:
        rows = await self.fetch(statement, **values)
        return rows[0] if rows else None

    async def execute(self, statement: str, /, **values: Any) -> int:
        return self._connection.execute(self._texts[statement], values).rowcount


def _drive(operation: Operation[T], transaction: Transaction) -> T:
    """Run the operation to its end, here and now."""
    steps = operation(transaction).__await__()
    try:
        next(steps)
    except StopIteration as end:
        return cast(T, end.value)
    steps.close()
    raise TypeError("a database operation may await nothing but its transaction")


# ---------------------------------------------------------------- the file


def _make_private(path: Path) -> None:
    """0600 before SQLite opens it; its -wal and -shm files take the same mode."""
    if path.exists():
        path.chmod(0o600)
        return
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _connect(path: Path, *, reader: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.create_aggregate("decimal_sum", 1, _DecimalSum)
    execute = connection.execute
    execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    if reader:
        execute("PRAGMA query_only = ON")
        return connection
    execute("PRAGMA journal_mode = WAL")
    execute("PRAGMA synchronous = FULL")
    execute("PRAGMA foreign_keys = ON")
    execute("PRAGMA secure_delete = ON")
    execute("PRAGMA journal_size_limit = 67108864")
    return connection


class _DecimalSum:
    """Adds up decimals written as text, exactly; NULL: there were none."""

    def __init__(self) -> None:
        self._sum: Decimal | None = None

    def step(self, value: Any, /) -> None:
        if value is not None:
            self._sum = Decimal(value) + (self._sum or 0)

    def finalize(self) -> Any:
        return None if self._sum is None else f"{self._sum:f}"


def _truncate_log(path: Path) -> None:
    """Deleted rows are overwritten (secure_delete), but the write-ahead log has them until it is
    emptied. That waits for readers and writers of the moment."""
    give_up_at = time.monotonic() + LOCK_SECONDS
    with contextlib.closing(_connect(path)) as connection:
        while True:
            try:
                is_busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error as error:
                raise _failed(error) from error
            if not is_busy:
                return
            if time.monotonic() > give_up_at:
                raise DatabaseFailed("The database failed: its log is in use all the time")


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date, one transaction per migration; others may do so meanwhile."""
    steps = {int(name[:4]): text for name, text in _migrations()}
    newest = max(steps)
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > newest:
                raise TelecineError(
                    f"The database {path} has schema {version}, this Telecine knows only up to"
                    f" {newest}: upgrade Telecine, or restore a backup made before the upgrade"
                )
            if version == newest:
                connection.execute("ROLLBACK")
                return
            for statement in _split(steps[version + 1]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def pending(path: Path) -> int:
    """How many migrations are missing; changes nothing. Raises TelecineError."""
    newest = max(int(name[:4]) for name, _ in _migrations())
    if not path.exists():
        return newest
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise TelecineError(f"The database {path} cannot be opened: {error}") from error
    return max(0, newest - int(version))


def _migrations() -> list[tuple[str, str]]:
    folder = resources.files("telecine.db").joinpath("migrations")
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return [(file.name, file.read_text("utf-8")) for file in files]


def _split(script: str) -> list[str]:
    """The statements of a script. (executescript would commit the transaction around it.)"""
    statements: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
