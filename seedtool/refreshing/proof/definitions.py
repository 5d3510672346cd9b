"""The texts of a database beside its rows: comments, expressions, names, the bodies of functions and views, options."""

from collections.abc import Iterator
from typing import Any, LiteralString, NamedTuple

import psycopg


class Place(NamedTuple):
    """Where something stands in the copy.

    Args:
        schema: of the table, or None.
        table: its name, or None.
        column: its name, or None.
        what: of the schema's texts, what it is: `comment`, `default`; empty for a cell of the column.
    """

    schema: str | None
    table: str | None
    column: str | None
    what: str = ""


def texts(connection: psycopg.Connection[Any]) -> Iterator[tuple[Place, str]]:
    """Yield the texts of the connection's database, as far as its role may read them."""
    for what, condition, query in _TEXTS:
        if condition:
            row = connection.execute(f"SELECT {condition}").fetchone()
            if not row or not row[0]:
                continue
        for schema, table, column, text in connection.execute(_OURS + query):
            if text:
                # a name that holds a value of the source is not shown
                place = Place(None, None, None, what) if "name" in what else Place(schema, table, column, what)
                yield place, text


def large_objects(connection: psycopg.Connection[Any], size: int = 1 << 20, overlap: int = 512) -> Iterator[bytes]:
    """Yield the large objects in parts, each of which begins with the end of the one before."""
    oids = [row[0] for row in connection.execute("SELECT oid FROM pg_largeobject_metadata ORDER BY oid")]
    for oid in oids:
        offset = 0
        while True:
            row = connection.execute("SELECT lo_get(%s, %s, %s)", [oid, offset, size]).fetchone()
            part = bytes(row[0]) if row else b""
            if part:
                yield part
            if len(part) < size:
                break
            offset += size - overlap


#: The schemas that are not the system's, and the columns of dates and times, of ranges and of arrays of them: the
#: digits of a day are those of a RUT, so their statistics are left out.
_OURS: LiteralString = (
    "WITH ours AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),"
    " relation AS (SELECT c.oid, nspname, relname, relkind FROM pg_class c JOIN ours ON ours.oid = relnamespace),"
    " of_times AS (SELECT nspname, relname, attname FROM pg_attribute a JOIN relation c ON c.oid = a.attrelid"
    " JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_range r ON t.oid IN (r.rngtypid, r.rngmultitypid)"
    " JOIN pg_type part ON part.oid = coalesce(r.rngsubtype, nullif(t.typelem, 0), t.oid)"
    " WHERE part.typcategory IN ('D', 'T')) "
)

