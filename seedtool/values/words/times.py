"""Words about days and times. The calendar is computed in whole numbers, so no library's version matters."""

import datetime as dt
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated

import numpy as np

from seedtool.values.cells import Cells
from seedtool.values.hashing import below, draw
from seedtool.values.pools import slots
from seedtool.values.word import DATE, Kind, Weights, counted, drawn, related, word, wrong

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.uint64]
    Whole = NDArray[np.int64]

#: A day or a time of a recipe: TOML's own, or its text.
Moment = Annotated[dt.date | dt.datetime | str, "a date or a time, such as 2026-03-01"]
Clock = Annotated[dt.time | str, "a time of the day, such as 08:30:00"]

_EPOCH = dt.date(1970, 1, 1).toordinal()
_DAY = 86_400

#: Which hours and days of the week are likely, by name. Mondays are first.
PATTERNS = {
    "working hours": ([1, 1, 1, 1, 1, 0, 0], [0] * 8 + [3, 5, 5, 5, 4, 2, 4, 5, 5, 4] + [0] * 6),
    "school hours": ([1, 1, 1, 1, 1, 0, 0], [0] * 7 + [6, 8, 3, 3, 3, 2, 3, 3, 4, 1] + [0] * 7),
    "evenings": ([3, 3, 3, 3, 5, 6, 5], [0] * 17 + [2, 4, 6, 6, 5, 3, 1]),
}


@word
def date(
    *, min: Moment = "2020-01-01", max: Moment = "2025-12-31", months: Weights = (), weekdays: Weights = ()
) -> Kind:
    """A date.

    Args:
        min: the first.
        max: the last.
        months: 12 weights, from January: a season.
        weekdays: 7 weights, from Monday.
    """
    first, last = day_of("date", "min", min), day_of("date", "max", max)
    if last < first:
        raise wrong("date", "max", f"must not be before min ({min})")
    low = first
    if not months and not weekdays:
        return counted(last - first + 1, lambda numbers: dates_of(numbers.astype(np.int64) + low), DATE, 10)
    days = _seasonal("date", first, last, months, weekdays)
    return drawn(lambda bits: dates_of(days[bits >> np.uint64(48)].astype(np.int64) + low), DATE, 10)


@word
def birth_date(*, on: Moment, youngest: int = 6, oldest: int = 18) -> Kind:
    """The birth date of a person who has an age on a day.

    Args:
        on: that day: nothing here reads a clock.
        youngest: the smallest age in years.
        oldest: the largest.
    """
    if not 0 <= youngest <= oldest <= 130:
        raise wrong("birth_date", "oldest", f"must be between youngest and 130, not {oldest}")
    year, month, day = (int(part[0]) for part in civil(np.array([day_of("birth_date", "on", on)])))
    first, last = (
        int(days_from_civil(*(np.array([value]) for value in (year - age, month, day)))[0])
        for age in (oldest + 1, youngest)
    )
    return counted(last - first, lambda numbers: dates_of(numbers.astype(np.int64) + first + 1), DATE, 10)


@word
def time(*, min: Clock = "00:00:00", max: Clock = "23:59:59", step: int = 1) -> Kind:
    """A time of the day.

    Args:
        min: the first.
        max: the last.
        step: only every so many seconds from the first.
    """
    first, last = _second("time", "min", min), _second("time", "max", max)
    if last < first or step < 1:
        raise wrong("time", "max", f"must not be before min ({min})")
    count = (last - first) // step + 1
    return counted(
        count, lambda numbers: _clock(numbers.astype(np.int64) * step + first), frozenset({"time", "text"}), 8
    )


