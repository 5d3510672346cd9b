"""Templates: finished, sealed databases named by their fingerprint. Each is one layer upon the template below it.

A template is built under another name, and sealed and renamed in one transaction at the very end: a database that
carries a template's name is finished. A crash leaves what it was building under a private name. The next reset drops
that: it tells it from work in progress by the advisory lock that goes with the name.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import BlockedError, DatabaseError, MigrationError
from seedtool.postgres import server, sessions
from seedtool.postgres.cluster import Cluster, DatabaseFacts, fresh_name, private_name
from seedtool.postgres.server import Target
from seedtool.resetting import clones, notes, spares
from seedtool.resetting.layers import Layer, fingerprints
from seedtool.resetting.swap import carry_over, give_settings

#: Kinds of private databases that are meant to stay; all others are work in progress, or left by a crash.
LASTING = frozenset({"template", "spare", "snapshot"})
_EMPTY = "template0"
#: What a build says that needs something no revision makes: no such schema, type or function; no right to make it.
MISSING = frozenset({"3F000", "42704", "42883", "42501"})
_LACKING_WORDS = re.compile("permission denied to create extension|can only create extension in database")  # pg_cron's
_WHERE_THE_TARGET_HAS_IT = (
    "Where the target has what a new database lacks: in_place = true in [tool.seedtool] rebuilds the target itself;"
    " base_template names a database that has it, to build from."
)


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
    if cluster.target.base != _EMPTY:
        facts["base"] = cluster.target.base
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
    base = cluster.target.base
    default = cluster.database("template1" if base == _EMPTY else base)
    if default is None:
        raise _no_base(base)
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
        results = results_of(cluster, source, below[-1][0].step) if source is not None else {}
        cluster.step(layer.step)
        purpose, base = _purpose(layer, cluster), cluster.target.base
        try:
            built = build(
                cluster, fingerprint, like, layer.build, purpose=purpose, source=source, base=base, below=results
            )
        except MigrationError as error:
            if _lacks_something(error):
                error.remedy = f"{error.remedy} {_WHERE_THE_TARGET_HAS_IT}"
            raise
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
    base: str = _EMPTY,
    below: Mapping[str, dict[str, object]] | None = None,
) -> Template:
    """Build a template aside and seal it; the lock of its fingerprint is held.

    Args:
        cluster: the server.
        fingerprint: hex digest that names the template.
        like: as `ensure` takes it.
        fill: fills the new database. When it raises, the database is dropped.
        purpose: what the template is for, in words.
        source: the template that it is cloned from; None for a new database.
        base: what a new database is made from.
        below: what the builders of the layers below returned, by the layer's step.
    """
    _refuse_stranger(cluster, private_name("template", fingerprint))
    aside, like = fresh_name("building", fingerprint), cluster.kept(like)
    origin = cluster.database(source) if source is not None else None
    if origin is not None:
        clones.clone(cluster, origin, aside, like)
    else:
        _refuse_other_locale(cluster, base, like)
        cluster.create(aside, base, like, strategy=clones.choose_for(cluster, 0))
    try:
        if origin is not None:
            carry_over(cluster, origin.name, aside)
        else:
            give_settings(cluster, aside, like)  # a search_path, say, decides where tables are made
        result = fill(cluster.target.at(aside))
        with server.connect(cluster.target, aside, autocommit=True) as connection:
            server.analyze(connection)
        cluster.step("seal")
        facts = cluster.database(aside)
        note = notes.Note(
            purpose=purpose,
            made=notes.now(),
            used=notes.now(),
            size=cluster.size_of(aside),
            result=dict(result),
            below=dict(below or {}),
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
    note = _note_of(cluster, template)
    return note.result if note is not None else {}


def results_of(cluster: Cluster, template: str, step: str) -> dict[str, dict[str, object]]:
    """Return what the builders of a template's layers returned, by the layer's step; nothing where it was not noted.

    Args:
        cluster: the server.
        template: the template's name.
        step: the step of its top layer.
    """
    note = _note_of(cluster, template)
    return {**note.below, step: note.result} if note is not None else {step: {}}


def _note_of(cluster: Cluster, template: str) -> notes.Note | None:
    facts = cluster.database(template)
    return notes.read(facts) if facts is not None else None


def _lacks_something(error: MigrationError) -> bool:
    """Tell whether a build failed for want of something that an administrator may have put into the target."""
    return error.place.get("code") in MISSING | {"3D000"} or _LACKING_WORDS.search(error.message) is not None


def _no_base(base: str) -> DatabaseError:
    return DatabaseError(
        f"base_template: there is no database {base}",
        remedy="Let an administrator create it, or correct the setting.",
        setting="base_template",
        database=base,
    )


def _refuse_other_locale(cluster: Cluster, base: str, like: DatabaseFacts) -> None:
    """Refuse a base template whose encoding or locale is not the target's: what is made from it has the base's."""
    found = cluster.database(base) if base != _EMPTY else like
    if found is None:
        raise _no_base(base)
    for name in ("encoding", "provider", "collate", "ctype", "locale", "icu_rules"):
        if getattr(found, name) != getattr(like, name):
            raise DatabaseError(
                f"base_template: {base} has the {name} {getattr(found, name)}, and {cluster.target.name} has"
                f" {getattr(like, name)}",
                remedy=f"Create {base} anew from template0 with the encoding and locale of {cluster.target.name}.",
                setting="base_template",
                database=base,
            )


def _purpose(layer: Layer, cluster: Cluster) -> str:
    return f"{layer.purpose}, project {cluster.project}" if cluster.project else layer.purpose


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
