"""Enroll a manifest: photos of many people, concurrently and under the quotas.

A manifest is a csv that says which photo is whose. All of it is checked before anything is sent. The photos of one
person are enrolled one after the other, so that their numbers have no gaps and the same photo given twice is seen.
People are enrolled side by side. A killed run leaves at most photos in the store and faces in the collection that no
row names yet. The next run finds them under the number that it would have given, and indexing the same picture under
the same id makes no second face.
"""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import FixtureError, PhotoError, SeedtoolError
from seedtool.faces import bindings
from seedtool.faces.bindings import Bound
from seedtool.faces.enroll.photo import (
    Attempt,
    EnrollReport,
    Kept,
    NewPhoto,
    PhotoResult,
    already,
    check,
    enrolled,
    failure,
    failures,
    insert,
    is_jpeg,
    numbered_photo,
    photos_of,
    seed_lines,
    twin,
)
from seedtool.faces.enroll.running import (
    WORKERS,
    Enrollment,
    alone,
    create,
    fatal,
    named,
    run_jobs,
    table_of,
    try_lock,
    unlock,
    write_rows,
)
from seedtool.faces.external_id import external_id_of, person_pattern
from seedtool.faces.listing import copy_faces
from seedtool.faces.photos import Addresses, PhotoStore, is_address, readable
from seedtool.faces.port import FaceService, IndexedFace
from seedtool.files import Malformed, csv_text
from seedtool.files.shown import shown_path
from seedtool.listener import SILENT, Listener
from seedtool.postgres.copying import see_every_row
from seedtool.postgres.psycopg_errors import translated
from seedtool.settings import FaceBinding, Settings

#: The column of a manifest that names the photo. The other one is called as the binding's column `person`. Further
#: columns are for people and are not read.
PHOTO = "photo"

# How many lines a message names at most.
_LINES = 10


class Line(msgspec.Struct, frozen=True):
    """A line of a manifest.

    Args:
        number: counted from 1, the header's.
        person: whose photo it is.
        photo: a file, or an address.
    """

    number: int
    person: str
    photo: Path | str


class _Fault(msgspec.Struct, frozen=True):
    """What is wrong with a line."""

    line: int
    column: str | None
    message: str
    remedy: str


def read_manifest(path: Path, root: Path, binding: FaceBinding) -> list[Line]:
    """Return a manifest's lines, each checked by itself and against the others.

    Args:
        path: a csv in UTF-8. Its header names the binding's column `person` and `photo`: `student_id,photo`. Photos are
            files, relative to the manifest's folder, or addresses (`https://...`, `s3://bucket/key`).
        root: the project's folder, for messages.
        binding: the face binding of the table that they are enrolled into.

    Raises:
        FixtureError: with file, line and column of the first fault, and the lines of the others.
        PhotoError: the manifest cannot be read.
    """
    name = _name(path, root)
    faults: list[_Fault] = []
    lines = list(_lines(path, name, binding, faults))
    owners: dict[Path | str, Line] = {}
    for line in lines:
        first = owners.setdefault(line.photo, line)
        if first.person != line.person:
            message = f"the same photo as on line {first.number}, for another person"
            faults.append(_Fault(line.number, PHOTO, message, "Whose is it? Leave one of the lines out."))
    _raise(faults, name)
    return lines


def check_people(connection: psycopg.Connection, bound: Bound, lines: list[Line], path: Path, root: Path) -> None:
    """Check that the people of a manifest exist.

    Raises:
        FixtureError: one does not, with its line and the closest one that does.
    """
    people = bound.people
    if people is None:
        return
    wanted = list(dict.fromkeys(line.person for line in lines))
    with translated(bound.binding.table), connection.transaction():
        see_every_row(connection)
        query = sql.SQL("SELECT {0}::text FROM {1} WHERE {0}::text = ANY (%s)").format(people.key, people.table)
        there = {person for (person,) in connection.execute(query, [wanted])}
        faults = [line for line in lines if line.person not in there]
        if not faults:
            return
        close = people.closest(connection, faults[0].person)
    cure = f"Did you mean {close}?" if close else "Seed the people first: seedtool seed local."
    column = bound.binding.person
    _raise(
        [_Fault(line.number, column, f"the table {people.name} has no row {line.person}", cure) for line in faults],
        _name(path, root),
    )


