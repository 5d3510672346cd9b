"""Unique keys, by construction: no value is drawn twice, and nothing is remembered or tried again.

A key that contains a number of the row, or its parent and its number among that parent's children, needs nothing. Of
other keys one column or several are *dealt*: the rows of a group are numbered, the number is permuted, and its digits
are the columns' values. A group is what the key tells apart already: the pupils of a class must differ within the class
(its unique key is class and pupil), so each class deals its pupils out anew.

Where two keys share a column, the shared column takes the lowest digit, and each key deals its other columns by what is
left of the number: `(a, b)` and `(a, c)` hold together.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

from seedtool.generating.columns import Drawn, Made, Parent, Referring, Serial, Template, WithNulls
from seedtool.generating.numbering import Numbering, Span
from seedtool.values import hashing
from seedtool.values.cells import concat
from seedtool.values.permutation import permute

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np

    from seedtool.generating.columns import Field
    from seedtool.generating.rows import Batch, PlannedTable
    from seedtool.postgres.catalog import UniqueKey
    from seedtool.values.cells import Cells
    from seedtool.values.word import Kind

#: A column is dealt alone when it has so many values for each row; else all columns of the key are.
_ROOM = 4
#: The most values that a group can be dealt: the product of a number and a step stays below 2**63.
_MOST = 2**31

#: The rows of a table of which a key is looked at row by row, where its columns are all made from others.
_LOOKED_AT = 5_000_000

_PLAIN = bytes(16)

#: Groups that are looked at together when a plan is checked.
_CHUNK = 1 << 18


class Member(Protocol):
    """A column that is dealt."""

    def dealt_by(self, deal: Deal, place: int) -> None:
        """Say which deal gives the numbers, and at which place."""
        ...

    def sizes(self, batch: Batch) -> np.ndarray:
        """Return how many values it may have in each row, int64[n]."""
        ...


class DealtReference:
    """A reference whose rows are dealt.

    Args:
        drawn: the reference as it would be drawn.
        column: its column, or the first of them.
    """

    def __init__(self, drawn: Drawn, column: str) -> None:
        self.target = drawn.target
        self.column = column
        self._nulls = drawn.none
        self._deal: tuple[Deal, int] | None = None

    def dealt_by(self, deal: Deal, place: int) -> None:
        """Say which deal gives the numbers."""
        self._deal = deal, place

    def sizes(self, batch: Batch) -> np.ndarray:
        """Return how many rows may be referred to."""
        first, last = batch.planned.numbering.span(batch.rows, self.target.numbering)
        found: np.ndarray = last - first
        return found

    def rows(self, batch: Batch) -> np.ndarray:
        """Return the numbers of the rows that are meant; -1 for none."""
        import numpy as np

        assert self._deal is not None  # noqa: S101 - `settle` gives each its deal
        deal, place = self._deal
        first, _ = batch.planned.numbering.span(batch.rows, self.target.numbering)
        none = self._nulls(batch)
        return np.where(none, -1, first + deal.digits(batch)[place])


class DealtKind:
    """A column of a kind whose values can be counted, and are dealt.

    Args:
        kind: the kind.
        capacity: how many values there are.
        moved: rows whose value somebody else's row has: they get one from the other end.
    """

    def __init__(self, kind: Kind, capacity: int) -> None:
        self._kind = kind
        self._capacity = capacity
        self._deal: tuple[Deal, int] | None = None
        self.moved: np.ndarray | None = None

    def dealt_by(self, deal: Deal, place: int) -> None:
        """Say which deal gives the numbers."""
        self._deal = deal, place

    def sizes(self, batch: Batch) -> np.ndarray:
        """Return how many values there are."""
        import numpy as np

        return np.full(len(batch), min(self._capacity, 2**62), dtype=np.int64)

    def cells(self, batch: Batch) -> Cells:
        """Return the values."""
        import numpy as np

        assert self._deal is not None  # noqa: S101 - `settle` gives each its deal
        assert self._kind.nth is not None  # noqa: S101 - its values can be counted
        deal, place = self._deal
        numbers = deal.digits(batch)[place]
        if self.moved is not None and len(self.moved):
            other = deal.digits(batch, mirrored=True)[place]
            numbers = np.where(np.isin(batch.rows, self.moved), other, numbers)
        return self._kind.nth(numbers.astype(np.uint64))


class Group:
    """Which rows have to differ: those below one row of a table, those of a unit, or all.

    Args:
        own: the numbering of the table whose rows are dealt.
        above: the table whose rows make the groups; None for units or all.
        whole: all rows are one group.
    """

    def __init__(self, own: Numbering, above: Numbering | None, *, whole: bool) -> None:
        self._own = own
        self._above = above
        self.whole = whole

    def ordinals(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each row's group, and its number in it, int64[n] both."""
        import numpy as np

        if self.whole:
            return np.zeros(len(rows), dtype=np.int64), rows
        groups, above, step = self._group(rows)
        first = self._own.below(Span(groups * step, (groups + 1) * step), above).first if above else groups * step
        return groups, rows - first

    def _group(self, rows: np.ndarray) -> tuple[np.ndarray, Numbering | None, int]:
        if self._above is not None:
            return self._own.up(rows, self._above), self._above if self._above is not self._own else None, 1
        root = self._own.root
        assert root.of_unit is not None  # noqa: S101 - else all rows are one group
        return self._own.up(rows, root) // root.of_unit, root if root is not self._own else None, root.of_unit


