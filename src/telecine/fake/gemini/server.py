"""The routes, and what each question is answered with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from telecine.fake.conversations import body
from telecine.fake.gemini import answers, files, rules
from telecine.fake.gemini.answers import Turn
from telecine.fake.gemini.errors import given_key, no_file, problem, refused, refused_key, sent
from telecine.fake.intake import Taken
from telecine.fake.record import Received, Record, Sent
from telecine.fake.script import Script, Switch, play, split, wired

PREFIX = "/gemini"
MODELS = ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.0-flash", "gemini-3.1-pro-preview")
MAX_BODY = 20_971_520

_USES: Mapping[str, Switch] = {
    "early": Switch("400, the first time that an uploaded file is used: it is not ready"),
    "expired": Switch("403, the first time that some content is used: its file is gone"),
}
# Where nothing of it is in the way, the answer is as ever.
_FOR_FILES = {*_USES, *files.SWITCHES}


class Gemini:
    """Under /gemini, with the version in its paths."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._refused: set[tuple[str, str]] = set()
        self.uploads = files.Files(record, PREFIX)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{PREFIX}/v1beta/models/{{call:.+}}", self._generate),
            web.get(f"{PREFIX}/v1beta/models", self._models),
            *self.uploads.routes(),
        ]

    def switches(self) -> dict[str, str]:
        told = {name: switch.does for name, switch in answers.SWITCHES.items()}
        return told | {name: s.does for name, s in {**_USES, **files.SWITCHES}.items()}

    async def _models(self, request: web.Request) -> web.Response:
        self._record.asked.append(request.path)
        if (refusal := refused_key(request, self._record)) is not None:
            return sent(refusal)
        talks = [
            {
                "name": f"models/{name}",
                "displayName": name.replace("-", " ").title(),
                "inputTokenLimit": 1_048_576,
                "outputTokenLimit": 65_536,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
            }
            for name in MODELS
        ]
        embeds = {
            "name": "models/gemini-embedding-001",
            "supportedGenerationMethods": ["embedContent"],
        }
        listed = [*talks, embeds]
        return web.json_response({"models": listed})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        model, _, verb = request.match_info["call"].rpartition(":")
        taken = await body(request)
        received = self._receive(request, model, taken)
        try:
            script = self._script(request, received, taken, verb)
            received.usage = _used(script)
            if script.status < 300:
                received.billed = answers.cost(model, received.usage)
            return await play(request, received, script)
        finally:
            received.ended.set()

    def _receive(self, request: web.Request, model: str, taken: Taken) -> Received:
        document = rules.camel(taken.document)
        media, links = [], []
        for part in rules.parts(document):
            match part:
                case {"inlineData": {"data": str(text), "mimeType": str(mime)}}:
                    if blob := taken.blob(text):
                        kind = _kind(mime)
                        media.append(Sent(kind, blob.sha256, blob.bytes, mime, blob.seconds))
                case {"fileData": {"fileUri": str(uri)}}:
                    if file := self.uploads.find(uri, given_key(request)):
                        kind = _kind(file.mime)
                        media.append(Sent(kind, file.sha256, file.bytes, file.mime, file.seconds))
                    else:
                        links.append(uri)
        return self._record.add(
            prefix="resp-",
            provider="gemini",
            model=model,
            headers=request.headers,
            document=document,
            media=media,
            links=links,
            api="generate",
        )

    def _script(self, request: web.Request, received: Received, taken: Taken, verb: str) -> Script:
        is_streamed = verb == "streamGenerateContent"
        if not is_streamed and verb != "generateContent":
            return refused(404, f"Method {verb} not found.")
        if (refusal := refused_key(request, self._record)) is not None:
            return refusal
        if received.model == "unknown/model":
            return refused(404, "models/unknown/model is not found for API version v1beta")
        try:
            name, wire = split(received.switch)
            made = self._objection(request, received, taken) or _answer(received, name)
        except LookupError as error:
            return refused(400, str(error))
        if made.body is None and not is_streamed:
            made = replace(made, body=answers.whole(made.chunks), chunks=[])
        elif made.body is None and request.query.get("alt") != "sse":
            made = replace(made, body=made.chunks, chunks=[])
        # No [DONE]: the stream just ends.
        return wired(replace(made, end="silent") if made.end == "done" else made, wire)

    def _objection(self, request: web.Request, received: Received, taken: Taken) -> Script | None:
        if (request.content_length or 0) > MAX_BODY:
            return refused(400, f"Request payload size exceeds the limit: {MAX_BODY} bytes.")
        if bad := next((blob.problem for blob in taken.blobs if blob.problem), None):
            return refused(400, f"Invalid value at 'data' (TYPE_BYTES), {bad}")
        if told := next(rules.mistakes(received.document, received.model), None):
            return refused(400, told)
        for part in rules.parts(received.document):
            uri = str((part.get("fileData") or {}).get("fileUri", ""))
            if f"{PREFIX}/v1beta/files/" in uri:
                file = self.uploads.find(uri, given_key(request))
                if (refusal := self._unusable(uri, file, received.switch)) is not None:
                    return refusal
        return None

    def _unusable(self, uri: str, file: files.File | None, switch: str) -> Script | None:
        if file is not None and switch == "expired" and self._is_first(switch, file.sha256):
            del self.uploads.files[file.id]
            file = None
        if file is None:
            return no_file(uri.rpartition("/")[2])
        is_early = switch == "early" and self._is_first(switch, file.sha256)
        if is_early or file.state != "ACTIVE":
            return refused(
                400, f"The File {file.id} is not in an ACTIVE state and usage is not allowed."
            )
        return None

    def _is_first(self, switch: str, sha256: str) -> bool:
        is_first = (switch, sha256) not in self._refused
        self._refused.add((switch, sha256))
        return is_first


def _answer(received: Received, name: str) -> Script:
    turn = Turn(received)
    if name in answers.SWITCHES:
        return answers.SWITCHES[name].make(turn)
    if name.isdecimal() and 400 <= int(name) < 600:
        details = {"retryDelay": "7s"} if int(name) in (429, 503) else {}
        return Script(status=int(name), body=problem(int(name), f"said {name}", **details))
    if not name or name in _FOR_FILES or name.startswith("processing-"):
        return Script(chunks=turn.whole)
    raise LookupError(f"there is no switch {name!r}")


def _used(script: Script) -> Mapping[str, Any]:
    """The last usage that is told."""
    bodies = script.body if isinstance(script.body, list) else [script.body]
    for each in reversed([*script.chunks, *bodies]):
        if isinstance(each, dict) and (told := each.get("usageMetadata")):
            return dict(told)
    return {}


def _kind(mime: str) -> str:
    kind = mime.partition("/")[0]
    return kind if kind in ("video", "image", "audio") else "file"
