"""The source: production, which is only read, all of it as it was at one moment.

One session locks the tables against being altered, exports its snapshot and stays alive until the end. Every other
session joins that snapshot, so that the catalog, the rows, the subset and the proof see the same moment.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from seedtool.errors import BlockedError, DatabaseError
from seedtool.postgres import server
from seedtool.postgres.catalog import Catalog, read_catalog
from seedtool.postgres.copying import EVERY_ROW, PLAIN_TEXT
from seedtool.postgres.psycopg_errors import reason, translate
from seedtool.refreshing.streams import KEEPALIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from seedtool.postgres.server import Target

#: What a value's text depends on, on both sides of a copy. Names of types and tables are written with their schema.
PINNED = {**PLAIN_TEXT, **EVERY_ROW, "client_encoding": "UTF8", "lc_monetary": "C", "search_path": ""}
#: How long a statement on the source may take (seconds). Large tables are read in parts of `transfer.PART` bytes.
STATEMENT_TIMEOUT = 3600.0
#: How long a lock is waited for (seconds): while we wait for a table, others wait behind us.
LOCK_TIMEOUT = 10.0
#: How often the session that holds the snapshot says something (seconds): gateways close connections that are silent
#: for some minutes (350 s on AWS, "Connection idle timeout" of a Network Load Balancer).
ALIVE = 30.0
START_AGAIN = "Start again: the snapshot ended with its session, and nothing of this run can be used. The target stays."
_ATTEMPTS = 3


class Relation(msgspec.Struct, frozen=True, kw_only=True):
    """What the copy has to know of a table beside its catalog.

    Args:
        pages: how many pages it has.
        bytes: its size without indexes, long values (TOAST) included.
        rows: how many rows the server believes it has.
        heap: its rows can be read by ranges of pages.
        extension: the extension that it belongs to.
        binary: the columns whose values mean the same in another database when they are sent in binary.
        partition_key: the columns that choose the partition of a row, in it or in a table that it is a partition of.
        readable: this role may read all of its columns.
        through: the partitioned table through which its rows are written, because which partition they belong to
            differs between databases: a hash of an enum is that of its oid. None where they are written directly.
        vectors: the triggers that compute a tsvector by the server's own function: the column, the trigger's name.
    """

    oid: int
    pages: int
    bytes: int
    rows: int
    heap: bool
    extension: str | None
    binary: frozenset[str]
    partition_key: frozenset[str]
    readable: bool
    through: int | None
    vectors: dict[str, str]


class Source:
    """A database that is read in one snapshot. `Source.open` makes one.

    Args:
        target: the database.
        holder: the session that exported the snapshot, in its transaction.
        snapshot: the snapshot's id.
        standby: the server is a hot standby.
        locked: the tables that are locked, by schema and name.
        statement_timeout: for each statement of each session (seconds).
    """

    def __init__(
        self,
        target: Target,
        holder: psycopg.Connection[Any],
        snapshot: str,
        locked: Iterable[tuple[str, str]],
        statement_timeout: float,
    ) -> None:
        self.target = target
        self.holder = holder
        self.snapshot = snapshot
        self.version = holder.info.server_version
        row = holder.execute("SELECT pg_is_in_recovery()").fetchone()
        self.standby = bool(row and row[0])
        self.catalog: Catalog = read_catalog(holder)
        self.relations: Mapping[int, Relation] = _read_relations(holder)
        self._locked = tuple(locked)
        self._statement_timeout = statement_timeout

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        target: Target | str,
        *,
        statement_timeout: float = STATEMENT_TIMEOUT,
        lock_timeout: float = LOCK_TIMEOUT,
        alive: float = ALIVE,
    ) -> Iterator[Source]:
        """Lock the tables of a database against being altered, and export a snapshot of it.

        Reading goes on beside it, and so does writing. ALTER TABLE and TRUNCATE wait until the end, as they do for
        pg_dump.

        Args:
            target: the database; a text is libpq's connection string or URL.
            statement_timeout: how long a statement may take (seconds).
            lock_timeout: how long to wait for a table that is being altered (seconds).
            alive: how often the session that holds the snapshot says something (seconds).

        Raises:
            PoolerError: the connection goes through a pooler.
            BlockedError: a table is being altered, or row-level security would hide rows from this role.
            DatabaseError: it cannot be reached or read.
        """
        if isinstance(target, str):
            target = server.named_by(server.url_for_libpq(target))
        target = kept_alive(target)
        with _connected(target) as holder:
            server.refuse_pooler(target, holder)
            try:
                _set_session(holder, statement_timeout, lock_timeout)
                snapshot, locked = _export(target, holder)
                source = cls(target, holder, snapshot, locked, statement_timeout)
            except psycopg.Error as error:
                raise translate(error, f"{target} cannot be read") from error
            with _kept_alive(holder, alive):
                yield source

    @property
    def locks(self) -> sql.Composed:
        """The statement by which a session locks the tables before it reads.

        A session that asked for a lock later would wait behind an ALTER TABLE, which waits for us.
        """
        names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(*name)) for name in self._locked)
        return sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names)

    @property
    def settings(self) -> Mapping[str, str]:
        """The settings of a session that reads rows for the copy."""
        return {**PINNED, **_limits(self._statement_timeout, LOCK_TIMEOUT)}

    @contextlib.contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        """Connect once more, in the same snapshot; the connection is closed afterwards."""
        connection = self.connect()
        try:
            yield connection
        finally:
            connection.close()

    def connect(self) -> psycopg.Connection[Any]:
        """Connect once more, in the same snapshot. Its one transaction is read only, and ends with the connection.

        Raises:
            DatabaseError: the snapshot is not there: it ended, or the address leads to several servers.
        """
        connection = server.connect(self.target, application="seedtool refresh")
        try:
            _set_session(connection, self._statement_timeout, LOCK_TIMEOUT)
            join = sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(self.snapshot))
            try:
                connection.execute(join)
                if self._locked:
                    connection.execute(self.locks)
            except psycopg.Error as error:
                raise self.not_joined(error.sqlstate, reason(error)) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def not_joined(self, code: str | None, words: str) -> DatabaseError:
        """Return why a session could not join the snapshot.

        Args:
            code: the SQLSTATE.
            words: the server's sentence.
        """
        if code == "55P03":
            return BlockedError(
                f"a table of {self.target} is being altered by another session",
                remedy="Start again when that migration is over.",
                code=code,
            )
        if self.is_alive():
            return DatabaseError(
                f"{self.target}: the snapshot is not there for a second session ({words}): the address leads to several"
                " servers",
                remedy="Name one server: the writer's endpoint or one reader's own, not one that spreads connections"
                " over readers (a reader endpoint, load_balance_hosts, HAProxy).",
                code=code,
            )
        return self.lost(code)

    def lost(self, code: str | None = None) -> DatabaseError:
        """Return the error that tells that the snapshot is gone."""
        if self.standby:
            return DatabaseError(
                f"{self.target} is a hot standby, and ended the snapshot or the connection",
                remedy="A standby ends snapshots that hold up what its primary sends: rows that were removed, locks."
                " Set hot_standby_feedback = on and a longer max_standby_streaming_delay there, or copy from the"
                f" primary. {START_AGAIN}",
                code=code,
            )
        return DatabaseError(f"the connection to {self.target} was lost", remedy=START_AGAIN, code=code)

    @contextlib.contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Raise what psycopg raises inside as an error of ours.

        Args:
            what: what cannot be done then, in words.

        Raises:
            DatabaseError: the snapshot is gone, or a statement failed.
        """
        try:
            yield
        except psycopg.OperationalError as error:
            if self.holder.closed or is_lost(error.sqlstate):
                raise self.lost(error.sqlstate) from error
            raise translate(error, what) from error
        except psycopg.Error as error:
            raise translate(error, what) from error

    def is_alive(self) -> bool:
        """Tell whether the session that holds the snapshot is still there."""
        try:
            self.holder.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True


