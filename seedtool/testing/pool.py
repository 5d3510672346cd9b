"""Databases made ahead: one thread of a worker clones templates while tests run, and drops what they have used.

Every database carries the worker's number in its name, and the thread's connection holds the advisory lock that
goes with it. The server frees the lock when the worker is gone, however it ended, and then whoever sweeps next (another
worker, the next run, a reset) drops what it left behind. Where the server ends the connection (it is restarted, say),
the thread works on with a new one.
"""

import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import BlockedError, DatabaseError, SeedtoolError
from seedtool.postgres import sessions
from seedtool.postgres.cluster import Cluster, DatabaseFacts, open_cluster, private_name
from seedtool.postgres.server import Target
from seedtool.resetting import templates
from seedtool.resetting.clones import Trials
from seedtool.resetting.swap import carry_over

#: How many clones of a template wait to be used. A second one covers tests that are quicker than a clone.
AHEAD = 2
#: So many used databases may wait for their removal while a test waits for a clone; more would fill the disk.
_MOST_USED = 4
#: So many connections in turn may be lost before one has served; then the server is taken for gone.
_MOST_USELESS = 3


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Where the database of a failed test stays: its new name, and the comment that tells the test."""

    name: str
    comment: str


class _Clones(msgspec.Struct, eq=False):
    """The clones of one template; `expected` tests will still ask for one, `waiting` of them ask now."""

    like: DatabaseFacts
    ready: deque[str] = msgspec.field(default_factory=deque)
    expected: int = 0
    waiting: int = 0
    error: Exception | None = None
    trials: Trials = msgspec.field(default_factory=Trials)


class Pool:
    """The databases of one worker. `close` drops them all; without it the next sweep does.

    Args:
        target: names the server; the target itself is not touched.

    Attributes:
        troubles: what could not be dropped or kept, for people; a later sweep tries again.
    """

    def __init__(self, target: Target) -> None:
        self.troubles: list[str] = []
        self._target = target
        self._worker = secrets.token_hex(8)
        self._made = 0
        self._clones: dict[str, _Clones] = {}
        self._taken: set[str] = set()
        self._used: deque[tuple[str, Kept | None]] = deque()
        self._closing = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread = self._start()

    def take(self, template: str, like: DatabaseFacts, expected: int) -> str:
        """Return the name of a fresh clone, waiting for it when none is ready.

        Args:
            template: what it is a clone of.
            like: its owner and tablespace.
            expected: how many tests will ask for one of this template after this; no more are made ahead.

        Raises:
            DatabaseError: the server refuses, or the connection to it is lost.
        """
        with self._changed:
            clones = self._clones.setdefault(template, _Clones(like))
            clones.expected = expected
            clones.waiting += 1
            self._changed.notify_all()
            self._start_again()  # where the test before got an error
            try:
                self._changed.wait_for(lambda: clones.ready or clones.error or self._error)
            finally:
                clones.waiting -= 1
            if clones.ready:
                self._changed.notify_all()
                self._taken.add(name := clones.ready.popleft())
                return name
            error, clones.error = clones.error or self._error, None
        assert error is not None  # noqa: S101 - that is what was waited for
        if isinstance(error, SeedtoolError):
            raise error
        raise DatabaseError(
            f"no database could be made for a test: {str(error).strip().splitlines()[0]}", remedy="Is the server there?"
        ) from error

    def give_back(self, name: str, kept: Kept | None = None) -> None:
        """Have a database dropped, or kept under another name, without waiting for it."""
        with self._changed:
            self._taken.discard(name)
            self._used.append((name, kept))
            self._changed.notify_all()

    def close(self) -> None:
        """Drop every database, also those not given back, and wait until that is done."""
        with self._changed:
            self._closing = True
            self._used.extend((name, None) for name in self._taken)
            self._taken.clear()
            self._start_again()
            self._changed.notify_all()
        self._thread.join()

    def _start_again(self) -> None:
        """Start the thread again if it has given up: the server may be there again."""
        if self._error is not None:
            self._error, self._thread = None, self._start()

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="seedtool-pool", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        useless = 0
        while True:
            useless += 1
            try:
                with open_cluster(self._target) as cluster, cluster.lock(self._worker):
                    if not self._made:  # a sweep would take our own, too
                        templates.sweep(cluster, self._worker)
                    for work in iter(self._next, None):
                        work(cluster)
                        useless = 0
            except (psycopg.Error, SeedtoolError) as error:
                with self._changed:
                    self._discard_ready()  # without our lock they may have been swept
                    if useless >= _MOST_USELESS:
                        self._error = error
                        self._changed.notify_all()
                        return
            else:
                return  # closed

    def _next(self) -> Callable[[Cluster], None] | None:
        """Wait for the next thing to do; None when there will be nothing any more."""
        with self._changed:
            while True:
                if len(self._used) > _MOST_USED:
                    return self._drop_used
                for template in self._wanted():
                    return lambda cluster: self._clone(cluster, template)
                if self._used:
                    return self._drop_used
                if self._closing:
                    self._discard_ready()
                    if not self._used:
                        return None
                    continue
                self._changed.wait()

    def _discard_ready(self) -> None:
        for clones in self._clones.values():
            self._used.extend((name, None) for name in clones.ready)
            clones.ready.clear()

    def _wanted(self) -> Iterator[str]:
        """Yield templates of which a clone is wanted, the most urgent first."""
        if self._closing:
            return
        for template, clones in self._clones.items():
            if clones.waiting > len(clones.ready) and clones.error is None:
                yield template
        for template, clones in self._clones.items():
            if len(clones.ready) < min(AHEAD, clones.expected) and clones.error is None:
                yield template

    def _clone(self, cluster: Cluster, template: str) -> None:
        clones = self._clones[template]
        name = private_name("test", f"{self._worker}{self._made % 0x10000:04x}")
        self._made += 1
        cluster.hold(template.rpartition("_")[2])  # nobody prunes it while we are here
        try:
            source = cluster.database(template)
            if source is None:
                raise BlockedError(f"{template} was dropped by somebody else meanwhile", remedy="Run again.")
            clones.trials.clone(cluster, source, name, clones.like)
            carry_over(cluster, template, name)  # what migrations did to the database itself
        except (psycopg.Error, SeedtoolError) as error:
            if cluster.connection.closed:
                self._used.append((name, None))  # it may have been made
                raise
            with self._changed:
                clones.error = error
                self._changed.notify_all()
            return
        with self._changed:
            clones.ready.append(name)
            self._changed.notify_all()

    def _drop_used(self, cluster: Cluster) -> None:
        with self._changed:
            name, kept = self._used.popleft()
        try:
            if kept is None:
                cluster.drop(name)
            else:
                _keep(cluster, name, kept)
        except (psycopg.Error, SeedtoolError) as error:
            if cluster.connection.closed:
                self._used.appendleft((name, kept))
                raise
            what = "dropped" if kept is None else "kept"
            self.troubles.append(f"{name} could not be {what}: {str(error).strip().splitlines()[0]}")


def _keep(cluster: Cluster, name: str, kept: Kept) -> None:
    sessions.end_all(
        cluster.connection, name
    )  # a connection that the test left open would keep the database from being renamed
    cluster.rename(name, kept.name)
    cluster.connection.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(kept.name), sql.Literal(kept.comment))
    )
