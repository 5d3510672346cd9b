"""The photo library's tables: what is to be done, what matches mean, and the one statement that writes a decision.

Revision 0004's tables are named here and in the journal's statements, nowhere else.
"""

from collections.abc import Iterator, Sequence
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from seedtool.backfill import journal
from seedtool.errors import SchemaError
from seedtool.faces.rekognition.answers import Box

#: What stands in assets.face_detection_provider.
PROVIDER = "aws_rekognition"

#: The table's photos that a backfill is for.
ELIGIBLE = sql.SQL(
    "(a.approved AND NOT a.deleted AND starts_with(lower(a.mime_type), 'image/') AND coalesce(a.storage_url, '') <> '')"
)

#: Rows of a server-side cursor that are fetched at once.
_BATCH = 5000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which assets are to be processed.

    Args:
        user_id: of this user alone; None for all that are not deleted.
        limit: of each user, at most so many.
        retry_failed: also those that failed before.
        reindex_since: also those that were done or failed before this time.
    """

    user_id: str | None = None
    limit: int | None = None
    retry_failed: bool = False
    reindex_since: Any = None

    def parameters(self) -> dict[str, object]:
        """Return the parameters of the statements."""
        return {
            "user": self.user_id,
            "limit": self.limit,
            "retry": self.retry_failed,
            "since": self.reindex_since,
        }


class Census(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is to do.

    Args:
        users: users with assets to be processed.
        assets: assets to be processed, `limit` heeded.
        skipped: assets that qualify and are left alone: done or failed before, or processed by the application.
        failed_before: those of them that failed.
        collections: users among `users` whose collection is remembered.
    """

    users: int
    assets: int
    skipped: int
    failed_before: int
    collections: int


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An asset that would be processed."""

    user_id: str
    asset_id: str
    file_name: str


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A live row of `faces`.

    Args:
        id: the row.
        face_id: Rekognition's id.
        box: where it is in its photo.
        person_id: whom it is linked to.
        own: it belongs to the asset asked about; else to an earlier one.
        skipped: the user wants it left alone.
    """

    id: str
    face_id: str
    box: Box
    person_id: str | None
    own: bool
    skipped: bool


class FaceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A face as it is to be written.

    Args:
        id: its row.
        known: the row is there; else it is made.
        keep: what was decided about the row before stays.
        face_id: Rekognition's id.
        box: where it is.
        confidence: that it is a face, 0 to 1.
        needs: it awaits a person.
        person_id: whom it is linked to.
        similarity: 0 to 1, of that link.
    """

    id: str
    known: bool
    keep: bool
    face_id: str
    box: Box
    confidence: float
    needs: bool
    person_id: str | None = None
    similarity: float | None = None


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """Row `face_id` is like row `matched_face_id`; similarity is 0 to 100."""

    face_id: str
    matched_face_id: str
    similarity: float


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """All that is written about an asset.

    Args:
        faces: its faces.
        gone: rows of faces that are no longer found in the photo.
        suggestions: for the faces that await a person.
        dropping: FaceIds that are to be deleted from the collection.
        summary: for assets.face_detection_data.
    """

    faces: tuple[FaceRow, ...]
    gone: tuple[str, ...]
    suggestions: tuple[Suggestion, ...]
    dropping: tuple[str, ...]
    summary: dict[str, object]


def check_tables(connection: psycopg.Connection) -> None:
    """Refuse a database without the photo library.

    Raises:
        SchemaError: a table is missing.
    """
    found = connection.execute(
        "SELECT array_agg(name) FROM unnest(%s::text[]) name WHERE to_regclass(name) IS NULL", [list(_TABLES)]
    ).fetchone()
    if found and found[0]:
        raise SchemaError(
            f"there is no table {', '.join(found[0])}",
            remedy="seedtool migrate; a backfill is for the photo library of revision 0004.",
        )


def check_user(connection: psycopg.Connection, user_id: str) -> str | None:
    """Return what is wrong with a user: `unknown`, `deleted`, or None when nothing is."""
    found = connection.execute("SELECT deleted FROM users WHERE id = %s", [user_id]).fetchone()
    if found is None:
        return "unknown"
    return "deleted" if found[0] else None


def census(connection: psycopg.Connection, wanted: Wanted, *, journalled: bool) -> Census:
    """Count what there is to do."""
    row = connection.execute(_complete(_CENSUS, journalled=journalled), wanted.parameters()).fetchone()
    assert row is not None  # noqa: S101 - it is an aggregate
    users, assets, skipped, failed_before, collections = row
    return Census(users=users, assets=assets, skipped=skipped, failed_before=failed_before, collections=collections)


def users(connection: psycopg.Connection, wanted: Wanted) -> psycopg.ServerCursor[tuple[str, int]]:
    """Return users with something to do, the oldest first, with how many assets, as a cursor of the session."""
    cursor: psycopg.ServerCursor[tuple[str, int]] = connection.cursor(name="seedtool_users", withhold=True)
    cursor.itersize = _BATCH
    cursor.execute(_complete(_USERS, journalled=True), wanted.parameters())
    return cursor


def assets(connection: psycopg.Connection, name: str, user_id: str, wanted: Wanted) -> psycopg.ServerCursor[tuple[str]]:
    """Return the ids of a user's assets that are to be processed, in their order.

    Args:
        connection: inside the transaction that holds the user's lock; the cursor lives in it.
        name: the cursor's name.
        user_id: the user.
        wanted: which assets.
    """
    cursor: psycopg.ServerCursor[tuple[str]] = connection.cursor(name=name)
    cursor.execute(_complete(_ASSETS, journalled=True), {**wanted.parameters(), "user": user_id})
    return cursor


def give_back(cursor: psycopg.ServerCursor[Any]) -> None:
    """Close a server-side cursor, of a connection that was lost, too."""
    try:
        cursor.close()
    except psycopg.OperationalError:
        cursor.close()  # now that the loss is known, nothing is asked of the server


def listing(connection: psycopg.Connection, wanted: Wanted, *, journalled: bool) -> Iterator[Listed]:
    """Yield all assets that would be processed, user by user, in their order."""
    with connection.transaction(), connection.cursor(name="seedtool_listing") as cursor:
        cursor.itersize = _BATCH
        cursor.execute(_complete(_LISTING, journalled=journalled), wanted.parameters())
        for user_id, asset_id, file_name in cursor:
            yield Listed(user_id=user_id, asset_id=asset_id, file_name=file_name)


def counts(connection: psycopg.Connection, wanted: Wanted, *, journalled: bool) -> Iterator[tuple[str, int]]:
    """Yield each user with something to do, the oldest first, and how many assets that is."""
    with connection.transaction(), connection.cursor(name="seedtool_counts") as cursor:
        cursor.itersize = _BATCH
        cursor.execute(_complete(_COUNTS, journalled=journalled), wanted.parameters())
        yield from cursor


def collection_of(connection: psycopg.Connection, user_id: str) -> tuple[str, str | None] | None:
    """Return the id of the user's collection and its ARN; None when none is remembered."""
    return connection.execute(
        "SELECT aws_collection_id, rekognition_arn FROM face_collections WHERE user_id = %s AND NOT deleted", [user_id]
    ).fetchone()


