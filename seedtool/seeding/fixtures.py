"""Fixtures: files of rows, one a table, in csv, yaml, JSON or Python.

They are read here; the database judges the values.
"""

import contextlib
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from seedtool.errors import FixtureError, ProfileError
from seedtool.files import Malformed, not_utf8
from seedtool.files.code import run_from_text
from seedtool.files.shown import shown_path
from seedtool.seeding.profiles import Profile

if TYPE_CHECKING:
    from seedtool.files import csv_text

SUFFIXES = (".csv", ".yaml", ".yml", ".json", ".py")

#: a script of a set: it runs after the rows are written
_SCRIPT = ".sql"

#: files that may lie beside fixtures and are not read
_IGNORED = (".md", ".txt", ".rst")

_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")


class Batch(msgspec.Struct, frozen=True):
    """Rows of one fixture that name the same columns.

    Args:
        columns: the columns' names.
        lines: each row's line in the file (in a .py, the row's number), from 1.
        rows: each row's values, None for NULL. PostgreSQL reads a text as the column's type.
        form: how the file is written whose rows these are. They are then read when they are copied, and not held, so
            `lines` and `rows` are empty; None where they are held.
    """

    columns: tuple[str, ...]
    lines: Sequence[int] = ()
    rows: Sequence[Sequence[object]] = ()
    form: "csv_text.Form | None" = None


class Fixture(msgspec.Struct, frozen=True, kw_only=True):
    """One file of rows for one table.

    Args:
        seed_set: the set (folder) it belongs to.
        table: the file's name without its suffix: a table, optionally with its schema.
        file: its path as messages show it, relative to the project's root.
        path: where it is.
        stamp: what `read_stamp` returned before it was read.
        header: the line that names the columns; None where every row names its own.
        numbered: rows have a number and no line of their own (a .py).
        cells: the lines of cells that stand below their row's line (in a .yaml), by the row's line and the column.
        batches: the rows.
    """

    seed_set: str
    table: str
    file: str
    path: Path
    stamp: tuple[int, int] = (0, 0)
    header: int | None = None
    numbered: bool = False
    cells: dict[tuple[int, str], int] = {}
    batches: tuple[Batch, ...] = ()

    def records(self, batch: Batch) -> Iterator[tuple[int, Sequence[object]]]:
        """Yield each row of a batch with its line.

        Raises:
            FixtureError: the file cannot be read, or a row of it is malformed.
        """
        if batch.form is None:
            yield from zip(batch.lines, batch.rows, strict=True)
            return
        with self._opened() as reader:
            yield from reader

    def copyable(self) -> Iterator[tuple[int, str]]:
        """Yield each row of a csv as COPY reads it, with its line.

        Raises:
            FixtureError: the file cannot be read, or a row of it is malformed.
        """
        from seedtool.files import csv_text

        with self._opened() as reader:
            for line, row in reader.whole_lines():
                yield line, row if isinstance(row, str) else csv_text.quoted_row(row, reader.form.delimiter)

    @contextlib.contextmanager
    def _opened(self) -> "Iterator[csv_text.Reader]":
        from seedtool.files import csv_text

        try:
            with self.path.open("rb") as file:
                reader = csv_text.Reader(file)
                batch = self.batches[0]
                if (reader.columns, reader.form.delimiter) != (batch.columns, batch.form and batch.form.delimiter):
                    raise self.error("the file was given another header while it was read", remedy="Seed again.")
                yield reader
        except OSError as error:
            raise self.unreadable(error) from error
        except Malformed as fault:
            raise fault.of(self.file) from fault

    def read_stamp(self) -> tuple[int, int]:
        """Return when the file was written last (nanoseconds), and how large it is now (bytes).

        Raises:
            FixtureError: the file cannot be read.
        """
        try:
            found = self.path.stat()
        except OSError as error:
            raise self.unreadable(error) from error
        return found.st_mtime_ns, found.st_size

    def unreadable(self, error: OSError) -> FixtureError:
        """Return the error for a file that cannot be read."""
        return self.error(f"the file cannot be read: {error.strerror}", remedy="Give this user the right to read it.")

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


class Script(msgspec.Struct, frozen=True):
    """A script of SQL that runs after the rows are written.

    Args:
        file: its path as messages show it.
        text: its statements.
    """

    file: str
    text: str


class Fixtures(msgspec.Struct, frozen=True):
    """All fixtures of the seed sets that are loaded together, and what follows them.

    Args:
        sets: the sets.
        files: their fixtures.
        scripts: what runs after the rows are written, in this order.
        refresh_views: materialized views are refreshed then.
    """

    sets: tuple[str, ...]
    files: tuple[Fixture, ...]
    scripts: tuple[Script, ...] = ()
    refresh_views: bool = True


