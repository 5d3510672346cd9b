"""The page on the architecture says what is true of the code: its names exist, and its picture shows the imports."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+?) \| `([^`]+)` \| `([^`]+)` \|$", PAGE, flags=re.MULTILINE)


def defined(file):
    """The names that a module defines at its top."""
    names = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize(("question", "file", "name"), ROWS)
def test_the_answer_to_a_question_is_where_the_page_says(question, file, name):
    assert name in defined(file), question


def test_every_row_of_the_tables_is_such_an_answer():
    rows = [
        line
        for line in PAGE.splitlines()
        if line.startswith("| ") and not line.startswith(("| ---", "| question", "| I want"))
    ]
    assert len(rows) == len(ROWS) >= 15


def test_every_file_and_folder_that_the_page_names_exists():
    named = set(re.findall(r"`?((?:seedtool|docs|tests)/[\w/.]+|pyproject\.toml|README\.md)", PAGE))
    assert [name for name in named if not (ROOT / name.rstrip(".")).exists()] == []


@pytest.fixture(scope="module")
def drawing():
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "docs" / "draw_architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_shows_what_the_code_imports(drawing):
    assert (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8") == drawing.picture(), "run make docs"


def test_every_room_is_drawn_with_a_caption_that_fits(drawing):
    rooms = drawing.rooms()
    picture = drawing.picture()
    assert {name for name in rooms if f">{name}</text>" not in picture} == set()
    assert " ...<" not in picture, "shorten the first sentence of the room's docstring"
