"""What describes an endpoint: the OpenAPI document of its queue, llms.txt, a page for people.

Both are made from the models that judge the input, so they cannot say anything else.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from telecine import wire
from telecine.api.addressing import Address, address
from telecine.endpoints import ENDPOINTS, OPENAI_BASE, Endpoint, UsageInfo
from telecine.errors import NotFound
from telecine.models import Api


async def openapi(request: Request) -> Response:
    """`GET /api/openapi/queue/openapi.json?endpoint_id=`"""
    endpoint = _endpoint(request.query_params.get("endpoint_id", ""))
    at = address(request.scope)
    document = queue_document(endpoint, at)
    return Response(wire.dumps(document), media_type="application/json")


async def llms(request: Request) -> Response:
    """`GET /models/{endpoint}/llms.txt`"""
    endpoint = _endpoint(request.path_params["endpoint"])
    at = address(request.scope)
    return PlainTextResponse(
        _llms(endpoint, run=at.run, queue=at.queue), media_type="text/markdown; charset=utf-8"
    )


async def page(request: Request) -> Response:
    """`GET /models/{endpoint}` and `.../api`: for people who follow a link."""
    endpoint = _endpoint(request.path_params["endpoint"])
    at = address(request.scope)
    return HTMLResponse(
        _PAGE.format(
            id=endpoint.id,
            description=html.escape(endpoint.description),
            guide=html.escape(f"{at.run}/models/{endpoint.id}/llms.txt"),
            schema=html.escape(
                f"{at.run}/api/openapi/queue/openapi.json?endpoint_id={endpoint.id}"
            ),
            call=html.escape(f"POST {at.run}/{endpoint.id}"),
        ),
        headers={"content-security-policy": "default-src 'none'", "vary": "host"},
    )


def _endpoint(id: str) -> Endpoint:
    endpoint = ENDPOINTS.get(id)
    if endpoint is None:
        raise NotFound(f"There is no endpoint {id[:200]}; this server has {', '.join(ENDPOINTS)}")
    return endpoint


# ---------------------------------------------------------------- schemas as fal writes them


def schema(
    model: type[BaseModel], order: tuple[str, ...] | None = None, title: str = ""
) -> dict[str, Any]:
    """The published schema of `model`: the properties in `order`, no mention of null."""
    raw = model.model_json_schema(ref_template="#/components/schemas/{model}")
    order = order or tuple(raw["properties"])
    return {
        "title": title or model.__name__,
        "type": "object",
        "x-fal-order-properties": list(order),
        "properties": {name: _property(raw["properties"][name]) for name in order},
        "required": [name for name in order if name in raw.get("required", ())],
    }


def _property(raw: dict[str, Any]) -> dict[str, Any]:
    """fal leaves nullability out of what it publishes, and takes null all the same."""
    options = [option for option in raw.get("anyOf", ()) if option != {"type": "null"}]
    plain = {name: value for name, value in raw.items() if name not in ("anyOf", "default")}
    if options:
        plain = {**options[0], **plain}
    for bound in ("minimum", "maximum"):  # OpenAPI 3.0 says of a bound whether it is exclusive
        exclusive = f"exclusive{bound.capitalize()}"
        if exclusive in plain:
            plain |= {bound: plain[exclusive], exclusive: True}
    if raw.get("default") is not None:
        plain["default"] = raw["default"]
    return plain


_QUEUE_STATUS = {
    "type": "object",
    "required": ["status", "request_id"],
    "properties": {
        "status": {"type": "string", "enum": ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]},
        "request_id": {"type": "string", "description": "The request id."},
        "response_url": {"type": "string", "description": "Where the result is."},
        "status_url": {"type": "string", "description": "Where the status is."},
        "cancel_url": {"type": "string", "description": "Where to cancel."},
        "logs": {"type": "object", "additionalProperties": True, "description": "The log."},
        "metrics": {"type": "object", "additionalProperties": True, "description": "Timings."},
        "queue_position": {"type": "integer", "description": "0 is next."},
    },
}

_REQUEST_ID = {
    "name": "request_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "description": "Request ID"},
}
_LOGS = {
    "name": "logs",
    "in": "query",
    "required": False,
    "schema": {"type": "number", "description": "1 to have the log with the status."},
}


def queue_document(endpoint: Endpoint, at: Address) -> dict[str, Any]:
    """The OpenAPI document of an endpoint's queue, for whoever reaches the server at `at`."""
    name = endpoint.id
    given, made = f"{endpoint.schema_name}Input", f"{endpoint.schema_name}Output"
    page = f"{at.run}/models/{name}"
    return {
        "openapi": "3.0.4",
        "info": {
            "title": f"Queue OpenAPI for {name}",
            "version": "1.0.0",
            "description": f"The OpenAPI schema for the {name} queue.",
            "x-fal-metadata": {
                "endpointId": name,
                "category": endpoint.category,
                "thumbnailUrl": "",
                "playgroundUrl": page,
                "documentationUrl": f"{page}/api",
            },
        },
        "components": {
            "securitySchemes": {
                "apiKeyAuth": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "Fal Key",
                }
            },
            "schemas": {
                "QueueStatus": _QUEUE_STATUS,
                **_schemas(endpoint, given, made),
            },
        },
        "paths": _paths(f"/{name}", given, made),
        "servers": [{"url": at.queue}],
        "security": [{"apiKeyAuth": []}],
    }


