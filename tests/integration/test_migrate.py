"""`seedtool migrate`: one at a time on a target, whoever comes."""

import threading
import time

import pytest

from seedtool.errors import MigrationError
from seedtool.postgres import server
from seedtool.postgres.cluster import open_cluster
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import migrate, reset
from seedtool.schema.layer import Schema
from seedtool.settings import load


@pytest.fixture
def missing(database):
    with open_cluster(database) as cluster:
        cluster.drop(database.name)
    return database


def slow_upgrade(made):
    with server.connect(made) as connection:
        if connection.execute("SELECT to_regclass('made')").fetchone() == (None,):
            time.sleep(0.2)  # long enough for the other one to come to the same conclusion
            connection.execute("CREATE TABLE made (id int)")
            return ["0001"]
    return []


def test_a_missing_database_is_made_and_ours(missing):
    assert migrate(missing, slow_upgrade) == (True, ["0001"])
    with open_cluster(missing) as cluster:
        assert cluster.database(missing.name).managed


def test_two_at_once_run_each_revision_once(missing):
    results = []
    threads = [threading.Thread(target=lambda: results.append(migrate(missing, slow_upgrade))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(False, []), (True, ["0001"])]


def test_a_failed_one_lets_the_next_in(missing):
    def fail(made):
        raise MigrationError("revision 0002 failed")

    with pytest.raises(MigrationError):
        migrate(missing, fail)
    assert migrate(missing, slow_upgrade) == (False, ["0001"])
    server.connect(missing).close()


def test_what_a_migration_does_to_the_database_itself_is_in_a_reset_one_too(database, tmp_path):
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").write_text(f"# {tmp_path}\n")
    settings = load(tmp_path, environ={"HOME": str(tmp_path)})

    def build(made):
        with server.connect(made) as connection:
            name = connection.info.dbname
            connection.execute(f'ALTER DATABASE "{name}" SET search_path = app, public')
            connection.execute(f"COMMENT ON DATABASE \"{name}\" IS 'the school'")
            connection.execute(f'REVOKE TEMPORARY ON DATABASE "{name}" FROM PUBLIC')

    def kept():
        with server.connect(database) as connection:
            return connection.execute(
                "SELECT current_setting('search_path'), shobj_description(oid, 'pg_database'),"
                " (SELECT array_agg(privilege_type) FROM aclexplode(datacl) WHERE grantee = 0)"
                " FROM pg_database WHERE datname = current_database()"
            ).fetchone()

    reset(settings, database, [Schema(settings, build)], consent=Consent.NAME)
    assert kept() == ("app, public", "the school", ["CONNECT"])
    with open_cluster(database) as cluster:
        cluster.drop(database.name)
    reset(settings, database, [Schema(settings, build)], consent=Consent.NONE)
    assert kept() == ("app, public", "the school", ["CONNECT"])
    with server.connect(database, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{database.name}" SET search_path = mine')
    reset(settings, database, [Schema(settings, build)], consent=Consent.YES)
    assert kept() == ("mine", "the school", ["CONNECT"])  # the target's own word wins
    with open_cluster(database) as cluster:
        for facts in cluster.private_databases():
            cluster.drop(facts.name)


@pytest.fixture
def empty_project(tmp_path):
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").write_text(f"# {tmp_path}\n")
    return load(tmp_path, environ={"HOME": str(tmp_path)})


def test_the_targets_own_settings_are_in_force_while_its_template_is_built(database, empty_project):
    def build(made):
        with server.connect(made) as connection:
            connection.execute("CREATE SCHEMA app; CREATE TABLE made (at timestamptz DEFAULT '2026-11-20 12:00')")

    def made():
        with server.connect(database) as connection:
            return connection.execute(
                "SELECT c.relnamespace::regnamespace::text, pg_get_expr(adbin, adrelid)"
                " FROM pg_class c JOIN pg_attrdef ON adrelid = c.oid WHERE relname = 'made'"
            ).fetchone()

    def set_to(**options):
        with server.connect(database, autocommit=True) as connection:
            for name, value in options.items():
                connection.execute(f'ALTER DATABASE "{database.name}" SET {name} = {value}')

    assert reset(empty_project, database, [Schema(empty_project, build)], consent=Consent.NAME).built
    assert made()[0] == "public"
    set_to(statement_timeout="'1min'", log_min_duration_statement="100")  # an application's limits shape nothing
    assert not reset(empty_project, database, [Schema(empty_project, build)], consent=Consent.NAME).built
    set_to(search_path='"$user", app, public', timezone="'America/Santiago'")
    assert reset(empty_project, database, [Schema(empty_project, build)], consent=Consent.NAME).built
    assert made() == ("app", "'2026-11-20 12:00:00-03'::timestamp with time zone")
    assert not reset(empty_project, database, [Schema(empty_project, build)], consent=Consent.NAME).built
    with open_cluster(database) as cluster:
        for facts in cluster.private_databases():
            cluster.drop(facts.name)


def test_a_folder_that_is_no_project_is_refused_before_a_server_is_made(tmp_path):
    settings = load(tmp_path, environ={"HOME": str(tmp_path), "SEEDTOOL_HOME": str(tmp_path / "state")})
    with pytest.raises(MigrationError) as refusal:
        reset(settings, server.find(settings), [Schema(settings, lambda _: None)], consent=Consent.NAME)
    assert refusal.value.place == {"file": "alembic.ini"}
    assert "alembic init" in refusal.value.remedy
    assert not (tmp_path / "state").exists()
