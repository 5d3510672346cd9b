"""Which database is meant and how to reach it: an external server's that DATABASE_URL names, or the embedded one's.

Both have one face, a `Target`. Attaching is a plain connect; only when that fails is the embedded server
looked at and started. It is kept running between commands.
"""

import contextlib
import hashlib
import os
import re
import time
from typing import Any, TypeVar, overload
from urllib.parse import quote, unquote

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn, Ping

from seedtool.errors import DatabaseError, PoolerError, SettingsError
from seedtool.postgres.embedded import PORT, SUPERUSER, EmbeddedServer
from seedtool.settings import Settings
from seedtool.settings.setting import no_control

#: How long `connect` waits for a server that is starting, stopping or recovering (seconds).
PATIENCE = 60
#: Names of databases that seedtool makes for itself: the kind, and a digest of a target or a fingerprint.
PRIVATE_NAME = re.compile(r"seedtool_(template|spare|building|clone|old|test)_([0-9a-f]{20})")
#: Names of snapshots. They are users' data, so they are apart from the private names, which are swept and pruned.
SNAPSHOT_NAME = re.compile(r"seedtool_snapshot_[0-9a-f]{20}")

_Connection = TypeVar("_Connection", bound=psycopg.Connection[Any])


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The database that a command works on.

    Args:
        conninfo: libpq connection string; it may hold a password, so it is never printed.
        name: the database's name.
        maintenance: name of the database that commands connect to while the target is replaced.
        embedded: the embedded server that holds it; None for an external one.
        base: the database that templates are built from.
        in_place: its schemas are rebuilt in it, and it is not replaced.
        given: where its address was given, as remedies name it.
        addresses: where libpq connected, once it did: a service file, PGHOST or a list of hosts may lead elsewhere than
            the connection string reads. Copies of a target share it.
    """

    conninfo: str
    name: str
    maintenance: str
    embedded: EmbeddedServer | None = None
    base: str = "template0"
    in_place: bool = False
    given: str = "DATABASE_URL"
    addresses: list[str] = msgspec.field(default_factory=list)

    def __str__(self) -> str:
        if self.embedded is not None:
            return f"{self.name} on the embedded server{'' if self.embedded.durable else ' of tests'}"
        if self.addresses:
            return f"{self.name} on {self.addresses[-1]}"
        parts = conninfo_to_dict(self.conninfo)
        host = str(parts.get("host") or parts.get("hostaddr") or "localhost")
        return f"{self.name} on {_in_brackets(host)}:{parts.get('port', PORT)}"

    def __repr__(self) -> str:
        return f"<Target {self}>"  # conninfo may hold a password, and this stands in tracebacks

    @property
    def digest(self) -> str:
        """The hex digest that names the target's lock, clones, spares and replaced databases."""
        return digest_of(self.name)

    def conninfo_for(self, database: str) -> str:
        """Return the connection string of another database on the same server."""
        return make_conninfo(self.conninfo, dbname=database)

    def at(self, database: str) -> "Target":
        """Return another database of the same server as a target."""
        return msgspec.structs.replace(self, conninfo=self.conninfo_for(database), name=database)

    @property
    def url(self) -> str:
        """The target as an SQLAlchemy URL (`postgresql+psycopg://`), with the password where there is one.

        Host and port stand before the path where one TCP address is named, as everybody expects them. A socket's folder
        stands in the parameters, and nothing before the path: libpq, SQLAlchemy and asyncpg read that alike.
        """
        from urllib.parse import urlencode

        parts = {key: str(value) for key, value in conninfo_to_dict(self.conninfo).items() if value}
        user, password = parts.pop("user", ""), parts.pop("password", "")
        name = parts.pop("dbname")
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "") + ("@" if user else "")
        address = ""
        if is_tcp(parts.get("host", "")):
            host, port = parts.pop("host"), parts.pop("port", "")
            address = _in_brackets(host) + (f":{port}" if port else "")
        query = f"?{urlencode(parts, quote_via=quote)}" if parts else ""  # libpq takes a plus sign for itself
        return f"postgresql+psycopg://{login}{address}/{quote(name, safe='')}{query}"


