"""Defaults of columns, and whether a row holds something else."""

import re
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

from seedtool.postgres.catalog import Column


def comparable(cursor: psycopg.Cursor[Any], columns: Iterable[Column]) -> list[Column]:
    """Return the columns whose default is the same for every row; a column without one has NULL.

    Where every row gets a default of its own, such as a time or a number, nothing tells which values came from it.
    """
    steady = [each for each in columns if not each.identity and not (each.default and each.default_has_effects)]
    bare = {each.name: re.sub(r"'(?:[^']|'')*'", "", each.default or "") for each in steady}
    called = {name: set(re.findall(r"([a-z_][a-z_0-9]*)\(", expression)) for name, expression in bare.items()}
    functions = sorted(set().union(*called.values()))
    unsteady = {name for (name,) in cursor.execute(_UNSTEADY, [functions])} if functions else set()
    return [each for each in steady if not called[each.name] & unsteady and not _OF_SESSION.search(bare[each.name])]


def differs(column: Column, alias: str) -> sql.Composed:
    """Return the condition that a row holds something else than the default of a `comparable` column.

    Args:
        column: the column.
        alias: the alias of its table.
    """
    held = sql.Identifier(alias, column.name)
    if column.default is None:
        return sql.SQL("{} IS NOT NULL").format(held)
    by = sql.SQL("" if column.value.comparison == "value" else "::text")
    return sql.SQL("{}{} IS DISTINCT FROM {}{}").format(held, by, value(column), by)


def value(column: Column) -> sql.Composed:
    """Return the default of a column as an expression; NULL of one without."""
    return sql.SQL("({})::{}").format(sql.SQL(column.default or "NULL"), sql.SQL(column.type))


#: keywords of SQL that depend on when, and by whom, a row is inserted
_OF_SESSION = re.compile(r"\b(CURRENT_\w+|LOCALTIME\w*|SESSION_USER|USER)\b")

_UNSTEADY = "SELECT proname::text FROM pg_proc WHERE proname = ANY(%s) GROUP BY 1 HAVING bool_and(provolatile <> 'i')"
