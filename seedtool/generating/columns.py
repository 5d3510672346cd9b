"""What makes the cells of a column: numbers in order, templates, references, and kinds of the vocabulary."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from seedtool.generating.numbering import Span
from seedtool.values import cells as values
from seedtool.values import hashing
from seedtool.values.word import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from seedtool.generating.numbering import Numbering
    from seedtool.generating.rows import Batch, Maker, PlannedTable
    from seedtool.values.cells import Cells
    from seedtool.values.word import Kind


class Segment(NamedTuple):
    """From a row's number on, ids are the row's number plus this."""

    first: int
    plus: int


class Serial:
    """Ids in the order of the rows, in stretches that keep off the ids of others' rows.

    Args:
        segments: the stretches, by their first rows.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments

    def cells(self, batch: Batch) -> Cells:
        """Return the ids."""
        import numpy as np

        starts = np.array([each.first for each in self._segments])
        plus = np.array([each.plus for each in self._segments])
        found = batch.rows + plus[np.searchsorted(starts, batch.rows, side="right") - 1]
        return values.signed(found)


class Made:
    """Values of a kind of the vocabulary.

    Args:
        kind: the kind.
        key: of the column's stream.
    """

    def __init__(self, kind: Kind, key: bytes) -> None:
        self.kind = kind
        self._key = key

    def cells(self, batch: Batch) -> Cells:
        """Return the values."""
        columns = {name: batch.cells(name) for name in self.kind.needs}
        return self.kind.make(hashing.stream(self._key, batch.rows), Context(batch.rows, columns))


class Field(NamedTuple):
    """A field of a template: `{n}`, `{k}`, `{column}`, `{relation.column}` or `{table}`.

    Args:
        relation: the foreign key to the row whose column is meant; None for the row itself.
        name: of the column, or `n` or `k`.
        width: leading zeros fill a number up to so many digits.
        above: the table above whose row's number is meant.
    """

    relation: str | None
    name: str
    width: int
    above: Numbering | None = None


_FIELD = re.compile(r"\{\{|\}\}|\{([^{}:]*)(?::0?(\d+))?\}|[{}]")


def fields(text: str) -> list[str | Field]:
    """Take a template apart.

    Raises:
        ValueError: a brace has no partner, or a field no name.
    """
    parts: list[str | Field] = []
    at = 0
    for found in _FIELD.finditer(text):
        if found.start() > at:
            parts.append(text[at : found.start()])
        at = found.end()
        if found[0] in {"{{", "}}"}:
            parts.append(found[0][0])
        elif not found[1]:
            raise ValueError(f"the brace at character {found.start() + 1} has no field")
        else:
            relation, dot, name = found[1].strip().rpartition(".")
            parts.append(Field(relation if dot else None, name, int(found[2] or 0)))
    if at < len(text):
        parts.append(text[at:])
    return parts


class Template:
    """A text with fields.

    Args:
        parts: the text and its fields; relations are names of foreign keys.
    """

    def __init__(self, parts: Sequence[str | Field]) -> None:
        self.parts = parts

    def cells(self, batch: Batch) -> Cells:
        """Return the texts. Where a field is NULL, the text is."""
        if not any(isinstance(part, Field) for part in self.parts):
            return values.Cells.constant("".join(map(str, self.parts)).encode(), len(batch))
        return values.concat([self._part(part, batch) for part in self.parts])

    def _part(self, part: str | Field, batch: Batch) -> Cells | bytes:
        import numpy as np

        if isinstance(part, str):
            return part.encode()
        if part.relation is not None:
            cells = batch.related(part.relation).cells(part.name)
            return cells.where(batch.numbers(part.relation) >= 0)
        if part.above is not None:
            found = batch.planned.numbering.up(batch.rows, part.above)
            return values.digits((found + 1).astype(np.uint64), width=part.width)
        if part.name == "n":
            return values.digits((batch.rows + 1).astype(np.uint64), width=part.width)
        if part.name == "k":
            return values.digits((batch.parents()[1] + 1).astype(np.uint64), width=part.width)
        return batch.cells(part.name)


