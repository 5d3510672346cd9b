"""The journal: which assets were started and how each ended. It lives in the target, in the schema `seedtool`.

The line of an asset says `started` before IndexFaces is called, and `done` in the same statement that writes its faces.
After a crash, an asset that says `started` may have faces in the collection that no row knows; the next run adopts
them. The line also names its run: a run that has lost the lock on a user without noticing can write nothing more.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg import errors as pg

from seedtool.backfill.queries import LibraryConnection, query
from seedtool.backfill.report import Report
from seedtool.faces.port import Face
from seedtool.postgres.cluster import take_lock
from seedtool.postgres.psycopg_errors import translate

#: How long a statement waits for a row that another session holds. Then its asset fails; the run goes on.
LOCK_TIMEOUT = "30s"

#: The key of the advisory lock under which the tables are created. Any number will do that every run uses ("back").
_LOCK = 0x6261636B

_TABLES = (
    "backfill_users",
    "backfill_assets",
    "backfill_reindex",
    "backfill_collections",
    "backfill_again",
    "backfill_runs",
    "face_matches",
    "face_exclusions",
    "review_actions",
)

#: Tables for what a library has no table or no columns for.
COLLECTIONS, DETAILS = "face_collections", "face_details"


class Unfinished(msgspec.Struct, frozen=True):
    """An asset that may have faces in the collection that no row knows; `eligible`: it and its user still qualify."""

    asset_id: str
    eligible: bool


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """An asset that was started.

    Args:
        id: its id, which is also the ExternalImageId of its faces.
        user_id: its user.
        storage_url: where its photo is.
        file_name: its name in reports.
        attempts: how often it was started, including this time.
        reindex: its faces are to be deleted and indexed again.
        face_ids: Rekognition's ids in its rows; only with `reindex`.
        index_calls: calls of IndexFaces that `start` has counted in advance.
        again: it is done, and is only decided about again.
    """

    id: str
    user_id: str
    storage_url: str
    file_name: str
    attempts: int
    reindex: bool
    face_ids: tuple[str, ...]
    index_calls: int = 0
    again: bool = False


class KeptReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a run.

    Args:
        run: its id.
        began: when it began.
        updated: when the report was written.
        ended: the run has ended, and this is its last report.
        fresh: the report was written in the last 30 seconds.
        report: what the run did until then; None when another version of seedtool has written it.
    """

    run: str
    began: datetime
    updated: datetime
    ended: bool
    fresh: bool
    report: Report | None


def exists(connection: LibraryConnection) -> bool:
    """Tell whether the database has a journal."""
    return has_table(connection, "backfill_assets")


def ensure(connection: LibraryConnection) -> None:
    """Create the journal's tables that do not exist yet.

    Raises:
        DatabaseError: the role may not create them.
    """
    try:
        with connection.transaction():
            take_lock(connection, _LOCK, "the backfill's tables")
            # IF NOT EXISTS would need the privilege to create even where nothing is to be created
            if connection.execute("SELECT to_regnamespace('seedtool') IS NULL").fetchone() == (True,):
                connection.run("create_schema")
            has = connection.shape.has
            own = ((COLLECTIONS, "collections" not in has), (DETAILS, "details" in has))
            wanted = [*_TABLES, *(table for table, lacks in own if lacks)]
            missing = [table for table in wanted if not has_table(connection, table)]
            for table in missing:
                connection.execute(query(connection, f"create_{table}"))  # several commands take no parameters
            if missing:
                connection.forget_shape()
    except pg.InsufficientPrivilege as error:
        raise translate(
            error,
            "the backfill's journal cannot be created",
            remedy="GRANT CREATE ON DATABASE ... TO the role, or let the owner of the database run one backfill.",
        ) from error


def unfinished(connection: LibraryConnection, user_id: str, *, failed: bool) -> list[Unfinished]:
    """Return the user's assets that may have faces in the collection that no row knows.

    Args:
        connection: to the target.
        user_id: the user.
        failed: also assets that failed: the answer of their IndexFaces may have been lost.
    """
    states = ["started", "failed"] if failed else ["started"]
    return [Unfinished(*row) for row in connection.run("unfinished", [user_id, states])]


