"""Cells: one column of values as text, in numpy. Generated values and masked values are both handed over as these.

A cell is a row of a matrix of bytes with its length beside it. So a value is picked from a pool, put behind another one
and written into a block for COPY without a Python object for each value.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Lengths = NDArray[np.int32]
    Numbers = NDArray[np.uint64]

#: The bytes that COPY's text format writes with a backslash, and what stands behind the backslash (PostgreSQL's
#: documentation of COPY, "Text Format").
ESCAPES = {0x5C: b"\\", 0x08: b"b", 0x09: b"t", 0x0A: b"n", 0x0B: b"v", 0x0C: b"f", 0x0D: b"r"}

#: Digits of 0 to 9999, four bytes each: a number is written four digits at a time.
_FOUR_DIGITS = np.array([f"{number:04}".encode() for number in range(10_000)], dtype="S4").view(np.uint32)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """One column of n cells.

    Args:
        matrix: uint8[n, width], contiguous: the bytes of each cell from the left, in UTF-8. What stands behind a cell's
            length is undefined.
        lengths: int32[n]: how many bytes a cell has; -1 is NULL.
        plain: it is known that no cell holds a byte that COPY escapes (`ESCAPES`).
        picked: the cells of a pool and int64[n], where each cell that is not NULL was picked from them. What is made
            from a cell alone is then made of the pool once, and picked again.
    """

    matrix: "Bytes"
    lengths: "Lengths"
    plain: bool = False
    picked: "tuple[Cells, NDArray[np.int64]] | None" = None

    @staticmethod
    def of(values: Iterable[bytes | str | None]) -> "Cells":
        """The cells of a list of values; None is NULL."""
        texts = [value.encode() if isinstance(value, str) else value for value in values]
        lengths = np.array([-1 if text is None else len(text) for text in texts], dtype=np.int32)
        width = max(1, int(lengths.max(initial=0)))
        joined = b"".join((text or b"").ljust(width, b"\0") for text in texts)
        matrix = np.frombuffer(joined, dtype=np.uint8).reshape(len(texts), width)
        return Cells(matrix, lengths, plain=not any(byte in joined for byte in ESCAPES))

    @staticmethod
    def from_buffer(buffer: "Bytes", starts: "NDArray[np.int64]", ends: "NDArray[np.int64]") -> "Cells":
        """The cells that lie anywhere in a buffer.

        Args:
            buffer: uint8[size].
            starts: int64[n]: where each cell begins.
            ends: int64[n]: where each ends. An end before its start is NULL.
        """
        lengths = np.maximum(ends - starts, -1).astype(np.int32)
        width = max(1, int(lengths.max(initial=0)))
        padded = np.concatenate([buffer, np.zeros(width, dtype=np.uint8)])
        return Cells(gather(padded, starts, width), lengths)

    @staticmethod
    def constant(value: bytes | None, count: int) -> "Cells":
        """The same value `count` times."""
        return Cells.of([value]).take(np.zeros(count, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def width(self) -> int:
        """Bytes of the matrix for each cell."""
        return int(self.matrix.shape[1])

    def tolist(self) -> list[bytes | None]:
        """Each cell as bytes; None is NULL."""
        joined, width = self.matrix.tobytes(), self.width
        return [
            None if length < 0 else joined[row * width : row * width + length]
            for row, length in enumerate(self.lengths.tolist())
        ]

    def take(self, rows: "NDArray[np.int64] | NDArray[np.uint64] | NDArray[np.uint16]") -> "Cells":
        """The cells at these positions, which may repeat: this is how a value is picked from a pool."""
        rows = rows.astype(np.int64, copy=False)  # numpy 1 takes no other places
        items = self.matrix.view(np.dtype((np.void, self.width)))[:, 0]
        matrix = items.take(rows).view(np.uint8).reshape(len(rows), self.width)
        return Cells(matrix, self.lengths.take(rows), plain=self.plain)

    def pick(self, rows: "NDArray[np.int64]") -> "Cells":
        """The cells at these positions, as `take` returns them; they know that they come from here."""
        found = self.take(rows)
        return Cells(found.matrix, found.lengths, plain=found.plain, picked=(self, rows))

    def stacked(self, *others: "Cells") -> "Cells":
        """These cells, and those of `others` below them."""
        every = (self, *others)
        matrix = np.zeros((sum(map(len, every)), max(each.width for each in every)), dtype=np.uint8)
        at = 0
        for each in every:
            _rectangle(matrix[at : at + len(each)], 0, each.matrix)
            at += len(each)
        lengths = np.concatenate([each.lengths for each in every])
        return Cells(matrix, lengths, plain=all(each.plain for each in every))

    def where(self, keep: "NDArray[np.bool_]") -> "Cells":
        """These cells where `keep` is true, and NULL elsewhere."""
        return Cells(self.matrix, np.where(keep, self.lengths, np.int32(-1)), plain=self.plain, picked=self.picked)

    def choose(self, chosen: "NDArray[np.bool_]", other: "Cells") -> "Cells":
        """These cells where `chosen` is true, and those of `other` elsewhere."""
        width = max(self.width, other.width)
        item = np.dtype((np.void, width))
        both = [np.ascontiguousarray(cells.widened(width).matrix).view(item)[:, 0] for cells in (self, other)]
        matrix = np.where(chosen, *both).view(np.uint8).reshape(len(self), width)
        return Cells(matrix, np.where(chosen, self.lengths, other.lengths), plain=self.plain and other.plain)

    def widened(self, width: int) -> "Cells":
        """The same cells in a matrix that is at least `width` bytes wide."""
        if self.width >= width:
            return self
        matrix = np.zeros((len(self), width), dtype=np.uint8)
        _rectangle(matrix, 0, self.matrix)
        return Cells(matrix, self.lengths, plain=self.plain)

    @property
    def inside(self) -> "NDArray[np.bool_]":
        """bool[n, width]: which bytes of the matrix belong to cells."""
        if self.width > _WIDEST_TABLE:
            return np.arange(self.width, dtype=np.int32) < self.lengths[:, None]
        return _places_below(self.width).take(np.maximum(self.lengths, 0), axis=0)

    def escaped(self) -> "Cells":
        """The cells as COPY's text format writes them, without the separators; NULL stays NULL."""
        if self.plain or not _holds_escapes(self.matrix):
            return self if self.plain else Cells(self.matrix, self.lengths, plain=True)
        special = _IS_ESCAPED[self.matrix] & self.inside
        rows = np.flatnonzero(special.any(axis=1))
        if not len(rows):
            return Cells(self.matrix, self.lengths, plain=True)
        values = [value and value.translate(None) for value in self.take(rows).tolist()]
        escaped = Cells.of([value and b"".join(_ESCAPED[byte] for byte in value) for value in values])
        width = max(self.width, escaped.width)
        matrix, lengths = self.widened(width).matrix.copy(), self.lengths.copy()
        matrix[rows] = escaped.widened(width).matrix
        lengths[rows] = escaped.lengths
        return Cells(matrix, lengths, plain=True)

    def narrowed(self, width: int) -> "Cells":
        """The cells in a matrix of at most so many bytes; longer ones are cut, maybe within a character."""
        if self.width <= width:
            return self
        lengths = np.minimum(self.lengths, np.int32(width))
        return Cells(np.ascontiguousarray(self.matrix[:, :width]), lengths, plain=self.plain)

    def cut(self, most: "NDArray[np.int32] | int") -> "Cells":
        """The cells, each with at most so many bytes; no character is cut in two, and no space is left at the end."""
        lengths = np.minimum(self.lengths, np.maximum(np.asarray(most, dtype=np.int32), 0))
        rows = np.arange(len(self))
        for _ in range(3):  # the bytes behind the first of a character are 10xxxxxx, and there are at most three
            inside = (lengths > 0) & (lengths < self.lengths)
            after = self.matrix[rows, np.where(inside, lengths, 0)]
            lengths = lengths - (inside & (after & 0xC0 == 0x80))
        last = self.matrix[rows, np.maximum(lengths - 1, 0)]
        return Cells(self.matrix, lengths - ((lengths > 0) & (last == 0x20)), plain=self.plain)

    def ended(self, end: bytes) -> "Cells":
        """The cells with these bytes behind them."""
        return concat([self, end])

    def compacted(self, keep: "NDArray[np.bool_]") -> "Cells":
        """The bytes for which `keep` (bool[n, width]) is true, moved together; NULL becomes empty."""
        kept = keep & self.inside
        lengths = kept.sum(axis=1, dtype=np.int32)
        flat = np.concatenate([self.matrix[kept], np.zeros(self.width, dtype=np.uint8)])
        starts = np.cumsum(lengths, dtype=np.int64) - lengths
        return Cells(gather(flat, starts, self.width), lengths, plain=self.plain)

    def words(self, count: int) -> "NDArray[np.bytes_]":
        """The first `count` bytes of each cell as numpy's S type, for comparisons; NULL is empty."""
        wide = self.widened(count)
        matrix = np.where(wide.inside, wide.matrix, np.uint8(0))[:, :count]
        return np.ascontiguousarray(matrix).view(f"S{count}")[:, 0]


