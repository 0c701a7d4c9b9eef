"""telecine serve: gateway, worker and embedded database from one command."""

from __future__ import annotations

import errno
import ipaddress
import logging
import resource
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from telecine import __version__
from telecine.cli import common
from telecine.cli.common import ConfigFile, DataDir, Failed
from telecine.settings import ProviderSettings, Settings

if TYPE_CHECKING:
    from telecine.cli.tls import Tls
    from telecine.keys import Keys

_BACKLOG = 2048  # calls that wait to be accepted
_HANDLES = 65_536  # file handles, where the system allows so many
_OWN_HANDLES = 256


def serve(
    host: Annotated[
        str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The port; 0 takes a free one.", show_default="8484")
    ] = None,
    data: DataDir = None,
    config: ConfigFile = None,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", help="Queued requests run at once; 0: none.", show_default="16"),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask for no key; only while listening on loopback.")
    ] = False,
    tls_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Listen for https too, with a certificate of its own; for clients that call "
            "nothing else.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the server: run, stream and queue, files, and a worker for the queue."""
    settings = common.load(
        config,
        data,
        server_host=host,
        server_port=port,
        jobs_slots=jobs,
        auth_required=False if no_auth else None,
    )
    if not settings.auth.required and not _is_loopback(settings.server.host):
        raise Failed(
            "without keys (--no-auth, or auth.required = false) the server may listen on loopback "
            f"alone, not on {settings.server.host}",
            code=2,
        )
    sockets = bind(settings.server.host, settings.server.port)
    tls_sockets = [] if tls_port is None else bind(settings.server.host, tls_port)
    try:
        common.run(_serve(settings, sockets, tls_sockets))
    finally:
        for each in (*sockets, *tls_sockets):
            each.close()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of `host`, before anything else is opened. Raises Failed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise Failed(f"{host} is no address of this machine ({error.strerror})", code=2) from error
    sockets: list[socket.socket] = []
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            sockets.append(_listen(family, (address[0], port)))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL and sockets:
                continue  # "localhost" may have an IPv6 address that this machine does not
            raise Failed(_why_not(error, host, port)) from error
        port = sockets[0].getsockname()[1]  # the same one on every address, also after port 0
    return sockets


