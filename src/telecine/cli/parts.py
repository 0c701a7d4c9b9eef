"""What commands open to work without a server."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from telecine.cli.common import prepare
from telecine.settings import Settings

if TYPE_CHECKING:
    from telecine.db.sqlite import SQLite
    from telecine.inference import Inference
    from telecine.keys import Keys
    from telecine.providers.base import Provider


@asynccontextmanager
async def opened_database(settings: Settings) -> AsyncIterator[SQLite]:
    from telecine.db.sqlite import SQLite

    prepare(settings.data.dir)
    async with SQLite(settings.database_file) as db:
        yield db


@asynccontextmanager
async def opened_keys(settings: Settings) -> AsyncIterator[Keys]:
    from telecine.keys import Keys, load_secret

    async with opened_database(settings) as db:
        yield Keys(db=db, clock=time.time, secret=load_secret(settings.secret_file))


@asynccontextmanager
async def opened_providers(settings: Settings) -> AsyncIterator[Mapping[str, Provider]]:
    from telecine import app

    async with app.client(settings) as client, app.opened_registry(settings, client) as registry:
        yield registry.providers


@asynccontextmanager
async def opened_inference(settings: Settings) -> AsyncIterator[Inference]:
    """The pipeline by itself: nothing is kept, and temporary files go with it."""
    from telecine import app

    with tempfile.TemporaryDirectory(prefix="telecine-") as folder:
        async with app.opened_inference(settings, spool=Path(folder)) as inference:
            yield inference