_IS_ESCAPED = np.array([byte in ESCAPES for byte in range(256)])
_ESCAPED = [b"\\" + ESCAPES[byte] if byte in ESCAPES else bytes([byte]) for byte in range(256)]


def _holds_escapes(matrix: "Bytes") -> bool:
    """Whether a byte that COPY escapes may occur, the undefined ones behind the cells included."""
    joined = matrix.tobytes()  # `in` looks for one byte at memory speed
    return any(byte in joined for byte in ESCAPES)


def gather(buffer: "Bytes", starts: "NDArray[np.int64]", width: int) -> "Bytes":
    """`width` bytes from each start as a matrix; the buffer must have them.

    numpy copies an item of any size in one piece, so the buffer is looked at as overlapping items.
    """
    items = np.ndarray((len(buffer) - width + 1,), dtype=np.dtype((np.void, width)), buffer=buffer, strides=(1,))
    return items[starts].view(np.uint8).reshape(len(starts), width)


def concat(parts: Sequence[Cells | bytes]) -> Cells:
    """The columns joined cell by cell, as `a || b` does: a NULL makes the result NULL.

    Args:
        parts: columns of the same length, or bytes that stand in every row. One must be a column.
    """
    columns = [part for part in parts if isinstance(part, Cells)]
    count = len(columns[0])
    width = max(1, sum(len(part) if isinstance(part, bytes) else part.width for part in parts))
    out = np.empty(count * width, dtype=np.uint8)
    ends = np.arange(count, dtype=np.int64) * width
    null = np.zeros(count, dtype=bool)
    at = 0  # while every row has the same length, parts are written as a rectangle
    fixed = True
    for part in parts:
        if isinstance(part, bytes):
            if part:
                _put(out, width, ends, at if fixed else None, np.frombuffer(part, dtype=np.uint8)[None, :])
                ends += len(part)
                at += len(part)
            continue
        _put(out, width, ends, at if fixed else None, part.matrix)
        ends += np.maximum(part.lengths, 0)
        missing = part.lengths < 0
        null |= missing
        if fixed and count:
            fixed = bool((part.lengths == part.lengths[0]).all())
            at += max(int(part.lengths[0]), 0)
    lengths = (ends - np.arange(count, dtype=np.int64) * width).astype(np.int32)
    lengths[null] = -1
    plain = all(part.plain if isinstance(part, Cells) else not any(byte in part for byte in ESCAPES) for part in parts)
    return Cells(out.reshape(count, width), lengths, plain=plain)


