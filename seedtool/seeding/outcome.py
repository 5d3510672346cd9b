"""Outcomes: what each new or changed row will be once the seed is done, and the checks that it may be so.

A row's outcome has the file's values in the columns that the file names. In the other columns it has what the database
has, or would put there. A fault that is found here is reported with its file and line before anything is written.
"""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

import msgspec
from psycopg import sql

from seedtool.errors import FixtureError, SeedError
from seedtool.faces.external_id import PLACEHOLDER_PREFIX
from seedtool.postgres.catalog import Catalog, Column, ForeignKey, Table, UniqueKey
from seedtool.seeding.fixtures import Batch
from seedtool.seeding.ledger import Deletion, rewritten
from seedtool.seeding.staging import Cursor, OwnColumns, Place, Staged, key_text, names, same_key


def fill_placeholders(cursor: Cursor, staged: Staged, deletion: Deletion | None) -> None:
    """Give each row with an external image id the placeholder of its face; the key tells rows of one image apart.

    Rows share an image when they will have the same external image id once the seed is done. Updates are made before
    inserts but not all at once. So a placeholder counts as shared, too, when another row of the files still has it at
    the time of the update: otherwise two rows that exchange their images would wait for one another.

    Args:
        cursor: in the merge's transaction.
        staged: its keys must have been checked.
        deletion: the rows of the table that will be deleted, None without any.
    """
    if staged.binding is None or not staged.table.columns[staged.binding.face_id].is_text:
        return
    table, own, image = staged.table, staged.own, sql.Identifier(staged.binding.external_image_id)
    key = staged.binding.key if set(staged.binding.key) <= set(staged.columns) else table.primary_key
    named = [each.number for each in staged.batches if staged.binding.external_image_id in each.batch.columns]
    stays = [
        sql.SQL("NOT EXISTS (SELECT FROM {} AS o WHERE {})").format(each, same_key(table, "o", "t"))
        for each in (staged.staged, deletion.rows if deletion else None)
        if each is not None
    ]
    cursor.execute(
        sql.SQL(
            "WITH seedtool_uses AS (SELECT seedtool_image, count(*) > 1 AS seedtool_shared FROM"
            " (SELECT CASE WHEN s.{batch} = ANY({named}) THEN s.{image} ELSE t.{image} END AS seedtool_image"
            " FROM {staged} AS s LEFT JOIN {target} AS t ON {same}"
            " UNION ALL SELECT t.{image} FROM {target} AS t WHERE {stays}) AS r GROUP BY r.seedtool_image),"
            " seedtool_held AS (SELECT t.{face} AS seedtool_face FROM {staged} AS s JOIN {target} AS t ON {same}"
            " WHERE s.{batch} = ANY({named}) AND t.{image} IS DISTINCT FROM s.{image})"
            " UPDATE {staged} AS s SET {placeholder} = {prefix} || s.{image} || CASE WHEN u.seedtool_shared"
            " OR ({prefix} || s.{image} IN"
            " (SELECT h.seedtool_face FROM seedtool_held AS h WHERE h.seedtool_face IS NOT NULL)"
            " AND EXISTS (SELECT FROM {target} AS t WHERE {same}))"
            " THEN ':' || concat_ws(':', {key}) ELSE '' END"
            " FROM seedtool_uses AS u WHERE u.seedtool_image = s.{image}"
        ).format(
            batch=own.batch,
            named=sql.Literal(named),
            image=image,
            face=sql.Identifier(staged.binding.face_id),
            staged=staged.staged,
            target=table.rows,
            same=same_key(table, "s", "t"),
            stays=sql.SQL(" AND ").join(stays),
            placeholder=own.placeholder,
            prefix=sql.Literal(PLACEHOLDER_PREFIX),
            key=names(key, "s"),
        )
    )


