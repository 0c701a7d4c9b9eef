"""A pytest plugin that makes docs/compatibility.md from the run it sees.

    python -m pytest -p tests.acceptance.report tests/acceptance

The page is written when every row of rows.md was run, and only then; the last line tells.
"""

import importlib.metadata
import json
import re
import shutil
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
says so.

| client | version |
|---|---|
{versions}

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


class Clients:
    """Names and versions of what drives the rows, by the short names of rows.md."""

    def __init__(self):
        js = self._js
        fal_client = f"`fal_client` {importlib.metadata.version('fal-client')}"
        self.names = {
            "J": f"{js('@fal-ai/client')} (Node)",
            "B": f"{js('@fal-ai/client')} (Chromium)",
            "old": f"{js('@fal-ai/serverless-client')} (Node)",
            "S": f"{js('@fal-ai/server-proxy')} before {js('@fal-ai/client')}",
            "P": fal_client,
            "F": "`fal` 1.83.0, its calls",
            "O": f"`openai` {importlib.metadata.version('openai')} (Python), {js('openai')} (Node)",
            "H": "plain HTTP",
        }

    @property
    def table(self):
        node = subprocess.run(
            [shutil.which("node"), "--version"], capture_output=True, text=True, check=True
        )
        found = re.findall(r"`(\S+)` (\d\S*)", " ".join(self.names.values()))
        versions = dict.fromkeys([*found, ("Node", node.stdout.strip().removeprefix("v"))])
        return "\n".join(f"| `{name}` | {version} |" for name, version in versions)

    @staticmethod
    def _js(package):
        about = HERE / "js/node_modules" / package / "package.json"
        return f"`{package}` {json.loads(about.read_text())['version']}"


def page(table):
    clients = Clients()
    tested = [row for row in table.values() if row.id not in DOCUMENTED]
    lines = [
        HEAD.format(
            passed=sum(row.result == "holds" for row in tested),
            tested=len(tested),
            documented=len(DOCUMENTED),
            versions=clients.table,
        )
    ]
    for row in table.values():
        result = f"{row.result}. {row.note}" if row.note else row.result
        cells = (row.id, row.area, clients.names[row.client], row.call, row.expected, result)
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
