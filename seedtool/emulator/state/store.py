"""What the emulator remembers: collections and faces, in one SQLite file.

Write-ahead logging and one transaction an operation: a SIGKILL at any moment leaves the state before or after
an operation, never between. Pictures are not kept and names of people only as keyed hashes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import time
import uuid
from typing import TYPE_CHECKING

from seedtool.emulator.process import EmulatorError
from seedtool.emulator.state.connections import Connections
from seedtool.emulator.state.records import Collection, Look, NewFace, StoredFace
from seedtool.emulator.state.sweeper import Sweeper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SLICE = 2_000  # faces removed in one transaction: some 40 ms, for which other writers wait


class CollectionGoneError(Exception):
    """The collection was deleted between the look-up and the write."""


class CollectionFullError(Exception):
    """The faces would not fit into the collection."""


class Store:
    """The SQLite file, safe for concurrent threads and processes.

    Args:
        path: the file; created when missing.

    Raises:
        EmulatorError: the file was written by a newer emulator, or is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self._connections = Connections(path)
        try:
            self._secret = self._connections.prepare()
        except sqlite3.DatabaseError as error:
            raise EmulatorError(
                f"The emulator's state {path} cannot be read: {error}.",
                "Move the file away to start with no faces; they come back by enrolling again.",
            ) from error
        self._sweeper = Sweeper(self._connections, _SLICE)
        self._sweeper.wake()

    def close(self) -> None:
        """Close every connection; the store cannot be used afterwards."""
        self._sweeper.stop()
        self._connections.close()

    def keyed(self, *parts: bytes) -> bytes:
        """A hash of `parts` under this store's own key (32 bytes); other stores hash differently."""
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.new(self._secret, message, hashlib.sha256).digest()

    def create_collection(self, account: str, region: str, name: str, model_version: str) -> bool:
        """Create a collection; False when the name is taken in this account and region."""
        with self._connections.writing() as connection:
            cursor = connection.execute(
                "INSERT INTO collections (account, region, name, model_version, created) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                (account, region, name, model_version, round(time.time(), 3)),
            )
            return cursor.rowcount == 1

    def collection(self, account: str, region: str, name: str) -> Collection | None:
        """The collection of that name, if there is one."""
        with self._connections.reading() as connection:
            row = connection.execute(
                "SELECT uid, name, model_version, created, size FROM collections "
                "WHERE account = ? AND region = ? AND name = ?",
                (account, region, name),
            ).fetchone()
        return Collection(*row) if row else None

    def collections(self, account: str, region: str, after: int, limit: int) -> list[Collection]:
        """At most `limit` collections in the order of their creation, beginning behind uid `after`."""
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT uid, name, model_version, created, size FROM collections "
                "WHERE account = ? AND region = ? AND uid > ? ORDER BY uid LIMIT ?",
                (account, region, after, limit),
            ).fetchall()
        return [Collection(*row) for row in rows]

    def delete_collection(self, uid: int) -> bool:
        """Delete a collection and its faces; False when it is gone already.

        A large one is gone at once as well; its faces are removed in the background, after a kill by the next start.
        """
        with self._connections.writing() as connection:
            row = connection.execute("SELECT size FROM collections WHERE uid = ? AND account <> ''", (uid,)).fetchone()
            if row is None:
                return False
            if row[0] <= _SLICE:
                connection.execute("DELETE FROM collections WHERE uid = ?", (uid,))
                return True
            connection.execute("UPDATE collections SET account = '', name = uid WHERE uid = ?", (uid,))
        self._sweeper.wake()
        return True

    def add_faces(
        self, uid: int, image_key: bytes | None, faces: Sequence[NewFace], most: int | None = None
    ) -> list[dict[str, object]]:
        """Remember the faces of one picture.

        Args:
            uid: the collection.
            image_key: what makes the picture "the same" as an earlier one: its known faces keep their ids and
                are not stored twice. None: every face is new.
            faces: the faces to remember.
            most: how many faces the collection may have afterwards; None for any number.

        Returns:
            The Face structures, in the order of `faces`, complete with FaceId and ImageId.

        Raises:
            CollectionGoneError: the collection does not exist any more.
            CollectionFullError: it would have more than `most` faces; none was added.
        """
        with self._connections.writing() as connection:
            row = connection.execute("SELECT size FROM collections WHERE uid = ? AND account <> ''", (uid,)).fetchone()
            if row is None:
                raise CollectionGoneError
            known: dict[int, dict[str, object]] = {
                ordinal: json.loads(document)
                for ordinal, document in connection.execute(
                    "SELECT ordinal, document FROM faces WHERE collection = ? AND image_key = ?", (uid, image_key)
                )
            }
            image_id = next((face["ImageId"] for face in known.values()), str(uuid.uuid4()))
            fresh = sum(face.ordinal not in known for face in faces)
            if most is not None and fresh and row[0] + fresh > most:
                raise CollectionFullError
            _grow(connection, uid, fresh)
            documents = []
            for face in faces:
                document = known.get(face.ordinal)
                if document is None:
                    document = {"FaceId": str(uuid.uuid4()), "ImageId": image_id, **face.document}
                    self._insert(connection, uid, image_key, face, document)
                documents.append(document)
        return documents

    def plant_faces(self, uid: int, faces: Sequence[tuple[str, str, str | None, bytes]]) -> None:
        """Remember faces that were never in a picture: (FaceId, Face structure as JSON, name, digest) each."""
        now = time.time()
        rows = sorted(
            (uid, face_id, document, 0, None if name is None else self.keyed(b"person", name.encode()), digest, now)
            for face_id, document, name, digest in faces
        )
        with self._connections.writing() as connection:
            connection.executemany(
                "INSERT INTO faces (collection, face_id, document, ordinal, person, digest, indexed) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            _grow(connection, uid, len(rows))

    def list_faces(self, uid: int, after: str, limit: int, among: Sequence[str] | None = None) -> list[tuple[str, str]]:
        """A page of a collection.

        Args:
            uid: the collection.
            after: the last FaceId of the page before; empty for the first page.
            limit: at most so many faces.
            among: only these FaceIds; all when None.

        Returns:
            (FaceId, Face structure as JSON), ordered by FaceId.
        """
        clause, parameters = "", [uid, after]
        if among is not None:
            clause = "AND face_id IN (SELECT value FROM json_each(?)) "
            parameters.append(json.dumps(among))
        with self._connections.reading() as connection:
            return connection.execute(
                "SELECT face_id, document FROM faces "  # noqa: S608 - the clause is one of two constants
                f"WHERE collection = ? AND face_id > ? {clause}ORDER BY face_id LIMIT ?",
                (*parameters, limit),
            ).fetchall()

    def delete_faces(self, uid: int, face_ids: Sequence[str]) -> set[str]:
        """Forget faces; the ids that were there are returned."""
        with self._connections.writing() as connection:
            found = connection.execute(
                "DELETE FROM faces WHERE collection = ? AND face_id IN (SELECT value FROM json_each(?)) "
                "RETURNING face_id",
                (uid, json.dumps(list(face_ids))),
            ).fetchall()
            _grow(connection, uid, -len(found))
        return {face_id for (face_id,) in found}

    def faces(self, uid: int, face_ids: Sequence[str], *, until: float) -> dict[str, StoredFace]:
        """The faces of these ids that exist and were indexed no later than `until`, by FaceId."""
        return self._stored("face_id IN (SELECT value FROM json_each(?))", uid, json.dumps(list(face_ids)), until)

    def faces_of(self, uid: int, person: bytes, *, until: float) -> dict[str, StoredFace]:
        """The faces of a person (a keyed name) that were indexed no later than `until`, by FaceId."""
        return self._stored("person = ?", uid, person, until)

    def looks_of(self, uid: int, face_ids: Sequence[str]) -> list[Look]:
        """The descriptions of these faces."""
        return self._looks("face_id IN (SELECT value FROM json_each(?))", uid, json.dumps(list(face_ids)))

    def looks_at(self, uid: int, numbers: Sequence[int]) -> list[Look]:
        """The descriptions of these numbers that still exist."""
        return self._looks("number IN (SELECT value FROM json_each(?))", uid, json.dumps(list(numbers)))

    def looks_after(self, uid: int, number: int, limit: int) -> list[Look]:
        """At most `limit` descriptions in a collection that were added behind `number`, in order."""
        return self._looks("number > ? ORDER BY number LIMIT ?", uid, number, limit)

    def _insert(
        self,
        connection: sqlite3.Connection,
        uid: int,
        image_key: bytes | None,
        face: NewFace,
        document: dict[str, object],
    ) -> None:
        person = None if face.name is None else self.keyed(b"person", face.name.encode())
        face_id = document["FaceId"]
        connection.execute(
            "INSERT INTO faces (collection, face_id, document, image_key, ordinal, person, likeness, digest, indexed) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                uid,
                face_id,
                json.dumps(document, separators=(",", ":")),
                image_key,
                face.ordinal,
                person,
                face.likeness,
                face.digest,
                time.time(),
            ),
        )
        connection.executemany(
            "INSERT INTO looks (collection, face_id, kind, named, vector) VALUES (?, ?, ?, ?, ?)",
            [(uid, face_id, kind, person is not None, vector) for kind, vector in face.looks],
        )

    def _stored(self, condition: str, uid: int, value: object, until: float) -> dict[str, StoredFace]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT face_id, document, person, likeness, digest FROM faces "  # noqa: S608 - constants
                f"WHERE collection = ? AND {condition} AND indexed <= ?",
                (uid, value, until),
            ).fetchall()
        return {row[0]: StoredFace(*row) for row in rows}

    def _looks(self, condition: str, uid: int, *values: object) -> list[Look]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT number, face_id, kind, named, vector FROM looks "  # noqa: S608 - constants
                f"WHERE collection = ? AND {condition}",
                (uid, *values),
            ).fetchall()
        return [Look(*row) for row in rows]


def _grow(connection: sqlite3.Connection, uid: int, by: int) -> None:
    if by:
        connection.execute("UPDATE collections SET size = size + ? WHERE uid = ?", (by, uid))
