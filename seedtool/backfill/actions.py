"""What people did on the review page, kept in the database, so that it can be undone later and after a restart.

An action holds ids, and what undoing it needs. Names of persons are looked up when it is shown, but for a rename, which
is two names.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from seedtool.backfill import corrections, journal
from seedtool.backfill.corrections import Link, Match
from seedtool.backfill.queries import LibraryConnection
from seedtool.backfill.review import Assigned
from seedtool.errors import UsageError
from seedtool.printable import count


class Decided(msgspec.Struct, frozen=True, kw_only=True, tag="decided"):
    """Faces were linked to one person, or skipped.

    Args:
        assigned: what was written.
        suggestions: the faces' suggestions before, to restore.
    """

    assigned: tuple[Assigned, ...]
    suggestions: tuple[Match, ...] = ()


class TakenAway(msgspec.Struct, frozen=True, kw_only=True, tag="taken away"):
    """A face was taken away from a person; `link` is the link that was deleted."""

    face_id: str
    person_id: str
    link: Link


class Renamed(msgspec.Struct, frozen=True, kw_only=True, tag="renamed"):
    """A person got another name."""

    person_id: str
    was: str
    name: str


class Merged(msgspec.Struct, frozen=True, kw_only=True, tag="merged"):
    """A person was merged into another one, with these faces."""

    person_id: str
    into: str
    faces: tuple[str, ...]


What = Decided | TakenAway | Renamed | Merged


class Action(NamedTuple):
    """An action as it is listed.

    Args:
        id: a number that grows.
        at: when it was done.
        reviewer: who did it.
        undone: it was undone.
        words: what was done.
    """

    id: int
    at: datetime
    reviewer: str
    undone: bool
    words: str


def keep(connection: LibraryConnection, reviewer: str, what: What) -> None:
    """Keep what somebody has done, and commit. The last 1,000 actions are kept.

    Args:
        connection: to the target.
        reviewer: who did it: any text that tells people apart.
        what: what was done.
    """
    journal.ensure(connection)
    parameters = {"reviewer": reviewer, "person": _person(what), "what": msgspec.json.encode(what).decode()}
    connection.run("keep_action", parameters)
    connection.commit()


def add_followers(connection: LibraryConnection, person_id: str, faces: Sequence[str]) -> None:
    """Note faces that a search linked to a person, for the undoing of what was done before; commit."""
    connection.run("add_followers", {"person": person_id, "faces": list(faces)})
    connection.commit()


def last(connection: LibraryConnection, reviewer: str) -> int | None:
    """Return the last action of somebody that is not undone; None when there is none."""
    if not journal.has_table(connection, "review_actions"):
        return None
    row = connection.run("last_action", [reviewer]).fetchone()
    return int(row[0]) if row else None


def listing(connection: LibraryConnection, before: int | None, limit: int) -> list[Action]:
    """Return actions of everybody, the latest first.

    Args:
        connection: to the target.
        before: those before this one.
        limit: at most so many.
    """
    if not journal.has_table(connection, "review_actions"):
        return []
    rows = connection.run("actions", {"before": before, "limit": limit}).fetchall()
    found = [(id_, at, reviewer, undone, _what(text)) for id_, at, reviewer, undone, text in rows]
    names = _names(connection, [what for *_, what in found])
    return [Action(id_, at, reviewer, undone, _words(what, names)) for id_, at, reviewer, undone, what in found]


def in_words(connection: LibraryConnection, what: What) -> str:
    """Say what was done, with the names that persons have now."""
    return _words(what, _names(connection, [what]))


def undo(connection: LibraryConnection, action: int, *, pass_over: bool = False) -> tuple[str, tuple[str, ...]]:
    """Undo an action, and commit; after a link, also what searches have linked to its person since.

    Args:
        connection: to the target.
        action: the action.
        pass_over: where the action cannot be undone, the next `last` is the one before it.

    Returns:
        what was undone, in words, and the faces that it was about.

    Raises:
        UsageError: it is undone already, or somebody has changed since what it was about.
    """
    connection.commit()
    row = connection.run("begin_undo", [action]).fetchone()
    connection.commit()
    if row is None:
        raise UsageError("this is undone already", remedy="Reload the page.", option="ACTION")
    what, followed = _what(row[0]), row[1]
    said = in_words(connection, what)
    try:
        return said, _undo(connection, what, followed)
    except BaseException as error:
        if pass_over and isinstance(error, UsageError):
            raise
        # the next try may succeed
        connection.rollback()
        connection.run("end_undo", [action])
        connection.commit()
        raise


def _words(what: What, names: dict[str, str]) -> str:
    match what:
        case TakenAway():
            return "1 face taken away; it waits for a person again"
        case Renamed():
            return f"{what.was} renamed to {what.name}"
        case Merged():
            return f"{_name(names, what.person_id)} merged into {_name(names, what.into)}"
        case Decided():
            first, which = what.assigned[0], count(len(what.assigned), "face")
            if first.person_id is None:
                return f"{which} skipped"
            new = "the new person " * any(each.new_person for each in what.assigned)
            return f"{which} linked to {new}{_name(names, first.person_id)}"


def _undo(connection: LibraryConnection, what: What, followed: Sequence[str]) -> tuple[str, ...]:
    match what:
        case TakenAway():
            return corrections.give_back(connection, what.face_id, what.person_id, what.link)
        case Renamed():
            corrections.rename(connection, what.person_id, what.name, what.was)
            return ()
        case Merged():
            return corrections.unmerge(connection, what.person_id, what.into, what.faces)
        case Decided():
            return corrections.take_back(connection, what.assigned, followed=followed, suggestions=what.suggestions)


def _person(what: What) -> str | None:
    return what.assigned[0].person_id if isinstance(what, Decided) else what.person_id


def _what(text: str) -> What:
    found: What = msgspec.json.decode(text, type=What)
    return found


def _names(connection: LibraryConnection, all_: Sequence[What]) -> dict[str, str]:
    ids = {_person(what) for what in all_} | {what.into for what in all_ if isinstance(what, Merged)}
    return dict(connection.run("names_of_persons", [sorted(filter(None, ids))]).fetchall())


def _name(names: dict[str, str], person_id: str) -> str:
    return names.get(person_id) or "a person without a name"
