"""One conversation in OpenAI's protocol, which OpenRouter and most servers speak.

The adapters say what is sent and where; here is how it is sent, heard, and how it may go wrong.
The answer is streamed, whatever the caller wanted: only so does hanging up stop the work, and the
time to the first token become known. Not so for callers who speak the protocol themselves: what
they ask goes on as it is, and some of it can not be streamed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

import aiohttp

from telecine.errors import (
    InputError,
    ProviderError,
    ProviderFailed,
    ProviderUnavailable,
    TelecineError,
)
from telecine.models import (
    Api,
    AudioPart,
    Call,
    Conversation,
    FilePart,
    ImagePart,
    LinkPart,
    Log,
    Part,
    PdfPart,
    ProviderEvent,
    Upstream,
)
from telecine.net import Client
from telecine.openai import bodies
from telecine.providers import failures, sse, verbatim
from telecine.providers.answer import Answer
from telecine.providers.body import Base64, Body, loc

T = TypeVar("T")
VideoPart = Callable[[FilePart | LinkPart], Mapping[str, Any]]

_PATHS: Mapping[Api, str] = {
    "chat": "/chat/completions",
    "responses": "/responses",
    "embeddings": "/embeddings",
}

_NEVER_REACHED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)

_CONNECT_SECONDS = 10.0
_FIRST_BYTE_SECONDS = 300.0
_IDLE_SECONDS = 120.0
_WHOLE_ANSWER_SECONDS = (
    3600.0  # what a caller who wants no stream may wait for; the run has a limit
)
_LIST_SECONDS = 5.0
_MAX_ERROR_BYTES = 64 * 1024
_MAX_LIST_BYTES = 32 * 1024 * 1024
_IN_THREAD = 256 * 1024


class _Unreadable(Exception):
    """The server's bytes make no sense; says what they are."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is sent, and to which part of the API."""

    api: Api
    document: Any
    is_streamed: bool = True


class Chat:
    """A server under `base_url`, known to users as provider `name`.

    `reads_cost`: its `usage.cost` is a bill in US dollars. The key goes into the Authorization
    header and nowhere else; it is taken out of whatever the server says.
    """

    def __init__(
        self,
        name: str,
        *,
        client: Client,
        base_url: str,
        api_key: str | None,
        headers: Mapping[str, str] | None = None,
        reads_cost: bool = False,
        first_byte_seconds: float = _FIRST_BYTE_SECONDS,
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        self._name = name
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers or {})
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        # Placeholders such as "EMPTY" are no secrets, and words of everyday sentences.
        self._secrets = (api_key,) if api_key and len(api_key) >= 8 else ()
        self._reads_cost = reads_cost
        self._first_byte_seconds = first_byte_seconds
        self._idle_seconds = idle_seconds

    async def ask(self, call: Call, document: Any) -> AsyncGenerator[ProviderEvent, None]:
        """POST `document` and yield the answer as base.Provider.generate says.

        When it fails after the server told what it used, the Usage still comes first.
        """
        answer = Answer(reads_cost=self._reads_cost, wants_reasoning=call.reasoning)
        async with aclosing(self._told(call, _Asked("chat", document), answer)) as events:
            async for event in events:
                yield event

    async def pass_on(
        self, call: Call, talk: Conversation, document: Any
    ) -> AsyncGenerator[ProviderEvent, None]:
        """The same as base.Converses.converse says: what the server answers goes on as it is."""
        answer = verbatim.answer(talk.api, reads_cost=self._reads_cost)
        asked = _Asked(talk.api, document, is_streamed=talk.is_streamed)
        async with aclosing(self._told(call, asked, answer)) as events:
            async for event in events:
                yield event

    async def _told(
        self, call: Call, asked: _Asked, answer: Answer
    ) -> AsyncGenerator[ProviderEvent, None]:
        """The answer, then what is to be said about it, then what it used."""
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
        try:
            async with asyncio.timeout(_LIST_SECONDS):
                async with self._session.get(
                    self._base_url + path, headers=self._headers, allow_redirects=False
                ) as response:
                    text = await _text(response, _MAX_LIST_BYTES)
                    status = response.status
        except (aiohttp.ClientError, OSError, _Unreadable) as error:
            raise ProviderUnavailable(
                f"{self._name} does not answer at {self._base_url}: {self._reason(error)}",
                provider=self._name,
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
        self, call: Call, asked: _Asked, answer: Answer
    ) -> AsyncGenerator[ProviderEvent, None]:
        """From the question to the end of the answer; raises unless the answer came to its end."""
        body = Body(asked.document)
        try:
            response = await self._post(call, asked, body)
            try:
                if response.status >= 300:
                    raise await self._refusal(call, response)
                told = Upstream()
                answer.upstream = Upstream(id=response.headers.get("X-Generation-Id"))
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
            raise failures.error(
                failures.Failure(status=200, kind="content_filter", message="no text was given"),
                call,
                provider=self._name,
                upstream_id=answer.upstream.id,
            )

    async def _post(self, call: Call, asked: _Asked, body: Body) -> aiohttp.ClientResponse:
        """Send the question; returns with the head of the answer."""
        seconds = self._first_byte_seconds if asked.is_streamed else _WHOLE_ANSWER_SECONDS
        try:
            async with asyncio.timeout(seconds) as patience:
                # A long upload may take its time, as long as it moves.
                body.on_progress = lambda: _extend(patience, seconds)
                return await self._session.post(
                    self._base_url + _PATHS[asked.api],
                    data=body,
                    headers={
                        "Accept": "text/event-stream" if asked.is_streamed else "application/json",
                        "X-Request-Id": call.request_id,
                        **self._headers,
                    },
                    timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS),
                    allow_redirects=False,
                )
        finally:
            body.on_progress = lambda: None

    async def _chunks(self, response: aiohttp.ClientResponse, answer: Answer) -> AsyncIterator[Any]:
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
        while data := await _read(response, self._idle_seconds):
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
        return failures.error(
            failures.parse(
                text, status=response.status, retry_after=response.headers.get("Retry-After")
            ),
            call,
            provider=self._name,
            upstream_id=response.headers.get("X-Generation-Id"),
            secrets=self._secrets,
        )

    def _end_with(self, answer: Answer, call: Call) -> None:
        """The answer carried an error: raise it, unless it only repeats that the tokens ran out."""
        assert answer.failure is not None
        if answer.upstream.finish_reason == "length" and answer.failure.status == 400:
            return
        raise failures.error(
            answer.failure,
            call,
            provider=self._name,
            upstream_id=answer.upstream.id,
            has_begun=answer.has_begun or answer.is_paid_for,
            secrets=self._secrets,
        )

    def _broken(self, error: Exception, body: Body, answer: Answer) -> ProviderError:
        """The connection failed. Unless all of the question was sent, nothing was billed."""
        reason = self._reason(error)
        if isinstance(error, _NEVER_REACHED):
            what = f"cannot be reached at {self._base_url}: {reason}"
        elif body.is_sent:
            return self._failed(f"went away: {reason}", answer)
        else:
            what = f"went away before it had the whole request: {reason}"
        return ProviderUnavailable(f"{self._name} {what}", provider=self._name)

    def _failed(self, what: str, answer: Answer) -> ProviderFailed:
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


