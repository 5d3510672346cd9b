"""Rows of the database written back as seed files, so that what was enrolled or edited survives the next reset."""

import contextlib
import filecmp
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from seedtool.errors import SchemaError, SeedError, UsageError
from seedtool.files import Malformed, csv_text
from seedtool.files.csv_text import Form
from seedtool.files.shown import shown_path
from seedtool.files.writing import NewFile
from seedtool.postgres.catalog import Catalog, Table, read_catalog
from seedtool.postgres.copying import copy_out, fix_text_form
from seedtool.postgres.errors import translated
from seedtool.seeding.fixtures import fixture_files, table_of
from seedtool.seeding.profiles import is_below
from seedtool.settings import FaceBinding
from seedtool.settings.setting import no_control


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was written, or found to be the same already."""

    table: str
    file: str
    rows: int
    changed: bool


class DumpReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a dump wrote: one file for each table, parents first."""

    seed_set: str
    rows: int
    files: tuple[FileReport, ...]


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    """One table to write: its file, and the columns of it."""

    table: Table
    path: Path
    columns: tuple[str, ...]
    form: Form
    binding: FaceBinding | None


def dump(
    connection: psycopg.Connection[Any],
    tables: Iterable[str],
    seeds: Path,
    seed_set: str,
    *,
    root: Path,
    bindings: Iterable[FaceBinding] = (),
) -> DumpReport:
    """Write tables as csv files of a seed set. Seeding these files brings the rows back.

    A file that exists keeps its columns, their order, its delimiter and its line ends. A new one gets all columns but
    the generated ones. Face ids are left out, since the next sync finds them by the external image id; a row without
    an external image id keeps its face id.

    Args:
        connection: a connection without an open transaction, so that all tables are read at one moment; within a
            transaction of the caller each table is read as that transaction sees it.
        tables: names of tables; none means those that have a csv file in the set already.
        seeds: the folder that holds the sets.
        seed_set: the set; its folder is made when it is missing.
        root: the project's root; messages show paths relative to it.
        bindings: the face bindings of the project.

    Raises:
        UsageError: there is nothing to write, the set lies outside the seeds folder, or a table is seedtool's or
            Alembic's own.
        SchemaError: a table does not exist.
        SeedError: a table's fixture is a .yaml or .py, which is not overwritten; or no tables were named, and a table
            is empty whose file has rows. Nothing was written.
        BlockedError: row-level security may hide rows of a table, or the role may not read it.
    """
    fault = no_control(seed_set)
    if fault:
        raise UsageError(f"the set {fault.message}", remedy=fault.remedy, option="--set")
    if not is_below(seed_set):
        raise UsageError(
            f"the set {seed_set!r} lies outside {shown_path(seeds, root)}",
            remedy="A set is a folder below the seeds folder.",
            option="--set",
        )
    folder = seeds / seed_set
    there = {table_of(path): path for path in fixture_files(folder)} if folder.is_dir() else {}
    named = tuple(dict.fromkeys(tables))
    wanted = named or tuple(name for name, path in there.items() if path.suffix == ".csv")
    if not wanted:
        raise UsageError(
            f"{shown_path(folder, root)} has no csv file to refresh",
            remedy="Name tables: --table NAME.",
            option="--table",
        )
    alone = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    with (
        translated(shown_path(folder, root)),
        connection.transaction(),
        connection.cursor(row_factory=tuple_row) as cursor,
    ):
        if alone:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        fix_text_form(cursor)
        catalog = read_catalog(connection)
        jobs = _jobs(cursor, catalog, wanted, there, folder, root, tuple(bindings))
        if not named:
            for job in jobs:
                _refuse_to_empty(cursor, job, root)
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            new = [stack.enter_context(NewFile(job.path.resolve())) for job in jobs]
            rows = [_write(cursor, job, each.path) for job, each in zip(jobs, new, strict=True)]
            files = tuple(_put_in_place(*each, root) for each in zip(jobs, new, rows, strict=True))
    return DumpReport(seed_set=seed_set, rows=sum(file.rows for file in files), files=files)


