"""What goes when schemas are rebuilt in place: all that this role may drop and a revision may have made.

What stays: `public` itself, schemas and extensions that this role does not own, whatever other roles own outside of
schemas that go, and default privileges: they say how others may use what the role will make, and no revision would
bring them back.
"""

from collections import Counter
from typing import NamedTuple

import psycopg
from psycopg import sql

#: Nothing that a clone of template0 would have, so nothing that migrations could count on.
_OWNED = """
SELECT found.type AS kind, found.identity, found.schema
FROM pg_shdepend o CROSS JOIN pg_identify_object(o.classid, o.objid, 0) AS found
WHERE o.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND o.deptype = 'o' AND pg_has_role(o.refobjid, 'USAGE')
  AND coalesce(found.schema, found.name, '') !~ '^pg_' AND (found.type, found.identity) <> ('schema', 'public')
  AND found.type NOT IN ('default acl', 'user mapping')
  -- what belongs to an extension, or to another object that goes
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE (d.classid, d.objid) = (o.classid, o.objid) AND d.deptype IN ('i', 'e')
                  AND (d.refclassid, d.refobjid) <> (o.classid, o.objid))
  -- an extension of somebody else would go with the schema it is in
  AND NOT EXISTS (SELECT FROM pg_extension x WHERE o.classid = 'pg_namespace'::regclass AND x.extnamespace = o.objid
                  AND NOT pg_has_role(x.extowner, 'USAGE'))
  AND (found.type NOT IN ('schema', 'extension')
       OR NOT %(keep)s AND has_database_privilege(current_database(), 'CREATE'))
ORDER BY array_position(ARRAY['event trigger', 'publication', 'schema', 'extension', 'table'], found.type),
         found.type, found.identity
"""


class Owned(NamedTuple):
    """An object that goes: PostgreSQL's word for its kind, its quoted name, and the schema it is in, if any."""

    kind: str
    identity: str
    schema: str | None


def owned(connection: psycopg.Connection, *, keep: bool = False) -> list[Owned]:
    """Return what would go, in an order in which it can.

    Args:
        connection: to the database.
        keep: leave schemas and extensions, and empty the schemas only.
    """
    return [Owned(*row) for row in connection.execute(_OWNED, {"keep": keep})]


def drop(connection: psycopg.Connection, objects: list[Owned]) -> None:
    """Drop objects, each with what depends on it, in one round trip."""
    statements = [_drop_statement(found) for found in objects]
    if statements:
        connection.execute(sql.SQL("; ").join(statements))


def summary(objects: list[Owned]) -> list[str]:
    """Return what goes in a few words: schemas and extensions by name, the rest by number."""
    gone = {found.identity for found in objects if found.kind == "schema"}
    named = [f"{found.kind} {found.identity}" for found in objects if found.kind in {"schema", "extension"}]
    rest = Counter(found.schema for found in objects if found.kind not in {"schema", "extension"})
    counted = [
        f"{count} object{'' if count == 1 else 's'}{f' in {schema}' if schema else ''}"
        for schema, count in rest.items()
        if schema not in gone
    ]
    return named + counted


def _drop_statement(found: Owned) -> sql.Composable:
    # identities come quoted from PostgreSQL itself (pg_identify_object)
    identity = sql.SQL(found.identity)
    if found.kind == "large object":
        return sql.SQL("SELECT lo_unlink({})").format(identity)
    # an aggregate over * has an identity without arguments, which DROP AGGREGATE cannot read
    kind = sql.SQL({"statistics object": "STATISTICS", "aggregate": "ROUTINE"}.get(found.kind, found.kind.upper()))
    # of those that went with an earlier one nothing is left
    return sql.SQL("DROP {} IF EXISTS {} CASCADE").format(kind, identity)
