"""The swap: a finished clone takes the target's name, and with it all that belongs to the name and not to the data.

One transaction of two renames: the name always stands for the old database or the new one, never for none. The
first rename's lock makes newcomers wait until the transaction ends. Who waits was already let in to the old
database, and is told by PostgreSQL that it "seems to have just been dropped or renamed"; trying again works.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator

import psycopg
from psycopg import sql

from seedtool.errors import BlockedError, DatabaseError
from seedtool.postgres import server
from seedtool.postgres.cluster import COMMENTED_MARK, Cluster, DatabaseFacts
from seedtool.reset import guard, notes

#: How long the rename may wait before we look for sessions in its way, when none was seen before (seconds).
PATIENCE = 0.03
#: How often sessions that stand in the way are ended (seconds). The rename itself looks every 100 ms
#: (CountOtherDBBackends in PostgreSQL's procarray.c).
INTERVAL = 0.005

#: Settings whose value is a list of names, each quoted for itself (variable_is_guc_list_quote, dumputils.c).
_LIST_SETTINGS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
        "oauth_validator_libraries",
    }
)


def swap(
    cluster: Cluster,
    clone: str,
    template: str,
    old: str,
    facts: DatabaseFacts | None,
    step: Callable[[str], None],
) -> int:
    """Give the clone the target's name; the database that had it is called `old` afterwards.

    Args:
        cluster: where we stand; the lock of the target is held.
        clone: the finished database, without sessions.
        template: what it was cloned from. A migration may have done something to the database itself
            (`ALTER DATABASE ... SET search_path`, a comment, a grant), which a clone does not have.
        old: the name that the present target gets.
        facts: the present target's; None when there is none.
        step: called with the name of each step before it.

    Returns:
        how many sessions were ended.

    Raises:
        BlockedError: a session may not be ended, or a setting not carried over; nothing has changed.
    """
    target = cluster.target.name
    if facts is None:
        step("swap")
        with cluster.connection.transaction():
            carry_over(cluster, template, clone, doors=False)
            take_free_name(cluster, clone)
            guard.mark_brought(cluster, target, _brought(cluster, template, None))
        return 0
    if cluster.connection.execute(_BOUND, {"oid": facts.oid}).fetchone():
        raise _blocked(cluster, facts)  # nobody may end these: the rename or the removal would wait in vain
    with cluster.connection.transaction():
        with sessions_ended(cluster, facts) as ended:
            step("rename")
            cluster.rename(target, old)
        present = cluster.database(old)
        if present is None or present.oid != facts.oid:
            raise BlockedError(f"{target} was replaced by somebody else meanwhile", remedy="Look at it, and run again.")
        guard.refuse_protected(cluster.target, present, "replaced")  # somebody may have cried stop during the build
        step("carry over")
        carry_over(cluster, template, clone, doors=False)
        carry_over(cluster, old, clone, doors=True)
        step("swap")
        cluster.rename(clone, target)
        guard.mark_managed(cluster, target)
        guard.mark_brought(cluster, target, _brought(cluster, template, present))
        step("commit")
    return ended()


def _brought(cluster: Cluster, source: str, old: DatabaseFacts | None) -> list[str]:
    """Return the settings that migrations made: a template remembers them, and for a snapshot the old target does."""
    facts = cluster.database(source)
    note = notes.read(facts) if facts is not None else None
    if note is not None:
        return note.brought
    return old.brought if old is not None else []


def take_free_name(cluster: Cluster, clone: str) -> None:
    """Give a closed database the target's name, which nobody has; open and marked as ours, or not at all."""
    with cluster.connection.transaction():
        cluster.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(clone)))
        cluster.rename(clone, cluster.target.name)
        guard.mark_managed(cluster, cluster.target.name)


@contextlib.contextmanager
def sessions_ended(cluster: Cluster, facts: DatabaseFacts) -> Iterator[Callable[[], int]]:
    """End a database's sessions from a second connection for as long as the statement in the body waits for them.

    The statement's own lock has to keep newcomers out: a rename, or cloning the database. Yields what tells how
    many were ended.
    """
    returned = threading.Event()
    ended: set[int] = set()
    refusals: list[Exception] = []

    def end_sessions() -> None:
        if returned.wait(0 if facts.sessions else PATIENCE):
            return
        try:
            with server.connect(cluster.target, cluster.target.maintenance, autocommit=True) as second:
                while not returned.is_set():
                    ended.update(pid for (pid,) in second.execute(_END_SESSIONS, [facts.oid]))
                    returned.wait(INTERVAL)
        except (psycopg.Error, DatabaseError) as error:  # not allowed, or no connection to be had
            refusals.append(error)
            cluster.connection.cancel_safe()

    thread = threading.Thread(target=end_sessions, name="seedtool-end-sessions")
    thread.start()
    try:
        yield lambda: len(ended)
    except (BlockedError, psycopg.errors.QueryCanceled) as error:
        if not refusals and not isinstance(error.__cause__, psycopg.errors.ObjectInUse):
            raise
        raise _blocked(cluster, facts) from (refusals[0] if refusals else error)
    finally:
        returned.set()
        thread.join()


# conditions beside a function that ends sessions may be evaluated after it, so they stand in a subquery of their own
_END_SESSIONS = """
WITH standing_in_the_way AS MATERIALIZED (
    -- PostgreSQL's own workers have no user; the rename sends them away itself
    SELECT pid FROM pg_stat_activity WHERE datid = %s AND usesysid IS NOT NULL
)
SELECT pid FROM standing_in_the_way WHERE pg_terminate_backend(pid)
"""

