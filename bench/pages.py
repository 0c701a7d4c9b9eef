"""How fast the pages are, in the Chromium that is installed; and pictures of them for the docs.

    python bench/pages.py [--rounds 5] [--requests 100000] [--tokens 10000]
    python bench/pages.py --screenshots docs/images

First load: the script that comes for the Playground, compressed, and the first contentful paint
with an empty cache. A stream: the longest time between two frames of the screen while so many
tokens come, as fast as they can and spread over ten seconds. A list: the same while a hand scrolls
through so many requests. Medians of the rounds; longest frames are the worst of all of them.
"""

from __future__ import annotations

import argparse
import io
import random
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import httpx
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright
from tests.acceptance.support.fake import Fake
from tests.acceptance.support.pages import DESK, PAGES, launched, signed_in
from tests.acceptance.support.server import KEY, Server

from telecine.db.sqlite import migrate

ENDPOINT = "openrouter/router/video"
CLIPS = Path(__file__).parents[1] / "tests/data"
DAY = 24 * 3600.0

# Counts the time between frames from now on; `longest()` tells, and begins anew.
_FRAMES = """() => {
  let last = performance.now();
  let worst = 0;
  const frame = (now) => {
    worst = Math.max(worst, now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  window.longest = () => { const found = worst; worst = 0; return found; };
}"""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--requests", type=int, default=100_000)
    asked.add_argument("--tokens", type=int, default=10_000)
    asked.add_argument("--screenshots", type=Path)
    given = asked.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        browser = stack.enter_context(opened(stack.enter_context(sync_playwright())))
        if given.screenshots:
            take_pictures(browser, folder, given.screenshots)
        else:
            measure(browser, folder, given)


@contextmanager
def opened(playwright: Playwright) -> Iterator[Browser]:
    browser = launched(playwright)
    yield browser
    browser.close()


@contextmanager
def served(folder: Path, config: str, **env: str) -> Iterator[Server]:
    server = Server(folder, config=f"[server]\nstop_seconds = 1\n{config}", env=env).start()
    try:
        yield server
    finally:
        server.stop()


# ---------------------------------------------------------------- what happened before


