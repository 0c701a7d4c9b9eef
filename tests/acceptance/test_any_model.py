"""Any video-capable model, and proof that it saw the video: the installed server in front of
`telecine fake-upstream`, asked by the published clients.

What is told (answers, receipts, ledger, estimates) is compared with what the fake was really sent.
"""

import itertools
import json
import random
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import fal_client
import pytest
from tests.acceptance.conftest import ENDPOINT, calling
from tests.acceptance.support.clips import DATA
from tests.acceptance.support.jobs import Job
from tests.acceptance.support.node import Script
from tests.acceptance.support.server import KEY, command
from tests.acceptance.support.waiting import eventually
from tests.fakes import clips as made

CLIP = DATA / "onscreen_instructions_silent.mp4"  # of 6 seconds
SPEECH = DATA / "jfk_slides.mp4"

# In what form a video gets there that was given by its address, and one that was given as bytes.
ROUTES = {
    "google/gemini-2.5-flash": ("file", "file"),
    "qwen/qwen3.5-27b": ("file", "file"),
    "pictures/only": ("frames", "frames"),
    "gemini/gemini-2.5-flash": ("file", "file"),
    "anthropic/claude-sonnet-4-5": ("frames", "frames"),
    "vllm/Qwen/Qwen3-VL-8B": ("file", "file"),
    "sglang/Qwen/Qwen3-VL-8B": ("file", "file"),
    "llamacpp/Qwen/Qwen3-VL-8B": ("file", "file"),
    "ollama/qwen3-vl:8b": ("frames", "frames"),
    "dashscope/qwen3-vl-plus": ("url", "file"),
    "zai/glm-4.6v": ("url", "file"),
    "kimi/kimi-k2.6": ("file", "file"),
    "ark/seed-2.0-lite": ("url", "file"),
    "generic/some-model": ("file", "file"),
}
# The vendors' prices here are those that the fake bills.
CHARGED = ["dashscope/qwen3-vl-plus", "zai/glm-4.6v", "kimi/kimi-k2.6", "ark/seed-2.0-lite"]
# What is told as it is billed, or oddly, or not billed; and what can be learnt afterwards.
TOLD = ["usage-twice", "usage-in-last-chunk", "thoughts", "length-then-error", "late-error", "crlf"]
ODD = ["comments", "filtered", "400", "500", "html", "silent-drop", "byok", "moderated"]
ASKED = ["no-usage", "null-cost", "cut", "middle-error", "word-code", "zero-prompt"]
CATALOG = '\n[models.catalog."openrouter/pictures/only"]\nvideo = ["frames"]\n' + "".join(
    f'[models.catalog."{name}"]\nprice_prompt = "0.3"\nprice_completion = "2.5"\n'
    for name in (
        *(*CHARGED, "gemini/fake/silent-drop"),
        *(f"dashscope/fake/{switch}" for switch in TOLD),
    )
)
LONG = '[models.catalog."openrouter/qwen/qwen3.5-27b"]\ncontext_tokens = 131072\n'
TUBE = "https://www.youtube.com/watch?v=dQw4w9WgXcQ"


@pytest.fixture(scope="module")
def telecine(in_front_of_all):
    return in_front_of_all(CATALOG)


@pytest.fixture(scope="module")
def raw(telecine):
    """Plain HTTP to it, with the key."""
    with calling(telecine.origin) as client:
        yield client


@pytest.fixture
def ask(telecine, fake, python):
    """Asks through fal's client about the silent clip; gives the receipt, and what the fake got."""
    client = python(telecine.origin)

    def ask(model, *videos, **more):
        given = {"prompt": "What is in it?", "model": model, "video_urls": videos or [inline()]}
        fake.forget()
        answer = client.run(ENDPOINT, {**given, "receipt": True, **more})
        return answer["receipt"], fake.requests()

    ask.client = client
    return ask


@pytest.fixture
def refused(ask):
    """Asks for what is refused; gives the problems."""

    def refused(model, *videos, **more):
        with pytest.raises(fal_client.FalClientHTTPError) as caught:
            ask(model, *videos, **more)
        assert caught.value.status_code == 422
        return caught.value.response.json()["detail"]

    return refused


def inline(path=CLIP):
    return fal_client.encode_file(str(path))


def counted(request):
    """What the fake says that the prompt and the answer came to, in whatever words."""
    match request["usage"]:
        case {"prompt_tokens": prompt, "completion_tokens": completion}:
            return prompt, completion
        case {"promptTokenCount": prompt, **rest}:
            return prompt, rest["candidatesTokenCount"] + rest.get("thoughtsTokenCount", 0)
        case {"input_tokens": prompt, "output_tokens": completion}:
            return prompt, completion


