"""The Playground's snippets, run as they would be after a click on Copy."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.acceptance.conftest import ENDPOINT
from tests.acceptance.support.node import FOLDER as JS
from tests.acceptance.support.server import COMMAND, KEY, environment

WEB = Path(__file__).parents[2] / "web"
PROMPT = """It's "quoted", $HOME `date` \\n 100 % \\u0041
second line: zażółć 東京 🎬 {braces} #hash \u2028end"""

MODES = ("run", "stream", "queue")
NAMES = ("JavaScript", "Python", "cURL", "OpenAI SDK", "telecine run")
INPUTS = {
    "video": {"more": {}},
    "options": {
        "more": {
            "system_prompt": "Say 'yes'\nor \"no\"",
            "temperature": 0.5,
            "max_tokens": 4000,
            "seed": 7,
            "stop": ["\n\n\n", "it's over"],
            "models": ["echo/echo"],
            "reasoning": "low",
            "response_format": {"type": "json_object"},
            "receipt": True,
            "start": 1,
            "end": 4.5,
        }
    },
}


@pytest.fixture(scope="module")
def written(server, clips):
    """Every snippet, by input, mode and name."""
    calls = {
        (name, mode): {
            "origin": server.origin,
            "endpoint": ENDPOINT,
            "mode": mode,
            "input": {
                "video_urls": [f"{clips}/jfk_slides.mp4"],
                "prompt": PROMPT,
                "model": "echo/echo",
                **given["more"],
            },
        }
        for name, given in INPUTS.items()
        for mode in MODES
    }
    done = subprocess.run(
        ["node", "test/print-snippets.mjs"],
        cwd=WEB,
        input=json.dumps(list(calls.values())),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    return {
        (*call, snippet["name"]): snippet["text"]
        for call, snippets in zip(calls, made, strict=True)
        for snippet in snippets
    }


@pytest.fixture
def pasted(tmp_path):
    """What a snippet prints, by the program that it is for."""
    (tmp_path / "node_modules").symlink_to(JS / "node_modules")

    def pasted(name, text):
        if name == "JavaScript":
            (tmp_path / "call.mjs").write_text(text, encoding="utf-8")
            command = ["node", "call.mjs"]
        elif name in ("Python", "OpenAI SDK"):
            (tmp_path / "call.py").write_text(text, encoding="utf-8")
            command = [sys.executable, "call.py"]
        else:
            command = ["sh", "-c", text]
        path = f"{Path(COMMAND).parent}:{environment()['PATH']}"
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**environment(FAL_KEY=KEY, PYTHONUTF8="1"), "PATH": path},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, text + done.stdout + done.stderr
        return done.stdout

    return pasted


def test_every_way_has_a_snippet(written):
    assert set(written) == {(i, m, n) for i in INPUTS for m in MODES for n in NAMES}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("given", INPUTS)
def test_the_prompt_and_the_video_arrive_as_they_were_typed(given, mode, name, written, pasted):
    said = pasted(name, written[given, mode, name])
    if name != "cURL":
        assert PROMPT in said
        assert "jfk_slides.mp4" in said or "sha256=" in said
    elif mode == "queue":
        assert re.search(r'"response_url":"http', said)
    else:
        events = re.findall(r"^data: (.+)$", said, re.MULTILINE) or [said]
        output = json.loads(events[-1])["output"]
        assert PROMPT in output
        assert "sha256=" in output
