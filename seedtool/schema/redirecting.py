"""Redirecting env.py's connections to the database that is built, wherever env.py takes its URL from.

The environment names that database under the names that projects use. What env.py reads elsewhere (a `.env` file, a
settings class, a constant) names the target. While the target is built anew, connections to the target are redirected
to the database being built: SQLAlchemy's by its own hook, those that a revision makes by itself within the drivers.
Other addresses are left alone, and refused later.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from seedtool.errors import MigrationError
from seedtool.postgres import server
from seedtool.postgres.drivers import Decide, Reach, intercepted
from seedtool.postgres.server import Target
from seedtool.resetting.transaction import OneTransaction

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import Dialect
    from sqlalchemy.pool import ConnectionPoolEntry

#: Variables that hold a whole URL: Heroku's and most others', Flask-SQLAlchemy's, FastAPI's tutorial.
_URLS = ("DATABASE_URL", "SQLALCHEMY_DATABASE_URI", "SQLALCHEMY_DATABASE_URL")
#: Variables that hold a part of it, by libpq's word: the PostgreSQL image's, FastAPI's template's, and a habit of many.
_PARTS = {
    "host": ("POSTGRES_HOST", "POSTGRES_SERVER", "DB_HOST"),
    "port": ("POSTGRES_PORT", "DB_PORT"),
    "user": ("POSTGRES_USER", "DB_USER"),
    "password": ("POSTGRES_PASSWORD", "DB_PASSWORD"),
    "dbname": ("POSTGRES_DB", "DB_NAME"),
}
#: Parameters of libpq that asyncpg takes as arguments too, which is how SQLAlchemy hands them on.
_OF_ASYNCPG = frozenset({"target_session_attrs", "passfile", "krbsrvname", "gsslib"})


def address(database: Target | OneTransaction) -> str:
    """Return a connection string of a database that names one host and its port.

    A service file, PGHOST, libpq's default or a list of hosts is asked for by connecting: most settings classes want a
    URL with one host.

    Args:
        database: the database, or the one connection to it.
    """
    if isinstance(database, OneTransaction):
        return _connected(database)
    parts = conninfo_to_dict(database.conninfo)
    host = str(parts.get("host") or "")
    if not parts.get("service") and (server.is_tcp(host) or host.startswith("/")):
        return database.conninfo
    with server.connect(database, application="seedtool migrate") as connection:
        return _connected(connection)


def _connected(connection: psycopg.Connection[Any]) -> str:
    info = connection.info
    parts: dict[str, Any] = info.get_parameters()
    # the first two are ours, what the service file says stands here, and psycopg looks each host's address up
    for name in ("application_name", "client_encoding", "service", "hostaddr"):
        parts.pop(name, None)
    if info.password:
        parts["password"] = info.password
    parts |= {"host": info.host or "localhost", "port": str(info.port), "dbname": info.dbname}
    return make_conninfo(**parts)


def variables(conninfo: str, like: str | None, *, in_process: bool = True) -> dict[str, str]:
    """Return the environment in which a project finds this database.

    Args:
        conninfo: libpq connection string of the database, with a host.
        like: a URL whose scheme, and so the driver, is what env.py understands where no variable says so.
        in_process: env.py reads them, whose connections are led to the database; False for another program.
    """
    parts = {key: str(value) for key, value in conninfo_to_dict(conninfo).items() if value is not None}
    found = {name: url(conninfo, os.environ.get(name) or like, host=in_process) for name in _URLS}
    for each in psycopg.pq.Conninfo.get_defaults():
        if each.envvar and each.keyword.decode() in parts:
            found[each.envvar.decode()] = parts[each.keyword.decode()]
    # a socket's folder between :// and / would end the host there; libpq and `redirected` decode it
    named = {**parts, "host": quote(parts.get("host", ""), safe=":,"), "port": parts.get("port") or "5432"}
    found |= {name: named.get(key, "") for key, names in _PARTS.items() for name in names}
    # in a database without an encoding psycopg would give bytes for text, which SQLAlchemy cannot read
    found.setdefault("PGCLIENTENCODING", os.environ.get("PGCLIENTENCODING") or "utf8")
    return found


def url(conninfo: str, like: str | None, *, host: bool = True) -> str:
    """Return a database's URL with the scheme (and so the driver) of another one, and with its driver's parameters.

    It has a host before its path, as settings classes want it (pydantic's PostgresDsn). For a socket that is
    `localhost`; the parameter `host`, which libpq and SQLAlchemy prefer, names the socket's folder.

    Args:
        conninfo: libpq connection string of the database, with a host.
        like: the other URL.
        host: on a socket, name `localhost` before the path. Without it Django finds the socket as well: it prefers the
            host before the path.
    """
    scheme = re.match(r"(postgres(?:ql)?(?:\+\w+)?)://", like or "")
    named = scheme[1] if scheme else "postgresql+psycopg"
    address, _, query = Target(conninfo=conninfo, name="", maintenance="").url.partition("://")[2].partition("?")
    login, at, place = address.rpartition("@")
    if host and place.startswith("/"):
        place = f"localhost{place}"
    parameters = [each for each in query.split("&") if each]
    if named.endswith("+asyncpg"):
        parameters = [found for each in parameters if (found := _for_asyncpg(each))]
    if "+" in named:
        parameters += server.parameters_of_driver(like or "")
    return f"{named}://{login}{at}{place}" + (f"?{'&'.join(parameters)}" if parameters else "")


def _for_asyncpg(parameter: str) -> str | None:
    """Return a parameter of libpq as asyncpg takes it, or None; the others it reads from the environment, if at all."""
    name, _, value = parameter.partition("=")
    if name == "sslmode":
        return f"ssl={value}"
    return parameter if name in _OF_ASYNCPG | {"host", "port"} else None


@contextlib.contextmanager
def redirected(conninfo: str, target: Target, only: OneTransaction | None) -> Iterator[None]:
    """Redirect connections to the target that the project's code makes meanwhile to the database that is built.

    Those that a pool of SQLAlchemy keeps are closed in the end: what was built will have another name.

    Args:
        conninfo: libpq connection string of the database that is built, with a host.
        target: the target, whose name stands for it meanwhile.
        only: the one connection on which everything has to happen; None lets env.py make its own.
    """
    reaches_target = Reach(target, conninfo)
    to = {key: str(value) for key, value in conninfo_to_dict(conninfo).items() if key in {"host", "port", "dbname"}}

    def changes(given: Mapping[str, Any]) -> Mapping[str, str]:
        if reaches_target(given):
            return {"dbname": to["dbname"]}
        # no other server has a database of this name, so whoever takes a URL of ours apart means this one (see `url`)
        return to if (given.get("dbname") or given.get("database")) == to["dbname"] else {}

    with intercepted(changes) as concerns_us, _engines(changes, concerns_us, only):
        if conninfo == target.conninfo:
            yield
            return
        with _pools_closed(to["dbname"], concerns_us):
            yield


@contextlib.contextmanager
def _engines(changes: Decide, concerns_us: Callable[[], bool], only: OneTransaction | None) -> Iterator[None]:
    """Redirect what SQLAlchemy's engines connect to, whatever their driver is."""
    from sqlalchemy import Engine, event

    def redirect(
        dialect: "Dialect", _: "ConnectionPoolEntry", __: list[Any], given: dict[str, Any]
    ) -> psycopg.Connection[Any] | None:
        if dialect.name != "postgresql" or not concerns_us():
            return None
        host = unquote(str(given.get("host") or ""))  # a socket's folder, of which SQLAlchemy leaves the `%2F`
        changed = dict(changes({**given, "host": host}))
        if only is not None and changed:
            return _shared(only, dialect)
        if changed and "database" in given:
            changed["database"] = changed.pop("dbname")
        if changed:
            given |= {**({"host": host} if host else {}), **changed}
        return None

    event.listen(Engine, "do_connect", redirect)
    try:
        yield
    finally:
        event.remove(Engine, "do_connect", redirect)


@contextlib.contextmanager
def _pools_closed(name: str, concerns_us: Callable[[], bool]) -> Iterator[None]:
    """Close in the end what pools of SQLAlchemy keep of a database."""
    from sqlalchemy import Pool, event

    kept: list[psycopg.Connection[Any]] = []

    def keep(connection: object, _: "ConnectionPoolEntry") -> None:
        if isinstance(connection, psycopg.Connection) and concerns_us():
            kept.append(connection)

    event.listen(Pool, "connect", keep)
    try:
        yield
    finally:
        event.remove(Pool, "connect", keep)
        for connection in kept:
            if not connection.closed and connection.info.dbname == name:
                connection.close()


def _shared(only: OneTransaction, dialect: "Dialect") -> OneTransaction:
    if dialect.driver != "psycopg":
        raise MigrationError(
            f"env.py connects with {dialect.driver}, and what has to happen in one transaction happens on psycopg's",
            remedy='Let env.py use config.attributes["connection"] where it is given, or postgresql+psycopg://.',
        )
    # SQLAlchemy would ask for it when the dialect begins, in a way that only its own connections understand
    dialect.use_native_hstore = False  # type: ignore[attr-defined] # psycopg's
    return only


def engine(database: Target | OneTransaction) -> "Engine":
    """Return an engine for a database, or for the one connection to it on which everything has to happen."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    def connect() -> psycopg.Connection[Any]:
        if isinstance(database, OneTransaction):
            return database
        return server.connect(database, application="seedtool migrate")

    return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
