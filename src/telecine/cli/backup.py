"""telecine backup, telecine restore: all of an installation, while it serves, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from telecine.cli.common import ConfigFile, DataDir, Failed, load
from telecine.settings import Settings

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", show_default=False)]


def backup(folder: Folder, data: DataDir = None, config: ConfigFile = None) -> None:
    """Copy the database, the files and the secrets into a new FOLDER; servers go on meanwhile."""
    from telecine import backup

    settings = _local(load(config, data))
    listed = backup.make(
        folder,
        database=settings.database_file,
        objects=settings.storage_dir,
        others=_others(settings),
    )
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    typer.echo(f"{len(listed['files'])} files, {size / 1e6:.1f} MB, in {folder}", err=True)
    typer.echo("Whoever has it can sign in: keep it as safe as the data folder.", err=True)


def restore(folder: Folder, data: DataDir = None, config: ConfigFile = None) -> None:
    """Check every byte of the backup in FOLDER, then put it into an empty data folder."""
    from telecine import backup

    settings = _local(load(config, data))
    number = backup.restore(
        folder,
        database=settings.database_file,
        objects=settings.storage_dir,
        others=_others(settings),
    )
    typer.echo(f"{number} files restored into {settings.data.dir}", err=True)


def _others(settings: Settings) -> dict[str, Path]:
    from telecine.jobs import signing

    return {
        "secret": settings.secret_file,
        signing.FILE: settings.data.dir / signing.FILE,
    }


def _local(settings: Settings) -> Settings:
    if settings.database.url or settings.storage.url:
        raise Failed(
            "this backs up the embedded database and folder; for PostgreSQL and buckets see"
            " docs/how-to/back-up.md"
        )
    return settings
