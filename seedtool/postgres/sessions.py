"""Ending sessions of other clients: the only place where it happens.

A statement such as a rename waits until a database has no sessions, or until nobody holds the locks that it needs,
and its own lock keeps newcomers out meanwhile. So the statement is started first, and a second connection ends the
sessions that it waits for until it returns.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import psycopg
from psycopg.pq import TransactionStatus

from seedtool.errors import BlockedError, DatabaseError
from seedtool.postgres import server
from seedtool.postgres.server import Target

#: How long a statement waits before the second connection looks, where no session was seen before (seconds). Most
#: statements return sooner, and a connection costs more.
DELAY = 0.03
#: How often the second connection looks (seconds). A rename itself looks every 100 ms (CountOtherDBBackends in
#: PostgreSQL's procarray.c).
INTERVAL = 0.005
#: How long a session that this role may not end is waited for where it only holds a lock (seconds). It is longer than
#: `deadlock_timeout`, after which PostgreSQL's own workers give way.
PATIENCE = 2
#: How long a session that was ended may take to go (seconds).
LAST = 30


class Obstacle(NamedTuple):
    """What a statement waits for: a name for messages, its process (0 for a prepared transaction), may it be ended?"""

    name: str
    pid: int
    may_end: bool


class Obstacles(NamedTuple):
    """How to find what a statement waits for.

    Args:
        query: returns the rows of `Obstacle`.
        parameters: the query's.
        delay: seconds before the first look.
        patience: seconds for which an obstacle that may not be ended is waited for.
    """

    query: str
    parameters: Mapping[str, object]
    delay: float
    patience: float

    def look(self, connection: psycopg.Connection[Any]) -> list[Obstacle]:
        """Return what stands in the way now."""
        return [Obstacle(*row) for row in connection.execute(self.query, self.parameters).fetchall()]


_NAMED = """format('session %%s of %%s (%%s)', a.pid, coalesce(a.usename, a.backend_type),
    coalesce(nullif(concat_ws(', ', nullif(a.application_name, ''), a.state), ''), 'no name'))"""
_MAY_END = """coalesce((NOT r.rolsuper OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))
    AND (pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE')), false)"""


def on_database(oid: int, *, seen: bool) -> Obstacles:
    """Return how to find the sessions on a database.

    Args:
        oid: the database's.
        seen: sessions were seen on it a moment ago.
    """
    # PostgreSQL's own workers have no user; the statement sends them away itself
    query = f"""SELECT {_NAMED}, a.pid, {_MAY_END} FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
                WHERE a.datid = %(oid)s"""  # noqa: S608 - our own constants
    return Obstacles(query, {"oid": oid}, delay=0 if seen else DELAY, patience=0)


def before(waiting: psycopg.Connection[Any], database: str) -> Obstacles:
    """Return how to find what holds the locks that a connection waits for.

    Args:
        waiting: the connection.
        database: the name of the database that it works in.
    """
    query = f"""
        SELECT CASE b.pid WHEN 0 THEN (SELECT 'prepared transaction ' || string_agg(gid, ', ') FROM pg_prepared_xacts
                                       WHERE database = %(name)s) ELSE {_NAMED} END, b.pid, {_MAY_END}
        FROM unnest(pg_blocking_pids(%(pid)s)) AS b (pid)
        LEFT JOIN pg_stat_activity a ON a.pid = b.pid LEFT JOIN pg_roles r ON r.oid = a.usesysid
        WHERE b.pid = 0 OR a.pid IS NOT NULL"""  # noqa: S608 - our own constants
    return Obstacles(query, {"pid": waiting.info.backend_pid, "name": database}, delay=INTERVAL, patience=PATIENCE)


class Attached(NamedTuple):
    """What belongs to a database and is no session.

    Args:
        bound: what nobody can end and what keeps the database from being renamed, copied or dropped: prepared
            transactions and subscriptions, each by its name.
        slots: the logical replication slots that nobody reads now. A DROP DATABASE drops them without a word
            (ReplicationSlotsDropDBSlots in PostgreSQL's slot.c); whoever read them has to copy everything anew.
    """

    bound: list[str]
    slots: list[str]


def attached(connection: psycopg.Connection[Any], oid: int) -> Attached:
    """Return what belongs to a database and is no session."""
    query = """
        SELECT format('prepared transaction %%s', x.gid), NULL FROM pg_prepared_xacts x
        JOIN pg_database d ON d.datname = x.database WHERE d.oid = %(oid)s
        UNION ALL SELECT format('subscription %%s', subname), NULL FROM pg_subscription WHERE subdbid = %(oid)s
        UNION ALL SELECT NULL, slot_name FROM pg_replication_slots WHERE datoid = %(oid)s AND NOT active"""
    found = connection.execute(query, {"oid": oid}).fetchall()
    return Attached([name for name, _ in found if name], sorted(slot for _, slot in found if slot))


def end_all(connection: psycopg.Connection[Any], database: str, *, patience: float = 5) -> None:
    """End the sessions on a closed database and wait until they are gone; those of other roles are left alone.

    Args:
        connection: to another database of the server.
        database: the database, which lets nobody in any more.
        patience: seconds to wait.
    """
    query = """
        WITH inside AS MATERIALIZED (
            SELECT pid FROM pg_stat_activity WHERE datname = %s AND pg_has_role(usesysid, 'USAGE')
        )
        SELECT pid FROM inside WHERE pg_terminate_backend(pid)"""
    deadline = time.monotonic() + patience
    while connection.execute(query, [database]).fetchall() and time.monotonic() < deadline:
        time.sleep(0.002)  # a rename would look again after 100 ms only


@contextlib.contextmanager
def ended(target: Target, waiting: psycopg.Connection[Any], obstacles: Obstacles) -> Iterator[set[int]]:
    """End the sessions that the statement in the body waits for, until it returns.

    Args:
        target: its server is meant.
        waiting: the connection on which the statement runs.
        obstacles: how to find what it waits for.

    Yields:
        The process ids of the sessions that were ended; complete once the body is left.

    Raises:
        BlockedError: something may not be ended. The statement was cancelled.
    """
    watcher = _Watcher(target, waiting, obstacles)
    try:
        watcher.start()
        yield watcher.ended
    except (BlockedError, psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected) as error:
        in_use = isinstance(error.__cause__, psycopg.errors.ObjectInUse)
        if not watcher.refused and not in_use and not isinstance(error, psycopg.errors.DeadlockDetected):
            raise
        raise _blocked(target, obstacles, watcher.refused) from error
    finally:
        watcher.stop()


class _Watcher:
    """The thread with the second connection.

    It is a daemon, and it ends nothing unless the statement is running. So no way in which the caller may be
    interrupted leaves sessions being ended.
    """

    def __init__(self, target: Target, waiting: psycopg.Connection[Any], obstacles: Obstacles) -> None:
        self.ended: set[int] = set()
        self.refused: list[str] = []
        self._target = target
        self._waiting = waiting
        self._obstacles = obstacles
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seedtool-end-sessions", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End nothing more; wait until the thread knows."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        if self._done.wait(self._obstacles.delay):
            return
        try:
            with server.connect(self._target, self._target.maintenance, autocommit=True) as second:
                since = time.monotonic()
                while not (self._done.is_set() or self._waiting.closed or self.refused):
                    # between two statements of the body there is nothing to wait for
                    if self._waiting.pgconn.transaction_status == TransactionStatus.ACTIVE:
                        self._clear(second, time.monotonic() - since)
                    self._done.wait(INTERVAL)
        except (psycopg.Error, DatabaseError) as error:  # nobody would free it any more
            self.refused.append(f"sessions that cannot be ended ({str(error).strip().partition(chr(10))[0]})")
        if self.refused and not self._done.is_set():
            with contextlib.suppress(psycopg.Error):  # the server has gone; the statement itself will tell
                self._waiting.cancel_safe()

    def _clear(self, second: psycopg.Connection[Any], waited: float) -> None:
        for obstacle in self._obstacles.look(second):
            if waited > (LAST if obstacle.may_end else self._obstacles.patience):
                self.refused.append(obstacle.name)
            elif obstacle.may_end and not self._done.is_set():
                second.execute("SELECT pg_terminate_backend(%s)", [obstacle.pid])
                self.ended.add(obstacle.pid)


def _blocked(target: Target, obstacles: Obstacles, refused: list[str]) -> BlockedError:
    """Name what stands in the way. The transaction may have failed, so a second connection looks."""
    with server.connect(target, target.maintenance, autocommit=True) as second:
        oid = obstacles.parameters.get("oid")
        there = [each.name for each in obstacles.look(second)] + (
            attached(second, oid).bound if isinstance(oid, int) else []
        )
    named = ", ".join(dict.fromkeys([*refused, *there])) or "a session that has ended meanwhile"
    return BlockedError(
        f"{target} is in use and cannot be freed: {named}; nothing was changed",
        remedy="End it yourself, or work as a role that may (the session's own, or a member of pg_signal_backend).",
    )
