"""A project and a database worth saving, and a look at what a server holds afterwards."""

import re
import time
from types import SimpleNamespace

import pytest
from psycopg import sql

from seedtool.files.signing import Keys
from seedtool.postgres import server
from seedtool.postgres.cluster import open_cluster
from seedtool.postgres.server import SNAPSHOT_NAME, Target
from seedtool.resetting import guard
from seedtool.resetting.guard import Consent
from seedtool.settings import load
from seedtool.snapshots import archive, registry
from seedtool.snapshots.snapshots import restore, save

PASSING = re.compile(r"seedtool_(building|clone|old)_[0-9a-f]{20}")


class Shop:
    """A target with one table, and what a user does with it. Also the words in which tests speak of servers."""

    def __init__(self, settings, target):
        self.settings = settings
        self.target = target
        self.keys = Keys(None, settings.root / "state")

    def fill(self, value):
        """Give the one row another value; makes the table, and Alembic's, when they are not there."""
        with server.connect(self.target) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS takings (value text, year text DEFAULT 'año')")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32), CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
            )
            connection.execute(
                "INSERT INTO alembic_version SELECT '0007' WHERE NOT EXISTS (SELECT FROM alembic_version)"
            )
            connection.execute("DELETE FROM takings")
            connection.execute("INSERT INTO takings (value) VALUES (%s)", [value])
        self.alone()

    def value(self):
        with server.connect(self.target) as connection:
            (found,) = connection.execute("SELECT value || ' ' || year FROM takings").fetchall()
        return found[0].removesuffix(" año")

    def alone(self):
        """Wait until no session of ours is left on the target: a closed one takes a moment to end."""
        query = "SELECT count(*) FROM pg_stat_activity a JOIN pg_database d ON d.oid = a.datid WHERE d.datname = {name}"
        while self.execute(query + " AND usesysid IS NOT NULL") != [(0,)]:
            pass

    def save(self, name="first", **options):
        return save(self.settings, self.target, name, **options)

    def restore(self, name="first", consent=Consent.NAME, **options):
        return restore(self.settings, self.target, name, lambda _: consent, **options)

    def export(self, file, name="first", **options):
        return archive.export(self.target, name, file, self.keys, **options)

    def import_file(self, file, name=None, **options):
        """Read a snapshot from a file; with `keys=None` from one that the user trusts."""
        return archive.import_file(self.target, file, options.pop("keys", self.keys), name, **options)

    def names(self):
        return sorted(snapshot.name for snapshot in registry.snapshots(self.target))

    def execute(self, *statements, database=None):
        """Run statements in the maintenance database, where {name} is the target's."""
        with server.connect(self.target, database or self.target.maintenance, autocommit=True) as connection:
            for statement in statements:
                literal = sql.Literal if statement.startswith("SELECT") else sql.Identifier
                found = connection.execute(sql.SQL(statement).format(name=literal(self.target.name)))
            return found.fetchall() if found.description else []

    def passing(self):
        """The databases that a crash left; those are waited for that the server is dropping on its own."""
        deadline = time.monotonic() + 60
        busy = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query ~ '^(CREATE|DROP) DATABASE'"
        while True:
            made = self.execute(busy)
            left = [name for (name,) in self.execute("SELECT datname FROM pg_database") if PASSING.fullmatch(name)]
            if not (made or left) or time.monotonic() > deadline:
                return left
            time.sleep(0.01)

    def protect(self):
        with open_cluster(self.target) as cluster:
            guard.protect(cluster, self.target.name)

    def unprotect(self):
        with open_cluster(self.target) as cluster:
            guard.unprotect(cluster, self.target.name)

    def also(self, name):
        """The same words for another database of the server."""
        target = Target(
            conninfo=self.target.conninfo_for(name), name=name, maintenance=self.target.maintenance,
            embedded=self.target.embedded,
        )  # fmt: skip
        return Shop(self.settings, target)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    (tmp_path / "migrations" / "versions" / "seven.py").write_text('revision: str = "0007"\ndown_revision = None\n')
    return load(tmp_path, environ={"HOME": str(tmp_path)})


@pytest.fixture
def shop(project, database):
    """A shop on the embedded server; whatever a test leaves under a passing name is a fault."""
    found = Shop(project, database)
    found.fill("old")
    yield found
    left = found.passing()
    drop_snapshots(found)
    assert left == []


def drop_snapshots(shop):
    shop.passing()
    for (name,) in shop.execute("SELECT datname FROM pg_database"):
        if SNAPSHOT_NAME.fullmatch(name) or PASSING.fullmatch(name) or name.startswith("seedtool_spare_"):
            shop.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def weak(shop):
    """The shop as its owner sees it: a role without superuser but with CREATEDB."""
    shop.execute("CREATE ROLE weak LOGIN CREATEDB", "ALTER DATABASE {name} OWNER TO weak")
    shop.execute(
        "ALTER TABLE takings OWNER TO weak; ALTER TABLE alembic_version OWNER TO weak", database=shop.target.name
    )
    shop.alone()
    conninfo = f"{shop.target.conninfo} user=weak"
    target = Target(conninfo=conninfo, name=shop.target.name, maintenance="postgres", embedded=shop.target.embedded)
    yield Shop(shop.settings, target)
    drop_snapshots(shop)
    shop.execute("DROP DATABASE {name} WITH (FORCE)", "DROP ROLE weak")


@pytest.fixture
def tools():
    """The programs of the newest version here, which is the wheel's."""
    from seedtool.postgres import programs

    return SimpleNamespace(newest=programs.fitting(180000)[-1])
