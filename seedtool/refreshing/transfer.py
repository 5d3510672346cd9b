"""The copy: rows streamed from the source's COPY to the target's, several streams at once, no file in between.

A table without a mask passes as raw blocks, in binary where every value means the same in another database. Of a table
with masks, the text is read in blocks of about 1 MB, and the cells of the masked columns are replaced before the target
sees the block. So raw values of masked columns are in this process's memory alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import re
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import DatabaseError, SchemaError, SeedtoolError
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.postgres.psycopg_errors import translated
from seedtool.refreshing import streams
from seedtool.refreshing.blocks import MaskFailed, Rewriter
from seedtool.refreshing.masks import refused
from seedtool.refreshing.source import PINNED, START_AGAIN, is_lost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from seedtool.postgres.catalog import Column, Table
    from seedtool.postgres.server import Target
    from seedtool.refreshing.blocks import Mask
    from seedtool.refreshing.source import Source
    from seedtool.refreshing.subset import Places

#: How many tables, or parts of tables, are copied at once.
STREAMS = 2
#: Bytes that are masked and sent at once. Measured: blocks of 1 MB beat 4 MB.
BLOCK = 2**20
#: A table larger than this (bytes) is read in ranges of pages of about this size, by several streams.
PART = 64 * 2**20
#: How many rows a statement names by their places.
PLACES = 20_000
#: How often a part is begun anew after its connection was lost.
ATTEMPTS = 3
#: How long to wait until the target has given up what a lost connection wrote (seconds).
_UNDONE = 30.0
_WAITING_BLOCKS = 2
_FEW_CORES = 2
#: A smaller table (bytes) is written before a new file for it is made.
_WORTH_FREEZING = 2**20


class TableCopy(msgspec.Struct, frozen=True, kw_only=True):
    """What is copied of a table.

    Args:
        table: the table, in the source's catalog; one that holds rows itself.
        masks: the mask of each masked column; what has none passes as it is.
        subjects: the column that holds a masked column's subject, where its mask needs one.
        left_out: columns that are not copied; their default is taken.
        places: the rows that are copied, as the subset knows them; None for all.
        triggers: triggers that compute columns which are left out: they fire while rows are written. The server's own
            `tsvector_update_trigger` always does, for a tsvector is computed anew from masked words.
    """

    table: Table
    masks: Mapping[str, Mask] = {}
    subjects: Mapping[str, str] = {}
    left_out: frozenset[str] = frozenset()
    places: Places | None = None
    triggers: frozenset[str] = frozenset()


class TableCopied(msgspec.Struct, frozen=True, kw_only=True):
    """What was copied of a table.

    Args:
        schema: the table's schema.
        name: its name.
        rows: how many rows were written.
        bytes: how many bytes were read from the source.
        seconds: the time of its streams, added up.
        how: `masked`, or how it passed: `text` or `binary`.
    """

    schema: str
    name: str
    rows: int
    bytes: int
    seconds: float
    how: str


class _Part(NamedTuple):
    """A statement's worth of one table."""

    copy: TableCopy
    columns: tuple[str, ...]
    query: str
    into: Table
    binary: bool
    size: int
    whole: bool = False


class _Lost(Exception):
    """A connection was lost while a part was copied.

    Args:
        error: what to raise if the part cannot be begun anew.
    """

    def __init__(self, error: DatabaseError) -> None:
        super().__init__(error.message)
        self.error = error


class _Ends:
    """The two connections of a stream, and the transaction that writes.

    Attributes:
        reading: of asyncpg, in the snapshot; None before it is made.
        writing: of asyncpg; None before it is made.
        transaction: the id of the last transaction that wrote, and how many rows it took.
        told: how many bytes of the part were told to the listener.
    """

    def __init__(self) -> None:
        self.reading: Any = None
        self.writing: Any = None
        self.transaction: tuple[str, int] | None = None
        self.told = 0

    def terminate(self) -> None:
        """Close both without a word."""
        for each in (self.reading, self.writing):
            if each is not None:
                each.terminate()
        self.reading = self.writing = None


