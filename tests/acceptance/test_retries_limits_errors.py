"""C102-C109: retries, limits, errors (spec 14-16)."""

import itertools

import fal_client
import pytest
from tests.acceptance.conftest import ENDPOINT, calling
from tests.acceptance.support.jobs import submitted

WAITING = {"prompt": "x", "model": "echo/wait-60"}
QUICK = {"prompt": "x", "model": "echo/echo"}
RUN = f"POST /{ENDPOINT}"


def test_c102_js_runs_again_after_503(node, wire, asked):
    wire.fault(RUN, times=2, status=503)
    answer = node("retries.c102", input=asked())
    assert "sha256=" in answer["data"]["output"]
    assert [call.status for call in wire.calls] == [503, 503, 200]


def test_c103_js_does_not_run_again_after_its_own_timeout(node, wire, asked, narrow, relaying):
    wire.fault(RUN, status=504, headers={"x-fal-request-timeout-type": "user"})
    error = node("retries.c103", input=asked())
    assert (error["kind"], error["status"], error["isUserTimeout"]) == ("ApiError", 504, True)
    assert len(wire.calls) == 1
    # The same from the server itself.
    busy = relaying(narrow.origin)
    with calling(narrow.origin) as raw, submitted(raw, WAITING) as first:
        first.becomes("IN_PROGRESS")
        error = node("retries.late", origin=busy.url, input=QUICK)
    assert (error["status"], error["isUserTimeout"]) == (504, True)
    assert busy.calls[-1].answer_headers["x-fal-request-timeout-type"] == "user"
    assert [call.status for call in busy.calls].count(504) == 1


def test_c104_python_does_not_run_again_after_our_503(fal, wire):
    with pytest.raises(fal_client.FalClientHTTPError) as raised:
        fal.run(ENDPOINT, {"prompt": "x", "model": "echo/fail-503"})
    assert raised.value.status_code == 503
    assert raised.value.response_headers["content-type"] == "application/json"
    assert raised.value.response_headers["x-fal-request-id"]
    assert len(wire.calls) == 1


def test_c105_python_runs_again_after_429(fal, wire, asked):
    wire.fault(RUN, times=1, status=429)
    assert "sha256=" in fal.run(ENDPOINT, asked())["output"]
    assert [call.status for call in wire.calls] == [429, 200]


# ---------------------------------------------------------------- limits


@pytest.fixture(scope="module")
def limited(serving):
    """A server that runs one request per key at a time."""
    server = serving(env={"TELECINE_JOBS_RUNNING_PER_KEY": "1"})
    yield server
    assert server.stop() == 0


def test_c106_a_run_above_the_limit_is_refused(limited):
    with calling(limited.origin) as raw, submitted(raw, WAITING) as job:
        job.becomes("IN_PROGRESS")
        answers = [raw.post(f"/{ENDPOINT}{end}", json=QUICK) for end in ("", "/stream")]
        assert job.status().json()["status"] == "IN_PROGRESS"
    for answer in answers:
        assert answer.status_code == 429
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-fal-needs-retry"] == "1"
        assert answer.json() == {
            "detail": "Reached concurrent requests limit of 1",
            "type": "concurrent_requests_limit",
            "data": {"limit": 1},
        }


def test_c107_submits_above_the_limit_wait_their_turn(limited, python):
    client = python(limited.origin)
    model = {"prompt": "x", "model": "echo/wait-0.2"}
    handles = [client.submit(ENDPOINT, model) for _ in range(5)]
    positions = [
        status.position
        for status in handles[-1].iter_events(interval=0.02)
        if isinstance(status, fal_client.Queued)
    ]
    changes = [position for position, _ in itertools.groupby(positions)]
    assert len(changes) > 1
    assert changes == sorted(set(changes), reverse=True)
    assert [handle.get()["output"] for handle in handles] == ["x"] * 5


# ---------------------------------------------------------------- errors

UNKNOWN = "/queue/openrouter/router/requests/00000000-0000-4000-8000-000000000000"
WRONG = {"Authorization": "Key a:b"}

