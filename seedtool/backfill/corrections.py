"""Corrections: decisions are taken back; persons are renamed and merged, and wrong faces taken away from them.

A correction names what it expects to find. If somebody has changed it meanwhile, nothing is written.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from psycopg.types.json import Jsonb

from seedtool.backfill import journal, review
from seedtool.backfill.queries import LibraryConnection, query
from seedtool.backfill.review import Assigned, folded, written
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
    """A person of a user: id, the name that is shown, and all names that it is known by."""

    id: str
    name: str
    names: tuple[str, ...]


def users(
    connection: LibraryConnection, limit: int | None = None, offset: int = 0, begins: str = ""
) -> tuple[list[User], int]:
    """Return users with faces that wait for a person, the oldest first, and how many there are.

    Args:
        connection: to the target.
        limit: at most so many.
        offset: without the first ones.
        begins: those whose e-mail address begins like this.
    """
    return _users(connection, "users_with_faces", limit, offset, begins)


def users_with_persons(
    connection: LibraryConnection, limit: int | None = None, offset: int = 0, begins: str = ""
) -> tuple[list[User], int]:
    """Return users that have persons, each with the number of persons; otherwise as `users`."""
    return _users(connection, "all_users", limit, offset, begins)


def _users(
    connection: LibraryConnection, name: str, limit: int | None, offset: int, begins: str
) -> tuple[list[User], int]:
    parameters = {"limit": limit, "offset": offset, "begins": begins}
    rows = connection.run(name, parameters).fetchall()
    return [User(id_, email, number) for id_, email, number, _ in rows], rows[0][3] if rows else 0


def persons(connection: LibraryConnection, user_id: str) -> list[Person]:
    """Return the persons of a user."""
    rows = connection.run("persons", [user_id])
    return [Person(id_, shown or name, tuple(filter(None, (name, shown)))) for id_, name, shown in rows]


def place(connection: LibraryConnection, face_id: str) -> Place | None:
    """Return where a face is; None when the face or its photo is gone."""
    row = connection.run("place_of_face", [face_id]).fetchone()
    if row is None:
        return None
    return Place(storage_url=row[0] or "", file_name=row[1], box=msgspec.convert(row[2], Box))


def still_wait(connection: LibraryConnection, face_ids: Sequence[str]) -> set[str]:
    """Return the faces among these that wait for a person."""
    return {id_ for (id_,) in connection.run("still_wait", [list(face_ids)])}


def matches(connection: LibraryConnection, face_ids: Sequence[str]) -> list[Match]:
    """Return the suggestions of these faces. A decision deletes them; `take_back` can restore them."""
    statement = query(connection, "matches", has_journal=journal.exists(connection))
    return [Match(*row) for row in connection.execute(statement, [list(face_ids)])]


def take_back(
    connection: LibraryConnection,
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
        rows = review.lock(connection, wanted)
        found = {each.id: (each.person_id, each.skipped) for each in rows.values()}
        for each in decided:
            if found.get(each.face_id) != (each.person_id, each.person_id is None):
                raise UsageError(
                    f"the face {each.face_id} has been decided again since, so this cannot be undone",
                    remedy="Look at the person that it is linked to now.",
                )
        linked_to = {each.person_id for each in decided} - {None}
        again = [each.face_id for each in decided]
        again += [face_id for face_id in followed if found.get(face_id, (None,))[0] in linked_to]
        connection.run("unlink", {"faces": again, "person": None})
        connection.run("set_waiting", {"faces": again, "waits": True, "by_system": False})
        for person_id in sorted({str(each.person_id) for each in decided if each.new_person}):
            connection.run("lock_person_to_change", [person_id])
            connection.run("delete_person_without_faces", {"person": person_id})
        for face_id in {each.face_id for each in suggestions} & set(again):
            of_face = [
                {"matched_face_id": each.matched_face_id, "similarity": each.similarity}
                for each in suggestions
                if each.face_id == face_id
            ]
            connection.run("suggest", {"face": face_id, "suggestions": Jsonb(of_face)})
    return tuple(dict.fromkeys(again))


# Persons


class PersonFaces(NamedTuple):
    """A person as the list of a user's persons has it.

    Args:
        id: the person.
        name: the name that is shown.
        faces: how many faces it has.
        by_system: how many of them the system has linked, or an application's AI.
        face_id: one of its faces; None when it has none.
    """

    id: str
    name: str
    faces: int
    by_system: int
    face_id: str | None


class LinkedFace(NamedTuple):
    """A face of a person; `confidence` of the link is 0 to 1, `assigned_by` is `user`, `system` or `ai`."""

    id: str
    file_name: str
    confidence: float
    assigned_by: str


def persons_with_faces(
    connection: LibraryConnection, user_id: str, limit: int, offset: int = 0
) -> tuple[list[PersonFaces], int]:
    """Return the persons of a user by name, at most `limit` after the first `offset`, and how many there are."""
    parameters = {"user": user_id, "limit": limit, "offset": offset}
    rows = connection.run("persons_with_faces", parameters).fetchall()
    return [PersonFaces(*row[:-1]) for row in rows], rows[0][-1] if rows else 0


def person(connection: LibraryConnection, person_id: str) -> tuple[str, str] | None:
    """Return a person's user and name; None when there is no such person."""
    return connection.run("person", [person_id]).fetchone()


