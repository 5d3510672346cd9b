"""Faces that are enrolled anew: photos of the subjects whom a query names, under the copy's own ids.

Faces cannot be copied between collections: AWS has no operation for it. So the photos are copied into the store of the
copy, under masked keys, and indexed there under masked ids. The policy's query has to name subjects who agreed, or who
do not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from seedtool.errors import PhotoError, PolicyError, SeedtoolError, SettingsError
from seedtool.faces.photos import is_address
from seedtool.postgres.psycopg_errors import translated
from seedtool.refreshing.policy import TableName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seedtool.faces.photos import PhotoStore
    from seedtool.listener import Listener
    from seedtool.refreshing.check import Shape
    from seedtool.refreshing.masks import Mask
    from seedtool.refreshing.policy import Policy
    from seedtool.refreshing.source import Source
    from seedtool.settings import FaceBinding, Settings


class Chosen(NamedTuple):
    """A photo that is copied and indexed.

    Args:
        external_image_id: its id in the copy.
        origin: its key in production's store.
        photo: its key in the copy's store.
    """

    external_image_id: str
    origin: str
    photo: str


def binding_of(settings: Settings) -> FaceBinding:
    """Return the face binding whose rows say where a person's photos are: the first one.

    Raises:
        SettingsError: there is no face binding, or nothing says where production's photos are.
    """
    if not settings.faces:
        raise SettingsError(
            'setting faces: faces = "reindex" needs a face binding',
            remedy="Write [[tool.seedtool.faces]] with the table that holds face ids.",
            setting="faces",
        )
    if settings.refresh_photos is None:
        raise SettingsError(
            'setting refresh_photos: faces = "reindex" needs to know where production\'s photos are',
            remedy="Set SEEDTOOL_REFRESH_PHOTOS to s3://bucket/prefix or a folder.",
            setting="refresh_photos",
        )
    return settings.faces[0]


def choose(
    source: Source,
    shape: Shape,
    policy: Policy,
    masks: Mapping[tuple[TableName, str], Mask],
    binding: FaceBinding,
) -> list[Chosen]:
    """Return the photos that the policy's query names.

    Args:
        source: the source, in its snapshot.
        shape: its tables.
        policy: the policy; its `reindex` is a query of external image ids.
        masks: the mask of each masked column.
        binding: the face binding.

    Raises:
        PolicyError: the query fails, or the bound table has no such columns.
    """
    table = shape.catalog.find(binding.table)
    name = TableName(table.schema, table.name)
    missing = [column for column in (binding.external_image_id, binding.photo) if column not in table.columns]
    if missing:
        raise PolicyError(
            f"{policy.file}: reindex needs the column {table}.{missing[0]}, which the source does not have",
            remedy="Correct the face binding in [[tool.seedtool.faces]].",
            file=policy.file,
            table=str(table),
            column=missing[0],
        )
    query = sql.SQL(
        "SELECT r.{id}::text, r.{photo}::text FROM {table} AS r WHERE r.{id}::text IN (SELECT q.id::text FROM ({query})"
        " AS q (id)) AND r.{photo} IS NOT NULL ORDER BY 1"
    ).format(
        id=sql.Identifier(binding.external_image_id),
        photo=sql.Identifier(binding.photo),
        table=table.identifier,
        query=sql.SQL(policy.reindex or ""),  # the operator's own, in a session that only reads
    )
    with source.session() as connection, translated(f"{policy.file}, reindex"):
        rows = connection.execute(query).fetchall()
    ids = _masked(masks, name, binding.external_image_id, [row[0] for row in rows])
    photos = _masked(masks, name, binding.photo, [row[1] for row in rows])
    return [Chosen(*each) for each in zip(ids, (row[1] for row in rows), photos, strict=True)]


def _masked(
    masks: Mapping[tuple[TableName, str], Mask], table: TableName, column: str, values: Sequence[str]
) -> list[str]:
    made = masks.get((table, column))
    try:
        return list(values) if made is None else [each or "" for each in made.of(values)]
    except SeedtoolError as error:
        from seedtool.refreshing.masks import refused

        raise refused(error, table, column) from None


def copy_photos(chosen: Sequence[Chosen], origin: PhotoStore, store: PhotoStore, listener: Listener) -> list[str]:
    """Copy photos from production's store into that of the copy, under their masked keys.

    Args:
        chosen: the photos.
        origin: production's store, which is only read.
        store: the copy's.
        listener: hears how many are done.

    Returns:
        What a person has to know.

    Raises:
        PhotoError, AwsError: a store refuses.
    """
    absent = addresses = 0
    for done, each in enumerate(chosen, 1):
        if is_address(each.origin) or is_address(each.photo):
            addresses += 1
            continue
        data = origin.get(each.origin)
        if data is None:
            absent += 1
        elif not store.holds(each.photo, data):
            store.put(each.photo, data)
        listener.progress("photos", done, len(chosen))
    notes = []
    if absent:
        notes.append(f"{absent} of {len(chosen)} photos to index are not in production's store")
    if addresses:
        notes.append(f"{addresses} of {len(chosen)} photos to index are addresses, not keys of a store: not copied")
    return notes


def refuse_one_store(origin: PhotoStore, store: PhotoStore, chosen: Sequence[Chosen]) -> None:
    """Refuse to write into production's own store, by whatever name it is given.

    Raises:
        PhotoError: a photo of production is in the copy's store under production's key.
    """
    first = next((each for each in chosen if not is_address(each.origin)), None)
    if first is None or first.origin == first.photo:
        return
    data = origin.get(first.origin)
    if data is not None and store.holds(first.origin, data):
        raise PhotoError(
            "the photo store of the copy holds production's photos: it may be production's own",
            remedy="Let PHOTOS_URL name staging's own bucket or folder, and empty it of production's photos.",
        )
