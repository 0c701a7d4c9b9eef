"""Files: both clients' ways of sending them, and reading them back (fal-protocol 9).

    REST   initiate -> PUT upload_url                          all clients, small files
           initiate-multipart -> PUT .../{n} -> POST .../complete        JavaScript, over 90 MiB
    CDN    auth/token -> POST /files/upload                    Python, small files
           POST /files/upload/multipart -> PUT .../multipart/{id}/{n} -> POST .../complete

An upload URL carries a secret of its own and needs no key. Bodies go to the spool as they come, and
become a file when they are complete; an upload that breaks off leaves nothing.
"""

from __future__ import annotations

import re
from contextlib import aclosing, suppress
from email.utils import formatdate
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from telecine import wire
from telecine.api import ranges
from telecine.api.addressing import address
from telecine.api.intake import chunks, read_object
from telecine.api.lifecycle import lifecycle
from telecine.errors import AuthError, BadRequest, Forbidden, InputError, NotFound
from telecine.files import File, Initiated, spooled
from telecine.keys import may
from telecine.models import Caller

_STORAGE_TYPES = frozenset({None, "fal-cdn-v3", "fal-cdn", "gcs"})
_MAX_LIST_BYTES = 2 * 1024 * 1024  # 10,000 parts with their etags

_BYTES = "application/octet-stream"
_CONTENT_TYPE = re.compile(
    r"[\w.+-]{1,60}/[\w.+-]{1,60}(?:; ?[\w.+-]{1,40}=[\w.+-]{1,60}){0,3}", re.ASCII
)
# What no browser runs, styles a page with or lays out as one. Whatever else an upload claims to be,
# it is bytes to its readers: a script of ours is what `script-src 'self'` would let run.
_INERT = re.compile(
    r"(?:video|audio)/"
    r"|image/(?:png|jpeg|gif|webp|avif|bmp|tiff|heic|heif)(?:;|$)"
    r"|text/(?:plain|csv|vtt)(?:;|$)"
    r"|application/(?:json|pdf|zip|x-subrip|octet-stream)(?:;|$)",
    re.IGNORECASE,
)
_SHOWN = re.compile(r"(?:video|audio)/|image/(?:png|jpeg|gif|webp|avif|bmp)(?:;|$)", re.IGNORECASE)


def routes() -> list[Route]:
    upload = "/files/{file_id}/{name}"
    parts = f"{upload}/multipart/{{upload_id}}"
    return [
        Route("/rest/storage/upload/initiate", initiate, methods=["POST"]),
        Route("/rest/storage/upload/initiate-multipart", initiate, methods=["POST"]),
        Route("/rest/storage/auth/token", cdn_token, methods=["POST"]),
        Route("/files/upload", cdn_upload, methods=["POST"]),
        Route("/files/upload/multipart", cdn_initiate, methods=["POST"]),
        Route(f"{parts}/complete", cdn_complete, methods=["POST"]),
        Route(f"{parts}/{{number}}", cdn_put_part, methods=["PUT"]),
        Route(f"{upload}/complete", complete, methods=["POST"]),
        Route(f"{upload}/{{number}}", put_part, methods=["PUT"]),
        Route(upload, put, methods=["PUT"]),
        Route(upload, get, methods=["GET", "HEAD"]),
        Route("/files/b/{file_id}/{name}", get, methods=["GET", "HEAD"]),
    ]


# ---------------------------------------------------------------- REST


async def initiate(request: Request) -> Response:
    caller = await _owner(request)
    _check_storage_type(request)
    document = await read_object(request)
    initiated = await _initiate(
        request, caller, _text(document, "file_name"), _text(document, "content_type")
    )
    url = _url(request, initiated.file)
    return JSONResponse({"upload_url": f"{url}?upload={initiated.secret}", "file_url": url})


async def cdn_token(request: Request) -> Response:
    caller = await _owner(request)
    _check_storage_type(request)
    token = request.app.state.parts.keys.cdn_token(caller)
    return JSONResponse(
        {
            "token": token.token,
            "token_type": "Bearer",
            "base_url": address(request.scope).files.removesuffix("/files"),
            "created_at": token.created_at.isoformat(),
            "expires_at": token.expires_at.isoformat(),
        }
    )


