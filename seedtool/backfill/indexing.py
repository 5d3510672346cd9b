"""A photo's faces into its user's collection, once: indexed, or adopted where an interrupted run indexed them."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from seedtool.backfill.journal import Asset
from seedtool.errors import AccessDenied, InvalidRequest, PhotoError, ResourceNotFound, SeedtoolError
from seedtool.faces.photos import Addresses, FolderStore, offer
from seedtool.faces.photos.addresses import is_address, shown
from seedtool.faces.pictures import prepare_image
from seedtool.faces.rekognition.answers import Face, Indexed
from seedtool.faces.rekognition.collection import Collection, Image


class Library:
    """Photos of the library: web addresses, buckets, and paths in the photo store or in the project.

    Args:
        addresses: reads addresses, and keys of the photo store.
        project: the project's folder, for paths that the store does not have.
    """

    def __init__(self, addresses: Addresses, project: FolderStore) -> None:
        self._addresses = addresses
        self._project = project
        # a photo of 24 million pixels takes 70 MB while it is looked at, and more at once are no faster
        self._looking = threading.BoundedSemaphore(os.cpu_count() or 1)

    def offer(self, address: str, use: Callable[[Image], Indexed], *, read: bool = False) -> Indexed:
        """Give Rekognition a photo to look at: where it lies in S3 if it can read there, else its bytes.

        Args:
            address: what stands in `assets.storage_url`.
            use: calls Rekognition.
            read: read it in any case.

        Raises:
            PhotoError: it is not there, or not to be read.
            ImageRefused: Rekognition would not take it.
            CredentialsError: the bucket's credentials are wrong or expired.
        """
        if read:
            return use(self.picture(address))
        with _of_this_photo(address):
            location = self._addresses.location(address)
        return offer(use, location, lambda: self.picture(address))

    def picture(self, address: str) -> bytes:
        """Return a photo's bytes as IndexFaces takes them; raises as `offer`."""
        with _of_this_photo(address):
            data = self._addresses.get(address)
            if data is None and not is_address(address):
                data = self._project.get(address)
        if data is None:
            raise PhotoError(
                f"there is no photo at {shown(address)}",
                remedy="Mend the row's storage_url or put the photo back, then run with --retry-failed.",
            )
        with self._looking:
            return prepare_image(data).data


@contextmanager
def _of_this_photo(address: str) -> Iterator[None]:
    """Raise what S3 forbids or lacks as the photo's own fault: what Rekognition forbids concerns all of them."""
    try:
        yield
    except (AccessDenied, ResourceNotFound, InvalidRequest) as error:
        raise PhotoError(f"{shown(address)}: {error.message}", remedy=error.remedy) from error


def ensure(collection: Collection) -> str:
    """Create a collection unless it exists, and return its ARN. One call where it does not: the quota is 5 a second."""
    return collection.create() or collection.describe().arn


def adopt(collection: Collection, asset_ids: Iterable[str]) -> dict[str, list[Face]]:
    """Return the faces that a collection holds under these assets, by one pass over it.

    Args:
        collection: the user's; one that does not exist holds none.
        asset_ids: the only assets whose faces are kept in memory.
    """
    found: dict[str, list[Face]] = {}
    try:
        for face in collection.under(*asset_ids):
            found.setdefault(face.external_image_id or "", []).append(face)
    except ResourceNotFound:
        return {}
    return found


def index(collection: Collection, photos: Library, asset: Asset, there: list[Face]) -> tuple[list[Face], bool]:
    """Bring a photo's faces into the collection.

    Args:
        collection: the user's.
        photos: reads the photo.
        asset: the asset.
        there: faces that an interrupted attempt left under its id.

    Returns:
        its faces, and whether they were there already.

    Raises:
        PhotoError: the photo cannot be read.
        ImageRefused: Rekognition would not take it.
        AwsError: IndexFaces failed after all attempts.
    """
    old = set(asset.face_ids) if asset.reindex else set()
    fresh = [face for face in there if face.face_id not in old]
    if fresh:  # the old ones go before new ones come, so that these are all
        return fresh, True

    def use(image: Image) -> Indexed:
        if old:
            collection.delete_faces(sorted(old))
        try:
            return collection.index_faces(image, asset.id)
        except ResourceNotFound:
            collection.create()  # it was remembered, and is gone
            return collection.index_faces(image, asset.id)

    # with faces to be deleted it is read beforehand: a photo that is gone keeps them
    indexed = photos.offer(asset.storage_url, use, read=bool(old))
    return [each.face for each in indexed.faces], False


def drop(collection: Collection, face_ids: list[str]) -> None:
    """Delete faces that are not to be kept; those that are gone already are no error.

    Raises:
        SeedtoolError: some are left.
    """
    failed = {
        face: why for face, why in collection.delete_faces(face_ids).failed.items() if "FACE_NOT_FOUND" not in why
    }
    if failed:
        why = ", ".join(sorted(set(failed.values())))
        raise SeedtoolError(
            f"{len(failed)} faces that were too small could not be deleted from collection {collection.id}: {why}",
            remedy="The next run tries again.",
        )
