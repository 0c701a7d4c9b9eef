"""Rows that fal's JavaScript clients drive: one function each in js/rows, run by Node."""

import json
import shutil
import subprocess
from pathlib import Path

from tests.acceptance.support.server import environment

FOLDER = Path(__file__).parents[1] / "js"


class Script:
    """`node run.mjs ROW`, under way."""

    def __init__(self, row, context):
        assert shutil.which("node"), "the JavaScript rows need Node 20"
        assert (FOLDER / "node_modules/@fal-ai").is_dir(), (
            "make test installs the JavaScript clients"
        )
        self._row = row
        self._process = subprocess.Popen(
            ["node", "run.mjs", row],
            cwd=FOLDER,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._write(json.dumps(context))

    def tell(self):
        """What `context.told()` waits for in the row."""
        self._write("now")

    def _write(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def result(self, seconds=60):
        """What the row returned. Fails with its story when it threw."""
        try:
            said, complained = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            said, complained = self._process.communicate()
            raise AssertionError(f"{self._row} did not end:\n{said}{complained}") from None
        assert self._process.returncode == 0, f"{self._row} failed:\n{said}{complained}"
        return json.loads(said.splitlines()[-1])
