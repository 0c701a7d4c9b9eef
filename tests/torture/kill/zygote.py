"""Starts servers quickly: everything is imported once, and each life is a fork.

`python -m tests.torture.kill.zygote` reads one JSON object a line: {"arguments", "environment", "log",
"folder", "faults"}, answers {"pid"} and later {"pid", "status"}. A life runs the real command line; only
the kill points and faults of `points.py` are laid under it.
"""

import json
import os
import signal
import sys
import threading

from tests.torture.kill import points

import telecine.app
import telecine.cli
import telecine.cli.serve
import telecine.cli.server
import telecine.cli.tls
import telecine.jobs.pgqueuer
import telecine.media.pool
import telecine.providers.local
import telecine.providers.openai_compatible
import telecine.providers.openrouter


def main() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _live(task)
        _say({"pid": pid})
        threading.Thread(target=_wait, args=(pid,)).start()


def _wait(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    _say({"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def _say(what: dict) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _live(task: dict) -> None:
    """Never returns."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(task["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdin = os.fdopen(0)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ.clear()
    os.environ.update(task["environment"])
    os.chdir(task["folder"])
    points.lay(**task["faults"])
    sys.argv = ["telecine", *task["arguments"]]
    status = 1
    try:
        telecine.cli.main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
