"""Databases of earlier schemas, with rows in every table: brought up to date, nothing is lost.

`tests/data/schemas` has a dump of each schema that a release had; none of them is ever changed.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.jobs import House

from telecine.db import postgres, sqlite
from telecine.db.sqlite import SQLite
from telecine.errors import TelecineError

DUMPS = sorted((Path(__file__).parents[1] / "data" / "schemas").glob("*.sql"))
FIRST = DUMPS[0]
A, B = (f"0a1b2c3d-0000-4000-8000-{number:012}" for number in (1, 2))
ID = "00000000-0000-4000-8000-{:012}".format


def restored(dump, path):
    """The database as the earlier program left it."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(dump.read_text())
    return path


def upgraded(dump, path):
    with closing(sqlite._connect(restored(dump, path))) as db:
        sqlite.migrate(db, path)
    return path


def asked(path, sql, *values):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql, values).fetchall()


def schema(path):
    """Everything that there is, however it was written down."""
    found = asked(path, "SELECT type, name, tbl_name FROM sqlite_master WHERE sql IS NOT NULL")
    columns = {
        name: asked(path, f"SELECT * FROM pragma_table_xinfo('{name}')")
        for kind, name, _ in found
        if kind == "table"
    }
    indexes = {
        name: asked(path, f"SELECT * FROM pragma_index_xinfo('{name}')")
        for kind, name, _ in found
        if kind == "index"
    }
    return sorted(found), columns, indexes


def everything(path):
    """Table, columns, rows: as far as the schema goes that the file has."""
    tables = asked(path, "SELECT name FROM sqlite_master WHERE type = 'table'")
    found = {}
    for (table,) in tables:
        columns = [
            name for (name,) in asked(path, f"SELECT name FROM pragma_table_info('{table}')")
        ]
        found[table] = columns, asked(path, f"SELECT {', '.join(columns)} FROM {table}")
    return found


@pytest.fixture(params=DUMPS, ids=lambda path: path.stem)
def dump(request):
    return request.param


def test_every_table_of_the_dump_has_rows(dump, tmp_path):
    assert [
        name for name, (_, rows) in everything(restored(dump, tmp_path / "x")).items() if not rows
    ] == []


def test_it_ends_with_the_schema_that_a_new_database_gets(dump, tmp_path):
    with closing(sqlite._connect(tmp_path / "new.db")) as db:
        sqlite.migrate(db, tmp_path / "new.db")
    assert schema(upgraded(dump, tmp_path / "old.db")) == schema(tmp_path / "new.db")


def test_no_row_is_lost_or_changed(dump, tmp_path):
    before = everything(restored(dump, tmp_path / "before.db"))
    after = upgraded(dump, tmp_path / "after.db")
    for table, (columns, rows) in before.items():
        kept = asked(after, f"SELECT {', '.join(columns)} FROM {table}")
        if table == "sqlite_sequence":
            assert set(rows) <= set(kept)
        else:
            assert kept == rows, table
    assert asked(after, "PRAGMA integrity_check") == [("ok",)]
    assert asked(after, "PRAGMA foreign_key_check") == []


def test_the_steps_that_were_released_are_what_they_were(dump, tmp_path):
    """A step that changes after its release would leave two kinds of databases behind."""
    number = int(dump.stem)
    with closing(sqlite3.connect(tmp_path / "steps.db")) as db:
        for name, script in sorted(sqlite._migrations()):
            if int(name[:4]) <= number:
                db.executescript(script)
    assert schema(tmp_path / "steps.db") == schema(restored(dump, tmp_path / "dump.db"))


def test_it_may_be_stopped_after_any_step_and_go_on(dump, tmp_path, monkeypatch):
    path = restored(dump, tmp_path / "x.db")
    whole = sorted(sqlite._migrations())
    for count in range(int(dump.stem), len(whole) + 1):
        with monkeypatch.context() as context:
            context.setattr(sqlite, "_migrations", lambda count=count: whole[:count])
            with closing(sqlite._connect(path)) as db:
                sqlite.migrate(db, path)
        assert asked(path, "PRAGMA user_version") == [(count,)]
    assert schema(path) == schema(upgraded(dump, tmp_path / "at-once.db"))


def test_the_program_that_had_the_earlier_schema_refuses_the_newer_one(
    run, dump, tmp_path, monkeypatch
):
    path = upgraded(dump, tmp_path / "x.db")
    before = path.read_bytes()
    steps = [step for step in sqlite._migrations() if int(step[0][:4]) <= int(dump.stem)]
    monkeypatch.setattr(sqlite, "_migrations", lambda: steps)

    async def work():
        async with SQLite(path):
            pass

    with pytest.raises(TelecineError, match="restore a backup made before the upgrade"):
        run(work())
    assert path.read_bytes() == before


# ---------------------------------------------------------------- what the first one had


