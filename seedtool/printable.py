"""How people are shown a count, and a text that strangers wrote: a name or value of a database, a file, a service."""

import re

#: What steers a terminal or turns the direction of writing, but for tab and line feed: Unicode's categories Cc, Cs, Zl,
#: Zp, and the bidirectional formatting characters (UAX #9, 2.1 to 2.6, and "Trojan Source", CVE-2021-42574).
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

# they join emoji and letters of Persian and Hindi; Python counts them among the control characters
_JOINERS = str.maketrans("", "", "\u200c\u200d")


def is_printable(text: str) -> bool:
    """Tell whether a text can be shown on a terminal as it is: no control characters, no broken Unicode."""
    return text.translate(_JOINERS).isprintable()


def printable(text: str, *, one_line: bool = False) -> str:
    r"""Return a text with what would steer a terminal as Python writes it: `\x1b` for an escape.

    Args:
        text: a message, or a name or value of a database or file.
        one_line: a tab and the end of a line are written so, too: nothing then looks like another line.
    """
    if text.isascii() and text.isprintable():
        return text
    found = STEERING.sub(lambda each: ascii(each[0])[1:-1], text)
    return found.replace("\t", "\\t").replace("\n", "\\n") if one_line else found


def count(number: int, thing: str = "") -> str:
    """Return `1,234`, or `1 asset`, `1,234 assets`."""
    return f"{number:,}{f' {thing}' if thing else ''}{'s' if thing and number != 1 else ''}"
