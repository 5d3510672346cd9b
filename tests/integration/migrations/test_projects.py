"""Each kind of project in tests/projects: a reset makes of it what `alembic upgrade heads` makes of it."""

import re
import shutil
import subprocess
import uuid
from pathlib import Path

import alembic
import msgspec
import pytest
from psycopg import sql

from seedtool.errors import MigrationError
from seedtool.listener import Listener
from seedtool.postgres import server, wheel
from seedtool.postgres.cluster import open_cluster
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import plan, reset
from seedtool.schema import migrations
from seedtool.schema.layer import Schema
from seedtool.settings import load
from tests import processes

PROJECTS = Path(__file__).resolve().parents[2] / "projects"
ALEMBIC = "from alembic.config import main; main()"
FLASK_DB = """
import sys
from alembic import command, config
sys.path.insert(0, "")
found = config.Config("migrations/alembic.ini")
found.set_main_option("script_location", "migrations")
command.upgrade(found, "heads")
"""
#: project → where its env.py reads the URL: a variable, or a line of `.env`; how Alembic itself is run there, and its options
KINDS = {
    "library": ("alembic.ini", ALEMBIC),
    "dojo": ("DATABASE_URL", ALEMBIC),
    "orchard": ("ORCHARD_DATABASE", ALEMBIC),
    "harbour": ("PG*", ALEMBIC),
    "tenants": ("SQLALCHEMY_DATABASE_URI", ALEMBIC, "-x", "tenant=blue", "-x", "tenant=green", "-x", "verbose"),
    "shop": ("SHOP_DATABASE", FLASK_DB),
    "atelier": (".env", ALEMBIC),
    "kiosk": ("POSTGRES_*", ALEMBIC),
    "guild": ("DATABASE_URL", ALEMBIC, "-n", "guild"),
}


class Kind:
    """A copy of a project whose target is a database of the tests' server."""

    def __init__(self, name, root, target):
        self.name = name
        self.root = root
        self.target = target
        self.place, self.alembic, *self.options = KINDS[name]
        shutil.copytree(PROJECTS / name, root, ignore=shutil.ignore_patterns("__pycache__"))
        self.own = self.environment(target)

    def environment(self, target):
        """What a developer has in the environment, or writes into a file, so that env.py finds a database."""
        with server.connect(target) as connection:
            socket = connection.info.host
        if self.place == ".env":
            (self.root / ".env").write_text(f"ATELIER_DSN={target.url}\n", encoding="utf-8")
            return {}
        if self.place == "alembic.ini":
            ini = self.root / "alembic.ini"
            ini.write_text(
                re.sub(
                    "sqlalchemy.url = .*",
                    lambda _: f"sqlalchemy.url = {target.url.replace('%', '%%')}",
                    ini.read_text(),
                )
            )
            return {}
        libpq = {"PGHOST": socket, "PGDATABASE": target.name, "PGUSER": "postgres"}
        if self.place == "POSTGRES_*":
            return {
                "PGHOST": socket,
                "POSTGRES_HOST": "",
                "POSTGRES_USER": "postgres",
                "POSTGRES_PASSWORD": "x",
                "POSTGRES_DB": target.name,
            }
        return libpq if self.place == "PG*" else {self.place: target.url}

    @property
    def settings(self):
        return load(self.root, environ={"HOME": str(self.root), "DATABASE_URL": self.target.url})

    def reset(self):
        return reset(
            self.settings,
            self.target,
            [Schema(self.settings)],
            consent=Consent.NAME,
        )

    def upgrade_by_alembic(self, other):
        arguments = [*self.options, *(() if self.alembic is FLASK_DB else ("upgrade", "heads"))]
        done = processes.run(*arguments, code=self.alembic, cwd=self.root, env=self.environment(other))
        assert done.returncode == 0, done.stdout + done.stderr


def dump(target):
    """The schema as pg_dump writes it, and what the version tables say."""
    program = wheel.programs() / "pg_dump"
    done = subprocess.run(
        [program, "-s", "--restrict-key=x", "-d", target.conninfo], capture_output=True, text=True, check=True
    )
    with server.connect(target) as connection:
        tables = connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relname ~ '^(alembic_)?version' AND relkind = 'r' ORDER BY 1"
        )
        versions = {
            table: sorted(connection.execute(f"SELECT version_num FROM {table}").fetchall()) for (table,) in tables
        }
    return done.stdout, versions


