"""The scanner: bodies in chunks of any size, documents and decoded files out."""

import asyncio
import base64
import json
import random
import tracemalloc
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telecine.errors import InputError, LimitReached, PayloadTooLarge, TooLarge
from telecine.media.scan import decode_data_uri, read_json
from telecine.media.spool import Spool

BIG = 64 * 1024
MP4 = "data:video/mp4;base64,"


async def chunks_of(body, sizes):
    at = 0
    while at < len(body):
        size = next(sizes)
        yield body[at : at + size]
        at += size


def forever(size):
    while True:
        yield size


async def scan(
    folder,
    body,
    *,
    sizes=None,
    max_json_bytes=8 << 20,
    max_json_marks=400_000,
    max_file_bytes=1 << 30,
):
    """The document with bytes in place of placeholders, or what was raised; leaves no file."""
    limits = {"max_bytes_per_key": 1 << 30, "max_file_bytes": max_file_bytes}
    async with Spool(folder, **limits) as spool:
        chunks = chunks_of(body, sizes or forever(64 * 1024))
        try:
            scanned = await read_json(
                chunks,
                spool=spool,
                key_id="key",
                max_json_bytes=max_json_bytes,
                max_json_marks=max_json_marks,
            )
        except Exception:
            assert spool.used("key") == 0
            assert not [path for path in folder.rglob("*") if path.is_file()]
            raise
        document = filled(scanned.document, scanned.attachments)
        scanned.discard()
        assert spool.used("key") == 0
        assert not [path for path in folder.rglob("*") if path.is_file()]
        return document


def filled(node, attachments):
    if isinstance(node, dict):
        return {key: filled(value, attachments) for key, value in node.items()}
    if isinstance(node, list):
        return [filled(value, attachments) for value in node]
    if isinstance(node, str) and node in attachments:
        found = attachments[node]
        return found.problem or (found.content_type, found.path.read_bytes())
    return node


def problem_of(run, folder, body):
    with pytest.raises(InputError) as caught:
        run(scan(folder, body))
    (problem,) = caught.value.problems
    assert problem.type == "json_invalid"
    assert problem.msg == "JSON decode error"
    assert problem.loc[0] == "body"
    return problem.loc[1], problem.ctx["error"]


def in_document(run, folder, string):
    """What becomes of `string`, raw as it stands between quotes."""
    body = b'{"video_urls":["' + string.encode() + b'"]}'
    return run(scan(folder, body))["video_urls"][0]


# ---------------------------------------------------------------- any document, any chunks


@st.composite
def documents(draw):
    """A document, its JSON as some writer would put it, and what must come out of it."""
    spell = draw(
        st.sampled_from(
            [
                lambda text: text,
                lambda text: text.replace("/", "\\/"),
                lambda text: text.replace("+", "\\u002b").replace("/", "\\u002F"),
                lambda text: text.replace("+", "-").replace("/", "_"),
                lambda text: "\\r\\n".join(text[i : i + 76] for i in range(0, len(text), 76)),
                lambda text: text.rstrip("="),
            ]
        )
    )
    randomness = random.Random(draw(st.integers(0, 2**32)))
    videos: dict[str, tuple[str, bytes]] = {}
    spelled: dict[str, str] = {}

    def video(extra):
        data = randomness.randbytes(BIG * 3 // 4 + extra)
        name = f"@@{len(videos)}@@"
        videos[name] = ("video/mp4", data)
        spelled[name] = MP4 + spell(base64.b64encode(data).decode())
        return name

    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, width=32)
    plain = plain.filter(lambda value: value not in (float("inf"), float("-inf")))
    # surrogates cannot be said in UTF-8; "@" is left to the videos
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="@"))
    tree = draw(
        st.recursive(
            plain | text | st.integers(0, 99).map(video) | st.just("data:text/plain,short"),
            lambda inner: st.lists(inner) | st.dictionaries(text, inner),
            max_leaves=8,
        )
    )
    body = json.dumps(tree, ensure_ascii=draw(st.booleans()))
    for name, raw in spelled.items():
        body = body.replace(name, raw)
    return body.encode(), fill_in(tree, videos)