def make_outcome(cursor: Cursor, staged: Staged) -> Staged:
    """Make the table of what each new or changed row will be. The keys must have been checked.

    Returns:
        The table with the number of these rows.
    """
    own = staged.own
    cursor.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS"
            " SELECT row_number() OVER (ORDER BY r.{}, r.{}) AS {}, 0 AS {}, r.* FROM {} ORDER BY 1"
        ).format(
            staged.outcome,
            own.batch,
            own.line,
            own.order,
            own.round,
            _changes(staged),
        )
    )
    changes = cursor.rowcount
    if changes:
        cursor.execute(sql.SQL("ANALYZE {}").format(staged.outcome))
    return msgspec.structs.replace(staged, changes=changes)


def has_changes(staged: Staged) -> sql.Composed:
    """Return the condition that a row of the files is not in the table as it is in the files."""
    # for EXISTS the planner would look each row up, in the hope that the first one has changed
    return sql.SQL("(SELECT count(*) FROM {}) > 0").format(_changes(staged))


def _changes(staged: Staged) -> sql.Composed:
    """Return the rows `r` that are new or change, each with what it will be, and their condition."""
    parts = [
        sql.SQL("SELECT {}, {} FROM {} AS s LEFT JOIN {} AS t ON {} WHERE s.{} = {}").format(
            _flags(staged, each.batch),
            sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(_final(staged, each.batch, column), sql.Identifier(column.name))
                for column in staged.table.columns.values()
            ),
            staged.staged,
            staged.table.rows,
            same_key(staged.table, "s", "t"),
            staged.own.batch,
            sql.Literal(each.number),
        )
        for each in staged.batches
    ]
    return sql.SQL("({}) AS r WHERE r.{} OR r.{} <> '{{}}'").format(
        sql.SQL(" UNION ALL ").join(parts), staged.own.new, staged.own.changed
    )


