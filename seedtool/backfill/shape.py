"""The shape of a photo library: which tables and columns it has, looked up in the catalog, and what they are in SQL.

Statements read six relations, whose columns have the names of the shipped migration whatever the library's are. What
the library lacks is a constant there, or is kept in the schema seedtool. Statements write to the tables themselves, and
leave out what is not there.
"""

import difflib
from functools import cached_property

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import BlockedError, SchemaError
from seedtool.postgres.catalog import Column, Table, UniqueKey, read_catalog
from seedtool.postgres.psycopg_errors import HIDDEN_ROWS, reason, translated
from seedtool.settings import Backfill
from seedtool.settings.library import LibraryTable

_NUMBERS = frozenset({"smallint", "integer", "bigint"})
_TEXTS = ("text", "character varying", "character")
_TIMES = ("timestamp with time zone", "timestamp without time zone", "date")

#: Tables that a library may lack. The shipped ones must exist as long as the settings name no table.
_MAY_LACK = frozenset({"collections", "persons", "links"})

#: What the values of columns must be, where it matters: families of types.
_FAMILIES = {
    "deleted": ("boolean", *_TIMES),
    "approved": ("boolean",),
    "waits": ("boolean",),
    "auto_assigned": ("boolean",),
    "skipped": ("boolean",),
    "created_at": _TIMES,
    "processed_at": _TIMES,
    "updated_at": _TIMES,
    "indexed_at": _TIMES,
    "box": ("jsonb", "json"),
    "data": ("jsonb", "json"),
}

#: The alias of each table in statements that write to it.
_ALIASES = {"users": "u", "assets": "a", "collections": "c", "persons": "p", "faces": "f", "links": "l"}


def _name(*parts: str) -> sql.Composable:
    """Return a quoted name for statements that have parameters: there a percent sign is written twice."""
    return sql.SQL(sql.Identifier(*parts).as_string(None).replace("%", "%%"))


class Bound(msgspec.Struct, frozen=True):
    """A table of the settings that exists, and its columns by the fields that name them."""

    binding: LibraryTable
    table: Table
    columns: dict[str, Column]

    @property
    def identifier(self) -> sql.Composable:
        """The table, quoted."""
        return _name(self.table.schema, self.table.name)

    def conflict(self, *fields: str) -> sql.Composable:
        """Return the clause that leaves a row out which a unique index on these columns has already; else nothing."""
        names = {self.columns[field].name for field in fields if field in self.columns}
        fitting = (key for key in self.table.keys if _fits(key, names))
        key = next(fitting, None)
        if key is None:
            return sql.SQL("")
        columns = sql.SQL(", ").join(map(_name, key.columns))
        only = sql.SQL(f" WHERE {key.predicate}") if key.predicate else sql.SQL("")
        return sql.SQL("ON CONFLICT ({}){} DO NOTHING").format(columns, only)


def _fits(key: UniqueKey, names: set[str]) -> bool:
    whole = len(key.columns) == len(key.expressions)
    return whole and key.immediate and not key.primary and set(key.columns) <= names