def _jobs(
    cursor: psycopg.Cursor[Any],
    catalog: Catalog,
    wanted: Sequence[str],
    there: dict[str, Path],
    folder: Path,
    root: Path,
    bindings: Sequence[FaceBinding],
) -> list[_Job]:
    """Return what to write, parents first. Every reason against it is raised here, before anything is written."""
    files = {_found(catalog, name): path for name, path in there.items() if _found(catalog, name) is not None}
    bound = {_found(catalog, binding.table): binding for binding in bindings}
    jobs: dict[int, _Job] = {}
    for name in wanted:
        table = catalog.find(name)
        if table.schema == "seedtool" or table.name == "alembic_version":
            raise UsageError(
                f"the table {table} belongs to {'seedtool' if table.schema == 'seedtool' else 'alembic'} itself",
                remedy="Dump the project's own tables; a seed must not write this one.",
                option="--table",
                table=str(table),
            )
        path = files.get(table.oid, folder / f"{table}.csv")
        if path.suffix != ".csv":
            raise SeedError(
                f"the rows of {table} come from {shown_path(path, root)}, and a dump writes csv files only",
                remedy="Edit that file, or delete it first and dump again.",
                table=str(table),
                file=shown_path(path, root),
            )
        binding = bound.get(table.oid)
        written, form = _header(path, root) if path.is_file() else ((), Form())
        columns = _columns(table, written, binding.face_id if binding else None)
        if binding is not None and _has_unknown_image(cursor, table, binding):
            columns = (*columns, binding.face_id)
        jobs[table.oid] = _Job(table=table, path=path, columns=columns, form=form, binding=binding)
    return [jobs[table.oid] for table in catalog.parents_first(job.table for job in jobs.values())]


def _refuse_to_empty(cursor: psycopg.Cursor[Any], job: _Job, root: Path) -> None:
    """Refuse to take all rows from a file whose table is empty: most likely the database was reset and not seeded."""
    if cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(job.table.stored)).fetchone() == (True,):
        return
    try:
        with job.path.open("rb") as file:
            rows = sum(1 for _ in csv_text.Reader(file))
    except Malformed as fault:
        raise fault.of(shown_path(job.path, root)) from fault
    if rows:
        raise SeedError(
            f"the table {job.table} is empty, but its file has {rows} row{'s' if rows > 1 else ''}",
            remedy="Seed first, or name the table with --table.",
            table=str(job.table),
        )


def _found(catalog: Catalog, name: str) -> int | None:
    try:
        return catalog.find(name).oid
    except SchemaError:
        return None


def _has_unknown_image(cursor: psycopg.Cursor[Any], table: Table, binding: FaceBinding) -> bool:
    """Tell whether a row has a face id and no external image id by which a sync could find it."""
    query = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {} IS NULL AND {} IS NOT NULL)").format(
        table.stored, sql.Identifier(binding.external_image_id), sql.Identifier(binding.face_id)
    )
    return cursor.execute(query).fetchone() == (True,)


def _header(path: Path, root: Path) -> tuple[tuple[str, ...], Form]:
    """Return the columns of a csv file, and how it is written."""
    try:
        with path.open("rb") as file:
            reader = csv_text.Reader(file)
            return reader.columns, reader.form
    except Malformed as fault:
        raise fault.of(shown_path(path, root)) from fault


def _columns(table: Table, written: Sequence[str], face_id: str | None) -> tuple[str, ...]:
    """Return the columns that the file has already, as far as the table has them; those of the table without any."""
    chosen = [name for name in written if name in table.writable] or list(table.writable)
    missing = [name for name in table.primary_key or table.writable if name not in chosen]
    return tuple(name for name in [*missing, *chosen] if name != face_id)


def _write(cursor: psycopg.Cursor[Any], job: _Job, path: Path) -> int:
    """Write the rows of a table into a file, ordered by key so that diffs stay small; return how many there are."""
    query = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(
        sql.SQL(", ").join(_value(job, name) for name in job.columns), job.table.stored, _key_order(job.table)
    )
    rows = 0

    def counted() -> Iterator[Sequence[str | None]]:
        nonlocal rows
        for row in copy_out(cursor, query):
            rows += 1
            yield row

    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(csv_text.write(job.columns, counted(), job.form))
    return rows


def _value(job: _Job, column: str) -> sql.Composable:
    if job.binding is None or column != job.binding.face_id:
        return sql.Identifier(column)
    return sql.SQL("CASE WHEN {} IS NULL THEN {} END").format(
        sql.Identifier(job.binding.external_image_id), sql.Identifier(column)
    )


def _key_order(table: Table) -> sql.Composed:
    """Order by key in a way that no database's collation changes; by the whole row where there is no key."""
    if not table.primary_key:
        return sql.SQL(", ").join(
            sql.SQL('{}::text COLLATE "C"').format(sql.Identifier(name)) for name in table.writable
        )
    return sql.SQL(", ").join(
        sql.SQL('{} COLLATE "C"' if table.columns[name].is_text else "{}").format(sql.Identifier(name))
        for name in table.primary_key
    )


def _put_in_place(job: _Job, new: NewFile, rows: int, root: Path) -> FileReport:
    changed = not job.path.is_file() or not filecmp.cmp(job.path, new.path, shallow=False)
    if changed:
        new.put_in_place()
    return FileReport(table=str(job.table), file=shown_path(job.path, root), rows=rows, changed=changed)