class Deal:
    """Deals the numbers of a group's rows out as values of columns.

    Args:
        group: the group.
        shared: columns that several keys have: they take the lowest digits.
        tails: for each key the columns that it deals besides.
        key: of the permutations.
    """

    def __init__(self, group: Group, shared: Sequence[Member], tails: Sequence[Sequence[Member]], key: bytes) -> None:
        self.group = group
        self._shared = shared
        self._tails = tails
        self._key = key
        self._counted = all(isinstance(each, DealtKind) for each in [*shared, *(one for tail in tails for one in tail)])
        for place, each in enumerate([*shared, *(one for tail in tails for one in tail)]):
            each.dealt_by(self, place)

    def sizes(self, batch: Batch) -> np.ndarray:
        """Return how many rows each row's group may have, int64[n]."""
        import numpy as np

        found = np.full(len(batch), 2**62, dtype=np.int64)
        for tail in self._tails:
            found = np.minimum(found, _product([each.sizes(batch) for each in tail]))
        return _product([found, *(each.sizes(batch) for each in self._shared)])

    def digits(self, batch: Batch, *, mirrored: bool = False) -> list[np.ndarray]:
        """Return each column's numbers, int64[n].

        Args:
            batch: the rows.
            mirrored: deal the numbers from the other end, for rows whose values are taken.
        """
        import numpy as np

        groups, rest = self.group.ordinals(batch.rows)
        found: list[np.ndarray] = []
        for each in self._shared:
            sizes = np.maximum(each.sizes(batch), 1)
            found.append(rest % sizes)
            rest = rest // sizes
        for place, tail in enumerate(self._tails):
            sizes = [np.maximum(each.sizes(batch), 1) for each in tail]
            key = hashing.key_of(self._key, str(place))
            number = self._permuted(key, groups, rest, _product(sizes), mirrored=mirrored)
            for size in sizes:
                found.append(number % size)
                number = number // size
        return found

    def _permuted(
        self, key: bytes, groups: np.ndarray, rest: np.ndarray, sizes: np.ndarray, *, mirrored: bool
    ) -> np.ndarray:
        import numpy as np

        start = (hashing.stream(key, groups) >> np.uint64(2)).astype(np.int64) % sizes
        if not len(rest):
            return rest
        if self._counted:  # all groups have the same size: a Feistel network
            size = int(sizes[0])
            at = rest if self.group.whole else (rest + start) % size
            at = size - 1 - at if mirrored else at
            return permute(key, at.astype(np.uint64), size).astype(np.int64)
        # groups have sizes of their own: steps through them that have no divisor in common with the size
        step = 1 + (hashing.stream(key, groups, 1) >> np.uint64(2)).astype(np.int64) % sizes
        while (bad := np.gcd(step, sizes) != 1).any():
            step = np.where(bad, step + 1, step)
        found: np.ndarray = (rest * step + start) % sizes
        return found


def _product(sizes: Sequence[np.ndarray]) -> np.ndarray:
    """Return the product of sizes, where it would overflow a number that is too large for any group."""
    import numpy as np

    found = sizes[0]
    for each in sizes[1:]:
        large = found.astype(float) * each > 2.0**62
        found = np.where(large, 2**62, found * np.where(large, 1, each))
    return found


class Fault(NamedTuple):
    """What is wrong with a key: the column that is named, what is wrong, and what to do."""

    column: str
    fault: str
    remedy: str


