"""docs/providers.md is what the suite that makes it has. That its cells are still so, every test of
tests/contract/test_routes.py looks for itself."""

import re
from pathlib import Path

import pytest
from tests.contract import report, test_routes

TESTS = Path(__file__).parents[1]
PAGE = report.PAGE.read_text()
COMPLAINTS = report.COMPLAINTS.read_text()


def test_the_page_is_as_the_suite_would_write_it():
    assert test_routes.__name__, "its columns are known when it was imported"
    assert report.page(report.cells_of(PAGE)) == PAGE, "run: make providers"


def test_every_route_has_a_word_or_a_dash_for_every_wish():
    titles = {column.title for column in report.columns}
    assert report.cells_of(PAGE).keys() == {(t, route) for t in titles for route in report.ROUTES}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", COMPLAINTS))))
def test_the_test_that_answers_a_complaint_is_there(name):
    files = (*TESTS.glob("integration/*.py"), *TESTS.glob("contract/*.py"))
    assert any(f"def {name}(" in file.read_text() for file in files)


def test_every_complaint_has_its_tests_or_a_sentence():
    rows = [line for line in COMPLAINTS.splitlines() if re.match(r"\| \S+/\S+#\d", line)]
    assert len(rows) > 45
    for row in rows:
        here = row.strip("|").split(" | ")[2]
        assert "`test_" in here or re.match(r"\s*None: \w", here), row


def test_no_test_of_a_complaint_is_left_out():
    named = set(re.findall(r"`(test_\w+)`", COMPLAINTS))
    # Of those without a row in the table: reports whose titles were not read again.
    others = {"test_js_genai_1220", "test_genkit_737", "test_pi_web_access_100"}
    for file in TESTS.glob("integration/test_complaints*.py"):
        for name in re.findall(r"^def (test_\w+_\d{2,}_\w+)\(", file.read_text(), re.MULTILINE):
            assert name in named or name.startswith(tuple(others))
