"""Values as text, for the page and the terminal. What comes from the database was written by strangers."""

import html

from seedtool.printable import printable

#: Characters of a value that are shown. A longer value is cut in the middle.
LONGEST = 200


def escaped(value: object, longest: int = LONGEST) -> str:
    """Return a value as text that is safe in an element and in a quoted attribute.

    Args:
        value: anything.
        longest: characters that are shown.
    """
    text = str(value)
    if len(text) > longest:
        text = f"{text[: longest // 2]}…{text[-longest // 2 :]}"
    return html.escape(printable(text))


def dollars(amount: float) -> str:
    """Return `$1,234.57`; below 10 dollars `$1.234`, for one call costs a tenth of a cent."""
    return f"${amount:,.3f}" if amount < 10 else f"${amount:,.2f}"


def percent(part: float, whole: float) -> str:
    """Return `12.3 %`. It says 0 or 100 only when that is exact."""
    if not whole:
        return "0 %"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "under 0.1 %"
    if 99.9 < share < 100:
        return "over 99.9 %"
    return f"{share:.1f} %".replace(".0 %", " %")


def duration(seconds: float) -> str:
    """Return `12.3 s`, `3 min 20 s` or `1 h 2 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if round(seconds) < 3600:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def short(number: float) -> str:
    """Return a number for an axis: `250`, `1.5k`, `100k`, `2M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"
