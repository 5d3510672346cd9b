"""What follows the rows in the same transaction: the profile's SQL scripts, and materialized views."""

from collections.abc import Iterable
from graphlib import TopologicalSorter

import psycopg
from psycopg import sql

from seedtool.errors import FixtureError
from seedtool.listener import Listener
from seedtool.seeding.fixtures import Script
from seedtool.seeding.staging import Cursor


def run_scripts(cursor: Cursor, scripts: Iterable[Script]) -> None:
    """Run the profile's scripts of SQL, one after the other.

    PL/pgSQL's EXECUTE runs them, since it refuses COMMIT and ROLLBACK, which would end the seed's transaction.

    Raises:
        FixtureError: a statement of a script fails.
    """
    for script in scripts:
        body = sql.SQL("BEGIN EXECUTE {}; END").format(sql.Literal(script.text)).as_string(cursor)
        try:
            with cursor.connection.transaction():
                cursor.execute(sql.SQL("DO {}").format(sql.Literal(body)))
        except psycopg.OperationalError:
            raise  # the session fails, not the script
        except psycopg.Error as error:
            position = error.diag.internal_position
            line = script.text.count("\n", 0, int(position) - 1) + 1 if position else None
            raise FixtureError(
                f"the script fails ({type(error).__name__}, {error.sqlstate})",
                file=script.file,
                line=line,
                remedy="Correct the statement. A script runs within the seed's transaction, so it has no COMMIT and no"
                " commands of psql. --debug shows the server's words.",
            ) from error


def refresh_views(cursor: Cursor, written: Iterable[int], listener: Listener) -> None:
    """Refresh the materialized views that show rows of the given tables, and those that were never filled.

    Args:
        cursor: in the merge's transaction.
        written: the oids of the tables whose rows changed.
        listener: hears of views that this role may not refresh.

    Raises:
        psycopg.Error: the query of a view fails.
    """
    views = {
        oid: (sql.Identifier(schema, name), filled, owner, own)
        for oid, schema, name, filled, owner, own in cursor.execute(_VIEWS)
    }
    if not views:
        return
    uses: dict[int, set[int]] = {}
    for relation, used in cursor.execute(_USES):
        uses.setdefault(relation, set()).add(used)
    changed = {oid for (oid,) in cursor.execute(_ROOTS, [list(written)])}
    for relation in TopologicalSorter(uses).static_order():
        stale = bool(uses.get(relation, set()) & changed)
        if relation not in views:
            changed |= {relation} if stale else set()
            continue
        view, filled, owner, own = views.pop(relation)
        if not stale and filled:
            continue
        if own:
            cursor.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(view))
            changed.add(relation)
        else:
            listener.note(f"{view.as_string(cursor)} is not refreshed: only its owner {owner} may do that")
    for view, filled, _, own in views.values():  # these use no relation
        if own and not filled:
            cursor.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(view))


_VIEWS = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relispopulated, pg_get_userbyid(c.relowner)::text,
       pg_has_role(c.relowner, 'USAGE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' ORDER BY 2, 3
"""

# a view's rule depends on what its query reads; a partition counts as the partitioned table
_USES = """
SELECT DISTINCT r.ev_class::int8, coalesce(pg_partition_root(d.refobjid), d.refobjid)::oid::int8
FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
JOIN pg_class c ON c.oid = r.ev_class
WHERE c.relkind IN ('v', 'm') AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
UNION
SELECT i.inhparent::int8, i.inhrelid::int8 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE NOT c.relispartition
"""

_ROOTS = "SELECT coalesce(pg_partition_root(oid), oid)::oid::int8 FROM unnest(%s::oid[]) AS written (oid)"
