"""Words that belong together and do not stand side by side: they are put so, and searched as all others are.

`Ana M. González`, `{"first_name": "Ana", "last_name": "González"}` in a text, `anagonzalez`, and `ana at liceo dot cl`.
"""

import functools
import re
from typing import TYPE_CHECKING

from seedtool.refreshing.proof.chance import Names
from seedtool.refreshing.proof.words import Hasher, Words, eights_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from seedtool.refreshing.proof.words import Places

#: Between the parts of a name there may be so many initials, or words that say which part follows.
_FILLERS = 4
_FILLING = re.findall(
    r"\w+",
    """
first last given family middle second maiden maternal paternal sur name names firstname lastname surname fname lname
nombre nombres apellido apellidos primer segundo paterno materno prenom nom vorname nachname key value type
    """,
)
#: How people write the signs of an e-mail in words.
_AT, _DOT = ("at", "arroba"), ("dot", "punto")
#: So many words before such a sign, and after it, may belong to the e-mail.
_BEFORE, _AFTER = 3, 7
#: A glued name has so many letters, and each of its parts at least so many.
_GLUED, _LONGEST, _PART = 7, 24, 3


class Apart:
    """The look for words that belong together.

    Args:
        hasher: with this run's salt.
        names: the parts of the source's names.
    """

    def __init__(self, hasher: Hasher, names: Names) -> None:
        self._hasher, self._names = hasher, names

    def __call__(self, words: Words) -> "Iterator[tuple[Words, Places]]":
        """Yield words as if they stood together, and the cell that each of their cells comes from."""
        if not len(words.starts):
            return
        part = self._names.parts(words.hashes) & (words.ends - words.starts > 1)
        for found in (self._bridged(words, part), self._glued(words, part), self._spoken(words)):
            if found is not None:
                yield found

    def _bridged(self, words: Words, part: "NDArray[np.bool_]") -> "tuple[Words, Places] | None":
        """Return parts of names between which only initials stand, or words that say which part follows."""
        import numpy as np

        at = np.flatnonzero(part)
        at = at[~np.isin(words.hashes[at], self._filling)]
        if len(at) < 2:
            return None
        gap = np.diff(at)
        near = (gap <= _FILLERS + 1) & (words.cells[at[1:]] == words.cells[at[:-1]])
        bridge = near & (gap > 1)
        for distance in range(1, _FILLERS + 1):
            links = np.flatnonzero(bridge & (gap > distance))
            if not len(links):
                break
            between = at[links] + distance
            filling = words.ends[between] - words.starts[between] == 1
            filling |= np.isin(words.hashes[between], self._filling)
            bridge[links[~filling]] = False
        if not bridge.any():
            return None
        group = np.concatenate([np.zeros(1, np.int64), np.cumsum(~(bridge | (near & (gap == 1))))])
        bridged = np.zeros(group[-1] + 1, np.bool_)
        bridged[group[:-1][bridge]] = True
        return _some(words, at[bridged[group]], group[bridged[group]])

    def _glued(self, words: Words, part: "NDArray[np.bool_]") -> "tuple[Words, Places] | None":
        """Return words that are two parts of names without anything between, with the parts beside them."""
        import numpy as np

        lengths = words.ends - words.starts
        at = np.flatnonzero((lengths >= _GLUED) & (lengths <= _LONGEST))
        # letters have a bit that digits do not have
        letters = np.uint64(0x4040404040404040 >> 8 * (8 - _GLUED))
        at = at[eights_of(words.text)[words.starts[at]] & letters == letters]
        # the same words come again and again
        every, (once, which) = at, _distinct(words.hashes[at])
        at, number = at[once], np.arange(len(once))
        found, places = [], []
        for first in range(_PART, _LONGEST - _PART + 1):
            enough = lengths[at] >= first + _PART
            at, number = at[enough], number[enough]
            if not len(at):
                break
            starts, ends = words.starts[at], words.ends[at]
            begin = self._hasher.hashes(words.text, starts, starts + first)
            mine = np.flatnonzero(self._names.parts(begin))
            rest = self._hasher.hashes(words.text, starts[mine] + first, ends[mine])
            both = self._names.parts(rest)
            mine, rest = mine[both], rest[both]
            if len(mine):
                found.append(np.stack([begin[mine], rest], axis=1))
                places.append(np.stack([number[mine], np.full(len(mine), first)], axis=1))
        if not found:
            return None
        hashes, (number, cut) = np.concatenate(found), np.concatenate(places).T
        word, hashes, cut = _again(every, which, number, hashes, cut)
        # the word before, both parts, and two words after
        index = word[:, None] + np.array([-1, 0, 0, 1, 2])
        inside = np.clip(index, 0, len(words.starts) - 1)
        mine = (index == inside) & (words.cells[inside] == words.cells[word][:, None]) & part[inside]
        mine[:, 1:3] = True
        starts, ends, hashed = words.starts[inside], words.ends[inside], words.hashes[inside]
        ends[:, 1] = starts[:, 2] = words.starts[word] + cut
        hashed[:, 1:3] = hashes
        group = np.broadcast_to(np.arange(len(word))[:, None], index.shape)[mine]
        return words.some(inside[mine], group, (starts[mine], ends[mine], hashed[mine])), words.cells[word]

    def _spoken(self, words: Words) -> "tuple[Words, Places] | None":
        """Return e-mails whose signs are written in words."""
        import numpy as np

        sign, dots = self._signs
        at = np.flatnonzero(np.logical_or.reduce([words.hashes == each for each in sign]))
        if not len(at):
            return None
        index = at[:, None] + np.arange(-_BEFORE, _AFTER)
        inside = np.clip(index, 0, len(words.starts) - 1)
        mine = (index == inside) & (words.cells[inside] == words.cells[at][:, None])
        dotted = np.isin(words.hashes[inside], dots)
        likely = (dotted & mine)[:, _BEFORE + 1 :].any(axis=1)
        after = words.raw_places(words.ends[inside[:, _BEFORE + 1]])
        likely |= np.frombuffer(words.raw, np.uint8)[np.minimum(after, len(words.raw) - 1)] == ord(".")
        mine &= ~dotted & likely[:, None]
        mine[:, _BEFORE] = False
        group = np.broadcast_to(np.arange(len(at))[:, None], index.shape)
        return _some(words, inside[mine], group[mine]) if mine.any() else None

    @functools.cached_property
    def _filling(self) -> "NDArray[np.uint64]":
        return self._hasher.each(_FILLING)

    @functools.cached_property
    def _signs(self) -> "tuple[list[np.uint64], NDArray[np.uint64]]":
        return list(self._hasher.each(_AT)), self._hasher.each(_DOT)


