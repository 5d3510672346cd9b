"""Enroll: photos into the store, their faces into the collection, both ids into the rows.

`enroll` adds photos to one student; `enroll_all` indexes what the rows name and the collection lacks. A photo is
either enrolled whole or leaves nothing behind. What a killed process leaves is taken up by the next run: `enroll`
finds its own photo in the store under the number it was given, `enroll_all` links what is already in the
collection before it indexes the rest; and the same picture under the same id makes no second face.
"""

import csv
import difflib
import io
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import PhotoError, SchemaError, SeedtoolError, UsageError
from seedtool.faces import bindings, external_id
from seedtool.faces.aws import Aws
from seedtool.faces.aws.answers import IndexedFace
from seedtool.faces.aws.collection import Collection
from seedtool.faces.bindings import Bound
from seedtool.faces.enroll.photo import Attempt, EnrollReport, Photo, PhotoResult, check, failure, quality_of
from seedtool.faces.interrupts import held
from seedtool.faces.photos import PhotoStore
from seedtool.faces.sync import Progress
from seedtool.settings import Settings


class _Kept(msgspec.Struct, frozen=True):
    """A photo that the student has already; no face id while its row is a placeholder."""

    external_image_id: str | None
    photo_url: str | None
    face_id: str | None


def enroll(
    connection: psycopg.Connection,
    settings: Settings,
    aws: Aws,
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
        SchemaError: the bound table lacks a column that a new row needs.
        AwsError: Rekognition could not be reached before the first photo.
    """
    started, before, uploads = time.monotonic(), Counter(aws.calls), store.uploads
    connection.commit()
    binding, collection_id = bindings.chosen(settings, collection)[0]
    with connection.transaction():
        bound = bindings.resolve(connection, binding)
    enrollment = _Student(connection, bound, aws.collection(collection_id), store, student_id)
    enrollment.check()
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
        mode=aws.mode,
        region=aws.region,
        collection=collection_id,
        created=created,
        ok=not interrupted and all(result.face_id is not None for result in results),
        interrupted=interrupted,
        photos=tuple(results),
        seed_lines=_seed_lines([result for result in results if result.outcome == "enrolled"]),
        uploads=store.uploads - uploads,
        calls=dict(Counter(aws.calls) - before),
        seconds=round(time.monotonic() - started, 3),
    )


class _Student:
    """The enrollment of photos for one student."""

    def __init__(
        self, connection: psycopg.Connection, bound: Bound, collection: Collection, store: PhotoStore, student_id: str
    ) -> None:
        self._connection = connection
        self._bound = bound
        self._collection = collection
        self._store = store
        self._id = student_id
        self._in_collection: dict[str, set[str]] = {}

    def check(self) -> None:
        """Check that the table fits and the student exists."""
        missing = [name for name in ("student_id", "photo_url") if name not in self._bound.columns]
        if missing:
            raise SchemaError(
                f"the table {self._bound.binding.table} has no column {missing[0]}",
                remedy="enroll writes student_id and photo_url: bind the table that has them, or run seedtool migrate.",
            )
        try:
            external_id.for_photo(self._id, 1)
        except ValueError as error:
            raise UsageError(str(error), remedy="Give the student an id of these characters.") from error
        with bindings.database_errors(self._bound.binding.table), self._connection.transaction():
            self._lock_student()

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
                rows = self._rows()
                twin = self._twin(rows, photo)
                if twin is not None:
                    return _already(path.name, self._id, twin)
                number = self._number(rows, photo)
                external = external_id.for_photo(self._id, number)
                key = photo_key(self._id, number)
                known = frozenset(self._in_collection.get(external, ()))
                attempt = Attempt(self._collection, self._store, key, external, known)
                attempt.upload(photo.kept)
                face = attempt.index(photo.sent)
                self._insert(number, external, key, face)
                sealed = True
        except BaseException as error:
            # when the connection is lost at the commit the row may be there: a second run finds out
            if attempt is not None and not (sealed and isinstance(error.__cause__, psycopg.OperationalError)):
                attempt.undo()
            if isinstance(error, SeedtoolError):
                return failure(path.name, error, student_id=self._id)
            raise
        return PhotoResult(
            source=path.name,
            outcome="enrolled",
            student_id=self._id,
            external_image_id=external,
            photo_url=key,
            face_id=face.face.face_id,
            quality=quality_of(face),
        )

    def _lock_student(self) -> None:
        """Take the student's row, so that two enrollments never choose the same number."""
        if self._bound.owner is None:
            self._connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"seedtool.enroll:{self._id}"]
            )
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

    def _rows(self) -> list[_Kept]:
        """Return the photos that the student has."""
        rows = self._connection.execute(
            sql.SQL(
                "SELECT external_image_id, photo_url, face_id FROM {} r WHERE key IN "
                "(SELECT {} FROM {} t WHERE student_id::text = %s)"
            ).format(self._bound.rows, self._bound.key, self._bound.table),
            [self._id],
        )
        return [_Kept(*row) for row in rows]

    def _twin(self, rows: list[_Kept], photo: Photo) -> _Kept | None:
        """Return the row that has this very photo already."""
        return next(
            (row for row in rows if row.photo_url is not None and self._store.get(row.photo_url) == photo.kept), None
        )

    def _number(self, rows: list[_Kept], photo: Photo) -> int:
        """Return the photo's number: one past the rows', and under which neither store nor collection holds another.

        After a reset store and collection still hold what was enrolled and never seeded. Its numbers are not
        given out again, unless the very same photo is enrolled again: then it gets its number back.
        """
        used = [
            int(found[1])
            for row in rows
            for text in (row.external_image_id, row.photo_url)
            if text is not None and (found := re.search(r"photo-(\d{1,9})(?:\.\w+)?$", text))
        ]
        number = max(used, default=0) + 1
        while True:
            kept = self._store.get(photo_key(self._id, number))
            if kept == photo.kept:
                return number
            if kept is None and external_id.for_photo(self._id, number) not in self._in_collection:
                return number
            number += 1

    def _insert(self, number: int, external: str, key: str, face: IndexedFace) -> None:
        binding = self._bound.binding
        values: dict[str, object] = {
            "student_id": self._id,
            "photo_url": key,
            binding.external_image_id: external,
            binding.face_id: face.face.face_id,
            "quality_score": quality_of(face),
        }
        if len(binding.key) == 1 and self._bound.columns[binding.key[0]] == "text":
            values[binding.key[0]] = row_key(self._id, number)
        there = {name: value for name, value in values.items() if name in self._bound.columns}
        columns = [sql.Identifier(name) for name in there]
        fields = [sql.Placeholder()] * len(there)
        if "indexed_at" in self._bound.columns:
            columns.append(sql.Identifier("indexed_at"))
            fields_sql = sql.SQL(", ").join([*fields, sql.SQL("now()")])
        else:
            fields_sql = sql.SQL(", ").join(fields)
        self._connection.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                self._bound.table, sql.SQL(", ").join(columns), fields_sql
            ),
            list(there.values()),
        )