def digest_of(name: str) -> str:
    """Return the digest (see `Target.digest`) of the target with this name."""
    return hashlib.sha256(f"target {name}".encode()).hexdigest()


def _in_brackets(host: str) -> str:
    """Return a host as it stands before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("/") else host


def is_tcp(host: str) -> bool:
    """Tell whether libpq's parameter `host` names one TCP address: no socket's folder (@ begins an abstract one)."""
    return bool(host) and not host.startswith(("/", "@")) and "," not in host


def find(settings: Settings) -> Target:
    """Return the target that the settings name; nothing is started or connected.

    Raises:
        SettingsError: DATABASE_URL cannot be read, or names no database or one that may not be a target.

    Example:
        >>> seedtool.find_target(seedtool.load_settings()).name
        'seedtool'
    """
    return _find(settings, EmbeddedServer(settings.state_dir))


def find_for_tests(settings: Settings) -> Target:
    """Return the target for whoever needs its server and not the database: on the server of tests, if they have one.

    Raises:
        SettingsError: as `find`.
    """
    if not settings.test_server:
        return find(settings)
    return _find(settings, EmbeddedServer(settings.test_server_dir, durable=False))


def _find(settings: Settings, server: EmbeddedServer) -> Target:
    maintenance = settings.maintenance_database
    if settings.database_url is None:
        _check_name(settings, "database", settings.database)
        # an empty hostaddr, so that no PGHOSTADDR or service file leads to another server
        conninfo = make_conninfo(
            host=str(server.socket_dir), hostaddr="", port=PORT, user=SUPERUSER, dbname=settings.database
        )
        return Target(
            conninfo=conninfo, name=settings.database, maintenance=maintenance, embedded=server,
            base=settings.base_template, in_place=settings.in_place,
        )  # fmt: skip
    parts = _parts(settings, settings.database_url)
    name = str(parts.get("dbname") or "")
    _check_name(settings, "database_url", name)
    return Target(
        conninfo=make_conninfo(**{key: str(value) for key, value in parts.items()}), name=name, maintenance=maintenance,
        base=settings.base_template, in_place=settings.in_place,
    )  # fmt: skip


def is_named_by(url: str, settings: Settings) -> bool:
    """Tell whether a URL names the database of the settings, whoever connects and however."""
    if settings.database_url is None or "://" not in url:
        return False
    try:
        parts = [_parts(settings, each) for each in (url, settings.database_url)]
    except SettingsError:
        return False
    one, other = ((part.get("host"), str(part.get("port") or PORT), part.get("dbname")) for part in parts)
    return one == other


def named_by(conninfo: str, maintenance: str = "postgres") -> Target:
    """Return the database that a libpq connection string or URL names, as a target.

    Args:
        conninfo: the connection string.
        maintenance: name of the maintenance database.
    """
    parts = conninfo_to_dict(conninfo)
    return Target(conninfo=conninfo, name=str(parts.get("dbname") or ""), maintenance=maintenance)


def source(url: str, *, setting: str, origin: str | None) -> Target:
    """Return the database that an address names, to read from it; nothing is connected.

    Args:
        url: the address, as DATABASE_URL may be written.
        setting: the setting that gives it, for errors.
        origin: where it was given, for errors and remedies.

    Raises:
        SettingsError: it cannot be read, or names no database.
    """
    parts = _read(url, setting, origin)
    if not parts.get("dbname"):
        raise SettingsError(
            f"setting {setting}: the address names no database (from {origin or 'given'})",
            remedy="Add the database's name: postgresql://user@host:5432/NAME.",
            setting=setting,
            origin=origin,
        )
    conninfo = make_conninfo(**{key: str(value) for key, value in parts.items()})
    return Target(conninfo=conninfo, name=str(parts["dbname"]), maintenance="postgres", given=origin or setting)


def _parts(settings: Settings, url: str) -> dict[str, str | int | None]:
    return _read(url, "database_url", settings.origins.get("database_url"))


def _read(url: str, setting: str, origin: str | None) -> dict[str, str | int | None]:
    """Read a database URL, libpq's or SQLAlchemy's (`postgresql+driver://`), or libpq's key=value form."""
    parts = None
    # of a password that is not encoded, libpq takes a piece for the host, port or database, and tells it
    login, at, _ = url.partition("?")[0].partition("://")[2].rpartition("@")
    if not (at and ("@" in login or "/" in login)):
        with contextlib.suppress(psycopg.ProgrammingError):
            parts = conninfo_to_dict(url_for_libpq(url, origin, setting))
    numbers = {key: str((parts or {}).get(key) or "") for key in ("port", "connect_timeout")}
    if parts is None or not all(re.fullmatch(r"-?[\d,]*", number) for number in numbers.values()):
        raise SettingsError(
            f"setting {setting}: libpq cannot read the address (from {origin or 'given'})",
            remedy="Write postgresql://user:password@host:5432/database, with special characters percent-encoded.",
            setting=setting,
            origin=origin,
        )
    if parts.get("service") and not parts.get("dbname"):
        parts["dbname"] = _database_of_service(str(parts["service"]))
        if not parts["dbname"]:
            raise SettingsError(
                f"setting {setting}: no service file has a service {parts['service']} with a database (from"
                f" {origin or 'given'})",
                remedy=f"Write [{parts['service']}] with dbname=NAME into ~/.pg_service.conf, or name that file in"
                " PGSERVICEFILE.",
                setting=setting,
                origin=origin,
            )
    return parts


