"""Enroll a manifest: photos of many students, concurrently under the quotas.

Photos of one student go one after the other, so that their numbers have no gaps and the same photo twice is seen;
students go side by side. A killed run leaves at most photos in the store and faces in the collection that no row names
yet: the next run finds them under the number it would have given, and indexing the same picture under the same id makes
no second face.
"""

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec
import psycopg

from seedtool.errors import PhotoError, SeedtoolError
from seedtool.faces import bindings
from seedtool.faces.bindings import Bound
from seedtool.faces.enroll import locks, manifest, numbers
from seedtool.faces.enroll.flight import WORKERS, fatal, fly, settle
from seedtool.faces.enroll.manifest import Line
from seedtool.faces.enroll.numbers import Kept, Numbered
from seedtool.faces.enroll.photo import Attempt, EnrollReport, PhotoResult, check, failure, failures, is_jpeg
from seedtool.faces.enroll.table import create, named, table_of
from seedtool.faces.linking.listing import copy_faces
from seedtool.faces.photos import Addresses, PhotoStore
from seedtool.faces.rekognition import Aws
from seedtool.faces.rekognition.answers import IndexedFace
from seedtool.faces.rekognition.collection import PAGE, Collection
from seedtool.faces.sync import Progress
from seedtool.settings import Settings


class _Student(msgspec.Struct):
    """A student whose photos are being enrolled; `photos` are those that the rows name."""

    id: str
    lines: deque[Line]
    photos: list[Kept] = msgspec.field(default_factory=list)


class _Job(msgspec.Struct, frozen=True):
    """A line whose photo is in flight."""

    student: _Student
    line: Line


class _Indexed(msgspec.Struct, frozen=True):
    """A photo whose face is in the collection, and whose row is still to be written."""

    place: Numbered
    attempt: Attempt
    face: IndexedFace


def enroll_manifest(
    connection: psycopg.Connection,
    settings: Settings,
    aws: Aws,
    store: PhotoStore,
    path: Path,
    *,
    collection: str | None = None,
    workers: int = WORKERS,
    progress: Progress | None = None,
) -> EnrollReport:
    """Add the photos of a manifest to its students; each photo fails by itself.

    Args:
        connection: to the target; what is pending on it is committed first, and each photo by itself.
        settings: the face binding and its collection.
        aws: the AWS side.
        store: where photos are kept.
        path: the manifest, a csv with the header `student_id,photo` (see `manifest`).
        collection: a collection given on the command line.
        workers: photos in flight.
        progress: told the photos done, and how many there are.

    Raises:
        FixtureError: the manifest is wrong: file, line and column. Nothing was sent.
        SettingsError: nothing says in which collection a student's faces are, or it is another than the one given.
        SchemaError: the bound table lacks a column that a new row needs.
        CredentialsError: there are none, or they expired: the rest is not tried.
        AccessDenied: a permission is missing: the rest is not tried.
        AwsError: the collection could not be created or listed.
    """
    started, before, uploads = time.monotonic(), Counter(aws.calls), store.uploads
    lines = manifest.read(path, settings.root)
    connection.commit()
    bound = table_of(connection, settings, collection)
    numbers.check_table(bound)
    manifest.check_students(connection, bound, lines, path, settings.root)
    with connection.transaction():
        collections = bindings.collections_of(connection, bound, list(dict.fromkeys(each.student_id for each in lines)))
    ids = tuple(dict.fromkeys(collections.values()))
    with locks.alone(connection, bound.binding.table):
        with bindings.database_errors(bound.binding.table), connection.transaction():
            listed = copy_faces(connection, ids, aws.collection, page_size=PAGE, tell=lambda _: None)
            taken = _taken(connection, collections)
        created = create(listed.missing, aws.collection)
        gateways = {student: aws.collection(id_) for student, id_ in collections.items()}
        run = _Run(connection, bound, gateways, store, Addresses(settings, aws, store), taken, path.name)
        interrupted = run.all(lines, workers, progress)
    results = tuple(result for _, result in sorted(run.results, key=lambda each: each[0]))
    return EnrollReport(
        mode=aws.mode,
        region=aws.region,
        endpoint=aws.endpoint,
        collection=named(ids),
        created=created,
        ok=not interrupted and all(result.face_id is not None for result in results),
        interrupted=interrupted,
        photos=results,
        failures=failures(results),
        seed_lines=numbers.seed_lines(results),
        uploads=store.uploads - uploads,
        calls=dict(Counter(aws.calls) - before),
        seconds=round(time.monotonic() - started, 3),
    )