class Cycle:
    """Several values in turn.

    Args:
        parts: the values, as templates; None is NULL.
        each: how often each comes in a row.
        per_parent: begin anew with each parent row.
    """

    def __init__(self, parts: Sequence[Template | None], each: int, *, per_parent: bool) -> None:
        self._parts = parts
        self._each = each
        self._per_parent = per_parent

    def cells(self, batch: Batch) -> Cells:
        """Return the values."""
        numbers = batch.parents()[1] if self._per_parent else batch.rows
        places = numbers // self._each % len(self._parts)
        found = values.Cells.constant(None, len(batch))
        for place, part in enumerate(self._parts):
            if part is not None and (chosen := places == place).any():
                found = part.cells(batch).choose(chosen, found)
        return found


class Referring:
    """The column of a reference: the value of the referenced column in the row that is meant.

    Args:
        relation: the foreign key's name.
        column: the referenced column.
    """

    def __init__(self, relation: str, column: str) -> None:
        self.relation = relation
        self.column = column

    def cells(self, batch: Batch) -> Cells:
        """Return the values; NULL where a row refers to none."""
        found = batch.related(self.relation).cells(self.column)
        numbers = batch.numbers(self.relation)
        return found if (numbers >= 0).all() else found.where(numbers >= 0)


class Given:
    """A column of rows that are in the database already.

    Args:
        column: their values, in the order of their numbers.
    """

    def __init__(self, column: Cells) -> None:
        self._column = column

    def cells(self, batch: Batch) -> Cells:
        """Return the values of some of the rows."""
        return self._column.take(batch.rows)


class WithNulls:
    """Another maker, with NULL in a share of the rows.

    Args:
        maker: makes the others.
        millionths: the share.
        key: the key of the draw.
    """

    def __init__(self, maker: Maker, millionths: int, key: bytes) -> None:
        self.maker = maker
        self._millionths = millionths
        self._key = key

    def cells(self, batch: Batch) -> Cells:
        """Return the cells."""
        drawn = hashing.below(hashing.stream(self._key, batch.rows), 1_000_000)
        return self.maker.cells(batch).where(drawn >= self._millionths)