def entries(raw, request_id):
    """The ledger's rows of a request."""
    return raw.get(f"/telecine/v1/requests/{request_id}").json()["usage"]


def costs(raw, request_id):
    return [Decimal(entry["cost"]) for entry in entries(raw, request_id)]


def agree(receipt, request, form):
    """The receipt says of the one video what the fake got."""
    [video] = receipt["videos"]
    sent = video["sent"]
    assert sent["as"] == form
    kinds = Counter(each["kind"] for each in request["media"])
    match form:
        case "file":
            assert kinds == {"video": 1}
            assert request["media"][0]["sha256"] == sent["sha256"]
            assert "prepared" in sent or sent["sha256"] == video["sha256"]
        case "frames":
            assert kinds == {"image": sent["frames"]}
            assert sum(each["bytes"] for each in request["media"]) == sent["bytes"]
        case "url":
            assert not request["media"]
            assert request["links"] == [video["origin"]]
    usage = receipt["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == counted(request)
    if billed := Decimal(request["billed"]):
        assert Decimal(receipt["cost"]["usd"]) == billed
    else:
        assert receipt["cost"] == {"usd": None, "source": "unknown", "known_usd": "0"}


# ---------------------------------------------------------------- every route, every way


@pytest.mark.parametrize("model", ROUTES)
def test_receipt_ledger_and_fake_agree_on_every_route_however_the_video_was_given(
    model, ask, raw, fake, clips
):
    uploaded = ask.client.upload_file(CLIP)
    by_address, as_bytes = ROUTES[model]
    for video, form in (
        (f"{clips}/{CLIP.name}", by_address),
        (inline(), as_bytes),
        (uploaded, as_bytes),
    ):
        receipt, [request] = ask(model, video)
        agree(receipt, request, form)
        [entry] = eventually(lambda: entries(raw, receipt["request_id"]))  # noqa: B023
        assert Decimal(entry["cost"] or 0) == fake.total


def test_javascript_gets_the_same_from_run_stream_and_queue(telecine, fake, clips):
    fake.forget()
    models = list(ROUTES)
    answers = Script(
        "any.asked",
        {
            "origin": telecine.origin,
            "key": KEY,
            "prompt": "What is in it?",
            "models": models,
            "path": str(CLIP),
            "url": f"{clips}/{CLIP.name}",
        },
    ).result(100)
    told = [answer for model in models for answer in answers[model]]
    for request, answer in zip(fake.requests(), told, strict=True):
        form = answer["receipt"]["videos"][0]["sent"]["as"]
        agree(answer["receipt"], request, form)
        assert answer["output"].startswith("I saw ")
    bill = sum(Decimal(a["receipt"]["cost"]["usd"] or 0) for a in told)
    assert bill == fake.total > 0


def test_a_model_that_does_not_hear_is_given_what_is_said_with_its_times(ask):
    receipt, [request] = ask("pictures/only", inline(SPEECH))
    [video] = receipt["videos"]
    assert video["sent"]["transcript"] is True
    text = json.dumps(request["document"])
    assert "ask not what your country can do for you" in text.lower()
    assert re.search(r"Said 00:\d\d-00:\d\d: ", text)
    silenced, [without] = ask("pictures/only", inline(SPEECH), audio=False)
    assert silenced["videos"][0]["sent"]["transcript"] is False
    assert "Said 00:" not in json.dumps(without["document"])


# ---------------------------------------------------------------- options


def seconds(request):
    return sum(each["seconds"] for each in request["media"])


@pytest.mark.parametrize("model", ROUTES)
def test_a_range_is_what_the_model_gets_and_no_more(ask, model):
    receipt, [request] = ask(model, start=1, end=4)
    sent = receipt["videos"][0]["sent"]
    if sent["as"] == "frames":
        assert all(1 <= time <= 4 for time in sent["times"])
    elif model.startswith("gemini/"):
        part = request["document"]["contents"][0]["parts"][0]
        assert part["videoMetadata"] == {"startOffset": "1s", "endOffset": "4s"}
    else:
        assert seconds(request) == pytest.approx(3, abs=0.1)
        assert sent["prepared"]["start"] == 1


@pytest.mark.parametrize("model", ROUTES)
def test_fps_and_a_number_of_frames_are_kept_to(ask, model):
    """Two of six seconds' pictures, by whatever means; on every route as a limit."""
    receipt, [request] = ask(model, fps=0.5, max_frames=2)
    sent, said = receipt["videos"][0]["sent"], json.dumps(request["document"])
    if sent["as"] == "frames":
        assert len(request["media"]) == sent["frames"] == 2
    elif "prepared" in sent:
        assert sent["prepared"]["fps"] * 6 <= 2.01
    else:
        name = {"vllm": "num_frames", "sglang": "max_frames"}
        word = name.get(model.partition("/")[0], "fps")
        assert float(re.search(rf'"{word}": ([\d.]+)', said)[1]) in (2, pytest.approx(1 / 3, 0.01))
    assert not receipt["warnings"]


@pytest.mark.parametrize("model", ROUTES)
def test_resolution_and_silence_reach_the_model(ask, model):
    receipt, [request] = ask(model, inline(SPEECH), resolution="low", audio=False, end=2)
    sent, said = receipt["videos"][0]["sent"], json.dumps(request["document"])
    words = ("MEDIA_RESOLUTION_LOW", "max_pixels", "max_tokens_per_frame")
    is_scaled = sent["as"] == "frames" or sent.get("prepared", {}).get("width") == 448
    assert is_scaled or any(word in said for word in words)
    assert "Said 00:" not in said
    if "prepared" in sent and model.startswith(("gemini/", "google/")):
        assert sent["prepared"]["audio"] is False


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
WANTED = {"type": "json_schema", "json_schema": {"name": "seen", "schema": SCHEMA, "strict": True}}
NO_SEED = ("anthropic/", "zai/", "kimi/", "ark/")


@pytest.mark.parametrize("model", ROUTES)
def test_options_of_the_answer_are_sent_or_told(ask, model):
    """The fake never answers in JSON: that is told as well."""
    form = {"type": "json_object"} if model.startswith("ark/") else WANTED
    options = {"reasoning": "high", "seed": 7, "stop": ["###"], "temperature": 0.5}
    receipt, [request] = ask(model, response_format=form, **options)
    said, warnings = json.dumps(request["document"]), " ".join(receipt["warnings"])
    assert "###" in said
    assert any(word in said for word in ("high", "think", "budget"))
    if model.startswith(NO_SEED):
        assert "seed here: it is ignored" in warnings
    else:
        assert re.search(r'"seed": 7\b', said)
    assert "integer" in said or "json_object" in said
    assert "The answer is not JSON" in warnings


@pytest.mark.parametrize(
    ("model", "option", "value"),
    [
        ("anthropic/claude-sonnet-4-5", "seed", 7),
        ("zai/glm-4.6v", "seed", 7),
        ("vllm/Qwen/Qwen3-VL-8B", "provider", {"only": ["somebody"]}),
        ("echo/echo", "reasoning", "high"),
        ("qwen/qwen3.5-27b", "response_format", WANTED),
    ],
)
def test_strict_refuses_at_the_option_what_else_is_a_warning(ask, refused, model, option, value):
    assert ask(model, **{option: value})[0]["warnings"]
    [problem] = refused(model, strict=True, **{option: value})
    assert problem["loc"] == ["body", option]


# ---------------------------------------------------------------- seen, or refused


def dropped(detail):
    [problem] = detail
    assert problem["type"] == "video_not_consumed"
    assert problem["loc"] == ["body", "video_urls", 0]
    assert "none of video" in problem["ctx"]["evidence"]


def test_a_video_that_was_dropped_in_silence_is_an_error_of_run_stream_and_queue(
    refused, python, telecine, raw, fake
):
    model = "gemini/fake/silent-drop"
    given = {"prompt": "What is in it?", "model": model, "video_urls": [inline()]}
    dropped(refused(model))
    *_, last = python(telecine.origin).stream(ENDPOINT, given)
    assert "did not see video 1: the prompt was" in last["error"]
    handle = python(telecine.origin).submit(ENDPOINT, given)
    with pytest.raises(fal_client.FalClientHTTPError) as caught:
        handle.get()
    dropped(caught.value.response.json()["detail"])
    story = raw.get(f"/telecine/v1/requests/{handle.request_id}").json()
    assert story["receipt"]["output"] == "A charming outdoor cafe."
    assert story["receipt"]["videos"][0]["seen"] == "no"
    assert costs(raw, handle.request_id) == [list(fake.bill().values())[-1]]


@pytest.mark.parametrize(
    "route", ["openrouter", "vllm", "sglang", "anthropic", "dashscope", "generic"]
)
def test_where_figures_only_suggest_that_it_was_dropped_strict_makes_it_an_error(
    ask, refused, route
):
    model = f"{route}/fake/silent-drop"
    receipt, _ = ask(model)
    assert any("may not have seen video 1" in warning for warning in receipt["warnings"])
    assert receipt["videos"][0]["seen"] == "unknown"
    [problem] = refused(model, strict=True)
    assert problem["type"] == "video_not_consumed"


# ---------------------------------------------------------------- another form, another model


def test_a_form_that_is_refused_is_followed_by_the_next_and_every_step_is_told(
    ask, fake, clips, raw
):
    with fake.switched(switch="413", times=2):
        receipt, requests = ask("dashscope/qwen3-vl-plus", f"{clips}/{CLIP.name}")
    steps = [(delivery["forms"], delivery["ended"]) for delivery in receipt["deliveries"]]
    assert [forms for forms, _ in steps] == [["url"], ["file"], ["frames"]]
    assert ["413" in ended for _, ended in steps] == [True, True, False]
    assert [bool(request["links"]) for request in requests] == [True, False, False]
    agree(receipt, requests[-1], "frames")
    story = raw.get(f"/telecine/v1/requests/{receipt['request_id']}").json()
    lines = [line["message"] for line in story["logs"]]
    assert [line.rpartition("; ")[2] for line in lines if "; not sent as" in line] == [
        "not sent as url then",
        "not sent as file then",
    ]


def test_when_a_model_fails_the_next_of_models_answers_and_the_receipt_says_so(ask):
    others = ["vllm/fake/503", "google/gemini-2.5-flash"]
    receipt, requests = ask("openrouter/fake/503", models=others)
    assert [request["model"] for request in requests] == [
        *("fake/503", "fake/503", "google/gemini-2.5-flash"),
    ]
    assert receipt["provider_model"] == "google/gemini-2.5-flash"
    assert [each["model"] for each in receipt["fallbacks"]] == ["openrouter/fake/503", others[0]]
    agree(receipt, requests[-1], "file")


# ---------------------------------------------------------------- YouTube


@pytest.mark.parametrize(
    ("given", "start"),
    [
        ("https://www.youtube.com/shorts/dQw4w9WgXcQ", None),
        ("https://youtu.be/dQw4w9WgXcQ?si=x&t=43", 43),
        ("https://m.youtube.com/watch?v=dQw4w9WgXcQ&list=abc&t=1m3s", 63),
        ("https://music.youtube.com/watch?v=dQw4w9WgXcQ", None),
        ("https://www.youtube.com/embed/dQw4w9WgXcQ?start=5", 5),
        ("https://www.youtube.com/live/dQw4w9WgXcQ", None),
    ],
)
def test_every_form_of_a_youtube_link_gets_there_in_one_form_with_its_time_mark(ask, given, start):
    receipt, [request] = ask("gemini/gemini-2.5-flash", given)
    part = request["document"]["contents"][0]["parts"][0]
    assert part["fileData"]["fileUri"] == TUBE
    assert part.get("videoMetadata") == (start and {"startOffset": f"{start}s"})
    assert receipt["videos"][0]["sent"]["as"] == "link"
    _, [request] = ask("google/gemini-2.5-flash", given)
    assert request["links"][0].partition("&")[0] == TUBE
    assert request["document"]["provider"] == {"only": ["google-ai-studio"]}


@pytest.mark.parametrize("model", [name for name in ROUTES if "gemini" not in name])
def test_a_route_that_takes_no_youtube_links_says_so_before_anything_is_sent(refused, fake, model):
    [problem] = refused(model, TUBE)
    assert (problem["loc"], problem["type"]) == (["body", "video_urls", 0], "feature_not_supported")
    assert "Gemini" in problem["msg"]
    assert fake.requests() == []


# ---------------------------------------------------------------- money


def test_a_stream_whose_caller_leaves_costs_what_the_provider_bills_for_it(raw, fake):
    fake.forget()
    given = {"prompt": "Tell me more", "model": "openrouter/fake/slow", "video_urls": [inline()]}
    with raw.stream("POST", f"/{ENDPOINT}/stream", json=given) as events:
        request_id = events.headers["x-fal-request-id"]
        next(line for line in events.iter_lines() if line.startswith("data: "))
    [billed] = fake.bill().values()
    assert fake.requests()[0]["was_cut"]
    settled = eventually(
        lambda: [e for e in entries(raw, request_id) if e["cost_source"] == "billed"]
    )
    assert [Decimal(entry["cost"]) for entry in settled] == [billed]


def test_estimate_and_plan_say_what_is_sent_and_what_it_costs(ask, raw, telecine, fake, clips):
    for model in ("gemini/gemini-2.5-flash", "pictures/only", "dashscope/qwen3-vl-plus"):
        url, options = f"{clips}/{CLIP.name}", {"start": 1, "end": 5, "fps": 1}
        given = {"prompt": "What is in it?", "model": model, "max_tokens": 100, **options}
        told = raw.post("/telecine/v1/estimate", json={**given, "video_urls": [url]}).json()
        ran = command(
            *("plan", url, "-m", model, "-p", given["prompt"], "--json"),
            *("--start", "1", "--end", "5", "--fps", "1"),
            folder=telecine.folder,
            **fake.keys,
        )
        [planned] = json.loads(ran.stdout)["plan"]["videos"]
        assert told["plan"]["videos"] == [planned]
        receipt, [request] = ask(model, url, max_tokens=100, **options)
        assert receipt["plan"]["videos"] == [planned]
        agree(receipt, request, planned["as"])
        if planned["as"] == "frames":
            assert planned["frames"]["count"] == len(request["media"])
        if model.startswith("gemini/"):
            assert told["prompt_tokens"] == pytest.approx(counted(request)[0], rel=0.05)
            low, high = Decimal(told["cost"]["low"]), Decimal(told["cost"]["high"])
            assert low * Decimal("0.95") <= Decimal(request["billed"]) <= high


def test_models_that_take_video_for_little_are_listed(telecine, fake, raw):
    ran = command(
        *("models", "--video", "--max-price", "0.3", "--json"),
        folder=telecine.folder,
        **fake.keys,
    )
    listed = json.loads(ran.stdout)["models"]
    names = {each["model"] for each in listed}
    assert {"openrouter/google/gemini-2.5-flash", "gemini/gemini-2.5-flash"} <= names
    assert not {"openrouter/text/only", "openrouter/openrouter/auto"} & names
    assert all(
        Decimal(each["price_per_token"]["prompt"]) * 10**6 <= Decimal("0.3") for each in listed
    )
    assert all(each["takes"]["video"] for each in listed)
    told = raw.get("/telecine/v1/models", params={"video": "true", "max_price": "0.3"}).json()
    assert {each["model"] for each in told["models"]} == names


def mixed(count):
    """Questions to everybody who charges, many of which go wrong; the same on every run."""
    chance = random.Random(20)
    for number in range(count):
        whom = chance.choice(["openrouter", "openrouter", "gemini", "anthropic", "vendor"])
        models = {
            "openrouter": [f"openrouter/fake/{switch}" for switch in (*TOLD, *ODD, *ASKED)],
            "gemini": ["gemini/gemini-2.5-flash", "gemini/gemini-2.5-pro"],
            "anthropic": ["anthropic/claude-sonnet-4-5", "anthropic/claude-haiku-4-5"],
            "vendor": [*CHARGED, *(f"dashscope/fake/{switch}" for switch in TOLD)],
        }
        given = {"prompt": f"Question {number}", "model": chance.choice(models[whom])}
        if chance.random() < 0.2:
            given["models"] = ["google/gemini-2.5-flash"]
        if chance.random() < 0.1:
            given["video_urls"] = [inline()]
        yield given


def test_a_few_hundred_calls_are_booked_as_they_were_billed_to_the_last_digit(raw, telecine, fake):
    fake.forget()
    spent = ledger(telecine)

    def called(given):
        mode = int(given["prompt"].split()[1]) % 3
        path = [ENDPOINT, f"{ENDPOINT}/stream", f"queue/{ENDPOINT}"][mode]
        answer = raw.post(f"/{path}", json={**given, "reasoning": False}, headers=NO_RETRY)
        if mode == 2:
            Job(raw, answer.json()["request_id"]).becomes("COMPLETED")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(called, mixed(240)))
    billed = fake.bill()
    assert len(billed) > 150
    assert eventually(lambda: ledger(telecine) - spent == sum(billed.values()), 30)
    assert fake.total == sum(billed.values())


