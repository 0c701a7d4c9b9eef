"""Sound, from a video or a file of its own: the default track as 16 kHz mono 16-bit samples."""

from __future__ import annotations

from collections.abc import Iterator

from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.error import FFmpegError

from telecine.media.child.reader import (
    BUSY,
    VIDEO,
    Answer,
    Timeline,
    What,
    audio_stream,
    decoded,
    opened,
    stamp,
    start_seconds,
)

_RATE = 16_000
_BYTES_PER_SECOND = 2 * _RATE
_GAP_SECONDS = 0.2  # a smaller difference is jitter of the timestamps
RATES = range(4_000, 768_001)  # outside of it the rate is a lie, and resampling it a bomb


def read(path: str, what: What = VIDEO) -> Iterator[Answer]:
    """Chunks of a second, each with its time in the clip, and BUSY in between.

    Nothing without a track that decodes. Where the track starts late or has a gap, so do they.
    """
    with opened(path, what) as container:
        stream = audio_stream(container)
        if stream is None:
            return
        timeline = Timeline(start_seconds(container))
        run: _Run | None = None
        for frame in decoded(container, stream):
            if not isinstance(frame, AudioFrame) or frame.sample_rate not in RATES:
                yield BUSY
                continue
            lasts = frame.samples / frame.sample_rate
            seconds = timeline.at(stamp(frame, stream), step=lasts)
            if run is None or not run.goes_on(seconds, frame):
                if run is not None:
                    yield from run.finish()
                    seconds = max(seconds, run.end)
                run = _Run(seconds, frame)
            yield from run.add(frame, lasts)
        if run is not None:
            yield from run.finish()


class _Run:
    """Sound without a gap, in one format."""

    def __init__(self, seconds: float, first: AudioFrame) -> None:
        self._resampler = AudioResampler(format="s16", layout="mono", rate=_RATE)
        self._format = _format(first)
        self._heard_until = seconds
        self.end = seconds  # of what was given out
        self._pcm = bytearray()

    def goes_on(self, seconds: float, frame: AudioFrame) -> bool:
        # Sound that overlaps is kept and moves the rest back a little: losing words is worse.
        return seconds - self._heard_until <= _GAP_SECONDS and _format(frame) == self._format

    def add(self, frame: AudioFrame, lasts: float) -> Iterator[Answer]:
        self._heard_until += lasts
        frame.pts = None  # the resampler is to count samples, not to mend timestamps
        self._resample(frame)
        while len(self._pcm) >= _BYTES_PER_SECOND:
            yield self._chunk(_BYTES_PER_SECOND)

    def finish(self) -> Iterator[Answer]:
        self._resample(None)
        while self._pcm:
            yield self._chunk(_BYTES_PER_SECOND)

    def _resample(self, frame: AudioFrame | None) -> None:
        try:
            for piece in self._resampler.resample(frame):
                if piece is not None:
                    self._pcm += bytes(piece.planes[0])[: 2 * piece.samples]
        except MemoryError:
            raise
        except FFmpegError:
            pass  # damaged sound is skipped

    def _chunk(self, size: int) -> Answer:
        pcm = bytes(self._pcm[:size])
        del self._pcm[:size]
        head = {"audio": round(self.end, 4)}
        self.end += len(pcm) / _BYTES_PER_SECOND
        return head, pcm


def _format(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate
