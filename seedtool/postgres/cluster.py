"""The databases of one server, seen from the maintenance database: facts, locks, creating, dropping.

Statements about databases take no parameters, so identifiers go through `psycopg.sql` and nothing else.
"""

import contextlib
import hashlib
import json
import re
import secrets
from collections.abc import Iterator

import msgspec
import psycopg
from psycopg import errors as _errors
from psycopg import sql
from psycopg.rows import class_row, dict_row

from seedtool.errors import BlockedError, DatabaseError
from seedtool.postgres import background as errands
from seedtool.postgres import server
from seedtool.postgres.server import PRIVATE_NAME, Target

MINIMUM_VERSION = 150000

#: Marks are settings on the database itself or, where a role may not set them, a line of its comment that names its
#: oid. The one that permits has the database's identity for its value: `pg_dump -C` carries settings elsewhere.
#: A snapshot's has JSON for its value; no mark is carried to a clone.
MANAGED = "seedtool.managed"
PROTECTED = "seedtool.protected"
BROUGHT = "seedtool.brought"
COMMENTED_MARK = r"\s*\[(seedtool\.\w+=(?:\w+|\{.*\})) for (\d+)\]"


class DatabaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the server knows about one database.

    Args:
        identity: changes when the database is restored on another server, replaced or renamed.
        provider: pg_database.datlocprovider: c, i or b.
        doomed: its removal has begun.
        settings: what `ALTER DATABASE ... SET` says and shapes what is built in it (`search_path=app`), but for what
            the migrations themselves set.
        brought: what the migrations set.
        comment: the whole comment, marks and all.
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
    doomed: bool
    sessions: int
    settings: list[str]
    brought: list[str]
    comment: str
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


class PrivateDatabase(msgspec.Struct, frozen=True, kw_only=True):
    """A database that seedtool made for itself (see `PRIVATE_NAME`).

    Args:
        doomed: its removal has begun.
    """

    oid: int
    name: str
    doomed: bool

    @property
    def kind(self) -> str:
        """What it is: template, spare, building, clone, old, ..."""
        return self.name.split("_")[1]

    @property
    def digest(self) -> str:
        """Its name's 20 digits."""
        return self.name.rpartition("_")[2]


# our marks, and what limits or logs an application's queries: nothing built under them is another thing for it
_SHAPELESS = re.compile(r"seedtool\.|log_|default_transaction_|\w+_timeout=", re.IGNORECASE)

# Asked for several times in a reset, so it is cheap to plan: no view, no join, and what can be is read in Python. The
# locale's column was renamed in PostgreSQL 17 and ICU rules came with 16; read as JSON, one query serves all.
_FACTS = sql.SQL("""
SELECT d.oid, d.datname AS name, pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding,
       d.datlocprovider::text AS provider, d.datcollate AS collate, d.datctype AS ctype,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,
       to_jsonb(d) ->> 'daticurules' AS icu_rules,
       (SELECT spcname FROM pg_tablespace t WHERE t.oid = d.dattablespace) AS tablespace,
       d.datistemplate AS is_template, d.datallowconn AND d.datconnlimit <> -2 AS connectable,
       d.datconnlimit = -2 AS doomed, pg_stat_get_db_numbackends(d.oid) AS sessions,
       shobj_description(d.oid, 'pg_database') AS comment,
       (SELECT setconfig FROM pg_db_role_setting s WHERE s.setdatabase = d.oid AND s.setrole = 0) AS settings
FROM pg_database d
WHERE d.datname = %s
""")


