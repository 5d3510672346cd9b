"""Dealing: the numbers of rows become values of columns, so that no two rows of a group get the same.

A group's rows are numbered. The number is permuted, and its digits are the columns' values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from seedtool.generating.columns import scaled
from seedtool.generating.numbering import Numbering, Span
from seedtool.values import hashing
from seedtool.values.permutation import permute

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from seedtool.generating.columns import Drawn
    from seedtool.generating.rows import Batch
    from seedtool.values.cells import Cells
    from seedtool.values.word import Kind

#: The most values that a group can be dealt: the product of a number and a step stays below 2**63.
MOST = 2**31


class Member(Protocol):
    """A column that is dealt."""

    def dealt_by(self, deal: Dealer, place: int) -> None:
        """Say which deal gives the numbers, and at which place."""
        ...

    def sizes(self, batch: Batch) -> np.ndarray:
        """Return how many values it may have in each row, int64[n]."""
        ...


class Dealer(Protocol):
    """Gives columns their numbers."""

    group: Groups

    def sizes(self, batch: Batch) -> np.ndarray:
        """Return how many rows each row's group may have, int64[n]."""
        ...

    def digits(self, batch: Batch, *, mirrored: bool = False) -> list[np.ndarray]:
        """Return each column's numbers, int64[n]; `mirrored` from the other end, for rows whose values are taken."""
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
        self._deal: tuple[Dealer, int] | None = None

    def dealt_by(self, deal: Dealer, place: int) -> None:
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
        self._deal: tuple[Dealer, int] | None = None
        self.moved: np.ndarray | None = None

    def dealt_by(self, deal: Dealer, place: int) -> None:
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


class Groups(Protocol):
    """Says which rows have to differ."""

    whole: bool

    def ordinals(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each row's group, and its number in it, int64[n] both."""
        ...


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

    @property
    def width(self) -> int:
        """A number that is larger the more rows belong together."""
        return len(self._own.chain) + self.whole if self._above is None else self._own.chain.index(self._above)

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

    def __init__(self, group: Groups, shared: Sequence[Member], tails: Sequence[Sequence[Member]], key: bytes) -> None:
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
            number = _permuted(
                key, groups, rest, _product(sizes), counted=self._counted, whole=self.group.whole, mirrored=mirrored
            )
            for size in sizes:
                found.append(number % size)
                number = number // size
        return found


def _permuted(
    key: bytes,
    groups: np.ndarray,
    numbers: np.ndarray,
    sizes: np.ndarray,
    *,
    counted: bool,
    whole: bool,
    mirrored: bool = False,
) -> np.ndarray:
    """Return where the numbers of rows go, each group's in a way of its own.

    Args:
        key: of the permutation.
        groups: int64[n].
        numbers: int64[n], below the sizes.
        sizes: int64[n], the same for rows of a group.
        counted: all groups have the same size.
        whole: all rows are one group.
        mirrored: from the other end.
    """
    import numpy as np

    start = (hashing.stream(key, groups) >> np.uint64(2)).astype(np.int64) % sizes
    if not len(numbers):
        return numbers
    if counted:  # a Feistel network
        size = int(sizes[0])
        at = numbers if whole else (numbers + start) % size
        at = size - 1 - at if mirrored else at
        return permute(key, at.astype(np.uint64), size).astype(np.int64)
    # groups have sizes of their own: steps through them that have no divisor in common with the size
    step = 1 + (hashing.stream(key, groups, 1) >> np.uint64(2)).astype(np.int64) % sizes
    while (bad := np.gcd(step, sizes) != 1).any():
        step = np.where(bad, step + 1, step)
    found: np.ndarray = (numbers * step + start) % sizes
    return found


class Code:
    """Deals columns of keys that overlap: any so many columns as the smallest key has say which row it is.

    The number of a row has k digits to the base m. They are the coefficients of a polynomial, and each column is its
    value modulo m at a point of its own: k values determine a polynomial (I. Reed, G. Solomon, "Polynomial codes over
    certain finite fields", 1960). The differences of points have to have inverses modulo m, so m has no divisor below
    the number of points. A column with more than m values has a random one of those that are the same modulo m.

    Args:
        group: the group.
        members: the columns, the one with the fewest values first.
        digits: k.
        key: of the permutations.
        ordered: consecutive rows differ in each column, too, as rows of one parent do; else the first column is the
            leading coefficient, which lets the others have more values than it has.
    """

    def __init__(self, group: Groups, members: Sequence[Member], digits: int, key: bytes, *, ordered: bool) -> None:
        self.group = group
        self._members = members
        self._digits = digits
        self._key = key
        self._ordered = ordered
        self._counted = all(isinstance(each, DealtKind) for each in members)
        for place, each in enumerate(members):
            each.dealt_by(self, place)

    def sizes(self, batch: Batch) -> np.ndarray:
        """Return how many rows each row's group may have."""
        _, base, first = self._bases(batch)
        found: np.ndarray = base ** (self._digits - 1) * first
        return found

    def digits(self, batch: Batch, *, mirrored: bool = False) -> list[np.ndarray]:
        """Return each column's numbers."""
        import numpy as np

        sizes, base, first = self._bases(batch)
        groups, number = self.group.ordinals(batch.rows)
        capacity = np.maximum(base ** (self._digits - 1) * first, 1)
        if not self._ordered:
            number = _permuted(
                self._key, groups, number % capacity, capacity, counted=self._counted, whole=self.group.whole,
                mirrored=mirrored,
            )  # fmt: skip
        elif mirrored:
            number = capacity - 1 - number
        coefficients = []
        for _ in range(self._digits - 1):
            coefficients.append(number % base)
            number = number // base
        leading = number % first
        found = []
        for place, size in enumerate(sizes):
            point = place if self._ordered else place - 1
            value = leading
            for each in reversed(coefficients if point >= 0 else []):
                value = (value * point + each) % base
            modulus = first if point < 0 else base
            key = hashing.key_of(self._key, "column", str(place))
            value = value + modulus * scaled(hashing.stream(key, batch.rows), (size - 1 - value) // modulus + 1)
            counted = isinstance(self._members[place], DealtKind)
            found.append(_permuted(key, groups, value % size, size, counted=counted, whole=self.group.whole))
        return found

    def _bases(self, batch: Batch) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Return the columns' sizes, m, and how many values the leading coefficient has, int64[n] each."""
        import numpy as np

        largest = int(2 ** (62 / self._digits))
        sizes = [np.clip(each.sizes(batch), 1, MOST) for each in self._members]
        points = len(sizes) - (not self._ordered)
        smallest = np.minimum.reduce(sizes if self._ordered else sizes[1:])
        distinct, which = np.unique(smallest, return_inverse=True)
        base = np.array([base_of(min(int(size), largest), points) for size in distinct], dtype=np.int64)[which]
        return sizes, base, base if self._ordered else np.minimum(sizes[0], base)


def base_of(most: int, points: int) -> int:
    """Return the largest number up to `most` that has no divisor from 2 to below `points`; 1 at least."""
    return next((size for size in range(most, 1, -1) if all(size % divisor for divisor in range(2, points))), 1)


def _product(sizes: Sequence[np.ndarray]) -> np.ndarray:
    """Return the product of sizes, where it would overflow a number that is too large for any group."""
    import numpy as np

    found = sizes[0]
    for each in sizes[1:]:
        large = found.astype(float) * each > 2.0**62
        found = np.where(large, 2**62, found * np.where(large, 1, each))
    return found