def test_what_was_spent_before_counts_for_budgets(tmp_path):
    path = upgraded(FIRST, tmp_path / "x.db")
    assert asked(path, "SELECT key_id, day, pico FROM spending ORDER BY key_id, day") == [
        (A, "2025-11-18", 12_300_000_001),
        (A, "2025-11-19", 1_500_000_000_000),
        (B, "2025-11-18", 0),
    ]


def test_what_is_spent_or_settled_from_then_on_counts_too(tmp_path):
    path = upgraded(FIRST, tmp_path / "x.db")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE ledger SET cost = '0.25' WHERE cost IS NULL")
        db.execute(
            "INSERT INTO ledger SELECT NULL, request_id, 2, key_id, endpoint, mode, provider, model,"
            " at, 1, 1, 2, '0.5', 'billed', NULL, NULL, NULL, 0, 'c' FROM ledger WHERE cost = '1.5'"
        )
    assert asked(path, "SELECT pico FROM spending ORDER BY key_id, day") == [
        (12_300_000_001,),
        (2_000_000_000_000,),
        (250_000_000_000,),
    ]


def test_every_entry_of_the_ledger_is_about_a_call_of_its_own(dump, tmp_path):
    path = upgraded(dump, tmp_path / "x.db")
    (counts,) = asked(path, "SELECT count(*), count(call_id), count(DISTINCT call_id) FROM ledger")
    assert len(set(counts)) == 1


def test_a_delivery_belongs_to_the_key_of_its_request(tmp_path):
    path = upgraded(FIRST, tmp_path / "x.db")
    assert asked(path, "SELECT DISTINCT key_id FROM deliveries") == [(A,)]


def test_jobs_that_an_earlier_program_left_behind_are_run(run, tmp_path):
    """One waited, one waited for its retry, one was running when that program ended."""
    restored(FIRST, tmp_path / "telecine.db")

    async def work():
        async with House(tmp_path) as house:
            for number in (3, 4, 5):
                job = await house.ended(ID(number))
                assert (job.state, job.id) == ("succeeded", ID(number))
            (first,) = await house.rows("SELECT result_body FROM requests WHERE id = :id", id=ID(1))
            assert first["result_body"] == '{"output":"What is said?"}'
            ends = await house.rows(
                "SELECT attempt, ended_as FROM attempts WHERE request_id = :id ORDER BY attempt",
                id=ID(3),
            )
            assert [tuple(each.values()) for each in ends] == [(1, "lost"), (2, "succeeded")]

    run(work())


# ---------------------------------------------------------------- PostgreSQL

RELEASED = range(4, postgres.NEWEST)  # with 4 it began
LEDGER = {
    **dict.fromkeys(("request_id", "key_id", "endpoint", "mode", "provider", "model"), "x"),
    **dict.fromkeys(("attempt", "prompt_tokens", "completion_tokens", "total_tokens"), 1),
    "at": 1763500000.0,
    "cost": "0.5",
    "cost_source": "billed",
}


async def on_postgres(url, work):
    connection = await postgres._connect(url)
    try:
        return await work(connection)
    finally:
        await connection.close()


async def columns_and_indexes(connection):
    columns = await connection.fetch(
        "SELECT table_name, column_name, data_type, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_schema = 'telecine' ORDER BY 1, 2"
    )
    indexes = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'telecine' ORDER BY 1"
    )
    return [tuple(row) for row in (*columns, *indexes)]


@pytest.fixture
def earlier(run, databases, monkeypatch):
    """Databases on PostgreSQL as an earlier program left them, with entries in the ledger."""

    def earlier(number):
        url = databases.empty()
        with monkeypatch.context() as context:
            context.setattr(postgres, "NEWEST", number)
            run(postgres.migrate(url))
        if number:
            names, marks = ", ".join(LEDGER), ", ".join(f"${n + 1}" for n in range(len(LEDGER)))
            insert = f"INSERT INTO ledger ({names}) VALUES ({marks})"
            rows = [tuple(LEDGER.values())] * 3
            run(on_postgres(url, lambda connection: connection.executemany(insert, rows)))
        return url

    return earlier


@pytest.mark.parametrize("number", RELEASED)
def test_on_postgresql_it_ends_with_the_schema_that_a_new_database_gets(run, earlier, number):
    new, old = earlier(0), earlier(number)
    for url in (new, old):
        run(postgres.migrate(url))
    assert run(on_postgres(old, columns_and_indexes)) == run(on_postgres(new, columns_and_indexes))


@pytest.mark.parametrize("number", RELEASED)
def test_on_postgresql_what_was_billed_before_is_kept_and_counted_once(run, earlier, number):
    url = earlier(number)
    run(postgres.migrate(url))

    async def look(connection):
        entries = await connection.fetch("SELECT DISTINCT call_id, cost FROM ledger")
        return [row["cost"] for row in entries], await connection.fetch("SELECT pico FROM spending")

    costs, spent = run(on_postgres(url, look))
    assert costs == ["0.5"] * 3
    assert [row["pico"] for row in spent] == [1_500_000_000_000]
