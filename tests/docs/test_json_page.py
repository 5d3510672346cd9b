"""The page of what --json prints is written from the structs."""

import importlib.util
from pathlib import Path

import pytest

from tests.cli.test_contract import CONTRACT

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("write_json", DOCS / "write_json.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes(script):
    assert (DOCS / "json.md").read_text(encoding="utf-8") == script.page(), "run make docs"


def test_every_command_that_prints_json_stands_on_it(script):
    assert set(script.REPORTS) == set(CONTRACT) - {"psql", "shell"}
