"""What a masked copy needs of the two servers, of this machine and of the roles: everything missing, named at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from seedtool import extras
from seedtool.errors import MissingExtra, Refused, SeedtoolError, SourceError
from seedtool.postgres import programs
from seedtool.postgres.psycopg_errors import translated
from seedtool.printable import count
from seedtool.refreshing.check import OWN, Finding, name_of
from seedtool.refreshing.report import chosen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from seedtool.postgres.catalog import Column
    from seedtool.postgres.cluster import Cluster
    from seedtool.refreshing.check import Shape
    from seedtool.refreshing.masks import Mask, Reserved
    from seedtool.refreshing.policy import Policy, TableName
    from seedtool.refreshing.source import Source


def refuse_same(connection: psycopg.Connection[Any], cluster: Cluster) -> None:
    """Refuse to replace a database by a masked copy of itself, by whatever address each is named.

    Args:
        connection: to the source.
        cluster: the target's server.

    Raises:
        Refused: both are one database.
    """
    oid = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    facts = cluster.database(cluster.target.name)
    if facts is None or system_of(connection) != cluster.system or oid != (facts.oid,):
        return
    raise Refused(
        f"{cluster.target} is the source itself: it would be replaced by a masked copy",
        remedy="Name staging with --to, or in DATABASE_URL.",
        database=cluster.target.name,
    )


def system_of(connection: psycopg.Connection[Any]) -> str:
    """Return the system identifier of a connection's server: physical replicas share it with their primary."""
    row = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    assert row is not None  # noqa: S101 - the function returns a row
    return str(row[0])


def preflight(source: Source, cluster: Cluster, policy: Policy, *, strict: bool) -> tuple[list[Finding], list[str]]:
    """Return all that is missing, and what a person has to know.

    Args:
        source: the source.
        cluster: the target's server.
        policy: the policy.
        strict: a role that may write at the source is a finding, and not only a note.
    """
    found = [*_machine(source, cluster), *of_source(source, policy), *_target(source, cluster, policy)]
    notes = list(left_behind(source))
    writes = _may_write(source.holder)
    if writes and strict:
        found.append(
            Finding(
                kind="writes",
                what=f"the role {writes} may write at the source, and strict_source is on",
                remedy="Work as a role that may only read: GRANT pg_read_all_data TO ..., and no membership beside it.",
            )
        )
    elif writes:
        notes.append(f"the role {writes} may write at the source; all sessions there are read only nevertheless")
    if source.standby and not _feedback(source.holder):
        notes.append(
            f"{source.target} is a hot standby without hot_standby_feedback: it ends the snapshot where its primary"
            " removes rows that the copy still reads"
        )
    if _quotes(cluster):
        notes.append(
            f"the log of {cluster.target}'s server would quote a cell of the copy that the server cannot read:"
            " log_error_verbosity = terse leaves that out"
        )
    return found, notes


def reserved(
    source: Source, shape: Shape, policy: Policy, masks: Mapping[tuple[TableName, str], Mask]
) -> Iterator[Finding]:
    """Yield the masked columns whose originals lie in the range that is reserved for masks.

    Where one does, a hit of the proof could be a mask. This is the first look at rows: each table is read once.

    Args:
        source: the source.
        shape: its tables.
        policy: the policy, which fits them.
        masks: the mask of each masked column.
    """
    for table in shape.tables:
        if chosen(policy, table) == "no rows":
            continue
        asked = [
            (name, reserved, condition)
            for name, column in table.columns.items()
            if (made := masks.get((name_of(table), name))) is not None
            for reserved, condition in _held(column, made, source.version)
        ]
        if not asked:
            continue
        conditions = [sql.SQL("coalesce(bool_or({}), false)").format(condition) for _, _, condition in asked]
        with translated(f"{table} cannot be read"):
            found = source.holder.execute(
                sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(conditions), table.stored)
            ).fetchone()
        for (name, each, _), held in zip(asked, found or (), strict=False):
            if held:
                yield Finding(
                    kind="reserved",
                    what=f"{table}.{name} already holds a value of the range that masks are kept in: {each.what}",
                    remedy="Is the source itself a masked copy? If not, use the mask token for the column.",
                    table=str(table),
                    column=name,
                )


