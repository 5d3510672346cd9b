"""Face bindings: which tables and columns hold face ids, in which collections the faces are, and which are meant.

A binding is what the settings say. A `Bound` is one that was looked up in the database's catalog.
"""

from collections.abc import Collection

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import SettingsError
from seedtool.faces.bindings.bound import Bound, Place, key_name
from seedtool.faces.bindings.lookup import Reference, read_tables, references, resolve
from seedtool.postgres.catalog import Catalog
from seedtool.postgres.psycopg_errors import translated
from seedtool.settings import FaceBinding, Settings

__all__ = [
    "Bound",
    "Place",
    "Reference",
    "bind",
    "chosen",
    "collections_of",
    "first",
    "key_name",
    "references",
    "resolve",
    "the_collection",
    "used",
]


def chosen(settings: Settings, collection: str | None = None) -> list[tuple[FaceBinding, str | None]]:
    """Return the bindings to work on, each with the collection of its faces as far as no row says another.

    Args:
        settings: the settings.
        collection: a collection given on the command line. Of the bindings that are in one collection it selects those
            in this one, and a single binding is pointed at it; of the others it selects the rows.

    Raises:
        SettingsError: no binding, a binding without a collection, or none in the one that is given.
    """
    if not settings.faces:
        raise SettingsError(
            "setting faces: no table is bound to faces",
            remedy="seedtool init finds tables with faces, and writes or proposes [[tool.seedtool.faces]] for them.",
            setting="faces",
        )
    pairs = [(binding, binding.collection or settings.collection) for binding in settings.faces]
    if collection is not None:
        named = [pair for pair in pairs if pair[0].by_row or pair[1] == collection]
        if not named and len(pairs) > 1:
            tables = ", ".join(f"{binding.table}: {found}" for binding, found in pairs)
            raise SettingsError(
                f"no face binding names the collection {collection} ({tables})",
                remedy="Give one of these, or change [[tool.seedtool.faces]].",
                setting="faces",
                option="--collection",
            )
        return [(binding, collection) for binding, _ in named or pairs]
    for binding, found in pairs:
        if found is None and not binding.by_row:
            raise SettingsError(
                f"the faces of {binding.table} are in no collection",
                remedy="Set AWS_REKOGNITION_COLLECTION, collection in [tool.seedtool], or --collection ID.",
                setting="collection",
                table=binding.table,
            )
    return pairs


def bind(connection: psycopg.Connection, settings: Settings, collection: str | None = None) -> tuple[Bound, ...]:
    """Return the bindings to work on, looked up in the catalog, with the rows of every collection or of one.

    Args:
        connection: to the target.
        settings: the settings.
        collection: a collection given on the command line (see `chosen`).

    Raises:
        SettingsError: as `chosen`.
        SchemaError: as `resolve`.
    """
    pairs = chosen(settings, collection)
    with translated(", ".join(binding.table for binding, _ in pairs)):
        catalog = read_tables(connection, [binding for binding, _ in pairs])
    return tuple(_bind(connection, settings, pair, collection, catalog) for pair in pairs)


def first(connection: psycopg.Connection, settings: Settings, collection: str | None = None) -> Bound:
    """Return the first of the bindings to work on, as `bind` does."""
    return _bind(connection, settings, chosen(settings, collection)[0], collection)


def _bind(
    connection: psycopg.Connection,
    settings: Settings,
    pair: tuple[FaceBinding, str | None],
    collection: str | None,
    catalog: Catalog | None = None,
) -> Bound:
    binding, found = pair
    if binding.by_row:
        return resolve(connection, binding, default=settings.collection, only=collection, catalog=catalog)
    return resolve(connection, binding, default=found, catalog=catalog)


