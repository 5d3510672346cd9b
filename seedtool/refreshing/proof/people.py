"""What identifies persons, made from the rows of the source: sequences of words, and numbers."""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from seedtool.refreshing.proof.classes import WHOLE, Kind, Role
from seedtool.refreshing.proof.search import LONGEST, NUMBER, PHONE, RUT, SHORT, numbers_in
from seedtool.refreshing.proof.words import Hasher, Words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seedtool.refreshing.proof.words import Hashes, Places

#: A value of fewer letters and digits is too short to be told from chance in other columns.
_SHORTEST = 6
#: A value of one word needs a digit, or so many letters.
_LONG_WORD = 12


class Source(NamedTuple):
    """One way in which columns of a table of the source tell who somebody is.

    Args:
        schema: of the table.
        table: its name.
        columns: the columns; several together make up a name: first, last and second last.
        kind: what they hold.
    """

    schema: str
    table: str
    columns: tuple[str, ...]
    kind: Kind

    def __str__(self) -> str:
        name = self.table if self.schema == "public" else f"{self.schema}.{self.table}"
        return f"{name}.{' and '.join(self.columns)}"


class Told(NamedTuple):
    """Values that some rows tell.

    Args:
        hashes: of each value.
        prefixes: for each number of words, the hashes of the values' beginnings.
        words: the words of each value, or of a number the words that it was read from.
        tag: the kind of numbers; 0 of words.
        numbers: what they are.
    """

    hashes: "Hashes"
    prefixes: "list[Hashes]"
    words: "NDArray[np.int64]"
    tag: int = 0
    numbers: "Hashes | None" = None

    def text(self, words: Words, at: int) -> str:
        """Return what is compared when a hash is the same: the words, or the number."""
        if self.numbers is not None:
            return f"{self.tag} {self.numbers[at]}"
        return " ".join(words.joined(int(each), 1) for each in self.words[at])


def sources_of(schema: str, table: str, roles: Mapping[str, Role]) -> list[Source]:
    """Return in which ways the columns of a table tell who somebody is."""
    found = [
        Source(schema, table, (name,), role.kind)
        for name, role in roles.items()
        if role.kind in WHOLE or role.kind in {"phone", "full name"}
    ]
    groups: dict[str, dict[str, list[str]]] = {}
    for name, role in roles.items():
        if role.kind in {"first name", "last name"}:
            groups.setdefault(_whose(name), {}).setdefault(role.kind, []).append(name)
    for parts in groups.values():
        firsts, lasts = parts.get("first name", []), parts.get("last name", [])
        if firsts and lasts:
            firsts.sort(key=lambda name: bool(re.search("middle|second|preferred", name)))
            lasts.sort(key=lambda name: bool(re.search("second|matern", name)))
            found.append(Source(schema, table, (firsts[0], lasts[0], *lasts[1:2]), "full name"))
    return found


def _whose(column: str) -> str:
    """Return what is left of a column's name without the words that say which part of a name it holds."""
    plain = re.sub(
        r"first|last|given|middle|second|family|maternal|paternal|materno|paterno|preferred|sur|names?|nombres?"
        r"|apellidos?|fore",
        "",
        column.lower(),
    )
    return re.sub(r"[\W_]+", "_", plain).strip("_")


def told(hasher: Hasher, words: Words, place: Mapping[str, int], source: Source) -> Iterator[Told]:
    """Yield the values that rows tell in one way.

    Args:
        hasher: with this run's salt.
        words: of the rows.
        place: the place of each column in a row.
        source: the way.
    """
    import numpy as np

    first, count = _cells(words)
    own = [(first[:, place[name]], count[:, place[name]]) for name in source.columns]
    if source.kind == "phone":
        yield from _numbers(hasher, words, place[source.columns[0]], {PHONE, SHORT})
    elif len(source.columns) > 1:
        yield from _names(hasher, words, own)
    else:
        if source.kind == "national id":
            yield from _numbers(hasher, words, place[source.columns[0]], {RUT, NUMBER})
        begin, many = own[0]
        for each in range(1, LONGEST + 1):
            rows = np.flatnonzero(np.minimum(many, LONGEST) == each)
            index = begin[rows, None] + np.arange(each)
            yield from _sequences(hasher, words, index)
            if source.kind == "full name" and each == 4:
                for part in ([0, 2], [0, 2, 3], [0, 1, 2], [2, 0], [2, 3, 0]):
                    yield from _sequences(hasher, words, index[:, part])
            elif source.kind == "full name" and each in {2, 3}:
                yield from _sequences(hasher, words, np.roll(index, each - 1, axis=1))


