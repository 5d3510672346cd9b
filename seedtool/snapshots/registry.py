"""Which snapshots there are of a target: what each remembers, finding, renaming and deleting them.

A snapshot is a sealed database on the target's server. What it remembers is one line of JSON in the comment of that
database. The line names the database's oid, as all marks in comments do, so a comment that was copied elsewhere makes
no snapshot. It is plain ASCII, since comments on databases are shared by databases of all encodings.

The target's name and the snapshot's make the database's private name, so there are never two of one name. A change
takes the target's lock; looking needs none.
"""

import difflib
import hashlib
import json
import re
import unicodedata
from datetime import datetime

import msgspec
from psycopg import sql

from seedtool.errors import UsageError
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server, sessions
from seedtool.postgres.cluster import COMMENTED_MARK, Cluster, fresh_name, open_cluster
from seedtool.postgres.server import Target
from seedtool.printable import is_printable
from seedtool.resetting import templates
from seedtool.resetting.spares import spare_name
from seedtool.settings import Settings

NAME_LIMIT = 100
NOTE_LIMIT = 500
_SNAPSHOT = "seedtool.snapshot"


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot remembers; this travels with an exported file, so it is checked wherever it is read.

    Args:
        name: the snapshot's name.
        target: name of the database it is a copy of.
        created: when it was saved: ISO 8601, UTC.
        revisions: the Alembic revisions that the database was at.
        branch: the git branch of the project at that time; None when there was none.
        commit: the git commit, likewise.
        note: what the user said about it.
        size: bytes on the server's disk.

    Raises:
        ValueError: a text cannot be shown on a terminal, or `created` is no time.
    """

    name: str
    target: str
    created: str
    revisions: list[str]
    branch: str | None = None
    commit: str | None = None
    note: str | None = None
    size: int = 0

    def __post_init__(self) -> None:
        if datetime.fromisoformat(self.created).tzinfo is None:
            raise ValueError("created has no time zone")
        for text in (self.name, self.branch, self.commit, self.note, *self.revisions):
            if text is not None and not is_printable(text):
                raise ValueError("a text that cannot be shown")
        if _fault(self.name, NAME_LIMIT):
            raise ValueError("not a name")


class Snapshot(Description, frozen=True, kw_only=True):
    """A snapshot on the target's server.

    Args:
        database: the private name of the database that holds it.
        owner: the role that owns it.
    """

    database: str
    owner: str


def checked_name(name: str) -> str:
    """Return the name as it is kept: composed (NFC), so that what looks the same is the same.

    Raises:
        UsageError: it cannot be a snapshot's name.
    """
    composed = unicodedata.normalize("NFC", name)
    fault = _fault(composed, NAME_LIMIT)
    if fault:
        raise UsageError(
            f"{name[:NAME_LIMIT]!r} cannot be a snapshot's name: it {fault}",
            remedy=f"Use 1 to {NAME_LIMIT} printable characters, without spaces at the ends.",
            snapshot=name[:NAME_LIMIT],
        )
    return composed


def checked_note(note: str) -> str:
    """Return the note without spaces at the ends.

    Raises:
        UsageError: it is empty, too long, or cannot be shown in one line.
    """
    note = note.strip()
    fault = _fault(note, NOTE_LIMIT)
    if fault:
        raise UsageError(
            f"the note {fault}", remedy=f"Use 1 to {NOTE_LIMIT} printable characters, in one line.", option="--note"
        )
    return note


def _fault(text: str, limit: int) -> str:
    if not text.strip():
        return "is empty"
    if not is_printable(text):
        return "holds a control character or one that cannot be shown"
    if text != text.strip():
        return "begins or ends with a space"
    return f"has {len(text)} characters" if len(text) > limit else ""


def written(description: Description, oid: int) -> str:
    """Return the mark that makes the database with this oid a snapshot."""
    # a Snapshot is a Description too; its further fields stay out
    fields = {name: getattr(description, name) for name in Description.__struct_fields__}
    return f"[{_SNAPSHOT}={json.dumps(fields)} for {oid}]"


def read(comment: str | None, oid: int | None = None) -> Description | None:
    """Return the description in a database's comment.

    Args:
        comment: the comment.
        oid: the database's; None where the comment came in a file, and its database is elsewhere.

    Returns:
        None when there is none, it is another database's, or somebody has spoilt it.
    """
    found = re.search(COMMENTED_MARK, comment or "")
    if found is None or (oid is not None and int(found[2]) != oid):
        return None
    mark, _, value = found[1].partition("=")
    if mark != _SNAPSHOT:
        return None
    try:
        return msgspec.json.decode(value, type=Description)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None


def snapshots(target: Target) -> list[Snapshot]:
    """Return the target's snapshots, the newest first."""
    with open_cluster(target) as cluster:
        return of_target(cluster)