def settle(planned: PlannedTable, key_of: bytes, rows: int, units: int) -> Fault | None:
    """Let the columns of unique keys be dealt, where they are not unique by themselves.

    Args:
        planned: a table whose columns all have their makers.
        key_of: of the table's permutations.
        rows: how many rows it has at a scale of 1: what is dealt depends on that, and never on the scale.
        units: how many units are made, to see whether there are enough values.

    Returns:
        What is wrong; None where nothing is.
    """
    for key, names in _keys(planned):
        several = [name for name in names if isinstance(planned.makers.get(name), WithNulls)]
        if several and not key.nulls_distinct:
            return Fault(
                several[0],
                f"{key.name} is NULLS NOT DISTINCT: it takes NULL in {' and '.join(names)} once",
                f"Remove nulls from the line of {several[0]}.",
            )
    open_keys = [(key, names) for key, names in _keys(planned) if not _tells_apart(planned, names)]
    dealt: dict[frozenset[str], Deal] = {}
    done: set[str] = set()
    for key, names in sorted(open_keys, key=lambda each: len(each[1])):
        if _tells_apart(planned, names) or any(set(names) >= each for each in dealt):
            continue
        sharing = [
            other
            for other in open_keys
            if other[0] is not key and set(_movable(planned, other[1])) & set(_movable(planned, names))
        ]
        fault = _deal(planned, key, names, sharing, dealt, done, key_of, rows, units)
        if fault is not None:
            return fault
    return None


def dealt_kinds(planned: PlannedTable) -> Iterator[tuple[str, DealtKind]]:
    """Yield the columns whose dealt values somebody else's rows may have, too."""
    for key in planned.table.keys:
        if len(key.columns) == 1:
            maker = planned.makers.get(key.columns[0])
            maker = maker.maker if isinstance(maker, WithNulls) else maker
            if isinstance(maker, DealtKind):
                yield key.columns[0], maker


def collisions(planned: PlannedTable, dealt: DealtKind, taken: frozenset[bytes], first: int, last: int) -> list[int]:
    """Return the rows whose value is taken.

    Args:
        planned: the table.
        dealt: what makes it.
        taken: the values that rows of others have.
        first: the first row that is looked at.
        last: the row after the last.
    """
    import numpy as np

    found: list[int] = []
    for start in range(first, last, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, last), dtype=np.int64)
        values = dealt.cells(planned.batch(rows)).tolist()
        found += [start + place for place, value in enumerate(values) if value in taken]
    return found


def _keys(planned: PlannedTable) -> Iterable[tuple[UniqueKey, tuple[str, ...]]]:
    """Yield the unique keys with the columns that they are made of; those of an expression are found in its text."""
    for key in planned.table.keys:
        names = list(key.columns)
        if len(key.columns) < len(key.expressions):
            text = " ".join(key.expressions)
            names += [name for name in planned.table.columns if re.search(rf"\b{re.escape(name)}\b", text)]
        names = [name for name in dict.fromkeys(names) if not planned.table.columns[name].generated]
        if any(name not in planned.makers and planned.table.columns[name].default is None for name in names):
            continue  # NULL in every row, and two NULLs differ
        if any(planned.table.columns[name].generated for name in key.columns):
            continue
        yield key, tuple(names)


def _tells_apart(planned: PlannedTable, names: Iterable[str]) -> bool:
    """Tell whether no two rows have the same values in these columns, by what makes them."""
    atoms: set[str] = set()
    for name in names:
        atoms |= determined(planned, name)
    return "row" in atoms or {"parent", "child"} <= atoms


def determined(planned: PlannedTable, name: str) -> set[str]:
    """Return what a column's value says of its row: `row` (which it is), `parent` (whose), `child` (which of its)."""
    maker = planned.makers.get(name)
    if isinstance(maker, WithNulls):  # two NULLs differ
        maker = maker.maker
    if isinstance(maker, Serial):
        return {"row"}
    if isinstance(maker, Made):
        return {"row"} if maker.kind.distinct or maker.kind.name == "uuid" else set()
    if isinstance(maker, Template):
        return set().union(*(_of_field(planned, part) for part in maker.parts if not isinstance(part, str)))
    if isinstance(maker, Referring):
        return _of_reference(planned, maker.relation, maker.column)
    return set()


def _of_field(planned: PlannedTable, field: Field) -> set[str]:
    if field.relation is not None:
        return _of_reference(planned, field.relation, field.name)
    if field.above is not None:
        return {"parent"} if field.above is planned.numbering.parent else set()
    if field.name in {"n", "k"}:
        return {"row" if field.name == "n" else "child"}
    return determined(planned, field.name)


def _of_reference(planned: PlannedTable, relation: str, column: str) -> set[str]:
    """Return what a column of the parent says: which it is, where the column tells parents apart."""
    found = planned.relations[relation]
    if not isinstance(found, Parent) or found.target.numbering is not planned.numbering.parent:
        return set()
    target = found.target
    apart = any(key.columns == (column,) and key.predicate is None for key in target.table.keys)
    if not apart and "row" not in determined(target, column):
        return set()
    return {"row"} if planned.numbering.most_children <= 1 else {"parent"}


