"""`telecine plan`: the real command on a real clip, without a model."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from telecine.cli import app
from telecine.errors import InputError

CLIP = str(Path(__file__).parents[1] / "data" / "jfk_slides.mp4")


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-secret")

    def plan(*arguments):
        given = ["plan", CLIP, "--data", str(tmp_path / "data"), *arguments]
        found = CliRunner().invoke(app, given)
        if isinstance(found.exception, InputError):
            raise found.exception
        assert found.exit_code == 0, found.output
        assert "sk-secret" not in found.output
        return found.stdout

    return plan


def test_it_says_how_a_video_would_be_sent_and_what_that_would_cost(plan):
    told = plan("-m", "google/gemini-2.5-flash", "--start", "2", "--end", "5", "--no-audio")
    assert "as a file, 2 s to 5 s" in told
    assert "without sound" in told
    assert "of prompt, estimated" in told
    assert "$0.0" in told


def test_as_json_it_is_what_the_server_estimates(plan):
    told = json.loads(plan("-m", "google/gemini-2.5-flash", "--fps", "0.5", "--json"))
    [video] = told["plan"]["videos"]
    assert (video["as"], video["work"]["fps"], video["end"]) == ("file", 0.5, 11.0)
    assert told["prompt_tokens"] > 258
    assert float(told["cost"]["low"]) > 0


def test_what_can_not_be_sent_is_told_as_in_a_request(plan):
    with pytest.raises(InputError) as caught:
        plan("-m", "google/gemini-2.5-flash", "--start", "20")
    assert caught.value.problems[0].loc == ("body", "start")
