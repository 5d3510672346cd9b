"""How the photos of a run are processed: `Processor` says what a run asks for.

`FaceProcessor` indexes photos into the users' collections and decides about their faces. `endpoint.Endpoint` posts them
to an application instead. `open`, `index`, `match` and `delete` are called in threads and touch no database; `record`
is called in the run's own thread.
"""

import os
import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol

import msgspec

from seedtool.backfill import decisions, library
from seedtool.backfill.calls import Meter
from seedtool.backfill.decisions import Matches
from seedtool.backfill.journal import Asset
from seedtool.backfill.library import CollectionOfUser
from seedtool.backfill.queries import LibraryConnection
from seedtool.backfill.report import Outcome
from seedtool.errors import (
    AccessDenied,
    AwsError,
    InvalidRequest,
    PhotoError,
    ResourceNotFound,
    SeedtoolError,
    ServiceUnavailable,
    SettingsError,
    Throttled,
)
from seedtool.faces.photos import Addresses, FolderStore, PhotoStore, is_address, offer
from seedtool.faces.pictures import prepare_image
from seedtool.faces.port import Face, FaceCollection, FaceService, Image, Indexed
from seedtool.settings import Settings
from seedtool.settings.faces import EXTERNAL_ID

# FaceIds that ListFaces takes at once (source: API reference, FaceIds: at most 4096).
_FACES = 4096

# Source: API reference, CollectionId.
_COLLECTION_ID = re.compile(r"[a-zA-Z0-9_.\-]{1,255}")


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A user whose collection is ready.

    Args:
        arn: the collection's ARN, to be remembered; None when there is nothing to remember.
        faces: faces that are in the collection already, by asset.
        others: other external image ids in the collection; None when they are not known.
        empty: the collection was created just now.
    """

    arn: str | None = None
    faces: dict[str, list[Face]] = {}
    others: frozenset[str] | None = None
    empty: bool = False


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The faces of a photo.

    Args:
        faces: faces to keep.
        small: faces that are too small.
        adopted: the faces were in the collection already; the photo was not indexed.
        outcome: what became of the faces, where an application has decided.
    """

    faces: tuple[Face, ...] = ()
    small: tuple[Face, ...] = ()
    adopted: bool = False
    outcome: Outcome | None = None


class Paused(Exception):
    """The run ends before this could be done. The next run does it."""


class CollectionGone(SeedtoolError):
    """The user's collection was there, and is not any more."""


class Processor(Protocol):
    """Processes the photos of a run.

    Attributes:
        mode: its name in reports.
        region: the AWS region; empty where there is none.
        visibility: seconds after `index` until `match` can see the faces.
        index_calls: calls that `index` usually makes, by operation.
        match_calls: calls that `match` usually makes for one face, by operation.
    """

    mode: str
    region: str
    visibility: float
    index_calls: dict[str, int]
    match_calls: dict[str, int]

    @property
    def proven(self) -> bool:
        """Tell whether a photo was accepted, or the service is the right one anyway."""

    def metered(self, prices: Mapping[str, float], max_cost: float | None) -> AbstractContextManager[Meter]:
        """Count the calls that are sent inside the block, and keep them within the budget."""

    def open(
        self,
        collection_id: str,
        unfinished: Collection[str],
        to_look_for: Collection[str],
        pause: Callable[[float], None],
        *,
        remembered: bool,
    ) -> Opened:
        """Prepare a user, before the first asset.

        Args:
            collection_id: the user's collection.
            unfinished: assets that an interrupted run has started. Their faces may be in the collection.
            to_look_for: other assets whose faces may be in the collection.
            pause: waits so many seconds, or less when the run ends.
            remembered: the collection was created before, or need not be created.
        """

    def gone(self, collections: Sequence[CollectionOfUser]) -> dict[str, str]:
        """Return the ids of the collections that are not there, each with what is there instead, in words."""

    def there(self, collection_id: str, face_ids: Sequence[str]) -> set[str]:
        """Return which of these faces are in a collection."""

    def answers(self) -> bool:
        """Tell whether the service answers another call, one that is free."""

    def probe(self) -> None:
        """Make a free call that has a quota like that of the calls for photos; do nothing where there is none."""

    def index(self, collection_id: str, asset: Asset, left_behind: list[Face]) -> Found:
        """Find the faces of a photo; `left_behind` are its faces that are in the collection already."""

    def match(self, collection_id: str, asset: Asset, found: Found, matches: Matches) -> Matches:
        """Compare the faces with the others in the collection.

        Args:
            collection_id: the user's collection.
            asset: the asset.
            found: its faces.
            matches: what was found before an error; it gets what is found now. A search is paid for only once.
        """

    def record(
        self,
        connection: LibraryConnection,
        run_id: str,
        asset: Asset,
        found: Found,
        matches: Matches,
        calls: dict[str, int],
    ) -> Outcome | None:
        """Decide about the faces, and write rows and the journal in one statement.

        Returns:
            None when nothing was written: the journal's line belongs to another run, or the asset no longer
            qualifies.
        """

    def delete(self, collection_id: str, face_ids: list[str]) -> None:
        """Delete faces that are not to be kept."""


