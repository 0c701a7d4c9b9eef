"""Where requests line up, and what the gate does not keep a timer for."""

import asyncio

from telecine.jobs.gate import POLL_SECONDS, Gate, Lane, Limits


def gate(**options):
    parts = dict.fromkeys(("db", "executor", "states", "bells"))
    return Gate(**parts, clock=lambda: 0.0, slots=1, **options)


def test_models_without_a_limit_share_one_line():
    """However many names callers make up, a pass looks at one line."""
    assert {gate().lane(f"m{number}") for number in range(100)} == {""}


def test_a_model_with_a_limit_lines_up_by_itself():
    found = gate(lane=lambda model: Lane(model.partition("/")[0], 2))
    assert found.lane("local/a") == found.lane("local/b") == "local"


def test_a_deadline_far_away_takes_no_timer(run):
    async def work():
        loop = asyncio.get_running_loop()
        timers = len(loop._scheduled)
        found = gate()
        for _ in range(1000):
            found._ring_in(1e9)
        assert len(loop._scheduled) == timers
        found._ring_in(POLL_SECONDS / 2)
        assert len(loop._scheduled) == timers + 1

    run(work())


def test_the_lower_limit_of_a_key_counts():
    limits = Limits(per_key=3)
    assert [limits.of_key(own) for own in (None, 1, 5)] == [3, 1, 3]
    assert [Limits().of_key(own) for own in (None, 2)] == [0, 2]
