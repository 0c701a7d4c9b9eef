"""The public JSON: input, result, stream event, status, error. The only home of its field names.

Everything that leaves is ASCII JSON text (other characters as \\uXXXX), so that no chunk of a
stream can split a character and nothing a caller sent can make a body invalid.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError, PydanticKnownError

from telecine.errors import (
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
from telecine.models import Job, LogLine, Outcome, Request, Result, Usage, MediaName, RouterRequest

MAX_VIDEOS = 100

_ERRORS_URL = "https://docs.fal.ai/errors#"


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def dumps(value: Any) -> str:
    """JSON as it goes on the wire: compact, ASCII; NaN and Infinity become null."""
    try:
        return _encode(value)
    except ValueError:
        return _encode(_finite(value))


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {name: _finite(item) for name, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value


# ---------------------------------------------------------------- schemas


def _unicode(text: str) -> str:
    """Half a surrogate pair is legal JSON but no text: no provider, file or table can hold it."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise PydanticKnownError("string_unicode") from None
    return text


def _machine_integer(number: int) -> int:
    if number >= 2**63:
        raise PydanticKnownError("less_than_equal", {"le": 2**63 - 1})
    return number


def _few(given: Any) -> Any:
    """Refused before the items are looked at: each bad one would be an entry of its own."""
    if isinstance(given, list) and len(given) > MAX_VIDEOS:
        raise PydanticCustomError(
            "sequence_too_long",
            "At most {max_length} videos in one request",
            {"max_length": MAX_VIDEOS},
        )
    return given


Text = Annotated[str, AfterValidator(_unicode)]


class _RouterInput(BaseModel):
    """What every router endpoint takes. Null is as good as absent for whatever has a default."""

    model_config = ConfigDict(extra="ignore", from_attributes=True, hide_input_in_errors=True)

    prompt: Text = Field(description="What to do with the input.")
    system_prompt: Text | None = Field(
        None, description="Context or instructions that the model follows throughout."
    )
    model: Text = Field(
        description="The model to ask. Charged by the tokens it uses.",
        examples=["google/gemini-2.5-flash", "google/gemini-2.5-pro"],
    )
    reasoning: bool | None = Field(
        False, description="Whether the model's reasoning comes with the answer."
    )
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = Field(
        1,
        description="How varied the answer may be: 0 for the likeliest words, 2 for the boldest.",
    )
    max_tokens: Annotated[int, Field(ge=1), AfterValidator(_machine_integer)] | None = Field(
        None, description="The most tokens the answer may have."
    )
    receipt: bool | None = Field(False, description="Adds the receipt to the result.")
    strict: bool | None = Field(
        False, description="Refuses what would otherwise be a warning in the receipt."
    )


class VideoInput(_RouterInput):
    """Input of `openrouter/router/video`."""

    video_urls: Annotated[list[Text] | None, BeforeValidator(_few)] = Field(
        None,
        description=(
            "URLs or data URIs of the videos: mp4, mpeg, mov, webm. Models that fetch YouTube"
            " links themselves take those too. Mutually exclusive with video_url."
        ),
    )
    video_url: Text | None = Field(None, description="One video: the same as a list of one.")


class UsageInfo(BaseModel):
    """Tokens and cost."""

    prompt_tokens: int = Field(description="Tokens that went in.")
    completion_tokens: int = Field(description="Tokens that came out.")
    total_tokens: int = Field(0, description="Both together.")
    cost: float = Field(description="In US dollars.")


class VideoOutput(BaseModel):
    """Output of `openrouter/router/video`."""

    output: str = Field(description="The answer.")
    usage: UsageInfo = Field(description="What it took.")


