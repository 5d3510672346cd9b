"""The table that photos are enrolled into, and the collections that its faces are in."""

from collections.abc import Callable, Iterable

import psycopg

from seedtool.errors import ResourceNotFound, SettingsError
from seedtool.faces import bindings
from seedtool.faces.bindings import Bound
from seedtool.faces.linking import BindingReport, link_all
from seedtool.faces.rekognition.collection import Collection
from seedtool.settings import COLLECTION_ID, Settings

# How many collections a report names.
_NAMES = 3


def table_of(connection: psycopg.Connection, settings: Settings, collection: str | None) -> Bound:
    """Return the first face binding, looked up.

    Raises:
        SettingsError: its rows are faces of photos that show several people: `backfill` is what indexes those.
        SchemaError: the table or a column of it does not exist.
    """
    with connection.transaction():
        bound = bindings.first(connection, settings, collection)
    if bound.binding.box is not None:
        raise SettingsError(
            f"setting faces: {bound.binding.table} holds several faces a photo, and enroll takes portraits of one",
            remedy="Put the table of portraits first in [[tool.seedtool.faces]].",
        )
    return bound


def linked_rows(
    connection: psycopg.Connection, bound: Bound, open_collection: Callable[[str], Collection]
) -> tuple[tuple[BindingReport, ...], bool]:
    """Create the collections that are missing, list all and link the rows; True when one was created.

    Leaves `seedtool_listed` and `seedtool_collections` behind, in the caller's transaction. A collection that was
    created now is in neither when others were there before.

    Raises:
        SettingsError: rows are in no collection.
    """
    ids = bindings.used(connection, bound)
    try:
        with connection.transaction():
            reports = link_all(connection, [bound], open_collection)
    except ResourceNotFound:
        if not create(ids, open_collection):
            raise
        return link_all(connection, [bound], open_collection), True
    created = create([each.collection for each in reports if each.collection and not each.exists], open_collection)
    return reports, created


def create(ids: Iterable[str], open_collection: Callable[[str], Collection]) -> bool:
    """Create collections that do not exist; True when there was one to create. What cannot be an id is passed over."""
    created = [open_collection(id_).ensure() for id_ in sorted(ids) if COLLECTION_ID.fullmatch(id_)]
    return any(created)


def named(ids: Iterable[str]) -> str:
    """Return what a report calls the collections."""
    names = sorted(set(ids))
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