def collections_of(connection: psycopg.Connection, bound: Bound, people: Collection[str]) -> dict[str, str]:
    """Return the collection that new faces of each person go to: the one that the person's row names, or rows do.

    Args:
        connection: to the target, inside a transaction.
        bound: a table with a column `person`, as `bind` returns it.
        people: the people's keys.

    Raises:
        SettingsError: nothing says in which collection, or it is another than the one given on the command line.
    """
    if not bound.binding.by_row and bound.collection is not None:
        return dict.fromkeys(people, bound.collection)
    parent = bound.place.parent
    keys = sql.SQL("{}::text[]").format(sql.Literal(list(people)))
    if parent is not None and parent.foreign_key == bound.binding.person:
        query = sql.SQL(_BY_PERSON).format(
            collection=bound.place.collection,
            people=keys,
            parent=parent.table,
            key=sql.Identifier("p", parent.key),
        )
    else:
        everywhere = msgspec.structs.replace(bound, only=None)
        query = sql.SQL(_BY_ROW).format(
            table=bound.table, rows=everywhere.rows, key=bound.key, person=bound.person, people=keys
        )
    found: dict[str, list[str]] = {person: [] for person in people}
    with translated(bound.binding.table):
        for person, id_ in connection.execute(query):
            if id_ is not None:
                found[person].append(id_)
    return {person: _the_only(bound, person, ids) for person, ids in found.items()}


def _the_only(bound: Bound, person: str, found: list[str]) -> str:
    """Return the collection of a person, of those that the rows name."""
    ids = sorted(found) or ([bound.collection] if bound.collection is not None else [])
    if bound.only is not None and ids and ids != [bound.only]:
        raise SettingsError(
            f"the faces of {person} are in the collection {', '.join(ids)}, not in {bound.only}",
            remedy="Leave --collection out, or change "
            f"{bound.binding.collection_column or 'what collection_query gives'}.",
            option="--collection",
            table=bound.binding.table,
        )
    if len(ids) != 1:
        where = f"in {', '.join(ids)}" if ids else "in no collection"
        raise SettingsError(
            f"the faces of {person} are {where}",
            remedy="Give --collection ID, or set AWS_REKOGNITION_COLLECTION.",
            option="--collection",
            table=bound.binding.table,
        )
    return ids[0]


def used(connection: psycopg.Connection, bound: Bound) -> dict[str, Bound]:
    """Return the collections that a table's rows are in, each with the table narrowed to its rows.

    Where there are no rows, it is the collection that new ones would be in.

    Args:
        connection: to the target, inside a transaction.
        bound: the table, as `bind` returns it.

    Raises:
        SettingsError: rows are in no collection.
    """
    found = bound.collections(connection) or {bound.collection: 0}
    if None in found:
        which = f"{found[None]} rows of" if found[None] else "the faces of"
        raise SettingsError(
            f"{which} {bound.binding.table} are in no collection",
            remedy="Set AWS_REKOGNITION_COLLECTION or collection in [tool.seedtool], or fill "
            f"{bound.binding.collection_column or 'what the face binding takes it from'}.",
            setting="collection",
            table=bound.binding.table,
        )
    return {id_: bound.narrowed(id_) for id_ in found if id_ is not None}


def the_collection(connection: psycopg.Connection, settings: Settings, bound: Bound, collection: str | None) -> str:
    """Return the one collection to look into: the given one, the binding's, the setting, or the only one in use.

    Args:
        connection: to the target, inside a transaction.
        settings: the settings.
        bound: the table.
        collection: a collection given on the command line.

    Raises:
        SettingsError: the rows are in several collections, or in none.
    """
    named = collection or bound.binding.collection or settings.collection
    if named is not None:
        return named
    used = [id_ for id_ in bound.collections(connection) if id_ is not None]
    if len(used) == 1:
        return used[0]
    shown = ", ".join(used[:5]) + (", ..." if len(used) > 5 else "")
    where = f"in {len(used)} collections ({shown})" if used else "in no collection"
    raise SettingsError(
        f"the faces of {bound.binding.table} are {where}",
        remedy="Name the one to look into: --collection ID.",
        option="--collection",
        table=bound.binding.table,
    )


_BY_PERSON = """
SELECT DISTINCT t.person, {collection}
FROM unnest({people}) t (person) JOIN {parent} p ON {key}::text = t.person"""

_BY_ROW = """
SELECT DISTINCT t.{person}::text, r.collection_id
FROM {table} t JOIN {rows} r ON r.key = {key} WHERE t.{person}::text = ANY ({people})"""
