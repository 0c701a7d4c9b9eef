"""Small files that ask for much. Each is stopped by a cap; the one request that sent it fails, with
a sentence, or is answered; everybody else goes on. `many` and `cuts` are small here; `long_form`
takes the sizes that an attacker would."""

import asyncio
import base64
import contextlib
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from tests.fakes import bombs
from tests.fakes.asgi import Browser

from telecine import app as whole
from telecine import settings
from telecine.errors import UnsupportedMedia
from telecine.media.pool import Pool
from telecine.models import Audio, Image, Video

DATA = Path(__file__).parents[1] / "data"
CLIP = DATA / "jfk_slides.mp4"
CUT = ("onscreen_instructions_silent.mp4", "no_duration_header.webm", "sonnet_mpeg1.mpeg")
EP = "/openrouter/router/video"
FEW = 3_000


def limited():
    return Pool(size=1, memory_bytes=2**28, cpu_seconds=2, stall_seconds=20)


def medium(kind, path):
    common = {"index": 0, "found": "path", "origin": path.name, "loc": ("body", "it"), "path": path}
    common |= {"bytes": 0, "sha256": "", "mime": ""}
    match kind:
        case "image":
            return Image(**common, format="png", width=1, height=1)
        case "sound":
            return Audio(**common, format="wav", seconds=None, codec="")
    return Video(**common, container="mp4", seconds=None)


async def used(decoders, kind, path):
    """All that a request may want of a file: how many bytes came of it."""
    match kind:
        case "image":
            await decoders.probe_image(path)
            return len((await decoders.picture(medium(kind, path), max_side=256)).rgb)
        case "sound":
            await decoders.probe_audio(path)
            size = 0
            async with contextlib.aclosing(decoders.audio(medium(kind, path))) as chunks:
                async for chunk in chunks:
                    size += len(chunk.pcm)
            return size
    await decoders.probe(path)
    size, how = 0, {"fps": 1, "max_side": 256}
    async with contextlib.aclosing(decoders.frames(medium(kind, path), **how)) as frames:
        async for frame in frames:
            size += len(frame.rgb)
    return size


async def outcome(decoders, kind, path):
    """What came of a file: its bytes, or the sentence why not."""
    try:
        return await used(decoders, kind, path)
    except UnsupportedMedia as error:
        return error.message


async def ends(folder, kind, files):
    """What became of each file; after each, a good one is read as ever."""
    path, told = folder / "bomb", {}
    async with limited() as decoders:
        for name, content in files.items():
            path.write_bytes(content)
            told[name] = await outcome(decoders, kind, path)
            assert (await decoders.probe(CLIP)).seconds == 11
    return told


def is_sentence(text):
    return isinstance(text, str) and len(text) > 20 and text.isprintable() and str(DATA) not in text


def made(kind, many, folder):
    match kind:
        case "image":
            return bombs.images(many)
        case "sound":
            return bombs.sounds(many)
    return bombs.videos(many, folder, CLIP.read_bytes())


def defused(run, folder, kind, many):
    files = made(kind, many, folder)
    told = run(ends(folder, kind, files))
    assert len(told) == len(files)
    for name, what in told.items():
        assert is_sentence(what) or 0 < what < 32_000 * 86_400, name
    return told


@pytest.mark.parametrize("kind", ["image", "sound", "video"])
def test_a_bomb_ends_with_a_sentence_and_the_next_file_is_read_as_ever(run, tmp_path, kind):
    told = defused(run, tmp_path, kind, FEW)
    assert sum(isinstance(what, str) for what in told.values()) >= 3


def test_what_is_too_large_in_memory_is_said_to_be(run, tmp_path):
    files = {"profile": bombs.png_profile_bomb(), "pixels": bombs.png(8_192, 8_192)}
    for said in run(ends(tmp_path, "image", files)).values():
        assert "256 MB of memory" in said


def cut(run, folder, cuts):
    """Each of some files, cut off at so many places."""
    path = folder / "cut"

    async def story():
        async with limited() as decoders:
            for name in CUT:
                content = (DATA / name).read_bytes()
                for number in range(cuts):
                    path.write_bytes(content[: len(content) * number // cuts])
                    told = await outcome(decoders, "video", path)
                    assert told or is_sentence(told), (name, number)
            assert (await decoders.probe(CLIP)).seconds == 11

    run(story())


def test_a_file_cut_off_anywhere_is_read_as_far_as_it_goes_or_refused(run, tmp_path, caplog):
    cut(run, tmp_path, 40)
    assert caplog.messages == []


# ---------------------------------------------------------------- a whole server


@contextlib.asynccontextmanager
async def server(folder):
    config = folder / "telecine.toml"
    config.write_text("[auth]\nrequired = false\n[providers.echo]\n")
    (folder / "data").mkdir()
    found = settings.load(config=config, flags={"data.dir": folder / "data"}, environ={})
    found = replace(
        found,
        net=replace(found.net, allow=(ip_network("127.0.0.1/32"),), fetch_seconds=0.5),
        media=replace(
            found.media,
            max_bytes=8_000_000,
            processes=1,
            process_memory_bytes=2**28,
            process_cpu_seconds=2,
        ),
    )
    async with whole.opened(found) as opened:
        yield Browser(opened.asgi, key=None)


def asked(content):
    uri = "data:video/mp4;base64," + base64.b64encode(content).decode()
    return {"prompt": "p", "model": "echo/echo", "video_urls": [uri]}


def test_only_the_request_with_the_bomb_fails(run, tmp_path):
    files = {
        name: content
        for name, content in bombs.videos(200, tmp_path, CLIP.read_bytes()).items()
        if len(content) < 3_000_000
    }

    async def story():
        async with server(tmp_path) as call:
            good = asked(CLIP.read_bytes())
            first = await call("POST", EP, good)
            assert first.status == 200
            calls = [call("POST", EP, asked(content)) for content in files.values()]
            beside = [call("POST", EP, good) for _ in range(5)]
            answers = await asyncio.gather(*calls, *beside)
            for name, answer in zip(files, answers[: len(files)], strict=True):
                assert answer.status in (200, 422), name
                if answer.status == 422:
                    assert [is_sentence(each["msg"]) for each in answer.json["detail"]] == [True]
            for answer in answers[len(files) :]:
                assert (answer.status, answer.json) == (200, first.json)
            assert (await call("GET", "/health")).status == 200

    run(story())


async def endless(writer):
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(bytes(65_536))
        await writer.drain()


async def drip(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b"\0")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silent(_writer):
    await asyncio.Event().wait()


@pytest.mark.parametrize("send", [endless, drip, silent])
def test_a_download_without_end_ends_and_fails_alone(run, tmp_path, send):
    async def met(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            await send(writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def story():
        listener = await asyncio.start_server(met, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/v.mp4"
        async with listener, server(tmp_path) as call:
            bad = asyncio.create_task(call("POST", EP, {**asked(b""), "video_urls": [url]}))
            good = await call("POST", EP, asked(CLIP.read_bytes()))
            assert good.status == 200
            answer = await bad
            assert answer.status == 422
            assert is_sentence(answer.json["detail"][0]["msg"])

    run(story())


# ---------------------------------------------------------------- the long form


def long_form(folder, run=asyncio.run):
    """The same with full-grown bombs: a million frames and ten billion samples, cuts everywhere."""
    for kind in ("image", "sound", "video"):
        defused(run, folder, kind, 100_000)
    cut(run, folder, 5_000)
