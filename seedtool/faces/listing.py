"""Listing the faces of any number of collections at the same time, and COPYing them over one connection.

Memory does not grow with the collections: a page waits in a queue until the one before it is written.
"""

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import TypeAlias

import msgspec
import psycopg

from seedtool.errors import ResourceNotFound
from seedtool.faces.port import Face, FaceCollection, FaceService
from seedtool.listener import SILENT, Listener
from seedtool.settings import COLLECTION_ID

#: Collections listed at the same time. Each has one request under way, of 0.1 to 0.2 s: just under 50 a second.
LISTINGS = 8

#: Seconds after which a thread that waits for room looks whether its page is still wanted.
_LOOK = 0.1


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """What was listed.

    Args:
        numbers: the collection's number in `seedtool_listed`, by id; a missing collection has none.
        faces: how many faces each holds, by id.
        missing: the errors of the collections that do not exist, by id.
    """

    numbers: dict[str, int]
    faces: dict[str, int]
    missing: dict[str, ResourceNotFound]


def copy_faces(
    connection: psycopg.Connection,
    ids: Sequence[str],
    aws: FaceService,
    *,
    page_size: int | None = None,
    listener: Listener = SILENT,
) -> Listed:
    """COPY the faces of all collections into `pg_temp.seedtool_listed`, and their ids into `seedtool_collections`.

    Args:
        connection: inside a transaction.
        ids: the collections.
        aws: the face service.
        listener: hears the number of faces listed.
        page_size: faces a page; None for the most that the service gives.

    Raises:
        AwsError: a listing failed.
    """
    connection.execute(_DROP)
    connection.execute(_LISTED)
    connection.execute(_COLLECTIONS)
    faces = dict.fromkeys(ids, 0)
    missing: dict[str, ResourceNotFound] = {}
    total = 0
    numbers = {id_: number for number, id_ in enumerate(ids)}
    with connection.cursor() as cursor:
        with (
            closing(_pages(ids, aws.collection, page_size)) as pages,
            cursor.copy("COPY pg_temp.seedtool_listed FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.set_types(["int4", "text", "text", "float8", "float8", "float8", "float8", "float8"])
            for id_, page in pages:
                if isinstance(page, ResourceNotFound):
                    missing[id_] = page
                    continue
                number = numbers[id_]
                for face in page:
                    box = face.box
                    copy.write_row(
                        (
                            number,
                            face.face_id,
                            face.external_image_id,
                            face.confidence,
                            box.left,
                            box.top,
                            box.width,
                            box.height,
                        )
                    )
                faces[id_] += len(page)
                total += len(page)
                listener.progress("faces", total)
        found = {id_: number for id_, number in numbers.items() if id_ not in missing}
        cursor.executemany(
            "INSERT INTO pg_temp.seedtool_collections VALUES (%s, %s)", [(n, i) for i, n in found.items()]
        )
        cursor.execute("ANALYZE pg_temp.seedtool_listed, pg_temp.seedtool_collections")
    return Listed(numbers=found, faces=faces, missing=missing)


#: A page of a collection, or why the collection is missing.
_Page: TypeAlias = list[Face] | ResourceNotFound


def _pages(
    ids: Sequence[str], open_collection: Callable[[str], FaceCollection], page_size: int | None
) -> Generator[tuple[str, _Page], None, None]:
    """Yield each collection's pages, or why it is missing, as they come; threads list when there are several."""
    if len(ids) < 2:
        for id_ in ids:
            for page in _pages_of(id_, open_collection, page_size):
                yield id_, page
        return
    threads = _Threads(ids, lambda id_: _pages_of(id_, open_collection, page_size))
    try:
        yield from threads.arrivals()
    finally:
        threads.over.set()


class _Threads:
    """Threads that list collections, each one after the other, and hand their pages over.

    They are daemons: a call that hangs in the network must not keep Ctrl+C from ending the program.
    """

    def __init__(self, ids: Sequence[str], pages_of: Callable[[str], Iterator[_Page]]) -> None:
        self.over = threading.Event()
        self._pages_of = pages_of
        self._waiting = queue.SimpleQueue[str]()
        for id_ in ids:
            self._waiting.put(id_)
        self._arrived = queue.Queue[tuple[str, _Page] | BaseException | None](LISTINGS)
        self._working = min(LISTINGS, len(ids))
        for _ in range(self._working):
            threading.Thread(target=self._work, name="list-collections", daemon=True).start()

    def arrivals(self) -> Iterator[tuple[str, _Page]]:
        """Yield the pages as they come, and raise the first error."""
        while self._working:
            arrived = self._arrived.get()
            if arrived is None:
                self._working -= 1
            elif isinstance(arrived, BaseException):
                raise arrived
            else:
                yield arrived

    def _work(self) -> None:
        try:
            while not self.over.is_set():
                id_ = self._waiting.get_nowait()
                for page in self._pages_of(id_):
                    if not self._hand_over((id_, page)):
                        return
        except queue.Empty:
            self._hand_over(None)
        except BaseException as error:  # noqa: BLE001 -- raised again where the pages are taken
            self._hand_over(error)

    def _hand_over(self, what: tuple[str, _Page] | BaseException | None) -> bool:
        """Wait for room; False when it is no longer wanted."""
        while not self.over.is_set():
            try:
                self._arrived.put(what, timeout=_LOOK)
            except queue.Full:
                continue
            return True
        return False


def _pages_of(id_: str, open_collection: Callable[[str], FaceCollection], page_size: int | None) -> Iterator[_Page]:
    if not COLLECTION_ID.fullmatch(id_):
        yield ResourceNotFound(f"{id_!r} cannot be a collection's id", remedy="Use 1 to 255 letters, digits and _.-")
        return
    pages = open_collection(id_).list_pages(page_size)
    try:
        first = next(pages, None)
    except ResourceNotFound as error:
        yield error
        return
    if first is not None:
        yield first
        # one that vanishes half-way is a failure, not a collection without faces
        yield from pages


_DROP = """
DROP TABLE IF EXISTS pg_temp.seedtool_listed, pg_temp.seedtool_collections"""

# Boxes in fractions of the picture.
_LISTED = """
CREATE TEMPORARY TABLE seedtool_listed (
    collection int NOT NULL, face_id text COLLATE "C" NOT NULL, external_image_id text COLLATE "C",
    confidence float8 NOT NULL,
    box_left float8 NOT NULL, box_top float8 NOT NULL, box_width float8 NOT NULL, box_height float8 NOT NULL
) ON COMMIT DROP"""

_COLLECTIONS = """
CREATE TEMPORARY TABLE seedtool_collections (
    number int PRIMARY KEY, id text COLLATE "C" NOT NULL UNIQUE
) ON COMMIT DROP"""
