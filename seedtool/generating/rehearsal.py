"""A rehearsal: the first and the last rows of each table are offered to a table like it, before a row is made.

So what the database would refuse is known while nothing is written: a text that is too long, a number that outgrows its
type with the last row, a check, a domain, an exclusion constraint, a partition that is missing. The tables like them
are temporary, and gone at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from seedtool.generating import inference, rows
from seedtool.generating.columns import Referring
from seedtool.postgres.psycopg_errors import reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedtool.errors import RecipeError
    from seedtool.generating.planning import Plan
    from seedtool.generating.rows import PlannedTable
    from seedtool.postgres.catalog import Column, Table

Connection = psycopg.Connection[Any]

#: So many of the first rows and of the last ones are offered.
OFFERED = 256

#: The check that stands for a table's partitions.
_PARTITIONS = "seedtool_partitions"

#: Classes of SQLSTATE by which a database refuses a row: its value, a constraint, a trigger's own word, a generated
#: column, a type that the server was built without (PostgreSQL's appendix A).
REFUSALS = frozenset({"0A", "22", "23", "P0", "42", "44"})

#: A value is shown up to so many characters.
_SHOWN = 40


def rehearse(connection: Connection, plan: Plan) -> None:
    """Offer rows of each table to a table like it, and leave nothing behind.

    A table that this role cannot make a copy of is left out: then the load itself tells what is refused.

    Args:
        connection: to the database, in a transaction.
        plan: what is to be loaded.

    Raises:
        RecipeError: the database refuses a row; with table, column and cure.
    """
    for planned in plan.tables:
        if planned.written and plan.rows(planned):
            with connection.transaction(force_rollback=True):
                _rehearse(connection, plan, planned)


def _rehearse(connection: Connection, plan: Plan, planned: PlannedTable) -> None:
    try:
        with connection.transaction():
            _make(connection, planned)
    except psycopg.Error:
        return
    try:
        with connection.transaction():
            _offer(connection, plan, planned)
    except psycopg.Error as error:
        if (error.sqlstate or "")[:2] in REFUSALS:
            raise refused(plan, error, planned, connection) from error


def _make(connection: Connection, planned: PlannedTable) -> None:
    """Make a temporary table like a table, of the same name, with its checks, unique keys and partitions' bounds."""
    table = planned.table
    like = sql.Identifier("pg_temp", table.name)
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED"
            " INCLUDING INDEXES)"
        ).format(like, table.identifier)
    )
    for column in table.columns.values():
        if column.name in planned.written or not column.default_has_effects:
            continue
        # what its default does, such as drawing from a sequence, is not done for a rehearsal
        connection.execute(
            sql.SQL("ALTER TABLE {0} ALTER {1} DROP DEFAULT, ALTER {1} DROP NOT NULL").format(
                like, sql.Identifier(column.name)
            )
        )
    if table.partitioned or table.ancestors:
        bounds = connection.execute(_BOUNDS, [table.oid]).fetchall()
        if all(bound is not None for (bound,) in bounds):
            any_of = sql.SQL(" OR ").join(sql.SQL("({})").format(sql.SQL(bound)) for (bound,) in bounds)
            connection.execute(
                sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} CHECK ({})").format(
                    like, sql.Identifier(_PARTITIONS), any_of if bounds else sql.SQL("false")
                )
            )


# a default partition alone takes each row: it has no constraint
_BOUNDS = "SELECT pg_get_partition_constraintdef(relid) FROM pg_partition_tree(%s::oid) WHERE isleaf"


def _offer(connection: Connection, plan: Plan, planned: PlannedTable) -> None:
    first, last = planned.numbering.total(plan.before), plan.rows(planned)
    middle = min(first + OFFERED, last)
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier("pg_temp", planned.table.name), sql.SQL(", ").join(map(sql.Identifier, planned.written))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for span in ((first, middle), (max(last - OFFERED, middle), last)):
            for block in rows.blocks(planned, *span):
                copy.write(block.data)


def refused(
    plan: Plan, error: psycopg.Error, planned: PlannedTable | None = None, connection: Connection | None = None
) -> RecipeError:
    """Return what a person has to know of a row that the database refuses: table, column and cure.

    Args:
        plan: what is loaded.
        error: the server's.
        planned: the table, in a rehearsal; else it is found by the error.
        connection: to ask for the text of a domain's check; None where none is at hand.
    """
    found = _Refusal(plan, error, planned or _table(plan, error), connection)
    return found.error()


