"""Videos made on the spot, for what no small real clip shows. Uses PyAV in the test's own process."""

import struct
from fractions import Fraction

import av
import numpy as np


def picture(width, height, colour):
    return av.VideoFrame.from_ndarray(
        np.full((height, width, 3), colour, dtype=np.uint8), format="rgb24"
    )


def write(path, frames, *, codec="libx264", rate=10, container=None, options=None, pix_fmt=None):
    """A video of `frames`: (pts in milliseconds, VideoFrame), each at its own time."""
    with av.open(str(path), "w", format=container) as out:
        stream = None
        for milliseconds, frame in frames:
            if stream is None:
                stream = out.add_stream(codec, rate=rate, options=options or {})
                stream.width, stream.height = frame.width, frame.height
                stream.pix_fmt = pix_fmt or "yuv420p"
                stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            converted = frame.reformat(format=stream.pix_fmt)
            converted.pts, converted.time_base = milliseconds, Fraction(1, 1000)
            out.mux(stream.encode(converted))
        out.mux(stream.encode(None))
    return path


def endless(path, *, width=3840, height=2160, count=400):
    """A long job in a small file: one large JPEG, `count` times."""
    with av.open(str(path), "w", format="mov") as out:
        stream = out.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        frame = picture(width, height, (90, 120, 60)).reformat(format="yuvj420p")
        frame.pts = 0
        data = bytes(next(iter((*stream.encode(frame), *stream.encode(None)))))
        for index in range(count):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            out.mux(packet)
    return path


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def boxes(content):
    """Top-level (kind, body) pairs of an mp4 or mov, or of one of its boxes' bodies."""
    found, at = [], 0
    while at + 8 <= len(content):
        size, kind = struct.unpack(">I4s", content[at : at + 8])
        found.append((kind, content[at + 8 : at + size]))
        at += size
    return found


def replace_box(content, path, body):
    """`content` with the first box at `path` (its kinds from the top) given another body."""
    made, done = b"", False
    for kind, old in boxes(content):
        if kind != path[0] or done:
            made += box(kind, old)
            continue
        made += box(kind, body if len(path) == 1 else replace_box(old, path[1:], body))
        done = True
    return made


def alias(target):
    """A QuickTime data reference that says: the samples are in the file `target`."""
    volume = b"\x01v" + b"\x00" * 26
    name = b"\x01f" + b"\x00" * 62
    head = b"\x00" * 10 + volume + b"\x00" * 12 + name + b"\x00" * 16
    levels = struct.pack(">hh", 1, 1) + b"\x00" * 16
    place = str(target).encode().replace(b"/", b":")
    place += b"\x00" * (len(place) % 2)
    return box(
        b"alis",
        b"\x00\x00\x00\x00",
        head,
        levels,
        struct.pack(">HH", 2, len(place)) + place,
        struct.pack(">HH", 0xFFFF, 0),
    )
