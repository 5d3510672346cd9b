"""Dedupe: one face for each photo that a row names.

A photo that was enrolled twice leaves several faces under one external image id. Rekognition does not say when a face
was indexed, so the oldest cannot be kept. The face that the row is linked to is kept. Where the row is linked to none
of them, it is the one that a sync would give it: the highest confidence, ties by FaceId. The others are deleted, but
only:

- in collections that the settings name as this project's own;
- when no row points at them, in a bound column or in one that the setting `face_references` names.

Faces under ids that no row has are left alone, for they may be another database's. So are the faces of photos that show
several people. Nothing is written to the database: a run that is killed has deleted some of the faces, and the next run
deletes the rest.
"""

from collections.abc import Sequence
from contextlib import ExitStack

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import SettingsError
from seedtool.faces import bindings
from seedtool.faces.bindings import Bound, Reference
from seedtool.faces.enroll.running import alone
from seedtool.faces.external_id import TEMPORARY_PREFIX
from seedtool.faces.interrupts import held
from seedtool.faces.linking import EXAMPLES, Tally, link_all
from seedtool.faces.port import FaceCollection, FaceReport, FaceService
from seedtool.listener import SILENT, Listener
from seedtool.postgres.copying import see_every_row
from seedtool.postgres.psycopg_errors import translated
from seedtool.settings import Settings

#: Faces deleted under one lock on the tables; about a quarter of a second.
BATCH = 1000


