"""The copy's catalog beside the source's: what is missing, what is another one, what is not valid or not attached."""

from collections.abc import Collection, Iterator
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import sql

from seedtool.postgres.catalog import Catalog


class Fault(NamedTuple):
    """Something of the copy's structure that is not as in the source.

    Args:
        kind: `catalog` or `sequence`.
        schema: of the table, or None.
        table: its name, or None.
        column: its name, or None.
        what: one sentence.
    """

    kind: str
    schema: str | None
    table: str | None
    column: str | None
    what: str


def differences(
    source: psycopg.Connection[Any], copy: psycopg.Connection[Any], intended: Collection[tuple[str, str]]
) -> Iterator[Fault]:
    """Yield what the copy's catalog has otherwise than the source's.

    Args:
        source: to the source.
        copy: to the copy.
        intended: what may be missing or another one: kinds of things with their names, such as
            `("index", "public.students_email")`.
    """
    for each in (source, copy):  # so that both write all names with their schemas
        each.execute("SELECT set_config('search_path', '', true)")
    same_version = source.info.server_version // 10_000 == copy.info.server_version // 10_000
    for kind, query in _THINGS:
        before, after = (
            {(schema, table, name): definition for schema, table, name, definition in each.execute(_OURS + query)}
            for each in (source, copy)
        )
        for place in sorted(before.keys() | after.keys(), key=str):
            schema, table, name = place
            qualified = f"{schema}.{name}" if schema else name
            if (kind, qualified) in intended:
                continue
            if place not in after:
                yield Fault("catalog", schema, table, None, f"the {kind} {qualified} of the source is missing")
            elif place not in before:
                yield Fault("catalog", schema, table, None, f"the {kind} {qualified} is not in the source")
            elif same_version and before[place] != after[place]:
                yield Fault("catalog", schema, table, None, f"the {kind} {qualified} is not like the source's")


def faults(source: psycopg.Connection[Any], copy: psycopg.Connection[Any], catalog: Catalog) -> Iterator[Fault]:
    """Yield what is not valid in the copy: indexes, constraints, sequences that give numbers which are taken.

    Args:
        source: to the source; what is not valid there may be as it is.
        copy: to the copy.
        catalog: of the copy.
    """
    for what, query in _INVALID:
        before = set(source.execute(_OURS + query))
        for schema, table, name in copy.execute(_OURS + query):
            if (schema, table, name) not in before:
                yield Fault("catalog", schema, table, None, what.format(name))
    for table in catalog.tables.values():
        for column in table.columns.values():
            counts = column.value.name in {"int2", "int4", "int8", "numeric"}  # a text may be made of a number
            if column.sequence is None or not counts or table.kind != "table" or table.ancestors:
                continue
            place = sql.Identifier(*_parts(copy, column.sequence))
            row = copy.execute(
                sql.SQL(
                    "SELECT s.last_value::numeric + CASE WHEN s.is_called THEN q.seqincrement ELSE 0 END,"
                    " m.least, m.most, q.seqincrement"
                    " FROM {place} s JOIN pg_sequence q ON q.seqrelid = {named}::regclass,"
                    " LATERAL (SELECT min({column}), max({column}) FROM {table}"
                    " WHERE {column} BETWEEN q.seqmin AND q.seqmax AND NOT q.seqcycle) m (least, most)"
                ).format(
                    place=place,
                    named=sql.Literal(place.as_string(copy)),
                    column=sql.Identifier(column.name),
                    table=table.identifier,
                )
            ).fetchone()
            if row is None or row[1] is None:
                continue
            following, least, most, step = row
            if (step > 0 and following <= most) or (step < 0 and following >= least):
                yield Fault(
                    "sequence",
                    table.schema,
                    table.name,
                    column.name,
                    f"the sequence {column.sequence} gives a number next that a row may have already",
                )


def _parts(connection: psycopg.Connection[Any], name: str) -> list[str]:
    row = connection.execute("SELECT parse_ident(%s)", [name]).fetchone()
    return list(row[0]) if row else [name]


#: The schemas that are not the system's, nor seedtool's own, and the things in them that no extension has made.
_OURS: LiteralString = (
    "WITH ours AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_'"
    " AND nspname NOT IN ('information_schema', 'seedtool')),"
    " relation AS (SELECT c.oid, nspname, relname, relkind, relrowsecurity, relforcerowsecurity, relpersistence,"
    " relpartbound, relreplident FROM pg_class c JOIN ours ON ours.oid = relnamespace WHERE NOT EXISTS"
    " (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')) "
)

