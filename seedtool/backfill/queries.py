"""The SQL statements of the backfill, by name. They stand in `queries.sql`."""

import functools
import re
from pathlib import Path

from psycopg import sql

_NAME = re.compile(r"^-- (\w+) --\n", flags=re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n?", flags=re.MULTILINE)


@functools.cache
def query(name: str, *, has_journal: bool = True, heads: bool = False) -> sql.Composed:
    """Return a statement.

    Args:
        name: its name in `queries.sql`.
        has_journal: the database has the journal's tables. Without them the statement reads empty tables instead.
        heads: of faces that are alike, only those that stand for the others.
    """
    texts = _texts()
    eligible = sql.SQL(texts["eligible"])
    matches = sql.SQL("seedtool.face_matches" if has_journal else texts["no_matches"])
    return sql.SQL(texts[name]).format(
        eligible=eligible,
        to_process=sql.SQL(texts["to_process"]).format(eligible=eligible),
        waits=sql.SQL(texts["waits"]),
        journal=sql.SQL("seedtool.backfill_assets" if has_journal else texts["no_journal"]),
        matches=matches,
        heads=sql.SQL(texts["heads"]).format(matches=matches) if heads else sql.SQL("true"),
    )


@functools.cache
def _texts() -> dict[str, str]:
    """Return the statements by name, without their comments."""
    parts = _NAME.split(Path(__file__).with_name("queries.sql").read_text(encoding="utf-8"))
    return {name: _COMMENT.sub("", text).strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
