"""Issue parts 1 and 2: the Playground, from the form to the receipt, and the call from code."""

import json
import re

import httpx
import pytest
from playwright.sync_api import expect
from tests.acceptance.support.clips import DATA
from tests.acceptance.support.server import KEY, free_port
from tests.acceptance.support.waiting import eventually

CLIP = DATA / "jfk_slides.mp4"
ENDPOINT = "openrouter/router/video"
GEMINI = "google/gemini-2.5-flash"


@pytest.fixture
def play(shown):
    """Opens the Playground for a model, with a prompt and, if wanted, a clip."""

    def play(model, *, clip=CLIP, prompt="What is said?"):
        shown.open(f"/ui/playground?model={model}&prompt={prompt}")
        if clip:
            shown.page.locator("input[type=file]").first.set_input_files(clip)
            uploaded(shown.page)
        return shown.page

    return play


def uploaded(page):
    expect(page.get_by_role("button", name=re.compile("^Remove "))).to_have_count(1)


def mode(page, name):
    page.get_by_role("radio", name=name, exact=True).click()


def go(page):
    page.get_by_role("button", name=re.compile("^(Run|Stream|Queue) it$")).click()


def state(page):
    return page.get_by_role("region", name="Result").get_by_role("status").first


def answer(page):
    return page.get_by_role("region", name="Answer")


def videos(page):
    return page.get_by_role("group", name=re.compile("^Videos?$"))


# ---------------------------------------------------------------- sign-in


def test_one_signs_in_with_a_key_and_out_again(opening, server):
    shown = opening(server, key=None)
    page = shown.page
    shown.open("/")
    field = page.get_by_label("Key", exact=True)
    field.fill("nobody:nothing")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    field.fill(KEY)
    field.press("Enter")
    expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
    expect(page.get_by_role("main")).to_be_focused()
    assert KEY.partition(":")[2] not in json.dumps(page.context.storage_state())
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    expect(field).to_be_visible()
    page.reload()
    expect(field).to_be_visible()


# ---------------------------------------------------------------- the form


def test_the_form_is_that_of_the_endpoints_own_document(play, raw):
    page = play("echo/echo", clip=None)
    document = raw.get("/api/openapi/queue/openapi.json", params={"endpoint_id": ENDPOINT}).json()
    schemas = document["components"]["schemas"]
    schema = next(each for name, each in schemas.items() if name.endswith("Input"))
    page.get_by_text(re.compile("^More")).click()
    shown = set(page.locator("[name]").evaluate_all("all => all.map((each) => each.name)"))
    by_other_means = {"video_urls", "video_url", "model", "start", "end", "fps", "resolution"}
    media = {name for name in schema["properties"] if re.search("_urls?$", name)}
    assert set(schema["properties"]) - by_other_means - media <= shown
    temperature = schema["properties"]["temperature"]
    page.get_by_label("Temperature").fill(str(temperature["maximum"] + 1))
    mode(page, "Run")
    go(page)
    expect(page.locator(".field.wrong", has_text="Temperature")).to_be_visible()


def test_another_endpoint_has_another_form(play):
    page = play("echo/echo", clip=None)
    page.get_by_label("Endpoint").select_option("openrouter/router")
    expect(videos(page)).to_have_count(0)
    expect(page.get_by_label("Prompt", exact=True)).to_be_visible()


# ---------------------------------------------------------------- videos


def test_a_file_is_dropped_uploaded_and_can_be_removed(play):
    page = play("echo/echo", clip=None)
    drop(page, CLIP)
    uploaded(page)
    expect(page.locator("video")).to_be_visible()
    page.get_by_role("button", name="Remove jfk_slides.mp4").click()
    expect(page.locator("video")).to_have_count(0)


def drop(page, clip):
    place_event(page, clip, "drop")


def place_event(page, clip, kind):
    """The browser's own event, with a file in it, as a hand would cause it."""
    page.evaluate(
        """async ({ bytes, name, kind }) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], name, { type: "video/mp4" }));
          const target = kind === "drop" ? document.querySelector(".clips") : document.body;
          const event = kind === "drop"
            ? new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent(kind, { clipboardData: data, bubbles: true, cancelable: true });
          target.dispatchEvent(event);
        }""",
        {"bytes": list(clip.read_bytes()), "name": clip.name, "kind": kind},
    )


