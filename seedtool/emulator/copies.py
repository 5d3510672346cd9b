"""Copies and removes whole accounts' collections, for tests that each begin with the same faces.

These functions change the state's file directly. An emulator may be running on it. A client sees the collections of
the account that its access key names.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from seedtool.emulator.store import FILE, Connections

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: The account of clients whose access key is no account number (see `application.ACCOUNT`).
ACCOUNT = "123456789012"


def copy(state_dir: Path, source: str, account: str = ACCOUNT) -> None:
    """Copy the collections of one account to another account. Faces keep their FaceIds.

    The faces that the other account has already stay, also in collections of the same name.

    Args:
        state_dir: the emulator's state directory.
        source: the account with the collections.
        account: the account that gets them.
    """
    with _writing(state_dir) as connection:
        found = connection.execute("SELECT uid, region, name FROM collections WHERE account = ?", (source,)).fetchall()
        for uid, region, name in found:
            connection.execute(
                "INSERT INTO collections (account, region, name, model_version, created)"
                " SELECT ?, region, name, model_version, created FROM collections WHERE uid = ? ON CONFLICT DO NOTHING",
                (account, uid),
            )
            (copied,) = connection.execute(
                "SELECT uid FROM collections WHERE account = ? AND region = ? AND name = ?", (account, region, name)
            ).fetchone()
            for statement in _COPY_FACES:
                connection.execute(statement, {"source": uid, "copy": copied})


def forget(state_dir: Path, account: str = ACCOUNT) -> None:
    """Delete every collection of an account with its faces."""
    with _writing(state_dir) as connection:
        connection.execute("DELETE FROM collections WHERE account = ?", (account,))


def forget_all_but(state_dir: Path, accounts: Sequence[str]) -> None:
    """Delete every collection with its faces, except those of these accounts."""
    with _writing(state_dir) as connection:
        marks = ", ".join("?" * len(accounts))
        connection.execute(f"DELETE FROM collections WHERE account NOT IN ({marks})", tuple(accounts))  # noqa: S608


def face_ids(state_dir: Path, account: str = ACCOUNT) -> dict[str, list[str]]:
    """Return the FaceIds of an account by ExternalImageId. A picture with several faces has several FaceIds."""
    found: dict[str, list[str]] = {}
    with _writing(state_dir) as connection:
        for external_image_id, face_id in connection.execute(
            "SELECT document ->> 'ExternalImageId', face_id FROM faces JOIN collections ON uid = collection"
            " WHERE account = ? AND document ->> 'ExternalImageId' IS NOT NULL ORDER BY face_id",
            (account,),
        ):
            found.setdefault(external_image_id, []).append(face_id)
    return found


@contextlib.contextmanager
def _writing(state_dir: Path) -> Iterator[sqlite3.Connection]:
    connections = Connections(state_dir / FILE)
    try:
        with connections.writing() as connection:
            yield connection
    finally:
        connections.close()


_COPY_FACES = (
    """
    INSERT INTO faces (collection, face_id, document, image_key, ordinal, person, likeness, digest, indexed)
    SELECT :copy, face_id, document, image_key, ordinal, person, likeness, digest, indexed
    FROM faces WHERE collection = :source ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO looks (collection, face_id, kind, named, vector)
    SELECT :copy, face_id, kind, named, vector FROM looks
    WHERE collection = :source AND face_id IN (SELECT face_id FROM faces WHERE collection = :copy)
        AND face_id NOT IN (SELECT face_id FROM looks WHERE collection = :copy)
    ORDER BY number
    """,
    "UPDATE collections SET size = (SELECT count(*) FROM faces WHERE collection = :copy) WHERE uid = :copy",
)
