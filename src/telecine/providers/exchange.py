"""One question to an upstream over HTTP, and its answer as it comes.

The dialects say what is asked, where, and how the answer adds up; here is how it is sent, heard,
and how it may go wrong. The answer is streamed, whatever the caller wanted: only so does hanging up
stop the work, and the time to the first token become known.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import aiohttp

from telecine.errors import ProviderError, ProviderFailed, ProviderUnavailable, TelecineError
from telecine.models import Call, Chunk, Delta, Log, ProviderEvent, Upstream, Usage
from telecine.net import Client
from telecine.providers import failures, sse
from telecine.providers.body import Body
from telecine.providers.failures import Failure

T = TypeVar("T")

_NEVER_REACHED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)

_FIRST_BYTE_SECONDS = 300.0
_IDLE_SECONDS = 120.0
# What a caller who wants no stream may wait for; the run has a limit.
_WHOLE_ANSWER_SECONDS = 3600.0
_LIST_SECONDS = 5.0
_MAX_ERROR_BYTES = 64 * 1024
_MAX_LIST_BYTES = 32 * 1024 * 1024
# A hundred thousand tokens, one by one, are some 30 MB; who sends more than this never ends.
_MAX_STREAM_BYTES = 128 * 1024 * 1024
_IN_THREAD = 256 * 1024


class _Unreadable(Exception):
    """The server's bytes make no sense; says what they are."""


class Reading(Protocol):
    """What one answer has come to so far, in whichever dialect: see answer.Answer.

    `max_bytes` is of one event, and of an answer that comes at once, whose figures are read as
    `parse_float` says. `is_ended` is set when the server says that nothing more comes.
    """

    max_bytes: int
    parse_float: Callable[[str], Any]
    upstream: Upstream
    usage: Usage | None
    failure: Failure | None
    has_text: bool
    has_reasoning: bool
    is_ended: bool

    @property
    def is_complete(self) -> bool: ...

    @property
    def has_begun(self) -> bool: ...

    @property
    def is_paid_for(self) -> bool: ...

    @property
    def is_blocked(self) -> bool: ...

    def take(self, chunk: Any) -> Delta | Chunk | None:
        """What is new in `chunk`, if anything. Then `failure` is set if it carried an error."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What is sent, and where to, under the server's `base_url`."""

    path: str
    document: Any
    is_streamed: bool = True


