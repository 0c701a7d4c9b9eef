"""Opening a stranger's file, and reading it as far as it can be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from telecine.media.child import signature

Answer = tuple[dict[str, Any], bytes]
_Frame = VideoFrame | AudioFrame
BUSY: Answer = ({"busy": True}, b"")

# What a camera, a phone, a screen recorder or a browser writes. None of these names other files;
# playlists (hls, dash, concat), devices, image sequences and subtitles are left out.
_FORMATS = "mov,matroska,mpeg,mpegts,mpegvideo,avi,asf,flv,ogg,mxf,ivf"
MAX_SIDE = 16_384
MAX_PIXELS = 8192 * 8192
_MAX_THREADS = 4
_INDEXED = ("mov", "matroska")
_MARGIN_SECONDS = 0.5  # an index tells when pictures are decoded, not when they are shown
_BUFFER_BYTES = 256 * 1024


class Refused(Exception):
    """The file cannot be used; the message is a sentence for the one who sent it."""


class What(NamedTuple):
    """What a file is opened as: the formats that FFmpeg may try, and how others are refused."""

    wanted: signature.Wanted
    formats: str
    known: str


VIDEO = What("video", _FORMATS, "a video that can be read: neither mp4, mov, webm nor mpeg")


@contextmanager
def opened(path: str, what: What = VIDEO) -> Iterator[InputContainer]:
    """The container in `path`. FFmpeg reads it through our file object and can open nothing else.

    Raises Refused.
    """
    # A file made from a descriptor has no name, so that nothing is told by the name.
    with os.fdopen(os.open(path, os.O_RDONLY), "rb", _BUFFER_BYTES) as file:
        head = file.read(signature.HEAD_BYTES)
        if reason := signature.refusal(head, what.wanted):
            raise Refused(reason)
        if signature.lacks_index(file):
            raise Refused(
                "The file's index (moov) is missing: it was cut off before its end was written"
            )
        file.seek(0)
        av.logging.set_level(None)
        try:
            container = av.open(
                file,
                "r",
                buffer_size=_BUFFER_BYTES,
                metadata_errors="replace",
                options={"max_pixels": str(MAX_PIXELS)},
                container_options={"format_whitelist": what.formats, "protocol_whitelist": "none"},
                io_open=_open_nothing,
            )
        except MemoryError:
            raise
        except (FFmpegError, ValueError, OSError) as error:
            raise Refused(
                f"The file is not {what.known}, or damaged at its start ({_reason(error)})"
            ) from error
        with container:
            yield container


def head_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(signature.HEAD_BYTES)


def video_stream(container: InputContainer) -> VideoStream:
    """The default video stream, set up to decode; a cover picture is none. Raises Refused."""
    found = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not found:
        audio = ", ".join(_codec(s) for s in container.streams.audio)
        raise Refused(
            f"The file has no video stream, only sound ({audio})"
            if audio
            else "The file has no video stream"
        )
    best = container.streams.best("video")
    stream = next((s for s in found if best is not None and s.index == best.index), found[0])
    if not _has_decoder(stream):
        raise Refused("The file's video cannot be decoded: its codec is unknown here")
    width, height = stream.width, stream.height
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise Refused(f"The file claims a picture of {width}x{height} pixels: too large to decode")
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    stream.codec_context.thread_count = min(_MAX_THREADS, os.cpu_count() or 1)
    stream.thread_type = "AUTO"
    return stream


def audio_stream(container: InputContainer) -> AudioStream | None:
    """The default audio stream, if there is one that a decoder exists for."""
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream) or not _has_decoder(stream):
        return None
    return stream


def codec_name(stream: VideoStream | AudioStream) -> str:
    """What it is encoded in (av1), not what decodes it (libdav1d)."""
    return str(stream.codec.canonical_name)


def start_seconds(container: InputContainer) -> float:
    """The time that the file gives to its earliest frame or sample, which is 0 in the clip."""
    return (container.start_time or 0) / av.time_base


def decoded(
    container: InputContainer,
    *streams: VideoStream | AudioStream,
    before: Callable[[Packet[Any]], None] | None = None,
) -> Iterator[VideoFrame | AudioFrame | None]:
    """Whatever of `streams` decodes, in order; None for every packet read, as a sign of life.
    `before` is told of each before it is decoded.

    Damaged packets are skipped, and a read error is the end. Raises MemoryError only.
    """
    wanted = {stream.index: stream for stream in streams}
    for other in container.streams:
        other.discard = Discard.default if other.index in wanted else Discard.all
    try:
        for packet in container.demux(*streams):
            yield None
            if before is not None:
                before(packet)
            yield from _frames(wanted[packet.stream.index], packet)  # the index of a last one is 0
        return
    except MemoryError:
        raise
    except FFmpegError:
        pass
    # The file broke off: what the decoders' threads still hold is good.
    for stream in streams:
        yield from _frames(stream, None)


def is_indexed(container: InputContainer) -> bool:
    """Whether it is a file with an index, whose times go from its start to its end."""
    return any(name in container.format.name for name in _INDEXED)


def jump(container: InputContainer, stream: VideoStream, seconds: float, *, past: float) -> bool:
    """Go on reading at the last keyframe well before `seconds` of the clip, if the file's index has
    one after `past`; False: there is none, and nothing changed.

    Only of files that have an index of the whole, and whose times are what it says.
    """
    if not is_indexed(container) or stream.time_base is None:
        return False
    base, start = stream.time_base, start_seconds(container)
    if len(stream.index_entries) <= 1 and "matroska" in container.format.name and past <= 0:
        container.seek(0)  # that is when it looks for the index
    found = stream.index_entries.search_timestamp(int((seconds + start - _MARGIN_SECONDS) / base))
    if found <= 0:
        return False
    keyframe = stream.index_entries[found].timestamp
    if float(keyframe * base) - start <= past + _MARGIN_SECONDS:
        return False
    try:
        container.seek(keyframe, stream=stream)
    except FFmpegError:
        return False
    return True


class Timeline:
    """Seconds in the clip from a stream's timestamps; they never fall.

    A missing timestamp is guessed from the one before, and a stream that starts over (recordings
    joined together) goes on from where it was.
    """

    _RESTART_SECONDS = 1.0

    def __init__(self, start_seconds: float) -> None:
        self._start = start_seconds
        self._offset = 0.0
        self._last: float | None = None
        self._step = 0.0

    def at(self, seconds: float | None, *, step: float = 0.0) -> float:
        """The time in the clip of something stamped `seconds` that lasts `step`."""
        expected = 0.0 if self._last is None else self._last + self._step
        if seconds is None:
            now = expected
        else:
            now = seconds - self._start + self._offset
            if self._last is not None and now < self._last - self._RESTART_SECONDS:
                self._offset += expected - now
                now = expected
        now = max(now, 0.0 if self._last is None else self._last)
        self._last, self._step = now, step
        return now


def stamp(frame: VideoFrame | AudioFrame, stream: VideoStream | AudioStream) -> float | None:
    """The file's own time of a frame, if it has one."""
    pts = frame.pts if frame.pts is not None else frame.dts
    return None if pts is None or stream.time_base is None else float(pts * stream.time_base)


def _frames(stream: VideoStream | AudioStream, packet: Packet[Any] | None) -> Iterable[_Frame]:
    try:
        return stream.codec_context.decode(packet)
    except MemoryError:
        raise
    except FFmpegError:
        return ()


def _open_nothing(*_: object) -> NoReturn:
    raise PermissionError("a file may not open others")


def _codec(stream: AudioStream) -> str:
    return codec_name(stream) if _has_decoder(stream) else "unknown codec"


def _has_decoder(stream: VideoStream | AudioStream) -> bool:
    context: object = stream.codec_context  # typed as always there; it is None without a decoder
    return context is not None


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
