"""Staging: fixtures brought into temporary tables, every value read as its column's type, then set beside the database.

For each table there are two temporary tables. `staged` holds the files' rows as they are. `image` holds what each
row will be once the seed is done: the file's values in the columns it names, and in the others what the database
has or would put there. Checks and the merge itself look at images only.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import FixtureError, SchemaError
from seedtool.faces.external_id import PLACEHOLDER_PREFIX
from seedtool.postgres.catalog import Catalog, Column, Table
from seedtool.postgres.copying import copy_in
from seedtool.seeding import column_text as postgres_text
from seedtool.seeding.fixtures import Batch, Fixture
from seedtool.settings import FaceBinding

Cursor = psycopg.Cursor[tuple[Any, ...]]

#: where a row stands: the number of its batch within the table, and its line
Place = tuple[int, int]

#: our own columns of the temporary tables, beside the user's
_PLACE = ("seedtool_batch", "seedtool_line")
BATCH, LINE = map(sql.Identifier, _PLACE)
ORDER, NEW, CHANGED, ROUND, PLACEHOLDER = (
    sql.Identifier(f"seedtool_{name}") for name in ("order", "new", "changed", "round", "placeholder")
)


class StagedBatch(msgspec.Struct, frozen=True):
    """A batch of a fixture, by the number it has in the temporary tables."""

    number: int
    fixture: Fixture
    batch: Batch


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """One table's fixtures, in the temporary tables.

    Args:
        number: tells its temporary tables from those of other tables.
        binding: the face binding of the table, None without one.
    """

    table: Table
    number: int
    binding: FaceBinding | None
    batches: tuple[StagedBatch, ...]

    @property
    def rows(self) -> int:
        """How many rows the files hold."""
        return sum(len(each.batch.lines) for each in self.batches)

    @property
    def staged(self) -> sql.Identifier:
        """The temporary table of the files' rows."""
        return sql.Identifier("pg_temp", f"seedtool_staged_{self.number}")

    @property
    def image(self) -> sql.Identifier:
        """The temporary table of what each row will be."""
        return sql.Identifier("pg_temp", f"seedtool_image_{self.number}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that any of the files names, and those that the face binding manages."""
        names = dict.fromkeys(name for each in self.batches for name in each.batch.columns)
        if self.binding is not None:
            names |= dict.fromkeys((self.binding.face_id, self.binding.external_image_id))
        return tuple(names)

    def updated(self, batch: Batch) -> tuple[str, ...]:
        """The columns of a batch that an existing row takes over: neither its key nor the face id."""
        kept = {*self.table.primary_key, self.binding.face_id if self.binding else None}
        return tuple(name for name in batch.columns if name not in kept)

    def resets_face(self, batch: Batch) -> bool:
        """Tell whether a batch may change the image, and with it the face, of an existing row."""
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
        """Return an error about a row, or the header above it, naming that one of the columns which the file has."""
        found = self._batch(at[0])
        column = next((name for name in columns if name in found.batch.columns), columns[0] if columns else None)
        line = (found.fixture.header if header else None) or at[1]
        return found.fixture.error(message, line=line, column=column, remedy=remedy)

    def _batch(self, number: int) -> StagedBatch:
        return next(each for each in self.batches if each.number == number)


def stage(
    cursor: Cursor, catalog: Catalog, fixtures: Iterable[Fixture], bindings: Iterable[FaceBinding]
) -> list[Staged]:
    """Bring fixtures into temporary tables.

    Returns:
        The tables, those that others refer to first.

    Raises:
        FixtureError: a table or column is not there or cannot be written, or a value is not of its column's type.
    """
    found: dict[int, list[tuple[Fixture, Batch]]] = {}
    for fixture in fixtures:
        table = _table(catalog, fixture)
        for batch in fixture.batches:
            _check_columns(fixture, table, batch)
            found.setdefault(table.oid, []).append((fixture, batch))
    bound = _bindings(catalog, bindings)
    staged: list[Staged] = []
    for number, table in enumerate(catalog.parents_first(catalog.tables[oid] for oid in found)):
        each = Staged(
            table=table,
            number=number,
            binding=bound.get(table.oid),
            batches=tuple(StagedBatch(place, *pair) for place, pair in enumerate(found[table.oid])),
        )
        _copy(cursor, each)
        staged.append(each)
    return staged


def same_key(table: Table, left: str, right: str) -> sql.Composed:
    """Return the condition that two aliases mean the same row."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(left, name), sql.Identifier(right, name)) for name in table.primary_key
    )


def names(columns: Iterable[str], alias: str | None = None) -> sql.Composed:
    """Return columns as a list for a statement."""
    return sql.SQL(", ").join(sql.Identifier(alias, name) if alias else sql.Identifier(name) for name in columns)


def key_text(table: Table, alias: str) -> sql.Composed:
    """Return a row's key as messages show it: the value, or `column=value` for each column of several."""
    if not table.primary_key:
        return sql.SQL("'(no key) at ' || {}.ctid").format(sql.Identifier(alias))
    if len(table.primary_key) == 1:
        return sql.SQL("{}::text").format(sql.Identifier(alias, table.primary_key[0]))
    parts = [
        sql.SQL("{} || {}::text").format(sql.Literal(f"{name}="), sql.Identifier(alias, name))
        for name in table.primary_key
    ]
    return sql.SQL("concat_ws(', ', {})").format(sql.SQL(", ").join(parts))


def _table(catalog: Catalog, fixture: Fixture) -> Table:
    try:
        table = catalog.find(fixture.table)
    except SchemaError as error:
        raise fixture.error(error.message, remedy=error.remedy) from error
    if not table.primary_key:
        raise fixture.error(
            f"the table {table} has no primary key, so a row cannot be found again",
            remedy=f"Add one in a migration: ALTER TABLE {table} ADD PRIMARY KEY (...).",
        )
    return table


def _check_columns(fixture: Fixture, table: Table, batch: Batch) -> None:
    line = fixture.header or next(iter(batch.lines), None)
    for name in batch.columns:
        column = table.columns.get(name)
        if column is None:
            raise fixture.error(
                f"the table {table} has no such column",
                line=line,
                column=name,
                remedy=postgres_text.closest(name, table.columns),
            )
        if column.generated or (column.identity == "always" and name not in table.primary_key):
            raise fixture.error(
                f"the database computes this column of {table} itself",
                line=line,
                column=name,
                remedy="Remove the column from the file.",
            )
    for name in table.primary_key:
        if name not in batch.columns:
            raise fixture.error(
                f"this column of the primary key of {table} is missing",
                line=line,
                column=name,
                remedy="Add it: by its key a row is found again when the seed runs next.",
            )


def _bindings(catalog: Catalog, bindings: Iterable[FaceBinding]) -> dict[int, FaceBinding]:
    """Return the bindings by their table; one whose table or columns are not there yet binds nothing."""
    found: dict[int, FaceBinding] = {}
    for binding in bindings:
        try:
            table = catalog.find(binding.table)
        except SchemaError:
            continue
        if {binding.face_id, binding.external_image_id} <= table.columns.keys():
            found[table.oid] = binding
    return found


def _copy(cursor: Cursor, staged: Staged) -> None:
    """Make the table of a table's staged rows and fill it."""
    cursor.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT NULL::int AS {}, NULL::int AS {}, NULL::text AS {}, {}"
            " FROM {} WITH NO DATA"
        ).format(staged.staged, BATCH, LINE, PLACEHOLDER, names(staged.columns), staged.table.identifier)
    )
    for each in staged.batches:
        columns = [staged.table.columns[name] for name in each.batch.columns]
        texts = postgres_text.Texts(cursor.connection)
        rows = [
            (each.number, line, *_texts(each, line, row, columns, texts))
            for line, row in zip(each.batch.lines, each.batch.rows, strict=True)
        ]
        _copy_batch(cursor, staged, each, rows)
    cursor.execute(sql.SQL("ANALYZE {}").format(staged.staged))


