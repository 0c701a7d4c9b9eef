"""uvicorn, set up for Telecine: apart from `serve`, so that only serving pays for its import."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
from starlette.types import ASGIApp

from telecine.cli.connection import LIMITS, Connection, Crowd, Limits

if TYPE_CHECKING:
    from telecine.cli.tls import Tls

log = logging.getLogger("telecine.server")


class Server(uvicorn.Server):
    """`on_start` is told when it answers, and stops as it should from then on.

    Stops on SIGINT or SIGTERM: `on_stop` is told, and open connections get `stop_seconds`.

    If some are left then, or when SIGINT comes a second time, `on_stop` is told again: what runs
    must be answered now. Who is still not answered after `limits.farewell_seconds` is cut off:
    files on their way, and status streams, which have no honest last word (fal's JavaScript client
    takes the last event before a normal end as the end of the request). With `tls` it listens
    there too.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        stop_seconds: float,
        on_start: Callable[[], None] = lambda: None,
        on_stop: Callable[[], None] = lambda: None,
        tls: Tls | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self._stop_seconds = stop_seconds
        self._on_start = on_start
        self._on_stop = on_stop
        self._tls = tls
        self._limits = limits
        self._is_stopping = False
        connection = partial(
            Connection,
            limits=limits,
            crowd=Crowd(limits.connections),
            is_stopping=lambda: self._is_stopping,
        )
        config = uvicorn.Config(
            app,
            http=connection,  # type: ignore[arg-type]  # it is only ever called
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._tls:
            loop = asyncio.get_running_loop()
            for listener in self._tls.sockets:
                self.servers.append(
                    await loop.create_server(self._protocol, sock=listener, ssl=self._tls.context)
                )
        self._on_start()

    def _protocol(self) -> asyncio.Protocol:
        """What uvicorn makes for its own listeners."""
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # In place of uvicorn's, which cancels what runs too long: that ends in a plain 500, or in
        # the middle of a stream, and with a traceback.
        self._is_stopping = True
        self._on_stop()
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if not await self._all_have_gone(self._stop_seconds):
            self._on_stop()
            await self._all_have_gone(self._limits.farewell_seconds)
        await self._cut_off()

    async def _all_have_gone(self, seconds: float) -> bool:
        """Whether they had, so many seconds later or when SIGINT comes (again)."""
        state, was_forced = self.server_state, self.force_exit
        until = asyncio.get_running_loop().time() + seconds
        while state.connections or state.tasks:
            is_time = asyncio.get_running_loop().time() >= until
            if is_time or self.force_exit != was_forced:
                return False
            await asyncio.sleep(0.02)
        return True

    async def _cut_off(self) -> None:
        for connection in list(self.server_state.connections):
            assert isinstance(connection, Connection)
            connection.cut()
        late = set(self.server_state.tasks)
        if late:
            _, late = await asyncio.wait(late, timeout=self._limits.farewell_seconds)
        if late:
            log.error("%d calls did not end; they are cancelled", len(late))
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=self._limits.farewell_seconds)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises what it caught once more at its end, which would end the process before
        # the rest is closed, and with a failure; a stop that was asked for and went well is none.
        with super().capture_signals():
            yield
            self._captured_signals.clear()
