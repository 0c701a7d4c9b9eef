"""What commands share: options, settings, tables."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer

from telecine import settings
from telecine.settings import Settings

T = TypeVar("T")

DataDir = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The data folder.", show_default=False),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The settings file.", show_default="./telecine.toml"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Failed(Exception):
    """A command can not go on; the message is for the user."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def load(config: Path | None, data: Path | None = None, **flags: Any) -> Settings:
    """The settings that this command runs with. `flags` are named section_name.

    Raises SettingsError.
    """
    named = {name.replace("_", ".", 1): value for name, value in flags.items()}
    return settings.load(config=config, flags={"data.dir": data, **named})


def secrets(settings: Settings) -> list[str]:
    """What must not stand in a log, whatever it looks like."""
    keys = [provider.api_key for provider in settings.providers.values()]
    logins = [urlsplit(url).password for url in (settings.database.url, settings.storage.url)]
    return [key for key in (*keys, *logins, settings.auth.bootstrap_key) if key]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def prepare(folder: Path) -> str | None:
    """Make the data folder, for this user alone. A sentence when others can read it all the same.

    A folder of ours that others can read is closed to them; one that holds other things is not
    touched, as somebody may rely on it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise Failed(f"the data folder {folder} can not be made ({error.strerror})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Failed(f"the data folder {folder} can not be written to; choose one with --data")
    if not stat.S_IMODE(found.st_mode) & 0o077:
        return None
    is_ours = (folder / "telecine.db").exists() or not any(folder.iterdir())
    if is_ours and found.st_uid == os.geteuid():
        folder.chmod(0o700)
        return None
    return f"others can read the data folder {folder}: chmod 700 {folder}"


def moment(at: datetime | float | None) -> str | None:
    """A time of ours in UTC, to the second."""
    if at is None:
        return None
    when = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned columns on stdout, with a header on a terminal; that there are none, on stderr."""
    # What callers chose, a model's name say, may hold escapes that would command the terminal.
    cells = [["" if cell is None else _printable(str(cell)) for cell in row] for row in rows]
    if not cells:
        typer.echo("none yet", err=True)
    elif sys.stdout.isatty():
        cells.insert(0, [column.upper() for column in columns])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(padded).rstrip())
