"""Does the policy fit the source? All that does not is found at once, before a row is read.

A column without a line stops the run, whatever its type: nobody has decided what becomes of it. So does a mask that the
column cannot take, that breaks what has to be unique, or that tells the two ends of a foreign key apart.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from psycopg.rows import dict_row

from seedtool.errors import PolicyError, SeedtoolError
from seedtool.postgres.catalog import Catalog, Column, ForeignKey, Table
from seedtool.refreshing.masks import fits, fits_key, trial
from seedtool.refreshing.policy import ColumnLine, Policy, TableName, TablePolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from seedtool.refreshing.masks import Mask
    from seedtool.refreshing.source import Relation

#: The schema of our own tables. They say what was done in the database that they are in, and are not copied.
OWN = "seedtool"
#: What a draft writes where a person has to decide. It is no mask.
DECIDE = "decide"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something in which policy and source do not fit, or that is missing.

    Args:
        kind: a word for programs: `no line`, `vanished`, `unique`.
        what: what is wrong, with table and column.
        remedy: what to do about it.
        table: the table; None where no table is meant.
        column: the column; None where the whole table is meant.
        line: the line of the policy; None where the policy says nothing.
        character: the character in that line.
    """

    kind: str
    what: str
    remedy: str
    table: str | None = None
    column: str | None = None
    line: int | None = None
    character: int | None = None


class Exclusion(msgspec.Struct, frozen=True, kw_only=True):
    """An exclusion constraint.

    Args:
        table: the table's oid.
        name: its name.
        columns: the columns that it compares, in its expressions too, but not in its condition.
    """

    table: int
    name: str
    columns: tuple[str, ...]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The source as the checks see it.

    Args:
        catalog: its relations.
        relations: what else the copy knows of its tables, by oid.
        exclusions: its exclusion constraints.
        comments: the comments on columns, by the table's oid and the column's name.
    """

    catalog: Catalog
    relations: Mapping[int, Relation]
    exclusions: tuple[Exclusion, ...]
    comments: dict[tuple[int, str], str]

    def root(self, table: Table) -> Table:
        """Return the table whose line counts: of a partition the topmost partitioned table, else the table itself."""
        above = [self.catalog.tables[oid] for oid in table.ancestors if oid in self.catalog.tables]
        return above[-1] if above else table

    def has_rows_of_its_own(self, table: Table) -> bool:
        """Tell whether the policy has to say what becomes of a relation's rows."""
        relation = self.relations.get(table.oid)
        of_an_extension = relation is not None and relation.extension is not None
        ours = table.kind in {"table", "foreign table"} and table.schema != OWN
        return ours and not of_an_extension and not table.ancestors

    def foreign(self, table: Table) -> Table | None:
        """Return the foreign table that a table is, or has as a partition; None where all of its rows are here."""
        parts = (each for oid, each in self.catalog.tables.items() if table.oid in {oid, *each.ancestors})
        return next((each for each in parts if each.kind == "foreign table"), None)

    @property
    def tables(self) -> list[Table]:
        """The tables of which the policy has to say what becomes of their rows, by schema and name."""
        return sorted(filter(self.has_rows_of_its_own, self.catalog.tables.values()), key=lambda each: each.qualified)


def name_of(table: Table) -> TableName:
    """Return a table's name as the policy has it."""
    return TableName(table.schema, table.name)


