"""The programs in README and docs run as they stand there.

Every block of JavaScript, Python, shell or TOML is run, or stands in EXCUSED with the reason.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.acceptance.support.clips import DATA
from tests.acceptance.support.node import FOLDER as JS
from tests.acceptance.support.server import COMMAND, KEY, environment, free_port

from telecine import settings

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "examples/README.md"]

# By page and first line.
EXCUSED = {
    ("README.md", "make run     # answers a real clip in words, then serves: address, key, two "
     "calls to paste"): "test_examples runs make run; make test runs this",
    ("README.md", "export OPENROUTER_API_KEY=...          # optional: every video model of "
     "OpenRouter"): "does not end",
    ("README.md", '$ .venv/bin/telecine run examples/clips/jfk_slides.mp4 -p "What is said, and '
     'what text is on the screen?"'): "a session with its output; test_it_says_what_the_readme_says",
    ("CONTRIBUTING.md", "make test"): "runs this",
    ("examples/README.md", "export FAL_KEY=..."): "test_examples runs each of these",
    ("docs/how-to/webhooks.md", "telecine webhooks listen"): "does not end; test_webhooks_seen",
    ("docs/how-to/webhooks.md", "telecine webhooks list --state dead"): "test_webhooks_seen",
    ("docs/how-to/back-up.md", "telecine backup /backups/2026-11-22"): "test_backup",
    ("docs/how-to/back-up.md", "telecine restore /backups/2026-11-22 --data /srv/telecine"):
     "test_backup",
    ("docs/how-to/run-in-production.md", next(
        line for line in (ROOT / "docs/how-to/run-in-production.md").read_text().splitlines()
        if "bench/soak.py" in line)): "takes ten minutes, and an hour",
    ("docs/explanation/measurements.md", "npm install --prefix peers/portkey "
     "@portkey-ai/gateway@1.15.2"): "installs a gigabyte of other programs",
    ("docs/explanation/measurements.md", next(
        line for line in (ROOT / "docs/explanation/measurements.md").read_text().splitlines()
        if "bench/run.py" in line)): "takes a quarter of an hour",
}  # fmt: skip

_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?<=\n\n)((?: {4}.*\n|\n)+)")
_PROGRAM = re.compile(r"\$ |(telecine|make|pip|npm|curl|export|import|python|node) ")
_LANGUAGES = {"js": "js", "javascript": "js", "mjs": "js", "python": "py", "sh": "sh", "bash": "sh"}


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    text: str

    @property
    def first_line(self):
        return self.text.splitlines()[0]

    @property
    def is_excused(self):
        return (self.page, self.first_line) in EXCUSED

    def __str__(self):
        return f"{self.page}: {self.first_line[:40]}"


def blocks():
    for path in PAGES:
        page, text = str(path.relative_to(ROOT)), path.read_text()
        for _, name, block in _FENCED.findall(text):
            language = _LANGUAGES.get(name, name)
            if language in ("js", "py", "sh", "toml"):
                yield Block(page, language, textwrap.dedent(block))
        for block in _INDENTED.findall(_FENCED.sub("", text)):
            if _PROGRAM.match(block.strip()):
                yield Block(page, "sh", textwrap.dedent(block).strip("\n"))


PROGRAMS = [block for block in blocks() if block.language != "toml"]
SETTINGS = [block for block in blocks() if block.language == "toml"]


def test_every_excuse_is_still_needed():
    assert set(EXCUSED) == {(each.page, each.first_line) for each in PROGRAMS if each.is_excused}


@pytest.mark.parametrize("block", SETTINGS, ids=str)
def test_settings_in_the_documentation_are_right(block, tmp_path):
    # A block about a provider's models does not repeat the provider.
    more = '[providers.vllm]\ntype = "openai"\nbase_url = "http://localhost:8000/v1"\n'
    is_whole = "[providers.vllm]" in block.text or "vllm/" not in block.text
    (tmp_path / "telecine.toml").write_text(block.text + ("" if is_whole else more))
    assert settings.load(folder=tmp_path, environ={}).file


@pytest.mark.parametrize("block", [each for each in PROGRAMS if not each.is_excused], ids=str)
def test_programs_in_the_documentation_run(block, server, tmp_path):
    shutil.copy(DATA / "jfk_slides.mp4", tmp_path / "clip.mp4")
    (tmp_path / "node_modules").symlink_to(JS / "node_modules")
    (tmp_path / "data").symlink_to(server.data)
    (tmp_path / "telecine.toml").write_text(
        '[providers.echo]\n[models.aliases]\n"*" = "echo/echo"\n'
    )
    port = server.address[1]
    text = block.text.replace("8484", str(free_port() if "telecine serve" in block.text else port))
    text = text.replace("/var/lib/telecine", str(server.data))
    match block.language:
        case "sh":
            command = ["sh", "-euc", text]
        case "py":
            command = [sys.executable, "-c", text]
        case "js":
            (tmp_path / "program.mjs").write_text(text)
            command = ["node", "program.mjs"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=user(tmp_path),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_says_what_the_readme_says(tmp_path):
    session = next(each for each in PROGRAMS if each.first_line.startswith("$ .venv/bin/telecine"))
    command, *said = session.text.splitlines()
    done = subprocess.run(
        ["sh", "-euc", command.removeprefix("$ .venv/bin/")],
        cwd=ROOT,
        env=user(tmp_path),
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    shown = "\n".join(said).partition("  ...")[0]
    assert without_times(done.stdout).startswith(without_times(shown))


def without_times(text):
    """Machines differ by a tenth of a second."""
    return re.sub(r"\[[\d:.-]+\]", "[]", " ".join(text.split()))


def user(home):
    """Of somebody who has the command, and nothing of theirs in the way."""
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    return {**environment(FAL_KEY=KEY), "PATH": path, "HOME": str(home)}
