"""What a run would do, shown before it begins. Nothing is written, and AWS is not called."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from seedtool.backfill import journal, library
from seedtool.backfill.library import Listed, Wanted
from seedtool.backfill.queries import LibraryConnection
from seedtool.errors import UsageError
from seedtool.faces import vendors
from seedtool.settings import Settings

#: Faces on a photo, assumed until the journal has enough photos to tell (source: the product's cost estimate).
FACES_PER_PHOTO = 2.0

#: The largest `batch_size`: each asset in progress needs a thread and a connection to AWS.
MAX_BATCH_SIZE = 1000


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may choose.

    Args:
        user_id: process this user only.
        limit: process at most so many assets of each user.
        batch_size: assets that may be with AWS at the same time. As many again may wait until their faces are visible.
        max_cost: a budget in dollars. The run ends before it would cost more.
        retry_failed: also process assets that failed in earlier runs.
        reindex: also process assets that earlier runs have done: delete their faces and index them again.
        since: only assets that were created at this time or later; without a time zone in that of the session.
        where: only assets for which this condition holds: SQL over the columns of the table of assets.

    Raises:
        UsageError: a number is outside its range.
    """

    user_id: str | None = None
    limit: int | None = None
    batch_size: int = 10
    max_cost: float | None = None
    retry_failed: bool = False
    reindex: bool = False
    since: datetime | None = None
    where: str | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(
                f"a limit of {self.limit} assets leaves nothing to do", remedy="Give 1 or more.", option="--limit"
            )
        if not 1 <= self.batch_size <= MAX_BATCH_SIZE:
            raise UsageError(
                f"a batch size of {self.batch_size} is not possible",
                remedy=f"Give 1 to {MAX_BATCH_SIZE}. 150 is enough to use AWS's default quota.",
                option="--batch-size",
            )
        if self.max_cost is not None and not self.max_cost >= 0:
            raise UsageError(
                f"a budget of {self.max_cost} dollars is not possible", remedy="Give 0 or more.", option="--max-cost"
            )

        if self.where is not None and not self.where.strip():
            raise UsageError("--where is empty", remedy="Give a condition, or leave it out.", option="--where")

    @property
    def scope(self) -> str:
        """Return what a round of `reindex` is remembered by: which assets it is about."""
        since = f" since {self.since.isoformat()}" if self.since is not None else ""
        return f"{self.user_id or 'all'}{since}{f' where {self.where}' if self.where is not None else ''}"

    @property
    def repair(self) -> str:
        """Return what a round is remembered by that indexes only assets whose faces are gone."""
        return f"gone {self.scope}"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would do.

    Args:
        users: users with assets to process.
        assets: assets to process, at most `limit` of each user.
        skipped: assets that qualify but are not to process: an earlier run or the application has done them, or they
            failed in an earlier run.
        failed_before: the assets among `skipped` that failed; `retry_failed` takes them up.
        collections: how many of these users have a collection that is remembered.
        new_collections: how many have none; their collections are created unless they exist.
        collection_prefix: what a collection's id begins with, before the user's id.
        faces_a_photo: faces expected on a photo.
        calls: calls expected, by operation.
        cost: dollars for these calls.
        prices_of: the day of the prices.
        seconds: how long the calls take at least, at the quotas of the region.
        calls_a_second: these quotas, by operation.
        region: the region; empty where none is set.
        since: only assets that were created at this time or later.
        time_zone: the session's time zone, in which `since` is read if it names none.
        where: only assets for which this condition holds.
    """

    users: int
    assets: int
    skipped: int
    failed_before: int
    collections: int
    new_collections: int
    collection_prefix: str
    faces_a_photo: float
    calls: dict[str, int]
    cost: float
    prices_of: str
    seconds: float
    calls_a_second: dict[str, float]
    region: str
    since: datetime | None
    time_zone: str
    where: str | None


def plan(connection: LibraryConnection, settings: Settings, options: Options) -> Plan:
    """Return what a run would do.

    Args:
        connection: to the target.
        settings: thresholds and prices.
        options: what to process.

    Raises:
        SchemaError: a table of the photo library is missing.
        UsageError: the user does not exist or is deleted.
    """
    wanted, has_journal = check_options(connection, options)
    census = library.census(connection, wanted, has_journal=has_journal)
    faces_per_photo = (journal.faces_per_photo(connection) if has_journal else None) or FACES_PER_PHOTO
    calls = {"IndexFaces": census.assets, "SearchFaces": round(census.assets * faces_per_photo)}
    prices = settings.backfill.prices
    region, quotas = vendors.quotas(settings, calls)
    return Plan(
        users=census.users,
        assets=census.assets,
        skipped=census.skipped,
        failed_before=census.failed_before,
        collections=census.collections,
        new_collections=census.users - census.collections,
        collection_prefix=settings.backfill.collection_prefix,
        faces_a_photo=round(faces_per_photo, 2),
        calls=calls,
        cost=round(sum(count * prices.get(name, 0.0) for name, count in calls.items()), 6),
        prices_of=settings.backfill.prices_of,
        # the operations have quotas of their own, and their calls overlap
        seconds=max(count / quotas[name] for name, count in calls.items()),
        calls_a_second=quotas,
        region=region,
        since=options.since,
        time_zone=connection.info.parameter_status("TimeZone") or "",
        where=options.where,
    )


def listing(connection: LibraryConnection, options: Options, *, with_labels: bool = False) -> Iterator[Listed]:
    """Yield every asset to process, in the order of a run. Memory does not grow with their number.

    Args:
        connection: to the library.
        options: what to process.
        with_labels: say who the users are.
    """
    wanted, has_journal = check_options(connection, options)
    yield from library.listing(connection, wanted, has_journal=has_journal, with_labels=with_labels)


def counts(connection: LibraryConnection, options: Options) -> Iterator[tuple[str, int]]:
    """Yield every user with assets to process, the oldest first, and the number of these assets."""
    wanted, has_journal = check_options(connection, options)
    yield from library.counts(connection, wanted, has_journal=has_journal)


def check_options(connection: LibraryConnection, options: Options) -> tuple[Wanted, bool]:
    """Check that the tables and the user exist.

    Returns:
        which assets are to process, and whether the database has a journal.

    Raises:
        SchemaError: a table of the photo library is missing.
        UsageError: the user does not exist or is deleted, or `since` or `where` cannot be used.
    """
    library.check_tables(connection)
    if options.user_id is not None:
        library.check_user(connection, options.user_id)
    if options.since is not None and "assets.created_at" not in connection.shape.has:
        raise UsageError(
            f"the table {connection.shape.bound['assets'].table} does not say when an asset was created",
            remedy="Name the column: created_at in [tool.seedtool.backfill.assets]. Or leave --since out.",
            option="--since",
        )
    chosen = None
    if options.where is not None:
        chosen = library.choose(connection, options.where, options.user_id)
    has_journal = journal.exists(connection)
    since = None
    # what has lost its faces comes first, and alone
    gone = options.reindex and has_journal and journal.reindex_since(connection, options.repair) is not None
    gone = gone or (options.reindex and has_journal and bool(library.users_to_index_again(connection, options.user_id)))
    if options.reindex and not gone:
        since = (journal.reindex_since(connection, options.scope) if has_journal else None) or "infinity"
    wanted = Wanted(
        user_id=options.user_id,
        limit=options.limit,
        retry_failed=options.retry_failed,
        reindex_since=since,
        gone=gone,
        newer_than=options.since,
        chosen=chosen,
    )
    return wanted, has_journal
