"""Tables in text (RFC 4180) in which an empty cell is NULL and `""` is the empty text.

Cells are separated by commas, or by the semicolons or tabs that the header shows: spreadsheets write semicolons where
the comma is the decimal sign. Python's csv module cannot tell NULL from the empty text before 3.12, and does not say on
which line a record began.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple, cast

from seedtool.files import Malformed, not_utf8, utf16

Record = list[str | None]

#: What may separate cells. The first of these that stands in the header, outside of quotes, does.
_DELIMITERS = ",;\t"
_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*"')
_LINE_END = re.compile(r"\r\n|\n|\r")
#: A byte that is not UTF-8, carried through decoding as a lone surrogate (PEP 383).
_RAW_BYTE = re.compile("[\udc80-\udcff]")
_UTF16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")


class Form(NamedTuple):
    """How a file is written, apart from what is in it.

    Args:
        delimiter: what separates cells.
        line_end: what ends the header.
        mark: a byte order mark begins the file, by which spreadsheets know UTF-8.
    """

    delimiter: str = ","
    line_end: str = "\n"
    mark: bool = False


class Reader:
    """Reads a table row by row. Iterating yields each row with the line on which it begins, from 1.

    Blank lines are passed over. A file of any size is read with little memory, except that records between carriage
    returns alone, and a cell of many lines, are held whole.

    Args:
        file: the bytes, in UTF-8 with or without a byte order mark. The first line that is not blank names the columns.

    Attributes:
        columns: the columns' names; empty when the file is.
        line: the header's line.
        form: how the file is written.

    Raises:
        Malformed: at once when the header is wrong. While iterating, when the bytes are not UTF-8, a quote is wrong, or
            a row has too many cells or too few.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._next_line = 1
        self._header: Record = []
        self._width = 0
        self.form = Form()
        self._cell = _cell_pattern(",")
        self._whole_lines = False
        self._records = self._read()
        self.line, header = next(self._records, (1, []))
        self._header = list(header)
        self.columns = _header(self.line, self._header)
        self._width = len(self.columns)

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        return cast("Iterator[tuple[int, Record]]", self._records)

    def whole_lines(self) -> Iterator[tuple[int, Record | str]]:
        """Yield each row as iterating does, but a row that stands on one line as its text, without the line's end.

        PostgreSQL's COPY reads such a text as the same cells. To split it here takes ten times as long.
        """
        self._whole_lines = True
        return self._records

    def _read(self) -> Iterator[tuple[int, Record | str]]:
        """Yield the records, the header's first, each with the line on which it begins."""
        row = None
        for line_of_bytes in self._file:
            try:
                text = line_of_bytes.decode()
                plain = text.rstrip("\r\n")
                is_plain = '"' not in plain and "\r" not in plain
            except UnicodeDecodeError:
                text, plain, is_plain = _decoded(line_of_bytes), "", False
            if not self._header:
                yield from self._read_first(text)
                continue
            if self._whole_lines and plain:
                row = row or _row_pattern(self.form.delimiter, self._width)
                fits = plain.count(self.form.delimiter) == self._width - 1 if is_plain else row.fullmatch(plain)
                if fits:
                    self._next_line += 1
                    yield self._next_line - 1, plain
                    continue
            if not is_plain:
                yield from self._read_slowly(self._whole(text))
                continue
            # nearly every line is of this kind, and splitting is ten times as fast as matching
            line = self._next_line
            self._next_line = line + 1
            if plain:
                record: Record = [cell or None for cell in plain.split(self.form.delimiter)]
                if len(record) != self._width:
                    raise self._uneven(line, record)
                yield line, record

    def _read_first(self, text: str) -> Iterator[tuple[int, Record]]:
        """Yield the header, and what else is in its text; nothing of a blank line before it."""
        if self._next_line == 1:
            text = self._without_mark(text)
        text = self._whole(text)
        if text.strip():
            self._note_form(text)
            yield from self._read_slowly(text)
        else:
            self._next_line += len(_LINE_END.findall(text))

    def _read_slowly(self, text: str) -> Iterator[tuple[int, Record]]:
        """Yield the records of a text that holds only whole ones."""
        position, first_line = 0, self._next_line
        while position < len(text):
            line = self._next_line
            try:
                record, position = self._record(text, position)
            except Malformed:
                raw = _RAW_BYTE.search(text)
                if raw is None:
                    raise
                raise not_utf8(first_line + len(_LINE_END.findall(text[: raw.start()]))) from None
            for place, cell in enumerate(record):
                if cell and not cell.isascii() and _RAW_BYTE.search(cell):
                    raise not_utf8(line, self._column(place))
            if record == [None]:
                continue
            if self._width and len(record) != self._width:
                raise self._uneven(line, record)
            yield line, record

    def _without_mark(self, line: str) -> str:
        # in UTF-16 without a mark, one of the first two bytes is a zero where the first character is ASCII
        if line.startswith(_UTF16_MARKS) or "\0" in line[:2]:
            raise utf16()
        self.form = self.form._replace(mark=line.startswith("\ufeff"))
        return line.removeprefix("\ufeff")

    def _note_form(self, text: str) -> None:
        """Take the delimiter and the line end from the text that begins with the header."""
        unquoted = _QUOTED.sub("", text.lstrip())
        line_end = _LINE_END.search(unquoted)
        header = unquoted[: line_end.start()] if line_end else unquoted
        delimiter = next((each for each in _DELIMITERS if each in header), ",")
        self.form = self.form._replace(delimiter=delimiter, line_end=line_end[0] if line_end else "\n")
        self._cell = _cell_pattern(delimiter)

    def _whole(self, line: str) -> str:
        """Return a line together with those that its last cell goes on in: quotes come in pairs."""
        if line.count('"') % 2 == 0:
            return line
        lines = [line]
        for line_of_bytes in self._file:
            lines.append(_decoded(line_of_bytes))
            if lines[-1].count('"') % 2:
                break
        return "".join(lines)

    def _record(self, text: str, position: int) -> tuple[Record, int]:
        """Read the record that begins at a position; return it with the position after it."""
        record: Record = []
        while True:
            match = self._cell.match(text, position)
            if match is None:
                raise Malformed(
                    _fault(text, position),
                    remedy='Write a cell that holds a quote as "say ""hello""": quotes around it,'
                    " and each quote in it twice.",
                    line=self._next_line,
                    column=self._column(len(record)),
                )
            quoted, bare, end = match.groups()
            if quoted is None:
                record.append(bare or None)
            else:
                record.append(quoted.replace('""', '"') if '"' in quoted else quoted)
                self._next_line += len(_LINE_END.findall(quoted))
            position = match.end()
            if end != self.form.delimiter:
                self._next_line += 1
                return record, position

    def _column(self, place: int) -> str | None:
        """Return the name of a column; None in the header itself, and beyond its end."""
        return self._header[place] if place < len(self._header) else None

    def _uneven(self, line: int, record: Record) -> Malformed:
        given, wanted = len(record), len(self.columns)
        return Malformed(
            f"the row has {given} cell{'s' if given != 1 else ''} and the header {wanted}",
            remedy="Give every column a cell, empty for NULL; a cell that holds"
            f" {_NAMES[self.form.delimiter]} needs quotes around it.",
            line=line,
            column=self.columns[given] if given < wanted else self.columns[-1],
        )