def _lines(path: Path, name: str, binding: FaceBinding, faults: list[_Fault]) -> Iterator[Line]:
    """Yield the lines that can be read, and note what is wrong with the others."""
    header = f"{binding.person},{PHOTO}"
    try:
        with path.open("rb") as file:
            reader = csv_text.Reader(file)
            columns = [column.strip() for column in reader.columns]
            _check_header(columns, binding, reader.line, header)
            for number, cells in reader:
                if not any(cell and cell.strip() for cell in cells):
                    continue  # spreadsheets write lines of separators alone
                values = dict(zip(columns, [cell or "" for cell in cells], strict=True))
                line = _line(number, values[binding.person].strip(), values[PHOTO], path.parent, binding, faults)
                if line is not None:
                    yield line
    except OSError as error:
        raise PhotoError(
            f"{name}: {error.strerror}", remedy=f"Name a csv with the header {header}.", file=name
        ) from error
    except Malformed as fault:
        if faults and fault.line is not None:
            faults.append(_Fault(fault.line, fault.column, fault.fault, fault.remedy))
            return
        raise fault.of(name) from fault


def _check_header(columns: Sequence[str], binding: FaceBinding, line: int, header: str) -> None:
    for column in (binding.person, PHOTO):
        if columns.count(column) != 1:
            raise Malformed(
                f"{'no' if column not in columns else 'more than one'} column {column}",
                line=line,
                remedy=f"Begin the file with the line {header}.",
            )


def _line(
    number: int, person: str, named: str, folder: Path, binding: FaceBinding, faults: list[_Fault]
) -> Line | None:
    """Return a line, or note its fault."""
    before = len(faults)
    try:
        external_id_of(binding.id_template, person, 1)
    except ValueError:
        cure = "A key may have letters, digits and _.-:, at most 240."
        faults.append(_Fault(number, binding.person, "this key cannot be in an ExternalImageId", cure))
    if not person:
        faults.append(_Fault(number, binding.person, "the cell is empty", "Whose photo is it?"))
    photo: Path | str = named if is_address(named) else folder / named.strip()
    fault = _fault_of(photo, named)
    if fault:
        faults.append(_Fault(number, PHOTO, *fault))
    return None if len(faults) > before else Line(number, person, photo)


def _fault_of(photo: Path | str, named: str) -> tuple[str, str] | None:
    """Return what is wrong with a photo, and the remedy."""
    if not named.strip():
        return "the cell is empty", "Name the photo's file."
    if isinstance(photo, str):
        fault = ("photos are not read from this kind of address", "Name a file, https:// or s3://bucket/key.")
        return None if readable(photo) else fault
    try:
        if not photo.exists():
            return "there is no such file", "Paths are relative to the manifest's own folder."
        if not photo.is_file():
            return "this is not a file", "Name each photo on a line of its own."
    except (OSError, ValueError):
        return "this cannot be a path", "Name the photo's file."
    return None if os.access(photo, os.R_OK) else ("the file cannot be read", "Give this user the right to read it.")


def _name(path: Path, root: Path) -> str:
    whole = path.resolve()
    return shown_path(whole, root.resolve()) if whole.is_relative_to(root.resolve()) else path.name


def _raise(faults: list[_Fault], name: str) -> None:
    """Raise the first fault of a manifest, if there is one, with the lines of the others."""
    if not faults:
        return
    first, *others = sorted(faults, key=lambda fault: fault.line)
    lines = list(dict.fromkeys(fault.line for fault in others if fault.line != first.line))
    more = f" (also wrong: line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:_LINES]))}" if lines else ""
    more += f" and {len(lines) - _LINES} more)" if len(lines) > _LINES else ")" if lines else ""
    cure = f"{first.remedy} Nothing was sent."
    raise FixtureError(first.message + more, file=name, line=first.line, column=first.column, remedy=cure)


class _Person(msgspec.Struct):
    """A person whose photos are being enrolled; `photos` are those that the rows name."""

    id: str
    lines: deque[Line]
    photos: list[Kept] = msgspec.field(default_factory=list)


class _Job(msgspec.Struct, frozen=True):
    """A line whose photo is in progress."""

    person: _Person
    line: Line


