"""A pytest plugin that makes docs/providers.md from the run it sees.

    python -m pytest -p tests.contract.report tests/contract tests/integration/test_complaints*.py

Without it the same tests compare what they find with the page. It is written when every cell was
run and nothing failed, and only then; the last line tells.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "providers.md"
COMPLAINTS = HERE / "complaints.md"

# The rows: by what a route is called on the page, a model that goes there.
ROUTES = {
    "openrouter/google/gemini": "google/gemini-2.5-flash",
    "openrouter/others": "qwen/qwen3.5-27b",
    "openrouter/pictures": "pictures/only",
    "gemini": "gemini/gemini-2.5-flash",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "vllm": "vllm/Qwen/Qwen3-VL-8B",
    "sglang": "sglang/Qwen/Qwen3-VL-8B",
    "llamacpp": "llamacpp/some-model",
    "llamacpp, itself": "llama/tiny",
    "ollama": "ollama/qwen3-vl:8b",
    "dashscope": "dashscope/qwen3-vl-plus",
    "zai": "zai/glm-4.6v",
    "kimi": "kimi/kimi-k2.6",
    "ark": "ark/seed-2.0-lite",
    "generic": "generic/some-model",
    "local": "local/report",
    "echo": "echo/echo",
}
# Not the fake, but the server itself.
REAL = ("llamacpp, itself",)


@dataclass(frozen=True)
class _Column:
    table: str
    title: str
    test: str


columns: list[_Column] = []
_cells: dict[tuple[str, str], str] = {}
_problems: list[str] = []


def column(table, title):
    """A test that fills a column of a table, a cell per route; gives it the fixture `route`."""

    def mark(test):
        columns.append(_Column(table, title, test.__name__))
        return pytest.mark.parametrize("route", ROUTES)(test)

    return mark


def title_of(test):
    return next(column.title for column in columns if column.test == test)


HEAD = """# Providers: what gets there, and how

<!-- Made by `make providers` from a run of tests/contract/test_routes.py; change the tests. -->

A row per route, a column per wish. A cell is what was seen in a run of the whole server: what it says
in the receipt, compared with what the upstream was sent. The upstream is
[the fake one](reference/fake-upstream.md), which speaks as recordings and documents of each provider
do; in the row **llamacpp, itself** it is llama.cpp's own server. Nothing here was seen on a paid
service. What each route is, and its settings: [providers](reference/providers.md).

The clip has six seconds, 32 kB and no sound. "-": not to be had there, or shown by another test.
"""

# Each with what the words in it mean.
TABLES = {
    "Videos": """\
**file**, **url**, **link**, **frames**, **decoded**: the form in which it arrives
([forms](reference/models.md#how-videos-get-to-a-model)). **uploaded**: as a file, in calls of its own.
**made smaller**: re-encoded here. **then frames**: what is sent after the upstream refused a form.
**heard**, **as text**, **in the file**: what becomes of the sound; the last is not known to be listened
to. **N + 1 calls**: stretch by stretch, and a call that joins them.""",
    "Options": """\
**told**: in the upstream's own words. **here**: done to the video on this machine. **frames**: by the
choice of the stills that are taken here. **in words**: as an instruction, and the answer is checked.
**warned**: not to be had, said in log and receipt; a refusal with `strict`.""",
    "What comes of it": """\
**told**: the prompt tokens of the video, apart from those of the text. **seen**: whether the receipt
knows that the model saw it. **refused**, **warned**: what becomes of an answer that was given without
the video; with `strict` always a refusal. **billed**, **computed**, **free**, **unknown**: where the
cost is from. **hangs up**: the call upstream ends with the caller's. **mapped**: 400, 401, 500 and 504
become errors of ours that keep the upstream's words, and no key.""",
}


def page(cells):
    """`cells`: by title and route."""
    parts = [HEAD]
    for name, legend in TABLES.items():
        own = [column for column in columns if column.table == name]
        rows = [
            f"| {route} | "
            + " | ".join(cells.get((column.title, route), "-") for column in own)
            + " |"
            for route in ROUTES
        ]
        shown = "; ".join(f"{column.title}: `{column.test}`" for column in own)
        head = f"| route | {' | '.join(column.title for column in own)} |"
        table = "\n".join([head, "|---" * (len(own) + 1) + "|", *rows])
        parts.append(f"## {name}\n\n{legend}\n\n{table}\n\nShown by {shown}.\n")
    return "\n".join([*parts, COMPLAINTS.read_text()])


def cells_of(text):
    """What a page says: by title and route."""
    found = {}
    titles: list[str] = []
    for line in text.splitlines():
        first, *others = [cell.strip() for cell in line.strip("|").split(" | ")]
        if first == "route":
            titles = others
        elif first in ROUTES:
            found |= {(title, first): how for title, how in zip(titles, others, strict=True)}
    return found


# ---------------------------------------------------------------- pytest


def pytest_runtest_logreport(report):
    if report.failed:
        _problems.append(report.nodeid)
    found = [cell for name, cell in report.user_properties if name == "cell"]
    _cells.update(((title, route), how) for title, route, how in found)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    whole = {(column.title, route) for column in columns for route in ROUTES}
    missing = whole - _seen(terminalreporter)
    if missing or _problems:
        terminalreporter.write_line(f"{PAGE.name} is as it was")
        return
    PAGE.write_text(page(_cells))
    terminalreporter.write_line(f"{PAGE.name} is new: {len(_cells)} cells")


def _seen(terminalreporter):
    """Of the tests that ran, or said why not: title and route."""
    reports = [
        report
        for outcome in ("passed", "skipped", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        if "/test_routes.py::" in report.nodeid
    ]
    names = [
        report.nodeid.rpartition("::")[2].removesuffix("]").partition("[") for report in reports
    ]
    return {(title_of(test), route) for test, _, route in names}
