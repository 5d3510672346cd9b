"""Seeding: the files' rows merged into the database in one transaction, all or nothing.

Rows that are to go are deleted, then rows updated where they differ, then new ones inserted, in a single
statement: foreign keys are looked at when a statement ends, so rows that refer to one another in a circle, or
whose key is renamed in the files, need no order and no deferrable constraint.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from seedtool.database.catalog import Catalog, read_catalog
from seedtool.database.copying import fix_text_form
from seedtool.errors import FixtureError, SeedError
from seedtool.seeding import checks, ledger
from seedtool.seeding.fixtures import Fixtures
from seedtool.seeding.ledger import Doomed
from seedtool.seeding.staging import (
    BATCH,
    CHANGED,
    LINE,
    NEW,
    ORDER,
    ROUND,
    Cursor,
    Staged,
    StagedBatch,
    make_image,
    names,
    same_key,
    stage,
    unstage,
)
from seedtool.settings import FaceBinding

#: a report names at most so many rows of a table and action; the counts are always whole
DETAILS = 100


class RowChange(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one row.

    Args:
        key: the primary key, `column=value, ...` when it has several columns.
        columns: the columns that change; empty for inserts and deletes.
        overridden: those of them that were not last written by a seed: the file wins over somebody's edit.
    """

    action: Literal["insert", "update", "delete"]
    key: str
    columns: tuple[str, ...] = ()
    overridden: tuple[str, ...] = ()


