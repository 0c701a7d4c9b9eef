"""Sound files: what one is, told by its first sound and by reading to the end; and its samples."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition

from telecine.media.child import audio
from telecine.media.child.reader import (
    BUSY,
    Answer,
    Refused,
    Timeline,
    What,
    audio_stream,
    codec_name,
    opened,
    start_seconds,
)

_SOUND = What(
    "sound",
    "wav,mp3,flac,ogg,aac,aiff,mov,matroska",
    "sound that can be read: neither wav, mp3, flac, ogg, opus, m4a, aac nor aiff",
)
_MIMES = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "webm": "audio/webm",
}
_MAX_PACKETS = 5_000_000  # a day of sound
_TRIES = 500  # packets that may go by before the first sound must have come


def look(path: str) -> Iterator[Answer]:
    """One {"sound": {...}} with the fields of `pool.AudioProbe`. Raises Refused."""
    with opened(path, _SOUND) as container:
        stream = _only_sound(container)
        walk = _Walk(container, stream)
        yield from walk.to_the_end()
        format_ = _format(container, stream)
        seconds, warnings = walk.seconds()
        facts = {
            "format": format_,
            "mime": _MIMES[format_],
            "seconds": seconds,
            "codec": codec_name(stream),
            "warnings": warnings,
        }
        yield {"sound": facts}, b""


def read(path: str) -> Iterator[Answer]:
    """Chunks of a second, as those of a video's sound."""
    return audio.read(path, _SOUND)


def _only_sound(container: InputContainer) -> AudioStream:
    pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if pictures:
        raise Refused(
            "The file is a video, not a sound file: send it as a video, or its sound alone"
        )
    stream = audio_stream(container)
    if stream is None:
        raise Refused("The file has no sound that can be decoded")
    return stream


def _format(container: InputContainer, stream: AudioStream) -> str:
    names = container.format.name.split(",")
    if "mov" in names:
        return "m4a"
    if "matroska" in names:
        return "webm"
    return "opus" if names[0] == "ogg" and codec_name(stream) == "opus" else names[0]


class _Walk:
    """Reads every packet, and decodes until the first sound came."""

    def __init__(self, container: InputContainer, stream: AudioStream) -> None:
        self._container = container
        self._stream = stream
        self._end = 0.0
        self._is_complete = False

    def to_the_end(self) -> Iterator[Answer]:
        """Raises Refused when no sound comes."""
        timeline = Timeline(start_seconds(self._container))
        is_audible = False
        try:
            for count, packet in enumerate(self._container.demux(self._stream)):
                if not is_audible:
                    is_audible = self._sounds(packet)
                    if count >= _TRIES and not is_audible:
                        break
                if count >= _MAX_PACKETS:
                    return
                if packet.size:
                    base = packet.time_base
                    pts = packet.pts if packet.pts is not None else packet.dts
                    lasts = max(0.0, float((packet.duration or 0) * base))
                    now = timeline.at(None if pts is None else float(pts * base), step=lasts)
                    self._end = max(self._end, now + lasts)
                yield BUSY
            self._is_complete = True
        except MemoryError:
            raise
        except FFmpegError:
            self._is_complete = True  # it cannot be read further, which is its end
        if not is_audible:
            raise Refused(f"The file's sound ({codec_name(self._stream)}) cannot be decoded")

    def seconds(self) -> tuple[float | None, list[str]]:
        """What there is to hear, and a warning where the header says more."""
        header = round((self._container.duration or 0) / av.time_base, 3)
        measured = round(self._end, 3)
        if not self._is_complete or not measured:
            return max(header, measured) or None, []
        if measured < header - max(0.5, 0.02 * header):
            says = f"the sound ends at {measured:g} s though its header says {header:g} s"
            return measured, [f"{says}: it was cut off"]
        return measured, []

    def _sounds(self, packet: Packet[AudioStream]) -> bool:
        try:
            frames = self._stream.codec_context.decode(packet)
        except MemoryError:
            raise
        except FFmpegError:
            return False
        return any(frame.sample_rate in audio.RATES for frame in frames)
