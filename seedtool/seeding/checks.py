"""Checks of the staged rows, so that a fault is told with its file and line before anything is written."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from psycopg import sql

from seedtool.postgres.catalog import Catalog, Column, ForeignKey, UniqueKey
from seedtool.seeding.pruning import Doomed
from seedtool.seeding.staging import (
    BATCH,
    CHANGED,
    LINE,
    NEW,
    ORDER,
    ROUND,
    Cursor,
    Staged,
    key_text,
    names,
    same_key,
)


def check_keys(cursor: Cursor, staged: Staged) -> None:
    """Check that every row has a key, and no two rows the same."""
    key = staged.table.primary_key
    missing = cursor.execute(
        sql.SQL("SELECT {0}, {1} FROM {2} WHERE {3} ORDER BY {0}, {1} LIMIT 1").format(
            BATCH,
            LINE,
            staged.staged,
            sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(sql.Identifier(name)) for name in key),
        )
    ).fetchone()
    if missing is not None:
        raise staged.error(missing, "the key is empty", columns=key, remedy="Give the row a key of its own.")
    repeated = cursor.execute(
        sql.SQL(
            "SELECT * FROM (SELECT {0}, {1}, lag({0}) OVER same, lag({1}) OVER same AS before FROM {2}"
            " WINDOW same AS (PARTITION BY {3} ORDER BY {0}, {1})) AS rows"
            " WHERE before IS NOT NULL ORDER BY {0}, {1} LIMIT 1"
        ).format(BATCH, LINE, staged.staged, names(key))
    ).fetchone()
    if repeated is not None:
        raise staged.error(
            repeated[:2],
            f"a row of {staged.table} with the same key stands at {staged.place(repeated[2:])}",
            columns=key,
            remedy="Remove one of the two rows, or give it another key.",
        )


def check_not_null(cursor: Cursor, staged: Staged) -> None:
    """Check that no column which must have a value stays without one."""
    table = staged.table
    if table.fills_in:
        return  # a trigger may yet give it; the merge will tell
    conditions = {column.name: _lacking(staged, column) for column in table.columns.values() if column.not_null}
    conditions = {name: condition for name, condition in conditions.items() if condition is not None}
    if not conditions:
        return
    found = cursor.execute(
        sql.SQL("SELECT {}, {}, CASE {} END FROM {} WHERE {} ORDER BY {} LIMIT 1").format(
            BATCH,
            LINE,
            sql.SQL(" ").join(
                sql.SQL("WHEN {} THEN {}").format(condition, sql.Literal(name))
                for name, condition in conditions.items()
            ),
            staged.image,
            sql.SQL(" OR ").join(conditions.values()),
            ORDER,
        )
    ).fetchone()
    if found is None:
        return
    batch, line, name = found
    if staged.binding is not None and name == staged.binding.face_id:
        raise staged.error(
            (batch, line),
            f"the row has neither {name} nor {staged.binding.external_image_id}",
            columns=(staged.binding.external_image_id,),
            remedy="Give the id under which the photo is indexed; the placeholder is made of it.",
        )
    if not staged.has_column(batch, name):
        raise staged.error(
            (batch, line),
            f"the column is missing, and a row of {table} must have a value in it",
            columns=(name,),
            header=True,
            remedy="Add the column.",
        )
    has_default = table.columns[name].default is not None
    raise staged.error(
        (batch, line),
        f"a row of {table} must have a value in this column",
        columns=(name,),
        remedy="Fill the cell" + (", or leave the column out to get its default." if has_default else "."),
    )


def _lacking(staged: Staged, column: Column) -> sql.Composable | None:
    """Return the condition that a row lacks the column's value; None when that cannot be."""
    if column.generated or column.name in staged.table.primary_key:
        return None
    named = [each.number for each in staged.batches if column.name in each.batch.columns]
    managed = staged.binding is not None and column.name == staged.binding.face_id
    given_anyway = column.default is not None or bool(column.identity)
    if given_anyway and not managed:
        if not named:
            return None
        return sql.SQL("({} IS NULL AND {} = ANY({}))").format(sql.Identifier(column.name), BATCH, sql.Literal(named))
    return sql.SQL("{} IS NULL").format(sql.Identifier(column.name))


