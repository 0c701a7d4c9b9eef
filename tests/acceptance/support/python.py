"""Programs that use fal's Python client as their users do: unchanged, with an environment."""

import json
import subprocess
import sys

from tests.acceptance.support.server import environment

# Stands for a DNS server: every name of these leads here.
_NAMES = """
import socket
ask = socket.getaddrinfo
def answer(host, *more, **named):
    name = host.decode() if isinstance(host, bytes) else host
    return ask("127.0.0.1" if name.endswith(".example.test") else host, *more, **named)
socket.getaddrinfo = answer
"""


def run(program, *arguments, folder, env, has_names=False):
    """What the program printed last, as JSON; it finds `arguments` as `given`."""
    (folder / "sitecustomize.py").write_text(_NAMES if has_names else "")
    head = "import json, sys\ngiven = json.loads(sys.argv[1])\n"
    done = subprocess.run(
        [sys.executable, "-c", head + program, json.dumps(arguments)],
        env=environment(PYTHONPATH=str(folder), **env),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
