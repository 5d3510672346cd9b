"""Looking face bindings up in the catalog: their table, its columns, and where the collections of its rows are."""

import difflib
from collections.abc import Iterable, Mapping

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import SchemaError, SettingsError
from seedtool.faces.bindings.bound import Bound, Parent, People, Place, key_name
from seedtool.postgres.catalog import Catalog, Table, read_catalog
from seedtool.postgres.copying import see_every_row
from seedtool.postgres.psycopg_errors import reason, translated
from seedtool.settings import FaceBinding, Settings

# Fields that name columns which a table may lack, as long as the settings do not name them.
_OPTIONAL = ("person", "photo", "indexed_at", "quality")


class Reference(msgspec.Struct, frozen=True):
    """A column that holds FaceIds: its table and its name, both quoted."""

    table: sql.Identifier
    column: sql.Identifier


def read_tables(connection: psycopg.Connection, bindings: Iterable[FaceBinding]) -> Catalog:
    """Read what the catalog says of the tables of face bindings, and of those they refer to."""
    names: dict[str, None] = {}
    for binding in bindings:
        names[binding.table] = None
        named = (binding.collection_column or "").rpartition(".")[0]
        if named:
            names[named] = None
    return read_catalog(connection, names)


def resolve(
    connection: psycopg.Connection,
    binding: FaceBinding,
    *,
    default: str | None = None,
    only: str | None = None,
    catalog: Catalog | None = None,
) -> Bound:
    """Look a binding up in the catalog.

    Args:
        connection: to the target, inside a transaction.
        binding: the binding.
        default: the collection of rows that name none. A table that is in one collection altogether is in this one,
            whichever the binding names.
        only: the one collection whose rows count, of a binding whose rows name collections.
        catalog: what `read_tables` has read; it is read when None.

    Raises:
        SchemaError: the table, or one of the columns, does not exist, or a condition or query cannot be used.
    """
    with translated(binding.table):
        see_every_row(connection)
        catalog = catalog or read_tables(connection, [binding])
        table = catalog.named(binding.table)
        if table is None:
            raise SchemaError(
                f"the table {binding.table} does not exist (from [[tool.seedtool.faces]])",
                remedy="Run seedtool migrate or db-reset, or name the table that holds the face ids.",
                setting="faces",
                table=binding.table,
            )
        _check_columns(binding, table)
        identifier = sql.Identifier(*binding.table.split("."))
        _check_condition(connection, binding, identifier)
        place = _place(connection, binding, table, catalog, default)
    return Bound(
        binding=binding,
        table=identifier,
        columns={column.name: column.type for column in table.columns.values()},
        required=tuple(
            column.name
            for column in table.columns.values()
            if not table.fills_in
            and column.not_null
            and column.default is None
            and not column.identity
            and not column.generated
        ),
        plain=table.plain,
        unique_face=any(binding.face_id in key.columns for key in table.keys),
        unique_image=table.plain and table.unique_alone(binding.external_image_id),
        people=_people(binding, table, catalog),
        place=place,
        collection=None if binding.collection_query is not None else default or binding.collection,
        only=only if binding.by_row else None,
    )


def references(connection: psycopg.Connection, settings: Settings) -> list[Reference]:
    """Return the further columns that hold FaceIds: no binding manages them, but the faces they name are in use.

    Args:
        connection: to the target, inside a transaction.
        settings: `face_references` names them as `table.column` or `schema.table.column`.

    Raises:
        SettingsError: a name has no table.
        SchemaError: there is no such table or column.
    """
    named = [(name, *name.rpartition(".")[::2]) for name in settings.face_references]
    for name, table, _ in named:
        if not table:
            raise SettingsError(
                f"setting face_references: {name!r} names no table",
                remedy='Write ["attendance.face_id"]: table.column.',
                setting="face_references",
            )
    if not named:
        return []
    with translated("face_references"):
        catalog = read_catalog(connection, [table for _, table, _ in named])
    return [_reference(catalog, *each) for each in named]


def _reference(catalog: Catalog, name: str, table: str, column: str) -> Reference:
    found = catalog.named(table)
    if found is None:
        raise SchemaError(
            f"setting face_references: the table {table} does not exist",
            remedy=f"Run seedtool migrate if it is new; else take {name} out of the setting.",
            setting="face_references",
            table=table,
        )
    if column not in found.columns:
        close = difflib.get_close_matches(column, found.columns, n=1)
        raise SchemaError(
            f"setting face_references: the table {table} has no column {column}",
            remedy=f"Did you mean {table}.{close[0]}?" if close else "Name the column that holds FaceIds.",
            setting="face_references",
            table=table,
            column=column,
        )
    return Reference(sql.Identifier(*table.split(".")), sql.Identifier(column))


