"""The journal: what was begun and how it ended, kept in the database it tells of, in the schema `seedtool`.

An asset's line says `started` before its IndexFaces is sent, and `done` in the statement that writes its faces. So a
line that says `started` after a crash is one whose faces may be in the collection and are in no row: they are adopted.
Beside the state stands which run it was: a run that lost its lock on a user without noticing can write nothing more.
"""

from collections.abc import Sequence
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg import errors as pg
from psycopg import sql

from seedtool.errors import DatabaseError

#: The journal in a statement's FROM.
ASSETS = sql.SQL("seedtool.backfill_assets")

#: In its place where there is no journal yet and none may be made: what a dry run reads.
NOTHING = sql.SQL(
    "(SELECT NULL::uuid AS asset_id, NULL::uuid AS user_id, NULL::text AS state, NULL::timestamptz AS finished_at,"
    " NULL::text[] AS dropping, NULL::int AS faces WHERE false)"
)

#: A row that somebody sits on for so long fails its asset, not the run.
LOCK_TIMEOUT = "30s"

#: any number will do, as long as every backfill of this database asks for the same one ("back" in ASCII)
_LOCK = 0x6261636B


class Unfinished(msgspec.Struct, frozen=True):
    """An asset whose faces may be in the collection without rows; `wanted`: it still qualifies."""

    asset_id: str
    wanted: bool


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """An asset that was begun.

    Args:
        id: its id, and the ExternalImageId of its faces.
        user_id: whose it is.
        storage_url: where its photo is.
        file_name: what a report calls it.
        attempts: how often it was begun, this time included.
        reindex: its faces are to be deleted and made anew.
        face_ids: Rekognition's ids in its rows.
    """

    id: str
    user_id: str
    storage_url: str
    file_name: str
    attempts: int
    reindex: bool
    face_ids: tuple[str, ...]


def exists(connection: psycopg.Connection) -> bool:
    """Tell whether a backfill has kept a journal here."""
    return connection.execute("SELECT to_regclass('seedtool.backfill_assets') IS NOT NULL").fetchone() == (True,)


def ensure(connection: psycopg.Connection) -> None:
    """Make the journal's tables if need be.

    Raises:
        DatabaseError: this role may not.
    """
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            # not IF NOT EXISTS: that asks for the right to create even where there is nothing to do
            for missing, create in _TABLES:
                if connection.execute(missing).fetchone() == (True,):
                    connection.execute(create)
    except pg.InsufficientPrivilege as error:
        raise DatabaseError(
            "the backfill's journal cannot be made: this role may not create the schema seedtool or tables in it",
            remedy="GRANT CREATE ON DATABASE ... TO the role, or let the owner run one backfill.",
        ) from error


def unfinished(connection: psycopg.Connection, user_id: str, *, failed: bool, eligible: sql.SQL) -> list[Unfinished]:
    """Return the user's assets whose faces may be in the collection without rows.

    Args:
        connection: to the database.
        user_id: the user.
        failed: also those that failed: an answer may have been lost.
        eligible: the condition on `assets a` for those that qualify.
    """
    states = ["started", "failed"] if failed else ["started"]
    rows = connection.execute(sql.SQL(_UNFINISHED).format(eligible=eligible), [user_id, states])
    return [Unfinished(*row) for row in rows]


def dropping(connection: psycopg.Connection, user_id: str) -> list[tuple[str, list[str]]]:
    """Return the faces of the user that were too small and may still be in the collection: (asset, FaceIds)."""
    return connection.execute(_DROPPING, [user_id]).fetchall()


def start(
    connection: psycopg.Connection, run: str, asset_ids: Sequence[str], *, again: bool, eligible: sql.SQL
) -> list[Asset]:
    """Write down that assets are begun, and return them; those that no longer qualify are left out. Commits.

    Args:
        connection: autocommitting.
        run: the run's id.
        asset_ids: the assets, in their order.
        again: those that were done are to be indexed anew.
        eligible: the condition on `assets a` for those that qualify.
    """
    rows = connection.execute(
        sql.SQL(_START).format(eligible=eligible), {"run": run, "ids": list(asset_ids), "reindex": again}
    ).fetchall()
    return [
        Asset(
            id=id_,
            user_id=user,
            storage_url=url,
            file_name=name,
            attempts=attempts,
            reindex=again,
            face_ids=tuple(face_ids),
        )
        for id_, user, url, name, attempts, again, face_ids in rows
    ]