def copy(
    source: Source,
    target: Target,
    tables: Sequence[TableCopy],
    *,
    streams_at_once: int = STREAMS,
    listener: Listener = SILENT,
) -> list[TableCopied]:
    """Copy rows into a database that has the schema, but neither keys nor triggers yet.

    Each part is one transaction. Where a connection is lost in the middle of one, and the sessions that hold the
    snapshot and watch the target are still there, the part is begun anew.

    Args:
        source: the source, in its snapshot.
        target: the database; nobody else uses it.
        tables: what is copied. Of a partitioned table, its partitions are named.
        streams_at_once: how many tables or parts of tables are copied at once.
        listener: hears how many bytes are done.

    Returns:
        What was copied of each table, in the order given.

    Raises:
        DatabaseError: the source was lost, or the target took not every row as it came. The target is of no use then.
        SchemaError: a table cannot be copied.
        SettingsError: asyncpg is missing, or cannot reach a server in the way that was asked for.
    """
    asyncpg = streams.require()
    for each in tables:
        _refuse(source, each)
    with server.connect(target, application="seedtool refresh", autocommit=True) as watching:
        with source.reading(f"{source.target} cannot be read"):
            given = (streams.parameters(source.holder), streams.parameters(watching))
            mark = _mark(watching)
        if watching.info.server_version >= 140000:
            watching.execute("SET idle_session_timeout = 0")
        split = _worth_splitting(streams_at_once, given)
        parts = sorted(_parts(source, tables, split=split), key=lambda part: -part.size)
        work = _Work(source, target, given, mark, watching, asyncpg, parts, listener)
        with _fired(source, target, tables):
            work.run(min(streams_at_once, len(parts)))
    return [work.copied(each) for each in tables]


def _refuse(source: Source, copied: TableCopy) -> None:
    table = copied.table
    if table.kind != "table" or table.partitioned:
        raise SchemaError(
            f"{table} holds no rows of its own", remedy="Name the tables or partitions that do.", table=str(table)
        )
    relation = source.relations[table.oid]
    moving = sorted(relation.partition_key & set(copied.masks))
    if moving:
        raise SchemaError(
            f"column {moving[0]} of {table} chooses the partition of a row, and a mask would change it",
            remedy="Keep it, or let the policy copy no rows of this table.",
            table=str(table),
            column=moving[0],
        )
    unknown = [
        name
        for name, column in table.columns.items()
        if column.value.name == "tsvector" and not column.generated and name not in copied.masks
        and name not in copied.left_out and name not in relation.vectors
    ]  # fmt: skip
    if unknown and copied.masks:
        raise SchemaError(
            f"column {unknown[0]} of {table} is a tsvector, and it is not known how to compute it from masked words",
            remedy="Let the policy leave it out (null), or name the trigger that computes it.",
            table=str(table),
            column=unknown[0],
        )
    names = {each.name for each in columns_of(source, copied)}
    for name, of in copied.subjects.items():
        if name in copied.masks and of not in names:
            raise SchemaError(
                f"column {name} of {table} is masked by its subject in {of}, which is not copied",
                remedy="Name a column that is copied.",
                table=str(table),
                column=name,
            )
    if not relation.readable:
        raise SchemaError(
            f"{table} may not be read by this role", remedy="GRANT SELECT on it, or copy no rows.", table=str(table)
        )


def columns_of(source: Source, copied: TableCopy) -> list[Column]:
    """Return the columns that are copied: neither generated ones, nor what a trigger computes, nor those left out."""
    computed = copied.left_out | _vectors(source, copied).keys() | _expressions(copied).keys()
    return [each for each in copied.table.columns.values() if not each.generated and each.name not in computed]


def _vectors(source: Source, copied: TableCopy) -> dict[str, str]:
    """Return the columns that hold a tsvector which the server's own trigger computes, and the triggers."""
    triggers = source.relations[copied.table.oid].vectors
    return {
        name: triggers[name]
        for name, column in copied.table.columns.items()
        if column.value.name == "tsvector" and name in triggers and name not in copied.masks
    }


def _expressions(copied: TableCopy) -> dict[str, str]:
    """Return the columns that are computed from the other columns of their row, and how."""
    found = {name: getattr(mask, "computed", None) for name, mask in copied.masks.items()}
    return {name: expression for name, expression in found.items() if expression is not None}


