"""A budget that is spent while jobs wait: those that did not begin are refused, the rest goes on."""

import json

from tests.fakes.jobs import House

from telecine.db.base import DatabaseFailed
from telecine.errors import Forbidden


class Budget:
    """Lets the first `left` jobs pass; `troubles` times the database does not answer."""

    def __init__(self, left, troubles=0):
        self.left = left
        self.troubles = troubles
        self.asked = []

    async def __call__(self, key_id):
        if self.troubles:
            self.troubles -= 1
            raise DatabaseFailed("away")
        self.asked.append(key_id)
        if self.left == 0:
            raise Forbidden("The budget of this key is spent", type="budget_spent")
        self.left -= 1


async def soon(_seconds):
    return None


def test_a_job_that_did_not_begin_in_time_is_403_and_asks_no_model(run, tmp_path):
    async def main():
        async with House(tmp_path, afford=Budget(1)) as house:
            first, second = await house.submit(), None
            await house.ended(first)
            second = await house.submit()
            ended = await house.ended(second)
            result = await house.queue.result(second)
            assert ended.state == "failed"
            assert result.status == 403
            assert json.loads(result.body)["detail"] == "The budget of this key is spent"
            assert house.pipeline.started == [first]
            assert await house.rows("SELECT count(*) AS n FROM ledger") == [{"n": 1}]

    run(main())


def test_a_job_that_began_is_brought_to_its_end(run, tmp_path):
    async def main():
        budget = Budget(1)
        async with House(tmp_path, afford=budget, sleep=soon, jitter=lambda: 0.0) as house:
            job = await house.submit("busy-1")
            assert (await house.ended(job)).state == "succeeded"
            assert budget.asked == ["key"]

    run(main())


def test_a_database_that_is_away_for_a_moment_refuses_nobody(run, tmp_path):
    async def main():
        async with House(tmp_path, afford=Budget(1, troubles=3), sleep=soon) as house:
            assert (await house.ended(await house.submit())).state == "succeeded"

    run(main())
