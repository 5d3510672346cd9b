"""The forms in which files hold rows, and what is common to reading them."""

import msgspec

from seedtool.errors import FixtureError


class Malformed(ValueError):
    """A file is not what its suffix promises. The reader knows the place in the file; its caller knows the file.

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

    def of(self, file: str) -> FixtureError:
        """Return the error that users meet.

        Args:
            file: the file's path as messages show it.
        """
        return FixtureError(self.fault, file=file, line=self.line, column=self.column, remedy=self.remedy)


class Tree(msgspec.Struct, frozen=True):
    """A list or mapping of a file.

    Args:
        data: the whole as JSON has it.
        parts: the same with each scalar as its text, for a column whose type reads the parts one by one.
    """

    data: object
    parts: "list[Tree | str | None] | dict[str, Tree | str | None]"


def not_utf8(line: int, column: str | None = None) -> Malformed:
    """Return the error for bytes that are not UTF-8. Most such files come from Windows, in its code page 1252."""
    return Malformed(
        "the text is not UTF-8",
        remedy="Save the file as UTF-8: iconv -f cp1252 -t utf-8 OLD > NEW.",
        line=line,
        column=column,
    )


def utf16() -> Malformed:
    """Return the error for a file in the encoding that spreadsheets call Unicode text."""
    return Malformed(
        "the text is UTF-16, not UTF-8", remedy="Save the file as UTF-8: iconv -f utf-16 -t utf-8 OLD > NEW.", line=1
    )
