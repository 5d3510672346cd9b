"""Photos in flight: AWS and the store are reached from threads, the database from the caller's alone.

Where the database is far away, writing is what takes long. So all that is ready is handed over at once: the slower
the writing, the larger the next lot, and the rate stays.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from seedtool.errors import AccessDenied, CredentialsError, DatabaseError, ResourceNotFound, SeedtoolError
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
