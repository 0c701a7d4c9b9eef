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
            "summary": "Requests with their receipts, usage, models, files, keys and webhooks.",
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

_PRICES: dict[str, _Schema] = {
    "prompt": _of("string?"),
    "completion": _of("string?"),
    "cached": _of("string?"),
    "audio": _of("string?"),
    "image": _of("string?"),
}

_LIMITS: dict[str, _Schema] = {
    "alias": _of("string"),
    "expires_at": _time("null: never."),
    "models": _list(_of("string", "A name; one that ends in * is a beginning.")),
    "per_minute": _of("integer?", "Calls."),
    "running": _of("integer?", "Requests at once."),
    "budget": _of("string?", "Decimal US dollars per `budget_per`."),
    "budget_per": _of("string", enum=["day", "month", "total"]),
}

_SANDBOX: dict[str, _Schema] = {
    "sandbox_id": _of("string?", "null for those who were only given the link."),
    "key_id": _of("string", "Whose it is."),
    "link": _of("string?", "Opens it to every key, to read, in place of the id."),
    "name": _of("string"),
    "endpoint": _of("string"),
    "models": _list(_of("string")),
    "created_at": _time("", "string"),
    "updated_at": _time("", "string"),
}

_SCHEMAS: dict[str, _Schema] = {
    "Failure": _object(detail={"description": "What is wrong: a sentence, or a list of entries."}),
    "Request": _object(**_REQUEST),
    "RequestStory": _object(
        **_REQUEST,
        input={"description": "The JSON as sent, while it is kept."},
        result_status=_of("integer?", "The status of the answer, while it is kept."),
        result_body={"description": "The answer, while it is kept."},
        output_so_far=_of("string?", "Of one that runs on the server that is asked; else null."),
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
    "Listed": {
        **_object(
            **_REQUEST,
            total_tokens=_of("integer?", "null: no model was asked."),
            cost=_of("string?", "What is known of its cost, in decimal US dollars."),
            unknown_costs=_of("integer", "Calls to a model of whose cost nothing is known."),
        ),
        "description": "`error` is shortened to 300 characters.",
    },
    "Requests": _page("requests", "Listed"),
    "Changes": _object(
        requests=_list(_ref("Listed")),
        cursor=_of("string", "The `cursor` of the next call."),
        has_more=_of("boolean", "There was more than one answer takes: read the list anew."),
    ),
    "Replay": _object(
        request_id=_of("string", "The new one.", format="uuid"),
        replay_of=_of("string", format="uuid"),
    ),
    "Cancelled": _object(request_id=_of("string", format="uuid")),
    "UsageReport": _object(
        **{
            "by": _of("string", enum=["day", "model", "key", "provider"]),
            "from": _time("", "string"),
            "to": _time("", "string"),
            "usage": _list(_ref("UsageLine")),
        }
    ),
    "UsageLine": _object(
        name=_of("string", "The day (UTC), the model, the key's id or the provider."),
        label=_of("string", "For people: of a key its alias."),
        calls=_of("integer", "To models, not requests."),
        prompt_tokens=_of("integer"),
        completion_tokens=_of("integer"),
        total_tokens=_of("integer"),
        cost=_of("string?", "What is known of it, in decimal US dollars."),
        unknown_costs=_of("integer", "Calls of whose cost nothing is known."),
    ),
    "File": _object(
        file_id=_of("string"),
        key_id=_of("string", "Whose it is."),
        name=_of("string"),
        content_type=_of("string"),
        bytes=_of("integer"),
        created_at=_time("", "string"),
        expires_at=_time("null: never."),
        is_private=_of("boolean", "Its address alone does not open it."),
        url=_of("string"),
    ),
    "Files": _page("files", "File"),
    "Providers": _object(
        providers=_list(_ref("Provider")),
        locked=_list(
            _object(
                type=_of("string"),
                key_variables=_list(_of("string", "A variable that may hold its key.")),
                fix=_of("string", "What to do."),
            )
        ),
    ),
    "Provider": _object(
        name=_of("string", "The beginning of its models' names."),
        type=_of("string"),
        host=_of("string?", "For keys with the scope ADMIN."),
        key_variable=_of("string?", "Where its key is read from; for keys with the scope ADMIN."),
        has_key=_of("boolean?", "null: it needs none."),
        is_ok=_of("boolean", "A call could succeed; looked at no more than every 30 seconds."),
        says=_of("string", "In more words for keys with the scope ADMIN."),
        fix=_of("string?", "What would help; for keys with the scope ADMIN."),
        held=_list(
            _object(
                model=_of("string"),
                seconds=_of("integer", "For how much longer."),
                why=_of("string?", "For keys with the scope ADMIN."),
            )
        ),
    ),
    "Session": _object(
        key_id=_of("string"),
        scopes=_list(_of("string", enum=["API", "CALL", "FILES", "ADMIN"])),
    ),
    "Key": _object(
        key_id=_of("string"),
        **_LIMITS,
        scopes=_list(_of("string", enum=["API", "CALL", "FILES", "ADMIN"])),
        created_at=_time("", "string"),
        revoked_at=_time(""),
        last_used_at=_time(""),
        spent=_of("string", "In the running day, month or ever, as its budget counts."),
    ),
    "Keys": _object(keys=_list(_ref("Key"))),
    "KeyLimits": {"type": "object", "properties": _LIMITS},
    "KeyAsked": {
        "type": "object",
        "properties": {
            **_LIMITS,
            "scopes": _list(_of("string", enum=["API", "CALL", "FILES", "ADMIN"])),
        },
    },
    "NewKey": _object(
        key_id=_of("string"),
        key_secret=_of("string", "Shown this once."),
        key=_of("string", "Both, as `Authorization: Key ...` takes them."),
    ),
    "Audit": _page("entries", "AuditEntry"),
    "AuditEntry": _object(
        at=_time("", "string"),
        actor=_of("string", "A key's id, or 'command line'."),
        action=_of("string", "key.created, request.replayed and the like."),
        subject=_of("string", "The id of what it was done to."),
        detail=_of("object"),
    ),
    "Model": _object(
        model=_of("string", "The name to ask for."),
        provider=_of("string"),
        name=_of("string"),
        description=_of("string?"),
        input_modalities=_list(_of("string")),
        context_tokens=_of("integer?"),
        takes={
            **_object(
                video=_list(_of("string", enum=["file", "url", "link", "frames", "decoded"])),
                images=_list(_of("string", "A format, such as png.")),
                audio=_list(_of("string", "A format, such as wav.")),
                pdfs=_of("boolean"),
                hears_videos=_of("boolean"),
                options=_list(_of("string", "Of the input, honoured by the route itself.")),
                max_videos=_of("integer?"),
                max_seconds=_of("number?"),
                max_bytes=_of("integer?"),
                max_images=_of("integer?"),
                max_output_tokens=_of("integer?"),
            ),
            "type": ["object", "null"],
            "description": "null: it cannot be asked now.",
        },
        price_per_token=_ref("Price"),
    ),
    "Price": {
        **_object(
            **_PRICES,
            request=_of("string", "Of one call."),
            tiers=_list(_object(min_prompt_tokens=_of("integer"), **_PRICES)),
            source=_of("string"),
            dated=_of("string?", "The day or month of which the figures are."),
        ),
        "type": ["object", "null"],
        "description": "Decimal US dollars as text. null: nobody knows; inside: no price apart.",
    },
    "Estimate": _object(
        model=_of("string", "As asked for."),
        provider=_of("string"),
        provider_model=_of("string", "By the name that the provider has for it."),
        plan=_of("object", "What would be sent of each video, as in the receipt."),
        warnings=_list(_of("string")),
        prompt_tokens=_of("integer?", "null: not known."),
        cost=_object(
            low=_of("string?", "Decimal US dollars for the prompt alone; null: not known."),
            high=_of("string?", "With the longest answer that may come."),
            source=_of("string?", "Where the prices come from."),
            dated=_of("string?", "The day or month of which they are."),
        ),
        price_per_token=_ref("Price"),
    ),
    "Models": _object(
        models=_list(_ref("Model")),
        aliases={
            "type": "object",
            "description": "Other names, and what they stand for.",
            "additionalProperties": {"type": "string"},
        },
        unavailable={
            "type": "object",
            "description": "Providers that did not say what they offer, and why.",
            "additionalProperties": {"type": "string"},
        },
    ),
    "Sandbox": _object(
        **_SANDBOX,
        may_change=_of("boolean", "By the key that asks."),
        input=_of("object", "Of the endpoint, without the model."),
        columns=_list(
            _object(
                model=_of("string"),
                request_id=_of("string?", format="uuid"),
                result={"anyOf": [_ref("SavedResult"), {"type": "null"}]},
            )
        ),
    ),
    "SavedResult": _object(
        model=_of("string", "As the request asked for."),
        state=_REQUEST["state"],
        error=_of("string?"),
        error_type=_of("string?"),
        output=_of("string"),
        is_cut=_of("boolean", "The answer was longer."),
        is_of_this_input=_of("boolean", "The request asked what the sandbox said then."),
        receipt=_of("object?", "Proof of what the model was given."),
    ),
    "Sandboxes": _page("sandboxes", "SandboxListed"),
    "SandboxListed": _object(**_SANDBOX),
    "SandboxAsked": {
        "type": "object",
        "properties": {
            "name": _of("string", maxLength=200),
            "endpoint": _of("string", default="openrouter/router/video"),
            "input": _of("object", "Without the model."),
            "columns": {
                "type": "array",
                "minItems": 1,
                "maxItems": 6,
                "items": {
                    "type": "object",
                    "properties": {
                        "model": _of("string", minLength=1, maxLength=300),
                        "request_id": _of(
                            "string?", "Of a call that has ended: its result is copied."
                        ),
                    },
                    "required": ["model"],
                    "additionalProperties": False,
                },
            },
            "is_shared": _of("boolean", "Make a link, or take it back.", default=False),
        },
        "required": ["columns"],
        "additionalProperties": False,
    },
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

_FILTERS = [
    _parameter("video", _of("boolean", default=False), "Only those that take videos."),
    _parameter("audio", _of("boolean", default=False), "Only those that hear."),
    _parameter("images", _of("boolean", default=False), "Only those that take images."),
    _parameter("max_price", _of("number", minimum=0), "US dollars for a million prompt tokens."),
    _parameter("search", _of("string"), "Words of the name or the description."),
]
_INPUT: _Schema = {
    "type": "object",
    "description": "The input of an endpoint.",
    "properties": {
        "endpoint": _of("string", "Of which it is.", default="openrouter/router/video"),
    },
    "additionalProperties": True,
}

_SPAN = [
    _parameter("from", _of("string", format="date-time"), "Not before that time."),
    _parameter("to", _of("string", format="date-time"), "Before that time."),
]
_LISTED = [
    _parameter("state", _list(_SCHEMAS["Request"]["properties"]["state"]), "Only these."),
    _parameter("mode", _SCHEMAS["Request"]["properties"]["mode"], "Only those."),
    _parameter("endpoint", _of("string"), "Only those of this one."),
    _parameter("model", _of("string"), "Only those that asked for this one."),
    _parameter("key", _of("string"), "Only those of this key, by its id."),
    _parameter("search", _of("string"), "Part of an id, a model or an error."),
    *_SPAN,
]
_CHANGED = _parameter("cursor", _of("string"), "`cursor` of the answer before.")
_BY = _parameter("by", _SCHEMAS["UsageReport"]["properties"]["by"], "One line for each.")


def _no_body(summary: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    call = _call(summary, {}, *parameters)
    failures = call["responses"]["default"]
    return {**call, "responses": {"204": {"description": "Done."}, "default": failures}}


def _given(call: dict[str, Any], schema: _Schema) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {**call, "requestBody": {"required": True, "content": content}}


_PATHS: dict[str, Any] = {
    f"{BASE}/requests": {"get": _call("The newest requests.", _ref("Requests"), *_PAGED, *_LISTED)},
    f"{BASE}/requests/changes": {
        "get": _call("What changed since an earlier answer.", _ref("Changes"), _CHANGED)
    },
    f"{BASE}/requests/{{id}}": {
        "get": _call("One request with everything about it.", _ref("RequestStory"), _ID)
    },
    f"{BASE}/requests/{{id}}/replay": {
        "post": _call("The same input once more, queued.", _ref("Replay"), _ID, code="202")
    },
    f"{BASE}/requests/{{id}}/cancel": {
        "post": _call("Have it stopped.", _ref("Cancelled"), _ID, code="202")
    },
    f"{BASE}/requests/{{id}}/payload": {
        "delete": _no_body("Delete what it said and was answered.", _ID)
    },
    f"{BASE}/usage": {
        "get": _call("What was used and what it cost.", _ref("UsageReport"), _BY, *_SPAN)
    },
    f"{BASE}/files": {"get": _call("The newest files.", _ref("Files"), *_PAGED)},
    f"{BASE}/files/{{id}}": {"delete": _no_body("Delete a file.", _ID)},
    f"{BASE}/providers": {
        "get": _call("Who could answer, and what unlocks the others.", _ref("Providers"))
    },
    f"{BASE}/session": {
        "get": _call("Who is signed in to the pages.", _ref("Session")),
        "post": {
            **_given(
                _call("A key for a cookie that counts for the pages.", _ref("Session")),
                _object(key=_of("string", "`id:secret`")),
            ),
            "security": [],
        },
        "delete": {**_no_body("Forget the cookie."), "security": []},
    },
    f"{BASE}/keys": {
        "get": _call("Every key; for the scope ADMIN.", _ref("Keys")),
        "post": _given(_call("A new key.", _ref("NewKey"), code="201"), _ref("KeyAsked")),
    },
    f"{BASE}/keys/{{id}}": {
        "patch": _given(_call("Other limits for a key.", _ref("Key"), _ID), _ref("KeyLimits")),
        "delete": _no_body("Revoke a key.", _ID),
    },
    f"{BASE}/audit": {
        "get": _call("Who changed what; for the scope ADMIN.", _ref("Audit"), _PAGED[1])
    },
    f"{BASE}/models": {"get": _call("Every model of every provider.", _ref("Models"), *_FILTERS)},
    f"{BASE}/estimate": {
        "post": {
            **_call("What a request would be sent as, and what it may cost.", _ref("Estimate")),
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _INPUT}},
            },
        }
    },
    f"{BASE}/deliveries": {
        "get": _call("The newest webhooks.", _ref("Deliveries"), *_PAGED, _STATE, _OF_REQUEST)
    },
    f"{BASE}/deliveries/{{id}}": {
        "get": _call("One webhook with its attempts.", _ref("DeliveryStory"), _ID)
    },
    f"{BASE}/deliveries/{{id}}/replay": {
        "post": _call("Deliver once more.", _ref("DeliveryStory"), _ID, code="202")
    },
    f"{BASE}/sandboxes": {
        "get": _call("Saved comparisons of models.", _ref("Sandboxes"), *_PAGED),
        "post": _given(_call("A new one.", _ref("Sandbox"), code="201"), _ref("SandboxAsked")),
    },
    f"{BASE}/sandboxes/{{id}}": {
        "get": _call("One by its id or its link, with its results.", _ref("Sandbox"), _ID),
        "put": _given(_call("Change all of it.", _ref("Sandbox"), _ID), _ref("SandboxAsked")),
        "delete": _no_body("Delete one with its results.", _ID),
    },
    f"{BASE}/openapi.json": {
        "get": {**_call("This document.", {"type": "object"}), "security": []}
    },
}
