"""The Alembic revisions that a database is at, and those that the project's code knows.

Both without Alembic: its import alone takes longer than restoring.
"""

import re

import psycopg
from psycopg import sql

from seedtool.errors import MigrationError, SettingsError
from seedtool.schema.fingerprint import project_files
from seedtool.settings import Settings
from seedtool.snapshots.description import printable

# Alembic's version table may have any name, in any schema; its key is always called <table>_pkc (alembic.ddl.impl)
_VERSION_TABLES = """
SELECT n.nspname, c.relname
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1 AND a.attname = 'version_num'
JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p' AND k.conname = c.relname || '_pkc'
WHERE c.relkind = 'r' AND c.relnatts = 1
  AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
ORDER BY 1, 2
"""
_REVISION = re.compile(rb"""^revision\s*(?::[^=\n]+)?=\s*["']([^"'\n]+)["']""", re.MULTILINE)


def current(connection: psycopg.Connection) -> list[str]:
    """Return the revisions of the database, over all its version tables; none when Alembic does not look after it."""
    found: set[str] = set()
    for names in connection.execute(_VERSION_TABLES).fetchall():
        rows = connection.execute(sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(*names)))
        found.update(revision for (revision,) in rows if printable(revision))
    return sorted(found)


def unknown(settings: Settings, revisions: list[str]) -> list[str]:
    """Return those of the revisions that no file of the project's migrations declares.

    Where the migrations cannot be found, which other commands complain of, all count as known.
    """
    missing = set(revisions)
    try:
        files = [path for path in project_files(settings) if path.suffix == ".py"] if missing else []
    except (MigrationError, SettingsError):
        return []
    # Alembic puts the revision into the file's name unless told otherwise, so those are read first
    for path in sorted(files, key=lambda path: not any(revision in path.name for revision in revisions)):
        if missing:
            missing -= {found.decode(errors="replace") for found in _REVISION.findall(path.read_bytes())}
    return sorted(missing)