@contextlib.contextmanager
def _fired(source: Source, target: Target, tables: Sequence[TableCopy]) -> Iterator[None]:
    """Let those triggers fire while rows are written that compute columns; all others come after the rows."""
    statements: list[tuple[sql.Composable, sql.Composable]] = []
    for copied in tables:
        for name in sorted({*_vectors(source, copied).values(), *copied.triggers}):
            with source.reading(f"the triggers of {source.target} cannot be read"):
                row = source.holder.execute(_TRIGGER, [copied.table.oid, name]).fetchone()
            if row is None:
                raise SchemaError(f"{copied.table} has no trigger {name}", table=str(copied.table))
            drop = sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(name), copied.table.identifier)
            statements.append((sql.SQL(row[0]), drop))
        if expressions := _expressions(copied):
            statements.append(_computing(copied.table, expressions))
    if not statements:
        yield
        return
    with server.connect(target, autocommit=True) as connection, translated(f"{target}: a trigger cannot be made"):
        for making, _ in statements:
            connection.execute(sql.Composed([making]))
    yield  # after a failure the target is of no use
    with server.connect(target, autocommit=True) as connection, translated(f"{target}: a trigger cannot be dropped"):
        for _, dropping in statements:
            connection.execute(sql.Composed([dropping]))


def _computing(table: Table, expressions: Mapping[str, str]) -> tuple[sql.Composable, sql.Composable]:
    """Return the statements that make and drop a trigger which computes columns of a new row from its others."""
    function = sql.Identifier(table.schema, f"seedtool_compute_{table.oid}")
    body = sql.SQL("#variable_conflict use_column\nBEGIN {} RETURN NEW; END").format(
        sql.SQL(" ").join(
            sql.SQL("NEW.{} := (SELECT {} FROM (SELECT (NEW).*) AS t);").format(
                sql.Identifier(name), sql.SQL(expression)
            )
            for name, expression in expressions.items()
        )
    )
    create = sql.SQL(
        "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {body};"
        " CREATE TRIGGER seedtool_compute BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()"
    ).format(function=function, body=sql.Literal(body.as_string(None)), table=table.identifier)
    return create, sql.SQL("DROP FUNCTION {} CASCADE").format(function)


_TRIGGER = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s AND tgname = %s AND NOT tgisinternal"


