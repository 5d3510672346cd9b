"""What may be replaced: marks that stay with their database, and only with it."""

import contextlib
import subprocess
import threading
import time

import msgspec
import psycopg
import pytest
from psycopg import sql

from seedtool.errors import BlockedError, NotConfirmed, Protected
from seedtool.listener import Listener
from seedtool.postgres import server
from seedtool.postgres.cluster import open_cluster
from seedtool.resetting import guard
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import migrate, plan, reset
from seedtool.schema.layer import Schema
from seedtool.snapshots import registry
from seedtool.snapshots.snapshots import restore, save
from seedtool.workflows.database import guard_status


def build(made):
    with server.connect(made) as connection:
        connection.execute("CREATE TABLE made_by_build (id int)")


def execute(target, statement, **names):
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        return connection.execute(sql.SQL(statement).format(**{k: sql.Identifier(v) for k, v in names.items()}))


def facts_of(target, name):
    with open_cluster(target) as cluster:
        return cluster.database(name)


class TestManaged:
    def test_not_carried_by_a_dump(self, project, database):
        reset(project, database, [Schema(project, build)], consent=Consent.NONE)
        assert facts_of(database, database.name).managed
        programs = database.embedded._bin
        place = ("-h", database.embedded.socket_dir, "-U", "postgres")
        dump = subprocess.run([programs / "pg_dump", *place, "-C", database.name], capture_output=True, check=True)
        assert b"seedtool.managed" in dump.stdout
        execute(database, "DROP DATABASE {name}", name=database.name)
        subprocess.run(
            [programs / "psql", *place, "-q", "postgres"], input=dump.stdout, capture_output=True, check=True
        )
        assert not facts_of(database, database.name).managed
        with pytest.raises(NotConfirmed) as refusal:
            reset(project, database, [Schema(project, build)], consent=Consent.YES)
        assert f"--confirm {database.name}" in refusal.value.remedy

    def test_not_kept_under_another_name(self, project, database):
        reset(project, database, [Schema(project, build)], consent=Consent.NONE)
        execute(database, "ALTER DATABASE {name} RENAME TO {other}", name=database.name, other=f"{database.name}_kept")
        try:
            assert not facts_of(database, f"{database.name}_kept").managed
        finally:
            execute(database, "DROP DATABASE {name}", name=f"{database.name}_kept")

    @pytest.mark.parametrize("value", ["on", "true", "1"])
    def test_not_by_a_word_that_anybody_may_write(self, database, value):
        execute(database, f"ALTER DATABASE {{name}} SET seedtool.managed = '{value}'", name=database.name)
        assert not facts_of(database, database.name).managed


class TestProtected:
    def test_kept_under_another_name(self, database):
        with open_cluster(database) as cluster:
            guard.protect(cluster, database.name)
        execute(database, "ALTER DATABASE {name} RENAME TO {other}", name=database.name, other=f"{database.name}_kept")
        try:
            assert facts_of(database, f"{database.name}_kept").protected
        finally:
            execute(database, "DROP DATABASE {name}", name=f"{database.name}_kept")

    def test_set_while_the_template_is_built_it_stops_the_reset(self, project, database):
        def cry_stop(made):
            build(made)
            with open_cluster(database) as cluster:
                guard.protect(cluster, database.name)

        with server.connect(database) as connection:
            connection.execute("CREATE TABLE old (id int)")
        with pytest.raises(Protected):
            reset(project, database, [Schema(project, cry_stop)], consent=Consent.NAME)
        with server.connect(database) as connection:
            connection.execute("SELECT FROM old")

    def test_set_during_the_swap_it_holds_for_what_has_the_name_afterwards(self, project, database, listening):
        threads = []

        def protect():
            with open_cluster(database) as cluster:
                guard.protect(cluster, database.name)

        def step(name):
            if name == "carry over":
                threads.append(threading.Thread(target=protect))
                threads[0].start()
                time.sleep(0.2)

        reset(project, database, [Schema(project, build)], consent=Consent.NONE, listener=listening(step))
        threads[0].join()
        assert facts_of(database, database.name).protected

    def test_a_comment_of_ones_own_stays(self, database):
        execute(database, "COMMENT ON DATABASE {name} IS 'a [seedtool] of our own'", name=database.name)
        with open_cluster(database) as cluster:
            guard.protect(cluster, database.name)
            guard.unprotect(cluster, database.name)
            assert not cluster.database(database.name).protected
            assert guard._comment(cluster, database.name) == "a [seedtool] of our own"

    def test_a_mark_in_a_comment_counts_for_its_own_database_only(self, database):
        facts = facts_of(database, database.name)
        comment = "COMMENT ON DATABASE {name} IS '[seedtool.protected=on for %s]'"
        execute(database, comment % (facts.oid + 1), name=database.name)
        assert not facts_of(database, database.name).protected
        execute(database, comment % facts.oid, name=database.name)
        assert facts_of(database, database.name).protected


