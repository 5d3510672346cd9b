"""Whose turn it is: a user is worked on by one run at a time.

A user's row in the journal is locked for as long as the work goes on. PostgreSQL lets go of row locks only when their
transaction ends, so users are taken in lots, each a transaction on a connection of its own: a lot takes users for half
a minute, and ends with the last of its users. A long one holds back vacuum no longer than its longest user takes.
"""

import time

import psycopg

from seedtool.errors import DatabaseError
from seedtool.postgres import server
from seedtool.postgres.server import Target

# Seconds, and users, that a lot takes before the next one is opened.
_OPEN_FOR = 30.0
_MOST = 500

# Seconds between looks whether the connections still stand.
_LOOK = 2.0


class Lot:
    """Users that are locked by one transaction. Its connection also carries their cursors.

    Args:
        connection: for this lot alone, outside a transaction.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self.users: set[str] = set()
        self._opened = time.monotonic()
        self._taken = 0

    @property
    def open(self) -> bool:
        """Whether it takes further users."""
        return time.monotonic() - self._opened < _OPEN_FOR and self._taken < _MOST

    def take(self, user_id: str) -> bool:
        """Lock a user's row; False when another run holds it."""
        if self.connection.execute(_LOCK, [user_id]).fetchone() is None:
            return False
        self.users.add(user_id)
        self._taken += 1
        return True

    def renew(self) -> None:
        """Begin anew, with no users: their locks are gone."""
        self.connection.rollback()
        self._opened = time.monotonic()
        self._taken = 0


class Claims:
    """The users that this run works on.

    Args:
        target: the database.
        writer: an autocommitting connection, by which a user's row is made.
    """

    def __init__(self, target: Target, writer: psycopg.Connection) -> None:
        self._target = target
        self._writer = writer
        self._lots: list[Lot] = []
        self._looked = time.monotonic()

    def take(self, user_id: str) -> Lot | None:
        """Lock a user; None when another run is at work on it.

        Raises:
            DatabaseError: a connection was lost.
        """
        self._writer.execute(_MAKE, [user_id])
        lot = next((lot for lot in self._lots if lot.open), None)
        if lot is None:
            lot = next((lot for lot in self._lots if not lot.users), None)
            if lot is not None:
                lot.renew()
            else:
                lot = Lot(self._connect())
                self._lots.append(lot)
        try:
            if lot.take(user_id):
                return lot
            if not lot.users:
                lot.renew()
        except psycopg.OperationalError as error:
            raise _lost(error) from error
        return None

    def release(self, lot: Lot, user_id: str) -> None:
        """Let a user go; the others of its lot stay locked."""
        lot.users.discard(user_id)
        if not lot.users:
            lot.renew()

    def look(self) -> None:
        """See that the locks still stand, every other second: their connections say nothing by themselves.

        Raises:
            DatabaseError: one was lost, and with it the users that it locked.
        """
        if time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        for lot in self._lots:
            try:
                lot.connection.execute("SELECT")
            except psycopg.OperationalError as error:
                raise _lost(error) from error

    def close(self) -> None:
        """Let all users go."""
        for lot in self._lots:
            lot.connection.close()
        self._lots.clear()

    def _connect(self) -> psycopg.Connection:
        connection = server.connect(self._target, application="seedtool backfill: users")
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        connection.commit()
        return connection


def _lost(error: psycopg.OperationalError) -> DatabaseError:
    reason = str(error).split("\n", maxsplit=1)[0]
    return DatabaseError(
        f"the connection that holds the users' locks was lost: {reason}",
        remedy="Run the same command again; it continues where it stopped.",
    )


_MAKE = "INSERT INTO seedtool.backfill_users (user_id) VALUES (%s) ON CONFLICT DO NOTHING"

_LOCK = "SELECT FROM seedtool.backfill_users WHERE user_id = %s FOR UPDATE SKIP LOCKED"
