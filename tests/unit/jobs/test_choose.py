"""The order of the gate, as a function of rows."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from telecine.jobs.gate import Lane, Limits, choose


def waiting(*rows, **served):
    """Rows from "key model priority" in order of arrival."""
    split = (row.split() for row in rows)
    return [
        {
            "seq": seq,
            "id": str(seq),
            "key_id": key,
            "model": model,
            "priority": int(priority),
            "served": served.get(key, 0),
        }
        for seq, (key, model, priority) in enumerate(split)
    ]


def order(rows, running=(), free=100, **limits):
    return [row["seq"] for row in choose(rows, running, free, Limits(**limits))]


def per_model(limit):
    return lambda model: Lane(model, limit)


def shared(limit):
    return lambda model: Lane("engine", limit, counts_live=False) if model in "mn" else Lane(model)


def running(key, model, n, mode="queue"):
    return {"key_id": key, "model": model, "n": n, "mode": mode}


def test_one_key_is_served_in_order_of_arrival():
    assert order(waiting("a m 0", "a m 0", "a m 0")) == [0, 1, 2]


def test_normal_goes_before_low():
    assert order(waiting("a m 1", "a m 0", "b m 1", "b m 0")) == [1, 3, 0, 2]


def test_keys_take_turns():
    assert order(waiting("a m 0", "a m 0", "a m 0", "b m 0", "b m 0")) == [0, 3, 1, 4, 2]


def test_a_key_that_runs_less_comes_first():
    assert order(waiting("a m 0", "b m 0"), [running("a", "m", 1)]) == [1, 0]


def test_a_key_that_was_served_longer_ago_comes_first():
    assert order(waiting("a m 0", "b m 0", "c m 0", a=2, c=1)) == [1, 2, 0]


def test_no_more_than_the_free_slots():
    assert order(waiting("a m 0", "b m 0", "c m 0"), free=2) == [0, 1]


def test_a_key_at_its_limit_does_not_hold_up_others():
    rows = waiting("a m 0", "a m 0", "b m 0")
    assert order(rows, [running("a", "m", 1)], per_key=1) == [2]
    assert order(rows, per_key=1) == [0, 2]


def test_a_model_at_its_limit_does_not_hold_up_the_keys_other_models():
    rows = waiting("a m 0", "a m 0", "a n 0")
    assert order(rows, [running("b", "m", 1)], lane=per_model(1)) == [2]
    assert order(rows, lane=per_model(1)) == [0, 2]
    assert order(rows, [running("b", "m", 1, "run")], lane=per_model(1)) == [2]


def test_models_of_one_lane_share_its_limit():
    rows = waiting("a m 0", "a n 0", "a m 0", "b n 0", "b o 0")
    assert order(rows, lane=shared(2)) == [0, 3, 4]
    assert order(rows, [running("c", "n", 1)], lane=shared(2)) == [0, 4]


def test_live_calls_take_no_place_in_a_lane_that_does_not_count_them():
    rows = waiting("a m 0", "a m 0", "a m 0")
    assert order(rows, [running("b", "n", 9, "stream")], lane=shared(2)) == [0, 1]


def test_low_of_a_free_key_does_not_pass_normal_of_a_busy_one():
    assert order(waiting("b m 1", "a m 0"), [running("a", "m", 5)]) == [1, 0]


rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("mn"), st.integers(0, 1)), max_size=12
)


turns = st.fixed_dictionaries({key: st.integers(0, 4) for key in "abc"})


limits = st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 3))


@given(rows, rows, turns, limits, st.booleans())
def test_it_is_the_plain_rule_step_by_step(line, busy, served, limits, is_shared):
    """Against the rule written as a loop: take the best admissible row until there is none."""
    free, per_key, per_lane = limits
    lane = (shared if is_shared else per_model)(per_lane)
    rows = waiting(*(f"{key} {model} {priority}" for key, model, priority in line), **served)
    busy_rows = [running(key, model, 1) for key, model, _ in busy]
    keys, lanes = Counter(k for k, _, _ in busy), Counter(lane(m) for _, m, _ in busy)
    left, expected = list(rows), []
    while len(expected) < free:
        may = [
            row
            for row in left
            if not (per_key and keys[row["key_id"]] >= per_key)
            and not (per_lane and lanes[lane(row["model"])] >= per_lane)
        ]
        if not may:
            break
        best = min(
            may,
            key=lambda row: (
                row["priority"],
                keys[row["key_id"]],
                served[row["key_id"]],
                row["seq"],
            ),
        )
        served[best["key_id"]] = 100 + len(expected)
        left.remove(best)
        expected.append(best["seq"])
        keys[best["key_id"]] += 1
        lanes[lane(best["model"])] += 1
    assert order(rows, busy_rows, free, per_key=per_key, lane=lane) == expected
