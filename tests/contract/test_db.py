"""What every database must do. Run on each driver there is."""

import asyncio
import re
import threading

import pytest

from telecine.db import postgres
from telecine.db.postgres import Postgres
from telecine.db.sqlite import SQLite, _connect, migrate
from telecine.db.statements import read_statements


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path):
    """Makes a database; again the same one, as another process would open it."""
    if request.param == "sqlite":
        return lambda: SQLite(tmp_path / "telecine.db")
    url = request.getfixturevalue("databases").migrated()
    return lambda: Postgres(url)


@pytest.fixture
def sqlite(tmp_path):
    return lambda: SQLite(tmp_path / "telecine.db")


def add(id, object_key="o"):
    async def operation(tx):
        return await tx.execute(
            "insert_delivery", request_id=id, url=f"https://example.org/{object_key}", now=1.5
        )

    return operation


def adopt(key, sha256):
    async def operation(tx):
        row = await tx.fetch_one("object_adopt", key=key, sha256=sha256, bytes=3, now=1.5)
        return row["key"]

    return operation


async def known(tx):
    return sorted(row["key"] for row in await tx.fetch("objects_unreferenced", most=1000))


def test_a_write_that_returned_is_seen_by_every_later_read(run, database):
    async def work():
        async with database() as db:
            for number in range(50):
                await db.write(adopt(f"k{number}", f"s{number}"))
                assert f"k{number}" in await db.read(known)

    run(work())


def test_what_was_written_is_there_after_a_restart(run, database):
    async def work():
        async with database() as db:
            await db.write(adopt("k", "s"))
        async with database() as db:
            assert await db.read(known) == ["k"]

    run(work())


def test_an_operation_answers_with_what_it_returns(run, database):
    async def work():
        async with database() as db:
            assert await db.write(adopt("k", "s")) == "k"
            assert await db.write(adopt("k2", "s")) == "k"

    run(work())


def test_rows_are_mappings_and_keep_their_types(run, database):
    async def work():
        async with database() as db:
            await db.write(adopt("ключ", "s"))
            row = await db.read(lambda tx: tx.fetch_one("object_known", key="ключ"))
            assert dict(row) == {"key": "ключ"}
            assert await db.read(lambda tx: tx.fetch_one("object_known", key="none")) is None
            assert await db.read(lambda tx: tx.fetch("object_known", key="none")) == []

    run(work())


def test_execute_tells_how_many_rows_it_changed(run, database):
    async def work():
        async with database() as db:
            await db.write(adopt("k", "s"))

            async def release(tx):
                return [await tx.execute("object_release", key=key) for key in ("k", "k")]

            assert await db.write(release) == [1, 0]

    run(work())


def test_an_operation_that_raises_undoes_all_of_itself_and_nothing_of_its_neighbours(run, database):
    async def work():
        async with database() as db:

            async def breaks(tx):
                await adopt("gone", "gone")(tx)
                raise LookupError("on purpose")

            results = await asyncio.gather(
                db.write(adopt("a", "a")),
                db.write(breaks),
                db.write(adopt("b", "b")),
                return_exceptions=True,
            )
            assert [results[0], results[2]] == ["a", "b"]
            assert isinstance(results[1], LookupError)
            assert sorted(await db.read(known)) == ["a", "b"]

    run(work())


def test_a_broken_reference_fails_only_the_operation_that_made_it(run, database):
    async def work():
        async with database() as db:
            results = await asyncio.gather(
                db.write(add("no such request")), db.write(adopt("a", "a")), return_exceptions=True
            )
            assert isinstance(results[0], Exception)
            assert results[1] == "a"

    run(work())


def test_an_operation_that_waits_for_anything_else_is_refused_and_undone(run, database):
    async def work():
        async with database() as db:

            async def sleeps(tx):
                await adopt("k", "s")(tx)
                await asyncio.sleep(0)

            with pytest.raises(TypeError, match="may await nothing"):
                await db.write(sleeps)
            assert await db.read(known) == []

    run(work())


