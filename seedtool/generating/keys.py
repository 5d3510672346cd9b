"""Unique keys, by construction: no value is drawn twice, and nothing is remembered or tried again.

A key that contains a number of the row, or its parent and its number among that parent's children, needs nothing. Of
other keys one column or several are *dealt*: the rows of a group are numbered, the number is permuted, and its digits
are the columns' values. A group is what the key tells apart already: the pupils of a class must differ within the class
(its unique key is class and pupil), so each class deals its pupils out anew.

Where two keys share a column, the shared column takes the lowest digit, and each key deals its other columns by what is
left of the number: `(a, b)` and `(a, c)` hold together. Keys that overlap in other ways, such as `(a, b)`, `(b, c)` and
`(a, c)`, are dealt by a code (see `dealing.Code`): any two of its columns say which row it is.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from seedtool.generating import inference
from seedtool.generating.columns import Drawn, Made, Parent, Referring, Serial, Template, WithNulls
from seedtool.generating.dealing import MOST, Code, Deal, DealtKind, DealtReference, Group, base_of
from seedtool.values import hashing
from seedtool.values.cells import concat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np

    from seedtool.generating.columns import Field
    from seedtool.generating.dealing import Dealer, Member
    from seedtool.generating.numbering import Numbering
    from seedtool.generating.rows import Batch, PlannedTable
    from seedtool.postgres.catalog import UniqueKey
    from seedtool.values.cells import Cells

#: A column is dealt alone when it has so many values for each row; else all columns of the key are.
_ROOM = 4
#: The rows of a table of which a key is looked at row by row, where its columns are all made from others.
_LOOKED_AT = 5_000_000

#: The children of a row in a tree of a table that refers to itself, at most.
_CHILDREN = 4

_PLAIN = bytes(16)

#: Groups that are looked at together when a plan is checked.
_CHUNK = 1 << 18


class Fault(NamedTuple):
    """What is wrong with a key: the column that is named, what is wrong, and what to do; and whether keys overlap."""

    column: str
    fault: str
    remedy: str
    overlaps: bool = False


def settle(planned: PlannedTable, key_of: bytes, rows: int, units: int, usual: int) -> Fault | None:
    """Let the columns of unique keys be dealt, where they are not unique by themselves.

    Args:
        planned: a table whose columns all have their makers.
        key_of: of the table's permutations.
        rows: how many rows it has at a scale of 1: what is dealt depends on that, and never on the scale.
        units: how many units are made, to see whether there are enough values.
        usual: how many units a scale of 1 is: in which way columns are dealt depends on that.

    Returns:
        What is wrong; None where nothing is.
    """
    fault = _null_once(planned)
    if fault is not None:
        return fault
    kept = _Kept(planned)
    settle_so = _settle_apart
    fault = _settle_apart(planned, key_of, rows, usual)
    if fault is not None:
        kept.restore()
        other = _settle_together(planned, key_of, rows, usual)
        if other is None:
            fault, settle_so = None, _settle_together
        elif other.overlaps:
            fault = other
    if units == usual:
        return fault
    kept.restore()
    return settle_so(planned, key_of, rows, units)


class _Kept:
    """What makes a table's columns, so that another way to deal them can be tried."""

    def __init__(self, planned: PlannedTable) -> None:
        self._planned = planned
        self._makers = dict(planned.makers)
        self._relations = dict(planned.relations)
        self._inner = [(each, each.maker) for each in self._makers.values() if isinstance(each, WithNulls)]

    def restore(self) -> None:
        self._planned.makers.update(self._makers)
        self._planned.relations.update(self._relations)
        for outer, maker in self._inner:
            outer.maker = maker


