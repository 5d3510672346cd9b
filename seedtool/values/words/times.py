"""Words about days and times. The calendar is computed in whole numbers, so no library's version matters."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Whole = NDArray[np.int64]


def days_from_civil(year: "Whole", month: "Whole", day: "Whole") -> "Whole":
    """Days since 1970-01-01 of a date of the Gregorian calendar.

    H. Hinnant, "chrono-compatible low-level date algorithms", 2013.

    Args:
        year: int64[n]; the year before 1 is 0.
        month: int64[n], 1 to 12.
        day: int64[n], 1 to 31.
    """
    year = year - (month <= 2)
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    days: Whole = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    return days


def civil(days: "Whole") -> "tuple[Whole, Whole, Whole]":
    """Year, month and day of days since 1970-01-01: the inverse of `days_from_civil`."""
    days = days + 719_468
    era = days // 146_097
    of_era = days - era * 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + np.where(shifted < 10, 3, -9)
    return year + era * 400 + (month <= 2), month, day


def written_dates(days: "Whole") -> "NDArray[np.uint8]":
    """uint8[n, 10]: dates of the years 1 to 9999 in ISO form."""
    year, month, day = civil(days)
    out = np.full((len(days), 10), 0x2D, dtype=np.uint8)
    for value, last, count in ((year, 3, 4), (month, 6, 2), (day, 9, 2)):
        rest = value
        for position in range(last, last - count, -1):
            above = rest // 10
            out[:, position] = rest - above * 10 + 0x30
            rest = above
    return out
