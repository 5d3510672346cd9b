"""The photo library's tables: which assets there are to process, which faces are known, and what is written about them.

The statements stand in `queries.sql`.
"""

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from seedtool.backfill import journal
from seedtool.backfill.journal import Asset
from seedtool.backfill.queries import LibraryConnection, query
from seedtool.backfill.shape import Shape
from seedtool.errors import UsageError
from seedtool.faces.port import Box
from seedtool.postgres.psycopg_errors import reason

#: What is written into assets.face_detection_provider.
PROVIDER = "aws_rekognition"

#: The types of keys that are numbers, and the number that each cannot hold any more.
_LEAST_TOO_LARGE = {"smallint": 1 << 15, "integer": 1 << 31, "bigint": 1 << 63}

# The condition stands in a subquery of its own, where it cannot mean another table's columns.
_CHOSEN = """
SELECT a.user_id::text, a.id::text
FROM (SELECT t.{key} AS key FROM {rows} t WHERE ({condition}
)) chosen JOIN {assets} a ON a.id = chosen.key
WHERE %(user)s::{user_key} IS NULL OR a.user_id = %(user)s::{user_key}"""

#: Rows that a server-side cursor fetches at once.
_FETCH = 5000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which assets are to process.

    Args:
        user_id: of this user only; None for all users that are not deleted.
        limit: at most so many of each user.
        retry_failed: also assets that failed in earlier runs.
        failed_before: of these, only those that failed before this time; None for all.
        reindex_since: also assets that were done or failed before this time.
        gone: also assets that are marked because their faces are gone.
        newer_than: only assets that were created at this time or later.
        chosen: only these assets, by their users; None for all.
    """

    user_id: str | None = None
    limit: int | None = None
    retry_failed: bool = False
    failed_before: datetime | None = None
    reindex_since: Any = None
    gone: bool = False
    newer_than: datetime | None = None
    chosen: dict[str, list[str]] | None = None

    def parameters(self, user_id: str | None = None) -> dict[str, object]:
        """Return the parameters that the statements take, for all users or for one."""
        user_id = user_id or self.user_id
        chosen = None
        if self.chosen is not None:
            users = self.chosen.values() if user_id is None else [self.chosen.get(user_id, [])]
            chosen = list(chain.from_iterable(users))
        return {
            "newer": self.newer_than,
            "chosen": chosen,
            "user": user_id,
            "limit": self.limit,
            "retry": self.retry_failed,
            "before": self.failed_before,
            "since": self.reindex_since,
            "gone": self.gone,
        }


class Census(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is to process.

    Args:
        users: users with assets to process.
        assets: assets to process, at most `limit` of each user.
        skipped: assets that qualify but are not to process: an earlier run or the application has done them, or they
            failed in an earlier run.
        failed_before: the assets among `skipped` that failed.
        collections: how many of the users have a collection that is remembered.
    """

    users: int
    assets: int
    skipped: int
    failed_before: int
    collections: int


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An asset to process."""

    user_id: str
    asset_id: str
    file_name: str
    user_label: str | msgspec.UnsetType = msgspec.UNSET


class CollectionOfUser(msgspec.Struct, frozen=True, kw_only=True):
    """The collection of a user.

    Args:
        user_id: the user.
        id: the collection's id.
        arn: its ARN; None where it was never asked for.
        has_faces: the tables have faces that are in it.
    """

    user_id: str
    id: str
    arn: str | None
    has_faces: bool


class KnownFace(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `faces` that is not deleted.

    Args:
        id: the row's id.
        face_id: Rekognition's id.
        box: where the face is on its photo.
        person_id: the person that the face is linked to.
        own: the face is on the asset that was asked about; otherwise on an earlier one.
        skipped: a user decided to leave the face without a person.
        by_user: a user linked the face to the person.
        exclusions: persons that somebody took the face away from.
    """

    id: str
    face_id: str
    box: Box
    person_id: str | None
    own: bool
    skipped: bool
    by_user: bool = False
    exclusions: tuple[str, ...] = ()


class FaceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `faces` as it is to be written.

    Args:
        id: the row's id.
        stored: the row exists; otherwise it is inserted.
        keep: the row keeps its person, or stays skipped.
        face_id: Rekognition's id.
        box: where the face is on its photo.
        confidence: that it is a face, 0 to 1.
        needs_person: the face waits for a person.
        person_id: the person that the face is linked to.
        similarity: of that link, 0 to 1.
        relink: the system has linked it before; that link is changed.
    """

    id: str
    stored: bool
    keep: bool
    face_id: str
    box: Box
    confidence: float
    needs_person: bool
    person_id: str | None = None
    similarity: float | None = None
    relink: bool = False


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """The face of row `face_id` is like the face of row `matched_face_id`; similarity is 0 to 100."""

    face_id: str
    matched_face_id: str
    similarity: float


class AssetDecision(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is written about an asset.

    Args:
        faces: the rows of its faces.
        gone: ids of rows whose faces are no longer found on the photo.
        suggestions: for faces that wait for a person.
        faces_to_delete: FaceIds to delete from the collection.
        summary: the value of assets.face_detection_data.
        look_again: FaceIds whose assets are to be decided about again, if they are later ones that are done.
    """

    faces: tuple[FaceRow, ...]
    gone: tuple[str, ...]
    suggestions: tuple[Suggestion, ...]
    faces_to_delete: tuple[str, ...]
    summary: dict[str, object]
    look_again: tuple[str, ...] = ()


def check_tables(connection: LibraryConnection) -> None:
    """Check that the database has the photo library's tables, and that this role sees all of their rows.

    Raises:
        SchemaError: a table or column is missing, or cannot be used.
        BlockedError: row-level security may hide rows of a table.
    """
    connection.check()


def labels(connection: LibraryConnection, user_ids: Sequence[str]) -> dict[str, str]:
    """Return the e-mail addresses of users, for whoever decides. Logs must not contain them."""
    return dict(connection.run("labels", [list(user_ids)]).fetchall())


def as_key(shape: Shape, name: str, text: str) -> str | None:
    """Return the key of a row as PostgreSQL writes it; None when a text can be none.

    Args:
        shape: the library's.
        name: the table: `users`, `assets`, `faces` or `persons`.
        text: what was given.
    """
    type_ = shape.type_of(name, "key")
    try:
        if type_ == "uuid":
            return str(uuid.UUID(text))
        if type_ in _LEAST_TOO_LARGE:
            return str(int(text)) if text.isascii() and abs(int(text)) < _LEAST_TOO_LARGE[type_] else None
    except ValueError:
        return None
    return text if text and "\0" not in text else None


def check_user(connection: LibraryConnection, user_id: str) -> None:
    """Check that a user exists and is not deleted.

    Raises:
        UsageError: otherwise, or the text cannot be a user's key.
    """
    if as_key(connection.shape, "users", user_id) is None:
        users = connection.shape.bound["users"]
        column = f"{users.table}.{users.columns['key'].name} ({users.columns['key'].type})"
        raise UsageError(
            f"{user_id!r} is not the id of a user", remedy=f"Give one that stands in {column}.", option="--user-id"
        )
    found = connection.run("user_is_deleted", [user_id]).fetchone()
    if found is None or found[0]:
        fault = "does not exist" if found is None else "is deleted"
        raise UsageError(
            f"the user {user_id} {fault}",
            remedy=f"Look at the users in the table {connection.shape.bound['users'].table}.",
            option="--user-id",
        )


def new_face_ids(connection: LibraryConnection, count: int) -> Iterator[str]:
    """Return keys for new rows of the table of faces."""
    if connection.shape.type_of("faces", "key") == "uuid":
        return (str(uuid.uuid4()) for _ in range(count))
    return iter([id_ for (id_,) in connection.run("new_face_keys", [count])])


def choose(connection: LibraryConnection, condition: str, user_id: str | None) -> dict[str, list[str]]:
    """Return the assets for which a condition on their rows holds, by their users.

    It is evaluated here and nowhere else, in a transaction in which PostgreSQL refuses to change anything.

    Args:
        connection: to the library.
        condition: SQL over the columns of the table of assets.
        user_id: of this user only; None for all.

    Raises:
        UsageError: PostgreSQL does not take the condition, or it fails for a row.
    """
    statement = sql.SQL(_CHOSEN).format(
        assets=connection.shape.relation("assets", has_journal=False),
        rows=connection.shape.rows("assets"),
        key=connection.shape.parts["assets.key"],
        condition=sql.SQL(condition.replace("%", "%%")),
        user_key=connection.shape.parts["user_key"],
    )
    found: dict[str, list[str]] = {}
    try:
        with connection.transaction():
            connection.execute("SET TRANSACTION READ ONLY")
            for user, asset in connection.execute(statement, {"user": user_id}):
                found.setdefault(user, []).append(asset)
    except (psycopg.Error, UnicodeError) as error:
        if isinstance(error, psycopg.OperationalError):
            raise
        fault = reason(error) if isinstance(error, psycopg.Error) else "it is not UTF-8"
        raise UsageError(
            f"--where cannot be used: {fault}",
            remedy=f"Give a condition on the columns of {connection.shape.bound['assets'].table} that changes nothing.",
            option="--where",
        ) from error
    return found


