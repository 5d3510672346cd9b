"""The ledger of loads: which slices of which recipe are in the database, and what was put off while they came.

It lies in the database itself, in the schema `seedtool`. A slice and its line are one transaction, so that a line means
rows and no line means none, wherever a process was killed. What is put off (an index, a foreign key) is dropped in the
transaction that writes down how it is built again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
import psycopg
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Iterable

Cursor = psycopg.Cursor[Any]

State = Literal["loading", "loaded", "unloading"]

_CREATE = """
CREATE TABLE IF NOT EXISTS seedtool.loads (
    recipe text PRIMARY KEY,
    content text NOT NULL,
    hash text NOT NULL,
    random_seed text NOT NULL,
    vocabulary text NOT NULL,
    units bigint NOT NULL,
    state text NOT NULL,
    facts jsonb NOT NULL,
    begun timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended timestamptz
);
COMMENT ON TABLE seedtool.loads IS 'Which recipes were loaded, with their text (seedtool seed load)';
CREATE TABLE IF NOT EXISTS seedtool.slices (
    recipe text NOT NULL REFERENCES seedtool.loads ON DELETE CASCADE,
    relation text NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    checksum text NOT NULL,
    loaded timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (recipe, relation, first)
);
COMMENT ON TABLE seedtool.slices IS 'Which rows of a recipe are in the database, each slice once (seedtool seed load)';
CREATE TABLE IF NOT EXISTS seedtool.put_off (
    recipe text NOT NULL REFERENCES seedtool.loads ON DELETE CASCADE,
    place integer NOT NULL,
    relation text NOT NULL,
    name text NOT NULL,
    stage integer NOT NULL,
    build text NOT NULL,
    PRIMARY KEY (recipe, place)
);
COMMENT ON TABLE seedtool.put_off IS
'Indexes and foreign keys that a load has dropped and not built again yet, with their statements'"""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe that was loaded, or is being loaded.

    Args:
        recipe: its name.
        content: its text then.
        hash: of what it says.
        random_seed: the random seed.
        vocabulary: the hash of the vocabulary that made its values.
        units: how many units are or will be there.
        state: `loading` until the last index is built again.
        facts: what the plan took from the database, as JSON.
    """

    recipe: str
    content: str
    hash: str
    random_seed: str
    vocabulary: str
    units: int
    state: State
    facts: dict[str, Any]


class Slice(msgspec.Struct, frozen=True):
    """Some rows of a table: the unit of parallel work.

    Args:
        table: the table's name in the recipe.
        first: the first row's number.
        last: the number after the last row's.
    """

    table: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.table}, rows {self.first + 1:,} to {self.last:,}"


class PutOff(msgspec.Struct, frozen=True):
    """What was dropped, and how it is built again.

    Args:
        place: its number.
        relation: the table, schema and name.
        name: of the index or the constraint.
        stage: what has a smaller one is built before.
        build: the statement.
    """

    place: int
    relation: str
    name: str
    stage: int
    build: str


def make(cursor: Cursor) -> None:
    """Make the ledger where it does not exist yet."""
    # IF NOT EXISTS would need the right to create even where there is nothing to create
    if cursor.execute("SELECT to_regnamespace('seedtool') IS NULL").fetchone() == (True,):
        cursor.execute("CREATE SCHEMA seedtool")
    if cursor.execute("SELECT to_regclass('seedtool.put_off') IS NULL").fetchone() == (True,):
        cursor.execute(_CREATE)


def exists(cursor: Cursor) -> bool:
    """Tell whether anything was ever loaded here."""
    return cursor.execute("SELECT to_regclass('seedtool.put_off') IS NOT NULL").fetchone() == (True,)


def find(cursor: Cursor, recipe: str) -> Load | None:
    """Return what was loaded by the recipe of this name; None where nothing was."""
    if not exists(cursor):
        return None
    row = cursor.execute(
        "SELECT recipe, content, hash, random_seed, vocabulary, units, state, facts FROM seedtool.loads"
        " WHERE recipe = %s",
        [recipe],
    ).fetchone()
    return None if row is None else msgspec.convert(dict(zip(Load.__struct_fields__, row, strict=True)), Load)


def write(cursor: Cursor, load: Load) -> None:
    """Write a load down, in the place of what the ledger has of this recipe."""
    cursor.execute(
        "INSERT INTO seedtool.loads (recipe, content, hash, random_seed, vocabulary, units, state, facts)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (recipe) DO UPDATE SET (content, hash, random_seed,"
        " vocabulary, units, state, facts, begun, ended) = (excluded.content, excluded.hash, excluded.random_seed,"
        " excluded.vocabulary, excluded.units, excluded.state, excluded.facts, clock_timestamp(), NULL)",
        [*(getattr(load, name) for name in Load.__struct_fields__[:-1]), Jsonb(load.facts)],
    )


