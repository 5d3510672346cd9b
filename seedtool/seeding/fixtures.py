"""Fixtures: files of rows, one a table, in csv, yaml or Python. They are read here; the database judges the values."""

import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from seedtool.errors import FixtureError, ProfileError
from seedtool.seeding import csv_text

SUFFIXES = (".csv", ".yaml", ".yml", ".py")

#: companions of fixtures that nobody takes for one
_PASSED_OVER = (".md", ".txt", ".rst")


class Tree(msgspec.Struct, frozen=True):
    """A yaml list or mapping: as data for a JSON column, and with every scalar as its text for an array column."""

    data: object
    texts: object


class Batch(msgspec.Struct, frozen=True):
    """Rows of one fixture that name the same columns.

    Args:
        columns: the columns' names.
        lines: each row's line in the file (in a .py, the row's number), from 1.
        rows: each row's values, None for NULL. Texts are read by PostgreSQL as the column's type.
    """

    columns: tuple[str, ...]
    lines: list[int]
    rows: list[Sequence[object]]


class Fixture(msgspec.Struct, frozen=True, kw_only=True):
    """One file of rows for one table.

    Args:
        seed_set: the set (folder) it belongs to.
        table: the file's stem: a table, optionally with its schema.
        file: its path as messages show it, relative to the project's root.
        numbered: rows have a number and no line of their own (a .py).
    """

    seed_set: str
    table: str
    file: str
    numbered: bool = False
    batches: tuple[Batch, ...]

    def place(self, line: int) -> str:
        """Return where a row stands, as messages name it."""
        return f"{self.file}, row {line} of rows()" if self.numbered else f"{self.file}:{line}"

    def error(
        self, message: str, *, line: int | None = None, column: str | None = None, remedy: str = ""
    ) -> FixtureError:
        """Return the error that names this file and a place in it."""
        if self.numbered and line is not None:
            return FixtureError(f"row {line} of rows(): {message}", file=self.file, column=column, remedy=remedy)
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
    sets = tuple(sets)
    files = [_read(path, seed_set, root) for seed_set in sets for path in _files(seeds / seed_set)]
    return Fixtures(sets, tuple(files))


def table_of(path: Path) -> str:
    """Return the table that a fixture's file name means."""
    return path.name[: -len(path.suffix)]


def _files(folder: Path) -> Iterator[Path]:
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
                remedy=f"Fixtures end in {', '.join(SUFFIXES)}; move the file into a folder of its own or rename it.",
            )
        yield path


def _read(path: Path, seed_set: str, root: Path) -> Fixture:
    name = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    fixture = Fixture(seed_set=seed_set, table=table_of(path), file=name, numbered=path.suffix == ".py", batches=())
    try:
        content = path.read_bytes()
    except OSError as error:
        raise fixture.error(f"cannot be read: {error.strerror}", remedy="Check the file's permissions.") from error
    if not content.strip():
        raise fixture.error(
            "the file is empty", remedy="Write a header line; a header alone means a table without rows. Or delete it."
        )
    if fixture.numbered:
        batches = _read_python(fixture, path, content, root)
    elif path.suffix.lower() == ".csv":
        batches = _read_csv(fixture, content)
    else:
        batches = _read_yaml(fixture, content)
    return msgspec.structs.replace(fixture, batches=batches)


# csv ------------------------------------------------------------------------------------------------------------------


def _read_csv(fixture: Fixture, content: bytes) -> tuple[Batch, ...]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _undecodable_cell(fixture, content, error) from error
    records = csv_text.read(text)
    header: list[str | None] = []
    lines: list[int] = []
    rows: list[Sequence[object]] = []
    try:
        head, header = next(records, (1, []))
        columns = _columns(fixture, head, header)
        for line, record in records:
            if len(record) != len(columns):
                fault = f"{len(record)} cells where the header has {len(columns)}"
                column = columns[len(record)] if len(record) < len(columns) else None
                raise fixture.error(
                    fault,
                    line=line,
                    column=column,
                    remedy="Give every column a cell, empty for NULL; a cell that holds a comma needs quotes.",
                )
            lines.append(line)
            rows.append(record)
    except csv_text.Malformed as fault_found:
        column = header[fault_found.cell] if fault_found.cell < len(header) else None
        raise fixture.error(
            fault_found.fault, line=fault_found.line, column=column, remedy=fault_found.remedy
        ) from fault_found
    return (Batch(columns, lines, rows),)


def _columns(fixture: Fixture, line: int, header: list[str | None]) -> tuple[str, ...]:
    columns: list[str] = []
    for place, name in enumerate(header, 1):
        if not name or not name.strip():
            raise fixture.error(
                f"the header's cell {place} is empty",
                line=line,
                remedy="Name the column, or remove it from every line.",
            )
        if name in columns:
            raise fixture.error(
                "the header names this column twice", line=line, column=name, remedy="Remove one of the two."
            )
        columns.append(name)
    return tuple(columns)


def _undecodable_cell(fixture: Fixture, content: bytes, error: UnicodeDecodeError) -> FixtureError:
    """Name the cell that holds the first byte that is not UTF-8."""
    header: list[str | None] | None = None
    try:
        for line, record in csv_text.read(content.decode("utf-8-sig", errors="surrogateescape")):
            header = header or record
            for place, cell in enumerate(record):
                if cell is not None and any("\udc80" <= character <= "\udcff" for character in cell):
                    column = header[place] if record is not header and place < len(header) else None
                    return _not_utf8(fixture, line, column)
    except csv_text.Malformed:
        pass  # two faults; the undecodable byte is the one we were asked for
    return _not_utf8(fixture, content.count(b"\n", 0, error.start) + 1, None)