def check_unique(cursor: Cursor, staged: Staged, doomed: Doomed | None) -> int:
    """Check every unique key of a table, and give the updates an order in which each value is free when it is taken.

    A value may move from row to row (a renumbering); rows that exchange values have no such order.

    Returns:
        In how many rounds the updates are to be made; each row's round stands in the image.
    """
    waits: dict[int, set[int]] = {}
    for key in staged.table.keys:
        if key.primary or any(staged.table.columns[name].generated for name in key.columns):
            continue
        _check_repeated(cursor, staged, key)
        for waiting, holder in _check_taken(cursor, staged, key, doomed):
            waits.setdefault(waiting, set()).add(holder)
    if not waits:
        return 1
    try:
        order = list(TopologicalSorter(waits).static_order())
    except CycleError as error:
        raise _exchanged(cursor, staged, error.args[1]) from error
    rounds: dict[int, int] = {}
    for row in order:
        rounds[row] = 1 + max((rounds[holder] for holder in waits.get(row, ())), default=-1)
    for number in sorted(set(rounds.values()) - {0}):
        rows = [row for row, its_round in rounds.items() if its_round == number]
        cursor.execute(
            sql.SQL("UPDATE {} SET {} = {} WHERE {} = ANY({}::bigint[])").format(
                staged.image, ROUND, sql.Literal(number), ORDER, sql.Literal(rows)
            )
        )
    return 1 + max(rounds.values())


def _keyed(key: UniqueKey, relation: sql.Composable, more: sql.Composable) -> sql.Composed:
    """Return the rows of a relation that a unique key looks at, its values as k1, k2, ..."""
    aliased = [
        sql.SQL("{} AS {}").format(sql.SQL(each), sql.Identifier(f"k{n}")) for n, each in enumerate(key.expressions)
    ]
    conditions: list[sql.Composable] = [] if key.predicate is None else [sql.SQL("({})").format(sql.SQL(key.predicate))]
    if key.nulls_distinct:
        conditions += [sql.SQL("({}) IS NOT NULL").format(sql.SQL(each)) for each in key.expressions]
    return sql.SQL("(SELECT {}, {} FROM {} WHERE {})").format(
        more, sql.SQL(", ").join(aliased), relation, sql.SQL(" AND ").join(conditions or [sql.SQL("true")])
    )


def _check_repeated(cursor: Cursor, staged: Staged, key: UniqueKey) -> None:
    repeated = cursor.execute(
        sql.SQL(
            "SELECT * FROM (SELECT {0}, {1}, lag({0}) OVER same, lag({1}) OVER same AS before, {2} FROM {3} AS rows"
            " WINDOW same AS (PARTITION BY {4} ORDER BY {2})) AS rows WHERE before IS NOT NULL ORDER BY {2} LIMIT 1"
        ).format(
            BATCH,
            LINE,
            ORDER,
            _keyed(key, staged.image, sql.SQL("{}, {}, {}").format(BATCH, LINE, ORDER)),
            names(f"k{place}" for place, _ in enumerate(key.expressions)),
        )
    ).fetchone()
    if repeated is not None:
        raise staged.error(
            repeated[:2],
            f"the value is also at {staged.place(repeated[2:4])}; {key.name} lets one row of {staged.table} have it",
            columns=key.columns,
            remedy="Change one of the two.",
        )


def _check_taken(cursor: Cursor, staged: Staged, key: UniqueKey, doomed: Doomed | None) -> list[tuple[int, int]]:
    """Return the rows that wait for another one to give its value up, each with that other one.

    Raises:
        FixtureError: a row that is not in the files has the value and will keep it.
    """
    table = staged.table
    equal = sql.SQL("{} = {}" if key.nulls_distinct else "{} IS NOT DISTINCT FROM {}")
    match = [equal.format(*(sql.Identifier(a, f"k{n}") for a in "it")) for n, _ in enumerate(key.expressions)]
    touched = sql.SQL("{}, {}, {}, {}, {}").format(BATCH, LINE, ORDER, NEW, CHANGED)
    found = cursor.execute(
        sql.SQL(
            "SELECT i.{batch}, i.{line}, i.{order}, i.{new}, h.{order}, {key} FROM {wanted} AS i"
            " JOIN {held} AS t ON {match} AND NOT ({same})"
            " LEFT JOIN {image} AS h ON {held_here}"
            " WHERE (i.{new} OR i.{changed} <> '{{}}') AND {stays} ORDER BY h.{order} IS NOT NULL, i.{order}"
        ).format(
            batch=BATCH,
            line=LINE,
            order=ORDER,
            new=NEW,
            changed=CHANGED,
            key=key_text(table, "t"),
            wanted=_keyed(key, staged.image, sql.SQL("{}, {}").format(touched, names(table.primary_key))),
            held=_keyed(key, table.identifier, names(table.primary_key)),
            match=sql.SQL(" AND ").join(match),
            same=same_key(table, "i", "t"),
            image=staged.image,
            held_here=same_key(table, "h", "t"),
            stays=sql.SQL("true")
            if doomed is None
            else sql.SQL("NOT EXISTS (SELECT FROM {} AS d WHERE {})").format(doomed.name, same_key(table, "d", "t")),
        )
    ).fetchall()
    for batch, line, _, _, holder, holder_key in found:
        if holder is None:
            raise staged.error(
                (batch, line),
                f"row {holder_key}, not in the files, has this value; {key.name} lets one row of {table} have it",
                columns=key.columns,
                remedy="Change the value, or delete that row.",
            )
    # rows are inserted after all updates, so only updates wait for one another
    return [(row, holder) for _, _, row, new, holder, _ in found if not new and key.immediate]


