"""Which rows are copied, so that every reference of a copied row leads to a copied row.

A row is known by its place (`ctid`) in its table: in one snapshot no visible row moves, and a place needs no key. The
statements only read: rows that are found send their places back, eight bytes each, and lead to the next statement. From
each row one goes up to all that it refers to. Down, to what refers to it, one goes only from the rows that the subset
begins with and from those found on the way down: so the siblings of a parent are not taken along. References within one
table are followed to their end by one recursive statement.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import SchemaError
from seedtool.postgres.psycopg_errors import reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from seedtool.postgres.catalog import Catalog, Table
    from seedtool.refreshing.source import Source

#: How many rows one statement starts from: a table that has no index on its reference is read once for each statement.
_ROWS_A_STATEMENT = 50_000
#: Of a table: all rows; none; a share of them; or only those that the subset reaches.
Rows = Literal["all", "none", "reached"] | Fraction


#: What COPY sends in binary for two bigints: before the rows, for each row, and behind them (PostgreSQL's
#: documentation, "Binary Format" of COPY).
_HEADER, _TRAILER = 19, 2
_ROW = [("count", ">i2"), ("size", ">i4"), ("table", ">i8"), ("other_size", ">i4"), ("place", ">i8")]


class Places:
    """Rows of one table by their places.

    Args:
        numbers: int64[n], sorted and each once: the page times 65,536, and the row's number in it.
    """

    def __init__(self, numbers: NDArray[np.int64]) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def texts(self, count: int) -> Iterator[list[str]]:
        """Yield the places as elements of a `tid[]`, so many at once, in the order of the table."""
        for first in range(0, len(self.numbers), count):
            some = self.numbers[first : first + count]
            pages, rows = (some >> 16).tolist(), (some & 0xFFFF).tolist()
            yield [f'"({page},{row})"' for page, row in zip(pages, rows, strict=True)]


class Reference(NamedTuple):
    """A foreign key, or a virtual one.

    Args:
        table: the oid of the table that refers.
        columns: its columns.
        references: the oid of the table that is meant.
        referenced_columns: its columns.
        where: a condition in SQL over the columns of `table`; None for all rows.
        name: what it is called in messages.
    """

    table: int
    columns: tuple[str, ...]
    references: int
    referenced_columns: tuple[str, ...]
    where: str | None = None
    name: str = ""


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that the subset begins with.

    Args:
        table: the table, partitioned or not.
        where: a condition in SQL over its columns.
    """

    table: Table
    where: str


def references(catalog: Catalog, virtual: Iterable[Reference] = ()) -> list[Reference]:
    """Return every reference between tables of a catalog.

    Args:
        catalog: the source's.
        virtual: references that no foreign key declares.
    """
    return [
        *(
            Reference(key.table, key.columns, key.references, key.referenced_columns, name=key.name)
            for table in catalog.tables.values()
            for key in table.foreign_keys
            if key.references in catalog.tables
        ),
        *virtual,
    ]


