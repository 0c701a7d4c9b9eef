"""Slices of time as a calendar cuts them: what a time series counts in."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from telecine.api.platform.asked import DAY, Span

TIMEFRAMES = ("minute", "hour", "day", "week", "month")

_LONGEST = (("minute", DAY / 12), ("hour", 2 * DAY), ("day", 64 * DAY), ("week", 183 * DAY))


def timeframe_for(span: Span) -> str:
    """The usual slice for a span of this length."""
    seconds = span.end - span.start
    return next((name for name, longest in _LONGEST if seconds < longest), "month")


def begin(at: float, timeframe: str, zone: tzinfo) -> float:
    """When the slice began that `at` is in."""
    return _begin(datetime.fromtimestamp(at, zone), timeframe).timestamp()


def end(at: float, timeframe: str, zone: tzinfo) -> float:
    """When the slice ends that `at` is in: always after `at`."""
    began = _begin(datetime.fromtimestamp(at, zone), timeframe)
    match timeframe:
        case "minute":
            return began.timestamp() + 60
        case "hour":
            return began.timestamp() + 3600
        case "day":
            following = began + timedelta(days=1)
        case "week":
            following = began + timedelta(days=7)
        case _:
            following = (began + timedelta(days=31)).replace(day=1)
    return following.replace(fold=0).timestamp()


def shown(at: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at, zone).isoformat()


def whole(span: Span, timeframe: str) -> Span:
    """The span, widened to whole slices."""
    start = begin(span.start, timeframe, span.zone)
    last = begin(span.end, timeframe, span.zone)
    stop = last if last == span.end else end(span.end, timeframe, span.zone)
    return Span(start, stop, span.zone)


def _begin(local: datetime, timeframe: str) -> datetime:
    minute = local.replace(second=0, microsecond=0)
    if timeframe == "minute":
        return minute
    hour = minute.replace(minute=0)
    if timeframe == "hour":
        return hour
    day = hour.replace(hour=0, fold=0)
    if timeframe == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if timeframe == "month" else day
