"""uvicorn, set up for Telecine: apart from `serve`, so that only serving pays for its import."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from telecine.cli.tls import Tls


class Server(uvicorn.Server):
    """Stops on SIGINT or SIGTERM: `on_stop` is told, open connections get `stop_seconds`, then it
    returns. With `tls` it listens there too."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        stop_seconds: float,
        on_stop: Callable[[], None] = lambda: None,
        tls: Tls | None = None,
    ) -> None:
        self._on_stop = on_stop
        self._tls = tls
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(stop_seconds)),
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

    def _protocol(self) -> asyncio.Protocol:
        """What uvicorn makes for its own listeners."""
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises what it caught once more at its end, which would end the process before
        # the rest is closed, and with a failure; a stop that was asked for and went well is none.
        with super().capture_signals():
            yield
            self._captured_signals.clear()
