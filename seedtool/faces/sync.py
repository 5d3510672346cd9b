"""Sync: after a reset every row holds a placeholder. One pass over the collections puts the real FaceIds back.

All rows or none are linked, in one transaction. `bindings` finds the collection of a row, `linking` its face.
"""

import psycopg

from seedtool.errors import ResourceNotFound
from seedtool.faces import bindings
from seedtool.faces.bindings import Bound
from seedtool.faces.linking import BindingReport, link_all
from seedtool.faces.port import FaceReport, FaceService
from seedtool.listener import SILENT, Listener
from seedtool.settings import Settings


class SyncReport(FaceReport, frozen=True, kw_only=True):
    """What a sync did. `ok` is False when it was strict and a row is not linked. `seconds` is the wall clock's."""

    dry_run: bool
    strict: bool
    ok: bool
    synced: int
    unchanged: int
    placeholders: int
    bindings: tuple[BindingReport, ...]


def sync(
    connection: psycopg.Connection,
    settings: Settings,
    aws: FaceService,
    *,
    collection: str | None = None,
    dry_run: bool = False,
    strict: bool = False,
    page_size: int | None = None,
    listener: Listener = SILENT,
) -> SyncReport:
    """Link the rows of every face binding to the faces of their collections, all or nothing.

    The rows of a collection that does not exist stay as they are and are reported (`exists`, `no collection`). The
    others are linked. When none of the collections exists, it is an error.

    Args:
        connection: to the target; commits when not inside a transaction already.
        settings: its face bindings and collection.
        aws: the face service.
        collection: a collection given on the command line. Of bindings whose rows name collections only the rows that
            are in this one count; a single binding that is in one collection is pointed at this one.
        dry_run: report the same and roll back.
        strict: the report is not ok while a row is not linked.
        page_size: faces a page; None for the most that the service gives.
        listener: hears the number of faces listed.

    Raises:
        SettingsError: no binding, or no collection.
        SchemaError: a bound table or column does not exist.
        ResourceNotFound: none of the collections is in this account and region, or no row is in the one given.
        AwsError: the listing failed; no row was changed.
        DatabaseError: a statement failed; no row was changed.
    """
    watch = aws.watched()
    with connection.transaction() as transaction:
        bound = bindings.bind(connection, settings, collection)
        _refuse_nothing(connection, bound, collection)
        reports = link_all(connection, bound, aws, page_size=page_size, listener=listener)
        if dry_run:
            raise psycopg.Rollback(transaction)
    return SyncReport(
        **watch.facts,
        dry_run=dry_run,
        strict=strict,
        ok=not strict or all(report.complete for report in reports),
        synced=sum(report.synced + report.relinked for report in reports),
        unchanged=sum(report.unchanged for report in reports),
        placeholders=sum(sum(report.placeholders.values()) for report in reports),
        bindings=reports,
    )


def _refuse_nothing(connection: psycopg.Connection, bound: tuple[Bound, ...], collection: str | None) -> None:
    """Refuse a collection, given by hand, in which no row is: it is mistyped, or the rows name another."""
    if collection is None or not all(each.binding.by_row for each in bound):
        return
    if not any(each.collections(connection) for each in bound):
        tables = ", ".join(each.binding.table for each in bound)
        raise ResourceNotFound(
            f"no row of {tables} is in the collection {collection}",
            remedy="Leave --collection out to see which collections the rows are in, and correct what names them: "
            + ", ".join(each.binding.collection_column or "collection_query" for each in bound)
            + ".",
            option="--collection",
            table=tables,
        )
