"""The catalog as recipes see it: what domains and partitions demand of a column stands there as checks, too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from seedtool.generating.inference import PARTITIONS
from seedtool.postgres.catalog import Catalog, Check, read_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from seedtool.postgres.catalog import Table


def read_schema(connection: psycopg.Connection[Any]) -> Catalog:
    """Read the catalog, with checks for the domains of columns that take no NULL and for the bounds of partitions.

    Args:
        connection: to the database.
    """
    catalog = read_catalog(connection)
    tables = dict(catalog.tables)
    for oid, column, name, expression, not_null in connection.execute(_DOMAINS).fetchall():
        table = tables.get(oid)
        if table is None:
            continue
        found = table.columns[column]
        if not_null and not found.not_null:
            columns = table.columns | {column: msgspec.structs.replace(found, not_null=True)}
            tables[oid] = table = msgspec.structs.replace(table, columns=columns)
        if expression is not None and table.columns[column].not_null:
            quoted = f'"{column}"' if re.search(r"\W|^\d|[A-Z]", column) else column
            demanded = re.sub(r"\bVALUE\b", quoted.replace("\\", r"\\"), expression)
            tables[oid] = _with(table, Check(name=name, expression=demanded, columns=(column,)))
    bounds: dict[tuple[int, str], list[str]] = {}
    for oid, column, bound in connection.execute(_BOUNDS).fetchall():
        bounds.setdefault((oid, column), []).append(bound)
    for (oid, column), listed in bounds.items():
        if oid in tables and all(listed):
            for expression in _demanded(column, listed):
                tables[oid] = _with(tables[oid], Check(name=PARTITIONS, expression=expression, columns=(column,)))
    return Catalog(tables, catalog.search_path)


def _with(table: Table, check: Check) -> Table:
    return msgspec.structs.replace(table, checks=(*table.checks, check))


def _demanded(column: str, bounds: list[str]) -> Iterator[str]:
    """Yield what partitions demand of their column: one of a list, or a value between the first bound and the last.

    A gap between partitions is not looked for: a rehearsal finds it.
    """
    values = [re.fullmatch(r"FOR VALUES IN \((.*)\)", each, re.DOTALL) for each in bounds]
    ranges = [re.fullmatch(r"FOR VALUES FROM \('?([^',]+)'?\) TO \('?([^',]+)'?\)", each) for each in bounds]
    if all(values):
        yield f"{column} = ANY (ARRAY[{', '.join(each[1] for each in values if each)}])"
    elif all(ranges):
        least = min((each[1] for each in ranges if each), key=_in_order)
        most = max((each[2] for each in ranges if each), key=_in_order)
        if not {least, most} & {"MINVALUE", "MAXVALUE"}:
            yield f"{column} >= '{least}' AND {column} < '{most}'"


def _in_order(bound: str) -> tuple[float, str]:
    """Return what puts bounds in order: numbers by their size, dates by their text."""
    return (float(bound), "") if re.fullmatch(r"-?[\d.]+", bound) else (0, bound)


# a domain may be over another one; `VALUE` stands for the column
_DOMAINS = """
WITH RECURSIVE domains AS (
    SELECT a.attrelid, a.attname, t.oid, t.typbasetype, t.typnotnull, t.typtypmod
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid AND t.typtype = 'd'
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
    WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
    SELECT d.attrelid, d.attname, t.oid, t.typbasetype, t.typnotnull, t.typtypmod
    FROM domains d JOIN pg_type t ON t.oid = d.typbasetype AND t.typtype = 'd'
)
SELECT d.attrelid::int8, d.attname::text, o.conname::text, pg_get_expr(o.conbin, 0), d.typnotnull
FROM domains d LEFT JOIN pg_constraint o ON o.contypid = d.oid AND o.contype = 'c'
UNION ALL
SELECT attrelid::int8, attname::text, 'length', format('char_length(VALUE) <= %s', typtypmod - 4), false
FROM domains WHERE typtypmod > 4 AND typbasetype IN ('varchar'::regtype, 'bpchar'::regtype)
"""

# of tables that are partitioned by one column, and whose partitions are not partitioned by another one
_BOUNDS = """
SELECT p.partrelid::int8, a.attname::text,
       CASE WHEN c.relkind = 'r' AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
            THEN pg_get_expr(c.relpartbound, c.oid) END
FROM pg_partitioned_table p
JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
JOIN pg_inherits i ON i.inhparent = p.partrelid JOIN pg_class c ON c.oid = i.inhrelid
WHERE p.partnatts = 1 AND p.partstrat IN ('l', 'r')
ORDER BY 1, c.relname
"""