def _taken(connection: psycopg.Connection, collections: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return what the collections hold of their students: external image id → FaceIds."""
    rows = connection.execute(_TAKEN, [list(collections), list(collections.values())]).fetchall()
    return {external: frozenset(faces) for external, faces in rows}


class _Run:
    """The photos of one run, some in flight."""

    def __init__(
        self,
        connection: psycopg.Connection,
        bound: Bound,
        collections: Mapping[str, Collection],
        store: PhotoStore,
        addresses: Addresses,
        taken: dict[str, frozenset[str]],
        name: str,
    ) -> None:
        self._connection = connection
        self._bound = bound
        self._collections = collections
        self._store = store
        self._addresses = addresses
        self._taken = taken
        self._name = name
        self._waiting: deque[_Student] = deque()  # nobody's so far
        self._ready: deque[_Student] = deque()  # ours, with no photo in flight
        self._ours: set[str] = set()
        self._finished: list[str] = []
        self.results: list[tuple[int, PhotoResult]] = []

    def all(self, lines: list[Line], workers: int, progress: Progress | None) -> bool:
        """Enroll them all; True when a signal ended it early. What is in flight is always finished."""
        by_student: dict[str, deque[Line]] = {}
        for line in lines:
            by_student.setdefault(line.student_id, deque()).append(line)
        self._waiting.extend(_Student(student, own) for student, own in by_student.items())

        def land(done: list[tuple[_Job, Future[_Indexed | Kept]]]) -> SeedtoolError | None:
            stop = self._land(done)
            if progress is not None:
                progress(len(self.results), len(lines))
            return stop

        try:
            return fly(self._take, self._index, land, workers)
        finally:
            with bindings.database_errors(self._bound.binding.table):
                locks.let_go(self._connection, [*self._ours, *self._finished])

    def _take(self, most: int) -> list[_Job] | None:
        """Return up to so many photos whose turn it is, each of another student; None when none is left."""
        if len(self._ready) < most and self._waiting:
            with bindings.database_errors(self._bound.binding.table):
                self._begin(most - len(self._ready))
        if not self._ready and not self._waiting and not self._ours:
            return None
        taken = [self._ready.popleft() for _ in range(min(most, len(self._ready)))]
        return [_Job(student, student.lines.popleft()) for student in taken]

    def _begin(self, most: int) -> None:
        """Take further students, read what they have, and let go of those that are finished."""
        locks.let_go(self._connection, self._finished)
        self._finished.clear()
        next_ones = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        got = locks.try_students(self._connection, [student.id for student in next_ones])
        self._ours |= got
        with self._connection.transaction():
            photos = numbers.photos_of(self._connection, self._bound, got)
        for student in next_ones:
            if student.id in got:
                student.photos = photos[student.id]
                self._ready.append(student)
            else:
                self._waiting.append(student)  # somebody else is enrolling this one: later

    def _index(self, job: _Job) -> _Indexed | Kept:
        """Bring one photo into store and collection, unless the student has it. Runs in a thread."""
        data = self._read(job.line.photo)
        student = job.student
        if is_jpeg(data):  # it would be kept as it is: no need to look into it
            twin = numbers.twin(student.photos, self._store, data)
            if twin is not None:
                return twin
        photo = check(data)
        twin = numbers.twin(student.photos, self._store, photo.kept) if photo.kept is not data else None
        if twin is not None:
            return twin
        collection = self._collections[student.id]
        place = numbers.next_number(student.id, student.photos, self._store, photo, self._taken, collection.id)
        known = self._taken.get(place.external_image_id, frozenset())
        attempt = Attempt(collection, self._store, place.key, place.external_image_id, known)
        try:
            attempt.upload(photo.kept)
            return _Indexed(place, attempt, attempt.index(self._store.location(place.key), lambda: photo.sent))
        except BaseException:
            # where an answer was lost the collection is not searched, a listing a photo: the next run finds the face
            attempt.undo(search=False)
            raise

    def _read(self, photo: Path | str) -> bytes:
        if isinstance(photo, Path):
            try:
                return photo.read_bytes()
            except OSError as error:
                raise PhotoError(error.strerror or "unreadable", remedy="Is the file still there?") from error
        data = self._addresses.get(photo)
        if data is None:
            raise PhotoError("there is no photo at this address", remedy="Look whether it was moved.")
        return data

    def _land(self, done: list[tuple[_Job, Future[_Indexed | Kept]]]) -> SeedtoolError | None:
        """Write and commit the rows of photos whose faces are there; returns what concerns all the others alike."""
        stop: SeedtoolError | None = None
        indexed = []
        for job, future in done:
            try:
                result = future.result()
            except SeedtoolError as error:
                stop = self._failed(job, error) or stop
                continue
            if isinstance(result, Kept):
                self._note(job, numbers.already(self._source(job), job.student.id, result))
            else:
                indexed.append((job, result))
        stop = settle(self._connection, indexed, self._write, self._failed) or stop
        for job, _ in done:  # the next photo of each may fly
            if job.student.lines:
                self._ready.append(job.student)
            else:
                self._ours.discard(job.student.id)
                self._finished.append(job.student.id)
        return stop

    def _write(self, indexed: Sequence[tuple[_Job, _Indexed]]) -> None:
        """Write and commit rows, all or none."""
        with bindings.database_errors(self._bound.binding.table), self._connection.transaction():
            numbers.insert(self._connection, self._bound, [(each.place, each.face) for _, each in indexed])
        for job, each in indexed:
            face_id = each.face.face.face_id
            job.student.photos.append(Kept(each.place.external_image_id, each.place.key, face_id))
            self._note(job, numbers.enrolled(self._source(job), each.place, each.face))

    def _failed(self, job: _Job, error: SeedtoolError) -> SeedtoolError | None:
        """Note a photo that was not enrolled; returns the error when it concerns every photo alike."""
        self._note(job, failure(self._source(job), error, student_id=job.student.id))
        return error if fatal(error, connected=not self._connection.closed) else None

    def _note(self, job: _Job, result: PhotoResult) -> None:
        self.results.append((job.line.number, result))

    def _source(self, job: _Job) -> str:
        """Return a photo's name in the report: where it stands in the manifest, for file names hold people's names."""
        return f"{self._name}:{job.line.number}"


_TAKEN = """
SELECT l.external_image_id, array_agg(DISTINCT l.face_id)
FROM pg_temp.seedtool_listed l
JOIN pg_temp.seedtool_collections k ON k.number = l.collection
JOIN unnest(%s::text[], %s::text[]) s (student_id, collection_id)
    ON s.collection_id = k.id AND s.student_id = regexp_replace(l.external_image_id, '-photo-[0-9]+$', '')
GROUP BY 1"""
