"""The reset of a role that may not create databases: the target's schemas are dropped and built again in place.

In one transaction, so that others see the old schema or the new one, and a failure leaves the old one. Where a
revision cannot work within a transaction, it takes two steps; between them the database is empty, and a failure
leaves it so: that needs the stronger consent.
"""

import contextlib
import re
from collections.abc import Callable, Iterator

import msgspec
import psycopg

from seedtool.database import guard, server
from seedtool.database.cluster import Cluster, DatabaseFacts
from seedtool.database.guard import Consent
from seedtool.database.schema import emptying
from seedtool.database.schema.fingerprint import project_files
from seedtool.database.schema.transaction import LeavesTransaction, OneTransaction, one_transaction
from seedtool.database.server import Target
from seedtool.errors import BlockedError, MigrationError, NotConfirmed
from seedtool.settings import Settings

#: How long one attempt waits for locks; longer than `deadlock_timeout`, after which PostgreSQL's own workers give way.
PATIENCE = "2s"
#: How often those in the way are ended before we give up; an application may come back faster than we look.
ATTEMPTS = 5

#: What a build says that needs something no revision makes: no such schema, type, function; or no right to make it.
_MISSED = frozenset({"3F000", "42704", "42883", "42501"})
#: What a file says that cannot work within a transaction; whether it comes to that only the run tells.
_LEAVES = re.compile(rb"autocommit|AUTOCOMMIT|CONCURRENTLY|concurrently=True|\bCOMMIT\b|\bVACUUM\b")


class RebuildPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild would do.

    Args:
        drops: what goes, in words.
        may_leave_transaction: files that mention autocommit: should one need it, the rebuild is not atomic.
    """

    drops: list[str]
    may_leave_transaction: list[str]


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild did.

    Args:
        atomic: within one transaction, or in two steps.
        sessions_ended: how many sessions stood in the way.
    """

    atomic: bool
    sessions_ended: int


def plan_rebuild(settings: Settings, target: Target) -> RebuildPlan:
    """Look at what a rebuild of the target would do, and change nothing."""
    with server.connect(target) as connection:
        drops = emptying.summary(emptying.owned(connection))
    mentions = [settings.shown(path) for path in project_files(settings) if _LEAVES.search(path.read_bytes())]
    return RebuildPlan(drops=drops, may_leave_transaction=sorted(mentions))


def rebuild(
    cluster: Cluster,
    facts: DatabaseFacts,
    build: Callable[[str], object],
    within: Callable[[OneTransaction], object] | None,
    *,
    consent: Consent,
    step: Callable[[str], None],
) -> Rebuilt:
    """Drop what this role owns in the target and build it again.

    Args:
        cluster: where we stand; the lock of the target is held and the guard has agreed.
        facts: the target's.
        build: runs the migrations on the database whose connection string it is given.
        within: runs them on the connection that it is given; None when that cannot be done. What it returns is false
            when there was nothing to do.
        consent: what the user agreed to.
        step: called with the name of each step before it.

    Raises:
        MigrationError: a revision failed. Nothing has changed, unless the message says that the database is empty.
        NotConfirmed: a revision needs autocommit, and the name was not given; nothing has changed.
        BlockedError: a session that may not be ended holds a lock, or another role's objects are in the way;
            nothing has changed.
    """
    ended: set[int] = set()
    keep = False
    try:
        for keep in (False, True):
            step("rebuild")
            try:
                if within is None:
                    raise LeavesTransaction("the caller builds on a connection of its own")
                _at_once(cluster, facts, within, ended, keep=keep)
            except MigrationError as error:
                # the administrator may have made a schema or an extension that the revisions count on
                if keep or isinstance(error, LeavesTransaction) or _sqlstate(error) not in _MISSED:
                    raise
                continue
            return Rebuilt(atomic=True, sessions_ended=len(ended))
    except LeavesTransaction as leaves:
        _require_name(cluster, facts, consent, leaves)
    step("empty")
    _in_steps(cluster, facts, build, ended, keep=keep, step=step)
    return Rebuilt(atomic=False, sessions_ended=len(ended))


def _at_once(
    cluster: Cluster,
    facts: DatabaseFacts,
    within: Callable[[OneTransaction], object],
    ended: set[int],
    *,
    keep: bool,
) -> None:
    with _emptied(cluster, ended, keep=keep) as connection:
        connection.fence()
        try:
            applied = within(connection)
        except MigrationError as error:
            # autocommit was asked for, or COMMIT was sent; either may have been followed by other errors
            if connection.left or _sqlstate(error) == "2D000":
                raise LeavesTransaction(error.message) from error
            raise
        if not applied:
            raise BlockedError(
                f"{facts.name} still says that its revisions are in place: its version table is another role's;"
                " nothing was changed",
                remedy=f"Let an administrator give it away: ALTER TABLE alembic_version OWNER TO {cluster.user}.",
            )
        _conclude(Cluster(connection, cluster.target))
        connection.finish()