class Order:
    """Columns of which a check says that one is not above the next. In each row the values are put in order.

    A NULL stays where it is. Where two values are equal and may not be, the second becomes one larger: by 1, a day or
    a second. Where it is the largest that it may be, the first becomes one smaller.

    Args:
        makers: of the columns, from the smallest value to the largest.
        strict: for each column but the first, whether its value may not be that of the one before it.
        family: of their types, one of `inference.ORDERED`.
        most: the largest number of each column; None where it is not known, or no number.
        fixed: for each column, whether it stays as it is, since a unique key deals it: then the others go by it, and no
            values change places.
    """

    def __init__(
        self,
        makers: Sequence[Maker],
        strict: Sequence[bool],
        family: str,
        most: Sequence[float | None] = (),
        fixed: Sequence[bool] = (),
    ) -> None:
        self._fixed = fixed
        self._makers = makers
        self._strict = strict
        self._family = family
        self._most = most

    def columns(self, batch: Batch) -> list[Cells]:
        """Return the values of all columns, from the smallest to the largest."""
        made = [each.cells(batch) for each in self._makers]
        return self._around(made) if any(self._fixed) else self._ordered(made)

    def _around(self, found: list[Cells]) -> list[Cells]:
        """Return columns of which the free ones are above the one before and, before a fixed one, below the next."""
        strict = [False, *self._strict]
        last = found[0]
        for place in range(1, len(found)):
            if not self._fixed[place]:
                wrong = self._wrong(last, found[place], strict=strict[place])
                found[place] = _changed(found[place], wrong, last, self._shift(1 if strict[place] else 0))
            last = last.choose(found[place].lengths < 0, found[place])
        above: Cells | None = None
        for place in reversed(range(len(found))):
            if above is not None and not self._fixed[place]:
                wrong = self._wrong(found[place], above, strict=strict[place + 1])
                found[place] = _changed(found[place], wrong, above, self._shift(-1 if strict[place + 1] else 0))
            if self._fixed[place]:
                above = found[place]
            elif above is not None:
                above = above.choose(found[place].lengths < 0, found[place])
        return found

    def _wrong(self, low: Cells, high: Cells, *, strict: bool) -> np.ndarray:
        """Return the rows in which the first is above the second, or may not be equal to it and is."""
        import numpy as np

        both = (low.lengths >= 0) & (high.lengths >= 0)
        below, over = self._numbers(low), self._numbers(high)
        return np.flatnonzero(both & ((below >= over) if strict else (below > over)))

    def _shift(self, by: int) -> Callable[[str], str]:
        return lambda text: _shifted(text, self._family, by) if by else text

    def _ordered(self, made: list[Cells]) -> list[Cells]:
        import numpy as np

        null = np.stack([each.lengths < 0 for each in made], axis=1)
        numbers = np.stack([self._numbers(each) for each in made], axis=1)
        largest = np.iinfo(numbers.dtype).max if numbers.dtype.kind == "i" else np.inf
        order = np.argsort(np.where(null, largest, numbers), axis=1, kind="stable")
        nth = np.maximum(np.cumsum(~null, axis=1) - 1, 0)
        own = np.arange(len(made))
        source = np.where(null, own, np.take_along_axis(order, nth, axis=1))
        found = []
        for place in range(len(made)):
            cells = made[place]
            for other, theirs in enumerate(made):
                taken = source[:, place] == other
                if other != place and taken.any():
                    cells = theirs.choose(taken, cells)
            found.append(cells)
        if any(self._strict):
            self._part(found)
        return found

    def _part(self, found: list[Cells]) -> None:
        """Let values that have to differ differ, and keep the order of all."""
        import numpy as np

        if len(found) == 2 and self._most and self._most[1] is not None:
            same = (found[0].lengths >= 0) & (found[1].lengths >= 0)
            same &= (self._numbers(found[0]) >= self._numbers(found[1])) & (self._numbers(found[1]) >= self._most[1])
            found[0] = _changed(found[0], np.flatnonzero(same), found[1], lambda text: str(Decimal(text) - 1))
        last = found[0]
        for place, strict in enumerate(self._strict, start=1):
            above = found[place]
            rows = self._wrong(last, above, strict=strict)
            above = _changed(above, rows, last, self._shift(1 if strict else 0))
            found[place] = above
            last = last.choose(above.lengths < 0, above)

    def _numbers(self, cells: Cells) -> np.ndarray:
        """Return numbers in the values' order, int64[n] or float64[n]; that of NULL is undefined."""
        import numpy as np

        if self._family == "time":
            text = cells.words(8).view(np.uint8).reshape(len(cells), 8).astype(np.int64) - ord("0")
            found: np.ndarray = text[:, [0, 1, 3, 4, 6, 7]] @ np.array([36_000, 3600, 600, 60, 10, 1])
            return found
        width = 19 if self._family in {"date", "timestamp"} else cells.width
        words = np.where(cells.lengths < 0, b"1970-01-01" if width == 19 else b"0", cells.words(max(width, 10)))
        if width == 19:
            return words.astype("datetime64[s]").astype(np.int64)
        return words.astype(np.int64 if self._family == "integer" else np.float64)


def _changed(cells: Cells, rows: np.ndarray, base: Cells, change: Callable[[str], str]) -> Cells:
    """Return cells that are, in some rows, what a change makes of others' values."""
    import numpy as np

    if not len(rows):
        return cells
    made = values.Cells.of([change(str(each, "ascii")) for each in base.take(rows).tolist() if each is not None])
    places = np.arange(len(cells))
    places[rows] = len(cells) + np.arange(len(rows))
    return cells.stacked(made).take(places)


