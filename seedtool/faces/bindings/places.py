"""In which collection a row's face is: a constant, a column of the row or of one it refers to, or a query's answer."""

import difflib
from collections.abc import Mapping

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import SchemaError
from seedtool.settings import FaceBinding


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the collection of the row `t` is found.

    Args:
        collection: its id, as text; NULL for a row that is in none.
        joins: what has to be joined to `t` for that.
        parent: the table that names it, quoted, its column and key, and the table's column that refers to it; None
            unless it is another table's column.
    """

    collection: sql.Composable
    joins: sql.Composable = sql.SQL("")
    parent: tuple[sql.Identifier, str, str, str] | None = None


def key_name(number: int) -> sql.Identifier:
    """Return the name under which queries hand on the key's column of that number, counted from 1."""
    return sql.Identifier(f"key_{number}")


def find(
    connection: psycopg.Connection,
    binding: FaceBinding,
    oid: int,
    columns: Mapping[str, str],
    default: str | None,
) -> Place:
    """Look up where the collections of a binding's rows are found.

    Args:
        connection: to the target.
        binding: the binding.
        oid: its table.
        columns: the table's columns and their types.
        default: the setting `collection`.

    Raises:
        SchemaError: the column, or a foreign key that leads to it, does not exist, or the query cannot be used.
    """
    if binding.collection_query is not None:
        return _query(connection, binding, binding.collection_query)
    if binding.collection_column is not None:
        table, _, column = binding.collection_column.rpartition(".")
        if not table or _is(connection, table, oid):
            _check_column(binding, column, columns, binding.table)
            return Place(collection=_or_default(sql.Identifier("t", column), binding, default))
        return _parent(connection, binding, oid, table, column, default)
    return Place(collection=sql.SQL("{}::text").format(sql.Literal(default or binding.collection)))


def check_condition(connection: psycopg.Connection, binding: FaceBinding, table: sql.Identifier) -> None:
    """Try `where` on the table.

    Raises:
        SchemaError: the database does not understand it.
    """
    if binding.where is None:
        return
    _refuse_percent(binding, "where", binding.where)
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("SELECT FROM (SELECT * FROM {} WHERE ({}\n)) t LIMIT 0").format(table, sql.SQL(binding.where))
            )
    except (psycopg.ProgrammingError, psycopg.DataError) as error:
        raise _unfit(binding, "where", error) from error


def _or_default(column: sql.Composable, binding: FaceBinding, default: str | None) -> sql.Composed:
    unsaid = sql.Literal(binding.collection_default or "")
    found = sql.SQL("nullif(nullif({}::text, ''), {})").format(column, unsaid)
    return sql.SQL("coalesce({}, {}::text)").format(found, sql.Literal(default or binding.collection_default))


def _parent(
    connection: psycopg.Connection, binding: FaceBinding, oid: int, table: str, column: str, default: str | None
) -> Place:
    parent = sql.Identifier(*table.split("."))
    found = connection.execute("SELECT to_regclass(%s)::oid", [parent.as_string(connection)]).fetchone()
    if found is None or found[0] is None:
        raise SchemaError(
            f"collection_column of the face binding of {binding.table}: the table {table} does not exist",
            remedy="Run seedtool migrate or db-reset, or name the table that has the collection's id.",
        )
    keys = connection.execute(_KEYS, [oid, found[0]]).fetchall()
    if len(keys) != 1:
        fault = "no foreign key leads" if not keys else f"{len(keys)} foreign keys lead"
        raise SchemaError(
            f"collection_column of the face binding of {binding.table}: {fault} from {binding.table} to {table}",
            remedy="Say it with collection_query: SELECT the key and the collection's id, with the join that is meant.",
        )
    _check_column(binding, column, dict(connection.execute(COLUMNS, [found[0]]).fetchall()), table)
    from_column, to_column = keys[0]
    return Place(
        collection=_or_default(sql.Identifier("p", column), binding, default),
        joins=sql.SQL("LEFT JOIN {} p ON {} = {}").format(
            parent, sql.Identifier("p", to_column), sql.Identifier("t", from_column)
        ),
        parent=(parent, column, to_column, from_column),
    )


def _query(connection: psycopg.Connection, binding: FaceBinding, query: str) -> Place:
    _refuse_percent(binding, "collection_query", query)
    names = [key_name(number) for number in range(1, len(binding.key) + 1)]
    joins = sql.SQL("LEFT JOIN ({query}\n) AS q ({names}, collection_id) ON {same}").format(
        query=sql.SQL(query.strip().removesuffix(";")),
        names=sql.SQL(", ").join(names),
        same=sql.SQL(" AND ").join(
            sql.SQL("q.{} = {}").format(name, sql.Identifier("t", column))
            for name, column in zip(names, binding.key, strict=True)
        ),
    )
    table = sql.Identifier(*binding.table.split("."))
    try:
        with connection.transaction():
            connection.execute(sql.SQL("SELECT q.collection_id::text FROM {} t {} LIMIT 0").format(table, joins))
            # a row in two collections would be counted, and linked, twice
            twice = connection.execute(
                sql.SQL("SELECT 1 FROM ({query}\n) AS q ({names}, collection_id) GROUP BY {names} {several}").format(
                    query=sql.SQL(query.strip().removesuffix(";")),
                    names=sql.SQL(", ").join(names),
                    several=sql.SQL("HAVING count(*) > 1 LIMIT 1"),
                )
            ).fetchone()
    except (psycopg.ProgrammingError, psycopg.DataError) as error:
        raise _unfit(binding, "collection_query", error) from error
    if twice is not None:
        raise SchemaError(
            f"collection_query of the face binding of {binding.table} gives one row twice",
            remedy="A face is in one collection: let the query give each key once.",
        )
    return Place(collection=sql.SQL("nullif(q.collection_id::text, '')"), joins=joins)


def _is(connection: psycopg.Connection, table: str, oid: int) -> bool:
    name = sql.Identifier(*table.split(".")).as_string(connection)
    return connection.execute("SELECT to_regclass(%s)::oid = %s::oid", [name, oid]).fetchone() == (True,)


def _check_column(binding: FaceBinding, column: str, columns: Mapping[str, str], table: str) -> None:
    if column in columns:
        return
    close = difflib.get_close_matches(column, columns, n=1)
    raise SchemaError(
        f"collection_column of the face binding of {binding.table}: the table {table} has no column {column}",
        remedy=f"Did you mean {close[0]}?" if close else "Name the column that holds the collection's id.",
    )


def _refuse_percent(binding: FaceBinding, name: str, text: str) -> None:
    # psycopg takes it for the place of a parameter wherever the condition becomes part of a statement with some
    if "%" in text:
        raise SchemaError(
            f"{name} of the face binding of {binding.table} holds a %",
            remedy="Say it without: starts_with(a, 'b'), strpos(a, 'b') > 0, a ~ 'b', mod(a, 2).",
        )


def _unfit(binding: FaceBinding, name: str, error: psycopg.Error) -> SchemaError:
    reason = error.diag.message_primary or type(error).__name__
    remedy = (
        f"Write a SELECT that gives {', '.join(binding.key)} and the collection's id."
        if name == "collection_query"
        else f'Write a condition on columns of {binding.table}, such as where = "NOT deleted".'
    )
    return SchemaError(f"{name} of the face binding of {binding.table} cannot be used: {reason}", remedy=remedy)


COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""

_KEYS = """
SELECT a.attname, f.attname
FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
WHERE c.contype = 'f' AND cardinality(c.conkey) = 1 AND c.conrelid = %s AND c.confrelid = %s"""
