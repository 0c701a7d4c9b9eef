from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecine.api.ranges import Span, Unsatisfiable, is_unchanged, span

ETAG = '"abc"'
MODIFIED = 1_800_000_000.4
DATE = formatdate(MODIFIED, usegmt=True)
LATER = formatdate(MODIFIED + 5, usegmt=True)
EARLIER = formatdate(MODIFIED - 5, usegmt=True)


def asked(value, size=10, **headers):
    return span({"range": value, **headers}, size=size, etag=ETAG, modified=MODIFIED)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=0-", Span(0, 10)),
        ("bytes=3-5", Span(3, 6)),
        ("Bytes = 3 - 5", Span(3, 6)),
        ("bytes=9-", Span(9, 10)),
        ("bytes=5-500", Span(5, 10)),
        ("bytes=-1", Span(9, 10)),
        ("bytes=-500", Span(0, 10)),
    ],
)
def test_a_range_is_cut_to_the_file(value, expected):
    assert asked(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes=",
        "bytes=-",
        "bytes=5-3",
        "bytes=a-b",
        "bytes=0-1,3-4",
        "items=0-1",
        "bytes=٣-٥",
        "0-1",
        "bytes=" + "9" * 30 + "-",
    ],
)
def test_what_is_no_single_range_is_ignored(value):
    assert asked(value) is None


@pytest.mark.parametrize(
    ("value", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)]
)
def test_a_range_behind_the_end_is_unsatisfiable(value, size):
    with pytest.raises(Unsatisfiable):
        asked(value, size)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (ETAG, True),
        ('"other"', False),
        ('W/"abc"', False),
        (DATE, True),
        (LATER, False),
        (EARLIER, False),
        ("x", False),
    ],
)
def test_if_range_gives_the_whole_file_when_it_is_another(condition, holds):
    assert asked("bytes=0-0", **{"if-range": condition}) == (Span(0, 1) if holds else None)


@pytest.mark.parametrize(
    ("headers", "unchanged"),
    [
        ({}, False),
        ({"if-none-match": ETAG}, True),
        ({"if-none-match": 'W/"abc"'}, True),
        ({"if-none-match": '"x", "abc"'}, True),
        ({"if-none-match": "*"}, True),
        ({"if-none-match": '"x"'}, False),
        ({"if-none-match": '"x"', "if-modified-since": DATE}, False),
        ({"if-modified-since": DATE}, True),
        ({"if-modified-since": LATER}, True),
        ({"if-modified-since": EARLIER}, False),
        ({"if-modified-since": "never"}, False),
        ({"if-modified-since": "Mon, 01 Jan 99999 00:00:00 GMT"}, False),
    ],
)
def test_a_caller_who_has_the_file_is_told_so(headers, unchanged):
    assert is_unchanged(headers, etag=ETAG, modified=MODIFIED) is unchanged


@given(st.text(max_size=40) | st.from_regex(r"bytes=\d{0,20}-\d{0,20}"), st.integers(0, 10**13))
def test_whatever_is_asked_the_span_lies_in_the_file(value, size):
    try:
        found = asked(value, size)
    except Unsatisfiable:
        return
    assert found is None or 0 <= found.start < found.end <= size


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_condition_breaks_it(first, second):
    is_unchanged({"if-none-match": first}, etag=ETAG, modified=MODIFIED)
    is_unchanged({"if-modified-since": second}, etag=ETAG, modified=MODIFIED)
    asked("bytes=0-1", **{"if-range": first})
