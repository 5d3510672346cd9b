"""Taking the rows of a recipe away again, and no others.

The rows are made again beside the database's and compared. A row that somebody changed stays, and so does one that a
row of others refers to; both are named. Nothing is deleted by a cascade: a row goes only when nothing that stays refers
to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from psycopg import sql

from seedtool.errors import UsageError
from seedtool.generating import putting_off, rows
from seedtool.generating.loading import late_columns, plan_of, refuse_other_values, refuse_other_vocabulary
from seedtool.postgres.copying import EVERY_ROW, PLAIN_TEXT, set_locally
from seedtool.slices import ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    import psycopg

    from seedtool.generating.loading import OneSession, Sessions
    from seedtool.generating.planning import Plan
    from seedtool.generating.rows import PlannedTable
    from seedtool.postgres.catalog import Column, ForeignKey, Table
    from seedtool.slices.ledger import Slice

#: So many rows that stay are named for each table.
_NAMED = 20

#: What a default calls that gives another value each time it is asked.
_CHANGING = re.compile(
    r"\b(now|nextval|random|clock_timestamp|timeofday|\w*uuid\w*|transaction_timestamp|statement_timestamp)\(|"
    r"\b(CURRENT_|LOCALTIME|SESSION_USER|USER\b)",
    re.IGNORECASE,
)


class KeptRow(msgspec.Struct, frozen=True):
    """A row of the recipe that stays.

    Args:
        key: its key, as messages show it.
        why: `changed` or `referred to`.
    """

    key: str
    why: str


class UnloadedTable(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a table.

    Args:
        table: its name in the recipe.
        removed: how many rows were deleted.
        changed: how many stay since somebody changed them.
        referred: how many stay since a row that stays refers to them.
        gone: how many somebody had deleted before.
        kept: some of those that stay.
    """

    table: str
    removed: int
    changed: int
    referred: int
    gone: int
    kept: list[KeptRow] = []


class UnloadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an unload did.

    Args:
        recipe: the recipe's name.
        tables: what became of each table, children first.
        built: how many statements built indexes and foreign keys that an interrupted load had put off.
    """

    recipe: str
    tables: list[UnloadedTable]
    built: int


def unload(
    sessions: Sessions | OneSession, recipe: str, managed: Collection[tuple[str, str]], folder: Path | None
) -> UnloadReport:
    """Take the rows of a recipe away, of a finished load or of one that was interrupted.

    The rows go in one transaction. A kill at any line leaves them all there, or none of them; the same command goes on.

    Args:
        sessions: opens transactions of the database; the lock of its loads is held.
        recipe: the recipe's name.
        managed: table and column whose values others write after the load: a sync writes face ids.
        folder: the project's.

    Raises:
        UsageError: nothing of this recipe was loaded.
        RecipeError: other values would be made now than were loaded; nothing was changed.
        LoadInterrupted: an index cannot be built again.
    """
    with sessions() as connection:
        cursor = connection.cursor()
        load = ledger.find(cursor, recipe)
        if load is None:
            raise UsageError(
                f"no row of the recipe {recipe} was loaded into this database",
                remedy="Check the name, and which database is meant: seedtool config.",
                option="RECIPE",
            )
        tables = []
        ledger.stop(cursor, recipe)
        there = ledger.slices(cursor, recipe)
        if there:
            refuse_other_vocabulary(load)
            plan = plan_of(connection, load, folder)
            refuse_other_values(plan, load)
            late = late_columns(plan) if load.state == "loading" else {}
            tables = remove(connection, plan, there, managed, late)
        ledger.empty(cursor, recipe)
    built = putting_off.build(sessions, recipe, parallel=1)
    with sessions() as connection:
        ledger.forget(connection.cursor(), recipe)
    return UnloadReport(recipe=recipe, tables=tables, built=built)


def remove(
    connection: psycopg.Connection[Any],
    plan: Plan,
    there: Mapping[Slice, str],
    managed: Collection[tuple[str, str]],
    late: Mapping[str, Collection[str]] | None = None,
) -> list[UnloadedTable]:
    """Delete the rows of a recipe, in the connection's transaction.

    Args:
        connection: to the database.
        plan: of the recipe as it was loaded.
        there: the slices that are in the database.
        managed: table and column whose values others write after the load: a sync writes face ids.
        late: columns that may be NULL still, by their tables, where the load was interrupted.

    Returns:
        What became of each table, children first.
    """
    with connection.cursor() as cursor:
        set_locally(cursor, PLAIN_TEXT | EVERY_ROW)
        removals = [
            _Removal(
                cursor,
                number,
                planned,
                [each for each in there if each.table == planned.name],
                managed,
                (late or {}).get(planned.name, ()),
            )
            for number, planned in enumerate(reversed(plan.tables))
        ]
        removals = [each for each in removals if each.rows]
        by_oid = {each.planned.table.oid: each for each in removals}
        for each in removals:
            each.find()
        while sum(each.keep_referred(cursor, _references(plan, each.planned.table), by_oid) for each in removals):
            pass  # what refers to a row that stays now stays, too
        found = [each.report(cursor) for each in removals]
        if removals:
            # one statement: rows that refer to each other in a circle go together
            deletes = [each.delete(number) for number, each in enumerate(removals)]
            cursor.execute(sql.SQL("WITH {} SELECT").format(sql.SQL(", ").join(deletes)))
        return found


def _references(plan: Plan, table: Table) -> list[tuple[Table, ForeignKey]]:
    """Return the foreign keys that point at a table, each with the table that it is of."""
    return [(plan.catalog.tables[key.table], key) for key in plan.catalog.referencing(table)]


class _Removal:
    """The rows of one table that are taken away.

    `wanted` is a temporary table with the rows as they were made, and `leaving` one with the places of those that go.
    """

    def __init__(
        self,
        cursor: ledger.Cursor,
        number: int,
        planned: PlannedTable,
        slices: list[Slice],
        managed: Collection[tuple[str, str]],
        late: Collection[str],
    ) -> None:
        self._late = late
        self.planned = planned
        self.rows = sum(each.last - each.first for each in slices)
        self._slices = slices
        self._cursor = cursor
        names = ("wanted", "leaving", "changed", "referred")
        self._wanted, self.leaving, self._changed, self._referred = (
            sql.Identifier("pg_temp", f"seedtool_{name}_{number}") for name in names
        )
        table = planned.table
        self._compared = [
            name for name in planned.written if not {(table.name, name), (table.qualified, name)} & set(managed)
        ]
        key = table.primary_key
        self._key = key if key and set(key) <= set(planned.written) else ()

    def find(self) -> None:
        """Make the rows again, and find which of those in the database are the same."""
        cursor, planned = self._cursor, self.planned
        columns = sql.SQL(", ").join(map(sql.Identifier, planned.written))
        cursor.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT {} FROM {} WITH NO DATA").format(
                self._wanted, columns, planned.table.identifier
            )
        )
        with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(self._wanted, columns)) as copy:
            for each in self._slices:
                for block in rows.blocks(planned, each.first, each.last):
                    copy.write(block.data)
        cursor.execute(sql.SQL("ANALYZE {}").format(self._wanted))
        same = sql.SQL(" AND ").join([*self._same(), sql.SQL("true")])
        if self._key:
            joined = sql.SQL("FROM {} AS t JOIN {} AS w ON {}").format(
                planned.table.stored,
                self._wanted,
                sql.SQL(" AND ").join(sql.SQL("t.{0} = w.{0}").format(sql.Identifier(name)) for name in self._key),
            )
            self._keep(self.leaving, sql.SQL("SELECT t.tableoid AS part, t.ctid AS place {} WHERE {}"), joined, same)
            self._keep(self._changed, sql.SQL("SELECT t.* {} WHERE NOT ({})"), joined, same)
        else:  # rows without a key: as many of each as were made
            row = sql.SQL("ROW({})::text").format(columns)
            numbered = sql.SQL(
                "FROM (SELECT r.*, r.tableoid AS part, r.ctid AS place, {row} AS digest,"
                " row_number() OVER (PARTITION BY {row}) AS number FROM {table} AS r) AS t"
                " JOIN (SELECT w.*, {row} AS digest, row_number() OVER (PARTITION BY {row}) AS number"
                " FROM {wanted} AS w) AS w USING (digest, number)"
            ).format(row=row, table=planned.table.stored, wanted=self._wanted)
            defaults = sql.SQL(" AND ").join([*self._defaults(), sql.SQL("true")])
            self._keep(self.leaving, sql.SQL("SELECT t.part, t.place {} WHERE {}"), numbered, defaults)
            self._keep(self._changed, sql.SQL("SELECT t.* {} WHERE NOT ({})"), numbered, defaults)
        nothing = sql.SQL("false")
        self._keep(self._referred, sql.SQL("SELECT t.* FROM {} AS t WHERE {}"), planned.table.identifier, nothing)

    def _keep(self, table: sql.Identifier, query: sql.SQL, *parts: sql.Composable) -> None:
        self._cursor.execute(sql.SQL("CREATE TEMPORARY TABLE {} AS {}").format(table, query.format(*parts)))

    def _same(self) -> Iterable[sql.Composable]:
        """Yield the conditions under which nobody has changed a row."""
        for name in self._compared:
            cast = sql.SQL("" if self.planned.table.columns[name].value.comparison == "value" else "::text")
            waits = sql.SQL("OR t.{} IS NULL" if name in self._late else "").format(sql.Identifier(name))
            yield sql.SQL("(t.{name}{cast} IS NOT DISTINCT FROM w.{name}{cast} {waits})").format(
                name=sql.Identifier(name), cast=cast, waits=waits
            )
        yield from self._defaults()

    def _defaults(self) -> Iterable[sql.Composable]:
        """Yield the same for the columns that the database filled in, as far as it gives the same each time."""
        if self.planned.table.fills_in:  # a trigger may have written there, and nobody else
            return
        for name, column in self.planned.table.columns.items():
            if name in self.planned.written or column.generated or column.identity or _is_changing(column):
                continue
            cast = sql.SQL("" if column.value.comparison == "value" else "::text")
            default = sql.SQL(f"({column.default})" if column.default else "NULL")  # the server's own text
            yield sql.SQL("t.{name}{cast} IS NOT DISTINCT FROM {default}{cast}").format(
                name=sql.Identifier(name), default=default, cast=cast
            )

    def keep_referred(
        self,
        cursor: ledger.Cursor,
        references: Iterable[tuple[Table, ForeignKey]],
        leaving: Mapping[int, _Removal],
    ) -> bool:
        """Keep the rows that a row which stays refers to; tells whether there were any."""
        kept = False
        for table, key in references:
            other = leaving.get(table.oid)
            stays: sql.Composable = sql.SQL("true")
            if other is not None:
                stays = sql.SQL(
                    "NOT EXISTS (SELECT FROM {} AS l WHERE (l.part, l.place) = (o.tableoid, o.ctid))"
                ).format(other.leaving)
            matches = sql.SQL(" AND ").join(
                sql.SQL("o.{} = t.{}").format(sql.Identifier(own), sql.Identifier(theirs))
                for own, theirs in zip(key.columns, key.referenced_columns, strict=True)
            )
            found = cursor.execute(
                sql.SQL(
                    "WITH kept AS (DELETE FROM {leaving} AS g USING {table} AS t"
                    " WHERE (g.part, g.place) = (t.tableoid, t.ctid)"
                    " AND EXISTS (SELECT FROM {other} AS o WHERE {matches} AND {stays}) RETURNING t.*)"
                    " INSERT INTO {referred} SELECT * FROM kept"
                ).format(
                    leaving=self.leaving,
                    table=self.planned.table.stored,
                    other=table.stored,
                    matches=matches,
                    stays=stays,
                    referred=self._referred,
                )
            )
            kept |= found.rowcount > 0
        return kept

    def report(self, cursor: ledger.Cursor) -> UnloadedTable:
        """Return what will have become of the table."""
        counts = []
        for table in (self.leaving, self._changed, self._referred):
            row = cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
            counts.append(row[0] if row else 0)
        removed, changed, referred = counts
        kept = []
        if self._key:
            key = sql.SQL("concat_ws(', ', {})").format(sql.SQL(", ").join(map(sql.Identifier, self._key)))
            for table, why in ((self._changed, "changed"), (self._referred, "referred to")):
                named = cursor.execute(
                    sql.SQL("SELECT {} FROM {} ORDER BY 1 LIMIT {}").format(key, table, sql.Literal(_NAMED))
                )
                kept += [KeptRow(str(name), why) for (name,) in named]
        return UnloadedTable(
            table=self.planned.name,
            removed=removed,
            changed=changed,
            referred=referred,
            gone=self.rows - removed - changed - referred,
            kept=kept,
        )

    def delete(self, number: int) -> sql.Composed:
        """Return the part of a statement that deletes the rows."""
        return sql.SQL(
            "{name} AS (DELETE FROM {table} AS t USING {leaving} AS g WHERE (g.part, g.place) = (t.tableoid, t.ctid))"
        ).format(name=sql.Identifier(f"deleted_{number}"), table=self.planned.table.stored, leaving=self.leaving)


def _is_changing(column: Column) -> bool:
    """Tell whether a column's default may give another value each time."""
    return column.default is not None and (column.default_has_effects or bool(_CHANGING.search(column.default)))
