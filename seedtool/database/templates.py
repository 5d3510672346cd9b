"""Templates: finished, sealed databases named by their fingerprint, and clones of them.

A template is built under another name, and sealed and renamed in one transaction at the very end: a database
that carries a template's name is finished. What a crash left under a private name is swept by the next reset,
which knows it from work in progress by the advisory lock that goes with the name.
"""

import contextlib
from collections.abc import Callable

import psycopg
from psycopg import sql

from seedtool.database import server
from seedtool.database.cloning import spares
from seedtool.database.cluster import Cluster, DatabaseFacts, passing_name, private_name
from seedtool.database.swap import give_settings
from seedtool.errors import BlockedError

#: Kinds of private databases that are meant to stay; all others are somebody's work in progress, or left over.
LASTING = frozenset({"template", "spare", "snapshot"})


def find(cluster: Cluster, fingerprint: str) -> str | None:
    """Return the name of the template with this fingerprint, or None when there is none."""
    facts = cluster.database(private_name("template", fingerprint))
    return facts.name if facts is not None and facts.is_template and not facts.connectable else None


def ensure(
    cluster: Cluster,
    fingerprint: str,
    like: DatabaseFacts,
    build: Callable[[str], object],
    *,
    fresh: bool,
    step: Callable[[str], None],
) -> tuple[str, bool]:
    """Return the template with this fingerprint, building it when there is none.

    Args:
        cluster: where we stand.
        fingerprint: hex digest of all that shapes the template.
        like: owner, encoding, locale and tablespace of the new database.
        build: fills the database whose connection string it is given; what it raises passes through, and the
            cache is as it was.
        fresh: build it even when there is one.
        step: called with the name of each step before it.

    Returns:
        the template's name, and whether it was built just now.
    """
    with cluster.lock(fingerprint):
        present = find(cluster, fingerprint)
        if present is not None and not fresh:
            return present, False
        building, replaced = passing_name("building", fingerprint), passing_name("old", fingerprint)
        step("build")
        cluster.create(building, "template0", like)
        try:
            give_settings(cluster, building, like.settings)  # a search_path, say, decides where the tables are made
            build(cluster.target.conninfo_for(building))
            with server.connect(cluster.target, building, autocommit=True) as connection:
                connection.execute("ANALYZE")
        except BaseException:
            with contextlib.suppress(psycopg.Error, BlockedError):  # then the next reset sweeps it
                cluster.drop_soon(building)
            raise
        step("seal")
        name, template = sql.Identifier(building), private_name("template", fingerprint)
        # whoever looks into every new database (a monitor, pgAdmin) would stand in the way of the renaming
        cluster.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(name))
        cluster.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND pg_has_role(usesysid, 'USAGE')",
            [building],
        )
        with cluster.connection.transaction():
            if cluster.database(template) is not None:
                cluster.rename(template, replaced)
            cluster.execute(sql.SQL("ALTER DATABASE {} WITH IS_TEMPLATE true").format(name))
            cluster.rename(building, template)
        cluster.drop_soon(replaced)
        return template, True


def sweep(cluster: Cluster, own: str) -> list[str]:
    """Have dropped what killed runs left: half-built templates, unused clones, replaced databases, lone spares.

    Args:
        cluster: where we stand.
        own: digest of the target whose lock we hold.

    Returns:
        the names of what is being dropped.
    """
    private = cluster.private_databases()
    leftovers = [each for each in private if each.kind not in LASTING] + spares.lone(cluster, private)
    if not leftovers:
        return []
    in_hand = _dropped_just_now(cluster)
    swept = []
    for each in leftovers:
        if each.oid in in_hand:
            continue
        # where the lock is free nobody works on it, and nobody will finish it
        with cluster.try_lock(each.digest) as free, contextlib.suppress(BlockedError):  # it may be another role's
            if free or own.startswith(each.digest[:10]):
                cluster.drop_soon(each.name)
                swept.append(each.name)
    return swept


def _dropped_just_now(cluster: Cluster) -> set[int]:
    """Return the oids of databases that the server is dropping, renaming or moving at this moment."""
    rows = cluster.connection.execute(
        "SELECT objid FROM pg_locks WHERE locktype = 'object' AND classid = 'pg_database'::regclass"
        " AND mode = 'AccessExclusiveLock' AND granted"
    )
    return {oid for (oid,) in rows}
