"""PostgreSQL as the database: what several machines share.

The statements and the schema are SQLite's, translated; what PostgreSQL says in its own way is in
`queries_postgres.sql` and `migrations/postgres/`. Everything lives in the schema `telecine` of the
database that the URL names.

Operations run at READ COMMITTED, each in a transaction of its own. What they read and then rely on
is guarded by their statements, by locks (`lock_gate`, `lock_request`) and by unique and foreign
keys; one that loses such a race is run again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from decimal import Decimal
from importlib import resources
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, cast
from urllib.parse import urlsplit

from telecine.db.base import DatabaseFailed, InDoubt, Operation, Row
from telecine.db.statements import read_statements
from telecine.errors import TelecineError

if TYPE_CHECKING:
    import asyncpg

_log = logging.getLogger("telecine.db")

T = TypeVar("T")

SCHEMA = "telecine"
CONNECTIONS = 10
GROUP = 256  # the most operations that nobody waits for in one commit
LINGER_SECONDS = 0.02  # how long they may wait for company
AGAIN_SECONDS = 1.0  # after which a write is tried again that must not be lost
GONE_SECONDS = 5.0  # how long a database that is gone is waited for before an operation fails
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 30  # the longest that one statement may run
LOCK_SECONDS = 10  # ... or wait for a lock
# A node that vanished in the middle of a transaction holds its locks no longer than that.
IDLE_SECONDS = 15
TRIES = 10  # of an operation that others got in the way of

# Any number that no other program takes as the key of an advisory lock in this database.
_MIGRATING = 8_433_105_719_210_001

_SESSION = f"""
SET search_path = {SCHEMA};
SET statement_timeout = '{STATEMENT_SECONDS}s';
SET lock_timeout = '{LOCK_SECONDS}s';
SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s';
SET tcp_keepalives_idle = 15;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
SET client_min_messages = warning;
SET random_page_cost = 1.1;
SET jit = off
"""  # our statements are short: they are found by index, and not worth compiling


class Postgres:
    """The database at `url`. Other nodes may use it meanwhile. `connections`: at once, at most."""

    def __init__(self, url: str, *, connections: int = CONNECTIONS) -> None:
        self._url = url
        self._connections = connections
        self._texts = {
            name: _translated(text) for name, text in read_statements("postgres").items()
        }
        self._pool: asyncpg.Pool | None = None
        self._writing: set[asyncio.Task[Any]] = set()
        self._later: deque[_Write] = deque()
        self._last: asyncio.Future[None] | None = None  # of the writes that nobody waits for
        self._has_some = asyncio.Event()
        self._hurry = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._is_closing = False

    async def __aenter__(self) -> Self:
        self._is_closing = False
        await migrate(self._url)
        asyncpg = _asyncpg()
        with _opening(self._url):
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=self._connections,
                init=_prepare,
                reset=_leave_as_it_is,
                timeout=CONNECT_SECONDS,
                command_timeout=STATEMENT_SECONDS + 5,
                statement_cache_size=256,
            )
        self._writer = asyncio.create_task(self._write_rest(), name="telecine db later")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closing = True
        self._has_some.set()
        self._hurry.set()
        try:
            await self._rest_written()
        except asyncio.CancelledError:  # it is to be quick, but what was taken is to be written
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._rest_written()
            raise
        finally:
            pool, self._pool = self._pool, None
            if pool is not None:
                await _close(pool)

    async def _rest_written(self) -> None:
        if self._writer is not None:
            await asyncio.wait([self._writer])
        if self._writing:
            await asyncio.wait(self._writing)

    async def write(self, operation: Operation[T]) -> T:
        self._check_writer()
        task = asyncio.create_task(self._write(operation, self._last))
        self._writing.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    def write_later(self, operation: Operation[T], *, until_written: bool = False) -> None:
        self._check_writer()
        write = _Write(operation, asyncio.get_running_loop().create_future(), until_written)
        self._later.append(write)
        self._last = write.done
        self._has_some.set()

    async def read(self, operation: Operation[T]) -> T:
        self._opened()

        async def once() -> T:
            async with self.connection() as connection:
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                try:
                    return await _drive(operation, connection, self._texts)
                except _asyncpg().ReadOnlySQLTransactionError as error:
                    raise RuntimeError("a read-only operation wrote") from error
                finally:
                    await _end(connection, "ROLLBACK")

        return await _persist(once)

    async def scrub(self) -> None:
        """Dead versions of rows are cleared away, so that nobody comes by them through SQL. Their
        bytes may lie in free space, in the write-ahead log and in backups until those are reused:
        that is for PostgreSQL's operator to arrange."""
        self._opened()

        async def once() -> None:
            async with self.connection() as connection:
                for table in ("requests", "logs", "attempts", "delivery_attempts"):
                    await connection.execute(f"VACUUM {SCHEMA}.{table}")

        await _persist(once)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """One of the pool's, for what is no named statement. Raises what asyncpg raises."""
        async with self._opened().acquire(timeout=CONNECT_SECONDS + LOCK_SECONDS) as connection:
            yield cast("asyncpg.Connection", connection)

    async def ask(self, sql: str, *values: Any) -> list[Row]:
        """A statement that has no name, in a transaction of its own. Raises DatabaseFailed."""

        async def once() -> list[Row]:
            async with self.connection() as connection:
                return [dict(row) for row in await connection.fetch(sql, *values)]

        return await _persist(once)

    async def connect(self) -> asyncpg.Connection:
        """A connection of its own, to listen on. Raises what asyncpg raises."""
        return await _connect(self._url)

    def _opened(self) -> asyncpg.Pool:
        if self._pool is None:
            raise RuntimeError("the database is not open")
        return self._pool

    def _check_writer(self) -> None:
        if self._writer is None or self._writer.done():
            raise RuntimeError("the database is not open")

    # ------------------------------------------------------------ writing

    async def _write(self, operation: Operation[T], before: asyncio.Future[None] | None) -> T:
        if before is not None and not before.done():
            self._hurry.set()
            await asyncio.wait([before])
        return await self._transact(operation)

    async def _transact(self, operation: Operation[T]) -> T:
        async def once() -> T:
            async with self.connection() as connection:
                await connection.execute("BEGIN")
                try:
                    value = await _drive(operation, connection, self._texts)
                except BaseException:
                    await _end(connection, "ROLLBACK")
                    raise
                await _commit(connection)
                return value

        return await _persist(once)

    def _written(self, task: asyncio.Task[Any]) -> None:
        self._writing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.debug("a write failed: %s", error)  # whoever waits for it is told

    async def _write_rest(self) -> None:
        """What nobody waits for, in order: all that has come goes into one commit."""
        while self._later or not self._is_closing:
            await self._has_some.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    await self._hurry.wait()
            self._hurry.clear()
            group = [self._later.popleft() for _ in range(min(GROUP, len(self._later)))]
            if not self._later and not self._is_closing:
                self._has_some.clear()
            await self._write_group(group)

    async def _write_group(self, group: Sequence[_Write]) -> None:
        outcomes: Sequence[BaseException | None]
        try:
            outcomes = await self._transact(_together(group))
        except Exception as failed:  # noqa: BLE001 -- whatever it is, the loop goes on
            outcomes = [failed] * len(group)
        for write, error in zip(group, outcomes, strict=True):
            write.done.set_result(None)
            if isinstance(error, DatabaseFailed) and write.until_written and not self._is_closing:
                asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._again, write.operation)
            elif error is not None:
                _log.error("a write that nobody waits for failed", exc_info=error)

    def _again(self, operation: Operation[Any]) -> None:
        try:
            self.write_later(operation, until_written=True)
        except RuntimeError:
            _log.error("a write that nobody waits for was not done before the database was closed")


