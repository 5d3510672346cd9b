"""Backfill the photo library: OPEN THIS FIRST.

A run goes through the users, the oldest first, each locked while it is at work on them (`working.users`), and through a
user's assets in their order (`working.line`):

    begin    the journal says `started`; committed before anything is sent
    index    in a thread: photo → IndexFaces, or the faces that an interrupted run left (`indexing`)
    match    in a thread, once all earlier assets are indexed and visible: SearchFaces for each face (`matching`)
    record   in order: decide, and write rows, links and the journal's `done` in one statement (`library`)
    drop     faces too small leave the collection again, many at a time

Threads reach AWS and photo stores; the database is reached from the caller's thread alone, by one connection that
writes and one or two that hold locks. A crash anywhere leaves assets that say `started`; the next run adopts what they
have in the collection and goes on.
"""

import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import msgspec
import psycopg

from seedtool.backfill import journal, library
from seedtool.backfill.indexing import Library
from seedtool.backfill.reporting import plan as plans
from seedtool.backfill.reporting.plan import Options
from seedtool.backfill.reporting.report import Progress, Report, Tally
from seedtool.backfill.reporting.spending import Meter, OverBudget
from seedtool.backfill.ways import Paused, Rekognition, Way
from seedtool.backfill.working.claims import Claims
from seedtool.backfill.working.flight import Flight, Landed
from seedtool.backfill.working.line import User, Work
from seedtool.backfill.working.recording import Recorder
from seedtool.backfill.working.users import Users
from seedtool.errors import AccessDenied, CredentialsError, DatabaseError, SeedtoolError, SettingsError, Throttled
from seedtool.faces.interrupts import Held, held
from seedtool.faces.photos import Addresses, FolderStore, PhotoStore
from seedtool.faces.rekognition import Aws
from seedtool.postgres import server
from seedtool.postgres.server import Target
from seedtool.settings import Settings

Tell: TypeAlias = Callable[[Progress], None]

#: Of every asset alike: the rest is not burnt through.
_FATAL = (CredentialsError, AccessDenied, SettingsError)

# How often is begun again what was over the quota after all attempts; before the nth time n seconds go by.
_TRIES = 10

# Seconds between two looks at signals and at what is due.
_LOOK = 0.1

# Ids that DeleteFaces takes at once.
_DROP = 4096


def run(
    settings: Settings,
    target: Target,
    aws: Aws,
    photos: PhotoStore,
    options: Options | None = None,
    *,
    progress: Tell | None = None,
    stop: Callable[[], bool] | None = None,
    partial: Callable[[Report], None] | None = None,
) -> Report:
    """Index the photos of all users, or of one, and decide about their faces.

    Args:
        settings: thresholds, prices, where photos are.
        target: the database; connections of its own are opened.
        aws: the AWS side.
        photos: where paths are looked up, before the project's folder.
        options: which assets, how many at once, for how much.
        progress: told how far it is, up to ten times a second.
        stop: asked all the while; True is like a first signal.
        partial: told what was done when the run ends by an error, which is raised afterwards.

    Raises:
        CredentialsError: there are none, or they expired: nothing was marked failed, and the rest was not tried.
        AccessDenied: Rekognition forbids it: likewise.
        SeedtoolError: as `run_by`.
    """
    photos_of_rows = Library(Addresses(settings, aws, photos), FolderStore(settings.root))
    way = Rekognition(aws, photos_of_rows, settings.backfill)
    return run_by(way, settings, target, options, progress=progress, stop=stop, partial=partial)


