"""How far the database, the collections and the photo store have drifted apart, and what to run. Changes nothing.

It reports what a sync would do and what it would leave over, a table for each collection. It writes and locks no row.
Only photos of rows that are linked are compared with the store.
"""

from collections.abc import Sequence

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import ResourceNotFound, SeedtoolError, SettingsError
from seedtool.faces import bindings
from seedtool.faces.bindings import Bound
from seedtool.faces.enroll.replaced import replaced_photos
from seedtool.faces.external_id import TEMPORARY_PREFIX, person_pattern
from seedtool.faces.linking import EXAMPLES, BindingReport, Tally, link_all
from seedtool.faces.photos import PhotoStore, store
from seedtool.faces.port import FaceReport, FaceService
from seedtool.listener import SILENT, Listener
from seedtool.postgres.psycopg_errors import translated
from seedtool.settings import Settings


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of drift.

    Args:
        what: which.
        count: how many rows or faces.
        examples: the first few: keys of rows, or external image ids and FaceIds.
        run: what to run, or why there is nothing to run.
        ours: this database needs the repair; False where the faces may be another database's.
    """

    what: str
    count: int
    examples: tuple[str, ...] = ()
    run: str = ""
    ours: bool = True


class CollectionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A collection and the tables whose faces are in it.

    Args:
        collection: its id; None for rows that are in none.
        exists: there is such a collection in this account and region.
        tables: the tables.
        rows: their rows.
        faces: the collection's faces.
        linked: rows that hold the FaceId which the collection has under their external image id.
        findings: what is not as it should be; those with a count above 0.
    """

    collection: str | None
    exists: bool
    tables: tuple[str, ...]
    rows: int
    faces: int
    linked: int
    findings: tuple[Finding, ...]


class StatusReport(FaceReport, frozen=True, kw_only=True):
    """Drift, by collection.

    Args:
        ok: nothing of this database needs a repair.
        photos: `checked`, or why the photo store was not looked at.
        collections: one each.
    """

    ok: bool
    photos: str
    collections: tuple[CollectionStatus, ...]


def status(
    connection: psycopg.Connection,
    settings: Settings,
    aws: FaceService,
    *,
    collection: str | None = None,
    photos: PhotoStore | None = None,
    listener: Listener = SILENT,
) -> StatusReport:
    """Compare rows, faces and photos.

    Args:
        connection: to the target; only read, but for temporary tables.
        settings: its face bindings and collections.
        aws: the AWS side.
        collection: look at this collection alone.
        photos: the photo store; the settings' when None.
        listener: hears the number of faces listed.

    Raises:
        SettingsError: no binding, or no collection.
        SchemaError: a bound table or column does not exist.
        AwsError: a collection could not be listed.
    """
    watch = aws.watched()
    photo_store, checked = (photos, "checked") if photos is not None else _store(settings, aws)
    with connection.transaction(force_rollback=True):
        bounds = bindings.bind(connection, settings, collection)
        try:
            with connection.transaction():
                reports = link_all(connection, bounds, aws, write=False, listener=listener)
                strays = _strays(connection, bounds)
        except ResourceNotFound:
            reports, strays = _none_exists(connection, bounds), {}
        replaced: dict[str | None, list[str]] = {}
        if photo_store is not None:
            try:
                replaced = _replaced(connection, bounds, photo_store, settings)
            except SeedtoolError as error:
                checked = error.message
    by_collection: dict[str | None, list[BindingReport]] = {}
    for report in reports:
        by_collection.setdefault(report.collection, []).append(report)
    found = tuple(
        _status_of(aws, id_, own, strays.get(id_, {}), replaced.get(id_, [])) for id_, own in by_collection.items()
    )
    return StatusReport(
        **watch.facts,
        ok=not any(finding.ours for each in found for finding in each.findings),
        photos=checked,
        collections=found,
    )


def _store(settings: Settings, aws: FaceService) -> tuple[PhotoStore | None, str]:
    try:
        return store(settings, aws), "checked"
    except SettingsError as error:
        return None, error.message


def _none_exists(connection: psycopg.Connection, bounds: Sequence[Bound]) -> tuple[BindingReport, ...]:
    """Return the reports of the case that none of the collections exists."""
    return tuple(
        BindingReport(table=bound.binding.table, collection=id_, exists=False, rows=rows, faces=0)
        for bound in bounds
        for id_, rows in (bound.collections(connection) or {bound.collection: 0}).items()
        if rows or id_ is not None
    )