class TableReport(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of the rows of one table; `changes` names the first hundred of each kind."""

    table: str
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    changes: tuple[RowChange, ...] = ()


class SeedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a seed did, or would do (`dry_run`); tables in the order of their foreign keys, parents first."""

    sets: tuple[str, ...]
    dry_run: bool
    rows: int
    tables: tuple[TableReport, ...]


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the merging statement needs."""

    tables: dict[int, Staged]
    doomed: dict[int, Doomed]
    rounds: dict[int, int]


def seed(
    connection: psycopg.Connection[Any],
    fixtures: Fixtures,
    *,
    bindings: Iterable[FaceBinding] = (),
    dry_run: bool = False,
    prune: bool = True,
    progress: Callable[[str], None] = lambda message: None,
) -> SeedReport:
    """Merge fixtures into the database: insert what is new, update what differs, delete what has left the files.

    Args:
        connection: without an open transaction the seed is committed; within one it is the caller's to commit.
        fixtures: what `read_fixtures` read.
        bindings: the face bindings of the project; those of other tables are passed over.
        dry_run: do everything, report it, and roll it back.
        prune: delete rows that these seed sets once put there and whose lines have left their files.
        progress: told what is being done, for people.

    Raises:
        FixtureError: a fixture cannot be loaded; names file, line and column.
        SeedError: the database refuses for another reason. In either case nothing was written.
    """
    with connection.transaction(force_rollback=dry_run), connection.cursor(row_factory=tuple_row) as cursor:
        try:
            return _seed(cursor, fixtures, tuple(bindings), dry_run=dry_run, prune=prune, progress=progress)
        except psycopg.Error as error:
            raise _translated(error) from error


def _seed(
    cursor: Cursor,
    fixtures: Fixtures,
    bindings: Sequence[FaceBinding],
    *,
    dry_run: bool,
    prune: bool,
    progress: Callable[[str], None],
) -> SeedReport:
    fix_text_form(cursor)
    ledger.open_ledger(cursor)
    catalog = read_catalog(cursor.connection)

    progress("reading the fixtures' values")
    staged = stage(cursor, catalog, fixtures.files, bindings)
    for each in staged:
        checks.check_keys(cursor, each)
        make_image(cursor, each)
    tables = {each.table.oid: each for each in staged}
    doomed = ledger.find_doomed(cursor, catalog, tables, fixtures.sets) if prune else {}

    progress("checking keys and references")
    plan = _checked_plan(cursor, catalog, tables, doomed)
    report = SeedReport(
        sets=fixtures.sets,
        dry_run=dry_run,
        rows=sum(each.rows for each in staged),
        tables=_report_tables(cursor, catalog, plan),
    )

    progress("writing")
    _write(cursor, plan)
    ledger.record(cursor, staged, fixtures.sets, doomed.values(), prune=prune)
    unstage(cursor, staged)
    if not dry_run:
        _advance_sequences(cursor, staged)
    return report


def _checked_plan(cursor: Cursor, catalog: Catalog, tables: dict[int, Staged], doomed: dict[int, Doomed]) -> _Plan:
    rounds: dict[int, int] = {}
    for oid, each in tables.items():
        checks.check_not_null(cursor, each)
        rounds[oid] = checks.check_unique(cursor, each, doomed.get(oid))
    for each in tables.values():
        checks.check_references(cursor, catalog, each, tables, doomed)
    ledger.check_doomed(cursor, catalog, tables, doomed)
    return _Plan(tables=tables, doomed=doomed, rounds=rounds)


# writing --------------------------------------------------------------------------------------------------------------


def _write(cursor: Cursor, plan: _Plan) -> None:
    """Write the plan; when the database refuses, find the row."""
    try:
        _attempt(cursor, plan)
    except psycopg.Error as error:
        if not isinstance(error, psycopg.IntegrityError | psycopg.DataError | psycopg.errors.RaiseException):
            raise
        raise _culprit(cursor, plan, error) from error


def _attempt(cursor: Cursor, plan: _Plan, rows: int | None = None) -> None:
    """Write the plan, or only try what its first so many rows would do; a refusal leaves the database as it was."""
    with cursor.connection.transaction(force_rollback=rows is not None):
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        statement = _statement(plan, rows)
        if statement is not None:
            cursor.execute(statement)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _statement(plan: _Plan, rows: int | None) -> sql.Composed | None:
    """Return the one statement that deletes, updates and inserts; each part waits for the one before."""
    parts = [_delete(doomed) for doomed in plan.doomed.values()]
    inserts: list[sql.Composed] = []
    before = 0
    for oid, staged in plan.tables.items():
        within = sql.SQL("true") if rows is None else sql.SQL("i.{} <= {}").format(ORDER, sql.Literal(rows - before))
        before += staged.rows
        for number in range(plan.rounds[oid]):
            parts += [part for each in staged.batches for part in _update(staged, each, number, within)]
        inserts += [_insert(staged, each, within) for each in staged.batches]
    parts += inserts
    if not parts:
        return None
    done = [
        sql.SQL("{} AS ({})").format(
            sql.Identifier(f"part{place}"),
            part
            + sql.SQL(" AND (SELECT count(*) FROM {}) IS NOT NULL RETURNING 1").format(
                sql.Identifier(f"part{place - 1}")
            )
            if place
            else part + sql.SQL(" RETURNING 1"),
        )
        for place, part in enumerate(parts)
    ]
    return sql.SQL("WITH {} SELECT count(*) FROM {}").format(
        sql.SQL(", ").join(done), sql.Identifier(f"part{len(parts) - 1}")
    )


def _delete(doomed: Doomed) -> sql.Composed:
    return sql.SQL("DELETE FROM {} AS t USING {} AS d WHERE {}").format(
        doomed.table.identifier, doomed.name, same_key(doomed.table, "t", "d")
    )


def _update(staged: Staged, each: StagedBatch, number: int, within: sql.Composable) -> list[sql.Composed]:
    """Return the update of a batch in one round; none when its rows have nothing but a key."""
    columns = list(staged.updated(each.batch))
    if staged.binding is not None and staged.resets_face(each.batch):
        columns.append(staged.binding.face_id)
    if not columns:
        return []
    update = "UPDATE {} AS t SET {} FROM {} AS i WHERE {} AND i.{} = {} AND i.{} = {} AND i.{} <> '{{}}' AND {}"
    return [
        sql.SQL(update).format(
            staged.table.identifier,
            sql.SQL(", ").join(sql.SQL("{0} = i.{0}").format(sql.Identifier(name)) for name in columns),
            staged.image,
            same_key(staged.table, "t", "i"),
            BATCH,
            sql.Literal(each.number),
            ROUND,
            sql.Literal(number),
            CHANGED,
            within,
        )
    ]


def _insert(staged: Staged, each: StagedBatch, within: sql.Composable) -> sql.Composed:
    columns = list(each.batch.columns)
    if staged.binding is not None and staged.binding.face_id not in columns:
        columns.append(staged.binding.face_id)
    # a key that is GENERATED ALWAYS AS IDENTITY is still the row's name in the files
    always = any(staged.table.columns[name].identity == "always" for name in columns)
    return sql.SQL("INSERT INTO {} ({}) {} SELECT {} FROM {} AS i WHERE i.{} AND i.{} = {} AND {}").format(
        staged.table.identifier,
        names(columns),
        sql.SQL("OVERRIDING SYSTEM VALUE" if always else ""),
        names(columns, "i"),
        staged.image,
        NEW,
        BATCH,
        sql.Literal(each.number),
        within,
    )


def _culprit(cursor: Cursor, plan: _Plan, error: psycopg.Error) -> SeedError:
    """Find the row that the database refuses: the last one of the smallest beginning that is refused."""
    low, high = 0, sum(staged.rows for staged in plan.tables.values())
    if _refused(cursor, plan, 0, error):
        return _translated(error)  # a delete, and those are not in the files
    while high - low > 1:
        middle = (low + high) // 2
        if _refused(cursor, plan, middle, error):
            high = middle
        else:
            low = middle
    for staged in plan.tables.values():
        if high > staged.rows:
            high -= staged.rows
            continue
        found = cursor.execute(
            sql.SQL("SELECT {}, {} FROM {} WHERE {} = {}").format(BATCH, LINE, staged.image, ORDER, sql.Literal(high))
        ).fetchone()
        if found is not None:
            return _refusal(staged, *found, error)
    return _translated(error)


def _refused(cursor: Cursor, plan: _Plan, rows: int, error: psycopg.Error) -> bool:
    """Tell whether the first so many rows are refused in the same way."""
    try:
        _attempt(cursor, plan, rows)
    except psycopg.Error as found:
        return (found.sqlstate, found.diag.constraint_name) == (error.sqlstate, error.diag.constraint_name)
    return False


def _refusal(staged: Staged, batch: int, line: int, error: psycopg.Error) -> FixtureError:
    """Say why the database refuses a row, without any of its values."""
    name = error.diag.constraint_name
    check = next((each for each in staged.table.checks if each.name == name), None)
    if check is not None:
        return staged.error(
            batch,
            line,
            f"the row breaks the check {name} of {staged.table}: {check.expression}",
            columns=check.columns,
            remedy="Change the value so that the check holds.",
        )
    column = [error.diag.column_name] if error.diag.column_name else []
    if isinstance(error, psycopg.errors.NotNullViolation):
        return staged.error(
            batch,
            line,
            f"a row of {staged.table} must have a value in this column",
            columns=column,
            remedy="Fill the cell.",
        )
    reason = f"its constraint {name}" if name else f"a trigger or a default ({error.sqlstate})"
    return staged.error(
        batch,
        line,
        f"{staged.table} refuses the row: {reason}",
        columns=column,
        remedy="--debug shows the server's words.",
    )


def _advance_sequences(cursor: Cursor, tables: Iterable[Staged]) -> None:
    """Move a sequence past the ids that the files gave, so that the next row without one does not meet them."""
    for staged in tables:
        for name in staged.columns:
            column = staged.table.columns[name]
            if column.sequence is None or column.type not in {"smallint", "integer", "bigint"}:
                continue
            cursor.execute(
                sql.SQL(
                    "SELECT setval({sequence}::regclass, highest) FROM (SELECT max({column}) AS highest FROM {table}) AS t,"
                    " pg_sequence AS s WHERE s.seqrelid = {sequence}::regclass AND s.seqincrement > 0"
                    " AND highest > coalesce(pg_sequence_last_value(s.seqrelid), s.seqstart - 1)"
                ).format(
                    sequence=sql.Literal(column.sequence), column=sql.Identifier(name), table=staged.table.identifier
                )
            )


# reporting ------------------------------------------------------------------------------------------------------------


def _report_tables(cursor: Cursor, catalog: Catalog, plan: _Plan) -> tuple[TableReport, ...]:
    tables = {staged.table.oid: staged.table for staged in plan.tables.values()}
    tables |= {doomed.table.oid: doomed.table for doomed in plan.doomed.values()}
    return tuple(
        _report_table(cursor, plan.tables.get(table.oid), plan.doomed.get(table.oid))
        for table in catalog.parents_first(tables.values())
    )


def _report_table(cursor: Cursor, staged: Staged | None, doomed: Doomed | None) -> TableReport:
    inserted = updated = total = 0
    changes: list[RowChange] = []
    table = staged.table if staged else doomed.table if doomed else None
    if staged is not None:
        total = staged.rows
        counted = cursor.execute(
            sql.SQL("SELECT count(*) FILTER (WHERE {}), count(*) FILTER (WHERE {} <> '{{}}') FROM {}").format(
                NEW, CHANGED, staged.image
            )
        ).fetchone()
        inserted, updated = counted or (0, 0)
        changes += [RowChange(action="insert", key=key) for key in ledger.new_keys(cursor, staged, DETAILS)]
        changes += [
            RowChange(action="update", key=edit.key, columns=edit.columns, overridden=edit.overridden)
            for edit in (ledger.find_edits(cursor, staged, DETAILS) if updated else ())
        ]
    if doomed is not None:
        changes += [RowChange(action="delete", key=key) for key in ledger.doomed_keys(cursor, doomed, DETAILS)]
    return TableReport(
        table=str(table),
        inserted=inserted,
        updated=updated,
        unchanged=total - inserted - updated,
        deleted=doomed.rows if doomed else 0,
        changes=tuple(changes),
    )


def _translated(error: psycopg.Error) -> SeedError:
    """Say what the database's refusal means; its own words may hold values of rows."""
    table, constraint = error.diag.table_name, error.diag.constraint_name
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        what, remedy = "the role lacks a permission", "Seed as the owner of the tables, or grant what is missing."
    elif isinstance(error, psycopg.OperationalError):
        what, remedy = "the connection to the database was lost or a lock not given", "Nothing was written; seed again."
    elif isinstance(error, psycopg.IntegrityError):
        what, remedy = "the database refuses", "Did another program write at the same time? Seed again."
    else:
        what, remedy = "the database refuses", "--debug shows the server's words."
    place = "".join(f", {kind} {name}" for kind, name in (("table", table), ("constraint", constraint)) if name)
    return SeedError(f"seeding failed: {what}{place} ({error.sqlstate or type(error).__name__})", remedy=remedy)
