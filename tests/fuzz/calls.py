"""Calls as strangers make them: from the OpenAPI documents, and to every other route there is.

Each is drawn with Hypothesis, half of them as the schemas want them and half not, and made in process
on a whole server with the echo provider. What no call may get is an answer with a 5xx status that
nobody asked for, an exception, or no answer.
"""

import asyncio
import contextlib
import json
import sqlite3
import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import hypothesis
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from tests.fakes.asgi import Browser

from telecine import app as whole
from telecine import settings
from telecine.api import documents, own_document
from telecine.api.addressing import Address
from telecine.endpoints import ENDPOINTS, OPENAI_BASE

ORIGIN = "http://localhost:8484"
AT = Address(ORIGIN, f"{ORIGIN}/queue", f"{ORIGIN}/rest", f"{ORIGIN}/files")
BASE = f"/{OPENAI_BASE}"
SECONDS = 15.0  # after that a call counts as never answered

# ---------------------------------------------------------------- what there is to call

TEXT, WHOLE = {"type": "string"}, {"type": "integer"}
ANY = {"type": "object", "additionalProperties": True}
MODEL = {"type": "string", "enum": ["echo/echo", "echo/count-3", "echo/log-2", "echo/fail-429"]}
MESSAGE = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"type": "string", "enum": ["user", "system", "assistant", "developer", "tool"]},
        "content": {
            "anyOf": [
                TEXT,
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "type": {"type": "string", "enum": ["text", "image_url", "video_url"]},
                            "text": TEXT,
                            "image_url": {"type": "object", "properties": {"url": TEXT}},
                            "video_url": {"type": "object", "properties": {"url": TEXT}},
                        },
                    },
                },
            ]
        },
    },
}
CHAT = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": MODEL,
        "messages": {"type": "array", "items": MESSAGE},
        "stream": {"type": "boolean"},
        "stream_options": ANY,
        "temperature": {"type": "number"},
        "max_tokens": WHOLE,
        "stop": {"type": "array", "items": TEXT},
        "tools": {"type": "array", "items": ANY},
        "response_format": ANY,
        "n": WHOLE,
    },
}
RESPONSES = {
    "type": "object",
    "required": ["model", "input"],
    "properties": {
        "model": MODEL,
        "input": {"anyOf": [TEXT, {"type": "array", "items": MESSAGE}]},
        "stream": {"type": "boolean"},
        "instructions": TEXT,
        "reasoning": ANY,
    },
}
UPLOAD = {"type": "object", "properties": {"file_name": TEXT, "content_type": TEXT}}
PART = {"type": "object", "properties": {"partNumber": WHOLE, "etag": TEXT}}
PARTS = {"type": "object", "properties": {"parts": {"type": "array", "items": PART}}}
TOKEN = {
    "type": "object",
    "properties": {"allowed_apps": {"type": "array", "items": TEXT}, "token_expiration": WHOLE},
}
PERIOD = (
    "start",
    "end",
    "timezone",
    "timeframe",
    "bound_to_timeframe",
    "expand",
    "limit",
    "cursor",
)
PERIOD += ("endpoint_id", "format", "status", "request_id", "q", "category", "sort_by")

