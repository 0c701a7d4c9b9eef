"""What is particular to SQLite: the file, the lock, migrations, and failing commits."""

import asyncio
import sqlite3
import stat
import threading

import pytest

import telecine.db.sqlite as module
from telecine.db.base import DatabaseFailed
from telecine.db.sqlite import SQLite, migrate
from telecine.errors import TelecineError


def adopt(key):
    async def operation(tx):
        return await tx.fetch("object_adopt", key=key, sha256=key, bytes=3, now=1.5)

    return operation


async def known(tx):
    return [row["key"] for row in await tx.fetch("objects_unreferenced", most=1000)]


class Failing:
    """A connection whose next COMMIT fails, as on a full disk."""

    def __init__(self, connection, failures=1, statement="COMMIT"):
        self._connection = connection
        self._statement = statement
        self.failures = failures
        self.commits = 0

    def execute(self, sql, *values):
        self.commits += sql == "COMMIT"
        if sql == self._statement and self.failures:
            self.failures -= 1
            self._connection.execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(sql, *values)

    def __getattr__(self, name):
        return getattr(self._connection, name)


def sabotage(db, **how):
    writer = db._writer
    failing = Failing(writer._connection, **how)
    writer._connection = failing
    return failing


def test_the_file_and_its_companions_are_private(run, tmp_path):
    async def work():
        async with SQLite(tmp_path / "x.db") as db:
            await db.write(adopt("k"))
            for file in tmp_path.iterdir():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file

    run(work())


def test_a_file_that_others_could_read_becomes_private(run, tmp_path):
    async def work():
        async with SQLite(tmp_path / "x.db"):
            pass
        (tmp_path / "x.db").chmod(0o644)
        async with SQLite(tmp_path / "x.db"):
            assert stat.S_IMODE((tmp_path / "x.db").stat().st_mode) == 0o600

    run(work())


def test_operations_that_wait_together_share_one_commit(run, tmp_path):
    async def work():
        async with SQLite(tmp_path / "x.db") as db:
            counted = sabotage(db, failures=0)
            await asyncio.gather(*(db.write(adopt(str(n))) for n in range(200)))
            assert counted.commits < 10

    run(work())


def test_a_failed_commit_fails_all_that_shared_it_and_the_next_ones_work(run, tmp_path):
    async def work():
        async with SQLite(tmp_path / "x.db") as db:
            sabotage(db)
            results = await asyncio.gather(
                *(db.write(adopt(str(n))) for n in range(3)), return_exceptions=True
            )
            failed = [r for r in results if isinstance(r, DatabaseFailed)]
            assert failed
            assert "disk is full" in str(failed[0])
            assert len(await db.read(known)) == 3 - len(failed)
            await db.write(adopt("later"))
            assert "later" in await db.read(known)

    run(work())


def test_a_transaction_that_the_database_gave_up_midway_fails_as_a_whole(run, tmp_path):
    async def work():
        async with SQLite(tmp_path / "x.db") as db:
            connection = db._writer._connection

            async def lost(tx):
                await adopt("k")(tx)
                connection.execute("ROLLBACK")
                raise sqlite3.OperationalError("disk I/O error")

            results = await asyncio.gather(
                db.write(adopt("a")), db.write(lost), db.write(adopt("b")), return_exceptions=True
            )
            assert isinstance(results[1], DatabaseFailed)
            kept = await db.read(known)
            for key, result in (("a", results[0]), ("b", results[2])):
                assert (key in kept) == (not isinstance(result, DatabaseFailed))

    run(work())


def test_it_waits_while_another_process_holds_the_lock(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_MILLISECONDS", 10)

    async def work():
        async with SQLite(tmp_path / "x.db") as db:
            other = sqlite3.connect(
                tmp_path / "x.db", isolation_level=None, check_same_thread=False
            )
            other.execute("BEGIN IMMEDIATE")
            writing = asyncio.create_task(db.write(adopt("k")))
            await asyncio.sleep(0.05)
            assert not writing.done()
            other.execute("ROLLBACK")
            await writing
            other.close()

    run(work())


def test_a_lock_that_is_never_let_go_fails_the_write_in_bounded_time(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_MILLISECONDS", 10)
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.03)

    async def work():
        async with SQLite(tmp_path / "x.db") as db:
            other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseFailed, match="locked"):
                await db.write(adopt("k"))
            assert await db.read(known) == []
            other.close()
            await db.write(adopt("k"))

    run(work())


def test_a_newer_schema_is_refused_with_the_remedy(run, tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()

    async def work():
        async with SQLite(tmp_path / "x.db"):
            pass

    with pytest.raises(TelecineError, match=r"schema 9999.*upgrade Telecine"):
        run(work())


def test_a_file_that_is_no_database_is_refused_by_name(run, tmp_path):
    (tmp_path / "x.db").write_bytes(b"this is not a database, it is a text" * 100)

    async def work():
        async with SQLite(tmp_path / "x.db"):
            pass

    with pytest.raises(TelecineError, match=r"x\.db cannot be opened"):
        run(work())


def test_a_folder_that_is_missing_is_named(run, tmp_path):
    async def work():
        async with SQLite(tmp_path / "none" / "x.db"):
            pass

    with pytest.raises(TelecineError, match="none"):
        run(work())


def test_two_that_migrate_at_once_migrate_once(tmp_path):
    problems = []

    def open_it():
        try:
            connection = module._connect(tmp_path / "x.db")
            migrate(connection, tmp_path / "x.db")
            connection.close()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the test shows it
            problems.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_a_migration_that_fails_leaves_the_schema_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "x.db"
    connection = module._connect(path)
    migrate(connection, path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    steps = [
        *module._migrations(),
        (f"{version + 1:04}_bad.sql", "CREATE TABLE t (x);\nNONSENSE;\n"),
    ]
    monkeypatch.setattr(module, "_migrations", lambda: steps)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, path)
    assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 't'").fetchall()
    connection.close()


def test_deleted_content_is_overwritten_in_the_file(run, tmp_path):
    async def work():
        async with SQLite(tmp_path / "x.db") as db:
            await db.write(adopt("a-secret-that-must-go"))
            await db.write(lambda tx: tx.execute("object_release", key="a-secret-that-must-go"))
        assert b"a-secret-that-must-go" not in (tmp_path / "x.db").read_bytes()

    run(work())