NO_RETRY = {"x-fal-no-retry": "1"}


def ledger(telecine):
    """What everything came to, as `telecine usage` adds it up."""
    ran = command("usage", "--json", "--data", telecine.data, folder=telecine.folder)
    return sum(Decimal(total["cost"]) for total in json.loads(ran.stdout))


# ---------------------------------------------------------------- upstreams that do not answer


def test_a_provider_that_is_busy_is_asked_again_when_it_says_and_by_nobody_before(raw, fake):
    """Seven seconds: a live call waits like one from the queue."""
    fake.forget()
    given = {"prompt": "What is in it?", "model": "kimi/kimi-k2.6"}
    with fake.switched(switch="429", times=1):
        queued = Job(raw, raw.post(f"/queue/{ENDPOINT}", json=given).json()["request_id"])
        assert eventually(fake.requests)
    began = time.monotonic()
    assert raw.post(f"/{ENDPOINT}", json=given).status_code == 200
    queued.becomes("COMPLETED")
    assert time.monotonic() - began > 6
    assert queued.result().json()["output"]
    assert len(fake.requests()) == 3
    lines = [line["message"] for line in queued.status(logs=1).json()["logs"]]
    assert any("429" in line for line in lines), lines


def test_a_dead_provider_does_not_eat_the_queue(in_front_of_all, fake):
    server = in_front_of_all(arguments=["--jobs", "2"])
    fake.forget()
    with calling(server.origin) as client:

        def submit(model):
            document = {"prompt": "What is in it?", "model": model}
            answer = client.post(f"/queue/{ENDPOINT}", json=document)
            return Job(client, answer.json()["request_id"])

        dead = [submit("openrouter/fake/503") for _ in range(12)]
        living = submit("google/gemini-2.5-flash")
        living.becomes("COMPLETED")
        assert living.result().status_code == 200
        assert len(fake.about("fake/503")) <= 2, "the others were not sent to find out again"
        for job in dead:
            job.cancel()
    assert server.stop() == 0