def remember_collection(connection: psycopg.Connection, user_id: str, collection_id: str, arn: str) -> None:
    """Write down the user's collection."""
    connection.execute(_REMEMBER, {"user": user_id, "collection": collection_id, "arn": arn})


def known(connection: psycopg.Connection, asset_id: str, face_ids: Sequence[str]) -> list[Known]:
    """Return the asset's own live faces, and those of Rekognition's ids that are faces of the user's earlier assets.

    They come in the order of their assets, and from left to right and top to bottom within one.
    """
    rows = connection.execute(_KNOWN, {"asset": asset_id, "faces": list(face_ids)}).fetchall()
    return [
        Known(
            id=id_,
            face_id=face_id,
            box=Box(left, top, width, height),
            person_id=person,
            own=own,
            skipped=skipped,
        )
        for id_, face_id, left, top, width, height, person, own, skipped in rows
    ]


def write(connection: psycopg.Connection, run: str, asset_id: str, decided: Decided, calls: dict[str, int]) -> bool:
    """Write all about an asset and its line in the journal, in one statement; False when the line is not this run's."""
    found = connection.execute(
        _WRITE,
        {
            "run": run,
            "asset": asset_id,
            "faces": Jsonb(msgspec.to_builtins(decided.faces)),
            "suggestions": Jsonb(msgspec.to_builtins(decided.suggestions)),
            "gone": list(decided.gone),
            "dropping": list(decided.dropping) or None,
            "summary": Jsonb(decided.summary),
            "count": len(decided.faces),
            "provider": PROVIDER,
            **journal.spent(calls),
        },
    ).fetchone()
    return found == (1,)


def _complete(statement: LiteralString, *, journalled: bool) -> sql.Composed:
    todo = sql.SQL(_TODO).format(eligible=ELIGIBLE)
    return sql.SQL(statement).format(
        eligible=ELIGIBLE, todo=todo, journal=journal.ASSETS if journalled else journal.NOTHING
    )


_TABLES = ("users", "assets", "face_collections", "person_groups", "faces", "face_person_links")

