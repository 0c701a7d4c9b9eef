"""What a plan says, done to real clips in the real pool."""

import asyncio
import contextlib
import io
import os
import signal
from pathlib import Path

import av
import numpy as np
import pytest
from tests.fakes import clips

from telecine.errors import InputError, LimitReached, ProviderRejected, UnsupportedMedia
from telecine.media import plan
from telecine.media.plan import Transform
from telecine.media.pool import Pool
from telecine.media.prepare import Preparer
from telecine.media.sources import Sources
from telecine.media.spool import Spool
from telecine.models import (
    Caller,
    Capabilities,
    DecodedPart,
    FilePart,
    FramesPart,
    LinkPart,
    Log,
    MediaName,
    Request,
    Video,
    View,
    Words,
)

DATA = Path(__file__).parents[1] / "data"
SLIDES = DATA / "jfk_slides.mp4"
STILLS = {"delivery": ("frames",), "images": ("jpeg",)}


class World:
    """A pool, a spool and one request's media. `work`: how often the pool was put to work."""

    def __init__(self, held, pool, transcriber):
        self.held = held
        self.pool = pool
        self.preparer = Preparer(pool, transcriber)

    async def video(self, path, index=0):
        facts = await self.pool.probe(path)
        return Video(
            index=index,
            found="upload",
            origin=path.name,
            loc=("body", "video_urls", index),
            path=path,
            bytes=path.stat().st_size,
            sha256=path.name,
            container=facts.container,
            mime=facts.mime,
            seconds=facts.seconds,
            width=facts.width,
            height=facts.height,
            fps=facts.fps,
            rotation=facts.rotation,
            video_codec=facts.video_codec,
            audio_codec=facts.audio_codec,
        )

    async def parts(self, *videos, view=None, strict=False, **takes):
        takes = Capabilities(**({"delivery": ("file",)} | takes))
        names = [MediaName("https://a.example/v", v.loc, index=v.index) for v in videos]
        made = plan.make(
            names, videos, [], takes, view or View(), model="some/model", strict=strict
        )
        items = [i async for i in self.preparer.parts(made, names, videos, [], self.held)]
        parts = [item for item in items if not isinstance(item, Log)]
        return parts, [item for item in items if isinstance(item, Log)]

    async def only(self, path, **how):
        [part], _ = await self.parts(await self.video(path), **how)
        return part


@contextlib.asynccontextmanager
async def a_world(folder, *, transcriber=None, quota=1 << 30, **limits):
    pool = Pool(**{"size": 2, "memory_bytes": 2**30, "cpu_seconds": 120} | limits)
    spool = Spool(folder / "spool", max_bytes_per_key=quota, max_file_bytes=1 << 30)
    async with pool, spool:
        sources = Sources(
            client=None,
            spool=spool,
            pool=pool,
            storage=None,
            own_file=None,
            max_bytes=1 << 30,
            max_seconds=10,
            max_redirects=1,
        )
        request = Request(id="r", endpoint="e", mode="run", caller=Caller("key"), document={})
        async with sources.hold(request) as held:
            yield World(held, pool, transcriber)
        assert spool.used("key") == 0
        assert not list(spool._own.iterdir())


def prepared(run, folder, name, **how):
    """What is made of a clip, opened: facts, pictures with their times, seconds of sound and in
    all."""

    async def story():
        async with a_world(folder) as world:
            part = await world.only(DATA / name, **how)
            assert part.bytes == len(part.path.read_bytes())
            return part.prepared, opened(part.path.read_bytes())

    return run(story())


def opened(data):
    with av.open(io.BytesIO(data)) as file:
        frames = [
            (float(f.pts * f.time_base), f.to_ndarray(format="gray")) for f in file.decode(video=0)
        ]
    with av.open(io.BytesIO(data)) as file:
        has_sound = bool(file.streams.audio)
        samples = sum(f.samples / f.sample_rate for f in file.decode(audio=0)) if has_sound else 0
        return frames, samples, file.duration / 1e6


def of_source(path, *times):
    """What is on the screen of a clip at those times."""
    with av.open(str(path)) as file:
        stream = file.streams.best("video")
        frames = [(f.time, f.to_ndarray(format="gray")) for f in file.decode(stream)]
    return [[picture for at, picture in frames if at <= time + 0.001][-1] for time in times]


