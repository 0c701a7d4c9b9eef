"""Telecine beside its peers, in turns in one run on one machine.

    python bench/peers.py [--portkey BIN] [--litellm BIN] [--bentoml BIN] [--rounds 5]

None of the peers comes with Telecine: it measures those whose commands it is given, and Telecine
alone without any. Each runs as it comes, one worker, in a process of its own:

sync    0.5 KB to a gateway in front of bench/upstream.py: CPU of its process tree for each request
        (all that it does afterwards included), and what it adds to the median of one client.
submit  durable ones to Telecine's queue, others to BentoML's @task, from 1, 16 and 64 clients; the
        jobs run meanwhile. How soon a job starts on an idle server is bench/submit.py's.
bodies  eight of 20 MB at once, each with a video as a data URI: memory (PSS of the tree), and the
        slowest small request meanwhile.

Wall-clock figures are worth something on a quiet machine alone; the load is told beside them.
Where `perf stat` counts instructions, those of one call are told too: they do not depend on what
else a machine does, nor much on how fast it is.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self
from urllib.parse import urlsplit

import uvloop
from run import ENDPOINT, KEY, TELECINE, TICKS, free_port, tell
from soak import sizes, tree
from submit import fsync_milliseconds, start_latency, told

HERE = Path(__file__).parent
CLIP = HERE.parent / "src/telecine/cli/clip.mp4"
WORDS = "x" * 400  # with the names around it half a kilobyte
BODIES, BODY_BYTES = 8, 20_000_000
AFTER_SECONDS = 5.0
BUSY = 2.0
PERF = shutil.which("perf")

SERVICE = """\
import bentoml

@bentoml.service(workers=1)
class Bench:
    @bentoml.task
    async def answer(self, prompt: str, model: str) -> str:
        return prompt
"""


@dataclass
class Server:
    """One that was started here, with all its processes."""

    name: str
    url: str
    process: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        ticks = 0
        for pid in tree(self.process.pid):
            with contextlib.suppress(OSError):  # it ended meanwhile
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, stat[11:15]))
        return ticks / TICKS

    def pss_mb(self) -> float:
        return sizes(self.process.pid)[0]

    async def quiet(self) -> None:
        """Until it has done what it does after it answered."""
        before = self.cpu_seconds()
        for _ in range(100):
            await asyncio.sleep(0.3)
            now = self.cpu_seconds()
            if now - before <= 0.02:
                return
            before = now
        raise SystemExit(f"{self.name} does not come to rest")


@dataclass(eq=False)
class Way:
    """One way to ask: what is measured. `document`: the body, with a video if there is one."""

    name: str
    server: Server
    path: str
    headers: Mapping[str, str]
    document: Callable[[str | None], Any]
    one: list[float] = field(default_factory=list)  # median milliseconds of one client, by round
    cpu: list[float] = field(default_factory=list)  # milliseconds for each of its requests
    cpu_many: list[float] = field(default_factory=list)  # the same, of eight clients
    instructions: list[float] = field(default_factory=list)  # millions for each of those
    idle: float = 0.0  # megabytes
    peak: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    worst: list[float] = field(default_factory=list)  # milliseconds
    failed: int = 0  # large bodies without an answer

    def head(self, size: int, more: str = "") -> bytes:
        lines = [f"{name}: {value}" for name, value in self.headers.items()]
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: {urlsplit(self.server.url).netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {size}\r\n{more}"
            + "".join(f"{line}\r\n" for line in lines)
            + "\r\n"
        ).encode()

    def small(self) -> bytes:
        body = json.dumps(self.document(None)).encode()
        return self.head(len(body)) + body

    @property
    def address(self) -> tuple[str, int]:
        url = urlsplit(self.server.url)
        return str(url.hostname), int(url.port or 80)


# ---------------------------------------------------------------- asking


class Line:
    """A kept connection. As little client as can be: its own time is in every figure."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def post(self, message: bytes) -> tuple[int, bytes]:
        self._writer.write(message)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if b"\r\ntransfer-encoding: chunked" in head:
            body = b""
            while size := int(await self._reader.readline(), 16):
                body += await self._reader.readexactly(size)
                await self._reader.readline()
            await self._reader.readline()
        else:
            length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            body = await self._reader.readexactly(int(length))
        return int(head.split(b" ", 2)[1]), body


