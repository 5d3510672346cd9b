"""Sync: after a reset every row holds a placeholder; one pass over the collection puts the real FaceIds back.

All rows or none, in one transaction. How a row's face is chosen stands in `linking`.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

import msgspec
import psycopg

from seedtool.faces import bindings
from seedtool.faces.aws import Aws
from seedtool.faces.aws.collection import PAGE
from seedtool.faces.linking import BindingReport, link
from seedtool.settings import Settings

#: Told how much is done, and of how much when that is known.
Progress: TypeAlias = Callable[[int, int | None], None]


class SyncReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a sync did. `ok` is False when it was strict and a row is not linked. `seconds` is the wall clock's."""

    mode: str
    region: str
    dry_run: bool
    strict: bool
    ok: bool
    synced: int
    unchanged: int
    placeholders: int
    bindings: tuple[BindingReport, ...]
    calls: dict[str, int]
    seconds: float


def sync(
    connection: psycopg.Connection,
    settings: Settings,
    aws: Aws,
    *,
    collection: str | None = None,
    dry_run: bool = False,
    strict: bool = False,
    page_size: int = PAGE,
    progress: Progress | None = None,
) -> SyncReport:
    """Link the rows of every face binding to the faces of its collection, all or nothing.

    Args:
        connection: to the target; commits when not inside a transaction already.
        settings: its face bindings and collection.
        aws: the AWS side.
        collection: a collection given on the command line.
        dry_run: report the same and roll back.
        strict: the report is not ok while a row is not linked.
        page_size: faces a page, at most 4,096.
        progress: told the number of faces listed.

    Raises:
        SettingsError: no binding, or no collection.
        SchemaError: a bound table or column does not exist.
        ResourceNotFound: there is no such collection in this account and region.
        AwsError: the listing failed; no row was changed.
        DatabaseError: a statement failed; no row was changed.
    """
    started, before = time.monotonic(), Counter(aws.calls)
    reports = []
    with connection.transaction() as transaction:
        listed = 0
        for binding, collection_id in bindings.chosen(settings, collection):
            bound = bindings.resolve(connection, binding)

            def tell(faces: int, base: int = listed) -> None:
                if progress is not None:
                    progress(base + faces, None)

            reports.append(link(connection, bound, aws.collection(collection_id), page_size=page_size, tell=tell))
            listed += reports[-1].faces
        if dry_run:
            raise psycopg.Rollback(transaction)
    return SyncReport(
        mode=aws.mode,
        region=aws.region,
        dry_run=dry_run,
        strict=strict,
        ok=not strict or all(report.complete for report in reports),
        synced=sum(report.synced + report.relinked for report in reports),
        unchanged=sum(report.unchanged for report in reports),
        placeholders=sum(sum(report.placeholders.values()) for report in reports),
        bindings=tuple(reports),
        calls=dict(Counter(aws.calls) - before),
        seconds=round(time.monotonic() - started, 3),
    )
