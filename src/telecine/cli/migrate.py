"""telecine migrate: brings the database's schema up to date, or says what is missing."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from telecine.cli import common
from telecine.cli.common import ConfigFile, DataDir
from telecine.settings import Settings


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 if something is missing.")
    ] = False,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Bring the database up to date. Servers do so when they start; this is for those that may not
    change the schema, and for knowing beforehand."""
    settings = common.load(config, data)
    missing = common.run(_pending(settings))
    if check:
        typer.echo(f"{missing} migrations are missing" if missing else "the schema is current")
        raise typer.Exit(1 if missing else 0)
    common.run(_migrate(settings))
    typer.echo(f"{missing} migrations done" if missing else "the schema was current")


async def _pending(settings: Settings) -> int:
    if settings.database.url:
        from telecine.db import postgres

        return await postgres.pending(settings.database.url)
    from telecine.db import sqlite

    return await asyncio.to_thread(sqlite.pending, settings.database_file)


async def _migrate(settings: Settings) -> None:
    if settings.database.url:
        from telecine.jobs import pgqueuer

        await pgqueuer.migrate(settings.database.url)
        return
    from telecine.cli.parts import opened_database

    async with opened_database(settings):
        pass
