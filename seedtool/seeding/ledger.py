"""The ledger: which rows a seed set once put there, kept in the database it tells of, in a schema of its own."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from psycopg import sql

from seedtool.database.catalog import Catalog, Table
from seedtool.errors import SeedError
from seedtool.seeding.staging import BATCH, CHANGED, LINE, NEW, ORDER, Cursor, Staged, names, same_key

SCHEMA = "seedtool"
_LEDGER = sql.Identifier(SCHEMA, "ledger")

#: any number will do, as long as every seed of this database asks for the same one ("seed" in ASCII)
_LOCK = 0x73656564

_CREATE = """
CREATE TABLE seedtool.ledger (
    seed_set text NOT NULL,
    relation text NOT NULL,
    key jsonb NOT NULL,
    content jsonb NOT NULL,
    PRIMARY KEY (relation, key, seed_set)
)"""
_COMMENT = """
COMMENT ON TABLE seedtool.ledger IS
'Which rows each seed set put there, and a digest of every value it wrote (seedtool seed)'"""


class Doomed(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a table that are to go: a seed set put them there and their lines have left its files."""

    table: Table
    number: int
    rows: int

    @property
    def name(self) -> sql.Identifier:
        """The temporary table that holds them."""
        return sql.Identifier("pg_temp", f"seedtool_doomed_{self.number}")


class Edit(msgspec.Struct, frozen=True):
    """A row that the seed changes: its key, the columns that change, and those that somebody else wrote last."""

    key: str
    columns: tuple[str, ...]
    overridden: tuple[str, ...]


def open_ledger(cursor: Cursor) -> None:
    """Wait until no other seed runs in this database, until the transaction ends; make the ledger if need be."""
    cursor.execute(sql.SQL("SELECT pg_advisory_xact_lock({})").format(sql.Literal(_LOCK)))
    found = cursor.execute("SELECT to_regnamespace('seedtool'), to_regclass('seedtool.ledger')").fetchone()
    assert found is not None
    if found[0] is None:
        cursor.execute("CREATE SCHEMA seedtool")
    if found[1] is None:
        cursor.execute(_CREATE)
        cursor.execute(_COMMENT)


def find_doomed(
    cursor: Cursor, catalog: Catalog, staged: Mapping[int, Staged], sets: Sequence[str]
) -> dict[int, Doomed]:
    """Find and lock the rows that the sets once put there and that none of their files names any more.

    A row that another set put there too, one not loaded now, stays. Returned by the table's oid, children first.
    """
    relations = {
        relation
        for (relation,) in cursor.execute(
            sql.SQL("SELECT DISTINCT relation FROM {} WHERE seed_set = ANY({})").format(_LEDGER, sql.Literal([*sets]))
        )
    }
    tables = [table for table in catalog.tables.values() if table.qualified in relations and table.primary_key]
    found: dict[int, Doomed] = {}
    for number, table in enumerate(reversed(catalog.parents_first(tables))):
        doomed = Doomed(table=table, number=number, rows=0)
        gone = _gone(table, staged.get(table.oid), sets)
        cursor.execute(sql.SQL("SELECT FROM {} AS t WHERE {} FOR UPDATE OF t").format(table.identifier, gone))
        if cursor.rowcount:
            # a second statement, as only that sees what the first one had to wait for
            cursor.execute(
                sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT t.* FROM {} AS t WHERE {}").format(
                    doomed.name, table.identifier, gone
                )
            )
            found[table.oid] = msgspec.structs.replace(doomed, rows=cursor.rowcount)
    return found


def _gone(table: Table, staged: Staged | None, sets: Sequence[str]) -> sql.Composed:
    """Return the condition that a row `t` is in the ledger and no longer in the files."""
    typed = sql.SQL(", ").join(
        sql.SQL("(l.key ->> {})::{}").format(sql.Literal(name), sql.SQL(table.columns[name].type))
        for name in table.primary_key
    )
    gone = sql.SQL(
        "({}) IN (SELECT {} FROM {} AS l WHERE l.relation = {} AND l.seed_set = ANY({sets}) AND NOT EXISTS"
        " (SELECT FROM {ledger} AS o WHERE o.relation = l.relation AND o.key = l.key AND o.seed_set <> ALL({sets})))"
    ).format(
        names(table.primary_key, "t"),
        typed,
        _LEDGER,
        sql.Literal(table.qualified),
        sets=sql.Literal([*sets]),
        ledger=_LEDGER,
    )
    if staged is None:
        return gone
    return sql.SQL("{} AND NOT EXISTS (SELECT FROM {} AS i WHERE {})").format(
        gone, staged.image, same_key(table, "i", "t")
    )