def _flags(staged: Staged, batch: Batch) -> sql.Composed:
    """Return where a row came from, whether it is new, and which of its columns change."""
    own = staged.own
    exists = sql.SQL("t.{} IS NOT NULL").format(sql.Identifier(staged.table.primary_key[0]))
    changes = [
        sql.SQL("CASE WHEN {} AND {}{} THEN {} END").format(
            exists,
            _differs(staged.table.columns[name], "t", "s"),
            sql.SQL(" AND NOT {}").format(rewritten(staged.table, name, "t", "s"))
            if staged.table.triggers
            else sql.SQL(""),
            sql.Literal(name),
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
    return sql.SQL(
        "s.{0}, s.{1}, NOT ({2}) AS {3}, array_remove(ARRAY[{4}]::text[], NULL) AS {5}, {8} AS {6}, false AS {7}"
    ).format(
        own.batch,
        own.line,
        exists,
        own.new,
        sql.SQL(", ").join(changes),
        own.changed,
        own.version,
        own.suppressed,
        _version(staged.table),
    )


def _version(table: Table) -> sql.Composable:
    """Return where a row of the alias `t` lies."""
    return sql.SQL("t.ctid") if table.row_key is None else sql.Identifier("t", table.row_key.place)


def _final(staged: Staged, batch: Batch, column: Column) -> sql.Composable:
    """Return the value that a column will have. The insert itself evaluates a default that has effects, once."""
    name = sql.Identifier(column.name)
    key = sql.Identifier(staged.table.primary_key[0])
    if column.name in staged.table.primary_key:
        return sql.SQL("coalesce(t.{0}, s.{0})").format(name)
    if staged.binding is not None and column.name == staged.binding.face_id:
        image = sql.Identifier(staged.binding.external_image_id)
        moved = sql.SQL("t.{0} IS DISTINCT FROM s.{0}").format(image) if staged.resets_face(batch) else sql.SQL("false")
        return sql.SQL(
            "CASE WHEN t.{0} IS NULL THEN coalesce(s.{1}, s.{2}::{4}) WHEN {3} THEN s.{2}::{4} ELSE t.{1} END"
        ).format(key, name, staged.own.placeholder, moved, sql.SQL(column.type))
    if column.name in batch.columns:
        return sql.SQL("s.{}").format(name)
    if column.default is None or column.default_has_effects:
        return sql.SQL("t.{}").format(name)
    return sql.SQL("CASE WHEN t.{0} IS NULL THEN ({1})::{2} ELSE t.{3} END").format(
        key, sql.SQL(column.default), sql.SQL(column.type), name
    )


#: What json takes and jsonb does not: a zero character, half of a surrogate pair, a number beyond numeric's range.
_NO_JSONB = r"\\u(0000|[dD][89a-fA-F])|[eE][+]?[0-9]{5}"


def _differs(column: Column, left: str, right: str) -> sql.Composed:
    """Return the condition that two aliases hold different values in a column."""
    sides = [sql.Identifier(alias, column.name) for alias in (left, right)]
    if column.value.comparison == "value":
        return sql.SQL("{} IS DISTINCT FROM {}").format(*sides)
    by_text = sql.SQL('{}::text COLLATE "C" IS DISTINCT FROM {}::text COLLATE "C"').format(*sides)
    if column.value.comparison == "text":
        return by_text
    return sql.SQL(
        "({0} AND CASE WHEN {1}::text ~ {3} OR {2}::text ~ {3} THEN true"
        " ELSE {1}::jsonb IS DISTINCT FROM {2}::jsonb END)"
    ).format(by_text, *sides, sql.Literal(_NO_JSONB))


def find_suppressed(cursor: Cursor, staged: Staged) -> tuple[int, int]:
    """Mark the rows that a trigger kept from being inserted or updated; the statement must have been executed.

    Returns:
        How many rows were not inserted, and how many not updated.
    """
    if not staged.table.triggers or not staged.changes:
        return 0, 0
    own, table = staged.own, staged.table
    cursor.execute(
        sql.SQL(
            "UPDATE {outcome} AS i SET {suppressed} = true"
            " WHERE (i.{new} AND NOT EXISTS (SELECT FROM {table} AS t WHERE {same}))"
            " OR (i.{changed} <> '{{}}' AND EXISTS (SELECT FROM {table} AS t WHERE {same} AND {place} = i.{version}))"
        ).format(
            outcome=staged.outcome,
            suppressed=own.suppressed,
            new=own.new,
            changed=own.changed,
            version=own.version,
            place=_version(table),
            table=table.rows,
            same=same_key(table, "t", "i"),
        )
    )
    if table.row_key is not None and cursor.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {} AS i WHERE i.{})").format(staged.outcome, own.suppressed)
    ).fetchone() == (True,):
        trigger = next((each for each in table.triggers if each.fills_in), table.triggers[0])
        raise SeedError(
            f"{table} has no key, so a row is found by all of its values, and the trigger {trigger.name} of"
            f" {trigger.table} changes them: the next seed could not find the row",
            remedy=f"Add a key in a migration: ALTER TABLE {table} ADD PRIMARY KEY (...)."
            ' Or seed without triggers: triggers = "off" in the profile.',
        )
    counted = cursor.execute(
        sql.SQL("SELECT count(*) FILTER (WHERE {0}), count(*) FILTER (WHERE NOT {0}) FROM {1} WHERE {2}").format(
            own.new, staged.outcome, own.suppressed
        )
    ).fetchone()
    return counted or (0, 0)


def suppressed_keys(cursor: Cursor, staged: Staged) -> set[str]:
    """Return the keys of the rows that `find_suppressed` marked."""
    query = sql.SQL("SELECT {} FROM {} AS i WHERE i.{}").format(
        key_text(staged.table, "i"), staged.outcome, staged.own.suppressed
    )
    return {key for (key,) in cursor.execute(query)}


def new_keys(cursor: Cursor, staged: Staged, limit: int) -> list[str]:
    """Return the keys of the rows that will be inserted."""
    own = staged.own
    found = cursor.execute(
        sql.SQL("SELECT {} FROM {} AS i WHERE i.{} ORDER BY i.{} LIMIT {}").format(
            key_text(staged.table, "i"), staged.outcome, own.new, own.order, sql.Literal(limit)
        )
    )
    return [key for (key,) in found]


