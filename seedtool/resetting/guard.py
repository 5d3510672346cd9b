"""May this target be replaced? May it be seeded? One place answers, and no flag or variable goes round it.

The protection mark is a setting on the database itself (`ALTER DATABASE ... SET seedtool.protected`), read from
the catalog and never from the session, where a role or a connection option could hide it.
"""

import enum
import json
import re
import shlex

import psycopg
from psycopg import sql

from seedtool.errors import NotConfirmed, Protected
from seedtool.postgres import server
from seedtool.postgres.cluster import COMMENTED_MARK, MANAGED, MIGRATED_SETTINGS, PROTECTED, Cluster, DatabaseFacts
from seedtool.postgres.server import Target


class Consent(enum.IntEnum):
    """What the user has to give, or has given, before the target is replaced; the greater includes the less."""

    NONE = 0  # there is nothing to lose
    YES = 1  # seedtool made the database: a yes will do
    NAME = 2  # somebody else's database: its name has to be typed


def consent_to_replace(target: Target, facts: DatabaseFacts | None) -> Consent:
    """Return what has to be agreed to before the target may be replaced.

    Args:
        target: the target.
        facts: what the server knows of it; None when it does not exist.

    Raises:
        Protected: the target carries the protection mark.
    """
    if facts is None:
        return Consent.NONE
    refuse_protected(target, facts, "replaced")
    if facts.managed:
        return Consent.YES
    return Consent.NONE if is_empty(target, facts) else Consent.NAME


def require(needed: Consent, given: Consent, target: Target) -> None:
    """Refuse unless what was given covers what is needed.

    Raises:
        NotConfirmed: it does not; the remedy says what to type.
    """
    if given >= needed:
        return
    if needed is Consent.NAME:
        raise NotConfirmed(
            f"{target} holds data and was not made by seedtool",
            remedy=f"If it may be lost: --confirm {shlex.quote(target.name)}."
            " To forbid it for good: seedtool guard protect.",
        )
    raise NotConfirmed(f"{target} would be replaced and all its data lost", remedy="Agree with --yes.")


def refuse_protected(target: Target, facts: DatabaseFacts, verb: str) -> None:
    """Refuse when the target carries the protection mark.

    Raises:
        Protected: it does.
    """
    if facts.protected:
        raise Protected(
            f"{target} is protected and may not be {verb}",
            remedy="Check that you mean this database. If so: seedtool guard unprotect.",
        )


def refuse_protected_connection(target: Target, connection: psycopg.Connection, verb: str) -> None:
    """The same over a connection to the target itself: the catalog of database settings is shared by all.

    Raises:
        Protected: the target carries the protection mark.
    """
    facts = Cluster(connection, target).database(connection.info.dbname)
    if facts is not None:
        refuse_protected(target, facts, verb)


def protect(cluster: Cluster, name: str) -> None:
    """Set the protection mark.

    Raises:
        BlockedError: the role may neither set it nor comment on the database.
    """
    for _ in range(2):  # a reset may put another database under the name while we wait for its lock
        _mark(cluster, name, PROTECTED, "on")
        facts = cluster.database(name)
        if facts is not None and facts.protected:
            return


def unprotect(cluster: Cluster, name: str) -> None:
    """Take the protection mark away.

    Raises:
        BlockedError: somebody else set it, and this role may not take it away.
    """
    database = sql.Identifier(name)
    comment = _comment(cluster, name) or ""
    rest = re.sub(COMMENTED_MARK.replace(r"seedtool\.\w+", re.escape(PROTECTED)), "", comment)
    if rest != comment:
        cluster.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(rest or None)))
    facts = cluster.database(name)
    if facts is not None and facts.protected:
        cluster.execute(sql.SQL("ALTER DATABASE {} RESET {}").format(database, sql.SQL(PROTECTED)))


def mark_managed(cluster: Cluster, name: str) -> None:
    """Remember that seedtool made the database that now has this name."""
    facts = cluster.database(name)
    assert facts is not None  # noqa: S101 - we have just made it
    _mark(cluster, name, MANAGED, facts.identity)


def mark_migrated_settings(cluster: Cluster, name: str, options: list[str]) -> None:
    """Remember which settings of a database its migrations made: the fingerprint leaves these out."""
    if options:
        _mark(cluster, name, MIGRATED_SETTINGS, json.dumps({"settings": options}))


def _mark(cluster: Cluster, name: str, mark: str, value: str) -> None:
    database = sql.Identifier(name)
    statement = sql.SQL("ALTER DATABASE {} SET {} = {}").format(database, sql.SQL(mark), sql.Literal(value))
    try:
        with cluster.connection.transaction():  # it may fail inside the swap's transaction
            cluster.connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        # only superusers may set a parameter that no extension has defined; an owner may comment
        facts = cluster.database(name)
        assert facts is not None  # noqa: S101 - the statement above found it
        lines = [line for line in (_comment(cluster, name), f"[{mark}={value} for {facts.oid}]") if line]
        text = sql.Literal("\n".join(lines))
        cluster.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, text))


def _comment(cluster: Cluster, name: str) -> str | None:
    row = cluster.connection.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [name]
    ).fetchone()
    return row[0] if row else None


def is_empty(target: Target, facts: DatabaseFacts) -> bool:
    """Tell whether nobody has put anything into a database.

    Args:
        target: its server is meant.
        facts: the database's, whatever its name is now.
    """
    if not facts.connectable:
        return False
    with server.connect(target, facts.name) as connection:
        return holds_nothing(connection)


def holds_nothing(connection: psycopg.Connection) -> bool:
    """Tell whether the connection's database holds no relation, type, function or large object of anybody."""
    row = connection.execute(
        "SELECT NOT EXISTS (SELECT FROM pg_class WHERE oid >= 16384)"
        " AND NOT EXISTS (SELECT FROM pg_type WHERE oid >= 16384)"
        " AND NOT EXISTS (SELECT FROM pg_proc WHERE oid >= 16384)"
        " AND NOT EXISTS (SELECT FROM pg_largeobject_metadata)"
    ).fetchone()
    return bool(row and row[0])