def is_lost(code: str | None) -> bool:
    """Tell whether an error ended the session that reads, or its snapshot.

    Args:
        code: the SQLSTATE; None where the connection broke. 40 is a standby's conflict with what its primary sends.
    """
    return (code or "08")[:2] in {"08", "40", "57"} and code != "57014"


def kept_alive(target: Target) -> Target:
    """Return a target whose connections notice when the other end is gone, unless its address says how they do.

    Args:
        target: the source, or the target, on whose server a lock is held while the rows are copied.
    """
    given = conninfo_to_dict(target.conninfo)
    added = {key: value for key, value in KEEPALIVE.items() if key not in given}
    return msgspec.structs.replace(target, conninfo=make_conninfo(target.conninfo, **added))


@contextlib.contextmanager
def _connected(target: Target) -> Iterator[psycopg.Connection[Any]]:
    connection = server.connect(target, application="seedtool refresh", autocommit=True)
    try:
        yield connection
    finally:
        connection.close()


def _limits(statement_timeout: float, lock_timeout: float) -> dict[str, str]:
    return {
        "statement_timeout": f"{statement_timeout * 1000:.0f}",
        "lock_timeout": f"{lock_timeout * 1000:.0f}",
        "idle_in_transaction_session_timeout": "0",
        "default_transaction_read_only": "on",
    }


