"""C023-C034: synchronous run (spec 4)."""

import uuid

import fal_client
import pytest
from tests.acceptance.conftest import ENDPOINT, calling
from tests.acceptance.support.waiting import eventually

BODY = {"prompt": "x", "model": "echo/echo"}


def test_c023_python_runs(fal, asked):
    answer = fal.run(ENDPOINT, asked(prompt="hello"))
    assert answer["output"].startswith("hello\nvideo 1: sha256=")
    assert isinstance(answer["usage"]["cost"], int | float)


def test_c024_python_may_limit_the_wait_for_the_start(fal, wire):
    assert fal.run(ENDPOINT, BODY, start_timeout=5)["output"] == "x"
    assert wire.calls[0].headers["x-fal-request-timeout"] == "5.0"


def test_c025_js_may_limit_the_wait_for_the_start(node, wire):
    assert node("run.c025", input=BODY)["data"]["output"] == "x"
    assert wire.calls[0].headers["x-fal-request-timeout"] == "5"


def test_c026_a_lifecycle_is_accepted(node, wire):
    assert node("run.c026", input=BODY)["data"]["output"] == "x"
    lifecycle = wire.calls[0].headers["x-fal-object-lifecycle-preference"]
    assert "3600" in lifecycle


def test_c027_a_run_without_input_is_told_what_is_missing(node, wire):
    error = node("run.c027")
    (call,) = wire.calls
    assert call.body == b""
    assert call.headers["content-type"] == "application/json"
    assert (error["kind"], error["status"]) == ("ValidationError", 422)
    assert isinstance(error["body"]["detail"], list)


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"prompt": "x",}', b"[1", b'{"a": NaN}'])
def test_c028_what_is_no_json_is_told_so(raw, body):
    for path in (f"/{ENDPOINT}", f"/{ENDPOINT}/stream", f"/queue/{ENDPOINT}"):
        answer = raw.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422), path
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_c029_other_methods_are_not_allowed(raw, method):
    answer = raw.request(method, f"/{ENDPOINT}")
    assert answer.status_code == 405
    assert answer.json() == {"detail": "Method Not Allowed"}


def test_c030_an_unknown_path_of_the_app_is_not_found_at_once(node, wire):
    error = node("run.c030", input=BODY)
    assert error["status"] == 404
    assert isinstance(error["body"]["detail"], str)
    assert len(wire.calls) == 1


def test_c031_without_a_key_nothing_runs(server):
    with calling(server.origin, key=None) as nobody:
        for path in (f"/{ENDPOINT}", f"/{ENDPOINT}/stream", f"/queue/{ENDPOINT}"):
            answer = nobody.post(path, json=BODY)
            assert answer.status_code == 401
            assert answer.json()["detail"] == (
                'Cannot access application "openrouter/router". '
                "Authentication is required to access this application."
            )


def test_c032_python_with_a_wrong_key_is_told_so_once(python, wire):
    with pytest.raises(fal_client.client.FalClientHTTPError) as caught:
        python(wire.url, key=f"{uuid.uuid4()}:{'0' * 32}").run(ENDPOINT, BODY)
    assert caught.value.status_code == 401
    assert caught.value.message == "invalid key credentials"
    assert len(wire.calls) == 1


def test_js_with_a_wrong_key_is_told_so_once(node, wire):
    error = node("run.wrong_key", key=f"{uuid.uuid4()}:{'0' * 32}", input=BODY)
    assert (error["kind"], error["status"]) == ("ApiError", 401)
    assert error["body"] == {"detail": "invalid key credentials"}
    assert len(wire.calls) == 1


def test_c033_every_answer_has_a_request_id(raw):
    submitted = raw.post(f"/queue/{ENDPOINT}", json=BODY)
    base = f"/queue/openrouter/router/requests/{submitted.json()['request_id']}"
    answers = [
        submitted,
        raw.post(f"/{ENDPOINT}", json=BODY),
        raw.post(f"/{ENDPOINT}", json={}),
        raw.post(f"/{ENDPOINT}", content=b"{"),
        raw.post(f"/{ENDPOINT}", json={**BODY, "model": "echo/fail-500"}),
        raw.post(f"/{ENDPOINT}/stream", json=BODY),
        raw.post(f"/{ENDPOINT}/stream", json={}),
        raw.get(f"/{ENDPOINT}"),
        raw.get(f"{base}/status"),
        raw.get(f"{base}/status/stream"),
        raw.get(base),
        raw.put(f"{base}/cancel"),
        raw.get(f"/queue/openrouter/router/requests/{uuid.uuid4()}"),
        raw.post("/api/fal/proxy"),
        raw.get("/nothing"),
        raw.options(f"/{ENDPOINT}"),
        raw.post(f"/{ENDPOINT}", json=BODY, headers={"authorization": "Key wrong:wrong"}),
    ]
    for answer in answers:
        assert uuid.UUID(answer.headers["x-fal-request-id"]), answer.request.url


def test_c034_a_caller_who_hangs_up_stops_the_upstream(node, upstream):
    before = len(upstream.received)
    row = node.begun("run.c034", input={"prompt": "x", "model": "fake/slow"})
    received = arrived(upstream, before)
    row.tell()
    error = row.result()
    assert error["name"] == "AbortError"
    assert received.ended.wait(20)
    assert received.was_cut


def arrived(upstream, number):
    """The request with this number at the fake upstream, once it is there."""
    assert eventually(lambda: len(upstream.received) > number)
    return upstream.received[number]
