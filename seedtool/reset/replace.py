"""The target is replaced by a clone of a finished database: what a reset and the restoring of a snapshot share."""

import contextlib
from collections.abc import Callable

import psycopg
from psycopg import sql

from seedtool.errors import BlockedError
from seedtool.postgres.cluster import Cluster, DatabaseFacts, digest_of, drop_statement, passing_name
from seedtool.postgres.server import Target
from seedtool.reset import clones as strategy
from seedtool.reset import spares
from seedtool.reset.swap import swap
from seedtool.settings import Settings


def target_digest(target: Target) -> str:
    """Return the hex digest that names a target's lock, clones, spares and replaced databases."""
    return digest_of(target.name)


def replace(
    cluster: Cluster,
    source: str,
    like: DatabaseFacts,
    facts: DatabaseFacts | None,
    step: Callable[[str], None],
    *,
    settings: Settings | None = None,
) -> int:
    """Put a clone of `source` in the target's place; until the last moment the target stays as it is.

    The database that was there is dropped, and the spare for the next time made, by the server on its own: nobody
    waits for either.

    Args:
        cluster: where we stand; the lock of the target is held and the guard has agreed.
        source: a finished database without sessions.
        like: owner and tablespace of the clone.
        facts: the present target's; None when there is none.
        step: called with the name of each step before it; there is a `clone` only where no spare was ready.
        settings: they say whether a spare may be used, and is made for the next time; None means no.

    Returns:
        how many sessions were ended.

    Raises:
        BlockedError: the target cannot be freed; nothing was changed.
    """
    digest = target_digest(cluster.target)
    clone, old = passing_name("clone", digest), passing_name("old", digest)
    origin = cluster.database(source)
    if origin is None:
        raise BlockedError(f"{source} was dropped by somebody else meanwhile", remedy="Run again.")
    step("spare")
    if settings is None or not spares.take(cluster, spares.spare_name(digest, origin, like), clone):
        step("clone")
        cluster.create(clone, source, like, connectable=False, strategy=strategy.choose(cluster, origin))
    try:
        ended = swap(cluster, clone, source, old, facts, step)
    except BaseException:
        with contextlib.suppress(psycopg.Error, BlockedError):  # then the next reset sweeps it
            cluster.drop_soon(clone)
        raise
    step("leave")
    if facts is not None:
        if facts.is_template:
            cluster.execute(sql.SQL("ALTER DATABASE {} WITH IS_TEMPLATE false").format(sql.Identifier(old)))
        cluster.afterwards.append(drop_statement(old))
    if settings is not None:
        cluster.afterwards += spares.upkeep(cluster, digest, origin, like, settings)
    return ended
