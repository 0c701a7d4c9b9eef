"""What an answer has to look like: the JSON that was asked for, and where it was to stop.

Schemas are strangers' too. Nothing in one is fetched, its regular expressions are not run (one can
take for ever), and one that refers to itself without end is given up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from telecine.errors import InputError

_LOC = ("body", "response_format")
_REFERENCES = 10_000
_SHOWN = 300
# They run regular expressions, or look through all that was referred to.
_UNCHECKED = (
    "pattern",
    "patternProperties",
    "unevaluatedProperties",
    "unevaluatedItems",
    "$dynamicRef",
)


class _Endless(Exception):
    """More references than any honest schema has."""


def check_schema(response_format: Mapping[str, Any]) -> None:
    """Raises InputError where the schema is none."""
    schema = _schema(response_format)
    if schema is None:
        return
    from jsonschema import Draft202012Validator, SchemaError  # takes a while to load

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = ("json_schema", "schema", *error.absolute_path)
        raise InputError(
            f"This is no JSON Schema: {error.message[:_SHOWN]}", loc=(*_LOC, *where)
        ) from error
    except RecursionError as error:
        raise InputError("The schema is nested too deeply", loc=_LOC) from error


def instruction(response_format: Mapping[str, Any]) -> str:
    """What to tell a model that is not made to answer so; nothing for plain text."""
    if response_format.get("type") not in ("json_object", "json_schema"):
        return ""
    asked = "Answer with one JSON value and nothing else: no explanation, no code fence."
    schema = _schema(response_format)
    if schema is None:
        return asked
    return f"{asked} It must be valid against this JSON Schema:\n{json.dumps(schema)}"


def mismatch(response_format: Mapping[str, Any], answer: str) -> str | None:
    """How `answer` is not what was asked for, as a sentence; None: it is. May take a while: not
    for the event loop."""
    if response_format.get("type") not in ("json_object", "json_schema"):
        return None
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return "The answer is not JSON"
    schema = _schema(response_format)
    if schema is None:
        return None if isinstance(value, Mapping) else "The answer is JSON, but no object"
    from referencing.exceptions import Unresolvable

    try:
        error = next(_errors(schema, value), None)
    except (_Endless, RecursionError):
        return "The answer cannot be checked: the schema refers to itself without end"
    except Unresolvable as unresolvable:
        return f"The answer cannot be checked: the schema refers to {unresolvable.ref[:_SHOWN]!r}"
    if error is None:
        return None
    return f"The answer does not fit the schema at {error.json_path}: {error.message[:_SHOWN]}"


def _schema(response_format: Mapping[str, Any]) -> Any:
    asked = response_format.get("json_schema")
    return asked.get("schema") if isinstance(asked, Mapping) else None


def _errors(schema: Any, value: Any) -> Iterator[Any]:
    from jsonschema import Draft202012Validator, validators
    from referencing import Registry

    references = 0
    keywords = Draft202012Validator.VALIDATORS

    def counted(validator: Any, ref: Any, value: Any, inside: Any) -> Iterator[Any]:
        nonlocal references
        references += 1
        if references > _REFERENCES:
            raise _Endless
        yield from keywords["$ref"](validator, ref, value, inside) or ()

    def additional(validator: Any, rule: Any, value: Any, inside: Any) -> Iterator[Any]:
        if "patternProperties" not in inside:
            yield from keywords["additionalProperties"](validator, rule, value, inside) or ()

    def unchecked(*_: Any) -> Iterator[Any]:
        return iter(())

    own = dict.fromkeys(_UNCHECKED, unchecked)
    made = validators.extend(
        Draft202012Validator, {**own, "$ref": counted, "additionalProperties": additional}
    )
    # A registry of our own: the default one fetches what a schema refers to.
    errors: Iterator[Any] = made(schema, registry=Registry()).iter_errors(value)
    return errors


class Stops:
    """Cuts a text that comes in pieces where the first of `words` begins.

    What may be the beginning of one is held back until it is known to be none.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = [word for word in words if word]
        self._held = ""
        self.is_over = False

    def take(self, text: str) -> str:
        """What of the text so far may be said now."""
        if self.is_over:
            return ""
        text = self._held + text
        found = [at for word in self._words if (at := text.find(word)) >= 0]
        if found:
            self.is_over, self._held = True, ""
            return text[: min(found)]
        keep = max((_overlap(text, word) for word in self._words), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> str:
        """What was held back, when nothing more comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, word: str) -> int:
    """How much of the end of `text` is a beginning of `word`."""
    longest = min(len(word) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if word.startswith(text[-n:])), 0)
