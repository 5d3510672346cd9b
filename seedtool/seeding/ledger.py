"""The ledger: which rows a seed set once put there, kept in the database it tells of, in a schema of its own."""

from collections.abc import Iterable, Sequence

import msgspec
from psycopg import sql

from seedtool.postgres.catalog import Table
from seedtool.seeding.staging import BATCH, CHANGED, NEW, ORDER, Cursor, Staged, key_text, same_key

SCHEMA = "seedtool"
LEDGER = sql.Identifier(SCHEMA, "ledger")

#: any number will do, as long as every seed of this database asks for the same one ("seed" in ASCII)
_LOCK = 0x73656564

_CREATE = """
CREATE TABLE seedtool.ledger (
    seed_set text NOT NULL,
    relation text NOT NULL,
    key jsonb NOT NULL,
    content jsonb NOT NULL,
    PRIMARY KEY (relation, key, seed_set)
);
COMMENT ON TABLE seedtool.ledger IS
'Which rows each seed set put there, and a digest of every value it wrote (seedtool seed)'"""


class Edit(msgspec.Struct, frozen=True):
    """A row that the seed changes: its key, the columns that change, and those that somebody else wrote last."""

    key: str
    columns: tuple[str, ...]
    overridden: tuple[str, ...]


def open_ledger(cursor: Cursor) -> None:
    """Wait until no other seed runs in this database, until the transaction ends; make the ledger if need be."""
    cursor.execute(sql.SQL("SELECT pg_advisory_xact_lock({})").format(sql.Literal(_LOCK)))
    # not IF NOT EXISTS: that asks for the right to create even where there is nothing to do
    for missing, create in (
        ("SELECT to_regnamespace('seedtool') IS NULL", "CREATE SCHEMA seedtool"),
        ("SELECT to_regclass('seedtool.ledger') IS NULL", _CREATE),
    ):
        if cursor.execute(missing).fetchone() == (True,):
            cursor.execute(create)


def find_edits(cursor: Cursor, staged: Staged, limit: int) -> list[Edit]:
    """Return the rows that will be updated, with the columns in which the file wins over somebody's edit.

    A column counts as edited when its value is not the one that a seed last wrote.
    """
    table = staged.table
    columns = [name for name in staged.columns if name not in table.primary_key]
    found = cursor.execute(
        sql.SQL(
            "SELECT {}, i.{changed}, ARRAY(SELECT name FROM unnest(i.{changed}) WITH ORDINALITY u (name, place)"
            " WHERE l.content ->> name IS DISTINCT FROM now.content ->> name ORDER BY place)"
            " FROM {} AS i JOIN {} AS t ON {}"
            " CROSS JOIN LATERAL (SELECT {} AS content) AS now"
            " LEFT JOIN LATERAL (SELECT content FROM {} WHERE relation = {} AND key = {}"
            "   ORDER BY seed_set = ({}) DESC LIMIT 1) AS l ON true"
            " WHERE i.{changed} <> '{{}}' ORDER BY i.{} LIMIT {}"
        ).format(
            key_text(table, "t"),
            staged.image,
            table.identifier,
            same_key(table, "i", "t"),
            _digests(columns, "t"),
            LEDGER,
            sql.Literal(table.qualified),
            _key(table, "t"),
            _set_of(staged, "i"),
            ORDER,
            sql.Literal(limit),
            changed=CHANGED,
        )
    )
    managed = staged.binding.face_id if staged.binding else None
    return [
        Edit(key, tuple(changed), tuple(name for name in overridden if name != managed))
        for key, changed, overridden in found
    ]


def record(cursor: Cursor, staged: Iterable[Staged], sets: Sequence[str], *, prune: bool) -> None:
    """Write down which rows are the sets' now, and forget those that have gone or moved to another set's files."""
    tables = list(staged)
    for each in tables:
        _claim(cursor, each)
    if not prune:
        return
    for each in tables:
        cursor.execute(
            sql.SQL(
                "DELETE FROM {} AS l WHERE relation = {} AND seed_set = ANY({}) AND NOT EXISTS"
                " (SELECT FROM {} AS i WHERE {} = l.key AND {} = l.seed_set)"
            ).format(
                LEDGER,
                sql.Literal(each.table.qualified),
                sql.Literal([*sets]),
                each.image,
                _key(each.table, "i"),
                _set_of(each, "i"),
            )
        )
    cursor.execute(
        sql.SQL("DELETE FROM {} WHERE seed_set = ANY({}) AND relation <> ALL({})").format(
            LEDGER, sql.Literal([*sets]), sql.Literal([each.table.qualified for each in tables])
        )
    )


def _claim(cursor: Cursor, staged: Staged) -> None:
    """Claim the rows that were inserted, and those that some seed set had put there before.

    Every row is claimed with a digest of what was written, so that an edit can be told from a change of the file.
    """
    table = staged.table
    digests = sql.SQL("CASE i.{} {} END").format(
        BATCH,
        sql.SQL(" ").join(
            sql.SQL("WHEN {} THEN {}").format(
                sql.Literal(each.number), _digests([n for n in each.batch.columns if n not in table.primary_key], "i")
            )
            for each in staged.batches
        ),
    )
    cursor.execute(
        sql.SQL(
            "INSERT INTO {ledger} AS l (seed_set, relation, key, content)"
            " SELECT {seed_set}, {relation}, {key}, {digests} FROM {image} AS i WHERE i.{new}"
            " OR EXISTS (SELECT FROM {ledger} AS o WHERE o.relation = {relation} AND o.key = {key}"
            "            AND (i.{changed} <> '{{}}' OR NOT EXISTS (SELECT FROM {ledger} AS p"
            "              WHERE p.relation = {relation} AND p.key = {key} AND p.seed_set = {seed_set})))"
            " ON CONFLICT (relation, key, seed_set) DO UPDATE SET content = excluded.content"
        ).format(
            ledger=LEDGER,
            seed_set=_set_of(staged, "i"),
            relation=sql.Literal(table.qualified),
            key=_key(table, "i"),
            digests=digests,
            image=staged.image,
            new=NEW,
            changed=CHANGED,
        )
    )


def _key(table: Table, alias: str) -> sql.Composed:
    """Return a row's key as the ledger holds it."""
    pairs = [
        sql.SQL("{}, {}::text").format(sql.Literal(name), sql.Identifier(alias, name)) for name in table.primary_key
    ]
    return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(pairs))


def _digests(columns: Sequence[str], alias: str) -> sql.Composed:
    """Return the digests of a row's values by column: enough to see a change, too little to tell the value."""
    values = [sql.SQL("left(md5({}::text), 8)").format(sql.Identifier(alias, name)) for name in columns]
    return sql.SQL("jsonb_object({}::text[], ARRAY[{}]::text[])").format(
        sql.Literal([*columns]), sql.SQL(", ").join(values)
    )


def _set_of(staged: Staged, alias: str) -> sql.Composed:
    """Return the seed set that a row of the image comes from."""
    cases = [
        sql.SQL("WHEN {} THEN {}").format(sql.Literal(each.number), sql.Literal(each.fixture.seed_set))
        for each in staged.batches
    ]
    return sql.SQL("CASE {}.{} {} END").format(sql.Identifier(alias), BATCH, sql.SQL(" ").join(cases))
