"""The ledger: which rows each seed set inserted, and so which rows it may delete once their lines have left its files.

The ledger is a table of the database whose rows it lists, in a schema of its own.
"""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import SeedError
from seedtool.listener import SILENT, Listener
from seedtool.postgres.catalog import Catalog, Column, ForeignKey, Table
from seedtool.postgres.cluster import take_lock
from seedtool.seeding import defaults
from seedtool.seeding.staging import Cursor, Staged, key_text, names, same_key
from seedtool.settings import FaceBinding

SCHEMA = "seedtool"
LEDGER = sql.Identifier(SCHEMA, "ledger")

#: every seed of a database takes this advisory lock; the number is "seed" in ASCII
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
    """A row that the seed updates.

    Args:
        key: its key, as messages show it.
        columns: the columns that change.
        overridden: those of them that somebody else than a seed wrote last.
    """

    key: str
    columns: tuple[str, ...]
    overridden: tuple[str, ...]


def open_ledger(cursor: Cursor, listener: Listener = SILENT) -> None:
    """Wait until no other seed runs in this database, and keep others waiting until the transaction ends.

    The ledger is made where it does not exist yet.

    Args:
        cursor: in a transaction.
        listener: hears after two seconds who is waited for.

    Raises:
        BlockedError: somebody has held the lock for fifteen minutes.
    """
    take_lock(cursor.connection, _LOCK, "seeds", listener)
    # IF NOT EXISTS would need the right to create even where there is nothing to create
    for missing, create in (
        ("SELECT to_regnamespace('seedtool') IS NULL", "CREATE SCHEMA seedtool"),
        ("SELECT to_regclass('seedtool.ledger') IS NULL", _CREATE),
    ):
        if cursor.execute(missing).fetchone() == (True,):
            cursor.execute(create)


def exists(cursor: Cursor) -> bool:
    """Tell whether the database has a ledger that this role may read."""
    query = (
        "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'seedtool' AND c.relname = 'ledger'"
        " AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))"
    )
    return cursor.execute(query).fetchone() == (True,)


def of_others(table: Table, seed_set: str, others: Sequence[str]) -> sql.Composed:
    """Return a condition on the row `t`: other sets put it there, and this one did not."""
    found = sql.SQL(
        "EXISTS (SELECT FROM {} AS l WHERE l.relation = {} AND l.key = {} AND l.seed_set = ANY({}::text[]))"
    )
    relation, key = sql.Literal(table.qualified), _key(table, "t")
    theirs, own = (found.format(LEDGER, relation, key, sql.Literal(list(sets))) for sets in (others, [seed_set]))
    return sql.SQL("({} AND NOT {})").format(theirs, own)


def find_edits(cursor: Cursor, staged: Staged, limit: int) -> list[Edit]:
    """Return the rows that will be updated, with the columns in which the file overrides somebody's edit.

    A column counts as edited when its value is not the one that a seed wrote last.
    """
    table, own = staged.table, staged.own
    columns = [name for name in staged.columns if name not in table.primary_key]
    found = cursor.execute(
        sql.SQL(
            "SELECT {}, i.{changed}, ARRAY(SELECT u.name FROM unnest(i.{changed}) WITH ORDINALITY u (name, place)"
            " WHERE nullif(split_part(l.content ->> u.name, '/', 1), '') IS DISTINCT FROM n.content ->> u.name"
            " ORDER BY u.place)"
            " FROM {} AS i JOIN {} AS t ON {}"
            " CROSS JOIN LATERAL (SELECT {} AS content) AS n"
            " LEFT JOIN LATERAL (SELECT o.content FROM {} AS o WHERE o.relation = {} AND o.key = {}"
            "   ORDER BY o.seed_set = ({}) DESC LIMIT 1) AS l ON true"
            " WHERE i.{changed} <> '{{}}' ORDER BY i.{} LIMIT {}"
        ).format(
            key_text(table, "t"),
            staged.outcome,
            table.rows,
            same_key(table, "i", "t"),
            _digests(columns, "t"),
            LEDGER,
            sql.Literal(table.qualified),
            _key(table, "t"),
            _set_of(staged, "i"),
            own.order,
            sql.Literal(limit),
            changed=own.changed,
        )
    )
    managed = staged.binding.face_id if staged.binding else None
    return [
        Edit(key, tuple(changed), tuple(name for name in overridden if name != managed))
        for key, changed, overridden in found
    ]


