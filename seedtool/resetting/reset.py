"""The reset: the target is replaced by a clone of a template that layers were built into.

Read `reset` from top to bottom: that is the whole story. A crash at any line leaves the old database or the new one
under the target's name, whole, and the next reset drops the rest.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import BlockedError
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server, sessions
from seedtool.postgres.cluster import Cluster, DatabaseFacts, drop_statement, fresh_name, open_cluster
from seedtool.resetting import clones, guard, spares, templates
from seedtool.resetting.guard import Consent
from seedtool.resetting.layers import fingerprints
from seedtool.resetting.swap import Swapped, swap, swap_back, take_free_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from seedtool.postgres.server import Target
    from seedtool.resetting.in_place import RebuildPlan, Rebuilt
    from seedtool.resetting.layers import Layer
    from seedtool.settings import Settings


class ResetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a reset would do.

    Args:
        consent: what has to be agreed to.
        template: the template; None when it has to be built.
        schema: the template of the lowest layer is there.
        spare: a clone of the template is ready.
        slots: the database's logical replication slots that nobody reads: they would go with it.
        in_place: what would be dropped and built again where the role may not create databases; else None.
    """

    database: str
    exists: bool
    consent: Consent
    fingerprint: str
    template: str | None
    schema: bool
    spare: bool
    sessions: int
    slots: list[str] = []
    in_place: RebuildPlan | None = None


class ResetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a reset did.

    Args:
        built: the template had to be built: the milliseconds tell `build` (the migrations) and `seed` apart.
        spare: a clone was ready.
        results: what each layer's builder returned when it was built, by the layer's step.
        sessions_ended: how many sessions were on the old database.
        slots_dropped: its logical replication slots that nobody read: they went with it.
        swept: what crashes had left; the server drops it.
        left_alone: databases with private names that are protected, used, or somebody else's, with the reason.
        pruned: templates and spares that were dropped because there were too many.
        milliseconds: the time of each step.
        in_place: how the schemas were rebuilt where the role may not create databases, without any template; or None.
    """

    database: str
    replaced: bool
    template: str | None
    built: bool
    spare: bool
    results: dict[str, Mapping[str, object]]
    sessions_ended: int
    slots_dropped: list[str] = []
    swept: list[str]
    left_alone: dict[str, str] = {}
    pruned: list[str] = []
    milliseconds: dict[str, float]
    in_place: Rebuilt | None = None


def plan(target: Target, layers: Sequence[Layer]) -> ResetPlan:
    """Look at what a reset would do, and change nothing.

    Args:
        target: the database.
        layers: what the new database would hold, the lowest layer first.

    Raises:
        Protected: the target carries the protection mark.
        SeedtoolError: a layer's files cannot be read.
    """
    with open_cluster(target) as cluster:
        facts = cluster.database(target.name)
        like = facts or templates.of_new_database(cluster)
        stack = fingerprints(layers, templates.of_server(cluster, like))
        template = templates.find(cluster, stack[-1])
        return ResetPlan(
            database=str(target),
            exists=facts is not None,
            consent=guard.consent_to_replace(cluster, facts),
            fingerprint=stack[-1],
            template=template.name if template is not None else None,
            schema=template is not None or templates.find(cluster, stack[0]) is not None,
            spare=template is not None and spares.is_ready(cluster, target.digest, template.name, like),
            sessions=facts.sessions if facts else 0,
            slots=sessions.attached(cluster.connection, facts.oid).slots if facts and cluster.may_create else [],
            in_place=_plan_rebuild(cluster, layers) if facts is not None and _is_rebuilt(cluster) else None,
        )


def reset(
    settings: Settings,
    target: Target,
    layers: Sequence[Layer],
    *,
    consent: Consent,
    fresh: bool = False,
    keep: Callable[[Cluster, str], None] | None = None,
    listener: Listener = SILENT,
) -> ResetReport:
    """Replace the target by a database that holds the layers.

    Args:
        settings: how many spares and templates are kept.
        target: the database that is replaced, or made when it does not exist.
        layers: what the new database holds, the lowest layer first.
        consent: what the user agreed to (see `guard`).
        fresh: build the templates anew.
        keep: is called with the private name of the database that was replaced, which is then not dropped: it gives
            it another name.
        listener: hears of the steps.

    Raises:
        Protected, NotConfirmed: the guard refuses; nothing was changed.
        SeedtoolError: a layer cannot be built; target and cache are as they were.
        BlockedError: the target cannot be freed; nothing was changed.
    """
    with open_cluster(target, listener, project=settings.root.name) as cluster:
        cluster.step("lock")
        with cluster.lock(target.digest):
            facts = cluster.database(target.name)
            guard.require(guard.consent_to_replace(cluster, facts, consent), consent, target)
            if facts is not None and _is_rebuilt(cluster):
                from seedtool.resetting import in_place  # few roles need it

                rebuilt, results = in_place.rebuild(cluster, facts, layers, consent=consent)
                return _in_place_report(cluster, rebuilt, results)
            cluster.step("sweep")
            swept = templates.sweep(cluster, target.digest)
            cluster.step("fingerprint")
            like = facts or templates.of_new_database(cluster)
            template = templates.ensure(cluster, layers, like, fresh=fresh)
            top = layers[-1].step
            noted = templates.results_of(cluster, template.name, top) if len(layers) > 1 else {}
            done = replace(cluster, template.name, like, facts, settings=settings, consent=consent, keep=keep)
            pruned = _prune(cluster, settings) if template.built else []
        cluster.end_step()
    return ResetReport(
        database=str(target),
        replaced=facts is not None,
        template=template.name,
        built=template.built,
        spare="clone" not in cluster.milliseconds,
        results=dict(noted),
        sessions_ended=done.sessions_ended,
        slots_dropped=done.slots,
        swept=swept,
        left_alone=cluster.left_alone,
        pruned=pruned,
        milliseconds=cluster.milliseconds,
    )


def replace(
    cluster: Cluster,
    source: str,
    like: DatabaseFacts,
    facts: DatabaseFacts | None,
    *,
    settings: Settings,
    consent: Consent,
    keep: Callable[[Cluster, str], None] | None = None,
) -> Swapped:
    """Put a clone of a finished database in the target's place; until the last moment the target stays as it is.

    The guard has agreed before, but somebody may have filled the target or taken its mark since then. So the old
    database is looked at again where nobody connects to it any more: under its private name, before it is dropped.

    The server drops the database that was there, and makes the spare for the next time, in the background.

    Args:
        cluster: the server; the lock of the target is held and the guard has agreed.
        source: the finished database, without sessions.
        like: owner and tablespace of the clone.
        facts: the present target's; None when there is none.
        settings: whether a spare may be used, and is made for the next time.
        consent: what the user agreed to.
        keep: as `reset` takes it.

    Returns:
        what the swap did.

    Raises:
        BlockedError: the target cannot be freed; nothing was changed.
        NotConfirmed: what is in the target by now needs more consent; the target is as it was.
    """
    digest = cluster.target.digest
    clone, old = fresh_name("clone", digest), fresh_name("old", digest)
    origin = cluster.database(source)
    if origin is None:
        raise BlockedError(f"{source} was dropped by somebody else meanwhile", remedy="Run again.")
    cluster.step("spare")
    if not spares.take(cluster, spares.spare_name(digest, origin, like), clone, like):
        cluster.step("clone")
        clones.clone(cluster, origin, clone, like, connectable=False)
    try:
        swapped = swap(cluster, clone, source, old, facts)
        if swapped.old is not None:
            _keep_unless_agreed(cluster, clone, old, swapped.old, consent)
    except BaseException:
        with contextlib.suppress(psycopg.Error, BlockedError):  # then the next reset sweeps it
            cluster.drop_soon(clone)
        raise
    cluster.step("leave")
    if facts is not None:
        if facts.is_template:
            cluster.execute(sql.SQL("ALTER DATABASE {} WITH IS_TEMPLATE false").format(sql.Identifier(old)))
        if keep is not None:
            keep(cluster, old)
        else:
            cluster.afterwards.append(drop_statement(old))
    cluster.afterwards += spares.upkeep(cluster, digest, origin, like, settings)
    return swapped


def _keep_unless_agreed(cluster: Cluster, clone: str, old: str, facts: DatabaseFacts, consent: Consent) -> None:
    """Put the old database back where it needs more consent than was given.

    Args:
        cluster: the server.
        clone: the name that the new database gets then.
        old: the old database's present name.
        facts: the old database's, as they were under the rename's lock.
        consent: what the user agreed to.

    Raises:
        NotConfirmed: it was put back.
    """
    if consent is Consent.NAME or (consent is Consent.YES and facts.managed):
        return  # a yes for a database that seedtool made covers rows that came meanwhile
    cluster.step("look again")
    try:
        with server.connect(cluster.target, old) as connection:
            empty = guard.holds_nothing(connection) or guard.is_untouched(connection, facts)
    except BaseException:
        swap_back(cluster, clone, old)
        raise
    if not empty:
        swap_back(cluster, clone, old)
        guard.require(Consent.YES if facts.managed else Consent.NAME, consent, cluster.target)


def migrate(
    target: Target, upgrade: Callable[[Target], list[str]], *, listener: Listener = SILENT
) -> tuple[bool, list[str]]:
    """Bring the target to the newest revision, and create it when it does not exist.

    The target's lock is held meanwhile: Alembic itself lets two migrations run into each other.

    Args:
        target: the database.
        upgrade: runs the migrations on it; returns the revisions that it applied.
        listener: hears of the steps.

    Returns:
        whether the database was created, and the revisions applied.
    """
    with open_cluster(target, listener) as cluster, cluster.lock(target.digest):
        created = cluster.database(target.name) is None
        if created:
            templates.sweep(cluster, target.digest)
            aside = fresh_name("clone", target.digest)
            like = templates.of_new_database(cluster)
            cluster.create(aside, "template0", like, connectable=False, strategy=clones.choose_for(cluster, 0))
            take_free_name(cluster, aside)
        with guard.marks_kept(cluster):
            applied = upgrade(target)
        if created:
            guard.note_untouched(cluster, target.name)
        return created, applied


def _is_rebuilt(cluster: Cluster) -> bool:
    """Tell whether a target that exists is rebuilt in place, and not replaced."""
    return cluster.target.in_place or not cluster.may_create


def _plan_rebuild(cluster: Cluster, layers: Sequence[Layer]) -> RebuildPlan:
    from seedtool.resetting.in_place import plan_rebuild

    return plan_rebuild(cluster, layers)


def _in_place_report(cluster: Cluster, rebuilt: Rebuilt, results: Mapping[str, Mapping[str, object]]) -> ResetReport:
    cluster.end_step()
    return ResetReport(
        database=str(cluster.target),
        replaced=True,
        template=None,
        built=True,
        spare=False,
        results=dict(results),
        sessions_ended=rebuilt.sessions_ended,
        swept=[],
        milliseconds=cluster.milliseconds,
        in_place=rebuilt,
    )


def _prune(cluster: Cluster, settings: Settings) -> list[str]:
    from seedtool.resetting import cache

    with contextlib.suppress(psycopg.Error, BlockedError):  # the target is replaced; the next build prunes again
        return [each.name for each in cache.prune(cluster, settings).dropped]
    return []
