"""An mp4 from a stretch of a video: H.264 and AAC, cut to the frame, of so many bytes at most."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from telecine.media.child.audio import RATES
from telecine.media.child.mp4 import Sink
from telecine.media.child.pictures import Shaper
from telecine.media.child.reader import (
    BUSY,
    Answer,
    Refused,
    Timeline,
    audio_stream,
    codec_name,
    decoded,
    jump,
    opened,
    stamp,
    start_seconds,
    video_stream,
)

_Sound = npt.NDArray[Any]  # channels x samples

_BASE = Fraction(1, 90_000)
_EPSILON = 0.0005  # seconds; containers round
_QUALITY = 20  # of x264: what is lost is not seen
_KEYFRAME_SECONDS = 4.0
_GAP_SECONDS = 0.1
_SILENCE_SECONDS = 1.0
_PIECE_BYTES = 256 * 1024
_ATTEMPTS = 6
_USUAL_FPS = 25.0
_MOST_UNDATED = 32  # decoders hold back 16 pictures at most
_AUDIO_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
# What an index comes to, generously.
_INDEX_BYTES = 2_000
_INDEX_BYTES_PER_FRAME = 11
_INDEX_BYTES_PER_SOUND = 9
_SOUNDS_PER_SECOND = 47


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be done; None: that stays. `scale` is how much of the bytes is tried for."""

    start: float = 0.0
    end: float | None = None
    fps: float | None = None
    max_side: int | None = None
    without_audio: bool = False
    max_bytes: int | None = None
    scale: float = 1.0

    @property
    def is_copy(self) -> bool:
        return self == Work(without_audio=self.without_audio, max_bytes=self.max_bytes)


class _TooLarge(Exception):
    """It would come out larger than it may. `share`: of the video, what did fit."""

    def __init__(self, share: float) -> None:
        super().__init__(share)
        self.share = share


class _Silent(Exception):
    """There was a sound track, and nothing on it."""


class _NoCopy(Exception):
    """The packets do not go into an mp4 as they are."""


def make(path: str, work: Work) -> Iterator[Answer]:
    """{"data": true} with pieces of the file, then {"made": {...}} with its beginning.

    {"again": true}: everything given so far is void. A damaged video goes as far as it can be
    decoded. Raises Refused when no picture comes, or none small enough.
    """
    first = _first_picture(path)
    if work.is_copy:
        try:
            yield from _copied(path, work, first)
            return
        except (_NoCopy, _TooLarge):
            yield {"again": True}, b""
    for _ in range(_ATTEMPTS):
        try:
            yield from _encoded(path, work, first)
            return
        except _Silent:
            work = replace(work, without_audio=True)
        except _TooLarge as error:
            work = _smaller(work, error.share)
        yield {"again": True}, b""
    raise Refused(f"The video cannot be made as small as {work.max_bytes} bytes")


def _first_picture(path: str) -> VideoFrame:
    """How large pictures are, and in which colours, is told by them alone. Raises Refused."""
    with opened(path) as container:
        stream = video_stream(container)
        for frame in decoded(container, stream):
            if isinstance(frame, VideoFrame):
                return frame
        raise Refused(f"The file's video ({codec_name(stream)}) cannot be decoded")


def _smaller(work: Work, share: float) -> Work:
    scale = work.scale * min(0.9, max(0.3, 0.9 * share))
    side = work.max_side
    if scale < 0.5:  # fewer bits alone do not do
        side = max(64, round(0.7 * (side or 640)))
    return replace(work, scale=scale, max_side=side)


# ---------------------------------------------------------------- packets as they are