def _null_once(planned: PlannedTable) -> Fault | None:
    """Refuse NULL in several rows, where a key takes it once."""
    for key in planned.table.keys:
        if key.nulls_distinct or key.predicate is not None:
            continue
        names = [name for name in key.columns if not planned.table.columns[name].generated]
        missing = [name for name in names if name not in planned.makers and not planned.table.columns[name].default]
        if names and len(missing) == len(key.expressions):
            column = planned.table.columns[missing[0]]
            return Fault(
                missing[0],
                f"{missing[0]} would be NULL in each row of {planned.name}, and {key.name} takes NULL once",
                f"Write a line for it: {inference.proposal(planned.table, column)}",
            )
        several = [name for name in names if _has_nulls(planned, name)]
        if several:
            return Fault(
                several[0],
                f"{key.name} is NULLS NOT DISTINCT: it takes NULL in {' and '.join(names)} once",
                f"Remove nulls from the line of {several[0]}.",
            )
    return None


def _has_nulls(planned: PlannedTable, name: str) -> bool:
    maker = planned.makers.get(name)
    relation = planned.relations.get(maker.relation) if isinstance(maker, Referring) else None
    return isinstance(maker, WithNulls) or (isinstance(relation, Drawn) and relation.nulls > 0)


def _settle_apart(planned: PlannedTable, key_of: bytes, rows: int, units: int) -> Fault | None:
    """Deal the columns of one key after the other, those that share a column of all together."""
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


class _Demand(NamedTuple):
    """A unique key that is to be dealt.

    Args:
        key: the key.
        names: the columns that it is made of.
        movable: those that can be dealt.
        group: the rows that have to differ in them.
    """

    key: UniqueKey
    names: tuple[str, ...]
    movable: tuple[str, ...]
    group: Group


def _settle_together(planned: PlannedTable, key_of: bytes, rows: int, units: int) -> Fault | None:
    """Deal keys that overlap at once."""
    import numpy as np

    _plant_trees(planned, key_of)
    open_keys = [(key, names) for key, names in _keys(planned) if not _tells_apart(planned, names)]
    demands = []
    for key, names in open_keys:
        if any(set(other) < set(names) for _, other in open_keys):
            continue  # a part of its columns tells its rows apart already
        movable = tuple(_movable(planned, names))
        if movable:
            demands.append(_Demand(key, names, movable, _group(planned, names, movable)))
        elif (fault := _nothing_movable(planned, key, names, _group(planned, names, []), units)) is not None:
            return fault
    sample = planned.batch(np.arange(min(rows, _CHUNK), dtype=np.int64))
    for overlapping in _overlapping(demands):
        fault = _deal_together(planned, overlapping, sample, key_of, units)
        if fault is not None:
            return fault
    return None


def _overlapping(demands: Sequence[_Demand]) -> list[list[_Demand]]:
    """Return the demands that share columns, together."""
    found: list[list[_Demand]] = []
    for demand in demands:
        sharing = [each for each in found if any(set(one.movable) & set(demand.movable) for one in each)]
        found = [each for each in found if each not in sharing]
        found.append([*(one for each in sharing for one in each), demand])
    return found


def _deal_together(
    planned: PlannedTable, demands: Sequence[_Demand], sample: Batch, key_of: bytes, units: int
) -> Fault | None:
    group = max((each.group for each in demands), key=lambda each: each.width)
    columns = sorted({name for each in demands for name in each.movable})
    least = {name: int(_sizes(planned, name, sample).min(initial=MOST)) for name in columns}
    # rows of one parent follow each other, and need not differ from others in what is dealt
    wide = [each for each in demands if each.group.width == group.width]
    narrow = [each for each in demands if each.group.width < group.width]
    most = {each: int(each.group.ordinals(sample.rows)[1].max(initial=0)) + 1 for each in narrow}
    key = hashing.key_of(key_of, "deal together", *columns)

    dealer: Dealer
    if len(demands) == 1 or len(columns) == 1:
        dealer = Deal(group, [], [[_convert(planned, name) for name in columns]], key)
        return _check(planned, wide[0].key, wide[0].names, dealer, units)
    shared = [name for name in columns if all(name in each.movable for each in demands)]
    shared.sort(key=lambda name: -least[name])
    tails = list(dict.fromkeys(tuple(name for name in each.movable if name not in shared) for each in wide))
    apart = all(tails) and len({name for tail in tails for name in tail}) == sum(map(len, tails))
    if shared and apart and math.prod(least[name] for name in shared) >= max(most.values(), default=0):
        # a column that only keys of one parent's rows have stays as it is: what is shared tells those rows apart
        converted = {name: _convert(planned, name) for name in [*shared, *(one for tail in tails for one in tail)]}
        dealer = Deal(
            group, [converted[name] for name in shared], [[converted[name] for name in tail] for tail in tails], key
        )
    else:
        columns.sort(key=lambda name: (least[name], name))
        digits = min(len(each.movable) for each in (wide if narrow else demands))
        wrap = sum((len(columns) - 1) ** power for power in range(1, digits))
        base = base_of(least[columns[0]], len(columns))
        if any(rows + wrap > base for rows in most.values()):
            return _too_many(planned, demands, 0, least)
        members = [_convert(planned, name) for name in columns]
        dealer = Code(group, members, digits, key, ordered=bool(narrow))
    for each in wide:
        if _check(planned, each.key, each.names, dealer, units) is not None:
            return _too_many(planned, demands, int(dealer.sizes(sample).min(initial=2**62)), least)
    return None


