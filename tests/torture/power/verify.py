"""Whether a folder, as a power cut left it, keeps what was promised before the cut."""

import contextlib
import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.torture.power import replay

from telecine.storage.local import place

HERE = Path(__file__).parent
PROJECT = HERE.parents[2]


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def recorder(folder: Path) -> Path:
    """The library that is preloaded, compiled."""
    library = folder / "recorder.so"
    subprocess.run(
        [
            compiler(),
            "-shared",
            "-fPIC",
            "-O1",
            "-o",
            library,
            HERE / "recorder.c",
            "-ldl",
            "-lpthread",
        ],
        check=True,
        capture_output=True,
    )
    return library


def recorded(
    folder: Path, library: Path, *, jobs: int, how: str | None = None
) -> list[replay.Step]:
    """What the workload did to its folder."""
    root, record = folder / "root", folder / "record"
    root.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.torture.power.workload", str(root), str(jobs)]
    done = subprocess.run(
        command + ([how] if how else []),
        cwd=PROJECT,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT}",
            "LD_PRELOAD": str(library),
            "POWER_ROOT": str(root),
            "POWER_RECORD": str(record),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return replay.read(record)


def broken(folder: Path, promises: list[str]) -> list[str]:
    """The promises that the folder does not keep, each in a sentence; empty: all is well."""
    said = [json.loads(promise) for promise in promises]
    found = []
    for promise in said:
        if "secret" in promise:
            path = folder / "secret"
            text = path.read_text() if path.exists() else ""
            if (
                len(text) != 64
                or hashlib.sha256(bytes.fromhex(text)).hexdigest() != promise["secret"]
            ):
                found.append("the secret is lost")
    needs_rows = [promise for promise in said if "secret" not in promise]
    if not needs_rows:
        return found
    if not (folder / "telecine.db").exists():
        return [*found, "the database is lost"]
    with contextlib.closing(sqlite3.connect(folder / "telecine.db")) as db:
        try:
            if db.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return [*found, "the database is damaged"]
            return [*found, *(line for each in needs_rows for line in _lost(db, folder, each))]
        except sqlite3.DatabaseError as error:
            return [*found, f"the database is damaged: {error}"]


def _lost(db, folder, promise):
    if "key" in promise:
        row = db.execute("SELECT 1 FROM keys WHERE id = ?", [promise["key"]]).fetchone()
        return [] if row else [f"key {promise['key']} is lost"]
    if "file" in promise:
        row = db.execute("SELECT object FROM files WHERE id = ?", [promise["file"]]).fetchone()
        name = f"file {promise['file']}"
        return [f"{name} is lost"] if row is None else _bytes(folder, row[0], promise, name)
    row = db.execute(
        "SELECT state, attachments FROM requests WHERE id = ?", [promise["job"]]
    ).fetchone()
    name = f"job {promise['job']}"
    if row is None:
        return [f"{name} is lost"]
    if row[0] not in ("queued", "running"):
        return []  # done: its bytes may go
    (attached,) = json.loads(row[1]).values()
    return _bytes(folder, attached["object"], promise, name)


def _bytes(folder, key, promise, name):
    path = place(folder / "objects", key)
    if not path.exists():
        return [f"the bytes of {name} are lost"]
    if hashlib.sha256(path.read_bytes()).hexdigest() != promise["bytes"]:
        return [f"the bytes of {name} are damaged"]
    return []
