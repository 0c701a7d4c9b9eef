"""What the documentation says is what the code does, and where it points there is something."""

import ast
import importlib.util
import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic_core import core_schema

from telecine import errors, telemetry
from telecine.providers import echo
from telecine.providers.local_prompt import understand
from telecine.providers.local_wish import Wish
from telecine.settings import ProviderSettings, rows

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src/telecine"
PAGES = [
    *ROOT.glob("*.md"),
    *DOCS.rglob("*.md"),
    *(path for path in ROOT.glob("examples/**/*.md") if "node_modules" not in path.parts),
]


def load_generator():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()


def page(name):
    return (DOCS / name).read_text()


def names(text):
    """What stands in backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


# ---------------------------------------------------------------- compared with the code


@pytest.mark.parametrize("path", GENERATOR.pages(), ids=lambda path: path.stem)
def test_what_comes_from_the_code_is_up_to_date(path):
    assert path.read_text() == GENERATOR.pages()[path], "run: make docs"


def test_every_claim_about_security_names_a_test_that_is_there():
    text = (ROOT / "SECURITY.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    claims = [line for line in rows if not line.startswith(("| what is protected", "| ---"))]
    tests = [re.findall(r"`(tests/[\w/]+\.py)`", claim.split(" | ")[-1]) for claim in claims]
    assert len(claims) > 20
    assert [claim for claim, named in zip(claims, tests, strict=True) if not named] == []
    every = re.findall(r"`(tests/[\w/]+\.py)`", text)
    assert [test for test in every if not (ROOT / test).is_file()] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_target_of_make_that_a_page_names_is_there(path):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    in_text = re.findall(r"`make ([a-z-]+)`", path.read_text())
    in_blocks = re.findall(r"^ *make ([a-z-]+)(?: +#.*)?$", path.read_text(), re.MULTILINE)
    assert {*in_text, *in_blocks} <= set(targets)


def test_every_error_type_is_explained():
    assert error_types() - names(page("reference/errors.md")) == set()


def error_types():
    """Every type of ours that a caller can be told: where an error is made, its own or its class's.

    A 400, 401, 403, 404, 409, 413 and a bare 500 tell none.
    """
    silent = (
        "TelecineError",
        "AuthError",
        "Forbidden",
        "NotFound",
        "BadRequest",
        "Conflict",
        "PayloadTooLarge",
    )
    found = set()
    for path in SOURCE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and called(call) not in silent:
                error = getattr(errors, called(call), None)
                if error is errors.Problem:
                    found |= constants(call.args[2:3])
                elif isinstance(error, type) and issubclass(error, errors.TelecineError):
                    types = [each.value for each in call.keywords if each.arg == "type"]
                    found |= constants(types) if types else {error.type}
    return found - set(get_args(core_schema.ErrorType))


def called(call):
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def constants(nodes):
    return {node.value for node in nodes if isinstance(node, ast.Constant)}


def test_every_provider_type_and_dialect_is_explained():
    text = page("reference/providers.md")
    for name, _, row in rows(ProviderSettings):
        if name in ("type", "dialect", "video"):
            for choice in row.kind.allowed.removeprefix("one of ").split(", "):
                assert re.search(rf'[`"]{choice}[`"]', text), f"{name} {choice}"


def test_every_provider_setting_is_explained():
    settings = [name for name, *_ in rows(ProviderSettings) if name != "type"]
    text = page("reference/providers.md")
    assert [name for name in settings if not re.search(rf"\b{name}\b", text)] == []


def test_every_echo_model_is_explained():
    forms = re.findall(r"^    ([a-zA-Z-]+)  ", echo.__doc__, re.MULTILINE)
    assert len(forms) == 7
    assert {f"echo/{form}" for form in forms} <= names(page("reference/providers.md"))


def test_the_embedded_models_understand_the_phrases_that_are_named():
    table = page("reference/local-models.md").partition("| to choose |")[2].partition("\n\n")[0]
    phrases = re.findall(r'"([^"]+)"', table)
    assert len(phrases) > 10
    assert {phrase: understand(phrase).left for phrase in phrases} == dict.fromkeys(phrases, ())
    assert all(understand(phrase) != Wish() for phrase in phrases)


def test_every_metric_is_explained():
    ours = {metric.name for metric in telemetry.REGISTRY.collect() if "telecine" in metric.name}
    told = {name.removesuffix("_total") for name in names(page("how-to/run-in-production.md"))}
    assert ours <= told


def test_the_readme_is_read_in_two_minutes():
    assert 400 <= len((ROOT / "README.md").read_text().split()) <= 500


# ---------------------------------------------------------------- links


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target


def anchors(path):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_names_every_page():
    linked = set(re.findall(r"\]\(([^)#]+\.md)\)", page("README.md")))
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert {name for name in pages if not name.startswith("adr/")} - {"README.md"} == linked