def read_profile(seeds: Path, profile: Profile, root: Path) -> Fixtures:
    """Read what a profile loads. This needs no database.

    Args:
        seeds: the folder that holds the sets.
        profile: the profile.
        root: as `read_fixtures` takes it.

    Raises:
        FixtureError, ProfileError: as `read_fixtures`; or a script cannot be read.
    """
    fixtures = read_fixtures(seeds, profile.sets, root)
    return msgspec.structs.replace(
        fixtures,
        scripts=(*fixtures.scripts, *(_read_script(seeds / name, root) for name in profile.after)),
        refresh_views=profile.refresh_materialized_views,
    )


def read_fixtures(seeds: Path, sets: Iterable[str], root: Path) -> Fixtures:
    """Read every fixture of the given sets; of a csv its header only, since its rows are read when they are copied.

    This needs no database.

    Args:
        seeds: the folder that holds the sets.
        sets: folders below it.
        root: the project's root: messages show paths relative to it, and a .py fixture may import from it.

    Raises:
        FixtureError: a file is empty, malformed or not text, or the code of a .py failed. `Fixture.records` tells so
            of a csv's rows.
        ProfileError: a set's folder is missing or holds a file that is no fixture.
    """
    names = tuple(sets)
    files = [_read(path, name, root) for name in names for path in fixture_files(seeds / name)]
    scripts = [_read_script(path, root) for name in names for path in script_files(seeds / name)]
    return Fixtures(names, tuple(files), tuple(scripts))


def fixture_files(folder: Path) -> Iterator[Path]:
    """Yield the fixtures of a set by name, without folders, hidden files and scripts.

    Raises:
        ProfileError: the folder is missing or holds a file that is no fixture.
    """
    if not folder.is_dir():
        raise ProfileError(
            f"the seed set {folder.name} has no folder {folder}",
            remedy="Make the folder, or correct profiles.toml.",
            file=str(folder),
        )
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.name.startswith((".", "_")) or path.suffix.lower() in _IGNORED:
            continue
        if path.exists() and not path.is_file():  # a pipe: its reader would wait
            raise ProfileError(f"{path} is not a file", remedy="Take it out of the seed set.")
        if path.suffix.lower() in _SPREADSHEETS:
            raise ProfileError(
                f"{path} is a spreadsheet, which seedtool does not read",
                remedy="Save each sheet as CSV UTF-8, under its table's name, and move the spreadsheet elsewhere.",
                file=str(path),
            )
        if path.suffix.lower() == _SCRIPT:
            continue
        if path.suffix.lower() not in SUFFIXES:
            raise ProfileError(
                f"{path} is not a fixture",
                remedy=f"Fixtures end in {', '.join(SUFFIXES)}, and scripts in {_SCRIPT}."
                " Rename the file, or move it into a folder of its own.",
                file=str(path),
            )
        yield path


def script_files(folder: Path) -> list[Path]:
    """Return the scripts of SQL in a set's folder by name, without hidden ones."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() == _SCRIPT and path.is_file() and not path.name.startswith((".", "_"))
    )


def table_of(path: Path) -> str:
    """Return the table that a fixture's file name means."""
    return path.name.removesuffix(path.suffix)


