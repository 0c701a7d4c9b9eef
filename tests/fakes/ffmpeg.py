"""As much of ffprobe and ffmpeg as llama.cpp's server calls for: `install` puts both in a folder.

It asks for the size, rate and length of the video on its input, then for its pictures at so many per
second as raw pixels.
"""

import io
import re
import sys
from fractions import Fraction
from pathlib import Path

import av


def install(folder: Path) -> None:
    folder.mkdir()
    root = Path(__file__).parents[2]
    for name in ("ffprobe", "ffmpeg"):
        script = (
            f'#!/bin/sh\ncd "{root}" && exec "{sys.executable}" -m tests.fakes.ffmpeg {name} "$@"\n'
        )
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)


def _probe() -> None:
    with av.open(io.BytesIO(sys.stdin.buffer.read())) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or Fraction(25)
        seconds = float(container.duration or 0) / av.time_base
        print(f"width={stream.width}\nheight={stream.height}")  # noqa: T201
        print(f"r_frame_rate={rate.numerator}/{rate.denominator}")  # noqa: T201
        print(f"duration={seconds}\nnb_frames={round(seconds * rate)}")  # noqa: T201


def _decode(fps: float) -> None:
    with av.open(io.BytesIO(sys.stdin.buffer.read())) as container:
        due = 0.0
        for frame in container.decode(video=0):
            if (frame.time or 0.0) >= due:
                due += 1 / fps
                sys.stdout.buffer.write(frame.to_ndarray(format="rgb24").tobytes())


if __name__ == "__main__":
    if sys.argv[1] == "ffprobe":
        _probe()
    else:
        found = re.search(r"fps=([\d.]+)", " ".join(sys.argv))
        assert found
        _decode(float(found[1]))
