"""Whatever a row names as its photo: a key of the store, `s3://bucket/key`, or a web address."""

import threading
from urllib.parse import unquote, urlsplit

from seedtool.errors import PhotoError
from seedtool.faces.aws import Aws
from seedtool.faces.photos import web
from seedtool.faces.photos.keys import PhotoStore
from seedtool.faces.photos.s3 import S3Store
from seedtool.settings import Settings


class Addresses:
    """Reads photos by their addresses. Safe for threads.

    Args:
        settings: `private_photo_hosts` names the hosts whose addresses may be private ones.
        aws: makes the S3 client when a bucket is named.
        store: where plain keys are looked up.
    """

    def __init__(self, settings: Settings, aws: Aws, store: PhotoStore) -> None:
        self._private_hosts = settings.private_photo_hosts
        self._aws = aws
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
            parts = urlsplit(address)
            return self._bucket(parts.netloc).get(unquote(parts.path).lstrip("/"))
        raise PhotoError(
            f"{shown(address)}: photos are not read from {address.split('://', maxsplit=1)[0]} addresses",
            remedy="Name a key of the photo store, s3://bucket/key or an https:// address.",
        )

    def _bucket(self, name: str) -> S3Store:
        with self._lock:
            if name not in self._buckets:
                self._buckets[name] = S3Store(self._aws, name, "")
            return self._buckets[name]


def is_address(text: str) -> bool:
    """Tell whether a row names an address rather than a key of the store."""
    return "://" in text


def shown(address: str) -> str:
    """Return an address as it may be shown: a signed one carries a credential in its query."""
    return web.shown(address) if is_address(address) else address
