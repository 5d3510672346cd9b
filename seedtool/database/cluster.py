"""The databases of one server, seen from the maintenance database: facts, locks, creating, dropping.

Statements about databases take no parameters, so identifiers go through `psycopg.sql` and nothing else.
"""

import contextlib
from collections.abc import Iterator

import msgspec
import psycopg
from psycopg import errors as _errors
from psycopg import sql
from psycopg.rows import class_row

from seedtool.database import server
from seedtool.database.server import PRIVATE_NAME, Target
from seedtool.errors import BlockedError, DatabaseError

MINIMUM_VERSION = 150000

#: Marks are settings on the database itself or, where a role may not set them, a line of its comment that names its
#: oid. The one that permits has the database's identity for its value: `pg_dump -C` carries settings elsewhere.
#: A snapshot's has JSON for its value; no mark is carried to a clone.
MANAGED = "seedtool.managed"
PROTECTED = "seedtool.protected"
COMMENTED_MARK = r"\s*\[(seedtool\.\w+=(?:\w+|\{.*\})) for (\d+)\]"


class DatabaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the server knows about one database.

    Args:
        identity: changes when the database is restored on another server, replaced or renamed.
        provider: pg_database.datlocprovider: c, i or b.
    """

    oid: int
    identity: str
    name: str
    owner: str
    encoding: str
    provider: str
    collate: str
    ctype: str
    locale: str | None
    icu_rules: str | None
    tablespace: str
    is_template: bool
    connectable: bool
    sessions: int
    marks: list[str]

    @property
    def managed(self) -> bool:
        """Whether seedtool made this database."""
        return f"{MANAGED}={self.identity}" in self.marks

    @property
    def protected(self) -> bool:
        """Whether somebody forbade to replace or seed it."""
        values = [text.partition("=")[2].lower() for text in self.marks if text.partition("=")[0] == PROTECTED]
        return any(value not in {"off", "false", "no", "0", ""} for value in values)


# the locale's column was renamed in PostgreSQL 17 and ICU rules came with 16; read as JSON, one query serves all
_FACTS = sql.SQL("""
SELECT d.oid, d.datname AS name,
       (SELECT md5(concat_ws(' ', system_identifier, d.oid, d.datname)) FROM pg_control_system()) AS identity,
       pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding,
       d.datlocprovider::text AS provider, d.datcollate AS collate, d.datctype AS ctype,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,
       to_jsonb(d) ->> 'daticurules' AS icu_rules,
       t.spcname AS tablespace, d.datistemplate AS is_template, d.datallowconn AND d.datconnlimit <> -2 AS connectable,
       (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid) AS sessions,
       ARRAY(SELECT mark FROM pg_db_role_setting s, unnest(s.setconfig) AS mark
             WHERE s.setdatabase = d.oid AND s.setrole = 0 AND mark LIKE 'seedtool.%'
             UNION ALL
             SELECT found[1]
             FROM regexp_matches(shobj_description(d.oid, 'pg_database'), {commented_mark}, 'g') AS found
             WHERE found[2] = d.oid::text) AS marks
FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
WHERE d.datname {condition}
""")


class Cluster:
    """An open connection to the maintenance database, in autocommit.

    Args:
        connection: the connection.
        target: the target that is worked on.
    """

    def __init__(self, connection: psycopg.Connection, target: Target) -> None:
        self.connection = connection
        self.target = target
        server.refuse_pooler(target, connection)
        row = connection.execute(
            "SELECT current_setting('server_version_num')::int, current_user,"
            " (SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user)"
        ).fetchone()
        assert row is not None  # noqa: S101 - a query without FROM gives one row
        self.version, self.user, self.may_create = row
        if self.version < MINIMUM_VERSION:
            raise DatabaseError(
                f"{target} is PostgreSQL {self.version // 10000}", remedy="seedtool works with PostgreSQL 15 and later."
            )

    def database(self, name: str) -> DatabaseFacts | None:
        """Return a database's facts, or None when it does not exist."""
        found = self._databases(sql.SQL("= {}").format(sql.Literal(name)))
        return found[0] if found else None

    def private_databases(self) -> list[DatabaseFacts]:
        """Return the databases that carry one of seedtool's private names."""
        found = self._databases(sql.SQL(r"LIKE 'seedtool\_%'"))
        return [facts for facts in found if PRIVATE_NAME.fullmatch(facts.name)]

    def _databases(self, condition: sql.Composable) -> list[DatabaseFacts]:
        query = _FACTS.format(commented_mark=sql.Literal(COMMENTED_MARK), condition=condition)
        with self.connection.cursor(row_factory=class_row(DatabaseFacts)) as cursor:
            return cursor.execute(query).fetchall()

    @contextlib.contextmanager
    def lock(self, digest: str) -> Iterator[None]:
        """Hold the advisory lock of a target or fingerprint; waits for whoever holds it.

        Advisory locks belong to a database, so all who work on a server stand in the same maintenance
        database. The statements that take long run on this very connection: when our process dies in
        the middle of one, the lock stays until the server has finished it.
        """
        key = lock_key(digest)
        self.connection.execute("SELECT pg_advisory_lock(%s)", [key])
        try:
            yield
        finally:
            if not self.connection.closed:
                self.connection.execute("SELECT pg_advisory_unlock(%s)", [key])

    @contextlib.contextmanager
    def try_lock(self, digest: str) -> Iterator[bool]:
        """Hold the lock if it is free; yields whether it was."""
        key = lock_key(digest)
        row = self.connection.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone()
        taken = bool(row and row[0])
        try:
            yield taken
        finally:
            if taken and not self.connection.closed:
                self.connection.execute("SELECT pg_advisory_unlock(%s)", [key])

    def create(self, name: str, template: str, like: DatabaseFacts, *, connectable: bool = True) -> None:
        """Create a database from a template with the owner, encoding, locale and tablespace of another one.

        Args:
            name: the new database's name.
            template: the template's name.
            like: the other database.
            connectable: False keeps everybody out, so that nobody stands in the way of its renaming.
        """
        if not self.may_create:
            raise DatabaseError(
                f"the role {self.user} may not create databases, which a reset needs",
                remedy=f"Let an administrator run: ALTER ROLE {self.user} CREATEDB.",
            )
        options: list[sql.Composable] = [
            sql.SQL("TEMPLATE {}").format(sql.Identifier(template)),
            sql.SQL("OWNER {}").format(sql.Identifier(like.owner)),
        ]
        if like.tablespace != "pg_default":  # to name the default, too, a role would need a grant
            options.append(sql.SQL("TABLESPACE {}").format(sql.Identifier(like.tablespace)))
        if template == "template0":
            options += _locale_options(like, self.version)
        if not connectable:
            options.append(sql.SQL("ALLOW_CONNECTIONS false"))
        self.execute(sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), sql.SQL(" ").join(options)))

    def drop(self, name: str) -> None:
        """Drop a database if it is there, its sessions first.

        Raises:
            BlockedError: something uses it that may not be ended.
        """
        facts = self.database(name)
        if facts is None:
            return
        if facts.is_template:
            self.execute(sql.SQL("ALTER DATABASE {} WITH IS_TEMPLATE false").format(sql.Identifier(name)))
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def rename(self, name: str, new_name: str) -> None:
        """Rename a database; waits up to five seconds for its sessions to go, while newcomers wait for us."""
        self.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new_name)))

    def execute(self, statement: sql.Composed) -> None:
        """Run a statement about databases.

        Raises:
            BlockedError: the role may not do it, or something uses the database.
        """
        try:
            self.connection.execute(statement)
        except (_errors.ObjectInUse, _errors.DuplicateDatabase, _errors.InvalidCatalogName) as error:
            detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
            raise BlockedError(
                f"{error.diag.message_primary}{detail}",
                remedy="End what uses it (a session, a subscription, another program's work) and run again.",
            ) from error
        except _errors.InsufficientPrivilege as error:
            raise BlockedError(
                f"the role {self.user} may not do what this needs: {error.diag.message_primary}",
                remedy="Work as the database's owner or a member of it, or as a superuser.",
            ) from error


def private_name(kind: str, digest: str) -> str:
    """Return the private name of a kind (see `PRIVATE_NAME`) for the hex digest of a target or fingerprint."""
    return f"seedtool_{kind}_{digest[:20]}"


def lock_key(digest: str) -> int:
    """Return the advisory lock's key, a signed 64-bit number, for a hex digest."""
    return int.from_bytes(bytes.fromhex(digest[:16]), signed=True)


# limits that somebody set for the role or the maintenance database are meant for an application's queries; with our
# session ended in the middle of a long build, the lock would be gone
_UNHURRIED = """
SELECT set_config(name, CASE vartype WHEN 'bool' THEN 'off' ELSE '0' END, false) FROM pg_settings
WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_session_timeout',
               'idle_in_transaction_session_timeout', 'default_transaction_read_only')
"""


@contextlib.contextmanager
def open_cluster(target: Target) -> Iterator[Cluster]:
    """Connect to the maintenance database of the target's server.

    Raises:
        PoolerError: the connection goes through a pooler.
        DatabaseError: nobody answers, or the server is too old.
    """
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        cluster = Cluster(connection, target)
        connection.execute(_UNHURRIED)
        yield cluster


def _locale_options(like: DatabaseFacts, version: int) -> list[sql.Composed]:
    options = [
        sql.SQL("ENCODING {}").format(sql.Literal(like.encoding)),
        sql.SQL("LC_COLLATE {}").format(sql.Literal(like.collate)),
        sql.SQL("LC_CTYPE {}").format(sql.Literal(like.ctype)),
        sql.SQL("LOCALE_PROVIDER {}").format(sql.SQL({"c": "libc", "i": "icu", "b": "builtin"}[like.provider])),
    ]
    if like.provider == "i" and like.locale:
        options.append(sql.SQL("ICU_LOCALE {}").format(sql.Literal(like.locale)))
        if like.icu_rules and version >= 160000:
            options.append(sql.SQL("ICU_RULES {}").format(sql.Literal(like.icu_rules)))
    if like.provider == "b" and like.locale:
        options.append(sql.SQL("BUILTIN_LOCALE {}").format(sql.Literal(like.locale)))
    return options
