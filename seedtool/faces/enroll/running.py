"""Photos in flight: AWS and the store are reached from threads, the database from the caller's alone.

Where the database is far away, writing is what takes long. So all that is ready is handed over at once: the slower
the writing, the larger the next lot, and the rate stays.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Protocol, TypeVar

import psycopg

from seedtool.errors import (
    AccessDenied,
    CredentialsError,
    DatabaseError,
    ResourceNotFound,
    SeedtoolError,
    SettingsError,
)
from seedtool.faces import bindings
from seedtool.faces.bindings import Bound
from seedtool.faces.enroll.photo import Attempt
from seedtool.faces.interrupts import held
from seedtool.faces.linking import BindingReport, link_all
from seedtool.faces.port import FaceCollection
from seedtool.settings import COLLECTION_ID, Settings


@contextmanager
def alone(connection: psycopg.Connection, table: str) -> Iterator[None]:
    """Let one run at a time work on a table: the second waits, and then finds nothing to do."""
    name = f"seedtool.enroll_all:{table}"
    connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
    connection.commit()
    try:
        yield
    finally:
        if not connection.closed:
            connection.rollback()
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])
            connection.commit()


def wait_for_student(connection: psycopg.Connection, student_id: str) -> None:
    """Take a student until the transaction ends, so that two enrollments never choose the same number."""
    connection.execute(_WAIT, [student_id])


def try_students(connection: psycopg.Connection, student_ids: Collection[str]) -> set[str]:
    """Take those students that nobody else is enrolling, until they are let go; returns which."""
    with connection.transaction():
        return {student for (student,) in connection.execute(_TRY, [list(student_ids)])}


def let_go(connection: psycopg.Connection, student_ids: Collection[str]) -> None:
    """Let students go that `try_students` took."""
    if student_ids and not connection.closed:
        with connection.transaction():
            connection.execute(_LET_GO, [list(student_ids)])


_WAIT = "SELECT pg_advisory_xact_lock(hashtextextended('seedtool.enroll:' || %s::text, 0))"

# MATERIALIZED: each lock is tried once, whatever the planner makes of the filter
_TRY = """
WITH tried AS MATERIALIZED (
    SELECT s, pg_try_advisory_lock(hashtextextended('seedtool.enroll:' || s, 0)) AS got FROM unnest(%s::text[]) s
)
SELECT s FROM tried WHERE got"""

_LET_GO = "SELECT pg_advisory_unlock(hashtextextended('seedtool.enroll:' || s, 0)) FROM unnest(%s::text[]) s"


# How many collections a report names.
_NAMES = 3


def table_of(connection: psycopg.Connection, settings: Settings, collection: str | None) -> Bound:
    """Return the first face binding, looked up.

    Raises:
        SettingsError: its rows are faces of photos that show several people: `backfill` is what indexes those.
        SchemaError: the table or a column of it does not exist.
    """
    with connection.transaction():
        bound = bindings.first(connection, settings, collection)
    if bound.binding.box is not None:
        raise SettingsError(
            f"setting faces: {bound.binding.table} holds several faces a photo, and enroll takes portraits of one",
            remedy="Put the table of portraits first in [[tool.seedtool.faces]].",
        )
    return bound


def linked_rows(
    connection: psycopg.Connection, bound: Bound, open_collection: Callable[[str], FaceCollection]
) -> tuple[tuple[BindingReport, ...], bool]:
    """Create the collections that are missing, list all and link the rows; True when one was created.

    Leaves `seedtool_listed` and `seedtool_collections` behind, in the caller's transaction. A collection that was
    created now is in neither when others were there before.

    Raises:
        SettingsError: rows are in no collection.
    """
    ids = bindings.used(connection, bound)
    try:
        with connection.transaction():
            reports = link_all(connection, [bound], open_collection)
    except ResourceNotFound:
        if not create(ids, open_collection):
            raise
        return link_all(connection, [bound], open_collection), True
    created = create([each.collection for each in reports if each.collection and not each.exists], open_collection)
    return reports, created


def create(ids: Iterable[str], open_collection: Callable[[str], FaceCollection]) -> bool:
    """Create collections that do not exist; True when there was one to create. What cannot be an id is passed over."""
    created = [open_collection(id_).ensure() for id_ in sorted(ids) if COLLECTION_ID.fullmatch(id_)]
    return any(created)


def named(ids: Iterable[str]) -> str:
    """Return what a report calls the collections."""
    names = sorted(set(ids))
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


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