def _strays(connection: psycopg.Connection, bounds: Sequence[Bound]) -> dict[str | None, dict[str, Tally]]:
    """Return the faces that no row of any table points at, by collection and kind."""
    known = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT collection_id, external_image_id, face_id FROM {} r").format(bound.rows) for bound in bounds
    )
    strangers = [
        sql.SQL(_STRANGER).format(
            table=bound.people.table, key=bound.people.key, pattern=person_pattern(bound.binding.id_template)
        )
        for bound in bounds
        if bound.people is not None
    ]
    # whose id names a person that no table of people has
    stranger = sql.SQL(" AND ").join(strangers) if strangers else sql.SQL("false")
    with translated(", ".join(bound.binding.table for bound in bounds)):
        connection.execute(
            sql.SQL(_STRAY).format(known=known, stranger=stranger, temporary=sql.Literal(TEMPORARY_PREFIX))
        )
        found: dict[str | None, dict[str, Tally]] = {}
        for id_, kind, count, examples in connection.execute(_TALLY, [EXAMPLES]):
            found.setdefault(id_, {})[kind] = Tally(count, tuple(examples))
    return found


def _replaced(
    connection: psycopg.Connection, bounds: Sequence[Bound], photos: PhotoStore, settings: Settings
) -> dict[str | None, list[str]]:
    """Return the keys of rows whose photo was replaced, by collection."""
    found: dict[str | None, list[str]] = {}
    for bound in bounds:
        keys = replaced_photos(connection, bound, photos, settings.seeds / "photos")
        query = sql.SQL("SELECT collection_id, key FROM {} r WHERE key = ANY (%s) ORDER BY key").format(bound.rows)
        for id_, key in connection.execute(query, [list(keys)]):
            found.setdefault(id_, []).append(key)
    return found


def _status_of(
    aws: FaceService,
    collection_id: str | None,
    reports: Sequence[BindingReport],
    strays: dict[str, Tally],
    replaced: Sequence[str],
) -> CollectionStatus:
    """Return a collection's status.

    Args:
        aws: the face service.
        collection_id: its id; None for rows that are in none.
        reports: what a sync of each of its tables would do.
        strays: its faces that no row of any table knows, by kind.
        replaced: keys of rows whose photo was replaced.
    """
    findings = [finding for report in reports for finding in _of_rows(report)]
    exists = all(report.exists for report in reports)
    if collection_id is None:
        findings = [Finding(what="rows that are in no collection", count=sum(r.rows for r in reports), run=_NOWHERE)]
    elif not exists:
        findings = [Finding(what="the collection does not exist", count=1, examples=(collection_id,), run=_ABSENT)]
    else:
        findings += _of_faces(aws, strays, collection_id)
    what = "photos that were replaced after they were indexed"
    findings.append(Finding(what=what, count=len(replaced), examples=tuple(replaced[:EXAMPLES]), run=_REPLACED))
    return CollectionStatus(
        collection=collection_id,
        exists=exists,
        tables=tuple(report.table for report in reports),
        rows=sum(report.rows for report in reports),
        faces=max(report.faces for report in reports),
        linked=sum(report.unchanged for report in reports),
        findings=tuple(finding for finding in findings if finding.count),
    )


def _of_rows(report: BindingReport) -> list[Finding]:
    """Return the drift of a table's rows."""
    findings = [
        Finding(
            what="rows that a sync would link", count=report.synced + report.relinked, run="Run seedtool sync-faces."
        ),
        _finding("rows that point at another row's face", report.misassigned, "Run seedtool sync-faces."),
    ]
    for why, count in report.placeholders.items():
        rows = tuple(each.row for each in report.unlinked if each.why == why)
        findings.append(Finding(what=f"placeholders: {why}", count=count, examples=rows, run=_PLACEHOLDERS[why]))
    return [
        *findings,
        _finding("rows whose face is not in the collection", report.missing, _MISSING),
        _finding("rows whose face is there under another id or none", report.elsewhere, _ELSEWHERE),
        _finding("further faces under a linked id (duplicates)", report.duplicates, _DUPLICATES),
    ]


