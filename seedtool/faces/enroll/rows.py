"""Enroll all: index every photo that a row names and the collection lacks.

A photo's row is written and committed as soon as its face is there. Before the first photo is indexed, the faces that
the collection already holds are linked, as a sync does. So a run after a crash continues where the last one ended.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import PhotoError, SeedtoolError
from seedtool.faces.bindings import Bound
from seedtool.faces.enroll.photo import Attempt, EnrollReport, PhotoResult, check, failure, failures, quality_of
from seedtool.faces.enroll.replaced import replaced_photos
from seedtool.faces.enroll.running import (
    WORKERS,
    Enrollment,
    alone,
    fatal,
    linked_rows,
    named,
    run_jobs,
    table_of,
    write_rows,
)
from seedtool.faces.external_id import TEMPORARY_PREFIX
from seedtool.faces.photos import Addresses, PhotoStore, is_address, shown
from seedtool.faces.port import FaceService, IndexedFace
from seedtool.listener import SILENT, Listener
from seedtool.postgres.psycopg_errors import translated
from seedtool.settings import COLLECTION_ID, Settings


class _Row(msgspec.Struct, frozen=True):
    """A row whose photo has to be indexed; the FaceIds under its id before."""

    key: str
    external_image_id: str
    photo: str | None
    collection: str
    known: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """What it is called in a report."""
        return self.external_image_id if self.photo is None else shown(self.photo)


class _Indexed(msgspec.Struct, frozen=True):
    """A photo whose face is in the collection, and whose row is still to be written."""

    attempt: Attempt
    face: IndexedFace


def enroll_all(
    connection: psycopg.Connection,
    settings: Settings,
    aws: FaceService,
    store: PhotoStore,
    *,
    collection: str | None = None,
    replaced: bool = False,
    workers: int = WORKERS,
    listener: Listener = SILENT,
) -> EnrollReport:
    """Index the photo of every row whose external image id is not in the collection.

    A photo's key is looked for in the folder `<seeds>/photos` and, when it is not there, in the store. A seeded file
    goes into the store unless the very same is there. Each photo fails by itself. A row may also name an address
    (`s3://bucket/key`, `https://...`); from there photos are only read.

    Args:
        connection: to the target; what is pending on it is committed first, and each photo by itself.
        settings: the face bindings, their collections and the seeds' folder.
        aws: the face service.
        store: where photos are kept.
        collection: a collection given on the command line.
        replaced: also index photos that were replaced since (see `replaced`). The row gets the new face; the old one
            stays in the collection as a duplicate, until `faces dedupe` deletes it.
        workers: photos in progress at one time.
        listener: hears the number of photos done.

    Raises:
        SchemaError: the bound table has no column `photo`.
        SettingsError: rows are in no collection.
        CredentialsError: there are none, or they expired: the rest is not tried.
        AccessDenied: a permission is missing: the rest is not tried.
        AwsError: the collection could not be created or listed.
    """
    watch, uploads = aws.watched(), store.uploads
    connection.commit()
    bound = table_of(connection, settings, collection)
    bound.require("enroll --all", "photo")
    with alone(connection, bound.binding.table, listener):
        with connection.transaction():
            linked, created = linked_rows(connection, bound, aws)
            todo = _todo(connection, bound)
            if replaced:
                keys = set(replaced_photos(connection, bound, store, settings.seeds / "photos"))
                todo += _again(connection, bound, sorted(keys - {row.key for row in todo}))
        run = _Run(
            Enrollment(connection, bound, aws, store), Addresses(settings, aws, store), settings.seeds / "photos"
        )
        interrupted = run.all(todo, workers, listener)
    results = tuple(sorted(run.results, key=lambda result: result.external_image_id or ""))
    return EnrollReport(
        **watch.facts,
        collection=named(each.collection for each in linked if each.collection),
        created=created,
        ok=not interrupted and all(result.outcome == "enrolled" for result in results),
        interrupted=interrupted,
        photos=results,
        failures=failures(results),
        adopted=sum(each.synced + each.relinked for each in linked),
        unchanged=sum(each.unchanged for each in linked),
        uploads=store.uploads - uploads,
    )


def _todo(connection: psycopg.Connection, bound: Bound) -> list[_Row]:
    """Return the rows whose photos the collection lacks."""
    query = sql.SQL(_TODO).format(rows=bound.rows, temporary=sql.Literal(TEMPORARY_PREFIX))
    return [_Row(*row) for row in connection.execute(query).fetchall()]


def _again(connection: psycopg.Connection, bound: Bound, keys: Sequence[str]) -> list[_Row]:
    """Return rows that are to be indexed again, with the faces that are theirs so far."""
    rows = connection.execute(sql.SQL(_AGAIN).format(rows=bound.rows), [list(keys)]).fetchall()
    return [_Row(key, external, photo, place, tuple(known)) for key, external, photo, place, known in rows]


class _Run:
    """The photos of one run, some of them in progress."""

    def __init__(self, enrollment: Enrollment, addresses: Addresses, seeded: Path) -> None:
        self._connection, self._bound, self._aws, self._store = enrollment
        self._addresses = addresses
        self._seeded = seeded
        self.results: list[PhotoResult] = []

    def all(self, todo: list[_Row], workers: int, listener: Listener) -> bool:
        """Enroll them all; True when a signal ended it early. What is in progress is always finished."""
        waiting = list(reversed(todo))

        def take(most: int) -> list[_Row] | None:
            return [waiting.pop() for _ in range(min(most, len(waiting)))] or None

        def finish(done: list[tuple[_Row, Future[_Indexed]]]) -> SeedtoolError | None:
            stop = self._finish(done)
            listener.progress("photos", len(self.results), len(todo))
            return stop

        return run_jobs(take, self._index, finish, workers)

    def _index(self, row: _Row) -> _Indexed:
        """Bring one photo into store and collection; nothing of it stays when that fails. Runs in a thread."""
        if row.photo is None:
            raise PhotoError("the row names no photo", remedy=f"Fill its column {self._bound.binding.photo}.")
        if not COLLECTION_ID.fullmatch(row.collection):
            fault = f"{row.collection!r} cannot be a collection's id"
            raise PhotoError(fault, remedy="Correct what names the row's collection: 1 to 255 letters, digits and _.-")
        seeded = self._seeded_file(row.photo)
        collection = self._aws.collection(row.collection)
        attempt = Attempt(collection, self._store, row.photo, row.external_image_id, known=frozenset(row.known))
        try:
            if seeded is None:
                location = self._addresses.location(row.photo)
                return _Indexed(attempt, attempt.index(location, lambda: self._fetched(row)))
            photo = check(seeded, self._aws)
            attempt.upload(photo.kept)
            return _Indexed(attempt, attempt.index(self._store.location(row.photo), lambda: photo.sent))
        except BaseException:
            # a face whose answer was lost has the right id: the next run, or a sync, links it
            attempt.undo(search=False)
            raise

    def _fetched(self, row: _Row) -> bytes:
        """Return the bytes to send of a photo that is in the store or elsewhere."""
        data = self._addresses.get(str(row.photo))
        if data is None:
            raise PhotoError(
                f"the photo {row.source} is neither in the seeds' photos nor in the photo store",
                remedy="Put it under seeds/photos/, or look whether PHOTOS_URL names the right store.",
            )
        return check(data, self._aws).sent

    def _seeded_file(self, photo: str) -> bytes | None:
        path = self._seeded / photo
        if is_address(photo) or not path.resolve().is_relative_to(self._seeded.resolve()):
            return None
        try:
            return path.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except OSError as error:
            raise PhotoError(f"photo {photo}: {error.strerror}", remedy="May this user read it?") from error

    def _finish(self, done: list[tuple[_Row, Future[_Indexed]]]) -> SeedtoolError | None:
        """Write and commit the rows of photos whose faces are there; returns an error that concerns all the others."""
        stop: SeedtoolError | None = None
        indexed = []
        for row, future in done:
            try:
                indexed.append((row, future.result()))
            except SeedtoolError as error:
                stop = self._failed(row, error) or stop
        return write_rows(self._connection, indexed, self._write, self._failed) or stop

    def _failed(self, row: _Row, error: SeedtoolError) -> SeedtoolError | None:
        """Note a photo that was not enrolled; returns the error when it concerns every photo alike."""
        self.results.append(failure(row.source, error, external_image_id=row.external_image_id, photo=row.photo))
        return error if fatal(error, connected=not self._connection.closed) else None

    def _write(self, indexed: Sequence[tuple[_Row, _Indexed]]) -> None:
        """Write and commit the rows in one statement. Where a row was deleted meanwhile, its photo is removed again."""
        sets: list[sql.Composable] = [sql.SQL("{} = v.face_id::{}").format(self._bound.face_id, self._bound.face_type)]
        binding = self._bound.binding
        if self._bound.has("indexed_at"):
            sets.append(sql.SQL("{} = now()").format(sql.Identifier(binding.indexed_at)))
        if self._bound.has("quality"):
            sets.append(sql.SQL("{} = v.quality").format(sql.Identifier(binding.quality)))
        with translated(self._bound.binding.table), self._connection.transaction():
            written = self._connection.execute(
                sql.SQL(_WRITE).format(
                    table=self._bound.table,
                    sets=sql.SQL(", ").join(sets),
                    key=self._bound.key,
                    external_image_id=self._bound.external_image_id,
                ),
                [
                    [row.key for row, _ in indexed],
                    [row.external_image_id for row, _ in indexed],
                    [each.face.face.face_id for _, each in indexed],
                    [quality_of(each.face) for _, each in indexed],
                ],
            ).fetchall()
        there = {key for (key,) in written}
        for row, each in indexed:
            if row.key in there:
                self.results.append(_enrolled(row, each.face))
            else:
                each.attempt.undo()
                gone = PhotoError("its row is gone", remedy="It was deleted or renamed meanwhile: run it again.")
                self._failed(row, gone)


def _enrolled(row: _Row, face: IndexedFace) -> PhotoResult:
    return PhotoResult(
        source=row.source,
        outcome="enrolled",
        face_id=face.face.face_id,
        quality=quality_of(face),
        external_image_id=row.external_image_id,
        photo=row.photo,
    )


# Rows that share an id say nothing of whose its face is.
_TODO = """
SELECT r.key, r.external_image_id, r.photo, r.collection_id
FROM (SELECT o.*, count(*) OVER (PARTITION BY o.collection_id, o.external_image_id) AS sharing FROM {rows} o) r
LEFT JOIN pg_temp.seedtool_collections k ON k.id = r.collection_id
WHERE r.external_image_id IS NOT NULL AND NOT starts_with(r.external_image_id, {temporary})
    AND r.collection_id IS NOT NULL AND r.sharing = 1
    AND NOT EXISTS (
        SELECT FROM pg_temp.seedtool_listed l
        WHERE l.collection = k.number AND l.external_image_id = r.external_image_id
    )
ORDER BY r.external_image_id"""

_AGAIN = """
SELECT r.key, r.external_image_id, r.photo, r.collection_id, ARRAY(
    SELECT l.face_id FROM pg_temp.seedtool_listed l
    WHERE l.collection = k.number AND l.external_image_id = r.external_image_id
)
FROM {rows} r JOIN pg_temp.seedtool_collections k ON k.id = r.collection_id
WHERE r.key = ANY (%s) AND r.external_image_id IS NOT NULL
ORDER BY r.external_image_id"""

_WRITE = """
UPDATE {table} t SET {sets}
FROM unnest(%s::text[], %s::text[], %s::text[], %s::float8[]) v (key, external_image_id, face_id, quality)
WHERE t.{external_image_id}::text = v.external_image_id AND {key} = v.key
RETURNING v.key"""