def count_unrecorded(cursor: Cursor, staged: Staged) -> int:
    """Return how many of the rows that will be updated no seed put there."""
    counted = cursor.execute(
        sql.SQL(
            # the limit lets each row be looked up, where a join would read the whole ledger
            "SELECT count(*) FROM {outcome} AS i LEFT JOIN LATERAL"
            " (SELECT true AS recorded FROM {ledger} AS l WHERE l.relation = {relation} AND l.key = {key} LIMIT 1) AS l"
            " ON true WHERE i.{changed} <> '{{}}' AND l.recorded IS NULL"
        ).format(
            outcome=staged.outcome,
            changed=staged.own.changed,
            ledger=LEDGER,
            relation=sql.Literal(staged.table.qualified),
            key=_key(staged.table, "i"),
        )
    ).fetchone()
    return counted[0] if counted else 0


def find_recorded(cursor: Cursor) -> dict[str, set[str]]:
    """Return the tables, schema and name, of which the ledger has rows, each with the sets that inserted them."""
    found: dict[str, set[str]] = {}
    query = sql.SQL("SELECT DISTINCT relation, seed_set FROM {} WHERE seed_set <> ''").format(LEDGER)
    for relation, seed_set in cursor.execute(query):
        found.setdefault(relation, set()).add(seed_set)
    return found


def fit_keys(
    cursor: Cursor, catalog: Catalog, staged: Container[int], recorded: Container[str], relations: Container[str]
) -> None:
    """Let the ledger name rows by the keys that tables have now, and forget entries that describe no row.

    A migration may have given a table another key, or its key another type. A table without a key has another one with
    each column that comes or goes.

    Args:
        cursor: in the merge's transaction.
        catalog: the database's tables.
        staged: the oids of the tables of the files.
        recorded: the tables of which the ledger has rows, schema and name.
        relations: the tables that may lose rows, schema and name.
    """
    for table in catalog.tables.values():
        if (
            table.qualified in recorded
            and (table.oid in staged or table.qualified in relations)
            and table.primary_key
            and not _keys_fit(cursor, table)
        ):
            _fit(cursor, table)


