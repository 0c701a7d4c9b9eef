"""A JSON body with files in it, sent as it is read: no video is ever held whole in memory."""

from __future__ import annotations

import asyncio
import json
import secrets
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from telecine.errors import Loc
from telecine.models import LinkPart, Part

# A multiple of three, so that the base64 of the pieces joins up without padding in between.
_PIECE = 3 * 128 * 1024


@dataclass(frozen=True, slots=True)
class Base64:
    """Stands in a document for a string: `prefix`, then the file's bytes in base64.

    `others`: files that follow in the same string, each after a comma.
    """

    path: Path
    prefix: str = ""
    others: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path, *self.others)


class Body(Payload):
    """`document` as JSON, every `Base64` in it read from its file while it is sent.

    The length is known beforehand; the files must not change meanwhile. `on_progress` is called
    whenever the connection has taken a piece. `is_sent` tells whether the other end can have
    understood the request.
    """

    on_progress: Callable[[], None]

    def __init__(self, document: Any) -> None:
        super().__init__(document, content_type="application/json")
        files: list[Base64] = []
        # Random, so that no prompt can contain it.
        mark = secrets.token_hex(16)

        def stand_in(value: Any) -> str:
            if not isinstance(value, Base64):
                raise TypeError(f"{type(value).__name__} is not JSON")
            files.append(value)
            return mark

        text = json.dumps(document, default=stand_in, separators=(",", ":"))
        self._texts = [piece.encode() for piece in text.split(f'"{mark}"')]
        self._files = files
        self._size = sum(map(len, self._texts)) + sum(map(_length, files))
        self.on_progress = lambda: None
        self.is_sent = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("a body with videos in it is only ever streamed")

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._consumed = True
        await writer.write(self._texts[0])
        for file, text in zip(self._files, self._texts[1:], strict=True):
            start = f'"{file.prefix}'.encode()
            for path in file.paths:
                await writer.write(start)
                await self._write_file(writer, path)
                start = b","
            await writer.write(b'"' + text)
        self.is_sent = True
        self.on_progress()

    async def _write_file(self, writer: AbstractStreamWriter, path: Path) -> None:
        with path.open("rb") as source:
            while piece := await asyncio.to_thread(_read, source):
                await writer.write(piece)
                self.on_progress()


def loc(part: Part) -> Loc:
    """Where in the input it stands."""
    return part.loc if isinstance(part, LinkPart) else part.media.loc


def _read(source: BinaryIO) -> bytes:
    return b64encode(source.read(_PIECE))


def _length(file: Base64) -> int:
    sizes = [4 * -(-path.stat().st_size // 3) for path in file.paths]
    return len(file.prefix) + sum(sizes) + len(file.others) + len('""')
