"""Rows of a table as blocks of COPY's text form."""

import binascii
import contextlib
import queue
import select
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import sql
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn

from seedtool.postgres.catalog import Table, ValueType

Block = TypeVar("Block")

#: So many bytes are looked at together.
BLOCK = 1 << 20
#: A longer cell is read in pieces of this size, each of which begins with the end of the one before. Both sizes are
#: multiples of four: base64 and hexadecimal digits stay what they are.
_PIECE, _OVERLAP = 1 << 20, 1 << 12
#: So many blocks are read ahead.
_AHEAD = 3
#: Seconds after which a thread that waits for the server looks whether it is still wanted.
_PATIENCE = 0.5
#: Types whose length as a text the server knows without reading a value.
_PLAIN = frozenset({"text", "varchar", "xml", "citext"})
#: Types no value of which can hold a name, an address, an id or a number of seven digits.
_EMPTY = frozenset(
    [
        "bool",
        "int2",
        "float4",
        "date",
        "time",
        "timetz",
        "timestamp",
        "timestamptz",
        "interval",
        "char",
        "bit",
        "varbit",
        "point",
        "line",
        "lseg",
        "box",
        "path",
        "polygon",
        "circle",
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
        "pg_lsn",
        "tid",
        "xid",
        "xid8",
        "cid",
        "vector",
        "halfvec",
        "sparsevec",
        "cube",
        "seg",
        "geometry",
        "geography",
    ]
)


def can_hold(value: ValueType, labels: Sequence[str] = ()) -> bool:
    """Tell whether a column's values can hold something of a person; enums and dates hold none by themselves."""
    if value.kind == "composite":
        return any(can_hold(part) for part in value.attributes.values())
    if value.part is not None:
        return can_hold(value.part)
    return value.name not in _EMPTY and not labels


def blocks(
    connection: psycopg.Connection[Any],
    table: Table,
    columns: Sequence[sql.Composable],
    prepared: Callable[[bytes], Block],
) -> Iterator[Block]:
    """Yield the rows of a table, without those of its partitions and children, in blocks of about 1 MB.

    Args:
        connection: with the form of texts that `fix_text_form` sets.
        table: an ordinary table, a partition, or a materialized view.
        columns: what is read of each row: at least one.
        prepared: what becomes of a block before it is yielded, in the thread that reads ahead.
    """
    query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(sql.SQL(", ").join(columns), _rows_of(table))
    yield from _copied(connection, query, prepared)


