"""Backfill the photo library. OPEN THIS FIRST.

A run goes through the users, the oldest first, and locks each while it processes the user (`users`). It goes through
the assets of a user in their order. For each asset:

    start    the journal says `started`; that is committed before anything is sent
    index    in a thread: IndexFaces, or the faces that are in the collection already (`processing`)
    match    in a thread, once all earlier assets are indexed and visible: SearchFaces for each face, except where the
             collection has no faces of earlier assets
    record   in order: decide (`decisions`), then write rows, links and the journal's `done` in one statement
    delete   faces that are too small leave the collection again, many at a time

Threads call AWS and read photos. Only the caller's thread uses the database: one connection writes, others hold locks.
After a crash some assets say `started`. The next run adopts the faces that they have in the collection and continues.

When a service does not answer, calls are held back until it does (`outage`). When the database does not, the work ends,
and begins anew in the same run once the database is there again, as it would after a crash.
"""

import contextlib
import time
import uuid
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec
import psycopg
from psycopg import errors as pg

from seedtool.backfill import journal, library
from seedtool.backfill.calls import Calls, Finished, Kind, Meter, OverBudget
from seedtool.backfill.library import Wanted
from seedtool.backfill.outage import UNANSWERED, ConnectionLost, Outages, Subject, concerns_all
from seedtool.backfill.plan import FACES_PER_PHOTO, Options, check_options
from seedtool.backfill.processing import CollectionGone, Found, Paused, Processor
from seedtool.backfill.queries import LibraryConnection, connect
from seedtool.backfill.report import Failure, Progress, Report, Tally
from seedtool.backfill.users import AssetInProgress, User, Users
from seedtool.errors import (
    AccessDenied,
    AwsError,
    CredentialsError,
    DatabaseError,
    InvalidRequest,
    SeedtoolError,
    SettingsError,
    Throttled,
)
from seedtool.faces.interrupts import Held, held
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.postgres.psycopg_errors import translate
from seedtool.postgres.server import Target
from seedtool.settings import Settings

_Answer = TypeVar("_Answer")

#: Errors that concern every asset. They stop the run, and mark no asset as failed.
_FATAL = (CredentialsError, AccessDenied, SettingsError)

# How often a call that is throttled after all of the client's attempts is sent again. The nth time waits n seconds.
_THROTTLED_ATTEMPTS = 10

# How many photos an application may refuse before it has accepted one.
_MOST_REFUSED = 20

# How often a statement is repeated that lost a conflict over locks.
_RECORD_ATTEMPTS = 3

# Assets of a user that are queued at once to be decided about again.
_DECIDED_AGAIN = 100

# From so many assets on, a run finds the quota out first, by at most so many free calls one after the other. They are
# more than a quota of 5 a second allows at once, and so few that they take half a second.
_MANY = 100
_PROBES = 12

# Seconds between two looks at signals and at what is due, and between two reports of progress.
_TICK = 0.1

# Between two reports that are kept of a run that goes on. Each is at most about 300 KB.
_SECONDS_BETWEEN_REPORTS = 5.0

# The most face ids that DeleteFaces takes (source: API reference, FaceIds: at most 4096).
_MOST_DELETED = 4096

_JOURNAL = "the journal of the backfill cannot be written"

_RUN_AGAIN = "Run the same command again. It continues where it stopped."