def _read_script(path: Path, root: Path) -> Script:
    file = shown_path(path, root)
    try:
        return Script(file, path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise FixtureError(
            f"the file cannot be read: {error.strerror}",
            file=file,
            remedy="Give this user the right to read it, or correct `after` in profiles.toml.",
        ) from error
    except UnicodeDecodeError as error:
        line = path.read_bytes().count(b"\n", 0, error.start) + 1
        raise not_utf8(line).of(file) from error


def _read(path: Path, seed_set: str, root: Path) -> Fixture:
    fixture = Fixture(seed_set=seed_set, table=table_of(path), file=shown_path(path, root), path=path)
    read = {".csv": _read_csv, ".py": _read_python, ".json": _read_json}.get(path.suffix.lower(), _read_yaml)
    fixture = msgspec.structs.replace(fixture, stamp=fixture.read_stamp())
    try:
        return read(fixture, path, root)
    except OSError as error:
        raise fixture.unreadable(error) from error
    except Malformed as fault:
        raise fault.of(fixture.file) from fault


def _read_csv(fixture: Fixture, path: Path, _: Path) -> Fixture:
    from seedtool.files import csv_text

    with path.open("rb") as file:
        reader = csv_text.Reader(file)
        if not reader.columns:
            raise _empty(fixture)
        batch = Batch(reader.columns, form=reader.form)
    return msgspec.structs.replace(fixture, header=reader.line, batches=(batch,))


def _read_yaml(fixture: Fixture, path: Path, _: Path) -> Fixture:
    from seedtool.files import yaml_text  # yaml takes its time to import

    return _with_lines(fixture, yaml_text.read(_content(fixture, path)))


def _read_json(fixture: Fixture, path: Path, _: Path) -> Fixture:
    from seedtool.files import json_text

    return _with_lines(fixture, json_text.read(_content(fixture, path)))


def _with_lines(fixture: Fixture, found: Iterable[tuple[int, dict[str, object], dict[str, int]]]) -> Fixture:
    rows = list(found)
    cells = {(line, column): its_line for line, _, lines in rows for column, its_line in lines.items()}
    return msgspec.structs.replace(fixture, cells=cells, batches=_by_columns((line, row) for line, row, _ in rows))


def _read_python(fixture: Fixture, path: Path, root: Path) -> Fixture:
    rows = _run(path, _content(fixture, path), root)
    return msgspec.structs.replace(fixture, numbered=True, batches=_by_columns(rows))


def _content(fixture: Fixture, path: Path) -> bytes:
    content = path.read_bytes()
    if not content.removeprefix(b"\xef\xbb\xbf").strip():
        raise _empty(fixture)
    return content


def _empty(fixture: Fixture) -> FixtureError:
    return fixture.error(
        "the file is empty",
        remedy="Write a header; a header alone means a table without rows. Or delete the file.",
    )


def _by_columns(rows: Iterable[tuple[int, Mapping[str, object]]]) -> tuple[Batch, ...]:
    """Gather rows by the columns they name. A column that a row does not name keeps its value, or gets its default."""
    found: dict[frozenset[str], tuple[tuple[str, ...], list[int], list[list[object]]]] = {}
    for line, row in rows:
        columns, lines, values = found.setdefault(frozenset(row), (tuple(row), [], []))
        lines.append(line)
        values.append([row[name] for name in columns])
    return tuple(Batch(*each) for each in found.values())


def _run(path: Path, content: bytes, root: Path) -> list[tuple[int, dict[str, object]]]:
    """Run a module and return what its `rows()` yields, each row with its number.

    Nothing is written beside the module, no bytecode either.

    Raises:
        Malformed: the module fails, has no `rows()`, or yields something else. The line is the one that failed.
    """
    module = types.ModuleType(f"seedtool_fixture_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # a dataclass looks its module up
    sys.path.insert(0, str(root))
    try:
        with run_from_text(root):
            exec(compile(content, str(path), "exec"), module.__dict__)  # noqa: S102 - a fixture is the project's own code
            return [(number, _row(number, row)) for number, row in enumerate(_rows(module), 1)]
    except Malformed as error:
        error.line = error.line or _failing_line(error, path)
        raise
    except SyntaxError as error:
        line = error.lineno if error.filename == str(path) else _failing_line(error, path)
        raise Malformed(f"this is not Python: {error.msg}", remedy="Correct the line.", line=line) from error
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        raise Malformed(
            f"there is no module {error.name} for the Python that runs seedtool, {sys.executable}",
            remedy="Install it there, or install seedtool into the project's own environment.",
            line=_failing_line(error, path),
        ) from error
    except BaseException as error:  # whatever a project's code may raise; its text may hold names of people
        raise Malformed(
            f"the code failed with {type(error).__name__}",
            remedy="Correct the code; --debug shows the whole traceback.",
            line=_failing_line(error, path),
        ) from error
    finally:
        with contextlib.suppress(ValueError):  # the module may have taken either away itself
            sys.path.remove(str(root))
        sys.modules.pop(module.__name__, None)


def _rows(module: types.ModuleType) -> Iterable[object]:
    rows = getattr(module, "rows", None)
    if not callable(rows):
        raise Malformed("the module has no function rows()", remedy="Write def rows(): and yield a dict for each row.")
    found = rows()
    if not isinstance(found, Iterable):
        raise Malformed(
            f"rows() returned {type(found).__name__}, not rows",
            remedy="Yield a dict for each row, or return a list.",
        )
    return found


def _row(number: int, row: object) -> dict[str, object]:
    if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
        raise Malformed(
            f"row {number} of rows() is a {type(row).__name__} and not a dict of columns",
            remedy="Yield a dict with the columns' names.",
        )
    return dict(row)


def _failing_line(error: BaseException, path: Path) -> int | None:
    """Return the line of the module that raised, or that called what raised."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
