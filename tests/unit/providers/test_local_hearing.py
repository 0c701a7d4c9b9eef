from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.providers.local_child.belief import (
    Hypothesis,
    is_believable,
    is_doubtful,
    likeliest,
)
from telecine.providers.local_child.regions import (
    FRAME_SECONDS,
    Guess,
    Region,
    Regions,
    Turn,
    Turns,
    unheard,
)


def seconds(probability, length):
    return [probability] * round(length / FRAME_SECONDS)


def regions(*stretches, start=0.0):
    """Regions in a sound made of (speech probability, seconds)."""
    found = Regions(start)
    out = [r for stretch in stretches for r in found.feed(seconds(*stretch))]
    return [(round(r.start, 1), round(r.end, 1)) for r in [*out, *found.finish()]]


def test_silence_has_no_regions():
    assert regions((0.1, 5)) == []


def test_speech_is_a_region_with_a_margin():
    assert regions((0.0, 1), (0.9, 2), (0.0, 1)) == [(0.8, 3.1)]


def test_a_pause_over_three_tenths_of_a_second_cuts():
    assert regions((0.9, 2), (0.0, 0.2), (0.9, 2), (0.0, 1)) == [(0.0, 4.3)]
    assert len(regions((0.9, 2), (0.0, 0.5), (0.9, 2), (0.0, 1))) == 2


def test_a_click_is_no_speech():
    assert regions((0.0, 1), (0.9, 0.1), (0.0, 1)) == []


def test_speech_without_a_pause_is_cut_where_it_is_least_likely():
    (first, second) = regions((0.9, 10), (0.4, 0.1), (0.9, 10), (0.0, 1))
    assert first[1] == second[0] == pytest.approx(10, abs=0.2)


def test_times_are_those_of_the_clip():
    assert regions((0.9, 2), (0.0, 1), start=60) == [(60.0, 62.1)]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 8)), max_size=8))
def test_regions_follow_each_other_and_are_no_longer_than_a_window(stretches):
    found = regions(*stretches)
    for (start, end), (following, _) in pairwise(found):
        assert start < end <= following + 0.11
    assert all(end - start < 12.6 for start, end in found)


def turns(*heard):
    """Turns of (start, end, language, probability)."""
    made = Turns()
    out = []
    for start, end, language, probability in heard:
        guess = Guess(language, probability) if language else None
        out += made.add(Region(start, end), guess)
    return [(t.start, t.end, t.language) for t in [*out, *made.finish()]]


def test_one_language_is_one_turn():
    assert turns((0, 3, "en", 0.9), (4, 6, "en", 0.9)) == [(0, 6, "en")]


def test_another_language_begins_a_turn():
    assert turns((0, 3, "en", 0.9), (4, 7, "de", 0.95)) == [(0, 3, "en"), (4, 7, "de")]


def test_an_unsure_region_takes_its_neighbours_language():
    assert turns((0, 3, "es", 0.9), (4, 7, "sw", 0.4)) == [(0, 7, "es")]
    assert turns((0, 3, "sw", 0.4), (4, 7, "es", 0.9)) == [(0, 7, "es")]


def test_a_short_region_does_not_switch_the_language():
    assert turns((0, 3, "en", 0.9), (4, 4.8, "ja", 0.99)) == [(0, 4.8, "en")]


def test_where_all_are_unsure_the_votes_count():
    assert turns((0, 2, "sw", 0.3), (3, 5, "es", 0.4), (6, 8, "es", 0.3)) == [(0, 8, "es")]
    assert turns((0, 0.5, None, 0)) == [(0, 0.5, "en")]


def test_a_long_pause_ends_a_turn():
    assert len(turns((0, 3, "en", 0.9), (6, 9, "en", 0.9))) == 2


def test_a_turn_fits_a_window():
    heard = [(n * 5.0, n * 5.0 + 4.5, "en", 0.9) for n in range(8)]
    assert all(end - start <= 20 for start, end, _ in turns(*heard))


def test_a_pause_lets_a_turn_go_before_anything_follows():
    made = Turns()
    list(made.add(Region(0, 3), Guess("en", 0.9)))
    assert list(made.pause(2.0)) == []
    assert [turn.end for turn in made.pause(2.6)] == [3]
    assert list(made.finish()) == []


def test_unheard_speech_is_counted_without_the_pauses():
    turn = Turn("en", (Region(0, 2), Region(5, 7)))
    assert unheard(turn, 1) == 3
    assert unheard(turn, 6.5) == 0.5


def test_rare_languages_are_not_guessed_unless_named():
    heard = [("cy", 0.6), ("en", 0.3), ("de", 0.1)]
    assert likeliest(heard, None).language == "en"
    assert likeliest(heard, None).probability == pytest.approx(0.75)
    assert likeliest(heard, "cy").language == "cy"


def test_small_relatives_count_for_the_large_language():
    guess = likeliest([("gl", 0.5), ("pt", 0.4), ("es", 0.1)], None)
    assert guess.language == "es"
    assert guess.probability == pytest.approx(0.6)


def test_an_expected_language_is_believed_unless_another_is_all_but_certain():
    assert likeliest([("en", 0.9), ("de", 0.1)], "de") == Guess("de", 1.0)
    assert likeliest([("en", 0.99), ("de", 0.01)], "de").language == "en"


def heard(text, *, logprob=-0.2, no_speech=0.05):
    return Hypothesis(((0.0, 2.0, text),), logprob, no_speech)


@pytest.mark.parametrize(
    "hypothesis",
    [
        heard(""),
        heard(" ... "),
        heard("la la " * 60),
        heard("Hmmm", logprob=-1.2),
        heard("Who won?", logprob=-0.8),
        heard("some longer words that are not there", logprob=-0.8, no_speech=0.9),
        heard("Thanks for watching!", no_speech=0.5),
        heard("Untertitel der Amara.org-Community", logprob=-0.6),
        heard("ご視聴ありがとうございました", logprob=-0.5),
    ],
)
def test_what_whisper_makes_of_music_and_noise_is_dropped(hypothesis):
    assert not is_believable(hypothesis, 1.5)


@pytest.mark.parametrize(
    "hypothesis",
    [
        heard("And so, my fellow Americans, ask not"),
        heard("Yes."),
        heard("Thanks for watching!"),
        heard("words over loud music that it is not sure of", logprob=-0.8, no_speech=0.4),
        heard("no no no, never", logprob=-0.5),
    ],
)
def test_what_was_spoken_is_kept(hypothesis):
    assert is_believable(hypothesis, 1.5)


def test_a_repeated_phrase_is_doubtful():
    assert is_doubtful(heard("ask my fellow Americans " * 30))
    assert not is_doubtful(heard("ask my fellow Americans"))