def _shifted(text: str, family: str, by: int) -> str:
    """Return a value that is a little larger, or smaller: by 1, a day or a second."""
    if family == "time":
        hour, minute, second = map(int, text[:8].split(":"))
        later = max(hour * 3600 + minute * 60 + second + by, 0)  # PostgreSQL takes 24:00:00
        return f"{later // 3600:02}:{later // 60 % 60:02}:{later % 60:02}{text[8:]}"
    if family == "date":
        return str(date.fromisoformat(text) + timedelta(days=by))
    if family == "timestamp":
        return f"{datetime.fromisoformat(text[:19]) + timedelta(seconds=by)}{text[19:]}"
    return str(Decimal(text) + by)


class Other:
    """Another column of the row, as it is when all is settled.

    Args:
        column: its name.
    """

    def __init__(self, column: str) -> None:
        self._column = column

    def cells(self, batch: Batch) -> Cells:
        """Return that column's cells."""
        return batch.cells(self._column)


class Ordered:
    """A column that a check compares with others.

    Args:
        order: the order of their values.
        place: the column's in it.
    """

    def __init__(self, order: Order, place: int) -> None:
        self._order = order
        self._place = place

    def cells(self, batch: Batch) -> Cells:
        """Return the values."""
        return batch.ordered(self._order)[self._place]


class Parent:
    """The reference to the row that a row is a child of, or to one above that.

    Args:
        target: the table that is referred to.
    """

    def __init__(self, target: PlannedTable) -> None:
        self.target = target

    def rows(self, batch: Batch) -> np.ndarray:
        """Return the parents' numbers."""
        own = batch.planned.numbering
        if own.parent is self.target.numbering:
            return batch.parents()[0]
        return own.up(batch.rows, self.target.numbering)


class Through:
    """A reference that another row has, too: the row that a row refers to says which one is meant.

    Args:
        target: the table that is referred to.
        relation: the foreign key to the row in between.
        beyond: that row's foreign key.
    """

    def __init__(self, target: PlannedTable, relation: str, beyond: str) -> None:
        self.target = target
        self._relation = relation
        self._beyond = beyond

    def rows(self, batch: Batch) -> np.ndarray:
        """Return the numbers of the rows that are meant; -1 for none."""
        import numpy as np

        found = batch.related(self._relation).numbers(self._beyond)
        return np.where(batch.numbers(self._relation) >= 0, found, -1)


