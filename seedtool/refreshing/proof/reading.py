"""Rows of a table as blocks of COPY's text form."""

import contextlib
import queue
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn

from seedtool.postgres.catalog import Table, ValueType

Block = TypeVar("Block")

#: So many bytes are looked at together.
BLOCK = 1 << 20
#: A longer cell is looked at in pieces of this size, each of which begins with the end of the one before. Both sizes
#: are multiples of four: base64 and hexadecimal digits stay what they are.
_PIECE, _OVERLAP = 1 << 20, 1 << 12
#: So many blocks are read ahead.
_AHEAD = 3
#: Seconds after which a thread that waits for the server looks whether it is still wanted.
_PATIENCE = 0.5
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
    only = sql.SQL("") if table.kind == "materialized view" else sql.SQL("ONLY ")
    query = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT").format(sql.SQL(", ").join(columns), only, table.identifier)
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


def without_huge(block: bytes, columns: int) -> tuple[bytes, Iterator[tuple[int, bytes]]]:
    """Take the cells out of a block that are too long to be looked at whole.

    Args:
        block: whole rows.
        columns: how many columns each has.

    Returns:
        The block with empty cells in their place; and the pieces of each as blocks of one cell, with its column.
    """
    if len(block) <= 3 * BLOCK:
        return block, iter(())
    cells = block[:-1].replace(b"\n", b"\t").split(b"\t")
    huge = {at: each for at, each in enumerate(cells) if len(each) > _PIECE}
    for at in huge:
        cells[at] = b""
    rows = (b"\t".join(cells[at : at + columns]) + b"\n" for at in range(0, len(cells), columns))
    return b"".join(rows), _pieces(huge, columns)


def _pieces(huge: dict[int, bytes], columns: int) -> Iterator[tuple[int, bytes]]:
    for at, cell in huge.items():
        for begin in range(0, len(cell), _PIECE - _OVERLAP):
            piece = cell[begin : begin + _PIECE].rstrip(b"\\")
            # bytea is written as hexadecimal digits after a sign, of an odd length in COPY's text form
            if begin and cell.startswith(b"\\\\x"):
                piece = b"\\\\x" + cell[begin - 1 : begin + _PIECE - 1]
            yield at % columns, piece + b"\n"


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
