"""Gemini's own language, beyond what all providers have in common: against the fake."""

from decimal import Decimal

import pytest
from tests.fakes import upstream as fake
from tests.fakes.gemini import FLASH, call, clip, failed, heard, logs, opened, text, usage

from telecine.errors import (
    FormRefused,
    InputError,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
    TooLarge,
)
from telecine.models import (
    Delta,
    FilePart,
    FramesPart,
    Image,
    ImagePart,
    LinkPart,
    Still,
    Upstream,
    Usage,
    View,
)

LINK = LinkPart("https://www.youtube.com/watch?v=abc", ("body", "video_urls", 0))


@pytest.fixture(scope="module")
def upstream():
    with fake.serve() as served:
        yield served


def ask(run, upstream, question, **more):
    async def use():
        async with opened(upstream, **more) as gemini:
            return await heard(gemini, question)

    return run(use())


def fail(run, upstream, question, **more):
    async def use():
        async with opened(upstream, **more) as gemini:
            return await failed(gemini, question)

    return run(use())


def switch(name, *parts, **more):
    return call(*parts, model=f"fake/{name}", **more)


# ---------------------------------------------------------------- what streams do


@pytest.mark.parametrize("name", ["crlf", "cr", "comments", "bytes", "snake-case", "no-stream"])
def test_the_text_is_what_was_said_however_it_is_sent(run, upstream, tmp_path, name):
    events = ask(run, upstream, switch(name, clip(tmp_path / "v")))
    assert text(events) == upstream.last.said
    assert usage(events).by_modality["video"] == 258


def test_characters_cut_in_two_are_put_together(run, upstream):
    events = ask(run, upstream, switch("alphabets+bytes"))
    assert text(events).startswith("Grüße, 世界 🎬 ")


@pytest.mark.parametrize("wanted", [True, False])
def test_thoughts_are_told_when_asked_for_and_always_counted(run, upstream, wanted):
    events = ask(run, upstream, call(reasoning=wanted))
    told = "".join(event.reasoning for event in events if isinstance(event, Delta))
    assert told == ("Let me look." if wanted else "")
    found = usage(events)
    words = len(upstream.last.said.split())
    assert (found.reasoning_tokens, found.completion_tokens) == (5, words + 5)


def test_without_thinking_nothing_is_thought(run, upstream):
    events = ask(run, upstream, call(effort="none"))
    assert usage(events).reasoning_tokens is None


def test_thinking_until_the_tokens_ran_out_is_an_empty_answer_with_a_warning(run, upstream):
    events = ask(run, upstream, switch("thoughts-only"))
    assert text(events) == ""
    assert "raise max_tokens" in logs(events)[0]


def test_an_unknown_reason_to_end_is_borne_and_told(run, upstream):
    events = ask(run, upstream, switch("odd-finish"))
    assert text(events) == upstream.last.said
    assert any("TIRED_OF_IT" in line for line in logs(events))
    assert [event for event in events if isinstance(event, Upstream)][-1].finish_reason == "error"


def test_usage_never_told_is_not_made_up(run, upstream):
    events = ask(run, upstream, switch("no-usage"))
    assert not [event for event in events if isinstance(event, Usage)]


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("name", "expected", "words"),
    [
        ("malformed", ProviderFailed, "MALFORMED_RESPONSE"),
        ("middle-error", ProviderFailed, "overloaded"),
        ("middle-list-error", ProviderFailed, "Internal"),
        ("list-error", ProviderRejected, "It is a list"),
        ("first-429", ProviderUnavailable, "Slow down"),
        ("quota", ProviderUnavailable, "current quota"),
        ("nothing", ProviderFailed, "ended without an answer"),
        ("ends-early", ProviderFailed, "broke off"),
        ("cut", ProviderFailed, "went away"),
        ("hangup", ProviderFailed, "went away"),
        ("not-json", ProviderFailed, "not JSON"),
        ("overflow", TooLarge, "more than model"),
        ("html", ProviderFailed, "502 Bad Gateway"),
        ("redirect", ProviderFailed, "base_url"),
    ],
)
def test_what_goes_wrong_is_told_with_googles_words(run, upstream, name, expected, words):
    _, error = fail(run, upstream, switch(name))
    assert type(error) is expected
    assert words in error.message