def _set_session(connection: psycopg.Connection[Any], statement_timeout: float, lock_timeout: float) -> None:
    """Set the session's settings; search_path stays, so that a condition of the user finds its tables."""
    settings = PLAIN_TEXT | EVERY_ROW | _limits(statement_timeout, lock_timeout)
    version = connection.info.server_version
    settings |= {"idle_session_timeout": "0"} if version >= 140000 else {}
    settings |= {"transaction_timeout": "0"} if version >= 170000 else {}
    autocommit = connection.autocommit
    connection.autocommit = True
    for name, value in settings.items():
        connection.execute("SELECT set_config(%s, %s, false)", [name, value])
    connection.autocommit = autocommit
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True


def _export(target: Target, holder: psycopg.Connection[Any]) -> tuple[str, list[tuple[str, str]]]:
    """Lock every table and export a snapshot that is not older than the locks: rewritten tables look empty to an older.

    See "Caveats" of PostgreSQL's chapter on concurrency control: TRUNCATE and rewriting forms of ALTER TABLE are not
    MVCC-safe.
    """
    for _ in range(_ATTEMPTS):
        before = _lockable(holder)
        holder.autocommit = False
        try:
            if before:
                names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(*name)) for name in before)
                holder.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            pass  # dropped meanwhile
        except psycopg.errors.LockNotAvailable as error:
            raise BlockedError(
                f"a table of {target} is being altered by another session",
                remedy="Start again when that migration is over.",
                code=error.sqlstate,
            ) from error
        else:
            row = holder.execute("SELECT pg_export_snapshot()").fetchone()
            if row is not None and _lockable(holder) == before:
                return str(row[0]), before
        holder.rollback()
        holder.autocommit = True
    raise BlockedError(
        f"tables of {target} are made and dropped all the time: no snapshot could be taken",
        remedy="Start again when the migration is over.",
    )


