"""Templates and spares: listed with what they are for, capped, pruned, and never taken from anybody who uses them."""

import threading
import time
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest
from psycopg import sql

from seedtool.errors import DatabaseError
from seedtool.listener import Listener
from seedtool.postgres import server
from seedtool.postgres.cluster import Strategy, open_cluster
from seedtool.resetting import cache, clones, notes, templates
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import reset
from seedtool.schema.layer import Schema
from tests.waiting import until


def build(made):
    with server.connect(made) as connection:
        connection.execute("CREATE TABLE made_by_build (id int)")


class Branches:
    """A project whose branches have different migrations, and its one target."""

    def __init__(self, settings, target):
        self.root = settings.root
        self.target = target
        self.settings = settings

    def reset(self, branch="main", build=build, **changes):
        (self.root / "migrations" / "env.py").write_text(f"# {self.root} {branch}\n")
        settings = msgspec.structs.replace(self.settings, **changes)
        return reset(settings, self.target, [Schema(settings, build)], consent=Consent.NAME)

    def entries(self, kind="template"):
        with open_cluster(self.target) as cluster:
            return [each for each in cache.entries(cluster) if each.kind == kind]

    def prune(self, **changes):
        options = {key: changes.pop(key) for key in ("everything", "dry_run") if key in changes}
        with open_cluster(self.target) as cluster:
            return cache.prune(cluster, msgspec.structs.replace(self.settings, **changes), **options)

    def execute(self, statement, **names):
        with server.connect(self.target, self.target.maintenance, autocommit=True) as connection:
            return connection.execute(sql.SQL(statement).format(**{k: sql.Identifier(v) for k, v in names.items()}))

    def use_at(self, template, time):
        """Pretend that a template was used last at a time."""
        with open_cluster(self.target) as cluster:
            facts = cluster.database(template)
            note = msgspec.structs.replace(notes.read(facts), used=time.isoformat())
            cluster.execute(notes.statement(facts, note))

    def used(self, template):
        (entry,) = (each for each in self.entries() if each.name == template)
        return datetime.fromisoformat(entry.used)


@pytest.fixture
def branches(project, database):
    return Branches(project, database)


class TestList:
    def test_what_each_is_for_how_large_and_how_old(self, branches, private):
        before = datetime.now(UTC).replace(microsecond=0)
        template = branches.reset().template
        private()
        (entry,) = branches.entries()
        assert (entry.name, entry.purpose, entry.ours) == (template, f"schema, project {branches.root.name}", True)
        assert entry.size > 2**20
        assert before <= datetime.fromisoformat(entry.made) <= datetime.now(UTC)
        (spare,) = branches.entries("spare")
        assert spare.purpose == f"{branches.target.name}: clone of {template}"
        assert datetime.fromisoformat(spare.made) >= before
        branches.execute("CREATE DATABASE {name}", name="seedtool_old_01234567890123456789")
        assert [each.purpose for each in branches.entries("other")] == ["being dropped"]
        branches.reset()

    def test_a_use_is_noted_but_not_every_one(self, branches, private):
        template = branches.reset().template
        fresh = branches.used(template)
        branches.use_at(template, fresh - timedelta(minutes=9))
        branches.reset()
        private()
        assert branches.used(template) == fresh - timedelta(minutes=9)
        branches.use_at(template, fresh - timedelta(days=3))
        branches.reset()
        until(lambda: branches.used(template) >= fresh)

    def test_a_comment_of_the_migrations_stays_apart_from_the_note(self, branches, private):
        def build_with_a_comment(made):
            with server.connect(made, autocommit=True) as connection:
                connection.execute(f"COMMENT ON DATABASE \"{connection.info.dbname}\" IS 'Ana''s {{school}}'")

        for _ in range(3):
            branches.reset(build=build_with_a_comment)
            private()
            with open_cluster(branches.target) as cluster:
                assert cluster.database(branches.target.name).comment == "Ana's {school}"


