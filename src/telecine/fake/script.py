"""How one request is answered, and the sending of it, byte by byte where that is wanted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar

from aiohttp import web

from telecine.fake.record import Received

T = TypeVar("T")
# done: `data: [DONE]`; silent: without; cut: the connection breaks; mute: nothing more comes.
End = Literal["done", "silent", "cut", "mute"]


@dataclass(frozen=True, kw_only=True)
class Script:
    """A `body` is sent whole (text as a web page), `chunks` as a stream: what is a `str` among them
    goes out as it is."""

    chunks: list[Any] = field(default_factory=list)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    newline: str = "\n"
    bytes_per_write: int = 1 << 20
    seconds_per_chunk: float = 0.0
    delay: float = 0.0
    end: End = "done"
    sends_head: bool = True
    hangs_up: bool = False


@dataclass(frozen=True, slots=True)
class Switch:
    """A way to misbehave. `does` is a sentence for the documentation. `change` is for those that
    change how an answer is sent, whatever it says: they can be joined to others with `+`."""

    does: str
    change: Callable[[Script], Script] | None = None


_COMMENT = ": OPENROUTER PROCESSING"


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A way to answer a question of one protocol. `does` is a sentence for the documentation."""

    does: str
    make: Callable[[T], Script]


# What can be said of every stream.
WIRE: Mapping[str, Switch] = {
    "comments": Switch(
        "17 keep-alive comments before the first chunk, and empty ones between chunks",
        lambda script: replace(
            script,
            chunks=[_COMMENT] * 17 + [x for chunk in script.chunks for x in (": ", ":", chunk)],
        ),
    ),
    "crlf": Switch("Lines end in CRLF", lambda script: replace(script, newline="\r\n")),
    "cr": Switch("Lines end in CR", lambda script: replace(script, newline="\r")),
    "bytes": Switch(
        "One byte at a time, so that events, and characters, come in pieces",
        lambda script: replace(script, bytes_per_write=1),
    ),
    "late-head": Switch(
        "The request is taken, and nothing ever comes",
        lambda script: replace(script, chunks=[], body=None, sends_head=False, end="mute"),
    ),
    "hangup": Switch(
        "The request is taken, and the connection closed",
        lambda script: replace(script, hangs_up=True),
    ),
}


def wired(script: Script, names: list[str]) -> Script:
    """The script, sent in the ways that are named."""
    for name in names:
        if name.startswith("delay-"):
            script = replace(script, delay=float(name.removeprefix("delay-")))
        elif (change := WIRE[name].change) is not None:
            script = change(script)
    return script


def split(switch: str) -> tuple[str, list[str]]:
    """`late-error+crlf+delay-0.5`: what the answer is, and how it is sent."""
    names = [name for name in switch.split("+") if name]
    wire = [name for name in names if name in WIRE or is_delay(name)]
    others = [name for name in names if name not in wire]
    if len(others) > 1:
        raise LookupError(f"{' and '.join(others)} can not be had at once")
    return "".join(others), wire


def is_delay(name: str) -> bool:
    return name.startswith("delay-") and name.removeprefix("delay-").replace(".", "", 1).isdecimal()


def number(amount: Decimal) -> float:
    """The amount for JSON. Up to 15 digits, which no bill here exceeds, they come out unchanged."""
    return float(amount)


async def play(request: web.Request, received: Received, script: Script) -> web.StreamResponse:
    """Answer as the script says; notes when the client leaves before the end."""
    try:
        if delay := script.delay or received.delay:
            await _wait(request, delay)
        if script.hangs_up:
            _break(request)
            return web.Response()
        if script.body is None:
            return await _stream(request, script)
        if isinstance(script.body, str):
            return web.Response(
                text=script.body,
                content_type="text/html",
                status=script.status,
                headers=script.headers,
            )
        return web.json_response(script.body, status=script.status, headers=script.headers)
    except ConnectionError:
        received.was_cut = True
        return web.Response()


async def _stream(request: web.Request, script: Script) -> web.StreamResponse:
    response = web.StreamResponse(
        status=script.status,
        headers={
            "Content-Type": "text/event-stream",
            "X-Accel-Buffering": "no",
            **script.headers,
        },
    )
    if script.sends_head:
        await response.prepare(request)
    for chunk in [*script.chunks, *(["data: [DONE]"] if script.end == "done" else [])]:
        text = chunk if isinstance(chunk, str) else f"data: {json.dumps(chunk)}"
        await _write(response, f"{text}\n\n".replace("\n", script.newline), script)
        if script.seconds_per_chunk:
            await asyncio.sleep(script.seconds_per_chunk)
    # The server tells a handler of a lost connection only when it writes.
    while script.end == "mute" and not _has_left(request):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    if _has_left(request):
        raise ConnectionResetError
    if script.end == "cut":
        _break(request)
    else:
        await response.write_eof()
    return response


async def _write(response: web.StreamResponse, text: str, script: Script) -> None:
    data = text.encode()
    for start in range(0, len(data), script.bytes_per_write):
        await response.write(data[start : start + script.bytes_per_write])


async def _wait(request: web.Request, seconds: float) -> None:
    """Raises ConnectionResetError when the client has left meanwhile."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        if _has_left(request):
            raise ConnectionResetError
        await asyncio.sleep(min(left, 0.05))


def _break(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _has_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
