"""What can be done with photos, wherever they are, and what a scheme of addresses has to bring along.

A photo is named by a key of the project's photo store (`students/student-001/photo-1.jpg`) or by an address, which
begins with a scheme (`s3://bucket/key`, `https://host/path`).
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import PurePosixPath
from typing import NamedTuple, Protocol

import msgspec

from seedtool.errors import PhotoError
from seedtool.faces.port import FaceService, S3Location
from seedtool.settings import Settings

_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*)://(.*)", re.DOTALL)  # RFC 3986, section 3.1


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


class Photos(Protocol):
    """A place from which photos are read."""

    def get(self, key: str) -> bytes | None:
        """Return a photo's bytes; None when there is none."""

    def location(self, key: str) -> S3Location | None:
        """Return where the face service can read a photo by itself; None where its bytes have to be sent."""

    def shown(self, key: str) -> str:
        """Return where a photo is, as a message may say it: without credentials."""


class PhotoStore(Photos, Protocol):
    """A place in which photos are kept, too. Keys are paths without a leading slash.

    Attributes:
        uploads: how many photos were written.
    """

    uploads: int

    def put(self, key: str, data: bytes, content_type: str = "image/jpeg") -> None:
        """Write a photo, whole or not at all, replacing what is under the key.

        Raises:
            PhotoError: the key is no plain path (see `checked`), or the store refuses.
        """

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


class Context(NamedTuple):
    """What a scheme may need to open what an address names.

    Args:
        settings: the settings.
        service: the face service.
        opened: what a scheme has opened so far and opens only once, by a name of its own.
    """

    settings: Settings
    service: FaceService
    opened: dict[str, Photos]


class Scheme(NamedTuple):
    """What the addresses of one scheme lead to.

    Args:
        open_store: opens the store that the setting `photos_url` names; None where nothing can be kept. It is given
            the address without its scheme.
        open_photo: returns where the photo of an address is read, and its key there; None where a row's address may
            not be of this scheme. It is given the whole address.
        shown: returns an address as a message may show it, without credentials.
    """

    open_store: Callable[[str, Context], PhotoStore] | None = None
    open_photo: Callable[[str, Context], tuple[Photos, str]] | None = None
    shown: Callable[[str], str] = str


def split_address(text: str) -> tuple[str, str]:
    """Return the scheme of an address, in small letters, and what follows `://`; the scheme of a key is empty."""
    found = _ADDRESS.fullmatch(text)
    return (found[1].lower(), found[2]) if found else ("", text)


def is_address(text: str) -> bool:
    """Tell whether a row names an address rather than a key of the store."""
    return _ADDRESS.fullmatch(text) is not None


def checked(key: str) -> str:
    """Return the key when it is a plain relative path, as any store and any file system can hold it.

    Raises:
        PhotoError: it is empty, absolute, or has `..`, a hidden part, a backslash or a control character.
    """
    parts = key.split("/")
    plain = all(part and not part.startswith(".") for part in parts) and PurePosixPath(key).as_posix() == key
    if not plain or "\\" in key or not key.isprintable() or len(key.encode()) > 900:
        raise PhotoError(
            f"{key!r} cannot be a photo's key",
            remedy="Keys are relative paths such as students/student-001/photo-1.jpg: correct the row.",
        )
    return key
