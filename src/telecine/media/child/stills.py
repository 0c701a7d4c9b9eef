"""JPEG stills of a video at given times, in one pass; what lies between is jumped over."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from fractions import Fraction

from av.codec.context import CodecContext
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from telecine.media.child.pictures import Shaper
from telecine.media.child.reader import (
    BUSY,
    Answer,
    Refused,
    Timeline,
    codec_name,
    decoded,
    is_indexed,
    jump,
    opened,
    stamp,
    start_seconds,
    video_stream,
)

# FFmpeg's scale, where less is better: 3 comes to about 80 of libjpeg's.
_QUALITY = 3
_WORSE = (6, 10, 16, 24, 31)
_LEAST_SIDE = 64
_ROUNDING_SECONDS = 0.001  # as containers round, matroska to the millisecond
_MARGIN_SECONDS = 0.1
_HELD_SECONDS = 1.0  # how long after its last picture a video goes on showing it


def take(
    path: str, *, times: Sequence[float], max_side: int, max_bytes: int | None
) -> Iterator[Answer]:
    """{"still": {...}} and a JPEG for each of `times`, which rise: what is on the screen then.

    None is larger than `max_bytes`: a still that would be is made worse, then smaller. Ends early
    where the video cannot be decoded further. Raises Refused when there is no still at all.
    """
    with opened(path) as container:
        stream = video_stream(container)
        reel = _Reel(container, stream, times)
        press = _Press(max_side, max_bytes)
        count = 0
        for seconds in times:
            yield from reel.wind(seconds)
            if reel.frame is None or seconds > reel.end + _HELD_SECONDS:
                break
            width, height, jpeg = press.printed(reel.frame)
            head = {"seconds": round(seconds, 3), "width": width, "height": height}
            yield {"still": head}, jpeg
            count += 1
        if times and not count:
            raise Refused(f"The file's video ({codec_name(stream)}) cannot be decoded there")


class _Reel:
    """A video wound forward: `frame` is what is shown at the time last asked for."""

    def __init__(
        self, container: InputContainer, stream: VideoStream, times: Sequence[float]
    ) -> None:
        self.frame: VideoFrame | None = None
        self._container = container
        self._stream = stream
        self._times = times
        self._start_seconds = start_seconds(container)
        self._is_told = is_indexed(container)
        self._step = float(1 / stream.average_rate) if stream.average_rate else 0.0
        self._next: tuple[float, VideoFrame] | None = None
        self._shown = -math.inf
        self._is_over = False
        self._start()

    @property
    def end(self) -> float:
        """As far as it can be shown; infinite as long as that is not known."""
        return self._shown + self._step if self._is_over else math.inf

    def wind(self, seconds: float) -> Iterator[Answer]:
        """To `seconds`, with BUSY in between. Only forward."""
        reached = max(self._shown, self._next[0] if self._next else -math.inf)
        if seconds > reached and jump(self._container, self._stream, seconds, past=reached):
            before, self._next = self.frame, None
            self._start()
            yield from self._to(seconds)
            if self.frame is before:  # nothing decodes there: what was known is still true
                self._is_over = True
            return
        yield from self._to(seconds)

    def _start(self) -> None:
        self._timeline = Timeline(self._start_seconds)
        self._frames = decoded(self._container, self._stream, before=self._hurry)

    def _hurry(self, packet: Packet[VideoStream]) -> None:
        """Leave out a picture that no other is made from, unless it may be shown at one of the
        times. Only where the file says when pictures are shown, and how long."""
        is_wanted = True
        base = packet.time_base
        if self._is_told and packet.pts is not None and packet.duration and base:
            begins = float(packet.pts * base) - self._start_seconds - _MARGIN_SECONDS
            ends = begins + float(packet.duration * base) + 2 * _MARGIN_SECONDS
            place = bisect_left(self._times, begins)
            is_wanted = place < len(self._times) and self._times[place] <= ends
        self._stream.codec_context.skip_frame = "DEFAULT" if is_wanted else "NONREF"

    def _to(self, seconds: float) -> Iterator[Answer]:
        while not self._is_over:
            if self._next is None:
                yield from self._read()
                continue
            if self._next[0] > seconds + _ROUNDING_SECONDS and self.frame is not None:
                return
            (self._shown, self.frame), self._next = self._next, None

    def _read(self) -> Iterator[Answer]:
        for frame in self._frames:
            if isinstance(frame, VideoFrame):
                at = self._timeline.at(stamp(frame, self._stream), step=self._step)
                self._next = (at, frame)
                return
            yield BUSY
        self._is_over = True


class _Press:
    """Makes JPEGs; the same frame twice is made once."""

    def __init__(self, max_side: int, max_bytes: int | None) -> None:
        self._max_side = max_side
        self._max_bytes = max_bytes
        self._shaper = Shaper(max_side, for_jpeg=True)
        self._encoders: dict[tuple[int, int, int], VideoCodecContext] = {}
        self._count = 0
        self._last: tuple[VideoFrame, tuple[int, int, bytes]] | None = None

    def printed(self, frame: VideoFrame) -> tuple[int, int, bytes]:
        """Width, height and bytes. Raises Refused for a frame that no still can be made of."""
        if self._last is None or self._last[0] is not frame:
            try:
                self._last = frame, self._made(frame)
            except MemoryError:
                raise
            except FFmpegError as error:
                raise Refused("A picture of the file's video cannot be converted") from error
        return self._last[1]

    def _made(self, frame: VideoFrame) -> tuple[int, int, bytes]:
        shaper, side = self._shaper, self._max_side
        while True:
            picture = shaper.shape(frame)
            for quality in (_QUALITY, *_WORSE):
                jpeg = self._jpeg(picture, quality)
                if self._max_bytes is None or len(jpeg) <= self._max_bytes:
                    return picture.width, picture.height, jpeg
            side = max(picture.width, picture.height) // 2
            if side < _LEAST_SIDE:
                raise Refused(f"No still of the video fits into {self._max_bytes} bytes")
            shaper = Shaper(side, for_jpeg=True)

    def _jpeg(self, picture: VideoFrame, quality: int) -> bytes:
        key = (picture.width, picture.height, quality)
        if key not in self._encoders:
            self._encoders[key] = _encoder(*key)
        encoder = self._encoders[key]
        self._count += 1  # an encoder wants times that rise
        picture.pts, picture.time_base = self._count, encoder.time_base
        return b"".join(bytes(packet) for packet in encoder.encode(picture))


def _encoder(width: int, height: int, quality: int) -> VideoCodecContext:
    encoder = CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 1000)
    encoder.qmin = encoder.qmax = quality
    encoder.thread_count = 1
    return encoder