class Cluster:
    """An open connection to the maintenance database, in autocommit.

    Args:
        connection: the connection.
        target: the target that is worked on.

    Attributes:
        afterwards: statements that the server is sent when all is done, and that nobody waits for (see `errands`).
        errand_settings: the server's settings for them.
        held: digests of the templates that this connection holds.
    """

    def __init__(self, connection: psycopg.Connection, target: Target) -> None:
        self.connection = connection
        self.target = target
        self.afterwards: list[sql.Composed] = []
        self.errand_settings = {"transaction_timeout": "0"} if connection.info.server_version >= 170000 else {}
        self.held: set[str] = set()
        server.refuse_pooler(target, connection)
        self.version = connection.info.server_version
        if self.version < MINIMUM_VERSION:
            raise DatabaseError(
                f"{target} is PostgreSQL {self.version // 10000}", remedy="seedtool works with PostgreSQL 15 and later."
            )
        row = connection.execute(
            "SELECT rolname, rolcreatedb OR rolsuper, system_identifier FROM pg_roles, pg_control_system()"
            " WHERE rolname = current_user"
        ).fetchone()
        assert row is not None  # noqa: S101 - we are connected as it
        self.user, self.may_create, self._system = row

    def database(self, name: str) -> DatabaseFacts | None:
        """Return a database's facts, or None when it does not exist."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(_FACTS, [name], prepare=True).fetchone()
        if row is None:
            return None
        row["comment"] = comment = row["comment"] or ""
        settings = row.pop("settings") or []
        commented = [mark for mark, oid in re.findall(COMMENTED_MARK, comment) if int(oid) == row["oid"]]
        marks = [mark for mark in settings if mark.startswith("seedtool.")] + commented
        brought = _brought(marks)
        return DatabaseFacts(
            **row,
            identity=hashlib.md5(f"{self._system} {row['oid']} {name}".encode(), usedforsecurity=False).hexdigest(),
            settings=sorted({option for option in settings if not _SHAPELESS.match(option)} - set(brought)),
            brought=brought,
            marks=marks,
        )

    def private_databases(self, kind: str = "", digest: str = "") -> list[PrivateDatabase]:
        """Return the databases that carry one of seedtool's private names.

        Args:
            kind: only those of this kind; of all kinds when empty.
            digest: only those whose digest begins so.
        """
        begin = f"seedtool_{kind}_{digest}" if kind else "seedtool_"
        with self.connection.cursor(row_factory=class_row(PrivateDatabase)) as cursor:
            found = cursor.execute(
                "SELECT oid, datname AS name, datconnlimit = -2 AS doomed FROM pg_database"
                " WHERE starts_with(datname, %s)",
                [begin],
            ).fetchall()
        return [each for each in found if PRIVATE_NAME.fullmatch(each.name)]

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

    def hold(self, digest: str) -> None:
        """Keep the template of a fingerprint from being pruned until this connection ends; others may hold it, too."""
        if digest[:20] not in self.held:
            self.connection.execute("SELECT pg_advisory_lock_shared(%s)", [_holding(digest)])
            self.held.add(digest[:20])

    @contextlib.contextmanager
    def try_claim(self, digest: str) -> Iterator[bool]:
        """Keep everybody from holding a template, if nobody does, nor we; yields whether it could be done."""
        if digest[:20] in self.held:
            yield False
            return
        with self._trying(_holding(digest)) as taken:
            yield taken

    @contextlib.contextmanager
    def try_lock(self, digest: str) -> Iterator[bool]:
        """Hold the lock if it is free; yields whether it was."""
        with self._trying(lock_key(digest)) as taken:
            yield taken

    @contextlib.contextmanager
    def _trying(self, key: int) -> Iterator[bool]:
        row = self.connection.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone()
        taken = bool(row and row[0])
        try:
            yield taken
        finally:
            if taken and not self.connection.closed:
                self.connection.execute("SELECT pg_advisory_unlock(%s)", [key])

    def create(
        self, name: str, template: str, like: DatabaseFacts, *, connectable: bool = True, strategy: str = "wal_log"
    ) -> None:
        """Create a database from a template with the owner, encoding, locale and tablespace of another one.

        Args:
            name: the new database's name.
            template: the template's name.
            like: the other database.
            connectable: False keeps everybody out, so that nobody stands in the way of its renaming.
            strategy: PostgreSQL's: `wal_log` or `file_copy`; where the latter fails, the former is tried.
        """
        try:
            self.execute(create_statement(self, name, template, like, connectable=connectable, strategy=strategy))
        except psycopg.Error:  # a file system that cannot do what it said, or has no room for a second copy
            if strategy == "wal_log" or self.connection.closed:
                raise
            self.execute(create_statement(self, name, template, like, connectable=connectable))

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
        self.execute(drop_statement(name))

    def drop_soon(self, name: str) -> None:
        """Have a database dropped that nobody uses, without waiting for it.

        Raises:
            BlockedError: this role may not drop it.
        """
        facts = self.database(name)
        if facts is None:
            return
        if facts.is_template:
            self.execute(sql.SQL("ALTER DATABASE {} WITH IS_TEMPLATE false").format(sql.Identifier(name)))
        if not errands.send(self.target, [drop_statement(name)], settings=self.errand_settings):
            self.drop(name)

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


def _brought(marks: list[str]) -> list[str]:
    for mark in marks:
        key, _, value = mark.partition("=")
        if key == BROUGHT:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return [str(option) for option in json.loads(value)["settings"]]
    return []


def create_statement(
    cluster: Cluster,
    name: str,
    template: str,
    like: DatabaseFacts,
    *,
    connectable: bool = True,
    strategy: str = "wal_log",
) -> sql.Composed:
    """Return the statement that `Cluster.create` runs.

    Raises:
        DatabaseError: the role may not create databases.
    """
    if not cluster.may_create:
        raise DatabaseError(
            f"the role {cluster.user} may not create databases, which this needs",
            remedy=f"Let an administrator run: ALTER ROLE {cluster.user} CREATEDB.",
        )
    options: list[sql.Composable] = [
        sql.SQL("TEMPLATE {}").format(sql.Identifier(template)),
        sql.SQL("OWNER {}").format(sql.Identifier(like.owner)),
        sql.SQL("STRATEGY {}").format(sql.Identifier(strategy)),
    ]
    if like.tablespace != "pg_default":  # to name the default, too, a role would need a grant
        options.append(sql.SQL("TABLESPACE {}").format(sql.Identifier(like.tablespace)))
    if template == "template0":
        options += _locale_options(like, cluster.version)
    if not connectable:
        options.append(sql.SQL("ALLOW_CONNECTIONS false"))
    return sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), sql.SQL(" ").join(options))


def drop_statement(name: str) -> sql.Composed:
    """Return the statement that drops a database, if it is there, with its sessions."""
    return sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))


def digest_of(name: str) -> str:
    """Return the hex digest that names a target's lock, clones, spares and replaced databases."""
    return hashlib.sha256(f"target {name}".encode()).hexdigest()