def finish(connection: psycopg.Connection, run: str, asset_id: str, faces: int, calls: dict[str, int]) -> bool:
    """Write down that an asset is done whose rows somebody else wrote; False when its line is not this run's."""
    parameters = {"run": run, "asset": asset_id, "faces": faces, **spent(calls)}
    return connection.execute(_FINISH, parameters).fetchone() is not None


def fail(
    connection: psycopg.Connection, run: str, asset_id: str, cause: str, remedy: str, calls: dict[str, int]
) -> None:
    """Write down that an asset failed, and why."""
    connection.execute(_FAIL, {"run": run, "asset": asset_id, "cause": cause, "remedy": remedy, **spent(calls)})


def skip(connection: psycopg.Connection, asset_ids: Sequence[str], face_ids: dict[str, list[str]]) -> None:
    """Write down that assets do not qualify any more, and that the faces they have in the collection are to go."""
    connection.cursor().executemany(_SKIP, [{"asset": id_, "faces": face_ids.get(id_) or None} for id_ in asset_ids])


def dropped(connection: psycopg.Connection, asset_ids: Sequence[str]) -> None:
    """Write down that faces that were to go are gone."""
    connection.execute(_DROPPED, [list(asset_ids)])


def state(connection: psycopg.Connection, asset_id: str) -> tuple[str, str]:
    """Return an asset's state and run."""
    found = connection.execute("SELECT state, run::text FROM seedtool.backfill_assets WHERE asset_id = %s", [asset_id])
    return found.fetchone() or ("", "")


def spent(calls: dict[str, int]) -> dict[str, int]:
    """Return an asset's calls as the statements' parameters."""
    return {"indexed": calls.get("IndexFaces", 0), "searched": calls.get("SearchFaces", 0)}


def begin_reindex(connection: psycopg.Connection, scope: str) -> Any:  # noqa: ANN401 - a timestamp, handed back as it is
    """Return since when everything is being indexed again: an interrupted round goes on, or a new one begins."""
    found = connection.execute(_BEGIN_REINDEX, [scope]).fetchone()
    assert found is not None  # noqa: S101 - the statement returns a row
    return found[0]


def reindex_since(connection: psycopg.Connection, scope: str) -> Any:  # noqa: ANN401 - as above
    """Return since when everything is being indexed again; None when no round was interrupted."""
    found = connection.execute("SELECT began_at FROM seedtool.backfill_reindex WHERE scope = %s", [scope]).fetchone()
    return found[0] if found else None


def end_reindex(connection: psycopg.Connection, scope: str) -> None:
    """Write down that everything was indexed again."""
    connection.execute("DELETE FROM seedtool.backfill_reindex WHERE scope = %s", [scope])


def faces_a_photo(connection: psycopg.Connection) -> float | None:
    """Return how many faces a photo had so far; None while too few are known to tell."""
    found = connection.execute(_FACES_A_PHOTO).fetchone()
    return float(found[0]) if found and found[0] is not None else None


_TABLES: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("SELECT to_regnamespace('seedtool') IS NULL", "CREATE SCHEMA seedtool"),
    (
        "SELECT to_regclass('seedtool.backfill_users') IS NULL",
        """
CREATE TABLE seedtool.backfill_users (user_id uuid PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now());
COMMENT ON TABLE seedtool.backfill_users IS
'Users of seedtool backfill; a row is locked as long as a run is at work on the user';""",
    ),
    (
        "SELECT to_regclass('seedtool.backfill_assets') IS NULL",
        """
CREATE TABLE seedtool.backfill_assets (
    asset_id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('started', 'done', 'failed', 'skipped')),
    run uuid NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    reindex boolean NOT NULL DEFAULT false,
    faces integer,
    cause text,
    remedy text,
    index_calls integer NOT NULL DEFAULT 0,
    search_calls integer NOT NULL DEFAULT 0,
    dropping text[],
    started_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX backfill_assets_open ON seedtool.backfill_assets (user_id)
WHERE state IN ('started', 'failed') OR dropping IS NOT NULL;
COMMENT ON TABLE seedtool.backfill_assets IS
'How each asset fared in seedtool backfill, and the calls of AWS that it took';
COMMENT ON COLUMN seedtool.backfill_assets.dropping IS
'FaceIds that are to be deleted from the collection: too small, or of an asset that was deleted meanwhile';""",
    ),
    (
        "SELECT to_regclass('seedtool.backfill_reindex') IS NULL",
        """
CREATE TABLE seedtool.backfill_reindex (scope text PRIMARY KEY, began_at timestamptz NOT NULL);
COMMENT ON TABLE seedtool.backfill_reindex IS
'Rounds of seedtool backfill --reindex that were interrupted: what was done since is not done again';""",
    ),
    (
        "SELECT to_regclass('seedtool.face_matches') IS NULL",
        """
CREATE TABLE seedtool.face_matches (
    face_id uuid NOT NULL,
    matched_face_id uuid NOT NULL,
    similarity numeric(7, 4) NOT NULL,
    PRIMARY KEY (face_id, matched_face_id)
);
CREATE INDEX face_matches_matched ON seedtool.face_matches (matched_face_id);
COMMENT ON TABLE seedtool.face_matches IS
'Suggestions for faces that await a person: rows of faces, and how similar they are (0 to 100)';""",
    ),
)