class _Write(NamedTuple):
    """An operation that nobody waits for; `done` is for those that come after it."""

    operation: Operation[Any]
    done: asyncio.Future[None]
    until_written: bool


def _together(group: Sequence[_Write]) -> Operation[list[BaseException | None]]:
    """All of them; one that raises undoes only itself."""

    async def operation(tx: Any) -> list[BaseException | None]:
        outcomes: list[BaseException | None] = []
        for write in group:
            await tx.run("SAVEPOINT operation")
            try:
                await write.operation(tx)
            except Exception as error:
                if is_gone(error) or _is_conflict(error):
                    raise
                await tx.run("ROLLBACK TO operation")
                outcomes.append(error)
            else:
                outcomes.append(None)
            await tx.run("RELEASE operation")
        return outcomes

    return operation


async def _commit(connection: asyncpg.Connection) -> None:
    try:
        await connection.execute("COMMIT")
    except Exception as error:
        if is_gone(error):
            raise InDoubt(
                "The connection to the database broke during a commit; nobody knows whether it"
                " was kept"
            ) from error
        raise


async def _end(connection: asyncpg.Connection, statement: str) -> None:
    """Nothing to save if that fails: a broken connection ends its transaction, too."""
    with contextlib.suppress(Exception):
        await connection.execute(statement)