def fill_in(node, videos):
    if isinstance(node, dict):
        return {key: fill_in(value, videos) for key, value in node.items()}
    if isinstance(node, list):
        return [fill_in(value, videos) for value in node]
    return videos.get(node, node) if isinstance(node, str) else node


@settings(max_examples=60, deadline=None)
@given(documents(), st.integers(0, 2**32))
def test_any_document_in_any_chunks_is_read_as_json_reads_it(tmp_path_factory, document, seed):
    body, expected = document
    dice = random.Random(seed)
    sizes = iter(lambda: dice.choice((1, 2, 3, 5, 100, 4096, 65536, 200_000)), None)
    folder = tmp_path_factory.mktemp("spool")
    assert asyncio.run(scan(folder, body, sizes=sizes)) == expected


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text('{}[]"\\:,u0dtrue-1e. \n').map(str.encode))
def test_any_bytes_are_a_document_or_json_invalid(tmp_path_factory, body):
    folder = tmp_path_factory.mktemp("spool")
    try:
        read = asyncio.run(scan(folder, body, sizes=forever(7)))
    except InputError as error:
        assert error.type == "json_invalid"
        assert 0 <= error.problems[0].loc[1] <= len(body)
    else:
        assert read is None or json.loads(body) == read


def test_every_split_near_the_edges_of_a_data_string_gives_the_same(run, tmp_path):
    data = bytes(range(256)) * 256
    encoded = base64.b64encode(data).decode().replace("/", "\\/")
    body = ('{"a": "x\\\\", "v": "' + MP4 + encoded + '", "b": "\\"end"}').encode()
    expected = {"a": "x\\", "v": ("video/mp4", data), "b": '"end'}
    for cut in [*range(45), *range(len(body) - 40, len(body)), *range(65536, 65570)]:
        sizes = iter([cut, *[60_000] * 9])
        assert run(scan(tmp_path, body, sizes=sizes)) == expected


# ---------------------------------------------------------------- data URIs

DATA = bytes(range(256)) * 400
TEXT = base64.b64encode(DATA + b"!").decode()


@pytest.mark.parametrize(
    "string",
    [
        MP4 + TEXT,
        MP4 + TEXT.rstrip("="),
        "DATA:video/MP4;BASE64," + TEXT,
        "d\\u0061t\\u0041\\u003a" + MP4[5:] + TEXT,
        MP4 + TEXT.replace("/", "\\/"),
        MP4 + TEXT.replace("+", "\\u002b").replace("=", "\\u003D"),
        MP4 + TEXT.replace("+", "-").replace("/", "_"),
        MP4 + "".join(f"\\u{ord(c):04x}" for c in TEXT),
        MP4 + "\\n".join(TEXT[i : i + 64] for i in range(0, len(TEXT), 64)),
        MP4 + " \\t" + TEXT + "\\r\\n ",
        MP4 + TEXT.replace("+", "%2B").replace("/", "%2f").replace("=", "%3D"),
        "data:video/mp4;charset=utf-8;base64," + TEXT,
        "data: video/mp4 ; codecs=avc1 ; base64 ," + TEXT,
        "data:video/mp4," + quote_from_bytes(DATA + b"!"),
        "data:video/mp4;charset=binary," + "".join(f"%{byte:02x}" for byte in DATA + b"!"),
    ],
    ids=range(15),
)
def test_data_uri_is_decoded_however_it_is_spelled(run, tmp_path, string):
    assert in_document(run, tmp_path, string) == ("video/mp4", DATA + b"!")


@pytest.mark.parametrize(
    ("string", "says"),
    [
        (MP4 + TEXT + "AAAA", "padding"),
        (MP4 + TEXT[:400] + "=" + TEXT[400:], "padding"),
        (MP4 + TEXT[:80_001].rstrip("="), "cut off"),
        (MP4 + TEXT[:-9] + "*" + TEXT[-8:], "not base64"),
        (MP4 + TEXT[:80_000] + "%", "not base64"),
        (MP4 + TEXT[:80_000] + "\\u0000AAA", "not base64"),
        (MP4 + TEXT[:80_000] + "é", "percent-encoded"),
        (MP4 + TEXT[:80_000] + "\\ud800", "percent-encoded"),
        ("data:" + "x" * 70_000, "no comma"),
        ("data:video/mp4,é" + "x" * 70_000, "percent-encoded"),
    ],
    ids=range(10),
)
def test_data_uri_that_cannot_be_decoded_is_a_problem_not_an_exception(run, tmp_path, string, says):
    problem = in_document(run, tmp_path, string)
    assert problem.startswith("The data URI ")
    assert says in problem


