"""What the first bytes of a file say it is. Pure: bytes in, words out."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import BinaryIO, Literal

HEAD_BYTES = 4096
_MAX_BOXES = 10_000

Wanted = Literal["video", "image", "sound"]

_NOUNS: Mapping[Wanted, str] = {
    "video": "a video",
    "image": "an image",
    "sound": "a sound file",
}

_SIGNS: tuple[tuple[bytes, str, Wanted | None], ...] = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image", "image"),
    (b"\xff\xd8\xff", "a JPEG image", "image"),
    (b"GIF87a", "a GIF image", "image"),
    (b"GIF89a", "a GIF image", "image"),
    (b"BM", "a BMP image", "image"),
    (b"II*\x00", "a TIFF image", "image"),
    (b"MM\x00*", "a TIFF image", "image"),
    (b"8BPS", "a Photoshop image", "image"),
    (b"%PDF-", "a PDF document", None),
    (b"PK\x03\x04", "a ZIP archive (or an office document)", None),
    (b"\x1f\x8b", "a gzip archive", None),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", None),
    (b"Rar!\x1a\x07", "a RAR archive", None),
    (b"\x7fELF", "a program", None),
    (b"MZ", "a program", None),
    (b"ID3", "an MP3 sound file", "sound"),
    (b"fLaC", "a FLAC sound file", "sound"),
)
_PLAYLISTS = (
    ("#extm3u", "an HLS playlist"),
    ("ffconcat", "a concat list"),
    ("v=0", "a session description (SDP)"),
    ("[playlist]", "a playlist"),
)
_IMAGE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
_BOXES_BEFORE_INDEX = (b"ftyp", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid")

_MIMES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "3gp": "video/3gpp",
    "webm": "video/webm",
    "matroska": "video/x-matroska",
    "mpeg": "video/mpeg",
    "mpegts": "video/mp2t",
    "mpegvideo": "video/mpeg",
    "avi": "video/x-msvideo",
    "asf": "video/x-ms-wmv",
    "flv": "video/x-flv",
    "ogg": "video/ogg",
    "mxf": "application/mxf",
    "ivf": "video/x-ivf",
}


def refusal(head: bytes, wanted: Wanted = "video") -> str | None:
    """Why bytes that begin so cannot be what is wanted, as a sentence; None when they might be."""
    if not head:
        return "The file is empty (0 bytes): its download or upload carried nothing"
    noun = _NOUNS[wanted]
    what, kind = _kind(head)
    if what and kind != wanted:
        return f"The file is {what}, not {noun}"
    text = None if what else _text(head)
    if text is None:
        return None
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith(("<!doctype html", "<html")) or "<html" in start:
        return (
            f"The file is an HTML page, not {noun}: "
            f"give the address of the {wanted} itself, not of a page that shows it"
        )
    for sign, playlist in _PLAYLISTS:
        if start.startswith(sign):
            return f"The file is {playlist}, which only names files kept elsewhere: send {noun}"
    if "<mpd" in start:
        return f"The file is a DASH manifest, which only names files kept elsewhere: send {noun}"
    if start.startswith("<"):
        return f"The file is XML text, not {noun}"
    if start.startswith(("{", "[")):
        return f"The file is JSON text, not {noun}"
    return f"The file is plain text, not {noun}"


def name(format_name: str, head: bytes) -> str:
    """mp4, mov, webm, mpeg, or the short name that FFmpeg has for it."""
    if "mp4" in format_name:
        brand = head[8:12] if head[4:8] == b"ftyp" else b"qt  "
        if brand == b"qt  ":
            return "mov"
        return "3gp" if brand.startswith(b"3g") else "mp4"
    if "matroska" in format_name:
        return "webm" if _doctype(head) == b"webm" else "matroska"
    return format_name.partition(",")[0]


def mime(container: str) -> str:
    return _MIMES.get(container, f"video/x-{container}")


def lacks_index(file: BinaryIO) -> bool:
    """Whether it is an mp4 or mov whose moov box never came: boxes to the end, but not that one."""
    position = 0
    for _ in range(_MAX_BOXES):
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head[:8])
        if kind == b"moov" or (position == 0 and kind not in _BOXES_BEFORE_INDEX):
            return False
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        if length < 8:
            break
        position += length
    return position > 0


def _kind(head: bytes) -> tuple[str, Wanted | None]:
    """What it is and of which kind; no word for what might be a video."""
    for sign, what, kind in _SIGNS:
        if head.startswith(sign):
            return what, kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP image", "image"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "a WAV sound file", "sound"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "an AIFF sound file", "sound"
    if head[4:8] == b"ftyp" and head[8:12] in _IMAGE_BRANDS:
        return "a HEIF or AVIF image", "image"
    return "", None


def _text(head: bytes) -> str | None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace")
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < HEAD_BYTES - 4:
            return None
        text = head[: error.start].decode()  # a character cut in two where the head ends
    return text if all(c.isprintable() or c in "\t\r\n\f\ufeff" for c in text) else None


def _doctype(head: bytes) -> bytes:
    """The DocType of an EBML header: id 0x4282, a length in one byte, the word."""
    at = head.find(b"\x42\x82", 0, 256)
    if at < 0 or len(head) < at + 3:
        return b""
    length = head[at + 2] & 0x7F
    return head[at + 3 : at + 3 + length].rstrip(b"\x00")
