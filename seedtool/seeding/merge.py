"""Seeding: the files' rows merged into the database in one transaction, all or nothing. `seed` is the story."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from seedtool.errors import NotConfirmed
from seedtool.listener import SILENT, Listener
from seedtool.postgres.catalog import Catalog, ForeignKey, read_catalog
from seedtool.postgres.copying import fix_text_form, raise_memory, set_locally
from seedtool.seeding import finishing, ledger, loading, outcome, sequences, unchanged
from seedtool.seeding.applying import Plan, refusal, write
from seedtool.seeding.fixtures import Fixtures
from seedtool.seeding.ledger import Deletion
from seedtool.seeding.progress import Rows
from seedtool.seeding.report import RowChange, SeedReport, TableReport
from seedtool.seeding.staging import Cursor, Staged, find_bindings, gather, stage, unstage
from seedtool.settings import FaceBinding

#: Files from this size on (bytes) are joined and sorted in more of the server's memory.
_LARGE = 2**20
#: a report names at most so many rows of a table and action; the counts are always whole
DETAILS = 100


def seed(
    connection: psycopg.Connection[Any],
    fixtures: Fixtures,
    *,
    bindings: Iterable[FaceBinding] = (),
    dry_run: bool = False,
    prune: bool = True,
    overwrite: bool = True,
    triggers: Literal["on", "off"] = "on",
    listener: Listener = SILENT,
) -> SeedReport:
    """Merge fixtures into the database: insert what is new, update what differs, delete what has left the files.

    Args:
        connection: without an open transaction the seed is committed, or rolled back by a dry run. Within the caller's
            transaction the caller commits it, or rolls it back.
        fixtures: what `read_fixtures` read.
        bindings: the face bindings of the project; those of other tables do not matter.
        dry_run: report what the seed would do; sequences stay, since no rollback brings them back.
        prune: delete rows that these seed sets inserted and whose lines have left their files. Rows that somebody
            edited since are kept.
        overwrite: change also rows that no seed put there. Where it is False, a dry run tells how many there are.
        triggers: `off` writes without the triggers of the tables; the role has to own the tables.
        listener: hears of the steps `stage`, `check`, `write` and `finish`, and how many rows are copied.

    Raises:
        FixtureError: a fixture cannot be loaded; names file, line and column.
        SeedError: the database refuses for another reason.
        NotConfirmed: rows that no seed put there would be changed.
        DatabaseError: the role may not write, or the session fails. After any of these, nothing was written.
    """
    alone = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    with (
        connection.transaction(force_rollback=dry_run and alone),
        connection.cursor(row_factory=tuple_row) as cursor,
    ):
        try:
            return _seed(
                cursor,
                fixtures,
                tuple(bindings),
                dry_run=dry_run,
                prune=prune,
                overwrite=overwrite,
                triggers_off=triggers == "off",
                listener=listener,
            )
        except psycopg.Error as error:
            raise refusal(error) from error


def _seed(
    cursor: Cursor,
    fixtures: Fixtures,
    bindings: Sequence[FaceBinding],
    *,
    dry_run: bool,
    prune: bool,
    overwrite: bool,
    triggers_off: bool,
    listener: Listener,
) -> SeedReport:
    settings = fix_text_form(cursor)
    ledger.open_ledger(cursor, listener)
    catalog = read_catalog(cursor.connection).with_row_keys()

    listener.step("stage")
    bound = find_bindings(catalog, bindings)
    sources = gather(catalog, fixtures.files, bound)
    settings |= _with_memory(cursor, sources)
    files = unchanged.hash_files(sources)
    recorded_by = ledger.find_recorded(cursor)
    recorded = {relation: by & {*fixtures.sets} for relation, by in recorded_by.items() if by & {*fixtures.sets}}
    same = unchanged.find_unchanged(cursor, sources, files, recorded)
    may_lose = recorded.keys() - {each.table.qualified for each in same.values()} if prune else set()
    progress = Rows(listener, (b.fixture for each in sources if each.table.oid not in same for b in each.batches))
    loaded = loading.load_empty(cursor, catalog, sources, same.keys(), may_lose, progress)
    tables = _staged(cursor, (each for each in sources if each.table.oid not in same.keys() | loaded.keys()), progress)
    may_lose -= {each.table.qualified for each in loaded.values()}
    ledger.fit_keys(cursor, catalog, tables, recorded_by, may_lose)
    for oid, each in tables.items():
        if each.table.qualified in may_lose:
            tables[oid] = ledger.find_left(cursor, each, fixtures.sets)
    deletions = ledger.find_deletions(cursor, catalog, tables, fixtures.sets, bound, may_lose)
    # whatever refers to a row that will be deleted is looked at line by line
    referring = {key.table for each in deletions.values() for key in catalog.referencing(each.table)} & same.keys()
    tables |= _staged(cursor, (same.pop(oid) for oid in referring), progress)
    for oid, each in tables.items():
        outcome.fill_placeholders(cursor, each, deletions.get(oid))
        tables[oid] = outcome.make_outcome(cursor, each)

    listener.step("check")
    plan = _checked_plan(cursor, catalog, tables, deletions)
    plan = msgspec.structs.replace(plan, triggers_off=triggers_off)
    expected = _report_tables(cursor, plan, same, loaded)
    strange = {each.table: each.unrecorded for each in expected.values() if each.unrecorded and not overwrite}
    database = cursor.connection.info.dbname
    if strange and not dry_run:
        raise _not_confirmed(database, strange)

    listener.step("write")
    present = {**same, **loaded, **tables}
    if not dry_run or (plan.may_move_sequences and sequences.shield(cursor)):
        sequences.advance(cursor, present.values(), tables)
    for each in loaded.values():  # before a trigger adds rows of its own
        ledger.record_loaded(cursor, each, recorded=each.table.qualified in recorded)
    write(cursor, plan)
    report = SeedReport(
        sets=fixtures.sets,
        dry_run=dry_run,
        rows=sum(each.rows for each in present.values()),
        tables=tuple(_as_stored(cursor, each, plan.tables.get(oid)) for oid, each in expected.items()),
        confirm=database if strange else "",
        scripts=tuple(each.file for each in fixtures.scripts),
    )
    for each in tables.values():
        ledger.record(cursor, each, recorded_by.get(each.table.qualified, ()))
    gone = recorded.keys() - {each.table.qualified for each in present.values()}
    if prune and gone:
        ledger.forget_tables(cursor, fixtures.sets, gone)
    settled = prune and _is_settled(catalog, expected, triggers_off=triggers_off)
    unchanged.note_left(cursor, loaded.values(), tables.values(), files if settled else {})
    unstage(cursor, tables.values())
    ledger.drop_deletions(cursor, deletions.values())

    listener.step("finish")
    set_locally(cursor, settings)  # a project's own SQL may depend on them
    finishing.run_scripts(cursor, fixtures.scripts)
    if fixtures.refresh_views:
        changed = {oid for oid, each in expected.items() if _is_written(each)}
        finishing.refresh_views(cursor, catalog.tables if fixtures.scripts else changed, listener)
    return report


def _not_confirmed(database: str, rows: Mapping[str, int]) -> NotConfirmed:
    counted = ", ".join(f"{number} of {table}" for table, number in rows.items())
    return NotConfirmed(
        f"the files would change rows of {database} that no seed put there: {counted}",
        remedy=f"See them with --dry-run. If the files shall win: --confirm {shlex.quote(database)}.",
    )


def _with_memory(cursor: Cursor, sources: Iterable[Staged]) -> dict[str, str]:
    """Where a file is large, let the server join and sort in memory; return the setting as it was."""
    large = any(each.fixture.stamp[1] >= _LARGE for source in sources for each in source.batches)
    return {"work_mem": raise_memory(cursor)} if large else {}


def _staged(cursor: Cursor, sources: Iterable[Staged], progress: Rows) -> dict[int, Staged]:
    """Stage tables, and check that their rows have keys; return them by oid."""
    tables = {each.table.oid: stage(cursor, each, progress) for each in sources}
    for each in tables.values():
        outcome.check_keys(cursor, each)
    return tables


def _is_written(report: TableReport) -> bool:
    return bool(report.inserted or report.updated or report.deleted)


def _is_settled(catalog: Catalog, reports: Mapping[int, TableReport], *, triggers_off: bool) -> bool:
    """Tell whether the tables hold what was written, so that the same files have nothing to do once more.

    A trigger may have changed any table. Where a row gives up a value that others refer to, ON UPDATE changes those.
    """
    return not any(
        (_is_written(report) and catalog.tables[oid].triggers and not triggers_off)
        or (
            report.updated and any(not _refers_to_key(catalog, key) for key in catalog.referencing(catalog.tables[oid]))
        )
        for oid, report in reports.items()
    )


def _refers_to_key(catalog: Catalog, key: ForeignKey) -> bool:
    return set(key.referenced_columns) <= {*catalog.tables[key.references].primary_key}


def _checked_plan(cursor: Cursor, catalog: Catalog, tables: dict[int, Staged], deletions: dict[int, Deletion]) -> Plan:
    rounds: dict[int, int] = {}
    for oid, each in tables.items():
        if not each.changes:
            rounds[oid] = 0
            continue
        outcome.check_not_null(cursor, each)
        rounds[oid] = outcome.check_unique(cursor, each, deletions.get(oid))
    for each in tables.values():
        if each.changes:
            outcome.check_references(cursor, catalog, each, tables, deletions)
    ledger.check_deletions(cursor, catalog, tables, deletions)
    return Plan(catalog=catalog, tables=tables, deletions=deletions, rounds=rounds)


def _report_tables(
    cursor: Cursor, plan: Plan, same: Mapping[int, Staged], loaded: Mapping[int, Staged]
) -> dict[int, TableReport]:
    """Return what the plan will do and what was loaded, by the tables' oids, parents first."""
    reports = {oid: TableReport(table=str(each.table), unchanged=each.rows) for oid, each in same.items()}
    reports |= {oid: _report_loaded(cursor, each) for oid, each in loaded.items()}
    reports |= {
        oid: _report_table(cursor, plan.tables.get(oid), plan.deletions.get(oid))
        for oid in plan.tables.keys() | plan.deletions.keys()
    }
    return {
        table.oid: reports[table.oid]
        for table in plan.catalog.parents_first(plan.catalog.tables[oid] for oid in reports)
    }


