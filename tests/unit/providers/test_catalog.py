from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.models import Capabilities, Usage
from telecine.providers import catalog
from telecine.providers.catalog import Override, Price, Tier, price, seeded

DOLLAR = Decimal("1e-6")  # per million tokens
PRICE = Price(prompt=DOLLAR, completion=10 * DOLLAR, source="test")


# ---------------------------------------------------------------- prices


def test_prices_are_read_to_the_last_digit():
    pricing = {
        "prompt": "0.0000003",
        "completion": "0.0000025",
        "audio": "0.000001",
        "input_cache_read": "0.00000003",
        "request": "0",
    }
    assert price(pricing, source="openrouter", dated="2026-11-22") == Price(
        prompt=Decimal("3e-7"),
        completion=Decimal("25e-7"),
        audio=Decimal("1e-6"),
        cached=Decimal("3e-8"),
        source="openrouter",
        dated="2026-11-22",
    )


@pytest.mark.parametrize(
    "pricing",
    [
        {},
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "0.1", "completion": "NaN"},
        {"prompt": "0.1", "completion": "Infinity"},
        {"prompt": 0.1, "completion": 0.1},
        {"prompt": "cheap", "completion": "0"},
    ],
)
def test_what_is_no_price_is_unknown(pricing):
    assert price(pricing, source="s") is None


def test_overrides_for_long_prompts_are_tiers_and_those_for_certain_hours_are_not():
    pricing = {
        "prompt": "0.000002",
        "completion": "0.000012",
        "overrides": [
            {"min_prompt_tokens": 200_001, "prompt": "0.000004", "completion": "0.000018"},
            {"min_prompt_tokens": 0, "utc_start": "00:00", "utc_end": "06:00", "prompt": "0"},
            {"min_prompt_tokens": "many", "prompt": "0"},
            "nonsense",
        ],
    }
    (tier,) = price(pricing, source="s").tiers
    assert tier == Tier(
        min_prompt_tokens=200_001, prompt=Decimal("4e-6"), completion=Decimal("18e-6")
    )


@pytest.mark.parametrize(
    ("prompt_tokens", "cost"),
    [(200_000, "0.2"), (200_001, "0.400002"), (500_000, "1.5"), (500_001, "1.500003")],
)
def test_the_tier_that_a_prompt_reaches_counts_for_all_of_it(prompt_tokens, cost):
    tiers = (
        Tier(min_prompt_tokens=500_000, prompt=3 * DOLLAR),
        Tier(min_prompt_tokens=200_001, prompt=2 * DOLLAR),
    )
    found = replace(PRICE, tiers=tiers).cost(Usage(prompt_tokens=prompt_tokens))
    assert found == Decimal(cost)


def test_a_sound_that_costs_as_any_token_still_does_in_a_higher_tier():
    pricing = {
        "prompt": "0.000001",
        "completion": "0",
        "audio": "0.000001",
        "overrides": [{"min_prompt_tokens": 10, "prompt": "0.000002"}],
    }
    usage = Usage(prompt_tokens=10, by_modality={"audio": 10})
    assert price(pricing, source="s").cost(usage) == 20 * DOLLAR


def test_every_class_of_tokens_has_its_own_price_and_a_call_has_one_too():
    whole = replace(
        PRICE,
        cached=DOLLAR / 10,
        audio=3 * DOLLAR,
        image=5 * DOLLAR,
        request=Decimal("0.01"),
    )
    usage = Usage(
        prompt_tokens=1000,
        completion_tokens=7,
        cached_tokens=500,
        by_modality={"audio": 100, "image": 20, "video": 300},
    )
    expected = 500 * DOLLAR / 10 + 100 * 3 * DOLLAR + 20 * 5 * DOLLAR + 380 * DOLLAR + 70 * DOLLAR
    assert whole.cost(usage) == expected + Decimal("0.01")


_counts = st.integers(0, 10**7)
_amounts = st.decimals(0, 1, places=9)


@given(
    prompt=_counts,
    cached=_counts,
    audio=_counts,
    completion=_counts,
    amounts=st.tuples(_amounts, _amounts, _amounts, _amounts),
)
def test_no_usage_costs_less_than_nothing_or_more_than_its_dearest_token(
    prompt, cached, audio, completion, amounts
):
    plain, out, cache, sound = amounts
    usage = Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        by_modality={"audio": audio},
    )
    made = Price(prompt=plain, completion=out, cached=cache, audio=sound, source="s")
    assert 0 <= made.cost(usage) <= prompt * max(plain, cache, sound) + completion * out


# ---------------------------------------------------------------- OpenRouter's list


def entry(*modalities, id="x/y", parameters=None, **more):
    listed = {"id": id, "architecture": {"input_modalities": ["text", *modalities]}, **more}
    return listed if parameters is None else listed | {"supported_parameters": parameters}


def test_a_model_that_sees_video_takes_files_and_frames_when_they_are_refused():
    assert catalog.capabilities(entry("image", "video")).delivery == ("file", "frames")