def test_a_file_is_pasted(play):
    page = play("echo/echo", clip=None)
    place_event(page, CLIP, "paste")
    uploaded(page)


def test_an_address_is_added_and_what_is_none_is_told(play):
    page = play("echo/echo", clip=None)
    field = page.get_by_label("Address of a video")
    field.fill("not an address")
    field.press("Enter")
    expect(page.get_by_text("An address begins with")).to_be_visible()
    field.fill("https://www.youtube.com/watch?v=x")
    field.press("Enter")
    expect(page.get_by_text("YouTube link", exact=True)).to_be_visible()


def test_an_upload_shows_its_progress_and_is_cancelled(play):
    page = play("echo/echo", clip=None)
    # A slow line, so that there is something to see.
    page.context.new_cdp_session(page).send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 20_000},
    )
    drop(page, CLIP)
    expect(page.get_by_role("progressbar", name=re.compile("Upload"))).to_be_visible()
    expect(page.get_by_role("button", name="Uploading…")).to_be_disabled()
    expect(state(page)).to_have_text("Uploading")
    page.get_by_role("button", name="Cancel the upload of jfk_slides.mp4").click()
    expect(page.get_by_role("progressbar", name=re.compile("Upload"))).to_have_count(0)
    expect(page.get_by_role("button", name="Uploading…")).to_have_count(0)


def test_clips_are_there_again_however_often_the_page_is_loaded(play):
    page = play("echo/echo")
    for _ in range(3):
        page.reload()
        uploaded(page)
        expect(page.locator("video")).to_be_visible()


def test_what_was_wrong_with_one_clip_is_not_said_of_the_next(play):
    page = play("echo/echo", clip=DATA / "html_error_page.mp4")
    mode(page, "Run")
    go(page)
    expect(state(page)).to_have_text("Failed")
    expect(videos(page)).to_contain_text("HTML page")
    page.get_by_role("button", name=re.compile("^Remove ")).click()
    page.locator("input[type=file]").first.set_input_files(CLIP)
    uploaded(page)
    expect(videos(page)).not_to_contain_text("HTML page")


def test_the_players_handles_choose_what_of_it_is_sent(play, raw):
    page = play("echo/echo")
    begin, end = page.get_by_label("Begin at"), page.get_by_label("End at")
    begin.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    end.focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("[name=start]")).to_have_value("1")
    mode(page, "Run")
    go(page)
    expect(state(page)).to_have_text("Done")
    newest = raw.get("/telecine/v1/requests", params={"limit": 1}).json()["requests"][0]
    asked = raw.get(f"/telecine/v1/requests/{newest['request_id']}").json()["input"]
    assert asked["start"] == 1
    assert asked["end"] > 1


def test_frames_per_second_and_resolution_are_sent(play, raw):
    page = play("echo/count-2")
    page.get_by_label("Frames / s").fill("2")
    page.get_by_label("Resolution").select_option("low")
    mode(page, "Run")
    go(page)

    def found():
        return raw.get("/telecine/v1/requests?model=echo/count-2").json()["requests"]

    assert eventually(found)
    story = raw.get(f"/telecine/v1/requests/{found()[0]['request_id']}").json()
    assert (story["input"]["fps"], story["input"]["resolution"]) == (2, "low")


# ---------------------------------------------------------------- model, estimate


def test_the_picker_finds_models_that_take_videos_with_price_and_context(play):
    page = play("", clip=None)
    field = page.get_by_role("combobox", name="Model", exact=True)
    field.fill("gemini flash")
    option = page.get_by_role("listbox", name="Models").get_by_role("option").first
    expect(option).to_contain_text("video:")
    expect(option).to_contain_text("per million tokens")
    expect(option).to_contain_text("context")
    field.press("ArrowDown")
    field.press("Enter")
    expect(field).to_have_value(re.compile("gemini"))
    expect(page.get_by_role("listbox", name="Models")).to_be_hidden()