# What no document describes: (method, path, body, names in the query).
UNDOCUMENTED = [
    ("post", f"{BASE}/chat/completions", CHAT, ()),
    ("post", f"{BASE}/responses", RESPONSES, ()),
    ("post", f"{BASE}/embeddings", ANY, ()),
    ("post", f"{BASE}/{{rest}}", ANY, ()),
    ("get", f"{BASE}/models", None, ()),
    ("get", f"{BASE}/models/{{model}}", None, ()),
    ("post", "/rest/storage/upload/initiate", UPLOAD, ("storage_type",)),
    ("post", "/rest/storage/upload/initiate-multipart", UPLOAD, ("storage_type",)),
    ("post", "/rest/storage/auth/token", ANY, ("storage_type",)),
    ("post", "/files/upload", UPLOAD, ()),
    ("post", "/files/upload/multipart", ANY, ()),
    ("post", "/files/{id}/{name}/multipart/{upload}/complete", PARTS, ()),
    ("put", "/files/{id}/{name}/multipart/{upload}/{number}", ANY, ()),
    ("post", "/files/{id}/{name}/complete", PARTS, ("upload",)),
    ("put", "/files/{id}/{name}/{number}", ANY, ("upload",)),
    ("put", "/files/{id}/{name}", ANY, ("upload",)),
    ("get", "/files/{id}/{name}", None, ("identity",)),
    ("post", "/rest/tokens", TOKEN, ()),
    ("post", "/rest/tokens/realtime", TOKEN, ()),
    ("get", "/v1/meta", None, PERIOD),
    ("get", "/v1/models", None, PERIOD),
    ("get", "/v1/models/pricing", None, PERIOD),
    ("post", "/v1/models/pricing/estimate", ANY, PERIOD),
    ("get", "/v1/models/usage", None, PERIOD),
    ("get", "/v1/models/analytics", None, PERIOD),
    ("get", "/v1/models/billing-events", None, PERIOD),
    ("get", "/v1/models/requests/by-endpoint", None, PERIOD),
    ("delete", "/v1/models/requests/{id}/payloads", None, PERIOD),
    ("get", "/v1/keys", None, PERIOD),
    ("post", "/v1/keys", {"type": "object", "properties": {"alias": TEXT, "scope": TEXT}}, ()),
    ("delete", "/v1/keys/{id}", None, ()),
    ("get", "/v1/account/billing", None, PERIOD),
    ("get", "/v1/storage/files/acl", None, ("url",)),
    ("put", "/v1/storage/files/acl", ANY, ("url",)),
    ("post", "/v1/storage/files/sign", ANY, ("url",)),
    ("get", "/v1/storage/settings", None, ()),
    ("put", "/v1/storage/settings", ANY, ()),
    ("get", "/v1/{rest}", None, PERIOD),
    ("get", "/{rest}", None, ()),
    ("post", "/queue/{rest}", ANY, ("fal_webhook", "fal_max_queue_length")),
    ("get", "/models/{rest}", None, ()),
    ("get", "/api/openapi/queue/openapi.json", None, ("endpoint_id",)),
    ("get", "/.well-known/jwks.json", None, ()),
    ("get", "/metrics", None, ()),
    ("get", "/health", None, ()),
    ("get", "/ready", None, ()),
]


def undocumented():
    """An OpenAPI document of the rest."""
    paths = {}
    for method, path, body, query in UNDOCUMENTED:
        named = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        parameters = [
            *({"name": n, "in": "path", "required": True, "schema": TEXT} for n in named),
            *({"name": name, "in": "query", "schema": TEXT} for name in query),
        ]
        operation = {"parameters": parameters, "responses": {"200": {"description": "."}}}
        if body is not None:
            operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
        paths.setdefault(path, {})[method] = operation
    return {"openapi": "3.0.4", "info": {"title": "rest", "version": "1"}, "paths": paths}


def operations():
    """(prefix of the path, operation) for everything that a server answers."""
    own = own_document.document(ORIGIN)
    found = [("", undocumented()), ("", own)]
    for endpoint in (each for each in ENDPOINTS.values() if "enterprise" not in each.id):
        queued = documents.queue_document(endpoint, AT)
        found.append(("/queue", queued))
        submit = queued["paths"][f"/{endpoint.id}"]
        live = {f"/{endpoint.id}": submit}
        if endpoint.api is None:
            live[f"/{endpoint.id}/stream"] = submit
        found.append(("", {**queued, "paths": live}))
    for prefix, document in found:
        schema = schemathesis.openapi.from_dict(document)
        for operation in schema.get_all_operations():
            yield prefix, operation.ok()


# ---------------------------------------------------------------- one call

