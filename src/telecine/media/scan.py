"""Reads a JSON body as it arrives, and never holds a video in memory.

Strings longer than 64 KiB that begin with `data:` are decoded straight into spooled files, and so
is bare base64 that is the value of a member called `data` (OpenAI's `input_audio`). The document
gets a placeholder instead. All that the scanner itself knows of JSON is where strings begin and
end; what is left, a small document, goes to the json module, which judges it.

It runs on the event loop, so the usual case, a piece of plain base64, costs one search for the
closing quote and one call of binascii.
"""

from __future__ import annotations

import asyncio
import binascii
import codecs
import json
import math
import re
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from telecine.errors import Busy, InputError, PayloadTooLarge
from telecine.media.spool import Spool, SpoolFile
from telecine.models import Attachment

_INLINE = 64 * 1024
_PIECE = 64 * 1024
_MAX_DEPTH = 128
_IN_THREAD = 256 * 1024
_MARK_BYTES = 60


@dataclass(frozen=True, slots=True)
class Scanned:
    """What came in. `document` is None when the body was empty or only white space.

    The files that `attachments` point at live until `discard`, which may be called twice.
    """

    document: Any
    attachments: dict[str, Attachment]
    discard: Callable[[], None] = field(repr=False)


class Memory:
    """What all documents together may take that are being read, or not yet discarded: `most` bytes,
    of which a mark (see `read_json`) counts for sixty."""

    def __init__(self, most: int = 256 * 1024 * 1024) -> None:
        self.used = 0
        self._most = most

    def take(self, count: int) -> None:
        """Raises Busy."""
        if self.used + count > self._most:
            raise Busy(
                f"The server holds {self._most} bytes of requests, as many as it may."
                " Send the request again"
            )
        self.used += count

    def give_back(self, count: int) -> None:
        self.used -= count


async def read_json(
    chunks: AsyncIterator[bytes],
    *,
    spool: Spool,
    key_id: str,
    memory: Memory | None = None,
    max_json_bytes: int = 8 * 1024 * 1024,
    max_json_marks: int = 400_000,
) -> Scanned:
    """The document in `chunks`, its long data URIs replaced by keys of `attachments`.

    A data URI that cannot be decoded becomes an Attachment with a `problem`. Raises InputError
    (type json_invalid, loc ("body", offset in bytes)) for anything that is not JSON,
    PayloadTooLarge for more than `max_json_bytes` beside the long data URIs, or more than
    `max_json_marks` commas, colons and opening brackets outside strings (a byte of JSON may take
    sixty of memory), and what SpoolFile.write and Memory.take raise. Whatever it raises, no file is
    left behind, and no memory taken.
    """
    scanner = _Scanner(spool, key_id, memory or Memory(), max_json_bytes, max_json_marks)
    try:
        async for chunk in chunks:
            for at in range(0, len(chunk), _PIECE):
                scanner.feed(chunk[at : at + _PIECE])
                if at:
                    await asyncio.sleep(0)
        return await scanner.finish()
    except BaseException:
        scanner.discard()
        raise


# ---------------------------------------------------------------- where strings begin and end


