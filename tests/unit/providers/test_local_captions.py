from hypothesis import given
from hypothesis import strategies as st

from telecine.providers.local_captions import Captions, Line


def line(text, score=0.99, top=0.5, left=0.1):
    return Line(text, score, top, left)


def captions(*frames):
    """What is made of frames a second apart; each is a list of lines, or None: as before."""
    found = Captions()
    out = []
    for second, frame in enumerate(frames):
        lines = None if frame is None else [line(x) if isinstance(x, str) else x for x in frame]
        out += found.see(float(second), lines)
    return [(c.start, c.end, *c.texts) for c in [*out, *found.finish()]]


def test_a_line_is_one_caption_from_first_to_last_frame():
    assert captions(["HELLO"], ["HELLO"], None, None, []) == [(0, 3, "HELLO")]


def test_a_line_that_is_misread_once_is_the_same_line():
    read = captions(["WASHINGTON, D.C."], ["WASHINGTON, D.C"], ["WASHINCTON, D.C."], [])
    assert read == [(0, 2, "WASHINGTON, D.C.")]


def test_a_line_that_was_missed_in_a_frame_goes_on():
    assert captions(["HELLO"], ["HELLO"], [], ["HELLO"], []) == [(0, 3, "HELLO")]


def test_a_line_that_comes_back_later_is_told_again():
    read = captions(["HELLO"], None, [], [], [], ["HELLO"], None)
    assert read == [(0, 1, "HELLO"), (5, 6, "HELLO")]


def test_doubtful_readings_do_not_count():
    assert captions([line("HELLO", 0.8)], [line("HELLO", 0.84)]) == []


def test_a_plain_word_in_a_single_frame_counts():
    assert captions([], ["GET READY"], [], []) == [(1, 1, "GET READY")]
    assert captions([], ["COMING SOON"]) == [(1, 1, "COMING SOON")]


def test_a_doubtful_or_tiny_word_in_a_single_frame_does_not():
    assert captions([], [line("BUNKY", 0.9)], []) == []
    assert captions([], ["日"], []) == []


def test_half_of_a_line_that_fades_in_is_not_a_line():
    whole = "THANKS FOR WATCHING"
    assert captions(["R WAICHING"], [whole], [whole], []) == [(1, 2, whole)]
    assert captions([whole], [whole], ["THANKS FOR"], []) == [(0, 2, whole)]


def test_a_line_that_is_typed_is_its_last_form():
    read = captions(["$ pip in"], ["$ pip install tele"], ["$ pip install telecine"], None, [])
    assert read == [(0, 3, "$ pip install telecine")]


def test_different_titles_in_one_place_are_two():
    read = captions(["ONE BIG RABBIT"], None, ["THREE RODENTS"], None, [])
    assert read == [(0, 1, "ONE BIG RABBIT"), (2, 3, "THREE RODENTS")]


def test_a_running_clock_is_one_caption_with_its_readings():
    assert captions(["00:01"], ["00:02"], ["00:03"]) == [(0, 2, "00:01", "00:02", "00:03")]


def test_two_clocks_do_not_mix():
    def frame(n):
        return [line(f"0:0{n}", top=0.1), line(f"9:0{n}", top=0.9)]

    assert captions(frame(1), frame(2)) == [(0, 1, "0:01", "0:02"), (0, 1, "9:01", "9:02")]


def test_a_number_that_stands_for_a_while_is_no_clock():
    read = captions(["Slide 1"], None, None, None, ["Slide 2"], None, None)
    assert read == [(0, 3, "Slide 1"), (4, 6, "Slide 2")]


def test_other_digits_are_another_text():
    read = captions(["20 JANUARY 1961"], None, None, None, ["20 JANUARY 1963"], None)
    assert [texts for _, _, *texts in read] == [["20 JANUARY 1961"], ["20 JANUARY 1963"]]


def test_captions_come_in_the_order_of_their_beginning_and_from_the_top():
    read = captions(
        [line("SECOND", top=0.6), line("FIRST", top=0.2)],
        [line("SECOND", top=0.6), line("FIRST", top=0.2), line("THIRD", top=0.9)],
        [line("SECOND", top=0.6), line("THIRD", top=0.9)],
        [line("SECOND", top=0.6)],
        [line("SECOND", top=0.6)],
    )
    assert [texts[0] for _, _, *texts in read] == ["FIRST", "SECOND", "THIRD"]


def test_a_caption_is_told_when_it_has_gone_and_not_at_the_end():
    found = Captions()
    assert list(found.see(0, [line("HELLO")])) == []
    assert list(found.see(1, None)) == []
    told = [list(found.see(second, [])) for second in (2, 3, 4)]
    assert [caption.texts for captions in told for caption in captions] == [("HELLO",)]


lines = st.builds(
    Line,
    st.text(max_size=8),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
)


@given(st.lists(st.none() | st.lists(lines, max_size=3), max_size=12))
def test_captions_lie_within_the_frames_and_are_ordered(frames):
    found = Captions()
    out = [c for n, frame in enumerate(frames) for c in found.see(float(n), frame)]
    out += found.finish()
    assert [c.start for c in out] == sorted(c.start for c in out)
    assert all(0 <= c.start <= c.end < len(frames) and all(c.texts) for c in out)