class Run:
    """One run of the backfill.

    Args:
        settings: prices, and the prefix of collections.
        target: the database; the run opens connections of its own.
        processor: processes the photos: `FaceProcessor` or `Endpoint`.
        options: which assets, how many at a time, and for how much money.
    """

    def __init__(
        self, settings: Settings, target: Target, processor: Processor, options: Options | None = None
    ) -> None:
        self.settings = settings
        self.target = target
        self.processor = processor
        self.options = options or Options()
        self.id = str(uuid.uuid4())
        self._work: _Work | None = None
        self._stopped = False
        self._database_outages = Outages(settings.backfill.longest_outage)

    def execute(self, listener: Listener = SILENT) -> Report:
        """Process the assets of all users, or of one.

        The first SIGINT, SIGTERM or SIGHUP lets the run finish what is in progress; a second one ends it at once. In
        both cases the next run continues where this one ended.

        Args:
            listener: hears the progress in `assets`, up to ten times a second; `self.progress` has the details.

        Returns:
            what the run did. After an error, `self.report` says what was done until then.

        Raises:
            UsageError: the user does not exist or is deleted.
            SchemaError: a table of the photo library is missing.
            CredentialsError: no asset is marked as failed, and the rest is not tried.
            AccessDenied: as with CredentialsError.
            SettingsError: as with CredentialsError.
            ServiceUnavailable: AWS or the application did not answer for `longest_outage` seconds; as above.
            DatabaseError: the database did not answer for as long, another one took its place, or the journal cannot
                be created.
            KeyboardInterrupt: a second signal came.
        """
        with self.processor.metered(self.settings.backfill.prices, self.options.max_cost) as meter:
            while True:
                try:
                    return self._execute_once(meter, listener)
                except ConnectionLost as error:
                    if self._work is None or self._work.interrupted:
                        raise
                    self._wait_for_database(self._work, error, listener)

    def _execute_once(self, meter: Meter, listener: Listener) -> Report:
        """Process the assets, or the rest of them after a connection was lost.

        Raises:
            ConnectionLost: the database does not answer any more.
        """
        options, before = self.options, self._work
        rules, application = self.settings.backfill, "seedtool backfill"
        with connect(rules, self.target, autocommit=True, application=application) as writer:
            try:
                server.refuse_pooler(self.target, writer)
                writer.execute("SELECT set_config('lock_timeout', %s, false)", [journal.LOCK_TIMEOUT])
                journal.ensure(writer)
                wanted, _ = check_options(writer, options)
                database, now = journal.database_and_time(writer)
                if before is not None and database != before.database:
                    raise DatabaseError(
                        f"another database has taken the place of {self.target} during the run",
                        remedy="Look at what it would do there (--dry-run) before you run the same command again.",
                    )
                wanted = msgspec.structs.replace(wanted, failed_before=before.wanted.failed_before if before else now)
                run_id = self.id if before is None else str(uuid.uuid4())
                gone, notes = self._look_for_collections(writer, run_id, listener)
                if options.reindex:
                    # an interrupted repair must not become a round over everything
                    repair = bool(gone) or wanted.gone
                    began = journal.begin_reindex(writer, options.repair if repair else options.scope)
                    wanted = msgspec.structs.replace(wanted, reindex_since=None if repair else began, gone=repair)
                with writer.transaction():  # one snapshot, so that what another run does meanwhile is not counted twice
                    writer.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    census = library.census(writer, wanted, has_journal=True)
                    tally = before.tally if before is not None else Tally(census.assets, census.skipped)
                    tally.total = tally.succeeded + tally.failed + census.assets
                    tally.notes += [note for note in notes if note not in tally.notes]
                    prefix = self.settings.backfill.collection_prefix
                    users = Users(self.target, writer, wanted, prefix, tally.done_of, gone, create=options.reindex)
                self._work = work = _Work(self, run_id, writer, users, meter, tally, wanted, database)
            except psycopg.Error as error:
                if before is None or not concerns_all(error, writer):
                    raise
                raise _lost(error) from error
            try:
                if before is None and census.assets >= _MANY:
                    self._learn_quota(meter)
                work.process_all(listener)
            finally:
                work.keep_report(ended=True)
            if options.reindex and options.limit is None and work.complete:
                journal.end_reindex(writer, options.repair if wanted.gone else options.scope)
            return work.report

    def _look_for_collections(
        self, writer: LibraryConnection, run_id: str, listener: Listener
    ) -> tuple[frozenset[str], list[str]]:
        """Look whether the collections exist that the faces in the tables are in.

        Where one does not, the assets whose faces it held are marked. `reindex` indexes them again.

        Returns:
            the users whose collection is gone, or whose assets are still marked; and what a report says about them.

        Raises:
            AwsError: ListCollections failed.
        """
        options, prefix = self.options, self.settings.backfill.collection_prefix
        collections = library.collections(writer, options.user_id, prefix)
        gone = self._until_answered(lambda: self.processor.gone(collections), listener)
        notes = []
        for each in (each for each in collections if each.id in gone):
            if not each.has_faces:
                library.forget_collection(writer, each.user_id)  # nothing is lost, so it is made again
                continue
            count = library.faces_are_gone(writer, run_id, each.user_id)
            what = f"the collection {each.id} is gone: {gone[each.id]}. The faces of {count} assets are lost"
            notes.append(f"user {each.user_id}: {what}")
        marked = library.users_to_index_again(writer, options.user_id)
        for each in (each for each in collections if each.user_id in marked and each.id not in gone):
            # it was made again, or the run that missed it had looked in another account or region
            wanted = library.faces_to_index_again(writer, each.user_id)
            there = self._until_answered(partial(self.processor.there, each.id, wanted), listener)
            library.faces_are_there(writer, each.user_id, there)
        marked = library.users_to_index_again(writer, options.user_id) if marked else {}
        if options.reindex:
            return frozenset(marked), []
        if marked:
            notes.append(
                f"{sum(marked.values())} assets of {len(marked)} users have lost their faces, so these users were left "
                "out. Check account and region. Then seedtool backfill --reindex indexes these assets again"
            )
        return frozenset(marked), notes

    def _learn_quota(self, meter: Meter) -> None:
        """Make free calls until one is throttled: then the client begins at a low rate, not with a burst."""
        for _ in range(_PROBES):
            if self._stopped or meter.throttled:
                return
            self.processor.probe()

    def _until_answered(self, call: Callable[[], _Answer], listener: Listener) -> _Answer:
        """Make a call before the work begins, again and again during an outage."""
        outages = Outages(self.settings.backfill.longest_outage)
        while True:
            try:
                return call()
            except UNANSWERED as error:
                outages.unanswered(error)
                if (too_long := outages.too_long()) is not None:
                    raise too_long from error
                while time.monotonic() < outages.next_at:
                    if self._stopped:
                        raise
                    listener.progress("assets", 0, None)
                    time.sleep(_TICK)

    def _wait_for_database(self, work: "_Work", lost: SeedtoolError, listener: Listener) -> None:
        """Wait until the database can be reached again.

        Raises:
            DatabaseError: it took too long, or a signal came.
        """
        outages = self._database_outages
        outages.unanswered(lost)
        with held() as hold:
            while True:
                if hold.take() or self._stopped:
                    work.interrupted = True
                    raise lost
                if (too_long := outages.too_long()) is not None:
                    work.stopped = too_long.message
                    raise too_long
                if time.monotonic() >= outages.next_at:
                    try:
                        # It may still fail at once, so the outage ends with the first asset that is written.
                        server.connect(self.target, patience=2.0).close()
                    except DatabaseError as error:
                        outages.unanswered(error)
                    else:
                        work.stopped = ""
                        return
                listener.progress("assets", self.progress.done, self.progress.total)
                time.sleep(_TICK)

    def stop(self) -> None:
        """Let the run finish what is in progress, as the first signal does. Any thread may call it."""
        self._stopped = True

    def database_answered(self) -> None:
        """Note that an asset was written: there is no outage of the database."""
        self._database_outages.answered()

    @property
    def stop_requested(self) -> bool:
        """Tell whether `stop` was called."""
        return self._stopped

    @property
    def progress(self) -> Progress:
        """Return how far the run is."""
        if self._work is None:
            return Tally(0).progress(0)
        outage = next((each for each in (self._database_outages, self._work.outages) if each.attempts > 1), None)
        if outage is None:
            return self._work.progress
        return msgspec.structs.replace(self._work.progress, outage=outage.cause, ends_in=outage.seconds_left)

    @property
    def report(self) -> Report | None:
        """Return what was done so far; None before the first user is processed."""
        return self._work.report if self._work is not None else None