def _schemas(endpoint: Endpoint, given: str, made: str) -> dict[str, Any]:
    if endpoint.output is None:
        # OpenAI's own JSON: fal publishes no more of it than that
        return {given: {"type": "object", "additionalProperties": True}, made: {}}
    return {
        given: schema(endpoint.input, endpoint.fields, endpoint.title),
        made: schema(endpoint.output),
        "UsageInfo": schema(UsageInfo),
    }


def _paths(path: str, given: str, made: str) -> dict[str, Any]:
    one = f"{path}/requests/{{request_id}}"
    body = {"required": True, "content": _content(given)}
    cancelled = {
        "type": "object",
        "properties": {
            "success": {"type": "boolean", "description": "Whether it will be cancelled."}
        },
    }
    return {
        f"{one}/status": {
            "get": {"parameters": [_REQUEST_ID, _LOGS], **_answers("The status.", "QueueStatus")}
        },
        f"{one}/cancel": {
            "put": {
                "parameters": [_REQUEST_ID],
                "responses": {
                    "200": {
                        "description": "The request was cancelled.",
                        "content": {"application/json": {"schema": cancelled}},
                    }
                },
            }
        },
        path: {"post": {"requestBody": body, **_answers("The status.", "QueueStatus")}},
        one: {"get": {"parameters": [_REQUEST_ID], **_answers("The result.", made)}},
    }


def _answers(description: str, name: str) -> dict[str, Any]:
    return {"responses": {"200": {"description": description, "content": _content(name)}}}


def _content(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


# ---------------------------------------------------------------- the page for people

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{id}</title>
<h1>{id}</h1>
<p>{description}</p>
<pre>{call}</pre>
<ul>
<li><a href="{guide}">What goes in and comes out, with examples</a></li>
<li><a href="{schema}">OpenAPI</a></li>
</ul>
</html>
"""


# ---------------------------------------------------------------- llms.txt

_LLMS = """\
# {id}

> {description}

## Overview

- **Endpoint**: `{run}/{id}`
- **Model ID**: `{id}`
- **Category**: {category}
- **Kind**: inference

## Pricing

The tokens of the model that answers, at that model's own price; `usage.cost` is in US dollars.

## API Information

{answers}
`POST {queue}/{id}` puts the request in the queue. Every call needs `Authorization: Key <key>`.

### Input Schema

{input}

### Output Schema

{output}

## Usage Examples

{usage}
### cURL

```bash
curl {run}/{id} \\
  -H "Authorization: Key $FAL_KEY" -H "Content-Type: application/json" \\
  -d '{example}'
```

## Additional Resources

- [OpenAPI]({run}/api/openapi/queue/openapi.json?endpoint_id={id})
- [Models]({run}/telecine/v1/models)
"""

_ANSWERS = """\
`POST {run}/{id}` answers at once,
`POST {run}/{id}/stream` as the text grows (server-sent events),"""

_CLIENTS = """\
### Python

```python
import fal_client

result = fal_client.subscribe("{id}", arguments={example})
print(result["output"])
```

### JavaScript

```javascript
import {{ fal }} from "@fal-ai/client";

const result = await fal.subscribe("{id}", {{ input: {example} }});
console.log(result.data.output);
```
"""

_OPENAI_ANSWERS = """\
`POST {run}/{id}` answers as OpenAI's API does, with `"stream": true` as it comes;"""

_OPENAI_CLIENTS = """\
### Python

```python
import os

from openai import OpenAI

client = OpenAI(base_url="{run}/{base}", api_key=os.environ["FAL_KEY"])
answer = client.{method}(**{example})
```

### JavaScript

```javascript
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{run}/{base}", apiKey: process.env.FAL_KEY }});
const answer = await client.{method}({example});
```
"""
_METHODS: Mapping[Api, str] = {
    "chat": "chat.completions.create",
    "responses": "responses.create",
    "embeddings": "embeddings.create",
}


def _llms(endpoint: Endpoint, *, run: str, queue: str) -> str:
    facts = {
        "id": endpoint.id,
        "description": endpoint.description,
        "category": endpoint.category,
        "run": run,
        "queue": queue,
        "base": OPENAI_BASE,
        "method": _METHODS[endpoint.api] if endpoint.api else "",
        "input": "What OpenAI's API takes.",
        "output": "What OpenAI's API gives.",
        "example": wire.dumps(endpoint.example),
    }
    if endpoint.output is not None:
        facts["input"] = _listed(schema(endpoint.input, endpoint.fields))
        facts["output"] = _listed(schema(endpoint.output))
    answers, usage = (_OPENAI_ANSWERS, _OPENAI_CLIENTS) if endpoint.api else (_ANSWERS, _CLIENTS)
    return _LLMS.format(**facts, answers=answers.format(**facts), usage=usage.format(**facts))


def _listed(schema: dict[str, Any]) -> str:
    return "\n".join(
        _line(name, about, is_required=name in schema["required"])
        for name, about in schema["properties"].items()
    )


def _line(name: str, about: dict[str, Any], *, is_required: bool) -> str:
    kind = about.get("type", "object")
    if kind == "array":
        kind = f"list<{about['items']['type']}>"
    facts = [kind, "required" if is_required else "optional"]
    facts += [f"default {about['default']}"] if "default" in about else []
    facts += [f"from {about['minimum']}"] if "minimum" in about else []
    facts += [f"to {about['maximum']}"] if "maximum" in about else []
    return f"- **`{name}`** ({', '.join(facts)}): {about.get('description', '')}"
