"""Rows, faces and photos, compared.

What a sync would do and what it leaves over is told, one table a collection. No row is written and none is locked;
photos of rows that are still to be linked are looked at once they are.
"""

import time
from collections import Counter
from collections.abc import Sequence

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import ResourceNotFound, SeedtoolError, SettingsError
from seedtool.faces import bindings
from seedtool.faces.bindings import Bound
from seedtool.faces.enroll.replaced import replaced_photos
from seedtool.faces.external_id import TEMPORARY_PREFIX
from seedtool.faces.linking import EXAMPLES, BindingReport, Tally, link_all
from seedtool.faces.photos import PhotoStore, store
from seedtool.faces.rekognition import Aws
from seedtool.faces.status.findings import CollectionStatus, found_in
from seedtool.faces.sync import Progress
from seedtool.settings import Settings


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """Drift, by collection.

    Args:
        mode: `embedded` or `live`.
        region: the region.
        endpoint: where Rekognition is; None when it is AWS's own address.
        ok: nothing is this database's to mend.
        photos: `checked`, or why the photo store was not looked at.
        collections: one each.
        calls: AWS calls by operation.
        seconds: by the wall clock.
    """

    mode: str
    region: str
    endpoint: str | None
    ok: bool
    photos: str
    collections: tuple[CollectionStatus, ...]
    calls: dict[str, int]
    seconds: float


def status(
    connection: psycopg.Connection,
    settings: Settings,
    aws: Aws,
    *,
    collection: str | None = None,
    photos: PhotoStore | None = None,
    progress: Progress | None = None,
) -> StatusReport:
    """Compare rows, faces and photos.

    Args:
        connection: to the target; only read, but for temporary tables.
        settings: its face bindings and collections.
        aws: the AWS side.
        collection: look at this collection alone.
        photos: the photo store; the settings' when None.
        progress: told the number of faces listed.

    Raises:
        SettingsError: no binding, or no collection.
        SchemaError: a bound table or column does not exist.
        AwsError: a collection could not be listed.
    """
    started, before = time.monotonic(), Counter(aws.calls)
    photo_store, checked = (photos, "checked") if photos is not None else _store(settings, aws)
    with connection.transaction(force_rollback=True):
        bounds = bindings.bind(connection, settings, collection)

        def tell(faces: int) -> None:
            if progress is not None:
                progress(faces, None)

        try:
            with connection.transaction():
                reports = link_all(connection, bounds, aws.collection, tell=tell, write=False)
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
    found = tuple(found_in(id_, own, strays.get(id_, {}), replaced.get(id_, [])) for id_, own in by_collection.items())
    return StatusReport(
        mode=aws.mode,
        region=aws.region,
        endpoint=aws.endpoint,
        ok=not any(finding.ours for each in found for finding in each.findings),
        photos=checked,
        collections=found,
        calls=dict(Counter(aws.calls) - before),
        seconds=round(time.monotonic() - started, 3),
    )


def _store(settings: Settings, aws: Aws) -> tuple[PhotoStore | None, str]:
    try:
        return store(settings, aws), "checked"
    except SettingsError as error:
        return None, error.message


def _none_exists(connection: psycopg.Connection, bounds: Sequence[Bound]) -> tuple[BindingReport, ...]:
    """Return what there is to tell when not one of the collections exists."""
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
    owners = [bound.owner for bound in bounds if bound.owner is not None]
    stranger: sql.Composable = sql.SQL("false")
    if owners:
        stranger = sql.SQL(_STRANGER).format(table=owners[0][0], key=sql.Identifier(owners[0][1]))
    with bindings.database_errors(", ".join(bound.binding.table for bound in bounds)):
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


_STRANGER = """l.external_image_id ~ '-photo-[0-9]+$' AND NOT EXISTS (
    SELECT FROM {table} o
    WHERE o.{key}::text COLLATE "C" = regexp_replace(l.external_image_id, '-photo-[0-9]+$', '')
)"""

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
