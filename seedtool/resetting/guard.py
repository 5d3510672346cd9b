"""May this target be replaced? May it be seeded? One place answers, and no flag or variable goes round it.

The protection mark is a setting on the database itself (`ALTER DATABASE ... SET seedtool.protected`), read from
the catalog and never from the session, where a role or a connection option could hide it. The same stands in a table
of the database, which is read when the setting is gone: COMMENT and RESET ALL do not reach it there.
"""

import contextlib
import enum
import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from typing import Literal

import psycopg
from psycopg import sql

from seedtool.errors import BlockedError, DatabaseError, NotConfirmed, Protected
from seedtool.postgres import server
from seedtool.postgres.cluster import COMMENTED_MARK, MANAGED, MIGRATED_SETTINGS, PROTECTED, Cluster, DatabaseFacts
from seedtool.postgres.psycopg_errors import translated
from seedtool.postgres.server import Target


class Consent(enum.IntEnum):
    """What the user has to agree to, or has agreed to, before the target is replaced. A greater one includes a less."""

    NONE = 0  # there is nothing to lose
    YES = 1  # seedtool made the database: a yes will do
    NAME = 2  # somebody else's database: its name has to be typed


def consent_to_replace(cluster: Cluster, facts: DatabaseFacts | None, agreed: Consent = Consent.NONE) -> Consent:
    """Return what has to be agreed to before the target may be replaced.

    Args:
        cluster: the server.
        facts: what it knows of the target; None when the target does not exist.
        agreed: what the user has agreed to: where a yes is given, nobody asks whether none was needed.

    Raises:
        Protected: the target carries the protection mark.
    """
    if facts is None:
        return Consent.NONE
    target = cluster.target
    refuse_protected(target, facts, "replaced")
    if facts.managed and (agreed or not _has_note(facts) or not facts.connectable):
        return Consent.YES
    if facts.managed:
        with server.connect(target, facts.name) as connection:
            return Consent.NONE if is_untouched(connection, facts) else Consent.YES
    if not facts.connectable:
        return Consent.NAME
    # neither mark can be read: COMMENT ON DATABASE, or ALTER DATABASE ... RESET ALL, may have taken both
    with server.connect(target, facts.name) as connection:
        kept = _kept_mark(connection, cluster, facts.oid)
        empty = holds_nothing(connection)
    if kept == "here":
        with contextlib.suppress(BlockedError):
            _mark(cluster, facts.name, PROTECTED, "on")
        raise _protected(target, "replaced")
    if kept == "elsewhere":
        cluster.listener.note(f"{target} was restored from a protected database and is not protected itself")
    return Consent.NONE if empty else Consent.NAME


def given(target: Target, *, yes: bool, confirm: str | None) -> Consent:
    """Return what `yes` and `confirm` agree to.

    Raises:
        NotConfirmed: `confirm` names another database than the target.
    """
    if confirm is not None and confirm != target.name:
        raise NotConfirmed(
            f"--confirm names {confirm}, but the target is {target}",
            remedy="Check that you mean this database.",
            option="--confirm",
            database=target.name,
        )
    return Consent.NAME if confirm else Consent.YES if yes else Consent.NONE


