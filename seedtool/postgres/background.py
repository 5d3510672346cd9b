"""Errands: statements about databases that are sent to the server and not waited for.

`CREATE DATABASE` and `DROP DATABASE` finish in the server although their client has left: it notices only when it
has something to tell. Hence one statement a connection: the answer to the first would find nobody, and the session
would end before the second.
"""

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn

from seedtool.postgres.server import Target

#: What would end a statement that takes long, or the session once its client has left; and what a role may have set.
UNHURRIED = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "client_connection_check_interval": "0",
    "default_transaction_read_only": "off",
}


def send(
    target: Target,
    statements: Sequence[sql.Composed],
    *,
    own: psycopg.Connection | None = None,
    settings: Mapping[str, str] | None = None,
) -> int:
    """Send statements to the server, for it to run side by side, and leave. Correctness must not depend on them.

    Args:
        target: its server is meant.
        statements: one for each connection.
        own: a connection that has done its work: the first statement goes over it, and it is closed.
        settings: the server's settings for the others.

    Returns:
        how many were sent, the first ones first; fewer when no further connection is to be had.
    """
    conninfo = _conninfo(target, settings or {}).encode()
    # all connections first: what the statements make the server do would hold them up
    others = [PGconn.connect(conninfo) for _ in (statements[1:] if own else statements)]
    sent = 0
    try:
        for statement in statements:
            line = own.pgconn if own and not sent else others[sent - bool(own)]
            line.send_query(statement.as_bytes())
            sent += 1
    except psycopg.Error:  # not connected, or no longer
        pass
    finally:
        for line in others:
            line.finish()
        if own:
            own.close()
    return sent


def _conninfo(target: Target, settings: Mapping[str, str]) -> str:
    parts = conninfo_to_dict(target.conninfo)
    limits = [
        str(parts.get("options") or ""),
        *(f"-c {name}={value}" for name, value in {**UNHURRIED, **settings}.items()),
    ]
    return make_conninfo(
        target.conninfo,
        dbname=target.maintenance,
        application_name="seedtool",
        client_encoding="utf8",
        options=" ".join(limits).strip(),
    )