def _worth_splitting(streams_at_once: int, given: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether one table is read by several streams.

    A table that one stream has to itself is written without a log where wal_level is minimal, and frozen. A stream
    keeps three processes busy: where both servers run here, on few cores, a second one only takes their turns.
    """
    here = all(str(each["host"]).startswith(("/", "@", "127.", "::1", "localhost")) for each in given)
    return streams_at_once > 1 and not (here and (os.cpu_count() or 1) <= _FEW_CORES)


def _parts(source: Source, tables: Sequence[TableCopy], *, split: bool) -> Iterator[_Part]:
    for copied in tables:
        table, relation = copied.table, source.relations[copied.table.oid]
        columns = tuple(each.name for each in columns_of(source, copied))
        into = source.catalog.tables[relation.through] if relation.through else table
        binary = bool(columns) and not copied.masks and relation.binary.issuperset(columns)
        listed = ", ".join(map(_quoted, columns))
        select = f"SELECT {listed} FROM ONLY {_quoted(table.schema)}.{_quoted(table.name)}"  # noqa: S608 - quoted
        if copied.places is not None:
            share = relation.bytes / max(relation.rows, 1)
            for texts in copied.places.texts(PLACES):
                where = f" WHERE ctid = ANY ('{{{','.join(texts)}}}'::tid[])"
                yield _Part(copied, columns, select + where, into, binary, int(share * len(texts)))
            continue
        count = max(1, min(relation.pages, round(relation.bytes / PART))) if relation.heap and split else 1
        if source.version < 140000:  # before, a range of ctid was no reason to read less
            count = 1
        bounds = [relation.pages * number // count for number in range(count)]
        for number, first in enumerate(bounds):
            conditions = []
            if first:
                conditions.append(f"ctid >= '({first},0)'::tid")
            if number + 1 < count:
                conditions.append(f"ctid < '({bounds[number + 1]},0)'::tid")
            where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
            whole = count == 1 and into is table
            yield _Part(copied, columns, select + where, into, binary, relation.bytes // count, whole)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class _Pipe:
    """Chunks of COPY gathered to blocks; a reader that is ahead of the writer waits.

    Args:
        tell: is called with the size of each block.
    """

    def __init__(self, tell: Callable[[int], None]) -> None:
        self.blocks: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=_WAITING_BLOCKS)
        self._tell = tell
        self._gathered: list[bytes] = []
        self._size = 0

    async def hear(self, chunk: bytes) -> None:
        """Take a chunk; asyncpg's are 52 kB on average."""
        self._gathered.append(chunk)
        self._size += len(chunk)
        if self._size >= BLOCK:
            await self._hand_over()

    async def close(self) -> None:
        """Hand over what is left, and say that it was all."""
        if self._gathered:
            await self._hand_over()
        await self.blocks.put(None)

    async def _hand_over(self) -> None:
        block = b"".join(self._gathered)
        self._gathered, self._size = [], 0
        self._tell(len(block))
        await self.blocks.put(block)


class _Work:
    """The streams of one copy, each a thread with an event loop of its own, and what they have done."""

    def __init__(
        self,
        source: Source,
        target: Target,
        given: tuple[Mapping[str, Any], Mapping[str, Any]],
        mark: tuple[Any, ...],
        watching: psycopg.Connection[Any],
        asyncpg: Any,  # noqa: ANN401 - asyncpg has no types of its own
        parts: Sequence[_Part],
        listener: Listener,
    ) -> None:
        self._source = source
        self._target = target
        self._given = given
        self._mark = mark
        self._watching = watching
        self._asyncpg = asyncpg
        self._parts: queue.SimpleQueue[_Part] = queue.SimpleQueue()
        for part in parts:
            self._parts.put(part)
        self._total = sum(part.size for part in parts)
        self._listener = listener
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._done = 0
        self._bytes: dict[int, int] = defaultdict(int)
        self._rows: dict[int, int] = defaultdict(int)
        self._seconds: dict[int, float] = defaultdict(float)
        self._how: dict[int, str] = {}

    def run(self, count: int) -> None:
        """Copy every part.

        Raises:
            DatabaseError: a stream failed. The others have stopped.
        """
        threads = [
            threading.Thread(target=self._thread, name=f"seedtool-copy-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():  # a join without a timeout would keep Ctrl+C waiting
                    thread.join(timeout=0.2)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(timeout=10)
        if self._errors:
            raise self._errors[0]

    def copied(self, copied: TableCopy) -> TableCopied:
        """Return what was copied of a table."""
        oid = copied.table.oid
        return TableCopied(
            schema=copied.table.schema, name=copied.table.name, rows=self._rows[oid], bytes=self._bytes[oid],
            seconds=self._seconds[oid], how=self._how.get(oid, "masked" if copied.masks else "text"),
        )  # fmt: skip

    def _thread(self) -> None:
        try:
            asyncio.run(self._stream())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            with self._lock:
                self._errors.append(error)
            self._stop.set()

    async def _stream(self) -> None:
        ends = _Ends()
        try:
            while not self._stop.is_set():
                try:
                    part = self._parts.get_nowait()
                except queue.Empty:
                    return
                started = time.monotonic()
                rows = await self._copied(part, ends)
                with self._lock:
                    oid = part.copy.table.oid
                    self._rows[oid] += rows
                    self._seconds[oid] += time.monotonic() - started
                    self._how[oid] = "masked" if part.copy.masks else "binary" if part.binary else "text"
        finally:
            ends.terminate()

    async def _copied(self, part: _Part, ends: _Ends) -> int:
        """Copy a part, and once more where a connection was lost on the way."""
        for attempt in range(1, ATTEMPTS + 1):
            if ends.writing is None:
                ends.reading = await self._read_session()
                ends.writing = await self._write_session()
            try:
                return await self._copy(part, ends)
            except _Lost as lost:
                ends.terminate()
                if attempt == ATTEMPTS or not self._source.is_alive():
                    raise lost.error from None
                written = self._written(ends)
                if written is None:
                    raise lost.error from None
                if written:
                    return written[0]
                self._tell(part.copy.table.oid, -ends.told)
                self._listener.note(f"{lost.error.message} while {part.copy.table} was copied: it is begun anew")
                await asyncio.sleep(attempt / 2)
        raise AssertionError

    def _written(self, ends: _Ends) -> tuple[int, ...] | None:
        """Return what became of a transaction whose connection was lost.

        Returns:
            The number of rows that it took, nothing where it took none, None where nobody knows. A server that had to
            recover may have forgotten transactions that it had said to be done; the session that watches is gone then.
        """
        if ends.transaction is None:
            return ()
        name, rows = ends.transaction
        deadline = time.monotonic() + _UNDONE
        try:
            while time.monotonic() < deadline:
                found = self._watching.execute(_STATUS, [name]).fetchone()
                if found != ("in progress",):
                    return (rows,) if found == ("committed",) else ()
                time.sleep(0.05)
        except psycopg.Error:
            pass
        return None

    async def _read_session(self) -> Any:  # noqa: ANN401 - asyncpg's
        source = self._source
        reading = await streams.connect(self._given[0], source.settings, str(source.target))
        try:
            await reading.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            await reading.execute(f"SET TRANSACTION SNAPSHOT '{source.snapshot}'")
            await reading.execute(source.locks.as_string(None))
        except self._asyncpg.PostgresError as error:
            reading.terminate()
            raise source.not_joined(error.sqlstate, "SQLSTATE " + str(error.sqlstate)) from None
        except (OSError, self._asyncpg.InterfaceError):
            reading.terminate()
            raise source.lost() from None
        return reading

    async def _write_session(self) -> Any:  # noqa: ANN401 - asyncpg's
        settings = {
            **PINNED,
            "statement_timeout": "0",
            "synchronous_commit": "off",
            "default_transaction_read_only": "off",
        }
        writing = await streams.connect(self._given[1], settings, str(self._target))
        for setting in ("log_min_messages", "log_min_error_statement"):  # a complaint quotes the value; superusers may
            with contextlib.suppress(self._asyncpg.InsufficientPrivilegeError):
                await writing.execute(f"SET {setting} = 'fatal'")
        found = tuple((await writing.fetchrow(_MARK)).values())
        if found != self._mark:
            writing.terminate()
            raise DatabaseError(
                f"the address of {self._target} leads to several servers", remedy="Name one server: the writer."
            )
        return writing

    async def _copy(self, part: _Part, ends: _Ends) -> int:
        """Copy one part, and return how many rows the target took; the source sent as many."""
        table, writing = part.copy.table, ends.writing
        ends.told = 0

        def tell(size: int) -> None:
            ends.told += size
            self._tell(table.oid, size)

        pipe = _Pipe(tell)
        options = {"format": "binary"} if part.binary else {}

        async def read() -> int:
            with self._translated(table, reading=True):
                status = await ends.reading.copy_from_query(part.query, output=pipe.hear, **options)
                await pipe.close()
            return _count(status)

        async def write() -> int:
            with self._translated(table, reading=False):
                ends.transaction = None
                await writing.execute("BEGIN")
                ends.transaction = (str(await writing.fetchval("SELECT pg_current_xact_id()::text")), 0)
                freeze = await _emptied(writing, part)
                status = await writing.copy_to_table(
                    part.into.name, schema_name=part.into.schema, columns=part.columns or None,
                    source=self._masked(part, pipe.blocks), **options, **freeze,
                )  # fmt: skip
            return _count(status)

        sent, taken = await _both(read(), write())
        if sent != taken:
            raise DatabaseError(f"{table}: the source sent {sent} rows, and the target took {taken}", table=str(table))
        ends.transaction = (ends.transaction[0], taken) if ends.transaction else None
        with self._translated(table, reading=False):
            await writing.execute("COMMIT")
        return taken

    async def _masked(self, part: _Part, blocks: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes | memoryview]:
        rewriter = None
        place = {name: number for number, name in enumerate(part.columns)}
        masks = {place[name]: mask for name, mask in part.copy.masks.items() if name in place}
        if masks:
            subjects = {place[name]: place[of] for name, of in part.copy.subjects.items() if place.get(name) in masks}
            rewriter = Rewriter(len(part.columns), masks, subjects)
        ready: bytes | memoryview = b""
        while (block := await blocks.get()) is not None:
            if self._stop.is_set():
                raise DatabaseError("the copy was stopped")
            if rewriter is None:
                yield block
                continue
            masking = asyncio.ensure_future(asyncio.to_thread(rewriter.feed, block))
            if ready:
                yield ready  # both servers go on while the next block is masked
            try:
                ready = await masking
            except MaskFailed as error:
                raise _not_masked(part, error) from None
        if ready:
            yield ready
        if rewriter is not None:
            rewriter.end()

    def _tell(self, oid: int, size: int) -> None:
        with self._lock:
            self._bytes[oid] += size
            self._done += size
            done = self._done
        self._listener.progress("bytes", done, max(done, self._total))

    @contextlib.contextmanager
    def _translated(self, table: Table, *, reading: bool) -> Iterator[None]:
        try:
            yield
        except (self._asyncpg.PostgresError, self._asyncpg.InterfaceError, OSError) as error:
            raise self._failed(error, table, reading=reading) from None

    def _failed(self, error: Exception, table: Table, *, reading: bool) -> DatabaseError | _Lost:
        """Return an error of ours with table, column and SQLSTATE alone: asyncpg's words quote values."""
        code = getattr(error, "sqlstate", None)
        where = self._source.target if reading else self._target
        if reading and is_lost(code):
            return _Lost(self._source.lost(code))
        if code is None or (code[:2] in {"08", "57"} and code != "57014"):
            return _Lost(DatabaseError(f"the connection to {where} was lost", remedy=START_AGAIN, code=code))
        column = getattr(error, "column_name", None) or _column_in(getattr(error, "context", None))
        constraint = getattr(error, "constraint_name", None)
        named = f", column {column}" if column else f", constraint {constraint}" if constraint else ""
        done = "read from" if reading else "written to"
        return DatabaseError(
            f"{table}{named}: a row cannot be {done} {where} (SQLSTATE {code})",
            remedy=_REMEDIES.get(code, "") if reading else _WRITE_REMEDIES.get(code[:2], ""),
            table=str(table),
            column=column,
            code=code,
        )


def _not_masked(part: _Part, failed: MaskFailed) -> SeedtoolError:
    """Return the error of a mask that failed, with its table and column."""
    table, column = str(part.copy.table), part.columns[failed.place]
    if failed.refusal is not None:
        return refused(failed.refusal, table, column)
    return DatabaseError(
        f"{table}, column {column}: its mask failed on a value ({failed.kind})",
        remedy="Give the column another mask, or correct the function that it calls.",
        table=table,
        column=column,
    )


_REMEDIES = {
    "42501": "GRANT SELECT on it, and let the role see every row (BYPASSRLS, where policies apply).",
    "57014": "The statement took longer than statement_timeout allows.",
    "22021": "A database with the encoding SQL_ASCII takes any bytes, and a value there is no UTF-8: correct it.",
}
_WRITE_REMEDIES = {
    "22": "The mask's values do not fit the column's type.",
    "23": "The mask's values do not meet the column's constraint.",
    "42": "A function that a check, a default or a computed column calls has to find its tables wherever it is called:"
    " write their schemas in it, or ALTER FUNCTION ... SET search_path.",
    "53": "Make room on the target's server (disk, memory or connections) and start again.",
}


async def _emptied(writing: Any, part: _Part) -> dict[str, bool]:  # noqa: ANN401 - asyncpg's
    """Empty a table that one stream has to itself, as pg_restore does, and return the options of its COPY.

    A table that was emptied in the transaction that fills it needs no log where wal_level is minimal. Its rows can be
    frozen at once: whoever reads them next, to build an index, has nothing to write.
    """
    if not part.whole or part.size < _WORTH_FREEZING:
        return {}
    await writing.execute(f"TRUNCATE ONLY {_quoted(part.into.schema)}.{_quoted(part.into.name)}")
    return {"freeze": True}


async def _both(reading: Any, writing: Any) -> tuple[int, int]:  # noqa: ANN401 - coroutines
    """Wait for both ends of a copy; where one fails, the other is stopped, and the first failure is raised."""
    tasks = [asyncio.ensure_future(reading), asyncio.ensure_future(writing)]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in waiting:
        task.cancel()
    if waiting:
        await asyncio.wait(waiting, timeout=5)
    for task in done:
        task.result()  # raises what it failed with
    return tasks[0].result(), tasks[1].result()


def _column_in(context: str | None) -> str | None:
    """Return the column that the context of an error names: `COPY people, line 3, column born: "..."`."""
    found = re.search(r"^COPY .*?, line \d+, column ([^:\n]+)(?::|$)", context or "", re.MULTILINE)
    return found[1] if found else None


def _count(status: str) -> int:
    """Return the number of rows in the tag of a COPY, such as `COPY 42`."""
    return int(status.rpartition(" ")[2])


# a transaction is in progress until its session has noticed that nobody is there
_STATUS = "SELECT pg_xact_status(%s::text::xid8)"
_MARK = (
    "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8, current_database()::text,"
    " inet_server_port(), pg_is_in_recovery(), (SELECT oid::int8 FROM pg_database WHERE datname = current_database())"
)


def _mark(connection: psycopg.Connection[Any]) -> tuple[Any, ...]:
    """Return what tells a server and its database from others."""
    return tuple(connection.execute(sql.SQL(_MARK)).fetchone() or ())
