"""Linking one table's rows to the faces of one collection, in SQL, and what there is to tell about it.

Pages of ListFaces are COPYed into a temporary table; memory does not grow with the collection. Which FaceId a row
gets: the one it has, as long as the collection still holds that under *this row's* external image id; else, of the
faces under its id, the one with the highest confidence, ties by FaceId. A row that holds a real FaceId which the
collection no longer has, with no other face under its id, is reported as missing and left: it may be the wrong
collection or account that was asked. A row that holds a face which the collection has under the id of *another* row
points at somebody else, and goes back to its placeholder.
"""

from collections.abc import Callable, Iterable
from typing import LiteralString

import msgspec
import psycopg
from psycopg import errors as pg
from psycopg import sql

from seedtool.faces import bindings
from seedtool.faces.aws.answers import Face
from seedtool.faces.aws.collection import PAGE, Collection
from seedtool.faces.bindings import Bound
from seedtool.faces.external_id import TEMPORARY_PREFIX

#: How many ids a report names at most.
EXAMPLES = 20


class Tally(msgspec.Struct, frozen=True):
    """How many, and the first few ids."""

    count: int = 0
    examples: tuple[str, ...] = ()


class Unlinked(msgspec.Struct, frozen=True, kw_only=True):
    """A row that still holds a placeholder.

    Args:
        row: its key.
        external_image_id: the id its photo should be indexed under.
        why: `not indexed`, `indexed otherwise`, `shared` or `no id`.
        instead: the id that the photo seems to be indexed under instead.
    """

    row: str
    external_image_id: str | None
    why: str
    instead: str | None = None


class BindingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a sync found and did for one table.

    Args:
        table: the table.
        collection: the collection.
        rows: rows of the table.
        faces: faces of the collection.
        synced: placeholders that became real FaceIds.
        relinked: rows whose FaceId was replaced by the one now under their external image id.
        unchanged: rows that were right already.
        placeholders: rows without a face afterwards, by reason (see `Unlinked.why`).
        unlinked: the first of these rows.
        cures: what to do about the placeholders.
        duplicates: further faces under an id that a row is linked by.
        orphans: faces under ids that this database does not know; another database may, so they are never deleted.
        unnamed: faces that were indexed without an external image id and that no row points at.
        temporary: faces that an attendance run left behind; never linked.
        elsewhere: rows that point at a face which the collection has under another id or none; left as they are, and
            lost at the next reset.
        missing: rows that point at a face which is not in the collection; left as they are.
        misassigned: rows that pointed at the face of another row; they hold a placeholder again.
    """

    table: str
    collection: str
    rows: int
    faces: int
    synced: int
    relinked: int
    unchanged: int
    placeholders: dict[str, int]
    unlinked: tuple[Unlinked, ...]
    cures: tuple[str, ...]
    duplicates: Tally
    orphans: Tally
    unnamed: Tally
    temporary: Tally
    elsewhere: Tally
    missing: Tally
    misassigned: Tally

    @property
    def complete(self) -> bool:
        """Whether every row is linked to a face of the collection."""
        return not self.placeholders and not self.missing.count


def link(
    connection: psycopg.Connection,
    bound: Bound,
    collection: Collection,
    *,
    page_size: int = PAGE,
    tell: Callable[[int], None] = lambda _: None,
) -> BindingReport:
    """Link one table's rows inside the caller's transaction. Leaves `seedtool_listed`, the collection's faces, behind.

    Args:
        connection: inside a transaction.
        bound: the table.
        collection: the collection.
        page_size: faces a page.
        tell: told the number of faces listed.
    """
    with bindings.database_errors(bound.binding.table):
        connection.execute(_DROP)
        connection.execute(_LISTED)
        faces = _copy(connection, collection.list_pages(page_size), tell)
        _run(connection, _CHOSEN, bound)
        _run(connection, _SETTLE_SEVERAL, bound)
        _run(connection, _SHARED, bound)
        connection.execute(_DROP_SHARED)
        counts = _counts(connection, bound)
        unsure = counts.pop("unsure")
        misassigned = elsewhere = missing = Tally()
        if unsure:
            _run(connection, _UNSURE, bound)
            misassigned, elsewhere, missing = (
                _tally(connection, sql.SQL(text), bound) for text in (_MISASSIGNED, _ELSEWHERE, _MISSING)
            )
            if misassigned.count:
                _run(connection, _UNASSIGN, bound)
        if counts["synced"] or counts["relinked"]:
            _write(connection, bound)
        placeholders, unlinked = _unlinked(connection, bound)
        unnamed = _tally(connection, sql.SQL(_UNNAMED), bound)
        return BindingReport(
            table=bound.binding.table,
            collection=collection.id,
            faces=faces,
            **counts,
            placeholders=placeholders,
            unlinked=unlinked,
            cures=_cures(placeholders, collection.id, unnamed.count),
            duplicates=_tally(connection, sql.SQL(_DUPLICATES), bound),
            orphans=_tally(connection, sql.SQL(_ORPHANS), bound),
            unnamed=unnamed,
            temporary=_tally(connection, sql.SQL(_TEMPORARY), bound),
            elsewhere=elsewhere,
            missing=missing,
            misassigned=misassigned,
        )


def _copy(connection: psycopg.Connection, pages: Iterable[list[Face]], tell: Callable[[int], None]) -> int:
    """COPY the pages as they come, in one statement, and return how many faces they held."""
    faces = 0
    with connection.cursor() as cursor:
        with cursor.copy("COPY pg_temp.seedtool_listed FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["text", "text", "float8"])
            for page in pages:
                for face in page:
                    copy.write_row((face.face_id, face.external_image_id, face.confidence))
                faces += len(page)
                tell(faces)
        cursor.execute("ANALYZE pg_temp.seedtool_listed")
    return faces


def _counts(connection: psycopg.Connection, bound: Bound) -> dict[str, int]:
    cursor = _run(connection, _COUNTS, bound)
    row = cursor.fetchone()
    names = [column.name for column in cursor.description or ()]
    return dict(zip(names, row or (), strict=True))


def _write(connection: psycopg.Connection, bound: Bound) -> None:
    """Write the real FaceIds. Rows that exchange theirs under a unique index first let go of what they have."""
    if not bound.unique_face:
        _run(connection, _UPDATE, bound)
        return
    try:
        with connection.transaction():
            _run(connection, _UPDATE, bound)
    except pg.UniqueViolation:
        _run(connection, _LET_GO, bound)
        _run(connection, _UPDATE, bound)


def _unlinked(connection: psycopg.Connection, bound: Bound) -> tuple[dict[str, int], tuple[Unlinked, ...]]:
    if not _tally(connection, sql.SQL(_WITHOUT_FACE), bound).count:
        return {}, ()
    _run(connection, _UNLINKED, bound)
    reasons = connection.execute("SELECT why, count(*) FROM pg_temp.seedtool_unlinked GROUP BY why ORDER BY why")
    placeholders: dict[str, int] = dict(reasons.fetchall())
    rows = connection.execute(_FIRST_UNLINKED, [EXAMPLES]).fetchall()
    return placeholders, tuple(
        Unlinked(row=key, external_image_id=external, why=why, instead=instead) for key, external, why, instead in rows
    )


def _cures(placeholders: dict[str, int], collection: str, unnamed: int) -> tuple[str, ...]:
    cures = {
        "not indexed": f"No photo is indexed under these ids in {collection}: run seedtool enroll --all, or check that "
        "account, region and collection are the ones that hold the faces.",
        "indexed otherwise": "These photos are indexed under another id: write that id into the seed file, or run "
        "seedtool enroll --all to index them under this one as well.",
        "shared": "Several rows share one external image id, so it cannot tell which face is whose.",
        "no id": "These rows have no external image id: fill it ({student_id}-photo-{n}) and index the photo under it.",
    }
    if unnamed:
        cures["not indexed"] += (
            f" {unnamed} faces there carry no id: whose they are cannot be told, so index these photos again."
        )
    return tuple(cures[why] for why in placeholders)


def _tally(connection: psycopg.Connection, query: sql.SQL, bound: Bound) -> Tally:
    rows = query.format(rows=bound.rows, temporary=sql.Literal(TEMPORARY_PREFIX))
    found = connection.execute(
        sql.SQL(
            "SELECT (SELECT count(*) FROM ({rows}) q), ARRAY(SELECT id FROM ({rows}) q ORDER BY 1 LIMIT {n})"
        ).format(rows=rows, n=sql.Literal(EXAMPLES))
    ).fetchone()
    return Tally(found[0], tuple(found[1])) if found and found[0] else Tally()


def _run(connection: psycopg.Connection, statement: LiteralString, bound: Bound) -> psycopg.Cursor:
    return connection.execute(
        sql.SQL(statement).format(
            rows=bound.rows,
            table=bound.table,
            face_id=bound.face_id,
            face_type=bound.face_type,
            external_image_id=bound.external_image_id,
            key=bound.key,
            empty=bound.empty,
            temporary=sql.Literal(TEMPORARY_PREFIX),
        )
    )


_TALLY = """
WITH q AS MATERIALIZED ({query})
SELECT (SELECT count(*) FROM q), ARRAY(SELECT id FROM q ORDER BY id LIMIT {examples})"""

_DROP = """
DROP TABLE IF EXISTS pg_temp.seedtool_listed, pg_temp.seedtool_chosen, pg_temp.seedtool_shared,
    pg_temp.seedtool_unsure, pg_temp.seedtool_unlinked"""

_LISTED = """
CREATE TEMPORARY TABLE seedtool_listed (
    face_id text COLLATE "C" NOT NULL, external_image_id text COLLATE "C", confidence float8 NOT NULL
) ON COMMIT DROP"""

# A face that moved between pages may have been listed twice: several means several FaceIds.
_CHOSEN = """
CREATE TEMPORARY TABLE seedtool_chosen ON COMMIT DROP AS
SELECT external_image_id, min(face_id) AS face_id, min(face_id) <> max(face_id) AS several
FROM pg_temp.seedtool_listed
WHERE external_image_id IS NOT NULL AND NOT starts_with(external_image_id, {temporary})
GROUP BY external_image_id"""

_SETTLE_SEVERAL = """
UPDATE pg_temp.seedtool_chosen c SET face_id = best.face_id
FROM (
    SELECT DISTINCT ON (l.external_image_id) l.external_image_id, l.face_id
    FROM pg_temp.seedtool_listed l
    JOIN pg_temp.seedtool_chosen d ON d.several AND d.external_image_id = l.external_image_id
    LEFT JOIN {rows} r ON r.external_image_id = l.external_image_id AND r.face_id = l.face_id
    ORDER BY l.external_image_id, r.face_id IS NULL, l.confidence DESC, l.face_id
) best
WHERE c.several AND c.external_image_id = best.external_image_id"""

_SHARED = """
CREATE TEMPORARY TABLE seedtool_shared ON COMMIT DROP AS
SELECT external_image_id FROM {rows} r WHERE external_image_id IS NOT NULL
GROUP BY external_image_id HAVING count(*) > 1"""

_DROP_SHARED = """
DELETE FROM pg_temp.seedtool_chosen c USING pg_temp.seedtool_shared s
WHERE s.external_image_id = c.external_image_id"""

_COUNTS = """
SELECT count(*) AS rows,
    count(*) FILTER (WHERE c.face_id IS NOT NULL AND r.face_id IS NULL) AS synced,
    count(*) FILTER (WHERE c.face_id <> r.face_id) AS relinked,
    count(*) FILTER (WHERE c.face_id = r.face_id) AS unchanged,
    count(*) FILTER (WHERE c.face_id IS NULL AND r.face_id IS NOT NULL) AS unsure
