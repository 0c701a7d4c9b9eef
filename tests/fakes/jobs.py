"""The jobs layer on a real SQLite file, with a pipeline that does as its request says."""

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from decimal import Decimal
from pathlib import Path

from telecine.db.postgres import Postgres, _translated
from telecine.db.sqlite import SQLite
from telecine.errors import InputError, ProviderUnavailable
from telecine.files import Files
from telecine.jobs.bells import Bells
from telecine.jobs.executor import InProcess
from telecine.jobs.gate import Gate
from telecine.jobs.queue import Queue
from telecine.jobs.settler import Settler
from telecine.jobs.states import States
from telecine.jobs.worker import Worker
from telecine.models import Asked, Bill, Caller, Delta, Done, Log, Receipt, Request, Usage
from telecine.storage.local import LocalStorage

ENDPOINT = "openrouter/router/video"


def request(
    do="answer", *, key="key", model="echo/echo", mode="queue", id=None, attachments=None, **more
):
    return Request(
        id=id or str(uuid.uuid4()),
        endpoint=ENDPOINT,
        mode=mode,
        caller=Caller(key),
        document={"prompt": do, "model": model, **more},
        attachments=attachments or {},
    )


class Pipeline:
    """Does what the prompt says:

    answer · wait (until `go`) · fail · bug · chat (logs, then waits) · begin (a word, then waits) ·
    busy-N (unavailable N times)
    """

    def __init__(self):
        self.go = asyncio.Event()
        self.started = []  # ids, in order
        self.ended = []
        self.stopped = []  # ids whose generator was closed early
        self.running = Counter()  # by key
        self.most = Counter()
        self.models = Counter()
        self.most_models = Counter()
        self.tries = Counter()
        self.cost = Usage(total_tokens=3, cost=Decimal(0), cost_source="free")
        self.retry_after = None
        self._began = asyncio.Condition()

    async def began(self, count):
        async with self._began:
            await self._began.wait_for(lambda: len(self.started) >= count)

    async def __call__(self, request):
        key, model = request.caller.key_id, request.document["model"]
        self.started.append(request.id)
        self.running[key] += 1
        self.models[model] += 1
        self.most[key] = max(self.most[key], self.running[key])
        self.most[None] = max(self.most[None], self.running.total())
        self.most_models[model] = max(self.most_models[model], self.models[model])
        async with self._began:
            self._began.notify_all()
        try:
            async for event in self._do(request, request.document["prompt"]):
                yield event
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped.append(request.id)
            raise
        finally:
            self.running[key] -= 1
            self.models[model] -= 1
        self.ended.append(request.id)

    async def _do(self, request, do):
        self.tries[request.id] += 1
        if do == "wait":
            await self.go.wait()
        elif do == "chat":
            yield Log("first line")
            yield Log("second line")
            await self.go.wait()
            yield Log("last line")
        elif do == "begin":
            yield Delta("Well: ")
            yield Log("a word was said")
            await self.go.wait()
        elif do == "nap":
            await asyncio.sleep(0.002)
        elif do == "fail":
            raise InputError("There is no video.", loc=("body", "video_urls"))
        elif do == "bug":
            raise ZeroDivisionError
        elif do.startswith("busy-") and self.tries[request.id] <= int(do.removeprefix("busy-")):
            raise ProviderUnavailable("The model is busy", retry_after_seconds=self.retry_after)
        call = uuid.uuid4().hex
        yield Asked(call=call, provider="fake", model="m")
        for word in ("The ", "answer", "."):
            yield Delta(word)
        yield Bill(call=call, usage=self.cost, provider="fake", model="m")
        yield self.cost
        yield Receipt(
            lambda: {"provider": "fake", "provider_model": "m", "attempt": request.attempt}
        )
        yield Done("stop")


