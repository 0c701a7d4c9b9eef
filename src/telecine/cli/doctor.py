"""telecine doctor: what is configured, reachable, missing, and what mends it."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from telecine import settings as table
from telecine.cli import common
from telecine.cli.common import AsJson, ConfigFile, DataDir
from telecine.errors import TelecineError
from telecine.settings import Settings

if TYPE_CHECKING:
    from telecine.providers.base import Provider


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. A "note" is worth knowing and stops nothing."""

    name: str
    state: Literal["ok", "note", "bad"]
    says: str
    fix: str = ""


def doctor(as_json: AsJson = False, data: DataDir = None, config: ConfigFile = None) -> None:
    """Look at everything that serving needs. Exit code 1 if something is broken."""
    settings = table.load(config=config, flags={"data.dir": data})
    findings = common.run(examine(settings))
    if as_json:
        common.print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.state:<5} {finding.name:<14} {finding.says}")
            if finding.fix:
                typer.echo(f"{'':<20} fix: {finding.fix}")
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


async def examine(settings: Settings) -> list[Finding]:
    """Every finding, in an order that a reader can follow. Changes nothing."""
    findings = [_settings(settings), _folder(settings.data.dir)]
    findings += [_disk(settings), await _guarded("database", lambda: _database(settings))]
    findings += [await _guarded("files", lambda: _files(settings))]
    findings += [await _guarded("media", lambda: _media(settings))]
    findings += await _providers(settings)
    findings += _missing_keys(settings)
    findings += [await _guarded("port", lambda: _port(settings))]
    return findings


async def _guarded(name: str, check: Callable[[], Awaitable[Finding]]) -> Finding:
    """A check that breaks is a finding, not the end of the others."""
    try:
        async with asyncio.timeout(30):
            return await check()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
        return Finding(name, "bad", f"{type(error).__name__}: {error}".rstrip(": "))


def _settings(settings: Settings) -> Finding:
    where = settings.file or "no telecine.toml here or in the user's config folder: defaults"
    return Finding("settings", "ok", str(where))


def _folder(folder: Path) -> Finding:
    if not folder.exists():
        above = next(parent for parent in folder.parents if parent.exists())
        if os.access(above, os.W_OK | os.X_OK):
            return Finding("data folder", "ok", f"{folder} will be made at the first start")
        fix = "choose another one with --data or TELECINE_DATA_DIR"
        return Finding("data folder", "bad", f"{folder} can not be made in {above}", fix)
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        fix = f"make it yours: chown -R $USER {folder}, or choose another one with --data"
        return Finding("data folder", "bad", f"{folder} can not be written to", fix)
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        return Finding("data folder", "bad", f"others can read {folder}", f"chmod 700 {folder}")
    return Finding("data folder", "ok", f"{folder} is writable, and private")


def _disk(settings: Settings) -> Finding:
    folder = settings.data.dir
    there = folder if folder.exists() else next(each for each in folder.parents if each.exists())
    free = shutil.disk_usage(there).free
    says = f"{free / 1024**3:.1f} GiB free"
    if free < settings.media.max_bytes:
        fix = "make room, or lower media.max_bytes"
        largest = table.size(settings.media.max_bytes)
        return Finding("disk", "bad", f"{says}: less than the largest video ({largest})", fix)
    return Finding("disk", "ok", says)


async def _database(settings: Settings) -> Finding:
    if settings.database.url:
        return await _postgres(settings)
    from telecine.db.sqlite import SQLite

    file = settings.database_file
    if not file.exists():
        return Finding("database", "ok", f"{file} will be made at the first start")
    async with SQLite(file) as db:
        count = len(await db.read(lambda tx: tx.fetch("report_requests", limit=1000)))
    says = f"{file} opens, its schema is current" + ("" if count else "; no requests yet")
    return Finding("database", "ok", says)


async def _postgres(settings: Settings) -> Finding:
    from telecine.db import postgres

    url = settings.database.url
    where = postgres.shown_url(url)
    try:
        missing = await postgres.pending(url)
    except TelecineError as error:
        return Finding("database", "bad", error.message, "mend database.url, or start PostgreSQL")
    if missing:
        says = f"{where} answers; its schema wants {missing} migrations"
        return Finding("database", "note", says, "telecine migrate, or start a server: it does it")
    async with postgres.Postgres(url, connections=1) as db:
        nodes = await db.read(lambda tx: tx.fetch("nodes_all"))
    there = [node for node in nodes if node["silent"] < settings.jobs.lost_seconds]
    slots = sum(node["slots"] for node in there)
    says = f"{where} answers; {len(there)} nodes run {slots} jobs at once"
    return Finding("database", "ok", says)


async def _files(settings: Settings) -> Finding:
    from telecine import app

    if not settings.storage.url:
        if not settings.database.url:
            return Finding("files", "ok", f"in {settings.storage_dir}")
        says = f"in {settings.storage_dir}: the files of this node are not there for others"
        fix = "before a second node: storage.url, a bucket or a folder that all nodes see"
        return Finding("files", "note", says, fix)
    if settings.storage.folder:
        says = f"in {settings.storage.folder}, which every node has to see under this name"
        return Finding("files", "ok", says)
    async with app.storage(settings):
        return Finding("files", "ok", "the bucket answers")


async def _media(settings: Settings) -> Finding:
    from telecine.media.pool import Pool

    limits = settings.media
    clip = resources.files("telecine.cli").joinpath("clip.mp4")
    with resources.as_file(clip) as path:
        async with Pool(
            size=1, memory_bytes=limits.process_memory_bytes, cpu_seconds=limits.process_cpu_seconds
        ) as pool:
            found = await pool.probe(path)
    return Finding("media", "ok", f"a {found.video_codec} clip is opened in its own process")


async def _providers(settings: Settings) -> list[Finding]:
    from telecine.cli.parts import opened_registry

    async with opened_registry(settings) as registry:
        return await asyncio.gather(*map(_provider, registry.providers.values()))


async def _provider(provider: Provider) -> Finding:
    health = await provider.check()
    return Finding(provider.name, "ok" if health.is_ok else "bad", health.says, health.fix)


def _missing_keys(settings: Settings) -> list[Finding]:
    if any(provider.type == "openrouter" for provider in settings.providers.values()):
        return []
    fix = "export OPENROUTER_API_KEY=..."
    return [Finding("openrouter", "note", "no key; it has the video models", fix)]


async def _port(settings: Settings) -> Finding:
    from telecine.cli.serve import bind, url_of

    host, port = settings.server.host, settings.server.port
    try:
        for each in bind(host, port):
            each.close()
    except common.Failed as error:
        says = str(error)
    else:
        return Finding("port", "ok", f"{host}:{port} is free")
    if await _is_telecine(url_of(host, port)):
        return Finding("port", "ok", f"a Telecine answers at {url_of(host, port)}")
    return Finding("port", "bad", says, "choose another one with --port or server.port")


async def _is_telecine(url: str) -> bool:
    import aiohttp

    from telecine import net

    client = net.Client(allow=(), proxy=None, connect_seconds=2, user_agent="telecine-doctor")
    try:
        async with client, asyncio.timeout(5), client.trusted().get(f"{url}/health") as response:
            return response.ok
    except (aiohttp.ClientError, TimeoutError):
        return False
