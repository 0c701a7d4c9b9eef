"""The pages in the package are what their sources say, and small enough."""

import gzip
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
BUILT = ROOT / "src/telecine/ui"
MOST_BYTES = 200_000


@pytest.fixture(scope="module", autouse=True)
def tools():
    assert (WEB / "node_modules/esbuild").is_dir(), "make test installs what the pages need"


def npm(*words):
    done = subprocess.run(
        ["npm", "run", "--silent", *words],
        cwd=WEB,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_types_are_right():
    npm("check")


def test_the_parts_of_the_pages_do_as_their_tests_say():
    npm("test")


def test_what_is_committed_is_what_the_sources_give(tmp_path):
    npm("build", "--", str(tmp_path / "ui"))
    assert files(tmp_path / "ui") == files(BUILT), "make pages"


def test_the_first_load_is_small():
    """Everything that the first page needs, compressed as it is served."""
    page = (BUILT / "index.html").read_text()
    needed = set(re.findall(r'/ui/assets/([^"]+)"', page))
    needed |= {path.name for path in (BUILT / "assets").glob("playground-*.js")}
    reached = set()
    while needed - reached:
        name = (needed - reached).pop()
        reached.add(name)
        text = (BUILT / "assets" / name).read_text()
        needed |= set(re.findall(r'from\s*"\./([^"]+)"', text))
        needed |= set(re.findall(r'import"\./([^"]+)"', text))
    size = sum(len(gzip.compress((BUILT / "assets" / name).read_bytes(), 9)) for name in reached)
    assert size < MOST_BYTES


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
