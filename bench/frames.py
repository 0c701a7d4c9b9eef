"""Stills of a 1080p video once a second, against the ffmpeg command; and what a re-encode keeps.

    python bench/frames.py [--ffmpeg PATH] [--rounds 7] [--seconds 30] [--clip FILE]

Speed: the same work (decode, one picture a second, scale to 768 pixels, JPEG) by Telecine, through
its decoder pool into its temporary files, and by ffmpeg, in turns. Without --clip a 1080p video is
made by scaling up tests/data/nasa_webb.mp4, over and over until it is long enough. The bar: at
least 0.8 of ffmpeg's speed.

Content: each clip is planned and made for a route that takes a fraction of its bytes and looks at
one picture a second; those pictures are compared with the source's (SSIM, over blocks of 8 x 8
pixels).
"""

import argparse
import asyncio
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from telecine.media import budget, plan
from telecine.media.forms import Sampling, Transform
from telecine.media.pool import Pool
from telecine.media.prepare import Preparer
from telecine.media.sources import Held, Sources
from telecine.media.spool import Spool
from telecine.models import Caller, Capabilities, MediaName, Request, Video, View

DATA = Path(__file__).parents[1] / "tests" / "data"
CLIPS = ("nasa_webb.mp4", "jfk_slides.mp4", "two_languages_en_de.webm", "portrait_rotation.mov")
SIDE = 768
Picture = npt.NDArray[np.float64]


@asynccontextmanager
async def preparing(folder: Path) -> AsyncIterator[tuple[Pool, Preparer, Sources]]:
    pool = Pool(size=2, memory_bytes=1536 * 2**20, cpu_seconds=600)
    spool = Spool(folder / "spool", max_bytes_per_key=2**32, max_file_bytes=2**31)
    async with pool, spool:
        sources = Sources(
            client=None,  # type: ignore[arg-type]
            spool=spool,
            pool=pool,
            storage=None,  # type: ignore[arg-type]
            own_file=None,  # type: ignore[arg-type]
            max_bytes=2**31,
            max_seconds=60,
            max_redirects=0,
        )
        yield pool, Preparer(pool), sources


@asynccontextmanager
async def one_request(sources: Sources) -> AsyncIterator[Held]:
    request = Request(id="r", endpoint="e", mode="run", caller=Caller("bench"), document={})
    async with sources.hold(request) as held:
        yield held


async def looked_at(pool: Pool, path: Path) -> Video:
    found = await pool.probe(path)
    return Video(
        index=0,
        found="path",
        origin=path.name,
        loc=("body", "video_urls", 0),
        path=path,
        bytes=path.stat().st_size,
        sha256=path.name,
        container=found.container,
        mime=found.mime,
        seconds=found.seconds,
        width=found.width,
        height=found.height,
        fps=found.fps,
        rotation=found.rotation,
        video_codec=found.video_codec,
        audio_codec=found.audio_codec,
    )


# ---------------------------------------------------------------- speed


def made_1080p(path: Path, seconds: float) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"preset": "medium", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for number, frame in enumerate(endlessly(DATA / "nasa_webb.mp4")):
            if number >= 30 * seconds:
                break
            big = frame.reformat(1920, 1080, "yuv420p", interpolation="BICUBIC")
            big.pts, big.time_base = number, Fraction(1, 30)
            out.mux(stream.encode(big))
        out.mux(stream.encode(None))


def endlessly(path: Path) -> Iterator[av.VideoFrame]:
    while True:
        with av.open(str(path)) as file:
            yield from file.decode(file.streams.best("video"))


async def ours(clip: Path, folder: Path, rounds: int) -> AsyncIterator[tuple[float, int]]:
    """Seconds and stills; the first with the start of the decoder's process."""
    async with preparing(folder) as (pool, preparer, sources):
        video = await looked_at(pool, clip)
        assert video.seconds
        count = int(video.seconds)
        taken = Sampling(
            times=budget.times(0.0, float(count), count),
            max_side=SIDE,
            fps=1.0,
            with_words=False,
        )
        for _ in range(rounds):
            async with one_request(sources) as held:
                began = time.perf_counter()
                stills = await preparer.stills(video, taken, held)
                yield time.perf_counter() - began, len(stills)