def _copied(
    connection: psycopg.Connection[Any], query: sql.Composed, prepared: Callable[[bytes], Block]
) -> Iterator[Block]:
    """Yield what a COPY sends, in blocks of whole rows."""
    # the server goes on while a block is looked at: a thread reads ahead, and waits without holding the others up
    ready: queue.Queue[Block | Exception | None] = queue.Queue(maxsize=_AHEAD)
    stopped = threading.Event()

    def put(block: Block | Exception | None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(block, timeout=0.2)
                return

    def read() -> None:
        try:
            for block in _received(connection, query, stopped):
                put(prepared(block))
            put(None)
        except Exception as error:  # noqa: BLE001 - it is raised where the blocks are used
            put(error)

    thread = threading.Thread(target=read, name="proof", daemon=True)
    thread.start()
    try:
        while (block := ready.get()) is not None:
            if isinstance(block, Exception):
                raise block
            yield block
    finally:
        stopped.set()
        thread.join()


def long_cells(
    connection: psycopg.Connection[Any], table: Table, columns: Mapping[str, ValueType]
) -> dict[str, sql.Composable]:
    """Return the columns in which cells are too long to be read with their rows, and the condition that tells which.

    Hardly any cell is read for this. A table whose long values take little room has none: of lz4 and pglz the former
    packs better, and 255 bytes into one at most.

    Args:
        connection: as `blocks` has it.
        table: as `blocks` has it.
        columns: what is read of each row.
    """
    rows = connection.execute(
        "SELECT attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE c.oid = %s AND reltoastrelid <> 0"
        " AND pg_relation_size(reltoastrelid) > %s AND attlen = -1 AND attstorage <> 'p' AND attname = ANY(%s)",
        [table.oid, _PIECE // 256, list(columns)],
    )
    likely = [name for (name,) in rows]
    if not likely:
        return {}
    # all cells of a row together are no longer than about two pieces
    most = max(_PIECE // 16, _PIECE // len(likely))
    conditions = {name: _is_long(name, columns[name], most) for name in likely}
    found = connection.execute(
        sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join(sql.SQL("bool_or({})").format(each) for each in conditions.values()), _rows_of(table)
        )
    ).fetchone()
    return {name: each for (name, each), long in zip(conditions.items(), found or (), strict=False) if long}


def _is_long(name: str, value: ValueType, most: int) -> sql.Composable:
    """Return a condition that a cell is longer than so many bytes; only of few cells more than the length is read."""
    form: LiteralString
    if value.name == "bytea":
        form, most = "octet_length({0}) > {1}", most // 2  # it is written as hexadecimal digits
    elif value.name in _PLAIN:
        form = "octet_length({0}::text) > {1}"
    else:
        form = "CASE WHEN pg_column_size({0}) > {1} / 64 THEN octet_length({0}::text) > {1} ELSE false END"
    return sql.SQL(form).format(sql.Identifier(name), sql.Literal(most))


def pieces(
    connection: psycopg.Connection[Any],
    table: Table,
    cells: Mapping[str, sql.Composable],
    columns: Mapping[str, ValueType],
    prepared: Callable[[bytes], Block],
) -> Iterator[tuple[str, Block]]:
    """Yield the cells that are too long, in pieces: the column, and one piece or some as a block of one column.

    Args:
        connection: as `blocks` has it.
        table: as `blocks` has it.
        cells: the columns that have such cells, and which these are.
        columns: the types of the columns.
        prepared: as `blocks` has it.
    """
    for name, condition in cells.items():
        column, raw = sql.Identifier(name), columns[name].name == "bytea"
        # a byte is added so that the server unpacks the cell once, and not for each of its pieces
        whole = sql.SQL("{} || ''::bytea" if raw else "convert_to({}::text, 'UTF8')").format(column)
        query = sql.SQL(
            "COPY (SELECT substr(cell, place, {}) FROM (SELECT {} FROM {} WHERE {} OFFSET 0) long (cell),"
            " generate_series(1, octet_length(cell), {}) place) TO STDOUT"
        ).format(sql.Literal(_PIECE), whole, _rows_of(table), condition, sql.Literal(_PIECE - _OVERLAP))

        def ready(block: bytes, raw: bool = raw) -> Block:
            return prepared(block if raw else _as_text(block))

        for each in _copied(connection, query, ready):
            yield name, each


def _as_text(block: bytes) -> bytes:
    """Return pieces of texts, which the server wrote as bytes, as the cells of one column."""
    lines = []
    for line in block.splitlines():
        text = binascii.unhexlify(line[3:]).replace(b"\\", b"\\\\")  # after a sign: \\x
        lines.append(text.replace(b"\n", b"\\n").replace(b"\r", b"\\r").replace(b"\t", b"\\t") + b"\n")
    return b"".join(lines)


def _rows_of(table: Table) -> sql.Composable:
    """Return the table in a statement that reads its rows, without those of its partitions and children."""
    return table.identifier if table.kind == "materialized view" else sql.SQL("ONLY {}").format(table.identifier)


def _received(connection: psycopg.Connection[Any], query: sql.Composed, stopped: threading.Event) -> Iterator[bytes]:
    """Yield what the server sends, in blocks of whole rows.

    psycopg's own loop over the rows of a COPY takes 2 microseconds a row; this one takes 0.5.
    """
    pgconn = connection.pgconn
    result = pgconn.exec_(query.as_bytes(connection))
    if result.status != ExecStatus.COPY_OUT:
        raise error_from_result(result)
    gathered: list[memoryview] = []
    get, add = pgconn.get_copy_data, gathered.append
    size = 0
    while True:
        length, data = get(1)  # one row, where one has arrived
        if length > 0:
            add(data)
            size += length
            if size < BLOCK:
                continue
            yield b"".join(gathered)
            gathered.clear()
            size = 0
        if length < 0 or stopped.is_set():
            break
        if not length:
            select.select([pgconn.socket], [], [], _PATIENCE)
            pgconn.consume_input()
    if length < 0:
        _ended(pgconn)
        if gathered:
            yield b"".join(gathered)


def _ended(pgconn: PGconn) -> None:
    """Hear how a COPY ended."""
    while ended := pgconn.get_result():
        if ended.status not in {ExecStatus.COMMAND_OK, ExecStatus.COPY_OUT}:
            raise error_from_result(ended)
