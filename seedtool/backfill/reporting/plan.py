"""What a backfill would do, to be shown before it begins; nothing is called but STS, and nothing is written."""

import uuid
from collections.abc import Iterator

import msgspec
import psycopg

from seedtool.backfill import journal, library
from seedtool.backfill.library import Listed, Wanted
from seedtool.errors import UsageError
from seedtool.settings import Settings

#: Faces on a photo until the journal knows better (source: the issue's estimate).
FACES_A_PHOTO = 2.0

#: Assets in flight at most: as many threads, and as many connections to AWS.
MOST_IN_FLIGHT = 1000


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may choose.

    Args:
        user_id: this user alone.
        limit: assets of each user at most.
        batch_size: assets in flight: with a call under way. As many again may wait until their faces are visible.
        max_cost: dollars; the run ends before it would cost more.
        retry_failed: also what failed before.
        reindex: also what was done before; its faces are deleted and made anew.

    Raises:
        UsageError: a number is outside its range, or the id is none.
    """

    user_id: str | None = None
    limit: int | None = None
    batch_size: int = 10
    max_cost: float | None = None
    retry_failed: bool = False
    reindex: bool = False

    def __post_init__(self) -> None:
        if self.user_id is not None:
            try:
                uuid.UUID(self.user_id)
            except ValueError:
                raise UsageError(f"{self.user_id!r} is no user's id", remedy="It is a uuid: users.id.") from None
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"a limit of {self.limit} assets leaves nothing to do", remedy="Give 1 or more.")
        if not 1 <= self.batch_size <= MOST_IN_FLIGHT:
            raise UsageError(
                f"{self.batch_size} assets cannot be in flight",
                remedy=f"Give 1 to {MOST_IN_FLIGHT}; 150 fill AWS's quotas.",
            )
        if self.max_cost is not None and not self.max_cost >= 0:
            raise UsageError(f"a cost of {self.max_cost} dollars is none", remedy="Give 0 or more.")

    @property
    def scope(self) -> str:
        """Which round of --reindex this is."""
        return self.user_id or "all"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a backfill would do.

    Args:
        users: users with assets to be processed.
        assets: assets to be processed, `limit` heeded.
        skipped: assets that qualify and are left alone: done or failed before, or processed by the application.
        failed_before: those of them that failed; --retry-failed takes them up.
        collections: collections of these users that are remembered.
        new_collections: collections that are not, and will be created where they are not there.
        collection_prefix: what they are called, before the user's id.
        faces_a_photo: faces expected on a photo.
        calls: calls expected, by operation.
        cost: dollars for these.
        prices_of: the day of the prices.
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


def plan(connection: psycopg.Connection, settings: Settings, options: Options) -> Plan:
    """Tell what a backfill would do; nothing is written.

    Args:
        connection: to the target.
        settings: thresholds and prices.
        options: what is to be done.

    Raises:
        SchemaError: the photo library's tables are not there.
        UsageError: there is no such user, or the user is deleted.
    """
    journalled, wanted = prepare(connection, options)
    counted = library.census(connection, wanted, journalled=journalled)
    each = (journal.faces_a_photo(connection) if journalled else None) or FACES_A_PHOTO
    calls = {"IndexFaces": counted.assets, "SearchFaces": round(counted.assets * each)}
    prices = settings.backfill.prices
    return Plan(
        users=counted.users,
        assets=counted.assets,
        skipped=counted.skipped,
        failed_before=counted.failed_before,
        collections=counted.collections,
        new_collections=counted.users - counted.collections,
        collection_prefix=settings.backfill.collection_prefix,
        faces_a_photo=round(each, 2),
        calls=calls,
        cost=round(sum(count * prices.get(name, 0.0) for name, count in calls.items()), 6),
        prices_of=settings.backfill.prices_of,
    )


def listing(connection: psycopg.Connection, options: Options) -> Iterator[Listed]:
    """Yield every asset that would be processed, in the order of the run; memory does not grow with them."""
    journalled, wanted = prepare(connection, options)
    yield from library.listing(connection, wanted, journalled=journalled)


def counts(connection: psycopg.Connection, options: Options) -> Iterator[tuple[str, int]]:
    """Yield every user who would be processed, the oldest first, with how many assets."""
    journalled, wanted = prepare(connection, options)
    yield from library.counts(connection, wanted, journalled=journalled)


def prepare(connection: psycopg.Connection, options: Options) -> tuple[bool, Wanted]:
    """Check that there is something to work on; returns whether there is a journal, and which assets are meant."""
    library.check_tables(connection)
    if options.user_id is not None:
        fault = library.check_user(connection, options.user_id)
        if fault:
            raise UsageError(
                f"the user {options.user_id} is {fault}",
                remedy="SELECT id, email FROM users WHERE NOT deleted; tells who may be named.",
            )
    journalled = journal.exists(connection)
    since = None
    if options.reindex:
        since = (journal.reindex_since(connection, options.scope) if journalled else None) or "infinity"
    wanted = Wanted(
        user_id=options.user_id, limit=options.limit, retry_failed=options.retry_failed, reindex_since=since
    )
    return journalled, wanted