def _lockable(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    rows = connection.execute(
        "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'"
        " AND n.nspname <> 'information_schema' AND has_table_privilege(c.oid, 'SELECT')"
        " AND has_schema_privilege(n.oid, 'USAGE') ORDER BY 1, 2"
    )
    return [(schema, name) for schema, name in rows]


@contextlib.contextmanager
def _kept_alive(holder: psycopg.Connection[Any], every: float) -> Iterator[None]:
    """Let the session that holds the snapshot say something from time to time."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(every):
            try:
                holder.execute("SELECT 1")
            except psycopg.Error:
                return  # the next session that joins finds out

    thread = threading.Thread(target=run, name="seedtool-snapshot-alive", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=5)


def _read_relations(connection: psycopg.Connection[Any]) -> dict[int, Relation]:
    rows = connection.execute(_RELATIONS).fetchall()
    names = (
        "oid",
        "pages",
        "bytes",
        "rows",
        "heap",
        "extension",
        "binary",
        "partition_key",
        "readable",
        "through",
        "vectors",
    )
    return {
        row[0]: msgspec.convert(dict(zip(names, row, strict=True)), Relation)
        for row in rows
    }  # fmt: skip


# Types of the user have another oid in another database, and arrays, composites and multiranges send the oids of their
# parts. A reg... type sends an oid, money depends on the locale's digits, and xml may declare an encoding. So what is
# sent in binary is built in and has both functions (`typsend`, `typreceive`), down to elements and bounds; or it is an
# enum, which sends its label, or a domain over such a type.
#
# The columns of a partition key's expression depend on their own table, not the other way round (StorePartitionKey in
# heap.c: "reverse the self-deps").
_RELATIONS = r"""
WITH RECURSIVE types AS (
    SELECT t.oid, t.typtype,
           t.typsend <> 0 AND t.typreceive <> 0 AND NOT (t.typname ~ '^reg' AND t.oid < 16384)
             AND t.typname NOT IN ('money', 'xml', 'refcursor', '_money', '_xml', '_refcursor')
             AND (t.typtype IN ('e', 'd') OR t.typtype IN ('b', 'r') AND (t.oid < 16384 OR t.typtype = 'r'))
             AS fits,
           CASE WHEN t.typtype = 'd' THEN t.typbasetype
                WHEN t.typtype = 'r' THEN (SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid)
                ELSE t.typelem END AS part
    FROM pg_type t
), walk AS (
    SELECT t.oid AS root, t.oid, t.fits, t.part FROM types t
    UNION
    SELECT w.root, t.oid, t.fits, t.part FROM walk w JOIN types t ON t.oid = w.part
), binary_types AS (
    SELECT root AS oid FROM walk GROUP BY root HAVING bool_and(fits)
), roots AS (
    SELECT c.oid, p.partrelid, p.partattrs FROM pg_class c
    JOIN LATERAL (SELECT relid::oid AS oid FROM pg_partition_ancestors(c.oid) UNION SELECT c.oid) AS above ON true
    JOIN pg_partitioned_table p ON p.partrelid = above.oid
), partition_keys AS (
    SELECT r.oid, array_agg(DISTINCT a.attname::text) AS columns
    FROM roots r JOIN pg_attribute a ON a.attrelid = r.partrelid
    WHERE a.attnum = ANY (r.partattrs::int2[])
       OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = r.partrelid
                  AND d.objsubid = a.attnum AND d.refclassid = 'pg_class'::regclass
                  AND d.refobjid = r.partrelid AND d.refobjsubid = 0 AND d.deptype = 'i'
                  AND 0 = ANY (r.partattrs::int2[]))
    GROUP BY r.oid
)
SELECT c.oid::int8, (pg_relation_size(c.oid) / current_setting('block_size')::int)::int8, pg_table_size(c.oid)::int8,
       greatest(c.reltuples, 0)::int8,
       c.relkind = 'r' AND coalesce((SELECT amname FROM pg_am WHERE oid = c.relam), 'heap') = 'heap',
       (SELECT e.extname::text FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'),
       ARRAY(SELECT a.attname::text FROM pg_attribute a JOIN binary_types b ON b.oid = a.atttypid
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       coalesce(k.columns, '{}'),
       has_table_privilege(c.oid, 'SELECT'),
       (SELECT p.partrelid::int8
        FROM pg_partition_ancestors(c.oid) WITH ORDINALITY AS above (relid, number)
        JOIN pg_partitioned_table p ON p.partrelid = above.relid
        WHERE p.partstrat = 'h'
          AND (0 = ANY (p.partattrs::int2[])
               OR EXISTS (SELECT FROM pg_attribute a JOIN types t ON t.oid = a.atttypid
                          WHERE a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs::int2[])
                            AND (t.oid >= 16384 OR t.part >= 16384)))
        ORDER BY above.number DESC LIMIT 1),
       coalesce((SELECT jsonb_object_agg(split_part(encode(t.tgargs, 'escape'), '\000', 1), t.tgname)
                 FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
                 WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
                   AND f.pronamespace = 'pg_catalog'::regnamespace
                   AND f.proname IN ('tsvector_update_trigger', 'tsvector_update_trigger_column')), '{}')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN partition_keys k ON k.oid = c.oid
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema'
"""
