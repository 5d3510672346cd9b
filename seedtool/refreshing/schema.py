"""The schema of a masked copy: dumped by pg_dump in the snapshot, and restored before and after the rows.

Before: types, tables, functions and views. After: indexes, keys, triggers, policies and what fills materialized views.
So no trigger fires and no key is checked while rows are loaded. Roles, grants, tablespaces, publications,
subscriptions and user mappings stay behind: they belong to a server, and the last two hold passwords.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import psycopg
from psycopg import sql

from seedtool.errors import DatabaseError
from seedtool.postgres import programs, server
from seedtool.postgres.extensions import lacking
from seedtool.postgres.psycopg_errors import translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from seedtool.postgres.programs import Programs
    from seedtool.postgres.server import Target
    from seedtool.refreshing.source import Source

#: Entries of a dump that are not restored. A comment on an extension may be made by the extension's owner alone.
_LEFT_OUT = re.compile(
    r"^\d+; \d+ \d+ (?:USER MAPPING|SUBSCRIPTION|PUBLICATION\b.*|COMMENT - EXTENSION) ", re.MULTILINE
)
#: An index that becomes part of a partitioned one. The statement locks several tables, and pg_restore does not know
#: which: two of its jobs can wait for each other for good (seen with PostgreSQL 18, once in some dozens of restores).
_ATTACHED = re.compile(r"^\d+; \d+ \d+ INDEX ATTACH ", re.MULTILINE)
#: Entries that lock one table each.
_OF_ONE_TABLE = re.compile(r"^\d+; \d+ \d+ (?:INDEX|CONSTRAINT) (?!ATTACH )", re.MULTILINE)
#: Entries after which others may fail: an event trigger may forbid what a copy still does, as it forbids migrations.
_LAST = re.compile(r"^\d+; \d+ \d+ (?:EVENT TRIGGER|COMMENT - EVENT TRIGGER) ")
#: The schema of seedtool's own tables. They say what was done in the database that they are in.
OWN = "seedtool"
#: How many indexes and keys are built at once.
JOBS = 2
#: Bytes of a large object that are read at once.
_PIECE = 2**20
#: Memory for building an index (kilobytes); PostgreSQL's own default is 64 MB.
_INDEX_MEMORY = 128 * 1024


class Dump(NamedTuple):
    """A dumped schema.

    Args:
        file: pg_dump's custom format, readable by its owner alone.
        contents: which of its entries are restored, in pg_restore's form of a list.
        tools: the programs that wrote it.
    """

    file: Path
    contents: Path
    tools: Programs


@contextlib.contextmanager
def dumped(source: Source, target: Target) -> Iterator[Dump]:
    """Dump the source's schema as it was in the snapshot, without any row; the files are removed afterwards.

    Args:
        source: the source.
        target: where it will be restored.

    Raises:
        SnapshotError: there are no programs that fit both servers.
        DatabaseError: it cannot be dumped.
    """
    with server.connect(target) as connection:
        version = max(source.version, connection.info.server_version)
        tls = bool(source.holder.pgconn.ssl_in_use or connection.pgconn.ssl_in_use)
    tools = programs.fitting(version, tls=tls)[0]
    with tempfile.TemporaryDirectory(prefix="seedtool-refresh-") as folder:  # 0700
        file, contents = Path(folder) / "schema.dump", Path(folder) / "contents"
        done = programs.run(
            tools, "pg_dump", "--schema-only", "--format=custom", "--compress=0",
            f"--snapshot={source.snapshot}", "--lock-wait-timeout=10000", "--no-publications", "--no-subscriptions",
            "--no-security-labels", f"--exclude-schema={OWN}", f"--file={file}",
            target=source.target, database=source.target.name,
        )  # fmt: skip
        if done.code:
            if not source.is_alive():
                raise source.lost()
            raise DatabaseError(
                f"the schema of {source.target} cannot be dumped: {programs.fault(done.errors)}",
                remedy="Work as a role that may read every table. Where a migration is running, start again after it.",
            )
        listed = programs.run(tools, "pg_restore", "--list", file, target=target)
        if listed.code:
            raise DatabaseError(f"the schema of {source.target} cannot be read: {programs.fault(listed.errors)}")
        entries = (line for line in listed.out.splitlines() if not _LEFT_OUT.match(line))
        contents.write_text("\n".join(entries) + "\n", encoding="utf-8")
        yield Dump(file, contents, tools)


def restore(dump: Dump, section: Literal["pre-data", "post-data"], database: Target, jobs: int = JOBS) -> None:
    """Restore one section of a dumped schema; every complaint of pg_restore is an error.

    Args:
        dump: the dump.
        section: `pre-data` comes before the rows, `post-data` after them. Event triggers come last of all, by
            `finish`.
        database: a fresh database, or one that has the rows.
        jobs: how many indexes and keys are built at once. Where tables are partitioned, foreign keys, triggers and what
            else locks several tables come after them, one by one.

    Raises:
        DatabaseError: something in it cannot be made, or a key does not hold.
    """
    entries = [each for each in _entries(dump) if not _LAST.match(each)]
    if section == "pre-data" or jobs == 1 or not any(map(_ATTACHED.match, entries)):
        _restore(dump, _contents(dump, section, entries), section, database, jobs)
        return
    parts = (
        ("one-table", [each for each in entries if _OF_ONE_TABLE.match(each)], jobs),
        ("others", [each for each in entries if not _OF_ONE_TABLE.match(each)], 1),
    )
    for name, chosen, at_once in parts:
        _restore(dump, _contents(dump, name, chosen), section, database, at_once)


def finish(source: Source, dump: Dump, database: Target) -> None:
    """Fill the materialized views, and restore the event triggers.

    Args:
        source: the source.
        dump: the dump.
        database: the copy, with its rows and all else of its schema.

    Raises:
        DatabaseError: a view cannot be filled, or an event trigger not be made.
    """
    fill_views(source, database)
    if last := [each for each in _entries(dump) if _LAST.match(each)]:
        _restore(dump, _contents(dump, "last", last), "post-data", database, 1)


def _entries(dump: Dump) -> list[str]:
    return dump.contents.read_text(encoding="utf-8").splitlines(keepends=True)


def _contents(dump: Dump, name: str, entries: list[str]) -> Path:
    """Write a list of some of a dump's entries."""
    file = dump.contents.with_name(name)
    file.write_text("".join(entries), encoding="utf-8")
    return file


