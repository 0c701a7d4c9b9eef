"""`telecine run --server` against a server on loopback that answers as fal's protocol says."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from telecine.cli.common import Failed
from telecine.cli.remote import Remote

ENDPOINT = "openrouter/router/video"
REQUEST = "/queue/openrouter/router/requests/r-1"


class FakeServer:
    """Remembers what came; `statuses` is what the status stream tells, None: it never ends."""

    def __init__(self, statuses=()):
        self.calls = []
        self.keys = set()
        self.uploaded = b""
        self.statuses = statuses
        self.watching = asyncio.Event()

    async def answer(self, request):
        self.calls.append((request.method, request.path))
        self.keys.add(request.headers.get("Authorization"))
        match request.method, request.path:
            case "POST", "/rest/storage/upload/initiate":
                base = f"http://{request.host}"
                return web.json_response(
                    {"upload_url": f"{base}/up?secret=1", "file_url": f"{base}/files/f/clip.mp4"}
                )
            case "PUT", "/up":
                assert "Authorization" not in request.headers
                self.uploaded = await request.read()
                return web.Response()
            case "POST", "/queue/openrouter/router/video":
                return web.json_response({"request_id": "r-1"})
            case "GET", path if path == f"{REQUEST}/status/stream":
                return await self.events(request, self.statuses)
            case "GET", path if path == REQUEST:
                return web.json_response({"output": "hello", "usage": {"cost": 0}})
            case "PUT", path if path == f"{REQUEST}/cancel":
                return web.json_response({"status": "CANCELLATION_REQUESTED"}, status=202)
            case "POST", "/openrouter/router/video/stream":
                return await self.events(request, self.statuses)
        return web.json_response({"detail": "invalid key credentials"}, status=401)

    async def events(self, request, events):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events or ():
            text = f": ping\n\nevent: event\r\ndata: {json.dumps(event)}\r\n\r\n"
            await response.write(text.encode())
        self.watching.set()
        if events is None:
            await asyncio.Event().wait()
        return response


@asynccontextmanager
async def opened(fake):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    async with TestServer(app) as server:
        async with Remote(str(server.make_url("/")), key="id:secret") as remote:
            yield remote


def test_a_file_is_uploaded_and_the_key_goes_to_our_own_addresses_alone(run, tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x" * 300_000)

    async def work():
        fake = FakeServer()
        async with opened(fake) as remote:
            url = await remote.upload(clip, "video/mp4")
        return fake, url

    fake, url = run(work())
    assert url.endswith("/files/f/clip.mp4")
    assert fake.uploaded == clip.read_bytes()
    assert fake.keys == {"Key id:secret", None}


def test_the_queue_is_followed_with_its_log_to_the_result(run):
    statuses = [
        {"status": "IN_QUEUE", "queue_position": 2},
        {"status": "IN_PROGRESS", "logs": [{"message": "one"}, {"message": "two"}]},
        {"status": "COMPLETED", "logs": []},
    ]
    said = []

    async def work():
        async with opened(FakeServer(statuses)) as remote:
            return await remote.subscribe(ENDPOINT, {}, on_log=said.append)

    assert run(work())["output"] == "hello"
    assert said == ["waiting; 2 before this one", "one", "two"]


def test_an_interrupted_wait_cancels_the_request(run):
    async def work():
        fake = FakeServer(None)
        async with opened(fake) as remote:
            task = asyncio.create_task(remote.subscribe(ENDPOINT, {}, on_log=print))
            await fake.watching.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return fake

    assert ("PUT", f"{REQUEST}/cancel") in run(work()).calls


def test_a_stream_gives_all_the_text_so_far_and_ends_with_the_answer(run):
    events = [
        {"output": "a", "partial": True},
        {"output": "ab", "partial": False, "error": None, "usage": {"cost": 0}},
    ]
    seen = []

    async def work():
        async with opened(FakeServer(events)) as remote:
            return await remote.stream(ENDPOINT, {}, on_text=seen.append)

    assert run(work()) == {"output": "ab", "usage": {"cost": 0}}
    assert seen == ["a", "ab"]


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([{"output": "a", "partial": True}], "went away before the answer was complete"),
        ([{"output": "a", "partial": False, "error": "the model refused"}], "the model refused"),
        ([], "went away"),
    ],
)
def test_a_stream_that_ends_badly_is_a_failure(run, events, said):
    async def work():
        async with opened(FakeServer(events)) as remote:
            await remote.stream(ENDPOINT, {}, on_text=lambda _text: None)

    with pytest.raises(Failed, match=said):
        run(work())


def test_a_refused_key_is_told_with_what_to_set(run):
    async def work():
        async with opened(FakeServer()) as remote:
            await remote.stream("some/other", {}, on_text=print)

    with pytest.raises(Failed, match=r"invalid key credentials .* set TELECINE_KEY"):
        run(work())


def test_a_server_that_is_not_there_is_told_with_how_to_start_it(run):
    async def work():
        async with Remote("http://127.0.0.1:9", key=None) as remote:
            await remote.stream(ENDPOINT, {}, on_text=print)

    with pytest.raises(Failed, match=r"nothing answers at http://127\.0\.0\.1:9 .*telecine serve"):
        run(work())
