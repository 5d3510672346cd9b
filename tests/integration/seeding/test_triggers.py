"""What triggers and rules of a project do to a seed: the report and the ledger hold what was stored."""

import pytest

from seedtool.errors import BlockedError, FixtureError, SeedError
from seedtool.seeding.fixtures import read_fixtures
from seedtool.seeding.merge import seed
from seedtool.seeding.report import RowChange

USERS = "CREATE TABLE users (id int PRIMARY KEY, email text, name text)"


def trigger(body, when="BEFORE INSERT OR UPDATE", table="users", name="touch", each="ROW"):
    return f"""
        CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
        CREATE TRIGGER {name}_trigger {when} ON {table} FOR EACH {each} EXECUTE FUNCTION {name}();"""


def counted(report, table="users"):
    (found,) = [each for each in report.tables if each.table == table]
    return found.inserted, found.updated, found.unchanged, found.deleted, found.suppressed


@pytest.mark.parametrize(
    "made",
    [
        "NEW.email := lower(NEW.email); RETURN NEW;",
        "NEW.email := NULL; RETURN NEW;",
        "NEW.email := coalesce(NEW.email, '') || '!'; RETURN NEW;",
    ],
)
def test_a_value_that_a_trigger_changes_is_written_once_and_is_no_edit(project, made):
    project.run(USERS)
    project.run(trigger(made))
    project.write("users.csv", "id,email,name\n1,Ana@X.example,Ana\n2,,Eva\n")
    assert counted(project.seed()) == (2, 0, 0, 0, 0)
    assert counted(project.seed()) == (0, 0, 2, 0, 0)
    stored = project.rows("SELECT * FROM users ORDER BY id")
    # the file changes
    project.write("users.csv", "id,email,name\n1,Ana2@X.example,Ana\n2,,Eva\n")
    (table,) = project.seed().tables
    assert table.changes == (RowChange(action="update", key="1", columns=("email",)),)
    assert counted(project.seed()) == (0, 0, 2, 0, 0)
    # a person changes
    project.run("ALTER TABLE users DISABLE TRIGGER USER; UPDATE users SET email = 'other' WHERE id = 1")
    project.run("ALTER TABLE users ENABLE TRIGGER USER")
    (table,) = project.seed().tables
    assert table.changes == (RowChange(action="update", key="1", columns=("email",), overridden=("email",)),)
    assert stored[1] == project.rows("SELECT * FROM users WHERE id = 2")[0]


def test_a_row_that_a_trigger_changes_after_it_was_inserted_is_recorded_as_it_is(project):
    project.run(USERS)
    project.run(trigger("UPDATE users SET email = lower(email) WHERE id = NEW.id; RETURN NULL;", when="AFTER INSERT"))
    project.write("users.csv", "id,email,name\n1,ANA,Ana\n")
    assert counted(project.seed()) == (1, 0, 0, 0, 0)
    assert counted(project.seed()) == (0, 0, 1, 0, 0)
    assert project.rows("SELECT email FROM users") == [("ana",)]


def test_a_row_that_a_trigger_keeps_out_is_not_reported_nor_recorded(project):
    project.run(USERS)
    project.run(trigger("IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW;", when="BEFORE INSERT"))
    project.write("users.csv", "id,email\n1,a\n2,b\n3,c\n")
    (table,) = project.seed().tables
    assert (table.inserted, table.suppressed) == (2, 1)
    assert [change.key for change in table.changes] == ["1", "3"]
    assert project.rows("SELECT key ->> 'id' FROM seedtool.ledger ORDER BY 1") == [("1",), ("3",)]
    assert counted(project.seed(dry_run=True)) == (0, 0, 2, 0, 1)


def test_an_update_that_a_trigger_keeps_out_is_not_reported(project):
    project.run(USERS)
    project.write("users.csv", "id,email\n1,a\n2,b\n")
    project.seed()
    project.run(trigger("IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW;", when="BEFORE UPDATE"))
    project.write("users.csv", "id,email\n1,A\n2,B\n")
    (table,) = project.seed().tables
    assert (table.updated, table.suppressed, table.unchanged) == (1, 1, 0)
    assert [change.key for change in table.changes] == ["1"]


