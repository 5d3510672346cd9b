"""Finds the faces of a collection that are like a given face.

Two faces with names belong to one person when the names are equal, whatever their pixels show. A face without a name
is compared by its pixels. Equal names are found by an index of the store. Alike pixels are found in two steps: short
forms of all descriptions are kept in memory and compared first, then the full descriptions of the few candidates.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from seedtool.emulator import descriptor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from seedtool.emulator.faces import SeenFace
    from seedtool.emulator.store import Description, Store, StoredFace

_BLOCK = 65_536  # rows of a block of short forms
_MOST_CANDIDATES = 8_192  # whose full descriptions are compared: twice the most faces that an answer may have
_PREVIEW = slice(None, None, 6)  # the numbers of a short form that are compared first
_OTHER_NAME = 0.75  # factor for the similarity of pixels under different names: two names never match at 80


class Gallery:
    """Searches collections. Safe for concurrent threads.

    Args:
        store: where the faces are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._indexes: dict[int, _Index] = {}

    def like_face(
        self, uid: int, face_id: str, threshold: float, limit: int, until: float
    ) -> list[tuple[float, str]] | None:
        """Find the faces that are like a face of the collection, without that face.

        Args:
            uid: the collection.
            face_id: the face to compare with.
            threshold: the smallest similarity, 0 to 100.
            limit: the largest number of faces.
            until: faces that were indexed later than this (seconds since the epoch) cannot be found yet.

        Returns:
            Similarity and Face structure as JSON of each face, most similar first. None when the collection has no
            such face.
        """
        face = self._store.faces(uid, [face_id], until=until).get(face_id)
        if face is None:
            return None
        descriptions = [(each.kind, each.vector) for each in self._store.descriptions_of(uid, [face_id])]
        return self._like(
            uid, face.person, face.likeness, face.digest, descriptions, threshold, limit, until, without=face_id
        )

    def like_picture(
        self, uid: int, face: SeenFace, threshold: float, limit: int, until: float
    ) -> list[tuple[float, str]]:
        """Find the faces that are like a face in a picture. Arguments and answer are those of `like_face`."""
        person = None if face.name is None else self._store.keyed(b"person", face.name.encode())
        descriptions = [*face.descriptions, *face.cuts]
        return self._like(uid, person, face.likeness, face.digest, descriptions, threshold, limit, until)

    def deleted(self, uid: int, count: int) -> None:
        """Take note that `count` faces of a collection were deleted."""
        with self._lock:
            index = self._indexes.get(uid)
            if index is not None and index.count_deleted(count):
                del self._indexes[uid]  # the next search builds it again, without the deleted faces

    def forget(self, uid: int) -> None:
        """Take note that a collection was deleted."""
        with self._lock:
            self._indexes.pop(uid, None)

    def _like(
        self,
        uid: int,
        person: bytes | None,
        likeness: float | None,
        digest: bytes,
        descriptions: Sequence[tuple[int, bytes]],
        threshold: float,
        limit: int,
        until: float,
        without: str | None = None,
    ) -> list[tuple[float, str]]:
        by_pixels = self._by_pixels(uid, descriptions, threshold, named=person is not None)
        faces = self._store.faces(uid, list(by_pixels), until=until)
        found = {face_id: by_pixels[face_id] for face_id in faces}
        if person is not None:
            same = self._store.faces_of(uid, person, until=until)
            faces |= same
            found |= {face_id: _by_name(likeness, digest, face) for face_id, face in same.items()}
        ranked = sorted(
            (-similarity, face_id)
            for face_id, similarity in found.items()
            if similarity >= threshold and face_id != without
        )
        return [(-negative, faces[face_id].document) for negative, face_id in ranked[:limit]]

    def _by_pixels(
        self, uid: int, descriptions: Sequence[tuple[int, bytes]], threshold: float, *, named: bool
    ) -> dict[str, float]:
        """Return the similarity by pixels of the faces that may reach the threshold, by FaceId."""
        if not descriptions:
            return {}
        index = self._index(uid)
        found: dict[str, float] = {}
        for kind, vector in descriptions:
            rows = self._store.descriptions_at(uid, index.candidates(kind, vector, threshold))
            if not rows:
                continue
            for row, alike in zip(rows, descriptor.similarities(vector, [r.vector for r in rows]), strict=True):
                similarity = float(alike) * (_OTHER_NAME if named and row.named else 1.0)
                found[row.face_id] = max(found.get(row.face_id, 0.0), round(similarity, 4))
        return found

    def _index(self, uid: int) -> _Index:
        with self._lock:
            index = self._indexes.setdefault(uid, _Index())
            # In batches, so that the full descriptions of a large collection are never in memory all at once.
            while rows := self._store.descriptions_after(uid, index.last, _BLOCK):
                index.add(rows)
            return index