def test_a_write_goes_on_when_its_caller_is_cancelled(run, database):
    async def work():
        async with database() as db:
            task = asyncio.create_task(db.write(adopt("k", "s")))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await db.write(adopt("k2", "s2"))
            # On PostgreSQL they do not stand in line.
            while await db.read(known) != ["k", "k2"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    run(work())


def test_writes_that_nobody_waits_for_keep_their_order_and_are_kept_when_it_closes(run, database):
    async def work():
        async with database() as db:
            db.write_later(adopt("first", "s"))
            assert await db.write(adopt("second", "s")) == "first"
            db.write_later(adopt("last", "t"))
        async with database() as db:
            assert await db.read(known) == ["first", "last"]

    run(work())


def test_a_write_that_nobody_waits_for_tells_its_failure_to_the_log(run, database, caplog):
    async def work():
        async with database() as db:
            db.write_later(add("no such request"))
            await db.write(adopt("k", "s"))

    run(work())
    assert "nobody waits for failed" in caplog.text


def test_a_read_sees_one_moment(run, database):
    async def work():
        async with database() as db:
            await db.write(adopt("k", "s"))

            async def write_elsewhere():
                async with database() as other:
                    await other.write(adopt("k2", "s2"))

            async def twice(tx):
                before = await known(tx)
                writing = threading.Thread(target=asyncio.run, args=[write_elsewhere()])
                writing.start()
                writing.join(10)
                return before, await known(tx)

            before, after = await db.read(twice)
            assert before == after == ["k"]

    run(work())


def test_a_read_can_not_write(run, database):
    async def work():
        async with database() as db:
            with pytest.raises(Exception, match=r"readonly|read-only"):
                await db.read(adopt("k", "s"))
            await db.write(adopt("k2", "s2"))
            assert await db.read(known) == ["k2"]

    run(work())


def test_two_that_have_it_open_see_what_the_other_wrote(run, database):
    async def work():
        async with database() as one, database() as other:
            await asyncio.gather(*(one.write(adopt(f"a{n}", f"a{n}")) for n in range(20)))
            await asyncio.gather(*(other.write(adopt(f"b{n}", f"b{n}")) for n in range(20)))
            assert len(await one.read(known)) == len(await other.read(known)) == 40

    run(work())


def test_using_it_unopened_says_so(run, database):
    async def work():
        db = database()
        with pytest.raises(RuntimeError, match="not open"):
            await db.write(adopt("k", "s"))
        with pytest.raises(RuntimeError, match="not open"):
            await db.read(known)
        with pytest.raises(RuntimeError, match="not open"):
            db.write_later(adopt("k", "s"))

    run(work())


def test_every_statement_can_be_prepared_by_sqlite(tmp_path):
    connection = _connect(tmp_path / "telecine.db")
    migrate(connection, tmp_path)
    texts = read_statements("sqlite").values()
    values = dict.fromkeys(name for text in texts for name in re.findall(r":(\w+)", text))
    for text in texts:
        connection.execute(f"EXPLAIN {text}", values)
    connection.close()


def test_every_statement_can_be_prepared_by_postgresql(run, databases):
    url = databases.migrated()

    async def work():
        connection = await postgres._connect(url)
        for text in read_statements("postgres").values():
            await connection.prepare(postgres._translated(text).sql)
        await connection.close()

    run(work())


def test_sums_of_money_are_exact(run, database):
    async def work():
        async with database() as db:

            async def spend(tx):
                for number, cost in enumerate(("0.1", "0.2", "0.000000000001", None)):
                    await tx.execute(
                        "insert_ledger_entry", **LEDGER, call_id=str(number), cost=cost
                    )

            await db.write(spend)
            filters = {"endpoints": "", "keys": "", "by_key": 0, "start": 0, "end": 9}
            (row,) = await db.read(lambda tx: tx.fetch("usage_between", **filters))
            assert (row["cost"], row["calls"], row["unknown"]) == ("0.300000000001", 4, 1)
            (spent,) = await db.read(lambda tx: tx.fetch("keys_spent", since="1970-01-01"))
            assert (spent["day"], spent["pico"]) == ("1970-01-01", 300_000_000_001)

    run(work())


def test_a_call_has_one_entry_however_often_it_is_written(run, database):
    async def work():
        async with database() as db:

            async def spend(tx):
                return await tx.execute("insert_ledger_entry", **LEDGER, call_id="c", cost="0.5")

            assert [await db.write(spend), await db.write(spend)] == [1, 0]
            (spent,) = await db.read(lambda tx: tx.fetch("keys_spent", since=""))
            assert spent["pico"] == 500_000_000_000

    run(work())


LEDGER = dict.fromkeys(("upstream_id", "price_source", "settle_at")) | {
    **dict.fromkeys(("request_id", "key_id", "endpoint", "mode", "provider", "model"), "x"),
    **dict.fromkeys(("attempt", "prompt_tokens", "completion_tokens", "total_tokens"), 1),
    "at": 1.5,
    "cost_source": "billed",
}


def test_what_was_deleted_is_nowhere_on_the_disk_after_a_scrub(run, sqlite, tmp_path):
    """Also while others read and write, and have it open without doing either."""
    secret = "a secret that is long enough to be found " * 2_000

    async def put(tx):
        await tx.execute("storage_settings_put", key_id="k", expires_seconds=None, acl=secret)

    async def forget(tx):
        await tx.execute("storage_settings_put", key_id="k", expires_seconds=None, acl=None)

    def is_on_disk():
        return any(secret[:40].encode() in path.read_bytes() for path in tmp_path.rglob("*.db*"))

    async def busy(db):
        for number in range(200):
            await db.write(adopt(f"k{number}", f"s{number}"))
            await db.read(known)

    async def work():
        async with sqlite() as db, sqlite() as other:
            await db.write(put)
            await other.read(known)
            assert is_on_disk()
            neighbour = asyncio.create_task(busy(other))
            await db.write(forget)
            await db.scrub()
            assert not is_on_disk()
            await neighbour

    run(work())