def read_shape(connection: psycopg.Connection[Any], catalog: Catalog, relations: Mapping[int, Relation]) -> Shape:
    """Read what the checks need beside the catalog.

    Args:
        connection: to the source, in its snapshot.
        catalog: the source's.
        relations: the source's.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        exclusions = tuple(msgspec.convert(row, Exclusion) for row in cursor.execute(_EXCLUSIONS))
        comments = {(row["table"], row["column"]): row["comment"] for row in cursor.execute(_COMMENTS)}
    return Shape(catalog=catalog, relations=relations, exclusions=exclusions, comments=comments)


class Masked(msgspec.Struct, frozen=True):
    """The masks of a policy that fit, and all that does not."""

    masks: dict[tuple[TableName, str], Mask]
    findings: tuple[Finding, ...]


def check(
    shape: Shape,
    policy: Policy,
    mask: Callable[[ColumnLine, Column], Mask],
    connection: psycopg.Connection[Any] | None = None,
) -> Masked:
    """Return the masks that the policy names, and all in which it does not fit the source.

    Args:
        shape: the source's tables.
        policy: the policy.
        mask: makes the mask of a line for a column; it raises what is wrong with the line.
        connection: to the source: masks of invented values are tried there against types, domains, enums and checks.
            No row is read. Nothing is tried where it is None.
    """
    checks = _Checks(shape, policy)
    findings = [*checks.tables(), *checks.names(), *checks.partition_keys(), *checks.references()]
    masks: dict[tuple[TableName, str], Mask] = {}
    for table, column, line in checks.masked:
        try:
            made = mask(line, column)
        except SeedtoolError as error:
            what = f"{table}.{column.name}: {error.message}"
            findings.append(checks.finding("mask", table, column.name, what, error.remedy))
            continue
        masks[name_of(table), column.name] = made
        wrong = [checks.misfit(table, column, line, why) for why in fits(made, column, table.checks)]
        if not wrong and connection is not None:
            wrong = [checks.misfit(table, column, line, why) for why in _tried(connection, made, table, column)]
        if made.subject is not None and made.subject not in table.columns:
            wrong.append(checks.misfit(table, column, line, f"the table has no column {made.subject}"))
        elif made.subject is not None and table.columns[made.subject].generated:
            wrong.append(checks.misfit(table, column, line, f"{made.subject} is computed, and its values are not read"))
        findings += wrong
    findings += checks.unique_keys(masks)
    findings += checks.exclusions(masks)
    return Masked(
        masks, tuple(sorted(findings, key=lambda each: (each.table or "", each.line or 0, each.column or "")))
    )


def _tried(connection: psycopg.Connection[Any], made: Mask, table: Table, column: Column) -> list[str]:
    """Return why the source's server refuses masks of invented values."""
    try:
        statement, parameters = trial(made, column, table.checks)
    except SeedtoolError as error:
        return [error.message]
    try:
        with connection.transaction():
            refused = [name for (name,) in connection.execute(statement.encode(), parameters) if name is not None]
    except psycopg.DataError as error:
        return [f"the type {column.type} refuses what it makes ({error.sqlstate})"]
    except psycopg.errors.CheckViolation:
        return [f"the domain {column.type} refuses what it makes"]
    except psycopg.Error:
        return []  # a check that calls what this role may not: the copy itself will tell
    return [f"the check {name} refuses what it makes" for name in refused]


def refusal(findings: Sequence[Finding], policy: Policy) -> PolicyError:
    """Return the error that holds all findings.

    Args:
        findings: what was found, at least one.
        policy: the policy.
    """
    first = findings[0]
    more = f" ({len(findings)} findings in all)" if len(findings) > 1 else ""
    where = f"{policy.file}:{first.line}:{first.character}" if first.line else policy.file
    return PolicyError(
        f"{where}: {first.what}{more}",
        remedy=f"{first.remedy} seedtool refresh check lists all findings.",
        findings=findings,
        file=policy.file,
        line=first.line,
        character=first.character,
        table=first.table,
        column=first.column,
    )


