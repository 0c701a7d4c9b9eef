"""Moments at which a server can be killed, and troubles that it can be given.

A point is a name and a number: the moment just before or after something happens for the n-th time in
this life. `counts` of a life that was not killed tell which points there are.
"""

import errno
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from functools import wraps
from pathlib import Path

_counts: Counter[str] = Counter()
_target: tuple[str, int] | None = None
_tally: Path | None = None


def lay(
    *,
    kill: tuple[str, int] | None = None,
    tally: str | None = None,
    clock: float = 0.0,
    full: int | None = None,
    seed: int = 0,
) -> None:
    """Once per life, before the server is started.

    `kill`: where it dies. `tally`: a file that gets the counts as they grow. `clock`: how many seconds
    the time of day jumps, back or forth, about every second. `full`: after so many writes of files
    the disk is full for the next twenty.
    """
    global _target, _tally  # noqa: PLW0603
    _target = tuple(kill) if kill else None
    _tally = Path(tally) if tally else None
    _files(full)
    _database()
    _code()
    if clock:
        _jumping(clock, random.Random(seed))


def reached(point: str) -> None:
    _counts[point] += 1
    if _tally is not None:
        _tally.write_text("\n".join(f"{name} {number}" for name, number in _counts.items()))
    if _target == (point, _counts[point]):
        os.kill(os.getpid(), signal.SIGKILL)


def around(name, function):
    """`function`, with a point before and one after it."""

    @wraps(function)
    def laid(*args, **kwargs):
        reached(f"{name} before")
        result = function(*args, **kwargs)
        reached(f"{name} after")
        return result

    return laid


def around_async(name, function):
    @wraps(function)
    async def laid(*args, **kwargs):
        reached(f"{name} before")
        result = await function(*args, **kwargs)
        reached(f"{name} after")
        return result

    return laid


def _files(full: int | None) -> None:
    writes = 0

    def may_be_full(function):
        @wraps(function)
        def limited(*args, **kwargs):
            nonlocal writes
            writes += 1
            if full is not None and full <= writes < full + 20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*args, **kwargs)

        return limited

    os.fsync = around("fsync", may_be_full(os.fsync))
    os.rename = around("rename", may_be_full(os.rename))
    os.link = around("link", os.link)


def _database() -> None:
    class Connection(sqlite3.Connection):
        def execute(self, sql, *values):
            if not sql.startswith("COMMIT"):
                return super().execute(sql, *values)
            reached("commit before")
            result = super().execute(sql, *values)
            reached("commit after")
            return result

    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **options: connect(*args, **{"factory": Connection, **options})
    try:
        from asyncpg.transaction import Transaction
    except ImportError:
        return
    Transaction.commit = around_async("commit", Transaction.commit)


def _code() -> None:
    from telecine.api import stream
    from telecine.files import Files
    from telecine.jobs.deliverer import Deliverer
    from telecine.jobs.states import States
    from telecine.media.spool import SpoolFile
    from telecine.providers.answer import Answer

    SpoolFile.write = around("fetch", SpoolFile.write)
    Answer.take = around("upstream", Answer.take)
    States.finish = around_async("finish", States.finish)
    stream._send = around_async("stream", stream._send)
    Files.take = around_async("upload", Files.take)
    Files.store = around_async("upload", Files.store)
    Files.store_part = around_async("part", Files.store_part)
    Files.complete = around_async("complete", Files.complete)
    Deliverer._deliver = around_async("webhook", Deliverer._deliver)


def _jumping(seconds: float, chance: random.Random) -> None:
    real, since, offset = time.time, time.monotonic(), 0.0

    def jumping() -> float:
        nonlocal since, offset
        if time.monotonic() - since > 1:
            since, offset = time.monotonic(), chance.uniform(-seconds, seconds)
        return real() + offset

    time.time = jumping