class FaceProcessor:
    """A `Processor` that indexes and searches faces with Rekognition.

    Args:
        settings: thresholds, and where photos are.
        aws: the AWS side.
        photos: where paths are looked up, before the project's folder.
    """

    def __init__(self, settings: Settings, aws: FaceService, photos: PhotoStore) -> None:
        self._aws = aws
        addresses, project = Addresses(settings, aws, photos), FolderStore(settings.root)
        self._photos = LibraryPhotos(addresses, project, keep_regions=aws.embedded)
        self._rules = settings.backfill
        self.mode = aws.mode
        self.region = aws.region
        self.visibility = settings.backfill.visibility
        self.index_calls = {"IndexFaces": 1}
        self.match_calls = {"SearchFaces": 1}
        self.proven = True

    @contextmanager
    def metered(self, prices: Mapping[str, float], max_cost: float | None) -> Iterator[Meter]:
        """Count the calls to Rekognition, retries included."""
        meter = Meter(prices, max_cost)
        with self._aws.metered(meter):
            yield meter

    def open(
        self,
        collection_id: str,
        unfinished: Collection[str],
        to_look_for: Collection[str],
        pause: Callable[[float], None],
        *,
        remembered: bool,
    ) -> Opened:
        """Create the collection unless it is remembered, and look for faces of these assets in it."""
        if not _COLLECTION_ID.fullmatch(collection_id):
            raise InvalidRequest(
                f"{collection_id[:80]!r} cannot be a CollectionId: it may have letters, digits and _.-, at most 255",
                remedy="Name a column of the users that has such values: key in [tool.seedtool.backfill.users].",
            )
        collection = self._aws.collection(collection_id)
        # One call where the collection does not exist: Rekognition allows 5 CreateCollection per second.
        created = None if remembered else collection.create()
        arn = None if remembered else created or collection.describe().arn
        if not unfinished and (created or not to_look_for):
            return Opened(arn=arn, others=frozenset() if created else None, empty=bool(created))
        if unfinished:
            # A call that was on its way at the kill is carried out within the first window, and visible after the
            # second.
            pause(2 * self.visibility)
        assets = {*unfinished, *to_look_for}
        faces: dict[str, list[Face]] = {}
        others: set[str] = set()
        try:
            for page in collection.list_pages():
                for face in page:
                    external_id = face.external_image_id or ""
                    if external_id in assets:
                        faces.setdefault(external_id, []).append(face)
                    else:
                        others.add(external_id)
        except ResourceNotFound as error:
            if remembered and to_look_for:
                raise _gone(collection_id) from error
            faces = {}  # the collection does not exist, so it holds no faces
        return Opened(arn=arn, faces=faces, others=frozenset(others) if to_look_for else None)

    def gone(self, collections: Sequence[CollectionOfUser]) -> dict[str, str]:
        """List all collections, and compare the ARNs that are remembered with that of one that is there.

        Without the permission for ListCollections, only the regions are compared.
        """
        if not collections:
            return {}
        there: frozenset[str] | None = None
        with suppress(AccessDenied):
            there = frozenset(self._aws.collection_ids())
        here = ""
        example = next((each.id for each in collections if each.arn and there and each.id in there), None)
        if example is not None:
            here = _place(self._aws.collection(example).describe().arn)
        found: dict[str, str] = {}
        for each in collections:
            place = _place(each.arn or "")
            elsewhere = place and place != here if here else place and _region(place) != self.region
            if elsewhere:
                found[each.id] = f"it was made in {_spoken(place)}, and this is {_spoken(here) or self._aws.where}"
            elif there is not None and each.id not in there:
                found[each.id] = f"it does not exist in {self._aws.where}"
        return found

    def there(self, collection_id: str, face_ids: Sequence[str]) -> set[str]:
        """List these faces."""
        collection, found = self._aws.collection(collection_id), set[str]()
        with suppress(ResourceNotFound):
            for start in range(0, len(face_ids), _FACES):
                pages = collection.list_pages(face_ids=face_ids[start : start + _FACES])
                found |= {face.face_id for page in pages for face in page}
        return found

    def answers(self) -> bool:
        """Ask about a collection that nobody has."""
        try:
            self._aws.collection(f"{self._rules.collection_prefix}nobody").describe()
        except AwsError as error:
            return not isinstance(error, ServiceUnavailable | Throttled)
        return True

    def probe(self) -> None:
        """List the faces of a collection that nobody has."""
        with suppress(AwsError):
            next(iter(self._aws.collection(f"{self._rules.collection_prefix}nobody").list_pages()), None)

    def index(self, collection_id: str, asset: Asset, left_behind: list[Face]) -> Found:
        """Index the photo, or adopt the faces that are in the collection already.

        Raises:
            PhotoError: the photo cannot be read.
            ImageRefused: Rekognition does not take the photo.
            InvalidRequest: the asset's key cannot be an ExternalImageId.
            AwsError: IndexFaces failed after all attempts.
        """
        if not EXTERNAL_ID.fullmatch(asset.id):
            raise InvalidRequest(
                f"{asset.id[:80]!r} cannot be an ExternalImageId: it may have letters, digits and _.-:, at most 255",
                remedy="Name a column of the assets that has such values: key in [tool.seedtool.backfill.assets].",
            )
        old = set(asset.face_ids) if asset.reindex else set()
        # Old faces are deleted before new ones are indexed, so new faces are complete wherever there are some.
        adopted = [face for face in left_behind if face.face_id not in old]
        faces = adopted or self._index(self._aws.collection(collection_id), asset, sorted(old))
        small = tuple(face for face in faces if decisions.is_small(face.box, self._rules))
        return Found(faces=tuple(face for face in faces if face not in small), small=small, adopted=bool(adopted))

    def _index(self, collection: FaceCollection, asset: Asset, old: list[str]) -> list[Face]:
        def use(image: Image) -> Indexed:
            # It exists: `open` has created it, or it was there. It is not made again, as its other faces are lost, too.
            try:
                if old:
                    collection.delete_faces(old)
                return collection.index_faces(image, asset.id)
            except ResourceNotFound as error:
                raise _gone(collection.id) from error

        # A photo whose old faces will be deleted is read first: a photo that is missing keeps its faces.
        indexed = self._photos.offer(asset.storage_url, use, read=bool(old))
        return [each.face for each in indexed.faces]

    def match(self, collection_id: str, asset: Asset, found: Found, matches: Matches) -> Matches:  # noqa: ARG002 - the protocol's
        """Search each face in its collection that was not searched yet.

        Raises:
            AwsError: a search failed after all attempts. `matches` has the others.
        """
        collection = self._aws.collection(collection_id)
        try:
            for face_id in (face.face_id for face in found.faces if face.face_id not in matches):
                alike = collection.search_faces(face_id, threshold=self._rules.review, just_indexed=True)
                matches[face_id] = tuple((match.face.face_id, match.similarity) for match in alike)
        except ResourceNotFound:
            try:
                collection.describe()  # it may be the face alone that is not there
            except ResourceNotFound as error:
                raise _gone(collection_id) from error
            raise
        return matches

    def record(
        self,
        connection: LibraryConnection,
        run_id: str,
        asset: Asset,
        found: Found,
        matches: Matches,
        calls: dict[str, int],
    ) -> Outcome | None:
        """Decide about each face by its matches on earlier assets, and write it down."""
        matched = {face_id for each in matches.values() for face_id, _ in each}
        known = library.known_faces(connection, asset.id, sorted(matched))
        new_ids = library.new_face_ids(connection, len(found.faces))
        decision, outcome = decisions.decide_asset(
            found.faces, found.small, known, matches, self._rules, asset=asset, new_ids=new_ids
        )
        if not library.record(connection, run_id, asset, decision, calls):
            return None
        return msgspec.structs.replace(outcome, adopted=found.adopted)

    def delete(self, collection_id: str, face_ids: list[str]) -> None:
        """Delete faces from the collection. Faces that are gone already are no error.

        Raises:
            SeedtoolError: some could not be deleted.
        """
        try:
            reasons = self._aws.collection(collection_id).delete_faces(face_ids).failed.values()
        except ResourceNotFound:
            return  # the collection is gone, and its faces with it
        if reasons:
            raise SeedtoolError(
                f"collection {collection_id}: {len(reasons)} faces could not be deleted: "
                f"{', '.join(sorted(set(reasons)))}",
                remedy="The next run tries again.",
            )