def check_keys(cursor: Cursor, staged: Staged) -> None:
    """Check that every row has a key, and no two rows the same."""
    own = staged.own
    key = staged.table.primary_key
    missing = cursor.execute(
        sql.SQL("SELECT {0}, {1} FROM {2} WHERE {3} ORDER BY {0}, {1} LIMIT 1").format(
            own.batch,
            own.line,
            staged.staged,
            sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(sql.Identifier(name)) for name in key),
        )
    ).fetchone()
    if missing is not None:
        raise staged.error(missing, "the key is empty", columns=key, remedy="Give the row a key of its own.")
    repeated = cursor.execute(
        sql.SQL(
            "SELECT * FROM (SELECT {0}, {1}, lag({0}) OVER same, lag({1}) OVER same AS seedtool_before FROM {2}"
            " WINDOW same AS (PARTITION BY {3} ORDER BY {0}, {1})) AS r"
            " WHERE seedtool_before IS NOT NULL ORDER BY {0}, {1} LIMIT 1"
        ).format(own.batch, own.line, staged.staged, names(key))
    ).fetchone()
    if repeated is not None:
        raise staged.error(
            repeated[:2],
            f"a row of {staged.table} with the same key is at {staged.place(repeated[2:])}",
            columns=key,
            remedy="Remove one of the two rows, or give it another key.",
        )


def check_not_null(cursor: Cursor, staged: Staged) -> None:
    """Check that every column which must have a value gets one."""
    own = staged.own
    table = staged.table
    if table.fills_in:
        return  # a trigger may fill the column in; otherwise the insert fails
    conditions = {column.name: _lacking(staged, column) for column in table.columns.values() if column.not_null}
    conditions = {name: condition for name, condition in conditions.items() if condition is not None}
    if not conditions:
        return
    found = cursor.execute(
        sql.SQL("SELECT {}, {}, CASE {} END FROM {} WHERE {} ORDER BY {} LIMIT 1").format(
            own.batch,
            own.line,
            sql.SQL(" ").join(
                sql.SQL("WHEN {} THEN {}").format(condition, sql.Literal(name))
                for name, condition in conditions.items()
            ),
            staged.outcome,
            sql.SQL(" OR ").join(conditions.values()),
            own.order,
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
            remedy="Give the id under which the photo is indexed; the face's placeholder is made from it.",
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
    """Return the condition that a row lacks the column's value; None where no row can lack it."""
    if column.generated or column.name in staged.table.primary_key:
        return None
    named = [each.number for each in staged.batches if column.name in each.batch.columns]
    managed = staged.binding is not None and column.name == staged.binding.face_id
    given_anyway = column.default is not None or bool(column.identity)
    if given_anyway and not managed:
        if not named:
            return None
        return sql.SQL("({} IS NULL AND {} = ANY({}))").format(
            sql.Identifier(column.name), staged.own.batch, sql.Literal(named)
        )
    return sql.SQL("{} IS NULL").format(sql.Identifier(column.name))


def check_unique(cursor: Cursor, staged: Staged, deletion: Deletion | None) -> int:
    """Check every unique key of a table, and order the updates so that each value is free when a row takes it.

    A value may move from row to row, as in a renumbering. Rows that exchange values have no such order.

    Returns:
        The number of rounds in which the rows are updated. Each row's round is in the outcome.

    Raises:
        FixtureError: two rows of the files have the same value, or a row that is not in the files keeps it.
    """
    own = staged.own
    waits: dict[int, set[int]] = {}
    for key in staged.table.keys:
        if key.primary or any(staged.table.columns[name].generated for name in key.columns):
            continue
        _check_repeated(cursor, staged, key)
        for waiting, holder in _check_taken(cursor, staged, key, deletion):
            waits.setdefault(waiting, set()).add(holder)
    if not waits:  # without a row to update the statement needs no right to update
        updated = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {} <> '{{}}')").format(staged.outcome, own.changed)
        return int(cursor.execute(updated).fetchone() == (True,))
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
                staged.outcome, own.round, sql.Literal(number), own.order, sql.Literal(rows)
            )
        )
    return 1 + max(rounds.values())


