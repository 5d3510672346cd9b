"""Shapes of values before and after their masks: how a value is built, never the value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from psycopg import sql

from seedtool.errors import SeedtoolError
from seedtool.refreshing.check import Shape, name_of
from seedtool.refreshing.masks import refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

    from seedtool.postgres.catalog import Table
    from seedtool.refreshing.masks import Mask
    from seedtool.refreshing.policy import Policy, TableName

#: How many rows of a table are looked at.
ROWS = 50


class ColumnPreview(msgspec.Struct, frozen=True, kw_only=True):
    """Shapes of a masked column's values.

    Args:
        table: the table.
        column: the column.
        mask: the mask's word.
        before: the most frequent shape among some values: `Aa Aa` of two words with a capital, `99.999.999-9`.
        after: the same of the masked values.
    """

    table: str
    column: str
    mask: str
    before: str
    after: str


def preview(
    connection: psycopg.Connection[Any], shape: Shape, policy: Policy, masks: Mapping[tuple[TableName, str], Mask]
) -> Iterator[ColumnPreview]:
    """Yield the shapes of each masked column.

    Args:
        connection: to the source, in its snapshot.
        shape: its tables.
        policy: the policy, which fits them.
        masks: the mask of each masked column.
    """
    for table in shape.tables:
        listed = policy.tables.get(name_of(table))
        masked = [name for name in table.columns if (name_of(table), name) in masks]
        if listed is None or listed.rows == "none" or not masked:
            continue
        rows = _rows(connection, table)
        for name in masked:
            mask = masks[name_of(table), name]
            before = [row[name] for row in rows]
            try:
                after = mask.of(before, [row[mask.subject] for row in rows] if mask.subject else None)
            except SeedtoolError as error:
                raise refused(error, table, name) from None
            yield ColumnPreview(
                table=str(table),
                column=name,
                mask=listed.columns[name].mask,
                before=_most(before),
                after=_most(after),
            )


def _rows(connection: psycopg.Connection[Any], table: Table) -> list[dict[str, str | None]]:
    names = list(table.columns)
    statement = sql.SQL("SELECT {} FROM {} LIMIT {}").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in names),
        table.stored,
        sql.Literal(ROWS),
    )
    return [dict(zip(names, row, strict=True)) for row in connection.execute(statement)]


def _most(values: list[str | None]) -> str:
    """Return the most frequent shape of some values."""
    shapes = [shape_of(value) for value in values]
    return max(sorted(set(shapes)), key=shapes.count) if shapes else ""


def shape_of(value: str | None) -> str:
    """Return how a value is built: runs of letters as `a`, `A` or `Aa`, digits as 9, all other characters as they are.

    A run of digits keeps its length up to four, for dates and RUTs are told by it; a run of letters keeps none.
    """
    if value is None:
        return "NULL"
    text = re.sub(r"[^\W\d_]+", lambda run: _letters(run[0]), value[:200])
    text = re.sub(r"\d+", lambda run: "9" * min(len(run[0]), 4), text)
    words = text.split(" ")
    return text if len(words) <= 6 else f"{' '.join(words[:6])} ... ({len(words)} words)"


def _letters(run: str) -> str:
    if run.isupper():
        return "A"
    return "Aa" if run[0].isupper() else "a"
