"""telecine.connect; tests/acceptance/test_exec.py has the real client call a real server."""

import os
import subprocess
import sys
from types import ModuleType

import pytest

import telecine

NAMES = ["RUN_URL_FORMAT", "QUEUE_URL_FORMAT", "REST_URL", "CDN_URL", "REALTIME_URL_FORMAT"]


@pytest.fixture
def fal_client(monkeypatch):
    """A stand-in with the client's addresses and its two shared clients."""

    class Shared:
        def __init__(self):
            self._client = self._auth = self._token_manager = "made with the old key"
            self.default_timeout = 120

    package = ModuleType("fal_client")
    package.client = ModuleType("fal_client.client")
    package.__version__ = "9.9"
    for name in NAMES:
        setattr(package.client, name, "https://fal.run/")
    package.sync_client, package.async_client = Shared(), Shared()
    monkeypatch.setitem(sys.modules, "fal_client", package)
    monkeypatch.setitem(sys.modules, "fal_client.client", package.client)
    monkeypatch.setenv("FAL_KEY", "old")
    return package


@pytest.mark.parametrize("url", ["http://localhost:8484", "http://localhost:8484/"])
def test_every_address_of_the_client_is_moved(fal_client, url):
    telecine.connect(url)
    assert [getattr(fal_client.client, name) for name in NAMES] == [
        "http://localhost:8484/",
        "http://localhost:8484/queue/",
        "http://localhost:8484/rest",
        "http://localhost:8484/cdn",
        "ws://localhost:8484/",
    ]


def test_https_and_a_path_are_kept(fal_client):
    telecine.connect("https://example.org/telecine")
    assert fal_client.client.REST_URL == "https://example.org/telecine/rest"
    assert fal_client.client.REALTIME_URL_FORMAT == "wss://example.org/telecine/"


def test_a_client_that_was_used_before_forgets_its_key_and_its_addresses(fal_client):
    telecine.connect("http://localhost:8484")
    for shared in (fal_client.sync_client, fal_client.async_client):
        assert vars(shared) == {"default_timeout": 120}


@pytest.mark.usefixtures("fal_client")
def test_the_key_is_set_when_it_is_given_and_only_then():
    telecine.connect("http://localhost:8484")
    assert os.environ["FAL_KEY"] == "old"
    telecine.connect("http://localhost:8484", key="new")
    assert os.environ["FAL_KEY"] == "new"


def test_a_second_call_moves_it_again(fal_client):
    telecine.connect("http://localhost:1")
    telecine.connect("http://localhost:2")
    assert fal_client.client.REST_URL == "http://localhost:2/rest"


@pytest.mark.parametrize("url", ["localhost:8484", "", "ftp://localhost", "http://"])
@pytest.mark.usefixtures("fal_client")
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ValueError, match="url must be one such as"):
        telecine.connect(url)


def test_an_unknown_version_is_refused_with_another_way(fal_client):
    del fal_client.client.CDN_URL
    with pytest.raises(RuntimeError, match=r"fal-client 9\.9 has no CDN_URL.*telecine exec"):
        telecine.connect("http://localhost:8484")
    assert fal_client.client.REST_URL == "https://fal.run/"


def test_a_missing_client_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fal_client", None)
    with pytest.raises(ImportError, match="pip install fal-client"):
        telecine.connect("http://localhost:8484")


def test_importing_telecine_loads_nothing():
    program = (
        "import sys; before = set(sys.modules); import telecine; print(set(sys.modules) - before)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "{'telecine'}"