# ---------------------------------------------------------------- trouble


async def _persist(once: Callable[[], Awaitable[T]]) -> T:
    """Do it again when others got in the way, or when the database was gone for a moment."""
    loop = asyncio.get_running_loop()
    give_up_at, tries = loop.time() + GONE_SECONDS, 0
    while True:
        try:
            return await once()
        except Exception as error:
            tries += 1
            if _is_conflict(error):
                if tries == TRIES:
                    raise _failed(error) from error
                await asyncio.sleep(random.random() * 0.005 * tries)  # noqa: S311 -- to part rivals
            elif _is_violation(error):
                if tries == 3:  # it is no race, then
                    raise
            elif not is_gone(error):
                if _is_refused(error):
                    raise _failed(error) from error
                raise
            elif loop.time() > give_up_at:
                raise _failed(error) from error
            else:
                await asyncio.sleep(0.1 + 0.2 * random.random())  # noqa: S311


def _failed(error: BaseException) -> DatabaseFailed:
    says = str(error).partition("\n")[0] or type(error).__name__
    return DatabaseFailed(f"The database failed: {says}")


def _is_conflict(error: BaseException) -> bool:
    asyncpg = _asyncpg()
    return isinstance(
        error,
        asyncpg.SerializationError
        | asyncpg.DeadlockDetectedError
        # A newer version migrated under our feet: the next try prepares its statements anew.
        | asyncpg.InvalidCachedStatementError
        | asyncpg.OutdatedSchemaCacheError,
    )


def _is_violation(error: BaseException) -> bool:
    """Perhaps of a row that another transaction put in or took away in between."""
    asyncpg = _asyncpg()
    return isinstance(error, asyncpg.UniqueViolationError | asyncpg.ForeignKeyViolationError)


def is_gone(error: BaseException) -> bool:
    """Whether the database can not be reached just now."""
    asyncpg = _asyncpg()
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error)
    if isinstance(error, asyncpg.QueryCanceledError):
        return False  # a statement that took too long; its kind is that of a shutdown
    return isinstance(
        error,
        OSError
        | TimeoutError
        | asyncpg.PostgresConnectionError
        | asyncpg.OperatorInterventionError
        | asyncpg.InternalClientError
        | asyncpg.IdleInTransactionSessionTimeoutError
        | asyncpg.TooManyConnectionsError
        | asyncpg.ReadOnlySQLTransactionError,  # a standby now; the next connection may not be
    )


