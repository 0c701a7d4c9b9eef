"""Bodies of any size: base64 is taken out of the JSON while it arrives, hashed and looked into."""

from __future__ import annotations

import binascii
import hashlib
import json
import re
import struct
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from aiohttp import web

_MARK = re.compile(rb';base64,|"data"\s?:\s?"')
_LONGEST_MARK = 10
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_MVHD = re.compile(rb"mvhd([\x00\x01])", re.DOTALL)
_WEBM_HEAD = 4096


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that stood in a document as base64. `seconds`: of a clip that tells its length.

    `pieces`: a list of frames in one data URI, joined by commas, has several. `problem`: it was no
    base64 after all.
    """

    sha256: str
    bytes: int
    seconds: float | None = None
    pieces: int = 1
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A body that was read: `document` holds `#INDEX` where `blobs[INDEX]` stood."""

    document: Any
    blobs: list[Blob]

    def blob(self, text: str) -> Blob | None:
        """What stood where `text` stands now; None: something else stands there."""
        index = text.rpartition("#")[2]
        if "#" not in text or not index.isdecimal() or int(index) >= len(self.blobs):
            return None
        return self.blobs[int(index)]


async def take(request: web.Request) -> Taken:
    """The body of a request. Raises ValueError where it is not JSON."""
    scanner = Scanner()
    async for chunk in request.content.iter_any():
        scanner.feed(chunk)
    return Taken(scanner.finish(), scanner.blobs)


class Scanner:
    """Takes base64 out of a JSON body: after `;base64,`, and as the value of a `data`."""

    def __init__(self) -> None:
        self.blobs: list[Blob] = []
        self._text = bytearray()
        self._pending = b""
        self._open: _Open | None = None

    def feed(self, chunk: bytes) -> None:
        self._pending += chunk
        while self._step():
            pass

    def finish(self) -> Any:
        """The document. Raises ValueError."""
        return json.loads(self._text + self._pending)

    def _step(self) -> bool:
        return self._look() if self._open is None else self._read(self._open)

    def _look(self) -> bool:
        mark = _MARK.search(self._pending)
        end = mark.end() if mark else max(0, len(self._pending) - _LONGEST_MARK)
        self._text += self._pending[:end]
        self._pending = self._pending[end:]
        if mark:
            self._open = _Open()
        return mark is not None

    def _read(self, blob: _Open) -> bool:
        quote = self._pending.find(b'"')
        end = quote if quote >= 0 else len(self._pending)
        try:
            left = blob.feed(self._pending[:end], is_last=quote >= 0)
        except binascii.Error as error:
            if not blob.has_begun:
                # An ordinary string that happens to be called "data".
                self._open = None
                return True
            blob.problem, left = str(error), b""
        self._pending = left + self._pending[end:]
        if quote < 0:
            return False
        self._close(blob.closed())
        return True

    def _close(self, blob: Blob) -> None:
        self._text += f"#{len(self.blobs)}".encode()
        self.blobs.append(blob)
        self._open = None


class _Open:
    """A blob of which more is to come."""

    def __init__(self) -> None:
        self.has_begun = False
        self.problem = ""
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._pieces = 1
        self._length = Length()

    def feed(self, text: bytes, *, is_last: bool) -> bytes:
        """Raises binascii.Error. Gives back what can not be decoded yet."""
        if self.problem:
            return b""
        *whole, rest = text.split(b",")
        for piece in whole:
            self._decode(piece)
            self._pieces += 1
        end = len(rest) if is_last else len(rest) // 4 * 4
        self._decode(rest[:end])
        return rest[end:]

    def closed(self) -> Blob:
        return Blob(
            sha256=self._hash.hexdigest(),
            bytes=self._bytes,
            seconds=self._length.seconds,
            pieces=self._pieces,
            problem=self.problem,
        )

    def _decode(self, text: bytes) -> None:
        data = b64decode(text.translate(_URL_SAFE), validate=True)
        self.has_begun = self.has_begun or bool(data)
        self._hash.update(data)
        self._bytes += len(data)
        self._length.feed(data)


class Length:
    """How long an mp4, mov or webm is, by its header; None where that does not tell."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._tail = b""
        self._head: bytes | None = b""

    def feed(self, data: bytes) -> None:
        if self.seconds is not None:
            return
        window = self._tail + data
        self.seconds = _mp4(window)
        self._tail = window[-40:]
        if self._head is not None and self.seconds is None:
            self._head = (self._head + data)[:_WEBM_HEAD]
            self.seconds = _webm(self._head)
            if len(self._head) == _WEBM_HEAD:
                self._head = None


def _mp4(window: bytes) -> float | None:
    """The duration of a movie header: `mvhd`, version, flags, two times, time scale, duration."""
    for found in _MVHD.finditer(window):
        layout = ">4xQQIQ" if found[1] == b"\x01" else ">4xIIII"
        fields = window[found.start(1) : found.start(1) + struct.calcsize(layout)]
        if len(fields) == struct.calcsize(layout):
            *_, scale, duration = struct.unpack(layout, fields)
            if scale:
                return float(duration / scale)
    return None


def _webm(head: bytes) -> float | None:
    """The Duration of a Segment's Info, in its TimecodeScale, by default milliseconds."""
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    scale = re.search(rb"\x2a\xd7\xb1\x83(.{3})", head, re.DOTALL)
    found = re.search(rb"\x44\x89(?:\x88(.{8})|\x84(.{4}))", head, re.DOTALL)
    if found is None:
        return None
    value = struct.unpack(">d", found[1]) if found[1] else struct.unpack(">f", found[2])
    unit = int.from_bytes(scale[1], "big") if scale else 1_000_000
    return float(value[0] * unit / 1e9)