def finish(cursor: Cursor, recipe: str) -> None:
    """Write down that all of a load is there."""
    cursor.execute("UPDATE seedtool.loads SET state = 'loaded', ended = clock_timestamp() WHERE recipe = %s", [recipe])


def stop(cursor: Cursor, recipe: str) -> None:
    """Write down that a load is being undone, and wait for workers that write a slice of it at this moment."""
    cursor.execute("UPDATE seedtool.loads SET state = 'unloading' WHERE recipe = %s", [recipe])


def empty(cursor: Cursor, recipe: str) -> None:
    """Write down that no row of a load is there any more; what it had put off may not be built again yet."""
    cursor.execute("DELETE FROM seedtool.slices WHERE recipe = %s", [recipe])


def take_out(cursor: Cursor, recipe: str, slices: Iterable[Slice]) -> None:
    """Write down that slices are not there any more."""
    cursor.executemany(
        "DELETE FROM seedtool.slices WHERE (recipe, relation, first) = (%s, %s, %s)",
        [(recipe, each.table, each.first) for each in slices],
    )


def forget(cursor: Cursor, recipe: str) -> None:
    """Take a load out of the ledger."""
    cursor.execute("DELETE FROM seedtool.loads WHERE recipe = %s", [recipe])


def record(cursor: Cursor, recipe: str, slice_: Slice, checksum: str) -> bool:
    """Write down that a slice is there, in the transaction that writes its rows and before they are written.

    Another worker may write the same slice at this moment, where a scheduler runs a task twice: this waits for it. A
    worker that has outlived its load writes nothing where the load is being undone.

    Returns:
        Whether it was not there; else nothing has to be written.
    """
    cursor.execute(
        "INSERT INTO seedtool.slices (recipe, relation, first, last, checksum)"
        " SELECT recipe, %s, %s, %s, %s FROM seedtool.loads WHERE recipe = %s AND state = 'loading' FOR SHARE"
        " ON CONFLICT DO NOTHING",
        [slice_.table, slice_.first, slice_.last, checksum, recipe],
    )
    return cursor.rowcount == 1


def correct(cursor: Cursor, recipe: str, slice_: Slice, checksum: str) -> None:
    """Write down the checksum of a slice whose line is there, in the same transaction."""
    cursor.execute(
        "UPDATE seedtool.slices SET checksum = %s WHERE (recipe, relation, first) = (%s, %s, %s)",
        [checksum, recipe, slice_.table, slice_.first],
    )


def slices(cursor: Cursor, recipe: str) -> dict[Slice, str]:
    """Return the slices that are there, each with its checksum."""
    rows = cursor.execute(
        "SELECT relation, first, last, checksum FROM seedtool.slices WHERE recipe = %s ORDER BY relation, first",
        [recipe],
    )
    return {Slice(relation, first, last): checksum for relation, first, last, checksum in rows}


def put_off(cursor: Cursor, recipe: str) -> list[PutOff]:
    """Return what is not built again yet, in the order in which it has to be."""
    rows = cursor.execute(
        "SELECT place, relation, name, stage, build FROM seedtool.put_off WHERE recipe = %s ORDER BY stage, place",
        [recipe],
    )
    return [PutOff(*row) for row in rows]


def journal(cursor: Cursor, recipe: str, each: PutOff) -> None:
    """Write down what is dropped in the same transaction."""
    cursor.execute(
        "INSERT INTO seedtool.put_off VALUES (%s, %s, %s, %s, %s, %s)",
        [recipe, each.place, each.relation, each.name, each.stage, each.build],
    )


def built(cursor: Cursor, recipe: str, each: PutOff) -> None:
    """Write down what is built again in the same transaction."""
    cursor.execute("DELETE FROM seedtool.put_off WHERE recipe = %s AND place = %s", [recipe, each.place])


def missing(there: Iterable[Slice], table: str, rows: int, size: int) -> list[Slice]:
    """Return the slices of a table that are not there yet.

    Slices begin and end at multiples of the size, but for what an earlier, smaller load has cut.

    Args:
        there: the slices that are there.
        table: the table's name in the recipe.
        rows: how many rows the table gets in all.
        size: rows of a slice.
    """
    found = []
    at = 0
    spans = sorted((each.first, each.last) for each in there if each.table == table)
    for first, last in [*spans, (rows, rows)]:
        while at < min(first, rows):
            end = min((at // size + 1) * size, first, rows)
            found.append(Slice(table, at, end))
            at = end
        at = max(at, last)
    return found
