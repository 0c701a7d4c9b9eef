"""Ranges and conditions of a GET (RFC 9110, sections 13 and 14), for answers that never change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

_ONE_RANGE = re.compile(r"bytes=(?P<first>\d{0,18})-(?P<last>\d{0,18})", re.ASCII | re.IGNORECASE)


class Span(NamedTuple):
    """Bytes from `start` up to, not including, `end`."""

    start: int
    end: int


class Unsatisfiable(Exception):
    """The range begins behind the end."""


def span(headers: Mapping[str, str], *, size: int, etag: str, modified: float) -> Span | None:
    """The one range that is asked for. None: all of it.

    Several ranges, other units and what is no range at all are ignored, as the RFC allows.
    Raises Unsatisfiable.
    """
    match = _ONE_RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if match is None or not _still_holds(headers.get("if-range"), etag, modified):
        return None
    first, last = match["first"], match["last"]
    if not first and not last:
        return None
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < start:
            return None
    if start >= size:
        raise Unsatisfiable
    return Span(start, end)


def is_unchanged(headers: Mapping[str, str], *, etag: str, modified: float) -> bool:
    """Whether the caller has it already: If-None-Match, else If-Modified-Since."""
    tags = headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or etag in (
            tag.strip().removeprefix("W/") for tag in tags.split(",")
        )
    since = _seconds(headers.get("if-modified-since"))
    return since is not None and int(modified) <= since


def _still_holds(if_range: str | None, etag: str, modified: float) -> bool:
    if if_range is None:
        return True
    if if_range.startswith(('"', "W/")):
        return if_range == etag
    return _seconds(if_range) == int(modified)


def _seconds(date: str | None) -> float | None:
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
