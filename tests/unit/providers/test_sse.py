from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.providers.sse import Decoder, EventTooLarge


def decoded(*chunks):
    decoder = Decoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.finish()


def split(whole, cuts):
    places = [0, *sorted(cut % (len(whole) + 1) for cut in cuts), len(whole)]
    return [whole[a:b] for a, b in pairwise(places)]


# Bytes that mean something to the protocol come up often.
stream = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"data:", b"data: ", b":", b"id: 1", b"data"])
    | st.text(max_size=8).map(lambda text: text.encode("utf-8", "replace"))
    | st.binary(max_size=4),
    max_size=40,
).map(b"".join)
line = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)


@given(stream, st.lists(st.integers(0, 400), max_size=30))
def test_where_the_network_cuts_makes_no_difference(whole, cuts):
    assert decoded(*split(whole, cuts)) == decoded(whole)


@given(
    st.lists(st.lists(line, min_size=1, max_size=3), max_size=10),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 400), max_size=30),
)
def test_what_was_sent_comes_out(events, newline, cuts):
    text = "".join(
        ": comment\n" + "".join(f"data: {part}\n" for part in event) + "event: x\n\n:\n\n"
        for event in events
    )
    whole = text.replace("\n", newline).encode()
    assert decoded(*split(whole, cuts)) == ["\n".join(event) for event in events]


def test_one_byte_at_a_time_is_enough():
    assert decoded(*(bytes([byte]) for byte in "data: Grüße 🎬\r\n\r\n".encode())) == ["Grüße 🎬"]


def test_an_event_without_its_blank_line_counts_at_the_end():
    assert decoded(b"data: one\n\ndata: two") == ["one", "two"]


def test_events_without_data_are_dropped():
    assert decoded(b"event: ping\nid: 7\n\ndata:\n\ndata: x\n\n") == ["x"]


def test_a_byte_order_mark_is_skipped():
    assert decoded(b"\xef\xbb\xbfdata: x\n\n") == ["x"]


def test_only_the_one_space_after_the_colon_is_the_protocols():
    assert decoded(b"data:  x \n\n") == [" x "]


@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_an_endless_event_is_refused(newline):
    decoder = Decoder(max_bytes=1000)

    def feed():
        for _ in range(100):
            decoder.feed(b"data: xxxxxxxxxxxx" + newline)

    with pytest.raises(EventTooLarge):
        feed()


def test_endless_comments_are_not():
    decoder = Decoder(max_bytes=1000)
    for _ in range(1000):
        assert decoder.feed(b": OPENROUTER PROCESSING\n") == []
