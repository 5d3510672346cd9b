"""Collections and faces in one SQLite file.

Each operation is one transaction in write-ahead logging. A SIGKILL at any moment leaves the state from before or from
after an operation, never from between. Pictures are not kept. Names of people are kept as keyed hashes only.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import sqlite3
import threading
import time
import uuid
from typing import TYPE_CHECKING, NamedTuple

from seedtool.emulator.process import EmulatorError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

#: The file's name in the state directory.
FILE = "faces.sqlite3"

_DELETE_BATCH = 2_000  # faces deleted in one transaction: other writers wait for it some 40 ms
_PLANTING_MEMORY = 200_000  # KiB of pages: the index of a million names fits in
_PAUSE = 0.005  # seconds between two such transactions, in which other writers get their turn

_SCHEMA_VERSION = 4
_SCHEMA = """
CREATE TABLE secret (value BLOB NOT NULL);
CREATE TABLE collections (
    uid INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: a token of a deleted collection stays invalid
    account TEXT NOT NULL,    -- empty: the collection is deleted, and its faces are being removed
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    model_version TEXT NOT NULL,
    created REAL NOT NULL,
    size INTEGER NOT NULL DEFAULT 0,  -- the number of faces; counting a million rows is slow
    users INTEGER NOT NULL DEFAULT 0, -- the number of users
    UNIQUE (account, region, name)
);
-- Rows lie in the order of FaceId within a collection, so a page of ListFaces is one range of this table.
CREATE TABLE faces (
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    face_id TEXT NOT NULL,
    document TEXT NOT NULL,   -- the Face structure as ListFaces answers it
    image_key BLOB,           -- keyed hash of picture and ExternalImageId; null without an ExternalImageId
    ordinal INTEGER NOT NULL, -- the face's number in the picture
    person BLOB,              -- keyed hash of the person's name; null when the picture gives none
    likeness REAL,            -- the similarity to other faces of the person that the picture asks for; else null
    digest BLOB NOT NULL,     -- hash of picture and ordinal; similarities are computed from it
    indexed REAL NOT NULL,    -- seconds since the epoch
    user_id TEXT,             -- the user that the face is associated with
    PRIMARY KEY (collection, face_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX faces_by_image ON faces (collection, image_key, ordinal) WHERE image_key IS NOT NULL;
CREATE INDEX faces_by_person ON faces (collection, person) WHERE person IS NOT NULL;
-- Descriptions of the faces' pixels. Numbers only grow, so a reader can ask for the rows that are new to it.
CREATE TABLE looks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL,
    face_id TEXT NOT NULL,
    kind INTEGER NOT NULL,    -- see faces.WHOLE, faces.CROP and faces.FACE
    named INTEGER NOT NULL,   -- 1 when the face has a person
    vector BLOB NOT NULL,     -- see descriptor.describe; of faces.FACE vision.NUMBERS 32-bit floats
    FOREIGN KEY (collection, face_id) REFERENCES faces ON DELETE CASCADE
);
CREATE INDEX looks_by_face ON looks (collection, face_id);
CREATE INDEX looks_by_number ON looks (collection, number);
"""
# What version 3 has more: users, tags, and the answers of requests that may be repeated.
_USERS = """
CREATE TABLE users (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    UNIQUE (collection, user_id)
);
CREATE INDEX faces_by_user ON faces (collection, user_id) WHERE user_id IS NOT NULL;
CREATE TABLE tags (
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (collection, name)
) WITHOUT ROWID;
CREATE TABLE answered (
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    operation TEXT NOT NULL,
    token TEXT NOT NULL,      -- the ClientRequestToken
    request BLOB NOT NULL,    -- a hash of the other members
    answer TEXT NOT NULL,
    at REAL NOT NULL,         -- seconds since the epoch
    PRIMARY KEY (collection, operation, token)
) WITHOUT ROWID;
CREATE INDEX answered_by_time ON answered (at);
"""
_SCHEMA += _USERS
_FROM_VERSION_2 = f"""
ALTER TABLE faces ADD COLUMN user_id TEXT;
ALTER TABLE collections ADD COLUMN users INTEGER NOT NULL DEFAULT 0;
{_USERS}"""
# The tables stay: with version 4 `looks` may hold numbers of real faces, which earlier programs take for pixels.
_FROM_VERSION_3 = ""
_FROM_VERSION_1 = """
ALTER TABLE collections ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
UPDATE collections SET size = (SELECT count(*) FROM faces WHERE collection = uid);
DROP INDEX faces_by_person;
CREATE INDEX faces_by_person ON faces (collection, person) WHERE person IS NOT NULL;
"""

#: Seconds for which the answer to a ClientRequestToken is kept. AWS documents no number; a client retries for minutes.
_TOKENS_FOR = 3600.0
_EVER = 1e12  # seconds since the epoch: later than any face


class Collection(NamedTuple):
    """A collection.

    Attributes:
        uid: its number in the store; no other collection ever gets it.
        name: its CollectionId.
        model_version: its FaceModelVersion.
        created: seconds since the epoch.
        size: the number of its faces.
        users: the number of its users.
    """

    uid: int
    name: str
    model_version: str
    created: float
    size: int
    users: int


class NewFace(NamedTuple):
    """A face to add.

    Attributes:
        ordinal: its number in the picture.
        document: the Face structure without FaceId, which the store adds.
        name: the person's name; None when the picture gives none.
        likeness: the similarity to other faces of the person that the picture asks for; None when it asks for none.
        digest: a hash of the picture and the ordinal.
        descriptions: of its pixels, each with its kind.
    """

    ordinal: int
    document: dict[str, object]
    name: str | None
    likeness: float | None
    digest: bytes
    descriptions: Sequence[tuple[int, bytes]]


class StoredFace(NamedTuple):
    """A face of a collection. `document` is the Face structure as JSON, `person` the keyed hash of the name."""

    face_id: str
    document: str
    person: bytes | None
    likeness: float | None
    digest: bytes
    user_id: str | None


class Description(NamedTuple):
    """A description of a face's pixels. `named` is 1 when the face has a person."""

    number: int
    face_id: str
    kind: int
    named: int
    vector: bytes


class CollectionGoneError(Exception):
    """Somebody deleted the collection after it was looked up."""


class CollectionFullError(Exception):
    """The collection has no room for these faces."""


class Connections:
    """Connections to one file, made as needed and used again. Safe for concurrent threads and processes.

    Args:
        path: the file. `prepare` creates it when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._every: list[sqlite3.Connection] = []
        self._pool_lock = threading.Lock()
        self._write_lock = threading.Lock()

    def prepare(self) -> bytes:
        """Create the tables, or upgrade those of an earlier version.

        Returns:
            The file's secret: 32 random bytes, written when the file was created.

        Raises:
            EmulatorError: a newer emulator wrote the file.
        """
        with self.writing() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version < _SCHEMA_VERSION:
                upgrades = (_FROM_VERSION_1, _FROM_VERSION_2, _FROM_VERSION_3)
                steps = (_SCHEMA,) if version == 0 else upgrades[version - 1 :]
                for statement in (each for step in steps for each in step.split(";\n")):
                    connection.execute(statement)
                if version == 0:
                    connection.execute("INSERT INTO secret VALUES (?)", (secrets.token_bytes(32),))
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            elif version != _SCHEMA_VERSION:
                raise EmulatorError(
                    f"The emulator's state {self._path} has format {version}; this version reads format "
                    f"{_SCHEMA_VERSION} and earlier ones.",
                    "Use the version of seedtool that wrote it, or another state directory.",
                )
            (secret,) = connection.execute("SELECT value FROM secret").fetchone()
        return bytes(secret)

    def close(self) -> None:
        """Close every connection."""
        with self._pool_lock:
            for connection in self._every:
                connection.close()
            self._every.clear()
            self._idle.clear()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for reading. Each statement sees one consistent state; two statements may see two."""
        with self._pool_lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._connect()
        try:
            yield connection
        finally:
            with self._pool_lock:
                self._idle.append(connection)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection in a transaction. It is committed at the end, and rolled back on an exception."""
        # Threads wait here for their turn. SQLite's own busy handler sleeps, and may serve the last comer first.
        with self._write_lock, self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        with self._pool_lock:
            self._every.append(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        # With NORMAL nothing is lost when the process dies. When the machine dies, the last transactions may be.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection


class Store:
    """The emulator's collections and faces. Safe for concurrent threads and processes.

    Args:
        path: the SQLite file. It is created when it is missing.

    Raises:
        EmulatorError: a newer emulator wrote the file, or it is not a SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self._connections = Connections(path)
        try:
            self._secret = self._connections.prepare()
        except EmulatorError:
            self._connections.close()
            raise
        except sqlite3.DatabaseError as error:
            self._connections.close()
            raise EmulatorError(
                f"The emulator's state {path} cannot be read: {error}.",
                "Move the file away to start without faces, then index the photos again.",
            ) from error
        self._remover = Remover(self._connections, _DELETE_BATCH)
        self._remover.wake()

    def close(self) -> None:
        """Close every connection. The store cannot be used afterwards."""
        self._remover.stop()
        self._connections.close()

    def keyed(self, *parts: bytes) -> bytes:
        """Hash `parts` with this store's secret. Other stores give other hashes. The hash has 32 bytes."""
        message = b"".join([len(part).to_bytes(4, "big") + part for part in parts])
        return hmac.digest(self._secret, message, "sha256")

    def create_collection(self, account: str, region: str, name: str, model_version: str) -> bool:
        """Create a collection. Returns False when the account has one of that name in the region."""
        with self._connections.writing() as connection:
            cursor = connection.execute(
                "INSERT INTO collections (account, region, name, model_version, created) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                (account, region, name, model_version, round(time.time(), 3)),
            )
            return cursor.rowcount == 1

    def collection(self, account: str, region: str, name: str) -> Collection | None:
        """Return the collection of that name, or None."""
        with self._connections.reading() as connection:
            row = connection.execute(
                "SELECT uid, name, model_version, created, size, users FROM collections "
                "WHERE account = ? AND region = ? AND name = ?",
                (account, region, name),
            ).fetchone()
        return Collection(*row) if row else None

    def collections(self, account: str, region: str, after: int, limit: int) -> list[Collection]:
        """Return at most `limit` collections whose uid is above `after`, in the order of their creation."""
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT uid, name, model_version, created, size, users FROM collections "
                "WHERE account = ? AND region = ? AND uid > ? ORDER BY uid LIMIT ?",
                (account, region, after, limit),
            ).fetchall()
        return [Collection(*row) for row in rows]

    def delete_collection(self, uid: int) -> bool:
        """Delete a collection and its faces. Returns False when it is deleted already.

        The faces of a large collection are removed in the background. If the process is killed before that is done,
        the next start goes on with it.
        """
        with self._connections.writing() as connection:
            row = connection.execute("SELECT size FROM collections WHERE uid = ? AND account <> ''", (uid,)).fetchone()
            if row is None:
                return False
            if row[0] <= _DELETE_BATCH:
                connection.execute("DELETE FROM collections WHERE uid = ?", (uid,))
                return True
            connection.execute("UPDATE collections SET account = '', name = uid WHERE uid = ?", (uid,))
        self._remover.wake()
        return True

    def add_faces(
        self, uid: int, image_key: bytes | None, faces: Sequence[NewFace], most: int | None = None
    ) -> list[dict[str, object]]:
        """Add the faces of one picture.

        Args:
            uid: the collection.
            image_key: a key of the picture. Faces that were added under the same key before keep their ids, and are
                not added twice. With None every face is new.
            faces: the faces to add.
            most: the number of faces that the collection may have; None for any number.

        Returns:
            The Face structures with FaceId, in the order of `faces`.

        Raises:
            CollectionGoneError: the collection is deleted.
            CollectionFullError: the collection would have more than `most` faces. No face was added.
        """
        with self._connections.writing() as connection:
            row = connection.execute("SELECT size FROM collections WHERE uid = ? AND account <> ''", (uid,)).fetchone()
            if row is None:
                raise CollectionGoneError
            known: dict[int, dict[str, object]] = {
                ordinal: json.loads(document)
                for ordinal, document in connection.execute(
                    "SELECT ordinal, document FROM faces INDEXED BY faces_by_image "
                    "WHERE collection = ? AND image_key = ?",
                    (uid, image_key),
                )
            }
            fresh = sum(face.ordinal not in known for face in faces)
            if most is not None and fresh and row[0] + fresh > most:
                raise CollectionFullError
            _grow(connection, uid, fresh)
            documents = []
            for face in faces:
                document = known.get(face.ordinal)
                if document is None:
                    document = {"FaceId": str(uuid.uuid4()), **face.document}
                    self._insert(connection, uid, image_key, face, document)
                else:
                    self._add_kinds(connection, uid, face, document)
                documents.append(document)
        return documents

    def plant_faces(self, uid: int, faces: Sequence[tuple[str, str, bytes | None, bytes]]) -> None:
        """Add faces that come from no picture. It is fastest in the order of FaceIds, if keyed names are in it too.

        Args:
            uid: the collection.
            faces: FaceId, Face structure as JSON, the person's keyed name or None, and digest of each face.
        """
        now = time.time()
        with self._connections.writing() as connection:
            connection.execute(f"PRAGMA cache_size = -{_PLANTING_MEMORY}")
            connection.executemany(
                "INSERT INTO faces (collection, face_id, document, ordinal, person, digest, indexed) "
                "VALUES (?, ?, ?, 0, ?, ?, ?)",
                ((uid, face_id, document, person, digest, now) for face_id, document, person, digest in faces),
            )
            _grow(connection, uid, len(faces))

    def list_faces(
        self, uid: int, after: str, limit: int, among: Sequence[str] | None = None, user_id: str | None = None
    ) -> list[tuple[str, str]]:
        """Return one page of a collection.

        Args:
            uid: the collection.
            after: the last FaceId of the page before; empty for the first page.
            limit: the largest number of faces.
            among: only faces with these FaceIds; all faces when None.
            user_id: only faces of this user; all faces when None.

        Returns:
            FaceId and Face structure as JSON of each face, ordered by FaceId.
        """
        compared, clause, parameters = "face_id", "", [uid, after]
        if among is not None:
            # The plus keeps SQLite from reading every face after `after` and comparing it with the list.
            compared, clause = "+face_id", "AND face_id IN (SELECT value FROM json_each(?)) "
            parameters.append(json.dumps(among))
        table = "faces"
        if user_id is not None:
            table, compared, clause = "faces INDEXED BY faces_by_user", "+face_id", f"{clause}AND user_id = ? "
            parameters.append(user_id)
        with self._connections.reading() as connection:
            return connection.execute(
                f"SELECT face_id, document FROM {table} "  # noqa: S608 - constants
                f"WHERE collection = ? AND {compared} > ? {clause}ORDER BY face_id LIMIT ?",
                (*parameters, limit),
            ).fetchall()

    def delete_faces(self, uid: int, face_ids: Sequence[str]) -> tuple[set[str], dict[str, str]]:
        """Delete faces, but none that is a user's.

        Returns:
            the FaceIds that are deleted; and those that stay, each with its user.
        """
        asked = json.dumps(list(face_ids))
        with self._connections.writing() as connection:
            kept = connection.execute(
                "SELECT face_id, user_id FROM faces "
                "WHERE collection = ? AND face_id IN (SELECT value FROM json_each(?)) AND user_id IS NOT NULL",
                (uid, asked),
            ).fetchall()
            found = connection.execute(
                "DELETE FROM faces WHERE collection = ? AND face_id IN (SELECT value FROM json_each(?)) "
                "AND user_id IS NULL RETURNING face_id",
                (uid, asked),
            ).fetchall()
            _grow(connection, uid, -len(found))
        return {face_id for (face_id,) in found}, dict(kept)

    # Users

    def create_user(self, connection: sqlite3.Connection, uid: int, user_id: str) -> bool:
        """Create a user. Returns False when the collection has one of that id."""
        statement = "INSERT INTO users (collection, user_id) VALUES (?, ?) ON CONFLICT DO NOTHING"
        made = connection.execute(statement, (uid, user_id)).rowcount
        connection.execute("UPDATE collections SET users = users + ? WHERE uid = ?", (made, uid))
        return made == 1

    def delete_user(self, connection: sqlite3.Connection, uid: int, user_id: str) -> bool:
        """Delete a user, whose faces stay. Returns False when there is none of that id."""
        gone = connection.execute("DELETE FROM users WHERE collection = ? AND user_id = ?", (uid, user_id)).rowcount
        connection.execute("UPDATE collections SET users = users - ? WHERE uid = ?", (gone, uid))
        faces = connection.execute(
            "SELECT face_id FROM faces INDEXED BY faces_by_user WHERE collection = ? AND user_id = ?", (uid, user_id)
        ).fetchall()
        self.associate(connection, uid, [face_id for (face_id,) in faces], None)
        return gone == 1

    def has_user(self, uid: int, user_id: str) -> bool:
        """Tell whether the collection has a user."""
        with self._connections.reading() as connection:
            statement = "SELECT 1 FROM users WHERE collection = ? AND user_id = ?"
            return connection.execute(statement, (uid, user_id)).fetchone() is not None

    def users(self, uid: int, after: int, limit: int) -> list[tuple[int, str, bool]]:
        """Return at most `limit` users whose number is above `after`: number, UserId, whether they have a face."""
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT number, user_id, EXISTS (SELECT 1 FROM faces WHERE faces.collection = users.collection "
                "AND faces.user_id = users.user_id) FROM users WHERE collection = ? AND number > ? "
                "ORDER BY number LIMIT ?",
                (uid, after, limit),
            ).fetchall()
        return [(number, user_id, bool(has_face)) for number, user_id, has_face in rows]

    def faces_of_user(self, uid: int, user_id: str) -> dict[str, StoredFace]:
        """Return the faces of a user, by FaceId."""
        return self._stored("faces INDEXED BY faces_by_user", "user_id = ?", uid, user_id, _EVER)

    def associate(self, connection: sqlite3.Connection, uid: int, face_ids: Sequence[str], user_id: str | None) -> None:
        """Make faces a user's; with None nobody's."""
        document = "json_remove(document, '$.UserId')" if user_id is None else "json_set(document, '$.UserId', ?)"
        connection.execute(
            f"UPDATE faces SET document = {document}, user_id = ? "  # noqa: S608 - constants
            "WHERE collection = ? AND face_id IN (SELECT value FROM json_each(?))",
            (*(() if user_id is None else (user_id,)), user_id, uid, json.dumps(list(face_ids))),
        )

    @contextlib.contextmanager
    def changing(self, uid: int) -> Iterator[sqlite3.Connection]:
        """Lend a connection in a transaction that changes a collection.

        Raises:
            CollectionGoneError: the collection is deleted.
        """
        with self._connections.writing() as connection:
            found = connection.execute("SELECT 1 FROM collections WHERE uid = ? AND account <> ''", (uid,)).fetchone()
            if found is None:
                raise CollectionGoneError
            yield connection

    def answered(
        self, connection: sqlite3.Connection, uid: int, operation: str, token: str
    ) -> tuple[bytes, str] | None:
        """Return the hash of the request that had this token, and its answer; None where there was none lately."""
        connection.execute("DELETE FROM answered WHERE at < ?", (time.time() - _TOKENS_FOR,))
        row: tuple[bytes, str] | None = connection.execute(
            "SELECT request, answer FROM answered WHERE collection = ? AND operation = ? AND token = ?",
            (uid, operation, token),
        ).fetchone()
        return row

    def keep_answer(
        self, connection: sqlite3.Connection, uid: int, operation: str, token: str, request: bytes, answer: str
    ) -> None:
        """Keep the answer to a request that may be repeated with its token."""
        connection.execute(
            "INSERT OR REPLACE INTO answered (collection, operation, token, request, answer, at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (uid, operation, token, request, answer, time.time()),
        )

    # Tags

    def tags(self, uid: int) -> dict[str, str]:
        """Return the tags of a collection."""
        with self._connections.reading() as connection:
            statement = "SELECT name, value FROM tags WHERE collection = ? ORDER BY name"
            return dict(connection.execute(statement, (uid,)).fetchall())

    def tag(self, connection: sqlite3.Connection, uid: int, tags: Mapping[str, str]) -> int:
        """Add tags, or give them other values. Returns how many the collection has then."""
        connection.executemany(
            "INSERT OR REPLACE INTO tags (collection, name, value) VALUES (?, ?, ?)",
            [(uid, name, value) for name, value in tags.items()],
        )
        (count,) = connection.execute("SELECT count(*) FROM tags WHERE collection = ?", (uid,)).fetchone()
        return int(count)

    def untag(self, connection: sqlite3.Connection, uid: int, names: Sequence[str]) -> None:
        """Take tags away."""
        connection.executemany("DELETE FROM tags WHERE collection = ? AND name = ?", [(uid, name) for name in names])

    def faces(self, uid: int, face_ids: Sequence[str], *, until: float) -> dict[str, StoredFace]:
        """Return those of these faces that exist and were indexed no later than `until`, by FaceId."""
        condition = "face_id IN (SELECT value FROM json_each(?))"
        return self._stored("faces", condition, uid, json.dumps(list(face_ids)), until)

    def faces_of(self, uid: int, person: bytes, *, until: float) -> dict[str, StoredFace]:
        """Return the faces of a person (a keyed name) that were indexed no later than `until`, by FaceId."""
        # Without statistics SQLite prefers the primary key, and reads the whole collection.
        return self._stored("faces INDEXED BY faces_by_person", "person = ?", uid, person, until)

    def descriptions_of(self, uid: int, face_ids: Sequence[str]) -> list[Description]:
        """Return the descriptions of these faces."""
        return self._descriptions("face_id IN (SELECT value FROM json_each(?))", uid, json.dumps(list(face_ids)))

    def descriptions_at(self, uid: int, numbers: Sequence[int]) -> list[Description]:
        """Return the descriptions with these numbers that still exist."""
        return self._descriptions("number IN (SELECT value FROM json_each(?))", uid, json.dumps(list(numbers)))

    def descriptions_after(self, uid: int, number: int, limit: int) -> list[Description]:
        """Return at most `limit` descriptions whose number is above `number`, in the order of numbers."""
        return self._descriptions("number > ? ORDER BY number LIMIT ?", uid, number, limit)

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
            [(uid, face_id, kind, person is not None, vector) for kind, vector in face.descriptions],
        )

    def _add_kinds(self, connection: sqlite3.Connection, uid: int, face: NewFace, document: dict[str, object]) -> None:
        """Add descriptions of a kind that a face does not have: it was indexed before anything saw real faces."""
        connection.executemany(
            "INSERT INTO looks (collection, face_id, kind, named, vector) SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS "
            "(SELECT 1 FROM looks WHERE collection = ?1 AND face_id = ?2 AND kind = ?3)",
            [(uid, document["FaceId"], kind, face.name is not None, vector) for kind, vector in face.descriptions],
        )

    def _stored(self, table: str, condition: str, uid: int, value: object, until: float) -> dict[str, StoredFace]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                f"SELECT face_id, document, person, likeness, digest, user_id FROM {table} "  # noqa: S608 - constants
                f"WHERE collection = ? AND {condition} AND indexed <= ?",
                (uid, value, until),
            ).fetchall()
        return {row[0]: StoredFace(*row) for row in rows}

    def _descriptions(self, condition: str, uid: int, *values: object) -> list[Description]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT number, face_id, kind, named, vector FROM looks "  # noqa: S608 - constants
                f"WHERE collection = ? AND {condition}",
                (uid, *values),
            ).fetchall()
        return [Description(*row) for row in rows]


