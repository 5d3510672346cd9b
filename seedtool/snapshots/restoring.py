"""Restoring: a clone of a snapshot takes the target's place, as in a reset. The snapshot itself stays."""

import time
from collections.abc import Callable

import msgspec

from seedtool.postgres.cluster import open_cluster
from seedtool.postgres.server import Target
from seedtool.reset import guard, templates
from seedtool.reset.guard import Consent
from seedtool.reset.replace import replace, target_digest
from seedtool.settings import Settings
from seedtool.snapshots import store as shelf
from seedtool.snapshots.description import Snapshot
from seedtool.snapshots.revisions import unknown


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
    """What was restored, whether a target was there before, and how many sessions on it were ended."""

    database: str
    snapshot: Snapshot
    replaced: bool
    unknown_revisions: list[str]
    sessions_ended: int
    milliseconds: float


def restore(
    settings: Settings,
    target: Target,
    name: str,
    agree: Callable[[RestorePlan], Consent],
    *,
    step: Callable[[str], None] = lambda _: None,
) -> RestoreReport:
    """Put a clone of a snapshot in the target's place.

    Args:
        settings: the project's; its migrations tell which revisions are known, and it says whether spares are made.
        target: the database that is replaced, or made when it does not exist.
        name: the snapshot's name.
        agree: given what would be done, returns what the user agrees to (see `guard`), or raises. Nothing is
            locked meanwhile.
        step: called with the name of each step before it.

    Raises:
        UsageError: there is no such snapshot.
        Protected, NotConfirmed: the guard refuses; nothing was changed.
        BlockedError: the target cannot be freed; nothing was changed.
    """
    digest = target_digest(target)
    step("connect")
    with open_cluster(target) as cluster:
        snapshot = shelf.require(cluster, name)
        needed = guard.consent_to_replace(target, cluster.database(target.name))
        plan = RestorePlan(snapshot=snapshot, consent=needed, unknown_revisions=unknown(settings, snapshot.revisions))
        consent = agree(plan)
        since = time.perf_counter()  # how long somebody thinks before answering is not ours
        step("lock")
        with cluster.lock(digest):
            snapshot = shelf.require(cluster, name)
            facts = cluster.database(target.name)
            guard.require(guard.consent_to_replace(target, facts), consent, target)
            step("sweep")
            templates.sweep(cluster, digest)
            like = facts or cluster.database(snapshot.database)
            assert like is not None  # noqa: S101 - it was found just now, and the target's lock is held
            ended = replace(cluster, snapshot.database, like, facts, step, settings=settings)
    return RestoreReport(
        database=str(target),
        snapshot=snapshot,
        replaced=facts is not None,
        unknown_revisions=plan.unknown_revisions,
        sessions_ended=ended,
        milliseconds=round((time.perf_counter() - since) * 1000, 3),
    )