def faces_to_delete(connection: LibraryConnection, user_id: str) -> dict[str, list[str]]:
    """Return the FaceIds that are still to delete from the user's collection, by asset."""
    return dict(connection.run("faces_to_delete", [user_id]).fetchall())


def database_and_time(connection: LibraryConnection) -> tuple[int, datetime]:
    """Return the oid of the database, and the server's time."""
    found: tuple[int, datetime] | None = connection.run("database_and_time").fetchone()
    assert found is not None  # noqa: S101 - we are connected to it
    return found


def collection_is_known(connection: LibraryConnection, user_id: str, collection_id: str) -> bool:
    """Tell whether the user's collection holds no face of an asset that is still to process."""
    parameters = {"user": user_id, "collection": collection_id}
    return connection.run("collection_is_known", parameters).fetchone() is not None


def know_collection(connection: LibraryConnection, user_id: str, collection_id: str) -> None:
    """Write down that the user's collection holds no face of an asset that is still to process."""
    connection.run("know_collection", {"user": user_id, "collection": collection_id})


def start(
    connection: LibraryConnection, run_id: str, asset_ids: Sequence[str], *, reindex: bool, index_calls: int
) -> list[Asset]:
    """Write down that assets are started, and commit.

    Args:
        connection: autocommitting.
        run_id: the run.
        asset_ids: the assets, in their order.
        reindex: assets that are done are to be indexed again.
        index_calls: calls of IndexFaces that each asset will need, counted in advance.

    Returns:
        the assets, without those that no longer qualify.
    """
    parameters = {"run": run_id, "ids": list(asset_ids), "reindex": reindex, "index_calls": index_calls}
    rows = connection.run("start", parameters)
    return [
        Asset(
            id=id_,
            user_id=user,
            storage_url=url,
            file_name=name,
            attempts=attempts,
            reindex=reindex_this,
            face_ids=tuple(face_ids),
            index_calls=index_calls,
        )
        for id_, user, url, name, attempts, reindex_this, face_ids in rows
    ]


def to_decide_again(
    connection: LibraryConnection, user_id: str, queued: Sequence[str], most: int
) -> list[tuple[Asset, tuple[Face, ...]]]:
    """Return a user's assets to decide about again, in their order, and the faces of each.

    Args:
        connection: to the target.
        user_id: the user.
        queued: ids of assets to leave out.
        most: at most so many.
    """
    rows = connection.run("to_decide_again", {"user": user_id, "queued": list(queued), "limit": most})
    return [
        (
            Asset(
                id=id_,
                user_id=user,
                storage_url=url,
                file_name=name,
                attempts=attempts,
                reindex=False,
                face_ids=(),
                again=True,
            ),
            tuple(msgspec.convert(faces, list[Face])),
        )
        for id_, user, url, name, attempts, faces in rows
    ]


def is_decided_again(connection: LibraryConnection, asset_id: str) -> None:
    """Write down that an asset need not be decided about again."""
    connection.run("is_decided_again", [asset_id])


def finish(connection: LibraryConnection, run_id: str, asset: Asset, faces: int, calls: dict[str, int]) -> bool:
    """Write down that an asset is done whose rows an application wrote.

    Returns:
        False when nothing was written: the line belongs to another run.
    """
    parameters = {"run": run_id, "asset": asset.id, "faces": faces, **call_counts(asset, calls)}
    return connection.run("finish", parameters).fetchone() is not None


def fail(
    connection: LibraryConnection, run_id: str, asset: Asset, cause: str, remedy: str, calls: dict[str, int]
) -> None:
    """Write down that an asset failed, and why."""
    parameters = {"run": run_id, "asset": asset.id, "cause": cause, "remedy": remedy, **call_counts(asset, calls)}
    connection.run("fail", parameters)


