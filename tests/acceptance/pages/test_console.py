"""Issue part 4: requests, usage, keys, files, webhooks, providers."""

import re

import httpx
import pytest
from playwright.sync_api import expect
from tests.acceptance.support.clips import DATA
from tests.acceptance.support.receiver import Receiver
from tests.acceptance.support.waiting import eventually

ENDPOINT = "/openrouter/router/video"
GEMINI = "google/gemini-2.5-flash"


@pytest.fixture
def ask(raw, asked):
    """A request through the queue; its id. `wait` for its end unless told otherwise."""

    def ask(model, *, wait=True, webhook=None, **more):
        query = {} if webhook is None else {"fal_webhook": webhook}
        answer = raw.post(f"/queue{ENDPOINT}", params=query, json=asked(model, **more))
        request_id = answer.raise_for_status().json()["request_id"]
        if wait:
            assert eventually(lambda: state(raw, request_id) not in ("queued", "running"))
        return request_id

    return ask


def state(raw, request_id):
    return raw.get(f"/telecine/v1/requests/{request_id}").json()["state"]


def rows(page):
    return page.get_by_role("table", name=re.compile("^Requests")).get_by_role("row")


# ---------------------------------------------------------------- requests


def test_the_list_is_live(shown, ask):
    page = shown.page
    shown.open("/ui/requests?search=echo/log-31")
    expect(page.get_by_text("No request is like that")).to_be_visible()
    ask("echo/log-31")
    expect(rows(page).filter(has_text="echo/log-31")).to_contain_text("succeeded")


def test_search_and_filters_stand_in_the_address(shown, ask):
    page = shown.page
    ask("echo/count-77")
    ask("echo/fail-422")
    shown.open("/ui/requests")
    page.get_by_label("Search").fill("count-77")
    expect(rows(page)).to_have_count(2)
    assert "search=count-77" in page.url
    page.get_by_label("State").select_option("failed")
    expect(page.get_by_text("No request is like that")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("State").select_option("failed")
    expect(rows(page).filter(has_text="echo/fail-422")).not_to_have_count(0)


def test_one_that_is_opened_shows_everything_about_it(shown, ask):
    page = shown.page
    request_id = ask(GEMINI)
    shown.open("/ui/requests")
    rows(page).get_by_role("link", name=GEMINI).first.click()
    expect(page).to_have_url(f"{shown.origin}/ui/requests/{request_id}")
    expect(page.get_by_role("tabpanel")).to_contain_text("I saw 1 video(s)")
    for name, says in [
        ("Input", "jfk_slides.mp4"),
        ("Receipt", "sha256"),
        ("Log", ""),
        ("Attempts", "succeeded"),
        ("Attempts", "the provider billed it"),
        ("Webhooks", "No webhook was asked for"),
    ]:
        page.get_by_role("tab", name=re.compile(f"^{name}")).click()
        expect(page.get_by_role("tabpanel")).to_contain_text(says)


def test_one_that_is_opened_shows_its_webhook(shown, ask, background):
    page = shown.page
    with Receiver(background) as receiver:
        request_id = ask("echo/echo", webhook=receiver.url)
        receiver.wait()
    shown.open(f"/ui/requests/{request_id}")
    page.get_by_role("tab", name="Webhooks").click()
    expect(page.get_by_role("tabpanel")).to_contain_text(receiver.url.partition("?")[0])
    page.get_by_role("tabpanel").get_by_role("button", name="1 attempt").click()
    expect(page.locator("table.inner")).to_contain_text("200")


def test_a_request_is_replayed(shown, ask, raw):
    page = shown.page
    request_id = ask("echo/count-3")
    shown.open(f"/ui/requests/{request_id}")
    page.get_by_role("button", name="Replay").click()
    page.wait_for_url(lambda url: not url.endswith(request_id))
    expect(page.get_by_role("tabpanel")).to_contain_text("1 2 3")
    again = page.url.rpartition("/")[2]
    assert state(raw, again) == "succeeded"


def test_a_request_is_cancelled(shown, ask, raw):
    page = shown.page
    request_id = ask("echo/wait-60", wait=False)
    assert eventually(lambda: state(raw, request_id) == "running")
    shown.open(f"/ui/requests/{request_id}", is_settled=False)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status").filter(has_text="cancelled")).to_be_visible()
    assert state(raw, request_id) == "cancelled"


def test_a_payload_is_deleted_after_a_question(shown, ask, raw):
    page = shown.page
    request_id = ask("echo/echo", prompt="a secret")
    shown.open(f"/ui/requests/{request_id}")
    page.get_by_role("button", name="Delete payload").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert raw.get(f"/telecine/v1/requests/{request_id}").json()["input"]
    page.get_by_role("button", name="Delete payload").click()
    dialog.get_by_role("button", name="Delete payload").click()
    expect(page.get_by_text("The answer is not kept (any more)")).to_be_visible()
    story = raw.get(f"/telecine/v1/requests/{request_id}").json()
    assert (story["input"], story["result_body"], story["receipt"]) == (None, None, None)


# ---------------------------------------------------------------- usage


def test_usage_shows_what_the_ledger_says_and_the_same_as_a_table(shown, ask, raw):
    page = shown.page
    ask(GEMINI)
    told = raw.get("/telecine/v1/usage", params={"by": "model"}).json()["usage"]
    shown.open("/ui/usage")
    by_model = page.locator("figure", has_text="By model")
    for line in told:
        expect(by_model).to_contain_text(line["label"])
    charts = page.get_by_role("img")
    expect(charts.first).to_have_attribute("aria-label", re.compile("Cost by day"))
    page.get_by_role("radio", name="Tokens").click()
    expect(charts.first).to_have_attribute("aria-label", re.compile("Tokens by day"))


# ---------------------------------------------------------------- keys


def test_a_key_is_made_limited_used_and_revoked(shown, server):
    page = shown.page
    shown.open("/ui/keys")
    page.get_by_role("button", name="New key").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("intern")
    dialog.get_by_label("Budget, US dollars").fill("2.50")
    dialog.get_by_role("button", name="Create").click()
    secret = page.locator("pre.secret")
    expect(secret).to_contain_text(":")
    key = secret.inner_text().strip()
    page.get_by_role("button", name="I have it").click()
    row = page.get_by_role("row", name=re.compile("intern"))
    expect(row.first).to_contain_text("$2.50")
    page.get_by_role("button", name="Change intern").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Calls a minute").fill("7")
    dialog.get_by_label("Budget, US dollars").fill("4")
    dialog.get_by_label("Per").select_option("day")
    dialog.get_by_role("button", name="Change").click()
    expect(row.first).to_contain_text("7 calls a minute")
    expect(row.first).to_contain_text("$4.00 a day")
    headers = {"Authorization": f"Key {key}"}
    models = f"{server.origin}/telecine/v1/requests"
    assert httpx.get(models, headers=headers).status_code == 200
    page.get_by_role("button", name="Revoke intern").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("button", name="Revoke intern")).to_have_count(0)
    assert httpx.get(models, headers=headers).status_code == 401
    expect(page.get_by_role("region", name="Audit log")).to_contain_text("key.revoked")


