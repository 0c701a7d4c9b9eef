"""A client of a running Telecine (or of anything that speaks fal's protocol on one origin)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import aiohttp

from telecine import __version__, net
from telecine.cli.common import Failed

Answer = dict[str, Any]


class Remote:
    """Uploads, streams and queues with one key. Raises Failed with a sentence for the user."""

    def __init__(self, server: str, *, key: str | None) -> None:
        if urlsplit(server).scheme not in ("http", "https") or not urlsplit(server).hostname:
            raise Failed(
                f"--server must be a URL such as http://127.0.0.1:8484, not {server}", code=2
            )
        self._origin = server.rstrip("/")
        self._headers = {"Authorization": f"Key {key}"} if key else {}
        self._client = net.Client(
            allow=(), proxy=None, connect_seconds=10, user_agent=f"telecine/{__version__}"
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    @property
    def session(self) -> aiohttp.ClientSession:
        return self._client.trusted()

    async def check(self) -> None:
        """See that a Telecine answers there, and takes the key."""
        await self._json("GET", f"{self._origin}/telecine/v1/requests?limit=1")

    async def upload(self, path: Path, content_type: str) -> str:
        """Send a file; gives the URL that stands for it in inputs."""
        asked = await self._json(
            "POST",
            f"{self._origin}/rest/storage/upload/initiate?storage_type=fal-cdn-v3",
            json={"content_type": content_type, "file_name": path.name},
        )
        with path.open("rb") as file:
            headers = {"Content-Type": content_type}
            async with self._answered("PUT", asked["upload_url"], headers=headers, data=file):
                return str(asked["file_url"])

    async def stream(
        self, endpoint: str, document: Answer, *, on_text: Callable[[str], None]
    ) -> Answer:
        """The stream mode; gives the last event."""
        last: Answer = {}
        url = f"{self._origin}/{endpoint}/stream"
        async for event in self._events("POST", url, json=document):
            on_text(event["output"])
            last = event
        if not last or last.get("partial"):
            raise Failed("the server went away before the answer was complete")
        if last.get("error"):
            raise Failed(str(last["error"]))
        return {name: last[name] for name in ("output", "usage", "receipt") if name in last}

    async def subscribe(
        self, endpoint: str, document: Answer, *, on_log: Callable[[str], None]
    ) -> Answer:
        """The queue: submit, follow the log, fetch the result. Interrupted, it cancels."""
        job = await self._json("POST", f"{self._origin}/queue/{endpoint}", json=document)
        owner_and_alias = "/".join(endpoint.split("/")[:2])
        job_url = f"{self._origin}/queue/{owner_and_alias}/requests/{quote(job['request_id'])}"
        try:
            async for status in self._events("GET", f"{job_url}/status/stream?logs=1"):
                if status["status"] == "IN_QUEUE":
                    on_log(f"waiting; {status['queue_position']} before this one")
                for line in status.get("logs") or ():
                    on_log(line["message"])
        except asyncio.CancelledError:
            with contextlib.suppress(Failed):
                await self._json("PUT", f"{job_url}/cancel")
            raise
        return await self._json("GET", job_url)

    # ------------------------------------------------------------ HTTP

    async def _json(self, method: str, url: str, **more: Any) -> Answer:
        async with self._answered(method, url, headers=self._headers, **more) as response:
            answer: Answer = await response.json()
            return answer

    async def _events(self, method: str, url: str, **more: Any) -> AsyncIterator[Answer]:
        async with self._answered(method, url, headers=self._headers, **more) as response:
            buffer = b""
            async for chunk in response.content.iter_any():
                *events, buffer = (buffer + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
                for event in events:
                    if data := _data(event):
                        yield json.loads(data)

    @contextlib.asynccontextmanager
    async def _answered(
        self, method: str, url: str, **more: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response that is a 2xx. Raises Failed."""
        try:
            async with self._client.trusted().request(method, url, **more) as response:
                if not response.ok:
                    raise Failed(_refusal(response.status, await response.text()))
                yield response
        except aiohttp.ClientConnectorError as error:
            raise Failed(
                f"nothing answers at {self._origin} ({error.os_error.strerror}); "
                "start it with: telecine serve"
            ) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failed(f"the connection to {self._origin} broke ({error})") from error


def _data(event: bytes) -> bytes:
    """The data lines of a server-sent event; nothing in a comment."""
    lines = event.split(b"\n")
    return b"\n".join(line[len(b"data:") :] for line in lines if line.startswith(b"data:"))


def _refusal(status: int, body: str) -> str:
    """fal's two error bodies as a sentence."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return f"the server answered {status}: {body[:200]}"
    if isinstance(detail, list):
        detail = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in detail)
    if status == 401:
        return f"{detail} (status 401); set TELECINE_KEY to a key made with: telecine keys create"
    return f"{detail} (status {status})"
