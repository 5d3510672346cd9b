"""The emulator's SQLite file: its tables, and connections that threads may share."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
from typing import TYPE_CHECKING

from seedtool.emulator.process import EmulatorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE secret (value BLOB NOT NULL);
CREATE TABLE collections (
    uid INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again, so a token of a deleted one stays foreign
    account TEXT NOT NULL,    -- empty: deleted, and its faces are being removed
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    model_version TEXT NOT NULL,
    created REAL NOT NULL,
    size INTEGER NOT NULL DEFAULT 0,  -- how many faces: counting a million takes longer than anything else
    UNIQUE (account, region, name)
);
-- Clustered by FaceId within a collection: a page of ListFaces is one range of this table.
CREATE TABLE faces (
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    face_id TEXT NOT NULL,
    document TEXT NOT NULL,   -- the Face structure as ListFaces answers it
    image_key BLOB,           -- hash of picture and ExternalImageId, null without an ExternalImageId
    ordinal INTEGER NOT NULL, -- which face of the picture
    person BLOB,              -- keyed hash of the name in the picture
    likeness REAL,            -- the similarity that the picture asks for between this face and its person
    digest BLOB NOT NULL,     -- hash of picture and place: makes similarities deterministic
    indexed REAL NOT NULL,
    PRIMARY KEY (collection, face_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX faces_by_image ON faces (collection, image_key, ordinal) WHERE image_key IS NOT NULL;
CREATE INDEX faces_by_person ON faces (collection, person) WHERE person IS NOT NULL;
-- How faces look. Ever-growing numbers let a reader fetch only what is new to it.
CREATE TABLE looks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL,
    face_id TEXT NOT NULL,
    kind INTEGER NOT NULL,
    named INTEGER NOT NULL,
    vector BLOB NOT NULL,
    FOREIGN KEY (collection, face_id) REFERENCES faces ON DELETE CASCADE
);
CREATE INDEX looks_by_face ON looks (collection, face_id);
CREATE INDEX looks_by_number ON looks (collection, number);
"""
_FROM_VERSION_1 = """
ALTER TABLE collections ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
UPDATE collections SET size = (SELECT count(*) FROM faces WHERE collection = uid);
DROP INDEX faces_by_person;
CREATE INDEX faces_by_person ON faces (collection, person) WHERE person IS NOT NULL;
"""


class Connections:
    """A pool of connections to one file, made as needed. Safe for concurrent threads and processes.

    Args:
        path: the file; created by `prepare` when missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._every: list[sqlite3.Connection] = []
        self._pool_lock = threading.Lock()
        self._write_lock = threading.Lock()

    def prepare(self) -> bytes:
        """Create the tables when they are missing; bring those of an earlier version up to date.

        Returns:
            The file's secret, 32 random bytes as old as the file.

        Raises:
            EmulatorError: the file has another format.
        """
        with self.writing() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version in (0, 1):
                for statement in (_SCHEMA if version == 0 else _FROM_VERSION_1).split(";\n"):
                    connection.execute(statement)
                if version == 0:
                    connection.execute("INSERT INTO secret VALUES (?)", (secrets.token_bytes(32),))
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            elif version != _SCHEMA_VERSION:
                raise EmulatorError(
                    f"The emulator's state {self._path} has format {version}; this one knows {_SCHEMA_VERSION}.",
                    "Use the seedtool that wrote it, or another state directory.",
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
        """A connection, for statements that are each consistent in themselves."""
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
        """A connection inside a transaction that is committed, or rolled back on an exception."""
        # Threads queue here instead of in SQLite, whose busy handler sleeps and is not fair.
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
        # NORMAL loses nothing when the process dies, only (without corruption) when the machine does.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection
