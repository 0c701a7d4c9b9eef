"""Builds every part from the settings, opens them in order, closes them in reverse.

The only place besides the command line that reads settings; everybody else is handed values.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from telecine import __version__
from telecine.api.parts import Locked, Parts, Upstream
from telecine.api.routes import application
from telecine.db.base import Database, DatabaseFailed
from telecine.db.shared import SharedFile
from telecine.db.sqlite import SQLite
from telecine.errors import TelecineError
from telecine.files import Files
from telecine.inference import SEGMENTS_AT_ONCE, Inference
from telecine.jobs import signing
from telecine.jobs.bells import Bells
from telecine.jobs.deliverer import Deliverer
from telecine.jobs.deliveries import Deliveries
from telecine.jobs.executor import Executor, InProcess
from telecine.jobs.gate import Gate, Lane, LaneOf, SlotsOf
from telecine.jobs.queue import Queue
from telecine.jobs.settler import Settler
from telecine.jobs.states import States
from telecine.jobs.worker import Worker
from telecine.keys import Keys, load_secret
from telecine.media.pool import Pool
from telecine.media.prepare import Preparer, Transcriber
from telecine.media.scan import Memory
from telecine.media.sources import Sources
from telecine.media.spool import Spool
from telecine.media.youtube import YouTube
from telecine.models import Request
from telecine.net import Client
from telecine.providers.base import Provider
from telecine.providers.catalog import Override, Price, per_token
from telecine.providers.registry import Registry
from telecine.settings import (
    BY_KEY_ALONE,
    KEY_VARIABLES,
    NEED_A_KEY,
    ModelSettings,
    ProviderSettings,
    Settings,
)
from telecine.storage.base import Storage
from telecine.storage.local import LocalStorage

_log = logging.getLogger("telecine.app")

OwnFile = Callable[[str, Request], Awaitable[tuple[str, str] | None]]

TIDY_SECONDS = 60.0
FAREWELL_SECONDS = 5.0  # for webhooks that are under way when the server stops
LOCAL_JOBS = 2  # an embedded model does one job at a time; another is fetched and opened meanwhile
BODIES_BYTES = 256 * 1024 * 1024  # of all calls that are read or answered, without their media
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
        case "gemini":
            from telecine.providers.gemini import Gemini

            return Gemini(
                name,
                client=client,
                base_url=provider.base_url or "",
                api_key=provider.api_key,
                models=provider.models,
            )
        case "anthropic":
            from telecine.providers.anthropic import Anthropic

            return Anthropic(
                name,
                client=client,
                base_url=provider.base_url or "",
                api_key=provider.api_key,
                models=provider.models,
            )


def upstreams(settings: Settings) -> dict[str, Upstream]:
    """What people may know of each configured provider."""
    return {
        name: Upstream(
            type=each.type,
            host=urlsplit(each.base_url or "").hostname,
            key_variable=each.api_key_env,
            has_key=bool(each.api_key) if each.type in NEED_A_KEY or each.api_key_env else None,
        )
        for name, each in settings.providers.items()
    }


def locked(settings: Settings) -> list[Locked]:
    """The types of provider for which there is no key."""
    unlocked = {each.type for each in settings.providers.values() if each.api_key}
    return [
        Locked(type=kind, key_variables=names, fix=_unlocks(kind, names))
        for kind, names in KEY_VARIABLES.items()
        if kind not in unlocked
    ]


def _unlocks(kind: str, names: Sequence[str]) -> str:
    key = f"export {names[0]}=... before telecine serve"
    return key if kind in BY_KEY_ALONE else f"put [providers.{kind}] into telecine.toml, and {key}"


@asynccontextmanager
async def opened_registry(settings: Settings, client: Client) -> AsyncIterator[Registry]:
    async with AsyncExitStack() as stack:
        opened: Mapping[str, Provider] = providers(settings, client)
        for provider in opened.values():
            await stack.enter_async_context(provider)
        yield Registry(
            opened,
            settings.models.aliases,
            overrides={
                name: _override(model, settings.file)
                for name, model in settings.models.catalog.items()
            },
            frames=[name for name, each in settings.providers.items() if each.video == "frames"],
            keyless={
                name: each.api_key_env or ""
                for name, each in settings.providers.items()
                if each.type in NEED_A_KEY and not each.api_key
            },
            routes={
                name: each.dialect if each.type == "openai" else each.type
                for name, each in settings.providers.items()
            },
        )


def _override(model: ModelSettings, file: Path | None) -> Override:
    """What the operator says of a model, in the catalog's words."""
    said = {
        each.name: getattr(model, each.name) for each in fields(Override) if each.name != "price"
    }
    if model.price_prompt is None or model.price_completion is None:
        return Override(**said)
    prompt, completion = per_token(model.price_prompt), per_token(model.price_completion)
    price = Price(
        prompt=prompt,
        completion=completion,
        cached=None if model.price_cached is None else per_token(model.price_cached),
        audio=None if model.price_audio is None else per_token(model.price_audio),
        source=file.name if file else "settings",
    )
    return Override(**said, price=price)


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
        youtube=(
            YouTube(proxy=settings.net.proxy) if settings.media.youtube == "download" else None
        ),
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