def _restore(
    dump: Dump, contents: Path, section: Literal["pre-data", "post-data"], database: Target, jobs: int
) -> None:
    with server.connect(database) as connection:
        older = connection.info.server_version < 170000
        may_raise = _allowed_memory(connection, jobs)
    options = [
        f"--section={section}",
        "--no-owner",
        "--no-privileges",
        "--no-tablespaces",
        f"--use-list={contents}",
    ]
    tolerant = older and dump.tools.major >= 17
    options += [] if tolerant else ["--exit-on-error"]
    if section == "pre-data":
        options += [] if tolerant else ["--single-transaction"]
    elif jobs > 1:
        options += [f"--jobs={jobs}"]
    aim = database
    if section == "post-data":
        options_of_session = {"maintenance_work_mem": f"{may_raise}kB", "synchronous_commit": "off"}
        if (
            database.embedded is not None and (os.cpu_count() or 1) <= jobs
        ):  # its workers would take our other jobs' turns
            options_of_session["max_parallel_maintenance_workers"] = "0"
        aim = _with_options(database, options_of_session)
    done = programs.run(dump.tools, "pg_restore", *options, "--", dump.file, target=aim, database=database.name)
    errors = programs.complaints(done.errors) if tolerant else done.errors
    if errors.strip() if tolerant else done.code:
        lack = lacking(errors, embedded=database.embedded is not None)
        raise DatabaseError(
            f"the schema cannot be restored ({section}): {lack.message if lack else programs.fault(errors)}",
            remedy=lack.remedy if lack else _remedy(section),
        )


