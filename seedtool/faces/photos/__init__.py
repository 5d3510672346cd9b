"""Where the application's photos are: the stores by the schemes of their addresses.

Whoever adds a store writes one file beside `folder` and `s3`, and adds one entry to `SCHEMES`.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from seedtool.errors import InvalidRequest, PhotoError, SettingsError
from seedtool.faces.photos import folder, s3, web
from seedtool.faces.photos.folder import FolderStore
from seedtool.faces.photos.s3 import S3Store
from seedtool.faces.photos.store import Context, Photos, PhotoStore, Scheme, Stamp, is_address, split_address
from seedtool.faces.port import FaceService, Image, S3Location
from seedtool.settings import Settings

__all__ = [
    "Addresses",
    "FolderStore",
    "PhotoStore",
    "S3Store",
    "Stamp",
    "is_address",
    "offer",
    "readable",
    "shown",
    "store",
]

Answer = TypeVar("Answer")

#: What each scheme leads to; a path has none.
SCHEMES: dict[str, Scheme] = {
    "": folder.SCHEME,
    "file": folder.FILE_SCHEME,
    "s3": s3.SCHEME,
    "https": web.SCHEME,
    "http": web.SCHEME,
}


def store(settings: Settings, service: FaceService) -> PhotoStore:
    """Return the store that the settings name.

    Args:
        settings: `photos_url` is `s3://bucket/prefix`, `file:///folder` or a folder. Without it, the embedded mode
            keeps photos in the project's state folder.
        service: the face service, which may be able to read the photos by itself.

    Raises:
        SettingsError: live and PHOTOS_URL is not set, or it names no store.
    """
    if settings.photos_url is None:
        if settings.aws == "live":
            raise SettingsError(
                "setting photos_url: not set, so there is nowhere to keep photos",
                remedy="Put PHOTOS_URL=s3://bucket/prefix (and S3_ENDPOINT_URL for R2 or MinIO) or a folder into .env.",
                setting="photos_url",
            )
        return FolderStore(settings.state_dir / "photos")
    scheme, rest = split_address(settings.photos_url)
    open_store = SCHEMES[scheme].open_store if scheme in SCHEMES else None
    if open_store is None:
        raise SettingsError(
            f"setting photos_url: {scheme}:// is not a photo store",
            remedy="Use s3://bucket/prefix or a folder's path.",
            setting="photos_url",
        )
    return open_store(rest, Context(settings, service, {}))


class Addresses:
    """Reads the photos that rows name, by key of the store or by address. Safe for threads.

    Args:
        settings: `private_photo_hosts` names the hosts whose addresses may be private ones.
        service: the face service, which may be able to read the photos by itself.
        store: where keys are looked up.
    """

    def __init__(self, settings: Settings, service: FaceService, store: PhotoStore) -> None:
        self._context = Context(settings, service, {})
        self._store = store
        self._lock = threading.Lock()

    def get(self, address: str) -> bytes | None:
        """Return a photo's bytes; None when there is none.

        Raises:
            PhotoError: the address is of no kind that is read, leads where it may not, or did not answer in time.
            AwsError: the bucket could not be read.
        """
        photos, key = self._open(address)
        return photos.get(key)

    def location(self, address: str) -> S3Location | None:
        """Return where the face service can read a photo by itself; None where its bytes have to be sent.

        Raises:
            PhotoError: as `get`.
        """
        photos, key = self._open(address)
        return photos.location(key)

    def shown(self, address: str) -> str:
        """Return where a photo is, as a message may say it.

        Raises:
            PhotoError: as `get`.
        """
        photos, key = self._open(address)
        return photos.shown(key)

    def _open(self, address: str) -> tuple[Photos, str]:
        if not is_address(address):
            return self._store, address
        scheme, _ = split_address(address)
        if not readable(address):
            raise PhotoError(
                f"{shown(address)}: photos are not read from {scheme} addresses",
                remedy="Name a key of the photo store, s3://bucket/key or an https:// address.",
            )
        open_photo = SCHEMES[scheme].open_photo
        assert open_photo is not None  # noqa: S101 -- it is readable
        with self._lock:
            return open_photo(address, self._context)


def readable(address: str) -> bool:
    """Tell whether photos are read from addresses of this scheme."""
    scheme = SCHEMES.get(split_address(address)[0])
    return scheme is not None and scheme.open_photo is not None


def shown(address: str) -> str:
    """Return an address as it may be shown: a signed one carries a credential in its query."""
    if not is_address(address):
        return address
    scheme = SCHEMES.get(split_address(address)[0])
    return web.shown(address) if scheme is None else scheme.shown(address)


def offer(use: Callable[[Image], Answer], location: S3Location | None, read: Callable[[], bytes]) -> Answer:
    """Give the face service a photo to look at: where it lies in S3, else its bytes.

    Where the service refuses the object (over 15 MB, another format, under 80 pixels, not readable, gone), the photo is
    read after all: its bytes can be made to fit, or show more plainly what is wrong.

    Args:
        use: calls the service.
        location: where the photo lies; None when the service cannot read there.
        read: gives the bytes to send (see `seedtool.faces.pictures`); not called when the location did.
    """
    if location is not None:
        try:
            return use(location)
        except InvalidRequest:
            pass
    return use(read())
