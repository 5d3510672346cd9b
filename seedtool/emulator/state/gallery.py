"""Which faces of a collection are like a given one.

Two faces with names are of one person exactly when the names are equal; looks then do not count. A face
without a name is compared by its looks. Names are found by the database's index. Looks are searched in a matrix of
coarse descriptions that is kept in memory and grows as faces come; the few candidates are then compared closely.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from seedtool.emulator.vision import descriptor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from seedtool.emulator.state.records import Look, StoredFace
    from seedtool.emulator.state.store import Store
    from seedtool.emulator.vision import SeenFace

_CHUNK = 65_536  # rows of a block of the matrix
_CLOSELY = 8_192  # at most so many candidates are compared closely: twice the most that may be answered
_SCOUTS = slice(None, None, 6)  # which of a row's numbers are looked at first
_STRANGERS = 0.75  # what equal looks are worth under different names, so that no two names match at 80


class Gallery:
    """Answers who is like whom. Safe for concurrent threads.

    Args:
        store: where the faces are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._walls: dict[int, _Wall] = {}

    def like_face(
        self, uid: int, face_id: str, threshold: float, limit: int, until: float
    ) -> list[tuple[float, str]] | None:
        """Faces like one of the collection's own, without itself.

        Args:
            uid: the collection.
            face_id: the face asked for.
            threshold: the least similarity, 0 to 100.
            limit: at most so many.
            until: faces indexed later than this (seconds since the epoch) are not seen yet.

        Returns:
            (similarity, Face structure as JSON), descending; None when the face is not in the collection.
        """
        face = self._store.faces(uid, [face_id], until=until).get(face_id)
        if face is None:
            return None
        looks = [(look.kind, look.vector) for look in self._store.looks_of(uid, [face_id])]
        return self._like(uid, face.person, face.likeness, face.digest, looks, threshold, limit, until, without=face_id)

    def like_picture(
        self, uid: int, face: SeenFace, threshold: float, limit: int, until: float
    ) -> list[tuple[float, str]]:
        """Faces like one in a picture; arguments and answer as for `like_face`."""
        person = None if face.name is None else self._store.keyed(b"person", face.name.encode())
        return self._like(uid, person, face.likeness, face.digest, face.looks, threshold, limit, until)

    def deleted(self, uid: int, count: int) -> None:
        """Take note that faces were deleted; the matrix is built anew once most of it is stale."""
        with self._lock:
            wall = self._walls.get(uid)
            if wall is not None and wall.grow_stale(count):
                del self._walls[uid]

    def forget(self, uid: int) -> None:
        """Drop what is kept of a collection."""
        with self._lock:
            self._walls.pop(uid, None)

    def _like(
        self,
        uid: int,
        person: bytes | None,
        likeness: float | None,
        digest: bytes,
        looks: Sequence[tuple[int, bytes]],
        threshold: float,
        limit: int,
        until: float,
        without: str | None = None,
    ) -> list[tuple[float, str]]:
        by_looks = self._by_looks(uid, looks, threshold, named=person is not None)
        faces = self._store.faces(uid, list(by_looks), until=until)
        found = {face_id: by_looks[face_id] for face_id in faces}
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

    def _by_looks(
        self, uid: int, looks: Sequence[tuple[int, bytes]], threshold: float, *, named: bool
    ) -> dict[str, float]:
        """Similarity by looks of the faces that may reach the threshold, by FaceId."""
        if not looks:
            return {}
        wall = self._wall(uid)
        found: dict[str, float] = {}
        for kind, vector in looks:
            rows = self._store.looks_at(uid, wall.candidates(kind, vector, threshold))
            if not rows:
                continue
            for look, alike in zip(rows, descriptor.similarities(vector, [r.vector for r in rows]), strict=True):
                similarity = float(alike) * (_STRANGERS if named and look.named else 1.0)
                found[look.face_id] = max(found.get(look.face_id, 0.0), round(similarity, 4))
        return found

    def _wall(self, uid: int) -> _Wall:
        with self._lock:
            wall = self._walls.setdefault(uid, _Wall())
            # In portions, so that a large collection's full descriptions are never in memory all at once.
            while looks := self._store.looks_after(uid, wall.last, _CHUNK):
                wall.hang(looks)
            return wall