def _report_loaded(cursor: Cursor, loaded: Staged) -> TableReport:
    keys = loading.loaded_keys(cursor, loaded, DETAILS)
    changes = tuple(RowChange(action="insert", key=key) for key in keys)
    return TableReport(table=str(loaded.table), inserted=loaded.rows, changes=changes)


def _as_stored(cursor: Cursor, report: TableReport, staged: Staged | None) -> TableReport:
    """Take out of a report the rows that a trigger kept from being written."""
    not_inserted, not_updated = outcome.find_suppressed(cursor, staged) if staged is not None else (0, 0)
    if staged is None or not (not_inserted or not_updated):
        return report
    keys = outcome.suppressed_keys(cursor, staged)
    return msgspec.structs.replace(
        report,
        inserted=report.inserted - not_inserted,
        updated=report.updated - not_updated,
        suppressed=not_inserted + not_updated,
        changes=tuple(
            change for change in report.changes if change.action in {"delete", "keep"} or change.key not in keys
        ),
    )


def _report_table(cursor: Cursor, staged: Staged | None, deletion: Deletion | None) -> TableReport:
    inserted = updated = total = unrecorded = 0
    changes: list[RowChange] = []
    table = staged.table if staged else deletion.table if deletion else None
    if staged is not None:
        total = staged.rows
    if staged is not None and staged.changes:
        counted = cursor.execute(
            sql.SQL("SELECT count(*) FILTER (WHERE {}), count(*) FILTER (WHERE {} <> '{{}}') FROM {}").format(
                staged.own.new, staged.own.changed, staged.outcome
            )
        ).fetchone()
        inserted, updated = counted or (0, 0)
        unrecorded = ledger.count_unrecorded(cursor, staged) if updated else 0
        if inserted:
            changes += [RowChange(action="insert", key=key) for key in outcome.new_keys(cursor, staged, DETAILS)]
        changes += [
            RowChange(action="update", key=edit.key, columns=edit.columns, overridden=edit.overridden)
            for edit in (ledger.find_edits(cursor, staged, DETAILS) if updated else ())
        ]
    if deletion is not None:
        changes += [RowChange(action="keep", key=key, columns=edited) for key, edited in deletion.kept[:DETAILS]]
        changes += [RowChange(action="delete", key=key) for key in ledger.deleted_keys(cursor, deletion, DETAILS)]
    return TableReport(
        table=str(table),
        inserted=inserted,
        updated=updated,
        unchanged=total - inserted - updated,
        deleted=deletion.count if deletion else 0,
        kept=len(deletion.kept) if deletion else 0,
        unrecorded=unrecorded,
        changes=tuple(changes),
    )
