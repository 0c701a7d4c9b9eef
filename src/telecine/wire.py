"""The public JSON: result, stream event, status, error. What comes in is told by `endpoints`.

Everything that leaves is ASCII JSON text (other characters as \\uXXXX), so that no chunk of a
stream can split a character and nothing a caller sent can make a body invalid.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from telecine.endpoints import ENDPOINTS, ChatOutput, brief, parse_input
from telecine.errors import (
    Busy,
    Cancelled,
    Deadline,
    InputError,
    LimitReached,
    NotFound,
    Problem,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
    TelecineError,
)
from telecine.models import Job, LogLine, Outcome, Request, Result, RouterRequest, Usage
from telecine.openai import errors as openai_errors

_ERRORS_URL = "https://docs.fal.ai/errors#"


def _number(value: Any) -> float:
    """Figures that were read as decimals, because they may be money."""
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_number).encode


def dumps(value: Any) -> str:
    """JSON as it goes on the wire: compact, ASCII; NaN and Infinity become null."""
    try:
        return _encode(value)
    except ValueError:
        return _encode(_finite(value))


def _finite(value: Any) -> Any:
    match value:
        case Decimal():
            return _finite(float(value))
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {name: _finite(item) for name, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value


# ---------------------------------------------------------------- result


def result(request: Request, outcome: Outcome) -> Result:
    """The output for a run that went well, as it will be sent every time it is asked for."""
    usage = outcome.usage or Usage()
    headers = {
        "content-type": "application/json",
        "x-fal-request-id": request.id,
        "x-fal-billable-units": "1",
        "x-telecine-cost-source": usage.cost_source,
    }
    if outcome.answer is not None:
        return Result(status=200, headers=headers, body=dumps(outcome.answer))
    asked = parse_input(request.endpoint, request.document)
    body = {"output": outcome.output, **_more(request, asked, outcome), "usage": _usage(usage)}
    if asked.receipt and outcome.receipt is not None:
        body["receipt"] = outcome.receipt.body
    return Result(status=200, headers=headers, body=dumps(body))


def _more(request: Request, asked: RouterRequest, outcome: Outcome) -> dict[str, Any]:
    """What else an answer tells: the reasoning where it was wanted; to some endpoints, always."""
    reasoning = outcome.reasoning if asked.reasoning else ""
    if ENDPOINTS[request.endpoint].output is ChatOutput:
        return {"reasoning": reasoning or None, "partial": False, "error": None}
    return {"reasoning": reasoning} if reasoning else {}


def _usage(usage: Usage) -> dict[str, Any]:
    cost = float(usage.cost) if usage.cost else 0
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cost": cost,
    }


def partial_event(output: str) -> str:
    """A stream event on the way: all the text so far."""
    return dumps({"output": output, "partial": True, "error": None})


def final_event(request: Request, outcome: Outcome, error: BaseException | None = None) -> str:
    """The last stream event: self-sufficient, since fal's client returns it alone.

    After a failure it holds the text so far and says what went wrong.
    """
    asked = parse_input(request.endpoint, request.document)
    body: dict[str, Any] = {
        "output": outcome.output,
        **_more(request, asked, outcome),
        "partial": False,
        "error": None if error is None else error_message(error),
    }
    if error is None or outcome.usage is not None:
        body["usage"] = _usage(outcome.usage or Usage())
    if asked.receipt and outcome.receipt is not None:
        body["receipt"] = outcome.receipt.body
    return dumps(body)


# ---------------------------------------------------------------- status


class Urls(NamedTuple):
    """Where a queued request is asked about, as absolute URLs."""

    response: str
    status: str
    cancel: str


def status(job: Job, urls: Urls, *, logs: bool) -> dict[str, Any]:
    """A job as submit, status and the status stream tell it."""
    state = {"queued": "IN_QUEUE", "running": "IN_PROGRESS"}.get(job.state, "COMPLETED")
    body: dict[str, Any] = {"status": state, "request_id": job.id}
    if state == "IN_QUEUE":
        body["queue_position"] = job.queue_position or 0
    body |= {
        "response_url": urls.response,
        "status_url": urls.status,
        "cancel_url": urls.cancel,
        "logs": [_log(line) for line in job.logs] if logs else None,
        "metrics": {},
    }
    if state == "COMPLETED":
        body["metrics"] = {"inference_time": job.inference_seconds or 0}
    if job.state == "cancelled":
        body |= {"error": "Request was cancelled", "error_type": "client_cancelled"}
    elif job.state == "failed":
        body |= {
            "error": job.error or "Internal Server Error",
            "error_type": _request_error_type(job.error_type),
        }
    return body


def is_finished(job: Job) -> bool:
    """Whether the status is COMPLETED: answered, failed or cancelled."""
    return job.state in ("succeeded", "failed", "cancelled")


def _log(line: LogLine) -> dict[str, Any]:
    """One entry for every reader: JavaScript and Python read `level`, Kotlin and Java `labels`."""
    return {
        "message": line.message,
        "level": line.level,
        "source": "USER",
        "timestamp": timestamp(line.at),
        "labels": {"level": line.level, "source": "USER"},
    }


def timestamp(at: datetime) -> str:
    """ISO 8601 in UTC with microseconds and Z, as fal writes it."""
    utc = at.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds") + "Z"


def cancelled(*, requested: bool) -> Result:
    """The answer to a cancel: it will be stopped, or it was finished already."""
    headers = {"content-type": "application/json"}
    if requested:
        body: dict[str, Any] = {"status": "CANCELLATION_REQUESTED", "success": True}
        return Result(status=202, headers=headers, body=dumps(body))
    body = {"status": "ALREADY_COMPLETED", "detail": "Request is already completed"}
    return Result(status=400, headers=headers, body=dumps(body))


_REQUEST_ERROR_TYPES = frozenset(
    {"request_timeout", "startup_timeout", "client_cancelled", "client_disconnected"}
)


def _request_error_type(type: str | None) -> str:
    """The coarse word of a status (fal's request error types) for the fine one of a result."""
    if type in _REQUEST_ERROR_TYPES:
        return str(type)
    match type:
        case "generation_timeout":
            return "request_timeout"
        case "downstream_service_unavailable":
            return "runner_connection_error"
        case "downstream_service_error":
            return "runner_server_error"
        case None | "internal_server_error" | "internal_error":
            return "internal_error"
    return "bad_request"


# ---------------------------------------------------------------- errors


def error_message(error: BaseException) -> str:
    """What a caller is told in one sentence; nothing at all of a bug."""
    return error.message if isinstance(error, TelecineError) else "Internal Server Error"


def failure(error: BaseException, *, request_id: str | None) -> Result:
    """The answer to a request that ended in `error` (docs/reference/errors.md).

    Anything but a TelecineError is a bug: a bare 500.
    """
    body, headers = _failure_body(error), _failure_headers(error)
    if request_id is not None:
        headers["x-fal-request-id"] = request_id
    code = error.status if isinstance(error, TelecineError) else 500
    return Result(status=code, headers=headers, body=dumps(body))


def openai_result(result: Result) -> Result:
    """`result` for callers of OpenAI's SDKs: a failure tells itself in their shape too, and they
    learn from a header whether asking again makes sense (by themselves they ask after any 5xx,
    also after one that was paid for)."""
    headers = {**result.headers}
    if "x-fal-request-id" in headers:
        headers["x-request-id"] = headers["x-fal-request-id"]
    if result.status < 400:
        return Result(status=result.status, headers=headers, body=result.body)
    told = json.loads(result.body)
    error = openai_errors.told(told, result.status)
    may_retry = headers.get("x-fal-needs-retry") in ("1", "true")
    headers["x-should-retry"] = "true" if may_retry else "false"
    return Result(status=result.status, headers=headers, body=dumps({"error": error, **told}))


def openai_error(error: BaseException) -> dict[str, Any]:
    """The `error` object that ends a stream of OpenAI's API."""
    status = error.status if isinstance(error, TelecineError) else 500
    return openai_errors.told(_failure_body(error), status)


def _failure_body(error: BaseException) -> dict[str, Any]:
    match error:
        case InputError():
            return {"detail": _entries(error.problems)}
        case ProviderError() | Deadline(type="generation_timeout"):
            loc = error.loc if isinstance(error, ProviderRejected) else ("body",)
            return {"detail": _entries([Problem(loc, error.message, error.type)])}
        case Cancelled() | Deadline():
            return {"detail": error.message, "error_type": error.type}
        case LimitReached():
            data = {"data": brief(error.data)} if error.data else {}
            return {"detail": error.message, "type": error.type, **data}
        case NotFound(type="request_not_found"):
            return {"detail": error.message, "status": "NOT_FOUND"}
    return {"detail": error_message(error)}


def _failure_headers(error: BaseException) -> dict[str, str]:
    headers = {"content-type": "application/json", "x-fal-billable-units": "0"}
    match error:
        case LimitReached():
            headers["x-fal-needs-retry"] = "1"
        case TelecineError():
            headers["x-fal-needs-retry"] = "true" if error.retryable else "false"
    if isinstance(error, LimitReached | ProviderUnavailable | Busy) and error.retry_after_seconds:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_seconds)))
    if isinstance(error, Deadline) and (error.by_user or error.type == "generation_timeout"):
        # fal's clients send a 504 again unless this says not to; a run that took too long
        # has been paid for, and would take too long again.
        headers["x-fal-request-timeout-type"] = "user"
    if isinstance(error, Cancelled) or (
        isinstance(error, Deadline) and error.type != "generation_timeout"
    ):
        headers["x-fal-error-type"] = error.type
    return headers


def _entries(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    entries = []
    for problem in problems:
        entry: dict[str, Any] = {
            "loc": list(problem.loc),
            "msg": problem.msg,
            "type": problem.type,
            "url": _ERRORS_URL + problem.type,
            "input": brief(problem.input),
        }
        if problem.ctx:
            entry["ctx"] = {name: _limit(value) for name, value in problem.ctx.items()}
        entries.append(entry)
    return entries


def _limit(value: Any) -> Any:
    """A bound as a person wrote it: 2, not 2.0."""
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole else brief(value)
