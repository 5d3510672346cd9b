"""Resets among odd names, crowds, half-dropped databases and whatever else a server that lives has."""

import threading

import psycopg
import pytest
from psycopg import sql

from seedtool.errors import BlockedError, MigrationError
from seedtool.listener import Listener
from seedtool.postgres import cluster, server
from seedtool.postgres.cluster import lock_key, open_cluster, private_name
from seedtool.postgres.server import Target
from seedtool.resetting import templates
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import plan, reset
from seedtool.schema.layer import Schema
from tests.waiting import until


def build(made):
    with server.connect(made) as connection:
        connection.execute("CREATE TABLE made_by_build (id int)")


def execute(target, *statements, **names):
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        for statement in statements:
            found = connection.execute(sql.SQL(statement).format(**{k: sql.Identifier(v) for k, v in names.items()}))
        return found.fetchall() if found.description else []


def named(target, name):
    return Target(
        conninfo=target.conninfo_for(name), name=name, maintenance=target.maintenance, embedded=target.embedded
    )


def tables(target):
    with server.connect(target) as connection:
        found = connection.execute("SELECT relname FROM pg_class WHERE oid >= 16384 AND relkind = 'r'").fetchall()
        return [name for (name,) in found]


@pytest.mark.parametrize(
    "name",
    [
        'a "b" c\'s',
        "UPPER lower",
        "año 漢字 🙂",
        "ñ" * 31 + "x",
        "100%s %(x)s {0}",
        "host=elsewhere dbname=other",
        "postgresql://elsewhere/other",
        "back\\slash",
        "semi; DROP DATABASE postgres",
        "seedtool_clone_x",
    ],
)
def test_every_name_that_postgresql_allows(project, target, name):
    database = named(target, name)
    try:
        assert not reset(project, database, [Schema(project, build)], consent=Consent.NONE).replaced
        assert reset(project, database, [Schema(project, pytest.fail)], consent=Consent.YES).replaced
        assert tables(database) == ["made_by_build"]
    finally:
        execute(target, "DROP DATABASE {name}", name=name)


