"""A role that may not create databases: the schemas are dropped and built again in place."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from seedtool.errors import BlockedError, DatabaseError, MigrationError, NotConfirmed, Protected
from seedtool.listener import Listener
from seedtool.postgres import server, sessions
from seedtool.postgres.cluster import open_cluster
from seedtool.resetting import guard
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import plan, reset
from seedtool.schema.layer import Schema
from seedtool.settings import load

GIVEN = """
from alembic import context
connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
"""
OWN_ENGINE = """
import os
from alembic import context
from sqlalchemy import create_engine, text
with create_engine(os.environ["APP_URL"]).connect() as connection:
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS side"))
    connection.commit()
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
ASYNC = """
import asyncio
import os
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine
def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
async def main():
    engine = create_async_engine(os.environ["APP_URL"])
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()
asyncio.run(main())
"""
REVISION = """
from alembic import op
revision, down_revision = "{number}", {down!r}
def upgrade():
    {body}
"""
TABLES = """
    op.execute("CREATE SCHEMA app")
    op.execute("CREATE TABLE app.books (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz)")
    op.execute("CREATE TABLE loans (id serial PRIMARY KEY, book int REFERENCES app.books)")
"""
# everything that a revision of an earlier branch may have left, and data
LEFTOVERS = """
CREATE SCHEMA app; CREATE SCHEMA "Old things";
CREATE TABLE app.books (id int PRIMARY KEY); INSERT INTO app.books VALUES (1);
CREATE TABLE loans (id serial PRIMARY KEY, book int REFERENCES app.books); INSERT INTO loans VALUES (7, 1);
CREATE TABLE alembic_version (version_num text PRIMARY KEY); INSERT INTO alembic_version VALUES ('1');
CREATE TYPE mood AS ENUM ('good'); CREATE DOMAIN short AS text; CREATE TYPE pair AS (a int, b mood);
CREATE TYPE span AS RANGE (subtype = int4);
CREATE FUNCTION "Odd name"(m mood, short) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'; CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
CREATE AGGREGATE number(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0');
CREATE VIEW "Old things".v AS SELECT * FROM loans; CREATE MATERIALIZED VIEW mv AS SELECT * FROM "Old things".v;
CREATE SEQUENCE s; CREATE TABLE parted (id int, m mood) PARTITION BY LIST (id);
CREATE TABLE part PARTITION OF parted FOR VALUES IN (1); CREATE STATISTICS st ON id, m FROM part;
CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER t BEFORE INSERT ON loans FOR EACH ROW EXECUTE FUNCTION t();
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE COLLATION c FROM "C"; CREATE TEXT SEARCH CONFIGURATION tsc (COPY = simple); CREATE PUBLICATION pub FOR TABLE loans;
SELECT lo_create(4711)
"""
LISTING = r"""
SELECT found.type, regexp_replace(found.identity, '_\d{4,}"', '_"') FROM pg_depend d, pg_identify_object(classid, objid, 0) found
WHERE objid >= 16384 AND coalesce(found.schema, '') !~ '^pg_' AND found.identity !~ ' on pg_temp_' UNION SELECT 'large object', oid::text FROM pg_largeobject_metadata
ORDER BY 1, 2
"""


#: what does not hang on the server's version
ON_THE_NEWEST = pytest.mark.parametrize("external", ["newest"], indirect=True)


class Project:
    """An Alembic project whose target is a database of `plain`, who may not create any."""

    def __init__(self, root, external, monkeypatch):
        self.root = root
        self.external = external
        self.url = external.url("app", user="plain", scheme="postgresql+psycopg")
        self.settings = load(root, environ={"HOME": str(root), "DATABASE_URL": self.url})
        self.target = server.find(self.settings)
        monkeypatch.setenv("APP_URL", self.url)
        self.write("alembic.ini", "[alembic]\nscript_location = %(here)s/db\npath_separator = os\n")
        self.write("db/env.py", GIVEN)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def revisions(self, *bodies):
        for number, body in enumerate(bodies, 1):
            down = str(number - 1) if number > 1 else None
            self.write(f"db/versions/{number}.py", REVISION.format(number=number, down=down, body=body.strip()))

    def reset(self, consent=Consent.NAME):
        return reset(self.settings, self.target, [Schema(self.settings)], consent=consent)

    def popen(self, *arguments):
        program = [Path(sys.executable).parent / "seedtool", *arguments]
        environ = {**os.environ, "DATABASE_URL": self.url}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(program, cwd=self.root, env=environ, text=True, **pipes)

    def command(self, *arguments):
        with self.popen(*arguments) as running:
            out, err = running.communicate(timeout=60)
        assert running.returncode == 0, out + err
        return subprocess.CompletedProcess(arguments, 0, out, err)

    def query(self, statement):
        with server.connect(self.target) as connection:
            return connection.execute(statement).fetchall()

    def execute(self, statement):
        with server.connect(self.target) as connection:
            connection.execute(statement)


