"""Every connection to Google: questions, and the Files API.

The key goes into a header, and only to `base_url`. An upload gets an address of its own from
Google, which lets in whoever knows it: it gets no key, and is in no log and no message.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO
from urllib.parse import quote

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from yarl import URL

from telecine.errors import (
    FormRefused,
    ProviderError,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
    TelecineError,
)
from telecine.models import Call, LinkPart, ProviderEvent
from telecine.net import Client
from telecine.providers import failures
from telecine.providers.body import loc
from telecine.providers.exchange import Asked, Exchange
from telecine.providers.failures import Failure
from telecine.providers.gemini.answer import Answer
from telecine.providers.gemini.request import Source
from telecine.providers.values import mapping

# What our files are listed as, with the hash of their content: so they are found again.
TITLE = "telecine-"
CHUNK = 8 * 1024 * 1024
_PIECE = 256 * 1024
_ORIGIN = URL("https://generativelanguage.googleapis.com")  # where uploads go behind a proxy, too
_TRIES = 4
_CONNECT_SECONDS = 10.0
_STILL_SECONDS = 120.0  # an upload may take its time, as long as it moves
_ANSWER_SECONDS = 60.0
_MAX_ANSWER = 256 * 1024
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})

_FILE = re.compile(r"files/[A-Za-z0-9_-]{1,80}")
_EARLY = re.compile(r"not in an ACTIVE state", re.IGNORECASE)
_STALE = re.compile(r"\bfiles?\b", re.IGNORECASE)
# Besides what is said of media everywhere.
_UNTAKEN = re.compile(
    r"unsupported (?:mime|file) ?type|mime ?type .{0,80}not supported|URL_RETRIEVAL|"
    r"(?:cannot|could not|failed to|unable to) (?:retrieve|access|process) "
    r".{0,40}(?:url|uri|video)",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(r"\bAPI key\b", re.IGNORECASE)
_BARRED = re.compile(r"\bAPI key\b|unregistered callers|\bproject\b", re.IGNORECASE)
_PRIVATE = re.compile(r"\bpermission\b|\bprivate\b", re.IGNORECASE)
_PAYLOAD = re.compile(r"payload size exceeds", re.IGNORECASE)
_OVERFLOW = re.compile(r"token count .{0,40}exceeds the maximum", re.IGNORECASE)


class FileRefused(FormRefused):
    """An uploaded file cannot be used: `is_early`, not yet; else it is not there any more."""

    def __init__(self, message: str, *, is_early: bool, **more: Any) -> None:
        super().__init__(message, **more)
        self.is_early = is_early


class _Broken(Exception):
    """A piece of an upload did not get through; says how. Worth another try."""

    def __init__(self, says: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(says)
        self.says = says
        self.retry_after_seconds = retry_after_seconds


class _Lost(Exception):
    """Google knows nothing of the upload any more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What Google has of an upload. `file`: all of it, and what it became."""

    received: int | None
    file: Mapping[str, Any] | None = None


class Google(Exchange):
    """`base_url` with or without the version at its end. `sleep` is for tests."""

    def __init__(
        self,
        name: str,
        *,
        client: Client,
        base_url: str,
        api_key: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(
            name,
            client=client,
            base_url=base_url.rstrip("/").removesuffix("/v1beta"),
            headers={"x-goog-api-key": api_key} if api_key else {},
            key=api_key,
        )
        self._sleep = sleep

    def ask(self, call: Call, document: Any, answer: Answer) -> AsyncGenerator[ProviderEvent, None]:
        """As base.Provider.generate says; besides, it raises FileRefused."""
        path = f"/v1beta/models/{quote(call.model, safe='')}:streamGenerateContent?alt=sse"
        return self.tell(call, Asked(path, document), answer)

    async def models(self, page: str) -> Any:
        return await self.get("/v1beta/models?pageSize=1000" + _page(page))

    async def files(self, page: str) -> Any:
        return await self.get("/v1beta/files?pageSize=100" + _page(page))

    async def file(self, name: str) -> Mapping[str, Any]:
        return mapping(await self.get(f"/v1beta/{name}"))

    async def delete(self, name: str) -> None:
        """Best effort: what is left is gone from Google after 48 hours."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                async with self._session.delete(
                    f"{self._base_url}/v1beta/{name}", headers=self._headers, allow_redirects=False
                ):
                    pass
        except (aiohttp.ClientError, OSError):
            pass

    # ------------------------------------------------------------ uploads

    async def upload(self, source: Source, file: BinaryIO) -> Mapping[str, Any]:
        """All of `file`, in pieces; one that does not get through goes on where it broke off.

        What Google made of it, which names it itself. Nothing of this is billed, so that whatever
        breaks may be tried again: raises ProviderUnavailable, or ProviderError where that is in
        vain.
        """
        for _ in range(2):
            try:
                url = await self._begin(source)
                return await self._pour(url, source, file)
            except _Lost:
                continue
        raise self._unavailable(source, "the upload was forgotten on the way")

    async def _begin(self, source: Source) -> URL:
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._begun(source)
            except _Broken as broken:
                if attempt == _TRIES:
                    raise self._unavailable(source, broken.says, broken) from broken
                await self._pause(attempt, broken)
        raise AssertionError("the last attempt returns or raises")

    async def _begun(self, source: Source) -> URL:
        headers = {
            **self._headers,
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(source.bytes),
            "X-Goog-Upload-Header-Content-Type": source.mime,
        }
        document = {"file": {"displayName": TITLE + source.sha256}}
        url = URL(f"{self._base_url}/upload/v1beta/files")
        response, text = await self._say(url, headers, json=document)
        if response.status >= 300:
            raise self._refused(source, response, text)
        return self._checked(response.headers.get("X-Goog-Upload-URL", ""))

    async def _pour(self, url: URL, source: Source, file: BinaryIO) -> Mapping[str, Any]:
        at: int | None = 0
        broken_off = most = 0
        while True:
            try:
                has = await (
                    self._query(url, source)
                    if at is None
                    else self._send(url, source, file, at, min(CHUNK, source.bytes - at))
                )
            except _Broken as broken:
                broken_off += 1
                if broken_off == _TRIES:
                    raise self._unavailable(source, broken.says, broken) from broken
                await self._pause(broken_off, broken)
                at = None
                continue
            if has.file is not None:
                return has.file
            if has.received is not None and has.received > most:
                broken_off, most = 0, has.received
            at = has.received

    async def _send(
        self, url: URL, source: Source, file: BinaryIO, at: int, length: int
    ) -> Progress:
        is_last = at + length == source.bytes
        headers = {
            "X-Goog-Upload-Offset": str(at),
            "X-Goog-Upload-Command": "upload, finalize" if is_last else "upload",
        }
        progress = await self._told(url, source, headers, Slice(file, at, length))
        if progress.file is None and is_last:
            raise _Broken("Google did not take the end of it as the end")
        return Progress(at + length, progress.file)

    async def _query(self, url: URL, source: Source) -> Progress:
        return await self._told(url, source, {"X-Goog-Upload-Command": "query"}, None)

    async def _told(
        self, url: URL, source: Source, headers: Mapping[str, str], piece: Slice | None
    ) -> Progress:
        response, text = await self._say(url, headers, data=piece)
        if response.status in (404, 410):
            raise _Lost
        if response.status >= 300:
            raise self._refused(source, response, text)
        if response.headers.get("X-Goog-Upload-Status", "").lower() == "final":
            file = mapping(mapping(_json(text)).get("file"))
            if not file:
                # It has it all, and did not say as what: only now, when asked again.
                raise _Lost
            return Progress(source.bytes, file)
        received = response.headers.get("X-Goog-Upload-Size-Received", "")
        if piece is None and not (received.isdecimal() and int(received) <= source.bytes):
            raise _Lost
        return Progress(int(received) if received.isdecimal() else None)

    async def _say(
        self, url: URL, headers: Mapping[str, str], **content: Any
    ) -> tuple[aiohttp.ClientResponse, str]:
        """POST. Raises _Broken, which does not name the address, nor leads to what does."""
        broken = ""
        try:
            async with asyncio.timeout(_STILL_SECONDS) as patience:
                if isinstance(piece := content.get("data"), Slice):
                    piece.on_progress = lambda: _extend(patience)
                async with self._session.post(
                    url,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS),
                    allow_redirects=False,
                    **content,
                ) as response:
                    patience.reschedule(asyncio.get_running_loop().time() + _ANSWER_SECONDS)
                    text = await _text(response)
        except (aiohttp.ClientError, OSError) as error:
            broken = _why(error)
        if broken:
            raise _Broken(broken)
        if response.status in _AGAIN:
            failure = self._read(response, text)
            words = failures.scrubbed(failure.message, self._secrets)
            says = f"{response.status}" + (f": {words}" if words else "")
            raise _Broken(says, failure.retry_after_seconds)
        return response, text

    def _checked(self, given: str) -> URL:
        """The address of an upload: Google's, or on the host that the operator named."""
        base = URL(self._base_url)
        try:
            url = URL(given)
        except ValueError:
            url = URL()
        if not (url.absolute and url.origin() in (base.origin(), _ORIGIN)):
            raise ProviderFailed(
                f"{self._name} sends uploads elsewhere than to base_url of "
                f"[providers.{self._name}]; nothing was sent there",
                provider=self._name,
            )
        return url

    async def _pause(self, attempt: int, broken: _Broken) -> None:
        await self._sleep(min(broken.retry_after_seconds or 2.0 ** (attempt - 1), 30.0))

    def _read(self, response: aiohttp.ClientResponse, text: str) -> Failure:
        return failures.parse(
            text, status=response.status, retry_after=response.headers.get("Retry-After")
        )

    def _refused(
        self, source: Source, response: aiohttp.ClientResponse, text: str
    ) -> ProviderError:
        failure = self._read(response, text)
        words = failures.scrubbed(failure.message, self._secrets)
        about: dict[str, Any] = {"provider": self._name, "upstream_status": response.status}
        if _is_about_the_key(failure):
            return ProviderFailed(failures.operators(401, self._name), **about)
        if response.status < 400 or response.status in (401, 402, 403):
            return ProviderFailed(failures.operators(response.status, self._name), **about)
        says = f"{self._name} did not take {source.label} ({response.status}" + (
            f": {words})" if words else ")"
        )
        if response.status == 413 or _UNTAKEN.search(failure.message):
            return FormRefused(says, loc=source.loc, **about)
        if response.status < 500:
            return ProviderRejected(says, loc=source.loc, **about)
        return ProviderUnavailable(says, **about)

    def _unavailable(
        self, source: Source, says: str, broken: _Broken | None = None
    ) -> ProviderUnavailable:
        return ProviderUnavailable(
            f"{source.label} could not be uploaded to {self._name}: {says}",
            provider=self._name,
            retry_after_seconds=broken.retry_after_seconds if broken else None,
        )

    # ------------------------------------------------------------ what goes wrong

    def _error(
        self,
        failure: Failure,
        call: Call,
        *,
        upstream_id: str | None,
        has_begun: bool = False,
    ) -> TelecineError:
        if _is_about_the_key(failure):
            failure = replace(failure, status=401)
        elif _OVERFLOW.search(failure.message):
            failure = replace(failure, kind="context_length_exceeded")
        elif _PAYLOAD.search(failure.message):
            failure = replace(failure, status=413)
        error = super()._error(failure, call, upstream_id=upstream_id, has_begun=has_begun)
        if has_begun or not call.parts or failure.kind in failures.POLICY:
            return error
        words = failures.scrubbed(failure.message, self._secrets)
        about: dict[str, Any] = {
            "provider": self._name,
            "upstream_status": failure.status,
            "upstream_id": upstream_id,
        }
        says = f"{self._name} answered {failure.status}: {words}"
        is_early = failure.status == 400 and _EARLY.search(failure.message) is not None
        if is_early or (failure.status in (403, 404) and _STALE.search(failure.message)):
            return FileRefused(says, is_early=is_early, loc=loc(call.parts[0]), **about)
        has_links = any(isinstance(part, LinkPart) for part in call.parts)
        is_private = has_links and failure.status == 403 and _PRIVATE.search(failure.message)
        if is_private or (failure.status == 400 and _UNTAKEN.search(failure.message)):
            return FormRefused(says, loc=_blamed(call), **about)
        return error


