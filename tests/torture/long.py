"""make torture: the long form. Kill points by the thousand, a power cut after every step, and media
bombs of full size.

    python -m tests.torture.long [--kills 1000] [--cuts 2000] [--no-bombs] [--seed 0] [--postgres [URL]]

URL is of a PostgreSQL server where databases may be made; each series of lives gets its own. Without
URL one is started, and then it is among what dies and stalls.
"""

import argparse
import random
import tempfile
import time
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.fakes.postgres import served
from tests.integration import test_bombs
from tests.torture.kill.machine import added, machine, reached
from tests.torture.kill.nodes import Zygote
from tests.torture.kill.world import Outside
from tests.torture.power import verify
from tests.torture.power.replay import Cut, Disk, marks

STEPS = 12  # lives in a series


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--kills", type=int, default=1000)
    asked.add_argument("--cuts", type=int, default=2000)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--bombs", action=argparse.BooleanOptionalAction, default=True)
    asked.add_argument("--postgres", metavar="URL", nargs="?", const="")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="telecine-torture-") as folder:
        if given.kills:
            kills(Path(folder), given.kills, given.seed, given.postgres)
        if given.cuts and verify.compiler():
            cuts(Path(folder), given.cuts, given.seed)
        if given.bombs:
            bombs(Path(folder))


def kills(folder: Path, wanted: int, first_seed: int, postgres: str | None) -> None:
    """`postgres` None: SQLite; empty: a server of our own."""
    began = time.monotonic()
    with ExitStack() as stack:
        zygote = stack.enter_context(closing(Zygote()))
        outside = stack.enter_context(closing(Outside()))
        server = stack.enter_context(served()) if postgres == "" else None
        url = server.url if server else postgres
        fresh = _databases(url) if url else None
        points = reached(folder / "tally", zygote, outside, fresh() if fresh else None)
        lives, ran = machine(folder, zygote, outside, points, fresh_url=fresh, server=server)
        for number in count(first_seed):
            how = settings(
                max_examples=8,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            run_state_machine_as_test(seed(number)(lives), settings=how)
            total = added(ran)
            print(f"seed {number}: {total.kills} kills, {total.accepted} jobs accepted", flush=True)
            if total.kills >= wanted:
                break
    print(f"{time.monotonic() - began:.0f} s, {'PostgreSQL' if url else 'SQLite'}")
    print("lost 0, stuck 0, finished twice 0 (each of them would have ended this run)")
    for name, value in vars(total).items():
        print(f"{name}: {dict(value) if isinstance(value, dict) else value}", flush=True)


def bombs(folder: Path) -> None:
    began = time.monotonic()
    test_bombs.long_form(folder)
    print(f"media bombs of full size: each ended with a sentence, {time.monotonic() - began:.0f} s")


def cuts(folder: Path, wanted: int, first_seed: int) -> None:
    library = verify.recorder(folder)
    done = 0
    for number in count(first_seed):
        place = folder / f"power-{number}"
        steps = verify.recorded(place, library, jobs=20)
        said = marks(steps)
        chance = random.Random(number)
        disk = Disk()
        for at, step in enumerate([*steps, None]):
            for cut in Cut:
                target = place / f"{cut.value}-{at}"
                disk.after_cut(target, cut, chance)
                lost = verify.broken(target, [what for where, what in said if where < at])
                assert not lost, f"seed {number}, after step {at}, {cut}: {lost}"
                done += 1
            if step is not None:
                disk.take(step)
        print(f"seed {number}: {done} power cuts, nothing that was promised is lost", flush=True)
        if done >= wanted:
            return


def _databases(url: str):
    """Makes a database after the other beside the one that `url` names."""
    import asyncio
    from urllib.parse import urlsplit

    import asyncpg

    numbers = count()

    def fresh() -> str:
        name = f"torture_{next(numbers)}"

        async def make() -> None:
            server = await asyncpg.connect(url)
            await server.execute(f"DROP DATABASE IF EXISTS {name}")
            await server.execute(f"CREATE DATABASE {name}")
            await server.close()

        asyncio.run(make())
        return urlsplit(url)._replace(path=f"/{name}").geturl()

    return fresh


main()
