"""The mp4 that is handed out: written front to back, index first, without a file to go back in.

FFmpeg's muxer writes the index (moov) last, and then goes back to say how long the data (mdat) is.
Here the beginning is held back, the data goes out as it comes, and the index, with every place in
it moved by its own length, is given last, as the beginning of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_HEAD_BYTES = 4096  # what is held back: all boxes before the data, and some of it
_NESTED = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_MOST_BYTES = 2**32 - 2**24  # places are 32 bits wide


class Sink:
    """What a muxer writes to. `taken` gives what is ready to go out; once `ending` is set, the rest
    stays here for `finish`."""

    def __init__(self) -> None:
        self.ending = False
        self._head = bytearray()
        self._tail = bytearray()
        self._ready: list[bytes] = []
        self._waiting = 0
        self._size = 0
        self._at = 0

    @property
    def size(self) -> int:
        return self._size

    @property
    def waiting(self) -> int:
        """How many bytes `taken` would give."""
        return self._waiting

    def taken(self) -> bytes:
        data = b"".join(self._ready)
        self._ready.clear()
        self._waiting = 0
        return data

    def finish(self) -> tuple[bytes, bytes]:
        """The beginning of the file, and its end; between them goes what was taken before."""
        head, tail = bytes(self._head), bytes(self._tail)
        boxes = {name: (at, size) for name, at, size in _boxes(head)}
        at, size = boxes[b"mdat"]
        sent = self._size - len(head) - len(tail)
        over = at + size - len(head)  # how much of the data is behind the beginning
        if over < 0:
            data, index, rest = head[at : at + size], head[at + size :] + tail, b""
        else:
            data, index, rest = head[at:], tail[over - sent :], tail[: over - sent]
        return head[:at] + _moved(index, len(index)) + data, rest

    # ---- what a muxer calls

    def write(self, data: bytes) -> int:
        if self._at < self._size:
            self._mend(data)
        else:
            self._append(bytes(data))
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def _append(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > _MOST_BYTES:
            raise OSError("the file is too large")
        missing = _HEAD_BYTES - len(self._head)
        self._head += data[:missing]
        if rest := data[max(0, missing) :]:
            if self.ending:
                self._tail += rest
            else:
                self._ready.append(rest)
                self._waiting += len(rest)

    def _mend(self, data: bytes) -> None:
        if self._at + len(data) > len(self._head):
            raise OSError("only the beginning can be written again")
        self._head[self._at : self._at + len(data)] = data


def _boxes(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and size of the boxes that begin in data[at:end]."""
    end = len(data) if end is None else end
    while at + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, at)
        if size < 8:
            return
        yield name, at, size
        at += size


def _moved(index: bytes, by: int) -> bytes:
    """The index for data that lies so many bytes further back."""
    moved = bytearray(index)

    def walk(at: int, end: int) -> None:
        for name, begin, size in _boxes(index, at, end):
            if name in _NESTED:
                walk(begin + 8, begin + size)
            elif name in (b"stco", b"co64"):
                one = ">I" if name == b"stco" else ">Q"
                [count] = struct.unpack_from(">I", index, begin + 12)
                for number in range(count):
                    place = begin + 16 + number * struct.calcsize(one)
                    [was] = struct.unpack_from(one, index, place)
                    struct.pack_into(one, moved, place, was + by)

    walk(0, len(index))
    return bytes(moved)
