"""An event loop in a thread of its own, for the servers that tests put around Telecine."""

import asyncio
import threading
from typing import Self


class Background:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test servers")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.run(_cancel_the_rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work, seconds=30):
        """Run a coroutine there, to its end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def call(self, function, *arguments):
        """Call a plain function there, now."""

        async def work():
            return function(*arguments)

        return self.run(work())


async def _cancel_the_rest():
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
