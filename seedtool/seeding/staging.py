"""Staging: the rows of the files in temporary tables, every value read as its column's type.

Each table of the files has up to three temporary tables. `staged` holds the files' rows as they are. `outcome` holds
what each new or changed row will be once the seed is done (see outcome.py). `gone` holds the ledger's entries that no
row of the files has any more (see ledger.py).
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import FixtureError, SchemaError
from seedtool.postgres.catalog import Catalog, Column, Table
from seedtool.postgres.copying import copy_csv_in, copy_in
from seedtool.seeding import column_text
from seedtool.seeding.fixtures import Batch, Fixture
from seedtool.seeding.progress import Rows
from seedtool.settings import FaceBinding

Cursor = psycopg.Cursor[tuple[Any, ...]]

#: so many rows are tried at once when one of them cannot be read
_ROWS_TRIED = 5000

#: where a row stands: the number of its batch within the table, and its line
Place = tuple[int, int]


class OwnColumns:
    """Our own columns of a table's temporary tables. The table itself has no column of any of these names.

    Args:
        table: the table.

    Attributes:
        place: the names of `batch` and `line`, as texts.
        batch: the number of the row's batch.
        line: the row's line in its file.
        placeholder: the placeholder of the row's face.
        order: the row's number among all rows of the table.
        new: whether the row will be inserted.
        changed: the names of the columns that an update will change.
        round: in which round the row is updated.
        version: where the row's version is that the seed found; None of a new row.
        suppressed: a trigger kept the row from being inserted or updated.
    """

    def __init__(self, table: Table) -> None:
        self._prefix = prefix = table.free_prefix()
        self.place = (f"{prefix}batch", f"{prefix}line")
        self.batch, self.line = map(sql.Identifier, self.place)
        self.placeholder = sql.Identifier(f"{prefix}placeholder")
        self.order = sql.Identifier(f"{prefix}order")
        self.new = sql.Identifier(f"{prefix}new")
        self.changed = sql.Identifier(f"{prefix}changed")
        self.round = sql.Identifier(f"{prefix}round")
        self.version = sql.Identifier(f"{prefix}version")
        self.suppressed = sql.Identifier(f"{prefix}suppressed")

    def key(self, number: int) -> sql.Identifier:
        """Return the column for one of a unique key's values, numbered from 0."""
        return sql.Identifier(f"{self._prefix}key_{number}")