@pytest.fixture
def other(target):
    name = f"test_{uuid.uuid4().hex[:12]}"
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        maintenance.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy").format(sql.Identifier(name))
        )
        yield type(target)(conninfo=target.conninfo_for(name), name=name, maintenance=target.maintenance)
        maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(params=KINDS)
def kind(request, database, tmp_path, monkeypatch):
    found = Kind(request.param, tmp_path / request.param, database)
    for name, value in found.own.items():
        monkeypatch.setenv(name, value)
    yield found
    with open_cluster(database) as cluster:
        built = plan(database, [Schema(found.settings)]).template
        if built is not None:
            cluster.drop(built)


def test_a_reset_makes_what_alembic_makes(kind, other):
    assert kind.reset().built
    built = dump(kind.target)
    assert not kind.reset().built
    found, newest = migrations.position(kind.target, kind.settings)
    assert migrations.current(kind.target, kind.settings) == found == newest
    if kind.name != "guild":  # without running its env.py nobody knows
        assert migrations.heads(kind.settings) == newest
    assert migrations.upgrade(kind.target, kind.settings) == []
    kind.upgrade_by_alembic(other)
    assert dump(other) == built


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_an_async_env_py_takes_either_driver(database, tmp_path, monkeypatch, driver):
    kind = Kind("orchard", tmp_path / "orchard", database)
    monkeypatch.setenv("ORCHARD_DATABASE", kind.target.url.replace("+psycopg", f"+{driver}"))
    assert migrations.upgrade(database, kind.settings) == ["a1"]


def test_a_module_that_env_py_imports_builds_the_template_again(database, tmp_path, monkeypatch):
    kind = Kind("dojo", tmp_path / "dojo", database)
    monkeypatch.setenv("DATABASE_URL", kind.target.url)
    try:
        first, again = kind.reset(), kind.reset()
        with (kind.root / "db/models.py").open("a") as models:
            models.write("# changed\n")
        assert (first.built, again.built, kind.reset().built) == (True, False, True)
    finally:
        with open_cluster(database) as cluster:
            for each in cluster.private_databases():
                cluster.drop(each.name)


def test_a_file_that_no_text_names_is_told_when_the_template_is_built(database, tmp_path, monkeypatch):
    kind = Kind("dojo", tmp_path / "dojo", database)
    monkeypatch.setenv("DATABASE_URL", kind.target.url)
    for name in ("joined", "globbed", "packaged", "written", "counted"):
        (kind.root / f"late/{name}").mkdir(parents=True)
        (kind.root / f"late/{name}/a.sql").write_text("")
    (kind.root / "late/run.py").write_text("")
    (kind.root / ".env").write_text("")
    lines = """
import importlib.resources, os, runpy, sys
from pathlib import Path
late = Path("late")
(late / "joined" / "a.sql").read_text()
[path.read_bytes() for path in late.glob("gl*/*")]
sys.path.append(".")
importlib.resources.files("late").joinpath("packaged").joinpath("a.sql").read_text()
runpy.run_path(os.path.join("late", "run" + ".py"))
with open(os.path.join("late", "written", "a.sql"), "w"), open("late/counted/a.sql"), open(".env"), open(os.devnull):
    pass
"""
    env = kind.root / "db/env.py"
    env.write_text(lines + env.read_text().split('"""', 2)[2])
    told = []
    listener = Listener()
    listener.note = told.append
    opened = open
    try:
        reset(kind.settings, database, [Schema(kind.settings)], consent=Consent.NAME, listener=listener)
    finally:
        with open_cluster(database) as cluster:
            for each in cluster.private_databases():
                cluster.drop(each.name)
    (note,) = [each for each in told if "fingerprint" in each]
    names = ("globbed/a.sql", "joined/a.sql", "packaged/a.sql", "run.py")
    assert note.startswith(f"the schema was built with {', '.join(f'late/{name}' for name in names)}, which no")
    assert open is opened


