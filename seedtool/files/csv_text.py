"""Comma-separated text (RFC 4180) in which an empty cell is NULL and `""` is the empty text.

Python's csv module cannot tell the two apart before 3.12, and does not say on which line a record began.
"""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence

from seedtool.files import Malformed

Record = list[str | None]

#: one cell and what ends it; a quoted cell may hold commas, line ends and doubled quotes
_CELL = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r\n|\n|\r|\Z)')
_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*"')
_LINE_END = re.compile(r"\r\n|\n|\r")
_NEEDS_QUOTES = re.compile(r'[",\r\n]|^\s|\s$|^$')
_QUOTING = 'Write a cell that holds a quote as "say ""hello""": quotes around it, and each quote in it twice.'


def read(content: bytes) -> tuple[tuple[str, ...], list[int], list[Record]]:
    """Return the columns of a table, and its rows with the line on which each begins.

    Args:
        content: UTF-8, with or without a byte order mark; the first line names the columns.

    Raises:
        Malformed: the bytes are not UTF-8, the header or a quote is wrong, or a row has too many cells or too few.
    """
    text = _text(content)
    columns: tuple[str, ...] = ()
    lines: list[int] = []
    rows: list[Record] = []
    for line, record in _records(text):
        if not columns:
            columns = _header(line, record)
        elif len(record) == len(columns):
            lines.append(line)
            rows.append(record)
        else:
            raise Malformed(
                f"the row has {len(record)} cells and the header {len(columns)}",
                remedy="Give every column a cell, empty for NULL; a cell that holds a comma needs quotes around it.",
                line=line,
                column=columns[len(record)] if len(record) < len(columns) else columns[-1],
            )
    return columns, lines, rows


def read_header(content: bytes) -> tuple[str, ...]:
    """Return the columns of a table; empty when there is no header.

    Raises:
        Malformed: as `read` does, of the header alone.
    """
    text = _text(content)
    line, record = next(_records(text), (1, []))
    return _header(line, record)


def write(records: Iterable[Sequence[str | None]]) -> Iterator[str]:
    """Yield the line or lines of each record, so that `read` gives the same records back."""
    for record in records:
        yield ",".join(map(_cell, record)) + "\n"


def _text(content: bytes) -> str:
    refuse_utf16(content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _undecodable(content, error) from error
    header = _LINE_END.split(text.lstrip("\r\n"), maxsplit=1)[0]
    if ";" in header and "," not in header:
        line = len(_LINE_END.findall(text[: text.index(header)])) + 1
        raise Malformed("the cells are separated by semicolons", remedy="Save the file with commas.", line=line)
    return text


def _cell(value: str | None) -> str:
    if value is None:
        return ""
    if _NEEDS_QUOTES.search(value):
        return '"' + value.replace('"', '""') + '"'
    return value


def _header(line: int, record: Record) -> tuple[str, ...]:
    columns: list[str] = []
    for place, name in enumerate(record, 1):
        if not name or not name.strip():
            raise Malformed(
                f"the header's cell {place} is empty",
                remedy="Name the column, or remove its cell from every line.",
                line=line,
            )
        if name in columns:
            raise Malformed(
                "the header names this column twice", remedy="Remove one of the two.", line=line, column=name
            )
        columns.append(name)
    return tuple(columns)


def _records(text: str) -> Iterator[tuple[int, Record]]:
    """Yield the records, each with the line (from 1) on which it begins; blank lines are passed over."""
    header: Record = []
    position, line = 0, 1
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        plain = text[position:end].removesuffix("\r")
        if '"' not in plain and "\r" not in plain:
            # nearly every line is of this kind, and splitting is ten times as fast as matching
            record: Record = [cell or None for cell in plain.split(",")]
            start, position, line = line, end + 1, line + 1
        else:
            start = line
            record, position, line = _record(text, position, line, header)
        if record != [None]:
            header = header or record
            yield start, record


def _record(text: str, position: int, line: int, header: Record) -> tuple[Record, int, int]:
    """Read the record that begins at a position; return it with the position and the line after it."""
    record: Record = []
    while True:
        match = _CELL.match(text, position)
        if match is None:
            column = header[len(record)] if len(record) < len(header) else None
            raise Malformed(_fault(text, position), remedy=_QUOTING, line=line, column=column)
        quoted, bare, end = match.groups()
        if quoted is None:
            record.append(bare or None)
        else:
            record.append(quoted.replace('""', '"') if '"' in quoted else quoted)
            line += len(_LINE_END.findall(quoted))
        position = match.end()
        if end != ",":
            return record, position, line + 1


def _fault(text: str, position: int) -> str:
    if text[position] != '"':
        return "a quote stands in a cell that does not begin with one"
    if _QUOTED.match(text, position) is None:
        return "a quote is opened and never closed"
    return "text follows the closing quote of a cell"


def _undecodable(content: bytes, error: UnicodeDecodeError) -> Malformed:
    """Name the cell that holds the first byte that is not UTF-8."""
    line, column = content.count(b"\n", 0, error.start) + 1, None
    header: Record = []
    try:
        for start, record in _records(content.decode("utf-8-sig", errors="surrogateescape")):
            header = header or record
            bad = [place for place, cell in enumerate(record) if cell and not cell.isascii() and _has_raw_byte(cell)]
            if bad:
                line = start
                column = header[bad[0]] if record is not header and bad[0] < len(header) else None
                break
    except Malformed:
        pass  # a second fault; the first one is told
    return not_utf8(line, column)


def _has_raw_byte(cell: str) -> bool:
    """Tell whether a byte was carried through decoding as a lone surrogate (PEP 383)."""
    return any("\udc80" <= character <= "\udcff" for character in cell)


def refuse_utf16(content: bytes) -> None:
    """Name the encoding that spreadsheets call Unicode text, by its byte order mark.

    Raises:
        Malformed: the file is UTF-16.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Malformed(
            "the text is UTF-16, not UTF-8", remedy="Save the file as UTF-8 (iconv -f utf-16 -t utf-8).", line=1
        )


def not_utf8(line: int, column: str | None = None) -> Malformed:
    """Return the error for bytes that are not UTF-8."""
    return Malformed(
        "the text is not UTF-8",
        remedy="Save the file as UTF-8 (iconv -f latin1 -t utf-8).",
        line=line,
        column=column,
    )
