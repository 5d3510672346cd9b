"""Background statements: sent to the server, which finishes them on its own. Nobody waits for the answer.

`CREATE DATABASE` and `DROP DATABASE` finish although their client has left: the server notices that only when it has
an answer to give. So there is one statement a connection: after the first one the session would end.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn

from seedtool.postgres.server import Target


class Statement(NamedTuple):
    """A statement, and settings of the session in which it runs."""

    text: sql.Composed
    settings: Mapping[str, str] = {}


def no_limits(version: int) -> dict[str, str]:
    """Return settings under which a long statement runs to its end, and one whose client has left, too.

    Args:
        version: the server's, as libpq has it, such as 180006.
    """
    settings = {
        "statement_timeout": "0",
        "lock_timeout": "0",
        "idle_session_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "client_connection_check_interval": "0",
        "default_transaction_read_only": "off",
    }
    return {**settings, "transaction_timeout": "0"} if version >= 170000 else settings


def send(
    target: Target,
    statements: Sequence[sql.Composed | Statement],
    *,
    limits: Mapping[str, str],
    own: psycopg.Connection | None = None,
) -> int:
    """Send statements to the server, which runs them side by side. Correctness must not depend on them.

    Args:
        target: its server is meant.
        statements: each runs in a session of its own.
        limits: settings of all sessions (see `no_limits`).
        own: a connection that has done its work: the first statement goes over it, and it is closed.

    Returns:
        how many were sent, the first ones first; fewer when no further connection is to be had.
    """
    work = [each if isinstance(each, Statement) else Statement(each) for each in statements]
    # all connections first: what the statements make the server do would hold them up
    others = [
        PGconn.connect(_conninfo(target, {**limits, **each.settings}).encode()) for each in (work[1:] if own else work)
    ]
    sent = 0
    try:
        if own:
            for name, value in work[0].settings.items():
                own.execute("SELECT set_config(%s, %s, false)", [name, value])
        for each, session in zip(work, [own.pgconn, *others] if own else others, strict=True):
            session.send_query(each.text.as_bytes())
            sent += 1
    except psycopg.Error:  # not connected, or no longer
        pass
    finally:
        for session in others:
            session.finish()
        if own:
            own.close()
    return sent


def _conninfo(target: Target, settings: Mapping[str, str]) -> str:
    options = [
        str(conninfo_to_dict(target.conninfo).get("options") or ""),
        *(f"-c {name}={value}" for name, value in settings.items()),
    ]
    return make_conninfo(
        target.conninfo,
        dbname=target.maintenance,
        application_name="seedtool",
        client_encoding="utf8",
        options=" ".join(options).strip(),
    )