def _not_utf8(fixture: Fixture, line: int, column: str | None) -> FixtureError:
    return fixture.error(
        "the text is not UTF-8", line=line, column=column, remedy="Save the file as UTF-8 (iconv -f latin1 -t utf-8)."
    )


# yaml -----------------------------------------------------------------------------------------------------------------


def _read_yaml(fixture: Fixture, content: bytes) -> tuple[Batch, ...]:
    import yaml

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(fixture, content.count(b"\n", 0, error.start) + 1, None) from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(text, loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise fixture.error(
            f"this is not YAML: {error.problem}", line=mark.line + 1 if mark else None, remedy="Mend the line."
        ) from error
    except yaml.YAMLError as error:
        raise fixture.error("this is not YAML text", remedy="Remove control characters from the file.") from error
    if root is None:
        raise fixture.error("the file holds no rows", remedy="Write [] for a table without rows, or delete the file.")
    if not isinstance(root, yaml.SequenceNode):
        raise fixture.error(
            "the file is not a list of rows", line=root.start_mark.line + 1, remedy="Begin every row with `- `."
        )
    constructor = yaml.constructor.SafeConstructor()
    return _batches((node.start_mark.line + 1, _yaml_row(fixture, node, constructor)) for node in root.value)


def _yaml_row(fixture: Fixture, node: Any, constructor: Any) -> dict[str, object]:
    """Return one row, every scalar as the text that stands in the file, so that `no` stays `no`."""
    import yaml

    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise fixture.error("the row is not a mapping", line=line, remedy="Write `- column: value`.")
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise fixture.error("a column's name is not a text", line=key.start_mark.line + 1, remedy="Write a name.")
        if key.value in seen:
            raise fixture.error(
                "the row names this column twice",
                line=key.start_mark.line + 1,
                column=key.value,
                remedy="Remove one of the two.",
            )
        seen.add(key.value)
    try:
        constructor.flatten_mapping(node)  # `<<: *defaults`
        return {key.value: _yaml_value(value, constructor) for key, value in node.value}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise fixture.error(
            "the row holds something that is not plain YAML", line=line, remedy="Use texts, lists and mappings only."
        ) from error


def _yaml_value(node: Any, constructor: Any) -> object:
    import yaml

    if isinstance(node, yaml.ScalarNode):
        if node.tag == "tag:yaml.org,2002:null":
            return None
        if node.tag == "tag:yaml.org,2002:binary":
            return constructor.construct_object(node, deep=True)
        return node.value
    return Tree(constructor.construct_object(node, deep=True), _yaml_texts(node))


def _yaml_texts(node: Any) -> object:
    import yaml

    if isinstance(node, yaml.SequenceNode):
        return [_yaml_texts(each) for each in node.value]
    if isinstance(node, yaml.MappingNode):
        return {_yaml_texts(key): _yaml_texts(value) for key, value in node.value}
    return None if node.tag == "tag:yaml.org,2002:null" else node.value


# Python ---------------------------------------------------------------------------------------------------------------


def _read_python(fixture: Fixture, path: Path, content: bytes, root: Path) -> tuple[Batch, ...]:
    """Run the module and gather what its `rows()` yields; nothing is written beside it, no bytecode either."""
    module = types.ModuleType(f"seedtool_fixture_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickle look a class's module up
    sys.path.insert(0, str(root))
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)  # noqa: S102 - a fixture is the project's own code
        rows = getattr(module, "rows", None)
        if not callable(rows):
            raise fixture.error("the module has no function rows()", remedy="Write def rows(): yield {...}")
        return _batches(enumerate((_python_row(fixture, number, row) for number, row in enumerate(rows(), 1)), 1))
    except FixtureError:
        raise
    except SyntaxError as error:
        raise fixture.error(f"this is not Python: {error.msg}", line=error.lineno, remedy="Mend the line.") from error
    except (Exception, SystemExit) as error:
        raise FixtureError(
            f"the code failed with {type(error).__name__}",
            file=fixture.file,
            line=_failing_line(error, path),
            remedy="Mend the code; --debug shows the whole traceback.",
        ) from error
    finally:
        sys.path.remove(str(root))
        del sys.modules[module.__name__]


def _python_row(fixture: Fixture, number: int, row: object) -> dict[str, object]:
    if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
        raise fixture.error(
            f"yields a {type(row).__name__}, not a row", line=number, remedy="Yield a dict of column names and values."
        )
    return dict(row)


def _failing_line(error: BaseException, path: Path) -> int | None:
    """Return the line of the fixture that raised, or that called what raised."""
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == str(path):
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


def _batches(rows: Iterable[tuple[int, Mapping[str, object]]]) -> tuple[Batch, ...]:
    """Gather rows by the columns they name: what a row does not name is left to its default or as it is."""
    found: dict[frozenset[str], Batch] = {}
    for line, row in rows:
        names = frozenset(row)
        batch = found.get(names)
        if batch is None:
            batch = found[names] = Batch(tuple(row), [], [])
        batch.lines.append(line)
        batch.rows.append([row[name] for name in batch.columns])
    return tuple(found.values())
