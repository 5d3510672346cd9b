"""Blocks of COPY text with masked columns: the quick ways and the plain one give one answer."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedtool.errors import DatabaseError
from seedtool.refreshing.blocks import Rewriter, escape, rewrite_exactly, unescape
from seedtool.values.cells import Cells


class Mask:
    """Makes of each value what a function makes of it and of its subject."""

    def __init__(self, function):
        self.function = function

    def apply(self, cells, subject=None):
        own, whose = values(cells), values(subject) if subject is not None else [b""] * len(cells.starts)
        cells = Cells.of([self.function(*pair) for pair in zip(own, whose, strict=True)])
        noise = np.where(np.arange(cells.width) < cells.lengths[:, None], cells.matrix, np.uint8(0x5C))
        return Cells(noise, cells.lengths)  # what lies behind a cell's length is undefined


def values(cells):
    whole = cells.buffer.tobytes()
    places = zip(cells.starts.tolist(), cells.ends.tolist(), cells.nulls.tolist(), strict=True)
    return [None if null else whole[start:end] for start, end, null in places]


def text(rows):
    return b"".join(b"\t".join(rb"\N" if cell is None else escape(cell) for cell in row) + b"\n" for row in rows)


PLAIN, REVERSED = Mask(lambda value, _: value), Mask(lambda value, _: value and value[::-1])
OF_ANOTHER = Mask(lambda value, whose: None if value is None else value[:3] + b"\t\\" + (whose or b"nobody"))
GONE, FULL = Mask(lambda *_: None), Mask(lambda value, _: value or "ñ\r\n".encode())
CELL = st.none() | st.binary(max_size=8) | st.sampled_from([b"\\N", b"N", b"", b"\\.", b"\\", b"\n", b"a\tb", b"\r\n"])


@st.composite
def cases(draw):
    width = draw(st.integers(1, 5))
    rows = draw(st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=12))
    places = draw(st.sets(st.integers(0, width - 1), min_size=1))
    masks = {place: draw(st.sampled_from([PLAIN, REVERSED, OF_ANOTHER, GONE, FULL])) for place in places}
    subjects = {place: draw(st.integers(0, width - 1)) for place in places if draw(st.booleans())}
    return width, rows, masks, subjects, draw(st.lists(st.integers(0, 200), max_size=6))


@pytest.mark.parametrize("arrow", [False, True])
@given(case=cases())
def test_all_ways_give_one_answer(arrow, case):
    width, rows, masks, subjects, cuts = case
    expected = [
        [
            masks[place].function(cell, row[subjects[place]] if place in subjects else b"") if place in masks else cell
            for place, cell in enumerate(row)
        ]
        for row in rows
    ]
    block = text(rows)
    assert rewrite_exactly(block, width, masks, subjects) == text(expected)
    rewriter, out = Rewriter(width, masks, subjects, arrow=arrow), []
    bounds = sorted({0, len(block), *(min(cut, len(block)) for cut in cuts)})
    for first, last in itertools.pairwise(bounds):
        out.append(bytes(rewriter.feed(block[first:last])))
    rewriter.end()
    assert b"".join(out) == text(expected)


@given(st.binary())
def test_a_value_comes_back_from_its_text(value):
    assert unescape(escape(value)) == value
    assert not set(escape(value)) & set(b"\t\n\r\b\f\v")


def test_escapes_are_read_as_copy_reads_them():
    assert unescape(rb"\b\f\n\r\t\v\\\x41\101\q\7") == b"\b\f\n\r\t\v\\AAq\x07"


def test_a_row_with_another_number_of_columns_is_an_error():
    for block in (b"a\tb\tc\n", b"a\n", b"a\nb\tc\td\n"):
        with pytest.raises(DatabaseError):
            Rewriter(2, {0: PLAIN}).feed(block)


def test_rows_that_end_in_the_middle_are_an_error():
    rewriter = Rewriter(1, {0: PLAIN})
    assert bytes(rewriter.feed(b"a\nb")) == b"a\n"
    with pytest.raises(DatabaseError):
        rewriter.end()