def related(catalog: Catalog, tables: Iterable[Table], keys: Iterable[Reference]) -> set[int]:
    """Return the oids of the tables that references connect with these, in either direction, and of these.

    Of a partitioned table, its partitions are among them.
    """
    neighbours: dict[int, set[int]] = defaultdict(set)
    for one, other in [
        *((key.table, key.references) for key in keys),
        *((table.oid, above) for table in catalog.tables.values() for above in table.ancestors),
    ]:
        neighbours[one].add(other)
        neighbours[other].add(one)
    found = {table.oid for table in tables}
    waiting = list(found)
    while waiting:
        new = neighbours[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def choose(
    source: Source,
    rows: Mapping[int, Rows],
    roots: Sequence[Root] = (),
    *,
    children: Collection[int] | None = None,
    virtual: Iterable[Reference] = (),
) -> dict[int, Places | None]:
    """Return the rows that are copied of each table that holds rows itself.

    Args:
        source: the source, in its snapshot.
        rows: what the policy says of each table, by oid; of a partitioned one, for its partitions. Where it says
            nothing, all rows of a table are copied that no reference connects with a root, and only those that are
            reached of the others.
        roots: what the subset begins with.
        children: the oids of the tables whose rows come along because they refer to a row of the subset; None for all.
            A partitioned table stands for its partitions.
        virtual: references that no foreign key declares.

    Returns:
        By oid: the places of the rows, or None for all rows.

    Raises:
        SchemaError: a condition is wrong, or a table without rows is referred to.
    """
    keys = references(source.catalog, virtual)
    connected = related(source.catalog, [root.table for root in roots], keys)
    said: dict[int, Rows] = {}
    for oid, table in source.catalog.tables.items():
        unsaid: Rows = "reached" if oid in connected else "all"
        said[oid] = next((rows[each] for each in (oid, *table.ancestors) if each in rows), unsaid)
    return _Choice(source, said, children, keys).run(roots)


class _Choice:
    """The rows that are chosen so far, and those whose references have not been followed yet."""

    def __init__(
        self,
        source: Source,
        rows: Mapping[int, Rows],
        children: Collection[int] | None,
        keys: Sequence[Reference],
    ) -> None:
        import numpy as np

        self._source = source
        self._tables = source.catalog.tables
        self._holding = {
            oid: table for oid, table in self._tables.items() if table.kind == "table" and not table.partitioned
        }
        self._rows: dict[int, Rows] = {oid: rows[oid] for oid in self._holding}
        self._children = None if children is None else {
            table.oid for table in self._tables.values() if not {table.oid, *table.ancestors}.isdisjoint(children)
        }  # fmt: skip
        empty = np.zeros(0, np.int64)
        self._chosen: dict[int, NDArray[np.int64]] = defaultdict(lambda: empty)
        self._followed_down: dict[int, NDArray[np.int64]] = defaultdict(lambda: empty)
        self._up: dict[int, NDArray[np.int64] | None] = {}
        self._down: dict[int, NDArray[np.int64]] = {}
        self._keys_of: dict[int, list[Reference]] = defaultdict(list)
        self._keys_to: dict[int, list[Reference]] = defaultdict(list)
        for oid, table in self._holding.items():
            family = {oid, *table.ancestors}
            self._keys_of[oid] = [key for key in keys if key.table in family]
            self._keys_to[oid] = [key for key in keys if key.references in family]

    def run(self, roots: Sequence[Root]) -> dict[int, Places | None]:
        """Follow every reference."""
        for key in {id(each): each for keys in self._keys_of.values() for each in keys if each.where}.values():
            with self._source.reading(f"{key.name}: its condition is wrong"), self._source.holder.transaction():
                self._parse(self._tables[key.table], key.where or "")
        for root in roots:
            self._begin(root)
        if roots and not self._down:
            conditions = " and ".join(f"{root.table} WHERE {root.where}" for root in roots)
            raise SchemaError(
                f"the subset finds no row: {conditions}",
                remedy="Correct the condition: a copy without rows would take staging's place.",
                table=str(roots[0].table),
            )
        for oid, rows in self._rows.items():
            if rows == "all":
                self._up[oid] = None
            elif isinstance(rows, Fraction):
                self._take(self._places(_SAMPLE, table=self._from(oid), percent=sql.Literal(float(rows * 100))))
        while self._up or self._down:
            if self._down:
                self._go_down(*self._down.popitem())
            else:
                self._go_up(*self._up.popitem())
        return {
            oid: None if rows == "all" else Places(self._chosen[oid]) for oid, rows in self._rows.items()
        }  # fmt: skip

    def _begin(self, root: Root) -> None:
        table = root.table
        query = sql.SQL("SELECT {place} FROM {table} AS {alias} WHERE ({where}\n)").format(
            place=_PLACE.format(sql.Identifier(table.name)),
            table=self._from(table.oid),
            alias=sql.Identifier(table.name),
            where=sql.SQL(root.where),
        )
        with self._source.reading(f"the subset of {self._source.target} cannot be read"):
            try:
                with self._source.holder.transaction():  # a wrong condition does not end the snapshot
                    self._parse(table, root.where)
                    found = self._ask(query)
            except (psycopg.ProgrammingError, psycopg.DataError) as error:
                raise SchemaError(
                    f"the subset's condition for {table} is wrong: {reason(error)}",
                    remedy="Write it as it stands behind WHERE: subset = \"students WHERE grade_id = 'grade-4b'\".",
                    table=str(table),
                    code=error.sqlstate,
                ) from error
        for oid, places in found.items():
            self._take({oid: places}, down=True)

    def _parse(self, table: Table, where: str) -> None:
        """Let the server read a condition by itself: one that closes our parenthesis and opens another is none."""
        query = sql.SQL("EXPLAIN SELECT FROM {} AS {} WHERE {}\n")
        alone = query.format(self._from(table.oid), sql.Identifier(table.name), sql.SQL(where))
        self._source.holder.execute(alone, prepare=True)  # then it is one statement

    def _from(self, oid: int) -> sql.Composable:
        """A table in a query: with its partitions, but without the tables that inherit from it."""
        return self._tables[oid].stored

    def _ask(self, query: sql.Composed) -> dict[int, NDArray[np.int64]]:
        """Return the places that a query finds, by table. They come in COPY's binary form: numpy reads it at once."""
        import numpy as np

        statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query)
        with self._source.holder.cursor() as cursor, cursor.copy(statement) as copy:
            content = b"".join(copy)
        found = np.frombuffer(content[_HEADER:-_TRAILER], _ROW)
        tables, places = found["table"].astype(np.int64), found["place"].astype(np.int64)
        return {int(oid): np.unique(places[tables == oid]) for oid in np.unique(tables)}

    def _places(self, query: str, **parts: sql.Composable) -> dict[int, NDArray[np.int64]]:
        with self._source.reading(f"the subset of {self._source.target} cannot be read"):
            return self._ask(sql.SQL(query).format(**parts))

    def _take(self, found: Mapping[int, NDArray[np.int64]], *, down: bool = False) -> None:
        """Choose rows, and remember to follow what they refer to and, on the way down, what refers to them."""
        import numpy as np

        for oid, places in found.items():
            if self._rows[oid] == "none":
                continue
            if self._rows[oid] != "all":
                new = np.setdiff1d(places, self._chosen[oid], assume_unique=True)
                if len(new):
                    self._chosen[oid] = np.union1d(self._chosen[oid], new)
                    before = self._up.get(oid)
                    self._up[oid] = new if before is None else np.union1d(before, new)
            if down:
                new = np.setdiff1d(places, self._followed_down[oid], assume_unique=True)
                if len(new):
                    self._followed_down[oid] = np.union1d(self._followed_down[oid], new)
                    self._down[oid] = np.union1d(self._down[oid], new) if oid in self._down else new

    def _go_up(self, oid: int, places: NDArray[np.int64] | None) -> None:
        """Choose the rows that these refer to; None stands for all rows of the table."""
        for key in self._keys_of[oid]:
            meant = self._held_by(key.references)
            if all(self._rows[each] == "all" for each in meant):
                continue
            query = _UP_TO_THE_END if key.table == key.references else _UP
            for condition in _conditions("c", places):
                found = self._places(query, condition=condition, **self._parts(key, child=oid))
                for each in found:
                    if self._rows[each] == "none":
                        raise SchemaError(
                            f"the policy copies no rows of {self._tables[each]}, and rows of {self._tables[oid]} refer"
                            f" to it ({key.name})",
                            remedy=f"Copy the rows of {self._tables[each]}, or none of {self._tables[oid]}.",
                            table=str(self._tables[each]),
                        )
                self._take(found)

    def _go_down(self, oid: int, places: NDArray[np.int64]) -> None:
        """Choose the rows that refer to these, as far as that is asked for."""
        for key in self._keys_to[oid]:
            if self._children is not None and key.table not in self._children:
                continue
            query = _DOWN_TO_THE_END if key.table == key.references else _DOWN
            for condition in _conditions("p", places):
                self._take(self._places(query, condition=condition, **self._parts(key, parent=oid)), down=True)

    def _held_by(self, oid: int) -> list[int]:
        """Return the oids of the tables that hold a table's rows: itself, or its partitions."""
        return [each for each, table in self._holding.items() if oid in {each, *table.ancestors}]

    def _parts(self, key: Reference, *, child: int = 0, parent: int = 0) -> dict[str, sql.Composable]:
        """Return the parts of the queries below for a reference, from the rows of one table that holds rows."""
        own, other = self._tables[key.table], self._tables[key.references]
        pairs = list(zip(key.columns, key.referenced_columns, strict=True))
        as_text = [not _comparable(own.columns[one].value.name, other.columns[two].value.name) for one, two in pairs]

        def named(letter: str, names: Sequence[str]) -> sql.Composed:
            return sql.SQL(", ").join(
                sql.SQL("{}::text AS {}" if cast else "{} AS {}").format(
                    sql.Identifier(name), sql.Identifier(f"{letter}{number}")
                )
                for number, (name, cast) in enumerate(zip(names, as_text, strict=True))
            )

        def listed(alias: str, letter: str = "k") -> sql.Composed:
            return sql.SQL(", ").join(sql.Identifier(alias, f"{letter}{number}") for number in range(len(pairs)))

        within = key.table == key.references
        keys = sql.SQL(", ").join([named("k", key.columns), *([named("r", key.referenced_columns)] if within else [])])
        where = sql.SQL("({}\n)").format(sql.SQL(key.where)) if key.where else sql.SQL("true")
        meant = named("k", key.referenced_columns)
        true = sql.SQL("true")
        return {
            "child": _PART.format(keys=keys, table=self._from(child or key.table), where=where),
            "children": _PART.format(keys=keys, table=self._from(key.table), where=where),
            "parent": _PART.format(keys=meant, table=self._from(parent or key.references), where=true),
            "parents": _PART.format(keys=meant, table=self._from(key.references), where=true),
            "names": sql.SQL(", ").join(sql.Identifier(f"k{number}") for number in range(len(pairs))),
            "c_k": listed("c"),
            "c_r": listed("c", "r"),
            "p_k": listed("p"),
            "walk_k": listed("walk"),
            "found_c": _FOUND.format(sql.Identifier("c")),
            "found_p": _FOUND.format(sql.Identifier("p")),
        }