FROM {rows} r LEFT JOIN pg_temp.seedtool_chosen c ON c.external_image_id = r.external_image_id"""

# Rows with a real FaceId and no face under their own id: whose face is it? A row without an id of its own, as writers
# from before revision 0003 leave them, is believed.
_UNSURE = """
CREATE TEMPORARY TABLE seedtool_unsure ON COMMIT DROP AS
SELECT r.key, r.external_image_id, r.face_id, bool_or(l.face_id IS NOT NULL) AS listed,
    bool_or(o.external_image_id IS NOT NULL) AS others
FROM {rows} r
LEFT JOIN pg_temp.seedtool_chosen c ON c.external_image_id = r.external_image_id
LEFT JOIN pg_temp.seedtool_listed l ON l.face_id = r.face_id
LEFT JOIN {rows} o ON o.external_image_id = l.external_image_id
    AND o.external_image_id <> r.external_image_id
WHERE c.face_id IS NULL AND r.face_id IS NOT NULL
GROUP BY r.key, r.external_image_id, r.face_id"""

_MISASSIGNED = "SELECT key AS id FROM pg_temp.seedtool_unsure WHERE others"
_ELSEWHERE = "SELECT key AS id FROM pg_temp.seedtool_unsure WHERE listed AND NOT others"
_MISSING = "SELECT key AS id FROM pg_temp.seedtool_unsure WHERE NOT listed"

_UNASSIGN = """
UPDATE {table} t SET {face_id} = {empty}
FROM pg_temp.seedtool_unsure u WHERE u.others AND u.key = {key} AND u.face_id = t.{face_id}::text"""

_LET_GO = """
UPDATE {table} t SET {face_id} = {empty}
FROM pg_temp.seedtool_chosen c
WHERE c.external_image_id = t.{external_image_id}::text COLLATE "C" AND c.face_id <> t.{face_id}::text"""

_UPDATE = """
UPDATE {table} t SET {face_id} = c.face_id::{face_type}
FROM pg_temp.seedtool_chosen c
WHERE c.external_image_id = t.{external_image_id}::text COLLATE "C"
    AND t.{face_id}::text COLLATE "C" IS DISTINCT FROM c.face_id"""

_WITHOUT_FACE = "SELECT key AS id FROM {rows} r WHERE face_id IS NULL"

# "Indexed otherwise": the photo's own path or the id in another spelling, all but letters and digits set aside.
_UNLINKED = """
CREATE TEMPORARY TABLE seedtool_unlinked ON COMMIT DROP AS
WITH orphan AS (
    SELECT lower(regexp_replace(external_image_id, '[^a-zA-Z0-9]+', '', 'g')) AS bare,
        min(external_image_id) AS external_image_id
    FROM pg_temp.seedtool_listed l
    WHERE NOT EXISTS (SELECT FROM {rows} r WHERE r.external_image_id = l.external_image_id)
    GROUP BY 1
), spelling AS (
    SELECT r.key, lower(regexp_replace(unnest(ARRAY[
        r.external_image_id, r.photo_url, regexp_replace(r.photo_url, '\\.[a-zA-Z]+$', '')
    ]), '[^a-zA-Z0-9]+', '', 'g')) AS bare
    FROM {rows} r WHERE r.face_id IS NULL
), otherwise AS (
    SELECT s.key, min(o.external_image_id) AS external_image_id
    FROM spelling s JOIN orphan o ON o.bare = s.bare GROUP BY s.key
)
SELECT r.key, r.external_image_id, o.external_image_id AS instead, CASE
    WHEN r.external_image_id IS NULL THEN 'no id'
    WHEN s.external_image_id IS NOT NULL THEN 'shared'
    WHEN o.external_image_id IS NOT NULL THEN 'indexed otherwise'
    ELSE 'not indexed' END AS why
