"""What a template remembers: what it is for, when it was made and used, its size. One line in its database's comment.

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
#: A use is noted at most so often: who clones a template a hundred times a minute need not write a hundred times.
INTERVAL = timedelta(minutes=10)


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What a template remembers.

    Args:
        purpose: what it is for, for people.
        made: when it was built: ISO 8601, UTC.
        used: when it was cloned last, to within ten minutes.
        size: bytes on the server's disk.
        told: what its builder gave back, for those who use it later.
        brought: settings of the database itself that the migrations made.
    """

    purpose: str
    made: str
    used: str
    size: int
    told: dict[str, object] = {}
    brought: list[str] = []


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
    """Return the statement that writes a note; what else the database's comment says stays."""
    line = f"[{_TEMPLATE}={json.dumps(msgspec.structs.asdict(note))} for {facts.oid}]"
    rest = re.sub(COMMENTED_MARK, "", facts.comment)
    text = f"{rest}\n{line}" if rest else line
    return sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(facts.name), sql.Literal(text))


def due(note: Note) -> Note | None:
    """Return the note with the present use in it; None when it was noted a short time ago."""
    try:
        fresh = datetime.now(UTC) - datetime.fromisoformat(note.used) < INTERVAL
    except (ValueError, TypeError):
        fresh = False
    return None if fresh else msgspec.structs.replace(note, used=now())
