"""Values of the files as the text that PostgreSQL reads, and what to say when it cannot read one."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import psycopg
from psycopg.adapt import PyFormat, Transformer

from seedtool.files import Tree
from seedtool.postgres.catalog import Column, ValueType


class NoText(ValueError):
    """A Python value has no text that a column could read.

    Args:
        fault: why not.
        remedy: what to do, where the column's type does not tell it.
    """

    def __init__(self, fault: str, remedy: str = "") -> None:
        super().__init__(fault)
        self.remedy = remedy


class Texts:
    """Turns values that are not text yet into the text of a column's type.

    Args:
        connection: whose adapters are used, so that a project's own types work too.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._transformer = Transformer(connection)

    def of(self, value: object, column: Column) -> str | None:
        """Return a value's text.

        Raises:
            NoText: it has none.
        """
        try:
            text = self._text(value, column.value)
            if text is not None:
                text.encode()
        except UnicodeEncodeError as error:
            raise NoText("the value holds half of a character (a lone surrogate)", "Remove it.") from error
        except RecursionError as error:
            raise NoText("the value is nested too deeply, or holds itself") from error
        return text

    def _text(self, value: object, of: ValueType) -> str | None:
        whole, parts = (value.data, value.parts) if isinstance(value, Tree) else (value, value)
        if isinstance(parts, Mapping):
            return self._record(parts, of) if of.kind == "composite" else _json(whole)
        if isinstance(parts, _LISTS):
            return self._array(parts, of) if of.kind == "array" else _json(whole)
        return self._scalar(value)

    def _scalar(self, value: object) -> str | None:
        if value is None or isinstance(value, str):
            return value
        try:
            text = self._transformer.get_dumper(value, PyFormat.TEXT).dump(value)
        except Exception as error:  # a project's own type and its adapter may raise anything
            if isinstance(value, int):  # Python's own limit (sys.set_int_max_str_digits)
                raise NoText("Python does not write a number of so many digits", "Yield it as a text.") from error
            raise NoText(f"a Python {type(value).__name__} cannot be stored") from error
        return None if text is None else bytes(text).decode()

    def _array(self, items: Iterable[object], of: ValueType) -> str:
        """Return a list as PostgreSQL writes an array. Every element is quoted, so that the text NULL stays a text."""
        element = of.part or of
        texts = []
        for item in items:
            parts = item.parts if isinstance(item, Tree) else item
            if isinstance(parts, _LISTS) and element.kind != "array":  # a further dimension
                texts.append(self._array(parts, of))
            else:
                text = self._text(item, element)
                texts.append("NULL" if text is None else _quoted(text))
        return "{" + ",".join(texts) + "}"

    def _record(self, values: Mapping[str, object], of: ValueType) -> str:
        """Return a mapping as PostgreSQL writes a composite value; an attribute that is left out is NULL."""
        for name in values:
            if name not in of.attributes:
                raise NoText(f"the type {of.name} has no attribute {name}")
        texts = (self._text(values.get(name), each) for name, each in of.attributes.items())
        return "(" + ",".join("" if text is None else _quoted(text) for text in texts) + ")"


_LISTS = (list, tuple, set, frozenset)


def _quoted(text: str) -> str:
    """Return a text as an element of an array or a record."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _json(value: object) -> str:
    try:
        text = msgspec.json.encode(value).decode()
        nan = "null" in text and _holds_nan(value)
    except Exception as error:  # a project's own types may raise anything
        raise NoText("the value holds something that JSON cannot") from error
    if nan:
        raise NoText("the value holds NaN or an infinity, which JSON cannot", "Use None, or a text.")
    return text


def _holds_nan(value: object) -> bool:
    """Tell whether a number in a tree is none that JSON has; msgspec writes null for it."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(_holds_nan, value.values()))
    return isinstance(value, _LISTS) and any(map(_holds_nan, value))


def closest(name: str, known: Iterable[str]) -> str:
    """Return the hint for a name that does not exist."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"The columns are: {', '.join(known)}."


_TOO_LONG = "22001"
_ENCODING = {"22021", "22P05"}
_NO_DAY = "22008"
_OUT_OF_RANGE = {"22003", "22008"}


def fault(error: psycopg.Error, column: Column) -> str:
    """Say what is wrong with a value, without the value."""
    if error.sqlstate == _TOO_LONG:
        return f"the value is too long for {column.type}"
    if _is_unstorable(error):
        return "the value holds a character that the database cannot store"
    if error.sqlstate == _NO_DAY and error.diag.message_hint:  # PostgreSQL hints at DateStyle where a field is wrong
        return f"the value is no {column.type} in the order year, month, day"
    if error.sqlstate in _OUT_OF_RANGE:
        return f"the value is out of the range of {column.type}"
    if isinstance(error, psycopg.IntegrityError):
        return f"the value is not allowed by the type {column.type}"
    return f"the value is not of the type {column.type}"


def _is_unstorable(error: psycopg.Error | None) -> bool:
    """Tell whether a character was refused; psycopg itself refuses a zero byte, without an SQLSTATE."""
    return error is not None and (error.sqlstate is None or error.sqlstate in _ENCODING)


_EXAMPLES = {
    "integer": "Write a whole number, such as 42.",
    "bigint": "Write a whole number, such as 42.",
    "smallint": "Write a whole number, such as 42.",
    "numeric": "Write a number, such as 12.5.",
    "double precision": "Write a number, such as 12.5.",
    "real": "Write a number, such as 12.5.",
    "boolean": "Write true or false.",
    "date": "Write a date as 2026-03-31.",
    "timestamp with time zone": "Write a time as 2026-03-31T08:00:00-03:00; without an offset it is UTC.",
    "timestamp without time zone": "Write a time as 2026-03-31T08:00:00.",
    "time without time zone": "Write a time as 08:00.",
    "interval": "Write an interval as 1 day 02:00:00.",
    "uuid": "Write a UUID, such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8.",
    "json": 'Write JSON, such as {"key": "value"}.',
    "jsonb": 'Write JSON, such as {"key": "value"}.',
    "bytea": "Write bytes as \\xDEADBEEF.",
}


def remedy(column: Column, error: psycopg.Error | None = None) -> str:
    """Say what a value of the column looks like."""
    if _is_unstorable(error):
        return "Remove the character."
    if column.value.kind == "array":
        return 'Write an array as {first,"the second one"}.'
    if column.labels:
        return f"Write one of: {', '.join(column.labels)}."
    if column.type.startswith(("character", "bpchar")):
        return "Shorten the value, or widen the column in a migration."
    bare = re.sub(r"\(.*?\)", "", column.type)  # `time(3) without time zone` has its precision in the middle
    return _EXAMPLES.get(column.type) or _EXAMPLES.get(bare) or f"Write it as PostgreSQL reads the type {column.type}."
