"""What tests of masked copies share: databases of one server, and one way to copy."""

import contextlib
from pathlib import Path

import pytest

from seedtool.postgres import server
from seedtool.refreshing import schema, transfer
from seedtool.refreshing.source import Source
from seedtool.refreshing.transfer import TableCopy

RENTAL = (Path(__file__).parent / "rental.sql").read_text(encoding="utf-8")


@contextlib.contextmanager
def database(target, name, script="", options=""):
    """A fresh database; it is dropped afterwards."""
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        made = target.at(name)
        if script:
            with server.connect(made, autocommit=True) as inside:
                inside.execute(script)
        try:
            yield made
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty(target):
    """A fresh database to copy into."""
    with database(target, "refresh_copy") as made:
        yield made


@pytest.fixture(scope="module")
def rental(target):
    """The rental shop of rental.sql. Tests leave it as it is."""
    with database(target, "refresh_rental", RENTAL) as made:
        yield made


@pytest.fixture
def origin(target):
    """A database to copy from; the test fills it."""
    with database(target, "refresh_origin") as made:
        yield made


@pytest.fixture
def refresh():
    """Copy a database as a refresh does, without its policy and its proof."""
    return _refresh


def _refresh(origin, copy, masks=None, places=None, without=(), **options):
    masks = masks or {}
    with Source.open(origin) as source, schema.dumped(source, copy) as dump:
        schema.restore(dump, "pre-data", copy)
        chosen = places(source) if places else {}
        tables = [
            TableCopy(
                table=table,
                masks=masks.get(table.name, {}),
                places=chosen.get(table.oid),
                **options.get(table.name, {}),
            )
            for table in source.catalog.tables.values()
            if table.kind == "table" and not table.partitioned and table.name not in without
        ]
        copied = transfer.copy(source, copy, tables)
        schema.restore(dump, "post-data", copy)
        schema.fill_views(source, copy)
        notes = schema.move_sequences(source, copy)
        schema.analyze(copy)
    return {each.name: each for each in copied}, notes


@pytest.fixture
def rows():
    """Return what a query finds in a database."""

    def ask(database, query):
        with server.connect(database) as connection:
            return connection.execute(query).fetchall()

    return ask


@pytest.fixture
def run():
    """Run statements in a database."""

    def execute(database, statements):
        with server.connect(database, autocommit=True) as connection:
            connection.execute(statements)

    return execute
