"""A worker and a queue for the HTTP edge, without a pipeline: they do what a test tells them to."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

from telecine import endpoints, wire
from telecine.errors import LimitReached, NotFound, TelecineError
from telecine.models import Delta, Done, Job, LogLine, Outcome, Receipt, Usage

AT = datetime(2026, 1, 28, tzinfo=UTC)


class Inference:
    """Judges what is asked, as the real one does first, and plans nothing."""

    async def plan(self, request):
        raise NotFound(f"No plan for {endpoints.parse_input(request.endpoint, request.document)}")

    def held(self):
        return []


class Worker:
    """Answers with `script`: events, errors to raise, and asyncio.Events to wait for."""

    def __init__(self, *script):
        self.script = script or (Delta("hello"), Usage(total_tokens=3), Done())
        self.requests = []
        self.options = []
        self.is_full = False
        self.started = asyncio.Event()
        self.stopped = asyncio.Event()

    def check(self, key_id):
        if self.is_full:
            raise LimitReached("Reached concurrent requests limit of 1", data={"limit": 1})

    async def stream(self, request, **options):
        self.requests.append(request)
        self.options.append(options)
        self.started.set()
        try:
            endpoints.parse_input(request.endpoint, request.document)
            for step in self.script:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        finally:
            self.stopped.set()

    async def run(self, request, **options):
        """As the real one: a failure is a result, but for a limit, and what a test calls a bug."""
        outcome = Outcome()
        try:
            async with aclosing(self.stream(request, **options)) as events:
                async for event in events:
                    match event:
                        case Delta():
                            outcome.output += event.text
                        case Usage():
                            outcome.usage = event
                        case Receipt():
                            outcome.receipt = event
        except TelecineError as error:
            if error.status == 429:
                raise
            return wire.failure(error, request_id=request.id)
        return wire.result(request, outcome)


class Queue:
    """Keeps jobs in a dict; a test moves them on with `move`."""

    def __init__(self):
        self.jobs = {}
        self.results = {}
        self.options = []
        self.is_full = False
        self.changed = asyncio.Event()

    def check(self):
        if self.is_full:
            raise LimitReached("The queue is full", type="queue_full")

    async def submit(self, request, **options):
        self.options.append(options)
        self.jobs[request.id] = Job(
            id=request.id,
            endpoint=request.endpoint,
            mode="queue",
            key_id=request.caller.key_id,
            state="queued",
            attempt=0,
            created_at=AT,
            queue_position=0,
        )
        return self.jobs[request.id]

    def move(self, request_id, state, *, result=None, logs=(), **changes):
        lines = [LogLine(message=text, level="INFO", at=AT) for text in logs]
        self.jobs[request_id] = replace(
            self.jobs[request_id], state=state, logs=lines, queue_position=None, **changes
        )
        self.results[request_id] = result
        self.changed.set()

    async def status(self, request_id, *, logs):
        if request_id not in self.jobs:
            raise NotFound("unknown")
        return self.jobs[request_id]

    async def result(self, request_id):
        return self.results[request_id]

    async def cancel(self, request_id):
        return self.jobs[request_id].state in ("queued", "running")

    async def watch(self, request_id, *, logs):
        while True:
            job = self.jobs[request_id]
            yield job
            if job.state not in ("queued", "running"):
                return
            self.changed.clear()
            await self.changed.wait()