def _copied(path: str, work: Work, first: VideoFrame) -> Iterator[Answer]:
    """H.264 and AAC need another container only. Raises _NoCopy for everything else."""
    if first.rotation or first.format.name not in ("yuv420p", "yuvj420p"):
        raise _NoCopy
    with opened(path) as container:
        video = video_stream(container)
        sound = None if work.without_audio else audio_stream(container)
        if codec_name(video) != "h264" or (sound is not None and codec_name(sound) != "aac"):
            raise _NoCopy
        sink = Sink()
        try:
            with av.open(sink, "w", format="mp4", options={"fflags": "+bitexact"}) as out:
                streams = [stream for stream in (video, sound) if stream is not None]
                made = {s.index: out.add_stream_from_template(s) for s in streams}
                ends: dict[int, float] = {}
                count = 0
                for packet in _dated(container.demux(*streams)):
                    yield BUSY
                    if packet is None:
                        continue
                    index = packet.stream.index
                    assert packet.dts is not None
                    # A recording of a broadcast may begin hours after 0.
                    before = round(start_seconds(container) / packet.time_base)
                    packet.dts -= before
                    packet.pts = packet.dts if packet.pts is None else packet.pts - before
                    over = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    ends[index] = max(ends.get(index, 0.0), over)
                    count += index == video.index
                    packet.stream = made[index]
                    out.mux(packet)
                    yield from _pieces(sink, work, 1.0)
                sink.ending = True
        except MemoryError:
            raise
        except (FFmpegError, OSError, ValueError) as error:
            raise _NoCopy from error
        if not count:
            raise _NoCopy
        seconds, shown = max(ends.values()), ends[video.index]
        fps = count / shown if shown > 0 else None
        has_audio = sound is not None
        facts = _Made(first.width, first.height, round(seconds, 3), fps, has_audio)
        yield from _finish(sink, work, facts)


def _dated(packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any] | None]:
    """Each packet with the time at which it is decoded, None for one that has to wait.

    Matroska stores only when pictures are shown, and FFmpeg is not sure of the first of them, a
    keyframe among them, before it has seen as many as a decoder holds back. Raises _NoCopy.
    """
    waiting: dict[int, list[Packet[Any]]] = {}
    known: set[int] = set()
    for packet in packets:
        if not packet.size:
            continue
        index = packet.stream.index
        if packet.dts is None:
            early = waiting.setdefault(index, [])
            early.append(packet)
            if index in known or packet.pts is None or len(early) > _MOST_UNDATED:
                raise _NoCopy
            yield None
            continue
        known.add(index)
        early, after = waiting.pop(index, []), packet.dts
        for each in reversed(early):
            assert each.pts is not None
            each.dts = after = min(each.pts, after - max(1, each.duration or 0))
        yield from (*early, packet)
    if waiting:
        raise _NoCopy


# ---------------------------------------------------------------- decoded and encoded again


@dataclass(frozen=True, slots=True)
class _Made:
    width: int
    height: int
    seconds: float
    fps: float | None
    has_audio: bool


def _encoded(path: str, work: Work, first: VideoFrame) -> Iterator[Answer]:
    with opened(path) as container:
        video = video_stream(container)
        sound = None if work.without_audio else audio_stream(container)
        if sound is not None and sound.codec_context.sample_rate not in RATES:
            sound = None
        if work.start > 0:
            jump(container, video, work.start, past=0.0)
        sink = Sink()
        with av.open(sink, "w", format="mp4", options={"fflags": "+bitexact"}) as out:
            bits = _Bits.of(work, container, video, has_audio=sound is not None)
            film = _Film(out, work, bits, video, first)
            track = _Track(out, work, bits, sound) if sound is not None else None
            clocks = (Timeline(start_seconds(container)), Timeline(start_seconds(container)))
            step = float(1 / video.average_rate) if video.average_rate else 1 / _USUAL_FPS
            streams = [stream for stream in (video, sound) if stream is not None]
            for frame in decoded(container, *streams):
                if isinstance(frame, VideoFrame):
                    film.add(clocks[0].at(stamp(frame, video), step=step), frame, step)
                elif isinstance(frame, AudioFrame) and frame.sample_rate in RATES:
                    assert track is not None
                    assert sound is not None
                    lasts = frame.samples / frame.sample_rate
                    track.add(clocks[1].at(stamp(frame, sound), step=lasts), frame)
                yield BUSY
                yield from _pieces(sink, work, film.seconds / bits.seconds)
                if film.is_over and (track is None or track.is_over):
                    break
            film.finish()
            if film.is_empty:
                where = f" from {work.start:g} s on" if work.start else ""
                raise Refused(f"The file's video ({codec_name(video)}) cannot be decoded{where}")
            if track is not None:
                track.finish()
                if track.is_empty:
                    raise _Silent
            sink.ending = True
        yield from _finish(sink, work, film.facts(has_audio=track is not None))


