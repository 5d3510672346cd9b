"""Values of columns that a check compares are put in order, row by row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedtool.generating import inference
from seedtool.generating.columns import Order
from seedtool.postgres.catalog import Check, Column, Table, ValueType
from seedtool.values.cells import Cells

MINUTES = st.integers(0, 10**8).map(lambda number: str(np.datetime64("2020-01-01T00:00:00") + number).replace("T", " "))
FAMILIES = {
    "integer": st.integers(-(2**53), 2**53).map(str),
    "numeric": st.decimals(-1000, 1000, places=2).map(str),
    "date": st.dates().map(str),
    "timestamp": MINUTES,
    "time": st.times().map(lambda each: each.strftime("%H:%M:%S")),
}


class Known:
    """A maker of known cells."""

    def __init__(self, column):
        self.column = column

    def cells(self, _):
        return Cells.of(self.column)


def number(text, family):
    if family == "time":
        return text
    return float(text) if family in {"integer", "numeric"} else np.datetime64(text.replace(" ", "T"))


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
def test_each_row_is_in_order_and_null_stays(family, data):
    cell = FAMILIES[family] | st.none()
    rows = data.draw(st.lists(st.tuples(cell, cell, cell), min_size=1, max_size=20))
    columns = [list(each) for each in zip(*rows, strict=True)]
    made = Order([Known(each) for each in columns], [False, False], family).columns(None)
    for before, after in zip(rows, zip(*(each.tolist() for each in made), strict=True), strict=True):
        assert [each is None for each in before] == [each is None for each in after]
        there = [each.decode() for each in after if each is not None]
        assert sorted(there) == sorted(each for each in before if each is not None)  # the same values in other places
        assert there == sorted(there, key=lambda each: number(each, family))


@pytest.mark.parametrize(
    ("family", "one", "two"),
    [
        ("integer", "9", "10"),
        ("numeric", "1.50", "2.50"),
        ("date", "2024-02-28", "2024-02-29"),
        ("timestamp", "2025-12-31 23:59:59-03", "2026-01-01 00:00:00-03"),
        ("time", "09:59:59", "10:00:00"),
        ("time", "23:59:59", "24:00:00"),
    ],
)
def test_equal_values_that_may_not_be_equal_are_parted(family, one, two):
    made = Order([Known([one, one, None])] * 2, [True], family).columns(None)
    assert [each.tolist() for each in made] == [[one.encode()] * 2 + [None], [two.encode()] * 2 + [None]]


def test_of_two_equal_values_at_the_largest_the_first_becomes_smaller():
    made = Order([Known(["8", "7", None])] * 2, [True], "integer", [8, 8]).columns(None)
    assert [each.tolist() for each in made] == [[b"7", b"7", None], [b"8", b"8", None]]


def test_a_value_that_grew_pushes_the_next_one():
    made = Order([Known(["5"]), Known(["5"]), Known([None]), Known(["5"])], [True, False, False], "integer").columns(
        None
    )
    assert [each.tolist() for each in made] == [[b"5"], [b"6"], [None], [b"6"]]


COLUMNS = {
    "a": "int4",
    "b": "int4",
    "c": "int4",
    "A b": "int4",
    "t": "text",
    "u": "text",
    "opens": "time",
    "shuts": "time",
}


def column(name, of, type_=""):
    return Column(
        name=name, type=type_ or of, not_null=True, value=ValueType(kind="scalar", name=of), default=None,
        default_has_effects=False, generated=False, identity="", is_text=of == "text", sequence=None, labels=(),
    )  # fmt: skip


def table(*checks, columns=None):
    return Table(
        oid=1, schema="public", name="x", kind="table", partitioned=False, plain=True, ancestors=(), triggers=(), rules=(),
        columns=columns or {name: column(name, of) for name, of in COLUMNS.items()}, keys=(), checks=checks, foreign_keys=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "expression", "guess"),
    [
        (
            "numeric(2,1)",
            "((x >= 0.5) AND (x <= (5)::numeric))",
            {"kind": "decimal", "min": 0.5, "max": 5.0, "places": 1},
        ),
        ("numeric(4,2)", "((x > 0.25) AND (x < 1.75))", {"kind": "decimal", "min": 0.26, "max": 1.74, "places": 2}),
        ("numeric(4,2)", "((x >= -1.5) AND (x <= 1.5))", {"kind": "decimal", "min": -1.5, "max": 1.5, "places": 2}),
        ("integer", "((x > 0) AND (x < 6))", {"kind": "integer", "min": 1, "max": 5}),
        ("integer", "((x > 0.5) AND (x < 5.5))", {"kind": "integer", "min": 1, "max": 5}),
        ("integer", "((x IS NULL) OR ((x >= 1) AND (x <= 5)))", {"kind": "integer", "min": 1, "max": 5}),
        ("integer", "(NOT ((x >= 1) AND (x <= 5)))", None),
        ("integer", "(((x >= 1) AND (x <= 5)) OR ((x >= 11) AND (x <= 15)))", None),
        ("integer", "(NOT (x = ANY (ARRAY[1, 2])))", None),
        ("integer", "(x = ANY (ARRAY[1, 2]))", {"kind": "choice", "values": [1, 2]}),
    ],
)
def test_what_a_check_of_one_column_allows(type_, expression, guess):
    of = column("x", "numeric" if "numeric" in type_ else "int4", type_)
    found = table(Check(name="c", expression=expression, columns=("x",)), columns={"x": of})
    assert inference.guess(found, of) == guess


@pytest.mark.parametrize(
    ("expression", "chains", "obeyed"),
    [
        ("(a < b)", [["a", "b"]], True),
        ('("A b" >= a)', [["a", "A b"]], True),
        ("((a IS NULL) OR (b >= a))", [["a", "b"]], True),
        ("((a <= b) AND (b <= c))", [["a", "b", "c"]], True),
        ("((a IS NULL) AND (b >= a))", [["a", "b"]], False),
        ("((a < b) AND (a > 0))", [["a", "b"]], False),
        ("(NOT (a < b))", [], False),
        ("(a < (b + c))", [], False),
        ("((a < b) AND (b < a))", [], True),
        ("(opens < shuts)", [["opens", "shuts"]], True),
        ("(t < u)", [["t", "u"]], False),
        ("((a = 'x'::text) OR (b IS NOT NULL))", [], False),
    ],
)
def test_which_checks_are_understood(expression, chains, obeyed):
    found = table(Check(name="c", expression=expression, columns=("a", "b")))
    assert inference.chains(inference.comparisons(found)) == chains
    assert inference.is_obeyed(found, found.checks[0]) is obeyed


@pytest.mark.parametrize("family", ["integer", "date", "timestamp", "time"])
@given(data=st.data())
@settings(max_examples=25)
def test_what_a_key_fixes_stays_and_the_others_go_by_it(family, data):
    cell = (st.integers(-9, 9).map(str) if family == "integer" else FAMILIES[family]) | st.none()
    fixed = data.draw(st.sampled_from([[True, False, False], [False, True, False], [False, False, True]]))
    strict = data.draw(st.tuples(st.booleans(), st.booleans()))
    rows = data.draw(st.lists(st.tuples(cell, cell, cell), min_size=1, max_size=9))
    columns = [list(each) for each in zip(*rows, strict=True)]
    made = Order([Known(each) for each in columns], strict, family, (), fixed).columns(None)
    for before, after in zip(rows, zip(*(each.tolist() for each in made), strict=True), strict=True):
        assert [each is None for each in before] == [each is None for each in after]
        texts = [each and each.decode() for each in after]
        assert [text for text, stays in zip(texts, fixed, strict=True) if stays] == [
            text for text, stays in zip(before, fixed, strict=True) if stays
        ]
        if family == "time" and any(
            text and ("00:00:0" in text or "23:59:5" in text or "24:" in text) for text in texts
        ):
            continue  # there is no time before the first or after the last
        for place in (0, 1):
            low, high = texts[place], texts[place + 1]
            if low is not None and high is not None:
                below, above = number(low, family), number(high, family)
                assert below < above if strict[place] else below <= above
