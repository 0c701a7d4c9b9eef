"""C057-C060: how fal's Python client sees a job on its way (spec 6.3)."""

import fal_client
import pytest
from tests.acceptance.conftest import ENDPOINT

BODY = {"prompt": "x", "model": "echo/echo"}
SLOW = {"prompt": "x", "model": "echo/log-3-wait-60"}


def until(handle, is_so, **options):
    """The first status that is so."""
    return next(status for status in handle.iter_events(interval=0.02, **options) if is_so(status))


def is_running(status):
    return isinstance(status, fal_client.InProgress)


def test_c057_a_job_knows_its_place_while_queued(narrow, python):
    client = python(narrow.origin)
    first = client.submit(ENDPOINT, SLOW)
    try:
        until(first, is_running)
        waiting = [client.submit(ENDPOINT, BODY) for _ in range(2)]
        statuses = [client.status(ENDPOINT, handle.request_id) for handle in waiting]
    finally:
        first.cancel()
    assert [type(status) for status in statuses] == [fal_client.Queued] * 2
    assert [status.position for status in statuses] == [0, 1]
    assert [handle.get()["output"] for handle in waiting] == ["x", "x"]


@pytest.fixture
def running(fal):
    """The handle of a job that runs until the test is over."""
    handle = fal.submit(ENDPOINT, SLOW)
    until(handle, is_running)
    yield handle
    handle.cancel()


def test_c058_a_running_job_shows_its_logs(running):
    def has_logged(status):
        return is_running(status) and any(line["message"] == "line 3 of 3" for line in status.logs)

    status = until(running, has_logged, with_logs=True)
    messages = [line["message"] for line in status.logs]
    assert [message for message in messages if message.startswith("line")] == [
        f"line {number} of 3" for number in (1, 2, 3)
    ]


def test_c059_a_running_job_needs_no_logs(fal, running):
    status = fal.status(ENDPOINT, running.request_id)
    assert is_running(status)
    assert not status.logs


def test_c060_a_completed_job_says_how_long_it_took(fal):
    handle = fal.submit(ENDPOINT, BODY)
    status = until(handle, lambda status: isinstance(status, fal_client.Completed), with_logs=True)
    assert isinstance(status.metrics["inference_time"], int | float)
    assert status.error is None
    assert isinstance(status.logs, list)
