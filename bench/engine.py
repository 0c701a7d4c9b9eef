"""SQLite with the in-process executor beside PostgreSQL with PgQueuer, in turns in one run.

    python bench/engine.py [--url postgresql://...] [--rounds 3] [--seconds 3]

Durable submits a second, and how soon a job starts on an idle server; without HTTP, in the folder
for temporary files, whose disk's fsync stands beside the figures. Then 200 jobs on two nodes of
which one is killed (SIGKILL): what was lost, stuck or done twice, and how long it took. Without
--url a server of PostgreSQL is started for it there, with fsync on.
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from submit import Answer, fsync_milliseconds, request, told
from tests.fakes.postgres import Databases, served

from telecine.db.base import Database
from telecine.db.postgres import Postgres
from telecine.db.sqlite import SQLite
from telecine.files import Files
from telecine.jobs.bells import Bells
from telecine.jobs.executor import InProcess
from telecine.jobs.gate import Gate
from telecine.jobs.pgqueuer import Nodes
from telecine.jobs.queue import Queue
from telecine.jobs.settler import Settler
from telecine.jobs.states import States
from telecine.jobs.worker import Pipeline, Worker
from telecine.models import Delta, Done, Event, Request, Usage
from telecine.storage.local import LocalStorage

SLOTS = 16
LOST_SECONDS = 10.0
JOBS = 200


@asynccontextmanager
async def jobs(
    folder: Path, url: str | None, pipeline: Pipeline, slots: int = SLOTS
) -> AsyncIterator[tuple[Queue, Database]]:
    """The queue of a node; with `url` on PostgreSQL."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        db: Database = await enter(Postgres(url) if url else SQLite(folder / "telecine.db"))
        storage = await enter(LocalStorage(folder / "objects"))
        states, bells = States(keep_seconds=3600), Bells()
        common = {"db": db, "states": states, "clock": time.time}
        executor: InProcess | Nodes
        if isinstance(db, Postgres):
            executor = Nodes(
                **common, bells=bells, slots=slots, lost_seconds=LOST_SECONDS, stop_seconds=0
            )
        else:
            executor = InProcess(**common, lock=folder / "lock", stop_seconds=0)
        await enter(executor)
        shared = {**common, "executor": executor, "bells": bells}
        places = executor.slots if isinstance(executor, Nodes) else slots
        gate = Gate(**shared, slots=places)
        queue = Queue(**shared, files=Files(db=db, storage=storage, clock=time.time), gate=gate)
        worker = Worker(
            **shared,
            pipeline=pipeline,
            gate=gate,
            settler=Settler(db=db, providers={}, clock=time.time),
            slots=slots,
            run_seconds=60,
            node=executor.node,
        )
        await enter(worker)
        yield queue, db


async def submits(folder: Path, url: str | None, seconds: float) -> tuple[float, float]:
    """(durable submits a second, jobs run a second meanwhile), by 16 callers."""
    pipeline = Answer()
    async with jobs(folder, url, pipeline) as (queue, _):
        count, start = 0, time.perf_counter()

        async def submit() -> None:
            nonlocal count
            while time.perf_counter() < start + seconds:
                await queue.submit(request())
                count += 1

        await asyncio.gather(*(submit() for _ in range(16)))
        took = time.perf_counter() - start
        return count / took, len(pipeline.started) / took


async def starts(folder: Path, url: str | None) -> list[float]:
    """Milliseconds from the call of submit to the first line of the handler."""
    pipeline, times = Answer(), []
    async with jobs(folder, url, pipeline) as (queue, _):
        for _ in range(100):
            await asyncio.sleep(0.03)
            pipeline.start.clear()
            asked, start = request(), time.perf_counter()
            await queue.submit(asked)
            await pipeline.start.wait()
            times.append((pipeline.started[asked.id] - start) * 1e3)
    return times[20:]  # the first ones open connections


# ---------------------------------------------------------------- one of two nodes is killed