def census(connection: LibraryConnection, wanted: Wanted, *, has_journal: bool) -> Census:
    """Count what there is to process."""
    row = connection.run("census", wanted.parameters(), has_journal=has_journal).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always returns a row
    users, assets, skipped, failed_before, collections = row
    return Census(users=users, assets=assets, skipped=skipped, failed_before=failed_before, collections=collections)


def count_to_process(connection: LibraryConnection, wanted: Wanted, user_ids: Sequence[str]) -> int:
    """Return how many assets of these users are to process now."""
    row = connection.run("count_to_process", {**wanted.parameters(), "users": list(user_ids)}).fetchone()
    return int(row[0]) if row else 0


def counts(connection: LibraryConnection, wanted: Wanted, *, has_journal: bool) -> Iterator[tuple[str, int]]:
    """Yield each user with assets to process, the oldest first, and the number of these assets."""
    with connection.transaction(), connection.cursor(name="seedtool_counts") as cursor:
        cursor.itersize = _FETCH
        cursor.execute(query(connection, "counts", has_journal=has_journal), wanted.parameters())
        yield from cursor


def listing(
    connection: LibraryConnection, wanted: Wanted, *, has_journal: bool, with_labels: bool = False
) -> Iterator[Listed]:
    """Yield all assets to process, user by user, in the order of a run; `with_labels` says who the users are."""
    with connection.transaction(), connection.cursor(name="seedtool_listing") as cursor:
        cursor.itersize = _FETCH
        cursor.execute(query(connection, "listing", has_journal=has_journal), wanted.parameters())
        for user_id, asset_id, file_name, label in cursor:
            shown = label if with_labels and label is not None else msgspec.UNSET
            yield Listed(user_id=user_id, asset_id=asset_id, file_name=file_name, user_label=shown)


def users(connection: LibraryConnection, wanted: Wanted) -> psycopg.ServerCursor[tuple[str, int, bool]]:
    """Return a cursor over the users to process, the oldest first.

    Each comes with the number of assets to process and whether the user is deleted. A deleted user has none, but an
    interrupted run may have left faces in the collection.

    Args:
        connection: outside a transaction; the cursor lives as long as the session.
        wanted: which assets are to process.
    """
    cursor: psycopg.ServerCursor[tuple[str, int, bool]] = connection.cursor(name="seedtool_users", withhold=True)
    cursor.itersize = _FETCH
    cursor.execute(query(connection, "users"), wanted.parameters())
    return cursor


def assets(connection: LibraryConnection, user_id: str, wanted: Wanted) -> psycopg.ServerCursor[tuple[str]]:
    """Return a cursor over the ids of a user's assets to process, in their order.

    Args:
        connection: inside the transaction that holds the user's lock; the cursor lives as long as the transaction.
        user_id: the user.
        wanted: which assets are to process.
    """
    cursor: psycopg.ServerCursor[tuple[str]] = connection.cursor(name=f"seedtool_{user_id}")
    cursor.execute(query(connection, "assets"), wanted.parameters(user_id))
    return cursor


def asset_ids(connection: LibraryConnection, user_id: str, wanted: Wanted) -> frozenset[str]:
    """Return the ids of a user's assets to process."""
    return frozenset(id_ for (id_,) in connection.run("assets", wanted.parameters(user_id)))


def may_be_processed_later(connection: LibraryConnection, user_id: str, ids: Iterable[str]) -> bool:
    """Tell whether an external image id is that of an asset of the user which is neither done nor deleted."""
    return connection.run("may_be_processed_later", [user_id, list(ids)]).fetchone() == (True,)


def close(cursor: psycopg.ServerCursor[Any]) -> None:
    """Close a server-side cursor, even if its connection was lost."""
    try:
        cursor.close()
    except psycopg.OperationalError:
        cursor.close()  # psycopg knows now that the connection is lost, and asks the server nothing