def _is_refused(error: BaseException) -> bool:
    """The database could not, whatever the statement was."""
    asyncpg = _asyncpg()
    return isinstance(
        error,
        asyncpg.InsufficientResourcesError
        | asyncpg.QueryCanceledError  # it took too long
        | asyncpg.LockNotAvailableError
        | asyncpg.PostgresSystemError
        | asyncpg.InsufficientPrivilegeError
        | asyncpg.InvalidAuthorizationSpecificationError
        | asyncpg.InvalidCatalogNameError,  # there is no such database any more
    )


# ---------------------------------------------------------------- statements


class _Text(NamedTuple):
    """A statement as PostgreSQL takes it, and which values go with it, in order."""

    sql: str
    names: tuple[str, ...]


_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")


def _translated(text: str) -> _Text:
    names: list[str] = []

    def numbered(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return _Text(_PARAMETER.sub(numbered, text), tuple(names))


class _Asked(NamedTuple):
    """What an operation wants done; `_drive` does it and sends the answer."""

    sql: str
    values: tuple[Any, ...] = ()
    has_rows: bool = False

    def __await__(self) -> Generator[_Asked, Any, Any]:
        return (yield self)


class Statements:
    """The Transaction of one connection. It only asks: whoever drives the operation answers."""

    def __init__(self, texts: Mapping[str, _Text]) -> None:
        self._texts = texts

    async def fetch(self, statement: str, /, **values: Any) -> list[Row]:
        sql, names = self._texts[statement]
        return cast("list[Row]", await _Asked(sql, _arranged(names, values), has_rows=True))

    async def fetch_one(self, statement: str, /, **values: Any) -> Row | None:
        rows = await self.fetch(statement, **values)
        return rows[0] if rows else None

    async def execute(self, statement: str, /, **values: Any) -> int:
        sql, names = self._texts[statement]
        status = await _Asked(sql, _arranged(names, values))
        last = str(status).rpartition(" ")[2]
        return int(last) if last.isdecimal() else 0

    async def run(self, sql: str, *values: Any) -> list[Row]:
        """A statement that has no name: another library's."""
        return cast("list[Row]", await _Asked(sql, values, has_rows=bool(values)))


def _arranged(names: Iterable[str], values: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(_storable(values[name]) for name in names)


def _storable(value: Any) -> Any:
    """No text in PostgreSQL has NUL or half a surrogate pair; what asks for one finds nothing."""
    if not isinstance(value, str) or (value.isascii() and "\0" not in value):
        return value
    clean = value.encode("utf-8", "replace").decode()
    return clean.replace("\0", "\N{REPLACEMENT CHARACTER}")


async def _drive(
    operation: Operation[T], connection: asyncpg.Connection, texts: Mapping[str, _Text]
) -> T:
    """Run the operation to its end; it may await nothing but its transaction."""
    steps = operation(Statements(texts)).__await__()
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            asked = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            return cast("T", end.value)
        if not isinstance(asked, _Asked):
            steps.close()
            raise TypeError("a database operation may await nothing but its transaction")
        answer, error = None, None
        try:
            answer = await _perform(asked, connection)
        except Exception as problem:  # noqa: BLE001 -- the operation hears of it where it asked
            error = problem


async def _perform(asked: _Asked, connection: asyncpg.Connection) -> Any:
    if asked.has_rows:
        return [dict(row) for row in await connection.fetch(asked.sql, *asked.values)]
    return await connection.execute(asked.sql, *asked.values)


# ---------------------------------------------------------------- connecting


def _asyncpg() -> Any:
    try:
        import asyncpg
    except ImportError as error:
        raise TelecineError(
            "PostgreSQL needs the extra postgres: pip install 'telecine[postgres]'"
        ) from error
    return asyncpg


async def _connect(url: str) -> asyncpg.Connection:
    connection = await _asyncpg().connect(
        url, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS + 5
    )
    try:
        await _prepare(connection)
    except BaseException:
        connection.terminate()
        raise
    return cast("asyncpg.Connection", connection)


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.execute(_SESSION)
    # What sums of whole numbers are to PostgreSQL.
    await connection.set_type_codec(
        "numeric", schema="pg_catalog", encoder=str, decoder=_number, format="text"
    )


def _number(text: str) -> int | Decimal:
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else number


async def _close(pool: asyncpg.Pool) -> None:
    """Whatever becomes of it, nothing stays open."""
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await pool.close()
    finally:
        pool.terminate()


async def _leave_as_it_is(_: asyncpg.Connection) -> None:
    """Nothing of ours outlives a transaction: asyncpg's own reset would cost a round trip."""


def shown_url(url: str) -> str:
    """The URL without who logs in and how."""
    parts = urlsplit(url)
    where = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    return f"postgresql://{where}{parts.path}"


@contextlib.contextmanager
def _opening(url: str) -> Iterator[None]:
    asyncpg = _asyncpg()
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        why = str(error) or "no answer"
        raise TelecineError(
            f"The database {shown_url(url)} cannot be opened: {why}. Does it run, and may this"
            " user connect, and create the schema telecine in it?"
        ) from error


# ---------------------------------------------------------------- the schema


async def migrate(url: str) -> None:
    """Bring the schema up to date, one transaction per migration. Nodes that start together
    take turns: the first one does it."""
    with _opening(url):
        connection = await _connect(url)
    try:
        if await _version(connection) == NEWEST:
            return
        await connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
        with _opening(url):
            await connection.execute(f"SELECT pg_advisory_lock({_MIGRATING})")
            await _create_schema(connection)
            for number in range(await _version(connection) + 1, NEWEST + 1):
                async with connection.transaction():
                    await connection.execute(_migrations()[number])
                    await connection.execute("UPDATE schema_version SET version = $1", number)
    finally:
        await connection.close()  # which lets go of the lock


async def pending(url: str) -> int:
    """How many migrations are missing."""
    with _opening(url):
        connection = await _connect(url)
    try:
        return NEWEST - await _version(connection)
    finally:
        await connection.close()


async def _version(connection: asyncpg.Connection) -> int:
    if await connection.fetchval("SELECT to_regclass('telecine.schema_version')") is None:
        return 0
    version = int(await connection.fetchval("SELECT version FROM telecine.schema_version"))
    if version > NEWEST:
        raise TelecineError(
            f"The database has schema {version}, this Telecine knows only up to {NEWEST}: upgrade"
            " Telecine, or restore a backup made before the upgrade"
        )
    return version


async def _create_schema(connection: asyncpg.Connection) -> None:
    if not await connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", SCHEMA):
        await connection.execute(f"CREATE SCHEMA {SCHEMA}")
    if await connection.fetchval("SELECT to_regclass('telecine.schema_version')") is None:
        await connection.execute(
            "CREATE TABLE schema_version (version INTEGER NOT NULL);"
            "INSERT INTO schema_version VALUES (0)"
        )


_IDENTITY = "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"
_TYPES = (
    (re.compile(r"\bINTEGER PRIMARY KEY AUTOINCREMENT\b"), _IDENTITY),
    (re.compile(r"\bINTEGER\b"), "BIGINT"),
    (re.compile(r"\bREAL\b"), "DOUBLE PRECISION"),
    (re.compile(r"\) STRICT(, WITHOUT ROWID)?;"), ");"),
)


def _migrations() -> dict[int, str]:
    """The scripts by number. PostgreSQL's own takes the place of the shared one."""
    folder = resources.files("telecine.db").joinpath("migrations")
    scripts: dict[int, str] = {}
    for file in folder.iterdir():
        if file.name.endswith(".sql"):
            scripts[int(file.name[:4])] = _postgres_types(file.read_text("utf-8"))
    for file in folder.joinpath("postgres").iterdir():
        if file.name.endswith(".sql"):
            scripts[int(file.name[:4])] = file.read_text("utf-8")
    return scripts


def _postgres_types(script: str) -> str:
    for pattern, replacement in _TYPES:
        script = pattern.sub(replacement, script)
    return script


NEWEST = max(_migrations())
