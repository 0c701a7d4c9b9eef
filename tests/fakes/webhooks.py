"""Receivers of webhooks that do as they are told, and a process that delivers and can be killed.

python -m tests.fakes.webhooks FOLDER      delivers what is due in FOLDER's database
"""

import asyncio
import contextlib
import ipaddress
import json
import sys
import time
from pathlib import Path

from telecine.db.sqlite import SQLite
from telecine.jobs.bells import Bells
from telecine.jobs.deliverer import Deliverer
from telecine.jobs.signing import FILE, SigningKeys
from telecine.jobs.webhooks import Schedule
from telecine.net import Client

LOOPBACK = ("127.0.0.0/8",)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NOTHING = b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n"


def client(allow=LOOPBACK, **more):
    networks = [ipaddress.ip_network(each) for each in allow]
    return Client(
        allow=networks, proxy=None, connect_seconds=5, user_agent="telecine-test/1", **more
    )


class Got:
    """One delivery as it came in."""

    def __init__(self, head, body):
        self.line, *lines = head.decode().split("\r\n")[:-2]
        self.headers = dict(line.split(": ", 1) for line in lines)
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)


class Receiver:
    """Listens on loopback. Each request takes one of `answers`, the last one stays: bytes to send,
    or an async function of (reader, writer, got) that does what it likes.

    `reads`: whether the body is read before the answer."""

    def __init__(self, *answers, tls=None, reads=True):
        self.answers = list(answers) or [OK]
        self.got = []
        self.now = self.most = 0
        self._tls = tls
        self._reads = reads
        self._tasks = set()  # nobody else holds one whose connection is not read
        self._changed = asyncio.Condition()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/hook"
        return self

    async def __aexit__(self, *error):
        self._server.close()

    async def received(self, count):
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.got) >= count)
        return self.got

    async def _handle(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            got = Got(head, b"")
            if self._reads:
                got.body = await reader.readexactly(int(got.headers["Content-Length"]))
            self.got.append(got)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            async with self._changed:
                self._changed.notify_all()
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer, got)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.now -= 1
            writer.close()


def deliverer(db, net, folder, **options):
    options = {"bells": Bells(), "clock": time.time, "keep_seconds": 1000, **options}
    keys = SigningKeys(Path(folder) / FILE, clock=options["clock"])
    options.setdefault("schedule", Schedule(delays=(0.01,) * 4, jitter=0))
    return Deliverer(db=db, client=net, keys=keys, **options)


async def main(folder):
    async with contextlib.AsyncExitStack() as stack:
        db = await stack.enter_async_context(SQLite(folder / "telecine.db"))
        net = await stack.enter_async_context(client())
        await stack.enter_async_context(deliverer(db, net, folder))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
