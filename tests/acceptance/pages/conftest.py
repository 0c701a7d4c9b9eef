"""The pages in a real Chromium, in front of real servers."""

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright
from tests.acceptance.support.pages import DESK, Guard, Shown, launched, signed_in
from tests.acceptance.support.server import KEY, Server

# For everything that is waited for; other programs share the machine.
_SECONDS = 60
expect.set_options(timeout=_SECONDS * 1000)


@pytest.fixture(scope="package")
def chromium():
    """One browser for all tests of this package."""
    with sync_playwright() as playwright:
        try:
            browser = launched(playwright)
        except FileNotFoundError as error:
            pytest.skip(str(error))
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def server(in_front_of_all):
    """With every provider that there is, all of them made up."""
    return in_front_of_all()


@pytest.fixture(scope="package")
def bare(tmp_path_factory):
    """As it is right after the installation: no settings, no key of any provider."""
    server = Server(tmp_path_factory.mktemp("bare"), config="[server]\nstop_seconds = 1\n").start()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="package")
def contexts(chromium):
    """Makes contexts with a guard, signed in; what its pages have loaded it keeps."""
    made = []

    def contexts(server, *, key=KEY, **options):
        context = chromium.new_context(**{"viewport": DESK, "accept_downloads": True, **options})
        context.set_default_timeout(_SECONDS * 1000)
        guard = Guard(context, server.origin)
        if key:
            signed_in(context, server.origin, key)
        made.append(context)
        return context, guard

    yield contexts
    for context in made:
        context.close()


@pytest.fixture
def opening(contexts):
    """Opens pages of a server; at the end nothing may have gone wrong in any of them."""
    opened = []

    def opening(server, **options):
        opened.append(contexts(server, **options))
        return Shown(opened[-1][0].new_page(), server.origin)

    yield opening
    problems = [problem for _, guard in opened for problem in guard.problems]
    for context, _ in opened:
        context.close()
    assert problems == []


@pytest.fixture(scope="package")
def usual(contexts, server):
    return contexts(server)


@pytest.fixture
def shown(usual, server):
    """A page of `server`, signed in as an administrator."""
    context, guard = usual
    page = context.new_page()
    yield Shown(page, server.origin)
    page.close()
    problems, guard.problems = guard.problems, []
    assert problems == []


@pytest.fixture
def raw(server):
    """Plain HTTP to the server itself, with the key."""
    headers = {"Authorization": f"Key {KEY}"}
    with httpx.Client(base_url=server.origin, headers=headers, trust_env=False) as client:
        yield client