class Exchange:
    """A server under `base_url`, known to users as provider `name`.

    `headers` go with every request, the one with the key among them. `key` is taken out of whatever
    the server says. `id_header`: where an answer tells the id by which its operators find it.
    """

    id_header = "X-Generation-Id"

    def __init__(
        self,
        name: str,
        *,
        client: Client,
        base_url: str,
        headers: Mapping[str, str],
        key: str | None = None,
        first_byte_seconds: float = _FIRST_BYTE_SECONDS,
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        self._name = name
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers)
        # Placeholders such as "EMPTY" are no secrets, and words of everyday sentences.
        self._secrets = (key,) if key and len(key) >= 8 else ()
        self._first_byte_seconds = first_byte_seconds
        self._idle_seconds = idle_seconds

    @property
    def base_url(self) -> str:
        """For the operator's eyes only."""
        return self._base_url

    async def tell(
        self, call: Call, asked: Asked, answer: Reading
    ) -> AsyncGenerator[ProviderEvent, None]:
        """POST what is asked, and yield the answer as base.Provider.generate says.

        When it fails after the server told what it used, the Usage still comes first.
        """
        failure: TelecineError | None = None
        try:
            async with aclosing(self._converse(call, asked, answer)) as events:
                async for event in events:
                    yield event
        except TelecineError as error:
            failure = error
        for warning in _warnings(call, answer, failure):
            yield Log(warning, "WARN")
        if answer.usage is not None:
            yield answer.usage
        if failure is not None:
            raise failure

    async def get(self, path: str) -> Any:
        """The parsed JSON under `path`. Raises ProviderError, after 5 s at the latest."""
        return await self._fetch("GET", self._base_url + path, path)

    async def look_up(self, path: str, document: Any = None) -> Any:
        """The same beside the API: servers with one of their own have that under the root."""
        root = self._base_url.removesuffix("/v1")
        return await self._fetch("GET" if document is None else "POST", root + path, path, document)

    async def post_file(self, path: str, fields: Mapping[str, str], file: Path, call: Call) -> Any:
        """POST a form with `file` in it, read while it is sent. Nothing of that is billed.

        Raises ProviderError, and what failures.error makes of a refusal.
        """
        seconds, loop = self._first_byte_seconds, asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds) as patience:
                moves = functools.partial(loop.call_soon_threadsafe, _extend, patience, seconds)
                with _Moving(file, moves) as source:
                    form = aiohttp.FormData(fields)
                    form.add_field("file", source, filename=f"video{file.suffix}")
                    async with self._session.post(
                        self._base_url + path,
                        data=form,
                        headers=self._headers,
                        timeout=aiohttp.ClientTimeout(
                            total=None, connect=self._client.connect_seconds
                        ),
                        allow_redirects=False,
                    ) as response:
                        if response.status >= 300:
                            raise await self._refusal(call, response)
                        return _parse(await _text(response, _MAX_ERROR_BYTES))
        except (aiohttp.ClientError, OSError, _Unreadable) as error:
            raise ProviderUnavailable(
                f"{self._name} did not take an upload: {self._reason(error)}", provider=self._name
            ) from _cause(error)

    async def delete(self, path: str) -> None:
        """Whether that worked or not: what is left behind is not the caller's concern."""
        with contextlib.suppress(ProviderError):
            await self._fetch("DELETE", self._base_url + path, path)

    async def _fetch(self, method: str, url: str, path: str, document: Any = None) -> Any:
        try:
            async with asyncio.timeout(_LIST_SECONDS):
                async with self._session.request(
                    method, url, json=document, headers=self._headers, allow_redirects=False
                ) as response:
                    text = await _text(response, _MAX_LIST_BYTES)
                    status = response.status
        except (aiohttp.ClientError, OSError, _Unreadable) as error:
            raise ProviderUnavailable(
                f"{self._name} does not answer: {self._reason(error)}", provider=self._name
            ) from _cause(error)
        if status >= 300:
            failure = failures.parse(text, status=status, retry_after=None)
            words = failures.scrubbed(failure.message, self._secrets)
            raise ProviderFailed(
                f"{self._name} answered {status} to {path}" + (f": {words}" if words else ""),
                provider=self._name,
                upstream_status=status,
            )
        try:
            return _parse(text)
        except _Unreadable as error:
            raise ProviderFailed(
                f"{self._name} answered {path} with {error}", provider=self._name
            ) from error

    @property
    def _session(self) -> aiohttp.ClientSession:
        return self._client.trusted()

    async def _converse(
        self, call: Call, asked: Asked, answer: Reading
    ) -> AsyncGenerator[ProviderEvent, None]:
        """From the question to the end of the answer; raises unless the answer came to its end."""
        body = Body(asked.document)
        try:
            response = await self._post(call, asked, body)
            try:
                if response.status >= 300:
                    raise await self._refusal(call, response)
                told = Upstream()
                answer.upstream = Upstream(id=response.headers.get(self.id_header))
                if answer.upstream != told:
                    yield (told := answer.upstream)
                async for chunk in self._chunks(response, answer):
                    news = answer.take(chunk)
                    if answer.upstream != told:
                        yield (told := answer.upstream)
                    if news is not None:
                        yield news
                    if answer.failure is not None:
                        self._end_with(answer, call)
                        return
            finally:
                response.close()
        except (aiohttp.ClientError, OSError) as error:
            if not answer.is_complete:
                raise self._broken(error, body, answer) from _cause(error)
        except (sse.EventTooLarge, _Unreadable) as error:
            raise self._failed(f"answered with {error}", answer) from error
        if not answer.is_complete:
            raise self._failed(
                "broke off in the middle of the answer"
                if answer.has_begun
                else "ended without an answer",
                answer,
            )
        if answer.is_blocked:
            nothing = Failure(status=200, kind="content_filter", message="no text was given")
            raise self._error(nothing, call, upstream_id=answer.upstream.id)

    async def _post(self, call: Call, asked: Asked, body: Body) -> aiohttp.ClientResponse:
        """Send the question; returns with the head of the answer."""
        seconds = self._first_byte_seconds if asked.is_streamed else _WHOLE_ANSWER_SECONDS
        try:
            async with asyncio.timeout(seconds) as patience:
                # A long upload may take its time, as long as it moves.
                body.on_progress = lambda: _extend(patience, seconds)
                return await self._session.post(
                    self._base_url + asked.path,
                    data=body,
                    headers={
                        "Accept": "text/event-stream" if asked.is_streamed else "application/json",
                        "X-Request-Id": call.request_id,
                        **self._headers,
                    },
                    timeout=aiohttp.ClientTimeout(total=None, connect=self._client.connect_seconds),
                    allow_redirects=False,
                )
        finally:
            body.on_progress = lambda: None

    async def _chunks(
        self, response: aiohttp.ClientResponse, answer: Reading
    ) -> AsyncIterator[Any]:
        if "json" in response.content_type:
            # It does not stream, or it reports an error with status 200.
            text = await _text(response, answer.max_bytes, self._idle_seconds)
            if len(text) > _IN_THREAD:
                chunk = await asyncio.to_thread(_parse, text, answer.parse_float)
            else:
                chunk = _parse(text, answer.parse_float)
            answer.is_ended = True
            yield chunk
            return
        decoder = sse.Decoder(max_bytes=answer.max_bytes)
        left = _MAX_STREAM_BYTES
        while data := await _read(response, self._idle_seconds):
            if (left := left - len(data)) < 0:
                raise _Unreadable(f"more than {_MAX_STREAM_BYTES} bytes")
            for event in decoder.feed(data):
                if event == "[DONE]":
                    answer.is_ended = True
                    await _drain(response)
                    return
                yield _parse(event)
        for event in decoder.finish():
            if event == "[DONE]":
                answer.is_ended = True
            else:
                yield _parse(event)

    async def _refusal(self, call: Call, response: aiohttp.ClientResponse) -> TelecineError:
        try:
            text = await _text(response, _MAX_ERROR_BYTES, _LIST_SECONDS)
        except (aiohttp.ClientError, OSError, _Unreadable):
            text = ""
        failure = failures.parse(
            text, status=response.status, retry_after=response.headers.get("Retry-After")
        )
        return self._error(failure, call, upstream_id=response.headers.get(self.id_header))

    def _end_with(self, answer: Reading, call: Call) -> None:
        """The answer carried an error: raise it, unless it only repeats that the tokens ran out."""
        assert answer.failure is not None
        if answer.upstream.finish_reason == "length" and answer.failure.status == 400:
            return
        raise self._error(
            answer.failure,
            call,
            upstream_id=answer.upstream.id,
            has_begun=answer.has_begun or answer.is_paid_for,
        )

    def _error(
        self,
        failure: Failure,
        call: Call,
        *,
        upstream_id: str | None,
        has_begun: bool = False,
    ) -> TelecineError:
        """Which of our errors it is; for a dialect with failures of its own to say."""
        return failures.error(
            failure,
            call,
            provider=self._name,
            upstream_id=upstream_id,
            has_begun=has_begun,
            secrets=self._secrets,
        )

    def _broken(self, error: Exception, body: Body, answer: Reading) -> ProviderError:
        """The connection failed. Unless all of the question was sent, nothing was billed."""
        reason = self._reason(error)
        if isinstance(error, _NEVER_REACHED):
            what = f"cannot be reached: {reason}"
        elif body.is_sent:
            return self._failed(f"went away: {reason}", answer)
        else:
            what = f"went away before it had the whole request: {reason}"
        return ProviderUnavailable(f"{self._name} {what}", provider=self._name)

    def _failed(self, what: str, answer: Reading) -> ProviderFailed:
        return ProviderFailed(
            f"{self._name} {what}", provider=self._name, upstream_id=answer.upstream.id
        )

    def _reason(self, error: Exception) -> str:
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return f"the proxy answered {error.status}"
        if isinstance(error, aiohttp.ClientResponseError):
            return f"its answer is not HTTP ({failures.scrubbed(error.message, self._secrets)})"
        if isinstance(error, TimeoutError):
            return "no answer in time"
        if isinstance(error, aiohttp.ServerDisconnectedError):
            return "it hung up"
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL):
            return _no_connection(error)
        if isinstance(error, OSError):  # its own words name the operator's address
            return os.strerror(error.errno) if error.errno else "the connection broke"
        return failures.scrubbed(str(error) or type(error).__name__, self._secrets)