class TestCrowds:
    def test_fresh_and_common_resets_of_one_project_at_once(self, project, target):
        databases = [named(target, f"crowd_{number}") for number in range(3)]
        errors = []

        def run(database, *, fresh):
            try:
                for _ in range(3):
                    reset(project, database, [Schema(project, build)], consent=Consent.YES, fresh=fresh)
            except Exception as error:  # noqa: BLE001 - any failure fails the test
                errors.append(error)

        threads = [
            threading.Thread(target=run, args=(database,), kwargs={"fresh": fresh})
            for database in databases
            for fresh in (True, False)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        try:
            assert errors == []
            assert [tables(database) for database in databases] == [["made_by_build"]] * 3
        finally:
            for database in databases:
                execute(target, "DROP DATABASE {name}", name=database.name)

    def test_who_waits_for_a_template_gets_it_as_soon_as_it_is_built(self, project, database):
        begun, built, waited = threading.Event(), [], []

        def build_while_another_waits(made):
            built.append(made.name)
            begun.set()
            until(lambda: execute(database, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
            build(made)

        layers = [Schema(project, build_while_another_waits)]

        def wait():
            begun.wait(60)
            with open_cluster(database) as other:
                waited.append(templates.ensure(other, layers, templates.of_target(other)).built)

        thread = threading.Thread(target=wait)
        thread.start()
        with open_cluster(database) as first:
            assert templates.ensure(first, layers, templates.of_target(first)).built
            thread.join(60)  # the first one's connection is open still
            assert waited == [False]
        assert len(built) == 1

    def test_what_another_reset_has_swept_meanwhile_is_no_error(self, project, database, monkeypatch):
        with open_cluster(database) as cluster:
            gone = private_name("old", "0123456789" * 2)
            execute(database, "CREATE DATABASE {name} IS_TEMPLATE true", name=gone)
            listed = cluster.private_databases()
            cluster.drop(gone)
        monkeypatch.setattr("seedtool.postgres.cluster.Cluster.private_databases", lambda *_: listed)
        reset(project, database, [Schema(project, build)], consent=Consent.NONE)
        monkeypatch.undo()

    def test_a_monitor_that_looks_into_every_new_database_is_sent_away(self, project, database):
        watching = []

        def build_watched(made):
            build(made)
            watching.append(server.connect(made))

        reset(project, database, [Schema(project, build_watched)], consent=Consent.NONE)
        with pytest.raises(psycopg.OperationalError):
            watching[0].execute("SELECT 1")
        watching[0].close()

    def test_the_servers_own_fault_is_not_hidden_by_the_cleaning_up(self, project, database):
        def build_badly(_):
            with server.connect(database, database.maintenance, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'seedtool'"
                    " AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = %s)"
                    " AND pid <> pg_backend_pid()",
                    [lock_key(database.digest) & 0xFFFFFFFF],
                )
            raise MigrationError("revision 7 failed")

        with pytest.raises(MigrationError, match="revision 7"):
            reset(project, database, [Schema(project, build_badly)], consent=Consent.NONE)
        reset(project, database, [Schema(project, build)], consent=Consent.NONE)

    def test_a_subscription_is_named_and_nothing_changes(self, project, database):
        with server.connect(database, autocommit=True) as connection:
            connection.execute(
                "CREATE SUBSCRIPTION orders CONNECTION 'dbname=x' PUBLICATION p"
                " WITH (connect = false, slot_name = NONE, enabled = false)"
            )
        with pytest.raises(BlockedError, match="subscription orders"):
            reset(project, database, [Schema(project, build)], consent=Consent.NAME)
        assert tables(database) == []
        with server.connect(database, autocommit=True) as connection:
            connection.execute("DROP SUBSCRIPTION orders")


class TestConditions:
    def test_a_template_and_a_closed_database_stay_so(self, project, database):
        execute(
            database, "ALTER DATABASE {name} IS_TEMPLATE true", "ALTER DATABASE {name} ALLOW_CONNECTIONS false",
            name=database.name,
        )  # fmt: skip
        reset(project, database, [Schema(project, build)], consent=Consent.NAME)
        with open_cluster(database) as cluster:
            facts = cluster.database(database.name)
        assert (facts.is_template, facts.connectable, facts.managed) == (True, False, True)
        execute(
            database, "ALTER DATABASE {name} IS_TEMPLATE false", "ALTER DATABASE {name} ALLOW_CONNECTIONS true",
            name=database.name,
        )  # fmt: skip
        assert tables(database) == ["made_by_build"]

    def test_each_database_stays_in_its_tablespace(self, project, database, target):
        other = named(target, f"{database.name}_2")
        with server.connect(target, target.maintenance, autocommit=True) as connection:
            connection.execute("SET allow_in_place_tablespaces = on; ")
            connection.execute("CREATE TABLESPACE fast LOCATION ''")
        execute(target, "ALTER DATABASE {name} SET TABLESPACE fast", name=database.name)
        try:
            reset(project, database, [Schema(project, build)], consent=Consent.NONE)
            reset(project, other, [Schema(project, build)], consent=Consent.NONE)
            with open_cluster(target) as cluster:
                assert cluster.database(database.name).tablespace == "fast"
                assert cluster.database(other.name).tablespace == "pg_default"
        finally:
            execute(target, "DROP DATABASE {name}", name=other.name)
            execute(target, "DROP DATABASE {name}", name=database.name)
            with open_cluster(target) as cluster:
                for each in cluster.private_databases():
                    cluster.drop(each.name)
            execute(target, "DROP TABLESPACE fast")

    def test_a_database_whose_removal_was_interrupted_is_replaced(self, project, database):
        execute(database, f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{database.name}'")
        reset(project, database, [Schema(project, build)], consent=Consent.NAME)
        assert tables(database) == ["made_by_build"]

    @pytest.mark.parametrize(
        "acl",
        [
            "REVOKE ALL ON DATABASE {name} FROM PUBLIC, postgres",
            "REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
            "GRANT CREATE ON DATABASE {name} TO PUBLIC",
        ],
    )
    def test_grants_and_the_lack_of_them_stay(self, project, database, acl):
        query = f"SELECT datacl::text FROM pg_database WHERE datname = '{database.name}'"
        execute(database, acl, name=database.name)
        before = execute(database, query)
        reset(project, database, [Schema(project, build)], consent=Consent.NAME)
        assert execute(database, query) == before

    @pytest.mark.parametrize("key", ['app."Käse"', "app.a$b", '"App".tenant', "a.b.c"])
    def test_settings_with_odd_names_stay(self, project, database, key):
        query = (
            "SELECT option FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase, unnest(setconfig) option"
            f" WHERE datname = '{database.name}' AND option NOT LIKE 'seedtool.%'"
        )
        execute(database, f"ALTER DATABASE {{name}} SET {key} = 'x, \"y\"= '", name=database.name)
        before = execute(database, query)
        assert len(before) == 1
        reset(project, database, [Schema(project, build)], consent=Consent.NONE)
        assert execute(database, query) == before

    def test_a_setting_that_the_server_no_longer_knows_is_named_and_nothing_changes(self, project, database):
        execute(database, "ALTER DATABASE {name} SET work_mem = '1MB'", name=database.name)
        execute(
            database,
            "UPDATE pg_db_role_setting SET setconfig = '{{forgotten_setting=1}}' WHERE setconfig = '{{work_mem=1MB}}'",
        )
        with pytest.raises(BlockedError, match="forgotten_setting"):
            reset(project, database, [Schema(project, build)], consent=Consent.NONE)
        assert tables(database) == []


class TestALockThatSomebodyHolds:
    def test_after_a_while_it_is_said_who_holds_it(self, project, database, monkeypatch):
        monkeypatch.setattr(cluster, "QUIET_WAIT", 1)
        heard = []
        listener = Listener()

        def hear(text):
            heard.append(text)
            other.close()

        listener.note = hear
        other = server.connect(database, database.maintenance, autocommit=True, application="a colleague")
        other.execute("SELECT pg_advisory_lock(%s)", [lock_key(database.digest)])
        pid = other.info.backend_pid
        reset(project, database, [Schema(project, build)], consent=Consent.NONE, listener=listener)
        assert f"session {pid} of postgres (a colleague)" in heard[0]

    def test_a_wait_has_an_end(self, project, database, monkeypatch):
        monkeypatch.setattr(cluster, "QUIET_WAIT", 1)
        monkeypatch.setattr(cluster, "LONGEST_WAIT", 1)
        with server.connect(database, database.maintenance, autocommit=True, application="a colleague") as other:
            other.execute("SELECT pg_advisory_lock(%s)", [lock_key(database.digest)])
            with pytest.raises(BlockedError) as refusal:
                reset(project, database, [Schema(project, build)], consent=Consent.NONE)
        assert "a colleague" in str(refusal.value)
        assert "pg_terminate_backend" in refusal.value.remedy

    def test_a_wait_for_a_template_has_an_end_too(self, project, database, monkeypatch):
        monkeypatch.setattr(cluster, "QUIET_WAIT", 1)
        monkeypatch.setattr(cluster, "LONGEST_WAIT", 1)
        with server.connect(database, database.maintenance, autocommit=True, application="a colleague") as other:
            fingerprint = plan(database, [Schema(project, build)]).fingerprint
            other.execute("SELECT pg_advisory_lock(%s)", [cluster._holding(fingerprint)])
            with pytest.raises(BlockedError, match="a colleague"):
                reset(project, database, [Schema(project, build)], consent=Consent.NONE)