class House:
    """All parts of the jobs layer, opened as the application opens them.

    With `url` a node of an installation on PostgreSQL; several may be open at once.
    """

    def __init__(
        self,
        folder: Path,
        *,
        slots=4,
        lock="lock",
        stop_seconds=0.0,
        db=None,
        url=None,
        lost_seconds=10.0,
        **options,
    ):
        self.pipeline = Pipeline()
        self.clock = options.pop("clock", time.time)
        self.bells = Bells()
        self.states = States(keep_seconds=1000)
        self._url = url
        self._lost_seconds = lost_seconds
        self.db = db or (Postgres(url) if url else SQLite(folder / "telecine.db"))
        self.storage = LocalStorage(folder / "objects")
        self._folder = folder
        self._lock = lock
        self._slots = slots
        self._stop_seconds = stop_seconds
        self._worker_options = {"run_seconds": options.pop("run_seconds", 60)}
        self._providers = options.pop("providers", {})
        for name in ("sleep", "jitter", "monotonic", "afford"):
            if name in options:
                self._worker_options[name] = options.pop(name)
        self._gate_options = options
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self):
        enter = self._stack.enter_async_context
        common = {"db": self.db, "states": self.states, "clock": self.clock}
        await enter(self.db)
        await enter(self.storage)
        self.files = Files(db=self.db, storage=self.storage, clock=self.clock)
        self.executor = await enter(self._executor(common))
        common |= {"executor": self.executor, "bells": self.bells}
        slots = self.executor.slots if self._url else self._slots
        self.gate = Gate(**common, slots=slots, **self._gate_options)
        self.queue = Queue(**common, files=self.files, gate=self.gate)
        self.settler = Settler(db=self.db, providers=self._providers, clock=self.clock)
        self.worker = await enter(
            Worker(
                **common,
                pipeline=self.pipeline,
                gate=self.gate,
                settler=self.settler,
                slots=self._slots,
                node=self.executor.node,
                **self._worker_options,
            )
        )
        return self

    async def __aexit__(self, *error):
        await self._stack.__aexit__(*error)

    def _executor(self, common):
        common = {**common, "stop_seconds": self._stop_seconds}
        if self._url is None:
            return InProcess(**common, lock=self._folder / self._lock)
        from telecine.jobs.pgqueuer import Nodes

        return Nodes(**common, bells=self.bells, slots=self._slots, lost_seconds=self._lost_seconds)

    async def ended(self, id):
        """The job, once it has ended."""
        async for job in self.queue.watch(id, logs=False):
            last = job
        return last

    async def submit(self, do="answer", **options):
        how = {k: options.pop(k) for k in list(options) if k in SUBMIT}
        return (await self.queue.submit(request(do, **options), **how)).id

    async def rows(self, sql, **values):
        """What a question in plain SQL answers, past all our own statements."""
        await self.db.write(_nothing)
        if self._url:
            text = _translated(sql)
            return await self.db.ask(text.sql, *(values[name] for name in text.names))
        return await asyncio.to_thread(self._rows, sql, values)

    def _rows(self, sql, values):
        import sqlite3

        with contextlib.closing(sqlite3.connect(self._folder / "telecine.db")) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, values)]


class TwoNodes(House):
    """The same on PostgreSQL: two nodes, which share the slots and do with one pipeline what they
    are given. Callers come to this one."""

    def __init__(self, folder: Path, url, *, slots=4, **options):
        super().__init__(folder, url=url, slots=slots - slots // 2, **options)
        self.other = House(folder, url=url, slots=slots // 2, **options)
        self.other.pipeline = self.pipeline

    async def __aenter__(self):
        await self.other.__aenter__()
        return await super().__aenter__()

    async def __aexit__(self, *error):
        await super().__aexit__(*error)
        await self.other.__aexit__(*error)


SUBMIT = {
    "priority",
    "webhook_url",
    "start_seconds",
    "max_queue_length",
    "no_retry",
    "store_io",
    "idempotency_key",
}


async def until(is_so):
    """Wait for what nobody rings a bell for."""
    while not is_so():  # noqa: ASYNC110
        await asyncio.sleep(0.0005)


async def _nothing(_):
    return None
