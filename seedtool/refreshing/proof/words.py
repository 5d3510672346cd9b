"""Folded words: blocks of COPY text become words without case, accents or escapes, each with a salted 64-bit hash.

A cell is read as a sequence of words, and everything that the proof looks for is a short sequence of words or a number.
So one search finds `ana.soto@liceo.cl` in a URL, and `Ana Soto` in upper case, split over lines, or in a JSON value.
"""

import functools
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Places = NDArray[np.int64]
    Hashes = NDArray[np.uint64]

#: Letters that Unicode does not decompose, as people write them without the letter.
_LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ı": "i"})
#: Letters of Cyrillic and Greek that look like one of Latin (Unicode Technical Standard 39, confusables). On both sides
#: they become it, so words of these scripts stay as different as they were.
_LOOK_ALIKE = (
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458\u0455\u0501\u04bb"
    "\u03bf\u03c1\u03bd\u03b9\u03ba"
)
_LETTERS |= {ord(each): latin for each, latin in zip(_LOOK_ALIKE, "abekmhopctyxijsdhopvik", strict=True)}
#: What stands between the groups of a phone number or a RUT.
_JOINERS = b" .-()+/"
#: A separator that is no joiner, one that is, and what is taken out.
_OTHER, _JOINER, _GONE = 0x1F, 0x20, 0xFF
_BACKSLASH = 0x5C
#: So many bytes of a word are hashed; a hit is compared exactly afterwards.
_LONGEST = 24


class _Remembered(dict[int, str]):
    """What each character becomes, for `str.translate`, which asks once for each.

    Args:
        of: returns what a character becomes.
    """

    def __init__(self, of: Callable[[str], str]) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, code: int) -> str:
        self[code] = found = self._of(chr(code))
        return found


_PLAIN = _Remembered(lambda each: "" if unicodedata.combining(each) else each)


