"""Each kind of project in tests/projects: a reset makes of it what `alembic upgrade heads` makes of it."""

import os
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from psycopg import sql

from seedtool.postgres import server, wheel
from seedtool.postgres.cluster import open_cluster
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import plan, reset
from seedtool.schema import migrations
from seedtool.schema.layer import Schema
from seedtool.settings import load

PROJECTS = Path(__file__).resolve().parents[2] / "projects"
ALEMBIC = (sys.executable, "-m", "alembic")
FLASK_DB = """
import sys
from alembic import command, config
sys.path.insert(0, "")
found = config.Config("migrations/alembic.ini")
found.set_main_option("script_location", "migrations")
command.upgrade(found, "heads")
"""
AS_FLASK_DB = (sys.executable, "-c", FLASK_DB)
#: project → where its env.py reads the URL: a variable, or a line of `.env`; and how Alembic itself is run there
KINDS = {
    "library": ("alembic.ini", ALEMBIC),
    "dojo": ("DATABASE_URL", ALEMBIC),
    "orchard": ("ORCHARD_DATABASE", ALEMBIC),
    "harbour": ("PG*", ALEMBIC),
    "tenants": ("SQLALCHEMY_DATABASE_URI", (*ALEMBIC, "-x", "tenant=blue", "-x", "tenant=green", "-x", "verbose")),
    "shop": ("SHOP_DATABASE", AS_FLASK_DB),
    "atelier": (".env", ALEMBIC),
    "kiosk": ("POSTGRES_*", ALEMBIC),
}


class Kind:
    """A copy of a project whose target is a database of the tests' server."""

    def __init__(self, name, root, target):
        self.name = name
        self.root = root
        self.target = target
        self.place, self.alembic = KINDS[name]
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
        command = [*self.alembic, *(() if self.alembic is AS_FLASK_DB else ("upgrade", "heads"))]
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**os.environ, **self.environment(other)},
            capture_output=True,
            text=True,
            check=False,
        )
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
        maintenance.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
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
    assert migrations.current(kind.target, kind.settings) == migrations.heads(kind.settings)
    assert migrations.upgrade(kind.target, kind.settings) == []
    kind.upgrade_by_alembic(other)
    assert dump(other) == built


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_an_async_env_py_takes_either_driver(database, tmp_path, monkeypatch, driver):
    kind = Kind("orchard", tmp_path / "orchard", database)
    monkeypatch.setenv("ORCHARD_DATABASE", kind.target.url.replace("+psycopg", f"+{driver}"))
    assert migrations.upgrade(database, kind.settings) == ["a1"]
