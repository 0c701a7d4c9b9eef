"""Issue part 3: the same prompt and clips for several models, side by side."""

import json
import re

import pytest
from playwright.sync_api import expect
from tests.acceptance.support.clips import DATA
from tests.acceptance.support.server import KEY
from tests.acceptance.support.waiting import eventually

CLIP = DATA / "jfk_slides.mp4"
GEMINI = "google/gemini-2.5-flash"


@pytest.fixture
def bench(shown):
    """A new sandbox with a clip and a prompt; `models(...)` chooses the columns."""
    shown.open("/ui/sandbox")
    page = shown.page
    page.locator("input[type=file]").first.set_input_files(CLIP)
    page.get_by_label("Prompt", exact=True).fill("What is said at 00:02?")
    page.get_by_role("button", name="Cancel the upload").wait_for(state="detached")
    return shown


def choose(page, *models):
    columns = page.locator(".column")
    while columns.count() < len(models):
        page.get_by_role("button", name="Add a model").click()
    for index, model in enumerate(models):
        field = columns.nth(index).get_by_role("combobox")
        field.fill(model)
        field.press("Enter")
    return columns


def state(column):
    return column.get_by_role("status").first


def test_three_models_answer_side_by_side_and_the_table_says_what_each_was_given(bench):
    page = bench.page
    columns = choose(page, "echo/count-40-wait-0.5", GEMINI, "anthropic/claude-sonnet-4-5")
    page.get_by_role("button", name="Run all 3").click()
    for index in range(3):  # for the last one of them the speech model is loaded
        expect(state(columns.nth(index))).to_have_text("Done", timeout=60_000)
    expect(columns.nth(0).locator(".answer")).to_contain_text("38 39 40")
    expect(columns.nth(1).locator(".answer")).to_contain_text("I saw 1 video(s)")
    table = page.get_by_role("table")
    sent = table.get_by_role("row", name=re.compile("^Sent as"))
    expect(sent).to_contain_text("differs")
    expect(sent).to_contain_text("pictures")
    expect(table.get_by_role("row", name=re.compile("^Cost"))).to_contain_text("computed")
    for index in range(3):
        figures = columns.nth(index).locator(".figures")
        expect(figures).to_contain_text(re.compile(r"First text\s*\d"))
    bounds = [columns.nth(index).bounding_box() for index in range(3)]
    assert bounds[0]["y"] == bounds[1]["y"] == bounds[2]["y"]


def test_one_is_stopped_for_good_and_then_all_of_them(bench, raw):
    page = bench.page
    columns = choose(page, "echo/count-2000-wait-60", "echo/count-2000-wait-61")
    page.get_by_role("button", name="Run all 2").click()
    for index in range(2):
        expect(columns.nth(index).locator(".answer")).to_contain_text("1 2 3")
    columns.nth(0).get_by_role("button", name=re.compile("^Stop")).click()
    expect(state(columns.nth(0))).to_have_text("Stopped")
    expect(state(columns.nth(1))).to_have_text("Answering")
    page.get_by_role("button", name="Stop all").click()
    expect(state(columns.nth(1))).to_have_text("Stopped")

    def cancelled():
        found = raw.get("/telecine/v1/requests", params={"search": "count-2000-wait-6"}).json()
        return [each["state"] for each in found["requests"]] == ["cancelled", "cancelled"]

    assert eventually(cancelled)


def test_one_that_fails_says_why_and_runs_again_alone(bench):
    page = bench.page
    columns = choose(page, "echo/fail-503", "echo/echo")
    page.get_by_role("button", name="Run all 2").click()
    expect(state(columns.nth(0))).to_have_text("Failed")
    expect(columns.nth(0).get_by_role("alert")).to_contain_text("503")
    expect(state(columns.nth(1))).to_have_text("Done")
    choose(page, "echo/count-3")
    columns.nth(0).get_by_role("button", name=re.compile("^Run")).click()
    expect(state(columns.nth(0))).to_have_text("Done")
    expect(columns.nth(0).locator(".answer")).to_contain_text("1 2 3")


