"""A student's photos: which there are, what number the next one gets, and the row it is told by."""

import csv
import io
import re
from collections.abc import Collection, Container, Iterable

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import SchemaError
from seedtool.faces import external_id
from seedtool.faces.bindings import Bound
from seedtool.faces.enroll.photo import Photo, PhotoResult, quality_of
from seedtool.faces.external_id import PLACEHOLDER_PREFIX
from seedtool.faces.photos import PhotoStore
from seedtool.faces.rekognition.answers import IndexedFace

# Numbers below the last one that are looked at for what a killed run left.
_HOLES = 20


class Kept(msgspec.Struct, frozen=True):
    """A photo that the student has already; no face id while its row is a placeholder."""

    external_image_id: str | None
    photo_url: str | None
    face_id: str | None


class Numbered(msgspec.Struct, frozen=True, kw_only=True):
    """A photo's place: its student, its number, the collection, the id of its face and its key in the store."""

    student_id: str
    number: int
    collection: str | None = None

    @property
    def external_image_id(self) -> str:
        """The id its face is indexed under."""
        return external_id.for_photo(self.student_id, self.number)

    @property
    def key(self) -> str:
        """Where it is kept in the store."""
        return f"students/{self.student_id}/photo-{self.number}.jpg"

    @property
    def row(self) -> str:
        """The key of its row, as the seeds write it."""
        return f"face-{self.student_id}-{self.number}"


def check_table(bound: Bound) -> None:
    """Check that a table can take new photos.

    Raises:
        SchemaError: it lacks a column.
    """
    for name in ("student_id", "photo_url"):
        if name not in bound.columns:
            raise SchemaError(
                f"the table {bound.binding.table} has no column {name}",
                remedy="enroll writes student_id and photo_url: bind the table that has them, or run seedtool migrate.",
            )


def photos_of(connection: psycopg.Connection, bound: Bound, student_ids: Collection[str]) -> dict[str, list[Kept]]:
    """Return the photos that students have, by student; each of the students is in the answer."""
    found: dict[str, list[Kept]] = {student: [] for student in student_ids}
    rows = connection.execute(
        sql.SQL(_PHOTOS).format(
            external_image_id=bound.external_image_id,
            face_id=bound.face_id,
            table=bound.table,
            prefix=sql.Literal(PLACEHOLDER_PREFIX),
        ),
        [list(student_ids)],
    )
    for student, *row in rows:
        found[student].append(Kept(*row))
    return found


def twin(photos: Iterable[Kept], store: PhotoStore, kept: bytes) -> Kept | None:
    """Return the photo that is this very one, if the student has it already."""
    return next((each for each in photos if each.photo_url is not None and _holds(store, each.photo_url, kept)), None)


def _holds(store: PhotoStore, photo_url: str, kept: bytes) -> bool:
    return "://" not in photo_url and store.holds(photo_url, kept)


def next_number(
    student_id: str,
    photos: Iterable[Kept],
    store: PhotoStore,
    photo: Photo,
    taken: Container[str],
    collection: str,
) -> Numbered:
    """Return the photo's number: one past the rows', and under which neither store nor collection holds another.

    After a reset store and collection still hold what was enrolled and never seeded. Its numbers are not
    given out again, unless the very same photo is enrolled again: then it gets its number back.

    Args:
        student_id: the student's key.
        photos: those that the student has.
        store: where photos are kept.
        photo: the photo.
        taken: external image ids that the collection holds.
        collection: the collection's id.
    """
    used = [
        int(found[1])
        for row in photos
        for text in (row.external_image_id, row.photo_url)
        if text is not None and (found := re.search(r"photo-(\d{1,9})(?:\.\w+)?$", text))
    ]
    number = max(used, default=0) + 1
    for hole in sorted(set(range(max(1, number - _HOLES), number)) - set(used)):
        place = Numbered(student_id=student_id, number=hole, collection=collection)
        if store.holds(place.key, photo.kept):
            return place  # a run that was killed had got so far
    while True:
        place = Numbered(student_id=student_id, number=number, collection=collection)
        if store.holds(place.key, photo.kept):
            return place
        if place.external_image_id not in taken and not store.exists(place.key):
            return place
        number += 1


def insert(connection: psycopg.Connection, bound: Bound, photos: Iterable[tuple[Numbered, IndexedFace]]) -> None:
    """Insert the rows of photos whose faces are in the collection; all or none."""
    binding = bound.binding
    rows = []
    for place, face in photos:
        values: dict[str, object] = {
            "student_id": place.student_id,
            "photo_url": place.key,
            binding.external_image_id: place.external_image_id,
            binding.face_id: face.face.face_id,
            "quality_score": quality_of(face),
        }
        if len(binding.key) == 1 and bound.columns[binding.key[0]] == "text":
            values[binding.key[0]] = place.row
        if binding.collection_column is not None:
            values.setdefault(binding.collection_column, place.collection)  # left out below when it is another table's
        rows.append({name: value for name, value in values.items() if name in bound.columns})
    if not rows:
        return
    columns = [sql.Identifier(name) for name in rows[0]]
    fields: list[sql.Composable] = [sql.Placeholder()] * len(columns)
    if "indexed_at" in bound.columns:
        # not now(), which is when the transaction began, before the photo was written to the store
        columns.append(sql.Identifier("indexed_at"))
        fields.append(sql.SQL("clock_timestamp()"))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        bound.table, sql.SQL(", ").join(columns), sql.SQL(", ").join(fields)
    )
    with connection.cursor() as cursor:
        cursor.executemany(statement, [list(row.values()) for row in rows])


def already(source: str, student_id: str, photo: Kept) -> PhotoResult:
    """Return the result of a photo that the student has already."""
    return PhotoResult(
        source=source,
        outcome="already enrolled",
        student_id=student_id,
        external_image_id=photo.external_image_id,
        photo_url=photo.photo_url,
        face_id=photo.face_id,
        reason="" if photo.face_id else "its row is not linked to its face",
        remedy="" if photo.face_id else "Run seedtool sync-faces, or seedtool enroll --all.",
    )


def enrolled(source: str, place: Numbered, face: IndexedFace) -> PhotoResult:
    """Return the result of a photo that was enrolled."""
    return PhotoResult(
        source=source,
        outcome="enrolled",
        student_id=place.student_id,
        external_image_id=place.external_image_id,
        photo_url=place.key,
        face_id=face.face.face_id,
        quality=quality_of(face),
    )


def seed_lines(results: Iterable[PhotoResult]) -> tuple[str, ...]:
    """Return the CSV lines that keep new rows across resets, with their header; nothing for nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for result in results:
        if result.outcome != "enrolled":
            continue
        if not text.tell():
            writer.writerow(["id", "student_id", "external_image_id", "photo_url"])
        number = int(str(result.external_image_id).rsplit("-", 1)[1])
        place = Numbered(student_id=str(result.student_id), number=number)
        writer.writerow([place.row, place.student_id, place.external_image_id, place.key])
    return tuple(text.getvalue().splitlines())


_PHOTOS = """
SELECT t.student_id::text, t.{external_image_id}::text, t.photo_url::text,
    CASE WHEN NOT starts_with(t.{face_id}::text, {prefix}) THEN t.{face_id}::text END
FROM {table} t WHERE t.student_id::text = ANY (%s)"""
