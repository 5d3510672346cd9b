"""The reset of a role that may not create databases: the target's schemas are dropped and built again in place.

In one transaction, so that others see the old schema or the new one, and a failure leaves the old one. Where a
revision cannot work within a transaction, it takes two steps; between them the database is empty, and a failure
leaves it so: that needs the stronger consent.
"""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator

import msgspec
import psycopg

from seedtool.errors import BlockedError, MigrationError, NotConfirmed
from seedtool.postgres import server
from seedtool.postgres.cluster import Cluster, DatabaseFacts
from seedtool.postgres.server import Target
from seedtool.reset import emptying, guard
from seedtool.reset.guard import Consent
from seedtool.reset.transaction import LeavesTransaction, OneTransaction, one_transaction
from seedtool.schema.fingerprint import project_files
from seedtool.settings import Settings

#: How often sessions that stand in the way are ended (seconds).
INTERVAL = 0.01
#: How long what may not be ended is waited for (seconds); longer than `deadlock_timeout`, after which PostgreSQL's own
#: workers give way.
PATIENCE = 2
#: How long those that were ended may take to go (seconds).
LAST = 30

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
    step("migrate")
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
    with one_transaction(cluster.target) as connection:
        limits = ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"]
        limits += ["transaction_timeout"] if cluster.version >= 170000 else []
        connection.execute("SET TRANSACTION READ WRITE")
        connection.execute("; ".join(f"SET LOCAL {limit} = 0" for limit in limits))
        connection.execute("SET LOCAL client_min_messages = error")
        with _way_cleared(cluster, connection, ended):
            emptying.drop(connection, emptying.owned(connection, keep=keep))
        connection.execute("SET LOCAL client_min_messages = DEFAULT")
        yield connection


@contextlib.contextmanager
def _way_cleared(cluster: Cluster, connection: OneTransaction, ended: set[int]) -> Iterator[None]:
    """End the sessions that a statement in the body waits for, as replacing the database would end all.

    Meanwhile the statement keeps its place in the queue, so clients that come again at once wait behind it.

    Raises:
        BlockedError: one may not be ended.
    """
    returned = threading.Event()
    refused: list[str] = []

    waiting = {"pid": connection.info.backend_pid, "name": cluster.target.name}

    def clear() -> None:
        since = time.monotonic()
        while not (returned.wait(INTERVAL) or refused):
            waited = time.monotonic() - since
            try:
                for what, pid, may_end in cluster.connection.execute(_BLOCKERS, waiting).fetchall():
                    if waited > (LAST if may_end else PATIENCE):
                        refused.append(what)
                    elif may_end:
                        cluster.connection.execute("SELECT pg_terminate_backend(%s)", [pid])
                        ended.add(pid)
            except psycopg.Error as error:  # nobody would free it any more
                refused.append(f"sessions that cannot be ended ({error.diag.message_primary or type(error).__name__})")
        if refused:
            connection.cancel_safe()

    thread = threading.Thread(target=clear, name="seedtool-clear-the-way")
    thread.start()
    try:
        yield
    except (psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected) as error:
        if not refused and isinstance(error, psycopg.errors.QueryCanceled):
            raise
        raise BlockedError(
            f"{cluster.target} is in use by {', '.join(refused) or 'sessions that wait for each other'},"
            " and could not be freed; nothing was changed",
            remedy="End it yourself, or work as a role that may (the session's own, or a member of pg_signal_backend).",
        ) from error
    finally:
        returned.set()
        thread.join()


# a prepared transaction has 0 for its process
_BLOCKERS = """
SELECT CASE b.pid WHEN 0 THEN (SELECT 'prepared transaction ' || string_agg(gid, ', ') FROM pg_prepared_xacts
                               WHERE database = %(name)s)
       ELSE format('session %%s of %%s (%%s)', b.pid, coalesce(a.usename, a.backend_type),
                   coalesce(nullif(concat_ws(', ', nullif(a.application_name, ''), a.state), ''), 'no name')) END,
       b.pid,
       coalesce(NOT r.rolsuper AND (pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE')), false)
FROM unnest(pg_blocking_pids(%(pid)s)) AS b (pid)
LEFT JOIN pg_stat_activity a ON a.pid = b.pid LEFT JOIN pg_roles r ON r.oid = a.usesysid
WHERE b.pid = 0 OR a.pid IS NOT NULL
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
