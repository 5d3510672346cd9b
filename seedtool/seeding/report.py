"""The report of a seed."""

from typing import Literal

import msgspec


class RowChange(msgspec.Struct, frozen=True, kw_only=True):
    """What the seed does to one row.

    Args:
        key: the primary key, `column=value, ...` when it has several columns.
        columns: the columns that change; empty for inserts and deletes.
        overridden: those of them that somebody else than a seed wrote last. The file overrides that edit.
    """

    action: Literal["insert", "update", "delete"]
    key: str
    columns: tuple[str, ...] = ()
    overridden: tuple[str, ...] = ()


class TableReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the seed does to the rows of one table; `changes` names the first hundred of each kind.

    Args:
        table: the table.
        inserted: how many rows are new.
        updated: how many rows change.
        unchanged: how many rows are as the files have them.
        deleted: how many rows have left the files.
        suppressed: how many rows of the files a trigger kept from being inserted or updated.
        changes: the rows.
    """

    table: str
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    suppressed: int = 0
    changes: tuple[RowChange, ...] = ()


class SeedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a seed did, or would do (`dry_run`); tables in the order of their foreign keys, parents first."""

    sets: tuple[str, ...]
    dry_run: bool
    rows: int
    tables: tuple[TableReport, ...]
