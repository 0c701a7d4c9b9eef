"""A server that is killed again and again, the callers in front of it, and what must be true."""

import asyncio
import base64
import gc
import hashlib
import json
import secrets
import sqlite3
import threading
import time
import warnings
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path

import httpx
from tests.torture.kill.nodes import PROJECT, Node, Zygote

CLIP = PROJECT / "tests/data/onscreen_instructions_silent.mp4"
ENDPOINT = "openrouter/router/video"
ACTIONS = (
    *("plain", "fetched", "inline", "told", "cancelled"),
    *("upload", "multipart", "streamed"),
)
_REQUESTS = "SELECT id, state, mode FROM requests"
_SCHEMA = {"search_path": "telecine"}
_LIFE_SECONDS = 6.0
_SETTLE_SECONDS = 90.0


class Outside:
    """What the server talks to: a model that counts its calls, receivers of webhooks, clips."""

    def __init__(self):
        self.calls = Counter()  # by request id
        self.told = Counter()  # by request id
        outside = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path.endswith("/models"):
                    self._answer(b'{"data": [{"id": "m"}]}', "application/json")
                else:
                    self._answer(CLIP.read_bytes(), "video/mp4")

            def do_POST(self):
                body = self._body()
                if self.path.startswith("/told"):
                    outside.told[json.loads(body)["request_id"]] += 1
                    self._answer(b"", "text/plain")
                    return
                request_id = self.headers["x-request-id"]
                outside.calls[request_id] += 1
                head = {"id": f"gen-{request_id}", "object": "chat.completion.chunk", "model": "m"}
                pieces = [{"content": "The answer "}, {"content": "is 42."}]
                chunks = [{**head, "choices": [{"index": 0, "delta": piece}]} for piece in pieces]
                chunks.append(
                    {
                        **head,
                        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
                        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
                    }
                )
                text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
                self._answer((text + "data: [DONE]\n\n").encode(), "text/event-stream")

            def _body(self):
                if "content-length" in self.headers:
                    return self.rfile.read(int(self.headers["content-length"]))
                whole = b""
                while size := int(self.rfile.readline(), 16):
                    whole += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return whole

            def _answer(self, body, content_type):
                with suppress(OSError):
                    self.send_response(200)
                    self.send_header("content-type", content_type)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def handle(self):
                with suppress(OSError):
                    super().handle()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class Accepted:
    """A job that was acknowledged with 200. `seen`: the answer once it was read."""

    webhook: bool = False
    cancel_asked: bool = False
    seen: tuple | None = None


@dataclass
class Figures:
    """`kills`: servers that died at their chosen moment; `ends`: that were killed after all was done,
    as it did not come."""

    lives: int = 0
    kills: int = 0
    ends: int = 0
    accepted: int = 0
    uploads: int = 0
    live_calls: int = 0
    repeated_calls: int = 0
    repeated_webhooks: int = 0
    points: Counter = field(default_factory=Counter)
    troubles: Counter = field(default_factory=Counter)


