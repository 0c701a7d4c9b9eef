"""The installed command `telecine`, in a process of its own."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sysconfig
import threading
from pathlib import Path

COMMAND = Path(sysconfig.get_path("scripts"), "telecine")
KEY = "6f1c0000-0000-0000-0000-000000000000:0123456789abcdef0123456789abcdef"
_LISTENS = re.compile(r"listens on (https?://\S+)")


def environment(**more):
    """As a user has it, without settings of this machine."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "TELECINE_NET_ALLOW": "127.0.0.0/8", **more}


def command(*arguments, folder, **more):
    """Run `telecine ...` to its end."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def free_port():
    """One that nobody is given by chance, be it for a connection, before it is listened on."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Server:
    """`telecine serve` on a port of its own. Its data stay in `folder`, so that it can start again."""

    def __init__(self, folder, *, config="", arguments=(), env=None, port=0):
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.origin = ""
        self.banner = ""
        self._arguments = arguments
        self._port = port
        self._env = environment(TELECINE_BOOTSTRAP_KEY=KEY, **(env or {}))
        self._log = self.folder / "serve.log"
        self._process = None
        self._reader = None
        (self.folder / "telecine.toml").write_text(config)

    def start(self):
        """Returns when it says where it listens."""
        line = [COMMAND, "serve", "--port", str(self._port), "--data", self.data, *self._arguments]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                line, cwd=self.folder, env=self._env, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.banner = ""
        said = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(said,))
        self._reader.start()
        assert said.wait(30), f"telecine serve says nothing:\n{self.log()}"
        found = _LISTENS.search(self.banner)
        assert found, f"telecine serve did not start:\n{self.banner}{self.log()}"
        # With a public URL the banner names that one, and the port must have been given.
        self.origin = f"http://127.0.0.1:{self._port}" if self._port else found[1]
        return self

    def _read(self, said):
        for line in self._process.stdout:
            self.banner += line
            if _LISTENS.search(line):
                said.set()
        said.set()

    @property
    def address(self):
        """Host and port, as sockets want them."""
        host, _, port = self.origin.rpartition("/")[2].rpartition(":")
        return host, int(port)

    @property
    def is_running(self):
        return self._process is not None and self._process.poll() is None

    def stop(self):
        """As a user does it; the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self):
        """As a power cut does it."""
        return self._end(signal.SIGKILL)

    def _end(self, number):
        if self.is_running:
            self._process.send_signal(number)
        code = self._process.wait(60)
        self._reader.join()
        self._process.stdout.close()
        return code

    def log(self):
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class Worker:
    """`telecine worker` of the same settings, with a data folder of its own."""

    def __init__(self, folder, *, config="", arguments=(), env=None):
        self.folder = Path(folder)
        self.folder.mkdir()
        (self.folder / "telecine.toml").write_text(config)
        self._log = self.folder / "worker.log"
        line = [COMMAND, "worker", "--data", self.folder / "data", *arguments]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                line,
                cwd=self.folder,
                env=environment(**(env or {})),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        said = self._process.stdout.readline()
        assert "queued requests at once" in said, said + self._log.read_text()

    def stop(self):
        return self._end(signal.SIGTERM)

    def kill(self):
        return self._end(signal.SIGKILL)

    def _end(self, number):
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(60)
        self._process.stdout.close()
        return code
