"""Spares: made by the server after a reset has gone, used by the next one, and never trusted further than that."""

import os
import signal
import textwrap
import threading

import msgspec
import psycopg
import pytest
from psycopg import sql

from seedtool.errors import BlockedError, DatabaseError
from seedtool.postgres import server
from seedtool.postgres.cluster import Cluster, open_cluster
from seedtool.postgres.server import digest_of
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import plan, reset
from seedtool.schema.layer import Schema
from seedtool.settings import load
from tests import processes
from tests.waiting import until


def build(made, note="first", padding=0):
    with server.connect(made) as connection:
        connection.execute("CREATE TABLE made_by_build (note text)")
        connection.execute("INSERT INTO made_by_build VALUES (%s)", [note])
        connection.execute("CREATE TABLE padding AS SELECT repeat('x', 1000) FROM generate_series(1, %s)", [padding])


def execute(target, statement, *parameters, **names):
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        statement = sql.SQL(statement).format(**{k: sql.Identifier(v) for k, v in names.items()})
        cursor = connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def note(database):
    with server.connect(database) as connection:
        return connection.execute("SELECT note FROM made_by_build").fetchall()[0][0]


def reset_again(project, database, **options):
    return reset(project, database, [Schema(project, pytest.fail)], consent=Consent.YES, **options)


@pytest.fixture
def spared(project, database, private):
    """A target that was reset once and has a spare."""
    reset(project, database, [Schema(project, build)], consent=Consent.YES)
    assert len(private("spare")) == 1
    return database


class TestUsed:
    def test_the_next_reset_only_renames_and_leaves_another(self, project, spared, private):
        execute(spared, "ALTER DATABASE {name} SET log_min_duration_statement = 33", name=spared.name)
        assert plan(spared, [Schema(project)]).spare
        for _ in range(3):
            with server.connect(spared) as connection:
                connection.execute("DELETE FROM made_by_build")
            report = reset_again(project, spared)
            assert report.spare
            assert "clone" not in report.milliseconds
            assert note(spared) == "first"
            assert len(private("spare")) == 1
        with server.connect(spared) as connection:
            assert connection.execute("SHOW log_min_duration_statement").fetchone() == ("33ms",)

    def test_what_a_migration_did_to_the_database_itself_is_carried(self, project, database, private):
        def build_with_a_setting(made):
            build(made)
            with server.connect(made, autocommit=True) as connection:
                name = sql.Identifier(connection.info.dbname)
                connection.execute(sql.SQL("ALTER DATABASE {} SET search_path = app, public").format(name))

        reset(project, database, [Schema(project, build_with_a_setting)], consent=Consent.YES)
        private()
        assert reset_again(project, database).spare
        with server.connect(database) as connection:
            assert connection.execute("SHOW search_path").fetchone() == ("app, public",)

    def test_it_has_owner_and_tablespace_of_the_target(self, project, spared, target, private):
        execute(target, "CREATE ROLE new_owner")
        try:
            execute(spared, "ALTER DATABASE {name} OWNER TO new_owner", name=spared.name)
            assert not reset(project, spared, [Schema(project, build)], consent=Consent.YES).spare
            private()
            assert reset_again(project, spared).spare
            query = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
            assert execute(spared, query, spared.name) == [("new_owner",)]
        finally:
            execute(spared, "ALTER DATABASE {name} OWNER TO postgres", name=spared.name)
            private()
            with open_cluster(target) as cluster:
                for each in cluster.private_databases():
                    cluster.drop(each.name)
            execute(target, "DROP ROLE new_owner")

    def test_as_many_as_the_setting_says_the_latest_sources(self, project, database, private):
        two = msgspec.structs.replace(project, spares=2)
        branches = []
        for branch in "abc":
            (project.root / "migrations" / "env.py").write_text(f"# {project.root} {branch}\n")
            reset(two, database, [Schema(two, lambda made: build(made, note=branch))], consent=Consent.YES)  # noqa: B023
            branches.append(private("spare"))
        assert [len(names) for names in branches] == [1, 2, 2]
        for branch, spare in (("a", False), ("c", True), ("a", True), ("b", False)):
            (project.root / "migrations" / "env.py").write_text(f"# {project.root} {branch}\n")
            assert reset_again(two, database).spare is spare, branch
            assert note(database) == branch
            assert len(private("spare")) == 2
        reset_again(project, database)
        assert len(private("spare")) == 1