def _pieces(sink: Sink, work: Work, share: float) -> Iterator[Answer]:
    """What is ready to go, in pieces worth a message."""
    if work.max_bytes is not None and sink.size > work.max_bytes:
        raise _TooLarge(share)
    if sink.waiting >= _PIECE_BYTES:
        yield {"data": True}, sink.taken()


def _finish(sink: Sink, work: Work, made: _Made) -> Iterator[Answer]:
    if work.max_bytes is not None and sink.size > work.max_bytes:
        raise _TooLarge(work.max_bytes / sink.size)
    head, rest = sink.finish()
    if data := sink.taken() + rest:
        yield {"data": True}, data
    facts = {
        "width": made.width,
        "height": made.height,
        "seconds": made.seconds,
        "fps": None if made.fps is None else round(made.fps, 4),
        "has_audio": made.has_audio,
    }
    yield {"made": facts}, head


@dataclass(frozen=True, slots=True)
class _Bits:
    """How many bits a second there are. `video` None: as many as the quality wants."""

    seconds: float
    video: int | None
    audio: int

    @classmethod
    def of(
        cls, work: Work, container: InputContainer, stream: VideoStream, *, has_audio: bool
    ) -> _Bits:
        whole = max(0.0, (container.duration or 0) / av.time_base)
        end = min(e for e in (work.end, whole or None, math.inf) if e is not None)
        seconds = end - work.start if math.isfinite(end) and end > work.start else 60.0
        if work.max_bytes is None:
            return cls(seconds, None, 96_000 if has_audio else 0)
        fps = work.fps or float(stream.average_rate or _USUAL_FPS)
        index = _INDEX_BYTES + seconds * fps * _INDEX_BYTES_PER_FRAME
        index += seconds * _SOUNDS_PER_SECOND * _INDEX_BYTES_PER_SOUND if has_audio else 0
        rate = max(0.0, 8 * (work.scale * work.max_bytes - index) / seconds)
        audio = next(bits for bits, least in _AUDIO_BITS if rate >= least) if has_audio else 0
        return cls(seconds, max(1_000, int(rate - 1.05 * audio)), audio)


# x264 counts them in 31 bits.
_MOST_BITS = 2**31 - 1
_AUDIO_BITS = ((96_000, 800_000), (64_000, 400_000), (32_000, 120_000), (16_000, 0))


