"""The audit record: a table of the copy that says who made it, when, from what, and by which policy."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from seedtool.errors import DatabaseError
from seedtool.postgres import server
from seedtool.postgres.psycopg_errors import translated

if TYPE_CHECKING:
    from seedtool.postgres.server import Target
    from seedtool.refreshing.report import Report

_CREATE = """
CREATE SCHEMA IF NOT EXISTS seedtool;
CREATE TABLE IF NOT EXISTS seedtool.refreshes (
    began timestamptz PRIMARY KEY,
    ran_by text NOT NULL,
    source text NOT NULL,
    policy_hash text NOT NULL,
    key_id text NOT NULL,
    report jsonb NOT NULL
);
COMMENT ON TABLE seedtool.refreshes IS
'What this database was copied from, by whom, when, and by which policy (seedtool refresh)'"""

# a database may write times in a form that psycopg does not read; JSON has one form
_ROWS = """SELECT to_json(began) #>> '{}', ran_by, source, policy_hash, key_id, report FROM seedtool.refreshes r
ORDER BY r.began"""


def prepare(database: Target) -> None:
    """Make the table of the record, before the copy has event triggers that may forbid it.

    Args:
        database: the copy.
    """
    with (
        server.connect(database, application="seedtool refresh") as connection,
        translated("the table of the audit record cannot be made"),
    ):
        connection.execute(_CREATE)


def write(database: Target, report: Report, *, before: Target) -> None:
    """Write the record into a copy, after those of the database that it will replace.

    Args:
        database: the copy.
        report: what was done.
        before: the database that the copy replaces; it may not exist.
    """
    with (
        server.connect(database, application="seedtool refresh") as connection,
        translated("the audit record cannot be written"),
    ):
        if connection.execute("SELECT to_regclass('seedtool.refreshes')").fetchone() == (None,):
            connection.execute(_CREATE)  # the policy's own SQL has dropped it
        insert = "INSERT INTO seedtool.refreshes VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
        for began, by, source, policy, key, text in records(before):
            connection.execute(insert, [began, by, source, policy, key, Jsonb(text)])
        shown = msgspec.to_builtins(report)
        row = [report.began, report.by, report.source, report.policy_hash, report.key, Jsonb(shown)]
        connection.execute(insert, row)


def records(database: Target) -> list[tuple[object, ...]]:
    """Return the records of a database, the oldest first; none where it has none, or cannot be asked."""
    with (
        contextlib.suppress(psycopg.Error, DatabaseError),
        server.connect(database, application="seedtool refresh", patience=2) as connection,
    ):
        return connection.execute(_ROWS).fetchall()
    return []
