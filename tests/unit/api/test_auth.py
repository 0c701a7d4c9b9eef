import pytest
from tests.fakes.asgi import Browser

from telecine.api import auth
from telecine.api.auth import Guard, OwnMachineOnly
from telecine.errors import Forbidden
from telecine.models import Caller


class Ring:
    """Lets everybody in, and remembers what it was asked."""

    def __init__(self, apps=None):
        self.apps = apps
        self.asked = []

    async def check(self, authorization, *, query_token=None, app=None):
        self.asked.append((authorization, query_token, app))
        return Caller("k", apps=self.apps)


@pytest.fixture
def guarded(run):
    def guarded(path, ring):
        callers = []

        async def app(scope, _receive, _send):
            callers.append(auth.caller(scope))

        run(Browser(Guard(ring)(app))("GET", path))
        return callers[0]

    return guarded


@pytest.mark.parametrize(
    ("path", "app"),
    [
        ("/openrouter/router/video/stream", "openrouter/router"),
        ("/queue/openrouter/router/requests/1/status", "openrouter/router"),
        ("/telecine/v1/requests", None),
        ("/metrics", None),
    ],
)
def test_the_application_of_a_path_is_checked(guarded, path, app):
    ring = Ring()
    guarded(path, ring)
    assert ring.asked == [("Key id:secret", None, app)]


def test_a_token_may_come_in_the_query(guarded):
    ring = Ring()
    guarded("/a/b?x=1&fal_jwt_token=t.o.k", ring)
    assert ring.asked[0][1] == "t.o.k"


def test_a_temporary_token_is_for_its_applications_alone(guarded):
    assert guarded("/openrouter/router/video", Ring({"router"})).key_id == "k"
    with pytest.raises(Forbidden):
        guarded("/telecine/v1/requests", Ring({"router"}))


@pytest.fixture
def local(run):
    """Whether a server without keys lets a request through."""

    def local(**headers):
        passed = []

        async def app(_scope, _receive, _send):
            passed.append(True)

        try:
            run(Browser(OwnMachineOnly(app), key=None)("GET", "/", headers=headers))
        except Forbidden:
            return False
        return passed == [True]

    return local


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8484",
        "LOCALHOST:1",
        "127.0.0.1:8484",
        "127.1.2.3",
        "[::1]:8484",
        "queue.localhost:1",
    ],
)
def test_this_machine_may_call(local, host):
    assert local(host=host)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0:8484", "fal.run",
     "xlocalhost", "", "localhost@evil", "192.168.0.5:8484", "[::2]:1"],
)  # fmt: skip
def test_a_rebound_name_may_not(local, host):
    assert not local(host=host)


def test_its_own_pages_may_call(local):
    assert local(host="localhost:8484", origin="http://localhost:8484")


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3000", "https://evil.example", "null", "http://localhost:8484.evil"],
)
def test_other_pages_may_not(local, origin):
    assert not local(host="localhost:8484", origin=origin)


def test_a_request_that_a_browser_marks_as_foreign_may_not(local):
    assert not local(**{"sec-fetch-site": "cross-site"})
    assert local(**{"sec-fetch-site": "same-origin"})