#: What a text is, a condition for reading it at all, and a query: schema, table, column and text.
_TEXTS: tuple[tuple[str, LiteralString, LiteralString], ...] = (
    (
        "comment",
        "",
        """SELECT n.nspname, c.relname, a.attname, d.description FROM pg_description d
        LEFT JOIN pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass
        LEFT JOIN ours n ON n.oid = c.relnamespace
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0
        WHERE (c.oid IS NULL OR n.oid IS NOT NULL) AND d.objoid >= 16384
           OR d.classoid IN ('pg_namespace'::regclass, 'pg_language'::regclass, 'pg_extension'::regclass)""",
    ),
    (
        "comment",
        "",
        """SELECT NULL, NULL, NULL, description FROM pg_shdescription d
        WHERE d.objoid >= 16384 AND (d.classoid <> 'pg_database'::regclass
                                     OR d.objoid = (SELECT oid FROM pg_database WHERE datname = current_database()))""",
    ),
    (
        "constraint",
        "",
        """SELECT n.nspname, c.relname, NULL, pg_get_constraintdef(o.oid) FROM pg_constraint o
        JOIN ours n ON n.oid = o.connamespace LEFT JOIN pg_class c ON c.oid = o.conrelid
        WHERE o.contype IN ('c', 'x')""",
    ),
    (
        "default",
        "",
        """SELECT c.nspname, c.relname, a.attname, pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d
        JOIN relation c ON c.oid = d.adrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.adnum
        UNION ALL SELECT c.nspname, c.relname, a.attname, a.attmissingval::text FROM pg_attribute a
        JOIN relation c ON c.oid = a.attrelid WHERE a.atthasmissing""",
    ),
    (
        "default",
        "",
        """SELECT n.nspname, NULL, NULL, t.typdefault FROM pg_type t JOIN ours n ON n.oid = t.typnamespace
        WHERE t.typdefault IS NOT NULL""",
    ),
    (
        "label of an enum",
        "",
        """SELECT n.nspname, NULL, NULL, e.enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid
        JOIN ours n ON n.oid = t.typnamespace""",
    ),
    (
        "bound of a partition",
        "",
        """SELECT n.nspname, c.relname, NULL, pg_get_expr(c.relpartbound, c.oid) FROM pg_class c
        JOIN ours n ON n.oid = c.relnamespace WHERE c.relpartbound IS NOT NULL""",
    ),
    (
        "body of a function",
        "",
        """SELECT n.nspname, NULL, NULL, concat_ws(' ', f.prosrc, pg_get_function_arguments(f.oid),
            pg_get_function_sqlbody(f.oid), array_to_string(f.proconfig, ' '), array_to_string(f.proargnames, ' '),
            a.agginitval, a.aggminitval) FROM pg_proc f
        JOIN ours n ON n.oid = f.pronamespace LEFT JOIN pg_aggregate a ON a.aggfnoid = f.oid""",
    ),
    (
        "definition of a view",
        "",
        """SELECT n.nspname, c.relname, NULL, pg_get_viewdef(c.oid) FROM pg_class c
        JOIN ours n ON n.oid = c.relnamespace WHERE c.relkind IN ('v', 'm')""",
    ),
    (
        "rule",
        "",
        """SELECT c.nspname, c.relname, NULL, pg_get_ruledef(r.oid) FROM pg_rewrite r
        JOIN relation c ON c.oid = r.ev_class
        WHERE r.rulename <> '_RETURN'""",
    ),
    (
        "trigger",
        "",
        """SELECT c.nspname, c.relname, NULL, pg_get_triggerdef(t.oid) FROM pg_trigger t
        JOIN relation c ON c.oid = t.tgrelid
        WHERE NOT t.tgisinternal""",
    ),
    (
        "policy",
        "",
        """SELECT c.nspname, c.relname, NULL, concat_ws(' ', pg_get_expr(p.polqual, p.polrelid),
            pg_get_expr(p.polwithcheck, p.polrelid)) FROM pg_policy p JOIN relation c ON c.oid = p.polrelid""",
    ),
    (
        "index",
        "",
        """SELECT c.nspname, c.relname, NULL, pg_get_indexdef(i.indexrelid) FROM pg_index i
        JOIN relation c ON c.oid = i.indrelid
        WHERE (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL)""",
    ),
    (
        "partition key",
        "",
        """SELECT n.nspname, c.relname, NULL, pg_get_partkeydef(c.oid) FROM pg_class c
        JOIN ours n ON n.oid = c.relnamespace WHERE c.relkind = 'p'""",
    ),
    (
        "statistics object",
        "",
        "SELECT NULL, NULL, NULL, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext",
    ),
    (
        "statistics of a column",
        "",
        """SELECT schemaname, tablename, attname, concat_ws(' ', most_common_vals, histogram_bounds, most_common_elems)
        FROM pg_stats WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema'
        AND (schemaname, tablename, attname) NOT IN (SELECT * FROM of_times)""",
    ),
    (
        "statistics of a column",
        "current_setting('server_version_num')::int >= 170000",
        """SELECT schemaname, tablename, attname, range_bounds_histogram::text
        FROM pg_stats WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema'
        AND (schemaname, tablename, attname) NOT IN (SELECT * FROM of_times)""",
    ),
    (
        "statistics object",
        "",
        """SELECT schemaname, tablename, NULL, array_to_string(most_common_vals, ' ') FROM pg_stats_ext
        WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema'""",
    ),
    (
        "condition of a publication",
        "current_setting('server_version_num')::int >= 150000",
        """SELECT c.nspname, c.relname, NULL, pg_get_expr(p.prqual, p.prrelid) FROM pg_publication_rel p
        JOIN relation c ON c.oid = p.prrelid WHERE p.prqual IS NOT NULL""",
    ),
    (
        "subscription",
        "has_column_privilege('pg_catalog.pg_subscription', 'subconninfo', 'SELECT')",
        """SELECT NULL, NULL, NULL, concat_ws(' ', subconninfo, subpublications::text) FROM pg_subscription
        WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())""",
    ),
    ("security label", "", "SELECT NULL, NULL, NULL, label FROM pg_seclabels"),
    (
        "setting of the database",
        "",
        """SELECT NULL, NULL, NULL, array_to_string(setconfig, ' ') FROM pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())""",
    ),
    (
        "option",
        "",
        """SELECT n.nspname, c.relname, NULL, array_to_string(c.reloptions, ' ') FROM pg_class c
        JOIN ours n ON n.oid = c.relnamespace WHERE c.reloptions IS NOT NULL
        UNION ALL SELECT NULL, NULL, NULL, concat_ws(' ', array_to_string(srvoptions, ' '), srvtype, srvversion)
            FROM pg_foreign_server
        UNION ALL SELECT c.nspname, c.relname, a.attname, array_to_string(a.attfdwoptions, ' ') FROM pg_attribute a
            JOIN relation c ON c.oid = a.attrelid WHERE a.attfdwoptions IS NOT NULL
        UNION ALL SELECT NULL, NULL, NULL, array_to_string(umoptions, ' ') FROM pg_user_mappings
        UNION ALL SELECT NULL, NULL, NULL, array_to_string(ftoptions, ' ') FROM pg_foreign_table
        UNION ALL SELECT NULL, NULL, NULL, array_to_string(fdwoptions, ' ') FROM pg_foreign_data_wrapper
        UNION ALL SELECT NULL, NULL, NULL, dictinitoption FROM pg_ts_dict WHERE oid >= 16384""",
    ),
    (
        "name of a role",
        "",
        """SELECT DISTINCT NULL, NULL, NULL, rolname FROM pg_roles r JOIN pg_shdepend d ON d.refobjid = r.oid
        WHERE d.refclassid = 'pg_authid'::regclass AND r.oid >= 16384
          AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))""",
    ),
    (
        "name",
        "",
        """SELECT NULL, NULL, NULL, name FROM (
        SELECT c.relname FROM pg_class c JOIN ours n ON n.oid = c.relnamespace
        UNION ALL SELECT a.attname FROM pg_attribute a JOIN relation c ON c.oid = a.attrelid
            WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind NOT IN ('i', 'I')
        UNION ALL SELECT t.typname FROM pg_type t JOIN ours n ON n.oid = t.typnamespace
        UNION ALL SELECT f.proname FROM pg_proc f JOIN ours n ON n.oid = f.pronamespace
        UNION ALL SELECT o.conname FROM pg_constraint o JOIN ours n ON n.oid = o.connamespace
        UNION ALL SELECT n.nspname FROM ours n
        UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT polname FROM pg_policy
        UNION ALL SELECT rulename FROM pg_rewrite
        UNION ALL SELECT stxname FROM pg_statistic_ext
        UNION ALL SELECT pubname FROM pg_publication
        UNION ALL SELECT evtname FROM pg_event_trigger
        UNION ALL SELECT srvname FROM pg_foreign_server
        UNION ALL SELECT fdwname FROM pg_foreign_data_wrapper
        UNION ALL SELECT lanname FROM pg_language
        UNION ALL SELECT subname FROM pg_subscription
            WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        UNION ALL SELECT o.oprname FROM pg_operator o JOIN ours n ON n.oid = o.oprnamespace
        UNION ALL SELECT o.opcname FROM pg_opclass o JOIN ours n ON n.oid = o.opcnamespace
        UNION ALL SELECT o.opfname FROM pg_opfamily o JOIN ours n ON n.oid = o.opfnamespace
        UNION ALL SELECT o.collname FROM pg_collation o JOIN ours n ON n.oid = o.collnamespace
        UNION ALL SELECT o.conname FROM pg_conversion o JOIN ours n ON n.oid = o.connamespace
        UNION ALL SELECT o.cfgname FROM pg_ts_config o JOIN ours n ON n.oid = o.cfgnamespace
        UNION ALL SELECT o.dictname FROM pg_ts_dict o JOIN ours n ON n.oid = o.dictnamespace
        ) names (name)""",
    ),
)
