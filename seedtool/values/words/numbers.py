"""Words about numbers: uniform, around a mean, and skewed. All arithmetic is in whole numbers, by tables if need be."""

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seedtool.values.cells import Cells, concat, digits, signed
from seedtool.values.hashing import below
from seedtool.values.word import INTEGER, NUMERIC, Bound, Kind, Number, Share, counted, drawn, word, wrong

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.uint64]

#: 4,097 quantiles of the normal distribution in units of 2**-24, made by docs/write_normal.py.
_QUANTILES = Path(__file__).parents[1] / "normal.txt"


@word
def boolean(*, share: Share = 0.5) -> Kind:
    """True or false.

    Args:
        share: the share of true.
    """
    both = Cells.of(["f", "t"])
    threshold = np.uint64(min(int(Fraction(share) * 2**64), 2**64 - 1))
    return drawn(lambda bits: both.take((bits < threshold).astype(np.int64)), frozenset({"boolean", "text"}), 1)


@word
def integer(*, min: int = 0, max: int = 1_000_000, step: int = 1) -> Kind:
    """A whole number, all equally likely.

    Args:
        min: the smallest.
        max: the largest.
        step: only every so many numbers from the smallest.
    """
    if not (-(2**62) <= min <= max <= 2**62) or step < 1:
        raise wrong("integer", "max", f"must not be below min ({min}), and both lie within 2**62")
    count = (max - min) // step + 1

    def nth(numbers: "Bits") -> Cells:
        return signed(numbers.astype(np.int64) * step + min)

    return counted(count, nth, INTEGER, sorted([len(str(min)), len(str(max))])[1])


@word
def decimal(*, min: Number = 0, max: Number = 1000, places: int = 2) -> Kind:
    """A number with decimals, all equally likely.

    Args:
        min: the smallest.
        max: the largest.
        places: decimals, 0 to 9.
    """
    low, high = scaled("decimal", "min", min, places), scaled("decimal", "max", max, places)
    if not low <= high:
        raise wrong("decimal", "max", f"must not be below min ({min})")

    def nth(numbers: "Bits") -> Cells:
        return pointed(numbers.astype(np.int64) + low, places)

    return counted(high - low + 1, nth, NUMERIC, 21)


@word
def normal(
    *,
    mean: Number = 0,
    deviation: Number = 1,
    min: Bound = None,
    max: Bound = None,
    places: int = 0,
) -> Kind:
    """A number around a mean, by the normal distribution.

    Args:
        mean: the mean.
        deviation: the standard deviation.
        min: smaller numbers become this one.
        max: larger numbers become this one.
        places: decimals, 0 to 9.
    """
    middle, width = scaled("normal", "mean", mean, places), scaled("normal", "deviation", deviation, places)
    if not 0 <= width < 2**36:
        raise wrong("normal", "deviation", "must not be negative, nor above 2**36 in its last decimal")
    low = scaled("normal", "min", min, places) if min is not None else -(2**62)
    high = scaled("normal", "max", max, places) if max is not None else 2**62
    table = quantiles()

    def make(bits: "Bits") -> Cells:
        place = (bits >> np.uint64(52)).astype(np.int64)
        within = ((bits >> np.uint64(20)) & np.uint64(0xFFFFFFFF)).astype(np.int64)
        left = table[place]
        quantile = left + (((table[place + 1] - left) * within) >> 32)
        return pointed(np.clip(middle + ((width * quantile) >> 24), low, high), places)

    return drawn(make, INTEGER if places == 0 else NUMERIC, 21)


@word
def skewed(*, min: Number = 0, max: Number = 1000, power: int = 3, places: int = 0) -> Kind:
    """A number of which small ones are far more frequent: a power of a uniform share.

    Args:
        min: the smallest.
        max: the largest.
        power: 2 to 10; the larger, the more small numbers.
        places: decimals, 0 to 9.
    """
    low, high = scaled("skewed", "min", min, places), scaled("skewed", "max", max, places)
    if not low <= high:
        raise wrong("skewed", "max", f"must not be below min ({min})")
    if not 2 <= power <= 10:
        raise wrong("skewed", "power", f"must be 2 to 10, not {power}")
    half = np.uint64(32)

    def make(bits: "Bits") -> Cells:
        share = bits >> half
        product = share
        for _ in range(power - 1):
            product = (product * share) >> half
        # the low half of the bits keeps neighbouring numbers apart where the range is wide
        full = (product << half) | (bits & np.uint64(0xFFFFFFFF))
        return pointed(below(full, high - low + 1).astype(np.int64) + low, places)

    return drawn(make, INTEGER if places == 0 else NUMERIC, 21)


def scaled(name: str, parameter: str, value: float | str, places: int) -> int:
    """A number of a recipe as a whole number of its last decimal. A float is read as it is written."""
    if not 0 <= places <= 9:
        raise wrong(name, "places", f"must be 0 to 9, not {places}")
    try:
        whole = Decimal(str(value)).scaleb(places)
    except InvalidOperation:
        raise wrong(name, parameter, f"must be a number, not {value!r}") from None
    if not whole.is_finite() or whole != whole.to_integral_value() or abs(whole) > 2**61:
        raise wrong(name, parameter, f"must be a number with at most {places} decimals and below 2**61 of them")
    return int(whole)


def pointed(numbers: "NDArray[np.int64]", places: int) -> Cells:
    """Whole numbers of a last decimal, with the point."""
    if not places:
        return signed(numbers)
    size = np.abs(numbers).astype(np.uint64)
    unit = np.uint64(10**places)
    whole = size // unit
    minus = Cells(np.full((len(numbers), 1), 0x2D, np.uint8), (numbers < 0).astype(np.int32), plain=True)
    return concat([minus, digits(whole), b".", digits(size - whole * unit, width=places)])


@cache
def quantiles() -> "NDArray[np.int64]":
    """The quantiles of the normal distribution at 0, 1/4096 to 1; the two ends are those of 1/16384 from the end."""
    lines = _QUANTILES.read_text(encoding="ascii").splitlines()
    return np.array([int(line) for line in lines if not line.startswith("#")], dtype=np.int64)