class _Wall:
    """The coarse descriptions of one collection: blocks of rows that are added to and never changed.

    Rows of deleted faces stay until the wall is dropped; whoever uses a candidate looks it up in the store anyway.
    """

    def __init__(self) -> None:
        self.last = 0
        self._blocks: tuple[_Block, ...] = ()
        self._rows = 0
        self._stale = 0

    def hang(self, looks: Sequence[Look]) -> None:
        """Add descriptions that are new, a block's worth at most."""
        self.last = looks[-1].number
        self._rows += len(looks)
        block = _Block.of(looks)
        blocks = list(self._blocks)
        if blocks and len(blocks[-1].numbers) + len(looks) <= _CHUNK:
            block = blocks.pop().joined(block)
        blocks.append(block)
        self._blocks = tuple(blocks)  # searches go on in the blocks they began with

    def grow_stale(self, count: int) -> bool:
        """Count deleted faces; True once more than half of a large wall is stale."""
        self._stale += count
        return self._stale > 1_000 and self._stale * 2 > self._rows

    def candidates(self, kind: int, vector: bytes, threshold: float) -> list[int]:
        """Numbers of looks that may be as similar as `threshold`, of the most alike ones if there are too many."""
        query = descriptor.coarse([vector])[0]
        reach = descriptor.most_alike(threshold)
        found = [block.within(kind, query, reach) for block in self._blocks]
        if not found:
            return []
        numbers = np.concatenate([numbers for numbers, _ in found])
        if len(numbers) > _CLOSELY:
            distances = np.concatenate([distances for _, distances in found])
            numbers = numbers[np.argpartition(distances, _CLOSELY)[:_CLOSELY]]
        every: list[int] = numbers.tolist()
        return every


class _Block(NamedTuple):
    """Rows of a wall. `scouts` repeats a few columns of `rows`, in a form that is quick to compare."""

    numbers: NDArray[np.int64]
    kinds: NDArray[np.int8]
    rows: NDArray[np.float16]
    scouts: NDArray[np.float32]

    @classmethod
    def of(cls, looks: Sequence[Look]) -> _Block:
        """The block of these looks."""
        coarse = descriptor.coarse([look.vector for look in looks])
        return cls(
            np.array([look.number for look in looks], dtype=np.int64),
            np.array([look.kind for look in looks], dtype=np.int8),
            coarse.astype(np.float16),
            np.ascontiguousarray(coarse[:, _SCOUTS].T),
        )

    def joined(self, other: _Block) -> _Block:
        """A block of this one's rows and the other's."""
        return _Block(
            np.concatenate([self.numbers, other.numbers]),
            np.concatenate([self.kinds, other.kinds]),
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.scouts, other.scouts], axis=1),
        )

    def within(
        self, kind: int, query: NDArray[np.float32], reach: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The looks within a squared distance, and these distances."""
        # A part of a sum of squares never exceeds the sum, so the first look loses nothing; it may only be rounded.
        partial = ((self.scouts - query[_SCOUTS, None]) ** 2).sum(axis=0)
        near = np.flatnonzero((partial <= reach * 1.01 + 1) & (self.kinds == kind))
        squared = ((self.rows[near].astype(np.float32) - query) ** 2).sum(axis=1)
        chosen = squared <= reach
        return self.numbers[near[chosen]], squared[chosen]


def _by_name(likeness: float | None, digest: bytes, face: StoredFace) -> float:
    """The similarity of two faces under one name: what the pictures ask for, else 97 to 99.99."""
    asked = [value for value in (likeness, face.likeness) if value is not None]
    if digest == face.digest:
        return 100.0
    if asked:
        return min(asked)
    pair = hashlib.sha256(b"".join(sorted((digest, face.digest)))).digest()
    return round(97 + 2.99 * int.from_bytes(pair[:4], "big") / 0xFFFFFFFF, 4)
