"""What strangers' bytes cannot do: to the pool, to other jobs, to other files."""

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import av
import pytest
from tests.fakes import clips

from telecine.errors import UnsupportedMedia
from telecine.media.pool import Pool
from telecine.models import Video
from telecine.processes import Child, ChildDied, ChildFailed, environment

DATA = Path(__file__).parents[1] / "data"
CLIP = DATA / "jfk_slides.mp4"


def pool(**changes):
    limits = {"size": 1, "memory_bytes": 2**30, "cpu_seconds": 120}
    return Pool(**{**limits, **changes})


def video(path):
    return Video(
        index=0,
        found="path",
        origin=path.name,
        loc=("body", "video_urls", 3),
        path=path,
        bytes=0,
        sha256="",
        container="mp4",
        mime="video/mp4",
        seconds=None,
    )


async def count(decoders, path, **how):
    how = {"fps": 1, "max_side": 64, **how}
    return len([frame async for frame in decoders.frames(video(path), **how)])


async def read_and_send(decoders, path, sent):
    """Reads `path` and sends its decoder a signal at every frame."""
    async for _ in decoders.frames(video(path), fps=1, max_side=64):
        for pid in children():
            os.kill(pid, sent)


def children():
    """The decoders of this test as the system sees them, by parent and command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_bytes()
            except (OSError, IndexError):
                continue
            if parent == os.getpid() and b"telecine.media.child" in command:
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (signal.SIGKILL, "its decoder was killed"),
        (signal.SIGSEGV, "crashed its decoder"),
        (signal.SIGXCPU, "120 s of processor time"),
    ],
)
def test_a_decoder_that_dies_fails_its_own_job_with_a_reason(run, tmp_path, sent, words):
    async def story():
        async with pool() as decoders:
            with pytest.raises(UnsupportedMedia) as caught:
                await read_and_send(decoders, path, sent)
            assert await count(decoders, CLIP) == 11
        return caught.value

    path = clips.endless(tmp_path / "long.mov")
    error = run(story())
    assert words in error.message
    assert error.problems[0].loc == ("body", "video_urls", 3)


def test_a_job_beside_the_one_that_dies_goes_on(run, tmp_path):
    async def story():
        async with pool(size=2) as decoders:
            first = decoders.frames(video(path), fps=1, max_side=64)
            await anext(first)
            [victim] = children()
            second = asyncio.create_task(count(decoders, CLIP))
            os.kill(victim, signal.SIGKILL)
            with pytest.raises(UnsupportedMedia):
                async for _ in first:
                    pass
            return await second

    path = clips.endless(tmp_path / "long.mov")
    assert run(story()) == 11


def test_a_decoder_that_died_while_idle_is_replaced_unnoticed(run):
    async def story():
        async with pool() as decoders:
            await decoders.probe(CLIP)
            [pid] = children()
            os.kill(pid, signal.SIGKILL)
            while pid in children():  # noqa: ASYNC110
                await asyncio.sleep(0)  # the kernel sends no event
            return await decoders.probe(CLIP)

    assert run(story()).seconds == 11.0


def test_a_decoder_that_hangs_is_ended_and_replaced(run, tmp_path):
    async def story():
        async with pool(stall_seconds=0.5) as decoders:
            with pytest.raises(UnsupportedMedia, match="got stuck"):
                await read_and_send(decoders, path, signal.SIGSTOP)
            assert children() == []
        async with pool() as decoders:
            return await count(decoders, CLIP)

    path = clips.endless(tmp_path / "long.mov")
    assert run(story()) == 11


def test_a_slow_reader_is_not_taken_for_a_hanging_decoder(run):
    async def story():
        async with pool(stall_seconds=3) as decoders:
            seen = 0
            async for _ in decoders.frames(video(CLIP), fps=25, max_side=1280):
                if seen == 0:
                    await asyncio.sleep(3.2)
                seen += 1
            return seen

    assert run(story()) == 275


def test_a_job_may_use_so_much_processor_time_and_the_next_as_much_again(run, tmp_path):
    async def story():
        async with pool(cpu_seconds=1) as decoders:
            with pytest.raises(UnsupportedMedia, match="more than 1 s of processor time"):
                await count(decoders, path)
            for _ in range(3):
                assert await count(decoders, CLIP, fps=5, max_side=1280) == 55

    path = clips.endless(tmp_path / "long.mov", count=1500)
    run(story())


def test_a_picture_that_needs_too_much_memory_fails_its_own_job(run, tmp_path):
    async def story():
        async with pool(memory_bytes=96 * 2**20) as decoders:
            with pytest.raises(UnsupportedMedia, match="more than 96 MB of memory"):
                await count(decoders, path)
            return await count(decoders, DATA / "spanish_vp8.webm")

    path = clips.endless(tmp_path / "large.mov", width=8000, height=6000, count=3)
    assert run(story()) == 16


def test_closing_the_iterator_ends_the_work(run, tmp_path):
    async def story():
        async with pool() as decoders:
            async with aclosing(decoders.frames(video(path), fps=25, max_side=3840)) as frames:
                await anext(frames)
                assert len(children()) == 1
            assert children() == []
            return await count(decoders, CLIP)

    path = clips.endless(tmp_path / "long.mov")
    assert run(story()) == 11


def test_cancelling_the_reader_ends_the_work(run, tmp_path):
    async def story():
        async with pool() as decoders:
            started = asyncio.Event()

            async def read():
                async for _ in decoders.frames(video(path), fps=25, max_side=3840):
                    started.set()

            reader = asyncio.create_task(read())
            await started.wait()
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
            assert children() == []
            return await count(decoders, CLIP)

    path = clips.endless(tmp_path / "long.mov")
    assert run(story()) == 11


def test_closing_the_pool_leaves_no_process_behind(run, tmp_path):
    async def story():
        async with pool(size=2) as decoders:
            await decoders.probe(CLIP)
            frames = decoders.frames(video(path), fps=25, max_side=3840)
            await anext(frames)
            assert len(children()) == 2
        assert children() == []
        await frames.aclose()

    path = clips.endless(tmp_path / "long.mov")
    run(story())


def test_waiting_jobs_run_in_the_order_they_came(run):
    async def story():
        finished = []
        async with pool() as decoders:

            async def job(number):
                await count(decoders, CLIP)
                finished.append(number)

            await asyncio.gather(*(job(number) for number in range(4)))
        return finished

    assert run(story()) == [0, 1, 2, 3]


def test_a_long_decode_keeps_no_probe_waiting(run, tmp_path):
    async def story():
        async with pool() as decoders:
            async with aclosing(decoders.frames(video(path), fps=25, max_side=64)) as frames:
                await anext(frames)
                return await decoders.probe(CLIP)

    path = clips.endless(tmp_path / "long.mov")
    assert run(story()).container == "mp4"


def test_nothing_starts_before_the_first_job(run):
    async def story():
        async with pool():
            return children()

    assert run(story()) == []


def test_an_unopened_pool_says_so(run):
    async def story():
        await pool().probe(CLIP)

    with pytest.raises(RuntimeError, match="open the pool first"):
        run(story())


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_decoder_has_its_limits_and_none_of_our_secrets(run, monkeypatch):
    async def story():
        async with pool() as decoders:
            await decoders.probe(CLIP)
            [pid] = children()
            folder = Path(f"/proc/{pid}")
            return (folder / "environ").read_text(), (folder / "limits").read_text()

    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-secret")
    environ, limits = run(story())
    assert "secret" not in environ
    rows = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
    assert rows["Max core file size"] == ["0", "0"]
    assert rows["Max file size"] == ["0", "0"]
    assert rows["Max open files"] == ["32", "32"]
    assert rows["Max data size"] == [str(2**30), str(2**30)]


LISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
    "hls hidden from a look at the text": "#EXTM3U\n#\0\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n"
    "{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {target}\n",
    "concat hidden": "ffconcat version 1.0\n#\0\nfile {target}\n",
    "dash": '<?xml version="1.0"?><MPD type="static"><Period><AdaptationSet><Representation>'
    "<BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "sdp hidden": "v=0\n\0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "image list": "{target}\n{target}\n",
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_that_names_another_file_opens_nothing(run, tmp_path, kind):
    async def story():
        async with pool() as decoders:
            await decoders.probe(path)

    target = tmp_path / "target.mp4"
    target.write_bytes(CLIP.read_bytes())
    path = tmp_path / "list.mp4"
    path.write_text(LISTS[kind].format(target=target))
    with pytest.raises(UnsupportedMedia):
        run(story())


def test_a_mov_whose_samples_are_in_another_file_shows_nothing_of_it(run, tmp_path):
    async def story():
        async with pool() as decoders:
            await count(decoders, path)

    secret = tmp_path / "secret"
    secret.write_bytes(b"\xff" * 200_000)
    path = tmp_path / "reference.mov"
    black = [(i * 100, clips.picture(64, 48, 0)) for i in range(5)]
    clips.write(path, black, codec="rawvideo", pix_fmt="rgb24")
    where = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref")
    reference = b"\0\0\0\0\0\0\0\1" + clips.alias(secret)
    path.write_bytes(clips.replace_box(path.read_bytes(), where, reference))
    unguarded = {"enable_drefs": "1", "use_absolute_path": "1"}
    with av.open(str(path), container_options=unguarded) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert (shown == 255).all(), "the trap works where nothing guards against it"
    with pytest.raises(UnsupportedMedia):
        run(story())


def absurd_size(content):
    at = content.index(b"avc1", content.index(b"stsd")) + 28
    return content[:at] + b"\xff\xff\xff\xff" + content[at + 4 :]


def absurd_clock(content):
    at = content.index(b"mdhd") + 16
    return content[:at] + b"\x7f\xff\xff\xff" + content[at + 4 :]


def negative_duration(content):
    for kind, offset in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        at = content.index(kind) + offset
        content = content[:at] + b"\xff\xff\xff\xff" + content[at + 4 :]
    return content


def million_streams(content):
    """A moov of more tracks than anybody has."""
    kept = [clips.box(kind, body) for kind, body in clips.boxes(content) if kind != b"moov"]
    moov = dict(clips.boxes(content))[b"moov"]
    [track, *_] = [clips.box(k, body) for k, body in clips.boxes(moov) if k == b"trak"]
    rest = [clips.box(k, body) for k, body in clips.boxes(moov) if k != b"trak"]
    return b"".join([*kept, clips.box(b"moov", *rest, *[track] * 20_000)])


@pytest.mark.parametrize("spoil", [absurd_size, absurd_clock, negative_duration, million_streams])
def test_absurd_headers_are_refused_or_survived(run, tmp_path, spoil):
    async def story():
        async with pool() as decoders:
            try:
                seen = await decoders.probe(path)
            except UnsupportedMedia as error:
                assert error.message
            else:
                assert seen.fps is None or 0 < seen.fps <= 1000
                assert seen.seconds is None or 0 < seen.seconds < 20
                assert (seen.width, seen.height) == (1280, 720)
            assert await decoders.probe(CLIP)

    path = tmp_path / "absurd.mp4"
    path.write_bytes(spoil(CLIP.read_bytes()))
    run(story())


def test_spoiled_files_are_read_or_refused_and_nothing_else(run, tmp_path, caplog):
    """Bytes changed at random, always the same ones: no crash, no unforeseen failure."""

    async def story():
        async with pool() as decoders:
            for number in range(40):
                path.write_bytes(spoiled(random.Random(number)))
                try:
                    await decoders.probe(path)
                    await count(decoders, path)
                except UnsupportedMedia:
                    continue

    path = tmp_path / "spoiled"
    caplog.set_level(logging.WARNING)
    run(story())
    assert caplog.messages == []


def spoiled(chance):
    names = ("onscreen_instructions_silent.mp4", "no_duration_header.webm", "portrait_rotation.mov")
    content = bytearray((DATA / chance.choice(names)).read_bytes())
    reach = chance.choice((2000, len(content)))
    for _ in range(chance.choice((1, 10, 100))):
        content[chance.randrange(reach)] = chance.choice((0, 127, 255, chance.randrange(256)))
    return content[: chance.choice((len(content), chance.randrange(len(content))))]


# ---------------------------------------------------------------- processes.py itself


def test_what_a_library_prints_cannot_get_between_the_messages():
    program = (
        "import os, sys; from telecine.processes import pack, take_stdout; out = take_stdout();"
        "print('noise'); os.system('echo more noise'); out.write(pack({'end': True})); out.flush()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, check=True
    )
    assert done.stdout[8:] == b'{"end":true}'
    assert b"more noise" in done.stderr


def test_a_child_that_reports_an_error_can_be_asked_again(run):
    async def story():
        child = Child(
            "telecine.media.child", str(2**30), "60", environment=environment(MALLOC_ARENA_MAX="2")
        )
        await child.start()
        with pytest.raises(ChildFailed, match="not a video"):
            async for _ in child.task({"task": "probe", "path": str(DATA / "not_a_video.mp4")}):
                pass
        answers = [a async for a in child.task({"task": "probe", "path": str(CLIP)})]
        await child.kill()
        await child.kill()
        return answers

    assert run(story())[-1][0]["probe"]["seconds"] == 11.0


def test_a_child_that_cannot_start_is_told_as_dead_and_why(run, caplog):
    async def story():
        child = Child("telecine.no_such_module", environment=environment())
        await child.start()
        with pytest.raises(ChildDied, match="ended with 1"):
            async for _ in child.task({}):
                pass

    run(story())
    assert "No module named telecine.no_such_module" in caplog.text
