"""Servers killed at chosen moments, over and over: what was accepted is finished, and once.

A seeded few here; `make torture` runs more than a thousand.
"""

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.fakes.postgres import Databases, served
from tests.torture.kill.machine import added, machine, reached
from tests.torture.kill.nodes import Zygote
from tests.torture.kill.world import Outside


def a_few(series):
    return settings(
        max_examples=series,
        stateful_step_count=6,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # what fails is told by its seed; shrinking would take hours
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def zygote():
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def outside():
    outside = Outside()
    yield outside
    outside.close()


@pytest.fixture(scope="module")
def points(zygote, outside, tmp_path_factory):
    return reached(tmp_path_factory.mktemp("tally"), zygote, outside)


def test_every_kind_of_moment_comes_in_a_life(points):
    assert {name.partition(" ")[0] for name in points} == {
        *("fsync", "rename", "link", "commit"),
        *("fetch", "upstream", "finish", "webhook", "stream"),
        *("upload", "part", "complete"),
    }


def test_nothing_that_was_accepted_is_lost_stuck_or_finished_twice(
    zygote, outside, points, tmp_path
):
    lives, ran = machine(tmp_path, zygote, outside, points)
    run_state_machine_as_test(lives, settings=a_few(3))
    total = added(ran)
    assert total.kills > 5
    assert total.accepted > 5


def test_the_same_with_two_nodes_and_a_database_that_dies_and_stalls(
    zygote, outside, points, tmp_path
):
    with served() as server:
        databases = Databases(server.url)
        lives, ran = machine(
            tmp_path, zygote, outside, points, fresh_url=databases.empty, server=server
        )
        run_state_machine_as_test(lives, settings=a_few(2))
    total = added(ran)
    assert total.kills > 1
    assert total.accepted > 5
