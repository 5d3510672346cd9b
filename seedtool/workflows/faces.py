"""Faces: linking rows to them, enrolling photos, recognising who is in one, looking after collections."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from seedtool.errors import ImageRefused, SeedtoolError
from seedtool.faces.port import FaceService
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.postgres.server import Target
from seedtool.settings import Settings
from seedtool.workflows.face_service import open_aws
from seedtool.workflows.project import project_settings

if TYPE_CHECKING:
    from seedtool.faces.dedupe import DedupeReport
    from seedtool.faces.enroll.photo import EnrollReport
    from seedtool.faces.recognize import RecognizeReport
    from seedtool.faces.status import StatusReport
    from seedtool.faces.sync import SyncReport


class _Opened(NamedTuple):
    """What the work on faces needs, once it was found and opened."""

    connection: psycopg.Connection
    settings: Settings
    aws: FaceService
    target: Target


@contextlib.contextmanager
def _opened(settings: Settings | None, target: Target | None, aws: FaceService | None) -> Iterator[_Opened]:
    """Find what was not given, and connect to the database."""
    settings = project_settings(settings)
    target = target or server.find(settings)
    service = aws or open_aws(settings)
    with server.connect(target) as connection:
        yield _Opened(connection, settings, service, target)


def sync(
    *,
    collection: str | None = None,
    dry_run: bool = False,
    strict: bool = False,
    settings: Settings | None = None,
    target: Target | None = None,
    aws: FaceService | None = None,
    listener: Listener = SILENT,
) -> "SyncReport":
    """Put the real FaceIds in the place of placeholders, by one pass over the collections.

    Args:
        collection: only this collection; all that the face bindings name when None.
        dry_run: report the same and change nothing.
        strict: the report is not ok while a row is not linked.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        aws: the face service; the one that the settings name when None.
        listener: hears which account and collections are read, where it is AWS.

    Raises:
        SettingsError: there is no face binding, or no collection.
        AwsError: a collection cannot be listed; no row was changed.
        DatabaseError: a statement failed; no row was changed.

    Example:
        >>> seedtool.sync(strict=True).unchanged
        64
    """
    from seedtool.faces.sync import sync as link

    with _opened(settings, target, aws) as (connection, settings, service, target):
        if not service.embedded:
            listener.note(f"{_rows_in(connection, settings, service, collection)}; {target}")
        return link(
            connection, settings, service, collection=collection, dry_run=dry_run, strict=strict, listener=listener
        )


def enroll(
    person: str,
    photos: Sequence[Path],
    *,
    collection: str | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
    aws: FaceService | None = None,
    listener: Listener = SILENT,
) -> "EnrollReport":
    """Upload a person's photos, index them under predictable ids, and write their rows.

    Args:
        person: the person's id.
        photos: files with one face each.
        collection: the collection; the person's when None.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        aws: the face service; the one that the settings name when None.
        listener: hears where the faces go, and of the photos that are done.

    Raises:
        SchemaError, SettingsError: the table of the face binding is not one that photos can be enrolled into.
        AwsError, PhotoError: the service or the photo store cannot be used; nothing half-done stays.

    Example:
        >>> from pathlib import Path
        >>> photo = Path("seeds/photos/students/student-001/photo-1.jpg")
        >>> [each.outcome for each in seedtool.enroll("student-001", [photo]).photos]
        ['already enrolled']
    """
    from seedtool.faces.enroll.person import enroll as enroll_photos
    from seedtool.faces.photos import store

    with _opened(settings, target, aws) as (connection, settings, service, target):
        listener.note(f"enrolling into {_destination(connection, settings, service, collection, [person])}; {target}")
        return enroll_photos(
            connection,
            settings,
            service,
            store(settings, service),
            person,
            photos,
            collection=collection,
            listener=listener,
        )


def enroll_manifest(
    manifest: Path,
    *,
    collection: str | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
    aws: FaceService | None = None,
    listener: Listener = SILENT,
) -> "EnrollReport":
    r"""Enroll the photos of many persons, as a csv says which photo is whose.

    Args:
        manifest: the csv.
        collection: the collection; each person's own when None.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        aws: the face service; the one that the settings name when None.
        listener: hears where the faces go, and of the photos that are done.

    Raises:
        FixtureError: the manifest cannot be read.
        SchemaError, SettingsError, AwsError, PhotoError: as `enroll`.

    Example:
        >>> from pathlib import Path
        >>> manifest = Path("photos.csv")
        >>> lines = "student_id,photo\nstudent-001,seeds/photos/students/student-001/photo-1.jpg\n"
        >>> _ = manifest.write_text(lines)
        >>> seedtool.enroll_manifest(manifest).ok
        True
    """
    from seedtool.faces.bindings import chosen
    from seedtool.faces.enroll.manifest import enroll_manifest as enroll_listed
    from seedtool.faces.enroll.manifest import read_manifest
    from seedtool.faces.photos import store

    with _opened(settings, target, aws) as (connection, settings, service, target):
        store_ = store(settings, service)
        try:
            binding, _ = chosen(settings, collection)[0]
            people = list(dict.fromkeys(line.person for line in read_manifest(manifest, settings.root, binding)))
        except SeedtoolError:
            people = []  # it is met again below, in its order
        listener.note(f"enrolling into {_destination(connection, settings, service, collection, people)}; {target}")
        return enroll_listed(
            connection,
            settings,
            service,
            store_,
            manifest,
            collection=collection,
            listener=listener,
        )


def enroll_all(
    *,
    replaced: bool = False,
    collection: str | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
    aws: FaceService | None = None,
    listener: Listener = SILENT,
) -> "EnrollReport":
    """Enroll every photo that a row names and the collections lack.

    Args:
        replaced: also photos that were replaced since they were indexed.
        collection: only this collection; each row's own when None.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        aws: the face service; the one that the settings name when None.
        listener: hears where the faces go, and of the photos that are done.

    Raises:
        SchemaError, SettingsError, AwsError, PhotoError: as `enroll`.

    Example:
        >>> done = seedtool.enroll_all()
        >>> done.uploads, done.unchanged
        (0, 64)
    """
    from seedtool.faces.enroll.rows import enroll_all as enroll_rows
    from seedtool.faces.photos import store

    with _opened(settings, target, aws) as (connection, settings, service, target):
        listener.note(f"enrolling into {_destination(connection, settings, service, collection, [])}; {target}")
        return enroll_rows(
            connection,
            settings,
            service,
            store(settings, service),
            collection=collection,
            replaced=replaced,
            listener=listener,
        )


def recognize(
    photo: Path,
    *,
    collection: str | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
    aws: FaceService | None = None,
    listener: Listener = SILENT,
) -> "RecognizeReport":
    """Tell who is in a photo, by the collection and the database.

    Args:
        photo: a JPEG or PNG.
        collection: the collection; that of the face binding when None.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        aws: the face service; the one that the settings name when None.
        listener: hears of the faces that are done.

    Raises:
        ImageRefused: the picture cannot be searched.
        AwsError: the service cannot be used; no temporary face stays.

    Example:
        >>> from pathlib import Path
        >>> done = seedtool.recognize(Path("seeds/photos/students/student-001/photo-1.jpg"))
        >>> [face.person for face in done.faces]
        ['student-001']
    """
    from seedtool.faces.recognize import recognize as look

    with _opened(settings, target, aws) as (connection, settings, service, _):
        try:
            return look(
                connection,
                settings,
                service,
                photo.read_bytes(),
                collection=collection,
                listener=listener,
            )
        except ImageRefused as error:
            raise ImageRefused(f"{photo}: {error.message}", remedy=error.remedy) from error


def faces_status(
    *,
    collection: str | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
    aws: FaceService | None = None,
    listener: Listener = SILENT,
) -> "StatusReport":
    """Tell how far rows, faces and photos have drifted apart, and what to run. Nothing is changed.

    Args:
        collection: only this collection; all that the face bindings name when None.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        aws: the face service; the one that the settings name when None.
        listener: hears of the faces that are done.

    Raises:
        SettingsError, SchemaError, AwsError: as `sync`.

    Example:
        >>> [(each.rows, each.linked) for each in seedtool.faces_status().collections]
        [(64, 64)]
    """
    from seedtool.faces.status import status

    with _opened(settings, target, aws) as (connection, settings, service, _):
        return status(connection, settings, service, collection=collection, listener=listener)


def dedupe_faces(
    *,
    collection: str | None = None,
    dry_run: bool = False,
    temporary: bool = False,
    settings: Settings | None = None,
    target: Target | None = None,
    aws: FaceService | None = None,
    listener: Listener = SILENT,
) -> "DedupeReport":
    """Delete the faces beside the one that a row is linked to, in collections that the settings name as owned.

    Args:
        collection: only this collection; all that the face bindings name when None.
        dry_run: say what would be deleted, and delete nothing.
        temporary: also the faces that attendance runs left behind; not while one runs.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        aws: the face service; the one that the settings name when None.
        listener: hears of the faces that are done.

    Raises:
        SettingsError, SchemaError, AwsError: as `sync`.

    Example:
        >>> seedtool.dedupe_faces(dry_run=True).found
        0
    """
    from seedtool.faces.dedupe import dedupe

    with _opened(settings, target, aws) as (connection, settings, service, _):
        return dedupe(
            connection,
            settings,
            service,
            collection=collection,
            dry_run=dry_run,
            temporary=temporary,
            listener=listener,
        )


def destination(
    *,
    collection: str | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
    aws: FaceService | None = None,
) -> str:
    """Return, in words, the account, the region and the collections that the rows are in.

    Args:
        collection: only this collection; all that the face bindings name when None.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        aws: the face service; the one that the settings name when None.

    Raises:
        CredentialsError: there are no credentials, or they are wrong or expired.
    """
    settings = project_settings(settings)
    service = aws or open_aws(settings)
    try:
        with _opened(settings, target, service) as (connection, _, _, _):
            return _rows_in(connection, settings, service, collection)
    except SeedtoolError:
        return service.who()  # the work itself meets it, too, and raises it


def _rows_in(connection: psycopg.Connection, settings: Settings, aws: FaceService, collection: str | None) -> str:
    """Return account, region and the collections that the rows of the face bindings are in, in words."""
    from seedtool.faces import bindings

    ids: set[str | None] = set()
    who = aws.who()
    try:
        with connection.transaction():
            for bound in bindings.bind(connection, settings, collection):
                ids |= set(bound.in_use(connection)) if bound.binding.by_row else {bound.collection}
    except SeedtoolError:
        return who  # the work itself meets it, too, and raises it
    return who + named_collections(ids)


def named_collections(ids: Iterable[str | None]) -> str:
    """Return collections as the end of a line that says where something goes."""
    from seedtool.faces.enroll.running import named

    known = {id_ for id_ in ids if id_ is not None}
    return f", collection{'s' * (len(known) > 1)} {named(known)}" if known else ""


def _destination(
    connection: psycopg.Connection,
    settings: Settings,
    aws: FaceService,
    collection: str | None,
    people: Sequence[str],
) -> str:
    """Return account, region and the collections that photos of these persons go to, in words; of all when empty."""
    from seedtool.faces import bindings
    from seedtool.faces.enroll.running import table_of

    who = aws.who()
    try:
        bound = table_of(connection, settings, collection)
        with connection.transaction():
            if not people:
                return who + named_collections(bindings.used(connection, bound))
            return who + named_collections(bindings.collections_of(connection, bound, list(people)).values())
    except SeedtoolError:
        return who  # the work itself meets it, too, and raises it in its order