# Strings that mean something to somebody: dates, numbers, ranges, URLs.
SPICE = st.sampled_from(
    [
        *("", " ", "0", "-1", "1e400", "NaN", "9" * 30, "9" * 5000, "0x10", "٣", "\x00", "%00"),
        *("2026-01-01", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+23:59", "2026-02-30", "-1d"),
        *("Europe/Berlin", "../../etc/passwd", "/", "Europe/", "bytes=0-", "bytes=-0", 'W/"x"'),
        *("http://[", "data:video/mp4;base64,", "data:,", "https://fal.media/files/x/y", "\ud800"),
        *("Key a:b", "Bearer a.b.c", "Basic Og==", "openrouter/router/video", "null", "[]", "{}"),
    ]
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            # No wrong keys: who sends many has to wait for each answer.
            *("content-type", "range", "if-range", "if-none-match", "accept"),
            *("if-modified-since", "idempotency-key", "x-fal-queue-priority", "x-fal-store-io"),
            *("x-fal-request-timeout", "x-fal-request-start-timeout", "x-fal-no-retry", "origin"),
            *("x-fal-object-lifecycle-preference", "x-fal-file-name", "x-fal-target-url"),
            *("x-telecine-host", "expect", "accept-encoding", "cookie", "x-forwarded-for"),
        ]
    ),
    SPICE.map(lambda text: text.encode("utf-8", "surrogatepass").decode("latin-1")),
    max_size=3,
)
MODELS = st.sampled_from(["echo/echo", "echo/count-5", "echo/fail-400", "echo/log-3", "nobody/x"])
VIDEOS = st.lists(SPICE, max_size=3)


@dataclass
class Tally:
    calls: int = 0
    statuses: Counter = field(default_factory=Counter)
    routes: Counter = field(default_factory=Counter)
    refusals: Counter = field(default_factory=Counter)  # 503s that were asked for, by operation
    defects: list = field(default_factory=list)


def mixed(draw, body):
    """A body that gets further than its schema alone would: fewer members, a model that exists."""
    if not isinstance(body, dict) or draw(st.booleans()):
        return body
    kept = sorted(draw(st.sets(st.sampled_from(sorted(body)), max_size=3))) if body else ()
    body = {"prompt": "p", **{name: body[name] for name in kept}, "model": draw(MODELS)}
    if draw(st.booleans()):
        body["video_urls"] = draw(VIDEOS)
    return body


@st.composite
def call(draw, known, prefix, operation, mode):
    case = draw(operation.as_strategy(generation_mode=mode))
    case.body = mixed(draw, case.body)
    if case.path_parameters and draw(st.booleans()):
        things = draw(st.sampled_from(known))
        case.path_parameters = {
            name: things.get(name, value) for name, value in case.path_parameters.items()
        }
    sent = case.as_transport_kwargs(base_url=ORIGIN)
    if draw(st.booleans()) and sent.get("params"):
        name = draw(st.sampled_from(sorted(sent["params"])))
        sent["params"] = {**sent["params"], name: draw(SPICE)}
    headers = draw(HEADERS) if draw(st.integers(0, 3)) == 0 else {}
    return prefix, operation.label, sent, headers


def prepared(prefix, sent, headers):
    """Method, target, headers and body, as they would go over the wire."""
    made = requests.Request(**{**sent, "headers": {}})
    made = made.prepare()
    parts = urlsplit(made.url)
    body = made.body or b""
    if not isinstance(body, bytes):
        body = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else b"".join(body)
    given = dict(sent.get("headers") or {})
    content_type = made.headers.get("content-type") or given.get("Content-Type")
    found = {"content-type": content_type} if body and content_type else {}
    target = f"{prefix}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    return made.method, target, found | headers, body


def is_wanted(answer, body):
    """Of 5xx only the 503 of a provider that does not start, to a call that asked for just that."""
    if answer.status < 500:
        return True
    asked = answer.status == 503 and b"echo/fail-429" in body
    return asked and b'"downstream_service_unavailable"' in answer.body


def is_told(answer):
    """A failure is JSON that says why."""
    if answer.status < 400 or not answer.body:
        return True
    return isinstance(json.loads(answer.body), dict)


# ---------------------------------------------------------------- many calls