def test_when_to_come_back_stands_in_the_body(run, upstream):
    _, error = fail(run, upstream, switch("quota"))
    assert error.retry_after_seconds == 37.5


@pytest.mark.parametrize(
    ("name", "reason", "has_text"),
    [
        ("prompt-blocked", "SAFETY (HARM_CATEGORY_DANGEROUS_CONTENT HIGH)", False),
        ("prompt-blocked-other", "OTHER", False),
        ("blocked", "SAFETY (HARM_CATEGORY_HARASSMENT HIGH)", False),
        ("blocked-midway", "PROHIBITED_CONTENT", True),
        ("recitation", "RECITATION", True),
    ],
)
def test_a_block_is_a_refusal_by_policy_and_what_it_cost_comes_first(
    run, upstream, name, reason, has_text
):
    events, error = fail(run, upstream, switch(name))
    assert type(error) is ProviderRejected
    assert error.type == "content_policy_violation"
    assert reason in error.message
    assert bool(text(events)) == has_text
    assert usage(events).prompt_tokens > 0


@pytest.mark.parametrize("name", ["413", "bad-mime", "bad-url"])
def test_a_form_that_is_not_taken_is_refused_at_its_medium(run, upstream, tmp_path, name):
    _, error = fail(run, upstream, switch(name, clip(tmp_path / "v", index=2)))
    assert type(error) is FormRefused
    assert error.loc == ("body", "video_urls", 2)


def test_a_video_on_youtube_that_is_not_public_is_refused_where_it_stands(run, upstream):
    _, error = fail(run, upstream, switch("private-link", LINK))
    assert type(error) is FormRefused
    assert error.loc == LINK.loc
    assert "permission" in error.message


@pytest.mark.parametrize("key", ["AIzaSyWrongWrongWrong", None])
def test_a_key_that_is_not_taken_is_the_operators_mistake(run, upstream, key):
    _, error = fail(run, upstream, call(), key=key)
    assert type(error) is ProviderFailed
    assert "gemini" in error.message
    assert "AIza" not in error.message


def test_silence_in_the_middle_of_an_answer_ends_it(run, upstream):
    async def use():
        async with opened(upstream) as gemini:
            gemini._google._idle_seconds = 0.05
            return await failed(gemini, switch("mute"))

    _, error = run(use())
    assert "no answer in time" in error.message


# ---------------------------------------------------------------- what is sent


def test_the_key_goes_into_a_header_and_into_no_address(run, upstream):
    ask(run, upstream, call())
    assert upstream.last.headers["x-goog-api-key"] == fake.KEY
    assert "Authorization" not in upstream.last.headers


@pytest.mark.parametrize(
    ("model", "effort"),
    [
        (model, effort)
        for model in (FLASH, "gemini-2.5-pro", "gemini-3.1-pro-preview", "gemini-3-flash-preview")
        for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "max")
    ],
)
def test_every_effort_is_one_that_the_model_takes(run, upstream, model, effort):
    assert text(ask(run, upstream, call(model=model, effort=effort, reasoning=True)))


@pytest.mark.parametrize("model", ["gemini-2.0-flash", FLASH, "gemini-3.1-pro-preview"])
def test_all_options_at_once_are_ones_that_the_model_takes(run, upstream, tmp_path, model):
    view = View(start=0.5, end=2.0, fps=2, max_frames=2, resolution="low")
    schema = {"name": "x", "schema": {"type": "object"}, "strict": True}
    question = call(
        FilePart(clip(tmp_path / "v"), view),
        model=model,
        system_prompt="Be brief.",
        temperature=0.1,
        max_tokens=100,
        seed=7,
        stop=("a", "b"),
        reasoning=True,
        response_format={"type": "json_schema", "json_schema": schema},
    )
    assert text(ask(run, upstream, question)) == upstream.last.said
    seen = upstream.last.document["contents"][0]["parts"][0]["videoMetadata"]
    assert seen == {"startOffset": "0.5s", "endOffset": "2s", "fps": 1.333}


def test_how_closely_it_looks_is_seen_in_the_tokens(run, upstream, tmp_path):
    video = clip(tmp_path / "v")
    low = FilePart(video, View(resolution="low"))
    assert usage(ask(run, upstream, call(low))).by_modality["video"] == 66
    newer = call(FilePart(video, View(resolution="high")), model="gemini-3.1-pro-preview")
    assert usage(ask(run, upstream, newer)).by_modality["video"] == 280


