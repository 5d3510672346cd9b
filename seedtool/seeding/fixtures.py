"""Fixtures: files of rows, one a table, in csv, yaml or Python. They are read here; the database judges the values."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from seedtool.errors import FixtureError, ProfileError
from seedtool.files import Malformed
from seedtool.files.shown import shown_path

SUFFIXES = (".csv", ".yaml", ".yml", ".py")

#: companions of fixtures that nobody takes for one
_PASSED_OVER = (".md", ".txt", ".rst")


class Batch(msgspec.Struct, frozen=True):
    """Rows of one fixture that name the same columns.

    Args:
        columns: the columns' names.
        lines: each row's line in the file (in a .py, the row's number), from 1.
        rows: each row's values, None for NULL. Texts are read by PostgreSQL as the column's type.
    """

    columns: tuple[str, ...]
    lines: list[int]
    rows: Sequence[Sequence[object]]


class Fixture(msgspec.Struct, frozen=True, kw_only=True):
    """One file of rows for one table.

    Args:
        seed_set: the set (folder) it belongs to.
        table: the file's stem: a table, optionally with its schema.
        file: its path as messages show it, relative to the project's root.
        header: the line that names the columns; None where every row names its own.
        numbered: rows have a number and no line of their own (a .py).
        cells: the lines of cells, by their row's line and their column, that stand below their row's line (a .yaml).
    """

    seed_set: str
    table: str
    file: str
    header: int | None = None
    numbered: bool = False
    cells: dict[tuple[int, str], int] = {}
    batches: tuple[Batch, ...] = ()

    def place(self, line: int) -> str:
        """Return where a row stands, as messages name it."""
        return f"{self.file}, row {line} of rows()" if self.numbered else f"{self.file}:{line}"

    def error(
        self, message: str, *, line: int | None = None, column: str | None = None, remedy: str = ""
    ) -> FixtureError:
        """Return the error that names this file and a row of it."""
        if self.numbered and line is not None:
            return FixtureError(f"row {line} of rows(): {message}", file=self.file, column=column, remedy=remedy)
        if line is not None and column is not None:
            line = self.cells.get((line, column), line)
        return FixtureError(message, file=self.file, line=line, column=column, remedy=remedy)


class Fixtures(msgspec.Struct, frozen=True):
    """All fixtures of the seed sets that are loaded together."""

    sets: tuple[str, ...]
    files: tuple[Fixture, ...]


def read_fixtures(seeds: Path, sets: Iterable[str], root: Path) -> Fixtures:
    """Read every fixture of the given sets; no database is needed.

    Args:
        seeds: the folder that holds the sets.
        sets: folders below it.
        root: the project's root: messages show paths relative to it, and a .py fixture may import from it.

    Raises:
        FixtureError: a file is empty, malformed or not text, or the code of a .py failed.
        ProfileError: a set's folder is missing or holds a file that is no fixture.
    """
    names = tuple(sets)
    files = [_read(path, name, root) for name in names for path in fixture_files(seeds / name)]
    return Fixtures(names, tuple(files))


def fixture_files(folder: Path) -> Iterator[Path]:
    """Yield the fixtures of a set by name; folders and hidden files are passed over.

    Raises:
        ProfileError: the folder is missing or holds a file that is no fixture.
    """
    if not folder.is_dir():
        raise ProfileError(
            f"the seed set {folder.name} has no folder {folder}", remedy="Make it, or mend profiles.toml."
        )
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.name.startswith((".", "_")) or path.suffix.lower() in _PASSED_OVER:
            continue
        if path.suffix.lower() not in SUFFIXES:
            raise ProfileError(
                f"{path} is not a fixture",
                remedy=f"Fixtures end in {', '.join(SUFFIXES)}; rename the file or move it into a folder of its own.",
            )
        yield path


def table_of(path: Path) -> str:
    """Return the table that a fixture's file name means."""
    return path.name.removesuffix(path.suffix)


def _read(path: Path, seed_set: str, root: Path) -> Fixture:
    suffix = path.suffix.lower()
    fixture = Fixture(
        seed_set=seed_set,
        table=table_of(path),
        file=shown_path(path, root),
        header=1 if suffix == ".csv" else None,
        numbered=suffix == ".py",
    )
    try:
        content = path.read_bytes()
        if not content.removeprefix(b"\xef\xbb\xbf").strip():
            raise fixture.error(
                "the file is empty",
                remedy="Write a header; a header alone means a table without rows. Or delete the file.",
            )
        batches, cells = _batches(path, suffix, content, root)
        return msgspec.structs.replace(fixture, batches=batches, cells=cells)
    except OSError as error:
        raise fixture.error(f"the file cannot be read: {error.strerror}", remedy="Mend its permissions.") from error
    except Malformed as fault:
        raise FixtureError(
            fault.fault, file=fixture.file, line=fault.line, column=fault.column, remedy=fault.remedy
        ) from fault


def _batches(
    path: Path, suffix: str, content: bytes, root: Path
) -> tuple[tuple[Batch, ...], dict[tuple[int, str], int]]:
    """Return the rows, and the lines of the cells that stand below their row's line."""
    if suffix == ".csv":
        from seedtool.files import csv_text

        return (Batch(*csv_text.read(content)),), {}
    if suffix == ".py":
        from seedtool.seeding import python_rows

        return _gathered(python_rows.read(path, content, root)), {}
    from seedtool.files import yaml_text as yaml_rows  # yaml takes its time to import

    rows = list(yaml_rows.read(content))
    cells = {(line, column): its_line for line, _, lines in rows for column, its_line in lines.items()}
    return _gathered((line, row) for line, row, _ in rows), cells


def _gathered(rows: Iterable[tuple[int, Mapping[str, object]]]) -> tuple[Batch, ...]:
    """Gather rows by the columns they name: what a row does not name is left to its default or as it is."""
    found: dict[frozenset[str], tuple[tuple[str, ...], list[int], list[list[object]]]] = {}
    for line, row in rows:
        columns, lines, values = found.setdefault(frozenset(row), (tuple(row), [], []))
        lines.append(line)
        values.append([row[name] for name in columns])
    return tuple(Batch(*each) for each in found.values())