def _fit(cursor: Cursor, table: Table) -> None:
    entries = sql.Identifier("pg_temp", "seedtool_entries")
    of_table = sql.SQL("FROM {} WHERE relation = {} AND seed_set <> ''").format(LEDGER, sql.Literal(table.qualified))
    cursor.execute(sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT * {}").format(entries, of_table))
    cursor.execute(sql.SQL("DELETE {}").format(of_table))
    shapes = cursor.execute(
        sql.SQL(
            "SELECT DISTINCT ARRAY(SELECT jsonb_object_keys(e.key) ORDER BY 1),"
            " ARRAY(SELECT jsonb_object_keys(e.content) ORDER BY 1) FROM {} AS e"
        ).format(entries)
    ).fetchall()
    for key, content in shapes:
        _carry(cursor, table, entries, key, content)
    cursor.execute(sql.SQL("DROP TABLE {}").format(entries))


def _keys_fit(cursor: Cursor, table: Table) -> bool:
    """Tell whether all entries of a table have its key, and values of its types."""
    entries = sql.SQL("{} AS l WHERE l.relation = {} AND l.seed_set <> ''").format(LEDGER, sql.Literal(table.qualified))
    ends = sql.SQL(", ").join(
        sql.SQL("(SELECT ARRAY(SELECT jsonb_object_keys(l.key)) FROM {} ORDER BY l.key {} LIMIT 1)").format(
            entries, way
        )
        for way in (sql.SQL("ASC"), sql.SQL("DESC"))
    )
    # entries are carried all at once, and the index orders keys by their names first: its two ends tell
    found = cursor.execute(sql.SQL("SELECT {}").format(ends)).fetchone() or ()
    if any({*(each or ())} != {*table.primary_key} for each in found):
        return False
    if table.row_key is not None:
        differs = sql.SQL(
            "SELECT EXISTS (SELECT FROM {} AND NOT (l.content ?& {columns} AND l.content - {columns} = '{{}}'))"
        )
        columns = sql.SQL("{}::text[]").format(sql.Literal([*table.row_key.columns]))
        return cursor.execute(differs.format(entries, columns=columns)).fetchone() == (False,)
    read = [_typed(table, name, "l.key") for name in table.primary_key if not _takes_any_text(table.columns[name])]
    if not read:
        return True
    counts = sql.SQL(", ").join(sql.SQL("count({})").format(each) for each in read)
    try:
        with cursor.connection.transaction():
            cursor.execute(sql.SQL("SELECT {} FROM {}").format(counts, entries))
    except (psycopg.DataError, psycopg.IntegrityError):  # a text that is no value of the type, or not of the domain
        return False
    return True


def _takes_any_text(column: Column) -> bool:
    return column.type.partition("(")[0] in {"text", "character varying", "character"}


def _carry(cursor: Cursor, table: Table, entries: sql.Identifier, key: list[str], content: list[str]) -> None:
    """Record the rows that entries of one shape describe: by the key's columns, or else by all columns that are known.

    Args:
        cursor: in the merge's transaction.
        table: the table.
        entries: its entries.
        key: the names in the keys of these entries.
        content: the names of the columns whose digests they hold.
    """
    row, own = table.row_key, table.free_prefix()
    columns = {*(table.columns if row is None else row.columns)}
    known = {name: sql.SQL("left(md5(e.key ->> {}), 8)").format(sql.Literal(name)) for name in key if name in columns}
    added: dict[str, sql.Composable] = {name: known[name] for name in known if name not in table.primary_key}
    known |= {
        name: sql.SQL("nullif(split_part(e.content ->> {}, '/', 1), '')").format(sql.Literal(name))
        for name in content
        if name in columns
    }
    found_by = [*table.primary_key] if {*table.primary_key} <= known.keys() else [*known]
    if not found_by:
        return
    # a column that came since had its default
    missing = [table.columns[name] for name in row.columns if name not in known] if row is not None else []
    steady = {
        each.name: sql.SQL("left(md5({}::text), 8)").format(defaults.value(each))
        for each in defaults.comparable(cursor, missing)
    }
    added |= {each.name: steady.get(each.name, _digest(each.name, "t")) for each in missing}
    cursor.execute(
        sql.SQL(
            "INSERT INTO {ledger} (seed_set, relation, key, content)"
            " SELECT e.seed_set, e.relation, {key}, (e.content - {gone}::text[]) || {added}"
            " FROM (SELECT e.*, {of_entry} AS known, row_number() OVER (PARTITION BY e.seed_set, {of_entry}"
            "   ORDER BY e.key) AS number FROM {entries} AS e"
            "  WHERE e.key ?& {keys} AND e.key - {keys} = '{{}}'"
            "  AND e.content ?& {contents} AND e.content - {contents} = '{{}}') AS e"
            " JOIN (SELECT t.*, {of_row} AS {known}, row_number() OVER (PARTITION BY {of_row}"
            "   ORDER BY {as_added} DESC) AS {number} FROM {rows} AS t) AS t"
            " ON t.{known} = e.known AND t.{number} = e.number ON CONFLICT DO NOTHING"
        ).format(
            ledger=LEDGER,
            key=_key(table, "t"),
            gone=sql.Literal([name for name in content if name not in columns or name in table.primary_key]),
            added=_object(added),
            entries=entries,
            keys=sql.SQL("{}::text[]").format(sql.Literal(key)),
            contents=sql.SQL("{}::text[]").format(sql.Literal(content)),
            of_entry=_object({name: known[name] for name in found_by}),
            of_row=_object({name: _digest(name, "t") for name in found_by}),
            as_added=sql.SQL("{} = {}").format(_object({name: _digest(name, "t") for name in steady}), _object(steady)),
            rows=table.rows,
            known=sql.Identifier(f"{own}known"),
            number=sql.Identifier(f"{own}number"),
        )
    )


def _object(values: Mapping[str, sql.Composable]) -> sql.Composed:
    """Return an object of texts by name."""
    return sql.SQL("jsonb_object({}::text[], ARRAY[{}]::text[])").format(
        sql.Literal([*values]), sql.SQL(", ").join(values.values())
    )


def record_loaded(cursor: Cursor, loaded: Staged, *, recorded: bool) -> None:
    """Record that every row of a table is from one file.

    Args:
        cursor: in the merge's transaction.
        loaded: the table.
        recorded: the ledger has rows of it that are not there any more.
    """
    table, (each,) = loaded.table, loaded.batches
    seed_set, relation = sql.Literal(each.fixture.seed_set), sql.Literal(table.qualified)
    if recorded:
        cursor.execute(
            sql.SQL("DELETE FROM {} WHERE relation = {} AND seed_set = {}").format(LEDGER, relation, seed_set)
        )
    # nearly in the order of the ledger's key, so that the pages of its index are written once each
    cursor.execute(
        sql.SQL(
            "INSERT INTO {} (seed_set, relation, key, content) SELECT {}, {}, {}, {} FROM {} AS t ORDER BY {}"
        ).format(
            LEDGER,
            seed_set,
            relation,
            _key(table, "t"),
            _digests([name for name in each.batch.columns if name not in table.primary_key], "t"),
            table.identifier,
            sql.SQL(", ").join(
                sql.SQL('{}::text COLLATE "C"').format(sql.Identifier("t", name)) for name in table.primary_key
            ),
        )
    )


def forget_tables(cursor: Cursor, sets: Sequence[str], relations: Iterable[str]) -> None:
    """Remove the rows of tables that the sets have no files of any more; what was noted of such a table, too."""
    cursor.execute(
        sql.SQL("DELETE FROM {} WHERE seed_set = ANY({}) AND relation = ANY({})").format(
            LEDGER, sql.Literal([*sets, ""]), sql.Literal([*relations])
        )
    )


def find_left(cursor: Cursor, staged: Staged, sets: Sequence[str]) -> Staged:
    """Find the entries of the sets that have no row in the sets' files any more.

    A row is not a set's any more when it left the files, or when its line moved to the files of another set.

    Returns:
        The table with the number of these entries.
    """
    table = staged.table
    here = [
        sql.SQL("s.{} = {}").format(sql.Identifier(name), _typed(table, name, "l.key")) for name in table.primary_key
    ]
    cursor.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT l.seed_set, l.key FROM {} AS l"
            " WHERE l.relation = {} AND l.seed_set = ANY({}) AND NOT EXISTS"
            " (SELECT FROM {} AS s WHERE {} AND {} = l.seed_set)"
        ).format(
            staged.gone,
            LEDGER,
            sql.Literal(table.qualified),
            sql.Literal([*sets]),
            staged.staged,
            sql.SQL(" AND ").join(here),
            _set_of(staged, "s"),
        )
    )
    return msgspec.structs.replace(staged, left=cursor.rowcount)


