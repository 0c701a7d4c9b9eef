import asyncio

import pytest


@pytest.fixture
def run():
    """Run one coroutine to its end, in a loop of its own, for 30 seconds at most."""

    def run(work):
        async def limited():
            async with asyncio.timeout(30):
                return await work

        return asyncio.run(limited())

    return run
