"""A provider that speaks as the real ones do, misbehaves on demand, and remembers what it was sent.

    with serve() as upstream:
        upstream.url + "/openrouter"     OpenRouter's shapes: cost, generations, /key, /models
        upstream.url + "/vllm"           nested errors, multimodal_tokens
        upstream.url + "/sglang"         flat errors, video_tokens
        upstream.url + "/llamacpp"       input_video with raw base64
        upstream.url + "/early413"       413 before the body was read
        upstream.url + "/hangup"         takes the request and closes the connection

The answer is `I saw N video(s): sha256=...`, and so on for images, sounds and files. A model called
`fake/SWITCH` does what SWITCH says (see `script`). One that is offered tools calls the first. Bodies
are taken apart as they arrive, so that they may be of any size.

Beside chat/completions there are responses and embeddings, except under /sglang.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import re
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Any

from aiohttp import web

KEY = "sk-or-v1-0123456789abcdef"
PROMPT_PRICE, COMPLETION_PRICE = Decimal("0.0000003"), Decimal("0.0000025")
TOKENS_PER_VIDEO, TOKENS_OF_TEXT = 258, 12
MODELS = {
    "google/gemini-2.5-flash": ["file", "image", "text", "audio", "video"],
    "qwen/qwen3.5-27b": ["text", "image", "video"],
    "openrouter/auto": ["text", "image", "video"],
    "text/only": ["text"],
}
_COMMENT = ": OPENROUTER PROCESSING"
_MARK = re.compile(rb';base64,|"data":\s?"')


@dataclass(frozen=True)
class Sent:
    kind: str  # video, image, audio, file
    sha256: str
    bytes: int
    mime: str


@dataclass(eq=False)
class Received:
    """One request to chat/completions or its like. `ended` is set when its handling is over, and only then are
    `was_cut` (the client went away first) and `billed` final."""

    id: str
    headers: Mapping[str, str]
    document: Any
    media: list[Sent]
    links: list[str]
    api: str = "chat"
    was_cut: bool = False
    billed: Decimal = Decimal(0)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def model(self) -> str:
        return self.document["model"]

    @property
    def videos(self) -> list[Sent]:
        return self.of("video")

    def of(self, kind: str) -> list[Sent]:
        return [sent for sent in self.media if sent.kind == kind]

    @property
    def said(self) -> str:
        seen = "".join(f" sha256={video.sha256}" for video in self.videos)
        said = f"I saw {len(self.videos) + len(self.links)} video(s):{seen or ' none'}"
        for kind in ("image", "audio", "file"):
            if found := self.of(kind):
                said += f"; {len(found)} {kind}(s):" + "".join(f" sha256={s.sha256}" for s in found)
        return said


@dataclass
class Script:
    """How one request is answered. A `str` among `chunks` goes out as it is."""

    chunks: list[Any] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    newline: str = "\n"
    bytes_per_write: int = 1 << 20
    seconds_per_chunk: float = 0.0
    end: str = "done"  # done; silent: no [DONE]; cut: the connection breaks; mute: nothing more
    sends_head: bool = True


class Upstream:
    def __init__(self) -> None:
        self.url = ""
        self.received: list[Received] = []
        self.asked: list[str] = []
        self._ids = count(1)

    @property
    def last(self) -> Received:
        return self.received[-1]

    def application(self) -> web.Application:
        app = web.Application(client_max_size=0)
        app.router.add_post("/{dialect}/chat/completions", self._chat)
        app.router.add_post("/{dialect:(?!sglang).*}/responses", self._responses)
        app.router.add_post("/{dialect:(?!sglang).*}/embeddings", self._embeddings)
        app.router.add_get("/{dialect}/models", self._models)
        app.router.add_get("/{dialect}/key", self._key)
        app.router.add_get("/{dialect}/generation", self._generation)
        return app

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        dialect = request.match_info["dialect"]
        if dialect == "early413":
            return web.json_response(_error(413, "Payload Too Large"), status=413)
        received = await self._receive(request)
        self.received.append(received)
        try:
            if dialect == "hangup":
                request.transport.abort()
                return web.Response()
            if (refusal := _refused_key(request)) is not None:
                return refusal
            answer = script(received, dialect)
            if isinstance(answer.body, str):
                return web.Response(
                    text=answer.body,
                    content_type="text/html",
                    status=answer.status,
                    headers=answer.headers,
                )
            if answer.body is not None:
                return web.json_response(answer.body, status=answer.status, headers=answer.headers)
            if received.document.get("stream") is not True:
                return web.json_response(_completion(received, dialect))
            return await self._stream(request, received, answer, dialect)
        finally:
            received.ended.set()

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        received = await self._receive(request, "responses")
        self.received.append(received)
        try:
            if (refusal := _refused_key(request)) is not None:
                return refusal
            usage = _usage(received, request.match_info["dialect"], _words(received.said))
            if received.model == "fake/429":
                return web.json_response(_error(429, "said 429"), status=429)
            if received.document.get("stream") is not True:
                return web.json_response(_response(received, usage))
            answer = Script(_response_events(received, usage), end="silent")
            return await self._stream(request, received, answer, "other")
        finally:
            received.ended.set()

    async def _embeddings(self, request: web.Request) -> web.Response:
        received = await self._receive(request, "embeddings")
        self.received.append(received)
        received.ended.set()
        if (refusal := _refused_key(request)) is not None:
            return refusal
        given = received.document["input"]
        texts = given if isinstance(given, list) else [given]
        vectors = [[len(str(text)) / 7, -0.25, 1e-07] for text in texts]
        if received.document.get("encoding_format") == "base64":
            vectors = [base64.b64encode(struct.pack("<3f", *v)).decode() for v in vectors]
        data = [
            {"object": "embedding", "index": i, "embedding": vector}
            for i, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts), "cost": 0.000002}
        return web.json_response(
            {"object": "list", "data": data, "model": received.model, "usage": usage}
        )

    async def _receive(self, request: web.Request, api: str = "chat") -> Received:
        scanner = _Scanner()
        async for chunk in request.content.iter_any():
            scanner.feed(chunk)
        document = scanner.finish()
        media, links = [], []
        for part in _parts(document):
            kind, name, mime = _named(part)
            if name is None:
                continue
            if not name.startswith(("data:", "#")):
                links.append(name)
                continue
            sha256, size = scanner.found[int(name.rpartition("#")[2])]
            media.append(Sent(kind, sha256, size, mime or name[5:].partition(";")[0]))
        return Received(
            id=f"gen-{next(self._ids)}",
            headers=request.headers,
            document=document,
            media=media,
            links=links,
            api=api,
        )

    async def _stream(
        self, request: web.Request, received: Received, answer: Script, dialect: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            status=answer.status,
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"},
        )
        if dialect == "openrouter":
            response.headers["X-Generation-Id"] = received.id
        # Google goes on, and bills, whether anybody listens or not.
        received.billed = _cost(_usage(received, "openrouter", _words(received.said)))
        try:
            if answer.sends_head:
                await response.prepare(request)
            for chunk in [*answer.chunks, *(["data: [DONE]"] if answer.end == "done" else [])]:
                text = chunk if isinstance(chunk, str) else f"data: {json.dumps(chunk)}"
                await _write(response, f"{text}\n\n".replace("\n", answer.newline), answer)
                if answer.seconds_per_chunk:
                    await asyncio.sleep(answer.seconds_per_chunk)
            # The server tells a handler of a lost connection only when it writes.
            while answer.end == "mute" and not _has_left(request):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            if _has_left(request):
                raise ConnectionResetError
            if answer.end == "cut":
                request.transport.abort()
            else:
                await response.write_eof()
        except ConnectionError:
            received.was_cut = True
        return response

    async def _models(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.match_info["dialect"] != "openrouter":
            return web.json_response({"object": "list", "data": [{"id": "Qwen/Qwen3-VL-8B"}]})
        data = [
            {
                "id": name,
                "name": name.title(),
                "context_length": 1048576,
                "architecture": {"input_modalities": modalities},
                "pricing": (
                    {"prompt": "-1", "completion": "-1"}
                    if name == "openrouter/auto"
                    else {"prompt": "0.0000003", "completion": "0.0000025", "audio": "0.000001"}
                ),
            }
            for name, modalities in MODELS.items()
        ]
        return web.json_response({"data": data})

    async def _key(self, request: web.Request) -> web.Response:
        if (refusal := _refused_key(request)) is not None:
            return refusal
        return web.json_response(
            {"data": {"label": "sk-or-v1-012...def", "limit": 10, "limit_remaining": 4.25}}
        )

    async def _generation(self, request: web.Request) -> web.Response:
        for received in self.received:
            if received.id == request.query.get("id"):
                data = {
                    "id": received.id,
                    "total_cost": float(received.billed),
                    "cancelled": received.was_cut,
                    "num_media_prompt": len(received.videos),
                }
                return web.json_response({"data": data})
        return web.json_response(_error(404, "Generation not found"), status=404)


@contextlib.contextmanager
def serve() -> Iterator[Upstream]:
    """On a loopback port of its own, in a thread of its own."""
    upstream = Upstream()
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(upstream.application(), access_log=None, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, name="fake upstream")
    thread.start()
    try:
        yield upstream
    finally:
        asyncio.run_coroutine_threadsafe(_stop(runner), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _stop(runner: web.AppRunner) -> None:
    await runner.cleanup()
    # Connections that were aborted leave tasks behind.
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


# ---------------------------------------------------------------- what it answers


def script(received: Received, dialect: str) -> Script:  # noqa: PLR0912 - a case per switch
    """What a model of that name does."""
    name = received.model
    words = _words(received.said)
    usage = _usage(received, dialect, words)
    plain = [_chunk(received, word) for word in words]
    stop = _chunk(received, "", finish="stop")
    total = {**_head(received), "choices": [], "usage": usage}
    if tools := received.document.get("tools"):
        plain, stop = _tool_chunks(received, tools[0]), _chunk(received, "", finish="tool_calls")
    others = range(1, received.document.get("n") or 1)
    plain += [_chunk(received, f"answer {n}", index=n) for n in others]
    plain += [_chunk(received, "", finish="stop", index=n) for n in others]
    whole = [*plain, stop, total]
    if name == "unknown/model":
        return _refusal(dialect, 404, "No endpoints found for unknown/model.", "not_found")
    if not name.startswith("fake/"):
        return Script(whole)
    match name.removeprefix("fake/"):
        case "comments":
            return Script([_COMMENT] * 17 + [x for chunk in whole for x in (": ", ":", chunk)])
        case "crlf":
            return Script(whole, newline="\r\n")
        case "cr":
            return Script(whole, newline="\r")
        case "bytes":
            return Script([_chunk(received, "Grüße, 世界 🎬 "), *whole], bytes_per_write=1)
        case "usage-in-last-chunk":
            return Script([*plain, {**stop, "usage": usage}])
        case "usage-twice":
            return Script([*plain, {**stop, "usage": usage}, total])
        case "no-usage":
            return Script([*plain, stop])
        case "null-cost":
            return Script([*plain, stop, {**total, "usage": {**usage, "cost": None}}])
        case "byok":
            details = {"upstream_inference_cost": 0.02}
            own = {**usage, "cost": 0.001, "is_byok": True, "cost_details": details}
            return Script([*plain, stop, {**total, "usage": own}])
        case "zero-prompt":
            zero = {**usage, "prompt_tokens": 0, "prompt_tokens_details": {"video_tokens": 0}}
            return Script([*plain, stop, {**total, "usage": zero}])
        case "silent-drop":
            # It never saw the video, and makes something up.
            blind = {**usage, "prompt_tokens": TOKENS_OF_TEXT, "prompt_tokens_details": {}}
            lie = _chunk(received, "A cat plays the piano.")
            return Script([lie, stop, {**total, "usage": blind}])
        case "thoughts":
            thoughts = [_chunk(received, "", reasoning=text) for text in ("Let me ", "look.")]
            return Script([*thoughts, *whole])
        case "thoughts-in-details":
            detail = {"type": "reasoning.text", "text": "Hm.", "index": 0}
            thought = _chunk(received, "")
            thought["choices"][0]["delta"]["reasoning_details"] = [detail]
            return Script([thought, *whole])
        case "thoughts-in-content":
            thought = _chunk(received, "")
            thought["choices"][0]["delta"]["reasoning_content"] = "Hm."
            return Script([thought, *whole])
        case "thoughts-only":
            thought = _chunk(received, "", reasoning="Endless")
            return Script([thought, _chunk(received, "", finish="length"), total])
        case "length-then-error":
            late = {**_chunk(received, ""), **_error(400, "Token limit reached"), "usage": usage}
            return Script([*plain, _chunk(received, "", finish="length"), late])
        case "late-error":
            late = {**_chunk(received, ""), **_error(400, "It broke"), "usage": usage}
            return Script([*plain, late])
        case "middle-error":
            error = {**_chunk(received, "", finish="error"), **_error(502, "Provider gone")}
            return Script([plain[0], error], end="silent")
        case "word-code":
            return Script([plain[0], {"error": {"code": "server_error", "message": "Oops"}}])
        case "first-429":
            return Script([_COMMENT, _error(429, "Slow down")])
        case "error-in-200":
            return Script(body=_error(502, "Provider returned error"))
        case "error-in-choice":
            choice = {"index": 0, "finish_reason": "error", **_error(502, "Host fell over")}
            return Script(body={**_head(received), "choices": [choice]})
        case "empty-choices":
            return Script(body={**_head(received), "choices": [], "usage": usage})
        case "no-stream":
            message = {"role": "assistant", "content": received.said}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return Script(body={**_head(received), "choices": [choice], "usage": usage})
        case "nothing":
            return Script([total])
        case "filtered":
            return Script([_chunk(received, "", finish="content_filter"), total])
        case "cut":
            return Script(plain, end="cut")
        case "cut-at-once":
            return Script([_COMMENT], end="cut")
        case "ends-early":
            return Script(plain, end="silent")
        case "no-done":
            return Script(whole, end="silent")
        case "mute":
            return Script(plain[:1], end="mute")
        case "late-head":
            return Script(end="mute", sends_head=False)
        case "slow":
            return Script([_chunk(received, f"{n} ") for n in range(2000)], seconds_per_chunk=0.01)
        case "not-json":
            return Script([plain[0], "data: {half"])
        case "huge-line":
            return Script(["data: " + "x" * (9 << 20)])
        case "moderated":
            metadata = {"reasons": ["violence"], "flagged_input": "..."}
            return Script(status=403, body=_error(403, "Flagged", metadata=metadata))
        case "overflow":
            kind = {"error_type": "context_length_exceeded"}
            return Script(status=400, body=_error(400, "Too many tokens", metadata=kind))
        case "no-host":
            availability = {"code": "constraint_filtered", "retryable": False}
            error = _error(503, "No allowed providers")
            return Script(
                status=503, body={"error": {**error["error"], "availability": availability}}
            )
        case "raw-429":
            raw = {"provider_name": "Google", "raw": "quota of the day is used up"}
            return Script(
                status=429,
                headers={"Retry-After": "7"},
                body={**_error(429, "Provider returned error", metadata=raw), "user_id": "u"},
            )
        case "quotes-key":
            key = received.headers["Authorization"].removeprefix("Bearer ")
            return Script(status=400, body=_error(400, f"Bad request with key {key}, Bearer {key}"))
        case "html":
            return Script(
                status=502, body="<html><style>b{}</style><h1>502 Bad Gateway</h1></html>"
            )
        case "redirect":
            return Script(status=301, headers={"Location": "http://example.invalid/"}, body="")
        case status if status.isdecimal():
            retry = {"Retry-After": "7"} if status in ("429", "503") else {}
            refusal = _refusal(dialect, int(status), f"said {status}", "")
            return Script(status=refusal.status, headers=retry, body=refusal.body)
    raise AssertionError(f"no switch {name}")


def _named(part: dict[str, Any]) -> tuple[str, str | None, str]:
    """The kind of a part, what it names, and its type where the name does not tell it."""
    match part["type"]:
        case "image_url":
            return "image", part["image_url"]["url"], ""
        case "input_image":
            return "image", part["image_url"], ""
        case "video_url":
            return "video", part["video_url"]["url"], ""
        case "input_video":
            video = part.get("video_url") or part["input_video"]["data"]
            return "video", video, ""
        case "input_audio":
            sound = part["input_audio"]
            return "audio", sound["data"], f"audio/{sound['format']}"
        case "file":
            return "file", part["file"]["file_data"], ""
        case "input_file":
            return "file", part["file_data"], ""
    return "text", None, ""


def _tool_chunks(received: Received, tool: dict[str, Any]) -> list[dict[str, Any]]:
    """A call of the tool, in pieces as they come."""
    pieces = [
        {"id": "call_1", "type": "function", "function": {"name": tool["function"]["name"]}},
        *({"function": {"arguments": piece}} for piece in ('{"city":', ' "Köln"}')),
    ]
    chunks = [_chunk(received, "") for _ in pieces]
    for chunk, piece in zip(chunks, pieces, strict=True):
        chunk["choices"][0]["delta"] = {"tool_calls": [{"index": 0, **piece}]}
    return chunks


def _completion(received: Received, dialect: str) -> dict[str, Any]:
    """The answer at once."""
    message: dict[str, Any] = {"role": "assistant", "content": received.said, "refusal": None}
    finish = "stop"
    if tools := received.document.get("tools"):
        call = {"name": tools[0]["function"]["name"], "arguments": '{"city": "Köln"}'}
        calls = [{"id": "call_1", "type": "function", "function": call}]
        message, finish = {"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls"
    choice = {"message": message, "finish_reason": finish, "native_finish_reason": finish.upper()}
    count_ = received.document.get("n") or 1
    return {
        **_head(received),
        "object": "chat.completion",
        "created": 1_700_000_000,
        "choices": [{"index": n, "logprobs": None, **choice} for n in range(count_)],
        "usage": _usage(received, dialect, _words(received.said)),
    }


def _response(received: Received, usage: dict[str, Any]) -> dict[str, Any]:
    """The answer of the Responses API."""
    part = {"type": "output_text", "text": received.said, "annotations": []}
    item = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
    return {
        "id": received.id,
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": received.model,
        "output": [{**item, "content": [part]}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": received.document.get("tools", []),
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
            **({"cost": usage["cost"]} if "cost" in usage else {}),
        },
    }


def _response_events(received: Received, usage: dict[str, Any]) -> list[dict[str, Any]]:
    whole = _response(received, usage)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    [item] = whole["output"]
    [part] = item["content"]
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
    ]
    events += [
        {"type": "response.output_text.delta", **place, "delta": word, "logprobs": []}
        for word in _words(received.said)
    ]
    match received.model:
        case "fake/middle-error":
            error = {"code": "server_error", "message": "Provider gone"}
            failed = {**begun, "status": "failed", "error": error}
            events.append({"type": "response.failed", "response": failed})
        case "fake/error-event":
            events.append({"type": "error", "code": "server_error", "message": "Oops"})
        case _:
            events.append({"type": "response.output_text.done", **place, "text": part["text"]})
            events.append({"type": "response.completed", "response": whole})
    return [{**event, "sequence_number": n} for n, event in enumerate(events)]


def _head(received: Received) -> dict[str, Any]:
    return {
        "id": received.id,
        "object": "chat.completion.chunk",
        "model": received.model,
        "provider": "Google",
    }


def _chunk(
    received: Received,
    text: str,
    *,
    reasoning: str | None = None,
    finish: str | None = None,
    index: int = 0,
) -> dict[str, Any]:
    delta = {"role": "assistant", "content": text, "reasoning": reasoning}
    return {
        **_head(received),
        "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
    }


def _usage(received: Received, dialect: str, words: list[str]) -> dict[str, Any]:
    video = TOKENS_PER_VIDEO * len(received.videos)
    prompt = 0 if received.links else TOKENS_OF_TEXT + video
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": len(words),
        "total_tokens": prompt + len(words),
    }
    match dialect:
        case "openrouter":
            usage |= {
                "cost": float(_cost(usage)),
                "is_byok": False,
                "prompt_tokens_details": {
                    "cached_tokens": 0,
                    "audio_tokens": 0,
                    "video_tokens": video,
                },
                "completion_tokens_details": {"reasoning_tokens": 0},
            }
        case "vllm":
            usage["prompt_tokens_details"] = {"multimodal_tokens": {"video": video}}
        case "sglang":
            usage["prompt_tokens_details"] = {"cached_tokens": 0, "video_tokens": video}
    return usage


def _cost(usage: dict[str, Any]) -> Decimal:
    return usage["prompt_tokens"] * PROMPT_PRICE + usage["completion_tokens"] * COMPLETION_PRICE


def _error(code: Any, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


def _refusal(dialect: str, status: int, message: str, kind: str) -> Script:
    match dialect:
        case "openrouter":
            more = {"metadata": {"error_type": kind}} if kind else {}
            return Script(status=status, body=_error(status, message, **more))
        case "sglang":
            flat = {"object": "error", "message": message, "type": "Error", "param": None}
            return Script(status=status, body={**flat, "code": status})
        case "llamacpp":
            nested = {"code": status, "message": message, "type": "invalid_request_error"}
            return Script(status=status, body={"error": nested})
    return Script(
        status=status,
        body={"error": {"message": message, "type": "Error", "param": None, "code": status}},
    )


def _refused_key(request: web.Request) -> web.Response | None:
    given = request.headers.get("Authorization", "")
    if given == f"Bearer {KEY}":
        return None
    return web.json_response(_error(401, f"No such key: {given}"), status=401)


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)


def _has_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def _write(response: web.StreamResponse, text: str, answer: Script) -> None:
    data = text.encode()
    for start in range(0, len(data), answer.bytes_per_write):
        await response.write(data[start : start + answer.bytes_per_write])


# ---------------------------------------------------------------- what it was asked


def _parts(document: Any) -> list[dict[str, Any]]:
    given = document.get("messages", document.get("input"))
    messages = [m for m in given if isinstance(m, dict)] if isinstance(given, list) else []
    return [
        part
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    ]


class _Scanner:
    """Takes base64 out of a JSON body while it arrives: hashed, and replaced by `#INDEX`."""

    def __init__(self) -> None:
        self.text = b""
        self.found: list[tuple[str, int]] = []
        self._pending = b""
        self._hash: Any = None
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        self._pending += chunk
        while self._step():
            pass

    def finish(self) -> Any:
        """The document."""
        return json.loads(self.text + self._pending)

    def _step(self) -> bool:
        if self._hash is None:
            mark = _MARK.search(self._pending)
            end = mark.end() if mark else max(0, len(self._pending) - 9)
            self.text += self._pending[:end]
            self._pending = self._pending[end:]
            if mark:
                self._hash, self._size = hashlib.sha256(), 0
            return mark is not None
        quote = self._pending.find(b'"')
        end = quote if quote >= 0 else len(self._pending) // 4 * 4
        data = base64.b64decode(self._pending[:end], validate=True)
        self._hash.update(data)
        self._size += len(data)
        self._pending = self._pending[end:]
        if quote < 0:
            return False
        self.text += f"#{len(self.found)}".encode()
        self.found.append((self._hash.hexdigest(), self._size))
        self._hash = None
        return True
