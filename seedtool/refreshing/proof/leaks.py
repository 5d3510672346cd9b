"""Identifying values of the source, looked for in every cell of the copy."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, LiteralString, NamedTuple

import psycopg
from psycopg import sql

from seedtool.postgres.catalog import Catalog, Table, ValueType
from seedtool.refreshing.proof.apart import Apart
from seedtool.refreshing.proof.chance import Names, Series
from seedtool.refreshing.proof.classes import BIOMETRIC, DRAWN, Role
from seedtool.refreshing.proof.definitions import Place, large_objects, texts
from seedtool.refreshing.proof.encodings import other_writings
from seedtool.refreshing.proof.kept import Rows
from seedtool.refreshing.proof.people import EXTENSIONS, Source, Told, scattered, sources_of, told
from seedtool.refreshing.proof.reading import blocks, can_hold, long_cells, pieces
from seedtool.refreshing.proof.search import Hits, Numbers, Sought
from seedtool.refreshing.proof.words import Hasher, Words

if TYPE_CHECKING:
    import numpy as np

    from seedtool.refreshing.proof.words import Hashes

TableName = tuple[str, str]

#: So many different values of a column are kept until they are confirmed.
_KEPT = 1000
#: A value in more rows than this, and in more than a hundredth of them, identifies nobody.
_OFTEN = 20
#: Types whose values have keys between their parts.
_KEYED = frozenset({"json", "jsonb", "hstore", "xml"})
#: How many rows a text beside the tables counts for.
_MANY = 10**6
#: Kinds whose values are no numbers, and types whose values are numbers.
_LETTERS = frozenset({"email", "full name", "address"})
_NUMBERS = frozenset({"int4", "int8", "numeric", "float8", "money", "oid"})
#: How values are read that say what they hold only otherwise.
_FORMS: dict[str, LiteralString] = {
    "money": "{}::numeric",
    "tsvector": "(SELECT string_agg(lexeme, ' ' ORDER BY place) FROM unnest({}) w(lexeme, places, weights)"
    " LEFT JOIN LATERAL unnest(places) place ON true)",
}
#: How COPY's text form writes what would end a cell.
_COPIED = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
#: Types whose values are longer texts.
_TEXTS = frozenset({"text", "varchar", "bpchar", "citext", "json", "jsonb", "hstore", "xml"})


class Leak(NamedTuple):
    """Values of the source in a column of the copy.

    Args:
        place: in the copy.
        source: where they stand in the source.
        times: how often they were found.
    """

    place: Place
    source: Source
    times: int


class Side(NamedTuple):
    """The source, or the copy.

    Args:
        connection: in the one snapshot that is read.
        catalog: its relations.
    """

    connection: psycopg.Connection[Any]
    catalog: Catalog

    def stored(self) -> Iterator[Table]:
        """Yield the relations that hold rows of their own; a materialized view that is not filled cannot be read."""
        unfilled = self.connection.execute("SELECT oid::int8 FROM pg_class WHERE relkind = 'm' AND NOT relispopulated")
        left_out = {oid for (oid,) in unfilled}
        for each in self.catalog.tables.values():
            if not each.partitioned and each.kind in {"table", "materialized view"} and each.oid not in left_out:
                yield each


class Leaks:
    """The look for one partition of the values.

    Args:
        sides: the source and the copy.
        roles: what the columns of the source's tables hold, by oid.
        sources: in which ways the source tells who somebody is.
        hasher: with this run's salt.
        size: about how many values there are.
        part: which partition, from 0, of how many.
        kept: columns that are kept for a reason.
        look: at `words`, or at whole `cells` alone.
    """

    def __init__(
        self,
        sides: tuple[Side, Side],
        roles: dict[int, dict[str, Role]],
        sources: Sequence[Source],
        hasher: Hasher,
        size: int,
        part: tuple[int, int] = (0, 1),
        kept: Collection[tuple[str, str, str]] = (),
        *,
        look: Literal["words", "cells"] = "words",
    ) -> None:
        self.before, self.after = sides
        self._roles, self._sources, self._hasher = roles, sources, hasher
        self._by_name = {(table.schema, table.name): table for table in self.before.catalog.tables.values()}
        self._sought = Sought(hasher, size, *part, whole=look == "cells")
        self._names = Names(hasher, size // part[1])
        self._apart = Apart(hasher, self._names)
        self._series = Series(hasher)
        self._suspects = _Suspects()
        self._kept, self._whole = kept, look == "cells"
        self._photos = {
            Place(table.schema, table.name, name)
            for table in self._by_name.values()
            for name, role in roles.get(table.oid, {}).items()
            if role.kind in {"photo", "external image id"}
        }
        self._extensions = set(hasher.each(EXTENSIONS).tolist())
        #: how many rows each table has
        self.counts: tuple[dict[TableName, int], dict[TableName, int]] = ({}, {})
        self.values = 0

    def gather(self, rows: dict[TableName, Rows]) -> None:
        """Read what identifies persons in the source, and the rows that are compared."""
        rare: dict[int, int] = {}
        for table in self.before.stored():
            name = (table.schema, table.name)
            mine = self._of(table, range(len(self._sources)))
            compared = rows.get(name)
            columns = _columns(mine.values(), compared)
            if not columns:
                continue
            count = 0
            read, long = self._words(self.before, table, columns)
            place = {each: at for at, each in enumerate(columns)}
            for words in read:
                count += words.rows
                self._add(told(self._hasher, words, place, mine))
                if compared is not None:
                    compared.add(self._hasher, words, place)
            for column, words in long:
                self._add(self._told(column, words, mine))
            self.counts[0][name] = count
            for number, each in mine.items():
                rare[number] = count if each.kind in BIOMETRIC and each.kind != "subject" else max(_OFTEN, count // 100)
        self._sought.gathered(rare)
        self._names.gathered(self._sought)
        self.values = len(self._sought)

    def _add(self, values: Iterator[tuple[int, Told]]) -> None:
        """Add values to those that are looked for, each with the number of what tells it."""
        for number, each in values:
            self._sought.add(each.hashes, number, each.prefixes, each.tag)
            if each.parts:
                self._names.add(each.part_hashes, each.parts)
            if each.numbers is not None:
                self._series.add(each.numbers, each.tag)

    def look(self, rows: dict[TableName, Rows]) -> None:
        """Look for the values in each cell of the copy, and read the rows that are compared."""
        for table in self.after.stored():
            name = (table.schema, table.name)
            columns = [name for name, each in table.columns.items() if can_hold(each.value, each.labels)]
            if self._whole and all(each.kind in _LETTERS for each in self._sources):
                columns = [name for name in columns if table.columns[name].value.name not in _NUMBERS]
            compared = rows.get(name)
            columns += [each for each in _columns((), compared) if each not in columns]
            if columns:
                self._look(table, columns, compared)

    def _look(self, table: Table, columns: list[str], compared: Rows | None) -> None:
        import numpy as np

        names = [Place(table.schema, table.name, name) for name in columns]
        drawn = self._drawn(table)
        raw = [at for at, name in enumerate(columns) if _is(table.columns[name].value, {"bytea"})]
        count = 0
        parted = [at for at, name in enumerate(columns) if _is(table.columns[name].value, _KEYED)]
        read, long = self._words(self.after, table, columns)
        place = {each: at for at, each in enumerate(columns)}
        for words in read:
            count += words.rows
            if compared is not None:
                compared.add(self._hasher, words, place)
            column_of = np.tile(np.arange(words.columns), words.rows)
            if self._whole:
                self._hits(words, column_of, names, drawn, whole=True)
                continue
            self._search_in(words, column_of, raw, names, drawn)
            if parted:
                self._search(self._names.only(words, parted), column_of, names, drawn)
        for column, words in long if not self._whole else ():
            own = np.full(words.rows, place[column])
            self._search_in(words, own, [0] if place[column] in raw else [], names, drawn)
        self.counts[1][table.schema, table.name] = count

    def _search_in(
        self,
        words: Words,
        column_of: "np.ndarray[Any, Any]",
        raw: Sequence[int],
        names: list[Place],
        drawn: set[Place],
    ) -> None:
        """Look for the values in some words, and in what they say in other writings."""
        self._search(words, column_of, names, drawn)
        lines, cells = other_writings(words, raw)
        if cells:
            self._search(self._hasher.words(lines, 1), column_of[cells], names, drawn)

    def _search(self, words: Words, column_of: "np.ndarray[Any, Any]", names: list[Place], drawn: set[Place]) -> None:
        """Look for the values in some words, and in those that belong together and stand apart."""
        self._hits(words, column_of, names, drawn)
        for group, cells in self._apart(words):
            self._hits(group, column_of[cells], names, drawn)

    def _hits(
        self,
        words: Words,
        column_of: "np.ndarray[Any, Any]",
        names: list[Place],
        drawn: set[Place],
        *,
        whole: bool = False,
    ) -> None:
        """Note what is found in some words; the column of each cell is a place in `names`."""
        self._names.look(words, column_of, names)
        for hits in self._sought.cells(words) if whole else self._sought.sequences(words):
            self._note(words, hits, hits.length, column_of, names, drawn)
        if self._sought.has_numbers:

            def look(numbers: Numbers, hashes: "Hashes") -> None:
                self._series.look(numbers, hashes, column_of[words.cells[numbers.first]], names)

            for hits in self._sought.numbers(words, look, whole=whole):
                marked = self._series.marked(words, hits.words)
                for which, length in ((marked, 0), (~marked, -hits.tag)):
                    self._note(words, hits.some(which), length, column_of, names, drawn)

    def _note(
        self,
        words: Words,
        hits: Hits,
        length: int,
        column_of: "np.ndarray[Any, Any]",
        names: list[Place],
        drawn: set[Place],
    ) -> None:
        """Note hits until they are confirmed."""
        for at, column in enumerate(column_of[words.cells[hits.words]].tolist()):
            kind = self._sources[int(hits.origins[at])].kind
            if kind == "subject" and not self._is_photo(words, int(hits.last[at]), names[column]):
                continue
            if names[column] not in drawn or kind not in DRAWN:
                self._suspects.add(names[column], length, words, hits, at)

    def _is_photo(self, words: Words, last: int, place: Place) -> bool:
        """Tell whether a cell is one of a photo: elsewhere the id of a subject is an id as others are."""
        cell = int(words.cells[last])
        end = int(words.first[cell] + words.count[cell])
        if place[:3] in self._kept:
            return False
        return place in self._photos or bool(set(words.hashes[last:end].tolist()) & self._extensions)

    def _drawn(self, table: Table) -> set[Place]:
        """Return the columns whose masks draw from pools: they are compared row by row."""
        before = self._by_name.get((table.schema, table.name))
        roles = self._roles.get(before.oid, {}) if before is not None else {}
        return {Place(table.schema, table.name, name) for name, role in roles.items() if role.kind in DRAWN}

    def look_beside(self) -> None:
        """Look for the values in what the copy has beside its tables: its definitions, and large objects."""
        places, cells = [], []
        for place, text in texts(self.after.connection):
            places.append(place)
            cells.append(text)
        drawn = {each for table in self.after.stored() for each in self._drawn(table)}
        drawn |= {each for each in places if Place(*each[:3]) in drawn and each.what == "statistics of a column"}
        self._beside(places, cells, drawn)
        for part in large_objects(self.after.connection) if not self._whole else ():
            self._beside([Place(None, None, None, "large object")], [f"\\x{part.hex()}"], set())

    def _beside(self, places: list[Place], cells: list[str], drawn: set[Place]) -> None:
        """Look for the values in texts, each of which has a place."""
        import numpy as np

        if not cells:
            return
        lines = "".join(f"{each.translate(_COPIED)}\n" for each in cells)
        words = self._hasher.words(lines.encode("utf-8", "replace"), 1)
        names = list(dict.fromkeys(places))
        number = {name: at for at, name in enumerate(names)}
        column_of = np.array([number[each] for each in places])
        raw = [0] if places[0].what == "large object" else []
        self._search_in(words, column_of, raw, names, drawn)

    def confirmed(self) -> Iterator[Leak]:
        """Read the source again for what was found, compare the values themselves, and yield what is no chance."""
        import numpy as np

        wanted = self._suspects.wanted()
        for table in self.before.stored():
            mine = self._of(table, wanted)
            if not mine:
                continue
            hashes = {number: np.fromiter(wanted[number], np.uint64) for number in mine}
            columns = _columns(mine.values(), None)
            place = {each: at for at, each in enumerate(columns)}
            read, long = self._words(self.before, table, columns)
            for number, values in itertools.chain(
                (each for words in read for each in told(self._hasher, words, place, mine)),
                (each for column, words in long for each in self._told(column, words, mine)),
            ):
                for at in np.flatnonzero(np.isin(values.hashes, hashes[number])).tolist():
                    self._suspects.confirm(number, int(values.hashes[at]), values.text(at))
        found: Counter[tuple[Place, int]] = Counter()
        for (column, origin, length), hits in self._suspects.confirmed():
            if length < 0 and self._series.by_chance(column, -length, hits):
                continue
            count = sum(hits.values())
            name = (column.schema or "", column.table or "")
            # no mask has filled a table that the source does not have
            rows = self.counts[1].get(name, 0) if not column.what and name in self._by_name else _MANY
            if self._sources[origin].kind != "full name" or not self._names.by_chance(column, length, rows):
                found[column, origin] += count
        for (column, origin), count in found.items():
            yield Leak(column, self._sources[origin], count)

    def _of(self, table: Table, origins: Collection[int]) -> dict[int, Source]:
        """Return those of the origins that a table has."""
        return {
            number: self._sources[number]
            for number in origins
            if (self._sources[number].schema, self._sources[number].table) == (table.schema, table.name)
        }

    def _told(self, column: str, words: Words, sources: dict[int, Source]) -> Iterator[tuple[int, Told]]:
        """Yield the values that stand within the long cells of a column, of which words are the pieces."""
        own = {number: each for number, each in sources.items() if each.scattered and each.columns == (column,)}
        yield from told(self._hasher, words, {column: 0}, own)

    def _words(
        self, side: Side, table: Table, columns: list[str]
    ) -> tuple[Iterator[Words], Iterator[tuple[str, Words]]]:
        """Return the words of rows, in blocks, and those of cells that are too long, with their columns."""
        types = {name: table.columns[name].value for name in columns}
        long = long_cells(side.connection, table, types)
        expressions = [_read(name, each, long.get(name)) for name, each in types.items()]
        rows = blocks(side.connection, table, expressions, lambda block: self._hasher.words(block, len(columns)))
        return rows, pieces(side.connection, table, long, types, lambda block: self._hasher.words(block, 1))


class _Suspects:
    """Hits by their hashes, until the values themselves are compared."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Place, int, int], Counter[int]] = {}
        self._texts: dict[tuple[int, int], set[str]] = {}  # what has this hash in the copy
        self._same: set[tuple[int, int]] = set()

    def add(self, column: Place, length: int, words: Words, hits: Hits, at: int) -> None:
        """Add a hit, number `at` of some.

        Args:
            column: where it was found.
            length: of how many words it is; 0 of a number that a word before it names, and else minus its tag.
            words: of the cells.
            hits: some hits.
            at: which of them.
        """
        origin, hashed = int(hits.origins[at]), int(hits.hashes[at])
        counts = self._counts.setdefault((column, origin, length), Counter())
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
        if text in self._texts.get((origin, hashed), ()):
            self._same.add((origin, hashed))

    def confirmed(self) -> Iterator[tuple[tuple[Place, int, int], dict[int, int]]]:
        """Yield columns, origins and numbers of words, and how often which values stand there, by their hashes."""
        for (column, origin, length), counts in self._counts.items():
            same = {hashed: many for hashed, many in counts.items() if (origin, hashed) in self._same}
            if same:
                yield (column, origin, length), same