#: Kinds of things, and a query: schema, table, name and definition.
_THINGS: tuple[tuple[str, LiteralString], ...] = (
    ("extension", "SELECT NULL, NULL, extname, '' FROM pg_extension"),
    ("schema", "SELECT NULL, NULL, nspname, '' FROM ours"),
    (
        "table",
        """SELECT nspname, relname, relname, concat_ws(' ', relkind, relrowsecurity, relforcerowsecurity,
            relpersistence, relreplident, pg_get_expr(relpartbound, oid), pg_get_partkeydef(oid),
            ARRAY(SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = oid ORDER BY inhseqno)::text)
        FROM relation WHERE relkind IN ('r', 'p', 'f')""",
    ),
    (
        "column",
        """SELECT c.nspname, c.relname, c.relname || '.' || a.attname, concat_ws(' ',
            format_type(a.atttypid, a.atttypmod), a.attnotnull,
            CASE WHEN c.relpartbound IS NULL THEN a.attidentity END, a.attgenerated,
            pg_get_expr(d.adbin, d.adrelid), (SELECT collname FROM pg_collation l WHERE l.oid = a.attcollation))
        FROM pg_attribute a JOIN relation c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')""",
    ),
    (
        "index",
        """SELECT c.nspname, c.relname, x.relname, concat_ws(' ', pg_get_indexdef(i.indexrelid),
            i.indisclustered,
            i.indisreplident, (SELECT inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = i.indexrelid))
        FROM pg_index i JOIN relation c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
        WHERE c.relkind IN ('r', 'p', 'm') AND i.indisvalid""",
    ),
    (
        "constraint",
        """SELECT n.nspname, c.relname, o.conname, concat_ws(' ', pg_get_constraintdef(o.oid), o.convalidated)
        FROM pg_constraint o JOIN ours n ON n.oid = o.connamespace LEFT JOIN relation c ON c.oid = o.conrelid
        WHERE o.contype <> 'n' AND (o.conrelid = 0 OR c.oid IS NOT NULL)""",
    ),
    (
        "trigger",
        """SELECT c.nspname, c.relname, t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
        FROM pg_trigger t JOIN relation c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal""",
    ),
    (
        "policy",
        """SELECT c.nspname, c.relname, p.polname, concat_ws(' ', p.polcmd, p.polpermissive,
            pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
        FROM pg_policy p JOIN relation c ON c.oid = p.polrelid""",
    ),
    (
        "rule",
        """SELECT c.nspname, c.relname, r.rulename, pg_get_ruledef(r.oid) FROM pg_rewrite r
        JOIN relation c ON c.oid = r.ev_class WHERE r.rulename <> '_RETURN'""",
    ),
    (
        "view",
        """SELECT nspname, relname, relname, pg_get_viewdef(oid) FROM relation WHERE relkind IN ('v', 'm')""",
    ),
    (
        "function",
        """SELECT n.nspname, NULL, concat(f.proname, '(', pg_get_function_identity_arguments(f.oid), ')'),
            concat_ws(' ', f.prosrc, f.provolatile, f.prosecdef, pg_get_function_sqlbody(f.oid), f.proconfig::text)
        FROM pg_proc f JOIN ours n ON n.oid = f.pronamespace
        WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid
                          AND d.deptype = 'e')""",
    ),
    (
        "type",
        """SELECT n.nspname, NULL, t.typname, concat_ws(' ', t.typtype, format_type(t.typbasetype, t.typtypmod),
            t.typnotnull, t.typdefault,
            ARRAY(SELECT enumlabel FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY enumsortorder)::text)
        FROM pg_type t JOIN ours n ON n.oid = t.typnamespace
        WHERE t.typtype IN ('e', 'd', 'r') AND NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')""",
    ),
    (
        "sequence",
        """SELECT c.nspname, NULL, c.relname, concat_ws(' ', format_type(q.seqtypid, NULL), q.seqincrement,
            q.seqmin, q.seqmax, q.seqcycle) FROM pg_sequence q JOIN relation c ON c.oid = q.seqrelid""",
    ),
    (
        "statistics object",
        """SELECT n.nspname, NULL, s.stxname, pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s
        JOIN ours n ON n.oid = s.stxnamespace""",
    ),
)

#: What is said of something, and a query for it: schema, table and name.
_INVALID: tuple[tuple[str, LiteralString], ...] = (
    (
        "the index {} is not valid",
        """SELECT c.nspname, c.relname, x.relname FROM pg_index i JOIN relation c ON c.oid = i.indrelid
        JOIN pg_class x ON x.oid = i.indexrelid WHERE NOT (i.indisvalid AND i.indisready AND i.indislive)""",
    ),
    (
        "the constraint {} is not validated",
        """SELECT c.nspname, c.relname, o.conname FROM pg_constraint o JOIN relation c ON c.oid = o.conrelid
        WHERE NOT o.convalidated AND coalesce((to_jsonb(o) ->> 'conenforced')::boolean, true)""",
    ),
    (
        "a trigger of the foreign key {} is disabled",
        """SELECT DISTINCT c.nspname, c.relname, o.conname FROM pg_trigger t
        JOIN pg_constraint o ON o.oid = t.tgconstraint
        JOIN relation c ON c.oid = t.tgrelid WHERE t.tgisinternal AND t.tgenabled = 'D'""",
    ),
)