# What is asked, and the status: everything in the answer has to be readable by every client.
REFUSALS = {
    "run: no key": ("POST", f"/{ENDPOINT}", {"headers": {"Authorization": ""}, "json": QUICK}, 401),
    "run: wrong key": ("POST", f"/{ENDPOINT}", {"headers": WRONG, "json": QUICK}, 401),
    "run: wrong input": ("POST", f"/{ENDPOINT}", {"json": {}}, 422),
    "run: no JSON": ("POST", f"/{ENDPOINT}", {"content": b"{"}, 422),
    "run: wrong verb": ("GET", f"/{ENDPOINT}", {}, 405),
    "run: unknown path": ("POST", "/openrouter/router/nope", {"json": QUICK}, 404),
    "run: unknown app": ("POST", "/some/app", {"json": QUICK}, 404),
    "run: unknown model": ("POST", f"/{ENDPOINT}", {"json": {**QUICK, "model": "echo/no"}}, 422),
    "run: upstream 500": (
        "POST",
        f"/{ENDPOINT}",
        {"json": {**QUICK, "model": "echo/fail-500"}},
        500,
    ),
    "run: upstream 403": (
        "POST",
        f"/{ENDPOINT}",
        {"json": {**QUICK, "model": "echo/fail-403"}},
        422,
    ),
    "run: a timeout that is none": (
        "POST",
        f"/{ENDPOINT}",
        {"json": QUICK, "headers": {"x-fal-request-timeout": "soon"}},
        400,
    ),
    "stream: no key": (
        "POST",
        f"/{ENDPOINT}/stream",
        {"headers": {"Authorization": ""}, "json": QUICK},
        401,
    ),
    "stream: wrong input": ("POST", f"/{ENDPOINT}/stream", {"json": {}}, 422),
    "submit: no key": (
        "POST",
        f"/queue/{ENDPOINT}",
        {"headers": {"Authorization": ""}, "json": QUICK},
        401,
    ),
    "submit: no JSON": ("POST", f"/queue/{ENDPOINT}", {"content": b"{"}, 422),
    "submit: wrong webhook": ("POST", f"/queue/{ENDPOINT}?fal_webhook=x", {"json": QUICK}, 422),
    "submit: unknown app": ("POST", "/queue/some/app", {"json": QUICK}, 404),
    "status: unknown": ("GET", f"{UNKNOWN}/status", {}, 404),
    "status stream: unknown": ("GET", f"{UNKNOWN}/status/stream", {}, 404),
    "result: unknown": ("GET", UNKNOWN, {}, 404),
    "cancel: unknown": ("PUT", f"{UNKNOWN}/cancel", {}, 404),
    "cancel: wrong verb": ("DELETE", f"{UNKNOWN}/cancel", {}, 405),
    "proxy: no target": ("POST", "/api/fal/proxy", {"json": QUICK}, 400),
    "tokens: no key": (
        "POST",
        "/rest/tokens/",
        {"headers": {"Authorization": ""}, "json": {}},
        401,
    ),
    "tokens: wrong body": ("POST", "/rest/tokens/", {"json": {"allowed_apps": "all"}}, 422),
    "upload: no key": (
        "POST",
        "/rest/storage/upload/initiate",
        {"headers": {"Authorization": ""}, "json": {}},
        401,
    ),
    "upload: wrong type": (
        "POST",
        "/rest/storage/upload/initiate?storage_type=x",
        {"json": {}},
        400,
    ),
    "upload: wrong lifecycle": (
        "POST",
        "/rest/storage/upload/initiate",
        {"json": {}, "headers": {"x-fal-object-lifecycle": "soon"}},
        400,
    ),
    "cdn: no token": ("POST", "/cdn/files/upload", {"headers": WRONG, "content": b"x"}, 401),
    "file: unknown": ("GET", "/files/0123456789abcdef/a.mp4", {}, 404),
    "file: not ours to write": ("PUT", "/files/0123456789abcdef/a.mp4", {"content": b"x"}, None),
    "openapi: unknown": ("GET", "/api/openapi/queue/openapi.json?endpoint_id=a/b", {}, 404),
    "llms.txt: unknown": ("GET", "/models/some/app/llms.txt", {}, 404),
    "own API: unknown": ("GET", "/telecine/v1/requests/1", {}, 404),
    "own API: no key": ("GET", "/telecine/v1/requests", {"headers": {"Authorization": ""}}, 401),
    "nothing there": ("GET", "/nothing/here", {}, 404),
    "a path that climbs": ("GET", "/files/%2e%2e/%2e%2e/etc/passwd", {}, 404),
    "realtime": (
        "GET",
        f"/{ENDPOINT}/realtime",
        {
            "headers": {
                "Connection": "upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            }
        },
        404,
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_c108_every_refusal_is_a_json_object_with_a_detail(raw, case):
    method, path, how, status = REFUSALS[case]
    answer = raw.request(method, path, **how)
    assert answer.status_code == (status or answer.status_code)
    assert answer.status_code >= 400
    assert answer.headers["content-type"] == "application/json"
    detail = answer.json()["detail"]
    assert detail
    assert isinstance(detail, list if answer.status_code == 422 else str | list)
    assert answer.headers["x-fal-request-id"]


@pytest.mark.parametrize(
    ("path", "how", "status", "type"),
    [
        ("/v1/models/usage", {"headers": {"Authorization": ""}}, 401, "authorization_error"),
        ("/v1/models/requests/by-endpoint", {"headers": WRONG}, 401, "authorization_error"),
        ("/v1/models/requests/by-endpoint", {}, 400, "validation_error"),
        ("/v1/nothing/here", {}, 404, "not_found"),
    ],
)
def test_c108_every_refusal_of_the_platform_api_has_an_error(raw, path, how, status, type):
    answer = raw.get(path, **how)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error["type"] == type
    assert isinstance(error["message"], str)


@pytest.mark.parametrize("path", ["chat/completions", "responses", "embeddings"])
def test_c108_every_refusal_of_the_openai_base_has_both(raw, path):
    answer = raw.post(f"/openrouter/router/openai/v1/{path}", content=b"{")
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["detail"]
    assert isinstance(answer.json()["error"]["message"], str)


def test_c109_python_sees_that_a_request_was_not_started_in_time(narrow, python):
    client = python(narrow.origin)
    with calling(narrow.origin) as raw, submitted(raw, WAITING) as first:
        first.becomes("IN_PROGRESS")
        handle = client.submit(ENDPOINT, QUICK, start_timeout=1.1)
        with pytest.raises(fal_client.FalClientHTTPError) as raised:
            handle.get()
    assert raised.value.status_code == 504
    assert raised.value.error_type == "request_timeout"
    assert raised.value.response_headers["x-fal-error-type"] == "request_timeout"
    assert raised.value.response_headers["x-fal-request-timeout-type"] == "user"