class TestCap:
    def test_the_one_unused_for_longest_goes_when_one_more_is_built(self, branches, private):
        names = {branch: branches.reset(branch, cache_templates=2).template for branch in "ab"}
        branches.use_at(names["a"], datetime.now(UTC))
        branches.use_at(names["b"], datetime.now(UTC) - timedelta(days=1))
        report = branches.reset("c", cache_templates=2)
        assert names["b"] in report.pruned
        assert set(private("template")) == {names["a"], report.template}

    def test_by_size(self, branches, private):
        branches.reset("a", cache_gb=0.001)
        kept = branches.reset("b", cache_gb=0.001).template
        assert private("template") == [kept]

    def test_the_one_just_used_stays_even_above_the_cap(self, branches, private):
        kept = branches.reset("a", cache_templates=0).template
        assert private("template") == [kept]
        branches.prune(cache_templates=0)
        assert private("template") == []

    def test_spares_go_with_their_template(self, branches, private):
        branches.reset("a", spares=2)
        branches.reset("b", spares=2)
        assert len(private("spare")) == 2
        pruned = branches.prune(everything=True)
        assert len(pruned.dropped) == 4
        assert private("spare", "template") == []
        branches.reset("a")

    def test_a_dry_run_drops_nothing(self, branches, private):
        branches.reset("a")
        private()
        assert len(branches.prune(everything=True, dry_run=True).dropped) == 2
        assert len(private("template", "spare")) == 2


class TestStays:
    def test_what_somebody_holds(self, branches, private):
        template = branches.reset().template
        with open_cluster(branches.target) as cluster:
            cluster.hold(template.rpartition("_")[2])
            pruned = branches.prune(everything=True)
        assert pruned.kept == {template: "in use"}
        assert private("template") == [template]

    def test_what_is_being_cloned(self, branches, private):
        template = branches.reset().template
        private()
        with server.connect(branches.target, branches.target.maintenance) as other:
            other.execute("SET allow_system_table_mods = on")
            other.execute("SELECT pg_advisory_xact_lock(1)")
            # what CREATE DATABASE holds on the database that it copies
            other.execute("COMMENT ON DATABASE template1 IS NULL")
            other.execute(sql.SQL("COMMENT ON DATABASE {} IS NULL").format(sql.Identifier(template)))
            assert branches.prune(everything=True).kept == {template: "in use"}
            other.rollback()
        assert private("template") == [template]

    def test_what_has_sessions(self, branches, private):
        template = branches.reset().template
        branches.execute("ALTER DATABASE {name} ALLOW_CONNECTIONS true", name=template)
        with server.connect(branches.target, template):
            assert branches.prune(everything=True).kept == {template: "it has sessions"}
        branches.execute("ALTER DATABASE {name} ALLOW_CONNECTIONS false", name=template)
        assert private("template") == [template]

    def test_what_another_role_owns(self, branches, target, private):
        template = branches.reset().template
        branches.execute("CREATE ROLE visitor LOGIN CREATEDB")
        visitor = server.Target(
            conninfo=psycopg.conninfo.make_conninfo(branches.target.conninfo, user="visitor"),
            name=branches.target.name,
            maintenance=target.maintenance,
        )
        try:
            with open_cluster(visitor) as cluster:
                (entry,) = (each for each in cache.entries(cluster) if each.kind == "template")
                assert not entry.ours
                pruned = cache.prune(cluster, branches.settings, everything=True)
            assert pruned.kept[template] == "it belongs to postgres"
            assert private("template") == [template]
        finally:
            branches.execute("DROP ROLE visitor")

    def test_databases_of_others_and_snapshots_are_not_even_listed(self, branches):
        for name in ("seedtool_snapshot_01234567890123456789", "seedtool_template_mine", "somebody_elses"):
            branches.execute("CREATE DATABASE {name}", name=name)
        try:
            assert branches.entries() == branches.entries("other") == []
            assert branches.prune(everything=True).dropped == []
        finally:
            for name in ("seedtool_snapshot_01234567890123456789", "seedtool_template_mine", "somebody_elses"):
                branches.execute("DROP DATABASE {name}", name=name)


def test_resets_while_somebody_prunes_everything_all_succeed(branches, database):
    errors, done = [], threading.Event()

    def prune():
        while not done.is_set():
            try:
                branches.prune(everything=True)
            except Exception as error:  # noqa: BLE001 - any failure fails the test
                errors.append(error)

    branches.reset()
    thread = threading.Thread(target=prune)
    thread.start()
    try:
        for _ in range(12):
            reset(branches.settings, database, [Schema(branches.settings, build)], consent=Consent.YES)
    finally:
        done.set()
        thread.join()
    assert errors == []


