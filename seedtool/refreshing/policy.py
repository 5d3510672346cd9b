"""The policy: what becomes of each column of production. It is read strictly: nothing unknown is ever passed over.

::

    faces = "placeholder"
    subset = "students WHERE grade_id = 'grade-4b'"
    after = "after.sql"
    empty = ["outbox"]

    [tables]
    audit_log = "no rows"

    [tables.students]
    id = "keep"
    first_name = "first_name"
    notes = { mask = "text", longest = 200 }
    house = { mask = "keep", reason = "names a house of the school, not a person" }

    [rows]
    attendance = "sample 1%"

    [[virtual_keys]]
    from = "comments (subject_id)"
    to = "students (id)"
    where = "subject_type = 'student'"
"""

import difflib
import hashlib
import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

import msgspec

from seedtool.errors import PolicyError
from seedtool.files import Malformed, toml_text
from seedtool.files.shown import shown_path

#: Not a mask: the column passes as it is.
KEEP = "keep"

Faces = Literal["placeholder", "reindex", "share"]
Rows = Literal["all", "none"] | Fraction


class TableName(NamedTuple):
    """A table's schema and name."""

    schema: str
    table: str

    def __str__(self) -> str:
        """The name as a policy writes it: a part with a dot or a quote stands in quotes."""
        parts = [self.table] if self.schema == "public" else [self.schema, self.table]
        return ".".join('"' + each.replace('"', '""') + '"' if re.search('[."]', each) else each for each in parts)