def fill_views(source: Source, database: Target) -> int:
    """Fill those materialized views from the copy's rows that are filled in production.

    Args:
        source: the source.
        database: the copy, with its rows and its schema.

    Returns:
        How many there are.

    Raises:
        DatabaseError: one of them cannot be filled.
    """
    with source.reading(f"the materialized views of {source.target} cannot be read"):
        waiting = [(str(schema), str(name)) for schema, name in source.holder.execute(_FILLED_VIEWS, [OWN])]
    count = len(waiting)
    with server.connect(database, autocommit=True) as connection:
        while waiting:  # one may read another, which has to be filled before
            late: list[tuple[str, str]] = []
            for place in waiting:
                with translated(f"the materialized view {'.'.join(place)} cannot be filled"):
                    try:
                        connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier(*place)))
                    except psycopg.errors.ObjectNotInPrerequisiteState:
                        if len(waiting) == 1 or len(late) + 1 == len(waiting):
                            raise
                        late.append(place)
            waiting = late
    return count


def copy_large_objects(source: Source, database: Target) -> tuple[int, int]:
    """Copy every large object under its own oid, so that columns which refer to it still do.

    Nothing in them is masked: their bytes come as they are.

    Returns:
        How many there were, and how many bytes.

    Raises:
        DatabaseError: one may not be read, or cannot be written.
    """
    read = written = 0
    with server.connect(database) as connection, translated("a large object cannot be written"):
        with source.reading(f"the large objects of {source.target} cannot be read"):
            oids = source.holder.execute("SELECT oid FROM pg_largeobject_metadata ORDER BY oid").fetchall()
        for (oid,) in oids:
            connection.execute("SELECT lo_create(%s)", [oid])
            place = 0
            while True:
                with source.reading(f"the large objects of {source.target} cannot be read"):
                    row = source.holder.execute("SELECT lo_get(%s, %s, %s)", [oid, place, _PIECE]).fetchone()
                content = row[0] if row else b""
                if content:
                    connection.execute("SELECT lo_put(%s, %s, %s)", [oid, place, content])
                place += len(content)
                if len(content) < _PIECE:
                    break
            read, written = read + 1, written + place
    return read, written


def analyze(database: Target) -> None:
    """Give the planner its statistics: a dump has none, and production's hold values of rows."""
    with server.connect(database, autocommit=True) as connection, translated("the copy cannot be analyzed"):
        server.analyze(connection)


def move_sequences(source: Source, database: Target) -> list[str]:
    """Move each sequence to its position in production, and past the highest number in its column.

    Args:
        source: the source.
        database: the copy, with its rows.

    Returns:
        What a person has to know: which positions may not be read at the source. PostgreSQL 18 answers NULL for them
        (pg_sequence_last_value), and a copy that took no notice would begin with 1.
    """
    with source.reading(f"the sequences of {source.target} cannot be read"):
        found = source.holder.execute(_SEQUENCES).fetchall()
        positions = {
            (schema, name): _position(source.holder, schema, name) for schema, name, readable in found if readable
        }
    hidden = [f"{schema}.{name}" for schema, name, readable in found if not readable]
    with server.connect(database) as connection, translated("the sequences of the copy cannot be moved"):
        for schema, name, increment, lowest, highest, columns in connection.execute(_USED_SEQUENCES).fetchall():
            last, called = positions.get((schema, name)) or (None, False)
            furthest = [
                _furthest(connection, (table_schema, table), column, increment, lowest, highest)
                for table_schema, table, column in columns
            ]
            ahead = (max if increment > 0 else min)((each for each in furthest if each is not None), default=None)
            following = None if last is None else last + increment if called else last
            if ahead is not None and (following is None or (ahead - following) * increment >= 0):
                last, called = ahead, True
            if last is not None:
                place = sql.Identifier(schema, name).as_string(connection)
                connection.execute("SELECT setval(%s::regclass, %s, %s)", [place, last, called])
    if not hidden:
        return []
    listed = ", ".join([*hidden[:5], *(["..."] if len(hidden) > 5 else [])])
    told = (
        f"the positions of {len(hidden)} sequences may not be read at the source ({listed}): in the copy they"
        " stand behind the highest number of their columns"
    )
    return [told]


