"""Comma-separated text (RFC 4180) in which an empty cell is NULL and `""` is the empty text.

Python's csv module cannot tell the two apart before 3.12, and does not say on which line a record began.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

#: one cell and what ends it; a quoted cell may hold commas, line ends and doubled quotes
_CELL = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r\n|\n|\r|\Z)')
_NEEDS_QUOTES = re.compile(r'[",\r\n]|^\s|\s$|^$')


class Malformed(ValueError):
    """The text is not comma-separated values: which line, which cell of the record (from 0), what is wrong."""

    def __init__(self, line: int, cell: int, fault: str, remedy: str) -> None:
        super().__init__(fault)
        self.line = line
        self.cell = cell
        self.fault = fault
        self.remedy = remedy


def read(text: str) -> Iterator[tuple[int, list[str | None]]]:
    """Yield the records of a text, each with the line (from 1) on which it begins; blank lines are passed over.

    Raises:
        Malformed: a quote is not closed, or stands where none may.
    """
    position, line = 0, 1
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        plain = text[position:end].removesuffix("\r")
        if '"' not in plain and "\r" not in plain:
            # nearly every line is of this kind, and splitting is ten times as fast as matching
            if plain:
                yield line, [cell or None for cell in plain.split(",")]
            position, line = end + 1, line + 1
            continue
        start = line
        record, position, line = _read_record(text, position, line)
        if record != [None]:
            yield start, record


def _read_record(text: str, position: int, line: int) -> tuple[list[str | None], int, int]:
    """Read the record that begins at a position; return it with the position and the line after it."""
    record: list[str | None] = []
    while True:
        match = _CELL.match(text, position)
        if match is None:
            raise _fault(text, position, line, len(record))
        quoted, bare, end = match.groups()
        if quoted is None:
            record.append(bare or None)
        else:
            record.append(quoted.replace('""', '"') if '"' in quoted else quoted)
            line += len(re.findall(r"\r\n|\n|\r", quoted))
        position = match.end()
        if end != ",":
            return record, position, line + 1


def _fault(text: str, position: int, line: int, cell: int) -> Malformed:
    if text[position] != '"':
        return Malformed(line, cell, "a quote stands in a cell that does not begin with one", _QUOTING)
    closed = re.compile(r'"[^"]*(?:""[^"]*)*"').match(text, position)
    if closed is None:
        return Malformed(line, cell, "a quote is opened and never closed", _QUOTING)
    return Malformed(line, cell, "text follows the closing quote", _QUOTING)


_QUOTING = 'Write a cell that holds a quote as "say ""hello""": quotes around it, and each quote in it twice.'


def write(records: Iterable[Sequence[str | None]]) -> Iterator[str]:
    """Yield the line or lines of each record, so that `read` gives the same records back."""
    for record in records:
        yield ",".join(map(_cell, record)) + "\n"


def _cell(value: str | None) -> str:
    if value is None:
        return ""
    if _NEEDS_QUOTES.search(value):
        return '"' + value.replace('"', '""') + '"'
    return value
