"""The users that a run processes: taken one after the other, the oldest first, each locked while it is processed.

The lock is the user's row in the journal. PostgreSQL releases a row lock only when its transaction ends. So users are
locked in batches: a `Lease` is a transaction on a connection of its own, takes users for half a minute, and ends with
the last of its users. It holds back vacuum no longer than its longest user takes.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Literal

import msgspec
import psycopg

from seedtool.backfill import journal, library
from seedtool.backfill.outage import ConnectionLost, Subject
from seedtool.backfill.processing import Found
from seedtool.backfill.queries import LibraryConnection, connect
from seedtool.postgres.psycopg_errors import translate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from seedtool.backfill.decisions import Matches
    from seedtool.backfill.journal import Asset
    from seedtool.backfill.library import Wanted
    from seedtool.backfill.processing import Opened
    from seedtool.faces.port import Face
    from seedtool.postgres.server import Target

#: How far an asset is. `skipped`: it no longer qualifies. `paused`: the next run continues it.
#: `refused`: the application refused it, and has not accepted any photo yet.
Stage = Literal["started", "indexed", "matching", "matched", "failed", "skipped", "paused", "refused"]

# Users, and ids of a user's assets, that are read ahead.
_USERS_AHEAD = 1000
_ASSETS_AHEAD = 200

# The most faces of one asset (source: IndexFaces returns at most 100).
_MOST_FACES = 100

# Seconds and users after which a lease takes no more users.
_LEASE_SECONDS = 30.0
_LEASE_USERS = 500

# Seconds between two checks that the connections of the leases still exist.
_CHECK_SECONDS = 2.0


class UserToProcess(msgspec.Struct, frozen=True):
    """A user that was read ahead; `assets` is how many there are to process."""

    id: str
    assets: int
    deleted: bool


class Users:
    """The users in progress, and those to come.

    Args:
        target: the database.
        writer: the run's own connection, autocommitting.
        wanted: which assets are to process.
        collection_prefix: what the id of a new collection begins with.
        done: how many of a user's assets this run has done already; only with a limit.
        gone: users whose collection is gone.
        create: create these users' collections again; otherwise leave these users out.

    Attributes:
        of_other_runs: users that another run processes.
    """

    def __init__(
        self,
        target: Target,
        writer: LibraryConnection,
        wanted: Wanted,
        collection_prefix: str,
        done: Counter[str],
        gone: Collection[str],
        *,
        create: bool,
    ) -> None:
        self._done = done
        self._gone = gone
        self._create = create
        self._writer = writer
        self._wanted = wanted
        self._prefix = collection_prefix
        self._leases = Leases(target, writer)
        self._cursor = library.users(writer, wanted)
        self._ahead: deque[UserToProcess] = deque()
        self._exhausted = self._asked_again = False
        self._in_progress: dict[str, User] = {}
        self.of_other_runs: list[UserToProcess] = []

    def __iter__(self) -> Iterator[User]:
        """Yield the users in progress, in the order in which they were taken."""
        return iter(tuple(self._in_progress.values()))

    def __getitem__(self, user_id: str) -> User:
        """Return a user in progress."""
        return self._in_progress[user_id]

    @property
    def to_come(self) -> bool:
        """Tell whether there may be users that were not taken yet."""
        return bool(self._ahead) or not self._exhausted or bool(self.of_other_runs and not self._asked_again)

    @property
    def assets_of_other_runs(self) -> int:
        """Return how many assets another run processes."""
        return sum(user.assets for user in self.of_other_runs)

    def take(self) -> User | None:
        """Lock and return the next user that no other run processes; None when there is none left.

        Raises:
            DatabaseError: a connection was lost.
        """
        while (found := self._next()) is not None:
            if found.id in self._gone and not self._create:
                continue
            lease = self._leases.lock(found.id)
            if lease is None:
                self.of_other_runs.append(found)
                continue
            collection = library.collection_of(self._writer, found.id)
            collection_id = collection[0] if collection else self._prefix + found.id
            failed_too = self._wanted.retry_failed or self._wanted.reindex_since is not None
            user = self._in_progress[found.id] = User(
                found.id,
                lease,
                collection_id=collection_id,
                # no collection is created for a user who is deleted
                remembered=found.deleted
                or (collection is not None and bool(collection[1]) and found.id not in self._gone),
                cursor=library.assets(lease.connection, found.id, self._wanted_of(found.id)),
                counted_assets=found.assets,
                unfinished=journal.unfinished(self._writer, found.id, failed=failed_too),
                to_look_for=self._to_look_for(found, collection_id),
                to_delete=journal.faces_to_delete(self._writer, found.id),
            )
            return user
        return None

    def _wanted_of(self, user_id: str) -> Wanted:
        if self._wanted.limit is None:
            return self._wanted
        return msgspec.structs.replace(self._wanted, limit=max(0, self._wanted.limit - self._done[user_id]))

    def _to_look_for(self, user: UserToProcess, collection_id: str) -> frozenset[str]:
        """Return the assets whose faces may be in the collection although the journal does not know it.

        That is so where the journal is younger than the collection: the database was reset or restored, or another
        program filled the collection.
        """
        if not user.assets or journal.collection_is_known(self._writer, user.id, collection_id):
            return frozenset()
        # what was done before is to be indexed again, not to be adopted
        not_done = msgspec.structs.replace(self._wanted_of(user.id), reindex_since=None)
        return library.asset_ids(self._writer, user.id, not_done)

    def change_of_rest(self) -> int:
        """Return how many assets more, or fewer, there are to process now of all users that were not taken.

        Another run may have processed them.
        """
        self._ahead.extend(UserToProcess(*row) for row in ([] if self._exhausted else self._cursor.fetchall()))
        rest = [*self.of_other_runs, *self._ahead]
        if not rest:
            return 0
        now = library.count_to_process(self._writer, self._wanted, [user.id for user in rest])
        return now - sum(user.assets for user in rest)

    def opened(self, user: User, opened: Opened) -> None:
        """Continue with a user whose collection is ready."""
        if opened.arn is not None:
            library.remember_collection(self._writer, user.id, user.collection_id, opened.arn)
        user.left_behind = opened.faces
        user.is_empty = opened.empty
        user.all_is_known = opened.others is not None and not (
            opened.others and library.may_be_processed_later(self._writer, user.id, opened.others)
        )
        if user.all_is_known and not opened.faces:
            journal.know_collection(self._writer, user.id, user.collection_id)
        gone = [each.asset_id for each in user.unfinished if not each.eligible]
        if gone:
            faces = {asset_id: [face.face_id for face in user.left_behind.pop(asset_id, ())] for asset_id in gone}
            journal.skip(self._writer, faces)
            user.to_delete |= {asset_id: face_ids for asset_id, face_ids in faces.items() if face_ids}
        user.ready = True

    def release(self, user: User) -> None:
        """Unlock a user."""
        if user.finished and user.all_is_known and not user.left_behind:
            journal.know_collection(self._writer, user.id, user.collection_id)
        user.close()
        self._leases.release(user.lease, user.id)
        del self._in_progress[user.id]

    def check_locks(self) -> None:
        """Check that the locks are still held.

        Raises:
            DatabaseError: a connection was lost.
        """
        self._leases.check()

    def close(self) -> None:
        """Unlock all users."""
        for user in self:
            user.close()
        library.close(self._cursor)
        self._leases.close()

    def _next(self) -> UserToProcess | None:
        if not self._ahead and not self._exhausted:
            self._ahead.extend(UserToProcess(*row) for row in self._cursor.fetchmany(_USERS_AHEAD))
            self._exhausted = not self._ahead
        if not self._ahead and not self._in_progress and not self._asked_again:
            # the other run may have been killed meanwhile
            self._asked_again = True
            self._ahead.extend(self.of_other_runs)
            self.of_other_runs.clear()
        return self._ahead.popleft() if self._ahead else None


class AssetInProgress(msgspec.Struct, eq=False):
    """An asset that was started and is not recorded yet.

    Args:
        user: its user.
        asset: the asset.
        stage: how far it is.
        found: its faces, once it is indexed.
        indexed_at: when it was indexed, by the monotonic clock; 0 for faces that were in the collection already.
        matches: of those of its faces that were searched.
        calls: the billed AWS calls that it took, by operation.
        attempts: how often it was throttled after all attempts.
        answered: how many of its searches were answered when one failed last.
        trouble: how else its calls have failed since.
        alone: nothing else is left to do.
        left_behind: its faces that were in the collection already.
        sent: a call for it is in progress.
        is_first: its faces are the first in the collection, so there is nothing to compare them with.
    """

    user: User
    asset: Asset
    stage: Stage = "started"
    found: Found = Found()
    indexed_at: float = 0.0
    matches: Matches = {}
    calls: dict[str, int] = {}
    attempts: int = 0
    answered: int = 0
    trouble: Subject = msgspec.field(default_factory=Subject)
    alone: bool = False
    left_behind: list[Face] = msgspec.field(default_factory=list)
    sent: bool = False
    is_first: bool = False

    @property
    def to_search(self) -> int:
        """How many of its faces are still to search."""
        return len(self.found.faces) - len(self.matches)

    def add_calls(self, calls: dict[str, int]) -> None:
        """Count AWS calls."""
        self.calls = {name: self.calls.get(name, 0) + calls.get(name, 0) for name in {*self.calls, *calls}}


class User:
    """A user in progress, with a queue of assets.

    An asset is matched once it and all assets before it are indexed and visible. It is recorded once all assets before
    it are recorded. So the outcome does not depend on how many assets are in progress, or on which is the fastest.

    Args:
        id_: the user's id.
        lease: holds the lock.
        collection_id: the user's collection.
        remembered: the collection was created before, or need not be created.
        cursor: over the ids of the assets to process, in their order.
        counted_assets: how many assets to process there were when the users were read.
        unfinished: assets that an interrupted run has started. Their faces may be in the collection.
        to_look_for: other assets whose faces may be in the collection.
        to_delete: FaceIds to delete from the collection, by asset.

    Attributes:
        queue: the assets in progress, in their order.
        ready: the collection exists, and it is known what is in it.
        is_empty: the collection was created in this run, and no asset was started since.
        left_behind: faces that are in the collection already, by asset, until the asset is indexed.
        all_is_known: once these assets are done, the collection holds no face of an asset that is still to process.
        deleting: a call that deletes faces is in progress.
        in_deletion: the faces that it deletes, by asset.
        attempts: how often preparing the user was throttled after all attempts.
        answered: how many of its searches were answered when one failed last.
        trouble: how else its calls have failed since.
        alone: nothing else is left to do.
        lost: the collection is gone: nothing more is done for the user in this run.
        left_undecided: assets that could not be decided about again in this run.
        counted: an asset of the user was counted in the report.
        started: how many assets were started, or no longer qualified when they were to start.
        expected: how many more assets are expected.
    """

    def __init__(
        self,
        id_: str,
        lease: Lease,
        *,
        collection_id: str,
        remembered: bool,
        cursor: psycopg.ServerCursor[tuple[str]],
        counted_assets: int,
        unfinished: list[journal.Unfinished],
        to_look_for: frozenset[str],
        to_delete: dict[str, list[str]],
    ) -> None:
        self.id = id_
        self.lease = lease
        self.collection_id = collection_id
        self.remembered = remembered
        self.counted_assets = counted_assets
        self.started = 0
        self.expected = max(1, counted_assets)
        self.unfinished = unfinished
        self.to_look_for = to_look_for
        self.to_delete = to_delete
        self.queue: deque[AssetInProgress] = deque()
        self.ready = False
        self.is_empty = False
        self.left_behind: dict[str, list[Face]] = {}
        self.all_is_known = False
        self.deleting = False
        self.in_deletion: dict[str, list[str]] = {}
        self.attempts = 0
        self.trouble = Subject()
        self.alone = False
        self.lost = False
        self.left_undecided: set[str] = set()
        self.counted = False
        self._cursor = cursor
        self._ahead: deque[str] = deque()
        self._exhausted = False

    def next_ids(self, most: int) -> list[str]:
        """Return the ids of the next assets to start, at most so many."""
        if self.lost:
            return []
        self._read_ahead(most)
        ids = [self._ahead.popleft() for _ in range(min(most, len(self._ahead)))]
        self.started += len(ids)
        left = len(self._ahead)
        self.expected = left if self._exhausted else max(self.expected - len(ids), left, 1)
        return ids

    @property
    def to_start(self) -> bool:
        """Tell whether there is an asset to start."""
        if self.lost:
            return False
        self._read_ahead(1)
        return self.ready and bool(self._ahead)

    @property
    def finished(self) -> bool:
        """Tell whether nothing is left to do."""
        all_started = self._exhausted and not self._ahead
        return self.ready and all_started and not (self.queue or self.to_delete or self.deleting)

    def to_match(self, visibility: float) -> Iterator[tuple[AssetInProgress, float]]:
        """Yield the assets that may be matched, in their order, each with the earliest time for it.

        Args:
            visibility: seconds after indexing until a face can be found.
        """
        newest = 0.0
        for asset in self.queue:
            if asset.stage in {"started", "paused"}:
                return
            newest = max(newest, asset.indexed_at)
            if asset.stage == "indexed":
                yield asset, newest + visibility if newest else 0.0

    def take_to_delete(self, most: int) -> dict[str, list[str]]:
        """Return FaceIds to delete, by asset, at most so many, and forget them."""
        taken: dict[str, list[str]] = {}
        while self.to_delete and sum(map(len, taken.values())) + _MOST_FACES <= most:
            asset_id = next(iter(self.to_delete))
            taken[asset_id] = self.to_delete.pop(asset_id)
        return taken

    def close(self) -> None:
        """Close the cursor."""
        library.close(self._cursor)

    def _read_ahead(self, least: int) -> None:
        while len(self._ahead) < least and not self._exhausted:
            rows = self._cursor.fetchmany(max(_ASSETS_AHEAD, least))
            self._ahead.extend(id_ for (id_,) in rows)
            self._exhausted = not rows


class Lease:
    """A transaction that holds the locks of a batch of users. Its connection also has the cursors over their assets.

    Args:
        connection: for this lease only, outside a transaction.
    """

    def __init__(self, connection: LibraryConnection) -> None:
        self.connection = connection
        self.users: set[str] = set()
        self._since = time.monotonic()
        self._taken = 0

    @property
    def takes_more(self) -> bool:
        """Tell whether it takes more users."""
        return time.monotonic() - self._since < _LEASE_SECONDS and self._taken < _LEASE_USERS

    def lock(self, user_id: str) -> bool:
        """Lock a user's row; False when another run has locked it."""
        if self.connection.run("lock_user", [user_id]).fetchone() is None:
            return False
        self.users.add(user_id)
        self._taken += 1
        return True

    def renew(self) -> None:
        """End the transaction, which releases all locks, and begin with no users."""
        self.connection.rollback()
        self._since = time.monotonic()
        self._taken = 0


