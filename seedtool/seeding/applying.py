"""Writing: one statement that brings the outcomes into the tables, and the search for a row that the database refuses.

The statement deletes rows, then updates those that differ, then inserts new ones. PostgreSQL checks foreign keys when a
statement ends. So rows that refer to one another in a circle, or whose key is renamed in the files, need no order and
no deferrable constraint.
"""

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import DatabaseError, FixtureError, SeedError
from seedtool.postgres.catalog import Catalog, Table, Trigger
from seedtool.postgres.psycopg_errors import translate
from seedtool.seeding import sequences
from seedtool.seeding.ledger import Deletion
from seedtool.seeding.staging import Cursor, Place, Staged, StagedBatch, names, same_key

#: Errors that no row causes: the role may not write, the session or the server fails.
_NO_ROWS_FAULT = (
    psycopg.OperationalError,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.ReadOnlySqlTransaction,
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the statement writes, by the tables' oids.

    Args:
        catalog: the database's tables.
        tables: the tables of the files.
        deletions: the rows that are deleted.
        rounds: in how many rounds the rows of a table are updated.
        triggers_off: the tables' triggers do not fire.
    """

    catalog: Catalog
    tables: dict[int, Staged]
    deletions: dict[int, Deletion]
    rounds: dict[int, int]
    triggers_off: bool = False

    @property
    def may_move_sequences(self) -> bool:
        """Writing the rows may take values of sequences."""
        return sequences.may_move(self.catalog, self.tables.values(), triggers_off=self.triggers_off)

    @property
    def written(self) -> list[Table]:
        """The tables that the statement writes."""
        staged = [each.table for each in self.tables.values()]
        return staged + [each.table for each in self.deletions.values() if each.table.oid not in self.tables]


def write(cursor: Cursor, plan: Plan) -> None:
    """Write the plan.

    Raises:
        FixtureError: the database refuses a row.
        SeedError: the database refuses a deletion, or no single row.
        psycopg.Error: the error is no row's fault.
    """
    try:
        _attempt(cursor, plan)
    except psycopg.Error as error:
        if isinstance(error, _NO_ROWS_FAULT):
            raise
        _refuse_rules(plan, error)
        # what a trial draws from a sequence would stay, so the sequences are thrown away with the trials
        with cursor.connection.transaction(force_rollback=True):
            try:
                harmless = not plan.may_move_sequences or sequences.shield(cursor)
            except psycopg.errors.LockNotAvailable:
                harmless = False
            refused = _refused_row(cursor, plan, error, trials=harmless)
        raise refused from error


def _refuse_rules(plan: Plan, error: psycopg.Error) -> None:
    """Name the rule that makes the statement impossible: PostgreSQL rewrites no statement of several parts."""
    if isinstance(error, psycopg.errors.FeatureNotSupported):
        for table in plan.written:
            if table.rules:
                raise SeedError(
                    f"PostgreSQL cannot apply the rule {table.rules[0]} of {table} to a seed, which writes all tables"
                    " in one statement",
                    remedy="Replace the rule by a trigger in a migration, or leave this table out of the files.",
                    table=str(table),
                ) from error


def _attempt(cursor: Cursor, plan: Plan, rows: int | None = None) -> None:
    """Write the plan, or try its first rows only and roll them back. After a refusal the database is as before.

    Args:
        cursor: in the merge's transaction.
        plan: the plan.
        rows: how many rows to try; None writes all of them.
    """
    with cursor.connection.transaction(force_rollback=rows is not None):
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        _switch_triggers(cursor, plan, on=False)
        statement = _statement(plan, rows)
        if statement is not None:
            cursor.execute(statement)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        _switch_triggers(cursor, plan, on=True)


def _switch_triggers(cursor: Cursor, plan: Plan, *, on: bool) -> None:
    """Switch the triggers of the plan's tables off, or on again, where the profile asks for it."""
    tables = plan.written if plan.triggers_off else []
    triggers = {(each.schema, each.table, each.name): each for table in tables for each in table.triggers}
    for each in triggers.values():
        how = ("ENABLE ALWAYS" if each.always else "ENABLE") if on else "DISABLE"
        cursor.execute(
            sql.SQL("ALTER TABLE {} {} TRIGGER {}").format(
                sql.Identifier(each.schema, each.table), sql.SQL(how), sql.Identifier(each.name)
            )
        )


def _statement(plan: Plan, rows: int | None) -> sql.Composed | None:
    """Return the one statement that deletes, updates and inserts. Each part waits for the part before it."""
    parts = [_delete(deletion) for deletion in plan.deletions.values()]
    inserts: list[sql.Composed] = []
    before = 0
    for oid, staged in plan.tables.items():
        if not staged.changes:
            continue
        within = (
            sql.SQL("true")
            if rows is None
            else sql.SQL("i.{} <= {}").format(staged.own.order, sql.Literal(rows - before))
        )
        before += staged.changes
        for number in range(plan.rounds[oid]):
            parts += [part for each in staged.batches for part in _update(staged, each, number, within)]
        inserts += [_insert(staged, each, within) for each in staged.batches]
    parts += inserts
    if not parts:
        return None
    done = [
        sql.SQL("{} AS ({})").format(
            sql.Identifier(f"seedtool_part{place}"),
            part
            + sql.SQL(" AND (SELECT count(*) FROM {}) IS NOT NULL RETURNING 1").format(
                sql.Identifier(f"seedtool_part{place - 1}")
            )
            if place
            else part + sql.SQL(" RETURNING 1"),
        )
        for place, part in enumerate(parts)
    ]
    return sql.SQL("WITH {} SELECT count(*) FROM {}").format(
        sql.SQL(", ").join(done), sql.Identifier(f"seedtool_part{len(parts) - 1}")
    )


def _delete(deletion: Deletion) -> sql.Composed:
    key = deletion.table.row_key
    same: sql.Composable = same_key(deletion.table, "t", "d")
    if key is not None:
        same = sql.SQL("t.ctid = d.{} AND t.tableoid = d.{}").format(
            sql.Identifier(key.place), sql.Identifier(key.part)
        )
    return sql.SQL("DELETE FROM {} AS t USING {} AS d WHERE {}").format(deletion.table.stored, deletion.rows, same)


def _update(staged: Staged, each: StagedBatch, number: int, within: sql.Composable) -> list[sql.Composed]:
    """Return the update of a batch in one round; nothing when its rows have no columns but the key."""
    own = staged.own
    columns = list(staged.updated(each.batch))
    if staged.binding is not None and staged.resets_face(each.batch):
        columns.append(staged.binding.face_id)
    if not columns:
        return []
    update = "UPDATE {} AS t SET {} FROM {} AS i WHERE {} AND i.{} = {} AND i.{} = {} AND i.{} <> '{{}}' AND {}"
    return [
        sql.SQL(update).format(
            staged.table.stored,
            sql.SQL(", ").join(sql.SQL("{0} = i.{0}").format(sql.Identifier(name)) for name in columns),
            staged.outcome,
            same_key(staged.table, "t", "i"),
            own.batch,
            sql.Literal(each.number),
            own.round,
            sql.Literal(number),
            own.changed,
            within,
        )
    ]


def _insert(staged: Staged, each: StagedBatch, within: sql.Composable) -> sql.Composed:
    columns = list(each.batch.columns)
    if staged.binding is not None and staged.binding.face_id not in columns:
        columns.append(staged.binding.face_id)
    # a key that is GENERATED ALWAYS AS IDENTITY still has to be the one that the files name the row by
    always = any(staged.table.columns[name].identity == "always" for name in columns)
    return sql.SQL("INSERT INTO {} ({}) {} SELECT {} FROM {} AS i WHERE i.{} AND i.{} = {} AND {}").format(
        staged.table.identifier,
        names(columns),
        sql.SQL("OVERRIDING SYSTEM VALUE" if always else ""),
        names(columns, "i"),
        staged.outcome,
        staged.own.new,
        staged.own.batch,
        sql.Literal(each.number),
        within,
    )


def _refused_row(cursor: Cursor, plan: Plan, error: psycopg.Error, *, trials: bool) -> SeedError:
    """Find the row that the database refuses: the last row of the shortest beginning that is refused.

    Args:
        cursor: in the merge's transaction.
        plan: the plan.
        error: what the database said.
        trials: beginnings may be tried, since nothing of a trial stays.
    """
    trigger = _failing_trigger(plan.catalog, error)
    for staged in plan.tables.values():
        broken = _broken_check(cursor, staged, error) if trigger is None else None
        if broken is not None:
            return broken
    low, high = 0, sum(staged.changes for staged in plan.tables.values())
    if not trials or _refused(cursor, plan, 0, error):
        return _refusal(error, trigger)  # where it was tried, a deletion is refused; no line of the files is to blame
    while high - low > 1:
        middle = (low + high) // 2
        if _refused(cursor, plan, middle, error):
            high = middle
        else:
            low = middle
    for staged in plan.tables.values():
        if high > staged.changes:
            high -= staged.changes
            continue
        own = staged.own
        found = cursor.execute(
            sql.SQL("SELECT {}, {} FROM {} WHERE {} = {}").format(
                own.batch, own.line, staged.outcome, own.order, sql.Literal(high)
            )
        ).fetchone()
        if found is not None:
            return _row_refusal(staged, found, error, trigger)
    return _refusal(error, trigger)


def _broken_check(cursor: Cursor, staged: Staged, error: psycopg.Error) -> FixtureError | None:
    """Find the first row that breaks a check. A query is quicker than trying, and finds none where a trigger is."""
    own = staged.own
    names_table = (error.diag.schema_name, error.diag.table_name) == (staged.table.schema, staged.table.name)
    check = staged.table.check(error.diag.constraint_name)
    if check is None or not names_table:
        return None
    found = cursor.execute(
        sql.SQL("SELECT {}, {} FROM {} WHERE ({} OR {} <> '{{}}') AND NOT ({}) ORDER BY {} LIMIT 1").format(
            own.batch, own.line, staged.outcome, own.new, own.changed, sql.SQL(check.expression), own.order
        )
    ).fetchone()
    return None if found is None else _row_refusal(staged, found, error)


def _refused(cursor: Cursor, plan: Plan, rows: int, error: psycopg.Error) -> bool:
    """Tell whether the first rows, as many as given, are refused in the same way."""
    try:
        _attempt(cursor, plan, rows)
    except psycopg.Error as found:
        return (found.sqlstate, found.diag.constraint_name) == (error.sqlstate, error.diag.constraint_name)
    return False


def _failing_trigger(catalog: Catalog, error: psycopg.Error) -> Trigger | None:
    """Return the trigger in whose function the error was raised.

    The server describes the way to the error in its own language, but names functions as they are: `f() line 3`, or
    `"f"` where the function's language is not PL/pgSQL.
    """
    way = error.diag.context or ""
    triggers = {
        (trigger.schema, trigger.table, trigger.name): trigger
        for table in catalog.tables.values()
        for trigger in table.triggers
        if f"{trigger.function}(" in way or f'"{trigger.function}"' in way
    }
    return next(iter(triggers.values()), None)


def _row_refusal(staged: Staged, at: Place, error: psycopg.Error, trigger: Trigger | None = None) -> FixtureError:
    """Say why the database refuses a row, without any of its values."""
    name = error.diag.constraint_name
    if trigger is not None:
        broken = f"the constraint {name} of {error.diag.table_name}" if name else error.sqlstate
        return staged.error(
            at,
            f"{staged.table} refuses the row: the trigger {trigger.name} of {trigger.table} fails ({broken})",
            columns=[error.diag.column_name] if error.diag.column_name else [],
            remedy="Leave rows that the trigger makes out of the files, or change the row so that the trigger accepts"
            ' it. triggers = "off" in the profile seeds without triggers. --debug shows the server\'s words.',
        )
    check = staged.table.check(name)
    if check is not None:
        return staged.error(
            at,
            f"the row breaks the check {name} of {staged.table}: {check.expression}",
            columns=check.columns,
            remedy="Change the value so that the check holds.",
        )
    column = [error.diag.column_name] if error.diag.column_name else []
    if isinstance(error, psycopg.errors.CheckViolation) and name is None:
        return staged.error(
            at,
            f"{staged.table} has no partition for the row",
            columns=staged.table.primary_key,
            remedy=f"Make one in a migration: CREATE TABLE ... PARTITION OF {staged.table} ..., or change the row.",
        )
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


def refusal(error: psycopg.Error) -> SeedError | DatabaseError:
    """Return the error for what the database refuses, without its own words where these may hold values of rows."""
    return translate(error, "seeding failed") if isinstance(error, _NO_ROWS_FAULT) else _refusal(error)


def _refusal(error: psycopg.Error, trigger: Trigger | None = None) -> SeedError:
    places = {
        "table": error.diag.table_name,
        "constraint": error.diag.constraint_name,
        "trigger": f"{trigger.name} of {trigger.table}" if trigger else None,
    }
    place = "".join(f", {kind} {name}" for kind, name in places.items() if name)
    return SeedError(
        f"seeding failed: the database refuses a row{place} ({error.sqlstate or type(error).__name__})",
        remedy="Did another program write at the same time? Seed again."
        if isinstance(error, psycopg.IntegrityError)
        else "--debug shows the server's words.",
        code=error.sqlstate,
    )