def _conditions(alias: str, places: NDArray[np.int64] | None) -> Iterator[sql.Composable]:
    """Yield the conditions that name these rows, so many rows at once.

    Places stand in the statement itself: a parameter would need each percent sign of a name or a condition doubled.
    """
    if places is None:
        yield sql.SQL("true")
        return
    for texts in Places(places).texts(_ROWS_A_STATEMENT):
        yield sql.SQL("{}.place = ANY ({}::tid[])").format(
            sql.Identifier(alias), sql.Literal("{" + ",".join(texts) + "}")
        )


def _comparable(one: str, other: str) -> bool:
    return one == other or any({one, other} <= family for family in _FAMILIES)


#: Types that PostgreSQL compares with one another.
_FAMILIES = (
    {"int2", "int4", "int8", "numeric", "float4", "float8", "oid"},
    {"text", "varchar", "bpchar", "name", "citext"},
    {"date", "timestamp", "timestamptz"},
)
#: A row's table, and its place as one number.
_PLACE = sql.SQL("{0}.tableoid::int8, ((({0}.ctid::text)::point)[0]::int8 << 16) | (({0}.ctid::text)::point)[1]::int8")
#: Rows of a table with the columns of a reference; a virtual key's condition names the table's columns as they are.
_PART = sql.SQL("(SELECT {keys}, ctid AS place, tableoid AS part FROM {table} WHERE {where})")
_FOUND = sql.SQL("{0}.part::int8, ((({0}.place::text)::point)[0]::int8 << 16) | (({0}.place::text)::point)[1]::int8")

