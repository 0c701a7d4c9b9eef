"""The command as its users meet it."""

import json
import re
import stat
import time

import httpx
import pytest
from tests.acceptance.conftest import ENDPOINT, calling
from tests.acceptance.support.clips import DATA
from tests.acceptance.support.server import KEY, command

CLIP = DATA / "jfk_slides.mp4"
BODY = {"prompt": "x", "model": "echo/echo"}


def test_run_answers_a_clip_without_a_server(tmp_path):
    done = command("run", CLIP, "-p", "What is said?", "-m", "local/transcribe", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ask not what your country can do for you" in done.stdout


def test_run_answers_a_clip_with_a_server(server, tmp_path):
    asked = ["run", CLIP, "-p", "hello", "-m", "echo/echo", "--json", "--server", server.origin]
    done = command(*asked, folder=tmp_path, FAL_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"].startswith("hello\nvideo 1: sha256=")


def test_keys_are_made_beside_a_running_server(server, tmp_path):
    made = command("keys", "create", "--json", "--data", server.data, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    assert set(key) == {"key_id", "key_secret", "key"}
    assert key["key"] == f"{key['key_id']}:{key['key_secret']}"
    with calling(server.origin, key=key["key"]) as client:
        assert client.post(f"/{ENDPOINT}", json=BODY).status_code == 200
    listed = command("keys", "list", "--json", "--data", server.data, folder=tmp_path)
    assert key["key_id"] in [each["key_id"] for each in json.loads(listed.stdout)]
    assert key["key_secret"] not in listed.stdout


def test_what_the_server_keeps_is_private(server, raw):
    raw.post(f"/queue/{ENDPOINT}", json=BODY)
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    for path in server.data.rglob("*"):
        allowed = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == allowed, path
    assert (server.data / "secret").is_file()


def test_no_key_is_written_anywhere(server, raw):
    raw.post(f"/{ENDPOINT}", json=BODY)
    secret = KEY.partition(":")[2].encode()
    for path in server.data.rglob("*"):
        assert not path.is_file() or secret not in path.read_bytes(), path
    assert secret.decode() not in server.banner + server.log()


def test_one_screen_says_where_it_listens_what_works_and_how_to_call_it(server):
    lines = server.banner.splitlines()
    assert len(lines) <= 24
    assert server.origin in lines[0]
    for said in ("echo/echo", "local/report", "telecine run", f"{server.origin}/api/fal/proxy"):
        assert said in server.banner


def test_health_answers_after_the_start(serving, record_property):
    began = time.monotonic()
    server = serving()
    assert httpx.get(f"{server.origin}/health").json()["status"] == "ok"
    record_property("seconds_to_health", round(time.monotonic() - began, 3))
    assert server.stop() == 0


@pytest.mark.parametrize("arguments", [["--no-auth", "--host", "0.0.0.0"], ["--port", "x"]])
def test_a_server_that_must_not_start_says_why(tmp_path, arguments):
    done = command("serve", *arguments, "--data", tmp_path / "data", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_names_its_line(tmp_path):
    (tmp_path / "telecine.toml").write_text("[server]\nport = 1\nporte = 2\n")
    done = command("serve", folder=tmp_path)
    assert done.returncode == 2
    assert "line 3" in done.stderr
    assert re.search(r"\bport\b", done.stderr)
