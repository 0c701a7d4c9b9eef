"""Programs under `telecine exec`, with a real key of fal's that must reach nobody.

`Nowhere` makes sure that nothing leaves: every name that is looked up, by the program and by exec
itself, is written down and leads nowhere; and whatever follows the user's proxy ends in a sink that
keeps what it was sent.
"""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass

from tests.acceptance.support.node import FOLDER
from tests.acceptance.support.server import COMMAND, environment

CANARY_ID = "c4a7a2f0-real-fal-key"
CANARY = f"{CANARY_ID}:c4a7a2f0realfalsecret"

_PYTHON = """
import os, socket, sys
sys.modules["uvloop"] = None  # it looks names up by itself
ask = socket.getaddrinfo
def answer(host, *more, **named):
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name not in ("localhost", "127.0.0.1", "::1", "None"):
        with open(os.environ["LOOKUPS"], "a") as file:
            file.write(name + "\\n")
        raise socket.gaierror(socket.EAI_NONAME, "leads nowhere")
    return ask(host, *more, **named)
socket.getaddrinfo = answer
"""
_NODE = """
const dns = require("dns"), fs = require("fs");
dns.lookup = (host, options, callback = options) => {
  fs.appendFileSync(process.env.LOOKUPS, host + "\\n");
  process.nextTick(callback, Object.assign(new Error("leads nowhere"), { code: "ENOTFOUND" }));
};
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def answer(self):
        """What the program printed last, as JSON."""
        assert self.code == 0, self.out + self.err
        return json.loads(self.out.splitlines()[-1])


class Nowhere:
    """A context manager. `env` is for the program's surroundings."""

    def __init__(self, background, folder):
        self.sent = bytearray()
        self._background = background
        self._lookups = folder / "lookups"
        self._lookups.touch()
        (folder / "sitecustomize.py").write_text(_PYTHON)
        (folder / "nowhere.cjs").write_text(_NODE)
        self._folder = folder

    def __enter__(self):
        self._sink = self._background.run(asyncio.start_server(self._swallow, "127.0.0.1", 0))
        sink = f"http://127.0.0.1:{self._sink.sockets[0].getsockname()[1]}"
        self.env = {
            "FAL_KEY": CANARY,
            "LOOKUPS": str(self._lookups),
            "PYTHONPATH": str(self._folder),
            "NODE_OPTIONS": f"--require {self._folder / 'nowhere.cjs'}",
            "HTTPS_PROXY": sink,
            "HTTP_PROXY": sink,
            # Exceptions that would take the clients around the proxy.
            "NO_PROXY": "fal.run,.fal.ai,fal.media",
            # Hosts that would take them elsewhere.
            "FAL_QUEUE_RUN_HOST": "queue.elsewhere.example",
        }
        return self

    def __exit__(self, *_):
        self._background.call(self._sink.close)

    async def _swallow(self, reader, writer):
        while piece := await reader.read(65536):
            self.sent += piece
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    @property
    def looked_up(self):
        return set(self._lookups.read_text().split())


def execute(command, *, arguments=(), folder, env, input=None, seconds=90):
    """`telecine exec ARGUMENTS -- COMMAND`, to its end."""
    done = subprocess.run(
        [COMMAND, "exec", *map(str, arguments), "--", *map(str, command)],
        cwd=folder,
        env=environment(**env),
        input=input,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def python(program, given=None):
    """The command of a Python program; it finds `given` under that name."""
    head = "import json, sys\ngiven = json.loads(sys.argv[1])\n"
    return [sys.executable, "-c", head + program, json.dumps(given)]


def node(row, **context):
    """The command and the input of a row of js/rows/exec.mjs."""
    return ["node", FOLDER / "run.mjs", f"exec.{row}"], json.dumps(context) + "\n"
