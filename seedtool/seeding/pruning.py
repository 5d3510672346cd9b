"""Pruning: which rows have left the files and are to go, and whether they can without taking another row along."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from psycopg import sql

from seedtool.errors import SeedError
from seedtool.postgres.catalog import Catalog, ForeignKey, Table
from seedtool.seeding.ledger import LEDGER
from seedtool.seeding.staging import BATCH, LINE, Cursor, Staged, key_text, names, same_key


class Doomed(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a table that are to go: a seed set put them there and their lines have left its files."""

    table: Table
    number: int
    rows: int

    @property
    def name(self) -> sql.Identifier:
        """The temporary table that holds them."""
        return sql.Identifier("pg_temp", f"seedtool_doomed_{self.number}")


def find_doomed(
    cursor: Cursor, catalog: Catalog, staged: Mapping[int, Staged], sets: Sequence[str]
) -> dict[int, Doomed]:
    """Find and lock the rows that the sets once put there and that none of their files names any more.

    A row that another set put there too, one not loaded now, stays. Returned by the table's oid, children first.
    """
    relations = {
        relation
        for (relation,) in cursor.execute(
            sql.SQL("SELECT DISTINCT relation FROM {} WHERE seed_set = ANY({})").format(LEDGER, sql.Literal([*sets]))
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
        LEDGER,
        sql.Literal(table.qualified),
        sets=sql.Literal([*sets]),
        ledger=LEDGER,
    )
    if staged is None:
        return gone
    return sql.SQL("{} AND NOT EXISTS (SELECT FROM {} AS s WHERE {})").format(
        gone, staged.staged, same_key(table, "s", "t")
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
            image = staged.get(child.oid)
            query = _referring(key, parent, child, image, doomed.get(child.oid))
            found = cursor.execute(query).fetchone()
            if found is None:
                continue
            *at, child_key, parent_key = found
            if image is not None and at[0] is not None:
                raise image.error(
                    (at[0], at[1]),
                    f"refers to row {parent_key} of {parent.table}, whose line has left the files",
                    columns=key.columns,
                    remedy="Put that line back, or let this row refer to another one.",
                )
            raise SeedError(
                f"row {parent_key} of {parent.table} has left the files and cannot be deleted: "
                f"row {child_key} of {child}, which no seed set put there, refers to it",
                remedy="Delete or change that row, put the line back, or seed with --no-prune.",
            )


def _referring(
    key: ForeignKey, parent: Doomed, child: Table, image: Staged | None, doomed: Doomed | None
) -> sql.Composed:
    """Return the query for a row that stays and, when all is done, still refers to one that goes."""
    stays: list[sql.Composable] = [sql.SQL("true")]
    place: sql.Composable = sql.SQL("NULL, NULL")
    joined: sql.Composable = sql.SQL("")
    if doomed is not None:
        stays.append(
            sql.SQL("NOT EXISTS (SELECT FROM {} AS g WHERE {})").format(doomed.name, same_key(child, "g", "c"))
        )
    if image is not None:
        place = sql.SQL("i.{}, i.{}").format(BATCH, LINE)
        joined = sql.SQL("LEFT JOIN {} AS i ON {}").format(image.image, same_key(child, "i", "c"))
        stays.append(
            sql.SQL("(i.{} IS NULL OR ({}) = ({}))").format(
                BATCH, names(key.columns, "i"), names(key.referenced_columns, "d")
            )
        )
    return sql.SQL("SELECT {}, {}, {} FROM {} AS c JOIN {} AS d ON ({}) = ({}) {} WHERE {} LIMIT 1").format(
        place,
        key_text(child, "c"),
        key_text(parent.table, "d"),
        child.identifier,
        parent.name,
        names(key.columns, "c"),
        names(key.referenced_columns, "d"),
        joined,
        sql.SQL(" AND ").join(stays),
    )


def doomed_keys(cursor: Cursor, doomed: Doomed, limit: int) -> list[str]:
    """Return the keys of the rows that will be deleted."""
    found = cursor.execute(
        sql.SQL("SELECT {} FROM {} AS d ORDER BY 1 LIMIT {}").format(
            key_text(doomed.table, "d"), doomed.name, sql.Literal(limit)
        )
    )
    return [key for (key,) in found]


def forget_doomed(cursor: Cursor, doomed: Iterable[Doomed]) -> None:
    """Drop the temporary tables, for a transaction that goes on."""
    for each in doomed:
        cursor.execute(sql.SQL("DROP TABLE {}").format(each.name))
