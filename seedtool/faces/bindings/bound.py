"""A face binding that was looked up in the catalog, and what its rows look like in SQL."""

import difflib
from collections.abc import Collection
from typing import NamedTuple

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import SchemaError
from seedtool.faces.external_id import PLACEHOLDER_PREFIX
from seedtool.postgres.psycopg_errors import translated
from seedtool.settings import FaceBinding

_TEXT_TYPES = ("text", "character varying", "character", "citext")


class People(NamedTuple):
    """The table of people that the column `person` refers to.

    Args:
        name: the table, as messages show it.
        table: the table, quoted.
        key: its key column, quoted.
        label: its columns that make up a person's name; empty when it has none of those that may.
    """

    name: str
    table: sql.Identifier
    key: sql.Identifier
    label: tuple[str, ...]

    def closest(self, connection: psycopg.Connection, person: str) -> str | None:
        """Return the key most like one that is not there; of a large table, among 5,000 that begin alike."""
        query = sql.SQL("SELECT {0}::text FROM {1} ORDER BY left({0}::text, 3) <> left(%s, 3) LIMIT 5000")
        keys = connection.execute(query.format(self.key, self.table), [person])
        return next(iter(difflib.get_close_matches(person, [key for (key,) in keys], n=1)), None)


class Parent(NamedTuple):
    """Another table, whose column names the collection.

    Args:
        table: the table, quoted.
        column: the column that names the collection.
        key: its key column, to which the bound table's foreign key refers.
        foreign_key: the bound table's column that refers to it.
    """

    table: sql.Identifier
    column: str
    key: str
    foreign_key: str


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the collection of the row `t` is found.

    Args:
        collection: its id, as text; NULL for a row that is in none.
        joins: what has to be joined to `t` for that.
        parent: the other table that names it; None unless there is one.
    """

    collection: sql.Composable
    joins: sql.Composable = sql.SQL("")
    parent: Parent | None = None


def key_name(number: int) -> sql.Identifier:
    """Return the name under which queries hand on the key's column of that number, counted from 1."""
    return sql.Identifier(f"key_{number}")


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A binding whose table and columns are known to exist.

    Args:
        binding: what the settings say.
        table: the table, quoted.
        columns: name → type, as `format_type` writes it.
        required: the columns that a new row has to be given: NOT NULL, without a default.
        plain: an ordinary table without children: its rows can be told apart, and ordered, by where they lie.
        unique_face: the face id is under a unique index: one statement cannot exchange those of two rows.
        unique_image: no two rows have the same external image id.
        people: the table of people that the column `person` refers to; None when it refers to nothing.
        place: in which collection the row `t` is.
        collection: the collection of rows that name none.
        only: the one collection whose rows count; None for all.
    """

    binding: FaceBinding
    table: sql.Identifier
    columns: dict[str, str]
    required: tuple[str, ...]
    plain: bool
    unique_face: bool
    unique_image: bool
    people: People | None
    place: Place
    collection: str | None = None
    only: str | None = None

    @property
    def face_id(self) -> sql.Identifier:
        """The column of the face id, quoted."""
        return sql.Identifier(self.binding.face_id)

    @property
    def external_image_id(self) -> sql.Identifier:
        """The column of the external image id, quoted."""
        return sql.Identifier(self.binding.external_image_id)

    @property
    def person(self) -> sql.Identifier:
        """The column that says whose face it is, quoted (see `require`)."""
        return sql.Identifier(self.binding.person)

    @property
    def photo(self) -> sql.Identifier:
        """The column that says where the photo is, quoted (see `require`)."""
        return sql.Identifier(self.binding.photo)

    def has(self, field: str) -> bool:
        """Tell whether the table has the column that a field of the binding names: `person`, `photo`, ..."""
        return getattr(self.binding, field) in self.columns

    def require(self, command: str, *fields: str) -> None:
        """Check that the table has the columns that a command works with.

        Args:
            command: the command's name.
            fields: fields of the binding that name columns.

        Raises:
            SchemaError: it lacks one.
        """
        for field in fields:
            if not self.has(field):
                raise SchemaError(
                    f"the table {self.binding.table} has no column {getattr(self.binding, field)}, "
                    f"which {command} needs ({field} of its face binding)",
                    remedy=f'Name the right column in [[tool.seedtool.faces]]: {field} = "...".',
                    setting="faces",
                    table=self.binding.table,
                    column=getattr(self.binding, field),
                    key=field,
                )

    def require_new_rows(self, command: str) -> None:
        """Check that a command can write new rows into the table.

        Raises:
            SchemaError: a column that it does not know has to be filled.
        """
        binding = self.binding
        known = {
            binding.person, binding.photo, binding.external_image_id, binding.face_id, binding.quality,
            binding.indexed_at, binding.collection_column,
        }  # fmt: skip
        for column in self.required:
            if column not in known and not (self.key_is_text and column in binding.key) and column != self.uuid_key:
                raise SchemaError(
                    f"the column {column} of {binding.table} may not be NULL and has no default: {command} writes new"
                    " rows and does not know what stands there",
                    remedy="Give it a default in a migration. Or let the application write the rows, with"
                    f" {binding.external_image_id} and {binding.photo}: seedtool enroll --all indexes their photos.",
                    setting="faces",
                    table=binding.table,
                    column=column,
                )

    @property
    def key_is_text(self) -> bool:
        """Whether the key of new rows is ours to choose (`key_template`): one column of text, not filled by others."""
        if len(self.binding.key) != 1:
            return False
        (column,) = self.binding.key
        return self.columns[column] == "text" or (
            column in self.required and self.columns[column].startswith(_TEXT_TYPES)
        )

    @property
    def uuid_key(self) -> str | None:
        """The key, where it is one uuid that the application makes: new rows get a random one."""
        (column, *more) = self.binding.key
        return column if not more and column in self.required and self.columns[column] == "uuid" else None

    @property
    def face_type(self) -> sql.SQL:
        """The type of the face id."""
        return sql.SQL(self.columns[self.binding.face_id])  # format_type's own words

    @property
    def key(self) -> sql.Composed:
        """The key columns of the row `t` as one text, for reports."""
        parts = [sql.SQL("{}::text").format(sql.Identifier("t", column)) for column in self.binding.key]
        return sql.SQL("concat_ws(':', {})").format(sql.SQL(", ").join(parts))

    @property
    def empty(self) -> sql.Composed:
        """What the unlinked row `t` holds: its placeholder, or NULL where the column takes no text.

        The same as seeding writes: with the row's key where several rows of the table share the image.
        """
        if not self.columns[self.binding.face_id].startswith(_TEXT_TYPES):
            return sql.SQL("NULL::{}").format(self.face_type)
        return sql.SQL(
            """({prefix} || t.{image}::text || CASE WHEN t.{image} IN (
                SELECT o.{image} FROM {table} o GROUP BY o.{image} HAVING count(*) > 1
            ) THEN ':' || {key} ELSE '' END)"""
        ).format(prefix=sql.Literal(PLACEHOLDER_PREFIX), image=self.external_image_id, table=self.table, key=self.key)

    @property
    def rows(self) -> sql.Composed:
        """A subquery of all rows that count.

        Its columns: key (one text) and key_1, key_2, ... (as they are), external_image_id, face_id (NULL when it is a
        placeholder), photo, collection_id (NULL when it is in none), with a `box` its box_left, box_top, box_width
        and box_height (NULL when it is no box), and of a `plain` table its spot.

        Everything is compared in collation "C": bytes, whatever collations the table's columns have.
        """
        binding = self.binding
        columns: list[sql.Composable] = [
            sql.SQL("{} AS {}").format(sql.Identifier("t", column), key_name(number))
            for number, column in enumerate(binding.key, start=1)
        ]
        columns += [_side(binding.box, side) for side in SIDES] if binding.box else []
        columns += [sql.SQL("t.ctid AS spot")] if self.plain else []
        everything = sql.SQL("ctid, *" if self.plain else "*")
        return sql.SQL(
            """(SELECT {key} AS key, {columns}, t.{external_image_id}::text COLLATE "C" AS external_image_id,
                CASE WHEN NOT starts_with(t.{face_id}::text, {prefix}) THEN t.{face_id}::text COLLATE "C" END
                    AS face_id,
                {photo} COLLATE "C" AS photo, {collection} COLLATE "C" AS collection_id
                FROM {source} t {joins} {only})"""
        ).format(
            key=self.key,
            columns=sql.SQL(", ").join(columns),
            external_image_id=self.external_image_id,
            face_id=self.face_id,
            prefix=sql.Literal(PLACEHOLDER_PREFIX),
            photo=sql.SQL("t.{}::text" if self.has("photo") else "NULL::text").format(self.photo),
            collection=self.place.collection,
            # in a subquery of its own, where the condition cannot mean a column of a joined table
            source=sql.SQL("(SELECT {} FROM {} WHERE ({}\n))").format(everything, self.table, sql.SQL(binding.where))
            if binding.where
            else self.table,
            joins=self.place.joins,
            only=sql.SQL("WHERE {} = {}").format(self.place.collection, sql.Literal(self.only))
            if self.only is not None
            else sql.SQL(""),
        )

    def narrowed(self, collection: str) -> "Bound":
        """Return the same table with only the rows of one collection, or all of it pointed at that."""
        if self.binding.by_row:
            return msgspec.structs.replace(self, only=collection, collection=collection)
        place = Place(collection=sql.SQL("{}::text").format(sql.Literal(collection)))
        return msgspec.structs.replace(self, place=place, collection=collection)

    def located(self, found: Collection[str | None]) -> "Bound":
        """Return the same table, which no longer asks each row for its collection where all rows are in one.

        Args:
            found: the collections that its rows are in.
        """
        if len(found) != 1 or None in found or self.only is not None:
            return self
        return msgspec.structs.replace(self, place=Place(collection=sql.SQL("{}::text").format(sql.Literal(*found))))

    def in_use(self, connection: psycopg.Connection) -> tuple[str | None, ...]:
        """Return the collections that rows are in; None stands for the rows that are in none.

        Where another table names them, and it names only one, a single row of this table is read.
        """
        parent = self.place.parent
        if parent is not None and self.only is None:
            named = sql.SQL("SELECT DISTINCT {} FROM {} p LIMIT 2").format(self.place.collection, parent.table)
            any_row = sql.SQL("SELECT FROM {} r LIMIT 1").format(self.rows)
            with translated(self.binding.table):
                # rows that refer to nobody are in the setting's collection
                if (
                    connection.execute(named).fetchall() == [(self.collection,)]
                    and connection.execute(any_row).rowcount
                ):
                    return (self.collection,)
        return tuple(self.collections(connection))

    def collections(self, connection: psycopg.Connection) -> dict[str | None, int]:
        """Return how many rows each collection has; None stands for the rows that are in none."""
        query = sql.SQL("SELECT collection_id, count(*) FROM {} r GROUP BY 1 ORDER BY 1").format(self.rows)
        with translated(self.binding.table):
            return dict(connection.execute(query).fetchall())


#: The members of Rekognition's BoundingBox; a row's are called box_left and so on.
SIDES = ("Left", "Top", "Width", "Height")


def _side(box: str, side: str) -> sql.Composed:
    value = sql.SQL("(t.{}::jsonb) -> {}").format(sql.Identifier(box), sql.Literal(side))
    return sql.SQL("CASE WHEN jsonb_typeof({0}) = 'number' THEN ({0})::float8 END AS {1}").format(
        value, sql.Identifier(f"box_{side.lower()}")
    )
