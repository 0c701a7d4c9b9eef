"""The routes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from telecine.fake.anthropic import answers, rules
from telecine.fake.anthropic.rules import MODELS, refusal
from telecine.fake.intake import Taken, take
from telecine.fake.record import Received, Record, Sent
from telecine.fake.script import Script, play


class Anthropic:
    """Under /anthropic."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def switches(self) -> Mapping[str, str]:
        return {name: answer.does for name, answer in answers.SWITCHES.items()}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/anthropic/v1/messages", self._messages),
            web.get("/anthropic/v1/models", self._models),
        ]

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        try:
            taken = await take(request)
            if not isinstance(taken.document, dict):
                raise TypeError("an object is wanted")
        except (ValueError, TypeError, ConnectionError) as problem:
            said = f"The request body is not valid JSON: {problem}"
            return web.json_response(refusal(400, said).body, status=400)
        received = self._receive(request, taken)
        try:
            script = self._script(request, received)
            received.billed = answers.bill(received, script)
            return await play(request, received, script)
        finally:
            received.ended.set()

    def _receive(self, request: web.Request, taken: Taken) -> Received:
        media, links = [], []
        for block in _blocks(taken.document):
            source = block.get("source") or {}
            if (blob := taken.blob(str(source.get("data")))) is not None:
                kind = "image" if block["type"] == "image" else "file"
                media.append(Sent(kind, blob.sha256, blob.bytes, source.get("media_type", "")))
            elif source.get("type") == "url":
                links.append(str(source.get("url")))
        received = self._record.add(
            prefix="msg_",
            provider="anthropic",
            model=str(taken.document.get("model", "")),
            headers=request.headers,
            document=taken.document,
            media=media,
            links=links,
            api="messages",
        )
        received.usage = answers.usage(received)
        return received

    def _script(self, request: web.Request, received: Received) -> Script:
        script = self._refused(request, received) or answers.answer(received)
        return replace(script, headers={"request-id": f"req_{received.id}", **script.headers})

    def _refused(self, request: web.Request, received: Received) -> Script | None:
        if self._record.refuses_key(request.headers.get("x-api-key", "")):
            return refusal(401, "invalid x-api-key")
        if "anthropic-version" not in request.headers:
            return refusal(400, "anthropic-version: header is required")
        if self._record.is_broke:
            return refusal(402, "Your credit balance is too low to access the Anthropic API.")
        if received.model not in MODELS and not received.model.startswith("fake/"):
            return refusal(404, f"model: {received.model}")
        if (request.content_length or 0) > rules.MAX_BODY:
            return refusal(413, "Request exceeds the maximum size")
        return rules.objection(received)

    async def _models(self, request: web.Request) -> web.Response:
        self._record.asked.append(request.path_qs)
        if self._record.refuses_key(request.headers.get("x-api-key", "")):
            return web.json_response(refusal(401, "invalid x-api-key").body, status=401)
        names = list(MODELS)
        after = request.query.get("after_id")
        start = names.index(after) + 1 if after in names else 0
        # Small pages, so that whoever does not turn them is found out.
        page = names[start : start + min(int(request.query.get("limit", 20)), 2)]
        return web.json_response(
            {
                "data": [rules.listed(MODELS[name]) for name in page],
                "has_more": names[-1] not in page,
                "first_id": page[0],
                "last_id": page[-1],
            }
        )


def _blocks(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for message in document.get("messages") or []:
        content = message.get("content") if isinstance(message, dict) else None
        for block in content if isinstance(content, list) else []:
            if isinstance(block, dict) and block.get("type") in ("image", "document"):
                yield block
