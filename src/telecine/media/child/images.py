"""Images: what one is, told by its first frame, and its picture."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
from av.error import FFmpegError
from av.video.frame import VideoFrame

from telecine.media.child import signature
from telecine.media.child.reader import MAX_PIXELS, MAX_SIDE, Answer, Refused

_FORMATS = (
    (b"\x89PNG\r\n\x1a\n", "png", "png_pipe"),
    (b"\xff\xd8\xff", "jpeg", "jpeg_pipe"),
    (b"GIF8", "gif", "gif"),
    (b"RIFF", "webp", "webp_pipe"),
)
_IS_ANIMATED = 0x02
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def look(path: str) -> Iterator[Answer]:
    """One {"image": {...}} with the fields of `pool.ImageProbe`. Raises Refused."""
    format_, frame = _first_frame(path)
    facts = {
        "format": format_,
        "mime": f"image/{format_}",
        "width": frame.width,
        "height": frame.height,
    }
    yield {"image": facts}, b""


def read(path: str, *, max_side: int) -> Iterator[Answer]:
    """One {"picture": {...}} with its pixels, upright. Raises Refused."""
    # NumPy costs a probing process 25 MB that it has no use for: it comes with the pictures.
    from telecine.media.child.frames import scaled

    _, frame = _first_frame(path)
    width, height, rgb = scaled(frame, max_side)
    yield {"picture": {"width": width, "height": height}}, rgb


def _first_frame(path: str) -> tuple[str, VideoFrame]:
    """The format, and the first frame, really decoded: later frames of an animation are not looked
    at."""
    with os.fdopen(os.open(path, os.O_RDONLY), "rb") as file:
        head = file.read(signature.HEAD_BYTES)
        if reason := signature.refusal(head, "image"):
            raise Refused(reason)
        format_, reader = _format(head)
        if format_ == "webp" and head[12:16] == b"VP8X" and head[20] & _IS_ANIMATED:
            raise Refused(
                "The webp image is animated, which is not taken: send one of its pictures"
            )
        _refuse_bomb(format_, head, file)
        file.seek(0)
        av.logging.set_level(None)
        try:
            frame = _decoded(file, reader)
        except MemoryError:
            raise
        except (FFmpegError, ValueError, OSError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise Refused(f"The {format_} image cannot be decoded: {reason}") from error
        if frame is None:
            raise Refused(f"The {format_} image cannot be decoded: it is damaged or cut off")
        return format_, frame


def _decoded(file: BinaryIO, reader: str) -> VideoFrame | None:
    options = {"max_pixels": str(MAX_PIXELS)}
    with av.open(file, "r", format=reader, options=options, metadata_errors="replace") as container:
        stream = container.streams.video[0]
        stream.codec_context.options = options
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            return frame
    return None


def _format(head: bytes) -> tuple[str, str]:
    for sign, format_, reader in _FORMATS:
        if head.startswith(sign) and (format_ != "webp" or head[8:12] == b"WEBP"):
            return format_, reader
    raise Refused("The file is no image of a kind that is taken: convert it to png or jpeg")


def _refuse_bomb(format_: str, head: bytes, file: BinaryIO) -> None:
    """What its header claims is judged before a byte of it is decoded."""
    width, height = _claimed(format_, head, file) or (0, 0)
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise Refused(f"The file claims a picture of {width}x{height} pixels: too large to decode")


def _claimed(format_: str, head: bytes, file: BinaryIO) -> tuple[int, int] | None:
    """Width and height by the header; None when it does not tell."""
    match format_:
        case "png" if len(head) >= 24:
            return struct.unpack(">II", head[16:24])
        case "gif" if len(head) >= 10:
            return struct.unpack("<HH", head[6:10])
        case "webp" if len(head) >= 30:
            return _claimed_by_webp(head)
        case "jpeg":
            return _claimed_by_jpeg(file)
    return None


def _claimed_by_webp(head: bytes) -> tuple[int, int] | None:
    match head[12:16]:
        case b"VP8X":
            return (
                1 + int.from_bytes(head[24:27], "little"),
                1 + int.from_bytes(head[27:30], "little"),
            )
        case b"VP8 ":
            width, height = struct.unpack("<HH", head[26:30])
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def _claimed_by_jpeg(file: BinaryIO) -> tuple[int, int] | None:
    """From its frame header, which may come after a thumbnail and other baggage."""
    position = 2
    for _ in range(1000):
        file.seek(position)
        head = file.read(9)
        if len(head) < 9 or head[0] != 0xFF:
            return None
        if head[1] in _JPEG_SIZES:
            height, width = struct.unpack(">HH", head[5:9])
            return width, height
        length: Any = struct.unpack(">H", head[2:4])[0]
        position += 1 if head[1] == 0xFF else 2 + length
    return None
