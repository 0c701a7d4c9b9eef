"""The decoder pool on real clips: what it says of them, and what it gives of them."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from tests.fakes import clips

from telecine.errors import UnsupportedMedia
from telecine.media.pool import Pool
from telecine.models import Video

DATA = Path(__file__).parents[1] / "data"
TRUTH = {file["file"]: file for file in json.loads((DATA / "media.json").read_text())["files"]}
READABLE = sorted(name for name, truth in TRUTH.items() if not truth["expect"].startswith("error"))
SEEN = [name for name in READABLE if TRUTH[name]["video"]]
CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".webm": "webm", ".mpeg": "mpeg"}


def pool(**changes):
    limits = {"size": 2, "memory_bytes": 2**30, "cpu_seconds": 120}
    return Pool(**{**limits, **changes})


def video(path):
    return Video(
        index=0,
        found="path",
        origin=path.name,
        loc=("body", "video_urls", 0),
        path=path,
        bytes=path.stat().st_size,
        sha256="",
        container="mp4",
        mime="video/mp4",
        seconds=None,
    )


async def probe(path):
    async with pool() as decoders:
        return await decoders.probe(path)


async def frames(path, *, fps=1.0, max_side=640):
    async with pool() as decoders:
        return [f async for f in decoders.frames(video(path), fps=fps, max_side=max_side)]


async def audio(path):
    async with pool() as decoders:
        return [chunk async for chunk in decoders.audio(video(path))]


def seconds_of(chunks):
    return sum(len(chunk.pcm) for chunk in chunks) / 32_000


@pytest.mark.parametrize("name", SEEN)
def test_a_probe_tells_what_is_true_of_the_clip(run, name):
    truth = TRUTH[name]
    seen = run(probe(DATA / name))
    streams = [(s["codec"], s["width"], s["height"], s["rotation"]) for s in truth["video"]]
    stored = (seen.width, seen.height) if seen.rotation % 180 == 0 else (seen.height, seen.width)
    assert seen.container == CONTAINERS[Path(name).suffix]
    assert (seen.video_codec, *stored, seen.rotation) in streams
    assert seen.fps in {s["fps"] for s in truth["video"]}
    assert seen.audio_codec == (truth["audio"][0]["codec"] if truth["audio"] else None)
    if truth["duration_s"] and "truncated" not in name:
        assert seen.seconds == pytest.approx(truth["duration_s"], abs=0.05)


@pytest.mark.parametrize("name", SEEN)
def test_frames_come_once_a_second_from_the_first_to_the_last(run, name):
    got = run(frames(DATA / name))
    assert [int(frame.seconds + 0.001) for frame in got] == list(range(len(got)))
    assert len(got) >= 4
    assert got[0].seconds < 0.05
    assert all(len(f.rgb) == 3 * f.width * f.height for f in got)
    assert all(max(f.width, f.height) <= 640 for f in got)


@pytest.mark.parametrize("name", [n for n in SEEN if "shots" in TRUTH[n]])
def test_cuts_are_found_where_they_are_and_nowhere_else(run, name):
    # The first change in nasa_webb is a dissolve of a second, which is no cut.
    cuts = [at for at in TRUTH[name]["shots"] if (name, at) != ("nasa_webb.mp4", 5.08)]
    found = [at for frame in run(frames(DATA / name)) for at in frame.cuts]
    assert found == [pytest.approx(at, abs=0.1) for at in cuts]


@pytest.mark.parametrize("name", SEEN)
def test_the_whole_sound_comes_in_chunks_of_a_second(run, name):
    truth = TRUTH[name]
    chunks = run(audio(DATA / name))
    if not truth["audio"]:
        assert chunks == []
        return
    assert all(len(chunk.pcm) <= 32_000 and len(chunk.pcm) % 2 == 0 for chunk in chunks)
    expected = {"truncated_tail_faststart.mp4": 5.5, "no_duration_header.webm": 4.9}
    assert seconds_of(chunks) == pytest.approx(expected.get(name) or truth["duration_s"], abs=0.15)


def test_a_video_shot_upright_is_given_upright(run):
    seen = run(probe(DATA / "portrait_rotation.mov"))
    [first, *_] = run(frames(DATA / "portrait_rotation.mov"))
    assert (seen.width, seen.height, first.width, first.height) == (360, 640, 360, 640)


def test_pictures_are_turned_the_right_way(run):
    """The slide says PORTRAIT at its top and is empty at its bottom; turned wrongly it is not."""
    [first, *_] = run(frames(DATA / "portrait_rotation.mov"))
    rgb = np.frombuffer(first.rgb, np.uint8).reshape(first.height, first.width, 3)
    inked = np.abs(rgb.astype(int) - rgb[0, 0]).max(axis=2) > 60
    rows = np.flatnonzero(inked.any(axis=1))
    assert rows[0] < first.height / 2


def test_a_header_without_a_duration_is_measured(run):
    assert run(probe(DATA / "no_duration_header.webm")).seconds == pytest.approx(4.94, abs=0.1)


def test_pictures_that_are_decoded_out_of_order_make_no_clip_longer(run, tmp_path):
    """A picture a second: what is shown earlier than the one before it lies seconds back."""
    path = tmp_path / "clip.mp4"
    pictures = ((1000 * n, clips.picture(64, 48, (n % 256,) * 3)) for n in range(120))
    clips.write(path, pictures, rate=1)
    seen = run(probe(path))
    assert (seen.seconds, seen.warnings) == (120.0, ())


def test_a_clip_cut_off_is_as_long_as_what_is_left_of_it(run):
    seen = run(probe(DATA / "truncated_tail_faststart.mp4"))
    assert seen.seconds == pytest.approx(5.5, abs=0.1)
    assert "the video ends at 5.56 s though its header says 11 s" in seen.warnings[0]


def test_several_streams_are_told_of(run):
    warnings = run(probe(DATA / "nasa_webb.mp4")).warnings
    assert any("2 video streams" in said for said in warnings)
    assert any("2 sound tracks" in said for said in warnings)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty.mp4", "empty (0 bytes)"),
        ("not_a_video.mp4", "plain text"),
        ("html_error_page.mp4", "HTML page"),
        ("audio_only_jfk.mp4", "no video stream, only sound (aac)"),
    ],
)
def test_what_is_no_video_is_refused_with_a_reason(run, name, words):
    with pytest.raises(UnsupportedMedia) as caught:
        run(probe(DATA / name))
    assert words in str(caught.value)
    assert caught.value.problems[0].ctx == {"supported_formats": ["mp4", "mpeg", "mov", "webm"]}


def test_a_file_cut_off_before_its_index_is_told_so(run, tmp_path):
    parts = dict(clips.boxes((DATA / "jfk_slides.mp4").read_bytes()))
    whole = b"".join(clips.box(kind, parts[kind]) for kind in (b"ftyp", b"mdat", b"moov"))
    path = tmp_path / "cut.mov"
    path.write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(UnsupportedMedia, match=r"index \(moov\) is missing"):
        run(probe(path))


def test_a_good_header_over_undecodable_pictures_is_refused(run, tmp_path):
    content = bytearray((DATA / "jfk_slides.mp4").read_bytes())
    start = content.index(b"mdat") + 4
    content[start:] = b"\xa5" * (len(content) - start)
    path = tmp_path / "noise.mp4"
    path.write_bytes(content)
    with pytest.raises(UnsupportedMedia, match=r"video \(h264\) cannot be decoded"):
        run(probe(path))


def test_a_cover_picture_is_no_video(run, tmp_path):
    path = tmp_path / "song.mp4"
    write_song(path)
    with pytest.raises(UnsupportedMedia, match="no video stream"):
        run(probe(path))


def write_song(path):
    import av

    with av.open(str(path), "w") as out, av.open(str(DATA / "audio_only_jfk.mp4")) as source:
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = out.add_stream_from_template(source.streams.audio[0])
        frame = clips.picture(64, 64, (200, 0, 0)).reformat(format="yuvj420p")
        out.mux([*cover.encode(frame), *cover.encode(None)])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                out.mux(packet)


@pytest.mark.parametrize(("suffix", "expected"), [("mkv", "matroska"), ("ts", "mpegts")])
def test_other_containers_have_their_short_names(run, tmp_path, suffix, expected):
    path = clips.write(
        tmp_path / f"clip.{suffix}",
        [(100 * i, clips.picture(64, 48, (20 * i, 0, 0))) for i in range(10)],
    )
    seen = run(probe(path))
    assert seen.container == expected
    assert seen.seconds == pytest.approx(1.0, abs=0.15)


def test_a_variable_frame_rate_is_sampled_by_time_and_not_by_count(run, tmp_path):
    times = [0, 40, 80, 3000, 3040, 9990, 10_050]
    path = clips.write(
        tmp_path / "slides.mkv",
        [(at, clips.picture(64, 48, (80, 80, 80))) for at in times],
        options={"bf": "0"},
    )
    got = [round(frame.seconds, 2) for frame in run(frames(path))]
    assert got == [0.0, 3.0, 9.99, 10.05]


def test_one_picture_that_stands_for_long_is_no_damage(run, tmp_path):
    path = clips.write(
        tmp_path / "still.mkv",
        [(at, clips.picture(64, 48, (80, 80, 80))) for at in (0, 20_000, 40_000, 40_040)],
        options={"bf": "0"},
    )
    assert run(probe(path)).warnings == ()


def test_sound_that_starts_late_says_when(run, tmp_path):
    path = tmp_path / "late.mkv"
    write_late_sound(path, late_seconds=2)
    chunks = run(audio(path))
    assert chunks[0].seconds == pytest.approx(2.0, abs=0.05)


def write_late_sound(path, *, late_seconds):
    import av

    with av.open(str(path), "w") as out, av.open(str(DATA / "jfk_slides.mp4")) as source:
        pictures, sounds = source.streams.video[0], source.streams.audio[0]
        made = {s.index: out.add_stream_from_template(s) for s in (pictures, sounds)}
        for packet in source.demux(pictures, sounds):
            if packet.dts is None:
                continue
            if packet.stream.index == sounds.index:
                shift = round(late_seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = made[packet.stream.index]
            out.mux(packet)


def test_a_cut_after_the_last_sample_is_not_lost(run, tmp_path):
    dark, light = clips.picture(64, 48, (10, 20, 60)), clips.picture(64, 48, (240, 200, 90))
    path = clips.write(
        tmp_path / "cut.mkv",
        [(i * 40, dark if i < 20 else light) for i in range(30)],
        options={"bf": "0"},
    )
    got = run(frames(path, fps=0.5))
    assert [frame.cuts for frame in got] == [(), (0.8,)]
    assert [round(frame.seconds, 2) for frame in got] == [0.0, 1.16]


def test_a_flash_is_no_cut(run, tmp_path):
    dark, light = clips.picture(64, 48, (10, 20, 60)), clips.picture(64, 48, (240, 200, 90))
    path = clips.write(
        tmp_path / "flash.mkv",
        [(i * 40, light if i in {20, 21} else dark) for i in range(50)],
        options={"bf": "0"},
    )
    assert [at for frame in run(frames(path)) for at in frame.cuts] == []


def test_two_jobs_on_one_file_give_the_same(run):
    async def twice():
        async with pool() as decoders:

            async def one():
                clip = video(DATA / "jfk_slides.mp4")
                return [f async for f in decoders.frames(clip, fps=2, max_side=320)]

            return await asyncio.gather(one(), one())

    first, second = run(twice())
    assert first == second
    assert len(first) == 22