def glance(settings: Settings) -> list[Snapshot]:
    """Return the target's snapshots where its server answers within two seconds; nothing is started."""
    target = server.find(settings)
    if target.embedded is not None and not target.embedded.is_running():
        return []
    with server.connect(target, target.maintenance, autocommit=True, patience=2) as connection:
        return of_target(Cluster(connection, target))


def require_all(target: Target, names: list[str]) -> list[Snapshot]:
    """Return the target's snapshots of these names.

    Raises:
        UsageError: there is none of one of them.
    """
    with open_cluster(target) as cluster:
        return [require(cluster, name) for name in names]


def rename(target: Target, name: str, new_name: str, *, listener: Listener = SILENT) -> Snapshot:
    """Give a snapshot another name, and return it.

    Args:
        target: whose snapshot it is.
        name: its name.
        new_name: the one it gets.
        listener: hears of the steps.

    Raises:
        UsageError: there is none of this name, or one of the new name already.
    """
    new_name = checked_name(new_name)
    with open_cluster(target, listener) as cluster, cluster.lock(target.digest):
        templates.sweep(cluster, target.digest)
        snapshot = require(cluster, name)
        refuse_taken(cluster, new_name, "Choose another name, or delete that one first.")
        renamed = _with(snapshot, name=new_name, database=database_name(target, new_name))
        with cluster.connection.transaction():
            cluster.step("rename")
            cluster.rename(snapshot.database, renamed.database)
            cluster.step("describe")
            describe(cluster, renamed)
            cluster.step("commit")
        return renamed


def delete(target: Target, names: list[str], *, listener: Listener = SILENT) -> list[Snapshot]:
    """Delete snapshots, and return what they were.

    Args:
        target: whose snapshots they are.
        names: their names; a name that is given twice counts once.
        listener: hears of the steps.

    Raises:
        UsageError: there is none of one of these names; none is deleted.
    """
    with open_cluster(target, listener) as cluster, cluster.lock(target.digest):
        templates.sweep(cluster, target.digest)
        chosen = {each.name: each for each in [require(cluster, name) for name in names]}
        for snapshot in chosen.values():
            old, spare = fresh_name("old", target.digest), _spare(cluster, snapshot)
            cluster.step("rename")
            cluster.rename(snapshot.database, old)  # first, so that what a crash leaves is no snapshot any more
            cluster.step("drop")
            cluster.drop(old)
            cluster.drop(spare)
        return list(chosen.values())


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
    _refuse_others(cluster, name)
    names = [each.name for each in of_target(cluster)]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    remedy = "There is none yet: seedtool snapshot save."
    if names:
        remedy = f"Did you mean {close[0]}?" if close else "seedtool snapshot list shows the snapshots."
    raise UsageError(f"there is no snapshot {name} of {cluster.target}", remedy=remedy, snapshot=name)


