"""telecine worker: runs queued requests of an installation that several nodes share."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Annotated

import typer

from telecine import __version__
from telecine.cli import common
from telecine.cli.common import ConfigFile, DataDir, Failed
from telecine.settings import Settings


def worker(
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Queued requests run at once here.", show_default="16"
        ),
    ] = None,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Run queued requests, without a server: PostgreSQL and files that all nodes see."""
    settings = common.load(config, data, jobs_slots=jobs)
    if not settings.database.url:
        raise Failed(
            "a worker of its own needs PostgreSQL: set database.url (TELECINE_DATABASE_URL)."
            " With SQLite, telecine serve runs the queued requests",
            code=2,
        )
    if not settings.storage.url:
        raise Failed(
            "a worker needs the files that came in elsewhere: set storage.url"
            " (TELECINE_STORAGE_URL) to a bucket, or to file:///FOLDER for one that all nodes see",
            code=2,
        )
    if not settings.jobs.slots:
        raise Failed("a worker that runs no requests has nothing to do: --jobs 1 or more", code=2)
    common.run(_work(settings))


async def _work(settings: Settings) -> None:
    from telecine import app, telemetry

    telemetry.set_up_logging(secrets=common.secrets(settings))
    if warning := common.prepare(settings.data.dir):
        logging.getLogger("telecine.worker").warning(warning)
    ended = asyncio.Event()
    async with app.opened(settings) as opened:

        def stop() -> None:
            """Once: what runs gets its time. Twice: it waits for another node."""
            opened.stop()
            ended.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        typer.echo(f"Telecine {__version__} runs {settings.jobs.slots} queued requests at once")
        await ended.wait()
