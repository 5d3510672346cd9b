"""What a snapshot remembers, and how it is written: one line of JSON in the comment of the snapshot's database.

The line names the database's oid, as all marks in comments do, so a comment that was copied elsewhere makes no
snapshot. It is plain ASCII: comments on databases are shared by databases of all encodings.
"""

import json
import re
import unicodedata
from datetime import datetime

import msgspec

from seedtool.errors import UsageError
from seedtool.postgres.cluster import COMMENTED_MARK

NAME_LIMIT = 100
NOTE_LIMIT = 500
_SNAPSHOT = "seedtool.snapshot"
# they join emoji and letters of Persian and Hindi; Python counts them among the control characters
_JOINERS = str.maketrans("", "", "\u200c\u200d")


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot remembers; this travels with an exported file, so it is checked wherever it is read.

    Args:
        name: the snapshot's name.
        target: name of the database it is a copy of.
        created: when it was saved: ISO 8601, UTC.
        revisions: the Alembic revisions that the database was at.
        branch: the git branch of the project at that time; None when there was none.
        commit: the git commit, likewise.
        note: what the user said about it.
        size: bytes on the server's disk.

    Raises:
        ValueError: a text cannot be shown on a terminal, or `created` is no time.
    """

    name: str
    target: str
    created: str
    revisions: list[str]
    branch: str | None = None
    commit: str | None = None
    note: str | None = None
    size: int = 0

    def __post_init__(self) -> None:
        if datetime.fromisoformat(self.created).tzinfo is None:
            raise ValueError("created has no time zone")
        for text in (self.name, self.branch, self.commit, self.note, *self.revisions):
            if text is not None and not printable(text):
                raise ValueError("a text that cannot be shown")
        if _fault(self.name, NAME_LIMIT):
            raise ValueError("not a name")


class Snapshot(Description, frozen=True, kw_only=True):
    """A snapshot on the target's server.

    Args:
        database: the private name of the database that holds it.
        owner: the role that owns it.
    """

    database: str
    owner: str


def printable(text: str) -> bool:
    """Tell whether a text can be shown on a terminal as it is: no control characters, no broken Unicode."""
    return text.translate(_JOINERS).isprintable()


def checked_name(name: str) -> str:
    """Return the name as it is kept: composed (NFC), so that what looks the same is the same.

    Raises:
        UsageError: it cannot be a snapshot's name.
    """
    composed = unicodedata.normalize("NFC", name)
    fault = _fault(composed, NAME_LIMIT)
    if fault:
        raise UsageError(
            f"{name[:NAME_LIMIT]!r} cannot be a snapshot's name: it {fault}",
            remedy=f"Use 1 to {NAME_LIMIT} printable characters, without spaces at the ends.",
        )
    return composed


def checked_note(note: str) -> str:
    """Return the note without spaces at the ends.

    Raises:
        UsageError: it is empty, too long, or cannot be shown in one line.
    """
    note = note.strip()
    fault = _fault(note, NOTE_LIMIT)
    if fault:
        raise UsageError(f"the note {fault}", remedy=f"Use 1 to {NOTE_LIMIT} printable characters, in one line.")
    return note


def _fault(text: str, limit: int) -> str:
    if not text.strip():
        return "is empty"
    if not printable(text):
        return "holds a control character or one that cannot be shown"
    if text != text.strip():
        return "begins or ends with a space"
    return f"has {len(text)} characters" if len(text) > limit else ""


def written(description: Description, oid: int) -> str:
    """Return the mark that makes the database with this oid a snapshot."""
    # a Snapshot is a description too, and what else it knows stays out
    told = {name: getattr(description, name) for name in Description.__struct_fields__}
    return f"[{_SNAPSHOT}={json.dumps(told)} for {oid}]"


def read(comment: str | None, oid: int | None = None) -> Description | None:
    """Return the description in a database's comment.

    Args:
        comment: the comment.
        oid: the database's; None where the comment came in a file, and its database is elsewhere.

    Returns:
        None when there is none, it is another database's, or somebody has spoilt it.
    """
    found = re.search(COMMENTED_MARK, comment or "")
    if found is None or (oid is not None and int(found[2]) != oid):
        return None
    mark, _, value = found[1].partition("=")
    if mark != _SNAPSHOT:
        return None
    try:
        return msgspec.json.decode(value, type=Description)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None
