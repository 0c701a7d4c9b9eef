"""The values of the options beyond fal's: how each is read, and what is said when it is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn, get_args

from pydantic import TypeAdapter
from pydantic_core import PydanticCustomError, PydanticKnownError

from telecine.models import Effort

EFFORTS: tuple[Effort, ...] = get_args(Effort)
MAX_STOPS = 4
MAX_MODELS = 8
MAX_SECONDS = 10**6
_MAX_NODES = 2000
_MAX_DEPTH = 32

_BOOL = TypeAdapter(bool)
_PLAIN = re.compile(r"(\d{1,7}(?:\.\d{1,6})?)s?", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,4}):(\d{2}(?:\.\d{1,6})?)", re.ASCII)
_FORMATS = ("text", "json_object", "json_schema")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def moment(given: Any) -> Any:
    """Seconds of a clip, from "40s", "MM:SS" or "HH:MM:SS"; other numbers are left alone."""
    seconds = _read(given.strip()) if isinstance(given, str) else given
    if seconds is None or isinstance(seconds, bool):
        reason = 'seconds, as a number or as in "40s", "1:30" or "0:01:30"'
        raise PydanticKnownError("time_parsing", {"error": reason})
    return seconds


def _read(text: str) -> float | None:
    if plain := _PLAIN.fullmatch(text):
        return float(plain[1])
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        return None
    hours, minutes, seconds = clock[1], int(clock[2]), float(clock[3])
    if seconds >= 60 or (hours is not None and minutes >= 60):
        return None
    return int(hours or 0) * 3600 + minutes * 60 + seconds


def reasoning(given: Any) -> Any:
    """Whether, as fal has it, or how much."""
    return given if given in EFFORTS else _BOOL.validate_python(given)


def stops(given: Any) -> Any:
    """One text is as good as a list of it."""
    return [given] if isinstance(given, str) else given


def bounded(given: Any) -> Any:
    """An object that is passed on: of no more than a sane size, whatever it means."""
    if isinstance(given, Mapping) and _is_huge(given):
        raise PydanticCustomError(
            "object_too_large",
            "Input should be an object of at most {max_items} values, {max_depth} levels deep",
            {"max_items": _MAX_NODES, "max_depth": _MAX_DEPTH},
        )
    return given


def _is_huge(document: Any) -> bool:
    waiting, count = [(document, 1)], 0
    while waiting:
        value, depth = waiting.pop()
        inside = list(value.values()) if isinstance(value, Mapping) else value
        if not isinstance(inside, list):
            continue
        count += len(inside)
        if count > _MAX_NODES or depth > _MAX_DEPTH:
            return True
        waiting += [(each, depth + 1) for each in inside]
    return False


def response_format(given: Any) -> Any:
    """OpenAI's object. A schema in it is of a sane size and refers to nothing outside itself;
    whether it is one is looked at where there is time for that (`formats`)."""
    if not isinstance(given, Mapping):
        return given
    kind = given.get("type")
    if kind not in _FORMATS:
        _refuse("type should be 'text', 'json_object' or 'json_schema'")
    if kind == "text":
        return None  # what comes anyway
    if kind == "json_object":
        return {"type": kind}
    asked = given.get("json_schema")
    if not isinstance(asked, Mapping) or not isinstance(asked.get("schema"), Mapping):
        _refuse("json_schema should be an object with a name and a schema")
    name = asked.get("name", "answer")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        _refuse("json_schema.name should be 1 to 64 letters, digits, underscores and dashes")
    if not isinstance(asked.get("strict"), bool | None):
        _refuse("json_schema.strict should be true or false")
    bounded(asked)
    for reference in _references(asked["schema"]):
        if not reference.startswith("#"):
            _refuse(f"the schema may refer only to itself, not to {reference[:100]!r}")
    return {"type": kind, "json_schema": {**asked, "name": name}}


def _references(schema: Any) -> list[str]:
    """Texts alone: what else is called so is a property of that name, or no schema."""
    waiting, found = [schema], list[str]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            named = (value.get(name) for name in ("$ref", "$dynamicRef"))
            found += [reference for reference in named if isinstance(reference, str)]
        inside = list(value.values()) if isinstance(value, Mapping) else value
        waiting += inside if isinstance(inside, list) else []
    return found


def _refuse(reason: str) -> NoReturn:
    raise PydanticCustomError("value_error", "{reason}", {"reason": reason})