# A photo that the application has processed is nobody's to process again, unless the journal says that we did it.
_TODO: LiteralString = """
{eligible} AND CASE j.state
    WHEN 'started' THEN true
    WHEN 'skipped' THEN true
    WHEN 'failed' THEN %(retry)s OR coalesce(j.finished_at < %(since)s::timestamptz, false)
    WHEN 'done' THEN coalesce(j.finished_at < %(since)s::timestamptz, false)
    ELSE a.face_detection_processed_at IS NULL
END"""

_CENSUS: LiteralString = """
SELECT count(*) FILTER (WHERE todo > 0), coalesce(sum(least(todo, %(limit)s::bigint)), 0)::bigint,
    coalesce(sum(eligible - todo), 0)::bigint, coalesce(sum(failed), 0)::bigint,
    count(c.user_id) FILTER (WHERE todo > 0)
FROM (
    SELECT a.user_id, count(*) AS eligible, count(*) FILTER (WHERE {todo}) AS todo,
        count(*) FILTER (WHERE j.state = 'failed' AND NOT ({todo})) AS failed
    FROM assets a LEFT JOIN {journal} j ON j.asset_id = a.id
    WHERE {eligible} AND (%(user)s::uuid IS NULL OR a.user_id = %(user)s::uuid)
    GROUP BY a.user_id
) s JOIN users u ON u.id = s.user_id AND NOT u.deleted
LEFT JOIN face_collections c ON c.user_id = s.user_id AND NOT c.deleted"""

_COUNTS: LiteralString = """
SELECT u.id::text, least(s.todo, %(limit)s::bigint)::bigint
FROM users u JOIN (
    SELECT a.user_id, count(*) AS todo FROM assets a LEFT JOIN {journal} j ON j.asset_id = a.id
    WHERE {todo} AND (%(user)s::uuid IS NULL OR a.user_id = %(user)s::uuid) GROUP BY a.user_id
) s ON s.user_id = u.id
WHERE NOT u.deleted
ORDER BY u.created_at, u.id"""

# also users who have nothing but what an interrupted run left in their collection
_USERS: LiteralString = """
SELECT u.id::text, coalesce(least(s.todo, %(limit)s::bigint), 0)::bigint
FROM users u LEFT JOIN (
    SELECT a.user_id, count(*) AS todo FROM assets a LEFT JOIN {journal} j ON j.asset_id = a.id
    WHERE {todo} AND (%(user)s::uuid IS NULL OR a.user_id = %(user)s::uuid) GROUP BY a.user_id
) s ON s.user_id = u.id
WHERE NOT u.deleted AND (%(user)s::uuid IS NULL OR u.id = %(user)s::uuid) AND (s.todo > 0 OR u.id IN (
    SELECT user_id FROM {journal} j WHERE state = 'started' OR dropping IS NOT NULL))
ORDER BY u.created_at, u.id"""

_ASSETS: LiteralString = """
SELECT a.id::text FROM assets a LEFT JOIN {journal} j ON j.asset_id = a.id
WHERE a.user_id = %(user)s::uuid AND {todo}
ORDER BY a.created_at, a.id LIMIT %(limit)s"""

_LISTING: LiteralString = """
SELECT listed.user_id::text, listed.id::text, file_name FROM (
    SELECT a.user_id, a.id, a.file_name, u.created_at AS user_since, a.created_at,
        CASE WHEN %(limit)s::bigint IS NOT NULL
            THEN row_number() OVER (PARTITION BY a.user_id ORDER BY a.created_at, a.id) END AS number
    FROM assets a JOIN users u ON u.id = a.user_id LEFT JOIN {journal} j ON j.asset_id = a.id
    WHERE NOT u.deleted AND {todo} AND (%(user)s::uuid IS NULL OR a.user_id = %(user)s::uuid)
) listed
WHERE number IS NULL OR number <= %(limit)s::bigint
ORDER BY user_since, listed.user_id, created_at, listed.id"""

_REMEMBER = """
INSERT INTO face_collections AS c (user_id, aws_collection_id, rekognition_arn)
VALUES (%(user)s, %(collection)s, %(arn)s)
ON CONFLICT (user_id) DO UPDATE SET
    aws_collection_id = excluded.aws_collection_id, rekognition_arn = excluded.rekognition_arn, deleted = false
WHERE c.deleted OR c.rekognition_arn IS NULL"""

_KNOWN = """
WITH this AS (SELECT id, user_id, created_at FROM assets WHERE id = %(asset)s),
found AS (
    SELECT f.* FROM faces f JOIN this ON f.asset_id = this.id WHERE NOT f.deleted
    UNION
    SELECT f.* FROM faces f JOIN this ON f.user_id = this.user_id
    WHERE NOT f.deleted AND f.rekognition_face_id = ANY(%(faces)s)
)
SELECT f.id::text, f.rekognition_face_id,
    (f.bounding_box ->> 'Left')::float8, (f.bounding_box ->> 'Top')::float8,
    (f.bounding_box ->> 'Width')::float8, (f.bounding_box ->> 'Height')::float8,
    p.id::text, f.asset_id = this.id, f.skipped
FROM found f CROSS JOIN this JOIN assets a ON a.id = f.asset_id
LEFT JOIN face_person_links l ON l.face_id = f.id AND NOT l.deleted
LEFT JOIN person_groups p ON p.id = l.person_group_id AND NOT p.deleted
WHERE f.asset_id = this.id OR (a.created_at, a.id) < (this.created_at, this.id)
ORDER BY a.created_at, a.id, 3, 4, f.id"""

