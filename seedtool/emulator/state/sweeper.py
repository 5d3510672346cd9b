"""Removes the faces of large deleted collections little by little, so that nobody has to wait for it."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seedtool.emulator.state.connections import Connections

_PAUSE = 0.005  # seconds between slices, in which other writers get their turn


class Sweeper:
    """A thread that lives while there is something to remove.

    Args:
        connections: the store's.
        slice_size: faces removed in one transaction.
    """

    def __init__(self, connections: Connections, slice_size: int) -> None:
        self._connections = connections
        self._slice_size = slice_size
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def wake(self) -> None:
        """Begin to remove, unless nothing is to be removed or it is being done."""
        with self._lock:
            busy = self._thread is not None and self._thread.is_alive()
            if busy or self._ended.is_set() or self._deleted() is None:
                return
            self._thread = threading.Thread(target=self._sweep, name="emulator-sweeper", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End after the present slice; what is left waits for the next start."""
        self._ended.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _sweep(self) -> None:
        while not self._ended.is_set():
            uid = self._deleted()
            if uid is None:
                with self._lock:
                    if self._deleted() is None:  # one that was deleted meanwhile found this thread alive
                        self._thread = None
                        return
                continue
            with contextlib.suppress(sqlite3.OperationalError), self._connections.writing() as connection:
                removed = connection.execute(
                    "DELETE FROM faces WHERE collection = ? AND face_id IN "
                    "(SELECT face_id FROM faces WHERE collection = ? ORDER BY face_id LIMIT ?)",
                    (uid, uid, self._slice_size),
                ).rowcount
                if not removed:
                    connection.execute("DELETE FROM collections WHERE uid = ?", (uid,))
            self._ended.wait(_PAUSE)

    def _deleted(self) -> int | None:
        with self._connections.reading() as connection:
            row = connection.execute("SELECT uid FROM collections WHERE account = '' LIMIT 1").fetchone()
        return int(row[0]) if row else None
