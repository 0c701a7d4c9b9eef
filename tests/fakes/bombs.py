"""Small files that ask for much: of memory, of time, of depth. Made on the spot, never kept."""

import struct
import zlib
from fractions import Fraction
from functools import cache

import av
from tests.fakes.clips import box, boxes, replace_box

# ---------------------------------------------------------------- images


def chunk(kind, data=b""):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *, rows=None, extra=b""):
    """A black picture; `rows`: how many of its rows are really there."""
    packer = zlib.compressobj(1)
    line = bytes(1 + 3 * width)
    body = b"".join(packer.compress(line) for _ in range(height if rows is None else rows))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    image = chunk(b"IHDR", head) + extra + chunk(b"IDAT", body + packer.flush()) + chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + image


def deflated(size):
    """So many zeros, packed."""
    packer = zlib.compressobj(1)
    piece = bytes(2**20)
    return b"".join(packer.compress(piece) for _ in range(size // 2**20)) + packer.flush()


def png_text_bomb():
    return png(8, 8, extra=chunk(b"zTXt", b"Comment\0\0" + deflated(2**28)))


def png_profile_bomb():
    return png(8, 8, extra=chunk(b"iCCP", b"profile\0\0" + deflated(2**28)))


def apng(frames):
    """Says that it has so many frames, and has one."""
    return png(8, 8, extra=chunk(b"acTL", struct.pack(">II", frames, 0)))


def gif(width, height, *, frames=1):
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return screen + frame * frames + b"\x3b"


def jpeg(width, height):
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes.fromhex("012200021101031101")
    return b"\xff\xd8\xff\xc0" + frame + b"\xff\xd9"


def webp(width, height):
    """The extended form, whose canvas may have 16777216 pixels on a side."""
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


# ---------------------------------------------------------------- sound


def crc(data, polynomial, bits):
    table, mask = crc_table(polynomial, bits), (1 << bits) - 1
    register = 0
    for byte in data:
        register = (register << 8 & mask) ^ table[(register >> bits - 8) ^ byte]
    return register


@cache
def crc_table(polynomial, bits):
    table = []
    for byte in range(256):
        register = byte << bits - 8
        for _ in range(8):
            register = register << 1 ^ (polynomial if register >> bits - 1 else 0)
        table.append(register & (1 << bits) - 1)
    return table


def flac(samples, *, rate=16_000):
    """Silence: 65,536 samples of it are 14 bytes."""
    block, packed = 65535, rate << 44 | 15 << 36
    info = struct.pack(">HH", block, block) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    frames = []
    for number in range(samples // block):
        name = chr(number).encode("utf-8", "surrogatepass")
        head = b"\xff\xf8\x75\x08" + name + struct.pack(">H", block - 1)
        frame = head + bytes([crc(head, 0x07, 8)]) + bytes(3)
        frames.append(frame + struct.pack(">H", crc(frame, 0x8005, 16)))
    return b"fLaC\x80\x00\x00\x22" + info + b"".join(frames)


def wav(*, channels=1, rate=16_000, claims=0xFFFFFFF0, content=bytes(3200)):
    form = struct.pack(
        "<HHIIHH", 1, channels, rate, rate * 2 & 0xFFFFFFFF, channels * 2 & 0xFFFF, 16
    )
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", claims)
    return b"RIFF" + struct.pack("<I", 0xFFFFFFF8) + body + content


def id3_bomb():
    """A tag that claims 256 MB, with a packed frame in it."""
    frame = b"COMM" + struct.pack(">I", 2**27) + b"\x00\xc0" + deflated(2**26)
    return b"ID3\x04\x00\x80\x7f\x7f\x7f\x7f" + frame


# ---------------------------------------------------------------- video


def video(path, packets, *, codec="png", width=64, height=48, rate=25, container="mov", streams=1):
    """A file of these packets as they are, whatever its header says about them."""
    pix_fmt = {"png": "rgb24", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    with av.open(str(path), "w", format=container) as out:
        made = [out.add_stream(codec, rate=rate) for _ in range(streams)]
        for stream in made:
            stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        for index, data in enumerate(packets):
            packet = av.Packet(data)
            packet.stream, packet.time_base = made[index % streams], Fraction(1, rate)
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            out.mux(packet)
    return path


def nested(kind, depth):
    """One box in the other. Sizes are the outer ones' first, so this is made from the inside."""
    content = b""
    for _ in range(depth):
        content = struct.pack(">I4s", 8 + len(content), kind) + content
    return content


def matroska(body):
    """A Segment of unknown size behind a header."""
    head = bytes.fromhex(
        "1a45dfa39f4286810142f7810142f2810442f381084282847765626d42878104428581 02"
    )
    return head + bytes.fromhex("1853806701ffffffffffffff") + body


def deep_tags(depth):
    content = b""
    for _ in range(depth):
        content = b"\x67\xc8" + ebml_size(len(content)) + content
    tag = b"\x73\x73" + ebml_size(len(content)) + content
    return matroska(b"\x12\x54\xc3\x67" + ebml_size(len(tag)) + tag)


def ebml_size(length):
    return (1 << 56 | length).to_bytes(8, "big")


def deep_metadata(depth):
    """FLV whose script data is an object in an object in an object."""
    data = b"\x02\x00\x0aonMetaData" + b"\x03\x00\x01a" * depth
    tag = b"\x12" + len(data).to_bytes(3, "big") + bytes(7) + data
    return b"FLV\x01\x05\x00\x00\x00\x09" + bytes(4) + tag + struct.pack(">I", len(tag))


def patched(clip, kind, offset, value):
    """`clip` with the first box of this kind changed, `offset` bytes into its body."""
    at = clip.index(kind) + 4 + offset
    return clip[:at] + value + clip[at + len(value) :]


STBL = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
MOST = struct.pack(">I", 0xFFFFFFFF)


def sizes(clip, size, count):
    """`clip` with an index of `count` samples of `size` bytes each."""
    body = struct.pack(">III", 0, size, count)
    return replace_box(clip, (*STBL, b"stsz"), body)


def times(clip, count, step):
    return replace_box(clip, (*STBL, b"stts"), struct.pack(">IIII", 0, 1, count, step))


def edits(clip, count):
    entry = struct.pack(">IiHH", 0x7FFFFFFF, 0, 1, 0)
    table = box(b"edts", box(b"elst", struct.pack(">II", 0, count), entry * min(count, 10_000)))
    made = b""
    for kind, body in boxes(clip):
        if kind == b"moov":
            inner = [box(k, b if k != b"trak" else b + table) for k, b in boxes(body)]
            made += box(kind, *inner)
        else:
            made += box(kind, body)
    return made


# Each of the three gives bytes by name. `many`: how many frames and samples "very many" are.


def images(many):
    return {
        "png of 30000x30000": png(30_000, 30_000, rows=10),
        "png of 2^31": claims_png(2**31 - 1),
        "png with all its pixels": png(8_192, 8_192),
        "png with packed text": png_text_bomb(),
        "png with a packed profile": png_profile_bomb(),
        "png of a billion frames": apng(10**9),
        "gif of 65535x65535": gif(65_535, 65_535),
        "gif of very many frames": gif(1, 1, frames=many),
        "jpeg of 65500x65500": jpeg(65_500, 65_500),
        "webp of 16777216x16777216": webp(1 << 24, 1 << 24),
        "webp of 16384x16384": webp(16_384, 16_384),
    }


def claims_png(side):
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", deflated(2**20))
        + chunk(b"IEND")
    )


def sounds(many):
    return {
        "flac of very many samples": flac(many * 10_000),
        "wav that claims 4 GB": wav(),
        "wav of 65535 channels": wav(channels=65_535),
        "wav at 4 GHz": wav(rate=0xFFFFFFFF),
        "wav at 0 Hz": wav(rate=0),
        "mp3 with a tag of 256 MB": id3_bomb(),
    }


def videos(many, folder, clip):
    """`clip`: a good mp4, to be spoiled."""

    def made(name, *args, **kwargs):
        return video(folder / name, *args, **kwargs).read_bytes()

    tiny, large = png(1, 1), png(8_192, 8_192)
    return {
        "a frame of 64 megapixels": made("large.mov", [large] * 3, width=8_192, height=8_192),
        "a frame larger than its header": made("larger.mov", [large] * 3, width=1, height=1),
        "a frame that is too large": made("too-large.mov", [claims_png(30_000)] * 3),
        "a small frame, then large ones": made("grows.mov", [tiny, *[large] * 5]),
        "packed text in every frame": made("text.mov", [png_text_bomb()] * 2),
        "very many frames": made("many.mov", [tiny] * many, width=1, height=1),
        "300 streams": made("streams.mov", [tiny] * 600, width=1, height=1, streams=300),
        "boxes 20000 deep": clip[:32] + nested(b"moov", 20_000),
        "tracks 5000 deep": clip[:32] + box(b"moov", nested(b"trak", 5_000)),
        "tags 3000 deep": deep_tags(3_000),
        "metadata 100000 deep": deep_metadata(100_000),
        "an index of 2^30 samples": sizes(clip, 1, 2**30),
        "an index of 2^32 samples": sizes(clip, 0, 0xFFFFFFFF),
        "samples of 4 GB": sizes(clip, 0xFFFFFFFF, 100),
        "times of 2^32 samples": times(clip, 0xFFFFFFFF, 1),
        "a sample that lasts 2^32 ticks": times(clip, 250, 0xFFFFFFFF),
        "a million edits": edits(clip, 1_000_000),
        "duration of the header": patched(clip, b"mvhd", 16, MOST),
        "a clock without ticks": patched(clip, b"mdhd", 12, bytes(4)),
        "a chunk of 2^32 samples": patched(clip, b"stsc", 12, MOST),
        "chunks at 2^32": patched(clip, b"stco", 8, MOST * 4),
        "a segment without end": matroska(
            b"\x1f\x43\xb6\x75\x01" + b"\xff" * 7 + b"\xec\x81\x00" * 10**5
        ),
        "program stream of packs": b"\x00\x00\x01\xba"
        + (b"\x44" + bytes(9) + b"\x00\x00\x01\xba") * 10**5,
        "ogg pages that never end": (b"OggS" + bytes(22) + b"\xff" + b"\xff" * 255) * 2_000,
        "zeros": bytes(3_000_000),
    }