def _put(out: "Bytes", width: int, ends: "NDArray[np.int64]", at: int | None, matrix: "Bytes") -> None:
    """Write a column behind what stands in each row already. Undefined bytes are overwritten by the next column."""
    size = matrix.shape[1]
    if at is not None:
        _rectangle(out.reshape(len(ends), width), at, matrix)
    elif matrix.size == 1:
        out[ends] = matrix[0, 0]
    else:
        items = np.ndarray((len(out) - size + 1,), dtype=np.dtype((np.void, size)), buffer=out, strides=(1,))
        items[ends] = np.ascontiguousarray(matrix).view(items.dtype)[:, 0]


def _rectangle(out: "Bytes", at: int, matrix: "Bytes") -> None:
    """Write a matrix into a wider one, from a column on. An item of a row's bytes is copied in one piece."""
    size = matrix.shape[1]
    if not out.size:
        return
    items = np.ndarray((len(out),), dtype=np.dtype((np.void, size)), buffer=out, offset=at, strides=(out.shape[1],))
    items[:] = np.ascontiguousarray(matrix).view(items.dtype)[:, 0]


def joined(cells: Cells) -> "Bytes":
    """The bytes of all cells, one cell behind the other. None may be NULL."""
    if not len(cells):
        return np.empty(0, dtype=np.uint8)
    ends = np.cumsum(cells.lengths, dtype=np.int64)
    if not _IN_ORDER:
        return cells.matrix[cells.inside]
    out = np.empty(int(ends[-1]) + cells.width, dtype=np.uint8)
    items = np.ndarray((len(out) - cells.width + 1,), np.dtype((np.void, cells.width)), buffer=out, strides=(1,))
    # each row is written whole, and the next one overwrites what lies behind its length
    items[ends - cells.lengths] = cells.matrix.view(items.dtype)[:, 0]
    return out[: ends[-1]]


def _writes_in_order() -> bool:
    """Whether numpy writes overlapping items in the order of their places, as it always has. `joined` rests on it."""
    out = np.zeros(2 + 999, dtype=np.uint8)
    items = np.ndarray((999,), np.dtype((np.void, 3)), buffer=out, strides=(1,))
    rows = np.arange(999 * 3, dtype=np.int64).astype(np.uint8).reshape(999, 3)
    items[np.arange(999)] = rows.view(items.dtype)[:, 0]
    return bool((out[:999] == rows[:, 0]).all())


