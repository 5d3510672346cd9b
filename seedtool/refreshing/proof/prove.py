"""The story of the proof: what the source holds of persons, and a look for it everywhere in the copy."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec
import psycopg
from psycopg import sql

from seedtool.postgres import server
from seedtool.postgres.catalog import Catalog, Table, read_catalog
from seedtool.postgres.copying import fix_text_form
from seedtool.postgres.psycopg_errors import translated
from seedtool.postgres.server import Target
from seedtool.refreshing.proof.classes import DRAWN, Role, classify
from seedtool.refreshing.proof.people import Source, sources_of, told
from seedtool.refreshing.proof.reading import blocks, can_hold
from seedtool.refreshing.proof.search import Hits, Sought
from seedtool.refreshing.proof.words import Hasher, Words

TableName = tuple[str, str]
ColumnName = tuple[str, str, str]

#: So many values of a column are looked at to tell what it holds.
_SAMPLE = 500
#: So many hits of a column are kept until they are confirmed; more are only counted.
_KEPT = 1000
#: A value in more rows than this, and in more than a hundredth of them, identifies nobody.
_OFTEN = 20


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What the copy is meant to be, as plain data.

    Args:
        rows: how many rows the copy holds of a table: as many as the source where it is not named, and None where
            nobody knows.
        kept: the reason why a column that identifies persons is kept, by schema, table and column.
        faces: what becomes of faces; with `share` the source's own ids may stand in the copy.
        memory: bytes that the hashes of values may take.
    """

    rows: Mapping[TableName, int | None] = {}
    kept: Mapping[ColumnName, str] = {}
    faces: Literal["placeholder", "reindex", "share"] = "placeholder"
    memory: int = 400_000_000


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must not be in the copy. It never holds a value.

    Args:
        kind: `leak` (a value of the source), `kept` (a column without a reason), `count` and others.
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


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What the proof found.

    Args:
        findings: none when the copy may be used.
        counts: rows per table.
        classified: what each column of the source holds, where it holds something of persons: its kind, and whether
            its name or its values told it.
        kept: the columns that are kept with a reason.
        values: how many values were looked for.
        seconds: how long it took.
    """

    findings: tuple[Finding, ...]
    counts: tuple[Count, ...]
    classified: tuple[tuple[ColumnName, str, str], ...]
    kept: tuple[tuple[ColumnName, str], ...]
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
        run = _Run(original, copy, given)
        return Proof(
            findings=(*run.leaks(), *run.wrong_counts()),
            counts=tuple(run.counts()),
            classified=tuple(
                ((table.schema, table.name, name), role.kind, role.by)
                for table in run.before.tables.values()
                for name, role in run.roles[table.oid].items()
            ),
            kept=tuple(given.kept.items()),
            values=run.values,
            seconds=time.monotonic() - began,
        )


class _Run:
    """One proof."""

    def __init__(self, original: psycopg.Connection[Any], copy: psycopg.Connection[Any], given: Given) -> None:
        self.original, self.copy, self.given = original, copy, given
        self.before, self.after = read_catalog(original), read_catalog(copy)
        self.roles = {table.oid: classify(table, _sample(original, table)) for table in _stored(self.before)}
        self.roles |= {table.oid: {} for table in self.before.tables.values() if table.oid not in self.roles}
        self.values = 0
        self._by_name = {(table.schema, table.name): table for table in self.before.tables.values()}
        self._sources: list[Source] = []
        self._hasher = Hasher()
        self._rows: dict[TableName, int] = {}
        self._read: dict[TableName, int] = {}

    def leaks(self) -> Iterator[Finding]:
        """Yield the columns of the copy that hold identifying values of the source."""
        self._sources = [
            each
            for table in _stored(self.before)
            for each in sources_of(table.schema, table.name, self.roles[table.oid])
            if not any((each.schema, each.table, name) in self.given.kept for name in each.columns)
        ]
        sought = self._gathered()
        self.values += len(sought)
        suspects = _Suspects(sought)
        for table in _stored(self.after):
            self._look(table, sought, suspects)
        self._confirm(suspects)
        for (schema, name, column), origin, count in suspects.confirmed():
            source = self._sources[origin]
            yield Finding(
                kind="leak",
                schema=schema,
                table=name,
                column=column,
                what=f"holds what stands in {source} of the source ({source.kind}), {count} times",
            )

    def _gathered(self) -> Sought:
        """Return the hashes of what identifies persons in the source."""
        sought = Sought(self._hasher)
        rare: dict[int, int] = {}
        for table, mine in self._by_table(range(len(self._sources))):
            rows = 0
            for words, place in self._words(self.original, table, _columns(mine.values())):
                rows += words.rows
                for number, each in mine.items():
                    for values in told(self._hasher, words, place, each):
                        sought.add(values.hashes, number, values.prefixes, values.tag)
            self._rows[table.schema, table.name] = rows
            rare |= dict.fromkeys(mine, max(_OFTEN, rows // 100))
        sought.gathered(rare)
        return sought

    def _by_table(self, origins: Collection[int]) -> Iterator[tuple[Table, dict[int, Source]]]:
        """Yield the tables of some origins, each with those that it has."""
        for table in _stored(self.before):
            mine = {
                number: each
                for number, each in enumerate(self._sources)
                if number in origins and (each.schema, each.table) == (table.schema, table.name)
            }
            if mine:
                yield table, mine

    def _words(
        self, connection: psycopg.Connection[Any], table: Table, columns: list[str]
    ) -> Iterator[tuple[Words, dict[str, int]]]:
        place = {name: number for number, name in enumerate(columns)}
        for block in blocks(connection, table, [sql.Identifier(name) for name in columns]):
            yield self._hasher.words(block, len(columns)), place

    def _look(self, table: Table, sought: Sought, suspects: "_Suspects") -> None:
        """Look for the values in each cell of a table of the copy."""
        columns = [name for name, each in table.columns.items() if can_hold(each.value, each.labels)]
        if not columns:
            return
        rows, drawn = 0, self._drawn(table, columns)
        for words, _ in self._words(self.copy, table, columns):
            rows += words.rows
            for hits in (*sought.sequences(words), *sought.numbers(words)):
                for at, cell in enumerate(words.cells[hits.words].tolist()):
                    column, origin = cell % words.columns, int(sought.origins[hits.values[at]])
                    if column not in drawn or self._sources[origin].kind not in DRAWN:
                        suspects.add((table.schema, table.name, columns[column]), words, hits, at)
        self._read[table.schema, table.name] = rows

    def _drawn(self, table: Table, columns: list[str]) -> set[int]:
        """Return the places of the columns whose masks draw from pools: they are compared row by row."""
        before = self._original(table)
        roles: Mapping[str, Role] = self.roles[before.oid] if before is not None else {}
        return {at for at, name in enumerate(columns) if name in roles and roles[name].kind in DRAWN}

    def _original(self, table: Table) -> Table | None:
        """Return the table of the source that has the name of one of the copy."""
        return self._by_name.get((table.schema, table.name))

    def _confirm(self, suspects: "_Suspects") -> None:
        """Read the source again for the suspects' values, and compare the values themselves."""
        import numpy as np

        wanted = suspects.wanted()
        for table, mine in self._by_table(wanted):
            for words, place in self._words(self.original, table, _columns(mine.values())):
                for number, each in mine.items():
                    hashes = np.fromiter(wanted[number], np.uint64)
                    for values in told(self._hasher, words, place, each):
                        for at in np.flatnonzero(np.isin(values.hashes, hashes)).tolist():
                            suspects.confirm(number, int(values.hashes[at]), values.text(words, at))

    def counts(self) -> Iterator[Count]:
        """Yield how many rows each table has."""
        for table in _stored(self.after):
            name = (table.schema, table.name)
            before = self._original(table)
            if table.kind != "table" or before is None:
                continue
            if name not in self._rows:
                self._rows[name] = _count(self.original, before)
            if name not in self._read:
                self._read[name] = _count(self.copy, table)
            yield Count(schema=table.schema, table=table.name, source=self._rows[name], copy=self._read[name])

    def wrong_counts(self) -> Iterator[Finding]:
        """Yield the tables that have another number of rows than they should."""
        for each in self.counts():
            expected = self.given.rows.get((each.schema, each.table), each.source)
            if expected is not None and expected != each.copy:
                yield Finding(
                    kind="count",
                    schema=each.schema,
                    table=each.table,
                    column=None,
                    what=f"has {each.copy} rows, and {expected} are expected",
                )


