"""Which snapshots there are of the target, and giving them other names or away.

A snapshot's name and the target's make its database's private name, so two of one name cannot be. Whoever changes
what is here holds the target's lock; who only looks needs none.
"""

import hashlib
import time
from collections.abc import Callable

import msgspec
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from seedtool.errors import UsageError
from seedtool.postgres import server
from seedtool.postgres.cluster import Cluster, open_cluster, passing_name
from seedtool.postgres.server import Target
from seedtool.reset import templates
from seedtool.reset.replace import target_digest
from seedtool.reset.spares import spare_name
from seedtool.settings import Settings
from seedtool.snapshots.description import Description, Snapshot, checked_name, read, written

#: How long a session inside a database that is to be sealed may take to end (seconds).
PATIENCE = 5


def snapshots(target: Target) -> list[Snapshot]:
    """Return the target's snapshots, the newest first."""
    with open_cluster(target) as cluster:
        return of_target(cluster)


def glance(settings: Settings) -> list[Snapshot]:
    """Return the target's snapshots where its server answers within two seconds; nothing is started."""
    target = server.find(settings)
    if target.embedded is not None and not target.embedded.is_running():
        return []
    conninfo = make_conninfo(target.conninfo_for(target.maintenance), connect_timeout=2, client_encoding="utf8")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return of_target(Cluster(connection, target))


def require_all(target: Target, names: list[str]) -> list[Snapshot]:
    """Return the target's snapshots of these names.

    Raises:
        UsageError: there is none of one of them.
    """
    with open_cluster(target) as cluster:
        return [require(cluster, name) for name in names]


def rename(target: Target, name: str, new_name: str, *, step: Callable[[str], None] = lambda _: None) -> Snapshot:
    """Give a snapshot another name, and return it.

    Args:
        target: whose snapshot it is.
        name: its name.
        new_name: the one it gets.
        step: called with the name of each step before it.

    Raises:
        UsageError: there is none of this name, or one of the new name already.
    """
    new_name = checked_name(new_name)
    with open_cluster(target) as cluster, cluster.lock(target_digest(target)):
        templates.sweep(cluster, target_digest(target))
        snapshot = require(cluster, name)
        refuse_taken(cluster, new_name, "Choose another name, or delete that one first.")
        renamed = _with(snapshot, name=new_name, database=database_name(target, new_name))
        with cluster.connection.transaction():
            step("rename")
            cluster.rename(snapshot.database, renamed.database)
            step("describe")
            describe(cluster, renamed)
            step("commit")
        return renamed


def delete(target: Target, names: list[str], *, step: Callable[[str], None] = lambda _: None) -> list[Snapshot]:
    """Delete snapshots, and return what they were.

    Args:
        target: whose snapshots they are.
        names: their names.
        step: called with the name of each step before it.

    Raises:
        UsageError: there is none of one of these names; none is deleted.
    """
    digest = target_digest(target)
    with open_cluster(target) as cluster, cluster.lock(digest):
        templates.sweep(cluster, digest)
        doomed = {
            each.name: each for each in [require(cluster, name) for name in names]
        }  # who is named twice dies once
        for snapshot in doomed.values():
            old, spare = passing_name("old", digest), _spare(cluster, snapshot)
            step("rename")
            cluster.rename(snapshot.database, old)  # first, so that what a crash leaves is no snapshot any more
            step("drop")
            cluster.drop(old)
            cluster.drop(spare)
        return list(doomed.values())


def find(cluster: Cluster, name: str) -> Snapshot | None:
    """Return the target's snapshot of this name, or None when there is none."""
    found = _snapshots(cluster, sql.SQL("= {}").format(sql.Literal(database_name(cluster.target, checked_name(name)))))
    return found[0] if found else None


def require(cluster: Cluster, name: str) -> Snapshot:
    """Return the target's snapshot of this name.

    Raises:
        UsageError: there is none; the remedy names those there are.
    """
    snapshot = find(cluster, name)
    if snapshot is not None:
        return snapshot
    import difflib

    names = [each.name for each in of_target(cluster)]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    remedy = "There is none yet: seedtool snapshot save."
    if names:
        remedy = f"Did you mean {close[0]}?" if close else "seedtool snapshot list names them."
    raise UsageError(f"there is no snapshot {name} of {cluster.target}", remedy=remedy)