def test_a_key_without_admin_is_told_so(opening, server, raw):
    made = raw.post("/telecine/v1/keys", json={"alias": "plain"}).json()
    shown = opening(server, key=made["key"])
    shown.open("/ui/keys")
    expect(shown.page.locator("main")).to_contain_text("ADMIN")


# ---------------------------------------------------------------- files


def test_a_file_is_uploaded_listed_and_deleted(shown):
    page = shown.page
    shown.open("/ui/files")
    page.get_by_label("Files to upload").set_input_files(DATA / "nasa_webb.mp4")
    row = page.get_by_role("row", name=re.compile(r"nasa_webb\.mp4"))
    expect(row).to_have_count(1)
    url = row.get_by_role("link").get_attribute("href")
    assert httpx.get(url).content == (DATA / "nasa_webb.mp4").read_bytes()
    page.get_by_role("button", name="Delete nasa_webb.mp4").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    assert httpx.get(url).status_code == 404


# ---------------------------------------------------------------- webhooks


def test_a_webhook_shows_every_attempt_and_is_replayed(shown, ask, background):
    page = shown.page
    with Receiver(background, 500) as receiver:
        ask("echo/echo", webhook=receiver.url)
        receiver.wait()
        shown.open("/ui/webhooks")
        receiver_shown = receiver.url.partition("?")[0]
        row = page.locator("table.deliveries tr", has_text=receiver_shown)
        page.get_by_role("button", name="Look again").click()
        expect(row).to_contain_text("HTTP 500")
        row.get_by_role("button", name="1 attempt").click()
        attempts = page.locator("table.inner")
        expect(attempts).to_contain_text("500")
        row.get_by_role("button", name="Replay").click()
        receiver.wait(2)
        page.get_by_role("button", name="Look again").click()
        expect(row).to_contain_text("delivered")
        expect(row).to_contain_text("2 attempts")


# ---------------------------------------------------------------- providers


def test_providers_show_their_health_and_what_mends_it(shown, fake):
    page = shown.page
    shown.open("/ui/providers")
    for name in ("openrouter", "gemini", "anthropic", "echo"):
        card = page.locator(
            "li.panel", has=page.get_by_role("heading", name=re.compile(f"^{name}"))
        )
        expect(card.first).to_contain_text("fine")
    expect(page.locator("main")).to_contain_text(fake.url.removeprefix("http://").split(":")[0])


def test_a_provider_that_does_not_answer_is_told_with_what_mends_it(opening, starting):
    nobody = '[providers.openrouter]\nbase_url = "http://127.0.0.1:9/api/v1"\n'
    shown = opening(starting(nobody, env={"OPENROUTER_API_KEY": "made-up"}))
    shown.open("/ui/providers")
    heading = shown.page.get_by_role("heading", name=re.compile("^openrouter"))
    card = shown.page.locator("li.panel", has=heading)
    expect(card).to_contain_text("not usable")
    expect(card).to_contain_text("To mend it:")
    expect(card).to_contain_text("key from OPENROUTER_API_KEY")


def test_without_keys_it_says_which_variable_unlocks_what(opening, bare):
    shown = opening(bare)
    shown.open("/ui/providers")
    unlock = shown.page.get_by_role("region", name="What a key would unlock")
    for name in ("OPENROUTER_API_KEY", "GEMINI_API_KEY", "ANTHROPIC_API_KEY"):
        expect(unlock).to_contain_text(name)
