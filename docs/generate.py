"""Writes docs/reference/settings.md from the table in telecine/settings.py: `make docs`."""

from __future__ import annotations

from dataclasses import MISSING
from pathlib import Path
from typing import Any

from telecine.settings import SECTIONS, ProviderSettings, Row, rows, size, variables

PAGE = Path(__file__).parent / "reference" / "settings.md"

HEAD = """# Settings

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


def settings_page() -> str:
    parts = [HEAD]
    for section, kind in SECTIONS.items():
        parts.append(f"\n## [{section}]\n")
        for name, default, row in rows(kind):
            parts.append(_entry(f"{section}.{name}", default, row, variables(section, name, row)))
        if section == "models":
            parts.append(ALIASES)
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


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
