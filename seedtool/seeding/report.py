"""The report of a seed."""

from typing import Literal

import msgspec


class RowChange(msgspec.Struct, frozen=True, kw_only=True):
    """What the seed does to one row.

    Args:
        key: the primary key, `column=value, ...` when it has several columns.
        action: `keep` is a row whose line has left the files, and which stays since somebody edited it.
        columns: the columns that change, or that somebody edited in a row that stays; empty for inserts and deletes.
        overridden: those of them that somebody else than a seed wrote last. The file overrides that edit.
    """

    action: Literal["insert", "update", "delete", "keep"]
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
        kept: how many rows have left the files and stay, since somebody edited them.
        unrecorded: how many of the updated rows no seed put there.
        changes: the rows.
        omitted: how many more rows are inserted, updated, deleted or kept than `changes` names.
    """

    table: str
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    suppressed: int = 0
    kept: int = 0
    unrecorded: int = 0
    changes: tuple[RowChange, ...] = ()
    omitted: int = 0

    def __post_init__(self) -> None:
        rows = self.inserted + self.updated + self.deleted + self.kept
        msgspec.structs.force_setattr(self, "omitted", max(rows - len(self.changes), 0))


class SeedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a seed did, or would do (`dry_run`); tables in the order of their foreign keys, parents first.

    Args:
        sets: the seed sets.
        dry_run: nothing was changed.
        rows: how many rows the files hold.
        tables: what became of each table.
        confirm: the database's name, where it has to be confirmed before `unrecorded` rows are changed; else empty.
        scripts: the files of SQL that ran after the rows were written.
    """

    sets: tuple[str, ...]
    dry_run: bool
    rows: int
    tables: tuple[TableReport, ...]
    confirm: str = ""
    scripts: tuple[str, ...] = ()