def test_a_time_in_an_answer_seeks_the_player_they_share(bench):
    page = bench.page
    choose(page, "echo/echo", "echo/count-2")
    page.get_by_role("button", name="Run all 2").click()
    page.get_by_role("button", name="00:02", exact=True).click()
    page.wait_for_function("Math.abs(document.querySelector('video').currentTime - 2) < 0.5")


def test_columns_are_added_moved_and_removed_up_to_six(bench):
    page = bench.page
    columns = choose(page, *(f"echo/count-{number}" for number in range(1, 7)))
    expect(page.get_by_role("button", name="Add a model")).to_be_disabled()
    page.get_by_role("button", name="echo/count-1: further right").click()
    expect(columns.nth(0).get_by_role("combobox")).to_have_value("echo/count-2")
    page.get_by_role("button", name="Remove echo/count-2").click()
    expect(columns).to_have_count(5)
    page.get_by_role("button", name="Run all 5").click()
    for index in range(5):
        expect(state(columns.nth(index))).to_have_text("Done")
    # Also of those that went through the queue, as there are more than four.
    expect(page.get_by_role("row", name=re.compile("^Sent as")).get_by_text("–")).to_have_count(0)


def test_what_is_saved_opens_again_is_shared_by_link_and_exported(bench, opening, server, raw):
    page = bench.page
    choose(page, "echo/echo", "echo/fail-503")
    page.get_by_role("button", name="Run all 2").click()
    expect(state(page.locator(".column").nth(1))).to_have_text("Failed")
    page.get_by_label("Name").fill("Echo against failure")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    page.get_by_role("button", name="Share by link").click()
    expect(page.get_by_text("Shared.", exact=True)).to_be_visible()
    link = page.locator(".keeping .link code").inner_text()

    with page.expect_download() as json_file:
        page.get_by_role("button", name="Export JSON").click()
    exported = json.loads(json_file.value.path().read_text())
    assert json_file.value.suggested_filename == "echo-against-failure.json"
    assert [each["state"] for each in exported["results"]] == ["done", "failed"]
    assert exported["results"][0]["receipt"]["videos"][0]["sha256"]
    with page.expect_download() as markdown:
        page.get_by_role("button", name="Export Markdown").click()
    text = markdown.value.path().read_text()
    assert text.startswith("# Echo against failure\n")
    assert "| **echo/echo** | **echo/fail-503** |" in text.replace("|  |", "|")

    page.reload()
    bench.settled()
    expect(page.locator(".column").nth(0).locator(".answer")).to_contain_text("sha256=")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("What is said at 00:02?")
    bench.open("/ui/sandbox")
    expect(page.get_by_role("link", name="Echo against failure")).to_be_visible()

    made = raw.post("/telecine/v1/keys", json={"alias": "reader"}).json()
    reader = opening(server, key=made["key"])
    reader.open(link.removeprefix(server.origin))
    expect(reader.page.get_by_text("somebody else’s")).to_be_visible()
    expect(reader.page.locator(".column").nth(0).locator(".answer")).to_contain_text("sha256=")
    reader.page.get_by_label("Name").fill("A copy")
    reader.page.get_by_role("button", name="Save a copy").click()
    expect(reader.page.get_by_text("Saved.", exact=True)).to_be_visible()
    assert made["key"] != KEY

    page.get_by_role("link", name="Echo against failure").click()
    page.get_by_role("button", name="Take the link back").click()
    expect(page.get_by_role("button", name="Share by link")).to_be_enabled()
    reader.open(link.removeprefix(server.origin))
    expect(reader.page.get_by_role("alert")).to_contain_text("not shared any more")

    bench.open("/ui/sandbox")
    page.get_by_role("button", name="Delete Echo against failure").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("link", name="Echo against failure")).to_have_count(0)


def test_a_changed_prompt_marks_the_answers_of_the_earlier_one(bench):
    page = bench.page
    columns = choose(page, "echo/echo", "echo/count-2")
    page.get_by_role("button", name="Run all 2").click()
    expect(state(columns.nth(0))).to_have_text("Done")
    page.get_by_label("Prompt", exact=True).fill("Another")
    expect(columns.nth(0).get_by_text("of an earlier input")).to_be_visible()


