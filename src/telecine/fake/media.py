"""A media server: one good clip, and every bad way in which a video can come by its address."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import resources

from aiohttp import web

_DRIP_BYTES, _DRIP_SECONDS = 512, 0.5
_ENDLESS = bytes(1 << 16)
_PRIVATE = "http://10.0.0.1/clip.mp4"
_METADATA = "http://169.254.169.254/latest/meta-data/"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class File:
    """`does` is a sentence for the documentation."""

    does: str
    answer: Handler


def clip() -> bytes:
    return resources.files("telecine.fake").joinpath("data", "clip.mp4").read_bytes()


def picture() -> bytes:
    return resources.files("telecine.fake").joinpath("data", "picture.jpg").read_bytes()


class Media:
    """Under /media. None of it counts as a question."""

    def switches(self) -> Mapping[str, str]:
        return {}

    def routes(self) -> list[web.RouteDef]:
        files = [web.get(f"/media/{name}", file.answer) for name, file in FILES.items()]
        return [*files, web.get("/media/status/{status:[45][0-9][0-9]}", _status)]


def _whole(content_type: str, body: Callable[[], bytes]) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body(), content_type=content_type)

    return answer


def _moved(to: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": to})

    return answer


def _page() -> bytes:
    return b"<h1>Please log in</h1>"


async def _loop(request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": str(request.rel_url)})


async def _no_length(request: web.Request) -> web.StreamResponse:
    response = await _begun(request)
    await response.write(clip())
    await response.write_eof()
    return response


async def _cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "video/mp4"})
    response.content_length = len(clip())
    await response.prepare(request)
    await response.write(clip()[: len(clip()) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def _slow(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "video/mp4"})
    response.content_length = len(clip())
    await response.prepare(request)
    for start in range(0, len(clip()), _DRIP_BYTES):
        await response.write(clip()[start : start + _DRIP_BYTES])
        await asyncio.sleep(_DRIP_SECONDS)
    await response.write_eof()
    return response


async def _endless(request: web.Request) -> web.StreamResponse:
    """Until the client has had enough."""
    response = await _begun(request)
    try:
        await response.write(clip())
        while True:
            await response.write(_ENDLESS)
    except ConnectionError:
        return response


async def _status(request: web.Request) -> web.StreamResponse:
    return web.Response(status=int(request.match_info["status"]), text="no video here")


async def _begun(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "video/mp4"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    return response


FILES: Mapping[str, File] = {
    "clip.mp4": File("Three seconds of H.264 and AAC", _whole("video/mp4", clip)),
    "octet-stream.mp4": File(
        "The same, called `application/octet-stream`", _whole("application/octet-stream", clip)
    ),
    "no-length.mp4": File("The same without `Content-Length`", _no_length),
    "moved.mp4": File("302 to `clip.mp4`", _moved("/media/clip.mp4")),
    "loop.mp4": File("302 to itself", _loop),
    "to-private.mp4": File("302 to a private address", _moved(_PRIVATE)),
    "to-metadata.mp4": File("302 to the address where clouds keep credentials", _moved(_METADATA)),
    "picture.mp4": File("A JPEG", _whole("image/jpeg", picture)),
    "page.mp4": File("A web page", _whole("text/html", _page)),
    "cut.mp4": File("The connection closes after half of it", _cut),
    "slow.mp4": File("A thousand bytes a second", _slow),
    "endless.mp4": File("The clip, and then zeros without end", _endless),
}
