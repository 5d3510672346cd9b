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
from seedtool.database.cluster import Cluster, DatabaseFacts, private_name
from seedtool.database.server import PRIVATE_NAME
from seedtool.errors import BlockedError


def find(cluster: Cluster, fingerprint: str) -> str | None:
    """Return the name of the template with this fingerprint, or None when there is none."""
    facts = cluster.database(private_name("template", fingerprint))
    return facts.name if facts is not None and facts.is_template and not facts.connectable else None


def ensure(
    cluster: Cluster,
    fingerprint: str,
    like: DatabaseFacts,
    build: Callable[[str], None],
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
        building, replaced = private_name("building", fingerprint), private_name("old", fingerprint)
        cluster.drop(building)
        step("build")
        cluster.create(building, "template0", like)
        try:
            build(cluster.target.conninfo_for(building))
            with server.connect(cluster.target, building, autocommit=True) as connection:
                connection.execute("ANALYZE")
        except BaseException:
            with contextlib.suppress(psycopg.Error, BlockedError):  # then the next reset sweeps it
                cluster.drop(building)
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
        cluster.drop(replaced)
        return template, True


def sweep(cluster: Cluster, own: str) -> list[str]:
    """Drop what earlier, killed runs left behind: half-built templates, clones never used, replaced databases.

    Args:
        cluster: where we stand.
        own: digest of the target whose lock we hold.

    Returns:
        the names of what was dropped.
    """
    swept = []
    for name in (facts.name for facts in cluster.private_databases()):
        match = PRIVATE_NAME.fullmatch(name)
        if match is None or match[1] == "template":
            continue
        if own.startswith(match[2]):
            cluster.drop(name)
            swept.append(name)
            continue
        # where the lock is free nobody works on it, and nobody will finish it
        with cluster.try_lock(match[2]) as free, contextlib.suppress(BlockedError):  # it may be another role's
            if free:
                cluster.drop(name)
                swept.append(name)
    return swept
