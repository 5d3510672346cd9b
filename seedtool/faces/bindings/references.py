"""Further columns that hold FaceIds: no binding manages them, but what they name is in use."""

import difflib

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import SchemaError, SettingsError
from seedtool.faces.bindings.errors import database_errors
from seedtool.faces.bindings.places import COLUMNS
from seedtool.settings import Settings


class Reference(msgspec.Struct, frozen=True):
    """A column that holds FaceIds: its table and its name, both quoted."""

    table: sql.Identifier
    column: sql.Identifier


def references(connection: psycopg.Connection, settings: Settings) -> list[Reference]:
    """Return the columns that the setting `face_references` names, looked up.

    Args:
        connection: to the target, inside a transaction.
        settings: names them as `table.column` or `schema.table.column`.

    Raises:
        SettingsError: a name has no table.
        SchemaError: there is no such table or column.
    """
    return [_look_up(connection, name) for name in settings.face_references]


def _look_up(connection: psycopg.Connection, name: str) -> Reference:
    table, _, column = name.rpartition(".")
    if not table:
        raise SettingsError(
            f"setting face_references: {name!r} names no table", remedy='Write ["attendance.face_id"]: table.column.'
        )
    named = sql.Identifier(*table.split("."))
    with database_errors(table):
        found = connection.execute("SELECT to_regclass(%s)::oid", [named.as_string(connection)]).fetchone()
        if found is None or found[0] is None:
            raise SchemaError(
                f"setting face_references: the table {table} does not exist",
                remedy=f"Run seedtool migrate if it is new; else take {name} out of the setting.",
            )
        columns: dict[str, str] = dict(connection.execute(COLUMNS, [found[0]]).fetchall())
    if column not in columns:
        close = difflib.get_close_matches(column, columns, n=1)
        raise SchemaError(
            f"setting face_references: the table {table} has no column {column}",
            remedy=f"Did you mean {table}.{close[0]}?" if close else "Name the column that holds FaceIds.",
        )
    return Reference(named, sql.Identifier(column))
