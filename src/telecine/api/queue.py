"""The queue: submit, status, status stream, result, cancel."""

from __future__ import annotations

from contextlib import aclosing
from urllib.parse import parse_qs, urlsplit

from starlette.types import Receive, Scope, Send

from telecine import endpoints, wire
from telecine.api import auth, sse
from telecine.api.addressing import address, header
from telecine.api.callers import while_connected
from telecine.api.failures import send_result
from telecine.api.parts import Parts
from telecine.api.requests import keeps_payloads, received, start_timeout
from telecine.errors import BadRequest, InputError, NotFound
from telecine.models import Job, Result

_ON = ("1", "true", "yes")


class Submit:
    """`POST /queue/{endpoint}`. The input is judged when it runs, as fal does."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = endpoints.endpoint(scope["path_params"]["endpoint"]).id
        query = _query(scope)
        webhook_url = _webhook_url(query.get("fal_webhook"))
        max_queue_length = _max_queue_length(query.get("fal_max_queue_length"))
        idempotency_key = _idempotency_key(scope)
        start_seconds = start_timeout(scope)
        async with received(self._parts, scope, receive, endpoint, "queue") as request:
            job = await self._parts.queue.submit(
                request,
                priority="low" if _word(scope, b"x-fal-queue-priority") == "low" else "normal",
                webhook_url=webhook_url,
                start_seconds=start_seconds,
                max_queue_length=max_queue_length,
                no_retry=_word(scope, b"x-fal-no-retry") in _ON,
                store_io=keeps_payloads(scope),
                idempotency_key=idempotency_key,
            )
        await send_result(send, _status_result(scope, job, logs=False, code=200))


class Status:
    """`GET .../requests/{id}/status`: 202 until it is finished, since some read only the code."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        logs = _wants_logs(scope)
        job = await _find(self._parts, scope, logs=logs)
        code = 200 if wire.is_finished(job) else 202
        await send_result(send, _status_result(scope, job, logs=logs, code=code))


class StatusStream:
    """`GET .../requests/{id}/status/stream`: the state now, then every change until COMPLETED."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        logs = _wants_logs(scope)
        job = await _find(self._parts, scope, logs=False)
        urls = _urls(scope, job)
        headers = _headers({**sse.HEADERS, "x-fal-request-id": job.id})
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        changes = sse.with_pings(self._parts.queue.watch(job.id, logs=logs), sse.PING_SECONDS)
        async with while_connected(receive), aclosing(changes):
            async for change in changes:
                body = sse.PING
                if change is not None:
                    body = sse.event(wire.dumps(wire.status(change, urls, logs=logs)))
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class GetResult:
    """`GET .../requests/{id}`: what the run answered, its code and headers included."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        job = await _find(self._parts, scope, logs=False)
        if not wire.is_finished(job):
            raise BadRequest("Request is still in progress")
        result = await self._parts.queue.result(job.id)
        is_openai = endpoints.ENDPOINTS[job.endpoint].api is not None
        await send_result(send, wire.openai_result(result) if is_openai else result)


class Cancel:
    """`PUT .../requests/{id}/cancel`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        job = await _find(self._parts, scope, logs=False)
        requested = await self._parts.queue.cancel(job.id)
        await send_result(send, wire.cancelled(requested=requested))


async def _find(parts: Parts, scope: Scope, *, logs: bool) -> Job:
    """The job that the path names, if it is the caller's and of that application.

    From here on the answer carries the job's own id.
    """
    app, request_id = scope["path_params"]["app"], scope["path_params"]["id"]
    missing = NotFound(f"Request {request_id[:100]} not found", type="request_not_found")
    try:
        job = await parts.queue.status(request_id, logs=logs)
    except NotFound:
        raise missing from None
    if job.key_id != auth.caller(scope).key_id or app not in (_app(job), job.endpoint):
        raise missing
    scope["telecine.request_id"] = job.id
    return job


def _status_result(scope: Scope, job: Job, *, logs: bool, code: int) -> Result:
    body = wire.dumps(wire.status(job, _urls(scope, job), logs=logs))
    headers = {"content-type": "application/json", "x-fal-request-id": job.id}
    return Result(status=code, headers=headers, body=body)


def _urls(scope: Scope, job: Job) -> wire.Urls:
    """The short form: clients that cut `response_url` to build others expect it."""
    base = f"{address(scope).queue}/{_app(job)}/requests/{job.id}"
    return wire.Urls(base, f"{base}/status", f"{base}/cancel")


def _app(job: Job) -> str:
    return "/".join(job.endpoint.split("/")[:2])


def _headers(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


# ---------------------------------------------------------------- what a call may say


def _query(scope: Scope) -> dict[str, str]:
    """The first value of every query parameter."""
    query: bytes = scope["query_string"]
    return {name: values[0] for name, values in parse_qs(query.decode("latin-1")).items()}


def _word(scope: Scope, name: bytes) -> str:
    return header(scope, name).strip().lower()


def _wants_logs(scope: Scope) -> bool:
    return _query(scope).get("logs", "").lower() in _ON


def _webhook_url(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        parsed = urlsplit(url)
        is_url = parsed.scheme in ("http", "https") and bool(parsed.hostname) and url.isprintable()
    except ValueError:
        is_url = False
    if not is_url:
        raise InputError(
            "fal_webhook must be an http or https URL",
            loc=("query", "fal_webhook"),
            type="url_parsing",
            input=url,
        )
    return url


def _max_queue_length(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InputError(
            "fal_max_queue_length must be a whole number from 0 on",
            loc=("query", "fal_max_queue_length"),
            type="int_parsing",
            input=text,
        )
    return int(text)


def _idempotency_key(scope: Scope) -> str | None:
    key = header(scope, b"idempotency-key")
    if len(key) > 255:
        raise BadRequest("Idempotency-Key must have at most 255 characters")
    return key or None