FROM {rows} r
LEFT JOIN pg_temp.seedtool_shared s ON s.external_image_id = r.external_image_id
LEFT JOIN otherwise o ON o.key = r.key
WHERE r.face_id IS NULL"""

_FIRST_UNLINKED = """
SELECT key, external_image_id, why, instead FROM pg_temp.seedtool_unlinked
ORDER BY why, external_image_id, key LIMIT %s"""

_DUPLICATES = """
SELECT DISTINCT l.external_image_id || ' ' || l.face_id AS id
FROM pg_temp.seedtool_listed l
JOIN pg_temp.seedtool_chosen c ON c.several AND c.external_image_id = l.external_image_id AND c.face_id <> l.face_id
WHERE EXISTS (SELECT FROM {rows} r WHERE r.external_image_id = l.external_image_id)"""

_ORPHANS = """
SELECT l.external_image_id AS id FROM pg_temp.seedtool_listed l
WHERE NOT starts_with(l.external_image_id, {temporary})
    AND NOT EXISTS (SELECT FROM {rows} r WHERE r.external_image_id = l.external_image_id)"""

_UNNAMED = """
SELECT l.face_id AS id FROM pg_temp.seedtool_listed l
WHERE l.external_image_id IS NULL AND NOT EXISTS (SELECT FROM {rows} r WHERE r.face_id = l.face_id)"""

_TEMPORARY = """
SELECT l.external_image_id AS id FROM pg_temp.seedtool_listed l
WHERE starts_with(l.external_image_id, {temporary})"""