def _check_columns(binding: FaceBinding, table: Table) -> None:
    defaults = FaceBinding(table=binding.table)
    wanted = [binding.face_id, binding.external_image_id, *binding.key]
    wanted += [binding.box] if binding.box is not None else []
    wanted += [getattr(binding, name) for name in _OPTIONAL if getattr(binding, name) != getattr(defaults, name)]
    for column in dict.fromkeys(wanted):
        if column not in table.columns:
            close = difflib.get_close_matches(column, table.columns, n=1)
            raise SchemaError(
                f"the table {binding.table} has no column {column} (from [[tool.seedtool.faces]])",
                remedy=(f"Did you mean {close[0]}? " if close else "") + "Run seedtool migrate if it is new.",
                setting="faces",
                table=binding.table,
                column=column,
            )
    if binding.box is not None and table.columns[binding.box].type not in {"jsonb", "json"}:
        raise SchemaError(
            f"the column {binding.box} of {binding.table} is {table.columns[binding.box].type}, not jsonb: "
            "it holds no boxes",
            remedy="A box is {Left, Top, Width, Height}, in fractions of the picture, as Rekognition gives it.",
            setting="faces",
            table=binding.table,
            column=binding.box,
            key="box",
        )


def _check_condition(connection: psycopg.Connection, binding: FaceBinding, table: sql.Identifier) -> None:
    """Try `where` on the table."""
    if binding.where is None:
        return
    _refuse_percent(binding, "where", binding.where)
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("SELECT FROM (SELECT * FROM {} WHERE ({}\n)) t LIMIT 0").format(table, sql.SQL(binding.where))
            )
    except psycopg.errors.InsufficientPrivilege:
        raise  # the role lacks something, not the condition
    except (psycopg.ProgrammingError, psycopg.DataError) as error:
        raise _unusable(binding, "where", error) from error


def _people(binding: FaceBinding, table: Table, catalog: Catalog) -> People | None:
    """Return the table that the column `person` refers to."""
    key = next((key for key in table.foreign_keys if key.columns == (binding.person,)), None)
    people = catalog.tables.get(key.references) if key is not None else None
    if key is None or people is None:
        return None
    wrong = [column for column in binding.label if column not in people.columns]
    if wrong:
        close = difflib.get_close_matches(wrong[0], people.columns, n=1)
        raise SchemaError(
            f"label of the face binding of {binding.table}: the table {people} has no column {wrong[0]}",
            remedy=f"Did you mean {close[0]}?" if close else "Name the columns that make up a person's name.",
            setting="faces",
            key="label",
            column=wrong[0],
            table=binding.table,
        )
    labels = ([column for column in label if column in people.columns] for label in binding.labels)
    label = next((label for label in labels if label), [])
    return People(str(people), people.identifier, sql.Identifier(key.referenced_columns[0]), tuple(label))


def _place(
    connection: psycopg.Connection, binding: FaceBinding, table: Table, catalog: Catalog, default: str | None
) -> Place:
    """Return where the collections of a binding's rows are found: a constant, a column, or a query's answer."""
    if binding.collection_query is not None:
        return _query(connection, binding, binding.collection_query)
    if binding.collection_column is not None:
        named, _, column = binding.collection_column.rpartition(".")
        if not named or catalog.named(named) is table:
            _check_column(binding, column, table.columns, binding.table)
            return Place(collection=_or_default(sql.Identifier("t", column), binding, default))
        return _parent(binding, table, catalog, named, column, default)
    return Place(collection=sql.SQL("{}::text").format(sql.Literal(default or binding.collection)))


def _or_default(column: sql.Composable, binding: FaceBinding, default: str | None) -> sql.Composed:
    unsaid = sql.Literal(binding.collection_default or "")
    found = sql.SQL("nullif(nullif({}::text, ''), {})").format(column, unsaid)
    return sql.SQL("coalesce({}, {}::text)").format(found, sql.Literal(default or binding.collection_default))


