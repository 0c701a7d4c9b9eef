"""What the adapter for Anthropic says and hears, against the fake's wire."""

import hashlib
from dataclasses import replace
from decimal import Decimal

import pytest
from tests.contract.test_providers import (
    ask,
    call,
    drain,
    fail,
    image,
    only,
    opened,
    paper,
    sound,
    switch,
    text,
    upstream,
    video,
)

from telecine.errors import (
    FormRefused,
    InputError,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
    TooLarge,
)
from telecine.models import Delta, FilePart, FramesPart, Log, Still, Upstream, Usage, Words

__all__ = ["upstream"]

KIND = "anthropic"


def stills(folder, *, count=3, side=64, words=(), index=0):
    """A video as stills, a second apart, and what its files hold."""
    found = []
    for n in range(count):
        path = folder / f"{index}-{n}.jpg"
        path.write_bytes(b"still %d %d" % (index, n))
        found.append(Still(float(n), path, path.stat().st_size, side, side // 2))
    source = video(folder / f"{index}.mp4", b"clip", index)
    return FramesPart(source, tuple(found), tuple(words))


def sent_blocks(upstream):
    return upstream.last.document["messages"][0]["content"]


def asked(run, upstream, *parts, model=None, **more):
    run(ask(KIND, upstream.url, call(KIND, model, parts=parts, **more)))
    return upstream.last.document


# ---------------------------------------------------------------- what is sent


def test_a_video_arrives_as_stills_each_after_its_time(run, upstream, tmp_path):
    part = stills(tmp_path, words=[Words(0.0, 1.0, "Hello."), Words(1.5, 2.5, "Bye.")])
    asked(run, upstream, part)
    blocks = sent_blocks(upstream)
    told = [block.get("text", block["type"]) for block in blocks]
    assert told == [
        "Video, as stills, each after its time, and what is said:\n[00:00]",
        "image",
        "Said 00:00-00:01: Hello.\n[00:01]",
        "image",
        "[00:02]",
        "image",
        "Said 00:01-00:02: Bye.",
        "What is in it?",
    ]
    sha256 = [hashlib.sha256(still.path.read_bytes()).hexdigest() for still in part.stills]
    assert [sent.sha256 for sent in upstream.last.of("image")] == sha256
    assert {sent.mime for sent in upstream.last.of("image")} == {"image/jpeg"}


def test_several_videos_and_images_have_their_numbers(run, upstream, tmp_path):
    parts = (stills(tmp_path), stills(tmp_path, index=1), image(tmp_path / "a"))
    asked(run, upstream, *parts, image(tmp_path / "b", index=1))
    labels = [block["text"].partition(",")[0] for block in sent_blocks(upstream) if "text" in block]
    assert [label for label in labels if label.startswith(("Video", "Image"))] == [
        *("Video 1", "Video 2", "Image 1:", "Image 2:"),
    ]


def test_a_document_is_a_document_block(run, upstream, tmp_path):
    asked(run, upstream, paper(tmp_path / "p"))
    [block, _] = sent_blocks(upstream)
    assert (block["type"], block["title"]) == ("document", "document-1.pdf")
    assert [(sent.kind, sent.mime) for sent in upstream.last.media] == [("file", "application/pdf")]


def test_the_question_alone_is_plain_text_with_what_the_api_insists_on(run, upstream):
    document = asked(run, upstream)
    assert document == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 64000,
        "stream": True,
        "messages": [{"role": "user", "content": "What is in it?"}],
    }
    assert upstream.last.headers["anthropic-version"] == "2023-06-01"
    assert upstream.last.headers["X-Request-Id"] == "r-1"


def test_the_callers_parameters_are_sent_in_anthropics_words(run, upstream):
    more = {"system_prompt": "Be brief.", "stop": ("END",), "temperature": 0.0, "max_tokens": 7}
    document = asked(run, upstream, **more)
    assert document["system"] == "Be brief."
    assert document["stop_sequences"] == ["END"]
    assert (document["temperature"], document["max_tokens"]) == (0.0, 7)


def test_older_models_are_given_a_budget_and_newer_ones_an_effort(run, upstream):
    older = asked(run, upstream, effort="high")
    newer = asked(run, upstream, model="claude-sonnet-5", effort="minimal")
    assert older["thinking"] == {"type": "enabled", "budget_tokens": 51200}
    assert newer["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert newer["output_config"] == {"effort": "low"}


def test_a_temperature_that_thinking_forbids_is_left_out_and_told(run, upstream):
    events = run(ask(KIND, upstream.url, call(KIND, effort="low", temperature=0.0)))
    assert "temperature" not in upstream.last.document
    assert [log.level for log in only(Log, events)] == ["WARN"]


@pytest.mark.parametrize("part", ["video", "sound"])
def test_what_it_can_not_hear_or_play_is_refused_where_it_stands(run, upstream, part, tmp_path):
    made = FilePart(video(tmp_path / "v", b"x")) if part == "video" else sound(tmp_path / "s")
    _, error = run(fail(KIND, upstream.url, call(KIND, parts=(made,))))
    assert isinstance(error, InputError)
    assert error.problems[0].loc == made.media.loc


def test_of_many_images_none_may_be_large(run, upstream, tmp_path):
    few, many = stills(tmp_path, count=20, side=4000), stills(tmp_path, count=21, side=4000)
    asked(run, upstream, few)
    _, error = run(fail(KIND, upstream.url, call(KIND, parts=(many,))))
    assert type(error) is FormRefused
    assert error.loc == ("body", "video_urls", 0)


# ---------------------------------------------------------------- what comes back


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("name", ["thoughts", "thoughts-redacted"])
def test_reasoning_is_told_when_asked_for(run, upstream, name, wanted):
    events = run(ask(KIND, upstream.url, switch(name, KIND, reasoning=wanted)))
    told = "".join(event.reasoning for event in only(Delta, events))
    assert told == ("Let me look." if wanted and name == "thoughts" else "")
    assert text(events) == upstream.last.said


@pytest.mark.parametrize("way", ["crlf", "cr", "bytes", "comments", "new-event"])
def test_the_text_is_what_was_said_however_it_is_sent(run, upstream, way):
    assert text(run(ask(KIND, upstream.url, switch(way, KIND)))) == upstream.last.said


def test_tokens_from_the_cache_are_prompt_tokens_too(run, upstream):
    [usage] = only(Usage, run(ask(KIND, upstream.url, switch("cached", KIND))))
    assert (usage.prompt_tokens, usage.cached_tokens) == (12, 6)


def test_what_was_thought_is_counted_apart(run, upstream):
    [usage] = only(Usage, run(ask(KIND, upstream.url, switch("thoughts", KIND))))
    assert usage.reasoning_tokens == 2


def test_the_id_is_the_one_that_their_support_asks_for(run, upstream):
    last = only(Upstream, run(ask(KIND, upstream.url, call(KIND))))[-1]
    assert last.id == f"req_{upstream.last.id}"


@pytest.mark.parametrize(
    ("name", "expected", "words"),
    [
        ("first-529", ProviderUnavailable, "Overloaded"),
        ("too-long", TooLarge, "a larger context"),
        ("filtered", ProviderRejected, "content policy"),
        ("cut", ProviderFailed, "went away"),
        ("ends-early", ProviderFailed, "broke off"),
    ],
)
def test_what_goes_wrong_is_told_with_the_upstreams_words(run, upstream, name, expected, words):
    _, error = run(fail(KIND, upstream.url, switch(name, KIND)))
    assert type(error) is expected
    assert words in error.message


def test_a_failure_keeps_the_id_and_points_at_the_field(run, upstream):
    _, error = run(fail(KIND, upstream.url, call(KIND, temperature=1.5)))
    assert type(error) is ProviderRejected
    assert error.loc == ("body", "temperature")
    assert error.upstream_id == f"req_{upstream.last.id}"


def test_a_refusal_after_some_text_is_an_answer_with_a_warning(run, upstream):
    events = run(ask(KIND, upstream.url, switch("filtered-late", KIND)))
    assert text(events) == upstream.last.said
    assert [log.level for log in only(Log, events)] == ["WARN"]


def test_an_answer_that_broke_off_still_tells_what_it_used(run, upstream):
    events, _ = run(fail(KIND, upstream.url, switch("word-code", KIND)))
    assert only(Usage, events)[0].prompt_tokens == 12


# ---------------------------------------------------------------- models


def test_all_pages_of_the_list_are_read(run, upstream):
    async def use():
        async with opened(KIND, upstream.url) as provider:
            return [model.id for model in await provider.models()]

    assert run(use()) == ["claude-sonnet-4-5", "claude-haiku-4-5", "claude-sonnet-5"]


def test_what_a_model_takes_follows_its_context(run, upstream):
    async def use():
        async with opened(KIND, upstream.url) as provider:
            names = ("claude-sonnet-4-5", "claude-sonnet-5", "claude-of-tomorrow")
            return [await provider.capabilities(name) for name in names]

    small, large, unknown = run(use())
    assert (small.context_tokens, small.max_images) == (200_000, 100)
    assert (large.context_tokens, large.max_images) == (1_000_000, 600)
    assert unknown == replace(small, max_output_tokens=None)
    assert small.delivery == ("frames",)
    assert small.pdfs
    assert not {"seed", "response_format"} & small.options


def test_the_price_of_the_seed_comes_to_what_is_billed(run, upstream, tmp_path):
    async def use():
        async with opened(KIND, upstream.url) as provider:
            question = call(KIND, parts=(image(tmp_path / "a"),))
            events = [event async for event in provider.generate(question)]
            return only(Usage, events)[0], await provider.price("claude-sonnet-4-5-20250929")

    usage, price = run(use())
    assert (usage.cost, usage.cost_source) == (None, "unknown")
    assert price.cost(usage) == upstream.last.billed > Decimal(0)


def test_without_a_key_nothing_is_asked(run, upstream):
    async def use():
        async with opened(KIND, upstream.url, key=None) as provider:
            before = len(upstream.received)
            with pytest.raises(ProviderFailed, match="ANTHROPIC_API_KEY"):
                await drain(provider, call(KIND))
            health = await provider.check()
            return health, len(upstream.received) - before

    health, asked_ = run(use())
    assert (health.is_ok, asked_) == (False, 0)
    assert "ANTHROPIC_API_KEY" in health.fix
