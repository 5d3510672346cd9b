"""How values are shown. What comes from the database is written by strangers: `escaped` is its only way in."""

import html
import unicodedata

#: Characters of a value that are shown; what is longer is cut in its middle.
LONGEST = 200


def escaped(value: object, longest: int = LONGEST) -> str:
    """Return a value as text that can stand in an element or in a quoted attribute.

    Args:
        value: anything.
        longest: characters that are shown.
    """
    text = str(value)
    if len(text) > longest:
        text = f"{text[: longest // 2]}…{text[-longest // 2 :]}"
    return html.escape(visible(text))


def visible(text: str) -> str:
    """Return a text without what steers a terminal or turns the direction of writing: U+FFFD stands there.

    A file name must neither write on the screen nor look like another one.
    """
    return "".join("\ufffd" if unicodedata.category(each) in _HIDDEN else each for each in text)


def count(number: int, thing: str = "") -> str:
    """Return `1,234`, or `1 asset`, `1,234 assets`."""
    return f"{number:,}{f' {thing}' if thing else ''}{'s' if thing and number != 1 else ''}"


def dollars(amount: float) -> str:
    """Return `$1,234.57`; below 10 dollars with the tenths of cents that a call costs."""
    return f"${amount:,.3f}" if amount < 10 else f"${amount:,.2f}"


def percent(part: float, whole: float) -> str:
    """Return `12.3 %`; never 0 or 100 for what is not quite that."""
    if not whole:
        return "0 %"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "under 0.1 %"
    if 99.9 < share < 100:
        return "over 99.9 %"
    return f"{share:.1f} %".replace(".0 %", " %")


def duration(seconds: float) -> str:
    """Return `12.3 s`, `3 min 20 s`, `1 h 2 min`."""
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


#: Unicode's control, format (of which some turn the direction), surrogate, private, line and paragraph characters.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
