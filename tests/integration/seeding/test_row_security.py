"""Row-level security hides rows from a role: what takes the rows it sees for all of them refuses instead."""

import pytest
from psycopg import sql

from seedtool.errors import BlockedError
from seedtool.seeding.dump import dump

ROLE = "seedtool_test_tenant"


@pytest.fixture
def tenant(project):
    """The project's role is no superuser any more. It owns every table and sees one pupil of three."""
    project.write("guardians.csv", "id,email\ng1,\ng2,\n")
    project.write("pupils.csv", "id,name,guardian_id\np1,Ana,g1\np2,Eva,g2\np3,Ida,g2\n")
    project.seed()
    project.run(f"DO $$ BEGIN CREATE ROLE {ROLE}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    owned = project.rows(
        "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname IN ('public', 'seedtool') AND c.relkind IN ('r', 'v')"
    )
    for each in owned:
        project.run(sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier(*each), sql.Identifier(ROLE)))
    project.run(f"GRANT ALL ON SCHEMA public, seedtool TO {ROLE}")
    hide(project, "pupils", "id = 'p1'")
    project.run(f"SET ROLE {ROLE}")
    yield project
    project.connection.rollback()
    project.run(f"RESET ROLE; REASSIGN OWNED BY {ROLE} TO CURRENT_USER; DROP OWNED BY {ROLE}")
    project.run(f"DROP ROLE {ROLE}")


def hide(project, table, shown, force="FORCE"):
    project.run(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, {force} ROW LEVEL SECURITY;"
        f"CREATE POLICY own ON {table} USING ({shown})"
    )


def open_up(project, table):
    project.run(f"RESET ROLE; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY; SET ROLE {ROLE}")


def refused(error, table):
    """The message names the table, and the remedy both cures."""
    assert f'"{table}"' in error.message
    assert "BYPASSRLS" in error.remedy
    assert "NO FORCE ROW LEVEL SECURITY" in error.remedy


def whole(project):
    project.connection.rollback()
    project.run("RESET ROLE")
    try:
        return project.everything()
    finally:
        project.run(f"SET ROLE {ROLE}")


def test_a_dump_refuses_a_table_of_which_rows_are_hidden(tenant):
    file = tenant.root / "seeds" / "local" / "pupils.csv"
    before = file.read_bytes()
    with pytest.raises(BlockedError) as refusal:
        dump(tenant.connection, ["guardians", "pupils"], tenant.root / "seeds", "local", root=tenant.root)
    refused(refusal.value, "pupils")
    assert file.read_bytes() == before
    assert dump(tenant.connection, ["guardians"], tenant.root / "seeds", "local", root=tenant.root).rows == 2


@pytest.mark.parametrize("options", [{}, {"dry_run": True}, {"prune": False}])
def test_a_seed_refuses_a_table_of_which_rows_are_hidden(tenant, options):
    before = whole(tenant)
    with pytest.raises(BlockedError) as refusal:
        tenant.seed(**options)
    refused(refusal.value, "pupils")
    assert whole(tenant) == before


def test_a_seed_refuses_a_parent_of_which_rows_are_hidden(tenant):
    tenant.remove("guardians.csv")
    tenant.remove("pupils.csv")
    tenant.write("marks.csv", "pupil_id,subject,mark\np2,art,5\n")
    assert tenant.counts(tenant.seed(prune=False))["marks"] == (1, 0, 0, 0)  # the server's own check sees every row
    tenant.write("marks.csv", "pupil_id,subject,mark\np2,art,5\np2,music,5\n")
    with pytest.raises(BlockedError) as refusal:
        tenant.seed(prune=False)
    refused(refusal.value, "pupils")


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL", "SET DEFAULT"])
def test_pruning_refuses_where_a_foreign_key_would_reach_hidden_rows(tenant, action):
    open_up(tenant, "pupils")
    tenant.run(
        f"RESET ROLE; CREATE TABLE badges (id int PRIMARY KEY, pupil_id text REFERENCES pupils ON DELETE {action});"
        f"ALTER TABLE badges OWNER TO {ROLE}; INSERT INTO badges VALUES (1, 'p3'); SET ROLE {ROLE}"
    )
    hide(tenant, "badges", "false")
    tenant.write("pupils.csv", "id,name,guardian_id\np1,Ana,g1\np2,Eva,g2\n")
    for dry_run in (True, False):
        with pytest.raises(BlockedError) as refusal:
            tenant.seed(dry_run=dry_run)
        refused(refusal.value, "badges")
    tenant.connection.rollback()
    tenant.run("RESET ROLE")
    assert tenant.rows("SELECT pupil_id FROM badges") == [("p3",)]
    assert tenant.rows("SELECT count(*) FROM pupils") == [(3,)]


def test_pruning_refuses_where_a_foreign_key_to_a_partition_would_reach_hidden_rows(tenant):
    tenant.run(
        "RESET ROLE; CREATE TABLE days (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM (0) TO (100);"
        "CREATE TABLE visits (id int PRIMARY KEY, day int REFERENCES days_1 ON DELETE CASCADE);"
        f"ALTER TABLE days OWNER TO {ROLE}; ALTER TABLE days_1 OWNER TO {ROLE}; ALTER TABLE visits OWNER TO {ROLE};"
        f"SET ROLE {ROLE}"
    )
    open_up(tenant, "pupils")
    tenant.write("days.csv", "id\n1\n2\n")
    tenant.seed()
    tenant.run("INSERT INTO visits VALUES (1, 2)")
    hide(tenant, "visits", "false")
    tenant.write("days.csv", "id\n1\n")
    with pytest.raises(BlockedError) as refusal:
        tenant.seed()
    refused(refusal.value, "visits")


def test_a_policy_of_another_owner_is_refused_as_well(tenant):
    # not FORCE, but this role is not the owner
    tenant.run("RESET ROLE; ALTER TABLE pupils NO FORCE ROW LEVEL SECURITY, OWNER TO CURRENT_USER")
    tenant.run(f"GRANT ALL ON pupils TO {ROLE}; SET ROLE {ROLE}")
    with pytest.raises(BlockedError) as refusal:
        dump(tenant.connection, ["pupils"], tenant.root / "seeds", "local", root=tenant.root)
    refused(refusal.value, "pupils")


def test_the_owner_without_force_and_a_role_with_bypassrls_work_as_before(tenant):
    before = whole(tenant)
    tenant.run("ALTER TABLE pupils NO FORCE ROW LEVEL SECURITY")
    assert tenant.counts(tenant.seed())["pupils"] == (0, 0, 3, 0)
    tenant.run(f"ALTER TABLE pupils FORCE ROW LEVEL SECURITY; RESET ROLE; ALTER ROLE {ROLE} BYPASSRLS; SET ROLE {ROLE}")
    assert tenant.counts(tenant.seed())["pupils"] == (0, 0, 3, 0)
    assert whole(tenant) == before


def test_a_projects_own_script_runs_under_the_policies(tenant):
    """What a seed asks for is its own: the setting is as before when a script of the profile runs."""
    from seedtool.seeding.fixtures import read_profile
    from seedtool.seeding.merge import seed
    from seedtool.seeding.profiles import Profile

    tenant.run("ALTER TABLE pupils NO FORCE ROW LEVEL SECURITY")
    tenant.write("after.sql", "SELECT set_config('app.row_security', current_setting('row_security'), false)", ".")
    profile = Profile(name="local", sets=("local",), after=("after.sql",))
    seed(tenant.connection, read_profile(tenant.root / "seeds", profile, tenant.root))
    assert tenant.rows("SELECT current_setting('app.row_security')") == [("on",)]
