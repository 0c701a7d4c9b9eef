"""How many durable submits a second, and how soon a job starts on an idle server.

    python bench/submit.py [--seconds 5] [--submitters 16]

In one process, without HTTP: the queue, the gate, the executor and the database alone, on a file
in the present folder's file system. The fsync time of that disk stands beside the figures, as
everything durable is made of it.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from telecine.db.sqlite import SQLite
from telecine.files import Files
from telecine.jobs.bells import Bells
from telecine.jobs.executor import InProcess
from telecine.jobs.gate import Gate
from telecine.jobs.queue import Queue
from telecine.jobs.settler import Settler
from telecine.jobs.states import States
from telecine.jobs.worker import Pipeline, Worker
from telecine.models import Caller, Delta, Done, Event, Request, Usage
from telecine.storage.local import LocalStorage


def request(mode: str = "queue") -> Request:
    document = {
        "model": "echo/echo",
        "prompt": "x" * 400,
        "video_urls": ["https://a.example/v.mp4"],
    }
    return Request(
        id=str(uuid.uuid4()),
        endpoint="openrouter/router/video",
        mode=mode,  # type: ignore[arg-type]
        caller=Caller("bench"),
        document=document,
    )


@asynccontextmanager
async def jobs(folder: Path, pipeline: Pipeline, slots: int) -> AsyncIterator[tuple[Queue, Worker]]:
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(SQLite(folder / "telecine.db"))
        storage = await stack.enter_async_context(LocalStorage(folder / "objects"))
        files = Files(db=db, storage=storage, clock=time.time)
        states, bells = States(keep_seconds=3600), Bells()
        executor = await stack.enter_async_context(
            InProcess(db=db, states=states, lock=folder / "lock", stop_seconds=0, clock=time.time)
        )
        gate = Gate(
            db=db, executor=executor, states=states, bells=bells, clock=time.time, slots=slots
        )
        queue = Queue(
            db=db,
            files=files,
            gate=gate,
            executor=executor,
            states=states,
            bells=bells,
            clock=time.time,
        )
        worker = Worker(
            db=db,
            pipeline=pipeline,
            gate=gate,
            executor=executor,
            states=states,
            bells=bells,
            settler=Settler(db=db, providers={}, clock=time.time),
            slots=slots,
            run_seconds=60,
            clock=time.time,
        )
        yield queue, await stack.enter_async_context(worker)


def fsync_milliseconds(folder: Path) -> list[float]:
    """What one 4 KiB append made durable costs here."""
    times = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(200):
            start = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - start) * 1e3)
    return times


class Answer:
    """A pipeline that answers at once and remembers when each request started."""

    def __init__(self) -> None:
        self.started: dict[str, float] = {}
        self.start = asyncio.Event()

    async def __call__(self, asked: Request) -> AsyncGenerator[Event, None]:
        self.started[asked.id] = time.perf_counter()
        self.start.set()
        yield Delta("answer")
        yield Usage(total_tokens=1, cost_source="free")
        yield Done("stop")


async def throughput(folder: Path, seconds: float, submitters: int, slots: int) -> None:
    pipeline = Answer()
    async with jobs(folder, pipeline, slots) as (queue, _):
        until, count = time.perf_counter() + seconds, 0

        async def submit() -> None:
            nonlocal count
            while time.perf_counter() < until:
                await queue.submit(request())
                count += 1

        cpu, start = time.process_time(), time.perf_counter()
        await asyncio.gather(*(submit() for _ in range(submitters)))
        took, cpu = time.perf_counter() - start, time.process_time() - cpu
        print(
            f"  {slots:>3} slots: {count / took:6.0f} durable submits/s,"
            f" {len(pipeline.started) / took:6.0f} of them run meanwhile,"
            f" {cpu / count * 1e3:.2f} ms CPU each"
        )


async def start_latency(folder: Path) -> list[float]:
    """Milliseconds from a submit on an idle server to the start of its job."""
    pipeline = Answer()
    async with jobs(folder, pipeline, 16) as (queue, _):
        times = []
        for _ in range(200):
            await asyncio.sleep(0.01)
            pipeline.start.clear()
            asked, start = request(), time.perf_counter()
            await queue.submit(asked)
            await pipeline.start.wait()
            times.append((pipeline.started[asked.id] - start) * 1e3)
        return times


async def idle_start(folder: Path) -> None:
    print(f"  idle submit to start: {told(await start_latency(folder))}")


async def live(folder: Path, count: int = 2_000) -> None:
    async with jobs(folder, Answer(), 16) as (_, worker):
        cpu = time.process_time()
        for _ in range(count):
            await worker.run(request("run"))
        print(f"  live call: {(time.process_time() - cpu) / count * 1e3:.2f} ms CPU each")


def told(milliseconds: list[float]) -> str:
    ordered = sorted(milliseconds)
    p99 = ordered[int(len(ordered) * 0.99)]
    return f"p50 {statistics.median(ordered):.2f} ms, p99 {p99:.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--submitters", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".", prefix="bench-") as name:
        folder = Path(name)
        print(f"  fsync of 4 KiB here:  {told(fsync_milliseconds(folder))}")
        for number, work in enumerate(
            (
                idle_start,
                lambda at: throughput(at, options.seconds, options.submitters, 0),
                lambda at: throughput(at, options.seconds, options.submitters, 16),
                live,
            )
        ):
            (folder / str(number)).mkdir()
            asyncio.run(work(folder / str(number)))


if __name__ == "__main__":
    main()
