"""A model server that does nothing: the same short answer at once, whatever it is asked.

    python bench/upstream.py PORT

It speaks OpenAI's chat completions, as a stream too; bodies of any size are read to their end and
held nowhere. What a gateway in front of it takes is the gateway's own.
"""

from __future__ import annotations

import json
import sys

import uvloop
from aiohttp import web

WORDS = "x" * 200
# As many prompt tokens as leave no doubt that a video was seen.
USAGE = {"prompt_tokens": 9000, "completion_tokens": 50, "total_tokens": 9050}
COMMON = {"id": "chatcmpl-1", "created": 1, "model": "bench"}
HEAD_BYTES = 64 * 1024


def _chunk(**more: object) -> bytes:
    document = {**COMMON, "object": "chat.completion.chunk", "choices": [], **more}
    return f"data: {json.dumps(document)}\n\n".encode()


def _choice(delta: dict[str, str], reason: str | None) -> list[dict[str, object]]:
    return [{"index": 0, "delta": delta, "finish_reason": reason}]


MESSAGE = {"role": "assistant", "content": WORDS}
WHOLE = json.dumps(
    {
        **COMMON,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()
STREAM = b"".join(
    (
        _chunk(choices=_choice(MESSAGE, None)),
        _chunk(choices=_choice({}, "stop")),
        _chunk(usage=USAGE),
        b"data: [DONE]\n\n",
    )
)


async def chat(request: web.Request) -> web.Response:
    head = bytearray()
    async for piece in request.content.iter_any():
        if len(head) < HEAD_BYTES:
            head += piece
    # A large body says so before its video.
    if b'"stream":true' in head[:HEAD_BYTES].replace(b" ", b""):
        return web.Response(body=STREAM, content_type="text/event-stream")
    return web.Response(body=WHOLE, content_type="application/json")


async def models(_request: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "bench", "object": "model"}]})


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", chat), web.get("/v1/models", models)])
    loop = uvloop.new_event_loop()
    web.run_app(
        app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, loop=loop
    )
