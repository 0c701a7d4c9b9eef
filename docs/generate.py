"""Writes what docs/reference takes from the code: `make docs`.

Two pages are made as a whole, settings and commands. Others are written by hand around tables that
stand between `<!-- made: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from typer.core import TyperArgument, TyperCommand, TyperGroup

from telecine.api import documents
from telecine.cli import app
from telecine.endpoints import ENDPOINTS, UsageInfo, VideoInput, VideoOutput
from telecine.fake.anthropic import Anthropic
from telecine.fake.conversations import Conversations
from telecine.fake.gemini import Gemini
from telecine.fake.media import FILES
from telecine.fake.record import Record
from telecine.fake.script import WIRE
from telecine.fake.server import Part, parts
from telecine.providers import local_weights
from telecine.providers.local_child import belief
from telecine.providers.local_weights import Published
from telecine.settings import SECTIONS, ModelSettings, ProviderSettings, Row, rows, size, variables

REFERENCE = Path(__file__).parent / "reference"

# ---------------------------------------------------------------- settings

SETTINGS = """# Settings

<!-- Made by `make docs` from src/telecine/settings.py; a test compares them. -->

Every setting has a place in the file `telecine.toml` and a variable in the environment. A
command-line flag wins over the environment, the environment over the file, the file over the
default. The file is the one that `--config` names, else `telecine.toml` in the current folder, else
`telecine/telecine.toml` in `$XDG_CONFIG_HOME` (`~/.config`). An empty variable is one that is not
set. What is wrong is said with its line and what is allowed, and nothing starts.

Secrets stand in the environment alone. `telecine doctor` says what of this works.
"""

PROVIDERS = """
## [providers.NAME]

One table per provider; NAME is the prefix of its models (`vllm/Qwen/Qwen3-VL-8B-Instruct`). They
are set in the file only. `local` is always there, `openrouter` when `OPENROUTER_API_KEY` is set.

```toml
[providers.vllm]
type = "openai"
base_url = "http://localhost:8000/v1"
dialect = "vllm"
```
"""

ALIASES = """
Leave fal without touching code:

```toml
[models.aliases]
"google/gemini-2.5-flash" = "vllm/Qwen/Qwen3-VL-8B-Instruct"
"*" = "local/report"
```
"""


CATALOG = """
## [models.catalog."PROVIDER/MODEL"]

What the operator knows better of a model than its provider's list or the seed inside the package:
[models](models.md). In the file only.

```toml
[models.catalog."vllm/Qwen/Qwen3-VL-8B-Instruct"]
video = ["file", "frames"]
context_tokens = 32768
price_prompt = "0.05"
price_completion = "0.20"
```
"""


def settings_page() -> str:
    parts = [SETTINGS]
    for section, kind in SECTIONS.items():
        parts.append(f"\n## [{section}]\n")
        for name, default, row in rows(kind):
            parts.append(_entry(f"{section}.{name}", default, row, variables(section, name, row)))
        if section == "models":
            parts.append(ALIASES)
    parts.append(CATALOG)
    for name, default, row in rows(ModelSettings):
        parts.append(_entry(name, default, row, []))
    parts.append(PROVIDERS)
    for name, default, row in rows(ProviderSettings):
        parts.append(_entry(f"providers.NAME.{name}", default, row, []))
    return "".join(parts)


def _entry(key: str, default: Any, row: Row, names: list[str]) -> str:
    given = [f"`{name}`" for name in (*names, row.flag) if name]
    lines = [
        f"\n**`{key}`** · {row.help}\n",
        f"- Default: {_default(key, default, row)}\n",
        f"- Allowed: {row.kind.allowed}\n",
    ]
    if given:
        lines.append(f"- Also: {', '.join(given)}\n")
    if not row.may_stand_in_file:
        lines.append("- A secret: not in the file\n")
    return "".join(lines)


def _default(key: str, default: Any, row: Row) -> str:
    if row.shown:
        return row.shown
    if default is MISSING or default in (None, "", ()):
        return "not set"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if key.startswith("media.") and "bytes" in key:
        return f"`{size(default)}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


# ---------------------------------------------------------------- commands

COMMANDS = """# Commands

<!-- Made by `make docs` from src/telecine/cli; a test compares them. -->