def by_ffmpeg(ffmpeg: str, clip: Path, folder: Path) -> tuple[float, int]:
    out = folder / "by_ffmpeg"
    out.mkdir()
    scale = f"fps=1,scale={SIDE}:-2:flags=bilinear"
    command = [ffmpeg, "-v", "error", "-i", str(clip), "-an", "-vf", scale, "-q:v", "3"]
    began = time.perf_counter()
    subprocess.run([*command, str(out / "%05d.jpg")], check=True, stdin=subprocess.DEVNULL)
    took, count = time.perf_counter() - began, len(list(out.iterdir()))
    shutil.rmtree(out)
    return took, count


async def compare_speed(clip: Path, ffmpeg: str, rounds: int, folder: Path) -> None:
    mine, theirs = [], []
    async for took, count in ours(clip, folder, rounds + 1):
        mine.append((took, count))
        theirs.append(by_ffmpeg(ffmpeg, clip, folder))
    (first, count), others = mine[0], [took for took, _ in mine[1:]]
    usual, its = statistics.median(others), statistics.median(took for took, _ in theirs[1:])
    print(f"{clip.name}: {count} stills by Telecine, {theirs[0][1]} by ffmpeg, {rounds} rounds")
    print(f"  Telecine {usual:.3f} s (the first, with its process: {first:.3f} s)")
    print(f"  ffmpeg   {its:.3f} s")
    print(f"  speed    {its / usual:.2f} of ffmpeg's (bar: 0.8)")


# ---------------------------------------------------------------- content


async def compare_content(folder: Path) -> None:
    print("clip, of its bytes, SSIM of every second's picture: least, mean")
    async with preparing(folder) as (pool, preparer, sources):
        for name in CLIPS:
            video = await looked_at(pool, DATA / name)
            source = pictures(video.path.read_bytes(), video.seconds or 0.0, video.rotation)
            for fraction in (0.8, 0.5):
                most = int(video.bytes * fraction)
                async with one_request(sources) as held:
                    made = await preparer.mp4(video, planned(video, most), held)
                    again = pictures(made.path.read_bytes(), video.seconds or 0.0, 0)
                found = [ssim(*pair) for pair in zip(source, again, strict=False)]
                assert made.bytes <= most
                share = made.bytes / video.bytes
                least, mean = min(found), statistics.mean(found)
                print(
                    f"  {name}: {share:.2f} ({made.width}x{made.height}, {made.fps:.4g} fps) "
                    f"{least:.3f} {mean:.3f}"
                )


def planned(video: Video, most: int) -> Transform:
    takes = Capabilities(delivery=("file",), max_bytes=most, hears=True)
    names = [MediaName("x", video.loc)]
    [one] = plan.make(names, [video], [], takes, View(), model="m").videos
    assert one.transform
    return one.transform


def pictures(data: bytes, seconds: float, rotation: int) -> list[Picture]:
    """What is on the screen at every full second, in grey, upright, at most 640 pixels wide."""
    found: list[Picture] = []
    last: Picture | None = None
    with av.open(io.BytesIO(data)) as file:
        stream = file.streams.best("video")
        start = (file.start_time or 0) / av.time_base
        for frame in file.decode(stream):
            while len(found) < seconds and frame.time - start > len(found) + 0.001:
                if last is None:
                    last = grey(frame, rotation)
                found.append(last)
            last = grey(frame, rotation)
    return found


def grey(frame: av.VideoFrame, rotation: int) -> Picture:
    size = (640, 360) if frame.width >= frame.height else (360, 640)
    small = frame.reformat(*size, "gray").to_ndarray().astype(float)
    return np.rot90(small, round(rotation / 90) % 4)


def ssim(a: Picture, b: Picture) -> float:
    a, b = blocks(a), blocks(b)
    mean_a, mean_b = a.mean((1, 3)), b.mean((1, 3))
    var_a, var_b = a.var((1, 3)), b.var((1, 3))
    both = (a * b).mean((1, 3)) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def blocks(picture: Picture) -> Picture:
    height, width = (side - side % 8 for side in picture.shape)
    return picture[:height, :width].reshape(height // 8, 8, width // 8, 8)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--ffmpeg", default=shutil.which("ffmpeg"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clip", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = given.clip
        if clip is None:
            clip = folder / "nasa_webb_1080p.mp4"
            made_1080p(clip, given.seconds)
        if given.ffmpeg is None:
            print("no ffmpeg command: give one with --ffmpeg")
        else:
            await compare_speed(clip, given.ffmpeg, given.rounds, folder)
        await compare_content(folder)


if __name__ == "__main__":
    asyncio.run(main())