_UNFINISHED: LiteralString = """
SELECT j.asset_id::text, coalesce({eligible}, false)
FROM seedtool.backfill_assets j LEFT JOIN assets a ON a.id = j.asset_id
WHERE j.user_id = %s AND j.state IN ('started', 'failed') AND j.state = ANY(%s)"""

_DROPPING = """
SELECT asset_id::text, dropping FROM seedtool.backfill_assets WHERE user_id = %s AND dropping IS NOT NULL"""

_START: LiteralString = """
WITH begun AS (
    INSERT INTO seedtool.backfill_assets AS j (asset_id, user_id, state, run, reindex, started_at)
    SELECT a.id, a.user_id, 'started', %(run)s, false, clock_timestamp()
    FROM assets a WHERE a.id = ANY(%(ids)s::uuid[]) AND {eligible}
    ON CONFLICT (asset_id) DO UPDATE SET
        state = 'started', run = excluded.run, started_at = excluded.started_at, finished_at = NULL,
        attempts = j.attempts + 1, cause = NULL, remedy = NULL,
        reindex = j.reindex OR %(reindex)s AND j.state <> 'started'
    RETURNING j.asset_id, j.attempts, j.reindex
)
SELECT a.id::text, a.user_id::text, a.storage_url, a.file_name, b.attempts, b.reindex,
    ARRAY(SELECT f.rekognition_face_id FROM faces f WHERE f.asset_id = a.id AND NOT f.deleted AND b.reindex)
FROM begun b JOIN assets a ON a.id = b.asset_id
ORDER BY array_position(%(ids)s::uuid[], a.id)"""

_FINISH = """
UPDATE seedtool.backfill_assets SET state = 'done', faces = %(faces)s, reindex = false, cause = NULL, remedy = NULL,
    finished_at = clock_timestamp(),
    index_calls = index_calls + %(indexed)s, search_calls = search_calls + %(searched)s
WHERE asset_id = %(asset)s AND run = %(run)s AND state = 'started' RETURNING asset_id"""

_FAIL = """
UPDATE seedtool.backfill_assets SET state = 'failed', cause = %(cause)s, remedy = %(remedy)s,
    finished_at = clock_timestamp(),
    index_calls = index_calls + %(indexed)s, search_calls = search_calls + %(searched)s
WHERE asset_id = %(asset)s AND run = %(run)s AND state = 'started'"""

_SKIP = """
UPDATE seedtool.backfill_assets SET state = 'skipped', cause = 'the asset was deleted or disapproved meanwhile',
    finished_at = clock_timestamp(), dropping = %(faces)s
WHERE asset_id = %(asset)s AND state <> 'done'"""

_DROPPED = "UPDATE seedtool.backfill_assets SET dropping = NULL WHERE asset_id = ANY(%s::uuid[])"

_BEGIN_REINDEX = """
INSERT INTO seedtool.backfill_reindex AS r (scope, began_at) VALUES (%s, clock_timestamp())
ON CONFLICT (scope) DO UPDATE SET began_at = r.began_at RETURNING began_at"""

# a sample of the latest is enough, and a photo or two say nothing yet
_FACES_A_PHOTO = """
SELECT CASE WHEN count(*) >= 20 THEN avg(faces) END FROM (
    SELECT faces FROM seedtool.backfill_assets WHERE state = 'done' AND faces IS NOT NULL LIMIT 10000) latest"""
