"""Questions and answers of the embedded models' process, however their jobs end."""

import asyncio
import json
import random
import struct
from collections import deque

import pytest

from telecine.processes import Child, ChildDied, ChildFailed, pack
from telecine.providers import local_engine
from telecine.providers.local_engine import Engine

HEAD = struct.Struct(">II")
STEPS = 140  # of the loop: more than an undisturbed job takes
ANSWER_STEPS = 12  # and at least these for every answer: longer than to give up and come next


async def steps(number):
    for _ in range(number):
        await asyncio.sleep(0)


class Process:
    """No process: it answers in order, in pieces and in its own time, with what it was sent."""

    def __init__(self):
        self.stdin, self.stdout = self, asyncio.StreamReader()
        self.returncode = None
        self.questions = deque()
        self.asked = []
        self.track = None
        self.work = None

    def write(self, data):
        assert self.returncode is None, "a dead process was asked"
        text, payload = HEAD.unpack(data[: HEAD.size])
        body = data[HEAD.size :]
        assert len(body) == text + payload
        self.questions.append((json.loads(body[:text]), body[text:]))
        if self.work is None:
            self.work = asyncio.create_task(self._answer())

    async def drain(self):
        await steps(1)

    async def wait(self):
        await steps(2)

    def end(self):
        if self.returncode is None:
            self.returncode = -9
            self.stdout.feed_eof()
        if self.work:
            self.work.cancel()

    async def _answer(self):
        while self.questions:
            task, payload = self.questions.popleft()
            self.asked.append(task["task"])
            await steps(ANSWER_STEPS)
            echoed = {"number": task["number"]} if "number" in task else {}
            for head in (*self._answers(task, payload.decode()), {"end": True}):
                frame = pack({**head, **echoed})
                for part in (frame[:5], frame[5:12], frame[12:]):
                    await steps(1)
                    self.stdout.feed_data(part)
        self.work = None

    def _answers(self, task, payload):
        match task["task"]:
            case "load":
                yield {"model": "m", "source": "s", "seconds": 0}
            case "listen":
                self.track = task["language"]
            case "hear":
                yield {"said": f"{self.track}: {payload}"}
            case "hush":
                yield {"said": self.track}


class Pipes(Child):
    """The real frames, to a `Process`."""

    speaks_with = Process

    async def start(self):
        await steps(2)
        self._process = self.speaks_with()

    async def kill(self):
        if self._process:
            self._process.end()
        await steps(2)


@pytest.fixture(autouse=True)
def children(monkeypatch):
    """The processes that the engine starts, as it starts them."""
    found = []

    class Counted(Pipes):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            found.append(self)

    monkeypatch.setattr(local_engine, "Child", Counted)
    Counted.found = found
    return Counted


def engine():
    return Engine(weights_dir=None, threads=1)


async def job(engine, owner):
    async with engine.job():
        await engine.load("speech")
        await engine.listen(owner)
        heard = [said for n in (1, 2) for said in await engine.hear(n, f"{owner} {n}".encode())]
        return heard + await engine.hush()


def answer(owner):
    return [f"{owner}: {owner} 1", f"{owner}: {owner} 2", owner]


async def cancelled(task, *after):
    """Cancel it after so many steps, and again: as a caller who hangs up while it is put down."""
    for number in after:
        await steps(number)
        task.cancel()
    await asyncio.wait([task])


def is_own(task, owner):
    return task.cancelled() or task.result() == answer(owner)


async def after_cancels(*cancels):
    """Jobs one after another, each cancelled after so many steps: then one that is not."""
    one = engine()
    for number, after in enumerate(cancels):
        task = asyncio.create_task(job(one, f"job {number}"))
        await cancelled(task, after)
        assert is_own(task, f"job {number}"), cancels
    assert await job(one, "last") == answer("last"), cancels
    await one.close()


def test_a_job_gets_its_answers(run, children):
    async def work():
        one = engine()
        task = asyncio.create_task(job(one, "a"))
        await steps(STEPS)
        assert task.done()
        assert task.result() == answer("a")
        assert await job(one, "b") == answer("b")
        assert len(children.found) == 1
        await one.close()

    run(work())


def test_a_job_cancelled_at_any_step_leaves_the_next_its_answers(run):
    async def work():
        for step in range(STEPS):
            await after_cancels(step)

    run(work())


def test_two_jobs_cancelled_at_any_steps_leave_the_next_its_answers(run):
    async def work():
        for first in range(0, STEPS, 2):
            for second in range(0, 2 * ANSWER_STEPS, 2):
                await after_cancels(first, second)

    run(work())


def test_three_jobs_cancelled_at_any_steps_leave_the_next_its_answers(run):
    async def work():
        for first in range(0, STEPS, 4):
            for second in range(0, ANSWER_STEPS, 2):
                for third in range(0, ANSWER_STEPS, 2):
                    await after_cancels(first, second, third)

    run(work())


