"""Rows in JSON: a list of objects. Numbers keep the digits that stand in the file: PostgreSQL reads them."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import NoReturn

import msgspec

from seedtool.files import Malformed, Tree, not_utf8, utf16

#: How deep lists and objects may lie in each other, as in YAML.
DEEPEST = 200
_BLANK = re.compile(r"[ \t\n\r]*")


class _Number(str):
    """A number, as it is written."""

    __slots__ = ()


def _no_constant(name: str) -> NoReturn:
    raise Malformed(f"{name} is not JSON", remedy="Write it as a text, in quotes.")


_DECODER = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_no_constant)


def read(content: bytes) -> Iterator[tuple[int, dict[str, object], dict[str, int]]]:
    """Yield the rows, each with its line, and the lines of those of its cells that stand further down.

    Raises:
        Malformed: the file is not a list of objects in JSON and UTF-8, a row names a column twice, or a value is nested
            too deeply.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise utf16()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(content.count(b"\n", 0, error.start) + 1) from error
    yield from _Reader(text).rows()


class _Reader:
    """Reads a list of objects from its begin to its end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line, self._counted = 1, 0
        self._skip()

    def rows(self) -> Iterator[tuple[int, dict[str, object], dict[str, int]]]:
        if self._text[self._at : self._at + 1] != "[":
            raise self._wrong("the file is not a list of rows", "Write [ before the first row and ] after the last.")
        for _ in self._items("[", "]"):
            line = self._line_here()
            if self._text[self._at : self._at + 1] != "{":
                raise self._wrong("the row is not an object", 'Write {"column": value}.')
            cells: dict[str, object] = {}
            lines: dict[str, int] = {}
            for _ in self._items("{", "}"):
                if self._text[self._at : self._at + 1] != '"':
                    raise self._wrong("this is not JSON: a column's name is missing", "Correct the line.")
                at = self._line_here()
                column = str(self._value(None))
                if column in cells:
                    raise self._wrong("the row names this column twice", "Remove one of the two.", column)
                self._take(":")
                cells[column] = self._cell(column)
                if at > line:
                    lines[column] = at
            yield line, cells, lines
        if self._at < len(self._text):
            raise self._wrong("something stands behind the list of rows", "Remove it.")

    def _items(self, begin: str, end: str) -> Iterator[None]:
        """Stop at each item of a list or an object, which whoever asks reads, up to and with the end."""
        self._take(begin)
        if self._text[self._at : self._at + 1] == end:
            return self._take(end)
        while True:
            yield
            if self._text[self._at : self._at + 1] == end:
                return self._take(end)
            self._take(",")

    def _cell(self, column: str) -> object:
        line = self._line_here()
        value = self._value(column)
        try:
            return _tree(value, 1) if isinstance(value, (list, dict)) else _text(value)
        except RecursionError as error:
            raise Malformed(
                f"lists and objects are nested more than {DEEPEST} levels deep",
                remedy="Is a bracket missing?",
                line=line,
                column=column,
            ) from error

    def _value(self, column: str | None) -> object:
        try:
            value, self._at = _DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            fault = f"this is not JSON: {error.msg[0].lower()}{error.msg[1:]}"
            raise Malformed(fault, remedy="Correct the line.", line=error.lineno, column=column) from error
        except Malformed as fault:
            raise self._wrong(fault.fault, fault.remedy, column) from fault
        except RecursionError as error:
            raise self._wrong(
                f"lists and objects are nested more than {DEEPEST} levels deep", "Is a bracket missing?", column
            ) from error
        self._skip()
        return value

    def _take(self, sign: str) -> None:
        if self._text[self._at : self._at + 1] != sign:
            raise self._wrong(f"this is not JSON: {sign} is missing", "Correct the line.")
        self._at += 1
        self._skip()

    def _skip(self) -> None:
        found = _BLANK.match(self._text, self._at)
        assert found is not None  # noqa: S101 - nothing matches, too
        self._at = found.end()

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _wrong(self, fault: str, remedy: str, column: str | None = None) -> Malformed:
        return Malformed(fault, remedy=remedy, line=self._line_here(), column=column)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    return "true" if value else "false"


def _tree(value: object, depth: int) -> Tree | str | None:
    """Return a list or object with all that is in it; of a scalar its text."""
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(value, list):
        items = [_tree(each, depth + 1) for each in value]
        return Tree([_data(*pair) for pair in zip(value, items, strict=True)], items)
    if isinstance(value, dict):
        parts = {key: _tree(each, depth + 1) for key, each in value.items()}
        return Tree({key: _data(value[key], part) for key, part in parts.items()}, parts)
    return _text(value)


def _data(value: object, part: Tree | str | None) -> object:
    if isinstance(part, Tree):
        return part.data
    return msgspec.Raw(value.encode()) if isinstance(value, _Number) else value
