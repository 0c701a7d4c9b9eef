"""uvicorn, set up for Telecine: apart from `serve`, so that only serving pays for its import."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


class Server(uvicorn.Server):
    """Stops on SIGINT or SIGTERM: `on_stop` is told, open connections get `stop_seconds`, then it
    returns."""

    def __init__(
        self, app: ASGIApp, *, stop_seconds: float, on_stop: Callable[[], None] = lambda: None
    ) -> None:
        self._on_stop = on_stop
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
