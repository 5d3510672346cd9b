"""The reset on a real server: what it replaces, what it keeps, and what a crash leaves."""

import random
import signal
import tempfile
import textwrap
import threading
import time

import psycopg
import pytest
from psycopg import sql

from seedtool.errors import BlockedError, DatabaseError, NotConfirmed, PoolerError, Protected
from seedtool.postgres import server
from seedtool.postgres.cluster import open_cluster
from seedtool.postgres.server import Target
from seedtool.resetting import guard
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import plan, reset
from seedtool.schema.layer import Schema
from tests import processes

SCHEMA = "CREATE TABLE schema_made_by_build (id int primary key); INSERT INTO schema_made_by_build VALUES (1)"


def build(made):
    with server.connect(made) as connection:
        connection.execute(SCHEMA)


pytestmark = pytest.mark.usefixtures("nothing_private_left")


def put_old_data(database):
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE old_data (id int); INSERT INTO old_data VALUES (7)")


def execute(target, statement, **names):
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(**{k: sql.Identifier(v) for k, v in names.items()}))


def state(database):
    """What stands under the target's name: `old`, `new`, or something broken."""
    with server.connect(database) as connection:
        tables = {
            name
            for (name,) in connection.execute(
                "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
                " WHERE c.oid >= 16384 AND relkind = 'r' AND nspname <> 'seedtool'"  # marks stand there
            )
        }
        if tables == {"old_data"}:
            return "old" if connection.execute("SELECT id FROM old_data").fetchall() == [(7,)] else "broken"
        if tables == {"schema_made_by_build"}:
            return "new" if connection.execute("SELECT id FROM schema_made_by_build").fetchall() == [(1,)] else "broken"
    return f"broken: {tables}"


class TestReset:
    def test_the_target_is_replaced_by_the_newest_schema(self, project, database):
        put_old_data(database)
        report = reset(project, database, [Schema(project, build)], consent=Consent.NAME)
        assert state(database) == "new"
        assert (report.replaced, report.built) == (True, True)

    def test_a_missing_target_is_made_without_asking(self, project, database):
        execute(database, "DROP DATABASE {name}", name=database.name)
        report = reset(project, database, [Schema(project, build)], consent=Consent.NONE)
        assert state(database) == "new"
        assert not report.replaced

    def test_the_second_reset_builds_nothing(self, project, database):
        reset(project, database, [Schema(project, build)], consent=Consent.NAME)
        with server.connect(database) as connection:
            connection.execute("DELETE FROM schema_made_by_build")
        report = reset(project, database, [Schema(project, pytest.fail)], consent=Consent.YES)
        assert not report.built
        assert state(database) == "new"

    def test_fresh_builds_the_template_anew(self, project, database):
        reset(project, database, [Schema(project, build)], consent=Consent.NAME)
        report = reset(project, database, [Schema(project, build)], consent=Consent.YES, fresh=True)
        assert report.built
        assert state(database) == "new"

    def test_a_changed_migration_builds_a_new_template(self, project, database):
        first = reset(project, database, [Schema(project, build)], consent=Consent.NAME)
        (project.root / "migrations" / "0001.py").write_text("# new\n")
        second = reset(project, database, [Schema(project, build)], consent=Consent.YES)
        assert second.built
        assert second.template != first.template

    @pytest.mark.parametrize("fresh", [False, True])
    def test_a_failing_build_leaves_target_and_cache_as_they_were(self, project, database, private, fresh):
        put_old_data(database)
        if fresh:
            other = Target(conninfo=database.conninfo, name=database.name, maintenance=database.maintenance)
            reset(project, other, [Schema(project, build)], consent=Consent.NAME)
            private()  # the spare is there
        before = plan(database, [Schema(project)])

        def fail(made):
            build(made)
            raise DatabaseError("revision 0002 failed")

        with pytest.raises(DatabaseError, match="0002"):
            reset(project, database, [Schema(project, fail)], consent=Consent.NAME, fresh=fresh)
        assert plan(database, [Schema(project)]) == before
        assert state(database) == ("new" if fresh else "old")

    def test_the_plan_changes_nothing(self, project, database):
        put_old_data(database)
        found = plan(database, [Schema(project)])
        assert (found.exists, found.template, found.consent) == (True, None, Consent.NAME)
        assert state(database) == "old"

    def test_the_new_target_has_statistics(self, project, database):
        reset(project, database, [Schema(project, build)], consent=Consent.NAME)
        with server.connect(database) as connection:
            assert connection.execute(
                "SELECT reltuples FROM pg_class WHERE relname = 'schema_made_by_build'"
            ).fetchone() == (1,)

    def test_the_locale_of_the_target_is_kept(self, project, database):
        execute(database, "DROP DATABASE {name}", name=database.name)
        execute(
            database,
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'",
            name=database.name,
        )
        reset(project, database, [Schema(project, build)], consent=Consent.NAME)
        with server.connect(database) as connection:
            assert connection.execute(
                "SELECT pg_encoding_to_char(encoding), datlocprovider::text, datcollate FROM pg_database"
                " WHERE datname = current_database()"
            ).fetchone() == ("LATIN1", "c", "C")