class _Index:
    """The short forms of one collection's descriptions, in blocks of rows.

    A block never changes. The rows of deleted faces stay until the index is dropped: the store, which every candidate
    is read from afterwards, no longer has them.
    """

    def __init__(self) -> None:
        self.last = 0
        self._blocks: tuple[_Block, ...] = ()
        self._rows = 0
        self._deleted = 0

    def add(self, descriptions: Sequence[Description]) -> None:
        """Add new descriptions, at most a block of them."""
        self.last = descriptions[-1].number
        self._rows += len(descriptions)
        block = _Block.of(descriptions)
        blocks = list(self._blocks)
        if blocks and len(blocks[-1].numbers) + len(descriptions) <= _BLOCK:
            block = blocks.pop().joined(block)
        blocks.append(block)
        self._blocks = tuple(blocks)  # a new tuple: a search that runs keeps the blocks that it began with

    def count_deleted(self, count: int) -> bool:
        """Count deleted faces. Returns True once more than half of the rows of a large index are theirs."""
        self._deleted += count
        return self._deleted > 1_000 and self._deleted * 2 > self._rows

    def candidates(self, kind: int, vector: bytes, threshold: float) -> list[int]:
        """Return the numbers of descriptions that may reach `threshold`; if too many may, those of the most similar."""
        query = descriptor.coarse([vector])[0]
        reach = descriptor.most_alike(threshold)
        found = [block.within(kind, query, reach) for block in self._blocks]
        if not found:
            return []
        numbers = np.concatenate([numbers for numbers, _ in found])
        if len(numbers) > _MOST_CANDIDATES:
            distances = np.concatenate([distances for _, distances in found])
            numbers = numbers[np.argpartition(distances, _MOST_CANDIDATES)[:_MOST_CANDIDATES]]
        every: list[int] = numbers.tolist()
        return every


class _Block(NamedTuple):
    """Rows of an index. `preview` repeats a few columns of `rows` in a form that is quick to compare."""

    numbers: NDArray[np.int64]
    kinds: NDArray[np.int8]
    rows: NDArray[np.float16]
    preview: NDArray[np.float32]

    @classmethod
    def of(cls, descriptions: Sequence[Description]) -> _Block:
        """Make a block of these descriptions."""
        coarse = descriptor.coarse([each.vector for each in descriptions])
        return cls(
            np.array([each.number for each in descriptions], dtype=np.int64),
            np.array([each.kind for each in descriptions], dtype=np.int8),
            coarse.astype(np.float16),
            np.ascontiguousarray(coarse[:, _PREVIEW].T),
        )

    def joined(self, other: _Block) -> _Block:
        """Make a block of this one's rows and the other's."""
        return _Block(
            np.concatenate([self.numbers, other.numbers]),
            np.concatenate([self.kinds, other.kinds]),
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.preview, other.preview], axis=1),
        )

    def within(
        self, kind: int, query: NDArray[np.float32], reach: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the numbers of the descriptions within a squared distance, and their squared distances."""
        # A part of a sum of squares never exceeds the sum, so the preview loses no row. The margin is for rounding.
        if not (self.kinds == kind).any():
            return self.numbers[:0], self.rows[:0, 0].astype(np.float32)
        partial = ((self.preview - query[_PREVIEW, None]) ** 2).sum(axis=0)
        near = np.flatnonzero((partial <= reach * 1.01 + 1) & (self.kinds == kind))
        squared = ((self.rows[near].astype(np.float32) - query) ** 2).sum(axis=1)
        chosen = squared <= reach
        return self.numbers[near[chosen]], squared[chosen]


def _by_name(likeness: float | None, digest: bytes, face: StoredFace) -> float:
    """Return the similarity of two faces of one name: what their pictures ask for, else 97 to 99.99."""
    asked = [value for value in (likeness, face.likeness) if value is not None]
    if digest == face.digest:
        return 100.0
    if asked:
        return min(asked)
    pair = hashlib.sha256(b"".join(sorted((digest, face.digest)))).digest()
    return round(97 + 2.99 * int.from_bytes(pair[:4], "big") / 0xFFFFFFFF, 4)