def test_on_a_phone_the_models_stand_one_below_the_other(opening, server):
    shown = opening(server, viewport={"width": 360, "height": 740})
    shown.open("/ui/sandbox")
    columns = shown.page.locator(".column")
    first, second = columns.nth(0).bounding_box(), columns.nth(1).bounding_box()
    assert second["y"] >= first["y"] + first["height"]
    assert not shown.is_too_wide


def test_six_stream_at_once_and_everything_else_still_answers(bench, raw):
    page = bench.page
    models = [f"echo/count-{number}-wait-90" for number in range(4001, 4007)]
    columns = choose(page, *models)
    page.get_by_role("button", name="Run all 6").click()
    for index in range(6):
        expect(columns.nth(index).locator(".answer")).to_contain_text("1 2 3")
        expect(state(columns.nth(index))).to_have_text("Answering")
    # Browsers open six connections to a server and no more, for all of their tabs.
    beside = page.context.new_page()
    beside.goto(f"{bench.origin}/ui/requests?search=count-400")
    expect(beside.get_by_role("row").filter(has_text="echo/count-400")).to_have_count(6)
    beside.close()
    for index in (0, 5):
        columns.nth(index).get_by_role("button", name=re.compile("^Stop")).click()
        expect(state(columns.nth(index))).to_have_text("Stopped")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved, without the answers that are still coming.")).to_be_visible()
    columns.nth(0).get_by_role("link", name="The request").click()
    expect(page.get_by_role("tabpanel")).to_be_visible()

    def ended():
        found = raw.get("/telecine/v1/requests", params={"search": "count-400"}).json()
        return [each["state"] for each in found["requests"]] == ["cancelled"] * 6

    assert eventually(ended)


def test_beyond_four_a_failure_is_told_at_once_too(bench):
    page = bench.page
    columns = choose(page, *["echo/count-3000-wait-60"] * 4, "echo/fail-503")
    page.get_by_role("button", name="Run all 5").click()
    expect(state(columns.nth(4))).to_have_text("Failed")
    expect(columns.nth(4).get_by_role("alert")).to_contain_text("503")
    page.get_by_role("button", name="Stop all").click()
    expect(state(columns.nth(3))).to_have_text("Stopped")


def test_what_each_may_cost_and_all_together_is_said_before_the_run(bench):
    page = bench.page
    columns = choose(page, GEMINI, "anthropic/claude-sonnet-4-5", "echo/echo")
    for index, sent in enumerate(["Sent as the file itself", "Shown as"]):
        estimate = columns.nth(index).locator(".estimate")
        expect(estimate).to_contain_text(re.compile(r"\$0\.\d+ to \$0\.\d+"))
        expect(estimate).to_contain_text(sent)
    expect(columns.nth(2).locator(".estimate")).to_contain_text("Free")
    expect(page.locator(".sum")).to_contain_text(re.compile(r"together: \$\d\.\d+ to \$\d\.\d+$"))
    choose(page, GEMINI, "local/nothing")
    expect(columns.nth(1).locator(".estimate .problem")).to_contain_text("nothing")


def test_with_no_key_the_embedded_models_are_compared_by_keyboard(opening, bare):
    shown = opening(bare)
    page = shown.page
    shown.open("/ui/sandbox")
    expect(page.get_by_role("complementary", name="Models")).to_contain_text("GEMINI_API_KEY")
    page.get_by_role("button", name="Use the sample clip").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Remove sample.mp4")).to_be_visible()
    columns = choose(page, "local/report", "local/read")
    page.get_by_label("Prompt", exact=True).press("Control+Enter")
    for index in range(2):
        expect(state(columns.nth(index))).to_have_text("Done", timeout=90_000)
        expect(columns.nth(index).locator(".figures")).to_contain_text("free")
    expect(columns.nth(0).locator(".answer")).to_contain_text(re.compile("ask not", re.IGNORECASE))