class TestGuard:
    def test_a_database_with_data_that_we_did_not_make_needs_its_name(self, project, database):
        put_old_data(database)
        with pytest.raises(NotConfirmed, match=database.name) as refusal:
            reset(project, database, [Schema(project, build)], consent=Consent.YES)
        assert f"--confirm {database.name}" in refusal.value.remedy
        assert state(database) == "old"

    def test_a_database_that_we_made_needs_a_yes(self, project, database):
        reset(project, database, [Schema(project, build)], consent=Consent.NONE)
        with pytest.raises(NotConfirmed):
            reset(project, database, [Schema(project, build)], consent=Consent.NONE)
        reset(project, database, [Schema(project, build)], consent=Consent.YES)

    def test_a_protected_database_is_never_replaced(self, project, database):
        put_old_data(database)
        with open_cluster(database) as cluster:
            guard.protect(cluster, database.name)
        for consent in Consent:
            with pytest.raises(Protected):
                reset(project, database, [Schema(project, build)], consent=consent)
        assert state(database) == "old"
        with open_cluster(database) as cluster:
            guard.unprotect(cluster, database.name)
        reset(project, database, [Schema(project, build)], consent=Consent.NAME)

    def test_a_session_cannot_hide_the_mark(self, project, database):
        with open_cluster(database) as cluster:
            guard.protect(cluster, database.name)
        hidden = Target(
            conninfo=psycopg.conninfo.make_conninfo(database.conninfo, options="-c seedtool.protected=off"),
            name=database.name,
            maintenance=database.maintenance,
        )
        with pytest.raises(Protected):
            reset(project, hidden, [Schema(project, build)], consent=Consent.NAME)
        with server.connect(hidden) as connection, pytest.raises(Protected):
            guard.consent_to_seed(hidden, connection)

    def test_protection_set_while_the_reset_waits_is_honoured(self, project, database, listening):
        put_old_data(database)

        def protect_meanwhile(step):
            if step == "lock":
                with open_cluster(database) as cluster:
                    guard.protect(cluster, database.name)

        with pytest.raises(Protected):
            reset(
                project, database, [Schema(project, build)], consent=Consent.NAME, listener=listening(protect_meanwhile)
            )
        assert state(database) == "old"


class TestCarriedOver:
    """What belongs to the database's name, and what a clone does not have."""

    @pytest.fixture
    def role(self, target, private):
        execute(target, "CREATE ROLE app_role")
        yield "app_role"
        private()  # the old database, which refers to it, is gone by then
        execute(target, "DROP ROLE app_role")

    def after_reset(self, project, database, query):
        reset(project, database, [Schema(project, build)], consent=Consent.YES)
        with server.connect(database, database.maintenance) as connection:
            return connection.execute(query, [database.name]).fetchall()

    def test_owner(self, project, database, role, private):
        execute(database, "ALTER DATABASE {name} OWNER TO {role}", name=database.name, role=role)
        query = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
        assert self.after_reset(project, database, query) == [(role,)]
        execute(database, "ALTER DATABASE {name} OWNER TO postgres", name=database.name)
        private()
        with open_cluster(database) as cluster:
            for each in cluster.private_databases():
                cluster.drop(each.name)

    def test_grants(self, project, database, role, private):
        execute(database, "REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC", name=database.name)
        execute(database, "GRANT CONNECT ON DATABASE {name} TO {role} WITH GRANT OPTION", name=database.name, role=role)
        query = (
            "SELECT privilege_type, is_grantable FROM pg_database, aclexplode(datacl)"
            " WHERE datname = %s AND grantee <> datdba ORDER BY 1"
        )
        assert self.after_reset(project, database, query) == [("CONNECT", True)]
        private()
        execute(database, "REVOKE ALL ON DATABASE {name} FROM {role}", name=database.name, role=role)

    def test_connection_limit(self, project, database):
        execute(database, "ALTER DATABASE {name} CONNECTION LIMIT 17", name=database.name)
        query = "SELECT datconnlimit FROM pg_database WHERE datname = %s"
        assert self.after_reset(project, database, query) == [(17,)]

    def test_comment(self, project, database):
        execute(database, "COMMENT ON DATABASE {name} IS 'Ana''s \"own\"'", name=database.name)
        query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
        assert self.after_reset(project, database, query) == [('Ana\'s "own"',)]

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("work_mem", "'33MB'"),
            ("search_path", 'app, "Odd, name", "$user", public'),
            ("temp_tablespaces", "''"),
            ("app.tenant", "'it''s; a = b, c'"),
            ("DateStyle", "'ISO, DMY'"),
            ("timezone", "'America/Santiago'"),
        ],
    )
    def test_settings(self, project, database, key, value):
        execute(database, f"ALTER DATABASE {{name}} SET {key} = {value}", name=database.name)
        query = "SELECT option FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase, unnest(setconfig) option"
        query += " WHERE datname = %s AND option NOT LIKE 'seedtool.%%'"
        with server.connect(database, database.maintenance) as connection:
            before = connection.execute(query, [database.name]).fetchall()
        assert len(before) == 1
        assert self.after_reset(project, database, query) == before

    def test_settings_of_a_role(self, project, database, role):
        execute(
            database, "ALTER ROLE {role} IN DATABASE {name} SET statement_timeout = '5s'", name=database.name, role=role
        )
        query = (
            "SELECT setrole::regrole::text, setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase"
            " WHERE datname = %s AND setrole <> 0"
        )
        assert self.after_reset(project, database, query) == [(role, ["statement_timeout=5s"])]
        execute(database, "ALTER ROLE {role} IN DATABASE {name} RESET ALL", name=database.name, role=role)

    def test_the_mark_of_another_database_is_not(self, project, database):
        execute(database, "ALTER DATABASE {name} SET seedtool.note = 'x'", name=database.name)
        query = (
            "SELECT split_part(option, '=', 1) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase,"
            " unnest(setconfig) option WHERE datname = %s"
        )
        assert self.after_reset(project, database, query) == [("seedtool.managed",)]


