"""Seeding: the files' rows merged into the database in one transaction, all or nothing. `seed` is the story."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from seedtool.postgres.catalog import Catalog, read_catalog
from seedtool.postgres.copying import fix_text_form
from seedtool.seeding import checks, ledger, pruning
from seedtool.seeding.fixtures import Fixtures
from seedtool.seeding.image import make_image, new_keys
from seedtool.seeding.pruning import Doomed
from seedtool.seeding.report import RowChange, SeedReport, TableReport
from seedtool.seeding.staging import CHANGED, NEW, Cursor, Staged, fill_placeholders, stage, unstage
from seedtool.seeding.writing import Plan, translated, write
from seedtool.settings import FaceBinding

#: a report names at most so many rows of a table and action; the counts are always whole
DETAILS = 100


def _silent(message: str) -> None:
    """Tell nobody."""


def seed(
    connection: psycopg.Connection[Any],
    fixtures: Fixtures,
    *,
    bindings: Iterable[FaceBinding] = (),
    dry_run: bool = False,
    keep: bool = False,
    prune: bool = True,
    progress: Callable[[str], None] = _silent,
) -> SeedReport:
    """Merge fixtures into the database: insert what is new, update what differs, delete what has left the files.

    Args:
        connection: without an open transaction the seed is committed; within one it is the caller's to commit.
        fixtures: what `read_fixtures` read.
        bindings: the face bindings of the project; those of other tables are passed over.
        dry_run: do everything, report it, and roll it back.
        keep: of a dry run, leave the rows there for the caller, whose open transaction is rolled back later.
        prune: delete rows that these seed sets once put there and whose lines have left their files.
        progress: told what is being done, for people.

    Raises:
        FixtureError: a fixture cannot be loaded; names file, line and column.
        SeedError: the database refuses for another reason. In either case nothing was written.
    """
    with (
        connection.transaction(force_rollback=dry_run and not keep),
        connection.cursor(row_factory=tuple_row) as cursor,
    ):
        try:
            return _seed(cursor, fixtures, tuple(bindings), dry_run=dry_run, prune=prune, progress=progress)
        except psycopg.Error as error:
            raise translated(error) from error


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
    tables = {each.table.oid: each for each in staged}
    doomed = pruning.find_doomed(cursor, catalog, tables, fixtures.sets) if prune else {}
    for oid, each in tables.items():
        fill_placeholders(cursor, each, doomed[oid].name if oid in doomed else None)
        make_image(cursor, each)

    progress("checking keys and references")
    plan = _checked_plan(cursor, catalog, tables, doomed)
    report = SeedReport(
        sets=fixtures.sets,
        dry_run=dry_run,
        rows=sum(each.rows for each in staged),
        tables=_report_tables(cursor, catalog, plan),
    )

    progress("writing")
    write(cursor, plan)
    ledger.record(cursor, staged, fixtures.sets, prune=prune)
    unstage(cursor, staged)
    pruning.forget_doomed(cursor, doomed.values())
    if not dry_run:  # no rollback takes this back
        _advance_sequences(cursor, staged)
    return report


def _checked_plan(cursor: Cursor, catalog: Catalog, tables: dict[int, Staged], doomed: dict[int, Doomed]) -> Plan:
    rounds: dict[int, int] = {}
    for oid, each in tables.items():
        checks.check_not_null(cursor, each)
        rounds[oid] = checks.check_unique(cursor, each, doomed.get(oid))
    for each in tables.values():
        checks.check_references(cursor, catalog, each, tables, doomed)
    pruning.check_doomed(cursor, catalog, tables, doomed)
    return Plan(tables=tables, doomed=doomed, rounds=rounds)


def _advance_sequences(cursor: Cursor, tables: Iterable[Staged]) -> None:
    """Move a sequence past the ids that the files gave, so that the next row without one does not meet them."""
    for staged in tables:
        for name in staged.columns:
            column = staged.table.columns[name]
            if column.sequence is None or column.type not in {"smallint", "integer", "bigint"}:
                continue
            cursor.execute(
                sql.SQL(
                    "SELECT setval({sequence}::regclass, highest)"
                    " FROM (SELECT max({column}) AS highest FROM {table}) AS t, pg_sequence AS s"
                    " WHERE s.seqrelid = {sequence}::regclass AND s.seqincrement > 0"
                    " AND highest > coalesce(pg_sequence_last_value(s.seqrelid), s.seqstart - 1)"
                ).format(
                    sequence=sql.Literal(column.sequence), column=sql.Identifier(name), table=staged.table.identifier
                )
            )


def _report_tables(cursor: Cursor, catalog: Catalog, plan: Plan) -> tuple[TableReport, ...]:
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
        changes += [RowChange(action="insert", key=key) for key in new_keys(cursor, staged, DETAILS)]
        changes += [
            RowChange(action="update", key=edit.key, columns=edit.columns, overridden=edit.overridden)
            for edit in (ledger.find_edits(cursor, staged, DETAILS) if updated else ())
        ]
    if doomed is not None:
        changes += [RowChange(action="delete", key=key) for key in pruning.doomed_keys(cursor, doomed, DETAILS)]
    return TableReport(
        table=str(table),
        inserted=inserted,
        updated=updated,
        unchanged=total - inserted - updated,
        deleted=doomed.rows if doomed else 0,
        changes=tuple(changes),
    )
