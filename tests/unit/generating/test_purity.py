"""A value depends on the seed, its table, its column's name and its row's number, and on nothing else."""

import msgspec
import numpy as np
import pytest

from seedtool.generating import rows
from seedtool.generating.planning import Plan
from seedtool.generating.recipe import read
from seedtool.postgres.catalog import Catalog, Check
from tests.unit.generating.tables import NoDatabase, column, foreign_key, table, unique

RECIPE = """
locale = "es_CL"
[rows]
schools = "7 imagined"
families = "30..50 per schools"
pupils = "1..3 per families"
[tables.families]
id = "family-{n}"
[tables.pupils]
id = "pupil-{n}"
"""

#: Another number here means other values: raise one of those in seedtool/values/version.py with it.
CHECKSUMS = {"families": "de364a8298682fac", "pupils": "a4aaf5b0bc94f2ed"}
RULED = {"lessons": "624f344adc2a91cc"}


def catalog(*more):
    """The catalog of families and pupils, with more columns of pupils."""
    families = table(
        1, "families", [column("id"), column("last_name"), column("address")], (unique("id", primary=True),)
    )
    key = foreign_key("family_id", of=2, references=1)
    columns = [*more, *map(column, ("id", "family_id", "sex", "first_name", "last_name", "email", "rut", "phone"))]
    pupils = table(2, "pupils", columns, (unique("id", primary=True), unique("rut")), (key,))
    return Catalog({1: families, 2: pupils}, ["public"])


def plan(recipe=RECIPE, *more, units=1, seed="1"):
    return Plan(read(recipe.encode(), "r", "r.toml"), catalog(*more), NoDatabase(), seed, units)


def values(found, name, columns, first=0, last=200):
    batch = found.known[name].batch(np.arange(first, last, dtype=np.int64))
    return {each: batch.cells(each).tolist() for each in columns}


ALL = ("id", "family_id", "sex", "first_name", "last_name", "email", "rut", "phone")


def test_the_rows_are_the_same_on_every_machine():
    found = plan()
    assert {each.name: rows.checksum(each, 0, found.rows(each)) for each in found.tables} == CHECKSUMS


def test_what_is_inferred_is_the_same_on_every_machine():
    found = ruled()
    assert {each.name: rows.checksum(each, 0, found.rows(each)) for each in found.tables} == RULED


def ruled():
    """A plan in which checks, labels, lengths and keys that overlap say what stands in each column."""
    columns = [
        *(column(name, "int4") for name in ("id", "room", "slot", "class", "grade", "least", "most")),
        *map(column, ("status", "mood", "code")),
        *(column(name, type_) for name, type_ in (("price", "numeric"), ("born", "date"), ("at", "timestamptz"))),
        column("up_id", "int4", not_null=False),
    ]
    columns[8] = msgspec.structs.replace(columns[8], labels=("calm", "glad"))
    keys = (unique("id", primary=True), unique("room", "slot"), unique("class", "slot"), unique("room", "class"))
    checks = [
        ("((grade >= 1) AND (grade <= 12))", "grade"),
        ("(status = ANY (ARRAY['open'::text, 'shut'::text]))", "status"),
        ("(length(code) <= 4)", "code"),
        ("((price > (0)::numeric) AND (price < 99.5))", "price"),
        ("((least >= 3) AND (least <= 40))", "least"),
        ("((most >= 3) AND (most <= 40))", "most"),
        ("(least <= most)", "least", "most"),
        ("((room >= 1) AND (room <= 40))", "room"),
        ("((class >= 1) AND (class <= 60))", "class"),
        ("((slot >= 1) AND (slot <= 30))", "slot"),
    ]
    found = msgspec.structs.replace(
        table(1, "lessons", columns, keys, (foreign_key("up_id", of=1, references=1),)),
        checks=tuple(Check(name=f"c{at}", expression=each[0], columns=each[1:]) for at, each in enumerate(checks)),
    )
    recipe = "[rows]\nlessons = 300\n[tables.lessons]\nid = '{n}'\ncode = ['a', 'b']\n"
    return Plan(read(recipe.encode(), "r", "r.toml"), Catalog({1: found}, ["public"]), NoDatabase(), "1", 1)


@pytest.mark.parametrize(
    "other",
    [
        lambda: plan(RECIPE, column("birth_date", "date"), column("city")),
        lambda: plan(RECIPE, column("note", not_null=False)),
        lambda: plan(RECIPE.replace("[rows]\n", '[rows]\nothers = "5 imagined"\n')),
        lambda: plan(REORDERED),
        lambda: plan(units=5),
    ],
    ids=["more columns", "a column of NULL", "another table", "another order", "a larger scale"],
)
def test_nothing_else_changes_a_value(other):
    assert values(other(), "pupils", ALL) == values(plan(), "pupils", ALL)


REORDERED = """
locale = "es_CL"
[tables.pupils]
id = "pupil-{n}"
[tables.families]
id = "family-{n}"
[rows]
pupils = "1..3 per families"
families = "30..50 per schools"
schools = "7 imagined"
"""


def test_batches_of_any_size_and_order_make_the_same_rows():
    pupils = plan().known["pupils"]
    whole = b"".join(block.data for block in rows.blocks(pupils, 0, 300))
    assert b"".join(block.data for block in rows.blocks(pupils, 0, 300, size=7)) == whole
    some = np.array([250, 3, 3, 77], dtype=np.int64)
    batch, one_by_one = pupils.batch(some), [pupils.batch(some[place : place + 1]) for place in range(4)]
    for name in ALL:
        assert batch.cells(name).tolist() == [each.cells(name).tolist()[0] for each in one_by_one]


def test_another_random_seed_makes_other_values():
    assert values(plan(seed="2"), "pupils", ("rut",)) != values(plan(), "pupils", ("rut",))
