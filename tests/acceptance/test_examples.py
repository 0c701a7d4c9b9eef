"""Every example runs, against the installed server, as its first lines say."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.acceptance.support.node import FOLDER as JS
from tests.acceptance.support.server import COMMAND, KEY, environment, free_port

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PROGRAMS = {".mjs": ["node"], ".py": [sys.executable], ".sh": ["sh"]}

SPOKEN = "ask not what your country can do for you"
TITLED = r"00:00:\d\d,\d{3} --> 00:00:\d\d,\d{3}"

# What each must print, besides ending well.
SAYS = {
    "js/cancel.mjs": r"^COMPLETED",
    "js/queue.mjs": SPOKEN,
    "js/run.mjs": SPOKEN,
    "js/stream.mjs": SPOKEN,
    "js/subscribe.mjs": SPOKEN + r".+cost: 0",
    "js/upload.mjs": SPOKEN + r".+" + TITLED,
    "python/asynchronous.py": SPOKEN + r".+" + TITLED,
    "python/chat.py": r"\w",
    "python/run.py": SPOKEN,
    "python/stream.py": SPOKEN,
    "python/submit.py": SPOKEN,
    "python/subscribe.py": SPOKEN + r".+'cost': 0",
    "unchanged/subscribe.mjs": r"output: '.+usage: \{",
    "unchanged/subscribe.py": SPOKEN,
    "unchanged/upload.mjs": SPOKEN,
    "curl/queue.sh": r'"output":"[^"]*' + SPOKEN,
    "curl/run.sh": r'"output":"[^"]*' + SPOKEN,
    "curl/stream.sh": r"^data: \{.*" + SPOKEN + r'.*"partial":false',
}


@pytest.fixture(scope="module")
def asked(serving):
    """A server where the model of fal's page is another name of an embedded one."""
    return serving(config='[models.aliases]\n"google/gemini-2.5-flash" = "local/report"\n')


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The examples as a user has them, with the packages that their first lines name."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(
        EXAMPLES, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules")
    )
    (folder / "node_modules").symlink_to(JS / "node_modules")
    return folder


def test_every_example_is_run():
    files = [path.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*")]
    runnable = {
        str(path) for path in files if path.suffix in PROGRAMS and "node_modules" not in path.parts
    }
    assert runnable - {"first-run.sh"} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_example(name, asked, folder, tmp_path):
    command = [*PROGRAMS[Path(name).suffix], folder / name, folder / "clips/jfk_slides.mp4"]
    env = {"FAL_KEY": KEY, "TELECINE_URL": asked.origin}
    if name.startswith("unchanged/"):
        ours = ["exec", "--server", asked.origin, "--only-fal", "--data", tmp_path, "--"]
        command = [COMMAND, *ours, *command]
        # The program has a key of fal's own; it must not be what opens our door.
        env = {"FAL_KEY": "fal-key-id:fal-key-secret", "TELECINE_KEY": KEY}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(SAYS[name], done.stdout, re.MULTILINE | re.DOTALL), done.stdout + done.stderr


def test_make_run_answers_a_clip_and_its_calls_work_as_pasted(tmp_path):
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "examples").symlink_to(EXAMPLES)
    port = str(free_port())
    with (tmp_path / "log").open("wb") as log:
        first_run = subprocess.Popen(
            ["sh", "examples/first-run.sh"],
            cwd=tmp_path,
            env=environment(TELECINE_SERVER_PORT=port),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    giving_up = threading.Timer(100, first_run.kill)
    giving_up.start()
    try:
        said = ""
        for line in first_run.stdout:
            said += line
            if "listens on" in line:
                break
        assert "clean rooms" in said.replace("\n", " "), said
        key = re.search(r"^export FAL_KEY=(\S+)$", said, re.MULTILINE)[1]
        _, with_curl, _, with_python, *_ = said.partition("Two calls to paste")[2].split("\n\n")
        answer = json.loads(pasted(with_curl, FAL_KEY=key))
        assert SPOKEN in answer["output"]
        assert SPOKEN in pasted(with_python)
        assert oct((tmp_path / ".telecine/key").stat().st_mode)[-3:] == "600"
    finally:
        giving_up.cancel()
        first_run.terminate()
        first_run.wait(60)
        first_run.stdout.close()


def pasted(text, **env):
    """What a shell prints when `text` is pasted into it."""
    done = subprocess.run(
        ["sh", "-c", text],
        env={**environment(**env), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