def add_calls(connection: LibraryConnection, run_id: str, asset: Asset, calls: dict[str, int]) -> None:
    """Write down the calls of an asset that neither succeeded nor failed."""
    connection.run("add_calls", {"run": run_id, "asset": asset.id, **call_counts(asset, calls)})


def skip(connection: LibraryConnection, faces: dict[str, list[str]]) -> None:
    """Write down that assets no longer qualify, and which faces are to delete from the collection.

    Args:
        connection: autocommitting.
        faces: FaceIds by asset; empty for an asset without faces.
    """
    connection.cursor().executemany(
        query(connection, "skip"),
        [{"asset": asset_id, "faces": face_ids or None} for asset_id, face_ids in faces.items()],
    )


def faces_are_deleted(connection: LibraryConnection, asset_ids: Sequence[str]) -> None:
    """Write down that the faces that were to delete are deleted."""
    connection.run("faces_are_deleted", [list(asset_ids)])


def state_and_run(connection: LibraryConnection, asset_id: str) -> tuple[str, str]:
    """Return an asset's state and the run that wrote it; two empty texts when there is no line."""
    return connection.run("state_and_run", [asset_id]).fetchone() or ("", "")


def call_counts(asset: Asset, calls: dict[str, int]) -> dict[str, int]:
    """Return how much the statements add to an asset's numbers of calls.

    Args:
        asset: the asset, as `start` returned it.
        calls: the billed calls that it took since, by operation.
    """
    return {
        "index_calls": calls.get("IndexFaces", 0) - asset.index_calls,
        "search_calls": calls.get("SearchFaces", 0),
    }


def begin_reindex(connection: LibraryConnection, scope: str) -> datetime:
    """Begin a round of indexing everything again, or continue one that was interrupted; return when it began."""
    found: tuple[datetime] | None = connection.run("begin_reindex", [scope]).fetchone()
    assert found is not None  # noqa: S101 - the statement returns a row
    return found[0]


def reindex_since(connection: LibraryConnection, scope: str) -> datetime | None:
    """Return when an interrupted round of indexing everything again began; None when there is none."""
    found: tuple[datetime] | None = connection.run("reindex_since", [scope]).fetchone()
    return found[0] if found else None


def end_reindex(connection: LibraryConnection, scope: str) -> None:
    """Write down that a round of indexing everything again is complete."""
    connection.run("end_reindex", [scope])


def faces_per_photo(connection: LibraryConnection) -> float | None:
    """Return the mean number of faces on the photos that were done last; None while there are fewer than 20 photos."""
    found = connection.run("faces_per_photo").fetchone()
    return float(found[0]) if found and found[0] is not None else None


def keep_report(connection: LibraryConnection, run_id: str, report: Report, *, ended: bool) -> None:
    """Keep what a run has done so far, in place of what it had done before; those of the last 100 runs are kept."""
    # not jsonb: it refuses U+0000, which the cause of an error may hold
    encoded = msgspec.json.encode(report).decode()
    parameters = {"run": run_id, "seconds": report.seconds, "ended": ended, "report": encoded}
    connection.run("keep_report", parameters)


def reports(connection: LibraryConnection, run_id: str | None = None) -> list[KeptReport]:
    """Return the reports of the last 20 runs, the latest first, or that of one run."""
    if not has_table(connection, "backfill_runs"):
        return []
    rows = connection.run("reports", {"run": run_id})
    return [
        KeptReport(run=run, began=began, updated=updated, ended=ended, fresh=fresh, report=_report(text))
        for run, began, updated, ended, fresh, text in rows
    ]


def _report(text: str) -> Report | None:
    try:
        return msgspec.json.decode(text, type=Report)
    except msgspec.ValidationError:
        return None


def has_table(connection: LibraryConnection, table: str) -> bool:
    """Tell whether the database has a table of the journal, which a later version may have added."""
    found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [f"seedtool.{table}"]).fetchone()
    return found == (True,)
