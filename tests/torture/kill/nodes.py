"""Servers as processes: forked, awaited, killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import httpx
from tests.acceptance.support.server import KEY, environment, free_port

PROJECT = Path(__file__).parents[3]
_READY_SECONDS = 30.0


class Zygote:
    """Forks servers."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.kill.zygote"],
            cwd=PROJECT,
            env=environment(PYTHONPATH=f"{PROJECT / 'src'}:{PROJECT}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._pids = []
        self._ends = {}
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def fork(self, **task) -> int:
        with self._news:
            known = len(self._pids)
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
            assert self._news.wait_for(lambda: len(self._pids) > known, 30)
            return self._pids[-1]

    def has_ended(self, pid) -> bool:
        with self._news:
            return pid in self._ends

    def wait(self, pid) -> int:
        with self._news:
            assert self._news.wait_for(lambda: pid in self._ends, 30), "a server does not end"
            return self._ends[pid]

    def close(self):
        self._process.stdin.close()
        self._process.wait(30)
        self._reader.join()
        self._process.stdout.close()

    def _read(self):
        for line in self._process.stdout:
            said = json.loads(line)
            with self._news:
                if "status" in said:
                    self._ends[said["pid"]] = said["status"]
                else:
                    self._ends.pop(said["pid"], None)  # of one long ago that had the same number
                    self._pids.append(said["pid"])
                self._news.notify_all()


class Node:
    """A server from its start to its end; `folder` holds its data, so that it can start again."""

    def __init__(self, zygote: Zygote, folder: Path, *, faults=None, **settings):
        self._zygote = zygote
        self._folder = folder
        self._port = free_port()
        self._was_ready = False
        self._pid = zygote.fork(
            arguments=["serve", "--port", str(self._port), "--data", str(folder / "data")],
            environment=environment(
                TELECINE_BOOTSTRAP_KEY=KEY,
                TELECINE_NET_ALLOW="127.0.0.0/8",
                PYTHONPATH=f"{PROJECT / 'src'}:{PROJECT}",
                **settings,
            ),
            log=str(folder / "serve.log"),
            folder=str(folder),
            faults=faults or {},
        )

    @property
    def has_ended(self) -> bool:
        return self._zygote.has_ended(self._pid)

    def log(self) -> str:
        return (self._folder / "serve.log").read_text(errors="replace")

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self._port}",
            headers={"authorization": f"Key {KEY}"},
            timeout=10,
        )

    async def ready(self, client) -> None:
        """Until it is, or has ended."""
        async with asyncio.timeout(_READY_SECONDS):
            while not self.has_ended:
                with suppress(httpx.HTTPError):
                    if (await client.get("/ready")).status_code == 200:
                        self._was_ready = True
                        return
                await asyncio.sleep(0.02)

    def end(self) -> bool:
        """Kill it and what it started; whether it had been killed at its point before.

        A server that was ready and then ended by itself is a finding.
        """
        had_ended = self.has_ended
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        status = self._zygote.wait(self._pid)
        is_killed = status == -signal.SIGKILL
        assert is_killed or not self._was_ready, (
            f"a server ended by itself with {status}, see {self._folder / 'serve.log'}"
        )
        return had_ended and is_killed