class Shape(msgspec.Struct, frozen=True, dict=True):
    """The tables of a library that exist, by their names in the settings.

    Args:
        bound: the tables.
        label: the column of the table of users that says who a user is; None without one.
        kept: the tables of the schema seedtool that exist.
    """

    bound: dict[str, Bound]
    label: Column | None
    kept: frozenset[str]

    @cached_property
    def has(self) -> frozenset[str]:
        """What statements can ask for: `links`, `faces.box`, and a few things that follow from those."""
        found = set(self.bound)
        found |= {f"{name}.{field}" for name, each in self.bound.items() for field in each.columns}
        one_table = "links" not in self.bound and "faces.person" in found and "persons" in self.bound
        if not one_table:
            found -= {"faces.person", "faces.similarity", "faces.assigned_by"}
        if "persons" not in self.bound:
            found -= {each for each in found if each.split(".")[0] == "links"}
        if not {"faces.box", "faces.skipped"} <= found:
            found.add("details")
        if {"faces.waits", "faces.auto_assigned", "faces.skipped", "faces.updated_at"} & found:
            found.add("faces.flags")
        if {"faces.flags", "faces.person"} & found:
            found.add("faces.linked")
        if {"assets.data", "assets.provider", "assets.processed_at"} & found:
            found.add("assets.found")
        if {"collections.face_count", "collections.indexed_at"} & found:
            found.add("collections.counts")
        if self.type_of("faces", "key") == "uuid":
            found.add("faces.uuid")
        if self.bound.get("persons") and not _fills_in(self.bound["persons"].columns["key"]):
            found.add("persons.needs_key")
        return frozenset(found)

    @property
    def links(self) -> bool:
        """Whether faces can be linked to persons."""
        return "links" in self.has or "faces.person" in self.has

    def type_of(self, name: str, field: str, default: str = "uuid") -> str:
        """Return the type of a column, as PostgreSQL writes it."""
        bound = self.bound.get(name)
        return bound.columns[field].type if bound is not None and field in bound.columns else default

    def relation(self, name: str, *, has_journal: bool) -> sql.Composable:
        """Return the subquery of a table's rows, with the columns of the shipped migration."""
        return _RELATIONS[name](self, has_journal)

    def rows(self, name: str) -> sql.Composable:
        """Return the rows of a table as it is, with the columns that it has, for a condition on them."""
        bound = self.bound[name]
        where = getattr(bound.binding, "where", None)
        return bound.identifier if where is None else sql.SQL("(SELECT * FROM {})").format(_source(bound, "t"))

    @cached_property
    def parts(self) -> dict[str, sql.Composable]:
        """What stands for names in statements that write: `faces_table`, `faces.box`, `face_key` and so on."""
        found: dict[str, sql.Composable] = {
            "user_key": sql.SQL(self.type_of("users", "key")),
            "asset_key": sql.SQL(self.type_of("assets", "key")),
            "face_key": sql.SQL(self.type_of("faces", "key")),
            "person_key": sql.SQL(self.type_of("persons", "key")),
            "face_id_type": sql.SQL(self.type_of("faces", "face_id", "text")),
            "faces_conflict": self.bound["faces"].conflict("user", "face_id"),
            "links_conflict": self.bound["links"].conflict("face") if "links" in self.bound else sql.SQL(""),
            "new_face_key": _new_key(self.bound["faces"]),
            "new_person_key": _new_key(self.bound["persons"]) if "persons" in self.bound else sql.SQL("NULL"),
        }
        by = next((each for each in ("links.assigned_by", "faces.assigned_by") if each in self.has), None)
        type_ = self.type_of(*by.split(".")) if by else "text"
        for word in ("system", "user"):
            found[f"by_{word}"] = sql.SQL(f"'{word}'::{type_}")
        for name, alias in _ALIASES.items():
            each = self.bound.get(name)
            if each is None:
                continue
            found[f"{name}_table"] = each.identifier
            for field, column in each.columns.items():
                found[f"{name}.{field}"] = _name(column.name)
                found[f"{name}.{field}_type"] = sql.SQL(column.type)
            found[f"{name}.live"] = sql.SQL("NOT {}").format(_deleted(each, alias))
            flag = "deleted" in each.columns and each.columns["deleted"].type == "boolean"
            found[f"{name}.yes"], found[f"{name}.no"] = map(sql.SQL, ("true", "false") if flag else ("now()", "NULL"))
        if "collections" not in self.bound:
            found |= {
                "collections_table": _name("seedtool", "face_collections"),
                "collections.live": sql.SQL("true"),
            }
            found |= {f"collections.{field}": _name(name) for field, name in _OWN_COLLECTIONS.items()}
        return found


