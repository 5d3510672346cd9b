"""Saving the target as a snapshot, and restoring one.

Saving: the target is cloned aside, looked at, and becomes a snapshot in one transaction at the very end. PostgreSQL
clones no database that somebody is connected to. The cloning is started first, as its lock keeps newcomers waiting,
and the sessions that are there are ended meanwhile; clients that connect again find the database as they left it.

Restoring: a clone of the snapshot takes the target's place, as in a reset. The snapshot itself stays.

The revisions that a database is at are read without Alembic: importing that takes longer than restoring.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import BlockedError, DatabaseError, MigrationError, Protected, SettingsError, SnapshotError
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server, sessions
from seedtool.postgres.cluster import Cluster, DatabaseFacts, create_statement, fresh_name, open_cluster
from seedtool.postgres.psycopg_errors import reason
from seedtool.postgres.server import Target
from seedtool.printable import is_printable
from seedtool.resetting import clones, guard, templates
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import replace as put_in_place
from seedtool.resetting.swap import carry_over
from seedtool.schema.schema_files import project_files
from seedtool.settings import Settings
from seedtool.snapshots import registry
from seedtool.snapshots.registry import NAME_LIMIT, Snapshot, checked_name, checked_note

# Alembic's version table may have any name, in any schema; its key is always called <table>_pkc (alembic.ddl.impl)
_VERSION_TABLES = """
SELECT n.nspname, c.relname
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1 AND a.attname = 'version_num'
JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p' AND k.conname = c.relname || '_pkc'
WHERE c.relkind = 'r' AND c.relnatts = 1
  AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
ORDER BY 1, 2
"""
_REVISION = re.compile(rb"""^revision\s*(?::[^=\n]+)?=\s*["']([^"'\n]+)["']""", re.MULTILINE)


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
    listener: Listener = SILENT,
) -> SaveReport:
    """Keep a copy of the target as it is now.

    Args:
        settings: the project's; its git branch and commit are remembered.
        target: the database.
        name: the snapshot's name; None means the branch (or the database's name) and the time.
        note: what the user says about it.
        replace: take the place of a snapshot of the same name.
        listener: hears of the steps.

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
    with open_cluster(target, listener) as cluster:
        cluster.step("lock")
        with cluster.lock(target.digest):
            cluster.step("sweep")
            templates.sweep(cluster, target.digest)
            facts = _saveable(cluster)
            if not replace:
                registry.refuse_taken(cluster, name, "Replace it with --replace, or choose another name.")
            aside = fresh_name("building", target.digest)
            try:
                ended = _clone(cluster, facts, aside)
                cluster.step("look")
                found, size = look(cluster, aside)
                snapshot = Snapshot(
                    name=name, target=target.name, created=now.isoformat(timespec="milliseconds"), revisions=found,
                    branch=branch, commit=commit, note=note, size=size,
                    database=registry.database_name(target, name), owner=cluster.kept(facts).owner,
                )  # fmt: skip
                registry.place(cluster, aside, snapshot, replace=replace)
            except BaseException:
                with contextlib.suppress(psycopg.Error, BlockedError):  # then the next command sweeps it
                    cluster.drop(aside)
                raise
    milliseconds = round((time.perf_counter() - since) * 1000, 3)
    return SaveReport(snapshot=snapshot, sessions_ended=ended, milliseconds=milliseconds)


def kept(name: str, *, note: str) -> Callable[[Cluster, str], None]:
    """Return what makes a database that a reset has replaced a snapshot of its target (see `reset`, `keep`).

    Args:
        name: the snapshot's name; one of the same name is replaced.
        note: what is said about it.
    """

    def keep(cluster: Cluster, old: str) -> None:
        target, facts = cluster.target, cluster.database(old)
        assert facts is not None  # noqa: S101 - it was renamed just now, and the target's lock is held
        found, size = look(cluster, old)
        snapshot = Snapshot(
            name=name, target=target.name, created=datetime.now(UTC).isoformat(timespec="milliseconds"),
            revisions=found, note=note, size=size, database=registry.database_name(target, name),
            owner=cluster.kept(facts).owner,
        )  # fmt: skip
        if snapshot.owner != facts.owner:
            statement = sql.SQL("ALTER DATABASE {} OWNER TO {}")
            cluster.execute(statement.format(sql.Identifier(old), sql.Identifier(snapshot.owner)))
        registry.place(cluster, old, snapshot, replace=True)

    return keep


