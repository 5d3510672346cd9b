"""How much chance explains: names that a mask drew, and values that stay the same in their own column.

A mask draws names from a pool, and the pool may hold the source's own names. So a name in the copy is a leak only where
chance does not explain it.
"""

import functools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from seedtool.refreshing.proof.search import BODY, RUT, Filter, Numbers, Sought
from seedtool.refreshing.proof.words import Hasher, Words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


#: The orders in which first names (f) and last names (l) make up the name of a person.
_ORDERS = ("fl", "lf", "fll", "llf", "ffl", "lff", "ffll", "llff")
#: Of so many names of a column each is counted once; the share among them is that among all.
_DISTINCT = 5000
#: So many different first names there may be at least, or last names.
_PARTS = 1 << 16
#: So many of the source's names are shuffled to learn how often chance makes one.
_SHUFFLED = 20_000

#: Of a number so many leading digits tell how many of the source's are near it.
_LEADING = 4
#: A column with no more numbers near the source's than this holds no series of numbers that meets them by chance.
_FEW = 20
#: Words before a number that say what it is.
_MARKS = re.findall(
    r"\w+",
    """
rut run dni cedula documento passport ssn cpf nif nie curp tel telefono fono phone telephone cel celular cell movil
mobile whatsapp wa fax
    """,
)

#: Chance alone would make one finding of so many columns of numbers.
_SELDOM = 1e-4
#: Chance alone would make one finding of so many columns.
RARE = 1e-6


def tail(drawn: int, hits: int, share: float) -> float:
    """Return how probable it is that at least `hits` of `drawn` draws hit, each with the probability `share`.

    That is the upper tail of the binomial distribution.
    """
    if hits <= 0:
        return 1.0
    if share >= 1:
        return 1.0
    logs = (math.log(share), math.log1p(-share))
    return min(
        1.0,
        sum(
            math.exp(
                math.lgamma(drawn + 1) - math.lgamma(each + 1) - math.lgamma(drawn - each + 1)
                + each * logs[0] + (drawn - each) * logs[1]
            )
            for each in range(hits, drawn + 1)
        ),
    )  # fmt: skip


def unlikely(kept: float, expected: float = 1.0) -> float:
    """Return a bound of the probability that so many of the original values are kept by chance.

    A mask that does not look at the original draws the original v with some probability p(v), and over all different
    values these sum to at most 1, whatever the pool holds. So at most one different value is expected to be kept. Each
    value counts with the share of its rows that kept it, a number from 0 to 1, and values are masked independently; for
    sums of such numbers W. Hoeffding, "Probability inequalities for sums of bounded random variables", 1963, theorem 1,
    gives the bound of the binomial distribution, and its limit for many values is that of Poisson's.

    Args:
        kept: the sum over the different values of the shares of rows that are equal.
        expected: how many are to be expected.
    """
    if kept <= expected:
        return 1.0
    return math.exp(kept - expected - kept * math.log(kept / expected))


