"""Calls an ASGI application in process, byte for byte as a server would."""

import asyncio
import json
from dataclasses import dataclass, field
from urllib.parse import unquote


@dataclass
class Answer:
    status: int
    headers: dict
    chunks: list = field(default_factory=list)

    @property
    def body(self):
        return b"".join(self.chunks)

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def events(self):
        """The data of every server-sent event."""
        frames = self.body.decode("ascii").split("\n\n")
        assert frames.pop() == "", "the last event is not terminated"
        lines = [line for frame in frames for line in frame.split("\n")]
        return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


class Browser:
    """Makes calls. `hang_up` ends the connection of the call under way."""

    def __init__(
        self, app, *, key="id:secret", host="localhost:8484", scheme="http", client="127.0.0.1"
    ):
        self._app = app
        self._key = key
        self._host = host
        self._scheme = scheme
        self._client = client
        self.hang_up = asyncio.Event()
        self.read_bytes = 0

    async def __call__(
        self, method, target, document=..., *, body=None, headers=None, host=None, chunk=65536
    ):
        raw = b"" if body is None else body
        if document is not ...:
            raw = json.dumps(document).encode()
        given = {"host": host or self._host}
        if self._key:
            given["authorization"] = f"Key {self._key}"
        if raw:
            given |= {"content-type": "application/json", "content-length": str(len(raw))}
        given |= headers or {}
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": self._scheme,
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in given.items()],
            "server": ("127.0.0.1", 8484),
            "client": (self._client, 50000),
            "http_version": "1.1",
            "asgi": {"version": "3.0"},
        }
        return await self.exchange(scope, [raw[i : i + chunk] for i in range(0, len(raw), chunk)])

    async def exchange(self, scope, pieces):
        waiting = list(pieces) or [b""]
        answer = None

        async def receive():
            if waiting:
                piece = waiting.pop(0)
                self.read_bytes += len(piece)
                return {"type": "http.request", "body": piece, "more_body": bool(waiting)}
            await self.hang_up.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            nonlocal answer
            if message["type"] == "http.response.start":
                assert answer is None
                headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in message["headers"]}
                assert len(headers) == len(message["headers"]), "a header is there twice"
                answer = Answer(message["status"], headers)
            else:
                answer.chunks.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return answer