def _distinct(hashes: "NDArray[np.uint64]") -> "tuple[Places, Places]":
    """Return the places of different hashes, a few of them more than once, and for each hash which of these it is."""
    import numpy as np

    slots, every = (hashes >> np.uint64(48)).view(np.int64), np.arange(len(hashes))
    last = np.zeros(1 << 16, np.int64)
    last[slots] = every
    same = last[slots]
    same = np.where(hashes[same] == hashes, same, every)
    once = np.flatnonzero(same == every)
    last = np.zeros(len(hashes), np.int64)
    last[once] = np.arange(len(once))
    return once, last[same]


def _again(
    every: "Places", which: "Places", number: "Places", hashes: "NDArray[np.uint64]", cut: "Places"
) -> "tuple[Places, NDArray[np.uint64], Places]":
    """Return what is known of different words for each time that they stand somewhere."""
    import numpy as np

    order = np.argsort(which, kind="stable")
    times = np.bincount(which)
    first = np.cumsum(times) - times
    many = times[number]
    each = np.repeat(np.arange(len(number)), many)
    place = np.arange(len(each)) - np.repeat(np.cumsum(many) - many, many)
    return every[order[first[number[each]] + place]], hashes[each], cut[each]


def _some(words: Words, at: "Places", group: "Places") -> "tuple[Words, Places]":
    """Return words in new cells, which are numbered anew, and the cell that each comes from."""
    import numpy as np

    _, first, groups = np.unique(group, return_index=True, return_inverse=True)
    return words.some(at, groups), words.cells[at[first]]
