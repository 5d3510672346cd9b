"""Words that pick from a pool: places, companies, jobs and things, and pools of the project's own."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seedtool.values.cells import Cells, concat, digits, hexadecimal
from seedtool.values.hashing import below, draw
from seedtool.values.pools import Pool, own
from seedtool.values.pools import pool as frozen
from seedtool.values.word import TEXT, Context, Kind, counted, drawn, related, word, wrong
from seedtool.values.words.people import slug

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.uint64]


def _picked(values: Pool, *, identifying: bool = False) -> Kind:
    if values.slots is None:
        return counted(len(values), values.cells.take, TEXT, values.longest, identifying=identifying)
    return drawn(values.pick, TEXT, values.longest, identifying=identifying)


@word
def pool(*, name: str = "", locale: str = "en_US", file: str = "", folder: Path | None = None) -> Kind:
    """A value of a pool: one of the package, or a file of the project.

    Args:
        name: a pool of the package, such as `catch_phrase`.
        locale: Faker's name of the locale.
        file: a file of the project with a value in each line, such as `company/own.txt`.
        folder: the folder of the project.
    """
    if bool(name) == bool(file):
        raise wrong("pool", "file", 'or the parameter "name" must be given, and not both')
    if file and (Path(file).is_absolute() or ".." in Path(file).parts):
        raise wrong("pool", "file", "must lie in the project's folder")
    return _picked(own((folder or Path()) / file) if file else frozen(name, locale))


@word
def company(*, locale: str = "en_US") -> Kind:
    """A company's name."""
    return _picked(frozen("company", locale))


@word
def job(*, locale: str = "en_US") -> Kind:
    """An occupation."""
    return _picked(frozen("job", locale))


@word
def street(*, locale: str = "en_US") -> Kind:
    """A street's name."""
    return _picked(frozen("street", locale))


@word
def address(*, locale: str = "en_US") -> Kind:
    """A street with a house number, and a city."""
    streets, cities = frozen("street", locale), frozen("city", locale)

    def make(bits: "Bits") -> Cells:
        number = digits(below(draw(bits, 1), 4999) + np.uint64(1))
        return concat([streets.pick(bits), b" ", number, b", ", cities.pick(draw(bits, 2))])

    return drawn(make, TEXT, streets.longest + cities.longest + 7, identifying=True)


@word
def city(*, locale: str = "en_US") -> Kind:
    """A city."""
    return _picked(frozen("city", locale))


@word
def region(*, locale: str = "en_US") -> Kind:
    """A region, province or state."""
    return _picked(frozen("region", locale))


@word
def postcode(*, locale: str = "en_US") -> Kind:
    """A postal code."""
    return _picked(frozen("postcode", locale))


@word
def country(*, locale: str = "en_US") -> Kind:
    """A country's name in the locale's language."""
    return _picked(frozen("country", locale))


@word
def country_code() -> Kind:
    """A country's code of two letters."""
    return _picked(frozen("country_code"))


@word
def color(*, locale: str = "en_US") -> Kind:
    """A colour's name."""
    return _picked(frozen("color", locale))


@word
def word_(*, locale: str = "en_US") -> Kind:
    """A word of the locale's language."""
    return _picked(frozen("word", locale))


@word
def text(*, locale: str = "en_US", min: int = 20, max: int = 120) -> Kind:
    """Sentences of the locale's words.

    Args:
        locale: the words.
        min: about the fewest characters.
        max: the most characters.
    """
    if not 1 <= min <= max <= 10_000:
        raise wrong("text", "max", f"must be between min and 10000, not {max}")
    words = frozen("word", locale)

    def make(bits: "Bits") -> Cells:
        wanted = below(draw(bits, 0), max - min + 1).astype(np.int32) + np.int32(min)
        return prose(bits, wanted, words)

    return drawn(make, TEXT, max)


def prose(bits: "Bits", wanted: "NDArray[np.int32]", words: Pool) -> Cells:
    """Words joined to sentences of about as many bytes as are wanted, and never more."""
    most = int(wanted.max(initial=1))
    made, number = _capitals(words.pick(draw(bits, 1))), 1
    while int(made.lengths.min(initial=most)) < most and number < most:
        number += 1
        following = words.pick(draw(bits, number))
        made = (
            concat([made, b". ", _capitals(following)]) if number % 9 == 0 else concat([made, b" ", following])
        ).narrowed(most + 1)
    if most == 1:
        return made.cut(wanted)
    return _at_words_end(made, wanted - 1).ended(b".")