class _Indexed(msgspec.Struct, frozen=True):
    """A photo whose face is in the collection, and whose row is still to be written."""

    new: NewPhoto
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
    listener: Listener = SILENT,
) -> EnrollReport:
    """Add the photos of a manifest to its people; each photo fails by itself.

    Args:
        connection: to the target; what is pending on it is committed first, and each photo by itself.
        settings: the face binding and its collection.
        aws: the face service.
        store: where photos are kept.
        path: the manifest (see `read_manifest`).
        collection: a collection given on the command line.
        workers: photos in progress at one time.
        listener: hears the number of photos done.

    Raises:
        FixtureError: the manifest is wrong: file, line and column. Nothing was sent.
        SettingsError: nothing says in which collection a person's faces are, or it is another than the one given.
        SchemaError: the bound table lacks a column that a new row needs.
        CredentialsError: there are none, or they expired: the rest is not tried.
        AccessDenied: a permission is missing: the rest is not tried.
        AwsError: the collection could not be created or listed.
    """
    watch, uploads = aws.watched(), store.uploads
    binding, _ = bindings.chosen(settings, collection)[0]
    lines = read_manifest(path, settings.root, binding)
    connection.commit()
    bound = table_of(connection, settings, collection)
    bound.require("enroll --manifest", "person", "photo")
    bound.require_new_rows("enroll --manifest")
    check_people(connection, bound, lines, path, settings.root)
    with connection.transaction():
        collections = bindings.collections_of(connection, bound, list(dict.fromkeys(each.person for each in lines)))
    ids = tuple(dict.fromkeys(collections.values()))
    with alone(connection, bound.binding.table, listener):
        with translated(bound.binding.table), connection.transaction():
            see_every_row(connection)
            listed = copy_faces(connection, ids, aws)
            taken = _taken(connection, binding, collections)
        created = create(listed.missing, aws)
        enrollment = Enrollment(connection, bound, aws, store)
        run = _Run(enrollment, Addresses(settings, aws, store), collections, taken, path.name)
        interrupted = run.all(lines, workers, listener)
    results = tuple(result for _, result in sorted(run.results, key=lambda each: each[0]))
    return EnrollReport(
        **watch.facts,
        collection=named(ids),
        created=created,
        ok=not interrupted and all(result.face_id is not None for result in results),
        interrupted=interrupted,
        photos=results,
        failures=failures(results),
        seed_lines=seed_lines(bound, results),
        uploads=store.uploads - uploads,
    )


def _taken(
    connection: psycopg.Connection, binding: FaceBinding, collections: Mapping[str, str]
) -> dict[str, frozenset[str]]:
    """Return what the collections hold of their people: external image id → FaceIds."""
    pattern = person_pattern(binding.id_template)
    rows = connection.execute(_TAKEN, [list(collections), list(collections.values()), pattern]).fetchall()
    return {external: frozenset(faces) for external, faces in rows}