def _in_steps(
    cluster: Cluster,
    facts: DatabaseFacts,
    build: Callable[[str], object],
    ended: set[int],
    *,
    keep: bool,
    step: Callable[[str], None],
) -> None:
    with _emptied(cluster, ended, keep=keep) as connection:
        connection.commit_emptied()
    step("build")
    try:
        build(cluster.target.conninfo)
    except MigrationError as error:
        raise MigrationError(
            f"{error.message}; {facts.name} has been emptied and holds what was built before", remedy=error.remedy
        ) from error
    with server.connect(cluster.target) as connection:
        _conclude(Cluster(connection, cluster.target))


@contextlib.contextmanager
def _emptied(cluster: Cluster, ended: set[int], *, keep: bool) -> Iterator[OneTransaction]:
    """Yield a connection within whose transaction everything was dropped."""
    for attempt in range(ATTEMPTS):
        with one_transaction(cluster.target) as connection:
            limits = ["statement_timeout", "idle_in_transaction_session_timeout"]
            limits += ["transaction_timeout"] if cluster.version >= 170000 else []
            connection.execute("SET TRANSACTION READ WRITE")
            connection.execute("; ".join(f"SET LOCAL {limit} = 0" for limit in limits))
            connection.execute(f"SET LOCAL client_min_messages = error; SET LOCAL lock_timeout = '{PATIENCE}'")
            try:
                emptying.drop(connection, emptying.owned(connection, keep=keep))
            except psycopg.errors.LockNotAvailable:
                connection.give_up()
                _end_blockers(cluster, ended, last=attempt == ATTEMPTS - 1)
                continue
            connection.execute("SET LOCAL client_min_messages = DEFAULT; SET LOCAL lock_timeout = 0")
            yield connection
            return


def _end_blockers(cluster: Cluster, ended: set[int], *, last: bool) -> None:
    """End the sessions that hold locks on the target's tables, as replacing the database would end all.

    Raises:
        BlockedError: one may not be ended.
    """
    found = cluster.connection.execute(_BLOCKERS, {"name": cluster.target.name}).fetchall()
    refused = [what for what, pid, may_end in found if last or pid is None or not may_end]
    if refused:
        raise BlockedError(
            f"{cluster.target} is in use by {', '.join(refused)}, and could not be freed; nothing was changed",
            remedy="End it yourself, or work as a role that may (the session's own, or a member of pg_signal_backend).",
        )
    for _, pid, _ in found:
        cluster.connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        ended.add(pid)


# objects below 16384 are PostgreSQL's own: everybody locks them, and nobody is in the way there
_BLOCKERS = """
SELECT format('session %%s of %%s (%%s)', a.pid, a.usename, concat_ws(', ', nullif(a.application_name, ''), a.state)),
       a.pid, NOT r.rolsuper AND (pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))
FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid WHERE a.datname = %(name)s
  AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted AND l.relation >= 16384)
UNION ALL SELECT format('prepared transaction %%s of %%s', gid, owner), NULL, false
FROM pg_prepared_xacts WHERE database = %(name)s
"""


def _conclude(cluster: Cluster) -> None:
    """Do what is left to do when the new schema stands, on a connection to the target itself."""
    connection, target = cluster.connection, cluster.target
    connection.execute("SET LOCAL client_min_messages = error; ANALYZE")  # it warns of what other roles own
    facts = cluster.database(target.name)
    assert facts is not None  # noqa: S101 - we are connected to it
    guard.refuse_protected(target, facts, "rebuilt")  # somebody may have cried stop meanwhile
    if not facts.managed:
        with contextlib.suppress(BlockedError), connection.transaction():  # only its owner may mark it
            guard.mark_managed(cluster, target.name)


def _require_name(cluster: Cluster, facts: DatabaseFacts, consent: Consent, leaves: LeavesTransaction) -> None:
    if guard.consent_to_replace(cluster.target, facts) is Consent.NONE or consent is Consent.NAME:
        return
    raise NotConfirmed(
        f"{leaves.message}, so {cluster.target} cannot be rebuilt in one transaction: if a later revision failed,"
        " it would stay empty. Nothing was changed",
        remedy=f"If that may happen: --confirm {cluster.target.name}. Or let an administrator run:"
        f" ALTER ROLE {cluster.user} CREATEDB.",
    ) from leaves


def _sqlstate(error: BaseException | None) -> str | None:
    while error is not None:
        found = getattr(error, "sqlstate", None)
        if found:
            return str(found)
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
    return None