def private_name(kind: str, digest: str) -> str:
    """Return the private name of a kind (see `PRIVATE_NAME`) for the hex digest of a fingerprint."""
    return f"seedtool_{kind}_{digest[:20]}"


def passing_name(kind: str, digest: str) -> str:
    """Return a private name that nobody has used or will use, for something that does not stay.

    So it may be dropped whenever the server comes to it: nothing newer has the name by then. It begins with
    the digest of the target or fingerprint whose lock goes with it.
    """
    return f"seedtool_{kind}_{digest[:10]}{secrets.token_hex(5)}"


def lock_key(digest: str) -> int:
    """Return the advisory lock's key for a hex digest of which at least ten digits are known."""
    return int.from_bytes(bytes.fromhex(digest[:10]))


def _holding(digest: str) -> int:
    return lock_key(digest) | 1 << 40


@contextlib.contextmanager
def open_cluster(target: Target) -> Iterator[Cluster]:
    """Connect to the maintenance database of the target's server.

    Raises:
        PoolerError: the connection goes through a pooler.
        DatabaseError: nobody answers, or the server is too old.
    """
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        cluster = Cluster(connection, target)
        # limits that somebody set for the role or the maintenance database are meant for an application's queries;
        # with our session ended in the middle of a long build, the lock would be gone
        limits = {**errands.UNHURRIED, **cluster.errand_settings, "plan_cache_mode": "force_generic_plan"}
        connection.execute("; ".join(f"SET {name} = {value}" for name, value in limits.items()).encode())
        try:
            yield cluster
        finally:
            if cluster.afterwards and not connection.closed:
                errands.send(target, cluster.afterwards, own=connection, settings=cluster.errand_settings)


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