# ---------------------------------------------------------------- long videos

MINUTES = 23


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Twenty-three minutes at a picture a second, each of another grey."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    frames = (
        (1000 * second, made.picture(64, 48, (second % 256,) * 3)) for second in range(MINUTES * 60)
    )
    made.write(path, frames, rate=1)
    return path


def test_a_long_video_goes_in_stretches_and_a_killed_server_pays_for_none_of_them_twice(
    in_front_of_all, fake, film
):
    server = in_front_of_all(LONG)
    fake.forget()
    given = {"prompt": "Who speaks?", "model": "qwen/qwen3.5-27b", "video_urls": [inline(film)]}
    with calling(server.origin) as client:
        told = client.post("/telecine/v1/estimate", json=given).json()
        stretches = len(told["plan"]["segments"])
        assert stretches >= 5
        with fake.switched(delay=1.0):
            job = Job(client, client.post(f"/queue/{ENDPOINT}", json=given).json()["request_id"])
            done = eventually(lambda: finished(job))
            server.kill()
    assert 1 <= len(done) < stretches
    server.start()
    with calling(server.origin) as client:
        job = Job(client, job.id)
        job.becomes("COMPLETED")
        assert job.result().status_code == 200
        story = client.get(f"/telecine/v1/requests/{job.id}").json()
    asked = Counter(found[0] for found in map(stretch, fake.requests()) if found)
    assert len(asked) == stretches
    assert [asked[label] for label in done] == [1] * len(done)
    segments = story["receipt"]["segments"]
    assert [each["number"] for each in segments] == list(range(1, stretches + 1))
    assert sum(each["resumed"] for each in segments) >= len(done)
    assert segments[0]["start"] == 0
    assert segments[-1]["end"] == pytest.approx(60 * MINUTES, abs=1)
    assert all(a["end"] == b["start"] for a, b in itertools.pairwise(segments))
    last = fake.requests()[-1]
    assert "stretch by stretch" in json.dumps(last["document"])
    assert {each["kind"] for each in last["media"]} == {"image"}
    # Of those under way at the kill nobody can be told what they came to: they had no id yet.
    booked = sum(Decimal(entry["cost"]) for entry in story["usage"] if entry["cost"] is not None)
    once = {str(stretch(each)): Decimal(each["billed"]) for each in fake.requests()}
    assert booked == sum(once.values())
    assert server.stop() == 0


def stretch(request):
    """The stretch that a question is about."""
    return re.findall(r"from ([\d:.]+) to", json.dumps(request["document"]))


def finished(job):
    """Where the stretches begin that the log tells are done."""
    lines = [line["message"] for line in job.status(logs=1).json()["logs"]]
    found = [re.match(r"segment \d+/\d+ done: ([\d:.]+)-", line) for line in lines]
    return [each[1] for each in found if each]