def url_for_libpq(url: str, origin: str | None = None, setting: str = "database_url") -> str:
    """Return a URL without what libpq does not know.

    Args:
        url: the URL. In SQLAlchemy's form (`postgresql+driver://`) it may have parameters of the driver, and hosts with
            their ports beside them. libpq's key=value form stays as it is.
        origin: where it was given, for errors.
        setting: the setting that gives it, for errors.

    Raises:
        SettingsError: a parameter is known neither to libpq nor to a driver.
    """
    url, of_a_driver = re.subn(r"^postgres(ql)?\+\w+://", "postgresql://", url)
    address, mark, query = url.partition("?")
    if not mark or "://" not in address:
        return url
    known = _known_to_libpq()
    kept, hosts = [], []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if of_a_driver and name == "ssl":
            kept.append(f"sslmode={value}")  # asyncpg's word for it
        elif of_a_driver and name == "host":
            hosts.append(unquote(value))
        elif unquote(name) in known:
            kept.append(part)
        elif not of_a_driver and name:
            remedy = "Take it out."
            if name == "schema":  # Prisma's
                remedy = "Write options=-csearch_path%3DNAME for schema=NAME, or set the search_path in the database."
            raise SettingsError(
                f"setting {setting}: the address has a parameter {name}, which libpq does not know"
                f" (from {origin or 'given'})",
                remedy=remedy,
                setting=setting,
                key=name,
                origin=origin,
            )
    if any(":" in host and not host.startswith("/") for host in hosts):
        pairs = [host.partition(":")[::2] for host in hosts]
        kept.append("port=" + ",".join(port for _, port in pairs))
        hosts = [host for host, _ in pairs]
    if hosts:
        kept.append("host=" + ",".join(quote(host, safe="") for host in hosts))
    return f"{address}?{'&'.join(kept)}" if kept else address


def parameters_of_driver(url: str) -> list[str]:
    """Return the parameters of an SQLAlchemy URL that are its driver's, such as `prepared_statement_cache_size`.

    Args:
        url: the URL, or another connection string, which has none.
    """
    if not re.match(r"postgres(ql)?\+\w+://", url):
        return []
    known = _known_to_libpq()
    found = [part for part in url.partition("?")[2].split("&") if part]
    return [part for part in found if unquote(part.partition("=")[0]) not in known]


def _known_to_libpq() -> set[str]:
    """Return the names of the parameters that a URL for libpq may have."""
    return {each.keyword.decode() for each in psycopg.pq.Conninfo.get_defaults()} | {"ssl"}  # JDBC's ssl=true


