"""A whole server in process: real keys, files, database, queue and worker; its clock stands at AT."""

import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

from tests.fakes.api import Inference
from tests.fakes.asgi import Browser
from tests.fakes.jobs import House

from telecine.api.parts import Parts
from telecine.api.routes import application
from telecine.jobs.bells import Bells
from telecine.jobs.deliveries import Deliveries
from telecine.jobs.signing import SigningKeys
from telecine.keys import Keys
from telecine.media.spool import Spool
from telecine.providers.echo import Echo
from telecine.providers.registry import Registry

AT = datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()


@asynccontextmanager
async def opened(tmp_path, **options):
    """Two keys, one of them ADMIN's, and browsers for them and for a stranger."""
    clock = SimpleNamespace(now=AT)
    async with (
        House(tmp_path, clock=lambda: clock.now, **options) as house,
        Spool(tmp_path / "spool", max_bytes_per_key=10**7, max_file_bytes=10**7) as spool,
        Echo("echo") as echo,
    ):
        keys = Keys(db=house.db, clock=lambda: clock.now, secret=bytes(32))
        parts = Parts(
            db=house.db,
            deliveries=Deliveries(db=house.db, bells=Bells(), clock=time.time),
            signing_keys=SigningKeys(tmp_path / "webhook-keys.json", clock=time.time),
            storage=house.storage,
            files=house.files,
            keys=keys,
            spool=spool,
            registry=Registry({"echo": echo}, {}),
            inference=Inference(),
            queue=house.queue,
            worker=house.worker,
            clock=lambda: clock.now,
        )
        app = application(parts)
        plain = await keys.create("plain")
        admin = await keys.create("boss", ["API", "ADMIN"])
        yield SimpleNamespace(
            app=app,
            house=house,
            files=house.files,
            clock=clock,
            keys=keys,
            plain=plain,
            boss=admin,
            call=Browser(app, key=plain.key),
            admin=Browser(app, key=admin.key),
            stranger=Browser(app, key=None),
            folder=tmp_path,
        )


def serving(run, folder, url=None):
    """Run a test's coroutine function against a server whose clock stands at AT."""

    def serve(test, **options):
        async def main():
            async with opened(folder, url=url, **options) as server:
                return await test(server)

        return run(main())

    return serve