def _lost(error: psycopg.Error) -> ConnectionLost:
    return ConnectionLost(translate(error, "the database cannot be used").message, remedy=_RUN_AGAIN)


class _OwnFault(Exception):
    """A call was not answered although the service answers others."""

    def __init__(self, error: SeedtoolError) -> None:
        super().__init__(error)
        self.error = error


def _error_of(finished: Finished) -> Exception | None:
    return finished.error.error if isinstance(finished.error, _OwnFault) else finished.error


class _Work:
    """The work of a run.

    Attributes:
        interrupted: a signal or `Run.stop` ended the run early.
        stopped: why else it ended early.
        outages: of AWS, of photo stores, and of the application.
        tally: what was done so far.
        wanted: which assets are to process.
        database: the oid of the database.
    """

    def __init__(
        self,
        run: Run,
        run_id: str,
        writer: LibraryConnection,
        users: Users,
        meter: Meter,
        tally: Tally,
        wanted: Wanted,
        database: int,
    ) -> None:
        self.outages = Outages(run.settings.backfill.longest_outage)
        self.tally, self.wanted, self.database = tally, wanted, database
        self._run = run
        self._processor = run.processor
        self._options = run.options
        self._writer = writer
        self._users = users
        self._meter = meter
        self._tally = tally
        self._id = run_id
        self._calls = Calls(run.options.batch_size, meter.take_billed_of_thread)
        self._to_index: deque[AssetInProgress] = deque()
        self._to_match: deque[AssetInProgress] = deque()
        self._to_repeat: list[tuple[float, Callable[[], None]]] = []
        self._held: deque[Callable[[bool], None]] = deque()  # calls that were not answered, each to be sent again
        self._refused: list[tuple[AssetInProgress, SeedtoolError]] = []  # before any photo was accepted
        self._started = 0  # assets that are started and not recorded
        self._reserved: dict[str, float] = {}  # the most dollars that each asset with AWS may cost there
        self._faces_per_photo = journal.faces_per_photo(writer) or FACES_PER_PHOTO
        self._progress_at = 0.0
        self._report_at = time.monotonic() + _SECONDS_BETWEEN_REPORTS
        self._ending = False
        self._fatal: SeedtoolError | None = None
        self.interrupted = False
        self.stopped = ""

    @property
    def complete(self) -> bool:
        """Tell whether everything was processed that was to process."""
        return not (self.interrupted or self.stopped or self._users.of_other_runs)

    @property
    def progress(self) -> Progress:
        """Return how far the run is."""
        return self._tally.progress(self._users.assets_of_other_runs, ending=self.interrupted)

    @property
    def report(self) -> Report:
        """Return what was done so far."""
        return self._tally.report(
            mode=self._processor.mode,
            region=self._processor.region,
            users_elsewhere=len(self._users.of_other_runs),
            calls=self._meter.calls,
            billed=self._meter.billed,
            throttled=self._meter.throttled,
            cost=self._meter.cost(),
            interrupted=self.interrupted,
            stopped=self.stopped,
        )

    def process_all(self, listener: Listener) -> None:
        """Process all users. What is in progress is finished, unless a second signal comes."""
        try:
            with held() as hold:
                while self._step(hold, listener):
                    pass
                self.interrupted = hold.take() or self.interrupted
            self._count_what_is_left()
        finally:
            self._ending = True  # a thread that waits sees this and ends
            self._calls.close()
            self._users.close()
        self._report_progress(listener, last=True)
        if self._fatal is not None:
            self.stopped = self._fatal.message
            raise self._fatal

    def _step(self, hold: Held, listener: Listener) -> bool:
        """Do what can be done now, and wait for a call to end; False when nothing is left to do."""
        if not self._ending and (hold.pending is not None or self._run.stop_requested):
            self._ending = self.interrupted = True
        try:
            due = self._start_and_send()
            if due is None and self._calls.empty:
                if not self._refused or self._ending:
                    return False
                self._end_refused()
            wait = _TICK if due is None else min(_TICK, max(0.0, due - time.monotonic()))
            changed = {user.id: user for user in map(self._take_result, self._calls.finished(wait)) if user is not None}
            for user in changed.values() if self._fatal is None else ():
                self._record_in_order(user)
        except psycopg.Error as error:
            lost = concerns_all(error, self._writer)
            self._end(_lost(error) if lost else translate(error, _JOURNAL, remedy=_RUN_AGAIN))
        except DatabaseError as error:
            self._end(error)
        self._report_progress(listener)
        return True

    def _start_and_send(self) -> float | None:
        """Start assets and send calls; return when there is more to send, as `_send_calls` does."""
        if (too_long := self.outages.too_long()) is not None:
            self._end(too_long)
        if self._fatal is not None:
            return None
        if self.outages.lasts:
            return self._send_one()
        if not self._ending:
            self._take_users()
            self._start_assets()
        return self._send_calls()

    # Users

    def _take_users(self) -> None:
        """Take more users while those in progress have too few assets to keep all threads busy."""
        self._users.check_locks()
        waiting = sum(user.expected for user in self._users) + len(self._to_index) + self._calls.indexing
        while waiting < self._options.batch_size and (user := self._users.take()) is not None:
            waiting += user.expected
            self._open(user)

    def _open(self, user: User) -> None:
        unfinished = [each.asset_id for each in user.unfinished]
        self._send(
            user,
            "open",
            lambda: self._processor.open(
                user.collection_id, unfinished, user.to_look_for, self._pause, remembered=user.remembered
            ),
        )

    def _pause(self, seconds: float) -> None:
        """Wait in a thread, unless the run ends."""
        until = time.monotonic() + seconds
        while not self._ending and (left := until - time.monotonic()) > 0:
            time.sleep(min(_TICK, left))

    # Assets

    def _start_assets(self, least: int = 0) -> None:
        """Start as many assets as there is room for, among those with AWS and those that wait to be visible."""
        room = min(
            self._calls.free - len(self._to_index) - len(self._to_match),
            2 * self._options.batch_size - self._started,
        )
        room = self._affordable(max(least, room))
        ids: list[str] = []
        for user in self._users:
            if user.ready and len(ids) < room:
                ids += user.next_ids(room - len(ids))
        if not ids:
            return
        index_calls = self._processor.index_calls.get("IndexFaces", 0)
        assets = journal.start(self._writer, self._id, ids, reindex=self._options.reindex, index_calls=index_calls)
        self._tally.total -= len(ids) - len(assets)  # the others no longer qualify
        for asset in assets:
            user = self._users[asset.user_id]
            started = AssetInProgress(user=user, asset=asset, is_first=user.is_empty and asset.attempts == 1)
            user.is_empty = False
            user.queue.append(started)
            self._to_index.append(started)
            self._started += 1

    def _affordable(self, room: int) -> int:
        """Return for how many more assets the budget is enough, after all that the started ones will cost."""
        if self._options.max_cost is None or room <= 0:
            return room
        per_face = self._price(self._processor.match_calls)
        per_asset = self._price(self._processor.index_calls) + self._faces_per_photo * per_face
        reserved = 0.0
        for asset in (asset for user in self._users for asset in user.queue):
            reserved += per_asset if asset.stage == "started" else 0.0
            reserved += asset.to_search * per_face if asset.stage in {"indexed", "matching"} else 0.0
        count = 0
        while count < room and self._meter.affords(reserved + (count + 1) * per_asset):
            count += 1
        if count == 0 and not self._started and any(user.to_start for user in self._users):
            self._end_over_budget()
        return count

    def _price(self, calls: dict[str, int]) -> float:
        return sum(count * self._meter.price(operation) for operation, count in calls.items())

    def _end_over_budget(self, asset: AssetInProgress | None = None) -> None:
        if asset is not None:
            asset.stage = "paused"
        self.stopped = f"the rest would cost more than the budget of {self._options.max_cost:g} dollars"
        self._ending = True

    # Calls

    def _send_calls(self) -> float | None:
        """Send the calls that may be sent, searches first.

        Returns:
            when the next call may be sent, by the monotonic clock; None when none will be.
        """
        now = time.monotonic()
        self._repeat(now)
        while self._held:
            self._held.popleft()(False)
        due = [at for at, _ in self._to_repeat]
        due += self._queue_to_match(now)
        for user in self._users:
            if user.to_delete and user.ready and not user.deleting:
                self._delete(user)
            if user.lost and not user.deleting and not any(asset.sent for asset in user.queue):
                self._leave_out(user)
            elif user.finished and self._decide_again(user):
                due.append(now)
            elif user.finished:
                self._tally.total += user.started - user.counted_assets
                self._users.release(user)
        self._send_assets()
        to_come = not self._ending and (self._users.to_come or any(user.expected for user in self._users))
        if self._to_match or self._to_index or to_come:
            due.append(now + _TICK)
        return min(due, default=None)

    def _queue_to_match(self, now: float) -> list[float]:
        """Queue the assets that may be matched; return when the next one of each user may be."""
        due = []
        for user in self._users:
            for asset, at in user.to_match(self._processor.visibility):
                if at > now:
                    due.append(at)
                    break
                asset.stage = "matching"
                self._to_match.append(asset)
        return due

    def _decide_again(self, user: User) -> bool:
        """Queue assets whose decisions were made without a photo that had failed; False when there are none."""
        if self._ending:
            return False
        for asset, faces in journal.to_decide_again(self._writer, user.id, [*user.left_undecided], _DECIDED_AGAIN):
            queued = AssetInProgress(user=user, asset=asset, stage="indexed", found=Found(faces=faces))
            user.queue.append(queued)
            self._started += 1
        return bool(user.queue)

    def _repeat(self, now: float) -> None:
        due = [repeat for at, repeat in self._to_repeat if at <= now]
        self._to_repeat = [each for each in self._to_repeat if each[0] > now]
        for repeat in due:
            repeat()

    def _send_one(self) -> float | None:
        """Send one call during an outage, unless another one is in progress or it is too early.

        Calls that have failed and calls that have not take turns: so an asset that fails by its own fault is told from
        an outage, even where the run processes one asset at a time.

        Returns:
            as `_send_calls`.
        """
        self._users.check_locks()
        if self._ending:
            return None
        now = time.monotonic()
        if not self._calls.empty or now < self.outages.next_at:
            return max(now, self.outages.next_at)
        self._repeat(now)
        self._queue_to_match(now)
        failed_first = self._held and self.outages.attempts % 2
        if not failed_first and self._send_another():
            return now
        if self._held:
            alone = len(self._held) == 1 and not self._to_repeat
            self._held.popleft()(alone)
            self._send_assets(1)
            return now
        if not self._send_another():
            self.outages.answered()  # nothing is left that could fail again
        return now

    def _send_another(self) -> bool:
        """Send a call that has not failed; False when there is none."""
        if not (self._to_match or self._to_index):
            self._start_assets(least=1)
        if self._to_match or self._to_index:
            self._send_assets(1)
        elif (user := self._users.take()) is not None:
            self._open(user)
        return not self._calls.empty

    def _send_assets(self, most: int | None = None) -> None:
        while self._calls.free and (self._to_match or self._to_index) and most != 0:
            most = None if most is None else most - 1
            if not self._to_match:
                self._index(self._to_index.popleft())
            elif not self._match(self._to_match.popleft()):
                return

    def _index(self, asset: AssetInProgress) -> None:
        collection_id, left_behind = asset.user.collection_id, asset.user.left_behind.pop(asset.asset.id, [])
        asset.left_behind = left_behind = left_behind or asset.left_behind
        if not library.still_eligible(self._writer, asset.asset.id):
            asset.found = Found(faces=tuple(left_behind))
            self._skip(asset)
            self._record_in_order(asset.user)
            return
        self._reserved[asset.asset.id] = self._price(self._processor.index_calls)
        self._send(asset, "index", lambda: self._processor.index(collection_id, asset.asset, left_behind))

    def _match(self, asset: AssetInProgress) -> bool:
        """Search the faces of an asset if the budget is enough for all of them: then no search is paid for in vain.

        Returns:
            False when that depends on the cost of calls in progress: the asset waits for them.
        """
        if any(each.stage == "paused" for each in asset.user.queue):
            asset.stage = "paused"  # it could not be recorded before that one
            return True
        cost = asset.to_search * self._price(self._processor.match_calls)
        if not self._meter.affords(cost + sum(self._reserved.values())):
            if self._reserved and self._meter.affords(cost):
                self._to_match.appendleft(asset)
                return False
            self._end_over_budget(asset)
            return True
        self._reserved[asset.asset.id] = cost
        collection_id, found, matches = asset.user.collection_id, asset.found, asset.matches
        self._send(asset, "match", lambda: self._processor.match(collection_id, asset.asset, found, matches))
        return True

    def _send(self, subject: AssetInProgress | User, kind: Kind, call: Callable[[], object]) -> None:
        alone, subject.alone = subject.alone, False
        if isinstance(subject, AssetInProgress):
            subject.sent = True

        def call_and_compare() -> object:
            try:
                return call()
            except UNANSWERED as error:
                if alone and self._processor.answers():
                    raise _OwnFault(error) from error
                raise

        self._calls.send(kind, subject, call_and_compare)

    def _delete(self, user: User) -> None:
        """Delete small faces: all that have come together during the last such call."""
        if user.deleting or not user.to_delete:
            return
        faces = user.take_to_delete(_MOST_DELETED)
        user.in_deletion = faces
        face_ids = [face_id for each in faces.values() for face_id in each]
        user.deleting = True

        def call() -> list[str]:
            self._processor.delete(user.collection_id, face_ids)
            return list(faces)

        self._send(user, "delete", call)

    # Results

    def _take_result(self, finished: Finished) -> User | None:
        """Continue with what a call returned or raised; return the user whose assets may be recorded now."""
        if isinstance(finished.subject, AssetInProgress):
            finished.subject.add_calls(finished.calls)
            finished.subject.sent = False
            self._reserved.pop(finished.subject.asset.id, None)
        if isinstance(finished.error, _FATAL):
            self._end(finished.error)
            return None
        answered = isinstance(finished.error, AwsError) and not isinstance(finished.error, UNANSWERED)
        if finished.error is None or answered:
            self.outages.answered(finished.kind)
        if isinstance(finished.subject, AssetInProgress):
            self._take_result_of_asset(finished.subject, finished)
            return finished.subject.user
        self._take_result_of_user(finished.subject, finished)
        return None

    def _take_result_of_user(self, user: User, finished: Finished) -> None:
        held, error = self._hold(finished, self._again(user, finished.kind)), _error_of(finished)
        if finished.kind == "delete":
            user.deleting = False
            if held:
                user.to_delete |= user.in_deletion
            elif error is None:
                journal.faces_are_deleted(self._writer, finished.result)
            else:
                self._tally.add_note(f"user {user.id}", error)
        elif error is None:
            if not self._ending:  # otherwise `open` may not have waited until old calls are visible
                self._users.opened(user, finished.result)
        elif isinstance(error, CollectionGone):
            self._lose(user, error)
        elif not held:  # this user cannot be processed, but others can
            self._tally.add_note(f"user {user.id}", error)
            self._users.release(user)

    def _take_result_of_asset(self, asset: AssetInProgress, finished: Finished) -> None:
        error = _error_of(finished)
        if isinstance(error, CollectionGone):
            self._lose(asset.user, error)
        if asset.user.lost:
            asset.stage = "paused"
        elif self._hold(finished, self._again(asset, finished.kind)):
            pass
        elif error is None:
            self._continue(asset, finished)
        elif isinstance(error, OverBudget):
            self._end_over_budget(asset)
        elif isinstance(error, Paused):
            asset.stage = "paused"
        elif isinstance(error, InvalidRequest) and not self._processor.proven:
            asset.stage = "refused"
            self._started -= 1
            self._refused.append((asset, error))
            if len(self._refused) >= _MOST_REFUSED:
                self._end_refused()
        else:
            self._fail(asset, error)

    def _continue(self, asset: AssetInProgress, finished: Finished) -> None:
        """Go on with what a call returned."""
        if self._refused and self._processor.proven:
            self._fail_refused()
        if finished.kind == "index":
            asset.found = finished.result
            asset.indexed_at = 0.0 if asset.found.adopted else finished.at
            asset.stage = "matched" if asset.is_first else "indexed"
            self._faces_per_photo += (len(asset.found.faces) - self._faces_per_photo) / 100
        else:
            asset.matches = finished.result
            asset.stage = "matched"

    def _hold(self, finished: Finished, again: Callable[[bool], None]) -> bool:
        """Hold a call back that was not answered, to be sent again; False when it was, or when it failed for good."""
        subject: AssetInProgress | User = finished.subject
        alone, error = isinstance(finished.error, _OwnFault), _error_of(finished)
        if not isinstance(error, UNANSWERED):
            return False
        if isinstance(error, Throttled) and subject.attempts < _THROTTLED_ATTEMPTS:
            subject.attempts += 1
            self._repeat_after(subject.attempts, lambda: again(False))
            return True
        if isinstance(subject, AssetInProgress) and len(subject.matches) > subject.answered:
            subject.answered, subject.trouble = len(subject.matches), Subject()
            self.outages.answered(finished.kind)  # searches before the last one were
        self.outages.unanswered(error)
        if self.outages.is_own_fault(finished.kind, subject.trouble, alone=alone):
            self.outages.answered()
            return False
        self._held.append(again)
        return True

    def _again(self, subject: AssetInProgress | User, kind: Kind) -> Callable[[bool], None]:
        """Return what sends a call again; its argument tells whether nothing else is left to do."""

        def again(alone: bool) -> None:
            subject.alone = alone
            if isinstance(subject, AssetInProgress):
                (self._to_match if kind == "match" else self._to_index).appendleft(subject)
            elif kind == "delete":
                self._delete(subject)
            else:
                self._open(subject)

        return again

    def _lose(self, user: User, error: CollectionGone) -> None:
        """Do nothing more for a user whose collection was deleted during the run.

        The faces of the assets that are done are gone with it. They are marked, and the others stay `started`.
        """
        if user.lost:
            return
        user.lost = True
        count = library.faces_are_gone(self._writer, self._id, user.id)
        if count:
            lost = f"The faces of {count} assets are lost. seedtool backfill --reindex indexes these assets again"
        else:
            library.forget_collection(self._writer, user.id)
            lost = "No faces are lost. Run the same command again"
        self._tally.add_note(f"user {user.id}", CollectionGone(f"{error.message}. {lost}"))
        for asset in user.queue:
            asset.stage = "paused"
        self._to_index = deque(each for each in self._to_index if each.user is not user)
        self._to_match = deque(each for each in self._to_match if each.user is not user)

    def _leave_out(self, user: User) -> None:
        for asset in user.queue:
            journal.add_calls(self._writer, self._id, asset.asset, asset.calls)
        self._started -= len(user.queue)
        user.queue.clear()
        self._users.release(user)

    def _fail_refused(self) -> None:
        refused, self._refused = self._refused, []
        for asset, error in refused:
            self._started += 1
            self._fail(asset, error)

    def _end_refused(self) -> None:
        """End the run: whatever refuses each photo is not the application that is meant."""
        _, error = self._refused[0]
        self._refused = []
        self._end(
            SettingsError(
                f"no photo was accepted so far: {error.message}",
                remedy="Check the address. No asset was marked as failed, and the same command continues.",
                option="--endpoint",
            )
        )

    def _repeat_after(self, seconds: float, call: Callable[[], None]) -> None:
        self._to_repeat.append((time.monotonic() + seconds, call))

    def _end(self, error: SeedtoolError) -> None:
        """End the run because of an error that concerns every asset."""
        self._fatal = self._fatal or error
        self._ending = True

    # The record

    def _record_in_order(self, user: User) -> None:
        """Record the user's assets that are matched, as far as all assets before them are recorded."""
        while user.queue and user.queue[0].stage in {"matched", "failed", "skipped"}:
            if user.queue[0].stage == "matched":
                self._record(user.queue[0])
            user.queue.popleft()
            self._started -= 1

    def _record(self, asset: AssetInProgress) -> None:
        arguments = (self._writer, self._id, asset.asset, asset.found, asset.matches, asset.calls)
        for attempt in range(1, _RECORD_ATTEMPTS + 1):
            try:
                outcome = self._processor.record(*arguments)
                self._run.database_answered()
                break
            except psycopg.Error as error:
                of_the_schema = (error.sqlstate or "").startswith("42") and not self._tally.succeeded
                if of_the_schema or concerns_all(error, self._writer):
                    raise
                conflict = isinstance(error, pg.DeadlockDetected | pg.SerializationFailure)
                if not conflict or attempt == _RECORD_ATTEMPTS:
                    remedy = "Fix the cause in the database, then run with --retry-failed."
                    self._fail(asset, translate(error, "the asset's faces cannot be written", remedy=remedy))
                    return
        if asset.asset.again:
            self._tally.decided_again += outcome is not None
            if outcome is None:  # it no longer qualifies, or is to be indexed again
                journal.is_decided_again(self._writer, asset.asset.id)
            return
        if outcome is None:
            self._skip(asset)
            return
        if asset.found.small:
            asset.user.to_delete[asset.asset.id] = [face.face_id for face in asset.found.small]
        self._tally.add_success(asset.user.id, outcome, self._meter.cost(asset.calls))
        self._count_user(asset.user)

    def _fail(self, asset: AssetInProgress, error: Exception) -> None:
        """Write down that an asset failed."""
        if asset.asset.again:
            asset.stage = "failed"
            asset.user.left_undecided.add(asset.asset.id)
            self._tally.add_note(f"asset {asset.asset.id}, which was to be decided about again", error)
            return
        if not library.still_eligible(self._writer, asset.asset.id):
            # Its photo may be deleted, too. The journal still says `started`: so the next run looks into the collection
            # for faces of a call whose answer was lost.
            journal.add_calls(self._writer, self._id, asset.asset, asset.calls)
            asset.stage = "skipped"
            self._tally.total -= 1
            return
        if isinstance(error, SeedtoolError):
            cause, remedy = error.message, error.remedy
        else:
            cause = f"unexpected {type(error).__name__}"
            remedy = "Please report this error, and what kind of photo it is."
        journal.fail(self._writer, self._id, asset.asset, cause, remedy, asset.calls)
        asset.stage = "failed"
        failure = Failure(
            asset_id=asset.asset.id,
            user_id=asset.user.id,
            file_name=asset.asset.file_name,
            cause=cause,
            remedy=remedy,
        )
        self._tally.add_failure(failure, self._meter.cost(asset.calls))
        self._count_user(asset.user)

    def _skip(self, asset: AssetInProgress) -> None:
        """Write down that an asset no longer qualifies, and delete its faces from the collection.

        Raises:
            DatabaseError: the asset's line belongs to another run.
        """
        asset_id = asset.asset.id
        if journal.state_and_run(self._writer, asset_id) != ("started", self._id):
            raise DatabaseError(
                f"another run has started asset {asset_id}, so this run has lost its locks",
                remedy="Let the other run finish, or run the same command again.",
            )
        journal.add_calls(self._writer, self._id, asset.asset, asset.calls)
        faces = [face.face_id for face in (*asset.found.faces, *asset.found.small)]
        journal.skip(self._writer, {asset_id: faces})
        if faces:
            asset.user.to_delete[asset_id] = faces
        asset.stage = "skipped"
        self._tally.total -= 1

    def _count_what_is_left(self) -> None:
        """Write down the calls of assets that were not recorded, and subtract what another run has done meanwhile."""
        if self._writer.closed:
            return
        try:
            for asset in (asset for user in self._users for asset in user.queue):
                journal.add_calls(self._writer, self._id, asset.asset, asset.calls)
            self._tally.total += self._users.change_of_rest()
        except psycopg.Error as error:
            self._end(translate(error, _JOURNAL, remedy=_RUN_AGAIN))

    def _count_user(self, user: User) -> None:
        self._tally.users += not user.counted
        user.counted = True
        if self._options.limit is not None:
            self._tally.done_of[user.id] += 1

    def _report_progress(self, listener: Listener, *, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._progress_at < _TICK:
            return
        self._progress_at = now
        self._tally.add_point(self._meter.calls, self._meter.throttled, last=last)
        progress = self.progress
        listener.progress("assets", progress.done, progress.total)
        if not last and now >= self._report_at:
            self._report_at = now + _SECONDS_BETWEEN_REPORTS
            self.keep_report(ended=False)

    def keep_report(self, *, ended: bool) -> None:
        """Keep the report so far for the review page, unless the run had nothing to do."""
        report = self.report
        if report.assets or report.notes or report.decided_again:
            with contextlib.suppress(psycopg.Error):  # a database that does not answer is noticed where it matters
                journal.keep_report(self._writer, self._run.id, report, ended=ended)