class TestEmpty:
    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE TABLE t ()",
            "CREATE TYPE mood AS ENUM ('so so')",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "SELECT lo_create(0)",
            "CREATE FOREIGN DATA WRAPPER elsewhere",
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE USER MAPPING FOR PUBLIC SERVER s",
            "CREATE PUBLICATION news",
            "CREATE TEXT SEARCH CONFIGURATION ours (COPY = simple)",
            "CREATE TEXT SEARCH DICTIONARY ours (TEMPLATE = simple)",
            'CREATE COLLATION ours FROM "C"',
            "CREATE CAST (text AS bytea) WITHOUT FUNCTION",
            "CREATE OPERATOR FAMILY ours USING btree",
        ],
    )
    def test_whatever_somebody_made_is_worth_a_question(self, project, database, statement):
        assert plan(database, [Schema(project)]).consent is Consent.NONE
        with server.connect(database) as connection:
            connection.execute(statement)
        assert plan(database, [Schema(project)]).consent is Consent.NAME


def test_a_target_that_somebody_makes_meanwhile_is_not_replaced(project, database):
    execute(database, "DROP DATABASE {name}", name=database.name)

    def build_slowly(made):
        build(made)
        execute(database, "CREATE DATABASE {name}", name=database.name)

    with pytest.raises(BlockedError) as refusal:
        reset(project, database, [Schema(project, build_slowly)], consent=Consent.NAME)
    assert refusal.value.place == {"code": "42P04"}  # duplicate_database
    assert not facts_of(database, database.name).managed