_OWN_COLLECTIONS = {"user": "user_id", "collection": "aws_collection_id", "arn": "rekognition_arn"}


# The relations

# The box of a face of which nothing says where it is: the whole photo.
_WHOLE = '{"Left": 0, "Top": 0, "Width": 1, "Height": 1}'


def _column(alias: str, bound: Bound, field: str, absent: str) -> sql.Composable:
    if field not in bound.columns:
        return sql.SQL(absent)
    return _name(alias, bound.columns[field].name)


def _text(alias: str, bound: Bound, field: str, absent: str) -> sql.Composable:
    value = _column(alias, bound, field, absent)
    is_text = field in bound.columns and bound.columns[field].type.startswith(_TEXTS)
    return value if is_text else sql.SQL("{}::text").format(value)


def _flag(alias: str, bound: Bound, field: str, absent: str) -> sql.Composable:
    value = _column(alias, bound, field, absent)
    if field in bound.columns and not bound.columns[field].not_null:
        return sql.SQL("coalesce({}, {})").format(value, sql.SQL(absent))
    return value


def _deleted(bound: Bound, alias: str) -> sql.Composable:
    column = bound.columns.get("deleted")
    if column is not None and column.type != "boolean":
        return sql.SQL("({} IS NOT NULL)").format(_name(alias, column.name))
    return _flag(alias, bound, "deleted", "false")


def _time(alias: str, bound: Bound, field: str) -> sql.Composable:
    value = _column(alias, bound, field, "timestamptz '-infinity'")
    if field in bound.columns and not bound.columns[field].not_null:
        return sql.SQL("coalesce({}, '-infinity')").format(value)
    return value


def _source(bound: Bound, alias: str) -> sql.Composable:
    where = getattr(bound.binding, "where", None)
    if where is None:
        return sql.SQL("{} {}").format(bound.identifier, _name(alias))
    # in a subquery of its own, where the condition cannot mean a column of another table
    return sql.SQL("(SELECT * FROM {} WHERE ({}\n)) {}").format(
        bound.identifier, sql.SQL(where.replace("%", "%%")), _name(alias)
    )


def _users(shape: Shape, _: bool) -> sql.Composable:
    bound = shape.bound["users"]
    label = sql.SQL("NULL") if shape.label is None else _name("u", shape.label.name)
    return sql.SQL("(SELECT {} AS id, {} AS created_at, {} AS deleted, {}::text AS label FROM {})").format(
        _column("u", bound, "key", ""),
        _time("u", bound, "created_at"),
        _deleted(bound, "u"),
        label,
        _source(bound, "u"),
    )


def _assets(shape: Shape, _: bool) -> sql.Composable:
    bound = shape.bound["assets"]
    url = _text("a", bound, "storage_url", "")
    name = _text("a", bound, "file_name", "") if "file_name" in bound.columns else sql.SQL("")
    key = _column("a", bound, "key", "")
    last = sql.SQL("nullif(substring({} from '[^/]*$'), '')").format(url)
    parts = [name, last] if "file_name" in bound.columns else [last]
    return sql.SQL(
        """(SELECT {key} AS id, {user} AS user_id, {url} AS storage_url, {name} AS file_name, {mime} AS mime_type,
        {approved} AS approved, {deleted} AS deleted, {created} AS created_at, {data} AS face_detection_data,
        {processed} AS face_detection_processed_at FROM {source})"""
    ).format(
        key=key,
        user=_column("a", bound, "user", ""),
        url=url,
        name=name
        if "file_name" in bound.columns and bound.columns["file_name"].not_null
        else sql.SQL("coalesce({}, {}::text)").format(sql.SQL(", ").join(parts), key),
        mime=_text("a", bound, "mime_type", "'image/'"),
        approved=_flag("a", bound, "approved", "true" if "approved" not in bound.columns else "false"),
        deleted=_deleted(bound, "a"),
        created=_time("a", bound, "created_at"),
        data=_column("a", bound, "data", "NULL::jsonb"),
        processed=_column("a", bound, "processed_at", "NULL::timestamptz"),
        source=_source(bound, "a"),
    )


