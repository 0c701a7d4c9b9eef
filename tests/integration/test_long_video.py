"""Videos that are asked about stretch by stretch: what is sent, what it costs, what a crash costs."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import pytest
from tests.fakes import pipeline
from tests.fakes.jobs import House
from tests.fakes.pipeline import Scripted, answer, ran, request, usage

from telecine.errors import ProviderFailed, ProviderUnavailable, VideoNotConsumed
from telecine.models import Bill, Capabilities, Checkpoint, TokenRates, Upstream

SHORT = Capabilities(
    delivery=("file",),
    images=("jpeg",),
    context_tokens=4000,
    max_output_tokens=1500,
    rates=TokenRates(frame={"medium": 800}, image=100),
    options=frozenset({"start", "end"}),
)
CUT_HERE = replace(SHORT, options=frozenset())
FACT = '{"relevant": true, "facts": [{"time": "00:01", "fact": "a slide"}]}'


def told(call):
    """Facts of each stretch, then the answer."""
    if "stretch by stretch" in call.prompt:
        return answer("It is a speech.", usage(100, 5, "0.01", image=50))
    return answer(FACT, usage(50, 7, "0.001", video=40, text=10))


@pytest.fixture
def ask(run, tmp_path):
    def ask(provider, asked, **options):
        async def main():
            async with pipeline.opened(tmp_path, provider, **options) as inference:
                return await ran(inference, asked)

        return run(main())

    return ask


def prompts(provider):
    return [call.prompt for call in provider.calls]


def test_only_the_last_call_is_heard_and_it_has_the_question_the_facts_and_stills(ask):
    p = Scripted(capabilities=SHORT, answers=told)
    found = ask(p, request("Who speaks?"))
    assert (found.error, found.text) == (None, "It is a speech.")
    *stretches, last = p.calls
    assert len(stretches) >= 2
    assert last.prompt.startswith("Who speaks?")
    assert last.prompt.count("a slide") == len(stretches)
    assert last.parts[0].stills


def test_the_stretches_leave_nothing_out_and_each_is_told_its_times(ask):
    p = Scripted(capabilities=SHORT, answers=told)
    segments = ask(p, request()).receipt["segments"]
    assert segments[0]["start"] == 0
    assert [s["start"] for s in segments[1:]] == [s["end"] for s in segments[:-1]]
    assert segments[-1]["end"] == pytest.approx(11, abs=0.1)
    assert all("of 00:11" in prompt for prompt in prompts(p)[:-1])


def test_where_the_upstream_cannot_cut_each_call_has_its_own_stretch_alone(ask):
    p = Scripted(capabilities=CUT_HERE, answers=told)
    assert ask(p, request()).error is None
    *stretches, _ = sorted(p.calls, key=lambda call: "stretch by stretch" in call.prompt)
    files = [call.parts[0].prepared for call in stretches]
    assert sum(file.seconds for file in files) == pytest.approx(11, abs=0.5)
    assert sum("second 0 of what you are given" in call.prompt for call in stretches) == (
        len(files) - 1
    )


def test_one_usage_is_the_sum_of_all_calls_and_the_parts_are_listed(ask):
    p = Scripted(capabilities=SHORT, answers=told)
    found = ask(p, request())
    count = len(p.calls) - 1
    assert found.usage.cost == Decimal("0.01") + count * Decimal("0.001")
    assert found.usage.prompt_tokens == 100 + 50 * count
    assert len(found.bills) == len(found.receipt["bills"]) == count + 1
    assert [segment["usd"] for segment in found.receipt["segments"]] == ["0.001"] * count
    assert found.receipt["videos"][0]["seen"] == "yes"


def test_progress_is_logged(ask):
    found = ask(Scripted(capabilities=SHORT, answers=told), request())
    lines = [line for line in found.logs if line.startswith("segment ")]
    assert any(line.startswith("segment 1/") and "00:00-" in line for line in lines)
    assert all(line.endswith("$0.001") for line in lines)


def test_a_finished_stretch_is_a_checkpoint_right_after_its_bill(ask):
    found = ask(Scripted(capabilities=SHORT, answers=told), request(), segments_at_once=1)
    kinds = [event for event in found.events if isinstance(event, Bill | Checkpoint)]
    for bill, kept in zip(kinds[:-1:2], kinds[1::2], strict=True):
        assert isinstance(bill, Bill)
        assert isinstance(kept, Checkpoint)
        assert kept.body["text"] == FACT


def test_what_was_kept_is_not_asked_again_but_counts(ask):
    first = ask(Scripted(capabilities=SHORT, answers=told), request())
    kept = dict(list(json.loads(json.dumps(first.checkpoints)).items())[:-1])
    p = Scripted(capabilities=SHORT, answers=told)
    again = ask(p, request(checkpoints=kept, attempt=2))
    assert len(p.calls) == 2, "the one that is missing, and the answer"
    assert again.usage == first.usage
    assert len(again.bills) == 2
    assert sum(segment["resumed"] for segment in again.receipt["segments"]) == len(kept)


def test_checkpoints_of_another_question_are_of_no_use(ask):
    first = ask(Scripted(capabilities=SHORT, answers=told), request("Who?"))
    p = Scripted(capabilities=SHORT, answers=told)
    ask(p, request("Where?", checkpoints=first.checkpoints))
    assert len(p.calls) == len(first.bills)


def test_no_more_stretches_are_asked_at_once_than_may(run, tmp_path):
    class Slow(Scripted):
        running = most = 0

        async def generate(self, call):
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0.01)
            self.running -= 1
            async for event in super().generate(call):
                yield event

    async def main(most):
        p = Slow(capabilities=SHORT, answers=told)
        folder = tmp_path / str(most)
        folder.mkdir()
        async with pipeline.opened(folder, p, segments_at_once=most) as inference:
            await ran(inference, request())
        return p.most

    assert [run(main(1)), run(main(2))] == [1, 2]


def test_a_stretch_that_fails_fails_the_request_and_what_was_paid_is_billed(ask):
    failures = [answer(FACT, usage(50, 7, "0.001", video=40)), ProviderFailed("cut")]
    found = ask(Scripted(capabilities=SHORT, script=failures, answers=told), request())
    assert isinstance(found.error, ProviderFailed)
    assert found.text == ""
    assert {bill.usage.cost for bill in found.bills} == {Decimal("0.001"), None}
    assert len(found.checkpoints) == len(found.bills) - 1


def test_a_stretch_that_is_not_seen_fails_the_request(ask):
    blind = answer("A piano.", usage(12, 5, "0.001", text=12))
    found = ask(Scripted(capabilities=SHORT, script=[blind], answers=told), request())
    assert isinstance(found.error, VideoNotConsumed)


def test_text_that_is_no_json_is_used_as_it_is(ask):
    def plain(call):
        return told(call) if "stretch by stretch" in call.prompt else answer("A slide at 00:03.")

    p = Scripted(capabilities=SHORT, answers=plain)
    ask(p, request())
    assert "A slide at 00:03." in p.calls[-1].prompt


# ---------------------------------------------------------------- the worker


class Halting(Scripted):
    """Answers `count` questions, and leaves whoever asks the next one waiting."""

    def __init__(self, count):
        super().__init__(capabilities=SHORT, answers=told)
        self.left = count
        self.is_stuck = asyncio.Event()

    async def generate(self, call):
        if self.left == 0:
            self.is_stuck.set()
            await asyncio.Event().wait()
        self.left -= 1
        async for event in super().generate(call):
            yield event


@asynccontextmanager
async def worked(folder, provider, **options):
    """A House whose worker has the real pipeline, in front of `provider`."""
    (folder / "media").mkdir(exist_ok=True)
    async with pipeline.opened(folder / "media", provider, **options) as inference:
        house = House(folder, slots=1, sleep=no_time, providers={provider.name: provider})
        # The clip is the same at every attempt; how it is kept meanwhile is proven elsewhere.
        clip = request().attachments
        house.pipeline = lambda asked: inference.run(replace(asked, attachments=clip))
        yield house


async def vanish(house):
    """As a process that dies: nothing is finished, nothing written any more, only the lock goes."""
    worker = house.worker
    house.db._writer.close()
    house.db._writer.put = lambda _: None
    loops = [worker._gate_loop, worker._executor_loop, *worker._other_loops]
    for task in [*loops, *house.executor._running.values()]:
        task.cancel()
    await asyncio.sleep(0.01)
    house.executor._unlock()


async def no_time(_seconds):
    await asyncio.sleep(0)


async def submitted(house):
    return (await house.queue.submit(replace(request(mode="queue"), attachments={}))).id


async def kept(house):
    return [row["name"] for row in await house.rows("SELECT name FROM checkpoints")]


async def costs(house):
    return [row["cost"] for row in await house.rows("SELECT cost FROM ledger ORDER BY id")]


def test_after_a_crash_no_finished_stretch_is_paid_for_again(run, tmp_path):
    async def first():
        p = Halting(2)
        async with worked(tmp_path, p, segments_at_once=1) as house:
            await house.__aenter__()
            await submitted(house)
            await p.is_stuck.wait()
            assert len(await kept(house)) == 2
            assert await costs(house) == ["0.001", "0.001"]
            await vanish(house)
        return p

    async def second():
        p = Scripted(capabilities=SHORT, answers=told)
        async with worked(tmp_path, p) as house, house:
            job = await house.ended(request().id)
            assert (job.state, job.attempt) == ("succeeded", 2)
            body = json.loads((await house.queue.result(job.id)).body)
            return p, await kept(house), await costs(house), body

    died, (p, left, paid, result) = run(first()), run(second())
    total = len(died.calls) + len(p.calls)
    assert set(prompts(died)).isdisjoint(prompts(p))
    assert paid == ["0.001"] * (total - 1) + ["0.01"]
    assert result["usage"]["cost"] == float(sum(map(Decimal, paid)))
    assert left == [], "a finished request needs them no longer"


def test_a_retry_of_a_job_asks_only_for_what_is_missing(run, tmp_path):
    fact = answer(FACT, usage(50, 7, "0.001", video=40))
    p = Scripted(
        capabilities=SHORT, script=[fact, ProviderUnavailable("busy", provider="p")], answers=told
    )

    async def main():
        async with worked(tmp_path, p, segments_at_once=1) as house, house:
            job = await house.ended(await submitted(house))
            return job.state, job.attempt, await costs(house)

    state, attempt, paid = run(main())
    assert (state, attempt) == ("succeeded", 2)
    assert len(paid) == len(set(prompts(p))) == len(p.calls) - 1, "one was refused unbilled"


def test_a_live_call_that_is_tried_again_does_not_pay_twice_either(run, tmp_path):
    fact = answer(FACT, usage(50, 7, "0.001", video=40))
    p = Scripted(
        capabilities=SHORT, script=[fact, ProviderUnavailable("busy", provider="p")], answers=told
    )

    async def main():
        async with worked(tmp_path, p, segments_at_once=1) as house, house:
            result = await house.worker.run(replace(request(), attachments={}))
            return result, await costs(house), await kept(house)

    result, paid, left = run(main())
    assert result.status == 200
    assert json.loads(result.body)["usage"]["cost"] == float(sum(map(Decimal, paid)))
    assert len(paid) == len(p.calls) - 1
    assert left == []


def test_a_request_that_fails_for_good_keeps_its_bills_and_no_checkpoints(run, tmp_path):
    fact = answer(FACT, usage(50, 7, "0.001", video=40))
    p = Scripted(capabilities=SHORT, script=[fact, ProviderFailed("cut")], answers=told)

    async def main():
        async with worked(tmp_path, p, segments_at_once=1) as house, house:
            job = await house.ended(await submitted(house))
            return job.state, await costs(house), await kept(house)

    assert run(main()) == ("failed", ["0.001", None], [])


def test_a_job_that_is_cancelled_between_stretches_books_what_is_open_as_unknown(run, tmp_path):
    class Late(Halting):
        async def generate(self, call):
            if self.left == 0:
                yield Upstream(id="p-open")
            async for event in super().generate(call):
                yield event

    p = Late(1)

    async def main():
        async with worked(tmp_path, p, segments_at_once=1) as house, house:
            job_id = await submitted(house)
            await p.is_stuck.wait()
            await house.queue.cancel(job_id)
            job = await house.ended(job_id)
            rows = await house.rows("SELECT cost, cost_source, upstream_id FROM ledger ORDER BY id")
            return job.state, [tuple(row.values()) for row in rows], await kept(house)

    assert run(main()) == (
        "cancelled",
        [("0.001", "billed", "p-1"), (None, "unknown", "p-open")],
        [],
    )
