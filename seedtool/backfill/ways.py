"""How a photo's faces are found and told apart. One seam: Rekognition is one way, an application's endpoint another.

`open`, `index` and `match` run in threads and touch no database; `record` runs in the run's own thread, and what it
writes is written together with the journal's line.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec
import psycopg

from seedtool.backfill import indexing, library, matching
from seedtool.backfill.indexing import Library
from seedtool.backfill.journal import Asset
from seedtool.backfill.reporting.report import Outcome
from seedtool.backfill.reporting.spending import Meter, metered
from seedtool.faces.rekognition import Aws
from seedtool.faces.rekognition.answers import Face
from seedtool.faces.rekognition.collection import Collection
from seedtool.settings import Backfill


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A user who is ready.

    Args:
        arn: of the collection, where it was not remembered; None where there is nothing to remember.
        faces: by asset, what interrupted attempts left in the collection.
    """

    arn: str | None = None
    faces: dict[str, list[Face]] = {}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What `index` found: the faces kept, the ones too small, and whether they were there already."""

    faces: tuple[Face, ...] = ()
    small: tuple[Face, ...] = ()
    adopted: bool = False
    outcome: Outcome | None = None


class Paused(Exception):
    """The run ends before this could be done; the next one takes it up."""


class Way(Protocol):
    """How a photo's faces are found and told apart.

    Attributes:
        mode: what a report calls it.
        region: where it is; empty where that means nothing.
        visibility: seconds from `index` until `match` sees its faces.
        searches: calls that `match` is expected to make for each face, by operation.
        indexes: calls that `index` is expected to make, by operation.
    """

    mode: str
    region: str
    visibility: float
    indexes: dict[str, int]
    searches: dict[str, int]

    def metered(self, prices: Mapping[str, float], most: float | None) -> AbstractContextManager[Meter]:
        """Count what is called inside: dollars a call by operation, and how many dollars may be spent."""

    def open(
        self, collection_id: str, unfinished: Sequence[str], pause: Callable[[float], None], *, remembered: bool
    ) -> Opened:
        """Prepare a user, before the first asset.

        Args:
            collection_id: the user's.
            unfinished: assets whose faces may be there although no row says so.
            pause: waits so many seconds, or less when the run is to end.
            remembered: the collection is known to be there.
        """

    def index(self, collection_id: str, asset: Asset, there: list[Face]) -> Found:
        """Find a photo's faces; `there` are those that an interrupted attempt left."""

    def match(self, collection_id: str, asset: Asset, found: Found) -> matching.Matches:
        """Compare the faces with those of earlier assets."""

    def record(
        self,
        connection: psycopg.Connection,
        run: str,
        asset: Asset,
        found: Found,
        matches: matching.Matches,
        calls: dict[str, int],
    ) -> Outcome | None:
        """Decide, and write it with the journal's line; None when that line is not this run's any more."""

    def drop(self, collection_id: str, face_ids: list[str]) -> None:
        """Delete faces that are not to be kept."""


class Rekognition:
    """Faces are indexed and searched by Rekognition, and the rows are written here.

    Args:
        aws: the AWS side.
        photos: reads the photos.
        rules: thresholds, sizes, waits.
    """

    def __init__(self, aws: Aws, photos: Library, rules: Backfill) -> None:
        self._aws = aws
        self._photos = photos
        self._rules = rules
        self.mode = aws.mode
        self.region = aws.region
        self.visibility = rules.visibility
        self.indexes = {"IndexFaces": 1}
        self.searches = {"SearchFaces": 1}

    def metered(self, prices: Mapping[str, float], most: float | None) -> AbstractContextManager[Meter]:
        """Count attempts at Rekognition's operations."""
        return metered(self._aws.rekognition(), prices, most)

    def open(
        self, collection_id: str, unfinished: Sequence[str], pause: Callable[[float], None], *, remembered: bool
    ) -> Opened:
        """Create the collection unless it is remembered, and look for what interrupted attempts left in it."""
        collection = self._collection(collection_id)
        arn = None if remembered else indexing.ensure(collection)
        if not unfinished:
            return Opened(arn=arn)
        # what was under way when a run was killed is carried out within the first window and seen within the second
        pause(2 * self.visibility)
        return Opened(arn=arn, faces=indexing.adopt(collection, unfinished))

    def index(self, collection_id: str, asset: Asset, there: list[Face]) -> Found:
        """Index the photo, or adopt what is there."""
        faces, adopted = indexing.index(self._collection(collection_id), self._photos, asset, there)
        small = tuple(face for face in faces if matching.is_small(face.box, self._rules))
        return Found(faces=tuple(face for face in faces if face not in small), small=small, adopted=adopted)

    def match(self, collection_id: str, asset: Asset, found: Found) -> matching.Matches:  # noqa: ARG002 - the seam's
        """Search each face."""
        return matching.search(self._collection(collection_id), found.faces, self._rules)

    def record(
        self,
        connection: psycopg.Connection,
        run: str,
        asset: Asset,
        found: Found,
        matches: matching.Matches,
        calls: dict[str, int],
    ) -> Outcome | None:
        """Decide about each face by the matches with earlier assets, and write it."""
        ids = {face_id for each in matches.values() for face_id, _ in each}
        known = library.known(connection, asset.id, sorted(ids))
        decided, similarities = matching.settle(
            found.faces, found.small, known, matches, self._rules, reindex=asset.reindex
        )
        if not library.write(connection, run, asset.id, decided, calls):
            return None
        return matching.outcome_of(decided, similarities, adopted=found.adopted)

    def drop(self, collection_id: str, face_ids: list[str]) -> None:
        """Delete faces that are too small."""
        indexing.drop(self._collection(collection_id), face_ids)

    def _collection(self, collection_id: str) -> Collection:
        return self._aws.collection(collection_id)
