"""One photo on its way into store and collection: what was made, so that it can be unmade, and what is told of it."""

import csv
import io
import re
import threading
from collections.abc import Callable, Collection, Container, Iterable
from typing import Literal

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import ImageRefused, SchemaError, SeedtoolError, ServiceUnavailable
from seedtool.faces import external_id
from seedtool.faces.bindings import Bound
from seedtool.faces.external_id import PLACEHOLDER_PREFIX
from seedtool.faces.photos import PhotoStore, offer
from seedtool.faces.pictures import prepare_image
from seedtool.faces.port import FaceCollection, FaceReport, Indexed, IndexedFace, S3Location

Outcome = Literal["enrolled", "already enrolled", "refused", "failed"]


class PhotoResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one photo.

    Args:
        source: the file's name, or its key in the store.
        outcome: what became of it.
        student_id: whose photo it is.
        external_image_id: the id it is indexed under.
        photo_url: its key in the store.
        face_id: Rekognition's id of its face.
        quality: mean of Rekognition's brightness and sharpness, 0 to 100.
        reason: why it was refused or failed.
        remedy: what to do about that.
    """

    source: str
    outcome: Outcome
    student_id: str | None = None
    external_image_id: str | None = None
    photo_url: str | None = None
    face_id: str | None = None
    quality: float | None = None
    reason: str = ""
    remedy: str = ""


class EnrollReport(FaceReport, frozen=True, kw_only=True):
    """What an enrollment did.

    Args:
        collection: the collection.
        created: the collection did not exist and was created.
        ok: every photo is enrolled, and nobody interrupted.
        interrupted: Ctrl+C; what is in `photos` is done all the same.
        photos: each photo that was looked at.
        failures: those of them that were refused or failed.
        adopted: rows whose face was in the collection already and that were only linked (`enroll_all`).
        unchanged: rows that were linked already (`enroll_all`).
        seed_lines: CSV with its header, for seeds/local/student_faces.csv: what keeps new rows across resets.
        uploads: photos written to the store.
    """

    collection: str
    created: bool
    ok: bool
    interrupted: bool
    photos: tuple[PhotoResult, ...]
    failures: tuple[PhotoResult, ...] = ()
    adopted: int = 0
    unchanged: int = 0
    seed_lines: tuple[str, ...] = ()
    uploads: int


class Photo(msgspec.Struct, frozen=True, kw_only=True):
    """A photo that was checked: what is kept (the file's own bytes when it is a JPEG), and what Rekognition is sent."""

    kept: bytes
    sent: bytes


def failures(results: Iterable[PhotoResult]) -> tuple[PhotoResult, ...]:
    """Return the photos that were refused or failed."""
    return tuple(result for result in results if result.outcome in {"refused", "failed"})


def check(data: bytes) -> Photo:
    """Check a photo for enrollment; photos are kept as JPEG.

    Raises:
        ImageRefused: Rekognition would not take it.
    """
    picture = prepare_image(data, jpeg=True)
    return Photo(kept=data if is_jpeg(data) else picture.data, sent=picture.data)


def is_jpeg(data: bytes) -> bool:
    """Tell whether a photo is kept as it is."""
    return data.startswith(b"\xff\xd8")


class Attempt:
    """The enrollment of one photo.

    Args:
        collection: where its face goes.
        store: where the photo goes.
        key: the photo's key in the store.
        external_image_id: the id its face is to carry.
        known: FaceIds that were under that id before; they are not ours to delete.
    """

    def __init__(
        self,
        collection: FaceCollection,
        store: PhotoStore,
        key: str,
        external_image_id: str,
        known: frozenset[str] = frozenset(),
    ) -> None:
        self._collection = collection
        self._store = store
        self._key = key
        self._external_image_id = external_image_id
        self._known = known
        self._before: bytes | None = None
        self._wrote = False
        self._made: tuple[str, ...] = ()
        self._asked = False
        self._lock = threading.Lock()

    def upload(self, data: bytes) -> None:
        """Put the photo into the store, unless the very same is there."""
        if self._store.holds(self._key, data):
            return
        self._before = self._store.get(self._key)
        self._wrote = True  # before the fact: a write that times out may have happened
        self._store.put(self._key, data)

    def index(self, location: S3Location | None, read: Callable[[], bytes]) -> IndexedFace:
        """Index the photo and return its one face.

        Args:
            location: where it lies, if Rekognition can read it there.
            read: gives the bytes that are sent otherwise.

        Raises:
            ImageRefused: there is no face in it, or more than one.
        """
        self._asked = True
        try:
            indexed = offer(
                lambda image: self._collection.index_faces(image, self._external_image_id, max_faces=2), location, read
            )
        except ServiceUnavailable:
            raise  # the answer was lost; there may be a face
        except SeedtoolError:
            self._asked = False
            raise
        found = tuple(each.face.face_id for each in indexed.faces)
        self._made = tuple(face_id for face_id in found if face_id not in self._known)
        self._asked = False
        return _only_face(indexed)

    def undo(self, *, search: bool = True) -> None:
        """Remove what was made. May be called again.

        Args:
            search: where IndexFaces was asked and no answer came, look through the collection for its face. Else
                photo and face are left as they may be, and the next run, which finds both, takes them up.

        Raises:
            SeedtoolError: something could not be removed; it says what.
        """
        with self._lock:
            if self._asked and not search:
                return
            if self._asked:
                faces = self._collection.under(self._external_image_id)
                self._made = tuple(face.face_id for face in faces if face.face_id not in self._known)
                self._asked = False
            if self._made:
                failed = self._collection.delete_faces(self._made).failed
                self._made = tuple(failed)
                if self._made:
                    raise ServiceUnavailable(
                        f"the faces {', '.join(self._made)} of {self._external_image_id} could not be deleted again",
                        remedy="Delete them: aws rekognition delete-faces.",
                    )
            if self._wrote:
                if self._before is None:
                    self._store.delete(self._key)
                else:
                    self._store.put(self._key, self._before)
                self._wrote = False


def _only_face(indexed: Indexed) -> IndexedFace:
    """Return the one face of a portrait.

    Raises:
        ImageRefused: none or several.
    """
    further = sum(left.surplus for left in indexed.unindexed)
    several = len(indexed.faces) + further
    if several > 1:
        raise ImageRefused(
            f"there are {several} faces in the picture", remedy="Enroll a portrait of one person; crop the others away."
        )
    if not indexed.faces:
        reasons = sorted({reason for left in indexed.unindexed for reason in left.reasons})
        if reasons:
            raise ImageRefused(
                f"the face in the picture cannot be used ({', '.join(reasons)})",
                remedy="Use a sharper, brighter picture in which the face is larger and looks into the camera.",
            )
        raise ImageRefused("there is no face in the picture", remedy="Use a portrait in which the face can be seen.")
    return indexed.faces[0]


def quality_of(face: IndexedFace) -> float:
    """Return a face's quality: the mean of Rekognition's brightness and sharpness, 0 to 100."""
    return round(min(100.0, max(0.0, (face.brightness + face.sharpness) / 2)), 2)


def failure(source: str, error: SeedtoolError, **ids: str | None) -> PhotoResult:
    """Return the result of a photo that was not enrolled."""
    outcome: Outcome = "refused" if isinstance(error, ImageRefused) else "failed"
    return PhotoResult(
        source=source,
        outcome=outcome,
        student_id=ids.get("student_id"),
        external_image_id=ids.get("external_image_id"),
        photo_url=ids.get("photo_url"),
        reason=error.message,
        remedy=error.remedy,
    )


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
