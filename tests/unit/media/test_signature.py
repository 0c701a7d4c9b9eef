import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.media.child import signature


def box(kind, body=b""):
    return struct.pack(">I4s", 8 + len(body), kind) + body


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf <!DOCTYPE html><html>", "HTML page"),
        (b"Not found\n", "plain text"),
        ("žluťoučký".encode(), "plain text"),
        (b'{"error": "expired"}', "JSON"),
        (b'<?xml version="1.0"?><Error/>', "XML"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd", "HLS playlist"),
        (b"ffconcat version 1.0\nfile x.mp4", "concat list"),
        (b'<?xml version="1.0"?><MPD></MPD>', "DASH manifest"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\n", "SDP"),
        (b"\x89PNG\r\n\x1a\n....", "PNG image"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "WebP image"),
        (box(b"ftyp", b"avif\x00\x00\x00\x00"), "AVIF image"),
        (b"%PDF-1.7", "PDF"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "WAV sound"),
    ],
)
def test_what_is_no_video_is_called_by_its_name(head, words):
    assert words in (signature.refusal(head) or "")


@pytest.mark.parametrize(
    "head",
    [
        box(b"ftyp", b"isom\x00\x00\x02\x00"),
        b"\x1aE\xdf\xa3\x93B\x82\x88matroska",
        b"\x00\x00\x01\xba\x21\x00\x01",
        b"G\x40\x11\x10\x00",
        b"RIFF\x00\x00\x00\x00AVI LIST",
    ],
)
def test_what_may_be_a_video_is_let_through(head):
    assert signature.refusal(head) is None


def test_text_is_told_although_its_last_character_is_cut_in_two():
    head = ("a" + "é" * signature.HEAD_BYTES).encode()[: signature.HEAD_BYTES]
    assert "plain text" in (signature.refusal(head) or "")


@pytest.mark.parametrize(
    ("ffmpeg", "head", "expected"),
    [
        ("mov,mp4,m4a,3gp,3g2,mj2", box(b"ftyp", b"isom"), "mp4"),
        ("mov,mp4,m4a,3gp,3g2,mj2", box(b"ftyp", b"qt  "), "mov"),
        ("mov,mp4,m4a,3gp,3g2,mj2", box(b"moov"), "mov"),
        ("mov,mp4,m4a,3gp,3g2,mj2", box(b"ftyp", b"3gp5"), "3gp"),
        ("matroska,webm", b"\x1aE\xdf\xa3\x93B\x82\x84webm", "webm"),
        ("matroska,webm", b"\x1aE\xdf\xa3\x93B\x82\x88matroska", "matroska"),
        ("matroska,webm", b"\x1aE\xdf\xa3", "matroska"),
        ("mpeg", b"", "mpeg"),
        ("mpegts", b"", "mpegts"),
        ("avi", b"", "avi"),
    ],
)
def test_containers_have_one_name_each(ffmpeg, head, expected):
    assert signature.name(ffmpeg, head) == expected


@pytest.mark.parametrize(
    ("content", "lacks"),
    [
        (box(b"ftyp", b"isom") + box(b"mdat", b"x" * 50), True),
        (box(b"ftyp", b"isom") + struct.pack(">I4s", 5000, b"mdat") + b"cut off", True),
        (box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"mdat", 1 << 40) + b"x", True),
        (box(b"mdat", b"x") + box(b"moov"), False),
        (box(b"ftyp", b"isom") + box(b"moov") + box(b"mdat"), False),
        (b"\x1aE\xdf\xa3 another container", False),
        (b"", False),
    ],
)
def test_an_mp4_without_its_index_is_told_from_its_boxes(content, lacks):
    assert signature.lacks_index(io.BytesIO(content)) is lacks


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reading(content):
    signature.refusal(content)
    signature.name("matroska,webm", content)
    signature.name("mov,mp4", content)
    signature.lacks_index(io.BytesIO(content))
