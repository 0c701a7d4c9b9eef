"""Files and objects on real databases and a real folder."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from telecine.db.postgres import Postgres
from telecine.db.sqlite import SQLite
from telecine.errors import BadRequest, Forbidden, LimitReached, NotFound, PayloadTooLarge
from telecine.files import Files, safe_name, spooled
from telecine.media.spool import Spool
from telecine.storage.local import LocalStorage

DAY = 24 * 3600.0
KEY = "key-1"


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock, database_url):
    @asynccontextmanager
    async def opened(**options):
        async with (
            Postgres(database_url) if database_url else SQLite(tmp_path / "db") as db,
            LocalStorage(tmp_path / "objects") as storage,
            Spool(tmp_path / "spool", max_bytes_per_key=10_000, max_file_bytes=5_000) as spool,
        ):
            files = Files(db=db, storage=storage, clock=clock, **options)
            yield SimpleNamespace(db=db, storage=storage, spool=spool, files=files)

    return opened


async def each(*chunks):
    for chunk in chunks:
        yield chunk


async def keep(parts, content, name="a.mp4", expires_seconds=DAY):
    async with spooled(parts.spool, KEY, each(content)) as file:
        return await parts.files.keep(KEY, name, "video/mp4", expires_seconds, file)


async def store(parts, upload, content):
    async with spooled(parts.spool, KEY, each(content)) as file:
        await parts.files.store(upload, file)


async def send_part(parts, upload, number, content):
    async with spooled(parts.spool, KEY, each(content)) as file:
        return await parts.files.store_part(upload, number, file)


async def initiate(parts, expires_seconds=DAY):
    initiated = await parts.files.initiate(KEY, "a.mp4", "video/mp4", expires_seconds)
    return await parts.files.upload(initiated.file.id, initiated.secret)


async def content(parts, file_id):
    file = await parts.files.find(file_id)
    if file is None:
        return None
    chunks = parts.files.read(file)
    return b"".join([chunk async for chunk in chunks])


async def stored(parts):
    keys = parts.storage.keys()
    return {key async for key in keys}


async def pin(parts, object_key, request_id="r1"):
    async def operation(tx):
        await tx.execute(
            "insert_request",
            lane="",
            node="",
            id=request_id,
            endpoint="openrouter/router/video",
            mode="queue",
            key_id=KEY,
            model="",
            state="queued",
            priority=0,
            attempt=0,
            start_by=None,
            no_retry=0,
            store_io=1,
            input="{}",
            attachments="{}",
            webhook_url=None,
            created_at=0.0,
            started_at=None,
            idempotency_key=None,
        )
        await tx.execute("insert_pin", request_id=request_id, object=object_key)

    await parts.db.write(operation)


async def unpin(parts, request_id="r1"):
    await parts.db.write(lambda tx: tx.execute("delete_pins", request_id=request_id))


# ---------------------------------------------------------------- keeping


def test_a_kept_file_is_found_with_its_bytes_and_hash(opened, run):
    async def story():
        async with opened() as parts:
            kept = await keep(parts, b"hello")
            file = await parts.files.find(kept.id)
            assert file.sha256 == hashlib.sha256(b"hello").hexdigest()
            assert (file.bytes, file.name, file.content_type) == (5, "a.mp4", "video/mp4")
            assert await content(parts, kept.id) == b"hello"
            assert parts.spool.used(KEY) == 0

    run(story())


def test_the_same_bytes_are_stored_once_under_addresses_that_do_not_tell(opened, run):
    async def story():
        async with opened() as parts:
            one, two = await keep(parts, b"same"), await keep(parts, b"same")
            assert one.id != two.id
            assert len(await stored(parts)) == 1
            digest = hashlib.sha256(b"same").hexdigest()
            (key,) = await stored(parts)
            assert all(digest[:8] not in text for text in (one.path, two.path, key))

    run(story())


def test_a_stored_copy_that_was_not_committed_can_be_thrown_away(opened, run):
    async def story():
        async with opened() as parts:
            async with spooled(parts.spool, KEY, each(b"x")) as file:
                taken = await parts.files.take(file.path, sha256=file.sha256, bytes=file.bytes)
            assert await stored(parts) == {taken.key}
            await parts.files.settle(taken, None)
            assert await stored(parts) == set()

    run(story())


def test_bytes_over_the_spools_caps_are_refused_and_leave_nothing(opened, run, tmp_path):
    async def story():
        async with opened() as parts:
            with pytest.raises(PayloadTooLarge):
                await keep(parts, bytes(5_001))
            async with spooled(parts.spool, KEY, each(bytes(5_000))):
                async with spooled(parts.spool, KEY, each(bytes(4_000))):
                    with pytest.raises(LimitReached):
                        await keep(parts, bytes(4_000))
            assert parts.spool.used(KEY) == 0
            assert not any(p.is_file() and p.stat().st_size for p in tmp_path.rglob("spool/**/*"))
            assert await stored(parts) == set()

    run(story())


def test_an_upload_that_breaks_off_leaves_nothing(opened, run):
    async def broken():
        yield b"half"
        raise ConnectionResetError

    async def story():
        async with opened() as parts:
            upload = await initiate(parts)
            with pytest.raises(ConnectionResetError):
                async with spooled(parts.spool, KEY, broken()) as file:
                    await parts.files.store(upload, file)
            assert parts.spool.used(KEY) == 0
            assert await stored(parts) == set()
            assert await parts.files.find(upload.id) is None

    run(story())


# ---------------------------------------------------------------- uploads


def test_an_upload_appears_when_its_bytes_have_come(opened, run):
    async def story():
        async with opened() as parts:
            upload = await initiate(parts)
            assert await parts.files.find(upload.id) is None
            assert await parts.files.own(f"http://x{upload.path}") is None
            await store(parts, upload, b"hello")
            assert await content(parts, upload.id) == b"hello"

    run(story())


def test_only_who_knows_the_secret_may_upload_and_only_for_a_day(opened, run, clock):
    async def story():
        async with opened() as parts:
            initiated = await parts.files.initiate(KEY, "a.mp4", "video/mp4", DAY)
            kept = await keep(parts, b"x")
            for file_id, secret, error in (
                (initiated.file.id, "", Forbidden),
                (initiated.file.id, initiated.secret + "x", Forbidden),
                ("0" * 32, initiated.secret, NotFound),
                (kept.id, "", NotFound),
            ):
                with pytest.raises(error):
                    await parts.files.upload(file_id, secret)
            clock.now += DAY
            with pytest.raises(Forbidden, match="expired"):
                await parts.files.upload(initiated.file.id, initiated.secret)

    run(story())


def test_sending_the_same_bytes_again_changes_nothing_and_others_are_refused(opened, run, clock):
    async def story():
        async with opened() as parts:
            upload = await initiate(parts)
            await store(parts, upload, b"hello")
            before = await parts.files.find(upload.id)
            clock.now += 60
            await store(parts, upload, b"hello")
            with pytest.raises(BadRequest):
                await store(parts, upload, b"other")
            assert await parts.files.find(upload.id) == before
            assert await stored(parts) == {before.object}

    run(story())


def test_the_life_of_a_file_counts_from_the_end_of_its_upload(opened, run, clock):
    async def story():
        async with opened() as parts:
            upload = await initiate(parts, 60.0)
            clock.now += 600
            await store(parts, upload, b"hello")
            clock.now += 59
            assert await parts.files.find(upload.id)
            clock.now += 1
            assert await parts.files.find(upload.id) is None

    run(story())


# ---------------------------------------------------------------- parts


def test_parts_become_one_file_in_the_order_of_their_numbers(opened, run):
    async def story():
        async with opened() as parts:
            upload = await initiate(parts)
            etags = {}
            for number, piece in ((3, b"c"), (1, b"a" * 2000), (2, b"b" * 2000)):
                etags[number] = await send_part(parts, upload, number, piece)
            await parts.files.complete(upload, etags, parts.spool)
            assert await content(parts, upload.id) == b"a" * 2000 + b"b" * 2000 + b"c"
            assert len(await stored(parts)) == 1
            assert parts.spool.used(KEY) == 0

    run(story())


def test_equal_parts_and_a_single_part_are_no_special_case(opened, run):
    async def story():
        async with opened() as parts:
            for pieces in ([b"same", b"same"], [b"same"]):
                upload = await initiate(parts)
                etags = {
                    number: await send_part(parts, upload, number, piece)
                    for number, piece in enumerate(pieces, 1)
                }
                await parts.files.complete(upload, etags, parts.spool)
                assert await content(parts, upload.id) == b"".join(pieces)
            assert len(await stored(parts)) == 2

    run(story())


def test_repeating_a_part_or_the_completion_changes_nothing(opened, run):
    async def story():
        async with opened() as parts:
            upload = await initiate(parts)
            etag = await send_part(parts, upload, 1, b"a")
            assert await send_part(parts, upload, 1, b"a") == etag
            assert len(await stored(parts)) == 1
            await parts.files.complete(upload, {1: etag}, parts.spool)
            before = await parts.files.find(upload.id)
            await parts.files.complete(upload, {1: etag}, parts.spool)
            with pytest.raises(BadRequest):
                await send_part(parts, upload, 1, b"late")
            assert await parts.files.find(upload.id) == before
            assert await stored(parts) == {before.object}

    run(story())


def test_completions_at_the_same_time_make_one_file(opened, run):
    async def story():
        async with opened() as parts:
            upload = await initiate(parts)
            etags = {n: await send_part(parts, upload, n, bytes([n]) * 900) for n in range(1, 5)}
            await asyncio.gather(
                *(parts.files.complete(upload, etags, parts.spool) for _ in range(5))
            )
            assert len(await stored(parts)) == 1

    run(story())


def test_a_part_sent_again_with_other_bytes_replaces_the_first(opened, run):
    async def story():
        async with opened() as parts:
            upload = await initiate(parts)
            old = await send_part(parts, upload, 1, b"old")
            new = await send_part(parts, upload, 1, b"new")
            assert len(await stored(parts)) == 1
            with pytest.raises(BadRequest, match="etag of part 1"):
                await parts.files.complete(upload, {1: old}, parts.spool)
            await parts.files.complete(upload, {1: new}, parts.spool)
            assert await content(parts, upload.id) == b"new"

    run(story())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda etags: etags.clear(), "empty"),
        (lambda etags: etags.pop(2), "Part 2 is missing"),
        (lambda etags: etags.pop(3), "Part 3 is missing"),
        (lambda etags: etags.update({4: etags[1]}), "Part 4 was not uploaded"),
        (lambda etags: etags.update({0: etags[1]}), "Part 0 was not uploaded"),
        (lambda etags: etags.update({2: etags[1]}), "etag of part 2"),
        (lambda etags: etags.update({2: "é"}), "etag of part 2"),
    ],
)
def test_a_list_that_does_not_match_the_parts_is_refused(opened, run, change, says):
    async def story():
        async with opened() as parts:
            upload = await initiate(parts)
            etags = {n: await send_part(parts, upload, n, bytes([n])) for n in (1, 2, 3)}
            change(etags)
            with pytest.raises(BadRequest, match=says):
                await parts.files.complete(upload, etags, parts.spool)
            assert await parts.files.find(upload.id) is None

    run(story())


def test_a_gap_in_the_parts_themselves_is_refused(opened, run):
    async def story():
        async with opened() as parts:
            upload = await initiate(parts)
            etags = {n: await send_part(parts, upload, n, bytes([n])) for n in (1, 3)}
            with pytest.raises(BadRequest, match="Part 2 is missing"):
                await parts.files.complete(upload, etags, parts.spool)

    run(story())


@pytest.mark.parametrize("number", [0, 10_001])
def test_part_numbers_have_limits(opened, run, number):
    async def story():
        async with opened() as parts:
            upload = await initiate(parts)
            with pytest.raises(BadRequest):
                await send_part(parts, upload, number, b"x")

    run(story())


def test_parts_together_may_not_exceed_the_cap_for_a_file(opened, run):
    async def story():
        async with opened(max_file_bytes=3_000) as parts:
            upload = await initiate(parts)
            await send_part(parts, upload, 1, bytes(2_000))
            with pytest.raises(PayloadTooLarge):
                await send_part(parts, upload, 2, bytes(1_001))
            await send_part(parts, upload, 2, bytes(1_000))
            assert len(await stored(parts)) == 2

    run(story())


# ---------------------------------------------------------------- own


def test_our_addresses_are_known_under_every_host_and_prefix(opened, run):
    async def story():
        async with opened() as parts:
            file = await keep(parts, b"x")
            key = (await parts.files.find(file.id)).object
            for url in (
                f"http://localhost:8484{file.path}",
                f"https://v3.fal.media/files/{file.id}/other.mp4?x=1#y",
                f"https://v3b.fal.media/files/b/{file.id}/{file.name}",
                f"https://telecine.example/cdn/files/{file.id}/{file.name}",
                f"https://telecine.example/behind/a/proxy/files/{file.id}",
            ):
                assert await parts.files.own(url) == (key, "a.mp4")

    run(story())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://[",
        "data:video/mp4;base64,AAAA",
        "http://x/files/b/elephant/a.mp4",
        "http://x/files/00000000000000000000000000000000/a.mp4",
        "http://x/?u=/files/{id}/a.mp4",
        "http://x/files/{id}0/a.mp4",
        "http://x/myfiles/{id}/a.mp4",
    ],
)
def test_other_addresses_are_not_ours(opened, run, url):
    async def story():
        async with opened() as parts:
            file = await keep(parts, b"x")
            assert await parts.files.own(url.replace("{id}", file.id)) is None

    run(story())


# ---------------------------------------------------------------- tidying


def test_an_expired_file_is_gone_at_once_and_its_bytes_when_collected(opened, run, clock):
    async def story():
        async with opened() as parts:
            file = await keep(parts, b"x", expires_seconds=60.0)
            clock.now += 60
            assert await parts.files.find(file.id) is None
            assert await parts.files.own(f"http://x{file.path}") is None
            assert await parts.files.collect(clock.now) == 1
            assert await stored(parts) == set()
            assert await parts.files.collect(clock.now) == 0

    run(story())


def test_a_file_without_an_end_stays(opened, run, clock):
    async def story():
        async with opened() as parts:
            file = await keep(parts, b"x", expires_seconds=None)
            clock.now += 1000 * DAY
            await parts.files.collect(clock.now)
            assert await content(parts, file.id) == b"x"

    run(story())


def test_bytes_stay_as_long_as_one_file_has_them(opened, run, clock):
    async def story():
        async with opened() as parts:
            await keep(parts, b"x", expires_seconds=60.0)
            long = await keep(parts, b"x", expires_seconds=120.0)
            clock.now += 60
            assert await parts.files.collect(clock.now) == 0
            assert await content(parts, long.id) == b"x"
            clock.now += 60
            assert await parts.files.collect(clock.now) == 1

    run(story())


def test_an_unfinished_request_keeps_an_expired_file_for_itself(opened, run, clock):
    async def story():
        async with opened() as parts:
            file = await keep(parts, b"x", expires_seconds=60.0)
            url = f"http://x{file.path}"
            key, _ = await parts.files.own(url)
            await pin(parts, key)
            clock.now += 60
            assert await parts.files.collect(clock.now) == 0
            assert await parts.files.find(file.id) is None
            assert await parts.files.own(url) == (key, "a.mp4")
            await unpin(parts)
            assert await parts.files.own(url) is None
            assert await parts.files.collect(clock.now) == 1

    run(story())


def test_the_same_bytes_kept_again_after_a_collection_are_there(opened, run, clock):
    """Keys are never used twice: a late deletion of the old bytes cannot hit the new ones."""

    async def story():
        async with opened() as parts:
            old = await keep(parts, b"x", expires_seconds=60.0)
            old_key = (await parts.files.find(old.id)).object
            clock.now += 60
            await parts.files.collect(clock.now)
            new = await keep(parts, b"x")
            await parts.storage.delete(old_key)
            assert await content(parts, new.id) == b"x"

    run(story())


def test_collecting_while_the_same_bytes_come_and_go_never_loses_any(opened, run, clock):
    async def story():
        async with opened() as parts:

            async def churn(content_):
                for _ in range(15):
                    await keep(parts, content_, expires_seconds=0.0)
                    kept = await keep(parts, content_)
                    assert await content(parts, kept.id) == content_

            async def collect():
                for _ in range(40):
                    await parts.files.collect(clock.now)
                    await asyncio.sleep(0)

            await asyncio.gather(churn(b"x"), churn(b"x"), churn(b"y"), collect())
            assert len(await stored(parts)) == 2

    run(story())


def test_an_upload_that_was_given_up_goes_with_its_parts(opened, run, clock):
    async def story():
        async with opened() as parts:
            upload = await initiate(parts, None)
            await send_part(parts, upload, 1, b"x")
            assert await parts.files.collect(clock.now) == 0
            clock.now += DAY
            assert await parts.files.collect(clock.now) == 1
            assert await stored(parts) == set()
            with pytest.raises(NotFound):
                await store(parts, upload, b"late")
            assert await stored(parts) == set()

    run(story())


def test_more_files_than_a_batch_are_collected_in_one_go(opened, run, clock, monkeypatch):
    monkeypatch.setattr("telecine.files._BATCH", 3)

    async def story():
        async with opened() as parts:
            for number in range(8):
                await keep(parts, bytes([number]), expires_seconds=60.0)
            clock.now += 60
            assert await parts.files.collect(clock.now) == 8

    run(story())


def test_bytes_without_a_row_are_swept_out_once_they_are_an_hour_old(opened, run, clock):
    async def story():
        async with opened() as parts:
            kept = await keep(parts, b"kept")
            async with spooled(parts.spool, KEY, each(b"lost in a crash")) as file:
                await parts.files.take(file.path, sha256=file.sha256, bytes=file.bytes)
            assert await parts.files.sweep() == 0
            clock.now += 3601
            assert await parts.files.sweep() == 1
            assert await content(parts, kept.id) == b"kept"

    run(story())


def test_a_sweep_leaves_alone_what_is_not_named_like_ours(opened, run, tmp_path, clock):
    async def story():
        async with opened() as parts:
            foreign = tmp_path / "foreign"
            foreign.write_bytes(b"x")
            await parts.storage.put("0" * 40 + "/01", foreign)
            clock.now += DAY
            assert await parts.files.sweep() == 0

    run(story())


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("clip.mp4", "clip.mp4"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\me\\my clip.mov", "my_clip.mov"),
        ('a"b;c\r\nd.mp4', "a_b_c_d.mp4"),
        ("видео.mp4", "_.mp4"),
        (".htaccess", "htaccess"),
        ("..", "file"),
        ("", "file"),
        ("a/", "file"),
        ("archive.tar.gz", "archive.tar.gz"),
    ],
)
def test_names_become_safe(given, safe):
    assert safe_name(given) == safe


def test_names_become_short_and_keep_their_suffix():
    name = safe_name("x" * 500 + ".mp4")
    assert len(name) <= 100
    assert name.endswith("x.mp4")
    assert len(safe_name("x" * 500)) <= 100
    assert len(safe_name("x." + "y" * 500)) <= 100
