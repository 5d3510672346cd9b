"""The databases of one server, seen from the maintenance database: facts, locks, creating, dropping.

Statements about databases take no parameters, so identifiers go through `psycopg.sql` and nothing else.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import errors as _errors
from psycopg import sql
from psycopg.rows import class_row, dict_row, tuple_row

from seedtool.errors import BlockedError, DatabaseError
from seedtool.listener import SILENT, Listener
from seedtool.postgres import background, server
from seedtool.postgres.background import Statement
from seedtool.postgres.psycopg_errors import translate
from seedtool.postgres.server import PRIVATE_NAME, Target

MINIMUM_VERSION = 150000

#: How long a lock is waited for without a word, and how long at all (seconds). Others on the server can take a lock
#: with our key, so a wait has an end; building a template takes minutes at most.
QUIET_WAIT, LONGEST_WAIT = 2, 15 * 60

#: Marks are settings on the database itself or, where a role may not set them, a line of its comment that names its
#: oid. The mark that permits has the database's identity for its value, since `pg_dump -C` carries settings elsewhere.
#: Templates and snapshots have JSON for the value of theirs. `swap` gives a clone the marks that it needs anew.
MANAGED = "seedtool.managed"
PROTECTED = "seedtool.protected"
MIGRATED_SETTINGS = "seedtool.brought"  # the name that the first release gave it
COMMENTED_MARK = r"\s*\[(seedtool\.\w+=(?:\w+|\{.*\})) for (\d+)\]"


class DatabaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the server knows about one database.

    Args:
        identity: changes when the database is restored on another server, replaced or renamed.
        provider: pg_database.datlocprovider: c, i or b.
        collation_version: the version of its default collation when its indexes were built; None for template0, and
            where the provider has none.
        present_collation_version: the one that the server's libraries have now.
        dropping: its removal has begun.
        settings: what `ALTER DATABASE ... SET` says and what shapes what is built in it (`search_path=app`), without
            `migrated_settings`.
        migrated_settings: what the migrations set on the database itself.
        role_settings: as `settings`, but what `ALTER ROLE ... IN DATABASE ... SET` says for the role that we are.
        outer_settings: what else shapes a session of ours there, each kind stronger than those before it:
            `ALTER ROLE ALL SET`, `ALTER ROLE ... SET`, and what our connection asks for (`options`, PGOPTIONS).
        comment: the whole comment, with its marks.
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
    collation_version: str | None
    present_collation_version: str | None
    tablespace: str
    is_template: bool
    connectable: bool
    dropping: bool
    sessions: int
    settings: list[str]
    migrated_settings: list[str]
    role_settings: list[str]
    outer_settings: tuple[list[str], list[str], list[str]]
    comment: str
    marks: list[str]

    @property
    def session_settings(self) -> list[str]:
        """What is in force in a session of ours on the database and does not come from the database alone."""
        everybody, role, connection = self.outer_settings
        of_database = dict.fromkeys(map(_key, self.settings + self.migrated_settings))
        in_force: dict[str, str | None] = {_key(option): option for option in everybody} | of_database
        in_force |= {_key(option): option for option in (*role, *self.role_settings, *connection)}
        return sorted(option for option in in_force.values() if option is not None)

    @property
    def outdated(self) -> bool:
        """Whether the server's libraries sort otherwise than when it was made: PostgreSQL then clones it no more."""
        return self.collation_version is not None and self.collation_version != self.present_collation_version

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
        dropping: its removal has begun.
    """

    oid: int
    name: str
    owner: str
    dropping: bool

    @property
    def kind(self) -> str:
        """What it is: template, spare, building, clone, old, ..."""
        return self.name.split("_")[1]

    @property
    def digest(self) -> str:
        """Its name's 20 digits."""
        return self.name.rpartition("_")[2]


# our marks, and what limits or logs an application's queries: these settings do not change what is built under them
_SHAPELESS = re.compile(
    r"seedtool\.|log_|auto_explain\.|default_transaction_|\w+_timeout=|application_name=|client_(encoding|min_messages)=",
    re.IGNORECASE,
)

#: What libpq makes of the environment beside PGOPTIONS, for each session (EnvironmentOptions in fe-connect.c).
_OF_ENVIRONMENT = {"PGTZ": "timezone", "PGDATESTYLE": "datestyle"}