class TestOff:
    @pytest.mark.parametrize(("key", "value"), [("spares", 0), ("spare_max_gb", 0.001)])
    def test_by_a_setting(self, project, database, private, key, value):
        settings = msgspec.structs.replace(project, **{key: value})
        reset(settings, database, [Schema(settings, build)], consent=Consent.YES)
        assert private("spare") == []
        assert not reset_again(settings, database).spare

    def test_what_is_there_goes_when_it_is_turned_off(self, project, spared, private):
        reset_again(msgspec.structs.replace(project, spares=0), spared)
        assert private("spare") == []

    def test_in_ci_unless_the_environment_itself_says_how_many(self, project):
        def spares(**environ):
            return load(project.root, environ={"HOME": "/", **environ}).spares

        (project.root / "pyproject.toml").write_text("[tool.seedtool]\nspares = 3\n")
        assert (spares(), spares(CI="true"), spares(CI="false")) == (3, 0, 3)
        assert spares(CI="true", SEEDTOOL_SPARES="2") == 2


class TestNotTrusted:
    def test_one_of_a_template_that_was_built_anew(self, project, spared, private):
        def build_anew(made):
            build(made, note="second")

        report = reset(project, spared, [Schema(project, build_anew)], consent=Consent.YES, fresh=True)
        assert not report.spare
        assert note(spared) == "second"
        assert len(private("spare")) == 1
        assert reset_again(project, spared).spare
        assert note(spared) == "second"

    def test_one_that_is_still_being_made(self, project, spared, private):
        (name,) = private("spare")
        with server.connect(spared, spared.maintenance) as other:
            other.execute("SET allow_system_table_mods = on")
            execute(spared, "DROP DATABASE {name}", name=name)
            # what CREATE DATABASE does first; nobody sees it until it commits
            other.execute(
                "INSERT INTO pg_database SELECT (jsonb_populate_record(d, jsonb_build_object("
                "'oid', 99999, 'datname', %s::text))).* FROM pg_database d WHERE datname = 'template0'",
                [name],
            )
            assert not reset_again(project, spared).spare
            assert note(spared) == "first"
            other.rollback()
        assert private("spare") == [name]
        assert reset_again(project, spared).spare

    def test_one_that_is_dropped_between_the_look_and_the_renaming(self, project, spared, monkeypatch):
        rename = Cluster.rename

        def rename_too_late(cluster, name, new_name):
            if "_spare_" in name:
                execute(spared, "DROP DATABASE {name}", name=name)
            rename(cluster, name, new_name)

        monkeypatch.setattr(Cluster, "rename", rename_too_late)
        assert not reset_again(project, spared).spare
        assert note(spared) == "first"

    def test_one_whose_removal_was_interrupted(self, project, spared, private):
        (name,) = private("spare")
        execute(spared, f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{name}'")
        assert not plan(spared, [Schema(project)]).spare
        assert not reset_again(project, spared).spare
        assert note(spared) == "first"
        execute(spared, "DROP DATABASE IF EXISTS {name}", name=name)

    def test_one_whose_target_is_gone_is_dropped_by_any_reset(self, project, spared, target, private):
        other = server.Target(
            conninfo=target.conninfo_for("other_target"), name="other_target", maintenance=target.maintenance
        )
        execute(spared, "DROP DATABASE {name}", name=spared.name)
        try:
            reset(project, other, [Schema(project, pytest.fail)], consent=Consent.NONE)
            assert [name[15:25] for name in private("spare")] == [digest_of("other_target")[:10]]
        finally:
            private()
            execute(target, "DROP DATABASE other_target")

    def test_a_reset_that_is_refused_keeps_the_target(self, project, spared):
        with server.connect(spared, autocommit=True) as connection:
            connection.execute("UPDATE made_by_build SET note = 'mine'")
            connection.execute("BEGIN; DELETE FROM made_by_build; PREPARE TRANSACTION 'half'")
        try:
            with pytest.raises(BlockedError, match="half"):
                reset_again(project, spared)
        finally:
            with server.connect(spared, autocommit=True) as connection:
                connection.execute("ROLLBACK PREPARED 'half'")
        assert note(spared) == "mine"
        reset_again(project, spared)
        assert note(spared) == "first"


class TestSent:
    """The old database goes and the spare comes although nobody waits for it."""

    def run(self, project, database, *, fatal):
        script = textwrap.dedent(
            """
            import os, signal, sys
            from pathlib import Path
            from seedtool.resetting.guard import Consent
            from seedtool.resetting.reset import reset
            from seedtool.postgres.server import Target
            from seedtool.schema.layer import Schema
            from seedtool.settings import load

            root, conninfo, name, fatal = sys.argv[1:]
            target = Target(conninfo=conninfo, name=name, maintenance="postgres")
            settings = load(Path(root), environ={"HOME": root})
            reset(settings, target, [Schema(settings)], consent=Consent.YES)
            if fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            """
        )
        arguments = [str(project.root), database.conninfo, database.name, fatal]
        return processes.run(*arguments, code=script).returncode

    @pytest.fixture
    def large(self, project, database, private):
        """A target of some 100 MB, so that neither is done when our process has gone."""
        reset(project, database, [Schema(project, lambda made: build(made, padding=100_000))], consent=Consent.YES)
        private()
        return database

    @pytest.mark.parametrize("fatal", ["", "yes"])
    def test_both_finish_when_the_process_has_gone_or_was_killed(self, project, large, private, fatal):
        for _ in range(2):
            with server.connect(large) as connection:
                connection.execute("DELETE FROM made_by_build")
            assert self.run(project, large, fatal=fatal) == (-signal.SIGKILL if fatal else 0)
            assert note(large) == "first"
            assert private("old", "clone") == []
            assert len(private("spare")) == 1
        assert reset_again(project, large).spare

    def test_limits_that_are_meant_for_an_application_do_not_stop_them(self, project, large, private):
        limits = {"statement_timeout": "'20ms'", "lock_timeout": "'1ms'", "client_connection_check_interval": "'1ms'"}

        def is_reset():
            try:
                reset_again(project, large)
            except (psycopg.Error, DatabaseError) as error:  # on a busy machine they do stop one that we wait for
                if (error.sqlstate if isinstance(error, psycopg.Error) else error.code) not in {"57014", "55P03"}:
                    raise
                return False
            return True

        with server.connect(large, large.maintenance, autocommit=True) as unlimited:
            try:
                for name, value in limits.items():
                    unlimited.execute(f"ALTER DATABASE postgres SET {name} = {value}")
                until(is_reset)
                until(is_reset)
            finally:
                unlimited.execute("ALTER DATABASE postgres RESET ALL")
        assert private("old", "clone") == []
        assert len(private("spare")) == 1

    def test_with_a_single_connection_at_least_the_old_ones_go(self, project, database, target, private):
        execute(target, "CREATE ROLE one_at_a_time LOGIN CREATEDB")
        execute(database, "ALTER DATABASE {name} OWNER TO one_at_a_time", name=database.name)
        lonely = server.Target(
            conninfo=psycopg.conninfo.make_conninfo(database.conninfo, user="one_at_a_time"),
            name=database.name,
            maintenance=database.maintenance,
        )
        left = f"seedtool_old_{digest_of(database.name)[:10]}0123456789"
        try:
            reset(
                msgspec.structs.replace(project, spares=0),
                lonely,
                [Schema(msgspec.structs.replace(project, spares=0), build)],
                consent=Consent.NAME,
            )
            private()
            execute(target, "ALTER ROLE one_at_a_time CONNECTION LIMIT 1")
            execute(database, "CREATE DATABASE {name} OWNER one_at_a_time", name=left)
            assert reset(project, lonely, [Schema(project, pytest.fail)], consent=Consent.NAME).swept == [left]
            assert private("old", "spare") == []
        finally:
            private()
            execute(database, "DROP DATABASE {name} WITH (FORCE)", name=database.name)
            with open_cluster(target) as cluster:
                for each in cluster.private_databases():
                    cluster.drop(each.name)
            execute(target, "DROP ROLE one_at_a_time")

    def test_the_server_may_be_restarted_or_killed_meanwhile(self, project, large, target, private):
        reset_again(project, large)
        target.embedded.stop()
        reset_again(project, large)
        assert note(large) == "first"
        postmaster = int((target.embedded.data_dir / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        reset_again(project, large)
        assert note(large) == "first"
        assert private("old", "clone") == []
        assert len(private("spare")) == 1
        assert reset_again(project, large).spare
        assert note(large) == "first"


class TestMany:
    def test_twenty_in_a_row_leave_one_spare(self, project, spared, private):
        assert len([report for report in (reset_again(project, spared) for _ in range(20)) if report.spare]) > 0
        assert note(spared) == "first"
        assert len(private("spare")) == 1
        assert private("old", "clone", "building") == []

    def test_twenty_at_once_all_succeed_and_leave_one_spare(self, project, database, private):
        errors, built = [], []

        def run():
            try:
                built.append(reset(project, database, [Schema(project, build)], consent=Consent.YES).built)
            except Exception as error:  # noqa: BLE001 - any failure fails the test
                errors.append(error)

        threads = [threading.Thread(target=run) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert sum(built) == 1
        assert note(database) == "first"
        assert len(private("spare")) == 1
        assert private("old", "clone", "building") == []