class TestStrategy:
    @pytest.mark.parametrize(
        ("size", "reflink", "chosen"),
        [(8, False, "wal_log"), (8, True, "wal_log"), (100, False, "wal_log"), (100, True, "file_copy"), (999, False, "file_copy")],
    )  # fmt: skip
    def test_by_size_and_reflink(self, branches, monkeypatch, size, reflink, chosen):
        template = branches.reset().template
        monkeypatch.setattr(clones, "can_reflink", lambda _: reflink)
        with open_cluster(branches.target) as cluster:
            cluster.fsync = True  # the server of tests has it off
            facts = cluster.database(template)
            note = msgspec.structs.replace(notes.read(facts), size=size * 2**20)
            cluster.execute(notes.statement(facts, note))
            assert clones.choose(cluster, cluster.database(template)).name == chosen
            assert templates.result_of(cluster, template) == {}
            cluster.fsync = False
            assert clones.choose(cluster, cluster.database(template)).name == "file_copy"

    def test_the_bytes_of_a_large_clone_are_told(self, branches, monkeypatch):
        monkeypatch.setattr(clones, "LARGE", 0)
        monkeypatch.setattr(clones, "_PATIENCE", 0)
        monkeypatch.setattr(clones, "_OFTEN", 0.001)
        heard = []

        class Heard(Listener):
            def progress(self, what, done, total=None):
                heard.append((what, done, total))

        def large(made):
            with server.connect(made) as connection:
                connection.execute("CREATE TABLE large AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)")

        template = branches.reset(build=large).template
        with open_cluster(branches.target, Heard()) as cluster:
            source = cluster.database(template)
            for number in range(50):
                clones.clone(cluster, source, f"test_large_{number}", source)
                cluster.drop(f"test_large_{number}")
                if heard:
                    break
        assert {(what, total) for what, _, total in heard} == {("bytes", clones.known_size(cluster, source))}
        assert all(0 < done <= total for _, done, total in heard)

    def test_a_clone_is_made_where_its_bytes_may_not_be_counted(self, branches, monkeypatch):
        monkeypatch.setattr(clones, "LARGE", 0)
        monkeypatch.setattr(clones, "_PATIENCE", 0)
        monkeypatch.setattr(clones, "_OFTEN", 0)
        monkeypatch.setattr(clones, "_SIZE_OF_NEWEST", "SELECT pg_ls_dir(chr(47))::int")
        template = branches.reset().template
        with open_cluster(branches.target, Listener()) as cluster:
            source = cluster.database(template)
            clones.clone(cluster, source, "test_uncounted", source)
            cluster.drop("test_uncounted")

    @pytest.mark.parametrize(("slow", "quick"), [("wal_log", "file_copy"), ("file_copy", "wal_log")])
    @pytest.mark.parametrize("fsync", [True, False])
    def test_many_clones_are_made_in_the_way_that_proves_quicker(self, branches, slow, quick, fsync):
        template, tried = branches.reset().template, []
        with open_cluster(branches.target) as cluster:
            cluster.fsync, create = fsync, cluster.create

            def create_slowly(*arguments, strategy):
                tried.append(strategy.name)
                create(*arguments, strategy=strategy)
                time.sleep(0.5 * (strategy.name == slow))

            cluster.create = create_slowly
            source, trials = cluster.database(template), clones.Trials()
            for number in range(6):
                name = f"test_trial_{number}"
                trials.clone(cluster, source, name, source)
                cluster.drop(name)
        assert tried[0] == ("wal_log" if fsync else "file_copy")
        assert sorted(tried[:4]) == ["file_copy"] * 2 + ["wal_log"] * 2
        assert tried[4:] == [quick] * 2

    def test_files_are_copied_where_it_says_so_whatever_the_file_system_can(self, branches, private, monkeypatch):
        monkeypatch.setattr(clones, "LARGE_FOR_REFLINK", 0)
        monkeypatch.setattr(clones, "can_reflink", lambda _: True)
        for _ in range(3):
            branches.reset()
            assert len(private("spare")) == 1
        with server.connect(branches.target) as connection:
            assert connection.execute("SELECT count(*) FROM made_by_build").fetchone() == (0,)

    def test_the_file_system_is_asked_once(self, tmp_path, monkeypatch):
        found = clones.can_reflink(tmp_path)
        monkeypatch.setattr(clones, "_try", pytest.fail)
        assert clones.can_reflink(tmp_path) is found
        assert sorted(path.name for path in tmp_path.iterdir()) == ["reflink"]

    def test_where_copying_files_fails_the_log_does_it(self, branches, monkeypatch):
        with open_cluster(branches.target) as cluster:
            execute = cluster.execute

            def refuse_files(statement):
                if "file_copy" in statement.as_string():
                    raise DatabaseError("could not clone file")
                execute(statement)

            monkeypatch.setattr(cluster, "execute", refuse_files)
            like = cluster.database(branches.target.name)
            cluster.create("copied_otherwise", "template0", like, strategy=Strategy("file_copy", {}))
            monkeypatch.undo()
            cluster.drop("copied_otherwise")