def write(columns: Sequence[str], records: Iterable[Sequence[str | None]], form: Form | None = None) -> Iterator[str]:
    """Yield the text of a table piece by piece, so that `Reader` gives the same records back.

    Args:
        columns: the columns' names.
        records: the rows.
        form: how the file is to be written; commas and line feeds without one.
    """
    form = form or Form()
    # a name that holds any delimiter is quoted, as the header tells which one is meant
    names = _quoting(_DELIMITERS)
    yield "\ufeff" * form.mark + form.delimiter.join(_cell(name, names) for name in columns) + form.line_end
    needs_quotes = _quoting(form.delimiter)
    for record in records:
        yield form.delimiter.join(_cell(value, needs_quotes) for value in record) + form.line_end


def quoted_row(record: Record, delimiter: str) -> str:
    """Return a row as a text without a line's end, every cell in quotes but those that are NULL."""
    return delimiter.join("" if cell is None else f'"{cell.replace(chr(34), 2 * chr(34))}"' for cell in record)


def _decoded(line: bytes) -> str:
    """Decode a line, and let bytes that are not UTF-8 through, so that their cell can be named."""
    return line.decode("utf-8", "surrogateescape")


def _cell_pattern(delimiter: str) -> re.Pattern[str]:
    """Match one cell and what ends it; a quoted cell may hold delimiters, line ends and doubled quotes."""
    return re.compile(rf'(?:"([^"]*(?:""[^"]*)*)"|([^"{delimiter}\r\n]*))({delimiter}|\r\n|\n|\r|\Z)')


def _row_pattern(delimiter: str, width: int) -> re.Pattern[str]:
    """Match a row of so many cells that stands on one line."""
    cell = rf'(?:"[^"\r\n]*(?:""[^"\r\n]*)*"|[^"{delimiter}\r\n]*)'
    return re.compile(rf"{cell}(?:{delimiter}{cell}){{{width - 1}}}")


def _quoting(delimiters: str) -> re.Pattern[str]:
    """Match a cell that needs quotes."""
    return re.compile(rf'["{delimiters}\r\n]|^\s|\s$|^$')


def _cell(value: str | None, needs_quotes: re.Pattern[str]) -> str:
    if value is None:
        return ""
    if needs_quotes.search(value):
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


def _fault(text: str, position: int) -> str:
    if text[position] != '"':
        return "a quote stands in a cell that does not begin with one"
    if _QUOTED.match(text, position) is None:
        return "a quote is opened and never closed"
    return "text follows the closing quote of a cell"