# Asked for several times in a reset, so it is cheap to plan: no view, no join, and what can be is read in Python. The
# locale's column was renamed in PostgreSQL 17 and ICU rules came with 16; read as JSON, one query serves all.
_FACTS = sql.SQL("""
SELECT d.oid, d.datname AS name, pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding,
       d.datlocprovider::text AS provider, d.datcollate AS collate, d.datctype AS ctype,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,
       to_jsonb(d) ->> 'daticurules' AS icu_rules, d.datcollversion AS collation_version,
       pg_database_collation_actual_version(d.oid) AS present_collation_version,
       (SELECT spcname FROM pg_tablespace t WHERE t.oid = d.dattablespace) AS tablespace,
       d.datistemplate AS is_template, d.datallowconn AND d.datconnlimit <> -2 AS connectable,
       d.datconnlimit = -2 AS dropping, pg_stat_get_db_numbackends(d.oid) AS sessions,
       shobj_description(d.oid, 'pg_database') AS comment,
       (SELECT jsonb_object_agg((s.setdatabase <> 0)::int || '' || (s.setrole <> 0)::int, s.setconfig)
        FROM pg_db_role_setting s
        WHERE s.setdatabase IN (0, d.oid) AND s.setrole IN (0, quote_ident(session_user)::regrole)) AS settings
FROM pg_database d
WHERE d.datname = %s
""")


_ROLE = """
SELECT rolname, rolcreatedb OR rolsuper, system_identifier::text, current_setting('fsync') = 'on'
FROM pg_roles, pg_control_system() WHERE rolname = current_user
"""

# A superuser counts as a member of every role (pg_has_role), so membership is read from the catalog. Since PostgreSQL
# 16 a role that makes another one is a member of it for its administration alone: that does not count.
_ROLES = """
WITH RECURSIVE ours AS (
    SELECT oid, rolname FROM pg_roles WHERE rolname = current_user
  UNION
    SELECT r.oid, r.rolname FROM ours JOIN pg_auth_members m ON m.member = ours.oid JOIN pg_roles r ON r.oid = m.roleid
    WHERE coalesce((to_jsonb(m) ->> 'inherit_option')::bool OR (to_jsonb(m) ->> 'set_option')::bool, true)
)
SELECT rolname FROM ours
"""


class Strategy(NamedTuple):
    """How `CREATE DATABASE` copies: PostgreSQL's name for it, and settings of the session that belong to it."""

    name: str
    settings: Mapping[str, str]


WAL_LOG = Strategy("wal_log", {})


