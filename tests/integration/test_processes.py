"""Child processes at their edges: numbers, and kills that come at a bad moment."""

import asyncio

import pytest

from telecine.processes import Child, ChildDied, ChildFailed, environment


def child(module="telecine.providers.local_child"):
    return Child(module, "", "1", environment=environment())


def test_every_answer_of_the_local_models_process_repeats_its_tasks_number(run):
    async def story():
        asked = child()
        await asked.start()
        for number in (7, 8):
            await asked.send({"task": "sing", "number": number})
            with pytest.raises(ChildFailed, match="unknown task"):
                await asked.receive(number=number)
        await asked.send({"task": "sing", "number": 9})
        with pytest.raises(ChildDied, match="not asked"):
            await asked.receive(number=10)
        assert not asked.is_alive

    run(story())


def test_a_process_whose_kill_was_cancelled_is_never_asked_again(run):
    async def story():
        asked = child()
        await asked.start()
        kill = asyncio.create_task(asked.kill())
        await asyncio.sleep(0)
        kill.cancel()
        await asyncio.wait([kill])
        assert not asked.is_alive
        with pytest.raises(ChildDied):
            await asked.send({"task": "sing", "number": 1})
        await asked.kill()

    run(story())


def test_a_process_that_is_killed_while_it_starts_does_not_run(run):
    async def story():
        asked = child()
        start = asyncio.create_task(asked.start())
        await asyncio.sleep(0)
        await asked.kill()
        await start
        assert not asked.is_alive
        assert asked._process.returncode is not None

    run(story())
