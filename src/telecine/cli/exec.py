"""telecine exec: run any program, unchanged, with Telecine in place of fal."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from telecine.cli import common
from telecine.cli.common import ConfigFile, DataDir, Failed
from telecine.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from telecine.intercept.gateway import Call

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells say it
_PATIENCE_SECONDS = 1.0

# What the terminal sends, it sends to the program too.
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_PASSED_ON = (*_FROM_TERMINAL, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def exec_(
    context: typer.Context,
    command: Annotated[
        list[str], typer.Argument(metavar="CMD...", help="The program and its arguments.")
    ],
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Ask this Telecine, with the key in TELECINE_KEY; without it, the one that serves "
            "the data folder, or else one that lives as long as CMD.",
            show_default=False,
        ),
    ] = None,
    only_fal: Annotated[
        bool, typer.Option("--only-fal", help="Refuse connections to other hosts than fal's.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--print", help="Show each call on stderr, without secrets.")
    ] = False,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Run a program, unchanged, with Telecine in place of fal's hosts.

    Its exit code is the program's: 128 + N after signal N, 127 if there is no such program.
    """
    settings = common.load(config, data)
    if shutil.which(command[0]) is None:
        is_there = os.path.exists(command[0])
        why = "can not be executed" if is_there else "no such program"
        raise Failed(f"{command[0]}: {why}", code=NOT_EXECUTABLE if is_there else NOT_FOUND)
    umask = -1 if context.obj is None else int(context.obj)
    program = _Program(command, umask=umask)
    raise typer.Exit(common.run(_exec(program, settings, server, only_fal=only_fal, show=show)))


async def _exec(
    program: _Program, settings: Settings, server: str | None, *, only_fal: bool, show: bool
) -> int:
    from telecine import telemetry
    from telecine.intercept.opened import opened

    telemetry.set_up_logging(level="WARNING", secrets=common.secrets(settings))
    # Who goes away in the middle of an answer is no news; what is, the gateway logs.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    async with contextlib.AsyncExitStack() as stack:
        telecine, key = await stack.enter_async_context(_telecine(settings, server))
        environment = await stack.enter_async_context(
            opened(
                telecine,
                key=key,
                is_only_fal=only_fal,
                given=os.environ,
                on_call=_show if show else lambda _call: None,
            )
        )
        return await program.run(environment)


def _show(call: Call) -> None:
    line = f"telecine: {call.method} {call.target} {call.outcome} {call.milliseconds} ms"
    typer.echo("".join(c if c.isprintable() else "?" for c in line), err=True)


# ---------------------------------------------------------------- the program


class _Program:
    """`umask`: what files the program makes look like; ours are the user's alone. -1: as ours."""

    def __init__(self, command: Sequence[str], *, umask: int) -> None:
        self._command = command
        self._umask = umask

    async def run(self, environment: Mapping[str, str]) -> int:
        """Its exit code. Signals that come meanwhile are for it."""
        try:
            process = self._started(environment)
        except OSError as error:
            typer.echo(f"telecine: {self._command[0]}: {error.strerror}", err=True)
            return NOT_EXECUTABLE
        with _passing_on(process.send_signal):
            code = await asyncio.to_thread(process.wait)
        return 128 - code if code < 0 else code

    def _started(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        def start(*command: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, env=environment, umask=self._umask)  # noqa: S603

        try:
            return start(*self._command)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # A script that does not name its interpreter is one of the shell's, as for execvp(3).
            return start("/bin/sh", *self._command)


@contextlib.contextmanager
def _passing_on(send: Callable[[int], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    # What is ignored here, as under nohup, the program ignores too.
    heard = [each for each in _PASSED_ON if signal.getsignal(each) is not signal.SIG_IGN]
    for each in heard:
        loop.add_signal_handler(each, _pass_on, each, send)
    try:
        yield
    finally:
        for each in heard:
            loop.remove_signal_handler(each)


def _pass_on(number: signal.Signals, send: Callable[[int], None]) -> None:
    if number not in _FROM_TERMINAL or not _is_in_front():
        send(number)


def _is_in_front() -> bool:
    """Whether Ctrl-C on a terminal reaches our process group, and so the program, by itself."""
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(descriptor) == os.getpgrp()
    return False


# ---------------------------------------------------------------- who answers


@contextlib.asynccontextmanager
async def _telecine(
    settings: Settings, server: str | None
) -> AsyncIterator[tuple[ASGIApp, str | None]]:
    """A Telecine, and the key to ask it with."""
    if server is not None:
        async with _there(server, os.environ.get("TELECINE_KEY")) as asked:
            yield asked
        return
    async with contextlib.AsyncExitStack() as stack:
        try:
            asked = await stack.enter_async_context(_beside(settings))
        except Failed:  # nobody serves this data folder
            asked = await stack.enter_async_context(_here(settings))
        yield asked


@contextlib.asynccontextmanager
async def _there(url: str, key: str | None) -> AsyncIterator[tuple[ASGIApp, str | None]]:
    """The server at `url`, which answers and takes `key`. Raises Failed."""
    from telecine.cli.remote import Remote
    from telecine.intercept.gateway import Server

    async with Remote(url, key=key) as remote:
        await remote.check()
        yield Server(remote.session, url), key


@contextlib.asynccontextmanager
async def _beside(settings: Settings) -> AsyncIterator[tuple[ASGIApp, str | None]]:
    """The server that says in the data folder where it listens. Raises Failed."""
    from telecine.cli.parts import opened_keys

    try:
        url = settings.address_file.read_text()
    except OSError as error:
        raise Failed("no server serves this data folder") from error
    async with opened_keys(settings) as keys:
        key = await keys.command_line()
    async with _there(url, key) as asked:
        yield asked


@contextlib.asynccontextmanager
async def _here(settings: Settings) -> AsyncIterator[tuple[ASGIApp, str | None]]:
    """A server of this run's own that listens nowhere: only the program can ask it."""
    from telecine import app

    if warning := common.prepare(settings.data.dir):
        logging.getLogger("telecine.exec").warning(warning)
    with contextlib.ExitStack() as closing:
        async with app.opened(settings) as opened:
            try:
                yield opened.asgi, await opened.keys.command_line()
            finally:
                opened.stop()
                loop, seconds = asyncio.get_running_loop(), settings.server.stop_seconds
                notice = loop.call_later(_PATIENCE_SECONDS, _say_waiting, seconds)
                closing.callback(notice.cancel)


def _say_waiting(seconds: float) -> None:
    typer.echo(f"telecine: requests are still running; they get {seconds:g} s to end", err=True)