def _collections(shape: Shape, has_journal: bool) -> sql.Composable:
    bound = shape.bound.get("collections")
    if bound is None:
        if has_journal and "face_collections" in shape.kept:
            return sql.SQL(
                "(SELECT user_id, aws_collection_id, rekognition_arn, false AS deleted FROM seedtool.face_collections)"
            )
        return sql.SQL(
            "(SELECT NULL::{} AS user_id, NULL::text AS aws_collection_id, NULL::text AS rekognition_arn,"
            " false AS deleted WHERE false)"
        ).format(shape.parts["user_key"])
    return sql.SQL(
        "(SELECT {} AS user_id, {} AS aws_collection_id, {} AS rekognition_arn, {} AS deleted FROM {} c)"
    ).format(
        _column("c", bound, "user", ""),
        _text("c", bound, "collection", ""),
        _text("c", bound, "arn", "NULL"),
        _deleted(bound, "c"),
        bound.identifier,
    )


def _persons(shape: Shape, _: bool) -> sql.Composable:
    bound = shape.bound.get("persons")
    if bound is None:
        return sql.SQL(
            "(SELECT NULL::{} AS id, NULL::{} AS user_id, NULL::text AS name, NULL::text AS display_name,"
            " false AS deleted WHERE false)"
        ).format(shape.parts["person_key"], shape.parts["user_key"])
    return sql.SQL("(SELECT {} AS id, {} AS user_id, {} AS name, {} AS display_name, {} AS deleted FROM {} p)").format(
        _column("p", bound, "key", ""),
        _column("p", bound, "user", ""),
        _text("p", bound, "person_name", ""),
        _text("p", bound, "display_name", "NULL"),
        _deleted(bound, "p"),
        bound.identifier,
    )


def _faces(shape: Shape, has_journal: bool) -> sql.Composable:
    bound = shape.bound["faces"]
    key = _column("f", bound, "key", "")
    details = "details" in shape.has and has_journal and "face_details" in shape.kept
    kept = "coalesce(d.skipped, false)" if details else "false"
    joins: list[sql.Composable] = []
    if "user" not in bound.columns:
        assets = shape.bound["assets"]
        joins.append(
            sql.SQL("JOIN {} a ON {} = {}").format(
                assets.identifier, _column("a", assets, "key", ""), _column("f", bound, "asset", "")
            )
        )
    if details:
        joins.append(sql.SQL("LEFT JOIN seedtool.face_details d ON d.face_id = {}").format(key))
    if "faces.waits" in shape.has:
        waits = _flag("f", bound, "waits", "true")
    elif "faces.person" in shape.has:
        waits = sql.SQL("({} IS NULL)").format(_column("f", bound, "person", ""))
    elif "links" in shape.has:
        links = shape.bound["links"]
        waits = sql.SQL("(NOT EXISTS (SELECT FROM {} l WHERE {} = {} AND NOT {}))").format(
            links.identifier, _column("l", links, "face", ""), key, _deleted(links, "l")
        )
    else:
        waits = sql.SQL("true")
    box = _column("f", bound, "box", "d.box" if details else "NULL")
    if "faces.box" not in shape.has or bound.columns["box"].type != "jsonb" or not bound.columns["box"].not_null:
        box = sql.SQL("coalesce({}::jsonb, {}::jsonb)").format(box, sql.Literal(_WHOLE))
    return sql.SQL(
        """(SELECT {key} AS id, {user} AS user_id, {asset} AS asset_id, {face_id} AS rekognition_face_id,
        {box} AS bounding_box, {confidence} AS confidence, {waits} AS needs_assignment, {skipped} AS skipped,
        {deleted} AS deleted FROM {table} f {joins})"""
    ).format(
        key=key,
        user=_column("f", bound, "user", "")
        if "user" in bound.columns
        else _column("a", shape.bound["assets"], "user", ""),
        asset=_column("f", bound, "asset", ""),
        face_id=_text("f", bound, "face_id", ""),
        box=box,
        confidence=_column("f", bound, "confidence", "1::numeric"),
        waits=waits,
        skipped=_flag("f", bound, "skipped", "false") if "faces.skipped" in shape.has else sql.SQL(kept),
        deleted=_deleted(bound, "f"),
        table=bound.identifier,
        joins=sql.SQL(" ").join(joins),
    )


