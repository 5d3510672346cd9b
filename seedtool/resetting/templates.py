"""Templates: finished, sealed databases named by their fingerprint. Each is one layer upon the template below it.

A template is built under another name, and sealed and renamed in one transaction at the very end: a database that
carries a template's name is finished. A crash leaves what it was building under a private name. The next reset drops
that: it tells it from work in progress by the advisory lock that goes with the name.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import BlockedError
from seedtool.postgres import server, sessions
from seedtool.postgres.cluster import Cluster, DatabaseFacts, fresh_name, private_name
from seedtool.postgres.server import Target
from seedtool.resetting import clones, notes, spares
from seedtool.resetting.layers import Layer, fingerprints
from seedtool.resetting.swap import carry_over, give_settings

#: Kinds of private databases that are meant to stay; all others are work in progress, or left by a crash.
LASTING = frozenset({"template", "spare", "snapshot"})


class Template(NamedTuple):
    """A template that is there.

    Args:
        name: its database.
        built: it was built just now.
    """

    name: str
    built: bool


def of_server(cluster: Cluster, like: DatabaseFacts) -> dict[str, str]:
    """Return the facts of server and target that shape a template, by name (see `Layer.fingerprint`)."""
    names = ("owner", "encoding", "provider", "collate", "ctype", "locale", "icu_rules", "tablespace", "settings")
    facts = {name: str(getattr(like, name)) for name in names}
    if like.session_settings:
        facts["session"] = str(like.session_settings)
    if not cluster.trusts(like):  # such templates belonged to the target's owner in the first release
        facts["template owner"] = cluster.user
    return {**facts, "version": str(cluster.version), "role": cluster.user}


def of_target(cluster: Cluster) -> DatabaseFacts:
    """Return the facts that clones for the target share with it, or would share with a new one where there is none."""
    return cluster.database(cluster.target.name) or of_new_database(cluster)


def of_new_database(cluster: Cluster) -> DatabaseFacts:
    """Return the facts that a database made by this role without options would have."""
    default = cluster.database("template1")
    assert default is not None  # noqa: S101 - every server has one; CREATE DATABASE itself relies on it
    return msgspec.structs.replace(
        default, owner=cluster.user, name=cluster.target.name, settings=[], role_settings=[], marks=[]
    )


def find(cluster: Cluster, fingerprint: str) -> DatabaseFacts | None:
    """Return the facts of the template with this fingerprint, or None when there is none that is ours.

    One that was made under another version of its collation is none either: building it again replaces it.
    """
    facts = cluster.database(private_name("template", fingerprint))
    if facts is None or not facts.is_template or facts.connectable or not cluster.trusts(facts) or facts.outdated:
        return None
    return facts


def ensure(cluster: Cluster, layers: Sequence[Layer], like: DatabaseFacts, *, fresh: bool = False) -> Template:
    """Return the template of a stack of layers; build what is missing of it, from the longest part that is there.

    Until the cluster is left, nobody prunes it.

    Args:
        cluster: the server.
        layers: the stack, the lowest layer first.
        like: owner, encoding, locale, tablespace and settings of the new databases.
        fresh: build all layers anew.

    Raises:
        SeedtoolError: what a layer's `check` or `build` raises; the cache is as it was.
    """
    stack = list(zip(layers, fingerprints(layers, of_server(cluster, like)), strict=True))
    return _ensure(cluster, stack, like, fresh=fresh)


def _ensure(cluster: Cluster, stack: Sequence[tuple[Layer, str]], like: DatabaseFacts, *, fresh: bool) -> Template:
    *below, (layer, fingerprint) = stack
    cluster.hold(fingerprint)
    if not fresh and (present := find(cluster, fingerprint)) is not None:
        _note_use(cluster, present)
        return Template(present.name, built=False)
    with cluster.lock(fingerprint):
        if not fresh and (present := find(cluster, fingerprint)) is not None:  # somebody else has built it meanwhile
            return Template(present.name, built=False)
        layer.check()  # before the layers below are built
        source = _ensure(cluster, below, like, fresh=fresh).name if below else None
        cluster.step(layer.step)
        built = build(cluster, fingerprint, like, layer.build, purpose=_purpose(layer, cluster), source=source)
        for note in layer.notes:
            cluster.listener.note(note)
        return built


def load(
    cluster: Cluster,
    layers: Sequence[Layer],
    like: DatabaseFacts,
    fill: Callable[[Target], Mapping[str, object]],
) -> Template:
    """Return the template of a stack; where there is none, fill one from elsewhere, such as a dump of it.

    Args:
        cluster: the server.
        layers: the stack: it gives the template's name and purpose.
        like: as `ensure` takes it.
        fill: fills an empty database.
    """
    fingerprint = fingerprints(layers, of_server(cluster, like))[-1]
    cluster.hold(fingerprint)
    with cluster.lock(fingerprint):
        if (present := find(cluster, fingerprint)) is not None:
            return Template(present.name, built=False)
        return build(cluster, fingerprint, like, fill, purpose=_purpose(layers[-1], cluster), source=None)


def build(
    cluster: Cluster,
    fingerprint: str,
    like: DatabaseFacts,
    fill: Callable[[Target], Mapping[str, object]],
    *,
    purpose: str,
    source: str | None,
) -> Template:
    """Build a template aside and seal it; the lock of its fingerprint is held.

    Args:
        cluster: the server.
        fingerprint: hex digest that names the template.
        like: as `ensure` takes it.
        fill: fills the new database. When it raises, the database is dropped.
        purpose: what the template is for, in words.
        source: the template that it is cloned from; None for an empty database.
    """
    _refuse_stranger(cluster, private_name("template", fingerprint))
    aside, like = fresh_name("building", fingerprint), cluster.kept(like)
    origin = cluster.database(source) if source is not None else None
    if origin is not None:
        clones.clone(cluster, origin, aside, like)
    else:
        cluster.create(aside, "template0", like)
    try:
        if origin is not None:
            carry_over(cluster, origin.name, aside)
        else:
            give_settings(cluster, aside, like)  # a search_path, say, decides where tables are made
        result = fill(cluster.target.at(aside))
        with server.connect(cluster.target, aside, autocommit=True) as connection:
            connection.execute("ANALYZE")
        cluster.step("seal")
        facts = cluster.database(aside)
        note = notes.Note(
            purpose=purpose,
            made=notes.now(),
            used=notes.now(),
            size=cluster.size_of(aside),
            result=dict(result),
            migrated_settings=_set_by_migrations(facts, like) if facts is not None else [],
        )
        return Template(_seal(cluster, aside, fingerprint, note), built=True)
    except BaseException:
        with contextlib.suppress(psycopg.Error, BlockedError):  # then the next reset sweeps it
            cluster.drop_soon(aside)
        raise


def _set_by_migrations(built: DatabaseFacts, like: DatabaseFacts) -> list[str]:
    return sorted({*built.settings, *built.role_settings} - {*like.settings, *like.role_settings})


def _refuse_stranger(cluster: Cluster, name: str) -> None:
    """Refuse where somebody else's database has the name of a template of ours: what is in it would be cloned."""
    facts = cluster.database(name)
    if facts is not None and not cluster.trusts(facts):
        raise BlockedError(
            f"the database {name} has the name of a template and belongs to the role {facts.owner}, which is not"
            f" {cluster.user} nor a role that {cluster.user} is a member of",
            remedy=f"Find out who made it. Then let {facts.owner} or an administrator run: DROP DATABASE {name}.",
        )