@contextlib.asynccontextmanager
async def opened(folder):
    """A whole server, and a browser with the key of an administrator."""
    config = folder / "telecine.toml"
    config.write_text("[providers.echo]\n")
    (folder / "data").mkdir()
    found = settings.load(config=config, flags={"data.dir": folder / "data"}, environ={})
    found = replace(found, jobs=replace(found.jobs, queue_depth=100_000))
    async with whole.opened(found) as server:
        made = await server.keys.create("fuzz", ("API", "ADMIN"))
        yield Browser(server.asgi, key=made.key)


async def known(server):
    """Requests and files that are there, as the names in paths call their parts."""
    asked = {"prompt": "p", "model": "echo/echo"}
    jobs = [await server("POST", "/queue/openrouter/router/video", asked) for _ in range(2)]
    file = await server("POST", "/files/upload", body=b"0123456789")
    _, _, file_id, name = urlsplit(file.json["access_url"]).path.split("/")
    begun = await server("POST", "/files/upload/multipart", body=b"{}")
    upload = begun.json["uploadId"]
    _, _, upload_id, upload_name = urlsplit(begun.json["access_url"]).path.split("/")
    ids = [job.json["request_id"] for job in jobs]
    return [
        *(
            {"request_id": each, "id": each, "rest": f"openrouter/router/requests/{each}"}
            for each in ids
        ),
        {"id": file_id, "name": name, "number": "1"},
        {"id": upload_id, "name": upload_name, "upload": upload, "number": "1"},
        {"id": "1", "model": "echo/echo", "rest": "openrouter/router/video"},
    ]


def fuzz(folder, *, count, seed):
    """Make `count` calls at least, the same ones for the same seed; tells what came of them."""
    warnings.simplefilter("ignore")  # about schemas that are wider than what is generated
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    kinds = [(*each, mode) for each in operations() for mode in modes]
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        server = runner.run(stack.enter_async_context(opened(folder)))
        try:
            strangers = Strangers(runner, server, runner.run(known(server)))
            while strangers.tally.calls < count:
                each = -(-(count - strangers.tally.calls) // len(kinds))
                for number, kind in enumerate(kinds):
                    strangers.call(kind, count=each, seed=(seed, strangers.tally.calls, number))
        finally:
            runner.run(stack.aclose())
    strangers.tally.defects += broken(folder / "data" / "telecine.db")
    return strangers.tally


def broken(database):
    """Requests that ended with a 5xx which no status told: of a job, or within a stream."""
    question = """
        SELECT id, mode, endpoint, model, input, result_status, error FROM requests
        WHERE result_status >= 500 AND model <> 'echo/fail-429'
    """
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(question).fetchall()


class Strangers:
    def __init__(self, runner, server, things):
        self._runner = runner
        self._server = server
        self._things = things
        self.tally = Tally()

    def call(self, kind, *, count, seed):
        """`count` calls of one kind."""

        @hypothesis.seed(hash(seed))
        @hypothesis.settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(call(self._things, *kind))
        def each(drawn):
            self._runner.run(self._one(*drawn))

        with contextlib.suppress(hypothesis.errors.Unsatisfiable):
            each()

    async def _one(self, prefix, label, sent, headers):
        try:
            method, target, headers, body = prepared(prefix, sent, headers)
            target.encode("ascii")
        except (ValueError, requests.RequestException):
            return  # no HTTP client can say this
        said = method, target, headers, body[:2000]
        self.tally.calls += 1
        self._server.hang_up.clear()
        try:
            async with asyncio.timeout(SECONDS):
                answer = await self._server(method, target, body=body, headers=headers)
            status = answer.status
            if not is_wanted(answer, body) or not is_told(answer):
                self.tally.defects.append((*said, status, answer.body[:300]))
            elif status == 503:
                self.tally.refusals[f"{prefix} {label}"] += 1
        except Exception as error:  # noqa: BLE001 -- each is a finding
            status = type(error).__name__
            self.tally.defects.append((*said, repr(error)[:500]))
        self.tally.statuses[status] += 1
        self.tally.routes[f"{prefix} {label}"] += 1