def require(needed: Consent, given: Consent, target: Target) -> None:
    """Refuse unless the consent that was given covers the consent that is needed.

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
            database=target.name,
        )
    raise NotConfirmed(
        f"{target} would be replaced and all its data lost", remedy="Agree with --yes.", database=target.name
    )


def refuse_protected(target: Target, facts: DatabaseFacts, verb: str) -> None:
    """Refuse when the target carries the protection mark.

    Raises:
        Protected: it does.
    """
    if facts.protected:
        raise _protected(target, verb)


def _protected(target: Target, verb: str) -> Protected:
    return Protected(
        f"{target} is protected and may not be {verb}",
        remedy="Check that you mean this database. If so: seedtool guard unprotect.",
        database=target.name,
    )


def consent_to_seed(target: Target, connection: psycopg.Connection) -> Consent:
    """Return what has to be agreed to before a seed may change rows that no seed put there.

    Args:
        target: the target.
        connection: to the target itself: the catalog of database settings is shared by all databases.

    Raises:
        Protected: the target carries the protection mark.
    """
    cluster = Cluster(connection, target)
    facts = cluster.database(connection.info.dbname)
    if facts is None:
        return Consent.NAME
    refuse_protected(target, facts, "seeded")
    if facts.managed:
        return Consent.NONE
    if _kept_mark(connection, cluster, facts.oid) == "here":
        raise _protected(target, "seeded")
    return Consent.NAME


#: The protection mark within the database itself, where neither COMMENT nor RESET ALL reaches it. It names system and
#: oid, so that a dump which is restored elsewhere protects nothing there.
_KEEP_MARK = """
CREATE SCHEMA IF NOT EXISTS seedtool;
CREATE TABLE IF NOT EXISTS seedtool.guard (system text NOT NULL, database oid NOT NULL, protected boolean NOT NULL);
COMMENT ON TABLE seedtool.guard IS 'The protection mark of this database (seedtool guard protect)';
DELETE FROM seedtool.guard"""


#: The catalog tells everybody. `to_regclass` fails for a role that may not use the schema, which the ledger is in, too.
_KEEPS_MARK = """
SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'seedtool' AND c.relname = 'guard'"""


def _kept_mark(connection: psycopg.Connection, cluster: Cluster, oid: int) -> Literal["here", "elsewhere", "none"]:
    """Return whether the database says of itself that it is protected: it, or the one that it is a copy of.

    Raises:
        BlockedError: it says something, and this role may not read it.
    """
    with translated(f"the protection mark within {connection.info.dbname}"):
        if connection.execute(_KEEPS_MARK).fetchone() is None:
            return "none"
        rows = connection.execute("SELECT system, database FROM seedtool.guard WHERE protected").fetchall()
    if (cluster.system, oid) in rows:
        return "here"
    return "elsewhere" if rows else "none"


def is_copy_of_protected(cluster: Cluster, facts: DatabaseFacts) -> bool:
    """Tell whether a database was restored from a protected one, and is not protected itself."""
    if facts.protected or not facts.connectable:
        return False
    with server.connect(cluster.target, facts.name) as connection:
        return _kept_mark(connection, cluster, facts.oid) == "elsewhere"


def protect(cluster: Cluster, name: str) -> None:
    """Set the protection mark: on the database, where every command reads it, and within it, where it outlives others.

    Raises:
        BlockedError: the role may neither set it nor comment on the database.
    """
    for _ in range(2):  # a reset may put another database under the name while we wait for its lock
        _mark(cluster, name, PROTECTED, "on")
        facts = cluster.database(name)
        if facts is not None and facts.protected:
            _keep_mark(cluster, facts)
            return


def _keep_mark(cluster: Cluster, facts: DatabaseFacts) -> None:
    """Write the mark within the database, where this role may."""
    insert = "INSERT INTO seedtool.guard VALUES (%s, %s, true)"
    with (
        contextlib.suppress(psycopg.Error, DatabaseError),  # the mark on the database stands
        server.connect(cluster.target, facts.name) as connection,
    ):
        connection.execute(_KEEP_MARK)
        connection.execute(insert, [cluster.system, facts.oid])


def unprotect(cluster: Cluster, name: str) -> None:
    """Take the protection mark away.

    Raises:
        BlockedError: somebody else set it, and this role may not take it away.
        DatabaseError: the mark within the database cannot be taken away; the database stays protected.
    """
    with server.connect(cluster.target, name) as connection, translated(f"the mark within {name}"):
        if connection.execute(_KEEPS_MARK).fetchone() is not None:
            connection.execute("DROP TABLE seedtool.guard")
    database = sql.Identifier(name)
    comment = _comment(cluster, name) or ""
    rest = re.sub(COMMENTED_MARK.replace(r"seedtool\.\w+", re.escape(PROTECTED)), "", comment)
    if rest != comment:
        cluster.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(rest or None)))
    facts = cluster.database(name)
    if facts is not None and facts.protected:
        cluster.execute(sql.SQL("ALTER DATABASE {} RESET {}").format(database, sql.SQL(PROTECTED)))


@contextlib.contextmanager
def marks_kept(cluster: Cluster) -> Iterator[None]:
    """Give the target its marks again after the body: a revision that comments on the database takes them away."""
    name = cluster.target.name
    before = cluster.database(name)
    try:
        yield
    finally:
        after = cluster.database(name)
        if before is not None and after is not None and before.oid == after.oid:
            if before.protected and not after.protected:
                protect(cluster, name)
            if before.managed and not after.managed:
                mark_managed(cluster, name)


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


#: Objects of users have oids from here on (FirstNormalObjectId in PostgreSQL's access/transam.h).
_FIRST_OF_USERS = 16384
#: The catalogs of objects that somebody may have made. User mappings hang on foreign servers; rules, triggers, policies
#: and statistics on relations.
_HOLDING = (
    "pg_class", "pg_type", "pg_proc", "pg_operator", "pg_opclass", "pg_opfamily", "pg_cast", "pg_am", "pg_collation",
    "pg_conversion", "pg_language", "pg_transform", "pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_ts_template",
    "pg_foreign_data_wrapper", "pg_foreign_server", "pg_publication", "pg_event_trigger", "pg_extension",
)  # fmt: skip


def holds_nothing(connection: psycopg.Connection) -> bool:
    """Tell whether the connection's database holds no object of anybody; schemas without objects do not count."""
    nothing = [f"NOT EXISTS (SELECT FROM {catalog} WHERE oid >= {_FIRST_OF_USERS})" for catalog in _HOLDING]
    nothing.append("NOT EXISTS (SELECT FROM pg_largeobject_metadata)")
    row = connection.execute(f"SELECT {' AND '.join(nothing)}").fetchone()
    return bool(row and row[0])


