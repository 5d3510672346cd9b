"""Which database is meant and how to reach it: an external server's that DATABASE_URL names, or the embedded one's.

Both have one face, a `Target`. Attaching is a plain connect; only when that fails is the embedded server
looked at and started. It is kept running between commands.
"""

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from seedtool.database.embedded import PORT, SUPERUSER, EmbeddedServer
from seedtool.errors import DatabaseError, SettingsError
from seedtool.settings import Settings


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The database that a command works on.

    Args:
        conninfo: libpq connection string; it may hold a password, so it is never printed.
        name: the database's name.
        maintenance: name of the database we stand in while the target is replaced.
        embedded: the embedded server that holds it; None for an external one.
    """

    conninfo: str
    name: str
    maintenance: str
    embedded: EmbeddedServer | None = None

    def __str__(self) -> str:
        if self.embedded is not None:
            return f"{self.name} on the embedded server"
        parts = conninfo_to_dict(self.conninfo)
        return f"{self.name} on {parts.get('host', 'localhost')}:{parts.get('port', PORT)}"

    def conninfo_for(self, database: str) -> str:
        """Return the connection string of another database on the same server."""
        return make_conninfo(self.conninfo, dbname=database)

    @property
    def url(self) -> str:
        """The target as an SQLAlchemy URL (`postgresql+psycopg://`), with the password where there is one."""
        from urllib.parse import quote, urlencode

        parts = {key: str(value) for key, value in conninfo_to_dict(self.conninfo).items() if value is not None}
        user, password = parts.pop("user", ""), parts.pop("password", "")
        name = parts.pop("dbname")
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "") + ("@" if user else "")
        query = f"?{urlencode(parts)}" if parts else ""
        return f"postgresql+psycopg://{login}/{quote(name, safe='')}{query}"


def find(settings: Settings) -> Target:
    """Return the target that the settings name; nothing is started or connected.

    Raises:
        SettingsError: DATABASE_URL cannot be read or names no database.
    """
    if settings.database_url is None:
        server = EmbeddedServer(settings.state_dir)
        conninfo = make_conninfo(host=str(server.socket_dir), port=PORT, user=SUPERUSER, dbname=settings.database)
        return Target(
            conninfo=conninfo, name=settings.database, maintenance=settings.maintenance_database, embedded=server
        )
    origin = settings.origins.get("database_url", "given")
    url = settings.database_url
    scheme, separator, rest = url.partition("://")
    try:
        parts = conninfo_to_dict(f"{scheme.split('+')[0]}{separator}{rest}")
    except psycopg.ProgrammingError:
        # libpq's own message may quote a part of the URL, and with it the password
        raise SettingsError(
            f"setting database_url: libpq cannot read it (from {origin})",
            remedy="Write postgresql://user:password@host:5432/database, with special characters percent-encoded.",
        ) from None
    name = parts.get("dbname")
    if not name:
        raise SettingsError(
            f"setting database_url: names no database (from {origin})",
            remedy="Add the database's name: postgresql://user@host:5432/NAME.",
        )
    if name == settings.maintenance_database:
        raise SettingsError(
            f"setting database_url: {name} is the maintenance database (from {origin})",
            remedy="Name the application's own database, or set maintenance_database to another one.",
        )
    return Target(
        conninfo=make_conninfo(**{key: str(value) for key, value in parts.items()}),
        name=str(name),
        maintenance=settings.maintenance_database,
    )


def connect(
    target: Target, database: str | None = None, *, autocommit: bool = False, application: str = "seedtool"
) -> psycopg.Connection:
    """Connect to the target, or to another database of its server; starts the embedded server when it is down.

    Args:
        target: the target.
        database: another database's name; None means the target itself.
        autocommit: psycopg's meaning.
        application: what `pg_stat_activity` shows.

    Raises:
        DatabaseError: nobody answers, the password is wrong, or the database does not exist.
        ServerError: the embedded server cannot be started.
    """
    conninfo = target.conninfo if database is None else target.conninfo_for(database)
    try:
        return psycopg.connect(conninfo, autocommit=autocommit, application_name=application)
    except psycopg.OperationalError as error:
        if target.embedded is None or target.embedded.is_running():
            raise _connection_error(target, database or target.name, error) from error
    target.embedded.start()
    try:
        return psycopg.connect(conninfo, autocommit=autocommit, application_name=application)
    except psycopg.OperationalError as error:
        raise _connection_error(target, database or target.name, error) from error


def _connection_error(target: Target, database: str, error: psycopg.OperationalError) -> DatabaseError:
    text = str(error)
    if f'database "{database}" does not exist' in text:
        return DatabaseError(f"the database {database} does not exist", remedy="Run seedtool db-reset to make it.")
    reason = text.rsplit("failed: ", maxsplit=1)[-1].strip().splitlines()[0] if text else "no answer"
    return DatabaseError(
        f"cannot connect to {database} of {target}: {reason}",
        remedy="Is the server running, and are host, port, user and password in DATABASE_URL right?",
    )