def record(cursor: Cursor, staged: Staged, recorded_by: Collection[str]) -> None:
    """Record which rows are the sets' now, and remove the entries that `find_left` found.

    Args:
        cursor: in the merge's transaction.
        staged: the table.
        recorded_by: the sets that had inserted rows of it.
    """
    if staged.changes:
        _claim(cursor, staged)
    if recorded_by and len({*recorded_by, *(each.fixture.seed_set for each in staged.batches)}) > 1:
        _claim_unchanged(cursor, staged)
    if staged.left:
        cursor.execute(
            sql.SQL(
                "DELETE FROM {} AS l USING {} AS g WHERE l.relation = {} AND (l.key, l.seed_set) = (g.key, g.seed_set)"
            ).format(LEDGER, staged.gone, sql.Literal(staged.table.qualified))
        )


def _claim(cursor: Cursor, staged: Staged) -> None:
    """Record the rows that were inserted, and of those that were updated the ones that some set had inserted before.

    Every row is recorded with digests of what was written. By them the next seed tells somebody's edit from a change
    of the file.
    """
    table, own = staged.table, staged.own
    stored = sql.SQL("JOIN {} AS t ON {}").format(table.rows, same_key(table, "t", "i"))
    cursor.execute(
        sql.SQL(
            "INSERT INTO {ledger} AS l (seed_set, relation, key, content)"
            # a column that the file names no longer keeps the digest of what was written there
            " SELECT {seed_set}, {relation}, {key}, coalesce(o.content, '{{}}') || {digests}"
            " FROM {outcome} AS i {stored}"
            # the limit lets each row be looked up, where a join would read the whole ledger
            " LEFT JOIN LATERAL (SELECT o.content FROM {ledger} AS o"
            "  WHERE NOT i.{new} AND o.relation = {relation} AND o.key = {key}"
            "  ORDER BY o.seed_set = {seed_set} DESC LIMIT 1) AS o ON true"
            " WHERE NOT i.{suppressed} AND (i.{new} OR o.content IS NOT NULL)"
            " ON CONFLICT (relation, key, seed_set) DO UPDATE SET content = excluded.content"
        ).format(
            ledger=LEDGER,
            seed_set=_set_of(staged, "i"),
            relation=sql.Literal(table.qualified),
            key=_key(table, "i"),
            digests=_digests_of(staged, "t" if table.triggers else "i", "i"),
            outcome=staged.outcome,
            stored=stored if table.triggers else sql.SQL(""),
            suppressed=own.suppressed,
            new=own.new,
        )
    )