class ColumnLine(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a column.

    Args:
        mask: the mask's word, or `keep`.
        parameters: what else the line gives for the mask.
        reason: why an identifying column is kept; None where nothing was written.
        line: where the line stands in the policy, from 1.
        column: the character in that line, from 1.
    """

    mask: str
    parameters: dict[str, object] = {}
    reason: str | None = None
    line: int
    column: int

    @property
    def kept(self) -> bool:
        """The column passes as it is."""
        return self.mask == KEEP


class TablePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a table.

    Args:
        rows: `all`, `none`, or the share of them that is drawn; None where nothing is said: all,
            or those of the subset.
        columns: the line of each column, by its name. A table without rows may have none.
        line: where the table stands in the policy, from 1.
        column: the character in that line, from 1.
    """

    rows: Rows | None = None
    columns: dict[str, ColumnLine] = {}
    line: int
    column: int


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that a subset begins with: a table and a condition in SQL over its columns."""

    table: TableName
    where: str
    line: int
    column: int


class Subset(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are copied: the roots, all that they refer to, and of what refers to them as much as is asked.

    Args:
        roots: the rows that the subset begins with.
        children: the tables whose rows come along because they refer to a row of the subset; None for all tables.
    """

    roots: tuple[Root, ...]
    children: tuple[TableName, ...] | None = None


class VirtualKey(msgspec.Struct, frozen=True, kw_only=True):
    """A reference that no foreign key declares.

    Args:
        table: the table that refers.
        columns: its columns.
        references: the table that is meant.
        referenced_columns: its columns, in the order of `columns`.
        where: a condition in SQL over the columns of `table`: only these rows refer to it. None for all.
    """

    table: TableName
    columns: tuple[str, ...]
    references: TableName
    referenced_columns: tuple[str, ...]
    where: str | None
    line: int
    column: int


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of production.

    Args:
        file: the policy's path, as messages show it.
        hash: the SHA-256 of the file's bytes, as `sha256sum` prints it.
        tables: by schema and name.
        subset: which rows are copied; None for all.
        faces: what becomes of biometric references.
        reindex: under `faces = "reindex"`, the query that returns the external image ids of the photos to enroll.
        after: files of SQL that run after the load, in their order.
        empty: tables of which the copy holds no row when it is swapped in, whatever the copy or `after` put there.
        virtual_keys: references that no foreign key declares.
        large_objects: `refuse` a source that has some, `leave out`, or `copy` them.
        folder: the folder of the policy: the files that it names, such as pools, are found from there.
    """

    file: str
    hash: str
    tables: dict[TableName, TablePolicy]
    subset: Subset | None = None
    faces: Faces = "placeholder"
    reindex: str | None = None
    after: tuple[Path, ...] = ()
    empty: tuple[TableName, ...] = ()
    virtual_keys: tuple[VirtualKey, ...] = ()
    large_objects: Literal["refuse", "leave out", "copy"] = "refuse"
    folder: Path


_KEYS = ("faces", "reindex", "subset", "after", "empty", "large_objects", "rows", "tables", "virtual_keys")
_VIRTUAL = ("from", "to", "where")
_SUBSET = ("rows", "children")
_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[^\s".(),]+)'
_PART = r'(?:"(?:[^"]|"")+"|[^".]+)'
_NAME = re.compile(rf"({_PART})(?:\.({_PART}))?")
_ROOT = re.compile(rf"({_IDENTIFIER}(?:\.{_IDENTIFIER})?)\s+where\s+(.+)", re.IGNORECASE | re.DOTALL)
_KEY = re.compile(rf"({_IDENTIFIER}(?:\.{_IDENTIFIER})?)\s*\(\s*({_IDENTIFIER}(?:\s*,\s*{_IDENTIFIER})*)\s*\)")
_SAMPLE = re.compile(r"sample\s+(\d+(?:\.\d+)?)\s*%")


def read_policy(path: Path, root: Path | None = None) -> Policy:
    """Read a policy.

    Args:
        path: the file.
        root: the project's folder, from which messages show the path.

    Raises:
        PolicyError: the file cannot be read, is not TOML, or holds something that has no meaning here: an unknown key,
            a wrong nesting, a table that is named twice. The error names line and character.
    """
    shown = shown_path(path, root) if root is not None else str(path)
    try:
        content = path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise PolicyError(
            f"{shown} cannot be read: {error.strerror}", remedy="Give this user the right to read it.", file=shown
        ) from error
    if content is None:
        raise PolicyError(
            f"there is no policy {shown}", remedy=f"Draft one: seedtool refresh scan --from URL > {shown}.", file=shown
        )
    return parse_policy(content, shown, path.parent)


def parse_policy(content: bytes, shown: str, folder: Path) -> Policy:
    """Read a policy's text.

    Args:
        content: the file's bytes.
        shown: its path, as messages show it.
        folder: the folder from which the files that it names are found.

    Raises:
        PolicyError: as `read_policy`.
    """
    try:
        document = toml_text.read(content)
    except Malformed as fault:
        raise _error(shown, fault.fault, fault.remedy, fault.line or 1, getattr(fault, "character", None)) from fault
    return _Reader(document, shown, folder).policy(hashlib.sha256(content).hexdigest())


def _error(shown: str, fault: str, remedy: str, line: int, character: int | None, **place: str) -> PolicyError:
    where = f"{shown}:{line}" + (f":{character}" if character is not None else "")
    return PolicyError(
        f"{where}: {fault}",
        remedy=remedy,
        file=shown,
        line=line,
        character=character,
        table=place.get("table"),
        column=place.get("column"),
        key=place.get("key"),
    )


class _Reader:
    """Turns a document into a policy.

    Args:
        document: the document.
        shown: the file's path, as messages show it.
        folder: the folder from which the files that it names are found.
    """

    def __init__(self, document: toml_text.Document, shown: str, folder: Path) -> None:
        self._document = document
        self._shown = shown
        self._folder = folder

    def policy(self, digest: str) -> Policy:
        data = self._document.data
        self._known(data, _KEYS, ())
        faces = self._one_of(("faces",), ("placeholder", "reindex", "share"), "placeholder")
        reindex = self._text(("reindex",)) if "reindex" in data else None
        if (reindex is not None) != (faces == "reindex"):
            self._fail(
                ("reindex",) if reindex is not None else ("faces",),
                'faces = "reindex" and the key reindex belong together',
                'Write faces = "reindex" and reindex = "SELECT external_image_id FROM ... WHERE consent".',
            )
        return Policy(
            file=self._shown,
            hash=digest,
            tables=self._tables(),
            subset=self._subset() if "subset" in data else None,
            faces=faces,  # type: ignore[arg-type] # one of the three
            reindex=reindex,
            after=tuple(self._file(path, text) for path, text in self._texts(("after",))),
            empty=tuple(self._table_name(path, text) for path, text in self._texts(("empty",))),
            virtual_keys=tuple(self._virtual_keys()),
            large_objects=self._one_of(("large_objects",), ("refuse", "leave out", "copy"), "refuse"),  # type: ignore[arg-type]
            folder=self._folder,
        )

    def _fail(self, path: toml_text.Path, fault: str, remedy: str, **place: str) -> NoReturn:
        line, character = self._document.place(*path)
        raise _error(self._shown, fault, remedy, line, character, **place)

    def _at(self, path: toml_text.Path) -> object:
        value: object = self._document.data
        for step in path:
            value = value[step]  # type: ignore[index] # the path was found in the document
        return value

    def _known(self, table: Iterable[str], keys: tuple[str, ...], path: toml_text.Path) -> None:
        for key in table:
            if key not in keys:
                close = difflib.get_close_matches(key, keys, n=1)
                remedy = f"Did you mean {close[0]}?" if close else f"The keys are: {', '.join(keys)}."
                if not path and isinstance(self._document.data[key], dict):
                    remedy = f"A table's columns stand below [tables.{key}]." if not close else remedy
                self._fail((*path, key), f"unknown key {key}", remedy, key=key)

    def _text(self, path: toml_text.Path) -> str:
        value = self._at(path)
        if not isinstance(value, str) or not value.strip():
            self._fail(path, f"{path[-1]} is not a text", f'Write {path[-1]} = "...".', key=str(path[-1]))
        return value.strip()

    def _one_of(self, path: toml_text.Path, words: tuple[str, ...], default: str) -> str:
        if path[-1] not in self._document.data:
            return default
        value = self._at(path)
        if value not in words:
            named = ", ".join(f'"{word}"' for word in words)
            self._fail(path, f"{path[-1]} is {value!r}", f"Write one of {named}.", key=str(path[-1]))
        return str(value)

    def _texts(self, path: toml_text.Path) -> list[tuple[toml_text.Path, str]]:
        """Return a text, or the texts of a list, each with its path."""
        found: object = self._document.data
        for step in path:
            found = found.get(step, []) if isinstance(found, dict) else found
        if isinstance(found, list):
            return [((*path, number), self._text((*path, number))) for number in range(len(found))]
        return [(path, self._text(path))]

    def _file(self, path: toml_text.Path, text: str) -> Path:
        file = self._folder / text
        if not file.is_file():
            self._fail(path, f"there is no file {text}", "It is looked for beside the policy.", key=str(path[0]))
        return file

    def _table_name(self, path: toml_text.Path, text: str) -> TableName:
        found = _NAME.fullmatch(text)
        if found is None:
            self._fail(
                path,
                f"{text!r} does not name a table",
                "Write name or schema.name; a name with a dot or a blank in double quotes: '\"a.b\"'.",
                table=text,
            )
        first, second = (_unquoted(each) if each else None for each in found.groups())
        return TableName(first or "", second) if second is not None else TableName("public", first or "")

    def _tables(self) -> dict[TableName, TablePolicy]:
        tables = self._table(("tables",), "[tables.students]")
        rows = {
            self._table_name(("rows", name), name): (name, self._rows(("rows", name), self._at(("rows", name))))
            for name in self._table(("rows",), 'rows = { attendance = "sample 1%" }')
        }
        found: dict[TableName, TablePolicy] = {}
        for written, value in tables.items():
            path = ("tables", written)
            name = self._table_name(path, written)
            place = self._document.place(*path)
            if name in found:
                self._fail(
                    path,
                    f"the table {name} is named twice; the first time in line {found[name].line}",
                    "Keep one of the two.",
                    table=str(name),
                )
            drawn = rows.pop(name, None)
            if drawn is not None and not isinstance(value, dict):
                self._fail(
                    ("rows", drawn[0]),
                    f"the rows of {name} are given twice; the first time in line {place.line}",
                    "Keep one of the two.",
                    table=str(name),
                )
            if isinstance(value, dict):
                found[name] = TablePolicy(
                    rows=drawn[1] if drawn else None,
                    columns={column: self._column(name, (*path, column), column) for column in value},
                    line=place.line,
                    column=place.character,
                )
            else:
                found[name] = TablePolicy(rows=self._rows(path, value), line=place.line, column=place.character)
        for name, (written, _) in rows.items():
            self._fail(
                ("rows", written),
                f"rows names the table {name}, which [tables] does not have",
                f"Write [tables.{written}] with a line for each column.",
                table=str(name),
            )
        return found

    def _table(self, path: toml_text.Path, example: str) -> dict[str, object]:
        value = self._document.data.get(str(path[0]), {})
        if not isinstance(value, dict):
            self._fail(path, f"{path[0]} is not a table", f"Write {example}.", key=str(path[0]))
        return value

    def _rows(self, path: toml_text.Path, value: object) -> Rows:
        if value in {"all rows", "no rows"}:
            return "all" if value == "all rows" else "none"
        sample = _SAMPLE.fullmatch(value) if isinstance(value, str) else None
        share = Fraction(sample[1]) / 100 if sample else Fraction(0)
        if not 0 < share <= 1:
            self._fail(
                path,
                f"the rows of {path[-1]} are {value!r}",
                'Write "all rows", "no rows" or "sample 1%". What becomes of its columns stands below'
                f" [tables.{path[-1]}].",
                table=str(path[-1]),
            )
        return share

    def _column(self, table: TableName, path: toml_text.Path, name: str) -> ColumnLine:
        value = self._at(path)
        line, character = self._document.place(*path)
        place = {"table": str(table), "column": name}
        if isinstance(value, str) and value.strip():
            return ColumnLine(mask=value.strip(), line=line, column=character)
        example = f'Write {name} = "keep", or the word of a mask, or {name} = {{ mask = "text", longest = 80 }}.'
        if not isinstance(value, dict):
            self._fail(path, f"{table}.{name} has no mask", example, **place)
        parameters = dict(value)
        mask, reason = parameters.pop("mask", None), parameters.pop("reason", None)
        if not isinstance(mask, str) or not mask.strip():
            nested = [key for key, each in value.items() if isinstance(each, str | dict)]
            if "mask" not in value and nested:
                example += f' A table of another schema is written [tables."{table.table}.{name}"].'
            self._fail(path, f"{table}.{name} has no mask", example, **place)
        if reason is not None and (not isinstance(reason, str) or not reason.strip()):
            self._fail((*path, "reason"), "the reason is not a text", 'Write reason = "...".', **place)
        if mask.strip() == KEEP and parameters:
            key = next(iter(parameters))
            self._fail(
                (*path, key), f"keep takes no {key}", "Take it out; a reason is all that keep takes.", **place, key=key
            )
        return ColumnLine(
            mask=mask.strip(),
            parameters=parameters,
            reason=reason.strip() if reason else None,
            line=line,
            column=character,
        )

    def _subset(self) -> Subset:
        value = self._document.data["subset"]
        if not isinstance(value, dict):
            return Subset(roots=tuple(self._root(path, text) for path, text in self._texts(("subset",))))
        self._known(value, _SUBSET, ("subset",))
        if "rows" not in value:
            self._fail(("subset",), "subset has no rows", 'Write rows = "students WHERE ..." below it.', key="subset")
        roots = tuple(self._root(path, text) for path, text in self._texts(("subset", "rows")))
        children = value.get("children", "all")
        if children in ("all", "none"):
            return Subset(roots=roots, children=None if children == "all" else ())
        names = self._texts(("subset", "children"))
        return Subset(roots=roots, children=tuple(self._table_name(path, text) for path, text in names))

    def _root(self, path: toml_text.Path, text: str) -> Root:
        found = _ROOT.fullmatch(text)
        if found is None:
            self._fail(
                path,
                f"{text!r} does not say which rows",
                "Write a table and a condition: \"students WHERE grade_id = 'grade-4b'\".",
                key="subset",
            )
        line, character = self._document.place(*path)
        return Root(table=self._table_name(path, found[1]), where=found[2].strip(), line=line, column=character)

    def _virtual_keys(self) -> Iterable[VirtualKey]:
        keys = self._document.data.get("virtual_keys", [])
        if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
            self._fail(
                ("virtual_keys",), "virtual_keys is not a list of tables", "Write [[virtual_keys]].", key="virtual_keys"
            )
        for number, key in enumerate(keys):
            path: toml_text.Path = ("virtual_keys", number)
            self._known(key, _VIRTUAL, path)
            for end in ("from", "to"):
                if end not in key:
                    self._fail(path, f"the key has no {end}", f'Write {end} = "table (column)".', key=end)
            table, columns = self._end((*path, "from"))
            references, referenced = self._end((*path, "to"))
            if len(columns) != len(referenced):
                self._fail(path, "the two ends of the key have different numbers of columns", "Correct one of them.")
            line, character = self._document.place(*path)
            yield VirtualKey(
                table=table,
                columns=columns,
                references=references,
                referenced_columns=referenced,
                where=self._text((*path, "where")) if "where" in key else None,
                line=line,
                column=character,
            )

    def _end(self, path: toml_text.Path) -> tuple[TableName, tuple[str, ...]]:
        found = _KEY.fullmatch(self._text(path))
        if found is None:
            self._fail(
                path,
                f"{path[-1]} does not name a table and its columns",
                'Write "comments (subject_id)".',
                key=str(path[-1]),
            )
        columns = tuple(_unquoted(each) for each in re.findall(_IDENTIFIER, found[2]))
        return self._table_name(path, found[1]), columns


def _unquoted(name: str) -> str:
    """Return the name that PostgreSQL's quotes write; without them a name counts as it stands."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def script(file: Path) -> bytes:
    """Return the SQL of a file that `after` names, without a byte order mark, which the server does not know.

    Raises:
        PolicyError: it cannot be read, is not UTF-8, or holds a NUL, behind which the server would read nothing.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise PolicyError(f"{file.name} cannot be read as UTF-8", remedy="Save it as UTF-8.", file=file.name) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise PolicyError(
            f"{file.name}, line {line}: there is a NUL, and the server would read nothing behind it",
            remedy="Take it out. Is the file saved as UTF-8?",
            file=file.name,
            line=line,
        )
    return text.encode()
