"""Finds the faces of a collection that are like a given face.

Two faces with names belong to one person when the names are equal, whatever their pixels show. A face without a name
is compared by its pixels, or by the numbers of a real face. Equal names are found by an index of the store. Alike
pixels are found in two steps: short forms of all descriptions are kept in memory and compared first, then the full
descriptions of the few candidates. The numbers of all real faces are kept in memory, and compared by a product of
matrices.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from seedtool.emulator import descriptor, vision
from seedtool.emulator.faces import FACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from seedtool.emulator.faces import SeenFace
    from seedtool.emulator.store import Description, Store, StoredFace

_B = TypeVar("_B", "_Block", "_RealFaces")

_BLOCK = 65_536  # rows of a block of short forms
_REAL_BLOCK = 4 * _BLOCK  # the same of real faces: the threads of a product of matrices wait for each other in each
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

    def users_like_face(
        self, uid: int, face: StoredFace, threshold: float, limit: int, until: float, without: str | None = None
    ) -> list[tuple[float, str]]:
        """Find the users who are like a face of the collection.

        Args:
            uid: the collection.
            face: the face to compare with.
            threshold: the smallest similarity, 0 to 100.
            limit: the largest number of users.
            until: faces that were indexed later than this (seconds since the epoch) do not count yet.
            without: a user who is left out.

        Returns:
            Similarity and UserId, most similar first. A user's similarity is the mean over his faces of the same name,
            or that of the face whose pixels are most alike.
        """
        descriptions = [(each.kind, each.vector) for each in self._store.descriptions_of(uid, [face.face_id])]
        found = self._users_like(uid, face.person, face.likeness, face.digest, descriptions, threshold, until)
        return _ranked(found, threshold, limit, without)

    def users_like_picture(
        self, uid: int, face: SeenFace, threshold: float, limit: int, until: float
    ) -> list[tuple[float, str]]:
        """Find the users who are like a face in a picture. Arguments and answer are those of `users_like_face`."""
        person = None if face.name is None else self._store.keyed(b"person", face.name.encode())
        descriptions = [*face.descriptions, *face.cuts]
        found = self._users_like(uid, person, face.likeness, face.digest, descriptions, threshold, until)
        return _ranked(found, threshold, limit, None)

    def users_like_user(
        self, uid: int, user_id: str, threshold: float, limit: int, until: float
    ) -> list[tuple[float, str]]:
        """Find the other users who are like a user: like one of his faces of each name."""
        faces = self._store.faces_of_user(uid, user_id).values()
        of_person = {face.person or face.digest: face for face in faces}
        found: dict[str, float] = {}
        for face in of_person.values():
            for similarity, other in self.users_like_face(uid, face, threshold, limit + 1, until, without=user_id):
                found[other] = max(similarity, found.get(other, 0.0))
        return _ranked(found, threshold, limit, user_id)

    def like_user(self, uid: int, user_id: str, face: StoredFace) -> float:
        """Return how like a face of the collection is to a user, 0 to 100; 100 where the user has no face yet."""
        faces = self._store.faces_of_user(uid, user_id)
        if not faces:
            return 100.0
        same = [
            _by_name(face.likeness, face.digest, each)
            for each in faces.values()
            if face.person is not None and each.person == face.person
        ]
        if same:
            return round(sum(same) / len(same), 4)
        theirs = self._store.descriptions_of(uid, list(faces))
        best = 0.0
        for mine in self._store.descriptions_of(uid, [face.face_id]):
            others = [each for each in theirs if each.kind == mine.kind]
            if others:
                alike = _similarities(mine.kind, mine.vector, [each.vector for each in others])
                both_named = [mine.named and each.named for each in others]
                best = max(best, float((alike * np.where(both_named, _OTHER_NAME, 1.0)).max()))
        return round(best, 4)

    def _users_like(
        self,
        uid: int,
        person: bytes | None,
        likeness: float | None,
        digest: bytes,
        descriptions: Sequence[tuple[int, bytes]],
        threshold: float,
        until: float,
    ) -> dict[str, float]:
        by_pixels = self._by_pixels(uid, descriptions, threshold, named=person is not None)
        found: dict[str, float] = {}
        for face_id, face in self._store.faces(uid, list(by_pixels), until=until).items():
            if face.user_id is not None:
                found[face.user_id] = max(by_pixels[face_id], found.get(face.user_id, 0.0))
        if person is not None:
            same: dict[str, list[float]] = {}
            for face in self._store.faces_of(uid, person, until=until).values():
                if face.user_id is not None:
                    same.setdefault(face.user_id, []).append(_by_name(likeness, digest, face))
            found |= {user_id: round(sum(each) / len(each), 4) for user_id, each in same.items()}
        return found

    def alike(self, one: SeenFace, other: SeenFace) -> float:
        """Return the similarity of two faces in pictures, 0 to 100."""
        both = (one.name, other.name)
        if None not in both and one.name == other.name:
            asked = [each for each in (one.likeness, other.likeness) if each is not None]
            return _of_one_name(asked, one.digest, other.digest)
        found = [
            float(_similarities(kind, vector, [theirs])[0])
            for kind, vector in (*one.descriptions, *one.cuts)
            for their_kind, theirs in (*other.descriptions, *other.cuts)
            if kind == their_kind
        ]
        return round(max(found, default=0.0) * (_OTHER_NAME if None not in both else 1.0), 4)

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
            for row, alike in zip(rows, _similarities(kind, vector, [r.vector for r in rows]), strict=True):
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


def _similarities(kind: int, vector: bytes, others: list[bytes]) -> NDArray[np.float32]:
    return vision.similarities(vector, others) if kind == FACE else descriptor.similarities(vector, others)


class _Index:
    """The short forms of one collection's descriptions, in blocks of rows; of real faces all the numbers.

    A block never changes. The rows of deleted faces stay until the index is dropped: the store, which every candidate
    is read from afterwards, no longer has them.
    """

    def __init__(self) -> None:
        self.last = 0
        self._blocks: list[_Block] = []
        self._real: list[_RealFaces] = []
        self._rows = 0
        self._deleted = 0

    def add(self, descriptions: Sequence[Description]) -> None:
        """Add new descriptions, at most a block of them."""
        self.last = descriptions[-1].number
        self._rows += len(descriptions)
        # new lists: a search that runs keeps the blocks that it began with
        pictures = [each for each in descriptions if each.kind != FACE]
        if pictures:
            self._blocks = _with(self._blocks, _Block.of(pictures), _BLOCK)
        real = [each for each in descriptions if each.kind == FACE]
        if real:
            self._real = _with(self._real, _RealFaces.of(real), _REAL_BLOCK)

    def count_deleted(self, count: int) -> bool:
        """Count deleted faces. Returns True once more than half of the rows of a large index are theirs."""
        self._deleted += count
        return self._deleted > 1_000 and self._deleted * 2 > self._rows

    def candidates(self, kind: int, vector: bytes, threshold: float) -> list[int]:
        """Return the numbers of descriptions that may reach `threshold`; if too many may, those of the most similar."""
        if kind == FACE:
            face = np.frombuffer(vector, dtype=np.float32)
            found = [block.within(face, vision.most_distant(threshold)) for block in self._real]
        else:
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


class _RealFaces(NamedTuple):
    """Real faces of an index: the numbers of their descriptions, what they look like, and half its square."""

    numbers: NDArray[np.int64]
    rows: NDArray[np.float32]
    halves: NDArray[np.float32]

    @classmethod
    def of(cls, descriptions: Sequence[Description]) -> _RealFaces:
        """Make a block of these descriptions."""
        rows = np.frombuffer(b"".join(each.vector for each in descriptions), dtype=np.float32)
        rows = rows.reshape(len(descriptions), vision.NUMBERS)
        numbers = np.array([each.number for each in descriptions], dtype=np.int64)
        return cls(numbers, rows, (rows**2).sum(axis=1) / 2)

    def joined(self, other: _RealFaces) -> _RealFaces:
        """Make a block of this one's rows and the other's."""
        return _RealFaces(
            np.concatenate([self.numbers, other.numbers]),
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.halves, other.halves]),
        )

    def within(self, query: NDArray[np.float32], reach: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the numbers of the descriptions within a squared distance, and numbers that are in its order."""
        # |a - b|^2 = 2 (|a|^2 / 2 + |b|^2 / 2 - ab): the product reads each row once, and writes one number for it
        halved = self.halves - self.rows @ query
        near = np.flatnonzero(halved <= (reach - float(query @ query)) / 2)
        return self.numbers[near], halved[near]