_SAMPLE = """
SELECT t.tableoid::int8, (((t.ctid::text)::point)[0]::int8 << 16) | ((t.ctid::text)::point)[1]::int8
FROM {table} AS t TABLESAMPLE BERNOULLI ({percent}) REPEATABLE (1)
"""
_UP = """
SELECT {found_p} FROM {parents} AS p
WHERE ({p_k}) IN (SELECT {c_k} FROM {child} AS c WHERE {condition})
"""
_DOWN = """
SELECT {found_c} FROM {children} AS c
WHERE ({c_k}) IN (SELECT {p_k} FROM {parent} AS p WHERE {condition})
"""
# within one table: a chain of a million rows is one statement, and UNION ends a cycle
_UP_TO_THE_END = """
WITH RECURSIVE walk ({names}) AS (
    SELECT {c_k} FROM {child} AS c WHERE {condition}
    UNION SELECT {c_k} FROM {children} AS c JOIN walk ON ({c_r}) = ({walk_k})
)
SELECT {found_p} FROM {parents} AS p WHERE ({p_k}) IN (SELECT {walk_k} FROM walk)
"""
_DOWN_TO_THE_END = """
WITH RECURSIVE walk ({names}) AS (
    SELECT {p_k} FROM {parent} AS p WHERE {condition}
    UNION SELECT {c_r} FROM {children} AS c JOIN walk ON ({c_k}) = ({walk_k})
)
SELECT {found_c} FROM {children} AS c WHERE ({c_k}) IN (SELECT {walk_k} FROM walk)
"""