def _too_many(planned: PlannedTable, demands: Sequence[_Demand], dealt: int, least: Mapping[str, int]) -> Fault:
    """Return what is wrong where keys overlap, and there are not enough values for all of them."""
    column = min(least, key=lambda name: (least[name], name))
    pairs = ", ".join(f"({', '.join(each.names)})" for each in demands)
    only = f" {dealt:,} are possible." if dealt else ""
    return Fault(
        column,
        f"the rows of {planned.name} cannot all differ in {pairs}:{only} {column} has {least[column]:,} values",
        f"Make fewer rows, or let {column} have more values.",
        overlaps=True,
    )


class _Tree:
    """A table's references to itself where keys limit how many rows may refer to the same one: a tree.

    Args:
        drawn: the reference as it would be drawn.
        width: how many children a row has.
        parts: columns that tell a row's children apart: each of these lists does.
    """

    def __init__(self, drawn: Drawn, width: int, parts: Sequence[Sequence[str]]) -> None:
        self.parts = parts
        self.target = drawn.target
        self._drawn = drawn
        self._width = width
        self.whole = False

    def _places(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Return the first row of each row's tree, and how many rows of the tree are before it; -1 for the first."""
        first, own = self._drawn.span(batch)
        # the first row refers to none, or to itself and is then the first of its own children
        return first, own - first - (0 if self._drawn.needed else 1)

    def rows(self, batch: Batch) -> np.ndarray:
        """Return the parents; -1 for none."""
        import numpy as np

        first, before = self._places(batch)
        return np.where((before < 0) | self._drawn.none(batch), -1, first + before // self._width)

    def ordinals(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each row's parent, and which of its children it is."""
        import numpy as np

        first, before = self._places(self.target.batch(rows))
        return first + np.maximum(before, 0) // self._width, np.maximum(before, 0) % self._width


def _plant_trees(planned: PlannedTable, key_of: bytes) -> None:
    """Let rows refer to rows before as a tree, where keys have such a reference: then their other columns are dealt."""
    keys = [names for key, names in _keys(planned) if key.primary or key.predicate is None]
    for name, maker in list(planned.makers.items()):
        relation = planned.relations.get(maker.relation) if isinstance(maker, Referring) else None
        if not isinstance(maker, Referring) or not isinstance(relation, Drawn) or relation.target is not planned:
            continue
        limiting = [names for names in keys if name in names and not _tells_apart(planned, names)]
        if relation.each or not limiting:
            continue
        parts: list[list[str]] = []
        dealt: set[str] = set()
        for names in sorted(limiting, key=len):
            if not any(set(part) <= set(names) for part in parts):
                parts.append([each for each in _movable(planned, names) if each not in dealt])
                dealt.update(parts[-1])
        width = min(_CHILDREN, *(math.prod(_capacity(planned, each) for each in part) for part in parts))
        planned.relations[maker.relation] = tree = _Tree(relation, width, parts if width > 1 else [[]])
        for part in parts if width > 1 else []:
            Deal(tree, [], [[_convert(planned, each) for each in part]], hashing.key_of(key_of, "tree", *part))


def _capacity(planned: PlannedTable, name: str) -> int:
    """Return how many values a column can be dealt; of rows of another table one, as those differ from row to row."""
    maker = planned.makers[name]
    maker = maker.maker if isinstance(maker, WithNulls) else maker
    return min(maker.kind.capacity or 1, MOST) if isinstance(maker, Made) else 1


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
        null = [name for name in names if name not in planned.makers and planned.table.columns[name].default is None]
        if null and key.nulls_distinct:
            continue  # NULL in every row, and two NULLs differ
        names = [name for name in names if name not in null]
        if any(planned.table.columns[name].generated for name in key.columns):
            continue
        yield key, tuple(names)


def _tells_apart(planned: PlannedTable, names: Iterable[str]) -> bool:
    """Tell whether no two rows have the same values in these columns, by what makes them."""
    atoms: set[str] = set()
    for name in names:
        atoms |= determined(planned, name)
    trees = (
        planned.relations.get(each.relation)
        for name in names
        if isinstance(each := planned.makers.get(name), Referring)
    )
    if any(isinstance(tree, _Tree) and any(set(part) <= set(names) for part in tree.parts) for tree in trees):
        return True
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
        tails = _tails(planned, movable, shared_names, sharing, done)
    else:
        shared_names, tails = [], [movable]
    members = [*shared_names, *(one for tail in tails for one in tail)]
    if len(set(members)) < len(members):  # `_settle_together` can
        return _too_few(planned, key, names, 0, rows)
    converted = {name: _convert(planned, name) for name in members}
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


def _tails(
    planned: PlannedTable,
    movable: Sequence[str],
    shared: Sequence[str],
    sharing: Sequence[tuple[UniqueKey, tuple[str, ...]]],
    done: set[str],
) -> list[list[str]]:
    """Return what each key that has the shared columns has besides."""
    tails = [[name for name in movable if name not in shared]]
    for _, other in sharing:
        if set(shared) <= set(other):
            tail = [name for name in _movable(planned, other) if name not in shared and name not in done]
            if tail and tail not in tails:
                tails.append(tail)
    return tails


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
            common = target.parent if common is target and target is not own else common
            if common is not None and common is not own:
                above.append(common)
            elif target.root.of_unit is not None and own.root.of_unit is not None:
                whole = False  # each unit has rows of its own to refer to
    if above:
        return Group(own, min(above, key=own.chain.index), whole=False)
    return Group(own, None, whole=whole)


def _check(planned: PlannedTable, key: UniqueKey, names: Sequence[str], deal: Dealer, units: int) -> Fault | None:
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
        _cure(planned, names),
    )


def _cure(planned: PlannedTable, names: Sequence[str]) -> str:
    """Return what could make rows differ in columns, by what stands there."""
    for name in reversed(names):
        if isinstance(planned.makers.get(name), Referring):
            continue
        family = inference.family(planned.table.columns[name])
        if family in {"text", "integer", "numeric"}:
            text = "{n}" if family != "text" else f"{planned.name}-{{n}}"
            return f'Write {name} = "{text}", say: {{n}} is the number of the row.'
    found = (
        planned.relations.get(each.relation)
        for name in names
        if isinstance(each := planned.makers.get(name), Referring)
    )
    references = [name for name in names if isinstance(planned.makers.get(name), Referring)]
    if len(references) == len(names) > 1:
        return f'Write {names[-1]} = {{ kind = "reference" }}: it then means any row, and each only once.'
    target = next((each.target for each in found if isinstance(each, Parent)), None)
    if target is not None and len(names) == 1:
        return f'Write {planned.name} = "0..1 per {target.name}" below [rows].'
    return f"Make fewer rows, or let {names[-1]} have more values."


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
        f"Make fewer rows, or let {' or '.join(names)} have more values.",
    )