def _refuse_others(cluster: Cluster, name: str) -> None:
    """Refuse a snapshot of another role: anybody who may create databases can make one, and put a trigger in it."""
    where = sql.SQL("= {}").format(sql.Literal(database_name(cluster.target, checked_name(name))))
    for snapshot in _snapshots(cluster, where, of_others=True):
        raise UsageError(
            f"the snapshot {name} of {cluster.target} belongs to {snapshot.owner},"
            f" which is not {cluster.user} nor a role that {cluster.user} is a member of",
            remedy="If you trust what is in it, let an administrator run:"
            f" ALTER DATABASE {snapshot.database} OWNER TO {cluster.user}.",
            snapshot=name,
        )


def of_target(cluster: Cluster) -> list[Snapshot]:
    """Return the target's snapshots that belong to a role we trust, the newest first."""
    found = _snapshots(cluster, sql.SQL(r"LIKE 'seedtool\_snapshot\_%'"))
    return sorted(found, key=lambda snapshot: (snapshot.created, snapshot.name), reverse=True)


def refuse_taken(cluster: Cluster, name: str, remedy: str) -> None:
    """Refuse when there is a snapshot of this name, whoever owns it.

    Raises:
        UsageError: there is.
    """
    _refuse_others(cluster, name)
    if find(cluster, name) is not None:
        raise UsageError(f"the snapshot {name} of {cluster.target} exists already", remedy=remedy, snapshot=name)


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


def place(cluster: Cluster, aside: str, snapshot: Snapshot, *, replace: bool) -> None:
    """Make a finished database a snapshot: closed, described and named in one transaction, or not at all.

    Args:
        cluster: the server; the lock of the target is held.
        aside: the database's present name.
        snapshot: what it is to be.
        replace: it takes the place of one of the same name.

    Raises:
        UsageError: there is a snapshot of this name, which is not to be replaced.
    """
    cluster.step("seal")
    cluster.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(aside)))
    sessions.end_all(cluster.connection, aside)
    _refuse_others(cluster, snapshot.name)
    if not replace:
        refuse_taken(cluster, snapshot.name, "Replace it with --replace, or choose another name.")
    replaced, old = find(cluster, snapshot.name), fresh_name("old", cluster.target.digest)
    spare = _spare(cluster, replaced) if replaced is not None else ""
    with cluster.connection.transaction():
        if replaced is not None:
            cluster.rename(replaced.database, old)
        cluster.step("rename")
        cluster.rename(aside, snapshot.database)
        describe(cluster, snapshot)
        cluster.step("commit")
    if replaced is not None:
        cluster.step("drop")
        cluster.drop(old)
        cluster.drop(spare)


def _spare(cluster: Cluster, snapshot: Snapshot) -> str:
    """Return the name of the clone that restoring this snapshot may have made ahead: it goes with the snapshot."""
    source = cluster.database(snapshot.database)
    assert source is not None  # noqa: S101 - it was found just now, and the target's lock is held
    like = cluster.database(cluster.target.name) or source
    return spare_name(cluster.target.digest, source, like)


def _snapshots(cluster: Cluster, condition: sql.Composable, *, of_others: bool = False) -> list[Snapshot]:
    """Return the target's snapshots that belong to a role we trust, or those of other roles."""
    rows = cluster.connection.execute(_SNAPSHOTS.format(condition=condition)).fetchall()
    found = []
    for database, oid, owner, comment in rows:
        description = read(comment, oid)
        # a database that was renamed by hand is nobody's
        if (
            description is not None
            and description.target == cluster.target.name
            and database == database_name(cluster.target, description.name)
            and (owner in cluster.roles) is not of_others
        ):
            found.append(_with(description, database=database, owner=owner))
    return found


def _with(description: Description, **changes: object) -> Snapshot:
    return msgspec.convert({**msgspec.structs.asdict(description), **changes}, Snapshot)


_SNAPSHOTS = sql.SQL("""
SELECT datname, oid, pg_get_userbyid(datdba), shobj_description(oid, 'pg_database') FROM pg_database
WHERE NOT datallowconn AND datconnlimit <> -2 AND datname {condition}
""")