def _position(connection: psycopg.Connection, schema: str, name: str) -> tuple[int, bool] | None:
    row = connection.execute(
        sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, name))
    ).fetchone()
    return None if row is None else (int(row[0]), bool(row[1]))


def _furthest(
    connection: psycopg.Connection, table: tuple[str, str], column: str, increment: int, lowest: int, highest: int
) -> int | None:
    """Return the number in a column that the sequence would reach last."""
    row = connection.execute(
        sql.SQL(
            "SELECT {most}(floor({column}::numeric))::int8 FROM {table} WHERE {column} BETWEEN {low} AND {high}"
        ).format(
            most=sql.SQL("max" if increment > 0 else "min"),
            column=sql.Identifier(column),
            table=sql.Identifier(*table),
            low=sql.Literal(lowest),
            high=sql.Literal(highest),
        )
    ).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def _allowed_memory(connection: psycopg.Connection, jobs: int) -> int:
    row = connection.execute("SELECT setting::int FROM pg_settings WHERE name = 'maintenance_work_mem'").fetchone()
    return max(int(row[0]) if row else 0, _INDEX_MEMORY // max(jobs, 1) * 2)


def _with_options(target: Target, settings: Mapping[str, str]) -> Target:
    """Return the target with settings of its sessions, beside those that its address has."""
    from msgspec.structs import replace
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    before = str(conninfo_to_dict(target.conninfo).get("options") or os.environ.get("PGOPTIONS") or "")
    ours = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return replace(target, conninfo=make_conninfo(target.conninfo, options=f"{before} {ours}".strip()))


def _remedy(section: str) -> str:
    if section == "pre-data":
        return (
            "Make in staging's server what the schema needs (a language, a collation), or work there as a role that may"
            " make it (a superuser, rds_superuser), and start again."
        )
    return (
        "A key or an index that production has does not hold in the copy: the masks of its columns differ, or give one"
        " value twice. Run seedtool refresh check."
    )


_FILLED_VIEWS = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname <> %s
ORDER BY c.oid
"""

_SEQUENCES = """
SELECT n.nspname::text, c.relname::text,
       has_sequence_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1, 2
"""

# a sequence belongs to its column (`a`), or is an identity's (`i`); or a column's default draws from it. One that
# begins anew at its end stands where it stands: no number of its column is the last
_USED_SEQUENCES = """
SELECT n.nspname::text, c.relname::text, s.seqincrement, s.seqmin, s.seqmax,
       coalesce(jsonb_agg(DISTINCT jsonb_build_array(t.nspname, r.relname, a.attname))
                FILTER (WHERE a.attname IS NOT NULL), '[]')
FROM pg_sequence s
JOIN pg_class c ON c.oid = s.seqrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
    SELECT d.refobjid AS relation, d.refobjsubid AS number FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
      AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    UNION
    SELECT f.adrelid, f.adnum FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
) AS used ON NOT s.seqcycle
LEFT JOIN pg_attribute a ON a.attrelid = used.relation AND a.attnum = used.number AND NOT a.attisdropped
     AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
LEFT JOIN pg_class r ON r.oid = a.attrelid
LEFT JOIN pg_namespace t ON t.oid = r.relnamespace
WHERE c.relpersistence <> 't' AND n.nspname !~ '^pg_'
GROUP BY 1, 2, 3, 4, 5
"""
