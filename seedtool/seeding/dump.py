"""Rows of the database written back as seed files, so that what was enrolled or edited survives the next reset."""

import contextlib
import filecmp
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

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
from seedtool.postgres.psycopg_errors import translated
from seedtool.seeding import defaults, ledger
from seedtool.seeding.fixtures import SUFFIXES, fixture_files, table_of
from seedtool.seeding.profiles import is_below
from seedtool.settings import FaceBinding
from seedtool.settings.setting import no_control


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was written, or found to be the same already.

    Args:
        table: the table.
        file: the path, relative to the project's root.
        rows: how many rows it has.
        changed: it was written.
        left_out: the columns that its header leaves out although a row holds something else than their default.
        gone: the columns that its header had and the table has not any more.
        of_others: how many rows of the table were left out, since other sets put them there.
    """

    table: str
    file: str
    rows: int
    changed: bool
    left_out: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    of_others: int = 0


class DumpReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a dump wrote: one file for each table, parents first.

    Args:
        seed_set: the set.
        rows: how many rows all files have.
        files: the files.
        without_file: the tables that have rows and no file in any set, where no tables were named.
    """

    seed_set: str
    rows: int
    files: tuple[FileReport, ...]
    without_file: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the files have all that the next reset would lose."""
        return not self.without_file and not any(each.left_out for each in self.files)


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    """One table to write: its file, the columns of it, and which rows of the table are another set's."""

    table: Table
    path: Path
    columns: tuple[str, ...]
    form: Form
    binding: FaceBinding | None
    gone: tuple[str, ...]
    of_others: sql.Composable | None

    @property
    def rows(self) -> sql.Composable:
        """The rows to write, as a table of a query."""
        if self.of_others is None:
            return self.table.stored
        return sql.SQL("(SELECT * FROM {} AS t WHERE NOT {})").format(self.table.stored, self.of_others)