@word
def timestamp(
    *,
    min: Moment = "2020-01-01",
    max: Moment = "2025-12-31",
    pattern: str = "",
    hours: Weights = (),
    weekdays: Weights = (),
    months: Weights = (),
    zone: str = "",
) -> Kind:
    """A day and a time, to the second.

    Args:
        min: the first.
        max: the last; a date is its whole day.
        pattern: `working hours`, `school hours` or `evenings`: likely hours and days of the week.
        hours: 24 weights, from midnight.
        weekdays: 7 weights, from Monday.
        months: 12 weights, from January: a season.
        zone: the offset from UTC that is written behind it, such as -03.
    """
    if pattern and pattern not in PATTERNS:
        raise wrong("timestamp", "pattern", f"must be one of {', '.join(PATTERNS)}, not {pattern!r}")
    usual = PATTERNS.get(pattern, ((), ()))
    weekdays, hours = weekdays or usual[0], hours or usual[1]
    behind = _zone("timestamp", zone)
    first, last = moment_of("timestamp", "min", min), moment_of("timestamp", "max", max)
    if not isinstance(max, dt.datetime) and len(str(max)) == len("2026-01-01"):
        last += _DAY - 1
    if last < first:
        raise wrong("timestamp", "max", f"must not be before min ({min})")
    longest = 19 + len(zone)
    if not (hours or weekdays or months):
        return counted(
            last - first + 1, lambda numbers: moments_of(numbers.astype(np.int64) + first, behind), _TIMES, longest
        )
    day = first // _DAY
    days = _seasonal("timestamp", day, last // _DAY, months, weekdays)
    hour = _checked("timestamp", "hours", hours or [1] * 24, 24)

    def make(bits: "Bits") -> Cells:
        chosen = (days[bits >> np.uint64(48)].astype(np.int64) + day) * _DAY
        chosen += hour[draw(bits, 1) >> np.uint64(48)].astype(np.int64) * 3600
        chosen += below(draw(bits, 2), 3600).astype(np.int64)
        return moments_of(np.clip(chosen, first, last), behind)

    return drawn(make, _TIMES, longest)


@word
def series(*, start: Moment, every: int = 60, jitter: int = 0, zone: str = "") -> Kind:
    """Times in the order of the rows: a time series. A larger scale goes on in time.

    Args:
        start: the time of the first row.
        every: seconds between rows.
        jitter: the most seconds that a row is late; less than `every` keeps the order.
        zone: the offset from UTC that is written behind it, such as -03.
    """
    if every < 1 or not 0 <= jitter < 2**31:
        raise wrong("series", "every", f"must be at least 1 second, not {every}")
    first, behind = moment_of("series", "start", start), _zone("series", zone)
    return related(
        lambda bits, context: moments_of(
            context.rows * every + first + below(bits, jitter + 1).astype(np.int64), behind
        ),
        _TIMES,
        19 + len(zone),
        distinct=jitter < every,
    )


_TIMES = frozenset({"timestamp", "date", "text"})
_CLOCK = Cells.of(f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}" for second in range(_DAY))


def dates_of(days: "Whole") -> Cells:
    """Days since 1970-01-01 as dates."""
    return Cells(_written(days), np.full(len(days), 10, np.int32), plain=True)


def _clock(seconds: "Whole") -> Cells:
    return _CLOCK.take(seconds)


def moments_of(seconds: "Whole", zone: bytes) -> Cells:
    """Seconds since 1970-01-01 as days and times."""
    days = seconds // _DAY
    parts = [("day", "V10"), ("space", np.uint8), ("time", "V8")] + ([("zone", f"V{len(zone)}")] if zone else [])
    out = np.empty(len(seconds), dtype=np.dtype(parts))
    out["day"] = _written(days).view("V10")[:, 0]
    out["space"] = 0x20
    out["time"] = _CLOCK.matrix.view("V8")[:, 0].take(seconds - days * _DAY)
    if zone:
        out["zone"] = np.frombuffer(zone, dtype=out.dtype["zone"])
    width = out.dtype.itemsize
    return Cells(out.view(np.uint8).reshape(len(seconds), width), np.full(len(seconds), width, np.int32), plain=True)


#: Days of 1900 to 2099, written once: most dates are among them.
_FROM, _TO = -25_567, 47_482


@cache
def _calendar() -> "NDArray[np.uint8]":
    return written_dates(np.arange(_FROM, _TO, dtype=np.int64))


def _written(days: "Whole") -> "NDArray[np.uint8]":
    """uint8[n, 10]: the days since 1970-01-01 as dates."""
    if len(days) and (int(days.min()) < _FROM or int(days.max()) >= _TO):
        return written_dates(days)
    return _calendar().view("V10")[:, 0].take(days - _FROM).view(np.uint8).reshape(len(days), 10)


def _seasonal(name: str, first: int, last: int, months: Sequence[int], weekdays: Sequence[int]) -> "NDArray[np.uint16]":
    """The days of a range, each as often as the weights of its month and weekday say."""
    if last - first >= 60_000:
        raise wrong(name, "max", "must be less than 60,000 days after min where days have weights")
    days = np.arange(first, last + 1, dtype=np.int64)
    _, month, _ = civil(days)
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
    by_month = np.array(_numbers(name, "months", months or [1] * 12, 12), dtype=np.int64)
    by_weekday = np.array(_numbers(name, "weekdays", weekdays or [1] * 7, 7), dtype=np.int64)
    weights = by_month[month - 1] * by_weekday[weekday]
    if not weights.any():
        raise wrong(name, "weekdays", "and months leave no day between min and max")
    return slots(weights.tolist())


def _numbers(name: str, parameter: str, weights: Sequence[int], count: int) -> Sequence[int]:
    if len(weights) != count or not any(weights) or sum(weights) >= 2**24:
        raise wrong(name, parameter, f"must be {count} whole numbers, not all 0")
    return weights


def _checked(name: str, parameter: str, weights: Sequence[int], count: int) -> "NDArray[np.uint16]":
    return slots(_numbers(name, parameter, weights, count))


def _zone(name: str, zone: str) -> bytes:
    if not re.fullmatch(r"([+-]\d\d(:?\d\d)?|Z)?", zone):
        raise wrong(name, "zone", f"must be an offset such as -03 or +05:30, not {zone!r}")
    return zone.encode()


def day_of(name: str, parameter: str, value: dt.date | str) -> int:
    """Days since 1970-01-01 of a date of a recipe."""
    return moment_of(name, parameter, value) // _DAY


def moment_of(name: str, parameter: str, value: dt.date | str) -> int:
    """Seconds since 1970-01-01 of a date or a time; a time zone is not looked at."""
    try:
        read = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise wrong(name, parameter, f"must be a date or a time such as 2026-03-01 08:00:00, not {value!r}") from None
    seconds = (read.hour * 60 + read.minute) * 60 + read.second if isinstance(read, dt.datetime) else 0
    return (read.toordinal() - _EPOCH) * _DAY + seconds


def _second(name: str, parameter: str, value: dt.time | str) -> int:
    try:
        read = dt.time.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise wrong(name, parameter, f"must be a time of the day such as 08:30:00, not {value!r}") from None
    return (read.hour * 60 + read.minute) * 60 + read.second


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
