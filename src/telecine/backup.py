"""A copy of an installation that is in use, and the way back. SQLite and a local folder only.

A backup is a folder: the database as it was at one moment (SQLite's own backup, which a server may
write beside), every object that this database names, the installation's secret and its webhook
keys, and a list of it all with hashes, written last: a folder without it is no backup.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from telecine import __version__
from telecine.errors import TelecineError
from telecine.storage.local import place

LIST = "backup.json"
_DATABASE = "telecine.db"
_PAGES_AT_ONCE = 2000  # of the database, before whoever else wants it gets a turn
_ROUNDS = 10
_CHUNK = 1024 * 1024


class BackupFailed(TelecineError):
    """Nothing was changed but for what the message names."""

    type = "backup_failed"


def make(target: Path, *, database: Path, objects: Path, others: dict[str, Path]) -> dict[str, Any]:
    """Write a backup into `target`, which must not be there yet; returns its list.

    `others`: small files, by the name they have in the backup; those that are not there are left
    out. Works beside running servers. Durable when it returns. Raises BackupFailed.
    """
    if target.exists():
        raise BackupFailed(f"{target} is there already; name a new folder")
    if not database.exists():
        raise BackupFailed(f"there is no database {database}")
    draft = target.with_name(target.name + ".partial")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        _make_folder(draft)
        (draft / "objects").mkdir(mode=0o700)
        _copy_consistently(draft, database, objects)
        for name, path in others.items():
            with contextlib.suppress(FileNotFoundError):
                _copy(path, draft / name)
        listed = _listed(draft)
        _write(draft / LIST, json.dumps(listed, indent=1).encode())
        _sync_folders(draft)
        draft.rename(target)
        _sync_folder(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise BackupFailed(f"the backup could not be written: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return listed


def restore(source: Path, *, database: Path, objects: Path, others: dict[str, Path]) -> int:
    """Put a backup where nothing is yet; returns how many files it has.

    Every byte is compared with the list first. Raises BackupFailed.
    """
    files = verify(source)
    folder = database.parent
    taken = [path for path in (database, objects, *others.values()) if _is_in_use(path)]
    if taken:
        raise BackupFailed(f"{taken[0]} is there already; restore into a data folder that is empty")
    try:
        with _nobody_works_in(folder):
            for name in files:
                if name != _DATABASE:
                    to = _target(name, objects, others)
                    _make_folder(to.parent)
                    _copy(source / name, to)
            _sync_folders(folder)
            if objects.exists():
                _sync_folders(objects)
            # Last: what has no database is started afresh, so a restore that broke off is seen.
            _copy(source / _DATABASE, database)
            _sync_folder(folder)
    except OSError as error:
        raise BackupFailed(f"it could not be restored into {folder}: {error}") from error
    return len(files)


def verify(source: Path) -> list[str]:
    """The names of a backup's files; each is there, and what it was. Raises BackupFailed."""
    try:
        listed = json.loads((source / LIST).read_text())
        files: dict[str, str] = listed["files"]
        for name, sha256 in files.items():
            path = source / name
            if ".." in Path(name).parts or path.is_symlink() or _sha256(path) != sha256:
                raise BackupFailed(f"{path} is not what was backed up: its bytes changed")
    except FileNotFoundError as error:
        raise BackupFailed(
            f"{source} is no complete backup: {error.filename} is missing"
        ) from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BackupFailed(f"{source} is no backup that can be read: {error}") from error
    if _DATABASE not in files:
        raise BackupFailed(f"{source} is no backup: it has no database")
    return list(files)


def _copy_consistently(draft: Path, database: Path, objects: Path) -> None:
    """The database, and all objects that it names, which may come and go while this works.

    They are held by a second name first, which takes no time; only then are they copied.
    """
    with _held(objects) as held:
        for _ in range(_ROUNDS):
            _hold_all(objects, held)
            keys = _snapshot(database, draft / _DATABASE)
            missing = [key for key in keys if not _hold(objects, held, key)]
            if not missing:
                break
        else:
            raise BackupFailed(f"files are missing that the database names, such as {missing[0]}")
        for key in sorted(keys):
            target = place(draft / "objects", key)
            _make_folder(target.parent)
            _copy(held / target.name, target)


@contextlib.contextmanager
def _held(objects: Path) -> Iterator[Path]:
    """A folder for second names, on the same file system."""
    for left in objects.parent.glob("backup-*"):
        with contextlib.suppress(OSError), _alone(left):
            shutil.rmtree(left, ignore_errors=True)  # of one that was killed
    folder = objects.parent / f"backup-{secrets.token_hex(8)}"
    _make_folder(folder)
    try:
        with _alone(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds a lock on a file or folder. Raises BlockingIOError when another process does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _hold_all(objects: Path, held: Path) -> None:
    for path in objects.glob("??/??/*"):
        _link(path, held / path.name)


def _hold(objects: Path, held: Path, key: str) -> bool:
    path = place(objects, key)
    _link(path, held / path.name)
    return (held / path.name).exists()


def _link(path: Path, name: Path) -> None:
    with contextlib.suppress(FileExistsError, FileNotFoundError):
        os.link(path, name)


def _snapshot(source: Path, target: Path) -> set[str]:
    """Copy the database as it is at one moment; returns the keys of its objects."""
    target.unlink(missing_ok=True)
    with (
        contextlib.closing(
            sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)
        ) as db,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        os.chmod(target, 0o600)
        db.execute("PRAGMA busy_timeout = 30000")
        # One read transaction, so that writers do not make it begin anew.
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        db.backup(copy, pages=_PAGES_AT_ONCE, sleep=0.0)
        db.execute("ROLLBACK")
        copy.execute("PRAGMA journal_mode = DELETE")
        if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise BackupFailed(f"the database {source} is damaged: PRAGMA quick_check says so")
        keys = {key for (key,) in copy.execute("SELECT key FROM objects")}
    _sync_file(target)
    return keys


def _listed(folder: Path) -> dict[str, Any]:
    return {
        "version": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": {name: _sha256(folder / name) for name in sorted(_names(folder))},
    }


def _names(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _target(name: str, objects: Path, others: dict[str, Path]) -> Path:
    return others.get(name) or objects / Path(name).relative_to("objects")


def _is_in_use(path: Path) -> bool:
    return any(path.rglob("*")) if path.is_dir() else path.exists()


@contextlib.contextmanager
def _nobody_works_in(folder: Path) -> Iterator[None]:
    """No server of that folder can start meanwhile: it takes the same lock."""
    _make_folder(folder)
    lock = folder / "worker.lock"
    os.close(os.open(lock, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        with _alone(lock):
            yield
    except BlockingIOError as error:
        raise BackupFailed(f"a server works in {folder}: stop it first") from error


def _make_folder(folder: Path) -> None:
    """With its parents, all of them private."""
    if not folder.parent.is_dir():
        _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        descriptor = os.open(target, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as copy:
            shutil.copyfileobj(file, copy, _CHUNK)
            copy.flush()
            os.fsync(copy.fileno())


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folders(folder: Path) -> None:
    for each in folder.rglob("*"):
        if each.is_dir():
            _sync_folder(each)
    _sync_folder(folder)


_sync_folder = _sync_file
