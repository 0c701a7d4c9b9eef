"""`telecine.fake` for tests: in a thread of its own, with its record at hand.

with serve() as upstream:
    upstream.url + "/openrouter"     as telecine/fake has it, and so on
    upstream.last                    the question that it was asked last
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from telecine.fake import server
from telecine.fake.record import Received, Record

KEY = "sk-or-v1-0123456789abcdef"


class Upstream(Record):
    def __init__(self) -> None:
        super().__init__(key=KEY)
        self.url = ""

    @property
    def last(self) -> Received:
        return self.received[-1]


@contextlib.contextmanager
def serve() -> Iterator[Upstream]:
    """On a loopback port of its own, in a thread of its own."""
    upstream = Upstream()
    loop = asyncio.new_event_loop()
    serving = server.serving(upstream)
    upstream.url = loop.run_until_complete(serving.__aenter__())
    thread = threading.Thread(target=loop.run_forever, name="fake upstream")
    thread.start()
    try:
        yield upstream
    finally:
        asyncio.run_coroutine_threadsafe(_stop(serving), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _stop(serving: contextlib.AbstractAsyncContextManager[str]) -> None:
    await serving.__aexit__(None, None, None)
    # Connections that were aborted leave tasks behind.
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