def test_fps_scales_the_tokens_of_video_and_not_those_of_sound(run, upstream):
    part = LinkPart(LINK.url, LINK.loc, View(fps=0.2))
    found = usage(ask(run, upstream, call(part))).by_modality
    assert (found["video"], found["audio"]) == (12 * 258, 1920)


def test_stills_arrive_as_pictures(run, upstream, tmp_path):
    stills = []
    for second in range(3):
        path = tmp_path / f"{second}.jpg"
        path.write_bytes(b"jpeg %d" % second)
        stills.append(Still(float(second), path, 6, 4, 3))
    part = FramesPart(clip(tmp_path / "v"), tuple(stills))
    ask(run, upstream, call(part, model="gemma-3-27b-it"))
    assert [sent.kind for sent in upstream.last.media] == ["image"] * 3


def test_a_model_that_sees_pictures_only_is_sent_no_video(run, upstream, tmp_path):
    _, error = fail(run, upstream, call(clip(tmp_path / "v"), model="gemma-3-27b-it"))
    assert type(error) is InputError
    assert error.problems[0].loc == ("body", "video_urls", 0)


def test_a_picture_goes_as_what_it_is(run, upstream, tmp_path):
    (tmp_path / "p").write_bytes(b"png")
    image = Image(
        index=0,
        found="data",
        origin="data URI",
        loc=("body", "image_urls", 0),
        path=tmp_path / "p",
        bytes=3,
        sha256="x",
        mime="image/png",
        format="png",
        width=1,
        height=1,
    )
    ask(run, upstream, call(ImagePart(image)))
    assert [(sent.kind, sent.mime) for sent in upstream.last.media] == [("image", "image/png")]


# ---------------------------------------------------------------- names, lists and cost


def test_names_of_the_world_are_its_own(run, upstream):
    async def use():
        async with opened(upstream) as gemini:
            names = ("google/gemini-2.5-flash", FLASH, "google/gemma-3", "openai/gpt-5")
            return [gemini.own_name(name) for name in names]

    assert run(use()) == [FLASH, FLASH, None, None]


def test_without_a_key_no_name_is_its_own(run, upstream):
    async def use():
        async with opened(upstream, key=None) as gemini:
            health = await gemini.check()
            return gemini.own_name(FLASH), health.is_ok, health.fix

    name, is_ok, fix = run(use())
    assert (name, is_ok) == (None, False)
    assert "GEMINI_API_KEY" in fix


def test_a_long_list_is_read_to_its_end(run, upstream):
    pages = {"": {"nextPageToken": "next" * 100}, "next" * 100: {"models": [LISTED]}}

    async def use():
        async with opened(upstream) as gemini:

            async def page(token):
                return pages[token]

            gemini._google.models = page
            return await gemini.models()

    assert [model.id for model in run(use())] == [FLASH]


LISTED = {"name": f"models/{FLASH}", "supportedGenerationMethods": ["generateContent"]}


def test_the_list_has_those_that_answer_questions(run, upstream):
    async def use():
        async with opened(upstream) as gemini:
            return await gemini.models(), await gemini.capabilities(FLASH)

    models, found = run(use())
    assert [model.id for model in models][:2] == [FLASH, "gemini-2.5-pro"]
    assert "gemini-embedding-001" not in [model.id for model in models]
    assert (found.context_tokens, found.max_output_tokens) == (1_048_576, 65_536)


def test_a_base_url_with_the_version_is_the_same(run, upstream):
    assert text(ask(run, upstream, call(), base=f"{upstream.url}/gemini/v1beta"))


@pytest.mark.parametrize("name", ["", "cached"])
def test_the_computed_cost_is_googles_bill_to_the_last_digit(run, upstream, tmp_path, name):
    async def use():
        async with opened(upstream) as gemini:
            upstream.switches.switch = name
            try:
                events = await heard(gemini, call(clip(tmp_path / "v")))
            finally:
                upstream.switches.switch = ""
            return usage(events), await gemini.price(FLASH)

    found, price = run(use())
    assert (found.cost, found.cost_source) == (None, "unknown")
    assert price.cost(found) == upstream.last.billed > Decimal(0)
