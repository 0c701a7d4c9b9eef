"""C017-C022: endpoint ids, and the URLs that clients make of them (spec 3)."""

import uuid

import pytest
from tests.acceptance.conftest import ENDPOINT

BODY = {"prompt": "x", "model": "echo/echo"}


@pytest.fixture
def done(raw):
    """The id of a finished job."""
    request_id = raw.post(f"/queue/{ENDPOINT}", json=BODY).json()["request_id"]
    with raw.stream("GET", f"/queue/openrouter/router/requests/{request_id}/status/stream") as all_:
        all_.read()
    return request_id


def test_c017_a_job_of_the_full_id_is_found_under_the_app(node, wire):
    answer = node("ids.c017", input=BODY)
    request_id = answer["requestId"]
    assert answer["status"]["request_id"] == request_id
    submit, status = wire.lines()
    assert submit == f"POST /queue/{ENDPOINT}/enterprise"
    assert status.startswith(f"GET /queue/openrouter/router/requests/{request_id}/status?")


def test_c018_namespaces_are_routed(node, wire):
    errors = node("ids.c018")
    for error, call, app in zip(
        errors, wire.calls, ("workflows/me/flow", "comfy/me/flow"), strict=True
    ):
        assert call.path.startswith(f"/queue/{app}/requests/")
        assert call.answer_headers["content-type"] == "application/json"
        assert error["status"] == 404
        assert "not found" in error["body"]["detail"]


def test_c019_the_long_form_of_a_status_url_is_the_same(raw, done):
    short = raw.get(f"/queue/openrouter/router/requests/{done}/status")
    for endpoint in (ENDPOINT, f"{ENDPOINT}/"):
        long = raw.get(f"/queue/{endpoint.rstrip('/')}/requests/{done}/status")
        assert (long.status_code, long.json()) == (short.status_code, short.json())
    assert short.json()["status"] == "COMPLETED"


def test_c020_response_is_another_name_of_the_result(raw, done):
    base = f"/queue/openrouter/router/requests/{done}"
    result, response = raw.get(base), raw.get(f"{base}/response")
    assert result.json()["output"] == "x"
    assert (response.status_code, response.json()) == (result.status_code, result.json())
    assert response.headers["x-fal-request-id"] == done


@pytest.mark.parametrize("app", ["openrouter/other", "other/router", "fal-ai/flux", "router"])
def test_c021_a_job_is_not_found_under_another_app(raw, done, app):
    for end in ("", "/status", "/response", "/status/stream"):
        answer = raw.get(f"/queue/{app}/requests/{done}{end}")
        assert answer.status_code == 404, end
        assert answer.json()["detail"]
    assert raw.put(f"/queue/{app}/requests/{done}/cancel").status_code == 404


def test_an_unknown_id_is_not_found_wherever_it_is_asked_about(raw):
    base = f"/queue/openrouter/router/requests/{uuid.uuid4()}"
    for method, end in [
        ("GET", ""),
        ("GET", "/status"),
        ("GET", "/status/stream"),
        ("PUT", "/cancel"),
    ]:
        answer = raw.request(method, base + end)
        assert answer.status_code == 404
        assert answer.json()["status"] == "NOT_FOUND"
        assert isinstance(answer.json()["detail"], str)
