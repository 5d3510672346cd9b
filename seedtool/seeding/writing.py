"""Writing: what was staged and checked goes into the tables, in one statement.

Rows that are to go are deleted, then rows updated where they differ, then new ones inserted. Foreign keys are
looked at when a statement ends, so rows that refer to one another in a circle, or whose key is renamed in the
files, need no order and no deferrable constraint.
"""

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import FixtureError, SeedError
from seedtool.seeding.pruning import Doomed
from seedtool.seeding.staging import (
    BATCH,
    CHANGED,
    LINE,
    NEW,
    ORDER,
    ROUND,
    Cursor,
    Place,
    Staged,
    StagedBatch,
    names,
    same_key,
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the merging statement needs."""

    tables: dict[int, Staged]
    doomed: dict[int, Doomed]
    rounds: dict[int, int]


def write(cursor: Cursor, plan: Plan) -> None:
    """Write the plan; when the database refuses, find the row."""
    try:
        _attempt(cursor, plan)
    except psycopg.Error as error:
        if isinstance(error, psycopg.OperationalError | psycopg.errors.InsufficientPrivilege):
            raise  # no row's fault
        raise _culprit(cursor, plan, error) from error


def _attempt(cursor: Cursor, plan: Plan, rows: int | None = None) -> None:
    """Write the plan, or only try what its first so many rows would do; a refusal leaves the database as it was."""
    with cursor.connection.transaction(force_rollback=rows is not None):
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        statement = _statement(plan, rows)
        if statement is not None:
            cursor.execute(statement)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _statement(plan: Plan, rows: int | None) -> sql.Composed | None:
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


def _culprit(cursor: Cursor, plan: Plan, error: psycopg.Error) -> SeedError:
    """Find the row that the database refuses: the last one of the smallest beginning that is refused."""
    for staged in plan.tables.values():
        broken = _broken_check(cursor, staged, error)
        if broken is not None:
            return broken
    low, high = 0, sum(staged.rows for staged in plan.tables.values())
    if _refused(cursor, plan, 0, error):
        return translated(error)  # a delete, and those are not in the files
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
            return _refusal(staged, found, error)
    return translated(error)


def _broken_check(cursor: Cursor, staged: Staged, error: psycopg.Error) -> FixtureError | None:
    """Find the first row that breaks a check by asking for it, which is quicker than trying; a trigger may hide it."""
    names_table = (error.diag.schema_name, error.diag.table_name) == (staged.table.schema, staged.table.name)
    check = staged.table.check(error.diag.constraint_name)
    if check is None or not names_table:
        return None
    found = cursor.execute(
        sql.SQL("SELECT {}, {} FROM {} WHERE ({} OR {} <> '{{}}') AND NOT ({}) ORDER BY {} LIMIT 1").format(
            BATCH, LINE, staged.image, NEW, CHANGED, sql.SQL(check.expression), ORDER
        )
    ).fetchone()
    return None if found is None else _refusal(staged, found, error)


def _refused(cursor: Cursor, plan: Plan, rows: int, error: psycopg.Error) -> bool:
    """Tell whether the first so many rows are refused in the same way."""
    try:
        _attempt(cursor, plan, rows)
    except psycopg.Error as found:
        return (found.sqlstate, found.diag.constraint_name) == (error.sqlstate, error.diag.constraint_name)
    return False


def _refusal(staged: Staged, at: Place, error: psycopg.Error) -> FixtureError:
    """Say why the database refuses a row, without any of its values."""
    name = error.diag.constraint_name
    check = staged.table.check(name)
    if check is not None:
        return staged.error(
            at,
            f"the row breaks the check {name} of {staged.table}: {check.expression}",
            columns=check.columns,
            remedy="Change the value so that the check holds.",
        )
    column = [error.diag.column_name] if error.diag.column_name else []
    if isinstance(error, psycopg.errors.NotNullViolation):
        return staged.error(
            at,
            f"a row of {staged.table} must have a value in this column",
            columns=column,
            remedy="Fill the cell.",
        )
    reason = f"its constraint {name}" if name else f"a trigger or a default ({error.sqlstate})"
    return staged.error(
        at,
        f"{staged.table} refuses the row: {reason}",
        columns=column,
        remedy="--debug shows the server's words.",
    )


def translated(error: psycopg.Error) -> SeedError:
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
