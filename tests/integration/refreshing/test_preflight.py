"""What is missing on the two servers is named all at once, before a row is read."""

import msgspec
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from seedtool.cli.refresh import _check_lines
from seedtool.errors import Refused
from seedtool.postgres import server
from seedtool.postgres.cluster import open_cluster
from seedtool.refreshing import preflight, schema
from seedtool.refreshing.policy import parse_policy
from seedtool.refreshing.source import Source
from seedtool.settings import load
from seedtool.workflows.refresh import check_policy

ORIGIN, ROLE = "preflight_source", "preflight_reader"


@pytest.fixture(scope="module")
def origin(target):
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        maintenance.execute(f"DROP DATABASE IF EXISTS {ORIGIN}")
        maintenance.execute(f"CREATE DATABASE {ORIGIN} TEMPLATE template0 STRATEGY file_copy")
        maintenance.execute(f"DROP ROLE IF EXISTS {ROLE}")
        maintenance.execute(f"CREATE ROLE {ROLE} LOGIN")
    with server.connect(target.at(ORIGIN)) as connection:
        connection.execute(
            "CREATE TABLE a (id serial PRIMARY KEY, x text); CREATE TABLE b (id int); CREATE TABLE c (id int);"
            f"GRANT SELECT ON c TO {ROLE}; ALTER TABLE c ENABLE ROW LEVEL SECURITY;"
            'CREATE SCHEMA "Odd"; CREATE TABLE "Odd".d (id int); CREATE SEQUENCE own;'
            "CREATE SCHEMA seedtool; CREATE TABLE seedtool.ledger (a int);"
            f"SELECT lo_from_bytea(0, 'x'); CREATE POLICY p ON c TO {ROLE} USING (true);"
            "CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
            "CREATE EVENT TRIGGER forbid ON sql_drop EXECUTE FUNCTION forbid()"
        )
    yield target.at(ORIGIN)
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        maintenance.execute(f"DROP DATABASE {ORIGIN} WITH (FORCE)")
        maintenance.execute(f"DROP ROLE {ROLE}")


def as_reader(target):
    return msgspec.structs.replace(target, conninfo=make_conninfo(target.conninfo, user=ROLE))


def look(origin, database, text=b"", *, strict=False):
    policy = parse_policy(text, "policy.toml", None)
    with Source.open(origin) as source, open_cluster(database) as cluster:
        return preflight.preflight(source, cluster, policy, strict=strict)


def test_xml_needs_a_server_that_has_it(databases, database):
    origin = databases.create("template0")
    with server.connect(origin) as connection:
        connection.execute("CREATE TABLE notes (id int, body xml, more xml[])")
    lines = '[tables.notes]\nid = "keep"\nbody = "null"\nmore = "{}"\n'
    asked = [
        {each.kind for each in look(origin, database, lines.format(mask).encode())[0]} for mask in ("keep", "null")
    ]
    databases.drop(origin)
    with server.connect(database) as connection:
        try:
            connection.execute("SELECT '<a/>'::xml")
            assert asked == [set(), set()]
        except psycopg.errors.FeatureNotSupported:  # the server of the wheel
            assert asked == [{"xml"}, set()]


def test_everything_that_a_role_lacks_is_named_at_once(origin, database, approved):  # antifailure 135, greenmask 469
    found, _ = look(as_reader(origin), database)
    said = {each.kind + ": " + each.what.partition(ROLE)[2] for each in found}
    assert said == {
        'privilege:  lacks USAGE ON SCHEMA "Odd"',
        'privilege:  lacks SELECT ON "Odd".d, public.a, public.b',
        "privilege:  lacks SELECT ON SEQUENCE public.a_id_seq, public.own",
        "row security: ",
        "large objects: ",
    }
    error = preflight.refusal(found)
    assert f"GRANT SELECT ON public.a_id_seq, public.own TO {ROLE};" in error.remedy
    assert f"ALTER ROLE {ROLE} BYPASSRLS;" in error.remedy
    assert len(error.findings) == len(found)
    approved(error)


def test_with_what_was_named_nothing_is_missing(origin, database):
    with psycopg.connect(origin.conninfo) as connection:
        connection.execute(
            f'GRANT USAGE ON SCHEMA "Odd" TO {ROLE}; GRANT SELECT ON ALL TABLES IN SCHEMA public, "Odd" TO {ROLE};'
            f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {ROLE}; ALTER ROLE {ROLE} BYPASSRLS"
        )
    try:
        found, notes = look(as_reader(origin), database, b'large_objects = "leave out"', strict=True)
        assert found == []
        assert not any("may write" in note for note in notes)
        found, _ = look(as_reader(origin), database, b'large_objects = "copy"')
        assert [each.kind for each in found] == ["privilege"]
    finally:
        with psycopg.connect(origin.conninfo) as connection:
            connection.execute(
                f'REVOKE ALL ON SCHEMA "Odd" FROM {ROLE}; REVOKE ALL ON ALL TABLES IN SCHEMA public, "Odd" FROM {ROLE};'
                f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {ROLE}; ALTER ROLE {ROLE} NOBYPASSRLS;"
                f"GRANT SELECT ON c TO {ROLE}"
            )


