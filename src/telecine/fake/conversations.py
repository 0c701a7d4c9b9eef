"""Chat completions, responses and embeddings under /NAME/v1, for every dialect there is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from aiohttp import BodyPartReader, web

from telecine.fake import chat, responses
from telecine.fake.chat import Turn, completion, error
from telecine.fake.dialects import OTHERS, Dialect, Early413, HangUp, Kimi
from telecine.fake.intake import Length, Taken, take
from telecine.fake.openrouter import V1, OpenRouter
from telecine.fake.record import Received, Record, Sent
from telecine.fake.script import Script, play, split, wired

# SGLang has no other part of OpenAI's API.
_CHAT_ALONE = {"sglang"}


class Conversations:
    """Everybody who speaks OpenAI's protocol."""

    def __init__(self, record: Record) -> None:
        self._record = record
        kinds: tuple[type[Dialect], ...] = (OpenRouter, *OTHERS)
        self.dialects = {kind.name: kind() for kind in kinds}

    def switches(self) -> Mapping[str, str]:
        """Those of single dialects say whose they are."""
        own = {
            name: f"{switch.does} ({dialect.name})"
            for dialect in self.dialects.values()
            for name, switch in dialect.switches.items()
        }
        every = {name: answer.does for name, answer in chat.SWITCHES.items()}
        return {**every, **own, **responses.SWITCHES}

    def routes(self) -> list[web.RouteDef]:
        found = []
        for name in self.dialects:
            base = f"/{{dialect:{name}}}{V1}"
            found += [
                web.post(f"{base}/chat/completions", self._chat),
                web.get(f"{base}/models", self._models),
            ]
            if name not in _CHAT_ALONE:
                found += [
                    web.post(f"{base}/responses", self._responses),
                    web.post(f"{base}/embeddings", self._embeddings),
                ]
        return [
            *found,
            web.get("/{dialect:llamacpp}/props", self._props),
            web.post(f"/{{dialect:kimi}}{V1}/files", self._upload),
            web.delete(f"/{{dialect:kimi}}{V1}/files/{{id}}", self._delete),
        ]

    def _dialect(self, request: web.Request) -> Dialect:
        return self.dialects[request.match_info["dialect"]]

    # ------------------------------------------------------------ chat/completions

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        dialect = self._dialect(request)
        if isinstance(dialect, Early413):
            return web.json_response(error(413, "Payload Too Large"), status=413)
        received = await self._receive(request, dialect, "chat")
        try:
            script = self._script(request, received, dialect)
            received.billed = _bill(received, script, dialect)
            return await play(request, received, script)
        finally:
            received.ended.set()

    def _script(self, request: web.Request, received: Received, dialect: Dialect) -> Script:
        if isinstance(dialect, HangUp):
            return Script(hangs_up=True)
        if (refusal := self._refusal(request, received, dialect)) is not None:
            return refusal
        turn = Turn(received, received.usage, dialect.host, dialect.cost)
        try:
            name, wire = split(received.switch)
            script = _answer(turn, name, dialect)
        except LookupError as problem:
            return dialect.refusal(400, str(problem))
        is_streamed = received.document.get("stream") is True
        if script.body is None and not is_streamed and script.end in ("done", "silent"):
            script = replace(script, body=completion(turn, script.chunks), chunks=[])
        if dialect.name == "openrouter":
            script = replace(script, headers={"X-Generation-Id": received.id, **script.headers})
        return wired(script, wire)

    def _refusal(self, request: web.Request, received: Received, dialect: Dialect) -> Script | None:
        if self._record.refuses_key(given := _key(request)):
            return dialect.refusal(401, f"No such key: {given}")
        if self._record.is_broke and dialect.charges:
            return dialect.refusal(402, "Insufficient credits.")
        if received.model == "unknown/model":
            return dialect.refusal(404, "No endpoints found for unknown/model.", "not_found")
        return dialect.objection(received)

    # ------------------------------------------------------------ the rest of OpenAI's API

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        dialect = self._dialect(request)
        received = await self._receive(request, dialect, "responses")
        try:
            script = self._refusal(request, received, dialect) or responses.script(received)
            if script.status < 400:
                received.billed = dialect.cost(received.usage)
            return await play(request, received, script)
        finally:
            received.ended.set()

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        dialect = self._dialect(request)
        received = await self._receive(request, dialect, "embeddings")
        try:
            refusal = self._refusal(request, received, dialect)
            script = refusal or responses.embeddings(received, charges=dialect.charges)
            if refusal is None and dialect.charges:
                received.billed = responses.EMBEDDING_PRICE
            return await play(request, received, script)
        finally:
            received.ended.set()

    async def _models(self, request: web.Request) -> web.Response:
        self._record.asked.append(request.path)
        return web.json_response(self._dialect(request).listed())

    async def _props(self, request: web.Request) -> web.Response:
        self._record.asked.append(request.path)
        modalities = {"vision": True, "audio": False, "video": True}
        context = {"default_generation_settings": {"n_ctx": 32768}, "total_slots": 1}
        return web.json_response({**context, "modalities": modalities})

    # ------------------------------------------------------------ Kimi's files

    async def _upload(self, request: web.Request) -> web.Response:
        """Multipart, with a `purpose` of "video" and the `file`."""
        kimi = self._dialect(request)
        assert isinstance(kimi, Kimi)
        self._record.asked.append(request.path)
        if self._record.refuses_key(_key(request)):
            return web.json_response(error(401, "No such key"), status=401)
        purpose, sent = "", None
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name == "purpose":
                purpose = await part.text()
            elif isinstance(part, BodyPartReader) and part.name == "file":
                sent = await _file(part)
        if sent is None or purpose != "video":
            return web.json_response(error(400, "a file with purpose=video is wanted"), status=400)
        id_ = f"file-{len(kimi.files) + 1}"
        kimi.files[id_] = sent
        told = {"id": id_, "object": "file", "bytes": sent.bytes, "purpose": purpose}
        return web.json_response({**told, "status": "ok"})

    async def _delete(self, request: web.Request) -> web.Response:
        kimi = self._dialect(request)
        assert isinstance(kimi, Kimi)
        self._record.asked.append(request.path)
        id_ = request.match_info["id"]
        if kimi.files.pop(id_, None) is None:
            return web.json_response(error(404, f"file not found: {id_}"), status=404)
        return web.json_response({"id": id_, "object": "file", "deleted": True})

    # ------------------------------------------------------------ what came in

    async def _receive(self, request: web.Request, dialect: Dialect, api: str) -> Received:
        taken = await body(request)
        media, links = _media(taken)
        received = self._record.add(
            prefix=dialect.prefix,
            provider=dialect.name,
            model=str(taken.document.get("model", "")),
            headers=request.headers,
            document=taken.document,
            media=media,
            links=links,
            api=api,
        )
        if isinstance(dialect, Kimi):
            dialect.resolve(received)
        received.usage = dialect.usage(received)
        return received