def _links(shape: Shape, _: bool) -> sql.Composable:
    if "links" in shape.has:
        bound = shape.bound["links"]
        source = ("l", "face", "person", "confidence")
    elif "faces.person" in shape.has:
        bound = shape.bound["faces"]
        source = ("f", "key", "person", "similarity")
    else:
        return sql.SQL(
            "(SELECT NULL::{} AS face_id, NULL::{} AS person_group_id, NULL::numeric AS confidence,"
            " NULL::text AS assigned_by, false AS deleted, NULL::timestamptz AS updated_at WHERE false)"
        ).format(shape.parts["face_key"], shape.parts["person_key"])
    alias, face, person, confidence = source
    return sql.SQL(
        """(SELECT {face} AS face_id, {person} AS person_group_id, {confidence} AS confidence,
        {by} AS assigned_by, {deleted} AS deleted, {updated} AS updated_at
        FROM {table} {alias} WHERE {person} IS NOT NULL)"""
    ).format(
        face=_column(alias, bound, face, ""),
        person=_column(alias, bound, person, ""),
        confidence=sql.SQL("coalesce({}, 1)").format(_column(alias, bound, confidence, "1")),
        by=sql.SQL("coalesce({}, 'user')").format(_text(alias, bound, "assigned_by", "'user'")),
        deleted=_deleted(bound, alias),
        updated=_column(alias, bound, "updated_at", "NULL::timestamptz"),
        table=bound.identifier,
        alias=_name(alias),
    )


_RELATIONS = {
    "users": _users,
    "assets": _assets,
    "collections": _collections,
    "persons": _persons,
    "faces": _faces,
    "links": _links,
}


# Keys


def _fills_in(column: Column) -> bool:
    return column.default is not None or bool(column.identity)


def _new_key(bound: Bound) -> sql.Composable:
    """Return an expression that makes a new key of a table."""
    column = bound.columns["key"]
    if column.identity:
        return sql.SQL("nextval(pg_get_serial_sequence({}, {}))").format(
            sql.Literal(bound.identifier.as_string(None)), sql.Literal(column.name.replace("%", "%%"))
        )
    if column.default is not None:
        return sql.SQL(f"({column.default})")
    return sql.SQL("gen_random_uuid()::{}").format(sql.SQL(column.type))


# The look-up