_BOUND = """
SELECT format('prepared transaction %%s', x.gid) FROM pg_prepared_xacts x JOIN pg_database d ON d.datname = x.database
WHERE d.oid = %(oid)s
UNION ALL SELECT format('subscription %%s', subname) FROM pg_subscription WHERE subdbid = %(oid)s
"""


def _blocked(cluster: Cluster, facts: DatabaseFacts) -> BlockedError:
    """Name what stands in the way. The transaction may have failed, so a second connection looks."""
    with server.connect(cluster.target, cluster.target.maintenance, autocommit=True) as second:
        sessions = second.execute(
            "SELECT pid, coalesce(usename, backend_type), application_name FROM pg_stat_activity WHERE datid = %s",
            [facts.oid],
        ).fetchall()
        bound = second.execute(_BOUND, {"oid": facts.oid}).fetchall()
    named = [f"session {pid} of {user} ({application or 'no name'})" for pid, user, application in sessions]
    named += [what for (what,) in bound]
    return BlockedError(
        f"{facts.name} is in use and could not be freed: {', '.join(named) or 'a session that has ended meanwhile'};"
        " nothing was changed",
        remedy="End it yourself, or work as a role that may (the session's own, or a member of pg_signal_backend).",
    )


def carry_over(cluster: Cluster, source: str, clone: str, *, doors: bool) -> None:
    """Give the clone what another database has and its data do not: limit, comment, grants and settings.

    Owner, locale and tablespace were given at its creation. Marks of seedtool are not carried. With `doors`
    it may be connected to, or be a template, where the other one may.
    """
    facts = cluster.database(source)
    assert facts is not None  # noqa: S101 - just cloned; building it anew replaces it under the same name at once
    _run(cluster, _inheritance(cluster, facts.oid, clone, doors=doors))


def give_settings(cluster: Cluster, name: str, options: Iterable[str]) -> None:
    """Give a database the settings of another one, written as in the catalog (`key=value`).

    Raises:
        BlockedError: this role may not set one of them, or the server does not know it.
    """
    _run(cluster, (_setting(sql.Identifier(name), None, option) for option in options))


def _run(cluster: Cluster, statements: Iterable[tuple[str, sql.Composed]]) -> None:
    for what, statement in statements:
        try:
            cluster.connection.execute(statement)
        except psycopg.Error as error:
            raise BlockedError(
                f"the role {cluster.user} cannot carry over {what}: {error.diag.message_primary}; nothing was changed",
                remedy="Work as the role that set it, or as a superuser; or take it from the database.",
            ) from error


def _inheritance(cluster: Cluster, oid: int, clone: str, *, doors: bool) -> Iterator[tuple[str, sql.Composed]]:
    name = sql.Identifier(clone)
    row = cluster.connection.execute(
        "SELECT datconnlimit, datallowconn, datistemplate, shobj_description(oid, 'pg_database'), datacl IS NOT NULL,"
        " pg_get_userbyid(datdba) FROM pg_database WHERE oid = %s",
        [oid],
    ).fetchone()
    assert row is not None  # noqa: S101 - renamed in this very transaction
    limit, connectable, is_template, comment, has_grants, owner = row
    if limit >= 0:  # -1 is no limit, -2 a database whose removal was interrupted
        yield "the connection limit", sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, sql.Literal(limit))
    if doors and connectable:  # the clone is closed until now
        yield "open doors", sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name)
    if doors and is_template:
        yield "the mark of a template", sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(name)
    comment = re.sub(COMMENTED_MARK, "", comment or "")
    if comment:
        yield "the comment", sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(comment))
    if has_grants:
        yield "the grants", sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(name, sql.Identifier(owner))
        yield from _grants(cluster, oid, name)
    settings = cluster.connection.execute(
        "SELECT r.rolname, option FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole,"
        " unnest(s.setconfig) AS option WHERE s.setdatabase = %s AND option NOT LIKE 'seedtool.%%'",
        [oid],
    ).fetchall()
    for role, option in settings:
        yield _setting(name, role, option)


def _setting(name: sql.Identifier, role: str | None, option: str) -> tuple[str, sql.Composed]:
    key, _, value = option.partition("=")
    holder = (
        sql.SQL("ALTER DATABASE {}").format(name)
        if role is None
        else sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(role), name)
    )
    dotted = sql.SQL(".").join(sql.Identifier(part) for part in key.split("."))
    return f"the setting {key}", sql.SQL("{} SET {} TO {}").format(holder, dotted, _setting_value(key, value))


def _grants(cluster: Cluster, oid: int, name: sql.Identifier) -> Iterator[tuple[str, sql.Composed]]:
    grants = cluster.connection.execute(
        "SELECT CASE WHEN grantee = 0 THEN NULL ELSE pg_get_userbyid(grantee) END, privilege_type, is_grantable"
        " FROM pg_database, aclexplode(datacl) WHERE oid = %s",
        [oid],
    ).fetchall()
    for grantee, privilege, grantable in grants:
        to = sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee)
        option = sql.SQL(" WITH GRANT OPTION") if grantable else sql.SQL("")
        statement = sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(sql.SQL(privilege), name, to, option)
        yield f"the grant of {privilege}", statement


def _setting_value(key: str, value: str) -> sql.Composable:
    if key.lower() not in _LIST_SETTINGS:
        return sql.Literal(value)
    names = [
        quoted.replace('""', '"') if quoted else plain
        for quoted, plain in re.findall(r'"((?:[^"]|"")*)"|([^,\s"]+)', value)
    ]
    return sql.SQL(", ").join(sql.Literal(name) for name in names) if names else sql.Literal("")