class _Run:
    """The photos of one run, some of them in progress."""

    def __init__(
        self,
        enrollment: Enrollment,
        addresses: Addresses,
        collections: Mapping[str, str],
        taken: dict[str, frozenset[str]],
        name: str,
    ) -> None:
        self._connection, self._bound, self._aws, self._store = enrollment
        self._addresses = addresses
        self._collections = collections
        self._taken = taken
        self._name = name
        self._waiting: deque[_Person] = deque()  # not locked so far
        self._ready: deque[_Person] = deque()  # locked, with no photo in progress
        self._ours: set[str] = set()
        self._finished: list[str] = []
        self.results: list[tuple[int, PhotoResult]] = []

    def all(self, lines: list[Line], workers: int, listener: Listener) -> bool:
        """Enroll them all; True when a signal ended it early. What is in progress is always finished."""
        by_person: dict[str, deque[Line]] = {}
        for line in lines:
            by_person.setdefault(line.person, deque()).append(line)
        self._waiting.extend(_Person(person, own) for person, own in by_person.items())

        def finish(done: list[tuple[_Job, Future[_Indexed | Kept]]]) -> SeedtoolError | None:
            stop = self._finish(done)
            listener.progress("photos", len(self.results), len(lines))
            return stop

        try:
            return run_jobs(self._take, self._index, finish, workers)
        finally:
            with translated(self._bound.binding.table):
                unlock(self._connection, [*self._ours, *self._finished])

    def _take(self, most: int) -> list[_Job] | None:
        """Return up to so many photos whose turn it is, each of another person; None when none is left."""
        if len(self._ready) < most and self._waiting:
            with translated(self._bound.binding.table):
                self._begin(most - len(self._ready))
        if not self._ready and not self._waiting and not self._ours:
            return None
        taken = [self._ready.popleft() for _ in range(min(most, len(self._ready)))]
        return [_Job(person, person.lines.popleft()) for person in taken]

    def _begin(self, most: int) -> None:
        """Lock further people, read what they have, and unlock those who are finished."""
        unlock(self._connection, self._finished)
        self._finished.clear()
        next_ones = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        got = try_lock(self._connection, [person.id for person in next_ones])
        self._ours |= got
        with translated(self._bound.binding.table), self._connection.transaction():
            see_every_row(self._connection)
            photos = photos_of(self._connection, self._bound, got)
        for person in next_ones:
            if person.id in got:
                person.photos = photos[person.id]
                self._ready.append(person)
            else:
                self._waiting.append(person)  # somebody else is enrolling this one: later

    def _index(self, job: _Job) -> _Indexed | Kept:
        """Bring one photo into store and collection, unless the person has it. Runs in a thread."""
        data = self._read(job.line.photo)
        person = job.person
        if is_jpeg(data):  # it would be kept as it is: no need to look into it
            same = twin(person.photos, self._store, data)
            if same is not None:
                return same
        photo = check(data, self._aws)
        same = twin(person.photos, self._store, photo.kept) if photo.kept is not data else None
        if same is not None:
            return same
        collection = self._aws.collection(self._collections[person.id])
        new = numbered_photo(
            self._bound.binding, person.id, person.photos, self._store, photo, self._taken, collection.id
        )
        known = self._taken.get(new.external_image_id, frozenset())
        attempt = Attempt(collection, self._store, new.key, new.external_image_id, known)
        try:
            attempt.upload(photo.kept)
            return _Indexed(new, attempt, attempt.index(self._store.location(new.key), lambda: photo.sent))
        except BaseException:
            # where an answer was lost, the next run finds the face: to look for it takes a listing of the collection
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

    def _finish(self, done: list[tuple[_Job, Future[_Indexed | Kept]]]) -> SeedtoolError | None:
        """Write and commit the rows of photos whose faces are there; returns an error that concerns all the others."""
        stop: SeedtoolError | None = None
        indexed = []
        for job, future in done:
            try:
                result = future.result()
            except SeedtoolError as error:
                stop = self._failed(job, error) or stop
                continue
            if isinstance(result, Kept):
                self._note(job, already(self._source(job), job.person.id, result))
            else:
                indexed.append((job, result))
        stop = write_rows(self._connection, indexed, self._write, self._failed) or stop
        for job, _ in done:  # the next photo of each may begin
            if job.person.lines:
                self._ready.append(job.person)
            else:
                self._ours.discard(job.person.id)
                self._finished.append(job.person.id)
        return stop

    def _write(self, indexed: Sequence[tuple[_Job, _Indexed]]) -> None:
        """Write and commit rows, all or none."""
        with translated(self._bound.binding.table), self._connection.transaction():
            insert(self._connection, self._bound, [(each.new, each.face) for _, each in indexed])
        for job, each in indexed:
            face_id = each.face.face.face_id
            job.person.photos.append(Kept(each.new.external_image_id, each.new.key, face_id))
            self._note(job, enrolled(self._source(job), each.new, each.face))

    def _failed(self, job: _Job, error: SeedtoolError) -> SeedtoolError | None:
        """Note a photo that was not enrolled; returns the error when it concerns every photo alike."""
        self._note(job, failure(self._source(job), error, person=job.person.id))
        return error if fatal(error, connected=not self._connection.closed) else None

    def _note(self, job: _Job, result: PhotoResult) -> None:
        self.results.append((job.line.number, result))

    def _source(self, job: _Job) -> str:
        """Return a photo's name in the report: its line of the manifest. Names of files often hold people's names."""
        return f"{self._name}:{job.line.number}"


_TAKEN = """
SELECT l.external_image_id, array_agg(DISTINCT l.face_id)
FROM pg_temp.seedtool_listed l
JOIN pg_temp.seedtool_collections k ON k.number = l.collection
JOIN unnest(%s::text[], %s::text[]) s (person, collection_id)
    ON s.collection_id = k.id AND s.person = substring(l.external_image_id FROM %s)
GROUP BY 1"""