def look_up(connection: psycopg.Connection, rules: Backfill) -> Shape:
    """Look the settings' tables and columns up in the catalog.

    Args:
        connection: to the target.
        rules: the settings of the backfill.

    Raises:
        SchemaError: a table or column does not exist, has a type that cannot be used, or is another library's.
        SettingsError: a condition cannot be used.
        BlockedError: row-level security may hide rows of a table.
    """
    shipped = not any(each.given("table") or not each.table for each in rules.tables)
    with translated("the photo library"):
        catalog = read_catalog(connection, [each.table for each in rules.tables if each.table])
        kept: dict[str, str] = dict(connection.execute(_KEPT).fetchall())
    bound: dict[str, Bound] = {}
    missing = []
    for binding in rules.tables:
        table = catalog.named(binding.table) if binding.table else None
        if table is not None:
            bound[binding.name] = _bind(binding, table)
        elif binding.table and (shipped or binding.given("table") or binding.name not in _MAY_LACK):
            missing.append(binding)
    if missing:
        raise _missing(missing, connection, shipped=shipped)
    shape = Shape(bound, _label(rules, bound["users"]), frozenset(kept))
    _check_keys(shape)
    if kept.get("backfill_assets", shape.type_of("assets", "key")) != shape.type_of("assets", "key"):
        raise SchemaError(
            "the journal of the backfill is of another library: its assets have keys of type "
            f"{kept['backfill_assets']}, and those of {bound['assets'].binding.table} are "
            f"{shape.type_of('assets', 'key')}",
            remedy="If that library is no longer used: DROP SCHEMA seedtool CASCADE, or rename it.",
            table="seedtool.backfill_assets",
        )
    for name in ("users", "assets"):
        _check_condition(connection, bound[name])
    hiding = [
        str(bound[name].table)
        for name in bound
        if connection.execute("SELECT row_security_active(%s::oid)", [bound[name].table.oid]).fetchone() == (True,)
    ]
    if hiding:
        raise BlockedError(
            f"row-level security may hide rows of {', '.join(hiding)} from this role", remedy=HIDDEN_ROWS
        )
    return shape


def _missing(missing: list[LibraryTable], connection: psycopg.Connection, *, shipped: bool) -> SchemaError:
    names = ", ".join(each.table for each in missing)
    if shipped:
        return SchemaError(
            f"the photo library's tables are missing: {names}",
            remedy="Run seedtool migrate, where your revisions make them. If yours have other names, name them in "
            "[tool.seedtool.backfill.users] and so on.",
            table=names,
        )
    first = missing[0]
    there = [name for (name,) in connection.execute(_TABLES_THERE)]
    close = difflib.get_close_matches(first.table, there, n=1)
    return SchemaError(
        f"setting backfill: {first.name}: the table {first.table} does not exist",
        remedy=(f"Did you mean {close[0]}? " if close else "")
        + f'Write table = "..." in [tool.seedtool.backfill.{first.name}], or run seedtool migrate if it is new.',
        setting="backfill",
        key=f"{first.name}.table",
        table=first.table,
    )


def _bind(binding: LibraryTable, table: Table) -> Bound:
    columns: dict[str, Column] = {}
    for field in binding.__struct_fields__:
        name = getattr(binding, field)
        if field in {"table", "where"} or not name:
            continue
        column = table.columns.get(name)
        needed = field in binding.required or binding.given(field)
        if column is None and needed:
            close = difflib.get_close_matches(name, table.columns, n=1)
            raise SchemaError(
                f"setting backfill: {binding.name}: the table {binding.table} has no column {name}",
                remedy=(f"Did you mean {close[0]}? " if close else "")
                + f'Write {field} = "..." in [tool.seedtool.backfill.{binding.name}].',
                setting="backfill",
                key=f"{binding.name}.{field}",
                table=binding.table,
                column=name,
            )
        if column is None:
            continue
        family = _FAMILIES.get(field)
        if family is not None and not column.type.startswith(family) and not _plain(column.type).startswith(family):
            raise SchemaError(
                f"setting backfill: {binding.name}: the column {name} of {binding.table} is {column.type}, "
                f"but {field} needs {' or '.join(family)}",
                remedy=f'Name another column. If there is none, write {field} = "" in '
                f"[tool.seedtool.backfill.{binding.name}].",
                setting="backfill",
                key=f"{binding.name}.{field}",
                table=binding.table,
                column=name,
            )
        columns[field] = column
    return Bound(binding, table, columns)


def _plain(type_: str) -> str:
    """Return a type without its precision: `timestamp(3) with time zone` is `timestamp with time zone`."""
    before, bracket, rest = type_.partition("(")
    return before + rest.partition(")")[2] if bracket else type_


