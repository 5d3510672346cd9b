"""Sequences, whose values no rollback takes back: moved past the ids of the files, and kept as they are by trials."""

from collections.abc import Iterable, Mapping

from psycopg import sql

from seedtool.postgres.catalog import Catalog, Table
from seedtool.postgres.copying import set_locally
from seedtool.seeding.staging import Cursor, Staged

#: how long `shield` waits for sessions that have drawn a value (a setting of PostgreSQL)
PATIENCE = "2s"
#: types whose values a sequence may have given; NaN is higher than every number a sequence gives, so it never counts
_NUMBERS = frozenset({"int2", "int4", "int8", "numeric"})


def advance(cursor: Cursor, tables: Iterable[Staged], planned: Mapping[int, Staged]) -> None:
    """Move sequences past the ids of the files, before a trigger or a default takes one of these ids.

    Args:
        cursor: in the merge's transaction.
        tables: the tables of the files.
        planned: those of them whose rows are not written yet, by oid.
    """
    for staged in tables:
        for name in staged.columns:
            column = staged.table.columns[name]
            if column.sequence is None or column.value.name not in _NUMBERS:
                continue
            relations = [staged.table.identifier, *([staged.outcome] if staged.table.oid in planned else [])]
            # infinity, which is a numeric, is beyond these limits on either side
            given = sql.SQL("t.{} BETWEEN s.seqmin AND s.seqmax").format(sql.Identifier(name))
            highest = [
                sql.SQL("(SELECT floor(max(t.{})::numeric)::bigint FROM {} AS t WHERE {})").format(
                    sql.Identifier(name), relation, given
                )
                for relation in relations
            ]
            cursor.execute(
                sql.SQL(
                    "SELECT setval({sequence}::regclass, highest)"
                    " FROM pg_sequence AS s, LATERAL (SELECT greatest({highest}) AS highest) AS t"
                    " WHERE s.seqrelid = {sequence}::regclass AND s.seqincrement > 0"
                    " AND highest > coalesce(pg_sequence_last_value(s.seqrelid), s.seqstart - 1)"
                ).format(sequence=sql.Literal(column.sequence), highest=sql.SQL(", ").join(highest))
            )


def may_move(catalog: Catalog, planned: Iterable[Staged], *, triggers_off: bool) -> bool:
    """Tell whether writing rows may take values of sequences: a trigger may, and a default that has effects."""
    return (not triggers_off and any(table.triggers for table in catalog.tables.values())) or any(
        draws(each.table, batch.batch.columns) for each in planned for batch in each.batches
    )


def draws(table: Table, named: Iterable[str]) -> bool:
    """Tell whether inserting rows with the named columns evaluates a default that has effects."""
    left_out = [column for name, column in table.columns.items() if name not in set(named)]
    return any(each.identity or (each.default is not None and each.default_has_effects) for each in left_out)


def shield(cursor: Cursor) -> bool:
    """Let a rollback take back what happens to the sequences of this role, until the transaction or savepoint ends.

    ALTER SEQUENCE ... RESTART gives a sequence a new file within the transaction, which a rollback throws away with all
    values that were drawn from it (https://www.postgresql.org/docs/current/sql-altersequence.html#id-1.9.3.31.7). Other
    sessions wait for the end before they draw a value.

    Returns:
        Whether every sequence is this role's.

    Raises:
        psycopg.errors.LockNotAvailable: another session has drawn from one in a transaction that goes on.
    """
    found = cursor.execute(_SEQUENCES).fetchall()
    with cursor.connection.transaction():
        before = cursor.execute("SELECT current_setting('lock_timeout')").fetchone()
        set_locally(cursor, {"lock_timeout": PATIENCE})
        for schema, name, following, own in found:
            if own:
                cursor.execute(
                    sql.SQL("ALTER SEQUENCE {} RESTART WITH {}").format(
                        sql.Identifier(schema, name), sql.Literal(following)
                    )
                )
        set_locally(cursor, {"lock_timeout": before[0] if before else "0"})
    return all(own for *_, own in found)


# `last_value` is NULL before the first value was drawn, and for a role that may not read it
_SEQUENCES = """
SELECT s.schemaname::text, s.sequencename::text,
       least(greatest(coalesce(s.last_value + s.increment_by, s.start_value), s.min_value), s.max_value),
       pg_has_role(c.relowner, 'USAGE')
FROM pg_sequences s
JOIN pg_class c ON c.oid = to_regclass(quote_ident(s.schemaname) || '.' || quote_ident(s.sequencename))
WHERE s.schemaname !~ '^pg_'
"""
