"""What a run did. The size of a report does not grow with the library."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

#: Bins of the histogram of similarities: each is a tenth of a percent wide, from 0 to 100.
BINS = 1000

#: The most points of the time series, and the most errors and users that a report lists.
MOST_POINTS = 1000
MOST_ERRORS = 1000
MOST_USERS = 1000


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An asset that failed, and why. The journal keeps every failure; a report keeps the first 1,000."""

    asset_id: str
    user_id: str
    file_name: str
    cause: str
    remedy: str = ""
    user_label: str | msgspec.UnsetType = msgspec.UNSET  # never in what is kept: only whoever looks may see it


class UserSum(msgspec.Struct, kw_only=True):
    """What a run did for one user; `cost` is in dollars."""

    user_id: str
    user_label: str | msgspec.UnsetType = msgspec.UNSET
    succeeded: int = 0
    failed: int = 0
    faces: int = 0
    auto_assigned: int = 0
    needs_person: int = 0
    cost: float = 0.0


class Point(msgspec.Struct, frozen=True):
    """The state of a run at one moment: seconds since the start, and the counts so far."""

    seconds: float
    succeeded: int
    failed: int
    calls: int
    throttled: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is.

    Args:
        done: assets that succeeded or failed.
        total: assets to process, without those of users that another run processes.
        succeeded: assets that succeeded.
        failed: assets that failed.
        faces: faces that were kept.
        seconds_left: an estimate; None before the first asset is done.
        ending: the run starts nothing new and finishes what it has started.
        outage: why the run waits, when a service or the database does not answer; otherwise empty.
        ends_in: the seconds after which the run ends if that does not change.
    """

    done: int
    total: int
    succeeded: int
    failed: int
    faces: int
    seconds_left: float | None
    ending: bool = False
    outage: str = ""
    ends_in: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did.

    Args:
        mode: `embedded`, `live` or `endpoint`.
        region: the AWS region; empty for an endpoint.
        users: users with at least one asset that succeeded or failed.
        users_elsewhere: users that another run processes.
        assets: assets to process. They are counted at the start; those that another run has done, or that no longer
            qualify, are subtracted.
        succeeded: assets that succeeded.
        failed: assets that failed; `errors` lists them.
        skipped: assets that qualify but were not to process: an earlier run or the application has done them, or they
            failed in an earlier run.
        left: assets that are still to process: the run ended early, or another run processes them now.
        faces: faces that were detected and kept.
        dropped: faces that were detected and are too small to keep.
        auto_assigned: faces that were linked to a person.
        needs_person: faces that wait for somebody to name them, with suggestions or without.
        suggested: the faces among them that have suggestions.
        adopted: assets whose faces were in the collection already, so that they were not indexed again.
        decided_again: assets that are done and were decided about again: a photo before them had failed.
        calls: calls sent, by operation; retries count.
        billed: calls that AWS bills, by operation, without operations that are free. AWS does not bill a call that it
            answers with an error. A call whose answer was lost counts as billed.
        throttled: answers that said "too many requests", by operation.
        cost: dollars for `billed` at the prices of the settings.
        errors: the first 1,000 failed assets.
        notes: the first 1,000 errors that belong to a user and not to one asset.
        similarities: matches that counted, as a histogram: index of the bin (a tenth of a percent) to number.
        points: the course of the run over time, at most 1,000 points.
        by_user: the users that cost most, at most 1,000.
        seconds: duration.
        interrupted: a signal or `Run.stop` ended the run early.
        stopped: why else the run ended early; empty when it did not.
        ok: no asset failed, there are no notes, and nobody interrupted the run.
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
    decided_again: int
    calls: dict[str, int]
    billed: dict[str, int]
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


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one asset.

    Args:
        faces: faces that were kept.
        dropped: faces that were too small.
        auto_assigned: faces that were linked to a person.
        needs_person: faces that wait for somebody to name them.
        suggested: the faces among them that have suggestions.
        adopted: the asset's faces were in the collection already.
        similarities: of the matches that counted, 0 to 100.
    """

    faces: int
    dropped: int = 0
    auto_assigned: int = 0
    needs_person: int = 0
    suggested: int = 0
    adopted: bool = False
    similarities: tuple[float, ...] = ()


#: The fields of an `Outcome` that a report adds up.
_SUMMED = ("faces", "dropped", "auto_assigned", "needs_person", "suggested", "adopted")