def _held(column: Column, made: Mask, version: int) -> Iterator[tuple[Reserved, sql.Composable]]:
    """Yield the ranges of a mask, and SQL that tells whether a value of the column, or one within it, is in one."""
    name = sql.Identifier(column.name)
    array = column.value.kind == "array"
    value: sql.Composable = sql.SQL("each") if array else name

    def of_all(condition: sql.Composable) -> sql.Composable:
        each = sql.SQL("EXISTS (SELECT FROM unnest({}) AS each WHERE {})")
        return each.format(name, condition) if array else condition

    def inside(reserved: Reserved, text: sql.Composable) -> sql.Composable:
        # a column's collation may be one that regular expressions do not know: a nondeterministic one of ICU
        plain = sql.SQL('({} COLLATE "C")').format(text).as_string(None)
        return sql.SQL("({})").format(sql.SQL(reserved.condition.format(plain)))

    if made.reserved is not None:
        yield made.reserved, of_all(inside(made.reserved, sql.SQL("{}::text").format(value)))
    for path, reserved in made.within:
        # a text may be no JSON, and the type json holds what jsonb does not; pg_input_is_valid is new in PostgreSQL 16
        valid = sql.SQL("pg_input_is_valid({}::text, 'jsonb')").format(value) if version >= 160000 else sql.SQL("true")
        found = sql.SQL(
            "CASE WHEN {valid} THEN EXISTS (SELECT FROM jsonb_path_query({value}::text::jsonb, {path}, silent => true)"
            " AS leaf WHERE jsonb_typeof(leaf) IN ('string', 'number') AND {inside}) END"
        ).format(
            valid=valid,
            value=value,
            path=sql.Literal(path),
            inside=inside(reserved, sql.SQL("(leaf #>> {})").format(sql.Literal([]))),
        )
        yield reserved, of_all(found)


def refusal(findings: Sequence[Finding]) -> SourceError:
    """Return the error that names everything that is missing.

    Args:
        findings: what is missing, at least one.
    """
    what = "; ".join(each.what for each in findings)
    remedies = list(dict.fromkeys(each.remedy for each in findings))
    return SourceError(
        what, remedy=" ".join(remedies), findings=findings, table=findings[0].table, column=findings[0].column
    )


def _machine(source: Source, cluster: Cluster) -> Iterator[Finding]:
    try:
        extras.require("refresh")
    except MissingExtra as error:
        yield Finding(kind="extra", what=error.message, remedy=f"{error.remedy}.")
    tls = bool(source.holder.pgconn.ssl_in_use or cluster.connection.pgconn.ssl_in_use)
    try:
        programs.fitting(max(source.version, cluster.version), tls=tls)
    except SeedtoolError as error:
        yield Finding(kind="programs", what=error.message, remedy=error.remedy)


def of_source(source: Source, policy: Policy) -> Iterator[Finding]:
    """Yield what the role may not read of the source, and large objects that nobody has decided about."""
    connection = source.holder
    row = connection.execute("SELECT quote_ident(current_user)").fetchone()
    role = str(row[0]) if row else "..."
    for kind, word, remedy in (
        ("schemas", "USAGE ON SCHEMA", "GRANT USAGE ON SCHEMA {} TO {};"),
        ("tables", "SELECT ON", "GRANT SELECT ON {} TO {};"),
        ("sequences", "SELECT ON SEQUENCE", "GRANT SELECT ON {} TO {};"),
    ):
        missing = [name for (name,) in connection.execute(_MISSING[kind], {"own": OWN})]
        if missing:
            yield Finding(
                kind="privilege",
                what=f"the role {role} lacks {word} {', '.join(missing)}",
                remedy=remedy.format(", ".join(missing), role),
                table=missing[0] if kind == "tables" else None,
            )
    hidden = [name for (name,) in connection.execute(_ROW_SECURITY, {"own": OWN})]
    if hidden:
        yield Finding(
            kind="row security",
            what=f"row-level security would hide rows of {', '.join(hidden)} from the role {role}",
            remedy=f"ALTER ROLE {role} BYPASSRLS;",
            table=hidden[0],
        )
    found = connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone()
    number = int(found[0]) if found else 0
    if number and policy.large_objects == "refuse":
        yield Finding(
            kind="large objects",
            what=f"the source holds {count(number, 'large object')}, and nobody has decided what becomes of it",
            remedy=f'Write large_objects = "leave out" or "copy" into {policy.file}, above the tables.',
        )
    elif number and policy.large_objects == "copy":
        unreadable = _unreadable_large_objects(connection)
        if unreadable:
            yield Finding(
                kind="privilege",
                what=f"the role {role} may not read {count(unreadable, 'large object')}",
                remedy=f"GRANT SELECT ON LARGE OBJECT ... TO {role}, or work as their owner.",
            )


