"""The statements stand in one file, each is used, and nothing else names the library's tables."""

import re
from pathlib import Path

import pytest

from seedtool.backfill import journal, queries

ROOM = Path(queries.__file__).parent
CODE = {path.name: path.read_text(encoding="utf-8") for path in ROOM.glob("*.py")}
PARTS = {"eligible", "to_process", "waits", "no_journal", "no_matches"}


def names():
    return set(re.findall(r"^-- (\w+) --$", (ROOM / "queries.sql").read_text(encoding="utf-8"), flags=re.MULTILINE))


@pytest.mark.parametrize("has_journal", [True, False])
def test_every_statement_can_be_composed(has_journal):
    for name in names() - PARTS:
        text = queries.query(name, has_journal=has_journal).as_string(None)
        assert text
        assert "{" not in text, name
        assert "\n--" not in text, name


def test_every_statement_is_used():
    used = set(re.findall(r'query\(\s*"(\w+)"', "".join(CODE.values())))
    used |= {f"create_{table}" for table in journal._TABLES}
    assert names() == used | PARTS


@pytest.mark.parametrize("name", sorted(CODE))
def test_no_other_file_holds_a_statement_on_the_library(name):
    tables = "users|assets|faces|face_collections|face_person_links|person_groups|backfill_\\w+|face_matches"
    found = re.findall(rf"\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+(?:seedtool\.)?(?:{tables})\b", CODE[name])
    advice = {"library.py": 1, "page.py": 1}  # what a message tells an operator to run
    assert len(found) == advice.get(name, 0), found
