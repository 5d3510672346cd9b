"""Images: what each row of the files will be once the seed is done, beside what the database has now."""

from psycopg import sql

from seedtool.postgres.catalog import Column
from seedtool.seeding.fixtures import Batch
from seedtool.seeding.staging import (
    BATCH,
    CHANGED,
    LINE,
    NEW,
    ORDER,
    PLACEHOLDER,
    ROUND,
    Cursor,
    Staged,
    key_text,
    same_key,
)


def make_image(cursor: Cursor, staged: Staged) -> None:
    """Make the table of what each row will be; the keys must have been checked."""
    table = staged.table
    parts = [
        sql.SQL("SELECT {}, {} FROM {} AS s LEFT JOIN {} AS t ON {} WHERE s.{} = {}").format(
            _flags(staged, each.batch),
            sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(_final(staged, each.batch, column), sql.Identifier(column.name))
                for column in table.columns.values()
            ),
            staged.staged,
            table.identifier,
            same_key(table, "s", "t"),
            BATCH,
            sql.Literal(each.number),
        )
        for each in staged.batches
    ]
    cursor.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS"
            " SELECT row_number() OVER (ORDER BY {}, {}) AS {}, 0 AS {}, rows.* FROM ({}) AS rows ORDER BY 1"
        ).format(staged.image, BATCH, LINE, ORDER, ROUND, sql.SQL(" UNION ALL ").join(parts))
    )
    cursor.execute(sql.SQL("ANALYZE {}").format(staged.image))


def _flags(staged: Staged, batch: Batch) -> sql.Composed:
    """Where a row came from, whether it is new, and which of its columns change."""
    exists = sql.SQL("t.{} IS NOT NULL").format(sql.Identifier(staged.table.primary_key[0]))
    changes = [
        sql.SQL("CASE WHEN {} AND {} THEN {} END").format(
            exists, _differs(staged.table.columns[name], "t", "s"), sql.Literal(name)
        )
        for name in staged.updated(batch)
    ]
    if staged.binding is not None and staged.resets_face(batch):
        face = staged.binding.face_id
        changes.append(
            sql.SQL("CASE WHEN {} AND t.{} IS DISTINCT FROM s.{} THEN {} END").format(
                exists, *(2 * (sql.Identifier(staged.binding.external_image_id),)), sql.Literal(face)
            )
        )
    return sql.SQL("s.{0}, s.{1}, NOT ({2}) AS {3}, array_remove(ARRAY[{4}]::text[], NULL) AS {5}").format(
        BATCH, LINE, exists, NEW, sql.SQL(", ").join(changes), CHANGED
    )


def _final(staged: Staged, batch: Batch, column: Column) -> sql.Composable:
    """Return the value that a column will have; a default that draws from a sequence is not drawn ahead of time."""
    name = sql.Identifier(column.name)
    key = sql.Identifier(staged.table.primary_key[0])
    if column.name in staged.table.primary_key:
        return sql.SQL("coalesce(t.{0}, s.{0})").format(name)
    if staged.binding is not None and column.name == staged.binding.face_id:
        image = sql.Identifier(staged.binding.external_image_id)
        moved = sql.SQL("t.{0} IS DISTINCT FROM s.{0}").format(image) if staged.resets_face(batch) else sql.SQL("false")
        return sql.SQL(
            "CASE WHEN t.{0} IS NULL THEN coalesce(s.{1}, s.{2}::{4}) WHEN {3} THEN s.{2}::{4} ELSE t.{1} END"
        ).format(key, name, PLACEHOLDER, moved, sql.SQL(column.type))
    if column.name in batch.columns:
        return sql.SQL("s.{}").format(name)
    if column.default is None or column.sequence is not None:
        return sql.SQL("t.{}").format(name)
    return sql.SQL("CASE WHEN t.{0} IS NULL THEN ({1})::{2} ELSE t.{3} END").format(
        key, sql.SQL(column.default), sql.SQL(column.type), name
    )


def _differs(column: Column, left: str, right: str) -> sql.Composed:
    """Return the condition that two aliases hold different values in a column."""
    form = {"value": "{}", "jsonb": "{}::jsonb", "text": '{}::text COLLATE "C"'}[column.comparison]
    sides = [sql.SQL(form).format(sql.Identifier(alias, column.name)) for alias in (left, right)]
    return sql.SQL("{} IS DISTINCT FROM {}").format(*sides)


def new_keys(cursor: Cursor, staged: Staged, limit: int) -> list[str]:
    """Return the keys of the rows that will be inserted."""
    found = cursor.execute(
        sql.SQL("SELECT {} FROM {} AS i WHERE i.{} ORDER BY i.{} LIMIT {}").format(
            key_text(staged.table, "i"), staged.image, NEW, ORDER, sql.Literal(limit)
        )
    )
    return [key for (key,) in found]
