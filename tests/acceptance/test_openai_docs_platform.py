"""C117-C120: OpenAI's clients, documents, the Platform API, realtime (spec 11, 17.3, 18, 19)."""

import openai
import pytest
from tests.acceptance.conftest import ENDPOINT, calling
from tests.acceptance.support.server import KEY

BASE = "/openrouter/router/openai/v1"
MODEL = "echo/count-5"
HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture
def openai_client(server):
    headers = {"Authorization": f"Key {KEY}"}
    with openai.OpenAI(
        base_url=server.origin + BASE, api_key="any", default_headers=headers
    ) as client:
        yield client


def test_c117_openai_for_python_completes_a_chat(openai_client):
    whole = openai_client.chat.completions.create(**HELLO)
    assert whole.object == "chat.completion"
    assert whole.choices[0].message.content == "1 2 3 4 5"
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage.total_tokens > 0
    with openai_client.chat.completions.create(**HELLO, stream=True) as stream:
        chunks = list(stream)
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert texts(chunk.to_dict() for chunk in chunks) == "1 2 3 4 5"


def test_c117_openai_for_js_completes_a_chat(node):
    answer = node("platform.c117", model=MODEL, prompt="Hello!")
    assert answer["whole"]["choices"][0]["message"]["content"] == "1 2 3 4 5"
    assert texts(answer["chunks"]) == "1 2 3 4 5"


def test_c117_the_stream_ends_as_openais_do(raw):
    with raw.stream("POST", f"{BASE}/chat/completions", json={**HELLO, "stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


def texts(chunks):
    """What the pieces of an answer say together."""
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_c118_the_openapi_document_of_an_endpoint(server):
    with calling(server.origin, key=None) as anybody:
        found = anybody.get(f"/api/openapi/queue/openapi.json?endpoint_id={ENDPOINT}")
        missing = anybody.get("/api/openapi/queue/openapi.json?endpoint_id=no/such")
        by_host = anybody.get(
            f"/api/openapi/queue/openapi.json?endpoint_id={ENDPOINT}", headers={"Host": "fal.ai"}
        )
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/json"
    assert by_host.json()["servers"] == [{"url": "https://queue.fal.run"}]
    check_document(found.json(), server.origin)


def check_document(document, origin):
    """Spec 18.1, field by field."""
    assert document["openapi"] == "3.0.4"
    assert document["info"]["title"] == f"Queue OpenAPI for {ENDPOINT}"
    metadata = document["info"]["x-fal-metadata"]
    assert (metadata["endpointId"], metadata["category"]) == (ENDPOINT, "video-to-text")
    assert {"thumbnailUrl", "playgroundUrl", "documentationUrl"} <= set(metadata)
    assert document["servers"] == [{"url": f"{origin}/queue"}]
    assert document["security"] == [{"apiKeyAuth": []}]
    key = document["components"]["securitySchemes"]["apiKeyAuth"]
    assert (key["type"], key["in"], key["name"]) == ("apiKey", "header", "Authorization")
    schemas = document["components"]["schemas"]
    assert schemas["QueueStatus"]["required"] == ["status", "request_id"]
    given, made = schemas["RouterVideoInput"], schemas["RouterVideoOutput"]
    order = ["video_urls", "prompt", "system_prompt", "model", "reasoning", "temperature"]
    order.append("max_tokens")
    assert given["title"] == "VideoInput"
    assert given["x-fal-order-properties"] == list(given["properties"])
    assert list(given["properties"])[: len(order)] == order  # fal's first, as it has them
    assert given["required"] == ["prompt", "model"]
    assert (made["title"], made["x-fal-order-properties"]) == ("VideoOutput", ["output", "usage"])
    assert schemas["UsageInfo"]["required"] == ["cost"]
    one = f"/{ENDPOINT}/requests/{{request_id}}"
    assert {path: list(verbs) for path, verbs in document["paths"].items()} == {
        f"/{ENDPOINT}": ["post"],
        one: ["get"],
        f"{one}/status": ["get"],
        f"{one}/cancel": ["put"],
    }


def test_c119_the_platform_api_tells_of_an_endpoint(server, raw):
    query = {"endpoint_id": ENDPOINT, "expand": "openapi-3.0"}
    answer = raw.get("/v1/models", params=query)
    assert answer.status_code == 200
    (model,) = answer.json()["models"]
    assert answer.json()["has_more"] is False
    assert model["endpoint_id"] == ENDPOINT
    metadata = model["metadata"]
    assert {"display_name", "description", "tags", "updated_at", "kind"} <= set(metadata)
    assert (metadata["category"], metadata["status"]) == ("video-to-text", "active")
    assert metadata["model_url"].endswith(f"/{ENDPOINT}")
    check_document(model["openapi"], server.origin)
    by_host = raw.get("/v1/models", params=query, headers={"Host": "api.fal.ai"})
    assert by_host.json()["models"][0]["endpoint_id"] == ENDPOINT


def test_c120_js_is_refused_realtime_cleanly(node, server, wire, raw):
    answer = node("platform.c120", realtime=server.origin)
    assert answer["opened"] == [f"fal.run/{ENDPOINT}/realtime"]
    # The client has no words for a refused handshake: it tells of any failure so.
    assert answer["error"]["kind"] == "ApiError"
    assert answer["error"]["message"] == "Unknown error"
    # A token was to be had; it is the handshake that is refused.
    assert [call.status for call in wire.to("/rest/tokens")] == [200]
    handshake = {
        "Connection": "upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    refused = raw.get(f"/{ENDPOINT}/realtime", headers=handshake)
    assert refused.status_code == 404
    assert refused.headers["content-type"] == "application/json"
    assert refused.json()["detail"]