def _texts(
    each: StagedBatch, line: int, row: Sequence[object], columns: Sequence[Column], texts: postgres_text.Texts
) -> Iterable[str | None]:
    for value, column in zip(row, columns, strict=True):
        if value is None or type(value) is str:
            yield value
            continue
        try:
            yield texts.of(value, column)
        except postgres_text.NoText as error:
            raise each.fixture.error(
                str(error), line=line, column=column.name, remedy=postgres_text.remedy(column)
            ) from error


def _copy_batch(cursor: Cursor, staged: Staged, each: StagedBatch, rows: Sequence[tuple[object, ...]]) -> None:
    columns = (*_PLACE, *each.batch.columns)

    def copies(some: Sequence[Sequence[object]], some_columns: Sequence[str]) -> psycopg.Error | None:
        try:
            with cursor.connection.transaction():
                copy_in(cursor, staged.staged, some_columns, some)
        except psycopg.OperationalError:
            raise  # the connection is lost, the disk full: no value's fault
        except psycopg.DatabaseError as error:
            return error
        return None

    fault = copies(rows, columns)
    if fault is None:
        return
    # the server names the line in a message made for people, in its own language; halving asks it in no language
    low, high = 0, len(rows)
    while high - low > 1:
        middle = (low + high) // 2
        if copies(rows[low:middle], columns) is None:
            low = middle
        else:
            high = middle
    bad = rows[low]
    for place, name in enumerate(each.batch.columns, 2):
        found = copies([(*bad[:2], bad[place])], (*_PLACE, name))
        if found is not None:
            column = staged.table.columns[name]
            raise each.fixture.error(
                postgres_text.fault(found, column),
                line=each.batch.lines[low],
                column=name,
                remedy=postgres_text.remedy(column, found),
            ) from found
    raise each.fixture.error(
        "the row cannot be read", line=each.batch.lines[low], remedy="Compare its values with the columns' types."
    ) from fault