class _Suspects:
    """Hits by their hashes, until the values themselves are compared.

    Args:
        sought: what is looked for.
    """

    def __init__(self, sought: Sought) -> None:
        self._sought = sought
        self._counts: dict[tuple[ColumnName, int], Counter[int]] = {}
        self._texts: dict[tuple[int, int], set[str]] = {}  # what has this hash in the copy
        self._same: set[tuple[int, int]] = set()

    def add(self, column: ColumnName, words: Words, hits: Hits, at: int) -> None:
        """Add a hit: number `at` of some."""
        value = int(hits.values[at])
        origin, hashed = int(self._sought.origins[value]), int(self._sought.hashes[value])
        counts = self._counts.setdefault((column, origin), Counter())
        if hashed in counts or len(counts) < _KEPT:
            counts[hashed] += 1
            self._texts.setdefault((origin, hashed), set()).add(hits.text(words, at))

    def wanted(self) -> dict[int, set[int]]:
        """Return the hashes that are to be confirmed, by their origins."""
        wanted: dict[int, set[int]] = {}
        for origin, hashed in self._texts:
            wanted.setdefault(origin, set()).add(hashed)
        return wanted

    def confirm(self, origin: int, hashed: int, text: str) -> None:
        """Hear what the source holds under a hash."""
        if text in self._texts[origin, hashed]:
            self._same.add((origin, hashed))

    def confirmed(self) -> Iterator[tuple[ColumnName, int, int]]:
        """Yield columns, origins, and how often values of them stand there."""
        for (column, origin), counts in self._counts.items():
            count = sum(many for hashed, many in counts.items() if (origin, hashed) in self._same)
            if count:
                yield column, origin, count


def _stored(catalog: Catalog) -> Iterator[Table]:
    """Yield the relations that hold rows of their own."""
    return (
        each for each in catalog.tables.values() if not each.partitioned and each.kind in {"table", "materialized view"}
    )


def _columns(sources: Iterable[Source]) -> list[str]:
    return list(dict.fromkeys(name for each in sources for name in each.columns))


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
