"""What users install: the wheel, built from the checkout and used far from it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest
from tests.acceptance.support import server as support
from tests.acceptance.support.clips import DATA
from tests.acceptance.support.server import KEY, Server

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/telecine"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder]
    pip("wheel", *options, ROOT, cwd=folder)
    (built,) = folder.glob("telecine-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder that the wheel was installed to; of this environment it uses the dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--target", folder, wheel, cwd=folder)
    return folder


def pip(*arguments, cwd):
    line = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def env(installed):
    """In front of the checkout's own installation, so that nothing of that is found."""
    return support.environment(PYTHONPATH=str(installed), PYTHONDONTWRITEBYTECODE="1")


def run(installed, env, folder, *arguments):
    done = subprocess.run(
        [sys.executable, installed / "bin/telecine", *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        metadata = archive.read(f"telecine-{version()}.dist-info/METADATA").decode()
    package = {
        str(Path("telecine", path.relative_to(SOURCE)))
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in held if not name.startswith("telecine-")} == package
    assert {"telecine/py.typed", "telecine/cli/clip.mp4", "telecine/db/queries.sql"} <= held
    assert "telecine/db/migrations/0001_start.sql" in held
    assert f"telecine-{version()}.dist-info/licenses/LICENSE" in held
    assert "License-Expression: Apache-2.0" in metadata


def version():
    from telecine import __version__

    return __version__


def test_the_installed_command_is_the_installed_package(installed, env, tmp_path):
    assert run(installed, env, tmp_path, "--version") == f"telecine {version()}\n"
    found = "import telecine, os; print(os.path.realpath(telecine.__file__))"
    line = [sys.executable, "-c", found]
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(os.path.realpath(installed))


def test_the_installed_command_answers_a_clip(installed, env, tmp_path):
    asked = ["run", DATA / "jfk_slides.mp4", "-p", "What is said?", "--json"]
    answer = json.loads(run(installed, env, tmp_path, *asked))
    assert "ask not what your country can do for you" in answer["output"]
    assert answer["receipt"]["videos"][0]["container"] == "mp4"


def test_the_installed_command_serves(installed, env, tmp_path, monkeypatch):
    command = tmp_path / "telecine"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{installed}/bin/telecine" "$@"\n')
    command.chmod(0o700)
    monkeypatch.setattr(support, "COMMAND", command)
    folder = tmp_path / "served"
    folder.mkdir()
    server = Server(folder, config="[providers.echo]\n", env={"PYTHONPATH": env["PYTHONPATH"]})
    server.start()
    try:
        answer = httpx.post(
            f"{server.origin}/openrouter/router/video",
            headers={"Authorization": f"Key {KEY}"},
            json={"prompt": "hello", "model": "echo/echo"},
            timeout=100,
        )
        assert answer.json()["output"] == "hello"
    finally:
        assert server.stop() == 0, server.log()