async def put(request: Request) -> Response:
    upload = await _signed(request)
    files, spool = request.app.state.parts.files, request.app.state.parts.spool
    body = chunks(request, max_bytes=files.max_file_bytes)
    async with spooled(spool, upload.key_id, body) as file:
        await files.store(upload, file)
        return Response(status_code=200, headers={"etag": f'"{file.sha256}"'})


async def put_part(request: Request) -> Response:
    return await _put_part(request, await _signed(request))


async def complete(request: Request) -> Response:
    return await _complete(request, await _signed(request))


# ---------------------------------------------------------------- CDN


async def cdn_upload(request: Request) -> Response:
    caller = await request.app.state.parts.keys.check_cdn(request.headers.get("authorization"))
    files, spool = request.app.state.parts.files, request.app.state.parts.spool
    asked = await lifecycle(request, caller.key_id)
    await files.check_room(caller.key_id)
    body = chunks(request, max_bytes=files.max_file_bytes)
    async with spooled(spool, caller.key_id, body) as spooled_file:
        file = await files.keep(
            caller.key_id,
            request.headers.get("x-fal-file-name") or "upload.bin",
            _content_type(request.headers.get("content-type")),
            asked.expires_seconds,
            spooled_file,
            acl=asked.acl,
        )
    return JSONResponse({"access_url": _url(request, file), "uploaded": True})


async def cdn_initiate(request: Request) -> Response:
    caller = await request.app.state.parts.keys.check_cdn(request.headers.get("authorization"))
    headers = request.headers
    initiated = await _initiate(
        request, caller, headers.get("x-fal-file-name"), headers.get("content-type")
    )
    return JSONResponse({"access_url": _url(request, initiated.file), "uploadId": initiated.secret})


async def cdn_put_part(request: Request) -> Response:
    return await _put_part(request, await _authorised(request))


async def cdn_complete(request: Request) -> Response:
    return await _complete(request, await _authorised(request))


# ---------------------------------------------------------------- reading


async def get(request: Request) -> Response:
    """The file, or one range of it. A page that a stranger uploaded must not run as ours: what a
    browser would do more with than show or play it is a download, and of a type that is none of
    a page's parts."""
    files = request.app.state.parts.files
    file = await _readable(request)
    etag = f'"{file.sha256}"'
    disposition = "inline" if _SHOWN.match(file.content_type) else "attachment"
    headers = {
        "content-type": file.content_type if _INERT.match(file.content_type) else _BYTES,
        "content-disposition": f'{disposition}; filename="{file.name}"',
        "content-security-policy": "sandbox",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "cross-origin",
        # Ask again each time: it may have expired, been deleted or become private.
        "cache-control": "no-cache" if file.acl is None else "private, no-cache",
        "etag": etag,
        "last-modified": formatdate(file.created_at, usegmt=True),
        "accept-ranges": "bytes",
    }
    if ranges.is_unchanged(request.headers, etag=etag, modified=file.created_at):
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        return Response(headers={**headers, "content-length": str(file.bytes)})
    try:
        span = ranges.span(request.headers, size=file.bytes, etag=etag, modified=file.created_at)
    except ranges.Unsatisfiable:
        return Response(
            wire.dumps({"detail": f"The file has {file.bytes} bytes, and none in that range."}),
            status_code=416,
            headers={"content-range": f"bytes */{file.bytes}"},
            media_type="application/json",
        )
    start, end = span or (0, file.bytes)
    headers["content-length"] = str(end - start)
    if span:
        headers["content-range"] = f"bytes {start}-{end - 1}/{file.bytes}"
    return _Bytes(files.read(file, start, end), 206 if span else 200, headers)