def test_the_estimate_comes_before_the_run(play):
    page = play(GEMINI)
    estimate = page.locator(".estimate")
    expect(estimate).to_contain_text(re.compile(r"\$0\.\d+ to \$0\.\d+"))
    expect(estimate).to_contain_text("tokens in")
    expect(estimate).to_contain_text("Sent as the file itself")


# ---------------------------------------------------------------- running


def test_a_stream_shows_text_as_it_comes(play):
    page = play("echo/count-200-wait-2")
    mode(page, "Stream")
    go(page)
    expect(state(page)).to_have_text("Answering")
    expect(answer(page)).to_contain_text("1 2 3")
    expect(state(page)).to_have_text("Done")
    expect(answer(page)).to_contain_text("199 200")


def test_the_queue_shows_its_position_its_log_and_the_end(play):
    page = play("echo/wait-2-log-5")
    mode(page, "Queue")
    go(page)
    expect(state(page)).to_have_text(re.compile("In the queue|Running"))
    page.get_by_role("tab", name=re.compile("^Log")).click()
    expect(page.get_by_role("region", name="Log").get_by_role("listitem")).not_to_have_count(0)
    expect(state(page)).to_have_text("Done")


def test_a_full_queue_tells_the_position(opening, in_front_of_all, asked):
    narrow = in_front_of_all(arguments=["--jobs", "1"])
    with httpx.Client(base_url=narrow.origin, headers={"Authorization": f"Key {KEY}"}) as call:
        before = [
            call.post(f"/queue/{ENDPOINT}", json=asked("echo/wait-60")).json()["cancel_url"]
            for _ in range(3)
        ]
        shown = opening(narrow)
        page = shown.page
        shown.open("/ui/playground?model=echo/echo&prompt=p")
        page.get_by_label("Address of a video").fill(f"{narrow.origin}/ui/sample.mp4")
        page.keyboard.press("Enter")
        mode(page, "Queue")
        go(page)
        expect(state(page)).to_have_text("In the queue, position 2")
        for url in before:
            call.put(url).raise_for_status()
    expect(state(page)).to_have_text("Done")


def test_a_queued_request_goes_on_when_its_page_is_left(play):
    page = play("echo/count-30-wait-3")
    mode(page, "Queue")
    go(page)
    page.get_by_role("link", name="The request").click()
    title = page.locator(".story .title")
    expect(title).to_contain_text("running")
    expect(title).to_contain_text("succeeded")


def test_a_server_that_starts_again_is_waited_for(opening, in_front_of_all):
    again = in_front_of_all(port=free_port())
    shown = opening(again)
    page = shown.page
    shown.open("/ui/playground?model=echo/count-30-wait-3&prompt=p")
    page.locator("input[type=file]").first.set_input_files(CLIP)
    uploaded(page)
    mode(page, "Queue")
    go(page)
    expect(state(page)).to_have_text("Running")
    again.kill()
    expect(state(page)).to_have_text("The server is away: asking again")
    again.start()
    expect(state(page)).to_have_text("Done")
    expect(answer(page)).to_contain_text("29 30")


def test_stopping_hangs_up_on_the_provider(play, fake):
    page = play("openrouter/fake/mute", prompt="said to be stopped")
    mode(page, "Stream")
    go(page)
    expect(state(page)).to_have_text("Answering")
    (call,) = fake.about("said to be stopped")
    assert not call["is_over"]
    page.get_by_role("button", name="Stop", exact=True).click()
    assert eventually(lambda: fake.about("said to be stopped")[0]["is_over"])


@pytest.mark.parametrize("how", ["Run", "Stream", "Queue"])
def test_the_stop_button_cancels_on_the_server_too(play, raw, how):
    model = f"echo/count-3000-wait-6{len(how)}"
    page = play(model, clip=None)
    page.get_by_label("Address of a video").fill(page.url.partition("/ui")[0] + "/ui/sample.mp4")
    page.keyboard.press("Enter")
    mode(page, how)
    go(page)

    def states():
        found = raw.get("/telecine/v1/requests", params={"model": model}).json()["requests"]
        return [each["state"] for each in found]

    assert eventually(lambda: states() == ["running"])
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(state(page)).to_have_text("Stopped")
    assert eventually(lambda: states() == ["cancelled"]), states()


