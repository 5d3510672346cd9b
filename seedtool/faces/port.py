"""The port to a face service: what seedtool asks of it, and what it answers. It names no vendor.

A vendor implements `FaceService` and `FaceCollection` in a folder of its own, and has an entry in `vendors`. It
raises the errors of `seedtool.errors` that end in `AwsError`'s branch, whatever its own are called.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import msgspec

from seedtool.errors import ResourceNotFound


class Box(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """Where a face is in its picture, in fractions of the picture's width and height."""

    left: float = 0.0
    top: float = 0.0
    width: float = 0.0
    height: float = 0.0


class Face(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", gc=False):
    """A face in a collection. As JSON it is what ListFaces answers, so that a page is decoded without a copy.

    Args:
        face_id: the id that the service chose.
        external_image_id: the id that whoever indexed it chose; None when nobody chose one.
        confidence: that it is a face, 0 to 100.
        box: where it is in its picture.
    """

    face_id: str
    external_image_id: str | None = None
    confidence: float = 0.0
    box: Box = msgspec.field(name="BoundingBox", default=Box())


class IndexedFace(msgspec.Struct, frozen=True, kw_only=True):
    """A face that was indexed; brightness and sharpness are 0 to 100."""

    face: Face
    brightness: float
    sharpness: float


class Unindexed(msgspec.Struct, frozen=True, kw_only=True):
    """A face that was seen and not indexed.

    Args:
        reasons: the service's own words (`SMALL_BOUNDING_BOX`, ...).
        box: where it is in the picture.
        surplus: it was left out only because the picture holds more faces than were asked for.
    """

    reasons: tuple[str, ...]
    box: Box
    surplus: bool = False


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of indexing a picture."""

    faces: tuple[IndexedFace, ...]
    unindexed: tuple[Unindexed, ...]


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A face that is like the one that was searched for; similarity is 0 to 100."""

    face: Face
    similarity: float


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of deleting faces.

    Args:
        deleted: the ids that were deleted.
        gone: the ids that were not in the collection.
        failed: the ids that are still there, each with the service's reason.
    """

    deleted: tuple[str, ...]
    gone: tuple[str, ...] = ()
    failed: dict[str, str] = {}


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What the service says of a collection: its number of faces, the model that made them, its full name (ARN)."""

    faces: int
    model_version: str
    arn: str


class S3Location(msgspec.Struct, frozen=True):
    """A picture in a bucket of S3 that the service can read by itself (see `FaceService.reads_s3`)."""

    bucket: str
    key: str


#: What a service is given to look at: the bytes of a JPEG or PNG, or where in S3 the picture is.
Image: TypeAlias = bytes | S3Location


class FaceCollection(Protocol):
    """One collection of faces. It may be used from several threads.

    Attributes:
        id: its id. A collection of this id need not exist yet.
    """

    id: str

    def create(self) -> str | None:
        """Create the collection and return its ARN; None when there is one already."""

    def describe(self) -> Description:
        """Return how many faces it holds and which model made them.

        Raises:
            ResourceNotFound: there is no such collection.
        """

    def list_pages(self, page_size: int | None = None, *, face_ids: Sequence[str] = ()) -> Iterator[list[Face]]:
        """Yield the faces, page by page. The next page is requested while the caller works on this one.

        Args:
            page_size: faces a page; None for the most that the service gives.
            face_ids: only those of these that are there, at most a page of them; all of the collection when empty.

        Raises:
            ResourceNotFound: there is no such collection.
            ServiceUnavailable: no answer came.
        """

    def index_faces(self, image: Image, external_image_id: str, *, max_faces: int | None = None) -> Indexed:
        """Put the faces of a picture into the collection.

        The same picture under the same external image id makes no second face: the same FaceIds come back. That is
        why it may be repeated when an answer was lost.

        Args:
            image: the picture. Bytes have to be small enough (see `seedtool.faces.pictures`).
            external_image_id: the id that the faces are to carry.
            max_faces: index only so many, the best; None for the most that the service indexes.

        Raises:
            ResourceNotFound: there is no such collection.
            InvalidRequest: the picture or the location was refused.
        """

    def search_faces(self, face_id: str, *, threshold: float = 80.0, just_indexed: bool = False) -> tuple[Match, ...]:
        """Return the faces that are like one of this collection, the most similar first, without itself.

        Args:
            face_id: the face.
            threshold: the least similarity, 0 to 100.
            just_indexed: the face was indexed moments ago. Wait until a search can find it, up to 5 s.

        Raises:
            ResourceNotFound: the face, or the collection, is not there.
        """

    def delete_faces(self, face_ids: Sequence[str]) -> Deleted:
        """Delete any number of faces."""

    def ensure(self) -> bool:
        """Create the collection unless it exists; True when it was created."""
        try:
            self.describe()
        except ResourceNotFound:
            return self.create() is not None  # somebody else may have been faster
        return False

    def under(self, *external_image_ids: str) -> tuple[Face, ...]:
        """Return the faces under external image ids. Lists the whole collection: there is no other way to ask."""
        wanted = frozenset(external_image_ids)
        return tuple(face for page in self.list_pages() for face in page if face.external_image_id in wanted)


class CallMeter(Protocol):
    """Counts each attempt at a call, retries included, in the thread that makes it."""

    def count(self, operation: str) -> None:
        """Count an attempt that is about to be sent. What this raises goes to the caller, and nothing is sent."""

    def count_not_billed(self, operation: str) -> None:
        """Count that an attempt will not be billed: it was answered with an error, or could not be sent."""

    def count_throttled(self, operation: str) -> None:
        """Count an answer that said "too many requests"."""


class FaceService(Protocol):
    """A face service as one command uses it.

    Attributes:
        embedded: it is the local emulator.
        mode: `embedded` or `live`.
        calls: how often each operation was called so far, by name; retries are not counted.
    """

    embedded: bool
    mode: str
    calls: Counter[str]

    @property
    def region(self) -> str:
        """The region.

        Raises:
            SettingsError: none is set anywhere.
        """

    @property
    def endpoint(self) -> str | None:
        """Where the service is; None when it is the vendor's own address.

        Raises:
            SettingsError: as `region`, or what was named is not an address.
        """

    @property
    def where(self) -> str:
        """What a report calls the place of the collections, such as `AWS in us-east-1`."""

    @property
    def reads_s3(self) -> bool:
        """Whether the service can read the objects that our S3 client reads."""

    def who(self) -> str:
        """Say whom we are talking to, to be shown before anything is written.

        Raises:
            CredentialsError: there are no credentials, or they are wrong or expired.
        """

    def collection(self, collection_id: str) -> FaceCollection:
        """Return a collection. It need not exist yet."""

    def collection_ids(self) -> Iterator[str]:
        """Yield the ids of the account's collections in the region.

        Raises:
            AccessDenied: it needs a permission that no other call of ours needs.
        """

    def how_to_delete(self, collection_id: str, face_ids: Sequence[str]) -> str:
        """Return a command of the vendor's that deletes faces, for a person to run."""

    def metered(self, meter: CallMeter) -> AbstractContextManager[None]:
        """Tell the meter of every attempt inside the block, whichever thread makes it."""

    def watched(self) -> "Watch":
        """Begin to watch what is called and how long it takes, for a report."""
        return Watch(self)


class FaceReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the reports of all work with a face service say.

    Args:
        mode: `embedded` or `live`.
        region: the region.
        endpoint: where the service is; None when it is the vendor's own address.
        calls: calls by operation, those of S3 too.
        seconds: by the wall clock.
    """

    mode: str
    region: str
    endpoint: str | None
    calls: dict[str, int]
    seconds: float


class Watch:
    """What was called, and how long it took, since the watch began."""

    def __init__(self, service: FaceService) -> None:
        self._service = service
        self._before = Counter(service.calls)
        self._started = time.monotonic()

    @property
    def facts(self) -> dict[str, Any]:
        """The members of a `FaceReport`."""
        return {
            "mode": self._service.mode,
            "region": self._service.region,
            "endpoint": self._service.endpoint,
            "calls": dict(Counter(self._service.calls) - self._before),
            "seconds": round(time.monotonic() - self._started, 3),
        }