class Cluster:
    """The databases of a server, by an open connection to its maintenance database, in autocommit.

    Args:
        connection: the connection.
        target: the target that is worked on.
        listener: hears of the steps of the work.
        project: the project's name, for the purposes that are noted with templates.

    Attributes:
        afterwards: statements that are sent to the server when the cluster is left, and that nobody waits for.
        held: digests of the templates that this connection holds.
        milliseconds: how long each step took that has ended, by its name.
        system: the server's system identifier.
        left_alone: databases that a sweep left alone, with the reason.
    """

    def __init__(
        self, connection: psycopg.Connection, target: Target, listener: Listener = SILENT, project: str = ""
    ) -> None:
        self.connection = connection
        self.target = target
        self.listener = listener
        self.project = project
        self.afterwards: list[sql.Composed | Statement] = []
        self.held: set[str] = set()
        self.milliseconds: dict[str, float] = {}
        self.left_alone: dict[str, str] = {}
        self._step = ""
        self._since = time.perf_counter()
        server.refuse_pooler(target, connection)
        self.version = connection.info.server_version
        if self.version < MINIMUM_VERSION:
            raise DatabaseError(
                f"{target} is PostgreSQL {self.version // 10000}", remedy="seedtool works with PostgreSQL 15 and later."
            )
        row = connection.execute(_ROLE).fetchone()
        assert row is not None  # noqa: S101 - we are connected as it
        self.user, self.may_create, self.system, self.fsync = row

    @functools.cached_property
    def roles(self) -> frozenset[str]:
        """This role, and the roles that it is a member of. What one of them owns is trusted."""
        return frozenset(name for (name,) in self.connection.execute(_ROLES))

    def step(self, name: str) -> None:
        """Begin a step: the listener hears its name, and the time of the step before it is kept."""
        self.end_step()
        self._step = name
        self.listener.step(name)

    def end_step(self) -> None:
        """Keep the time of the last step."""
        present = time.perf_counter()
        if self._step:
            self.milliseconds[self._step] = round((present - self._since) * 1000, 3)
        self._step, self._since = "", present

    def database(self, name: str) -> DatabaseFacts | None:
        """Return a database's facts, or None when it does not exist."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            try:
                row = cursor.execute(_FACTS, [name], prepare=True).fetchone()
            except _errors.UndefinedObject:  # it was dropped while its collation was asked for
                row = cursor.execute(_FACTS, [name], prepare=True).fetchone()
        if row is None:
            return None
        row["comment"] = comment = row["comment"] or ""
        # by two digits, whether it is of this database, and whether of our role: "10" is of the database alone
        set_by = row.pop("settings") or {}
        settings = set_by.get("10", [])
        commented = [mark for mark, oid in re.findall(COMMENTED_MARK, comment) if int(oid) == row["oid"]]
        marks = [mark for mark in settings if mark.startswith("seedtool.")] + commented
        migrated = _migrated_settings(marks)
        return DatabaseFacts(
            **row,
            identity=self.identity(row["oid"], name),
            settings=_shaping(settings, migrated),
            migrated_settings=migrated,
            role_settings=_shaping(set_by.get("11", []), migrated),
            outer_settings=(
                _shaping(set_by.get("00", [])), _shaping(set_by.get("01", [])), self._asked_for_by_connection
            ),
            marks=marks,
        )  # fmt: skip

    @functools.cached_property
    def _asked_for_by_connection(self) -> list[str]:
        """What our connections ask for themselves, wherever libpq found it."""
        found = {name: os.environ[variable] for variable, name in _OF_ENVIRONMENT.items() if os.environ.get(variable)}
        options = self.connection.pgconn.options.decode(errors="replace")
        # the server divides them so (pg_split_opts), and writes a dash in a name as an underscore
        words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|[^\s\\])+", options)]
        for option in re.findall(r"(?:^|\0)(?:-c\0?|--)([^\0=]+=[^\0]*)", "\0".join(words)):
            name, _, value = option.partition("=")
            found[name.replace("-", "_")] = value
        return _shaping([f"{name}={value}" for name, value in found.items()])

    def trusts(self, database: DatabaseFacts | PrivateDatabase) -> bool:
        """Tell whether a database is ours: on a shared server others may make one under any name."""
        return database.owner == self.user or database.owner in self.roles

    def kept(self, like: DatabaseFacts) -> DatabaseFacts:
        """Return the facts for a database that we keep for ourselves: it has to belong to a role that we trust."""
        return like if self.trusts(like) else msgspec.structs.replace(like, owner=self.user)

    def identity(self, oid: int, name: str) -> str:
        """Return what tells a database of this server, with this oid and name, from every other one."""
        return hashlib.md5(f"{self.system} {oid} {name}".encode(), usedforsecurity=False).hexdigest()

    def private_databases(self, kind: str = "", digest: str = "") -> list[PrivateDatabase]:
        """Return the databases that carry one of seedtool's private names.

        Args:
            kind: only those of this kind; of all kinds when empty.
            digest: only those whose digest begins so.
        """
        begin = f"seedtool_{kind}_{digest}" if kind else "seedtool_"
        with self.connection.cursor(row_factory=class_row(PrivateDatabase)) as cursor:
            found = cursor.execute(
                "SELECT oid, datname AS name, pg_get_userbyid(datdba) AS owner, datconnlimit = -2 AS dropping"
                " FROM pg_database WHERE starts_with(datname, %s)",
                [begin],
            ).fetchall()
        return [each for each in found if PRIVATE_NAME.fullmatch(each.name)]

    @contextlib.contextmanager
    def lock(self, digest: str) -> Iterator[None]:
        """Hold the advisory lock of a target or a fingerprint; wait while somebody else holds it.

        Advisory locks belong to a database, so everybody who works on a server connects to the same maintenance
        database. Statements that take long run on this very connection: when our process dies in the middle of
        one, the lock stays until the server has finished it.

        Raises:
            BlockedError: somebody else has held it for fifteen minutes.
        """
        key = lock_key(digest)
        take_lock(self.connection, key, str(self.target), self.listener, session=True)
        try:
            yield
        finally:
            if not self.connection.closed:
                self.connection.execute("SELECT pg_advisory_unlock(%s)", [key])

    def hold(self, digest: str) -> None:
        """Keep a template from being pruned until this connection ends; others may hold it at the same time."""
        if digest[:20] not in self.held:
            key = _holding(digest)
            take_lock(self.connection, key, str(self.target), self.listener, session=True, shared=True)
            self.held.add(digest[:20])

    @contextlib.contextmanager
    def try_claim(self, digest: str) -> Iterator[bool]:
        """Keep everybody from holding a template, if nobody holds it; yields whether that could be done."""
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
        self,
        name: str,
        template: str,
        like: DatabaseFacts,
        *,
        connectable: bool = True,
        strategy: Strategy = WAL_LOG,
    ) -> None:
        """Create a database from a template with the owner, encoding, locale and tablespace of another one.

        Args:
            name: the new database's name.
            template: the template's name.
            like: the other database.
            connectable: False keeps everybody out, so that nobody stands in the way of its renaming.
            strategy: how it is copied; where that fails, `wal_log` is tried.
        """
        create = create_statement(self, name, template, like, connectable=connectable, strategy=strategy)
        try:
            for key, value in create.settings.items():
                self.connection.execute("SELECT set_config(%s, %s, false)", [key, value])
            self.execute(create.text)
        except DatabaseError:  # a file system that cannot do what it promised, or has no room for a second copy
            if strategy is WAL_LOG or self.connection.closed or self.database(name) is not None:
                raise
            self.execute(create_statement(self, name, template, like, connectable=connectable).text)

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
        limits = background.no_limits(self.version)
        if not background.send(self.target, [drop_statement(name)], limits=limits):
            self.drop(name)

    def size_of(self, name: str) -> int:
        """Return the bytes that a database takes; 0 where this role may not ask."""
        row = self.connection.execute(
            "SELECT pg_database_size(oid) FROM pg_database WHERE datname = %s"
            " AND (has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'MEMBER'))",
            [name],
        ).fetchone()
        return row[0] if row else 0

    def rename(self, name: str, new_name: str) -> None:
        """Rename a database; waits up to five seconds for its sessions to go, while newcomers wait for us."""
        self.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new_name)))

    def execute(self, statement: sql.Composed) -> None:
        """Run a statement about databases.

        Raises:
            BlockedError: the role may not do it, or something uses the database.
            DatabaseError: the server refuses for another reason, or the connection was lost.
        """
        try:
            self._execute(statement)
        except _errors.InsufficientPrivilege as error:
            what = f"the role {self.user} may not do what this needs"
            remedy = "Work as the database's owner or a member of it, or as a superuser."
            raise translate(error, what, remedy=remedy) from error
        except _errors.QueryCanceled:
            raise  # by ourselves
        except psycopg.Error as error:
            raise translate(error, "the server refuses") from error

    def _execute(self, statement: sql.Composed) -> None:
        """Run a statement, once more where another session changed the same database at this instant.

        One does that notes in the background when a template was used. PostgreSQL then says "tuple concurrently
        updated", which it does not translate.
        """
        try:
            self.connection.execute(statement)
        except _errors.InternalError_ as error:
            idle = self.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            if "concurrently" not in str(error) or not idle:
                raise
            self.connection.execute(statement)


def _shaping(options: list[str], without: Sequence[str] = ()) -> list[str]:
    """Return the settings that may change what is built under them, without some of them."""
    return sorted({option for option in options if not _SHAPELESS.match(option)} - set(without))


def _key(option: str) -> str:
    return option.partition("=")[0].lower()


def _migrated_settings(marks: list[str]) -> list[str]:
    for mark in marks:
        key, _, value = mark.partition("=")
        if key == MIGRATED_SETTINGS:
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
    strategy: Strategy = WAL_LOG,
) -> Statement:
    """Return the statement that `Cluster.create` runs, with the settings of the session that belong to it.

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
        sql.SQL("STRATEGY {}").format(sql.Identifier(strategy.name)),
    ]
    if like.tablespace != "pg_default":  # to name the default, too, a role would need a grant
        options.append(sql.SQL("TABLESPACE {}").format(sql.Identifier(like.tablespace)))
    if template == "template0":
        options += _locale_options(like, cluster.version)
    if not connectable:
        options.append(sql.SQL("ALLOW_CONNECTIONS false"))
    text = sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), sql.SQL(" ").join(options))
    return Statement(text, strategy.settings)


