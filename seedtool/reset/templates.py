"""Templates: finished, sealed databases named by their fingerprint, and clones of them.

A template is built under another name, and sealed and renamed in one transaction at the very end: a database
that carries a template's name is finished. What a crash left under a private name is swept by the next reset,
which knows it from work in progress by the advisory lock that goes with the name.
"""

import contextlib
import hashlib
from collections.abc import Callable, Mapping

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import BlockedError
from seedtool.postgres import server
from seedtool.postgres.cluster import Cluster, DatabaseFacts, passing_name, private_name
from seedtool.reset import notes, spares
from seedtool.reset.clones import choose, size_of
from seedtool.reset.swap import carry_over, give_settings

#: Kinds of private databases that are meant to stay; all others are somebody's work in progress, or left over.
LASTING = frozenset({"template", "spare", "snapshot"})


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """What is laid over the schema and kept as a template of its own.

    Args:
        purpose: what it is, in words.
        fingerprint: hex digest of all that shapes it, apart from what it is laid upon.
        check: reads what `build` will need; called before anything else is built.
        build: fills the database whose connection string it is given. What it returns is remembered.
    """

    purpose: str
    fingerprint: str
    check: Callable[[], object]
    build: Callable[[str], Mapping[str, object]]

    def upon(self, fingerprint: str) -> str:
        """Return the fingerprint of the template that is this layer upon another template."""
        return hashlib.sha256(f"{fingerprint} {self.fingerprint}".encode()).hexdigest()


def find(cluster: Cluster, fingerprint: str) -> str | None:
    """Return the name of the template with this fingerprint, or None when there is none."""
    facts = _find(cluster, fingerprint)
    return facts.name if facts is not None else None


def _find(cluster: Cluster, fingerprint: str) -> DatabaseFacts | None:
    facts = cluster.database(private_name("template", fingerprint))
    return facts if facts is not None and facts.is_template and not facts.connectable else None


def ensure(
    cluster: Cluster,
    fingerprint: str,
    like: DatabaseFacts,
    build: Callable[[str], object],
    *,
    fresh: bool,
    step: Callable[[str], None],
    purpose: str = "",
    below: Callable[[], str] = lambda: "template0",
    building: str = "build",
) -> tuple[str, bool]:
    """Return the template with this fingerprint, building it when there is none; until the cluster is left, it stays.

    Args:
        cluster: where we stand.
        fingerprint: hex digest of all that shapes the template.
        like: owner, encoding, locale and tablespace of the new database.
        build: fills the database whose connection string it is given; what it raises passes through, and the
            cache is as it was. A mapping that it returns is remembered with the template (see `told`).
        fresh: build it even when there is one.
        step: called with the name of each step before it.
        purpose: what the template is for, in words.
        below: returns the name of the template that it is built upon; called when it has to be built.
        building: the name of the step that builds it.

    Returns:
        the template's name, and whether it was built just now.
    """
    cluster.hold(fingerprint)
    if not fresh and (present := _find(cluster, fingerprint)) is not None:
        _note_use(cluster, present)
        return present.name, False
    with cluster.lock(fingerprint):
        if not fresh and find(cluster, fingerprint) is not None:  # somebody else has built it meanwhile
            return private_name("template", fingerprint), False
        source = below()
        aside = passing_name("building", fingerprint)
        step(building)
        origin = cluster.database(source) if source != "template0" else None
        cluster.create(aside, source, like, strategy=choose(cluster, origin) if origin else "wal_log")
        try:
            if source == "template0":
                give_settings(cluster, aside, like.settings)  # a search_path, say, decides where the tables are made
            else:
                carry_over(cluster, source, aside, doors=False)
            built = build(cluster.target.conninfo_for(aside))
            with server.connect(cluster.target, aside, autocommit=True) as connection:
                connection.execute("ANALYZE")
            step("seal")
            facts = cluster.database(aside)
            note = notes.Note(
                purpose=purpose,
                made=notes.now(),
                used=notes.now(),
                size=size_of(cluster, aside),
                told=dict(built) if isinstance(built, Mapping) else {},
                brought=sorted(set(facts.settings) - set(like.settings)) if facts is not None else [],
            )
            return _seal(cluster, aside, fingerprint, note), True
        except BaseException:
            with contextlib.suppress(psycopg.Error, BlockedError):  # then the next reset sweeps it
                cluster.drop_soon(aside)
            raise


def told(cluster: Cluster, template: str) -> dict[str, object]:
    """Return what a template's builder gave back when it was built; nothing where that was not noted."""
    facts = cluster.database(template)
    note = notes.read(facts) if facts is not None else None
    return note.told if note is not None else {}


def _seal(cluster: Cluster, building: str, fingerprint: str, note: notes.Note) -> str:
    """Close a finished database and give it its template's name, in the place of the one that has it."""
    name, template = sql.Identifier(building), private_name("template", fingerprint)
    # whoever looks into every new database (a monitor, pgAdmin) would stand in the way of the renaming
    cluster.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(name))
    cluster.connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pg_has_role(usesysid, 'USAGE')",
        [building],
    )
    replaced = passing_name("old", fingerprint)
    with cluster.connection.transaction():
        if cluster.database(template) is not None:
            cluster.rename(template, replaced)
        facts = cluster.database(building)
        assert facts is not None  # noqa: S101 - built just now, and its lock is held
        cluster.execute(notes.statement(facts, note))
        cluster.execute(sql.SQL("ALTER DATABASE {} WITH IS_TEMPLATE true").format(name))
        cluster.rename(building, template)
    cluster.drop_soon(replaced)
    return template


def _note_use(cluster: Cluster, facts: DatabaseFacts) -> None:
    """Have the use of a template noted. The server does it when it comes to it: a clone being made would hold us up."""
    note = notes.read(facts)
    if note is not None and (used := notes.due(note)) is not None:
        cluster.afterwards.append(notes.statement(facts, used))


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