class _Bytes(StreamingResponse):
    """Closes the file at once when the caller hangs up, not when the garbage collector comes by."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().__call__(scope, receive, send)


# ---------------------------------------------------------------- steps


async def _readable(request: Request) -> File:
    """The file that the path names, if whoever asks may read it. Raises NotFound, Forbidden."""
    parts = request.app.state.parts
    file: File | None = await parts.files.find(request.path_params["file_id"])
    missing = NotFound("There is no such file, or it has expired.")
    if file is None:
        raise missing
    caller: Caller | None = None
    if file.acl is not None and "authorization" in request.headers:
        with suppress(AuthError):  # no more than without a key
            caller = await parts.keys.check_cdn(request.headers["authorization"])
    decision = parts.files.decide(file, caller, request.query_params.get("identity", ""))
    if decision == "hide":
        raise missing
    if decision == "forbid":
        raise Forbidden("This file is private: read it with its owner's key or a signed URL.")
    return file


async def _initiate(
    request: Request, caller: Caller, name: str | None, content_type: str | None
) -> Initiated:
    files = request.app.state.parts.files
    asked = await lifecycle(request, caller.key_id)
    await files.check_room(caller.key_id)
    initiated: Initiated = await files.initiate(
        caller.key_id,
        name or "upload.bin",
        _content_type(content_type),
        asked.expires_seconds,
        acl=asked.acl,
    )
    return initiated


async def _owner(request: Request) -> Caller:
    """Who asks, with a key: a token for calling some endpoints is not enough."""
    caller: Caller = await request.app.state.parts.keys.check(
        request.headers.get("authorization"),
        query_token=request.query_params.get("fal_jwt_token"),
    )
    if caller.apps is not None:
        raise Forbidden("This token only calls endpoints; uploads need a key.")
    if not may(caller, "FILES"):
        raise Forbidden("This key handles no files: it has not the scope FILES")
    return caller


async def _signed(request: Request) -> File:
    """The upload whose URL this is, by the secret in its query."""
    parts = request.app.state.parts
    upload: File = await parts.files.upload(
        request.path_params["file_id"], request.query_params.get("upload", "")
    )
    if not await parts.keys.is_valid(upload.key_id):
        raise AuthError("The key that began this upload is no longer valid")
    return upload


async def _authorised(request: Request) -> File:
    """The upload of a caller with a key or a CDN token, by its id and its upload id."""
    caller = await request.app.state.parts.keys.check_cdn(request.headers.get("authorization"))
    upload: File = await request.app.state.parts.files.upload(
        request.path_params["file_id"], request.path_params["upload_id"]
    )
    if upload.key_id != caller.key_id:
        raise Forbidden("This upload belongs to another key.")
    return upload


async def _put_part(request: Request, upload: File) -> Response:
    """JavaScript reads the body of the answer, Python its ETag header."""
    number = _number(request.path_params["number"])
    files, spool = request.app.state.parts.files, request.app.state.parts.spool
    body = chunks(request, max_bytes=files.max_file_bytes)
    async with spooled(spool, upload.key_id, body) as file:
        etag = await files.store_part(upload, number, file)
    return JSONResponse({"partNumber": number, "etag": etag}, headers={"etag": f'"{etag}"'})


async def _complete(request: Request, upload: File) -> Response:
    parts = request.app.state.parts
    document = await read_object(request, max_bytes=_MAX_LIST_BYTES)
    await parts.files.complete(upload, _etags(document), parts.spool)
    return JSONResponse({"access_url": _url(request, upload), "uploaded": True})


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise NotFound("A part's address ends with its number.")
    return int(text)


def _etags(document: dict[str, Any]) -> dict[int, str]:
    """Part number -> etag, from the list in whatever order it comes."""
    etags: dict[int, str] = {}
    listed = document.get("parts")
    for part in listed if isinstance(listed, list) else ():
        match part:
            case {"partNumber": int(number), "etag": str(etag)} if not isinstance(number, bool):
                etag = etag.removeprefix("W/").strip('"')
                if etags.setdefault(number, etag) != etag:
                    raise BadRequest(f"Part {number} is listed twice, with different etags.")
            case _:
                raise BadRequest('A part is listed as {"partNumber": number, "etag": text}.')
    return etags


def _url(request: Request, file: File) -> str:
    return f"{address(request.scope).files}/{file.id}/{file.name}"


def _check_storage_type(request: Request) -> None:
    if request.query_params.get("storage_type") not in _STORAGE_TYPES:
        raise BadRequest("Invalid storage type")


def _text(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise InputError(
            "Input should be a valid string", loc=("body", name), type="string_type", input=value
        )
    return value


def _content_type(text: str | None) -> str:
    return text if text and _CONTENT_TYPE.fullmatch(text) else _BYTES