def messages(call: Call, video: VideoPart) -> list[dict[str, Any]]:
    """The prompt and its media: text first, as the providers advise, then the parts in order.

    `video` makes the dialect's part of one, or raises InputError.
    """
    said: list[dict[str, Any]] = []
    if call.system_prompt:
        said.append({"role": "system", "content": call.system_prompt})
    if not call.parts:
        said.append({"role": "user", "content": call.prompt})
        return said
    media = [_medium(part, video) for part in call.parts]
    said.append({"role": "user", "content": [{"type": "text", "text": call.prompt}, *media]})
    return said


def body(call: Call, talk: Conversation, video: VideoPart) -> dict[str, Any]:
    """The body that the caller sent, with its media as the dialect writes them."""
    parts: dict[tuple[str | int, ...], Any] = {}
    for part in call.parts:
        path = loc(part)[1:]
        made = _medium(part, video)
        if talk.api == "responses":
            made = _as_response(made)
        parts[path] = _fitted(bodies.at(talk.body, path), made)
    return bodies.replaced(talk.body, parts) | {"model": call.model}


def _medium(part: Part, video: VideoPart) -> Mapping[str, Any]:
    match part:
        case FilePart() | LinkPart():
            return video(part)
        case ImagePart(image):
            url = Base64(image.path, f"data:{image.mime};base64,")
            return {"type": "image_url", "image_url": {"url": url}}
        case AudioPart():
            sound = {"data": Base64(part.path), "format": part.format}
            return {"type": "input_audio", "input_audio": sound}
        case PdfPart(pdf):
            data = Base64(pdf.path, "data:application/pdf;base64,")
            file = {"filename": f"document-{pdf.index + 1}.pdf", "file_data": data}
            return {"type": "file", "file": file}
    raise InputError("This model takes media as files only", loc=loc(part))


def _as_response(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of a chat as the Responses API writes it."""
    match part["type"]:
        case "image_url":
            return {"type": "input_image", "image_url": part["image_url"]["url"]}
        case "video_url":
            return {"type": "input_video", "video_url": part["video_url"]["url"]}
    return part


def _fitted(given: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """`made`, with whatever else the caller's own part said (such as how closely to look)."""
    if given.get("type") != made["type"]:
        return dict(made)
    inner = {
        name: {**given[name], **value}
        for name, value in made.items()
        if isinstance(value, Mapping) and isinstance(given.get(name), Mapping)
    }
    return {**given, **made, **inner}


def parameters(call: Call) -> dict[str, Any]:
    """What a request of every dialect has besides its messages."""
    asked = {
        "model": call.model,
        "stream": True,
        "temperature": call.temperature,
        "max_tokens": call.max_tokens,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _warnings(call: Call, answer: Answer, failure: TelecineError | None) -> list[str]:
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


def _extend(patience: asyncio.Timeout, seconds: float) -> None:
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
