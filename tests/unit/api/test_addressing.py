from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.api.addressing import Addressing, address
from telecine.api.failures import MethodNotAllowed
from telecine.errors import BadRequest, NotFound

OWN = "localhost:8484"


@pytest.fixture
def arrive(run):
    """Where a request ends up: (internal path, query, base URLs)."""

    def arrive(
        path,
        host=OWN,
        *,
        target=None,
        stands_for=None,
        method="GET",
        public_url=None,
        scheme="http",
    ):
        seen = {}

        async def app(scope, _receive, _send):
            seen.update(scope)

        headers = [(b"host", host.encode())]
        if target is not None:
            headers.append((b"x-fal-target-url", target.encode()))
        if stands_for is not None:
            headers.append((b"x-telecine-host", stands_for.encode()))
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"own=1",
            "headers": headers,
            "scheme": scheme,
            "server": ("127.0.0.1", 8484),
        }
        run(Addressing(app, public_url=public_url)(scope, None, None))
        return seen["path"], seen["query_string"].decode(), address(seen)

    return arrive


@pytest.mark.parametrize(
    ("host", "path", "internal"),
    [
        (OWN, "/openrouter/router/video", "/openrouter/router/video"),
        (OWN, "/queue/openrouter/router/video", "/queue/openrouter/router/video"),
        (OWN, "/rest/tokens/", "/rest/tokens"),
        (OWN, "/files/b/1/a.mp4", "/files/b/1/a.mp4"),
        (OWN, "/cdn/files/upload", "/files/upload"),
        (OWN, "/cdn/upload", "/files/upload"),
        (OWN, "/v1/models", "/v1/models"),
        (OWN, "/", "/"),
        ("fal.run", "/openrouter/router/video/", "/openrouter/router/video"),
        ("FAL.RUN:443", "/openrouter/router/video", "/openrouter/router/video"),
        ("fal.run.", "/openrouter/router/video", "/openrouter/router/video"),
        ("falrun.com", "/openrouter/router/video", "/openrouter/router/video"),
        ("ws.fal.run", "/openrouter/router/video", "/openrouter/router/video"),
        ("queue.fal.run", "/openrouter/router/video", "/queue/openrouter/router/video"),
        ("queue.falrun.com", "/a/b/requests/1/status/", "/queue/a/b/requests/1/status"),
        ("queue.example.org:8443", "/a/b", "/queue/a/b"),
        ("rest.fal.ai", "/storage/upload/initiate", "/rest/storage/upload/initiate"),
        ("rest.alpha.fal.ai", "/tokens/", "/rest/tokens"),
        ("v3.fal.media", "/files/upload", "/files/upload"),
        ("v3b.fal.media", "/files/b/1/a.mp4", "/files/b/1/a.mp4"),
        ("fal.media", "/files/x/y", "/files/x/y"),
        ("api.fal.ai", "/v1/models", "/v1/models"),
        ("fal.ai", "/api/openapi/queue/openapi.json", "/api/openapi/queue/openapi.json"),
        ("evil-fal.run", "/queue/a/b", "/queue/a/b"),
    ],
)
def test_every_way_leads_to_one_path(arrive, host, path, internal):
    assert arrive(path, host)[0] == internal


@pytest.mark.parametrize("path", ["//openrouter//router/video", "/openrouter/router/video//"])
def test_doubled_slashes_count_once(arrive, path):
    assert arrive(path)[0] == "/openrouter/router/video"


def test_encoded_characters_are_decoded(arrive):
    assert arrive("/files/b/1/my%20clip%C3%A9.mp4")[0] == "/files/b/1/my clipé.mp4"


@pytest.mark.parametrize(
    "path",
    ["/a%2Fb/c", "/a/%2e%2e/b", "/a/../b", "/a/./b", "/a/%00/b", "/a/%ff/b", "/files/%2e/x"],
)
def test_what_others_may_read_differently_is_not_found(arrive, path):
    with pytest.raises(NotFound):
        arrive(path)


# ---------------------------------------------------------------- the proxy route


@pytest.mark.parametrize(
    ("target", "internal", "query"),
    [
        ("https://fal.run/openrouter/router/video", "/openrouter/router/video", ""),
        ("https://queue.fal.run/a/b?fal_webhook=https%3A%2F%2Fx", "/queue/a/b", "fal_webhook=https%3A%2F%2Fx"),
        ("https://queue.fal.run:443/a/b/requests/1/status?logs=1", "/queue/a/b/requests/1/status", "logs=1"),
        ("https://rest.fal.ai/tokens/", "/rest/tokens", ""),
        ("HTTPS://FAL.RUN/a/b#fragment", "/a/b", ""),
        (f"http://{OWN}/queue/a/b", "/queue/a/b", ""),
        (f"http://queue.{OWN}/a/b", "/queue/a/b", ""),
        ("https://fal.run", "/", ""),
    ],
)  # fmt: skip
def test_the_proxy_dispatches_on_the_target(arrive, target, internal, query):
    assert arrive("/api/fal/proxy", target=target)[:2] == (internal, query)