def of_target(cluster: Cluster) -> list[Snapshot]:
    """Return the target's snapshots, the newest first."""
    found = _snapshots(cluster, sql.SQL(r"LIKE 'seedtool\_snapshot\_%'"))
    return sorted(found, key=lambda snapshot: (snapshot.created, snapshot.name), reverse=True)


def refuse_taken(cluster: Cluster, name: str, remedy: str) -> None:
    """Refuse when there is a snapshot of this name.

    Raises:
        UsageError: there is.
    """
    if find(cluster, name) is not None:
        raise UsageError(f"there is a snapshot {name} of {cluster.target} already", remedy=remedy)


def database_name(target: Target, name: str) -> str:
    """Return the private name (see `SNAPSHOT_NAME`) of the database that holds a target's snapshot."""
    digest = hashlib.sha256(f"{target.name}\0{name}".encode()).hexdigest()
    return f"seedtool_snapshot_{digest[:20]}"


def describe(cluster: Cluster, snapshot: Snapshot) -> None:
    """Write a snapshot's description into its database's comment."""
    facts = cluster.database(snapshot.database)
    assert facts is not None  # noqa: S101 - its lock is held
    name, mark = sql.Identifier(snapshot.database), sql.Literal(written(snapshot, facts.oid))
    cluster.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, mark))


def place(cluster: Cluster, aside: str, snapshot: Snapshot, *, replace: bool, step: Callable[[str], None]) -> None:
    """Make a finished database a snapshot: closed, described and named in one transaction, or not at all.

    Args:
        cluster: where we stand; the lock of the target is held.
        aside: the database's present name.
        snapshot: what it is to be.
        replace: it takes the place of one of the same name.
        step: called with the name of each step before it.

    Raises:
        UsageError: there is a snapshot of this name, which is not to be replaced.
    """
    step("seal")
    _close(cluster, aside)
    if not replace:
        refuse_taken(cluster, snapshot.name, "Replace it with --replace, or choose another name.")
    replaced, old = find(cluster, snapshot.name), passing_name("old", target_digest(cluster.target))
    spare = _spare(cluster, replaced) if replaced is not None else ""
    with cluster.connection.transaction():
        if replaced is not None:
            cluster.rename(replaced.database, old)
        step("rename")
        cluster.rename(aside, snapshot.database)
        describe(cluster, snapshot)
        step("commit")
    if replaced is not None:
        step("drop")
        cluster.drop(old)
        cluster.drop(spare)


def _spare(cluster: Cluster, snapshot: Snapshot) -> str:
    """Return the name of the clone that restoring this snapshot may have made ahead: it goes with the snapshot."""
    source = cluster.database(snapshot.database)
    assert source is not None  # noqa: S101 - it was found just now, and the target's lock is held
    like = cluster.database(cluster.target.name) or source
    return spare_name(target_digest(cluster.target), source, like)


def _close(cluster: Cluster, name: str) -> None:
    """Let nobody in any more and wait for our own session, and whatever monitor looked in, to be gone."""
    cluster.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
    deadline = time.monotonic() + PATIENCE
    while cluster.connection.execute(_END_SESSIONS, [name]).fetchall() and time.monotonic() < deadline:
        time.sleep(0.002)  # a rename would look again after 100 ms only


def _snapshots(cluster: Cluster, condition: sql.Composable) -> list[Snapshot]:
    rows = cluster.connection.execute(_SNAPSHOTS.format(condition=condition)).fetchall()
    found = []
    for database, oid, owner, comment in rows:
        told = read(comment, oid)
        # a database that was renamed by hand is nobody's
        if (
            told is not None
            and told.target == cluster.target.name
            and database == database_name(cluster.target, told.name)
        ):
            found.append(_with(told, database=database, owner=owner))
    return found


def _with(description: Description, **changes: object) -> Snapshot:
    return msgspec.convert({**msgspec.structs.asdict(description), **changes}, Snapshot)


_SNAPSHOTS = sql.SQL("""
SELECT datname, oid, pg_get_userbyid(datdba), shobj_description(oid, 'pg_database') FROM pg_database
WHERE NOT datallowconn AND datconnlimit <> -2 AND datname {condition}
""")

_END_SESSIONS = """
WITH inside AS MATERIALIZED (
    SELECT pid FROM pg_stat_activity WHERE datname = %s AND pg_has_role(usesysid, 'USAGE')
)
SELECT pid FROM inside WHERE pg_terminate_backend(pid)
"""