def fold(text: str) -> str:
    """Return a text in lower case, without accents, in the one form that all its Unicode forms have."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    return plain.translate(_PLAIN).casefold().translate(_LETTERS)


def words_of(text: str) -> list[str]:
    """Return the folded words of a text: runs of letters and digits."""
    return re.findall(r"[^\W_]+", fold(text))


def _table() -> bytes:
    table = bytearray([_OTHER]) * 128 + bytearray(range(128, 256))
    for each in _JOINERS:
        table[each] = _JOINER
    for each in range(128):
        if chr(each).isalnum():
            table[each] = ord(chr(each).lower())
    table[9], table[10] = 9, 10  # in COPY's text form a raw tab or line end is always a delimiter
    return bytes(table)


#: Lower case; word characters stay, a joiner becomes a blank, every other separator one control character.
_FOLDED = _table()


@functools.cache
def _latin() -> "dict[int, tuple[Bytes, Bytes]]":
    """Return, by the lead byte of U+0080 to U+017F, what the two bytes of a letter become."""
    import numpy as np

    found = {}
    for lead in range(0xC2, 0xC6):
        first, second = np.full(256, _JOINER, np.uint8), np.full(256, _GONE, np.uint8)
        for trail in range(0x80, 0xC0):
            letters = "".join(words_of(chr((lead & 0x1F) << 6 | trail & 0x3F)))
            if letters.isascii() and 0 < len(letters) <= 2:
                first[trail] = ord(letters[0])
                second[trail] = ord(letters[1]) if len(letters) == 2 else _GONE
        found[lead] = (first, second)
    found[0xC2][0][0xAD] = _GONE  # a soft hyphen stands within a word
    return found


def _far(character: str) -> str:
    """Fold a character above U+017F; combining accents and U+2000 to U+207F stay.

    A block that was cut within a character has surrogates, which stay, too.
    """
    code = ord(character)
    if code < 0x180 or 0x300 <= code < 0x380 or 0x2000 <= code < 0x2080 or 0xDC80 <= code < 0xDD00:
        return character
    if character.isdecimal():  # ٥ and ५ are 5
        return str(unicodedata.decimal(character))
    return "".join(each if each.isalnum() else " " for each in fold(character))


_FAR = _Remembered(_far)


def _has_far(text: "Bytes") -> bool:
    """Tell whether a text has characters that are folded one by one."""
    import numpy as np

    lead = np.flatnonzero(text >= 0xC6)
    kinds, following = text[lead], text[np.minimum(lead + 1, len(text) - 1)]
    usual = (kinds == 0xCC) | (kinds == 0xCD) | ((kinds == 0xE2) & ((following == 0x80) | (following == 0x81)))
    return not usual.all()


def folded(block: bytes) -> "tuple[bytes, bytes, Places]":
    """Fold a block of COPY text.

    Returns:
        The folded text: word characters, blanks, and the tabs and line ends between cells. The block as it was, but for
        characters above U+017F. And where bytes of it are missing in the folded text.
    """
    import numpy as np

    accented = not block.isascii()
    if accented and _has_far(np.frombuffer(block, np.uint8)):
        block = block.decode("utf-8", "surrogateescape").translate(_FAR).encode("utf-8", "surrogateescape")
    escaped = b"\\" in block
    if not accented and not escaped:
        return block.translate(_FOLDED), block, np.zeros(0, np.int64)
    text = np.frombuffer(block, np.uint8).copy()
    if escaped:
        # \n, \t and the others become blanks, and so does \N, which is NULL
        at = np.flatnonzero(text[:-1] == _BACKSLASH)
        # of a run of backslashes, each second one is escaped; a run's first begins at an even distance
        runs = np.flatnonzero(np.diff(at, prepend=-2) != 1)
        begin = np.repeat(at[runs], np.diff(np.append(runs, len(at))))
        at = at[(at - begin) % 2 == 0]
        letter = np.isin(text[at + 1], np.frombuffer(b"bfnrtvN\\", np.uint8))
        text[at[letter] + 1] = _JOINER
        text[at] = _JOINER
    if accented:
        lead = np.flatnonzero(text >= 0xC2)
        lead = lead[lead + 1 < len(text)]
        kinds = text[lead]
        for value, (first, second) in _latin().items():
            at = lead[kinds == value]
            if len(at):
                trail = text[at + 1]
                text[at], text[at + 1] = first[trail], second[trail]
        at = lead[(kinds == 0xCC) | (kinds == 0xCD)]  # U+0300 to U+037F: combining accents, up to U+036F
        at = at[(text[at] == 0xCC) | (text[at + 1] < 0xB0)]
        text[at] = text[at + 1] = _GONE
        at = lead[(kinds == 0xE2) & (lead + 2 < len(text))]
        at = at[(text[at + 1] == 0x80) | (text[at + 1] == 0x81)]  # U+2000 to U+207F: dashes, quotes, blanks
        second, third = text[at + 1], text[at + 2]
        # joiners and marks of direction, U+200C to U+200F, U+202A to U+202E and U+2060 to U+206F, stand within words
        within = (second == 0x80) & (((third >= 0x8C) & (third <= 0x8F)) | ((third >= 0xAA) & (third <= 0xAE)))
        within |= (second == 0x81) & (third >= 0xA0) & (third <= 0xAF)
        text[at] = np.where(within, np.uint8(_GONE), np.uint8(_JOINER))
        text[at + 1] = text[at + 2] = _GONE
    return text.tobytes().translate(_FOLDED, b"\xff"), block, np.flatnonzero(text == _GONE)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of some rows.

    Args:
        text: the folded text, with 24 bytes of zero after it.
        starts: where each word begins in it.
        ends: where each word ends.
        cells: the cell of each word: its row times the number of columns, plus its column.
        first: the first word of each cell.
        count: how many words each cell has.
        hashes: a hash of each word.
        columns: how many columns a row has.
        raw: the block that was folded.
        gone: where bytes of it are missing in the folded text.
    """

    text: "Bytes"
    starts: "Places"
    ends: "Places"
    cells: "Places"
    first: "Places"
    count: "Places"
    hashes: "Hashes"
    columns: int
    raw: bytes
    gone: "Places"

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.first) // self.columns

    def column(self, at: int) -> "tuple[Places, Places]":
        """Return the first word and the number of words of each cell of a column."""
        return self.first[at :: self.columns], self.count[at :: self.columns]

    def raw_places(self, places: "Places") -> "Places":
        """Return where in the block places of the folded text are."""
        import numpy as np

        if not len(self.gone):
            return places
        return places + np.searchsorted(self.gone - np.arange(len(self.gone)), places, side="right")

    def delimiters(self) -> "Places":
        """Return where the cells of the block end."""
        import numpy as np

        text = np.frombuffer(self.raw, np.uint8)
        return np.flatnonzero((text == 9) | (text == 10))

    def some(self, at: "Places", groups: "Places", parts: "tuple[Places, Places, Hashes] | None" = None) -> "Words":
        """Return some of the words as if they stood side by side, in cells of one column.

        Args:
            at: their places.
            groups: the new cell of each, from 0 and in order.
            parts: where they begin and end, and their hashes, where they are only parts of words.
        """
        import numpy as np

        count = np.bincount(groups)
        starts, ends, hashes = parts or (self.starts[at], self.ends[at], self.hashes[at])
        return replace(
            self,
            starts=starts,
            ends=ends,
            cells=groups,
            first=np.cumsum(count) - count,
            count=count,
            hashes=hashes,
            columns=1,
        )

    def joined(self, at: int, count: int, step: int = 1) -> str:
        """Return words as a text: `count` of them from number `at`, each `step` after the one before."""
        raw = self.text
        return " ".join(
            raw[self.starts[each] : self.ends[each]].tobytes().decode("utf-8", "replace")
            for each in range(at, at + count * step, step)
        )