def dump(
    connection: psycopg.Connection[Any],
    tables: Iterable[str],
    seeds: Path,
    seed_set: str,
    *,
    root: Path,
    bindings: Iterable[FaceBinding] = (),
    every_table: bool = False,
    sort: Literal["key", "file"] = "key",
) -> DumpReport:
    """Write tables as csv files of a seed set. Seeding these files brings the rows back.

    Where other sets have a file of the same table, rows that the ledger knows as theirs are left to them. Rows that no
    seed put there are written.

    A file that has rows keeps its columns, their order, its delimiter and its line ends. A new one, and one without
    rows, gets all columns but the generated ones. Face ids are left out, since the next sync finds them by the external
    image id; a row without an external image id keeps its face id.

    Args:
        connection: a connection without an open transaction, so that all tables are read at one moment; within a
            transaction of the caller each table is read as that transaction sees it.
        tables: names of tables; none means those that have a csv file in the set already.
        seeds: the folder that holds the sets.
        seed_set: the set; its folder is made when it is missing.
        root: the project's root; messages show paths relative to it.
        bindings: the face bindings of the project.
        every_table: write also the tables that have rows and no file in any set.
        sort: order rows by key, or leave those that a file has in their order and put new ones behind them, by key.

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
        raise UsageError(f"--set: {fault.message}", remedy=fault.remedy, option="--set")
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
    if not wanted and not every_table:
        raise UsageError(
            f"{shown_path(folder, root)} has no csv file to refresh",
            remedy="Name tables: --table NAME. Or write all that have rows and no file: --all.",
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
        fileless = () if named and not every_table else _without_file(cursor, catalog, seeds)
        if every_table:
            wanted, fileless = tuple(dict.fromkeys((*wanted, *fileless))), ()
        jobs = _jobs(cursor, catalog, wanted, there, folder, root, tuple(bindings))
        jobs = _without_rows_of_others(cursor, catalog, jobs, seeds, seed_set)
        if not named:
            for job in jobs:
                _refuse_to_empty(cursor, job, root)
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            new = [stack.enter_context(NewFile(job.path.resolve())) for job in jobs]
            rows = [_write(cursor, job, each.path, sort) for job, each in zip(jobs, new, strict=True)]
            left_out = [_left_out(cursor, job) for job in jobs]
            others = [_count_of_others(cursor, job) for job in jobs]
            files = tuple(_put_in_place(*each, root) for each in zip(jobs, new, rows, left_out, others, strict=True))
    return DumpReport(
        seed_set=seed_set, rows=sum(file.rows for file in files), files=files, without_file=tuple(fileless)
    )


def _without_rows_of_others(
    cursor: psycopg.Cursor[Any], catalog: Catalog, jobs: list[_Job], seeds: Path, seed_set: str
) -> list[_Job]:
    """Return the jobs, of which those know the rows of others that share their table with another set."""
    sets: dict[int | None, set[str]] = {}
    for name, path in _fixtures_of_all_sets(seeds):
        if name != seed_set:
            sets.setdefault(_found(catalog, table_of(path)), set()).add(name)
    if not any(job.table.oid in sets for job in jobs) or not ledger.exists(cursor):
        return jobs
    return [
        msgspec.structs.replace(job, of_others=ledger.of_others(job.table, seed_set, sorted(sets[job.table.oid])))
        if job.table.oid in sets and job.table.primary_key
        else job
        for job in jobs
    ]


def _fixtures_of_all_sets(seeds: Path) -> Iterator[tuple[str, Path]]:
    """Yield each fixture below the seeds folder, with the name of its set; photos and other files are passed over."""
    for folder in seeds.rglob("*"):
        name = folder.relative_to(seeds)
        if folder.is_dir() and not {"photos", "__pycache__"} & set(name.parts):
            for path in folder.iterdir():
                if path.suffix.lower() in SUFFIXES and not path.name.startswith((".", "_")):
                    yield name.as_posix(), path


def _count_of_others(cursor: psycopg.Cursor[Any], job: _Job) -> int:
    if job.of_others is None:
        return 0
    query = sql.SQL("SELECT count(*) FROM {} AS t WHERE {}").format(job.table.stored, job.of_others)
    counted = cursor.execute(query).fetchone()
    return int(counted[0]) if counted else 0


def _without_file(cursor: psycopg.Cursor[Any], catalog: Catalog, seeds: Path) -> tuple[str, ...]:
    """Return the tables of the project that have rows and no fixture in any set."""
    with_file = {_found(catalog, table_of(path)) for _, path in _fixtures_of_all_sets(seeds)}
    of_extensions = {oid for (oid,) in cursor.execute(_OF_EXTENSIONS)}
    tables = [
        table
        for table in catalog.parents_first(catalog.tables.values())
        if table.kind == "table"
        and table.schema != "seedtool"
        and table.name != "alembic_version"
        # the rows of a partition are those of the partitioned table
        and not table.ancestors
        and table.oid not in with_file | of_extensions
    ]
    seen = dict(cursor.execute(_SEEN, [[table.oid for table in tables]]).fetchall())
    readable = [table for table in tables if seen.get(table.oid)]
    holding = set()
    if readable:
        each_holds = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}::int8 WHERE EXISTS (SELECT FROM {})").format(sql.Literal(table.oid), table.stored)
            for table in readable
        )
        holding = {oid for (oid,) in cursor.execute(each_holds)}
    return tuple(str(table) for table in tables if table.oid in holding or seen.get(table.oid) is False)


# the tables that this role may read; of those whose rows are hidden from it nobody knows whether they have any
_SEEN = """
SELECT oid::int8, NOT row_security_active(oid) FROM unnest(%s::oid[]) AS t (oid)
WHERE has_table_privilege(oid, 'SELECT')
"""

_OF_EXTENSIONS = "SELECT objid::int8 FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype = 'e'"


def _left_out(cursor: psycopg.Cursor[Any], job: _Job) -> tuple[str, ...]:
    """Return the columns that a file leaves out although a row holds something else than their default.

    Where every row gets a default of its own, such as a time or a number, nothing tells which values came from it.
    """
    managed = job.binding.face_id if job.binding else None
    columns = [job.table.columns[name] for name in job.table.writable if name not in {*job.columns, managed}]
    columns = defaults.comparable(cursor, columns)
    if not columns:
        return ()
    found = cursor.execute(
        sql.SQL("SELECT {} FROM {} AS t").format(
            sql.SQL(", ").join(
                sql.SQL("coalesce(bool_or({}), false)").format(defaults.differs(each, "t")) for each in columns
            ),
            job.rows,
        )
    ).fetchone()
    return tuple(each.name for each, differs in zip(columns, found or (), strict=True) if differs)


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
        written, form, has_rows = _header(path, root) if path.is_file() else ((), Form(), False)
        whole = not has_rows and _has_rows(cursor, table)
        columns = _columns(table, written, binding.face_id if binding else None, whole=whole)
        gone = tuple(name for name in written if name not in table.columns)
        if binding is not None and _has_unknown_image(cursor, table, binding):
            columns = (*columns, binding.face_id)
        jobs[table.oid] = _Job(
            table=table, path=path, columns=columns, form=form, binding=binding, gone=gone, of_others=None
        )
    return [jobs[table.oid] for table in catalog.parents_first(job.table for job in jobs.values())]


def _refuse_to_empty(cursor: psycopg.Cursor[Any], job: _Job, root: Path) -> None:
    """Refuse to take all rows from a file whose table is empty: most likely the database was reset and not seeded."""
    if cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {} AS t)").format(job.rows)).fetchone() == (True,):
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


def _has_rows(cursor: psycopg.Cursor[Any], table: Table) -> bool:
    return cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(table.stored)).fetchone() == (True,)


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


def _header(path: Path, root: Path) -> tuple[tuple[str, ...], Form, bool]:
    """Return the columns of a csv file, how it is written, and whether it has rows."""
    try:
        with path.open("rb") as file:
            reader = csv_text.Reader(file)
            return reader.columns, reader.form, next(iter(reader), None) is not None
    except Malformed as fault:
        raise fault.of(shown_path(path, root)) from fault


def _columns(table: Table, written: Sequence[str], face_id: str | None, *, whole: bool) -> tuple[str, ...]:
    """Return the columns that the file has already, as far as the table has them; of a file without rows all."""
    chosen = [name for name in written if name in table.writable] or list(table.writable)
    missing = [name for name in table.primary_key or table.writable if name not in chosen]
    if whole:
        chosen += [name for name in table.writable if name not in {*chosen, *missing}]
    return tuple(name for name in [*missing, *chosen] if name != face_id)


def _write(cursor: psycopg.Cursor[Any], job: _Job, path: Path, sort: Literal["key", "file"]) -> int:
    """Write the rows of a table into a file, in an order that keeps diffs small; return how many there are."""
    query = sql.SQL("SELECT {} FROM {} AS t ORDER BY {}").format(
        sql.SQL(", ").join(_value(job, name) for name in job.columns), job.rows, _key_order(job.table)
    )
    rows = 0

    def counted() -> Iterator[Sequence[str | None]]:
        nonlocal rows
        found = copy_out(cursor, query)
        for row in found if sort == "key" or not job.path.is_file() else _in_order_of(job, found):
            rows += 1
            yield row

    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(csv_text.write(job.columns, counted(), job.form))
    return rows


def _in_order_of(job: _Job, rows: Iterable[Sequence[str | None]]) -> list[Sequence[str | None]]:
    """Return rows in the order that the file has; those that it has not behind them, as they come."""
    key = job.table.primary_key or job.columns
    with job.path.open("rb") as file:
        reader = csv_text.Reader(file)
        if not set(key) <= set(reader.columns):
            return list(rows)
        cells = [reader.columns.index(name) for name in key]
        places = {tuple(row[cell] for cell in cells): line for line, row in reader}
    cells = [job.columns.index(name) for name in key]
    return sorted(rows, key=lambda row: places.get(tuple(row[cell] for cell in cells), sys.maxsize))


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


def _put_in_place(
    job: _Job, new: NewFile, rows: int, left_out: tuple[str, ...], of_others: int, root: Path
) -> FileReport:
    changed = not job.path.is_file() or not filecmp.cmp(job.path, new.path, shallow=False)
    if changed:
        new.put_in_place()
    return FileReport(
        table=str(job.table),
        file=shown_path(job.path, root),
        rows=rows,
        changed=changed,
        left_out=left_out,
        gone=job.gone,
        of_others=of_others,
    )
