"""Issue part 6: what holds for every page: keyboard, screen readers, both colour schemes, a phone's
width, the policy, nothing from elsewhere, and a first load that is small.

The guard of `opening` fails every test in which a page broke its policy, asked another host, or
wrote an error into the console.
"""

import pytest
from playwright.sync_api import expect
from tests.acceptance.support.pages import DESK, PAGES, PHONE

MOST_SCRIPT_BYTES = 200_000


@pytest.fixture(scope="module")
def lived_in(server, clips):
    """A server on which something has happened, so that lists have rows."""
    import httpx
    from tests.acceptance.support.server import KEY

    headers = {"Authorization": f"Key {KEY}"}
    asked = {"prompt": "p", "video_urls": [f"{clips}/jfk_slides.mp4"]}
    with httpx.Client(base_url=server.origin, headers=headers, trust_env=False) as client:
        for model in ("google/gemini-2.5-flash", "echo/fail-503", "echo/echo"):
            client.post("/openrouter/router/video", json={**asked, "model": model}, timeout=60)
        client.post(
            "/queue/openrouter/router/video",
            params={"fal_webhook": "http://127.0.0.1:9/nobody"},
            json={**asked, "model": "echo/echo"},
        ).raise_for_status()
        client.post("/files/upload", content=b"hello").raise_for_status()
        client.post("/telecine/v1/keys", json={"alias": "x", "budget": "5"}).raise_for_status()
        column = {"model": "echo/echo"}
        client.post(
            "/telecine/v1/sandboxes", json={"name": "Saved", "columns": [column, column]}
        ).raise_for_status()
    return server


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(opening, lived_in, scheme):
    shown = opening(lived_in, color_scheme=scheme)
    found = {}
    for name in PAGES:
        shown.open(f"/ui/{name}")
        found[name] = shown.axe()
    assert found == {name: [] for name in PAGES}


def test_axe_finds_nothing_serious_on_the_sign_in(opening, lived_in):
    shown = opening(lived_in, key=None)
    shown.open("/")
    expect(shown.page.get_by_label("Key", exact=True)).to_be_visible()
    assert shown.axe() == []


def test_no_page_is_wider_than_a_phone(opening, lived_in):
    shown = opening(lived_in, viewport=PHONE)
    wide = []
    for name in PAGES:
        shown.open(f"/ui/{name}")
        if shown.is_too_wide:
            wide.append(name)
    assert wide == []


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, {"viewport": PHONE}])
def test_what_is_opened_and_answered_is_as_accessible_and_as_narrow(opening, lived_in, options):
    shown = opening(lived_in, **options)
    page = shown.page
    found = {}

    def look(name):
        found[name] = shown.axe() + (["too wide"] if shown.is_too_wide else [])

    shown.open("/ui/playground?model=google/gemini-2.5-flash&prompt=p")
    page.get_by_label("Address of a video").fill(f"{shown.origin}/ui/sample.mp4")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Stream it").click()
    expect(page.locator("p.figures strong")).to_be_visible()
    for name in ("Answer", "JSON", "Receipt", "Log"):
        page.get_by_role("tab", name=name).click()
        look(f"playground, {name}")
    page.get_by_role("combobox", name="Model", exact=True).click()
    look("playground, models")

    shown.open("/ui/sandbox")
    page.get_by_role("button", name="Use the sample clip").click()
    page.get_by_role("button", name="Remove sample.mp4").wait_for()
    for index, model in enumerate(["google/gemini-2.5-flash", "echo/fail-503"]):
        field = page.locator(".column").nth(index).get_by_role("combobox")
        field.fill(model)
        field.press("Enter")
    page.get_by_role("button", name="Run all 2").click()
    expect(page.get_by_role("row", name="Sent as")).to_be_visible()
    look("sandbox")

    shown.open("/ui/requests?search=gemini")
    page.get_by_role("link", name="google/gemini-2.5-flash").first.click()
    for name in ("Answer", "Input", "Receipt", "Attempts"):
        page.get_by_role("tab", name=name).click()
        look(f"request, {name}")

    shown.open("/ui/webhooks")
    page.get_by_role("button", name="attempt").first.click()
    look("webhooks")

    shown.open("/ui/keys")
    page.get_by_role("button", name="New key").click()
    look("keys, the form")
    assert not any(found.values()), found


def test_every_page_has_a_title_a_heading_and_a_way_to_the_content(opening, lived_in):
    shown = opening(lived_in)
    for name in PAGES:
        shown.open(f"/ui/{name}")
        expect(shown.page).to_have_title(f"{name.capitalize()} · Telecine")
        expect(shown.page.get_by_role("heading", level=1)).to_have_count(1)
        shown.page.keyboard.press("Tab")
        expect(shown.page.get_by_role("link", name="To the content")).to_be_focused()


