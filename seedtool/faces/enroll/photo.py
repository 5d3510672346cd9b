"""One photo on its way into store and collection: what was made, so that it can be unmade, and what is told of it."""

import threading
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from seedtool.errors import ImageRefused, SeedtoolError, ServiceUnavailable
from seedtool.faces.photos import PhotoStore, offer
from seedtool.faces.pictures import prepare_image
from seedtool.faces.rekognition.answers import Indexed, IndexedFace
from seedtool.faces.rekognition.collection import Collection, S3Location

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


class EnrollReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an enrollment did.

    Args:
        mode: `embedded` or `live`.
        region: the region.
        endpoint: where Rekognition is; None when it is AWS's own address.
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
        calls: AWS calls by operation.
        seconds: by the wall clock.
    """

    mode: str
    region: str
    endpoint: str | None
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
    calls: dict[str, int]
    seconds: float


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
        collection: Collection,
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
                self._made = tuple(face_id for face_id, why in failed.items() if "FACE_NOT_FOUND" not in why)
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
    further = sum("EXCEEDS_MAX_FACES" in left.reasons for left in indexed.unindexed)
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