@pytest.fixture
def project(external, tmp_path, monkeypatch):
    external.execute("CREATE DATABASE app OWNER plain TEMPLATE template0")
    found = Project(tmp_path, external, monkeypatch)
    found.revisions(TABLES)
    return found


@pytest.mark.parametrize("env", [GIVEN, OWN_ENGINE, ASYNC], ids=["given", "own engine", "async"])
def test_it_leaves_what_the_migrations_make_and_nothing_else(project, env):
    project.write("db/env.py", env)
    first = project.reset(Consent.NONE)  # nothing to lose
    assert (first.in_place.atomic, first.template) == (True, None)
    made = project.query(LISTING)
    assert ("table", "app.books") in made
    project.execute("DROP SCHEMA app CASCADE; DROP TABLE loans, alembic_version; DROP SCHEMA IF EXISTS side")
    project.execute(LEFTOVERS)
    assert project.reset(Consent.YES).in_place.atomic  # marked by the first one
    assert project.query(LISTING) == made
    assert project.query("SELECT count(*) FROM loans") == [(0,)]
    assert project.query("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public'") == [
        ("pg_database_owner",)
    ]


@ON_THE_NEWEST
def test_the_guard_asks_as_for_replacing(project):
    project.execute(LEFTOVERS)
    assert plan(project.target, [Schema(project.settings)]).consent is Consent.NAME
    with pytest.raises(NotConfirmed):
        project.reset(Consent.YES)
    project.reset(Consent.NAME)
    with open_cluster(project.target) as cluster:
        guard.protect(cluster, "app")
    with pytest.raises(Protected):
        project.reset()


@ON_THE_NEWEST
def test_the_plan_tells_what_goes(project):
    project.execute(LEFTOVERS)
    project.revisions(TABLES, 'op.execute("CREATE INDEX CONCURRENTLY i ON loans (book)")')
    found = plan(project.target, [Schema(project.settings)])
    assert found.in_place.drops[:2] == ['schema "Old things"', "schema app"]
    assert "objects in public" in found.in_place.drops[-1]
    assert found.in_place.may_leave_transaction == ["db/versions/2.py"]
    assert project.query("SELECT count(*) FROM loans") == [(1,)]


@ON_THE_NEWEST
@pytest.mark.parametrize("env", [GIVEN, OWN_ENGINE, ASYNC], ids=["given", "own engine", "async"])
def test_a_failure_leaves_everything_as_it_was(project, env):
    project.execute(LEFTOVERS)
    before = project.query(LISTING)
    project.write("db/env.py", env)
    project.revisions(TABLES, 'op.execute("SELECT nonsense")')
    with pytest.raises(MigrationError, match="nonsense") as failure:
        project.reset()
    assert failure.value.place == {"revision": "2", "file": "db/versions/2.py", "code": "42703"}
    assert project.query(LISTING) == before
    assert project.query("SELECT * FROM loans") == [(7, 1)]


LEAVING = {
    "autocommit block": """with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY i ON loans (book)")""",
    "commit": """op.execute("COMMIT"); op.execute("CREATE INDEX i ON loans (book)")""",
}


@pytest.mark.parametrize("body", LEAVING.values(), ids=LEAVING)
def test_a_revision_that_leaves_the_transaction_needs_the_name(project, body):
    project.reset(Consent.NONE)
    project.execute("INSERT INTO loans VALUES (7, NULL)")
    before = project.query(LISTING)
    project.revisions(TABLES, body)
    with pytest.raises(NotConfirmed) as refusal:
        project.reset(Consent.YES)
    assert (refusal.value.place["revision"], refusal.value.place["file"]) == ("2", "db/versions/2.py")
    assert "--confirm app" in refusal.value.remedy
    assert project.query(LISTING) == before
    assert project.query("SELECT * FROM loans") == [(7, None)]
    assert not project.reset(Consent.NAME).in_place.atomic
    assert project.query("SELECT count(*) FROM loans") == [(0,)]
    assert project.query("SELECT to_regclass('i') IS NOT NULL") == [(True,)]
    assert project.reset(Consent.NAME).in_place.atomic is False


ENUM = """
    op.execute("CREATE TYPE mood AS ENUM ('good')")
    op.execute("CREATE TABLE moods (mood mood)")
"""


def test_a_value_of_an_enum_that_a_later_revision_uses(project):
    """A value that was added cannot be used before it is committed, as `transaction_per_migration` would."""
    project.revisions(
        ENUM, """op.execute("ALTER TYPE mood ADD VALUE 'bad'")""", """op.execute("INSERT INTO moods VALUES ('bad')")"""
    )
    project.execute("CREATE TABLE precious ()")
    with pytest.raises(NotConfirmed) as refusal:
        reset_marked(project)
    assert "--confirm app" in refusal.value.remedy
    assert project.query("SELECT to_regclass('precious') IS NOT NULL") == [(True,)]
    assert project.reset(Consent.NAME).in_place.atomic is False
    assert project.query("SELECT mood::text FROM moods") == [("bad",)]