#: The mark of a database that `migrate` made: a hash of its oid, its owner and its catalog after that. While they are
#: the same and no table has rows, nothing that somebody made can be lost.
_UNTOUCHED = "seedtool.untouched"
#: Beside those of `_HOLDING`, catalogs of what belongs to objects: whoever changes an object changes a row of these.
_DETAILS = {
    "pg_attribute": "attrelid", "pg_attrdef": "adrelid", "pg_constraint": "conrelid", "pg_index": "indexrelid",
    "pg_trigger": "tgrelid", "pg_rewrite": "ev_class", "pg_policy": "polrelid", "pg_sequence": "seqrelid",
    "pg_enum": "enumtypid", "pg_namespace": "oid", "pg_default_acl": "oid", "pg_description": "objoid",
    "pg_statistic_ext": "oid", "pg_user_mapping": "oid",
}  # fmt: skip
#: What the server writes into rows of pg_class by itself, or that says where the data lie.
_VOLATILE = (
    "{relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid,relfilenode,relhasindex,relhassubclass,"
    "relhasrules,relhastriggers}"
)
#: Their rows say which migrations ran.
_VERSIONS = ("alembic_version", "django_migrations")


def note_untouched(cluster: Cluster, name: str) -> None:
    """Remember what the catalog of a database holds that was just made."""
    facts = cluster.database(name)
    assert facts is not None  # noqa: S101 - we have just made it
    with server.connect(cluster.target, name) as connection:
        value = _state(connection, facts)
    if value is not None:
        _mark(cluster, name, _UNTOUCHED, value)


def _has_note(facts: DatabaseFacts) -> bool:
    return any(mark.startswith(f"{_UNTOUCHED}=") for mark in facts.marks)


def is_untouched(connection: psycopg.Connection, facts: DatabaseFacts) -> bool:
    """Tell whether a database is as `migrate` made it: no object was added or changed, and no table has rows.

    Args:
        connection: to the database, under whatever name.
        facts: what the server knows of it.
    """
    if not facts.managed or not _has_note(facts):
        return False
    state = _state(connection, facts)
    return state is not None and f"{_UNTOUCHED}={state}" in facts.marks


def _state(connection: psycopg.Connection, facts: DatabaseFacts) -> str | None:
    """Return a hash of a database's oid, owner and catalog; None where a table has rows or cannot be looked at."""
    catalogs = [*((catalog, "oid") for catalog in _HOLDING), *_DETAILS.items()]
    hashed = sql.SQL(" || ").join(
        sql.SQL(
            "coalesce((SELECT md5(string_agg(r, ' ' ORDER BY r COLLATE \"C\"))"
            " FROM (SELECT (to_jsonb(t) - {}::text[])::text AS r FROM {} t WHERE t.{} >= {}) s), '-')"
        ).format(sql.Literal(_VOLATILE), sql.Identifier("pg_catalog", catalog), sql.Identifier(oid), _FIRST_OF_USERS)
        for catalog, oid in catalogs
    )
    tables = (
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'f') AND oid >= %s AND relname <> ALL(%s)"
        " AND relnamespace <> coalesce(to_regnamespace('seedtool'), 0)"
    )
    try:
        with connection.transaction():
            connection.execute("SET LOCAL row_security = off")
            names = [name for (name,) in connection.execute(tables, [_FIRST_OF_USERS, list(_VERSIONS)])]
            some = " OR ".join(
                [
                    "EXISTS (SELECT FROM pg_largeobject_metadata)",
                    *(f"EXISTS (SELECT FROM ONLY {name})" for name in names),
                ]
            )
            row = connection.execute(sql.SQL("SELECT {}, md5({})").format(sql.SQL(some), hashed)).fetchone()
    except psycopg.Error:
        return None
    assert row is not None  # noqa: S101 - a SELECT without FROM
    holds_rows, catalog = row
    return (
        None
        if holds_rows
        else hashlib.md5(f"{facts.oid} {facts.owner} {catalog}".encode(), usedforsecurity=False).hexdigest()
    )
