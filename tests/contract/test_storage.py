"""What every store of bytes must do, and what the local one promises about the disk."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from telecine.errors import NotFound, TelecineError
from telecine.storage import objects
from telecine.storage.base import Storage, StorageFailed
from telecine.storage.local import LocalStorage
from telecine.storage.objects import Bucket

KEY = "0123456789abcdef"
OTHER = "fedcba9876543210"

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Storage]:
    async with LocalStorage(folder / "objects") as storage:
        yield storage


@pytest.fixture(params=["folder", "bucket"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "folder":
        return lambda: local(tmp_path)
    url = request.getfixturevalue("bucket")
    return lambda: Bucket(url, copies=tmp_path / "copies")


def file(folder: Path, content: bytes, name: str = "in") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


async def content(storage: Storage, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in storage.read(key, start, end)])


async def listed(storage: Storage) -> set[str]:
    keys = storage.keys()
    return {key async for key in keys}


def test_gives_back_what_was_put(opened: Any, tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with opened() as storage:
            await storage.put(KEY, file(tmp_path, b"hello"))
            assert await content(storage, KEY) == b"hello"
            assert await storage.size(KEY) == 5

    run(story())


def test_put_takes_the_file_over(opened: Any, tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with opened() as storage:
            path = file(tmp_path, b"hello")
            await storage.put(KEY, path)
            assert not path.exists()

    run(story())


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 0), (0, 1), (3, None), (2, 700_000), (999_999, None)],
)
def test_reads_ranges_in_small_chunks(
    opened: Any, tmp_path: Path, run: Run, start: int, end: int | None
) -> None:
    whole = os.urandom(1_000_000)

    async def story() -> None:
        async with opened() as storage:
            await storage.put(KEY, file(tmp_path, whole))
            chunks = [chunk async for chunk in storage.read(KEY, start, end)]
            assert b"".join(chunks) == whole[start:end]
            assert all(len(chunk) <= 1024 * 1024 for chunk in chunks)

    run(story())


def test_an_empty_file_is_a_file(opened: Any, tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with opened() as storage:
            await storage.put(KEY, file(tmp_path, b""))
            assert (await storage.size(KEY), await content(storage, KEY)) == (0, b"")

    run(story())


def test_an_unknown_key_is_not_found(opened: Any, run: Run) -> None:
    async def story() -> None:
        async with opened() as storage:
            with pytest.raises(NotFound):
                await storage.size(KEY)
            with pytest.raises(NotFound):
                await content(storage, KEY)
            with pytest.raises(NotFound):
                async with storage.local(KEY):
                    pass

    run(story())


def test_a_deleted_key_is_not_found_and_deleting_again_is_no_error(
    opened: Any, tmp_path: Path, run: Run
) -> None:
    async def story() -> None:
        async with opened() as storage:
            await storage.put(KEY, file(tmp_path, b"hello"))
            await storage.delete(KEY)
            await storage.delete(KEY)
            with pytest.raises(NotFound):
                await storage.size(KEY)

    run(story())


def test_a_file_that_is_held_outlives_its_deletion(opened: Any, tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with opened() as storage:
            await storage.put(KEY, file(tmp_path, b"hello"))
            async with storage.local(KEY) as one, storage.local(KEY) as two:
                await storage.delete(KEY)
                assert one.read_bytes() == two.read_bytes() == b"hello"
                with pytest.raises(NotFound):
                    await storage.size(KEY)
                assert await listed(storage) == set()
            with pytest.raises(NotFound):
                await content(storage, KEY)

    run(story())


def test_a_reader_finishes_although_the_key_is_deleted(
    opened: Any, tmp_path: Path, run: Run
) -> None:
    whole = os.urandom(1_000_000)

    async def story() -> None:
        async with opened() as storage:
            await storage.put(KEY, file(tmp_path, whole))
            chunks = storage.read(KEY)
            first = await anext(chunks)
            await storage.delete(KEY)
            assert first + b"".join([chunk async for chunk in chunks]) == whole

    run(story())


def test_lists_every_key(opened: Any, tmp_path: Path, run: Run) -> None:
    keys = {KEY, OTHER, f"{KEY}/0a", f"{KEY}/0b"}

    async def story() -> None:
        async with opened() as storage:
            for key in keys:
                await storage.put(key, file(tmp_path, b"x"))
            assert await listed(storage) == keys

    run(story())


@pytest.mark.parametrize(
    "key",
    ["", "..", "../../etc/passwd", "0123456789abcdeg", "/0123456789", KEY + "/..", "ABCDEF01"],
)
def test_refuses_a_key_that_is_not_ours(opened: Any, tmp_path: Path, run: Run, key: str) -> None:
    async def story() -> None:
        async with opened() as storage:
            path = file(tmp_path, b"x")
            with pytest.raises(ValueError):
                await storage.put(key, path)
            with pytest.raises(ValueError):
                await content(storage, key)
            with pytest.raises(ValueError):
                await storage.delete(key)

    run(story())


def test_a_key_is_never_put_twice(opened: Any, tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with opened() as storage:
            await storage.put(KEY, file(tmp_path, b"first"))
            with pytest.raises(FileExistsError):
                await storage.put(KEY, file(tmp_path, b"second"))
            assert await content(storage, KEY) == b"first"

    run(story())


def test_keeps_its_bytes_when_it_is_closed_and_opened_again(
    opened: Any, tmp_path: Path, run: Run
) -> None:
    async def story() -> None:
        async with opened() as storage:
            await storage.put(KEY, file(tmp_path, b"hello"))
        async with opened() as storage:
            assert await content(storage, KEY) == b"hello"

    run(story())


def test_many_at_once_do_not_get_into_each_others_way(
    opened: Any, tmp_path: Path, run: Run
) -> None:
    async def story() -> None:
        async with opened() as storage:
            keys = [f"{number:02x}" * 8 for number in range(50)]
            await asyncio.gather(
                *(storage.put(key, file(tmp_path, key.encode(), key)) for key in keys)
            )
            assert [await content(storage, key) for key in keys] == [k.encode() for k in keys]

    run(story())


# ---------------------------------------------------------------- the local one


def test_local_says_so_when_used_unopened(tmp_path: Path, run: Run) -> None:
    with pytest.raises(RuntimeError, match="open the storage first"):
        run(LocalStorage(tmp_path).size(KEY))


def test_local_folders_and_files_are_private(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with LocalStorage(tmp_path / "data" / "objects") as storage:
            path = file(tmp_path, b"hello")
            path.chmod(0o644)
            await storage.put(KEY, path)

    old = os.umask(0)
    try:
        run(story())
    finally:
        os.umask(old)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").rglob("*/")}
    assert modes == {0o700}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600]


class Disk:
    """Records what is asked of the disk: ("fsync" | "rename", the path)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, Path]] = []
        fsync, rename = os.fsync, os.rename

        def recording_fsync(descriptor: int) -> None:
            self.calls.append(("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))
            fsync(descriptor)

        def recording_rename(source: Path, target: Path) -> None:
            self.calls.append(("rename", Path(target)))
            rename(source, target)

        monkeypatch.setattr(os, "fsync", recording_fsync)
        monkeypatch.setattr(os, "rename", recording_rename)


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")


@needs_proc
def test_local_put_is_durable_in_the_right_order(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    top = tmp_path / "data" / "objects"

    async def story() -> None:
        async with LocalStorage(top) as storage:
            assert disk.calls == [("fsync", tmp_path), ("fsync", top.parent)]
            disk.calls.clear()
            await storage.put(KEY, file(tmp_path, b"hello"))
            assert disk.calls == [
                ("fsync", tmp_path / "in"),
                ("fsync", top),
                ("fsync", top / "01"),
                ("rename", top / "01" / "23" / KEY),
                ("fsync", top / "01" / "23"),
            ]
            disk.calls.clear()
            await storage.put(f"{KEY}/0a", file(tmp_path, b"hello"))
            assert disk.calls == [
                ("fsync", tmp_path / "in"),
                ("rename", top / "01" / "23" / f"{KEY}-0a"),
                ("fsync", top / "01" / "23"),
            ]

    run(story())


@needs_proc
def test_local_does_not_trust_folders_of_an_earlier_run(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run killed between mkdir and fsync leaves folders whose entries are not on the disk."""
    top = tmp_path / "objects"
    (top / "01" / "23").mkdir(parents=True)
    disk = Disk(monkeypatch)

    async def story() -> None:
        async with LocalStorage(top) as storage:
            await storage.put(KEY, file(tmp_path, b"hello"))

    run(story())
    assert ("fsync", top) in disk.calls
    assert ("fsync", top / "01") in disk.calls


def test_local_takes_files_from_another_disk(tmp_path: Path, run: Run) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    path = file(elsewhere, b"hello", f"telecine-test-{os.getpid()}")

    async def story() -> None:
        async with LocalStorage(tmp_path) as storage:
            await storage.put(KEY, path)
            assert await content(storage, KEY) == b"hello"

    try:
        run(story())
        assert not path.exists()
        assert list((tmp_path / "incoming").iterdir()) == []
    finally:
        path.unlink(missing_ok=True)


def test_local_sweeps_copies_that_a_crash_left_long_ago(tmp_path: Path, run: Run) -> None:
    (tmp_path / "incoming").mkdir()
    old, fresh = file(tmp_path / "incoming", b"", "old"), file(tmp_path / "incoming", b"", "new")
    os.utime(old, (0, 0))

    async def story() -> None:
        async with LocalStorage(tmp_path):
            assert not old.exists()
            assert fresh.exists()

    run(story())


# ---------------------------------------------------------------- the bucket


def test_a_large_file_goes_to_a_bucket_in_parts(bucket: str, tmp_path: Path, run: Run) -> None:
    whole = os.urandom(20_000_000)

    async def story() -> None:
        async with Bucket(bucket, copies=tmp_path / "copies") as storage:
            await storage.put(KEY, file(tmp_path, whole))
            async with storage.local(KEY) as copy:
                assert copy.read_bytes() == whole
                assert stat.S_IMODE(copy.stat().st_mode) == 0o600
            assert list((tmp_path / "copies").iterdir()) == []

    run(story())


def test_nodes_see_what_another_one_put_into_their_bucket(
    bucket: str, tmp_path: Path, run: Run
) -> None:
    async def story() -> None:
        async with (
            Bucket(bucket, copies=tmp_path / "a") as one,
            Bucket(bucket, copies=tmp_path / "b") as other,
        ):
            await one.put(KEY, file(tmp_path, b"hello"))
            assert await content(other, KEY) == b"hello"

    run(story())


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_told_at_the_start(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        with pytest.raises(TelecineError, match="s3://nobody/has/this can not be used"):
            async with Bucket("s3://nobody/has/this", copies=tmp_path):
                pass

    run(story())


def test_a_store_that_is_gone_is_a_failure_that_may_be_tried_again(
    bucket: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telecine.storage.objects._RETRY", {"max_retries": 0})

    async def story() -> None:
        async with Bucket(bucket, copies=tmp_path / "copies") as storage:
            monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
            storage._store = objects._store(bucket)
            path = file(tmp_path, b"hello")
            with pytest.raises(StorageFailed) as failed:
                await storage.put(KEY, path)
            assert failed.value.retryable
            assert path.exists()

    run(story())
