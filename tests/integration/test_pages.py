"""How the pages are served: to browsers only, under a policy, once per version."""

import gzip
import re

import pytest
from tests.fakes.asgi import Browser
from tests.fakes.gateway import opened

HTML = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def get(run, tmp_path):
    def get(path, **headers):
        async def main():
            async with opened(tmp_path) as server:
                browser = Browser(server.app, key=None)
                names = {name.replace("_", "-"): value for name, value in headers.items()}
                return await browser("GET", path, headers=names)

        return run(main())

    return get


def test_a_browser_gets_the_page_and_a_program_the_text(get):
    assert get("/", **HTML).headers["content-type"] == "text/html; charset=utf-8"
    assert get("/").headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("path", ["/ui", "/ui/", "/ui/requests/123", "/ui/sandbox"])
def test_every_address_under_ui_is_the_one_document(get, path):
    answer = get(path)
    assert answer.status == 200
    assert b'<div id="app">' in answer.body


def test_nothing_inline_and_nothing_from_elsewhere(get):
    answer = get("/ui")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "unsafe" not in policy
    assert b"<style" not in answer.body
    assert not re.search(rb"<script(?![^>]*\ssrc=)", answer.body)
    assert not re.search(rb'(src|href)="(?!/ui/)', answer.body)


def test_the_files_that_the_page_names_are_there_and_kept_for_good(get):
    names = re.findall(r'(?:src|href)="(/ui/assets/[^"]+)"', get("/ui").body.decode())
    assert len(names) == 2
    for name in names:
        answer = get(name)
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]


def test_what_is_asked_for_packed_comes_packed(get):
    plain, packed = get("/ui"), get("/ui", accept_encoding="gzip, br")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body


def test_what_did_not_change_is_not_sent_again(get):
    again = get("/ui", if_none_match=get("/ui").headers["etag"])
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/ui/assets/no.js", "/ui/none.svg", "/ui/assets/index.html", "/ui/../keys.py"]
)
def test_what_is_not_there_is_404(get, path):
    assert get(path).status == 404
