"""Gemini's Files API: resumable uploads, and files that need a while before they can be used."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from aiohttp import web

from telecine.fake.gemini.errors import given_key, no_file, refused, refused_key, sent
from telecine.fake.intake import Length
from telecine.fake.record import KEPT, Record
from telecine.fake.script import Switch

MAX_BYTES = 2_000_000_000
_LIFETIME = timedelta(hours=48)
_PAGE = 100

# How uploads go while one of these is set. Files that are there already are not touched.
SWITCHES = {
    "processing-5": Switch(
        "An uploaded file is ready when it was asked for 5 times, or any number"
    ),
    "file-failed": Switch("Processing an uploaded file ends as FAILED"),
    "upload-breaks": Switch("The connection breaks once in the middle of every upload"),
    "upload-forgets": Switch("The first upload of every content is forgotten on the way"),
    "upload-drip": Switch("What is answered to an upload comes in two pieces"),
    "upload-503": Switch("The first start of every upload answers 503"),
    "upload-elsewhere": Switch("Uploads are sent to another host"),
    "upload-413": Switch("No upload is small enough"),
}


@dataclass(eq=False)
class File:
    """`polls`: how often it is still asked for before it is ready."""

    id: str
    key: str
    title: str
    mime: str
    bytes: int
    sha256: str
    seconds: float | None
    polls: int
    fails: bool
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def state(self) -> str:
        if self.polls > 0:
            return "PROCESSING"
        return "FAILED" if self.fails else "ACTIVE"


@dataclass(eq=False)
class _Session:
    key: str
    title: str
    mime: str
    size: int
    switch: str
    received: int = 0
    has_broken: bool = False
    file: File | None = None
    sha256: Any = field(default_factory=hashlib.sha256)
    length: Length = field(default_factory=Length)


class Files:
    """What is uploaded, by id. `prefix`: the path under which Gemini is served."""

    def __init__(self, record: Record, prefix: str) -> None:
        self.files: dict[str, File] = {}
        self._record = record
        self._prefix = prefix
        self._sessions: dict[str, _Session] = {}
        self._seen: set[str] = set()
        self._ids = count(1)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{self._prefix}/upload/v1beta/files", self._upload),
            web.get(f"{self._prefix}/v1beta/files", self._list),
            web.get(f"{self._prefix}/v1beta/files/{{id}}", self._get),
            web.delete(f"{self._prefix}/v1beta/files/{{id}}", self._delete),
        ]

    def find(self, uri: str, key: str) -> File | None:
        """By its address, for the key that uploaded it."""
        file = self.files.get(uri.rpartition("/files/")[2])
        if file is None or file.key != key or datetime.now(UTC) >= file.created + _LIFETIME:
            return None
        return file

    # ------------------------------------------------------------ uploads

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        self._record.asked.append(request.path)
        command = request.headers.get("X-Goog-Upload-Command", "")
        if command == "start":
            return await self._start(request)
        session = self._sessions.get(request.query.get("upload_id", ""))
        if session is None:
            return _error(404, "Upload not found")
        if command == "query":
            return self._told(request, session)
        if not command.startswith("upload"):
            return _error(400, f"Invalid upload command: {command}")
        if request.headers.get("X-Goog-Upload-Offset") != str(session.received):
            return _error(400, "Upload offset does not match the bytes received")
        told = await self._take(request, session, is_last="finalize" in command)
        return await _dripping(request, told) if session.switch == "upload-drip" else told

    async def _start(self, request: web.Request) -> web.Response:
        if (refusal := refused_key(request, self._record)) is not None:
            return sent(refusal)
        try:
            told = (await request.json())["file"]
            title = str(told.get("displayName") or told.get("display_name") or "")
        except (ValueError, TypeError, KeyError, AttributeError):
            return _error(400, "Invalid JSON payload received.")
        headers = request.headers
        size = _number(headers.get("X-Goog-Upload-Header-Content-Length", ""), -1)
        switch = self._record.switches.switch
        if size < 0:
            return _error(400, "The length of the upload is not told")
        if size > MAX_BYTES or switch == "upload-413":
            return _error(413, "The file is too large")
        if not (mime := headers.get("X-Goog-Upload-Header-Content-Type", "")):
            return _error(400, "Unsupported MIME type: ")
        if switch == "upload-503" and self._is_first(f"start {title}"):
            return _error(503, "The service is currently unavailable.")
        id_ = f"up-{next(self._ids)}"
        self._sessions[id_] = _Session(given_key(request), title, mime, size, switch)
        _shorten(self._sessions)
        host = "http://files.invalid" if switch == "upload-elsewhere" else str(request.url.origin())
        url = f"{host}{self._prefix}/upload/v1beta/files?upload_id={id_}&upload_protocol=resumable"
        return web.json_response(
            {}, headers={"X-Goog-Upload-URL": url, "X-Goog-Upload-Status": "active"}
        )

    async def _take(
        self, request: web.Request, session: _Session, *, is_last: bool
    ) -> web.Response:
        async for chunk in request.content.iter_any():
            session.received += len(chunk)
            session.sha256.update(chunk)
            session.length.feed(chunk)
            is_half = session.received * 2 >= session.size
            if session.switch == "upload-breaks" and is_half and not session.has_broken:
                session.has_broken = True
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()
        if session.switch == "upload-forgets" and self._is_first(f"session {session.title}"):
            self._sessions.clear()
            return _error(404, "Upload not found")
        if session.received > session.size or (is_last and session.received != session.size):
            return _error(400, "The upload is not as long as was said at its start")
        if is_last:
            self._finish(session)
        return self._told(request, session)

    def _finish(self, session: _Session) -> None:
        polls, fails = 1, session.switch == "file-failed"
        if session.switch.startswith("processing-"):
            polls = int(session.switch.removeprefix("processing-"))
        session.file = File(
            id=f"f{next(self._ids):08}",
            key=session.key,
            title=session.title,
            mime=session.mime,
            bytes=session.size,
            sha256=session.sha256.hexdigest(),
            seconds=session.length.seconds,
            polls=polls if session.mime.startswith("video/") else 0,
            fails=fails,
        )
        self.files[session.file.id] = session.file
        _shorten(self.files)

    def _told(self, request: web.Request, session: _Session) -> web.Response:
        if session.file is not None:
            body = {"file": self._shown(request, session.file)}
            return web.json_response(body, headers={"X-Goog-Upload-Status": "final"})
        return web.json_response(
            {},
            headers={
                "X-Goog-Upload-Status": "active",
                "X-Goog-Upload-Size-Received": str(session.received),
            },
        )

    # ------------------------------------------------------------ files

    async def _list(self, request: web.Request) -> web.Response:
        self._record.asked.append(request.path)
        if (refusal := refused_key(request, self._record)) is not None:
            return sent(refusal)
        mine = [file for file in self.files.values() if file.key == given_key(request)]
        start = _number(request.query.get("pageToken", ""), 0)
        end = start + min(_number(request.query.get("pageSize", ""), 10), _PAGE)
        body: dict[str, Any] = {"files": [self._shown(request, file) for file in mine[start:end]]}
        if end < len(mine):
            body["nextPageToken"] = str(end)
        return web.json_response(body)

    async def _get(self, request: web.Request) -> web.Response:
        self._record.asked.append(request.path)
        file = self._named(request)
        if isinstance(file, web.Response):
            return file
        file.polls -= 1
        return web.json_response(self._shown(request, file))

    async def _delete(self, request: web.Request) -> web.Response:
        self._record.asked.append(f"DELETE {request.path}")
        file = self._named(request)
        if isinstance(file, web.Response):
            return file
        del self.files[file.id]
        return web.json_response({})

    def _named(self, request: web.Request) -> File | web.Response:
        if (refusal := refused_key(request, self._record)) is not None:
            return sent(refusal)
        id_ = request.match_info["id"]
        return self.find(f"/files/{id_}", given_key(request)) or sent(no_file(id_))

    def _shown(self, request: web.Request, file: File) -> dict[str, Any]:
        created = file.created.isoformat().replace("+00:00", "Z")
        shown: dict[str, Any] = {
            "name": f"files/{file.id}",
            "displayName": file.title,
            "mimeType": file.mime,
            "sizeBytes": str(file.bytes),
            "createTime": created,
            "updateTime": created,
            "expirationTime": (file.created + _LIFETIME).isoformat().replace("+00:00", "Z"),
            "sha256Hash": b64encode(file.sha256.encode()).decode(),
            "uri": f"{request.url.origin()}{self._prefix}/v1beta/files/{file.id}",
            "state": file.state,
            "source": "UPLOADED",
        }
        if file.state == "FAILED":
            shown["error"] = {"code": 13, "message": "The video could not be decoded."}
        if file.state == "ACTIVE" and file.seconds is not None:
            shown["videoMetadata"] = {"videoDuration": f"{file.seconds:.3f}s"}
        return shown

    def _is_first(self, what: str) -> bool:
        is_first = what not in self._seen
        self._seen.add(what)
        return is_first


async def _dripping(request: web.Request, told: web.Response) -> web.StreamResponse:
    assert isinstance(told.body, bytes)
    answer = web.StreamResponse(status=told.status, headers=told.headers)
    await answer.prepare(request)
    half = len(told.body) // 2
    await answer.write(told.body[:half])
    await asyncio.sleep(0.05)
    await answer.write(told.body[half:])
    return answer


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isdecimal() else otherwise


def _shorten(kept: dict[str, Any]) -> None:
    """The oldest go, so that a server that runs for weeks does not grow."""
    for id_ in list(kept)[:-KEPT]:
        del kept[id_]


def _error(status: int, message: str) -> web.Response:
    return sent(refused(status, message))