def drop_statement(name: str) -> sql.Composed:
    """Return the statement that drops a database, if it is there, with its sessions."""
    return sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))


def private_name(kind: str, digest: str) -> str:
    """Return the private name of a kind (see `PRIVATE_NAME`) for the hex digest of a fingerprint."""
    return f"seedtool_{kind}_{digest[:20]}"


def fresh_name(kind: str, digest: str) -> str:
    """Return a private name that is used once, for a database that does not stay.

    Such a database may be dropped whenever the server comes to it: nothing newer has the name by then. The name
    begins with the digest of the target or fingerprint whose lock goes with it.
    """
    return f"seedtool_{kind}_{digest[:10]}{secrets.token_hex(5)}"


def holder_of(connection: psycopg.Connection[Any], key: int) -> str:
    """Name the session that holds an advisory lock of the connection's database, for messages."""
    query = """
        SELECT format('session %%s of %%s (%%s), since %%s', a.pid, a.usename,
               coalesce(nullif(a.application_name, ''), 'no name'),
               to_char(coalesce(a.xact_start, a.backend_start), 'HH24:MI:SS'))
        FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.classid::bigint = %s AND l.objid::bigint = %s"""
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(query, [key >> 32 & 0xFFFFFFFF, key & 0xFFFFFFFF]).fetchone()
    return str(row[0]) if row else "another session"


