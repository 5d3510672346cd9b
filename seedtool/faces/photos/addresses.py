"""Whatever a row names as its photo: a key of the store, `s3://bucket/key`, or a web address."""

import threading
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from seedtool.errors import InvalidRequest, PhotoError
from seedtool.faces.aws import AwsSession
from seedtool.faces.photos import web
from seedtool.faces.photos.keys import PhotoStore
from seedtool.faces.photos.s3 import S3Store
from seedtool.faces.port import FaceService, Image, S3Location
from seedtool.settings import Settings

Answer = TypeVar("Answer")


class Addresses:
    """Reads photos by their addresses. Safe for threads.

    Args:
        settings: `private_photo_hosts` names the hosts whose addresses may be private ones.
        aws: makes the S3 client when a bucket is named.
        store: where plain keys are looked up.
    """

    def __init__(self, settings: Settings, aws: FaceService, store: PhotoStore) -> None:
        self._private_hosts = settings.private_photo_hosts
        self._service = aws
        self._session = aws if isinstance(aws, AwsSession) else AwsSession(settings)
        self._store = store
        self._buckets: dict[str, S3Store] = {}
        self._lock = threading.Lock()

    def get(self, address: str) -> bytes | None:
        """Return a photo's bytes; None when there is none.

        Raises:
            PhotoError: the address is of no kind that is read, leads where it may not, or did not answer in time.
            AwsError: the bucket could not be read.
        """
        if not is_address(address):
            return self._store.get(address)
        if address.startswith(("https://", "http://")):
            return web.fetch(address, private_hosts=self._private_hosts)
        if address.startswith("s3://"):
            bucket, key = self._object(address)
            return bucket.get(key)
        raise PhotoError(
            f"{shown(address)}: photos are not read from {address.split('://', maxsplit=1)[0]} addresses",
            remedy="Name a key of the photo store, s3://bucket/key or an https:// address.",
        )

    def location(self, address: str) -> S3Location | None:
        """Return where Rekognition can read a photo by itself; None where its bytes have to be sent.

        Raises:
            PhotoError: the key leads where it may not.
        """
        if not is_address(address):
            return self._store.location(address)
        if not address.startswith("s3://"):
            return None
        bucket, key = self._object(address)
        return bucket.location(key)

    def _object(self, address: str) -> tuple[S3Store, str]:
        """Return the bucket and the key of an `s3://` address."""
        parts = urlsplit(address)
        with self._lock:
            if parts.netloc not in self._buckets:
                self._buckets[parts.netloc] = S3Store(self._session, self._service, parts.netloc, "")
            return self._buckets[parts.netloc], unquote(parts.path).lstrip("/")


def offer(use: Callable[[Image], Answer], location: S3Location | None, read: Callable[[], bytes]) -> Answer:
    """Give Rekognition a photo to look at: where it lies in S3, else its bytes.

    What it refuses there (over 15 MB, of another format, under 80 pixels, not to be read by it, gone) is read after
    all: its bytes may be made to fit, or tell more plainly what is wrong.

    Args:
        use: calls Rekognition.
        location: where the photo lies; None when Rekognition cannot read there.
        read: gives the bytes to send (see `seedtool.faces.pictures`); not called when the location did.
    """
    if location is not None:
        try:
            return use(location)
        except InvalidRequest:
            pass
    return use(read())


def is_address(text: str) -> bool:
    """Tell whether a row names an address rather than a key of the store."""
    return "://" in text


def shown(address: str) -> str:
    """Return an address as it may be shown: a signed one carries a credential in its query."""
    return web.shown(address) if is_address(address) else address
