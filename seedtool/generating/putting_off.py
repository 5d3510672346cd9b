"""Indexes and foreign keys of empty tables are dropped while rows come, and built again in parallel afterwards.

Whatever is dropped is written into the ledger in the same transaction, with the statement that builds it again. What
is built again is taken out of the ledger in the transaction that builds it. So a kill at any line leaves a database
that says itself what it lacks.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from psycopg import errors as pg
from psycopg import sql

from seedtool.errors import LoadInterrupted
from seedtool.postgres.psycopg_errors import reason
from seedtool.slices import ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from seedtool.generating.rows import PlannedTable
    from seedtool.slices.ledger import PutOff

#: What is built first: keys and other indexes; then foreign keys, which need them; then they are checked, which takes
#: no lock that another check of the same table would wait for.
_INDEX, _KEY, _CHECK = 1, 2, 3

#: How long putting off waits for others who use a table (a setting of PostgreSQL).
_PATIENCE = "2s"

#: Memory for one index that is built, in kB: four are built at once.
_MEMORY = 256 * 1024


class Kept(msgspec.Struct, frozen=True):
    """A table whose indexes stay, and why: rows come slower."""

    table: str
    why: str


def put_off(cursor: ledger.Cursor, recipe: str, tables: Sequence[PlannedTable], *, filled: bool = False) -> list[Kept]:
    """Drop the indexes and foreign keys of empty tables, and write down how they are built again.

    Args:
        cursor: in the transaction that writes the load down.
        recipe: the load's name in the ledger.
        tables: the tables that get rows.
        filled: also of tables that have rows: in a database that nobody uses yet.

    Returns:
        The tables that keep theirs.
    """
    # so every name in the statements has its schema
    cursor.execute("SELECT set_config('search_path', '', true)")
    kept: list[Kept] = []
    empty: list[PlannedTable] = []
    for planned in tables:
        why = _why_not(cursor, planned, filled=filled)
        if why:
            kept.append(Kept(planned.name, why))
        else:
            empty.append(planned)
    place = len(ledger.put_off(cursor, recipe))
    for query in (_FOREIGN_KEYS, _INDEXES):  # an index goes after the foreign keys that need it
        for planned in empty:
            for name, drop, builds in cursor.execute(query, {"table": planned.table.oid}).fetchall():
                try:
                    with cursor.connection.transaction():
                        cursor.execute(drop)
                        for stage, build in builds:
                            each = ledger.PutOff(place, planned.table.qualified, name, stage, build)
                            ledger.journal(cursor, recipe, each)
                            place += 1
                except (pg.DependentObjectsStillExist, pg.InsufficientPrivilege, pg.ObjectInUse) as error:
                    kept.append(Kept(planned.name, f"{name} stays: {reason(error)}"))
    return kept


def _why_not(cursor: ledger.Cursor, planned: PlannedTable, *, filled: bool) -> str:
    """Return why a table's indexes stay, in words; empty where they may go. The table is locked then."""
    if not planned.table.plain:
        return "it has partitions or children"
    if planned.table.ancestors:  # its indexes and constraints are the partitioned table's
        return "it is a partition"
    try:
        with cursor.connection.transaction():
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [_PATIENCE])
            cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(planned.table.identifier))
            cursor.execute("SELECT set_config('lock_timeout', '0', true)")
            cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(planned.table.identifier))
            has_rows: bool = cursor.fetchone() == (True,)
            return "it has rows" if has_rows and not filled else ""
    except pg.LockNotAvailable:
        return "others use it"
    except pg.InsufficientPrivilege as error:
        return reason(error)


