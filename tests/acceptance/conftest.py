"""The installed command in a subprocess, and fal's published clients in front of it."""

import fal_client
import httpx
import pytest
from tests.acceptance.support.clips import ClipServer
from tests.acceptance.support.fake import Fake
from tests.acceptance.support.loops import Background
from tests.acceptance.support.node import Script
from tests.acceptance.support.relay import Relay
from tests.acceptance.support.server import KEY, Server
from tests.fakes import upstream as fake_upstream

ENDPOINT = "openrouter/router/video"
_SERVERS = pytest.StashKey()
_LOG_LINES = 60


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "acceptance: runs the installed command, driven by the published clients"
    )
    config.stash[_SERVERS] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    here = __file__.removesuffix("conftest.py")
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker("acceptance")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        for server in item.config.stash[_SERVERS]:
            lines = server.log().splitlines()[-_LOG_LINES:]
            report.sections.append((f"log of {server.origin}", "\n".join(lines)))
    return report


# ---------------------------------------------------------------- servers


@pytest.fixture(scope="session")
def background():
    with Background() as background:
        yield background


@pytest.fixture(scope="session")
def upstream():
    with fake_upstream.serve() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def clips():
    """The URL of a folder with the clips of tests/data."""
    with ClipServer() as clips:
        yield clips.url


@pytest.fixture(scope="session")
def starting(tmp_path_factory, request):
    """Makes servers, started; at the end each must stop cleanly and have met no bug."""
    servers = request.config.stash[_SERVERS]

    def starting(config, *, arguments=(), env=None, port=0):
        server = Server(
            tmp_path_factory.mktemp("server"),
            config=f"[server]\nstop_seconds = 1\n[providers.echo]\n{config}",
            arguments=arguments,
            env=env,
            port=port,
        )
        servers.append(server)
        return server.start()

    yield starting
    for server in servers:
        if server.is_running:
            assert server.stop() == 0, server.log()
        assert "Traceback" not in server.log(), server.log()


@pytest.fixture(scope="session")
def serving(starting, upstream):
    """Makes servers in front of `upstream`."""

    def serving(*, config="", env=None, **how):
        openrouter = f'[providers.openrouter]\nbase_url = "{upstream.url}/openrouter"\n'
        keys = {"OPENROUTER_API_KEY": fake_upstream.KEY}
        return starting(openrouter + config, env={**keys, **(env or {})}, **how)

    return serving


@pytest.fixture(scope="session")
def server(serving):
    return serving()


@pytest.fixture(scope="session")
def narrow(serving):
    """A server that runs one queued request at a time."""
    return serving(arguments=["--jobs", "1"])


@pytest.fixture
def relaying(background):
    """Makes relays in front of an origin."""
    relays = []

    def relaying(origin):
        relays.append(Relay(background, origin).__enter__())
        return relays[-1]

    yield relaying
    for relay in relays:
        relay.__exit__()


@pytest.fixture
def wire(relaying, server):
    """A relay of this test's own in front of the server."""
    return relaying(server.origin)


# ---------------------------------------------------------------- every provider


@pytest.fixture(scope="session")
def fake(tmp_path_factory):
    """`telecine fake-upstream`, as users run it."""
    fake = Fake(tmp_path_factory.mktemp("fake"))
    yield fake
    assert fake.stop() == 0


@pytest.fixture(scope="session")
def in_front_of_all(starting, fake):
    """Makes servers in front of `fake`, with every provider that there is."""

    def in_front_of_all(more="", **how):
        return starting(fake.told["telecine_toml"] + more, env=fake.keys, **how)

    return in_front_of_all


# ---------------------------------------------------------------- clients


@pytest.fixture
def node(wire):
    """Runs a row of js/rows, by default against `wire`, and gives what it returned."""

    def node(row, *, seconds=60, **context):
        return begun(row, **context).result(seconds)

    def begun(row, **context):
        return Script(row, {"origin": wire.url, "key": KEY, **context})

    node.begun = begun
    return node


@pytest.fixture
def python(monkeypatch):
    """Makes fal's Python clients for an origin, their addresses moved there and nothing else."""
    opened = []

    def python(origin, key=KEY, kind=fal_client.SyncClient):
        module = fal_client.client
        monkeypatch.setattr(module, "RUN_URL_FORMAT", f"{origin}/")
        monkeypatch.setattr(module, "QUEUE_URL_FORMAT", f"{origin}/queue/")
        monkeypatch.setattr(module, "REST_URL", f"{origin}/rest")
        monkeypatch.setattr(module, "CDN_URL", f"{origin}/cdn")
        client = kind(key=key)
        opened.append(client)
        return client

    # The published client leaves these connections to the garbage collector.
    get_cdn_client, cdn_clients = fal_client.SyncClient._get_cdn_client, []

    def keep(client):
        cdn_clients.append(get_cdn_client(client))
        return cdn_clients[-1]

    monkeypatch.setattr(fal_client.SyncClient, "_get_cdn_client", keep)
    yield python
    for client in opened:
        if isinstance(client, fal_client.SyncClient):
            client._client.close()
    for client in cdn_clients:
        client.close()


@pytest.fixture
def fal(python, wire):
    return python(wire.url)


@pytest.fixture
def raw(server):
    """Plain HTTP to the server itself, with the key."""
    with calling(server.origin) as client:
        yield client


def calling(origin, key=KEY):
    headers = {"Authorization": f"Key {key}"} if key else {}
    return httpx.Client(base_url=origin, headers=headers, timeout=100, trust_env=False)


@pytest.fixture
def asked(clips):
    """An input: `asked("echo/echo")` has a prompt, a model and a reachable video."""

    def asked(model="echo/echo", prompt="What is said?", videos=("jfk_slides.mp4",), **more):
        urls = [f"{clips}/{name}" for name in videos]
        return {"prompt": prompt, "model": model, "video_urls": urls, **more}

    return asked