async def body(request: web.Request) -> Taken:
    """The body, which must be a JSON object."""
    try:
        taken = await take(request)
    except ConnectionError as problem:  # the client left before it was through
        raise web.HTTPBadRequest from problem
    except ValueError as problem:
        text = json.dumps(error(400, f"the body is not JSON: {problem}"))
        raise web.HTTPBadRequest(text=text, content_type="application/json") from problem
    if not isinstance(taken.document, dict):
        text = json.dumps(error(400, "the body is not a JSON object"))
        raise web.HTTPBadRequest(text=text, content_type="application/json")
    return taken


async def _file(part: BodyPartReader) -> Sent:
    sha256, size, length = hashlib.sha256(), 0, Length()
    while chunk := await part.read_chunk():
        sha256.update(chunk)
        length.feed(chunk)
        size += len(chunk)
    mime = part.headers.get("Content-Type", "")
    return Sent("video", sha256.hexdigest(), size, mime, length.seconds)


def _key(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def _answer(turn: Turn, name: str, dialect: Dialect) -> Script:
    """Raises LookupError where there is no such switch."""
    if not name:
        return Script(chunks=turn.whole)
    if name.isdecimal() and 400 <= int(name) < 600:
        return refused(dialect, int(name))
    if (script := dialect.script(turn)) is not None:
        return script
    if name in chat.SWITCHES:
        return chat.SWITCHES[name].make(turn)
    raise LookupError(f"there is no switch {name!r}")


def refused(dialect: Dialect, status: int) -> Script:
    """A refusal with that status, as the dialect words it."""
    retry = {"Retry-After": "7"} if status in (429, 503) else {}
    return replace(dialect.refusal(status, f"said {status}"), headers=retry)


def _bill(received: Received, script: Script, dialect: Dialect) -> Decimal:
    """What the answer costs: who hangs up pays all of it, and for an error there is no charge
    unless usage is told with it."""
    if script.status >= 300 or script.hangs_up:
        return Decimal(0)
    told = [each for each in (script.body, *script.chunks) if isinstance(each, dict)]
    usage = next((each["usage"] for each in reversed(told) if "usage" in each), None)
    if usage is not None:
        received.usage = usage
        return dialect.bill(usage)
    if any("error" in each for each in told) or "error" in _finish(script.body):
        return Decimal(0)
    return dialect.cost(received.usage)


def _finish(body: Any) -> list[Any]:
    choices = body.get("choices", []) if isinstance(body, dict) else []
    return [choice.get("finish_reason") for choice in choices]


def _media(taken: Taken) -> tuple[list[Sent], list[str]]:
    """What a body carries, and what it points at."""
    media, links = [], []
    for part in _parts(taken.document):
        kind, names, mime = _named(part)
        for name in names:
            blob = taken.blob(name)
            if blob is None:
                links.append(name)
                continue
            mime = mime or name.removeprefix("data:").partition(";")[0]
            media.append(Sent(kind, blob.sha256, blob.bytes, mime, blob.seconds, blob.pieces))
    return media, links


def _parts(document: Any) -> Iterator[Mapping[str, Any]]:
    given = document.get("messages", document.get("input"))
    for message in given if isinstance(given, list) else []:
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else []:
            if isinstance(part, dict):
                yield part


def _named(part: Mapping[str, Any]) -> tuple[str, list[str], str]:
    """The kind of a part, what it names, and its type where the name does not tell it."""
    match part:
        case {"type": "image_url" | "input_image", "image_url": {"url": str(url)} | str(url)}:
            return "image", [url], ""
        case {"type": "video_url" | "input_video", "video_url": {"url": str(url)} | str(url)}:
            return "video", [url], ""
        case {"type": "input_video", "input_video": {"data": str(video)} | {"url": str(video)}}:
            return "video", [video], ""
        case {"type": "video", "video": list(frames)}:
            return "frame", [frame for frame in frames if isinstance(frame, str)], ""
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(format_)}}:
            return "audio", [data], f"audio/{format_}"
        case {"type": "file", "file": {"file_data": str(data)}}:
            return "file", [data], ""
        case {"type": "input_file", "file_data": str(data)}:
            return "file", [data], ""
    return "text", [], ""
