"""The faces of a photo in the collection, for as long as they are searched for."""

import uuid
from concurrent.futures import Future, ThreadPoolExecutor, wait

from seedtool.errors import SeedtoolError, ServiceUnavailable
from seedtool.faces.external_id import TEMPORARY_PREFIX
from seedtool.faces.interrupts import Held
from seedtool.faces.recognize.people import SIMILAR
from seedtool.faces.rekognition.answers import Indexed, Match
from seedtool.faces.rekognition.collection import Collection
from seedtool.faces.sync import Progress

_SEARCHES = 8  # at once; at 0.2 to 0.3 s each they stay under 50 a second


class Temporary:
    """The temporary faces of one photo, under an id that nobody else has.

    Attributes:
        unknown: the answer that names them was lost, and they could not be looked for: there may be some.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._external_image_id = f"{TEMPORARY_PREFIX}recognize-{uuid.uuid4()}_photo1"
        self._faces: tuple[str, ...] | None = ()
        self.unknown = False

    @property
    def how_to_delete(self) -> str:
        """What to do about those that are left."""
        return (
            f"Temporary faces may be left in {self._collection.id} under {self._external_image_id}: where the setting "
            "owned_collections names it, seedtool faces dedupe --temporary deletes them."
        )

    def index(self, image: bytes) -> Indexed:
        """Index the photo's faces."""
        self._faces = None  # asked, and no answer yet
        try:
            indexed = self._collection.index_faces(image, self._external_image_id)
        except ServiceUnavailable:
            raise
        except SeedtoolError:
            self._faces = ()  # refused, so there is nothing to delete
            raise
        self._faces = tuple(each.face.face_id for each in indexed.faces)
        return indexed

    def delete(self) -> tuple[str, ...]:
        """Delete them and return those that could not be; when the answer was lost, look for them."""
        try:
            if self._faces is None:
                self._faces = tuple(face.face_id for face in self._collection.under(self._external_image_id))
            failed = self._collection.delete_faces(self._faces).failed if self._faces else {}
        except SeedtoolError:
            self.unknown = self._faces is None
            return self._faces or ()
        return tuple(face_id for face_id, why in failed.items() if "FACE_NOT_FOUND" not in why)


def search(collection: Collection, indexed: Indexed, hold: Held, progress: Progress | None) -> list[tuple[Match, ...]]:
    """Search for all faces at once and return each one's matches. Ends early when a signal waits."""
    pool = ThreadPoolExecutor(_SEARCHES, thread_name_prefix="search-faces")
    try:
        searches: list[Future[tuple[Match, ...]]] = [
            pool.submit(collection.search_faces, each.face.face_id, threshold=SIMILAR, just_indexed=True)
            for each in indexed.faces
        ]
        pending = set(searches)
        while pending and hold.pending is None:
            done, pending = wait(pending, timeout=0.1)
            for each in done:
                each.result()
            if progress is not None:
                progress(len(searches) - len(pending), len(searches))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return [each.result() if each.done() and not each.cancelled() else () for each in searches]