class Leases:
    """The leases of a run.

    Args:
        target: the database.
        writer: an autocommitting connection, which inserts the rows of users.
    """

    def __init__(self, target: Target, writer: LibraryConnection) -> None:
        self._target = target
        self._writer = writer
        self._leases: list[Lease] = []
        self._checked = time.monotonic()

    def lock(self, user_id: str) -> Lease | None:
        """Lock a user and return the lease that holds the lock; None when another run processes the user.

        Raises:
            DatabaseError: a connection was lost.
        """
        self._writer.run("insert_user", [user_id])
        lease = next((lease for lease in self._leases if lease.takes_more), None)
        if lease is None:
            lease = next((lease for lease in self._leases if not lease.users), None)
            if lease is not None:
                lease.renew()
            else:
                lease = Lease(self._connect())
                self._leases.append(lease)
        try:
            if lease.lock(user_id):
                return lease
            if not lease.users:
                lease.renew()
        except psycopg.OperationalError as error:
            raise _lost(error) from error
        return None

    def release(self, lease: Lease, user_id: str) -> None:
        """Forget a user. The lock is released together with those of the lease's other users."""
        lease.users.discard(user_id)
        if not lease.users:
            lease.renew()

    def check(self) -> None:
        """Check every other second that the connections still exist: they are idle, so nobody else would notice.

        Raises:
            DatabaseError: one was lost, and the locks of its users with it.
        """
        if time.monotonic() - self._checked < _CHECK_SECONDS:
            return
        self._checked = time.monotonic()
        for lease in self._leases:
            try:
                lease.connection.execute("SELECT")
            except psycopg.OperationalError as error:
                raise _lost(error) from error

    def close(self) -> None:
        """Release all locks."""
        for lease in self._leases:
            lease.connection.close()
        self._leases.clear()

    def _connect(self) -> LibraryConnection:
        application = "seedtool backfill: users"
        connection = connect(self._writer.rules, self._target, application=application, shape=self._writer.shape)
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        connection.commit()
        return connection


def _lost(error: psycopg.Error) -> ConnectionLost:
    return ConnectionLost(translate(error, _LOST).message, remedy=_RUN_AGAIN)


_LOST = "the connection that holds the locks of the users was lost"

_RUN_AGAIN = "Run the same command again. It continues where it stopped."