def reset_marked(project):
    """Reset with --yes a database that carries the managed mark."""
    with open_cluster(project.target) as cluster:
        guard.mark_managed(cluster, project.target.name)
    return project.reset(Consent.YES)


@ON_THE_NEWEST
def test_a_failure_in_steps_says_that_the_database_was_emptied(project, approved):
    project.reset(Consent.NONE)
    project.revisions(TABLES, LEAVING["autocommit block"], 'op.execute("SELECT nonsense")')
    with pytest.raises(MigrationError, match="nonsense") as failure:
        project.reset(Consent.NAME)
    assert failure.value.place == {"revision": "3", "file": "db/versions/3.py", "code": "42703"}
    approved(failure.value)


@ON_THE_NEWEST
def test_a_session_in_the_way_is_ended_where_that_is_allowed(project, monkeypatch):
    monkeypatch.setattr(sessions, "PATIENCE", 0.1)
    project.execute(LEFTOVERS)
    with psycopg.connect(project.target.conninfo) as ours:
        ours.execute("""COMMENT ON SCHEMA "Old things" IS 'not only tables are locked'""")
        assert project.reset().sessions_ended == 1
        with pytest.raises(psycopg.OperationalError):
            ours.execute("SELECT 1")
    with psycopg.connect(project.target.conninfo) as idle:  # holds no lock, so it stays
        assert project.reset().sessions_ended == 0
        assert idle.execute("SELECT count(*) FROM loans").fetchone() == (0,)
    project.external.execute("GRANT CONNECT ON DATABASE app TO boss")
    with psycopg.connect(project.external.boss, dbname="app", application_name="psql") as theirs:
        theirs.execute("SELECT * FROM loans")
        with pytest.raises(BlockedError, match=rf"session {theirs.info.backend_pid} of \w+ \(psql\)"):
            project.reset()
        theirs.execute("SELECT 1")


@pytest.mark.parametrize("external", ["oldest"], indirect=True)  # where such transactions are allowed
def test_a_prepared_transaction_in_the_way_is_named(project, monkeypatch):
    monkeypatch.setattr(sessions, "PATIENCE", 0.1)
    project.execute(LEFTOVERS)
    project.execute("INSERT INTO loans VALUES (8, 1); PREPARE TRANSACTION 'half done'")
    with pytest.raises(BlockedError, match="half done"):
        project.reset()
    assert project.query("SELECT * FROM loans") == [(7, 1)]
    with psycopg.connect(project.target.conninfo, autocommit=True) as connection:
        connection.execute("ROLLBACK PREPARED 'half done'")


@ON_THE_NEWEST
def test_clients_that_lock_again_at_once_do_not_stop_it(project):
    project.execute(LEFTOVERS)
    stop, seen = threading.Event(), []

    def work():
        while not stop.is_set():
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(project.target.conninfo) as eager:
                while not stop.is_set():
                    seen.append(eager.execute("SELECT count(*) FROM loans").fetchone()[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        while len(seen) < 100:
            time.sleep(0.005)
        assert project.reset().sessions_ended >= 4
        at = len(seen)
        while len(seen) < at + 100:
            time.sleep(0.005)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(seen) == {1, 0}  # the old rows or the new schema, and never no table


def test_what_others_own_stays_and_so_does_what_only_an_administrator_can_make(project):
    """A database that an administrator prepared: the role owns a schema in it, and may make no other."""
    project.external.execute("ALTER DATABASE app OWNER TO boss")
    project.external.execute(
        "CREATE SCHEMA app AUTHORIZATION plain", "GRANT USAGE ON SCHEMA app TO reader", "GRANT CREATE ON SCHEMA public TO plain",
        "CREATE TABLE public.audit (id int)", "ALTER DEFAULT PRIVILEGES FOR ROLE plain GRANT SELECT ON TABLES TO reader",
        database="app",
    )  # fmt: skip
    project.revisions(TABLES.replace('op.execute("CREATE SCHEMA app")', "pass"))
    for _ in range(2):
        assert project.reset(Consent.NAME).in_place.atomic
    assert project.query("SELECT has_schema_privilege('reader', 'app', 'USAGE')") == [(True,)]
    assert project.query("SELECT has_table_privilege('reader', 'app.books', 'SELECT')") == [(True,)]
    assert project.query("SELECT to_regclass('audit') IS NOT NULL") == [(True,)]


@ON_THE_NEWEST
def test_a_schema_that_no_revision_makes_is_kept_on_the_second_try(project):
    project.external.execute(
        "CREATE SCHEMA app AUTHORIZATION plain", "GRANT USAGE ON SCHEMA app TO reader", database="app"
    )
    project.revisions(TABLES.replace('op.execute("CREATE SCHEMA app")', "pass"))
    project.execute("CREATE TABLE app.old (id int)")
    assert project.reset().in_place.atomic
    assert project.query("SELECT to_regclass('app.old'), has_schema_privilege('reader', 'app', 'USAGE')") == [
        (None, True)
    ]


@ON_THE_NEWEST
def test_a_version_table_of_somebody_else_is_told(project):
    project.reset(Consent.NONE)
    project.external.execute(
        "ALTER TABLE alembic_version OWNER TO boss", "GRANT ALL ON alembic_version TO plain", database="app"
    )
    with pytest.raises(BlockedError) as refusal:
        project.reset()
    assert "ALTER TABLE alembic_version OWNER TO" in refusal.value.remedy
    assert project.query("SELECT count(*) FROM app.books") == [(0,)]


@ON_THE_NEWEST
def test_seeds_are_loaded_within_the_same_transaction(project):
    project.write("seeds/profiles.toml", '[local]\nsets = ["local"]\n')
    project.write("seeds/local/app.books.csv", "id,at\n7,2026-03-31\n")
    project.reset(Consent.NONE)
    done = project.command("db-reset", "--yes", "--seed", "local", "--json")
    report = json.loads(done.stdout)
    assert report["reset"]["in_place"]["atomic"] is True
    assert report["seed"]["tables"][0]["inserted"] == 1
    assert project.query("SELECT id FROM app.books") == [(7,)]

    project.execute("INSERT INTO loans (book) VALUES (7)")
    project.write("seeds/local/app.books.csv", "id,at\n8,2026-03-31\n9,yesterday morning\n")
    with project.popen("db-reset", "--yes", "--seed", "local") as running:
        _, told = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "app.books.csv:3, column at" in told
    assert project.query("SELECT book FROM loans") == [(7,)]  # nothing was changed


@ON_THE_NEWEST
def test_an_empty_database_that_is_filled_meanwhile_is_left_alone(project):
    def fill_meanwhile(step):
        if step == "rebuild":
            project.execute("CREATE TABLE rows_of_people (id int)")

    listener = Listener()
    listener.step = fill_meanwhile
    with pytest.raises(NotConfirmed) as refusal:
        reset(project.settings, project.target, [Schema(project.settings)], consent=Consent.NONE, listener=listener)
    assert "--confirm app" in refusal.value.remedy
    assert project.query("SELECT count(*) FROM rows_of_people") == [(0,)]


@ON_THE_NEWEST
def test_a_layer_that_cannot_be_built_in_place_is_refused_before_anything_is_lost(project):
    class Elsewhere(Schema):
        in_place = False
        purpose = "a masked copy"

    project.execute(LEFTOVERS)
    with pytest.raises(DatabaseError) as refusal:
        reset(project.settings, project.target, [Elsewhere(project.settings)], consent=Consent.NAME)
    assert "a masked copy" in refusal.value.message
    assert "CREATEDB" in refusal.value.remedy
    assert project.query("SELECT * FROM loans") == [(7, 1)]


@ON_THE_NEWEST
def test_a_missing_database_is_refused_with_the_cure(project):
    project.external.drop_all()
    with pytest.raises(DatabaseError) as refusal:
        project.reset()
    assert "CREATEDB" in refusal.value.remedy


@ON_THE_NEWEST
def test_a_killed_rebuild_leaves_everything_as_it_was(project):
    """From the command line, which tells before what will be dropped and how."""
    project.execute(LEFTOVERS)
    before = project.query(LISTING)
    project.revisions(TABLES, 'op.execute("SELECT pg_sleep(60)")')
    told = project.command("db-reset", "--dry-run")
    assert "would rebuild the schemas of app" in told.stdout
    assert "in one transaction: this role may not create databases" in told.stdout
    assert 'would drop schema "Old things", schema app, ' in told.stdout
    sleeping = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = 'app'"
    with project.popen("db-reset", "--confirm", "app") as running:
        while not project.external.execute(sleeping):
            assert running.poll() is None, running.communicate()
            time.sleep(0.02)
        running.kill()
    # the server learns of it when it has something to tell; until then the old schema is locked, and still there
    for (pid,) in project.external.execute(sleeping):
        project.external.execute(f"SELECT pg_terminate_backend({pid}, 10000)")
    assert project.query(LISTING) == before
    assert project.query("SELECT * FROM loans") == [(7, 1)]
    project.revisions(TABLES, "pass")
    assert (
        "(in one transaction: this role may not create databases)"
        in project.command("db-reset", "--confirm", "app").stdout
    )