def fill_placeholders(cursor: Cursor, staged: Staged, leaving: sql.Composable | None) -> None:
    """Give each row with an external image id the placeholder of its face; the key tells rows of one image apart.

    Rows share an image when they will once the seed is done. Updates go before inserts but not all at once, so a
    placeholder that another row of the files still has when an update would take it counts as shared too: two rows
    that exchange their images would else wait for one another.

    Args:
        cursor: in the merge's transaction.
        staged: its keys must have been checked.
        leaving: the table of the rows that are to go, None without one.
    """
    if staged.binding is None or not staged.table.columns[staged.binding.face_id].is_text:
        return
    table, image = staged.table, sql.Identifier(staged.binding.external_image_id)
    key = staged.binding.key if set(staged.binding.key) <= set(staged.columns) else table.primary_key
    named = [each.number for each in staged.batches if staged.binding.external_image_id in each.batch.columns]
    stays = [
        sql.SQL("NOT EXISTS (SELECT FROM {} AS o WHERE {})").format(each, same_key(table, "o", "t"))
        for each in (staged.staged, leaving)
        if each is not None
    ]
    cursor.execute(
        sql.SQL(
            "WITH uses AS (SELECT image, count(*) > 1 AS shared FROM"
            " (SELECT CASE WHEN s.{batch} = ANY({named}) THEN s.{image} ELSE t.{image} END AS image"
            " FROM {staged} AS s LEFT JOIN {target} AS t ON {same}"
            " UNION ALL SELECT t.{image} FROM {target} AS t WHERE {stays}) AS rows GROUP BY image),"
            " held AS (SELECT t.{face} AS face FROM {staged} AS s JOIN {target} AS t ON {same}"
            " WHERE s.{batch} = ANY({named}) AND t.{image} IS DISTINCT FROM s.{image})"
            " UPDATE {staged} AS s SET {placeholder} = {prefix} || s.{image} || CASE WHEN uses.shared"
            " OR ({prefix} || s.{image} IN (SELECT face FROM held WHERE face IS NOT NULL)"
            " AND EXISTS (SELECT FROM {target} AS t WHERE {same}))"
            " THEN ':' || concat_ws(':', {key}) ELSE '' END"
            " FROM uses WHERE uses.image = s.{image}"
        ).format(
            batch=BATCH,
            named=sql.Literal(named),
            image=image,
            face=sql.Identifier(staged.binding.face_id),
            staged=staged.staged,
            target=table.identifier,
            same=same_key(table, "s", "t"),
            stays=sql.SQL(" AND ").join(stays),
            placeholder=PLACEHOLDER,
            prefix=sql.Literal(PLACEHOLDER_PREFIX),
            key=names(key, "s"),
        )
    )


def unstage(cursor: Cursor, tables: Iterable[Staged]) -> None:
    """Drop the temporary tables, for a transaction that goes on."""
    for staged in tables:
        cursor.execute(sql.SQL("DROP TABLE {}, {}").format(staged.staged, staged.image))
