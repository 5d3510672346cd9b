"""Sessions of asyncpg, which streams COPY with little work for the client: made from what libpq resolved.

What asyncpg cannot express is refused. A connection is never made with less than libpq was asked for.
"""

from __future__ import annotations

import re
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedtool import extras
from seedtool.errors import DatabaseError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

#: libpq's words for a connection that notices when the other end is gone (seconds, and how often it is asked).
KEEPALIVE = {"keepalives": "1", "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "6"}
#: How long to wait for a connection (seconds).
TIMEOUT = 60
#: libpq's parameters that ask for something that asyncpg cannot do, and the values that ask for nothing.
_UNKNOWN = {
    "channel_binding": {"prefer", "disable"},
    "require_auth": set[str](),
    "requirepeer": set[str](),
    "gssencmode": {"prefer", "disable"},
    "sslcrl": set[str](),
    "sslcrldir": set[str](),
    "sslsni": {"1"},
    "sslcertmode": {"allow", "disable"},
    "sslkeylogfile": set[str](),
}


def require() -> Any:  # noqa: ANN401 - asyncpg has no types of its own
    """Return the module asyncpg.

    Raises:
        MissingExtra: it is not installed.
    """
    extras.require("refresh", "asyncpg")
    import asyncpg

    return asyncpg


def parameters(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """Return what asyncpg needs to reach the server that a connection of libpq reached, in the same way.

    The host is the one that libpq chose; user, password, service file and passfile are resolved.

    Args:
        connection: to the same database.

    Raises:
        SettingsError: the connection was asked for something that asyncpg cannot express.
    """
    info = connection.info
    given = {each.keyword.decode(): each.val.decode() for each in connection.pgconn.info if each.val}
    for name, harmless in _UNKNOWN.items():
        if given.get(name) and given[name] not in harmless:
            raise _refused(name, given[name])
    if given.get("gssencmode") != "disable" and _encrypted_by_gss(connection):
        raise _refused("gssencmode", "prefer")
    found: dict[str, Any] = {
        "port": info.port,
        "user": info.user,
        "password": info.password or None,
        "database": info.dbname,
        "timeout": TIMEOUT,
        "statement_cache_size": 0,
    }
    settings = {"application_name": "seedtool refresh", "client_encoding": "UTF8"}
    if given.get("options"):
        settings["options"] = given["options"]
    found["server_settings"] = settings
    if given.get("krbsrvname"):
        found["krbsrvname"] = given["krbsrvname"]
    if info.host.startswith(("/", "@")):
        found |= {"host": info.host, "ssl": False}
        return found
    found["host"] = info.hostaddr or info.host
    found["ssl"] = _tls(given, info.host) if connection.pgconn.ssl_in_use else False
    if given.get("sslnegotiation") == "direct":
        found["direct_tls"] = True
    return found


def _refused(name: str, value: str) -> SettingsError:
    return SettingsError(
        f"the address asks for {name}={value}, and asyncpg, through which a masked copy streams, cannot do that",
        remedy=f"Take {name} out of the address (or PG{name.upper()}, or the service file) if that is safe.",
        key=name,
    )


def _encrypted_by_gss(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute("SELECT encrypted FROM pg_stat_gssapi WHERE pid = pg_backend_pid()").fetchone()
    return row is not None and bool(row[0])


def _tls(given: Mapping[str, str], host: str) -> ssl.SSLContext:
    """Return a context that checks at least what libpq was asked to check.

    Source: PostgreSQL's documentation, "SSL Support" of libpq: `require` with a root certificate is `verify-ca`.
    """
    mode = given.get("sslmode", "prefer")
    context = _NamedHost(ssl.PROTOCOL_TLS_CLIENT)
    context.host = host
    folder = Path.home() / ".postgresql"
    root = given.get("sslrootcert") or str(folder / "root.crt")
    with_root = root == "system" or Path(root).exists()
    context.check_hostname = mode == "verify-full" or root == "system"
    checks = context.check_hostname or mode == "verify-ca" or (mode == "require" and with_root)
    context.verify_mode = ssl.CERT_REQUIRED if checks else ssl.CERT_NONE
    if checks and root == "system":
        context.load_default_certs()
    elif checks:
        try:
            context.load_verify_locations(cafile=root)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"the certificate {root} cannot be read", remedy="See sslrootcert.") from error
    certificate = given.get("sslcert") or str(folder / "postgresql.crt")
    key = given.get("sslkey") or str(folder / "postgresql.key")
    if re.match(r"\w+:", key) and not Path(key).exists():
        raise _refused("sslkey", "engine")
    if Path(certificate).exists():
        try:
            context.load_cert_chain(certificate, key, password=lambda: given.get("sslpassword", ""))
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"the certificate {certificate} or its key cannot be read", remedy="") from error
    versions = {each.name.replace("_", "."): each for each in ssl.TLSVersion}
    lowest, highest = given.get("ssl_min_protocol_version"), given.get("ssl_max_protocol_version")
    context.minimum_version = versions.get(lowest or "", ssl.TLSVersion.TLSv1_2)
    if highest in versions:
        context.maximum_version = versions[highest]
    return context


class _NamedHost(ssl.SSLContext):
    """Compares the certificate with the host's name where the connection goes to its address (`hostaddr`)."""

    host = ""

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:  # noqa: ANN401 - as SSLContext's own
        if named.get("server_hostname"):
            named["server_hostname"] = self.host
        return super().wrap_bio(*arguments, **named)


async def connect(given: Mapping[str, Any], settings: Mapping[str, str], what: str) -> Any:  # noqa: ANN401 - asyncpg's
    """Connect, and set the session's settings.

    Args:
        given: as `parameters` returns it.
        settings: settings of PostgreSQL.
        what: the database, in words.

    Raises:
        DatabaseError: it cannot be reached.
    """
    asyncpg = require()
    connection = None
    try:
        connection = await asyncpg.connect(**given)
        set_all = "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS s (name, value)"
        await connection.execute(set_all, list(settings), list(settings.values()))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if connection is not None:
            connection.terminate()
        code = getattr(error, "sqlstate", None)
        raise DatabaseError(
            f"cannot connect to {what} a second time" + (f" (SQLSTATE {code})" if code else ""),
            remedy="Has the server connections to spare, and does it let this address in as often as asked?",
            code=code,
        ) from None  # its words may hold a password
    _notice_a_lost_peer(connection)
    return connection


def _notice_a_lost_peer(connection: Any) -> None:  # noqa: ANN401 - asyncpg's
    """Let the system ask from time to time whether the server is still there; asyncpg has no word for it."""
    transport = getattr(connection, "_transport", None)
    peer = transport.get_extra_info("socket") if transport is not None else None
    if peer is None or peer.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", "keepalives_idle"),
        ("TCP_KEEPINTVL", "keepalives_interval"),
        ("TCP_KEEPCNT", "keepalives_count"),
    ):
        if hasattr(socket, option):  # other systems have other words
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), int(KEEPALIVE[value]))
