"""Row numbers: how many rows each table has, which row is whose child, and from which rows a reference is drawn.

All of it is arithmetic on a row's own number. Nothing is counted, remembered or summed up, so that any row can be made
alone, on any machine, and a larger scale adds rows behind those that are there and changes none of them.

The numbers of children that parent rows have are *dealt out from a deck*: for `20..35 per grade_sections` the deck is
the 16 numbers from 20 to 35, shuffled anew for each 16 sections. So each 16 sections have 440 children, and the first
child of any section is known without looking at the sections before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from seedtool.values import hashing

if TYPE_CHECKING:
    import numpy as np

    from seedtool.generating.recipe import Count


class Span(NamedTuple):
    """For each of n rows the rows of another table that it may refer to: from `first` to before `last` (int64[n])."""

    first: np.ndarray
    last: np.ndarray


class Numbering:
    """The numbers of a table's rows.

    Args:
        table: the table's name in the recipe.
        count: how many rows there are.
        units: of how many units the recipe is.
        parent: the numbering of the table that it has rows per; None of a table with a number of its own.
        given: how many rows are in the database already, of a table whose rows are given.
        seed: the random seed's bytes.
    """

    def __init__(
        self, table: str, count: Count, units: int, parent: Numbering | None, *, seed: bytes, given: int = 0
    ) -> None:
        self.table = table
        self.parent = parent
        self.root: Numbering = parent.root if parent else self
        #: this table, its parent, the parent's parent, and so on
        self.chain: list[Numbering] = [self, *(parent.chain if parent else [])]
        #: rows of a unit, of a table with a number of its own that a scale multiplies
        self.of_unit = (count.rows or 0) // units if count.scaled and parent is None else None
        self._fixed = given if count.given else count.rows or 0
        self._deck = count.deck
        self._sum = sum(count.deck)
        self.most_children = max(count.deck, default=0)
        self._shuffled = count.shuffled and len(set(count.deck)) > 1
        self._key = hashing.key_of(seed, "children", table)

    def total(self, units: int) -> int:
        """Return how many rows there are.

        Args:
            units: how many units are made: the scale times the recipe's units.
        """
        import numpy as np

        if self.parent is not None:
            return int(self.first_children(np.array([self.parent.total(units)], dtype=np.int64))[0])
        return self._fixed if self.of_unit is None else self.of_unit * units

    def first_children(self, parents: np.ndarray) -> np.ndarray:
        """Return the number of the first child of each parent row, int64[n]; of a childless one, of the next child.

        Args:
            parents: row numbers of the parent, int64[n].
        """
        import numpy as np

        if len(self._deck) == 1:
            return parents * self._sum
        deals, places = np.divmod(parents, len(self._deck))
        dealt, which = np.unique(deals, return_inverse=True)
        ends = np.cumsum(self._dealt(dealt), axis=1)
        before = np.concatenate([np.zeros((len(dealt), 1), dtype=np.int64), ends[:, :-1]], axis=1)
        found: np.ndarray = deals * self._sum + before[which, places]
        return found

    def parents(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the parent of each row, and which of that parent's children it is, from 0; both int64[n].

        Args:
            rows: row numbers, int64[n].
        """
        import numpy as np

        if len(self._deck) == 1:
            parents, ordinals = np.divmod(rows, self._sum)
            return parents, ordinals
        deals, within = np.divmod(rows, self._sum)
        dealt, which = np.unique(deals, return_inverse=True)
        ends = np.cumsum(self._dealt(dealt), axis=1) + (np.arange(len(dealt)) * self._sum)[:, None]
        sought = which * self._sum + within
        found = np.searchsorted(ends.ravel(), sought, side="right")  # how many parents' children end before it
        parents = deals * len(self._deck) + found % len(self._deck)
        begins = np.concatenate([np.zeros(1, dtype=np.int64), ends.ravel()])
        return parents, sought - begins[found]

    def _dealt(self, deals: np.ndarray) -> np.ndarray:
        """Return the decks of some deals, int64[deals, cards]."""
        import numpy as np

        deck = np.array(self._deck, dtype=np.int64)
        if not self._shuffled:
            return np.broadcast_to(deck, (len(deals), len(deck)))
        cards = deals[:, None] * len(deck) + np.arange(len(deck))
        bits = hashing.stream(self._key, cards.ravel()).reshape(cards.shape)
        return deck[np.argsort(bits, axis=1, kind="stable")]

    def up(self, rows: np.ndarray, to: Numbering) -> np.ndarray:
        """Return the rows of an ancestor that rows descend from, int64[n]."""
        here = self
        while here is not to:
            rows, _ = here.parents(rows)
            assert here.parent is not None  # noqa: S101 - `to` is in the chain
            here = here.parent
        return rows

    def below(self, span: Span, of: Numbering) -> Span:
        """Return the rows of this table that descend from spans of an ancestor's rows."""
        for each in reversed(self.chain[: self.chain.index(of)]):
            span = Span(each.first_children(span.first), each.first_children(span.last))
        return span

    def common(self, other: Numbering) -> Numbering | None:
        """Return the nearest table that both descend from, or are; None where there is none."""
        return next((each for each in self.chain if each in other.chain), None)

    def span(self, rows: np.ndarray, other: Numbering) -> Span:
        """Return the rows of another table that rows of this one may refer to.

        They are those with the same ancestor: a class has a teacher of its own school. Without a common ancestor they
        are those of the same unit, or all where the other table's number of rows does not depend on the scale. Where
        the other table is an ancestor itself, they are that row and those beside it: somebody follows others.

        Args:
            rows: row numbers of this table, int64[n].
            other: the other table.
        """
        import numpy as np

        ancestor = self.common(other)
        if ancestor is other and other is not self:
            ancestor = other.parent
        if ancestor is not None:
            above = self.up(rows, ancestor)
            return other.below(Span(above, above + 1), ancestor)
        root = other.root
        if root.of_unit is None:
            first = np.zeros(len(rows), dtype=np.int64)
            return other.below(Span(first, first + root.total(1)), root)
        unit = np.zeros(len(rows), dtype=np.int64)
        if self.root.of_unit is not None:
            unit = self.up(rows, self.root) // self.root.of_unit
        return other.below(Span(unit * root.of_unit, (unit + 1) * root.of_unit), root)