class _Checks:
    def __init__(self, shape: Shape, policy: Policy) -> None:
        self.shape = shape
        self.policy = policy
        self._by_name = {name_of(table): table for table in shape.catalog.tables.values()}

    @property
    def _listed(self) -> Iterator[tuple[Table, TablePolicy]]:
        """The tables that are there and have rows of their own, each with what the policy says of it."""
        for table in self.shape.tables:
            listed = self.policy.tables.get(name_of(table))
            if listed is not None:
                yield table, listed

    @property
    def masked(self) -> Iterator[tuple[Table, Column, ColumnLine]]:
        """The columns that are masked."""
        for table, listed in self._listed:
            for name, line in listed.columns.items():
                column = table.columns.get(name)
                if column is not None and not line.kept and line.mask != DECIDE and not column.generated:
                    yield table, column, line

    def finding(self, kind: str, table: Table | TableName, column: str | None, what: str, remedy: str) -> Finding:
        """Return a finding about a table or column, with its place in the policy."""
        name = name_of(table) if isinstance(table, Table) else table
        listed = self.policy.tables.get(name)
        at: TablePolicy | ColumnLine | None = listed
        if listed is not None and column is not None:
            at = listed.columns.get(column, listed)
        return Finding(
            kind=kind,
            what=what,
            remedy=remedy,
            table=str(name),
            column=column,
            line=at.line if at else None,
            character=at.column if at else None,
        )

    def tables(self) -> Iterator[Finding]:
        """Yield the tables and columns of which only one of policy and source knows."""
        for table in self.shape.tables:
            name = name_of(table)
            listed = self.policy.tables.get(name)
            if name in self.policy.empty and listed is None:
                continue
            if listed is None:
                yield self.finding(
                    "no line",
                    name,
                    None,
                    f"the table {name} has no line",
                    f"Write [tables.{toml_key(str(name))}] with a line for each of its {len(table.columns)} columns, or"
                    f' {toml_key(str(name))} = "no rows" below [tables].',
                )
            elif (elsewhere := self.shape.foreign(table)) is not None and listed.rows != "none":
                yield self._foreign(table, elsewhere)
            elif table.kind != "foreign table":
                yield from self._columns(table, listed)
        for name in self.policy.tables:
            found = self._by_name.get(name)
            if found is None:
                close = difflib.get_close_matches(str(name), [str(each) for each in self._by_name], n=1)
                yield self.finding(
                    "vanished",
                    name,
                    None,
                    f"the source has no table {name}",
                    f"Did you mean {close[0]}?" if close else "Take it out, or correct its name.",
                )
            elif not self.shape.has_rows_of_its_own(found):
                yield self.finding("no rows of its own", name, None, *self._not_a_table(found))

    def _not_a_table(self, table: Table) -> tuple[str, str]:
        if table.ancestors:
            root = self.shape.root(table)
            return f"{table} is a partition of {root}, whose lines it follows", "Take it out."
        if table.kind != "table":
            return f"{table} is a {table.kind}, which has no rows of its own", "Take it out."
        whose = "seedtool's own" if table.schema == OWN else "a table of an extension"
        return f"{table} is {whose}, and its rows are not copied", "Take it out."

    def _foreign(self, table: Table, elsewhere: Table) -> Finding:
        what = f"{table} is" if table is elsewhere else f"{table} has the partition {elsewhere}, which is"
        return self.finding(
            "foreign table",
            table,
            None,
            f"{what} a foreign table: its rows are on another server and cannot be copied",
            f'Write {toml_key(str(name_of(table)))} = "no rows" below [tables]. The definition of {elsewhere} comes'
            " along, so see to it in after.sql that it leads nowhere.",
        )

    def _columns(self, table: Table, listed: TablePolicy) -> Iterator[Finding]:
        if listed.rows == "none" and not listed.columns:
            return
        for column in table.columns.values():
            if column.name not in listed.columns:
                yield self.finding(
                    "no line",
                    table,
                    column.name,
                    f"{table}.{column.name} ({column.type}) has no line",
                    f'Write {toml_key(column.name)} = "keep" or a mask below [tables.{toml_key(str(name_of(table)))}].',
                )
            elif listed.columns[column.name].mask == DECIDE:
                yield self.finding(
                    "undecided",
                    table,
                    column.name,
                    f"nobody has decided what becomes of {table}.{column.name} ({column.type})",
                    f'Write {toml_key(column.name)} = "keep" or a mask.',
                )
            elif column.generated and not listed.columns[column.name].kept:
                yield self.finding(
                    "generated",
                    table,
                    column.name,
                    f"{table}.{column.name} is computed from other columns, and no mask can be written to it",
                    f'Write {toml_key(column.name)} = "keep": it is computed anew from what the others hold.',
                )
            elif column.value.name == "tsvector" and listed.columns[column.name].kept and not column.generated:
                yield self.finding(
                    "words",
                    table,
                    column.name,
                    f"{table}.{column.name} holds the words of other columns (tsvector), and would keep them",
                    f'Write {toml_key(column.name)} = {{ mask = "tsvector", from = ["..."], language = "..." }}: it is'
                    " computed anew from masked columns.",
                )
        for name in listed.columns:
            if name not in table.columns:
                close = difflib.get_close_matches(name, table.columns, n=1)
                yield self.finding(
                    "vanished",
                    table,
                    name,
                    f"the source has no column {table}.{name}",
                    f"Did you mean {close[0]}?" if close else "Take the line out.",
                )

    def names(self) -> Iterator[Finding]:
        """Yield what else the policy names and the source does not have."""
        where = "Correct the name, or take it out."
        for name in self.policy.empty:
            if name not in self._by_name or not self.shape.has_rows_of_its_own(self._by_name[name]):
                yield Finding(
                    kind="vanished", what=f"empty: the source has no table {name}", remedy=where, table=str(name)
                )
        for root in self.policy.subset.roots if self.policy.subset else ():
            if root.table not in self._by_name:
                yield Finding(
                    kind="vanished",
                    what=f"subset: the source has no table {root.table}",
                    remedy=where,
                    table=str(root.table),
                    line=root.line,
                    character=root.column,
                )
        for name in (self.policy.subset.children if self.policy.subset else None) or ():
            if name not in self._by_name:
                yield Finding(
                    kind="vanished", what=f"children: the source has no table {name}", remedy=where, table=str(name)
                )
        for key in self.policy.virtual_keys:
            for name, columns in ((key.table, key.columns), (key.references, key.referenced_columns)):
                table = self._by_name.get(name)
                missing = [each for each in columns if table is None or each not in table.columns]
                if missing:
                    yield Finding(
                        kind="vanished",
                        what=f"virtual_keys: the source has no {name}.{missing[0]}",
                        remedy=where,
                        table=str(name),
                        column=missing[0],
                        line=key.line,
                        character=key.column,
                    )

    def partition_keys(self) -> Iterator[Finding]:
        """Yield the masked columns that choose a row's partition: masked rows would not fit into theirs."""
        keys: dict[int, set[str]] = {}
        for oid, relation in self.shape.relations.items():
            table = self.shape.catalog.tables.get(oid)
            if table is not None and relation.partition_key:
                keys.setdefault(self.shape.root(table).oid, set()).update(relation.partition_key)
        for table, column, _ in self.masked:
            if column.name in keys.get(table.oid, ()):
                yield self.finding(
                    "partition key",
                    table,
                    column.name,
                    f"{table}.{column.name} chooses the partition of a row, which a mask would change",
                    f'Write {toml_key(column.name)} = {{ mask = "keep", reason = "..." }}.',
                )

    def references(self) -> Iterator[Finding]:
        """Yield the foreign keys whose two ends are masked differently, or whose rows find no row."""
        for table, listed in self._listed:
            if listed.rows == "none":
                continue
            for key in table.foreign_keys:
                target = self.shape.catalog.tables.get(key.references)
                if target is not None:
                    yield from self._ends(
                        table,
                        key.columns,
                        self.shape.root(target),
                        key.referenced_columns,
                        f"the foreign key {key.name}",
                    )
                    yield from self._rows(table, key, self.shape.root(target))
        for virtual in self.policy.virtual_keys:
            one, other = self._by_name.get(virtual.table), self._by_name.get(virtual.references)
            if one is not None and other is not None:
                yield from self._ends(one, virtual.columns, other, virtual.referenced_columns, "the virtual key")

    def _ends(
        self, table: Table, columns: Sequence[str], target: Table, referenced: Sequence[str], key: str
    ) -> Iterator[Finding]:
        for name, other in zip(columns, referenced, strict=True):
            here, there = self._line(table, name), self._line(target, other)
            if here is None or there is None or _same(here, there) or here.mask == "null":
                continue
            yield self.finding(
                "reference",
                table,
                name,
                f"{key} leads from {table}.{name} ({here.mask}) to {target}.{other} ({there.mask}), whose masks differ",
                "Write the same mask with the same parameters at both ends.",
            )

    def _rows(self, table: Table, key: ForeignKey, target: Table) -> Iterator[Finding]:
        """Yield a reference to a table of which no rows come. A sample is filled up with the rows that are meant."""
        listed, lines = self.policy.tables.get(name_of(target)), [self._line(table, name) for name in key.columns]
        empty = name_of(target) in self.policy.empty
        if not empty and (listed is None or listed.rows != "none"):
            return
        if name_of(table) in self.policy.empty or any(line is not None and line.mask == "null" for line in lines):
            return
        yield self.finding(
            "reference",
            table,
            key.columns[0],
            f"{table} refers to {target} by {key.name}, and no rows of {target} come",
            f'Let no rows of {table} come either, mask {key.columns[0]} as "null", or let rows of {target} come.',
        )

    def _line(self, table: Table, column: str) -> ColumnLine | None:
        listed = self.policy.tables.get(name_of(self.shape.root(table)))
        return listed.columns.get(column) if listed is not None else None

    def misfit(self, table: Table, column: Column, line: ColumnLine, why: str) -> Finding:
        """Return the finding of a mask that a column cannot take."""
        return self.finding(
            "mask",
            table,
            column.name,
            f"{table}.{column.name}, {line.mask}: {why}",
            "Write another mask for the column.",
        )

    def unique_keys(self, masks: Mapping[tuple[TableName, str], Mask]) -> Iterator[Finding]:
        """Yield the masks that may give two rows the same value in what has to be unique."""
        listed = {table.oid for table, _ in self._listed}
        seen: set[tuple[object, ...]] = set()
        for part in self.shape.catalog.tables.values():
            table = self.shape.root(part)
            if table.oid not in listed:
                continue
            own = {name: masks.get((name_of(table), name)) for name in table.columns}
            for key in part.keys:  # a partition has the keys of its partitioned table, and may have more
                for name, made in own.items():
                    if made is None or (table.oid, name, key.expressions, key.predicate) in seen:
                        continue
                    subject = {made.subject: own.get(made.subject)} if made.subject else {}
                    if fits_key({**subject, name: made}, key):
                        seen.add((table.oid, name, key.expressions, key.predicate))
                        line = self._line(table, name)
                        yield self.finding(
                            "unique",
                            table,
                            name,
                            f"{table}.{name}, {line.mask if line else ''}: {key.name} over"
                            f" {', '.join(key.expressions)} is unique, and the mask may break it",
                            "Use a mask that keeps different values different: bijective, token, digits, email, phone"
                            " or rut.",
                        )

    def exclusions(self, masks: Mapping[tuple[TableName, str], Mask]) -> Iterator[Finding]:
        """Yield the masks of columns that an exclusion constraint compares, but for those that keep values apart."""
        for each in self.shape.exclusions:
            table = self.shape.root(self.shape.catalog.tables[each.table])
            for name in each.columns:
                made = masks.get((name_of(table), name))
                if made is not None and made.uniqueness != "bijective" and not made.makes_null:
                    yield self.finding(
                        "unique",
                        table,
                        name,
                        f"{table}.{name} is compared by the exclusion constraint {each.name}, and its mask may move a"
                        " value to where another one is",
                        "Keep it with a reason, or use the mask bijective.",
                    )


