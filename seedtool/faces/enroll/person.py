"""Enroll the photos of one person: into the store, their faces into the collection, both ids into new rows.

A photo is enrolled whole, or nothing of it stays. The next run takes up what a killed process leaves: it finds its own
photo in the store under the number that the photo was given, and the same picture under the same id makes no second
face.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from seedtool.errors import PhotoError, SeedtoolError, UsageError
from seedtool.faces import bindings
from seedtool.faces.enroll.photo import (
    Attempt,
    EnrollReport,
    PhotoResult,
    already,
    check,
    enrolled,
    failure,
    failures,
    insert,
    numbered_photo,
    photos_of,
    seed_lines,
    twin,
)
from seedtool.faces.enroll.running import Enrollment, table_of, wait_for
from seedtool.faces.external_id import external_id_of, person_pattern
from seedtool.faces.interrupts import held
from seedtool.faces.photos import PhotoStore
from seedtool.faces.port import FaceCollection, FaceService
from seedtool.listener import SILENT, Listener
from seedtool.postgres.copying import see_every_row
from seedtool.postgres.psycopg_errors import translated
from seedtool.settings import Settings


def enroll(
    connection: psycopg.Connection,
    settings: Settings,
    aws: FaceService,
    store: PhotoStore,
    person: str,
    photos: Sequence[Path],
    *,
    collection: str | None = None,
    listener: Listener = SILENT,
) -> EnrollReport:
    """Add photos to a person, each on its own: one that is refused does not stop the others.

    Args:
        connection: to the target; what is pending on it is committed first, and each photo by itself.
        settings: the face binding and its collection.
        aws: the face service.
        store: where photos are kept.
        person: the person's key.
        photos: files with one face each.
        collection: a collection given on the command line.
        listener: hears the number of photos done.

    Raises:
        UsageError: there is no such person, or the key cannot be part of an external image id.
        SettingsError: nothing says in which collection the person's faces are, or it is another than the one given.
        SchemaError: the bound table lacks a column that a new row needs.
        AwsError: the service could not be reached before the first photo.
    """
    watch, uploads = aws.watched(), store.uploads
    connection.commit()
    bound = table_of(connection, settings, collection)
    run = _Run(Enrollment(connection, bound, aws, store), person, listener)
    run.check()
    collection_id = run.choose()
    created = aws.collection(collection_id).ensure()
    run.look_around()
    results: list[PhotoResult] = []
    interrupted = False
    for photo in photos:
        with held() as hold:
            results.append(run.add(photo))
            interrupted = hold.take()
        listener.progress("photos", len(results), len(photos))
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
        seed_lines=seed_lines(bound, results),
        uploads=store.uploads - uploads,
    )


class _Run:
    """The enrollment of photos for one person."""

    _collection: FaceCollection  # known once `choose` has looked

    def __init__(self, enrollment: Enrollment, person: str, listener: Listener) -> None:
        self._connection, self._bound, self._aws, self._store = enrollment
        self._person = person
        self._listener = listener
        self._in_collection: dict[str, set[str]] = {}

    def check(self) -> None:
        """Check that the table fits and the person exists."""
        self._bound.require("enroll", "person", "photo")
        self._bound.require_new_rows("enroll")
        try:
            external_id_of(self._bound.binding.id_template, self._person, 1)
        except ValueError as error:
            raise UsageError(str(error), remedy="Give the person a key of these characters.") from error
        with translated(self._bound.binding.table), self._connection.transaction():
            self._lock_person()

    def choose(self) -> str:
        """Take the collection that is the person's, and return its id."""
        with self._connection.transaction():
            id_ = bindings.collections_of(self._connection, self._bound, [self._person])[self._person]
        self._bound = self._bound.narrowed(id_)
        self._collection = self._aws.collection(id_)
        return id_

    def look_around(self) -> None:
        """Note which of the person's external image ids the collection holds already."""
        pattern = re.compile(person_pattern(self._bound.binding.id_template))
        for page in self._collection.list_pages():
            for face in page:
                found = pattern.search(face.external_image_id or "")
                if found and found[1] == self._person:
                    self._in_collection.setdefault(found[0], set()).add(face.face_id)

    def add(self, path: Path) -> PhotoResult:
        """Enroll one photo, or leave nothing of it behind."""
        binding = self._bound.binding
        attempt: Attempt | None = None
        written = False
        try:
            photo = check(_read(path), self._aws)
            with translated(binding.table), self._connection.transaction():
                self._lock_person()
                photos = photos_of(self._connection, self._bound, [self._person])[self._person]
                same = twin(photos, self._store, photo.kept)
                if same is not None:
                    return already(path.name, self._person, same)
                new = numbered_photo(
                    binding, self._person, photos, self._store, photo, self._in_collection, self._collection.id
                )
                known = frozenset(self._in_collection.get(new.external_image_id, ()))
                attempt = Attempt(self._collection, self._store, new.key, new.external_image_id, known)
                attempt.upload(photo.kept)
                face = attempt.index(self._store.location(new.key), lambda: photo.sent)
                insert(self._connection, self._bound, [(new, face)])
                written = True
        except BaseException as error:
            # when the connection is lost at the commit the row may be there: a second run finds out
            if attempt is not None and not (written and isinstance(error.__cause__, psycopg.OperationalError)):
                attempt.undo()
            if isinstance(error, SeedtoolError):
                return failure(path.name, error, person=self._person)
            raise
        return enrolled(path.name, new, face)

    def _lock_person(self) -> None:
        """Lock the person, so that two enrollments never choose the same number, and the person's row."""
        wait_for(self._connection, self._person, self._listener)
        see_every_row(self._connection)
        people = self._bound.people
        if people is None:
            return
        # NO KEY: rows that refer to the person (attendance, say) can still be written meanwhile
        query = sql.SQL("SELECT 1 FROM {} WHERE {}::text = %s FOR NO KEY UPDATE").format(people.table, people.key)
        if self._connection.execute(query, [self._person]).fetchone() is None:
            close = people.closest(self._connection, self._person)
            raise UsageError(
                f"the table {people.name} has no row {self._person}",
                remedy=f"Did you mean {close}?" if close else "Seed the people first: seedtool seed local.",
                table=people.name,
            )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PhotoError(
            f"{path.name}: {error.strerror}", remedy="Give the path of a JPEG or PNG file.", file=path.name
        ) from error