class _Film:
    """The pictures: those of the stretch, each at its time; or, at a rate of their own, what is
    shown at every 1/fps from the start on."""

    def __init__(
        self,
        out: OutputContainer,
        work: Work,
        bits: _Bits,
        source: VideoStream,
        first: VideoFrame,
    ) -> None:
        self.is_over = False
        self.seconds = 0.0
        self._out = out
        self._work = work
        self._bits = bits
        self._source = source
        self._shaper = Shaper(work.max_side)
        # Before any sound: once the header is written no stream is taken any more.
        self._stream = self._opened(self._shaper.shape(first))
        self._shown: tuple[float, VideoFrame] | None = None
        self._last_step = 0.0
        self._count = 0
        self._waiting: Packet[VideoStream] | None = None

    @property
    def is_empty(self) -> bool:
        return self._count == 0

    def facts(self, *, has_audio: bool) -> _Made:
        size = self._stream.width, self._stream.height
        fps = self._work.fps or (self._count / self.seconds if self.seconds else None)
        return _Made(*size, round(self.seconds, 3), fps, has_audio)

    def add(self, seconds: float, frame: VideoFrame, step: float) -> None:
        """The next frame that decoded, whether it is wanted or not."""
        if self.is_over:
            return
        at, self._last_step = seconds - self._work.start, step
        if self._shown is not None and at > _EPSILON:
            self._show(*self._shown, until=at)
        self._shown = (at, frame)
        if self._work.end is not None and at >= self._work.end - self._work.start - _EPSILON:
            self.is_over = True

    def finish(self) -> None:
        if self._shown is not None and not self.is_over:
            until = self._shown[0] + self._last_step
            if self._work.end is not None:
                until = min(until, self._work.end - self._work.start)
            if until > _EPSILON:
                self._show(*self._shown, until=until)
        elif self._work.end is not None:
            self.seconds = min(self.seconds, self._work.end - self._work.start)
        for packet in () if self.is_empty else self._stream.encode(None):
            self._mux(packet)
        self._mux(None)

    def _show(self, at: float, frame: VideoFrame, *, until: float) -> None:
        """It is on the screen from `at` to `until`."""
        if self._work.end is not None:
            until = min(until, self._work.end - self._work.start)
        if until <= max(at, 0.0):
            return
        fps = self._work.fps
        if fps is None:
            self._encode(max(at, 0.0), frame)
        else:
            while (slot := self._count / fps) < until - _EPSILON:
                self._encode(slot, frame)
        self.seconds = until

    def _encode(self, at: float, frame: VideoFrame) -> None:
        try:
            picture = self._shaper.shape(frame)
        except MemoryError:
            raise
        except FFmpegError:
            return  # a frame in a form that cannot be converted is a damaged frame
        picture.pts, picture.time_base = round(at / _BASE), _BASE
        self._count += 1
        for packet in self._stream.encode(picture):
            self._mux(packet)

    def _mux(self, packet: Packet[VideoStream] | None) -> None:
        """One late, as only then it is known how long a picture stays."""
        before, self._waiting = self._waiting, packet
        if before is None:
            return
        assert before.pts is not None
        assert before.time_base is not None
        end = round(self.seconds / before.time_base)
        if packet is not None and packet.pts is not None:
            end = packet.pts
        before.duration = max(1, end - before.pts)
        self._out.mux(before)

    def _opened(self, picture: VideoFrame) -> VideoStream:
        fps = self._work.fps or float(self._source.average_rate or _USUAL_FPS)
        fps = min(max(fps, 0.01), 1000.0)
        stream = self._out.add_stream("libx264", rate=Fraction(fps).limit_denominator(10_000))
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
        context = stream.codec_context
        context.time_base = _BASE
        context.max_b_frames = 0  # players that know no edit lists keep the times
        context.gop_size = max(1, min(250, round(fps * _KEYFRAME_SECONDS)))
        context.thread_count = 2
        context.color_range = picture.color_range
        context.colorspace = picture.colorspace
        context.color_primaries = picture.color_primaries
        context.color_trc = picture.color_trc
        context.options = {
            "preset": "veryfast",
            "crf": str(_QUALITY),
            "flags": "+bitexact",
            **self._limits(fps),
        }
        if self._source.sample_aspect_ratio and round(picture.rotation / 90) % 2 == 0:
            context.sample_aspect_ratio = self._source.sample_aspect_ratio
        return stream

    def _limits(self, fps: float) -> dict[str, str]:
        """At no time more bits than come in: so the sum is known beforehand."""
        if self._bits.video is None:
            return {}
        seconds = self._bits.seconds
        ahead = min(max(2.0, 3 / fps), max(seconds / 2, 1 / fps))
        rate = max(1_000, int(self._bits.video * seconds / (seconds + ahead)))
        rate = min(rate, int(_MOST_BITS / max(1.0, ahead)))
        return {"maxrate": str(rate), "bufsize": str(max(1_000, int(rate * ahead)))}