def _database_of_service(service: str) -> str | None:
    """Return the database that a service file names. libpq reads the file when it is asked for its defaults."""
    before = os.environ.get("PGSERVICE")
    os.environ["PGSERVICE"] = service
    try:
        found = {each.keyword: each.val for each in psycopg.pq.Conninfo.get_defaults()}
    finally:
        if before is None:
            del os.environ["PGSERVICE"]
        else:
            os.environ["PGSERVICE"] = before
    name = found.get(b"dbname")
    return name.decode() if name else None


def _check_name(settings: Settings, key: str, name: str) -> None:
    """Refuse names that no target may have: it would be replaced, or swept away, while we stand on it.

    Nor may the base template be the target, whose rows a reset would bring back, or a database of ours.
    """
    fault = remedy = ""
    if not name:
        fault, remedy = "the address names no database", "Add the database's name: postgresql://user@host:5432/NAME."
    elif len(name.encode()) > 63:
        fault, remedy = f"{name} is too long for a database's name", "Use 1 to 63 bytes."
    elif (control := no_control(name)) is not None:  # percent-encoded, in quotes, or of a service file
        fault, remedy = f"the database's name {control.message}", control.remedy
    elif name == settings.maintenance_database:
        fault = f"{name} is the maintenance database"
        remedy = "Name the application's own database, or set maintenance_database to another one."
    elif name in {"template0", "template1"} or PRIVATE_NAME.fullmatch(name) or SNAPSHOT_NAME.fullmatch(name):
        fault = f"{name} is {'PostgreSQL' if name.startswith('template') else 'seedtool'}'s own"
        remedy = "Name the application's own database."
    elif (base := settings.base_template) == name or PRIVATE_NAME.fullmatch(base) or SNAPSHOT_NAME.fullmatch(base):
        key, fault = "base_template", f"{base} is {'the target itself' if base == name else 'a database of seedtool'}"
        remedy = "Make a database of its own for it, or take the setting out."
    if fault:
        raise SettingsError(
            f"setting {key}: {fault} (from {settings.origins.get(key, 'given')})",
            remedy=remedy,
            setting=key,
            origin=settings.origins.get(key),
        )


@overload
def connect(
    target: Target,
    database: str | None = None,
    *,
    autocommit: bool = False,
    application: str = "seedtool",
    patience: float = PATIENCE,
) -> psycopg.Connection: ...
@overload
def connect(
    target: Target,
    database: str | None = None,
    *,
    autocommit: bool = False,
    application: str = "seedtool",
    patience: float = PATIENCE,
    kind: type[_Connection],
) -> _Connection: ...
def connect(
    target: Target,
    database: str | None = None,
    *,
    autocommit: bool = False,
    application: str = "seedtool",
    patience: float = PATIENCE,
    kind: type[psycopg.Connection[Any]] = psycopg.Connection,
) -> psycopg.Connection[Any]:
    """Connect to the target, or to another database of its server; start the embedded server when it is down.

    This is the only way in which the program connects, so that client encoding, waiting and errors are the same
    everywhere.

    Args:
        target: the target.
        database: another database's name; None means the target itself.
        autocommit: psycopg's meaning.
        application: what `pg_stat_activity` shows.
        patience: how long to wait for a server that starts, stops or recovers (seconds).
        kind: the class of the connection.

    Raises:
        DatabaseError: the server does not answer, the password is wrong, or the database does not exist.
        ServerError: the embedded server cannot be started.

    Example:
        >>> with seedtool.connect(seedtool.find_target(seedtool.load_settings())) as connection:
        ...     connection.execute("SELECT count(*) FROM students").fetchone()
        (32,)
    """
    conninfo = make_conninfo(
        target.conninfo,
        dbname=database or target.name,
        application_name=application,
        client_encoding="utf8",  # in a database without an encoding psycopg would return bytes for text
        **({"connect_timeout": max(2, int(patience))} if patience < PATIENCE else {}),  # libpq's least is 2
    )
    deadline = time.monotonic() + patience
    # a server that was starting or recovering at our attempt may be there by the time that we ask for its state
    again = 2
    while True:
        try:
            connection = kind.connect(conninfo, autocommit=autocommit)
        except psycopg.OperationalError as error:
            answers, waited = _wait_for_server(target, deadline)
            up = error.pgconn is not None and error.pgconn.used_password  # it asked who we are
            if not waited and (up or not again or not (answers or target.embedded)):
                raise _connection_error(target, database or target.name, error, answers=answers) from error
            again -= not waited
        else:
            if target.embedded is None:
                target.addresses.append(f"{_in_brackets(connection.info.host or 'localhost')}:{connection.info.port}")
                del target.addresses[:-1]
            return connection