class Remover:
    """Removes the faces of large deleted collections in the background, a batch at a time.

    Its thread runs only while there are such collections.

    Args:
        connections: the store's connections.
        batch: the number of faces that one transaction removes.
    """

    def __init__(self, connections: Connections, batch: int) -> None:
        self._connections = connections
        self._batch = batch
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def wake(self) -> None:
        """Start the thread, unless it runs or there is nothing to remove."""
        with self._lock:
            busy = self._thread is not None and self._thread.is_alive()
            if busy or self._ended.is_set() or self._next() is None:
                return
            self._thread = threading.Thread(target=self._remove, name="emulator-remover", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread after its current batch. The next start removes the rest."""
        self._ended.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _remove(self) -> None:
        while not self._ended.is_set():
            uid = self._next()
            if uid is None:
                with self._lock:
                    # Asked again under the lock: `wake` starts no thread while this one runs.
                    if self._next() is None:
                        self._thread = None
                        return
                continue
            with contextlib.suppress(sqlite3.OperationalError), self._connections.writing() as connection:
                removed = connection.execute(
                    "DELETE FROM faces WHERE collection = ? AND face_id IN "
                    "(SELECT face_id FROM faces WHERE collection = ? ORDER BY face_id LIMIT ?)",
                    (uid, uid, self._batch),
                ).rowcount
                if not removed:
                    connection.execute("DELETE FROM collections WHERE uid = ?", (uid,))
            self._ended.wait(_PAUSE)

    def _next(self) -> int | None:
        with self._connections.reading() as connection:
            row = connection.execute("SELECT uid FROM collections WHERE account = '' LIMIT 1").fetchone()
        return int(row[0]) if row else None


def _grow(connection: sqlite3.Connection, uid: int, by: int) -> None:
    if by:
        connection.execute("UPDATE collections SET size = size + ? WHERE uid = ?", (by, uid))