def test_gemini_takes_youtube_links_hears_and_has_its_rates():
    found = catalog.capabilities(entry("image", "video", "audio", id="google/gemini-2.5-flash"))
    assert found.delivery == ("file", "link", "frames")
    assert (found.hears, found.max_videos) == (True, 10)
    assert (found.rates.frame["low"], found.rates.audio_second) == (66, 32)


def test_a_model_that_sees_pictures_alone_is_shown_frames():
    found = catalog.capabilities(entry("image", id="qwen/qwen3-vl-8b-instruct"))
    assert (found.delivery, found.hears) == (("frames",), False)


def test_a_model_that_reads_takes_no_video():
    found = catalog.capabilities(entry())
    assert (found.delivery, found.images, found.audio) == ((), (), ())


def test_a_model_that_nobody_lists_may_take_anything():
    found = catalog.capabilities({"id": "a/b"})
    assert (found.delivery, bool(found.images), bool(found.audio)) == (
        ("file", "frames"),
        True,
        True,
    )
    assert {"seed", "stop", "effort", "response_format"} < found.options


def test_options_are_those_that_the_list_says_the_model_knows():
    found = catalog.capabilities(entry("video", parameters=["seed", "response_format"]))
    assert found.options == {"seed", "provider"}
    found = catalog.capabilities(entry("video", parameters=["structured_outputs", "reasoning"]))
    assert found.options == {"response_format", "effort", "provider"}


def test_the_window_is_the_smaller_of_those_told():
    listed = entry(
        context_length=1000, top_provider={"context_length": 800, "max_completion_tokens": 50}
    )
    found = catalog.capabilities(listed)
    assert (found.context_tokens, found.max_output_tokens) == (800, 50)


@given(st.dictionaries(st.sampled_from(["id", "architecture", "top_provider", "pricing",
       "supported_parameters", "context_length"]), st.recursive(st.none() | st.integers() | st.text(max_size=5),
       lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=20), inner), max_leaves=5)))  # fmt: skip
def test_no_entry_of_a_list_is_odd_enough_to_break_the_catalog(odd):
    assert isinstance(catalog.capabilities(odd), Capabilities)


def test_image_limits_are_those_of_the_maker():
    claude = catalog.capabilities(entry("image", id="anthropic/claude-sonnet-4.5"))
    assert (claude.max_images, claude.max_image_bytes, claude.delivery) == (
        100,
        5_000_000,
        ("frames",),
    )
    assert catalog.capabilities(entry("image", id="x-ai/grok-4.3")).images == ("png", "jpeg")


# ---------------------------------------------------------------- the seed


def test_every_entry_of_the_seed_makes_a_card_with_its_source_and_day():
    for each in catalog._seed()["models"]:
        card = seeded(each["id"].replace("*", "x").replace("[56]", "5"), each["route"])
        assert card.route == each["route"]
        assert card.source
        assert card.dated >= "2026-05"
        assert card.capabilities.delivery
        assert card.price is None or card.price.dated == card.dated


def test_the_seed_tells_routes_apart():
    routed, direct = seeded("google/gemini-2.5-pro"), seeded("gemini-2.5-pro")
    assert (routed.route, direct.route) == ("openrouter", "gemini")
    assert direct.capabilities.delivery == ("file", "link", "url", "frames")
    assert seeded("gemini-2.5-pro", "openrouter") is None
    assert seeded("nobody/knows") is None


def test_on_openrouter_qwens_vision_models_are_shown_frames():
    assert seeded("qwen/qwen3-vl-235b-a22b-instruct").capabilities.delivery == ("frames",)


def test_long_prompts_of_gemini_pro_cost_double():
    card = seeded("gemini-2.5-pro")
    assert card.price.cost(Usage(prompt_tokens=200_000)) == Decimal("0.25")
    assert card.price.cost(Usage(prompt_tokens=200_001)) == Decimal("0.5000025")


# ---------------------------------------------------------------- the operator's word


KNOWN = Capabilities(delivery=("file",), max_videos=1, context_tokens=1000)


def test_an_override_changes_what_it_says_and_nothing_else():
    found = Override(hears=True, max_seconds=60.0, max_videos=4).of(KNOWN)
    assert found == replace(KNOWN, hears=True, max_seconds=60.0, max_videos=4)
    assert Override().of(KNOWN) == KNOWN


def test_an_override_can_say_that_a_model_takes_no_video():
    assert Override(video=()).of(KNOWN).delivery == ()


def test_who_is_said_to_take_frames_sees_pictures():
    assert Override(video=("frames",)).of(KNOWN).images == ("jpeg", "png")
    sees = replace(KNOWN, images=("gif",))
    assert Override(video=("frames",)).of(sees).images == ("gif",)


def test_frames_are_for_whoever_sees_pictures():
    sees = replace(KNOWN, images=("png",))
    assert catalog.with_frames(sees).delivery == ("file", "frames")
    assert catalog.with_frames(sees, alone=True).delivery == ("frames",)
    assert catalog.with_frames(KNOWN, alone=True) == KNOWN
    decoded = replace(sees, delivery=("decoded",))
    assert catalog.with_frames(decoded, alone=True) == decoded
