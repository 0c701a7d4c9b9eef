"""The power goes at any moment: what was promised with an answer is there afterwards.

Every write of the real queue, database and storage is recorded below the C library; then the disk is
put together as it would be after a cut at some step, with what was not synced gone (or partly there),
and looked at. The same must find losses when a sync is left out: else it would prove nothing.
"""

import random

import pytest
from tests.torture.power import verify
from tests.torture.power.replay import Cut, Disk, counted, marks

pytestmark = pytest.mark.skipif(
    verify.compiler() is None, reason="no C compiler for the recorder: apt install gcc"
)

JOBS, CUTS, SEED = 12, 120, 20261122


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return verify.recorder(tmp_path_factory.mktemp("recorder"))


def losses(steps, folder, *, cut, number, seed=SEED):
    """What is broken after each of `number` cuts, chosen by `seed`, and right after each promise."""
    chance = random.Random(seed)
    said = marks(steps)
    after = {at + 1 for at, _ in said}
    chosen = sorted(after | set(chance.sample(range(len(steps) + 1), min(number, len(steps) + 1))))
    disk, taken, found = Disk(), 0, {}
    for at in chosen:
        for step in steps[taken:at]:
            disk.take(step)
        taken = at
        place = folder / f"{cut.value}-{at}"
        disk.after_cut(place, cut, chance)
        if lost := verify.broken(place, [what for where, what in said if where < at]):
            found[at] = lost
    return len(chosen), found


@pytest.mark.parametrize("cut", Cut)
def test_no_promise_is_broken_by_a_power_cut(library, tmp_path, cut):
    steps = verify.recorded(tmp_path, library, jobs=JOBS)
    assert counted(steps)["S"] > JOBS, "the recorder saw no syncs"
    assert len(marks(steps)) == 2 + 2 * JOBS
    number, found = losses(steps, tmp_path, cut=cut, number=CUTS)
    assert number >= CUTS
    assert not found


@pytest.mark.parametrize(
    ("how", "what"),
    [("off", "the database is damaged"), ("flat", "the bytes of")],
    ids=["database without syncs", "folders without syncs"],
)
def test_a_sync_that_is_left_out_is_found(library, tmp_path, how, what):
    steps = verify.recorded(tmp_path, library, jobs=JOBS, how=how)
    _, found = losses(steps, tmp_path, cut=Cut.NOTHING, number=0)
    assert any(line.startswith(what) for lines in found.values() for line in lines)
