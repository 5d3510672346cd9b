"""Somebody decides about faces: who it is, who it is from now on, or that it is nobody who matters."""

import re
import unicodedata
import uuid
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import psycopg

from seedtool.backfill import journal
from seedtool.backfill.review.waiting import check
from seedtool.errors import UsageError

# A shorter beginning of an id would be right by chance too often.
_SHORTEST = 4


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody decided about one face.

    Args:
        what: link it to a person that is there, to a new one, or leave it alone from now on.
        face: its id, or a beginning of it that is its alone.
        person: `assign`: the person's id, a beginning of it, or the name; `new`: the name.
    """

    what: Literal["assign", "new", "skip"]
    face: str
    person: str = ""


class Assigned(msgspec.Struct, frozen=True, kw_only=True):
    """A choice that was written down; `person_id` is None for a face that is left alone."""

    face_id: str
    user_id: str
    person_id: str | None
    new_person: bool = False


class _Face(msgspec.Struct, frozen=True):
    id: str
    user_id: str
    person_id: str | None
    waits: bool


def choose(
    connection: psycopg.Connection, choices: Sequence[Choice], *, user_id: str | None = None
) -> tuple[Assigned, ...]:
    """Write choices down, all or none, and commit.

    Args:
        connection: to the target.
        choices: each about another face; a new name given twice for a user's faces makes one person.
        user_id: the faces have to be this user's.

    Returns:
        what was written, in the order of the choices.

    Raises:
        UsageError: a face or person is unknown, ambiguous, of another user, or decided about already.
        SchemaError: the photo library's tables are not there.
    """
    check(connection, user_id)
    connection.commit()
    with connection.transaction():
        faces = _locked(connection, [_face(connection, each.face) for each in choices])
        foreign = next((each for each in faces if user_id not in {None, each.user_id}), None)
        if foreign is not None:
            raise UsageError(
                f"the face {foreign.id} is of the user {foreign.user_id}",
                remedy="Leave --user-id out, or name that one.",
            )
        twice = {each.id for each in faces if [other.id for other in faces].count(each.id) > 1}
        if twice:
            raise UsageError(f"the face {min(twice)} is named twice", remedy="Decide once about each face.")
        made: dict[tuple[str, str], str] = {}
        written = [_write(connection, choice, face, made) for choice, face in zip(choices, faces, strict=True)]
        if journal.exists(connection):
            decided = [each.face_id for each in written if each.person_id is not None]
            connection.execute("DELETE FROM seedtool.face_matches WHERE face_id = ANY(%s::uuid[])", [decided])
    return tuple(written)


def _write(connection: psycopg.Connection, choice: Choice, face: _Face, made: dict[tuple[str, str], str]) -> Assigned:
    if face.person_id is not None or not face.waits:
        whose = f" (person {face.person_id})" if face.person_id else ""
        raise UsageError(
            f"the face {face.id} awaits nobody: it was decided about already{whose}",
            remedy="seedtool faces review lists those that do; others are changed in the application.",
        )
    if choice.what == "skip":
        connection.execute(_SKIP, [face.id])
        return Assigned(face_id=face.id, user_id=face.user_id, person_id=None)
    new = False
    if choice.what == "assign":
        person_id = _person(connection, face, choice.person)
    else:
        name = " ".join(choice.person.split())
        key = (face.user_id, _folded(name))
        new = key not in made
        person_id = made[key] = made[key] if not new else _new_person(connection, face, name)
    connection.execute(_LINK, [face.id, person_id])
    connection.execute(_DECIDED, [face.id])
    return Assigned(face_id=face.id, user_id=face.user_id, person_id=person_id, new_person=new)


def _face(connection: psycopg.Connection, given: str) -> str:
    """Return the id of the face that is meant: among those that begin like this, the one that awaits a person."""
    first, last = _range(given, "face")
    found = connection.execute(_FACES, [first, last]).fetchall()
    if not found:
        raise UsageError(f"there is no face {given}", remedy="seedtool faces review lists those that await a person.")
    meant = [id_ for id_, waits in found if waits] or [id_ for id_, _ in found]
    if len(meant) > 1:
        raise UsageError(
            f"{given} is the beginning of several faces: {', '.join(meant[:3])}{', ...' * (len(meant) > 3)}",
            remedy="Give more of the id.",
        )
    return str(meant[0])


def _locked(connection: psycopg.Connection, face_ids: Sequence[str]) -> list[_Face]:
    """Lock the faces, in one order, so that nobody decides about one of them meanwhile."""
    rows = connection.execute(_LOCK, [list(face_ids)]).fetchall()
    found = {id_: _Face(id_, *row) for id_, *row in rows}
    return [found[id_] for id_ in face_ids]


def _person(connection: psycopg.Connection, face: _Face, given: str) -> str:
    """Return the person that is meant: by id, by name, by the beginning of the id.

    What was given is not repeated in errors: it may be a name.
    """
    persons: list[tuple[str, str, str | None]] = connection.execute(_PERSONS, [face.user_id]).fetchall()
    beginning = given.lower().replace("-", "")
    exact = [id_ for id_, *_ in persons if id_.replace("-", "") == beginning]
    wanted = _folded(given)
    named = [id_ for id_, *names in persons if wanted and wanted in map(_folded, names)]
    begun = [id_ for id_, *_ in persons if len(beginning) >= _SHORTEST and id_.replace("-", "").startswith(beginning)]
    meant = exact or named or begun
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise UsageError(
            f"the face {face.id}: several persons are meant: {', '.join(meant[:3])}{', ...' * (len(meant) > 3)}",
            remedy="Give the person's id.",
        )
    other = _whole(given)
    if other is not None and _exists(connection, other):
        raise UsageError(
            f"the face {face.id}: the person {other} is of another user, or was deleted",
            remedy="A face is linked to a person of its own user.",
        )
    raise UsageError(
        f"the face {face.id}: its user {face.user_id} has no such person",
        remedy="--new-person FACE NAME makes one; person_groups holds those that are there.",
    )


def _new_person(connection: psycopg.Connection, face: _Face, name: str) -> str:
    if not name:
        raise UsageError(f"the face {face.id}: the new person has no name", remedy="--new-person FACE NAME")
    connection.execute("SELECT FROM users WHERE id = %s FOR NO KEY UPDATE", [face.user_id])  # one at a time
    persons = connection.execute(_PERSONS, [face.user_id])
    there = next((id_ for id_, *names in persons if _folded(name) in map(_folded, names)), None)
    if there is not None:
        raise UsageError(
            f"the face {face.id}: its user has a person of this name already: {there}",
            remedy=f"--assign {face.id} {there} if it is the same, else a name that differs.",
        )
    made = connection.execute(_NEW, [face.user_id, name, face.id]).fetchone()
    return str(made[0]) if made else ""


def _range(given: str, what: str) -> tuple[str, str]:
    """Return the first and the last uuid that begin like this: an index finds what is between."""
    digits = given.replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{1,32}", digits) or len(digits) < _SHORTEST:
        raise UsageError(
            f"{given!r} is no {what}'s id", remedy=f"It is a uuid, or at least {_SHORTEST} digits of its beginning."
        )
    return str(uuid.UUID(digits.ljust(32, "0"))), str(uuid.UUID(digits.ljust(32, "f")))


def _folded(name: str | None) -> str:
    """Return a name as it is compared: however it is typed, spaced and composed."""
    return unicodedata.normalize("NFC", " ".join((name or "").split())).casefold()


def _whole(given: str) -> str | None:
    try:
        return str(uuid.UUID(given))
    except ValueError:
        return None


def _exists(connection: psycopg.Connection, person_id: str) -> bool:
    return connection.execute("SELECT FROM person_groups WHERE id = %s", [person_id]).fetchone() is not None


def users_of(assigned: Iterable[Assigned]) -> tuple[str, ...]:
    """Return the users for whom somebody got a name, each once."""
    return tuple(dict.fromkeys(each.user_id for each in assigned if each.person_id is not None))


_FACES = """
SELECT f.id::text, f.needs_assignment AND NOT EXISTS (
    SELECT FROM face_person_links l WHERE l.face_id = f.id AND NOT l.deleted)
FROM faces f WHERE f.id BETWEEN %s AND %s AND NOT f.deleted ORDER BY f.id LIMIT 100"""

_LOCK = """
WITH locked AS MATERIALIZED (
    SELECT id, user_id, needs_assignment FROM faces WHERE id = ANY(%s::uuid[]) AND NOT deleted ORDER BY id FOR UPDATE
)
SELECT f.id::text, f.user_id::text, l.person_group_id::text, f.needs_assignment
FROM locked f LEFT JOIN face_person_links l ON l.face_id = f.id AND NOT l.deleted"""

_PERSONS = """
SELECT id::text, name, display_name FROM person_groups WHERE user_id = %s AND NOT deleted ORDER BY id"""

_NEW = "INSERT INTO person_groups (user_id, name, avatar_face_id) VALUES (%s, %s, %s) RETURNING id::text"

_LINK = """
INSERT INTO face_person_links (face_id, person_group_id, confidence, assigned_by) VALUES (%s, %s, 1, 'user')"""

_DECIDED = """
UPDATE faces SET needs_assignment = false, auto_assigned = false, skipped = false, updated_at = now() WHERE id = %s"""

_SKIP = "UPDATE faces SET skipped = true, updated_at = now() WHERE id = %s"