class TestClients:
    def test_five_eager_clients_never_make_it_fail(self, project, database):
        reset(project, database, [Schema(project, build)], consent=Consent.NONE)
        done = threading.Event()
        served = [0] * 5
        missing = []

        def client(number):
            while not done.is_set():
                try:
                    with psycopg.connect(database.conninfo) as connection:
                        while not done.is_set():
                            connection.execute("SELECT count(*) FROM schema_made_by_build")
                            served[number] += 1
                except psycopg.OperationalError as error:
                    # whoever was let in as the old database and waited is told by PostgreSQL to come again
                    if "does not exist" in str(error) and "just been dropped or renamed" not in str(error):
                        missing.append(str(error))

        threads = [threading.Thread(target=client, args=[number]) for number in range(5)]
        for thread in threads:
            thread.start()
        try:
            reports = [reset(project, database, [Schema(project, build)], consent=Consent.YES) for _ in range(4)]
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert all(report.sessions_ended for report in reports)
        assert all(served)
        assert missing == []

    def test_two_resets_at_once_both_succeed(self, project, database):
        put_old_data(database)
        reports, errors = [], []

        def run():
            try:
                reports.append(reset(project, database, [Schema(project, build)], consent=Consent.NAME))
            except Exception as error:  # noqa: BLE001 - any failure fails the test
                errors.append(error)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert sorted(report.built for report in reports) == [False, False, True]
        assert state(database) == "new"

    def test_a_prepared_transaction_is_named_and_nothing_changes(self, project, database):
        put_old_data(database)
        with server.connect(database, autocommit=True) as connection:
            connection.execute("BEGIN; INSERT INTO old_data VALUES (8); PREPARE TRANSACTION 'half-paid order'")
            with pytest.raises(BlockedError, match="half-paid order"):
                reset(project, database, [Schema(project, build)], consent=Consent.NAME)
        with server.connect(database, autocommit=True) as connection:
            connection.execute("ROLLBACK PREPARED 'half-paid order'")
        assert state(database) == "old"
        reset(project, database, [Schema(project, build)], consent=Consent.NAME)

    def test_a_session_of_a_mightier_role_is_named_and_nothing_changes(self, project, database, target, private):
        execute(target, "CREATE ROLE weak_owner LOGIN CREATEDB")
        execute(target, "ALTER DATABASE {name} OWNER TO weak_owner", name=database.name)
        weak = Target(
            conninfo=psycopg.conninfo.make_conninfo(database.conninfo, user="weak_owner"),
            name=database.name,
            maintenance=database.maintenance,
        )
        try:
            with server.connect(weak) as connection:
                connection.execute("CREATE TABLE old_data (id int); INSERT INTO old_data VALUES (7)")
            with server.connect(database, application="psql of the boss") as connection:
                connection.execute("SELECT 1")
                with pytest.raises(BlockedError, match="psql of the boss"):
                    reset(project, weak, [Schema(project, build)], consent=Consent.NAME)
            assert state(database) == "old"
            reset(project, weak, [Schema(project, build)], consent=Consent.NAME)
            assert state(database) == "new"
        finally:
            private()
            execute(target, "DROP DATABASE {name} WITH (FORCE)", name=database.name)
            with open_cluster(database) as cluster:
                for each in cluster.private_databases():
                    cluster.drop(each.name)
            execute(target, "DROP ROLE weak_owner")

    def test_a_setting_that_may_not_be_carried_over_is_named_and_nothing_changes(
        self, project, database, target, private
    ):
        execute(target, "CREATE ROLE weak_owner LOGIN CREATEDB")
        execute(target, "ALTER DATABASE {name} OWNER TO weak_owner", name=database.name)
        execute(target, "ALTER DATABASE {name} SET log_min_duration_statement = 1", name=database.name)
        weak = Target(
            conninfo=psycopg.conninfo.make_conninfo(database.conninfo, user="weak_owner"),
            name=database.name,
            maintenance=database.maintenance,
        )
        try:
            with server.connect(weak) as connection:
                connection.execute("CREATE TABLE old_data (id int); INSERT INTO old_data VALUES (7)")
            with pytest.raises(BlockedError, match="log_min_duration_statement"):
                reset(project, weak, [Schema(project, build)], consent=Consent.NAME)
            assert state(database) == "old"
        finally:
            private()
            execute(target, "DROP DATABASE {name} WITH (FORCE)", name=database.name)
            with open_cluster(database) as cluster:
                for each in cluster.private_databases():
                    cluster.drop(each.name)
            execute(target, "DROP ROLE weak_owner")


