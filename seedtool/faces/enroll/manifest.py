"""Enroll a manifest: photos of many students, concurrently under the quotas.

Photos of one student go one after the other, so that their numbers have no gaps and the same photo twice is seen;
students go side by side. A killed run leaves at most photos in the store and faces in the collection that no row names
yet: the next run finds them under the number it would have given, and indexing the same picture under the same id makes
no second face.
"""

import csv
import difflib
import io
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import FixtureError, PhotoError, SeedtoolError
from seedtool.faces import bindings, external_id
from seedtool.faces.bindings import Bound
from seedtool.faces.enroll.photo import (
    Attempt,
    EnrollReport,
    Kept,
    Numbered,
    PhotoResult,
    already,
    check,
    check_table,
    enrolled,
    failure,
    failures,
    insert,
    is_jpeg,
    next_number,
    photos_of,
    seed_lines,
    twin,
)
from seedtool.faces.enroll.running import (
    WORKERS,
    alone,
    create,
    fatal,
    fly,
    let_go,
    named,
    settle,
    table_of,
    try_students,
)
from seedtool.faces.listing import copy_faces
from seedtool.faces.photos import Addresses, PhotoStore, is_address, readable
from seedtool.faces.port import FaceCollection, FaceService, IndexedFace
from seedtool.faces.sync import Progress
from seedtool.settings import Settings

#: The columns a manifest has; further ones are for people and are not read.
COLUMNS = ("student_id", "photo")

# How many lines a message names at most.
_LINES = 10


class Line(msgspec.Struct, frozen=True):
    """A line of a manifest.

    Args:
        number: counted from 1, the header's.
        student_id: whose photo it is.
        photo: a file, or a web or s3 address.
    """

    number: int
    student_id: str
    photo: Path | str


class _Fault(msgspec.Struct, frozen=True):
    """What is wrong with a line."""

    line: int
    column: str | None
    message: str
    remedy: str


def read_manifest(path: Path, root: Path) -> list[Line]:
    """Return a manifest's lines, each checked by itself and against the others.

    Args:
        path: a csv in UTF-8 with the header `student_id,photo` (or with semicolons, as Excel writes it where the comma
            is the decimal sign). Photos are files, relative to the manifest's folder, or `https://` or `s3://`
            addresses.
        root: the project's folder, for messages.

    Raises:
        FixtureError: with file, line and column of the first fault, and the lines of the others.
        PhotoError: the manifest cannot be read.
    """
    name = _name(path, root)
    faults: list[_Fault] = []
    lines = list(_lines(path, name, faults))
    owners: dict[Path | str, Line] = {}
    for line in lines:
        first = owners.setdefault(line.photo, line)
        if first.student_id != line.student_id:
            faults.append(
                _Fault(
                    line.number,
                    "photo",
                    f"the same photo as on line {first.number}, for another student",
                    "Whose is it? Leave one of the lines out.",
                )
            )
    _raise(faults, name)
    return lines


def check_students(connection: psycopg.Connection, bound: Bound, lines: list[Line], path: Path, root: Path) -> None:
    """Check that the students of a manifest exist.

    Raises:
        FixtureError: one does not, with its line and the closest one that does.
    """
    if bound.owner is None:
        return
    table, key = bound.owner
    wanted = list(dict.fromkeys(line.student_id for line in lines))
    with bindings.database_errors(bound.binding.table), connection.transaction():
        column = sql.Identifier(key)
        query = sql.SQL("SELECT {0}::text FROM {1} WHERE {0}::text = ANY (%s)").format(column, table)
        there = {student for (student,) in connection.execute(query, [wanted])}
        faults = [line for line in lines if line.student_id not in there]
        if not faults:
            return
        query = sql.SQL("SELECT {0}::text FROM {1} ORDER BY left({0}::text, 3) <> left(%s, 3) LIMIT 5000").format(
            column, table
        )
        known = [each for (each,) in connection.execute(query, [faults[0].student_id])]
    close = difflib.get_close_matches(faults[0].student_id, known, n=1)
    cure = f"Did you mean {close[0]}?" if close else "Seed the students first: seedtool seed local."
    _raise(
        [_Fault(line.number, "student_id", f"there is no student {line.student_id}", cure) for line in faults],
        _name(path, root),
    )


def _lines(path: Path, name: str, faults: list[_Fault]) -> Iterator[Line]:
    """Yield the lines that can be read, and note what is wrong with the others."""
    text = _text(path, name)
    header_line = text.split("\n", maxsplit=1)[0]
    delimiter = ";" if ";" in header_line and "," not in header_line else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        for column in COLUMNS:
            if header.count(column) != 1:
                raise FixtureError(
                    f"{'no' if column not in header else 'more than one'} column {column}",
                    file=name,
                    line=1,
                    remedy=f"Begin the file with the line {','.join(COLUMNS)}.",
                )
        for cells in reader:
            if any(cell.strip() for cell in cells):
                line = _line(reader.line_num, [cell.strip() for cell in cells], header, path.parent, faults)
                if line is not None:
                    yield line
    except csv.Error as error:
        raise FixtureError(
            str(error), file=name, line=reader.line_num, remedy="Mend the quotes of this line."
        ) from error


