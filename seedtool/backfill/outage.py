"""Outages: no network, a service or a database that does not answer. They concern every asset and mark none as failed.

After a call that got no answer, or an internal error of the service, calls are sent one at a time and after longer and
longer pauses, until one is answered. Then the run continues. If an outage lasts too long, the run ends.

What only one asset has is its own fault: another call of the same kind was answered since the asset failed last.
"""

import random
import time
from collections import Counter

import msgspec
import psycopg
from psycopg import errors as pg

from seedtool.backfill.calls import Kind
from seedtool.backfill.formatting import duration
from seedtool.errors import DatabaseError, PhotoUnreachable, SeedtoolError, ServiceUnavailable, Throttled

#: Errors that may concern every asset: nobody answered, or the service had a fault of its own.
UNANSWERED = (ServiceUnavailable, Throttled, PhotoUnreachable)

#: How often a call is repeated that fails while others of its kind are answered.
REPEATS = 5

# Seconds until the first repeat, doubled for each further one; and the most.
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0

# SQLSTATE classes of errors that every statement would meet: the connection, resources, an administrator, the system.
_OF_THE_SERVER = frozenset({"08", "53", "57", "58"})


class ConnectionLost(DatabaseError):
    """The database cannot be used at the moment. Nothing is lost: the run begins anew when it can."""


class Subject(msgspec.Struct):
    """How a call of one asset, or of one user, has failed.

    Args:
        answers: how many calls of the same kind had been answered when it failed last.
        failures: how often it failed while others were answered.
    """

    answers: int | None = None
    failures: int = 0


class Outages:
    """Tells an outage from the fault of one asset.

    Args:
        longest: seconds after which an outage ends the run.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._answers: Counter[Kind] = Counter()
        self._since: float | None = None
        self._next = 0.0
        self._attempts = 0
        self._error: SeedtoolError | None = None

    @property
    def lasts(self) -> bool:
        """Tell whether there is an outage now."""
        return self._since is not None

    @property
    def next_at(self) -> float:
        """Return when the next call may be sent, by the monotonic clock."""
        return self._next

    @property
    def attempts(self) -> int:
        """Return how many pauses there were in this outage."""
        return self._attempts

    @property
    def cause(self) -> str:
        """Return what the last call met; empty when there is no outage."""
        return self._error.message if self._error is not None else ""

    @property
    def seconds_left(self) -> float:
        """Return the seconds after which the outage ends the run."""
        return 0.0 if self._since is None else max(0.0, self._since + self._longest - time.monotonic())

    def answered(self, kind: Kind | None = None) -> None:
        """Note that a call was answered: there is no outage."""
        if kind is not None:
            self._answers[kind] += 1
        self._since = self._error = None
        self._attempts = 0

    def unanswered(self, error: SeedtoolError) -> None:
        """Note a call that failed. A call that was sent before the last pause counts as one with those before it."""
        now = time.monotonic()
        self._error = error
        if self._since is None:
            self._since = now
        elif now < self._next:
            return
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2**self._attempts)
        self._attempts += 1
        self._next = now + wait * random.uniform(0.8, 1)  # noqa: S311 - it spreads the calls, and keeps no secret

    def is_own_fault(self, kind: Kind, subject: Subject, *, alone: bool = False) -> bool:
        """Count a failure of a call, and tell whether it has failed for good.

        Args:
            kind: what the call does.
            subject: how it has failed so far.
            alone: nothing else is left to do, and the service answers otherwise.
        """
        answers = self._answers[kind]
        proven = subject.answers is not None and answers > subject.answers
        subject.failures += proven or (alone and answers > 0)
        subject.answers = answers
        return subject.failures > REPEATS

    def too_long(self) -> SeedtoolError | None:
        """Return the error that ends the run when the outage has lasted too long; otherwise None."""
        if self._since is None or self._error is None or self.seconds_left > 0:
            return None
        return type(self._error)(
            f"{self._error.message}; it was tried again for {duration(self._longest)}",
            remedy="No asset was marked as failed. Run the same command again: it continues where it stopped.",
        )


def concerns_all(error: psycopg.Error, connection: psycopg.Connection) -> bool:
    """Tell whether an error of the database would meet every statement: the server ends, is full, or only reads."""
    if connection.closed or isinstance(error, pg.ReadOnlySqlTransaction):
        return True
    if error.sqlstate is None:  # psycopg's own: a connection was lost
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate[:2] in _OF_THE_SERVER and not isinstance(error, pg.QueryCanceled)