class Listing(Generic[T]):
    """Something a server tells about itself: asked for when needed, kept for 300 s.

    A failure is kept for 30 s, so that a dead server does not hold up every request.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[T]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._until = float("-inf")
        self._error: ProviderError | None = None
        self.last: T | None = None

    async def get(self) -> T:
        """Raises ProviderError."""
        async with self._lock:
            if self._clock() >= self._until:
                await self._refresh()
            if self._error is not None:
                raise self._error.with_traceback(None)
            assert self.last is not None
            return self.last

    async def get_or_last(self) -> T | None:
        """What was told last, however long ago, when it cannot be had now; None: never told."""
        with contextlib.suppress(ProviderError):
            return await self.get()
        return self.last

    async def _refresh(self) -> None:
        try:
            self.last, self._error = await self._fetch(), None
            self._until = self._clock() + 300
        except ProviderError as error:
            self._error = error
            self._until = self._clock() + 30


def _warnings(call: Call, answer: Reading, failure: TelecineError | None) -> list[str]:
    found = []
    if answer.failure is not None and failure is None:
        found.append("The answer stops where the tokens ran out")
    if failure is None and not answer.has_text:
        found.append(
            "The model thought until the tokens ran out and said nothing; raise max_tokens"
            if answer.has_reasoning and answer.upstream.finish_reason == "length"
            else "The model gave an empty answer"
        )
    elif failure is None and answer.upstream.finish_reason == "content_filter":
        found.append("The provider's content filter cut the answer short")
    if call.parts and answer.usage is not None and answer.usage.prompt_tokens == 0:
        found.append("The provider counted no prompt tokens: its usage and cost are not complete")
    return found


def _no_connection(error: aiohttp.ClientConnectorError | aiohttp.InvalidURL) -> str:
    """Not in the error's own words: the operator's address is in them, and callers read this."""
    if isinstance(error, aiohttp.InvalidURL):
        return "its address is no URL"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be looked up"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientSSLError):
        return "no TLS connection"
    number = error.os_error.errno
    return os.strerror(number) if number else "no connection"


class _Moving(io.BufferedReader):
    """A file that says each time that some of it is read, from the thread that reads it."""

    def __init__(self, path: Path, on_progress: Callable[[], object]) -> None:
        super().__init__(io.FileIO(path))
        self._on_progress = on_progress

    def read(self, size: int | None = -1, /) -> bytes:
        self._on_progress()
        return super().read(size)


def _extend(patience: asyncio.Timeout, seconds: float) -> None:
    with contextlib.suppress(RuntimeError):  # it is over already
        patience.reschedule(asyncio.get_running_loop().time() + seconds)


async def _read(response: aiohttp.ClientResponse, seconds: float) -> bytes:
    """The next bytes, b"" at the end. Raises TimeoutError after that long without any."""
    async with asyncio.timeout(seconds):
        return await response.content.readany()


async def _text(
    response: aiohttp.ClientResponse, max_bytes: int, seconds: float = _LIST_SECONDS
) -> str:
    whole = bytearray()
    while data := await _read(response, seconds):
        whole += data
        if len(whole) > max_bytes:
            raise _Unreadable(f"more than {max_bytes} bytes")
    return whole.decode("utf-8", "replace")


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Nothing comes after [DONE] but the end, and only after that is the connection reusable."""
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with asyncio.timeout(0.25):
            while await response.content.readany():
                pass


def _parse(text: str, parse_float: Callable[[str], Any] = Decimal) -> Any:
    """JSON, with its decimals as they stand: money is not a float."""
    try:
        return json.loads(text, parse_float=parse_float)
    except (ValueError, RecursionError) as error:
        raise _Unreadable("something that is not JSON") from error


def _cause(error: Exception) -> Exception | None:
    """aiohttp keeps the request's headers, the key among them, in errors about a response."""
    return None if isinstance(error, aiohttp.ClientResponseError) else error