def _line(number: int, cells: list[str], header: list[str], folder: Path, faults: list[_Fault]) -> Line | None:
    """Return a line, or note its fault."""
    if len(cells) != len(header):
        cure = "Put cells that hold a separator into double quotes."
        faults.append(_Fault(number, None, f"{len(cells)} cells under a header of {len(header)}", cure))
        return None
    values = dict(zip(header, cells, strict=True))
    student_id, named = values["student_id"], values["photo"]
    before = len(faults)
    try:
        external_id.for_photo(student_id, 1)
    except ValueError:
        cure = "An id has letters, digits and _.-: and no others, at most 240."
        faults.append(_Fault(number, "student_id", "this cannot be a student's id for Rekognition", cure))
    if not student_id:
        faults.append(_Fault(number, "student_id", "the cell is empty", "Whose photo is it?"))
    photo: Path | str = named if is_address(named) else folder / named
    fault = _fault_of(photo, named)
    if fault:
        faults.append(_Fault(number, "photo", *fault))
    return None if len(faults) > before else Line(number, student_id, photo)


def _fault_of(photo: Path | str, named: str) -> tuple[str, str] | None:
    """Return what is wrong with a photo, and the cure."""
    if not named:
        return "the cell is empty", "Name the photo's file."
    if isinstance(photo, str):
        fault = ("this kind of address is not read", "Name a file, https:// or s3://bucket/key.")
        return None if readable(photo) else fault
    try:
        if not photo.exists():
            return "there is no such file", "Paths are relative to the manifest's own folder."
        if not photo.is_file():
            return "this is not a file", "Name each photo on a line of its own."
    except (OSError, ValueError):
        return "this cannot be a path", "Name the photo's file."
    return None if os.access(photo, os.R_OK) else ("the file cannot be read", "Give this user the right to read it.")


def _text(path: Path, name: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PhotoError(f"{name}: {error.strerror}", remedy="Name a csv with the header student_id,photo.") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FixtureError(
            "the text is not UTF-8", file=name, line=line, remedy="Save it as UTF-8 (Excel: CSV UTF-8)."
        ) from error


def _name(path: Path, root: Path) -> str:
    whole = path.resolve()
    return str(whole.relative_to(root.resolve())) if whole.is_relative_to(root.resolve()) else path.name


def _raise(faults: list[_Fault], name: str) -> None:
    """Raise the first fault of a manifest, if there is one; the others are told by their lines."""
    if not faults:
        return
    first, *others = sorted(faults, key=lambda fault: fault.line)
    lines = list(dict.fromkeys(fault.line for fault in others if fault.line != first.line))
    more = f" (also wrong: line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:_LINES]))}" if lines else ""
    more += f" and {len(lines) - _LINES} more)" if len(lines) > _LINES else ")" if lines else ""
    cure = f"{first.remedy} Nothing was sent."
    raise FixtureError(first.message + more, file=name, line=first.line, column=first.column, remedy=cure)


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
    aws: FaceService,
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
        path: the manifest, a csv with the header `student_id,photo` (see `read_manifest`).
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
    watch, uploads = aws.watched(), store.uploads
    lines = read_manifest(path, settings.root)
    connection.commit()
    bound = table_of(connection, settings, collection)
    check_table(bound)
    check_students(connection, bound, lines, path, settings.root)
    with connection.transaction():
        collections = bindings.collections_of(connection, bound, list(dict.fromkeys(each.student_id for each in lines)))
    ids = tuple(dict.fromkeys(collections.values()))
    with alone(connection, bound.binding.table):
        with bindings.database_errors(bound.binding.table), connection.transaction():
            listed = copy_faces(connection, ids, aws.collection, page_size=None, tell=lambda _: None)
            taken = _taken(connection, collections)
        created = create(listed.missing, aws.collection)
        gateways = {student: aws.collection(id_) for student, id_ in collections.items()}
        run = _Run(connection, bound, gateways, store, Addresses(settings, aws, store), taken, path.name)
        interrupted = run.all(lines, workers, progress)
    results = tuple(result for _, result in sorted(run.results, key=lambda each: each[0]))
    return EnrollReport(
        **watch.facts,
        collection=named(ids),
        created=created,
        ok=not interrupted and all(result.face_id is not None for result in results),
        interrupted=interrupted,
        photos=results,
        failures=failures(results),
        seed_lines=seed_lines(results),
        uploads=store.uploads - uploads,
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
        collections: Mapping[str, FaceCollection],
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
                let_go(self._connection, [*self._ours, *self._finished])

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
        let_go(self._connection, self._finished)
        self._finished.clear()
        next_ones = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        got = try_students(self._connection, [student.id for student in next_ones])
        self._ours |= got
        with self._connection.transaction():
            photos = photos_of(self._connection, self._bound, got)
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
            same = twin(student.photos, self._store, data)
            if same is not None:
                return same
        photo = check(data)
        same = twin(student.photos, self._store, photo.kept) if photo.kept is not data else None
        if same is not None:
            return same
        collection = self._collections[student.id]
        place = next_number(student.id, student.photos, self._store, photo, self._taken, collection.id)
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
                self._note(job, already(self._source(job), job.student.id, result))
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
            insert(self._connection, self._bound, [(each.place, each.face) for _, each in indexed])
        for job, each in indexed:
            face_id = each.face.face.face_id
            job.student.photos.append(Kept(each.place.external_image_id, each.place.key, face_id))
            self._note(job, enrolled(self._source(job), each.place, each.face))

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
