"""Start, memory, CPU per request, submits and recovery of `telecine serve`, on this machine.

Everything goes over loopback HTTP to the installed command; `echo` answers, so what is measured is
Telecine. Figures are for comparing runs on one quiet machine.
"""

from __future__ import annotations

import asyncio
import compileall
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp

TELECINE = Path(sys.executable).with_name("telecine")
KEY = "bench:0123456789abcdef"
ENDPOINT = "openrouter/router/video"
HEADERS = {"Authorization": f"Key {KEY}"}
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """The command in a process of its own, in `folder`."""

    def __init__(self, folder: Path, url: str, process: subprocess.Popen[bytes]) -> None:
        self.folder, self.url, self.process = folder, url, process

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def pss_mb(self) -> float:
        rollup = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(rollup.split("Pss:")[1].split()[0]) / 1024

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait()


async def start(folder: Path, session: aiohttp.ClientSession, port: int) -> tuple[Server, float]:
    """The server, and the seconds until its first answer to /health."""
    (folder / "telecine.toml").write_text("[providers.echo]\n")
    environment = {**os.environ, "TELECINE_BOOTSTRAP_KEY": KEY}
    command = [TELECINE, "serve", "--data", folder / "data", "--port", str(port)]
    url, began = f"http://127.0.0.1:{port}", time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    while True:
        try:
            async with session.get(f"{url}/health") as answer:
                answer.raise_for_status()
                return Server(folder, url, process), time.perf_counter() - began
        except aiohttp.ClientConnectorError:
            if process.poll() is not None:
                raise SystemExit("the server ended at once") from None
            await asyncio.sleep(0.005)


@asynccontextmanager
async def served(session: aiohttp.ClientSession) -> AsyncIterator[tuple[Server, float]]:
    with tempfile.TemporaryDirectory() as folder:
        server, seconds = await start(Path(folder), session, free_port())
        try:
            yield server, seconds
        finally:
            server.kill(signal.SIGTERM)


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def ask(session: aiohttp.ClientSession, method: str, url: str, **more: Any) -> dict[str, Any]:
    async with session.request(method, url, headers=HEADERS, **more) as answer:
        body: dict[str, Any] = await answer.json()
        if answer.status not in (200, 202):
            raise SystemExit(f"{url}: {answer.status} {body}")
        return body


def question(model: str) -> dict[str, str]:
    return {"prompt": "x" * 450, "model": model}


async def many(count: int, at_once: int, call: Any) -> tuple[float, list[float]]:
    """Seconds in all, and of each call."""
    times: list[float] = []
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            began = time.perf_counter()
            await call()
            times.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(at_once)))
    return time.perf_counter() - began, times


def tell(what: str, figure: str) -> None:
    print(f"{what:<46} {figure}", flush=True)


def spread(times: list[float]) -> str:
    return f"p50 {median(times) * 1000:.1f} ms, p99 {quantiles(times, n=100)[98] * 1000:.1f} ms"


async def measure_start(session: aiohttp.ClientSession) -> None:
    """Compiled before, as pip leaves what it installs."""
    compileall.compile_dir(Path(str(files("telecine"))), quiet=1)
    starts = []
    for _ in range(5):
        async with served(session) as (server, seconds):
            starts.append(seconds)
            await asyncio.sleep(1)
            memory = server.pss_mb()
    tell("start to the first /health, median of 5", f"{median(starts):.2f} s")
    tell("idle memory (PSS)", f"{memory:.0f} MB")


async def measure_run(session: aiohttp.ClientSession) -> None:
    async with served(session) as (server, _):

        async def call() -> None:
            await ask(session, "POST", f"{server.url}/{ENDPOINT}", json=question("echo/echo"))

        await many(200, 8, call)
        _, times = await many(500, 1, call)
        tell("run, one client", spread(times))
        before = server.cpu_seconds()
        seconds, times = await many(3000, 16, call)
        tell("run, 16 clients", f"{3000 / seconds:.0f}/s, {spread(times)}")
        tell("server CPU per run", f"{(server.cpu_seconds() - before) / 3000 * 1000:.2f} ms")
        tell("memory after that (PSS)", f"{server.pss_mb():.0f} MB")


async def measure_submit(session: aiohttp.ClientSession) -> None:
    async with served(session) as (server, _):

        async def call() -> None:
            url = f"{server.url}/queue/{ENDPOINT}"
            await ask(session, "POST", url, json=question("echo/echo"))

        await many(100, 8, call)
        for at_once in (1, 16, 64):
            seconds, times = await many(200 * min(at_once, 10), at_once, call)
            tell(
                f"durable submit, {at_once} at once",
                f"{len(times) / seconds:.0f}/s, {spread(times)}",
            )


async def measure_recovery(session: aiohttp.ClientSession) -> None:
    """100 jobs, kill -9 among them, a new start: all must complete."""
    async with served(session) as (server, _):
        url = f"{server.url}/queue/{ENDPOINT}"
        jobs = [await ask(session, "POST", url, json=question("echo/wait-1")) for _ in range(100)]
        await asyncio.sleep(0.5)
        server.kill()
        again, seconds = await start(server.folder, session, int(server.url.rpartition(":")[2]))
        server.process = again.process
        done = 0
        for job in jobs:
            while (await ask(session, "GET", job["status_url"]))["status"] != "COMPLETED":
                await asyncio.sleep(0.1)
            done += (await ask(session, "GET", job["response_url"]))["output"] != ""
        tell(
            "jobs complete after kill -9 and a new start", f"{done} of 100 (start {seconds:.2f} s)"
        )


async def main() -> None:
    tell("CPUs, Python", f"{os.cpu_count()}, {sys.version.split()[0]}")
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await measure_start(session)
        await measure_run(session)
        await measure_submit(session)
        await measure_recovery(session)


if __name__ == "__main__":
    asyncio.run(main())
