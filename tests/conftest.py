import asyncio
import contextlib
import os
import signal
import urllib.request

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

# However the tests were started (nohup, a shell's background), what they start takes signals: unlike
# one that is ignored, a handler is not handed on.
for _number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


# How long an example takes says more of what else the machine does than of the code.
hypothesis_settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("patient")


@pytest.fixture
def run():
    """Run one coroutine to its end, in a loop of its own, for 100 seconds at most: on a machine that
    has other work, too."""

    def run(work):
        async def limited():
            async with asyncio.timeout(100):
                return await work

        return asyncio.run(limited())

    return run


@pytest.fixture(scope="session")
def databases():
    """PostgreSQL databases on one server: TELECINE_TEST_POSTGRES_URL, or one of our own, which is
    thrown away with all of them."""
    from tests.fakes.postgres import VARIABLE, Databases, served

    with contextlib.ExitStack() as stack:
        theirs = os.environ.get(VARIABLE)
        made = Databases(theirs or stack.enter_context(served()).url)
        if theirs:
            stack.callback(made.drop)
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request):
    """What a test is run on, once on each: SQLite (None), or a database on PostgreSQL that holds
    nothing yet."""
    if request.param == "sqlite":
        yield None
        return
    with request.getfixturevalue("databases").clean() as url:
        yield url


@pytest.fixture(scope="session")
def s3():
    """A server that speaks S3, on loopback; gives its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3, monkeypatch):
    """The URL of an empty one; who may use it stands in the environment."""
    name = f"b{os.urandom(6).hex()}"
    for variable, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(variable, value)
    urllib.request.urlopen(urllib.request.Request(f"{s3}/{name}", method="PUT")).close()
    return f"s3://{name}/some/prefix"
