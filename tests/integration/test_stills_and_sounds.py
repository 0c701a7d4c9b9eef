"""Images and sound files in the decoder pool: told by content, looked at, decoded, converted."""

import asyncio
import hashlib
import struct
from contextlib import asynccontextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from tests.fakes import clips

from telecine.errors import InputError, UnsupportedMedia
from telecine.media.pool import Pool
from telecine.media.sources import Sources
from telecine.media.spool import Spool
from telecine.models import (
    AUDIO_FORMATS,
    IMAGE_FORMATS,
    Attachment,
    Audio,
    Caller,
    Capabilities,
    Image,
    Log,
    MediaName,
    Pdf,
    Request,
    Video,
)

DATA = Path(__file__).parents[1] / "data"
ANY = Capabilities(delivery=("file",), images=IMAGE_FORMATS, audio=AUDIO_FORMATS, pdfs=True)


def pool(**changes):
    limits = {"size": 2, "memory_bytes": 2**30, "cpu_seconds": 60}
    return Pool(**{**limits, **changes})


async def looked_at(path, **limits):
    """What both probes say of a file: what they found, or why not."""
    said = []
    async with pool(**limits) as decoders:
        for probe in (decoders.probe_image, decoders.probe_audio):
            try:
                said.append(await probe(path))
            except UnsupportedMedia as error:
                said.append((error.type, error.message, error.problems[0].ctx))
    return said


# ---------------------------------------------------------------- images


@pytest.mark.parametrize("kind", IMAGE_FORMATS)
def test_an_image_is_told_by_content_whatever_its_name(run, tmp_path, kind):
    image, (type_, message, ctx) = run(looked_at(clips.still(tmp_path / "x.mp3", kind)))
    assert (image.format, image.mime, image.width, image.height) == (kind, f"image/{kind}", 64, 48)
    assert type_ == "unsupported_audio_format"
    assert "image, not a sound file" in message
    assert ctx == {"supported_formats": list(AUDIO_FORMATS)}


def test_an_animated_gif_is_its_first_picture_and_an_animated_webp_is_refused(run, tmp_path):
    gif, _ = run(looked_at(clips.still(tmp_path / "a.gif", "gif", pictures=3)))
    assert gif.format == "gif"
    webp, _ = run(looked_at(clips.still(tmp_path / "a.webp", "webp", pictures=3)))
    assert webp[:2] == (
        "unsupported_image_format",
        "The webp image is animated, which is not taken: send one of its pictures",
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("html_error_page.mp4", "an HTML page, not an image"),
        ("jfk_slides.mp4", "no image of a kind that is taken"),
        ("empty.mp4", "empty (0 bytes)"),
        ("not_a_video.mp4", "not an image"),
    ],
)
def test_what_is_no_image_is_said_to_be_what_it_is(run, name, says):
    (type_, message, ctx), _ = run(looked_at(DATA / name))
    assert type_ == "unsupported_image_format"
    assert says in message
    assert ctx == {"supported_formats": list(IMAGE_FORMATS)}


@pytest.mark.parametrize("side", [9_000, 60_000, 2**31 - 1])
def test_an_image_that_claims_too_many_pixels_is_refused_undecoded(run, tmp_path, side):
    bomb = clips.png_claiming(tmp_path / "bomb", side, side)
    (_, message, _), _ = run(looked_at(bomb, memory_bytes=300 * 2**20, cpu_seconds=5))
    assert f"claims a picture of {side}x{side} pixels" in message


def test_the_claim_of_a_jpeg_is_found_behind_its_baggage(run, tmp_path):
    plain = clips.still(tmp_path / "a", "jpeg").read_bytes()
    baggage = b"\xff\xe1" + struct.pack(">H", 60_002) + bytes(60_000)
    at = plain.index(b"\xff\xc0") + 5
    huge = plain[:at] + struct.pack(">HH", 65_000, 65_000) + plain[at + 4 :]
    (tmp_path / "b").write_bytes(huge[:2] + baggage + huge[2:])
    (_, message, _), _ = run(looked_at(tmp_path / "b"))
    assert "claims a picture of 65000x65000 pixels" in message


