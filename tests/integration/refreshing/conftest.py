"""What tests of masked copies share: databases of one server, and one way to copy."""

import contextlib
from pathlib import Path

import pytest

from seedtool.postgres import server
from seedtool.postgres.cluster import open_cluster
from seedtool.refreshing import schema, transfer
from seedtool.refreshing.source import Source
from seedtool.refreshing.transfer import TableCopy
from seedtool.settings import load

RENTAL = (Path(__file__).parent / "rental.sql").read_text(encoding="utf-8")


@contextlib.contextmanager
def database(target, name, script="", options=""):
    """A fresh database; it is dropped afterwards."""
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy {options}")
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
        schema.finish(source, dump, copy)
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


# whole refreshes: a production of a few tables, and a project with a policy that fits it

KEY = "0f6c1b9e5d2a84e7c3b16f0d9a7e5c42"
ORIGIN = "refresh_production"
PEOPLE = ("Sofía Isidora Contreras", "Benjamín Andrés Araya", "Martina González Lucero", "Agustín Tapia Oyarzún")
PRODUCTION = """
CREATE TABLE grades (id text PRIMARY KEY, title text NOT NULL);
CREATE TABLE students (
    id int PRIMARY KEY, full_name text NOT NULL, email text UNIQUE, grade text REFERENCES grades, born date, note jsonb,
    loud text GENERATED ALWAYS AS (upper(full_name)) STORED
);
CREATE TABLE visits (id int GENERATED ALWAYS AS IDENTITY, student int REFERENCES students, at date NOT NULL)
    PARTITION BY RANGE (at);
CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE visits_2 PARTITION OF visits DEFAULT;
CREATE TABLE outbox (mail text);
CREATE SCHEMA seedtool; CREATE TABLE seedtool.guard (system text, database oid, protected boolean);
INSERT INTO grades VALUES ('4b', 'Cuarto básico'), ('5a', 'Quinto básico');
INSERT INTO outbox VALUES ('to: sofia.contreras@familia.example');
"""
POLICY = """
after = "after.sql"
empty = "outbox"
[tables.grades]
id = "keep"
title = "keep"
[tables.students]
id = "keep"
full_name = { mask = "full_name", locale = "es_CL" }
email = "email"
grade = "keep"
born = { mask = "shift", subject = "id" }
note = { mask = "json", paths = { color = "keep" } }
loud = "keep"
[tables.visits]
id = "keep"
student = "keep"
at = { mask = "keep", reason = "the day of a visit chooses the partition" }
"""


@pytest.fixture(scope="module")
def production(target):
    """A database of 40 students, their grades and their visits."""
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        maintenance.execute(f"DROP DATABASE IF EXISTS {ORIGIN} WITH (FORCE)")
        maintenance.execute(f"CREATE DATABASE {ORIGIN} TEMPLATE template0 STRATEGY file_copy")
    with server.connect(target.at(ORIGIN)) as connection:
        connection.execute(PRODUCTION)
        for number in range(40):
            name = f"{PEOPLE[number % 4]} {'abcdefghijklmnopqrst'[number // 2]}amos"
            connection.execute(
                "INSERT INTO students VALUES (%s, %s, %s, %s, %s, %s)",
                [number, name, f"pupil{number}.{name[:3]}@familia.example".lower(), "4b" if number % 2 else "5a",
                 f"2015-03-{number % 28 + 1:02}", f'{{"color": "red", "mother": "{name}"}}'],
            )  # fmt: skip
        connection.execute(
            "INSERT INTO visits (student, at) SELECT g % 40, date '2026-01-02' + g FROM generate_series(1, 300) g"
        )
    yield target.at(ORIGIN)
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        maintenance.execute(f"DROP DATABASE {ORIGIN} WITH (FORCE)")


@pytest.fixture
def project(tmp_path, production, home):
    """The settings of a project whose policy fits; its source is the module's."""
    (tmp_path / "pyproject.toml").write_text("[tool.seedtool]\n")
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "after.sql").write_text("UPDATE grades SET title = title || ' (staging)'; SELECT 1")
    environ = {
        "HOME": str(tmp_path),
        "SEEDTOOL_HOME": str(home),
        "SEEDTOOL_REFRESH_KEY": KEY,
        "SEEDTOOL_REFRESH_FROM": production.conninfo,
    }
    return load(tmp_path, environ=environ)


@pytest.fixture
def nothing_left(target):
    """Afterwards no database of a refresh is left on the way, and no copy stays for the next test."""
    yield
    with open_cluster(target) as cluster:
        left = [each.name for each in cluster.private_databases() if each.kind in {"building", "clone"}]
        for each in cluster.private_databases():
            cluster.drop(each.name)
    assert left == []


@pytest.fixture
def filled(database):
    """The target, with a table of its own, which a refresh would replace."""
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE before (a int)")
    return database