class _Scanner:
    def __init__(
        self, spool: Spool, key_id: str, memory: Memory, max_json_bytes: int, max_json_marks: int
    ) -> None:
        self._spool = spool
        self._key_id = key_id
        self._memory = memory
        self._taken = 0
        self._max_json_bytes = max_json_bytes
        self._max_json_marks = max_json_marks
        self._marks = 0
        self._kept = bytearray()
        self._cut: list[tuple[int, int]] = []  # (length of _kept, bytes left out just before)
        self._open: _LongString | _Beginning | None = None
        self._half_escape = b""
        self._attachments: dict[str, Attachment] = {}
        self._files: list[SpoolFile] = []

    def feed(self, piece: bytes) -> None:
        """Take the next bytes, at most 64 KiB of them."""
        piece = self._half_escape + piece
        masked = _masked(piece)
        end = _end_of_whole_escapes(masked)
        self._half_escape = piece[end:]
        at = 0
        while at < end:
            if self._open is None:
                at = self._between(piece, masked, at, end)
                continue
            quote = masked.find(b'"', at, end)
            stop = end if quote == -1 else quote
            self._inside(piece[at:stop])
            at = stop
            if quote != -1:
                self._close()
                at += 1

    def _between(self, piece: bytes, masked: bytes, at: int, end: int) -> int:
        """Keep all up to the string that does not end in this piece, if there is one."""
        self._count(masked[at:end])
        if masked.count(b'"', at, end) % 2 == 0:
            self._keep(piece[at:end])
            return end
        start = masked.rfind(b'"', at, end) + 1
        self._keep(piece[at:start])
        self._open = _Beginning()
        return start

    def _count(self, masked: bytes) -> None:
        """Add up what makes a document large in memory, in a piece that begins outside strings."""
        outside = b"".join(masked.split(b'"')[::2])
        marks = sum(map(outside.count, (b",", b":", b"[", b"{")))
        self._take(marks * _MARK_BYTES)
        self._marks += marks
        if self._marks > self._max_json_marks:
            raise PayloadTooLarge(
                f"The JSON has more than {self._max_json_marks} commas, colons and opening"
                " brackets outside its strings"
            )

    def _inside(self, raw: bytes) -> None:
        string = self._open
        if isinstance(string, _Beginning):
            string.raw += raw
            if len(string.raw) <= _INLINE:
                return
            raw = bytes(string.raw)
            self._open = string = self._long(raw)
        assert isinstance(string, _LongString)
        if string.data is None:
            self._keep(raw)
            return
        try:
            string.data.feed(raw)
        except json.JSONDecodeError as error:
            # pos counts from a quote that was put before `raw`
            self._invalid(error.msg, self._offset() + string.length + max(error.pos - 1, 0))
        string.length += len(raw)

    def _long(self, raw: bytes) -> _LongString:
        is_bare = not _DATA.match(raw)
        if is_bare and not (_DATA_MEMBER.search(self._kept[-64:]) and _BARE.fullmatch(raw)):
            return _LongString(None)
        file = self._spool.file(self._key_id)
        self._files.append(file)
        return _LongString(_DataURI(file, is_bare=is_bare))

    def _close(self) -> None:
        string, self._open = self._open, None
        if isinstance(string, _Beginning):
            self._keep(bytes(string.raw))
        elif string is not None and string.data is not None:
            placeholder = f"attachment:{secrets.token_hex(16)}"
            self._attachments[placeholder] = string.data.finish()
            self._keep(placeholder.encode())
            self._cut.append((len(self._kept), string.length - len(placeholder)))
        self._keep(b'"')

    def _take(self, count: int) -> None:
        self._memory.take(count)
        self._taken += count

    def _keep(self, raw: bytes) -> None:
        self._take(len(raw))
        self._kept += raw
        if len(self._kept) > self._max_json_bytes:
            raise PayloadTooLarge(
                f"The JSON is larger than {self._max_json_bytes} bytes, data URIs not counted "
                "(TELECINE_MEDIA_MAX_JSON_BYTES). Upload the file and pass its URL"
            )

    async def finish(self) -> Scanned:
        if isinstance(self._open, _Beginning):
            self._keep(bytes(self._open.raw))
        elif self._open is not None and self._open.data is not None:
            self._invalid("Unterminated string", self._offset() + self._open.length)
        self._keep(self._half_escape)
        self._half_escape = b""
        if self._kept.startswith(codecs.BOM_UTF8):
            self._kept[:3] = b"   "  # may be ignored (RFC 8259), and is by others
        if not self._kept.strip(b" \t\r\n"):
            return Scanned(None, {}, self.discard)
        try:
            if len(self._kept) > _IN_THREAD:
                document = await asyncio.to_thread(_parse, bytes(self._kept))
            else:
                document = _parse(bytes(self._kept))
        except _NotJSON as error:
            self._invalid(error.says, self._offset(error.at))
        self._kept.clear()
        return Scanned(document, self._attachments, self.discard)

    def discard(self) -> None:
        for file in self._files:
            file.discard()
        self._memory.give_back(self._taken)
        self._taken = 0

    def _offset(self, kept: int | None = None) -> int:
        """Where byte number `kept` of the small document (default: its end) was in the body."""
        kept = len(self._kept) if kept is None else kept
        return kept + sum(cut for at, cut in self._cut if at <= kept)

    def _invalid(self, says: str, offset: int) -> NoReturn:
        raise InputError(
            "JSON decode error",
            type="json_invalid",
            loc=("body", offset),
            ctx={"error": says},
            input={},
        )


@dataclass(slots=True)
class _Beginning:
    """A string that is still short enough to stay, whatever it is."""

    raw: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class _LongString:
    """A string past 64 KiB: a data URI on its way to disk, or any other, which is kept."""

    data: _DataURI | None
    length: int = 0


def _masked(piece: bytes) -> bytes:
    """`piece` with escaped backslashes and quotes blotted out: every quote left ends a string."""
    if b"\\" not in piece:
        return piece
    return piece.replace(b"\\\\", b"..").replace(b'\\"', b"..")


