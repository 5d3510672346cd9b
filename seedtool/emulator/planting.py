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
    from collections.abc import Iterable
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
            # The FaceIds of a batch begin alike, so its rows lie together in the file: that is five times as fast.
            prefix, noise = os.urandom(2).hex(), os.urandom(_NOISE * len(batch))
            store.plant_faces(
                collection.uid,
                [
                    _row(face, prefix, noise[_NOISE * number : _NOISE * (number + 1)], collection.model_version)
                    for number, face in enumerate(batch)
                ],
            )
            count += len(batch)
    finally:
        store.close()
    return count


def _row(face: Planted, prefix: str, noise: bytes, model_version: str) -> tuple[str, str, str | None, bytes]:
    digits = noise.hex()
    # version-4 UUIDs, written by hand: uuid.UUID takes five times as long
    face_id = f"{prefix}{digits[:4]}-{digits[4:8]}-4{digits[8:11]}-a{digits[11:14]}-{digits[14:26]}"
    image_id = f"{digits[32:40]}-{digits[40:44]}-4{digits[44:47]}-a{digits[47:50]}-{digits[50:62]}"
    document: dict[str, object] = {
        "FaceId": face_id,
        "ImageId": image_id,
        "BoundingBox": {"Width": 0.55, "Height": 0.64, "Left": 0.225, "Top": 0.13},
        "Confidence": 99.5 + noise[0] / 1000,
        "IndexFacesModelVersion": model_version,
    }
    if face.external_image_id is not None:
        document["ExternalImageId"] = face.external_image_id
    return face_id, msgspec.json.encode(document).decode(), face.name, noise[:16]