class StagedBatch(msgspec.Struct, frozen=True):
    """A batch of a fixture, and the number it has in the temporary tables."""

    number: int
    fixture: Fixture
    batch: Batch


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """The fixtures of one table, in its temporary tables.

    Args:
        number: tells its temporary tables from those of other tables.
        own: our own columns of them.
        binding: the face binding of the table, None without one.
        batches: the rows of the files.
        rows: how many there are, once they are staged.
        changes: how many of them are new or change, once their outcome is made.
        left: how many entries of the ledger have no row in the files any more; None where nobody looked, and there is
            no table `gone`.
    """

    table: Table
    number: int
    own: OwnColumns
    binding: FaceBinding | None
    batches: tuple[StagedBatch, ...]
    rows: int = 0
    changes: int = 0
    left: int | None = None

    @property
    def staged(self) -> sql.Identifier:
        """The temporary table of the files' rows."""
        return sql.Identifier("pg_temp", f"seedtool_staged_{self.number}")

    @property
    def outcome(self) -> sql.Identifier:
        """The temporary table of what each new or changed row will be."""
        return sql.Identifier("pg_temp", f"seedtool_outcome_{self.number}")

    @property
    def gone(self) -> sql.Identifier:
        """The temporary table of the ledger's entries that have no row in the files any more."""
        return sql.Identifier("pg_temp", f"seedtool_left_{self.number}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that any of the files names, and those that the face binding manages."""
        names = dict.fromkeys(name for each in self.batches for name in each.batch.columns)
        if self.binding is not None:
            names |= dict.fromkeys((self.binding.face_id, self.binding.external_image_id))
        return tuple(names)

    def updated(self, batch: Batch) -> tuple[str, ...]:
        """The columns of a batch that an update writes: all but the key and the face id."""
        if self.table.row_key is not None:
            return ()  # an edited line is another row
        kept = {*self.table.primary_key, self.binding.face_id if self.binding else None}
        return tuple(name for name in batch.columns if name not in kept)

    def resets_face(self, batch: Batch) -> bool:
        """Tell whether an update from a batch may change a row's external image id, and with it the face id."""
        return self.binding is not None and self.binding.external_image_id in batch.columns

    def place(self, at: Place) -> str:
        """Return where a row stands in the files."""
        return self._batch(at[0]).fixture.place(at[1])

    def has_column(self, batch: int, column: str) -> bool:
        """Tell whether the rows of a batch name a column."""
        return column in self._batch(batch).batch.columns

    def error(
        self, at: Place, message: str, *, columns: Sequence[str] = (), header: bool = False, remedy: str
    ) -> FixtureError:
        """Return an error about a row, or about the header above it.

        Args:
            at: where the row stands.
            message: what is wrong.
            columns: the columns that are concerned; the error names the first that the file has.
            header: the header is meant, where the file has one.
            remedy: what to do.
        """
        found = self._batch(at[0])
        column = next((name for name in columns if name in found.batch.columns), columns[0] if columns else None)
        line = (found.fixture.header if header else None) or at[1]
        return found.fixture.error(message, line=line, column=column, remedy=remedy)

    def _batch(self, number: int) -> StagedBatch:
        return next(each for each in self.batches if each.number == number)


def gather(catalog: Catalog, fixtures: Iterable[Fixture], bindings: Mapping[int, FaceBinding]) -> list[Staged]:
    """Find the tables of fixtures; no row is read yet.

    Args:
        catalog: the database's tables.
        fixtures: the files.
        bindings: the face bindings by the oids of their tables.

    Returns:
        The tables, parents first.

    Raises:
        FixtureError: a table or column does not exist or cannot be written.
    """
    found: dict[int, list[tuple[Fixture, Batch]]] = {}
    for fixture in fixtures:
        table = _table(catalog, fixture)
        for batch in fixture.batches:
            _check_columns(fixture, table, batch)
            found.setdefault(table.oid, []).append((fixture, batch))
    return [
        Staged(
            table=table,
            number=number,
            own=OwnColumns(table),
            binding=bindings.get(table.oid),
            batches=tuple(StagedBatch(place, *pair) for place, pair in enumerate(found[table.oid])),
        )
        for number, table in enumerate(catalog.parents_first(catalog.tables[oid] for oid in found))
    ]


def same_key(table: Table, left: str, right: str) -> sql.Composed:
    """Return the condition that two aliases mean the same row."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(left, name), sql.Identifier(right, name)) for name in table.primary_key
    )


def names(columns: Iterable[str], alias: str | None = None) -> sql.Composed:
    """Return columns as a list for a statement."""
    return sql.SQL(", ").join(sql.Identifier(alias, name) if alias else sql.Identifier(name) for name in columns)


def key_text(table: Table, alias: str) -> sql.Composed:
    """Return a row's key as messages show it: the value of one column, or `column=value` for each of several.

    A row without a key is shown by what it refers to.
    """
    columns = table.primary_key
    if table.row_key is not None:
        columns = tuple(dict.fromkeys(name for key in table.foreign_keys for name in key.columns))
    if not columns:
        return sql.SQL("{}").format(sql.Literal("(no key)"))
    if len(columns) == 1 and table.row_key is None:
        return sql.SQL("{}::text").format(sql.Identifier(alias, columns[0]))
    parts = [sql.SQL("{} || {}::text").format(sql.Literal(f"{name}="), sql.Identifier(alias, name)) for name in columns]
    return sql.SQL("concat_ws(', ', {})").format(sql.SQL(", ").join(parts))


def _table(catalog: Catalog, fixture: Fixture) -> Table:
    try:
        table = catalog.find(fixture.table)
    except SchemaError as error:
        raise fixture.error(error.message, remedy=error.remedy) from error
    return table


def _check_columns(fixture: Fixture, table: Table, batch: Batch) -> None:
    line = fixture.header or next(iter(batch.lines), None)
    for name in batch.columns:
        column = table.columns.get(name)
        if column is None or (table.row_key is not None and name in table.primary_key):
            raise fixture.error(
                f"the table {table} has no such column",
                line=line,
                column=name,
                remedy=column_text.closest(name, table.columns),
            )
        if column.generated or (column.identity == "always" and name not in table.primary_key):
            raise fixture.error(
                f"the database computes this column of {table} itself",
                line=line,
                column=name,
                remedy="Remove the column from the file.",
            )
    for name in table.primary_key if table.row_key is None else table.row_key.columns:
        if name not in batch.columns:
            raise fixture.error(
                f"this column of the key of {table} is missing"
                if table.row_key is None
                else f"{table} has no key, so a row is found by all of its values, and this column is missing",
                line=line,
                column=name,
                remedy="Add the column: the next seed finds a row by its key."
                if table.row_key is None
                else f"Add the column, or a key in a migration: ALTER TABLE {table} ADD PRIMARY KEY (...).",
            )


def find_bindings(catalog: Catalog, bindings: Iterable[FaceBinding]) -> dict[int, FaceBinding]:
    """Return the bindings by their table, without those whose table or columns do not exist yet."""
    found: dict[int, FaceBinding] = {}
    for binding in bindings:
        try:
            table = catalog.find(binding.table)
        except SchemaError:
            continue
        if table.row_key is None and {binding.face_id, binding.external_image_id} <= table.columns.keys():
            found[table.oid] = binding
    return found


def stage(cursor: Cursor, staged: Staged, progress: Rows) -> Staged:
    """Make the temporary table of a table's staged rows, and fill it.

    Args:
        cursor: in the seed's transaction.
        staged: the table and its files.
        progress: counts the rows.

    Raises:
        FixtureError: a file is malformed, or a value is not of its column's type.
    """
    own = staged.own
    cursor.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT NULL::int AS {}, NULL::int AS {}, NULL::text AS {}, {}"
            " FROM {} WITH NO DATA"
        ).format(staged.staged, own.batch, own.line, own.placeholder, names(staged.columns), staged.table.identifier)
    )
    rows = sum(_copy_batch(cursor, staged, each, progress) for each in staged.batches)
    _number(cursor, staged)
    # rows are found by their key only
    cursor.execute(sql.SQL("ANALYZE {} ({}, {})").format(staged.staged, own.batch, names(staged.table.primary_key)))
    return msgspec.structs.replace(staged, rows=rows)


def _number(cursor: Cursor, staged: Staged) -> None:
    """Give the rows of a table without a key their digests and numbers, and let nobody else write the table."""
    key, own = staged.table.row_key, staged.own
    if key is None:
        return
    cursor.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(staged.table.identifier))
    row, number = sql.Identifier(key.row), sql.Identifier(key.number)
    cursor.execute(
        sql.SQL("ALTER TABLE {} ADD COLUMN {} text, ADD COLUMN {} bigint").format(staged.staged, row, number)
    )
    cursor.execute(
        sql.SQL(
            "UPDATE {staged} AS s SET {row} = n.digest, {number} = n.place"
            " FROM (SELECT r.ctid AS at, {digest} AS digest, row_number() OVER same AS place"
            "  FROM {staged} AS r WINDOW same AS (PARTITION BY {digest} ORDER BY r.{batch}, r.{line})) AS n"
            " WHERE n.at = s.ctid"
        ).format(staged=staged.staged, row=row, number=number, digest=key.digest("r"), batch=own.batch, line=own.line)
    )


def _copy_batch(cursor: Cursor, staged: Staged, each: StagedBatch, progress: Rows) -> int:
    """Copy a batch, and return how many rows it has."""
    columns = (*staged.own.place, *each.batch.columns)
    try:
        with cursor.connection.transaction():
            if each.batch.form is None:
                copy_in(cursor, staged.staged, columns, progress.through(_records(cursor, staged, each)))
                return cursor.rowcount
            delimiter = each.batch.form.delimiter
            rows = (f"{each.number}{delimiter}{line}{delimiter}{row}" for line, row in each.fixture.copyable())
            return copy_csv_in(cursor, staged.staged, columns, delimiter, progress.through(rows))
    except psycopg.OperationalError:
        raise  # the connection was lost or the disk is full; the values may be right
    except psycopg.DatabaseError as error:
        raise _refused_value(cursor, staged, each) from error


def _records(cursor: Cursor, staged: Staged, each: StagedBatch) -> Iterator[tuple[object, ...]]:
    """Yield the rows of a batch, each with its place and its values as texts."""
    columns = [staged.table.columns[name] for name in each.batch.columns]
    texts = column_text.Texts(cursor.connection)
    for line, row in each.fixture.records(each.batch):
        yield (each.number, line, *_texts(each, line, row, columns, texts))


def _texts(
    each: StagedBatch, line: int, row: Sequence[object], columns: Sequence[Column], texts: column_text.Texts
) -> Iterable[str | None]:
    for value, column in zip(row, columns, strict=True):
        # the text of a file can be stored; what code made has to be looked at
        if value is None or (type(value) is str and not each.fixture.numbered):
            yield value
            continue
        try:
            yield texts.of(value, column)
        except column_text.NoText as error:
            raise each.fixture.error(
                str(error), line=line, column=column.name, remedy=error.remedy or column_text.remedy(column)
            ) from error


def _refused_value(cursor: Cursor, staged: Staged, each: StagedBatch) -> FixtureError:
    """Find the value that the server cannot read.

    The server names the line only in a message whose language is its own; trying parts needs no message.
    """
    place = staged.own.place
    columns = (*place, *each.batch.columns)

    def refused(some: Sequence[Sequence[object]], some_columns: Sequence[str] = columns) -> psycopg.Error | None:
        try:
            with cursor.connection.transaction(force_rollback=True):
                copy_in(cursor, staged.staged, some_columns, some)
        except psycopg.OperationalError:
            raise
        except psycopg.DatabaseError as found:
            return found
        return None

    records = _records(cursor, staged, each)
    while rows := list(itertools.islice(records, _ROWS_TRIED)):
        if refused(rows) is not None:
            break
    else:
        return each.fixture.error("a row cannot be read", remedy="--debug shows the server's words.")
    low, high = 0, len(rows)
    while high - low > 1:
        middle = (low + high) // 2
        if refused(rows[low:middle]) is None:
            low = middle
        else:
            high = middle
    bad, line = rows[low], cast("int", rows[low][1])
    for position, name in enumerate(each.batch.columns, 2):
        found = refused([(*bad[:2], bad[position])], (*place, name))
        if found is not None:
            column = staged.table.columns[name]
            return each.fixture.error(
                column_text.fault(found, column), line=line, column=name, remedy=column_text.remedy(column, found)
            )
    return each.fixture.error("the row cannot be read", line=line, remedy="Compare its values with the columns' types.")


def unstage(cursor: Cursor, tables: Iterable[Staged]) -> None:
    """Drop the temporary tables, since the transaction may go on."""
    for staged in tables:
        made = [staged.staged, staged.outcome, *([] if staged.left is None else [staged.gone])]
        cursor.execute(sql.SQL("DROP TABLE {}").format(sql.SQL(", ").join(made)))