def test_triggers_of_partitions_count(project):
    project.run("""
        CREATE TABLE visits (id int, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
        CREATE TABLE visits_2026 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')""")
    project.run(trigger("NEW.note := upper(NEW.note); RETURN NEW;", table="visits_2026"))
    project.write("visits.csv", "id,day,note\n1,2026-03-01,a\n")
    assert counted(project.seed(), "visits") == (1, 0, 0, 0, 0)
    assert counted(project.seed(), "visits") == (0, 0, 1, 0, 0)


@pytest.fixture
def profiled(project):
    """Users whose profiles a trigger makes, while the files hold the profiles, too."""
    project.run(USERS)
    project.run("CREATE TABLE profiles (user_id int PRIMARY KEY REFERENCES users, bio text)")
    project.run(
        trigger("INSERT INTO profiles VALUES (NEW.id, 'new'); RETURN NULL;", when="AFTER INSERT", name="make_profile")
    )
    project.write("users.csv", "id,email\n1,a\n2,b\n")
    project.write("profiles.csv", "user_id,bio\n1,mine\n2,theirs\n")
    return project


def test_a_trigger_that_makes_rows_of_the_files_is_named(profiled):
    before = profiled.everything()
    with pytest.raises(FixtureError) as caught:
        profiled.seed()
    assert "make_profile_trigger of users" in caught.value.message
    assert "profiles_pkey" in caught.value.message
    assert 'triggers = "off"' in caught.value.remedy
    assert profiled.everything() == before


@pytest.mark.parametrize("state", ["ENABLE", "ENABLE ALWAYS", "ENABLE REPLICA", "DISABLE"])
def test_a_seed_without_triggers_leaves_them_as_they_were(profiled, state):
    profiled.run(f"ALTER TABLE users {state} TRIGGER make_profile_trigger")
    states = "SELECT tgname, tgenabled FROM pg_trigger ORDER BY oid"
    before = profiled.rows(states)
    profiled.seed(triggers="off")
    assert profiled.rows("SELECT bio FROM profiles ORDER BY 1") == [("mine",), ("theirs",)]
    assert profiled.rows(states) == before
    profiled.write("users.csv", "id,email\n1,a\n")
    with pytest.raises(FixtureError) as caught:
        profiled.seed(triggers="off")
    assert (caught.value.file, caught.value.line, caught.value.column) == ("seeds/local/profiles.csv", 3, "user_id")
    assert profiled.rows(states) == before


def test_only_an_owner_seeds_without_triggers(profiled, approved):
    profiled.run(
        """
        DROP ROLE IF EXISTS seeding_stranger; CREATE ROLE seeding_stranger;
        GRANT CREATE ON DATABASE """
        + profiled.connection.info.dbname
        + """ TO seeding_stranger;
        GRANT ALL ON users, profiles TO seeding_stranger"""
    )
    fixtures = read_fixtures(profiled.root / "seeds", ["local"], profiled.root)
    try:
        with profiled.connection.transaction(force_rollback=True):
            profiled.connection.execute("SET LOCAL ROLE seeding_stranger")
            with pytest.raises(BlockedError) as caught:
                seed(profiled.connection, fixtures, triggers="off")
            assert caught.value.place["code"] == "42501"  # insufficient_privilege
            approved(caught.value)
    finally:
        profiled.run("DROP OWNED BY seeding_stranger; DROP ROLE seeding_stranger")


@pytest.mark.parametrize(
    "rule",
    [
        "CREATE RULE log AS ON INSERT TO users DO ALSO INSERT INTO notes (body) VALUES (NEW.email)",
        "CREATE RULE log AS ON UPDATE TO users DO ALSO INSERT INTO notes (body) VALUES (NEW.email)",
        "CREATE RULE log AS ON DELETE TO users DO ALSO INSERT INTO notes (body) VALUES (OLD.email)",
    ],
)
def test_a_rule_that_rewrites_the_statement_is_named(project, rule, approved):
    project.run(USERS)
    project.write("users.csv", "id,email\n1,a\n2,b\n")
    project.seed()
    project.run(rule)
    before = project.everything()
    project.write("users.csv", "id,email\n1,A\n3,c\n")
    with pytest.raises(SeedError) as caught:
        project.seed()
    assert caught.value.place == {"table": "users"}
    assert "log" in caught.value.message
    approved(caught.value)
    assert project.everything() == before