def _at_words_end(cells: Cells, most: "NDArray[np.int32]") -> Cells:
    """The cells, each cut behind a word within so many bytes, or within its first word where that is longer."""
    places = np.arange(cells.width, dtype=np.int32)
    ends = (cells.matrix == 0x20) & (places <= most[:, None])
    last = cells.width - 1 - np.argmax(ends[:, ::-1], axis=1).astype(np.int32)
    whole = (cells.lengths > most) & ends.any(axis=1)
    cut = cells.cut(np.where(whole, last, most))
    final = cut.matrix[np.arange(len(cut)), np.maximum(cut.lengths - 1, 0)]
    return Cells(cut.matrix, cut.lengths - ((cut.lengths > 1) & (final == 0x2E)), plain=cut.plain)


def _capitals(cells: Cells) -> Cells:
    """The cells with a capital where they begin with a letter from a to z."""
    matrix = cells.matrix.copy()
    first = matrix[:, 0]
    first -= np.where((first >= ord("a")) & (first <= ord("z")), np.uint8(32), np.uint8(0))
    return Cells(matrix, cells.lengths, plain=cells.plain)


@word
def catch_phrase(*, locale: str = "en_US") -> Kind:
    """A slogan of a company."""
    return _picked(frozen("catch_phrase", locale))


@word
def currency() -> Kind:
    """The code of a currency (ISO 4217)."""
    return _picked(frozen("currency"))


@word
def language() -> Kind:
    """The code of a language."""
    return _picked(frozen("language"))


@word
def timezone() -> Kind:
    """The name of a time zone."""
    return _picked(frozen("timezone"))


@word
def mime_type() -> Kind:
    """The type of a file."""
    return _picked(frozen("mime_type"))


@word
def user_agent() -> Kind:
    """What a browser calls itself."""
    return _picked(frozen("user_agent"))


@word
def emoji() -> Kind:
    """A little picture."""
    return _picked(frozen("emoji"))


@word
def domain() -> Kind:
    """The name of a host that nobody can register, below example.com (RFC 2606)."""
    frozen_words = frozen("word", "en_US")
    words = Pool(slug(frozen_words.cells, b"-", b"host"), frozen_words.slots)
    made = drawn(
        lambda bits: concat([words.pick(bits), digits(below(draw(bits, 1), 1000)), b".example.com"]),
        TEXT,
        words.longest + 15,
    )
    return replace(made, reserved="names below example.com (RFC 2606)")


@word
def url(*, path: bool = True) -> Kind:
    """An address of a host that nobody can register, below example.com (RFC 2606).

    Args:
        path: a path stands behind the host.
    """
    host, words = domain(), frozen("word", "en_US")

    def make(bits: "Bits", context: Context) -> Cells:
        parts: list[Cells | bytes] = [b"https://", host.make(bits, context)]
        if path:
            parts += [b"/", words.pick(draw(bits, 3)), b"/", words.pick(draw(bits, 4))]
        return concat(parts)

    return related(make, TEXT, host.longest + 2 * words.longest + 10, reserved=host.reserved)


@word
def ip(*, version: int = 4) -> Kind:
    """An IP address of the ranges for documentation (RFC 5737, RFC 3849) or, of version 4, private ones (RFC 1918).

    Args:
        version: 4 (in 10.0.0.0/8) or 6 (in 2001:db8::/32).
    """
    if version not in {4, 6}:
        raise wrong("ip", "version", f"must be 4 or 6, not {version}")
    if version == 6:
        return counted(2**48, _six, frozenset({"inet", "text"}), 24)

    def four(numbers: "Bits") -> Cells:
        byte, eight, sixteen = np.uint64(255), np.uint64(8), np.uint64(16)
        parts = [digits(numbers >> sixteen), digits((numbers >> eight) & byte), digits(numbers & byte)]
        return concat([b"10.", parts[0], b".", parts[1], b".", parts[2]])

    return counted(2**24, four, frozenset({"inet", "text"}), 14)


def _six(numbers: "Bits") -> Cells:
    groups = hexadecimal(numbers)
    parts = [
        Cells(np.ascontiguousarray(groups.matrix[:, at : at + 4]), np.full(len(numbers), 4, np.int32), plain=True)
        for at in (4, 8, 12)
    ]
    return concat([b"2001:db8::", parts[0], b":", parts[1], b":", parts[2]])


@word
def mac() -> Kind:
    """A MAC address that is locally administered (IEEE 802)."""

    def nth(numbers: "Bits") -> Cells:
        groups = hexadecimal(numbers).matrix
        matrix = np.full((len(numbers), 17), ord(":"), dtype=np.uint8)
        matrix[:, 0], matrix[:, 1] = ord("0"), ord("2")
        for group in range(5):
            matrix[:, 3 + group * 3 : 5 + group * 3] = groups[:, 6 + group * 2 : 8 + group * 2]
        return Cells(matrix, np.full(len(numbers), 17, np.int32), plain=True)

    return counted(2**40, nth, frozenset({"macaddr", "text"}), 17)