def _exchanged(cursor: Cursor, staged: Staged, cycle: Sequence[int]) -> Exception:
    first, second = sorted(set(cycle))[:2]
    places = cursor.execute(
        sql.SQL("SELECT {0}, {1}, {2} FROM {3} WHERE {4} IN ({5}, {6}) ORDER BY {4}").format(
            BATCH, LINE, CHANGED, staged.image, ORDER, sql.Literal(first), sql.Literal(second)
        )
    ).fetchall()
    (batch, line, changed), (other_batch, other_line, _) = places
    unique = [name for key in staged.table.keys for name in key.columns if name in changed]
    return staged.error(
        (batch, line),
        f"the row exchanges a unique value with {staged.place((other_batch, other_line))}",
        columns=unique or changed,
        remedy="Seed twice: first with a third value in one of the two rows, then with the values exchanged. "
        "Or make the constraint DEFERRABLE in a migration.",
    )


def check_references(
    cursor: Cursor, catalog: Catalog, staged: Staged, tables: Mapping[int, Staged], doomed: Mapping[int, Doomed]
) -> None:
    """Check that every row which a new or changed row refers to is in the database or in the files."""
    for key in staged.table.foreign_keys:
        parent = catalog.tables[key.references]
        found = cursor.execute(
            _missing(catalog, staged, key, tables.get(parent.oid), doomed.get(parent.oid))
        ).fetchone()
        if found is not None:
            batch, line, value = found
            raise staged.error(
                (batch, line),
                f"no row of {parent} has {', '.join(key.referenced_columns)} = {value}",
                columns=key.columns,
                remedy=f"Add that row to the fixture of {parent}, or refer to one that exists.",
            )


def _missing(
    catalog: Catalog, staged: Staged, key: ForeignKey, parent_staged: Staged | None, parent_doomed: Doomed | None
) -> sql.Composed:
    """Return the query for the first row whose foreign key points at nothing."""
    parent = catalog.tables[key.references]
    refers = [
        sql.SQL("{} = {}").format(sql.Identifier("p", theirs), sql.Identifier("i", ours))
        for ours, theirs in zip(key.columns, key.referenced_columns, strict=True)
    ]
    in_database = list(refers)
    leaving = [] if parent_doomed is None else [parent_doomed.name]
    if parent_staged is not None and set(key.referenced_columns) != set(parent.primary_key):
        # the files may change what is referred to: of a row that they name, only what it will be counts
        leaving.append(parent_staged.image)
    in_database += [
        sql.SQL("NOT EXISTS (SELECT FROM {} AS o WHERE {})").format(each, same_key(parent, "o", "p"))
        for each in leaving
    ]
    there = [_exists(parent.identifier, in_database)]
    if parent_staged is not None:
        there.append(_exists(parent_staged.image, refers))
    return sql.SQL(
        "SELECT i.{}, i.{}, concat_ws(', ', {}) FROM {} AS i WHERE (i.{} OR i.{} && {}::text[]) AND {} AND {}"
        " ORDER BY i.{} LIMIT 1"
    ).format(
        BATCH,
        LINE,
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier("i", name)) for name in key.columns),
        staged.image,
        NEW,
        CHANGED,
        sql.Literal([*key.columns]),
        sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier("i", name)) for name in key.columns),
        sql.SQL(" AND ").join(sql.SQL("NOT {}").format(each) for each in there),
        ORDER,
    )


def _exists(relation: sql.Composable, conditions: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL("EXISTS (SELECT FROM {} AS p WHERE {})").format(relation, sql.SQL(" AND ").join(conditions))
