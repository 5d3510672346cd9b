"""What holds for every recipe: unique keys hold or the recipe is refused, and nothing but a row's number changes it."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seedtool.errors import RecipeError
from seedtool.generating import rows
from seedtool.generating.planning import Plan
from seedtool.generating.recipe import read
from seedtool.postgres.catalog import Catalog
from tests.unit.generating.tables import NoDatabase, column, foreign_key, table, unique

QUICK = settings(max_examples=30)
COLUMNS = "abcde"


@st.composite
def keyed(draw):
    """Return lines of columns with few values, the unique keys over them, and how many rows there are."""
    names = COLUMNS[: draw(st.integers(2, 5))]
    subsets = [each for size in (1, 2, 3) for each in itertools.combinations(names, size)]
    keys = draw(st.lists(st.sampled_from(subsets), min_size=1, max_size=6, unique=True))
    sizes = [draw(st.integers(1, 16)) for _ in names]
    with_parent = draw(st.booleans())
    if with_parent and draw(st.booleans()):
        keys = [("parent_id", *each) if draw(st.booleans()) else each for each in keys]
    own = draw(st.booleans()) and not with_parent
    if own:
        keys = [("up", *each) if draw(st.booleans()) else each for each in keys]
    return names, keys, sizes, draw(st.integers(1, 40)), with_parent, own


def made(names, keys, sizes, count, with_parent, own, units=1):
    """Return the plan of a table with these keys."""
    parents = table(1, "parents", [column("id")], (unique("id", primary=True),))
    columns = [column("id"), *(column(name, "int4") for name in names)]
    foreign_keys = []
    if with_parent:
        columns.append(column("parent_id"))
        foreign_keys.append(foreign_key("parent_id", of=2, references=1))
    if own:
        columns.append(column("up", not_null=False))
        foreign_keys.append(foreign_key("up", of=2, references=2))
    rows_ = table(2, "rows", columns, tuple(unique(*each) for each in keys), tuple(foreign_keys))
    counted = f'"{1 + count % 5} per parents"' if with_parent else str(count)
    lines = "\n".join(f"{name} = {{ kind = 'integer', max = {size} }}" for name, size in zip(names, sizes, strict=True))
    recipe = f"[rows]\nparents = {1 + count // 5}\nrows = {counted}\n[tables.rows]\nid = 'r{{n}}'\n{lines}"
    return Plan(read(recipe.encode(), "r", "r.toml"), Catalog({1: parents, 2: rows_}, ["public"]), NoDatabase(), "1",
                units)  # fmt: skip


def made_or_refused(*schema, units=1):
    try:
        return made(*schema, units=units)
    except RecipeError as error:
        return error


def content(plan):
    planned = plan.known["rows"]
    batch = planned.batch(np.arange(plan.rows(planned), dtype=np.int64))
    return {name: batch.cells(name).tolist() for name in planned.written}


@given(keyed())
@QUICK
def test_unique_keys_of_every_shape_hold_or_the_recipe_is_refused(schema):
    names, keys, sizes, *_ = schema
    plan = made_or_refused(*schema)
    if isinstance(plan, RecipeError):
        assert (plan.place["table"], bool(plan.place["column"]), bool(plan.remedy)) == ("rows", True, True)
        return
    found = content(plan)
    for key in keys:
        values = [each for each in zip(*(found[name] for name in key), strict=True) if None not in each]
        assert len(set(values)) == len(values), key
    for name, size in zip(names, sizes, strict=True):
        assert {int(value) for value in found[name]} <= set(range(size + 1))
    larger = made_or_refused(*schema, units=3)
    if isinstance(larger, Plan):
        assert {name: values[: len(found["id"])] for name, values in content(larger).items()} == found


@given(st.integers(2, 9), st.integers(2, 9), st.integers(2, 9))
@QUICK
def test_three_keys_of_two_columns_each_take_as_many_rows_as_two_columns_have_pairs(a, b, c):
    sizes = sorted((a, b, c))
    keys = [("a", "b"), ("b", "c"), ("a", "c")]
    found = content(made("abc", keys, [size - 1 for size in sizes], sizes[0] * sizes[1], False, False))
    for key in keys:
        assert len(set(zip(*(found[name] for name in key), strict=True))) == sizes[0] * sizes[1]


SCHOOLS = """
locale = "es_CL"
units = {units}
[rows]
{rows}
[tables.pupils]
{lines}
"""
ROWS = {"schools": '"12 imagined"', "families": '"3..7 per schools"', "pupils": '"0..3 per families"'}
LINES = {
    "id": '"pupil-{n}"',
    "email": '{ kind = "email", of = ["first_name"] }',
    "note": '{ kind = "text", nulls = 0.5 }',
    "score": '{ kind = "normal", mean = 50, deviation = 9 }',
    "family_id": '{ kind = "reference" }',
    "tag": '["a", "b", "c"]',
}


def school(order=(), more=(), extra=False, units=2, size=rows.ROWS_A_BLOCK, cuts=()):
    """Return the text of all pupils; columns that are named twice are left out of it."""
    families = table(1, "families", [column("id")], (unique("id", primary=True),))
    columns = ["id", "family_id", "first_name", "email", "note", "score", "tag"]
    extra_columns = [column(name, type_) for name, type_ in more]
    pupils = table(
        2, "pupils", [*extra_columns, *(column(name, not_null=name != "note") for name in columns)], (unique("id", primary=True), unique("email")),
        (foreign_key("family_id", of=2, references=1),),
    )  # fmt: skip
    tables = {1: families, 2: pupils}
    rows_ = [f"{name} = {count}" for name, count in ROWS.items()]
    lines = [f"{name} = {line}" for name, line in LINES.items() if name != "family_id"]
    if extra:
        tables[3] = table(3, "others", [column("id")], (unique("id", primary=True),))
        rows_.append("others = 12")
    chosen = [*(each for each in order if each < len(lines))]
    lines = [lines[each] for each in chosen] + [line for place, line in enumerate(lines) if place not in chosen]
    rows_ = rows_[::-1] if len(order) % 2 else rows_
    recipe = SCHOOLS.format(units=4, rows="\n".join(rows_), lines="\n".join(lines))
    plan = Plan(read(recipe.encode(), "r", "r.toml"), Catalog(tables, ["public"]), NoDatabase(), "1", units)
    planned = plan.known["pupils"]
    planned.written = tuple(name for name in planned.written if name in columns)
    ends = [0, *sorted(cut % plan.rows(planned) for cut in cuts), plan.rows(planned)]
    slices = itertools.pairwise(ends)  # each could be another worker's
    return b"".join(block.data for span in slices for block in rows.blocks(planned, *span, size=size))


ALONE = school()


@given(
    order=st.lists(st.integers(0, 5), unique=True),
    more=st.lists(st.sampled_from([("age", "int2"), ("city", "text"), ("born", "date")]), unique=True),
    extra=st.booleans(),
    units=st.sampled_from([2, 3, 4, 8]),
    size=st.sampled_from([1, 7, 64, 2048]),
    cuts=st.lists(st.integers(0, 10**6), max_size=4),
)
@settings(max_examples=10)
def test_nothing_but_its_number_changes_a_row(order, more, extra, units, size, cuts):
    lines = [(name, type_) for name, type_ in more if name != "age"]  # a number needs a line
    assert school(order, lines, extra, units, size, cuts).startswith(ALONE)
