"""`telecine fake-upstream` in a process of its own, and what a test asks it."""

import json
import signal
import subprocess
from contextlib import contextmanager
from decimal import Decimal
from typing import ClassVar

import httpx
from tests.acceptance.support.server import COMMAND, environment
from tests.acceptance.support.waiting import eventually


class Fake:
    """`told`: what the command says of itself, as JSON. `keys`: any will do."""

    keys: ClassVar = dict.fromkeys(
        ("OPENROUTER_API_KEY", "GEMINI_API_KEY", "ANTHROPIC_API_KEY", "FAKE_KEY"), "made-up"
    )

    def __init__(self, folder):
        self._process = subprocess.Popen(
            [COMMAND, "fake-upstream", "--port", "0", "--json"],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.told = json.loads(self._process.stdout.readline())
        self.url = self.told["url"]
        self._admin = httpx.Client(base_url=self.url, trust_env=False)

    def requests(self):
        """What it was asked, in order."""
        return self._admin.get("/fake/requests").json()["requests"]

    def about(self, text):
        """Those of them that have `text` somewhere in what was said."""
        return [each for each in self.requests() if text in json.dumps(each["document"])]

    def bill(self):
        """The amount of each call that costs something, by its id, once all calls are over."""
        assert eventually(lambda: all(each["is_over"] for each in self.requests()))
        entries = self._admin.get("/fake/bill").json()["entries"]
        return {entry["id"]: Decimal(entry["cost"]) for entry in entries}

    @property
    def total(self):
        return Decimal(self._admin.get("/fake/bill").json()["total"])

    def forget(self):
        self._admin.delete("/fake/requests")

    @contextmanager
    def switched(self, **wanted):
        """That goes wrong until the block ends."""
        self._admin.post("/fake/switches", json=wanted).raise_for_status()
        try:
            yield
        finally:
            self._admin.post("/fake/switches", json={})

    def stop(self):
        """As a user does it; the exit status."""
        self._admin.close()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(20)
        self._process.stdout.close()
        return code
