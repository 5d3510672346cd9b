"""Redirecting env.py's connections to the database that is built, wherever env.py takes its URL from.

The environment names that database under the names that projects use. What env.py reads elsewhere (a `.env` file, a
settings class, a constant) names the target. While the target is built anew, SQLAlchemy's own hook redirects
connections to the target to the database being built. Other addresses are left alone, and refused later.
"""

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from seedtool.errors import MigrationError
from seedtool.postgres import server
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
#: libpq's own.
_LIBPQ = {"host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class _Address(NamedTuple):
    """Which database is meant; who connects, and how, does not matter."""

    host: str
    port: str
    name: str


def variables(conninfo: str, like: str | None) -> dict[str, str]:
    """Return the environment in which a project finds this database.

    Args:
        conninfo: libpq connection string of the database.
        like: a URL whose scheme, and so the driver, is what env.py understands where no variable says so.
    """
    parts = {key: str(value) for key, value in conninfo_to_dict(conninfo).items() if value is not None}
    found = {name: url(conninfo, os.environ.get(name) or like) for name in _URLS}
    found |= {variable: parts[key] for key, variable in _LIBPQ.items() if key in parts}
    if parts.get("password"):
        found["PGPASSWORD"] = parts["password"]
    # a socket's folder between :// and / would end the host there; libpq and `redirected` decode it
    named = {**parts, "host": quote(parts.get("host", ""), safe=":,"), "port": parts.get("port") or "5432"}
    found |= {name: named.get(key, "") for key, names in _PARTS.items() for name in names}
    # in a database without an encoding psycopg would give bytes for text, which SQLAlchemy cannot read
    found.setdefault("PGCLIENTENCODING", os.environ.get("PGCLIENTENCODING") or "utf8")
    return found


def url(conninfo: str, like: str | None) -> str:
    """Return a database's URL with the scheme (and so the driver) of another one."""
    rest = Target(conninfo=conninfo, name="", maintenance="").url.partition("://")[2]
    scheme = re.match(r"(postgres(?:ql)?(?:\+\w+)?)://", like or "")
    named = scheme[1] if scheme else "postgresql+psycopg"
    if named.endswith("+asyncpg"):
        rest = re.sub(r"([?&])sslmode=", r"\1ssl=", rest)  # asyncpg's name for it
    return f"{named}://{rest}"


@contextlib.contextmanager
def redirected(conninfo: str, target: str, only: OneTransaction | None) -> Iterator[None]:
    """Redirect connections that SQLAlchemy makes to the target in this thread to the database that is built.

    Those that a pool keeps are closed in the end: what was built will have another name.

    Args:
        conninfo: libpq connection string of the database that is built.
        target: that of the target, whose name stands for it meanwhile.
        only: the one connection on which everything has to happen; None lets env.py make its own.
    """
    from sqlalchemy import Engine, Pool, event

    meant = {_address(conninfo_to_dict(text)) for text in (conninfo, target)}
    to, thread = conninfo_to_dict(conninfo), threading.get_ident()
    kept: list[psycopg.Connection[Any]] = []

    def redirect(
        dialect: "Dialect", _: "ConnectionPoolEntry", __: list[Any], given: dict[str, Any]
    ) -> psycopg.Connection[Any] | None:
        if dialect.name != "postgresql" or threading.get_ident() != thread or _address(given) not in meant:
            return None
        if only is not None:
            return _shared(only, dialect)
        given["database" if "database" in given else "dbname"] = to["dbname"]
        given |= {key: to[key] for key in ("host", "port") if to.get(key)}
        return None

    def keep(connection: object, _: "ConnectionPoolEntry") -> None:
        if isinstance(connection, psycopg.Connection) and threading.get_ident() == thread:
            kept.append(connection)

    event.listen(Engine, "do_connect", redirect)
    event.listen(Pool, "connect", keep)
    try:
        yield
    finally:
        event.remove(Engine, "do_connect", redirect)
        event.remove(Pool, "connect", keep)
        for connection in kept:
            if not connection.closed and connection.info.dbname == to["dbname"] and conninfo != target:
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


def _address(given: Mapping[str, Any]) -> _Address:
    """Return what connection parameters mean, libpq's defaults included."""
    host = unquote(str(given.get("host") or os.environ.get("PGHOST") or "localhost"))
    return _Address(
        host="localhost" if host in _LOOPBACK else host,
        port=str(given.get("port") or os.environ.get("PGPORT") or "5432"),
        name=str(
            given.get("dbname") or given.get("database") or os.environ.get("PGDATABASE") or given.get("user") or ""
        ),
    )


def engine(database: Target | OneTransaction) -> "Engine":
    """Return an engine for a database, or for the one connection to it on which everything has to happen."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    def connect() -> psycopg.Connection[Any]:
        if isinstance(database, OneTransaction):
            return database
        return server.connect(database, application="seedtool migrate")

    return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
