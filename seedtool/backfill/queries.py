"""The SQL statements of the backfill, by name. They stand in `queries.sql`, and are made for a library's shape."""

import functools
import re
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.abc import Params

from seedtool.backfill.shape import Shape, look_up
from seedtool.errors import SchemaError
from seedtool.postgres import server
from seedtool.postgres.server import Target
from seedtool.settings import Backfill

_NAME = re.compile(r"^-- (\w+) --\n", flags=re.MULTILINE)
_COMMENT = re.compile(r"^-- .*\n?", flags=re.MULTILINE)
_FIRST_COMMA = re.compile(r"(\bSET|\bSELECT|\bORDER BY|\()(\s*),")

_RELATIONS = ("users", "assets", "collections", "persons", "faces", "links")


class LibraryConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection to the database of a photo library, whose shape it looks up when a statement needs it.

    Attributes:
        rules: the settings that name the library's tables.
    """

    rules: Backfill
    _shape: Shape | None = None
    _keeps_shape = False

    @property
    def shape(self) -> Shape:
        """The tables and columns that the library has; raises as `look_up` does."""
        if self._shape is None:
            self._shape = look_up(self, self.rules)
        return self._shape

    def run(
        self, name: str, parameters: Params | None = None, *, has_journal: bool = True
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        """Execute a statement; the arguments are those of `query`, and the statement's parameters."""
        # with parameters in any case: in a statement that has them a percent sign is written twice
        return self.execute(query(self, name, has_journal=has_journal), () if parameters is None else parameters)

    def forget_shape(self) -> None:
        """Look the shape up again when it is needed next."""
        self._shape = None
        self._keeps_shape = False

    def check(self) -> None:
        """Look the shape up, unless whoever connected has done so; raises as `look_up` does."""
        if not self._keeps_shape:
            self._shape = None
        _ = self.shape


def connect(
    rules: Backfill,
    target: Target,
    *,
    autocommit: bool = False,
    application: str = "seedtool",
    patience: float = server.PATIENCE,
    shape: Shape | None = None,
) -> LibraryConnection:
    """Connect to a photo library.

    Args:
        rules: the settings that name its tables.
        target: its database.
        autocommit: psycopg's meaning.
        application: what `pg_stat_activity` shows.
        patience: as `server.connect` takes it.
        shape: the library's, if it was looked up a moment ago.

    Raises:
        DatabaseError: as `server.connect`.
    """
    connection = server.connect(
        target, autocommit=autocommit, application=application, patience=patience, kind=LibraryConnection
    )
    connection.rules = rules
    connection._shape, connection._keeps_shape = shape, shape is not None  # noqa: SLF001 - our own class
    return connection


def query(connection: LibraryConnection, name: str, *, has_journal: bool = True, heads: bool = False) -> sql.Composed:
    """Return a statement.

    Args:
        connection: to the library that the statement is for.
        name: its name in `queries.sql`.
        has_journal: the database has the journal's tables. Without them the statement reads empty tables instead.
        heads: of faces that are alike, only those that stand for the others.
    """
    return composed(connection.shape, name, has_journal=has_journal, heads=heads)


def composed(shape: Shape, name: str, *, has_journal: bool = True, heads: bool = False) -> sql.Composed:
    """Return a statement for libraries of a shape; raises as `query` does."""
    made: dict[tuple[str, bool, bool], sql.Composed] = shape.__dict__.setdefault("statements", {})
    key = (name, has_journal, heads)
    if key not in made:
        made[key] = _compose(shape, name, has_journal=has_journal, heads=heads)
    return made[key]


def _compose(shape: Shape, name: str, *, has_journal: bool, heads: bool) -> sql.Composed:
    texts = _texts()
    parts = dict(shape.parts)
    parts |= {each: shape.relation(each, has_journal=has_journal) for each in _RELATIONS}
    parts["journal"] = sql.SQL("seedtool.backfill_assets")
    parts["matches"] = sql.SQL("seedtool.face_matches")
    if not has_journal:
        parts["journal"] = sql.SQL(texts["no_journal"]).format(**parts)
        parts["matches"] = sql.SQL(texts["no_matches"]).format(**parts)
    parts["heads"] = sql.SQL(texts["heads"]).format(**parts) if heads else sql.SQL("true")
    for each in ("eligible", "waits", "selected", "to_process"):
        parts[each] = sql.SQL(texts[each]).format(**parts)
    try:
        return sql.SQL(chosen(texts[name], shape.has) or "SELECT").format(**parts)
    except KeyError as error:
        what = str(error.args[0]).partition("_")[0].partition(".")[0]
        raise SchemaError(
            f"the photo library has no table of {what}",
            remedy=f"Name it in [tool.seedtool.backfill.{what}] if there is one.",
            setting="backfill",
            key=f"{what}.table",
        ) from error


def chosen(text: str, has: frozenset[str]) -> str:
    """Return a statement without the lines that are for libraries of other shapes.

    A line that ends with `--? faces.box` is for libraries with that column; lines between `--[ links` and `--]` are for
    those with that table. `not` and `and` have their meaning. A comma that a list begins with is left out.
    """
    kept: list[str] = []
    blocks: list[bool] = []
    for line in text.splitlines():
        code, mark, condition = line.partition("--")
        if condition.startswith("[ "):
            blocks.append(_holds(condition[2:], has))
        elif condition.startswith("]"):
            blocks.pop()
        elif all(blocks) and (not condition.startswith("? ") or _holds(condition[2:], has)):
            kept.append(code.rstrip() if mark and condition.startswith("? ") else line)
    return _FIRST_COMMA.sub(r"\1\2", "\n".join(kept))


def _holds(condition: str, has: frozenset[str]) -> bool:
    return all(
        (part.removeprefix("not ").strip() in has) != part.startswith("not ")
        for part in condition.strip().split(" and ")
    )


@functools.cache
def _texts() -> dict[str, str]:
    """Return the statements by name, without their comments."""
    parts = _NAME.split(Path(__file__).with_name("queries.sql").read_text(encoding="utf-8"))
    return {name: _COMMENT.sub("", text).strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