def result_of(cluster: Cluster, template: str) -> dict[str, object]:
    """Return what the builder of a template's top layer returned; nothing where that was not noted."""
    facts = cluster.database(template)
    note = notes.read(facts) if facts is not None else None
    return note.result if note is not None else {}


def _purpose(layer: Layer, cluster: Cluster) -> str:
    return f"{layer.purpose} of {cluster.project}" if cluster.project else layer.purpose


def _seal(cluster: Cluster, building: str, fingerprint: str, note: notes.Note) -> str:
    """Close a finished database and give it its template's name, in the place of the one that has it."""
    name, template = sql.Identifier(building), private_name("template", fingerprint)
    # a program that looks into every new database (a monitor, pgAdmin) would stand in the way of the renaming
    cluster.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(name))
    sessions.end_all(cluster.connection, building)
    replaced = fresh_name("old", fingerprint)
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
    """Have the use of a template noted, in the background: a clone that is being made would hold us up."""
    note = notes.read(facts)
    if note is not None and (used := notes.with_use(note)) is not None:
        cluster.afterwards.append(notes.statement(facts, used))


def sweep(cluster: Cluster, own: str) -> list[str]:
    """Have dropped what crashes left: half-built templates, unused clones, replaced databases, spares of no target.

    A database that is protected, that somebody else owns or that a client uses is left alone, whatever its name is.

    Args:
        cluster: the server; its `left_alone` gets the databases that were left alone.
        own: digest of the target whose lock is held.

    Returns:
        the names of what is being dropped.
    """
    private = cluster.private_databases()
    leftovers = [each for each in private if each.kind not in LASTING] + spares.without_target(cluster, private)
    if not leftovers:
        return []
    in_progress = _being_dropped(cluster)
    swept = []
    for each in leftovers:
        if each.oid in in_progress:
            continue
        # where the lock is free nobody works on it, and nobody will finish it
        with cluster.try_lock(each.digest) as free, contextlib.suppress(BlockedError):  # it may be another role's
            if not (free or own.startswith(each.digest[:10])):
                continue
            if why := why_not_dropped(cluster, each.name, replaced=each.kind == "old"):
                cluster.left_alone[each.name] = why
                cluster.listener.note(f"{each.name} is left alone: {why}")
                continue
            cluster.drop_soon(each.name)
            swept.append(each.name)
    return swept


def why_not_dropped(cluster: Cluster, name: str, *, replaced: bool = False) -> str:
    """Return why a database with a private name is not ours to drop, in words; empty where it is.

    Args:
        cluster: the server.
        name: the database.
        replaced: it may be the target that a reset has replaced, and belong to the target's owner.
    """
    facts = cluster.database(name)
    if facts is None:
        return ""
    if facts.protected:
        return "it is protected"
    target = cluster.database(cluster.target.name) if replaced and not cluster.trusts(facts) else None
    if not cluster.trusts(facts) and (target is None or target.owner != facts.owner):
        return f"it belongs to {facts.owner}"
    rows = cluster.connection.execute(
        "SELECT format('%%s (%%s)', usename, application_name) FROM pg_stat_activity"
        " WHERE datname = %s AND usesysid IS NOT NULL AND application_name !~ '^(seedtool|pg_dump|pg_restore)'",
        [name],
    ).fetchall()
    return f"it is used by {rows[0][0]}" if rows else ""


def _being_dropped(cluster: Cluster) -> set[int]:
    """Return the oids of databases that the server is dropping, renaming or moving at this moment."""
    rows: Iterable[tuple[int]] = cluster.connection.execute(
        "SELECT objid FROM pg_locks WHERE locktype = 'object' AND classid = 'pg_database'::regclass"
        " AND mode = 'AccessExclusiveLock' AND granted"
    )
    return {oid for (oid,) in rows}
