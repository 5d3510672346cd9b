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
