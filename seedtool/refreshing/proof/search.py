"""What is looked for, as hashes in memory, and the look for it in words: filters first, then exact 64-bit hashes."""

from collections.abc import Callable, Container, Iterator
from typing import TYPE_CHECKING, NamedTuple

from seedtool.refreshing.proof.words import Hasher, Words, digits_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seedtool.refreshing.proof.words import Hashes, Places

#: Of a longer value the first so many words are looked for.
LONGEST = 12
#: A number of so many groups is put together again: +56 (9) 1234-5678 has four.
_GROUPS = 6
#: The tags of numbers: phones without their country code, RUTs with their check digit, other numbers, and numbers of
#: seven or eight digits such as a RUT without its check digit.
PHONE, RUT, NUMBER, BODY = 1, 2, 3, 4
#: A number has so many digits at least, and one without its check digit so many at most.
_SHORTEST, _BODY = 7, 8
#: Country codes of three digits begin so; those with 1 and 7 have one digit, and the others two (ITU-T E.164, annex).
_THREE = (21, 22, 23, 24, 25, 26, 29, 35, 37, 38, 42, 50, 59, 67, 68, 69, 80, 85, 87, 88, 96, 97, 99)
#: The country code that belongs to nobody: phones that begin with it are made up.
_NOBODY = 999
#: Bits of a filter for each value: about 1 of 16 other values passes, and is then compared by its whole hash.
_BITS = 16


class Filter:
    """A Bloom filter of one hash: which 64-bit hashes may be in a set (B. Bloom, 1970).

    Args:
        size: of how many hashes it is expected to be; it has 16 bits for each, so that 1 of 16 others passes.
        twice: set two bits for each hash, so that 1 of 64 others passes.
    """

    def __init__(self, size: int, *, twice: bool = False) -> None:
        import numpy as np

        self._twice = twice
        self._power = max(16, (max(1, size) * _BITS - 1).bit_length())
        self._bits = np.zeros(1 << self._power - 3, np.uint8)

    def add(self, hashes: "Hashes") -> None:
        """Add hashes to the set."""
        import numpy as np

        for part in (hashes, _swapped(hashes)) if self._twice else (hashes,):
            place, bit = self._where(part)
            np.bitwise_or.at(self._bits, place, bit)

    def __call__(self, hashes: "Hashes") -> "NDArray[np.bool_]":
        """Tell which may be in the set."""
        import numpy as np

        place, bit = self._where(hashes)
        found: NDArray[np.bool_] = (self._bits[place] & bit) != 0
        if self._twice:
            at = np.flatnonzero(found)
            place, bit = self._where(_swapped(hashes[at]))
            found[at] = (self._bits[place] & bit) != 0
        return found

    def _where(self, hashes: "Hashes") -> "tuple[Places, NDArray[np.uint8]]":
        import numpy as np

        high = (hashes >> np.uint64(64 - self._power)).view(np.int64)
        return high >> 3, np.uint8(1) << (high & 7).astype(np.uint8)


def _swapped(hashes: "Hashes") -> "Hashes":
    """Return hashes whose high bits are others: the low ones."""
    import numpy as np

    return hashes << np.uint64(32) | hashes >> np.uint64(32)