def _parent(
    binding: FaceBinding, table: Table, catalog: Catalog, named: str, column: str, default: str | None
) -> Place:
    parent = catalog.named(named)
    if parent is None:
        raise SchemaError(
            f"collection_column of the face binding of {binding.table}: the table {named} does not exist",
            remedy="Run seedtool migrate or db-reset, or name the table that has the collection's id.",
            setting="faces",
            key="collection_column",
            table=binding.table,
        )
    keys = [key for key in table.foreign_keys if key.references == parent.oid and len(key.columns) == 1]
    if len(keys) != 1:
        fault = "no foreign key leads" if not keys else f"{len(keys)} foreign keys lead"
        raise SchemaError(
            f"collection_column of the face binding of {binding.table}: {fault} from {binding.table} to {named}",
            remedy="Use collection_query: SELECT the key and the collection's id, with the join that is meant.",
            setting="faces",
            key="collection_column",
            table=binding.table,
        )
    _check_column(binding, column, parent.columns, named)
    (foreign_key,), (key,) = keys[0].columns, keys[0].referenced_columns
    identifier = sql.Identifier(*named.split("."))
    return Place(
        collection=_or_default(sql.Identifier("p", column), binding, default),
        joins=sql.SQL("LEFT JOIN {} p ON {} = {}").format(
            identifier, sql.Identifier("p", key), sql.Identifier("t", foreign_key)
        ),
        parent=Parent(identifier, column, key, foreign_key),
    )


def _query(connection: psycopg.Connection, binding: FaceBinding, query: str) -> Place:
    _refuse_percent(binding, "collection_query", query)
    names = [key_name(number) for number in range(1, len(binding.key) + 1)]
    joins = sql.SQL("LEFT JOIN ({query}\n) AS q ({names}, collection_id) ON {same}").format(
        query=sql.SQL(query.strip().removesuffix(";")),
        names=sql.SQL(", ").join(names),
        same=sql.SQL(" AND ").join(
            sql.SQL("q.{} = {}").format(name, sql.Identifier("t", column))
            for name, column in zip(names, binding.key, strict=True)
        ),
    )
    table = sql.Identifier(*binding.table.split("."))
    try:
        with connection.transaction():
            connection.execute(sql.SQL("SELECT q.collection_id::text FROM {} t {} LIMIT 0").format(table, joins))
            # a row in two collections would be counted, and linked, twice
            twice = connection.execute(
                sql.SQL("SELECT 1 FROM ({query}\n) AS q ({names}, collection_id) GROUP BY {names} {several}").format(
                    query=sql.SQL(query.strip().removesuffix(";")),
                    names=sql.SQL(", ").join(names),
                    several=sql.SQL("HAVING count(*) > 1 LIMIT 1"),
                )
            ).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        raise
    except (psycopg.ProgrammingError, psycopg.DataError) as error:
        raise _unusable(binding, "collection_query", error) from error
    if twice is not None:
        raise SchemaError(
            f"collection_query of the face binding of {binding.table} gives one row twice",
            remedy="A face is in one collection: let the query give each key once.",
            setting="faces",
            key="collection_query",
            table=binding.table,
        )
    return Place(collection=sql.SQL("nullif(q.collection_id::text, '')"), joins=joins)


def _check_column(binding: FaceBinding, column: str, columns: Mapping[str, object], table: str) -> None:
    if column in columns:
        return
    close = difflib.get_close_matches(column, columns, n=1)
    raise SchemaError(
        f"collection_column of the face binding of {binding.table}: the table {table} has no column {column}",
        remedy=f"Did you mean {close[0]}?" if close else "Name the column that holds the collection's id.",
        setting="faces",
        key="collection_column",
        column=column,
        table=binding.table,
    )


def _refuse_percent(binding: FaceBinding, name: str, text: str) -> None:
    # psycopg takes it for the place of a parameter wherever the condition becomes part of a statement with some
    if "%" in text:
        raise SchemaError(
            f"{name} of the face binding of {binding.table} holds a %",
            remedy="Say it without: starts_with(a, 'b'), strpos(a, 'b') > 0, a ~ 'b', mod(a, 2).",
            setting="faces",
            key=name,
            table=binding.table,
        )


def _unusable(binding: FaceBinding, name: str, error: psycopg.Error) -> SchemaError:
    remedy = (
        f"Write a SELECT that gives {', '.join(binding.key)} and the collection's id."
        if name == "collection_query"
        else f'Write a condition on columns of {binding.table}, such as where = "NOT deleted".'
    )
    return SchemaError(
        f"{name} of the face binding of {binding.table} cannot be used: {reason(error)}",
        remedy=remedy,
        setting="faces",
        key=name,
        table=binding.table,
    )
