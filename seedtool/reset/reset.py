"""The reset: the target is replaced by a clone of a template that the migrations built.

Read `reset` from top to bottom: that is the whole story. A crash at any line leaves the old database or the
new one under the target's name, whole, and the next reset sweeps up the rest.
"""

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import psycopg

from seedtool.errors import BlockedError
from seedtool.postgres.cluster import Cluster, DatabaseFacts, open_cluster, passing_name
from seedtool.postgres.server import Target
from seedtool.reset import guard, spares, templates
from seedtool.reset.guard import Consent
from seedtool.reset.replace import replace, target_digest
from seedtool.reset.swap import take_free_name
from seedtool.reset.templates import Layer
from seedtool.schema.fingerprint import project_files, schema_fingerprint
from seedtool.settings import Settings

if TYPE_CHECKING:
    from seedtool.reset.in_place import RebuildPlan, Rebuilt
    from seedtool.reset.transaction import OneTransaction


class ResetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a reset would do.

    Args:
        consent: what has to be agreed to.
        template: None when it has to be built.
        schema: without it, whether at least that of the bare schema is there.
        spare: a clone of it is ready.
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
    in_place: "RebuildPlan | None" = None


class ResetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a reset did.

    Args:
        built: the template had to be built: the milliseconds tell `build` (the migrations) and `seed` apart.
        spare: a clone was ready.
        seeded: what the layer told when it was built (see `Layer`); None where the target has no such rows.
        sessions_ended: how many sessions were on the old database.
        swept: what earlier, killed runs had left; the server drops it.
        pruned: templates and spares that went because there were too many.
        milliseconds: the time of each step.
        in_place: how the schemas were rebuilt where the role may not create databases, without any template; or None.
    """

    database: str
    replaced: bool
    template: str | None
    built: bool
    spare: bool
    seeded: dict[str, object] | None = None
    sessions_ended: int
    swept: list[str]
    pruned: list[str] = []
    milliseconds: dict[str, float]
    in_place: "Rebuilt | None" = None


def plan(settings: Settings, target: Target, seed: Layer | None = None) -> ResetPlan:
    """Look at what a reset would do, and change nothing.

    Args:
        settings: the project's settings.
        target: the database.
        seed: what would be laid over the schema.

    Raises:
        Protected: the target carries the protection mark.
        MigrationError: the settings name no Alembic project.
    """
    _refuse_outside_a_project(settings)
    with open_cluster(target) as cluster:
        facts = cluster.database(target.name)
        like = facts or new_database(cluster)
        schema = schema_of(cluster, settings, facts)
        fingerprint = seed.upon(schema) if seed else schema
        template = templates.find(cluster, fingerprint)
        return ResetPlan(
            database=str(target),
            exists=facts is not None,
            consent=guard.consent_to_replace(target, facts),
            fingerprint=fingerprint,
            template=template,
            schema=template is not None or templates.find(cluster, schema) is not None,
            spare=template is not None and spares.is_ready(cluster, target_digest(target), template, like),
            sessions=facts.sessions if facts else 0,
            in_place=None if facts is None or cluster.may_create else _plan_in_place(settings, target),
        )


def reset(
    settings: Settings,
    target: Target,
    build: Callable[[str], object],
    *,
    consent: Consent,
    seed: Layer | None = None,
    fresh: bool = False,
    within: "Callable[[OneTransaction], object] | None" = None,
    warn: "Callable[[RebuildPlan], None]" = lambda _: None,
    step: Callable[[str], None] = lambda _: None,
) -> ResetReport:
    """Replace the target by a database of the newest schema: empty, or with the rows of `seed`.

    Args:
        settings: the project's settings; they shape the fingerprint.
        target: the database that is replaced, or made when it does not exist.
        build: runs the migrations on the database whose connection string it is given; only called when
            there is no template yet.
        consent: what the user agreed to (see `guard`).
        seed: what is laid over the schema, and kept as a template of its own. Not laid where the report's
            `seeded` is None: over schemas that were rebuilt in place.
        fresh: build the templates anew.
        within: runs the migrations on the connection that it is given, for a role that may not create databases: the
            schemas are rebuilt in place, in one transaction.
        warn: told what would be rebuilt in place, just before.
        step: called with the name of each step before it.

    Raises:
        Protected, NotConfirmed: the guard refuses; nothing was changed.
        MigrationError: there are no migrations, or they do not run; target and cache are as they were.
        BlockedError: the target cannot be freed; nothing was changed.
    """
    _refuse_outside_a_project(settings)
    clock = _Clock(step)
    digest = target_digest(target)
    clock("connect")
    with open_cluster(target) as cluster:
        clock("lock")
        with cluster.lock(digest):
            facts = cluster.database(target.name)
            guard.require(guard.consent_to_replace(target, facts), consent, target)
            if facts is not None and not cluster.may_create:
                from seedtool.reset.in_place import rebuild

                warn(_plan_in_place(settings, target))
                rebuilt = rebuild(cluster, facts, build, within, consent=consent, step=clock)
                return ResetReport(
                    database=str(target),
                    replaced=True,
                    template=None,
                    built=True,
                    spare=False,
                    sessions_ended=rebuilt.sessions_ended,
                    swept=[],
                    milliseconds=clock.stop(),
                    in_place=rebuilt,
                )
            clock("sweep")
            swept = templates.sweep(cluster, digest)
            clock("fingerprint")
            like = facts or new_database(cluster)
            template, built = template_of(cluster, settings, build, facts=facts, seed=seed, fresh=fresh, step=clock)
            seeded = templates.told(cluster, template) if seed is not None else None
            ended = replace(cluster, template, like, facts, clock, settings=settings)
            pruned = _prune(cluster, settings) if built else []
    milliseconds = clock.stop()
    return ResetReport(
        database=str(target),
        replaced=facts is not None,
        template=template,
        built=built,
        spare="clone" not in milliseconds,
        seeded=seeded,
        sessions_ended=ended,
        swept=swept,
        pruned=pruned,
        milliseconds=milliseconds,
    )


def _plan_in_place(settings: Settings, target: Target) -> "RebuildPlan":
    from seedtool.reset.in_place import plan_rebuild

    return plan_rebuild(settings, target)


def migrate(target: Target, upgrade: Callable[[str], list[str]]) -> tuple[bool, list[str]]:
    """Bring the target to the newest revision, and create it when it does not exist.

    The target's lock is held meanwhile: Alembic itself lets two migrations run into each other.

    Args:
        target: the database.
        upgrade: runs the migrations on the database whose connection string it is given; returns the revisions.

    Returns:
        whether it was created, and the revisions applied.
    """
    digest = target_digest(target)
    with open_cluster(target) as cluster, cluster.lock(digest):
        created = cluster.database(target.name) is None
        if created:
            templates.sweep(cluster, digest)
            aside = passing_name("clone", digest)
            cluster.create(aside, "template0", new_database(cluster), connectable=False)
            take_free_name(cluster, aside)
        return created, upgrade(target.conninfo)


def _refuse_outside_a_project(settings: Settings) -> None:
    """Refuse before a server is made for a folder that is no project."""
    next(project_files(settings))


def _prune(cluster: Cluster, settings: Settings) -> list[str]:
    from seedtool.reset import cache

    with contextlib.suppress(psycopg.Error, BlockedError):  # the target is replaced; the next build prunes again
        return [each.name for each in cache.prune(cluster, settings).dropped]
    return []


def template_of(
    cluster: Cluster,
    settings: Settings,
    build: Callable[[str], object],
    *,
    facts: DatabaseFacts | None,
    seed: Layer | None = None,
    fresh: bool = False,
    step: Callable[[str], None] = lambda _: None,
) -> tuple[str, bool]:
    """Return the template of the schema, or of a layer over it, building what is missing.

    Args:
        cluster: where we stand.
        settings: the project's settings; they shape the fingerprint.
        build: runs the migrations on the database whose connection string it is given.
        facts: the target's, which the template resembles; None when there is none.
        seed: the layer.
        fresh: build both anew.
        step: called with the name of each step before it.

    Returns:
        its name, and whether it was built just now.
    """
    like = facts or new_database(cluster)
    schema = schema_of(cluster, settings, facts)

    def ensure_schema() -> tuple[str, bool]:
        purpose = f"schema of {settings.root.name}"
        return templates.ensure(cluster, schema, like, build, fresh=fresh, step=step, purpose=purpose)

    if seed is None:
        return ensure_schema()

    def below() -> str:
        seed.check()
        return ensure_schema()[0]

    purpose = f"{seed.purpose} of {settings.root.name}"
    return templates.ensure(
        cluster,
        seed.upon(schema),
        like,
        seed.build,
        fresh=fresh,
        step=step,
        purpose=purpose,
        below=below,
        building="seed",
    )


def schema_of(cluster: Cluster, settings: Settings, facts: DatabaseFacts | None) -> str:
    """Return the fingerprint of the schema's template: the project's files, and what the server would make of them."""
    like = facts or new_database(cluster)
    names = ("owner", "encoding", "provider", "collate", "ctype", "locale", "icu_rules", "tablespace", "settings")
    server_facts = {name: str(getattr(like, name)) for name in names}
    return schema_fingerprint(settings, {**server_facts, "version": str(cluster.version), "role": cluster.user})


def new_database(cluster: Cluster) -> DatabaseFacts:
    """Return the facts that a database made by this role without options would have."""
    default = cluster.database("template1")
    assert default is not None  # noqa: S101 - every server has one; CREATE DATABASE itself relies on it
    return msgspec.structs.replace(default, owner=cluster.user, name=cluster.target.name, settings=[], marks=[])


class _Clock:
    """Names each step as it begins and keeps how long the one before took, in milliseconds."""

    def __init__(self, step: Callable[[str], None]) -> None:
        self._step = step
        self._times: dict[str, float] = {}
        self._name = ""
        self._since = time.perf_counter()

    def __call__(self, name: str) -> None:
        self._close()
        self._name = name
        self._step(name)

    def stop(self) -> dict[str, float]:
        """Return the milliseconds of each step."""
        self._close()
        return self._times

    def _close(self) -> None:
        now = time.perf_counter()
        if self._name:
            self._times[self._name] = round((now - self._since) * 1000, 3)
        self._since = now