def test_security_labels_are_told_and_left_behind(origin, database, tmp_path, home):
    """No provider is loaded that would take them, so the catalog is written to as the providers do."""
    with psycopg.connect(origin.conninfo, autocommit=True) as connection:
        connection.execute(
            "SET allow_system_table_mods = on; INSERT INTO pg_seclabel SELECT oid, classid, number, 'anon', 'MASKED' FROM"
            " (VALUES ('a'::regclass::oid, 'pg_class'::regclass, 0), ('a'::regclass, 'pg_class', 2),"
            " ('forbid'::regproc, 'pg_proc', 0)) AS v (oid, classid, number);"
            "INSERT INTO pg_seclabel VALUES ('c'::regclass, 'pg_class'::regclass, 0, 'selinux', 'x')"
        )
    told = ["3 security labels of the provider anon stay behind: the copy has none"]
    told.append("1 security label of the provider selinux stays behind: the copy has none")
    (tmp_path / "policy.toml").write_text('large_objects = "leave out"\n[tables]\na = "no rows"\n')
    settings = load(tmp_path, environ={"SEEDTOOL_HOME": str(home), "SEEDTOOL_REFRESH_FROM": origin.conninfo})
    try:
        assert look(origin, database)[1][:2] == told
        checked = check_policy(settings=settings)
        assert checked.notes == tuple(told)
        assert set(told) < set(_check_lines(checked))
        with Source.open(origin) as source, schema.dumped(source, database) as dump:
            schema.restore(dump, "pre-data", database)
            schema.restore(dump, "post-data", database)
    finally:
        with psycopg.connect(origin.conninfo) as connection:
            connection.execute("SET allow_system_table_mods = on; DELETE FROM pg_seclabel")


def test_a_role_that_may_write_is_noted_and_refused_where_that_is_asked_for(origin, database):
    text = b'large_objects = "leave out"'
    found, notes = look(origin, database, text)
    assert found == []
    assert any("may write at the source" in note for note in notes)
    found, notes = look(origin, database, text, strict=True)
    assert [each.kind for each in found] == ["writes"]
    assert not any("may write" in note for note in notes)


def test_the_source_is_not_the_target_by_whatever_address(origin, database):
    other = msgspec.structs.replace(origin, conninfo=make_conninfo(origin.conninfo, application_name="other"))
    with Source.open(origin) as source:
        with open_cluster(other) as cluster, pytest.raises(Refused) as refused:
            preflight.refuse_same(source.holder, cluster)
        assert "--to" in refused.value.remedy
        with open_cluster(database) as cluster:
            preflight.refuse_same(source.holder, cluster)


def test_a_role_that_only_a_policy_names_has_to_be_there(origin, database):
    policy = parse_policy(b'large_objects = "leave out"', "policy.toml", None)
    with Source.open(origin) as source, open_cluster(database) as cluster:
        connection = cluster.connection
        with connection.transaction(force_rollback=True):  # the target's server has no such role; the source sees it
            connection.execute(f"ALTER ROLE {ROLE} RENAME TO somebody")
            (found,) = preflight.preflight(source, cluster, policy, strict=False)[0]
    assert found.what == f"the target's server lacks the role {ROLE}, which policies of public.c name"
    assert found.remedy == f'CREATE ROLE "{ROLE}";'


def test_a_target_that_would_be_rebuilt_in_place_is_refused(origin, database):
    found, _ = look(origin, msgspec.structs.replace(database, in_place=True), b'large_objects = "leave out"')
    assert [each.kind for each in found] == ["createdb"]
    with psycopg.connect(origin.conninfo, dbname=database.name, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{database.name}" OWNER TO {ROLE}')
    found, _ = look(origin, as_reader(database), b'large_objects = "leave out"')
    assert [each.kind for each in found] == ["createdb", "event trigger"]
    assert f'ALTER ROLE "{ROLE}" CREATEDB;' in found[0].remedy
    with psycopg.connect(origin.conninfo, dbname=database.name, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{database.name}" OWNER TO CURRENT_USER')