def _claim_unchanged(cursor: Cursor, staged: Staged) -> None:
    """Record the rows that are as they were, and that other sets had inserted before, but not the one of their line."""
    table = staged.table
    cursor.execute(
        sql.SQL(
            "INSERT INTO {ledger} AS l (seed_set, relation, key, content)"
            " SELECT {seed_set}, {relation}, {key}, (SELECT o.content FROM {ledger} AS o WHERE o.relation = {relation}"
            "  AND o.key = {key} LIMIT 1) || {digests} FROM {staged} AS s JOIN {table} AS t ON {same}"
            " WHERE NOT EXISTS (SELECT FROM {outcome} AS i WHERE {changed})"
            " AND EXISTS (SELECT FROM {ledger} AS o WHERE o.relation = {relation} AND o.key = {key})"
            " AND NOT EXISTS (SELECT FROM {ledger} AS p"
            "  WHERE p.relation = {relation} AND p.key = {key} AND p.seed_set = {seed_set})"
        ).format(
            ledger=LEDGER,
            seed_set=_set_of(staged, "s"),
            relation=sql.Literal(table.qualified),
            key=_key(table, "t"),
            digests=_digests_of(staged, "t", "s"),
            staged=staged.staged,
            table=table.rows,
            same=same_key(table, "t", "s"),
            outcome=staged.outcome,
            changed=same_key(table, "i", "s"),
        )
    )


def _digests_of(staged: Staged, stored: str, written: str) -> sql.Composed:
    """Return the digests of the columns that a row's file names; of what is stored and what was written."""
    cases = [
        sql.SQL("WHEN {} THEN {}").format(
            sql.Literal(each.number),
            _digests([name for name in each.batch.columns if name not in staged.table.primary_key], stored, written),
        )
        for each in staged.batches
    ]
    return sql.SQL("CASE {}.{} {} END").format(sql.Identifier(written), staged.own.batch, sql.SQL(" ").join(cases))


