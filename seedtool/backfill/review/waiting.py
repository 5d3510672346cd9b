"""Faces that await a person, each with whom it is like."""

from collections.abc import Iterator
from typing import LiteralString

import msgspec
import psycopg
from psycopg import sql

from seedtool.backfill import journal, library
from seedtool.errors import UsageError
from seedtool.faces.rekognition.answers import Box

#: A face `f` that awaits a person.
WAITS = sql.SQL("(f.needs_assignment AND NOT f.skipped AND NOT f.deleted)")

#: In the place of the suggestions where no backfill has been.
_NO_MATCHES = sql.SQL(
    "(SELECT NULL::uuid AS face_id, NULL::uuid AS matched_face_id, NULL::numeric AS similarity WHERE false)"
)

# Rows of the cursor fetched at once.
_BATCH = 500


class Suggested(msgspec.Struct, frozen=True, kw_only=True):
    """A face that one is like, and whose it is by now.

    Args:
        face_id: its row in `faces`.
        similarity: 0 to 100.
        person_id: whose it is; None when nobody has said so.
        name: the person's name: for whoever decides, not for logs.
    """

    face_id: str
    similarity: float
    person_id: str | None = None
    name: str | None = None


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A face that awaits a person.

    Args:
        face_id: its row in `faces`.
        user_id: whose photo it is on.
        asset_id: the photo.
        file_name: what the photo is called.
        box: where it is on the photo.
        confidence: that it is a face, 0 to 1.
        suggestions: whom it is like, each person once, the most similar first.
    """

    face_id: str
    user_id: str
    asset_id: str
    file_name: str
    box: Box
    confidence: float
    suggestions: tuple[Suggested, ...]


def waiting(
    connection: psycopg.Connection, *, user_id: str | None = None, limit: int | None = None
) -> Iterator[Waiting]:
    """Yield the faces that await a person, user by user, in the order of their photos; memory does not grow with them.

    Args:
        connection: to the target.
        user_id: of this user alone.
        limit: at most so many.

    Raises:
        SchemaError: the photo library's tables are not there.
        UsageError: there is no such user.
    """
    check(connection, user_id)
    matches = sql.SQL("seedtool.face_matches") if journal.exists(connection) else _NO_MATCHES
    statement = sql.SQL(_WAITING).format(waits=WAITS, matches=matches)
    with connection.transaction(), connection.cursor(name="seedtool_waiting") as cursor:
        cursor.itersize = _BATCH
        cursor.execute(statement, {"user": user_id, "limit": limit})
        for face, user, asset, file_name, box, confidence, found in cursor:
            yield Waiting(
                face_id=face,
                user_id=user,
                asset_id=asset,
                file_name=file_name,
                box=msgspec.convert(box, Box),
                confidence=confidence,
                suggestions=_each_person_once(Suggested(**each) for each in found),
            )


def count(connection: psycopg.Connection, user_id: str | None = None) -> int:
    """Return how many faces await a person; raises as `waiting`."""
    check(connection, user_id)
    row = connection.execute(sql.SQL(_COUNT).format(waits=WAITS), {"user": user_id}).fetchone()
    return int(row[0]) if row else 0


def users_waiting(connection: psycopg.Connection, user_id: str | None = None) -> tuple[str, ...]:
    """Return the users with faces that await a person; raises as `waiting`."""
    check(connection, user_id)
    rows = connection.execute(sql.SQL(_USERS).format(waits=WAITS), {"user": user_id})
    return tuple(id_ for (id_,) in rows)


def check(connection: psycopg.Connection, user_id: str | None) -> None:
    """Refuse a database without the photo library, and a user that is none."""
    library.check_tables(connection)
    if user_id is None:
        return
    fault = library.check_user(connection, user_id)
    if fault:
        raise UsageError(
            f"the user {user_id} is {fault}", remedy="SELECT id FROM users WHERE NOT deleted; tells who may be named."
        )


def _each_person_once(found: Iterator[Suggested]) -> tuple[Suggested, ...]:
    kept: dict[str, Suggested] = {}
    for each in found:
        kept.setdefault(each.person_id or each.face_id, each)
    return tuple(kept.values())


_WAITING: LiteralString = """
SELECT f.id::text, f.user_id::text, f.asset_id::text, a.file_name, f.bounding_box, f.confidence::float8,
    coalesce(s.suggestions, '[]')
FROM faces f JOIN assets a ON a.id = f.asset_id JOIN users u ON u.id = f.user_id
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('face_id', g.id, 'similarity', m.similarity, 'person_id', p.id,
        'name', coalesce(nullif(p.display_name, ''), p.name)) ORDER BY m.similarity DESC, g.id) AS suggestions
    FROM {matches} m JOIN faces g ON g.id = m.matched_face_id AND NOT g.deleted
    LEFT JOIN face_person_links l ON l.face_id = g.id AND NOT l.deleted
    LEFT JOIN person_groups p ON p.id = l.person_group_id AND NOT p.deleted
    WHERE m.face_id = f.id
) s ON true
WHERE {waits} AND NOT a.deleted AND NOT u.deleted AND (%(user)s::uuid IS NULL OR f.user_id = %(user)s::uuid)
ORDER BY u.created_at, u.id, a.created_at, a.id,
    (f.bounding_box ->> 'Left')::float8, (f.bounding_box ->> 'Top')::float8, f.id
LIMIT %(limit)s"""

_USERS: LiteralString = """
SELECT u.id::text FROM users u
WHERE NOT u.deleted AND (%(user)s::uuid IS NULL OR u.id = %(user)s::uuid) AND EXISTS (
    SELECT FROM faces f JOIN assets a ON a.id = f.asset_id WHERE f.user_id = u.id AND {waits} AND NOT a.deleted)
ORDER BY u.created_at, u.id"""

_COUNT: LiteralString = """
SELECT count(*) FROM faces f JOIN assets a ON a.id = f.asset_id JOIN users u ON u.id = f.user_id
WHERE {waits} AND NOT a.deleted AND NOT u.deleted AND (%(user)s::uuid IS NULL OR f.user_id = %(user)s::uuid)"""
