"""One photo of an enrollment: the number it gets, what is made of it in store and collection, and its result.

What was made is remembered, so that it can be removed again when a later step fails.
"""

import threading
from collections.abc import Callable, Collection, Container, Iterable
from typing import Literal

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import ImageRefused, SeedtoolError, ServiceUnavailable
from seedtool.faces.bindings import Bound
from seedtool.faces.external_id import PLACEHOLDER_PREFIX, external_id_of, filled, number_of_id, number_of_photo
from seedtool.faces.photos import PhotoStore, is_address, offer
from seedtool.faces.pictures import prepare_image
from seedtool.faces.port import FaceCollection, FaceReport, FaceService, Indexed, IndexedFace, S3Location
from seedtool.files import csv_text
from seedtool.settings import FaceBinding

Outcome = Literal["enrolled", "already enrolled", "refused", "failed"]


class PhotoResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one photo. As JSON, `person` and `photo` keep the names that they have always had.

    Args:
        source: the file's name, or its key in the store.
        outcome: what became of it.
        person: whose photo it is.
        external_image_id: the id it is indexed under.
        photo: its key in the store.
        face_id: the service's id of its face.
        quality: mean of the service's brightness and sharpness, 0 to 100.
        reason: why it was refused or failed.
        remedy: what to do about that.
    """

    source: str
    outcome: Outcome
    person: str | None = msgspec.field(name="student_id", default=None)
    external_image_id: str | None = None
    photo: str | None = msgspec.field(name="photo_url", default=None)
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
        seed_lines: CSV with its header, for the table's seed file: what keeps new rows across resets.
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
    """A photo that was checked: what is kept (the file's own bytes when it is a JPEG), and what is sent."""

    kept: bytes
    sent: bytes


def failures(results: Iterable[PhotoResult]) -> tuple[PhotoResult, ...]:
    """Return the photos that were refused or failed."""
    return tuple(result for result in results if result.outcome in {"refused", "failed"})


def check(data: bytes, aws: FaceService) -> Photo:
    """Check a photo for enrollment; photos are kept as JPEG.

    Args:
        data: the file's bytes.
        aws: the face service that the photo is for.

    Raises:
        ImageRefused: the face service would not take it.
    """
    picture = prepare_image(data, jpeg=True, keep_regions=aws.embedded)
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
        self._wrote = True  # set beforehand: a write that times out may have happened
        self._store.put(self._key, data)

    def index(self, location: S3Location | None, read: Callable[[], bytes]) -> IndexedFace:
        """Index the photo and return its one face.

        Args:
            location: where it lies, if the face service can read it there.
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
                        remedy="Run it again, or delete them from the collection by their ids.",
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
    """Return a face's quality: the mean of the service's brightness and sharpness, 0 to 100."""
    return round(min(100.0, max(0.0, (face.brightness + face.sharpness) / 2)), 2)


def failure(source: str, error: SeedtoolError, **ids: str | None) -> PhotoResult:
    """Return the result of a photo that was not enrolled."""
    outcome: Outcome = "refused" if isinstance(error, ImageRefused) else "failed"
    return PhotoResult(
        source=source,
        outcome=outcome,
        person=ids.get("person"),
        external_image_id=ids.get("external_image_id"),
        photo=ids.get("photo"),
        reason=error.message,
        remedy=error.remedy,
    )


# Numbers below the last one that are looked at for what a killed run left.
_HOLES = 20


class Kept(msgspec.Struct, frozen=True):
    """A photo that the person has already; no face id while its row holds a placeholder."""

    external_image_id: str | None
    photo: str | None
    face_id: str | None


class NewPhoto(msgspec.Struct, frozen=True, kw_only=True):
    """What a new photo is called: the id of its face, its key in the store, the key of its row.

    Args:
        binding: the templates of these names.
        person: whose photo it is.
        number: the photo's number, counted from 1.
        collection: the collection of its face.
    """

    binding: FaceBinding
    person: str
    number: int
    collection: str | None = None

    @property
    def external_image_id(self) -> str:
        """The id its face is indexed under."""
        return external_id_of(self.binding.id_template, self.person, self.number)

    @property
    def key(self) -> str:
        """Where it is kept in the store."""
        return filled(self.binding.photo_template, self.person, self.number)

    @property
    def row(self) -> str:
        """The key of its row, where that is a text."""
        return filled(self.binding.key_template, self.person, self.number)


def photos_of(connection: psycopg.Connection, bound: Bound, people: Collection[str]) -> dict[str, list[Kept]]:
    """Return the photos that people have, by person; each of the people is in the answer."""
    found: dict[str, list[Kept]] = {person: [] for person in people}
    rows = connection.execute(
        sql.SQL(_PHOTOS).format(
            person=bound.person,
            photo=bound.photo,
            external_image_id=bound.external_image_id,
            face_id=bound.face_id,
            table=bound.table,
            prefix=sql.Literal(PLACEHOLDER_PREFIX),
        ),
        [list(people)],
    )
    for person, *row in rows:
        found[person].append(Kept(*row))
    return found


def twin(photos: Iterable[Kept], store: PhotoStore, kept: bytes) -> Kept | None:
    """Return the photo that is this very one, if the person has it already."""
    return next((each for each in photos if each.photo is not None and _holds(store, each.photo, kept)), None)


def _holds(store: PhotoStore, photo: str, kept: bytes) -> bool:
    return not is_address(photo) and store.holds(photo, kept)


def numbered_photo(
    binding: FaceBinding,
    person: str,
    photos: Iterable[Kept],
    store: PhotoStore,
    photo: Photo,
    taken: Container[str],
    collection: str,
) -> NewPhoto:
    """Number a photo: one past the rows' numbers, where neither store nor collection holds another photo.

    After a reset, store and collection still hold what was enrolled and never seeded. Its numbers are not
    given out again, unless the very same photo is enrolled again: then it gets its number back.

    Args:
        binding: how photos are named.
        person: the person's key.
        photos: those that the person has.
        store: where photos are kept.
        photo: the photo.
        taken: external image ids that the collection holds.
        collection: the collection's id.
    """
    used = {
        found
        for row in photos
        for found in (
            number_of_id(binding.id_template, row.external_image_id or ""),
            number_of_photo(binding.photo_template, row.photo or ""),
        )
        if found is not None
    }

    def numbered(number: int) -> NewPhoto:
        return NewPhoto(binding=binding, person=person, number=number, collection=collection)

    number = max(used, default=0) + 1
    for hole in range(max(1, number - _HOLES), number):
        if hole not in used and store.holds(numbered(hole).key, photo.kept):
            return numbered(hole)  # a run that was killed had come so far
    while True:
        found = numbered(number)
        if store.holds(found.key, photo.kept):
            return found
        if found.external_image_id not in taken and not store.exists(found.key):
            return found
        number += 1


def insert(connection: psycopg.Connection, bound: Bound, photos: Iterable[tuple[NewPhoto, IndexedFace]]) -> None:
    """Insert the rows of photos whose faces are in the collection; all or none."""
    binding = bound.binding
    rows = []
    for new, face in photos:
        values: dict[str, object] = {
            binding.person: new.person,
            binding.photo: new.key,
            binding.external_image_id: new.external_image_id,
            binding.face_id: face.face.face_id,
            binding.quality: quality_of(face),
        }
        if bound.key_is_text:
            values[binding.key[0]] = new.row
        if binding.collection_column is not None:
            values.setdefault(binding.collection_column, new.collection)  # left out below when it is another table's
        rows.append({name: value for name, value in values.items() if name in bound.columns})
    if not rows:
        return
    columns = [sql.Identifier(name) for name in rows[0]]
    fields: list[sql.Composable] = [sql.Placeholder()] * len(columns)
    if bound.has("indexed_at"):
        # not now(), which is when the transaction began, before the photo was written to the store
        columns.append(sql.Identifier(binding.indexed_at))
        fields.append(sql.SQL("clock_timestamp()"))
    if bound.uuid_key is not None:
        columns.append(sql.Identifier(bound.uuid_key))
        fields.append(sql.SQL("gen_random_uuid()"))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        bound.table, sql.SQL(", ").join(columns), sql.SQL(", ").join(fields)
    )
    with connection.cursor() as cursor:
        cursor.executemany(statement, [list(row.values()) for row in rows])


def already(source: str, person: str, photo: Kept) -> PhotoResult:
    """Return the result of a photo that the person has already."""
    return PhotoResult(
        source=source,
        outcome="already enrolled",
        person=person,
        external_image_id=photo.external_image_id,
        photo=photo.photo,
        face_id=photo.face_id,
        reason="" if photo.face_id else "its row is not linked to its face",
        remedy="" if photo.face_id else "Run seedtool sync-faces, or seedtool enroll --all.",
    )


def enrolled(source: str, new: NewPhoto, face: IndexedFace) -> PhotoResult:
    """Return the result of a photo that was enrolled."""
    return PhotoResult(
        source=source,
        outcome="enrolled",
        person=new.person,
        external_image_id=new.external_image_id,
        photo=new.key,
        face_id=face.face.face_id,
        quality=quality_of(face),
    )


def seed_lines(bound: Bound, results: Iterable[PhotoResult]) -> tuple[str, ...]:
    """Return the CSV lines that keep new rows across resets, with their header; nothing where the key is not ours."""
    binding = bound.binding
    added = [result for result in results if result.outcome == "enrolled"]
    if not added or not bound.key_is_text:
        return ()
    columns = (binding.key[0], binding.person, binding.external_image_id, binding.photo)
    rows = []
    for result in added:
        number = number_of_id(binding.id_template, str(result.external_image_id)) or 0
        new = NewPhoto(binding=binding, person=str(result.person), number=number)
        rows.append((new.row, new.person, new.external_image_id, new.key))
    return tuple(line.removesuffix("\n") for line in csv_text.write(columns, rows))


_PHOTOS = """
SELECT t.{person}::text, t.{external_image_id}::text, t.{photo}::text,
    CASE WHEN NOT starts_with(t.{face_id}::text, {prefix}) THEN t.{face_id}::text END
FROM {table} t WHERE t.{person}::text = ANY (%s)"""