def look(cluster: Cluster, name: str) -> tuple[list[str], int]:
    """Return the revisions that a database is at, and its size on disk in bytes."""
    with server.connect(cluster.target, name, autocommit=True) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        return revisions_of(connection), row[0] if row else 0


def _usual_name(begin: str) -> str:
    """Return the name of a snapshot that was given none: what it is of, and the local time."""
    begin = begin[: NAME_LIMIT - len("-20261120-120000")].strip()
    return f"{begin if is_printable(begin) else 'snapshot'}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"


def _saveable(cluster: Cluster) -> DatabaseFacts:
    """Return the target's facts when it can be cloned."""
    target = cluster.target
    facts = cluster.database(target.name)
    if facts is None:
        raise DatabaseError(
            f"the database {target.name} does not exist",
            remedy="Run seedtool db-reset to make it.",
            database=target.name,
        )
    if facts.protected and facts.sessions:
        count = f"{facts.sessions} session{'' if facts.sessions == 1 else 's'}"
        raise Protected(
            f"{target} is protected, and saving it would end {count}",
            remedy="Stop what is connected to it first; a backup with pg_dump needs no such thing.",
            database=target.name,
        )
    held = sessions.attached(cluster.connection, facts.oid).bound
    if held:  # nobody may end these: the cloning would wait in vain
        raise BlockedError(
            f"{target} cannot be copied: {', '.join(held)}; nothing was changed",
            remedy="End it in that database: COMMIT PREPARED or ROLLBACK PREPARED, or DROP SUBSCRIPTION.",
        )
    return facts


def _clone(cluster: Cluster, facts: DatabaseFacts, aside: str) -> int:
    """Clone the target and return how many of its sessions were ended; those of a protected one are left alone."""
    like = cluster.kept(facts)
    create_statement(
        cluster, aside, facts.name, like
    )  # refuses a role that may not create databases, before a session is ended
    cluster.step("clone")
    if facts.protected:
        clones.clone(cluster, facts, aside, like)
        return 0
    obstacles = sessions.on_database(facts.oid, seen=facts.sessions > 0)
    with sessions.ended(cluster.target, cluster.connection, obstacles) as ended:
        clones.clone(cluster, facts, aside, like)
    return len(ended)


class RestorePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What restoring would do.

    Args:
        snapshot: the snapshot.
        consent: what has to be agreed to before the target is replaced.
        unknown_revisions: the snapshot's revisions that the project's migrations do not know.
    """

    snapshot: Snapshot
    consent: Consent
    unknown_revisions: list[str]


class RestoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was restored, whether a target was there before, and what went with it: sessions, replication slots."""

    database: str
    snapshot: Snapshot
    replaced: bool
    unknown_revisions: list[str]
    sessions_ended: int
    slots_dropped: list[str] = []
    milliseconds: float


def restore(
    settings: Settings,
    target: Target,
    name: str,
    agree: Callable[[RestorePlan], Consent],
    *,
    then: Path | None = None,
    listener: Listener = SILENT,
) -> RestoreReport:
    """Put a clone of a snapshot in the target's place.

    Args:
        settings: the project's; its migrations tell which revisions are known, and it says whether spares are made.
        target: the database that is replaced, or made when it does not exist.
        name: the snapshot's name.
        agree: given what would be done, returns what the user agrees to (see `guard`), or raises. Nothing is
            locked meanwhile.
        then: a file of SQL that runs in the clone, in one transaction, before it takes the target's place.
        listener: hears of the steps.

    Raises:
        UsageError: there is no such snapshot.
        Protected, NotConfirmed: the guard refuses; nothing was changed.
        BlockedError: the target cannot be freed; nothing was changed.
        SnapshotError: the file of SQL cannot be read, or a statement of it fails; nothing was changed.
    """
    script = _script(then) if then is not None else None
    with open_cluster(target, listener) as cluster:
        snapshot = registry.require(cluster, name)
        needed = guard.consent_to_replace(cluster, cluster.database(target.name))
        plan = RestorePlan(
            snapshot=snapshot, consent=needed, unknown_revisions=unknown_revisions(settings, snapshot.revisions)
        )
        consent = agree(plan)
        since = time.perf_counter()  # the time that somebody takes to answer does not count
        cluster.step("lock")
        with cluster.lock(target.digest):
            snapshot = registry.require(cluster, name)
            facts = cluster.database(target.name)
            guard.require(guard.consent_to_replace(cluster, facts), consent, target)
            cluster.step("sweep")
            templates.sweep(cluster, target.digest)
            like = facts or cluster.database(snapshot.database)
            assert like is not None  # noqa: S101 - it was found just now, and the target's lock is held
            with _changed(cluster, snapshot.database, like, then, script) as source:
                if script is not None:  # nobody restores the same again
                    settings = msgspec.structs.replace(settings, spares=0)
                done = put_in_place(cluster, source, like, facts, settings=settings, consent=consent)
    return RestoreReport(
        database=str(target),
        snapshot=snapshot,
        replaced=facts is not None,
        unknown_revisions=plan.unknown_revisions,
        sessions_ended=done.sessions_ended,
        slots_dropped=done.slots,
        milliseconds=round((time.perf_counter() - since) * 1000, 3),
    )


