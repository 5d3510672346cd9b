"""Row by row: which columns of the copy hold their own original values more often than chance."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from seedtool.refreshing.proof.chance import RARE, unlikely
from seedtool.refreshing.proof.classes import BIOMETRIC, DRAWN, Role
from seedtool.refreshing.proof.words import Hasher, Words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seedtool.refreshing.proof.words import Hashes

#: A date that is shifted by up to a week, and perhaps by no day, stays the same in one of so many rows.
_SHIFTED = 15
#: Of a longer cell so many words are compared.
_COMPARED = 64


class Rows:
    """Some rows of a table, on one side: hashes of their keys and of the cells that are compared.

    Args:
        key: the columns that tell its rows apart; without any, the values themselves choose which are compared.
        columns: the columns that are compared.
        limit: how many rows are kept. Where a table has more, both sides keep those with the same keys.
    """

    def __init__(self, key: Sequence[str], columns: Sequence[str], limit: int) -> None:
        self.key, self.columns = tuple(key), tuple(columns)
        self._limit = limit
        self._step = 1  # one of so many keys is kept, a power of two
        self._keys: list[Hashes] = []
        self._cells: list[NDArray[np.uint64]] = []
        self._count = 0

    def add(self, hasher: Hasher, words: Words, place: Mapping[str, int]) -> None:
        """Add rows, as far as they are among those that are kept."""
        import numpy as np

        if not self.columns:
            return
        cells = [cell_hashes(hasher, words, place[name]) for name in self.columns]
        if self.key:
            keys = cell_hashes(hasher, words, place[self.key[0]])
            for name in self.key[1:]:
                keys = hasher.followed(keys, cell_hashes(hasher, words, place[name]))
        else:
            keys = cells[0]
        self._keys.append(keys)
        self._cells.append(np.stack(cells, axis=1))
        self._thin(self._step)
        self._count = sum(map(len, self._keys))
        while self._count > self._limit:
            self._step *= 2
            self._thin(self._step, every=True)
            self._count = sum(map(len, self._keys))

    def _thin(self, step: int, *, every: bool = False) -> None:
        import numpy as np

        if step == 1:
            return
        for at in range(len(self._keys)) if every else [len(self._keys) - 1]:
            mine = (self._keys[at] >> np.uint64(40)) % np.uint64(step) == 0
            self._keys[at], self._cells[at] = self._keys[at][mine], self._cells[at][mine]

    def gathered(self, step: int) -> "tuple[Hashes, NDArray[np.uint64]]":
        """Return the keys, and the cells of each row, of one of so many keys."""
        import numpy as np

        if not self._keys:
            return np.zeros(0, np.uint64), np.zeros((0, len(self.columns)), np.uint64)
        keys, cells = np.concatenate(self._keys), np.concatenate(self._cells)
        mine = (keys >> np.uint64(40)) % np.uint64(step) == 0
        return keys[mine], cells[mine]

    @property
    def step(self) -> int:
        """One of so many keys is kept."""
        return self._step


class Same(NamedTuple):
    """A column that holds its own original values.

    Args:
        column: its name.
        share: of the rows that are equal, from 0 to 1.
    """

    column: str
    share: float


def cell_hashes(hasher: Hasher, words: Words, column: int) -> "Hashes":
    """Return a hash of each cell of a column, 0 of NULL and of cells without a word."""
    import numpy as np

    first, count = words.column(column)
    found = np.zeros(words.rows, np.uint64)
    rows = np.flatnonzero(count)
    found[rows] = words.hashes[first[rows]]
    for at in range(1, _COMPARED):
        rows = rows[count[rows] > at]
        if not len(rows):
            break
        found[rows] = hasher.followed(found[rows], words.hashes[first[rows] + at])
    return found


def compare(before: Rows, after: Rows, roles: Mapping[str, Role]) -> list[Same]:
    """Return the columns of a table that hold their own original values.

    Args:
        before: rows of the source.
        after: rows of the copy.
        roles: what the columns hold.
    """
    import numpy as np

    step = max(before.step, after.step)
    (keys, cells), (copied, copies) = before.gathered(step), after.gathered(step)
    found = []
    if before.key and after.key:
        _, mine, theirs = np.intersect1d(keys, copied, return_indices=True)
    else:
        mine = theirs = np.zeros(0, np.int64)
    for at, name in enumerate(before.columns):
        share = _kept(cells[mine, at], copies[theirs, at], roles[name])
        if not share and step == 1:
            share = _shuffled(cells[:, at], copies[:, at])
        if share:
            found.append(Same(name, share))
    return found


def _kept(original: "Hashes", copied: "Hashes", role: Role) -> float:
    """Return the share of the rows that are equal, where chance does not explain it; else 0."""
    import numpy as np

    filled = original != 0
    original, copied = original[filled], copied[filled]
    if not len(original):
        return 0.0
    equal = original == copied
    different, which, rows = np.unique(original, return_inverse=True, return_counts=True)
    kept = float((np.bincount(which, weights=equal) / rows).sum())
    expected = max(1.0, len(different) / _SHIFTED) if role.kind == "birth date" else 1.0
    whole = equal.all() and (len(different) > 1 or role.kind in BIOMETRIC)
    return float(equal.mean()) if whole or unlikely(kept, expected) < RARE else 0.0


def _shuffled(original: "Hashes", copied: "Hashes") -> float:
    """Return 1 where a column holds all its original values, each as often as before, in any order; else 0."""
    import numpy as np

    original, copied = np.sort(original[original != 0]), np.sort(copied[copied != 0])
    if len(original) < 5 or not np.array_equal(original, copied):
        return 0.0
    different, rows = np.unique(original, return_counts=True)
    return 1.0 if len(different) > 1 and len(np.unique(rows)) > 1 else 0.0


#: Kinds that the comparison of rows is for; others are only searched.
COMPARED = DRAWN | BIOMETRIC | {"email", "phone", "national id", "account"}