def remember(folder: Path, requests: int, *, days: int, keys: list[str]) -> None:
    """A database as after `days` of use: so many requests that have ended, with what they cost."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    path = folder / "data/telecine.db"
    chance = random.Random(4)
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path)
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO requests (id, endpoint, mode, key_id, model, state, attempt, created_at,"
        " started_at, finished_at, status_code, inference_seconds, error, error_type)"
        " VALUES (:id, :endpoint, :mode, :key_id, :model, :state, 1, :at, :at, :until, :code,"
        " :took, :error, :error_type)",
        (rows := [_request(chance, number / requests * days, keys) for number in range(requests)]),
    )
    connection.executemany(
        "INSERT INTO ledger (request_id, attempt, key_id, endpoint, mode, provider, model, at,"
        " prompt_tokens, completion_tokens, total_tokens, cost, cost_source)"
        " VALUES (:id, 1, :key_id, :endpoint, :mode, :provider, :upstream, :until, :into, :out,"
        " :all, :cost, 'computed')",
        [row for row in rows if row["state"] == "succeeded"],
    )
    connection.execute("COMMIT")
    connection.close()


_MODELS = (
    ("gemini", "gemini-2.5-flash", 30, 250),
    ("openrouter", "qwen/qwen3-vl-235b-a22b-instruct", 20, 88),
    ("anthropic", "claude-sonnet-4-5", 300, 1500),
)


def _request(chance: random.Random, days: float, keys: list[str]) -> dict[str, Any]:
    provider, model, into_price, out_price = chance.choices(_MODELS, (6, 3, 1))[0]
    at = time.time() - DAY * max(0.01, days) + chance.uniform(0, 300)
    state = chance.choices(("succeeded", "failed", "cancelled"), (90, 7, 3))[0]
    took, into, out = chance.uniform(0.6, 9), chance.randint(2000, 30_000), chance.randint(40, 900)
    return {
        "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "endpoint": ENDPOINT,
        "mode": chance.choices(("run", "stream", "queue"), (3, 3, 4))[0],
        "key_id": chance.choice(keys),
        "model": f"{provider}/{model}",
        "upstream": model,
        "provider": provider,
        "state": state,
        "at": at,
        "until": at + took,
        "took": took,
        "code": {"succeeded": 200, "failed": 503, "cancelled": 499}[state],
        "error": "The model is overloaded" if state == "failed" else None,
        "error_type": "downstream_service_unavailable" if state == "failed" else None,
        "into": into,
        "out": out,
        "all": into + out,
        # Hundredths of a dollar per million tokens.
        "cost": f"{(into * into_price + out * out_price) / 10**8:.8f}",
    }


# ---------------------------------------------------------------- figures


def measure(browser: Browser, folder: Path, given: argparse.Namespace) -> None:
    remember(folder, given.requests, days=30, keys=[KEY.partition(":")[0]])
    with served(folder, "[providers.echo]\n") as server:
        loads = [first_load(browser, server) for _ in range(given.rounds)]
        print(f"script of the first load  {loads[0][0] / 1000:.0f} KB compressed")
        print(f"first contentful paint    {statistics.median(paint for _, paint in loads):.0f} ms")
        for name, model in (
            ("as fast as they come", f"echo/count-{given.tokens}"),
            ("in ten seconds", f"echo/count-{given.tokens}-wait-10"),
        ):
            found = [stream(browser, server, model, given.tokens) for _ in range(given.rounds)]
            took = statistics.median(seconds for _, seconds in found)
            worst = max(worst for worst, _ in found)
            print(f"{given.tokens:,} tokens {name}: longest frame {worst:.0f} ms, in {took:.1f} s")
        found = [scroll(browser, server) for _ in range(given.rounds)]
        rows = min(rows for _, rows in found)
        print(
            f"{given.requests:,} requests, scrolled through {rows:,}:"
            f" longest frame {max(worst for worst, _ in found):.0f} ms"
        )


@contextmanager
def visiting(browser: Browser, server: Server, **options: Any) -> Iterator[Page]:
    context: BrowserContext = browser.new_context(**{"viewport": DESK, **options})
    signed_in(context, server.origin, KEY)
    page = context.new_page()
    page.set_default_timeout(120_000)
    yield page
    context.close()


def first_load(browser: Browser, server: Server) -> tuple[int, float]:
    """Bytes of script on the wire, and when something was painted, with nothing in the cache."""
    sizes: list[int] = []
    with visiting(browser, server) as page:
        page.on(
            "requestfinished",
            lambda request: sizes.append(
                request.sizes()["responseBodySize"] if request.resource_type == "script" else 0
            ),
        )
        page.goto(f"{server.origin}/")
        page.get_by_label("Prompt", exact=True).wait_for()
        paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        return sum(sizes), float(page.evaluate(paint))


def stream(browser: Browser, server: Server, model: str, tokens: int) -> tuple[float, float]:
    """The longest frame in milliseconds, and how long the stream took in seconds."""
    with visiting(browser, server) as page:
        page.goto(f"{server.origin}/ui/playground?model={model}&prompt=count")
        page.get_by_label("Address of a video").fill(f"{server.origin}/ui/sample.mp4")
        page.keyboard.press("Enter")
        page.get_by_role("radio", name="Stream").click()
        page.get_by_role("button", name="Stream it").wait_for()
        page.wait_for_timeout(1500)
        page.evaluate(_FRAMES)
        began = time.monotonic()
        page.get_by_role("button", name="Stream it").click()
        page.get_by_role("status").filter(has_text="Done").wait_for()
        took = time.monotonic() - began
        page.wait_for_timeout(300)
        assert str(tokens) in page.get_by_role("region", name="Answer").inner_text()
        return float(page.evaluate("longest()")), took


def scroll(browser: Browser, server: Server, seconds: float = 8.0) -> tuple[float, int]:
    """The longest frame in milliseconds, and how many rows had been read at the end."""
    with visiting(browser, server) as page:
        page.goto(f"{server.origin}/ui/requests")
        body = page.locator(".requests-table .body")
        body.hover()
        page.wait_for_timeout(500)
        page.evaluate(_FRAMES)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            page.mouse.wheel(0, 4000)
            page.wait_for_timeout(16)
        height = page.locator(".requests-table .all").evaluate("(all) => all.clientHeight")
        row = page.locator(".requests-table .body [role=row]").first.bounding_box()
        assert row is not None
        return float(page.evaluate("longest()")), int(height / row["height"])


# ---------------------------------------------------------------- pictures

SIZES: dict[str, Any] = {
    "light": {"viewport": {"width": 1180, "height": 860}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1180, "height": 860}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 720}, "color_scheme": "light"},
}
_LOCAL = "\n[providers.local]\n[providers.echo]\n"


def take_pictures(browser: Browser, folder: Path, images: Path) -> None:
    images.mkdir(parents=True, exist_ok=True)
    (folder / "fake").mkdir()
    fake = Fake(folder / "fake")
    remember(folder, 900, days=30, keys=[KEY.partition(":")[0]])
    with served(folder, fake.told["telecine_toml"] + _LOCAL, **fake.keys) as server:
        sandbox = live(server)
        for size, options in SIZES.items():
            with visiting(browser, server, **options) as page:
                for name in PAGES:
                    path = f"/ui/{name}/{sandbox}" if name == "sandbox" else f"/ui/{name}"
                    page.goto(server.origin + path)
                    if name == "playground":
                        answer(page)
                    page.wait_for_timeout(1500)
                    if name == "sandbox" and size == "phone":
                        page.locator(".column .answer").nth(0).evaluate(
                            "(answer) => answer.scrollIntoView({ block: 'center' })"
                        )
                    if name == "sandbox" and size != "phone":
                        page.set_viewport_size({"width": 1180, "height": 2000})
                        page.wait_for_timeout(500)
                    keep(page, images / f"{name}-{size}.png")
                    page.set_viewport_size(options["viewport"])
    fake.stop()
    (folder / "bare").mkdir()
    with served(folder / "bare", "") as server, visiting(browser, server, **SIZES["light"]) as page:
        page.goto(server.origin)
        page.wait_for_timeout(1500)
        keep(page, images / "first-run-light.png")


def live(server: Server) -> str:
    """Things that happen on a server: keys, files, webhooks; the id of a sandbox."""
    headers = {"Authorization": f"Key {KEY}"}
    with httpx.Client(
        base_url=server.origin, headers=headers, trust_env=False, timeout=120
    ) as call:
        urls = {}
        for name in ("jfk_slides.mp4", "nasa_webb.mp4", "two_languages_en_de.webm"):
            begun = call.post(
                "/rest/storage/upload/initiate",
                params={"storage_type": "fal-cdn-v3"},
                json={"file_name": name, "content_type": f"video/{name.rpartition('.')[2]}"},
            ).json()
            call.put(begun["upload_url"], content=(CLIPS / name).read_bytes()).raise_for_status()
            urls[name] = begun["file_url"]
        for alias, limits in (
            ("website", {"budget": "25", "per_minute": 60}),
            ("nightly batch", {"budget": "5", "budget_per": "day", "models": ["google/*"]}),
            ("notebook", {"running": 2}),
        ):
            call.post("/telecine/v1/keys", json={"alias": alias, **limits}).raise_for_status()
        for model, url in (
            ("google/gemini-2.5-flash", "http://127.0.0.1:9/telecine"),
            ("echo/echo", f"{server.origin}/health"),
        ):
            body = {"prompt": "p", "model": model, "video_urls": [urls["nasa_webb.mp4"]]}
            call.post(f"/queue/{ENDPOINT}", params={"fal_webhook": url}, json=body)
        question = {
            "prompt": "What is said, and what is written on the slides?",
            "video_urls": [urls["jfk_slides.mp4"]],
        }
        columns = []
        for model in ("local/report", "gemini/gemini-2.5-flash", "anthropic/claude-sonnet-4-5"):
            done = call.post(f"/{ENDPOINT}", json={**question, "model": model}).raise_for_status()
            columns.append({"model": model, "request_id": done.headers["x-fal-request-id"]})
        time.sleep(1)  # the rows of live calls are written after their answers
        made = call.post(
            "/telecine/v1/sandboxes",
            json={"name": "JFK, three ways", "input": question, "columns": columns},
        ).raise_for_status()
        return str(made.json()["sandbox_id"])


def answer(page: Page) -> None:
    """The Playground with a clip, and what the embedded model says of it."""
    page.get_by_role("button", name="Use the sample clip").click()
    page.get_by_role("button", name="Remove sample.mp4").wait_for()
    field = page.get_by_role("combobox", name="Model", exact=True)
    field.fill("local/report")
    field.press("Escape")
    page.get_by_label("Prompt", exact=True).fill("What is said, and what is written on the slides?")
    page.get_by_role("button", name="Stream it").click()
    page.get_by_role("status").filter(has_text="Done").wait_for()
    page.evaluate("scrollTo(0, 0)")


def keep(page: Page, path: Path) -> None:
    """What is in sight, without the emptiness below. 256 colours are enough for a page, and take
    half the bytes."""
    page.mouse.move(0, 0)
    seen = page.evaluate("[innerWidth, innerHeight, main.getBoundingClientRect().bottom]")
    clip = {"x": 0, "y": 0, "width": seen[0], "height": min(seen[1], max(320, seen[2]))}
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    print(f"{path}  {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
