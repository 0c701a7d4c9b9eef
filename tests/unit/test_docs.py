"""What the reference says is what the code does."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def load_generator():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_settings_page_is_the_table_of_the_code():
    page = (DOCS / "reference/settings.md").read_text()
    assert page == load_generator().settings_page(), "run: make docs"
