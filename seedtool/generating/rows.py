"""Rows: one slice of one table becomes blocks of COPY's text.

A *batch* is some rows of one table, by their numbers. Its columns are made when they are asked for, each once, as
arrays. A column may ask for others of its row, for a row that its row refers to, and for the parent's.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

import msgspec

from seedtool.values import cells

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import numpy as np

    from seedtool.generating.columns import Order
    from seedtool.generating.numbering import Numbering
    from seedtool.postgres.catalog import Table
    from seedtool.values.cells import Cells

#: Rows that are made at once. Blocks of 65 to 270 KB let the server work while the next one is made; docs/scale.md has
#: the figures.
ROWS_A_BLOCK = 2048


class Maker(Protocol):
    """Makes the cells of one column."""

    def cells(self, batch: Batch) -> Cells:
        """Return the column's cells of a batch, in the batch's order."""
        ...


class Relation(Protocol):
    """Knows for each row of a table to which row of another one it refers."""

    target: PlannedTable

    def rows(self, batch: Batch) -> np.ndarray:
        """Return the row numbers in the other table, int64[n]; -1 where a row refers to none."""
        ...


class PlannedTable:
    """One table of a plan.

    Args:
        name: its name in the recipe.
        table: as the catalog knows it.
        numbering: its row numbers.

    Attributes:
        makers: what makes each column, by the column's name.
        relations: its references by the foreign key's name.
        written: the columns that are sent, in their order.
        serials: the columns whose ids a sequence gives to others' rows.
        guessed: the lines that were inferred, as a recipe would have them, by their columns.
    """

    def __init__(self, name: str, table: Table, numbering: Numbering) -> None:
        self.name = name
        self.table = table
        self.numbering = numbering
        self.makers: dict[str, Maker] = {}
        self.relations: dict[str, Relation] = {}
        self.written: tuple[str, ...] = ()
        self.serials: list[str] = []
        self.guessed: dict[str, str] = {}

    def batch(self, rows: np.ndarray) -> Batch:
        """Return a batch of rows, by their numbers (int64[n], in any order)."""
        return Batch(self, rows)


class Batch:
    """Some rows of a table.

    Args:
        planned: the table.
        rows: the rows' numbers, int64[n].
    """

    def __init__(self, planned: PlannedTable, rows: np.ndarray) -> None:
        self.planned = planned
        self.rows = rows
        self._cells: dict[str, Cells] = {}
        self._related: dict[str, Batch] = {}
        self._numbers: dict[str, np.ndarray] = {}
        self._parents: tuple[np.ndarray, np.ndarray] | None = None
        self._ordered: dict[Order, list[Cells]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def cells(self, column: str) -> Cells:
        """Return a column's cells."""
        if column not in self._cells:
            self._cells[column] = self.planned.makers[column].cells(self)
        return self._cells[column]

    def ordered(self, order: Order) -> list[Cells]:
        """Return the cells of columns that a check compares."""
        if order not in self._ordered:
            self._ordered[order] = order.columns(self)
        return self._ordered[order]

    def parents(self) -> tuple[np.ndarray, np.ndarray]:
        """Return each row's parent, and which of its children it is; both int64[n]."""
        if self._parents is None:
            self._parents = self.planned.numbering.parents(self.rows)
        return self._parents

    def numbers(self, relation: str) -> np.ndarray:
        """Return which rows of the other table a reference means, int64[n]; -1 for none."""
        if relation not in self._numbers:
            self._numbers[relation] = self.planned.relations[relation].rows(self)
        return self._numbers[relation]

    def related(self, relation: str) -> Batch:
        """Return the rows that a reference means, as a batch: of a row that refers to none, the first row stands."""
        import numpy as np

        if relation not in self._related:
            target = self.planned.relations[relation].target
            self._related[relation] = target.batch(np.maximum(self.numbers(relation), 0))
        return self._related[relation]


class Block(msgspec.Struct, frozen=True):
    """Some rows as COPY takes them: their number and their text."""

    rows: int
    data: bytes


def blocks(
    planned: PlannedTable, first: int, last: int, size: int = ROWS_A_BLOCK, late: Collection[str] = ()
) -> Iterator[Block]:
    """Yield the text of rows, block by block.

    Args:
        planned: the table.
        first: the first row's number.
        last: the number after the last row's.
        size: rows of a block.
        late: columns that are NULL at first (see `loading`).
    """
    import numpy as np

    for start in range(first, last, size):
        rows = np.arange(start, min(start + size, last), dtype=np.int64)
        batch = planned.batch(rows)
        columns = [
            cells.Cells.constant(None, len(rows)) if column in late else batch.cells(column)
            for column in planned.written
        ]
        yield Block(len(rows), cells.block(columns) if columns else b"\n" * len(rows))


class Checksum:
    """A checksum of rows that does not depend on how they were cut into slices and blocks.

    Rows are hashed in stretches of `ROWS_A_BLOCK` that begin at a multiple of it; the hashes are added up.
    """

    def __init__(self) -> None:
        self._sum = 0

    def add(self, data: bytes) -> None:
        """Add a block that is such a stretch, or a part of one at an end of the table."""
        self._sum += int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()[:8], "big")

    def __str__(self) -> str:
        return f"{self._sum % 2**64:016x}"


def checksum(planned: PlannedTable, first: int, last: int) -> str:
    """Return the checksum of rows, by their numbers."""
    found = Checksum()
    for block in blocks(planned, first, last):
        found.add(block.data)
    return str(found)


def sample(planned: PlannedTable, count: int) -> list[dict[str, str | None]]:
    """Return the first rows as texts by their columns."""
    import numpy as np

    batch = planned.batch(np.arange(count, dtype=np.int64))
    columns: Mapping[str, list[bytes | None]] = {name: batch.cells(name).tolist() for name in planned.written}
    return [
        {name: None if (value := values[row]) is None else value.decode() for name, values in columns.items()}
        for row in range(count)
    ]
