"""Corrections: what was decided about a face is taken back, and the face waits for a person again.

A correction names what it expects to find. If somebody has changed it meanwhile, nothing is written.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from seedtool.backfill import journal
from seedtool.backfill.queries import query
from seedtool.backfill.review import Assigned
from seedtool.errors import UsageError
from seedtool.faces.port import Box


class Match(NamedTuple):
    """A suggestion as it is stored: a face, the face that it is like, and the similarity (0 to 100)."""

    face_id: str
    matched_face_id: str
    similarity: float


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a face is: the address and name of its photo, and its box on the photo."""

    storage_url: str
    file_name: str
    box: Box


class User(NamedTuple):
    """A user with faces that wait for a person: id, e-mail address, and how many faces wait."""

    id: str
    email: str
    waiting: int


class Person(NamedTuple):
    """A person of a user: id and the name that is shown."""

    id: str
    name: str
    names: tuple[str, ...]


def users(connection: psycopg.Connection, limit: int) -> list[User]:
    """Return users with faces that wait for a person, the oldest first, at most `limit`."""
    return [User(*row) for row in connection.execute(query("users_with_faces"), {"limit": limit})]


def persons(connection: psycopg.Connection, user_id: str) -> list[Person]:
    """Return the persons of a user."""
    rows = connection.execute(query("persons"), [user_id])
    return [Person(id_, shown or name, tuple(filter(None, (name, shown)))) for id_, name, shown in rows]


def place(connection: psycopg.Connection, face_id: str) -> Place | None:
    """Return where a face is; None when the face or its photo is gone."""
    row = connection.execute(query("place_of_face"), [face_id]).fetchone()
    if row is None:
        return None
    return Place(storage_url=row[0] or "", file_name=row[1], box=msgspec.convert(row[2], Box))


def still_wait(connection: psycopg.Connection, face_ids: Sequence[str]) -> set[str]:
    """Return the faces among these that wait for a person."""
    return {id_ for (id_,) in connection.execute(query("still_wait"), [list(face_ids)])}


def matches(connection: psycopg.Connection, face_ids: Sequence[str]) -> list[Match]:
    """Return the suggestions of these faces. A decision deletes them; `take_back` can restore them."""
    statement = query("matches", has_journal=journal.exists(connection))
    return [Match(*row) for row in connection.execute(statement, [list(face_ids)])]


def take_back(
    connection: psycopg.Connection,
    decided: Sequence[Assigned],
    *,
    followed: Sequence[str] = (),
    suggestions: Sequence[Match] = (),
) -> tuple[str, ...]:
    """Take decisions back, all of them or none, and commit. Their faces wait for a person again.

    A person that the decisions created is deleted, unless it has other faces by now.

    Args:
        connection: to the target.
        decided: the decisions.
        followed: faces that the system linked because of these decisions. Those that are still linked to one of the
            decisions' persons wait again, too.
        suggestions: the faces' suggestions, to restore.

    Returns:
        the faces that wait again.

    Raises:
        UsageError: somebody has decided about one of the faces again.
    """
    connection.commit()
    with connection.transaction():
        wanted = sorted({*(each.face_id for each in decided), *followed})
        rows = connection.execute(query("lock_faces"), [wanted]).fetchall()
        found = {face_id: (person_id, skipped) for face_id, _, person_id, _, skipped in rows}
        for each in decided:
            if found.get(each.face_id) != (each.person_id, each.person_id is None):
                raise UsageError(
                    f"the face {each.face_id} has been decided again since, so this cannot be undone",
                    remedy="Look at the person that it is linked to now.",
                )
        linked_to = {each.person_id for each in decided} - {None}
        again = [each.face_id for each in decided]
        again += [face_id for face_id in followed if found.get(face_id, (None,))[0] in linked_to]
        connection.execute(query("unlink"), [again])
        connection.execute(query("wait_again"), [again])
        for person_id in sorted({str(each.person_id) for each in decided if each.new_person}):
            connection.execute(query("lock_person_to_change"), [person_id])
            connection.execute(query("delete_person_without_faces"), [person_id])
        for face_id in {each.face_id for each in suggestions} & set(again):
            of_face = [
                {"matched_face_id": each.matched_face_id, "similarity": each.similarity}
                for each in suggestions
                if each.face_id == face_id
            ]
            connection.execute(query("suggest"), {"face": face_id, "suggestions": Jsonb(of_face)})
    return tuple(dict.fromkeys(again))
