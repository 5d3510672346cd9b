"""The pages of commands, functions and errors, and the picture of the tour, are written from the code."""

import importlib.util
from pathlib import Path

import pytest

import seedtool
from seedtool.cli import COMMANDS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def script(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages():
    return script("write_reference").pages()


def test_the_pages_are_what_the_script_writes(pages):
    for name, content in pages.items():
        assert (DOCS / name).read_text(encoding="utf-8") == content, f"{name}: run make docs"
        assert [line for line in content.splitlines() if len(line) > 100] == []


def test_every_command_function_and_error_has_a_section(pages):
    for name in COMMANDS:
        assert f"## seedtool {name}\n" in pages["commands.md"]
    assert "## seedtool faces review\n" in pages["commands.md"]
    functions = [name for name in seedtool.__all__ if name.islower() and callable(getattr(seedtool, name))]
    assert [name for name in functions if f"## {name}\n" not in pages["api.md"]] == []
    assert "## ProofFailed\n" in pages["errors.md"]


def test_the_picture_shows_the_tour():
    assert (DOCS / "tour.svg").read_text(encoding="utf-8") == script("draw_tour").picture(), "run make docs"
