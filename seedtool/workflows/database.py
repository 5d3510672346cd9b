"""The guard's mark on the database, and what seedtool keeps on its server."""

import shlex
from typing import Literal

import msgspec

from seedtool.errors import DatabaseError, NotConfirmed, Protected
from seedtool.postgres import server
from seedtool.postgres.cluster import open_cluster
from seedtool.postgres.server import Target
from seedtool.resetting import cache, guard
from seedtool.resetting.cache import Entry, Pruned
from seedtool.settings import Settings
from seedtool.workflows.project import project_settings


class GuardStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a reset of the database would need.

    Args:
        database: the database, in words.
        exists: it is there.
        protected: it carries the protection mark.
        managed: seedtool made it.
        consent: what a reset would need; `refused` where the mark forbids it.
        copy_of_protected: it was restored from a protected database, and is not protected itself.
    """

    database: str
    exists: bool
    protected: bool
    managed: bool
    consent: Literal["none", "yes", "name", "refused"]
    copy_of_protected: bool = False


def guard_status(*, settings: Settings | None = None, target: Target | None = None) -> GuardStatus:
    """Tell whether the database is protected, and what a reset of it would need.

    Args:
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.

    Example:
        >>> seedtool.guard_status().consent
        'yes'
    """
    target = target or server.find(project_settings(settings))
    with open_cluster(target) as cluster:
        facts = cluster.database(target.name)
        try:
            needed = guard.consent_to_replace(cluster, facts).name.lower()
        except Protected:
            needed = "refused"
        facts = cluster.database(target.name)  # the look may have put a lost mark back
        copied = facts is not None and guard.is_copy_of_protected(cluster, facts)
    return msgspec.convert(
        {
            "database": str(target),
            "exists": facts is not None,
            "protected": facts is not None and facts.protected,
            "managed": facts is not None and facts.managed,
            "consent": needed,
            "copy_of_protected": copied,
        },
        GuardStatus,
    )


def protect(*, settings: Settings | None = None, target: Target | None = None) -> Target:
    """Forbid that the database is replaced or seeded, whatever flag is given; returns it.

    Args:
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.

    Raises:
        DatabaseError: it does not exist.
        BlockedError: the role may neither set the mark nor comment on the database.

    Example:
        >>> print(seedtool.protect())
        seedtool on the embedded server
    """
    target = target or server.find(project_settings(settings))
    with open_cluster(target) as cluster:
        _refuse_missing(target, exists=cluster.database(target.name) is not None)
        guard.protect(cluster, target.name)
    return target


def unprotect(confirm: str, *, settings: Settings | None = None, target: Target | None = None) -> Target:
    """Take the protection mark away; returns the database.

    Args:
        confirm: the database's name.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.

    Raises:
        NotConfirmed: `confirm` is another name.
        DatabaseError: the database does not exist.
        BlockedError: somebody else set the mark, and this role may not take it away.

    Example:
        >>> print(seedtool.unprotect("seedtool"))
        seedtool on the embedded server
    """
    target = target or server.find(project_settings(settings))
    guard.given(target, yes=False, confirm=confirm or None)
    if not confirm:
        raise NotConfirmed(
            f"{target} stays protected, for its name was not given",
            remedy=f"Type --confirm {shlex.quote(target.name)}.",
            option="--confirm",
            database=target.name,
        )
    with open_cluster(target) as cluster:
        _refuse_missing(target, exists=cluster.database(target.name) is not None)
        guard.unprotect(cluster, target.name)
    return target


def list_cache(*, settings: Settings | None = None) -> list[Entry]:
    """Return the templates and spares on the server, and what is being made or dropped there.

    Args:
        settings: the project's; those of the working folder's project when None.

    Example:
        >>> "template" in {each.kind for each in seedtool.list_cache()}
        True
    """
    with open_cluster(server.find(project_settings(settings))) as cluster:
        return cache.entries(cluster)


def prune_cache(*, everything: bool = False, dry_run: bool = False, settings: Settings | None = None) -> Pruned:
    """Drop the templates that are too many or too large together, those unused for longest first, and old spares.

    Args:
        everything: drop every template and spare.
        dry_run: say what would be dropped, and drop nothing.
        settings: the project's, which tell how many may stay; those of the working folder's project when None.

    Example:
        >>> seedtool.prune_cache(dry_run=True).dropped
        []
    """
    settings = project_settings(settings)
    with open_cluster(server.find(settings)) as cluster:
        return cache.prune(cluster, settings, everything=everything, dry_run=dry_run)


def _refuse_missing(target: Target, *, exists: bool) -> None:
    if not exists:
        raise DatabaseError(
            f"the database {target.name} does not exist",
            remedy="Run seedtool db-reset to make it.",
            database=target.name,
        )