def test_the_first_load_is_small(opening, server):
    shown = opening(server)
    sizes = []
    shown.page.on(
        "requestfinished",
        lambda request: (
            request.resource_type == "script" and sizes.append(request.sizes()["responseBodySize"])
        ),
    )
    shown.open("/")
    assert 0 < sum(sizes) < MOST_SCRIPT_BYTES


def test_a_stream_is_run_by_keyboard_alone(shown):
    page = shown.page
    shown.open("/ui/playground")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # to the content

    def tab_to(locator):
        for _ in range(60):
            page.keyboard.press("Tab")
            if locator.evaluate("(element) => element === document.activeElement"):
                return
        raise AssertionError(f"no way to {locator}")

    address = page.get_by_label("Address of a video")
    tab_to(address)
    page.keyboard.type(f"{shown.origin}/ui/sample.mp4")
    page.keyboard.press("Enter")
    tab_to(page.get_by_label("Prompt", exact=True))
    page.keyboard.press("Control+A")
    page.keyboard.type("What is it?")
    tab_to(page.get_by_role("combobox", name="Model", exact=True))
    page.keyboard.press("Control+A")
    page.keyboard.type("echo/count-5")
    page.keyboard.press("Enter")
    tab_to(page.get_by_role("radio", checked=True))
    while page.get_by_role("radio", checked=True).inner_text() != "Stream":
        page.keyboard.press("ArrowRight")
    tab_to(page.get_by_role("button", name="Stream it"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Answer")).to_contain_text("1 2 3 4 5")


# Collects how far anything moved that nobody had touched, from now on.
_SHIFTS = """() => { window.shifts = []; new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) shifts.push(entry.value);
}).observe({ type: "layout-shift" }); }"""
_SHIFTED = "shifts.reduce((sum, each) => sum + each, 0)"


def test_nothing_jumps_while_an_answer_streams(shown):
    page = shown.page
    shown.open("/ui/playground?model=echo/count-300-wait-2&prompt=count")
    page.get_by_label("Address of a video").fill(f"{shown.origin}/ui/sample.mp4")
    page.keyboard.press("Enter")
    page.get_by_role("radio", name="Stream").click()
    button = page.get_by_role("button", name="Stream it")
    expect(button).to_be_enabled()
    page.evaluate(_SHIFTS)
    button.click()
    expect(page.get_by_role("region", name="Answer")).to_contain_text("1 2 3")
    page.evaluate("shifts.length = 0")
    foot = page.locator(".result .foot").bounding_box()
    expect(page.get_by_role("region", name="Answer")).to_contain_text("250")
    assert page.locator(".result .foot").bounding_box()["y"] == foot["y"]
    assert page.evaluate(_SHIFTED) < 0.01


@pytest.mark.parametrize("viewport", [DESK, PHONE])
def test_nothing_jumps_while_models_stream_side_by_side(opening, server, viewport):
    shown = opening(server, viewport=viewport)
    page = shown.page
    shown.open("/ui/sandbox")
    page.get_by_role("button", name="Use the sample clip").click()
    page.get_by_role("button", name="Remove sample.mp4").wait_for()
    columns = page.locator(".column")
    for index in range(2):
        field = columns.nth(index).get_by_role("combobox")
        field.fill(f"echo/count-300{index}-wait-60")
        field.press("Enter")
        expect(columns.nth(index).locator(".estimate")).to_contain_text("Free")
    page.evaluate(_SHIFTS)
    page.get_by_role("button", name="Run all 2").click()
    expect(columns.nth(0).locator(".answer")).to_contain_text("1 2 3")
    page.evaluate("shifts.length = 0")
    figures = columns.nth(1).locator(".figures").bounding_box()
    for index in range(2):
        expect(columns.nth(index).locator(".answer")).to_contain_text(" 150 ")
    assert columns.nth(1).locator(".figures").bounding_box() == figures
    assert page.evaluate(_SHIFTED) < 0.01
    page.get_by_role("button", name="Stop all").click()
    expect(page.get_by_text("2 ended")).to_be_visible()


def test_what_is_selected_stays_selected_while_more_comes(shown):
    page = shown.page
    shown.open("/ui/playground?model=echo/count-300-wait-2&prompt=count")
    page.get_by_label("Address of a video").fill(f"{shown.origin}/ui/sample.mp4")
    page.keyboard.press("Enter")
    page.get_by_role("radio", name="Stream").click()
    page.get_by_role("button", name="Stream it").click()
    answer = page.get_by_role("region", name="Answer")
    expect(answer).to_contain_text("1 2 3 4")
    answer.locator(".markdown p").evaluate(
        """(paragraph) => getSelection().setBaseAndExtent(
             paragraph.firstChild, 0, paragraph.firstChild, 5)"""
    )
    expect(answer).to_contain_text("299 300")
    expect(page.get_by_role("status").filter(has_text="Done")).to_be_visible()
    assert page.evaluate("String(getSelection())") == "1 2 3"