def _keyed(own: OwnColumns, key: UniqueKey, relation: sql.Composable, more: sql.Composable) -> sql.Composed:
    """Return the rows of a relation that a unique key covers, with the key's values in columns of our own."""
    aliased = [sql.SQL("{} AS {}").format(sql.SQL(each), own.key(n)) for n, each in enumerate(key.expressions)]
    conditions: list[sql.Composable] = [] if key.predicate is None else [sql.SQL("({})").format(sql.SQL(key.predicate))]
    if key.nulls_distinct:
        conditions += [sql.SQL("({}) IS NOT NULL").format(sql.SQL(each)) for each in key.expressions]
    return sql.SQL("(SELECT {}, {} FROM {} AS r WHERE {})").format(
        more, sql.SQL(", ").join(aliased), relation, sql.SQL(" AND ").join(conditions or [sql.SQL("true")])
    )


def _check_repeated(cursor: Cursor, staged: Staged, key: UniqueKey) -> None:
    own = staged.own
    repeated = cursor.execute(
        sql.SQL(
            "SELECT * FROM (SELECT {0}, {1}, lag({0}) OVER same, lag({1}) OVER same AS seedtool_before, {2}"
            " FROM {3} AS k WINDOW same AS (PARTITION BY {4} ORDER BY {2})) AS r"
            " WHERE seedtool_before IS NOT NULL ORDER BY {2} LIMIT 1"
        ).format(
            own.batch,
            own.line,
            own.order,
            _keyed(own, key, staged.outcome, sql.SQL("{}, {}, {}").format(own.batch, own.line, own.order)),
            sql.SQL(", ").join(own.key(n) for n, _ in enumerate(key.expressions)),
        )
    ).fetchone()
    if repeated is not None:
        raise _repeated(staged, key, repeated[:2], repeated[2:4])


def _repeated(staged: Staged, key: UniqueKey, at: Place, other: Place) -> FixtureError:
    return staged.error(
        at,
        f"the same value is at {staged.place(other)}, and {key.name} allows it in one row of {staged.table}",
        columns=key.columns,
        remedy="Change one of the two.",
    )


def _check_taken(cursor: Cursor, staged: Staged, key: UniqueKey, deletion: Deletion | None) -> list[tuple[int, int]]:
    """Return the rows that wait until another row gives its value up, each with that other row.

    Raises:
        FixtureError: a row that is not in the files has the value and will keep it.
    """
    own = staged.own
    table = staged.table
    equal = sql.SQL("{} = {}" if key.nulls_distinct else "{} IS NOT DISTINCT FROM {}")
    match = [
        equal.format(sql.SQL("i.{}").format(own.key(n)), sql.SQL("t.{}").format(own.key(n)))
        for n, _ in enumerate(key.expressions)
    ]
    touched = sql.SQL("{}, {}, {}, {}").format(own.batch, own.line, own.order, own.new)
    found = cursor.execute(
        sql.SQL(
            "SELECT i.{batch}, i.{line}, i.{order}, i.{new}, h.{order}, s.{batch}, s.{line}, {key} FROM {wanted} AS i"
            " JOIN {held} AS t ON {match} AND NOT ({same})"
            " LEFT JOIN {outcome} AS h ON {held_here}"
            " LEFT JOIN {staged} AS s ON {in_files}"
            " WHERE {stays} ORDER BY h.{order} IS NOT NULL, i.{order}"
        ).format(
            batch=own.batch,
            line=own.line,
            order=own.order,
            new=own.new,
            key=key_text(table, "t"),
            wanted=_keyed(own, key, staged.outcome, sql.SQL("{}, {}").format(touched, names(table.primary_key))),
            held=_keyed(own, key, table.rows, names(table.primary_key)),
            match=sql.SQL(" AND ").join(match),
            same=same_key(table, "i", "t"),
            outcome=staged.outcome,
            held_here=same_key(table, "h", "t"),
            staged=staged.staged,
            in_files=same_key(table, "s", "t"),
            stays=sql.SQL("true")
            if deletion is None
            else sql.SQL("NOT EXISTS (SELECT FROM {} AS d WHERE {})").format(deletion.rows, same_key(table, "d", "t")),
        )
    ).fetchall()
    for batch, line, _, _, holder, *its_place, holder_key in found:
        if holder is None and its_place[0] is not None:  # a row that stays as it is
            first, second = sorted([(batch, line), (its_place[0], its_place[1])])
            raise _repeated(staged, key, second, first)
        if holder is None:
            raise staged.error(
                (batch, line),
                f"row {holder_key}, which is not in the files, has this value;"
                f" {key.name} allows it in one row of {table}",
                columns=key.columns,
                remedy="Change the value, or delete that row.",
            )
    # rows are inserted after all updates, so only updates wait for one another
    return [(row, holder) for _, _, row, new, holder, *_ in found if not new and key.immediate]


