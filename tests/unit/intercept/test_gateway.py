import base64
import json

import pytest

from telecine.intercept.gateway import Gateway

CANARY = "Key real-fal-id:real-fal-secret"
KEY = "telecine-id:telecine-secret"


def token(**claims):
    """A JWT's shape, with these claims."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({}, claims)
    ]
    return b".".join([*parts, b"c2ln"]).decode()


CDN = token(use="cdn", sub="x")
APP = token(use="app", sub="x")
FOREIGN = token(sub="somebody", iss="https://auth.fal.ai")


class World:
    """Telecine and the real hosts behind a gateway: what each was asked."""

    def __init__(self, run, *, key=KEY, is_only_fal=False):
        self.telecine, self.outside, self.calls = [], [], []
        self._run = run
        self._gateway = Gateway(
            self._telecine,
            key=key,
            outside=None if is_only_fal else self._outside,
            on_call=self.calls.append,
        )

    async def _telecine(self, scope, _receive, send):
        self.telecine.append(scope)
        await answer(send, 200, b"telecine")

    async def _outside(self, scope, _receive, send, *, base):
        self.outside.append((base, scope))
        await answer(send, 200, b"outside")

    def ask(
        self, host, path="/openrouter/router/video", *, method="POST", by_proxy=None, **headers
    ):
        """(status, body), asked through the TLS end, or in the open with a full URL."""
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", host.encode())]
            + [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()],
            "telecine.target": (by_proxy or path).encode(),
        }
        said = []

        async def send(message):
            said.append(message)

        app = self._gateway.others if by_proxy else self._gateway
        self._run(app(scope, None, send))
        return said[0]["status"], b"".join(message.get("body", b"") for message in said[1:])

    @property
    def headers(self):
        """Of the one request that Telecine got."""
        (scope,) = self.telecine
        return {name.decode(): text.decode() for name, text in scope["headers"]}


async def answer(send, status, body):
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def world(run):
    return World(run)


# ---------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    "given",
    [None, CANARY, "key x", "Bearer sk-openai", f"Bearer {FOREIGN}", "Basic eDp5", "nonsense"],
)
@pytest.mark.parametrize("host", ["fal.run", "queue.fal.run", "rest.fal.ai", "api.fal.ai"])
def test_whatever_key_the_program_has_telecine_gets_its_own(world, host, given):
    world.ask(host, **({"authorization": given} if given else {}))
    assert world.headers["authorization"] == f"Key {KEY}"


@pytest.mark.parametrize("own", [f"Bearer {CDN}", f"bearer {APP}"])
@pytest.mark.parametrize("host", ["v3.fal.media", "fal.run"])
def test_a_token_that_telecine_gave_is_handed_on(world, host, own):
    world.ask(host, "/files/upload", authorization=own)
    assert world.headers["authorization"] == own


def test_an_upload_url_needs_no_key(world):
    world.ask("v3b.fal.media", f"/files/{'0' * 32}/a.mp4?upload=s3cret", method="PUT")
    assert "authorization" not in world.headers
    assert world.telecine[0]["query_string"] == b"upload=s3cret"


def test_a_key_sent_with_an_upload_is_replaced_too(world):
    world.ask("v3.fal.media", f"/files/{'0' * 32}/a.mp4", method="PUT", authorization=CANARY)
    assert world.headers["authorization"] == f"Key {KEY}"


def test_a_temporary_token_in_the_query_is_handed_on(world):
    world.ask("fal.run", f"/a/b/stream?fal_jwt_token={APP}")
    assert "authorization" not in world.headers


@pytest.mark.parametrize("text", [FOREIGN, "x", "", "a.b.c", "%ff.%ff.%ff"])
def test_another_ones_token_in_the_query_is_not_enough(world, text):
    world.ask("fal.run", f"/a/b/stream?fal_jwt_token={text}")
    assert world.headers["authorization"] == f"Key {KEY}"


def test_a_page_in_a_browser_gets_no_key_for_nothing(world):
    world.ask("fal.run", origin="https://evil.example")
    assert "authorization" not in world.headers


def test_a_telecine_without_keys_is_sent_none(run):
    world = World(run, key=None)
    world.ask("fal.run", authorization=CANARY)
    assert "authorization" not in world.headers


def test_cookies_and_the_proxys_password_end_here(world):
    world.ask("fal.run", cookie="session=1", proxy_authorization="Basic eDp5", x_other="stays")
    assert {"cookie", "proxy-authorization"}.isdisjoint(world.headers)
    assert world.headers["x-other"] == "stays"


# ---------------------------------------------------------------- hosts


@pytest.mark.parametrize("host", ["queue.fal.run", "Queue.Fal.Run:443", "queue.fal.run."])
def test_telecine_is_told_whom_it_stands_for(world, host):
    world.ask(host, x_telecine_host="fal.run")
    assert world.headers["x-telecine-host"] == "queue.fal.run"
    assert world.headers["host"] == "localhost"


@pytest.mark.parametrize("host", ["wma.fal.run", "auth.fal.ai", "v9.fal.media", "example.org", ""])
def test_a_host_that_telecine_does_not_know_gets_nothing(world, host):
    status, body = world.ask(host, authorization=CANARY)
    assert status == 404
    assert b"nothing was sent" in body
    assert not world.telecine
    assert not world.outside


def test_a_websocket_is_refused(world):
    status, body = world.ask("fal.run", "/a/b/realtime", method="GET", upgrade="websocket")
    assert (status, world.telecine) == (404, [])
    assert json.loads(body)["detail"]


# ---------------------------------------------------------------- files of the real service


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path", ["/files/monkey/a.png", "/files/b/0a8b1c/x.mp4?sig=1", "/files/b/" + "0" * 31 + "/x"]
)
def test_a_real_file_is_fetched_without_saying_who_asks(world, method, path):
    status, body = world.ask(
        "v3b.fal.media",
        path,
        method=method,
        authorization=CANARY,
        cookie="a=b",
        x_fal_object_lifecycle="{}",
        range="bytes=0-9",
    )
    assert (status, body) == (200, b"outside")
    ((base, scope),) = world.outside
    assert base == "https://v3b.fal.media"
    assert scope["headers"] == [(b"range", b"bytes=0-9")]
    assert not world.telecine


@pytest.mark.parametrize("path", [f"/files/{'a1' * 16}/x.mp4", f"/files/b/{'a1' * 16}/x.mp4"])
def test_a_file_of_ours_is_not_asked_for_elsewhere(world, path):
    assert world.ask("v3.fal.media", path, method="GET") == (200, b"telecine")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_nothing_is_written_to_the_real_service(world, method):
    assert world.ask("v3.fal.media", "/files/monkey/a.png", method=method)[1] == b"telecine"


def test_with_only_fal_real_files_stay_where_they_are(run):
    world = World(run, is_only_fal=True)
    assert world.ask("v3.fal.media", "/files/monkey/a.png", method="GET")[0] == 403


# ---------------------------------------------------------------- what comes unencrypted


def test_the_full_url_counts_not_the_host_header(world):
    world.ask("example.org", by_proxy="http://fal.run/openrouter/router/video")
    assert world.headers["x-telecine-host"] == "fal.run"


def test_other_hosts_get_what_the_program_sent(world):
    world.ask("ignored", by_proxy="http://example.org:8080/x", authorization="Bearer theirs")
    ((base, scope),) = world.outside
    assert base == "http://example.org:8080"
    assert (b"authorization", b"Bearer theirs") in scope["headers"]


def test_https_asked_of_the_proxy_in_the_open_goes_out_as_https(world):
    world.ask("x", by_proxy="https://example.org/x")
    assert world.outside[0][0] == "https://example.org"


def test_with_only_fal_other_hosts_are_refused(run):
    world = World(run, is_only_fal=True)
    status, body = world.ask("example.org", by_proxy="http://example.org/x")
    assert status == 403
    assert b"example.org is not one of fal's hosts" in body


# ---------------------------------------------------------------- what is shown


def test_a_call_is_shown_without_its_secrets(world):
    path = f"/files/{'0' * 32}/a.mp4/multipart/s3cret/3?upload=s3cret"
    world.ask("v3.fal.media", path, method="PUT", authorization=f"Bearer {CDN}")
    (call,) = world.calls
    assert call.target == f"v3.fal.media/files/{'0' * 32}/a.mp4/multipart/.../3"
    assert (call.method, call.outcome) == ("PUT", "200")
    assert "s3cret" not in repr(call)
