"""Pictures from a video: sampled, upright, scaled, with the cuts between them; in one pass."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from telecine.media.child.cuts import CutDetector
from telecine.media.child.reader import (
    BUSY,
    Answer,
    Refused,
    Timeline,
    codec_name,
    decoded,
    opened,
    stamp,
    start_seconds,
    video_stream,
)

# Containers round timestamps, matroska to the millisecond: a frame of 0.9995 s is meant for 1 s.
_ROUNDING_SECONDS = 0.001


def read(path: str, *, fps: float, max_side: int) -> Iterator[Answer]:
    """The first frame at or after every multiple of 1/fps, and BUSY in between.

    Raises Refused when not a single frame decodes; what is damaged after that is the end.
    """
    with opened(path) as container:
        stream = video_stream(container)
        timeline = Timeline(start_seconds(container))
        step = float(1 / stream.average_rate) if stream.average_rate else 0.0
        sampler = _Sampler(fps)
        album = _Album(max_side)
        for frame in decoded(container, stream):
            if not isinstance(frame, VideoFrame):
                yield BUSY
                continue
            seconds = timeline.at(stamp(frame, stream), step=step)
            yield from album.add(seconds, frame, is_sample=sampler.takes(seconds))
        if album.is_empty:
            raise Refused(f"The file's video ({codec_name(stream)}) cannot be decoded")
        yield from album.finish()


class _Sampler:
    """Picks the first frame at or after each sample time; a gap makes no extra frames."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._next = -math.inf

    def takes(self, seconds: float) -> bool:
        if seconds + _ROUNDING_SECONDS < self._next:
            return False
        self._next = (math.floor((seconds + _ROUNDING_SECONDS) * self._fps) + 1) / self._fps
        return True


@dataclass(slots=True)
class _Picture:
    seconds: float
    width: int
    height: int
    rgb: bytes


class _Album:
    """Holds sampled pictures back for the few frames until the cuts before them are known."""

    def __init__(self, max_side: int) -> None:
        self._max_side = max_side
        self._scale = VideoReformatter()
        self._detector = CutDetector()
        self._held: deque[_Picture] = deque()
        self._cuts: deque[float] = deque()
        self._last: tuple[float, VideoFrame] | None = None

    @property
    def is_empty(self) -> bool:
        return self._last is None

    def add(self, seconds: float, frame: VideoFrame, *, is_sample: bool) -> Iterator[Answer]:
        try:
            self._cuts.extend(self._detector.see(seconds, frame))
            if is_sample:
                self._held.append(self._picture(seconds, frame))
        except MemoryError:
            raise
        except FFmpegError:
            return  # a frame in a form that cannot be converted is a damaged frame
        self._last = (seconds, frame)
        yield from self._release(self._detector.settled)

    def finish(self) -> Iterator[Answer]:
        """The rest, and the very last frame if a cut came after the last sample."""
        self._cuts.extend(self._detector.finish())
        yield from self._release(math.inf)
        if self._cuts and self._last:
            self._held.append(self._picture(*self._last))
            yield from self._release(math.inf)

    def _release(self, settled: float) -> Iterator[Answer]:
        while self._held and self._held[0].seconds <= settled:
            picture = self._held.popleft()
            cuts = []
            while self._cuts and self._cuts[0] <= picture.seconds:
                cuts.append(round(self._cuts.popleft(), 4))
            head = {
                "seconds": round(picture.seconds, 4),
                "width": picture.width,
                "height": picture.height,
                "cuts": cuts,
            }
            yield {"frame": head}, picture.rgb

    def _picture(self, seconds: float, frame: VideoFrame) -> _Picture:
        return _Picture(seconds, *scaled(frame, self._max_side, self._scale))


def scaled(
    frame: VideoFrame, max_side: int, reformatter: VideoReformatter | None = None
) -> tuple[int, int, bytes]:
    """Width, height and pixels of a frame: scaled as stored, then turned, which is cheap once it is
    small."""
    scale = min(1.0, max_side / max(frame.width, frame.height))
    small = (reformatter or VideoReformatter()).reformat(
        frame,
        max(1, round(frame.width * scale)),
        max(1, round(frame.height * scale)),
        "rgb24",
        threads=1,
    )
    # `rotation` is counterclockwise, and so is rot90. Pixels that are not square are left so.
    upright = np.rot90(small.to_ndarray(), round(frame.rotation / 90) % 4)
    height, width = upright.shape[:2]
    return width, height, upright.tobytes()