def _video_request(given: VideoInput) -> RouterRequest:
    if given.video_url is not None and given.video_urls:
        raise InputError(
            "Give either video_urls or video_url, not both",
            input={"video_urls": _brief(given.video_urls), "video_url": _brief(given.video_url)},
        )
    if given.video_url is not None:
        videos: tuple[MediaName, ...] = (MediaName(given.video_url, ("body", "video_url")),)
    else:
        videos = tuple(
            MediaName(text, ("body", "video_urls", index), index=index)
            for index, text in enumerate(given.video_urls or ())
        )
    return RouterRequest(
        prompt=given.prompt,
        model=given.model,
        media=videos,
        system_prompt=given.system_prompt,
        reasoning=bool(given.reasoning),
        # fal's default of 1 is the models' own: what nobody asked for is not sent.
        temperature=given.temperature if "temperature" in given.model_fields_set else None,
        max_tokens=given.max_tokens,
        receipt=bool(given.receipt),
        strict=bool(given.strict),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint id: what it takes, what it gives. `order` holds the published properties."""

    id: str
    category: str
    description: str
    input: type[BaseModel]
    output: type[BaseModel]
    order: tuple[str, ...]
    request: Callable[[Any], RouterRequest]

    @property
    def app(self) -> str:
        """`owner/alias`: the part that queue URLs keep."""
        return "/".join(self.id.split("/")[:2])

    @property
    def schema_name(self) -> str:
        """`RouterVideo`: alias and path, as fal names its schemas."""
        return "".join(part.capitalize() for part in self.id.split("/")[1:])


def _video_endpoint(id: str) -> Endpoint:
    return Endpoint(
        id=id,
        category="video-to-text",
        description="Ask any video-capable model about one or more videos.",
        input=VideoInput,
        output=VideoOutput,
        order=(
            "video_urls",
            "prompt",
            "system_prompt",
            "model",
            "reasoning",
            "temperature",
            "max_tokens",
        ),
        request=_video_request,
    )


ENDPOINTS: Mapping[str, Endpoint] = {
    endpoint.id: endpoint
    for endpoint in (
        _video_endpoint("openrouter/router/video"),
        _video_endpoint("openrouter/router/video/enterprise"),
    )
}

APPS = frozenset(endpoint.app for endpoint in ENDPOINTS.values())


def endpoint(id: str) -> Endpoint:
    """The endpoint with this id. Raises NotFound in fal's words."""
    found = ENDPOINTS.get(id)
    if found is not None:
        return found
    owner, _, rest = id.partition("/")
    alias, _, path = rest.partition("/")
    if f"{owner}/{alias}" in APPS:
        raise NotFound(f"Path /{path} not found")
    raise NotFound(f'Application "{(alias or owner)[:200]}" not found')


# ---------------------------------------------------------------- input


def parse_input(endpoint: str, document: Any) -> RouterRequest:
    """What `document` asks of `endpoint`. Raises InputError with an entry per field at fault."""
    known = ENDPOINTS[endpoint]
    try:
        given = known.input.model_validate(document)
    except ValidationError as error:
        raise _input_error(error) from None
    return known.request(given)


def _input_error(error: ValidationError) -> InputError:
    problems = [
        Problem(
            ("body", *entry["loc"]),
            entry["msg"],
            entry["type"],
            entry.get("ctx", {}),
            _brief(entry["input"]),
        )
        for entry in error.errors(include_url=False)
    ]
    told = "; ".join(f"{'.'.join(map(str, p.loc))}: {p.msg}" for p in problems[:5])
    return InputError(told, type=problems[0].type, problems=problems)


def _brief(value: Any, depth: int = 0) -> Any:
    """`value` as an error may repeat it: JSON-safe, and short whatever was sent."""
    wide = 20 if depth == 0 else 5
    match value:
        case None | bool():
            return value
        case str():
            return value if len(value) <= 200 else value[:200] + "..."
        case int():
            return value if value.bit_length() <= 64 else f"an integer of {value.bit_length()} bits"
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping() if depth < 3 and len(value) <= wide:
            return {str(name)[:200]: _brief(item, depth + 1) for name, item in value.items()}
        case Mapping():
            return f"an object of {len(value)} members"
        case list() | tuple() if depth < 3 and len(value) <= wide:
            return [_brief(item, depth + 1) for item in value]
        case list() | tuple():
            return f"a list of {len(value)} items"
    return str(value)[:200]


# ---------------------------------------------------------------- result


def result(request: Request, outcome: Outcome) -> Result:
    """fal's output for a run that went well, as it will be sent every time it is asked for."""
    asked = parse_input(request.endpoint, request.document)
    usage = outcome.usage or Usage()
    body: dict[str, Any] = {"output": outcome.output}
    if asked.reasoning and outcome.reasoning:
        body["reasoning"] = outcome.reasoning
    body["usage"] = _usage(usage)
    if asked.receipt and outcome.receipt is not None:
        body["receipt"] = outcome.receipt
    headers = {
        "content-type": "application/json",
        "x-fal-request-id": request.id,
        "x-fal-billable-units": "1",
        "x-telecine-cost-source": usage.cost_source,
    }
    return Result(status=200, headers=headers, body=dumps(body))


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
        "partial": False,
        "error": None if error is None else error_message(error),
    }
    if asked.reasoning and outcome.reasoning:
        body["reasoning"] = outcome.reasoning
    if error is None or outcome.usage is not None:
        body["usage"] = _usage(outcome.usage or Usage())
    if asked.receipt and outcome.receipt is not None:
        body["receipt"] = outcome.receipt
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
    """The answer to a request that ended in `error` (the table is design 4).

    Anything but a TelecineError is a bug: a bare 500.
    """
    body, headers = _failure_body(error), _failure_headers(error)
    if request_id is not None:
        headers["x-fal-request-id"] = request_id
    code = error.status if isinstance(error, TelecineError) else 500
    return Result(status=code, headers=headers, body=dumps(body))


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
            data = {"data": _brief(error.data)} if error.data else {}
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
    if isinstance(error, LimitReached | ProviderUnavailable) and error.retry_after_seconds:
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
            "input": _brief(problem.input),
        }
        if problem.ctx:
            entry["ctx"] = {name: _limit(value) for name, value in problem.ctx.items()}
        entries.append(entry)
    return entries


def _limit(value: Any) -> Any:
    """A bound as a person wrote it: 2, not 2.0."""
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole else _brief(value)