async def _short(_: Request) -> AsyncGenerator[Event, None]:
    await asyncio.sleep(0.2)
    yield Delta("answer")
    yield Usage(total_tokens=1, cost_source="free")
    yield Done("stop")


async def node(folder: Path, url: str) -> None:
    """What the processes run that may be killed."""
    async with jobs(folder, url, _short, slots=8):
        print("ready", flush=True)
        await asyncio.Event().wait()


async def killed(folder: Path, url: str) -> str:
    line = [sys.executable, __file__, "--url", url, "--node", str(folder)]
    nodes = [subprocess.Popen(line, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for each in nodes:
            assert each.stdout is not None
            each.stdout.readline()
        async with jobs(folder, url, _short, slots=0) as (queue, db):
            assert isinstance(db, Postgres)
            start = time.perf_counter()
            ids = [(await queue.submit(request())).id for _ in range(JOBS)]
            while await _count(db, "state = 'succeeded'") < JOBS // 4:
                await asyncio.sleep(0.01)
            nodes[0].send_signal(signal.SIGKILL)
            kill, running = time.perf_counter(), await _count(db, "state = 'running'")
            give_up_at = kill + 12 * LOST_SECONDS
            while await _count(db, "finished_at IS NOT NULL") < JOBS:
                if time.perf_counter() > give_up_at:
                    break
                await asyncio.sleep(0.02)
            done = time.perf_counter()
            there = await db.ask("SELECT id FROM requests WHERE id = ANY($1)", ids)
            twice = await db.ask(
                "SELECT 1 FROM attempts WHERE ended_as = 'succeeded'"
                " GROUP BY request_id HAVING count(*) > 1"
            )
            again = await _count(db, "losses > 0")
            stuck = await _count(db, "finished_at IS NULL")
        return (
            f"{JOBS} jobs of 0.2 s, one of two nodes killed with {running} running:"
            f" {JOBS - len(there)} lost, {stuck} stuck, {len(twice)} finished twice,"
            f" {again} run again; all done {done - kill:.1f} s after the kill"
            f" ({kill - start:.1f} s after the first submit), lost_seconds = {LOST_SECONDS:g}"
        )
    finally:
        for each in nodes:
            each.kill()
            each.wait()


async def _count(db: Postgres, what: str) -> int:
    (row,) = await db.ask(f"SELECT count(*) AS n FROM requests WHERE {what}")
    return int(row["n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="a PostgreSQL server that may be filled with databases")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--node", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.node:
        asyncio.run(node(options.node, options.url))
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        folder = Path(name)
        url = options.url or stack.enter_context(served(fsync=True)).url
        databases = Databases(url)
        stack.callback(databases.drop)
        print(f"  fsync of 4 KiB here: {told(fsync_milliseconds(folder))}")
        print(f"  load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        rates: dict[str, list[tuple[float, float]]] = {"SQLite": [], "PostgreSQL": []}
        times: dict[str, list[float]] = {"SQLite": [], "PostgreSQL": []}
        for number in range(options.rounds):
            for engine, measured in rates.items():
                for what in ("rate", "start"):
                    place = folder / f"{engine}-{number}-{what}"
                    place.mkdir()
                    where = databases.migrated() if engine == "PostgreSQL" else None
                    if what == "rate":
                        measured.append(asyncio.run(submits(place, where, options.seconds)))
                    else:
                        times[engine] += asyncio.run(starts(place, where))
        for engine, found in rates.items():
            submitted = statistics.median(rate for rate, _ in found)
            ran = statistics.median(rate for _, rate in found)
            print(
                f"  {engine:<10} {submitted:6.0f} durable submits/s, {ran:6.0f} of them run"
                f" meanwhile; submit to start {told(times[engine])}"
            )
        place = folder / "killed"
        place.mkdir()
        print(f"  {asyncio.run(killed(place, databases.migrated()))}")


if __name__ == "__main__":
    main()