def sources_in(side: Side, roles: dict[int, dict[str, Role]]) -> list[Source]:
    """Return in which ways a source tells who somebody is."""
    found = []
    for table in side.stored():
        mine = roles[table.oid]
        texts = [name for name, each in table.columns.items() if name not in mine and _is(each.value, _TEXTS)]
        texts = [name for name in texts if not table.columns[name].labels]
        found += [
            *sources_of(table.schema, table.name, mine),
            *scattered(table.schema, table.name, texts),
        ]
    return found


def _is(value: ValueType, names: Collection[str]) -> bool:
    return value.name in names or (value.part is not None and _is(value.part, names))


def _read(name: str, value: ValueType, long: sql.Composable | None) -> sql.Composable:
    """Return the expression that reads a column: money without commas, a vector's words in their order.

    Args:
        name: of the column.
        value: its type.
        long: the condition of cells that are too long, and are read as NULL.
    """
    form = sql.SQL(_FORMS.get(value.name, "{}") if value.kind == "scalar" else "{}").format(sql.Identifier(name))
    return sql.SQL("CASE WHEN {} THEN NULL ELSE {} END").format(long, form) if long else form


def _columns(sources: Iterable[Source], compared: Rows | None) -> list[str]:
    """Return the columns that are read for some sources, and for the rows that are compared."""
    names = [name for each in sources for name in each.columns]
    if compared is not None and compared.columns:
        names += [*compared.key, *compared.columns]
    return list(dict.fromkeys(names))
