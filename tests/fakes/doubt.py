"""Databases that keep what they are given, while the word of it is lost: the connection breaks
after the commit and before its answer."""

import contextlib
import sqlite3

from telecine.db.postgres import Postgres
from telecine.db.sqlite import SQLite


class Doubt:
    """The next commit of a transaction that ran a statement with these words in it."""

    def __init__(self):
        self.lost = 0
        self._words = None

    def lose(self, words):
        self._words = words

    def takes(self, said):
        if self._words is None or self._words not in said:
            return False
        self._words = None
        self.lost += 1
        return True


class _Doubtful:
    def __init__(self, connection, doubt):
        self._connection = connection
        self._doubt = doubt
        self._said = ""

    def __getattr__(self, name):
        return getattr(self._connection, name)


class DoubtfulSQLite(SQLite):
    def __init__(self, path, doubt):
        super().__init__(path)
        self._doubt = doubt

    def _open(self):
        return _Connection(super()._open(), self._doubt)


class _Connection(_Doubtful):
    def execute(self, sql, values=()):
        self._said = sql if sql.startswith("BEGIN") else self._said + sql
        cursor = self._connection.execute(sql, values)
        if sql == "COMMIT" and self._doubt.takes(self._said):
            raise sqlite3.OperationalError("disk I/O error")
        return cursor


class DoubtfulPostgres(Postgres):
    def __init__(self, url, doubt):
        super().__init__(url)
        self._doubt = doubt

    @contextlib.asynccontextmanager
    async def connection(self):
        async with super().connection() as connection:
            yield _PostgresConnection(connection, self._doubt)


class _PostgresConnection(_Doubtful):
    async def fetch(self, sql, *values):
        self._said += sql
        return await self._connection.fetch(sql, *values)

    async def execute(self, sql, *values):
        self._said = sql if sql.startswith("BEGIN") else self._said + sql
        status = await self._connection.execute(sql, *values)
        if sql == "COMMIT" and self._doubt.takes(self._said):
            self._connection.terminate()
            raise ConnectionResetError
        return status