def run_by(
    way: Way,
    settings: Settings,
    target: Target,
    options: Options | None = None,
    *,
    progress: Tell | None = None,
    stop: Callable[[], bool] | None = None,
    partial: Callable[[Report], None] | None = None,
) -> Report:
    """Have the photos of all users, or of one, processed.

    A first SIGINT, SIGTERM or SIGHUP begins nothing more and finishes what is in flight; a second one ends at once.
    Either way the same command goes on where this one ended.

    Args:
        way: how faces are found and told apart.
        settings: prices, and the prefix of collections.
        target: the database; connections of its own are opened.
        options: which assets, how many at once, for how much.
        progress: told how far it is, up to ten times a second.
        stop: asked all the while; True is like a first signal.
        partial: told what was done when the run ends by an error, which is raised afterwards.

    Raises:
        UsageError: there is no such user.
        SchemaError: the photo library's tables are not there.
        CredentialsError: nothing was marked failed, and the rest was not tried; AccessDenied, SettingsError likewise.
        DatabaseError: a connection was lost, or the journal cannot be made.
        KeyboardInterrupt: a second signal.
    """
    options = options or Options()
    rules = settings.backfill
    with server.connect(target, autocommit=True, application="seedtool backfill") as writer:
        server.refuse_pooler(target, writer)
        writer.execute("SELECT set_config('lock_timeout', %s, false)", [journal.LOCK_TIMEOUT])
        journal.ensure(writer)
        _, wanted = plans.prepare(writer, options)
        if options.reindex:
            wanted = msgspec.structs.replace(wanted, reindex_since=journal.begin_reindex(writer, options.scope))
        census = library.census(writer, wanted, journalled=True)
        tally = Tally(census.assets)
        users = Users(writer, Claims(target, writer), wanted, rules.collection_prefix)
        with way.metered(rules.prices, options.max_cost) as meter:
            work = _Run(writer, users, way, meter, options, tally, progress, stop)

            def report() -> Report:
                return Report.of(
                    tally,
                    mode=way.mode,
                    region=way.region,
                    users_elsewhere=len(users.elsewhere),
                    skipped=census.skipped,
                    calls=meter.calls,
                    throttled=meter.throttled,
                    cost=meter.cost(),
                    interrupted=work.interrupted,
                    stopped=work.stopped,
                )

            try:
                work.all()
            except (SeedtoolError, KeyboardInterrupt):
                if partial is not None:
                    partial(report())
                raise
        if options.reindex and options.limit is None and work.complete:
            journal.end_reindex(writer, options.scope)
        return report()


