"""What a video is: told from its header, its first frame, and by reading it to the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from telecine.media.child import signature
from telecine.media.child.reader import (
    BUSY,
    Answer,
    Refused,
    Timeline,
    audio_stream,
    codec_name,
    head_of,
    opened,
    start_seconds,
    video_stream,
)

_MAX_PACKETS = 1_000_000  # ten hours of television
_TRIES = 500  # packets that may go by before the first frame must have come
_MAX_FPS = 1_000


def look(path: str) -> Iterator[Answer]:
    """One {"probe": {...}} with the fields of `pool.Probe`. Raises Refused, with the reason."""
    with opened(path) as container:
        video = video_stream(container)
        audio = audio_stream(container)
        # One frame is wanted at once: frame threads would first want several packets each.
        video.thread_type = "SLICE"
        walk = _Walk(container, video, audio)
        yield from walk.to_the_end()
        if walk.picture is None:
            raise Refused(walk.why_no_picture())
        container_name = signature.name(container.format.name, head_of(path))
        yield {"probe": _facts(container, container_name, walk)}, b""


def _facts(container: InputContainer, name: str, walk: _Walk) -> dict[str, Any]:
    assert walk.picture
    seconds, warnings = _seconds(container, walk)
    width, height, rotation = walk.picture
    if rotation % 180:
        width, height = height, width
    return {
        "container": name,
        "mime": signature.mime(name),
        "seconds": seconds,
        "width": width,
        "height": height,
        "fps": _fps(walk, seconds),
        "rotation": rotation,
        "video_codec": codec_name(walk.video),
        "audio_codec": codec_name(walk.audio) if walk.audio and walk.is_audible else None,
        "warnings": [*warnings, *_stream_warnings(container, walk)],
    }


def _seconds(container: InputContainer, walk: _Walk) -> tuple[float | None, list[str]]:
    """What there is to see, and a warning where the header says otherwise."""
    header = max(0.0, round((container.duration or 0) / av.time_base, 3)) or None
    measured = round(walk.end, 3)
    if not walk.is_complete:
        if header is not None and header >= measured:
            return header, []
        return measured, [f"the video is longer than {measured:g} s: its end was not looked for"]
    if header is None:
        return measured or None, []
    # Rounding, and a last frame of unknown length, are no damage.
    slack = max(0.5, 0.02 * header, 2 * walk.longest_step)
    if measured < header - slack:
        return measured, [
            f"the video ends at {measured:g} s though its header says {header:g} s: it was cut off"
        ]
    if measured > header + slack:
        return measured, [f"the video lasts {measured:g} s though its header says {header:g} s"]
    return header, []


def _fps(walk: _Walk, seconds: float | None) -> float | None:
    for rate in (walk.video.average_rate, walk.video.guessed_rate):
        if rate and 0 < rate <= _MAX_FPS:
            return round(float(rate), 3)
    if walk.is_complete and seconds and walk.pictures / seconds <= _MAX_FPS:
        return round(walk.pictures / seconds, 3)
    return None


def _stream_warnings(container: InputContainer, walk: _Walk) -> list[str]:
    said = []
    pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    sounds = container.streams.audio
    if len(pictures) > 1:
        said.append(f"the file has {len(pictures)} video streams: the default one is looked at")
    if len(sounds) > 1:
        said.append(f"the file has {len(sounds)} sound tracks: the default one is listened to")
    if sounds and not walk.is_audible:
        codec = codec_name(walk.audio) if walk.audio else "unknown codec"
        said.append(f"the sound track ({codec}) cannot be decoded")
    if walk.damaged:
        said.append(f"damaged packets in the file: {walk.damaged}")
    return said


@dataclass(slots=True)
class _Walk:
    """Reads every packet, and decodes only until the first picture and the first sound came."""

    container: InputContainer
    video: VideoStream
    audio: AudioStream | None
    end: float = 0.0
    longest_step: float = 0.0
    pictures: int = 0
    damaged: int = 0
    is_complete: bool = False
    is_audible: bool = False
    picture: tuple[int, int, int] | None = None
    _is_encrypted: bool = False
    _error: str = ""
    _heard: int = 0
    _timelines: dict[int, Timeline] = field(default_factory=dict)
    _reached: dict[int, float] = field(default_factory=dict)
    _decoded: dict[int, tuple[int, int]] = field(default_factory=dict)

    def to_the_end(self) -> Iterator[Answer]:
        streams = [s for s in (self.video, self.audio) if s is not None]
        for stream in self.container.streams:
            stream.discard = Discard.all
        for stream in streams:
            stream.discard = Discard.default
            self._timelines[stream.index] = Timeline(start_seconds(self.container))
        try:
            for count, packet in enumerate(self.container.demux(*streams)):
                if count == _MAX_PACKETS:
                    return
                self._take(packet)
                if self.picture is None and self.pictures >= _TRIES:
                    return
                yield BUSY
        except MemoryError:
            raise
        except FFmpegError:
            pass  # it cannot be read further, which is its end
        self._first_picture(None)
        self.is_complete = True

    def why_no_picture(self) -> str:
        what = f"The file's video ({codec_name(self.video)})"
        if self._is_encrypted:
            return f"{what} is encrypted (DRM): send it unprotected"
        if not self.pictures:
            return f"{what} is empty: there is a header, and no picture after it"
        return f"{what} cannot be decoded" + (f": {self._error}" if self._error else "")

    def _take(self, packet: Packet[Any]) -> None:
        is_picture = packet.stream_index == self.video.index
        if packet.size:
            self._measure(packet)
            self.damaged += packet.is_corrupt
            self.pictures += is_picture
        if is_picture and self.picture is None:
            self._is_encrypted |= packet.has_sidedata("encryption_info")
            self._first_picture(packet)
        elif not is_picture and not self.is_audible and self._heard < _TRIES:
            self._heard += 1
            self._first_sound(packet)

    def _measure(self, packet: Packet[Any]) -> None:
        pts = self._shown(packet)
        base = packet.stream.time_base
        seconds = float(pts * base) if pts is not None and base else None
        lasts = float(packet.duration * base) if packet.duration and base else 0.0
        index = packet.stream_index
        now = self._timelines[index].at(seconds, step=max(0.0, lasts))
        self.longest_step = max(self.longest_step, now - self._reached.get(index, 0.0))
        self._reached[index] = now
        self.end = max(self.end, now + max(0.0, lasts))

    def _shown(self, packet: Packet[Any]) -> int | None:
        """The time of a packet, or of one before it: packets come in the order in which they are
        decoded. One that is shown earlier than another is no new start while `dts` goes on."""
        pts, dts = packet.pts, packet.dts
        if pts is None or dts is None:
            return pts if pts is not None else dts
        last_dts, last_pts = self._decoded.get(packet.stream_index, (dts, pts))
        shown = max(pts, last_pts) if dts >= last_dts else pts
        self._decoded[packet.stream_index] = dts, shown
        return shown

    def _first_picture(self, packet: Packet[Any] | None) -> None:
        if self.picture is not None:
            return
        try:
            frames = self.video.codec_context.decode(packet)
        except MemoryError:
            raise
        except FFmpegError as error:
            if packet is not None and packet.size:
                self._error = (error.strerror or "").lower()
            return
        for frame in frames:
            if frame.width and frame.height:
                rotation = round(frame.rotation / 90) * 90
                self.picture = (frame.width, frame.height, rotation)
                return

    def _first_sound(self, packet: Packet[Any]) -> None:
        assert self.audio
        try:
            self.is_audible = bool(self.audio.codec_context.decode(packet))
        except MemoryError:
            raise
        except FFmpegError:
            pass
