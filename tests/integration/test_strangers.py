"""A shared server: what other roles made under our private names is neither used nor dropped."""

import psycopg
import pytest
from psycopg import sql

from seedtool.errors import BlockedError, UsageError
from seedtool.postgres import server
from seedtool.postgres.cluster import fresh_name, open_cluster, private_name
from seedtool.resetting import cache, guard, spares, templates
from seedtool.resetting.guard import Consent
from seedtool.resetting.layers import fingerprints
from seedtool.resetting.reset import reset
from seedtool.schema.layer import Schema
from seedtool.snapshots import registry
from seedtool.snapshots.snapshots import restore, save


def build(made):
    with server.connect(made) as connection:
        connection.execute("CREATE TABLE made_by_build (id int)")


@pytest.fixture
def colleague(target):
    """A role that may create databases, and a way to run statements as it; what it owns is dropped afterwards."""
    name = "colleague"
    with server.connect(target, target.maintenance, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS colleague")
        admin.execute("CREATE ROLE colleague LOGIN CREATEDB")

        def run(*statements, database=None):
            conninfo = psycopg.conninfo.make_conninfo(target.conninfo, user=name, dbname=database or target.maintenance)
            with psycopg.connect(conninfo, autocommit=True) as connection:
                for statement in statements:
                    connection.execute(statement)

        yield run
        rows = admin.execute("SELECT datname FROM pg_database WHERE datdba = 'colleague'::regrole").fetchall()
        for (database,) in rows:
            admin.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(database)))
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
        admin.execute("DROP OWNED BY colleague; DROP ROLE colleague")


def poison(colleague, name, *more):
    """Make a database of this name whose event trigger would run as whoever changes something in it."""
    colleague(f"CREATE DATABASE {name} TEMPLATE template0")
    colleague("CREATE TABLE poison (id int)", database=name)
    colleague(*more)


def holds_poison(database):
    with server.connect(database) as connection:
        return connection.execute("SELECT to_regclass('poison')").fetchone() != (None,)


def template_name(project, database):
    with open_cluster(database) as cluster:
        facts = templates.of_server(cluster, templates.of_target(cluster))
        return private_name("template", fingerprints([Schema(project)], facts)[-1])


def test_a_template_of_somebody_else_is_not_cloned(project, database, colleague):
    name = template_name(project, database)
    poison(colleague, name, f"ALTER DATABASE {name} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false")
    with pytest.raises(BlockedError) as refusal:
        reset(project, database, [Schema(project, build)], consent=Consent.NONE)
    assert name in str(refusal.value)
    assert "colleague" in str(refusal.value)
    assert f"DROP DATABASE {name}" in refusal.value.remedy
    assert not holds_poison(database)