@asynccontextmanager
async def lines(way: Way, count: int) -> AsyncIterator[list[Line]]:
    opened = [await asyncio.open_connection(*way.address) for _ in range(count)]
    try:
        yield [Line(*each) for each in opened]
    finally:
        for _, writer in opened:
            writer.close()


async def ask(way: Way, line: Line, message: bytes) -> float:
    """Milliseconds of one request."""
    began = time.perf_counter()
    status, body = await line.post(message)
    if status != 200:
        raise SystemExit(f"{way.name}: {status} {body[:500]!r}")
    return (time.perf_counter() - began) * 1e3


async def asked(way: Way, count: int, clients: int) -> tuple[list[float], float]:
    """Milliseconds of each request, and of CPU for one."""
    message, left, times = way.small(), iter(range(count)), list[float]()

    async def client(line: Line) -> None:
        for _ in left:
            times.append(await ask(way, line, message))

    async with lines(way, clients) as opened:
        await way.server.quiet()
        before = way.server.cpu_seconds()
        await asyncio.gather(*map(client, opened))
        await way.server.quiet()
    return times, (way.server.cpu_seconds() - before) / count * 1e3


@asynccontextmanager
async def counted(server: Server, found: list[int]) -> AsyncIterator[None]:
    """What its processes execute meanwhile, in their own code, goes into `found`."""
    if PERF is None:
        yield
        return
    pids = ",".join(map(str, tree(server.process.pid)))
    perf = subprocess.Popen(
        [PERF, "stat", "-x", ";", "-e", "instructions:u", "-p", pids],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        await asyncio.sleep(0.5)
        yield
    finally:
        perf.send_signal(signal.SIGINT)
        said = perf.communicate()[1].partition(";")[0]
    if said.isdecimal():  # else this processor does not tell
        found.append(int(said))


async def submitted(way: Way, clients: int, seconds: float) -> tuple[float, float]:
    """Submits a second, and milliseconds of CPU for one, with its job."""
    message, count = way.small(), 0

    async def client(line: Line) -> None:
        nonlocal count
        while time.perf_counter() < until:
            await ask(way, line, message)
            count += 1

    async with lines(way, clients) as opened:
        await way.server.quiet()
        before, began = way.server.cpu_seconds(), time.perf_counter()
        until = began + seconds
        await asyncio.gather(*map(client, opened))
        rate = count / (time.perf_counter() - began)
        await way.server.quiet()
    return rate, (way.server.cpu_seconds() - before) / count * 1e3


# ---------------------------------------------------------------- large bodies


def padded_clip() -> str:
    """A real video of that size, as a data URI: filled up with a box that players skip."""
    clip = CLIP.read_bytes()
    free = BODY_BYTES * 3 // 4 - len(clip)
    clip += free.to_bytes(4, "big") + b"free" + bytes(free - 8)
    return "data:video/mp4;base64," + base64.b64encode(clip).decode()


def send_large(way: Way, path: Path) -> bool:
    """Whether it was answered. In a thread; the kernel copies the file, so that nothing of the
    sender is in the figures."""
    with path.open("rb") as file, socket.create_connection(way.address, timeout=120) as connection:
        with contextlib.suppress(OSError):  # it was hung up on
            connection.sendall(way.head(path.stat().st_size, "Connection: close\r\n"))
            connection.sendfile(file)
            answer = connection.recv(65536)
            while connection.recv(65536):
                pass
            return answer.split(b" ", 2)[1:2] == [b"200"]
    return False


class Watch:
    """The most memory that a server has, while the block lasts."""

    def __init__(self, server: Server) -> None:
        self.peak, self._server, self._over = 0.0, server, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.peak = max(self.peak, self._server.pss_mb())


async def large(way: Way, path: Path) -> None:
    message, worst = way.small(), 0.0
    async with lines(way, 1) as (line,):
        await ask(way, line, message)
        with Watch(way.server) as watch:
            sending = asyncio.gather(
                *(asyncio.to_thread(send_large, way, path) for _ in range(BODIES))
            )
            while not sending.done():
                worst = max(worst, await ask(way, line, message))
                await asyncio.sleep(0.005)
            way.failed += (await sending).count(False)
    await asyncio.sleep(AFTER_SECONDS)
    way.peak.append(watch.peak)
    way.after.append(way.server.pss_mb())
    way.worst.append(worst)


# ---------------------------------------------------------------- who is measured


@asynccontextmanager
async def started(
    name: str,
    command: Sequence[str | Path],
    port: int,
    alive: str,
    *,
    folder: Path,
    environment: Mapping[str, str] = {},
) -> AsyncIterator[Server]:
    url = f"http://127.0.0.1:{port}"
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"GET {alive} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                is_alive = b" 200 " in await reader.readline()
                writer.close()
                if is_alive:
                    break
            if process.poll() is not None:
                break
            await asyncio.sleep(0.1)
        else:
            process.kill()
        if process.poll() is not None:
            said = (folder / f"{name}.log").read_text()[-2000:]
            raise SystemExit(f"{name} did not start: {said}")
        yield Server(name, url, process)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()


def chat(model: str) -> Callable[[str | None], Any]:
    def document(video: str | None) -> Any:
        content: Any = WORDS
        if video:
            part = {"type": "video_url", "video_url": {"url": video}}
            content = [{"type": "text", "text": WORDS}, part]
        return {"model": model, "messages": [{"role": "user", "content": content}]}

    return document


def router(model: str) -> Callable[[str | None], Any]:
    def document(video: str | None) -> Any:
        given = {"video_urls": [video]} if video else {}
        return {"model": model, "prompt": WORDS, **given}

    return document


class Field:
    """All that take part, running: the gateways, and who has a queue."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.syncs: list[Way] = []
        self.queues: list[Way] = []

    async def upstream(self) -> None:
        port = free_port()
        command = [sys.executable, HERE / "upstream.py", str(port)]
        server = await self._start("upstream", command, port, "/v1/models")
        self._base = f"{server.url}/v1"
        self._sync("direct", server, "/v1/chat/completions", {}, chat("bench"))

    async def telecine(self) -> None:
        (self._folder / "telecine.toml").write_text(
            "[providers.echo]\n\n[providers.bench]\n"
            f'type = "openai"\nbase_url = "{self._base}"\nvideo = "native"\n'
        )
        port = free_port()
        command = [TELECINE, "serve", "--data", self._folder / "data", "--port", str(port)]
        environment = {"TELECINE_BOOTSTRAP_KEY": KEY}
        server = await self._start("telecine", command, port, "/health", environment)
        headers = {"Authorization": f"Key {KEY}"}
        path = "/openrouter/router/openai/v1/chat/completions"
        self._sync("telecine", server, f"/{ENDPOINT}", headers, router("bench/bench"))
        self._sync("telecine, chat", server, path, headers, chat("bench/bench"))
        queue = Way("telecine", server, f"/queue/{ENDPOINT}", headers, router("echo/echo"))
        self.queues.append(queue)

    async def portkey(self, command: str) -> None:
        port = free_port()
        server = await self._start("portkey", [command, f"--port={port}", "--headless"], port, "/")
        headers = {
            "Authorization": "Bearer none",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": self._base,
        }
        self._sync("portkey", server, "/v1/chat/completions", headers, chat("bench"))

    async def litellm(self, command: str) -> None:
        (self._folder / "litellm.yaml").write_text(
            "model_list:\n  - model_name: bench\n    litellm_params:\n      model: openai/bench\n"
            f"      api_base: {self._base}\n      api_key: none\n"
        )
        port, key = free_port(), f"sk-{secrets.token_hex(32)}"  # it does not start without one
        server = await self._start(
            "litellm",
            [command, "--config", "litellm.yaml", "--host", "127.0.0.1", "--port", str(port)],
            port,
            "/health/liveliness",
            {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": key},
        )
        headers = {"Authorization": f"Bearer {key}"}
        self._sync("litellm", server, "/v1/chat/completions", headers, chat("bench"))

    async def bentoml(self, command: str) -> None:
        (self._folder / "service.py").write_text(SERVICE)
        port = free_port()
        environment = {
            "BENTOML_HOME": str(self._folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        arguments = ["serve", "service:Bench", "--host", "127.0.0.1", "--port", str(port)]
        server = await self._start("bentoml", [command, *arguments], port, "/readyz", environment)
        self.queues.append(Way("bentoml", server, "/answer/submit", {}, router("bench")))

    async def _start(
        self,
        name: str,
        command: Sequence[str | Path],
        port: int,
        alive: str,
        environment: Mapping[str, str] = {},
    ) -> Server:
        return await self._stack.enter_async_context(
            started(name, command, port, alive, folder=self._folder, environment=environment)
        )

    def _sync(
        self,
        name: str,
        server: Server,
        path: str,
        headers: Mapping[str, str],
        document: Callable[[str | None], Any],
    ) -> None:
        self.syncs.append(Way(name, server, path, headers, document))


# ---------------------------------------------------------------- in turns


async def measure_syncs(ways: Sequence[Way], rounds: int) -> None:
    for number in range(rounds + 1):
        for way in _turned(ways, number):
            times, cpu = await asked(way, 400, 1)
            _, cpu_many = await asked(way, 800, 8)
            executed = list[int]()
            async with counted(way.server, executed):
                await asked(way, 400, 8)
            if number:  # the first is for warming up
                way.instructions += [each / 400 / 1e6 for each in executed]
                way.one.append(median(times))
                way.cpu.append(cpu)
                way.cpu_many.append(cpu_many)
    columns = "CPU ms each (8 clients) | M instructions | p50 ms | added | x portkey's"
    tell("sync, 0.5 KB", columns)
    direct = ways[0].one
    portkey = next((way for way in ways if way.name == "portkey"), None)
    for way in ways:
        added = [mine - base for mine, base in zip(way.one, direct, strict=True)]
        each = spread(way.instructions) if way.instructions else "-"
        figures = f"{spread(way.cpu)} ({spread(way.cpu_many)}) | {each} | {spread(way.one)}"
        if way is not ways[0]:
            figures += f" | {spread(added)}"
        if portkey and way not in {ways[0], portkey}:
            theirs = [mine - base for mine, base in zip(portkey.one, direct, strict=True)]
            figures += f" | {spread([a / b for a, b in zip(added, theirs, strict=True)])}"
        tell(f"  {way.name}", figures)


async def measure_submits(ways: Sequence[Way], rounds: int, seconds: float, folder: Path) -> None:
    for way in ways:
        await submitted(way, 8, seconds)
    for clients in (1, 16, 64):
        found: dict[str, list[tuple[float, float]]] = {way.name: [] for way in ways}
        disk = list[float]()
        for number in range(rounds):
            disk.append(median(fsync_milliseconds(folder)))
            for way in _turned(ways, number):
                found[way.name].append(await submitted(way, clients, seconds))
        tell(f"submits a second, {clients} at once", f"(fsync {spread(disk)} ms)")
        for name, figures in found.items():
            rates, cpu = [rate for rate, _ in figures], [cpu for _, cpu in figures]
            tell(f"  {name}", f"{spread(rates, 0)}, CPU {spread(cpu)} ms each with its job")
        if len(found) == 2:
            (mine, theirs) = found.values()
            ratios = [a / b for (a, _), (b, _) in zip(mine, theirs, strict=True)]
            tell("  times BentoML's", spread(ratios, 1))


async def measure_start(folder: Path, rounds: int) -> None:
    disk, starts, bars = list[float](), list[float](), list[float]()
    for number in range(rounds):
        (place := folder / f"start-{number}").mkdir()
        disk.append(median(fsync_milliseconds(folder)))
        times = await start_latency(place)
        starts.append(median(times))
        bars.append(starts[-1] - 3 * disk[-1])
        tell("idle submit to start", f"{told(times)} (fsync p50 {disk[-1]:.2f} ms)")
    tell("  beyond three fsyncs", f"{spread(bars)} ms")


async def measure_bodies(ways: Sequence[Way], rounds: int, folder: Path) -> None:
    video, paths = padded_clip(), dict[str, Path]()
    for number, way in enumerate(ways):
        paths[way.name] = folder / f"body-{number}.json"
        paths[way.name].write_text(json.dumps(way.document(video)))
        await way.server.quiet()
        way.idle = way.server.pss_mb()
    for number in range(rounds):
        for way in _turned(ways, number):
            await large(way, paths[way.name])
    tell(f"{BODIES} bodies of 20 MB", "idle MB | growth | after | worst small, ms | failed")
    for way in ways:
        growth = [peak - way.idle for peak in way.peak]
        after = [left - way.idle for left in way.after]
        tell(
            f"  {way.name}",
            f"{way.idle:.0f} | +{spread(growth, 0)} | +{spread(after, 0)}"
            f" | {spread(way.worst, 0)} | {way.failed}",
        )


def _turned(ways: Sequence[Way], number: int) -> Sequence[Way]:
    place = number % len(ways)
    return [*ways[place:], *ways[:place]]


def spread(figures: Sequence[float], digits: int = 2) -> str:
    """The median of the rounds, and between which they were."""
    least, most = min(figures), max(figures)
    return f"{median(figures):.{digits}f} [{least:.{digits}f}-{most:.{digits}f}]"


def version(command: str) -> str:
    """What the command says it is; what came with npm has it in its package."""
    script = Path(command).resolve()
    if script.suffix == ".js":
        package = script.parents[1] / "package.json"
        return str(json.loads(package.read_text())["version"])
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return (said.stdout or said.stderr).strip().splitlines()[-1]


def tell_load(when: str) -> None:
    load = os.getloadavg()[0]
    busy = "; too busy for wall-clock figures" if load >= BUSY else ""
    tell(f"load {when}", f"{load:.2f}{busy}")


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for peer in ("portkey", "litellm", "bentoml"):
        parser.add_argument(f"--{peer}", metavar="BIN")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each round of submits")
    given = parser.parse_args()
    peers = {
        name: os.path.abspath(path)
        for name in ("portkey", "litellm", "bentoml")
        if (path := getattr(given, name))
    }
    tell("date", time.strftime("%Y-%m-%d %H:%M %Z"))
    tell("CPUs, Python", f"{os.cpu_count()}, {sys.version.split()[0]}")
    for name, command in {"telecine": str(TELECINE), **peers}.items():
        tell(name, version(command))
    tell_load("before")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=".", prefix="bench-")))
        field = Field(folder.resolve(), stack)
        await field.upstream()
        await field.telecine()
        for name, command in peers.items():
            await getattr(field, name)(command)
        await measure_syncs(field.syncs, given.rounds)
        await measure_submits(field.queues, given.rounds, given.seconds, folder)
        await measure_start(folder, 3)
        await measure_bodies(field.syncs, given.rounds, folder)
    tell_load("after")


if __name__ == "__main__":
    uvloop.run(main())
