"""The story of the proof: what the source holds of persons, and a look for it everywhere in the copy."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
import psycopg
from psycopg import sql

from seedtool.postgres import server
from seedtool.postgres.catalog import Table, read_catalog
from seedtool.postgres.copying import fix_text_form
from seedtool.postgres.psycopg_errors import translated
from seedtool.postgres.server import Target
from seedtool.refreshing.proof.classes import BIOMETRIC, Role, classify
from seedtool.refreshing.proof.kept import COMPARED, Rows, compare
from seedtool.refreshing.proof.leaks import Leak, Leaks, Side, TableName, sources_in
from seedtool.refreshing.proof.people import Source
from seedtool.refreshing.proof.reading import can_hold
from seedtool.refreshing.proof.structure import differences, faults
from seedtool.refreshing.proof.words import Hasher

ColumnName = tuple[str, str, str]

#: So many rows of a table are compared with their originals; of a larger table, those with the same keys on both sides.
_ROWS = 200_000
#: Bytes that a value takes: its hash, twice while it is sorted, and five bytes of filters.
_BYTES = 21
#: A table that was never analyzed has at most one row in so many bytes.
_ROW_AT_MOST = 60
#: How many values a cell makes where it is more than one, and how many one makes in which they only may stand.
_WAYS = {"full name": 5, "national id": 3, "face": 2}
_SCATTERED = 0.1

#: So many values of a column are looked at to tell what it holds.
_SAMPLE = 500


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What the copy is meant to be, as plain data.

    Args:
        rows: how many rows the copy holds of a table: as many as the source where it is not named, and None where
            nobody knows.
        kept: the reason why a column that identifies persons is kept, by schema, table and column.
        faces: what becomes of faces; with `share` the source's own ids may stand in the copy.
        intended: what of the catalog may be missing or another one: kinds of things with their names, such as
            `("index", "public.students_email")`.
        structure: compare the copy's catalog with the source's. Where SQL of the project has changed the copy since it
            was loaded, `compare_structure` does that before.
        memory: bytes that the hashes of values may take.
        look: look for values at each word within cells, in any writing; or at whole cells alone.
    """

    rows: Mapping[TableName, int | None] = {}
    kept: Mapping[ColumnName, str] = {}
    faces: Literal["placeholder", "reindex", "share"] = "placeholder"
    intended: frozenset[tuple[str, str]] = frozenset()
    structure: bool = True
    memory: int = 400_000_000
    look: Literal["words", "cells"] = "words"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must not be in the copy. It never holds a value.

    Args:
        kind: `leak` (a value of the source stands somewhere), `kept` (a column holds its own values, without a reason),
            `schema` (a value stands in a definition), `count` (another number of rows), `catalog` (something is missing
            or not like the source's), `sequence` (it gives numbers that are taken).
        schema: of the table that holds it, or None.
        table: the table, or None.
        column: the column, or None.
        what: one sentence.
    """

    kind: str
    schema: str | None
    table: str | None
    column: str | None
    what: str


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows of a table the source has, and the copy."""

    schema: str
    table: str
    source: int
    copy: int


class Classified(msgspec.Struct, frozen=True, kw_only=True):
    """A column of the source that holds something of persons.

    Args:
        kind: what it holds.
        by: whether its name or its values told it.
        kept: the reason why the copy keeps it, or None.
    """

    schema: str
    table: str
    column: str
    kind: str
    by: str
    kept: str | None


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What the proof found.

    Args:
        findings: none when the copy may be used.
        counts: rows per table.
        classified: the columns of the source that hold something of persons.
        values: how many values were looked for.
        seconds: how long it took.
    """

    findings: tuple[Finding, ...]
    counts: tuple[Count, ...]
    classified: tuple[Classified, ...]
    values: int
    seconds: float

    @property
    def holds(self) -> bool:
        """Nothing was found."""
        return not self.findings


Connect = Callable[[], psycopg.Connection[Any]]


def prove(source: Connect, target: Target, given: Given) -> Proof:
    """Look in a loaded copy for what identifies persons of its source.

    Args:
        source: opens a connection to the source, in the snapshot that was copied.
        target: the copy.
        given: what the copy is meant to be.

    Returns:
        What was found, without any value.

    Raises:
        DatabaseError: a statement failed, or a connection was lost.
    """
    began = time.monotonic()
    with translated("the proof"), source() as original, server.connect(target) as copy:
        for connection in (original, copy):
            fix_text_form(connection.cursor())
        before, after = (Side(connection, read_catalog(connection)) for connection in (original, copy))
        roles = {table.oid: classify(table, _sample(original, table)) for table in before.stored()}
        persons = _persons(before, after, roles, given)
        counts = tuple(_counts(before, after, persons.counts))
        return Proof(
            findings=(*persons.findings, *_wrong_counts(counts, given), *_structure(before, after, given)),
            counts=counts,
            classified=tuple(_classified(before, roles, given)),
            values=persons.values,
            seconds=time.monotonic() - began,
        )


def compare_structure(source: Connect, target: Target, given: Given) -> tuple[Finding, ...]:
    """Compare the catalog of a copy with its source's.

    Args:
        source: opens a connection to the source, in the snapshot that was copied.
        target: the copy, before SQL of the project changes it.
        given: what the copy is meant to be.

    Raises:
        DatabaseError: a statement failed, or a connection was lost.
    """
    with translated("the proof"), source() as original, server.connect(target) as copy:
        for connection in (original, copy):
            fix_text_form(connection.cursor())
        before, after = (Side(connection, read_catalog(connection)) for connection in (original, copy))
        return tuple(_structure(before, after, given))


class _Persons(msgspec.Struct, frozen=True):
    """What was found of persons, in how many rows of each table on both sides, among how many values."""

    findings: list[Finding]
    counts: tuple[dict[TableName, int], dict[TableName, int]]
    values: int


def _persons(before: Side, after: Side, roles: dict[int, dict[str, Role]], given: Given) -> _Persons:
    """Look for what identifies persons, and compare columns with their originals."""
    hasher = Hasher()
    sources = [
        each
        for each in sources_in(before, roles)
        if not any((each.schema, each.table, name) in given.kept for name in each.columns)
        and not (given.look == "cells" and (each.scattered or each.kind == "subject"))
        and not (given.faces == "share" and each.kind in BIOMETRIC)
    ]
    compared = {(table.schema, table.name): _compared(table, roles[table.oid], given) for table in before.stored()}
    cells = sum(1 + len(columns) for _, columns in compared.values() if columns)
    # a fifth of the memory is for the rows that are compared: two sides, eight bytes a cell
    limit = min(_ROWS, max(_ROWS // 100, given.memory // 5 // 16 // max(1, cells)))
    rows = {name: (Rows(*each, limit), Rows(*each, limit)) for name, each in compared.items()}
    size = _size(before, sources)
    parts = 1 + size * _BYTES // given.memory
    findings: list[Finding] = []
    values = 0
    counts: tuple[dict[TableName, int], dict[TableName, int]] = ({}, {})
    for part in range(parts):
        leaks = Leaks((before, after), roles, sources, hasher, size, (part, parts), given.kept, look=given.look)
        leaks.gather({name: each[0] for name, each in rows.items()} if not part else {})
        leaks.look({name: each[1] for name, each in rows.items()} if not part else {})
        leaks.look_beside()
        findings += (_leak(each) for each in leaks.confirmed())
        values += leaks.values
        counts = counts if part else leaks.counts
    findings = list(dict.fromkeys(findings))
    by_name = {(table.schema, table.name): table for table in before.stored()}
    for name, (original, copied) in rows.items():
        for same in compare(original, copied, roles[by_name[name].oid]):
            role = roles[by_name[name].oid][same.column]
            findings.append(
                Finding(
                    kind="kept",
                    schema=name[0],
                    table=name[1],
                    column=same.column,
                    what=f"holds its original values in {same.share:.1%} of the rows ({role.kind}, by its {role.by})",
                )
            )
    return _Persons(findings, counts, values)


def _leak(leak: Leak) -> Finding:
    place, source, times = leak
    return Finding(
        kind="schema" if place.what else "leak",
        schema=place.schema,
        table=place.table,
        column=place.column,
        what=f"{_a(place.what)} holds what stands in {source} of the source ({source.kind}), {times} times",
    )


def _size(before: Side, sources: Sequence[Source]) -> int:
    """Return about how many values the source has, from the sizes of its tables."""
    ways: dict[TableName, float] = {}
    for each in sources:
        name = (each.schema, each.table)
        ways[name] = ways.get(name, 0) + (_SCATTERED if each.scattered else _WAYS.get(each.kind, 1))
    total = 0.0
    for table in before.stored():
        row = before.connection.execute(
            "SELECT pg_relation_size(oid), CASE WHEN reltuples > 0 AND relpages > 0 THEN reltuples / relpages /"
            " current_setting('block_size')::int END FROM pg_class WHERE oid = %s",
            [table.oid],
        ).fetchone()
        # rows in a byte, as the last ANALYZE or VACUUM counted them
        size, rows = row or (0, None)
        total += (size or 0) * (rows or 1 / _ROW_AT_MOST) * ways.get((table.schema, table.name), 0)
    return int(total)


def _compared(table: Table, roles: Mapping[str, Role], given: Given) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the key of a table, and the columns that are compared with their originals."""
    columns = tuple(
        name
        for name, role in roles.items()
        if role.kind in COMPARED
        and (table.schema, table.name, name) not in given.kept
        and not (given.faces == "share" and role.kind in BIOMETRIC)
    )
    return table.primary_key, columns


def _counts(before: Side, after: Side, read: tuple[dict[TableName, int], dict[TableName, int]]) -> Iterator[Count]:
    """Yield how many rows each table has; those that were not read are counted."""
    original = {(table.schema, table.name): table for table in before.stored()}
    for table in after.stored():
        name = (table.schema, table.name)
        if name in original and table.kind == "table":
            source, copy = (
                each[name] if name in each else _count(side.connection, mine)
                for side, mine, each in ((before, original[name], read[0]), (after, table, read[1]))
            )
            yield Count(schema=table.schema, table=table.name, source=source, copy=copy)


def _wrong_counts(counts: tuple[Count, ...], given: Given) -> Iterator[Finding]:
    """Yield the tables that have another number of rows than they should."""
    for each in counts:
        expected = given.rows.get((each.schema, each.table), each.source)
        if expected is not None and expected != each.copy:
            yield Finding(
                kind="count",
                schema=each.schema,
                table=each.table,
                column=None,
                what=f"has {each.copy} rows, and {expected} are expected",
            )


def _structure(before: Side, after: Side, given: Given) -> Iterator[Finding]:
    """Yield what the copy's catalog has otherwise than the source's."""
    found = list(faults(before.connection, after.connection, after.catalog))
    if given.structure:
        found += differences(before.connection, after.connection, given.intended)
    for kind, schema, table, column, what in found:
        yield Finding(kind=kind, schema=schema, table=table, column=column, what=what)


def _classified(before: Side, roles: dict[int, dict[str, Role]], given: Given) -> Iterator[Classified]:
    for table in before.stored():
        for name, role in roles[table.oid].items():
            yield Classified(
                schema=table.schema,
                table=table.name,
                column=name,
                kind=role.kind,
                by=role.by,
                kept=given.kept.get((table.schema, table.name, name)),
            )


def _a(what: str) -> str:
    """Return what holds something, with its article."""
    return f"{'an' if what[:1] in 'aeio' else 'a'} {what}" if what else "it"


def _sample(connection: psycopg.Connection[Any], table: Table) -> dict[str, list[str]]:
    """Return some values of each column, as text and without NULL."""
    names = [name for name, each in table.columns.items() if can_hold(each.value, each.labels)]
    if not names:
        return {}
    texts = sql.SQL(", ").join(sql.SQL("left({}::text, 500)").format(sql.Identifier(name)) for name in names)
    rows = connection.execute(
        sql.SQL("SELECT {} FROM {} LIMIT {}").format(texts, table.stored, sql.Literal(_SAMPLE))
    ).fetchall()
    return {name: [row[at] for row in rows if row[at] is not None] for at, name in enumerate(names)}


def _count(connection: psycopg.Connection[Any], table: Table) -> int:
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table.stored)).fetchone()
    return int(row[0]) if row else 0
