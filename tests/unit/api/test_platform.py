"""Time in slices, and what a query may ask."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from telecine.acl import Acl, Rule, parse, restore
from telecine.api.platform import buckets
from telecine.api.platform.asked import Asked, Span, cursor_of, listed
from telecine.errors import BadRequest

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()

ZONES = st.sampled_from(
    [
        *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"),
        *("Asia/Beirut", "America/Sao_Paulo", "Pacific/Apia", "Africa/Cairo", "Asia/Tehran"),
    ]
).map(ZoneInfo)


def asked(query):
    return Asked(Request({"type": "http", "query_string": query.encode(), "headers": []}), NOW)


# ---------------------------------------------------------------- slices


@given(st.floats(1.5e8, 4e9), st.sampled_from(buckets.TIMEFRAMES), ZONES)
def test_every_moment_is_in_the_slice_that_it_is_said_to_be_in(at, timeframe, zone):
    begin, end = buckets.begin(at, timeframe, zone), buckets.end(at, timeframe, zone)
    assert begin <= at < end


@given(st.floats(1.5e8, 4e9), st.sampled_from(buckets.TIMEFRAMES), ZONES)
def test_a_slice_begins_where_the_one_before_ended(at, timeframe, zone):
    end = buckets.end(at, timeframe, zone)
    assert buckets.begin(end, timeframe, zone) == end


@pytest.mark.parametrize(
    ("timeframe", "begin", "end"),
    [
        ("minute", "2026-03-29T03:07:00+02:00", "2026-03-29T03:08:00+02:00"),
        ("hour", "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"),
        ("day", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("week", "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("month", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"),
    ],
)
def test_days_are_as_long_as_the_clocks_make_them(timeframe, begin, end):
    at, zone = (
        datetime.fromisoformat("2026-03-29T03:07:08+02:00").timestamp(),
        ZoneInfo("Europe/Berlin"),
    )
    assert buckets.shown(buckets.begin(at, timeframe, zone), zone) == begin
    assert buckets.shown(buckets.end(at, timeframe, zone), zone) == end


@pytest.mark.parametrize(
    ("hours", "timeframe"),
    [
        *((1.9, "minute"), (2, "hour"), (47, "hour"), (48, "day"), (24 * 63, "day")),
        *((24 * 64, "week"), (24 * 182, "week"), (24 * 183, "month")),
    ],
)
def test_the_slices_fit_the_span(hours, timeframe):
    assert buckets.timeframe_for(Span(0, hours * 3600)) == timeframe


# ---------------------------------------------------------------- queries


def test_lists_are_repeated_or_separated_by_commas():
    assert asked("a=1&a=2,3&a=2").many("a") == ("1", "2", "3")
    assert asked("").many("a") == ()


@given(
    st.lists(st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(-1e18, 1e18) | st.text(), max_size=3)
)
def test_a_cursor_says_again_what_it_was_made_of(values):
    query = asked(f"cursor={cursor_of(*values)}")
    assert query.cursor(*(type(value) for value in values)) == tuple(values)


@given(st.binary(max_size=30) | st.text(max_size=30).map(str.encode))
def test_any_other_cursor_is_refused(raw):
    with pytest.raises(BadRequest):
        asked(f"cursor=x{raw.hex()}").cursor(float, int)


def test_the_span_is_the_last_day_unless_said_otherwise():
    span = asked("").span()
    assert NOW - span.start == 86400
    assert 0 < span.end - NOW < 0.001


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-01", "2026-03-01T00:00:00+01:00"),
        ("2026-03-01T06:00:00", "2026-03-01T06:00:00+01:00"),
        ("2026-03-01T06:00:00Z", "2026-03-01T06:00:00+00:00"),
        ("2026-03-01T06:00:00-05:00", "2026-03-01T06:00:00-05:00"),
        ("2026-03-01T06:00:00+05:30", "2026-03-01T06:00:00+05:30"),
    ],
)
def test_a_time_without_an_offset_is_in_the_callers_zone(text, at):
    span = asked(f"start={text}&timezone=Europe/Berlin").span()
    assert span.start == datetime.fromisoformat(at).timestamp()


def test_a_listed_id_is_found_only_as_a_whole():
    text = listed(["ab", "c"])
    for value, is_listed in (
        ("ab", True),
        ("c", True),
        ("a", False),
        ("b", False),
        ("ab  c", True),
    ):
        assert (text.replace(f" {value} ", "") != text) is is_listed


# ---------------------------------------------------------------- access rules


@pytest.mark.parametrize(
    ("key_id", "decision"), [("1", "allow"), ("2", "hide"), ("3", "forbid"), (None, "forbid")]
)
def test_the_first_rule_about_a_key_decides(key_id, decision):
    acl = Acl(
        "forbid",
        (Rule("a", "allow", ("1",)), Rule("b", "hide", ("2",)), Rule("c", "hide", ("1", "9"))),
    )
    assert acl.decide(key_id) == decision
    assert restore(acl.stored()) == acl


def test_rules_about_nobody_are_dropped_and_an_alias_means_all_its_keys():
    asked = {
        "default": "hide",
        "rules": [{"user": "team", "decision": "allow"}, {"user": "ghost", "decision": "allow"}],
    }
    acl = parse(asked).of({"team": {"2", "1"}, "1": {"1"}})
    assert acl == Acl("hide", (Rule("team", "allow", ("1", "2")),))
    assert acl.shown() == {"default": "hide", "rules": [{"user": "team", "decision": "allow"}]}
