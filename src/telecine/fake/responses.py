"""OpenAI's responses and embeddings."""

from __future__ import annotations

import base64
import struct
from decimal import Decimal
from typing import Any

from telecine.fake.chat import error, words
from telecine.fake.record import Received
from telecine.fake.script import Script, number

SWITCHES = {"error-event": "An error event after the text (responses)"}
EMBEDDING_PRICE = Decimal("0.000002")


def script(received: Received) -> Script:
    """The answer of the Responses API, as a stream of events or at once."""
    if received.switch == "429":
        return Script(status=429, body=error(429, "said 429"))
    if received.document.get("stream") is not True:
        return Script(body=_response(received))
    return Script(chunks=_events(received), end="silent")


def embeddings(received: Received, *, charges: bool) -> Script:
    given = received.document["input"]
    texts = given if isinstance(given, list) else [given]
    vectors: list[Any] = [[len(str(text)) / 7, -0.25, 1e-07] for text in texts]
    if received.document.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack("<3f", *v)).decode() for v in vectors]
    data = [
        {"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)
    ]
    usage: dict[str, Any] = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    if charges:
        usage["cost"] = number(EMBEDDING_PRICE)
    return Script(body={"object": "list", "data": data, "model": received.model, "usage": usage})


def _response(received: Received) -> dict[str, Any]:
    part = {"type": "output_text", "text": received.said, "annotations": []}
    item = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
    usage = received.usage
    return {
        "id": received.id,
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": received.model,
        "output": [{**item, "content": [part]}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": received.document.get("tools", []),
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
            **({"cost": usage["cost"]} if "cost" in usage else {}),
        },
    }


def _events(received: Received) -> list[dict[str, Any]]:
    whole = _response(received)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    [item] = whole["output"]
    [part] = item["content"]
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
    ]
    events += [
        {"type": "response.output_text.delta", **place, "delta": word, "logprobs": []}
        for word in words(received.said)
    ]
    match received.switch:
        case "middle-error":
            failure = {"code": "server_error", "message": "Provider gone"}
            failed = {**begun, "status": "failed", "error": failure}
            events.append({"type": "response.failed", "response": failed})
        case "error-event":
            events.append({"type": "error", "code": "server_error", "message": "Oops"})
        case _:
            events.append({"type": "response.output_text.done", **place, "text": part["text"]})
            events.append({"type": "response.completed", "response": whole})
    return [{**event, "sequence_number": n} for n, event in enumerate(events)]
