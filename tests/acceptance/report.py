"""A pytest plugin that makes docs/compatibility.md from the run it sees.

    python -m pytest -p tests.acceptance.report tests/acceptance

The page is written when every row of rows.md was run, and only then; the last line tells.
"""

import importlib.metadata
import json
import platform
import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "compatibility.md"
DOCUMENTED = ("C005", "C022")  # about what a client does before it sends anything
_TEST = re.compile(r"::test_(c\d{3})_")

HEAD = """# Compatibility

<!-- Made by `make compatibility` from a run of tests/acceptance; change tests/acceptance/rows.md. -->

What fal's published clients do against an installed Telecine, one row per claim. {passed} of the
{tested} rows that a server can influence hold, as do the remarks on the {documented} others.

`EP` is `openrouter/router/video`, `IN` an input with a prompt, a model and a reachable video,
`ORIGIN` the server. **proxy** is `proxyUrl: {{url: ORIGIN + "/api/fal/proxy", when: "always"}}`, **mw**
a `requestMiddleware` that maps fal's hosts to prefixes of ORIGIN, **env** the variables
`FAL_RUN_HOST`, `FAL_QUEUE_RUN_HOST` and `SSL_CERT_FILE`. A row that differs from fal on purpose
says so. The clients ran on Node {node} and Python {python}.

| row | area | client | what is called | what is expected | result |
|---|---|---|---|---|---|
"""


@dataclass
class Row:
    id: str
    area: str
    client: str
    call: str
    expected: str
    note: str
    outcomes: list[str] = field(default_factory=list)

    @property
    def result(self):
        """The worst of its tests; None: nothing of it was run."""
        if self.id in DOCUMENTED:
            return "documented"
        for outcome, word in (("failed", "**fails**"), ("skipped", "not run"), ("passed", "holds")):
            if outcome in self.outcomes:
                return word
        return None


def rows():
    """rows.md, by id."""
    lines = [line for line in (HERE / "rows.md").read_text().splitlines() if line[:3] == "| C"]
    cells = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines]
    return {row[0]: Row(*row) for row in cells}


def clients():
    """What drives the rows, by the short names of rows.md."""
    return {
        "J": _js("@fal-ai/client"),
        "B": f"{_js('@fal-ai/client')} in a browser",
        "old": _js("@fal-ai/serverless-client"),
        "S": f"{_js('@fal-ai/server-proxy')} before {_js('@fal-ai/client')}",
        "P": _python("fal-client"),
        "F": "the calls of `fal` 1.83.0",
        "O": f"{_python('openai')} for Python, {_js('openai')} for Node",
        "H": "plain HTTP",
    }


def _js(package):
    about = HERE / "js/node_modules" / package / "package.json"
    return f"`{package}` {json.loads(about.read_text())['version']}"


def _python(package):
    return f"`{package}` {importlib.metadata.version(package)}"


def _said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip("v\n")


def page(table):
    names = clients()
    tested = [row for row in table.values() if row.id not in DOCUMENTED]
    lines = [
        HEAD.format(
            passed=sum(row.result == "holds" for row in tested),
            tested=len(tested),
            documented=len(DOCUMENTED),
            node=_said("node", "--version"),
            python=platform.python_version(),
        )
    ]
    for row in table.values():
        result = f"{row.result}. {row.note}" if row.note else row.result
        cells = (row.id, row.area, names[row.client], row.call, row.expected, result)
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


# ---------------------------------------------------------------- pytest

_outcomes = defaultdict(list)


def pytest_runtest_logreport(report):
    found = _TEST.search(report.nodeid)
    # What went wrong before or after a test counts as well.
    if found and (report.when == "call" or not report.passed):
        _outcomes[found[1].upper()].append(report.outcome)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    table = rows()
    for name, outcomes in _outcomes.items():
        table[name].outcomes = outcomes
    missing = [row.id for row in table.values() if row.result is None]
    if missing:
        terminalreporter.write_line(f"{PAGE.name} is as it was; not run: {' '.join(missing)}")
        return
    PAGE.write_text(page(table))
    held = sum(row.result == "holds" for row in table.values())
    terminalreporter.write_line(f"{PAGE.name} is new: {held} rows hold")