def test_a_spare_of_somebody_else_is_not_swapped_in(project, database, colleague, private):
    reset(project, database, [Schema(project, build)], consent=Consent.NONE)
    (name,) = private("spare")
    with open_cluster(database) as cluster:
        cluster.drop(name)
    poison(colleague, name, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    report = reset(project, database, [Schema(project, pytest.fail)], consent=Consent.YES)
    assert not report.spare
    assert not holds_poison(database)


def test_a_spare_that_lets_clients_in_is_not_ours(project, database, private):
    reset(project, database, [Schema(project, build)], consent=Consent.NONE)
    (name,) = private("spare")
    with server.connect(database, database.maintenance, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
    with open_cluster(database) as cluster:
        like = cluster.database(database.name)
        assert not spares.take(cluster, name, fresh_name("clone", database.digest), like)


def test_a_snapshot_of_somebody_else_is_neither_listed_nor_restored(project, database, colleague):
    reset(project, database, [Schema(project, build)], consent=Consent.NONE)
    name = registry.database_name(database, "monday")
    poison(colleague, name, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    with server.connect(database, database.maintenance, autocommit=True) as connection:
        oid = connection.execute("SELECT oid FROM pg_database WHERE datname = %s", [name]).fetchone()[0]
    described = registry.Description(
        name="monday", target=database.name, created="2026-11-27T10:00:00+00:00", revisions=[]
    )
    colleague(f"COMMENT ON DATABASE {name} IS '{registry.written(described, oid)}'")
    assert registry.snapshots(database) == []
    with pytest.raises(UsageError) as refusal:
        restore(project, database, "monday", lambda _: Consent.NAME)
    assert "colleague" in str(refusal.value)
    assert f"ALTER DATABASE {name} OWNER TO postgres" in refusal.value.remedy
    with pytest.raises(UsageError):
        save(project, database, "monday", replace=True)
    assert not holds_poison(database)


def test_the_owner_of_a_target_that_is_not_ours_keeps_it_and_templates_stay_ours(project, database, colleague, private):
    """A superuser resets a database of another role: warm resets work, and nothing that is kept belongs to that role."""
    with server.connect(database, database.maintenance, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO colleague").format(sql.Identifier(database.name)))
    first = reset(project, database, [Schema(project, build)], consent=Consent.NONE)
    private()
    second = reset(project, database, [Schema(project, pytest.fail)], consent=Consent.YES)
    assert (second.built, second.spare) == (False, True)
    save(project, database, "first")
    restore(project, database, "first", lambda _: Consent.YES)
    private()
    with open_cluster(database) as cluster:
        assert cluster.database(database.name).owner == "colleague"
        assert cluster.database(first.template).owner == "postgres"
        assert {each.owner for each in cluster.private_databases()} == {"postgres"}
        (snapshot,) = registry.of_target(cluster)
        assert snapshot.owner == "postgres"
        cluster.drop(snapshot.database)


@pytest.mark.parametrize("kind", ["building", "clone", "old"])
def test_a_sweep_leaves_databases_of_others_alone_and_names_them(project, database, colleague, kind):
    name = fresh_name(kind, "0123456789" * 2)
    poison(colleague, name)
    report = reset(project, database, [Schema(project, build)], consent=Consent.NONE)
    assert report.left_alone == {name: "it belongs to colleague"}
    assert name not in report.swept
    colleague(f"DROP DATABASE {name}")  # it is there


def test_a_sweep_leaves_what_is_protected_or_used_alone(project, database, target):
    used, protected = (fresh_name("building", digest * 10) for digest in ("01", "23"))
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        for name in (used, protected):
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    with open_cluster(target) as cluster:
        guard.protect(cluster, protected)
    with server.connect(target, used, application="a client"):
        report = reset(project, database, [Schema(project, build)], consent=Consent.NONE)
    assert report.left_alone[protected] == "it is protected"
    assert "a client" in report.left_alone[used]
    with open_cluster(target) as cluster:
        guard.unprotect(cluster, protected)
        cluster.drop(protected)
    assert used in reset(project, database, [Schema(project, build)], consent=Consent.YES).swept


def test_pruning_leaves_databases_of_others_alone(project, database, colleague):
    reset(project, database, [Schema(project, build)], consent=Consent.NONE)
    theirs = private_name("template", "ab" * 10)
    poison(colleague, theirs, f"ALTER DATABASE {theirs} IS_TEMPLATE true")
    with open_cluster(database) as cluster:
        pruned = cache.prune(cluster, project, everything=True)
    assert pruned.kept[theirs] == "it belongs to colleague"
    assert all(each.name != theirs for each in pruned.dropped)


def test_membership_is_read_from_the_catalog_and_followed(target):
    """pg_has_role says yes to a superuser for every role."""
    with server.connect(target, target.maintenance, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS team, crew, stranger")
        admin.execute(
            "CREATE ROLE team; CREATE ROLE crew; CREATE ROLE stranger; GRANT team TO crew; GRANT crew TO postgres"
        )
        try:
            with open_cluster(target) as cluster:
                assert {"postgres", "crew", "team"} <= cluster.roles
                assert "stranger" not in cluster.roles
        finally:
            admin.execute("DROP ROLE team, crew, stranger")
