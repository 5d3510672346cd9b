"""A manifest: a csv that says which photo is whose. All of it is checked before anything is sent."""

import csv
import difflib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import FixtureError, PhotoError
from seedtool.faces import bindings, external_id
from seedtool.faces.bindings import Bound
from seedtool.faces.photos.addresses import is_address

#: The columns a manifest has; further ones are for people and are not read.
COLUMNS = ("student_id", "photo")

# How many lines a message names at most.
_LINES = 10


class Line(msgspec.Struct, frozen=True):
    """A line of a manifest.

    Args:
        number: counted from 1, the header's.
        student_id: whose photo it is.
        photo: a file, or a web or s3 address.
    """

    number: int
    student_id: str
    photo: Path | str


class _Fault(msgspec.Struct, frozen=True):
    """What is wrong with a line."""

    line: int
    column: str | None
    message: str
    remedy: str


def read(path: Path, root: Path) -> list[Line]:
    """Return a manifest's lines, each checked by itself and against the others.

    Args:
        path: a csv in UTF-8 with the header `student_id,photo` (or with semicolons, as Excel writes it where the comma
            is the decimal sign). Photos are files, relative to the manifest's folder, or `https://` or `s3://`
            addresses.
        root: the project's folder, for messages.

    Raises:
        FixtureError: with file, line and column of the first fault, and the lines of the others.
        PhotoError: the manifest cannot be read.
    """
    name = _name(path, root)
    faults: list[_Fault] = []
    lines = list(_lines(path, name, faults))
    owners: dict[Path | str, Line] = {}
    for line in lines:
        first = owners.setdefault(line.photo, line)
        if first.student_id != line.student_id:
            faults.append(
                _Fault(
                    line.number,
                    "photo",
                    f"the same photo as on line {first.number}, for another student",
                    "Whose is it? Leave one of the lines out.",
                )
            )
    _raise(faults, name)
    return lines


def check_students(connection: psycopg.Connection, bound: Bound, lines: list[Line], path: Path, root: Path) -> None:
    """Check that the students of a manifest exist.

    Raises:
        FixtureError: one does not, with its line and the closest one that does.
    """
    if bound.owner is None:
        return
    table, key = bound.owner
    wanted = list(dict.fromkeys(line.student_id for line in lines))
    with bindings.database_errors(bound.binding.table), connection.transaction():
        column = sql.Identifier(key)
        query = sql.SQL("SELECT {0}::text FROM {1} WHERE {0}::text = ANY (%s)").format(column, table)
        there = {student for (student,) in connection.execute(query, [wanted])}
        faults = [line for line in lines if line.student_id not in there]
        if not faults:
            return
        query = sql.SQL("SELECT {0}::text FROM {1} ORDER BY left({0}::text, 3) <> left(%s, 3) LIMIT 5000").format(
            column, table
        )
        known = [each for (each,) in connection.execute(query, [faults[0].student_id])]
    close = difflib.get_close_matches(faults[0].student_id, known, n=1)
    cure = f"Did you mean {close[0]}?" if close else "Seed the students first: seedtool seed local."
    _raise(
        [_Fault(line.number, "student_id", f"there is no student {line.student_id}", cure) for line in faults],
        _name(path, root),
    )


def _lines(path: Path, name: str, faults: list[_Fault]) -> Iterator[Line]:
    """Yield the lines that can be read, and note what is wrong with the others."""
    text = _text(path, name)
    header_line = text.split("\n", maxsplit=1)[0]
    delimiter = ";" if ";" in header_line and "," not in header_line else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        for column in COLUMNS:
            if header.count(column) != 1:
                raise FixtureError(
                    f"{'no' if column not in header else 'more than one'} column {column}",
                    file=name,
                    line=1,
                    remedy=f"Begin the file with the line {','.join(COLUMNS)}.",
                )
        for cells in reader:
            if any(cell.strip() for cell in cells):
                line = _line(reader.line_num, [cell.strip() for cell in cells], header, path.parent, faults)
                if line is not None:
                    yield line
    except csv.Error as error:
        raise FixtureError(
            str(error), file=name, line=reader.line_num, remedy="Mend the quotes of this line."
        ) from error


def _line(number: int, cells: list[str], header: list[str], folder: Path, faults: list[_Fault]) -> Line | None:
    """Return a line, or note its fault."""
    if len(cells) != len(header):
        cure = "Put cells that hold a separator into double quotes."
        faults.append(_Fault(number, None, f"{len(cells)} cells under a header of {len(header)}", cure))
        return None
    values = dict(zip(header, cells, strict=True))
    student_id, named = values["student_id"], values["photo"]
    before = len(faults)
    try:
        external_id.for_photo(student_id, 1)
    except ValueError:
        cure = "An id has letters, digits and _.-: and no others, at most 240."
        faults.append(_Fault(number, "student_id", "this cannot be a student's id for Rekognition", cure))
    if not student_id:
        faults.append(_Fault(number, "student_id", "the cell is empty", "Whose photo is it?"))
    photo: Path | str = named if is_address(named) else folder / named
    fault = _fault_of(photo, named)
    if fault:
        faults.append(_Fault(number, "photo", *fault))
    return None if len(faults) > before else Line(number, student_id, photo)


def _fault_of(photo: Path | str, named: str) -> tuple[str, str] | None:
    """Return what is wrong with a photo, and the cure."""
    if not named:
        return "the cell is empty", "Name the photo's file."
    if isinstance(photo, str):
        known = photo.startswith(("https://", "http://", "s3://"))
        return None if known else ("this kind of address is not read", "Name a file, https:// or s3://bucket/key.")
    try:
        if not photo.exists():
            return "there is no such file", "Paths are relative to the manifest's own folder."
        if not photo.is_file():
            return "this is not a file", "Name each photo on a line of its own."
    except (OSError, ValueError):
        return "this cannot be a path", "Name the photo's file."
    return None if os.access(photo, os.R_OK) else ("the file cannot be read", "Give this user the right to read it.")


def _text(path: Path, name: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PhotoError(f"{name}: {error.strerror}", remedy="Name a csv with the header student_id,photo.") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FixtureError(
            "the text is not UTF-8", file=name, line=line, remedy="Save it as UTF-8 (Excel: CSV UTF-8)."
        ) from error


def _name(path: Path, root: Path) -> str:
    whole = path.resolve()
    return str(whole.relative_to(root.resolve())) if whole.is_relative_to(root.resolve()) else path.name


def _raise(faults: list[_Fault], name: str) -> None:
    """Raise the first fault of a manifest, if there is one; the others are told by their lines."""
    if not faults:
        return
    first, *others = sorted(faults, key=lambda fault: fault.line)
    lines = list(dict.fromkeys(fault.line for fault in others if fault.line != first.line))
    more = f" (also wrong: line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:_LINES]))}" if lines else ""
    more += f" and {len(lines) - _LINES} more)" if len(lines) > _LINES else ")" if lines else ""
    cure = f"{first.remedy} Nothing was sent."
    raise FixtureError(first.message + more, file=name, line=first.line, column=first.column, remedy=cure)
