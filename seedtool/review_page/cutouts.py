"""Pictures of faces for the page, made from the library's photos when they are asked for, and kept in memory."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from seedtool.backfill import LibraryConnection, corrections
from seedtool.backfill.processing import LibraryPhotos
from seedtool.errors import PhotoError
from seedtool.faces import pictures

#: What is shown of a face → the pixels of its longer side: twice the size on the page, for screens that are fine.
SIDES = {"small": 144, "large": 384, "photo": 1600}

_MOST_BYTES = 64 * 1024 * 1024


class CutOuts:
    """Makes pictures of faces, and keeps those that were used last. Safe for threads.

    Args:
        connect: connects to the library.
        photos: reads the photos.
        most_bytes: bytes of pictures that are kept.
    """

    def __init__(
        self, connect: Callable[[], LibraryConnection], photos: LibraryPhotos, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._connect = connect
        self._photos = photos
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._decoding = threading.BoundedSemaphore(os.cpu_count() or 1)
        self.bytes = 0

    def get(self, face_id: str, what: Literal["small", "large", "photo"]) -> bytes:
        """Return a JPEG of a face, or of its whole photo with a frame around the face.

        Raises:
            PhotoError: there is no such face, or its photo cannot be read.
            ImageRefused: the photo cannot be shown.
        """
        key = (face_id, what)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._connect() as connection:
            place = corrections.place(connection, face_id)
        if place is None:
            raise PhotoError(f"there is no face {face_id}", remedy="Reload the page.")
        data = self._photos.read(place.storage_url)
        with self._decoding:
            draw = pictures.framed if what == "photo" else pictures.cut_out
            made = draw(data, place.box, SIDES[what])
        with self._lock:
            self.bytes += len(made) - len(self._kept.pop(key, b""))
            self._kept[key] = made
            while self.bytes > self._most_bytes:
                self.bytes -= len(self._kept.popitem(last=False)[1])
        return made
