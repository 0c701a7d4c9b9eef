"""The pages of a server in a real Chromium, by Playwright, with a guard that looks on all the time."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from tests.acceptance.support.browser import CHROMIUM

ROOT = Path(__file__).parents[3]
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
PAGES = ("playground", "sandbox", "requests", "usage", "keys", "files", "webhooks", "providers")
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}

# Of a page in which nothing is wrong. The rules are those of WCAG 2.2 AA and axe's best practices.
_AXE = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(" ")).join(" | ")}`);
}"""
_VIOLATIONS = """addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
});"""


def launched(playwright):
    """The Chromium that is installed, else Playwright's own. Raises where there is none."""
    own = Path(playwright.chromium.executable_path)
    if CHROMIUM is None and not own.exists():
        raise FileNotFoundError("no Chromium: apt install chromium, or playwright install chromium")
    return playwright.chromium.launch(
        executable_path=CHROMIUM or str(own),
        # As root there is no sandbox to be had, and /dev/shm is small in containers.
        args=["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])],
    )


def signed_in(context, origin, key):
    """As the sign-in form does it: from now on the context has the cookie."""
    answer = context.request.post(
        f"{origin}/telecine/v1/session", data={"key": key}, headers={"origin": origin}
    )
    assert answer.ok, answer.text()


class Guard:
    """What went wrong in a context: errors in the console, policy violations, calls elsewhere."""

    def __init__(self, context, origin):
        self.problems = []
        self._host = urlsplit(origin).netloc
        context.add_init_script(_VIOLATIONS)
        context.on("request", self._requested)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.problems.append(f"thrown: {error.error}"))

    def _requested(self, request):
        url = urlsplit(request.url)
        if url.scheme in ("http", "https", "ws", "wss") and url.netloc != self._host:
            self.problems.append(f"asked elsewhere: {request.url}")

    def _said(self, message):
        # The browser's own word about an answer that is a failure: the page says what it means.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.problems.append(f"console: {message.text}")


class Shown:
    """One page, and what tests ask of it."""

    def __init__(self, page, origin):
        self.page = page
        self.origin = origin

    def open(self, path, *, is_settled=True):
        self.page.goto(self.origin + path)
        self.page.locator("main").wait_for()
        if is_settled:
            self.settled()

    def settled(self):
        """Until nothing loads any more."""
        self.page.locator(".spinner").first.wait_for(state="detached")

    def axe(self):
        """What axe finds serious or critical."""
        self.page.evaluate(AXE.read_text())
        return self.page.evaluate(_AXE)

    @property
    def is_too_wide(self):
        return self.page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
