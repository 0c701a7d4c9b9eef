"""The statements of the .sql files beside this one, by name, for one kind of database.

`queries*.sql` is what all databases understand. `queries_sqlite.sql` and `queries_postgres.sql`
hold what only the one of them knows; a statement there takes the place of a shared one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from typing import Literal, TypeAlias

Dialect: TypeAlias = Literal["sqlite", "postgres"]

_DIALECTS = ("sqlite", "postgres")
_NAME = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)


def read_statements(dialect: Dialect = "sqlite") -> dict[str, str]:
    """The text of every statement by its name."""
    own = {f"queries_{each}.sql": each for each in _DIALECTS}
    shared: dict[str, str] = {}
    special: dict[str, str] = {}
    for name, text in _files():
        found = special if own.get(name) == dialect else shared
        if own.get(name, dialect) != dialect:
            continue
        for statement, body in _split(text):
            if statement in found:
                raise ValueError(f"{name}: there is a statement {statement} already")
            found[statement] = body
    return shared | special


def _files() -> Iterator[tuple[str, str]]:
    for file in resources.files("telecine.db").iterdir():
        if file.name.endswith(".sql"):
            yield file.name, file.read_text("utf-8")


def _split(text: str) -> Iterator[tuple[str, str]]:
    _, *pieces = _NAME.split(text)
    for name, body in zip(pieces[::2], pieces[1::2], strict=True):
        lines = (line for line in body.splitlines() if not line.lstrip().startswith("--"))
        yield name, "\n".join(lines).strip().removesuffix(";")