def _movable(planned: PlannedTable, names: Iterable[str]) -> list[str]:
    """Return the columns that could be dealt."""
    found = []
    for name in names:
        maker = planned.makers.get(name)
        maker = maker.maker if isinstance(maker, WithNulls) else maker
        if isinstance(maker, Made) and maker.kind.nth is not None and maker.kind.capacity:
            found.append(name)
        elif isinstance(maker, Referring):
            relation = planned.relations[maker.relation]
            if isinstance(relation, Drawn) and relation.target is not planned and not relation.each:
                found.append(name)
    return found


def _deal(
    planned: PlannedTable,
    key: UniqueKey,
    names: tuple[str, ...],
    sharing: Sequence[tuple[UniqueKey, tuple[str, ...]]],
    dealt: dict[frozenset[str], Deal],
    done: set[str],
    key_of: bytes,
    rows: int,
    units: int,
) -> Fault | None:
    """Deal the columns of a key, with those of the keys that share some of them."""
    import numpy as np

    movable = [name for name in _movable(planned, names) if name not in done]
    if not movable:
        group = _group(planned, names, [])
        return _nothing_movable(planned, key, names, group, units)
    group = _group(planned, names, movable)
    sample = planned.batch(np.arange(min(rows, _CHUNK), dtype=np.int64))
    most = int(group.ordinals(sample.rows)[1].max(initial=0)) + 1
    least = {name: int(_sizes(planned, name, sample).min(initial=2**62)) for name in movable}
    if key.predicate is not None and not key.primary and math.prod(least.values()) < most:
        return None  # only rows of the predicate have to differ; the database has the last word
    shared_names = [name for name in movable if any(name in other[1] for other in sharing)]
    # the column with most room carries the key alone, so that the others stay as they are drawn
    alone = [name for name in movable if least[name] >= _ROOM * most or least[name] >= most == rows]
    alone = [name for name in alone if name not in shared_names] or alone
    if not alone and len(movable) == 1:
        alone = movable
    if alone:
        best = max(alone, key=lambda name: least[name])
        deal = Deal(group, [], [[_convert(planned, best)]], hashing.key_of(key_of, "deal", best))
        dealt[frozenset([best, *(name for name in names if name not in movable)])] = deal
        done.add(best)
        return _check(planned, key, names, deal, units)
    if shared_names and len(shared_names) < len(movable):
        tails = [[name for name in movable if name not in shared_names]]
        for _, other in sharing:
            if set(shared_names) <= set(other):
                tail = [name for name in _movable(planned, other) if name not in shared_names and name not in done]
                if tail and tail not in tails:
                    tails.append(tail)
    else:
        shared_names, tails = [], [movable]
    converted = {name: _convert(planned, name) for name in [*shared_names, *(one for tail in tails for one in tail)]}
    deal = Deal(
        group,
        [converted[name] for name in shared_names],
        [[converted[name] for name in tail] for tail in tails],
        hashing.key_of(key_of, "deal", *movable),
    )
    fixed = [name for name in names if name not in movable]
    for tail in tails:
        dealt[frozenset([*fixed, *shared_names, *tail])] = deal
    done.update(converted)
    return _check(planned, key, names, deal, units)


def _sizes(planned: PlannedTable, name: str, batch: Batch) -> np.ndarray:
    import numpy as np

    maker = planned.makers[name]
    maker = maker.maker if isinstance(maker, WithNulls) else maker
    if isinstance(maker, Made):
        return np.full(len(batch), min(maker.kind.capacity or 1, 2**62), dtype=np.int64)
    assert isinstance(maker, Referring)  # noqa: S101 - `_movable` returned it
    first, last = planned.numbering.span(batch.rows, planned.relations[maker.relation].target.numbering)
    found: np.ndarray = last - first
    return found


def _convert(planned: PlannedTable, name: str) -> Member:
    """Put what deals a column in the place of what would draw it."""
    maker = planned.makers[name]
    inner = maker.maker if isinstance(maker, WithNulls) else maker
    if isinstance(inner, Made):
        found = DealtKind(inner.kind, inner.kind.capacity or 1)
        if isinstance(maker, WithNulls):
            maker.maker = found
        else:
            planned.makers[name] = found
        return found
    assert isinstance(inner, Referring)  # noqa: S101 - `_movable` returned it
    relation = planned.relations[inner.relation]
    assert isinstance(relation, Drawn)  # noqa: S101 - the same
    dealt = DealtReference(relation, name)
    planned.relations[inner.relation] = dealt
    return dealt