def _gone(collection_id: str) -> CollectionGone:
    return CollectionGone(f"the collection {collection_id} does not exist any more")


def _place(arn: str) -> str:
    """Return the partition, region and account of an ARN (`arn:aws:rekognition:REGION:ACCOUNT:collection/ID`)."""
    arn = arn if arn.startswith("arn:") else f"arn:{arn}"  # as older versions and AWS's samples have it
    return ":".join(arn.split(":")[1:5]) if arn.count(":") >= 5 else ""


def _region(place: str) -> str:
    return place.split(":")[2]


def _spoken(place: str) -> str:
    return f"account {place.split(':')[3]}, region {_region(place)}" if place else ""


class LibraryPhotos:
    """Reads the photos of the library. Safe for threads.

    Args:
        addresses: reads web addresses, buckets, and paths in the photo store.
        project: the project's folder, for paths that the photo store does not have.
        keep_regions: as `prepare_image` takes it.
    """

    def __init__(self, addresses: Addresses, project: FolderStore, *, keep_regions: bool = False) -> None:
        self._addresses = addresses
        self._project = project
        self._keep_regions = keep_regions
        # Decoding a photo of 24 million pixels takes 70 MB. More at once than there are cores is not faster.
        self._decoding = threading.BoundedSemaphore(os.cpu_count() or 1)

    def offer(self, address: str, use: Callable[[Image], Indexed], *, read: bool = False) -> Indexed:
        """Give Rekognition a photo: its place in S3 if Rekognition can read there, otherwise its bytes.

        Args:
            address: the value of assets.storage_url.
            use: calls Rekognition.
            read: read the photo in any case.

        Raises:
            PhotoError: the photo does not exist or cannot be read.
            ImageRefused: Rekognition does not take the photo.
            CredentialsError: the credentials for the bucket are wrong or expired.
            SettingsError: the bucket of the photo store does not exist.
        """
        if read:
            return use(self.picture(address))
        with _errors_of_this_photo(address):
            location = self._addresses.location(address)
        return offer(use, location, lambda: self.picture(address))

    def picture(self, address: str) -> bytes:
        """Return a photo's bytes in the form that IndexFaces takes; raises as `offer` does."""
        data = self.read(address)
        with self._decoding:
            return prepare_image(data, keep_regions=self._keep_regions).data

    def read(self, address: str) -> bytes:
        """Return a photo's bytes as they are kept; raises as `offer` does."""
        with _errors_of_this_photo(address):
            data = self._addresses.get(address)
            if data is None and not is_address(address):
                data = self._project.get(address)
        if data is None:
            raise PhotoError(
                f"there is no photo at {self._addresses.shown(address)}",
                remedy="Correct the row's storage_url or put the photo back, then run with --retry-failed.",
            )
        return data


@contextmanager
def _errors_of_this_photo(address: str) -> Iterator[None]:
    """Raise an error of the photo's bucket as an error of this photo.

    An AccessDenied of Rekognition concerns every photo and stops the run. One of a bucket concerns its photos only. If
    the bucket of the photo store does not exist, that concerns every photo that is named by a key.
    """
    try:
        yield
    except ResourceNotFound as error:
        if error.place.get("code") == "NoSuchBucket" and not is_address(address):
            raise SettingsError(error.message, remedy=error.remedy, setting="photos_url") from error
        raise PhotoError(error.message, remedy=error.remedy) from error
    except (AccessDenied, InvalidRequest) as error:
        # the message names the bucket and the key
        raise PhotoError(error.message, remedy=error.remedy) from error