def _exchanged(cursor: Cursor, staged: Staged, cycle: Sequence[int]) -> Exception:
    own = staged.own
    first, second = sorted(set(cycle))[:2]
    places = cursor.execute(
        sql.SQL("SELECT {0}, {1}, {2} FROM {3} WHERE {4} IN ({5}, {6}) ORDER BY {4}").format(
            own.batch,
            own.line,
            own.changed,
            staged.outcome,
            own.order,
            sql.Literal(first),
            sql.Literal(second),
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
    cursor: Cursor, catalog: Catalog, staged: Staged, tables: Mapping[int, Staged], deletions: Mapping[int, Deletion]
) -> None:
    """Check that every row which a new or changed row refers to is in the database or in the files."""
    for key in staged.table.foreign_keys:
        parent = catalog.tables[key.references]
        found = cursor.execute(
            _missing(catalog, staged, key, tables.get(parent.oid), deletions.get(parent.oid))
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
    catalog: Catalog, staged: Staged, key: ForeignKey, parent_staged: Staged | None, parent_deletion: Deletion | None
) -> sql.Composed:
    """Return the query for the first row that refers to a row which does not exist."""
    own = staged.own
    parent = catalog.tables[key.references]
    refers = [
        sql.SQL("{} = {}").format(sql.Identifier("p", theirs), sql.Identifier("i", ours))
        for ours, theirs in zip(key.columns, key.referenced_columns, strict=True)
    ]
    in_database = list(refers)
    leaving = [] if parent_deletion is None else [parent_deletion.rows]
    if parent_staged is not None and set(key.referenced_columns) != set(parent.primary_key):
        # the files may change the value that is referred to, so of a row that they name only its outcome counts
        leaving.append(parent_staged.outcome)
    in_database += [
        sql.SQL("NOT EXISTS (SELECT FROM {} AS o WHERE {})").format(each, same_key(parent, "o", "p"))
        for each in leaving
    ]
    there = [_exists(parent.rows, in_database)]
    if parent_staged is not None:
        there.append(_exists(parent_staged.outcome, refers))
    return sql.SQL(
        "SELECT i.{}, i.{}, concat_ws(', ', {}) FROM {} AS i WHERE (i.{} OR i.{} && {}::text[]) AND {} AND {}"
        " ORDER BY i.{} LIMIT 1"
    ).format(
        own.batch,
        own.line,
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier("i", name)) for name in key.columns),
        staged.outcome,
        own.new,
        own.changed,
        sql.Literal([*key.columns]),
        sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier("i", name)) for name in key.columns),
        sql.SQL(" AND ").join(sql.SQL("NOT {}").format(each) for each in there),
        own.order,
    )


def _exists(relation: sql.Composable, conditions: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL("EXISTS (SELECT FROM {} AS p WHERE {})").format(relation, sql.SQL(" AND ").join(conditions))