def _table(plan: Plan, error: psycopg.Error) -> PlannedTable | None:
    """Return the table that an error is about: one of a partition is its partitioned table's."""
    copied = re.search(r"^COPY (.+?), \w+ \d+", error.diag.context or "", re.MULTILINE)
    name = error.diag.table_name or (copied[1] if copied else None)
    schema = error.diag.schema_name if error.diag.table_name else None
    for table in plan.catalog.tables.values():
        if table.name == name and schema in {None, table.schema}:
            known = (plan.of(oid) for oid in (table.oid, *table.ancestors))
            if (planned := next(filter(None, known), None)) in plan.tables:
                return planned
    return None


class _Refusal:
    def __init__(
        self, plan: Plan, error: psycopg.Error, planned: PlannedTable | None, connection: Connection | None
    ) -> None:
        self._plan = plan
        self._error = error
        self._planned = planned
        self._connection = connection
        self._state = error.sqlstate or ""
        self._constraint = self._named(error.diag.constraint_name)
        self._columns = list(self._found_columns())

    def _named(self, constraint: str | None) -> str | None:
        """Return the name of a constraint; of an index of a table like it, that of the table's own."""
        if self._connection is None or self._planned is None or self._state not in {"23505", "23P01"}:
            return constraint
        table = self._planned.table
        like = sql.Identifier("pg_temp", table.name).as_string(self._connection)
        found = self._connection.execute(_OWN_INDEX, [constraint, like, table.oid]).fetchone()
        return found[0] if found else constraint

    def error(self) -> RecipeError:
        planned, recipe = self._planned, self._plan.recipe
        column = self._columns[0] if self._columns else None
        name = planned.name if planned else self._error.diag.table_name
        fault = recipe.fault(
            f"the database refuses a row{f' of {name}' if name else ''}: {self._reason()}",
            self._remedy(),
            recipe.place_of(name, column) if name else None,
            table=name,
            column=column,
        )
        fault.place["code"] = self._state
        return fault

    def _found_columns(self) -> Iterator[str]:
        """Yield the columns that the error is about, the one to be changed first."""
        if self._planned is None:
            return
        table = self._planned.table
        if self._error.diag.column_name:
            yield self._error.diag.column_name
            return
        for name in table.columns:  # COPY t, line 3, column x: "..."
            if re.search(rf"^COPY .+? \d+, \w+ {re.escape(name)}: ", self._error.diag.context or "", re.MULTILINE):
                yield name
                return
        if self._constraint == _PARTITIONS or "partition" in (self._error.diag.message_primary or ""):
            yield from self._partition_key()
            return
        keys = [each.columns for each in table.keys if each.name == self._constraint]
        keys += [each.columns for each in table.foreign_keys if each.name == self._constraint]
        check = table.check(self._constraint)
        detail = re.match(r"\w+ \((.*?)\)=\(", self._error.diag.message_detail or "")
        named: tuple[str, ...] = next((key for key in keys if key), check.columns if check else ())
        if not named and detail:
            named = tuple(name for name in table.columns if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", detail[1]))
        # a line says what stands in a column that is written; the others follow from the schema
        written = self._planned.written
        yield from sorted(named, key=lambda name: (self._is_reference(name), name not in written))

    def _is_reference(self, column: str) -> bool:
        return self._planned is not None and isinstance(self._planned.makers.get(column), Referring)

    def _is_partition(self) -> bool:
        return self._planned is not None and bool(self._planned.table.ancestors)

    def _partition_key(self) -> tuple[str, ...]:
        assert self._planned is not None  # noqa: S101 - the caller knows it
        if self._connection is None:
            return ()
        table = self._planned.table
        names = self._connection.execute(_PARTITION_KEY, [(*table.ancestors, table.oid)[0]]).fetchall()
        return tuple(name for (name,) in names)

    def _reason(self) -> str:
        if self._constraint == _PARTITIONS:
            return "it is not within the partition" if self._is_partition() else "no partition takes it"
        table = self._planned.table if self._planned else None
        words = reason(self._error)
        detail = self._error.diag.message_detail
        check = table.check(self._constraint) if table else None
        if check is not None:
            return f"{words}, CHECK {check.expression}"
        if self._error.diag.datatype_name and self._connection is not None:
            found = self._connection.execute(_DOMAIN, [self._constraint, self._error.diag.datatype_name]).fetchone()
            return f"{words}, {found[0]}" if found else words
        if self._state in {"23505", "23P01"} and detail:
            key = next((each for each in table.keys if each.name == self._constraint), None) if table else None
            where = f" where {key.predicate}" if key and key.predicate else ""
            return f"{self._constraint} takes no two such rows{where}. {detail}"
        value = self._value()
        return f"{words}: {value}" if value else words

    def _value(self) -> str | None:
        """Return the value that is refused, where it is a generated one."""
        if not self._columns or self._is_reference(self._columns[0]):
            return None
        found = re.search(rf'{re.escape(self._columns[0])}: ("(?s:.*)")', self._error.diag.context or "")
        if not found or found[1] in (self._error.diag.message_primary or "").split(': "')[0]:
            return None
        return found[1] if len(found[1]) <= _SHOWN else f'{found[1][:_SHOWN]}..."'

    def _remedy(self) -> str:
        if not self._columns or self._planned is None:
            return "Correct the recipe, or what is in the table."
        if self._state[:2] == "22":
            return self._remedy_of_value(self._planned.table.columns[self._columns[0]])
        return self._remedy_of_constraint(self._planned.table, self._columns)

    def _remedy_of_value(self, column: Column) -> str:
        assert self._planned is not None  # noqa: S101 - the column is of its table
        if self._state == "22001":
            return f"Let the line of {column.name} make shorter texts, or widen the column: it is a {column.type}."
        if self._state == "22003":
            return f"Let {column.name} have smaller numbers, or make fewer rows: it is a {column.type}."
        proposal = inference.proposal(self._planned.table, column)
        return f"Write a line whose values are of the type {column.type}: {proposal}"

    def _remedy_of_constraint(self, table: Table, columns: list[str]) -> str:
        first = columns[0]
        key = next((each for each in table.keys if each.name == self._constraint), None)
        if self._state == "23502" and self._is_reference(first):
            return f"Let what {first} refers to be in each row: it is NULL in some."
        if self._state == "23502":
            return f"Write a line for {first} without nulls: {inference.proposal(table, table.columns[first])}"
        if self._state == "23P01" and table.columns[first].value.kind != "range":
            return f"Write lines for {' and '.join(columns)} that keep rows apart, with {{n}} or values in turn."
        if self._state == "23P01":
            return f'Let ranges keep apart: {first} = {{ kind = "range", type = ..., length = ..., gap = ... }}'
        if key is not None and key.predicate:
            return (
                "Let fewer rows be of those that its WHERE chooses: values in turn"
                ' ({ kind = "cycle", values = [true, false] }) begin anew with each parent.'
            )
        if self._state == "23505":
            return f"Let {' or '.join(columns)} have more values, or make fewer rows."
        if self._constraint == _PARTITIONS and self._connection is not None:
            found = self._connection.execute(_BOUNDS_OF, [table.oid, table.oid])
            bounds = [bound.removeprefix("FOR VALUES ") for (bound,) in found]
            listed = "; ".join(bounds[:4]) + ("; ..." if len(bounds) > 4 else "")
            return f"Write a line for {first} whose values are within its partitions: {listed}."
        if len(columns) > 1:
            return f"Write lines for {' and '.join(columns)} that obey it."
        return f"Write a line for {first} that obeys it."


_PARTITION_KEY = """
SELECT a.attname::text FROM pg_partitioned_table p
JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs) WHERE p.partrelid = %s::oid
"""
_BOUNDS_OF = """
SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = %s::oid OR (c.oid = %s::oid AND c.relkind = 'r') ORDER BY c.relname
"""
_OWN_INDEX = """
SELECT o.relname::text FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_index j ON split_part(pg_get_indexdef(i.indexrelid), ' USING ', 2)
                 = split_part(pg_get_indexdef(j.indexrelid), ' USING ', 2)
JOIN pg_class o ON o.oid = j.indexrelid
WHERE x.relname = %s AND i.indrelid = %s::regclass AND j.indrelid = %s::oid
"""
_DOMAIN = """
SELECT pg_get_constraintdef(o.oid) FROM pg_constraint o JOIN pg_type t ON t.oid = o.contypid
WHERE o.conname = %s AND t.typname = %s
"""