def take_lock(
    connection: psycopg.Connection[Any],
    key: int,
    what: str,
    listener: Listener = SILENT,
    *,
    session: bool = False,
    shared: bool = False,
) -> None:
    """Take an advisory lock of the connection's database, and wait while somebody else holds it.

    Args:
        connection: in a transaction, or in autocommit.
        key: the lock's key (64 bits, with a sign).
        what: what the lock is of, for messages.
        listener: hears after two seconds who is waited for.
        session: keep it until it is given back or the session ends; otherwise until the transaction ends.
        shared: others may share it.

    Raises:
        BlockedError: somebody has held the lock for fifteen minutes.
    """
    lock = f"advisory{'' if session else '_xact'}_lock{'_shared' if shared else ''}"
    holder = "somebody"
    with connection.cursor(row_factory=tuple_row) as cursor:
        if cursor.execute(f"SELECT pg_try_{lock}(%s)".encode(), [key]).fetchone() == (True,):
            return
        before = cursor.execute("SELECT current_setting('lock_timeout')").fetchone()
        for seconds in (QUIET_WAIT, LONGEST_WAIT):
            try:
                with connection.transaction():  # within the caller's, the timeout undoes this part alone
                    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{seconds}s"])
                    cursor.execute(f"SELECT pg_{lock}(%s)".encode(), [key])
                    cursor.execute("SELECT set_config('lock_timeout', %s, true)", before)
            except _errors.LockNotAvailable:
                holder = holder_of(connection, key)
                listener.note(f"waiting for the lock of {what}: {holder} holds it")
            else:
                return
    raise BlockedError(
        f"{holder} has held the lock of {what} for {LONGEST_WAIT // 60} minutes; nothing was changed",
        remedy="Let it finish, or end that session: SELECT pg_terminate_backend(PID).",
    )


def lock_key(digest: str) -> int:
    """Return the advisory lock's key for a hex digest of which at least ten digits are known."""
    return int.from_bytes(bytes.fromhex(digest[:10]))


def _holding(digest: str) -> int:
    return lock_key(digest) | 1 << 40


@contextlib.contextmanager
def open_cluster(target: Target, listener: Listener = SILENT, project: str = "") -> Iterator[Cluster]:
    """Connect to the maintenance database of the target's server.

    Args:
        target: the target.
        listener: hears of the steps of the work.
        project: the project's name, for the purposes that are noted with templates.

    Raises:
        PoolerError: the connection goes through a pooler.
        DatabaseError: the server does not answer, or is too old; or the session was lost.
    """
    listener.step("connect")
    since = time.perf_counter()
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        cluster = Cluster(connection, target, listener, project)
        cluster.milliseconds["connect"] = round((time.perf_counter() - since) * 1000, 3)
        # limits that somebody set for the role or the maintenance database are meant for an application's queries;
        # if one of them ended our session in the middle of a long build, the lock would be gone
        limits = {**background.no_limits(cluster.version), "plan_cache_mode": "force_generic_plan"}
        connection.execute("; ".join(f"SET {name} = {value}" for name, value in limits.items()).encode())
        try:
            yield cluster
        except psycopg.OperationalError as error:
            if connection.closed:
                raise translate(error, f"the session that works on {target} was lost") from error
            raise
        finally:
            if cluster.afterwards and not connection.closed:
                background.send(
                    target, cluster.afterwards, limits=background.no_limits(cluster.version), own=connection
                )


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