def rewritten(table: Table, column: str, stored: str, written: str) -> sql.Composed:
    """Return the condition that a trigger made of a value what is stored, when a seed wrote the same value before.

    Args:
        table: the table.
        column: the column of it.
        stored: the alias of the table.
        written: the alias of the files' rows.
    """
    return sql.SQL(
        "EXISTS (SELECT FROM {} AS l WHERE l.relation = {} AND l.key = {} AND l.content ->> {} = concat({}, '/', {}))"
    ).format(
        LEDGER,
        sql.Literal(table.qualified),
        _key(table, stored),
        sql.Literal(column),
        _digest(column, stored),
        _digest(column, written),
    )


def _key(table: Table, alias: str) -> sql.Composed:
    """Return a row's key as the ledger holds it."""
    values = [sql.SQL("{}::text").format(sql.Identifier(alias, name)) for name in table.primary_key]
    # quicker than jsonb_build_object, which looks up the type of each argument for each row
    return sql.SQL("jsonb_object({}::text[], ARRAY[{}])").format(
        sql.Literal([*table.primary_key]), sql.SQL(", ").join(values)
    )


def _digests(columns: Sequence[str], stored: str, written: str | None = None) -> sql.Composed:
    """Return the digests of a row's values by column. A digest shows a change, and is too short to tell the value.

    Where a trigger stored another value than the seed wrote, both digests are kept, with a slash between them.
    """
    values = [
        _digest(name, stored)
        if written in {None, stored}
        else sql.SQL("CASE WHEN {0} IS DISTINCT FROM {1} THEN concat({0}, '/', {1}) ELSE {0} END").format(
            _digest(name, stored), _digest(name, str(written))
        )
        for name in columns
    ]
    return sql.SQL("jsonb_object({}::text[], ARRAY[{}]::text[])").format(
        sql.Literal([*columns]), sql.SQL(", ").join(values)
    )


def _digest(column: str, alias: str) -> sql.Composed:
    return sql.SQL("left(md5({}::text), 8)").format(sql.Identifier(alias, column))


def _set_of(staged: Staged, alias: str) -> sql.Composed:
    """Return the seed set that a row of the outcome comes from."""
    cases = [
        sql.SQL("WHEN {} THEN {}").format(sql.Literal(each.number), sql.Literal(each.fixture.seed_set))
        for each in staged.batches
    ]
    return sql.SQL("CASE {}.{} {} END").format(sql.Identifier(alias), staged.own.batch, sql.SQL(" ").join(cases))


