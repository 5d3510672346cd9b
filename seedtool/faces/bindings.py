"""Face bindings, looked up in the catalog: which table and columns hold the ids, and in which collection faces are."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import psycopg
from psycopg import errors as pg
from psycopg import sql

from seedtool.errors import DatabaseError, SchemaError, SettingsError
from seedtool.faces.external_id import PLACEHOLDER_PREFIX
from seedtool.settings import FaceBinding, Settings

_TEXT_TYPES = ("text", "character varying", "character", "citext")


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A binding whose table and columns are known to exist.

    Args:
        binding: what the settings say.
        table: the table, quoted.
        columns: name → type, as `format_type` writes it.
        unique_face: the face id is under a unique index, so that two rows may not exchange theirs at once.
        owner: table, quoted, and key column that `student_id` refers to; None when it refers to nothing.
    """

    binding: FaceBinding
    table: sql.Identifier
    columns: dict[str, str]
    unique_face: bool
    owner: tuple[sql.Identifier, str] | None

    @property
    def face_id(self) -> sql.Identifier:
        """The column of the face id, quoted."""
        return sql.Identifier(self.binding.face_id)

    @property
    def external_image_id(self) -> sql.Identifier:
        """The column of the external image id, quoted."""
        return sql.Identifier(self.binding.external_image_id)

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
        """What the unlinked row `t` holds: its placeholder, or NULL where the column takes no text."""
        if not self.columns[self.binding.face_id].startswith(_TEXT_TYPES):
            return sql.SQL("NULL::{}").format(self.face_type)
        return sql.SQL("({} || t.{}::text)").format(sql.Literal(PLACEHOLDER_PREFIX), self.external_image_id)

    @property
    def rows(self) -> sql.Composed:
        """A subquery of all rows: key, external_image_id, face_id (NULL when it is a placeholder).

        Everything is compared in collation "C": bytes, whatever collations the table's columns have.
        """
        return sql.SQL(
            """(SELECT {key} AS key, t.{external_image_id}::text COLLATE "C" AS external_image_id,
                CASE WHEN NOT starts_with(t.{face_id}::text, {prefix}) THEN t.{face_id}::text COLLATE "C" END
                    AS face_id,
                {photo} COLLATE "C" AS photo_url
                FROM {table} t)"""
        ).format(
            key=self.key,
            external_image_id=self.external_image_id,
            face_id=self.face_id,
            prefix=sql.Literal(PLACEHOLDER_PREFIX),
            photo=sql.SQL("t.photo_url::text") if "photo_url" in self.columns else sql.SQL("NULL::text"),
            table=self.table,
        )


def chosen(settings: Settings, collection: str | None = None) -> tuple[tuple[FaceBinding, str], ...]:
    """Return the bindings to work on, each with its collection's id.

    Args:
        settings: the settings.
        collection: a collection given on the command line. It selects the bindings that name it; a single binding
            is pointed at it.

    Raises:
        SettingsError: no binding, or a binding without a collection.
    """
    if not settings.faces:
        raise SettingsError(
            "setting faces: no table is bound to faces",
            remedy='Add [[tool.seedtool.faces]] with table = "student_faces" to pyproject.toml.',
        )
    pairs: list[tuple[FaceBinding, str | None]] = [
        (binding, binding.collection or settings.collection) for binding in settings.faces
    ]
    if collection is not None:
        named = [pair for pair in pairs if pair[1] == collection]
        if named:
            pairs = named
        elif len(pairs) == 1:
            pairs = [(pairs[0][0], collection)]
        else:
            tables = ", ".join(f"{binding.table}: {found}" for binding, found in pairs)
            raise SettingsError(
                f"no face binding names the collection {collection} ({tables})",
                remedy="Give one of these, or change [[tool.seedtool.faces]].",
            )
    for binding, found in pairs:
        if found is None:
            raise SettingsError(
                f"the faces of {binding.table} are in no collection",
                remedy="Set AWS_REKOGNITION_COLLECTION, collection in [tool.seedtool], or --collection ID.",
            )
    return tuple((binding, found) for binding, found in pairs if found is not None)


def resolve(connection: psycopg.Connection, binding: FaceBinding) -> Bound:
    """Look the binding up in the catalog.

    Raises:
        SchemaError: the table, or one of the columns, does not exist.
    """
    table = sql.Identifier(*binding.table.split("."))
    with database_errors(binding.table):
        oid = connection.execute("SELECT to_regclass(%s)::oid", [table.as_string(connection)]).fetchone()
        if oid is None or oid[0] is None:
            raise SchemaError(
                f"the table {binding.table} does not exist (from [[tool.seedtool.faces]])",
                remedy="Run seedtool migrate or db-reset, or name the table that holds the face ids.",
            )
        columns: dict[str, str] = dict(connection.execute(_COLUMNS, [oid[0]]).fetchall())
        for column in dict.fromkeys((binding.face_id, binding.external_image_id, *binding.key)):
            if column not in columns:
                close = difflib.get_close_matches(column, columns, n=1)
                raise SchemaError(
                    f"the table {binding.table} has no column {column} (from [[tool.seedtool.faces]])",
                    remedy=f"Did you mean {close[0]}? " * bool(close)
                    + "Otherwise run seedtool migrate: it may be new.",
                )
        unique = connection.execute(_UNIQUE, [oid[0], binding.face_id]).fetchone()
        owner = connection.execute(_OWNER, [oid[0]]).fetchone()
    return Bound(
        binding=binding,
        table=table,
        columns=columns,
        unique_face=unique is not None,
        owner=None if owner is None else (sql.Identifier(owner[0], owner[1]), owner[2]),
    )


@contextmanager
def database_errors(table: str) -> Iterator[None]:
    """Raise psycopg's errors inside as ours. Their details, which quote rows, are left out.

    Raises:
        DatabaseError: with the server's own sentence.
    """
    try:
        yield
    except psycopg.Error as error:
        reason = error.diag.message_primary or str(error).split("\n", maxsplit=1)[0] or type(error).__name__
        remedy = "Nothing was changed."
        if isinstance(error, pg.InsufficientPrivilege):
            remedy = "The role needs SELECT, INSERT and UPDATE on the table, and TEMPORARY on the database."
        elif isinstance(error, pg.LockNotAvailable | pg.DeadlockDetected | pg.QueryCanceled):
            remedy = "Something else holds these rows: run it again. Nothing was changed."
        elif isinstance(error, psycopg.OperationalError):
            remedy = "The connection was lost: run it again. What was not committed was not changed."
        raise DatabaseError(f"{table}: {reason}", remedy=remedy) from error


_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""

_UNIQUE = """
SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s AND i.indisunique AND a.attname = %s LIMIT 1"""

_OWNER = """
SELECT n.nspname, r.relname, f.attname
FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] AND a.attname = 'student_id'
JOIN pg_class r ON r.oid = c.confrelid
JOIN pg_namespace n ON n.oid = r.relnamespace
JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
WHERE c.contype = 'f' AND cardinality(c.conkey) = 1 AND c.conrelid = %s LIMIT 1"""
