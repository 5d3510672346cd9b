"""What a backfill did. Its size does not grow with the library."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

#: Bins of the histogram of similarities: a tenth each, 0 to 100.
BINS = 1000

#: Points of a time series at most, and errors and users told one by one.
POINTS = 1000
MOST_ERRORS = 1000
MOST_USERS = 1000


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An asset that failed, and why. The journal keeps all of them."""

    asset_id: str
    user_id: str
    file_name: str
    cause: str
    remedy: str = ""


class UserSum(msgspec.Struct, kw_only=True):
    """One user's part of a run; `cost` in dollars."""

    user_id: str
    succeeded: int = 0
    failed: int = 0
    faces: int = 0
    auto_assigned: int = 0
    needs_person: int = 0
    cost: float = 0.0


class Point(msgspec.Struct, frozen=True):
    """How far a run was: seconds since its start, assets done and failed, calls made and throttled so far."""

    seconds: float
    succeeded: int
    failed: int
    calls: int
    throttled: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is; `seconds_left` is None until it can be told. `ending`: only what is in flight is finished."""

    done: int
    total: int
    succeeded: int
    failed: int
    faces: int
    seconds_left: float | None
    ending: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a backfill did.

    Args:
        mode: `embedded`, `live` or `endpoint`.
        region: the region; empty for an endpoint.
        users: users of whom at least one asset was processed.
        users_elsewhere: users that another run is at work on.
        assets: assets that were to be processed when the run began; of all users, `limit` heeded.
        succeeded: assets done.
        failed: assets that failed; `errors` tells them.
        skipped: assets that qualify and were left alone: done or failed in an earlier run, or by the application.
        left: assets that were to be processed and were not: interrupted, over budget, or at work elsewhere.
        faces: faces detected and kept.
        dropped: faces that were too small.
        auto_assigned: faces linked to a person.
        needs_person: faces that await a person, with or without suggestions.
        suggested: those of them with suggestions.
        adopted: assets whose faces were in the collection already and that were not indexed again.
        calls: attempts by operation, retries included.
        throttled: answers over the quota by operation.
        cost: dollars: `calls` at the prices of the settings.
        errors: failed assets, the first 1,000.
        notes: what went wrong beside assets, the first 1,000.
        similarities: matches that counted, by tenths of similarity: the index of the bin → how many.
        points: progress and throttling over time, at most 1,000.
        by_user: the users that cost most, at most 1,000.
        seconds: by the wall clock.
        interrupted: a signal, or `stop`.
        stopped: why it ended early otherwise; empty when it did not.
        ok: no asset failed, nobody interrupted.
    """

    mode: str
    region: str
    users: int
    users_elsewhere: int
    assets: int
    succeeded: int
    failed: int
    skipped: int
    left: int
    faces: int
    dropped: int
    auto_assigned: int
    needs_person: int
    suggested: int
    adopted: int
    calls: dict[str, int]
    throttled: dict[str, int]
    cost: float
    errors: tuple[Failure, ...]
    notes: tuple[str, ...]
    similarities: dict[int, int]
    points: tuple[Point, ...]
    by_user: tuple[UserSum, ...]
    seconds: float
    interrupted: bool
    stopped: str
    ok: bool

    @classmethod
    def of(
        cls,
        tally: "Tally",
        *,
        mode: str,
        region: str,
        users_elsewhere: int,
        skipped: int,
        calls: Mapping[str, int],
        throttled: Mapping[str, int],
        cost: float,
        interrupted: bool,
        stopped: str,
    ) -> "Report":
        """Return the report of a run that has ended."""
        return cls(
            mode=mode,
            region=region,
            users=tally.users,
            users_elsewhere=users_elsewhere,
            assets=tally.total,
            succeeded=tally.succeeded,
            failed=tally.failed,
            skipped=skipped,
            left=max(0, tally.total - tally.succeeded - tally.failed),
            **{name: tally.sums[name] for name in _SUMMED},
            calls=dict(sorted(calls.items())),
            throttled=dict(sorted(throttled.items())),
            cost=cost,
            errors=tuple(tally.errors),
            notes=tuple(tally.notes),
            similarities=dict(sorted(tally.similarities.items())),
            points=tally.points,
            by_user=tally.by_user,
            seconds=round(tally.seconds, 3),
            interrupted=interrupted,
            stopped=stopped,
            ok=not (tally.failed or tally.notes or interrupted),
        )


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an asset.

    Args:
        faces: faces kept.
        dropped: faces that were too small.
        auto_assigned: faces linked to a person.
        needs_person: faces that await one.
        suggested: those of them with suggestions.
        adopted: its faces were in the collection already.
        similarities: of the matches that counted, 0 to 100.
    """

    faces: int
    dropped: int = 0
    auto_assigned: int = 0
    needs_person: int = 0
    suggested: int = 0
    adopted: bool = False
    similarities: tuple[float, ...] = ()


class Tally:
    """Counts a run while it goes on.

    Args:
        total: assets that are to be processed.

    Attributes:
        users: users of whom something was processed.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.succeeded = self.failed = 0
        self.sums: Counter[str] = Counter()
        self.similarities: Counter[int] = Counter()
        self.errors: list[Failure] = []
        self.notes: list[str] = []
        self.users = 0
        self._by_user: dict[str, UserSum] = {}
        self._points: list[Point] = []
        self._every = 0.25  # seconds between points; doubled whenever there are too many
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def success(self, user_id: str, outcome: Outcome, cost: float) -> None:
        """Count an asset that is done."""
        self.succeeded += 1
        counts = {name: getattr(outcome, name) for name in _SUMMED}
        self.sums.update(counts)
        self.similarities.update(min(BINS - 1, int(value * BINS / 100)) for value in outcome.similarities)
        user = self._user(user_id, cost)
        user.succeeded += 1
        for name in ("faces", "auto_assigned", "needs_person"):
            setattr(user, name, getattr(user, name) + counts[name])

    def failure(self, failure: Failure, cost: float) -> None:
        """Count an asset that failed."""
        self.failed += 1
        if len(self.errors) < MOST_ERRORS:
            self.errors.append(failure)
        self._user(failure.user_id, cost).failed += 1

    def note(self, subject: str, error: Exception) -> None:
        """Take note of what went wrong beside assets."""
        if len(self.notes) < MOST_ERRORS:
            self.notes.append(f"{subject}: {getattr(error, 'message', type(error).__name__)}")

    def point(self, calls: Mapping[str, int], throttled: Mapping[str, int], *, last: bool = False) -> None:
        """Take note of how far it is, unless that was noted a moment ago."""
        now = self.seconds
        if self._points and not last and now - self._points[-1].seconds < self._every:
            return
        self._points.append(Point(round(now, 2), self.succeeded, self.failed, _sum(calls), _sum(throttled)))
        if len(self._points) >= POINTS:
            self._points = self._points[::2]
            self._every *= 2

    def progress(self, elsewhere: int, *, ending: bool = False) -> Progress:
        """Return how far it is; `elsewhere` are assets that another run is at work on."""
        done = self.succeeded + self.failed
        total = max(done, self.total - elsewhere)
        left = self.seconds / done * (total - done) if done else None
        return Progress(
            done=done,
            total=total,
            succeeded=self.succeeded,
            failed=self.failed,
            faces=self.sums["faces"],
            seconds_left=left,
            ending=ending,
        )

    @property
    def points(self) -> tuple[Point, ...]:
        """The series so far."""
        return tuple(self._points)

    @property
    def by_user(self) -> tuple[UserSum, ...]:
        """The users that cost most, the dearest first."""
        return tuple(_dearest(self._by_user.values()))

    def _user(self, user_id: str, cost: float) -> UserSum:
        found = self._by_user.get(user_id)
        if found is None:
            if len(self._by_user) >= 2 * MOST_USERS:
                self._by_user = {each.user_id: each for each in _dearest(self._by_user.values())}
            found = self._by_user[user_id] = UserSum(user_id=user_id)
        found.cost = round(found.cost + cost, 6)
        return found


_SUMMED = ("faces", "dropped", "auto_assigned", "needs_person", "suggested", "adopted")


def _dearest(users: Iterable[UserSum]) -> list[UserSum]:
    return sorted(users, key=lambda each: (-each.cost, each.user_id))[:MOST_USERS]


def _sum(counts: Mapping[str, int]) -> int:
    return sum(dict(counts).values())