def test_a_module_that_no_text_names_is_told_when_the_template_is_built(database, tmp_path, monkeypatch):
    kind = Kind("dojo", tmp_path / "dojo", database)
    monkeypatch.setenv("DATABASE_URL", kind.target.url)
    env = kind.root / "db/env.py"
    (kind.root / "late").mkdir()
    (kind.root / "late/plugin_of_dojo.py").write_text("")
    line = "import sys; sys.path.append('late'); __import__('plugin' + '_of_dojo')\n"
    env.write_text(line + env.read_text().split('"""', 2)[2])
    told = []
    listener = Listener()
    listener.note = told.append
    try:
        reset(kind.settings, database, [Schema(kind.settings)], consent=Consent.NAME, listener=listener)
        (note,) = [each for each in told if "fingerprint" in each]
        assert "late/plugin_of_dojo.py, which no fingerprint counts" in note
        told.clear()
        settings = msgspec.structs.replace(kind.settings, fingerprint_paths=("late/**",))
        reset(settings, database, [Schema(settings)], consent=Consent.NAME, listener=listener)
        assert [each for each in told if "fingerprint" in each] == []
    finally:
        with open_cluster(database) as cluster:
            for each in cluster.private_databases():
                cluster.drop(each.name)


TWO_DATABASES = """
[alembic]
script_location = %(here)s/db
path_separator = os
databases = people, stock
[people]
sqlalchemy.url = {people}
[stock]
sqlalchemy.url = {stock}
"""
FOR_EACH = """
from alembic import op
revision, down_revision = "1", None
def upgrade(engine_name):
    globals()["upgrade_" + engine_name]()
def upgrade_people():
    op.execute("CREATE TABLE people (id int)")
def upgrade_stock():
    op.execute("CREATE TABLE stock (id int)")
"""


@pytest.fixture
def of_two(tmp_path, database, other):
    """Write a project of `alembic init -t multidb`, whose databases are two of ours."""
    template = Path(alembic.__file__).parent / "templates/multidb/env.py"
    (tmp_path / "db/versions").mkdir(parents=True)
    (tmp_path / "db/env.py").write_text(template.read_text().replace("fileConfig(config.config_file_name)", "pass"))
    (tmp_path / "db/versions/1.py").write_text(FOR_EACH)

    def write(people=database.url, **changes):
        text = TWO_DATABASES.format(people=people.replace("%", "%%"), stock=other.url.replace("%", "%%"))
        (tmp_path / "alembic.ini").write_text(text)
        settings = load(tmp_path, environ={"HOME": str(tmp_path), "DATABASE_URL": database.url})
        return msgspec.structs.replace(settings, **changes)

    return write


def tables(target):
    with server.connect(target) as connection:
        found = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        return {name for (name,) in found if not name.startswith("alembic")}


@pytest.mark.parametrize(
    ("people", "changes", "made"),
    [
        ({}, {}, "people"),
        ({"people": "postgresql+psycopg://u@h/elsewhere"}, {"alembic_database": "people"}, "people"),
        ({"people": "driver://user:pass@localhost/dbname"}, {"alembic_database": "stock"}, "stock"),
    ],
    ids=["by its URL", "by the setting", "another one by the setting"],
)
def test_of_several_databases_the_projects_own_is_migrated(database, other, of_two, people, changes, made):
    settings = of_two(**people, **changes)
    assert migrations.upgrade(database, settings) == ["1"]
    assert (tables(database), tables(other)) == ({made}, set())


@pytest.mark.parametrize("changes", [{}, {"alembic_database": "stocks"}])
def test_several_databases_of_which_none_is_the_projects_own_are_refused_with_the_cure(database, of_two, changes):
    settings = of_two("driver://user:pass@localhost/dbname", **changes)
    with pytest.raises(MigrationError, match=r"people, stock") as raised:
        migrations.upgrade(database, settings)
    assert raised.value.place["file"] == "alembic.ini"
    assert 'alembic_database = "people"' in raised.value.remedy
    assert tables(database) == set()
