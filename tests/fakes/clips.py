"""Videos made on the spot, for what no small real clip shows. Uses PyAV in the test's own process."""

import struct
import zlib
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


STILLS = {
    "png": ("image2", "png", "rgb24"),
    "jpeg": ("image2", "mjpeg", "yuvj420p"),
    "gif": ("gif", "gif", "rgb8"),
    "webp": ("webp", "libwebp", "yuv420p"),
}
TONES = {
    "wav": ("wav", "pcm_s16le", 16_000),
    "mp3": ("mp3", "libmp3lame", 16_000),
    "flac": ("flac", "flac", 16_000),
    "ogg": ("ogg", "flac", 16_000),
    "opus": ("ogg", "libopus", 48_000),
    "m4a": ("ipod", "aac", 44_100),
    "aac": ("adts", "aac", 44_100),
    "aiff": ("aiff", "pcm_s16be", 16_000),
    "webm": ("webm", "libopus", 48_000),
}


def still(path, kind, *, width=64, height=48, colour=(200, 30, 60), pictures=1):
    """An image; with more than one picture it is animated."""
    container, codec, pix_fmt = STILLS[kind]
    if kind == "webp" and pictures > 1:
        codec = "libwebp_anim"
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=5)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        for number in range(pictures):
            shade = tuple(min(255, part + 20 * number) for part in colour)
            out.mux(stream.encode(picture(width, height, shade).reformat(format=pix_fmt)))
        out.mux(stream.encode(None))
    return path


def first_picture(path, video):
    """The first frame of a video as a PNG image."""
    with av.open(str(video)) as source:
        frame = next(source.decode(video=0)).reformat(format="rgb24")
    with av.open(str(path), "w", format="image2") as out:
        stream = out.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "rgb24"
        frame.pts = 0
        out.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def tone(path, kind, *, seconds=2.0):
    """A sound file: a sine of 440 Hz."""
    container, codec, rate = TONES[kind]
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout = "mono"
        times = np.arange(int(rate * seconds)) / rate
        samples = (np.sin(2 * np.pi * 440 * times) * 8000).astype(np.int16).reshape(1, -1)
        for start in range(0, samples.shape[1], 1024):
            piece = samples[:, start : start + 1024].copy()
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def png_claiming(path, width, height):
    """A small PNG file whose header promises that many pixels."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b""))
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


def late_sound(path, *, seconds, sound_from):
    """A grey video whose tone begins later than its pictures."""
    rate = 16_000
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream("aac", rate=rate, layout="mono")
        for number in range(10 * seconds):
            frame = picture(64, 48, 128).reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        count = round((seconds - sound_from) * rate)
        wave = np.sin(np.arange(count) * 440 * 2 * np.pi / rate).astype(np.float32) / 2
        tone = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        tone.sample_rate, tone.pts = rate, round(sound_from * rate)
        tone.time_base = Fraction(1, rate)
        out.mux(sound.encode(tone))
        out.mux(sound.encode(None))
    return path


def keyframes(path, source, *, every=10):
    """The pictures of another video, with a keyframe every so many."""
    with av.open(str(source)) as file, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"g": str(every)})
        for number, frame in enumerate(file.decode(video=0)):
            if number == 0:
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