def check_doomed(cursor: Cursor, catalog: Catalog, staged: Mapping[int, Staged], doomed: Mapping[int, Doomed]) -> None:
    """Check that no row which stays refers to one that goes; else a delete would fail, cascade or blank it.

    Raises:
        FixtureError: the row that stays is in the files.
        SeedError: it is not; people made it.
    """
    for parent in doomed.values():
        for key in catalog.referencing(parent.table):
            child = catalog.tables[key.table]
            stays, image, goes = [], staged.get(child.oid), doomed.get(child.oid)
            if goes is not None:
                stays.append(
                    sql.SQL("NOT EXISTS (SELECT FROM {} AS g WHERE {})").format(goes.name, same_key(child, "g", "c"))
                )
            place = sql.SQL("NULL, NULL")
            joined = sql.SQL("")
            if image is not None:
                place = sql.SQL("i.{}, i.{}").format(BATCH, LINE)
                joined = sql.SQL("LEFT JOIN {} AS i ON {}").format(image.image, same_key(child, "i", "c"))
                stays.append(
                    sql.SQL("(i.{} IS NULL OR ({}) = ({}))").format(
                        BATCH, names(key.columns, "i"), names(key.referenced_columns, "d")
                    )
                )
            found = cursor.execute(
                sql.SQL("SELECT {}, {}, {} FROM {} AS c JOIN {} AS d ON ({}) = ({}) {} WHERE {} LIMIT 1").format(
                    place,
                    key_text(child, "c"),
                    key_text(parent.table, "d"),
                    child.identifier,
                    parent.name,
                    names(key.columns, "c"),
                    names(key.referenced_columns, "d"),
                    joined,
                    sql.SQL(" AND ").join(stays) if stays else sql.SQL("true"),
                )
            ).fetchone()
            if found is None:
                continue
            batch, line, child_key, parent_key = found
            if batch is not None and image is not None:
                raise image.error(
                    batch,
                    line,
                    f"refers to row {parent_key} of {parent.table}, whose line has left the files",
                    columns=key.columns,
                    remedy="Put that line back, or let this row refer to another one.",
                )
            raise SeedError(
                f"row {parent_key} of {parent.table} has left the files and cannot be deleted: "
                f"row {child_key} of {child}, which no seed set put there, refers to it",
                remedy="Delete or change that row, put the line back, or seed with --no-prune.",
            )


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
            _LEDGER,
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


def new_keys(cursor: Cursor, staged: Staged, limit: int) -> list[str]:
    """Return the keys of the rows that will be inserted."""
    found = cursor.execute(
        sql.SQL("SELECT {} FROM {} AS i WHERE i.{} ORDER BY i.{} LIMIT {}").format(
            key_text(staged.table, "i"), staged.image, NEW, ORDER, sql.Literal(limit)
        )
    )
    return [key for (key,) in found]


def doomed_keys(cursor: Cursor, doomed: Doomed, limit: int) -> list[str]:
    """Return the keys of the rows that will be deleted."""
    found = cursor.execute(
        sql.SQL("SELECT {} FROM {} AS d ORDER BY 1 LIMIT {}").format(
            key_text(doomed.table, "d"), doomed.name, sql.Literal(limit)
        )
    )
    return [key for (key,) in found]


def record(
    cursor: Cursor, staged: Iterable[Staged], sets: Sequence[str], doomed: Iterable[Doomed], *, prune: bool
) -> None:
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
                _LEDGER,
                sql.Literal(each.table.qualified),
                sql.Literal([*sets]),
                each.image,
                _key(each.table, "i"),
                _set_of(each, "i"),
            )
        )
    cursor.execute(
        sql.SQL("DELETE FROM {} WHERE seed_set = ANY({}) AND relation <> ALL({})").format(
            _LEDGER, sql.Literal([*sets]), sql.Literal([each.table.qualified for each in tables])
        )
    )
    for gone in doomed:
        cursor.execute(sql.SQL("DROP TABLE {}").format(gone.name))


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
            ledger=_LEDGER,
            seed_set=_set_of(staged, "i"),
            relation=sql.Literal(table.qualified),
            key=_key(table, "i"),
            digests=digests,
            image=staged.image,
            new=NEW,
            changed=CHANGED,
        )
    )


def key_text(table: Table, alias: str) -> sql.Composed:
    """Return a row's key as messages show it: the value, or `column=value` for each column of several."""
    if not table.primary_key:
        return sql.SQL("'(no key) at ' || {}.ctid").format(sql.Identifier(alias))
    if len(table.primary_key) == 1:
        return sql.SQL("{}::text").format(sql.Identifier(alias, table.primary_key[0]))
    parts = [
        sql.SQL("{} || {}::text").format(sql.Literal(f"{name}="), sql.Identifier(alias, name))
        for name in table.primary_key
    ]
    return sql.SQL("concat_ws(', ', {})").format(sql.SQL(", ").join(parts))


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
