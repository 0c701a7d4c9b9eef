"""Ten minutes of mixed load on one server: does anything grow that should not?

    python bench/soak.py [--minutes 10] [--rate 60]

Every second `rate` calls begin: sync runs, token streams, queued jobs that are polled to their
end, uploads, and calls that are refused; besides, bodies that come at a byte a second. Memory (PSS
of the process tree), file handles and threads are read every five seconds, and the median of the
last minute is compared with that of the second one; the first is for warming up.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from statistics import median

import aiohttp
from run import ENDPOINT, HEADERS, Server, served, spread, tell

KINDS = {"run": 45, "stream": 15, "queue": 25, "upload": 10, "wrong": 5}
SLOW = 20  # connections that dawdle, all the time


async def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--minutes", type=float, default=10.0)
    asked.add_argument("--rate", type=int, default=60)
    given = asked.parse_args()
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        served(session) as (server, _),
    ):
        soak = Soak(server, session)
        await soak.run(given.minutes * 60, given.rate)
        soak.tell(given.rate)


class Soak:
    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server, self.session = server, session
        self.samples: list[tuple[float, float, int, int]] = []
        self.outcomes: Counter[str] = Counter()
        self.times: list[float] = []
        self.began = time.monotonic()

    async def run(self, seconds: float, rate: int) -> None:
        chance = random.Random(1)
        end = self.began + seconds
        slow = [asyncio.create_task(self._dawdle(end)) for _ in range(SLOW)]
        sampler = asyncio.create_task(self._sample(end))
        calls: set[asyncio.Task[None]] = set()
        tick = time.monotonic()
        while time.monotonic() < end:
            for kind in chance.choices(list(KINDS), list(KINDS.values()), k=max(1, rate // 10)):
                task = asyncio.create_task(self._call(kind))
                calls.add(task)
                task.add_done_callback(calls.discard)
            tick += 0.1
            await asyncio.sleep(max(0.0, tick - time.monotonic()))
        await asyncio.gather(*calls)
        await sampler
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    async def _call(self, kind: str) -> None:
        began = time.perf_counter()
        try:
            status = await getattr(self, f"_{kind}")()
        except (aiohttp.ClientError, TimeoutError) as error:
            status = type(error).__name__
        self.outcomes[f"{kind} {status}"] += 1
        if kind == "run":
            self.times.append(time.perf_counter() - began)

    async def _post(self, path: str, **more: object) -> int:
        url = self.server.url + path
        async with self.session.post(url, headers=HEADERS, **more) as answer:  # type: ignore[arg-type]
            await answer.read()
            return answer.status

    async def _run(self) -> int:
        return await self._post(f"/{ENDPOINT}", json={"prompt": "x" * 450, "model": "echo/echo"})

    async def _stream(self) -> int:
        asked = {"prompt": "x", "model": "echo/count-300"}
        return await self._post(f"/{ENDPOINT}/stream", json=asked)

    async def _wrong(self) -> int:
        return await self._post(f"/{ENDPOINT}", data=b'{"prompt": ')

    async def _upload(self) -> int:
        return await self._post("/files/upload", data=os.urandom(20_000))

    async def _queue(self) -> int:
        url = f"{self.server.url}/queue/{ENDPOINT}"
        asked = {"prompt": "x" * 450, "model": "echo/echo"}
        async with self.session.post(url, headers=HEADERS, json=asked) as answer:
            if answer.status != 200:
                return answer.status
            status_url = (await answer.json())["status_url"]
        while True:
            async with self.session.get(status_url, headers=HEADERS) as answer:
                if (await answer.json())["status"] == "COMPLETED":
                    return 200
            await asyncio.sleep(0.2)

    async def _dawdle(self, end: float) -> None:
        """A body at a byte a second, over and over."""
        host, port = self.server.url.removeprefix("http://").split(":")
        while time.monotonic() < end:
            _, writer = await asyncio.open_connection(host, int(port))
            try:
                head = (
                    f"POST /{ENDPOINT} HTTP/1.1\r\nHost: {host}\r\n"
                    f"Authorization: {HEADERS['Authorization']}\r\n"
                    "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
                )
                writer.write(head.encode())
                for _ in range(20):
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(1)
            except OSError:
                pass
            finally:
                writer.close()

    async def _sample(self, end: float) -> None:
        while time.monotonic() < end:
            self.samples.append((time.monotonic() - self.began, *sizes(self.server.process.pid)))
            await asyncio.sleep(5)

    def tell(self, rate: int) -> None:
        last = self.samples[-1][0]
        tell("load", f"{rate} calls/s for {last:.0f} s, {SLOW} slow connections")
        tell("calls", ", ".join(f"{name}: {n}" for name, n in sorted(self.outcomes.items())))
        tell("run, meanwhile", spread(self.times))
        for place, (name, unit) in enumerate(
            (("memory (PSS of the tree)", " MB"), ("file handles", ""), ("threads", "")), 1
        ):
            by_minute: dict[int, list[float]] = {}
            for sample in self.samples:
                by_minute.setdefault(int(sample[0] // 60), []).append(sample[place])
            medians = ", ".join(f"{median(each):.0f}" for each in by_minute.values())
            tell(f"{name}, minute by minute", f"{medians}{unit}")
        failed = sum(n for what, n in self.outcomes.items() if what.split()[1] not in "200 422")
        tell("calls that failed", str(failed))


def sizes(pid: int) -> tuple[float, int, int]:
    """Megabytes (PSS), file handles and threads of the process tree."""
    pss = handles = threads = 0
    for each in tree(pid):
        try:
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
            pss += int(rollup.split("Pss:")[1].split()[0])
            handles += len(os.listdir(f"/proc/{each}/fd"))
            threads += len(os.listdir(f"/proc/{each}/task"))
        except (OSError, IndexError):
            continue  # it ended meanwhile
    return pss / 1024, handles, threads


def tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    with suppress(OSError):  # it ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


if __name__ == "__main__":
    asyncio.run(main())