@pytest.mark.parametrize(
    "target",
    [
        None,
        "",
        "https://example.com/",
        "http://169.254.169.254/",
        "https://fal.run@evil/",
        "https://evil@fal.run/",
        "https://fal.run.evil/",
        "https://fal.run:8080/",
        "https://evil/fal.run",
        "https://evil\\@fal.run/",
        "https://fal.run\\@evil/",
        "ftp://fal.run/",
        "//fal.run/a/b",
        "fal.run/a/b",
        "https://fal.run /a",
        "https://localhost:9999/a",
        f"http://{OWN}/api/fal/proxy",
    ],
)
def test_the_proxy_goes_nowhere_else(arrive, target):
    with pytest.raises(BadRequest):
        arrive("/api/fal/proxy", target=target)


def test_a_trap_in_the_target_is_not_found(arrive):
    with pytest.raises(NotFound):
        arrive("/api/fal/proxy", target="https://fal.run/a/%2e%2e/b")


def test_the_proxy_takes_the_clients_verbs_alone(arrive):
    with pytest.raises(MethodNotAllowed):
        arrive("/api/fal/proxy", target="https://fal.run/a/b", method="PATCH")


def test_the_proxy_knows_the_public_url(arrive):
    at = "https://video.example.org"
    assert arrive("/api/fal/proxy", target=f"{at}/queue/a/b", public_url=at)[0] == "/queue/a/b"


@given(st.text())
def test_no_target_is_a_bug(target):
    """Whatever the header says, it is a path of ours or a refusal."""
    addressing = Addressing(None)
    scope = {
        "method": "GET",
        "headers": [
            (b"host", OWN.encode()),
            (b"x-fal-target-url", ("https://fal.run/" + target).encode("utf-8", "replace")),
        ],
    }
    with suppress(BadRequest, NotFound):
        assert addressing._target(scope, OWN).startswith("/")


# ---------------------------------------------------------------- URLs in answers


def test_urls_follow_the_callers_own_origin(arrive):
    at = arrive("/a/b")[2]
    assert (at.run, at.queue, at.rest, at.files) == (
        f"http://{OWN}",
        f"http://{OWN}/queue",
        f"http://{OWN}/rest",
        f"http://{OWN}/files",
    )


def test_a_queue_host_stays_the_queue_host(arrive):
    at = arrive("/a/b", "queue.example.org:8443", scheme="https")[2]
    assert at.queue == "https://queue.example.org:8443"
    assert at.files == "https://example.org:8443/files"


@pytest.mark.parametrize("host", ["queue.fal.run", "rest.fal.ai", "v3.fal.media"])
def test_fals_hosts_are_answered_with_fals_hosts(arrive, host):
    at = arrive("/a/b", host)[2]
    assert (at.queue, at.files) == ("https://queue.fal.run", "https://v3.fal.media/files")


def test_the_public_url_wins(arrive):
    at = arrive("/a/b", "queue.fal.run", public_url="https://video.example.org/")[2]
    assert at.queue == "https://video.example.org/queue"


def test_who_stands_for_fal_is_answered_with_fals_names(arrive):
    public = "https://video.example.org"
    path, _, at = arrive("/a/b", OWN, stands_for="queue.fal.run", public_url=public)
    assert path == "/queue/a/b"
    assert (at.run, at.queue, at.rest) == (
        "https://fal.run",
        "https://queue.fal.run",
        "https://rest.fal.ai",
    )
    assert at.files == "https://v3.fal.media/files"


@pytest.mark.parametrize("stands_for", ["", "example.org", "queue.example.org"])
def test_nobody_stands_for_others(arrive, stands_for):
    path, _, at = arrive("/a/b", OWN, stands_for=stands_for)
    assert (path, at.run) == ("/a/b", f"http://{OWN}")


@pytest.mark.parametrize("host", ["", 'x"y', "a b", "h\xe9"])
def test_a_host_that_is_none_is_not_repeated(arrive, host):
    assert arrive("/a/b", host)[2].run == "http://127.0.0.1:8484"
