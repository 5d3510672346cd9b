"""What identifies persons, made from the rows of the source: sequences of words, and numbers."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from seedtool.refreshing.proof.classes import WHOLE, Kind, Role
from seedtool.refreshing.proof.search import BODY, LONGEST, NUMBER, PHONE, RUT, Numbers, numbers_in
from seedtool.refreshing.proof.words import Hasher, Words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seedtool.refreshing.proof.words import Hashes, Places

#: A value of fewer letters and digits is too short to be told from chance in other columns.
_SHORTEST = 6
_SHORTEST_EMAIL = 4
#: A value of one word needs a digit, or so many letters.
_LONG_WORD = 12


_LOCAL = re.compile(rb"[A-Za-z0-9._%+-]+\Z")
_DOMAIN = re.compile(rb"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
#: Words of the key of a photo behind which stands nothing of its subject, and what its file's name ends with.
EXTENSIONS = ("jpg", "jpeg", "png", "webp", "heic", "gif", "bmp", "tif", "tiff", "avif")
_PHOTOS = ("photo", "foto", "image", "img", "imagen", "picture", "face", "selfie", "portrait", "avatar", "frame")
_UUID = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"


class Source(NamedTuple):
    """One way in which columns of a table of the source tell who somebody is.

    Args:
        schema: of the table.
        table: its name.
        columns: the columns; several together make up a name: first, last and second last.
        kind: what they hold.
        scattered: the values stand within longer texts.
    """

    schema: str
    table: str
    columns: tuple[str, ...]
    kind: Kind
    scattered: bool = False

    def __str__(self) -> str:
        name = self.table if self.schema == "public" else f"{self.schema}.{self.table}"
        return f"{name}.{' and '.join(self.columns)}"


class Told(NamedTuple):
    """Values that some rows tell.

    Args:
        source: the words of the rows.
        hashes: of each value.
        prefixes: for each number of words, the hashes of the values' beginnings.
        words: the words of each value, or of a number the words that it was read from.
        tag: the kind of numbers; 0 of words.
        numbers: what they are.
        parts: of names in the usual order, which words are first names (f) and which last names (l).
        joined: the words make up one word.
    """

    source: Words
    hashes: "Hashes"
    prefixes: "list[Hashes]"
    words: "NDArray[np.int64]"
    tag: int = 0
    numbers: "Hashes | None" = None
    parts: str = ""
    joined: bool = False

    @property
    def part_hashes(self) -> "NDArray[np.uint64]":
        """The hashes of the words of each value."""
        return self.source.hashes[self.words]

    def text(self, at: int) -> str:
        """Return what is compared when a hash is the same: the words, or the number."""
        if self.numbers is not None:
            return f"{self.tag} {self.numbers[at]}"
        return ("" if self.joined else " ").join(self.source.joined(int(each), 1) for each in self.words[at])


def sources_of(schema: str, table: str, roles: Mapping[str, Role]) -> list[Source]:
    """Return in which ways the columns of a table tell who somebody is."""
    found = [
        Source(schema, table, (name,), role.kind)
        for name, role in roles.items()
        if role.kind in WHOLE or role.kind in {"phone", "full name"}
    ]
    found += [
        Source(schema, table, (name,), "subject")
        for name, role in roles.items()
        if role.kind in {"photo", "external image id"}
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


def scattered(schema: str, table: str, columns: Iterable[str]) -> list[Source]:
    """Return what may stand within the texts of columns that are not classified: e-mails, phones and RUTs."""
    kinds: tuple[Kind, ...] = ("email", "phone", "national id")
    return [Source(schema, table, (name,), kind, scattered=True) for name in columns for kind in kinds]


def told(
    hasher: Hasher, words: Words, place: Mapping[str, int], sources: Mapping[int, Source]
) -> Iterator[tuple[int, Told]]:
    """Yield the values that rows tell, each with the number of the way in which they do.

    Args:
        hasher: with this run's salt.
        words: of the rows.
        place: the place of each column in a row.
        sources: the ways.
    """
    numbers = {tag for source in sources.values() for tag in _tags(source)}
    read = list(numbers_in(words, numbers, whole=True)) if numbers else []
    for number, source in sources.items():
        for each in _told(hasher, words, place, source, read):
            yield number, each


def _tags(source: Source) -> set[int]:
    """Return the tags of the numbers that tell who somebody is."""
    if source.kind == "phone":
        return {PHONE}
    return ({RUT} if source.scattered else {RUT, NUMBER, BODY}) if source.kind == "national id" else set()


def _told(
    hasher: Hasher, words: Words, place: Mapping[str, int], source: Source, read: list[Numbers]
) -> Iterator[Told]:
    import numpy as np

    column = place[source.columns[0]]
    numbers = [each for each in read if each.tag in _tags(source)]
    if source.kind == "national id" and not source.scattered:
        # without its check digit a RUT is its body, and no number of seven or eight digits is only itself
        bodies = [
            Numbers(each.first, each.last, BODY, each.values >> np.uint64(4)) for each in numbers if each.tag == RUT
        ]
        numbers = [each.from_digits(9) if each.tag == NUMBER else each for each in (*numbers, *bodies)]
    yield from _numbers(hasher, words, column, numbers, scattered=source.scattered)
    if source.kind == "phone" or (source.scattered and source.kind == "national id"):
        return
    if source.scattered:
        yield from _emails(hasher, words, column)
    elif len(source.columns) > 1:
        yield from _names(hasher, words, [place[name] for name in source.columns])
    else:
        first, count = words.column(column)
        for each in range(1, LONGEST + 1):
            rows = np.flatnonzero(np.minimum(count, LONGEST) == each)
            index = first[rows, None] + np.arange(each)
            if source.kind == "subject":
                yield from _subjects(hasher, words, index)
            elif source.kind != "full name":
                shortest = _SHORTEST_EMAIL if source.kind == "email" and each > 2 else _SHORTEST
                yield from _sequences(hasher, words, index, shortest=shortest)
                if each == _UUID.count("-") + 1:
                    yield from _without_dashes(hasher, words, index)
            else:
                yield from _full_names(hasher, words, index)


#: Of a name of so many words: which of them make up another writing of it, and which are first names then (f). Of
#: three words the second is a first name or a last one.
_ORDERS: dict[int, tuple[tuple[list[int], str], ...]] = {
    2: (([1, 0], ""),),
    3: (([1, 2, 0], ""), ([2, 0, 1], ""), ([0, 2], "fl"), ([2, 0], "")),
    4: (
        *(([0, 2], "fl"), ([0, 2, 3], "fll"), ([0, 1, 2], "ffl")),
        *(([2, 0], ""), ([2, 3, 0], ""), ([2, 3, 0, 1], ""), ([2, 0, 1], "")),
    ),
}


def _full_names(hasher: Hasher, words: Words, index: "NDArray[np.int64]") -> Iterator[Told]:
    """Yield names that stand in one cell each, in the orders in which people write them."""
    length = index.shape[1]
    parts = {2: "fl", 3: "fll", 4: "ffll"}.get(length, "")
    yield from _sequences(hasher, words, index, parts)
    for part, letters in _ORDERS.get(length, ()):
        yield from _sequences(hasher, words, index[:, part], letters)


def _subjects(hasher: Hasher, words: Words, index: "NDArray[np.int64]") -> Iterator[Told]:
    """Yield the ids of subjects within keys of photos: the last word with a digit before the name of the file."""
    import numpy as np

    if not len(index):
        return
    rows, length = np.arange(len(index)), index.shape[1]
    hashes, lengths = words.hashes[index], (words.ends - words.starts)[index]
    # `photo-1.jpg` begins with such a word, and another file's name is one word before its kind
    named = np.isin(hashes, hasher.each(_PHOTOS))
    named[:, 0] = False
    pictured = np.isin(hashes[:, -1], hasher.each(EXTENSIONS))
    end = np.where(
        named.any(axis=1), length - 1 - named[:, ::-1].argmax(axis=1), np.where(pictured, length - 2, length)
    )
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum((words.text - np.uint8(48)) < 10)])
    digit = (before[words.ends[index]] > before[words.starts[index]]) & (np.arange(length) < end[:, None])
    last = length - 1 - digit[:, ::-1].argmax(axis=1)
    some = digit.any(axis=1)
    groups = np.array([len(each) for each in _UUID.split("-")])
    whole = np.zeros(len(index), np.bool_)
    if length >= len(groups):
        begin = np.maximum(last - len(groups) + 1, 0)
        whole = (lengths[rows[:, None], begin[:, None] + np.arange(len(groups))] == groups).all(axis=1)
    alone = (last == 0) | digit[rows, np.maximum(last - 1, 0)]
    for mine, count in ((some & whole, len(groups)), (some & ~whole & alone, 1), (some & ~whole & ~alone, 2)):
        at = rows[mine]
        yield from _sequences(hasher, words, index[at[:, None], last[at, None] + np.arange(1 - count, 1)])


def _without_dashes(hasher: Hasher, words: Words, index: "NDArray[np.int64]") -> Iterator[Told]:
    """Yield ids in the form of a UUID as one word."""
    import numpy as np

    lengths = [len(each) for each in _UUID.split("-")]
    starts, ends = words.starts[index], words.ends[index]
    index, starts = (each[(ends - starts == lengths).all(axis=1)] for each in (index, starts))
    if len(index):
        places = np.concatenate([starts[:, at, None] + np.arange(each) for at, each in enumerate(lengths)], axis=1)
        lines = np.hstack((words.text[places], np.full((len(index), 1), ord("\n"), np.uint8)))
        hashes = hasher.words(lines.tobytes(), 1).hashes
        yield Told(words, hashes, [hashes], index, joined=True)


def _names(hasher: Hasher, words: Words, columns: list[int]) -> Iterator[Told]:
    """Yield first and last names of rows together, as people write them."""
    import numpy as np

    cells = [words.column(column) for column in columns]
    # each part of a name has rarely more than three words
    for counts in itertools.product(range(1, 4), range(1, 4), *([range(4)] * (len(columns) - 2))):
        exact = [count == each for (_, count), each in zip(cells, counts, strict=True)]
        rows = np.flatnonzero(np.logical_and.reduce(exact))
        if not len(rows):
            continue
        first, last, *more = (
            begin[rows, None] + np.arange(each) for (begin, _), each in zip(cells, counts, strict=True)
        )
        firsts = [first, first[:, :1]] if counts[0] > 1 else [first]
        lasts = [(last,), (last, more[0])] if more and counts[2] else [(last,)]
        for given, family in itertools.product(firsts, lasts):
            surname = np.hstack(family)
            parts = "f" * given.shape[1] + "l" * surname.shape[1]
            yield from _sequences(hasher, words, np.hstack((given, surname)), parts)
            yield from _sequences(hasher, words, np.hstack((surname, given)))


def _sequences(
    hasher: Hasher, words: Words, index: "NDArray[np.int64]", parts: str = "", shortest: int = _SHORTEST
) -> Iterator[Told]:
    """Yield sequences of words that are long enough to be told from chance.

    Args:
        hasher: with this run's salt.
        words: of the rows.
        index: the words of each sequence: a row for each.
        parts: as `Told` has them.
        shortest: how many letters and digits a value has at least.
    """
    if not len(index):
        return
    lengths = (words.ends - words.starts)[index].sum(axis=1)
    enough = lengths >= shortest
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
    yield Told(words, current, prefixes, index, parts=parts)


def _has_digit(words: Words, at: "Places") -> "NDArray[np.bool_]":
    """Tell which words have a digit, but for numbers of fewer than nine digits: those are frequent."""
    import numpy as np

    before = np.concatenate([np.zeros(1, np.int64), np.cumsum((words.text - np.uint8(48)) < 10)])
    digits, lengths = before[words.ends[at]] - before[words.starts[at]], words.ends[at] - words.starts[at]
    found: NDArray[np.bool_] = (digits > 0) & ((digits < lengths) | (lengths >= 9))
    return found


def _numbers(hasher: Hasher, words: Words, column: int, numbers: list[Numbers], *, scattered: bool) -> Iterator[Told]:
    """Yield the numbers of a column: all digits that stand together.

    Within longer texts only those count that are written as a phone (with a plus sign) or as a RUT (with a dash).
    """
    import numpy as np

    for first, last, tag, values in numbers:
        chosen = np.flatnonzero(words.cells[first] % words.columns == column)
        if scattered and len(chosen):
            begin, end = first[chosen], last[chosen]
            if tag == RUT:
                # the check digit stands alone: 12.345.678-5, which the code 0309-001 is not
                alone = (begin < end) & (words.ends[end] == words.starts[end] + 1)
                written = alone | (words.text[words.ends[end] - 1] == ord("k"))
            else:
                before = np.maximum(words.raw_places(words.starts[begin]), 1) - 1
                written = np.frombuffer(words.raw, np.uint8)[before] == ord("+")
            chosen = chosen[written]
        if len(chosen):
            yield Told(words, hasher.numbers(values[chosen], tag), [], first[chosen, None], tag, values[chosen])


def _emails(hasher: Hasher, words: Words, column: int) -> Iterator[Told]:
    """Yield the e-mails within the texts of a column."""
    import numpy as np

    if b"@" not in words.raw:
        return
    raw = np.frombuffer(words.raw, np.uint8)
    ends = words.delimiters()
    signs = np.flatnonzero(raw == ord("@"))
    cells = np.searchsorted(ends, signs)
    mine = cells % words.columns == column
    starts = words.raw_places(words.starts)
    found: dict[int, list[list[int]]] = {}
    for sign, cell in zip(signs[mine].tolist(), cells[mine].tolist(), strict=True):
        begin = int(ends[cell - 1]) + 1 if cell else 0
        before = _LOCAL.search(words.raw, max(begin, sign - 64), sign)
        after = _DOMAIN.match(words.raw, sign + 1, int(ends[cell]))
        if before and after:
            first, last = np.searchsorted(starts, [before.start(), after.end() - 1])
            found.setdefault(int(last - first), []).append(list(range(first, last)))
    for length, index in found.items():
        if 1 < length <= LONGEST:
            yield from _sequences(hasher, words, np.array(index), shortest=_SHORTEST_EMAIL)
