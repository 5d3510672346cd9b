"""What every photo store can do, and what a photo may be called in it."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePosixPath
from typing import Protocol

import msgspec

from seedtool.errors import PhotoError
from seedtool.faces.port import S3Location


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """A photo as a store lists it.

    Args:
        key: its key.
        written_at: when these bytes were written, by the store's clock; with an offset.
        size: bytes.
    """

    key: str
    written_at: datetime
    size: int


class PhotoStore(Protocol):
    """A place for photos. Keys are paths without a leading slash: `students/student-001/photo-1.jpg`.

    Attributes:
        uploads: how many photos were written.
    """

    uploads: int

    def put(self, key: str, data: bytes, content_type: str = "image/jpeg") -> None:
        """Write a photo, whole or not at all, replacing what is under the key."""

    def get(self, key: str) -> bytes | None:
        """Return a photo's bytes; None when there is none."""

    def location(self, key: str) -> S3Location | None:
        """Return where Rekognition can read a photo by itself; None where its bytes have to be sent."""

    def holds(self, key: str, data: bytes) -> bool:
        """Tell whether exactly these bytes are under the key, without fetching them where that can be told so."""

    def exists(self, key: str) -> bool:
        """Tell whether there is a photo under the key."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with the prefix."""

    def stamps(self, prefix: str = "") -> Iterator[Stamp]:
        """Yield the photos whose keys begin with the prefix, and when each was written."""

    def delete(self, key: str) -> None:
        """Remove a photo; nothing happens when there is none."""


def checked(key: str) -> str:
    """Return the key when it is a plain relative path.

    Raises:
        PhotoError: it is empty, absolute, or has `..`, a hidden part, a backslash or a control character.
    """
    parts = key.split("/")
    plain = all(part and not part.startswith(".") for part in parts) and PurePosixPath(key).as_posix() == key
    if not plain or "\\" in key or not key.isprintable() or len(key.encode()) > 900:
        raise PhotoError(
            f"{key!r} cannot be a photo's key",
            remedy="Keys are relative paths such as students/student-001/photo-1.jpg: mend the row's photo_url.",
        )
    return key