def collection_of(connection: LibraryConnection, user_id: str) -> tuple[str, str | None] | None:
    """Return the id and the ARN of the user's collection; None when no collection is remembered."""
    return connection.run("collection_of", [user_id]).fetchone()


def collections(connection: LibraryConnection, user_id: str | None, prefix: str) -> list[CollectionOfUser]:
    """Return the collections of all users, or of one, that are remembered or that faces are in.

    Args:
        connection: to the target.
        user_id: the user; None for all.
        prefix: what the id of a collection begins with that is not remembered.
    """
    rows = connection.run("collections", {"user": user_id, "prefix": prefix})
    return [CollectionOfUser(user_id=user, id=id_, arn=arn, has_faces=faces) for user, id_, arn, faces in rows]


def forget_collection(connection: LibraryConnection, user_id: str) -> None:
    """Forget that the user's collection exists, so that it is created."""
    connection.run("forget_collection", {"user": user_id})


def faces_to_index_again(connection: LibraryConnection, user_id: str) -> list[str]:
    """Return the FaceIds of a user's assets that are marked because their faces are gone."""
    return [face_id for (face_id,) in connection.run("faces_to_index_again", [user_id])]


def faces_are_there(connection: LibraryConnection, user_id: str, face_ids: Collection[str]) -> None:
    """Remove the marks of a user's assets whose faces are all among these."""
    connection.run("faces_are_there", {"user": user_id, "faces": list(face_ids)})


def faces_are_gone(connection: LibraryConnection, run_id: str, user_id: str) -> int:
    """Mark a user's assets whose faces are gone with their collection; return how many there are."""
    found = connection.run("faces_are_gone", {"run": run_id, "user": user_id}).fetchone()
    return int(found[0]) if found else 0


def users_to_index_again(connection: LibraryConnection, user_id: str | None) -> dict[str, int]:
    """Return how many assets of each user, or of one, are marked because their faces are gone."""
    return dict(connection.run("users_to_index_again", {"user": user_id}).fetchall())


def remember_collection(connection: LibraryConnection, user_id: str, collection_id: str, arn: str) -> None:
    """Write down the user's collection, unless the user is deleted."""
    connection.run("remember_collection", {"user": user_id, "collection": collection_id, "arn": arn})


def still_eligible(connection: LibraryConnection, asset_id: str) -> bool:
    """Tell whether an asset still qualifies: neither it nor its user was deleted, for example."""
    return connection.run("still_eligible", [asset_id]).fetchone() == (True,)


def known_faces(connection: LibraryConnection, asset_id: str, face_ids: Sequence[str]) -> list[KnownFace]:
    """Return the asset's own faces, and those among `face_ids` that are on earlier assets of the same user.

    Args:
        connection: to the target.
        asset_id: the asset.
        face_ids: Rekognition's ids.

    Returns:
        the faces in the order of their assets, and on one asset from left to right and from top to bottom.
    """
    rows = connection.run("known_faces", {"asset": asset_id, "faces": list(face_ids)})
    return [
        KnownFace(
            id=id_,
            face_id=face_id,
            box=Box(left, top, width, height),
            person_id=person,
            own=own,
            skipped=skipped,
            by_user=by_user,
            exclusions=tuple(exclusions),
        )
        for id_, face_id, left, top, width, height, person, own, skipped, by_user, exclusions in rows
    ]


def record(
    connection: LibraryConnection, run_id: str, asset: Asset, decision: AssetDecision, calls: dict[str, int]
) -> bool:
    """Write everything about an asset, and its line in the journal, in one statement.

    Args:
        connection: autocommitting.
        run_id: the run.
        asset: the asset.
        decision: what to write.
        calls: the billed AWS calls that the asset took, by operation.

    Returns:
        False when nothing was written: the line belongs to another run, or the asset no longer qualifies.
    """
    found = connection.run(
        "record",
        {
            "run": run_id,
            "asset": asset.id,
            "faces": Jsonb(msgspec.to_builtins(decision.faces)),
            "suggestions": Jsonb(msgspec.to_builtins(decision.suggestions)),
            "gone": list(decision.gone),
            "faces_to_delete": list(decision.faces_to_delete) or None,
            "summary": Jsonb(decision.summary),
            "count": len(decision.faces),
            "again": asset.again,
            "look_again": list(decision.look_again),
            "provider": PROVIDER,
            **journal.call_counts(asset, calls),
        },
    ).fetchone()
    return found == (1,)
