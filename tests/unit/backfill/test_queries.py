"""The statements stand in one file, each is used, and nothing else names the library's tables."""

import itertools
import re
from pathlib import Path

import pytest

from seedtool.backfill import journal, queries
from seedtool.backfill.shape import Bound, Shape
from seedtool.errors import SchemaError
from seedtool.postgres.catalog import Column, Table, ValueType
from seedtool.settings import Backfill

ROOM = Path(queries.__file__).parent
CODE = {path.name: path.read_text(encoding="utf-8") for path in ROOM.glob("*.py")}
PARTS = {"eligible", "to_process", "waits", "selected", "heads", "no_journal", "no_matches"}
TYPES = {"created_at": "date", "deleted": "boolean", "approved": "boolean", "key": "bigint"}

#: Columns and tables that libraries lack, all or none of each.
LACKS = ({"deleted", "updated_at"}, {"waits", "auto_assigned", "skipped"}, {"box", "confidence", "assigned_by"})


def names():
    return set(re.findall(r"^-- (\w+) --$", (ROOM / "queries.sql").read_text(encoding="utf-8"), flags=re.MULTILINE))


def column(name, type_):
    return Column(
        name=name,
        type=type_,
        not_null=False,
        value=ValueType(kind="scalar", name=type_),
        default="1",
        default_has_effects=False,
        generated=False,
        identity="",
        is_text=type_ == "text",
        sequence=None,
        labels=(),
    )


def shape(lacks, tables):
    """A library without these columns, and with these tables."""
    bound = {}
    for binding in Backfill().tables:
        if binding.name in {"collections", "persons", "links"} and binding.name not in tables:
            continue
        found = {
            field: column(getattr(binding, field), TYPES.get(field, "text"))
            for field in binding.__struct_fields__
            if field not in {"table", "where"} and field not in lacks
        }
        table = Table(
            oid=1,
            schema="public",
            name=binding.table,
            kind="table",
            partitioned=False,
            plain=True,
            ancestors=(),
            triggers=(),
            rules=(),
            columns={each.name: each for each in found.values()},
            keys=(),
            checks=(),
            foreign_keys=(),
        )
        bound[binding.name] = Bound(binding, table, found)
    return Shape(bound, None, frozenset({"face_details", "face_collections"}))


SHAPES = [
    shape(set().union(*lacks), tables)
    for count in range(len(LACKS) + 1)
    for lacks in itertools.combinations(LACKS, count)
    for tables in (("collections", "persons", "links"), ("persons",), ())
]


@pytest.mark.parametrize("has_journal", [True, False])
def test_every_statement_can_be_composed_for_every_shape(has_journal):
    for each, name in itertools.product(SHAPES, names() - PARTS):
        try:
            text = queries.composed(each, name, has_journal=has_journal).as_string(None)
        except SchemaError:
            assert "persons" not in each.bound
            continue
        assert text
        assert not re.search(r"\{[a-z]", text), name
        assert not re.search(r"--[?\[\]]|^--", text, flags=re.MULTILINE), name
        assert not re.search(r"(\(|SET|SELECT|,)\s*,", text), (name, text)


def test_every_statement_is_used():
    used = set(re.findall(r'(?:query\(\s*connection, |run\(\s*)"(\w+)"', "".join(CODE.values())))
    used |= set(re.findall(r'_users\(connection, "(\w+)"', "".join(CODE.values())))
    used |= {f"create_{table}" for table in (*journal._TABLES, journal.COLLECTIONS, journal.DETAILS)}
    assert names() == used | PARTS


@pytest.mark.parametrize("name", sorted(CODE))
def test_no_other_file_holds_a_statement_on_the_library(name):
    tables = "users|assets|faces|face_collections|face_person_links|person_groups|backfill_\\w+|face_matches"
    found = re.findall(rf"\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+(?:seedtool\.)?(?:{tables})\b", CODE[name])
    # what a message tells an operator to run, and a table of ours
    advice = {"page.py": 1, "shape.py": 1}
    assert len(found) == advice.get(name, 0), found