class TestTheWorldMovesOn:
    """Consent is asked for at the beginning; what is in the target at the end decides."""

    def fill(self, database):
        with server.connect(database) as connection:
            connection.execute("CREATE TABLE rows_of_people (id int); INSERT INTO rows_of_people VALUES (7)")

    def rows(self, database):
        with server.connect(database) as connection:
            return connection.execute("SELECT id FROM rows_of_people").fetchall()

    def filling(self, database):
        def build_slowly(made):
            self.fill(database)
            build(made)

        return build_slowly

    def test_an_empty_database_that_is_filled_meanwhile_is_put_back(self, project, database, private):
        before = facts_of(database, database.name).oid
        with pytest.raises(NotConfirmed) as refusal:
            reset(project, database, [Schema(project, self.filling(database))], consent=Consent.NONE)
        assert "--confirm" in refusal.value.remedy
        assert refusal.value.exit_code == 3
        assert self.rows(database) == [(7,)]
        assert facts_of(database, database.name).oid == before
        assert private("clone", "old") == []

    @pytest.mark.parametrize("seen", [True, False])
    def test_clients_do_not_keep_it_from_being_put_back(self, project, database, seen):
        def build_slowly(made):
            self.fill(database)
            if seen:
                clients.append(server.connect(database))
            build(made)

        clients = []
        with pytest.raises(NotConfirmed):
            reset(project, database, [Schema(project, build_slowly)], consent=Consent.NONE)
        assert self.rows(database) == [(7,)]
        for client in clients:
            client.close()

    def test_a_yes_covers_rows_that_came_into_a_database_of_ours(self, project, database):
        reset(project, database, [Schema(project, build)], consent=Consent.NONE)
        report = reset(project, database, [Schema(project, self.filling(database))], consent=Consent.YES, fresh=True)
        assert report.replaced
        with server.connect(database) as connection:
            assert connection.execute("SELECT to_regclass('rows_of_people')").fetchone() == (None,)

    def test_a_yes_does_not_cover_a_database_that_lost_its_mark_meanwhile(self, project, database):
        reset(project, database, [Schema(project, build)], consent=Consent.NONE)

        def take_the_mark_away(made):
            with server.connect(database, database.maintenance, autocommit=True) as connection:
                connection.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(sql.Identifier(database.name)))
            self.fill(database)
            build(made)

        with pytest.raises(NotConfirmed):
            reset(project, database, [Schema(project, take_the_mark_away)], consent=Consent.YES, fresh=True)
        assert self.rows(database) == [(7,)]

    def test_a_database_that_was_given_away_meanwhile_is_left_alone(self, project, database):
        def give_away(made):
            with server.connect(database, database.maintenance, autocommit=True) as connection:
                connection.execute("DROP ROLE IF EXISTS new_owner; CREATE ROLE new_owner")
                connection.execute(
                    sql.SQL("ALTER DATABASE {} OWNER TO new_owner").format(sql.Identifier(database.name))
                )
            build(made)

        before = facts_of(database, database.name).oid
        with pytest.raises(BlockedError):
            reset(project, database, [Schema(project, give_away)], consent=Consent.NAME)
        assert facts_of(database, database.name).oid == before
        with server.connect(database, database.maintenance, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO postgres").format(sql.Identifier(database.name)))
            connection.execute("DROP ROLE new_owner")

    def test_the_name_covers_whatever_came(self, project, database):
        report = reset(project, database, [Schema(project, self.filling(database))], consent=Consent.NAME)
        assert report.replaced


class TestTheMarkWithin:
    """COMMENT ON DATABASE and RESET ALL take the mark on the database; the one within it stays."""

    TAKES = ("COMMENT ON DATABASE {} IS 'the shop'", "ALTER DATABASE {} RESET ALL")

    def take(self, database, *statements):
        with server.connect(database, database.maintenance, autocommit=True) as connection:
            for statement in statements:
                connection.execute(sql.SQL(statement).format(sql.Identifier(database.name)))

    @pytest.mark.parametrize("made_by_us", [True, False])
    @pytest.mark.parametrize("consent", [Consent.YES, Consent.NAME])
    def test_a_reset_is_refused_and_the_mark_put_back(self, project, database, made_by_us, consent):
        if made_by_us:
            reset(project, database, [Schema(project, build)], consent=Consent.NONE)
        with open_cluster(database) as cluster:
            guard.protect(cluster, database.name)
        self.take(database, *self.TAKES)
        assert not facts_of(database, database.name).protected
        with pytest.raises(Protected):
            reset(project, database, [Schema(project, build)], consent=consent)
        assert facts_of(database, database.name).protected

    def test_a_role_without_superuser_keeps_its_mark_too(self, project, database):
        with server.connect(database, database.maintenance, autocommit=True) as connection:
            connection.execute("DROP ROLE IF EXISTS weak_owner; CREATE ROLE weak_owner LOGIN CREATEDB")
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO weak_owner").format(sql.Identifier(database.name)))
        weak = msgspec.structs.replace(
            database, conninfo=psycopg.conninfo.make_conninfo(database.conninfo, user="weak_owner"), embedded=None
        )
        try:
            with open_cluster(weak) as cluster:
                guard.protect(cluster, weak.name)
            self.take(weak, self.TAKES[0])
            with pytest.raises(Protected):
                reset(project, weak, [Schema(project, build)], consent=Consent.NAME)
            assert facts_of(database, database.name).protected
        finally:
            with server.connect(database) as connection:
                connection.execute("REASSIGN OWNED BY weak_owner TO postgres; DROP OWNED BY weak_owner")
            self.take(database, "ALTER DATABASE {} OWNER TO postgres")
            with server.connect(database, database.maintenance, autocommit=True) as connection:
                connection.execute("DROP ROLE weak_owner")

    @pytest.mark.parametrize("kept", [True, False])
    def test_a_role_that_may_not_use_our_schema_is_told(self, database, kept):
        with open_cluster(database) as cluster:
            guard.protect(cluster, database.name)
        self.take(database, *self.TAKES)
        with server.connect(database, autocommit=True) as connection:
            connection.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN")
            if not kept:  # as the ledger alone leaves the schema
                connection.execute("DROP TABLE seedtool.guard")
        reader = msgspec.structs.replace(
            database, conninfo=psycopg.conninfo.make_conninfo(database.conninfo, user="reader"), embedded=None
        )
        try:
            with contextlib.ExitStack() as stack:
                cluster = stack.enter_context(open_cluster(reader))
                if kept:
                    refused = stack.enter_context(pytest.raises(BlockedError, match="the protection mark within"))
                guard.consent_to_replace(cluster, cluster.database(reader.name))
            assert not kept or "Work as the owner" in refused.value.remedy
        finally:
            self.take(database, "DROP ROLE reader")
            with server.connect(database, autocommit=True) as connection:
                connection.execute("DROP SCHEMA seedtool CASCADE")

    def test_seeding_is_refused(self, database):
        with open_cluster(database) as cluster:
            guard.protect(cluster, database.name)
        self.take(database, *self.TAKES)
        with server.connect(database) as connection, pytest.raises(Protected):
            guard.consent_to_seed(database, connection)

    def test_restoring_a_snapshot_is_refused(self, project, database):
        save(project, database, "first")
        with open_cluster(database) as cluster:
            guard.protect(cluster, database.name)
        self.take(database, *self.TAKES)
        with pytest.raises(Protected):
            restore(project, database, "first", lambda _: Consent.NAME)
        with open_cluster(database) as cluster:
            (snapshot,) = registry.of_target(cluster)
            cluster.drop(snapshot.database)

    def test_a_migration_that_comments_on_the_database_does_not_take_the_marks(self, project, database):
        reset(project, database, [Schema(project, build)], consent=Consent.NONE)
        with open_cluster(database) as cluster:
            guard.protect(cluster, database.name)

        def revision(made):
            self.take(made, *self.TAKES)
            return ["0001"]

        assert migrate(database, revision) == (False, ["0001"])
        facts = facts_of(database, database.name)
        assert (facts.protected, facts.managed) == (True, True)

    def test_a_copy_elsewhere_is_not_protected_and_it_is_said(self, project, database, target):
        with open_cluster(database) as cluster:
            guard.protect(cluster, database.name)
        heard = []
        listener = Listener()
        listener.note = heard.append
        copy = database.at("copy_of_protected")
        with server.connect(target, target.maintenance, autocommit=True) as connection:
            names = sql.Identifier(copy.name), sql.Identifier(database.name)
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        assert guard_status(target=copy).copy_of_protected
        assert guard_status(target=database).copy_of_protected is False
        reset(project, copy, [Schema(project, build)], consent=Consent.NAME, listener=listener)
        assert any("restored from a protected database" in note for note in heard)
        with open_cluster(target) as cluster:
            cluster.drop(copy.name)

    def test_unprotecting_takes_both(self, project, database):
        with open_cluster(database) as cluster:
            guard.protect(cluster, database.name)
            guard.unprotect(cluster, database.name)
        self.take(database, *self.TAKES)
        reset(project, database, [Schema(project, build)], consent=Consent.NONE)


class TestUntouched:
    """What `migrate` made may be replaced without a yes, until somebody puts anything into it."""

    TOUCHES = (
        "INSERT INTO made_by_build VALUES (1)",
        "CREATE TABLE mine (id int)",
        "ALTER TABLE made_by_build ADD COLUMN mine int",
        "ALTER TABLE made_by_build ALTER COLUMN id SET DEFAULT 7",
        "CREATE INDEX ON made_by_build (id)",
        "COMMENT ON TABLE made_by_build IS 'mine'",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "GRANT SELECT ON made_by_build TO public",
        "SELECT lo_create(0)",
        "CREATE EXTENSION citext",
        "DROP TABLE made_by_build",
    )

    @pytest.fixture
    def made(self, database):
        with open_cluster(database) as cluster:
            cluster.drop(database.name)

        def upgrade(made):
            build(made)
            with server.connect(made) as connection:
                connection.execute("CREATE TABLE alembic_version (v text); INSERT INTO alembic_version VALUES ('1')")
            return ["1"]

        migrate(database, upgrade)
        return database

    def test_every_touch_asks_again(self, project, made):
        def needed():
            with open_cluster(made) as cluster:
                return guard.consent_to_replace(cluster, cluster.database(made.name))

        assert needed() is Consent.NONE
        with server.connect(made, autocommit=True) as connection:
            connection.execute("ANALYZE")
            connection.execute("VACUUM FULL made_by_build")
        assert needed() is Consent.NONE  # nothing of that is anybody's
        for touch in self.TOUCHES:
            with server.connect(made) as connection:
                facts = facts_of(made, made.name)
                connection.execute(touch)
                assert not guard.is_untouched(connection, facts), touch
                connection.rollback()
        assert needed() is Consent.NONE
        reset(project, made, [Schema(project, build)], consent=Consent.NONE)
        assert needed() is Consent.YES  # a reset's own has no such mark

    def test_it_is_looked_at_again_where_nobody_connects_any_more(self, project, made):
        def step(name):
            if name == "clone":
                with server.connect(made) as connection:
                    connection.execute("INSERT INTO made_by_build VALUES (1)")

        listener = Listener()
        listener.step = step
        settings = msgspec.structs.replace(project, spares=0)
        with pytest.raises(NotConfirmed, match="all its data lost"):
            reset(settings, made, [Schema(project, build)], consent=Consent.NONE, listener=listener)
        with server.connect(made) as connection:
            assert connection.execute("SELECT id FROM made_by_build").fetchall() == [(1,)]
