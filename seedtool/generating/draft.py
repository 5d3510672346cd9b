"""The draft of a recipe: what a schema says, and what another database's statistics say of numbers, never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from seedtool.generating import inference
from seedtool.generating.schema import read_schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

    from seedtool.postgres.catalog import Catalog, Check, Column, ForeignKey, Table

#: Rows of a table that stands alone, where no statistics say how many it has.
ROWS = 100


class ColumnStatistics(NamedTuple):
    """What pg_stats says of a column apart from its values.

    Args:
        nulls: the share of NULL.
        width: bytes of a value, on average.
    """

    nulls: float
    width: int


class Statistics(NamedTuple):
    """What a database knows of a table.

    Args:
        rows: how many rows it has, roughly.
        columns: by their names.
    """

    rows: int
    columns: dict[str, ColumnStatistics]


def statistics(connection: psycopg.Connection[Any]) -> dict[str, Statistics]:
    """Read counts, null shares and widths from a database's statistics, by table. No value is read.

    Args:
        connection: to the database; ANALYZE has to have run there.
    """
    found: dict[str, Statistics] = {}
    for name, rows, columns in connection.execute(_STATISTICS):
        found[name] = Statistics(
            max(int(rows), 0), {column: ColumnStatistics(float(nulls), int(width)) for column, nulls, width in columns}
        )
    return found


def draft(
    connection: psycopg.Connection[Any], tables: Sequence[str], name: str, like: Mapping[str, Statistics] | None = None
) -> str:
    """Return a recipe for tables as TOML.

    Args:
        connection: to the database whose schema it is for.
        tables: their names; all tables when empty.
        name: the recipe's.
        like: the statistics that numbers are taken from.

    Raises:
        SchemaError: there is no such table.
    """
    catalog = read_schema(connection)
    chosen = [catalog.find(each) for each in tables] or [
        each
        for each in catalog.tables.values()
        if each.kind == "table" and not each.ancestors and each.schema != "seedtool" and each.name != "alembic_version"
    ]
    ordered = catalog.parents_first(chosen)
    return _Draft(catalog, ordered, name, like or {}).text()


class _Draft:
    def __init__(self, catalog: Catalog, tables: list[Table], name: str, like: Mapping[str, Statistics]) -> None:
        self._catalog = catalog
        self._tables = tables
        self._name = name
        self._like = like

    def text(self) -> str:
        counts = {str(table): self._count(place, table) for place, table in enumerate(self._tables)}
        given = {
            str(self._catalog.tables[key.references])
            for table in self._tables
            for key in table.foreign_keys
            if key.references not in {each.oid for each in self._tables} and self._is_needed(table, key)
        }
        lines = [
            "# A draft by seedtool seed recipe. Read it, and change what does not fit. Then:",
            f"# seedtool seed load {self._name}",
            'description = ""',
            'locale = "en_US"',
            "",
            "[rows]",
            *(f'{inference.key(each)} = "given" # rows that are in the database already' for each in sorted(given)),
            *(f"{inference.key(table)} = {count}" for table, count in counts.items()),
        ]
        for table in self._tables:
            columns = [line for column in table.columns.values() for line in self._lines(table, column)]
            if columns:
                lines += ["", f"[tables.{inference.key(str(table))}]", *columns]
        return "\n".join(lines) + "\n"

    def _is_needed(self, table: Table, key: ForeignKey) -> bool:
        return any(table.columns[column].not_null for column in key.columns)

    def _driver(self, place: int, table: Table) -> ForeignKey | None:
        """Return the foreign key to the table that a table has rows per: one that it cannot do without."""
        before = {each.oid for each in self._tables[:place]}
        keys = [key for key in table.foreign_keys if key.references in before and self._is_needed(table, key)]
        # what goes with its parent belongs to it more than what only refers to it
        return min(keys, key=lambda each: (each.on_delete != "cascade", each.name), default=None)

    def _count(self, place: int, table: Table) -> str:
        """Return how many rows a table has: by those of another table, or a number."""
        before = {each.oid: each for each in self._tables[:place]}
        key = self._driver(place, table)
        own = self._like.get(str(table))
        if key is None:
            return str(max(own.rows, 1) if own else ROWS)
        parent = str(before[key.references])
        several = [each for each in table.foreign_keys if each.references == key.references]
        above = self._like.get(parent)
        each_parent = own.rows / above.rows if own and above and above.rows and own.rows else 2.0
        if any(set(unique.columns) <= set(key.columns) for unique in table.keys):
            each_parent = min(each_parent, 1.0)
        least, rest = divmod(each_parent, 1)
        share = round(rest * 10)
        weights = {int(least): 10 - share, int(least) + 1: share}
        weights = {number: weight for number, weight in weights.items() if weight}
        if set(weights) == {0}:
            weights = {0: 9, 1: 1}
        if len(several) > 1 or len(weights) > 1:
            listed = ", ".join(f"{number} = {weight}" for number, weight in weights.items())
            through = f', through = "{key.columns[0]}"' if len(several) > 1 else ""
            return f'{{ per = "{parent}", weights = {{ {listed} }}{through} }}'
        return f'"{next(iter(weights))} per {parent}"'

    def _lines(self, table: Table, column: Column) -> list[str]:
        """Return a column's line, if it needs one, below the checks that nothing is inferred from."""
        line = self._line(table, column)
        if not line:
            return []
        understood = "choice" in line or '"integer"' in line
        own = self._like.get(str(table))
        width = inference.room(table, column)
        if own and width is not None and "{n" in line and own.rows >= 10**width:
            return [f"# {column.type} has room for {10**width - 1:,} numbers, and {own.rows:,} rows are there", line]
        checks = [
            each.expression
            for each in table.checks
            if (each.columns == (column.name,) and not understood and not line.startswith("#"))
            # a check over several columns stands above the last of them
            or (
                len(each.columns) > 1
                and self._last(table, each) == column.name
                and not inference.is_obeyed(table, each)
            )
        ]
        return [*(f"# check: {' '.join(each.split())}" for each in checks), line]

    def _last(self, table: Table, check: Check) -> str | None:
        """Return the last column of a check that has a line."""
        return next(
            (
                name
                for name in reversed(table.columns)
                if name in check.columns and self._line(table, table.columns[name])
            ),
            None,
        )

    def _line(self, table: Table, column: Column) -> str:
        """Return a column's line; empty where it needs none."""
        if column.generated or column.sequence is not None:
            return ""
        nulls = self._nulls(table, column)
        if any(column.name in key.columns for key in table.foreign_keys):
            share = f'{inference.key(column.name)} = {{ kind = "reference", nulls = {nulls:g} }}'
            return share if nulls and self._is_drawn(table, column) else ""
        found = inference.guess(table, column)
        if found is None and inference.family(column) == "text" and table.unique_alone(column.name):
            found = inference.key_template(self._name, table, column)
        if found is None:
            if column.default is not None:
                return f"# {inference.key(column.name)}: its default, {' '.join(column.default.split())}"
            proposal = inference.proposal(table, column)
            if self._counts_children(table, column):
                return f'{inference.key(column.name)} = "{{k}}"'
            return proposal if column.not_null else f"# {proposal} # else NULL"
        found = {key: value for key, value in found.items() if key != "nulls"}
        if found["kind"] == "text" and (own := self._like.get(str(table))) and column.name in own.columns:
            width = max(own.columns[column.name].width, 2)
            found |= {"min": max(width // 2, 1), "max": width * 3 // 2}
        if nulls:
            found["nulls"] = nulls
        return f"{inference.key(column.name)} = {inference.line(found)}"

    def _counts_children(self, table: Table, column: Column) -> bool:
        """Tell whether a whole number and the parent are a key, as an order's and its line's number are."""
        driver = self._driver(self._tables.index(table), table)
        return (
            driver is not None
            and inference.family(column) == "integer"
            and any({*driver.columns, column.name} == set(each.columns) for each in table.keys)
        )

    def _nulls(self, table: Table, column: Column) -> float:
        own = self._like.get(str(table))
        if own is None or column.not_null or column.name not in own.columns:
            return 0
        return round(own.columns[column.name].nulls, 2)

    def _is_drawn(self, table: Table, column: Column) -> bool:
        chosen = {each.oid for each in self._tables}
        return any(key.columns == (column.name,) and key.references in chosen for key in table.foreign_keys)


# neither most_common_vals nor histogram_bounds nor any other column that holds values is read
_STATISTICS = """
SELECT CASE WHEN n.nspname = 'public' THEN c.relname::text ELSE n.nspname || '.' || c.relname END,
       c.reltuples::bigint,
       coalesce((SELECT jsonb_agg(jsonb_build_array(s.attname, s.null_frac, s.avg_width)) FROM pg_stats s
                 WHERE s.schemaname = n.nspname AND s.tablename = c.relname), '[]')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'seedtool')
"""
