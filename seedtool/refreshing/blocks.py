r"""Blocks of COPY text: the cells of masked columns replaced, all other bytes as they are.

In COPY's text form a raw tab or newline always delimits (PostgreSQL's documentation, "File Formats" of COPY): within a
value both are written with a backslash. So one scan finds every cell, and what is kept is never parsed: no type can
break it. `Rewriter` does that with numpy, and with pyarrow where it is there. `rewrite_exactly` does the same row by
row, in the plainest way, for blocks that are not what the scan expects; a property test holds both to one answer.
"""

from __future__ import annotations

import itertools
import operator
import re
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from seedtool.errors import DatabaseError, SeedtoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from seedtool.values.cells import Cells

    Bytes = NDArray[np.uint8]
    Places = NDArray[np.int64]
    Flags = NDArray[np.bool_]

NULL = b"\\N"
_TAB, _NEWLINE, _BACKSLASH = 9, 10, 92
_ESCAPED = re.compile(rb"[\\\b\f\n\r\t\v]")
#: An escape that COPY reads: octal and hexadecimal digits, a letter for a control character, any other for itself.
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.))", re.DOTALL)
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


#: How many pieces of a block are put together at once where pyarrow is missing.
_PIECES = 512
#: Bytes of the largest matrix of one column's cells. Rows are masked in halves until they stay below it.
_LARGEST_MATRIX = 32 * 1024 * 1024


class Column(NamedTuple):
    """The cells of one column where they lie.

    Args:
        buffer: bytes.
        starts: where each cell begins in it.
        ends: where each cell ends.
        nulls: which cells are NULL.
    """

    buffer: Bytes
    starts: Places
    ends: Places
    nulls: Flags


class Mask(Protocol):
    """A mask of one column: `seedtool.refreshing.masks.Mask`.

    A mask may have an attribute `computed`: an expression of SQL over the row's other columns. Then the copy computes
    the column by it, and never reads it.
    """

    def apply(self, cells: Column, subject: Column | None = None) -> Cells:
        """Return the masked cells.

        Args:
            cells: the original values.
            subject: the values of the column that tells whose they are.
        """


class MaskFailed(Exception):
    """A mask could not mask a value. What it raised may quote the value, so only its kind is kept.

    Args:
        place: the masked column's place.
        kind: the class of what it raised.
        refusal: what it raised, where that is an error of ours: these quote nothing.
    """

    def __init__(self, place: int, kind: str, refusal: SeedtoolError | None = None) -> None:
        super().__init__(place, kind)
        self.place = place
        self.kind = kind
        self.refusal = refusal


