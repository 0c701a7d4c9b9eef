"""What the query of a Platform API call asks for. Everything here raises BadRequest."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from starlette.requests import Request

from telecine.errors import BadRequest

DAY = 24 * 3600.0
MOST = 2**63 - 1

_MOST_VALUES = 50
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SPACED_OFFSET = re.compile(r"(.*T.*) (\d\d:?\d\d)", re.ASCII)  # a "+" that nobody escaped
_YEARS = range(1971, 9000)


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to before `end`, in epoch seconds; `zone` is where its days begin."""

    start: float
    end: float
    zone: tzinfo = UTC


class Asked:
    """The query of one call, at the time `now`."""

    def __init__(self, request: Request, now: float) -> None:
        self._query = request.query_params
        self._now = now

    def text(self, name: str) -> str | None:
        """One value; an empty one is none."""
        return self._query.get(name) or None

    def many(self, name: str) -> tuple[str, ...]:
        """Values that are repeated, separated by commas, or both; 50 at most, each once."""
        texts = [text.strip() for value in self._query.getlist(name) for text in value.split(",")]
        values = tuple(dict.fromkeys(text for text in texts if text))
        if len(values) > _MOST_VALUES:
            raise BadRequest(f"{name}: {_MOST_VALUES} at most")
        if any(" " in value or len(value) > 300 for value in values):
            raise BadRequest(f"{name}: not a list of ids")
        if name in self._query and not values:
            raise BadRequest(f"{name}: give one at least, or leave it out")
        return values

    def choice(self, name: str, options: Collection[str], default: str = "") -> str:
        value = self.text(name) or default
        if value and value not in options:
            raise BadRequest(f"{name} is one of {', '.join(options)}")
        return value

    def choices(
        self, name: str, options: Collection[str], default: Sequence[str] = ()
    ) -> frozenset[str]:
        values = self.many(name) or tuple(default)
        if unknown := [value for value in values if value not in options]:
            raise BadRequest(f"{name}: {unknown[0][:100]} is none of {', '.join(options)}")
        return frozenset(values)

    def limit(self, default: int, most: int) -> int:
        """How many to answer with; fewer than asked for where that would be too many."""
        text = self.text("limit") or str(default)
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
            raise BadRequest("limit is a whole number from 1 on")
        return min(int(text), most)

    def cursor(self, *kinds: type) -> tuple[Any, ...] | None:
        """The values that `cursor_of` was given, which are of these kinds."""
        text = self.text("cursor")
        if text is None:
            return None
        try:
            values = json.loads(base64.b64decode(text, altchars=b"-_", validate=True))
        except (ValueError, binascii.Error, RecursionError):
            values = None
        if (
            not isinstance(values, list)
            or len(values) != len(kinds)
            or not all(map(_is_of, values, kinds))
        ):
            raise BadRequest("cursor is not the next_cursor of an answer to this call")
        return tuple(values)

    def span(self, seconds: float = DAY) -> Span:
        """From `start`, or so many seconds ago, to before `end`, or now and no later."""
        zone = self._zone()
        start, end = self._time("start", zone), self._time("end", zone)
        end = math.nextafter(self._now, math.inf) if end is None else end
        start = self._now - seconds if start is None else start
        if start >= end:
            raise BadRequest("start must be before end")
        return Span(start, end, zone)

    def at(self, name: str) -> float | None:
        """A time; None: not said."""
        return self._time(name, self._zone())

    def _time(self, name: str, zone: tzinfo) -> float | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            at = datetime.fromisoformat(_SPACED_OFFSET.sub(r"\1+\2", text))
            if at.year not in _YEARS or ("T" not in text and not _DATE.fullmatch(text)):
                raise ValueError(text)
        except ValueError:
            raise BadRequest(
                f"{name} is a date (2026-01-31) or a time in ISO 8601 (2026-01-31T12:00:00Z)"
            ) from None
        return (at.replace(tzinfo=zone) if at.tzinfo is None else at).timestamp()

    def _zone(self) -> tzinfo:
        name = self.text("timezone") or "UTC"
        if name == "UTC":
            return UTC
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise BadRequest("timezone is a name such as UTC or Europe/Berlin") from None


def cursor_of(*values: float | str) -> str:
    """Where the next page goes on."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def listed(values: Collection[str]) -> str:
    """For statements that look for `' ' || column || ' '` in it."""
    return "".join(f" {value} " for value in values)


def _is_of(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, int | float) and abs(value) < MOST and math.isfinite(value)
    return isinstance(value, kind) and (not isinstance(value, int) or abs(value) <= MOST)