def _inference(
    settings: Settings, *, registry: Registry, sources: Sources, pool: Pool
) -> Inference:
    most = settings.jobs.running_per_model or SEGMENTS_AT_ONCE
    return Inference(
        registry=registry,
        sources=sources,
        preparer=Preparer(pool, _transcriber(registry)),
        segments_at_once=min(SEGMENTS_AT_ONCE, most),
    )


def _transcriber(registry: Registry) -> Transcriber | None:
    """The embedded speech model, for those that do not hear; whether it has weights, it says."""
    each = registry.providers.values()
    return next((provider for provider in each if isinstance(provider, Transcriber)), None)


@asynccontextmanager
async def opened_inference(settings: Settings, *, spool: Path) -> AsyncIterator[Inference]:
    """The pipeline alone, for `telecine run`: no database, nothing kept."""

    async def no_file(_url: str, _request: Request) -> None:
        return None

    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        net = await enter(client(settings))
        registry = await enter(opened_registry(settings, net))
        pool = await enter(_pool(settings))
        sources = _sources(
            settings,
            client=net,
            spool=await enter(_spool(settings, spool / "spool")),
            pool=pool,
            storage=await enter(LocalStorage(spool / "objects")),
            own_file=no_file,
        )
        yield _inference(settings, registry=registry, sources=sources, pool=pool)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A server, all of it open: the ASGI side, and the keys for whoever shows the first one.

    `stop`: take no new work from now on; what runs gets `server.stop_seconds`.
    """

    asgi: ASGIApp
    keys: Keys
    stop: Callable[[], None]


def database(settings: Settings) -> Database:
    """The database, not yet open."""
    if not settings.database.url:
        return SQLite(settings.database_file)
    from telecine.db.postgres import Postgres

    return Postgres(settings.database.url, connections=settings.database.connections)


def storage(settings: Settings) -> Storage:
    """Where bytes are kept, not yet open."""
    if not settings.storage.url or settings.storage.folder:
        return LocalStorage(settings.storage_dir)
    from telecine.storage.objects import Bucket

    return Bucket(settings.storage.url, copies=settings.copies_dir)


async def secret(settings: Settings, db: Database) -> bytes:
    """The installation's secret: every node's."""
    if settings.database.url:
        file = SharedFile(db, settings.secret_file)
        await file.join(lambda: load_secret(settings.secret_file))
    return load_secret(settings.secret_file)


@asynccontextmanager
async def opened_signing_keys(
    settings: Settings, db: Database
) -> AsyncIterator[signing.SigningKeys]:
    """The keys that sign webhooks: every node's. What this one changes goes to the others."""
    path = settings.data.dir / signing.FILE
    keys = signing.SigningKeys(path, clock=time.time)
    if not settings.database.url:
        yield keys
        return
    shared = SharedFile(db, path)
    await shared.join(keys.signing)

    async def keep() -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            try:
                await shared.sync()
            except (TelecineError, OSError) as error:
                _log.error("the keys that sign webhooks may be others elsewhere: %s", error)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(keep(), name="telecine signing keys")
        yield keys
        task.cancel()
    with suppress(DatabaseFailed):  # what changed here since is then what the others have
        await shared.sync()


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[App]:
    """Gateway, worker and database. When the block ends: no new work, running requests get
    `server.stop_seconds`, the rest wait for the next start, or for other nodes."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        db = await enter(database(settings))
        secret_bytes = await secret(settings, db)
        stored = await enter(storage(settings))
        spool = await enter(_spool(settings, settings.spool_dir))
        net = await enter(client(settings))
        registry = await enter(opened_registry(settings, net))
        files = Files(
            db=db,
            storage=stored,
            clock=time.time,
            expires_seconds=settings.retention.upload_days * _DAY,
            max_file_bytes=settings.media.max_bytes,
            max_key_bytes=settings.storage.bytes_per_key,
            secret=secret_bytes,
        )
        keys = Keys(db=db, clock=time.time, secret=secret_bytes)
        if settings.auth.bootstrap_key:
            await keys.ensure(settings.auth.bootstrap_key)
        pool = await enter(_pool(settings))
        sources = _sources(
            settings,
            client=net,
            spool=spool,
            pool=pool,
            storage=stored,
            own_file=files.own,
        )
        inference = _inference(settings, registry=registry, sources=sources, pool=pool)
        bells = Bells()
        signing_keys = await enter(opened_signing_keys(settings, db))
        queue, worker = await _opened_jobs(
            settings,
            stack,
            db=db,
            net=net,
            files=files,
            inference=inference,
            settler=Settler(db=db, providers=registry.providers, clock=time.time),
            lane=await lanes(settings, registry),
            bells=bells,
            signing_keys=signing_keys,
            afford=keys.afford,
        )
        await enter(_housekeeping(files))
        parts = Parts(
            db=db,
            storage=stored,
            files=files,
            keys=keys,
            spool=spool,
            registry=registry,
            inference=inference,
            queue=queue,
            worker=worker,
            deliveries=Deliveries(db=db, bells=bells, clock=time.time),
            signing_keys=signing_keys,
            public_url=settings.server.public_url,
            is_open=not settings.auth.required,
            upstreams=upstreams(settings),
            locked=locked(settings),
            memory=Memory(max(BODIES_BYTES, 4 * settings.media.max_json_bytes)),
            max_json_bytes=settings.media.max_json_bytes,
        )
        yield App(asgi=application(parts), keys=keys, stop=worker.stop)


async def _opened_jobs(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    db: Database,
    net: Client,
    files: Files,
    inference: Inference,
    settler: Settler,
    lane: LaneOf,
    bells: Bells,
    signing_keys: signing.SigningKeys,
    afford: Callable[[str], Awaitable[None]],
) -> tuple[Queue, Worker]:
    states = States(keep_seconds=settings.retention.payload_days * _DAY)
    executor, slots = _executor(settings, db=db, states=states, bells=bells)
    await stack.enter_async_context(executor)
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
            is_shared=bool(settings.database.url),
        )
    )
    gate = Gate(
        db=db,
        executor=executor,
        states=states,
        bells=bells,
        clock=time.time,
        slots=slots,
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
            settler=settler,
            slots=settings.jobs.slots,
            run_seconds=settings.jobs.run_seconds,
            clock=time.time,
            node=executor.node,
            afford=afford,
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


def _executor(
    settings: Settings, *, db: Database, states: States, bells: Bells
) -> tuple[Executor, int | SlotsOf]:
    """What runs jobs, not yet open, and how many at once."""
    slots, stop_seconds = settings.jobs.slots, settings.server.stop_seconds
    if not settings.database.url:
        lock = settings.data.dir / "worker.lock"
        return InProcess(
            db=db, states=states, lock=lock, stop_seconds=stop_seconds, clock=time.time
        ), slots
    from telecine.db.postgres import Postgres
    from telecine.jobs.pgqueuer import Nodes

    assert isinstance(db, Postgres)
    nodes = Nodes(
        db=db,
        states=states,
        bells=bells,
        slots=slots,
        lost_seconds=settings.jobs.lost_seconds,
        stop_seconds=stop_seconds,
        clock=time.time,
    )
    return nodes, nodes.slots


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