def test_a_failure_says_why_and_what_to_do(play):
    page = play("echo/fail-503")
    mode(page, "Run")
    go(page)
    expect(state(page)).to_have_text("Failed")
    expect(answer(page).get_by_role("alert")).to_contain_text("503")
    expect(answer(page).get_by_role("alert")).to_contain_text("run it again in a moment")


def test_a_server_that_is_gone_is_told_and_the_next_try_works(play):
    page = play("echo/echo")
    mode(page, "Run")
    page.context.set_offline(True)
    go(page)
    expect(state(page)).to_have_text("Failed")
    expect(answer(page).get_by_role("alert")).to_contain_text("Is telecine serve still running?")
    page.context.set_offline(False)
    go(page)
    expect(state(page)).to_have_text("Done")


def test_a_failure_in_the_middle_keeps_what_had_come(play):
    page = play("echo/fail-after-20-500")
    mode(page, "Stream")
    go(page)
    expect(state(page)).to_have_text("Failed")
    expect(answer(page)).to_contain_text("What had come until then")


# ---------------------------------------------------------------- the result


def test_the_tabs_have_text_json_receipt_and_figures(play):
    page = play(GEMINI)
    mode(page, "Stream")
    go(page)
    expect(state(page)).to_have_text("Done")
    expect(answer(page)).to_contain_text("I saw 1 video(s)")
    page.get_by_role("tab", name="JSON").click()
    shown = json.loads(page.get_by_role("region", name="JSON").locator("pre").inner_text())
    assert shown["usage"]["cost"] > 0
    page.get_by_role("tab", name="Receipt").click()
    receipt = page.get_by_role("region", name="Receipt")
    expect(receipt).to_contain_text("sha256")
    expect(receipt.get_by_text("seen", exact=True)).to_be_visible()
    expect(page.locator(".timing")).to_contain_text("in all")
    expect(page.locator("p.figures")).to_contain_text("the provider billed it")


def test_markdown_of_a_model_is_safe_and_its_times_seek(play):
    prompt = "**bold** <img src=x onerror=alert(1)> <script>alert(2)</script> [00:03]"
    page = play("echo/echo", prompt=prompt.replace("%", "%25").replace("#", "%23"))
    mode(page, "Run")
    go(page)
    expect(state(page)).to_have_text("Done")
    expect(answer(page).locator("strong").first).to_have_text("bold")
    assert answer(page).locator("img, script").count() == 0
    page.get_by_role("button", name="[00:03]").click()
    page.wait_for_function("Math.abs(document.querySelector('video').currentTime - 3) < 0.5")


# ---------------------------------------------------------------- from code


def test_the_snippets_say_this_input_and_this_server_and_are_copied(play, server):
    page = play("echo/echo", prompt='It\'s "this"')
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    names = ["JavaScript", "Python", "cURL", "OpenAI SDK", "telecine run"]
    for name in names:
        page.get_by_role("tab", name=name, exact=True).click()
        text = page.get_by_role("region", name=name, exact=True).inner_text()
        assert server.origin in text
        assert "echo/echo" in text
        page.get_by_role("button", name=f"Copy {name}").click()
        assert page.evaluate("navigator.clipboard.readText()").strip() == text.strip()


# ---------------------------------------------------------------- first run


def test_with_no_key_the_embedded_model_answers_a_sample_clip_one_click_away(opening, bare):
    shown = opening(bare)
    page = shown.page
    shown.open("/")
    unlock = page.get_by_role("complementary", name="Models")
    expect(unlock).to_contain_text("OPENROUTER_API_KEY")
    expect(unlock).to_contain_text("GEMINI_API_KEY")
    page.get_by_role("button", name="Try it with the sample clip").click()
    uploaded(page)
    expect(page.get_by_role("combobox", name="Model", exact=True)).to_have_value("local/report")
    expect(state(page)).to_have_text("Done", timeout=90_000)
    expect(answer(page)).to_contain_text(re.compile("ask not", re.IGNORECASE))
    expect(page.locator("p.figures")).to_contain_text("free")
    assert httpx.get(f"{bare.origin}/health").is_success