class Tally:
    """Counts while a run goes on.

    Args:
        total: assets to process.
        skipped: assets that qualify but are not to process.

    Attributes:
        total: assets to process. The run subtracts assets that are deleted, or processed by another run, meanwhile.
        users: users with at least one asset that succeeded or failed. The run counts them.
        done_of: how many assets of a user succeeded or failed. The run counts them where there is a limit.
    """

    def __init__(self, total: int, skipped: int = 0) -> None:
        self.total = total
        self.succeeded = self.failed = self.decided_again = 0
        self.sums: Counter[str] = Counter()
        self.similarities: Counter[int] = Counter()
        self.errors: list[Failure] = []
        self.notes: list[str] = []
        self._skipped = skipped
        self.users = 0
        self.done_of: Counter[str] = Counter()
        self._by_user: dict[str, UserSum] = {}
        self._points: list[Point] = []
        self._seconds_between_points = 0.25  # doubled whenever there are too many
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._began

    def add_success(self, user_id: str, outcome: Outcome, cost: float) -> None:
        """Count an asset that succeeded.

        Args:
            user_id: the asset's user.
            outcome: what became of it.
            cost: dollars for its calls.
        """
        self.succeeded += 1
        counts = {name: int(getattr(outcome, name)) for name in _SUMMED}
        self.sums.update(counts)
        self.similarities.update(min(BINS - 1, int(value * BINS / 100)) for value in outcome.similarities)
        user = self._sum_of(user_id, cost)
        user.succeeded += 1
        for name in ("faces", "auto_assigned", "needs_person"):
            setattr(user, name, getattr(user, name) + counts[name])

    def add_failure(self, failure: Failure, cost: float) -> None:
        """Count an asset that failed; `cost` is dollars for its calls."""
        self.failed += 1
        if len(self.errors) < MOST_ERRORS:
            self.errors.append(failure)
        self._sum_of(failure.user_id, cost).failed += 1

    def add_note(self, subject: str, error: Exception) -> None:
        """Note an error that does not belong to one asset."""
        if len(self.notes) < MOST_ERRORS:
            remedy = getattr(error, "remedy", "")
            what = getattr(error, "message", type(error).__name__)
            self.notes.append(f"{subject}: {what}{f'. {remedy}' if remedy else ''}")

    def add_point(self, calls: Mapping[str, int], throttled: Mapping[str, int], *, last: bool = False) -> None:
        """Note how far the run is, unless the last point is too recent.

        Args:
            calls: calls so far, by operation.
            throttled: throttled answers so far, by operation.
            last: note it in any case.
        """
        now = self.seconds
        if self._points and not last and now - self._points[-1].seconds < self._seconds_between_points:
            return
        self._points.append(Point(round(now, 2), self.succeeded, self.failed, _sum(calls), _sum(throttled)))
        if len(self._points) >= MOST_POINTS:
            self._points = self._points[::2]
            self._seconds_between_points *= 2

    def progress(self, of_other_runs: int, *, ending: bool = False) -> Progress:
        """Return how far the run is; `of_other_runs` is the number of assets that other runs process."""
        done = self.succeeded + self.failed
        total = max(done, self.total - of_other_runs)
        return Progress(
            done=done,
            total=total,
            succeeded=self.succeeded,
            failed=self.failed,
            faces=self.sums["faces"],
            seconds_left=self.seconds / done * (total - done) if done else None,
            ending=ending,
        )

    def report(
        self,
        *,
        mode: str,
        region: str,
        users_elsewhere: int,
        calls: Mapping[str, int],
        billed: Mapping[str, int],
        throttled: Mapping[str, int],
        cost: float,
        interrupted: bool,
        stopped: str,
    ) -> Report:
        """Return the report so far; the arguments are the report's."""
        return Report(
            mode=mode,
            region=region,
            users=self.users,
            users_elsewhere=users_elsewhere,
            assets=self.total,
            succeeded=self.succeeded,
            failed=self.failed,
            skipped=self._skipped,
            left=max(0, self.total - self.succeeded - self.failed),
            **{name: self.sums[name] for name in _SUMMED},
            decided_again=self.decided_again,
            calls=dict(sorted(calls.items())),
            billed=dict(sorted(billed.items())),
            throttled=dict(sorted(throttled.items())),
            cost=cost,
            errors=tuple(self.errors),
            notes=tuple(self.notes),
            similarities=dict(sorted(self.similarities.items())),
            points=self.points,
            by_user=self.by_user,
            seconds=round(self.seconds, 3),
            interrupted=interrupted,
            stopped=stopped,
            ok=not (self.failed or self.notes or interrupted),
        )

    @property
    def points(self) -> tuple[Point, ...]:
        """Return the time series so far."""
        return tuple(self._points)

    @property
    def by_user(self) -> tuple[UserSum, ...]:
        """Return the users that cost most, the most expensive first."""
        return tuple(_most_expensive(self._by_user.values()))

    def _sum_of(self, user_id: str, cost: float) -> UserSum:
        found = self._by_user.get(user_id)
        if found is None:
            if len(self._by_user) >= 2 * MOST_USERS:
                self._by_user = {each.user_id: each for each in _most_expensive(self._by_user.values())}
            found = self._by_user[user_id] = UserSum(user_id=user_id)
        found.cost = round(found.cost + cost, 6)
        return found


def _most_expensive(users: Iterable[UserSum]) -> list[UserSum]:
    return sorted(users, key=lambda each: (-each.cost, each.user_id))[:MOST_USERS]


def _sum(counts: Mapping[str, int]) -> int:
    return sum(dict(counts).values())  # a copy: other threads add to it


_OfUser = TypeVar("_OfUser", Failure, UserSum)


def labelled(report: Report, labels: Mapping[str, str]) -> Report:
    """Return a report that says who its users are.

    Args:
        report: the report.
        labels: by the users' ids.
    """

    def with_label(each: _OfUser) -> _OfUser:
        return msgspec.structs.replace(each, user_label=labels.get(each.user_id, msgspec.UNSET))

    by_user = [with_label(each) for each in report.by_user]
    return msgspec.structs.replace(report, errors=[with_label(each) for each in report.errors], by_user=by_user)