def faces_of(connection: LibraryConnection, person_id: str, after: str | None, limit: int) -> list[LinkedFace]:
    """Return the faces of a person, the least similar first.

    Args:
        connection: to the target.
        person_id: the person.
        after: faces that follow this one.
        limit: at most so many.
    """
    rows = connection.run("faces_of_person", {"person": person_id, "after": after, "limit": limit})
    return [LinkedFace(*row) for row in rows]


class Link(NamedTuple):
    """A link that was taken away: `confidence` is 0 to 1, `assigned_by` is `user`, `system` or `ai`."""

    confidence: float
    assigned_by: str


def take_away(connection: LibraryConnection, face_id: str, person_id: str) -> Link:
    """Take a wrong face away from a person, and commit. It waits again, and searches do not link it to this person.

    Returns:
        the link, for `give_back`.

    Raises:
        UsageError: the face is not linked to this person any more.
    """
    journal.ensure(connection)
    connection.commit()
    both = {"face": face_id, "person": person_id}
    with connection.transaction():
        review.lock(connection, [face_id])
        found = connection.run("take_away", both).fetchone()
        if found is None:
            raise UsageError(
                f"the face {face_id} is not linked to this person any more: somebody has changed it",
                remedy="Reload the page.",
                option="FACE",
            )
        connection.run("unlink", {"faces": [face_id], "person": person_id})
        connection.run("set_waiting", {"faces": [face_id], "waits": True, "by_system": False})
        connection.run("exclude", [face_id, person_id])
        connection.run("forget_avatar", both)
    return Link(*found)


def give_back(connection: LibraryConnection, face_id: str, person_id: str, link: Link) -> tuple[str, ...]:
    """Undo `take_away`, and commit; return the face.

    Raises:
        UsageError: somebody has decided about the face since, or the person is gone.
    """
    connection.commit()
    with connection.transaction():
        face = review.lock(connection, [face_id]).get(face_id)
        alive = connection.run("lock_person", [person_id]).fetchone() is not None
        if not alive or face is None or face.person_id is not None or face.skipped:
            raise UsageError(
                f"the face {face_id} or its person has been changed since, so this cannot be undone",
                remedy="Look at the person that it is linked to now.",
                option="FACE",
            )
        again = {"face": face_id, "person": person_id, "confidence": link.confidence, "by": link.assigned_by}
        connection.run("link_again", again)
        waiting = {"faces": [face_id], "waits": False, "by_system": link.assigned_by != "user"}
        connection.run("set_waiting", waiting)
        connection.run("include", [face_id, person_id])
    return (face_id,)