def _run(work):
    """Connections to a server that was killed at that moment are nobody's to close."""
    asyncio.run(work)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class World:
    """One data folder through many lives.

    With `database_url` there are two servers on one PostgreSQL database and one folder of objects.
    The one dies at its point and starts again; the other lives on and takes over, until a life
    ends `both`. `server` is the database's, to be stopped and frozen; None: that is not ours to do.
    """

    def __init__(
        self, folder: Path, zygote: Zygote, outside: Outside, *, database_url=None, server=None
    ):
        self.folder = folder
        self.figures = Figures()
        self.accepted: dict[str, Accepted] = {}
        self.uploads: dict[str, str] = {}
        self.live_calls: set[str] = set()
        self._zygote = zygote
        self._outside = outside
        self._database_url = database_url
        self._server = server
        self._other: Node | None = None
        self._settings = {}
        for name in ("one", "other"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / "telecine.toml").write_text(
                "[server]\nstop_seconds = 1\n[jobs]\nslots = 4\nlost_seconds = 5\n"
                "[media]\nprocesses = 1\n"
                f'[providers.m]\ntype = "openai"\nbase_url = "{outside.url}/v1"\nmodels = ["m"]\n'
            )
        if database_url:
            self._settings["TELECINE_DATABASE_URL"] = database_url
            self._settings["TELECINE_STORAGE_URL"] = f"file://{folder / 'objects'}"

    # ------------------------------------------------------------ lives

    def live(self, actions=(), *, kill=None, clock=0.0, full=None, tally=None, **trouble) -> None:
        """A server's life: callers do `actions`; it dies at its point, or when they are done.

        `trouble`: for how many seconds the database is `locked`, `gone` or `frozen`; and whether it
        ends `both` servers.
        """
        faults = {"kill": kill, "clock": clock, "full": full, "tally": tally}
        faults = {name: value for name, value in faults.items() if value}
        self.figures.troubles.update({*faults, *trouble} - {"kill", "tally"})
        _run(self._live(actions, faults, trouble))

    def settle(self) -> None:
        """A life without trouble, until everything that was accepted has ended and was told."""
        _run(self._settle())

    def end(self) -> None:
        """Nothing runs any more."""
        if self._other:
            self._other.end()
            self._other = None

    async def _live(self, actions, faults, trouble):
        async with self._running(faults) as (one, clients):
            troubles = [
                threading.Thread(target=getattr(self, f"_{name}"), args=(seconds,))
                for name, seconds in trouble.items()
                if name != "both"
            ]
            for each in troubles:
                each.start()
            callers = zip(actions, cycle(clients))
            tasks = [asyncio.create_task(self._act(client, action)) for action, client in callers]
            waiting = set(tasks)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LIFE_SECONDS):
                    while waiting and not one.has_ended:
                        _, waiting = await asyncio.wait(waiting, timeout=0.02)
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            for each in troubles:
                await asyncio.to_thread(each.join)
        if trouble.get("both"):
            self.end()
        for error in ends:
            if isinstance(error, Exception):
                raise error

    async def _settle(self):
        async with self._running({}) as (one, (client, *_)):
            assert not one.has_ended, one.log()[-4000:]
            async with asyncio.timeout(_SETTLE_SECONDS):
                for request_id in self.accepted:
                    while not await self._look(client, request_id):
                        await asyncio.sleep(0.05)
                while any(
                    job.webhook and not self._outside.told[each]
                    for each, job in self.accepted.items()
                ):
                    await asyncio.sleep(0.05)
            # Those too whose caller did not come to hear that they were accepted.
            with suppress(TimeoutError):
                async with asyncio.timeout(_SETTLE_SECONDS):
                    while _unfinished((await self._rows())[0]):
                        await asyncio.sleep(0.2)
            for url, sha256 in self.uploads.items():
                answer = await client.get(url)
                assert answer.status_code == 200, f"upload {url} is lost"
                assert hashlib.sha256(answer.content).hexdigest() == sha256, f"{url} is damaged"

    @asynccontextmanager
    async def _running(self, faults):
        """The server that dies, and clients of all that run; in the end it is dead."""
        one = Node(self._zygote, self.folder / "one", faults=faults, **self._settings)
        self.figures.lives += 1
        if self._database_url and (self._other is None or self._other.has_ended):
            self.end()
            self._other = Node(self._zygote, self.folder / "other", **self._settings)
        try:
            async with AsyncExitStack() as stack:
                clients = []
                for node in filter(None, (one, self._other)):
                    clients.append(await stack.enter_async_context(node.client()))
                    await node.ready(clients[-1])
                yield one, clients
            await asyncio.sleep(0.01)  # for connections that were just given up to close
        finally:
            is_killed = one.end()
            point = faults.get("kill")
            if point and is_killed:
                self.figures.kills += 1
                self.figures.points[point[0]] += 1
            else:
                self.figures.ends += 1

    # ------------------------------------------------------------ callers

    async def _act(self, client, action):
        with suppress(httpx.HTTPError):
            if action == "upload":
                await self._upload(client)
            elif action == "multipart":
                await self._upload_in_parts(client)
            elif action == "streamed":
                await self._stream(client)
            else:
                await self._submit(client, action)

    async def _submit(self, client, action):
        document = {"prompt": secrets.token_hex(8), "model": "m/m"}
        if action == "fetched":
            document["video_urls"] = [f"{self._outside.url}/clip.mp4"]
        if action == "inline":
            data = base64.b64encode(CLIP.read_bytes() + bytes(60_000)).decode()
            document["video_urls"] = [f"data:video/mp4;base64,{data}"]
        query = f"?fal_webhook={self._outside.url}/told" if action == "told" else ""
        answer = await client.post(f"/queue/{ENDPOINT}{query}", json=document)
        if _is_refused(answer):
            return
        request_id = answer.json()["request_id"]
        job = self.accepted[request_id] = Accepted(webhook=action == "told")
        self.figures.accepted += 1
        if action == "cancelled":
            job.cancel_asked = True
            await client.put(f"/queue/openrouter/router/requests/{request_id}/cancel")
        while not await self._look(client, request_id):
            await asyncio.sleep(0.02)

    async def _look(self, client, request_id) -> bool:
        """Whether it has ended; then its answer is read, and never differs from an earlier one."""
        base = f"/queue/openrouter/router/requests/{request_id}"
        status = await client.get(f"{base}/status")
        if status.status_code in (500, 503):
            return False
        assert status.status_code != 404, f"job {request_id} is lost"
        if status.json()["status"] != "COMPLETED":
            return False
        result = await client.get(base)
        if result.status_code == 503:
            return False
        job = self.accepted[request_id]
        seen = (result.status_code, result.text)
        if job.seen is None:
            job.seen = seen
        assert job.seen == seen, f"job {request_id} has two answers: {job.seen} and {seen}"
        return True

    async def _upload(self, client):
        content = secrets.token_bytes(5000)
        answer = await client.post(
            "/files/upload",
            content=content,
            headers={"content-type": "video/mp4", "x-fal-file-name": "a.mp4"},
        )
        if _is_refused(answer):
            return
        path = httpx.URL(answer.json()["access_url"]).path
        self.uploads[path] = hashlib.sha256(content).hexdigest()
        self.figures.uploads += 1

    async def _upload_in_parts(self, client):
        pieces = [secrets.token_bytes(3000) for _ in range(3)]
        named = {"content_type": "video/mp4", "file_name": "a.mp4"}
        begun = await client.post("/rest/storage/upload/initiate-multipart", json=named)
        if _is_refused(begun):
            return
        path, _, query = httpx.URL(begun.json()["upload_url"]).raw_path.decode().partition("?")
        parts = []
        for number, piece in enumerate(pieces, 1):
            answer = await client.put(f"{path}/{number}?{query}", content=piece)
            if _is_refused(answer):
                return
            parts.append(answer.json())
        answer = await client.post(f"{path}/complete?{query}", json={"parts": parts})
        if _is_refused(answer):
            return
        path = httpx.URL(begun.json()["file_url"]).path
        self.uploads[path] = hashlib.sha256(b"".join(pieces)).hexdigest()
        self.figures.uploads += 1

    async def _stream(self, client):
        """A live call: it is never run again, whatever becomes of it."""
        document = {"prompt": secrets.token_hex(8), "model": "m/m"}
        async with client.stream("POST", f"/{ENDPOINT}/stream", json=document) as answer:
            self.live_calls.add(answer.headers["x-fal-request-id"])
            self.figures.live_calls += 1
            async for _ in answer.aiter_bytes():
                pass

    # ------------------------------------------------------------ trouble

    def _locked(self, seconds):
        """Another process has the database for itself for a while."""
        if self._database_url:
            asyncio.run(self._locked_postgres(seconds))
            return
        file = self.folder / "one" / "data" / "telecine.db"
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(file, timeout=1, isolation_level=None)) as db,
        ):
            db.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            db.execute("ROLLBACK")

    async def _locked_postgres(self, seconds):
        import asyncpg

        db = await asyncpg.connect(self._database_url, server_settings=_SCHEMA)
        try:
            async with db.transaction():
                await db.execute("LOCK TABLE requests IN ACCESS EXCLUSIVE MODE")
                await asyncio.sleep(seconds)
        finally:
            await db.close()

    def _gone(self, seconds):
        """The database's server dies, and comes back."""
        time.sleep(0.2)
        self._server.stop("immediate")
        time.sleep(seconds)
        self._server.start()

    def _frozen(self, seconds):
        """The database's server says nothing."""
        time.sleep(0.2)
        with self._server.frozen():
            time.sleep(seconds)

    # ------------------------------------------------------------ what must be true

    def check(self) -> None:
        """After `settle`: nothing lost, stuck or finished twice; what was repeated is counted."""
        rows, attempts = asyncio.run(self._rows())
        for request_id, job in self.accepted.items():
            assert request_id in rows, f"job {request_id} is lost"
            assert job.seen is not None, f"job {request_id} has no answer"
            if not job.cancel_asked:
                assert job.seen[0] == 200, f"job {request_id} failed: {job.seen}"
        assert not _unfinished(rows), f"stuck: {_unfinished(rows)}"
        ends = Counter(each for each, how in attempts if how in ("succeeded", "failed"))
        twice = [each for each, number in ends.items() if number > 1]
        assert not twice, f"finished twice: {twice}"
        rerun = [each for each in self.live_calls if self._outside.calls[each] > 1]
        assert not rerun, f"live calls that were run again: {rerun}"
        repeated = sum(max(0, self._outside.calls[each] - 1) for each in self.accepted)
        self.figures.repeated_calls = repeated
        told = {
            each: self._outside.told[each] for each, job in self.accepted.items() if job.webhook
        }
        assert all(told.values()), f"never told: {[each for each, n in told.items() if not n]}"
        self.figures.repeated_webhooks = sum(number - 1 for number in told.values())

    async def _rows(self):
        """The state and mode of each request, and how each attempt ended."""
        if self._database_url:
            return await self._rows_of_postgres()
        with closing(sqlite3.connect(self.folder / "one" / "data" / "telecine.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            rows = {name: (state, mode) for name, state, mode in db.execute(_REQUESTS)}
            return rows, list(db.execute("SELECT request_id, ended_as FROM attempts"))

    async def _rows_of_postgres(self):
        import asyncpg

        db = await asyncpg.connect(self._database_url, server_settings=_SCHEMA)
        try:
            rows = {row["id"]: (row["state"], row["mode"]) for row in await db.fetch(_REQUESTS)}
            found = await db.fetch("SELECT request_id, ended_as FROM attempts")
            return rows, [tuple(row) for row in found]
        finally:
            await db.close()


def _unfinished(rows) -> dict:
    return {each: row for each, row in rows.items() if row[0] in ("queued", "running")}


def _is_refused(answer) -> bool:
    """With a word, so that nothing was promised."""
    assert answer.status_code in (200, 500, 503), (answer.status_code, answer.text)
    return answer.status_code != 200