class _Run:
    """One run; all of it but the calls is in the caller's thread.

    Attributes:
        interrupted: by a signal, or `stop`.
        stopped: why it ended early otherwise.
    """

    def __init__(
        self,
        writer: psycopg.Connection,
        users: Users,
        way: Way,
        meter: Meter,
        options: Options,
        tally: Tally,
        progress: Tell | None,
        stop: Callable[[], bool] | None,
    ) -> None:
        self._writer = writer
        self._users = users
        self._way = way
        self._meter = meter
        self._options = options
        self._tally = tally
        self._progress = progress
        self._stop = stop
        self._id = str(uuid.uuid4())
        self._recorder = Recorder(writer, self._id, way, tally, meter)
        self._flight = Flight(options.batch_size, meter.take)
        self._to_index: deque[Work] = deque()
        self._to_match: deque[Work] = deque()
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._begun = 0  # assets that are begun and not recorded
        self._faces_a_photo = journal.faces_a_photo(writer) or plans.FACES_A_PHOTO
        self._told_at = 0.0
        self._ending = False
        self._fatal: SeedtoolError | None = None
        self.interrupted = False
        self.stopped = ""

    @property
    def complete(self) -> bool:
        """Whether everything that was to be processed was."""
        return not (self.interrupted or self.stopped or self._users.elsewhere)

    def all(self) -> None:
        """Process all users. What is in flight is finished, unless a second signal comes."""
        try:
            with held() as hold:
                while self._step(hold):
                    pass
                self.interrupted = hold.take() or self.interrupted
        finally:
            self._ending = True  # a thread that pauses sees it and ends
            self._flight.close()
            self._users.close()
        self._tell(last=True)
        if self._fatal is not None:
            self.stopped = self._fatal.message
            raise self._fatal

    def _step(self, hold: Held) -> bool:
        """Do what can be done now, and wait for what comes next; False when nothing will."""
        if not self._ending and (hold.pending is not None or (self._stop is not None and self._stop())):
            self._ending = self.interrupted = True
        try:
            if not self._ending:
                self._open()
                self._begin()
            due = None if self._fatal is not None else self._send()
            if due is None and self._flight.empty:
                return False
            wait = _LOOK if due is None else min(_LOOK, max(0.0, due - time.monotonic()))
            touched = {user.id: user for user in map(self._land, self._flight.land(wait)) if user is not None}
            for user in touched.values() if self._fatal is None else ():
                self._begun -= self._recorder.advance(user)
        except psycopg.Error as error:
            self._end(_refused(error))
        except DatabaseError as error:
            self._end(error)
        self._tell()
        return True

    # users

    def _open(self) -> None:
        """Take further users, as long as those at work do not fill the flight."""
        self._users.look()
        waiting = sum(user.expected for user in self._users) + len(self._to_index) + self._flight.indexing()
        while waiting < self._options.batch_size and (taken := self._users.take()) is not None:
            user, remembered = taken
            waiting += user.expected
            self._prepare(user, remembered=remembered)

    def _prepare(self, user: User, *, remembered: bool) -> None:
        self._flight.send(
            "open",
            user,
            lambda: self._way.open(user.collection_id, user.unfinished, self._pause, remembered=remembered),
        )

    def _pause(self, seconds: float) -> None:
        """Wait, in a thread, unless the run is to end."""
        until = time.monotonic() + seconds
        while not self._ending and (left := until - time.monotonic()) > 0:
            time.sleep(min(_LOOK, left))

    # assets

    def _begin(self) -> None:
        """Begin as many assets as there is room for: in the air, and among those that wait to be visible."""
        room = min(
            self._flight.free - len(self._to_index) - len(self._to_match), 2 * self._options.batch_size - self._begun
        )
        room = self._affordable(room)
        ids: list[str] = []
        for user in self._users:
            if user.ready and len(ids) < room:
                ids += user.next_ids(room - len(ids))
        if not ids:
            return
        for asset in journal.start(self._writer, self._id, ids, again=self._options.reindex, eligible=library.ELIGIBLE):
            work = Work(user=self._users[asset.user_id], asset=asset)
            work.user.line.append(work)
            self._to_index.append(work)
            self._begun += 1

    def _affordable(self, room: int) -> int:
        """Return how many assets can be paid, with all that those begun will cost."""
        if self._options.max_cost is None or room <= 0:
            return room
        search = self._price(self._way.searches)
        one = self._price(self._way.indexes) + self._faces_a_photo * search
        begun = 0.0
        for work in (work for user in self._users for work in user.line):
            begun += one if work.stage == "begun" else 0.0
            begun += len(work.found.faces) * search if work.stage in {"indexed", "matching"} else 0.0
        count = 0
        while count < room and self._meter.affords(begun + (count + 1) * one):
            count += 1
        if count == 0 and not self._begun and any(user.to_begin for user in self._users):
            self._over_budget()
        return count

    def _price(self, calls: dict[str, int]) -> float:
        return sum(count * self._meter.price(operation) for operation, count in calls.items())

    def _over_budget(self, work: Work | None = None) -> None:
        if work is not None:
            work.stage = "paused"
        self.stopped = f"more than {self._options.max_cost:g} dollars would be spent"
        self._ending = True

    def _send(self) -> float | None:
        """Send what may go, searches first; returns when the next thing is due, None when nothing is."""
        now = time.monotonic()
        ready = [call for at, call in self._later if at <= now]
        self._later = [each for each in self._later if each[0] > now]
        for call in ready:
            call()
        due = [at for at, _ in self._later]
        for user in self._users:
            for work, at in user.due(self._way.visibility):
                if at > now:
                    due.append(at)
                    break
                work.stage = "matching"
                self._to_match.append(work)
            if user.small and user.ready and not user.dropping:
                self._drop(user)
            if user.finished:
                self._users.release(user)
        while self._flight.free and (self._to_match or self._to_index):
            if self._to_match:
                self._match(self._to_match.popleft())
            else:
                self._index(self._to_index.popleft())
        to_come = not self._ending and (self._users.to_come or any(user.expected for user in self._users))
        if self._to_match or self._to_index or to_come:
            due.append(now + _LOOK)
        return min(due, default=None)

    def _index(self, work: Work) -> None:
        there = work.user.there.pop(work.asset.id, [])
        self._flight.send("index", work, lambda: self._way.index(work.user.collection_id, work.asset, there))

    def _match(self, work: Work) -> None:
        if not self._meter.affords(len(work.found.faces) * self._price(self._way.searches)):
            self._over_budget(work)
            return
        self._flight.send("match", work, lambda: self._way.match(work.user.collection_id, work.asset, work.found))

    def _drop(self, user: User) -> None:
        """Have small faces deleted: those that came together while the last call was under way."""
        lot = user.take_small(_DROP)
        face_ids = [face_id for ids in lot.values() for face_id in ids]
        user.dropping = True

        def call() -> list[str]:
            self._way.drop(user.collection_id, face_ids)
            return list(lot)

        self._flight.send("drop", user, call)

    # what comes back

    def _land(self, landed: Landed) -> User | None:
        """Take up what came back; returns the user whose line may have moved."""
        error, subject = landed.error, landed.subject
        if isinstance(error, _FATAL):
            self._end(error)
            return None
        if isinstance(subject, Work):
            self._land_asset(subject, landed)
            return subject.user
        if landed.what == "drop":
            subject.dropping = False
            if error is None:
                journal.dropped(self._writer, landed.result)
            else:
                self._tally.note(f"user {subject.id}", error)
        elif error is None:
            if not self._ending:  # else it may not have waited for what was under way at the kill
                self._users.opened(subject, landed.result)
        elif isinstance(error, Throttled) and subject.tries < _TRIES:
            subject.tries += 1
            self._again(subject.tries, lambda: self._prepare(subject, remembered=False))
        else:  # nothing of this user can be done; the others' can
            self._tally.note(f"user {subject.id}", error)
            self._users.release(subject)
        return None

    def _land_asset(self, work: Work, landed: Landed) -> None:
        work.add(landed.calls)
        error = landed.error
        if error is None and landed.what == "index":
            work.found = landed.result
            work.indexed_at = 0.0 if work.found.adopted else landed.at
            work.stage = "indexed"
            self._faces_a_photo += (len(work.found.faces) - self._faces_a_photo) / 100
        elif error is None:
            work.matches = landed.result
            work.stage = "matched"
        elif isinstance(error, OverBudget):
            self._over_budget(work)
        elif isinstance(error, Paused):
            work.stage = "paused"
        elif isinstance(error, Throttled) and work.tries < _TRIES:
            work.tries += 1
            queue = self._to_match if landed.what == "match" else self._to_index
            self._again(work.tries, lambda: queue.append(work))
        else:
            self._recorder.fail(work, error)

    def _again(self, tries: int, call: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + tries, call))

    def _end(self, error: SeedtoolError) -> None:
        self._fatal = self._fatal or error
        self._ending = True

    def _tell(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._told_at < _LOOK:
            return
        self._told_at = now
        self._tally.point(self._meter.calls, self._meter.throttled, last=last)
        if self._progress is not None:
            self._progress(self._tally.progress(self._users.expected_elsewhere, ending=self.interrupted))


def _refused(error: psycopg.Error) -> DatabaseError:
    """Return psycopg's error as ours; details, which quote rows, are left out."""
    reason = error.diag.message_primary or str(error).split("\n", maxsplit=1)[0] or type(error).__name__
    return DatabaseError(
        f"the backfill's journal could not be kept: {reason}",
        remedy="Run the same command again; it continues where it stopped.",
    )
