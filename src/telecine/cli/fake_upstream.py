"""telecine fake-upstream: every provider on this machine, for tests without a bill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from telecine.cli import common
from telecine.cli.common import AsJson, Failed

if TYPE_CHECKING:
    from telecine.fake.record import Record

Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0: any free one.")]
Switch = Annotated[
    str,
    typer.Option(
        "--switch",
        metavar="NAME",
        help="What every answer does wrong, such as late-error or 429.",
        show_default="nothing",
    ),
]
Delay = Annotated[
    float,
    typer.Option(
        "--delay", metavar="SECONDS", min=0, max=3600, help="How long every answer takes to begin."
    ),
]

_OPENAI = ("vllm", "sglang", "llamacpp", "ollama", "dashscope", "zai", "kimi", "ark", "generic")


def fake_upstream(
    host: Host = "127.0.0.1",
    port: Port = 8585,
    switch: Switch = "",
    delay: Delay = 0.0,
    as_json: AsJson = False,
) -> None:
    """Speak as the real providers do, bill play money, and go wrong when told to.

    Prints the address of each provider and the telecine.toml that leads there, then serves until it
    is stopped. It takes any key, answers what it saw with hashes, and tells under /fake/requests
    and /fake/bill what it was sent and what that cost.
    """
    from telecine.fake.admin import check
    from telecine.fake.record import Record
    from telecine.fake.server import is_switch

    record = Record()
    try:
        check(switch, is_switch)
    except LookupError as problem:
        raise Failed(f"--switch: {problem.args[0]}", code=2) from problem
    record.switches.switch, record.switches.delay = switch, delay
    common.run(_serve(record, host, port, as_json=as_json))


async def _serve(record: Record, host: str, port: int, *, as_json: bool) -> None:
    from telecine.fake.server import serving

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows, where Ctrl-C ends it all the same
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, stopped.set)
    try:
        async with serving(record, host=host, port=port) as url:
            typer.echo(json.dumps(_described(url)) if as_json else _told(url))
            await stopped.wait()
    except OSError as error:
        raise Failed(f"can not listen on {host}:{port} ({error.strerror})") from error


def base_urls(url: str) -> dict[str, str]:
    """Where each provider is, as `base_url` of its settings."""
    openai = {name: f"{url}/{name}/v1" for name in _OPENAI}
    own = {"gemini": f"{url}/gemini", "anthropic": f"{url}/anthropic"}
    return {"openrouter": f"{url}/openrouter/v1", **own, **openai}


def settings_file(url: str) -> str:
    """A telecine.toml whose providers are all here."""
    tables = []
    for name, base_url in base_urls(url).items():
        lines = [f"[providers.{name}]", f'base_url = "{base_url}"']
        if name in _OPENAI:
            lines += ['type = "openai"', f'dialect = "{name}"', 'api_key_env = "FAKE_KEY"']
        tables.append("\n".join(lines))
    return "\n\n".join(tables) + "\n"


def _described(url: str) -> dict[str, object]:
    return {"url": url, "base_urls": base_urls(url), "telecine_toml": settings_file(url)}


def _told(url: str) -> str:
    return f"""\
# A fake upstream listens at {url}. Any key will do:
# export OPENROUTER_API_KEY=fake GEMINI_API_KEY=fake ANTHROPIC_API_KEY=fake FAKE_KEY=fake
# What it was sent: {url}/fake/requests    What that cost: {url}/fake/bill
# Videos, good and bad: {url}/media/clip.mp4 and others
# This is a telecine.toml:

{settings_file(url)}"""