class Names:
    """The parts of the source's names, and what a copy makes of them.

    Args:
        hasher: with this run's salt.
        values: about how many values the source has. Of four, one may be another first or last name.
    """

    def __init__(self, hasher: Hasher, values: int) -> None:
        self._hasher = hasher
        self._filters = {kind: Filter(max(_PARTS, values // 4)) for kind in "fl"}
        self._asked: tuple[NDArray[np.uint64] | None, dict[str, NDArray[np.bool_]]] = (None, {})
        self._samples: dict[str, list[NDArray[np.uint64]]] = {}
        self._drawn: dict[tuple[object, int], set[int]] = {}
        self._hits: dict[tuple[object, int], set[int]] = {}
        self._shares: dict[int, float] = {}

    def add(self, names: "NDArray[np.uint64]", parts: str) -> None:
        """Add names of the source.

        Args:
            names: the hashes of their words, a row for each.
            parts: which words are first names (f) and which last names (l).
        """
        for at, part in enumerate(parts):
            self._filters[part].add(names[:, at])
        known = self._samples.setdefault(parts, [])
        missing = _SHUFFLED - sum(map(len, known))
        if missing > 0:
            known.append(names[:missing])

    def parts(self, hashes: "NDArray[np.uint64]") -> "NDArray[np.bool_]":
        """Tell which words may be a part of a name."""
        found = self._of(hashes)
        return found["f"] | found["l"]

    def _of(self, hashes: "NDArray[np.uint64]") -> "dict[str, NDArray[np.bool_]]":
        """Tell which words may be first names (f), and which last names (l); the last answer is remembered."""
        if self._asked[0] is not hashes:
            self._asked = (hashes, {kind: each(hashes) for kind, each in self._filters.items()})
        return self._asked[1]

    def gathered(self, sought: Sought) -> None:
        """Learn how often chance makes a name of the source out of its parts."""
        import numpy as np

        self._sought = sought
        draw = np.random.default_rng()
        for parts, samples in self._samples.items():
            names, length = np.concatenate(samples), len(parts)
            current = names[:, 0]
            for at in range(1, length):
                current = self._hasher.followed(current, draw.permutation(names[:, at]))
            share = (len(sought.at(current)[0]) + 1) / (len(names) + 1)
            self._shares[length] = max(share, self._shares.get(length, 0))

    def look(self, words: Words, column_of: "NDArray[np.int64]", columns: Sequence[object]) -> None:
        """Count the names that stand in columns, whether they are the source's or not.

        Args:
            words: of some cells.
            column_of: the column of each cell, by its place in `columns`.
            columns: what they are called.
        """
        import numpy as np

        if not self._samples or not len(words.hashes):
            return
        is_part = self._of(words.hashes)
        either = np.flatnonzero(is_part["f"] | is_part["l"])
        near = np.flatnonzero((either[1:] == either[:-1] + 1) & (words.cells[either[1:]] == words.cells[either[:-1]]))
        begin = either[near]
        for order in _ORDERS:
            at = begin[begin + len(order) <= len(words.hashes)]
            for place, kind in enumerate(order):
                at = at[is_part[kind][at + place]]
            at = at[words.cells[at] == words.cells[at + len(order) - 1]]
            if not len(at):
                continue
            current = words.hashes[at]
            for place in range(1, len(order)):
                current = self._hasher.followed(current, words.hashes[at + place])
            own = column_of[words.cells[at]]
            hit = np.zeros(len(at), np.bool_)
            hit[self._sought.at(current)[0]] = True
            for column in np.unique(own).tolist():
                mine = own == column
                key = (columns[column], len(order))
                drawn, hits = self._drawn.setdefault(key, set()), self._hits.setdefault(key, set())
                if len(drawn) < _DISTINCT:
                    drawn.update(current[mine].tolist())
                    hits.update(current[mine & hit].tolist())

    def only(self, words: Words, columns: Sequence[int]) -> Words:
        """Return the words of some columns that are parts of names: those of a name then stand side by side."""
        import numpy as np

        mine = np.isin(words.cells % words.columns, columns)
        mine &= self.parts(words.hashes)
        cells = words.cells[mine]
        count = np.bincount(cells, minlength=len(words.first))
        return replace(
            words,
            starts=words.starts[mine],
            ends=words.ends[mine],
            cells=cells,
            first=np.cumsum(count) - count,
            count=count,
            hashes=words.hashes[mine],
        )

    def by_chance(self, column: object, length: int, rows: int) -> bool:
        """Tell whether chance explains that names of the source with so many words stand in a column.

        A mask that writes names writes them into most of the cells that it fills. Where names stand in a few cells
        only, one that is the source's is enough.

        Args:
            column: as `look` was told.
            length: how many words the names have.
            rows: how many rows the table has.
        """
        drawn, hits = len(self._drawn.get((column, length), ())), len(self._hits.get((column, length), ()))
        if not hits:
            return False
        probability = tail(drawn, hits, self._shares.get(length, 0))
        if drawn * 2 >= min(rows, _DISTINCT):
            return probability > (0.02 if drawn <= 2 else 1e-4)
        if drawn <= 2:
            return False
        return probability > (0.02 if drawn < 20 else 1e-4)

    def columns(self) -> Iterator[tuple[object, int]]:
        """Yield the columns with names of the source, and of how many words."""
        return (key for key, hits in self._hits.items() if hits)


class Series:
    """How many numbers near the source's stand in columns of the copy.

    A series of numbers of nine digits meets a phone of the source by chance, and one of eight digits meets RUTs.

    Args:
        hasher: with this run's salt.
    """

    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher
        self._counts: dict[int, NDArray[np.float64]] = {}
        self._drawn: dict[tuple[object, int], dict[int, float]] = {}

    def add(self, values: "NDArray[np.uint64]", tag: int) -> None:
        """Add numbers of the source."""
        import numpy as np

        counts = self._counts.setdefault(tag, np.zeros(len(_widths()) * 10**_LEADING))
        counts += np.bincount(_near(values), minlength=len(counts))

    def look(
        self, numbers: Numbers, hashes: "NDArray[np.uint64]", own: "NDArray[np.int64]", columns: Sequence[object]
    ) -> None:
        """Count the numbers that stand near the source's.

        Args:
            numbers: of the copy.
            hashes: of them.
            own: the column of each, by its place in `columns`.
            columns: what they are called.
        """
        import numpy as np

        counts = self._counts.get(numbers.tag)
        if counts is None:
            return
        near = _near(numbers.values)
        mine = np.flatnonzero(counts[near])
        if not len(mine):
            return
        density = np.minimum(1, counts[near[mine]] / _widths()[near[mine] // 10**_LEADING])
        if numbers.tag == RUT:  # the number holds a digit of base 16, of which one is right
            density = np.minimum(1, density * 16)
        for column in np.unique(own[mine]).tolist():
            drawn = self._drawn.setdefault((columns[column], numbers.tag), {})
            if len(drawn) < _DISTINCT:
                which = own[mine] == column
                drawn.update(zip(hashes[mine][which].tolist(), density[which].tolist(), strict=True))

    def marked(self, words: Words, first: "NDArray[np.int64]") -> "NDArray[np.bool_]":
        """Tell before which words one of the two words before them, or a plus sign, says what the number is."""
        import numpy as np

        found: NDArray[np.bool_]
        found = np.frombuffer(words.raw, np.uint8)[np.maximum(words.raw_places(words.starts[first]), 1) - 1] == ord("+")
        for back in (1, 2):
            before = np.maximum(first - back, 0)
            found |= np.isin(words.hashes[before], self._marks) & (words.cells[before] == words.cells[first])
        return found

    def by_chance(self, column: object, tag: int, hits: Iterable[int]) -> bool:
        """Tell whether chance explains that numbers of the source stand in a column without a word before them.

        Args:
            column: as `look` was told.
            tag: the kind of the numbers.
            hits: their hashes.
        """
        drawn = self._drawn.get((column, tag), {})
        if tag != BODY and len(drawn) <= _FEW:
            return False
        kept, expected = sum(each in drawn for each in hits), sum(drawn.values())
        return kept <= expected or unlikely(kept, expected) > _SELDOM

    @functools.cached_property
    def _marks(self) -> "NDArray[np.uint64]":
        return self._hasher.each(_MARKS)


def _near(values: "NDArray[np.uint64]") -> "NDArray[np.int64]":
    """Return a number for each number of digits and for the leading ones."""
    import numpy as np

    digits = np.searchsorted(np.array([10**each for each in range(20)], np.uint64), values, side="right")
    leading: NDArray[np.int64] = (values // _widths().astype(np.uint64)[digits]).astype(np.int64)
    leading += digits * 10**_LEADING
    return leading


@functools.cache
def _widths() -> "NDArray[np.float64]":
    """Return how many numbers have the same number of digits and the same leading ones."""
    import numpy as np

    return np.array([10.0 ** max(0, each - _LEADING) for each in range(21)])