def rename(connection: LibraryConnection, person_id: str, was: str, name: str) -> str:
    """Give a person another name, and commit.

    Args:
        connection: to the target.
        person_id: the person.
        was: the name that whoever renames has seen.
        name: the new name.

    Returns:
        the name as it is written.

    Raises:
        UsageError: the name is empty, too long or another person's, or the person has another name by now.
    """
    name = written(name)
    if not name:
        raise UsageError("the name is empty", remedy="Type a name.", option="NAME")
    connection.commit()
    with connection.transaction():
        found = person(connection, person_id)
        if found is not None:
            _check_name(connection, found[0], person_id, name)
        parameters = {"person": person_id, "was": was, "name": name}
        if connection.run("rename", parameters).fetchone() is None:
            raise UsageError(
                "the person has another name by now, or is deleted: somebody has changed it",
                remedy="Reload the page.",
                option="PERSON",
            )
    return name


def _check_name(connection: LibraryConnection, user_id: str, person_id: str, name: str) -> None:
    """Lock the user, so that nobody else adds a name meanwhile, and refuse a name that another person has."""
    connection.run("lock_owner", [user_id])
    others = [each for each in persons(connection, user_id) if each.id != person_id]
    if any(folded(name) in map(folded, each.names) for each in others):
        raise UsageError(
            "another person of this user has this name",
            remedy="If they are the same person, merge the two.",
            option="NAME",
        )


def merge(connection: LibraryConnection, person_id: str, into: str) -> tuple[str, ...]:
    """Move the faces of a person to another one of the same user, delete the first, and commit.

    Returns:
        the faces that were moved.

    Raises:
        UsageError: one of the two is gone, they are one, or they are of different users.
    """
    connection.commit()
    with connection.transaction():
        found = connection.run("lock_persons", [[person_id, into]]).fetchall()
        if len(found) != 2 or found[0][1] != found[1][1]:
            raise UsageError(
                "only two persons of one user can be merged, and one of them may be deleted",
                remedy="Reload the page.",
                option="PERSON",
            )
        parameters = {"person": person_id, "into": into, "faces": None}
        moved = [face_id for (face_id,) in connection.run("move_faces", parameters)]
        connection.run("delete_person", [person_id])
    return tuple(moved)


def unmerge(connection: LibraryConnection, person_id: str, into: str, faces: Sequence[str]) -> tuple[str, ...]:
    """Undo `merge`, and commit: the faces that are still linked to the other person go back; return them.

    Raises:
        UsageError: the other person is gone, or another one has taken the name; or the table of persons has no column
            that says that a row is deleted, so the person is gone.
    """
    connection.commit()
    with connection.transaction():
        if connection.run("lock_person", [into]).fetchone() is None:
            raise UsageError(
                "the other person has been merged or deleted since, so this cannot be undone",
                remedy="If it was merged, undo that first.",
                option="PERSON",
            )
        if connection.run("bring_person_back", [person_id]).fetchone() is None:
            raise UsageError(
                "the person was deleted for good, so this cannot be undone",
                remedy="Link the faces to a new person of that name.",
                option="PERSON",
            )
        back = person(connection, person_id)
        if back is not None:
            _check_name(connection, back[0], person_id, back[1])
        parameters = {"person": into, "into": person_id, "faces": list(faces)}
        return tuple(face_id for (face_id,) in connection.run("move_faces", parameters))


# Runs


class RunSummary(NamedTuple):
    """What the journal knows of a run. An asset counts for the run that processed it last."""

    id: str
    began: datetime
    last: datetime
    done: int
    failed: int
    started: int
    faces: int
    index_calls: int
    search_calls: int


def runs(connection: LibraryConnection) -> list[RunSummary]:
    """Return the last 20 runs of the backfill, the latest first."""
    statement = query(connection, "runs", has_journal=journal.exists(connection))
    return [RunSummary(*row) for row in connection.execute(statement, ())]
