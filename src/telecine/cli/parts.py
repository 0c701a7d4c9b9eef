"""What commands open to work without a server."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from telecine.cli.common import prepare
from telecine.settings import Settings

if TYPE_CHECKING:
    from telecine.db.base import Database
    from telecine.inference import Inference
    from telecine.keys import Keys
    from telecine.providers.registry import Registry


@asynccontextmanager
async def opened_database(settings: Settings) -> AsyncIterator[Database]:
    from telecine import app

    prepare(settings.data.dir)
    async with app.database(settings) as db:
        yield db


@asynccontextmanager
async def opened_keys(settings: Settings) -> AsyncIterator[Keys]:
    from telecine import app
    from telecine.keys import Keys

    async with opened_database(settings) as db:
        yield Keys(db=db, clock=time.time, secret=await app.secret(settings, db))


@asynccontextmanager
async def opened_registry(settings: Settings) -> AsyncIterator[Registry]:
    from telecine import app

    async with app.client(settings) as client, app.opened_registry(settings, client) as registry:
        yield registry


@asynccontextmanager
async def opened_inference(settings: Settings) -> AsyncIterator[Inference]:
    """The pipeline by itself: nothing is kept, and temporary files go with it."""
    from telecine import app

    with tempfile.TemporaryDirectory(prefix="telecine-") as folder:
        async with app.opened_inference(settings, spool=Path(folder)) as inference:
            yield inference