def _same(one: ColumnLine, other: ColumnLine) -> bool:
    return one.mask == other.mask and one.parameters == other.parameters


def toml_key(name: str) -> str:
    """Return a name as a key of TOML: in quotes where it needs them."""
    plain = all(each.isascii() and (each.isalnum() or each in "_-") for each in name) and name
    return name if plain else toml_string(name)


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[0]}" if found[0] in '"\\' else f"\\u{ord(found[0]):04x}"


def toml_string(text: str) -> str:
    """Return a text as TOML writes it: on one line, whatever is in it."""
    return '"' + re.sub(r'[\x00-\x1f\x7f"\\]', _escaped, text) + '"'


# the columns of an index's expressions are those that the index depends on; a condition's columns are among them, so
# they are left out where the index has no expression
_EXCLUSIONS = """
SELECT i.indrelid::int8 AS table, x.relname::text AS name,
       ARRAY(SELECT DISTINCT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = i.indrelid AND a.attnum > 0
               AND (a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]::int2[])
                    OR i.indexprs IS NOT NULL AND EXISTS (
                        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                          AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid
                          AND d.refobjsubid = a.attnum))
             ORDER BY 1) AS columns
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indisexclusion AND i.indisvalid AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema'
ORDER BY 1, 2
"""

_COMMENTS = """
SELECT d.objoid::int8 AS table, a.attname::text AS column, d.description AS comment
FROM pg_description d JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid
WHERE d.classoid = 'pg_class'::regclass AND d.objsubid > 0
"""