`telecine COMMAND --help` says the same. Answers and tables go to stdout, progress and complaints to
stderr. Exit codes: 0 done, 1 it failed, 2 wrong settings or arguments, 130 interrupted.
`TELECINE_DEBUG=1` shows where an unexpected error came from. What `--data` and `--config` name:
[settings](settings.md).
"""


def commands_page() -> str:
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    return COMMANDS + "".join(_commands("telecine", root))


def _commands(path: str, group: TyperGroup) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(f"{path} {name}", command)
        else:
            assert isinstance(command, TyperCommand)
            yield _command(f"{path} {name}", command)


def _command(path: str, command: TyperCommand) -> str:
    arguments = [each for each in command.params if isinstance(each, TyperArgument)]
    options = [each for each in command.params if not isinstance(each, TyperArgument)]
    usage = " ".join([path, *("[OPTIONS]" for _ in options[:1]), *map(_metavar, arguments)])
    lines = [f"\n## {path}\n\n", f"`{usage}`\n\n", f"{_paragraphs(command.help)}\n"]
    if command.params:
        lines.append("\n| | |\n| --- | --- |\n")
    lines += [f"| `{_metavar(each)}` | {each.help} |\n" for each in arguments]
    lines += [f"| {_option(each)} | {_about(each)} |\n" for each in options]
    return "".join(lines)


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def _metavar(argument: TyperArgument) -> str:
    return argument.metavar or str(argument.name).upper()


def _option(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    return names if option.is_flag else f"{names} {_value(option)}"


def _value(option: Any) -> str:
    """What stands after the option: its metavar, its choices, or its type."""
    kind = option.type_descriptor.annotation
    plain = next((each for each in get_args(kind) if each is not type(None)), kind)
    if get_origin(plain) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(plain))
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    words = {str: "TEXT", int: "N", float: "N"}
    return str(option.metavar or words.get(plain, "TEXT"))


def _about(option: Any) -> str:
    default = option.show_default if isinstance(option.show_default, str) else option.default
    if option.required:
        return f"{option.help} Needed."
    if option.is_flag or option.show_default is False or default in (None, "", []):
        return str(option.help)
    shown = ", ".join(default) if isinstance(default, list) else default
    return f"{option.help} Default: `{shown}`."


# ---------------------------------------------------------------- tables in pages


def video_input() -> str:
    order = ENDPOINTS["openrouter/router/video"].order
    return _fields(VideoInput, order)


def video_extras() -> str:
    order = ENDPOINTS["openrouter/router/video"].order
    return _fields(VideoInput, [name for name in VideoInput.model_fields if name not in order])


def video_output() -> str:
    output = documents.schema(VideoOutput)["properties"]
    usage = documents.schema(UsageInfo)["properties"]
    lines = ["| field | type | |\n", "| --- | --- | --- |\n"]
    for name, about in {**output, **{f"usage.{name}": usage[name] for name in usage}}.items():
        lines.append(f"| `{name}` | {_type(about)} | {about.get('description', '')} |\n")
    return "".join(lines)


def _fields(model: type[BaseModel], names: Sequence[str]) -> str:
    schema = documents.schema(model, tuple(names))
    lines = ["| field | type | default | |\n", "| --- | --- | --- | --- |\n"]
    for name, about in schema["properties"].items():
        default = "**needed**" if name in schema["required"] else _shown(about.get("default"))
        lines.append(
            f"| `{name}` | {_type(about)} | {default} | {about.get('description', '')} |\n"
        )
    return "".join(lines)


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else str(default)


def _type(about: Mapping[str, Any]) -> str:
    kind = str(about.get("type", "object"))
    if kind == "array":
        return f"list of {about['items']['type']}"
    least = "above" if about.get("exclusiveMinimum") else "from"
    bounds = [
        f"{word} {about[key]:.15g}"
        for key, word in (("minimum", least), ("maximum", "to"))
        if key in about and abs(about[key]) < 2**53
    ]
    return " ".join([kind, *bounds])


def endpoints() -> str:
    lines = ["| endpoint | |\n", "| --- | --- |\n"]
    lines += [f"| `{each.id}` | {each.description} |\n" for each in ENDPOINTS.values()]
    return "".join(lines)


def weights() -> str:
    published = [each for each in vars(local_weights).values() if isinstance(each, Published)]
    lines = ["| model | file | SHA-256 |\n", "| --- | --- | --- |\n"]
    for each in published:
        for name, sha256 in each.sha256.items():
            lines.append(f"| {each.name} | `{name}` | `{sha256}` |\n")
    return "".join(lines)


def languages() -> str:
    return ", ".join(f"`{code}`" for code in sorted(belief.LANGUAGES)) + "\n"


def switches_of_the_wire() -> str:
    return _told("switch", {name: switch.does for name, switch in WIRE.items()})


def switches(kind: type[Part]) -> str:
    part = next(part for part in parts(Record()) if isinstance(part, kind))
    return _told("switch", part.switches())


def media() -> str:
    return _told("path", {f"/media/{name}": file.does for name, file in FILES.items()})


def _told(what: str, sentences: Mapping[str, str]) -> str:
    lines = [f"| {what} | |\n", "| --- | --- |\n"]
    lines += [f"| `{name}` | {does} |\n" for name, does in sentences.items()]
    return "".join(lines)


TABLES: Mapping[str, Callable[[], str]] = {
    "wire_switches": switches_of_the_wire,
    "openai_switches": lambda: switches(Conversations),
    "anthropic_switches": lambda: switches(Anthropic),
    "gemini_switches": lambda: switches(Gemini),
    "bad_media": media,
    "input": video_input,
    "extras": video_extras,
    "output": video_output,
    "endpoints": endpoints,
    "weights": weights,
    "languages": languages,
}
_MADE = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """`page`, its tables made anew."""
    return _MADE.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}{match[3]}", page)


def pages() -> dict[Path, str]:
    """Every page of the reference as it must be."""
    made = {
        REFERENCE / "settings.md": settings_page(),
        REFERENCE / "commands.md": commands_page(),
    }
    for path in sorted(REFERENCE.glob("*.md")):
        made.setdefault(path, filled(path.read_text(encoding="utf-8")))
    return made


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