# One statement, so that a crash leaves all of it or nothing. Nothing is written unless the journal's line is still ours
# and says `started`.
_WRITE = """
WITH mine AS (
    UPDATE seedtool.backfill_assets j SET state = 'done', faces = %(count)s, dropping = %(dropping)s,
        reindex = false, cause = NULL, remedy = NULL, finished_at = clock_timestamp(),
        index_calls = index_calls + %(indexed)s, search_calls = search_calls + %(searched)s
    FROM assets a
    WHERE j.asset_id = %(asset)s AND j.run = %(run)s AND j.state = 'started'
        AND a.id = j.asset_id AND a.approved AND NOT a.deleted
    RETURNING a.id AS asset_id, a.user_id
),
told AS MATERIALIZED (
    SELECT mine.user_id, mine.asset_id, t.* FROM mine CROSS JOIN jsonb_to_recordset(%(faces)s) AS t (
        id uuid, known boolean, keep boolean, face_id text, box jsonb, confidence numeric, needs boolean,
        person_id uuid, similarity numeric)
),
gone AS (
    UPDATE faces f SET deleted = true, updated_at = now() FROM mine
    WHERE f.asset_id = mine.asset_id AND f.id = ANY(%(gone)s::uuid[]) AND NOT f.deleted RETURNING f.id
),
unlinked AS (
    UPDATE face_person_links l SET deleted = true, updated_at = now() FROM gone
    WHERE l.face_id = gone.id AND NOT l.deleted
),
renewed AS (
    UPDATE faces f SET rekognition_face_id = t.face_id, rekognition_image_id = t.asset_id::text,
        bounding_box = t.box, confidence = t.confidence,
        needs_assignment = CASE WHEN t.keep THEN f.needs_assignment ELSE t.needs END,
        auto_assigned = CASE WHEN t.keep THEN f.auto_assigned ELSE t.person_id IS NOT NULL END,
        updated_at = now()
    FROM told t WHERE f.id = t.id AND t.known AND NOT f.deleted RETURNING f.id
),
made AS (
    INSERT INTO faces (id, user_id, asset_id, rekognition_face_id, rekognition_image_id, bounding_box, confidence,
        needs_assignment, auto_assigned)
    SELECT id, user_id, asset_id, face_id, asset_id::text, box, confidence, needs, person_id IS NOT NULL
    FROM told WHERE NOT known
    ON CONFLICT (user_id, rekognition_face_id) WHERE NOT deleted DO NOTHING
    RETURNING id
),
written AS (SELECT id FROM made UNION ALL SELECT id FROM renewed),
links AS (
    INSERT INTO face_person_links (face_id, person_group_id, confidence, assigned_by)
    SELECT t.id, t.person_id, t.similarity, 'system' FROM told t JOIN written USING (id)
    WHERE t.person_id IS NOT NULL AND NOT t.keep
    ON CONFLICT (face_id) WHERE NOT deleted DO NOTHING
),
suggested AS MATERIALIZED (
    SELECT s.* FROM jsonb_to_recordset(%(suggestions)s) AS s (face_id uuid, matched_face_id uuid, similarity numeric)
    JOIN written ON written.id = s.face_id
),
forgotten AS (
    DELETE FROM seedtool.face_matches m USING told t
    WHERE m.face_id = t.id AND NOT EXISTS (SELECT FROM suggested s
        WHERE s.face_id = m.face_id AND s.matched_face_id = m.matched_face_id)
),
matches AS (
    INSERT INTO seedtool.face_matches (face_id, matched_face_id, similarity)
    SELECT face_id, matched_face_id, similarity FROM suggested
    ON CONFLICT (face_id, matched_face_id) DO UPDATE SET similarity = excluded.similarity
),
asset AS (
    UPDATE assets a SET face_detection_data = %(summary)s, face_detection_provider = %(provider)s,
        face_detection_processed_at = now() FROM mine WHERE a.id = mine.asset_id
),
collection AS (
    UPDATE face_collections c SET last_indexed_at = now(),
        face_count = greatest(0, c.face_count + (SELECT count(*) FROM made) - (SELECT count(*) FROM gone))
    FROM mine WHERE c.user_id = mine.user_id
)
SELECT count(*)::int FROM mine"""