class Hasher:
    """Salted hashes of words and of sequences of words; a new salt in every run, which never leaves memory."""

    def __init__(self) -> None:
        import numpy as np

        self._seed, *odd = (np.uint64(secrets.randbits(64)) for _ in range(4))
        self._first, self._second, self._third = (each | np.uint64(1) for each in odd)

    def mixed(self, values: "Hashes") -> "Hashes":
        """Return 64-bit values, each bit of which depends on all bits (multiply and xorshift, as in MurmurHash3)."""
        import numpy as np

        values = values * self._first
        values ^= values >> np.uint64(32)
        values *= self._second
        values ^= values >> np.uint64(29)
        return values

    def followed(self, hashes: "Hashes", by: "Hashes") -> "Hashes":
        """Return the hashes of sequences, each one word longer."""
        return self.mixed(hashes * self._third + by)

    def numbers(self, values: "Hashes", tag: int) -> "Hashes":
        """Return hashes of numbers of one kind; `tag` is the kind's own number."""
        import numpy as np

        return self.mixed(self.mixed(values + np.uint64(tag)) ^ self._seed)

    def each(self, words: Iterable[str]) -> "Hashes":
        """Return the hash of each of some folded words."""
        return self.words("".join(f"{each}\n" for each in words).encode(), 1).hashes

    def words(self, block: bytes, columns: int) -> Words:
        """Return the words of a block.

        Args:
            block: whole rows of COPY's text form.
            columns: how many columns each row has.
        """
        import numpy as np

        plain, raw, gone = folded(block)
        text = np.frombuffer(plain + bytes(24), np.uint8)
        size = len(plain)
        inside = text[: size + 1] > _JOINER
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        edges += 1
        if inside[0]:
            edges = np.concatenate([np.zeros(1, np.int64), edges])
        starts, ends = edges[0::2].copy(), edges[1::2].copy()
        delimiters = np.flatnonzero(text[:size] < _OTHER)  # only tabs and line ends are
        after = np.searchsorted(starts, delimiters)
        count = np.diff(after, prepend=0)
        cells = np.repeat(np.arange(len(delimiters)), count)
        hashes = self.hashes(text, starts, ends)
        return Words(text, starts, ends, cells, after - count, count, hashes, columns, raw, gone)

    def hashes(self, text: "Bytes", starts: "Places", ends: "Places") -> "Hashes":
        """Return hashes of parts of a folded text that has 24 bytes after it."""
        import numpy as np

        eights = eights_of(text)
        lengths = ends - starts
        hashes = self.mixed((eights[starts] & _masks()[np.minimum(lengths, 8)]) ^ self._seed)
        long = np.flatnonzero(lengths > 8)
        for offset in range(8, _LONGEST, 8):
            if not len(long):
                break
            part = eights[starts[long] + offset] & _masks()[np.minimum(lengths[long] - offset, 8)]
            hashes[long] = self.followed(hashes[long], part)
            long = long[lengths[long] > offset + 8]
        return hashes


def eights_of(text: "Bytes") -> "Hashes":
    """Return the eight bytes from each place of a text as little-endian numbers: a view, without a copy."""
    import numpy as np

    view: Any = np.ndarray(shape=(len(text) - 7,), dtype="<u8", buffer=text.data, strides=(1,))
    return view  # type: ignore[no-any-return]


@functools.cache
def _masks() -> "Hashes":
    import numpy as np

    return np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)


class Digits(NamedTuple):
    """The words that are numbers of at most 16 digits, perhaps with a K after them, the check digit of a RUT.

    Args:
        at: their places among the words.
        values: what they are.
        lengths: how many digits each has.
        k: which end in a K.
    """

    at: "Places"
    values: "Hashes"
    lengths: "Places"
    k: "NDArray[np.bool_]"


def digits_of(words: Words) -> Digits:
    """Return the words that are numbers."""
    import numpy as np

    first = words.text[words.starts]
    at = np.flatnonzero((first - np.uint8(48) < 10) & (words.ends - words.starts <= 16))
    starts = words.starts[at]
    k = words.text[words.ends[at] - 1] == ord("k")
    lengths = words.ends[at] - starts - k
    eights = eights_of(words.text)
    values, fine = _eight_digits(eights[starts], np.minimum(lengths, 8))
    long = np.flatnonzero(lengths > 8)
    if len(long):
        rest = lengths[long] - 8
        high, high_fine = _eight_digits(eights[starts[long] + 8], rest)
        values[long] = values[long] * np.array([10**each for each in range(9)], np.uint64)[rest] + high
        fine[long] &= high_fine
    return Digits(at[fine], values[fine], lengths[fine], k[fine])


def _eight_digits(raw: "Hashes", lengths: "Places") -> "tuple[Hashes, NDArray[np.bool_]]":
    """Read up to eight digits at once (D. Lemire, "Quickly parsing eight digits", 2018), and tell which are digits."""
    import numpy as np

    raw = raw & _masks()[lengths]
    filled = raw | (np.uint64(0x3030303030303030) & ~_masks()[lengths])
    high = np.uint64(0xF0F0F0F0F0F0F0F0)
    threes = np.uint64(0x3030303030303030)
    fine = ((filled & high) == threes) & (((filled + np.uint64(0x0606060606060606)) & high) == threes)
    # the last digit belongs into the highest byte
    value = raw << ((8 - lengths) * 8 % 64).astype(np.uint64)
    value = (value & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(2561) >> np.uint64(8)
    value = (value & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601) >> np.uint64(16)
    value = (value & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001) >> np.uint64(32)
    return value, fine
