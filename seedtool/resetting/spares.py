"""Spares: clones made ahead of time, so that the next reset only renames.

A spare's name tells its target and what it was cloned from, so there is never more than one. A template that was
built anew has another oid, so an outdated spare is never taken for its clone. `CREATE DATABASE` becomes visible when
it is complete: a spare that can be seen is finished. Nothing depends on one being there.
"""

import hashlib
from collections.abc import Iterator

from psycopg import sql

from seedtool.errors import BlockedError
from seedtool.postgres.background import Statement
from seedtool.postgres.cluster import (
    Cluster,
    DatabaseFacts,
    PrivateDatabase,
    create_statement,
    drop_statement,
)
from seedtool.postgres.server import digest_of
from seedtool.resetting import clones
from seedtool.settings import Settings


def spare_name(digest: str, source: DatabaseFacts, like: DatabaseFacts) -> str:
    """Return the name of the spare that is a clone of `source`, with owner and tablespace of `like`, for a target."""
    parts = (source.name, str(source.oid), like.owner, like.tablespace)
    made_of = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"seedtool_spare_{digest[:10]}{made_of[:10]}"


def is_ready(cluster: Cluster, digest: str, source: str, like: DatabaseFacts) -> bool:
    """Tell whether a target has a spare of `source`."""
    origin = cluster.database(source)
    spare = cluster.database(spare_name(digest, origin, like)) if origin is not None else None
    return spare is not None and _is_ours(cluster, spare)


def take(cluster: Cluster, name: str, clone: str, like: DatabaseFacts) -> bool:
    """Give a spare the name of a clone that is about to be swapped in; False when there is none of ours.

    Args:
        cluster: the server; the lock of the target is held.
        name: the spare's name.
        clone: the name it gets.
        like: the owner it gets.
    """
    spare = cluster.database(name)
    if spare is None or not _is_ours(cluster, spare):
        return False
    try:
        cluster.rename(name, clone)
    except BlockedError:  # dropped between the look and the renaming
        return False
    if spare.owner != like.owner:
        cluster.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(clone), sql.Identifier(like.owner))
        )
    return True


def _is_ours(cluster: Cluster, spare: DatabaseFacts) -> bool:
    """Tell a spare from what somebody else has put under its name: ours lets nobody in and belongs to us."""
    usable = not (spare.connectable or spare.dropping or spare.protected or spare.outdated)
    return usable and cluster.trusts(spare)


def upkeep(
    cluster: Cluster, digest: str, source: DatabaseFacts, like: DatabaseFacts, settings: Settings
) -> Iterator[sql.Composed | Statement]:
    """Yield what has to be sent for the next reset: the making of its spare, and the removal of outdated ones.

    Args:
        cluster: the server; the lock of the target is held.
        digest: the target's.
        source: what was cloned just now.
        like: owner and tablespace of the spare.
        settings: how many spares a target keeps, and of what size at most.
    """
    name = spare_name(digest, source, like)
    private = cluster.private_databases("spare", digest[:10])
    present = {each.name: each for each in private if not each.dropping and cluster.trusts(each)}
    number = settings.spares
    if number and name not in present and clones.known_size(cluster, source) <= settings.spare_max_gb * 2**30:
        how = clones.choose(cluster, source)
        yield create_statement(cluster, name, source.name, cluster.kept(like), connectable=False, strategy=how)
    others = sorted((each for each in present.values() if each.name != name), key=lambda each: each.oid)
    for each in others[: len(others) - max(number - 1, 0)]:
        yield drop_statement(each.name)


def without_target(cluster: Cluster, private: list[PrivateDatabase]) -> list[PrivateDatabase]:
    """Return the spares whose target is gone: nobody would ever use or drop them."""
    found = [each for each in private if each.kind == "spare" and not each.dropping]
    if not found:
        return []
    rows = cluster.connection.execute("SELECT datname FROM pg_database")
    living = {digest_of(name)[:10] for (name,) in rows}
    living.add(digest_of(cluster.target.name)[:10])  # it may be made in a moment
    return [each for each in found if each.digest[:10] not in living]