_IN_ORDER = _writes_in_order()

#: Matrices up to this width have a table of which places lie below each length; comparing costs thirty times as much.
_WIDEST_TABLE = 256


@cache
def _places_below(width: int) -> "NDArray[np.bool_]":
    """bool[width + 1, width]: for each length the places below it."""
    return np.tri(width + 1, width, -1, dtype=bool)


def block(columns: Sequence[Cells]) -> bytes:
    r"""The rows as a block of COPY's text format: a tab between cells, a newline behind each row, NULL as `\N`.

    Args:
        columns: the columns of the table in their order, all of the same length.
    """
    parts: list[Cells | bytes] = []
    for number, column in enumerate(columns):
        if number:
            parts.append(b"\t")
        cells = column.escaped()
        null = cells.lengths < 0
        if null.any():
            wide = cells.widened(2)
            matrix, lengths = wide.matrix.copy(), wide.lengths.copy()
            matrix[null, 0], matrix[null, 1], lengths[null] = 0x5C, 0x4E, 2
            cells = Cells(matrix, lengths, plain=True)
        parts.append(cells)
    rows = concat([*parts, b"\n"])
    return joined(rows).tobytes()


def digits(numbers: "Numbers", *, width: int = 0) -> Cells:
    """Whole numbers in decimal.

    Args:
        numbers: uint64[n].
        width: leading zeros fill a number up to this many digits.
    """
    most = int(numbers.max(initial=0))
    figures = max(len(str(most)), width, 1)
    groups = -(-figures // 4)
    out = np.empty((len(numbers), groups), dtype=np.uint32)
    rest = numbers.astype(np.uint32) if most < 2**32 else numbers
    thousand = rest.dtype.type(10_000)
    for group in range(groups - 1, 0, -1):
        above = rest // thousand
        out[:, group] = _FOUR_DIGITS[rest - above * thousand]
        rest = above
    out[:, 0] = _FOUR_DIGITS[rest]
    matrix = out.view(np.uint8)
    if figures == width:
        return Cells(
            np.ascontiguousarray(matrix[:, groups * 4 - width :]), np.full(len(numbers), width, np.int32), plain=True
        )
    lengths = np.full(len(numbers), max(width, 1), dtype=np.int32)
    for power in range(max(width, 1), len(str(most))):
        lengths += numbers >= np.uint64(10**power)
    padded = np.concatenate([matrix.reshape(-1), np.zeros(groups * 4, dtype=np.uint8)])
    starts = np.arange(1, len(numbers) + 1, dtype=np.int64) * (groups * 4) - lengths
    return Cells(gather(padded, starts, figures), lengths, plain=True)


def signed(numbers: "NDArray[np.int64]") -> Cells:
    """Whole numbers in decimal, with a minus where they are negative."""
    negative = numbers < 0
    figures = digits(np.abs(numbers).astype(np.uint64))
    if not negative.any():
        return figures
    minus = Cells(np.full((len(numbers), 1), 0x2D, np.uint8), negative.astype(np.int32), plain=True)
    return concat([minus, figures])


_HEX = np.array([f"{number:04x}".encode() for number in range(65_536)], dtype="S4").view(np.uint32)


def hexadecimal(numbers: "Numbers") -> Cells:
    """Each number as 16 hexadecimal digits."""
    pairs = numbers.astype(">u8").view(">u2").astype(np.uint16).reshape(len(numbers), 4)
    return Cells(_HEX[pairs].view(np.uint8), np.full(len(numbers), 16, np.int32), plain=True)


def whole(cells: Cells) -> "tuple[NDArray[np.int64], NDArray[np.bool_]]":
    """The cells read as whole numbers: their values, and which cells are one (a minus and up to 18 digits)."""
    negative = (cells.lengths > 0) & (cells.matrix[:, 0] == 0x2D)
    lengths = cells.lengths - negative
    good = (lengths > 0) & (lengths <= 18)
    total = np.zeros(len(cells), dtype=np.int64)
    for position in range(min(cells.width, 19)):
        inside = (position >= negative) & (position < cells.lengths) & good
        figure = cells.matrix[:, position].astype(np.int64) - 0x30
        good &= ~inside | ((figure >= 0) & (figure <= 9))
        total = np.where(inside, total * 10 + figure, total)
    return np.where(good, np.where(negative, -total, total), 0), good


__all__ = ["ESCAPES", "Cells", "block", "concat", "digits", "gather", "hexadecimal", "joined", "signed", "whole"]