class Rewriter:
    """Replaces the cells of masked columns in a stream of blocks.

    Args:
        width: how many columns a row has.
        masks: the mask of each masked column, by its place from 0.
        subjects: the place of the column that holds a masked column's subject, where its mask needs one.
        arrow: gather with pyarrow; None where it is installed.
    """

    def __init__(
        self,
        width: int,
        masks: Mapping[int, Mask],
        subjects: Mapping[int, int] | None = None,
        *,
        arrow: bool | None = None,
    ) -> None:
        self._width = width
        self._masks = dict(sorted(masks.items()))
        self._subjects = dict(subjects or {})
        self._assemble = _assembler(arrow)
        self._rest: list[bytes] = []

    def feed(self, block: bytes) -> bytes | memoryview:
        """Return the rows that are complete with this block, masked.

        Args:
            block: any piece of COPY text; it need not end where a row ends.

        Raises:
            MaskFailed: a mask could not mask a value.
            DatabaseError: a row has another number of columns.
        """
        cut = block.rfind(b"\n") + 1
        if not cut:
            self._rest.append(block)
            return b""
        rows = b"".join([*self._rest, memoryview(block)[:cut]])
        self._rest = [block[cut:]] if cut < len(block) else []
        return self._rows(rows)

    def end(self) -> None:
        """Make sure that the stream ended where a row ended.

        Raises:
            DatabaseError: it did not.
        """
        if self._rest:
            raise DatabaseError("the source's rows end in the middle of a row", remedy="Start again.")

    def _rows(self, rows: bytes) -> bytes | memoryview:
        import numpy as np

        buffer = np.frombuffer(rows, np.uint8)
        # 9 and 10 are the two delimiters, and uint8 wraps around
        ends = np.flatnonzero((buffer - np.uint8(_TAB)) < 2)
        if len(ends) % self._width or not _is_grid(buffer, ends, self._width):
            return rewrite_exactly(rows, self._width, self._masks, self._subjects)
        starts = np.concatenate([np.zeros(1, ends.dtype), ends[:-1] + 1]).reshape(-1, self._width)
        stops = ends.reshape(-1, self._width)
        count = len(stops)
        places = list(self._masks)
        if count > 1 and int((stops[:, places] - starts[:, places]).max()) * count > _LARGEST_MATRIX:
            # masks make matrices of rows by the longest cell: one long cell must not widen the rows beside it
            half = int(stops[count // 2 - 1, -1]) + 1
            return b"".join([self._rows(rows[:half]), self._rows(rows[half:])])
        escapes = np.flatnonzero(buffer == _BACKSLASH) if b"\\" in rows else None
        columns = {
            place: _column(buffer, starts[:, place], stops[:, place], escapes)
            for place in {*self._masks, *(self._subjects[each] for each in self._masks if each in self._subjects)}
        }
        masked = [
            _written(_applied(place, mask, columns[place], columns.get(self._subjects.get(place, -1))))
            for place, mask in self._masks.items()
        ]
        return self._assemble(buffer, starts[:, places], stops[:, places], masked)


def rewrite_exactly(
    rows: bytes, width: int, masks: Mapping[int, Mask], subjects: Mapping[int, int] | None = None
) -> bytes:
    """Return rows with their masked columns replaced, row by row.

    Args:
        rows: whole rows of COPY text.
        width: how many columns a row has.
        masks: the mask of each masked column, by its place from 0.
        subjects: as `Rewriter` takes them.

    Raises:
        DatabaseError: a row has another number of columns.
    """
    lines = [line.split(b"\t") for line in rows.split(b"\n")[:-1]]
    if any(len(line) != width for line in lines):
        raise DatabaseError("the source sent a row with another number of columns", remedy="Start again.")
    subjects = subjects or {}

    def column(place: int) -> Column:
        return _listed([None if line[place] == NULL else unescape(line[place]) for line in lines])

    masked = {
        place: _applied(place, mask, column(place), column(subjects[place]) if place in subjects else None)
        for place, mask in masks.items()
    }
    for place, cells in masked.items():
        for line, value in zip(lines, cells.tolist(), strict=True):
            line[place] = NULL if value is None else escape(value)
    return b"".join(b"\t".join(line) + b"\n" for line in lines)


def _applied(place: int, mask: Mask, cells: Column, subject: Column | None) -> Cells:
    try:
        return mask.apply(cells, subject)
    except SeedtoolError as error:
        raise MaskFailed(place, type(error).__name__, error) from None
    except Exception as error:  # noqa: BLE001 - a mask may be the project's own function
        raise MaskFailed(place, type(error).__name__) from None


def escape(value: bytes) -> bytes:
    """Return a value as COPY writes it."""
    from seedtool.values.cells import ESCAPES

    return _ESCAPED.sub(lambda found: b"\\" + ESCAPES[found[0][0]], value)


def unescape(cell: bytes) -> bytes:
    """Return the value of a cell that is not NULL."""
    return _ESCAPE.sub(_unescaped, cell) if b"\\" in cell else cell


def _unescaped(found: re.Match[bytes]) -> bytes:
    octal, hexadecimal, character = found.groups()
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    if hexadecimal is not None:
        return bytes([int(hexadecimal, 16)])
    return _LETTERS.get(character, character)


def _is_grid(buffer: Bytes, ends: Places, width: int) -> bool:
    """Tell whether each newline ends a row of so many columns."""
    last = buffer[ends].reshape(-1, width) == _NEWLINE
    return bool(last[:, -1].all() and not last[:, :-1].any())


def _column(buffer: Bytes, starts: Places, ends: Places, escapes: Places | None) -> Column:
    """Return the values of a column: where they lie in a buffer, and which are NULL."""
    import numpy as np

    if escapes is None:
        return Column(buffer, starts, ends, np.zeros(len(starts), bool))
    escaped = np.searchsorted(escapes, starts) < np.searchsorted(escapes, ends)
    # `\N` alone is NULL; a value that has this text is written `\\N`
    nulls = escaped & (ends - starts == 2) & (buffer[np.minimum(starts + 1, len(buffer) - 1)] == ord("N"))
    odd = np.flatnonzero(escaped & ~nulls)
    if not len(odd):
        return Column(buffer, starts, ends, nulls)
    whole = buffer.tobytes()
    values = [unescape(whole[start:end]) for start, end in zip(starts[odd].tolist(), ends[odd].tolist(), strict=True)]
    stops = len(buffer) + np.cumsum([len(value) for value in values])
    starts, ends = starts.copy(), ends.copy()
    starts[odd], ends[odd] = np.concatenate(([len(buffer)], stops[:-1])), stops
    return Column(np.concatenate([buffer, np.frombuffer(b"".join(values), np.uint8)]), starts, ends, nulls)


def _listed(values: Sequence[bytes | None]) -> Column:
    """Return a list of values as a column."""
    import numpy as np

    lengths = np.array([len(value or b"") for value in values], np.int64)
    ends = np.cumsum(lengths)
    nulls = np.array([value is None for value in values], bool)
    return Column(np.frombuffer(b"".join(value or b"" for value in values), np.uint8), ends - lengths, ends, nulls)


def _written(cells: Cells) -> tuple[Bytes, NDArray[np.int32]]:
    r"""Return masked cells as COPY writes them, `\N` for NULL: a matrix as that of `Cells`, and the lengths."""
    import numpy as np

    escaped = cells.escaped()
    nulls = escaped.lengths < 0
    if not nulls.any():
        return np.ascontiguousarray(escaped.matrix), escaped.lengths
    matrix = np.zeros((len(nulls), max(escaped.matrix.shape[1], len(NULL))), np.uint8)
    matrix[:, : escaped.matrix.shape[1]] = escaped.matrix
    matrix[nulls, : len(NULL)] = np.frombuffer(NULL, np.uint8)
    return matrix, np.where(nulls, np.int32(len(NULL)), escaped.lengths)


def _assembler(arrow: bool | None) -> Callable[..., bytes | memoryview]:
    if arrow is not False:
        try:
            import pyarrow as pa  # noqa: F401 - is it there?
        except ImportError:
            if arrow:
                raise
        else:
            return _assemble_with_arrow
    return _assemble


def _assemble(
    buffer: Bytes, starts: Places, ends: Places, masked: Sequence[tuple[Bytes, NDArray[np.int32]]]
) -> memoryview:
    """Return the block with other cells in the places of those between `starts` and `ends` (rows × masked columns)."""
    import numpy as np

    bounds = _bounds(starts, ends, len(buffer))
    begin, lengths = bounds[:-1].copy(), np.diff(bounds)
    base = len(buffer)
    for number, (matrix, own) in enumerate(masked):
        every = slice(1 + 2 * number, None, 2 * len(masked))
        begin[every], lengths[every] = np.arange(len(own)) * matrix.shape[1] + base, own
        base += matrix.size
    stops = np.cumsum(lengths)
    every_byte = np.concatenate([buffer, *(matrix.reshape(-1) for matrix, _ in masked)])
    out = np.empty(int(stops[-1]), np.uint8)
    parts = [*range(0, len(lengths), _PIECES), len(lengths)]
    ends_of_parts = [0, *(int(stops[last - 1]) for last in parts[1:])]
    within = np.arange(max(map(operator.sub, ends_of_parts[1:], ends_of_parts)))
    begin -= stops - lengths
    for part, written, end in zip(itertools.pairwise(parts), ends_of_parts, ends_of_parts[1:], strict=False):
        some = slice(*part)  # an index takes eight bytes for each byte: those of few pieces stay in the cache
        where = np.repeat(begin[some] + written, lengths[some])
        where += within[: end - written]
        every_byte.take(where, out=out[written:end], mode="clip")
    return out.data


def _bounds(starts: Places, ends: Places, size: int) -> Places:
    """Return where each piece of a block begins: kept, masked, kept, masked, ..., kept; and where the last ends."""
    import numpy as np

    bounds = np.empty(starts.size * 2 + 2, np.int64)
    bounds[0], bounds[-1] = 0, size
    bounds[1:-1:2], bounds[2:-1:2] = starts.ravel(), ends.ravel()
    return bounds


def _assemble_with_arrow(
    buffer: Bytes, starts: Places, ends: Places, masked: Sequence[tuple[Bytes, NDArray[np.int32]]]
) -> memoryview:
    """Do what `_assemble` does: arrays of pieces over the bytes where they lie, and one `take` of them.

    Of a masked column, each second piece is what lies between two cells.
    """
    import numpy as np
    import pyarrow as pa

    bounds = _bounds(starts, ends, len(buffer)).astype(np.int32)
    pieces = [_binary(buffer, bounds)]
    order = np.arange(len(bounds) - 1, dtype=np.int32)
    first = len(order)
    for number, (matrix, lengths) in enumerate(masked):
        rows, width = matrix.shape
        offsets = np.empty(2 * rows + 1, np.int32)
        offsets[::2] = np.arange(0, (rows + 1) * width, width, dtype=np.int32)
        offsets[1::2] = offsets[:-1:2] + lengths
        pieces.append(_binary(matrix.reshape(-1), offsets))
        order[1 + 2 * number :: 2 * len(masked)] = np.arange(first, first + 2 * rows, 2, dtype=np.int32)
        first += 2 * rows
    taken = pa.concat_arrays(pieces).take(pa.array(order))
    end = int(np.frombuffer(taken.buffers()[1], np.int32)[len(order)])
    return memoryview(taken.buffers()[2])[:end]


def _binary(data: Bytes, offsets: NDArray[np.int32]) -> Any:  # noqa: ANN401 - pyarrow has no types of its own
    import numpy as np
    import pyarrow as pa

    return pa.Array.from_buffers(
        pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    )
