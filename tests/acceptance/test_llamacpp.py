"""`telecine run` with llama.cpp's own server behind it, whose random weights are made here."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.acceptance.support.server import COMMAND
from tests.fakes import llama

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

CLIP = Path(__file__).parents[1] / "data" / "onscreen_instructions_silent.mp4"


@pytest.mark.parametrize(("ffmpeg", "forms"), [(True, ["file"]), (False, ["file", "frames"])])
def test_a_video_gets_there_as_a_file_or_else_as_frames(tmp_path, ffmpeg, forms):
    """Without ffmpeg the server says that it takes videos, and then cannot."""
    with llama.serve(tmp_path, sees=True, ffmpeg=ffmpeg) as url:
        settings = tmp_path / "telecine.toml"
        settings.write_text(
            f'[providers.llama]\ntype = "openai"\ndialect = "llamacpp"\nbase_url = "{url}"\n'
        )
        ran = subprocess.run(
            [COMMAND, "run", CLIP, "-p", "What is it?", "-m", "llama/tiny", "--json"],
            cwd=tmp_path,
            env={**os.environ, "TELECINE_DATA_DIR": str(tmp_path / "data")},
            capture_output=True,
            check=True,
        )
    receipt = json.loads(ran.stdout)["receipt"]
    assert [tried["forms"] for tried in receipt["deliveries"]] == [[form] for form in forms]
    assert receipt["usage"]["prompt_tokens"] > 0
