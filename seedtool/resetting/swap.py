"""The swap: a finished clone takes the target's name, and with it all that belongs to the name and not to the data.

It is one transaction of two renames: the name always stands for the old database or the new one, never for none. The
first rename's lock makes newcomers wait until the transaction ends. A client that waits was already let in to the old
database. PostgreSQL tells it that the database "seems to have just been dropped or renamed"; trying again works.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import BlockedError
from seedtool.postgres import sessions
from seedtool.postgres.cluster import COMMENTED_MARK, Cluster, DatabaseFacts
from seedtool.resetting import guard, notes

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


class Swapped(NamedTuple):
    """What a swap did.

    Args:
        sessions_ended: how many sessions were on the old database.
        old: the old database's facts as they were under the rename's lock, under the target's name; None when there
            was none.
        slots: the logical replication slots that go with the old database.
    """

    sessions_ended: int
    old: DatabaseFacts | None
    slots: list[str]


def swap(cluster: Cluster, clone: str, template: str, old: str, facts: DatabaseFacts | None) -> Swapped:
    """Give the clone the target's name; the database that had it is called `old` afterwards.

    Args:
        cluster: the server; the lock of the target is held.
        clone: the finished database, without sessions.
        template: what it was cloned from. A migration may have done something to the database itself
            (`ALTER DATABASE ... SET search_path`, a comment, a grant), which a clone does not have.
        old: the name that the present target gets.
        facts: the present target's; None when there is none.

    Raises:
        BlockedError: a session may not be ended, a setting not carried over, or somebody else has replaced the target
            or given it away meanwhile; nothing has changed.
        Protected: the target got the protection mark meanwhile; nothing has changed.
    """
    target = cluster.target.name
    if facts is None:
        cluster.step("swap")
        with cluster.connection.transaction():
            carry_over(cluster, template, clone)
            take_free_name(cluster, clone)
            guard.mark_migrated_settings(cluster, target, _migrated_settings(cluster, template, None))
        return Swapped(0, None, [])
    bound, slots = sessions.attached(cluster.connection, facts.oid)
    if bound:  # the rename or the drop would wait in vain
        raise BlockedError(
            f"{cluster.target} is in use and cannot be freed: {', '.join(bound)}; nothing was changed",
            remedy="End it in that database: COMMIT PREPARED or ROLLBACK PREPARED, or DROP SUBSCRIPTION.",
        )
    obstacles = sessions.on_database(facts.oid, seen=facts.sessions > 0)
    with cluster.connection.transaction():
        with sessions.ended(cluster.target, cluster.connection, obstacles) as ended:
            cluster.step("rename")
            cluster.rename(target, old)
        present = cluster.database(old)
        if present is None or (present.oid, present.owner) != (facts.oid, facts.owner):
            raise BlockedError(
                f"{target} was replaced or given away by somebody else meanwhile", remedy="Look at it, and run again."
            )
        present = msgspec.structs.replace(present, name=target, identity=cluster.identity(present.oid, target))
        guard.refuse_protected(cluster.target, present, "replaced")  # it may have got the mark during the build
        cluster.step("carry over")
        carry_over(cluster, template, clone)
        carry_over(cluster, old, clone, access=True)
        cluster.step("swap")
        cluster.rename(clone, target)
        guard.mark_managed(cluster, target)
        guard.mark_migrated_settings(cluster, target, _migrated_settings(cluster, template, present))
        cluster.step("commit")
    return Swapped(len(ended), present, slots)


def swap_back(cluster: Cluster, clone: str, old: str) -> None:
    """Undo a swap: the old database gets the target's name again, and the new one is called `clone`.

    Args:
        cluster: the server; the lock of the target is held.
        clone: the name that the new database gets.
        old: the present name of the old one.
    """
    new = cluster.database(cluster.target.name)
    assert new is not None  # noqa: S101 - it was swapped in just now, and the target's lock is held
    obstacles = sessions.on_database(new.oid, seen=new.sessions > 0)
    with cluster.connection.transaction():
        with sessions.ended(cluster.target, cluster.connection, obstacles):
            cluster.rename(cluster.target.name, clone)
        cluster.rename(old, cluster.target.name)


def _migrated_settings(cluster: Cluster, source: str, old: DatabaseFacts | None) -> list[str]:
    """Return the settings that migrations made: a template's note has them; for a snapshot the old target does."""
    facts = cluster.database(source)
    note = notes.read(facts) if facts is not None else None
    if note is not None:
        return note.migrated_settings
    return old.migrated_settings if old is not None else []


def take_free_name(cluster: Cluster, clone: str) -> None:
    """Give a closed database the target's name, which nobody has; open and marked as ours, or not at all."""
    with cluster.connection.transaction():
        cluster.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(clone)))
        cluster.rename(clone, cluster.target.name)
        guard.mark_managed(cluster, cluster.target.name)


def carry_over(cluster: Cluster, source: str, clone: str, *, access: bool = False) -> None:
    """Give a clone what another database has beside its data: limit, comment, grants and settings.

    Owner, locale and tablespace were given when the clone was created. Marks of seedtool are not carried over.

    Args:
        cluster: the server.
        source: the other database.
        clone: the clone.
        access: also let clients connect, and let it be a template, where the other database does.
    """
    facts = cluster.database(source)
    assert facts is not None  # noqa: S101 - just cloned; building it anew replaces it under the same name at once
    _run(cluster, _inheritance(cluster, facts.oid, clone, access=access))


def give_settings(cluster: Cluster, name: str, like: DatabaseFacts) -> None:
    """Give a database the settings of another one, those of the database itself and those that are for our role there.

    Raises:
        BlockedError: this role may not set one of them, or the server does not know it.
    """
    database, role = sql.Identifier(name), cluster.connection.info.user
    of_role = (_setting(database, role, option) for option in like.role_settings)
    _run(cluster, (*(_setting(database, None, option) for option in like.settings), *of_role))


def _run(cluster: Cluster, statements: Iterable[tuple[str, sql.Composed]]) -> None:
    for what, statement in statements:
        try:
            cluster.connection.execute(statement)
        except psycopg.Error as error:
            raise BlockedError(
                f"the role {cluster.user} cannot carry over {what}: {error.diag.message_primary}; nothing was changed",
                remedy="Work as the role that set it, or as a superuser; or take it from the database.",
            ) from error


def _inheritance(cluster: Cluster, oid: int, clone: str, *, access: bool) -> Iterator[tuple[str, sql.Composed]]:
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
    if access and connectable:  # the clone is closed until now
        yield "access", sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name)
    if access and is_template:
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
