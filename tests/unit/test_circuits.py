import contextlib
import logging

import pytest

from telecine import telemetry
from telecine.circuits import FAILURES, ROUTES, Circuits
from telecine.errors import ProviderFailed, ProviderUnavailable

ROUTE = "p", "m"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def circuits(clock):
    return Circuits(clock)


def ask(circuits, error=None, route=ROUTE):
    """One call; whether it was made at all."""
    is_made = False
    try:
        with circuits.call(*route) as call:
            is_made = True
            if error is not None:
                raise error
            call.answered()
    except (ProviderUnavailable, ProviderFailed):
        pass
    return is_made


def dead(**more):
    return ProviderUnavailable("cannot be reached", **more)


def opened(circuits):
    for _ in range(FAILURES):
        assert ask(circuits, dead())


def test_five_failures_in_a_row_open_it(circuits):
    opened(circuits)
    with pytest.raises(ProviderUnavailable, match="5 times in a row") as refused:
        circuits.check(*ROUTE)
    assert refused.value.retry_after_seconds == 30


def test_other_models_and_providers_go_on(circuits):
    opened(circuits)
    assert ask(circuits, route=("p", "other"))
    assert ask(circuits, route=("other", "m"))


def test_an_answer_in_between_starts_the_count_anew(circuits):
    for _ in range(FAILURES - 1):
        ask(circuits, dead())
    ask(circuits)
    for _ in range(FAILURES - 1):
        assert ask(circuits, dead())
    circuits.check(*ROUTE)


def test_an_answer_counts_from_its_first_word_on(circuits):
    for _ in range(FAILURES - 1):
        ask(circuits, dead())
    with contextlib.suppress(ProviderFailed), circuits.call(*ROUTE) as call:
        call.answered()
        raise ProviderFailed("broke off")
    assert ask(circuits, dead())
    circuits.check(*ROUTE)


def test_when_its_time_is_over_one_call_tries_and_the_others_wait(circuits, clock):
    opened(circuits)
    clock.now += 30
    with circuits.call(*ROUTE) as trial:
        assert not ask(circuits)
        trial.answered()
        assert ask(circuits)
    assert ask(circuits)


def test_every_trial_that_fails_doubles_the_time_up_to_five_minutes(circuits, clock):
    opened(circuits)
    for seconds in (30, 60, 120, 240, 300, 300):
        clock.now += seconds - 0.1
        assert not ask(circuits)
        clock.now += 0.1
        assert ask(circuits, dead())


def test_calls_that_began_before_it_opened_do_not_make_it_worse(circuits, clock):
    with contextlib.suppress(ProviderUnavailable), circuits.call(*ROUTE):
        opened(circuits)
        raise dead()
    clock.now += 30
    assert ask(circuits)


def test_a_trial_that_is_cancelled_lets_the_next_one_try(circuits, clock):
    opened(circuits)
    clock.now += 30
    with pytest.raises(KeyboardInterrupt), circuits.call(*ROUTE):
        raise KeyboardInterrupt
    assert ask(circuits)
    assert ask(circuits)


@pytest.mark.parametrize("error", [ProviderFailed("504"), ProviderFailed("cut")])
def test_what_may_have_been_billed_is_no_outage(circuits, error):
    for _ in range(3 * FAILURES):
        assert ask(circuits, error)


def test_a_retry_after_holds_the_route_until_then(circuits, clock):
    assert ask(circuits, dead(retry_after_seconds=7.0))
    clock.now += 6.9
    with pytest.raises(ProviderUnavailable, match="asked to be left alone") as refused:
        circuits.check(*ROUTE)
    assert refused.value.retry_after_seconds == 1
    clock.now += 0.1
    assert ask(circuits)


def test_a_retry_after_of_days_is_not_heeded_for_longer_than_an_hour(circuits, clock):
    ask(circuits, dead(retry_after_seconds=86_400.0))
    clock.now += 3600
    assert ask(circuits)


def test_strangers_names_do_not_pile_up(circuits):
    for number in range(ROUTES + 50):
        ask(circuits, dead(), route=("p", f"m{number}"))
    assert len(circuits._routes) == ROUTES


def test_it_is_told_in_the_log_and_in_the_metrics(circuits, caplog):
    with caplog.at_level(logging.WARNING):
        opened(circuits)
    assert "not asked for 'm' for 30 s" in caplog.text
    held = telemetry.ROUTES_HELD.labels("p")
    assert held._value.get() == 1
    with circuits_after(circuits, 30).call(*ROUTE) as trial:
        trial.answered()
    assert held._value.get() == 0


def circuits_after(circuits, seconds):
    circuits._clock.now += seconds
    return circuits
