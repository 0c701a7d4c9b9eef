"""What holds for every address that there is: failures are JSON, and what they look like."""

import re
from itertools import count

import pytest
from tests.fakes.asgi import Browser
from tests.integration.test_api import opened, serve  # noqa: F401

from telecine.api.routes import _routes
from telecine.errors import LimitReached

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "BREW")
UNKNOWN = "00000000-0000-4000-8000-000000000000"
FILLED = {"endpoint": "openrouter/router/video", "app": "openrouter/router"}


def paths(parts):
    """Every address of the table, its parts filled in with what is known and with what is not."""
    found = set()
    for route in _routes(parts):
        for known in (True, False):

            def filled(match, known=known):
                name = match[1]
                return FILLED.get(name, UNKNOWN) if known else "no/such" if match[2] else "nothing"

            found.add(re.sub(r"{(\w+)(:path)?}", filled, route.path))
    return [*sorted(found), "/no", "/no/such/path", "/v1/no", "/files/no/such", "/telecine/v1/no"]


def check(answer, method, path):
    """A failure says what is wrong, in JSON, in the words of where it was asked."""
    if answer.status < 400:
        return
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-fal-request-id"]
    if path.startswith("/v1"):
        assert answer.json["error"]["type"]
        assert answer.json["error"]["message"]
        assert set(answer.json) == {"error"}
    else:
        assert answer.json["detail"], (method, path)


@pytest.mark.parametrize("who", ["nobody", "a stranger", "a key", "an administrator"])
def test_every_failure_of_every_address_is_json_that_says_what_is_wrong(serve, who):  # noqa: F811
    async def test(server):
        key = {
            "nobody": None,
            "a stranger": "no:body",
            "a key": server.key,
            "an administrator": (await server.keys.create("boss", ["API", "ADMIN"])).key,
        }[who]
        statuses = set()
        addresses = (f"10.0.{n // 256}.{n % 256}" for n in count())  # else it is slowed down
        for path in paths(server.parts):
            if who == "an administrator" and path.startswith("/v1/keys/"):
                continue
            for method in METHODS:
                for body in (b"", b"{", b"[]"):
                    caller = Browser(server.app, key=key, client=next(addresses))
                    answer = await caller(method, path, body=body)
                    check(answer, method, path)
                    assert answer.status < 500 or answer.status == 501, (method, path, answer.body)
                    statuses.add(answer.status)
        return statuses

    statuses = serve(test)
    assert {404, 405} <= statuses
    assert who in ("a key", "an administrator") or 401 in statuses


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("fal.run", "/openrouter/router/video"),
        ("queue.fal.run", "/openrouter/router/video"),
        ("queue.fal.run", f"/openrouter/router/requests/{UNKNOWN}/status"),
        ("rest.fal.ai", "/storage/upload/initiate"),
        ("v3.fal.media", "/files/upload"),
        ("fal.ai", "/models/no/such"),
    ],
)
def test_failures_are_the_same_on_fals_own_hosts(serve, host, path):  # noqa: F811
    async def test(server):
        for method in METHODS:
            answer = await Browser(server.app, key=None)(method, path, host=host)
            assert answer.status >= 400
            check(answer, method, path)

    serve(test)


def test_a_range_that_the_file_does_not_have_is_told_in_json(serve):  # noqa: F811
    async def test(server):
        made = await server.call("POST", "/files/upload", body=b"0123456789")
        path = made.json["access_url"].partition("localhost:8484")[2]
        return await server.call("GET", path, headers={"range": "bytes=10-"})

    answer = serve(test)
    assert answer.status == 416
    assert answer.headers["content-range"] == "bytes */10"
    assert answer.headers["content-type"] == "application/json"
    assert "10 bytes" in answer.json["detail"]


# ---------------------------------------------------------------- before the body is read


@pytest.mark.parametrize("path", ["/openrouter/router/video", "/openrouter/router/video/stream"])
def test_a_live_call_over_the_limit_is_told_before_its_body_is_read(serve, path):  # noqa: F811
    async def test(server):
        server.worker.is_full = True
        answer = await server.call("POST", path, body=b"x" * 30_000_000)
        assert server.worker.requests == []
        return answer, server.call.read_bytes

    answer, read = serve(test)
    assert answer.status == 429
    assert answer.json["type"] == LimitReached.type
    assert answer.headers["x-fal-needs-retry"] == "1"
    assert answer.headers["connection"] == "close"
    assert read <= 2 * 1024 * 1024


def test_a_queued_call_waits_instead(serve):  # noqa: F811
    async def test(server):
        server.worker.is_full = True
        body = {"prompt": "p", "model": "m"}
        return await server.call("POST", "/queue/openrouter/router/video", body)

    assert serve(test).status == 200


# ---------------------------------------------------------------- documents


def test_the_page_of_an_endpoint_leads_to_what_describes_it(serve):  # noqa: F811
    async def test(server):
        for path in ("/models/openrouter/router/video", "/models/openrouter/router/video/api"):
            page = await Browser(server.app, key=None)("GET", path)
            assert page.status == 200
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            links = re.findall(r'href="([^"]+)"', page.body.decode())
            assert len(links) == 2
            for link in links:
                target = link.partition("localhost:8484")[2]
                assert (await Browser(server.app, key=None)("GET", target)).status == 200
        missing = await server.call("GET", "/models/no/such")
        assert (missing.status, "detail" in missing.json) == (404, True)

    serve(test)


def test_our_own_api_is_documented_call_by_call(serve):  # noqa: F811
    async def test(server):
        answer = await Browser(server.app, key=None)("GET", "/telecine/v1/openapi.json")
        routed = {
            (route.path, method.lower())
            for route in _routes(server.parts)
            if route.path.startswith("/telecine/v1/")
            for method in route.methods - {"HEAD"}
        }
        return answer, routed

    answer, routed = serve(test)
    assert answer.status == 200
    assert answer.json["servers"] == [{"url": "http://localhost:8484"}]
    written = {(path, method) for path, calls in answer.json["paths"].items() for method in calls}
    assert written == routed


def test_every_reference_in_our_own_document_leads_somewhere(serve):  # noqa: F811
    answer = serve(lambda server: server.call("GET", "/telecine/v1/openapi.json"))
    names = set(re.findall(r'"#/components/schemas/(\w+)"', answer.body.decode()))
    assert names <= set(answer.json["components"]["schemas"])
