"""Enroll all: index every photo that a row names and the collection lacks.

AWS and the store are reached from threads, the database from this one: each photo's row is written and committed as
soon as its face is there. Before the first photo is indexed, what the collection already holds is linked, as a sync
does; so a run after a crash takes up the faces of the run before.
"""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import AccessDenied, CredentialsError, PhotoError, ResourceNotFound, SchemaError, SeedtoolError
from seedtool.faces import bindings
from seedtool.faces.aws import Aws
from seedtool.faces.aws.answers import IndexedFace
from seedtool.faces.aws.collection import Collection
from seedtool.faces.bindings import Bound
from seedtool.faces.enroll.photo import Attempt, EnrollReport, PhotoResult, check, failure, quality_of
from seedtool.faces.external_id import TEMPORARY_PREFIX
from seedtool.faces.interrupts import held
from seedtool.faces.linking import link
from seedtool.faces.photos import PhotoStore
from seedtool.faces.sync import Progress
from seedtool.settings import Settings

#: Photos in flight. At 50 IndexFaces a second of a second or more each, the quota needs about this many.
WORKERS = 64

#: What concerns every photo alike: stop, do not burn through the rest.
_FATAL = (CredentialsError, AccessDenied, ResourceNotFound)


class _Row(msgspec.Struct, frozen=True):
    """A row whose photo has to be indexed."""

    key: str
    external_image_id: str
    photo_url: str | None


class _Indexed(msgspec.Struct, frozen=True):
    """A photo whose face is in the collection, and whose row is still to be written."""

    attempt: Attempt
    face: IndexedFace


def enroll_all(
    connection: psycopg.Connection,
    settings: Settings,
    aws: Aws,
    store: PhotoStore,
    *,
    collection: str | None = None,
    workers: int = WORKERS,
    progress: Progress | None = None,
) -> EnrollReport:
    """Index the photo of every row whose external image id is not in the collection.

    A photo is looked for at `<seeds>/photos/<photo_url>` and, when it is not there, in the store. A seeded file goes
    into the store unless the very same is there. Each photo fails by itself.

    Args:
        connection: to the target; what is pending on it is committed first, and each photo by itself.
        settings: the face bindings, their collections and the seeds' folder.
        aws: the AWS side.
        store: where photos are kept.
        collection: a collection given on the command line.
        workers: photos in flight.
        progress: told the photos done, and how many there are.

    Raises:
        SchemaError: the bound table has no `photo_url`.
        CredentialsError: there are none, or they expired: the rest is not tried.
        AccessDenied: a permission is missing: the rest is not tried.
        AwsError: the collection could not be created or listed.
    """
    started, before, uploads = time.monotonic(), Counter(aws.calls), store.uploads
    connection.commit()
    binding, collection_id = bindings.chosen(settings, collection)[0]
    with connection.transaction():
        bound = bindings.resolve(connection, binding)
    if "photo_url" not in bound.columns:
        raise SchemaError(
            f"the table {binding.table} has no column photo_url, so its photos cannot be found",
            remedy="Bind the table that names the photos in [[tool.seedtool.faces]].",
        )
    gateway = aws.collection(collection_id)
    created = gateway.ensure()
    with _alone(connection, binding.table, collection_id):
        with connection.transaction():
            linked = link(connection, bound, gateway)
            todo = [
                _Row(*row)
                for row in connection.execute(
                    sql.SQL(_TODO).format(rows=bound.rows, temporary=sql.Literal(TEMPORARY_PREFIX))
                ).fetchall()
            ]
        run = _Run(connection, bound, gateway, store, settings.seeds / "photos")
        interrupted = run.all(todo, workers, progress)
    return EnrollReport(
        mode=aws.mode,
        region=aws.region,
        collection=collection_id,
        created=created,
        ok=not interrupted and all(result.outcome == "enrolled" for result in run.results),
        interrupted=interrupted,
        photos=tuple(sorted(run.results, key=lambda result: result.external_image_id or "")),
        adopted=linked.synced + linked.relinked,
        unchanged=linked.unchanged,
        uploads=store.uploads - uploads,
        calls=dict(Counter(aws.calls) - before),
        seconds=round(time.monotonic() - started, 3),
    )


