"""Photos that were replaced after they were indexed: a new picture under the old id, with the old one's face.

Rekognition keeps no picture and tells neither when a face was indexed nor from what, so two things are looked at:

- the store wrote the photo later than the row says that it was indexed (`indexed_at`), by more than a minute;
- the seeds' file for it is not what the store holds: somebody changed the seed, and it was not enrolled since.

Neither is proof. After a reset `indexed_at` is the moment of the reset, unless the seed file gives it: what was
replaced before then is not seen by the first. A bucket that was copied is newer than every row, and its photos are
named though nobody changed them; indexing the same picture again makes no second face and mends `indexed_at`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import psycopg
from psycopg import sql

from seedtool.faces.bindings import Bound
from seedtool.faces.enroll.photo import is_jpeg
from seedtool.faces.photos import PhotoStore, Stamp, is_address

#: The database's clock and the store's may differ by as much, and S3 tells whole seconds.
SLACK = timedelta(minutes=1)


class _Indexed(msgspec.Struct, frozen=True):
    """A linked row and its photo."""

    key: str
    photo_url: str
    indexed_at: datetime | None


def replaced_photos(connection: psycopg.Connection, bound: Bound, store: PhotoStore, seeded: Path) -> Sequence[str]:
    """Return the keys of rows that are linked and whose photo was replaced since; in order of their photos.

    Args:
        connection: to the target, inside a transaction.
        bound: the table. Without `photo_url` there is nothing to look at, and without `indexed_at` only the seeds.
        store: where photos are kept; it is listed once.
        seeded: the folder of the seeds' photos.

    Raises:
        AwsError: the store could not be listed.
        PhotoError: a photo could not be read.
    """
    if "photo_url" not in bound.columns:
        return ()
    at = sql.SQL("t.indexed_at" if _dated(bound) else "NULL::timestamptz")
    rows = connection.execute(sql.SQL(_LINKED).format(key=bound.key, at=at, rows=bound.rows, table=bound.table))
    linked = [_Indexed(*row) for row in rows.fetchall()]
    if not linked:
        return ()
    stamps = {stamp.key: stamp for stamp in store.stamps(_common_folder([row.photo_url for row in linked]))}
    return [row.key for row in linked if _is_replaced(row, stamps.get(row.photo_url), store, seeded)]


def _dated(bound: Bound) -> bool:
    return bound.columns.get("indexed_at", "").startswith("timestamp with time zone")


def _is_replaced(row: _Indexed, stamp: Stamp | None, store: PhotoStore, seeded: Path) -> bool:
    if stamp is None:
        return False
    if row.indexed_at is not None and stamp.written_at > row.indexed_at + SLACK:
        return True
    path = seeded / row.photo_url
    if is_address(row.photo_url) or not path.is_file() or not path.resolve().is_relative_to(seeded.resolve()):
        return False
    data = path.read_bytes()
    return is_jpeg(data) and not (len(data) == stamp.size and store.holds(row.photo_url, data))


def _common_folder(keys: list[str]) -> str:
    """Return what all keys begin with, up to a slash: what else is in the bucket is not listed."""
    first, last = min(keys), max(keys)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: first.rfind("/", 0, same) + 1]


_LINKED = """
SELECT {key}, t.photo_url::text, {at} FROM {table} t
WHERE t.photo_url IS NOT NULL AND EXISTS (SELECT FROM {rows} r WHERE r.key = {key} AND r.face_id IS NOT NULL)
ORDER BY 2"""
