"""Videos on YouTube by the real yt-dlp, whose extractor finds them on this machine instead."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from aiohttp import web

from telecine.errors import SourceUnavailable, TooLarge
from telecine.media.youtube import YouTube

CLIP = (Path(__file__).parents[1] / "data" / "jfk_slides.mp4").read_bytes()
LINK = "https://www.youtube.com/watch?v=dQw4w9WgXcQ"
EXTRACTOR = """\
from yt_dlp.extractor.youtube import YoutubeIE
from yt_dlp.utils import ExtractorError


class NearIE(YoutubeIE, plugin_name="near"):
    def _real_extract(self, url):
        if {refuses!r}:
            raise ExtractorError("Private video. Sign in", expected=True, video_id="dQw4w9WgXcQ")
        formats = [
            {{"url": "{at}/sound", "format_id": "1", "ext": "m4a", "vcodec": "none"}},
            {{"url": "{at}/clip", "format_id": "2", "ext": "mp4", "vcodec": "h264", "acodec": "aac"}},
        ]
        return {{"id": "dQw4w9WgXcQ", "title": "a clip", "formats": formats}}
"""


class Kept(bytearray):
    def write(self, chunk):
        self.extend(chunk)


async def serve(request):
    if request.path == "/clip":
        return web.Response(body=CLIP)
    raise web.HTTPNotFound


@contextlib.asynccontextmanager
async def youtube(folder, *, refuses=False, answer=serve):
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    package = folder / "near" / "yt_dlp_plugins" / "extractor"
    package.mkdir(parents=True)
    code = EXTRACTOR.format(at=f"http://127.0.0.1:{port}", refuses=refuses)
    (package / "near.py").write_text(code)
    try:
        yield YouTube(options=(f"--plugin-dirs={folder}",))
    finally:
        await runner.cleanup()


def fetched(run, folder, *, max_bytes=10**7, max_seconds=25, **how):
    async def story():
        async with youtube(folder, **how) as source:
            kept = Kept()
            await source.download(LINK, kept, max_bytes=max_bytes, max_seconds=max_seconds)
            return bytes(kept)

    return run(story())


def test_a_video_comes_as_one_file_with_pictures_and_sound(run, tmp_path):
    assert fetched(run, tmp_path) == CLIP


def test_a_video_over_the_cap_is_cut_off(run, tmp_path):
    with pytest.raises(TooLarge) as caught:
        fetched(run, tmp_path, max_bytes=1000)
    assert caught.value.problems[0].ctx == {"max_size": 1000}


def test_what_youtube_says_of_a_video_that_it_does_not_give_out_is_passed_on(run, tmp_path):
    with pytest.raises(SourceUnavailable, match=r"Private video\. Sign in"):
        fetched(run, tmp_path, refuses=True)


def test_a_download_that_takes_too_long_is_ended(run, tmp_path):
    async def hang(_request):
        await asyncio.sleep(20)

    with pytest.raises(SourceUnavailable, match="longer than 2 s"):
        fetched(run, tmp_path, max_seconds=2, answer=hang)


def test_nothing_of_this_processs_environment_reaches_it(monkeypatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", "secret")
    source = YouTube(proxy="http://me:secret@proxy.example:1")
    assert "secret" not in " ".join(source._command)
    assert "OPENROUTER_API_KEY" not in source._environment
    assert source._environment["https_proxy"] == "http://me:secret@proxy.example:1"


def test_it_is_told_to_fetch_no_part_of_itself_and_nothing_from_elsewhere():
    told = YouTube()._command
    assert {"--no-update", "--no-remote-components", "--use-extractors=youtube"} <= set(told)
    assert "--no-plugin-dirs" in told