@pytest.mark.parametrize("kind", IMAGE_FORMATS)
def test_a_broken_image_fails_alone_and_with_a_reason(run, tmp_path, kind):
    whole = clips.still(tmp_path / "a", kind, width=640, height=480).read_bytes()
    for count, rest in ((3, b""), (20, b""), (40, bytes(100)), (len(whole) // 2, b"\xff" * 50)):
        (tmp_path / "b").write_bytes(whole[:count] + rest)
        image, sound = run(looked_at(tmp_path / "b"))
        assert isinstance(image, tuple) or image.format == kind
        assert isinstance(sound, tuple)


def test_a_picture_is_decoded_scaled_and_in_its_colours(run, tmp_path):
    path = clips.still(tmp_path / "a", "png", width=400, height=200, colour=(200, 30, 60))

    async def decoded():
        async with pool() as decoders:
            image = Image(**about(path), mime="image/png", format="png", width=400, height=200)
            return await decoders.picture(image, max_side=100)

    frame = run(decoded())
    assert (frame.width, frame.height) == (100, 50)
    pixels = np.frombuffer(frame.rgb, np.uint8).reshape(50, 100, 3)
    assert np.abs(pixels.reshape(-1, 3).mean(axis=0) - (200, 30, 60)).max() < 3


# ---------------------------------------------------------------- sounds


@pytest.mark.parametrize("kind", AUDIO_FORMATS)
def test_a_sound_is_told_by_content_whatever_its_name(run, tmp_path, kind):
    image, sound = run(looked_at(clips.tone(tmp_path / "x.png", kind)))
    assert sound.format == kind
    assert sound.seconds == pytest.approx(2.0, abs=0.1)
    assert image[0] == "unsupported_image_format"


def test_a_video_is_no_sound_file_but_its_sound_alone_is(run):
    _, (type_, message, _) = run(looked_at(DATA / "jfk_slides.mp4"))
    assert type_ == "unsupported_audio_format"
    assert "is a video" in message
    _, sound = run(looked_at(DATA / "audio_only_jfk.mp4"))
    assert (sound.format, sound.codec, sound.seconds) == ("m4a", "aac", 11.0)


@pytest.mark.parametrize("kind", ["wav", "mp3", "flac", "opus", "m4a"])
def test_a_broken_sound_fails_alone_or_says_where_it_ends(run, tmp_path, kind):
    whole = clips.tone(tmp_path / "a", kind).read_bytes()
    for count in (3, 50, len(whole) // 2):
        (tmp_path / "b").write_bytes(whole[:count])
        _, sound = run(looked_at(tmp_path / "b"))
        assert isinstance(sound, tuple) or sound.seconds is None or sound.seconds <= 2.1


def test_random_bytes_are_neither(run, tmp_path):
    for seed in range(5):
        data = np.random.default_rng(seed).bytes(4000)
        (tmp_path / "a").write_bytes(data)
        image, sound = run(looked_at(tmp_path / "a"))
        assert (image[0], sound[0]) == ("unsupported_image_format", "unsupported_audio_format")


@pytest.mark.parametrize("kind", AUDIO_FORMATS)
def test_a_sound_is_decoded_to_its_samples(run, tmp_path, kind):
    path = clips.tone(tmp_path / "a", kind)

    async def decoded():
        async with pool() as decoders:
            sound = Audio(**about(path), mime="", format=kind, seconds=2.0, codec="")
            return b"".join([chunk.pcm async for chunk in decoders.audio(sound)])

    samples = np.frombuffer(run(decoded()), np.int16)
    assert len(samples) / 16_000 == pytest.approx(2.0, abs=0.15)
    spectrum = np.abs(np.fft.rfft(samples[4000:20_000]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=5)


# ---------------------------------------------------------------- as sources


def about(path):
    return {
        "index": 0,
        "found": "path",
        "origin": path.name,
        "loc": ("body", "x"),
        "path": path,
        "bytes": path.stat().st_size,
        "sha256": "",
    }


@asynccontextmanager
async def held(folder, files):
    """Everything that a request with these files as attachments may fetch."""
    attachments = {
        f"attachment:{name}": Attachment(
            content_type="application/octet-stream",
            path=path,
            bytes=path.stat().st_size,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for name, path in files.items()
    }
    request = Request(
        id="r", endpoint="e", mode="run", caller=Caller("k"), document={}, attachments=attachments
    )

    async def own(_url, _request):
        return None

    async with (
        Spool(folder / "spool", max_bytes_per_key=10**8, max_file_bytes=10**8) as spool,
        pool() as decoders,
    ):
        sources = Sources(
            client=None,
            spool=spool,
            pool=decoders,
            storage=None,
            own_file=own,
            max_bytes=10**8,
            max_seconds=10,
            max_redirects=3,
        )
        async with sources.hold(request) as found:
            yield found
        assert spool.used("k") == 0, "a temporary file is left"


async def fetched(folder, capabilities=ANY, **files):
    """Logs and media for files named KIND or KIND_SOMETHING; they are checked before they go."""
    logs, media = [], []
    kinds = {name: name.partition("_")[0] for name in files}
    names = [
        MediaName(f"attachment:{name}", ("body", "x", number), kinds[name], number)
        for number, name in enumerate(files)
    ]
    async with held(folder, files) as found:
        async for item in found.fetch(names, capabilities):
            if isinstance(item, Log):
                logs.append(item.message)
            else:
                wav = item.wav.read_bytes() if isinstance(item, Audio) and item.wav else None
                media.append((item, wav))
    return logs, media


def test_every_kind_comes_back_as_what_it_is(run, tmp_path):
    (tmp_path / "p").write_bytes(b"\n%PDF-1.7 ...")
    logs, media = run(
        fetched(
            tmp_path,
            image=clips.still(tmp_path / "i", "webp"),
            audio=clips.tone(tmp_path / "a", "mp3"),
            video=DATA / "jfk_slides.mp4",
            pdf=tmp_path / "p",
            image_2=clips.still(tmp_path / "j", "gif"),
        )
    )
    found = [item for item, _ in media]
    assert [type(item) for item in found] == [Image, Audio, Video, Pdf, Image]
    assert [item.index for item in found] == [0, 1, 2, 3, 4]
    assert found[1].sha256 == hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()
    assert {line.partition(":")[0] for line in logs} == {
        "image 1/2",
        "image 2/2",
        "audio 1/1",
        "video 1/1",
        "document 1/1",
    }


def test_a_sound_that_the_model_does_not_take_comes_as_wav_too(run, tmp_path):
    takes = Capabilities(delivery=(), audio=("wav", "mp3"))
    opus, mp3 = clips.tone(tmp_path / "o", "opus"), clips.tone(tmp_path / "m", "mp3")
    logs, media = run(fetched(tmp_path, takes, audio_1=opus, audio_2=mp3))
    (converted, wav), (plain, none) = media
    assert none is None
    assert plain.wav is None
    assert converted.format == "opus"
    assert converted.sha256 == hashlib.sha256(opus.read_bytes()).hexdigest()
    assert any("takes no opus; sent as wav" in line for line in logs)
    (tmp_path / "out.wav").write_bytes(wav)
    with av.open(str(tmp_path / "out.wav")) as container:
        stream = container.streams.audio[0]
        assert (stream.codec.name, stream.rate, stream.channels) == ("pcm_s16le", 16_000, 1)
        assert container.duration / 1e6 == pytest.approx(2.0, abs=0.1)
    assert struct.unpack("<I", wav[40:44])[0] == len(wav) - 44


def test_an_embedded_model_needs_no_wav(run, tmp_path):
    takes = Capabilities(delivery=("decoded",), audio=("wav",))
    _, [(sound, wav)] = run(fetched(tmp_path, takes, audio=clips.tone(tmp_path / "o", "opus")))
    assert (sound.wav, wav) == (None, None)


def test_each_wrong_file_is_told_at_its_own_place(run, tmp_path):
    wrong = {"image": DATA / "empty.mp4", "audio": DATA / "empty.mp4", "pdf": DATA / "empty.mp4"}

    async def told(name, path):
        with pytest.raises(InputError) as caught:
            await fetched(tmp_path, **{name: path})
        [problem] = caught.value.problems
        return problem.loc, problem.type

    async def all_told():
        return [await told(name, path) for name, path in wrong.items()]

    assert run(all_told()) == [
        (("body", "x", 0), "unsupported_image_format"),
        (("body", "x", 0), "unsupported_audio_format"),
        (("body", "x", 0), "unsupported_document_format"),
    ]


def test_one_file_may_be_asked_for_as_two_kinds(run, tmp_path):
    async def both():
        async with held(tmp_path, {"x": clips.still(tmp_path / "i", "png")}) as found:
            names = [
                MediaName("attachment:x", ("body", "a"), "image"),
                MediaName("attachment:x", ("body", "b"), "video"),
            ]
            with pytest.raises(InputError) as caught:
                async for _ in found.fetch(names, ANY):
                    pass
            return caught.value.problems

    [problem] = run(both())
    assert problem.loc == ("body", "b")


def test_giving_up_while_a_sound_is_converted_leaves_nothing(run, tmp_path):
    long = clips.tone(tmp_path / "long", "opus", seconds=120)

    async def leave():
        takes = Capabilities(delivery=(), audio=("wav",))
        async with held(tmp_path, {"audio": long}) as found:
            name = MediaName("attachment:audio", ("body", "x"), "audio")
            async for item in found.fetch([name], takes):
                if isinstance(item, Log) and "sent as wav" in item.message:
                    break
            await asyncio.sleep(0)

    run(leave())
