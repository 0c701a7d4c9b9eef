"""Every way of addressing the server, mapped to one internal path; and back, for URLs in answers.

Internal paths: run at `/{endpoint}`, and under a prefix `/queue`, `/rest`, `/files` and `/v1`.
A request gets there by that very path, by the name of one of fal's hosts (DNS or a CONNECT proxy
brought it here), by `queue.` before any name of ours, or through `/api/fal/proxy`, which takes the
full URL from a header. The proxy is a rewrite of the scope, never a fetch. `telecine exec` stands
for fal's hosts and names the one it was asked for in `x-telecine-host`, so that `Host` stays ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from telecine.api.failures import MethodNotAllowed
from telecine.errors import BadRequest, NotFound

PROXY_PATH = "/api/fal/proxy"

# Host name -> where its root is among the internal paths.
FAL_HOSTS = {
    "fal.run": "",
    "falrun.com": "",
    "ws.fal.run": "",
    "fal.ai": "",
    "api.fal.ai": "/v1",
    "queue.fal.run": "/queue",
    "queue.falrun.com": "/queue",
    "rest.fal.ai": "/rest",
    "rest.alpha.fal.ai": "/rest",
    "v3.fal.media": "/files",
    "v3b.fal.media": "/files",
    "fal.media": "/files",
}

# First segments that are the server's own, so no endpoint can have them as owner.
RESERVED = frozenset(
    {
        *("queue", "rest", "cdn", "files", "v1", "api", "ui", "telecine", "models"),
        *("health", "ready", "metrics", ".well-known"),
    }
)

_HOST = re.compile(r"(?P<name>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?P<port>:[0-9]{1,5})?", re.ASCII)
_TARGET = re.compile(
    r"(?P<scheme>https?)://(?P<host>[^/?#\\@\s]+)(?P<path>/[^?#\\\s]*)?(\?(?P<query>[^#\s]*))?(#.*)?",
    re.IGNORECASE | re.ASCII,
)
_PROXY_METHODS = frozenset({"GET", "POST", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class Address:
    """The base URLs, without a slash at the end, that reach this server the way the caller did."""

    run: str
    queue: str
    rest: str
    files: str


_FAL = Address("https://fal.run", "https://queue.fal.run", "https://rest.fal.ai", "")
_FAL_FILES = "https://v3.fal.media/files"


class Addressing:
    """Rewrites `path` to the internal one; whoever needs URLs asks `address(scope)`."""

    def __init__(self, app: ASGIApp, *, public_url: str | None = None) -> None:
        self._app = app
        self._public_url = public_url.rstrip("/") if public_url else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["telecine.public_url"] = self._public_url
            path = _plain(scope.get("raw_path") or scope["path"].encode())
            host = header(scope, b"host")
            stood_for = header(scope, b"x-telecine-host").lower()
            if stood_for in FAL_HOSTS:
                host, scope["telecine.stands_for_fal"] = stood_for, True
            path = _internal(host, path)
            if path == PROXY_PATH:
                path = self._target(scope, host)
            scope["path"] = path
            scope["root_path"] = ""
        await self._app(scope, receive, send)

    def _target(self, scope: Scope, own_host: str) -> str:
        """The internal path that `x-fal-target-url` means; its query becomes the request's."""
        if scope["method"] not in _PROXY_METHODS:
            raise MethodNotAllowed(_PROXY_METHODS)
        url = header(scope, b"x-fal-target-url")
        if not url:
            raise BadRequest(
                "The proxy route needs the full fal URL in the header x-fal-target-url"
            )
        target = _TARGET.fullmatch(url)
        host = target["host"].lower() if target else ""
        if target is None or not (_is_fal(host) or self._is_own(host, own_host)):
            raise BadRequest(
                "x-fal-target-url must name one of fal's hosts or this server;"
                " nothing is fetched from anywhere else"
            )
        path = _internal(host, _plain((target["path"] or "/").encode()))
        if path == PROXY_PATH:
            raise BadRequest("x-fal-target-url points back at the proxy route")
        scope["query_string"] = (target["query"] or "").encode()
        return path

    def _is_own(self, host: str, own_host: str) -> bool:
        own = {own_host.lower(), f"queue.{own_host.lower()}"}
        if self._public_url:
            name = self._public_url.partition("://")[2].partition("/")[0].lower()
            own |= {name, f"queue.{name}"}
        return host in own


def header(scope: Scope, name: bytes) -> str:
    """The first header of this name, or an empty string."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return ""


def is_platform(scope: Scope) -> bool:
    """Whether fal's Platform API is asked, also by a path that could not be made out."""
    path: str = scope["path"]
    name = header(scope, b"host").lower().partition(":")[0]
    return path == "/v1" or path.startswith("/v1/") or FAL_HOSTS.get(name) == "/v1"


def address(scope: Scope) -> Address:
    """Base URLs that follow the way the request came in, or `public_url` where one is set."""
    if scope.get("telecine.stands_for_fal"):
        return Address(_FAL.run, _FAL.queue, _FAL.rest, _FAL_FILES)
    public_url: str | None = scope.get("telecine.public_url")
    if public_url:
        return _of_origin(public_url)
    host = header(scope, b"host").lower()
    if _is_fal(host):
        return Address(_FAL.run, _FAL.queue, _FAL.rest, _FAL_FILES)
    if not _HOST.fullmatch(host):
        server = scope.get("server") or ("localhost", None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    scheme = scope.get("scheme", "http")
    if not host.startswith("queue."):
        return _of_origin(f"{scheme}://{host}")
    own = _of_origin(f"{scheme}://{host.removeprefix('queue.')}")
    return Address(own.run, f"{scheme}://{host}", own.rest, own.files)


def _of_origin(origin: str) -> Address:
    return Address(origin, f"{origin}/queue", f"{origin}/rest", f"{origin}/files")


def _is_fal(host: str) -> bool:
    return host.removesuffix(":443").removesuffix(":80") in FAL_HOSTS


def _internal(host: str, path: str) -> str:
    """The internal path of `path` on `host`."""
    match = _HOST.fullmatch(host.lower())
    name = match["name"].rstrip(".") if match else ""
    root = FAL_HOSTS.get(name, "/queue" if name.startswith("queue.") else "")
    if path == "/cdn" or path.startswith("/cdn/"):
        path = path[4:] or "/"
        root = "/files"
    if root in ("/files", "/v1") and (path == root or path.startswith(root + "/")):
        return path  # fal's own paths on these hosts already begin so
    return (root + path).rstrip("/") or "/"


# What follows is a model's name, whose slashes OpenAI's SDKs encode.
_NAMED = b"/openrouter/router/openai/v1/models/"


def _plain(raw: bytes) -> str:
    """`raw` decoded, without doubled or final slashes.

    Raises NotFound for what one server reads differently from the next: encoded slashes,
    dot segments, NUL and what is not UTF-8. No path of ours has any of them, but for models' names.
    """
    if raw.startswith(_NAMED):
        raw = raw.replace(b"%2F", b"/").replace(b"%2f", b"/")
    if raw.isascii() and b"%" not in raw and b"//" not in raw and b"/." not in raw:
        return raw.decode().rstrip("/") or "/"
    segments = []
    for part in raw.split(b"/"):
        segment = unquote_to_bytes(part)
        if segment in (b".", b"..") or b"/" in segment or b"\0" in segment:
            raise NotFound("Path not found")
        if segment:
            segments.append(segment)
    try:
        return "/" + b"/".join(segments).decode()
    except UnicodeDecodeError:
        raise NotFound("Path not found") from None
