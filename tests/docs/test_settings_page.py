"""The page of settings is written from the code."""

import importlib.util
import re
from pathlib import Path

import pytest

from seedtool.settings import SETTINGS

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def written():
    spec = importlib.util.spec_from_file_location("write_settings", DOCS / "write_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.page()


def test_the_page_is_what_the_script_writes(written):
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == written, "run make docs"


def test_every_setting_stands_on_it_with_its_variables(written):
    entries = dict(re.findall(r"^- `(\w+)`((?:.|\n)*?)(?=^- |^#|\Z)", written, flags=re.MULTILINE))
    assert set(entries) == set(SETTINGS)
    for key, setting in SETTINGS.items():
        assert all(f"`{variable}`" in entries[key] for variable in setting.variables), key


def test_no_line_is_wider_than_100_columns(written):
    assert [line for line in written.splitlines() if len(line) > 100] == []