def test_a_pooler_is_refused(database, monkeypatch):
    # a pooler hands out a process id of its own making; the integration test with PgBouncer needs Debian's package
    monkeypatch.setattr("psycopg.ConnectionInfo.backend_pid", property(lambda _: 4711))
    with pytest.raises(PoolerError) as refusal, open_cluster(database):
        pass
    assert "5432" in refusal.value.remedy


STEPS = [
    "connect",
    "lock",
    "sweep",
    "fingerprint",
    "build",
    "built",
    "seal",
    "spare",
    "clone",
    "rename",
    "carry over",
    "swap",
    "commit",
    "leave",
    "left",
]

KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from seedtool.listener import Listener
    from seedtool.postgres import server
    from seedtool.postgres.server import Target
    from seedtool.resetting.guard import Consent
    from seedtool.resetting.reset import reset
    from seedtool.schema.layer import Schema
    from seedtool.settings import load

    root, conninfo, name, fatal, schema = sys.argv[1:]

    def step(reached):
        print(reached, flush=True)
        if reached == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def build(made):
        with server.connect(made) as connection:
            connection.execute(schema)
            step("built")

    target = Target(conninfo=conninfo, name=name, maintenance="postgres")
    listener = Listener()
    listener.step = step
    settings = load(Path(root))
    reset(settings, target, [Schema(settings, build)], consent=Consent.NAME, listener=listener)
    step("left")
    """
)


class TestKilled:
    def run_killed(self, project, database, fatal, steps=None):
        arguments = (str(project.root), database.conninfo, database.name, fatal, SCHEMA)
        return processes.start(*arguments, code=KILLED, stdout=steps)

    @pytest.mark.parametrize("fatal", STEPS)
    def test_at_any_step_the_target_is_whole_and_the_next_reset_succeeds(self, project, database, fatal):
        put_old_data(database)
        process = self.run_killed(project, database, fatal)
        assert process.wait(30) == -signal.SIGKILL
        assert state(database) == ("new" if fatal in {"leave", "left"} else "old")
        reset(project, database, [Schema(project, build)], consent=Consent.NAME)
        assert state(database) == "new"

    def test_at_random_moments(self, project, database):
        self.kill_at_random(project, database, random.Random(1), 5)  # noqa: S311 - the same each time

    @pytest.mark.torture
    @pytest.mark.timeout(3600)
    def test_a_thousand_times_at_random_moments(self, project, database, campaign):
        with campaign(
            "db-reset: SIGKILL at a random moment", "the target is old or new, the next reset succeeds"
        ) as told:
            told.kills, told.points = self.kill_at_random(project, database, random.Random(2), told.wanted)  # noqa: S311

    def kill_at_random(self, project, database, rng, kills):
        """Kill so many resets, and reset after each ten; returns how many were killed, and between which steps."""
        put_old_data(database)
        killed, points = 0, set()
        for number in range(kills):
            with tempfile.TemporaryFile("w+") as steps:
                process = self.run_killed(project, database, "never", steps)
                time.sleep(rng.uniform(0, 0.25))
                process.kill()
                killed += process.wait(30) == -signal.SIGKILL
                steps.seek(0)
                points.add(tuple(steps.read().split()[-1:]))
            assert state(database) in {"old", "new"}
            if number % 10 == 9 or number == kills - 1:
                reset(project, database, [Schema(project, build)], consent=Consent.NAME)
                assert state(database) == "new"
        return killed, len(points)
