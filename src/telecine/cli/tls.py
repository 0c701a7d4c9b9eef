"""The certificate of `serve --tls-port`: made here, kept in the data folder, renewed in time."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from telecine.certificates import Authority, is_good
from telecine.settings import Settings

_DAYS = 820  # Apple's devices take no certificate that lasts longer than 825
_RENEW_DAYS = 30


@dataclass(frozen=True, slots=True)
class Tls:
    """What a server needs to speak TLS. `authority` is the file that clients are to trust."""

    context: ssl.SSLContext
    sockets: Sequence[socket.socket]
    authority: Path


def prepared(settings: Settings, sockets: Sequence[socket.socket]) -> Tls:
    """With the certificate of this data folder, made anew when it ends soon or lacks a name."""
    folder = settings.data.dir / "tls"
    authority, server = folder / "ca.pem", folder / "server.pem"
    names = _names(settings)
    if not _is_usable(authority, server, names):
        folder.mkdir(mode=0o700, exist_ok=True)
        # The authority's key is gone with the object: it never signs anything else.
        maker = Authority(f"Telecine on {names[0]}", days=_DAYS)
        issued = maker.issue(names)
        _write(server, issued.certificate + issued.key + maker.certificate)
        _write(authority, maker.certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(server)
    return Tls(context, sockets, authority)


def _names(settings: Settings) -> list[str]:
    """All that this machine is called by; fal's Python client puts `queue.` before each."""
    public = urlsplit(settings.server.public_url or "").hostname
    own = ["localhost", socket.gethostname(), settings.server.host, public]
    everywhere = ("0.0.0.0", "::")  # noqa: S104 - listened on, but no name
    hosts = [host for host in own if host and host.isascii() and host not in everywhere]
    queues = [f"queue.{host}" for host in hosts if not _is_address(host)]
    return list(dict.fromkeys([*hosts, *queues, "127.0.0.1", "::1"]))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_usable(authority: Path, server: Path, names: Sequence[str]) -> bool:
    try:
        content, trusted = server.read_bytes(), authority.read_bytes()
    except OSError:
        return False
    # Both files of one making, also after a crash between the two.
    return content.endswith(trusted) and is_good(content, names, days_left=_RENEW_DAYS)


def _write(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)
