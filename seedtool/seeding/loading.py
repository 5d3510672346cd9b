"""Loading: the rows of a file copied straight into an empty table.

Nothing is in the way of such rows, so they need neither an outcome nor a search for what differs. Whatever the database
refuses is left to the staged way, which finds the row that is at fault.
"""

from collections.abc import Collection, Iterable

import msgspec
import psycopg
from psycopg import sql

from seedtool.postgres.catalog import Catalog
from seedtool.postgres.copying import copy_csv_in
from seedtool.seeding.progress import Rows
from seedtool.seeding.sequences import draws
from seedtool.seeding.staging import Cursor, Staged, key_text


def load_empty(
    cursor: Cursor,
    catalog: Catalog,
    sources: Iterable[Staged],
    unchanged: Collection[int],
    recorded: Collection[str],
    progress: Rows,
) -> dict[int, Staged]:
    """Load the files of empty tables, where no row of any table may have to be deleted first.

    Args:
        cursor: in the merge's transaction.
        catalog: the database's tables.
        sources: the tables of the files, parents first.
        unchanged: the oids of tables that have what the files have.
        recorded: the tables of which the ledger holds rows that this seed may delete.
        progress: counts the rows.

    Returns:
        The tables that were loaded, by oid.

    Raises:
        FixtureError: a file is malformed.
        psycopg.OperationalError: the session fails.
    """
    waiting = [each for each in sources if each.table.oid not in unchanged]
    may_lose = [table for table in catalog.tables.values() if table.qualified in recorded]
    asked = {each.table.oid for each in waiting} | {table.oid for table in may_lose} - {*unchanged}
    # a table of no pages is empty, and its rows will lie in the order of the file
    empty = {
        oid
        for (oid,) in cursor.execute(
            "SELECT oid::int8 FROM unnest(%s::oid[]) AS t (oid) WHERE pg_relation_size(oid) = 0", [[*asked]]
        )
        if catalog.tables[oid].plain
    }
    if any(table.oid not in empty and table.oid not in unchanged for table in may_lose):
        return {}
    loaded: dict[int, Staged] = {}
    in_files = {each.table.oid for each in waiting}
    for each in waiting:
        parents = {key.references for key in each.table.foreign_keys} - {each.table.oid}
        if each.table.oid in empty and parents & in_files <= loaded.keys() and _is_simple(each):
            rows = _load(cursor, each, progress)
            if rows is not None:
                loaded[each.table.oid] = msgspec.structs.replace(each, rows=rows)
    return loaded


def loaded_keys(cursor: Cursor, loaded: Staged, limit: int) -> list[str]:
    """Return the keys of the first rows that were loaded."""
    found = cursor.execute(
        sql.SQL("SELECT {} FROM {} AS t ORDER BY t.ctid LIMIT {}").format(
            key_text(loaded.table, "t"), loaded.table.identifier, sql.Literal(limit)
        )
    )
    return [key for (key,) in found]


def _is_simple(source: Staged) -> bool:
    """Tell whether COPY does to a table what the seed's statement does, and says at once what is wrong."""
    table = source.table
    return (
        source.binding is None
        and table.row_key is None
        and not draws(table, source.batches[0].batch.columns)  # a dry run would, and then the staged way once more
        and len(source.batches) == 1
        and source.batches[0].batch.form is not None
        and not table.triggers
        and not table.rules
        and all(key.immediate for key in table.keys)
        and not any(key.deferrable for key in table.foreign_keys)
    )


def _load(cursor: Cursor, source: Staged, progress: Rows) -> int | None:
    """Copy a file into its table; return how many rows it has, None where the database refuses one.

    From here on nobody else writes the table, since every row of it is taken for one of the file. A table that somebody
    writes at the moment is left to the staged way.
    """
    fixture, batch = source.batches[0].fixture, source.batches[0].batch
    delimiter = batch.form.delimiter if batch.form else ","
    rows = (row if row[:1] != "\\" else _quoted_first(row, delimiter) for _, row in fixture.copyable())
    try:
        with cursor.connection.transaction():
            lock = sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE NOWAIT").format(source.table.identifier)
            cursor.execute(lock)
            if cursor.execute("SELECT pg_relation_size(%s)", [source.table.oid]).fetchone() != (0,):
                return None
            return copy_csv_in(cursor, source.table.identifier, batch.columns, delimiter, progress.through(rows))
    except psycopg.errors.LockNotAvailable:
        return None
    except psycopg.OperationalError:
        raise  # the connection was lost or the disk is full; the rows may be right
    except psycopg.DatabaseError:
        return None


def _quoted_first(row: str, delimiter: str) -> str:
    r"""Return a row with its first cell in quotes: a line that begins with `\.` would end the copy before its end."""
    first, separator, others = row.partition(delimiter)
    return f'"{first}"{separator}{others}'
