"""Builds every part from the settings, opens them in order, closes them in reverse.

The only place besides the command line that reads settings; everybody else is handed values.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from telecine import __version__
from telecine.api.parts import Parts
from telecine.api.routes import application
from telecine.db.sqlite import SQLite
from telecine.errors import TelecineError
from telecine.files import Files
from telecine.inference import Inference
from telecine.jobs import signing
from telecine.jobs.bells import Bells
from telecine.jobs.deliverer import Deliverer
from telecine.jobs.deliveries import Deliveries
from telecine.jobs.executor import InProcess
from telecine.jobs.gate import Gate, Lane, LaneOf
from telecine.jobs.queue import Queue
from telecine.jobs.states import States
from telecine.jobs.worker import Worker
from telecine.keys import Keys, load_secret
from telecine.media.pool import Pool
from telecine.media.sources import Sources
from telecine.media.spool import Spool
from telecine.models import Request
from telecine.net import Client
from telecine.providers.base import Provider
from telecine.providers.registry import Registry
from telecine.settings import ProviderSettings, Settings
from telecine.storage.base import Storage
from telecine.storage.local import LocalStorage

_log = logging.getLogger("telecine.app")

OwnFile = Callable[[str, Request], Awaitable[tuple[str, str] | None]]

TIDY_SECONDS = 60.0
FAREWELL_SECONDS = 5.0  # for webhooks that are under way when the server stops
LOCAL_JOBS = 2  # an embedded model does one job at a time; another is fetched and opened meanwhile
_DAY = 24 * 3600.0


def client(settings: Settings) -> Client:
    """The one way out, not yet open."""
    return Client(
        allow=settings.net.allow,
        proxy=settings.net.proxy,
        connect_seconds=settings.net.connect_seconds,
        user_agent=f"telecine/{__version__}",
    )


def providers(settings: Settings, client: Client) -> dict[str, Provider]:
    """Every configured provider by name, not yet open."""
    return {
        name: _provider(name, provider, settings, client)
        for name, provider in settings.providers.items()
    }


def _provider(
    name: str, provider: ProviderSettings, settings: Settings, client: Client
) -> Provider:
    match provider.type:
        case "echo":
            from telecine.providers.echo import Echo

            return Echo(name)
        case "local":
            from telecine.providers.local import Local

            return Local(
                name, weights_dir=settings.local.weights_dir, threads=settings.local.threads
            )
        case "openrouter":
            from telecine.providers.openrouter import OpenRouter

            return OpenRouter(
                name,
                client=client,
                base_url=provider.base_url or "",
                api_key=provider.api_key,
                models=provider.models,
            )
        case "openai":
            from telecine.providers.openai_compatible import OpenAICompatible

            return OpenAICompatible(
                name,
                client=client,
                base_url=provider.base_url or "",
                api_key=provider.api_key,
                dialect=provider.dialect,
                models=provider.models,
                video=provider.video,
            )
        case other:
            raise ValueError(f"providers.{name}: type {other} is not in this version")


@asynccontextmanager
async def opened_registry(settings: Settings, client: Client) -> AsyncIterator[Registry]:
    async with AsyncExitStack() as stack:
        opened: Mapping[str, Provider] = providers(settings, client)
        for provider in opened.values():
            await stack.enter_async_context(provider)
        yield Registry(opened, settings.models.aliases)


async def lanes(settings: Settings, registry: Registry) -> LaneOf:
    """Jobs of an embedded provider share a lane, so that they line up at the gate, which is fair
    between keys, and not at its engine; live calls wait there. All others: one lane per model.

    It follows `Registry.resolve` as far as names alone go, without asking anybody.
    """
    aliases, most = settings.models.aliases, settings.jobs.running_per_model
    offered = {
        name: {model.id for model in await provider.models()}
        for name, provider in registry.providers.items()
        if settings.providers[name].type == "local"
    }

    def named(model: str) -> str | None:
        prefix, _, rest = model.partition("/")
        return prefix if rest and prefix in registry.providers else None

    def lane(model: str) -> Lane:
        name = aliases.get(model, model)
        provider = named(name)
        if provider is None and name == model and "*" in aliases:
            name = aliases["*"]
            provider = named(name)
        if provider is None:
            provider = next((local for local, ids in offered.items() if name in ids), None)
        if provider in offered:
            return Lane(provider, min(LOCAL_JOBS, most or LOCAL_JOBS), counts_live=False)
        return Lane(model, most)

    return lane


def _sources(
    settings: Settings,
    *,
    client: Client,
    spool: Spool,
    pool: Pool,
    storage: Storage,
    own_file: OwnFile,
) -> Sources:
    return Sources(
        client=client,
        spool=spool,
        pool=pool,
        storage=storage,
        own_file=own_file,
        max_bytes=settings.media.max_bytes,
        max_seconds=settings.net.fetch_seconds,
        max_redirects=settings.net.max_redirects,
    )


def _pool(settings: Settings) -> Pool:
    return Pool(
        size=settings.media.processes,
        memory_bytes=settings.media.process_memory_bytes,
        cpu_seconds=settings.media.process_cpu_seconds,
    )


def _spool(settings: Settings, folder: Path) -> Spool:
    return Spool(
        folder,
        max_bytes_per_key=settings.media.spool_bytes_per_key,
        max_file_bytes=settings.media.max_bytes,
    )


@asynccontextmanager
async def opened_inference(settings: Settings, *, spool: Path) -> AsyncIterator[Inference]:
    """The pipeline alone, for `telecine run`: no database, nothing kept."""

    async def no_file(_url: str, _request: Request) -> None:
        return None

    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        net = await enter(client(settings))
        registry = await enter(opened_registry(settings, net))
        sources = _sources(
            settings,
            client=net,
            spool=await enter(_spool(settings, spool / "spool")),
            pool=await enter(_pool(settings)),
            storage=await enter(LocalStorage(spool / "objects")),
            own_file=no_file,
        )
        yield Inference(registry=registry, sources=sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A server, all of it open: the ASGI side, and the keys for whoever shows the first one.

    `stop`: take no new work from now on; what runs gets `server.stop_seconds`.
    """

    asgi: ASGIApp
    keys: Keys
    stop: Callable[[], None]


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[App]:
    """Gateway, worker and database. When the block ends: no new work, running requests get
    `server.stop_seconds`, the rest wait for the next start."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        secret = load_secret(settings.secret_file)
        db = await enter(SQLite(settings.database_file))
        storage = await enter(LocalStorage(settings.storage_dir))
        spool = await enter(_spool(settings, settings.spool_dir))
        net = await enter(client(settings))
        registry = await enter(opened_registry(settings, net))
        files = Files(
            db=db,
            storage=storage,
            clock=time.time,
            expires_seconds=settings.retention.upload_days * _DAY,
            max_file_bytes=settings.media.max_bytes,
            max_key_bytes=settings.storage.bytes_per_key,
            secret=secret,
        )
        keys = Keys(db=db, clock=time.time, secret=secret)
        if settings.auth.bootstrap_key:
            await keys.ensure(settings.auth.bootstrap_key)
        sources = _sources(
            settings,
            client=net,
            spool=spool,
            pool=await enter(_pool(settings)),
            storage=storage,
            own_file=files.own,
        )
        inference = Inference(registry=registry, sources=sources)
        bells = Bells()
        signing_keys = signing.SigningKeys(settings.data.dir / signing.FILE, clock=time.time)
        queue, worker = await _opened_jobs(
            settings,
            stack,
            db=db,
            net=net,
            files=files,
            inference=inference,
            lane=await lanes(settings, registry),
            bells=bells,
            signing_keys=signing_keys,
        )
        await enter(_housekeeping(files))
        parts = Parts(
            db=db,
            storage=storage,
            files=files,
            keys=keys,
            spool=spool,
            registry=registry,
            queue=queue,
            worker=worker,
            deliveries=Deliveries(db=db, bells=bells, clock=time.time),
            signing_keys=signing_keys,
            public_url=settings.server.public_url,
            is_open=not settings.auth.required,
            max_json_bytes=settings.media.max_json_bytes,
        )
        yield App(asgi=application(parts), keys=keys, stop=worker.stop)


async def _opened_jobs(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    db: SQLite,
    net: Client,
    files: Files,
    inference: Inference,
    lane: LaneOf,
    bells: Bells,
    signing_keys: signing.SigningKeys,
) -> tuple[Queue, Worker]:
    states = States(keep_seconds=settings.retention.payload_days * _DAY)
    executor = await stack.enter_async_context(
        InProcess(
            db=db,
            states=states,
            lock=settings.data.dir / "worker.lock",
            stop_seconds=settings.server.stop_seconds,
            clock=time.time,
        )
    )
    # Before the worker, so that it outlives it: what ends during a stop is still told.
    await stack.enter_async_context(
        Deliverer(
            db=db,
            client=net,
            keys=signing_keys,
            bells=bells,
            clock=time.time,
            keep_seconds=settings.retention.payload_days * _DAY,
            stop_seconds=min(settings.server.stop_seconds, FAREWELL_SECONDS),
        )
    )
    gate = Gate(
        db=db,
        executor=executor,
        states=states,
        bells=bells,
        clock=time.time,
        slots=settings.jobs.slots,
        per_key=settings.jobs.running_per_key,
        lane=lane,
        depth=settings.jobs.queue_depth,
    )
    worker = await stack.enter_async_context(
        Worker(
            db=db,
            pipeline=inference.run,
            gate=gate,
            executor=executor,
            states=states,
            bells=bells,
            slots=settings.jobs.slots,
            run_seconds=settings.jobs.run_seconds,
            clock=time.time,
        )
    )
    queue = Queue(
        db=db,
        files=files,
        gate=gate,
        executor=executor,
        states=states,
        bells=bells,
        clock=time.time,
    )
    return queue, worker


@asynccontextmanager
async def _housekeeping(files: Files) -> AsyncIterator[None]:
    """Expired files go every minute, and every hour what an interrupted upload left behind."""

    async def tidy() -> None:
        for minute in itertools.count():
            try:
                if minute % 60 == 0:
                    await files.sweep()
                await files.collect(time.time())
            except (TelecineError, OSError) as error:
                _log.error("files past their time are still there: %s", error)
            await asyncio.sleep(TIDY_SECONDS)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(tidy(), name="telecine housekeeping")
        yield
        task.cancel()