def _cells(words: Words) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    """Return the first word of each cell and how many it has, by row and column."""
    import numpy as np

    number = np.arange(words.rows * words.columns)
    first = np.searchsorted(words.cells, number)
    count = np.diff(np.append(first, len(words.cells)))
    return first.reshape(words.rows, words.columns), count.reshape(words.rows, words.columns)


def _names(hasher: Hasher, words: Words, own: "list[tuple[NDArray[np.int64], NDArray[np.int64]]]") -> Iterator[Told]:
    """Yield first and last names of rows together, as people write them."""
    import numpy as np

    # each part of a name has rarely more than three words
    for counts in itertools.product(range(1, 4), range(1, 4), *([range(4)] * (len(own) - 2))):
        rows = np.flatnonzero(
            np.logical_and.reduce([many == each for (_, many), each in zip(own, counts, strict=True)])
        )
        if not len(rows):
            continue
        first, last, *more = (begin[rows, None] + np.arange(each) for (begin, _), each in zip(own, counts, strict=True))
        orders: list[tuple[NDArray[np.int64], ...]] = [(first, last), (last, first)]
        if counts[0] > 1:
            orders += [(first[:, :1], last), (last, first[:, :1])]
        if more and counts[2]:
            orders += [(first, last, more[0]), (last, more[0], first)]
            if counts[0] > 1:
                orders += [(first[:, :1], last, more[0]), (last, more[0], first[:, :1])]
        for order in orders:
            yield from _sequences(hasher, words, np.hstack(order))


def _sequences(hasher: Hasher, words: Words, index: "NDArray[np.int64]") -> Iterator[Told]:
    """Yield sequences of words that are long enough to be told from chance.

    Args:
        hasher: with this run's salt.
        words: of the rows.
        index: the words of each sequence: a row for each.
    """
    import numpy as np

    if not len(index):
        return
    lengths = (words.ends - words.starts)[index].sum(axis=1)
    enough = lengths >= _SHORTEST
    if index.shape[1] == 1:
        only = index[:, 0]
        enough &= (lengths >= _LONG_WORD) | _has_digit(words, only)
    index = index[enough]
    if not len(index):
        return
    current = words.hashes[index[:, 0]]
    prefixes = [current]
    for each in range(1, index.shape[1]):
        current = hasher.followed(current, words.hashes[index[:, each]])
        prefixes.append(current)
    yield Told(current, prefixes, np.ascontiguousarray(index))


def _has_digit(words: Words, at: "Places") -> "NDArray[np.bool_]":
    """Tell which words have a digit, but for numbers of fewer than nine digits: those are frequent."""
    import numpy as np

    before = np.concatenate([np.zeros(1, np.int64), np.cumsum((words.text - np.uint8(48)) < 10)])
    digits, lengths = before[words.ends[at]] - before[words.starts[at]], words.ends[at] - words.starts[at]
    found: NDArray[np.bool_] = (digits > 0) & ((digits < lengths) | (lengths >= 9))
    return found


def _numbers(hasher: Hasher, words: Words, column: int, tags: set[int]) -> Iterator[Told]:
    """Yield the numbers of a column: all digits that stand together."""
    import numpy as np

    for first, _, tag, values in numbers_in(words, tags, whole=True):
        mine = np.flatnonzero(words.cells[first] % words.columns == column)
        if len(mine):
            yield Told(hasher.numbers(values[mine], tag), [], first[mine, None], tag, values[mine])
