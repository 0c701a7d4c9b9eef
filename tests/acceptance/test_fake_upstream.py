"""`telecine fake-upstream` as a user has it: a process of its own, behind Telecine's."""

import os
import re
import subprocess
import sys
import textwrap
from decimal import Decimal
from pathlib import Path

import fal_client
import pytest
from tests.acceptance.support.server import COMMAND, KEY, environment, free_port

PAGE = Path(__file__).parents[2] / "docs/how-to/test-without-a-bill.md"
ENDPOINT = "openrouter/router/video"


@pytest.fixture(scope="module")
def telecine(in_front_of_all):
    return in_front_of_all()


@pytest.fixture
def asked(telecine, fake, python):
    """Asks through fal's client about the fake's own clip; gives answer and receipt."""
    client = python(telecine.origin)

    def asked(model, **more):
        urls = [f"{fake.url}/media/clip.mp4"]
        given = {"prompt": "What is in it?", "model": model, "video_urls": urls, "receipt": True}
        return client.run(ENDPOINT, {**given, **more})

    fake.forget()
    return asked


@pytest.mark.parametrize(
    "model", ["google/gemini-2.5-flash", "openrouter/fake/usage-in-last-chunk+crlf"]
)
def test_receipt_and_fake_agree_on_the_video_and_on_the_cost_to_the_last_digit(asked, fake, model):
    answer = asked(model)
    [request] = fake.requests()
    [sent] = request["media"]
    receipt = answer["receipt"]
    assert sent["sha256"] == receipt["videos"][0]["sha256"]
    assert f"sha256={sent['sha256']}" in answer["output"]
    assert Decimal(receipt["cost"]["usd"]) == fake.total == Decimal(request["billed"]) > 0
    assert receipt["upstream"]["id"] == request["id"]


def test_a_model_of_anthropics_sees_the_stills_and_costs_what_it_bills(asked, fake):
    receipt = asked("anthropic/claude-sonnet-4-5")["receipt"]
    [request] = fake.requests()
    assert {sent["kind"] for sent in request["media"]} == {"image"}
    assert len(request["media"]) >= 2
    assert receipt["cost"]["source"] == "computed"
    assert Decimal(receipt["cost"]["usd"]) == fake.total


def test_a_switch_from_outside_reaches_a_program_that_knows_of_none(asked, fake):
    with fake.switched(switch="middle-error", times=1):
        with pytest.raises(fal_client.FalClientHTTPError):
            asked("google/gemini-2.5-flash")
    assert asked("google/gemini-2.5-flash")["output"].startswith("I saw 1 video(s)")


def test_an_unknown_switch_is_a_wrong_argument(tmp_path):
    done = subprocess.run(
        [COMMAND, "fake-upstream", "--switch", "no-such"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "no-such" in done.stderr) == (2, True)


def test_a_port_that_is_taken_is_said(tmp_path, fake):
    port = fake.url.rpartition(":")[2]
    done = subprocess.run(
        [COMMAND, "fake-upstream", "--port", port],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, port in done.stderr) == (1, True)


def test_the_ci_of_the_documentation_passes(tmp_path):
    page = PAGE.read_text()
    [workflow] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    steps = [textwrap.dedent(step) for step in re.findall(r"run: \|\n((?: {10}.*\n)+)", workflow)]
    [program] = re.findall(r"`test_videos.py`:\n\n```python\n(.*?)```", page, re.DOTALL)
    port = str(free_port())
    (tmp_path / "test_videos.py").write_text(program.replace("8585", port))
    script = "trap 'kill $!' EXIT\n" + "".join(steps).replace("8585", port)
    path = f"{COMMAND.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}"
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env={
            **environment(OPENROUTER_API_KEY="fake", FAL_KEY=KEY, HOME=str(tmp_path)),
            "PATH": path + os.environ["PATH"],
        },
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(steps) == 3