class Drawn:
    """A reference to a row that is drawn from those a row may refer to.

    Args:
        target: the table that is referred to.
        key: the key of the draw.
        skewed: the first rows are drawn more often than the last: half of all references mean the first quarter.
        each: 0 to draw; else the rows are meant in turn, each so often in a row.
        nulls: the share of rows that refer to none, in millionths.
        own: the table refers to itself: to rows before the own one.
        needed: a row that may refer to none is an error, and a row of its own tree refers to itself.
    """

    def __init__(
        self,
        target: PlannedTable,
        key: bytes,
        *,
        skewed: bool = False,
        each: int = 0,
        nulls: int = 0,
        own: bool,
        needed: bool,
    ) -> None:
        self.target = target
        self._key = key
        self._skewed = skewed
        self.each = each
        self.nulls = nulls
        self._own = own
        self.needed = needed

    def rows(self, batch: Batch) -> np.ndarray:
        """Return the numbers of the rows that are meant; -1 for none."""
        import numpy as np

        first, last = self.span(batch)
        size = np.maximum(last - first, 0)
        found = first + self.among(batch, size)
        missing = (size == 0) | self.none(batch)
        if self._own and self.needed:
            return np.where(missing, batch.rows, found)
        return np.where(missing, -1, found)

    def among(self, batch: Batch, sizes: np.ndarray) -> np.ndarray:
        """Return which of so many rows each row means, int64[n]; 0 where there is none."""
        import numpy as np

        if self.each:
            numbers = batch.parents()[1] if batch.planned.numbering.parent is not None else batch.rows
            found: np.ndarray = numbers // self.each % np.maximum(sizes, 1)
            return found
        return scaled(hashing.stream(self._key, batch.rows), sizes, skewed=self._skewed)

    def span(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Return the first row that each row may refer to, and the one behind the last, int64[n] both."""
        return _span(batch, self.target, own=self._own)

    def none(self, batch: Batch) -> np.ndarray:
        """Tell which rows refer to none, bool[n]."""
        import numpy as np

        if not self.nulls:
            return np.zeros(len(batch), dtype=bool)
        return hashing.below(hashing.stream(self._key, batch.rows, 1), 1_000_000) < self.nulls


class Beside:
    """A reference to a row that is below the same row as the one that another reference means.

    Args:
        drawn: the reference as it would be drawn from all rows.
        relation: the other one.
        above: the table whose row both are below, or are.
    """

    def __init__(self, drawn: Drawn, relation: str, above: Numbering) -> None:
        self.target = drawn.target
        self._drawn = drawn
        self._relation = relation
        self._above = above

    def rows(self, batch: Batch) -> np.ndarray:
        """Return the numbers of the rows that are meant; -1 for none."""
        import numpy as np

        theirs = batch.numbers(self._relation)
        other = batch.planned.relations[self._relation].target.numbering
        rows = other.up(np.maximum(theirs, 0), self._above)
        first, last = self.target.numbering.below(Span(rows, rows + 1), self._above)
        found = first + self._drawn.among(batch, last - first)
        return np.where((theirs < 0) | (last <= first) | self._drawn.none(batch), -1, found)


class Matching:
    """A reference to a given row that has the same value in a column as the row that another reference means.

    Args:
        drawn: the reference as it would be drawn from all rows.
        relation: the other one.
        theirs: the column there.
        column: the column of the given rows.
    """

    def __init__(self, drawn: Drawn, relation: str, theirs: str, column: str) -> None:
        self.target = drawn.target
        self._drawn = drawn
        self._relation = relation
        self._theirs = theirs
        self._column = column
        self._sorted: tuple[np.ndarray, np.ndarray] | None = None

    def rows(self, batch: Batch) -> np.ndarray:
        """Return the numbers of the rows that are meant; -1 for none."""
        import numpy as np

        values, order = self._values()
        cells = batch.related(self._relation).cells(self._theirs)
        sought = cells.words(max(cells.width, values.dtype.itemsize))
        first, last = (np.searchsorted(values, sought, side=side) for side in ("left", "right"))
        found = order[np.minimum(first + self._drawn.among(batch, last - first), len(order) - 1)]
        missing = (batch.numbers(self._relation) < 0) | (last <= first) | self._drawn.none(batch)
        return np.where(missing, -1, found)

    def _values(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the given rows' values in their order, and the numbers of their rows."""
        import numpy as np

        if self._sorted is None:
            rows = np.arange(self.target.numbering.total(1), dtype=np.int64)
            given = self.target.makers[self._column].cells(self.target.batch(rows))
            words = given.words(given.width)
            order = np.argsort(words, kind="stable")
            self._sorted = words[order], order
        return self._sorted


def _span(batch: Batch, target: PlannedTable, *, own: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last row that may be meant."""
    import numpy as np

    numbering = batch.planned.numbering
    if not own:
        return numbering.span(batch.rows, target.numbering)
    if numbering.parent is not None:  # rows of the same parent, before the own one
        return batch.rows - batch.parents()[1], batch.rows
    start = np.zeros(len(batch), dtype=np.int64)
    if numbering.of_unit is not None:
        start = batch.rows // numbering.of_unit * numbering.of_unit
    return start, batch.rows


def scaled(bits: np.ndarray, sizes: np.ndarray, *, skewed: bool = False) -> np.ndarray:
    """Return a number below each size, int64[n]; 0 where the size is 0.

    Args:
        bits: uint64[n].
        sizes: int64[n], each below 2**32.
        skewed: square the draw, as a number between 0 and 1.
    """
    import numpy as np

    half = np.uint64(32)
    drawn = bits >> half
    if skewed:
        drawn = (drawn * drawn) >> half
    found: np.ndarray = ((drawn * sizes.astype(np.uint64)) >> half).astype(np.int64)
    return found