class _Run:
    """The photos of one run, some in flight."""

    def __init__(
        self, connection: psycopg.Connection, bound: Bound, collection: Collection, store: PhotoStore, seeded: Path
    ) -> None:
        self._connection = connection
        self._bound = bound
        self._collection = collection
        self._store = store
        self._seeded = seeded
        self.results: list[PhotoResult] = []

    def all(self, todo: list[_Row], workers: int, progress: Progress | None) -> bool:
        """Enroll them all; True when a signal ended it early. What is in flight is always finished."""
        waiting = iter(todo)
        flying: dict[Future[_Indexed], _Row] = {}
        fatal: SeedtoolError | None = None
        with held() as hold, ThreadPoolExecutor(workers, thread_name_prefix="enroll") as pool:
            while True:
                if fatal is None and hold.pending is None:
                    for row in islice(waiting, workers - len(flying)):
                        flying[pool.submit(self._index, row)] = row
                if not flying:
                    break
                done, _ = wait(flying, timeout=0.2, return_when=FIRST_COMPLETED)
                for each in done:
                    error = self._finish(flying.pop(each), each)
                    fatal = fatal or (error if isinstance(error, _FATAL) else None)
                    if progress is not None:
                        progress(len(self.results), len(todo))
            interrupted = hold.take()
        if fatal is not None:
            raise fatal
        return interrupted

    def _index(self, row: _Row) -> _Indexed:
        """Bring one photo into store and collection; nothing of it stays when that fails. Runs in a thread."""
        if row.photo_url is None:
            raise PhotoError("the row names no photo", remedy="Fill its photo_url.")
        seeded = self._seeded_file(row.photo_url)
        data = seeded if seeded is not None else self._store.get(row.photo_url)
        if data is None:
            raise PhotoError(
                f"the photo {row.photo_url} is neither in the seeds' photos nor in the photo store",
                remedy="Put it under seeds/photos/, or look whether PHOTOS_URL names the right store.",
            )
        photo = check(data)
        attempt = Attempt(self._collection, self._store, row.photo_url, row.external_image_id)
        try:
            if seeded is not None:
                attempt.upload(photo.kept)
            return _Indexed(attempt, attempt.index(photo.sent))
        except BaseException:
            # a face whose answer was lost is under the right id: the next run, or a sync, links it
            attempt.undo(search=False)
            raise

    def _seeded_file(self, photo_url: str) -> bytes | None:
        path = self._seeded / photo_url
        if not path.resolve().is_relative_to(self._seeded.resolve()):
            return None
        try:
            return path.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except OSError as error:
            raise PhotoError(f"photo {photo_url}: {error.strerror}", remedy="May this user read it?") from error

    def _finish(self, row: _Row, done: Future[_Indexed]) -> SeedtoolError | None:
        """Write and commit the row of a photo whose face is there; note how it went."""
        source = row.photo_url or row.external_image_id
        try:
            indexed = done.result()
            try:
                self._write(row, indexed.face)
            except SeedtoolError as error:
                if not isinstance(error.__cause__, psycopg.OperationalError):  # else the row may be there
                    indexed.attempt.undo()
                raise
        except SeedtoolError as error:
            self.results.append(
                failure(source, error, external_image_id=row.external_image_id, photo_url=row.photo_url)
            )
            return error
        self.results.append(
            PhotoResult(
                source=source,
                outcome="enrolled",
                face_id=indexed.face.face.face_id,
                quality=quality_of(indexed.face),
                external_image_id=row.external_image_id,
                photo_url=row.photo_url,
            )
        )
        return None

    def _write(self, row: _Row, face: IndexedFace) -> None:
        sets: list[sql.Composable] = [
            sql.SQL("{} = {}::{}").format(self._bound.face_id, sql.Placeholder("face_id"), self._bound.face_type)
        ]
        if "indexed_at" in self._bound.columns:
            sets.append(sql.SQL("indexed_at = now()"))
        if "quality_score" in self._bound.columns:
            sets.append(sql.SQL("quality_score = %(quality)s"))
        with bindings.database_errors(self._bound.binding.table), self._connection.transaction():
            written = self._connection.execute(
                sql.SQL("UPDATE {} t SET {} WHERE {} = %(key)s AND t.{}::text = %(external)s").format(
                    self._bound.table, sql.SQL(", ").join(sets), self._bound.key, self._bound.external_image_id
                ),
                {
                    "face_id": face.face.face_id,
                    "quality": quality_of(face),
                    "key": row.key,
                    "external": row.external_image_id,
                },
            ).rowcount
        if written != 1:
            raise PhotoError("its row is gone", remedy="It was deleted or renamed meanwhile: run it again.")


@contextmanager
def _alone(connection: psycopg.Connection, table: str, collection: str) -> Iterator[None]:
    """Let one run at a time work on a table and collection: the second waits, and then finds nothing to do."""
    name = f"seedtool.enroll_all:{table}:{collection}"
    connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
    connection.commit()
    try:
        yield
    finally:
        if not connection.closed:
            connection.rollback()
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])
            connection.commit()


_TODO = """
SELECT r.key, r.external_image_id, r.photo_url FROM {rows} r
WHERE r.external_image_id IS NOT NULL AND NOT starts_with(r.external_image_id, {temporary})
    AND NOT EXISTS (SELECT FROM pg_temp.seedtool_listed l WHERE l.external_image_id = r.external_image_id)
    AND NOT EXISTS (SELECT FROM pg_temp.seedtool_shared s WHERE s.external_image_id = r.external_image_id)
ORDER BY r.external_image_id"""
