"""The target is replaced by a clone of a finished database: what a reset and the restoring of a snapshot share."""

import contextlib
import hashlib
from collections.abc import Callable

import psycopg

from seedtool.database.cluster import Cluster, DatabaseFacts, private_name
from seedtool.database.server import Target
from seedtool.database.swap import swap
from seedtool.errors import BlockedError


def target_digest(target: Target) -> str:
    """Return the hex digest that names a target's lock, clones and replaced databases."""
    return hashlib.sha256(f"target {target.name}".encode()).hexdigest()


def replace(
    cluster: Cluster, source: str, like: DatabaseFacts, facts: DatabaseFacts | None, step: Callable[[str], None]
) -> int:
    """Put a clone of `source` in the target's place; until the last moment the target stays as it is.

    Args:
        cluster: where we stand; the lock of the target is held and the guard has agreed.
        source: a finished database without sessions.
        like: owner and tablespace of the clone.
        facts: the present target's; None when there is none.
        step: called with the name of each step before it.

    Returns:
        how many sessions were ended.

    Raises:
        BlockedError: the target cannot be freed; nothing was changed.
    """
    digest = target_digest(cluster.target)
    clone, old = private_name("clone", digest), private_name("old", digest)
    step("clone")
    cluster.create(clone, source, like, connectable=False)
    try:
        ended = swap(cluster, clone, source, old, facts, step)
    except BaseException:
        with contextlib.suppress(psycopg.Error, BlockedError):  # then the next reset sweeps it
            cluster.drop(clone)
        raise
    if facts is not None:
        step("drop")
        cluster.drop(old)
    return ended
