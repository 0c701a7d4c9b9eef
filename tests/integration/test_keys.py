"""API keys and tokens on real databases."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import multiprocessing
import stat
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hmac import compare_digest

import pytest

from telecine.db.postgres import Postgres
from telecine.db.sqlite import SQLite
from telecine.errors import AuthError, Forbidden, NotFound
from telecine.keys import Keys, load_secret

SECRET = bytes(32)


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


class Counting:
    """A database that counts how often it is read."""

    def __init__(self, db):
        self._db = db
        self.reads = 0

    async def read(self, operation):
        self.reads += 1
        return await self._db.read(operation)

    def __getattr__(self, name):
        return getattr(self._db, name)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock, database_url):
    @asynccontextmanager
    async def opened():
        async with Postgres(database_url) if database_url else SQLite(tmp_path / "db") as db:
            yield Keys(db=Counting(db), clock=clock, secret=SECRET)

    return opened


async def dumped(db):
    """All rows of all tables of a PostgreSQL database, as JSON."""
    tables = await db.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'telecine'")
    names = [table["tablename"] for table in tables]
    rows = [await db.ask(f"SELECT row_to_json(t) AS row FROM {name} AS t") for name in names]
    return json.dumps(rows)


async def refused(keys, authorization, **more):
    with pytest.raises(AuthError) as caught:
        await keys.check(authorization, **more)
    assert caught.value.status == 401
    return caught.value.message


@pytest.mark.parametrize("form", ["Key {}", "key {}", "KEY  {} ", "Bearer {}", "bearer {}"])
def test_a_key_is_accepted_in_every_form_that_clients_send(opened, run, form):
    async def story():
        async with opened() as keys:
            made = await keys.create("ci", ["API", "ADMIN"])
            caller = await keys.check(form.format(made.key))
            assert caller.key_id == made.key_id
            assert caller.scopes == {"API", "ADMIN"}
            assert caller.apps is None

    run(story())


@pytest.mark.parametrize(
    "authorization",
    ["", "Key", "Key ", "Key :", "Key x", "Key x:y", "Basic eDp5", "Key é:ü", "Bearer", "Bearer x"],
)
def test_a_wrong_or_malformed_key_gets_fals_sentence(opened, run, authorization):
    async def story():
        async with opened() as keys:
            await keys.create()
            assert await refused(keys, authorization) == "invalid key credentials"

    run(story())


def test_the_right_id_with_another_secret_is_refused(opened, run):
    async def story():
        async with opened() as keys:
            one, two = await keys.create(), await keys.create()
            await keys.check(f"Key {one.key}")
            await refused(keys, f"Key {one.key_id}:{two.key_secret}")
            await refused(keys, f"Key {one.key_id}:")
            await refused(keys, f"Key {one.key_id}")

    run(story())


def test_hashes_are_compared_in_constant_time_whether_there_is_such_a_key_or_not(
    opened, run, monkeypatch
):
    compared = []

    def compare(one, two):
        compared.append((len(one), len(two)))
        return compare_digest(one, two)

    async def story():
        async with opened() as keys:
            made = await keys.create()
            monkeypatch.setattr(hmac, "compare_digest", compare)
            await keys.check(f"Key {made.key}")
            await refused(keys, f"Key {made.key_id}:{'0' * 32}")
            await refused(keys, f"Key {uuid.uuid4()}:{'0' * 32}")
            assert compared == [(64, 64)] * 3

    run(story())


def test_no_credentials_get_a_sentence_that_names_the_application(opened, run):
    async def story():
        async with opened() as keys:
            assert await refused(keys, None, app="openrouter/router") == (
                'Cannot access application "openrouter/router". '
                "Authentication is required to access this application."
            )
            assert await refused(keys, None) == "Authentication is required."

    run(story())


def test_the_database_has_no_secret(opened, run, tmp_path, database_url):
    async def story():
        async with opened() as keys:
            made = await keys.create()
            return made, await dumped(keys._db) if database_url else ""

    made, rows = run(story())
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for found in (files, rows.encode()):
        assert made.key_secret.encode() not in found
    assert made.key_id.encode() in (rows.encode() or files)
    assert made.key == f"{made.key_id}:{made.key_secret}"
    assert len(made.key_secret) == 32


def test_checking_costs_no_statement_but_every_two_seconds(opened, run, clock):
    async def story():
        async with opened() as keys:
            made = await keys.create()
            for _ in range(100):
                await keys.check(f"Key {made.key}")
            assert keys._db.reads == 1
            clock.now += 2.1
            await asyncio.gather(*(keys.check(f"Key {made.key}") for _ in range(100)))
            assert keys._db.reads == 2

    run(story())


def test_guessing_keys_costs_ten_statements_a_second_at_most(opened, run, clock):
    async def story():
        async with opened() as keys:
            made = await keys.create()
            await keys.check(f"Key {made.key}")
            for _ in range(1000):
                await refused(keys, "Key a:b")
                clock.now += 0.001
            assert keys._db.reads <= 11

    run(story())


def test_a_key_is_refused_as_soon_as_it_is_revoked(opened, run):
    async def story():
        async with opened() as keys:
            made = await keys.create()
            await keys.check(f"Key {made.key}")
            await keys.revoke(made.key_id)
            await refused(keys, f"Key {made.key}")
            await keys.revoke(made.key_id)

    run(story())


def test_a_key_is_refused_although_its_revocation_overtook_a_reading_of_the_keys(opened, run):
    async def story():
        async with opened() as keys:
            made = await keys.create()
            read = keys._db.read

            async def slow_read(operation):
                rows = await read(operation)
                keys._db.read = read
                await keys.revoke(made.key_id)
                return rows

            keys._db.read = slow_read
            await refused(keys, f"Key {made.key}")

    run(story())


def test_what_another_process_does_counts_within_seconds(opened, run, clock):
    async def story():
        async with opened() as keys, opened() as other:
            await refused(keys, "Key x:y")
            made = await other.create()
            clock.now += 0.2
            await keys.check(f"Key {made.key}")
            await other.revoke(made.key_id)
            clock.now += 2.1
            await refused(keys, f"Key {made.key}")

    run(story())


def test_revoking_what_is_not_there_says_so(opened, run):
    async def story():
        async with opened() as keys:
            with pytest.raises(NotFound):
                await keys.revoke("nobody")

    run(story())


def test_the_list_tells_everything_but_the_secret(opened, run, clock):
    async def story():
        async with opened() as keys:
            one = await keys.create("laptop")
            clock.now += 60
            two = await keys.create("ci", ["ADMIN", "API"])
            await keys.revoke(two.key_id)
            first, second = await keys.list()
            assert (first.key_id, first.alias, first.scopes) == (one.key_id, "laptop", ("API",))
            assert first.revoked_at is None
            assert second.scopes == ("ADMIN", "API")
            assert second.created_at - first.created_at == timedelta(seconds=60)
            assert second.revoked_at == second.created_at

    run(story())


def test_last_use_is_written_once_a_minute(opened, run, clock):
    async def last_used(keys):
        (info,) = await keys.list()
        return info.last_used_at and info.last_used_at.timestamp()

    async def story():
        async with opened() as keys:
            made = await keys.create()
            assert await last_used(keys) is None
            start = clock.now
            for after, expected in [(0, 0), (59, 0), (61, 61), (100, 61), (122, 122)]:
                clock.now = start + after
                await keys.check(f"Key {made.key}")
                await keys._db.write(lambda tx: tx.fetch("keys_all"))  # after the lazy write
                assert await last_used(keys) == start + expected

    run(story())


# ---------------------------------------------------------------- the operator's own key


@pytest.mark.parametrize("key", ["id:secret", "opaque", "a:b:c", "sk-123.456"])
def test_the_operators_key_is_valid_as_it_stands(opened, run, key):
    async def story():
        async with opened() as keys:
            await keys.ensure(key)
            await keys.ensure(key)
            caller = await keys.check(f"Key {key}")
            assert caller.scopes == {"API", "ADMIN"}
            assert len(await keys.list()) == 1

    run(story())


@pytest.mark.parametrize(
    ("old", "new"), [("id:old", "id:new"), ("old", "new"), ("a:old", "b:new"), ("a:old", "new")]
)
def test_another_operators_key_takes_the_place_of_the_first(opened, run, old, new):
    async def story():
        async with opened() as keys:
            made = await keys.create()
            await keys.ensure(old)
            await keys.check(f"Key {old}")
            await keys.ensure(new)
            await refused(keys, f"Key {old}")
            await keys.check(f"Key {new}")
            await keys.check(f"Key {made.key}")

    run(story())


@pytest.mark.parametrize("key", ["", "id:", ":secret", "a b", "id:sec ret", "id:\n", "ключ"])
def test_an_operators_key_that_no_header_could_carry_is_refused(opened, run, key):
    async def story():
        async with opened() as keys:
            with pytest.raises(ValueError):
                await keys.ensure(key)

    run(story())


def test_the_command_lines_key_is_the_same_every_time_and_leaves_the_others_be(opened, run):
    async def story():
        async with opened() as keys:
            await keys.ensure("operator:key")
            key = await keys.command_line()
            assert await keys.command_line() == key
            assert (await keys.check(f"Key {key}")).scopes == {"API"}
            await keys.check("Key operator:key")
        async with opened() as keys:
            assert await keys.command_line() == key
            assert len(await keys.list()) == 2

    run(story())


# ---------------------------------------------------------------- temporary tokens


def test_a_token_calls_the_applications_it_names(opened, run):
    async def story():
        async with opened() as keys:
            made = await keys.create("", ["API", "ADMIN"])
            token = keys.token(await keys.check(f"Key {made.key}"), ["router"], 120)
            for caller in (
                await keys.check(f"Bearer {token}", app="openrouter/router"),
                await keys.check(None, query_token=token, app="openrouter/router"),
            ):
                assert caller.key_id == made.key_id
                assert caller.apps == {"router"}
                assert caller.scopes == {"CALL"}
            with pytest.raises(Forbidden):
                await keys.check(f"Bearer {token}", app="fal-ai/flux")

    run(story())


def test_a_token_ends_at_its_time(opened, run, clock):
    async def story():
        async with opened() as keys:
            made = await keys.create()
            token = keys.token(await keys.check(f"Key {made.key}"), ["router"], 120)
            clock.now += 119
            await keys.check(f"Bearer {token}")
            clock.now += 1
            assert await refused(keys, f"Bearer {token}") == "token has expired"

    run(story())


def test_a_token_dies_with_its_key(opened, run):
    async def story():
        async with opened() as keys:
            made = await keys.create()
            caller = await keys.check(f"Key {made.key}")
            token, cdn = keys.token(caller, ["router"], 120), keys.cdn_token(caller)
            await keys.revoke(made.key_id)
            await refused(keys, f"Bearer {token}")
            with pytest.raises(AuthError):
                await keys.check_cdn(f"Bearer {cdn.token}")

    run(story())


def test_a_token_that_was_tampered_with_is_refused(opened, run):
    def b64(document):
        return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

    async def story():
        async with opened() as keys:
            made = await keys.create()
            caller = await keys.check(f"Key {made.key}")
            token = keys.token(caller, ["router"], 120)
            head, body, signature = token.split(".")
            claims = json.loads(base64.urlsafe_b64decode(body + "==="))
            other = Keys(db=keys._db, clock=keys._clock, secret=b"x" * 32)
            flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
            for forged in (
                f"{head}.{b64({**claims, 'apps': ['flux']})}.{signature}",
                f"{head}.{body}.{flipped}",
                f"{b64({'alg': 'none', 'typ': 'JWT'})}.{body}.AA",
                other.token(caller, ["router"], 120),
            ):
                await refused(keys, f"Bearer {forged}")
                await refused(keys, None, query_token=forged)

    run(story())


def test_a_key_is_no_query_token(opened, run):
    async def story():
        async with opened() as keys:
            made = await keys.create()
            await refused(keys, None, query_token=made.key)

    run(story())


def test_tokens_are_good_for_one_use_only(opened, run):
    async def story():
        async with opened() as keys:
            made = await keys.create()
            caller = await keys.check(f"Key {made.key}")
            token, cdn = keys.token(caller, ["router"], 120), keys.cdn_token(caller)
            await refused(keys, f"Bearer {cdn.token}", app="openrouter/router")
            for wrong in (f"Bearer {token}", "Bearer x.y.z", "Key a:b", "", None):
                with pytest.raises(AuthError):
                    await keys.check_cdn(wrong)
            for right in (f"Bearer {cdn.token}", f"Key {made.key}"):
                assert (await keys.check_cdn(right)).key_id == made.key_id

    run(story())


def test_a_cdn_token_says_its_times_with_an_offset(opened, run, clock):
    async def story():
        async with opened() as keys:
            made = await keys.create()
            token = keys.cdn_token(await keys.check(f"Key {made.key}"))
            assert token.created_at == datetime.fromtimestamp(clock.now, UTC)
            assert token.expires_at.isoformat().endswith("+00:00")
            clock.now = token.expires_at.timestamp()
            with pytest.raises(AuthError):
                await keys.check_cdn(f"Bearer {token.token}")

    run(story())


# ---------------------------------------------------------------- the installation's secret


def test_the_secret_is_made_once_and_is_private(tmp_path):
    path = tmp_path / "secret"
    secret = load_secret(path)
    assert len(secret) == 32
    assert load_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_start_together_agree_on_the_secret(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        secrets = pool.map(load_secret, [tmp_path / "secret"] * 8)
    assert len(set(secrets)) == 1


def test_a_damaged_secret_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "secret").write_text("short")
    with pytest.raises(ValueError, match="secret must hold 64"):
        load_secret(tmp_path / "secret")