class Slice(Payload):
    """A piece of an open file, sent as it is read. `on_progress` is called whenever the connection
    has taken some of it."""

    on_progress: Callable[[], None]

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        super().__init__(file, content_type="application/octet-stream")
        self._file = file
        self._start = start
        self._size = length
        self.on_progress = lambda: None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("a piece of a video is only ever streamed")

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._consumed = True
        end = self._start + (self._size or 0)
        at = self._start
        while at < end:
            data = await asyncio.to_thread(os.pread, self._file.fileno(), min(_PIECE, end - at), at)
            if not data:
                raise OSError("the file is shorter than it was")
            await writer.write(data)
            at += len(data)
            self.on_progress()


def is_file_name(name: Any) -> bool:
    return isinstance(name, str) and _FILE.fullmatch(name) is not None


def _is_about_the_key(failure: Failure) -> bool:
    """Google answers 400 for a key that is none, and 403 for one that may not."""
    if failure.status not in (400, 403):
        return False
    says = _BAD_KEY if failure.status == 400 else _BARRED
    return failure.kind == "API_KEY_INVALID" or says.search(failure.message) is not None


def _blamed(call: Call) -> tuple[str | int, ...]:
    """An address that Google should have fetched, else the largest file."""
    links = [part for part in call.parts if isinstance(part, LinkPart)]
    files = [part for part in call.parts if not isinstance(part, LinkPart)]
    if links:
        return links[0].loc
    return loc(max(files, key=lambda part: part.media.bytes))


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "nothing moved for too long"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
        return "the connection broke"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "the server cannot be reached"
    return f"the connection failed ({type(error).__name__})"


async def _text(response: aiohttp.ClientResponse) -> str:
    whole = bytearray()
    while data := await response.content.readany():
        whole += data
        if len(whole) > _MAX_ANSWER:
            raise aiohttp.ClientPayloadError
    return whole.decode("utf-8", "replace")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _page(token: str) -> str:
    return f"&pageToken={quote(token, safe='')}" if token else ""


def _extend(patience: asyncio.Timeout) -> None:
    patience.reschedule(asyncio.get_running_loop().time() + _STILL_SECONDS)
