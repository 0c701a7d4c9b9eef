"""The pages: one document for every address under /ui/, and its files. Built from web/ at the top
of the repository; they talk through the documented APIs alone."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from telecine.api.health import Health
from telecine.errors import NotFound

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "mp4": "video/mp4",
}
# Nothing from elsewhere but videos that people name to watch; no inline script, no frame around it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data: blob:; media-src 'self' blob: data: https: http:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_FOREVER = "public, max-age=31536000, immutable"  # the names carry a hash of the content
_NO_PAGES = "The pages are not built: make pages"


def routes(health: Health) -> list[Route]:
    async def home(request: Request) -> Response:
        """The Playground for browsers, a few lines of text for everything else."""
        wants_page = "text/html" in request.headers.get("accept", "")
        answer = page(request) if wants_page else await health.hello(request)
        answer.headers["vary"] = "accept"
        return answer

    return [
        Route("/", home, methods=["GET"]),
        Route("/ui/assets/{name}", asset, methods=["GET"]),
        Route("/ui", page, methods=["GET"]),
        Route("/ui/{path:path}", page, methods=["GET"]),
    ]


def page(request: Request) -> Response:
    """The one document; or a file beside it, by its name."""
    name = request.path_params.get("path", "")
    if "." in name and "/" not in name:
        return _answer(request, name, "public, max-age=3600")
    return _answer(request, "index.html", "no-cache")


def asset(request: Request) -> Response:
    return _answer(request, f"assets/{request.path_params['name']}", _FOREVER)


@dataclass(frozen=True, slots=True)
class _File:
    content_type: str
    plain: bytes
    packed: bytes
    etag: str


@cache
def _files() -> dict[str, _File]:
    """All of them, by their path; there is nothing else that a path could name."""
    root = files("telecine") / "ui"
    return {name: _read(name, found) for name, found in _walk(root, "")}


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for item in folder.iterdir() if folder.is_dir() else ():
        if item.is_dir():
            found += _walk(item, f"{prefix}{item.name}/")
        else:
            found.append((prefix + item.name, item))
    return found


def _read(name: str, item: Traversable) -> _File:
    plain = item.read_bytes()
    kind = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
    packed = b"" if kind.startswith("video/") else gzip.compress(plain, 9, mtime=0)
    return _File(kind, plain, packed, f'"{hashlib.sha256(plain).hexdigest()[:32]}"')


def _answer(request: Request, name: str, caching: str) -> Response:
    file = _files().get(name)
    if file is None:
        raise NotFound(_NO_PAGES if name == "index.html" else f"Path {request.url.path} not found")
    headers = {**_HEADERS, "etag": file.etag, "cache-control": caching, "vary": "accept-encoding"}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    if file.packed and "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(file.packed, media_type=file.content_type, headers=headers)
    return Response(file.plain, media_type=file.content_type, headers=headers)
