"""Words that pick from a pool: places, companies, jobs and things, and pools of the project's own."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seedtool.values.cells import Cells, concat, digits
from seedtool.values.hashing import below, draw
from seedtool.values.pools import Pool, own
from seedtool.values.pools import pool as frozen
from seedtool.values.word import TEXT, Kind, counted, drawn, word, wrong

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
    return made.cut(wanted - 1).ended(b".") if most > 1 else made.cut(wanted)


def _capitals(cells: Cells) -> Cells:
    """The cells with a capital where they begin with a letter from a to z."""
    matrix = cells.matrix.copy()
    first = matrix[:, 0]
    first -= np.where((first >= ord("a")) & (first <= ord("z")), np.uint8(32), np.uint8(0))
    return Cells(matrix, cells.lengths, plain=cells.plain)
