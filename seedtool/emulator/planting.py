"""Adds faces that come from no picture: a large collection in seconds, for benchmarks and tests."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from seedtool.emulator.operations import MODEL_VERSION
from seedtool.emulator.process import EmulatorError, make_state_dir
from seedtool.emulator.store import FILE, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

# Faces that one transaction adds: some 100 MB. The index of names is in the order of keyed hashes, so that each
# transaction writes most of its pages, however few faces it adds.
_BATCH = 100_000
_NOISE = 32  # random bytes of a face: 13 of its id, 15 of its picture's, 16 of its digest, which may share them


class Planted(NamedTuple):
    """A face to add. SearchFaces finds the faces that have the same `name`."""

    external_image_id: str | None = None
    name: str | None = None


def plant(
    state_dir: Path,
    collection_id: str,
    faces: Iterable[Planted],
    *,
    account: str = "123456789012",
    region: str = "us-east-1",
) -> int:
    """Add faces to a collection, without pictures and HTTP. An emulator may be running on the directory.

    A planted face is listed, counted and deleted like any other face. SearchFaces and SearchFacesByImage find it by
    its name only, because it has no pixels. Planting an ExternalImageId twice makes two faces.

    Args:
        state_dir: the emulator's state directory. It is created when it is missing.
        collection_id: the collection. It is created when it is missing.
        faces: the faces. They are read once and not kept, so a million of them need no memory.
        account: the account that owns the collection; the emulator's default account.
        region: the collection's region.

    Returns:
        How many faces were added.

    Raises:
        EmulatorError: the state cannot be read or written, or somebody deleted the collection meanwhile.
    """
    make_state_dir(state_dir)
    store = Store(state_dir / FILE)
    try:
        store.create_collection(account, region, collection_id, MODEL_VERSION)
        collection = store.collection(account, region, collection_id)
        if collection is None:
            raise EmulatorError(
                f"Somebody deleted collection {collection_id} while faces were added to it.", "Try again."
            )
        count, remaining = 0, iter(faces)
        while batch := list(itertools.islice(remaining, _BATCH)):
            store.plant_faces(collection.uid, list(_rows(store, batch, collection.model_version)))
            count += len(batch)
    finally:
        store.close()
    return count


def _rows(store: Store, batch: Sequence[Planted], model_version: str) -> Iterator[tuple[str, str, bytes | None, bytes]]:
    """Yield FaceId, Face structure, keyed name and digest of each face, in the order of both ids and keyed names.

    So SQLite goes through the table and the index of names from one end to the other.
    """
    names = sorted(
        (b"" if face.name is None else store.keyed(b"person", face.name.encode()), number)
        for number, face in enumerate(batch)
    )
    random = os.urandom(_NOISE * len(batch))
    noises = sorted(random[start : start + _NOISE] for start in range(0, len(random), _NOISE))
    # The FaceIds of a batch begin alike, so its rows lie together in the file.
    prefix, model = os.urandom(2).hex(), msgspec.json.encode(model_version).decode()
    for (person, number), noise in zip(names, noises, strict=True):
        digits, external_id = noise.hex(), batch[number].external_image_id
        # version-4 UUIDs and JSON, written by hand: uuid.UUID takes five times as long
        face_id = f"{prefix}{digits[:4]}-{digits[4:8]}-4{digits[8:11]}-a{digits[11:14]}-{digits[14:26]}"
        more = "" if external_id is None else f',"ExternalImageId":{msgspec.json.encode(external_id).decode()}'
        document = (
            f'{{"FaceId":"{face_id}",'
            f'"ImageId":"{digits[32:40]}-{digits[40:44]}-4{digits[44:47]}-a{digits[47:50]}-{digits[50:62]}",'
            '"BoundingBox":{"Width":0.55,"Height":0.64,"Left":0.225,"Top":0.13},'
            f'"Confidence":{99.5 + noise[0] / 1000},"IndexFacesModelVersion":{model}{more}}}'
        )
        yield face_id, document, person or None, noise[:16]