def test_a_problem_leaves_the_other_videos_alone(run, tmp_path):
    body = json.dumps([MP4 + "*" * 70_000, MP4 + TEXT]).encode()
    bad, good = run(scan(tmp_path, body))
    assert "not base64" in bad
    assert good == ("video/mp4", DATA + b"!")


@pytest.mark.parametrize("string", ["x" * 70_000, "Data: " + "y" * 70_000, MP4 + "QUJD"])
def test_other_strings_stay_in_the_document(run, tmp_path, string):
    expected = string if not string.startswith("Data") else "x" + string
    assert in_document(run, tmp_path, expected) == expected


def test_a_type_that_is_none_is_not_kept(run, tmp_path):
    content_type, _ = in_document(run, tmp_path, "data:<b>\\u0000;base64," + TEXT)
    assert content_type == "text/plain"


def test_placeholders_cannot_be_guessed(run, tmp_path):
    async def story():
        async with Spool(tmp_path, max_bytes_per_key=1 << 30, max_file_bytes=1 << 30) as spool:
            body = json.dumps([MP4 + TEXT, MP4 + TEXT]).encode()
            scanned = await read_json(chunks_of(body, forever(9999)), spool=spool, key_id="key")
            first, second = scanned.document
            assert first != second
            assert len(first) >= 32
            assert set(scanned.attachments) == {first, second}

    run(story())


@pytest.mark.parametrize(
    ("uri", "content_type", "data"),
    [
        ("data:video/mp4;base64,QUJD", "video/mp4", b"ABC"),
        ("data:;base64,QUI", "text/plain", b"AB"),
        ("data:,a%20b%", "text/plain", b"a b%"),
        ("data:video/webm;base64,", "video/webm", b""),
    ],
)
def test_small_data_uri_in_memory(uri, content_type, data):
    assert decode_data_uri(uri) == (content_type, data)


@pytest.mark.parametrize("uri", ["data:", "data:video/mp4;base64,Q", "data:video/mp4;base64,é"])
def test_small_data_uri_that_is_none(uri):
    with pytest.raises(ValueError, match="The data URI"):
        decode_data_uri(uri)


# ---------------------------------------------------------------- what is not JSON


@pytest.mark.parametrize("body", [b"", b" \r\n\t ", b"\xef\xbb\xbf"])
def test_an_empty_body_is_none(run, tmp_path, body):
    assert run(scan(tmp_path, body)) is None


def test_a_byte_order_mark_is_ignored(run, tmp_path):
    assert run(scan(tmp_path, b'\xef\xbb\xbf{"a": 1}')) == {"a": 1}


def test_the_last_of_duplicate_keys_counts(run, tmp_path):
    assert run(scan(tmp_path, b'{"a": 1, "a": 2}')) == {"a": 2}


