"""Rows in and out of the database by COPY, in the server's own text form."""

import contextlib
import itertools
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

#: The settings that a value's text depends on. With these, the same rows have the same text on every machine and in
#: every session. A date that could be read in two ways is an error, and a time without an offset is in UTC.
PLAIN_TEXT = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "xmloption": "content",
    # legacy applications have a backslash mean something in our SQL, and names in quotes that need none
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
}

#: kilobytes; PostgreSQL's own default is 4 MB
_WORK_MEM = 64 * 1024
#: so many rows of a csv are sent at once
_ROWS_A_PIECE = 500

#: Bytes on their way to a server on this machine. Linux gives a Unix socket 208 kB, which is less than a block of
#: generated rows: the server would wait while the next block is made. It gives at most `net.core.wmem_max`.
_ON_THE_WAY = 2 * 1024 * 1024

#: Row-level security hides rows without a word. With this, PostgreSQL refuses to read or write a table of which this
#: role would see a part (https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-ROW-SECURITY).
EVERY_ROW = {"row_security": "off"}


def see_every_row(connection: psycopg.Connection[Any]) -> None:
    """Let PostgreSQL refuse tables of which row-level security hides rows, until the transaction ends."""
    connection.execute("SET LOCAL row_security = off")


def send_while_making(connection: psycopg.Connection[Any]) -> None:
    """Let the server work on rows of a COPY while the next ones are made.

    Args:
        connection: within the COPY.
    """
    connection.pgconn.nonblocking = 0  # else libpq takes all there is into its memory
    # over TCP the kernel widens the buffer by itself, and would no longer if it were set
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as sent:
        if sent.family == socket.AF_UNIX:
            sent.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ON_THE_WAY)


def fix_text_form(cursor: psycopg.Cursor[tuple[Any, ...]]) -> dict[str, str]:
    """Set the form in which values are read and written as text, and see every row, until the transaction ends.

    Returns:
        The settings as they were.
    """
    names = [*PLAIN_TEXT, *EVERY_ROW]
    before = cursor.execute(
        "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS s (name)", [names]
    ).fetchall()
    set_locally(cursor, PLAIN_TEXT | EVERY_ROW)
    return dict(before)


def set_locally(cursor: psycopg.Cursor[Any], settings: Mapping[str, str]) -> None:
    """Set the session's settings until the transaction ends."""
    assignments = [
        sql.SQL("set_config({}, {}, true)").format(sql.Literal(name), sql.Literal(value))
        for name, value in settings.items()
    ]
    cursor.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(assignments)))


def raise_memory(cursor: psycopg.Cursor[tuple[Any, ...]]) -> str:
    """Let a statement sort and join 300,000 rows in the server's memory, until the transaction ends.

    Returns:
        The setting as it was.
    """
    found = cursor.execute(
        "SELECT current_setting(name), set_config(name, greatest(setting::int, %s)::text, true)"
        " FROM pg_settings WHERE name = 'work_mem'",
        [_WORK_MEM],
    ).fetchone()
    return str(found[0]) if found else ""


def copy_in(
    cursor: psycopg.Cursor[Any],
    table: sql.Composable,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
) -> None:
    """Write rows into a table; None is NULL, every other value is given as its text.

    Args:
        cursor: inside a transaction.
        table: the table's identifier.
        columns: the columns that the rows' values are for.
        rows: one sequence of values a row.

    Raises:
        psycopg.Error: a value is not one of its column's type; the transaction is then to be rolled back.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(table, sql.SQL(", ").join(map(sql.Identifier, columns)))
    with cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def copy_csv_in(
    cursor: psycopg.Cursor[Any], table: sql.Composable, columns: Sequence[str], delimiter: str, rows: Iterable[str]
) -> int:
    """Write rows that are texts of separated cells into a table, as COPY reads a CSV without a header.

    Args:
        cursor: inside a transaction.
        table: the table's identifier.
        columns: the columns that the cells are for.
        delimiter: what separates the cells.
        rows: one text a row, without the end of its line.

    Returns:
        How many rows were written.

    Raises:
        psycopg.Error: a value is not one of its column's type; the transaction is then to be rolled back.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, DELIMITER {})").format(
        table, sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Literal(delimiter)
    )
    rows = iter(rows)
    with cursor.copy(statement) as copy:
        while piece := list(itertools.islice(rows, _ROWS_A_PIECE)):
            copy.write("\n".join([*piece, ""]))
    return cursor.rowcount


def copy_out(cursor: psycopg.Cursor[Any], query: sql.Composable) -> Iterator[tuple[str | None, ...]]:
    """Yield the rows of a query, every value as its text and NULL as None."""
    with cursor.copy(sql.SQL("COPY ({}) TO STDOUT").format(query)) as copy:
        yield from copy.rows()