def left_behind(source: Source) -> Iterator[str]:
    """Yield what the copy will lack though nothing is wrong: a label is refused where its provider is not loaded."""
    with source.reading(f"the security labels of {source.target} cannot be read"):
        found = source.holder.execute(_LABELS).fetchall()
    for provider, number in found:
        which = count(number, "security label")
        yield f"{which} of the provider {provider} {'stays' if number == 1 else 'stay'} behind: the copy has none"


def _unreadable_large_objects(connection: psycopg.Connection[Any]) -> int:
    # has_largeobject_privilege is new in PostgreSQL 18; a superuser may read all
    row = connection.execute(_LARGE_OBJECTS).fetchone()
    return int(row[0]) if row else 0


def _target(source: Source, cluster: Cluster, policy: Policy) -> Iterator[Finding]:
    target = cluster.target
    if target.in_place or not cluster.may_create:
        why = "in_place is set" if cluster.may_create else f"the role {cluster.user} may not create databases"
        yield Finding(
            kind="createdb",
            what=f"a masked copy is never built in the target itself, and {why}",
            remedy="Take in_place out." if cluster.may_create else f'ALTER ROLE "{cluster.user}" CREATEDB;',
        )
    if cluster.version // 10000 < source.version // 10000:
        yield Finding(
            kind="version",
            what=f"the source is PostgreSQL {source.version // 10000}, and the target's server is"
            f" {cluster.version // 10000}",
            remedy="Let staging have production's version, or a later one.",
        )
    there = {name for (name,) in cluster.connection.execute("SELECT name FROM pg_available_extensions")}
    wanted = [
        name
        for (name,) in source.holder.execute("SELECT extname::text FROM pg_extension ORDER BY 1")
        if name not in there
    ]
    if wanted:
        yield Finding(
            kind="extension",
            what=f"the target's server lacks the extensions {', '.join(wanted)}",
            remedy="Install them there.",
        )
    yield from _roles(source, cluster)
    with_xml = next(_xml(source, policy), None)
    if with_xml is not None and not _reads_xml(cluster):
        yield Finding(
            kind="xml",
            what=f"{'.'.join(with_xml)} is xml, and the target's server was built without it",
            remedy='Take a server that has it (Debian\'s postgresql), or write "null" for the column.',
            table=with_xml[0],
            column=with_xml[1],
        )
    facts = cluster.database(target.name)
    encoding = source.holder.execute(
        "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    if facts is not None and encoding is not None and facts.encoding != encoding[0]:
        yield Finding(
            kind="encoding",
            what=f"the source has the encoding {encoding[0]}, and the target {facts.encoding}",
            remedy=f"Make the target anew with ENCODING '{encoding[0]}' and TEMPLATE template0.",
        )


def _roles(source: Source, cluster: Cluster) -> Iterator[Finding]:
    """Yield what is made after the rows, and would fail there: policies of absent roles, event triggers."""
    there = {name for (name,) in cluster.connection.execute("SELECT rolname::text FROM pg_roles")}
    named = source.holder.execute(_ROLES, {"own": OWN}).fetchall()
    absent = sorted({role for role, _ in named} - there)
    if absent:
        tables = sorted({table for role, table in named if role in absent})
        yield Finding(
            kind="role",
            what=f"the target's server lacks the role{'s' if absent[1:] else ''} {', '.join(absent)}, which policies of"
            f" {', '.join(tables)} name",
            remedy=" ".join(f"CREATE ROLE {sql.Identifier(role).as_string(None)};" for role in absent),
            table=tables[0],
        )
    event_triggers = source.holder.execute(
        "SELECT evtname::text FROM pg_event_trigger e WHERE NOT EXISTS (SELECT FROM pg_depend d"
        " WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e') ORDER BY 1"
    ).fetchall()
    if event_triggers and not _makes_event_triggers(cluster):
        yield Finding(
            kind="event trigger",
            what=f"the source has the event trigger {event_triggers[0][0]}, and the role {cluster.user} may not make"
            " one at the target",
            remedy="Work there as a superuser, or as the role that the provider gives instead (rds_superuser).",
        )


def _makes_event_triggers(cluster: Cluster) -> bool:
    """Tell whether the role may make event triggers: providers let other roles than superusers do it."""
    try:
        with cluster.connection.transaction(force_rollback=True):
            cluster.connection.execute(_EVENT_TRIGGER)
    except psycopg.Error:
        return False
    return True


def _xml(source: Source, policy: Policy) -> Iterator[tuple[str, str]]:
    """Yield the table and the name of each column of XML that is copied."""
    for table in source.catalog.tables.values():
        listed = policy.tables.get(name_of(table))
        if listed is not None and listed.rows != "none" and name_of(table) not in policy.empty:
            for name, column in table.columns.items():
                line = listed.columns.get(name)
                if line is not None and line.mask != "null" and "xml" in column.value.name:
                    yield str(table), name


def _reads_xml(cluster: Cluster) -> bool:
    try:
        cluster.connection.execute("SELECT '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        return False
    return True


def _may_write(connection: psycopg.Connection[Any]) -> str:
    """Return the source's role if it may change something there; else an empty text."""
    row = connection.execute(_WRITES, {"own": OWN}).fetchone()
    return str(row[0]) if row and row[1] else ""


def _feedback(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute("SELECT current_setting('hot_standby_feedback')::bool").fetchone()
    return bool(row and row[0])


def _quotes(cluster: Cluster) -> bool:
    """Tell whether the server's log gets the context of an error: that of a COPY quotes a cell."""
    row = cluster.connection.execute(
        "SELECT current_setting('log_error_verbosity') <> 'terse'"
        " AND current_setting('log_min_messages') NOT IN ('fatal', 'panic', 'log')"
        " AND NOT has_parameter_privilege('log_min_messages', 'SET')"  # who may set it, the copy sets it for itself
    ).fetchone()
    return bool(row and row[0])


_OF_USERS = sql.SQL("n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> %(own)s")

_MISSING_RELATIONS = """
SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind::text = ANY ({kinds}) AND c.relpersistence <> 't' AND {users} AND NOT {privilege} ORDER BY 1
"""

# the function fails on anything but a sequence, and conditions are evaluated in any order
_READABLE_SEQUENCE = sql.SQL("CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT') END")

_MISSING = {
    "schemas": sql.SQL(
        "SELECT quote_ident(n.nspname) FROM pg_namespace n WHERE {users} AND NOT has_schema_privilege(n.oid, 'USAGE')"
        " ORDER BY 1"
    ).format(users=_OF_USERS),
    "tables": sql.SQL(_MISSING_RELATIONS).format(
        users=_OF_USERS,
        kinds=sql.Literal(["r", "p", "m", "f"]),
        privilege=sql.SQL("has_table_privilege(c.oid, 'SELECT')"),
    ),
    "sequences": sql.SQL(_MISSING_RELATIONS).format(
        users=_OF_USERS, kinds=sql.Literal(["S"]), privilege=_READABLE_SEQUENCE
    ),
}

_ROW_SECURITY = sql.SQL("""
SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN (SELECT rolbypassrls OR rolsuper AS passes FROM pg_roles WHERE rolname = current_user) AS r
WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND {users} AND NOT r.passes
  AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE')) ORDER BY 1
""").format(users=_OF_USERS)

_LARGE_OBJECTS = """
SELECT count(*) FROM pg_largeobject_metadata m
CROSS JOIN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS r
WHERE NOT r.rolsuper AND NOT pg_has_role(m.lomowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'
                  AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))
"""

# labels of databases, roles and tablespaces belong to the server, and are in another catalog
_LABELS = "SELECT provider, count(*) FROM pg_seclabel GROUP BY provider ORDER BY provider"

_ROLES = sql.SQL("""
SELECT r.rolname::text, format('%%I.%%I', n.nspname, c.relname) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = ANY (p.polroles) WHERE {users}
""").format(users=_OF_USERS)

_EVENT_TRIGGER = """
CREATE FUNCTION pg_temp.seedtool_probe() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER seedtool_probe ON sql_drop EXECUTE FUNCTION pg_temp.seedtool_probe()"""

# a table is the role's own, or it was granted; who may create in a schema may write there, too
_WRITES = sql.SQL("""
SELECT current_user::text,
       (SELECT rolsuper OR pg_has_role('pg_write_all_data', 'USAGE') FROM pg_roles WHERE rolname = current_user)
       OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relkind IN ('r', 'p') AND {users}
                    AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))
       OR EXISTS (SELECT FROM pg_namespace n WHERE {users} AND has_schema_privilege(n.oid, 'CREATE'))
""").format(users=_OF_USERS)