def _end_of_whole_escapes(masked: bytes) -> int:
    """How much there is before an escape whose end has not arrived yet."""
    last = masked.rfind(b"\\", -5)
    if last == -1:
        return len(masked)
    needed = 6 if masked[last + 1 : last + 2] == b"u" else 2
    return last if len(masked) - last < needed and b'"' not in masked[last:] else len(masked)


# "data:" in any case, each character possibly written as an escape
_DATA = re.compile(
    rb"".join(rb"(?:%c|%c|\\u00%02x|\\u00%02x)" % (c, c - 32, c, c - 32) for c in b"data")
    + rb"(?::|\\u003a)",
    re.IGNORECASE,
)

# where the string begins that is the value of a member called "data"
_DATA_MEMBER = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*"\Z')
_BARE = re.compile(rb"[A-Za-z0-9+/\\]+={0,2}")


# ---------------------------------------------------------------- data URIs


class _Undecodable(Exception):
    """These are not the bytes of anything; the message is the rest of "The data URI ..."."""


class _DataURI:
    """The contents of one JSON string, in pieces that split no escape, to bytes in a file.

    `is_bare`: it is base64 without anything before it.
    """

    def __init__(self, file: SpoolFile, *, is_bare: bool = False) -> None:
        self._file = file
        self._decoder: _Base64 | _Percent | None = _Base64() if is_bare else None
        self._origin = "base64 data" if is_bare else "data URI"
        self._content_type = ""
        self._problem: str | None = None

    def feed(self, raw: bytes) -> None:
        """Raises JSONDecodeError, and what the file's `write` raises."""
        if self._problem is not None:
            return
        try:
            if self._decoder is None:
                header, text = _split(_unescaped(raw))
                self._content_type, self._decoder = _decoder(header)
                self._file.write(self._decoder.text(text))
            else:
                self._file.write(self._decoder.raw(raw))
        except _Undecodable as error:
            self._give_up(error)

    def finish(self) -> Attachment:
        try:
            if self._decoder is not None and self._problem is None:
                self._file.write(self._decoder.finish())
        except _Undecodable as error:
            self._give_up(error)
        self._file.close()
        if self._problem is not None:
            return Attachment(content_type=self._content_type, problem=self._problem)
        return Attachment(
            content_type=self._content_type,
            origin=self._origin,
            bytes=self._file.bytes,
            sha256=self._file.sha256,
            path=self._file.path,
        )

    def _give_up(self, error: _Undecodable) -> None:
        self._problem = f"The {self._origin} {error}"
        self._file.discard()


def decode_data_uri(text: str) -> tuple[str, bytes]:
    """Content type and bytes of a data URI that is small enough to be in memory.

    Raises ValueError with a sentence.
    """
    try:
        header, rest = _split(text)
        content_type, decoder = _decoder(header)
        return content_type, decoder.text(rest) + decoder.finish()
    except _Undecodable as error:
        raise ValueError(f"The data URI {error}") from error


def _split(text: str) -> tuple[str, str]:
    header, comma, rest = text.partition(",")
    if not comma:
        raise _Undecodable("has no comma between its type and its data")
    return header[len("data:") :], rest


def _decoder(header: str) -> tuple[str, _Base64 | _Percent]:
    content_type, *parameters = (part.strip() for part in header.split(";"))
    is_base64 = bool(parameters) and parameters[-1].lower() == "base64"
    # an absurd type is nobody's key to anything, but it is stored and shown
    content_type = content_type.lower() if _TYPE.fullmatch(content_type) else ""
    return content_type or "text/plain", _Base64() if is_base64 else _Percent()


_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)


def _unescaped(raw: bytes) -> str:
    """What a piece of a JSON string says. Raises JSONDecodeError.

    A piece may split a character; what is no UTF-8 in it is no data URI either and fails there.
    """
    text = raw.decode(errors="surrogateescape")
    return str(json.loads(f'"{text}"'))


def _ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as error:
        raise _Undecodable("holds characters that must be percent-encoded") from error


class _Percent:
    """Percent-encoded bytes. Percent signs that encode nothing stand for themselves."""

    def __init__(self) -> None:
        self.rest = b""  # a percent sign whose digits have not arrived yet

    def raw(self, raw: bytes) -> bytes:
        return self.text(_unescaped(raw))

    def text(self, text: str) -> bytes:
        block = self.rest + _ascii(text)
        cut = block.rfind(b"%", -2)
        end = len(block) if cut == -1 else cut
        self.rest = block[end:]
        return unquote_to_bytes(block[:end])

    def finish(self) -> bytes:
        return self.rest


