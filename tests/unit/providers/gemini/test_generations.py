import pytest

from telecine.providers.gemini.generations import generation


@pytest.mark.parametrize(
    ("model", "number"),
    [
        ("gemini-2.5-flash", (2, 5)),
        ("gemini-2.0-flash-001", (2, 0)),
        ("gemini-3-pro-preview", (3, 0)),
        ("gemini-3.1-flash-lite", (3, 1)),
        ("gemini-1.5-pro-002", (1, 5)),
        ("gemini-10.2-flash", (10, 2)),
        ("gemini-flash-latest", (3, 0)),
        ("some-tuned-model", (2, 5)),
    ],
)
def test_the_generation_is_read_from_the_name(model, number):
    assert generation(model).number == number


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "low", {"thinkingBudget": 1024}),
        ("gemini-2.5-flash", "max", {"thinkingBudget": 24_576}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-pro", "max", {"thinkingBudget": 32_768}),
        ("gemini-3-pro-preview", "none", {"thinkingLevel": "low"}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "high"}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "medium"}),
        ("gemini-3-flash-preview", "none", {"thinkingLevel": "minimal"}),
        ("gemini-3-flash-preview", "xhigh", {"thinkingLevel": "high"}),
    ],
)
def test_effort_is_told_in_the_words_of_the_generation(model, effort, expected):
    assert generation(model).thinking(effort) == expected


def test_only_models_from_2_5_on_have_an_effort():
    assert "effort" in generation("gemini-2.5-flash").capabilities(None, None).options
    assert "effort" not in generation("gemini-2.0-flash").capabilities(None, None).options


def test_other_addresses_than_youtubes_are_for_models_from_3_on():
    assert generation("gemini-2.5-pro").capabilities(None, None).delivery == ("file", "link")
    newer = generation("gemini-3.1-pro-preview").capabilities(None, None)
    assert newer.delivery == ("file", "link", "url")


def test_leaving_out_the_sound_is_not_promised():
    assert "audio" not in generation("gemini-2.5-flash").capabilities(None, None).options


@pytest.mark.parametrize(
    ("model", "low", "high"), [("gemini-2.5-flash", 66, 258), ("gemini-3.1-pro-preview", 70, 280)]
)
def test_rates_are_those_of_the_generation(model, low, high):
    rates = generation(model).capabilities(None, None).rates
    assert (rates.frame["low"], rates.frame["high"], rates.audio_second) == (low, high, 32)


@pytest.mark.parametrize(
    "model", ["gemini-2.5-flash-preview-tts", "gemini-2.5-flash-image", "gemma-3-27b-it"]
)
def test_models_that_look_at_no_video_take_none(model):
    assert generation(model).capabilities(None, None).delivery == ()