def _group(planned: PlannedTable, names: Iterable[str], movable: Sequence[str]) -> Group:
    """Return which rows have to differ in what is dealt: those that nothing else of the key tells apart."""
    own = planned.numbering
    above: list[Numbering] = []
    whole = True
    for name in names:
        maker = planned.makers.get(name)
        maker = maker.maker if isinstance(maker, WithNulls) else maker
        if not isinstance(maker, Referring):
            continue
        relation = planned.relations[maker.relation]
        target = relation.target.numbering
        if isinstance(relation, Parent):
            above.append(target)
        elif name in movable:
            common = own.common(target)
            if common is not None and common is not own:
                above.append(common)
            elif target.root.of_unit is not None and own.root.of_unit is not None:
                whole = False  # each unit has rows of its own to refer to
    if above:
        return Group(own, min(above, key=own.chain.index), whole=False)
    return Group(own, None, whole=whole)


def _check(planned: PlannedTable, key: UniqueKey, names: Sequence[str], deal: Deal, units: int) -> Fault | None:
    """Find a group that has more rows than there are values for them."""
    import numpy as np

    total = planned.numbering.total(units)
    if deal.group.whole:
        starts: Iterable[int] = [max(total - 1, 0)]
    else:
        starts = range(0, total, _CHUNK)
    for start in starts:
        batch = planned.batch(np.arange(start, min(start + _CHUNK, total), dtype=np.int64))
        _, ordinals = deal.group.ordinals(batch.rows)
        sizes = deal.sizes(batch)
        over = np.flatnonzero(ordinals >= sizes)
        if len(over):
            row = over[0]
            return _too_few(planned, key, names, int(sizes[row]), int(ordinals[over].max()) + 1)
    return None


def _nothing_movable(
    planned: PlannedTable, key: UniqueKey, names: Sequence[str], group: Group, units: int
) -> Fault | None:
    """Say what is wrong with a key whose columns are all given by others, unless each group has one row."""
    import numpy as np

    if key.predicate is not None and not key.primary:
        return None  # only rows of the predicate have to differ; the database has the last word
    total = planned.numbering.total(units)
    for start in range(0, total, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, total), dtype=np.int64)
        if int(group.ordinals(rows)[1].max(initial=0)) > 0:
            break
    else:
        return None
    if any(planned.makers.get(name) is None for name in names):
        column = next(name for name in names if planned.makers.get(name) is None)
        if planned.table.columns[column].default_has_effects or "uuid" in (planned.table.columns[column].default or ""):
            return None  # the database gives each row a value of its own
    twice = _twice(planned, [name for name in names if name in planned.makers], total)
    if twice is None:
        return None
    return Fault(
        names[0],
        f"{key.name} allows no two rows with the same {' and '.join(names)}, and row {twice + 1:,} has the same as one"
        " before it",
        f'Write {names[-1]} = "{planned.name}-{{n}}", say: {{n}} is the number of the row.',
    )


def _twice(planned: PlannedTable, names: Sequence[str], total: int) -> int | None:
    """Return the first row whose values another one has, too; None where there is none.

    It is looked for by a hash of 64 bits. Of a table with more rows the database has the last word.
    """
    import numpy as np

    if not names:
        return 1
    if total > _LOOKED_AT:
        return None
    found = []
    for start in range(0, total, _CHUNK):
        batch = planned.batch(np.arange(start, min(start + _CHUNK, total), dtype=np.int64))
        parts: list[Cells | bytes] = []
        for name in names:
            parts += [batch.cells(name), b"\x1f"]
        joined = concat(parts)
        starts = np.arange(len(joined), dtype=np.int64) * joined.width
        hashed = hashing.siphash(_PLAIN, joined.matrix.reshape(-1), starts, starts + np.maximum(joined.lengths, 0))
        null = joined.lengths < 0  # two NULLs differ
        found.append(np.where(null, np.uint64(2**63) + batch.rows.astype(np.uint64), hashed >> np.uint64(1)))
    hashes = np.concatenate(found) if found else np.zeros(0, dtype=np.uint64)
    _, first = np.unique(hashes, return_index=True)
    if len(first) == len(hashes):
        return None
    again = np.ones(len(hashes), dtype=bool)
    again[first] = False
    return int(np.flatnonzero(again)[0])


def _too_few(planned: PlannedTable, key: UniqueKey, names: Sequence[str], size: int, rows: int) -> Fault:
    return Fault(
        names[0],
        f"{planned.name} needs {rows:,} different values of {' and '.join(names)} ({key.name}), and there are {size:,}",
        "Make fewer rows, or let the column have more values.",
    )