def _with(blocks: Sequence[_B], block: _B, most: int) -> list[_B]:
    """Return blocks with one more; blocks of its size and smaller ones become one with it, up to `most` rows."""
    every = list(blocks)
    while (
        every
        and len(every[-1].numbers) <= 2 * len(block.numbers)
        and len(every[-1].numbers) + len(block.numbers) <= most
    ):
        block = every.pop().joined(block)
    every.append(block)
    return every


def _ranked(found: dict[str, float], threshold: float, limit: int, without: str | None) -> list[tuple[float, str]]:
    ranked = sorted((-each, user_id) for user_id, each in found.items() if each >= threshold and user_id != without)
    return [(-negative, user_id) for negative, user_id in ranked[:limit]]


def _by_name(likeness: float | None, digest: bytes, face: StoredFace) -> float:
    """Return the similarity of two faces of one name: what their pictures ask for, else 97 to 99.99."""
    return _of_one_name([value for value in (likeness, face.likeness) if value is not None], digest, face.digest)


def _of_one_name(asked: Sequence[float], digest: bytes, other: bytes) -> float:
    if digest == other:
        return 100.0
    if asked:
        return min(asked)
    pair = hashlib.sha256(b"".join(sorted((digest, other)))).digest()
    return round(97 + 2.99 * int.from_bytes(pair[:4], "big") / 0xFFFFFFFF, 4)
