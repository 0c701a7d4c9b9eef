"""PostgreSQL's notices: one connection that listens, and comes back when it broke.

A notice is a hint: what was sent while nobody listened is lost, and whoever depends on it looks by
himself now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from telecine.db.postgres import Postgres

if TYPE_CHECKING:
    import asyncpg

_log = logging.getLogger("telecine.db.notices")

AGAIN_SECONDS = 1.0
CHECK_SECONDS = 30.0  # a connection that is dead without a word is found then
ANSWER_SECONDS = 5.0


class Notices:
    """Enter it to listen. `missed` is called whenever notices may have been lost."""

    def __init__(self, db: Postgres, *, missed: Callable[[], None]) -> None:
        self._db = db
        self._missed = missed
        self._callbacks: dict[str, Callable[[str], None]] = {}
        self._connection: asyncpg.Connection | None = None
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(self._run(), name="telecine notices")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])

    async def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """Call `heard` with every notice on the channel from now on."""
        self._callbacks[channel] = heard
        if self._connection is not None:
            with contextlib.suppress(Exception):  # then it is broken, and the next one listens
                await self._connection.add_listener(channel, self._heard)

    async def send(self, channel: str, text: str) -> None:
        """Tell everybody who listens. Raises DatabaseFailed."""
        await self._db.ask("SELECT pg_notify($1, $2)", channel, text)

    async def _run(self) -> None:
        while True:
            try:
                await self._hold()
            except Exception as error:  # noqa: BLE001 -- whatever broke it, another one is opened
                _log.warning("not listening to other nodes: %s", str(error) or type(error).__name__)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _hold(self) -> None:
        connection = await self._db.connect()
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        try:
            for channel in self._callbacks:
                await connection.add_listener(channel, self._heard)
            self._connection = connection
            self._missed()
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_SECONDS):
                        await ended.wait()
                if not ended.is_set():
                    await connection.execute("SELECT 1", timeout=ANSWER_SECONDS)
        finally:
            self._connection = None
            connection.terminate()

    def _heard(self, _connection: object, _pid: int, channel: str, text: Any) -> None:
        if callback := self._callbacks.get(channel):
            callback(str(text))
