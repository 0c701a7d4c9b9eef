"""C051-C056: into the queue (spec 6.1)."""

import uuid

import pytest
from tests.acceptance.conftest import ENDPOINT, calling

BODY = {"prompt": "x", "model": "echo/echo"}
SLOW = {"prompt": "x", "model": "echo/wait-60"}


def test_c051_js_submits(node, wire):
    status = node("submit.c051", input=BODY)
    assert status["status"] == "IN_QUEUE"
    request_id = status["request_id"]
    assert uuid.UUID(request_id)
    base = f"{wire.url}/queue/openrouter/router/requests/{request_id}"
    assert status["response_url"] == base
    assert status["status_url"] == f"{base}/status"
    assert status["cancel_url"] == f"{base}/cancel"
    assert type(status["queue_position"]) is int
    assert wire.calls[0].status == 200
    assert wire.calls[0].answer_headers["x-fal-request-id"] == request_id


def test_c052_js_submits_with_every_option(node, wire):
    assert node("submit.c052", input=BODY)["status"] == "IN_QUEUE"
    sent = wire.calls[0].headers
    assert sent["x-fal-queue-priority"] == "low"
    assert sent["x-fal-runner-hint"] == "a"
    assert sent["x-fal-tags"] == "unknown"
    assert sent["x-my-own"] == "1"


def test_c053_python_submits_with_every_option(fal, wire):
    handle = fal.submit(ENDPOINT, BODY, priority="low", hint="a")
    assert uuid.UUID(handle.request_id)
    assert wire.calls[0].headers["x-fal-queue-priority"] == "low"
    assert wire.calls[0].headers["x-fal-runner-hint"] == "a"
    assert handle.get()["output"] == "x"


def test_c054_a_wrong_input_is_accepted_and_fails_later(node):
    answer = node("submit.c054", input={"prompt": "x"})
    assert answer["submitted"]["status"] == "IN_QUEUE"
    assert (answer["error"]["kind"], answer["error"]["status"]) == ("ValidationError", 422)
    assert answer["error"]["body"]["detail"][0]["loc"] == ["body", "model"]
    assert answer["error"]["body"]["detail"][0]["type"] == "missing"


@pytest.fixture
def busy(narrow, python):
    """A client of a server whose one slot is taken until the test is over."""
    client = python(narrow.origin)
    handle = client.submit(ENDPOINT, SLOW)
    for status in handle.iter_events(interval=0.02):
        if type(status).__name__ == "InProgress":
            break
    yield client
    handle.cancel()


def test_c055_a_submit_may_say_how_long_a_queue_it_bears(busy, narrow):
    waiting = busy.submit(ENDPOINT, BODY)
    with calling(narrow.origin) as raw:
        answer = raw.post(f"/queue/{ENDPOINT}?fal_max_queue_length=0", json=BODY)
        enough = raw.post(f"/queue/{ENDPOINT}?fal_max_queue_length=50", json=BODY)
        raw.put(f"/queue/openrouter/router/requests/{enough.json()['request_id']}/cancel")
    waiting.cancel()
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["detail"]
    assert enough.status_code == 200


def test_c056_a_hundred_submits_at_once(node):
    answer = node("submit.c056")
    assert len({uuid.UUID(request_id) for request_id in answer["ids"]}) == 100
    assert answer["results"] == [f"job {number}" for number in range(100)]
