"""Running an enrollment: photos go to AWS and the store in threads, rows to the database in the caller's thread alone.

Where the database is far away, writing takes the longest. So all photos that are ready are written together: the slower
a write, the larger the next batch, and the rate stays the same. Advisory locks keep two runs apart; the server drops
them with the session that holds them.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import NamedTuple, Protocol, TypeVar

import psycopg
from psycopg.rows import scalar_row

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
from seedtool.faces.photos import PhotoStore
from seedtool.faces.port import FaceService
from seedtool.listener import SILENT, Listener
from seedtool.postgres.cluster import take_lock
from seedtool.settings import COLLECTION_ID, Settings

#: Photos in progress at one time. A quota of 50 IndexFaces a second, at more than a second each, takes about so many.
WORKERS = 80

# How many collections a report names.
_NAMES = 3

# Seconds until another look at what others hold, when there is nothing else to do.
_BUSY = 0.1

Job = TypeVar("Job")
Result = TypeVar("Result")


class Enrollment(NamedTuple):
    """What an enrollment works with.

    Args:
        connection: to the target; used by the caller's thread alone.
        bound: the table that rows are written to.
        aws: the face service.
        store: where photos are kept.
    """

    connection: psycopg.Connection
    bound: Bound
    aws: FaceService
    store: PhotoStore


def run_jobs(
    take: Callable[[int], Sequence[Job] | None],
    work: Callable[[Job], Result],
    finish: Callable[[list[tuple[Job, Future[Result]]]], SeedtoolError | None],
    workers: int,
) -> bool:
    """Do all jobs; True when a signal ended it early. What is in progress is always finished.

    Args:
        take: returns up to so many jobs that may begin now; None when there will never be another.
        work: does one, in a thread.
        finish: is given the jobs that are done, in the caller's thread; returns an error that concerns all jobs.
        workers: threads.

    Raises:
        SeedtoolError: what `finish` returned, after everything in progress is finished.
    """
    running: dict[Future[Result], Job] = {}
    fatal: SeedtoolError | None = None
    more = True
    with held() as hold, ThreadPoolExecutor(workers, thread_name_prefix="enroll") as pool:
        while True:
            more = more and fatal is None and hold.pending is None
            if more and len(running) < workers:
                jobs = take(workers - len(running))
                more = jobs is not None
                for job in jobs or ():
                    running[pool.submit(work, job)] = job
            if not running:
                if not more:
                    break
                time.sleep(_BUSY)
                continue
            done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            if done:
                fatal = finish([(running.pop(each), each) for each in done]) or fatal
        interrupted = hold.take()
    if fatal is not None:
        raise fatal
    return interrupted


def fatal(error: SeedtoolError, *, connected: bool) -> bool:
    """Tell whether an error concerns every photo alike: then the others are not tried."""
    if isinstance(error, DatabaseError):
        return not connected
    return isinstance(error, CredentialsError | AccessDenied | ResourceNotFound)


class Indexed(Protocol):
    """A photo whose face is in the collection, and whose row is still to be written."""

    @property
    def attempt(self) -> Attempt:
        """What was made for it."""


Written = TypeVar("Written", bound=Indexed)


def write_rows(
    connection: psycopg.Connection,
    indexed: Sequence[tuple[Job, Written]],
    write: Callable[[Sequence[tuple[Job, Written]]], None],
    failed: Callable[[Job, SeedtoolError], object],
) -> SeedtoolError | None:
    """Write the rows of photos together; where the database refuses them, one by one, so that each fails by itself.

    What was made for a photo whose row is refused is removed again; not where the connection was lost, for the row may
    be there.

    Args:
        connection: to the target.
        indexed: the photos.
        write: writes their rows, all or none, and notes them.
        failed: notes a photo that was not enrolled.

    Returns:
        The error when it concerns every photo alike.
    """
    if not indexed:
        return None
    try:
        write(indexed)
    except DatabaseError as error:
        if len(indexed) > 1 and not connection.closed:
            errors = [write_rows(connection, [each], write, failed) for each in indexed]
            return next((each for each in errors if each), None)
        for job, each in indexed:
            if not isinstance(error.__cause__, psycopg.OperationalError):
                each.attempt.undo()
            failed(job, error)
        return error if connection.closed else None
    return None


def table_of(connection: psycopg.Connection, settings: Settings, collection: str | None) -> Bound:
    """Return the table that photos are enrolled into: the first face binding, looked up.

    Raises:
        SettingsError: its rows are faces of photos that show several people. `backfill` indexes those.
        SchemaError: the table or a column of it does not exist.
    """
    with connection.transaction():
        bound = bindings.first(connection, settings, collection)
    if bound.binding.box is not None:
        raise SettingsError(
            f"setting faces: {bound.binding.table} holds several faces a photo, and enroll takes portraits of one",
            remedy="Put the table of portraits first in [[tool.seedtool.faces]].",
            setting="faces",
            table=bound.binding.table,
        )
    return bound


def linked_rows(
    connection: psycopg.Connection, bound: Bound, aws: FaceService
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
            reports = link_all(connection, [bound], aws)
    except ResourceNotFound:
        if not create(ids, aws):
            raise
        return link_all(connection, [bound], aws), True
    created = create([each.collection for each in reports if each.collection and not each.exists], aws)
    return reports, created


def create(ids: Iterable[str], aws: FaceService) -> bool:
    """Create collections that do not exist; True when there was one to create. What cannot be an id is passed over."""
    created = [aws.collection(id_).ensure() for id_ in sorted(ids) if COLLECTION_ID.fullmatch(id_)]
    return any(created)


def named(ids: Iterable[str]) -> str:
    """Return how a report names the collections: the first few."""
    names = sorted(set(ids))
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


@contextmanager
def alone(connection: psycopg.Connection, table: str, listener: Listener = SILENT) -> Iterator[None]:
    """Let one run at a time work on a table: the second waits, and then finds nothing to do.

    Raises:
        BlockedError: another run has worked on it for fifteen minutes.
    """
    key = _key(connection, f"seedtool.enroll_all:{table}")
    take_lock(connection, key, table, listener, session=True)
    connection.commit()
    try:
        yield
    finally:
        if not connection.closed:
            connection.rollback()
            connection.execute("SELECT pg_advisory_unlock(%s)", [key])
            connection.commit()


def wait_for(connection: psycopg.Connection, person: str, listener: Listener = SILENT) -> None:
    """Lock a person until the transaction ends, so that two enrollments never choose the same number.

    Raises:
        BlockedError: another enrollment of this person has gone on for fifteen minutes.
    """
    take_lock(connection, _key(connection, f"seedtool.enroll:{person}"), person, listener)


def _key(connection: psycopg.Connection, name: str) -> int:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute("SELECT hashtextextended(%s, 0)", [name]).fetchone() or 0)


def try_lock(connection: psycopg.Connection, people: Collection[str]) -> set[str]:
    """Lock those people whom nobody else is enrolling, until `unlock`; returns whom."""
    with connection.transaction():
        return {person for (person,) in connection.execute(_TRY, [list(people)])}


def unlock(connection: psycopg.Connection, people: Collection[str]) -> None:
    """Unlock people whom `try_lock` has locked."""
    if people and not connection.closed:
        with connection.transaction():
            connection.execute(_UNLOCK, [list(people)])


# MATERIALIZED: each lock is tried once, whatever the planner makes of the filter
_TRY = """
WITH tried AS MATERIALIZED (
    SELECT s, pg_try_advisory_lock(hashtextextended('seedtool.enroll:' || s, 0)) AS got FROM unnest(%s::text[]) s
)
SELECT s FROM tried WHERE got"""

_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('seedtool.enroll:' || s, 0)) FROM unnest(%s::text[]) s"