def _script(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SnapshotError(
            f"{file} cannot be read: {error.strerror}", remedy="Name a file of SQL.", file=str(file)
        ) from error


@contextlib.contextmanager
def _changed(
    cluster: Cluster, snapshot: str, like: DatabaseFacts, file: Path | None, script: bytes | None
) -> Iterator[str]:
    """Yield what a restore clones: the snapshot, or a clone of it in which a script has run."""
    if script is None:
        yield snapshot
        return
    aside = fresh_name("building", cluster.target.digest)
    origin = cluster.database(snapshot)
    assert origin is not None  # noqa: S101 - it was found just now, and the target's lock is held
    try:
        cluster.step("clone")
        clones.clone(cluster, origin, aside, like)
        carry_over(cluster, snapshot, aside)
        cluster.step("then")
        with server.connect(cluster.target, aside) as connection:
            try:
                connection.execute(script)
            except psycopg.Error as error:
                line = script.count(b"\n", 0, int(error.diag.statement_position or 1) - 1) + 1
                raise SnapshotError(
                    f"{file}:{line}: {reason(error)}",
                    remedy="Correct the statement. The database is as it was.",
                    file=str(file),
                    line=line,
                ) from error
        yield aside
    finally:
        with contextlib.suppress(psycopg.Error, BlockedError):  # then the next command sweeps it
            cluster.drop(aside)


def revisions_of(connection: psycopg.Connection) -> list[str]:
    """Return the revisions of the database, over all its version tables; none when Alembic does not look after it."""
    found: set[str] = set()
    for names in connection.execute(_VERSION_TABLES).fetchall():
        rows = connection.execute(sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(*names)))
        found.update(revision for (revision,) in rows if is_printable(revision))
    return sorted(found)


def unknown_revisions(settings: Settings, revisions: list[str]) -> list[str]:
    """Return those of the revisions that no file of the project's migrations declares.

    Where the migrations cannot be found, which other commands complain of, all count as known.
    """
    missing = set(revisions)
    try:
        files = [path for path in project_files(settings) if path.suffix == ".py"] if missing else []
    except (MigrationError, SettingsError):
        return []
    # Alembic usually puts the revision into the file's name, so those files are read first
    for path in sorted(files, key=lambda path: not any(revision in path.name for revision in revisions)):
        if missing:
            missing -= {found.decode(errors="replace") for found in _REVISION.findall(path.read_bytes())}
    return sorted(missing)


def branch_and_commit(root: Path) -> tuple[str | None, str | None]:
    """Return the branch and the commit's full hash; None for what there is not.

    Args:
        root: the project's folder. Without git, outside a checkout or before the first commit there is neither; a
            detached head has no branch.
    """
    import subprocess

    try:
        done = subprocess.run(
            ["git", "-C", root, "rev-parse", "HEAD", "--symbolic-full-name", "HEAD"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", errors="replace",
            check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None, None
    commit, head = done.stdout.splitlines()
    branch = head.removeprefix("refs/heads/")
    return (branch if head != branch and is_printable(branch) else None), commit
