"""Temporary files: private, counted, and gone when they should be."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from telecine.errors import LimitReached, TooLarge
from telecine.media.spool import Spool


def a_spool(folder, *, per_key=1000, per_file=600):
    return Spool(folder, max_bytes_per_key=per_key, max_file_bytes=per_file)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_has_the_bytes_count_and_hash_of_what_was_written(run, tmp_path):
    async def story():
        async with a_spool(tmp_path) as spool:
            file = spool.file("key")
            file.write(b"one ")
            file.write(b"two")
            file.close()
            assert file.path.read_bytes() == b"one two"
            assert file.bytes == 7
            assert file.sha256 == hashlib.sha256(b"one two").hexdigest()

    run(story())


def test_nobody_else_may_look_inside(run, tmp_path):
    folder = tmp_path / "deep" / "spool"

    async def story():
        async with a_spool(folder) as spool:
            path = spool.file("key").path
            return [stat.S_IMODE(p.stat().st_mode) for p in (folder, path.parent, path)]

    old = os.umask(0)
    try:
        assert run(story()) == [0o700, 0o700, 0o600]
    finally:
        os.umask(old)


def test_a_folder_that_was_open_to_others_is_closed(run, tmp_path):
    tmp_path.chmod(0o755)

    async def story():
        async with a_spool(tmp_path):
            return stat.S_IMODE(tmp_path.stat().st_mode)

    assert run(story()) == 0o700


def test_discard_removes_the_file_and_gives_its_bytes_back_once(run, tmp_path):
    async def story():
        async with a_spool(tmp_path) as spool:
            file, other = spool.file("key"), spool.file("key")
            file.write(b"x" * 300)
            other.write(b"x" * 100)
            file.discard()
            file.discard()
            assert not file.path.exists()
            assert spool.used("key") == 100

    run(story())


def test_discard_after_somebody_took_the_file_gives_its_bytes_back(run, tmp_path):
    async def story():
        async with a_spool(tmp_path / "spool") as spool:
            file = spool.file("key")
            file.write(b"x")
            file.close()
            file.path.rename(tmp_path / "taken")
            file.discard()
            assert spool.used("key") == 0
        assert (tmp_path / "taken").exists()

    run(story())


def test_one_file_over_its_cap_is_refused_with_the_cap(run, tmp_path):
    async def story():
        async with a_spool(tmp_path) as spool:
            file = spool.file("key")
            file.write(b"x" * 600)
            with pytest.raises(TooLarge) as caught:
                file.write(b"x")
            assert caught.value.problems[0].ctx == {"max_size": 600}
            assert file.bytes == 600

    run(story())


def test_a_key_over_its_quota_must_wait_and_others_need_not(run, tmp_path):
    async def story():
        async with a_spool(tmp_path) as spool:
            first, second = spool.file("key"), spool.file("key")
            first.write(b"x" * 600)
            with pytest.raises(LimitReached) as caught:
                second.write(b"x" * 401)
            assert caught.value.type == "spool_quota"
            spool.file("other").write(b"x" * 600)
            first.discard()
            second.write(b"x" * 401)

    run(story())


def test_a_full_disk_is_said_and_not_a_bug(run, tmp_path):
    async def story():
        async with a_spool(tmp_path) as spool:
            file = spool.file("key")
            file.close()
            file._file = os.open("/dev/full", os.O_WRONLY)
            with pytest.raises(LimitReached) as caught:
                file.write(b"x")
            assert caught.value.type == "disk_full"
            file.discard()
            assert spool.used("key") == 0

    run(story())


def test_leaving_removes_what_nobody_discarded(run, tmp_path):
    async def story():
        async with a_spool(tmp_path) as spool:
            spool.file("key").write(b"x")
            assert files_in(tmp_path)

    run(story())
    assert not files_in(tmp_path)


def test_entering_removes_what_a_crash_left(run, tmp_path):
    (tmp_path / "0123").mkdir()
    (tmp_path / "0123" / "video").write_bytes(b"x")
    (tmp_path / "stray").write_bytes(b"x")
    (tmp_path / "link").symlink_to("/etc")

    async def story():
        async with a_spool(tmp_path):
            assert len(list(tmp_path.iterdir())) == 1
            assert not files_in(tmp_path)

    run(story())


def test_entering_leaves_the_files_of_another_living_process_alone(run, tmp_path):
    async def story():
        async with a_spool(tmp_path) as server:
            kept = server.file("key")
            async with a_spool(tmp_path) as command:
                command.file("key").write(b"x")
                assert kept.path.exists()
            assert kept.path.exists()

    run(story())


def test_a_spool_that_was_not_opened_says_so(tmp_path):
    with pytest.raises(RuntimeError, match="async with"):
        a_spool(tmp_path).file("key")
