"""From names to videos: real sockets, real spool; a pool that says what it is told, and the real one."""

import asyncio
import base64
import contextlib
import hashlib
from collections import Counter
from ipaddress import ip_network
from types import SimpleNamespace

import av
import pytest
from aiohttp import web

from telecine.errors import InputError, LimitReached, NotFound, UnsupportedMedia
from telecine.media.pool import Pool, Probe
from telecine.media.sources import Sources
from telecine.media.spool import Spool
from telecine.models import Attachment, Caller, Capabilities, Log, MediaName, Request, Video
from telecine.net import Client

CLIP = b"a video of some kind " * 100
ANY = Capabilities(delivery=("file",))
GOT = web.AppKey("got", Counter)
SLOW = web.AppKey("slow", asyncio.Event)
MP4 = "data:video/mp4;base64,"


class FakePool:
    """Knows containers by the first word of the file; counts how often it looked."""

    def __init__(self):
        self.looked = Counter()

    async def probe(self, path):
        data = path.read_bytes()
        self.looked[hashlib.sha256(data).hexdigest()] += 1
        if data.startswith(b"<html"):
            raise UnsupportedMedia("The file is an HTML page, not a video")
        if data.startswith(b"crash"):
            raise RuntimeError("a bug of ours")
        return Probe(
            container="avi" if data.startswith(b"RIFF") else "mp4",
            mime="video/mp4",
            seconds=11.0,
            width=1280,
            height=720,
            fps=25.0,
            rotation=0,
            video_codec="h264",
            audio_codec="aac",
            warnings=("the end is missing",) if data.startswith(b"cut") else (),
        )


class FakeStorage:
    def __init__(self, folder, objects):
        self.folder = folder
        self.objects = objects
        self.held = Counter()

    @contextlib.asynccontextmanager
    async def local(self, key):
        if key not in self.objects:
            raise NotFound(f"no object {key}")
        path = self.folder / "object"
        path.write_bytes(self.objects[key])
        self.held[key] += 1
        try:
            yield path
        finally:
            self.held[key] -= 1


async def serve(request):
    match request.path.split("/")[1:]:
        case ["missing"]:
            raise web.HTTPNotFound
        case ["slow", _]:
            request.app[SLOW].set()
            await asyncio.sleep(20)
            raise web.HTTPGone
        case ["html"]:
            return web.Response(body=b"<html>no</html>", content_type="video/mp4")
        case ["avi"]:
            return web.Response(body=b"RIFF and so on", content_type="video/mp4")
        case ["crash"]:
            return web.Response(body=b"crash")
        case ["cut"]:
            return web.Response(body=b"cut " + CLIP)
        case ["big", size]:
            return web.Response(body=b"x" * int(size))
        case ["other", *_]:
            request.app[GOT][request.path] += 1
            return web.Response(body=CLIP + request.path.encode())
        case _:
            request.app[GOT][request.path] += 1
            return web.Response(body=CLIP, content_type="text/html")


@contextlib.asynccontextmanager
async def a_world(folder, *, pool=None, objects=None, own=None, quota=1 << 30, **limits):
    """Sources with all around them; 127.0.0.1 is the Internet, 127.0.0.2 is not."""
    app = web.Application()
    app[GOT], app[SLOW] = Counter(), asyncio.Event()
    app.router.add_get("/{path:.*}", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]

    async def resolve(_host, _port):
        return ["127.0.0.1"]

    async def own_file(url, _request):
        return (own or {}).get(url)

    pool = pool or FakePool()
    storage = FakeStorage(folder, objects or {})
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        client = await stack.enter_async_context(
            Client(
                allow=[ip_network("127.0.0.1/32")],
                proxy=None,
                connect_seconds=5,
                user_agent="test",
                resolve=resolve,
            )
        )
        spool = await stack.enter_async_context(
            Spool(folder / "spool", max_bytes_per_key=quota, max_file_bytes=1 << 30)
        )
        caps = {"max_bytes": 1_000_000, "max_seconds": 10, "max_redirects": 3} | limits
        sources = Sources(
            client=client, spool=spool, pool=pool, storage=storage, own_file=own_file, **caps
        )
        yield SimpleNamespace(
            sources=sources,
            spool=spool,
            pool=pool,
            storage=storage,
            url=f"http://video.test:{port}",
            got=app[GOT],
            slow=app[SLOW],
        )


def a_request(attachments=None):
    return Request(
        id="r",
        endpoint="openrouter/router/video",
        mode="run",
        caller=Caller("key"),
        document={},
        attachments=attachments or {},
    )