def refuse_pooler(target: Target, connection: psycopg.Connection) -> None:
    """Refuse a connection through a transaction pooler, which gives a process id of its own making.

    Raises:
        PoolerError: it is one.
    """
    if connection.execute("SELECT pg_backend_pid()").fetchone() != (connection.info.backend_pid,):
        raise PoolerError(
            f"the connection to {target} goes through a pooler (PgBouncer, Supavisor)",
            remedy=f"Let {target.given} name the server itself: usually the same host with port 5432.",
        )


def analyze(connection: psycopg.Connection) -> None:
    """Give the planner its statistics, of all tables whose rows are on this server, but not of the system's.

    ANALYZE without names would take several times as long in a small database: it reads all system catalogs, whose
    statistics a new database has from initdb.

    Args:
        connection: outside a transaction.
    """
    tables = connection.execute(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind = 'p' FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
    ).fetchall()
    if not tables:
        return
    try:
        connection.execute(f"ANALYZE {', '.join(table for table, _ in tables)}".encode())
    except psycopg.OperationalError:
        raise
    except psycopg.Error:  # a foreign partition is read, too, and its server may be out of reach
        for table, partitioned in tables:
            if not partitioned:
                connection.execute(f"ANALYZE {table}".encode())


def _wait_for_server(target: Target, deadline: float) -> tuple[bool, bool]:
    """Wait while the server starts, stops or recovers; start the embedded one when it is down.

    Returns:
        whether it answers, and whether it had to be waited for.
    """
    address = {key: value for key, value in conninfo_to_dict(target.conninfo).items() if key != "password"}
    probe = make_conninfo(**{**address, "connect_timeout": "5"}).encode()  # type: ignore[arg-type]
    waited = False
    # libpq's ping knows the state by its SQLSTATE, whatever language the server speaks
    while (state := PGconn.ping(probe)) in {Ping.REJECT, Ping.NO_RESPONSE}:
        if state == Ping.NO_RESPONSE:  # psycopg gives a plain number
            if target.embedded is None:
                return False, waited
            target.embedded.start()
        if time.monotonic() > deadline:
            return False, False
        time.sleep(0.01 if waited else 0)
        waited = True
    return True, waited


def _connection_error(
    target: Target, database: str, error: psycopg.OperationalError, *, answers: bool
) -> DatabaseError:
    """Say why no connection came about. A server tells that in its own language, so another database is asked."""
    if answers:
        other = target.name if database == target.maintenance else target.maintenance
        with contextlib.suppress(psycopg.Error), psycopg.connect(target.conninfo_for(other)) as connection:
            refuse_pooler(target, connection)
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [database]).fetchone() is None:
                return DatabaseError(
                    f"the database {database} does not exist",
                    remedy="Set maintenance_database to one that does."
                    if database == target.maintenance
                    else "Run seedtool db-reset to make it.",
                    database=database,
                )
    text = str(error)
    reason = text.rsplit("failed: ", maxsplit=1)[-1].strip().splitlines()[0] if text else "no answer"
    _, bad, fault = reason.rpartition("connection is bad: invalid ")
    if bad:  # libpq has not tried: a parameter of the address has a value that it does not know
        return DatabaseError(
            f"cannot connect to {target.at(database)}: {target.given} has an invalid {fault}",
            remedy=f"Correct it in {target.given}.",
        )
    return DatabaseError(
        f"cannot connect to {target.at(database)}: {reason}",
        remedy=f"Is the server running, and are host, port, user and password in {target.given} right?"
        if target.embedded is None
        else f"See {target.embedded.log}; where the socket is gone: seedtool server stop, and again.",
        code=error.sqlstate,
    )
