"""A database copied whole: two databases of one server, and what the copy has of the first."""

import contextlib

import psycopg
import pytest

from seedtool.postgres import server
from seedtool.refreshing import schema, transfer
from seedtool.refreshing.source import Source
from seedtool.refreshing.transfer import TableCopy


@contextlib.contextmanager
def databases(target, *names):
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        for name in names:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield [target.at(name) for name in names]
        finally:
            for name in names:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def refresh(origin, copy, masks=None):
    masks = masks or {}
    with Source.open(origin) as source, schema.dumped(source, copy) as dump:
        schema.restore(dump, "pre-data", copy)
        tables = [
            TableCopy(table=table, masks=masks.get(table.name, {}))
            for table in source.catalog.tables.values()
            if table.kind == "table" and not table.partitioned
        ]
        copied = transfer.copy(source, copy, tables)
        schema.restore(dump, "post-data", copy)
        notes = schema.move_sequences(source, copy)
        schema.analyze(copy)
    return {each.name: each for each in copied}, notes


def test_a_small_schema(target):
    with databases(target, "small_source", "small_copy") as (origin, copy):
        with server.connect(origin) as connection:
            connection.execute(
                "CREATE TYPE mood AS ENUM ('good', 'bad');"
                "CREATE TABLE grades (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE);"
                "CREATE TABLE students (id int PRIMARY KEY, grade int REFERENCES grades, name text, mood mood[],"
                " shout text GENERATED ALWAYS AS (upper(name)) STORED);"
                "INSERT INTO grades (name) SELECT 'g' || g FROM generate_series(1, 10) g;"
                r"INSERT INTO students SELECT g, g % 10 + 1, E'n\t\\' || g, '{good,bad}' FROM generate_series(1, 20000) g"
            )
        copied, notes = refresh(origin, copy)
        assert notes == []
        assert {name: (each.rows, each.how) for name, each in copied.items()} == {
            "grades": (10, "binary"),
            "students": (20000, "text"),
        }
        for query in ("SELECT * FROM grades ORDER BY 1", "SELECT * FROM students ORDER BY 1"):
            rows = []
            for each in (origin, copy):
                with server.connect(each) as connection:
                    rows.append(connection.execute(query).fetchall())
            assert rows[0] == rows[1]
        with server.connect(copy) as connection:
            row = connection.execute("INSERT INTO grades (name) VALUES ('new') RETURNING id").fetchone()
            assert row == (11,)
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                connection.execute("INSERT INTO students (id, grade) VALUES (-1, 99)")
