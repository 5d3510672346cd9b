"""Photos that an application indexed before its database was made, so that Rekognition knows their faces already.

AWS keeps its faces over every reset. The embedded emulator begins empty, so a profile may list the photos whose faces a
sync shall find there. The list is a csv of `collection`, `external_image_id` and `photo`, a path relative to the list.
"""

from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

import msgspec

from seedtool.errors import FixtureError
from seedtool.faces.port import FaceCollection
from seedtool.files import Malformed, csv_text
from seedtool.files.shown import shown_path
from seedtool.settings import COLLECTION_ID

COLUMNS = ("collection", "external_image_id", "photo")


class IndexedPhoto(msgspec.Struct, frozen=True):
    """One photo of the list.

    Args:
        collection: the collection that its faces are in.
        external_image_id: the id that they carry.
        photo: the picture.
    """

    collection: str
    external_image_id: str
    photo: Path


def read_indexed(path: Path, root: Path) -> tuple[IndexedPhoto, ...]:
    """Read the list; no AWS is needed.

    Args:
        path: the csv; its photos are in its folder, or below.
        root: the project's root; messages show paths relative to it.

    Raises:
        FixtureError: the file cannot be read, has other columns, or a line names no collection, id or picture.
    """
    file, folder = shown_path(path, root), path.parent
    try:
        with path.open("rb") as opened:
            reader = csv_text.Reader(opened)
            rows = list(reader)
    except OSError as error:
        raise FixtureError(
            f"the file cannot be read: {error.strerror}", file=file, remedy="Correct `indexed` in profiles.toml."
        ) from error
    except Malformed as fault:
        raise fault.of(file) from fault
    if sorted(reader.columns) != sorted(COLUMNS):
        raise FixtureError(
            "the header does not name the columns of a list of photos",
            file=file,
            line=reader.line,
            remedy=f"Write {','.join(COLUMNS)} there.",
        )
    found = []
    for line, row in rows:
        cells = dict(zip(reader.columns, row, strict=True))
        for column in COLUMNS:
            if not cells[column]:
                raise FixtureError("the cell is empty", file=file, line=line, column=column, remedy="Fill the cell.")
        collection, external_image_id, photo = (str(cells[column]) for column in COLUMNS)
        if not COLLECTION_ID.fullmatch(collection):
            raise FixtureError(
                f"{collection!r} cannot be a collection's id",
                file=file,
                line=line,
                column="collection",
                remedy="Use letters, digits and _.- only.",
            )
        picture = folder / photo
        if not picture.resolve().is_relative_to(folder.resolve()) or not picture.is_file():
            raise FixtureError(
                f"there is no photo {photo} in {shown_path(folder, root)}",
                file=file,
                line=line,
                column="photo",
                remedy="Put the photo there, or correct the line.",
            )
        found.append(IndexedPhoto(collection, external_image_id, picture))
    return tuple(found)


def index_missing(photos: Iterable[IndexedPhoto], open_collection: Callable[[str], FaceCollection]) -> int:
    """Index those photos whose ids are not in their collections yet; for the embedded emulator.

    Args:
        photos: the list.
        open_collection: returns the gateway to a collection, which is created when it is missing.

    Returns:
        How many photos were indexed.

    Raises:
        AwsError: the emulator refused one.
    """
    count = 0
    for id_, listed in groupby(sorted(photos, key=lambda photo: photo.collection), lambda photo: photo.collection):
        collection = open_collection(id_)
        collection.ensure()
        held = {face.external_image_id for page in collection.list_pages() for face in page}
        for photo in listed:
            if photo.external_image_id not in held:
                collection.index_faces(photo.photo.read_bytes(), photo.external_image_id)
                count += 1
    return count