@pytest.mark.parametrize("seed", range(40))
def test_nobody_gets_anothers_answer_in_a_crowd_that_hangs_up(run, children, seed):
    """Some wait for their turn meanwhile, some hang up twice, and the process may be lost."""
    dice = random.Random(seed)

    async def one_of(crowd, number):
        owner = f"job {number}"
        await steps(dice.randrange(STEPS))
        task = asyncio.create_task(job(crowd, owner))
        if dice.random() < 0.7:
            await cancelled(task, *(dice.randrange(STEPS) for _ in range(dice.randint(1, 3))))
        else:
            await asyncio.wait([task])
        lost = not task.cancelled() and isinstance(task.exception(), ChildDied)
        assert lost or is_own(task, owner)

    async def work():
        crowd = engine()
        async with asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(one_of(crowd, number))
            for _ in range(dice.randrange(2)):
                await steps(dice.randrange(4 * STEPS))
                if children.found:
                    await children.found[-1].kill()
        assert await job(crowd, "last") == answer("last")
        await crowd.close()

    run(work())


def test_a_stopped_job_costs_no_process(run, children):
    async def work():
        one = engine()
        assert await job(one, "a") == answer("a")
        for step in range(STEPS):
            await cancelled(asyncio.create_task(job(one, "b")), step)
            await cancelled(asyncio.create_task(job(one, "c")), step % 7)
        assert await job(one, "d") == answer("d")
        assert len(children.found) == 1
        await one.close()

    run(work())


# ---------------------------------------------------------------- a process that misbehaves


def misbehaving(once):
    """Processes of which the first does `once(answers)` to its answers to "hear"."""
    spoilt = [once]

    class Misbehaving(Process):
        def __init__(self):
            super().__init__()
            self.once = spoilt.pop() if spoilt else None

        async def _answer(self):
            if self.questions[0][0]["task"] == "hear" and self.once:
                self.once(self, *self.questions.popleft())
                self.work = None
            else:
                await super()._answer()

    return Misbehaving


def says(*frames):
    def do(process, task, _):
        number = {"number": task["number"]}
        for said in frames:
            frame = pack({**number, **said}) if isinstance(said, dict) else said
            process.stdout.feed_data(frame)

    return do


@pytest.mark.parametrize(
    "once",
    [
        says({"said": "somebody else's", "number": 1}, {"end": True, "number": 1}),
        says({"error": "somebody else's", "kind": "failed", "number": 1}),
        says({"said": "mine"}, {"end": True, "number": 99}),
        says(HEAD.pack(4, 0) + b"what"),
        says(HEAD.pack(2, 0) + b"[]"),
        says(HEAD.pack(2, 0) + b"\xff\xff"),
    ],
)
def test_an_answer_to_anything_else_is_given_to_nobody_and_ends_the_process(run, children, once):
    children.speaks_with = misbehaving(once)

    async def work():
        one = engine()
        with pytest.raises(ChildDied):
            await job(one, "a")
        assert not children.found[0].is_alive
        assert await job(one, "b") == answer("b")
        await one.close()

    run(work())


def test_a_reported_error_fails_its_job_and_keeps_the_process(run, children):
    children.speaks_with = misbehaving(says({"said": "x"}, {"error": "no", "kind": "failed"}))

    async def work():
        one = engine()
        with pytest.raises(ChildFailed, match="no"):
            await job(one, "a")
        children.found[0]._process.once = None
        assert await job(one, "b") == answer("b")
        assert len(children.found) == 1
        await one.close()

    run(work())


def test_a_process_that_is_silent_ends_though_nobody_waits_long_for_it(run, children, monkeypatch):
    """The patience with a leftover is counted once, not anew for everybody who comes and goes."""
    monkeypatch.setattr(local_engine, "_LEFTOVER_SECONDS", 0.2)
    children.speaks_with = misbehaving(says())

    async def brief(one):
        task = asyncio.create_task(job(one, "brief"))
        await asyncio.wait([task], timeout=0.05)
        task.cancel()
        await asyncio.wait([task])

    async def work():
        one = engine()
        while len(children.found) < 2:
            await brief(one)
        assert await job(one, "last") == answer("last")
        await one.close()

    run(work())


def test_a_process_that_is_lost_between_two_questions_is_told_as_lost(run, children):
    """Another would know nothing of the video that the job is at."""

    async def work():
        one = engine()
        async with one.job():
            await one.load("speech")
            await one.listen("a")
            await children.found[0].kill()
            with pytest.raises(ChildDied):
                await one.hear(0.0, b"a")
        assert await job(one, "b") == answer("b")
        await one.close()

    run(work())


def test_closing_ends_the_process_and_whoever_asks(run, children):
    async def work():
        for step in range(0, STEPS, 3):
            one = engine()
            task = asyncio.create_task(job(one, "a"))
            await steps(step)
            await one.close()
            await asyncio.wait([task])
            assert isinstance(task.exception(), ChildDied) or is_own(task, "a")
            with pytest.raises(ChildDied):
                await job(one, "late")
            assert not any(child.is_alive for child in children.found)

    run(work())
