"""Words about people: names, sex, e-mail addresses, phones and RUTs. A person's columns agree with each other."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from seedtool.values.cells import Cells, concat, digits
from seedtool.values.hashing import draw
from seedtool.values.pools import Pool, pool
from seedtool.values.word import (
    INTEGER,
    TEXT,
    ColumnName,
    ColumnNames,
    Context,
    Kind,
    Share,
    Texts,
    counted,
    drawn,
    related,
    word,
    wrong,
)
from seedtool.values.words.patterns import pattern

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.uint64]

#: What a column may call the female sex, when a word does not say.
FEMALE = ("f", "female", "femenino", "femenina", "mujer", "niña", "w", "woman", "girl", "feminin", "weiblich", "donna")

#: Domains that nobody can register (RFC 2606, section 3).
EXAMPLE_DOMAINS = ("example.com", "example.net", "example.org")

#: How a phone number is written where people of a locale live; `#` is a digit, `%` a digit from 2 to 9.
#: Chile: mobile numbers have nine digits and begin with 9 (Subtel, national numbering plan of 2016).
PHONES = {
    "es_CL": "+56 9 %### ####",
    "es": "+34 6## ### ###",
    "es_AR": "+54 9 11 %###-####",
    "es_CO": "+57 3## ### ####",
    "es_MX": "+52 55 %### ####",
    "en_US": "(%##) %##-####",
    "en_GB": "+44 7### ######",
    "de_DE": "+49 15# ########",
    "fr_FR": "+33 6 ## ## ## ##",
    "it_IT": "+39 3## ### ####",
    "pt_BR": "+55 11 9%###-####",
}


@word
def first_name(*, locale: str = "en_US", sex: str = "", sex_of: ColumnName = "", female: Texts = FEMALE) -> Kind:
    """A first name.

    Args:
        locale: the pool.
        sex: `female` or `male`, for all rows.
        sex_of: the column that says the sex of each row.
        female: what that column calls the female sex.
    """
    women, men = pool("first_name_female", locale), pool("first_name_male", locale)
    return _named(_of_sex(women, men, _sexes("first_name", sex, sex_of, female)), women, men, of=sex_of)


@word
def last_name(*, locale: str = "en_US") -> Kind:
    """A last name."""
    names = pool("last_name", locale)
    return _named(lambda bits, _context: names.pick(bits), names)


@word
def full_name(
    *,
    locale: str = "en_US",
    sex: str = "",
    sex_of: ColumnName = "",
    female: Texts = FEMALE,
    surnames: int = 1,
    of: ColumnNames = (),
) -> Kind:
    """A first name and last names.

    Args:
        locale: the pools.
        sex: `female` or `male`, for all rows.
        sex_of: the column that says the sex of each row.
        female: what that column calls the female sex.
        surnames: how many last names: two in Chile.
        of: the columns whose values are joined instead, so that the names agree.
    """
    if of:
        return related(
            lambda _bits, context: joined([context.columns[name] for name in of]),
            TEXT,
            200,
            needs=tuple(of),
            identifying=True,
        )
    women, men, names = (pool(name, locale) for name in ("first_name_female", "first_name_male", "last_name"))
    first = _of_sex(women, men, _sexes("full_name", sex, sex_of, female))
    if not 1 <= surnames <= 3:
        raise wrong("full_name", "surnames", f"must be 1 to 3, not {surnames}")

    def make(bits: "Bits", context: Context) -> Cells:
        parts: list[Cells | bytes] = [first(bits, context)]
        for number in range(surnames):
            parts += [b" ", names.pick(draw(bits, 1 + number))]
        return concat(parts)

    named = _named(make, women, men, of=sex_of)
    return replace(named, longest=named.longest + surnames * (1 + names.longest))


@word
def prefix(*, locale: str = "en_US", sex: str = "", sex_of: ColumnName = "", female: Texts = FEMALE) -> Kind:
    """A title, such as Dra.

    Args:
        locale: the pool.
        sex: `female` or `male`, for all rows.
        sex_of: the column that says the sex of each row.
        female: what that column calls the female sex.
    """
    women, men = pool("prefix_female", locale), pool("prefix_male", locale)
    made = _named(_of_sex(women, men, _sexes("prefix", sex, sex_of, female)), women, men, of=sex_of)
    return replace(made, identifying=False)


@word
def sex(*, female: str = "female", male: str = "male", share: Share = 0.5) -> Kind:
    """The sex of a person.

    Args:
        female: what the column calls women.
        male: what it calls men.
        share: the share of women.
    """
    both = Cells.of([female, male])
    threshold = np.uint64(min(int(Fraction(share) * 2**64), 2**64 - 1))
    return drawn(
        lambda bits: both.take((draw(bits, 0) >= threshold).astype(np.int64)), TEXT, max(len(female), len(male))
    )


@word
def email(
    *,
    of: ColumnNames = (),
    locale: str = "en_US",
    domain: str = "",
    numbered: bool = True,
) -> Kind:
    """An e-mail address, made from the names of the row where `of` names them.

    Args:
        of: the columns of the names; without it names are drawn.
        locale: the pool of these names.
        domain: what stands behind the @; else example.com, example.net or example.org.
        numbered: the row's number stands behind the names, so that addresses differ.
    """
    names = None if of else slugged_names(locale, b".")
    domains = Cells.of([domain] if domain else list(EXAMPLE_DOMAINS))

    def make(bits: "Bits", context: Context) -> Cells:
        parts: list[Cells | bytes] = [_slug_of(of, b".", context) if names is None else names.make(bits, context)]
        if numbered:
            parts += [b".", digits((context.rows + 1).astype(np.uint64))]
        host = domains.take((draw(bits, 9) % np.uint64(len(domains))).astype(np.int64))
        return concat([*parts, b"@", host])

    longest = max(len(one or b"") for one in domains.tolist()) + 100
    return related(
        make,
        TEXT,
        longest,
        needs=tuple(of),
        distinct=numbered,
        identifying=True,
        reserved=None if domain else "the domains example.com, example.net and example.org (RFC 2606)",
    )


@word
def username(*, of: ColumnNames = (), locale: str = "en_US", numbered: bool = True) -> Kind:
    """A login name: the names of the row without accents, and its number.

    Args:
        of: the columns of the names; without it names are drawn.
        locale: the pool of these names.
        numbered: the row's number stands behind the names, so that they differ.
    """
    names = None if of else slugged_names(locale, b"_")

    def make(bits: "Bits", context: Context) -> Cells:
        parts: list[Cells | bytes] = [_slug_of(of, b"_", context) if names is None else names.make(bits, context)]
        if numbered:
            parts.append(concat([b"_", digits((context.rows + 1).astype(np.uint64))]))
        return concat(parts)

    return related(make, TEXT, 100, needs=tuple(of), distinct=numbered, identifying=True)


@word
def phone(*, locale: str = "en_US", format: str = "") -> Kind:
    """A phone number.

    Args:
        locale: the country whose mobile numbers it looks like.
        format: how it is written: `#` is a digit, `%` a digit from 2 to 9.
    """
    written = format or PHONES.get(locale) or PHONES["es" if locale.startswith("es") else "en_US"]
    return replace(pattern(format=written), identifying=True)


@word
def rut(*, format: str = "dots", min: int = 5_000_000, max: int = 28_000_000) -> Kind:
    """A Chilean RUT with its check digit.

    Args:
        format: `dots` (12.345.678-5), `dash` (12345678-5), `plain` (123456785) or `number` (12345678).
        min: the smallest number before the check digit.
        max: the largest.
    """
    if format not in {"dots", "dash", "plain", "number"}:
        raise wrong("rut", "format", f"must be dots, dash, plain or number, not {format!r}")
    if not 1 <= min <= max < 10**9:
        raise wrong("rut", "max", f"must be between min and 999999999, not {max}")
    low = np.uint64(min)
    types = INTEGER if format == "number" else TEXT
    longest = {"dots": 13, "dash": 11, "plain": 10, "number": 9}[format]
    return counted(max - min + 1, lambda numbers: written_rut(numbers + low, format), types, longest, identifying=True)


_CHECK_DIGITS = Cells.of(list("0123456789K"))
#: `.000` to `.999`, four bytes each, and `-0` to `-K`, two bytes each: a RUT is written by pieces.
_THOUSANDS = np.array([f".{number:03}".encode() for number in range(1000)], dtype="S4").view(np.uint32)
_ENDS = np.array([f"-{digit}".encode() for digit in "0123456789K"], dtype="S2").view(np.uint16)
_TAIL = np.dtype([("thousands", np.uint32), ("ones", np.uint32), ("end", np.uint16)])
#: The weighted digits of 0 to 9999 at each place of four: the weights are 2 to 7 from the right, again and again.
_WEIGHTED = np.array(
    [
        [
            sum(int(digit) * (2 + (at + place) % 6) for place, digit in enumerate(reversed(f"{number:04}")))
            for number in range(10_000)
        ]
        for at in (0, 4, 8)
    ],
    dtype=np.int64,
)


def check_digits(numbers: "Bits") -> "NDArray[np.int64]":
    """The check digit of each RUT as a number, 10 for K: modulo 11, weights 2 to 7 from the right (SII, Chile)."""
    above = numbers // np.uint64(10_000)
    top = above // np.uint64(10_000)
    parts = (numbers - above * np.uint64(10_000), above - top * np.uint64(10_000), np.minimum(top, np.uint64(9_999)))
    total = sum(weighted.take(part.astype(np.int64)) for weighted, part in zip(_WEIGHTED, parts, strict=True))
    found: NDArray[np.int64] = (11 - total % 11) % 11
    return found


def written_rut(numbers: "Bits", format: str) -> Cells:
    """RUTs as text: `dots`, `dash`, `plain` or `number`."""
    if format == "number":
        return digits(numbers)
    check = check_digits(numbers)
    if format == "plain":
        return concat([digits(numbers), _CHECK_DIGITS.take(check)])
    if format == "dash":
        ends = _ENDS.take(check).view(np.uint8).reshape(len(numbers), 2)
        return concat([digits(numbers), Cells(ends, np.full(len(numbers), 2, np.int32), plain=True)])
    million, thousand = np.uint64(1_000_000), np.uint64(1_000)
    high = numbers // million
    rest = numbers - high * million
    middle = rest // thousand
    tail = np.empty(len(numbers), dtype=_TAIL)
    tail["thousands"] = _THOUSANDS[middle]
    tail["ones"] = _THOUSANDS[rest - middle * thousand]
    tail["end"] = _ENDS.take(check)
    width = _TAIL.itemsize
    return concat(
        [
            digits(high),
            Cells(tail.view(np.uint8).reshape(len(numbers), width), np.full(len(numbers), width, np.int32), plain=True),
        ]
    )


def joined(parts: Sequence[Cells]) -> Cells:
    """Columns joined by spaces; NULL and empty cells are left out."""
    pieces: list[Cells | bytes] = []
    before = np.zeros(len(parts[0]), dtype=bool)
    for part in parts:
        there = part.lengths > 0
        if pieces:
            gap = np.where(before & there, 1, 0).astype(np.int32)
            pieces.append(Cells(np.full((len(part), 1), 0x20, np.uint8), gap, plain=True))
        pieces.append(Cells(part.matrix, np.maximum(part.lengths, 0), plain=part.plain))
        before |= there
    return concat(pieces)


def slugged_names(locale: str, between: bytes) -> Kind:
    """First and last names as `slug` writes them: the pools are rewritten once, and not each value."""
    women, men, last = (
        Pool(slug(each.cells, between, b"user"), each.slots)
        for each in (pool(name, locale) for name in ("first_name_female", "first_name_male", "last_name"))
    )
    first = _of_sex(women, men, _sexes("email", "", "", FEMALE))

    def make(bits: "Bits", context: Context) -> Cells:
        return concat([first(bits, context), between, last.pick(draw(bits, 1))])

    return related(make, TEXT, sorted([women.longest, men.longest])[1] + 1 + last.longest)


def slug(cells: Cells, between: bytes, empty: bytes) -> Cells:
    """Texts in small letters without accents, with `between` for each space; `empty` where nothing is left.

    Only the letters a to z are kept (of UTF-8's pairs, those of Latin-1 and Latin Extended-A).
    """
    table = _ASCII.copy()
    table[0x20] = between[0]
    matrix = np.ascontiguousarray(cells.matrix)
    small = table.take(matrix)
    flat = matrix.reshape(-1)
    leads = np.flatnonzero((flat - np.uint8(_FIRST_LEAD)) < len(_PAIRS))  # uint8 wraps around
    leads = leads[leads % cells.width != cells.width - 1]
    if len(leads):
        small.reshape(-1)[leads + 1] = _PAIRS[flat[leads] - np.uint8(_FIRST_LEAD), flat[leads + 1] & np.uint8(0x3F)]
    found = Cells(small, cells.lengths, plain=True).compacted(small != 0)
    none = found.lengths == 0
    return Cells.constant(empty, len(cells)).choose(none, found) if none.any() else found


def _slug_of(columns: Sequence[str], between: bytes, context: Context) -> Cells:
    """The slug of the columns' values, joined."""
    parts: list[Cells | bytes] = []
    any_before: NDArray[np.bool_] | None = None
    for name in columns:
        there = context.columns[name].lengths > 0
        if any_before is not None:
            gap = any_before & there
            parts.append(
                between
                if gap.all()
                else Cells(np.full((len(gap), 1), between[0], np.uint8), gap.astype(np.int32), plain=True)
            )
        parts.append(_bare_slug(context.columns[name], between, there))
        any_before = there if any_before is None else any_before | there
    found = concat(parts) if len(parts) > 1 else parts[0]
    assert isinstance(found, Cells)  # noqa: S101 - the first part is
    none = found.lengths == 0
    return Cells.constant(b"user", len(none)).choose(none, found) if none.any() else found


def _bare_slug(cells: Cells, between: bytes, there: "NDArray[np.bool_]") -> Cells:
    """The slug of each cell, empty where nothing is left. A pool's is made once."""
    if cells.picked is None:
        return slug(Cells(cells.matrix, np.maximum(cells.lengths, 0)), between, b"")
    pool_cells, rows = cells.picked
    found = _slugged_pool(pool_cells, between).take(rows)
    return found if there.all() else Cells(found.matrix, np.where(there, found.lengths, np.int32(0)), plain=True)


@lru_cache(maxsize=64)
def _slugged_pool(cells: Cells, between: bytes) -> Cells:
    return slug(cells, between, b"")


def _letters(first: int) -> "NDArray[np.uint8]":
    """The letter from a to z of each character whose UTF-8 begins with this byte; 0 for none."""
    letters = np.zeros(64, dtype=np.uint8)
    for second in range(64):
        character = bytes([first, 0x80 + second]).decode()
        plain = _UNDECOMPOSED.get(character.lower()) or unicodedata.normalize("NFD", character.lower())[0]
        letters[second] = ord(plain) if "a" <= plain <= "z" else 0
    return letters


_UNDECOMPOSED = {"ø": "o", "đ": "d", "ł": "l", "ß": "s", "æ": "a", "œ": "o", "ð": "d", "þ": "t", "ı": "i", "ħ": "h"}
#: The letter of each pair of bytes whose first is C3, C4 or C5: Latin-1 and Latin Extended-A.
_FIRST_LEAD = 0xC3
_PAIRS = np.array([_letters(first) for first in range(_FIRST_LEAD, _FIRST_LEAD + 3)])
_ASCII = np.zeros(256, dtype=np.uint8)
_ASCII[ord("a") : ord("z") + 1] = np.arange(ord("a"), ord("z") + 1)
_ASCII[ord("A") : ord("Z") + 1] = np.arange(ord("a"), ord("z") + 1)


def _of_sex(
    women: Pool, men: Pool, is_female: "Callable[[Bits, Context], NDArray[np.bool_]]"
) -> "Callable[[Bits, Context], Cells]":
    """What picks from the right one of two pools: they are stacked, so that each value is picked once."""
    both, below = women.cells.stacked(men.cells), len(women)

    def pick(bits: "Bits", context: Context) -> Cells:
        chosen = np.where(is_female(bits, context), women.positions(bits), men.positions(bits) + below)
        return both.pick(chosen)

    return pick


def _named(make: "Callable[[Bits, Context], Cells]", *pools: Pool, of: str = "") -> Kind:
    return related(
        make,
        TEXT,
        max(each.longest for each in pools),
        needs=(of,) if of else (),
        identifying=True,
    )


def _sexes(name: str, sex: str, sex_of: str, female: Sequence[str]) -> "Callable[[Bits, Context], NDArray[np.bool_]]":
    """How a word knows which rows are women: told, from a column, or from the row's own bits."""
    if sex not in {"", "female", "male"}:
        raise wrong(name, "sex", f"must be female or male, not {sex!r}")
    if sex:
        return lambda bits, _context: np.full(len(bits), sex == "female")
    if not sex_of:
        return lambda bits, _context: (draw(bits, 0) >> np.uint64(63)).astype(bool)
    called = {text.lower().encode() for text in female}
    width = max(map(len, called)) + 1

    def of_column(_bits: "Bits", context: Context) -> "NDArray[np.bool_]":
        words = context.columns[sex_of].words(width)
        different, where = np.unique(words, return_inverse=True)
        return np.array([one.decode(errors="replace").lower().encode() in called for one in different.tolist()])[where]

    return of_column