def names_of(*texts):
    return [MediaName(text, ("body", "video_urls", n), index=n) for n, text in enumerate(texts)]


async def fetch(world, *texts, attachments=None, capabilities=ANY):
    """Videos and log messages; proves that nothing temporary is left."""
    try:
        async with world.sources.hold(a_request(attachments)) as held:
            items = [item async for item in held.fetch(names_of(*texts), capabilities)]
            videos = [item for item in items if isinstance(item, Video)]
            for video in videos:
                assert len(video.path.read_bytes()) == video.bytes
    finally:
        assert world.spool.used("key") == 0
        assert not list(world.spool._own.iterdir())
        assert not +world.storage.held
    return videos, [item.message for item in items if isinstance(item, Log)]


async def problems(world, *texts, **more):
    with pytest.raises(InputError) as caught:
        await fetch(world, *texts, **more)
    return caught.value.problems


# ---------------------------------------------------------------- the four kinds of names


def test_a_url_becomes_a_video_with_log_lines(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            url = f"{world.url}/v.mp4?token=secret"
            (video,), logs = await fetch(world, url)
            assert video.found == "url"
            assert video.origin == f"{world.url}/v.mp4"
            assert video.sha256 == hashlib.sha256(CLIP).hexdigest()
            assert (video.container, video.seconds, video.index) == ("mp4", 11.0, 0)
            assert video.loc == ("body", "video_urls", 0)
            assert logs == [
                "downloading video 1/1 from video.test",
                "video 1/1: mp4 11.0 s 1280x720 h264+aac, 2.1 kB from video.test",
            ]

    run(story())


def test_a_small_data_uri_becomes_a_video(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            (video,), logs = await fetch(world, MP4 + base64.b64encode(CLIP).decode())
            assert (video.found, video.origin) == ("data", "data URI (video/mp4)")
            assert video.sha256 == hashlib.sha256(CLIP).hexdigest()
            assert logs[-1].endswith("from a data URI")

    run(story())


def test_an_upload_is_read_from_storage_and_hashed(run, tmp_path):
    async def story():
        url = "https://video.test/files/abc/holiday.mp4"
        own = {url: ("objects/1", "holiday\n.mp4")}
        async with a_world(tmp_path, objects={"objects/1": CLIP}, own=own) as world:
            (video,), logs = await fetch(world, url)
            assert (video.found, video.origin) == ("upload", "holiday?.mp4")
            assert video.sha256 == hashlib.sha256(CLIP).hexdigest()
            assert not world.got
            assert len(logs) == 1

    run(story())


def test_attachments_are_used_where_they_are(run, tmp_path):
    async def story():
        live = tmp_path / "live"
        live.write_bytes(CLIP)
        facts = {"content_type": "video/mp4", "bytes": len(CLIP), "sha256": "aa"}
        attachments = {
            "attachment:1": Attachment(path=live, **facts),
            "attachment:2": Attachment(object="objects/2", **{**facts, "sha256": "bb"}),
            "attachment:3": Attachment(path=live, found="path", origin="clip.mp4", **facts),
        }
        async with a_world(tmp_path, objects={"objects/2": CLIP}) as world:
            videos, _ = await fetch(world, *attachments, attachments=attachments)
            assert [video.found for video in videos] == ["data", "data", "path"]
            assert [video.sha256 for video in videos] == ["aa", "bb", "aa"]
            assert videos[2].origin == "clip.mp4"
        assert live.exists()

    run(story())


def test_a_placeholder_of_another_request_means_nothing(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            (problem,) = await problems(world, "attachment:00112233445566778899aabbccddeeff")
            assert problem.type == "file_download_error"

    run(story())


def test_a_prompt_without_videos_fetches_none(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            assert await fetch(world) == ([], [])

    run(story())


# ---------------------------------------------------------------- several at once


def test_videos_come_in_the_order_of_their_names(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            urls = [f"{world.url}/other/{n}" for n in range(9)]
            videos, _ = await fetch(world, *urls)
            assert [video.origin for video in videos] == urls
            assert [video.index for video in videos] == list(range(9))

    run(story())


def test_the_same_name_twice_is_fetched_once_and_stays_two_videos(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            url = f"{world.url}/v.mp4"
            first, second = (await fetch(world, url, url))[0]
            assert world.got == {"/v.mp4": 1}
            assert world.pool.looked.total() == 1
            assert (first.index, second.index) == (0, 1)
            assert first.path == second.path

    run(story())


def test_the_same_bytes_under_two_names_are_looked_at_once(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            videos, _ = await fetch(world, f"{world.url}/a.mp4", f"{world.url}/b.mp4")
            assert len(videos) == 2
            assert world.pool.looked.total() == 1

    run(story())


def test_when_one_fails_the_others_are_given_up(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            (problem,) = await problems(world, f"{world.url}/slow/1", f"{world.url}/missing")
            assert problem.loc == ("body", "video_urls", 1)
            assert "404" in problem.msg

    run(story())


def test_names_that_are_wrong_on_their_face_are_all_said_and_nothing_is_fetched(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            found = await problems(
                world, "", f"{world.url}/v.mp4", "file:///etc/passwd", "ftp://x/y"
            )
            assert [problem.loc[-1] for problem in found] == [0, 2, 3]
            assert not world.got

    run(story())


def test_a_failing_name_given_twice_is_said_at_both_places(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            found = await problems(world, *[f"{world.url}/missing"] * 2)
            assert [problem.loc[-1] for problem in found] == [0, 1]

    run(story())


def test_leaving_early_ends_downloads_and_leaves_nothing(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            async with world.sources.hold(a_request()) as held:
                names = names_of(f"{world.url}/slow/1", f"{world.url}/v.mp4")
                async for _ in held.fetch(names, ANY):
                    await world.slow.wait()
                    break
            assert world.spool.used("key") == 0
            assert not held._tasks

    run(story())


def test_cancellation_ends_downloads_and_leaves_nothing(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            task = asyncio.create_task(fetch(world, f"{world.url}/slow/1"))
            await world.slow.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert world.spool.used("key") == 0

    run(story())


# ---------------------------------------------------------------- what cannot be used


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("file:///etc/passwd", "not read from here"),
        ("FILE:///etc/passwd", "not read from here"),
        ("/etc/passwd", "not read from here"),
        ("./clip.mp4", "not read from here"),
        ("~/clip.mp4", "not read from here"),
        ("\\\\server\\share\\clip.mp4", "not read from here"),
        ("C:\\clip.mp4", "not read from here"),
        ("clip.mp4", "begin with https://"),
        ("example.org/clip.mp4", "begin with https://"),
        ("//example.org/clip.mp4", "not read from here"),
        ("ftp://example.org/clip.mp4", "ftp: URLs are not fetched"),
        ("s3://bucket/clip.mp4", "s3: URLs are not fetched"),
        ("blob:https://example.org/1", "blob: URLs are not fetched"),
        ("javascript:alert(1)", "not fetched"),
        ("data:video/mp4;base64", "no comma"),
        ("data:video/mp4;base64,****", "not base64"),
        ("http://127.0.0.2/v.mp4", "not a public address"),
        ("http://[::1]/v.mp4", "not a public address"),
        ("http://0x7f.1/v.mp4", "usual form"),
        ("http://user:secret@video.test/", "user name or password"),
        ("http://", "names no host"),
        ("https://" + "a" * 70_000, "longer than"),
        ("http://\ud800/", "cannot be parsed"),
    ],
    ids=range(25),
)
def test_a_name_that_cannot_be_used_is_said_at_its_place(run, tmp_path, text, says):
    async def story():
        async with a_world(tmp_path) as world:
            (problem,) = await problems(world, text)
            assert problem.type == "file_download_error"
            assert problem.loc == ("body", "video_urls", 0)
            assert says in problem.msg
            assert "secret" not in f"{problem.msg} {problem.input}"
            assert len(problem.input) <= 200
            problem.input.encode()

    run(story())


def test_a_data_uri_that_could_not_be_decoded_is_said_at_its_place(run, tmp_path):
    async def story():
        bad = Attachment(content_type="video/mp4", problem="The data URI is not base64")
        async with a_world(tmp_path) as world:
            (problem,) = await problems(world, "attachment:1", attachments={"attachment:1": bad})
            assert problem.msg == "The data URI is not base64"
            assert problem.type == "file_download_error"

    run(story())


def test_an_upload_that_is_gone_is_said(run, tmp_path):
    async def story():
        url = "https://video.test/files/abc/holiday.mp4"
        async with a_world(tmp_path, own={url: ("gone", "holiday.mp4")}) as world:
            (problem,) = await problems(world, url)
            assert "no longer kept" in problem.msg

    run(story())


@pytest.mark.parametrize("path", ["/html", "/avi"])
def test_content_decides_whatever_the_server_calls_it(run, tmp_path, path):
    async def story():
        async with a_world(tmp_path) as world:
            (problem,) = await problems(world, world.url + path)
            assert problem.type == "unsupported_video_format"
            assert problem.loc == ("body", "video_urls", 0)

    run(story())


def test_warnings_of_the_probe_are_logged_and_kept(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            (video,), logs = await fetch(world, f"{world.url}/cut")
            assert video.warnings == ("the end is missing",)
            assert logs[-1] == "video 1/1: the end is missing"

    run(story())


def test_a_download_over_the_cap_is_too_large(run, tmp_path):
    async def story():
        async with a_world(tmp_path, max_bytes=1000) as world:
            (problem,) = await problems(world, f"{world.url}/big/5000")
            assert problem.type == "file_too_large"
            assert problem.ctx == {"max_size": 1000}
            assert "TELECINE_MEDIA_MAX_BYTES" in problem.msg

    run(story())


def test_a_video_larger_than_the_model_takes_is_fetched_to_be_made_smaller(run, tmp_path):
    async def story():
        takes = Capabilities(delivery=("file",), max_bytes=900)
        async with a_world(tmp_path) as world:
            (video,), _ = await fetch(world, f"{world.url}/big/5000", capabilities=takes)
            assert video.bytes == 5000

    run(story())


def test_an_upload_over_the_cap_is_too_large(run, tmp_path):
    async def story():
        url = "https://video.test/files/abc/holiday.mp4"
        world = a_world(tmp_path, objects={"1": CLIP}, own={url: ("1", "h")}, max_bytes=100)
        async with world as world:
            (problem,) = await problems(world, url)
            assert problem.type == "file_too_large"

    run(story())


def test_over_the_spools_quota_the_caller_is_told_to_wait(run, tmp_path):
    async def story():
        async with a_world(tmp_path, quota=3000) as world:
            with pytest.raises(LimitReached):
                await fetch(world, f"{world.url}/other/1", f"{world.url}/other/2")

    run(story())


def test_a_bug_is_not_taken_for_a_bad_video(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            with pytest.raises(RuntimeError):
                await fetch(world, f"{world.url}/crash")

    run(story())


# ---------------------------------------------------------------- with the real pool


def write_clip(path, container, codec):
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(10):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([n * 20]) * plane.buffer_size)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


@pytest.mark.parametrize(
    ("container", "codec", "told"),
    [
        ("mp4", "mpeg4", "mp4"),
        ("mov", "mpeg4", "mov"),
        ("webm", "libvpx", "webm"),
        ("mpeg", "mpeg1video", "mpeg"),
        ("matroska", "mpeg4", None),
        ("avi", "mpeg4", None),
    ],
)
def test_containers_are_told_by_content(run, tmp_path, container, codec, told):
    clip = tmp_path / "clip.bin"
    write_clip(clip, container, codec)
    uri = MP4 + base64.b64encode(clip.read_bytes()).decode()

    async def story():
        async with Pool(size=1, memory_bytes=1 << 30, cpu_seconds=20) as pool:
            async with a_world(tmp_path, pool=pool) as world:
                if told:
                    (video,), _ = await fetch(world, uri)
                    assert (video.container, video.width, video.height) == (told, 64, 48)
                else:
                    (problem,) = await problems(world, uri)
                    assert problem.type == "unsupported_video_format"
                    assert problem.ctx == {"supported_formats": ["mp4", "mpeg", "mov", "webm"]}

    run(story())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"<!doctype html><html><body>404</body></html>", "HTML"),
        (b"just some words\n" * 10, "text"),
        (b"\xff\xd8\xff\xe0" + bytes(500), "JPEG"),
        (b"#EXTM3U\nhttp://127.0.0.2/inner.ts\n", "playlist"),
        (bytes(range(256)) * 10, "not a video"),
    ],
    ids=["empty", "html", "text", "jpeg", "playlist", "noise"],
)
def test_what_is_no_video_is_said_as_what_it_is(run, tmp_path, data, says):
    async def story():
        async with Pool(size=1, memory_bytes=1 << 30, cpu_seconds=20) as pool:
            async with a_world(tmp_path, pool=pool) as world:
                (problem,) = await problems(world, MP4 + base64.b64encode(data).decode())
                assert problem.type == "unsupported_video_format"
                assert says in problem.msg
                assert problem.ctx["supported_formats"] == ["mp4", "mpeg", "mov", "webm"]

    run(story())
