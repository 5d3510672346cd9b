"""Values of columns that a check compares are put in order, row by row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedtool.generating import inference
from seedtool.generating.columns import Order
from seedtool.postgres.catalog import Check
from seedtool.values.cells import Cells

MINUTES = st.integers(0, 10**8).map(lambda number: str(np.datetime64("2020-01-01T00:00:00") + number).replace("T", " "))
FAMILIES = {
    "integer": st.integers(-(2**53), 2**53).map(str),
    "numeric": st.decimals(-1000, 1000, places=2).map(str),
    "date": st.dates().map(str),
    "timestamp": MINUTES,
}


class Known:
    """A maker of known cells."""

    def __init__(self, column):
        self.column = column

    def cells(self, _):
        return Cells.of(self.column)


def number(text, family):
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
    ],
)
def test_equal_values_that_may_not_be_equal_are_parted(family, one, two):
    made = Order([Known([one, one, None])] * 2, [True], family).columns(None)
    assert [each.tolist() for each in made] == [[one.encode()] * 2 + [None], [two.encode()] * 2 + [None]]


class Columns:
    """A table of some columns with one check."""

    columns = dict.fromkeys(("a", "b", "c", "A b"))

    def __init__(self, *expressions):
        self.checks = [Check(name="c", expression=each, columns=("a", "b")) for each in expressions]


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
        ("((a = 'x'::text) OR (b IS NOT NULL))", [], False),
    ],
)
def test_which_checks_are_understood(expression, chains, obeyed):
    assert inference.chains(inference.comparisons(Columns(expression))) == chains
    assert inference.is_obeyed(expression) is obeyed
