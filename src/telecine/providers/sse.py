"""Server-sent events, taken apart. Never touches the network, so it can be tested byte by byte."""

from __future__ import annotations


class EventTooLarge(ValueError):
    """One event is larger than the cap; whoever sends that is broken or means harm."""


class Decoder:
    """Bytes in, in pieces of any size; the `data` of each event out, in order.

    Takes what servers really send: comments, CRLF, CR or LF, characters cut in two, fields we have
    no use for (event, id, retry), a byte order mark. Events without data are dropped.
    """

    def __init__(self, *, max_bytes: int = 8 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._data: list[bytes] = []
        self._bytes = 0
        self._is_after_cr = False
        self._is_first_line = True

    def feed(self, chunk: bytes) -> list[str]:
        """The events that `chunk` completes. Raises EventTooLarge."""
        if self._is_after_cr and chunk:
            self._is_after_cr = False
            chunk = chunk.removeprefix(b"\n")
        events: list[str] = []
        for piece in chunk.splitlines(keepends=True):
            self._grow(len(piece))
            self._line += piece
            if piece.endswith((b"\n", b"\r")):
                self._is_after_cr = piece.endswith(b"\r")
                self._end_line(events)
        return events

    def finish(self) -> list[str]:
        """The event that the end completes, for servers that leave out the last blank line."""
        events: list[str] = []
        self._end_line(events)
        self._end_event(events)
        return events

    def _grow(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._max_bytes:
            raise EventTooLarge(f"an event of more than {self._max_bytes} bytes")

    def _end_line(self, events: list[str]) -> None:
        line = bytes(self._line).rstrip(b"\r\n")
        self._line.clear()
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            self._end_event(events)
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif not self._data:
            # Endless comments are keep-alives, not one endless event.
            self._bytes = 0

    def _end_event(self, events: list[str]) -> None:
        if any(self._data):
            events.append(b"\n".join(self._data).decode("utf-8", "replace"))
        self._data.clear()
        self._bytes = 0