class Deduped(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in one collection, and what was done about it.

    Args:
        collection: its id.
        owned: the settings name it as this project's own.
        duplicates: faces beside the one that is kept: external image id, FaceId.
        in_use: further ones, which stay because a row points at them.
        temporary: faces that an attendance run left behind; looked for when asked to.
        deleted: how many of both were deleted.
        spared: how many a row began to point at meanwhile.
        failed: FaceId → why the service did not delete it.
    """

    collection: str
    owned: bool
    duplicates: Tally
    in_use: Tally
    temporary: Tally
    deleted: int = 0
    spared: int = 0
    failed: dict[str, str] = {}


class DedupeReport(FaceReport, frozen=True, kw_only=True):
    """What was deleted, or would be.

    Args:
        dry_run: nothing was deleted.
        ok: nothing failed, and nobody interrupted.
        interrupted: Ctrl+C; the rest is left to the next run.
        collections: one each.
    """

    dry_run: bool
    ok: bool
    interrupted: bool
    collections: tuple[Deduped, ...]

    @property
    def found(self) -> int:
        """How many faces there are to delete."""
        return sum(each.duplicates.count + each.temporary.count for each in self.collections)


class _Extra(msgspec.Struct):
    """The faces of a collection to delete, and those in use, as `external image id FaceId`."""

    duplicates: list[str] = msgspec.field(default_factory=list)
    in_use: list[str] = msgspec.field(default_factory=list)
    temporary: list[str] = msgspec.field(default_factory=list)

    @property
    def face_ids(self) -> list[str]:
        return [each.rsplit(" ", 1)[1] for each in (*self.duplicates, *self.temporary)]


def dedupe(
    connection: psycopg.Connection,
    settings: Settings,
    aws: FaceService,
    *,
    collection: str | None = None,
    dry_run: bool = False,
    temporary: bool = False,
    listener: Listener = SILENT,
) -> DedupeReport:
    """Delete the duplicates of faces that rows are linked to.

    Args:
        connection: to the target; what is pending on it is committed first. Nothing is written.
        settings: the face bindings, and the collections that may be cleaned (`owned_collections`).
        aws: the face service.
        collection: a collection given on the command line.
        dry_run: report the same and delete nothing.
        temporary: the faces that attendance runs left behind as well. Not while attendance is being taken: its faces
            look the same.
        listener: hears the number of faces deleted.

    Raises:
        SettingsError: a collection is not named as owned; nothing was deleted anywhere.
        ResourceNotFound: there is no such collection.
        AwsError: a collection could not be listed.
        DatabaseError: something holds a lock on the table.
    """
    watch = aws.watched()
    connection.commit()
    done: list[Deduped] = []
    interrupted = False
    with connection.transaction():
        bounds = [bound for bound in bindings.bind(connection, settings, collection) if bound.binding.box is None]
        every = [
            Reference(bound.table, bound.face_id)
            for binding in settings.faces
            for bound in [bindings.resolve(connection, binding, default=settings.collection)]
        ] + bindings.references(connection, settings)
        used = [id_ for bound in bounds for id_ in (bound.collections(connection) or {bound.collection: 0})]
    if not dry_run:
        _refuse_foreign(settings, sorted({id_ for id_ in used if id_ is not None}))
    with ExitStack() as stack:
        for table in sorted({bound.binding.table for bound in bounds}):
            stack.enter_context(alone(connection, table, listener))
        for collection_id, extra in _look(connection, bounds, every, aws, temporary=temporary).items():
            report = Deduped(
                collection=collection_id,
                owned=collection_id in settings.owned_collections,
                duplicates=Tally(len(extra.duplicates), tuple(extra.duplicates[:EXAMPLES])),
                in_use=Tally(len(extra.in_use), tuple(extra.in_use[:EXAMPLES])),
                temporary=Tally(len(extra.temporary), tuple(extra.temporary[:EXAMPLES])),
            )
            if not dry_run and extra.face_ids and not interrupted:
                gateway = aws.collection(collection_id)
                report, interrupted = _delete(connection, every, gateway, extra.face_ids, report, listener)
            done.append(report)
    return DedupeReport(
        **watch.facts,
        dry_run=dry_run,
        ok=not interrupted and not any(each.failed for each in done),
        interrupted=interrupted,
        collections=tuple(done),
    )


def _refuse_foreign(settings: Settings, collections: Sequence[str]) -> None:
    foreign = [each for each in collections if each not in settings.owned_collections]
    if foreign:
        shown = ", ".join(foreign[:5]) + (f" and {len(foreign) - 5} more" if len(foreign) > 5 else "")
        raise SettingsError(
            f"setting owned_collections: does not name {shown}, so no face of it is deleted",
            remedy="If nobody else's faces are in there, write "
            f'owned_collections = ["{foreign[0]}"] into [tool.seedtool] of pyproject.toml.',
            setting="owned_collections",
        )


def _look(
    connection: psycopg.Connection,
    bounds: Sequence[Bound],
    every: Sequence[Reference],
    aws: FaceService,
    *,
    temporary: bool,
) -> dict[str, _Extra]:
    """Return the faces to delete, by collection. What a sync changes for this is rolled back."""
    found: dict[str, _Extra] = {}
    if not bounds:
        return found
    with connection.transaction(force_rollback=True):
        reports = link_all(connection, bounds, aws)
        found = {report.collection: _Extra() for report in reports if report.collection and report.exists}
        with translated(", ".join(bound.binding.table for bound in bounds)):
            connection.execute(sql.SQL(_POINTED).format(pointed=_pointed(every)))
            for bound in bounds:
                rows = connection.execute(sql.SQL(_DUPLICATES).format(rows=bound.rows)).fetchall()
                for collection_id, face, in_use in rows:
                    (found[collection_id].in_use if in_use else found[collection_id].duplicates).append(face)
            if temporary:
                rows = connection.execute(
                    sql.SQL(_TEMPORARY).format(temporary=sql.Literal(TEMPORARY_PREFIX))
                ).fetchall()
                for collection_id, face in rows:
                    found[collection_id].temporary.append(face)
    return found


def _pointed(every: Sequence[Reference]) -> sql.Composed:
    """Return a query of all FaceIds that any row holds, also rows that the bindings leave out."""
    return sql.SQL(" UNION ALL ").join(
        sql.SQL('SELECT t.{}::text COLLATE "C" AS face_id FROM {} t').format(each.column, each.table) for each in every
    )


def _delete(
    connection: psycopg.Connection,
    every: Sequence[Reference],
    gateway: FaceCollection,
    face_ids: list[str],
    report: Deduped,
    listener: Listener,
) -> tuple[Deduped, bool]:
    """Delete faces, batch by batch; True when a signal ended it early."""
    deleted, spared, interrupted = 0, 0, False
    failed: dict[str, str] = {}
    for start in range(0, len(face_ids), BATCH):
        batch = face_ids[start : start + BATCH]
        with held() as hold, translated(report.collection), connection.transaction():
            # whoever links a row has to wait: no row may begin to point at one of these before it is deleted
            connection.execute("SET LOCAL lock_timeout = '10s'")
            see_every_row(connection)
            for each in every:
                connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(each.table))
            query = sql.SQL("SELECT face_id FROM ({}) p WHERE face_id = ANY (%s)").format(_pointed(every))
            pointed = {face_id for (face_id,) in connection.execute(query, [batch])}
            answer = gateway.delete_faces([face_id for face_id in batch if face_id not in pointed])
            interrupted = hold.take()
        deleted += len(answer.deleted)
        spared += len(pointed)
        failed.update(answer.failed)
        listener.progress("faces", min(start + BATCH, len(face_ids)), len(face_ids))
        if interrupted:
            break
    return msgspec.structs.replace(report, deleted=deleted, spared=spared, failed=failed), interrupted


_POINTED = """
CREATE TEMPORARY TABLE seedtool_pointed ON COMMIT DROP AS SELECT face_id FROM ({pointed}) p WHERE face_id IS NOT NULL"""

# The sync before this has given each row its face. A row whose id others share says nothing of whose the faces are.
_DUPLICATES = """
SELECT DISTINCT k.id, l.external_image_id || ' ' || l.face_id AS face,
    EXISTS (SELECT FROM pg_temp.seedtool_pointed p WHERE p.face_id = l.face_id)
FROM (SELECT o.*, count(*) OVER (PARTITION BY o.collection_id, o.external_image_id) AS sharing FROM {rows} o) r
JOIN pg_temp.seedtool_collections k ON k.id = r.collection_id
JOIN pg_temp.seedtool_listed l
    ON l.collection = k.number AND l.external_image_id = r.external_image_id AND l.face_id <> r.face_id
JOIN pg_temp.seedtool_listed own
    ON own.collection = k.number AND own.external_image_id = r.external_image_id AND own.face_id = r.face_id
WHERE r.sharing = 1
ORDER BY 1, 2"""

_TEMPORARY = """
SELECT DISTINCT k.id, l.external_image_id || ' ' || l.face_id AS face
FROM pg_temp.seedtool_listed l JOIN pg_temp.seedtool_collections k ON k.number = l.collection
WHERE starts_with(l.external_image_id, {temporary})
    AND NOT EXISTS (SELECT FROM pg_temp.seedtool_pointed p WHERE p.face_id = l.face_id)
ORDER BY 1, 2"""
