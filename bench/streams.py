"""Thousands of streams open at once on one server: how many bytes does each take?

    python bench/streams.py [--streams 5000] [--seconds 120]

The streams are `echo/count-20-wait-SECONDS`: twenty words, so slowly that all are open at once (a
busy machine needs more seconds; the figures are worth nothing if some ended before the last was
open). Memory is read (PSS of the process tree) with none and with all of them open, and again when
they have ended; meanwhile /health and small runs are called. Every stream must end whole.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from statistics import median

import aiohttp
from run import ENDPOINT, HEADERS, Server, ask, question, served, tell
from soak import sizes

OPENED_AT_ONCE = 1000


async def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--streams", type=int, default=5000)
    asked.add_argument("--seconds", type=int, default=120)
    given = asked.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        served(session) as (server, _),
    ):
        await measure(session, server, given.streams, given.seconds)


async def measure(session: aiohttp.ClientSession, server: Server, count: int, seconds: int) -> None:
    await ask(session, "POST", f"{server.url}/{ENDPOINT}", json=question("echo/echo"))
    before = sizes(server.process.pid)
    opened = asyncio.Semaphore(OPENED_AT_ONCE)
    is_open = [asyncio.Event() for _ in range(count)]
    began = time.monotonic()
    calls = [
        asyncio.create_task(stream(session, server, f"echo/count-20-wait-{seconds}", opened, event))
        for event in is_open
    ]
    await asyncio.gather(*(event.wait() for event in is_open))
    tell("streams open at once", f"{count}, after {time.monotonic() - began:.1f} s")
    ended = sum(call.done() for call in calls)
    during = sizes(server.process.pid)
    tell("of them ended before the last was open", str(ended))
    tell("memory (PSS), none and all open", f"{before[0]:.0f} MB, {during[0]:.0f} MB")
    tell("each", f"{(during[0] - before[0]) * 1024 / count:.1f} KB")
    tell("file handles, none and all open", f"{before[1]}, {during[1]}")
    await others(session, server)
    whole = sum(await asyncio.gather(*calls))
    tell("streams that ended whole", f"{whole} of {count}")
    await session.close()
    await asyncio.sleep(2)
    after = sizes(server.process.pid)
    tell("memory and handles afterwards", f"{after[0]:.0f} MB, {after[1]}")


async def stream(
    session: aiohttp.ClientSession,
    server: Server,
    model: str,
    opened: asyncio.Semaphore,
    is_open: asyncio.Event,
) -> bool:
    """Whether it came to its end with everything."""
    async with opened:
        url = f"{server.url}/{ENDPOINT}/stream"
        answer = await session.post(url, headers=HEADERS, json=question(model))
        answer.raise_for_status()
        is_open.set()
    async with answer:
        events = (await answer.text()).split("data: ")
    last = json.loads(events[-1])
    return last["output"].split() == [str(number) for number in range(1, 21)]


async def others(session: aiohttp.ClientSession, server: Server) -> None:
    """What everybody else notices meanwhile."""
    times: list[float] = []
    for _ in range(50):
        began = time.perf_counter()
        async with session.get(f"{server.url}/health") as answer:
            answer.raise_for_status()
        times.append(time.perf_counter() - began)
    tell(
        "/health meanwhile, median and worst",
        f"{median(times) * 1000:.1f}, {max(times) * 1000:.1f} ms",
    )
    times.clear()
    for _ in range(50):
        began = time.perf_counter()
        await ask(session, "POST", f"{server.url}/{ENDPOINT}", json=question("echo/echo"))
        times.append(time.perf_counter() - began)
    tell(
        "run meanwhile, median and worst", f"{median(times) * 1000:.1f}, {max(times) * 1000:.1f} ms"
    )


asyncio.run(main())