def ssim(a, b):
    """Structural similarity of two pictures: the mean over blocks of 8 x 8."""
    a, b = (_blocks(picture.astype(float)) for picture in (a, b))
    mean_a, mean_b = a.mean((1, 3)), b.mean((1, 3))
    var_a, var_b = a.var((1, 3)), b.var((1, 3))
    both = (a * b).mean((1, 3)) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return (top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


def _blocks(picture):
    height, width = (side - side % 8 for side in picture.shape)
    return picture[:height, :width].reshape(height // 8, 8, width // 8, 8)


# ---------------------------------------------------------------- files


def test_a_cut_begins_and_ends_where_it_was_asked_to(run, tmp_path):
    made, (frames, samples, _) = prepared(
        run, tmp_path, "jfk_slides.mp4", view=View(start=2.3, end=7.5)
    )
    assert made.start == 2.3
    assert made.seconds == pytest.approx(5.2, abs=0.001)
    assert (frames[0][0], frames[-1][0]) == (0.0, pytest.approx(5.2, abs=0.09))
    assert samples == pytest.approx(5.2, abs=0.1)
    sources = of_source(SLIDES, 2.3, 4.3, 6.3)
    shown = [next(p for at, p in reversed(frames) if at <= t + 0.001) for t in (0, 2.0, 4.0)]
    assert all(ssim(a, b) > 0.97 for a, b in zip(sources, shown, strict=True))


def test_a_file_at_a_rate_of_its_own_shows_what_the_clip_shows_at_those_times(run, tmp_path):
    made, (frames, _, _) = prepared(run, tmp_path, "nasa_webb.mp4", view=View(fps=0.5))
    assert made.fps == 0.5
    assert [at for at, _ in frames] == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    sources = of_source(DATA / "nasa_webb.mp4", *(at for at, _ in frames))
    assert all(ssim(a, b) > 0.93 for a, (_, b) in zip(sources, frames, strict=True))


def test_its_last_picture_lasts_to_the_end_and_no_longer(run, tmp_path):
    view = View(start=0, end=7, fps=0.2)
    made, (_, _, seconds) = prepared(run, tmp_path, "jfk_slides.mp4", view=view)
    assert made.seconds == 7.0
    assert seconds == pytest.approx(7.0, abs=0.1)


@pytest.mark.parametrize("most", [100_000, 60_000])
@pytest.mark.parametrize("name", ["jfk_slides.mp4", "nasa_webb.mp4", "no_duration_header.webm"])
def test_a_file_is_never_larger_than_it_may_be(run, tmp_path, name, most):
    made, (frames, _, _) = prepared(run, tmp_path, name, max_bytes=most)
    assert made.bytes <= most
    assert frames


def test_a_short_stretch_may_have_gigabytes(run, tmp_path):
    made, (frames, _, _) = prepared(
        run, tmp_path, "jfk_slides.mp4", max_bytes=2_000_000_000, view=View(start=2, end=3)
    )
    assert made.seconds == pytest.approx(1.0, abs=0.001)
    assert frames


def test_what_the_model_looks_at_survives_being_made_smaller(run, tmp_path):
    _, (frames, _, _) = prepared(run, tmp_path, "nasa_webb.mp4", max_bytes=250_000)
    sources = of_source(DATA / "nasa_webb.mp4", *range(12))
    shown = [next(p for at, p in reversed(frames) if at <= t + 0.001) for t in range(12)]
    assert all(ssim(a, b) > 0.9 for a, b in zip(sources, shown, strict=True))


def test_a_portrait_comes_out_upright(run, tmp_path):
    made, (frames, _, _) = prepared(
        run, tmp_path, "portrait_rotation.mov", containers=("mp4",), view=View(resolution="low")
    )
    assert (made.width, made.height) == (252, 448)
    rows = np.flatnonzero((abs(frames[0][1].astype(int) - frames[0][1][0, 0]) > 60).any(axis=1))
    assert rows[0] < 448 / 2


def test_a_container_is_changed_without_encoding_again_where_that_does(run, tmp_path):
    mkv = remuxed(tmp_path / "clip.mkv", SLIDES)

    async def story():
        async with a_world(tmp_path) as world:
            part = await world.only(mkv, containers=("mp4",))
            return part.prepared.bytes, part.path.read_bytes()

    size, data = run(story())
    assert size == pytest.approx(SLIDES.stat().st_size, rel=0.1)
    _, samples, _ = opened(data)
    assert samples == pytest.approx(11.0, abs=0.1)
    assert data.index(b"moov") < data.index(b"mdat")


def changing(path, *, later=0.0, container=None):
    """Ten pictures that get brighter, of which some are stored before those they are shown after;
    the first is shown `later` seconds."""
    pictures = [
        (round(1000 * later) + 100 * n, clips.picture(64, 48, (20 * n, 20 * n, 20 * n)))
        for n in range(10)
    ]
    return clips.write(path, pictures, container=container, options={"bf": "3", "b-adapt": "0"})


@pytest.mark.parametrize(("name", "later"), [("clip.mkv", 0.0), ("clip.mkv", 7.0), ("a.ts", 36e3)])
def test_no_picture_is_lost_or_moved_when_the_container_is_changed(run, tmp_path, name, later):
    """Matroska does not say when its first pictures are decoded; a broadcast begins hours after
    0."""
    source = changing(tmp_path / name, later=later)

    async def story():
        async with a_world(tmp_path) as world:
            part = await world.only(source, containers=("mp4",))
            return part.prepared, part.path.read_bytes()

    made, data = run(story())
    frames, _, seconds = opened(data)
    assert [at for at, _ in frames] == pytest.approx([n / 10 for n in range(10)], abs=0.002)
    assert [round(picture.mean() / 20) for _, picture in frames] == list(range(10))
    assert (made.fps, seconds) == (pytest.approx(10, rel=0.15), pytest.approx(1.0, abs=0.11))


def remuxed(path, source):
    with av.open(str(source)) as file, av.open(str(path), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in file.streams}
        for packet in file.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    return path


def test_the_sound_is_taken_out_and_the_pictures_stay_as_they_are(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            part = await world.only(SLIDES, view=View(audio=False), hears=True)
            assert not part.has_audio
            return part.path.read_bytes()

    with av.open(io.BytesIO(run(story()))) as file, av.open(str(SLIDES)) as source:
        assert not file.streams.audio
        ours = [bytes(p) for p in file.demux(video=0) if p.size]
        assert ours == [bytes(p) for p in source.demux(video=0) if p.size]


def test_sound_that_begins_late_is_where_it_was(run, tmp_path):
    late = clips.late_sound(tmp_path / "late.mp4", seconds=4, sound_from=2.0)

    async def story():
        async with a_world(tmp_path) as world:
            part = await world.only(late, view=View(start=1))
            made = Video(
                index=0, found="path", origin="", loc=("body",), path=part.path, bytes=0,
                sha256="", container="mp4", mime="video/mp4", seconds=None,
            )  # fmt: skip
            chunks = [c async for c in world.pool.audio(made)]
            return np.frombuffer(b"".join(c.pcm for c in chunks), np.int16)

    pcm = run(story())
    loud = np.flatnonzero(abs(pcm.astype(int)) > 1000)
    assert loud[0] / 16_000 == pytest.approx(1.0, abs=0.05)


def test_of_a_damaged_video_comes_what_can_be_decoded_with_a_warning(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            broken = await world.video(DATA / "truncated_tail_faststart.mp4")
            lying = Video(**{**{f: getattr(broken, f) for f in broken.__slots__}, **FACTS(broken)})
            [part], logs = await world.parts(lying, view=View(start=1))
            return part, logs

    def FACTS(video):  # noqa: N802
        facts = ("index", "found", "origin", "loc", "path", "bytes", "sha256", "mime", "warnings")
        return {f: getattr(video, f) for f in facts} | {"seconds": 11.0}

    part, logs = run(story())
    assert part.seconds == pytest.approx(4.5, abs=0.2)
    assert ["cannot be decoded beyond" in log.message for log in logs if log.level == "WARN"] == [
        True
    ]


def test_a_file_in_which_nothing_decodes_is_refused_at_its_place(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            video = await world.video(SLIDES)
            bad = tmp_path / "bad.mp4"
            data = bytearray(SLIDES.read_bytes())
            data[data.index(b"mdat") + 4 :] = bytes(len(data) - data.index(b"mdat") - 4)
            bad.write_bytes(data)
            broken = Video(**{f: getattr(video, f) for f in all_fields(video)} | {"path": bad})
            with pytest.raises(UnsupportedMedia) as caught:
                await world.parts(broken, view=View(start=1))
            return caught.value.problems[0].loc

    assert run(story()) == ("body", "video_urls", 0)


def all_fields(video):
    return list(type(video).__dataclass_fields__)


def test_the_same_work_on_the_same_video_is_done_once(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            one, two = await world.video(SLIDES), await world.video(SLIDES, 1)
            parts, _ = await world.parts(one, two, view=View(end=2))
            again = await world.only(SLIDES, view=View(end=2))
            return {part.path for part in (*parts, again)}

    assert len(run(story())) == 1


def test_what_is_made_counts_for_the_callers_quota(run, tmp_path):
    async def story():
        async with a_world(tmp_path, quota=20_000) as world:
            with pytest.raises(LimitReached):
                await world.only(SLIDES, view=View(end=9))

    run(story())


def test_a_crash_of_the_decoder_fails_one_request_only(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            pieces = world.pool.transcode(await world.video(SLIDES), Transform(start=0.1))
            await anext(pieces)
            for child in world.pool._decoders._jobs:
                os.kill(child.pid, signal.SIGSEGV)
            with pytest.raises(UnsupportedMedia, match="crashed"):
                await collect(pieces)
            return await world.only(SLIDES, view=View(end=1))

    assert isinstance(run(story()), FilePart)


async def collect(items):
    return [item async for item in items]


# ---------------------------------------------------------------- stills


def test_stills_are_jpegs_of_what_is_on_the_screen_then(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            part = await world.only(SLIDES, view=View(max_frames=4), **STILLS)
            return [(s, s.path.read_bytes()) for s in part.stills]

    stills = run(story())
    assert [still.seconds for still, _ in stills] == [1.375, 4.125, 6.875, 9.625]
    for (still, data), source in zip(
        stills, of_source(SLIDES, 1.375, 4.125, 6.875, 9.625), strict=True
    ):
        assert data[:2] == b"\xff\xd8"
        assert (still.bytes, still.width, still.height) == (len(data), 512, 288)
        with av.open(io.BytesIO(data)) as file:
            shown = next(file.decode(video=0)).reformat(1280, 720, "gray").to_ndarray()
        assert ssim(source, shown) > 0.85


@pytest.mark.parametrize("name", ["jfk_slides.mp4", "spanish_vp8.webm", "sonnet_mpeg1.mpeg"])
def test_jumping_over_what_is_not_wanted_changes_no_still(run, tmp_path, name):
    async def story():
        async with a_world(tmp_path) as world:
            path = clips.keyframes(tmp_path / "k.mp4", DATA / name) if name[0] == "j" else None
            path = path or DATA / name
            sparse = await world.only(path, view=View(max_frames=2), **STILLS)
            dense = await world.only(path, view=View(max_frames=6), **STILLS)
            return [
                [(s.seconds, s.path.read_bytes()) for s in part.stills] for part in (sparse, dense)
            ]

    sparse, dense = run(story())
    known = dict(dense)
    assert all(known[at] == data for at, data in sparse if at in known)


@pytest.mark.parametrize("side", [451, 453, 100])
def test_no_side_of_a_still_is_longer_than_it_may_be(run, tmp_path, side):
    async def story():
        async with a_world(tmp_path) as world:
            view = View(max_frames=1)
            part = await world.only(SLIDES, max_image_side=side, view=view, **STILLS)
            return max(part.stills[0].width, part.stills[0].height)

    assert side - 2 < run(story()) <= side


def test_a_still_that_may_have_few_bytes_is_made_worse(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            part = await world.only(
                DATA / "nasa_webb.mp4", max_image_bytes=5_000, view=View(max_frames=3), **STILLS
            )
            return [still.bytes for still in part.stills]

    assert all(size <= 5_000 for size in run(story()))


# ---------------------------------------------------------------- what is said


class Speaker:
    """A Transcriber that knows what is said, or why nobody can tell."""

    def __init__(self, error=None):
        self.error = error
        self.asked = []

    async def words(self, video, decoder, start, end):
        self.asked.append((start, end))
        if self.error:
            raise self.error
        return (Words(0.5, 2.0, "ask not"), Words(7.0, 9.0, "what you can do"))


def test_what_is_said_goes_with_stills(run, tmp_path):
    async def story():
        async with a_world(tmp_path, transcriber=Speaker()) as world:
            return (await world.only(SLIDES, view=View(end=5), **STILLS)).words

    assert run(story()) == (Words(0.5, 2.0, "ask not"),)


def test_nobody_is_asked_for_the_words_of_a_silent_video(run, tmp_path):
    speaker = Speaker()

    async def story():
        async with a_world(tmp_path, transcriber=speaker) as world:
            await world.only(DATA / "corrupt_packets.mp4", **STILLS)
            await world.only(SLIDES, view=View(audio=False), **STILLS)

    run(story())
    assert speaker.asked == []


@pytest.mark.parametrize(
    "speaker", [None, Speaker(ProviderRejected("no weights"))], ids=["none", "no weights"]
)
def test_words_that_nobody_can_write_down_are_a_warning_and_with_strict_an_error(
    run, tmp_path, speaker
):
    async def story():
        async with a_world(tmp_path, transcriber=speaker) as world:
            video = await world.video(SLIDES)
            [part], logs = await world.parts(video, **STILLS)
            with pytest.raises(InputError) as caught:
                await world.parts(video, view=View(audio=True), strict=True, **STILLS)
            return part, logs[-1], caught.value.problems[0].loc

    part, log, loc = run(story())
    assert isinstance(part, FramesPart)
    assert (part.words, log.level, loc) == ((), "WARN", ("body", "audio"))


def test_a_transcript_takes_a_quarter_of_the_window_at_most(run, tmp_path):
    async def story():
        async with a_world(tmp_path, transcriber=Speaker()) as world:
            video = await world.video(SLIDES)
            takes = {"context_tokens": 14, "max_output_tokens": 1, **STILLS}
            made = plan.make(
                [MediaName("x", video.loc)], [video], [], Capabilities(**STILLS), View(), model="m"
            )
            basis = plan.Basis(**{f: getattr(made.basis, f) for f in all_fields(made.basis)} | {
                "capabilities": Capabilities(**takes)
            })  # fmt: skip
            made = plan.Plan(videos=made.videos, basis=basis)
            items = [
                i async for i in world.preparer.parts(made, basis.names, [video], [], world.held)
            ]
            return items[-1].words, items[-2]

    words, log = run(story())
    assert words == (Words(0.5, 2.0, "ask not"),)
    assert "only the first 1 of 2" in log.message


# ---------------------------------------------------------------- the other forms


def test_an_address_is_passed_on_with_what_was_found_there(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            video = await world.video(SLIDES)
            facts = {f: getattr(video, f) for f in all_fields(video)} | {"found": "url"}
            [part], _ = await world.parts(Video(**facts), delivery=("url",))
            return part

    part = run(story())
    assert isinstance(part, LinkPart)
    assert (part.url, part.video.bytes) == ("https://a.example/v", SLIDES.stat().st_size)


def test_an_embedded_model_sees_and_hears_what_was_asked_for(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            part = await world.only(SLIDES, delivery=("decoded",), view=View(start=2, end=6, fps=2))
            assert isinstance(part, DecodedPart)
            frames = [f async for f in part.decoder.frames(part.media, fps=1.0, max_side=64)]
            sound = [c async for c in part.decoder.audio(part.media)]
            mute = await world.only(SLIDES, delivery=("decoded",), view=View(audio=False))
            return frames, sound, [c async for c in mute.decoder.audio(mute.media)]

    frames, sound, muted = run(story())
    assert [f.seconds for f in frames] == [pytest.approx(2 + n / 2, abs=0.05) for n in range(8)]
    assert sound[0].seconds == 2.0
    assert sum(len(c.pcm) for c in sound) / 32_000 == pytest.approx(4.0, abs=0.001)
    assert muted == []


def test_giving_up_in_the_middle_leaves_nothing_behind(run, tmp_path):
    async def story():
        async with a_world(tmp_path) as world:
            video = await world.video(SLIDES)
            work = asyncio.create_task(world.preparer.mp4(video, Transform(start=0.1), world.held))
            await asyncio.sleep(0)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work

    run(story())
