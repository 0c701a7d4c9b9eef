"""What the first bytes of a file say it is. Pure: bytes in, words out."""

from __future__ import annotations

import struct
from typing import BinaryIO

HEAD_BYTES = 4096
_MAX_BOXES = 10_000

_NOT_VIDEO = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"8BPS", "a Photoshop image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive (or an office document)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"ID3", "an MP3 sound file"),
    (b"fLaC", "a FLAC sound file"),
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


def refusal(head: bytes) -> str | None:
    """Why bytes that begin so cannot be a video, as a sentence; None when they might be."""
    if not head:
        return "The file is empty (0 bytes): its download or upload carried nothing"
    if what := _kind(head):
        return f"The file is {what}, not a video"
    text = _text(head)
    if text is None:
        return None
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith(("<!doctype html", "<html")) or "<html" in start:
        return (
            "The file is an HTML page, not a video: "
            "give the address of the video itself, not of a page that shows it"
        )
    for sign, what in _PLAYLISTS:
        if start.startswith(sign):
            return f"The file is {what}, which only names videos kept elsewhere: send the video"
    if "<mpd" in start:
        return "The file is a DASH manifest, which only names videos kept elsewhere: send the video"
    if start.startswith("<"):
        return "The file is XML text, not a video"
    if start.startswith(("{", "[")):
        return "The file is JSON text, not a video"
    return "The file is plain text, not a video"


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


def _kind(head: bytes) -> str | None:
    for sign, what in _NOT_VIDEO:
        if head.startswith(sign):
            return what
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP image"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "a WAV sound file"
    if head[4:8] == b"ftyp" and head[8:12] in _IMAGE_BRANDS:
        return "a HEIF or AVIF image"
    return None


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
