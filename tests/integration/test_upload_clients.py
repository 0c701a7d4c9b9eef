"""fal's Python client uploads to a server on loopback, its addresses moved here and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import threading
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import fal_client
import fal_client.client
import httpx
import pytest
import uvicorn

from telecine.api.parts import Parts
from telecine.api.routes import application
from telecine.db.sqlite import SQLite
from telecine.files import Files
from telecine.jobs.bells import Bells
from telecine.jobs.deliveries import Deliveries
from telecine.jobs.signing import SigningKeys
from telecine.keys import Keys
from telecine.media.spool import Spool
from telecine.providers.registry import Registry
from telecine.storage.local import LocalStorage

KEY = "6f1c0000-0000-0000-0000-000000000000:0123456789abcdef0123456789abcdef"


async def _serve(folder, listener, ready, servers):
    def clock():
        return datetime.now(UTC).timestamp()

    async with (
        SQLite(folder / "db") as db,
        LocalStorage(folder / "objects") as storage,
        Spool(folder / "spool", max_bytes_per_key=2**28, max_file_bytes=2**27) as spool,
    ):
        keys = Keys(db=db, clock=clock, secret=bytes(32))
        await keys.ensure(KEY)
        parts = Parts(
            db=db,
            deliveries=Deliveries(db=db, bells=Bells(), clock=clock),
            signing_keys=SigningKeys(folder / "webhook-keys.json", clock=clock),
            storage=storage,
            files=Files(db=db, storage=storage, clock=clock),
            keys=keys,
            spool=spool,
            registry=Registry({}, {}),
            inference=None,
            queue=None,
            worker=None,
        )
        config = uvicorn.Config(application(parts), lifespan="off", log_level="warning")
        server = uvicorn.Server(config)
        servers.append((server, asyncio.get_running_loop()))
        ready.set()
        await server.serve(sockets=[listener])


@contextmanager
def serving(folder):
    listener = socket.create_server(("127.0.0.1", 0))
    ready, servers = threading.Event(), []
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(folder, listener, ready, servers)), daemon=True
    )
    thread.start()
    try:
        assert ready.wait(30)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ((server, loop),) = servers
        loop.call_soon_threadsafe(setattr, server, "should_exit", True)
        thread.join(30)
        listener.close()


@pytest.fixture
def origin(tmp_path, monkeypatch):
    with serving(tmp_path) as origin:
        client = fal_client.client
        monkeypatch.setattr(client, "REST_URL", f"{origin}/rest")
        monkeypatch.setattr(client, "CDN_URL", f"{origin}/cdn")
        yield origin


@pytest.fixture
def connect(origin, monkeypatch):  # noqa: ARG001 (the addresses must be moved first)
    """Makes clients; the published one leaves its connections to the garbage collector."""
    with ExitStack() as opened:
        get_cdn_client = fal_client.SyncClient._get_cdn_client
        monkeypatch.setattr(
            fal_client.SyncClient,
            "_get_cdn_client",
            lambda self: opened.enter_context(get_cdn_client(self)),
        )

        def connect(key):
            client = fal_client.SyncClient(key=key)
            opened.enter_context(client._client)
            return client

        yield connect


@pytest.fixture
def client(connect):
    return connect(KEY)


def digest(url):
    got = httpx.get(url)
    assert got.status_code == 200
    return hashlib.sha256(got.content).hexdigest(), got.headers["content-type"]


def expected(content, content_type="video/mp4"):
    return hashlib.sha256(content).hexdigest(), content_type


def test_bytes_come_back_as_they_were_sent(client):
    assert digest(client.upload(b"hello", "video/mp4", "a.mp4")) == expected(b"hello")


def test_the_older_storage_is_served_too(client):
    url = client.upload(b"hello", "video/mp4", "a.mp4", repository="fal")
    assert digest(url) == expected(b"hello")


def test_a_failing_cdn_falls_back_to_the_older_storage(client, origin, monkeypatch):
    monkeypatch.setattr(fal_client.client, "CDN_URL", f"{origin}/nothing-here")
    assert digest(client.upload(b"hello", "video/mp4", "a.mp4")) == expected(b"hello")


def test_a_large_file_goes_in_parallel_parts(client, tmp_path, monkeypatch):
    monkeypatch.setattr(fal_client.client, "MULTIPART_THRESHOLD", 1_000_000)
    monkeypatch.setattr(fal_client.client, "MULTIPART_CHUNK_SIZE", 100_000)
    content = os.urandom(2_345_678)
    path = tmp_path / "large.mp4"
    path.write_bytes(content)
    assert digest(client.upload_file(path)) == expected(content)
    assert digest(client.upload(content, "video/webm")) == expected(content, "video/webm")


def test_a_lifecycle_is_accepted(client):
    lifecycle = fal_client.client.StorageSettings(expires_in="1h")
    assert digest(client.upload(b"hello", "video/mp4", lifecycle=lifecycle)) == expected(b"hello")


def test_a_wrong_key_is_told_so(connect):
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        connect("wrong:key").upload(b"hello", "video/mp4")


def test_a_temporary_token_is_understood(client):
    assert client._get_realtime_token("openrouter/router/video").count(".") == 2