def _label(rules: Backfill, users: Bound) -> Column | None:
    column = users.table.columns.get(rules.user_label)
    if column is None and rules.user_label not in {"", Backfill().user_label}:
        close = difflib.get_close_matches(rules.user_label, users.table.columns, n=1)
        raise SchemaError(
            f"setting backfill: user_label: the table {users.binding.table} has no column {rules.user_label}",
            remedy=(f"Did you mean {close[0]}? " if close else "")
            + 'Write user_label = "..." in [tool.seedtool.backfill], or "" for none.',
            setting="backfill",
            key="user_label",
            table=users.binding.table,
            column=rules.user_label,
        )
    return column


def _check_keys(shape: Shape) -> None:
    """Check that keys can be used, that what refers to them has the same type, and that new rows get a key."""
    for name in ("users", "assets", "faces", "persons"):
        bound = shape.bound.get(name)
        if bound is None:
            continue
        column = bound.columns["key"]
        if _family(column.type) is None:
            raise _wrong_key(
                bound, "key", f"is {column.type}", "A key must be a uuid, an integer or a text of one column."
            )
        if name in {"faces", "persons"} and _family(column.type) == "number" and not _fills_in(column):
            raise _wrong_key(
                bound,
                "key",
                "has no default, so new rows would get no key",
                f"ALTER TABLE {bound.binding.table} ALTER {column.name} ADD GENERATED BY DEFAULT AS IDENTITY.",
            )
    for name, field, to in _REFERENCES:
        bound = shape.bound.get(name)
        if bound is None or field not in bound.columns or to not in shape.bound:
            continue
        if name == "faces" and field == "person" and "faces.person" not in shape.has:
            continue
        type_, key = bound.columns[field].type, shape.type_of(to, "key")
        if _family(type_) != _family(key):
            raise _wrong_key(
                bound,
                field,
                f"is {type_}, but the key of {shape.bound[to].binding.table} is {key}",
                f"Name the column that refers to {shape.bound[to].binding.table}.",
            )


_REFERENCES = (
    ("assets", "user", "users"),
    ("collections", "user", "users"),
    ("persons", "user", "users"),
    ("persons", "avatar", "faces"),
    ("faces", "user", "users"),
    ("faces", "asset", "assets"),
    ("faces", "person", "persons"),
    ("links", "face", "faces"),
    ("links", "person", "persons"),
)


def _family(type_: str) -> str | None:
    if type_ in _NUMBERS:
        return "number"
    return "text" if type_.startswith(_TEXTS) else "uuid" if type_ == "uuid" else None


def _wrong_key(bound: Bound, field: str, fault: str, remedy: str) -> SchemaError:
    binding, column = bound.binding, bound.columns[field].name
    return SchemaError(
        f"setting backfill: {binding.name}: the column {column} of {binding.table} {fault}",
        remedy=remedy,
        setting="backfill",
        key=f"{binding.name}.{field}",
        table=binding.table,
        column=column,
    )


def _check_condition(connection: psycopg.Connection, bound: Bound) -> None:
    """Try `where` on the table."""
    where = getattr(bound.binding, "where", None)
    if where is None:
        return
    statement = sql.SQL("SELECT FROM {} LIMIT 0").format(_source(bound, "t"))
    try:
        with connection.transaction():
            connection.execute(statement, ())
    except psycopg.errors.InsufficientPrivilege:
        raise
    except (psycopg.ProgrammingError, psycopg.DataError) as error:
        raise bound.binding.wrong(
            "where",
            f"where cannot be used on {bound.binding.table}: {reason(error)}",
            f"Correct where in [tool.seedtool.backfill.{bound.binding.name}]: a condition on the table's own columns.",
        ) from error


_KEPT = """
SELECT c.relname, format_type(a.atttypid, a.atttypmod)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1
WHERE n.nspname = 'seedtool' AND c.relkind = 'r'"""

_TABLES_THERE = """
SELECT CASE WHEN n.nspname = 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"""