class _Base64:
    """Base64: either alphabet, padded or not, with white space or percent signs in it or not."""

    _USUAL = bytes.maketrans(b"-_", b"+/")

    def __init__(self) -> None:
        self._rest = b""  # up to three characters that make no whole group yet
        self._percent = _Percent()
        self._is_padded = False

    def raw(self, raw: bytes) -> bytes:
        if not self._is_padded and not self._percent.rest:
            # some write every slash as \/, which is one character in 64
            plain = raw.replace(b"\\/", b"/") if b"\\" in raw else raw
            block = self._rest + plain if self._rest else plain
            end = len(block) & ~3
            try:
                # strict: the fast way is only for what needs no second look
                decoded = binascii.a2b_base64(memoryview(block)[:end], strict_mode=True)
            except binascii.Error:
                pass
            else:
                # a padded group does not tell whether more comes after it, and what is no whole
                # group yet was not looked at
                rest = block[end:]
                if not block.endswith(b"=", 0, end) and _PLAIN.fullmatch(rest):
                    self._rest = rest
                    return decoded
        return self.text(_unescaped(raw))

    def text(self, text: str) -> bytes:
        block = _ascii(text)
        if b"%" in block or self._percent.rest:
            block = self._percent.text(text)
        return self._groups(block.translate(self._USUAL, b" \t\r\n\f\v"))

    def _groups(self, characters: bytes) -> bytes:
        characters, padding, after = characters.partition(b"=")
        if (self._is_padded and characters) or after.strip(b"="):
            raise _Undecodable("goes on after its base64 padding")
        self._is_padded = self._is_padded or bool(padding)
        block = self._rest + characters
        end = len(block) & ~3
        self._rest = block[end:]
        return _strict(block[:end])

    def finish(self) -> bytes:
        if self._percent.rest:
            raise _Undecodable("is not base64")
        if len(self._rest) == 1:
            raise _Undecodable("is cut off: its base64 ends in the middle of a byte")
        return _strict(self._rest + b"=" * (-len(self._rest) % 4))


_PLAIN = re.compile(rb"[A-Za-z0-9+/]*")


def _strict(block: bytes) -> bytes:
    try:
        return binascii.a2b_base64(block, strict_mode=True)
    except binascii.Error as error:
        raise _Undecodable("is not base64") from error


# ---------------------------------------------------------------- what is left


class _NotJSON(Exception):
    def __init__(self, says: str, at: int) -> None:
        super().__init__(says)
        self.says = says
        self.at = at


def _parse(raw: bytes) -> Any:
    """The document, free of what later stages would choke on. Raises _NotJSON.

    That is: NaN and infinities, numbers past what Python reads, half surrogate pairs (there is no
    UTF-8 for them), and nesting that only a recursive reader with luck would survive.
    """
    _refuse_half_surrogates(raw)
    try:
        text = raw.decode()
        document = _JSON.decode(text)
    except UnicodeDecodeError as error:
        raise _NotJSON("Invalid UTF-8", error.start) from error
    except json.JSONDecodeError as error:
        raise _NotJSON(error.msg, len(text[: error.pos].encode())) from error
    except _BadNumber as error:
        raise _NotJSON("Number out of range", max(raw.find(str(error).encode()), 0)) from error
    except RecursionError as error:
        raise _NotJSON("Nested too deeply", 0) from error
    except ValueError as error:
        # the one that is left: more digits than sys.get_int_max_str_digits
        digits = re.search(rb"[0-9]{1000,}", raw)
        raise _NotJSON("Number out of range", digits.start() if digits else 0) from error
    if raw.count(b"[") + raw.count(b"{") > _MAX_DEPTH and _is_deeper_than(document, _MAX_DEPTH):
        raise _NotJSON("Nested too deeply", 0)
    return document


class _BadNumber(Exception):
    """The text of a number that has no value here."""


def _no_constant(text: str) -> NoReturn:
    raise _BadNumber(text)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _BadNumber(text)
    return number


_JSON = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)

_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def _refuse_half_surrogates(raw: bytes) -> None:
    if _HALF.search(raw):
        # of the same length as `raw`, so that what is found stands where it stood
        half = _HALF.search(_PAIR.sub(b"." * 12, raw.replace(b"\\\\", b"..")))
        if half:
            raise _NotJSON("Unpaired surrogate", half.start())


def _is_deeper_than(document: Any, depth: int) -> bool:
    level = [document] if isinstance(document, (dict, list)) else []
    for _ in range(depth):
        if not level:
            return False
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
    return bool(level)
