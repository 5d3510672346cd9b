"""Photos that were replaced after they were indexed: a new picture, whose id still has the old picture's face.

A face service keeps no picture, and says neither when a face was indexed nor from what. So two things are compared:

- the store says that the photo was written more than a minute after the time in the row's column `indexed_at`;
- the file of the seeds differs from what the store holds: somebody changed the file, and did not enroll it since.

Neither is proof. After a reset, `indexed_at` is the moment of the reset, unless the seed file holds it: the first
comparison misses what was replaced before. A bucket that was copied is newer than every row: its photos are reported
though nobody changed them. To index the same picture again makes no second face, and it corrects `indexed_at`.
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
    photo: str
    indexed_at: datetime | None


def replaced_photos(connection: psycopg.Connection, bound: Bound, store: PhotoStore, seeded: Path) -> Sequence[str]:
    """Return the keys of rows that are linked and whose photo was replaced since; in order of their photos.

    Args:
        connection: to the target, inside a transaction.
        bound: the table. Without a column `photo` there is nothing to look at, and without `indexed_at` only the seeds.
        store: where photos are kept; it is listed once.
        seeded: the folder of the seeds' photos.

    Raises:
        AwsError: the store could not be listed.
        PhotoError: a photo could not be read.
    """
    if not bound.has("photo"):
        return ()
    at = sql.SQL("t.{}" if _dated(bound) else "NULL::timestamptz").format(sql.Identifier(bound.binding.indexed_at))
    rows = connection.execute(
        sql.SQL(_LINKED).format(key=bound.key, photo=bound.photo, at=at, rows=bound.rows, table=bound.table)
    )
    linked = [_Indexed(*row) for row in rows.fetchall()]
    if not linked:
        return ()
    stamps = {stamp.key: stamp for stamp in store.stamps(_common_folder([row.photo for row in linked]))}
    return [row.key for row in linked if _is_replaced(row, stamps.get(row.photo), store, seeded)]


def _dated(bound: Bound) -> bool:
    return bound.columns.get(bound.binding.indexed_at, "").startswith("timestamp with time zone")


def _is_replaced(row: _Indexed, stamp: Stamp | None, store: PhotoStore, seeded: Path) -> bool:
    if stamp is None:
        return False
    if row.indexed_at is not None and stamp.written_at > row.indexed_at + SLACK:
        return True
    path = seeded / row.photo
    if is_address(row.photo) or not path.is_file() or not path.resolve().is_relative_to(seeded.resolve()):
        return False
    data = path.read_bytes()
    return is_jpeg(data) and not (len(data) == stamp.size and store.holds(row.photo, data))


def _common_folder(keys: list[str]) -> str:
    """Return what all keys begin with, up to a slash: what else is in the bucket is not listed."""
    first, last = min(keys), max(keys)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: first.rfind("/", 0, same) + 1]


_LINKED = """
SELECT {key}, t.{photo}::text, {at} FROM {table} t
WHERE t.{photo} IS NOT NULL AND EXISTS (SELECT FROM {rows} r WHERE r.key = {key} AND r.face_id IS NOT NULL)
ORDER BY 2"""
