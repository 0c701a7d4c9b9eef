"""C071-C081: results, and calling requests off (spec 6.5-6.7)."""

import uuid

import fal_client
import pytest
from tests.acceptance.conftest import ENDPOINT, calling
from tests.acceptance.support.jobs import submitted
from tests.acceptance.support.waiting import eventually

WAITING = {"prompt": "x", "model": "echo/wait-60"}
QUICK = {"prompt": "x", "model": "echo/echo"}


def test_c071_js_learns_of_a_wrong_field_from_the_result(node, asked):
    answer = node("results.c071", input=asked(temperature=3))
    assert answer["statuses"][-1] == "COMPLETED"
    assert answer["isValidationError"]
    assert answer["status"] == 422
    (entry,) = answer["fields"]
    assert entry["loc"] == ["body", "temperature"]
    assert entry["type"] == "less_than_equal"
    assert entry["ctx"] == {"le": 2}


def test_c072_python_learns_of_a_wrong_field_from_the_result(fal, asked):
    with pytest.raises(fal_client.FalClientHTTPError) as raised:
        fal.subscribe(ENDPOINT, asked(temperature=3))
    assert raised.value.status_code == 422
    assert isinstance(raised.value.message, list)
    assert raised.value.message[0]["type"] == "less_than_equal"
    assert raised.value.response_headers["x-fal-billable-units"] == "0"


def test_c073_js_reads_a_result_too_early(node, wire, raw):
    with submitted(raw, WAITING) as job:
        job.becomes("IN_PROGRESS")
        error = node("results.early", requestId=job.id)
    assert (error["kind"], error["status"]) == ("ApiError", 400)
    # One client compares this sentence letter by letter.
    assert error["body"]["detail"] == "Request is still in progress"
    assert len(wire.calls) == 1


def test_c074_js_reads_a_result_twice(node, raw, asked):
    with submitted(raw, asked()) as job:
        job.becomes("COMPLETED")
        first, second = node("results.c074", requestId=job.id)
    assert first == second
    assert "sha256=" in first["data"]["output"]
    assert first["requestId"] == job.id


def test_c075_python_gets_from_the_queue_what_run_would_say(fal, asked):
    queued = fal.submit(ENDPOINT, asked()).get()
    assert queued == fal.run(ENDPOINT, asked())
    assert set(queued) == {"output", "usage"}


def test_c076_js_cancels_while_queued(node, narrow):
    with calling(narrow.origin) as raw:
        with submitted(raw, WAITING) as first, submitted(raw, WAITING) as second:
            first.becomes("IN_PROGRESS")
            answer = node("results.cancelled", origin=narrow.origin, requestId=second.id)
            assert first.status().json()["status"] == "IN_PROGRESS"
    assert answer["resolved"] is None
    assert answer["status"]["status"] == "COMPLETED"
    assert answer["error"]["status"] == 499
    assert answer["error"]["body"]["error_type"] == "client_cancelled"


def test_c077_js_cancels_while_running(node, raw, upstream):
    prompt = f"cancelled {uuid.uuid4()}"

    def received():
        return [each for each in upstream.received if prompt in str(each.document)]

    with submitted(raw, {"prompt": prompt, "model": "openrouter/fake/mute"}) as job:
        (call,) = eventually(received)
        answer = node("results.cancelled", requestId=job.id)
    assert answer["resolved"] is None
    assert answer["status"]["status"] == "COMPLETED"
    assert answer["error"]["status"] == 499
    assert call.ended.wait(10)
    assert call.was_cut
    assert len(received()) == 1


def test_c078_js_cancels_too_late(node, wire, raw):
    with submitted(raw, QUICK) as job:
        job.becomes("COMPLETED")
        error = node("results.c078", requestId=job.id)
        assert job.result().status_code == 200
    assert (error["kind"], error["status"]) == ("ApiError", 400)
    assert error["body"]["status"] == "ALREADY_COMPLETED"
    assert len(wire.calls) == 1


def test_c079_python_cancels_what_is_not_there(fal):
    with pytest.raises(fal_client.FalClientHTTPError) as raised:
        fal.cancel(ENDPOINT, str(uuid.uuid4()))
    assert raised.value.status_code == 404
    assert raised.value.response.json()["status"] == "NOT_FOUND"


def test_c080_js_gives_up_waiting_and_cancels(node, wire):
    answer = node("results.c080", input=WAITING)
    assert answer["error"]["message"].startswith("Client timed out waiting for the request")
    (cancel,) = wire.to("/cancel")
    assert (cancel.method, cancel.status) == ("PUT", 202)
    assert answer["requestId"] in cancel.path


def test_c081_python_gives_up_waiting_and_cancels(fal, wire, raw):
    with pytest.raises(fal_client.FalClientTimeoutError) as raised:
        fal.subscribe(ENDPOINT, WAITING, client_timeout=2)
    assert uuid.UUID(raised.value.request_id)
    submit = wire.calls[0]
    assert float(submit.headers["x-fal-request-timeout"]) == 2
    (cancel,) = wire.to("/cancel")
    assert cancel.method == "PUT"
    assert raised.value.request_id in cancel.path
    assert cancel.status == 202
    assert eventually(lambda: status(raw, raised.value.request_id)["status"] == "COMPLETED")
    assert status(raw, raised.value.request_id)["error_type"] == "client_cancelled"
    # The thread that the client leaves behind reads the result before the wire is taken down.
    assert eventually(lambda: any(call.status == 499 for call in wire.calls))


def status(raw, request_id):
    return raw.get(f"/queue/openrouter/router/requests/{request_id}/status").json()