class Hits(NamedTuple):
    """Where values are found.

    Args:
        words: number of the first word of each.
        length: of how many words it is; 0 of numbers.
        last: number of its last word.
        tag: of numbers; 0 of words.
        hashes: of the values.
        origins: what told them.
        numbers: what the numbers are.
    """

    words: "Places"
    length: int
    last: "Places"
    tag: int
    hashes: "Hashes"
    origins: "Places"
    numbers: "Hashes | None" = None

    def some(self, which: "NDArray[np.bool_]") -> "Hits":
        """Return some of them."""
        numbers = self.numbers[which] if self.numbers is not None else None
        return Hits(
            self.words[which],
            self.length,
            self.last[which],
            self.tag,
            self.hashes[which],
            self.origins[which],
            numbers,
        )

    def text(self, words: Words, at: int) -> str:
        """Return what is compared with the source when the hash is the same: the words, or the number."""
        if self.numbers is not None:
            return f"{self.tag} {self.numbers[at]}"
        first, last = int(self.words[at]), int(self.last[at])
        return words.joined(first, self.length, (last - first) // max(1, self.length - 1) or 1)


class Numbers(NamedTuple):
    """Numbers of one kind in words.

    Args:
        first: the first word of each.
        last: its last word.
        tag: of the kind.
        values: what they are, whatever stands between their digits.
    """

    first: "Places"
    last: "Places"
    tag: int
    values: "Hashes"

    def cells(self, words: Words) -> "Numbers":
        """Return those that are a cell, but for a check digit K."""
        cells = words.cells[self.first]
        mine = words.first[cells] == self.first
        mine &= words.first[cells] + words.count[cells] - 1 - self.last <= (self.tag == RUT)
        return Numbers(self.first[mine], self.last[mine], self.tag, self.values[mine])

    def from_digits(self, least: int) -> "Numbers":
        """Return those of at least so many digits."""
        mine = self.values >= 10 ** (least - 1)
        return Numbers(self.first[mine], self.last[mine], self.tag, self.values[mine])


class Sought:
    """The values that are looked for.

    Args:
        hasher: with this run's salt.
        size: about how many there are.
        part: the partition of the values that is in memory.
        parts: of how many.
        whole: mostly whole cells are looked for, and no filter of the beginnings of values is kept.
    """

    def __init__(self, hasher: Hasher, size: int, part: int = 0, parts: int = 1, *, whole: bool = False) -> None:
        self.hasher = hasher
        self._part, self._parts = part, parts
        self._begins = None if whole else Filter(size // parts)
        self._chunks: dict[int, list[Hashes]] = {}
        self._values: dict[int, Hashes] = {}
        self._tags: set[int] = set()

    def add(self, hashes: "Hashes", origin: int, prefixes: "list[Hashes]", tag: int) -> None:
        """Add values of one origin, with the hashes of their beginnings: their first word, first two words, ...

        Args:
            hashes: of the values.
            origin: the number of what told them.
            prefixes: for each number of words; none of numbers.
            tag: of numbers; 0 of words.
        """
        import numpy as np

        self._tags.add(tag)
        if self._parts > 1:
            mine = hashes % np.uint64(self._parts) == np.uint64(self._part)
            hashes, prefixes = hashes[mine], [each[mine] for each in prefixes]
        self._chunks.setdefault(origin, []).append(hashes)
        if self._begins is not None:
            for each in prefixes:
                self._begins.add(each)

    def gathered(self, rare: dict[int, int]) -> None:
        """Sort what was added, and drop what is too frequent to identify anybody.

        Args:
            rare: by origin, how often a value may stand there.
        """
        import numpy as np

        for origin in sorted(self._chunks):
            own = np.concatenate(self._chunks.pop(origin))
            own.sort()
            first = np.flatnonzero(np.diff(own, prepend=~own[:1]))
            often = np.diff(first, append=len(own))
            self._values[origin] = own[first[often <= rare[origin]]]
        self._is = Filter(len(self), twice=True)
        for each in self._values.values():
            self._is.add(each)

    def __len__(self) -> int:
        return sum(map(len, self._values.values()))

    def at(self, hashes: "Hashes") -> "tuple[Places, Places]":
        """Return which of the hashes are values, and what told each."""
        import numpy as np

        maybe = np.flatnonzero(self._is(hashes))
        origins = np.full(len(maybe), -1)
        for origin, values in self._values.items():
            if not len(maybe):
                break
            if len(values):
                place = np.minimum(np.searchsorted(values, hashes[maybe]), len(values) - 1)
                origins[(values[place] == hashes[maybe]) & (origins < 0)] = origin
        told = origins >= 0
        return maybe[told], origins[told]

    def sequences(self, words: Words) -> Iterator[Hits]:
        """Yield the values that are sequences of words in one cell."""
        import numpy as np

        begins = self._begins or (lambda hashes: np.ones(len(hashes), np.bool_))
        at, hashes = np.flatnonzero(begins(words.hashes)), words.hashes
        current = hashes[at]
        left = words.first[words.cells[at]] + words.count[words.cells[at]] - at  # words up to the end of the cell
        for count in range(1, LONGEST + 1):
            found, origins = self.at(current)
            if len(found):
                yield Hits(at[found], count, at[found] + count - 1, 0, current[found], origins)
            fits = left > count
            at, left = at[fits], left[fits]
            current = self.hasher.followed(current[fits], hashes[at + count])
            likely = begins(current)
            at, left, current = at[likely], left[likely], current[likely]
            if not len(at):
                return

    def cells(self, words: Words) -> Iterator[Hits]:
        """Yield the values that are all words of a cell."""
        import numpy as np

        cells = np.flatnonzero((words.count > 0) & (words.count <= LONGEST))
        first, count = words.first[cells], words.count[cells]
        current = words.hashes[first]
        for length in range(1, LONGEST + 1):
            whole = np.flatnonzero(count == length)
            found, origins = self.at(current[whole])
            if len(found):
                at = first[whole[found]]
                yield Hits(at, length, at + length - 1, 0, current[whole[found]], origins)
            longer = count > length
            first, count, current = first[longer], count[longer], current[longer]
            if not len(first):
                return
            current = self.hasher.followed(current, words.hashes[first + length])

    @property
    def has_numbers(self) -> bool:
        """Some of the values are numbers."""
        return bool(self._tags - {0})

    def numbers(
        self, words: Words, look: "Callable[[Numbers, Hashes], None]", *, whole: bool = False
    ) -> Iterator[Hits]:
        """Yield the values that are numbers, in one word or in groups of digits with blanks, dots or dashes.

        Args:
            words: of some cells.
            look: hears of all numbers and of their hashes, whether they are values or not.
            whole: only those that are a cell.
        """
        for each in numbers_in(words, self._tags, whole=whole):
            first, last, tag, values = each.cells(words) if whole else each
            hashes = self.hasher.numbers(values, tag)
            look(each, hashes)
            found, origins = self.at(hashes)
            if len(found):
                yield Hits(first[found], 0, last[found], tag, hashes[found], origins, values[found])


def numbers_in(words: Words, tags: Container[int], *, whole: bool = False) -> "Iterator[Numbers]":
    """Yield the numbers in words that may be a phone, a RUT or another long number.

    Args:
        words: of some rows.
        tags: of the kinds of numbers that are wanted.
        whole: only those of all groups of digits that stand together.
    """
    import numpy as np

    at, values, lengths, k = digits_of(words)
    if not len(at):
        return
    following = np.full(len(at), -1)  # the place of the number that continues this one
    near = np.flatnonzero((at[1:] == at[:-1] + 1) & ~k[:-1] & (words.cells[at[1:]] == words.cells[at[:-1]]))
    near = near[_near(words, at[near])]
    following[near] = near + 1
    continues = np.zeros(len(at), np.bool_)
    continues[near + 1] = True
    first, tail = np.arange(len(at)), np.arange(len(at))
    total, digits = values, lengths
    tens = np.array([10**each for each in range(17)], np.uint64)
    for _ in range(_GROUPS):
        for chosen, tag, numbers in _read(words, at[tail], total, digits, k[tail], tags):
            mine, found = chosen, numbers
            if whole:
                alone = ~continues[first[chosen]] & (following[tail[chosen]] < 0)
                mine, found = chosen[alone], numbers[alone]
            elif tag == BODY:
                # a digit that follows is the check digit: then it is a whole RUT, or another number
                alone = (following[tail[chosen]] < 0) | (lengths[following[tail[chosen]]] > 1)
                mine, found = chosen[alone], numbers[alone]
            if len(mine):
                yield Numbers(at[first[mine]], at[tail[mine]], tag, found)
        following_tail = following[tail]
        go = np.flatnonzero(following_tail >= 0)
        go = go[digits[go] + lengths[following_tail[go]] <= 16]
        first, tail, total, digits = first[go], following_tail[go], total[go], digits[go]
        total = total * tens[lengths[tail]] + values[tail]
        digits = digits + lengths[tail]
        if not len(first):
            break


def _read(
    words: Words, last: "Places", values: "Hashes", digits: "Places", k: "NDArray[np.bool_]", tags: Container[int]
) -> "Iterator[tuple[Places, int, Hashes]]":
    """Yield which numbers can be of each kind, the kind's tag, and what they are then."""
    import numpy as np

    chosen = np.flatnonzero((digits >= _SHORTEST) & ~k)
    if PHONE in tags:
        yield chosen, PHONE, national(values[chosen])
    if NUMBER in tags:
        yield chosen, NUMBER, values[chosen]
    if BODY in tags:
        short = chosen[digits[chosen] <= _BODY]
        yield short, BODY, values[short]
    if RUT not in tags:
        return
    chosen = chosen[digits[chosen] <= _BODY + 2]
    bodies, checks = np.divmod(values[chosen], np.uint64(10))
    right = np.flatnonzero(check_digits(bodies) == checks)
    yield chosen[right], RUT, bodies[right] * np.uint64(16) + checks[right]
    # the K stands in the last word, or is the word after it: 12.345.678-K
    chosen = np.flatnonzero((digits >= _SHORTEST - 1) & (digits <= _BODY + 1))
    following = np.minimum(last[chosen] + 1, len(words.starts) - 1)
    letter = (words.text[words.starts[following]] == ord("k")) & (words.ends[following] == words.starts[following] + 1)
    letter &= (words.cells[following] == words.cells[last[chosen]]) & (following > last[chosen])
    chosen = chosen[letter | k[chosen]]
    right = chosen[check_digits(values[chosen]) == 10]
    yield right, RUT, values[right] * np.uint64(16) + np.uint64(10)


def _near(words: Words, at: "Places") -> "NDArray[np.bool_]":
    """Tell which words are followed in their cell by one to three joiners and then the next word."""
    begin, end = words.ends[at], words.starts[at + 1]
    found: NDArray[np.bool_] = (end - begin <= 3) & (words.text[begin] == 0x20) & (words.text[end - 1] == 0x20)
    return found


def national(phones: "Hashes") -> "Hashes":
    """Return phones without a country code; a number of fewer than eleven digits has none."""
    import numpy as np

    ten = np.uint64(10)
    length = np.searchsorted(np.array([10**each for each in range(17)], np.uint64), phones, side="right")
    tens = np.array([10**each for each in range(17)], np.uint64)
    leading = phones // tens[np.maximum(length - 2, 0)]
    code = np.where(np.isin(leading, _THREE), 3, np.where(np.isin(leading // ten, (1, 7)), 1, 2))
    made_up = phones // tens[np.maximum(length - 3, 0)] == _NOBODY
    rest = phones % tens[np.maximum(length - code, 0)]
    return np.where((length >= 11) & ~made_up, rest, phones)


def check_digits(bodies: "Hashes") -> "Hashes":
    """Return the check digits of RUTs, 10 for K: weights 2 to 7 from the right, modulo 11."""
    import numpy as np

    total, rest = np.zeros(len(bodies), np.uint64), bodies
    for place in range(10):
        rest, digit = np.divmod(rest, np.uint64(10))
        total += digit * np.uint64(2 + place % 6)
    return (np.uint64(11) - total % np.uint64(11)) % np.uint64(11)