def build(
    sessions: Callable[[], AbstractContextManager[psycopg.Connection[Any]]], recipe: str, *, parallel: int
) -> int:
    """Build again what was put off.

    Args:
        sessions: opens a transaction of the target, which is committed at its end.
        recipe: the load's name in the ledger.
        parallel: how many statements run at once.

    Returns:
        How many statements were run.

    Raises:
        LoadInterrupted: a statement failed; the rest is built, and the ledger has what is not.
    """
    with sessions() as connection:
        waiting = ledger.put_off(connection.cursor(), recipe)
    faults: list[tuple[PutOff, psycopg.Error]] = []
    lock = threading.Lock()

    def one(each: PutOff) -> None:
        try:
            with sessions() as connection:
                cursor = connection.cursor()
                cursor.execute(
                    "SELECT set_config(name, greatest(setting::int, %s)::text, true) FROM pg_settings"
                    " WHERE name = 'maintenance_work_mem'",
                    [_MEMORY],
                )
                cursor.execute(each.build.encode())
                ledger.built(cursor, recipe, each)
        except psycopg.Error as error:
            with lock:
                faults.append((each, error))

    for stage in (_INDEX, _KEY, _CHECK):
        these = [each for each in waiting if each.stage == stage]
        # two ADD CONSTRAINT could wait for each other's tables, and they take no time
        threads = 1 if stage == _KEY else parallel
        if threads <= 1 or len(these) <= 1:
            for each in these:
                one(each)
            continue
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, these))
    if faults:
        each, error = faults[0]
        raise LoadInterrupted(
            f"{each.relation}: {each.name} cannot be built again: {reason(error)}",
            remedy="Correct what is in the way and run seedtool seed load --resume, or seedtool seed unload.",
            table=each.relation,
            code=error.sqlstate,
        ) from error
    return len(waiting)


# A constraint's index is built by the constraint. What the statements cannot say (a tablespace of its own, the marks of
# CLUSTER and REPLICA IDENTITY, a target of statistics) keeps an index where it is.
_INDEXES = """
SELECT x.relname::text,
       CASE WHEN o.oid IS NULL THEN format('DROP INDEX %%I.%%I', n.nspname, x.relname)
            ELSE format('ALTER TABLE %%s DROP CONSTRAINT %%I', i.indrelid::regclass, o.conname) END,
       jsonb_build_array(jsonb_build_array(1,
         CASE WHEN o.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
              ELSE format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', i.indrelid::regclass, o.conname,
                          pg_get_constraintdef(o.oid)) END
         || coalesce('; COMMENT ON INDEX ' || quote_ident(n.nspname) || '.' || quote_ident(x.relname) || ' IS '
                     || quote_literal(obj_description(i.indexrelid, 'pg_class')), '')
         || coalesce('; COMMENT ON CONSTRAINT ' || quote_ident(o.conname) || ' ON ' || i.indrelid::regclass || ' IS '
                     || quote_literal(obj_description(o.oid, 'pg_constraint')), '')))
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = x.relnamespace
LEFT JOIN pg_constraint o ON o.conindid = i.indexrelid AND o.contype IN ('p', 'u', 'x') AND o.conrelid = i.indrelid
WHERE i.indrelid = %(table)s AND i.indisvalid AND NOT i.indisclustered AND NOT i.indisreplident
  AND x.reltablespace = 0
  AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                  AND d.deptype IN ('e', 'x'))
ORDER BY i.indisprimary, x.relname
"""

_FOREIGN_KEYS = """
SELECT o.conname::text, format('ALTER TABLE %%s DROP CONSTRAINT %%I', o.conrelid::regclass, o.conname),
       jsonb_build_array(jsonb_build_array(2,
         format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', o.conrelid::regclass, o.conname, pg_get_constraintdef(o.oid))
         || CASE WHEN o.convalidated AND coalesce((to_jsonb(o) ->> 'conenforced')::boolean, true)
                 THEN ' NOT VALID' ELSE '' END
         || coalesce('; COMMENT ON CONSTRAINT ' || quote_ident(o.conname) || ' ON ' || o.conrelid::regclass || ' IS '
                     || quote_literal(obj_description(o.oid, 'pg_constraint')), '')))
       || CASE WHEN o.convalidated AND coalesce((to_jsonb(o) ->> 'conenforced')::boolean, true)
               THEN jsonb_build_array(jsonb_build_array(3,
                 format('ALTER TABLE %%s VALIDATE CONSTRAINT %%I', o.conrelid::regclass, o.conname)))
               ELSE '[]' END
FROM pg_constraint o
WHERE o.contype = 'f' AND o.conparentid = 0 AND o.conrelid = %(table)s
ORDER BY o.conname
"""
