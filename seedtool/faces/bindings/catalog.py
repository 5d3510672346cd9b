"""Looking a face binding up in the catalog."""

import difflib

import psycopg
from psycopg import sql

from seedtool.errors import SchemaError
from seedtool.faces.bindings.bound import Bound
from seedtool.faces.bindings.errors import database_errors
from seedtool.faces.bindings.places import COLUMNS, check_condition, find
from seedtool.settings import FaceBinding


def resolve(
    connection: psycopg.Connection, binding: FaceBinding, *, default: str | None = None, only: str | None = None
) -> Bound:
    """Look the binding up in the catalog.

    Args:
        connection: to the target.
        binding: the binding.
        default: the collection of rows that name none. What is in one collection altogether is in this one, whichever
            the binding names.
        only: of bindings whose rows name collections, the one whose rows count.

    Raises:
        SchemaError: the table, or one of the columns, does not exist, or a condition or query cannot be used.
    """
    table = sql.Identifier(*binding.table.split("."))
    with database_errors(binding.table):
        oid = connection.execute("SELECT to_regclass(%s)::oid", [table.as_string(connection)]).fetchone()
        if oid is None or oid[0] is None:
            raise SchemaError(
                f"the table {binding.table} does not exist (from [[tool.seedtool.faces]])",
                remedy="Run seedtool migrate or db-reset, or name the table that holds the face ids.",
            )
        columns: dict[str, str] = dict(connection.execute(COLUMNS, [oid[0]]).fetchall())
        wanted = [binding.face_id, binding.external_image_id, *binding.key]
        wanted += [binding.box] if binding.box is not None else []
        for column in dict.fromkeys(wanted):
            if column not in columns:
                close = difflib.get_close_matches(column, columns, n=1)
                raise SchemaError(
                    f"the table {binding.table} has no column {column} (from [[tool.seedtool.faces]])",
                    remedy=(f"Did you mean {close[0]}? " if close else "") + "Run seedtool migrate if it is new.",
                )
        if binding.box is not None and columns[binding.box] not in {"jsonb", "json"}:
            raise SchemaError(
                f"the column {binding.box} of {binding.table} is {columns[binding.box]}, not jsonb: it holds no boxes",
                remedy="A box is {Left, Top, Width, Height}, in fractions of the picture, as Rekognition gives it.",
            )
        check_condition(connection, binding, table)
        place = find(connection, binding, oid[0], columns, default)
        unique = connection.execute(_UNIQUE, [oid[0], binding.face_id]).fetchone()
        plain = connection.execute(_PLAIN, [oid[0]]).fetchone() is not None
        image = connection.execute(_UNIQUE_ALONE, [oid[0], binding.external_image_id]).fetchone()
        owner = connection.execute(_OWNER, [oid[0]]).fetchone()
    return Bound(
        binding=binding,
        table=table,
        columns=columns,
        plain=plain,
        unique_face=unique is not None,
        unique_image=plain and image is not None,
        owner=None if owner is None else (sql.Identifier(owner[0], owner[1]), owner[2]),
        place=place,
        collection=None if binding.collection_query is not None else default or binding.collection,
        only=only if binding.by_row else None,
    )


_UNIQUE = """
SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s AND i.indisunique AND a.attname = %s LIMIT 1"""

_UNIQUE_ALONE = """
SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = %s AND a.attname = %s AND i.indnkeyatts = 1 AND i.indisunique AND i.indimmediate AND i.indisvalid
    AND i.indpred IS NULL LIMIT 1"""

_PLAIN = "SELECT 1 FROM pg_class WHERE oid = %s AND relkind = 'r' AND NOT relhassubclass"

_OWNER = """
SELECT n.nspname, r.relname, f.attname
FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] AND a.attname = 'student_id'
JOIN pg_class r ON r.oid = c.confrelid
JOIN pg_namespace n ON n.oid = r.relnamespace
JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
WHERE c.contype = 'f' AND cardinality(c.conkey) = 1 AND c.conrelid = %s LIMIT 1"""
