"""Cells: values as a matrix of bytes say the same as values as a list."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seedtool.values.cells import Cells, block, concat, digits, hexadecimal, signed, whole

TEXTS = st.lists(
    st.none() | st.text(max_size=12).map(str.encode) | st.sampled_from([b"a\tb", b"\\N", b"\r\n\\", b""]),
    min_size=1,
    max_size=20,
)


@given(TEXTS)
def test_cells_give_their_values_back(values):
    assert Cells.of(values).tolist() == values


@given(TEXTS, st.data())
def test_taken_and_chosen_cells(values, data):
    rows = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=30))
    taken = Cells.of(values).take(np.array(rows, dtype=np.int64))
    assert taken.tolist() == [values[row] for row in rows]
    chosen = np.array([row % 2 == 0 for row in range(len(values))])
    other = Cells.constant("ñandú".encode(), len(values))
    expected = [value if row % 2 == 0 else "ñandú".encode() for row, value in enumerate(values)]
    assert Cells.of(values).choose(chosen, other).tolist() == expected


@given(TEXTS)
def test_cells_of_a_buffer(values):
    sizes = [len(value or b"") for value in values]
    ends = np.cumsum(sizes, dtype=np.int64)
    starts = ends - np.array(sizes, dtype=np.int64)
    ends[[value is None for value in values]] = -1
    buffer = np.frombuffer(b"".join(value or b"" for value in values), dtype=np.uint8)
    assert Cells.from_buffer(buffer, starts, ends).tolist() == values


@given(TEXTS)
def test_joined_columns_are_null_where_one_is(values):
    cells = Cells.of(values)
    back = Cells.of(values[::-1])
    expected = [
        None if a is None or b is None else a + b" " + b + b"." for a, b in zip(values, values[::-1], strict=True)
    ]
    assert concat([cells, b" ", back, b"."]).tolist() == expected


@given(TEXTS)
def test_a_block_is_what_copy_reads(values):
    escapes = {0x5C: b"\\\\", 8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f", 13: b"\\r"}

    def written(value):
        return b"\\N" if value is None else b"".join(escapes.get(byte, bytes([byte])) for byte in value)

    expected = b"".join(written(a) + b"\t" + written(b) + b"\n" for a, b in zip(values, values[::-1], strict=True))
    assert block([Cells.of(values), Cells.of(values[::-1])]) == expected


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 20_000), min_size=1, max_size=20), st.integers(0, 22))
def test_numbers_in_decimal(numbers, width):
    cells = digits(np.array(numbers, dtype=np.uint64), width=width)
    assert cells.tolist() == [f"{number:0{width}}".encode() for number in numbers]


@given(st.lists(st.integers(-(10**18) + 1, 10**18 - 1), min_size=1, max_size=20))
def test_signed_numbers_are_written_and_read(numbers):
    cells = signed(np.array(numbers, dtype=np.int64))
    assert cells.tolist() == [str(number).encode() for number in numbers]
    values, good = whole(cells)
    assert values.tolist() == numbers
    assert good.all()


def test_what_is_no_number_is_known():
    assert whole(Cells.of(["1a", "", "-", None, "--1", "1234567890123456789", "12"]))[1].tolist() == [False] * 6 + [
        True
    ]


def test_hexadecimal_digits():
    numbers = [0, 255, 2**64 - 1, 0x0123456789ABCDEF]
    assert hexadecimal(np.array(numbers, dtype=np.uint64)).tolist() == [f"{number:016x}".encode() for number in numbers]


def test_no_rows_are_no_bytes():
    none = Cells.of([])
    assert block([none, concat([none, b"x"]), digits(np.array([], dtype=np.uint64))]) == b""
