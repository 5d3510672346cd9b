"""What is noted with a template: its purpose, when it was made and used, its size. One line in its database's comment.

Comments on databases are shared by databases of all encodings, so the line is plain ASCII. It names the database's
oid, as all marks in comments do.
"""

import json
import re
from datetime import UTC, datetime, timedelta

import msgspec
from psycopg import sql

from seedtool.postgres.cluster import COMMENTED_MARK, DatabaseFacts

_TEMPLATE = "seedtool.template"
#: A use is noted at most so often: a program that clones a template a hundred times a minute writes no hundred notes.
INTERVAL = timedelta(minutes=10)


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What is noted with a template.

    Args:
        purpose: what it is for, in words.
        made: when it was built: ISO 8601, UTC.
        used: when it was cloned last, to within ten minutes.
        size: bytes on the server's disk.
        result: what the layer's builder returned.
        below: what the builders of the layers below it returned, by the layer's step.
        migrated_settings: settings of the database itself that the migrations made (`search_path=app`).
    """

    purpose: str
    made: str
    used: str
    size: int
    result: dict[str, object] = msgspec.field(name="told", default_factory=dict)  # names of the first release
    below: dict[str, dict[str, object]] = {}
    migrated_settings: list[str] = msgspec.field(name="brought", default_factory=list)


def now() -> str:
    """Return the time as notes write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read(facts: DatabaseFacts) -> Note | None:
    """Return a template's note; None where there is none that can be read."""
    for mark in facts.marks:
        key, _, value = mark.partition("=")
        if key == _TEMPLATE:
            try:
                return msgspec.json.decode(value, type=Note)
            except msgspec.DecodeError:
                return None
    return None


def statement(facts: DatabaseFacts, note: Note) -> sql.Composed:
    """Return the statement that writes a note; the rest of the database's comment stays."""
    line = f"[{_TEMPLATE}={json.dumps(msgspec.to_builtins(note))} for {facts.oid}]"
    rest = re.sub(COMMENTED_MARK, "", facts.comment)
    text = f"{rest}\n{line}" if rest else line
    return sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(facts.name), sql.Literal(text))


def with_use(note: Note) -> Note | None:
    """Return the note with the present use in it; None when a use was noted a short time ago."""
    try:
        recent = datetime.now(UTC) - datetime.fromisoformat(note.used) < INTERVAL
    except (ValueError, TypeError):
        recent = False
    return None if recent else msgspec.structs.replace(note, used=now())
