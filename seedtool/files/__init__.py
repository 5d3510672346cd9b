"""The forms in which rows are written in files, and the text in which PostgreSQL reads a value."""

import msgspec


class Malformed(ValueError):
    """A file is not what its suffix promises; the reader knows the place, its caller knows the file.

    Args:
        fault: what is wrong.
        remedy: what to do about it.
        line: line in the file, from 1; None when the whole file is meant.
        column: the column's name; None when the whole line is meant.
    """

    def __init__(self, fault: str, *, remedy: str, line: int | None = None, column: str | None = None) -> None:
        super().__init__(fault)
        self.fault = fault
        self.remedy = remedy
        self.line = line
        self.column = column


class Tree(msgspec.Struct, frozen=True):
    """A list or mapping: as data for a JSON column, and with every scalar as its text for an array column."""

    data: object
    texts: object
