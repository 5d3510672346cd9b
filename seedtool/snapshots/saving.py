"""Saving: the target is cloned aside, looked at, and becomes a snapshot in one transaction at the very end.

PostgreSQL clones no database that somebody is connected to. The cloning is started first, as its lock keeps
newcomers waiting, and the sessions that are there are ended meanwhile; clients that connect again find the
database as they left it.
"""

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import psycopg

from seedtool.errors import BlockedError, DatabaseError, Protected
from seedtool.postgres import server
from seedtool.postgres.cluster import Cluster, DatabaseFacts, create_statement, open_cluster, passing_name
from seedtool.postgres.server import Target
from seedtool.reset import templates
from seedtool.reset.replace import target_digest
from seedtool.reset.swap import sessions_ended
from seedtool.settings import Settings
from seedtool.snapshots import revisions
from seedtool.snapshots import store as shelf
from seedtool.snapshots.checkout import branch_and_commit
from seedtool.snapshots.description import NAME_LIMIT, Snapshot, checked_name, checked_note, printable


class SaveReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was saved, how many sessions on the target were ended for it, and how long it took."""

    snapshot: Snapshot
    sessions_ended: int
    milliseconds: float


def save(
    settings: Settings,
    target: Target,
    name: str | None = None,
    *,
    note: str | None = None,
    replace: bool = False,
    step: Callable[[str], None] = lambda _: None,
) -> SaveReport:
    """Keep a copy of the target as it is now.

    Args:
        settings: the project's; its git branch and commit are remembered.
        target: the database.
        name: the snapshot's name; None means the branch (or the database's name) and the time.
        note: what the user says about it.
        replace: take the place of a snapshot of the same name.
        step: called with the name of each step before it.

    Raises:
        UsageError: the name or note cannot be one, or there is a snapshot of this name.
        Protected: the target carries the protection mark and somebody is connected to it.
        BlockedError: a session may not be ended, or a prepared transaction holds the target.
        DatabaseError: the target does not exist.
    """
    since = time.perf_counter()
    now = datetime.now(UTC)
    branch, commit = branch_and_commit(settings.root)
    name = checked_name(_usual_name(branch or target.name) if name is None else name)
    note = checked_note(note) if note is not None else None
    digest = target_digest(target)
    step("connect")
    with open_cluster(target) as cluster:
        step("lock")
        with cluster.lock(digest):
            step("sweep")
            templates.sweep(cluster, digest)
            facts = _saveable(cluster)
            if not replace:
                shelf.refuse_taken(cluster, name, "Replace it with --replace, or choose another name.")
            aside = passing_name("building", digest)
            try:
                ended = _clone(cluster, facts, aside, step)
                step("look")
                found, size = look(cluster, aside)
                snapshot = Snapshot(
                    name=name, target=target.name, created=now.isoformat(timespec="milliseconds"), revisions=found,
                    branch=branch, commit=commit, note=note, size=size,
                    database=shelf.database_name(target, name), owner=facts.owner,
                )  # fmt: skip
                shelf.place(cluster, aside, snapshot, replace=replace, step=step)
            except BaseException:
                with contextlib.suppress(psycopg.Error, BlockedError):  # then the next command sweeps it
                    cluster.drop(aside)
                raise
    milliseconds = round((time.perf_counter() - since) * 1000, 3)
    return SaveReport(snapshot=snapshot, sessions_ended=ended, milliseconds=milliseconds)


def look(cluster: Cluster, name: str) -> tuple[list[str], int]:
    """Return the revisions that a database is at, and its size on disk in bytes."""
    with server.connect(cluster.target, name, autocommit=True) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        return revisions.current(connection), row[0] if row else 0


def _usual_name(begin: str) -> str:
    """Return the name of a snapshot that was given none: what it is of, and the local time."""
    begin = begin[: NAME_LIMIT - len("-20261120-120000")].strip()
    return f"{begin if printable(begin) else 'snapshot'}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"


def _saveable(cluster: Cluster) -> DatabaseFacts:
    """Return the target's facts when it can be cloned."""
    target = cluster.target
    facts = cluster.database(target.name)
    if facts is None:
        raise DatabaseError(f"the database {target.name} does not exist", remedy="Run seedtool db-reset to make it.")
    if facts.protected and facts.sessions:
        count = f"{facts.sessions} session{'' if facts.sessions == 1 else 's'}"
        raise Protected(
            f"{target} is protected, and saving it would end {count}",
            remedy="Stop what is connected to it first; a backup with pg_dump needs no such thing.",
        )
    prepared = cluster.connection.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s", [target.name])
    held = [gid for (gid,) in prepared]
    if held:  # nobody may end these: the cloning would wait in vain
        raise BlockedError(
            f"{target} cannot be copied: prepared transaction {', '.join(held)}; nothing was changed",
            remedy="Finish it in that database: COMMIT PREPARED or ROLLBACK PREPARED.",
        )
    return facts


def _clone(cluster: Cluster, facts: DatabaseFacts, aside: str, step: Callable[[str], None]) -> int:
    """Clone the target and return how many of its sessions were ended; of a protected one none is."""
    statement = create_statement(cluster, aside, facts.name, facts)  # who may not is told before a session ends
    step("clone")
    if facts.protected:
        cluster.execute(statement)
        return 0
    with sessions_ended(cluster, facts) as ended:
        cluster.execute(statement)
    return ended()
