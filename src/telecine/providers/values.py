"""What is in JSON that others wrote, read without trust: the wrong type is as good as nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def words(value: Any) -> tuple[str, ...]:
    """The strings in a list."""
    return tuple(item for item in items(value) if isinstance(item, str))


def word(value: Any) -> str | None:
    """A string of some length, cut where a name or an id would be too long."""
    return value[:200] if isinstance(value, str) and value else None


def count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        return None
    return value


def first(value: Any) -> Mapping[str, Any]:
    """The first of a list of objects."""
    return mapping(value[0]) if isinstance(value, list) and value else {}
