"""C061-C070: how a queued request is doing (spec 6.3, 6.4)."""

from datetime import datetime

import pytest
from tests.acceptance.conftest import ENDPOINT, calling
from tests.acceptance.support.jobs import Job, submitted

WAITING = {"prompt": "x", "model": "echo/wait-60"}
QUICK = {"prompt": "x", "model": "echo/echo"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def narrow_raw(narrow):
    with calling(narrow.origin) as client:
        yield client


def test_c061_the_code_is_202_while_queued_and_while_running(narrow_raw):
    with submitted(narrow_raw, WAITING) as running, submitted(narrow_raw, QUICK) as queued:
        running.becomes("IN_PROGRESS")
        for job, state in ((running, "IN_PROGRESS"), (queued, "IN_QUEUE")):
            answer = job.status()
            assert (answer.status_code, answer.json()["status"]) == (202, state)


def test_c062_the_code_is_200_when_completed_failed_and_cancelled(raw):
    failing = {**QUICK, "temperature": 3}
    with (
        submitted(raw, QUICK) as done,
        submitted(raw, failing) as failed,
        submitted(raw, WAITING) as cancelled,
    ):
        cancelled.cancel()
        told = {}
        for name, job in (("done", done), ("failed", failed), ("cancelled", cancelled)):
            job.becomes("COMPLETED")
            answer = job.status()
            told[name] = answer.json()
            assert (answer.status_code, told[name]["status"]) == (200, "COMPLETED"), name
    assert "error" not in told["done"]
    assert told["failed"]["error_type"] == "bad_request"
    assert told["cancelled"]["error_type"] == "client_cancelled"


# The package `fal` 1.83.0 brings ninety others and speaks TLS only, so its calls are made here: a
# GET with a slash at the end and `logs` as a number, read by the code alone (fal/apps.py,
# RequestHandle.status).
def fal_package_status(client, job, *, logs=False):
    answer = client.get(f"{job.path}/status/", params={"logs": int(logs)})
    answer.raise_for_status()
    data = answer.json()
    if answer.status_code == 200:
        return "Completed", data["logs"]
    if data["status"] == "IN_QUEUE":
        return "Queued", data["queue_position"]
    assert data["status"] == "IN_PROGRESS"
    return "InProgress", data["logs"]


def test_c063_the_fal_package_sees_a_run_in_progress(raw):
    with submitted(raw, WAITING) as job:
        job.becomes("IN_PROGRESS")
        assert fal_package_status(raw, job) == ("InProgress", None)
        kind, logs = fal_package_status(raw, job, logs=True)
        assert kind == "InProgress"
        assert isinstance(logs, list)
        job.cancel()
        job.becomes("COMPLETED")
        assert fal_package_status(raw, job)[0] == "Completed"


def test_c064_js_maps_over_the_logs(node, asked):
    answer = node("status.c064", input=asked("echo/log-5-wait-1"))
    assert {update["status"] for update in answer["seen"]} == {"IN_PROGRESS", "COMPLETED"}
    logs = answer["seen"][-1]["logs"]
    assert [log["message"] for log in logs if log["message"].startswith("line")] == [
        f"line {n} of 5" for n in range(1, 6)
    ]
    for log in logs:
        assert {"message", "level", "source", "timestamp"} <= set(log)
        assert log["level"] in ("STDERR", "STDOUT", "ERROR", "INFO", "WARN", "DEBUG")
        assert log["source"] == "USER"
        assert log["labels"] == {"level": log["level"], "source": "USER"}
        assert datetime.fromisoformat(log["timestamp"]).tzinfo
    # A polled status holds the whole log so far.
    for before, after in zip(answer["seen"], answer["seen"][1:], strict=False):
        assert after["logs"][: len(before["logs"])] == before["logs"]


def test_c065_an_unknown_id_is_a_404_asked_once(node, wire, raw):
    errors = node("status.c065")
    assert [(error["kind"], error["status"]) for error in errors] == [("ApiError", 404)] * 2
    assert all(error["body"]["status"] == "NOT_FOUND" for error in errors)
    assert all(isinstance(error["body"]["detail"], str) for error in errors)
    assert len(wire.calls) == 2
    for answer in (Job(raw, UNKNOWN).status(), Job(raw, UNKNOWN).result()):
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/json"


def test_c066_every_way_of_asking_for_logs(raw):
    with submitted(raw, {**QUICK, "model": "echo/log-2"}) as job:
        job.becomes("COMPLETED")
        for query, has_logs in [
            ({"logs": "1"}, True),
            ({"logs": "true"}, True),
            ({"logs": "True"}, True),
            ({"logs": "0"}, False),
            ({"logs": "false"}, False),
            ({}, False),
        ]:
            answer = job.status(**query)
            assert answer.status_code == 200
            assert isinstance(answer.json()["logs"], list) == has_logs, query


def test_c067_js_asks_again_when_a_status_fails_once(node, wire, asked):
    wire.fault("GET .*/status", times=1, status=500)
    answer = node("status.c067", input=asked())
    assert "sha256=" in answer["data"]["output"]
    statuses = [call.status for call in wire.to("/status")]
    assert statuses[0] == 500
    assert statuses[-1] == 200


def test_c068_js_streams_the_status_to_its_end(node, asked):
    answer = node("status.c068", input=asked("echo/log-2-wait-0.5"))
    assert answer["last"]["status"] == "COMPLETED"
    assert answer["last"] == answer["events"][-1]
    assert answer["last"]["request_id"] == answer["requestId"]
    assert all(answer["areStatuses"])


def test_c069_js_gets_each_log_line_once_in_a_status_stream(node, asked):
    answer = node("status.c069", input=asked("echo/log-5-wait-0.5", videos=()))
    assert answer["last"]["status"] == "COMPLETED"
    messages = [log["message"] for log in answer["last"]["logs"]]
    assert [text for text in messages if text.startswith("line")] == [
        f"line {n} of 5" for n in range(1, 6)
    ]
    assert len(messages) == len(set(messages))


def test_c070_the_status_stream_of_a_completed_request_is_one_event(raw):
    with submitted(raw, QUICK) as job:
        job.becomes("COMPLETED")
        (event,) = job.changes(logs=1)
    assert event["status"] == "COMPLETED"
    assert event["response_url"].endswith(f"/queue/{ENDPOINT.rpartition('/')[0]}/requests/{job.id}")