class Deletion(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a table that will be deleted: a seed set inserted them, and their lines have left its files.

    Args:
        table: the table.
        number: tells its temporary table from those of other tables.
        count: how many rows there are.
        kept: the rows that stay, since somebody edited them or made them anew: each key, and the edited columns.
    """

    table: Table
    number: int
    count: int
    kept: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def rows(self) -> sql.Identifier:
        """The temporary table that holds the rows."""
        return sql.Identifier("pg_temp", f"seedtool_deletion_{self.number}")


def find_deletions(
    cursor: Cursor,
    catalog: Catalog,
    staged: Mapping[int, Staged],
    sets: Sequence[str],
    bindings: Mapping[int, FaceBinding],
    relations: Collection[str],
) -> dict[int, Deletion]:
    """Find and lock the rows that the sets inserted and that none of their files has any more.

    A row stays when a set that is not loaded now has inserted it, too, or when a value of it is not the one that a seed
    wrote last: then somebody edited it, or deleted it and made another one under its key.

    Args:
        cursor: in the merge's transaction.
        catalog: the database's tables.
        staged: the tables of the files, by oid; `find_left` has looked at those that may have such rows.
        sets: the seed sets.
        bindings: the face bindings by the oids of their tables.
        relations: the tables that may have such rows, schema and name.

    Returns:
        The deletions by the table's oid, children first.
    """
    tables = [table for table in catalog.tables.values() if table.qualified in relations and table.primary_key]
    found: dict[int, Deletion] = {}
    for number, table in enumerate(reversed(catalog.parents_first(tables))):
        if table.oid in staged and not staged[table.oid].left:
            continue
        deletion = Deletion(table=table, number=number, count=0)
        gone = _gone(table, staged.get(table.oid), sets)
        if table.row_key is None:
            cursor.execute(sql.SQL("SELECT FROM {} AS t WHERE {} FOR UPDATE OF t").format(table.rows, gone))
        else:  # rows that are numbered cannot be locked one by one
            cursor.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table.identifier))
        if cursor.rowcount or table.row_key is not None:
            # a second statement, since only that one sees what others committed while the first one waited
            cursor.execute(
                sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT t.* FROM {} AS t WHERE {}").format(
                    deletion.rows, table.rows, gone
                )
            )
            count = cursor.rowcount
            kept = _keep_edited(cursor, deletion, sets, bindings.get(table.oid))
            found[table.oid] = msgspec.structs.replace(deletion, count=count - len(kept), kept=kept)
    return found


def _keep_edited(
    cursor: Cursor, deletion: Deletion, sets: Sequence[str], binding: FaceBinding | None
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Take out of a deletion the rows that no entry of the sets describes; return their keys and what differs.

    A column that the file named has its digest in the entry. A column that it left out had its default.
    """
    table = deletion.table
    ours = {*table.primary_key} | ({binding.face_id, binding.indexed_at, binding.quality} if binding else set())
    columns = [column for column in table.columns.values() if column.name not in ours and not column.generated]
    # of a column that the file left out there is no digest; a trigger may have filled it in
    others = [] if table.triggers else defaults.comparable(cursor, columns)
    found = cursor.execute(
        sql.SQL(
            "DELETE FROM {rows} AS d USING (SELECT DISTINCT ON (t.ctid) t.ctid AS place, e.edited FROM {rows} AS t"
            " CROSS JOIN LATERAL (SELECT {digests} AS content) AS n"
            " JOIN {ledger} AS l ON l.relation = {relation} AND l.key = {key} AND l.seed_set = ANY({sets})"
            " CROSS JOIN LATERAL (SELECT ARRAY("
            "   SELECT c.key FROM jsonb_each_text(l.content) AS c WHERE n.content ? c.key"
            "   AND nullif(split_part(c.value, '/', 1), '') IS DISTINCT FROM n.content ->> c.key ORDER BY 1)"
            "  || array_remove(ARRAY[{others}]::text[], NULL) AS edited"
            " ) AS e ORDER BY t.ctid, cardinality(e.edited)) AS f"
            " WHERE f.place = d.ctid AND f.edited <> '{{}}' RETURNING {shown}, f.edited"
        ).format(
            rows=deletion.rows,
            key=_key(table, "t"),
            digests=_digests([each.name for each in columns], "t"),
            others=sql.SQL(", ").join(
                sql.SQL("CASE WHEN NOT l.content ? {0} AND {1} THEN {0} END").format(
                    sql.Literal(each.name), defaults.differs(each, "t")
                )
                for each in others
            ),
            ledger=LEDGER,
            relation=sql.Literal(table.qualified),
            sets=sql.Literal([*sets]),
            shown=key_text(table, "d"),
        )
    ).fetchall()
    return tuple(sorted((key, tuple(edited)) for key, edited in found))


def _gone(table: Table, staged: Staged | None, sets: Sequence[str]) -> sql.Composed:
    """Return the condition that a row `t` is in the ledger and not in the files."""
    entries: sql.Composable = (
        staged.gone
        if staged is not None
        else sql.SQL("(SELECT * FROM {} WHERE relation = {} AND seed_set = ANY({}))").format(
            LEDGER, sql.Literal(table.qualified), sql.Literal([*sets])
        )
    )
    gone = sql.SQL(
        "({}) IN (SELECT {} FROM {} AS l WHERE NOT EXISTS"
        " (SELECT FROM {} AS o WHERE o.relation = {} AND o.key = l.key AND o.seed_set <> ALL({})))"
    ).format(
        names(table.primary_key, "t"),
        sql.SQL(", ").join(_typed(table, name, "l.key") for name in table.primary_key),
        entries,
        LEDGER,
        sql.Literal(table.qualified),
        sql.Literal([*sets]),
    )
    if staged is None:
        return gone
    return sql.SQL("{} AND NOT EXISTS (SELECT FROM {} AS s WHERE {})").format(
        gone, staged.staged, same_key(table, "s", "t")
    )


def _typed(table: Table, name: str, key: str) -> sql.Composed:
    """Return the value of a column of a key that the ledger holds."""
    return sql.SQL("({} ->> {})::{}").format(sql.SQL(key), sql.Literal(name), sql.SQL(table.columns[name].type))


def check_deletions(
    cursor: Cursor, catalog: Catalog, staged: Mapping[int, Staged], deletions: Mapping[int, Deletion]
) -> None:
    """Check that no row which stays refers to a row that will be deleted.

    Otherwise the delete would fail, or by its foreign key delete or change the row that stays.

    Raises:
        FixtureError: the row that stays is in the files.
        SeedError: the row that stays is not in the files; somebody else inserted it.
    """
    for parent in deletions.values():
        for key in catalog.referencing(parent.table):
            child = catalog.tables[key.table]
            in_files = staged.get(child.oid)
            query = _referring(key, parent, child, in_files, deletions.get(child.oid))
            found = cursor.execute(query).fetchone()
            if found is None:
                continue
            *at, child_key, parent_key = found
            if in_files is not None and at[0] is not None:
                raise in_files.error(
                    (at[0], at[1]),
                    f"the row refers to row {parent_key} of {parent.table}, whose line has left the files",
                    columns=key.columns,
                    remedy="Put that line back, or let this row refer to another one.",
                )
            raise SeedError(
                f"row {parent_key} of {parent.table} has left the files and cannot be deleted: "
                f"row {child_key} of {child}, which no seed set put there or somebody edited since, refers to it",
                remedy="Delete or change that row, put the line back, or seed with --no-prune.",
                table=str(parent.table),
            )


def _referring(
    key: ForeignKey, parent: Deletion, child: Table, staged: Staged | None, deletion: Deletion | None
) -> sql.Composed:
    """Return the query for a row that stays and still refers to a deleted row once the seed is done."""
    stays: list[sql.Composable] = [sql.SQL("true")]
    place: sql.Composable = sql.SQL("NULL, NULL")
    joined: sql.Composable = sql.SQL("")
    if deletion is not None:
        stays.append(
            sql.SQL("NOT EXISTS (SELECT FROM {} AS g WHERE {})").format(deletion.rows, same_key(child, "g", "c"))
        )
    if staged is not None:
        own = staged.own
        place = sql.SQL("s.{}, s.{}").format(own.batch, own.line)
        joined = sql.SQL("LEFT JOIN {} AS s ON {} LEFT JOIN {} AS i ON {}").format(
            staged.staged, same_key(child, "s", "c"), staged.outcome, same_key(child, "i", "c")
        )
        stays.append(
            sql.SQL("(i.{} IS NULL OR ({}) = ({}))").format(
                own.batch, names(key.columns, "i"), names(key.referenced_columns, "d")
            )
        )
    return sql.SQL("SELECT {}, {}, {} FROM {} AS c JOIN {} AS d ON ({}) = ({}) {} WHERE {} LIMIT 1").format(
        place,
        key_text(child, "c"),
        key_text(parent.table, "d"),
        child.rows,
        parent.rows,
        names(key.columns, "c"),
        names(key.referenced_columns, "d"),
        joined,
        sql.SQL(" AND ").join(stays),
    )


def deleted_keys(cursor: Cursor, deletion: Deletion, limit: int) -> list[str]:
    """Return the keys of the rows that will be deleted."""
    found = cursor.execute(
        sql.SQL("SELECT {} FROM {} AS d ORDER BY 1 LIMIT {}").format(
            key_text(deletion.table, "d"), deletion.rows, sql.Literal(limit)
        )
    )
    return [key for (key,) in found]


def drop_deletions(cursor: Cursor, deletions: Iterable[Deletion]) -> None:
    """Drop the temporary tables, since the transaction may go on."""
    for each in deletions:
        cursor.execute(sql.SQL("DROP TABLE {}").format(each.rows))
