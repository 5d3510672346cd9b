"""Matching rows and faces by their boxes, where several faces of one photo share its external image id.

The pair that overlaps most is matched first. The boxes of two faces hardly overlap, so the two boxes of one face
overlap far more than others do. What overlaps by less than half is another face.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import LiteralString, NamedTuple

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import args_row

from seedtool.faces.port import Box

#: The least intersection over union of two boxes of the same face.
SAME = 0.5

#: Rows of the stream fetched at once, and matches written at once.
_BATCH = 5000


class Row(msgspec.Struct, frozen=True):
    """A row of the table: its key, the FaceId it has, and its box; None where it has none."""

    key: str
    face_id: str | None
    box: Box | None


class Candidate(msgspec.Struct, frozen=True):
    """A face of the collection under the row's external image id."""

    face_id: str
    box: Box


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes: 1 for the same box, 0 for boxes that do not touch."""
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one.width * one.height + other.width * other.height - shared)


def match(rows: Sequence[Row], faces: Sequence[Candidate]) -> dict[str, str]:
    """Return which face each row of one photo is; the order of rows and faces does not matter.

    A row keeps the FaceId it has while that is among the faces (of several such rows the one with the least key).
    The others are matched by their boxes, the best pair first, each row and each face once, ties by FaceId and key. A
    row without a box is matched only when it is alone with one face.

    Args:
        rows: the photo's rows.
        faces: the faces of the collection under the photo's id.

    Returns:
        FaceId by the row's key; rows without a face are not in it.
    """
    free = {face.face_id: face for face in faces}
    found: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row.key):
        if row.face_id in free:
            found[row.key] = free.pop(row.face_id).face_id
    if len(rows) == len(free) == 1 and not found and rows[0].box is None:
        return {rows[0].key: next(iter(free))}
    pairs = sorted(
        (-overlap(row.box, face.box), face.face_id, row.key)
        for row in rows
        if row.box is not None and row.key not in found
        for face in free.values()
    )
    for score, face_id, key in pairs:
        if -score < SAME:
            break
        if key not in found and face_id in free:
            found[key] = free.pop(face_id).face_id
    return found


def match_photos(connection: psycopg.Connection, complete: Callable[[LiteralString], sql.Composed]) -> None:
    """Match the rows of all photos, into `pg_temp.seedtool_fit` (collection, key, face_id).

    One statement handles the photos whose rows all have their faces. The others come as a stream ordered by photo:
    memory holds one photo and one batch.

    Args:
        connection: inside a transaction, with `pg_temp.seedtool_listed`.
        complete: completes a statement about the table's rows.
    """
    for statement in (_FIT, _OPEN, _REOPEN):
        connection.execute(complete(statement))
    with connection.cursor(name="seedtool_photos", row_factory=args_row(_Entry)) as cursor:
        cursor.itersize = _BATCH
        cursor.execute(complete(_STREAM))
        for batch in _batches(_matches(cursor), _BATCH):
            with connection.cursor() as writer, writer.copy(_WRITE) as copy:
                for found in batch:
                    copy.write_row(found)
    connection.execute("ANALYZE pg_temp.seedtool_fit")


class _Entry(NamedTuple):
    """A line of the stream: a row, or a face whose `name` is its FaceId."""

    collection: int
    external_image_id: str
    is_row: bool
    name: str
    face_id: str | None
    left: float | None
    top: float | None
    width: float | None
    height: float | None

    @property
    def box(self) -> Box | None:
        if self.left is None or self.top is None or not self.width or not self.height:
            return None
        return Box(self.left, self.top, self.width, self.height)


def _matches(entries: Iterable[_Entry]) -> Iterator[tuple[int, str, str]]:
    """Yield collection, key and FaceId of every row that is matched."""
    for (collection, _), photo in groupby(entries, key=lambda entry: (entry.collection, entry.external_image_id)):
        rows: list[Row] = []
        faces: list[Candidate] = []
        for entry in photo:
            if entry.is_row:
                rows.append(Row(entry.name, entry.face_id, entry.box))
            else:
                faces.append(Candidate(entry.name, entry.box or Box(0, 0, 0, 0)))
        for key, face_id in match(rows, faces).items():
            yield collection, key, face_id


def _batches(found: Iterator[tuple[int, str, str]], size: int) -> Iterator[list[tuple[int, str, str]]]:
    batch: list[tuple[int, str, str]] = []
    for each in found:
        batch.append(each)
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


_FIT = """
CREATE TEMPORARY TABLE seedtool_fit ON COMMIT DROP AS
SELECT DISTINCT ON (r.collection, r.face_id) r.collection, r.key, r.face_id, r.external_image_id
FROM {rows} r
JOIN pg_temp.seedtool_listed l
    ON l.collection = r.collection AND l.face_id = r.face_id AND l.external_image_id = r.external_image_id
WHERE NOT starts_with(r.external_image_id, {temporary})
ORDER BY r.collection, r.face_id, r.key"""

# Photos with a row that looks for its face; where nothing is listed there is none to be found.
_OPEN = """
CREATE TEMPORARY TABLE seedtool_open ON COMMIT DROP AS
SELECT DISTINCT r.collection, r.external_image_id
FROM {rows} r
LEFT JOIN pg_temp.seedtool_fit f ON f.collection = r.collection AND f.key = r.key
WHERE f.key IS NULL AND r.collection IS NOT NULL AND NOT starts_with(r.external_image_id, {temporary})"""

_REOPEN = """
DELETE FROM pg_temp.seedtool_fit f USING pg_temp.seedtool_open o
WHERE o.collection = f.collection AND o.external_image_id = f.external_image_id"""

# A face that moved between pages may have been listed twice.
_STREAM = """
SELECT collection, external_image_id, is_row, name, face_id, box_left, box_top, box_width, box_height FROM (
    SELECT r.collection, r.external_image_id, true AS is_row, r.key AS name, r.face_id,
        r.box_left, r.box_top, r.box_width, r.box_height
    FROM {rows} r JOIN pg_temp.seedtool_open o USING (collection, external_image_id)
    UNION ALL
    (SELECT DISTINCT ON (collection, l.face_id) collection, external_image_id, false, l.face_id, NULL,
        l.box_left, l.box_top, l.box_width, l.box_height
    FROM pg_temp.seedtool_listed l JOIN pg_temp.seedtool_open o USING (collection, external_image_id)
    ORDER BY collection, l.face_id)
) photo ORDER BY collection, external_image_id"""

_WRITE = "COPY pg_temp.seedtool_fit (collection, key, face_id) FROM STDIN"
