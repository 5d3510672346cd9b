"""Enroll: photos into the store, their faces into the collection, both ids into the rows.

`enroll` adds photos to one student; `enroll_all` indexes what the rows name and the collection lacks. A photo is
either enrolled whole or leaves nothing behind. What a killed process leaves is taken up by the next run: `enroll`
finds its own photo in the store under the number it was given, `enroll_all` links what is already in the
collection before it indexes the rest; and the same picture under the same id makes no second face.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from seedtool.errors import PhotoError, SeedtoolError, UsageError
from seedtool.faces import bindings, external_id
from seedtool.faces.bindings import Bound
from seedtool.faces.enroll.photo import (
    Attempt,
    EnrollReport,
    PhotoResult,
    already,
    check,
    check_table,
    enrolled,
    failure,
    failures,
    insert,
    next_number,
    photos_of,
    seed_lines,
    twin,
)
from seedtool.faces.enroll.running import table_of, wait_for_student
from seedtool.faces.interrupts import held
from seedtool.faces.photos import PhotoStore
from seedtool.faces.port import FaceCollection, FaceService
from seedtool.faces.sync import Progress
from seedtool.settings import Settings


def enroll(
    connection: psycopg.Connection,
    settings: Settings,
    aws: FaceService,
    store: PhotoStore,
    student_id: str,
    photos: Sequence[Path],
    *,
    collection: str | None = None,
    progress: Progress | None = None,
) -> EnrollReport:
    """Add photos to a student, each on its own: one that is refused does not stop the others.

    Args:
        connection: to the target; what is pending on it is committed first, and each photo by itself.
        settings: the face binding and its collection.
        aws: the AWS side.
        store: where photos are kept.
        student_id: the student's key.
        photos: files with one face each.
        collection: a collection given on the command line.
        progress: told the photos done, and how many there are.

    Raises:
        UsageError: there is no such student, or the id cannot be part of an external image id.
        SettingsError: nothing says in which collection the student's faces are, or it is another than the one given.
        SchemaError: the bound table lacks a column that a new row needs.
        AwsError: Rekognition could not be reached before the first photo.
    """
    watch, uploads = aws.watched(), store.uploads
    connection.commit()
    bound = table_of(connection, settings, collection)
    enrollment = _Student(connection, bound, store, student_id)
    enrollment.check()
    collection_id = enrollment.choose(aws)
    created = aws.collection(collection_id).ensure()
    enrollment.look_around()
    results: list[PhotoResult] = []
    interrupted = False
    for photo in photos:
        with held() as hold:
            results.append(enrollment.add(photo))
            interrupted = hold.take()
        if progress is not None:
            progress(len(results), len(photos))
        if interrupted:
            break
    return EnrollReport(
        **watch.facts,
        collection=collection_id,
        created=created,
        ok=not interrupted and all(result.face_id is not None for result in results),
        interrupted=interrupted,
        photos=tuple(results),
        failures=failures(results),
        seed_lines=seed_lines(results),
        uploads=store.uploads - uploads,
    )


class _Student:
    """The enrollment of photos for one student."""

    _collection: FaceCollection  # known once `choose` has looked

    def __init__(self, connection: psycopg.Connection, bound: Bound, store: PhotoStore, student_id: str) -> None:
        self._connection = connection
        self._bound = bound
        self._store = store
        self._id = student_id
        self._in_collection: dict[str, set[str]] = {}

    def check(self) -> None:
        """Check that the table fits and the student exists."""
        check_table(self._bound)
        try:
            external_id.for_photo(self._id, 1)
        except ValueError as error:
            raise UsageError(str(error), remedy="Give the student an id of these characters.") from error
        with bindings.database_errors(self._bound.binding.table), self._connection.transaction():
            self._lock_student()

    def choose(self, aws: FaceService) -> str:
        """Take the collection that is the student's, and return its id."""
        with self._connection.transaction():
            id_ = bindings.collections_of(self._connection, self._bound, [self._id])[self._id]
        self._bound = self._bound.narrowed(id_)
        self._collection = aws.collection(id_)
        return id_

    def look_around(self) -> None:
        """Note which of the student's external image ids the collection holds already."""
        prefix = external_id.for_photo(self._id, 1).removesuffix("1")
        for page in self._collection.list_pages():
            for face in page:
                if face.external_image_id is not None and face.external_image_id.startswith(prefix):
                    self._in_collection.setdefault(face.external_image_id, set()).add(face.face_id)

    def add(self, path: Path) -> PhotoResult:
        """Enroll one photo, or leave nothing of it behind."""
        attempt: Attempt | None = None
        sealed = False
        try:
            photo = check(_read(path))
            with bindings.database_errors(self._bound.binding.table), self._connection.transaction():
                self._lock_student()
                photos = photos_of(self._connection, self._bound, [self._id])[self._id]
                same = twin(photos, self._store, photo.kept)
                if same is not None:
                    return already(path.name, self._id, same)
                place = next_number(self._id, photos, self._store, photo, self._in_collection, self._collection.id)
                known = frozenset(self._in_collection.get(place.external_image_id, ()))
                attempt = Attempt(self._collection, self._store, place.key, place.external_image_id, known)
                attempt.upload(photo.kept)
                face = attempt.index(self._store.location(place.key), lambda: photo.sent)
                insert(self._connection, self._bound, [(place, face)])
                sealed = True
        except BaseException as error:
            # when the connection is lost at the commit the row may be there: a second run finds out
            if attempt is not None and not (sealed and isinstance(error.__cause__, psycopg.OperationalError)):
                attempt.undo()
            if isinstance(error, SeedtoolError):
                return failure(path.name, error, student_id=self._id)
            raise
        return enrolled(path.name, place, face)

    def _lock_student(self) -> None:
        """Take the student, so that two enrollments never choose the same number, and hold on to the row."""
        wait_for_student(self._connection, self._id)
        if self._bound.owner is None:
            return
        table, key = self._bound.owner
        # NO KEY: rows that refer to the student (attendance, say) can still be written meanwhile
        found = self._connection.execute(
            sql.SQL("SELECT 1 FROM {} WHERE {}::text = %s FOR NO KEY UPDATE").format(table, sql.Identifier(key)),
            [self._id],
        ).fetchone()
        if found is None:
            ids = self._connection.execute(
                sql.SQL("SELECT {0}::text FROM {1} ORDER BY left({0}::text, 3) <> left(%s, 3) LIMIT 5000").format(
                    sql.Identifier(key), table
                ),
                [self._id],
            ).fetchall()
            close = difflib.get_close_matches(self._id, [each for (each,) in ids], n=1)
            raise UsageError(
                f"there is no student {self._id}",
                remedy=f"Did you mean {close[0]}?" if close else "Seed the students first: seedtool seed local.",
            )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PhotoError(f"{path.name}: {error.strerror}", remedy="Give the path of a JPEG or PNG file.") from error
