"""A caller's connection, with limits on what may come before anybody has looked at it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

log = logging.getLogger("telecine.connection")

_FULL_URL = re.compile(rb"[a-z][a-z0-9+.-]*://([^/?#]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`head`: the request line and the headers. It may take `head_seconds` from the connection, or
    from its own first byte if it is not the first one; `last_head_seconds` once the server stops.

    `linger_seconds`: how long a refused caller may go on sending, so that it comes to read why.
    `farewell_seconds`: what the calls get that are told that the server can not wait any longer.
    `deaf_seconds`: how long a caller may take nothing of an answer that waits for it.
    `connections`: how many may be open at once.
    """

    head_bytes: int = 64 * 1024
    header_count: int = 256
    head_seconds: float = 30.0
    last_head_seconds: float = 1.0
    linger_seconds: float = 2.0
    farewell_seconds: float = 2.0
    deaf_seconds: float = 120.0
    connections: int = 10_000


LIMITS = Limits()


class Crowd:
    """The open connections. Where there is no room for another, the one goes that has waited
    longest for its next request: who says nothing keeps nobody out."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Connection] = set()
        self._idle: dict[Connection, None] = {}
        self._refused: set[Connection] = set()

    def has_room(self, connection: Connection) -> bool:
        """Whether it may stay; then it counts until `leave`."""
        if len(self._open) >= self._most:
            longest = next(iter(self._idle), None)
            if longest is None:
                return False
            self.leave(longest)
            longest.transport.close()
        self._open.add(connection)
        self._idle[connection] = None
        return True

    def may_linger(self, connection: Connection) -> bool:
        """Whether one that may not stay is told so: some, while a flood of them would take what
        the server needs for itself."""
        if len(self._refused) * 4 >= self._most:
            return False
        self._refused.add(connection)
        return True

    def idle(self, connection: Connection) -> None:
        """Nothing is to be done for it."""
        if connection in self._open:
            self._idle[connection] = None

    def busy(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def leave(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._refused.discard(connection)
        self._idle.pop(connection, None)


class Connection(HttpToolsProtocol):
    """Refuses in JSON what is no HTTP or too much of it, and never in the midst of an answer.

    A request that comes while the server stops has `telecine.is_stopping` in its scope.
    """

    def __init__(
        self,
        *args: Any,
        limits: Limits,
        crowd: Crowd,
        is_stopping: Callable[[], bool],
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self._limits = limits
        self._crowd = crowd
        self._is_stopping = is_stopping
        self._deadline: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._is_between = True  # no request has begun, or the last one is complete
        self._is_in_head = False
        self._is_over = False  # whatever comes now is not read
        self._head_bytes = 0
        self._idle_bytes = 0  # what came since something was last complete, in whole deliveries

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._crowd.has_room(self):
            self._expect_head()
        elif self._crowd.may_linger(self):
            self._refuse(_Refused(503, "The server has as many connections as it can. Try again"))
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.leave(self)
        self._no_deadline()
        self._is_heard()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._listen_for(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._is_heard()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self._unset_keepalive_if_required()
        if self._is_between and self._deadline is None:
            self._expect_head()
        self._idle_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_over = True  # we speak nothing else; the answer ends the connection
        except httptools.HttpParserError as error:
            reason = error.__context__
            if not isinstance(reason, _Refused):
                reason = _Refused(400, f"This is not HTTP as it should be: {reason or error}")
            self._refuse(reason)
        else:
            if self._idle_bytes > self._limits.head_bytes:
                self._refuse(self._too_large())

    def shutdown(self) -> None:
        """The server stops: this ends with the answer under way, or now if there is none."""
        if self._is_answering:
            self.cycle.keep_alive = False
        elif self._is_between or self._is_over:
            self.transport.close()
        else:
            self._expect_head()

    def cut(self) -> None:
        """End it now. Whoever works on an answer hears that the caller hung up."""
        self.transport.abort()

    # ------------------------------------------------------------ what the parser finds

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_between, self._is_in_head = False, True
        self._head_bytes = 0
        if self._deadline is None:
            self._expect_head()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._add_to_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_head:
            return  # it comes after the body, when all has been decided
        self._add_to_head(len(name) + len(value) + len(": \r\n"))
        if len(self.headers) == self._limits.header_count:
            raise _Refused(431, f"A request may have {self._limits.header_count} headers at most")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._check_head()
        self._no_deadline()
        self._crowd.busy(self)
        self._is_in_head = False
        self._idle_bytes = 0
        is_stopping = self._is_stopping()
        if is_stopping:
            self.scope["telecine.is_stopping"] = True  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        if is_stopping or self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def _check_head(self) -> None:
        """Raises _Refused for what another server in front may read as something else."""
        if reason := self._unclear():
            raise _Refused(400, f"This is not HTTP as it should be: {reason}")

    def _unclear(self) -> str | None:
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            return f"HTTP/{version} is not spoken here"
        names = [name for name, _ in self.headers]
        if version == "1.0" and b"transfer-encoding" in names:
            return "HTTP/1.0 has no Transfer-Encoding"
        if version == "1.1" and b"host" not in names:
            return "the header Host is missing"
        hosts = {value.lower() for name, value in self.headers if name == b"host"}
        target = _FULL_URL.match(self.url)
        if target and {target[1].lower()} != hosts:
            return "the request target names another host than the header Host"
        return None

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._idle_bytes = 0
        self._is_between = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._is_answering:
            self._crowd.idle(self)

    def _add_to_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.head_bytes:
            raise self._too_large()

    def _too_large(self) -> _Refused:
        most = self._limits.head_bytes
        if not self._is_in_head:
            return _Refused(400, f"There are more than {most} bytes around pieces of the body")
        if len(self.url) > most // 2:
            return _Refused(414, f"The request target and the headers have more than {most} bytes")
        return _Refused(431, f"The headers have more than {most} bytes")

    # ------------------------------------------------------------ ends

    @property
    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _expect_head(self) -> None:
        self._no_deadline()
        limits = self._limits
        seconds = limits.last_head_seconds if self._is_stopping() else limits.head_seconds
        self._deadline = self.loop.call_later(seconds, self._head_is_late)

    def _no_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _listen_for(self, size: int) -> None:
        """Of an answer of which `size` bytes wait some are to be taken, in time."""
        self._is_heard()
        self._patience = self.loop.call_later(self._limits.deaf_seconds, self._seems_deaf, size)

    def _is_heard(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _seems_deaf(self, size: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left < size:
            self._listen_for(left)
        else:
            self.cut()

    def _head_is_late(self) -> None:
        """Close without a word: clients take a 408 as an invitation to try again."""
        if self._is_answering:
            self._end_after_answer()
        else:
            self.transport.close()

    def _end_after_answer(self) -> None:
        self._is_over = True
        self.cycle.keep_alive = False

    def _refuse(self, reason: _Refused) -> None:
        log.debug("refused with %d: %s", reason.status, reason)
        self._no_deadline()
        self._is_over = True
        is_behind = self._is_in_head or self._is_between or bool(self.pipeline)
        if self._is_answering and is_behind:
            self._end_after_answer()
            return
        if self._is_answering:  # its body is what is wrong
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        self.transport.write(self._answer(reason))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # Closed with bytes unread, the system would take back what the caller has not read yet.
        self.loop.call_later(self._limits.linger_seconds, self.transport.close)

    def _answer(self, reason: _Refused) -> bytes:
        body = json.dumps({"detail": str(reason)}, separators=(",", ":")).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"access-control-allow-origin", b"*"),
            (b"x-fal-request-id", str(uuid.uuid4()).encode()),
            (b"connection", b"close"),
            *([(b"retry-after", b"1")] if reason.status == 503 else ()),
        ]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return STATUS_LINE[reason.status] + lines + b"\r\n" + body


class _Refused(Exception):
    """What the caller is told, and the status of it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