@pytest.mark.parametrize(
    ("body", "offset", "says"),
    [
        (b"{", 1, "Expecting property name"),
        (b'{"a": 1,}', 8, "property name"),
        (b'{"a" 1}', 5, "':' delimiter"),
        (b"prompt=hello", 0, "Expecting value"),
        (b'{"a": 1} {}', 9, "Extra data"),
        (b'"abc', 0, "Unterminated string"),
        (b'"abc\\', 0, "Unterminated string"),
        (b'"abc\\u12', 5, "escape"),
        (b'"a\\x"', 2, "escape"),
        (b'"a\nb"', 2, "control character"),
        (b'{"a": NaN}', 6, "out of range"),
        (b'{"a": -Infinity}', 6, "out of range"),
        (b'{"a": 1e999999}', 6, "out of range"),
        (b'{"a": ' + b"7" * 1_000_000 + b"}", 6, "out of range"),
        (b'{"a": "\xff"}', 7, "UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', 7, "UTF-8"),
        ('{"é": "\\ud800"}'.encode(), 8, "surrogate"),
        (b'"\\udc00\\ud800"', 1, "surrogate"),
        (b'"\\ud83d\\ude00\\ud83d"', 13, "surrogate"),
        ('{"é": x}'.encode(), 7, "Expecting value"),
        (b"[" * 300_000, 0, "nested"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, 0, "nested"),
        (b"[" * 129 + b"]" * 129, 0, "nested"),
        (b"\x00", 0, "Expecting value"),
        ('{"a": 1}'.encode("utf-16"), 0, "UTF-8"),
    ],
    ids=range(25),
)
def test_what_is_not_json_is_said_with_its_place(run, tmp_path, body, offset, says):
    where, error = problem_of(run, tmp_path, body)
    assert where == offset
    assert says.lower() in error.lower()


def test_nesting_that_somebody_might_mean_is_read(run, tmp_path):
    assert run(scan(tmp_path, b"[" * 128 + b"]" * 128))
    assert run(scan(tmp_path, b'"' + b"[" * 5000 + b'"')) == "[" * 5000


def test_escaped_backslashes_are_no_half_pairs(run, tmp_path):
    body = b'["\\\\ud800", "\\ud83d\\ude00", "\\\\\\ud83d\\ude00"]'
    assert run(scan(tmp_path, body)) == ["\\ud800", "😀", "\\😀"]


@pytest.mark.parametrize(
    ("tail", "offset", "says"),
    [
        (b'" x', 2, "delimiter"),
        (b"", 0, "Unterminated"),
        (b"\\q", 0, "escape"),
        (b"\n", 0, "control character"),
    ],
)
def test_places_count_in_the_body_as_it_was_sent(run, tmp_path, tail, offset, says):
    body = b'["' + MP4.encode() + b"AAAA" * 30_000 + tail
    # the rest of a JSON list, unless the string is left open
    where, error = problem_of(run, tmp_path, body + (b'"]' if says != "Unterminated" else b""))
    assert where == len(body) - len(tail) + offset
    assert says in error


def test_json_beside_the_videos_has_a_cap(run, tmp_path):
    body = json.dumps([MP4 + TEXT, "p" * 100_000]).encode()
    assert run(scan(tmp_path, body, max_json_bytes=101_000))
    with pytest.raises(PayloadTooLarge, match="TELECINE_MEDIA_MAX_JSON_BYTES"):
        run(scan(tmp_path, body, max_json_bytes=99_000))


@pytest.mark.parametrize("size", [7, 65536])
@pytest.mark.parametrize("piece", [b"[]", b"1", b'{"a":1}', b'"x"'])
def test_many_small_values_are_refused_before_they_cost_memory(run, tmp_path, piece, size):
    body = b'{"unknown":[' + b",".join([piece] * 2_000) + b"]}"
    with pytest.raises(PayloadTooLarge, match="more than 1000 commas, colons and opening"):
        run(scan(tmp_path, body, sizes=forever(size), max_json_marks=1_000))


@pytest.mark.parametrize("size", [7, 65536])
def test_what_stands_in_strings_is_not_counted(run, tmp_path, size):
    document = {"prompt": '[{,:\\"' * 5_000, "long": ",:[{" * BIG}
    body = json.dumps(document).encode()
    assert run(scan(tmp_path, body, sizes=forever(size), max_json_marks=4)) == document


def test_a_video_over_the_cap_of_a_file_is_too_large(run, tmp_path):
    with pytest.raises(TooLarge):
        run(scan(tmp_path, json.dumps([MP4 + TEXT] * 2).encode(), max_file_bytes=90_000))


def test_over_the_quota_of_the_key_nothing_stays(run, tmp_path):
    async def story():
        async with Spool(tmp_path, max_bytes_per_key=150_000, max_file_bytes=1 << 30) as spool:
            body = json.dumps([MP4 + TEXT] * 2).encode()
            with pytest.raises(LimitReached):
                await read_json(chunks_of(body, forever(65536)), spool=spool, key_id="key")
            assert spool.used("key") == 0

    run(story())


def test_a_caller_who_hangs_up_leaves_no_file(run, tmp_path):
    async def half():
        yield b'["' + MP4.encode() + b"AAAA" * 30_000
        raise ConnectionResetError

    async def story():
        async with Spool(tmp_path, max_bytes_per_key=1 << 30, max_file_bytes=1 << 30) as spool:
            with pytest.raises(ConnectionResetError):
                await read_json(half(), spool=spool, key_id="key")
            assert not [path for path in tmp_path.rglob("*") if path.is_file()]

    run(story())


def test_memory_does_not_grow_with_the_video(run, tmp_path):
    def body():
        yield b'{"video_urls": ["' + MP4.encode()
        for _ in range(640):
            yield b"QUJD" * 16384
        yield b'"]}'

    async def story():
        async def chunks():
            for chunk in body():
                yield chunk

        async with Spool(tmp_path, max_bytes_per_key=1 << 30, max_file_bytes=1 << 30) as spool:
            tracemalloc.start()
            try:
                scanned = await read_json(chunks(), spool=spool, key_id="key")
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            (attachment,) = scanned.attachments.values()
            assert attachment.bytes == 640 * 49152
            assert peak < 2_000_000

    run(story())


# ---------------------------------------------------------------- bare base64


def sound(count=BIG):
    return random.Random(5).randbytes(count)


@pytest.mark.parametrize("gap", [b"", b" ", b"\n  "])
@pytest.mark.parametrize("size", [1, 1000, 65536])
def test_long_bare_base64_in_a_data_member_goes_to_disk(run, tmp_path, gap, size):
    text = base64.b64encode(sound())
    body = b'{"input_audio": {"data"' + gap + b":" + gap + b'"' + text + b'", "format": "mp3"}}'
    document = run(scan(tmp_path, body, sizes=forever(size), max_json_bytes=4096))
    assert document == {"input_audio": {"data": ("", sound()), "format": "mp3"}}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("gap", ["\\r\\n", "\\n", " ", "\\t"])
def test_white_space_may_stand_anywhere_however_the_pieces_fall(run, tmp_path, size, gap):
    data = random.Random(7).randbytes(BIG)
    text = base64.b64encode(data).decode()
    text = gap.join(text[i : i + 77] for i in range(0, len(text), 77))
    body = f'["{MP4}{text}"]'.encode()
    assert run(scan(tmp_path, body, sizes=forever(size))) == [("video/mp4", data)]


def test_its_slashes_may_be_escaped(run, tmp_path):
    text = base64.b64encode(sound()).replace(b"/", b"\\/")
    document = run(scan(tmp_path, b'{"data":"' + text + b'"}'))
    assert document == {"data": ("", sound())}


def test_its_attachment_says_what_it_was(run, tmp_path):
    async def work():
        async with Spool(tmp_path, max_bytes_per_key=1 << 30, max_file_bytes=1 << 30) as spool:
            body = b'{"data":"' + base64.b64encode(sound()) + b'"}'
            scanned = await read_json(chunks_of(body, forever(999)), spool=spool, key_id="key")
            [attachment] = scanned.attachments.values()
            assert (attachment.origin, attachment.content_type) == ("base64 data", "")

    run(work())


@pytest.mark.parametrize(
    "body",
    [
        {"text": "A" * (BIG + 1)},
        {"data": "word " * BIG},
        {"data": ["A" * (BIG + 1)]},
        {"metadata": "A" * (BIG + 1)},
        {"data": "A" * 1000},
    ],
)
def test_other_long_strings_stay_where_they_are(run, tmp_path, body):
    assert run(scan(tmp_path, json.dumps(body).encode())) == body


def test_what_turns_out_to_be_no_base64_is_said_to_be_none(run, tmp_path):
    text = "A" * (2 * BIG) + "!" + "A" * BIG
    document = run(scan(tmp_path, json.dumps({"data": text}).encode()))
    assert document == {"data": "The base64 data is not base64"}
