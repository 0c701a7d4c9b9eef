"""Tells waiting coroutines that a request's row has changed: of this process, and of other nodes.

A ring is a hint and never the news itself: who hears it reads the row. Rings that come before
the listener looked count as one. Rings between nodes may get lost, and other processes on an
embedded installation ring nothing, so a listener also looks by itself now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager


class Bell:
    """Rung any number of times, heard once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        """Until it is rung, if it was not since it was last heard."""
        await self._event.wait()
        self._event.clear()

    async def heard(self, within_seconds: float) -> bool:
        """Whether it was rung since it was last heard; waits for that only so long."""
        try:
            async with asyncio.timeout(within_seconds):
                await self.wait()
        except TimeoutError:
            return False
        return True


class Bells:
    """One bell for each listener of a request, and for each listener of them all.

    `tell`, once it is set, carries rings to other nodes.
    """

    def __init__(self) -> None:
        self.tell: Callable[[Sequence[str]], None] | None = None
        self._bells: dict[str, set[Bell]] = {}
        self._for_all: set[Bell] = set()

    def ring(self, ids: Iterable[str]) -> None:
        changed = list(ids)
        for bell in self._for_all:
            bell.ring()
        self.ring_here(changed)
        if self.tell is not None and changed:
            self.tell(changed)

    def ring_here(self, ids: Iterable[str] | None) -> None:
        """For what another node changed; None: nobody knows what. Who listens to them all, the
        deliverer, need not hear it: the other node has one, too."""
        for request_id in self._bells if ids is None else ids:
            for bell in self._bells.get(request_id, ()):
                bell.ring()

    @contextmanager
    def listen(self, request_id: str) -> Iterator[Bell]:
        bell = Bell()
        self._bells.setdefault(request_id, set()).add(bell)
        try:
            yield bell
        finally:
            listeners = self._bells[request_id]
            listeners.discard(bell)
            if not listeners:
                del self._bells[request_id]

    @contextmanager
    def listen_to_all(self) -> Iterator[Bell]:
        """Rung for whichever request."""
        bell = Bell()
        self._for_all.add(bell)
        try:
            yield bell
        finally:
            self._for_all.discard(bell)