def _listen(family: int, address: tuple[str | int, int]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _why_not(error: OSError, host: str, port: int) -> str:
    where = f"{host} port {port}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"something else listens on {where}; choose another with --port"
        case errno.EACCES:
            return f"listening on {where} takes more rights; choose a port from 1024 on"
        case errno.EADDRNOTAVAIL:
            return f"{host} is no address of this machine"
        case _:
            return f"can not listen on {where} ({error.strerror})"


async def _serve(
    settings: Settings, sockets: list[socket.socket], tls_sockets: list[socket.socket]
) -> None:
    from telecine import app, telemetry
    from telecine.cli.connection import LIMITS
    from telecine.cli.server import Server

    telemetry.set_up_logging(secrets=common.secrets(settings))
    # The database's writer thread and the event loop share the interpreter's lock: shorter turns
    # gave a fifth more durable submits (bench/submit.py).
    sys.setswitchinterval(0.0005)
    if warning := common.prepare(settings.data.dir):
        logging.getLogger("telecine.serve").warning(warning)
    tls = _tls(settings, tls_sockets)
    async with app.opened(settings) as opened:
        key = await _first_key(settings, opened.keys)
        here = url_of(*sockets[0].getsockname()[:2])
        server = Server(
            opened.asgi,
            stop_seconds=settings.server.stop_seconds,
            on_start=lambda: typer.echo(banner(settings, here, key, tls)),
            on_stop=opened.stop,
            tls=tls,
            limits=replace(LIMITS, connections=min(LIMITS.connections, connections())),
        )
        with _announced(settings, here):
            await server.serve(sockets)


def _tls(settings: Settings, sockets: list[socket.socket]) -> Tls | None:
    if not sockets:
        return None
    from telecine.cli.tls import prepared

    return prepared(settings, sockets)


def connections() -> int:
    """How many callers there are handles for: as many as this process may ask for, less its own,
    and two for each, as an answer may need a file or a connection further on."""
    handles, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _HANDLES if most == resource.RLIM_INFINITY else min(most, _HANDLES)
    if handles < wanted:
        with suppress(ValueError, OSError):  # some systems allow fewer than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
            handles = wanted
    return max(16, (handles - _OWN_HANDLES) // 2)


@contextmanager
def _announced(settings: Settings, here: str) -> Iterator[None]:
    """Tell the other commands on this machine, by the data folder, where it listens.

    They can be told by --server too: a full disk does not keep a server from starting.
    """
    try:
        settings.address_file.write_text(here)
    except OSError as error:
        logging.getLogger("telecine.serve").warning(
            "other commands are not told where it listens (%s)", error.strerror
        )
        with suppress(OSError):  # half an address would mislead them
            settings.address_file.unlink(missing_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):
            settings.address_file.unlink(missing_ok=True)


async def _first_key(settings: Settings, keys: Keys) -> str | None:
    """Make a key if there is none; only where its owner sees it: on a terminal."""
    if not settings.auth.required or not sys.stdout.isatty():
        return None
    from telecine.keys import COMMAND_LINE

    if any(each.alias != COMMAND_LINE for each in await keys.list()):
        return None
    return (await keys.create("first")).key


# ---------------------------------------------------------------- one screen


def url_of(host: str, port: int) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - every address, this machine's own among them
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def banner(settings: Settings, here: str, key: str | None, tls: Tls | None = None) -> str:
    """That it listens `here`, by which URL it is called, which providers work, how to call it."""
    url = settings.server.public_url or here
    lines = [
        f"Telecine {__version__} listens on {here}",
        *_in_column("Public", [url] if url != here else []),
        f"Data     {settings.data.dir}",
        *_in_column("Models", [_provider(*each) for each in _providers(settings).items()]),
        *_in_column("Key", _key_lines(settings, key)),
        *_in_column("Call it", _calls(settings, url)),
        *_in_column("TLS", _tls_lines(tls)),
    ]
    return "\n".join(lines)


def _tls_lines(tls: Tls | None) -> list[str]:
    """For fal's Python client, which reads its hosts from the environment and calls https alone."""
    if tls is None:
        return []
    _, port = tls.sockets[0].getsockname()[:2]
    host = f"localhost:{port}"
    return [
        f"export SSL_CERT_FILE={shlex.quote(str(tls.authority))}",
        f"export FAL_RUN_HOST={host} FAL_QUEUE_RUN_HOST={host}/queue",
    ]


def _in_column(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title if index == 0 else '':<8} {line}" for index, line in enumerate(lines)]


def _providers(settings: Settings) -> dict[str, ProviderSettings]:
    """Those that are there, and OpenRouter, which only wants a key."""
    openrouter = ProviderSettings(type="openrouter", api_key_env="OPENROUTER_API_KEY")
    return {"openrouter": openrouter, **settings.providers}


def _provider(name: str, provider: ProviderSettings) -> str:
    if provider.type == "local":
        says = f"{name}/report: speech, on-screen text and shots, on this machine, without a key"
    elif provider.type == "echo":
        says = f"{name}/echo: repeats what it was given, for tests"
    elif provider.api_key_env and not provider.api_key:
        says = f"{name}: needs a key in the environment variable {provider.api_key_env}"
    elif provider.type == "openrouter":
        says = f"{name}: every video model there, by its own name, such as google/gemini-2.5-flash"
    else:
        says = f"{name}/...: {provider.base_url}"
    return says


def _key_lines(settings: Settings, key: str | None) -> list[str]:
    if not settings.auth.required:
        return ["none is asked for, on this machine alone"]
    create = f"{_command()} keys create --data {shlex.quote(str(settings.data.dir))}"
    if key:
        return [f"export FAL_KEY={key}", f"(shown this once; another: {create})"]
    return [f"export FAL_KEY=$({create})"]


def _command() -> str:
    """How to call us again: by name where the shell finds that, else as we were called."""
    return "telecine" if shutil.which("telecine") else shlex.quote(sys.argv[0])


def _calls(settings: Settings, url: str) -> list[str]:
    """With a local file, so that they work as pasted next to any clip.mp4."""
    key = ' -H "Authorization: Key $FAL_KEY"' if settings.auth.required else ""
    proxy = f'proxyUrl: {{ url: "{url}/api/fal/proxy", when: "always" }}'
    return [
        f'{_command()} run clip.mp4 -p "What is said?" --server {url}',
        '(printf \'{"model":"local/report","prompt":"What is said?","video_urls":["data:;base64,\'',
        """ base64 < clip.mp4 | tr -d '\\n'; printf '"]}') |""",
        f"curl -sS {url}/openrouter/router/video{key} \\",
        "  -H 'Content-Type: application/json' --data-binary @-",
        f"JavaScript: fal.config({{ {proxy} }}), the rest as with fal",
    ]
