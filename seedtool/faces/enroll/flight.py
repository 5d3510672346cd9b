"""Photos in flight: AWS and the store are reached from threads, the database from the caller's alone.

Where the database is far away, writing is what takes long. So all that is ready is handed over at once: the slower
the writing, the larger the next lot, and the rate stays.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

import psycopg

from seedtool.errors import AccessDenied, CredentialsError, DatabaseError, ResourceNotFound, SeedtoolError
from seedtool.faces.enroll.photo import Attempt
from seedtool.faces.interrupts import held

#: Photos in flight. At 50 IndexFaces a second of a second or more each, the quota needs about this many.
WORKERS = 80

# Seconds until another look at what others hold, when there is nothing else to do.
_BUSY = 0.1

Job = TypeVar("Job")
Result = TypeVar("Result")


def fly(
    take: Callable[[int], Sequence[Job] | None],
    work: Callable[[Job], Result],
    land: Callable[[list[tuple[Job, Future[Result]]]], SeedtoolError | None],
    workers: int,
) -> bool:
    """Do all jobs; True when a signal ended it early. What is in flight is always landed.

    Args:
        take: returns up to so many jobs that may begin now; None when there will never be another.
        work: does one, in a thread.
        land: told the jobs that are done, in the caller's thread; returns what concerns every job alike.
        workers: threads.

    Raises:
        SeedtoolError: what `land` returned, after everything in flight has landed.
    """
    flying: dict[Future[Result], Job] = {}
    fatal: SeedtoolError | None = None
    more = True
    with held() as hold, ThreadPoolExecutor(workers, thread_name_prefix="enroll") as pool:
        while True:
            more = more and fatal is None and hold.pending is None
            if more and len(flying) < workers:
                jobs = take(workers - len(flying))
                more = jobs is not None
                for job in jobs or ():
                    flying[pool.submit(work, job)] = job
            if not flying:
                if not more:
                    break
                time.sleep(_BUSY)
                continue
            done, _ = wait(flying, timeout=0.2, return_when=FIRST_COMPLETED)
            if done:
                fatal = land([(flying.pop(each), each) for each in done]) or fatal
        interrupted = hold.take()
    if fatal is not None:
        raise fatal
    return interrupted


def fatal(error: SeedtoolError, *, connected: bool) -> bool:
    """Tell whether an error concerns every photo alike: then the rest is not burnt through."""
    if isinstance(error, DatabaseError):
        return not connected
    return isinstance(error, CredentialsError | AccessDenied | ResourceNotFound)


class Indexed(Protocol):
    """A photo whose face is in the collection, and whose row is still to be written."""

    @property
    def attempt(self) -> Attempt:
        """What was made for it."""


Landed = TypeVar("Landed", bound=Indexed)


def settle(
    connection: psycopg.Connection,
    landed: Sequence[tuple[Job, Landed]],
    write: Callable[[Sequence[tuple[Job, Landed]]], None],
    failed: Callable[[Job, SeedtoolError], object],
) -> SeedtoolError | None:
    """Write the rows of photos together; where the database refuses them, one by one, so that each fails by itself.

    What was made for a photo whose row is refused is undone; not where the connection was lost, for the row may be
    there.

    Args:
        connection: to the target.
        landed: the photos.
        write: writes their rows, all or none, and notes them.
        failed: notes a photo that was not enrolled.

    Returns:
        The error when it concerns every photo alike.
    """
    if not landed:
        return None
    try:
        write(landed)
    except DatabaseError as error:
        if len(landed) > 1 and not connection.closed:
            stops = [settle(connection, [each], write, failed) for each in landed]
            return next((stop for stop in stops if stop), None)
        for job, each in landed:
            if not isinstance(error.__cause__, psycopg.OperationalError):
                each.attempt.undo()
            failed(job, error)
        return error if connection.closed else None
    return None
