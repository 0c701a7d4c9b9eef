"""Takes webhooks, as a user's server does, and keeps them as they came."""

import json
import threading
from dataclasses import dataclass

from aiohttp import web
from multidict import CIMultiDictProxy


@dataclass(frozen=True)
class Delivery:
    headers: CIMultiDictProxy
    body: bytes

    @property
    def document(self):
        return json.loads(self.body)


class Receiver:
    """Answers with `statuses` one after the other, then with 200; a 3xx leads to `/elsewhere`.

    `deliveries` and `elsewhere` are what came to `url`, and to where a redirect leads.
    """

    def __init__(self, background, *statuses):
        self.url = ""
        self.deliveries = []
        self.elsewhere = []
        self._background = background
        self._statuses = list(statuses)
        self._came = threading.Condition()

    def __enter__(self):
        self._background.run(self._start())
        return self

    def __exit__(self, *_):
        self._background.run(self._runner.cleanup())

    def wait(self, number=1, seconds=20):
        """Until `number` deliveries came; all of them."""
        with self._came:
            is_so = self._came.wait_for(lambda: len(self.deliveries) >= number, seconds)
        assert is_so, f"{len(self.deliveries)} of {number} deliveries in {seconds} seconds"
        return self.deliveries

    async def _start(self):
        app = web.Application()
        app.router.add_post("/hook", self._take)
        app.router.add_route("*", "/elsewhere", self._take_elsewhere)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook?for=test"

    async def _take(self, request):
        delivery = Delivery(request.headers, await request.read())
        with self._came:
            self.deliveries.append(delivery)
            self._came.notify_all()
        status = self._statuses.pop(0) if self._statuses else 200
        headers = {"Location": "/elsewhere"} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=headers)

    async def _take_elsewhere(self, request):
        self.elsewhere.append(request.method)
        return web.Response()
