"""The OpenAPI document of Telecine's own API, below /telecine/v1/."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from telecine import __version__, wire
from telecine.api.addressing import address

BASE = "/telecine/v1"

_Schema = dict[str, Any]


async def openapi(request: Request) -> Response:
    """`GET /telecine/v1/openapi.json`, for everybody."""
    return Response(wire.dumps(document(address(request.scope).run)), media_type="application/json")


def document(origin: str) -> dict[str, Any]:
    """The document, for whoever reaches the server at `origin`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Telecine",
            "version": __version__,
            "summary": "Requests with their receipts, models, and webhooks with their attempts.",
            "description": (
                "A key sees its own requests and deliveries, one with the scope ADMIN sees all."
                " Every failure is JSON with a `detail`."
            ),
        },
        "servers": [{"url": origin}],
        "security": [{"key": []}],
        "paths": _PATHS,
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Key <key_id>:<key_secret>`",
                }
            },
            "schemas": _SCHEMAS,
        },
    }


# ---------------------------------------------------------------- schemas


def _of(kind: str, about: str = "", **more: Any) -> _Schema:
    """A value of this kind; a question mark: or null."""
    name = kind.removesuffix("?")
    schema: _Schema = {"type": name if name == kind else [name, "null"], **more}
    return {**schema, "description": about} if about else schema


def _time(about: str, kind: str = "string?") -> _Schema:
    return _of(kind, about, format="date-time")


def _object(**properties: _Schema) -> _Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _ref(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(item: _Schema) -> _Schema:
    return {"type": "array", "items": item}


def _page(name: str, item: str) -> _Schema:
    return _object(
        **{name: _list(_ref(item))},
        next_cursor=_of("string?", "The `cursor` of the next page."),
        has_more=_of("boolean"),
    )


_REQUEST: dict[str, _Schema] = {
    "request_id": _of("string", format="uuid"),
    "endpoint": _of("string"),
    "mode": _of("string", enum=["run", "stream", "queue"]),
    "key_id": _of("string", "Whose request it is."),
    "model": _of("string", "As asked for."),
    "state": _of("string", enum=["queued", "running", "succeeded", "failed", "cancelled"]),
    "attempt": _of("integer", "Grows with every start."),
    "created_at": _time("When it came in.", "string"),
    "started_at": _time("When its last attempt began."),
    "finished_at": _time("When it ended."),
    "inference_seconds": _of("number?", "How long its last attempt took."),
    "error": _of("string?", "What went wrong, in a sentence."),
    "error_type": _of("string?", "The same in a word."),
}

_DELIVERY: dict[str, _Schema] = {
    "id": _of("integer"),
    "request_id": _of("string", format="uuid"),
    "state": _of("string", enum=["waiting", "delivered", "dead"]),
    "url": _of("string", "Without its query, which may be a secret."),
    "attempt": _of("integer", "Attempts begun so far."),
    "created_at": _time("", "string"),
    "ended_at": _time("When it was delivered or given up."),
    "next_at": _time("When the next attempt is due."),
}

_SCHEMAS: dict[str, _Schema] = {
    "Failure": _object(detail={"description": "What is wrong: a sentence, or a list of entries."}),
    "Request": _object(**_REQUEST),
    "RequestStory": _object(
        **_REQUEST,
        input={"description": "The JSON as sent, while it is kept."},
        result_status=_of("integer?", "The status of the answer, while it is kept."),
        result_body={"description": "The answer, while it is kept."},
        receipt=_of("object?", "Proof of what the model was given."),
        attempts=_list(_ref("Attempt")),
        usage=_list(_ref("Usage")),
        logs=_list(_ref("LogLine")),
    ),
    "Attempt": _object(
        attempt=_of("integer"),
        started_at=_time("", "string"),
        ended_at=_time(""),
        ended_as=_of("string?", "succeeded, failed, cancelled, retried, lost or handed_back."),
        detail=_of("string?"),
    ),
    "Usage": _object(
        attempt=_of("integer"),
        provider=_of("string"),
        model=_of("string", "By the name that the provider has for it."),
        at=_time("", "string"),
        prompt_tokens=_of("integer"),
        completion_tokens=_of("integer"),
        total_tokens=_of("integer"),
        cost=_of("string?", "Decimal US dollars; null: nobody knows."),
        cost_source=_of("string", enum=["billed", "computed", "free", "unknown"]),
    ),
    "LogLine": _object(
        at=_time("", "string"),
        level=_of("string", enum=["DEBUG", "INFO", "WARN", "ERROR"]),
        message=_of("string"),
    ),
    "Requests": _page("requests", "Request"),
    "Model": _object(
        model=_of("string", "The name to ask for."),
        provider=_of("string"),
        name=_of("string"),
        description=_of("string?"),
        input_modalities=_list(_of("string")),
        context_tokens=_of("integer?"),
        price_per_token=_object(
            prompt=_of("string?", "Decimal US dollars."), completion=_of("string?")
        ),
    ),
    "Models": _object(
        models=_list(_ref("Model")),
        unavailable={
            "type": "object",
            "description": "Providers that did not say what they offer, and why.",
            "additionalProperties": {"type": "string"},
        },
    ),
    "Delivery": {
        **_object(**_DELIVERY),
        "description": "In lists with `last_status` and `last_detail` of its newest attempt.",
    },
    "Deliveries": _page("deliveries", "Delivery"),
    "DeliveryStory": _object(**_DELIVERY, attempts=_list(_ref("DeliveryAttempt"))),
    "DeliveryAttempt": _object(
        attempt=_of("integer"),
        at=_time("", "string"),
        seconds=_of("number?", "null: under way."),
        status=_of("integer?", "null: no answer."),
        detail=_of("string", "The head of the answer, or what went wrong."),
    ),
}


# ---------------------------------------------------------------- paths


def _parameter(name: str, schema: _Schema, about: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": about}


_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_PAGED = [
    _parameter("limit", _of("integer", minimum=1, maximum=200, default=50), "How many."),
    _parameter("cursor", _of("string"), "`next_cursor` of the page before."),
]


def _call(
    summary: str, schema: _Schema, *parameters: dict[str, Any], code: str = "200"
) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    failure = {"application/json": {"schema": _ref("Failure")}}
    return {
        "summary": summary,
        "parameters": list(parameters),
        "responses": {
            code: {"description": "As asked.", "content": content},
            "default": {"description": "What is wrong.", "content": failure},
        },
    }


_STATE = _parameter("state", _SCHEMAS["Delivery"]["properties"]["state"], "Only these.")
_OF_REQUEST = _parameter("request_id", _of("string", format="uuid"), "Only those of this one.")

_PATHS: dict[str, Any] = {
    f"{BASE}/requests": {"get": _call("The newest requests.", _ref("Requests"), *_PAGED)},
    f"{BASE}/requests/{{id}}": {
        "get": _call("One request with everything about it.", _ref("RequestStory"), _ID)
    },
    f"{BASE}/models": {"get": _call("Every model of every provider.", _ref("Models"))},
    f"{BASE}/deliveries": {
        "get": _call("The newest webhooks.", _ref("Deliveries"), *_PAGED, _STATE, _OF_REQUEST)
    },
    f"{BASE}/deliveries/{{id}}": {
        "get": _call("One webhook with its attempts.", _ref("DeliveryStory"), _ID)
    },
    f"{BASE}/deliveries/{{id}}/replay": {
        "post": _call("Deliver once more.", _ref("DeliveryStory"), _ID, code="202")
    },
    f"{BASE}/openapi.json": {
        "get": {**_call("This document.", {"type": "object"}), "security": []}
    },
}
