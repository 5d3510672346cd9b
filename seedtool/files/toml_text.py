"""TOML with the place of each key, so that an error can name line and character.

tomllib reads the document and says what is wrong with it. It gives no places, so a second pass finds the keys of a
document that tomllib has accepted: it only has to step over values, never to judge them.
"""

import re
import tomllib
from typing import Any, NamedTuple

import msgspec

from seedtool.files import Malformed, not_utf8

#: A key's path: texts, and the number of a table or value in its list.
Path = tuple[str | int, ...]


class Place(NamedTuple):
    """Where a key stands: line and character in it, both from 1."""

    line: int
    character: int


class Document(msgspec.Struct, frozen=True):
    """What a file holds.

    Args:
        data: as tomllib returns it.
        places: where each key stands, by its path. A table that several headers add to has the place of the first.
    """

    data: dict[str, Any]
    places: dict[Path, Place]

    def place(self, *path: str | int) -> Place:
        """Return where a key stands; of one that has no place of its own, where the nearest one above it stands."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))


class Misplaced(Malformed):
    """The text is not TOML; `character` is where in the line, from 1."""

    def __init__(self, fault: str, *, remedy: str, line: int | None, character: int | None) -> None:
        super().__init__(fault, remedy=remedy, line=line)
        self.character = character


def read(content: bytes) -> Document:
    """Read a document.

    Raises:
        Malformed: it is not UTF-8, or not TOML; then with `line`, and of a `Misplaced` with `character`.
    """
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise not_utf8(content.count(b"\n", 0, error.start) + 1) from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _misplaced(str(error), text) from error
    except RecursionError as error:
        raise Misplaced(
            "lists and tables are nested too deeply", remedy="Is a bracket missing?", line=None, character=None
        ) from error
    return Document(data, _Places(text).found)


def _misplaced(message: str, text: str) -> Misplaced:
    found = re.fullmatch(r"(.*?) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL)
    if found is None:
        return Misplaced(message, remedy="Correct the file; it is TOML.", line=None, character=None)
    line = int(found[2] or text.count("\n") + 1)
    twice = re.search("overwrite|twice|already", found[1])
    return Misplaced(
        f"this is not TOML: {found[1]}",
        remedy="Is a key or a table written twice? Keep one of them." if twice else "Correct the line.",
        line=line,
        character=int(found[3]) if found[3] else None,
    )


_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
#: A text of TOML: three quotes may be followed by up to two more that belong to the text.
_TEXTS = (r'"""(?:\\.|[^\\])*?"""(?:"{0,2})', r"'''.*?'''(?:'{0,2})", r'"(?:\\.|[^"\\\n])*"', r"'[^'\n]*'")
_TEXT = re.compile("|".join(_TEXTS), re.DOTALL)
_PLAIN = re.compile(r"[^,\]}#\n]+")  # a number, a date, true or false; a date may hold a blank


class _Places:
    """Walks through a document that tomllib has accepted."""

    def __init__(self, text: str) -> None:
        self.found: dict[Path, Place] = {}
        self._text = text
        self._at = 0
        self._line, self._start = 1, 0  # of the last place that was asked for
        self._lists: dict[Path, int] = {}  # how many tables each list of tables ([[...]]) has so far
        table: Path = ()
        while self._skip(_GAP) < len(text):
            table = self._header() if text[self._at] == "[" else self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def _note(self, path: Path, at: int) -> None:
        newlines = self._text.count("\n", self._start, at)
        if newlines:
            self._line += newlines
            self._start = self._text.rindex("\n", self._start, at) + 1
        self.found.setdefault(path, Place(self._line, at - self._start + 1))

    def _header(self) -> Path:
        several = self._text.startswith("[[", self._at)
        self._at += 2 if several else 1
        table = self._key(())
        if several:
            number = self._lists.get(table, 0)
            self._lists[table] = number + 1
            self.found[(*table, number)] = self.found[table] if number == 0 else self._last
            table = (*table, number)
        self._at += 2 if several else 1
        return table

    def _pair(self, table: Path) -> Path:
        path = self._key(table)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)
        return table

    def _key(self, table: Path) -> Path:
        """Step over a key; returns its path. Within a list of tables a key means its last table."""
        path = table
        while True:
            self._skip(_SPACE)
            at = self._at
            if self._text[at] in "\"'":
                self._skip(_TEXT)
                name = tomllib.loads(f"key = {self._text[at : self._at]}")["key"]
            else:
                self._skip(_BARE)
                name = self._text[at : self._at]
            path = (*path, name)
            self._note(path, at)
            self._last = Place(self._line, at - self._start + 1)
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return path
            if path in self._lists:
                path = (*path, self._lists[path] - 1)
            self._at += 1

    def _value(self, path: Path) -> None:
        opening = self._text[self._at]
        if opening == "{":
            self._at += 1
            while self._text[self._skip(_GAP)] != "}":
                self._pair(path)
                self._comma()
            self._at += 1
        elif opening == "[":
            self._at += 1
            number = 0
            while self._text[self._skip(_GAP)] != "]":
                self._note((*path, number), self._at)
                self._value((*path, number))
                number += 1
                self._comma()
            self._at += 1
        else:
            self._skip(_TEXT if opening in "\"'" else _PLAIN)

    def _comma(self) -> None:
        if self._text[self._skip(_GAP)] == ",":
            self._at += 1
