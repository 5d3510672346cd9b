"""What a plan takes from the database apart from its catalog: rows that are given, and ids that are taken.

It is read once, when a load begins, and sent to the workers. What later loads of the same recipe have to find again
stands in the ledger.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import LoadInterrupted
from seedtool.generating.columns import Segment
from seedtool.postgres.copying import copy_out
from seedtool.values.cells import Cells

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from seedtool.postgres.catalog import Table


#: So many rows of others are looked at for values that are taken; beyond that the database has the last word.
_MOST_TAKEN = 1_000_000

#: So many values of given rows are read at a time.
_READ = 20_000


class Facts:
    """Facts of a database.

    Args:
        connection: to the database; None in a worker, which has all it needs.
        known: what an earlier load of the same recipe has left in the ledger.
    """

    def __init__(self, connection: psycopg.Connection[Any] | None, known: dict[str, Any] | None = None) -> None:
        self._connection = connection
        found = msgspec.convert(known or {}, _Known)
        self._segments = {name: [Segment(*each) for each in segments] for name, segments in found.segments.items()}
        self._given: dict[str, Cells] = {}
        self._counts: dict[str, int] = dict(found.counts)
        self._digests: dict[str, str] = dict(found.digests)
        self._moved: dict[str, list[int]] = dict(found.moved)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_connection": None}

    @property
    def lasting(self) -> dict[str, Any]:
        """What the ledger keeps, as JSON."""
        return {"segments": self._segments, "counts": self._counts, "moved": self._moved, "digests": self._digests}

    def given(self, table: Table, column: str) -> Cells:
        """Return a column of the rows that are given, in the order of the table's key."""
        name = f"{table.qualified}.{column}"
        if name not in self._given:
            order = sql.SQL(", ").join(map(sql.Identifier, table.primary_key or tuple(table.columns)[:1]))
            query = sql.SQL("SELECT {} FROM {} ORDER BY {} LIMIT {}").format(
                sql.Identifier(column), table.identifier, order, sql.Literal(self.count(table))
            )
            with self._open().cursor() as cursor:
                found, digest = _read(str(value) if value is not None else None for (value,) in copy_out(cursor, query))
            if len(found) < self.count(table) or self._digests.setdefault(name, digest) != digest:
                raise LoadInterrupted(
                    f"{table} has other rows than when the recipe was first loaded, and its rows are given",
                    remedy="seedtool seed unload takes the recipe's rows away; then load it anew.",
                    table=str(table),
                )
            self._given[name] = found
        return self._given[name]

    def count(self, table: Table) -> int:
        """Return how many rows are given."""
        name = table.qualified
        if name not in self._counts:
            row = self._open().execute(sql.SQL("SELECT count(*) FROM {}").format(table.identifier)).fetchone()
            self._counts[name] = row[0] if row else 0
        return self._counts[name]

    def segments(self, table: Table, column: str, before: int) -> list[Segment]:
        """Return which ids the rows have: where others' rows came behind ours, new rows go behind those.

        Args:
            table: the table.
            column: the ids' column.
            before: how many of the rows are there already.
        """
        name = f"{table.qualified}.{column}"
        segments = self._segments.setdefault(name, [])
        if self._connection is None or (segments and segments[-1].first == before):
            return segments
        highest = sql.SQL("SELECT coalesce(max({}), 0)::bigint FROM {}").format(
            sql.Identifier(column), table.identifier
        )
        row = self._open().execute(highest).fetchone()
        plus = max(row[0] if row else 0, 0) + 1 - before
        if not segments or segments[-1].plus != plus:
            segments.append(Segment(before, plus))
        return segments

    def taken(self, table: Table, column: str, before: int) -> frozenset[bytes]:
        """Return the values of a column, where others' rows are in its table; else none.

        Args:
            table: the table.
            column: the column.
            before: how many of the rows are ours.
        """
        if self._connection is None:
            return frozenset()
        name = sql.Identifier(column)
        counted = sql.SQL("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) AS t").format(
            table.identifier, sql.Literal(before + _MOST_TAKEN)
        )
        row = self._connection.execute(counted).fetchone()
        if row is None or not before < row[0] < before + _MOST_TAKEN:
            return frozenset()
        query = sql.SQL("SELECT {} FROM {} WHERE {} IS NOT NULL").format(name, table.identifier, name)
        with self._connection.cursor() as cursor:
            return frozenset(str(value).encode() for (value,) in copy_out(cursor, query))

    def moved(self, table: Table, column: str, found: list[int]) -> np.ndarray:
        """Return the rows whose dealt value somebody else's row has, int64[n].

        Args:
            table: the table.
            column: the column.
            found: rows that were found just now: the ledger keeps them.
        """
        import numpy as np

        name = f"{table.qualified}.{column}"
        if found:
            self._moved[name] = sorted({*self._moved.get(name, []), *found})
        return np.array(self._moved.get(name, []), dtype=np.int64)

    def _open(self) -> psycopg.Connection[Any]:
        assert self._connection is not None  # noqa: S101 - what workers ask for was read before they were sent for
        return self._connection


def _read(values: Iterator[str | None]) -> tuple[Cells, str]:
    """Return values as cells, and the hash of all; an object for each value is only there for some thousands at a time.

    The hash is SHA-256 of the values with a zero byte between two.
    """
    hashed, parts = hashlib.sha256(), list[Cells]()
    while batch := list(itertools.islice(values, _READ)):
        hashed.update(b"\0" * bool(parts) + "\0".join(value or "" for value in batch).encode())
        parts.append(Cells.of(batch))
    return Cells.of(()).stacked(*parts), hashed.hexdigest()


class _Known(msgspec.Struct):
    segments: dict[str, list[tuple[int, int]]] = {}
    counts: dict[str, int] = {}
    moved: dict[str, list[int]] = {}
    digests: dict[str, str] = {}