def _of_faces(aws: FaceService, strays: dict[str, Tally], collection_id: str) -> list[Finding]:
    """Return the drift of a collection's faces: those that no row of any of its tables knows."""
    strangers = strays.get("stranger", Tally())
    delete = aws.how_to_delete(collection_id, [example.rsplit(" ", 1)[-1] for example in strangers.examples])
    return [
        _finding(
            "faces of people that this database does not have",
            strangers,
            f"Another database may have them. If they were deleted: {delete}",
            ours=False,
        ),
        _finding("faces that this database does not know", strays.get("orphan", Tally()), _ORPHANS, ours=False),
        _finding("faces indexed without an external image id", strays.get("unnamed", Tally()), _UNNAMED, ours=False),
        _finding("temporary faces that an attendance run left behind", strays.get("temporary", Tally()), _TEMPORARY),
    ]


def _finding(what: str, tally: Tally, run: str, *, ours: bool = True) -> Finding:
    return Finding(what=what, count=tally.count, examples=tally.examples, run=run, ours=ours)


_PLACEHOLDERS = {
    "not indexed": "Run seedtool enroll --all.",
    "indexed otherwise": "Write the id that the photo is indexed under into the seed file, or run seedtool enroll --all"
    " to index it under this one as well.",
    "shared": "Give each row an external image id of its own.",
    "no overlap": "No free face lies where these rows' boxes are: index the photos again, or delete the rows.",
    "no collection": "Set AWS_REKOGNITION_COLLECTION, or fill the column that names the row's collection.",
    "no id": "Fill the external image id, then run seedtool enroll --all.",
}

_DUPLICATES = "Run seedtool faces dedupe. It keeps those that another row points at."
_MISSING = (
    "Are account, region and collection the right ones? Then run seedtool enroll --all, or seedtool backfill --reindex"
    " for the photo library."
)
_ELSEWHERE = "They are lost at the next reset: run seedtool enroll --all to index them under their own ids."
_ORPHANS = (
    "Nothing: another database may know them. If their photos failed in a backfill, seedtool backfill --retry-failed"
    " takes them over."
)
_UNNAMED = "Nothing: nobody can tell whose they are. Index the photos again under ids, then delete these."
_TEMPORARY = "While no attendance is being taken: seedtool faces dedupe --temporary."
_REPLACED = "Run seedtool enroll --all --replaced, then seedtool faces dedupe."

_NOWHERE = "Set AWS_REKOGNITION_COLLECTION, or fill the column (correct the query) that names each row's collection."
_ABSENT = (
    "Are account and region the right ones? Then seedtool enroll --all makes it and indexes every photo; "
    "seedtool backfill --reindex does so for the photo library."
)

_STRANGER = """(l.external_image_id ~ {pattern} AND NOT EXISTS (
    SELECT FROM {table} o
    WHERE o.{key}::text COLLATE "C" = substring(l.external_image_id FROM {pattern})
))"""

_STRAY = """
CREATE TEMPORARY TABLE seedtool_drift ON COMMIT DROP AS
WITH known AS MATERIALIZED ({known})
SELECT c.id AS collection_id, concat_ws(' ', l.external_image_id, l.face_id) COLLATE "C" AS id, CASE
    WHEN l.external_image_id IS NULL THEN 'unnamed'
    WHEN starts_with(l.external_image_id, {temporary}) THEN 'temporary'
    WHEN {stranger} THEN 'stranger'
    ELSE 'orphan' END AS kind
FROM pg_temp.seedtool_listed l
JOIN pg_temp.seedtool_collections c ON c.number = l.collection
WHERE NOT EXISTS (SELECT FROM known k WHERE k.collection_id = c.id AND k.face_id = l.face_id)
    AND (l.external_image_id IS NULL OR starts_with(l.external_image_id, {temporary}) OR NOT EXISTS (
        SELECT FROM known k WHERE k.collection_id = c.id AND k.external_image_id = l.external_image_id))"""

_TALLY = """
SELECT collection_id, kind, count(*), array_agg(id ORDER BY place) FILTER (WHERE place <= %s)
FROM (SELECT *, row_number() OVER (PARTITION BY collection_id, kind ORDER BY id) AS place FROM pg_temp.seedtool_drift) s
GROUP BY 1, 2"""