def photo_key(student_id: str, number: int) -> str:
    """Return where a student's photo is kept in the store."""
    return f"students/{student_id}/photo-{number}.jpg"


def row_key(student_id: str, number: int) -> str:
    """Return the key of the row of a student's photo, as the seeds write it."""
    return f"face-{student_id}-{number}"


def _already(source: str, student_id: str, twin: _Kept) -> PhotoResult:
    """Return the result of a photo that the student has already."""
    return PhotoResult(
        source=source,
        outcome="already enrolled",
        student_id=student_id,
        external_image_id=twin.external_image_id,
        photo_url=twin.photo_url,
        face_id=twin.face_id,
        reason="" if twin.face_id else "its row is not linked to its face",
        remedy="" if twin.face_id else "Run seedtool sync-faces, or seedtool enroll --all.",
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PhotoError(f"{path.name}: {error.strerror}", remedy="Give the path of a JPEG or PNG file.") from error


def _seed_lines(results: list[PhotoResult]) -> tuple[str, ...]:
    if not results:
        return ()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "student_id", "external_image_id", "photo_url"])
    for result in results:
        number = int(str(result.external_image_id).rsplit("-", 1)[1])
        writer.writerow(
            [row_key(str(result.student_id), number), result.student_id, result.external_image_id, result.photo_url]
        )
    return tuple(text.getvalue().splitlines())