class _Track:
    """The sound of the stretch, cut to the sample; gaps are silence."""

    def __init__(self, out: OutputContainer, work: Work, bits: _Bits, source: AudioStream) -> None:
        self.is_over = False
        self._out = out
        self._work = work
        rate = source.codec_context.sample_rate
        self._rate = rate if rate in _AUDIO_RATES else 48_000
        if bits.audio <= 32_000:
            self._rate = min(self._rate, 24_000 if bits.audio > 16_000 else 16_000)
        is_mono = source.codec_context.layout.nb_channels == 1 or bits.audio < 96_000
        self._layout = "mono" if is_mono else "stereo"
        self._stream = out.add_stream("aac", rate=self._rate, layout=self._layout)
        self._stream.codec_context.bit_rate = bits.audio
        self._stream.codec_context.options = {"flags": "+bitexact"}
        self._resampler: AudioResampler | None = None
        self._format: tuple[str, str, int] | None = None
        self._samples = 0

    @property
    def is_empty(self) -> bool:
        return self._samples == 0

    def add(self, seconds: float, frame: AudioFrame) -> None:
        at = round((seconds - self._work.start) * self._rate)
        if self.is_over or (self._is_past(at)):
            self.is_over = True
            return
        for sound in self._resampled(frame):
            at = self._place(at, sound)

    def finish(self) -> None:
        if self._resampler is not None:
            for sound in self._flushed():
                self._place(self._samples, sound)
        if not self.is_empty:
            self._out.mux(self._stream.encode(None))

    def _is_past(self, at: int) -> bool:
        end = self._work.end
        return end is not None and at >= round((end - self._work.start) * self._rate)

    def _place(self, at: int, sound: _Sound) -> int:
        """Sound that belongs to sample `at`; gives the one after it."""
        after = at + int(sound.shape[1])
        if at < 0:
            sound, at = sound[:, -at:], 0
        if self._work.end is not None:
            most = round((self._work.end - self._work.start) * self._rate)
            sound = sound[:, : max(0, most - max(at, self._samples))]
        if not sound.shape[1]:
            return after
        # Sound that overlaps is kept and moves the rest back a little: losing words is worse.
        if at - self._samples > _GAP_SECONDS * self._rate:
            self._be_silent(at - self._samples)
        self._encode(sound)
        return after

    def _be_silent(self, samples: int) -> None:
        channels = 1 if self._layout == "mono" else 2
        while samples > 0:
            count = min(samples, round(_SILENCE_SECONDS * self._rate))
            self._encode(np.zeros((channels, count), np.float32))
            samples -= count

    def _encode(self, sound: _Sound) -> None:
        planes = np.ascontiguousarray(sound)
        frame = AudioFrame.from_ndarray(planes, format="fltp", layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts, frame.time_base = self._samples, Fraction(1, self._rate)
        self._samples += sound.shape[1]
        self._out.mux(self._stream.encode(frame))

    def _resampled(self, frame: AudioFrame) -> list[_Sound]:
        format_ = (frame.format.name, frame.layout.name, frame.sample_rate)
        found: list[_Sound] = []
        if format_ != self._format:
            found = self._flushed()
            self._format = format_
            self._resampler = AudioResampler(format="fltp", layout=self._layout, rate=self._rate)
        frame.pts = None  # the resampler is to count samples, not to mend timestamps
        assert self._resampler is not None
        return found + _arrays(self._resampler, frame)

    def _flushed(self) -> list[_Sound]:
        return [] if self._resampler is None else _arrays(self._resampler, None)


def _arrays(resampler: AudioResampler, frame: AudioFrame | None) -> list[_Sound]:
    try:
        return [piece.to_ndarray() for piece in resampler.resample(frame)]
    except MemoryError:
        raise
    except FFmpegError:
        return []  # damaged sound is skipped
