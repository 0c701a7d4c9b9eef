"""Backup and restore on real databases and folders, also while both are being written."""

import asyncio
import json
import secrets
import sqlite3
import time
from contextlib import asynccontextmanager

import pytest

from telecine import backup
from telecine.backup import LIST, BackupFailed
from telecine.db.sqlite import SQLite
from telecine.files import Files
from telecine.keys import Keys, load_secret
from telecine.media.spool import Spool
from telecine.storage.local import LocalStorage, place


class Place:
    """A data folder."""

    def __init__(self, folder):
        self.folder = folder
        self.database = folder / "telecine.db"
        self.objects = folder / "objects"
        self.others = {"secret": folder / "secret"}

    @property
    def named(self):
        return {"database": self.database, "objects": self.objects, "others": self.others}

    @asynccontextmanager
    async def opened(self):
        self.folder.mkdir(exist_ok=True)
        async with (
            SQLite(self.database) as db,
            LocalStorage(self.objects) as storage,
            Spool(self.folder / "spool", max_bytes_per_key=10**8, max_file_bytes=10**8) as spool,
        ):
            self.spool = spool
            self.db = db
            self.keys = Keys(db=db, clock=time.time, secret=load_secret(self.others["secret"]))
            self.files = Files(
                db=db,
                storage=storage,
                clock=time.time,
                expires_seconds=1000,
                max_file_bytes=10**8,
                max_key_bytes=10**9,
                secret=bytes(32),
            )
            yield self

    async def keep(self, content, seconds=1000):
        spooled = self.spool.file("k")
        spooled.write(content)
        spooled.close()
        try:
            return await self.files.keep("k", "a.bin", "video/mp4", seconds, spooled)
        finally:
            spooled.discard()

    def bytes_of(self, file_id):
        with sqlite3.connect(self.database) as db:
            (key,) = db.execute("SELECT object FROM files WHERE id = ?", [file_id]).fetchone()
        return place(self.objects, key).read_bytes()


@pytest.fixture
def here(tmp_path):
    return Place(tmp_path / "here")


@pytest.fixture
def there(tmp_path):
    return Place(tmp_path / "there")


@pytest.fixture
def made(here, run, tmp_path):
    """A backup, the id of a file in it, and a key."""

    async def main():
        async with here.opened():
            file = await here.keep(b"clip")
            key = await here.keys.create("k")
            await asyncio.to_thread(backup.make, tmp_path / "backup", **here.named)
        return tmp_path / "backup", file.id, key.key

    return run(main())


def test_what_was_backed_up_comes_back(made, there, run):
    folder, file_id, key = made
    assert backup.restore(folder, **there.named) == 3

    async def main():
        async with there.opened():
            caller = await there.keys.check(f"Key {key}")
            return await there.keys.check(f"Bearer {there.keys.token(caller, ['router'], 60)}")

    assert run(main()).key_id == key.partition(":")[0]
    assert there.bytes_of(file_id) == b"clip"


def test_a_backup_is_for_this_user_alone(made):
    folder, _, _ = made
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_while_files_come_and_go_the_backup_has_every_one_that_it_names(here, run, tmp_path):
    async def busy(stop):
        kept = {}
        while not stop.is_set():
            content = secrets.token_bytes(2000)
            file = await here.keep(content, seconds=0.1)
            kept[file.id] = content
            await here.files.collect(time.time())
        return kept

    async def main():
        async with here.opened():
            stop = asyncio.Event()
            writers = [asyncio.create_task(busy(stop)) for _ in range(3)]
            for number in range(5):
                await asyncio.to_thread(backup.make, tmp_path / f"b{number}", **here.named)
            stop.set()
            return {name: c for kept in await asyncio.gather(*writers) for name, c in kept.items()}

    kept = run(main())
    for number in range(5):
        target = Place(tmp_path / f"restored{number}")
        backup.restore(tmp_path / f"b{number}", **target.named)
        with sqlite3.connect(target.database) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            files = db.execute("SELECT id FROM files WHERE object IS NOT NULL").fetchall()
            keys = {key for (key,) in db.execute("SELECT key FROM objects")}
        for (file_id,) in files:
            assert target.bytes_of(file_id) == kept[file_id]
        there_are = {p.name for p in target.objects.rglob("*") if p.is_file()}
        assert there_are == keys


@pytest.mark.parametrize("name", ["telecine.db", "secret", "objects"])
def test_a_changed_byte_is_found_before_anything_is_written(made, there, name):
    folder, _, _ = made
    path = (
        next(p for p in sorted((folder / name).rglob("*")) if p.is_file())
        if name == "objects"
        else folder / name
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BackupFailed, match="changed"):
        backup.restore(folder, **there.named)
    assert not there.database.exists()


def test_a_missing_file_is_found(made, there):
    folder, _, _ = made
    (folder / "secret").unlink()
    with pytest.raises(BackupFailed, match="missing"):
        backup.restore(folder, **there.named)


@pytest.mark.parametrize("listed", ["", "[]", "{}", '{"files": {}}', '{"files": {"../x": "y"}}'])
def test_a_list_that_makes_no_sense_is_no_backup(made, there, listed):
    folder, _, _ = made
    (folder / LIST).write_text(listed)
    with pytest.raises(BackupFailed):
        backup.restore(folder, **there.named)


def test_a_list_can_not_name_what_lies_elsewhere(made, there, tmp_path):
    folder, _, _ = made
    (tmp_path / "outside").write_text("x")
    listed = json.loads((folder / LIST).read_text())
    (folder / "link").symlink_to(tmp_path / "outside")
    listed["files"]["link"] = backup._sha256(folder / "link")
    (folder / LIST).write_text(json.dumps(listed))
    with pytest.raises(BackupFailed):
        backup.restore(folder, **there.named)


def test_a_data_folder_in_use_is_not_written_over(made, here):
    folder, _, _ = made
    before = here.database.read_bytes()
    with pytest.raises(BackupFailed, match="already"):
        backup.restore(folder, **here.named)
    assert here.database.read_bytes() == before


def test_an_existing_folder_is_not_written_over(made, here):
    folder, _, _ = made
    with pytest.raises(BackupFailed, match="already"):
        backup.make(folder, **here.named)


def test_a_backup_of_nothing_is_refused_and_leaves_nothing(here, tmp_path):
    with pytest.raises(BackupFailed, match="no database"):
        backup.make(tmp_path / "b", **here.named)
    assert not (tmp_path / "b").exists()


def test_bytes_that_are_gone_make_no_backup(here, run, tmp_path):
    async def main():
        async with here.opened():
            await here.keep(b"clip")
            for path in here.objects.rglob("*"):
                if path.is_file():
                    path.unlink()
            with pytest.raises(BackupFailed, match="missing"):
                await asyncio.to_thread(backup.make, tmp_path / "b", **here.named)

    run(main())
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "b.partial").exists()
